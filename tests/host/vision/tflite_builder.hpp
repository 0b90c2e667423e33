// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Writes small TensorFlow Lite files for tests: a model is a plain struct that a test changes in
// one place and writes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kestrel/bytes.hpp"
#include "tflite_subset_generated.h"

namespace kestrel::test {

namespace tfl = kestrel::hv::tfl;

enum class BuiltinOp : std::int32_t {
  kAdd = 0,
  kAveragePool2D = 1,
  kConv2D = 3,
  kDepthwiseConv2D = 4,
  kFullyConnected = 9,
  kMaxPool2D = 17,
  kMul = 18,
  kRelu = 19,
  kReluN1To1 = 20,
  kRelu6 = 21,
  kReshape = 22,
  kSoftmax = 25,
  kCustom = 32,
  kPad = 34,
  kMean = 40,
  kSqueeze = 43,
  kQuantize = 114,
};

struct TensorSpec {
  std::string name;
  std::vector<std::int32_t> shape;
  tfl::TensorType type = tfl::TensorType::INT8;
  std::vector<float> scales;
  std::vector<std::int64_t> zero_points;
  std::int32_t axis = 0;
  std::vector<std::uint8_t> data; ///< a constant when not empty
  bool variable = false;
  bool sparse = false;
  std::uint32_t buffer_override = 0xffffffff; ///< buffer index to write instead of the right one
};

using Options = std::pair<tfl::BuiltinOptions, flatbuffers::Offset<void>>;

struct OpSpec {
  std::int32_t code = 0;
  std::vector<std::int32_t> inputs;
  std::vector<std::int32_t> outputs;
  std::function<Options(flatbuffers::FlatBufferBuilder &)> options;
  std::string custom_code;
  bool code_in_old_field_only = false;
};

struct ModelSpec {
  std::uint32_t version = 3;
  std::vector<TensorSpec> tensors;
  std::vector<OpSpec> ops;
  std::vector<std::int32_t> inputs;
  std::vector<std::int32_t> outputs;
  int subgraphs = 1; ///< copies of the one subgraph
  std::uint64_t buffer_offset = 0;

  std::int32_t add(TensorSpec t) {
    tensors.push_back(std::move(t));
    return static_cast<std::int32_t>(tensors.size()) - 1;
  }
};

inline std::vector<std::uint8_t> write_model(const ModelSpec &m) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<tfl::Buffer>> buffers{tfl::CreateBuffer(b)};
  std::vector<flatbuffers::Offset<tfl::Tensor>> tensors;
  for (const TensorSpec &t : m.tensors) {
    std::uint32_t buffer = 0;
    if (!t.data.empty()) {
      b.ForceVectorAlignment(t.data.size(), 1, 16);
      const auto data = b.CreateVector(t.data);
      buffer = static_cast<std::uint32_t>(buffers.size());
      buffers.push_back(tfl::CreateBuffer(b, data, m.buffer_offset));
    }
    if (t.buffer_override != 0xffffffff) {
      buffer = t.buffer_override;
    }
    flatbuffers::Offset<tfl::QuantizationParameters> quant;
    if (!t.scales.empty() || !t.zero_points.empty()) {
      const auto scales = b.CreateVector(t.scales);
      const auto zeros = b.CreateVector(t.zero_points);
      tfl::QuantizationParametersBuilder q(b);
      q.add_scale(scales);
      q.add_zero_point(zeros);
      q.add_quantized_dimension(t.axis);
      quant = q.Finish();
    }
    const auto sparsity = t.sparse ? tfl::CreateSparsityParameters(b)
                                   : flatbuffers::Offset<tfl::SparsityParameters>();
    const auto shape = b.CreateVector(t.shape);
    const auto name = b.CreateString(t.name);
    tensors.push_back(
        tfl::CreateTensor(b, shape, t.type, buffer, name, quant, t.variable, sparsity));
  }
  std::vector<flatbuffers::Offset<tfl::OperatorCode>> codes;
  std::vector<flatbuffers::Offset<tfl::Operator>> ops;
  for (const OpSpec &op : m.ops) {
    const auto custom = op.custom_code.empty() ? flatbuffers::Offset<flatbuffers::String>()
                                               : b.CreateString(op.custom_code);
    const std::int32_t old = op.code < 127 ? op.code : 127;
    codes.push_back(tfl::CreateOperatorCode(b, static_cast<std::int8_t>(old), custom, 1,
                                            op.code_in_old_field_only ? 0 : op.code));
    Options options{tfl::BuiltinOptions::NONE, 0};
    if (op.options) {
      options = op.options(b);
    }
    const auto inputs = b.CreateVector(op.inputs);
    const auto outputs = b.CreateVector(op.outputs);
    ops.push_back(tfl::CreateOperator(b, static_cast<std::uint32_t>(codes.size()) - 1, inputs,
                                      outputs, options.first, options.second));
  }
  std::vector<flatbuffers::Offset<tfl::SubGraph>> subgraphs;
  subgraphs.reserve(static_cast<std::size_t>(m.subgraphs));
  for (int i = 0; i < m.subgraphs; ++i) {
    subgraphs.push_back(
        tfl::CreateSubGraphDirect(b, &tensors, &m.inputs, &m.outputs, &ops, "main"));
  }
  const auto model = tfl::CreateModelDirect(b, m.version, &codes, &subgraphs, "test", &buffers);
  tfl::FinishModelBuffer(b, model);
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

// ---- pieces of models ------------------------------------------------------------------------

inline TensorSpec activation(std::string name, std::vector<std::int32_t> shape, float scale = 0.05F,
                             std::int64_t zero_point = -3) {
  TensorSpec t;
  t.name = std::move(name);
  t.shape = std::move(shape);
  t.scales = {scale};
  t.zero_points = {zero_point};
  return t;
}

inline std::size_t elements(const std::vector<std::int32_t> &shape) {
  std::size_t n = 1;
  for (const std::int32_t d : shape) {
    n *= static_cast<std::size_t>(d);
  }
  return n;
}

/// int8 weights with random values, quantised along `axis` (one scale when axis < 0).
inline TensorSpec weights(std::string name, std::vector<std::int32_t> shape, std::int32_t axis,
                          std::mt19937 &random) {
  TensorSpec t;
  t.name = std::move(name);
  t.shape = std::move(shape);
  t.axis = axis < 0 ? 0 : axis;
  const std::size_t channels =
      axis < 0 ? 1 : static_cast<std::size_t>(t.shape[static_cast<std::size_t>(axis)]);
  for (std::size_t i = 0; i < channels; ++i) {
    t.scales.push_back(0.002F + 0.0001F * static_cast<float>(i));
    t.zero_points.push_back(0);
  }
  t.data.resize(elements(t.shape));
  for (auto &v : t.data) {
    v = static_cast<std::uint8_t>(random());
  }
  return t;
}

inline TensorSpec int32s(std::string name, std::vector<std::int32_t> shape,
                         const std::vector<std::int32_t> &values) {
  TensorSpec t;
  t.name = std::move(name);
  t.shape = std::move(shape);
  t.type = tfl::TensorType::INT32;
  for (const std::int32_t v : values) {
    append_le<std::int32_t>(t.data, v);
  }
  return t;
}

inline TensorSpec bias(std::string name, std::int32_t count, std::mt19937 &random) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::int32_t &value : values) {
    value = static_cast<std::int32_t>(random() % 2000) - 1000;
  }
  TensorSpec t = int32s(std::move(name), {count}, values);
  t.scales = {0.0001F};
  t.zero_points = {0};
  return t;
}

