// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/vision/reference.hpp"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "sw_ref/vision/add.hpp"
#include "sw_ref/vision/conv.hpp"
#include "sw_ref/vision/elementwise.hpp"
#include "sw_ref/vision/pool.hpp"
#include "sw_ref/vision/softmax.hpp"

namespace kestrel::hv {
namespace {

ref::Shape shape_of(const Tensor &t) { return {1, t.height(), t.width(), t.channels()}; }

ref::Window window_of(const Window &w, const Padding &p) {
  return {w.kernel_h,   w.kernel_w,   w.stride_h, w.stride_w,
          w.dilation_h, w.dilation_w, p.top,      p.left};
}

ref::ActivationRange range_of(const Clamp &c) { return {c.min, c.max}; }

ref::Multiplier multiplier_of(const Multiplier &m) { return {m.multiplier, m.shift}; }

/// The requantisation parameters as the two arrays that sw_ref takes.
struct SplitStage {
  SplitStage(const std::vector<Multiplier> &requant, std::int32_t zero_point, const Clamp &clamp)
      : zero_point_(zero_point), clamp_(clamp) {
    multiplier_.reserve(requant.size());
    shift_.reserve(requant.size());
    for (const Multiplier &m : requant) {
      multiplier_.push_back(m.multiplier);
      shift_.push_back(m.shift);
    }
  }
  [[nodiscard]] ref::OutputStage stage() const {
    return {multiplier_, shift_, zero_point_, range_of(clamp_)};
  }

private:
  std::vector<std::int32_t> multiplier_;
  std::vector<std::int32_t> shift_;
  std::int32_t zero_point_;
  Clamp clamp_;
};

using Values = std::vector<std::vector<std::int8_t>>;

class Executor {
public:
  Executor(const Graph &graph, Values &values) : graph_(graph), values_(values) {}

  void operator()(const Conv2D &op) const {
    const Tensor &w = graph_.tensor(op.weights);
    const SplitStage split(op.requant, op.output_zero_point, op.clamp);
    const ref::Conv2dParams params{shape_of(graph_.tensor(op.input)),
                                   {w.shape[0], w.shape[1], w.shape[2], w.shape[3]},
                                   shape_of(graph_.tensor(op.output)),
                                   window_of(op.window, op.padding),
                                   op.input_zero_point,
                                   split.stage()};
    ref::conv2d(params, in(op.input), w.int8_data, graph_.int32_data(op.bias), out(op.output));
  }

  void operator()(const DepthwiseConv2D &op) const {
    const Tensor &w = graph_.tensor(op.weights);
    const SplitStage split(op.requant, op.output_zero_point, op.clamp);
    const ref::DepthwiseConv2dParams params{shape_of(graph_.tensor(op.input)),
                                            {1, w.shape[1], w.shape[2], w.shape[3]},
                                            shape_of(graph_.tensor(op.output)),
                                            window_of(op.window, op.padding),
                                            op.input_zero_point,
                                            split.stage()};
    ref::depthwise_conv2d(params, in(op.input), w.int8_data, graph_.int32_data(op.bias),
                          out(op.output));
  }

  void operator()(const FullyConnected &op) const {
    const SplitStage split(op.requant, op.output_zero_point, op.clamp);
    const ref::FullyConnectedParams params{op.rows, op.in_features, op.out_features,
                                           op.input_zero_point, split.stage()};
    ref::fully_connected(params, in(op.input), graph_.int8_data(op.weights),
                         graph_.int32_data(op.bias), out(op.output));
  }

  void operator()(const Add &op) const {
    ref::AddParams params;
    params.input1_zero_point = op.input1_zero_point;
    params.input2_zero_point = op.input2_zero_point;
    params.output_zero_point = op.output_zero_point;
    params.left_shift = op.left_shift;
    params.input1 = multiplier_of(op.input1_multiplier);
    params.input2 = multiplier_of(op.input2_multiplier);
    params.output = multiplier_of(op.output_multiplier);
    params.activation = range_of(op.clamp);
    ref::add(params, in(op.input1), in(op.input2), out(op.output));
  }

  void operator()(const AveragePool2D &op) const {
    ref::average_pool(pool_params(op), in(op.input), out(op.output));
  }

  void operator()(const MaxPool2D &op) const {
    ref::max_pool(pool_params(op), in(op.input), out(op.output));
  }

