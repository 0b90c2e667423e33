// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/vision/tflite.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "kestrel/bytes.hpp"
#include "kestrel/file.hpp"
#include "sw_ref/vision/add.hpp"
#include "sw_ref/vision/pool.hpp"
#include "sw_ref/vision/requant.hpp"
#include "sw_ref/vision/shape.hpp"
#include "sw_ref/vision/softmax.hpp"
#include "tflite_subset_generated.h"

namespace kestrel::hv {
namespace {

// Builtin operator codes of the TensorFlow Lite format, by position.
constexpr std::array kBuiltinNames = std::to_array<std::string_view>({
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "EMBEDDING_LOOKUP",
    "FLOOR",
    "FULLY_CONNECTED",
    "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION",
    "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION",
    "LOGISTIC",
    "LSH_PROJECTION",
    "LSTM",
    "MAX_POOL_2D",
    "MUL",
    "RELU",
    "RELU_N1_TO_1",
    "RELU6",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RNN",
    "SOFTMAX",
    "SPACE_TO_DEPTH",
    "SVDF",
    "TANH",
    "CONCAT_EMBEDDINGS",
    "SKIP_GRAM",
    "CALL",
    "CUSTOM",
    "EMBEDDING_LOOKUP_SPARSE",
    "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "GATHER",
    "BATCH_TO_SPACE_ND",
    "SPACE_TO_BATCH_ND",
    "TRANSPOSE",
    "MEAN",
    "SUB",
    "DIV",
    "SQUEEZE",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "STRIDED_SLICE",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "EXP",
    "TOPK_V2",
    "SPLIT",
    "LOG_SOFTMAX",
    "DELEGATE",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "CAST",
    "PRELU",
    "MAXIMUM",
    "ARG_MAX",
    "MINIMUM",
    "LESS",
    "NEG",
    "PADV2",
    "GREATER",
    "GREATER_EQUAL",
    "LESS_EQUAL",
    "SELECT",
    "SLICE",
    "SIN",
    "TRANSPOSE_CONV",
    "SPARSE_TO_DENSE",
    "TILE",
    "EXPAND_DIMS",
    "EQUAL",
    "NOT_EQUAL",
    "LOG",
    "SUM",
    "SQRT",
    "RSQRT",
    "SHAPE",
    "POW",
    "ARG_MIN",
    "FAKE_QUANT",
    "REDUCE_PROD",
    "REDUCE_MAX",
    "PACK",
    "LOGICAL_OR",
    "ONE_HOT",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "UNPACK",
    "REDUCE_MIN",
    "FLOOR_DIV",
    "REDUCE_ANY",
    "SQUARE",
    "ZEROS_LIKE",
    "FILL",
    "FLOOR_MOD",
    "RANGE",
    "RESIZE_NEAREST_NEIGHBOR",
    "LEAKY_RELU",
    "SQUARED_DIFFERENCE",
    "MIRROR_PAD",
    "ABS",
    "SPLIT_V",
    "UNIQUE",
    "CEIL",
    "REVERSE_V2",
    "ADD_N",
    "GATHER_ND",
    "COS",
    "WHERE",
    "RANK",
    "ELU",
    "REVERSE_SEQUENCE",
    "MATRIX_DIAG",
    "QUANTIZE",
    "MATRIX_SET_DIAG",
    "ROUND",
    "HARD_SWISH",
    "IF",
    "WHILE",
    "NON_MAX_SUPPRESSION_V4",
    "NON_MAX_SUPPRESSION_V5",
    "SCATTER_ND",
    "SELECT_V2",
    "DENSIFY",
    "SEGMENT_SUM",
    "BATCH_MATMUL",
    "PLACEHOLDER_FOR_GREATER_OP_CODES",
    "CUMSUM",
    "CALL_ONCE",
    "BROADCAST_TO",
    "RFFT2D",
    "CONV_3D",
    "IMAG",
    "REAL",
    "COMPLEX_ABS",
    "HASHTABLE",
    "HASHTABLE_FIND",
    "HASHTABLE_IMPORT",
    "HASHTABLE_SIZE",
    "REDUCE_ALL",
    "CONV_3D_TRANSPOSE",
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "BROADCAST_ARGS",
    "RANDOM_STANDARD_NORMAL",
    "BUCKETIZE",
    "RANDOM_UNIFORM",
    "MULTINOMIAL",
    "GELU",
    "DYNAMIC_UPDATE_SLICE",
    "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD",
    "UNSORTED_SEGMENT_MAX",
    "UNSORTED_SEGMENT_SUM",
    "ATAN2",
    "UNSORTED_SEGMENT_MIN",
    "SIGN",
    "BITCAST",
    "BITWISE_XOR",
    "RIGHT_SHIFT",
});
static_assert(kBuiltinNames[32] == "CUSTOM" && kBuiltinNames[114] == "QUANTIZE" &&
              kBuiltinNames[126] == "BATCH_MATMUL" && kBuiltinNames[150] == "GELU");

constexpr std::int32_t kCustomCode = 32;

constexpr std::string_view kSupportedOps =
    "CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD, AVERAGE_POOL_2D, MAX_POOL_2D, MEAN, PAD, "
    "RESHAPE, SOFTMAX, RELU, RELU6, RELU_N1_TO_1, QUANTIZE";

// Bounds that keep the derivation of multipliers away from overflow and infinities. Real scales
// lie many orders of magnitude inside.
constexpr float kMinScale = 1e-20F;
constexpr float kMaxScale = 1e20F;
constexpr double kMaxRescale = 536870912.0; // 2^29, so that shifts stay at or below 30
// The pixel count above which a sum of int8 - zero point could leave int32.
constexpr std::int64_t kMaxMeanPixels = std::int64_t{1} << 23;
constexpr std::int32_t kMaxDimension = 1 << 24;
constexpr std::int32_t kMaxSoftmaxDepth = 4095; // the reference sums in 12 integer bits

/// A name from the file as it may appear in a message: bounded, printable.
std::string printable(const flatbuffers::String *text, std::size_t limit = 96) {
  std::string out;
  if (text == nullptr) {
    return out;
  }
  const std::string_view view(text->c_str(), text->size());
  for (const char c : view.substr(0, limit)) {
    const auto u = static_cast<unsigned char>(c);
    out.push_back(u >= 0x20 && u != 0x7f ? c : '?');
  }
  if (view.size() > limit) {
    out += "...";
  }
  return out;
}

std::string type_name(tfl::TensorType type) {
  const char *name = tfl::EnumNameTensorType(type);
  return name != nullptr && *name != '\0' ? std::string(name)
                                          : fmt::format("type {}", static_cast<int>(type));
}

std::string builtin_name(std::int32_t code) {
  if (code >= 0 && static_cast<std::size_t>(code) < kBuiltinNames.size()) {
    return std::string(kBuiltinNames[static_cast<std::size_t>(code)]);
  }
  return fmt::format("builtin operator {}", code);
}

std::string shape_text(std::span<const std::int32_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

template <typename T> std::size_t size_of(const flatbuffers::Vector<T> *v) {
  return v == nullptr ? 0 : v->size();
}

/// Element of a vector of 8-byte integers. The verifier of FlatBuffers 2 checks the alignment of a
/// vector's length but not of its elements, so a damaged file may have them at odd addresses.
std::int64_t element(const flatbuffers::Vector<std::int64_t> &v, flatbuffers::uoffset_t i) {
  return load_le<std::int64_t>({v.Data(), std::size_t{v.size()} * 8}, std::size_t{i} * 8);
}

class Importer {
public:
  Importer(const tfl::Model &model, std::string name, const ImportLimits &limits)
      : model_(model), limits_(limits) {
    graph_.name = std::move(name);
  }

  Result<Graph> run() {
    KESTREL_TRY(check_model());
    KESTREL_TRY(import_inputs());
    const auto count = static_cast<std::int32_t>(size_of(subgraph_->operators()));
    for (std::int32_t i = 0; i < count; ++i) {
      KESTREL_TRY(import_operator(i));
    }
    KESTREL_TRY(import_outputs());
    return std::move(graph_);
  }

private:
  enum class Role : std::uint8_t { kActivation, kConstant };

  // ---- messages ------------------------------------------------------------------------------

  /// An error about the operator being imported: "file: operator CONV_2D #3: ...".
  template <typename... Args>
  [[nodiscard]] Error op_fail(ErrorCode code, fmt::format_string<Args...> format,
                              Args &&...args) const {
    return fail(code, "{}: operator {} #{}: {}", graph_.name, op_type_, op_index_,
                fmt::format(format, std::forward<Args>(args)...));
  }

  [[nodiscard]] std::string tensor_name(std::int32_t index) const {
    std::string name =
        printable(subgraph_->tensors()->Get(static_cast<flatbuffers::uoffset_t>(index))->name());
    return name.empty() ? fmt::format("#{}", index) : name;
  }

  /// "file" or "file: operator X #i", to begin messages about tensors.
  [[nodiscard]] std::string where() const {
    return op_index_ < 0 ? graph_.name
                         : fmt::format("{}: operator {} #{}", graph_.name, op_type_, op_index_);
  }

  // ---- file level ----------------------------------------------------------------------------

  Result<void> check_model() {
    if (model_.version() != 3) {
      return fail(ErrorCode::kVersionMismatch,
                  "{}: TFLite schema version {}; version 3 is supported", graph_.name,
                  model_.version());
    }
    if (size_of(model_.subgraphs()) != 1) {
      return fail(ErrorCode::kUnsupported,
                  "{}: the model has {} subgraphs; models with one are supported", graph_.name,
                  size_of(model_.subgraphs()));
    }
    subgraph_ = model_.subgraphs()->Get(0);
    if (size_of(subgraph_->operators()) == 0 || size_of(subgraph_->tensors()) == 0) {
      return fail(ErrorCode::kParse, "{}: the model has no operators or no tensors", graph_.name);
    }
    if (size_of(subgraph_->operators()) > static_cast<std::size_t>(limits_.max_operators)) {
      return fail(ErrorCode::kResourceLimit, "{}: the model has {} operators; at most {} are taken",
                  graph_.name, size_of(subgraph_->operators()), limits_.max_operators);
    }
    if (size_of(subgraph_->tensors()) > static_cast<std::size_t>(limits_.max_tensors)) {
      return fail(ErrorCode::kResourceLimit, "{}: the model has {} tensors; at most {} are taken",
                  graph_.name, size_of(subgraph_->tensors()), limits_.max_tensors);
    }
    if (size_of(subgraph_->inputs()) != 1 || size_of(subgraph_->outputs()) != 1) {
      return fail(ErrorCode::kUnsupported,
                  "{}: the model has {} inputs and {} outputs; one of each is supported",
                  graph_.name, size_of(subgraph_->inputs()), size_of(subgraph_->outputs()));
    }
    map_.assign(size_of(subgraph_->tensors()), kNoTensor);
    return {};
  }

  Result<void> import_inputs() {
    const std::int32_t index = subgraph_->inputs()->Get(0);
    KESTREL_TRY(check_index(index));
    KESTREL_ASSIGN(const TensorId id, add_activation(index));
    if (graph_.tensor(id).bytes() == 0) {
      return fail(ErrorCode::kInternal, "{}: empty input", graph_.name);
    }
    graph_.inputs = {id};
    available_[static_cast<std::size_t>(id)] = true;
    return {};
  }

  Result<void> import_outputs() {
    op_index_ = -1;
    const std::int32_t index = subgraph_->outputs()->Get(0);
    KESTREL_TRY(check_index(index));
    const TensorId id = map_[static_cast<std::size_t>(index)];
    if (id == kNoTensor || graph_.tensor(id).producer == kNoOp) {
      return fail(ErrorCode::kParse, "{}: output tensor '{}' is not written by any operator",
                  graph_.name, tensor_name(index));
    }
    graph_.outputs = {id};
    return {};
  }

  // ---- tensors -------------------------------------------------------------------------------

  Result<void> check_index(std::int32_t index) const {
    if (index < 0 || static_cast<std::size_t>(index) >= map_.size()) {
      return fail(ErrorCode::kParse, "{}: tensor index {} is out of range (the model has {})",
                  where(), index, map_.size());
    }
    return {};
  }

  /// Shape of a tensor with every dimension >= 1 and a bounded product.
  Result<std::vector<std::int32_t>> read_shape(std::int32_t index, const tfl::Tensor &source,
                                               std::int64_t element_bytes) const {
    std::vector<std::int32_t> shape;
    if (size_of(source.shape()) > 8) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' has {} dimensions; at most 4 are supported", where(),
                  tensor_name(index), source.shape()->size());
    }
    std::int64_t elements = 1;
    for (flatbuffers::uoffset_t i = 0; i < size_of(source.shape()); ++i) {
      const std::int32_t d = source.shape()->Get(i);
      shape.push_back(d);
      if (d < 1) {
        return fail(ErrorCode::kUnsupported,
                    "{}: tensor '{}' has a dimension of {}; only fixed sizes are supported",
                    where(), tensor_name(index), d);
      }
      if (d > kMaxDimension || elements > limits_.max_tensor_bytes / d) {
        return fail(ErrorCode::kResourceLimit,
                    "{}: tensor '{}' is larger than the limit of {} bytes", where(),
                    tensor_name(index), limits_.max_tensor_bytes);
      }
      elements *= d;
    }
    if (elements > limits_.max_tensor_bytes / element_bytes) {
      return fail(ErrorCode::kResourceLimit, "{}: tensor '{}' is larger than the limit of {} bytes",
                  where(), tensor_name(index), limits_.max_tensor_bytes);
    }
    return shape;
  }

