// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Random single-operator models against the answers of TensorFlow Lite's own reference kernels
// (data/tflite_reference.json, written by make_tflite_reference.py): from the scales of the model
// to the last bit of the output.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "sw_ref/vision/add.hpp"
#include "sw_ref/vision/conv.hpp"
#include "sw_ref/vision/elementwise.hpp"
#include "sw_ref/vision/pool.hpp"
#include "sw_ref/vision/softmax.hpp"

namespace kestrel::hv::ref {
namespace {

using Json = nlohmann::json;
using Bytes = std::vector<std::int8_t>;
using Words = std::vector<std::int32_t>;

Bytes unhex(const Json &text) {
  const auto &s = text.get_ref<const std::string &>();
  Bytes bytes(s.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::int8_t>(std::stoi(s.substr(2 * i, 2), nullptr, 16));
  return bytes;
}

Shape shape(const Json &v) { return {v.at(0), v.at(1), v.at(2), v.at(3)}; }

Activation activation(const std::string &name) {
  if (name == "relu")
    return Activation::kRelu;
  if (name == "relu6")
    return Activation::kRelu6;
  if (name == "relu_n1_to_1")
    return Activation::kReluN1To1;
  EXPECT_EQ(name, "none");
  return Activation::kNone;
}

ActivationRange range_of(const Json &c) {
  return activation_range(activation(c.at("activation")), c.at("output_scale"),
                          c.at("output_zero"));
}

Window window_of(const Json &c, const Shape &in, const Shape &out) {
  Window w;
  w.kernel_h = c.at("kernel").at(0);
  w.kernel_w = c.at("kernel").at(1);
  w.stride_h = c.at("stride").at(0);
  w.stride_w = c.at("stride").at(1);
  w.dilation_h = c.at("dilation").at(0);
  w.dilation_w = c.at("dilation").at(1);
  const Padding padding = c.at("padding") == "same" ? Padding::kSame : Padding::kValid;
  const AxisWindow y = axis_window(padding, in.h, w.kernel_h, w.stride_h, w.dilation_h);
  const AxisWindow x = axis_window(padding, in.w, w.kernel_w, w.stride_w, w.dilation_w);
  EXPECT_EQ(y.output, out.h);
  EXPECT_EQ(x.output, out.w);
  w.pad_top = y.pad_before;
  w.pad_left = x.pad_before;
  return w;
}

// What a whole file of cases must have seen, so that a poor one cannot pass.
struct Seen {
  int dead = 0;
  int long_shift = 0;
  int big_bias = 0;
};

Bytes weighted(const Json &c, Seen &seen) {
  const std::string name = c.at("operator");
  const float input_scale = c.at("input_scale");
  const float output_scale = c.at("output_scale");
  Words multiplier;
  Words shift;
  const auto &scales = c.at("weight_scales");
  for (const float scale : scales) {
    const Multiplier m = name == "fully_connected" && scales.size() == 1
                             ? fully_connected_multiplier(input_scale, scale, output_scale)
                             : conv_multiplier(input_scale, scale, output_scale);
    multiplier.push_back(m.multiplier);
    shift.push_back(m.shift);
    seen.dead += m.multiplier == 0 ? 1 : 0;
    seen.long_shift += m.shift <= -24 ? 1 : 0;
  }
  const OutputStage stage = {multiplier, shift, c.at("output_zero"), range_of(c)};
  const Bytes x = unhex(c.at("input"));
  const Bytes w = unhex(c.at("weights"));
  const Words bias = c.at("bias");
  for (const std::int32_t b : bias)
    seen.big_bias += b > (1 << 26) || b < -(1 << 26) ? 1 : 0;
  const std::int32_t zero = c.at("input_zero");
  if (name == "fully_connected") {
    const int batches = c.at("input_shape").at(0);
    const int inputs = c.at("input_shape").at(1);
    const int outputs = c.at("filter_shape").at(0);
    Bytes y(static_cast<std::size_t>(batches * outputs));
    fully_connected({batches, inputs, outputs, zero, stage}, x, w, bias, y);
    return y;
  }
  const Shape in = shape(c.at("input_shape"));
  const Shape out = shape(c.at("output_shape"));
  const Shape filter = shape(c.at("filter_shape"));
  const Window window = window_of(c, in, out);
  Bytes y(out.size());
  if (name == "depthwise")
    depthwise_conv2d({in, filter, out, window, zero, stage}, x, w, bias, y);
  else
    conv2d({in, filter, out, window, zero, stage}, x, w, bias, y);
  return y;
}

Bytes sum(const Json &c) {
  const auto &s = c.at("scales");
  const auto &z = c.at("zeros");
  const AddParams p = add_params(s.at(0), z.at(0), s.at(1), z.at(1), s.at(2), z.at(2),
                                 activation(c.at("activation")));
  const Bytes a = unhex(c.at("input"));
  Bytes y(a.size());
  add(p, a, unhex(c.at("input2")), y);
  return y;
}

Bytes pooled(const Json &c) {
  PoolParams p;
  p.input = shape(c.at("input_shape"));
  p.output = shape(c.at("output_shape"));
  p.window = window_of(c, p.input, p.output);
  p.activation = range_of(c);
  Bytes y(p.output.size());
  if (c.at("operator") == "average_pool")
    average_pool(p, unhex(c.at("input")), y);
  else
    max_pool(p, unhex(c.at("input")), y);
  return y;
}

Bytes averaged(const Json &c) {
  MeanParams p;
  p.input = shape(c.at("input_shape"));
  p.input_zero_point = c.at("zeros").at(0);
  p.output_zero_point = c.at("zeros").at(1);
  p.scale = mean_multiplier(mean_scale(c.at("scales").at(0), c.at("scales").at(1)),
                            p.input.h * p.input.w);
  Bytes y(static_cast<std::size_t>(p.input.n * p.input.c));
  mean(p, unhex(c.at("input")), y);
  return y;
}

Bytes probabilities(const Json &c) {
  const Bytes x = unhex(c.at("input"));
  Bytes y(x.size());
  softmax(softmax_scaling(c.at("beta"), c.at("scale")), c.at("rows"), c.at("depth"), x, y);
  return y;
}

Bytes rescaled(const Json &c) {
  RescaleParams p;
  p.input_zero_point = c.at("zeros").at(0);
  p.output_zero_point = c.at("zeros").at(1);
  const float si = c.at("scales").at(0);
  const float so = c.at("scales").at(1);
  if (c.at("operator") == "quantize") {
    p.scale = quantize_op_multiplier(si, so);
  } else {
    p.scale = relu_multiplier(si, so);
    p.activation = activation_range(activation(c.at("operator")), so, p.output_zero_point);
  }
  const Bytes x = unhex(c.at("input"));
  Bytes y(x.size());
  rescale(p, x, y);
  return y;
}

Bytes padded(const Json &c) {
  PadParams p;
  p.input = shape(c.at("input_shape"));
  p.before = shape(c.at("before"));
  p.after = shape(c.at("after"));
  p.value = c.at("value");
  Bytes y(p.output().size());
  pad(p, unhex(c.at("input")), y);
  return y;
}

TEST(TfliteReference, EveryCaseIsExact) {
  const char *other = std::getenv("KESTREL_TFLITE_REFERENCE");
  std::ifstream file(other != nullptr ? other : KESTREL_TFLITE_REFERENCE);
  ASSERT_TRUE(file) << KESTREL_TFLITE_REFERENCE;
  const Json all = Json::parse(file);
  std::map<std::string, int> cases;
  Seen seen;
  int number = 0;
  for (const Json &c : all.at("cases")) {
    const std::string name = c.at("operator");
    SCOPED_TRACE(name + ", case " + std::to_string(number++));
    ++cases[name];
    Bytes y;
    if (name == "arg_max") {
      EXPECT_EQ(argmax(unhex(c.at("input"))), c.at("index").get<int>());
      continue;
    }
    if (name == "add")
      y = sum(c);
    else if (name == "average_pool" || name == "max_pool")
      y = pooled(c);
    else if (name == "mean")
      y = averaged(c);
    else if (name == "softmax")
      y = probabilities(c);
    else if (name == "pad" || name == "padv2")
      y = padded(c);
    else if (name == "quantize" || name.rfind("relu", 0) == 0)
      y = rescaled(c);
    else
      y = weighted(c, seen);
    EXPECT_EQ(y, unhex(c.at("output")));
  }
  EXPECT_EQ(cases.size(), 15U);
  for (const auto &[name, count] : cases)
    EXPECT_GE(count, 2) << name;
  EXPECT_GT(seen.dead, 0);
  EXPECT_GT(seen.long_shift, 0);
  EXPECT_GT(seen.big_bias, 0);
}

} // namespace
} // namespace kestrel::hv::ref
