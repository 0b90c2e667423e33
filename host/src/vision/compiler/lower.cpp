// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Lowering: operators of the graph become layers of the engine.
#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

#include "sw_ref/vision/softmax.hpp"
#include "vision/compiler/layer.hpp"

namespace kestrel::hv::compiler {
namespace {

constexpr int kMaxKernel = 256;        // kh_m1, kw_m1 are 8 bits
constexpr int kMaxStride = 255;        // sx, sy are 8 bits
constexpr int kMaxMapSide = 2047;      // ix, iy are signed 12 bits
constexpr int kMaxMapPixels = 400'000; // linear indices are signed 20 bits
constexpr int kMaxLeftShift = 3;       // 2 bits of a shift byte
constexpr int kMaxAverageTaps = 2895;  // up to here the rounded division is exact
constexpr int kMaxClasses = 1024;

// A tensor seen on a map of activation memory.
struct View {
  int map = -1;
  int h = 0, w = 0, c = 0;
  // The tensor's own shape does not follow pixels and channels of the map (a flattened map): only
  // the order of elements agrees.
  bool flat = false;
};

struct Dims {
  int h = 1, w = 1, c = 1;
};

Dims dims_of(const Tensor &tensor) {
  if (tensor.shape.size() == 4)
    return {tensor.height(), tensor.width(), tensor.channels()};
  const int c = tensor.channels();
  return {static_cast<int>(tensor.elements() / c), 1, c};
}

// Padding that a following window takes over from PAD operators.
struct FoldedPad {
  TensorId source = kNoTensor;
  int top = 0, left = 0;
};

// A window's input: the view and how much explicit padding lies before it.
struct WindowInput {
  View view;
  int extra_top = 0, extra_left = 0;
};

class Lowering {
public:
  Lowering(const Graph &graph, const contract::Config &config) : graph_(graph), config_(config) {}

  Result<Program> run();

private:
  Result<void> begin_input();
  Result<void> lower_op(const Op &op);
  Result<void> finish();

  Result<void> lower(const Op &op, const Conv2D &p);
  Result<void> lower(const Op &op, const DepthwiseConv2D &p);
  Result<void> lower(const Op &op, const FullyConnected &p);
  Result<void> lower(const Op &op, const Add &p);
  Result<void> lower(const Op &op, const AveragePool2D &p);
  Result<void> lower(const Op &op, const MaxPool2D &p);
  Result<void> lower(const Op &op, const Mean &p);
  Result<void> lower(const Op &op, const Pad &p);
  Result<void> lower(const Op &op, const Reshape &p);
  Result<void> lower(const Op &op, const Softmax &p);
  Result<void> lower(const Op &op, const Relu &p) {
    return lower_rescale(op, p.input, p.output, p.input_zero_point, p.output_zero_point, p.requant,
                         p.clamp);
  }
  Result<void> lower(const Op &op, const Quantize &p) {
    return lower_rescale(op, p.input, p.output, p.input_zero_point, p.output_zero_point, p.requant,
                         Clamp{});
  }
  Result<void> lower_rescale(const Op &op, TensorId input, TensorId output, int in_zp, int out_zp,
                             Multiplier requant, Clamp clamp);

  Result<View> spatial_view(const Op &op, TensorId tensor) const;
  Result<WindowInput> window_input(const Op &op, TensorId tensor) const;
  Result<ChannelParams> channel_params(const Op &op, std::int32_t bias, Multiplier m) const;
  Result<void> set_window(const Op &op, Layer &layer, const Window &window, const View &in,
                          int pad_top, int pad_left, TensorId output) const;
  Result<void> set_requant(const Op &op, Layer &layer, std::span<const std::int32_t> bias,
                           std::span<const Multiplier> requant, int in_zp) const;
  Result<void> check_geometry(const Op &op, const Layer &layer) const;
  // Identity 1x1 depthwise layer over the view.
  Layer copy_layer(const Op &op, const View &view) const;
  Result<void> push(const Op &op, Layer layer, TensorId output);
  int new_map(const std::string &name, int pixels, int channels);
  int producing_layer(int map) const;
  int riding_layer(TensorId tensor, int map) const;

