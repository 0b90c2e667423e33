// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/conv.hpp"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sw_ref/random.hpp"

namespace kestrel::hv::ref {
namespace {

using test::Random;

// A layer with everything random: geometry, zero points, multipliers, shifts -31..2, biases up to
// 2^30, dead channels.
struct Layer {
  Shape input;
  Shape filter;
  Shape output;
  Window window;
  std::int32_t input_zero_point = 0;
  std::int32_t output_zero_point = 0;
  ActivationRange activation;
  std::vector<std::int32_t> multiplier;
  std::vector<std::int32_t> shift;
  std::vector<std::int8_t> x;
  std::vector<std::int8_t> w;
  std::vector<std::int32_t> bias;

  [[nodiscard]] OutputStage stage() const {
    return {multiplier, shift, output_zero_point, activation};
  }
};

void fill_random(Random &random, Layer &l) {
  l.x = random.bytes(l.input.size());
  l.w = random.bytes(l.filter.size());
  l.input_zero_point = random.range(-128, 127);
  l.output_zero_point = random.range(-128, 127);
  const int a = random.range(-128, 127);
  const int b = random.range(-128, 127);
  if (random.chance(0.5))
    l.activation = {std::min(a, b), std::max(a, b)};
  const bool per_tensor = random.chance(0.2);
  for (int c = 0; c < (per_tensor ? 1 : l.output.c); ++c) {
    l.multiplier.push_back(random.chance(0.1) ? 0 : random.range(1 << 30, INT32_MAX));
    l.shift.push_back(random.chance(0.3) ? random.range(-31, 2) : random.range(-12, -5));
  }
  if (random.chance(0.8))
    for (int c = 0; c < l.output.c; ++c)
      l.bias.push_back(random.chance(0.1) ? random.range(-(1 << 30), 1 << 30)
                                          : random.range(-20000, 20000));
}

Window random_window(Random &random, const Shape &in, Shape &out, int max_kernel) {
  Window w;
  w.kernel_h = random.range(1, max_kernel);
  w.kernel_w = random.range(1, max_kernel);
  w.stride_h = random.range(1, 3);
  w.stride_w = random.range(1, 3);
  w.dilation_h = random.range(1, 3);
  w.dilation_w = random.range(1, 3);
  if (random.chance(0.7)) {
    const Padding padding = random.chance(0.7) ? Padding::kSame : Padding::kValid;
    const AxisWindow y = axis_window(padding, in.h, w.kernel_h, w.stride_h, w.dilation_h);
    const AxisWindow x = axis_window(padding, in.w, w.kernel_w, w.stride_w, w.dilation_w);
    w.pad_top = y.pad_before;
    w.pad_left = x.pad_before;
    out.h = y.output;
    out.w = x.output;
  } else { // explicit; the last windows may lie in the padding altogether
    w.pad_top = random.range(0, w.kernel_h * w.dilation_h);
    w.pad_left = random.range(0, w.kernel_w * w.dilation_w);
    out.h = (in.h + w.pad_top) / w.stride_h + 1;
    out.w = (in.w + w.pad_left) / w.stride_w + 1;
  }
  return w;
}

Layer random_conv(Random &random) {
  Layer l;
  const int groups = random.chance(0.6) ? 1 : random.range(2, 4);
  const int group_in = random.range(1, 19);
  const int group_out = random.range(1, 9);
  l.input = {random.range(1, 2), random.range(1, 10), random.range(1, 10), groups * group_in};
  l.output = {l.input.n, 0, 0, groups * group_out};
  l.window = random_window(random, l.input, l.output, 5);
  if (random.chance(0.2)) { // pointwise
    l.window = {};
    l.output.h = l.input.h;
    l.output.w = l.input.w;
  }
  l.filter = {l.output.c, l.window.kernel_h, l.window.kernel_w, group_in};
  fill_random(random, l);
  return l;
}

Layer random_depthwise(Random &random) {
  Layer l;
  const int multiplier = random.chance(0.5) ? 1 : random.range(2, 8);
  l.input = {random.range(1, 2), random.range(1, 10), random.range(1, 10), random.range(1, 20)};
  l.output = {l.input.n, 0, 0, l.input.c * multiplier};
  l.window = random_window(random, l.input, l.output, 5);
  l.filter = {1, l.window.kernel_h, l.window.kernel_w, l.output.c};
  fill_random(random, l);
  return l;
}

std::size_t at(const Shape &s, int n, int y, int x, int c) {
  return ((static_cast<std::size_t>(n) * static_cast<std::size_t>(s.h) +
           static_cast<std::size_t>(y)) *
              static_cast<std::size_t>(s.w) +
          static_cast<std::size_t>(x)) *
             static_cast<std::size_t>(s.c) +
         static_cast<std::size_t>(c);
}

// The definition, one output at a time, in 64 bits until the end.
std::vector<std::int8_t> by_definition(const Layer &l, bool depthwise) {
  const int groups = depthwise ? l.input.c : l.input.c / l.filter.c;
  const int group_in = depthwise ? 1 : l.filter.c;
  const int group_out = l.output.c / groups;
  std::vector<std::int8_t> y(l.output.size());
  for (int n = 0; n < l.output.n; ++n)
    for (int oy = 0; oy < l.output.h; ++oy)
      for (int ox = 0; ox < l.output.w; ++ox)
        for (int oc = 0; oc < l.output.c; ++oc) {
          std::int64_t acc = l.bias.empty() ? 0 : l.bias[static_cast<std::size_t>(oc)];
          for (int ky = 0; ky < l.window.kernel_h; ++ky)
            for (int kx = 0; kx < l.window.kernel_w; ++kx)
              for (int c = 0; c < group_in; ++c) {
                const int iy = oy * l.window.stride_h - l.window.pad_top + ky * l.window.dilation_h;
                const int ix =
                    ox * l.window.stride_w - l.window.pad_left + kx * l.window.dilation_w;
                if (iy < 0 || iy >= l.input.h || ix < 0 || ix >= l.input.w)
                  continue;
                const int ic = oc / group_out * group_in + c;
                const std::int8_t x = l.x[at(l.input, n, iy, ix, ic)];
                const std::int8_t w =
                    depthwise ? l.w[at(l.filter, 0, ky, kx, oc)] : l.w[at(l.filter, oc, ky, kx, c)];
                acc += std::int64_t{x - l.input_zero_point} * w;
              }
          const std::size_t m = l.multiplier.size() > 1 ? static_cast<std::size_t>(oc) : 0;
          const auto wrapped = static_cast<std::int32_t>(static_cast<std::uint32_t>(acc));
          const std::int64_t v =
              std::int64_t{multiply_by_quantized_multiplier(wrapped, l.multiplier[m], l.shift[m])} +
              l.output_zero_point;
          const auto v32 = static_cast<std::int32_t>(static_cast<std::uint32_t>(v));
          y[at(l.output, n, oy, ox, oc)] =
              static_cast<std::int8_t>(std::clamp(v32, l.activation.min, l.activation.max));
        }
  return y;
}

std::vector<std::int8_t> run_conv(const Layer &l) {
  std::vector<std::int8_t> y(l.output.size());
  conv2d({l.input, l.filter, l.output, l.window, l.input_zero_point, l.stage()}, l.x, l.w, l.bias,
         y);
  return y;
}

std::vector<std::int8_t> run_depthwise(const Layer &l) {
  std::vector<std::int8_t> y(l.output.size());
  depthwise_conv2d({l.input, l.filter, l.output, l.window, l.input_zero_point, l.stage()}, l.x, l.w,
                   l.bias, y);
  return y;
}

std::string describe(const Layer &l) {
  std::string s;
  const auto shape = [&](const char *name, const Shape &v) {
    s += std::string(name) + " " + std::to_string(v.n) + "x" + std::to_string(v.h) + "x" +
         std::to_string(v.w) + "x" + std::to_string(v.c) + " ";
  };
  shape("input", l.input);
  shape("filter", l.filter);
  shape("output", l.output);
  return s + "stride " + std::to_string(l.window.stride_h) + "," +
         std::to_string(l.window.stride_w) + " dilation " + std::to_string(l.window.dilation_h) +
         "," + std::to_string(l.window.dilation_w) + " pad " + std::to_string(l.window.pad_top) +
         "," + std::to_string(l.window.pad_left);
}

TEST(Conv2d, EqualsDefinition) {
  Random random;
  SCOPED_TRACE(random.note());
  std::size_t outputs = 0;
  std::size_t inside = 0; // not at a clamp
  for (int i = 0; i < 400; ++i) {
    const Layer l = random_conv(random);
    const auto y = run_conv(l);
    ASSERT_EQ(y, by_definition(l, false)) << describe(l);
    outputs += y.size();
    for (const std::int8_t v : y)
      inside += v > l.activation.min && v < l.activation.max ? 1 : 0;
  }
  EXPECT_GT(outputs, 10'000U);
  EXPECT_GT(inside, outputs / 20);
}

TEST(Conv2d, EverySmallGeometry) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int kernel = 0; kernel < 4; ++kernel)
    for (int groups = 1; groups <= 4; ++groups)
      for (int group_in = 1; group_in <= 4; ++group_in)
        for (int stride = 1; stride <= 2; ++stride) {
          Layer l;
          l.window.kernel_h = 1 + kernel / 2;
          l.window.kernel_w = 1 + kernel % 2;
          l.window.stride_h = stride;
          l.window.stride_w = stride;
          l.input = {1, 5, 4, groups * group_in};
          l.output = {1, (5 - l.window.kernel_h) / stride + 1, (4 - l.window.kernel_w) / stride + 1,
                      groups * 2};
          l.filter = {l.output.c, l.window.kernel_h, l.window.kernel_w, group_in};
          fill_random(random, l);
          ASSERT_EQ(run_conv(l), by_definition(l, false)) << describe(l);
        }
}

TEST(DepthwiseConv2d, EqualsDefinition) {
  Random random;
  SCOPED_TRACE(random.note());
  std::size_t outputs = 0;
  for (int i = 0; i < 400; ++i) {
    const Layer l = random_depthwise(random);
    const auto y = run_depthwise(l);
    ASSERT_EQ(y, by_definition(l, true)) << describe(l);
    outputs += y.size();
  }
  EXPECT_GT(outputs, 10'000U);
}

TEST(Conv2d, GroupsEqualSeparateConvolutions) {
  Random random;
  SCOPED_TRACE(random.note());
  int tried = 0;
  while (tried < 60) {
    const Layer l = random_conv(random);
    const int groups = l.input.c / l.filter.c;
    if (groups == 1)
      continue;
    ++tried;
    const auto whole = run_conv(l);
    const int group_out = l.output.c / groups;
    for (int g = 0; g < groups; ++g) {
      Layer part = l;
      part.input.c = l.filter.c;
      part.output.c = group_out;
      part.filter.n = group_out;
      part.x.clear();
      for (std::size_t p = 0; p < l.x.size(); p += static_cast<std::size_t>(l.input.c))
        for (int c = 0; c < l.filter.c; ++c)
          part.x.push_back(l.x[p + static_cast<std::size_t>(g * l.filter.c + c)]);
      const auto slice = [&](auto &v, std::size_t length) {
        const auto first = v.begin() + static_cast<std::ptrdiff_t>(length) * g;
        v.assign(first, first + static_cast<std::ptrdiff_t>(length));
      };
      part.w = l.w;
      slice(part.w, part.filter.size());
      if (!part.bias.empty())
        slice(part.bias, static_cast<std::size_t>(group_out));
      if (part.multiplier.size() > 1) {
        slice(part.multiplier, static_cast<std::size_t>(group_out));
        slice(part.shift, static_cast<std::size_t>(group_out));
      }
      const auto y = run_conv(part);
      for (std::size_t p = 0; p * static_cast<std::size_t>(group_out) < y.size(); ++p)
        for (int c = 0; c < group_out; ++c)
          ASSERT_EQ(y[p * static_cast<std::size_t>(group_out) + static_cast<std::size_t>(c)],
                    whole[p * static_cast<std::size_t>(l.output.c) +
                          static_cast<std::size_t>(g * group_out + c)])
              << describe(l) << " group " << g;
    }
  }
}

TEST(DepthwiseConv2d, EqualsGroupedConvolution) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 100; ++i) {
    const Layer l = random_depthwise(random);
    Layer grouped = l;
    grouped.filter = {l.output.c, l.filter.h, l.filter.w, 1};
    for (int oc = 0; oc < l.output.c; ++oc)
      for (int ky = 0; ky < l.filter.h; ++ky)
        for (int kx = 0; kx < l.filter.w; ++kx)
          grouped.w[at(grouped.filter, oc, ky, kx, 0)] = l.w[at(l.filter, 0, ky, kx, oc)];
    ASSERT_EQ(run_depthwise(l), run_conv(grouped)) << describe(l);
  }
}