template <typename T> Options option(tfl::BuiltinOptions type, flatbuffers::Offset<T> offset) {
  return {type, offset.Union()};
}

inline auto conv_options(tfl::PaddingMode padding, std::int32_t stride,
                         tfl::FusedActivation act = tfl::FusedActivation::NONE,
                         std::int32_t dilation = 1) {
  return [=](flatbuffers::FlatBufferBuilder &b) {
    return option(tfl::BuiltinOptions::Conv2DOptions,
                  tfl::CreateConv2DOptions(b, padding, stride, stride, act, dilation, dilation));
  };
}

inline auto depthwise_options(tfl::PaddingMode padding, std::int32_t stride,
                              std::int32_t multiplier,
                              tfl::FusedActivation act = tfl::FusedActivation::NONE) {
  return [=](flatbuffers::FlatBufferBuilder &b) {
    return option(tfl::BuiltinOptions::DepthwiseConv2DOptions,
                  tfl::CreateDepthwiseConv2DOptions(b, padding, stride, stride, multiplier, act));
  };
}

inline auto pool_options(std::int32_t size, std::int32_t stride) {
  return [=](flatbuffers::FlatBufferBuilder &b) {
    return option(tfl::BuiltinOptions::Pool2DOptions,
                  tfl::CreatePool2DOptions(b, tfl::PaddingMode::VALID, stride, stride, size, size));
  };
}

inline auto fully_connected_options(bool keep_num_dims = false) {
  return [=](flatbuffers::FlatBufferBuilder &b) {
    return option(tfl::BuiltinOptions::FullyConnectedOptions,
                  tfl::CreateFullyConnectedOptions(b, tfl::FusedActivation::NONE,
                                                   tfl::WeightsFormat::DEFAULT, keep_num_dims));
  };
}

inline auto softmax_options(float beta) {
  return [=](flatbuffers::FlatBufferBuilder &b) {
    return option(tfl::BuiltinOptions::SoftmaxOptions, tfl::CreateSoftmaxOptions(b, beta));
  };
}

inline auto add_options(tfl::FusedActivation act) {
  return [=](flatbuffers::FlatBufferBuilder &b) {
    return option(tfl::BuiltinOptions::AddOptions, tfl::CreateAddOptions(b, act));
  };
}

inline auto mean_options(bool keep_dims) {
  return [=](flatbuffers::FlatBufferBuilder &b) {
    return option(tfl::BuiltinOptions::ReducerOptions, tfl::CreateReducerOptions(b, keep_dims));
  };
}

