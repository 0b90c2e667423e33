// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Ranges of numbers from outside. Each format and each command keeps one table of them; whoever
// reads a field checks it against its row, by name. NaN lies in no range, infinity neither.
#pragma once

#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>

#include "kestrel/result.hpp"

namespace kestrel {

struct Range {
  std::string_view name;
  double low = 0.0;
  double high = 0.0;
  [[nodiscard]] constexpr bool holds(double value) const { return value >= low && value <= high; }
};

/// The row of a name; precondition: there is one.
[[nodiscard]] constexpr const Range &range_of(std::span<const Range> table, std::string_view name) {
  for (const Range &row : table) {
    if (row.name == name) {
      return row;
    }
  }
  assert(false);
  return table.front();
}

/// Error: kInvalidArgument with the field's name and its range.
[[nodiscard]] inline Result<void> check_range(std::span<const Range> table, std::string_view name,
                                              double value) {
  const Range &row = range_of(table, name);
  if (!row.holds(value)) {
    return fail(ErrorCode::kInvalidArgument, "{}: {:g} is not in {:g}..{:g}", name, value, row.low,
                row.high);
  }
  return {};
}

/// The same of several fields, in their order.
[[nodiscard]] inline Result<void>
check_ranges(std::span<const Range> table,
             std::initializer_list<std::pair<std::string_view, double>> fields) {
  for (const auto &[name, value] : fields) {
    KESTREL_TRY(check_range(table, name, value));
  }
  return {};
}

} // namespace kestrel
