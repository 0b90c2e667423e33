// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// NumPy's array file format (.npy, versions 1.0 and 2.0; numpy/lib/format). Row-major
// (C order) little-endian arrays of the types below are read and written; everything else
// (Fortran order, big-endian, booleans, complex, objects, records) is refused by name.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kestrel/bytes.hpp"
#include "kestrel/result.hpp"

namespace kestrel {

enum class NpyType : std::uint8_t {
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kInt64,
  kFloat32,
  kFloat64
};

/// NumPy's name of a type: "int8", "float32" ...
[[nodiscard]] std::string_view to_string(NpyType type) noexcept;
/// Bytes of one element.
[[nodiscard]] std::size_t size_of(NpyType type) noexcept;

/// NpyType of a C++ element type.
template <typename T> constexpr NpyType npy_type_of() {
  if constexpr (std::is_same_v<T, std::int8_t>) {
    return NpyType::kInt8;
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    return NpyType::kUint8;
  } else if constexpr (std::is_same_v<T, std::int16_t>) {
    return NpyType::kInt16;
  } else if constexpr (std::is_same_v<T, std::uint16_t>) {
    return NpyType::kUint16;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return NpyType::kInt32;
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return NpyType::kInt64;
  } else if constexpr (std::is_same_v<T, float>) {
    return NpyType::kFloat32;
  } else {
    static_assert(std::is_same_v<T, double>, "not an element type of .npy files here");
    return NpyType::kFloat64;
  }
}

/// An array: shape and raw little-endian elements in row-major order.
/// Invariant: data.size() == product(shape) * size_of(type).
struct NpyArray {
  NpyType type = NpyType::kInt8;
  std::vector<std::int64_t> shape; ///< empty for a scalar (one element)
  std::vector<std::uint8_t> data;

  /// Number of elements.
  [[nodiscard]] std::size_t elements() const { return data.size() / size_of(type); }

  /// The elements as `T`; kShapeMismatch (naming `name`) when the array is of another type.
  template <typename T> [[nodiscard]] Result<std::vector<T>> values(std::string_view name) const {
    if (type != npy_type_of<T>()) {
      return fail(ErrorCode::kShapeMismatch, "{}: the array is {}; {} is needed", name,
                  to_string(type), to_string(npy_type_of<T>()));
    }
    std::vector<T> out(elements());
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = load_le<T>(data, i * sizeof(T));
    }
    return out;
  }
};

/// Makes an array from values. Precondition: values.size() == product(shape).
template <typename T>
[[nodiscard]] NpyArray make_npy(std::vector<std::int64_t> shape, std::span<const T> values) {
  NpyArray array;
  array.type = npy_type_of<T>();
  array.shape = std::move(shape);
  array.data.resize(values.size() * sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    store_le<T>(array.data, i * sizeof(T), values[i]);
  }
  return array;
}

/// Parses the bytes of a .npy file; `name` begins every message. The data must fill the file
/// exactly. Errors: kParse (not .npy, damaged, truncated, trailing bytes), kUnsupported (type,
/// order, version).
[[nodiscard]] Result<NpyArray> parse_npy(std::span<const std::uint8_t> bytes,
                                         std::string_view name);

/// Reads a .npy file of at most `max_bytes`. Additional errors: kNotFound, kIo, kResourceLimit.
[[nodiscard]] Result<NpyArray> load_npy(const std::filesystem::path &path,
                                        std::int64_t max_bytes = std::int64_t{4} << 30);

/// The bytes of a .npy file (version 1.0, or 2.0 where the header needs it).
[[nodiscard]] std::vector<std::uint8_t> format_npy(const NpyArray &array);

/// Writes a .npy file; an existing file is replaced in one step. Error: kIo, kInvalidArgument
/// when shape and data disagree.
[[nodiscard]] Result<void> save_npy(const std::filesystem::path &path, const NpyArray &array);

} // namespace kestrel
