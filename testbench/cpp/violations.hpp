// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kestrel::tb {

/// One broken protocol rule: which, when, and what was seen.
template <class Rule> struct Violation {
  Rule rule{};
  std::uint64_t cycle = 0;
  std::string text;
};

/// What a checker found. Every violation is counted; the texts of the first `max_kept` are kept, so
/// that a design that is broken in every cycle does not fill the memory. Never prints, never
/// aborts. `Rule` is an enum whose last enumerator is `count_` and for which `rule_name(Rule)`
/// exists.
template <class Rule> class ViolationLog {
public:
  static constexpr std::size_t kRules = static_cast<std::size_t>(Rule::count_);

  explicit ViolationLog(std::size_t max_kept = 64) : max_kept_(max_kept) {}

  void add(Rule rule, std::uint64_t cycle, std::string text) {
    ++total_;
    ++counts_[static_cast<std::size_t>(rule)];
    if (kept_.size() < max_kept_) {
      kept_.push_back(Violation<Rule>{rule, cycle, std::move(text)});
    }
  }
  void clear() {
    total_ = 0;
    counts_.fill(0);
    kept_.clear();
  }

  [[nodiscard]] bool empty() const { return total_ == 0; }
  [[nodiscard]] std::uint64_t total() const { return total_; }
  [[nodiscard]] std::uint64_t count(Rule rule) const {
    return counts_[static_cast<std::size_t>(rule)];
  }
  [[nodiscard]] const std::vector<Violation<Rule>> &kept() const { return kept_; }

  /// One line for each kept violation, `name: RULE at cycle N: text`; "" when there is none.
  [[nodiscard]] std::string report(std::string_view name = "") const {
    std::string out;
    for (const auto &violation : kept_) {
      if (!name.empty()) {
        out.append(name).append(": ");
      }
      out.append(rule_name(violation.rule))
          .append(" at cycle ")
          .append(std::to_string(violation.cycle))
          .append(": ")
          .append(violation.text)
          .append("\n");
    }
    if (total_ > kept_.size()) {
      out.append("... and ").append(std::to_string(total_ - kept_.size())).append(" more\n");
    }
    return out;
  }

private:
  std::size_t max_kept_;
  std::uint64_t total_ = 0;
  std::array<std::uint64_t, kRules> counts_{};
  std::vector<Violation<Rule>> kept_;
};

} // namespace kestrel::tb
