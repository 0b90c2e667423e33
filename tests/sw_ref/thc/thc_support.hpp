// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the tests of the THC references share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "sw_ref/thc/codec.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::thc::ref::test {

/// Random numbers of one case; prints its seed (KESTREL_SEED repeats it).
class Source {
public:
  Source() : engine_(seed()) {}

  std::uint64_t bits() { return engine_(); }
  std::uint32_t below(std::uint32_t n) {
    return std::uniform_int_distribution<std::uint32_t>(0, n - 1)(engine_);
  }
  double real(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine_);
  }
  double normal() { return normal_(engine_); }
  Words2 key() {
    return {static_cast<std::uint32_t>(engine_()), static_cast<std::uint32_t>(engine_())};
  }

  std::vector<float> gaussian(std::size_t n, double sigma = 1.0) {
    std::vector<float> x(n);
    for (float &v : x)
      v = static_cast<float>(sigma * normal());
    return x;
  }

private:
  static std::uint64_t seed() {
    hv::ref::test::Random random;
    return static_cast<std::uint32_t>(random.word());
  }
  std::mt19937_64 engine_;
  std::normal_distribution<double> normal_;
};

/// Mean, and its standard error, of what was added.
class Statistic {
public:
  void add(double x) {
    ++n_;
    sum_ += x;
    squares_ += x * x;
  }
  [[nodiscard]] std::size_t count() const { return n_; }
  [[nodiscard]] double mean() const { return sum_ / static_cast<double>(n_); }
  [[nodiscard]] double standard_error() const {
    const double n = static_cast<double>(n_);
    return std::sqrt(std::max(0.0, squares_ / n - mean() * mean()) / (n - 1));
  }

private:
  std::size_t n_ = 0;
  double sum_ = 0.0;
  double squares_ = 0.0;
};

inline double norm_of(std::span<const float> x) {
  double sum = 0.0;
  for (const float v : x)
    sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}

/// ||a - b||^2 / ||b||^2.
template <class A, class B> double nmse(const A &a, const B &b) {
  double error = 0.0;
  double power = 0.0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    error += d * d;
    power += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return error / power;
}

struct Mean {
  std::vector<float> mean;
  std::vector<std::uint32_t> sums;
  BlockScale scale;
  float norm = 0.0F;
  Flags flags;
};

/// One block of several workers through the integer reference.
inline Mean mean_of(const std::vector<std::vector<float>> &workers, const Table &table, Words2 sign,
                    std::uint64_t seed, std::uint64_t first = 0) {
  Mean result;
  for (const auto &x : workers)
    result.norm = std::max(result.norm, block_norm(x));
  result.scale = make_scale(result.norm, table);
  result.sums.resize(workers.front().size());
  for (std::size_t w = 0; w < workers.size(); ++w) {
    const Compressed c = compress_block(workers[w], result.scale, table, sign,
                                        noise_key(seed, 0, static_cast<std::uint32_t>(w)), first);
    result.flags.out_of_range = result.flags.out_of_range || c.flags.out_of_range;
    aggregate(c.indices, table, result.sums);
  }
  const std::vector<std::uint8_t> contributors(result.sums.size() / kPacketCoordinates,
                                               static_cast<std::uint8_t>(workers.size()));
  result.mean =
      decompress_block(result.sums, contributors, result.scale, table, sign, first, result.flags);
  return result;
}

} // namespace kestrel::thc::ref::test
