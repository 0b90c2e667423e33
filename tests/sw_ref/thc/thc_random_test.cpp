// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The counter-based generator: published answers, and the bias and dependence of the bits as the
// codec uses them. Limits are 5 standard deviations: one comparison of a perfect generator exceeds
// them with probability 5.7e-7, so that a whole run (about 90 comparisons) fails by chance once in
// 20000.
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>

#include <gtest/gtest.h>

#include "tests/sw_ref/thc/thc_support.hpp"

namespace kestrel::thc::ref {
namespace {

using test::Source;

constexpr double kSigmas = 5.0;

TEST(ThcRandom, KnownAnswers) {
  // Random123's answers for 20 and 13 rounds; the second set are digits of pi.
  constexpr Words2 kZero = {0, 0};
  constexpr Words2 kPiCounter = {0x243F6A88, 0x85A308D3};
  constexpr Words2 kPiKey = {0x13198A2E, 0x03707344};
  EXPECT_EQ(threefry2x32(kZero, kZero, 20), (Words2{0x6B200159, 0x99BA4EFE}));
  EXPECT_EQ(threefry2x32(kPiKey, kPiCounter, 20), (Words2{0xC4923A9C, 0x483DF7A0}));
  EXPECT_EQ(threefry2x32(kZero, kZero), (Words2{0x9D1C5EC6, 0x8BD50731}));
  EXPECT_EQ(threefry2x32(kPiKey, kPiCounter), (Words2{0xBA3E4725, 0xF27D669E}));
  EXPECT_EQ(kThreefryRounds, 13);
}

TEST(ThcRandom, StreamsAndPositions) {
  const Words2 key = {0x01234567, 0x89ABCDEF};
  EXPECT_EQ(sign_key(0x0000'0002'0000'0001, 7), threefry2x32({1, 2}, {7, 0}));
  EXPECT_EQ(noise_key(0x0000'0002'0000'0001, 7, 4), threefry2x32({1, 2}, {7, 5}));
  // Both 32-bit halves of the counter count, the first coordinate has the lowest bits.
  for (const std::uint64_t c : {0ULL, 1ULL, 63ULL, 64ULL, 1023ULL, (1ULL << 40) + 77}) {
    const Words2 s = threefry2x32(
        key, {static_cast<std::uint32_t>(c / 64), static_cast<std::uint32_t>(c / 64 >> 32)});
    EXPECT_EQ(sign_at(key, c), (s[c % 64 / 32] >> (c % 32) & 1) != 0) << c;
    const Words2 n = threefry2x32(
        key, {static_cast<std::uint32_t>(c / 4), static_cast<std::uint32_t>(c / 4 >> 32)});
    EXPECT_EQ(noise_at(key, c), n[c % 4 / 2] >> (16 * (c % 2)) & 0xFFFF) << c;
  }
}

// Counts set bits of 64-bit words, each bit for itself.
std::array<double, 64> bit_bias(Words2 key, std::uint64_t words) {
  std::array<std::uint64_t, 64> ones{};
  for (std::uint64_t c = 0; c < words; ++c) {
    const std::uint64_t r = random64(key, c);
    for (std::size_t b = 0; b < 64; ++b)
      ones[b] += r >> b & 1;
  }
  std::array<double, 64> bias{};
  for (std::size_t b = 0; b < 64; ++b)
    bias[b] = static_cast<double>(ones[b]) / static_cast<double>(words) - 0.5;
  return bias;
}

TEST(ThcRandom, SignBitsAreFair) {
  Source source;
  constexpr std::uint64_t kWords = 1 << 19;
  const auto bias = bit_bias(sign_key(source.bits(), 3), kWords);
  const double sigma = 0.5 / std::sqrt(static_cast<double>(kWords));
  double worst = 0.0;
  double mean = 0.0;
  for (const double b : bias) {
    EXPECT_LT(std::abs(b), kSigmas * sigma);
    worst = std::max(worst, std::abs(b));
    mean += b / 64;
  }
  EXPECT_LT(std::abs(mean), kSigmas * sigma / 8);
  std::printf("signs: bias of one bit at most %.2e, of all %.2e (1 sigma: %.2e, %.2e)\n", worst,
              mean, sigma, sigma / 8);
}

TEST(ThcRandom, NoiseIsUniformAndUnbiased) {
  Source source;
  constexpr std::uint64_t kCount = 1 << 22;
  const Words2 key = noise_key(source.bits(), 3, 1);
  double sum = 0.0;
  double neighbours = 0.0;
  double previous = 0.0;
  std::array<std::uint64_t, 256> high{};
  std::array<std::uint64_t, 256> low{};
  for (std::uint64_t c = 0; c < kCount; ++c) {
    const std::uint16_t noise = noise_at(key, c);
    const double u = (noise + 0.5) / 65536 - 0.5;
    sum += u;
    neighbours += u * previous;
    previous = u;
    ++high[noise >> 8];
    ++low[noise & 255];
  }
  const double n = static_cast<double>(kCount);
  const double sigma = 1 / std::sqrt(12 * n);
  EXPECT_LT(std::abs(sum / n), kSigmas * sigma);
  EXPECT_LT(std::abs(neighbours / n * 12), kSigmas / std::sqrt(n));
  for (const auto &histogram : {high, low}) {
    double chi2 = 0.0;
    for (const std::uint64_t h : histogram)
      chi2 += std::pow(static_cast<double>(h) - n / 256, 2) / (n / 256);
    EXPECT_LT(std::abs(chi2 - 255), kSigmas * std::sqrt(2.0 * 255));
  }
  std::printf("noise: mean %.2e of the rounding step (1 sigma: %.2e), correlation of neighbours "
              "%.2e (1 sigma: %.2e)\n",
              sum / n, sigma, neighbours / n * 12, 1 / std::sqrt(n));
}

TEST(ThcRandom, StreamsAreIndependent) {
  Source source;
  const std::uint64_t seed = source.bits();
  constexpr std::uint64_t kWords = 1 << 16;
  struct Pair {
    const char *name;
    Words2 a, b;
  };
  const std::vector<Pair> pairs = {
      {"workers 0 and 1", noise_key(seed, 5, 0), noise_key(seed, 5, 1)},
      {"workers 0 and 7", noise_key(seed, 5, 0), noise_key(seed, 5, 7)},
      {"rounds 5 and 6", noise_key(seed, 5, 0), noise_key(seed, 6, 0)},
      {"signs of rounds 5 and 6", sign_key(seed, 5), sign_key(seed, 6)},
      {"signs and noise", sign_key(seed, 5), noise_key(seed, 5, 0)},
      {"seeds", noise_key(seed, 5, 0), noise_key(seed + 1, 5, 0)},
      {"upper half of the seed", noise_key(seed, 5, 0), noise_key(seed + (1ULL << 32), 5, 0)},
      {"round and worker exchanged", noise_key(seed, 2, 0), noise_key(seed, 1, 1)},
  };
  for (const Pair &pair : pairs) {
    EXPECT_NE(pair.a, pair.b) << pair.name;
    // Bits that agree, and the correlation of the 16-bit numbers.
    double agree = 0.0;
    double product = 0.0;
    for (std::uint64_t c = 0; c < kWords; ++c) {
      const std::uint64_t a = random64(pair.a, c);
      const std::uint64_t b = random64(pair.b, c);
      agree += std::popcount(~(a ^ b));
      for (int i = 0; i < 64; i += 16)
        product += ((static_cast<double>(a >> i & 0xFFFF) + 0.5) / 65536 - 0.5) *
                   ((static_cast<double>(b >> i & 0xFFFF) + 0.5) / 65536 - 0.5);
    }
    const double n = static_cast<double>(kWords);
    EXPECT_LT(std::abs(agree / (64 * n) - 0.5), kSigmas * 0.5 / std::sqrt(64 * n)) << pair.name;
    EXPECT_LT(std::abs(product / (4 * n) * 12), kSigmas / std::sqrt(4 * n)) << pair.name;
  }
  // The statistic sees a dependence where there is one.
  double agree = 0.0;
  for (std::uint64_t c = 0; c < kWords; ++c)
    agree += std::popcount(~(random64(pairs[0].a, c) ^ (random64(pairs[0].a, c) | 1)));
  EXPECT_GT(std::abs(agree / (64.0 * kWords) - 0.5), kSigmas * 0.5 / std::sqrt(64.0 * kWords));
}

} // namespace
} // namespace kestrel::thc::ref
