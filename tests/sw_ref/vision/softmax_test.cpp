// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sw_ref/random.hpp"

namespace kestrel::hv::ref {
namespace {

using test::Random;

constexpr double kTwo31 = 2147483648.0;

std::vector<std::int8_t> run(double beta, double scale, int rows,
                             const std::vector<std::int8_t> &x) {
  std::vector<std::int8_t> y(x.size());
  softmax(softmax_scaling(beta, scale), rows, static_cast<int>(x.size()) / rows, x, y);
  return y;
}

TEST(SoftmaxScaling, KnownNumbers) {
  // The parameters of the upstream layer vector: scale 1/127.5 or so gives shift 19.
  const SoftmaxScaling s = softmax_scaling(1.0, 1077952640.0 / std::ldexp(1.0, 38));
  EXPECT_EQ(s, (SoftmaxScaling{1077952640, 19, -3968}));
  EXPECT_EQ(softmax_scaling(1.0, 1.0), (SoftmaxScaling{1 << 30, 27, -15}));
  EXPECT_EQ(softmax_scaling(1.0, 1.0 / 16), (SoftmaxScaling{1 << 30, 23, -248}));
  // Products beyond 32 saturate: even a difference of one is below every probability.
  EXPECT_EQ(softmax_scaling(1.0, 1000.0), (SoftmaxScaling{INT32_MAX, 31, 0}));
}

TEST(Exp, CloseToTheRealOne) {
  EXPECT_EQ(exp_on_negative_values(0), INT32_MAX);
  double worst = 0;
  for (std::int64_t a = -(std::int64_t{1} << 31); a < 0; a += 9973) {
    const double real = std::exp(static_cast<double>(a) / std::ldexp(1.0, 26));
    const double got = exp_on_negative_values(static_cast<std::int32_t>(a)) / kTwo31;
    worst = std::max(worst, std::abs(got - real));
  }
  EXPECT_LT(worst, 3e-7);
  EXPECT_EQ(exp_on_negative_values(INT32_MIN), 0);
}

TEST(Exp, NeverRisesOverTheTable) {
  for (const double scale : {1.0 / 256, 0.01, 0.05, 0.1, 0.3, 1.0, 3.0}) {
    const ExpTable table = make_exp_table(1.0, scale);
    EXPECT_EQ(table[0], INT32_MAX);
    for (std::size_t i = 1; i < table.size(); ++i)
      ASSERT_LE(table[i], table[i - 1]) << "scale " << scale << " entry " << i;
  }
}

TEST(Exp, NothingBelowDiffMin) {
  const SoftmaxScaling s = softmax_scaling(1.0, 1.0);
  EXPECT_EQ(s.diff_min, -15);
  EXPECT_GT(exp_of_difference(s, -15), 0);
  EXPECT_EQ(exp_of_difference(s, -16), 0);
  const ExpTable table = make_exp_table(s);
  EXPECT_GT(table[15], 0);
  for (std::size_t i = 16; i < table.size(); ++i)
    EXPECT_EQ(table[i], 0);
}

TEST(Reciprocal, CloseToTheRealOne) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 200'000; ++i) {
    const double integer = std::exp2(random.real(0.0, 11.99));
    const auto sum = static_cast<std::int32_t>(integer * std::ldexp(1.0, 19));
    const Reciprocal r = reciprocal(sum);
    ASSERT_EQ(r.bits_over_unit, static_cast<int>(std::floor(std::log2(sum / std::ldexp(1.0, 19)))));
    const double got = std::ldexp(r.scale / kTwo31, -r.bits_over_unit);
    const double real = std::ldexp(1.0, 19) / sum;
    ASSERT_NEAR(got / real, 1.0, 1e-7) << sum;
  }
}

TEST(Reciprocal, OfOneSaturates) {
  const Reciprocal r = reciprocal(1 << 19);
  EXPECT_EQ(r.bits_over_unit, 0);
  EXPECT_GT(r.scale, INT32_MAX - 16);
}

TEST(Softmax, Extremes) {
  EXPECT_EQ(run(1.0, 0.1, 1, {0}), (std::vector<std::int8_t>{127}));
  EXPECT_EQ(run(1.0, 0.1, 1, {-128}), (std::vector<std::int8_t>{127}));
  EXPECT_EQ(run(1.0, 0.1, 1, {5, 5}), (std::vector<std::int8_t>{0, 0}));
  EXPECT_EQ(run(1.0, 0.5, 1, {127, -128, -128}), (std::vector<std::int8_t>{127, -128, -128}));
  EXPECT_EQ(run(1.0, 1000.0, 1, {1, 0, 1}), (std::vector<std::int8_t>{0, -128, 0}));
  EXPECT_EQ(run(1.0, 0.1, 1, std::vector<std::int8_t>(256, 3)),
            std::vector<std::int8_t>(256, -127));
  EXPECT_EQ(run(1.0, 0.1, 1, std::vector<std::int8_t>(511, 3)),
            std::vector<std::int8_t>(511, -127)); // 0.501 of a step rounds up
  EXPECT_EQ(run(1.0, 0.1, 1, std::vector<std::int8_t>(1024, 3)),
            std::vector<std::int8_t>(1024, -128));
}

TEST(Softmax, RowsAreIndependent) {
  const std::vector<std::int8_t> x = {10, 20, 30, -100, 100, 0};
  const auto y = run(1.0, 0.02, 2, x);
  const auto first = run(1.0, 0.02, 1, {10, 20, 30});
  const auto second = run(1.0, 0.02, 1, {-100, 100, 0});
  EXPECT_TRUE(std::equal(first.begin(), first.end(), y.begin()));
  EXPECT_TRUE(std::equal(second.begin(), second.end(), y.begin() + 3));
}

TEST(Softmax, CloseToTheRealOne) {
  Random random;
  SCOPED_TRACE(random.note());
  std::size_t values = 0;
  std::size_t different = 0;
  for (int i = 0; i < 5000; ++i) {
    const double scale = std::exp(random.real(-6.0, 0.0));
    const double beta = random.chance(0.8) ? 1.0 : random.real(0.2, 2.0);
    const auto x = random.bytes(static_cast<std::size_t>(random.range(1, 40)));
    const auto y = run(beta, scale, 1, x);
    const int max = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const std::int8_t v : x)
      sum += std::exp((v - max) * scale * beta);
    for (std::size_t k = 0; k < x.size(); ++k) {
      const double p = std::exp((x[k] - max) * scale * beta) / sum;
      const int real = std::min(127, static_cast<int>(std::round(p * 256.0)) - 128);
      ASSERT_NEAR(y[k], real, 1.0);
      ++values;
      different += y[k] != real ? 1 : 0;
    }
  }
  EXPECT_LT(static_cast<double>(different), 0.002 * static_cast<double>(values));
}

TEST(Probability, LongShiftsRoundToZero) {
  const Reciprocal r = {INT32_MAX, 9};
  EXPECT_EQ(probability(r, INT32_MAX, 8), 0); // 2^-9 is half a step less a little
  EXPECT_EQ(probability(r, INT32_MAX, 16), 128);
  EXPECT_EQ(probability({INT32_MAX, 8}, INT32_MAX, 8), 1);
}

} // namespace
} // namespace kestrel::hv::ref
