// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Numbers of the THC kernels: fp32 without subnormals at the borders, block fixed point inside.
//
// Subnormal inputs count as zero and results below 2^-126 become zero; NaN and infinity are errors
// that the caller detects with is_nonfinite(). Inside a block of norm l = m * 2^e (1 <= m < 2) a value
// v stands for v * 2^(e - 22).
#pragma once

#include <bit>
#include <cstdint>

namespace kestrel::thc::ref {

inline constexpr int kFractionBits = 22; ///< of block fixed point, relative to 2^e
inline constexpr int kFixedBits = 27;    ///< width of a block fixed-point value, sign included

/// Biased exponent field of an fp32 number.
[[nodiscard]] constexpr std::uint32_t exponent_field(float x) {
  return std::bit_cast<std::uint32_t>(x) >> 23 & 0xFFU;
}

/// NaN or infinity.
[[nodiscard]] constexpr bool is_nonfinite(float x) { return exponent_field(x) == 255; }

/// A subnormal number becomes a zero of its sign.
[[nodiscard]] constexpr float flush(float x) {
  return exponent_field(x) == 0
             ? std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x80000000U)
             : x;
}

/// a + b rounded to nearest even, subnormals flushed going in and coming out.
[[nodiscard]] constexpr float add_ftz(float a, float b) { return flush(flush(a) + flush(b)); }

/// v / 2^n rounded to nearest, ties to even. 0 <= n <= 62.
[[nodiscard]] constexpr std::int64_t shift_right_rne(std::int64_t v, int n) {
  if (n <= 0)
    return v;
  const std::int64_t floor = v >> n;
  const std::int64_t rest = v - (floor << n);
  const std::int64_t half = std::int64_t{1} << (n - 1);
  return floor + (rest > half || (rest == half && (floor & 1) != 0) ? 1 : 0);
}

/// fp32 -> block fixed point of biased exponent `exponent`, rounded to nearest even. A value of at least
/// 2^(e+2) gives +-2^24 and sets `out_of_range` (never cleared). Exponent 0 is the zero block: 0.
[[nodiscard]] constexpr std::int32_t to_fixed(float x, std::uint32_t exponent, bool &out_of_range) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const int field = static_cast<int>(exponent_field(x));
  if (field == 0 || exponent == 0)
    return 0;
  const int shift = static_cast<int>(exponent) - field + 1;
  std::int64_t magnitude = std::int64_t{1} << 24;
  if (shift < 0)
    out_of_range = true;
  else
    magnitude = shift > 25 ? 0 : shift_right_rne(static_cast<std::int64_t>(bits & 0x7FFFFFU) | 0x800000, shift);
  return static_cast<std::int32_t>((bits >> 31) != 0 ? -magnitude : magnitude);
}

/// Block fixed point -> fp32, rounded to nearest even; below 2^-126 zero (positive), beyond the largest
/// finite number that number, with `out_of_range` set.
[[nodiscard]] constexpr float to_float(std::int32_t v, std::uint32_t exponent, bool &out_of_range) {
  if (v == 0 || exponent == 0)
    return 0.0F;
  const std::uint32_t sign = v < 0 ? 0x80000000U : 0U;
  std::uint32_t magnitude = v < 0 ? 0U - static_cast<std::uint32_t>(v) : static_cast<std::uint32_t>(v);
  const int top = 31 - std::countl_zero(magnitude);
  // magnitude * 2^(e - 22), the leading bit at 2^(top - 22).
  int field = static_cast<int>(exponent) + top - kFractionBits;
  std::uint32_t mantissa =
      top > 23 ? static_cast<std::uint32_t>(shift_right_rne(magnitude, top - 23)) : magnitude << (23 - top);
  if (mantissa == 0x1000000U) {
    mantissa >>= 1;
    ++field;
  }
  if (field <= 0)
    return 0.0F;
  if (field >= 255) {
    out_of_range = true;
    return std::bit_cast<float>(sign | 0x7F7FFFFFU);
  }
  return std::bit_cast<float>(sign | static_cast<std::uint32_t>(field) << 23 | (mantissa & 0x7FFFFFU));
}

/// bf16 is the upper half of fp32.
[[nodiscard]] constexpr float from_bf16(std::uint16_t x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16);
}

} // namespace kestrel::thc::ref
