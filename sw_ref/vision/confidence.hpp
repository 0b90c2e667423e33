// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The confidence unit: softmax, the two most likely classes and the decision whether the edge's
// answer stands, all in the integer arithmetic of the hardware.
#pragma once

#include <cstdint>
#include <span>

#include "sw_ref/vision/softmax.hpp"

namespace kestrel::hv::ref {

/// What is compared with the threshold.
enum class ConfidenceMeasure : std::uint8_t {
  kTop1 = 0,   ///< probability of the most likely class
  kMargin = 1, ///< its lead over the second
};

/// The largest number of classes the unit takes.
inline constexpr int kConfidenceMaxClasses = 1024;

struct Confidence {
  int top1 = 0; ///< index of the largest logit, the lowest index wins ties
  int top2 = 0; ///< index of the largest of the others, the lowest wins ties; 0 for one class
  std::uint16_t p1_q16 = 0;     ///< probability of top1, unsigned Q0.16, saturated at 65535
  std::uint16_t p2_q16 = 0;     ///< probability of top2; 0 for one class
  std::uint16_t margin_q16 = 0; ///< p1_q16 - p2_q16
  bool confident = false;       ///< measure >= threshold
  std::int32_t sum_q12_19 = 0;  ///< sum of the exponentials
  Reciprocal reciprocal;
};

/// A probability in unsigned Q0.16 as the unit computes it, saturated to 0..65535.
[[nodiscard]] std::uint16_t probability_q16(const Reciprocal &r, std::int32_t exp_q0_31);

/// Classes and probabilities of one row of logits. threshold_q16 above 65535 is never met.
/// Preconditions: 1 <= logits.size() <= kConfidenceMaxClasses; table from make_exp_table;
/// probabilities empty (not wanted) or as long as logits: then it gets the int8 softmax.
[[nodiscard]] Confidence confidence(std::span<const std::int8_t> logits, const ExpTable &table,
                                    ConfidenceMeasure measure, std::uint32_t threshold_q16,
                                    std::span<std::int8_t> probabilities = {});

} // namespace kestrel::hv::ref
