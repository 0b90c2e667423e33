// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A line of bytes to something outside: a serial port, a pseudo-terminal or a TCP connection. Every
// call ends after its time at the latest.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kestrel/result.hpp"

namespace kestrel {

class ByteLine {
public:
  using Milliseconds = std::chrono::milliseconds;

  /// A serial port or a pseudo-terminal, made raw: 8 data bits, no parity, no flow control, the
  /// port for this program alone. Errors: kNotFound, kIo, kUnavailable (another program has it),
  /// kUnsupported (a rate that the system does not know).
  static Result<std::unique_ptr<ByteLine>> open_serial(const std::string &path, unsigned baud);
  /// Errors: kUnavailable (unknown name, nobody listens), kTimeout.
  static Result<std::unique_ptr<ByteLine>> connect_tcp(const std::string &host, std::uint16_t port,
                                                       Milliseconds timeout);
  /// A UDP socket that talks to that address alone, from the same port here unless the address is
  /// this machine's own: one send() is one datagram, as is what one receive_some() gives. Error:
  /// kUnavailable (unknown name, another program has the port).
  static Result<std::unique_ptr<ByteLine>> connect_udp(const std::string &host, std::uint16_t port);

  ByteLine(const ByteLine &) = delete;
  ByteLine &operator=(const ByteLine &) = delete;
  ~ByteLine();

  /// All of them. Errors: kTimeout, kUnavailable (the other side is gone), kIo.
  Result<void> send(std::span<const std::uint8_t> bytes, Milliseconds timeout);
  /// Exactly so many. Errors: as send().
  Result<void> receive(std::span<std::uint8_t> bytes, Milliseconds timeout);
  /// What there is, but at least one byte. Errors: as send().
  Result<std::size_t> receive_some(std::span<std::uint8_t> bytes, Milliseconds timeout);
  /// Throws away what has come, until nothing has for `quiet`, for `limit` at most; the number of
  /// bytes. Errors: kUnavailable, kIo.
  Result<std::size_t> discard(Milliseconds quiet, Milliseconds limit);

private:
  using Clock = std::chrono::steady_clock;

  ByteLine(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  static Result<std::unique_ptr<ByteLine>> connect(const std::string &host, std::uint16_t port,
                                                   int type, Milliseconds timeout);
  /// True once the line is ready for `events` of poll(2); false at the end of the time.
  Result<bool> wait(short events, Clock::time_point end) const;

  int fd_;
  std::string name_;
};

} // namespace kestrel
