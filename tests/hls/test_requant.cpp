// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// C simulation of the requantisation kernel against the software reference.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "hls/requant/requant.hpp"
#include "sw_ref/vision/requant.hpp"

namespace kestrel {
namespace {

std::int8_t reference(const hls::RequantLane &lane, const hls::RequantLayer &layer) {
  const std::int32_t scaled =
      hv::ref::multiply_by_quantized_multiplier(lane.value, lane.multiplier, -int{lane.shift});
  const std::int64_t v = std::int64_t{scaled} + layer.zero_point;
  return static_cast<std::int8_t>(
      std::clamp(v, std::int64_t{layer.min}, std::int64_t{layer.max}));
}

TEST(HlsRequant, EqualsReferenceOnRandomBeats) {
  const char *text = std::getenv("KESTREL_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 0) : 7;
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  using Config = hls::RequantConfig<16>;
  int inside = 0;
  for (int n = 0; n < 50'000; ++n) {
    hls::RequantBeatIn<Config> in{};
    const auto lo = static_cast<std::int8_t>(random() % 256);
    const auto hi = static_cast<std::int8_t>(random() % 256);
    const hls::RequantLayer layer{static_cast<std::int8_t>(random() % 256), std::min(lo, hi),
                                  std::max(lo, hi)};
    for (auto &lane : in.lane) {
      // All magnitudes, so that results fall inside the clamp as well.
      lane.value = static_cast<std::int32_t>(static_cast<std::uint32_t>(random())) >> (random() % 32);
      lane.multiplier = random() % 10 == 0
                            ? 0
                            : static_cast<std::int32_t>((1U << 30) + (random() & ((1U << 30) - 1)));
      lane.shift = static_cast<std::uint8_t>(random() % 32);
    }
    const auto out = hls::requant_beat<Config>(in, layer);
    for (int i = 0; i < Config::kLanes; ++i) {
      ASSERT_EQ(out.value[i], reference(in.lane[i], layer))
          << in.lane[i].value << " * " << in.lane[i].multiplier << " >> " << int{in.lane[i].shift};
      inside += out.value[i] > layer.min && out.value[i] < layer.max;
    }
  }
  EXPECT_GT(inside, 10'000);
}

TEST(HlsRequant, Corners) {
  constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();
  const hls::RequantLayer layer{0, -128, 127};
  for (const std::int32_t value : {kMin, kMin + 1, -1, 0, 1, kMax, 1 << 17, -(1 << 17), 0x1FFFF})
    for (const std::int32_t multiplier : {0, 1 << 30, (1 << 30) + 1, kMax})
      for (int shift = 0; shift < 32; ++shift) {
        const hls::RequantLane lane{value, multiplier, static_cast<std::uint8_t>(shift)};
        EXPECT_EQ(hls::requant_lane(lane, layer), reference(lane, layer))
            << value << " * " << multiplier << " >> " << shift;
      }
}

} // namespace
} // namespace kestrel
