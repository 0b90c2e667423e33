// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Quantisation of one beat of rotated coordinates on a table, as rtl/thc/thc_compress.sv does it:
// alignment to 18 bits, one multiplication to the grid, clamp, cell, stochastic rounding.
// docs/thc.md has the numbers; equal to ref::quantise.
//
// A pure function on one beat for high-level synthesis: C++14, no state, no memory. Expected II 1,
// latency 4 to 6 cycles; an 18 x 18 bit product and an 8 x 17 bit one a lane.
#pragma once

#include <cstdint>

namespace kestrel {
namespace hls {

/// \tparam LanesValue  coordinates of a beat, 1..64
template <int LanesValue> struct ThcQuantiseConfig {
  static_assert(LanesValue >= 1 && LanesValue <= 64, "1 to 64 lanes");
  static constexpr int kLanes = LanesValue;
};

/// What is the same for all coordinates of a block.
struct ThcQuantiseBlock {
  std::uint8_t block_log2;  ///< of the block, 10..15
  std::uint32_t gain;       ///< rotated value -> grid, 17 bits
  std::uint8_t granularity; ///< g, 1..255
  std::uint8_t entries;     ///< of the table: 2, 4, 8 or 16
  std::uint8_t values[16];  ///< ascending from 0 to g; beyond `entries` not looked at
};

template <class Config> struct ThcQuantiseIn {
  std::int32_t value[Config::kLanes];  ///< rotated, 27 bits signed
  std::uint16_t noise[Config::kLanes]; ///< uniform
};
template <class Config> struct ThcQuantiseOut { std::uint8_t index[Config::kLanes]; };

/// value / 2^shift, ties to even, 1..8, saturated to 18 bits.
inline std::int32_t thc_align(std::int32_t value, int shift) {
  const std::int32_t floor = value >> shift;
  const std::int32_t rest = value - floor * (1 << shift);
  const std::int32_t half = 1 << (shift - 1);
  const std::int32_t rounded = floor + (rest > half || (rest == half && (floor & 1) != 0) ? 1 : 0);
  return rounded > 131071 ? 131071 : rounded < -131072 ? -131072 : rounded;
}

/// One coordinate.
inline std::uint8_t thc_quantise_lane(std::int32_t value, std::uint16_t noise,
                                      const ThcQuantiseBlock &block) {
  const std::int32_t z18 = thc_align(value, 8 - block.block_log2 / 2);
  // Position on the grid with 24 fractional bits, 0..g.
  const std::int64_t end = static_cast<std::int64_t>(block.granularity) << 24;
  const std::int64_t unclamped = static_cast<std::int64_t>(z18) * block.gain + (end >> 1);
  const std::uint32_t position = static_cast<std::uint32_t>(unclamped < 0     ? 0
                                                            : unclamped > end ? end
                                                                              : unclamped);
  // The cell: how many inner entries are not above; one comparator each.
  const std::uint32_t whole = position >> 24;
  std::uint32_t cell = 0;
  std::uint32_t low = block.values[0];
  std::uint32_t high = block.values[1];
  for (int k = 1; k < 15; ++k) // unrolled
    if (k + 1 < block.entries && block.values[k] <= whole) {
      cell = static_cast<std::uint32_t>(k);
      low = block.values[k];
      high = block.values[k + 1];
    }
  const std::uint32_t offset = position - (low << 24);
  const std::uint32_t threshold = ((2U * noise + 1) * (high - low)) << 7;
  return static_cast<std::uint8_t>(cell + (threshold < offset ? 1U : 0U));
}

/// One beat. II 1; the loop is unrolled.
template <class Config>
ThcQuantiseOut<Config> thc_quantise_beat(const ThcQuantiseIn<Config> &in,
                                         const ThcQuantiseBlock &block) {
  ThcQuantiseOut<Config> out;
  for (int i = 0; i < Config::kLanes; ++i)
    out.index[i] = thc_quantise_lane(in.value[i], in.noise[i], block);
  return out;
}

} // namespace hls
} // namespace kestrel
