// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The int8 network as integers: what the compiler lowers and the software reference executes.
//
// An importer (TFLite) has resolved every floating-point quantisation
// parameter into the integer form that the int8 reference kernels of TensorFlow Lite use, has
// checked every shape, index and size, and has put the operators in execution order. A `Graph`
// made by an importer therefore satisfies these invariants; consumers need not check them again:
//
// - tensor and operator indices are in range; every activation tensor is int8, has exactly one
//   quantisation scale > 0, a zero point in [-128, 127] and a batch of 1 (`shape[0] == 1`);
// - every operator reads only graph inputs, constants and outputs of earlier operators; a tensor
//   has at most one producer;
// - spatial tensors are [1, height, width, channels] (NHWC); all dimensions are >= 1;
// - weights are int8 constants with zero point 0; biases are int32 constants or absent;
// - output shapes agree with input shapes, kernel, stride, dilation and padding;
// - `multiplier`s are 0 or in [2^30, 2^31 - 1] where not said otherwise, shifts are in [-31, 30].
//
// A multiplier/shift pair stands for the real factor `multiplier * 2^(shift - 31)`; a positive
// shift is a left shift done before the doubling high multiply, a negative one a rounding right
// shift after it (gemmlowp double rounding).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kestrel::hv {

/// Index into Graph::tensors; `kNoTensor` where an optional tensor (a bias) is absent.
using TensorId = std::int32_t;
inline constexpr TensorId kNoTensor = -1;

/// Index into Graph::ops; `kNoOp` for the producer of graph inputs and constants.
using OpId = std::int32_t;
inline constexpr OpId kNoOp = -1;

enum class DataType : std::uint8_t { kInt8, kInt32 };

/// "INT8" or "INT32", as TensorFlow Lite spells them.
[[nodiscard]] constexpr std::string_view to_string(DataType type) noexcept {
  return type == DataType::kInt8 ? "INT8" : "INT32";
}

/// Affine quantisation: real = scale * (q - zero_point). One entry per tensor, or one per slice
/// along `axis` (weights quantised per output channel). Empty for tensors without quantisation
/// (the int32 constants that describe shapes).
struct Quantization {
  std::vector<float> scales;
  std::vector<std::int32_t> zero_points;
  std::int32_t axis = 0;

  [[nodiscard]] float scale() const { return scales.empty() ? 0.0F : scales.front(); }
  [[nodiscard]] std::int32_t zero_point() const {
    return zero_points.empty() ? 0 : zero_points.front();
  }
};

struct Tensor {
  TensorId id = kNoTensor;
  std::int32_t source_index = -1; ///< index in the file imported from, for messages and traces
  std::string name;
  std::vector<std::int32_t> shape;
  DataType dtype = DataType::kInt8;
  Quantization quant;
  bool is_constant = false;
  std::vector<std::int8_t> int8_data;   ///< row-major values of an int8 constant
  std::vector<std::int32_t> int32_data; ///< row-major values of an int32 constant
  OpId producer = kNoOp;                ///< kNoOp for graph inputs and constants
  std::vector<OpId> consumers;          ///< in execution order, each operator once

  /// Product of the dimensions; 1 for a scalar. Bounded by ImportLimits, so it cannot overflow.
  [[nodiscard]] std::int64_t elements() const {
    std::int64_t n = 1;
    for (const std::int32_t d : shape) {
      n *= d;
    }
    return n;
  }
  /// Size of the values in bytes.
  [[nodiscard]] std::int64_t bytes() const {
    return elements() * (dtype == DataType::kInt8 ? 1 : 4);
  }
  /// Height, width, channels of a 4-dimensional NHWC tensor; lower ranks [1, n] are seen as
  /// 1 x 1 x n, so that a flattened vector is a one-pixel map.
  [[nodiscard]] std::int32_t height() const { return shape.size() == 4 ? shape[1] : 1; }
  [[nodiscard]] std::int32_t width() const { return shape.size() == 4 ? shape[2] : 1; }
  [[nodiscard]] std::int32_t channels() const { return shape.empty() ? 1 : shape.back(); }
};

enum class Activation : std::uint8_t { kNone, kRelu, kRelu6, kReluN1To1 };

