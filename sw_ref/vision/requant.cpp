// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/requant.hpp"

#include <cmath>

namespace kestrel::hv::ref {

Multiplier quantize_multiplier(double real) {
  assert(std::isfinite(real) && real >= 0.0);
  if (real == 0.0)
    return {};
  int shift = 0;
  const double mantissa = std::frexp(real, &shift);
  auto fixed = static_cast<std::int64_t>(std::round(mantissa * 2147483648.0));
  if (fixed == std::int64_t{1} << 31) {
    fixed /= 2;
    ++shift;
  }
  if (shift < -31)
    return {};
  return {static_cast<std::int32_t>(fixed), shift};
}

ActivationRange activation_range(Activation activation, float scale, std::int32_t zero_point) {
  assert(std::isfinite(scale) && scale > 0.0F);
  const auto quantised = [&](float real) {
    const double steps = std::round(real / scale);
    return static_cast<std::int32_t>(std::clamp(steps + zero_point, -128.0, 127.0));
  };
  switch (activation) {
  case Activation::kRelu:
    return {quantised(0.0F), 127};
  case Activation::kRelu6:
    return {quantised(0.0F), quantised(6.0F)};
  case Activation::kReluN1To1:
    return {quantised(-1.0F), quantised(1.0F)};
  case Activation::kNone:
    break;
  }
  return {};
}

Multiplier conv_multiplier(float input_scale, float filter_scale, float output_scale) {
  return quantize_multiplier(static_cast<double>(input_scale) * static_cast<double>(filter_scale) /
                             static_cast<double>(output_scale));
}

Multiplier fully_connected_multiplier(float input_scale, float filter_scale, float output_scale) {
  const float product = input_scale * filter_scale;
  return quantize_multiplier(static_cast<double>(product) / static_cast<double>(output_scale));
}

Multiplier quantize_op_multiplier(float input_scale, float output_scale) {
  return quantize_multiplier(static_cast<double>(input_scale) / static_cast<double>(output_scale));
}

Multiplier relu_multiplier(float input_scale, float output_scale) {
  const float ratio = input_scale / output_scale;
  return quantize_multiplier(static_cast<double>(ratio));
}

} // namespace kestrel::hv::ref
