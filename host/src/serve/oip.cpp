// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/oip.hpp"

#include <cmath>
#include <iterator>
#include <limits>
#include <type_traits>

#include "common/json.hpp"
#include <fmt/format.h>

namespace kestrel::serve {
namespace {

using Json = nlohmann::json;

Result<Json> parse_object(std::string_view text, std::uint64_t tree_bytes) {
  KESTREL_ASSIGN(Json json, parse_json(text, {kMaxJsonDepth, tree_bytes}));
  if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "the body is a JSON {}, not an object",
                json.type_name());
  }
  return json;
}

/// Leaves of `value` in order; arrays may nest up to `rank` levels.
template <typename Visit> bool flatten(const Json &value, std::size_t rank, Visit &&visit) {
  if (value.is_array()) {
    if (rank == 0) {
      return false;
    }
    for (const Json &item : value) {
      if (!flatten(item, rank - 1, visit)) {
        return false;
      }
    }
    return true;
  }
  return visit(value);
}

template <typename T>
Result<std::vector<T>> read_data(const Json &data, const std::string &name, std::size_t rank,
                                 std::size_t count) {
  std::vector<T> out;
  // The count comes from the peer: reserve no more than what the text really holds.
  out.reserve(data.size() < count ? data.size() : count);
  std::string wrong;
  const bool ok = flatten(data, rank, [&](const Json &item) {
    if (out.size() == count) {
      wrong = "more elements than its shape says";
      return false;
    }
    if constexpr (std::is_same_v<T, float>) {
      if (!item.is_number()) {
        wrong = fmt::format("element {} is a {}, not a number", out.size(), item.type_name());
        return false;
      }
      const double number = item.get<double>();
      if (!(std::abs(number) <= static_cast<double>(std::numeric_limits<float>::max()))) {
        wrong = fmt::format("element {} does not fit FP32", out.size());
        return false;
      }
      out.push_back(static_cast<float>(number));
    } else {
      if (!item.is_number_integer()) {
        wrong = fmt::format("element {} is not an integer", out.size());
        return false;
      }
      bool fits = true;
      std::int64_t number = 0;
      if (item.is_number_unsigned()) {
        const auto u = item.get<std::uint64_t>();
        fits = u <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
        number = fits ? static_cast<std::int64_t>(u) : 0;
      } else {
        number = item.get<std::int64_t>();
        fits = number >= static_cast<std::int64_t>(std::numeric_limits<T>::min()) &&
               number <= static_cast<std::int64_t>(std::numeric_limits<T>::max());
      }
      if (!fits) {
        wrong = fmt::format("element {} is outside {}..{}", out.size(),
                            +std::numeric_limits<T>::min(), +std::numeric_limits<T>::max());
        return false;
      }
      out.push_back(static_cast<T>(number));
    }
    return true;
  });
  if (!ok) {
    return fail(ErrorCode::kInvalidArgument, "tensor '{}': {}", shortened(name),
                wrong.empty() ? "data nested deeper than its shape" : wrong);
  }
  if (out.size() != count) {
    return fail(ErrorCode::kShapeMismatch, "tensor '{}': {} elements, its shape says {}", name,
                out.size(), count);
  }
  return out;
}

template <typename T> Result<TensorData> held(Result<std::vector<T>> data) {
  if (!data) {
    return std::move(data).error();
  }
  return TensorData(std::move(data).value());
}

Result<std::string> string_member(const Json &object, const char *key, std::string_view where) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_string()) {
    return fail(ErrorCode::kInvalidArgument, "{}: member \"{}\" (a string) is missing", where, key);
  }
  return it->get<std::string>();
}

