// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Source: ONNX IR specification and operator schemas (opsets 1 to 21).
#include "serve/onnx_check.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "common/json.hpp"
#include "serve/onnx_classifier.hpp"

namespace kestrel::serve {
namespace {

constexpr int kMaxNodes = 20000;
constexpr int kMaxRank = 8;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 31; ///< of one tensor, as of the file
constexpr std::int64_t kMaxExtent = std::int64_t{1} << 31;
constexpr std::int64_t kMaxWindow = 4096; ///< kernel, stride, dilation, pad

/// Bytes of one element; 0 for types that are not read.
std::size_t element_bytes(std::int32_t type) {
  constexpr std::array<std::uint8_t, 17> kBytes{0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2};
  return type >= 0 && static_cast<std::size_t>(type) < kBytes.size()
             ? kBytes[static_cast<std::size_t>(type)]
             : 0;
}

/// How many inputs the standard operators have that OpenCV reads by their place.
struct Arity {
  std::string_view op;
  int least;
  int most;
};
constexpr int kAny = std::numeric_limits<int>::max();
constexpr std::array<Arity, 67> kArities{{
    {"Abs", 1, 1},
    {"Add", 2, 2},
    {"ArgMax", 1, 1},
    {"ArgMin", 1, 1},
    {"AveragePool", 1, 1},
    {"BatchNormalization", 5, 5},
    {"Cast", 1, 1},
    {"Ceil", 1, 1},
    {"Celu", 1, 1},
    {"Clip", 1, 3},
    {"Concat", 1, kAny},
    {"Constant", 0, 0},
    {"ConstantOfShape", 1, 1},
    {"Conv", 2, 3},
    {"ConvTranspose", 2, 3},
    {"DequantizeLinear", 2, 3},
    {"Div", 2, 2},
    {"Dropout", 1, 3},
    {"Elu", 1, 1},
    {"Equal", 2, 2},
    {"Erf", 1, 1},
    {"Exp", 1, 1},
    {"Expand", 2, 2},
    {"Flatten", 1, 1},
    {"Floor", 1, 1},
    {"Gather", 2, 2},
    {"Gemm", 2, 3},
    {"GlobalAveragePool", 1, 1},
    {"GlobalMaxPool", 1, 1},
    {"HardSigmoid", 1, 1},
    {"HardSwish", 1, 1},
    {"Identity", 1, 1},
    {"InstanceNormalization", 3, 3},
    {"LRN", 1, 1},
    {"LSTM", 3, 8},
    {"LeakyRelu", 1, 1},
    {"Log", 1, 1},
    {"LogSoftmax", 1, 1},
    {"MatMul", 2, 2},
    {"Max", 1, kAny},
    {"MaxPool", 1, 1},
    {"Mean", 1, kAny},
    {"Min", 1, kAny},
    {"Mul", 2, 2},
    {"Neg", 1, 1},
    {"PRelu", 2, 2},
    {"Pad", 1, 4},
    {"Pow", 2, 2},
    {"QuantizeLinear", 2, 3},
    {"Reciprocal", 1, 1},
    {"Relu", 1, 1},
    {"Reshape", 1, 2},
    {"Resize", 1, 4},
    {"Shape", 1, 1},
    {"Sigmoid", 1, 1},
    {"Slice", 1, 5},
    {"Softmax", 1, 1},
    {"Softplus", 1, 1},
    {"Split", 1, 2},
    {"Sqrt", 1, 1},
    {"Squeeze", 1, 2},
    {"Sub", 2, 2},
    {"Sum", 1, kAny},
    {"Tanh", 1, 1},
    {"Transpose", 1, 1},
    {"Unsqueeze", 1, 2},
    {"Upsample", 1, 2},
}};

class Checker {
public:
  Checker(const onnx::Graph &graph, const std::string &file) : graph_(graph), file_(file) {}

