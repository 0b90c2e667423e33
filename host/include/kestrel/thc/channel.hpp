// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Datagrams between a worker and the aggregator. A channel may lose, repeat, delay and reorder
// them; what makes the exchange reliable is above it (AggregatorTransport).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "kestrel/result.hpp"

namespace kestrel::thc {

/// Receive buffers of this size hold every datagram.
inline constexpr std::size_t kMaxDatagram = 65536;

class Channel {
public:
  virtual ~Channel() = default;
  /// Sends one datagram, which may get lost. Error: kIo when the channel is unusable.
  [[nodiscard]] virtual Result<void> send(std::span<const std::uint8_t> datagram) = 0;
  /// Waits up to `timeout` (0: not at all) for a datagram and gives its length in `buffer`.
  /// Nothing when none came. Error: kIo.
  [[nodiscard]] virtual Result<std::optional<std::size_t>>
  receive(std::span<std::uint8_t> buffer, std::chrono::microseconds timeout) = 0;
  /// The other end, for messages; says so when it is known to be unreachable.
  [[nodiscard]] virtual std::string peer() const = 0;
};

/// A UDP socket (IPv4 or IPv6) connected to "host:port", "[v6]:port" or "host" (the port of the
/// contract). Errors: kInvalidArgument, kNotFound (name not known), kIo.
[[nodiscard]] Result<std::unique_ptr<Channel>> connect_udp(const std::string &endpoint);

/// Damage to a channel, for tests and experiments. Each direction draws from its own stream of
/// random numbers, so that a seed gives the same damage to the same sequence of datagrams.
struct Faults {
  double loss_up = 0.0; ///< share of datagrams lost, 0..1
  double loss_down = 0.0;
  double duplicate = 0.0; ///< share delivered twice, both directions
  double reorder = 0.0;   ///< share held back for `hold`, both directions
  std::chrono::microseconds hold{2000};
  std::chrono::microseconds delay{0}; ///< of every datagram, one way
  std::uint64_t seed = 1;
  [[nodiscard]] bool any() const {
    return loss_up > 0 || loss_down > 0 || duplicate > 0 || reorder > 0 || delay.count() > 0;
  }
};

/// `inner` with faults. Error: kInvalidArgument for a share outside 0..1 or a negative time.
[[nodiscard]] Result<std::unique_ptr<Channel>> with_faults(std::unique_ptr<Channel> inner,
                                                           const Faults &faults);

} // namespace kestrel::thc