/// Real factor `multiplier * 2^(shift - 31)`.
struct Multiplier {
  std::int32_t multiplier = 0;
  std::int32_t shift = 0;
  friend bool operator==(const Multiplier &, const Multiplier &) = default;
};

/// Kernel geometry of convolutions and pools, in elements.
struct Window {
  std::int32_t kernel_h = 1, kernel_w = 1;
  std::int32_t stride_h = 1, stride_w = 1;
  std::int32_t dilation_h = 1, dilation_w = 1;
};

/// Explicit padding in elements. `bottom`/`right` are what the last window reaches beyond the
/// map (0 if it stays inside).
struct Padding {
  std::int32_t top = 0, left = 0, bottom = 0, right = 0;
};

/// Range that the requantised output (zero point already added) is clamped to, in [-128, 127].
struct Clamp {
  std::int32_t min = -128;
  std::int32_t max = 127;
};

/// CONV_2D. Weights are [out_channels, kernel_h, kernel_w, in_channels / groups].
/// out = clamp(requant[oc](bias[oc] + sum((x - input_zero_point) * w)) + output_zero_point).
struct Conv2D {
  TensorId input = kNoTensor, weights = kNoTensor, bias = kNoTensor, output = kNoTensor;
  Window window;
  Padding padding;
  std::int32_t groups = 1;
  std::int32_t input_zero_point = 0, output_zero_point = 0;
  Activation activation = Activation::kNone; ///< already in `clamp`
  Clamp clamp;
  std::vector<Multiplier> requant; ///< one per output channel
};

/// DEPTHWISE_CONV_2D. Weights are [1, kernel_h, kernel_w, out_channels] with
/// out_channels = in_channels * depth_multiplier; output channel oc reads input channel
/// oc / depth_multiplier.
struct DepthwiseConv2D {
  TensorId input = kNoTensor, weights = kNoTensor, bias = kNoTensor, output = kNoTensor;
  Window window;
  Padding padding;
  std::int32_t depth_multiplier = 1;
  std::int32_t input_zero_point = 0, output_zero_point = 0;
  Activation activation = Activation::kNone;
  Clamp clamp;
  std::vector<Multiplier> requant; ///< one per output channel
};

/// FULLY_CONNECTED. Weights are [out_features, in_features]; the input holds `rows` *
/// in_features values, rows = product of its leading dimensions (1 for ordinary networks).
struct FullyConnected {
  TensorId input = kNoTensor, weights = kNoTensor, bias = kNoTensor, output = kNoTensor;
  std::int32_t rows = 1, in_features = 0, out_features = 0;
  std::int32_t input_zero_point = 0, output_zero_point = 0;
  Activation activation = Activation::kNone;
  Clamp clamp;
  std::vector<Multiplier> requant; ///< one per output feature (all equal if per tensor)
};

/// ADD of two tensors of equal shape. Each input is (x - zero point) << left_shift, requantised
/// by its own multiplier; the sum is requantised by `output_multiplier`.
struct Add {
  TensorId input1 = kNoTensor, input2 = kNoTensor, output = kNoTensor;
  std::int32_t input1_zero_point = 0, input2_zero_point = 0, output_zero_point = 0;
  std::int32_t left_shift = 20;
  Multiplier input1_multiplier, input2_multiplier, output_multiplier;
  Activation activation = Activation::kNone;
  Clamp clamp;
};

/// AVERAGE_POOL_2D: mean over the taps inside the map, rounded half away from zero. Input and
/// output share scale and zero point.
struct AveragePool2D {
  TensorId input = kNoTensor, output = kNoTensor;
  Window window;
  Padding padding;
  Activation activation = Activation::kNone;
  Clamp clamp;
};

/// MAX_POOL_2D over the taps inside the map. Input and output share scale and zero point.
struct MaxPool2D {
  TensorId input = kNoTensor, output = kNoTensor;
  Window window;
  Padding padding;
  Activation activation = Activation::kNone;
  Clamp clamp;
};

/// MEAN over height and width: out[c] = clamp(requant(sum(x - input_zero_point)) + output zero
/// point). `requant` already contains the division by height * width (see hawkvision numerics:
/// `(m << s) / n`), so its multiplier may be below 2^30.
struct Mean {
  TensorId input = kNoTensor, output = kNoTensor;
  std::int32_t input_zero_point = 0, output_zero_point = 0;
  Multiplier requant;
  bool keep_dims = false;
};

