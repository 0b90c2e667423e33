// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The upstream layer vectors (README.md of the test data says where they come from): every file
// through the operator it describes, exactly.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "sw_ref/vision/add.hpp"
#include "sw_ref/vision/conv.hpp"
#include "sw_ref/vision/pool.hpp"
#include "sw_ref/vision/softmax.hpp"

namespace kestrel::hv::ref {
namespace {

using Json = nlohmann::json;
using Bytes = std::vector<std::int8_t>;
using Words = std::vector<std::int32_t>;

std::filesystem::path folder() {
  const char *root = std::getenv("KESTREL_DATA_DIR");
  return std::filesystem::path(root != nullptr ? root : "../shared/data") / "layer_vectors";
}

ActivationRange activation(const Json &config) {
  return {config.at("OUT_ACTIVATION_MIN"), config.at("OUT_ACTIVATION_MAX")};
}

Shape input_shape(const Json &c) {
  return {c.at("INPUT_BATCHES"), c.at("INPUT_H"), c.at("INPUT_W"), c.at("IN_CH")};
}

Window conv_window(const Json &c) {
  return {c.at("FILTER_Y"),   c.at("FILTER_X"),   c.at("STRIDE_Y"), c.at("STRIDE_X"),
          c.at("DILATION_Y"), c.at("DILATION_X"), c.at("PAD_Y"),    c.at("PAD_X")};
}

Bytes conv(const Json &v) {
  const Json &c = v.at("config");
  const Words multiplier = v.at("output_mult");
  const Words shift = v.at("output_shift");
  const Window window = conv_window(c);
  const Shape in = input_shape(c);
  const Shape out = {in.n, c.at("OUTPUT_H"), c.at("OUTPUT_W"), c.at("OUT_CH")};
  const OutputStage stage = {multiplier, shift, c.at("OUTPUT_OFFSET"), activation(c)};
  const std::int32_t zero_point = -c.at("INPUT_OFFSET").get<std::int32_t>();
  const Bytes x = v.at("input");
  const Bytes w = v.at("weights");
  const Words bias = v.at("biases");
  Bytes y(out.size());
  if (c.contains("CH_MULT")) {
    EXPECT_EQ(out.c, in.c * c.at("CH_MULT").get<int>());
    const Shape filter = {1, window.kernel_h, window.kernel_w, out.c};
    depthwise_conv2d({in, filter, out, window, zero_point, stage}, x, w, bias, y);
  } else {
    const Shape filter = {out.c, window.kernel_h, window.kernel_w, in.c};
    conv2d({in, filter, out, window, zero_point, stage}, x, w, bias, y);
  }
  return y;
}

Bytes dense(const Json &v) {
  const Json &c = v.at("config");
  const Words multiplier = {c.at("OUTPUT_MULTIPLIER")};
  const Words shift = {c.at("OUTPUT_SHIFT")};
  EXPECT_EQ(c.at("FILTER_OFFSET"), 0);
  FullyConnectedParams p;
  p.batches = c.at("INPUT_BATCHES");
  p.inputs = c.at("ACCUMULATION_DEPTH");
  p.outputs = c.at("OUT_CH");
  p.input_zero_point = -c.at("INPUT_OFFSET").get<std::int32_t>();
  p.stage = {multiplier, shift, c.at("OUTPUT_OFFSET"), activation(c)};
  Bytes y(static_cast<std::size_t>(p.batches * p.outputs));
  const Bytes x = v.at("input");
  const Bytes w = v.at("weights");
  const Words bias = v.at("biases");
  fully_connected(p, x, w, bias, y);
  return y;
}

PoolParams pool_params(const Json &c) {
  PoolParams p;
  p.input = {c.at("INPUT_N"), c.at("INPUT_H"), c.at("INPUT_W"), c.at("INPUT_C")};
  p.output = {c.at("INPUT_N"), c.at("OUTPUT_H"), c.at("OUTPUT_W"), c.at("OUTPUT_C")};
  p.activation = {c.at("ACTIVATION_MIN"), c.at("ACTIVATION_MAX")};
  p.window = {c.at("FILTER_H"),  c.at("FILTER_W"), c.at("STRIDE_H"), c.at("STRIDE_W"), 1, 1,
              c.at("PADDING_H"), c.at("PADDING_W")};
  // The extents and the padding that the file names are those of its padding scheme.
  const Padding padding = c.at("PAD") == "SAME" ? Padding::kSame : Padding::kValid;
  const AxisWindow y = axis_window(padding, p.input.h, p.window.kernel_h, p.window.stride_h, 1);
  const AxisWindow x = axis_window(padding, p.input.w, p.window.kernel_w, p.window.stride_w, 1);
  EXPECT_EQ(y.output, p.output.h);
  EXPECT_EQ(x.output, p.output.w);
  EXPECT_EQ(y.pad_before, p.window.pad_top);
  EXPECT_EQ(x.pad_before, p.window.pad_left);
  return p;
}

Bytes sum(const Json &v) {
  const Json &c = v.at("config");
  AddParams p;
  p.input1_zero_point = -c.at("INPUT1_OFFSET").get<std::int32_t>();
  p.input2_zero_point = -c.at("INPUT2_OFFSET").get<std::int32_t>();
  p.output_zero_point = c.at("OUTPUT_OFFSET");
  p.left_shift = c.at("LEFT_SHIFT");
  p.input1 = {c.at("INPUT1_MULT"), c.at("INPUT1_SHIFT")};
  p.input2 = {c.at("INPUT2_MULT"), c.at("INPUT2_SHIFT")};
  p.output = {c.at("OUTPUT_MULT"), c.at("OUTPUT_SHIFT")};
  p.activation = activation(c);
  const Bytes a = v.at("input1");
  const Bytes b = v.at("input2");
  Bytes y(a.size());
  add(p, a, b, y);
  return y;
}

Bytes probabilities(const Json &v) {
  const Json &c = v.at("config");
  const SoftmaxScaling s = {c.at("INPUT_MULT"), c.at("INPUT_LEFT_SHIFT"), c.at("DIFF_MIN")};
  const Bytes x = v.at("input");
  Bytes y(x.size());
  softmax(s, c.at("NUM_ROWS"), c.at("ROW_SIZE"), x, y);
  return y;
}

Bytes pooled(const Json &v, bool average) {
  const PoolParams p = pool_params(v.at("config"));
  const Bytes x = v.at("input_tensor");
  Bytes y(p.output.size());
  if (average)
    average_pool(p, x, y);
  else
    max_pool(p, x, y);
  return y;
}

const char *const kFiles[] = {"add",
                              "avgpooling",
                              "avgpooling_1",
                              "avgpooling_2",
                              "basic",
                              "conv_2",
                              "conv_3",
                              "conv_4",
                              "conv_5",
                              "depthwise_2",
                              "depthwise_eq_in_out_ch",
                              "depthwise_kernel_3x3",
                              "fully_connected",
                              "kernel1x1",
                              "maxpooling",
                              "maxpooling_1",
                              "maxpooling_2",
                              "softmax",
                              "stride2pad1"};

class LayerVector : public ::testing::TestWithParam<const char *> {};

TEST_P(LayerVector, IsExact) {
  const std::string name = GetParam();
  const auto path = folder() / (name + ".json");
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << "no test data: " << path << " (set KESTREL_DATA_DIR)";
  std::ifstream file(path);
  const Json v = Json::parse(file);
  Bytes y;
  if (name == "add")
    y = sum(v);
  else if (name == "softmax")
    y = probabilities(v);
  else if (name == "fully_connected")
    y = dense(v);
  else if (name.rfind("avgpooling", 0) == 0)
    y = pooled(v, true);
  else if (name.rfind("maxpooling", 0) == 0)
    y = pooled(v, false);
  else
    y = conv(v);
  const Bytes expected = v.at(v.contains("output_ref") ? "output_ref" : "output");
  ASSERT_FALSE(expected.empty());
  EXPECT_EQ(y, expected);
}

INSTANTIATE_TEST_SUITE_P(Upstream, LayerVector, ::testing::ValuesIn(kFiles),
                         [](const auto &p) { return std::string(p.param); });

TEST(LayerVectors, NoneIsLeftOut) {
  if (!std::filesystem::exists(folder()))
    GTEST_SKIP() << "no test data: " << folder() << " (set KESTREL_DATA_DIR)";
  const std::set<std::string> known(std::begin(kFiles), std::end(kFiles));
  for (const auto &entry : std::filesystem::directory_iterator(folder()))
    if (entry.path().extension() == ".json") {
      EXPECT_TRUE(known.contains(entry.path().stem().string())) << entry.path();
    }
}

} // namespace
} // namespace kestrel::hv::ref
