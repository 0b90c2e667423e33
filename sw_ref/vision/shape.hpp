// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Shapes, sliding windows and padding shared by the int8 reference operators.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kestrel::hv::ref {

/// Extents of a tensor in NHWC order, the channel running fastest. Filters use the same struct as
/// (n = output channels, h, w, c = input channels per group).
struct Shape {
  int n = 1;
  int h = 1;
  int w = 1;
  int c = 1;

  [[nodiscard]] constexpr std::size_t size() const {
    return static_cast<std::size_t>(n) * static_cast<std::size_t>(h) * static_cast<std::size_t>(w) *
           static_cast<std::size_t>(c);
  }
  friend constexpr bool operator==(const Shape &, const Shape &) = default;
};

/// A sliding window over H and W. Padding before the first row and column is explicit; how far the
/// window runs past the last ones follows from the extents of the output.
struct Window {
  int kernel_h = 1;
  int kernel_w = 1;
  int stride_h = 1;
  int stride_w = 1;
  int dilation_h = 1;
  int dilation_w = 1;
  int pad_top = 0;
  int pad_left = 0;
};

enum class Padding : std::uint8_t { kSame, kValid };

/// Output extent and leading padding along one axis.
struct AxisWindow {
  int output = 0;
  int pad_before = 0;
};

/// Output extent and leading padding of a window along one axis as TensorFlow Lite computes them:
/// SAME gives ceil(input / stride) and puts the odd element of padding behind, VALID
/// floor((input - effective_kernel) / stride) + 1 (never below zero) and no padding.
/// Preconditions: input, kernel, stride, dilation >= 1.
[[nodiscard]] AxisWindow axis_window(Padding padding, int input, int kernel, int stride,
                                     int dilation);

/// The quantised clamp applied to an operator's output, -128 <= min <= max <= 127.
struct ActivationRange {
  std::int32_t min = -128;
  std::int32_t max = 127;
  friend constexpr bool operator==(const ActivationRange &, const ActivationRange &) = default;
};

} // namespace kestrel::hv::ref
