// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Small random integer networks for tests: every operator that the compiler lowers, with geometry,
// zero points and requantisation over their whole range (multiplier 0, shifts -31..3, biases up to
// 2^30). Deterministic for a seed.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "kestrel/vision/graph.hpp"
#include "sw_ref/vision/pool.hpp"
#include "sw_ref/vision/softmax.hpp"

namespace kestrel::test {

/// Seed of a test: environment variable KESTREL_SEED, or the given default.
inline std::uint64_t seed_or(std::uint64_t fallback) {
  const char *text = std::getenv("KESTREL_SEED");
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : fallback;
}

/// Deterministic numbers, equal on every standard library.
class Random {
public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t bits() { return engine_(); }
  /// low .. high, both included.
  int in(int low, int high) {
    return low + static_cast<int>(bits() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(double p) { return static_cast<double>(bits() >> 11) * 0x1p-53 < p; }
  std::int8_t byte() { return static_cast<std::int8_t>(bits() >> 56); }
  template <typename T> T pick(std::initializer_list<T> values) {
    return *(values.begin() + in(0, static_cast<int>(values.size()) - 1));
  }

private:
  std::mt19937_64 engine_;
};

/// Builds graphs that satisfy the invariants of graph.hpp.
class GraphBuilder {
public:
  explicit GraphBuilder(std::string name) { graph_.name = std::move(name); }

  hv::TensorId input(int h, int w, int c, int zero_point) {
    const hv::TensorId id = activation({1, h, w, c}, zero_point);
    graph_.inputs.push_back(id);
    return id;
  }
  hv::TensorId activation(std::vector<std::int32_t> shape, int zero_point, float scale = 0.05F) {
    hv::Tensor t = tensor(std::move(shape));
    t.quant.scales = {scale};
    t.quant.zero_points = {zero_point};
    return add(std::move(t));
  }
  hv::TensorId weights(std::vector<std::int32_t> shape, std::vector<std::int8_t> values) {
    hv::Tensor t = tensor(std::move(shape));
    t.is_constant = true;
    t.quant.scales = {0.01F};
    t.quant.zero_points = {0};
    t.int8_data = std::move(values);
    return add(std::move(t));
  }
  hv::TensorId bias(std::vector<std::int32_t> values) {
    hv::Tensor t = tensor({static_cast<std::int32_t>(values.size())});
    t.is_constant = true;
    t.dtype = hv::DataType::kInt32;
    t.int32_data = std::move(values);
    return add(std::move(t));
  }
  template <typename Payload>
  hv::TensorId op(const std::string &type, Payload payload, std::int64_t macs = 0) {
    hv::Op o;
    o.id = static_cast<hv::OpId>(graph_.ops.size());
    o.source_index = o.id;
    o.type = type;
    o.name = at(payload.output).name;
    o.macs = macs;
    const hv::TensorId output = payload.output;
    o.payload = std::move(payload);
    at(output).producer = o.id;
    for (const hv::TensorId t : hv::activation_inputs(o)) {
      auto &consumers = at(t).consumers;
      if (consumers.empty() || consumers.back() != o.id)
        consumers.push_back(o.id);
    }
    graph_.ops.push_back(std::move(o));
    return output;
  }
  hv::Tensor &at(hv::TensorId id) { return graph_.tensors[static_cast<std::size_t>(id)]; }
  hv::Graph finish(hv::TensorId output) {
    graph_.outputs = {output};
    return std::move(graph_);
  }

private:
  hv::Tensor tensor(std::vector<std::int32_t> shape) {
    hv::Tensor t;
    t.id = static_cast<hv::TensorId>(graph_.tensors.size());
    t.source_index = t.id;
    t.name = fmt::format("t{}", t.id);
    t.shape = std::move(shape);
    return t;
  }
  hv::TensorId add(hv::Tensor t) {
    const hv::TensorId id = t.id;
    graph_.tensors.push_back(std::move(t));
    return id;
  }

  hv::Graph graph_;
};

/// Bounds of random networks; the defaults keep one below some ten thousand cycles on `edge`.
struct RandomLimits {
  int max_side = 18;
  int max_channels = 40;
  int max_kernel = 7;
  std::int64_t max_macs = 400'000;
};

/// Grows one network layer by layer.
class RandomNetwork {
public:
  RandomNetwork(std::uint64_t seed, RandomLimits limits = {})
      : random_(seed), limits_(limits), builder_(fmt::format("random_{}", seed)) {
    const int h = side(), w = random_.chance(0.3) ? random_.in(1, 40) : side();
    now_ = builder_.input(h, w, channels(), zero_point());
    description_ = shape_text(now_);
  }
  /// With an input of given size.
  RandomNetwork(std::uint64_t seed, RandomLimits limits, int h, int w, int c)
      : random_(seed), limits_(limits), builder_(fmt::format("random_{}", seed)) {
    now_ = builder_.input(h, w, c, zero_point());
    description_ = shape_text(now_);
  }

  hv::TensorId now() const { return now_; }
  Random &random() { return random_; }
  const std::string &description() const { return description_; }

  void conv() {
    const bool pointwise = random_.chance(0.3);
    const int k = pointwise ? 1 : 0;
    hv::Conv2D p;
    p.input = now_;
    choose_window(p.window, p.padding, k, 1.0);
    const int ic = c();
    int oc = channels();
    int groups = 1;
    if (random_.chance(0.15)) {
      for (const int g : {4, 3, 2}) {
        if (ic % g == 0)
          groups = g;
      }
      oc = (oc + groups - 1) / groups * groups;
    }
    p.groups = groups;
    const auto [oh, ow] = out_size(p.window, p.padding);
    const int taps = p.window.kernel_h * p.window.kernel_w;
    const int depth = ic / groups;
    bound(oh * ow, taps * depth, oc, groups);
    finish_mac(p, "CONV_2D", {1, oh, ow, oc}, {oc, p.window.kernel_h, p.window.kernel_w, depth}, oc,
               taps * depth, std::int64_t{oh} * ow * oc * taps * depth);
    describe("conv", p.window, p.padding, fmt::format("g{}", groups));
  }

  void depthwise() {
    hv::DepthwiseConv2D p;
    p.input = now_;
    choose_window(p.window, p.padding, 0, 1.0);
    const int ic = c();
    p.depth_multiplier = random_.chance(0.7) || ic > 12 ? 1 : random_.in(2, 4);
    const int oc = ic * p.depth_multiplier;
    const auto [oh, ow] = out_size(p.window, p.padding);
    const int taps = p.window.kernel_h * p.window.kernel_w;
    finish_mac(p, "DEPTHWISE_CONV_2D", {1, oh, ow, oc},
               {1, p.window.kernel_h, p.window.kernel_w, oc}, oc, taps,
               std::int64_t{oh} * ow * oc * taps);
    describe("depthwise", p.window, p.padding, fmt::format("m{}", p.depth_multiplier));
  }

  void fully_connected(int features = 0) {
    hv::FullyConnected p;
    p.in_features = h() * w() * c();
    if (random_.chance(0.5) && h() * w() > 1) {
      hv::Reshape r;
      r.input = now_;
      r.output = builder_.activation({1, p.in_features}, zp(now_));
      now_ = builder_.op("RESHAPE", r);
    }
    p.input = now_;
    p.out_features = features > 0 ? features : channels();
    finish_mac(p, "FULLY_CONNECTED", {1, p.out_features}, {p.out_features, p.in_features},
               p.out_features, p.in_features, std::int64_t{p.in_features} * p.out_features);
    description_ += " fc";
  }

  void pool(bool max) {
    hv::Window window;
    hv::Padding padding;
    choose_window(window, padding, 0, 0.0);
    if (random_.chance(0.25)) { // the whole map
      window = {h(), w(), 1, 1, 1, 1};
      padding = {};
    }
    const auto [oh, ow] = out_size(window, padding);
    const hv::TensorId out = builder_.activation({1, oh, ow, c()}, zp(now_));
    const hv::Clamp range = clamp();
    if (max) {
      hv::MaxPool2D p{now_, out, window, padding, hv::Activation::kNone, range};
      now_ = builder_.op("MAX_POOL_2D", p);
    } else {
      hv::AveragePool2D p{now_, out, window, padding, hv::Activation::kNone, range};
      now_ = builder_.op("AVERAGE_POOL_2D", p);
    }
    describe(max ? "max" : "avg", window, padding, "");
  }

  void mean() {
    hv::Mean p;
    p.input = now_;
    p.input_zero_point = zp(now_);
    p.output_zero_point = zero_point();
    const auto scale = hv::ref::mean_scale(0.05F, random_.chance(0.5) ? 0.05F : 0.021F);
    const auto folded = hv::ref::mean_multiplier(scale, std::int64_t{h()} * w());
    p.requant = {folded.multiplier, folded.shift};
    p.output = builder_.activation({1, c()}, p.output_zero_point);
    now_ = builder_.op("MEAN", p);
    description_ += " mean";
  }

  /// Adds `other`, of the shape of now().
  void add(hv::TensorId other) {
    hv::Add p;
    p.input1 = now_;
    p.input2 = other;
    if (random_.chance(0.5))
      std::swap(p.input1, p.input2);
    p.input1_zero_point = zp(p.input1);
    p.input2_zero_point = zp(p.input2);
    p.output_zero_point = zero_point();
    // Twice the larger scale makes one of the two 1/2.
    p.input1_multiplier = {1 << 30, 0};
    p.input2_multiplier = {mantissa(), -random_.in(0, random_.chance(0.2) ? 31 : 3)};
    if (random_.chance(0.5))
      std::swap(p.input1_multiplier, p.input2_multiplier);
    p.output_multiplier = {mantissa(), -random_.in(17, random_.chance(0.2) ? 31 : 20)};
    p.clamp = clamp();
    p.output = builder_.activation(builder_.at(now_).shape, p.output_zero_point);
    now_ = builder_.op("ADD", p);
    description_ += " add";
  }

  void pad() {
    hv::Pad p;
    p.input = now_;
    p.padding = {random_.in(0, 3), random_.in(0, 3), random_.in(0, 3), random_.in(0, 3)};
    if (random_.chance(0.2)) {
      p.channels_before = random_.in(0, 5);
      p.channels_after = random_.in(0, 9);
    }
    p.value = random_.chance(0.3) ? random_.byte() : zp(now_);
    p.output = builder_.activation({1, h() + p.padding.top + p.padding.bottom,
                                    w() + p.padding.left + p.padding.right,
                                    c() + p.channels_before + p.channels_after},
                                   zp(now_));
    now_ = builder_.op("PAD", p);
    description_ += fmt::format(" pad{}", p.value);
  }

  void relu() {
    hv::Relu p;
    p.input = now_;
    p.input_zero_point = zp(now_);
    p.output_zero_point = zero_point();
    p.requant = {mantissa(), random_.in(-4, 3)};
    p.clamp = clamp();
    p.output = builder_.activation(builder_.at(now_).shape, p.output_zero_point);
    now_ = builder_.op("RELU", p);
    description_ += " relu";
  }

  void quantize() {
    hv::Quantize p;
    p.input = now_;
    p.input_zero_point = zp(now_);
    p.output_zero_point = zero_point();
    p.requant = {mantissa(), random_.in(-4, 3)};
    p.output = builder_.activation(builder_.at(now_).shape, p.output_zero_point);
    now_ = builder_.op("QUANTIZE", p);
    description_ += " quantize";
  }

  void softmax() {
    hv::Softmax p;
    p.input = now_;
    p.depth = c();
    p.input_scale = 0.01 + 0.01 * random_.in(0, 30);
    const auto scaling = hv::ref::softmax_scaling(p.beta, p.input_scale);
    p.input_multiplier = {scaling.multiplier, scaling.left_shift};
    p.diff_min = scaling.diff_min;
    p.output = builder_.activation({1, c()}, -128, 1.0F / 256);
    now_ = builder_.op("SOFTMAX", p);
    description_ += " softmax";
  }

  hv::Graph finish() { return builder_.finish(now_); }

private:
  int h() { return builder_.at(now_).height(); }
  int w() { return builder_.at(now_).width(); }
  int c() { return builder_.at(now_).channels(); }
  int zp(hv::TensorId t) { return builder_.at(t).quant.zero_point(); }
  int side() { return random_.in(1, limits_.max_side); }
  int channels() {
    const int n = random_.chance(0.4) ? random_.in(1, 9) : random_.in(1, limits_.max_channels);
    return random_.chance(0.3) ? (n + 7) / 8 * 8 : n;
  }
  int zero_point() {
    return random_.chance(0.3) ? random_.pick({-128, 0, 127}) : random_.in(-128, 127);
  }
  std::int32_t mantissa() {
    return random_.pick({std::int32_t{1} << 30, std::int32_t{0x7FFFFFFF},
                         static_cast<std::int32_t>((1U << 30) + (random_.bits() & 0x3FFFFFFFU))});
  }
  hv::Clamp clamp() {
    if (random_.chance(0.6))
      return {};
    const int low = random_.in(-128, 20);
    return {low, random_.in(std::max(low, -20), 127)};
  }
  std::string shape_text(hv::TensorId t) {
    const hv::Tensor &tensor = builder_.at(t);
    return fmt::format("{}x{}x{}", tensor.height(), tensor.width(), tensor.channels());
  }
  void describe(const char *what, const hv::Window &win, const hv::Padding &pad,
                const std::string &more) {
    description_ += fmt::format(" {}{}x{}s{}x{}d{}x{}p{},{}{}->{}", what, win.kernel_h,
                                win.kernel_w, win.stride_h, win.stride_w, win.dilation_h,
                                win.dilation_w, pad.top, pad.left, more, shape_text(now_));
  }

  // Kernel, stride, dilation and padding for a map of h() x w(). `freedom` is the chance of
  // dilation and of explicit padding being allowed at all.
  void choose_window(hv::Window &win, hv::Padding &pad, int kernel, double freedom) {
    const auto axis = [&](int size, std::int32_t &k, std::int32_t &s, std::int32_t &d,
                          std::int32_t &before, std::int32_t &after, int mode) {
      k = kernel > 0 ? kernel
                     : random_.in(1, random_.chance(0.05) ? 15 : std::min(limits_.max_kernel, 7));
      s = random_.chance(0.6) ? 1 : random_.in(1, 4);
      d = random_.chance(0.2 * freedom) ? random_.in(2, 3) : 1;
      if (mode == 0) { // VALID
        while ((k - 1) * d + 1 > size) {
          if (d > 1)
            --d;
          else
            --k;
        }
        before = after = 0;
        return;
      }
      const int reach = (k - 1) * d + 1;
      if (mode == 1) { // SAME
        const int out = (size + s - 1) / s;
        const int total = std::max(0, (out - 1) * s + reach - size);
        before = total / 2;
        after = total - before;
        return;
      }
      before = random_.in(0, reach - 1);
      after = random_.in(0, reach - 1);
      if (size + before + after < reach)
        after = reach - size - before;
    };
    const int mode = random_.chance(0.25 * freedom) ? 2 : random_.in(0, 1);
    axis(h(), win.kernel_h, win.stride_h, win.dilation_h, pad.top, pad.bottom, mode);
    axis(w(), win.kernel_w, win.stride_w, win.dilation_w, pad.left, pad.right, mode);
  }

  std::pair<int, int> out_size(const hv::Window &win, const hv::Padding &pad) {
    const auto axis = [](int size, int before, int after, int k, int s, int d) {
      return (size + before + after - ((k - 1) * d + 1)) / s + 1;
    };
    return {axis(h(), pad.top, pad.bottom, win.kernel_h, win.stride_h, win.dilation_h),
            axis(w(), pad.left, pad.right, win.kernel_w, win.stride_w, win.dilation_w)};
  }

  // Fewer output channels when the layer would be too long.
  void bound(int pixels, int products, int &oc, int groups) const {
    while (oc > groups && std::int64_t{pixels} * products * oc > limits_.max_macs)
      oc -= groups;
  }

  // Weights, bias and requantisation, then the operator.
  template <typename Payload>
  void finish_mac(Payload &p, const char *type, const std::vector<std::int32_t> &out_shape,
                  std::vector<std::int32_t> weight_shape, int oc, int products, std::int64_t macs) {
    p.input_zero_point = zp(now_);
    p.output_zero_point = zero_point();
    p.clamp = clamp();
    std::size_t count = 1;
    for (const std::int32_t d : weight_shape)
      count *= static_cast<std::size_t>(d);
    const bool extreme_weights = random_.chance(0.1);
    std::vector<std::int8_t> values(count);
    for (std::int8_t &v : values)
      v = extreme_weights ? random_.pick({std::int8_t{-128}, std::int8_t{127}}) : random_.byte();
    p.weights = builder_.weights(std::move(weight_shape), std::move(values));
    // A sum of products is about 74 * 74 * sqrt(n); scaled to some tens of steps.
    const int typical =
        std::bit_width(static_cast<unsigned>(5400.0 * std::sqrt(static_cast<double>(products)))) -
        6;
    const bool extreme = random_.chance(0.25);
    std::vector<std::int32_t> bias(static_cast<std::size_t>(oc));
    for (std::int32_t &b : bias) {
      const int bits = extreme ? random_.in(1, 31) : random_.in(1, 14);
      b = static_cast<std::int32_t>(random_.bits() & ((std::uint64_t{1} << bits) - 1)) -
          static_cast<std::int32_t>(std::int64_t{1} << (bits - 1));
    }
    p.bias = random_.chance(0.9) ? builder_.bias(std::move(bias)) : hv::kNoTensor;
    for (int i = 0; i < oc; ++i) {
      hv::Multiplier m{mantissa(), -std::clamp(typical + random_.in(-2, 2), 0, 31)};
      if (extreme)
        m.shift = random_.in(-31, 3);
      if (random_.chance(0.05))
        m = {0, 0};
      p.requant.push_back(m);
    }
    p.output = builder_.activation(out_shape, p.output_zero_point);
    now_ = builder_.op(type, p, macs);
  }

  Random random_;
  RandomLimits limits_;
  GraphBuilder builder_;
  hv::TensorId now_ = hv::kNoTensor;
  std::string description_;
};

struct RandomCase {
  hv::Graph graph;
  std::string description;
};

/// One operator (`seed` chooses which, in turn), or one that the lowering joins to its neighbours:
/// adds, padding.
inline RandomCase random_layer(std::uint64_t seed, RandomLimits limits = {}) {
  RandomNetwork net(seed, limits);
  const hv::TensorId input = net.now();
  switch (seed % 12) {
  case 0:
  case 1:
  case 2:
    net.conv();
    break;
  case 3:
  case 4:
    net.depthwise();
    break;
  case 5:
    net.fully_connected();
    break;
  case 6:
    net.pool(net.random().chance(0.5));
    break;
  case 7:
    net.mean();
    break;
  case 8: // x + x, or a residual around an elementwise layer
    if (net.random().chance(0.7))
      net.quantize();
    net.add(input);
    break;
  case 9:
    net.pad();
    if (net.random().chance(0.7))
      net.random().chance(0.5) ? net.conv() : net.depthwise();
    break;
  case 10:
    net.random().chance(0.5) ? net.relu() : net.quantize();
    break;
  default:
    net.fully_connected(net.random().in(1, 30));
    net.softmax();
    break;
  }
  std::string description = net.description();
  return {net.finish(), std::move(description)};
}

/// Several layers with residual connections, pooling and a classifier.
inline RandomCase random_network(std::uint64_t seed, RandomLimits limits = {}) {
  RandomNetwork net(seed, limits);
  const int blocks = net.random().in(1, 4);
  for (int i = 0; i < blocks; ++i) {
    switch (net.random().in(0, 6)) {
    case 0:
      net.conv();
      break;
    case 1:
      net.depthwise();
      break;
    case 2: { // residual block
      const hv::TensorId start = net.now();
      net.random().chance(0.5) ? net.quantize() : net.relu();
      net.add(start);
      break;
    }
    case 3:
      net.pool(net.random().chance(0.5));
      break;
    case 4:
      net.pad();
      net.conv();
      break;
    case 5:
      net.relu();
      break;
    default:
      net.depthwise();
      net.conv();
      break;
    }
  }
  if (net.random().chance(0.5)) {
    if (net.random().chance(0.5))
      net.mean();
    net.fully_connected(net.random().in(2, 20));
    if (net.random().chance(0.7))
      net.softmax();
  }
  std::string description = net.description();
  return {net.finish(), std::move(description)};
}

/// Input values for a network; some are constant or at the ends of the range.
inline std::vector<std::int8_t> random_input(const hv::Graph &graph, std::uint64_t seed) {
  Random random(seed ^ 0x5DEECE66DU);
  std::vector<std::int8_t> values(static_cast<std::size_t>(graph.input().elements()));
  const bool extreme = random.chance(0.1);
  for (std::int8_t &v : values)
    v = extreme ? random.pick({std::int8_t{-128}, std::int8_t{127}}) : random.byte();
  return values;
}

} // namespace kestrel::test
