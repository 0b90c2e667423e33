// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The kernel as Bambu synthesizes it: four lanes of 8-bit sums, all ports plain integers.
#include "hls/thc_aggregate/thc_aggregate.hpp"

// sums: four of 8 bits, the first low; indices: four of 4 bits in the order of the packed bytes
// (first coordinate in the high nibble of the low byte). Result: bits 0..31 the sums, 32..39 the
// contributors, 40 refused, 41..43 indices beyond the table.
// clang-format off
#pragma HLS pipeline II=1
// clang-format on
extern "C" std::uint64_t thc_aggregate_top(std::uint32_t sums, std::uint8_t contributors,
                                           std::uint16_t indices, std::uint8_t first,
                                           std::uint8_t granularity, std::uint8_t entries,
                                           std::uint64_t values_low, std::uint64_t values_high) {
  using Config = kestrel::hls::ThcAggregateConfig<4, 8>;
  kestrel::hls::ThcAggregateTable table;
  table.granularity = granularity;
  table.entries = entries;
  for (int i = 0; i < 8; ++i) {
    table.values[i] = static_cast<std::uint8_t>(values_low >> (8 * i));
    table.values[8 + i] = static_cast<std::uint8_t>(values_high >> (8 * i));
  }
  kestrel::hls::ThcSums<Config> before;
  kestrel::hls::ThcIndices<Config> in;
  before.contributors = contributors;
  in.first = (first & 1) != 0;
  for (int i = 0; i < Config::kLanes; ++i) {
    before.sum[i] = static_cast<std::uint8_t>(sums >> (8 * i));
    in.index[i] = static_cast<std::uint8_t>(indices >> (4 * (i ^ 1)) & 15);
  }
  const kestrel::hls::ThcAggregateOut<Config> out =
      kestrel::hls::thc_aggregate_beat<Config>(before, in, table);
  std::uint64_t result = 0;
  for (int i = 0; i < Config::kLanes; ++i)
    result |= static_cast<std::uint64_t>(out.sums.sum[i] & 255U) << (8 * i);
  return result | static_cast<std::uint64_t>(out.sums.contributors) << 32 |
         static_cast<std::uint64_t>(out.refused ? 1 : 0) << 40 |
         static_cast<std::uint64_t>(out.bad_index) << 41;
}
