// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Quantisation tables of THC that minimise the expected rounding error of normally distributed
// coordinates (arXiv 2302.08545, section 4.3 and appendix B), by an exact dynamic programme, and
// the errors that go with a table.
//
// Units: coordinates of unit variance. A table on the grid 0..g stands for the levels
// q_k = t (2 T[k] / g - 1), t = clamp_of(p). Stochastic rounding of a between q_k and q_{k+1} has
// the variance (q_{k+1} - a)(a - q_k); the solver minimises its mean over the normal distribution.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sw_ref/thc/codec.hpp"

namespace kestrel::thc::ref {

inline constexpr unsigned kMaxSolverBits = 8;

/// A table and its rounding error q: the mean variance of one worker's rounding.
struct SolvedTable {
  std::vector<std::uint8_t> values; ///< 2^bits values, ascending from 0 to the granularity
  double error = 0.0;
};

/// What makes arguments of solve_table() unusable, or nothing: bits 1..8, 2^bits - 1 <= granularity
/// <= 255, 0 < p < 1.
[[nodiscard]] std::optional<const char *> solve_error(unsigned bits, unsigned granularity,
                                                      double p);

/// The table of 2^bits values on the grid 0..granularity with the smallest rounding error, among
/// those with T[2^bits - 1 - k] = granularity - T[k] when `symmetric`, else among all with both
/// ends in place. Exact: a shortest path over the grid points. Of tables whose errors agree to 12
/// digits the one with the smallest last differing value is chosen. Needs !solve_error(...).
[[nodiscard]] SolvedTable solve_table(unsigned bits, unsigned granularity, double p,
                                      bool symmetric = true);

/// q of any table that begins with 0 and ascends strictly to `granularity`, t > 0.
[[nodiscard]] double rounding_error(std::span<const std::uint8_t> values, double t);

/// Mean square of what the clamp to [-t, t] cuts off: 2 [(1 + t^2) Q(t) - t phi(t)].
[[nodiscard]] double truncation_error(double t);

/// NMSE of the mean of n workers whose gradients are equal and round independently: q / n + trunc.
/// (Workers with independent gradients have that of n = 1 whatever n is.) workers >= 1.
[[nodiscard]] double predicted_nmse(double rounding, double truncation, unsigned workers);

/// A table with everything that is known about it.
struct TableChoice {
  Table table;
  double p = 0.0;
  bool symmetric = true;   ///< T[last - k] = g - T[k]
  double rounding = 0.0;   ///< q
  double truncation = 0.0; ///< of the clamp
  double nmse = 0.0;       ///< predicted for the workers asked for
};

/// Largest granularity whose sum over `workers` fits `sum_bits` (8 or 16) and the kernels; 0: none.
[[nodiscard]] unsigned max_granularity(unsigned workers, unsigned sum_bits);

/// What to search: bits 1..4, workers 1..255, sum_bits 8 or 16, 1 <= min_t < max_t < 4.
struct TableSearch {
  unsigned bits = 4;
  unsigned workers = 1;
  unsigned sum_bits = 8;
  double min_t = 1.0;
  double max_t = 3.9;
  unsigned t_steps = 60; ///< of the first, coarse scan over t
};

/// For each granularity that the lanes allow the table and p of the smallest predicted NMSE
/// (symmetric or free, whichever is better), best first; of equal ones the smaller granularity
/// first. Empty when no granularity is allowed.
[[nodiscard]] std::vector<TableChoice> best_tables(const TableSearch &search);

/// One published table (arXiv 2302.08545 and its authors' code), for one of the p it is given for.
struct PublishedTable {
  unsigned bits;
  unsigned granularity;
  double p;
  std::vector<std::uint8_t> values;
};

/// All of them.
[[nodiscard]] std::vector<PublishedTable> published_tables();

/// The published table with at most `bits` bits that `workers` can add up in lanes of `sum_bits`
/// bits and that has the smallest predicted NMSE; nothing when none fits.
[[nodiscard]] std::optional<TableChoice> best_published(unsigned bits, unsigned workers,
                                                        unsigned sum_bits);

} // namespace kestrel::thc::ref