/// A member, or nullptr when it is absent; null means absent.
const Json *member(const Json &object, const char *key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

/// No parameter is implemented. In a request each is refused by name, unless it turns an extension
/// off; what a server tells in its response is its own affair, but a tensor that travels outside of
/// the JSON is not there.
Result<void> check_parameters(const Json &object, const std::string &where, bool request) {
  const Json *parameters = member(object, "parameters");
  if (parameters == nullptr) {
    return {};
  }
  if (!parameters->is_object()) {
    return fail(ErrorCode::kInvalidArgument, "{}: \"parameters\" is not an object", where);
  }
  for (const auto &[key, value] : parameters->items()) {
    if (value.is_null() || (value.is_boolean() && !value.get<bool>())) {
      continue;
    }
    const bool outside = key == "binary_data_size" || key == "binary_data" ||
                         key == "binary_data_output" || key.starts_with("shared_memory_");
    if (outside) {
      return fail(ErrorCode::kUnsupported,
                  "{}: parameter \"{}\" is not supported; send and ask for JSON tensors", where,
                  key);
    }
    if (request) {
      return fail(ErrorCode::kUnsupported, "{}: parameter \"{}\" is not supported", where,
                  key.substr(0, 100));
    }
  }
  return {};
}

Result<Tensor> read_tensor(const Json &json, const std::string &where, bool request) {
  if (!json.is_object()) {
    return fail(ErrorCode::kInvalidArgument, "{} is not an object", where);
  }
  Tensor tensor;
  KESTREL_ASSIGN(tensor.name, string_member(json, "name", where));
  KESTREL_ASSIGN(const std::string datatype, string_member(json, "datatype", where));
  KESTREL_TRY(check_parameters(json, where, request));
  const auto shape = json.find("shape");
  if (shape == json.end() || !shape->is_array() || shape->empty() ||
      shape->size() > kMaxTensorRank) {
    return fail(ErrorCode::kInvalidArgument, "{}: \"shape\" is not an array of 1 to {} integers",
                where, kMaxTensorRank);
  }
  constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 31;
  std::uint64_t count = 1;
  for (const Json &extent : *shape) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() < 1 ||
        extent.get<std::uint64_t>() > kMaxElements ||
        (count *= extent.get<std::uint64_t>()) > kMaxElements) {
      return fail(
          ErrorCode::kInvalidArgument,
          "tensor '{}': its shape is not made of positive integers of a sensible size, but of {}",
          shortened(tensor.name), quote(extent));
    }
    tensor.shape.push_back(extent.get<std::int64_t>());
  }
  const auto data = json.find("data");
  if (data == json.end() || !data->is_array()) {
    return fail(ErrorCode::kInvalidArgument, "tensor '{}': \"data\" (an array) is missing",
                tensor.name);
  }
  const std::size_t rank = tensor.shape.size();
  const auto n = static_cast<std::size_t>(count);
  const auto read = [&]() -> Result<TensorData> {
    if (datatype == "FP32") {
      return held(read_data<float>(*data, tensor.name, rank, n));
    }
    if (datatype == "UINT8") {
      return held(read_data<std::uint8_t>(*data, tensor.name, rank, n));
    }
    if (datatype == "INT8") {
      return held(read_data<std::int8_t>(*data, tensor.name, rank, n));
    }
    if (datatype == "INT64") {
      return held(read_data<std::int64_t>(*data, tensor.name, rank, n));
    }
    return fail(ErrorCode::kUnsupported,
                "tensor '{}': datatype '{}' is not supported (FP32, UINT8, INT8, INT64 are)",
                tensor.name, datatype);
  };
  KESTREL_ASSIGN(tensor.data, read());
  return tensor;
}

