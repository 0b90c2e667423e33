// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Messages of the Open Inference Protocol v2 (KServe / Triton REST), JSON tensors only.
//
// Source: KServe "Open Inference Protocol", the infer request and response objects. Left out and
// refused by name: the binary tensor extension, shared memory, BYTES tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kestrel/result.hpp"

namespace kestrel::serve {

/// Tensor element types that these messages carry.
enum class Datatype : std::uint8_t { kFp32, kUint8, kInt8, kInt64 };

/// The protocol's name of a type: "FP32", "UINT8", "INT8", "INT64".
[[nodiscard]] const char *to_string(Datatype datatype) noexcept;

/// Elements of a tensor, row-major; the alternative held is that of the datatype.
using TensorData = std::variant<std::vector<float>, std::vector<std::uint8_t>,
                                std::vector<std::int8_t>, std::vector<std::int64_t>>;

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape; ///< each extent >= 1
  TensorData data;                 ///< as many elements as the shape says

  [[nodiscard]] Datatype datatype() const noexcept { return static_cast<Datatype>(data.index()); }
  /// Number of elements held.
  [[nodiscard]] std::size_t size() const noexcept;
};

struct InferRequest {
  std::optional<std::string> id; ///< echoed in the response
  std::vector<Tensor> inputs;
  std::vector<std::string> outputs; ///< names wanted; empty: all
};

struct InferResponse {
  std::string model_name;
  std::string model_version;
  std::optional<std::string> id;
  std::vector<Tensor> outputs;

  /// The output of that name, or nullptr.
  [[nodiscard]] const Tensor *find(std::string_view name) const noexcept;
};

/// Arrays and objects nested deeper than this are refused before they are parsed.
inline constexpr int kMaxJsonDepth = 24;
/// Texts whose values would take more memory than this are refused before they are parsed.
inline constexpr std::uint64_t kMaxJsonTree = std::uint64_t{128} << 20;
/// Tensors of higher rank are refused.
inline constexpr std::size_t kMaxTensorRank = 8;

/// Reads an infer request. `data` may be flat or nested as the shape says. Optional members ("id",
/// "parameters", "outputs", a single parameter) that are null are absent. Errors name the member
/// and what is expected: kParse (not JSON), kInvalidArgument (missing or wrong member, a value out
/// of the datatype's range, not finite), kShapeMismatch (element count), kUnsupported (datatype,
/// any parameter that asks for something), kResourceLimit (more than `tree_bytes` of values).
[[nodiscard]] Result<InferRequest> parse_infer_request(std::string_view json,
                                                       std::uint64_t tree_bytes = kMaxJsonTree);
/// Reads an infer response, as strictly, but for parameters: only tensors outside of the JSON are
/// refused.
[[nodiscard]] Result<InferResponse> parse_infer_response(std::string_view json);

/// JSON text of a request or response. Floats are written with the fewest digits that read back to
/// the same float; values that are not finite cannot be written in JSON and become null.
[[nodiscard]] std::string to_json(const InferRequest &request);
[[nodiscard]] std::string to_json(const InferResponse &response);

/// `{"error": message}`; bytes that are not UTF-8 are replaced.
[[nodiscard]] std::string error_json(std::string_view message);
/// The "error" member of such a body, if it is one.
[[nodiscard]] std::optional<std::string> error_of(std::string_view json);

} // namespace kestrel::serve
