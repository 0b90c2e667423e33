// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The fast codec gives the bits of codec.hpp, whatever the processor: each case runs with every
// version of the vector code that this machine has.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <ostream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sw_ref/thc/codec.hpp"
#include "sw_ref/thc/fast.hpp"
#include "sw_ref/thc/fixed.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::thc::ref {

void PrintTo(FastPath path, std::ostream *out) { *out << to_string(path); }

namespace {

using hv::ref::test::Random;

std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }

// Number of the first difference, or the size.
std::size_t first_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  return static_cast<std::size_t>(
      std::mismatch(a.begin(), a.end(), b.begin(),
                    [](float x, float y) { return bits_of(x) == bits_of(y); })
          .first -
      a.begin());
}

double normal(Random &random) {
  const double u = random.real(1e-12, 1.0);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * random.real(0.0, 1.0));
}

Table random_table(Random &random) {
  Table table;
  table.bits = static_cast<unsigned>(random.range(1, 4));
  const int cells = (1 << table.bits) - 1;
  table.granularity =
      static_cast<unsigned>(random.chance(0.3) ? random.range(cells, std::min(2 * cells, 255))
                                               : random.range(cells, 255));
  const int g = static_cast<int>(table.granularity);
  std::set<int> inner;
  while (static_cast<int>(inner.size()) < cells - 1)
    inner.insert(random.range(1, g - 1));
  table.values = {0};
  for (const int v : inner)
    table.values.push_back(static_cast<std::uint8_t>(v));
  table.values.push_back(static_cast<std::uint8_t>(g));
  table.t = random.chance(0.1) ? 3.9999 : random.real(1.0, 4.0);
  EXPECT_FALSE(table_error(table));
  return table;
}

// A tensor whose blocks differ: ordinary, zero, sparse, of very small and very large numbers, of
// wide range, with subnormals.
std::vector<float> random_tensor(Random &random, std::size_t n) {
  std::vector<float> y(n);
  for (std::size_t at = 0; at < n;) {
    const std::size_t piece =
        std::min<std::size_t>(n - at, std::size_t{1024} << random.range(0, 5));
    const int kind = random.range(0, 11);
    const int power = kind == 2   ? random.range(-149, -85)
                      : kind == 3 ? random.range(85, 119)
                                  : random.range(-30, 30);
    for (std::size_t i = at; i < at + piece; ++i) {
      const double v = std::ldexp(normal(random), power);
      if (kind == 0)
        y[i] = random.chance(0.5) ? 0.0F : -0.0F;
      else if (kind == 1)
        y[i] = random.chance(0.01) ? static_cast<float>(v) : 0.0F;
      else if (kind == 4)
        y[i] = static_cast<float>(std::ldexp(v, -random.range(0, 60)));
      else if (kind == 5)
        y[i] = std::bit_cast<float>(static_cast<std::uint32_t>(random.word()) & 0x807FFFFFU);
      else if (kind == 6) // every mantissa bit set or none
        y[i] = std::bit_cast<float>(bits_of(static_cast<float>(v)) | 0x7FFFFFU);
      else
        y[i] = static_cast<float>(v);
    }
    if (kind == 7) // one coordinate carries the norm
      y[at + static_cast<std::size_t>(random.range(0, 1023))] =
          static_cast<float>(std::ldexp(random.real(1.0, 2.0), power + 12));
    at += piece;
  }
  return y;
}

struct Keys {
  Words2 sign;
  Words2 noise;
};
Keys random_keys(Random &random) {
  const std::uint64_t seed = std::uint64_t{static_cast<std::uint32_t>(random.word())} << 32 |
                             static_cast<std::uint32_t>(random.word());
  const auto round = static_cast<std::uint32_t>(random.word());
  return {sign_key(seed, round),
          noise_key(seed, round, static_cast<std::uint32_t>(random.range(0, 254)))};
}
// A multiple of 1024, often so that counters pass 2^32.
std::uint64_t random_first(Random &random) {
  switch (random.range(0, 3)) {
  case 0:
    return 0;
  case 1:
    return (std::uint64_t{1} << 34) - 1024 * static_cast<std::uint64_t>(random.range(0, 40));
  case 2:
    return (std::uint64_t{1} << 38) - 1024 * static_cast<std::uint64_t>(random.range(0, 40));
  default:
    return 1024 * static_cast<std::uint64_t>(static_cast<std::uint32_t>(random.word()));
  }
}

