// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/requant.hpp"

#include <cmath>
#include <cstdint>

#include <gtest/gtest.h>

#include "tests/sw_ref/random.hpp"

namespace kestrel::hv::ref {
namespace {

using test::Random;

constexpr std::int32_t kMin = INT32_MIN;
constexpr std::int32_t kMax = INT32_MAX;

// The doubling high multiply as gemmlowp writes it: a nudge that depends on the sign and a division
// that truncates.
std::int32_t srdhm_by_division(std::int32_t a, std::int32_t b) {
  if (a == b && a == kMin)
    return kMax;
  const std::int64_t ab = std::int64_t{a} * std::int64_t{b};
  const std::int64_t nudge = ab >= 0 ? (std::int64_t{1} << 30) : (1 - (std::int64_t{1} << 30));
  return static_cast<std::int32_t>((ab + nudge) / (std::int64_t{1} << 31));
}

std::int32_t rdbp_by_magnitude(std::int32_t x, int exponent) {
  if (exponent == 0)
    return x;
  const std::int64_t half = std::int64_t{1} << (exponent - 1);
  const std::int64_t magnitude = x < 0 ? -std::int64_t{x} : std::int64_t{x};
  const std::int64_t q = (magnitude + half) >> exponent;
  return static_cast<std::int32_t>(x < 0 ? -q : q);
}

TEST(DoublingHighMul, CornersAndTies) {
  EXPECT_EQ(saturating_rounding_doubling_high_mul(kMin, kMin), kMax);
  EXPECT_EQ(saturating_rounding_doubling_high_mul(kMin, kMax), -kMax);
  EXPECT_EQ(saturating_rounding_doubling_high_mul(kMax, kMax), kMax - 1);
  EXPECT_EQ(saturating_rounding_doubling_high_mul(kMin, 1), -1);
  EXPECT_EQ(saturating_rounding_doubling_high_mul(1 << 30, 1), 1);     // 0.5 goes up
  EXPECT_EQ(saturating_rounding_doubling_high_mul(-(1 << 30), 1), 0);  // -0.5 goes up too
  EXPECT_EQ(saturating_rounding_doubling_high_mul(-(1 << 30), 3), -1); // -1.5
  EXPECT_EQ(saturating_rounding_doubling_high_mul(123456, 0), 0);
}

TEST(DoublingHighMul, EqualsArithmeticShift) {
  Random random;
  SCOPED_TRACE(random.note());
  int cases = 0;
  for (int i = 0; i < 2'000'000; ++i) {
    const std::int32_t a = random.wide();
    const std::int32_t b = random.wide();
    ASSERT_EQ(saturating_rounding_doubling_high_mul(a, b), srdhm_by_division(a, b))
        << a << " * " << b;
    if (a == kMin && b == kMin)
      continue;
    const std::int64_t shifted =
        (std::int64_t{a} * std::int64_t{b} + (std::int64_t{1} << 30)) >> 31;
    ASSERT_EQ(srdhm_by_division(a, b), shifted) << a << " * " << b;
    ++cases;
  }
  EXPECT_GT(cases, 1'000'000);
}

TEST(DoublingHighMul, EqualsArithmeticShiftAtEveryTie) {
  // Products that lie exactly half way, and their neighbours: b * 2^30 for odd b, +- 1.
  for (std::int32_t b = -4097; b <= 4097; b += 2) {
    for (const int d : {-1, 0, 1}) {
      const std::int32_t a = (1 << 30) + d;
      const std::int64_t product = std::int64_t{a} * std::int64_t{b};
      const auto shifted = static_cast<std::int32_t>((product + (std::int64_t{1} << 30)) >> 31);
      ASSERT_EQ(srdhm_by_division(a, b), shifted);
      ASSERT_EQ(saturating_rounding_doubling_high_mul(a, b), shifted);
    }
  }
}

TEST(RoundingDivide, TiesAwayFromZero) {
  EXPECT_EQ(rounding_divide_by_pot(5, 1), 3);
  EXPECT_EQ(rounding_divide_by_pot(-5, 1), -3);
  EXPECT_EQ(rounding_divide_by_pot(-4, 3), -1);
  EXPECT_EQ(rounding_divide_by_pot(4, 3), 1);
  EXPECT_EQ(rounding_divide_by_pot(-3, 3), 0);
  EXPECT_EQ(rounding_divide_by_pot(kMin, 31), -1);
  EXPECT_EQ(rounding_divide_by_pot(kMax, 31), 1);
  EXPECT_EQ(rounding_divide_by_pot(1 << 30, 31), 1);
  EXPECT_EQ(rounding_divide_by_pot((1 << 30) - 1, 31), 0);
  EXPECT_EQ(rounding_divide_by_pot(-(1 << 30), 31), -1);
  EXPECT_EQ(rounding_divide_by_pot(kMin, 0), kMin);
}

TEST(RoundingDivide, EqualsRoundedMagnitude) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 500'000; ++i) {
    const std::int32_t x = random.wide();
    const int e = random.range(0, 31);
    ASSERT_EQ(rounding_divide_by_pot(x, e), rdbp_by_magnitude(x, e)) << x << " >> " << e;
  }
}

