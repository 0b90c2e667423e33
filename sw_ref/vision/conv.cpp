// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/conv.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace kestrel::hv::ref {
namespace {

using std::size_t;

// Products of a 9-bit and an 8-bit number: this many of them fit a signed 32-bit sum. Longer sums
// are put together modulo 2^32 from blocks, so no signed addition can overflow.
constexpr size_t kBlock = 32768;
// Rows of operands that share one pass over a filter row.
constexpr size_t kRows = 4;

size_t extent(int v) {
  assert(v >= 0);
  return static_cast<size_t>(v);
}

// The taps of a window along one axis that lie inside the input: first <= tap < last.
struct Taps {
  int first;
  int last;
};

Taps taps_inside(int origin, int kernel, int dilation, int input) {
  int first = 0;
  while (first < kernel && origin + first * dilation < 0)
    ++first;
  int last = kernel;
  while (last > first && origin + (last - 1) * dilation >= input)
    --last;
  return {first, last};
}

// Values less the zero point, -255..255.
void widen(std::span<const std::int8_t> from, std::int32_t zero_point, std::int16_t *to) {
  const auto z = static_cast<std::int16_t>(zero_point);
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = static_cast<std::int16_t>(from[i] - z);
}

std::int32_t dot_block(const std::int16_t *x, const std::int16_t *w, size_t k) {
  std::int32_t sum = 0;
  for (size_t i = 0; i < k; ++i)
    sum += std::int32_t{x[i]} * std::int32_t{w[i]};
  return sum;
}

struct Rows {
  std::uint32_t sum[kRows];
};

void dot_rows(const std::int16_t *x, size_t stride, const std::int16_t *w, size_t k, Rows &rows) {
  std::int32_t s0 = 0;
  std::int32_t s1 = 0;
  std::int32_t s2 = 0;
  std::int32_t s3 = 0;
  for (size_t i = 0; i < k; ++i) {
    const std::int32_t v = w[i];
    s0 += std::int32_t{x[i]} * v;
    s1 += std::int32_t{x[stride + i]} * v;
    s2 += std::int32_t{x[2 * stride + i]} * v;
    s3 += std::int32_t{x[3 * stride + i]} * v;
  }
  rows.sum[0] += static_cast<std::uint32_t>(s0);
  rows.sum[1] += static_cast<std::uint32_t>(s1);
  rows.sum[2] += static_cast<std::uint32_t>(s2);
  rows.sum[3] += static_cast<std::uint32_t>(s3);
}

// Multiplies rows of operands with filter rows and finishes the outputs.
struct Product {
  size_t k = 0;             // length of a row
  size_t row_stride = 0;    // between operand rows
  size_t filter_stride = 0; // between filter rows
  size_t channels = 0;      // filter rows
  size_t first_channel = 0; // of this group, for bias and requantisation
  size_t out_stride = 0;    // between the outputs of two rows
  const OutputStage *stage = nullptr;
  std::span<const std::int32_t> bias;

  void run(const std::int16_t *x, size_t rows, const std::int16_t *filter, std::int8_t *out) const {
    const bool per_channel = stage->multiplier.size() > 1;
    size_t row = 0;
    while (row < rows) {
      const size_t n = rows - row >= kRows ? kRows : 1;
      for (size_t c = 0; c < channels; ++c) {
        const size_t channel = first_channel + c;
        const std::uint32_t start = bias.empty() ? 0U : static_cast<std::uint32_t>(bias[channel]);
        Rows sums = {{start, start, start, start}};
        const std::int16_t *w = filter + c * filter_stride;
        for (size_t k0 = 0; k0 < k; k0 += kBlock) {
          const size_t len = std::min(kBlock, k - k0);
          if (n == kRows)
            dot_rows(x + row * row_stride + k0, row_stride, w + k0, len, sums);
          else
            sums.sum[0] +=
                static_cast<std::uint32_t>(dot_block(x + row * row_stride + k0, w + k0, len));
        }
        const size_t m = per_channel ? channel : 0;
        for (size_t i = 0; i < n; ++i)
          out[(row + i) * out_stride + c] =
              requantize(static_cast<std::int32_t>(sums.sum[i]), stage->multiplier[m],
                         stage->shift[m], stage->zero_point, stage->activation);
      }
      row += n;
    }
  }
};

[[maybe_unused]] bool stage_fits(const OutputStage &stage, int channels) {
  return stage.multiplier.size() == stage.shift.size() &&
         (stage.multiplier.size() == 1 || stage.multiplier.size() == extent(channels));
}

} // namespace

