// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/thc/solver.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>

namespace kestrel::thc::ref {
namespace {

double density(double a) { return std::exp(-0.5 * a * a) / std::sqrt(2.0 * std::numbers::pi); }

double upper_tail(double a) { return 0.5 * std::erfc(a / std::numbers::sqrt2); }

// Of one grid cell: the integrals of phi, u phi, u^2 phi and u (1 - u) phi over it, u = 0..1 from
// its left end to its right.
struct Moments {
  double m0 = 0.0;
  double m1 = 0.0;
  double m2 = 0.0;
};

Moments cell_moments(double left, double width) {
  // Gauss-Legendre with 8 points, on pieces no wider than 1/2.
  constexpr std::array<double, 4> kNode = {0.1834346424956498, 0.5255324099163290,
                                           0.7966664774136267, 0.9602898564975363};
  constexpr std::array<double, 4> kWeight = {0.3626837833783620, 0.3137066458778873,
                                             0.2223810344533745, 0.1012285362903763};
  const int pieces = std::max(1, static_cast<int>(std::ceil(2.0 * width)));
  Moments m;
  for (int piece = 0; piece < pieces; ++piece) {
    const double centre = (piece + 0.5) / pieces;
    for (std::size_t i = 0; i < kNode.size(); ++i)
      for (const double sign : {-1.0, 1.0}) {
        const double u = centre + sign * 0.5 * kNode[i] / pieces;
        const double mass = 0.5 * kWeight[i] / pieces * width * density(left + width * u);
        m.m0 += mass;
        m.m1 += mass * u;
        m.m2 += mass * u * u;
      }
  }
  return m;
}

// cost(i, j): mean rounding variance of the coordinates between neighbouring levels at the grid
// points i and j. A sum of positive terms, so that narrow cells lose no digits.
class Costs {
public:
  Costs(unsigned granularity, double t)
      : points_(granularity + 1), costs_(std::size_t{points_} * points_) {
    const double width = 2.0 * t / granularity;
    std::vector<Moments> cells(granularity);
    // The right half is the mirror of the left one, to the last bit.
    for (unsigned c = 0; c < granularity; ++c) {
      const unsigned mirror = granularity - 1 - c;
      if (c <= mirror) {
        cells[c] = cell_moments(-t + width * c, width);
      } else {
        const Moments &m = cells[mirror];
        cells[c] = {m.m0, m.m0 - m.m1, m.m0 - 2.0 * m.m1 + m.m2};
      }
    }
    for (unsigned i = 0; i < granularity; ++i) {
      double sum = 0.0;   // integral of (right - a)(a - left)
      double reach = 0.0; // integral of (a - left)
      for (unsigned j = i; j < granularity; ++j) {
        // The right end moves from j to j + 1: every earlier coordinate gains a - left, cell j
        // enters.
        const Moments &m = cells[j];
        const double before = j - i;
        sum += reach + before * (m.m0 - m.m1) + (m.m1 - m.m2);
        reach += before * m.m0 + m.m1;
        costs_[std::size_t{i} * points_ + j + 1] = sum * width * width;
      }
    }
  }

