// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/pool.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <vector>

namespace kestrel::hv::ref {
namespace {

using std::size_t;

size_t extent(int v) {
  assert(v >= 0);
  return static_cast<size_t>(v);
}

// Walks the windows: calls begin(), then tap(channels of one input pixel) for every pixel inside
// the input, then end(number of taps, channels of the output pixel).
template <typename Begin, typename Tap, typename End>
void pool(const PoolParams &params, std::span<const std::int8_t> input,
          std::span<std::int8_t> output, Begin begin, Tap tap, End end) {
  const Shape &in = params.input;
  const Shape &out = params.output;
  const Window &win = params.window;
  assert(in.n == out.n && in.c == out.c && input.size() == in.size() &&
         output.size() == out.size() && win.dilation_h == 1 && win.dilation_w == 1);
  const size_t channels = extent(in.c);
  std::int8_t *to = output.data();
  for (int n = 0; n < out.n; ++n) {
    for (int oy = 0; oy < out.h; ++oy) {
      const int y0 = oy * win.stride_h - win.pad_top;
      const int y_first = std::max(y0, 0);
      const int y_last = std::min(y0 + win.kernel_h, in.h);
      for (int ox = 0; ox < out.w; ++ox) {
        const int x0 = ox * win.stride_w - win.pad_left;
        const int x_first = std::max(x0, 0);
        const int x_last = std::min(x0 + win.kernel_w, in.w);
        assert(y_first < y_last && x_first < x_last);
        begin();
        for (int y = y_first; y < y_last; ++y)
          for (int x = x_first; x < x_last; ++x)
            tap(input.data() +
                ((extent(n) * extent(in.h) + extent(y)) * extent(in.w) + extent(x)) * channels);
        end((y_last - y_first) * (x_last - x_first), to);
        to += channels;
      }
    }
  }
}

} // namespace

void average_pool(const PoolParams &params, std::span<const std::int8_t> input,
                  std::span<std::int8_t> output) {
  std::vector<std::int32_t> acc(extent(params.input.c));
  pool(
      params, input, output, [&] { std::fill(acc.begin(), acc.end(), 0); },
      [&](const std::int8_t *x) {
        for (size_t c = 0; c < acc.size(); ++c)
          acc[c] += x[c];
      },
      [&](int count, std::int8_t *to) {
        for (size_t c = 0; c < acc.size(); ++c)
          to[c] = static_cast<std::int8_t>(std::clamp(
              rounded_mean(acc[c], count), params.activation.min, params.activation.max));
      });
}

void max_pool(const PoolParams &params, std::span<const std::int8_t> input,
              std::span<std::int8_t> output) {
  std::vector<std::int8_t> best(extent(params.input.c));
  pool(
      params, input, output, [&] { std::fill(best.begin(), best.end(), std::int8_t{-128}); },
      [&](const std::int8_t *x) {
        for (size_t c = 0; c < best.size(); ++c)
          best[c] = std::max(best[c], x[c]);
      },
      [&](int, std::int8_t *to) {
        for (size_t c = 0; c < best.size(); ++c)
          to[c] = static_cast<std::int8_t>(
              std::clamp<std::int32_t>(best[c], params.activation.min, params.activation.max));
      });
}

Multiplier mean_scale(float input_scale, float output_scale) {
  return quantize_multiplier(static_cast<double>(input_scale) / static_cast<double>(output_scale));
}

Multiplier mean_multiplier(Multiplier scale, std::int64_t count) {
  assert(count >= 1 && scale.shift >= -31);
  const int log2 = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(count))) - 1;
  const int s = std::min({log2, 32, 31 + scale.shift});
  return {static_cast<std::int32_t>((std::int64_t{scale.multiplier} << s) / count),
          scale.shift - s};
}

void mean(const MeanParams &params, std::span<const std::int8_t> input,
          std::span<std::int8_t> output) {
  const Shape &in = params.input;
  const size_t channels = extent(in.c);
  const size_t pixels = extent(in.h) * extent(in.w);
  assert(input.size() == in.size() && output.size() == extent(in.n) * channels);
  std::vector<std::uint32_t> acc(channels);
  for (size_t n = 0; n < extent(in.n); ++n) {
    const std::int8_t *x = input.data() + n * pixels * channels;
    std::fill(acc.begin(), acc.end(), 0U);
    for (size_t p = 0; p < pixels; ++p)
      for (size_t c = 0; c < channels; ++c)
        acc[c] +=
            static_cast<std::uint32_t>(std::int32_t{x[p * channels + c]} - params.input_zero_point);
    for (size_t c = 0; c < channels; ++c)
      output[n * channels + c] =
          requantize(static_cast<std::int32_t>(acc[c]), params.scale.multiplier, params.scale.shift,
                     params.output_zero_point, ActivationRange{});
  }
}

} // namespace kestrel::hv::ref
