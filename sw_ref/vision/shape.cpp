// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/shape.hpp"

#include <algorithm>
#include <cassert>

namespace kestrel::hv::ref {

AxisWindow axis_window(Padding padding, int input, int kernel, int stride, int dilation) {
  assert(input >= 1 && kernel >= 1 && stride >= 1 && dilation >= 1);
  const int effective = (kernel - 1) * dilation + 1;
  if (padding == Padding::kValid)
    return {std::max(0, (input - effective + stride) / stride), 0};
  const int output = (input + stride - 1) / stride;
  const int total = std::max(0, (output - 1) * stride + effective - input);
  return {output, total / 2};
}

} // namespace kestrel::hv::ref
