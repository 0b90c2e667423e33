// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One lane of a stage between beats as Bambu synthesizes it; the ring is a memory outside.
#include "hls/thc_hadamard/thc_hadamard.hpp"

// Result: bits 0..26 the value that leaves, 27..53 the one to hold, 54 overflow.
// clang-format off
#pragma HLS pipeline II=1
// clang-format on
extern "C" std::uint64_t thc_hadamard_top(std::int32_t value, std::int32_t held,
                                          std::uint8_t second_half, std::uint8_t halve) {
  using Config = kestrel::hls::ThcHadamardConfig<0, 15>;
  kestrel::hls::ThcHadamardBeat<Config> in;
  kestrel::hls::ThcHadamardBeat<Config> before;
  in.value[0] = value;
  before.value[0] = held;
  const kestrel::hls::ThcHadamardStageOut<Config> out = kestrel::hls::thc_hadamard_stage<Config>(
      in, before, (second_half & 1) != 0, (halve & 1) != 0);
  const std::uint64_t leaves = static_cast<std::uint32_t>(out.beat.value[0]) & 0x7FFFFFFU;
  const std::uint64_t holds = static_cast<std::uint32_t>(out.held.value[0]) & 0x7FFFFFFU;
  return leaves | holds << 27 | static_cast<std::uint64_t>(out.overflow ? 1 : 0) << 54;
}