  [[nodiscard]] double operator()(std::size_t i, std::size_t j) const {
    return costs_[i * points_ + j];
  }

private:
  unsigned points_;
  std::vector<double> costs_;
};

constexpr double kNoPath = std::numeric_limits<double>::infinity();

// A path is better only when it is so by more than rounding; so the choice among equals is the
// first one tried.
bool better(double a, double b) { return a < b * (1.0 - 1e-12); }

// Shortest paths from grid point 0 with `steps` steps to each point up to `last`.
struct Paths {
  std::vector<double> length;                    // to each point
  std::vector<std::vector<std::uint8_t>> before; // [step][point]
};

Paths shortest_paths(const Costs &costs, std::size_t steps, std::size_t last) {
  Paths paths{std::vector<double>(last + 1, kNoPath), {}};
  paths.length[0] = 0.0;
  for (std::size_t step = 0; step < steps; ++step) {
    std::vector<double> next(last + 1, kNoPath);
    std::vector<std::uint8_t> from(last + 1, 0);
    for (std::size_t j = step + 1; j <= last; ++j)
      for (std::size_t i = step; i < j; ++i)
        if (const double length = paths.length[i] + costs(i, j); better(length, next[j])) {
          next[j] = length;
          from[j] = static_cast<std::uint8_t>(i);
        }
    paths.length = std::move(next);
    paths.before.push_back(std::move(from));
  }
  return paths;
}

std::vector<std::uint8_t> walk_back(const Paths &paths, std::size_t end) {
  std::vector<std::uint8_t> points = {static_cast<std::uint8_t>(end)};
  for (std::size_t step = paths.before.size(); step > 0; --step)
    points.push_back(paths.before[step - 1][points.back()]);
  std::reverse(points.begin(), points.end());
  return points;
}

SolvedTable solve(const Costs &costs, unsigned bits, unsigned granularity, bool symmetric) {
  const std::size_t levels = std::size_t{1} << bits;
  SolvedTable result;
  if (!symmetric) {
    const Paths paths = shortest_paths(costs, levels - 1, granularity);
    result.values = walk_back(paths, granularity);
    result.error = paths.length[granularity];
    return result;
  }
  // The lower half ends at m; the middle cell is [m, g - m], the upper half is the mirror image.
  const std::size_t last = (granularity - 1) / 2;
  const Paths paths = shortest_paths(costs, levels / 2 - 1, last);
  std::size_t middle = 0;
  result.error = kNoPath;
  for (std::size_t m = 0; m <= last; ++m)
    if (const double error = 2.0 * paths.length[m] + costs(m, granularity - m);
        better(error, result.error)) {
      result.error = error;
      middle = m;
    }
  result.values = walk_back(paths, middle);
  for (std::size_t k = levels / 2; k-- > 0;)
    result.values.push_back(static_cast<std::uint8_t>(granularity - result.values[k]));
  return result;
}

double share_beyond(double t) { return std::erfc(t / std::numbers::sqrt2); }

// Smallest predicted NMSE of one granularity at the clamp t.
TableChoice choose_at(const TableSearch &search, unsigned granularity, double t) {
  const Costs costs(granularity, t);
  SolvedTable best = solve(costs, search.bits, granularity, true);
  bool symmetric = true;
  if (SolvedTable free = solve(costs, search.bits, granularity, false);
      better(free.error, best.error)) {
    best = std::move(free);
    symmetric = false;
  }
  TableChoice choice;
  choice.table = {search.bits, granularity, t, std::move(best.values)};
  choice.p = share_beyond(t);
  choice.symmetric = symmetric;
  choice.rounding = best.error;
  choice.truncation = truncation_error(t);
  choice.nmse = predicted_nmse(choice.rounding, choice.truncation, search.workers);
  return choice;
}

} // namespace

std::optional<const char *> solve_error(unsigned bits, unsigned granularity, double p) {
  if (bits < 1 || bits > kMaxSolverBits)
    return "bits must be 1 to 8";
  if (granularity > kMaxGranularity)
    return "the granularity must not exceed 255";
  if (granularity + 1 < 1U << bits)
    return "the granularity must be at least 2^bits - 1";
  if (!(p > 0.0 && p < 1.0))
    return "p must lie between 0 and 1";
  return std::nullopt;
}

SolvedTable solve_table(unsigned bits, unsigned granularity, double p, bool symmetric) {
  assert(!solve_error(bits, granularity, p));
  return solve(Costs(granularity, clamp_of(p)), bits, granularity, symmetric);
}

double rounding_error(std::span<const std::uint8_t> values, double t) {
  const Costs costs(values.back(), t);
  double error = 0.0;
  for (std::size_t k = 0; k + 1 < values.size(); ++k)
    error += costs(values[k], values[k + 1]);
  return error;
}

double truncation_error(double t) { return 2.0 * ((1.0 + t * t) * upper_tail(t) - t * density(t)); }

double predicted_nmse(double rounding, double truncation, unsigned workers) {
  return rounding / workers + truncation;
}

unsigned max_granularity(unsigned workers, unsigned sum_bits) {
  return std::min(kMaxGranularity, ((1U << sum_bits) - 1) / workers);
}

std::vector<TableChoice> best_tables(const TableSearch &search) {
  std::vector<TableChoice> ranking;
  const unsigned last = max_granularity(search.workers, search.sum_bits);
  for (unsigned g = (1U << search.bits) - 1; g <= last; ++g) {
    const double step = (search.max_t - search.min_t) / search.t_steps;
    TableChoice best = choose_at(search, g, search.min_t);
    for (unsigned i = 1; i <= search.t_steps; ++i)
      if (TableChoice c = choose_at(search, g, search.min_t + i * step); c.nmse < best.nmse)
        best = std::move(c);
    // Golden section around the best of the scan; the error is smooth while the table stays.
    double low = std::max(search.min_t, best.table.t - step);
    double high = std::min(search.max_t, best.table.t + step);
    for (int i = 0; i < 16; ++i) {
      const double third = (high - low) * (1.0 - 1.0 / std::numbers::phi);
      TableChoice a = choose_at(search, g, low + third);
      TableChoice b = choose_at(search, g, high - third);
      (a.nmse <= b.nmse ? high : low) = a.nmse <= b.nmse ? b.table.t : a.table.t;
      for (TableChoice *c : {&a, &b})
        if (c->nmse < best.nmse)
          best = std::move(*c);
    }
    ranking.push_back(std::move(best));
  }
  std::stable_sort(ranking.begin(), ranking.end(),
                   [](const TableChoice &a, const TableChoice &b) { return a.nmse < b.nmse; });
  return ranking;
}

std::vector<PublishedTable> published_tables() {
  struct Row {
    unsigned bits;
    unsigned granularity;
    std::vector<unsigned> inverse_p;
    std::vector<std::uint8_t> values;
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
  };
  std::vector<PublishedTable> tables;
  for (const Row &row : rows)
    for (const unsigned inverse_p : row.inverse_p)
      tables.push_back({row.bits, row.granularity, 1.0 / inverse_p, row.values});
  return tables;
}

std::optional<TableChoice> best_published(unsigned bits, unsigned workers, unsigned sum_bits) {
  std::optional<TableChoice> best;
  for (PublishedTable &published : published_tables()) {
    if (published.bits > bits || published.granularity > max_granularity(workers, sum_bits))
      continue;
    TableChoice choice;
    choice.table = {published.bits, published.granularity, clamp_of(published.p),
                    std::move(published.values)};
    choice.p = published.p;
    choice.rounding = rounding_error(choice.table.values, choice.table.t);
    choice.truncation = truncation_error(choice.table.t);
    choice.nmse = predicted_nmse(choice.rounding, choice.truncation, workers);
    if (!best || choice.nmse < best->nmse)
      best = std::move(choice);
  }
  return best;
}

} // namespace kestrel::thc::ref
