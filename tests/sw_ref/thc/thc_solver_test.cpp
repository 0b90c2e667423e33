// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The table solver against published tables, published errors, exhaustive search and closed forms.
#include "sw_ref/thc/solver.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <numbers>
#include <string>

#include <gtest/gtest.h>

namespace kestrel::thc::ref {
namespace {

using Values = std::vector<std::uint8_t>;

// The closed form of the rounding error, -m2 + (l + r) m1 - l r m0 for each segment.
double closed_form(const Values &values, double t) {
  const auto phi = [](double a) { return std::exp(-a * a / 2) / std::sqrt(2 * std::numbers::pi); };
  const auto cdf = [](double a) { return 0.5 * std::erfc(-a / std::numbers::sqrt2); };
  double sum = 0.0;
  for (std::size_t k = 0; k + 1 < values.size(); ++k) {
    const double l = t * (2.0 * values[k] / values.back() - 1);
    const double r = t * (2.0 * values[k + 1] / values.back() - 1);
    const double m0 = cdf(r) - cdf(l);
    const double m1 = phi(l) - phi(r);
    const double m2 = m0 + l * phi(l) - r * phi(r);
    sum += -m2 + (l + r) * m1 - l * r * m0;
  }
  return sum;
}

TEST(ThcSolver, ReproducesEveryPublishedTable) {
  struct Row {
    unsigned bits, granularity;
    std::vector<int> inverse_p;
    Values values;
  };
  const std::vector<Row> rows = {
      {4, 30, {16}, {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}},
      {4, 30, {32, 64}, {0, 3, 5, 7, 9, 11, 13, 14, 16, 17, 19, 21, 23, 25, 27, 30}},
      {4, 30, {128, 256}, {0, 4, 6, 8, 10, 12, 13, 14, 16, 17, 18, 20, 22, 24, 26, 30}},
      {4, 30, {512}, {0, 4, 7, 9, 11, 12, 13, 14, 16, 17, 18, 19, 21, 23, 26, 30}},
      {4, 34, {16, 32, 64, 128}, {0, 3, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 31, 34}},
      {4, 34, {256, 512}, {0, 4, 7, 9, 11, 13, 15, 16, 18, 19, 21, 23, 25, 27, 30, 34}},
      {4, 34, {1024}, {0, 5, 8, 10, 12, 14, 15, 16, 18, 19, 20, 22, 24, 26, 29, 34}},
      {3, 16, {16, 32, 64, 128, 256, 512}, {0, 3, 5, 7, 9, 11, 13, 16}},
      {3, 34, {16, 32}, {0, 6, 11, 15, 19, 23, 28, 34}},
      {2, 34, {512, 1024}, {0, 13, 21, 34}},
      {4, 17, {32}, {0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17}},
  };
  std::size_t checked = 0;
  std::size_t listed = 0;
  for (const Row &row : rows)
    for (const int inverse_p : row.inverse_p) {
      const SolvedTable solved = solve_table(row.bits, row.granularity, 1.0 / inverse_p);
      EXPECT_EQ(solved.values, row.values)
          << row.bits << " bits, g = " << row.granularity << ", p = 1/" << inverse_p;
      ++checked;
      for (const PublishedTable &p : published_tables())
        listed += p.bits == row.bits && p.granularity == row.granularity &&
                  p.p == 1.0 / inverse_p && p.values == row.values;
    }
  EXPECT_EQ(checked, 24U);
  EXPECT_EQ(listed, 23U); // g = 17 is not a published one
  EXPECT_EQ(published_tables().size(), 23U);
}

TEST(ThcSolver, PublishedErrors) {
  struct Anchor {
    unsigned bits, granularity;
    int inverse_p;
    double rounding, truncation, one, four, eight; // 0: not published
  };
  for (const Anchor &a : {Anchor{4, 30, 16, .009641, .017157, .02680, .01957, .01836},
                          Anchor{4, 30, 32, .013075, .007267, .02034, .01054, .00890},
                          Anchor{4, 30, 64, .016221, .003151, .01937, .00721, .00518},
                          Anchor{4, 30, 512, .023513, .000281, .02379, 0, 0},
                          Anchor{3, 16, 32, .055468, .007267, .06274, 0, 0},
                          Anchor{4, 17, 32, .01253, .007267, 0, 0, 0}}) {
    const double t = clamp_of(1.0 / a.inverse_p);
    const SolvedTable solved = solve_table(a.bits, a.granularity, 1.0 / a.inverse_p);
    EXPECT_NEAR(solved.error, a.rounding, a.granularity == 17 ? 5e-6 : 5e-7);
    EXPECT_NEAR(truncation_error(t), a.truncation, 5e-7);
    for (const auto &[workers, nmse] :
         {std::pair{1U, a.one}, std::pair{4U, a.four}, std::pair{8U, a.eight}})
      if (nmse != 0) {
        EXPECT_NEAR(predicted_nmse(solved.error, truncation_error(t), workers), nmse, 6e-6);
      }
  }
  EXPECT_NEAR(clamp_of(1.0 / 32), 2.1538746941, 1e-9);
}

TEST(ThcSolver, ErrorIsTheClosedForm) {
  for (const PublishedTable &p : published_tables()) {
    const double t = clamp_of(p.p);
    EXPECT_NEAR(rounding_error(p.values, t) / closed_form(p.values, t), 1.0, 1e-11);
    EXPECT_NEAR(solve_table(p.bits, p.granularity, p.p).error, rounding_error(p.values, t), 1e-14);
  }
}

TEST(ThcSolver, NoTableIsBetter) {
  // Every table there is, for small grids.
  std::size_t tried = 0;
  for (const auto &size : {std::pair{1U, 5U}, {2U, 3U}, {2U, 11U}, {3U, 7U}, {3U, 13U}, {3U, 16U}})
    for (const double p : {0.3, 1.0 / 32, 1.0 / 1024}) {
      const unsigned bits = size.first; // copies: clang 14 cannot capture structured bindings
      const unsigned g = size.second;
      const double t = clamp_of(p);
      double best[2] = {1e9, 1e9}; // free, symmetric
      Values values = {0};
      const std::function<void()> extend = [&] {
        if (values.size() + 1 == std::size_t{1} << bits) {
          values.push_back(static_cast<std::uint8_t>(g));
          const double error = closed_form(values, t);
          bool symmetric = true;
          for (std::size_t k = 0; k < values.size(); ++k)
            symmetric =
                symmetric && values[k] + values[values.size() - 1 - k] == static_cast<int>(g);
          best[0] = std::min(best[0], error);
          if (symmetric)
            best[1] = std::min(best[1], error);
          ++tried;
          values.pop_back();
          return;
        }
        for (unsigned v = values.back() + 1U; v < g; ++v) {
          values.push_back(static_cast<std::uint8_t>(v));
          extend();
          values.pop_back();
        }
      };
      extend();
      for (const bool symmetric : {false, true}) {
        const SolvedTable solved = solve_table(bits, g, p, symmetric);
        EXPECT_NEAR(solved.error, best[symmetric ? 1 : 0], 1e-12)
            << bits << " bits, g = " << g << ", p = " << p
            << (symmetric ? ", symmetric" : ", free");
        EXPECT_NEAR(closed_form(solved.values, t), solved.error, 1e-12);
      }
    }
  EXPECT_GT(tried, 10'000U);
}

TEST(ThcSolver, EveryBitsAndGranularity) {
  for (unsigned bits = 1; bits <= 8; ++bits)
    for (const unsigned g : {(1U << bits) - 1, 1U << bits, (1U << bits) + 7, 200U, 255U}) {
      if (solve_error(bits, g, 0.01)) {
        EXPECT_TRUE(g > 255 || g + 1 < 1U << bits);
        continue;
      }
      for (const double p : {1e-6, 0.01, 0.9}) {
        const SolvedTable even = solve_table(bits, g, p);
        const SolvedTable free = solve_table(bits, g, p, false);
        EXPECT_LE(free.error, even.error * (1 + 1e-9));
        for (const Values &v : {even.values, free.values}) {
          ASSERT_EQ(v.size(), std::size_t{1} << bits);
          EXPECT_EQ(v.front(), 0);
          EXPECT_EQ(v.back(), g);
          EXPECT_TRUE(std::adjacent_find(v.begin(), v.end(), std::greater_equal<>()) == v.end());
        }
        for (std::size_t k = 0; k < even.values.size(); ++k)
          EXPECT_EQ(even.values[k] + even.values[even.values.size() - 1 - k], static_cast<int>(g));
      }
    }
  // An odd table really is better somewhere, so that "free" is not a name only.
  EXPECT_LT(solve_table(4, 30, 1.0 / 512, false).error, 0.98 * solve_table(4, 30, 1.0 / 512).error);
}

TEST(ThcSolver, RefusesWhatItCannotSolve) {
  EXPECT_FALSE(solve_error(4, 30, 1.0 / 32));
  EXPECT_TRUE(solve_error(0, 30, 0.1));
  EXPECT_TRUE(solve_error(9, 255, 0.1));
  EXPECT_TRUE(solve_error(4, 14, 0.1));
  EXPECT_TRUE(solve_error(4, 256, 0.1));
  EXPECT_TRUE(solve_error(4, 30, 0.0));
  EXPECT_TRUE(solve_error(4, 30, 1.0));
  EXPECT_TRUE(solve_error(4, 30, std::nan("")));
}

TEST(ThcSolver, OwnTablesBeatThePublishedOnes) {
  struct Case {
    unsigned workers;
    double gain; // the own table's error is below this share of the best published one's
  };
  for (const Case &c : {Case{4, 0.93}, Case{8, 0.89}, Case{15, 0.30}}) {
    const auto ranking = best_tables({.bits = 4, .workers = c.workers, .sum_bits = 8});
    const auto published = best_published(4, c.workers, 8);
    ASSERT_FALSE(ranking.empty());
    ASSERT_TRUE(published);
    const TableChoice &own = ranking.front();
    EXPECT_FALSE(table_error(own.table));
    EXPECT_LE(own.table.granularity * c.workers, 255U);
    EXPECT_LE(published->table.granularity * c.workers, 255U);
    EXPECT_LT(own.nmse, c.gain * published->nmse);
    // Its figures are those of the table, by another way.
    EXPECT_NEAR(own.nmse,
                closed_form(own.table.values, own.table.t) / c.workers +
                    truncation_error(own.table.t),
                1e-12);
    EXPECT_NEAR(clamp_of(own.p), own.table.t, 1e-9);
    for (std::size_t i = 1; i < ranking.size(); ++i)
      EXPECT_LE(ranking[i - 1].nmse, ranking[i].nmse);
  }
  EXPECT_EQ(best_tables({.bits = 4, .workers = 15}).front().table.granularity, 17U);
  EXPECT_TRUE(best_tables({.bits = 4, .workers = 18, .sum_bits = 8}).empty());
  EXPECT_FALSE(best_published(4, 16, 8));
  EXPECT_EQ(max_granularity(8, 8), 31U);
  EXPECT_EQ(max_granularity(8, 16), 255U);
}

} // namespace
} // namespace kestrel::thc::ref
