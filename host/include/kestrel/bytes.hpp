// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Little-endian loads and stores on byte spans, independent of host byte order and alignment.
// Used for package files, .npy headers, device memory images and wire formats instead of struct
// casts. Big-endian ones of unsigned integers, for packets in network order.
#pragma once

#include <bit>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

namespace kestrel {

namespace detail {
template <std::size_t N> struct UintOfSize;
template <> struct UintOfSize<1> { using type = std::uint8_t; };
template <> struct UintOfSize<2> { using type = std::uint16_t; };
template <> struct UintOfSize<4> { using type = std::uint32_t; };
template <> struct UintOfSize<8> { using type = std::uint64_t; };
} // namespace detail

/// An integer, enum or IEEE floating-point type of 1, 2, 4 or 8 bytes.
template <typename T>
concept LittleEndianScalar = (std::is_arithmetic_v<T> ||
                              std::is_enum_v<T>)&&(sizeof(T) == 1 || sizeof(T) == 2 ||
                                                   sizeof(T) == 4 || sizeof(T) == 8);

/// Reads a little-endian `T` at `offset`. Precondition: `offset + sizeof(T) <= bytes.size()`.
template <LittleEndianScalar T>
[[nodiscard]] T load_le(std::span<const std::uint8_t> bytes, std::size_t offset = 0) {
  assert(offset <= bytes.size() && bytes.size() - offset >= sizeof(T));
  using U = typename detail::UintOfSize<sizeof(T)>::type;
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bits |= static_cast<std::uint64_t>(bytes[offset + i]) << (8 * i);
  }
  const U narrow = static_cast<U>(bits);
  T value;
  std::memcpy(&value, &narrow, sizeof(T));
  return value;
}

/// As load_le, but empty when the value does not lie wholly inside `bytes`.
template <LittleEndianScalar T>
[[nodiscard]] std::optional<T> try_load_le(std::span<const std::uint8_t> bytes,
                                           std::size_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
    return std::nullopt;
  }
  return load_le<T>(bytes, offset);
}

/// Writes `value` little-endian at `offset`. Precondition: `offset + sizeof(T) <= bytes.size()`.
template <LittleEndianScalar T>
void store_le(std::span<std::uint8_t> bytes, std::size_t offset, std::type_identity_t<T> value) {
  assert(offset <= bytes.size() && bytes.size() - offset >= sizeof(T));
  typename detail::UintOfSize<sizeof(T)>::type narrow;
  std::memcpy(&narrow, &value, sizeof(T));
  const std::uint64_t bits = narrow;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[offset + i] = static_cast<std::uint8_t>(bits >> (8 * i));
  }
}

/// Appends `value` little-endian to `out`.
template <LittleEndianScalar T>
void append_le(std::vector<std::uint8_t> &out, std::type_identity_t<T> value) {
  const std::size_t offset = out.size();
  out.resize(offset + sizeof(T));
  store_le<T>(out, offset, value);
}

/// Reads a big-endian `T` at `offset`. Precondition: `offset + sizeof(T) <= bytes.size()`.
template <std::unsigned_integral T>
[[nodiscard]] T load_be(std::span<const std::uint8_t> bytes, std::size_t offset = 0) {
  assert(offset <= bytes.size() && bytes.size() - offset >= sizeof(T));
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bits = bits << 8 | bytes[offset + i];
  }
  return static_cast<T>(bits);
}

/// Writes `value` big-endian at `offset`. Precondition: `offset + sizeof(T) <= bytes.size()`.
template <std::unsigned_integral T>
void store_be(std::span<std::uint8_t> bytes, std::size_t offset, std::type_identity_t<T> value) {
  assert(offset <= bytes.size() && bytes.size() - offset >= sizeof(T));
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[offset + i] =
        static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * (sizeof(T) - 1 - i)));
  }
}

/// Appends `value` big-endian to `out`.
template <std::unsigned_integral T>
void append_be(std::vector<std::uint8_t> &out, std::type_identity_t<T> value) {
  const std::size_t offset = out.size();
  out.resize(offset + sizeof(T));
  store_be<T>(out, offset, value);
}

/// Views int8 data as bytes (same size, no copy).
[[nodiscard]] inline std::span<const std::uint8_t> as_u8(std::span<const std::int8_t> data) {
  return {reinterpret_cast<const std::uint8_t *>(data.data()), data.size()};
}
/// Views bytes as int8 data (same size, no copy).
[[nodiscard]] inline std::span<const std::int8_t> as_i8(std::span<const std::uint8_t> data) {
  return {reinterpret_cast<const std::int8_t *>(data.data()), data.size()};
}

} // namespace kestrel