Result<std::vector<Tensor>> read_tensors(const Json &json, const char *key, bool request) {
  const auto list = json.find(key);
  if (list == json.end() || !list->is_array() || list->empty()) {
    return fail(ErrorCode::kInvalidArgument, "member \"{}\" (an array of tensors) is missing", key);
  }
  std::vector<Tensor> tensors;
  for (const Json &item : *list) {
    KESTREL_ASSIGN(Tensor tensor,
                   read_tensor(item, fmt::format("{}[{}]", key, tensors.size()), request));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Result<std::optional<std::string>> read_id(const Json &json) {
  const Json *id = member(json, "id");
  if (id == nullptr) {
    return std::optional<std::string>{};
  }
  if (!id->is_string()) {
    return fail(ErrorCode::kInvalidArgument, "member \"id\" is not a string");
  }
  return std::optional<std::string>(id->get<std::string>());
}

std::string json_string(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append_tensor(std::string &out, const Tensor &tensor) {
  auto sink = std::back_inserter(out);
  fmt::format_to(sink, "{{\"name\":{},\"shape\":[{}],\"datatype\":\"{}\",\"data\":[",
                 json_string(tensor.name), fmt::join(tensor.shape, ","),
                 to_string(tensor.datatype()));
  std::visit(
      [&](const auto &values) {
        bool first = true;
        for (const auto value : values) {
          if (!first) {
            out.push_back(',');
          }
          first = false;
          if constexpr (std::is_floating_point_v<std::decay_t<decltype(value)>>) {
            if (std::isfinite(value)) {
              fmt::format_to(sink, "{}", value);
            } else {
              out += "null";
            }
          } else {
            const fmt::format_int text(static_cast<std::int64_t>(value));
            out.append(text.data(), text.size());
          }
        }
      },
      tensor.data);
  out += "]}";
}

void append_tensors(std::string &out, const std::vector<Tensor> &tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (i != 0) {
      out.push_back(',');
    }
    append_tensor(out, tensors[i]);
  }
}

} // namespace

const char *to_string(Datatype datatype) noexcept {
  switch (datatype) {
  case Datatype::kFp32:
    return "FP32";
  case Datatype::kUint8:
    return "UINT8";
  case Datatype::kInt8:
    return "INT8";
  case Datatype::kInt64:
    return "INT64";
  }
  return "?";
}

std::size_t Tensor::size() const noexcept {
  return std::visit([](const auto &values) { return values.size(); }, data);
}

const Tensor *InferResponse::find(std::string_view name) const noexcept {
  for (const Tensor &tensor : outputs) {
    if (tensor.name == name) {
      return &tensor;
    }
  }
  return nullptr;
}

Result<InferRequest> parse_infer_request(std::string_view text, std::uint64_t tree_bytes) {
  KESTREL_ASSIGN(const Json json, parse_object(text, tree_bytes));
  InferRequest request;
  KESTREL_ASSIGN(request.id, read_id(json));
  KESTREL_TRY(check_parameters(json, "request", true));
  KESTREL_ASSIGN(request.inputs, read_tensors(json, "inputs", true));
  if (const Json *outputs = member(json, "outputs"); outputs != nullptr) {
    if (!outputs->is_array()) {
      return fail(ErrorCode::kInvalidArgument, "member \"outputs\" is not an array");
    }
    for (const Json &item : *outputs) {
      const std::string where = fmt::format("outputs[{}]", request.outputs.size());
      if (!item.is_object()) {
        return fail(ErrorCode::kInvalidArgument, "{} is not an object", where);
      }
      KESTREL_ASSIGN(std::string name, string_member(item, "name", where));
      KESTREL_TRY(check_parameters(item, where, true));
      request.outputs.push_back(std::move(name));
    }
  }
  return request;
}

Result<InferResponse> parse_infer_response(std::string_view text) {
  KESTREL_ASSIGN(const Json json, parse_object(text, kMaxJsonTree));
  InferResponse response;
  KESTREL_ASSIGN(response.model_name, string_member(json, "model_name", "response"));
  if (member(json, "model_version") != nullptr) {
    KESTREL_ASSIGN(response.model_version, string_member(json, "model_version", "response"));
  }
  KESTREL_ASSIGN(response.id, read_id(json));
  KESTREL_ASSIGN(response.outputs, read_tensors(json, "outputs", false));
  return response;
}

std::string to_json(const InferRequest &request) {
  std::string out = "{";
  if (request.id) {
    out += "\"id\":" + json_string(*request.id) + ",";
  }
  out += "\"inputs\":[";
  append_tensors(out, request.inputs);
  out += "]";
  if (!request.outputs.empty()) {
    out += ",\"outputs\":[";
    for (std::size_t i = 0; i < request.outputs.size(); ++i) {
      out += (i == 0 ? "{\"name\":" : ",{\"name\":") + json_string(request.outputs[i]) + "}";
    }
    out += "]";
  }
  return out + "}";
}

std::string to_json(const InferResponse &response) {
  std::string out = "{\"model_name\":" + json_string(response.model_name);
  if (!response.model_version.empty()) {
    out += ",\"model_version\":" + json_string(response.model_version);
  }
  if (response.id) {
    out += ",\"id\":" + json_string(*response.id);
  }
  out += ",\"outputs\":[";
  append_tensors(out, response.outputs);
  return out + "]}";
}

std::string error_json(std::string_view message) {
  return "{\"error\":" + json_string(message) + "}";
}

std::optional<std::string> error_of(std::string_view text) {
  const auto json = parse_json(text, {kMaxJsonDepth, kMaxJsonTree});
  if (json && json->is_object()) {
    if (const auto it = json->find("error"); it != json->end() && it->is_string()) {
      return it->get<std::string>();
    }
  }
  return std::nullopt;
}

} // namespace kestrel::serve