  /// What holds for every tensor, whatever its role.
  Result<const tfl::Tensor *> source_tensor(std::int32_t index) const {
    const tfl::Tensor *source =
        subgraph_->tensors()->Get(static_cast<flatbuffers::uoffset_t>(index));
    if (source->is_variable()) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' is a variable; models without state are supported", where(),
                  tensor_name(index));
    }
    if (source->sparsity() != nullptr) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' is sparse; only dense tensors are supported", where(),
                  tensor_name(index));
    }
    if (source->buffer() >= size_of(model_.buffers())) {
      return fail(ErrorCode::kParse, "{}: tensor '{}' names buffer {}; the file has {}", where(),
                  tensor_name(index), source->buffer(), size_of(model_.buffers()));
    }
    return source;
  }

  /// The bytes of a constant, empty when the tensor has none.
  Result<std::span<const std::uint8_t>> constant_bytes(std::int32_t index,
                                                       const tfl::Tensor &source) const {
    const tfl::Buffer *buffer = model_.buffers()->Get(source.buffer());
    if (buffer->offset() > 1 || buffer->size() > 1) {
      return fail(ErrorCode::kUnsupported,
                  "{}: the data of tensor '{}' lie outside the FlatBuffer; such files are not "
                  "supported",
                  where(), tensor_name(index));
    }
    if (buffer->data() == nullptr) {
      return std::span<const std::uint8_t>{};
    }
    return std::span<const std::uint8_t>{buffer->data()->data(), buffer->data()->size()};
  }

  /// Adds to the account of memory held by constants and derived parameters.
  Result<void> charge(std::int64_t bytes) {
    constant_bytes_ += bytes;
    if (constant_bytes_ > limits_.max_constant_bytes) {
      return fail(ErrorCode::kResourceLimit,
                  "{}: the constants of the model exceed the limit of {} bytes", where(),
                  limits_.max_constant_bytes);
    }
    return {};
  }

  /// Scale and zero point arrays, consistent with each other; `channels` is the extent along
  /// `axis` that a per-channel quantisation must have, 0 where only one scale is allowed.
  Result<Quantization> read_quantization(std::int32_t index, const tfl::Tensor &source,
                                         std::int32_t axis, std::int64_t channels) const {
    const tfl::QuantizationParameters *q = source.quantization();
    const std::string name = tensor_name(index);
    if (q == nullptr || size_of(q->scale()) == 0 || size_of(q->zero_point()) == 0) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' has no quantisation parameters; only int8 quantised models are "
                  "supported",
                  where(), name);
    }
    if (q->details_type() != tfl::QuantizationDetails::NONE) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' has a custom quantisation; affine quantisation is supported",
                  where(), name);
    }
    const std::size_t count = q->scale()->size();
    if (q->zero_point()->size() != count) {
      return fail(ErrorCode::kParse, "{}: tensor '{}' has {} scales but {} zero points", where(),
                  name, count, q->zero_point()->size());
    }
    if (count != 1) {
      if (channels == 0) {
        return fail(ErrorCode::kUnsupported,
                    "{}: tensor '{}' has {} scales; activations are quantised per tensor", where(),
                    name, count);
      }
      if (q->quantized_dimension() != axis || static_cast<std::int64_t>(count) != channels) {
        return fail(ErrorCode::kUnsupported,
                    "{}: tensor '{}' has {} scales along dimension {}; one, or {} along dimension "
                    "{}, are supported",
                    where(), name, count, q->quantized_dimension(), channels, axis);
      }
    }
    Quantization out;
    out.axis = axis;
    for (flatbuffers::uoffset_t i = 0; i < count; ++i) {
      const float scale = q->scale()->Get(i);
      const std::int64_t zero = element(*q->zero_point(), i);
      // A weight scale may be 0 or denormal (dead channels); an activation scale may not.
      const bool good = channels == 0 ? scale >= kMinScale && scale <= kMaxScale
                                      : scale >= 0.0F && scale <= kMaxScale;
      if (!good) { // also NaN
        return fail(ErrorCode::kParse, "{}: tensor '{}' has the quantisation scale {}", where(),
                    name, scale);
      }
      if (zero < -128 || zero > 127) {
        return fail(ErrorCode::kParse,
                    "{}: tensor '{}' has the zero point {}; int8 allows -128 to 127", where(), name,
                    zero);
      }
      out.scales.push_back(scale);
      out.zero_points.push_back(static_cast<std::int32_t>(zero));
    }
    return out;
  }

  TensorId append(Tensor tensor, std::int32_t index) {
    tensor.id = static_cast<TensorId>(graph_.tensors.size());
    tensor.source_index = index;
    tensor.name = tensor_name(index);
    map_[static_cast<std::size_t>(index)] = tensor.id;
    graph_.tensors.push_back(std::move(tensor));
    available_.push_back(false);
    return graph_.tensors.back().id;
  }

  /// Registers an int8 activation tensor seen for the first time.
  Result<TensorId> add_activation(std::int32_t index) {
    KESTREL_ASSIGN(const tfl::Tensor *source, source_tensor(index));
    const std::string name = tensor_name(index);
    if (source->type() != tfl::TensorType::INT8) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' is {}; only int8 quantised models are supported", where(), name,
                  type_name(source->type()));
    }
    KESTREL_ASSIGN(const auto bytes, constant_bytes(index, *source));
    if (!bytes.empty()) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' is a constant; a constant operand is not supported here",
                  where(), name);
    }
    Tensor tensor;
    KESTREL_ASSIGN(tensor.shape, read_shape(index, *source, 1));
    if (tensor.shape.empty() || tensor.shape.size() > 4) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' has {} dimensions; 1 to 4 are supported", where(), name,
                  tensor.shape.size());
    }
    if (tensor.shape[0] != 1) {
      return fail(ErrorCode::kUnsupported,
                  "{}: tensor '{}' of shape {} has a batch of {}; a batch of 1 is supported",
                  where(), name, shape_text(tensor.shape), tensor.shape[0]);
    }
    KESTREL_ASSIGN(tensor.quant, read_quantization(index, *source, 0, 0));
    return append(std::move(tensor), index);
  }

  /// An activation that the current operator reads: a graph input or an earlier output.
  Result<TensorId> input_activation(std::size_t slot) {
    KESTREL_ASSIGN(const std::int32_t index, input_index(slot));
    TensorId id = map_[static_cast<std::size_t>(index)];
    if (id == kNoTensor) {
      // Registering it first gives the better message (float, constant ...).
      KESTREL_ASSIGN(id, add_activation(index));
    }
    const Tensor &tensor = graph_.tensor(id);
    if (tensor.is_constant) {
      return op_fail(ErrorCode::kUnsupported,
                     "tensor '{}' is a constant; a constant operand is not supported here",
                     tensor.name);
    }
    if (!available_[static_cast<std::size_t>(id)]) {
      return op_fail(ErrorCode::kParse,
                     "tensor '{}' is read before any operator writes it; operators must be in "
                     "execution order",
                     tensor.name);
    }
    return id;
  }

  /// The one tensor that the current operator writes.
  Result<TensorId> output_activation() {
    if (size_of(op_->outputs()) != 1) {
      return op_fail(ErrorCode::kParse, "{} outputs; 1 expected", size_of(op_->outputs()));
    }
    const std::int32_t index = op_->outputs()->Get(0);
    KESTREL_TRY(check_index(index));
    TensorId id = map_[static_cast<std::size_t>(index)];
    if (id == kNoTensor) {
      KESTREL_ASSIGN(id, add_activation(index));
    }
    if (available_[static_cast<std::size_t>(id)] || graph_.tensor(id).is_constant) {
      return op_fail(ErrorCode::kParse,
                     "output tensor '{}' is an input, a constant or written twice",
                     graph_.tensor(id).name);
    }
    return id;
  }

  Result<std::int32_t> input_index(std::size_t slot) const {
    if (slot >= size_of(op_->inputs())) {
      return op_fail(ErrorCode::kParse, "{} inputs; operand {} is missing", size_of(op_->inputs()),
                     slot);
    }
    const std::int32_t index = op_->inputs()->Get(static_cast<flatbuffers::uoffset_t>(slot));
    KESTREL_TRY(check_index(index));
    return index;
  }

  Result<void> input_count(std::size_t least, std::size_t most) const {
    const std::size_t n = size_of(op_->inputs());
    if (n < least || n > most) {
      return least == most
                 ? op_fail(ErrorCode::kParse, "{} inputs; {} expected", n, least)
                 : op_fail(ErrorCode::kParse, "{} inputs; {} to {} expected", n, least, most);
    }
    return {};
  }

  /// int8 weights of `rank` dimensions with zero point 0, quantised per tensor or along `axis`.
  Result<TensorId> weights(std::size_t slot, std::size_t rank, std::int32_t axis) {
    KESTREL_ASSIGN(const std::int32_t index, input_index(slot));
    const TensorId known = map_[static_cast<std::size_t>(index)];
    KESTREL_ASSIGN(const tfl::Tensor *source, source_tensor(index));
    const std::string name = tensor_name(index);
    if (source->type() != tfl::TensorType::INT8) {
      return op_fail(ErrorCode::kUnsupported, "weights '{}' are {}; int8 weights are supported",
                     name, type_name(source->type()));
    }
    KESTREL_ASSIGN(const auto bytes, constant_bytes(index, *source));
    if (bytes.empty() || (known != kNoTensor && !graph_.tensor(known).is_constant)) {
      return op_fail(ErrorCode::kUnsupported,
                     "weights '{}' are not a constant; only constant weights are supported", name);
    }
    if (known != kNoTensor) {
      const Tensor &tensor = graph_.tensor(known);
      if (tensor.dtype != DataType::kInt8 || tensor.shape.size() != rank ||
          tensor.quant.axis != axis) {
        return op_fail(ErrorCode::kUnsupported,
                       "weights '{}' are shared with an operator that uses them in another way",
                       name);
      }
      return known;
    }
    Tensor tensor;
    tensor.is_constant = true;
    KESTREL_ASSIGN(tensor.shape, read_shape(index, *source, 1));
    if (tensor.shape.size() != rank) {
      return op_fail(ErrorCode::kUnsupported, "weights '{}' have shape {}; {} dimensions expected",
                     name, shape_text(tensor.shape), rank);
    }
    if (static_cast<std::int64_t>(bytes.size()) != tensor.elements()) {
      return op_fail(ErrorCode::kParse, "weights '{}' of shape {} need {} bytes; the file has {}",
                     name, shape_text(tensor.shape), tensor.elements(), bytes.size());
    }
    KESTREL_TRY(charge(tensor.elements()));
    KESTREL_ASSIGN(tensor.quant, read_quantization(index, *source, axis,
                                                   tensor.shape[static_cast<std::size_t>(axis)]));
    for (const std::int32_t zero : tensor.quant.zero_points) {
      if (zero != 0) {
        return op_fail(ErrorCode::kUnsupported,
                       "weights '{}' have zero point {}; symmetric weights (0) are supported", name,
                       zero);
      }
    }
    const std::span<const std::int8_t> values = as_i8(bytes);
    tensor.int8_data.assign(values.begin(), values.end());
    return append(std::move(tensor), index);
  }

  /// The optional int32 bias of `channels` values; kNoTensor when absent.
  Result<TensorId> bias(std::size_t slot, std::int32_t channels) {
    if (slot >= size_of(op_->inputs()) ||
        op_->inputs()->Get(static_cast<flatbuffers::uoffset_t>(slot)) == -1) {
      return kNoTensor;
    }
    KESTREL_ASSIGN(const std::int32_t index, input_index(slot));
    KESTREL_ASSIGN(const TensorId id, int32_constant(index, "bias"));
    if (graph_.tensor(id).elements() != channels) {
      return op_fail(ErrorCode::kParse, "bias '{}' has shape {}; {} values expected",
                     graph_.tensor(id).name, shape_text(graph_.tensor(id).shape), channels);
    }
    return id;
  }

  Result<TensorId> int32_constant(std::int32_t index, std::string_view what) {
    const TensorId known = map_[static_cast<std::size_t>(index)];
    KESTREL_ASSIGN(const tfl::Tensor *source, source_tensor(index));
    const std::string name = tensor_name(index);
    if (source->type() != tfl::TensorType::INT32) {
      return op_fail(ErrorCode::kUnsupported, "{} '{}' is {}; INT32 is supported", what, name,
                     type_name(source->type()));
    }
    KESTREL_ASSIGN(const auto bytes, constant_bytes(index, *source));
    if (bytes.empty()) {
      return op_fail(ErrorCode::kUnsupported, "{} '{}' is not a constant; a constant is needed",
                     what, name);
    }
    if (known != kNoTensor) { // its type in the file is INT32, so it was registered as such
      return known;
    }
    Tensor tensor;
    tensor.is_constant = true;
    tensor.dtype = DataType::kInt32;
    KESTREL_ASSIGN(tensor.shape, read_shape(index, *source, 4));
    if (static_cast<std::int64_t>(bytes.size()) != tensor.bytes()) {
      return op_fail(ErrorCode::kParse, "{} '{}' of shape {} needs {} bytes; the file has {}", what,
                     name, shape_text(tensor.shape), tensor.bytes(), bytes.size());
    }
    KESTREL_TRY(charge(tensor.bytes()));
    tensor.int32_data.reserve(bytes.size() / 4);
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      tensor.int32_data.push_back(load_le<std::int32_t>(bytes, i));
    }
    return append(std::move(tensor), index);
  }

  /// Small integer operands (axes, paddings, shapes) that become parameters of an operator.
  Result<std::vector<std::int64_t>> integer_operand(std::size_t slot, std::string_view what,
                                                    std::size_t most) const {
    KESTREL_ASSIGN(const std::int32_t index, input_index(slot));
    KESTREL_ASSIGN(const tfl::Tensor *source, source_tensor(index));
    const std::string name = tensor_name(index);
    const bool wide = source->type() == tfl::TensorType::INT64;
    if (!wide && source->type() != tfl::TensorType::INT32) {
      return op_fail(ErrorCode::kUnsupported, "{} '{}' is {}; INT32 is supported", what, name,
                     type_name(source->type()));
    }
    KESTREL_ASSIGN(const auto bytes, constant_bytes(index, *source));
    if (bytes.empty()) {
      return op_fail(ErrorCode::kUnsupported, "{} '{}' is not a constant; a constant is needed",
                     what, name);
    }
    const std::size_t width = wide ? 8 : 4;
    if (bytes.size() % width != 0 || bytes.size() / width > most) {
      return op_fail(ErrorCode::kParse, "{} '{}' has {} bytes; at most {} values are expected",
                     what, name, bytes.size(), most);
    }
    std::int64_t elements = 1;
    KESTREL_ASSIGN(const auto shape, read_shape(index, *source, static_cast<std::int64_t>(width)));
    for (const std::int32_t d : shape) {
      elements *= d;
    }
    if (elements != static_cast<std::int64_t>(bytes.size() / width)) {
      return op_fail(ErrorCode::kParse, "{} '{}' of shape {} does not fit its {} bytes", what, name,
                     shape_text(shape), bytes.size());
    }
    std::vector<std::int64_t> out;
    for (std::size_t i = 0; i < bytes.size(); i += width) {
      out.push_back(wide ? load_le<std::int64_t>(bytes, i) : load_le<std::int32_t>(bytes, i));
    }
    return out;
  }

  // ---- parameters ----------------------------------------------------------------------------

  Result<Activation> activation(tfl::FusedActivation fused) const {
    switch (fused) {
    case tfl::FusedActivation::NONE:
      return Activation::kNone;
    case tfl::FusedActivation::RELU:
      return Activation::kRelu;
    case tfl::FusedActivation::RELU_N1_TO_1:
      return Activation::kReluN1To1;
    case tfl::FusedActivation::RELU6:
      return Activation::kRelu6;
    default: {
      const char *name = tfl::EnumNameFusedActivation(fused);
      return op_fail(ErrorCode::kUnsupported,
                     "fused activation {} ({}); NONE, RELU, RELU6 and RELU_N1_TO_1 are supported",
                     static_cast<int>(fused), name != nullptr ? name : "");
    }
    }
  }

  Result<Clamp> clamp_of(Activation act, const Tensor &output) const {
    if (act != Activation::kNone && 6.0 / static_cast<double>(output.quant.scale()) > 1e9) {
      return op_fail(ErrorCode::kUnsupported,
                     "tensor '{}' has scale {}, too small for a fused activation", output.name,
                     output.quant.scale());
    }
    ref::Activation ref_act = ref::Activation::kNone;
    switch (act) {
    case Activation::kNone:
      break;
    case Activation::kRelu:
      ref_act = ref::Activation::kRelu;
      break;
    case Activation::kRelu6:
      ref_act = ref::Activation::kRelu6;
      break;
    case Activation::kReluN1To1:
      ref_act = ref::Activation::kReluN1To1;
      break;
    }
    const ref::ActivationRange range =
        ref::activation_range(ref_act, output.quant.scale(), output.quant.zero_point());
    return Clamp{range.min, range.max};
  }

  /// Refuses rescaling factors that would need a left shift beyond the supported range.
  Result<void> check_rescale(double factor) const {
    if (!(factor < kMaxRescale)) {
      return op_fail(ErrorCode::kUnsupported,
                     "the scales of its tensors ask for a rescale by {}; below 2^29 is supported",
                     factor);
    }
    return {};
  }

  static Multiplier from_ref(const ref::Multiplier &m) { return {m.multiplier, m.shift}; }

  /// One multiplier per output channel of a convolution-like operator.
  Result<std::vector<Multiplier>> requant_of(const Tensor &input, const Tensor &w,
                                             const Tensor &output, std::int32_t channels,
                                             bool fully_connected) {
    KESTREL_TRY(charge(static_cast<std::int64_t>(channels) *
                       static_cast<std::int64_t>(sizeof(Multiplier))));
    const float in_scale = input.quant.scale();
    const float out_scale = output.quant.scale();
    const bool per_tensor = w.quant.scales.size() == 1;
    std::vector<Multiplier> out;
    out.reserve(static_cast<std::size_t>(channels));
    for (std::size_t i = 0; i < w.quant.scales.size(); ++i) {
      const float w_scale = w.quant.scales[i];
      KESTREL_TRY(check_rescale(static_cast<double>(in_scale) * static_cast<double>(w_scale) /
                                static_cast<double>(out_scale)));
      out.push_back(from_ref(fully_connected && per_tensor
                                 ? ref::fully_connected_multiplier(in_scale, w_scale, out_scale)
                                 : ref::conv_multiplier(in_scale, w_scale, out_scale)));
    }
    if (per_tensor) {
      const Multiplier one = out.front();
      out.assign(static_cast<std::size_t>(channels), one);
    }
    return out;
  }

  Result<void> need_map(const Tensor &t) const {
    if (t.shape.size() != 4) {
      return op_fail(ErrorCode::kUnsupported,
                     "tensor '{}' has shape {}; 4 dimensions [1, height, width, channels] are "
                     "supported",
                     t.name, shape_text(t.shape));
    }
    return {};
  }

  Result<void> need_shape(const Tensor &t, const std::vector<std::int32_t> &shape) const {
    if (t.shape != shape) {
      return op_fail(ErrorCode::kParse,
                     "output tensor '{}' has shape {}; {} follows from the inputs", t.name,
                     shape_text(t.shape), shape_text(shape));
    }
    return {};
  }

  Result<void> need_same_quantization(const Tensor &a, const Tensor &b) const {
    if (std::abs(static_cast<double>(a.quant.scale()) - static_cast<double>(b.quant.scale())) >
            1e-6 ||
        a.quant.zero_point() != b.quant.zero_point()) {
      return op_fail(ErrorCode::kUnsupported,
                     "tensors '{}' and '{}' differ in scale or zero point; input and output must "
                     "share them",
                     a.name, b.name);
    }
    return {};
  }

  /// Window and padding of a sliding operator, checked, with the output height and width.
  struct Sliding {
    Window window;
    Padding padding;
    std::int32_t out_h = 0, out_w = 0;
  };

  Result<Sliding> sliding(const Tensor &input, tfl::PaddingMode mode, const Window &w) const {
    for (const std::int32_t v :
         {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w}) {
      if (v < 1 || v > limits_.max_window) {
        return op_fail(ErrorCode::kUnsupported,
                       "kernel {}x{}, stride {}x{}, dilation {}x{}; each must be 1 to {}",
                       w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w,
                       limits_.max_window);
      }
    }
    if (mode != tfl::PaddingMode::SAME && mode != tfl::PaddingMode::VALID) {
      return op_fail(ErrorCode::kParse, "padding mode {}; SAME (0) and VALID (1) exist",
                     static_cast<int>(mode));
    }
    const ref::Padding pad =
        mode == tfl::PaddingMode::SAME ? ref::Padding::kSame : ref::Padding::kValid;
    const ref::AxisWindow v =
        ref::axis_window(pad, input.height(), w.kernel_h, w.stride_h, w.dilation_h);
    const ref::AxisWindow h =
        ref::axis_window(pad, input.width(), w.kernel_w, w.stride_w, w.dilation_w);
    if (v.output < 1 || h.output < 1) {
      return op_fail(ErrorCode::kParse, "a {}x{} kernel does not fit tensor '{}' of shape {}",
                     w.kernel_h, w.kernel_w, input.name, shape_text(input.shape));
    }
    const auto reach = [](std::int32_t out, std::int32_t stride, std::int32_t kernel,
                          std::int32_t dilation, std::int32_t before, std::int32_t in) {
      return std::max((out - 1) * stride + (kernel - 1) * dilation + 1 - before - in, 0);
    };
    Sliding s;
    s.window = w;
    s.padding.top = v.pad_before;
    s.padding.left = h.pad_before;
    s.padding.bottom =
        reach(v.output, w.stride_h, w.kernel_h, w.dilation_h, v.pad_before, input.height());
    s.padding.right =
        reach(h.output, w.stride_w, w.kernel_w, w.dilation_w, h.pad_before, input.width());
    s.out_h = v.output;
    s.out_w = h.output;
    return s;
  }

  template <typename Options> Result<const Options *> options(const Options *o) const {
    if (o == nullptr) {
      return op_fail(ErrorCode::kParse, "its options are missing");
    }
    return o;
  }

  // ---- operators -----------------------------------------------------------------------------

  Result<void> import_operator(std::int32_t index) {
    op_ = subgraph_->operators()->Get(static_cast<flatbuffers::uoffset_t>(index));
    op_index_ = index;
    op_type_ = "?";
    if (op_->opcode_index() >= size_of(model_.operator_codes())) {
      return op_fail(ErrorCode::kParse, "operator code {} is out of range (the file has {})",
                     op_->opcode_index(), size_of(model_.operator_codes()));
    }
    const tfl::OperatorCode *code = model_.operator_codes()->Get(op_->opcode_index());
    const std::int32_t builtin =
        std::max<std::int32_t>(code->deprecated_builtin_code(), code->builtin_code());
    if (builtin == kCustomCode) {
      op_type_ = fmt::format("CUSTOM '{}'", printable(code->custom_code()));
      return op_fail(ErrorCode::kUnsupported,
                     "custom operators are not supported; supported are {}", kSupportedOps);
    }
    op_type_ = builtin_name(builtin);
    macs_ = 0;
    KESTREL_ASSIGN(OpPayload payload, import_payload());

    Op op;
    op.id = static_cast<OpId>(graph_.ops.size());
    op.source_index = index;
    op.type = op_type_;
    op.payload = std::move(payload);
    op.macs = macs_;
    total_macs_ += macs_;
    if (macs_ > limits_.max_macs || total_macs_ > limits_.max_macs) {
      return op_fail(ErrorCode::kResourceLimit,
                     "the network needs more than {} multiply-accumulates", limits_.max_macs);
    }
    const TensorId out = output_of(op);
    Tensor &out_tensor = graph_.tensors[static_cast<std::size_t>(out)];
    op.name = out_tensor.name;
    out_tensor.producer = op.id;
    available_[static_cast<std::size_t>(out)] = true;
    const auto consume = [&](TensorId id) {
      if (id != kNoTensor) {
        auto &consumers = graph_.tensors[static_cast<std::size_t>(id)].consumers;
        if (consumers.empty() || consumers.back() != op.id) {
          consumers.push_back(op.id);
        }
      }
    };
    for (const TensorId id : activation_inputs(op)) {
      consume(id);
    }
    std::visit(
        [&](const auto &p) {
          if constexpr (requires { p.weights; }) {
            consume(p.weights);
            consume(p.bias);
          }
        },
        op.payload);
    graph_.ops.push_back(std::move(op));
    return {};
  }

  Result<OpPayload> import_payload() {
    if (op_type_ == "CONV_2D") {
      return import_conv();
    }
    if (op_type_ == "DEPTHWISE_CONV_2D") {
      return import_depthwise();
    }
    if (op_type_ == "FULLY_CONNECTED") {
      return import_fully_connected();
    }
    if (op_type_ == "ADD") {
      return import_add();
    }
    if (op_type_ == "AVERAGE_POOL_2D") {
      return import_pool<AveragePool2D>();
    }
    if (op_type_ == "MAX_POOL_2D") {
      return import_pool<MaxPool2D>();
    }
    if (op_type_ == "MEAN") {
      return import_mean();
    }
    if (op_type_ == "PAD") {
      return import_pad();
    }
    if (op_type_ == "RESHAPE") {
      return import_reshape();
    }
    if (op_type_ == "SOFTMAX") {
      return import_softmax();
    }
    if (op_type_ == "RELU") {
      return import_relu(Activation::kRelu);
    }
    if (op_type_ == "RELU6") {
      return import_relu(Activation::kRelu6);
    }
    if (op_type_ == "RELU_N1_TO_1") {
      return import_relu(Activation::kReluN1To1);
    }
    if (op_type_ == "QUANTIZE") {
      return import_quantize();
    }
    return op_fail(ErrorCode::kUnsupported, "this operator is not supported; supported are {}",
                   kSupportedOps);
  }

  // What CONV_2D and DEPTHWISE_CONV_2D share once their tensors are known: window, padding, output
  // shape, zero points, activation and requantisation of `c`, from the operator's options `o`.
  template <class Payload, class Options>
  Result<void> import_filter(Payload &c, const Options &o, std::int32_t channels) {
    const Tensor &in = graph_.tensor(c.input);
    const Tensor &w = graph_.tensor(c.weights);
    const Tensor &out = graph_.tensor(c.output);
    const Window window{
        w.shape[1],           w.shape[2], o.stride_h(), o.stride_w(), o.dilation_h_factor(),
        o.dilation_w_factor()};
    KESTREL_ASSIGN(const Sliding s, sliding(in, o.padding(), window));
    c.window = s.window;
    c.padding = s.padding;
    KESTREL_TRY(need_shape(out, {1, s.out_h, s.out_w, channels}));
    c.input_zero_point = in.quant.zero_point();
    c.output_zero_point = out.quant.zero_point();
    KESTREL_ASSIGN(c.activation, activation(o.fused_activation_function()));
    KESTREL_ASSIGN(c.clamp, clamp_of(c.activation, out));
    KESTREL_ASSIGN(c.requant, requant_of(in, w, out, channels, false));
    return {};
  }

  Result<OpPayload> import_conv() {
    KESTREL_TRY(input_count(2, 3));
    KESTREL_ASSIGN(const auto *o, options(op_->builtin_options_as_Conv2DOptions()));
    Conv2D c;
    KESTREL_ASSIGN(c.input, input_activation(0));
    KESTREL_ASSIGN(c.weights, weights(1, 4, 0));
    const std::int32_t channels = graph_.tensor(c.weights).shape[0];
    KESTREL_ASSIGN(c.bias, bias(2, channels));
    KESTREL_ASSIGN(c.output, output_activation());
    const Tensor &in = graph_.tensor(c.input);
    const Tensor &w = graph_.tensor(c.weights);
    const Tensor &out = graph_.tensor(c.output);
    KESTREL_TRY(need_map(in));
    if (in.channels() % w.shape[3] != 0 || channels % (in.channels() / w.shape[3]) != 0) {
      return op_fail(ErrorCode::kParse, "weights '{}' of shape {} do not fit {} input channels",
                     w.name, shape_text(w.shape), in.channels());
    }
    c.groups = in.channels() / w.shape[3];
    KESTREL_TRY(import_filter(c, *o, channels));
    macs_ = out.elements() * (w.elements() / channels);
    return OpPayload{std::move(c)};
  }

  Result<OpPayload> import_depthwise() {
    KESTREL_TRY(input_count(2, 3));
    KESTREL_ASSIGN(const auto *o, options(op_->builtin_options_as_DepthwiseConv2DOptions()));
    DepthwiseConv2D c;
    KESTREL_ASSIGN(c.input, input_activation(0));
    KESTREL_ASSIGN(c.weights, weights(1, 4, 3));
    const std::int32_t channels = graph_.tensor(c.weights).shape[3];
    KESTREL_ASSIGN(c.bias, bias(2, channels));
    KESTREL_ASSIGN(c.output, output_activation());
    const Tensor &in = graph_.tensor(c.input);
    const Tensor &w = graph_.tensor(c.weights);
    const Tensor &out = graph_.tensor(c.output);
    KESTREL_TRY(need_map(in));
    if (w.shape[0] != 1 || channels % in.channels() != 0) {
      return op_fail(ErrorCode::kParse, "weights '{}' of shape {} do not fit {} input channels",
                     w.name, shape_text(w.shape), in.channels());
    }
    c.depth_multiplier = channels / in.channels();
    if (o->depth_multiplier() != 0 && o->depth_multiplier() != c.depth_multiplier) {
      return op_fail(ErrorCode::kParse, "depth multiplier {}; {} follows from the weights",
                     o->depth_multiplier(), c.depth_multiplier);
    }
    KESTREL_TRY(import_filter(c, *o, channels));
    macs_ = out.elements() * w.shape[1] * w.shape[2];
    return OpPayload{std::move(c)};
  }

  Result<OpPayload> import_fully_connected() {
    KESTREL_TRY(input_count(2, 3));
    const auto *o = op_->builtin_options_as_FullyConnectedOptions();
    if (o != nullptr && o->weights_format() != tfl::WeightsFormat::DEFAULT) {
      return op_fail(ErrorCode::kUnsupported, "shuffled weights; the plain order is supported");
    }
    FullyConnected c;
    KESTREL_ASSIGN(c.input, input_activation(0));
    KESTREL_ASSIGN(c.weights, weights(1, 2, 0));
    c.out_features = graph_.tensor(c.weights).shape[0];
    c.in_features = graph_.tensor(c.weights).shape[1];
    KESTREL_ASSIGN(c.bias, bias(2, c.out_features));
    KESTREL_ASSIGN(c.output, output_activation());
    const Tensor &in = graph_.tensor(c.input);
    const Tensor &w = graph_.tensor(c.weights);
    const Tensor &out = graph_.tensor(c.output);
    const std::int64_t rows = in.elements() / c.in_features;
    if (in.elements() % c.in_features != 0) {
      return op_fail(ErrorCode::kParse,
                     "weights '{}' of shape {} do not fit input '{}' of shape {}", w.name,
                     shape_text(w.shape), in.name, shape_text(in.shape));
    }
    std::vector<std::int32_t> expected{static_cast<std::int32_t>(rows), c.out_features};
    if (o != nullptr && o->keep_num_dims()) {
      expected = in.shape;
      expected.back() = c.out_features;
      if (in.shape.back() != c.in_features) {
        return op_fail(ErrorCode::kParse,
                       "weights '{}' of shape {} do not fit input '{}' of shape {}", w.name,
                       shape_text(w.shape), in.name, shape_text(in.shape));
      }
    }
    KESTREL_TRY(need_shape(out, expected));
    c.rows = static_cast<std::int32_t>(rows);
    c.input_zero_point = in.quant.zero_point();
    c.output_zero_point = out.quant.zero_point();
    KESTREL_ASSIGN(c.activation, activation(o != nullptr ? o->fused_activation_function()
                                                         : tfl::FusedActivation::NONE));
    KESTREL_ASSIGN(c.clamp, clamp_of(c.activation, out));
    KESTREL_ASSIGN(c.requant, requant_of(in, w, out, c.out_features, true));
    macs_ = rows * w.elements();
    return OpPayload{std::move(c)};
  }

  Result<OpPayload> import_add() {
    KESTREL_TRY(input_count(2, 2));
    const auto *o = op_->builtin_options_as_AddOptions();
    Add a;
    KESTREL_ASSIGN(a.input1, input_activation(0));
    KESTREL_ASSIGN(a.input2, input_activation(1));
    KESTREL_ASSIGN(a.output, output_activation());
    const Tensor &in1 = graph_.tensor(a.input1);
    const Tensor &in2 = graph_.tensor(a.input2);
    const Tensor &out = graph_.tensor(a.output);
    if (in1.shape != in2.shape) {
      return op_fail(
          ErrorCode::kUnsupported,
          "tensors '{}' {} and '{}' {} differ in shape; ADD of equal shapes is supported", in1.name,
          shape_text(in1.shape), in2.name, shape_text(in2.shape));
    }
    KESTREL_TRY(need_shape(out, in1.shape));
    KESTREL_ASSIGN(a.activation, activation(o != nullptr ? o->fused_activation_function()
                                                         : tfl::FusedActivation::NONE));
    KESTREL_ASSIGN(a.clamp, clamp_of(a.activation, out));
    const double sum_scale =
        2.0 * static_cast<double>(std::max(in1.quant.scale(), in2.quant.scale()));
    if (!(sum_scale / (1048576.0 * static_cast<double>(out.quant.scale())) < 0.999999)) {
      return op_fail(ErrorCode::kUnsupported,
                     "the output scale {} is too small for input scales {} and {}",
                     out.quant.scale(), in1.quant.scale(), in2.quant.scale());
    }
    // The clamp comes from clamp_of; the activation does not enter the multipliers.
    const ref::AddParams p = ref::add_params(
        in1.quant.scale(), in1.quant.zero_point(), in2.quant.scale(), in2.quant.zero_point(),
        out.quant.scale(), out.quant.zero_point(), ref::Activation::kNone);
    a.input1_zero_point = p.input1_zero_point;
    a.input2_zero_point = p.input2_zero_point;
    a.output_zero_point = p.output_zero_point;
    a.left_shift = p.left_shift;
    a.input1_multiplier = from_ref(p.input1);
    a.input2_multiplier = from_ref(p.input2);
    a.output_multiplier = from_ref(p.output);
    return OpPayload{a};
  }

  template <typename Pool> Result<OpPayload> import_pool() {
    KESTREL_TRY(input_count(1, 1));
    KESTREL_ASSIGN(const auto *o, options(op_->builtin_options_as_Pool2DOptions()));
    Pool p;
    KESTREL_ASSIGN(p.input, input_activation(0));
    KESTREL_ASSIGN(p.output, output_activation());
    const Tensor &in = graph_.tensor(p.input);
    const Tensor &out = graph_.tensor(p.output);
    KESTREL_TRY(need_map(in));
    const Window window{o->filter_height(), o->filter_width(), o->stride_h(), o->stride_w(), 1, 1};
    KESTREL_ASSIGN(const Sliding s, sliding(in, o->padding(), window));
    p.window = s.window;
    p.padding = s.padding;
    KESTREL_TRY(need_shape(out, {1, s.out_h, s.out_w, in.channels()}));
    KESTREL_TRY(need_same_quantization(in, out));
    // Padding taps cost time in the reference; bound the work of absurd windows as for MACs.
    KESTREL_TRY(check_work(out.elements(), std::int64_t{window.kernel_h} * window.kernel_w));
    KESTREL_ASSIGN(p.activation, activation(o->fused_activation_function()));
    KESTREL_ASSIGN(p.clamp, clamp_of(p.activation, out));
    return OpPayload{p};
  }

  Result<void> check_work(std::int64_t outputs, std::int64_t taps) const {
    if (outputs > limits_.max_macs / taps) {
      return op_fail(ErrorCode::kResourceLimit, "it needs more than {} operations",
                     limits_.max_macs);
    }
    return {};
  }

  Result<OpPayload> import_mean() {
    KESTREL_TRY(input_count(2, 2));
    const auto *o = op_->builtin_options_as_ReducerOptions();
    Mean m;
    KESTREL_ASSIGN(m.input, input_activation(0));
    KESTREL_ASSIGN(m.output, output_activation());
    const Tensor &in = graph_.tensor(m.input);
    const Tensor &out = graph_.tensor(m.output);
    KESTREL_TRY(need_map(in));
    KESTREL_ASSIGN(const auto axes, integer_operand(1, "axis tensor", 4));
    bool height = false;
    bool width = false;
    bool other = false;
    for (const std::int64_t a : axes) {
      const std::int64_t axis = a < 0 ? a + 4 : a;
      height |= axis == 1;
      width |= axis == 2;
      other |= axis != 1 && axis != 2;
    }
    if (!height || !width || other) {
      return op_fail(ErrorCode::kUnsupported,
                     "mean over axes {}; the mean over height and width (1, 2) is supported",
                     fmt::format("({})", fmt::join(axes, ", ")));
    }
    m.keep_dims = o != nullptr && o->keep_dims();
    const std::int32_t channels = in.channels();
    KESTREL_TRY(need_shape(out, m.keep_dims ? std::vector<std::int32_t>{1, 1, 1, channels}
                                            : std::vector<std::int32_t>{1, channels}));
    const std::int64_t pixels = std::int64_t{in.height()} * in.width();
    if (pixels > kMaxMeanPixels) {
      return op_fail(ErrorCode::kResourceLimit, "mean over {} pixels; at most {} are supported",
                     pixels, kMaxMeanPixels);
    }
    KESTREL_TRY(check_rescale(static_cast<double>(in.quant.scale()) /
                              static_cast<double>(out.quant.scale())));
    m.input_zero_point = in.quant.zero_point();
    m.output_zero_point = out.quant.zero_point();
    m.requant = from_ref(
        ref::mean_multiplier(ref::mean_scale(in.quant.scale(), out.quant.scale()), pixels));
    return OpPayload{m};
  }

  Result<OpPayload> import_pad() {
    KESTREL_TRY(input_count(2, 2));
    Pad p;
    KESTREL_ASSIGN(p.input, input_activation(0));
    KESTREL_ASSIGN(p.output, output_activation());
    const Tensor &in = graph_.tensor(p.input);
    const Tensor &out = graph_.tensor(p.output);
    KESTREL_TRY(need_map(in));
    KESTREL_ASSIGN(const auto pads, integer_operand(1, "paddings", 8));
    if (pads.size() != 8) {
      return op_fail(ErrorCode::kParse, "{} padding values; 8 expected", pads.size());
    }
    for (const std::int64_t v : pads) {
      if (v < 0 || v > kMaxDimension) {
        return op_fail(ErrorCode::kParse, "padding of {}; 0 to {} is supported", v, kMaxDimension);
      }
    }
    if (pads[0] != 0 || pads[1] != 0) {
      return op_fail(ErrorCode::kUnsupported,
                     "padding of the batch; height, width and channels can "
                     "be padded");
    }
    const auto at = [&](std::size_t i) { return static_cast<std::int32_t>(pads[i]); };
    p.padding = {at(2), at(4), at(3), at(5)};
    p.channels_before = at(6);
    p.channels_after = at(7);
    // Sums stay below 3 * 2^24.
    KESTREL_TRY(need_shape(out, {1, in.height() + at(2) + at(3), in.width() + at(4) + at(5),
                                 in.channels() + at(6) + at(7)}));
    KESTREL_TRY(need_same_quantization(in, out));
    p.value = out.quant.zero_point();
    return OpPayload{p};
  }

  Result<OpPayload> import_reshape() {
    KESTREL_TRY(input_count(1, 2));
    Reshape r;
    KESTREL_ASSIGN(r.input, input_activation(0));
    KESTREL_ASSIGN(r.output, output_activation());
    const Tensor &in = graph_.tensor(r.input);
    const Tensor &out = graph_.tensor(r.output);
    if (in.elements() != out.elements()) {
      return op_fail(ErrorCode::kParse, "tensors '{}' {} and '{}' {} differ in size", in.name,
                     shape_text(in.shape), out.name, shape_text(out.shape));
    }
    if (size_of(op_->inputs()) == 2) {
      KESTREL_ASSIGN(const auto shape, integer_operand(1, "shape operand", 8));
      bool fits = shape.size() == out.shape.size();
      for (std::size_t i = 0; fits && i < shape.size(); ++i) {
        fits = shape[i] == -1 || shape[i] == out.shape[i];
      }
      if (!fits) {
        return op_fail(ErrorCode::kParse, "shape operand [{}] does not give output '{}' {}",
                       fmt::join(shape, ", "), out.name, shape_text(out.shape));
      }
    }
    return OpPayload{r};
  }

  Result<OpPayload> import_softmax() {
    KESTREL_TRY(input_count(1, 1));
    KESTREL_ASSIGN(const auto *o, options(op_->builtin_options_as_SoftmaxOptions()));
    Softmax s;
    KESTREL_ASSIGN(s.input, input_activation(0));
    KESTREL_ASSIGN(s.output, output_activation());
    const Tensor &in = graph_.tensor(s.input);
    const Tensor &out = graph_.tensor(s.output);
    KESTREL_TRY(need_shape(out, in.shape));
    if (out.quant.scale() != 1.0F / 256.0F || out.quant.zero_point() != -128) {
      return op_fail(ErrorCode::kUnsupported,
                     "output '{}' has scale {} and zero point {}; 1/256 and -128 are supported",
                     out.name, out.quant.scale(), out.quant.zero_point());
    }
    s.depth = in.shape.back();
    if (s.depth > kMaxSoftmaxDepth) {
      return op_fail(ErrorCode::kUnsupported, "softmax over {} values; at most {} are supported",
                     s.depth, kMaxSoftmaxDepth);
    }
    s.rows = static_cast<std::int32_t>(in.elements() / s.depth);
    s.beta = static_cast<double>(o->beta());
    s.input_scale = static_cast<double>(in.quant.scale());
    const double product = s.beta * s.input_scale * 67108864.0; // 2^26
    if (!(product > 1.0 && product < 1e30)) {                   // also NaN
      return op_fail(ErrorCode::kUnsupported,
                     "beta {} and input scale {}; their product must be above 2^-26 and finite",
                     s.beta, s.input_scale);
    }
    const ref::SoftmaxScaling scaling = ref::softmax_scaling(s.beta, s.input_scale);
    s.input_multiplier = {scaling.multiplier, scaling.left_shift};
    s.diff_min = scaling.diff_min;
    return OpPayload{s};
  }

  Result<OpPayload> import_relu(Activation act) {
    KESTREL_TRY(input_count(1, 1));
    Relu r;
    r.activation = act;
    KESTREL_ASSIGN(r.input, input_activation(0));
    KESTREL_ASSIGN(r.output, output_activation());
    const Tensor &in = graph_.tensor(r.input);
    const Tensor &out = graph_.tensor(r.output);
    KESTREL_TRY(need_shape(out, in.shape));
    KESTREL_TRY(check_rescale(static_cast<double>(in.quant.scale()) /
                              static_cast<double>(out.quant.scale())));
    r.input_zero_point = in.quant.zero_point();
    r.output_zero_point = out.quant.zero_point();
    r.requant = from_ref(ref::relu_multiplier(in.quant.scale(), out.quant.scale()));
    KESTREL_ASSIGN(r.clamp, clamp_of(act, out));
    return OpPayload{r};
  }

  Result<OpPayload> import_quantize() {
    KESTREL_TRY(input_count(1, 1));
    Quantize q;
    KESTREL_ASSIGN(q.input, input_activation(0));
    KESTREL_ASSIGN(q.output, output_activation());
    const Tensor &in = graph_.tensor(q.input);
    const Tensor &out = graph_.tensor(q.output);
    KESTREL_TRY(need_shape(out, in.shape));
    KESTREL_TRY(check_rescale(static_cast<double>(in.quant.scale()) /
                              static_cast<double>(out.quant.scale())));
    q.input_zero_point = in.quant.zero_point();
    q.output_zero_point = out.quant.zero_point();
    q.requant = from_ref(ref::quantize_op_multiplier(in.quant.scale(), out.quant.scale()));
    return OpPayload{q};
  }

  const tfl::Model &model_;
  const ImportLimits &limits_;
  const tfl::SubGraph *subgraph_ = nullptr;
  Graph graph_;
  std::vector<TensorId> map_;   ///< tensor index in the file -> tensor of the graph
  std::vector<bool> available_; ///< by TensorId: a graph input, or written by an operator so far
  std::int64_t constant_bytes_ = 0;
  std::int64_t total_macs_ = 0;

  // The operator being imported.
  const tfl::Operator *op_ = nullptr;
  std::int32_t op_index_ = -1;
  std::string op_type_;
  std::int64_t macs_ = 0;
};