/// PAD of a 4-dimensional map with the zero point (`value`), in height, width and channels.
struct Pad {
  TensorId input = kNoTensor, output = kNoTensor;
  Padding padding;
  std::int32_t channels_before = 0, channels_after = 0;
  std::int32_t value = 0;
};

/// RESHAPE: the same bytes under another shape.
struct Reshape {
  TensorId input = kNoTensor, output = kNoTensor;
};

/// SOFTMAX over the last dimension (`rows` rows of `depth`), output scale 1/256, zero point -128,
/// by the fixed-point formula of the reference kernels.
struct Softmax {
  TensorId input = kNoTensor, output = kNoTensor;
  std::int32_t rows = 1, depth = 0;
  Multiplier input_multiplier; ///< `shift` is input_left_shift, in [0, 31]
  std::int32_t diff_min = 0;   ///< differences to the maximum below this count as probability 0
  double beta = 1.0;           ///< as in the file
  double input_scale = 0.0;    ///< as in the file
};

/// Stand-alone RELU / RELU6 / RELU_N1_TO_1 with rescaling:
/// out = clamp(requant(x - input_zero_point) + output_zero_point).
struct Relu {
  TensorId input = kNoTensor, output = kNoTensor;
  Activation activation = Activation::kRelu;
  std::int32_t input_zero_point = 0, output_zero_point = 0;
  Multiplier requant;
  Clamp clamp;
};

/// QUANTIZE from int8 to int8: out = saturate(requant(x - input_zero_point) +
/// output_zero_point).
struct Quantize {
  TensorId input = kNoTensor, output = kNoTensor;
  std::int32_t input_zero_point = 0, output_zero_point = 0;
  Multiplier requant;
};

using OpPayload = std::variant<Conv2D, DepthwiseConv2D, FullyConnected, Add, AveragePool2D,
                               MaxPool2D, Mean, Pad, Reshape, Softmax, Relu, Quantize>;

/// One operator of the network.
struct Op {
  OpId id = kNoOp;                ///< position in execution order
  std::int32_t source_index = -1; ///< position in the file imported from
  std::string type;               ///< TensorFlow Lite name: "CONV_2D"
  std::string name;               ///< name of the output tensor, for people
  OpPayload payload;
  std::int64_t macs = 0; ///< multiply-accumulates of conv, depthwise and fully connected; else 0

  /// The payload as `T`, or nullptr.
  template <typename T> [[nodiscard]] const T *as() const { return std::get_if<T>(&payload); }
};

struct Graph {
  std::string name; ///< name given to the importer (file name), for messages
  std::vector<Tensor> tensors;
  std::vector<Op> ops; ///< in execution order
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;

  [[nodiscard]] const Tensor &tensor(TensorId id) const {
    return tensors[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] const Op &op(OpId id) const { return ops[static_cast<std::size_t>(id)]; }
  [[nodiscard]] const Tensor &input() const { return tensor(inputs.front()); }
  [[nodiscard]] const Tensor &output() const { return tensor(outputs.front()); }

  /// Values of an int8 constant (weights).
  [[nodiscard]] std::span<const std::int8_t> int8_data(TensorId id) const {
    return tensor(id).int8_data;
  }
  /// Values of an int32 constant (bias); empty for kNoTensor.
  [[nodiscard]] std::span<const std::int32_t> int32_data(TensorId id) const {
    return id == kNoTensor ? std::span<const std::int32_t>{}
                           : std::span<const std::int32_t>{tensor(id).int32_data};
  }

  /// Multiply-accumulates of the network: convolutions, depthwise convolutions and fully
  /// connected layers, padding taps included (the count that utilisation is measured against).
  [[nodiscard]] std::int64_t macs() const {
    std::int64_t n = 0;
    for (const Op &o : ops) {
      n += o.macs;
    }
    return n;
  }
};

/// Activation tensors that the operator reads, in operand order (no weights, no bias).
[[nodiscard]] std::vector<TensorId> activation_inputs(const Op &op);
/// The activation tensor that the operator writes.
[[nodiscard]] TensorId output_of(const Op &op);

} // namespace kestrel::hv
