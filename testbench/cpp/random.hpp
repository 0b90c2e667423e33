// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstdint>

namespace kestrel::tb {

/// A small, fast random generator (SplitMix64, Steele, Lea and Flood 2014): the same sequence on
/// every platform for a seed, a few nanoseconds a draw.
class Random {
public:
  explicit Random(std::uint64_t seed = 1) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }

  /// Uniform in [0, bound); 0 for bound 0.
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }

  /// True with the given probability; a probability <= 0 draws nothing, so settings that switch a
  /// random source off do not shift the sequence of the others.
  bool chance(double probability) {
    if (probability <= 0.0) {
      return false;
    }
    return static_cast<double>(next() >> 11U) * 0x1p-53 < probability;
  }

private:
  std::uint64_t state_;
};

} // namespace kestrel::tb