TEST(FullyConnected, EqualsPointwiseConvolution) {
  Random random;
  SCOPED_TRACE(random.note());
  for (int i = 0; i < 100; ++i) {
    Layer l;
    l.input = {random.range(1, 6), 1, 1, random.range(1, 200)};
    l.output = {l.input.n, 1, 1, random.range(1, 30)};
    l.filter = {l.output.c, 1, 1, l.input.c};
    fill_random(random, l);
    std::vector<std::int8_t> y(l.output.size());
    fully_connected({l.input.n, l.input.c, l.output.c, l.input_zero_point, l.stage()}, l.x, l.w,
                    l.bias, y);
    ASSERT_EQ(y, by_definition(l, false));
  }
}

// One output with a chosen accumulator: one input, one weight, the bias does the rest.
std::int8_t single(std::int32_t bias, std::int32_t multiplier, int shift, std::int8_t x = 0,
                   std::int8_t w = 0, std::int32_t zero_point = 0) {
  const std::int32_t shifts[] = {shift};
  const std::int32_t multipliers[] = {multiplier};
  const std::int32_t biases[] = {bias};
  const std::int8_t xs[] = {x};
  const std::int8_t ws[] = {w};
  std::int8_t y[1];
  fully_connected({1, 1, 1, zero_point, {multipliers, shifts, 0, {}}}, xs, ws, biases, y);
  std::int8_t y_conv[1];
  conv2d({{}, {}, {}, {}, zero_point, {multipliers, shifts, 0, {}}}, xs, ws, biases, y_conv);
  std::int8_t y_depthwise[1];
  depthwise_conv2d({{}, {}, {}, {}, zero_point, {multipliers, shifts, 0, {}}}, xs, ws, biases,
                   y_depthwise);
  EXPECT_EQ(y[0], y_conv[0]);
  EXPECT_EQ(y[0], y_depthwise[0]);
  return y[0];
}