// Flags and results of the whole tensor by codec.hpp.
struct Plain {
  std::vector<std::uint8_t> indices;
  std::vector<float> error;
  Flags flags;
};
Plain plain_compress(std::span<const float> y, std::span<const BlockScale> scales,
                     const Table &table, const Keys &keys, std::uint64_t first, int max_log2) {
  Plain result;
  std::size_t at = 0;
  std::size_t b = 0;
  for (const int k : split_blocks(y.size(), max_log2)) {
    const Compressed c = compress_block(y.subspan(at, std::size_t{1} << k), scales[b++], table,
                                        keys.sign, keys.noise, first + at);
    result.indices.insert(result.indices.end(), c.indices.begin(), c.indices.end());
    result.error.insert(result.error.end(), c.error.begin(), c.error.end());
    result.flags.out_of_range |= c.flags.out_of_range;
    at += std::size_t{1} << k;
  }
  return result;
}
struct Means {
  std::vector<float> y;
  Flags flags;
};
Means plain_decompress(std::span<const std::uint32_t> sums,
                       std::span<const std::uint8_t> contributors,
                       std::span<const BlockScale> scales, const Table &table, Words2 sign,
                       std::uint64_t first, int max_log2) {
  Means result;
  std::size_t at = 0;
  std::size_t b = 0;
  for (const int k : split_blocks(sums.size(), max_log2)) {
    const std::size_t n = std::size_t{1} << k;
    const std::vector<float> y = decompress_block(
        sums.subspan(at, n), contributors.subspan(at / kPacketCoordinates, n / kPacketCoordinates),
        scales[b++], table, sign, first + at, result.flags);
    result.y.insert(result.y.end(), y.begin(), y.end());
    at += n;
  }
  return result;
}

class ThcFast : public ::testing::TestWithParam<FastPath> {};

INSTANTIATE_TEST_SUITE_P(Paths, ThcFast, ::testing::ValuesIn(fast_paths()),
                         [](const auto &path) { return to_string(path.param); });

TEST_P(ThcFast, NormsAreThoseOfTheReference) {
  Random random;
  SCOPED_TRACE(random.note());
  std::size_t positive = 0;
  for (int trial = 0; trial < 40; ++trial) {
    const int max_log2 = random.range(kMinBlockLog2, kMaxBlockLog2);
    const FastCodec codec(Table{}, max_log2, GetParam());
    const std::vector<float> y =
        random_tensor(random, 1024 * static_cast<std::size_t>(random.range(1, 70)));
    const std::vector<int> blocks = split_blocks(y.size(), max_log2);
    ASSERT_EQ(codec.blocks(y.size()), blocks.size());
    std::vector<float> norms(blocks.size());
    codec.norms(y, norms);
    std::size_t at = 0;
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const std::size_t n = std::size_t{1} << blocks[b];
      ASSERT_EQ(bits_of(norms[b]), bits_of(block_norm(std::span(y).subspan(at, n))))
          << "block " << b << " of 2^" << blocks[b];
      positive += norms[b] > 0.0F ? 1U : 0U;
      at += n;
    }
  }
  EXPECT_GT(positive, 40U);
}

// Every pair of exponents in one block, so that all combinations of the three classes occur.
TEST_P(ThcFast, NormsOfEveryExponent) {
  const FastCodec codec(Table{}, kMinBlockLog2, GetParam());
  std::vector<float> y(1024);
  for (std::uint32_t low = 0; low < 255; low += 3)
    for (std::uint32_t high = low; high < 255; high += 5) {
      for (std::uint32_t i = 0; i < 1024; ++i)
        y[i] = std::bit_cast<float>((i % 7 == 0 ? high : low) << 23 | (i * 8191U & 0x7FFFFFU) |
                                    i << 31);
      float norm = -1.0F;
      codec.norms(y, std::span(&norm, 1));
      ASSERT_EQ(bits_of(norm), bits_of(block_norm(y))) << low << " " << high;
    }
}

