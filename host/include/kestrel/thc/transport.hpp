// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// How workers exchange norms and compressed gradients. A tensor is cut into chunks; for each chunk
// the workers agree on the norms of its blocks, then post indices, then get sums of table values.
// Calls are asynchronous where they can be, so that compression goes on while packets fly.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kestrel/result.hpp"
#include "kestrel/thc/channel.hpp"
#include "kestrel/thc/compression.hpp"

namespace kestrel::thc {

/// Part of a tensor that is exchanged at a time: at most kMaxChunkBlocks norms.
struct ChunkShape {
  std::size_t blocks = 0;
  std::size_t packets = 0; ///< of 1024 coordinates
};
inline constexpr std::size_t kMaxChunkBlocks = 256;
inline constexpr std::size_t kMaxChunkPackets = 1024;

/// Value lanes of START and of its answers: the worker's random number of this start (8 bytes),
/// AggregatorTransportOptions::run (4), in network byte order.
inline constexpr std::size_t kStartBytes = 12;
[[nodiscard]] std::array<std::uint8_t, kStartBytes> start_lanes(std::uint64_t nonce,
                                                                std::uint32_t run);

struct RoundPlan {
  std::uint16_t tag = 0; ///< round_tag()
  std::vector<ChunkShape> chunks;
};

/// The largest norm of each block and whose norms were heard. A worker whose bit is missing takes
/// no part in the chunk: it posts nothing and gets the others' sums.
struct AgreedNorms {
  std::span<const float> norms;
  std::uint32_t workers = 0;
};

/// Sums of table values, 1024 for each packet, and whose contributions are in each packet. Every
/// worker gets the same.
struct ChunkSums {
  std::span<const std::uint16_t> sums;
  std::span<const std::uint32_t> workers; ///< never 0
};

struct TransportStats {
  std::uint64_t packets_up = 0;
  std::uint64_t packets_down = 0;
  std::uint64_t bytes_up = 0;        ///< header and lanes; Ethernet, IPv4 and UDP add 42 a packet
  std::uint64_t bytes_down = 0;      ///< as bytes_up
  std::uint64_t retransmissions = 0; ///< contributions sent again
  std::uint64_t reminders = 0;       ///< results asked for
  std::uint64_t ignored = 0;         ///< foreign, truncated, stale or repeated packets that came in
};

/// Calls of one round, on every worker: begin(); post_norms() for each chunk; then for each chunk
/// wait_norms(), post_indices() for each of its packets (if a member), wait_sums(). Not
/// thread-safe. Waiting ends by a deadline: kTimeout or kUnavailable with what was missing. After
/// an error the round is lost, the next begin() starts afresh.
class Transport {
public:
  virtual ~Transport() = default;
  [[nodiscard]] virtual unsigned rank() const = 0;
  [[nodiscard]] virtual unsigned workers() const = 0;

  [[nodiscard]] virtual Result<void> begin(const RoundPlan &plan) = 0;
  /// One norm a block, finite and not negative.
  [[nodiscard]] virtual Result<void> post_norms(std::size_t chunk,
                                                std::span<const float> norms) = 0;
  [[nodiscard]] virtual Result<AgreedNorms> wait_norms(std::size_t chunk) = 0;
  /// Packed indices of packets `first`.. of a chunk: kPacketIndexBytes each. They are copied.
  [[nodiscard]] virtual Result<void> post_indices(std::size_t chunk, std::size_t first,
                                                  std::span<const std::uint8_t> indices) = 0;
  /// Valid until the next begin().
  [[nodiscard]] virtual Result<ChunkSums> wait_sums(std::size_t chunk) = 0;
  /// wait_sums() would not wait. Does what can be done without waiting.
  [[nodiscard]] virtual bool ready(std::size_t chunk) = 0;

  [[nodiscard]] virtual TransportStats stats() const = 0;
  /// Position in the sequence of aggregations, for checkpoints.
  [[nodiscard]] virtual std::uint32_t sequence() const = 0;
  /// Going elsewhere is a new start of the job: all workers do it.
  virtual void set_sequence(std::uint32_t sequence) = 0;
};

struct AggregatorTransportOptions {
  unsigned rank = 0;     ///< 0..workers-1, this worker's bit
  unsigned workers = 1;  ///< 1..kMaxWorkers
  std::uint16_t job = 0; ///< 1..65535, equal on all workers and no other job's: has no default
  /// Equal on all workers of one start, say a random number of the launcher. With it two groups
  /// that start under one job number at the same moment are told apart; without, the later one
  /// wins.
  std::uint32_t run = 0;
  ref::Table table{};
  std::uint8_t priority = 0;
  std::size_t window = 64; ///< packets without an answer
  /// A result that is missing for this long is asked for; the time doubles up to 16 times of it.
  std::chrono::milliseconds reminder{20};
  /// Without any answer for this long the round fails.
  std::chrono::milliseconds timeout{10'000};
};

/// Transport through an aggregator (or a switch) behind a datagram channel. Error:
/// kInvalidArgument.
[[nodiscard]] Result<std::unique_ptr<Transport>>
make_aggregator_transport(std::unique_ptr<Channel> channel,
                          const AggregatorTransportOptions &options);

} // namespace kestrel::thc
