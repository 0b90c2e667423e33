// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Internal to the compiler: the program being written, weight segments and descriptors in order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vision/compiler/layer.hpp"

namespace kestrel::hv::compiler {

/// Collects descriptors and weight segments. Counts of completed descriptors, which later ones wait
/// for, follow from the order of the calls.
class Builder {
public:
  explicit Builder(const contract::Config &config) : config_(config) {}

  [[nodiscard]] int loads() const { return loads_; }
  [[nodiscard]] int computes() const { return computes_; }
  [[nodiscard]] int outs() const { return outs_; }
  [[nodiscard]] int descriptors() const { return static_cast<int>(descriptors_.size()); }

  struct Segment {
    std::uint32_t offset = 0; ///< from PKG_BASE
    std::uint32_t words = 0;  ///< ring words
  };
  /// Appends a weight segment, aligned.
  [[nodiscard]] Segment add_segment(const std::vector<std::uint8_t> &bytes);

  /// Append a descriptor. `what` is named when a value does not fit its field (kResourceLimit).
  [[nodiscard]] Result<void> add(const contract::ComputeDesc &desc, const std::string &what);
  [[nodiscard]] Result<void> add(const contract::LoadDesc &desc, const std::string &what);
  [[nodiscard]] Result<void> add(const contract::StoreDesc &desc, const std::string &what);
  [[nodiscard]] Result<void> add(const contract::ConfDesc &desc, const std::string &what);

  /// Appends END and moves segments and descriptors into the package.
  [[nodiscard]] Result<void> finish(Package &package);

private:
  template <class Desc> Result<void> append(const Desc &desc, const std::string &what);

  const contract::Config &config_;
  std::vector<std::uint8_t> image_;
  std::vector<contract::DescWords> descriptors_;
  int loads_ = 0, computes_ = 0, outs_ = 0;
};

} // namespace kestrel::hv::compiler