// A sum of squares so little below 2^64 that double precision takes it for 2^64: the norm is the
// fp32 number below 2^32.
TEST_P(ThcFast, NormsAreTruncatedWhereDoublePrecisionCannotTell) {
  __extension__ using Wide = unsigned __int128;
  const auto root17 =
      [](Wide v) { // the largest number of 17 bits and zeros whose square is not above v
        std::uint64_t root = 0;
        for (std::uint64_t bit = std::uint64_t{1} << 40; bit != 0; bit >>= 1)
          if (Wide{root | bit} * (root | bit) <= v)
            root |= bit;
        const int zeros = std::max(0, static_cast<int>(std::bit_width(root)) - 17);
        return root >> zeros << zeros;
      };
  // In units of 2^-7, the lowest bit of a number that counts.
  std::vector<std::uint64_t> terms(3, std::uint64_t{1} << 38);
  Wide rest = (Wide{1} << 76) - 1;
  while (rest >> 50 != 0) {
    terms.push_back(root17(rest));
    rest -= Wide{terms.back()} * terms.back();
  }
  std::uint64_t best[2] = {};
  Wide left = rest;
  for (std::uint64_t a = root17(rest / 2); a >= 1U << 16 && a + 40000 > root17(rest / 2); --a) {
    if (root17(Wide{a} * a) != a)
      continue;
    const std::uint64_t b = root17(rest - Wide{a} * a);
    const Wide after = rest - Wide{a} * a - Wide{b} * b;
    if (b >= 1U << 16 && after < left) {
      left = after;
      best[0] = a;
      best[1] = b;
    }
  }
  ASSERT_LT(left, Wide{1} << 24); // 2^-54 of the sum
  terms.insert(terms.end(), best, best + 2);
  std::vector<float> y(1024, 0.0F);
  for (std::size_t i = 0; i < terms.size(); ++i)
    y[37 * i % 1024] = static_cast<float>(static_cast<double>(terms[i]) / 128);
  ASSERT_EQ(block_norm(y), 0x1.fffffep31F);
  const FastCodec codec(Table{}, kMinBlockLog2, GetParam());
  float norm = 0.0F;
  codec.norms(y, std::span(&norm, 1));
  EXPECT_EQ(norm, 0x1.fffffep31F);
}

// Compress with and without error feedback, for blocks of all sizes.
TEST_P(ThcFast, CompressEqualsReference) {
  Random random;
  SCOPED_TRACE(random.note());
  std::size_t careful = 0;
  std::size_t vector_blocks = 0;
  std::size_t in_range = 0;
  for (int trial = 0; trial < 48; ++trial) {
    const int max_log2 = kMinBlockLog2 + trial % 6;
    const Table table = trial == 0 ? Table{} : random_table(random);
    FastCodec codec(table, max_log2, GetParam());
    const std::vector<float> y =
        random_tensor(random, 1024 * static_cast<std::size_t>(trial < 12 ? 1 << (trial % 6)
                                                                         : random.range(1, 40)));
    const Keys keys = random_keys(random);
    const std::uint64_t first = random_first(random);
    std::vector<float> norms(codec.blocks(y.size()));
    std::vector<BlockScale> scales(norms.size());
    codec.norms(y, norms);
    for (float &norm : norms) {
      if (random.chance(0.2)) // the largest of several workers
        norm *= static_cast<float>(random.real(1.0, 1000.0));
      else if (trial % 7 == 5 || random.chance(0.1)) // too small: values out of range
        norm *= static_cast<float>(std::ldexp(1.0, -random.range(1, 8)));
      norm = std::isfinite(norm) ? norm : std::numeric_limits<float>::max();
    }
    codec.scales(norms, scales);
    for (std::size_t b = 0; b < scales.size(); ++b)
      ASSERT_EQ(scales[b], make_scale(norms[b], table));

    const Plain want = plain_compress(y, scales, table, keys, first, max_log2);
    std::vector<std::uint8_t> packed(y.size() / 2, 0xA5);
    std::vector<float> error(y.size(), 1.0F);
    const Flags flags = codec.compress(y, scales, keys.sign, keys.noise, first, packed, error);
    EXPECT_EQ(flags.out_of_range, want.flags.out_of_range);
    (want.flags.out_of_range ? careful : in_range) += 1;
    vector_blocks += codec.blocks(y.size()) - codec.slow_blocks();
    ASSERT_EQ(unpack_nibbles(packed), want.indices) << "trial " << trial;
    ASSERT_EQ(first_difference(error, want.error), y.size()) << "trial " << trial;

    // Indices alone, and the error in the place of y.
    std::vector<std::uint8_t> again(packed.size(), 0x5A);
    static_cast<void>(codec.compress(y, scales, keys.sign, keys.noise, first, again, {}));
    ASSERT_EQ(again, packed);
    std::vector<float> both = y;
    static_cast<void>(codec.compress(both, scales, keys.sign, keys.noise, first, again, both));
    ASSERT_EQ(again, packed);
    ASSERT_EQ(first_difference(both, want.error), y.size());
  }
  EXPECT_GT(vector_blocks, 100U);
  EXPECT_GT(careful, 3U);
  EXPECT_GT(in_range, 3U);
}

