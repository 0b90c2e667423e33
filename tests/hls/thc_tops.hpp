// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Top functions of hls/thc_*/thc_*_bambu.cpp, and random arguments for them with the results that
// the software reference has.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "sw_ref/thc/codec.hpp"
#include "sw_ref/thc/fixed.hpp"

extern "C" {
std::uint8_t thc_quantise_top(std::uint64_t values, std::uint32_t noise, std::uint32_t gain,
                              std::uint8_t block_log2, std::uint8_t granularity,
                              std::uint8_t entries, std::uint64_t values_low,
                              std::uint64_t values_high);
std::uint64_t thc_hadamard_top(std::int32_t value, std::int32_t held, std::uint8_t second_half,
                               std::uint8_t halve);
std::uint64_t thc_aggregate_top(std::uint32_t sums, std::uint8_t contributors,
                                std::uint16_t indices, std::uint8_t first, std::uint8_t granularity,
                                std::uint8_t entries, std::uint64_t values_low,
                                std::uint64_t values_high);
}

namespace kestrel::hls_test {

using Engine = std::mt19937_64;

inline std::uint32_t below(Engine &engine, std::uint32_t n) {
  return std::uniform_int_distribution<std::uint32_t>(0, n - 1)(engine);
}

/// Any table that the kernels take.
inline thc::ref::Table random_table(Engine &engine) {
  thc::ref::Table table;
  table.bits = 1 + below(engine, 4);
  const std::size_t entries = std::size_t{1} << table.bits;
  table.granularity =
      static_cast<unsigned>(entries - 1) + below(engine, 257 - static_cast<std::uint32_t>(entries));
  table.t = std::uniform_real_distribution<double>(1.0, 3.99)(engine);
  std::vector<std::uint8_t> inner(table.granularity - 1);
  std::iota(inner.begin(), inner.end(), std::uint8_t{1});
  std::shuffle(inner.begin(), inner.end(), engine);
  inner.resize(entries - 2);
  std::sort(inner.begin(), inner.end());
  table.values = {0};
  table.values.insert(table.values.end(), inner.begin(), inner.end());
  table.values.push_back(static_cast<std::uint8_t>(table.granularity));
  return table;
}

/// 27 bits, all magnitudes, the largest more often.
inline std::int32_t random_fixed(Engine &engine) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(engine())) >>
         (5 + (below(engine, 4) == 0 ? 0 : below(engine, 20)));
}

/// Entries first..first+7 of a table, random bits beyond its end.
inline std::uint64_t packed_values(const thc::ref::Table &table, std::size_t first,
                                   Engine &engine) {
  std::uint64_t packed = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    const std::uint64_t value = first + i < table.values.size()
                                    ? table.values[first + i]
                                    : static_cast<std::uint64_t>(below(engine, 256));
    packed |= value << (8 * i);
  }
  return packed;
}

/// One call: port names with values, and the result.
struct Call {
  std::vector<std::pair<std::string, std::uint64_t>> ports;
  std::uint64_t result = 0;
};

inline Call quantise_call(Engine &engine) {
  const thc::ref::Table table = random_table(engine);
  const int k = 10 + static_cast<int>(below(engine, 6));
  const auto scale =
      thc::ref::make_scale(std::uniform_real_distribution<float>(1.0F, 2.0F)(engine), table);
  const std::int32_t z[2] = {random_fixed(engine), random_fixed(engine)};
  const auto noise = static_cast<std::uint32_t>(engine());
  std::uint8_t index[2];
  for (unsigned i = 0; i < 2; ++i)
    index[i] =
        thc::ref::quantise(z[i], k, scale, table, static_cast<std::uint16_t>(noise >> (16 * i)));
  return {{{"values", std::uint64_t{static_cast<std::uint32_t>(z[1])} << 32 |
                          static_cast<std::uint32_t>(z[0])},
           {"noise", noise},
           {"gain", scale.gain},
           {"block_log2", static_cast<std::uint64_t>(k)},
           {"granularity", table.granularity},
           {"entries", table.values.size()},
           {"values_low", packed_values(table, 0, engine)},
           {"values_high", packed_values(table, 8, engine)}},
          static_cast<std::uint64_t>(index[0] << 4 | index[1])};
}

inline Call hadamard_call(Engine &engine) {
  const std::int32_t value = random_fixed(engine);
  const std::int32_t held = random_fixed(engine);
  const bool second = below(engine, 4) != 0;
  const bool halve = below(engine, 2) != 0;
  constexpr std::uint64_t kMask = (1U << thc::ref::kFixedBits) - 1;
  const auto cut = [&](std::int64_t v) { return static_cast<std::uint64_t>(v) & kMask; };
  std::int64_t leaves = held;
  std::int64_t holds = value;
  bool overflow = false;
  if (second) {
    const int shift = halve ? 1 : 0;
    leaves = thc::ref::shift_right_rne(std::int64_t{held} + value, shift);
    holds = thc::ref::shift_right_rne(std::int64_t{held} - value, shift);
    for (const std::int64_t v : {leaves, holds})
      overflow = overflow || v < -(1 << 26) || v >= 1 << 26;
  }
  return {{{"value", static_cast<std::uint32_t>(value)},
           {"held", static_cast<std::uint32_t>(held)},
           {"second_half", second ? 1U : 0U},
           {"halve", halve ? 1U : 0U}},
          cut(leaves) | cut(holds) << 27 | std::uint64_t{overflow ? 1U : 0U} << 54};
}

inline Call aggregate_call(Engine &engine) {
  const thc::ref::Table table = random_table(engine);
  const std::uint32_t g = table.granularity;
  const bool first = below(engine, 4) == 0;
  // As many contributions as there may be, now and then.
  const std::uint32_t most = 255 / g;
  const std::uint32_t contributors = below(engine, 3) == 0 ? most : below(engine, most + 1);
  std::vector<std::uint32_t> sums(4);
  std::uint32_t packed = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    sums[i] = below(engine, contributors * g + 1);
    packed |= sums[i] << (8 * i);
  }
  std::vector<std::uint8_t> indices(4);
  std::uint64_t bad = 0;
  const auto entries = static_cast<std::uint32_t>(table.values.size());
  for (auto &index : indices)
    index = static_cast<std::uint8_t>(below(engine, below(engine, 4) == 0 ? 16 : entries));
  const auto bytes = thc::ref::pack_nibbles(indices);
  const std::uint32_t before = first ? 0 : contributors;
  const bool refused = (before + 1) * g > 255;
  if (first)
    sums.assign(4, 0);
  if (!refused) {
    for (auto &index : indices) {
      bad += index >= entries ? 1 : 0;
      index = static_cast<std::uint8_t>(index % entries);
    }
    thc::ref::aggregate(indices, table, sums);
  }
  std::uint64_t result = 0;
  for (std::size_t i = 0; i < 4; ++i)
    result |= std::uint64_t{sums[i]} << (8 * i);
  result |= std::uint64_t{before + (refused ? 0U : 1U)} << 32 |
            std::uint64_t{refused ? 1U : 0U} << 40 | bad << 41;
  return {{{"sums", packed},
           {"contributors", contributors},
           {"indices", static_cast<std::uint64_t>(bytes[1] << 8 | bytes[0])},
           {"first", first ? 1U : 0U},
           {"granularity", g},
           {"entries", entries},
           {"values_low", packed_values(table, 0, engine)},
           {"values_high", packed_values(table, 8, engine)}},
          result};
}

} // namespace kestrel::hls_test
