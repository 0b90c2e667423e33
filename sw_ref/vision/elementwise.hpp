// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Operators that look at one element at a time or only move elements: QUANTIZE, RELU and RELU6,
// PAD and PADV2, RESHAPE, ARG_MAX.
#pragma once

#include <cstdint>
#include <span>

#include "sw_ref/vision/requant.hpp"
#include "sw_ref/vision/shape.hpp"

namespace kestrel::hv::ref {

/// y = clamp(requantise(x - input_zero_point) + output_zero_point): QUANTIZE from int8 to int8 with
/// the full range; RELU, RELU6, RELU_N1_TO_1 as operators of their own with activation_range() of
/// the output (see quantize_op_multiplier and relu_multiplier).
struct RescaleParams {
  std::int32_t input_zero_point = 0;
  std::int32_t output_zero_point = 0;
  Multiplier scale;
  ActivationRange activation;
};

/// The result for one value.
[[nodiscard]] constexpr std::int8_t rescale_value(const RescaleParams &params, std::int8_t x) {
  return requantize(static_cast<std::int32_t>(x) - params.input_zero_point, params.scale.multiplier,
                    params.scale.shift, params.output_zero_point, params.activation);
}

/// Preconditions: spans of one size; they may be the same memory.
void rescale(const RescaleParams &params, std::span<const std::int8_t> input,
             std::span<std::int8_t> output);

/// A plain clamp: what RELU and RELU6 amount to when input and output share scale and zero point.
void clamp(ActivationRange range, std::span<const std::int8_t> input,
           std::span<std::int8_t> output);

/// PAD (value = the zero point) and PADV2 (value given, already quantised).
struct PadParams {
  Shape input;
  Shape before; ///< elements put before the first along each axis (0 or more)
  Shape after;  ///< elements put behind the last along each axis (0 or more)
  std::int8_t value = 0;

  [[nodiscard]] constexpr Shape output() const {
    return {input.n + before.n + after.n, input.h + before.h + after.h,
            input.w + before.w + after.w, input.c + before.c + after.c};
  }
};

/// Precondition: output is params.output().size() long and does not overlap the input. Note that
/// Shape{} is all ones: write Shape{0, t, l, 0}.
void pad(const PadParams &params, std::span<const std::int8_t> input,
         std::span<std::int8_t> output);

/// RESHAPE keeps the elements in order. Precondition: spans of one size, no overlap.
void reshape(std::span<const std::int8_t> input, std::span<std::int8_t> output);

/// Index of the largest element; the lowest index wins ties. Precondition: not empty.
[[nodiscard]] int argmax(std::span<const std::int8_t> input);

} // namespace kestrel::hv::ref