// Ordinary blocks with the exponents at and beyond the ends of what the vector code takes.
TEST_P(ThcFast, CompressAndDecompressAtEveryExponent) {
  Random random;
  SCOPED_TRACE(random.note());
  const Table table;
  FastCodec codec(table, kMinBlockLog2, GetParam());
  for (int exponent = 1; exponent < 255; exponent += exponent < 32 || exponent > 240 ? 1 : 9) {
    const std::size_t slow_before = codec.slow_blocks();
    std::vector<float> y(1024);
    for (float &v : y)
      v = static_cast<float>(std::ldexp(normal(random), exponent - 127 - 6));
    float norm = 0.0F;
    codec.norms(y, std::span(&norm, 1));
    norm = std::bit_cast<float>(static_cast<std::uint32_t>(exponent) << 23 |
                                (bits_of(norm) & 0x7FFFFFU));
    const std::vector<BlockScale> scales = {make_scale(norm, table)};
    const Keys keys = random_keys(random);
    const Plain want = plain_compress(y, scales, table, keys, 0, kMinBlockLog2);
    std::vector<std::uint8_t> packed(512);
    std::vector<float> error(1024);
    const Flags flags = codec.compress(y, scales, keys.sign, keys.noise, 0, packed, error);
    ASSERT_EQ(flags.out_of_range, want.flags.out_of_range) << exponent;
    ASSERT_EQ(unpack_nibbles(packed), want.indices) << exponent;
    ASSERT_EQ(first_difference(error, want.error), 1024U) << exponent;

    std::vector<std::uint8_t> sums(1024);
    ASSERT_EQ(codec.aggregate(packed, sums, FastCodec::Sums::Overwrite), 0U);
    const std::vector<std::uint8_t> contributors = {1};
    const std::vector<std::uint32_t> wide(sums.begin(), sums.end());
    const Means means =
        plain_decompress(wide, contributors, scales, table, keys.sign, 0, kMinBlockLog2);
    std::vector<float> out(1024);
    const Flags decoded = codec.decompress(sums, contributors, scales, keys.sign, 0, out);
    ASSERT_EQ(decoded.out_of_range, means.flags.out_of_range) << exponent;
    ASSERT_EQ(first_difference(out, means.y), 1024U) << exponent;
    // Between the ends nothing is left to the reference.
    const std::size_t slow = exponent < 24 || exponent > 250 ? 2 : 0;
    ASSERT_EQ(codec.slow_blocks() - slow_before, slow) << exponent;
  }
}

template <typename Sum> void check_sums(FastPath path) {
  Random random;
  SCOPED_TRACE(random.note());
  std::size_t bad_seen = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const Table table = random_table(random);
    const FastCodec codec(table, kMaxBlockLog2, path);
    const std::size_t bytes = trial < 8 ? static_cast<std::size_t>(trial)
                                        : static_cast<std::size_t>(random.range(1, 3000));
    std::vector<Sum> sums(2 * bytes, 77);
    std::vector<std::uint32_t> want(2 * bytes, 77);
    for (int worker = 0; worker < 3; ++worker) {
      std::vector<std::uint8_t> packed(bytes);
      for (std::uint8_t &b : packed)
        b = static_cast<std::uint8_t>(random.range(0, 255));
      if (worker == 1)
        for (std::uint8_t &b : packed)
          b &= static_cast<std::uint8_t>((table.values.size() - 1) * 0x11U);
      std::size_t bad = 0;
      std::vector<std::uint8_t> indices = unpack_nibbles(packed);
      for (std::uint8_t &i : indices) {
        bad += i >= table.values.size() ? 1U : 0U;
        i &= static_cast<std::uint8_t>(table.values.size() - 1);
      }
      if (worker == 0)
        std::fill(want.begin(), want.end(), 0U);
      aggregate(indices, table, want);
      ASSERT_EQ(codec.aggregate(packed, sums,
                                worker == 0 ? FastCodec::Sums::Overwrite : FastCodec::Sums::Add),
                bad);
      bad_seen += bad;
    }
    for (std::size_t i = 0; i < sums.size(); ++i)
      ASSERT_EQ(sums[i], static_cast<Sum>(want[i])) << i << " of " << sums.size();
  }
  EXPECT_GT(bad_seen, 100U);
}
TEST_P(ThcFast, SumsOf16Bits) { check_sums<std::uint16_t>(GetParam()); }
TEST_P(ThcFast, SumsOf8Bits) { check_sums<std::uint8_t>(GetParam()); }

