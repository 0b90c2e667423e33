// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/pool.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sw_ref/random.hpp"

namespace kestrel::hv::ref {
namespace {

using test::Random;

// A division by count as the hardware does it: one multiplication with a rounding shift.
std::int32_t mean_by_multiplication(std::int32_t sum, std::int32_t count) {
  const std::int64_t multiplier = (std::int64_t{1} << 31) / count + 1;
  return static_cast<std::int32_t>((sum * multiplier + (std::int64_t{1} << 30)) >> 31);
}

TEST(RoundedMean, TiesAwayFromZero) {
  EXPECT_EQ(rounded_mean(1, 2), 1);
  EXPECT_EQ(rounded_mean(-1, 2), -1);
  EXPECT_EQ(rounded_mean(3, 2), 2);
  EXPECT_EQ(rounded_mean(-3, 2), -2);
  EXPECT_EQ(rounded_mean(2, 4), 1);
  EXPECT_EQ(rounded_mean(-2, 4), -1);
  EXPECT_EQ(rounded_mean(1, 3), 0);
  EXPECT_EQ(rounded_mean(-1, 3), 0);
  EXPECT_EQ(rounded_mean(-128 * 7, 7), -128);
  EXPECT_EQ(rounded_mean(0, 9), 0);
}

TEST(RoundedMean, EqualsOneMultiplicationExhaustively) {
  std::int64_t cases = 0;
  for (std::int32_t n = 2; n <= 300; ++n)
    for (std::int32_t sum = -128 * n; sum <= 127 * n; ++sum, ++cases)
      ASSERT_EQ(mean_by_multiplication(sum, n), rounded_mean(sum, n)) << sum << " / " << n;
  EXPECT_GT(cases, 11'000'000);
}

TEST(RoundedMean, EqualsOneMultiplicationAroundEveryTie) {
  for (std::int32_t n = 301; n < 2896; ++n)
    for (std::int32_t q = -128; q <= 127; ++q)
      for (std::int32_t d = -1; d <= 1; ++d) {
        const std::int32_t sum = std::clamp(q * n + n / 2 + d, -128 * n, 127 * n);
        ASSERT_EQ(mean_by_multiplication(sum, n), rounded_mean(sum, n)) << sum << " / " << n;
      }
}

TEST(RoundedMean, EqualsOneMultiplicationAtRandom) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 2'000'000; ++i) {
    const std::int32_t n = random.range(301, 2895);
    const std::int32_t sum = random.range(-128 * n, 127 * n);
    ASSERT_EQ(mean_by_multiplication(sum, n), rounded_mean(sum, n)) << sum << " / " << n;
  }
}

TEST(RoundedMean, CountOneAsMultiplierAndShift) {
  // floor(2^31 / 1) + 1 does not fit: a window of one element is 2^30 with one shift to the left.
  for (std::int32_t sum = -128; sum <= 127; ++sum)
    ASSERT_EQ(multiply_by_quantized_multiplier(sum, 1 << 30, 1), rounded_mean(sum, 1));
}

struct Case {
  PoolParams params;
  std::vector<std::int8_t> x;
};

Case random_case(Random &random) {
  Case c;
  Shape &in = c.params.input;
  Shape &out = c.params.output;
  Window &w = c.params.window;
  for (;;) {
    in = {random.range(1, 2), random.range(1, 12), random.range(1, 12), random.range(1, 20)};
    w = {
        random.range(1, 6), random.range(1, 6), random.range(1, 4), random.range(1, 4), 1, 1, 0, 0};
    const Padding padding = random.chance(0.6) ? Padding::kSame : Padding::kValid;
    const AxisWindow y = axis_window(padding, in.h, w.kernel_h, w.stride_h, 1);
    const AxisWindow x = axis_window(padding, in.w, w.kernel_w, w.stride_w, 1);
    out = {in.n, y.output, x.output, in.c};
    w.pad_top = y.pad_before;
    w.pad_left = x.pad_before;
    if (out.h >= 1 && out.w >= 1)
      break;
  }
  if (random.chance(0.3)) {
    const int a = random.range(-128, 127);
    const int b = random.range(-128, 127);
    c.params.activation = {std::min(a, b), std::max(a, b)};
  }
  c.x = random.bytes(in.size());
  return c;
}

