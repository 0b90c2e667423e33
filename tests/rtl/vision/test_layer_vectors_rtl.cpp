// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The upstream layer vectors (README.md of the test data says where they come from) on the engine:
// each file's layer as a network of its own, compiled, on the Verilated engine and on the
// functional device, exactly. The engine has one input and one sample at a time, so batches are run
// one after the other, and what takes two operands or no array work gets its operands from
// identity layers in front (`how` below).
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "tests/host/vision/random_layers.hpp"
#include "tests/host/test_data.hpp"

namespace kestrel::hv {
namespace {

using Json = nlohmann::json;
using Bytes = std::vector<std::int8_t>;
using Words = std::vector<std::int32_t>;
using test::GraphBuilder;

std::filesystem::path folder() { return test::data_dir() / "layer_vectors"; }

const contract::Config &edge() { return *contract::find_config("edge"); }

/// A network and what it has to compute: sample by sample.
struct Case {
  Graph graph;
  std::vector<Bytes> inputs;
  std::vector<Bytes> outputs;
};

std::vector<Bytes> split(const Bytes &all, std::size_t count) {
  EXPECT_EQ(all.size() % count, 0U);
  const auto size = static_cast<std::ptrdiff_t>(all.size() / count);
  std::vector<Bytes> parts;
  for (auto from = all.begin(); from != all.end(); from += size)
    parts.emplace_back(from, from + size);
  return parts;
}

Clamp clamp_of(const Json &c) { return {c.at("OUT_ACTIVATION_MIN"), c.at("OUT_ACTIVATION_MAX")}; }

// The padding that the file names lies before the map; what lies behind follows from the sizes.
Padding padding_of(const Window &w, int ih, int iw, int oh, int ow, int top, int left) {
  const auto behind = [](int in, int out, int kernel, int stride, int dilation, int before) {
    return std::max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - in - before);
  };
  return {top, left, behind(ih, oh, w.kernel_h, w.stride_h, w.dilation_h, top),
          behind(iw, ow, w.kernel_w, w.stride_w, w.dilation_w, left)};
}

Case conv(const std::string &name, const Json &v) {
  const Json &c = v.at("config");
  const int ih = c.at("INPUT_H"), iw = c.at("INPUT_W"), ic = c.at("IN_CH");
  const int oh = c.at("OUTPUT_H"), ow = c.at("OUTPUT_W"), oc = c.at("OUT_CH");
  const int zero_point = -c.at("INPUT_OFFSET").get<int>();
  const int output_zero_point = c.at("OUTPUT_OFFSET");
  const Window window = {c.at("FILTER_Y"), c.at("FILTER_X"),   c.at("STRIDE_Y"),
                         c.at("STRIDE_X"), c.at("DILATION_Y"), c.at("DILATION_X")};
  const Words multiplier = v.at("output_mult");
  const Words shift = v.at("output_shift");
  std::vector<Multiplier> requant;
  for (std::size_t i = 0; i < static_cast<std::size_t>(oc); ++i)
    requant.push_back({multiplier.at(i), shift.at(i)});

  GraphBuilder b(name);
  const TensorId input = b.input(ih, iw, ic, zero_point);
  const auto fill = [&](auto p, const char *type, std::vector<std::int32_t> shape) {
    p.input = input;
    p.window = window;
    p.padding = padding_of(window, ih, iw, oh, ow, c.at("PAD_Y"), c.at("PAD_X"));
    p.input_zero_point = zero_point;
    p.output_zero_point = output_zero_point;
    p.clamp = clamp_of(c);
    p.requant = requant;
    p.weights = b.weights(std::move(shape), v.at("weights").get<Bytes>());
    p.bias = b.bias(v.at("biases").get<Words>());
    p.output = b.activation({1, oh, ow, oc}, output_zero_point);
    return b.op(type, p);
  };
  TensorId output = kNoTensor;
  if (c.contains("CH_MULT")) {
    DepthwiseConv2D p;
    p.depth_multiplier = c.at("CH_MULT");
    EXPECT_EQ(oc, ic * p.depth_multiplier);
    output = fill(p, "DEPTHWISE_CONV_2D", {1, window.kernel_h, window.kernel_w, oc});
  } else {
    output = fill(Conv2D{}, "CONV_2D", {oc, window.kernel_h, window.kernel_w, ic});
  }
  const std::size_t batches = c.at("INPUT_BATCHES");
  return {b.finish(output), split(v.at("input"), batches), split(v.at("output_ref"), batches)};
}

Case fully_connected(const std::string &name, const Json &v) {
  const Json &c = v.at("config");
  GraphBuilder b(name);
  FullyConnected p;
  p.in_features = c.at("ACCUMULATION_DEPTH");
  p.out_features = c.at("OUT_CH");
  p.input_zero_point = -c.at("INPUT_OFFSET").get<int>();
  p.output_zero_point = c.at("OUTPUT_OFFSET");
  p.clamp = clamp_of(c);
  p.input = b.input(c.at("INPUT_H"), c.at("INPUT_W"), c.at("IN_CH"), p.input_zero_point);
  EXPECT_EQ(b.at(p.input).elements(), p.in_features);
  p.requant.assign(static_cast<std::size_t>(p.out_features),
                   {c.at("OUTPUT_MULTIPLIER"), c.at("OUTPUT_SHIFT")});
  p.weights = b.weights({p.out_features, p.in_features}, v.at("weights").get<Bytes>());
  p.bias = b.bias(v.at("biases").get<Words>());
  p.output = b.activation({1, p.out_features}, p.output_zero_point);
  const TensorId output = b.op("FULLY_CONNECTED", p);
  const std::size_t batches = c.at("INPUT_BATCHES");
  return {b.finish(output), split(v.at("input"), batches), split(v.at("output_ref"), batches)};
}

template <typename Pool> Case pool(const std::string &name, const char *type, const Json &v) {
  const Json &c = v.at("config");
  const int ih = c.at("INPUT_H"), iw = c.at("INPUT_W"), channels = c.at("INPUT_C");
  const int oh = c.at("OUTPUT_H"), ow = c.at("OUTPUT_W");
  GraphBuilder b(name);
  Pool p;
  p.window = {c.at("FILTER_H"), c.at("FILTER_W"), c.at("STRIDE_H"), c.at("STRIDE_W"), 1, 1};
  p.padding = padding_of(p.window, ih, iw, oh, ow, c.at("PADDING_H"), c.at("PADDING_W"));
  p.clamp = {c.at("ACTIVATION_MIN"), c.at("ACTIVATION_MAX")};
  p.input = b.input(ih, iw, channels, 0);
  p.output = b.activation({1, oh, ow, channels}, 0);
  const TensorId output = b.op(type, p);
  const std::size_t batches = c.at("INPUT_N");
  return {b.finish(output), split(v.at("input_tensor"), batches), split(v.at("output"), batches)};
}

// One operand is channel 0 of the input, the other channel 1; a 1x1 convolution picks it.
Case add(const std::string &name, const Json &v) {
  const Json &c = v.at("config");
  const int size = c.at("DST_SIZE");
  const std::array<int, 2> zero_points = {-c.at("INPUT1_OFFSET").get<int>(),
                                          -c.at("INPUT2_OFFSET").get<int>()};
  GraphBuilder b(name);
  const TensorId input = b.input(1, size, 2, 0);
  std::array<TensorId, 2> operands{};
  for (std::size_t i = 0; i < 2; ++i) {
    Conv2D p;
    p.input = input;
    p.requant = {{1 << 30, 1}}; // the factor 1
    p.weights = b.weights({1, 1, 1, 2}, i == 0 ? Bytes{1, 0} : Bytes{0, 1});
    p.output = b.activation({1, 1, size, 1}, 0);
    operands[i] = b.op("CONV_2D", p);
  }
  Add p;
  p.input1 = operands[0];
  p.input2 = operands[1];
  p.input1_zero_point = zero_points[0];
  p.input2_zero_point = zero_points[1];
  p.output_zero_point = c.at("OUTPUT_OFFSET");
  p.left_shift = c.at("LEFT_SHIFT");
  p.input1_multiplier = {c.at("INPUT1_MULT"), c.at("INPUT1_SHIFT")};
  p.input2_multiplier = {c.at("INPUT2_MULT"), c.at("INPUT2_SHIFT")};
  p.output_multiplier = {c.at("OUTPUT_MULT"), c.at("OUTPUT_SHIFT")};
  p.clamp = clamp_of(c);
  p.output = b.activation({1, 1, size, 1}, p.output_zero_point);
  const TensorId output = b.op("ADD", p);
  const Bytes first = v.at("input1"), second = v.at("input2");
  Bytes interleaved;
  for (std::size_t i = 0; i < first.size(); ++i) {
    interleaved.push_back(first.at(i));
    interleaved.push_back(second.at(i));
  }
  return {b.finish(output), {interleaved}, {v.at("output_ref").get<Bytes>()}};
}

// The confidence unit works on logits that the array wrote, so an identity layer comes first.
Case softmax(const std::string &name, const Json &v) {
  const Json &c = v.at("config");
  const int depth = c.at("ROW_SIZE");
  GraphBuilder b(name);
  const TensorId input = b.input(1, 1, depth, 0);
  Quantize same;
  same.input = input;
  same.requant = {1 << 30, 1};
  same.output = b.activation({1, depth}, 0);
  Softmax p;
  p.input = b.op("QUANTIZE", same);
  p.depth = depth;
  p.input_multiplier = {c.at("INPUT_MULT"), c.at("INPUT_LEFT_SHIFT")};
  p.diff_min = c.at("DIFF_MIN");
  p.output = b.activation({1, depth}, -128, 1.0F / 256);
  const TensorId output = b.op("SOFTMAX", p);
  const std::size_t rows = c.at("NUM_ROWS");
  return {b.finish(output), split(v.at("input"), rows), split(v.at("output_ref"), rows)};
}

Case build(const std::string &name, const Json &v) {
  if (name == "add")
    return add(name, v);
  if (name == "softmax")
    return softmax(name, v);
  if (name == "fully_connected")
    return fully_connected(name, v);
  if (name.starts_with("avgpooling"))
    return pool<AveragePool2D>(name, "AVERAGE_POOL_2D", v);
  if (name.starts_with("maxpooling"))
    return pool<MaxPool2D>(name, "MAX_POOL_2D", v);
  return conv(name, v);
}

struct Vector {
  const char *name;
  std::size_t samples;
  const char *how; // when more than the file's own operator is run
};

void PrintTo(const Vector &v, std::ostream *out) { *out << v.name; }

constexpr std::array kVectors = {
    Vector{"add", 1, "operands picked by two 1x1 convolutions"},
    Vector{"avgpooling", 1, ""},
    Vector{"avgpooling_1", 1, ""},
    Vector{"avgpooling_2", 1, ""},
    Vector{"basic", 1, ""},
    Vector{"conv_2", 1, ""},
    Vector{"conv_3", 1, ""},
    Vector{"conv_4", 3, ""},
    Vector{"conv_5", 1, ""},
    Vector{"depthwise_2", 1, ""},
    Vector{"depthwise_eq_in_out_ch", 1, ""},
    Vector{"depthwise_kernel_3x3", 1, ""},
    Vector{"fully_connected", 3, ""},
    Vector{"kernel1x1", 2, ""},
    Vector{"maxpooling", 2, ""},
    Vector{"maxpooling_1", 1, ""},
    Vector{"maxpooling_2", 1, ""},
    Vector{"softmax", 2, "rows one by one behind an identity layer"},
    Vector{"stride2pad1", 1, ""},
};

class LayerVectors : public testing::TestWithParam<Vector> {};

TEST_P(LayerVectors, AreExactOnTheEngine) {
  const Vector &vector = GetParam();
  const auto path = folder() / (std::string(vector.name) + ".json");
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << path << " is absent; set KESTREL_DATA_DIR to the test data";
  const Case c = build(vector.name, Json::parse(std::ifstream(path)));
  ASSERT_EQ(c.inputs.size(), vector.samples);
  ASSERT_EQ(c.outputs.size(), vector.samples);

  const auto package = compile(c.graph, edge(), {});
  ASSERT_TRUE(package) << package.error().message;
  const auto fast = make_device("fast", "edge");
  const auto rtl = make_device("rtl", "edge");
  ASSERT_TRUE(fast && rtl);
  for (Device *device : {fast->get(), rtl->get()}) {
    SCOPED_TRACE(device->name());
    ASSERT_TRUE(device->load(*package)) << device->load(*package).error().message;
    for (std::size_t i = 0; i < c.inputs.size(); ++i) {
      const auto got = device->run(c.inputs[i]);
      ASSERT_TRUE(got) << got.error().message;
      ASSERT_FALSE(c.outputs[i].empty());
      EXPECT_EQ(got->output, c.outputs[i]) << "sample " << i;
      if (device == rtl->get()) {
        EXPECT_GT(got->counters.mac, 0U);
      }
    }
  }
  if (*vector.how != '\0')
    std::printf("%s: %s\n", vector.name, vector.how);
}

INSTANTIATE_TEST_SUITE_P(Upstream, LayerVectors, testing::ValuesIn(kVectors),
                         [](const auto &param) { return std::string(param.param.name); });

// No file of the folder is left out: the engine runs them all.
TEST(LayerVectorSet, IsTheWholeFolder) {
  if (!std::filesystem::exists(folder()))
    GTEST_SKIP() << folder() << " is absent; set KESTREL_DATA_DIR to the test data";
  std::set<std::string> present, run;
  for (const auto &entry : std::filesystem::directory_iterator(folder()))
    if (entry.path().extension() == ".json")
      present.insert(entry.path().stem().string());
  for (const Vector &v : kVectors)
    run.insert(v.name);
  EXPECT_EQ(present, run);
}

} // namespace
} // namespace kestrel::hv
