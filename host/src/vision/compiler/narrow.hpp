// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Which output channels may be requantised narrow: with the sum of accumulator and bias saturated
// at 18 bits. The hardware does so, at twice the rate, for output-channel tiles that a package
// marks.
#pragma once

#include <cstdint>

#include "vision/compiler/layer.hpp"

namespace kestrel::hv::compiler {

/// Sums of accumulator and bias that inputs of -128..127 can give.
struct SumRange {
  std::int64_t low = 0, high = 0;

  /// Adds a product with this weight.
  void add(std::int8_t weight) {
    low += weight < 0 ? weight * 127 : weight * -128;
    high += weight < 0 ? weight * -128 : weight * 127;
  }
};

/// How a channel's sums become int8.
struct Requant {
  std::int64_t multiplier = 0; ///< 0 .. 2^31 - 1
  int right_shift = 0, left_shift = 0;
  std::int64_t zero_point = 0, min = -128, max = 127;

  /// The result for a sum, which may not leave int32 even shifted left.
  [[nodiscard]] std::int64_t operator()(std::int64_t sum) const;
};

/// True if saturation at 18 bits changes no result. False also where a sum may leave int32.
[[nodiscard]] bool narrow_is_exact(const SumRange &sums, const Requant &requant);

/// Rewrites channels into equal ones that can be narrow, and sets `narrow` of the layer.
void find_narrow_channels(Layer &layer);

} // namespace kestrel::hv::compiler