  Result<void> run() {
    if (graph_.node_size() > kMaxNodes || graph_.initializer_size() > kMaxNodes ||
        graph_.input_size() > kMaxNodes || graph_.output_size() > kMaxNodes) {
      return bad("the graph",
                 fmt::format("more than {} nodes, constants, inputs or outputs", kMaxNodes));
    }
    if (graph_.output_size() == 0) {
      return bad("the graph", "it has no output");
    }
    std::set<std::string_view> known{""};
    for (const onnx::ValueInfo &input : graph_.input()) {
      known.insert(input.name());
    }
    for (const onnx::Tensor &tensor : graph_.initializer()) {
      KESTREL_TRY(tensor_of(tensor, "constant"));
      known.insert(tensor.name());
      constants_.insert_or_assign(tensor.name(), &tensor);
    }
    for (const onnx::SparseTensor &tensor : graph_.sparse_initializer()) {
      known.insert(tensor.values().name());
    }
    for (const onnx::Node &node : graph_.node()) {
      for (const std::string &input : node.input()) {
        if (!known.contains(input)) {
          return bad(title(node),
                     fmt::format("its input '{}' is made by nothing before it", shortened(input)));
        }
      }
      KESTREL_TRY(check(node));
      for (const std::string &output : node.output()) {
        if (!output.empty() && !known.insert(output).second) {
          return bad(title(node), fmt::format("its output '{}' exists already", shortened(output)));
        }
      }
    }
    for (const onnx::ValueInfo &output : graph_.output()) {
      if (output.name().empty() || !known.contains(output.name())) {
        return bad("the graph",
                   fmt::format("nothing makes its output '{}'", shortened(output.name())));
      }
    }
    return {};
  }

private:
  [[nodiscard]] Error bad(const std::string &what, const std::string &why) const {
    return fail(ErrorCode::kParse, "{}: {}: {}", file_, what, why);
  }
  static std::string title(const onnx::Node &node) {
    return fmt::format("node '{}' ({})", shortened(node.name()), shortened(node.op_type()));
  }

  /// Extents and data agree.
  Result<void> tensor_of(const onnx::Tensor &t, const char *what) const {
    const std::string name = fmt::format("{} '{}'", what, shortened(t.name()));
    if (t.dims_size() > kMaxRank) {
      return bad(name, fmt::format("{} dimensions; at most {} are read", t.dims_size(), kMaxRank));
    }
    std::uint64_t count = 1;
    for (const std::int64_t extent : t.dims()) {
      if (extent < 0 || extent > kMaxExtent) {
        return bad(name, fmt::format("an extent of {}", extent));
      }
      count *= static_cast<std::uint64_t>(extent);
      if (count > kMaxBytes) {
        return bad(name, "its extents multiply to more than 2^31");
      }
    }
    if (t.data_location() == 1) {
      return {}; // refused by name later
    }
    const std::size_t size = element_bytes(t.data_type());
    if (size == 0) {
      return bad(name, fmt::format("element type {}", t.data_type()));
    }
    // Exactly one field holds the values, as many as the extents say.
    const std::array<std::uint64_t, 6> held = {t.raw_data().size() / size,
                                               static_cast<std::uint64_t>(t.float_data_size()),
                                               static_cast<std::uint64_t>(t.int32_data_size()),
                                               static_cast<std::uint64_t>(t.int64_data_size()),
                                               static_cast<std::uint64_t>(t.double_data_size()),
                                               static_cast<std::uint64_t>(t.uint64_data_size())};
    if (t.raw_data().size() % size != 0 ||
        std::any_of(held.begin(), held.end(),
                    [&](std::uint64_t n) { return n != 0 && n != count; }) ||
        (count != 0 && std::count(held.begin(), held.end(), count) != 1)) {
      return bad(name,
                 fmt::format("its extents say {} values, its data hold another number", count));
    }
    const bool right_field =
        !t.raw_data().empty() || count == 0 || (t.data_type() == 1 && t.float_data_size() != 0) ||
        (t.data_type() == 7 && t.int64_data_size() != 0) ||
        (t.data_type() == 11 && t.double_data_size() != 0) ||
        ((t.data_type() == 12 || t.data_type() == 13) && t.uint64_data_size() != 0) ||
        (t.data_type() != 1 && t.data_type() != 7 && t.data_type() != 11 &&
         t.int32_data_size() != 0);
    if (!right_field) {
      return bad(name, "its data are of another type than it says");
    }
    return {};
  }

  [[nodiscard]] const onnx::Tensor *constant(const onnx::Node &node, int input) const {
    if (input >= node.input_size()) {
      return nullptr;
    }
    const auto found = constants_.find(node.input(input));
    return found == constants_.end() ? nullptr : found->second;
  }

