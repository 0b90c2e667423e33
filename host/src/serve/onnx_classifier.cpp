// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Source: ONNX IR specification and operator schemas (opsets 1 to 21).
#include "serve/onnx_classifier.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "kestrel/bytes.hpp"

#include "onnx_subset.pb.h"
#include "serve/onnx_check.hpp"

namespace kestrel::serve {
namespace {

enum ElementType : std::int32_t { kFloat = 1, kUint8 = 2, kInt64 = 7, kFloat16 = 10, kDouble = 11 };

constexpr std::int64_t kMaxFixedBatch = 1024;

std::string type_name(std::int32_t type) {
  static constexpr const char *kNames[] = {"undefined",  "FLOAT",   "UINT8",  "INT8",   "UINT16",
                                           "INT16",      "INT32",   "INT64",  "STRING", "BOOL",
                                           "FLOAT16",    "DOUBLE",  "UINT32", "UINT64", "COMPLEX64",
                                           "COMPLEX128", "BFLOAT16"};
  return type >= 0 && static_cast<std::size_t>(type) < std::size(kNames)
             ? kNames[type]
             : fmt::format("type {}", type);
}

/// Names come from the file: not longer than a message should be.
std::string brief(std::string_view text) {
  return text.size() <= 80 ? std::string(text) : std::string(text.substr(0, 77)) + "...";
}

/// A declared shape; -1 for an extent that is not fixed, and how it is written.
struct Declared {
  bool known = false;
  std::vector<std::int64_t> extents;
  std::string text = "of unknown shape";
};

Declared declared_shape(const onnx::Type::TensorType &type) {
  Declared out;
  if (!type.has_shape()) {
    return out;
  }
  out.known = true;
  out.text = "[";
  for (const auto &dim : type.shape().dim()) {
    const bool fixed = dim.has_dim_value() && dim.dim_value() > 0;
    out.extents.push_back(fixed ? dim.dim_value() : -1);
    out.text += out.text.size() == 1 ? "" : ", ";
    out.text += fixed ? fmt::format("{}", dim.dim_value())
                : dim.has_dim_param() && !dim.dim_param().empty() ? brief(dim.dim_param())
                                                                  : "?";
  }
  out.text += "]";
  return out;
}

/// The operator's name; with its domain where it is no standard operator.
std::string op_of(const onnx::Node &node) {
  const std::string &domain = node.domain();
  return domain.empty() || domain == "ai.onnx" ? node.op_type() : domain + "." + node.op_type();
}

bool is_in(std::string_view op, std::initializer_list<std::string_view> ops) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

/// Hands its first input on, value by value.
bool moves_data(std::string_view op) {
  return is_in(op, {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand",
                    "Dropout", "Slice", "Gather", "Split", "QuantizeLinear", "DequantizeLinear"});
}

/// What may follow logits or a softmax (averages of several crops or networks, temperatures,
/// limits). After a softmax, the result still has to be a distribution; that is tried out.
bool is_arithmetic(std::string_view op) {
  return is_in(op, {"Add",
                    "Sub",
                    "Mul",
                    "Div",
                    "Neg",
                    "Sum",
                    "Mean",
                    "Min",
                    "Max",
                    "Clip",
                    "Concat",
                    "Relu",
                    "LeakyRelu",
                    "PRelu",
                    "Elu",
                    "Selu",
                    "Celu",
                    "ReduceSum",
                    "ReduceMean",
                    "ReduceMax",
                    "AveragePool",
                    "MaxPool",
                    "GlobalAveragePool",
                    "GlobalMaxPool"});
}

/// Mixes features into new ones: what comes out are logits, whatever went in.
bool is_layer(std::string_view op) {
  return is_in(op, {"Gemm", "MatMul", "Conv", "ConvTranspose", "BatchNormalization",
                    "LayerNormalization", "InstanceNormalization", "Einsum", "MatMulInteger",
                    "ConvInteger", "QLinearMatMul", "QLinearConv"});
}

bool is_float(std::int64_t type) {
  return type == kFloat || type == kFloat16 || type == kDouble || type == 16; // BFLOAT16
}

const onnx::Attribute *attribute(const onnx::Node &node, std::string_view name) {
  for (const onnx::Attribute &a : node.attribute()) {
    if (a.name() == name) {
      return &a;
    }
  }
  return nullptr;
}

/// The whole numbers of a constant; nothing when it is none.
std::optional<std::vector<std::int64_t>> whole_numbers(const onnx::Graph &graph,
                                                       const std::string &tensor) {
  const onnx::Tensor *found = nullptr;
  for (const onnx::Tensor &t : graph.initializer()) {
    found = t.name() == tensor ? &t : found;
  }
  for (const onnx::Node &node : graph.node()) {
    if (op_of(node) == "Constant" && node.output_size() == 1 && node.output(0) == tensor) {
      const onnx::Attribute *value = attribute(node, "value");
      found = value != nullptr ? &value->t() : found;
    }
  }
  if (found == nullptr || found->data_type() != kInt64) {
    return std::nullopt;
  }
  const std::string &raw = found->raw_data();
  if (raw.empty()) {
    return std::vector<std::int64_t>(found->int64_data().begin(), found->int64_data().end());
  }
  if (raw.size() % 8 != 0) {
    return std::nullopt;
  }
  std::vector<std::int64_t> out;
  for (std::size_t at = 0; at < raw.size(); at += 8) {
    out.push_back(load_le<std::int64_t>(
        std::span(reinterpret_cast<const std::uint8_t *>(raw.data()), raw.size()), at));
  }
  return out;
}

/// The one axis that a reduction takes, if it keeps that axis (with extent 1).
std::optional<std::int64_t> reduced_axis(const onnx::Graph &graph, const onnx::Node &node) {
  std::optional<std::vector<std::int64_t>> axes;
  if (const onnx::Attribute *a = attribute(node, "axes")) {
    axes = std::vector<std::int64_t>(a->ints().begin(), a->ints().end());
  } else if (node.input_size() == 2) {
    axes = whole_numbers(graph, node.input(1));
  }
  const onnx::Attribute *keep = attribute(node, "keepdims");
  if (!axes || axes->size() != 1 || (keep != nullptr && keep->i() == 0)) {
    return std::nullopt;
  }
  return axes->front();
}

/// A softmax or log-softmax that is written out by its parts.
struct WrittenOut {
  std::string input;
  bool log;
  std::int64_t axis;
};

class Reader {
public:
  Reader(const onnx::Graph &graph, const std::string &name) : graph_(graph), name_(name) {}