void conv2d(const Conv2dParams &params, std::span<const std::int8_t> input,
            std::span<const std::int8_t> filter, std::span<const std::int32_t> bias,
            std::span<std::int8_t> output) {
  const Shape &in = params.input;
  const Shape &out = params.output;
  const Window &win = params.window;
  const int group_in = params.filter.c;
  const int groups = in.c / group_in;
  const int group_out = out.c / groups;
  assert(in.n == out.n && params.filter.n == out.c && in.c % group_in == 0 && out.c % groups == 0);
  assert(win.kernel_h == params.filter.h && win.kernel_w == params.filter.w);
  assert(input.size() == in.size() && filter.size() == params.filter.size() &&
         output.size() == out.size() && (bias.empty() || bias.size() == extent(out.c)));
  assert(stage_fits(params.stage, out.c));

  const size_t k = extent(win.kernel_h) * extent(win.kernel_w) * extent(group_in);
  std::vector<std::int16_t> x(input.size());
  widen(input, params.input_zero_point, x.data());

  const bool pointwise = groups == 1 && win.kernel_h == 1 && win.kernel_w == 1 &&
                         win.stride_h == 1 && win.stride_w == 1 && win.pad_top == 0 &&
                         win.pad_left == 0 && out.h == in.h && out.w == in.w;
  // Rows padded with zeros to a multiple of a vector; the operands of a pointwise layer lie ready.
  const size_t padded = pointwise ? k : (k + 7) / 8 * 8;
  std::vector<std::int16_t> w(extent(out.c) * padded);
  for (size_t o = 0; o < extent(out.c); ++o)
    widen(filter.subspan(o * k, k), 0, w.data() + o * padded);

  Product product;
  product.k = padded;
  product.filter_stride = padded;
  product.channels = extent(group_out);
  product.out_stride = extent(out.c);
  product.stage = &params.stage;
  product.bias = bias;

  if (pointwise) {
    product.row_stride = k;
    product.run(x.data(), extent(in.n) * extent(in.h) * extent(in.w), w.data(), output.data());
    return;
  }

  // Operands of one output row, tap by tap; what stays zero is padding.
  product.row_stride = padded;
  std::vector<std::int16_t> rows(extent(out.w) * padded);
  const size_t pixel = extent(in.c);
  const size_t run_len = extent(group_in);
  const bool contiguous = groups == 1 && win.dilation_w == 1;
  for (int g = 0; g < groups; ++g) {
    product.first_channel = extent(g) * extent(group_out);
    const std::int16_t *wg = w.data() + product.first_channel * padded;
    for (int n = 0; n < out.n; ++n) {
      const std::int16_t *image =
          x.data() + extent(n) * extent(in.h) * extent(in.w) * pixel + extent(g) * run_len;
      for (int oy = 0; oy < out.h; ++oy) {
        const int y0 = oy * win.stride_h - win.pad_top;
        const Taps ty = taps_inside(y0, win.kernel_h, win.dilation_h, in.h);
        std::fill(rows.begin(), rows.end(), std::int16_t{0});
        for (int ox = 0; ox < out.w; ++ox) {
          const int x0 = ox * win.stride_w - win.pad_left;
          const Taps tx = taps_inside(x0, win.kernel_w, win.dilation_w, in.w);
          if (tx.first >= tx.last)
            continue;
          std::int16_t *row = rows.data() + extent(ox) * padded;
          for (int ky = ty.first; ky < ty.last; ++ky) {
            const std::int16_t *line =
                image + extent(y0 + ky * win.dilation_h) * extent(in.w) * pixel;
            std::int16_t *to = row + extent(ky) * extent(win.kernel_w) * run_len;
            if (contiguous) {
              std::copy_n(line + extent(x0 + tx.first) * pixel,
                          extent(tx.last - tx.first) * run_len, to + extent(tx.first) * run_len);
              continue;
            }
            for (int kx = tx.first; kx < tx.last; ++kx)
              std::copy_n(line + extent(x0 + kx * win.dilation_w) * pixel, run_len,
                          to + extent(kx) * run_len);
          }
        }
        product.run(rows.data(), extent(out.w), wg,
                    output.data() +
                        (extent(n) * extent(out.h) + extent(oy)) * extent(out.w) * extent(out.c) +
                        product.first_channel);
      }
    }
  }
}

