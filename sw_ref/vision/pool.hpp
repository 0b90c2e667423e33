// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Average pool, max pool and MEAN over height and width.
#pragma once

#include <cstdint>
#include <span>

#include "sw_ref/vision/requant.hpp"
#include "sw_ref/vision/shape.hpp"

namespace kestrel::hv::ref {

/// Pooling keeps scale and zero point. Dilation must be 1.
struct PoolParams {
  Shape input;
  Shape output; ///< same n and c as input
  Window window;
  ActivationRange activation;
};

/// sum / count rounded half away from zero. count >= 1, |sum| + count / 2 < 2^31.
[[nodiscard]] constexpr std::int32_t rounded_mean(std::int32_t sum, std::int32_t count) {
  return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

/// Mean of the elements inside the input: padding does not count.
/// Precondition: every window covers at least one element of the input.
void average_pool(const PoolParams &params, std::span<const std::int8_t> input,
                  std::span<std::int8_t> output);

/// Largest of the elements inside the input.
/// Precondition: every window covers at least one element of the input.
void max_pool(const PoolParams &params, std::span<const std::int8_t> input,
              std::span<std::int8_t> output);

/// MEAN over H and W.
struct MeanParams {
  Shape input; ///< the output is [n, c] (or [n, 1, 1, c]: the same bytes)
  std::int32_t input_zero_point = 0;
  std::int32_t output_zero_point = 0;
  Multiplier scale; ///< division by h * w folded in: mean_multiplier(mean_scale(..), h * w)
};

/// quantize_multiplier(input / output) in double precision.
[[nodiscard]] Multiplier mean_scale(float input_scale, float output_scale);

/// Folds the division by count into a multiplier: (m << s) / count and shift - s with
/// s = min(floor(log2 count), 32, 31 + shift). count >= 1, scale.shift >= -31.
[[nodiscard]] Multiplier mean_multiplier(Multiplier scale, std::int64_t count);

/// sum (x - input_zero_point), requantised once, clamped to int8.
void mean(const MeanParams &params, std::span<const std::int8_t> input,
          std::span<std::int8_t> output);

} // namespace kestrel::hv::ref