inline OpSpec op(BuiltinOp code, std::vector<std::int32_t> inputs, std::int32_t output,
                 std::function<Options(flatbuffers::FlatBufferBuilder &)> options = {}) {
  return OpSpec{
      static_cast<std::int32_t>(code), std::move(inputs), {output}, std::move(options), {}, false};
}

// Indices of the operators of small_model().
enum SmallOp : std::size_t {
  kSmallConv,
  kSmallDepthwise,
  kSmallPointwise,
  kSmallAdd,
  kSmallMaxPool,
  kSmallRelu,
  kSmallPad,
  kSmallAveragePool,
  kSmallQuantize,
  kSmallMean,
  kSmallReshape,
  kSmallFullyConnected,
  kSmallSoftmax,
};

/// One network with every supported kind of operator: 8x6x3 in, 5 classes out.
inline ModelSpec small_model() {
  std::mt19937 random(7);
  ModelSpec m;
  const auto x = m.add(activation("input", {1, 8, 6, 3}, 0.02F, -128));
  const auto w0 = m.add(weights("conv/w", {4, 3, 3, 3}, 0, random));
  const auto b0 = m.add(bias("conv/b", 4, random));
  const auto y0 = m.add(activation("conv", {1, 8, 6, 4}));
  const auto w1 = m.add(weights("dw/w", {1, 3, 3, 8}, 3, random));
  const auto b1 = m.add(bias("dw/b", 8, random));
  const auto y1 = m.add(activation("dw", {1, 8, 6, 8}, 0.06F, 5));
  const auto w2 = m.add(weights("pw/w", {4, 1, 1, 8}, -1, random));
  const auto y2 = m.add(activation("pw", {1, 8, 6, 4}, 0.07F, 1));
  const auto y3 = m.add(activation("add", {1, 8, 6, 4}, 0.09F, 2));
  const auto y4 = m.add(activation("maxpool", {1, 4, 3, 4}, 0.09F, 2));
  const auto y5 = m.add(activation("relu", {1, 4, 3, 4}, 0.05F, -100));
  const auto pads = m.add(int32s("paddings", {4, 2}, {0, 0, 1, 1, 1, 2, 0, 0}));
  const auto y6 = m.add(activation("pad", {1, 6, 6, 4}, 0.05F, -100));
  const auto y7 = m.add(activation("avgpool", {1, 3, 3, 4}, 0.05F, -100));
  const auto y8 = m.add(activation("quantize", {1, 3, 3, 4}, 0.06F, -90));
  const auto axes = m.add(int32s("axes", {2}, {1, 2}));
  const auto y9 = m.add(activation("mean", {1, 1, 1, 4}, 0.05F, -80));
  const auto shape = m.add(int32s("shape", {2}, {-1, 4}));
  const auto y10 = m.add(activation("flat", {1, 4}, 0.05F, -80));
  const auto w11 = m.add(weights("fc/w", {5, 4}, -1, random));
  const auto b11 = m.add(bias("fc/b", 5, random));
  const auto y11 = m.add(activation("fc", {1, 5}, 0.08F, 10));
  const auto y12 = m.add(activation("softmax", {1, 5}, 1.0F / 256.0F, -128));
  using P = tfl::PaddingMode;
  using A = tfl::FusedActivation;
  m.ops = {
      op(BuiltinOp::kConv2D, {x, w0, b0}, y0, conv_options(P::SAME, 1, A::RELU)),
      op(BuiltinOp::kDepthwiseConv2D, {y0, w1, b1}, y1, depthwise_options(P::SAME, 1, 2, A::RELU6)),
      op(BuiltinOp::kConv2D, {y1, w2, -1}, y2, conv_options(P::VALID, 1)),
      op(BuiltinOp::kAdd, {y2, y0}, y3, add_options(A::NONE)),
      op(BuiltinOp::kMaxPool2D, {y3}, y4, pool_options(2, 2)),
      op(BuiltinOp::kRelu, {y4}, y5),
      op(BuiltinOp::kPad, {y5, pads}, y6),
      op(BuiltinOp::kAveragePool2D, {y6}, y7, pool_options(2, 2)),
      op(BuiltinOp::kQuantize, {y7}, y8),
      op(BuiltinOp::kMean, {y8, axes}, y9, mean_options(true)),
      op(BuiltinOp::kReshape, {y9, shape}, y10),
      op(BuiltinOp::kFullyConnected, {y10, w11, b11}, y11, fully_connected_options()),
      op(BuiltinOp::kSoftmax, {y11}, y12, softmax_options(1.0F)),
  };
  m.inputs = {x};
  m.outputs = {y12};
  return m;
}

/// The tensor of that name; the model must have one.
inline TensorSpec &tensor(ModelSpec &m, const std::string &name) {
  for (TensorSpec &t : m.tensors) {
    if (t.name == name) {
      return t;
    }
  }
  throw std::out_of_range("no tensor " + name);
}

} // namespace kestrel::test