template <typename Sum> void check_decompress(FastPath path) {
  Random random;
  SCOPED_TRACE(random.note());
  constexpr int kMost = std::numeric_limits<Sum>::max();
  std::size_t missing = 0;
  std::size_t beyond = 0;
  std::size_t vector_blocks = 0;
  for (int trial = 0; trial < 48; ++trial) {
    const int max_log2 = kMinBlockLog2 + trial % 6;
    const Table table = random_table(random);
    FastCodec codec(table, max_log2, path);
    const std::size_t packets =
        static_cast<std::size_t>(trial < 12 ? 1 << (trial % 6) : random.range(1, 40));
    const std::size_t n = packets * kPacketCoordinates;
    const int g = static_cast<int>(table.granularity);
    const int limit = std::min(255, kMost / g);
    std::vector<std::uint8_t> contributors(packets);
    const bool wrong = trial % 8 == 7; // with sums that no workers could have made
    const int usual = random.range(1, wrong ? std::max(1, limit / 2) : limit);
    for (std::uint8_t &c : contributors) {
      c = static_cast<std::uint8_t>(random.chance(0.1) ? random.range(0, limit) : usual);
      c = random.chance(0.1) ? 0 : c;
      missing += c == 0 ? 1U : 0U;
    }
    if (wrong)
      contributors[0] = static_cast<std::uint8_t>(usual);
    std::vector<Sum> sums(n);
    for (std::size_t i = 0; i < n; ++i) {
      const int c = contributors[i / kPacketCoordinates];
      sums[i] = static_cast<Sum>(c == 0                ? random.range(0, kMost)
                                 : random.chance(0.01) ? random.range(0, 1) * c * g
                                                       : random.range(0, c * g));
      if (wrong && (i == 7 || random.chance(0.001)))
        sums[i] = static_cast<Sum>(kMost - i % 3);
      beyond += c != 0 && sums[i] > c * g ? 1U : 0U;
    }
    std::vector<BlockScale> scales;
    for (std::size_t b = 0; b < codec.blocks(n); ++b)
      scales.push_back(make_scale(
          random.chance(0.1)
              ? 0.0F
              : static_cast<float>(std::ldexp(random.real(1.0, 2.0), random.range(-100, 120))),
          table));
    const Keys keys = random_keys(random);
    const std::uint64_t first = random_first(random);
    const std::vector<std::uint32_t> wide(sums.begin(), sums.end());
    const Means want =
        plain_decompress(wide, contributors, scales, table, keys.sign, first, max_log2);
    std::vector<float> out(n, 1.0F);
    const Flags flags = codec.decompress(sums, contributors, scales, keys.sign, first, out);
    EXPECT_EQ(flags.out_of_range, want.flags.out_of_range);
    ASSERT_EQ(first_difference(out, want.y), n) << "trial " << trial;
    vector_blocks += codec.blocks(n) - codec.slow_blocks();
  }
  EXPECT_GT(vector_blocks, 100U);
  EXPECT_GT(missing, 10U);
  EXPECT_GT(beyond, 0U);
}
TEST_P(ThcFast, DecompressFrom16Bits) { check_decompress<std::uint16_t>(GetParam()); }
TEST_P(ThcFast, DecompressFrom8Bits) { check_decompress<std::uint8_t>(GetParam()); }