  Result<OnnxClassifier> read(std::span<const std::int64_t> image, std::int64_t classes) {
    KESTREL_TRY(read_wiring());
    KESTREL_TRY(read_input(image));
    KESTREL_TRY(read_output(classes));
    KESTREL_TRY(read_scores());
    return std::move(out_);
  }
  /// "Softmax (node 'x')".
  static std::string described(const onnx::Node &node) {
    return node.name().empty()
               ? brief(op_of(node))
               : fmt::format("{} (node '{}')", brief(op_of(node)), brief(node.name()));
  }

  /// Name of the graph's input, once read.
  [[nodiscard]] const std::string &input() const { return input_; }
  /// Softmaxes by their parts that lead to the output, by the tensor they give.
  [[nodiscard]] const std::map<std::string, WrittenOut> &parts() const { return written_out_; }
  /// What the softmaxes give that decided on the scores: held to be distributions for every image.
  [[nodiscard]] const std::set<std::string> &ends() const { return ends_; }
  [[nodiscard]] bool is_constant(const std::string &tensor) const {
    return constants_.contains(tensor);
  }

private:
  Result<void> read_wiring();
  Result<void> read_input(std::span<const std::int64_t> image);
  Result<void> read_output(std::int64_t classes);
  Result<void> read_scores();
  Result<bool> channels_last_by_use(const std::string &tensor, bool one_channel,
                                    const std::string &declared) const;
  bool only_cast(const std::string &tensor) const;

  /// The node that computes a tensor; nullptr for an input or a constant.
  const onnx::Node *producer(const std::string &tensor) const {
    const auto it = producers_.find(tensor);
    return it == producers_.end() ? nullptr : it->second;
  }
  /// The tensor behind operators that leave its values alone (and repeat them at most).
  std::string source(std::string tensor) const {
    for (int hops = 0; hops < 16; ++hops) {
      const onnx::Node *node = producer(tensor);
      if (node == nullptr || node->input_size() < 1 ||
          !is_in(op_of(*node), {"Identity", "Cast", "Expand"})) {
        break;
      }
      tensor = node->input(0);
    }
    return tensor;
  }
  const onnx::Node *computed_by(const std::string &tensor, std::string_view op) const {
    const onnx::Node *node = producer(source(tensor));
    return node != nullptr && op_of(*node) == op && node->input_size() >= 1 ? node : nullptr;
  }
  bool is_sum_of(const onnx::Node *sum, const std::string &terms) const {
    return sum != nullptr && source(sum->input(0)) == source(terms);
  }
  /// The node as the last of the operators that make up a softmax or log-softmax, if it is.
  std::optional<WrittenOut> written_out(const onnx::Node &node) const;
  std::optional<WrittenOut> written_out(const onnx::Node &sum, const std::string &terms,
                                        bool log) const;

