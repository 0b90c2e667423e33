// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Networks of the published shapes of MobileNetV2 (Sandler et al., 2018) and ResNet-18 (He et al.,
// 2016) with random int8 weights, scaled so that activations keep varying from layer to layer. For
// tests and measurements of networks that exceed activation memory.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kestrel/vision/graph.hpp"
#include "sw_ref/vision/requant.hpp"
#include "sw_ref/vision/softmax.hpp"
#include "tests/host/vision/random_layers.hpp"

namespace kestrel::test {

class LargeNetwork {
public:
  LargeNetwork(const char *name, std::uint64_t seed, int side) : random_(seed), builder_(name) {
    now_ = builder_.input(side, side, 3, -3);
  }

  void conv(int oc, int kernel, int stride, bool relu = true) {
    hv::Conv2D p;
    const int ic = channels();
    const auto [oh, ow] = window(p.window, p.padding, kernel, stride);
    mac(p, "CONV_2D", {1, oh, ow, oc}, {oc, kernel, kernel, ic}, oc, kernel * kernel * ic, relu,
        std::int64_t{oh} * ow * oc * kernel * kernel * ic);
  }
  void depthwise(int stride) {
    hv::DepthwiseConv2D p;
    const int c = channels();
    const auto [oh, ow] = window(p.window, p.padding, 3, stride);
    mac(p, "DEPTHWISE_CONV_2D", {1, oh, ow, c}, {1, 3, 3, c}, c, 9, true,
        std::int64_t{oh} * ow * c * 9);
  }
  void max_pool(int kernel, int stride) {
    hv::MaxPool2D p;
    const auto [oh, ow] = window(p.window, p.padding, kernel, stride);
    p.input = now_;
    p.output = builder_.activation({1, oh, ow, channels()}, zp(now_));
    now_ = builder_.op("MAX_POOL_2D", p);
  }
  void global_average() {
    hv::AveragePool2D p;
    const hv::Tensor &t = builder_.at(now_);
    p.window = {t.height(), t.width(), 1, 1, 1, 1};
    p.input = now_;
    p.output = builder_.activation({1, 1, 1, t.channels()}, zp(now_));
    now_ = builder_.op("AVERAGE_POOL_2D", p);
  }
  void add(hv::TensorId other, bool relu) {
    hv::Add p;
    p.input1 = other;
    p.input2 = now_;
    p.input1_zero_point = zp(other);
    p.input2_zero_point = zp(now_);
    p.output_zero_point = random_.in(-30, 30);
    p.input1_multiplier = {1 << 30, 0};
    p.input2_multiplier = {1 << 30, 0};
    p.output_multiplier = {1518500250, -19}; // about 0.7 of the sum
    if (relu)
      p.clamp.min = p.output_zero_point;
    p.output = builder_.activation(builder_.at(now_).shape, p.output_zero_point);
    now_ = builder_.op("ADD", p);
  }
  void fully_connected(int features) {
    hv::FullyConnected p;
    const int n = channels();
    p.in_features = n;
    p.out_features = features;
    mac(p, "FULLY_CONNECTED", {1, features}, {features, n}, features, n, false,
        std::int64_t{n} * features);
  }
  void softmax() {
    hv::Softmax p;
    p.input = now_;
    p.depth = channels();
    p.input_scale = 0.1;
    const auto scaling = hv::ref::softmax_scaling(p.beta, p.input_scale);
    p.input_multiplier = {scaling.multiplier, scaling.left_shift};
    p.diff_min = scaling.diff_min;
    p.output = builder_.activation({1, p.depth}, -128, 1.0F / 256);
    now_ = builder_.op("SOFTMAX", p);
  }

  hv::TensorId now() const { return now_; }
  void go_on_from(hv::TensorId tensor) { now_ = tensor; }
  int channels() { return builder_.at(now_).channels(); }
  hv::Graph finish() { return builder_.finish(now_); }

private:
  int zp(hv::TensorId t) { return builder_.at(t).quant.zero_point(); }