TEST(MultiplyByQuantizedMultiplier, RoundsTwice) {
  // 95 * (0.5 * 2^-2) = 11.875; rounded twice: 47.5 -> 48 -> 12.
  EXPECT_EQ(multiply_by_quantized_multiplier(95, 1 << 30, -2), 12);
  // 3 * 0.5 = 1.5 -> 2, then 2 / 4 = 0.5 -> 1, where one rounding of 0.375 would give 0.
  EXPECT_EQ(multiply_by_quantized_multiplier(3, 1 << 30, -2), 1);
  // Negative ties differ between the two roundings: -3 * 0.5 -> -1, then -1 / 4 -> 0.
  EXPECT_EQ(multiply_by_quantized_multiplier(-3, 1 << 30, -2), 0);
  EXPECT_EQ(multiply_by_quantized_multiplier(123, 1 << 30, 1), 123);
  EXPECT_EQ(multiply_by_quantized_multiplier(-123, 1 << 30, 3), -123 * 4);
}

TEST(MultiplyByQuantizedMultiplier, DeadChannelsAndLongShifts) {
  for (const std::int32_t x : {kMin, -(1 << 30), -1, 0, 1, 1 << 30, kMax}) {
    EXPECT_EQ(multiply_by_quantized_multiplier(x, 0, 0), 0);
    EXPECT_EQ(multiply_by_quantized_multiplier(x, 0, -31), 0);
  }
  EXPECT_EQ(multiply_by_quantized_multiplier(kMax, kMax, -31), 1);
  EXPECT_EQ(multiply_by_quantized_multiplier(kMin, kMax, -31), -1);
  EXPECT_EQ(multiply_by_quantized_multiplier(1 << 30, kMax, -31), 1); // exactly a half
  EXPECT_EQ(multiply_by_quantized_multiplier((1 << 30) - 1, kMax, -31), 0);
  EXPECT_EQ(multiply_by_quantized_multiplier(1 << 30, 1 << 30, -31), 0); // a quarter
}

TEST(MultiplyByQuantizedMultiplier, LeftShiftWraps) {
  // 2^30 * 2 = 2^31 wraps to -2^31 before the multiply.
  EXPECT_EQ(multiply_by_quantized_multiplier(1 << 30, 1 << 30, 1), -(1 << 30));
  EXPECT_EQ(multiply_by_quantized_multiplier(1 << 30, 1 << 30, 2), 0);
}

TEST(Requantize, ClampsAndWrapsTheZeroPoint) {
  EXPECT_EQ(requantize(1000, 1 << 30, 1, 0, {}), 127);
  EXPECT_EQ(requantize(-1000, 1 << 30, 1, 0, {}), -128);
  EXPECT_EQ(requantize(5, 1 << 30, 1, -10, {-3, 6}), -3);
  EXPECT_EQ(requantize(25, 1 << 30, 1, -10, {-3, 6}), 6);
  EXPECT_EQ(requantize(5, 1 << 30, 1, -4, {-3, 6}), 1);
  // kMax less one, plus 127, wraps below zero as the 32-bit addition does.
  EXPECT_EQ(requantize(kMax, kMax, 0, 127, {}), -128);
}

TEST(QuantizeMultiplier, KnownNumbers) {
  EXPECT_EQ(quantize_multiplier(0.0), (Multiplier{0, 0}));
  EXPECT_EQ(quantize_multiplier(0.5), (Multiplier{1 << 30, 0}));
  EXPECT_EQ(quantize_multiplier(1.0), (Multiplier{1 << 30, 1}));
  EXPECT_EQ(quantize_multiplier(0.75), (Multiplier{3 << 29, 0}));
  EXPECT_EQ(quantize_multiplier(6.0), (Multiplier{3 << 29, 3}));
  EXPECT_EQ(quantize_multiplier(1.0 / 3.0), (Multiplier{1431655765, -1}));
}

TEST(QuantizeMultiplier, MantissaRoundsUpToOne) {
  EXPECT_EQ(quantize_multiplier(1.0 - std::ldexp(1.0, -33)), (Multiplier{1 << 30, 1}));
  EXPECT_EQ(quantize_multiplier(1.0 - std::ldexp(1.0, -32)), (Multiplier{1 << 30, 1})); // a tie
  EXPECT_EQ(quantize_multiplier(1.0 - std::ldexp(1.0, -31)), (Multiplier{kMax, 0}));
}

