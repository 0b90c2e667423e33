// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Elementwise sum of two int8 tensors of different scales.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "sw_ref/vision/requant.hpp"

namespace kestrel::hv::ref {

/// Both operands, less their zero point, are shifted left, scaled to twice the larger input scale,
/// summed modulo 2^32 and scaled to the output.
struct AddParams {
  std::int32_t input1_zero_point = 0;
  std::int32_t input2_zero_point = 0;
  std::int32_t output_zero_point = 0;
  int left_shift = 20;
  Multiplier input1;
  Multiplier input2;
  Multiplier output;
  ActivationRange activation;
};

/// Multipliers and zero points of ADD as the reference derives them from the scales (> 0). The
/// reference demands that the output multiplier is below 1; the caller checks output.shift <= 0.
[[nodiscard]] AddParams add_params(float input1_scale, std::int32_t input1_zero_point,
                                   float input2_scale, std::int32_t input2_zero_point,
                                   float output_scale, std::int32_t output_zero_point,
                                   Activation activation);

/// One operand of ADD in its scaled 32-bit form.
[[nodiscard]] constexpr std::int32_t add_operand(std::int8_t x, std::int32_t zero_point,
                                                 int left_shift, Multiplier m) {
  return multiply_by_quantized_multiplier(
      wrapping_shl(static_cast<std::int32_t>(x) - zero_point, left_shift), m);
}

/// add_operand of all int8 values; index = the value's bit pattern as an unsigned byte.
[[nodiscard]] std::array<std::int32_t, 256> make_add_table(std::int32_t zero_point, int left_shift,
                                                           Multiplier m);

/// The sum of two scaled operands as an int8 output.
[[nodiscard]] constexpr std::int8_t add_output(const AddParams &params, std::int32_t scaled1,
                                               std::int32_t scaled2) {
  return requantize(wrapping_add(scaled1, scaled2), params.output.multiplier, params.output.shift,
                    params.output_zero_point, params.activation);
}

/// Preconditions: the three spans have one size.
void add(const AddParams &params, std::span<const std::int8_t> input1,
         std::span<const std::int8_t> input2, std::span<std::int8_t> output);

} // namespace kestrel::hv::ref