template <typename Reduce> std::vector<std::int8_t> by_definition(const Case &c, Reduce reduce) {
  const Shape &in = c.params.input;
  const Shape &out = c.params.output;
  const Window &w = c.params.window;
  std::vector<std::int8_t> y;
  for (int n = 0; n < out.n; ++n)
    for (int oy = 0; oy < out.h; ++oy)
      for (int ox = 0; ox < out.w; ++ox)
        for (int ch = 0; ch < out.c; ++ch) {
          std::vector<int> values;
          for (int ky = 0; ky < w.kernel_h; ++ky)
            for (int kx = 0; kx < w.kernel_w; ++kx) {
              const int iy = oy * w.stride_h - w.pad_top + ky;
              const int ix = ox * w.stride_w - w.pad_left + kx;
              const int index = ((n * in.h + iy) * in.w + ix) * in.c + ch;
              if (iy >= 0 && iy < in.h && ix >= 0 && ix < in.w)
                values.push_back(c.x[static_cast<std::size_t>(index)]);
            }
          y.push_back(static_cast<std::int8_t>(
              std::clamp(reduce(values), c.params.activation.min, c.params.activation.max)));
        }
  return y;
}

TEST(AveragePool, EqualsDefinition) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 400; ++i) {
    const Case c = random_case(random);
    std::vector<std::int8_t> y(c.params.output.size());
    average_pool(c.params, c.x, y);
    // std::round is half away from zero, and a quotient of small integers is exact enough for it.
    ASSERT_EQ(y, by_definition(c, [](const std::vector<int> &v) {
                double sum = 0;
                for (const int x : v)
                  sum += x;
                return static_cast<std::int32_t>(std::round(sum / static_cast<double>(v.size())));
              }));
  }
}

TEST(AveragePool, TiesOfBothSigns) {
  PoolParams p;
  p.input = {1, 1, 2, 4};
  p.output = {1, 1, 1, 4};
  p.window = {1, 2, 1, 1, 1, 1, 0, 0};
  const std::int8_t x[] = {1, -1, 127, -128, 2, -2, 126, -127};
  std::int8_t y[4];
  average_pool(p, x, y);
  EXPECT_EQ(std::vector<std::int8_t>(y, y + 4), (std::vector<std::int8_t>{2, -2, 127, -128}));
}

TEST(AveragePool, PaddingDoesNotCount) {
  PoolParams p;
  p.input = {1, 2, 2, 1};
  p.output = {1, 2, 2, 1};
  p.window = {3, 3, 1, 1, 1, 1, 1, 1};
  const std::int8_t x[] = {10, 20, 30, 41};
  std::int8_t y[4];
  average_pool(p, x, y);
  for (const std::int8_t v : y)
    EXPECT_EQ(v, 25); // 101 / 4
}

TEST(MaxPool, EqualsDefinition) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 400; ++i) {
    const Case c = random_case(random);
    std::vector<std::int8_t> y(c.params.output.size());
    max_pool(c.params, c.x, y);
    ASSERT_EQ(y, by_definition(c, [](const std::vector<int> &v) {
                return *std::max_element(v.begin(), v.end());
              }));
  }
}

TEST(Mean, MultiplierFoldsTheDivision) {
  EXPECT_EQ(mean_multiplier({1 << 30, 1}, 1), (Multiplier{1 << 30, 1}));
  EXPECT_EQ(mean_multiplier({1 << 30, 1}, 4), (Multiplier{1 << 30, -1}));
  EXPECT_EQ(mean_multiplier({1 << 30, 1}, 49), (Multiplier{701219150, -4})); // 2^35 / 49
  // The shift may not fall below -31.
  EXPECT_EQ(mean_multiplier({1 << 30, -29}, 64), (Multiplier{(1 << 30) / 16, -31}));
  EXPECT_EQ(mean_multiplier({1 << 30, -31}, 64), (Multiplier{(1 << 30) / 64, -31}));
}

TEST(Mean, EqualsDefinition) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 300; ++i) {
    MeanParams p;
    p.input = {random.range(1, 3), random.range(1, 12), random.range(1, 12), random.range(1, 20)};
    p.input_zero_point = random.range(-128, 127);
    p.output_zero_point = random.range(-128, 127);
    const int count = p.input.h * p.input.w;
    const double ratio = random.real(0.3, 3.0);
    p.scale = mean_multiplier(quantize_multiplier(ratio), count);
    const auto x = random.bytes(p.input.size());
    const auto maps = static_cast<std::size_t>(p.input.n);
    const auto pixels = static_cast<std::size_t>(count);
    const auto channels = static_cast<std::size_t>(p.input.c);
    std::vector<std::int8_t> y(maps * channels);
    mean(p, x, y);
    for (std::size_t n = 0; n < maps; ++n)
      for (std::size_t c = 0; c < channels; ++c) {
        int sum = 0;
        for (std::size_t k = 0; k < pixels; ++k)
          sum += x[(n * pixels + k) * channels + c] - p.input_zero_point;
        const std::int8_t got = y[n * channels + c];
        ASSERT_EQ(got, requantize(sum, p.scale.multiplier, p.scale.shift, p.output_zero_point, {}));
        const double real = std::clamp(sum * ratio / count + p.output_zero_point, -128.0, 127.0);
        ASSERT_NEAR(got, real, 0.5 + 0.51); // two roundings
      }
  }
}

} // namespace
} // namespace kestrel::hv::ref