  const Graph &graph_;
  const contract::Config &config_;
  Program program_;
  std::vector<std::optional<View>> views_;
  std::vector<std::optional<FoldedPad>> folded_;
  bool ended_ = false; // a softmax has been seen
  TensorId softmax_output_ = kNoTensor;
};

Error unsupported(const Op &op, const std::string &why) {
  return fail(ErrorCode::kUnsupported, "{}: {}", describe(op), why);
}

std::size_t size(int v) { return static_cast<std::size_t>(v); }

// Zeros for [oc][taps][depth], where a sparse operator becomes a dense one.
Result<void> clear_weights(const Op &op, Layer &layer, int oc, int taps, int depth) {
  constexpr std::size_t kMost = std::size_t{1} << 28;
  const std::size_t row = size(taps) * size(depth);
  if (row > kMost / size(oc)) {
    return fail(ErrorCode::kResourceLimit,
                "{}: as a dense layer it has {} x {} weights; up to {} are supported", describe(op),
                oc, row, kMost);
  }
  layer.weights.assign(size(oc) * row, 0);
  return {};
}

ChannelParams identity_params() { return {0, std::int32_t{1} << 30, 0, 1}; }

// Taps that every output reads outside the map contribute nothing (zero point, or the neutral value
// of a pool): leave them out. It also bounds how far the first window starts before the map.
void crop_axis(int out, int in, int &kernel, int stride, int dilation, int &pad, int &cut_before) {
  cut_before = 0;
  while (kernel > 1 && (out - 1) * stride - pad < 0) {
    pad -= dilation;
    --kernel;
    ++cut_before;
  }
  while (kernel > 1 && -pad + (kernel - 1) * dilation >= in)
    --kernel;
}

void normalise_axis(int out, int kernel, int &stride, int &dilation) {
  if (out == 1)
    stride = 1;
  if (kernel == 1)
    dilation = 1;
}

// Crops the kernel of a layer whose weights (if any) are [oc][kh][kw][depth].
void crop(Layer &layer) {
  const int kh = layer.kh, kw = layer.kw;
  int cut_top = 0, cut_left = 0;
  crop_axis(layer.oh, layer.ih, layer.kh, layer.sy, layer.dy, layer.pad_top, cut_top);
  crop_axis(layer.ow, layer.iw, layer.kw, layer.sx, layer.dx, layer.pad_left, cut_left);
  normalise_axis(layer.oh, layer.kh, layer.sy, layer.dy);
  normalise_axis(layer.ow, layer.kw, layer.sx, layer.dx);
  if (layer.kh == kh && layer.kw == kw)
    return;
  const int depth = layer.depthwise ? 1 : layer.ic;
  std::vector<std::int8_t> cropped;
  cropped.reserve(static_cast<std::size_t>(layer.oc) * static_cast<std::size_t>(layer.kh) *
                  static_cast<std::size_t>(layer.kw * depth));
  for (int oc = 0; oc < layer.oc; ++oc) {
    for (int y = 0; y < layer.kh; ++y) {
      const auto from = layer.weights.begin() +
                        ((static_cast<std::ptrdiff_t>(oc) * kh + y + cut_top) * kw + cut_left) *
                            static_cast<std::ptrdiff_t>(depth);
      cropped.insert(cropped.end(), from,
                     from + static_cast<std::ptrdiff_t>(layer.kw) *
                                static_cast<std::ptrdiff_t>(depth));
    }
  }
  layer.weights = std::move(cropped);
}

int Lowering::new_map(const std::string &name, int pixels, int channels) {
  Map map;
  map.name = name;
  map.pixels = pixels;
  map.channels = channels;
  map.groups = ceil_div(channels, static_cast<int>(config_.word_bytes));
  program_.maps.push_back(std::move(map));
  return static_cast<int>(program_.maps.size()) - 1;
}

int Lowering::producing_layer(int map) const {
  for (std::size_t i = 0; i < program_.layers.size(); ++i) {
    if (program_.layers[i].out == map)
      return static_cast<int>(i);
  }
  return -1;
}

Result<View> Lowering::spatial_view(const Op &op, TensorId tensor) const {
  const auto &folded = folded_[static_cast<std::size_t>(tensor)];
  const auto &view = views_[static_cast<std::size_t>(tensor)];
  if (folded || !view)
    return fail(ErrorCode::kInternal, "{}: tensor '{}' has no place in activation memory",
                describe(op), graph_.tensor(tensor).name);
  if (view->flat) {
    return unsupported(
        op, fmt::format("its input '{}' is a reshape of a {}x{}x{} map into other channels; after "
                        "such a reshape only FULLY_CONNECTED is supported",
                        graph_.tensor(tensor).name, view->h, view->w, view->c));
  }
  return *view;
}

Result<WindowInput> Lowering::window_input(const Op &op, TensorId tensor) const {
  WindowInput in;
  while (const auto &folded = folded_[static_cast<std::size_t>(tensor)]) {
    in.extra_top += folded->top;
    in.extra_left += folded->left;
    tensor = folded->source;
  }
  KESTREL_ASSIGN(in.view, spatial_view(op, tensor));
  return in;
}

Result<ChannelParams> Lowering::channel_params(const Op &op, std::int32_t bias,
                                               Multiplier m) const {
  if (m.multiplier < 0)
    return unsupported(op, fmt::format("negative requantisation multiplier {}", m.multiplier));
  ChannelParams p;
  p.bias = bias;
  p.multiplier = m.multiplier;
  if (m.multiplier == 0)
    return p;
  if (m.shift > kMaxLeftShift || m.shift < -31) {
    return unsupported(op, fmt::format("requantisation shift {}; the engine supports -31..{}",
                                       m.shift, kMaxLeftShift));
  }
  if (m.shift >= 0)
    p.left_shift = static_cast<std::uint8_t>(m.shift);
  else
    p.right_shift = static_cast<std::uint8_t>(-m.shift);
  return p;
}

Result<void> Lowering::check_geometry(const Op &op, const Layer &l) const {
  if (l.kh > kMaxKernel || l.kw > kMaxKernel) {
    return unsupported(op, fmt::format("kernel {}x{}; up to {}x{} are supported", l.kh, l.kw,
                                       kMaxKernel, kMaxKernel));
  }
  if (l.sy > kMaxStride || l.sx > kMaxStride || l.dy > kMaxStride || l.dx > kMaxStride) {
    return unsupported(op, fmt::format("stride {}x{} with dilation {}x{}; up to {} are supported",
                                       l.sy, l.sx, l.dy, l.dx, kMaxStride));
  }
  // Coordinates of taps, those of lanes behind the last output included, are signed 12 bits; linear
  // pixel indices signed 20 bits.
  const int lanes = static_cast<int>(config_.lanes);
  const std::array<int, 6> sides = {l.ih,
                                    l.iw,
                                    (l.oh + lanes / l.ow + 1) * l.sy + (l.kh - 1) * l.dy,
                                    (l.ow + 1) * l.sx + (l.kw - 1) * l.dx,
                                    l.pad_top,
                                    l.pad_left};
  const bool large = std::any_of(sides.begin(), sides.end(), [](int v) { return v > kMaxMapSide; });
  if (large || std::int64_t{l.ih} * l.iw > kMaxMapPixels ||
      std::int64_t{l.oh} * l.ow > kMaxMapPixels) {
    return unsupported(
        op,
        fmt::format("maps {}x{} -> {}x{} (kernel {}x{}, stride {}x{}); sides up to about {} and "
                    "{} pixels are supported",
                    l.ih, l.iw, l.oh, l.ow, l.kh, l.kw, l.sy, l.sx, kMaxMapSide, kMaxMapPixels));
  }
  if ((l.ow - 1) * l.sx - l.pad_left < 0 && l.ow > 1) {
    return unsupported(op, "every window lies in the padding left of the map");
  }
  return {};
}

Result<void> Lowering::set_window(const Op &op, Layer &layer, const Window &window, const View &in,
                                  int pad_top, int pad_left, TensorId output) const {
  const Dims out = dims_of(graph_.tensor(output));
  layer.op = op.id;
  layer.in = in.map;
  layer.ih = in.h;
  layer.iw = in.w;
  layer.ic = in.c;
  layer.oh = out.h;
  layer.ow = out.w;
  layer.oc = out.c;
  layer.kh = window.kernel_h;
  layer.kw = window.kernel_w;
  layer.sy = window.stride_h;
  layer.sx = window.stride_w;
  layer.dy = window.dilation_h;
  layer.dx = window.dilation_w;
  layer.pad_top = pad_top;
  layer.pad_left = pad_left;
  crop(layer);
  return check_geometry(op, layer);
}

Result<void> Lowering::set_requant(const Op &op, Layer &layer, std::span<const std::int32_t> bias,
                                   std::span<const Multiplier> requant, int in_zp) const {
  std::vector<ChannelParams> params;
  params.reserve(static_cast<std::size_t>(layer.oc));
  const std::size_t per_channel = layer.weights.size() / static_cast<std::size_t>(layer.oc);
  for (std::size_t oc = 0; oc < static_cast<std::size_t>(layer.oc); ++oc) {
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < per_channel; ++k)
      sum += layer.weights[oc * per_channel + k];
    // The sum with zero points folded in, modulo 2^32 like the accumulator.
    const std::uint32_t b = (bias.empty() ? 0U : static_cast<std::uint32_t>(bias[oc])) -
                            static_cast<std::uint32_t>(in_zp) * static_cast<std::uint32_t>(sum);
    KESTREL_ASSIGN(ChannelParams p, channel_params(op, static_cast<std::int32_t>(b), requant[oc]));
    params.push_back(p);
  }
  layer.variants.push_back(std::move(params));
  layer.pad = in_zp;
  return {};
}

Result<void> Lowering::push(const Op &op, Layer layer, TensorId output) {
  layer.op = op.id;
  const Tensor &tensor = graph_.tensor(output);
  layer.out = new_map(tensor.name, layer.out_pixels(), layer.oc);
  if (layer.runs.empty())
    layer.runs.push_back({0, layer.out_pixels(), 0});
  const Dims dims = dims_of(tensor);
  views_[static_cast<std::size_t>(output)] = View{layer.out, dims.h, dims.w, dims.c, false};
  program_.layers.push_back(std::move(layer));
  return {};
}

Result<void> Lowering::lower(const Op &op, const Conv2D &p) {
  KESTREL_ASSIGN(const WindowInput in, window_input(op, p.input));
  const auto w = graph_.int8_data(p.weights);
  const int oc_all = dims_of(graph_.tensor(p.output)).c;
  const int taps = p.window.kernel_h * p.window.kernel_w;
  const int depth = in.view.c / p.groups;  // input channels of one group
  const int per_group = oc_all / p.groups; // output channels of one group
  Layer layer;
  if (p.groups > 1 && depth == 1 && per_group == 1) {
    layer.depthwise = true;
    layer.weights.assign(w.begin(), w.end());
  } else if (p.groups == 1) {
    layer.weights.assign(w.begin(), w.end());
  } else {
    KESTREL_TRY(clear_weights(op, layer, oc_all, taps, in.view.c));
    for (std::size_t oc = 0; oc < size(oc_all); ++oc) {
      const std::size_t first = oc / size(per_group) * size(depth);
      for (std::size_t t = 0; t < size(taps); ++t) {
        const std::size_t row = oc * size(taps) + t;
        std::copy_n(w.begin() + static_cast<std::ptrdiff_t>(row * size(depth)), depth,
                    layer.weights.begin() +
                        static_cast<std::ptrdiff_t>(row * size(in.view.c) + first));
      }
    }
    program_.notes[static_cast<std::size_t>(op.id)].note =
        fmt::format("{} groups as one dense convolution with zeros", p.groups);
  }
  KESTREL_TRY(set_window(op, layer, p.window, in.view, p.padding.top + in.extra_top,
                         p.padding.left + in.extra_left, p.output));
  KESTREL_TRY(set_requant(op, layer, graph_.int32_data(p.bias), p.requant, p.input_zero_point));
  layer.out_zp = p.output_zero_point;
  layer.act_min = p.clamp.min;
  layer.act_max = p.clamp.max;
  return push(op, std::move(layer), p.output);
}

Result<void> Lowering::lower(const Op &op, const DepthwiseConv2D &p) {
  KESTREL_ASSIGN(const WindowInput in, window_input(op, p.input));
  const auto w = graph_.int8_data(p.weights); // [kh][kw][oc]
  const int oc_all = in.view.c * p.depth_multiplier;
  const int taps = p.window.kernel_h * p.window.kernel_w;
  Layer layer;
  layer.depthwise = p.depth_multiplier == 1;
  const int depth = layer.depthwise ? 1 : in.view.c;
  KESTREL_TRY(clear_weights(op, layer, oc_all, taps, depth));
  for (std::size_t oc = 0; oc < size(oc_all); ++oc) {
    const std::size_t c = layer.depthwise ? 0 : oc / size(p.depth_multiplier);
    for (std::size_t t = 0; t < size(taps); ++t)
      layer.weights[(oc * size(taps) + t) * size(depth) + c] = w[t * size(oc_all) + oc];
  }
  if (!layer.depthwise) {
    program_.notes[static_cast<std::size_t>(op.id)].note =
        in.view.c == 1 ? "one input channel: a dense convolution"
                       : fmt::format("depth multiplier {} as a dense convolution with zeros",
                                     p.depth_multiplier);
  }
  KESTREL_TRY(set_window(op, layer, p.window, in.view, p.padding.top + in.extra_top,
                         p.padding.left + in.extra_left, p.output));
  KESTREL_TRY(set_requant(op, layer, graph_.int32_data(p.bias), p.requant, p.input_zero_point));
  layer.out_zp = p.output_zero_point;
  layer.act_min = p.clamp.min;
  layer.act_max = p.clamp.max;
  return push(op, std::move(layer), p.output);
}

Result<void> Lowering::lower(const Op &op, const FullyConnected &p) {
  const auto &view = views_[static_cast<std::size_t>(p.input)];
  if (!view)
    return fail(ErrorCode::kInternal, "{}: input has no place", describe(op));
  Layer layer;
  layer.in = view->map;
  const int pixels = view->h * view->w;
  if (p.rows == 1) {
    // The kernel covers the whole map. Pixels are linear, so any width that divides their number
    // will do.
    int kw = view->w, kh = view->h;
    if (kw > kMaxKernel || kh > kMaxKernel) {
      kw = std::min(pixels, kMaxKernel);
      while (pixels % kw != 0)
        --kw;
      kh = pixels / kw;
      if (kh > kMaxKernel) {
        return unsupported(op, fmt::format("its input map of {} pixels cannot be seen as a kernel "
                                           "of up to {}x{} elements",
                                           pixels, kMaxKernel, kMaxKernel));
      }
    }
    layer.kh = layer.ih = kh;
    layer.kw = layer.iw = kw;
  } else {
    if (view->flat || view->c != p.in_features || pixels != p.rows) {
      return unsupported(op, fmt::format("{} rows of {} features on a {}x{}x{} map; several rows "
                                         "are supported when each is one pixel of the map",
                                         p.rows, p.in_features, view->h, view->w, view->c));
    }
    layer.ih = layer.oh = view->h;
    layer.iw = layer.ow = view->w;
  }
  layer.ic = view->c;
  layer.oc = p.out_features;
  const auto w = graph_.int8_data(p.weights);
  layer.weights.assign(w.begin(), w.end());
  KESTREL_TRY(check_geometry(op, layer));
  KESTREL_TRY(set_requant(op, layer, graph_.int32_data(p.bias), p.requant, p.input_zero_point));
  layer.out_zp = p.output_zero_point;
  layer.act_min = p.clamp.min;
  layer.act_max = p.clamp.max;
  return push(op, std::move(layer), p.output);
}

// The layer that makes a map, if an add of the tensor in it can ride on it.
int Lowering::riding_layer(TensorId tensor, int map) const {
  const int made = producing_layer(map);
  const Tensor &t = graph_.tensor(tensor);
  const bool is_output =
      std::find(graph_.outputs.begin(), graph_.outputs.end(), tensor) != graph_.outputs.end();
  if (made < 0 || is_output || t.consumers.size() != 1)
    return -1;
  const Layer &layer = program_.layers[static_cast<std::size_t>(made)];
  return layer.op == t.producer && !layer.add ? made : -1;
}

Layer Lowering::copy_layer(const Op &op, const View &view) const {
  Layer layer;
  layer.op = op.id;
  layer.depthwise = true;
  layer.in = view.map;
  layer.ih = layer.oh = view.h;
  layer.iw = layer.ow = view.w;
  layer.ic = layer.oc = view.c;
  layer.weights.assign(static_cast<std::size_t>(view.c), 1);
  layer.variants.emplace_back(static_cast<std::size_t>(view.c), identity_params());
  return layer;
}

Result<void> Lowering::lower(const Op &op, const Add &p) {
  KESTREL_ASSIGN(const View view1, spatial_view(op, p.input1));
  KESTREL_ASSIGN(const View view2, spatial_view(op, p.input2));
  if (p.left_shift != 20)
    return unsupported(op, fmt::format("left shift {}; the engine supports 20", p.left_shift));
  for (const Multiplier &m : {p.input1_multiplier, p.input2_multiplier, p.output_multiplier}) {
    if (m.multiplier < 0 || m.shift > 0 || m.shift < -31) {
      return unsupported(op, fmt::format("rescaling by a factor of 1 or more (multiplier {}, shift "
                                         "{}); the engine supports shifts -31..0",
                                         m.multiplier, m.shift));
    }
  }
  // The operand made last rides on its producer when nothing else wants it. Where that is a short
  // layer, which would wait for its tiles to be added, and the other operand's a longer one, that
  // one is made last.
  const int made1 = riding_layer(p.input1, view1.map);
  const int made2 = riding_layer(p.input2, view2.map);
  bool first = producing_layer(view1.map) > producing_layer(view2.map);
  if (const int late = first ? made1 : made2, early = first ? made2 : made1;
      late >= 0 && early >= 0 && late != early) {
    const auto at = program_.layers.begin();
    const int steps = at[late].steps();
    if (steps < add_cycles(config_) && at[early].steps() > steps) {
      std::rotate(at + early, at + early + 1, at + late + 1);
      first = !first;
    }
  }
  const TensorId late = first ? p.input1 : p.input2;
  const View &late_view = first ? view1 : view2;
  const View &early_view = first ? view2 : view1;
  const int made = riding_layer(late, late_view.map);

  ResidualAdd add;
  const Multiplier &m1 = first ? p.input1_multiplier : p.input2_multiplier;
  const Multiplier &m2 = first ? p.input2_multiplier : p.input1_multiplier;
  add.m1 = m1.multiplier;
  add.s1 = -m1.shift;
  add.z1 = first ? p.input1_zero_point : p.input2_zero_point;
  add.m2 = m2.multiplier;
  add.s2 = -m2.shift;
  add.z2 = first ? p.input2_zero_point : p.input1_zero_point;
  add.mo = p.output_multiplier.multiplier;
  add.so = -p.output_multiplier.shift;
  add.zp = p.output_zero_point;
  add.min = p.clamp.min;
  add.max = p.clamp.max;

  if (made >= 0 && late_view.map != early_view.map) {
    Layer &layer = program_.layers[static_cast<std::size_t>(made)];
    layer.add = add;
    layer.res = early_view.map;
    const Tensor &out = graph_.tensor(p.output);
    program_.maps[static_cast<std::size_t>(layer.out)].name = out.name;
    const Dims dims = dims_of(out);
    views_[static_cast<std::size_t>(p.output)] = View{layer.out, dims.h, dims.w, dims.c, false};
    program_.notes[static_cast<std::size_t>(op.id)].note =
        fmt::format("fused into operator {}", layer.op);
    program_.notes[static_cast<std::size_t>(layer.op)].suffix += "+ADD";
    return {};
  }
  Layer layer = copy_layer(op, late_view);
  KESTREL_TRY(check_geometry(op, layer));
  layer.add = add;
  layer.res = early_view.map;
  return push(op, std::move(layer), p.output);
}

Result<void> Lowering::lower(const Op &op, const AveragePool2D &p) {
  KESTREL_ASSIGN(const View in, spatial_view(op, p.input));
  Layer layer;
  layer.depthwise = true;
  layer.weights.assign(static_cast<std::size_t>(in.c) *
                           static_cast<std::size_t>(p.window.kernel_h * p.window.kernel_w),
                       1);
  KESTREL_TRY(set_window(op, layer, p.window, in, p.padding.top, p.padding.left, p.output));
  // Taps inside the map differ where a window hangs over an edge; each count has its own divisor.
  const auto taps = [](int out, int stride, int pad, int kernel, int size) {
    const int from = out * stride - pad;
    return std::min(from + kernel, size) - std::max(from, 0);
  };
  std::vector<int> counts;
  for (int o = 0; o < layer.out_pixels(); ++o) {
    const int n = taps(o / layer.ow, layer.sy, layer.pad_top, layer.kh, layer.ih) *
                  taps(o % layer.ow, layer.sx, layer.pad_left, layer.kw, layer.iw);
    if (n > kMaxAverageTaps) {
      return unsupported(
          op, fmt::format("average over {} elements; up to {} are supported", n, kMaxAverageTaps));
    }
    const auto found = std::find(counts.begin(), counts.end(), n);
    const int variant = static_cast<int>(found - counts.begin());
    if (found == counts.end()) {
      counts.push_back(n);
      // x / n rounded half away from zero: floor(2^31 / n) + 1 errs upwards by less than what
      // separates a quotient from the next half, and pulls negative halves down.
      ChannelParams params = identity_params();
      if (n > 1)
        params = {0, static_cast<std::int32_t>((std::int64_t{1} << 31) / n + 1), 0, 0};
      layer.variants.emplace_back(static_cast<std::size_t>(layer.oc), params);
    }
    if (!layer.runs.empty() && layer.runs.back().variant == variant)
      ++layer.runs.back().count;
    else
      layer.runs.push_back({o, 1, variant});
  }
  layer.act_min = p.clamp.min;
  layer.act_max = p.clamp.max;
  return push(op, std::move(layer), p.output);
}

Result<void> Lowering::lower(const Op &op, const MaxPool2D &p) {
  KESTREL_ASSIGN(const View in, spatial_view(op, p.input));
  Layer layer;
  layer.depthwise = true;
  layer.is_max = true;
  layer.weights.assign(static_cast<std::size_t>(in.c) *
                           static_cast<std::size_t>(p.window.kernel_h * p.window.kernel_w),
                       -1);
  KESTREL_TRY(set_window(op, layer, p.window, in, p.padding.top, p.padding.left, p.output));
  layer.pad = -128;
  layer.variants.emplace_back(static_cast<std::size_t>(layer.oc), identity_params());
  layer.act_min = p.clamp.min;
  layer.act_max = p.clamp.max;
  return push(op, std::move(layer), p.output);
}

Result<void> Lowering::lower(const Op &op, const Mean &p) {
  KESTREL_ASSIGN(const View in, spatial_view(op, p.input));
  Layer layer;
  layer.depthwise = true;
  layer.in = in.map;
  layer.ih = layer.kh = in.h;
  layer.iw = layer.kw = in.w;
  layer.ic = layer.oc = in.c;
  layer.weights.assign(static_cast<std::size_t>(in.c) * static_cast<std::size_t>(in.h * in.w), 1);
  KESTREL_TRY(check_geometry(op, layer));
  const std::vector<Multiplier> requant(static_cast<std::size_t>(in.c), p.requant);
  KESTREL_TRY(set_requant(op, layer, {}, requant, p.input_zero_point));
  layer.out_zp = p.output_zero_point;
  return push(op, std::move(layer), p.output);
}

Result<void> Lowering::lower_rescale(const Op &op, TensorId input, TensorId output, int in_zp,
                                     int out_zp, Multiplier requant, Clamp clamp) {
  KESTREL_ASSIGN(const View in, spatial_view(op, input));
  Layer layer = copy_layer(op, in);
  KESTREL_TRY(check_geometry(op, layer));
  KESTREL_ASSIGN(const ChannelParams params, channel_params(op, -in_zp, requant));
  std::fill(layer.variants[0].begin(), layer.variants[0].end(), params);
  layer.out_zp = out_zp;
  layer.act_min = clamp.min;
  layer.act_max = clamp.max;
  return push(op, std::move(layer), output);
}

Result<void> Lowering::lower(const Op &op, const Pad &p) {
  const Tensor &output = graph_.tensor(p.output);
  const bool is_output =
      std::find(graph_.outputs.begin(), graph_.outputs.end(), p.output) != graph_.outputs.end();
  if (output.consumers.size() == 1 && !is_output && p.channels_before == 0 &&
      p.channels_after == 0) {
    const Op &next = graph_.op(output.consumers.front());
    std::optional<std::int32_t> zero_point;
    if (const auto *conv = next.as<Conv2D>())
      zero_point = conv->input_zero_point;
    else if (const auto *depthwise = next.as<DepthwiseConv2D>())
      zero_point = depthwise->input_zero_point;
    if (zero_point == p.value) {
      folded_[static_cast<std::size_t>(p.output)] =
          FoldedPad{p.input, p.padding.top, p.padding.left};
      program_.notes[static_cast<std::size_t>(op.id)].note =
          fmt::format("folded into operator {}", next.id);
      return {};
    }
  }
  KESTREL_ASSIGN(const WindowInput in, window_input(op, p.input));
  if (in.extra_top != 0 || in.extra_left != 0)
    return fail(ErrorCode::kInternal, "{}: padding folded into PAD", describe(op));
  const Dims out = dims_of(output);
  Layer layer = copy_layer(op, in.view);
  layer.oh = out.h;
  layer.ow = out.w;
  layer.pad_top = p.padding.top;
  layer.pad_left = p.padding.left;
  layer.pad = p.value;
  if (out.c != in.view.c) {
    // New channels hold the constant: a dense 1x1 layer, one 1 in each row of weights.
    layer.depthwise = false;
    layer.oc = out.c;
    KESTREL_TRY(clear_weights(op, layer, out.c, 1, in.view.c));
    layer.variants[0].assign(size(out.c), identity_params());
    for (int c = 0; c < out.c; ++c) {
      const int from = c - p.channels_before;
      if (from >= 0 && from < in.view.c)
        layer.weights[size(c) * size(in.view.c) + size(from)] = 1;
      else
        layer.variants[0][size(c)].bias = p.value;
    }
  }
  KESTREL_TRY(check_geometry(op, layer));
  return push(op, std::move(layer), p.output);
}

Result<void> Lowering::lower(const Op &op, const Reshape &p) {
  if (p.input == softmax_output_) {
    softmax_output_ = p.output;
    return {};
  }
  const auto &source = views_[static_cast<std::size_t>(p.input)];
  if (!source)
    return fail(ErrorCode::kInternal, "{}: input has no place", describe(op));
  View view = *source;
  const Dims dims = dims_of(graph_.tensor(p.output));
  view.flat = dims.c != view.c;
  if (!view.flat) {
    view.h = dims.h;
    view.w = dims.w;
  }
  views_[static_cast<std::size_t>(p.output)] = view;
  program_.notes[static_cast<std::size_t>(op.id)].note = "same bytes";
  return {};
}

Result<void> Lowering::lower(const Op &op, const Softmax &p) {
  KESTREL_ASSIGN(const View in, spatial_view(op, p.input));
  if (p.rows != 1 || in.h * in.w != 1 || in.c != p.depth || p.depth > kMaxClasses) {
    return unsupported(op, fmt::format("{} rows of {}; the confidence unit supports one row of up "
                                       "to {} classes",
                                       p.rows, p.depth, kMaxClasses));
  }
  const ref::SoftmaxScaling scaling{p.input_multiplier.multiplier, p.input_multiplier.shift,
                                    p.diff_min};
  program_.confidence = ConfidenceStep{in.map, p.depth, ref::make_exp_table(scaling)};
  softmax_output_ = p.output;
  ended_ = true;
  program_.notes[static_cast<std::size_t>(op.id)].note = "confidence unit";
  return {};
}

Result<void> Lowering::begin_input() {
  if (graph_.inputs.size() != 1 || graph_.outputs.size() != 1) {
    return fail(ErrorCode::kUnsupported,
                "{}: {} inputs and {} outputs; one input and one output are supported", graph_.name,
                graph_.inputs.size(), graph_.outputs.size());
  }
  if (graph_.ops.empty())
    return fail(ErrorCode::kUnsupported, "{}: the network has no operators", graph_.name);
  const Tensor &input = graph_.input();
  Dims dims = dims_of(input);
  // An input that is only reshaped takes the shape wanted.
  const bool only_reshaped =
      !input.consumers.empty() &&
      std::all_of(input.consumers.begin(), input.consumers.end(),
                  [&](OpId id) { return graph_.op(id).as<Reshape>() != nullptr; });
  if (only_reshaped)
    dims = dims_of(graph_.tensor(graph_.op(input.consumers.front()).as<Reshape>()->output));
  if (dims.h > kMaxMapSide || dims.w > kMaxMapSide) {
    return fail(ErrorCode::kUnsupported, "input '{}': {}x{} pixels; sides up to {} are supported",
                input.name, dims.h, dims.w, kMaxMapSide);
  }
  const int map = new_map(input.name, dims.h * dims.w, dims.c);
  program_.input_map = map;
  views_[static_cast<std::size_t>(input.id)] = View{map, dims.h, dims.w, dims.c, false};

  InputSpec &spec = program_.input;
  spec.shape = input.shape;
  spec.scale = input.quant.scale();
  spec.zero_point = input.quant.zero_point();
  spec.pixels = static_cast<std::uint32_t>(dims.h * dims.w);
  spec.channels = static_cast<std::uint32_t>(dims.c);
  spec.layout = dims.c <= 8 ? InputLayout::kRaw : InputLayout::kNhwc;
  spec.padded_channels = dims.c <= 8 ? spec.channels : round_up(spec.channels, config_.word_bytes);
  return {};
}

Result<void> Lowering::lower_op(const Op &op) {
  if (ended_ && op.as<Reshape>() == nullptr) {
    return unsupported(op, "it follows SOFTMAX; SOFTMAX is supported only as the last operator");
  }
  return std::visit([&](const auto &payload) { return lower(op, payload); }, op.payload);
}

Result<void> Lowering::finish() {
  const Tensor &output = graph_.output();
  OutputSpec &spec = program_.output;
  spec.shape = output.shape;
  spec.scale = output.quant.scale();
  spec.zero_point = output.quant.zero_point();
  if (program_.layers.empty()) {
    return fail(ErrorCode::kUnsupported,
                "{}: no operator that computes; at least one besides RESHAPE, PAD and SOFTMAX is "
                "needed",
                graph_.name);
  }
  if (program_.confidence) {
    if (output.id != softmax_output_) {
      return fail(ErrorCode::kUnsupported,
                  "output '{}' is not that of the SOFTMAX; SOFTMAX is supported only as the last "
                  "operator",
                  output.name);
    }
    spec.layout = OutputLayout::kSoftmax;
    spec.pixels = 1;
    spec.channels = static_cast<std::uint32_t>(program_.confidence->classes);
    return {};
  }
  const auto &view = views_[static_cast<std::size_t>(output.id)];
  if (!view || view->map == program_.input_map) {
    return fail(ErrorCode::kUnsupported, "output '{}' is not computed by any operator",
                output.name);
  }
  program_.output_map = view->map;
  spec.layout = OutputLayout::kPlanar;
  spec.pixels = static_cast<std::uint32_t>(view->h * view->w);
  spec.block_pixels = spec.pixels;
  spec.channels = static_cast<std::uint32_t>(view->c);
  return {};
}

Result<Program> Lowering::run() {
  views_.resize(graph_.tensors.size());
  folded_.resize(graph_.tensors.size());
  program_.notes.resize(graph_.ops.size());
  KESTREL_TRY(begin_input());
  for (const Op &op : graph_.ops)
    KESTREL_TRY(lower_op(op));
  KESTREL_TRY(finish());
  return std::move(program_);
}

} // namespace

std::string describe(const Op &op) {
  return fmt::format("operator {} ({} '{}')", op.source_index >= 0 ? op.source_index : op.id,
                     op.type, op.name);
}

Result<Program> lower(const Graph &graph, const contract::Config &config) {
  return Lowering(graph, config).run();
}

} // namespace kestrel::hv::compiler
