// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Requantisation: an int32 accumulator times a real number, given as a Q0.31 multiplier and a
// power-of-two shift, rounded twice as gemmlowp and TensorFlow Lite's reference kernels do.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <limits>
#include <span>

#include "sw_ref/vision/shape.hpp"

namespace kestrel::hv::ref {

/// A non-negative real number multiplier * 2^(shift - 31); a positive shift multiplies.
struct Multiplier {
  std::int32_t multiplier = 0;
  int shift = 0;
  friend constexpr bool operator==(const Multiplier &, const Multiplier &) = default;
};

/// a + b modulo 2^32.
[[nodiscard]] constexpr std::int32_t wrapping_add(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

/// a - b modulo 2^32.
[[nodiscard]] constexpr std::int32_t wrapping_sub(std::int32_t a, std::int32_t b) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b));
}

/// a * 2^n modulo 2^32, 0 <= n <= 31.
[[nodiscard]] constexpr std::int32_t wrapping_shl(std::int32_t a, int n) {
  assert(n >= 0 && n <= 31);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) << n);
}

/// a * b / 2^31 rounded to nearest, ties towards +infinity: floor((a*b + 2^30) / 2^31). The one
/// case that does not fit, a = b = -2^31, saturates to 2^31 - 1.
[[nodiscard]] constexpr std::int32_t saturating_rounding_doubling_high_mul(std::int32_t a,
                                                                           std::int32_t b) {
  constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
  if (a == kMin && b == kMin)
    return std::numeric_limits<std::int32_t>::max();
  const std::int64_t product = std::int64_t{a} * std::int64_t{b};
  return static_cast<std::int32_t>((product + (std::int64_t{1} << 30)) >> 31);
}

/// x / 2^exponent rounded to nearest, ties away from zero. 0 <= exponent <= 31.
[[nodiscard]] constexpr std::int32_t rounding_divide_by_pot(std::int32_t x, int exponent) {
  assert(exponent >= 0 && exponent <= 31);
  const auto mask = static_cast<std::int32_t>((std::int64_t{1} << exponent) - 1);
  const std::int32_t remainder = x & mask;
  const std::int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return (x >> exponent) + (remainder > threshold ? 1 : 0);
}

/// x * m in two roundings: a positive shift multiplies first (modulo 2^32), then the doubling high
/// multiply, then the rounding right shift of a negative shift. -31 <= shift <= 31.
[[nodiscard]] constexpr std::int32_t
multiply_by_quantized_multiplier(std::int32_t x, std::int32_t multiplier, int shift) {
  const int left = shift > 0 ? shift : 0;
  const int right = shift > 0 ? 0 : -shift;
  return rounding_divide_by_pot(
      saturating_rounding_doubling_high_mul(wrapping_shl(x, left), multiplier), right);
}

[[nodiscard]] constexpr std::int32_t multiply_by_quantized_multiplier(std::int32_t x,
                                                                      Multiplier m) {
  return multiply_by_quantized_multiplier(x, m.multiplier, m.shift);
}

/// The last steps of every operator: scale, add the output zero point (modulo 2^32, which matters
/// only within 128 of the ends of int32), clamp.
[[nodiscard]] constexpr std::int8_t requantize(std::int32_t acc, std::int32_t multiplier, int shift,
                                               std::int32_t zero_point, ActivationRange range) {
  const std::int32_t v =
      wrapping_add(multiply_by_quantized_multiplier(acc, multiplier, shift), zero_point);
  return static_cast<std::int8_t>(std::clamp(v, range.min, range.max));
}

/// The closest Multiplier to a real number >= 0: mantissa rounded half away from zero to 31 bits; a
/// mantissa that rounds up to 1 moves to the next exponent; 0 and numbers below 2^-32 (shift < -31)
/// give {0, 0}. Precondition: finite and below 2^31 (shift <= 31).
[[nodiscard]] Multiplier quantize_multiplier(double real);

/// How accumulators of an operator become int8: multiplier and shift per output channel, or one of
/// each for all channels.
struct OutputStage {
  std::span<const std::int32_t> multiplier; ///< size 1 or output channels
  std::span<const std::int32_t> shift;      ///< same size, -31..31
  std::int32_t zero_point = 0;              ///< -128..127
  ActivationRange activation;
};

/// Fused activations of the TensorFlow Lite schema that an int8 network can carry.
enum class Activation : std::uint8_t { kNone, kRelu, kRelu6, kReluN1To1 };

/// The clamp of a fused activation for an int8 output: bounds are zero_point + round(real / scale)
/// in single precision, within -128..127. Precondition: scale > 0 and finite.
[[nodiscard]] ActivationRange activation_range(Activation activation, float scale,
                                               std::int32_t zero_point);

/// Multiplier of a convolution or depthwise convolution for one output channel (also of a fully
/// connected layer with weights quantised per channel): input * filter / output in double
/// precision.
[[nodiscard]] Multiplier conv_multiplier(float input_scale, float filter_scale, float output_scale);

/// Multiplier of a fully connected layer with weights quantised per tensor: input * filter is
/// rounded to single precision before the division, as the reference does.
[[nodiscard]] Multiplier fully_connected_multiplier(float input_scale, float filter_scale,
                                                    float output_scale);

/// Multiplier of QUANTIZE from int8 to int8: input / output in double precision.
[[nodiscard]] Multiplier quantize_op_multiplier(float input_scale, float output_scale);

/// Multiplier of a stand-alone RELU, RELU6 ...: input / output in single precision.
[[nodiscard]] Multiplier relu_multiplier(float input_scale, float output_scale);

} // namespace kestrel::hv::ref