// Sums at the ends of the range in every coordinate, and alternating: the largest values a rotation
// can give.
TEST_P(ThcFast, DecompressExtremes) {
  for (const double t : {1.0, 3.9999})
    for (const int k : {10, 11, 12, 13, 14, 15}) {
      Table table;
      table.t = t;
      FastCodec codec(table, k, GetParam());
      const std::size_t n = std::size_t{1} << k;
      const std::vector<BlockScale> scales = {make_scale(0x1.fffffep7F, table)};
      const std::vector<std::uint8_t> contributors(n / kPacketCoordinates, 8);
      for (const std::size_t period : {n, std::size_t{2}, std::size_t{64}, n / 2}) {
        std::vector<std::uint8_t> sums(n);
        for (std::size_t i = 0; i < n; ++i)
          sums[i] = i % period < (period + 1) / 2 || period == n ? 240 : 0;
        const std::vector<std::uint32_t> wide(sums.begin(), sums.end());
        const Means want = plain_decompress(wide, contributors, scales, table, {1, 2}, 0, k);
        EXPECT_FALSE(want.flags.out_of_range);
        std::vector<float> out(n);
        static_cast<void>(codec.decompress(sums, contributors, scales, {1, 2}, 0, out));
        ASSERT_EQ(first_difference(out, want.y), n) << k << " " << period;
        ASSERT_EQ(codec.slow_blocks(), 0U);
      }
    }
}

// The norm in one rotated direction: y is a row of the rotation, or one coordinate.
TEST_P(ThcFast, CompressExtremes) {
  for (const double t : {1.0, 3.9999})
    for (const int k : {10, 11, 12, 13, 14, 15}) {
      Table table;
      table.t = t;
      FastCodec codec(table, k, GetParam());
      const std::size_t n = std::size_t{1} << k;
      const Keys keys = {{3, 4}, {5, 6}};
      for (const float scale : {1.0F, 0x1.fffffep0F})
        for (const std::size_t row : {std::size_t{0}, n - 1, n}) {
          std::vector<float> y(n, 0.0F);
          if (row == n)
            y[n / 3] = scale;
          else
            for (std::size_t i = 0; i < n; ++i)
              y[i] = (sign_at(keys.sign, i) != (std::popcount(i & row) % 2 == 1)) ? -scale : scale;
          std::vector<float> norms(1);
          codec.norms(y, norms);
          std::vector<BlockScale> scales(1);
          codec.scales(norms, scales);
          const Plain want = plain_compress(y, scales, table, keys, 0, k);
          EXPECT_FALSE(want.flags.out_of_range);
          std::vector<std::uint8_t> packed(n / 2);
          std::vector<float> error(n);
          EXPECT_FALSE(
              codec.compress(y, scales, keys.sign, keys.noise, 0, packed, error).out_of_range);
          ASSERT_EQ(unpack_nibbles(packed), want.indices) << k << " " << row;
          ASSERT_EQ(first_difference(error, want.error), n) << k << " " << row;
          ASSERT_EQ(codec.slow_blocks(), 0U);
        }
    }
}

