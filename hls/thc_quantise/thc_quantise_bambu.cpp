// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The kernel as Bambu synthesizes it: two lanes, all ports plain integers, the packed byte out.
#include "hls/thc_quantise/thc_quantise.hpp"

// values: two coordinates of 32 bits, the first low; noise: two of 16 bits; values_low,
// values_high: table entries 0..7 and 8..15, the first in the lowest byte. Result: first index in
// the high nibble.
// clang-format off
#pragma HLS pipeline II=1
// clang-format on
extern "C" std::uint8_t thc_quantise_top(std::uint64_t values, std::uint32_t noise,
                                         std::uint32_t gain, std::uint8_t block_log2,
                                         std::uint8_t granularity, std::uint8_t entries,
                                         std::uint64_t values_low, std::uint64_t values_high) {
  using Config = kestrel::hls::ThcQuantiseConfig<2>;
  kestrel::hls::ThcQuantiseBlock block;
  block.block_log2 = block_log2;
  block.gain = gain;
  block.granularity = granularity;
  block.entries = entries;
  for (int i = 0; i < 8; ++i) {
    block.values[i] = static_cast<std::uint8_t>(values_low >> (8 * i));
    block.values[8 + i] = static_cast<std::uint8_t>(values_high >> (8 * i));
  }
  kestrel::hls::ThcQuantiseIn<Config> in;
  for (int i = 0; i < Config::kLanes; ++i) {
    in.value[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(values >> (32 * i)));
    in.noise[i] = static_cast<std::uint16_t>(noise >> (16 * i));
  }
  const kestrel::hls::ThcQuantiseOut<Config> out =
      kestrel::hls::thc_quantise_beat<Config>(in, block);
  return static_cast<std::uint8_t>(out.index[0] << 4 | out.index[1]);
}
