// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Convolution, depthwise convolution and fully connected layers in int8.
//
// acc = bias + sum (input - input_zero_point) * filter over the taps that lie inside the input,
// modulo 2^32; output = clamp(requantise(acc) + zero_point). Filters have zero point 0.
#pragma once

#include <cstdint>
#include <span>

#include "sw_ref/vision/requant.hpp"
#include "sw_ref/vision/shape.hpp"

namespace kestrel::hv::ref {

/// Geometry and quantisation of conv2d. Groups follow from input.c / filter.c.
struct Conv2dParams {
  Shape input;
  Shape filter; ///< n = output channels, h, w = kernel, c = input channels of one group
  Shape output;
  Window window; ///< kernel_h, kernel_w equal filter.h, filter.w
  std::int32_t input_zero_point = 0;
  OutputStage stage;
};

/// Preconditions: input.n == output.n, filter.n == output.c, input.c % filter.c == 0,
/// output.c % (input.c / filter.c) == 0, spans as large as their shapes, bias empty (zero) or
/// output.c long. A window may lie wholly in the padding.
void conv2d(const Conv2dParams &params, std::span<const std::int8_t> input,
            std::span<const std::int8_t> filter, std::span<const std::int32_t> bias,
            std::span<std::int8_t> output);

/// Geometry and quantisation of depthwise_conv2d. Output channel o reads input channel
/// o / (output.c / input.c).
struct DepthwiseConv2dParams {
  Shape input;
  Shape filter; ///< n = 1, h, w = kernel, c = output channels (TensorFlow Lite's 1HWC)
  Shape output;
  Window window;
  std::int32_t input_zero_point = 0;
  OutputStage stage;
};

/// Preconditions: input.n == output.n, output.c % input.c == 0, filter.c == output.c, spans as
/// large as their shapes, bias empty (zero) or output.c long.
void depthwise_conv2d(const DepthwiseConv2dParams &params, std::span<const std::int8_t> input,
                      std::span<const std::int8_t> filter, std::span<const std::int32_t> bias,
                      std::span<std::int8_t> output);

/// Fully connected layer: filter is [outputs][inputs].
struct FullyConnectedParams {
  int batches = 1;
  int inputs = 1;
  int outputs = 1;
  std::int32_t input_zero_point = 0;
  OutputStage stage; ///< per tensor (size 1) or per output (size outputs)
};

/// Preconditions: input batches * inputs, filter outputs * inputs, output batches * outputs long;
/// bias empty (zero) or outputs long.
void fully_connected(const FullyConnectedParams &params, std::span<const std::int8_t> input,
                     std::span<const std::int8_t> filter, std::span<const std::int32_t> bias,
                     std::span<std::int8_t> output);

} // namespace kestrel::hv::ref