  Result<void> check(const onnx::Node &node) {
    const bool standard = node.domain().empty() || node.domain() == "ai.onnx";
    if (!standard) {
      return {}; // refused by name later
    }
    const std::string &op = node.op_type();
    const auto *arity =
        std::find_if(kArities.begin(), kArities.end(), [&](const Arity &a) { return a.op == op; });
    if (arity != kArities.end()) {
      const int n = node.input_size();
      if (n < arity->least || n > arity->most) {
        return bad(title(node), fmt::format("{} inputs", n));
      }
      for (int i = 0; i < std::min(arity->least, n); ++i) {
        if (node.input(i).empty()) {
          return bad(title(node), fmt::format("input {} is left out", i));
        }
      }
    }
    if (node.output_size() < 1 || node.output_size() > 64 || node.output(0).empty()) {
      return bad(title(node), fmt::format("{} outputs", node.output_size()));
    }
    for (const onnx::Attribute &attribute : node.attribute()) {
      KESTREL_TRY(check(node, attribute));
    }
    KESTREL_TRY(constants_fit(node));
    if (op == "Constant") {
      const onnx::Tensor *value = nullptr;
      int values = 0;
      for (const onnx::Attribute &attribute : node.attribute()) {
        value = attribute.has_t() ? &attribute.t() : value;
        values +=
            attribute.name().starts_with("value") || attribute.name() == "sparse_value" ? 1 : 0;
      }
      if (values != 1) {
        return bad(title(node), "it has no value");
      }
      if (value != nullptr) {
        constants_.insert_or_assign(node.output(0), value);
      }
    }
    return {};
  }

  Result<void> check(const onnx::Node &node, const onnx::Attribute &a) const {
    const std::string &name = a.name();
    const auto wrong = [&](const std::string &why) {
      return bad(title(node), fmt::format("attribute '{}': {}", shortened(name), why));
    };
    if (a.has_t()) {
      KESTREL_TRY(tensor_of(a.t(), "value"));
    }
    const auto whole = [&](std::int64_t low, std::int64_t high) -> Result<void> {
      if ((a.has_type() && a.type() != 2) || !a.has_i() || a.i() < low || a.i() > high) {
        return wrong(fmt::format("it is not one whole number of {}..{}", low, high));
      }
      return {};
    };
    const auto list = [&](int most, std::int64_t low, std::int64_t high) -> Result<void> {
      if ((a.has_type() && a.type() != 7) || a.ints_size() > most ||
          std::any_of(a.ints().begin(), a.ints().end(),
                      [&](std::int64_t v) { return v < low || v > high; })) {
        return wrong(
            fmt::format("it is not a list of at most {} whole numbers of {}..{}", most, low, high));
      }
      return {};
    };
    if (name == "kernel_shape" || name == "strides" || name == "dilations") {
      if (a.ints_size() < 1) {
        return wrong("it is empty");
      }
      return list(3, 1, kMaxWindow);
    }
    if (name == "pads") {
      if (a.ints_size() % 2 != 0) {
        return wrong("an odd number of pads");
      }
      return list(2 * kMaxRank, -kMaxWindow, kMaxWindow);
    }
    if (name == "output_padding" || name == "output_shape") {
      return list(3, 0, kMaxWindow);
    }
    if (name == "group") {
      return whole(1, 65536);
    }
    if (name == "axis") {
      return whole(-kMaxRank, kMaxRank);
    }
    if (name == "axes") {
      return list(kMaxRank, -kMaxRank, kMaxRank - 1);
    }
    if (name == "perm") {
      KESTREL_TRY(list(kMaxRank, 0, kMaxRank - 1));
      const std::set<std::int64_t> different(a.ints().begin(), a.ints().end());
      if (static_cast<int>(different.size()) != a.ints_size() ||
          (!different.empty() && *different.rbegin() != a.ints_size() - 1)) {
        return wrong("it is no permutation");
      }
      return {};
    }
    if (name == "shape") {
      return list(kMaxRank, -1, kMaxExtent);
    }
    if (name == "split") {
      return list(64, 0, kMaxExtent);
    }
    if (name == "starts" || name == "ends") {
      return list(kMaxRank, std::numeric_limits<std::int64_t>::min(),
                  std::numeric_limits<std::int64_t>::max());
    }
    return {};
  }

