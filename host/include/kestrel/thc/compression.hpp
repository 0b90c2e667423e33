// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the workers of a job must agree on to add compressed gradients, and its short forms on the
// wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kestrel/result.hpp"
#include "sw_ref/thc/codec.hpp"

namespace kestrel::thc {

/// Workers of one job: a contribution is a bit of a 32-bit word.
inline constexpr unsigned kMaxWorkers = 32;
/// Bytes of one packet's indices, 4 bits each.
inline constexpr std::size_t kPacketIndexBytes = ref::kPacketCoordinates / 2;

/// Equal on all workers of a job.
struct Compression {
  ref::Table table;       ///< as the aggregator's
  int block_log2 = 15;    ///< largest block, 10..15
  std::uint64_t seed = 1; ///< of signs and rounding noise
  friend bool operator==(const Compression &, const Compression &) = default;
};

/// kInvalidArgument names what a kernel could not do: the table, the block size, or `workers` whose
/// sum of table values does not fit 16 bits (workers * granularity > 65535) or a 32-bit contributor
/// word.
[[nodiscard]] Result<void> check(const Compression &compression, unsigned workers);

/// CRC-16 (CCITT, initial value 0xFFFF) of bytes.
[[nodiscard]] std::uint16_t crc16(std::span<const std::uint8_t> bytes,
                                  std::uint16_t initial = 0xFFFF);

/// Tag of a table: bits, granularity, clamp and values. Never 0. It is the `config` of DATA and
/// RESULT packets; the aggregator compares it with its own table.
[[nodiscard]] std::uint16_t table_tag(const ref::Table &table);

/// Tag of one round of one tensor: table, block size, seed, round, coordinates. Never 0. It is the
/// `config` of NORM and NORM_RESULT packets, with which every aggregation begins.
[[nodiscard]] std::uint16_t round_tag(const Compression &compression, std::uint32_t round,
                                      std::uint64_t coordinates);

} // namespace kestrel::thc
