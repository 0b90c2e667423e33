// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/elementwise.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "sw_ref/vision/add.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::hv::ref {
namespace {

using test::Random;

TEST(Add, EqualScalesAverageTheOperands) {
  // Scales 1 and 1 into 2: the output is the rounded half sum.
  const AddParams p = add_params(1.0F, 0, 1.0F, 0, 2.0F, 0, Activation::kNone);
  EXPECT_EQ(p.input1, (Multiplier{1 << 30, 0}));
  EXPECT_EQ(p.output, (Multiplier{1 << 30, -19}));
  const std::int8_t a[] = {3, -3, 127, -128, 0, 1, -1};
  const std::int8_t b[] = {4, -4, 127, -128, 0, 0, 0};
  std::int8_t y[7];
  add(p, a, b, y);
  EXPECT_EQ(std::vector<std::int8_t>(y, y + 7),
            (std::vector<std::int8_t>{4, -4, 127, -128, 0, 1, -1}));
}

TEST(Add, EqualsDefinitionForAllOperands) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 40; ++i) {
    const auto s1 = static_cast<float>(std::exp(random.real(-6.0, 1.0)));
    const auto s2 = static_cast<float>(std::exp(random.real(-6.0, 1.0)));
    const auto so = static_cast<float>(std::exp(random.real(-6.0, 1.0)));
    const int z1 = random.range(-128, 127);
    const int z2 = random.range(-128, 127);
    const int zo = random.range(-128, 127);
    const auto activation = static_cast<Activation>(random.range(0, 3));
    const AddParams p = add_params(s1, z1, s2, z2, so, zo, activation);
    ASSERT_EQ(p.activation, activation_range(activation, so, zo));
    std::vector<std::int8_t> a;
    std::vector<std::int8_t> b;
    for (int u = -128; u <= 127; ++u)
      for (int v = -128; v <= 127; ++v) {
        a.push_back(static_cast<std::int8_t>(u));
        b.push_back(static_cast<std::int8_t>(v));
      }
    std::vector<std::int8_t> y(a.size());
    add(p, a, b, y);
    for (std::size_t k = 0; k < y.size(); ++k) {
      const std::int32_t u = multiply_by_quantized_multiplier((a[k] - z1) * (1 << 20), p.input1);
      const std::int32_t v = multiply_by_quantized_multiplier((b[k] - z2) * (1 << 20), p.input2);
      const std::int32_t q = multiply_by_quantized_multiplier(u + v, p.output) + zo;
      ASSERT_EQ(y[k], std::clamp(q, p.activation.min, p.activation.max));
      const double real = (a[k] - z1) * double{s1} + (b[k] - z2) * double{s2};
      const double exact =
          std::clamp(real / double{so} + zo, double(p.activation.min), double(p.activation.max));
      ASSERT_NEAR(y[k], exact, 1.01);
    }
  }
}

TEST(Add, GeneralShiftsWrap) {
  // A positive output shift multiplies the sum first, modulo 2^32.
  AddParams p;
  p.left_shift = 0;
  p.input1 = {1 << 30, 1};
  p.input2 = {1 << 30, 1};
  p.output = {1 << 30, 2};
  const std::int8_t a[] = {10};
  const std::int8_t b[] = {-3};
  std::int8_t y[1];
  add(p, a, b, y);
  EXPECT_EQ(y[0], 14);
}

TEST(Rescale, QuantizeFromInt8ToInt8) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 200; ++i) {
    const auto si = static_cast<float>(std::exp(random.real(-6.0, 1.0)));
    const auto so = static_cast<float>(std::exp(random.real(-6.0, 1.0)));
    RescaleParams p;
    p.input_zero_point = random.range(-128, 127);
    p.output_zero_point = random.range(-128, 127);
    p.scale = quantize_op_multiplier(si, so);
    std::vector<std::int8_t> x;
    for (int v = -128; v <= 127; ++v)
      x.push_back(static_cast<std::int8_t>(v));
    std::vector<std::int8_t> y(256);
    rescale(p, x, y);
    for (std::size_t k = 0; k < 256; ++k) {
      const double exact =
          std::clamp((x[k] - p.input_zero_point) * double{si} / double{so} + p.output_zero_point,
                     -128.0, 127.0);
      ASSERT_NEAR(y[k], exact, 1.01);
    }
    // In place.
    rescale(p, x, x);
    ASSERT_EQ(x, y);
  }
}

TEST(Rescale, ReluOfOneScaleIsAClamp) {
  for (const auto activation : {Activation::kRelu, Activation::kRelu6, Activation::kReluN1To1}) {
    for (int z = -128; z <= 127; ++z) {
      const float scale = 0.05F;
      RescaleParams p;
      p.input_zero_point = z;
      p.output_zero_point = z;
      p.scale = relu_multiplier(scale, scale);
      p.activation = activation_range(activation, scale, z);
      std::vector<std::int8_t> x;
      for (int v = -128; v <= 127; ++v)
        x.push_back(static_cast<std::int8_t>(v));
      std::vector<std::int8_t> rescaled(256);
      std::vector<std::int8_t> clamped(256);
      rescale(p, x, rescaled);
      clamp(p.activation, x, clamped);
      ASSERT_EQ(rescaled, clamped) << "zero point " << z;
    }
  }
}

TEST(Pad, EveryAxis) {
  PadParams p;
  p.input = {1, 2, 2, 2};
  p.before = {0, 1, 0, 1};
  p.after = {0, 0, 1, 0};
  p.value = -7;
  EXPECT_EQ(p.output(), (Shape{1, 3, 3, 3}));
  const std::int8_t x[] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<std::int8_t> y(27);
  pad(p, x, y);
  EXPECT_EQ(y, (std::vector<std::int8_t>{-7, -7, -7, -7, -7, -7, -7, -7, -7, //
                                         -7, 1,  2,  -7, 3,  4,  -7, -7, -7, //
                                         -7, 5,  6,  -7, 7,  8,  -7, -7, -7}));
}

TEST(Pad, BatchesAndNothing) {
  PadParams p;
  p.input = {2, 1, 1, 3};
  p.before = {1, 0, 0, 0};
  p.after = {0, 0, 0, 0};
  p.value = 9;
  const std::int8_t x[] = {1, 2, 3, 4, 5, 6};
  std::vector<std::int8_t> y(9);
  pad(p, x, y);
  EXPECT_EQ(y, (std::vector<std::int8_t>{9, 9, 9, 1, 2, 3, 4, 5, 6}));
  p.before = {0, 0, 0, 0};
  y.resize(6);
  pad(p, x, y);
  EXPECT_EQ(y, (std::vector<std::int8_t>(x, x + 6)));
}

TEST(Reshape, KeepsTheOrder) {
  Random random;
  const auto x = random.bytes(60);
  std::vector<std::int8_t> y(60);
  reshape(x, y);
  EXPECT_EQ(x, y);
}

TEST(Argmax, LowestIndexWins) {
  EXPECT_EQ(argmax(std::vector<std::int8_t>{5}), 0);
  EXPECT_EQ(argmax(std::vector<std::int8_t>{-128, -128}), 0);
  EXPECT_EQ(argmax(std::vector<std::int8_t>{1, 9, 3, 9}), 1);
  EXPECT_EQ(argmax(std::vector<std::int8_t>{-128, -3, -2}), 2);
}

} // namespace
} // namespace kestrel::hv::ref