  /// Constants have the shape that their operator gives them.
  Result<void> constants_fit(const onnx::Node &node) const {
    const std::string &op = node.op_type();
    const auto wrong = [&](int input, const char *needed) {
      return bad(title(node), fmt::format("input {} is a constant of [{}], not of {}", input,
                                          fmt::join(constant(node, input)->dims(), ", "), needed));
    };
    const auto elements = [](const onnx::Tensor &t) {
      std::int64_t n = 1;
      for (const std::int64_t extent : t.dims()) {
        n *= extent;
      }
      return n;
    };
    const auto empty = [&](int input) {
      const onnx::Tensor *t = constant(node, input);
      return t != nullptr && elements(*t) == 0;
    };
    if (op == "Conv" || op == "ConvTranspose") {
      const onnx::Tensor *weights = constant(node, 1);
      std::int64_t group = 1;
      int spatial = 0;
      for (const onnx::Attribute &a : node.attribute()) {
        group = a.name() == "group" ? a.i() : group;
        const int n = a.name() == "pads"    ? a.ints_size() / 2
                      : is_window(a.name()) ? a.ints_size()
                                            : 0;
        if (n != 0 && spatial != 0 && n != spatial) {
          return bad(title(node), "kernel, strides, dilations and pads are of different rank");
        }
        spatial = n != 0 ? n : spatial;
      }
      if (weights != nullptr) {
        if (weights->dims_size() < 3 || weights->dims_size() > 5 || empty(1) ||
            (spatial != 0 && weights->dims_size() != spatial + 2)) {
          return wrong(1, "3 to 5 dimensions that fit the attributes");
        }
        for (const onnx::Attribute &a : node.attribute()) {
          if (a.name() == "kernel_shape" &&
              !std::equal(a.ints().begin(), a.ints().end(), weights->dims().begin() + 2,
                          weights->dims().end())) {
            return wrong(1, "kernel_shape");
          }
        }
        const std::int64_t outputs = op == "Conv" ? weights->dims(0) : weights->dims(1) * group;
        if (weights->dims(0) % group != 0) {
          return wrong(1, "a multiple of group");
        }
        if (const onnx::Tensor *bias = constant(node, 2);
            bias != nullptr && elements(*bias) != outputs) {
          return wrong(2, "as many values as outputs");
        }
      }
    } else if (op == "AveragePool" || op == "MaxPool") {
      int kernel = 0;
      for (const onnx::Attribute &a : node.attribute()) {
        kernel = a.name() == "kernel_shape" ? a.ints_size() : kernel;
      }
      if (kernel == 0) {
        return bad(title(node), "kernel_shape is missing");
      }
      for (const onnx::Attribute &a : node.attribute()) {
        const int n = a.name() == "pads"    ? a.ints_size() / 2
                      : is_window(a.name()) ? a.ints_size()
                                            : kernel;
        if (n != kernel) {
          return bad(title(node), "kernel, strides, dilations and pads are of different rank");
        }
      }
    } else if (op == "Gemm") {
      if (const onnx::Tensor *b = constant(node, 1);
          b != nullptr && (b->dims_size() != 2 || empty(1))) {
        return wrong(1, "two dimensions");
      }
      if (empty(2)) {
        return wrong(2, "values");
      }
    } else if (op == "MatMul") {
      if (const onnx::Tensor *b = constant(node, 1);
          b != nullptr && (b->dims_size() < 1 || empty(1))) {
        return wrong(1, "at least one dimension");
      }
    } else if (op == "BatchNormalization" || op == "InstanceNormalization") {
      std::optional<std::int64_t> channels;
      for (int i = 1; i < node.input_size(); ++i) {
        if (const onnx::Tensor *t = constant(node, i); t != nullptr) {
          if (t->dims_size() != 1 || empty(i) || (channels && *channels != t->dims(0))) {
            return wrong(i, "one value a channel");
          }
          channels = t->dims(0);
        }
      }
    } else if (op == "Reshape") {
      if (const onnx::Tensor *t = constant(node, 1);
          t != nullptr && (t->dims_size() != 1 || t->dims(0) > kMaxRank || t->data_type() != 7)) {
        return wrong(1, "at most 8 extents");
      }
    } else if (op == "PRelu" || op == "Add" || op == "Sub" || op == "Mul" || op == "Div" ||
               op == "Pow" || op == "Gather") {
      for (int i = 0; i < node.input_size(); ++i) {
        if (empty(i)) {
          return wrong(i, "values");
        }
      }
    }
    return {};
  }
  static bool is_window(std::string_view name) {
    return name == "kernel_shape" || name == "strides" || name == "dilations";
  }

  const onnx::Graph &graph_;
  const std::string &file_;
  std::map<std::string, const onnx::Tensor *, std::less<>> constants_;
};

} // namespace

Result<onnx::Model> parse_onnx(std::span<const std::uint8_t> bytes, const std::string &name) {
  onnx::Model model;
  if (bytes.empty() || bytes.size() > std::size_t{std::numeric_limits<int>::max()} ||
      !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || !model.has_graph() ||
      model.graph().node_size() == 0) {
    return fail(ErrorCode::kParse, "{}: not an ONNX model", name);
  }
  return model;
}

Result<void> check_onnx(const onnx::Graph &graph, const std::string &name) {
  return Checker(graph, name).run();
}

Result<void> check_onnx(std::span<const std::uint8_t> bytes, const std::string &name) {
  KESTREL_ASSIGN(const onnx::Model model, parse_onnx(bytes, name));
  return check_onnx(model.graph(), name);
}

} // namespace kestrel::serve
