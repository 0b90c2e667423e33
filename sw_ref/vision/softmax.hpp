// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Softmax over int8 rows in gemmlowp fixed point: TensorFlow Lite's reference formula. Output scale
// 1/256, zero point -128.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "sw_ref/vision/requant.hpp"

namespace kestrel::hv::ref {

/// How a difference x - max (<= 0) becomes the Q5.26 argument of the exponential.
struct SoftmaxScaling {
  std::int32_t multiplier = 0;
  int left_shift = 0; ///< 0..31
  int diff_min = 0;   ///< differences below this count as exp = 0
  friend constexpr bool operator==(const SoftmaxScaling &, const SoftmaxScaling &) = default;
};

/// Scaling for beta and the scale of the input. Precondition: beta * input_scale * 2^26 > 1 (the
/// reference refuses smaller products).
[[nodiscard]] SoftmaxScaling softmax_scaling(double beta, double input_scale);

/// exp(a) in Q0.31 for a in Q5.26, a <= 0. exp(0) is 2^31 - 1.
[[nodiscard]] std::int32_t exp_on_negative_values(std::int32_t a_q5_26);

/// 1 / (1 + x) in Q0.31 for x in Q0.31, x in [0, 1).
[[nodiscard]] std::int32_t one_over_one_plus_x_for_x_in_0_1(std::int32_t x_q0_31);

/// The exponential of one difference (-255..0) in Q0.31; 0 where difference < diff_min.
[[nodiscard]] std::int32_t exp_of_difference(const SoftmaxScaling &scaling, int difference);

/// All exponentials an int8 softmax can need: entry i is exp_of_difference(-i).
using ExpTable = std::array<std::int32_t, 256>;
[[nodiscard]] ExpTable make_exp_table(const SoftmaxScaling &scaling);
[[nodiscard]] ExpTable make_exp_table(double beta, double input_scale);

/// One exponential as it enters the sum: Q0.31 to Q12.19 with rounding.
[[nodiscard]] constexpr std::int32_t exp_to_accumulator(std::int32_t exp_q0_31) {
  return rounding_divide_by_pot(exp_q0_31, 12);
}

/// 1 / sum as scale * 2^-bits_over_unit, scale in Q0.31.
struct Reciprocal {
  std::int32_t scale = 0;
  int bits_over_unit = 0; ///< floor(log2 sum): 0..10 for up to 1024 elements
};

/// Precondition: sum in Q12.19, 2^19 <= sum < 2^31 (at least the maximum's exp(0), rounded up to
/// 1).
[[nodiscard]] Reciprocal reciprocal(std::int32_t sum_q12_19);

/// Probability scale * exp * 2^-bits_over_unit rounded to fraction_bits (8 for the int8 output, 16
/// for the confidence unit) fractional bits, without the clamp. Where the right shift exceeds 31
/// the result is the properly rounded one, 0: such shifts (512 or more nearly equal classes at 8
/// bits) are undefined in the reference.
[[nodiscard]] std::int32_t probability(const Reciprocal &r, std::int32_t exp_q0_31,
                                       int fraction_bits);

/// One int8 output of softmax from an exponential: probability to 8 bits, less 128, clamped.
[[nodiscard]] std::int8_t softmax_output(const Reciprocal &r, std::int32_t exp_q0_31);

/// Softmax along the last axis. Preconditions: spans of rows * depth, 1 <= depth <= 4095 (the sum
/// has 12 integer bits).
void softmax(const SoftmaxScaling &scaling, int rows, int depth, std::span<const std::int8_t> input,
             std::span<std::int8_t> output);

} // namespace kestrel::hv::ref
