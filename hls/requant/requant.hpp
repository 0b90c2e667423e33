// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Requantisation of one beat of accumulators to int8, as the vision engine's lanes do it
// (rtl/vision/hv_requant.sv): TensorFlow Lite's MultiplyByQuantizedMultiplier, zero point, clamp.
//
// A pure function on one beat for high-level synthesis: C++14, no state, no memory. Expected II 1; the
// 32 x 31 bit product is made of four 18 x 18 products so that it maps to four DSP blocks a lane
// whatever the tool makes of a 64-bit multiply. Wrappers for tools add their stream interfaces.
#pragma once

#include <cstdint>

namespace kestrel {
namespace hls {

/// \tparam LanesValue  accumulators per beat, 1..64
template <int LanesValue> struct RequantConfig {
  static_assert(LanesValue >= 1 && LanesValue <= 64, "1 to 64 lanes");
  static constexpr int kLanes = LanesValue;
};

/// What is the same for all lanes of a layer.
struct RequantLayer {
  std::int8_t zero_point; ///< of the output
  std::int8_t min;        ///< clamp, min <= max
  std::int8_t max;
};

/// One lane: accumulator with bias, Q31 multiplier 0..2^31-1, right shift 0..31.
struct RequantLane {
  std::int32_t value;
  std::int32_t multiplier;
  std::uint8_t shift;
};

template <class Config> struct RequantBeatIn { RequantLane lane[Config::kLanes]; };
template <class Config> struct RequantBeatOut { std::int8_t value[Config::kLanes]; };

/// (value * multiplier + 2^30) >> 31 from four 18 x 18 bit products.
inline std::int32_t requant_scale(std::int32_t value, std::int32_t multiplier) {
  const std::int32_t vh = value >> 17;
  const std::int32_t vl = value & 0x1FFFF;
  const std::int32_t mh = multiplier >> 17;
  const std::int32_t ml = multiplier & 0x1FFFF;
  const std::int64_t high = static_cast<std::int64_t>(vh) * mh;
  const std::int64_t middle =
      static_cast<std::int64_t>(vh) * ml + static_cast<std::int64_t>(vl) * mh;
  const std::int64_t low = static_cast<std::int64_t>(vl) * ml;
  const std::int64_t product = high * (std::int64_t{1} << 34) + middle * (std::int64_t{1} << 17) + low;
  return static_cast<std::int32_t>((product + (std::int64_t{1} << 30)) >> 31);
}

/// value / 2^shift rounded half away from zero: 2^(shift-1) - 1 is added, and one more to values
/// that are not negative.
inline std::int32_t requant_round_shift(std::int32_t value, std::uint8_t shift) {
  if (shift == 0)
    return value;
  const std::int64_t half = (std::int64_t{1} << (shift - 1)) - 1;
  return static_cast<std::int32_t>((value + half + (value < 0 ? 0 : 1)) >> shift);
}

inline std::int8_t requant_lane(const RequantLane &lane, const RequantLayer &layer) {
  const std::int32_t scaled =
      requant_round_shift(requant_scale(lane.value, lane.multiplier), lane.shift);
  // Beyond +-512 any zero point leaves the value outside the clamp.
  const std::int32_t near = scaled > 511 ? 511 : scaled < -512 ? -512 : scaled;
  const std::int32_t shifted = near + layer.zero_point;
  return static_cast<std::int8_t>(shifted < layer.min   ? layer.min
                                  : shifted > layer.max ? layer.max
                                                        : shifted);
}

/// One beat. II 1; the loop is unrolled.
template <class Config>
RequantBeatOut<Config> requant_beat(const RequantBeatIn<Config> &in, const RequantLayer &layer) {
  RequantBeatOut<Config> out;
  for (int i = 0; i < Config::kLanes; ++i)
    out.value[i] = requant_lane(in.lane[i], layer);
  return out;
}

} // namespace hls
} // namespace kestrel
