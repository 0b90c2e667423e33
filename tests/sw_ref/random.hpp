// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Random numbers of the tests: one seed per case, printed when the case fails, settable with the
// environment variable KESTREL_SEED.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace kestrel::hv::ref::test {

class Random {
public:
  Random() : seed_(pick_seed()), engine_(seed_) {
    ::testing::Test::RecordProperty("seed", std::to_string(seed_));
    printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(seed_));
  }

  [[nodiscard]] std::string note() const { return "KESTREL_SEED=" + std::to_string(seed_); }

  /// Uniform in low..high.
  int range(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
  bool chance(double p) { return std::bernoulli_distribution(p)(engine_); }
  std::int32_t word() { return static_cast<std::int32_t>(engine_()); }
  double real(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine_);
  }

  /// Any int32, with numbers of every magnitude and the corners about equally likely.
  std::int32_t wide() {
    switch (range(0, 9)) {
    case 0:
      return INT32_MIN + range(0, 2);
    case 1:
      return INT32_MAX - range(0, 2);
    case 2:
      return range(-2, 2);
    default:
      return word() >> range(0, 31);
    }
  }

  std::vector<std::int8_t> bytes(std::size_t n) {
    std::vector<std::int8_t> v(n);
    for (auto &x : v)
      x = static_cast<std::int8_t>(engine_());
    return v;
  }

private:
  static std::uint64_t pick_seed() {
    if (const char *text = std::getenv("KESTREL_SEED"); text != nullptr && *text != '\0')
      return std::strtoull(text, nullptr, 0);
    return std::random_device{}();
  }

  std::uint64_t seed_;
  std::mt19937_64 engine_;
};

} // namespace kestrel::hv::ref::test
