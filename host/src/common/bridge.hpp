// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The bus of a board from outside, through the bridges of LiteX: UARTBone on a line of bytes,
// Etherbone over UDP. Neither has checksums, nor are writes answered: what has to be right is read
// back by the caller.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/byte_line.hpp"
#include "kestrel/result.hpp"

namespace kestrel {

/// Where a board is and how to talk to it, from
///   /dev/ttyUSB0[?OPTIONS]  or  pty:PATH   UARTBone on a serial port or a pseudo-terminal
///   tcp://HOST:PORT[?OPTIONS]              the same bytes over TCP
///   udp://HOST[:PORT][?OPTIONS]            Etherbone, port 1234 when left out
/// OPTIONS is NAME=VALUE, joined by '&'; numbers are decimal or 0x hexadecimal.
struct BridgeUrl {
  enum class Kind : std::uint8_t { kSerial, kTcp, kUdp };
  Kind kind = Kind::kSerial;
  std::string path; ///< of kSerial
  std::string host; ///< of kTcp and kUdp
  std::uint16_t port = 0;
  std::map<std::string, std::string, std::less<>> options;

  /// Error: kInvalidArgument, which quotes the syntax.
  static Result<BridgeUrl> parse(std::string_view text);
  /// The option as a number of at most `max`, or `fallback` where it is not given. Error:
  /// kInvalidArgument.
  [[nodiscard]] Result<std::uint64_t> number(std::string_view name, std::uint64_t fallback,
                                             std::uint64_t max) const;
};

/// 32-bit words on the bus of a board, at byte addresses that are multiples of 4. Errors of both:
/// kTimeout (no answer), kUnavailable (unplugged, closed), kParse (bytes on the line that nobody
/// asked for), kIo.
class Bridge {
public:
  using Milliseconds = std::chrono::milliseconds;

  virtual ~Bridge() = default;
  [[nodiscard]] virtual Result<void> read(std::uint32_t address,
                                          std::span<std::uint32_t> words) = 0;
  /// Has arrived at the latest when a later read() is answered.
  [[nodiscard]] virtual Result<void> write(std::uint32_t address,
                                           std::span<const std::uint32_t> words) = 0;
  /// After a failure: waits until the bridge has given up what it had begun, and throws away what
  /// is still on its way.
  [[nodiscard]] virtual Result<void> resynchronise() = 0;
};

/// UARTBone. A command is 1 (write) or 2 (read), the number of words (1..255), the word address
/// (byte address / 4) and the words, all 32-bit numbers big endian; only reads are answered.
class UartBone final : public Bridge {
public:
  /// `baud`: of the line, for the time that bytes take; 0 where they take none (TCP).
  UartBone(std::unique_ptr<ByteLine> line, unsigned baud, Milliseconds timeout);

  Result<void> read(std::uint32_t address, std::span<std::uint32_t> words) override;
  Result<void> write(std::uint32_t address, std::span<const std::uint32_t> words) override;
  Result<void> resynchronise() override;

private:
  [[nodiscard]] Milliseconds time_for(std::size_t bytes) const;
  Result<void> expect_quiet();

  std::unique_ptr<ByteLine> line_;
  unsigned baud_;
  Milliseconds timeout_;
  std::size_t burst_; // words in a command
};

/// Etherbone, as LiteX has it. Reads are asked for again where an answer is lost; a write is never
/// sent twice.
class Etherbone final : public Bridge {
public:
  /// What a board has where it says nothing else: 16 words, one of them the address.
  static constexpr std::size_t kDefaultBurst = 15;

  /// `burst`: words in a packet, 1..255. A packet with more than its buffer holds stops a board of
  /// LiteX until it is loaded again.
  Etherbone(std::unique_ptr<ByteLine> line, Milliseconds timeout,
            std::size_t burst = kDefaultBurst);

  Result<void> read(std::uint32_t address, std::span<std::uint32_t> words) override;
  Result<void> write(std::uint32_t address, std::span<const std::uint32_t> words) override;
  Result<void> resynchronise() override;

private:
  std::unique_ptr<ByteLine> line_;
  Milliseconds timeout_;
  std::size_t burst_; // words in a packet
  std::uint32_t serial_ = 0;
};

/// The bridge that `url` names. Its options here: `baud` (kSerial, 1000000), `burst` (kUdp, 15),
/// `timeout` (of one answer in milliseconds, 5000).
[[nodiscard]] Result<std::unique_ptr<Bridge>> open_bridge(const BridgeUrl &url);

} // namespace kestrel
