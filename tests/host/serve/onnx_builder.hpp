// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Writes small ONNX models, so that tests need neither files nor the onnx package.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "onnx_subset.pb.h"

namespace kestrel::test {

enum OnnxType : std::int32_t {
  kOnnxFloat = 1,
  kOnnxUint8 = 2,
  kOnnxInt32 = 6,
  kOnnxInt64 = 7,
  kOnnxFloat16 = 10,
  kOnnxDouble = 11
};

/// A declared extent: a number, or a name ("" declares nothing).
struct OnnxDim {
  OnnxDim(std::int64_t extent) : value(extent) {} // NOLINT(google-explicit-constructor)
  OnnxDim(const char *symbol) : name(symbol) {}   // NOLINT(google-explicit-constructor)
  std::int64_t value = -1;
  std::string name;
};
using OnnxShape = std::vector<OnnxDim>;

class OnnxBuilder {
public:
  explicit OnnxBuilder(std::int64_t opset = 13) {
    model_.set_ir_version(8);
    model_.add_opset_import()->set_version(opset);
    model_.mutable_graph()->set_name("test");
  }

  OnnxBuilder &input(const std::string &name, const OnnxShape &shape,
                     std::int32_t type = kOnnxFloat) {
    declare(*model_.mutable_graph()->add_input(), name, type, shape);
    return *this;
  }
  OnnxBuilder &output(const std::string &name, const OnnxShape &shape,
                      std::int32_t type = kOnnxFloat) {
    declare(*model_.mutable_graph()->add_output(), name, type, shape);
    return *this;
  }
  /// Little-endian machines only, as the tests' others.
  template <typename T>
  OnnxBuilder &constant(const std::string &name, std::initializer_list<std::int64_t> dims,
                        const std::vector<T> &values, std::int32_t type) {
    onnx::Tensor &tensor = *model_.mutable_graph()->add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(type);
    for (const std::int64_t dim : dims) {
      tensor.add_dims(dim);
    }
    std::string bytes(values.size() * sizeof(T), '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    tensor.set_raw_data(bytes);
    return *this;
  }
  OnnxBuilder &floats(const std::string &name, std::initializer_list<std::int64_t> dims,
                      const std::vector<float> &values) {
    return constant(name, dims, values, kOnnxFloat);
  }
  OnnxBuilder &ints(const std::string &name, const std::vector<std::int64_t> &values) {
    return constant(name, {static_cast<std::int64_t>(values.size())}, values, kOnnxInt64);
  }
  OnnxBuilder &node(const std::string &op, std::initializer_list<const char *> inputs,
                    std::initializer_list<const char *> outputs, const std::string &domain = "") {
    onnx::Node &added = *model_.mutable_graph()->add_node();
    added.set_op_type(op);
    added.set_name(std::string(*outputs.begin()) + "_node");
    if (!domain.empty()) {
      added.set_domain(domain);
    }
    for (const char *tensor : inputs) {
      added.add_input(tensor);
    }
    for (const char *tensor : outputs) {
      added.add_output(tensor);
    }
    return *this;
  }
  /// Attributes of the node added last.
  OnnxBuilder &with(const std::string &name, std::int64_t value) {
    onnx::Attribute &a = attribute(name, 2);
    a.set_i(value);
    return *this;
  }
  OnnxBuilder &with_text(const std::string &name, const char *value) {
    attribute(name, 3).set_s(value);
    return *this;
  }
  OnnxBuilder &with(const std::string &name, std::initializer_list<std::int64_t> values) {
    onnx::Attribute &a = attribute(name, 7);
    for (const std::int64_t value : values) {
      a.add_ints(value);
    }
    return *this;
  }

  [[nodiscard]] onnx::Model &model() { return model_; }
  [[nodiscard]] std::vector<std::uint8_t> bytes() const {
    const std::string text = model_.SerializeAsString();
    return {text.begin(), text.end()};
  }

private:
  onnx::Attribute &attribute(const std::string &name, std::int32_t type) {
    onnx::Graph &graph = *model_.mutable_graph();
    onnx::Attribute &a = *graph.mutable_node(graph.node_size() - 1)->add_attribute();
    a.set_name(name);
    a.set_type(type);
    return a;
  }
  static void declare(onnx::ValueInfo &value, const std::string &name, std::int32_t type,
                      const OnnxShape &shape) {
    value.set_name(name);
    auto &tensor = *value.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(type);
    tensor.mutable_shape();
    for (const OnnxDim &dim : shape) {
      auto &declared = *tensor.mutable_shape()->add_dim();
      if (!dim.name.empty()) {
        declared.set_dim_param(dim.name);
      } else if (dim.value >= 0) {
        declared.set_dim_value(dim.value);
      }
    }
  }
  onnx::Model model_;
};

} // namespace kestrel::test
