// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/confidence.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "sw_ref/vision/elementwise.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::hv::ref {
namespace {

using test::Random;

TEST(Confidence, EqualsSoftmaxAndRealNumbers) {
  Random random;
  SCOPED_TRACE(random.note());
  int confident = 0;
  const int cases = 4000;
  for (int i = 0; i < cases; ++i) {
    const double scale = std::exp(random.real(-6.0, 0.0));
    const SoftmaxScaling scaling = softmax_scaling(1.0, scale);
    const int n = random.chance(0.8) ? random.range(1, 24) : random.range(1, kConfidenceMaxClasses);
    auto x = random.bytes(static_cast<std::size_t>(n));
    if (random.chance(0.3)) // many ties
      for (auto &v : x)
        v = static_cast<std::int8_t>(v / 40);
    const auto measure = random.chance(0.5) ? ConfidenceMeasure::kTop1 : ConfidenceMeasure::kMargin;
    const auto threshold = static_cast<std::uint32_t>(random.range(0, 65536));
    std::vector<std::int8_t> probabilities(x.size());
    const Confidence c = confidence(x, make_exp_table(scaling), measure, threshold, probabilities);

    std::vector<std::int8_t> reference(x.size());
    softmax(scaling, 1, n, x, reference);
    ASSERT_EQ(probabilities, reference);
    ASSERT_EQ(c.top1, argmax(x));

    std::vector<int> order(x.size());
    std::iota(order.begin(), order.end(), 0);
    const auto value = [&](int k) { return x[static_cast<std::size_t>(k)]; };
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return value(a) > value(b); });
    ASSERT_EQ(c.top1, order[0]);
    double sum = 0;
    for (const std::int8_t v : x)
      sum += std::exp((v - value(order[0])) * scale);
    ASSERT_NEAR(c.p1_q16, std::min(65535.0, 65536.0 / sum), 1.0 + 65536.0 * 2e-6);
    if (n > 1) {
      ASSERT_EQ(c.top2, order[1]);
      const double p2 = std::exp((value(order[1]) - value(order[0])) * scale) / sum;
      ASSERT_NEAR(c.p2_q16, std::min(65535.0, 65536.0 * p2), 1.0 + 65536.0 * 2e-6);
    } else {
      ASSERT_EQ(c.top2, 0);
      ASSERT_EQ(c.p2_q16, 0);
    }
    ASSERT_GE(c.p1_q16, c.p2_q16);
    ASSERT_EQ(c.margin_q16, c.p1_q16 - c.p2_q16);
    const std::uint32_t measured = measure == ConfidenceMeasure::kTop1 ? c.p1_q16 : c.margin_q16;
    ASSERT_EQ(c.confident, measured >= threshold);
    confident += c.confident ? 1 : 0;
  }
  EXPECT_GT(confident, 0);
  EXPECT_LT(confident, cases);
}

TEST(Confidence, StepsAsTheHardwareTakesThem) {
  // Three classes, scale 1: 1, e^-1, e^-2 worked through by the published steps.
  const std::int8_t x[] = {-5, -3, -4};
  const ExpTable table = make_exp_table(1.0, 1.0);
  const Confidence c = confidence(x, table, ConfidenceMeasure::kMargin, 0);
  const std::int32_t sum =
      exp_to_accumulator(table[0]) + exp_to_accumulator(table[1]) + exp_to_accumulator(table[2]);
  EXPECT_EQ(c.sum_q12_19, sum);
  EXPECT_EQ(c.reciprocal.bits_over_unit, 0);
  const std::int32_t product = saturating_rounding_doubling_high_mul(c.reciprocal.scale, table[0]);
  EXPECT_EQ(c.p1_q16, rounding_divide_by_pot(product, 15));
  EXPECT_EQ(c.top1, 1);
  EXPECT_EQ(c.top2, 2);
  EXPECT_NEAR(c.p1_q16 / 65536.0, 0.66524, 2e-5);
  EXPECT_NEAR(c.p2_q16 / 65536.0, 0.24473, 2e-5);
}

TEST(Confidence, OneClassIsCertain) {
  const std::int8_t x[] = {-128};
  std::int8_t p[1];
  const Confidence c =
      confidence(x, make_exp_table(1.0, 0.1), ConfidenceMeasure::kMargin, 65535, p);
  EXPECT_EQ(c.top1, 0);
  EXPECT_EQ(c.top2, 0);
  EXPECT_EQ(c.p1_q16, 65535);
  EXPECT_EQ(c.margin_q16, 65535);
  EXPECT_TRUE(c.confident);
  EXPECT_EQ(p[0], 127);
}

TEST(Confidence, TiesTakeTheLowestIndices) {
  const ExpTable table = make_exp_table(1.0, 0.1);
  const std::int8_t x[] = {1, 7, 7, 7};
  const Confidence c = confidence(x, table, ConfidenceMeasure::kMargin, 1);
  EXPECT_EQ(c.top1, 1);
  EXPECT_EQ(c.top2, 2);
  EXPECT_EQ(c.p1_q16, c.p2_q16);
  EXPECT_EQ(c.margin_q16, 0);
  EXPECT_FALSE(c.confident);
  const std::int8_t flat[] = {3, 3};
  const Confidence d = confidence(flat, table, ConfidenceMeasure::kTop1, 32768);
  EXPECT_EQ(d.top1, 0);
  EXPECT_EQ(d.top2, 1);
  EXPECT_EQ(d.p1_q16, 32768);
  EXPECT_TRUE(d.confident);
}

TEST(Confidence, Thresholds) {
  const ExpTable table = make_exp_table(1.0, 0.1);
  const std::int8_t x[] = {20, 0};
  const Confidence c = confidence(x, table, ConfidenceMeasure::kTop1, 0);
  EXPECT_TRUE(c.confident);
  EXPECT_TRUE(confidence(x, table, ConfidenceMeasure::kTop1, c.p1_q16).confident);
  EXPECT_FALSE(confidence(x, table, ConfidenceMeasure::kTop1, c.p1_q16 + 1U).confident);
  EXPECT_FALSE(confidence(x, table, ConfidenceMeasure::kMargin, c.p1_q16).confident);
  EXPECT_TRUE(confidence(x, table, ConfidenceMeasure::kMargin, c.margin_q16).confident);
  const std::int8_t certain[] = {127, -128};
  EXPECT_EQ(confidence(certain, make_exp_table(1.0, 1.0), ConfidenceMeasure::kMargin, 0).margin_q16,
            65535);
  EXPECT_FALSE(
      confidence(certain, make_exp_table(1.0, 1.0), ConfidenceMeasure::kMargin, 65536).confident);
}

TEST(Confidence, AsManyClassesAsThereMayBe) {
  const std::vector<std::int8_t> x(kConfidenceMaxClasses, 0);
  const Confidence c = confidence(x, make_exp_table(1.0, 0.1), ConfidenceMeasure::kTop1, 64);
  EXPECT_EQ(c.reciprocal.bits_over_unit, 10);
  EXPECT_EQ(c.p1_q16, 64);
  EXPECT_EQ(c.p2_q16, 64);
  EXPECT_TRUE(c.confident);
}

} // namespace
} // namespace kestrel::hv::ref