  void operator()(const Mean &op) const {
    // The multiplier in the graph already holds the division by the number of elements, which
    // ref::mean would derive itself: sum here and use the same last step.
    const Tensor &t = graph_.tensor(op.input);
    const std::span<const std::int8_t> input = in(op.input);
    const std::span<std::int8_t> output = out(op.output);
    const auto channels = static_cast<std::size_t>(t.channels());
    for (std::size_t c = 0; c < channels; ++c) {
      std::int32_t sum = 0;
      for (std::size_t i = c; i < input.size(); i += channels) {
        sum += static_cast<std::int32_t>(input[i]) - op.input_zero_point;
      }
      output[c] = ref::requantize(sum, op.requant.multiplier, op.requant.shift,
                                  op.output_zero_point, ref::ActivationRange{});
    }
  }

  void operator()(const Pad &op) const {
    const ref::PadParams params{shape_of(graph_.tensor(op.input)),
                                {0, op.padding.top, op.padding.left, op.channels_before},
                                {0, op.padding.bottom, op.padding.right, op.channels_after},
                                static_cast<std::int8_t>(op.value)};
    ref::pad(params, in(op.input), out(op.output));
  }

  void operator()(const Reshape &op) const { ref::reshape(in(op.input), out(op.output)); }

  void operator()(const Softmax &op) const {
    const ref::SoftmaxScaling scaling{op.input_multiplier.multiplier, op.input_multiplier.shift,
                                      op.diff_min};
    ref::softmax(scaling, op.rows, op.depth, in(op.input), out(op.output));
  }

  void operator()(const Relu &op) const {
    const ref::RescaleParams params{op.input_zero_point, op.output_zero_point,
                                    multiplier_of(op.requant), range_of(op.clamp)};
    ref::rescale(params, in(op.input), out(op.output));
  }

  void operator()(const Quantize &op) const {
    const ref::RescaleParams params{op.input_zero_point, op.output_zero_point,
                                    multiplier_of(op.requant), ref::ActivationRange{}};
    ref::rescale(params, in(op.input), out(op.output));
  }

private:
  template <typename Pool> [[nodiscard]] ref::PoolParams pool_params(const Pool &op) const {
    return {shape_of(graph_.tensor(op.input)), shape_of(graph_.tensor(op.output)),
            window_of(op.window, op.padding), range_of(op.clamp)};
  }
  [[nodiscard]] std::span<const std::int8_t> in(TensorId id) const {
    return values_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] std::span<std::int8_t> out(TensorId id) const {
    return values_[static_cast<std::size_t>(id)];
  }

  const Graph &graph_;
  Values &values_;
};

} // namespace

Result<std::vector<std::int8_t>>
run_reference(const Graph &graph, std::span<const std::int8_t> input, const ReferenceTrace &trace) {
  const Tensor &input_tensor = graph.input();
  if (static_cast<std::int64_t>(input.size()) != input_tensor.elements()) {
    return fail(ErrorCode::kShapeMismatch,
                "{}: the input has {} values; tensor '{}' of shape [{}] takes {}", graph.name,
                input.size(), input_tensor.name, fmt::join(input_tensor.shape, ", "),
                input_tensor.elements());
  }
  Values values(graph.tensors.size());
  values[static_cast<std::size_t>(input_tensor.id)].assign(input.begin(), input.end());
  const TensorId result = graph.outputs.front();
  for (const Op &op : graph.ops) {
    const TensorId output = output_of(op);
    auto &buffer = values[static_cast<std::size_t>(output)];
    buffer.resize(static_cast<std::size_t>(graph.tensor(output).elements()));
    std::visit(Executor(graph, values), op.payload);
    if (trace) {
      trace(op, buffer);
    }
    for (const TensorId id : activation_inputs(op)) {
      const Tensor &t = graph.tensor(id);
      if (id != result && !t.consumers.empty() && t.consumers.back() == op.id) {
        std::vector<std::int8_t>().swap(values[static_cast<std::size_t>(id)]);
      }
    }
    if (output != result && graph.tensor(output).consumers.empty()) {
      std::vector<std::int8_t>().swap(buffer);
    }
  }
  return std::move(values[static_cast<std::size_t>(result)]);
}

} // namespace kestrel::hv
