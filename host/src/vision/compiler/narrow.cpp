// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "vision/compiler/narrow.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "sw_ref/vision/requant.hpp"

namespace kestrel::hv::compiler {
namespace {

constexpr std::int64_t kNarrowMin = -(std::int64_t{1} << 17);
constexpr std::int64_t kNarrowMax = (std::int64_t{1} << 17) - 1;
// Multiplies by one: (x * (2^31 - 1) + 2^30) >> 31 = x for -2^30 < x <= 2^30.
constexpr std::int32_t kOne = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kOneRange = std::int64_t{1} << 29;

bool fits_int32(const SumRange &sums, int left_shift) {
  return sums.low * (std::int64_t{1} << left_shift) >= std::numeric_limits<std::int32_t>::min() &&
         sums.high * (std::int64_t{1} << left_shift) <= std::numeric_limits<std::int32_t>::max();
}

SumRange range_of(const Layer &layer, std::size_t channel, std::int32_t bias) {
  SumRange sums{bias, bias};
  if (layer.is_max) {
    sums.add(1);
    return sums;
  }
  const auto steps = static_cast<std::size_t>(layer.steps());
  for (std::size_t k = 0; k < steps; ++k)
    sums.add(layer.weights[channel * steps + k]);
  return sums;
}

Requant requant_of(const Layer &layer, const ChannelParams &p) {
  return {p.multiplier, p.right_shift, p.left_shift, layer.out_zp, layer.act_min, layer.act_max};
}

// The one result of a channel in all variants, if each has only one.
bool make_constant(Layer &layer, std::size_t channel) {
  for (const auto &variant : layer.variants) {
    const ChannelParams &p = variant[channel];
    const SumRange sums = range_of(layer, channel, p.bias);
    const Requant requant = requant_of(layer, p);
    if (layer.is_max || !fits_int32(sums, p.left_shift) || requant(sums.low) != requant(sums.high))
      return false;
  }
  for (auto &variant : layer.variants) {
    ChannelParams &p = variant[channel];
    const std::int64_t result = requant_of(layer, p)(range_of(layer, channel, p.bias).low);
    p = {static_cast<std::int32_t>(result - layer.out_zp), kOne, 0, 0};
  }
  const auto steps = static_cast<std::ptrdiff_t>(layer.steps());
  std::fill_n(layer.weights.begin() + static_cast<std::ptrdiff_t>(channel) * steps, steps,
              std::int8_t{0});
  return true;
}

} // namespace

std::int64_t Requant::operator()(std::int64_t sum) const {
  const auto x = static_cast<std::int32_t>(sum * (std::int64_t{1} << left_shift));
  const std::int32_t q = ref::rounding_divide_by_pot(
      ref::saturating_rounding_doubling_high_mul(x, static_cast<std::int32_t>(multiplier)),
      right_shift);
  return std::clamp(q + zero_point, min, max);
}

bool narrow_is_exact(const SumRange &sums, const Requant &requant) {
  if (requant.left_shift != 0 || !fits_int32(sums, 0))
    return false;
  // Results do not fall when sums rise: the ends speak for all beyond the bound.
  return requant(sums.low) == requant(std::clamp(sums.low, kNarrowMin, kNarrowMax)) &&
         requant(sums.high) == requant(std::clamp(sums.high, kNarrowMin, kNarrowMax));
}

void find_narrow_channels(Layer &layer) {
  const auto channels = static_cast<std::size_t>(layer.oc);
  layer.narrow.assign(channels, false);
  if (layer.add)
    return; // these tiles have a rate of their own
  for (std::size_t c = 0; c < channels; ++c) {
    bool narrow = true;
    for (auto &variant : layer.variants) {
      ChannelParams &p = variant[c];
      const SumRange sums = range_of(layer, c, p.bias);
      if (p.left_shift == 1 && p.multiplier == std::int32_t{1} << 30 && sums.low > -kOneRange &&
          sums.high < kOneRange) {
        p.multiplier = kOne;
        p.left_shift = 0;
      }
      narrow = narrow && narrow_is_exact(sums, requant_of(layer, p));
    }
    layer.narrow[c] = narrow || make_constant(layer, c);
  }
}

} // namespace kestrel::hv::compiler