TEST(QuantizeMultiplier, TinyNumbersBecomeZero) {
  EXPECT_EQ(quantize_multiplier(std::ldexp(1.0, -32)), (Multiplier{1 << 30, -31}));
  EXPECT_EQ(quantize_multiplier(std::ldexp(0.999, -32)), (Multiplier{0, 0}));
  EXPECT_EQ(quantize_multiplier(std::ldexp(1.0, -33)), (Multiplier{0, 0}));
  EXPECT_EQ(quantize_multiplier(1e-30), (Multiplier{0, 0}));
  // Rounding up rescues a number just below the limit.
  EXPECT_EQ(quantize_multiplier(std::ldexp(1.0 - std::ldexp(1.0, -40), -32)),
            (Multiplier{1 << 30, -31}));
}

TEST(QuantizeMultiplier, IsTheClosest) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 100'000; ++i) {
    const double real = std::ldexp(random.real(0.5, 1.0), random.range(-31, 30));
    const Multiplier m = quantize_multiplier(real);
    ASSERT_GE(m.multiplier, 1 << 30);
    const double back = std::ldexp(static_cast<double>(m.multiplier), m.shift - 31);
    ASSERT_LE(std::abs(back - real), std::ldexp(real, -31));
  }
}

TEST(ActivationRange, OfFusedActivations) {
  EXPECT_EQ(activation_range(Activation::kNone, 0.1F, 5), (ActivationRange{-128, 127}));
  EXPECT_EQ(activation_range(Activation::kRelu, 0.1F, -5), (ActivationRange{-5, 127}));
  EXPECT_EQ(activation_range(Activation::kRelu, 0.1F, -128), (ActivationRange{-128, 127}));
  EXPECT_EQ(activation_range(Activation::kRelu6, 0.1F, -5), (ActivationRange{-5, 55}));
  EXPECT_EQ(activation_range(Activation::kRelu6, 6.0F / 255.0F, -128),
            (ActivationRange{-128, 127}));
  EXPECT_EQ(activation_range(Activation::kRelu6, 1e-30F, 0), (ActivationRange{0, 127}));
  EXPECT_EQ(activation_range(Activation::kReluN1To1, 0.25F, 3), (ActivationRange{-1, 7}));
  EXPECT_EQ(activation_range(Activation::kReluN1To1, 2.0F, 0), (ActivationRange{-1, 1})); // half
}

TEST(OperatorMultipliers, SingleAndDoublePrecision) {
  // Scales whose product is not representable in single precision: the two formulas part.
  const float in = 0.1F;
  const float filter = 0.003F;
  const float out = 0.07F;
  const double exact =
      static_cast<double>(in) * static_cast<double>(filter) / static_cast<double>(out);
  EXPECT_EQ(conv_multiplier(in, filter, out), quantize_multiplier(exact));
  EXPECT_NE(fully_connected_multiplier(in, filter, out), conv_multiplier(in, filter, out));
  EXPECT_NE(relu_multiplier(in, out), quantize_op_multiplier(in, out));
  EXPECT_EQ(relu_multiplier(0.5F, 0.25F), (Multiplier{1 << 30, 2}));
}

TEST(Mod32, WrapsWithoutUndefinedBehaviour) {
  EXPECT_EQ(wrapping_add(kMax, 1), kMin);
  EXPECT_EQ(wrapping_sub(kMin, 1), kMax);
  EXPECT_EQ(wrapping_shl(-1, 31), kMin);
  EXPECT_EQ(wrapping_shl(3, 31), kMin);
}

TEST(AxisWindow, SameAndValid) {
  const auto expect = [](AxisWindow a, int output, int before) {
    EXPECT_EQ(a.output, output);
    EXPECT_EQ(a.pad_before, before);
  };
  expect(axis_window(Padding::kSame, 224, 3, 2, 1), 112, 0);
  expect(axis_window(Padding::kSame, 49, 10, 2, 1), 25, 4);
  expect(axis_window(Padding::kSame, 5, 3, 1, 2), 5, 2);
  expect(axis_window(Padding::kSame, 7, 1, 4, 1), 2, 0);
  expect(axis_window(Padding::kValid, 7, 3, 2, 1), 3, 0);
  expect(axis_window(Padding::kValid, 7, 3, 1, 3), 1, 0);
  expect(axis_window(Padding::kValid, 3, 5, 1, 1), 0, 0);
}

} // namespace
} // namespace kestrel::hv::ref
