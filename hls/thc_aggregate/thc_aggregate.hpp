// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Adds one beat of table indices to its sums, as rtl/thc/thc_aggregate.sv does it: table lookup,
// integer sum, count of contributions. Equal to ref::aggregate.
//
// A pure function on one beat for high-level synthesis: C++14, state in and out as values. Expected
// II 1; the sums of a frame lie in a memory outside, and a frame that follows the one before at
// once needs them forwarded.
#pragma once

#include <cstdint>

namespace kestrel {
namespace hls {

/// \tparam LanesValue    coordinates of a beat, 1..128
/// \tparam SumBitsValue  bits of a sum, 8 or 16
template <int LanesValue, int SumBitsValue> struct ThcAggregateConfig {
  static_assert(LanesValue >= 1 && LanesValue <= 128, "1 to 128 lanes");
  static_assert(SumBitsValue == 8 || SumBitsValue == 16, "sums of 8 or 16 bits");
  static constexpr int kLanes = LanesValue;
  static constexpr std::uint32_t kMaxSum = (std::uint32_t{1} << SumBitsValue) - 1;
};

struct ThcAggregateTable {
  std::uint8_t granularity; ///< g, 1..255
  std::uint8_t entries;     ///< 2, 4, 8 or 16
  std::uint8_t values[16];  ///< 0..g; beyond `entries` not looked at
};

/// The sums of a beat and how many contributions are in them.
template <class Config> struct ThcSums {
  std::uint16_t sum[Config::kLanes];
  std::uint8_t contributors;
};

template <class Config> struct ThcIndices {
  std::uint8_t index[Config::kLanes]; ///< 4 bits
  bool first;                         ///< the sums start anew
};

template <class Config> struct ThcAggregateOut {
  ThcSums<Config> sums;
  bool refused;           ///< would not fit the sums or the count: nothing was added
  std::uint8_t bad_index; ///< indices beyond the table; each counted modulo the entries
};

/// One beat. II 1; the loops are unrolled.
template <class Config>
ThcAggregateOut<Config> thc_aggregate_beat(const ThcSums<Config> &sums,
                                           const ThcIndices<Config> &in,
                                           const ThcAggregateTable &table) {
  ThcAggregateOut<Config> out;
  const std::uint32_t contributors = in.first ? 0U : sums.contributors;
  out.refused = contributors == 255 || (contributors + 1) * table.granularity > Config::kMaxSum;
  out.bad_index = 0;
  for (int i = 0; i < Config::kLanes; ++i) {
    const std::uint8_t index = static_cast<std::uint8_t>(in.index[i] & (table.entries - 1) & 15);
    const std::uint32_t before = in.first ? 0U : sums.sum[i];
    out.sums.sum[i] = static_cast<std::uint16_t>(before + (out.refused ? 0U : table.values[index]));
    if (!out.refused && index != in.index[i])
      ++out.bad_index;
  }
  out.sums.contributors = static_cast<std::uint8_t>(contributors + (out.refused ? 0U : 1U));
  return out;
}

} // namespace hls
} // namespace kestrel