TEST(Edges, BigBiases) {
  EXPECT_EQ(single(1 << 30, 1 << 30, -23), 64); // 2^30 / 2 / 2^23
  EXPECT_EQ(single(-(1 << 30), 1 << 30, -23), -64);
  EXPECT_EQ(single(1 << 30, INT32_MAX, -31), 1);    // exactly a half rounds away from zero
  EXPECT_EQ(single(-(1 << 30), INT32_MAX, -31), 0); // -(2^30 - 0.5) rounds up, then below a half
  EXPECT_EQ(single(1 << 30, INT32_MAX, 0), 127);
  EXPECT_EQ(single(-(1 << 30), INT32_MAX, 0), -128);
}

TEST(Edges, DeadChannel) {
  EXPECT_EQ(single(1 << 30, 0, 0, 127, 127), 0);
  EXPECT_EQ(single(-(1 << 30), 0, -31, -128, 127), 0);
}

TEST(Edges, AccumulatorWraps) {
  // INT32_MAX + (127 - -128) * 127 = 2^31 - 1 + 32385 wraps to -2^31 + 32384.
  EXPECT_EQ(single(INT32_MAX, 1 << 30, -23, 127, 127, -128), -128);
  EXPECT_EQ(single(INT32_MIN, 1 << 30, -23, -128, 127, 127), 127);
}

TEST(Edges, LongSumsWrap) {
  // 200 000 products of -255 * -128 = 6.5e9: more than 2^32, in several signed blocks.
  const int k = 200'000;
  const std::vector<std::int8_t> x(k, -128);
  const std::vector<std::int8_t> w(k, -128);
  const auto acc =
      static_cast<std::int32_t>(static_cast<std::uint32_t>(std::uint64_t{k} * 255U * 128U));
  const std::int32_t multiplier[] = {1 << 30};
  const std::int32_t shift[] = {-23};
  std::int8_t y[1];
  fully_connected({1, k, 1, 127, {multiplier, shift, 0, {}}}, x, w, {}, y);
  EXPECT_EQ(y[0], requantize(acc, multiplier[0], shift[0], 0, {}));
  EXPECT_GT(y[0], -128);
  EXPECT_LT(y[0], 127);
}

} // namespace
} // namespace kestrel::hv::ref