void depthwise_conv2d(const DepthwiseConv2dParams &params, std::span<const std::int8_t> input,
                      std::span<const std::int8_t> filter, std::span<const std::int32_t> bias,
                      std::span<std::int8_t> output) {
  const Shape &in = params.input;
  const Shape &out = params.output;
  const Window &win = params.window;
  const size_t channels = extent(out.c);
  const size_t multiplier = channels / extent(in.c);
  assert(in.n == out.n && out.c % in.c == 0 && params.filter.c == out.c && params.filter.n == 1);
  assert(win.kernel_h == params.filter.h && win.kernel_w == params.filter.w);
  assert(input.size() == in.size() && filter.size() == params.filter.size() &&
         output.size() == out.size() && (bias.empty() || bias.size() == channels));
  assert(stage_fits(params.stage, out.c));

  // One operand per output channel, so that the inner loop runs over contiguous channels.
  std::vector<std::int16_t> x(input.size() * multiplier);
  const auto zero_point = static_cast<std::int16_t>(params.input_zero_point);
  for (size_t i = 0; i < input.size(); ++i)
    std::fill_n(x.data() + i * multiplier, multiplier,
                static_cast<std::int16_t>(input[i] - zero_point));
  std::vector<std::int16_t> w(filter.size());
  widen(filter, 0, w.data());

  const OutputStage &stage = params.stage;
  const bool per_channel = stage.multiplier.size() > 1;
  std::vector<std::uint32_t> acc(channels);
  std::int8_t *to = output.data();
  for (int n = 0; n < out.n; ++n) {
    const std::int16_t *image = x.data() + extent(n) * extent(in.h) * extent(in.w) * channels;
    for (int oy = 0; oy < out.h; ++oy) {
      const int y0 = oy * win.stride_h - win.pad_top;
      const Taps ty = taps_inside(y0, win.kernel_h, win.dilation_h, in.h);
      for (int ox = 0; ox < out.w; ++ox) {
        const int x0 = ox * win.stride_w - win.pad_left;
        const Taps tx = taps_inside(x0, win.kernel_w, win.dilation_w, in.w);
        if (bias.empty())
          std::fill(acc.begin(), acc.end(), 0U);
        else
          std::copy(bias.begin(), bias.end(), acc.begin());
        for (int ky = ty.first; ky < ty.last; ++ky) {
          for (int kx = tx.first; kx < tx.last; ++kx) {
            const std::int16_t *xs = image + (extent(y0 + ky * win.dilation_h) * extent(in.w) +
                                              extent(x0 + kx * win.dilation_w)) *
                                                 channels;
            const std::int16_t *ws =
                w.data() + (extent(ky) * extent(win.kernel_w) + extent(kx)) * channels;
            std::uint32_t *as = acc.data();
            for (size_t c = 0; c < channels; ++c)
              as[c] += static_cast<std::uint32_t>(std::int32_t{xs[c]} * std::int32_t{ws[c]});
          }
        }
        for (size_t c = 0; c < channels; ++c) {
          const size_t m = per_channel ? c : 0;
          *to++ = requantize(static_cast<std::int32_t>(acc[c]), stage.multiplier[m], stage.shift[m],
                             stage.zero_point, stage.activation);
        }
      }
    }
  }
}

void fully_connected(const FullyConnectedParams &params, std::span<const std::int8_t> input,
                     std::span<const std::int8_t> filter, std::span<const std::int32_t> bias,
                     std::span<std::int8_t> output) {
  const size_t inputs = extent(params.inputs);
  const size_t outputs = extent(params.outputs);
  assert(input.size() == extent(params.batches) * inputs && filter.size() == outputs * inputs &&
         output.size() == extent(params.batches) * outputs &&
         (bias.empty() || bias.size() == outputs));
  assert(stage_fits(params.stage, params.outputs));
  std::vector<std::int16_t> x(input.size());
  widen(input, params.input_zero_point, x.data());
  std::vector<std::int16_t> w(filter.size());
  widen(filter, 0, w.data());

  Product product;
  product.k = inputs;
  product.row_stride = inputs;
  product.filter_stride = inputs;
  product.channels = outputs;
  product.out_stride = outputs;
  product.stage = &params.stage;
  product.bias = bias;
  product.run(x.data(), extent(params.batches), w.data(), output.data());
}

} // namespace kestrel::hv::ref