  std::pair<int, int> window(hv::Window &win, hv::Padding &pad, int kernel, int stride) {
    const hv::Tensor &t = builder_.at(now_);
    win = {kernel, kernel, stride, stride, 1, 1};
    const auto axis = [&](int size, std::int32_t &before, std::int32_t &after) {
      const int out = (size + stride - 1) / stride;
      const int total = std::max(0, (out - 1) * stride + kernel - size);
      before = total / 2;
      after = total - before;
      return out;
    };
    const int oh = axis(t.height(), pad.top, pad.bottom);
    return {oh, axis(t.width(), pad.left, pad.right)};
  }

  template <typename Payload>
  void mac(Payload &p, const char *type, const std::vector<std::int32_t> &out_shape,
           std::vector<std::int32_t> weight_shape, int oc, int products, bool relu,
           std::int64_t macs) {
    p.input = now_;
    p.input_zero_point = zp(now_);
    p.output_zero_point = random_.in(-30, 30);
    if (relu)
      p.clamp.min = p.output_zero_point;
    std::vector<std::int8_t> values(static_cast<std::size_t>(oc) *
                                    static_cast<std::size_t>(products));
    for (std::int8_t &v : values)
      v = random_.byte();
    p.weights = builder_.weights(std::move(weight_shape), std::move(values));
    const double spread = 74.0 * 55.0 * std::sqrt(static_cast<double>(products));
    std::vector<std::int32_t> bias(static_cast<std::size_t>(oc));
    for (std::int32_t &b : bias)
      b = static_cast<std::int32_t>(spread / 128 * random_.in(-64, 64));
    p.bias = builder_.bias(std::move(bias));
    for (int i = 0; i < oc; ++i) {
      const auto m = hv::ref::quantize_multiplier(60.0 / spread * (0.8 + 0.1 * random_.in(0, 4)));
      p.requant.push_back({m.multiplier, m.shift});
    }
    p.output = builder_.activation(out_shape, p.output_zero_point);
    now_ = builder_.op(type, p, macs);
  }

  Random random_;
  GraphBuilder builder_;
  hv::TensorId now_ = hv::kNoTensor;
};

/// MobileNetV2 (width 1.0). `side` 224 is the published size.
inline hv::Graph mobilenet_v2(std::uint64_t seed, int side = 224) {
  LargeNetwork net("mobilenet_v2", seed, side);
  net.conv(32, 3, 2);
  struct Stage {
    int expand, channels, count, stride;
  };
  constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                               {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  for (const Stage &s : kStages) {
    for (int i = 0; i < s.count; ++i) {
      const hv::TensorId start = net.now();
      const int in = net.channels();
      if (s.expand != 1)
        net.conv(in * s.expand, 1, 1);
      net.depthwise(i == 0 ? s.stride : 1);
      net.conv(s.channels, 1, 1, false);
      if (i > 0)
        net.add(start, false);
    }
  }
  net.conv(1280, 1, 1);
  net.global_average();
  net.fully_connected(1000);
  net.softmax();
  return net.finish();
}

/// ResNet-18. `side` 224 is the published size.
inline hv::Graph resnet18(std::uint64_t seed, int side = 224) {
  LargeNetwork net("resnet18", seed, side);
  net.conv(64, 7, 2);
  net.max_pool(3, 2);
  for (int stage = 0; stage < 4; ++stage) {
    for (int i = 0; i < 2; ++i) {
      const int channels = 64 << stage;
      const int stride = i == 0 && stage > 0 ? 2 : 1;
      const hv::TensorId start = net.now();
      hv::TensorId shortcut = start;
      if (stride != 1) {
        net.conv(channels, 1, stride, false);
        shortcut = net.now();
        net.go_on_from(start);
      }
      net.conv(channels, 3, stride);
      net.conv(channels, 3, 1, false);
      net.add(shortcut, true);
    }
  }
  net.global_average();
  net.fully_connected(1000);
  net.softmax();
  return net.finish();
}

} // namespace kestrel::test
