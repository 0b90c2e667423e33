// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/confidence.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>

namespace kestrel::hv::ref {

std::uint16_t probability_q16(const Reciprocal &r, std::int32_t exp_q0_31) {
  return static_cast<std::uint16_t>(std::clamp(probability(r, exp_q0_31, 16), 0, 65535));
}

Confidence confidence(std::span<const std::int8_t> logits, const ExpTable &table,
                      ConfidenceMeasure measure, std::uint32_t threshold_q16,
                      std::span<std::int8_t> probabilities) {
  assert(!logits.empty() && logits.size() <= static_cast<std::size_t>(kConfidenceMaxClasses));
  assert(probabilities.empty() || probabilities.size() == logits.size());
  Confidence result;
  std::size_t top1 = 0;
  for (std::size_t i = 1; i < logits.size(); ++i)
    if (logits[i] > logits[top1])
      top1 = i;
  const std::int8_t max = logits[top1];
  const auto exp = [&](std::int8_t v) { return table[static_cast<std::size_t>(max - v)]; };

  for (const std::int8_t v : logits)
    result.sum_q12_19 += exp_to_accumulator(exp(v));
  result.reciprocal = reciprocal(result.sum_q12_19);
  result.top1 = static_cast<int>(top1);
  result.p1_q16 = probability_q16(result.reciprocal, exp(logits[top1]));
  if (logits.size() > 1) {
    std::size_t top2 = top1 == 0 ? 1 : 0;
    for (std::size_t i = top2 + 1; i < logits.size(); ++i)
      if (i != top1 && logits[i] > logits[top2])
        top2 = i;
    result.top2 = static_cast<int>(top2);
    result.p2_q16 = probability_q16(result.reciprocal, exp(logits[top2]));
  }
  result.margin_q16 = static_cast<std::uint16_t>(result.p1_q16 - result.p2_q16);
  const std::uint32_t value =
      measure == ConfidenceMeasure::kMargin ? result.margin_q16 : result.p1_q16;
  result.confident = value >= threshold_q16;
  for (std::size_t i = 0; i < probabilities.size(); ++i)
    probabilities[i] = softmax_output(result.reciprocal, exp(logits[i]));
  return result;
}

} // namespace kestrel::hv::ref
