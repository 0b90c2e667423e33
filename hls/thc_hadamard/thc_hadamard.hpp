// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Streaming Walsh-Hadamard transform in 27-bit fixed point: stage order, halving and rounding of
// ref::hadamard, natural order in and out.
//
// Pure functions on one beat for high-level synthesis (C++14, no heap): the butterflies between the
// lanes of a beat, and one stage between beats. A stage of stride D beats holds D beats in a ring
// that is read and then written at one place: in the first half of a pair of strides a beat is kept
// and the difference kept before leaves; in the second half the sum leaves and the difference is
// kept. thc_hadamard_step chains them with the rings in one array, one beat a call; expected II 1
// with one read and one write port for each stage's part of the array. A block's first result
// leaves 2^block_log2 / lanes - 1 calls after its first beat; after the last block as many calls
// with any input push it out.
#pragma once

#include <cstdint>

namespace kestrel {
namespace hls {

/// \tparam LanesLog2Value  log2 of the coordinates of a beat, 0..6
/// \tparam MaxLog2Value    log2 of the largest block, 10..15
template <int LanesLog2Value, int MaxLog2Value> struct ThcHadamardConfig {
  static_assert(LanesLog2Value >= 0 && LanesLog2Value <= 6, "1 to 64 lanes");
  static_assert(MaxLog2Value >= 10 && MaxLog2Value <= 15, "blocks of 2^10 to 2^15");
  static constexpr int kLanesLog2 = LanesLog2Value;
  static constexpr int kLanes = 1 << LanesLog2Value;
  static constexpr int kMaxLog2 = MaxLog2Value;
  static constexpr int kStages = MaxLog2Value - LanesLog2Value; ///< between beats
};

template <class Config> struct ThcHadamardBeat { std::int32_t value[Config::kLanes]; };

struct ThcButterfly {
  std::int32_t sum;        ///< 27 bits
  std::int32_t difference; ///< 27 bits
  bool overflow;           ///< one of them left 27 bits and was cut
};

inline std::int32_t thc_cut27(std::int32_t v) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(v) << 5) >> 5;
}

/// Half of v to nearest, ties to even.
inline std::int32_t thc_halve(std::int32_t v) { return (v + (v >> 1 & 1)) >> 1; }

/// a + b and a - b, or half of both.
inline ThcButterfly thc_butterfly(std::int32_t a, std::int32_t b, bool halve) {
  const std::int32_t sum = halve ? thc_halve(a + b) : a + b;
  const std::int32_t difference = halve ? thc_halve(a - b) : a - b;
  ThcButterfly out;
  out.sum = thc_cut27(sum);
  out.difference = thc_cut27(difference);
  out.overflow = out.sum != sum || out.difference != difference;
  return out;
}

template <class Config> struct ThcHadamardLanesOut {
  ThcHadamardBeat<Config> beat;
  bool overflow;
};

/// The stages of stride 1, 2, .. lanes / 2. Stages 1, 3, ... halve.
template <class Config>
ThcHadamardLanesOut<Config> thc_hadamard_lanes(const ThcHadamardBeat<Config> &in) {
  ThcHadamardLanesOut<Config> out;
  out.beat = in;
  out.overflow = false;
  for (int stage = 0; stage < Config::kLanesLog2; ++stage) // unrolled
    for (int i = 0; i < Config::kLanes; ++i)
      if ((i >> stage & 1) == 0) {
        const int j = i + (1 << stage);
        const ThcButterfly b =
            thc_butterfly(out.beat.value[i], out.beat.value[j], (stage & 1) != 0);
        out.beat.value[i] = b.sum;
        out.beat.value[j] = b.difference;
        out.overflow = out.overflow || b.overflow;
      }
  return out;
}

template <class Config> struct ThcHadamardStageOut {
  ThcHadamardBeat<Config> beat; ///< leaves
  ThcHadamardBeat<Config> held; ///< goes into the ring instead of what was read
  bool overflow;
};

/// One stage between beats. `held` was read from the ring.
template <class Config>
ThcHadamardStageOut<Config> thc_hadamard_stage(const ThcHadamardBeat<Config> &in,
                                               const ThcHadamardBeat<Config> &held,
                                               bool second_half, bool halve) {
  ThcHadamardStageOut<Config> out;
  out.overflow = false;
  for (int i = 0; i < Config::kLanes; ++i) { // unrolled
    const ThcButterfly b = thc_butterfly(held.value[i], in.value[i], halve);
    out.beat.value[i] = second_half ? b.sum : held.value[i];
    out.held.value[i] = second_half ? b.difference : in.value[i];
    out.overflow = out.overflow || (second_half && b.overflow);
  }
  return out;
}

/// The rings of all stages: stage s has 2^s beats from 2^s on. Zero it before the first beat and
/// when the block size changes.
template <class Config> struct ThcHadamardState {
  ThcHadamardBeat<Config> ring[1 << Config::kStages];
  std::uint32_t beat; ///< calls so far
};

/// One beat in, one beat out. `overflow` is set when a value left 27 bits, never cleared.
template <class Config>
ThcHadamardBeat<Config> thc_hadamard_step(ThcHadamardState<Config> &state,
                                          const ThcHadamardBeat<Config> &in, int block_log2,
                                          bool &overflow) {
  const ThcHadamardLanesOut<Config> lanes = thc_hadamard_lanes<Config>(in);
  ThcHadamardBeat<Config> beat = lanes.beat;
  overflow = overflow || lanes.overflow;
  for (int s = 0; s < Config::kStages; ++s) { // unrolled: one ring each
    if (s + Config::kLanesLog2 >= block_log2)
      continue;
    const std::uint32_t stride = std::uint32_t{1} << s;
    // The stages before delay by 1 + 2 + .. + stride / 2 beats.
    const std::uint32_t position = state.beat - (stride - 1);
    ThcHadamardBeat<Config> &place = state.ring[stride + (position & (stride - 1))];
    const ThcHadamardStageOut<Config> out = thc_hadamard_stage<Config>(
        beat, place, (position & stride) != 0, ((s + Config::kLanesLog2) & 1) != 0);
    place = out.held;
    beat = out.beat;
    overflow = overflow || out.overflow;
  }
  ++state.beat;
  return beat;
}

} // namespace hls
} // namespace kestrel
