// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/softmax.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstddef>

namespace kestrel::hv::ref {
namespace {

// Fixed-point numbers are written Qi.f: i integer bits, f = 31 - i fractional bits, one sign bit.

constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();

// Product of Qa and Qb as Q(a+b).
constexpr std::int32_t mul(std::int32_t a, std::int32_t b) {
  return saturating_rounding_doubling_high_mul(a, b);
}

// x * 2^n, saturating; 0 <= n <= 30.
constexpr std::int32_t saturating_shl(std::int32_t x, int n) {
  const std::int32_t limit = (std::int32_t{1} << (31 - n)) - 1;
  if (x > limit)
    return kMax;
  if (x < -limit)
    return kMin;
  return wrapping_shl(x, n);
}

// (a + b) / 2 rounded half away from zero.
constexpr std::int32_t rounding_half_sum(std::int32_t a, std::int32_t b) {
  const std::int64_t sum = std::int64_t{a} + std::int64_t{b};
  return static_cast<std::int32_t>((sum + (sum >= 0 ? 1 : -1)) / 2);
}

constexpr int kInputIntegerBits = 5;        // of the exponential's argument, Q5.26
constexpr int kAccumulatorIntegerBits = 12; // of the sum, Q12.19

// exp(a) for a in [-1/4, 0), Q0.31: Taylor series of degree 4 around -1/8.
constexpr std::int32_t exp_on_last_quarter(std::int32_t a) {
  constexpr std::int32_t kExpMinusEighth = 1895147668; // exp(-1/8)
  constexpr std::int32_t kThird = 715827883;
  const std::int32_t x = a + (std::int32_t{1} << 28);
  const std::int32_t x2 = mul(x, x);
  const std::int32_t x3 = mul(x2, x);
  const std::int32_t x4 = mul(x2, x2);
  const std::int32_t x4_4 = rounding_divide_by_pot(x4, 2);
  const std::int32_t rest = rounding_divide_by_pot(mul(x4_4 + x3, kThird) + x2, 1);
  return kExpMinusEighth + mul(kExpMinusEighth, x + rest);
}

// exp(-2^(i-2)) for the bits of the argument from 1/4 up.
constexpr std::int32_t kExpOfBit[] = {1672461947, 1302514674, 790015084, 290630308,
                                      39332535,   720401,     242};

} // namespace

SoftmaxScaling softmax_scaling(double beta, double input_scale) {
  constexpr int kFraction = 31 - kInputIntegerBits;
  const double real =
      std::min(beta * input_scale * static_cast<double>(1 << kFraction), static_cast<double>(kMax));
  assert(real > 1.0);
  const Multiplier m = quantize_multiplier(real);
  const double radius = static_cast<double>((1 << kInputIntegerBits) - 1) *
                        static_cast<double>(std::int64_t{1} << kFraction) /
                        static_cast<double>(std::int64_t{1} << m.shift);
  return {m.multiplier, m.shift, -static_cast<int>(std::floor(radius))};
}

std::int32_t exp_on_negative_values(std::int32_t a) {
  assert(a <= 0);
  if (a == 0)
    return kMax;
  constexpr std::int32_t kQuarter = std::int32_t{1} << (31 - kInputIntegerBits - 2);
  const std::int32_t last = (a & (kQuarter - 1)) - kQuarter; // in [-1/4, 0)
  std::int32_t result = exp_on_last_quarter(saturating_shl(last, kInputIntegerBits));
  const std::int32_t rest = wrapping_sub(last, a); // whole quarters
  for (int bit = 0; bit < 7; ++bit)
    if ((rest & (kQuarter << bit)) != 0)
      result = mul(result, kExpOfBit[bit]);
  return result;
}

std::int32_t one_over_one_plus_x_for_x_in_0_1(std::int32_t x) {
  assert(x >= 0);
  constexpr std::int32_t k48Over17 = 1515870810;       // Q2.29
  constexpr std::int32_t kMinus32Over17 = -1010580540; // Q2.29
  constexpr std::int32_t kOne = std::int32_t{1} << 29; // Q2.29
  // Newton's iteration for 1 / d, d = (1 + x) / 2 in [1/2, 1).
  const std::int32_t d = rounding_half_sum(x, kMax);
  std::int32_t r = k48Over17 + mul(d, kMinus32Over17);
  for (int i = 0; i < 3; ++i)
    r = wrapping_add(r, saturating_shl(mul(r, kOne - mul(d, r)), 2));
  return saturating_shl(r, 1); // half of it, from Q2.29 to Q0.31
}

std::int32_t exp_of_difference(const SoftmaxScaling &scaling, int difference) {
  assert(difference <= 0);
  if (difference < scaling.diff_min)
    return 0;
  return exp_on_negative_values(
      multiply_by_quantized_multiplier(difference, scaling.multiplier, scaling.left_shift));
}

ExpTable make_exp_table(const SoftmaxScaling &scaling) {
  ExpTable table{};
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = exp_of_difference(scaling, -static_cast<int>(i));
  return table;
}

ExpTable make_exp_table(double beta, double input_scale) {
  return make_exp_table(softmax_scaling(beta, input_scale));
}

Reciprocal reciprocal(std::int32_t sum_q12_19) {
  assert(sum_q12_19 >= std::int32_t{1} << 19);
  const auto sum = static_cast<std::uint32_t>(sum_q12_19);
  const int headroom_plus_one = std::countl_zero(sum);
  const std::uint32_t fraction = (sum << headroom_plus_one) - (std::uint32_t{1} << 31);
  return {one_over_one_plus_x_for_x_in_0_1(static_cast<std::int32_t>(fraction)),
          kAccumulatorIntegerBits - headroom_plus_one};
}

std::int32_t probability(const Reciprocal &r, std::int32_t exp_q0_31, int fraction_bits) {
  const int shift = r.bits_over_unit + 31 - fraction_bits;
  return shift > 31 ? 0 : rounding_divide_by_pot(mul(r.scale, exp_q0_31), shift);
}

std::int8_t softmax_output(const Reciprocal &r, std::int32_t exp_q0_31) {
  return static_cast<std::int8_t>(std::clamp(probability(r, exp_q0_31, 8) - 128, -128, 127));
}

void softmax(const SoftmaxScaling &scaling, int rows, int depth, std::span<const std::int8_t> input,
             std::span<std::int8_t> output) {
  assert(rows >= 0 && depth >= 1 && depth <= 4095);
  const auto n = static_cast<std::size_t>(depth);
  assert(input.size() == static_cast<std::size_t>(rows) * n && output.size() == input.size());
  const ExpTable table = make_exp_table(scaling);
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
    const auto x = input.subspan(row * n, n);
    const auto y = output.subspan(row * n, n);
    const std::int32_t max = *std::max_element(x.begin(), x.end());
    const auto exp = [&](std::int8_t v) { return table[static_cast<std::size_t>(max - v)]; };
    std::int32_t sum = 0;
    for (const std::int8_t v : x)
      sum = wrapping_add(sum, exp_to_accumulator(exp(v)));
    const Reciprocal r = reciprocal(sum);
    for (std::size_t i = 0; i < n; ++i)
      y[i] = softmax_output(r, exp(x[i]));
  }
}

} // namespace kestrel::hv::ref