constexpr std::size_t kAlignment = 16; // of the strictest field, Buffer.data

} // namespace

Result<Graph> import_tflite(std::span<const std::uint8_t> bytes, std::string name,
                            const ImportLimits &limits) {
  if (bytes.size() < 8 || !std::equal(bytes.begin() + 4, bytes.begin() + 8, "TFL3")) {
    return fail(ErrorCode::kParse,
                "{}: not a TensorFlow Lite file (no TFL3 identifier); .tflite files with int8 "
                "quantised models are supported",
                name);
  }
  if (static_cast<std::uint64_t>(bytes.size()) >
      static_cast<std::uint64_t>(limits.max_file_bytes)) {
    return fail(ErrorCode::kResourceLimit, "{}: the file has {} bytes; at most {} are taken", name,
                bytes.size(), limits.max_file_bytes);
  }
  // The verifier below asks that everything the model refers to lies within the file. What lies
  // behind it, such as a zip of labels that tools append at any length, is not looked at.
  std::vector<std::uint64_t> aligned;
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kAlignment != 0) {
    aligned.resize(bytes.size() / 8 + 3);
    auto *base = reinterpret_cast<std::uint8_t *>(aligned.data());
    const std::size_t skip =
        (kAlignment - reinterpret_cast<std::uintptr_t>(base) % kAlignment) % kAlignment;
    std::copy(bytes.begin(), bytes.end(), base + skip);
    bytes = {base + skip, bytes.size()};
  }
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), /*max_depth=*/32,
                                 /*max_tables=*/200'000);
  if (!tfl::VerifyModelBuffer(verifier)) {
    return fail(ErrorCode::kParse,
                "{}: the TensorFlow Lite file is truncated or damaged (its {} bytes do not form a "
                "valid FlatBuffer)",
                name, bytes.size());
  }
  return Importer(*tfl::GetModel(bytes.data()), std::move(name), limits).run();
}

Result<Graph> import_tflite_file(const std::filesystem::path &path, const ImportLimits &limits) {
  KESTREL_ASSIGN(const auto bytes, read_file(path, limits.max_file_bytes));
  return import_tflite(bytes, path.string(), limits);
}

} // namespace kestrel::hv