  const onnx::Graph &graph_;
  const std::string &name_;
  std::map<std::string, const onnx::Node *, std::less<>> producers_;
  std::map<std::string, std::vector<const onnx::Node *>, std::less<>> consumers_;
  std::set<std::string, std::less<>> constants_;
  std::string input_;
  std::map<std::string, WrittenOut> written_out_;
  std::set<std::string> ends_;
  OnnxClassifier out_;
};

Result<void> Reader::read_wiring() {
  const auto outside = [&](const onnx::Tensor &tensor) -> Result<void> {
    if (tensor.data_location() != 0) {
      return fail(ErrorCode::kUnsupported,
                  "{}: the weights '{}' lie in a file of their own (external data); save the model "
                  "as one file",
                  name_, brief(tensor.name()));
    }
    return {};
  };
  for (const onnx::Tensor &tensor : graph_.initializer()) {
    KESTREL_TRY(outside(tensor));
    constants_.insert(tensor.name());
  }
  for (const onnx::SparseTensor &tensor : graph_.sparse_initializer()) {
    constants_.insert(tensor.values().name());
  }
  for (const onnx::Node &node : graph_.node()) { // in order of execution
    bool constant = op_of(node) == "Constant";
    if (const onnx::Attribute *value = attribute(node, "value"); constant && value != nullptr) {
      KESTREL_TRY(outside(value->t()));
    }
    constant = constant || (node.input_size() > 0 &&
                            std::all_of(node.input().begin(), node.input().end(),
                                        [&](const std::string &tensor) {
                                          return tensor.empty() || constants_.contains(tensor);
                                        }));
    for (const std::string &tensor : node.input()) {
      if (!tensor.empty()) {
        consumers_[tensor].push_back(&node);
      }
    }
    for (const std::string &tensor : node.output()) {
      if (tensor.empty()) {
        continue;
      }
      if (constant) {
        constants_.insert(tensor);
      }
      if (!producers_.emplace(tensor, &node).second) {
        return fail(ErrorCode::kParse, "{}: two nodes of the ONNX graph write '{}'", name_,
                    brief(tensor));
      }
    }
  }
  return {};
}

/// Whether images lie as height, width, channels, told by the first operators that care. Asked only
/// where the declared extents leave it open.
Result<bool> Reader::channels_last_by_use(const std::string &tensor, bool one_channel,
                                          const std::string &declared) const {
  std::vector<std::string> open{tensor};
  std::set<std::string> seen;
  std::optional<bool> last;
  while (!open.empty()) {
    const std::string at = open.back();
    open.pop_back();
    if (!seen.insert(at).second) {
      continue;
    }
    const auto users = consumers_.find(at);
    if (users == consumers_.end()) {
      continue;
    }
    for (const onnx::Node *node : users->second) {
      const std::string op = op_of(*node);
      std::optional<bool> here;
      if (is_in(op, {"Identity", "Cast", "Add", "Sub", "Mul", "Div", "Clip", "Dropout"})) {
        open.insert(open.end(), node->output().begin(), node->output().end());
        continue;
      }
      if (op == "Transpose") {
        const onnx::Attribute *perm = attribute(*node, "perm");
        const std::vector<std::int64_t> order =
            perm == nullptr ? std::vector<std::int64_t>{}
                            : std::vector<std::int64_t>(perm->ints().begin(), perm->ints().end());
        if (order == std::vector<std::int64_t>{0, 3, 1, 2}) {
          here = true;
        }
      } else if (is_in(op, {"Conv", "ConvInteger", "BatchNormalization", "InstanceNormalization",
                            "MaxPool", "AveragePool", "GlobalAveragePool", "LRN"})) {
        here = false; // the standard has channels first
      } else if (one_channel && is_in(op, {"Reshape", "Flatten"})) {
        continue; // one channel: the same values in the same order
      }
      if (!here || (last && *last != *here)) {
        return fail(ErrorCode::kShapeMismatch,
                    "{}: input '{}' is declared {}, and {} does not tell whether channels come "
                    "first; declare the extents of an image",
                    name_, brief(tensor), declared, described(*node));
      }
      last = here;
    }
  }
  return last.value_or(false);
}

/// Whether a tensor only ever gets converted to floating point (and moved before).
bool Reader::only_cast(const std::string &tensor) const {
  std::vector<std::string> open{tensor};
  std::set<std::string> seen;
  while (!open.empty()) {
    const std::string at = open.back();
    open.pop_back();
    const auto users = consumers_.find(at);
    if (users == consumers_.end() || !seen.insert(at).second) {
      return false;
    }
    for (const onnx::Node *node : users->second) {
      const std::string op = op_of(*node);
      const onnx::Attribute *to = attribute(*node, "to");
      if (op == "Cast" && to != nullptr && is_float(to->i())) {
        continue;
      }
      if (!is_in(op, {"Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"}) ||
          node->output_size() != 1) {
        return false;
      }
      open.push_back(node->output(0));
    }
  }
  return true;
}

Result<void> Reader::read_input(std::span<const std::int64_t> image) {
  std::vector<const onnx::ValueInfo *> inputs; // before IR version 4 weights are listed as well
  std::string names;
  for (const onnx::ValueInfo &value : graph_.input()) {
    if (!constants_.contains(value.name())) {
      inputs.push_back(&value);
      names += (names.empty() ? "'" : ", '") + brief(value.name()) + "'";
    }
  }
  if (inputs.size() != 1) {
    return fail(ErrorCode::kUnsupported, "{}: {} inputs{}{}; a classifier with one is supported",
                name_, inputs.size(), names.empty() ? "" : ": ", brief(names));
  }
  input_ = inputs.front()->name();
  if (!inputs.front()->type().has_tensor_type()) {
    return fail(ErrorCode::kUnsupported, "{}: input '{}' is not a tensor", name_, brief(input_));
  }
  const auto &type = inputs.front()->type().tensor_type();
  const Declared declared = declared_shape(type);
  const std::string what = fmt::format("input '{}' is declared {} {}", brief(input_),
                                       type_name(type.elem_type()), declared.text);

  out_.grey_levels = type.elem_type() == kUint8;
  if (out_.grey_levels && !only_cast(input_)) {
    return fail(ErrorCode::kUnsupported,
                "{}: {} and computes with UINT8; only a conversion to floating point is supported",
                name_, what);
  }
  if (!out_.grey_levels && type.elem_type() != kFloat && type.elem_type() != kFloat16 &&
      type.elem_type() != kDouble) {
    return fail(ErrorCode::kUnsupported,
                "{}: {}; FLOAT, FLOAT16, DOUBLE (0..1) and UINT8 (0..255) are supported", name_,
                what);
  }

  // How one image may lie there. With one channel the shorter forms mean the same.
  const std::vector<std::int64_t> first(image.begin(), image.end());
  const std::vector<std::int64_t> last{image[1], image[2], image[0]};
  std::vector<std::vector<std::int64_t>> forms{first};
  if (last != first) {
    forms.push_back(last);
  }
  if (image[0] == 1) {
    forms.push_back({image[1], image[2]});
    forms.push_back({image[1] * image[2]});
  }
  std::vector<std::vector<std::int64_t>> fitting;
  for (const auto &form : forms) {
    bool fits = !declared.known || declared.extents.size() == form.size() + 1;
    for (std::size_t i = 0; declared.known && fits && i < form.size(); ++i) {
      fits = declared.extents[i + 1] < 0 || declared.extents[i + 1] == form[i];
    }
    if (fits && (declared.known || form.size() == 3)) {
      fitting.push_back(form);
    }
  }
  if (fitting.empty()) {
    return fail(ErrorCode::kShapeMismatch, "{}: {}; supported are [N, {}], [N, {}]{}", name_, what,
                fmt::join(first, ", "), fmt::join(last, ", "),
                image[0] == 1 ? fmt::format(", [N, {}, {}] and [N, {}]", image[1], image[2],
                                            image[1] * image[2])
                              : "");
  }
  out_.image = fitting.front();
  if (fitting.size() > 1) {
    KESTREL_ASSIGN(const bool channels_last,
                   channels_last_by_use(input_, image[0] == 1, declared.text));
    out_.image = channels_last ? last : first;
  }
  out_.channels_last = out_.image == last && last != first;
  if (declared.known && declared.extents.front() > 0) {
    if (declared.extents.front() > kMaxFixedBatch) {
      return fail(ErrorCode::kResourceLimit, "{}: {}: a fixed batch of {} images, at most {}",
                  name_, what, declared.extents.front(), kMaxFixedBatch);
    }
    out_.batch = static_cast<std::size_t>(declared.extents.front());
  }
  return {};
}

Result<void> Reader::read_output(std::int64_t classes) {
  if (graph_.output_size() != 1) {
    std::string names;
    for (const onnx::ValueInfo &value : graph_.output()) {
      names += (names.empty() ? "'" : ", '") + brief(value.name()) + "'";
    }
    return fail(ErrorCode::kUnsupported, "{}: {} outputs{}{}; a classifier with one is supported",
                name_, graph_.output_size(), names.empty() ? "" : ": ", brief(names));
  }
  const onnx::ValueInfo &value = graph_.output(0);
  const onnx::Node *node = producer(value.name());
  if (node == nullptr || constants_.contains(value.name())) {
    return fail(ErrorCode::kUnsupported, "{}: no operator computes the output '{}'", name_,
                brief(value.name()));
  }
  // OpenCV gives the first output of the last operator, so that has to be the graph's output.
  if (node->output(0) != value.name()) {
    return fail(ErrorCode::kUnsupported, "{}: the output '{}' is not the first result of {}", name_,
                brief(value.name()), described(*node));
  }
  if (!value.has_type()) {
    return {};
  }
  if (!value.type().has_tensor_type()) {
    return fail(ErrorCode::kUnsupported, "{}: output '{}' is not a tensor", name_,
                brief(value.name()));
  }
  const auto &type = value.type().tensor_type();
  const Declared declared = declared_shape(type);
  const std::string what = fmt::format("output '{}' is declared {} {}", brief(value.name()),
                                       type_name(type.elem_type()), declared.text);
  if (type.elem_type() != 0 && !is_float(type.elem_type())) {
    return fail(ErrorCode::kUnsupported, "{}: {}; floating-point scores of the classes are needed",
                name_, what);
  }
  std::int64_t count = 1;
  bool open = declared.extents.size() < 2;
  for (std::size_t i = 1; i < declared.extents.size(); ++i) {
    open = open || declared.extents[i] < 0 ||
           count > std::numeric_limits<std::int64_t>::max() / declared.extents[i];
    count = open ? count : count * declared.extents[i];
  }
  if (!open && count != classes) {
    return fail(ErrorCode::kShapeMismatch, "{}: {}; scores of {} classes are needed", name_, what,
                classes);
  }
  return {};
}

/// \param sum what adds up the exponentials of `terms`.
std::optional<WrittenOut> Reader::written_out(const onnx::Node &sum, const std::string &terms,
                                              bool log) const {
  const auto axis = reduced_axis(graph_, sum);
  if (!axis) {
    return std::nullopt;
  }
  std::string input = source(terms);
  // Exporters take the maximum off first, so that no exponential overflows; Softmax does, too.
  if (const onnx::Node *less = computed_by(input, "Sub"); less != nullptr) {
    const onnx::Node *top =
        less->input_size() == 2 ? computed_by(less->input(1), "ReduceMax") : nullptr;
    if (is_sum_of(top, less->input(0)) && reduced_axis(graph_, *top) == axis) {
      input = source(less->input(0));
    }
  }
  return WrittenOut{input, log, *axis};
}

std::optional<WrittenOut> Reader::written_out(const onnx::Node &node) const {
  if (node.input_size() != 2) {
    return std::nullopt;
  }
  const std::string &a = node.input(0);
  const std::string &b = node.input(1);
  const std::string op = op_of(node);
  const auto quotient = [&](const std::string &terms,
                            const std::string &divisor) -> std::optional<WrittenOut> {
    const onnx::Node *exp = computed_by(terms, "Exp");
    const onnx::Node *sum = computed_by(divisor, "ReduceSum");
    return exp != nullptr && is_sum_of(sum, terms) ? written_out(*sum, exp->input(0), false)
                                                   : std::nullopt;
  };
  if (op == "Div") {
    return quotient(a, b);
  }
  if (op == "Mul") {
    for (const auto &[terms, factor] : {std::pair(a, b), std::pair(b, a)}) {
      if (const onnx::Node *reciprocal = computed_by(factor, "Reciprocal")) {
        return quotient(terms, reciprocal->input(0));
      }
    }
  }
  if (op == "Sub") {
    if (const onnx::Node *all = computed_by(b, "ReduceLogSumExp"); is_sum_of(all, a)) {
      return written_out(*all, a, true);
    }
    const onnx::Node *log = computed_by(b, "Log");
    const onnx::Node *sum = log == nullptr ? nullptr : computed_by(log->input(0), "ReduceSum");
    const onnx::Node *exp = sum == nullptr ? nullptr : computed_by(sum->input(0), "Exp");
    if (is_sum_of(exp, a)) {
      return written_out(*sum, a, true);
    }
  }
  return std::nullopt;
}

/// Walks from the output towards the input until operators decide what the values mean.
Result<void> Reader::read_scores() {
  struct Place {
    std::string tensor;
    bool computed; ///< arithmetic lies between here and the output
    int log;       ///< logarithms less exponentials between here and the output
    // clang-tidy 14 takes the zero that the compiler writes into it for a null pointer.
    auto operator<=>(const Place &) const = default; // NOLINT(modernize-use-nullptr)
  };
  const onnx::Node *softmax = nullptr;
  const onnx::Node *log_softmax = nullptr;
  const onnx::Node *layer = nullptr;
  std::vector<Place> open{{graph_.output(0).name(), false, 0}};
  std::set<Place> seen;
  const auto refuse = [&](const onnx::Node &node, std::string_view why) {
    return fail(ErrorCode::kUnsupported,
                "{}: the network ends in {}{}; a classifier that ends in logits, softmax or "
                "log-softmax is needed",
                name_, described(node), why);
  };
  while (!open.empty()) {
    const Place at = open.back();
    open.pop_back();
    if (!seen.insert(at).second || constants_.contains(at.tensor)) {
      continue;
    }
    const onnx::Node *node = producer(at.tensor);
    if (node == nullptr) {
      return fail(ErrorCode::kUnsupported,
                  "{}: no layer lies between '{}' and the output; this is not a classifier", name_,
                  brief(at.tensor));
    }
    const std::string op = op_of(*node);
    const std::optional<WrittenOut> parts = written_out(*node);
    const bool is_softmax = op == "Softmax" || (parts && !parts->log);
    const bool is_log_softmax = op == "LogSoftmax" || (parts && parts->log);
    if (is_softmax || is_log_softmax) {
      const int log = at.log + (is_log_softmax ? 1 : 0);
      if (log < 0 || log > 1 || (log == 1 && at.computed)) {
        return refuse(*node, " and more behind it");
      }
      (log == 1 ? log_softmax : softmax) = node;
      ends_.insert(node->output(0));
      if (parts) {
        written_out_.emplace(node->output(0), *parts);
      }
      continue;
    }
    if (node->input_size() < 1) {
      return refuse(*node, "");
    }
    if (is_layer(op)) {
      if (at.log != 0) {
        return refuse(*node, at.log > 0 ? " and a logarithm" : " and an exponential");
      }
      layer = node;
      continue;
    }
    const onnx::Attribute *to = attribute(*node, "to");
    if (moves_data(op) || (op == "Cast" && to != nullptr && is_float(to->i()))) {
      open.push_back({node->input(0), at.computed, at.log});
    } else if ((op == "Log" || op == "Exp") && !at.computed && at.log == 0) {
      open.push_back({node->input(0), false, op == "Log" ? 1 : -1});
    } else if (is_arithmetic(op) && at.log == 0) {
      for (const std::string &tensor : node->input()) {
        if (!tensor.empty()) {
          open.push_back({tensor, true, 0});
        }
      }
    } else {
      return refuse(*node, op == "Sigmoid" ? ": a probability of its own for each class, which is "
                                             "no distribution over the classes"
                                           : "");
    }
  }
  if (log_softmax != nullptr && (softmax != nullptr || layer != nullptr)) {
    return refuse(*log_softmax, " on one way and something else on another");
  }
  const onnx::Node *last = softmax != nullptr       ? softmax
                           : log_softmax != nullptr ? log_softmax
                                                    : layer;
  if (last == nullptr) {
    return fail(ErrorCode::kUnsupported, "{}: the output does not depend on a layer", name_);
  }
  out_.scores = softmax != nullptr       ? Scores::kProbabilities
                : log_softmax != nullptr ? Scores::kLogProbabilities
                                         : Scores::kLogits;
  out_.last = described(*last);
  return {};
}

/// OpenCV 4.6 takes a Gemm for one whose weights are stored transposed, whatever "transB" says, and
/// pays no attention to "transA", "alpha" and "beta". The plain one is given to it as MatMul and
/// Add.
Result<void> rewrite_gemm(onnx::Graph &graph, const std::string &name) {
  auto nodes = graph.node();
  graph.clear_node();
  for (onnx::Node &node : nodes) {
    if (op_of(node) != "Gemm") {
      graph.add_node()->Swap(&node);
      continue;
    }
    const onnx::Attribute *trans_a = attribute(node, "transA");
    const onnx::Attribute *trans_b = attribute(node, "transB");
    bool plain = trans_a == nullptr || trans_a->i() == 0;
    for (const char *factor : {"alpha", "beta"}) {
      const onnx::Attribute *a = attribute(node, factor);
      plain = plain && (a == nullptr || !a->has_f() || a->f() == 1.0F);
    }
    if (!plain) {
      return fail(ErrorCode::kUnsupported,
                  "{}: Gemm (node '{}') with transA, alpha or beta is not supported", name,
                  brief(node.name()));
    }
    if ((trans_b != nullptr && trans_b->i() != 0) || node.input_size() < 2 ||
        node.output_size() != 1) {
      graph.add_node()->Swap(&node);
      continue;
    }
    onnx::Node &product = *graph.add_node();
    product.set_op_type("MatMul");
    product.add_input(node.input(0));
    product.add_input(node.input(1));
    product.set_name(node.output(0) + "/product");
    product.add_output(node.output(0));
    if (node.input_size() > 2 && !node.input(2).empty()) {
      product.set_output(0, node.output(0) + "/product");
      onnx::Node &sum = *graph.add_node();
      sum.set_op_type("Add");
      sum.set_name(node.output(0) + "/sum");
      sum.add_input(product.output(0));
      sum.add_input(node.input(2));
      sum.add_output(node.output(0));
    }
  }
  return {};
}

/// Since operator set 13 these take their axes as an input, which OpenCV 4.6 does not know.
void axes_as_attribute(onnx::Graph &graph) {
  for (onnx::Node &node : *graph.mutable_node()) {
    if (!is_in(op_of(node), {"Squeeze", "Unsqueeze", "ReduceSum"}) || node.input_size() != 2 ||
        attribute(node, "axes") != nullptr) {
      continue;
    }
    const auto axes = whole_numbers(graph, node.input(1));
    if (!axes || axes->empty()) {
      continue;
    }
    node.mutable_input()->RemoveLast();
    onnx::Attribute &a = *node.add_attribute();
    a.set_name("axes");
    a.set_type(7); // integers
    a.mutable_ints()->Assign(axes->begin(), axes->end());
  }
}

/// Refuses what OpenCV 4.6 is known to compute in another way without saying so, and fills in a
/// default that it has wrong.
Result<void> mend_operators(onnx::Model &model, const Reader &reader, const std::string &name) {
  std::int64_t opset = 1;
  for (const onnx::OperatorSet &set : model.opset_import()) {
    opset = set.domain().empty() || set.domain() == "ai.onnx" ? set.version() : opset;
  }
  for (onnx::Node &node : *model.mutable_graph()->mutable_node()) {
    const std::string op = op_of(node);
    const auto refuse = [&](std::string_view what) {
      return fail(ErrorCode::kUnsupported, "{}: {} {} is not supported", name,
                  Reader::described(node), what);
    };
    const onnx::Attribute *auto_pad = attribute(node, "auto_pad");
    if (auto_pad != nullptr && auto_pad->s() == "SAME_LOWER") {
      return refuse("with auto_pad SAME_LOWER");
    }
    if (op == "AveragePool") {
      const onnx::Attribute *include = attribute(node, "count_include_pad");
      const onnx::Attribute *pads = attribute(node, "pads");
      const bool padded =
          (auto_pad != nullptr && auto_pad->s() == "SAME_UPPER") ||
          (pads != nullptr && std::any_of(pads->ints().begin(), pads->ints().end(),
                                          [](std::int64_t pad) { return pad != 0; }));
      if (include != nullptr && include->i() != 0 && padded) {
        return refuse("with count_include_pad");
      }
    }
    if (op == "MatMul" && node.input_size() == 2 && !reader.is_constant(node.input(0)) &&
        !reader.is_constant(node.input(1))) {
      return refuse("of two computed operands");
    }
    if (op == "Softmax" || op == "LogSoftmax") {
      const onnx::Attribute *axis = attribute(node, "axis");
      if (opset >= 13 && axis == nullptr) {
        onnx::Attribute &last = *node.add_attribute();
        last.set_name("axis");
        last.set_type(2);
        last.set_i(-1);
      } else if (opset < 13 && (axis == nullptr || axis->i() != -1) &&
                 !reader.ends().contains(node.output(0))) {
        return refuse("in the middle of a network, over an axis other than -1 and all behind it,");
      }
    }
  }
  return {};
}

/// Puts the operator itself where its parts were.
void put_together(onnx::Graph &graph, const std::map<std::string, WrittenOut> &parts) {
  for (onnx::Node &node : *graph.mutable_node()) {
    const auto part = node.output_size() == 1 ? parts.find(node.output(0)) : parts.end();
    if (part == parts.end()) {
      continue;
    }
    node.set_op_type(part->second.log ? "LogSoftmax" : "Softmax");
    node.clear_input();
    node.add_input(part->second.input);
    node.clear_attribute();
    onnx::Attribute &axis = *node.add_attribute();
    axis.set_name("axis");
    axis.set_type(2);
    axis.set_i(part->second.axis);
  }
}

/// Takes out what leads to no output: OpenCV takes every end for an output.
void prune(onnx::Graph &graph) {
  std::set<std::string, std::less<>> needed{graph.output(0).name()};
  auto nodes = graph.node();
  std::vector<onnx::Node *> kept; // from the output backwards
  for (int i = nodes.size() - 1; i >= 0; --i) {
    onnx::Node &node = *nodes.Mutable(i);
    if (std::any_of(node.output().begin(), node.output().end(),
                    [&](const std::string &tensor) { return needed.contains(tensor); })) {
      needed.insert(node.input().begin(), node.input().end());
      kept.push_back(&node);
    }
  }
  graph.clear_node();
  for (auto node = kept.rbegin(); node != kept.rend(); ++node) {
    graph.add_node()->Swap(*node);
  }
}

/// Gives the input the extents found, where the file leaves them open: OpenCV needs them to place
/// channels.
void fill_in_extents(onnx::Graph &graph, const std::string &input,
                     const OnnxClassifier &classifier) {
  for (onnx::ValueInfo &value : *graph.mutable_input()) {
    if (value.name() != input) {
      continue;
    }
    auto &shape = *value.mutable_type()->mutable_tensor_type()->mutable_shape();
    while (shape.dim_size() < static_cast<int>(classifier.image.size()) + 1) {
      shape.add_dim();
    }
    for (std::size_t i = 0; i < classifier.image.size(); ++i) {
      shape.mutable_dim(static_cast<int>(i) + 1)->set_dim_value(classifier.image[i]);
    }
  }
}

} // namespace

Result<OnnxClassifier> read_onnx_classifier(std::span<const std::uint8_t> bytes,
                                            const std::string &name,
                                            std::span<const std::int64_t> image_shape,
                                            std::int64_t classes) {
  KESTREL_ASSIGN(onnx::Model model, parse_onnx(bytes, name));
  if (image_shape.size() != 3) {
    return fail(ErrorCode::kInvalidArgument, "{}: the image shape is not channels, height, width",
                name);
  }
  Reader reader(model.graph(), name);
  KESTREL_ASSIGN(OnnxClassifier out, reader.read(image_shape, classes));
  KESTREL_TRY(check_onnx(model.graph(), name));
  fill_in_extents(*model.mutable_graph(), reader.input(), out);
  put_together(*model.mutable_graph(), reader.parts());
  prune(*model.mutable_graph());
  KESTREL_TRY(mend_operators(model, reader, name));
  KESTREL_TRY(rewrite_gemm(*model.mutable_graph(), name));
  axes_as_attribute(*model.mutable_graph());
  out.model = model.SerializeAsString();
  return out;
}

} // namespace kestrel::serve