// The rare coordinates: whose noise is just the fraction (rounded down), and one step beyond the
// clamp on either side. With this table a fraction is a multiple of 128 / 2^24, as the noise is.
TEST_P(ThcFast, TiesAndTheFirstStepBeyondTheClamp) {
  Table table;
  table.bits = 1;
  table.granularity = 1;
  table.values = {0, 1};
  table.t = 4.0 / 3.0;
  constexpr int kBlock = 15;
  const BlockScale scale = make_scale(1.0F, table);
  ASSERT_EQ(scale.gain, 384U);
  const std::int64_t reach = (std::int64_t{1} << 23) / scale.gain; // z18 within the clamp
  FastCodec codec(table, kBlock, GetParam());
  const std::size_t n = std::size_t{1} << kBlock;
  std::size_t ties = 0;
  std::size_t above = 0;
  std::size_t below = 0;
  std::uint64_t state = 1;
  for (std::uint64_t first = 0; first < 32 * n; first += n) {
    std::vector<float> y(n); // norm 1, each coordinate +-2^-7.5 or so
    for (float &v : y) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      v = static_cast<float>(static_cast<std::int64_t>(state) >> 11) * 0x1p-52F * 0x1.3988e1p-7F;
    }
    const Keys keys = {{11, 12}, {13, 14}};
    Flags flags;
    const std::vector<std::int32_t> z = rotate(y, scale, keys.sign, first, flags);
    for (std::size_t i = 0; i < n; ++i) {
      const std::int64_t z18 = shift_right_rne(z[i], 8 - kBlock / 2);
      const std::int64_t position = z18 * scale.gain + (1 << 23);
      ties += position == (2 * noise_at(keys.noise, first + i) + 1) * 128 ? 1U : 0U;
      above += z18 == reach + 1 ? 1U : 0U;
      below += z18 == -reach - 1 ? 1U : 0U;
    }
    const Plain want = plain_compress(y, std::span(&scale, 1), table, keys, first, kBlock);
    std::vector<std::uint8_t> packed(n / 2);
    std::vector<float> error(n);
    static_cast<void>(
        codec.compress(y, std::span(&scale, 1), keys.sign, keys.noise, first, packed, error));
    ASSERT_EQ(unpack_nibbles(packed), want.indices);
    ASSERT_EQ(first_difference(error, want.error), n);
  }
  EXPECT_EQ(codec.slow_blocks(), 0U);
  EXPECT_GT(ties, 0U);
  EXPECT_GT(above, 0U);
  EXPECT_GT(below, 0U);
}

TEST_P(ThcFast, AddFindsTheFirstBadCoordinate) {
  Random random;
  SCOPED_TRACE(random.note());
  const FastCodec codec(Table{}, kMaxBlockLog2, GetParam());
  const auto any = [&](double bad) {
    if (random.chance(bad))
      return random.chance(0.5) ? std::numeric_limits<float>::quiet_NaN()
                                : -std::numeric_limits<float>::infinity();
    float v = std::bit_cast<float>(static_cast<std::uint32_t>(random.word()));
    if (random.chance(0.2))
      v = std::bit_cast<float>(bits_of(v) & 0x80FFFFFFU); // about the border of the subnormals
    return is_nonfinite(v) ? 1.0F : v;
  };
  std::size_t found = 0;
  for (int trial = 0; trial < 60; ++trial) {
    const std::size_t n = 1024 * static_cast<std::size_t>(random.range(1, 12));
    const std::size_t count = n - static_cast<std::size_t>(random.range(0, 1023));
    const double bad = trial % 3 == 0 ? 0.0 : 1.0 / static_cast<double>(n);
    std::vector<float> x(count);
    std::vector<std::uint16_t> half(count);
    std::vector<float> e(n);
    for (std::size_t i = 0; i < count; ++i) {
      x[i] = any(bad);
      half[i] = static_cast<std::uint16_t>(bits_of(any(bad)) >> 16);
    }
    for (float &v : e)
      v = any(0.0);
    const bool with = random.chance(0.7);
    for (const bool bf16 : {false, true}) {
      std::vector<float> want(n);
      std::optional<std::size_t> first;
      for (std::size_t i = 0; i < n; ++i) {
        const float v = i >= count ? 0.0F : bf16 ? from_bf16(half[i]) : x[i];
        want[i] = add_ftz(v, with ? e[i] : 0.0F);
        if (is_nonfinite(want[i])) {
          want[i] = 0.0F;
          first = first.value_or(i);
        }
      }
      found += first.has_value() ? 1U : 0U;
      const std::span<const float> error =
          with ? std::span<const float>(e) : std::span<const float>{};
      std::vector<float> y(n, 5.0F);
      ASSERT_EQ(bf16 ? codec.add_bf16(half, error, y) : codec.add(x, error, y), first);
      ASSERT_EQ(first_difference(y, want), n);
      if (with) { // in the place of e
        y = e;
        ASSERT_EQ(bf16 ? codec.add_bf16(half, y, y) : codec.add(x, y, y), first);
        ASSERT_EQ(first_difference(y, want), n);
      }
    }
  }
  EXPECT_GT(found, 10U);
}

TEST(ThcFastPaths, GenericIsThereAndDefaultIsAvailable) {
  const std::vector<FastPath> paths = fast_paths();
  EXPECT_EQ(paths.front(), FastPath::Generic);
  EXPECT_THAT(paths, ::testing::Contains(default_fast_path()));
}

} // namespace
} // namespace kestrel::thc::ref
