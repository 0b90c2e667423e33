// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The integer reference of THC: number formats, rotation, quantisation, decoding and the properties
// that a gradient's mean depends on.
#include "sw_ref/thc/codec.hpp"

#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <tuple>

#include <gtest/gtest.h>

#include "sw_ref/thc/fixed.hpp"
#include "sw_ref/thc/solver.hpp"
#include "tests/sw_ref/thc/thc_support.hpp"

namespace kestrel::thc::ref {
namespace {

using test::mean_of;
using test::nmse;
using test::norm_of;
using test::Source;
using test::Statistic;

Table table_of(unsigned bits, unsigned g, double p) {
  return {bits, g, clamp_of(p), solve_table(bits, g, p).values};
}

Table random_table(Source &source) {
  const unsigned bits = 1 + source.below(4);
  const unsigned least = (1U << bits) - 1;
  const unsigned g = least + source.below(256 - least);
  Table table;
  table.bits = bits;
  table.granularity = g;
  table.t = source.real(1.0, 3.99);
  std::vector<std::uint8_t> inner(g > 1 ? g - 1 : 0);
  std::iota(inner.begin(), inner.end(), std::uint8_t{1});
  for (std::size_t i = inner.size(); i-- > 1;)
    std::swap(inner[i], inner[source.below(static_cast<std::uint32_t>(i + 1))]);
  table.values.assign(inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(least - 1));
  table.values.push_back(0);
  table.values.push_back(static_cast<std::uint8_t>(g));
  std::sort(table.values.begin(), table.values.end());
  return table;
}

float with_exponent(Source &source, std::uint32_t field) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(source.bits() & 0x807FFFFF) | field << 23);
}

// ------------------------------------------------------------------------------------ number
// formats

TEST(ThcFixed, ToFixedIsRoundingToNearestEven) {
  Source source;
  std::size_t ties = 0;
  std::size_t beyond = 0;
  for (int n = 0; n < 300'000; ++n) {
    const std::uint32_t exponent = 1 + source.below(254);
    const auto field = static_cast<std::uint32_t>(std::clamp<std::int64_t>(
        std::int64_t{exponent} + 3 - static_cast<std::int64_t>(source.below(34)), 0, 254));
    float x = with_exponent(source, field);
    if (source.below(4) == 0) // few mantissa bits: ties
      x = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & ~0U << source.below(24));
    bool flag = false;
    const std::int32_t v = to_fixed(x, exponent, flag);
    const double exact =
        std::ldexp(static_cast<double>(flush(x)), kFractionBits + 127 - static_cast<int>(exponent));
    if (std::abs(exact) >= std::ldexp(1.0, kFractionBits + 2)) {
      EXPECT_TRUE(flag);
      EXPECT_EQ(std::abs(v), 1 << 24);
      EXPECT_EQ(v < 0, x < 0);
      ++beyond;
      continue;
    }
    ASSERT_FALSE(flag) << x << " " << exponent;
    ASSERT_EQ(v, std::nearbyint(exact)) << x << " " << exponent;
    ties += std::abs(exact - std::floor(exact)) == 0.5;
  }
  EXPECT_GT(ties, 1000U);
  EXPECT_GT(beyond, 1000U);
  bool flag = false;
  EXPECT_EQ(to_fixed(1.0F, 0, flag), 0); // the zero block
  EXPECT_EQ(to_fixed(1e-40F, 1, flag), 0);
  EXPECT_FALSE(flag);
}

TEST(ThcFixed, ToFloatIsRoundingToNearestEven) {
  Source source;
  std::size_t rounded = 0;
  std::size_t tiny = 0;
  std::size_t huge = 0;
  for (int n = 0; n < 300'000; ++n) {
    const auto v = static_cast<std::int32_t>(static_cast<std::uint32_t>(source.bits())) >>
                   (5 + source.below(26));
    const std::uint32_t exponent = source.below(3) == 0   ? 1 + source.below(40)
                                   : source.below(2) == 0 ? 254 - source.below(10)
                                                          : 1 + source.below(254);
    bool flag = false;
    const float x = to_float(v, exponent, flag);
    // To 24 bits as if the exponent had no limits, then the limits.
    const double exact = std::ldexp(static_cast<double>(static_cast<float>(v)),
                                    static_cast<int>(exponent) - 127 - kFractionBits);
    rounded += static_cast<double>(static_cast<float>(v)) != v;
    if (std::abs(exact) < FLT_MIN) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(x), 0U) << v << " " << exponent;
      tiny += v != 0;
    } else if (std::abs(exact) > FLT_MAX) {
      ASSERT_EQ(x, v < 0 ? -FLT_MAX : FLT_MAX);
      ASSERT_TRUE(flag);
      ++huge;
    } else {
      ASSERT_EQ(static_cast<double>(x), exact) << v << " " << exponent;
      ASSERT_FALSE(flag);
    }
  }
  EXPECT_GT(rounded, 1000U);
  EXPECT_GT(tiny, 1000U);
  EXPECT_GT(huge, 1000U);
}

TEST(ThcFixed, AddFlushesSubnormals) {
  Source source;
  for (int n = 0; n < 200'000; ++n) {
    const std::uint32_t field = source.below(255);
    const float a = with_exponent(source, field);
    const float b = with_exponent(source, std::min(254U, field + source.below(3)));
    const double exact = static_cast<double>(flush(a)) + static_cast<double>(flush(b));
    const auto want =
        static_cast<float>(exact); // 24-bit operands of near exponents: exact in double
    const float got = add_ftz(a, b);
    if (std::abs(want) < FLT_MIN)
      EXPECT_EQ(got, 0.0F);
    else
      EXPECT_EQ(got, want);
  }
  EXPECT_EQ(add_ftz(1e-40F, 1e-40F), 0.0F);
  EXPECT_EQ(add_ftz(FLT_MIN * 1.5F, -FLT_MIN), 0.0F); // the result is subnormal
  EXPECT_TRUE(is_nonfinite(add_ftz(FLT_MAX, FLT_MAX)));
  EXPECT_TRUE(is_nonfinite(std::numeric_limits<float>::quiet_NaN()));
  EXPECT_FALSE(is_nonfinite(FLT_MAX));
}

TEST(ThcFixed, ShiftRightBreaksTiesToEven) {
  for (int n = 0; n <= 6; ++n)
    for (std::int64_t v = -300; v <= 300; ++v)
      EXPECT_EQ(shift_right_rne(v, n), std::nearbyint(std::ldexp(static_cast<double>(v), -n)));
}

TEST(ThcFixed, Bf16IsTheUpperHalf) {
  EXPECT_EQ(from_bf16(0x3F80), 1.0F);
  EXPECT_EQ(from_bf16(0xC049), -3.140625F);
}

// ------------------------------------------------------------------------------------------- norm

TEST(ThcNorm, AgreesWithDoubleForAnySpread) {
  // Worst case, as stated in docs/thc.md: rounding of mantissas to 17 bits 2^-17 (where 2^17
  // saturates), coordinates three classes down 2^-18, truncation of the root 2^-23.
  const double bound = std::ldexp(1.0, -17) + std::ldexp(1.0, -18) + std::ldexp(1.0, -22);
  Source source;
  double worst = 0.0;
  const auto check = [&](const std::vector<float> &y, const char *what) {
    double sum = 0.0;
    for (const float v : y)
      sum += std::pow(static_cast<double>(flush(v)), 2);
    const double want = std::sqrt(sum);
    const float got = block_norm(y);
    if (want < FLT_MIN) {
      EXPECT_LT(got, 2 * FLT_MIN) << what;
    } else if (want > FLT_MAX * (1 + bound)) {
      EXPECT_TRUE(std::isinf(got)) << what;
    } else if (std::isfinite(got)) {
      EXPECT_LT(std::abs(got / want - 1), bound) << what << " " << want;
      worst = std::max(worst, std::abs(got / want - 1));
    } else {
      EXPECT_GT(want, FLT_MAX * (1 - bound)) << what;
    }
  };
  for (int n = 0; n < 200; ++n) {
    std::vector<float> y(1024);
    const std::uint32_t low = source.below(255);
    const std::uint32_t spread = 1 + source.below(255 - low);
    for (float &v : y)
      v = with_exponent(source, low + source.below(spread));
    check(y, "random exponents");
    const float same = with_exponent(source, 1 + source.below(240));
    std::fill(y.begin(), y.end(), same);
    check(y, "equal coordinates");
    std::fill(y.begin(), y.end(), 0.0F);
    y[source.below(1024)] = same;
    check(y, "one coordinate");
  }
  for (std::uint32_t field = 24; field < 200; ++field) {
    // Everything that is dropped, and as much of it as there can be, beside the smallest that
    // counts.
    std::vector<float> y(1U << 15, std::bit_cast<float>((field - 17) << 23 | 0x7FFFFF));
    y[7] = std::bit_cast<float>(field << 23);
    check(y, "one class and the third below it");
    // The two classes below count.
    for (const std::uint32_t below : {1U, 8U, 9U, 16U}) {
      std::fill(y.begin(), y.end(), std::bit_cast<float>((field - below) << 23 | 0x400000));
      y[7] = std::bit_cast<float>(field << 23);
      check(y, "one coordinate and many small ones");
    }
    std::fill(y.begin(), y.end(), std::bit_cast<float>(field << 23 | 0x7FFFFF));
    check(y, "mantissas that saturate");
  }
  std::printf("block norm: largest relative error %.3g = 2^%.2f, stated bound %.3g\n", worst,
              std::log2(worst), bound);
  EXPECT_GT(worst, bound / 4); // the bound is not idle
}

TEST(ThcNorm, Corners) {
  EXPECT_EQ(block_norm(std::vector<float>(1024)), 0.0F);
  EXPECT_EQ(block_norm(std::vector<float>(1024, 1e-40F)), 0.0F);
  EXPECT_EQ(block_norm(std::vector<float>(1024, 1.0F)), 32.0F);
  EXPECT_EQ(block_norm(std::vector<float>(1024, -1.0F)), 32.0F);
  EXPECT_TRUE(std::isinf(block_norm(std::vector<float>(1024, FLT_MAX))));
  std::vector<float> y(1024);
  y[1023] = FLT_MIN;
  EXPECT_EQ(block_norm(y), FLT_MIN);
}

// ---------------------------------------------------------------------------------------- rotation

TEST(ThcHadamard, EqualsTheExactTransform) {
  Source source;
  for (int k = 10; k <= 15; ++k) {
    const std::size_t n = std::size_t{1} << k;
    std::vector<std::int32_t> x(n);
    for (auto &v : x)
      v = static_cast<std::int32_t>(source.below(1 << 20)) - (1 << 19);
    std::vector<std::int64_t> exact(x.begin(), x.end());
    for (std::size_t stride = 1; stride < n; stride *= 2)
      for (std::size_t i = 0; i < n; ++i)
        if ((i & stride) == 0) {
          const std::int64_t a = exact[i];
          const std::int64_t b = exact[i + stride];
          exact[i] = a + b;
          exact[i + stride] = a - b;
        }
    for (const std::size_t row : {std::size_t{0}, std::size_t{1}, n / 2 + 3, n - 1}) {
      std::int64_t sum = 0;
      for (std::size_t i = 0; i < n; ++i)
        sum += (std::popcount(row & i) & 1) != 0 ? -x[i] : x[i];
      ASSERT_EQ(exact[row], sum);
    }
    const std::vector<std::int32_t> before = x;
    bool overflow = false;
    hadamard(x, overflow);
    EXPECT_FALSE(overflow);
    Statistic squares;
    Statistic mean;
    double worst = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      const double e = x[i] - std::ldexp(static_cast<double>(exact[i]), -(k / 2));
      squares.add(e * e);
      mean.add(e);
      worst = std::max(worst, std::abs(e));
    }
    // A halving stage adds a variance of 1/8, and butterflies of two stages keep it.
    const int halvings = k / 2;
    const double predicted = std::sqrt(halvings / 8.0 * ((k & 1) != 0 ? 2.0 : 1.0));
    EXPECT_NEAR(std::sqrt(squares.mean()), predicted, 0.1) << k;
    EXPECT_LT(worst, 7 * predicted) << k;
    EXPECT_LT(std::abs(mean.mean()), 5 * mean.standard_error()) << k;
    // Twice is once or twice the identity.
    hadamard(x, overflow);
    double back = 0.0;
    for (std::size_t i = 0; i < n; ++i)
      back = std::max(back,
                      std::abs(static_cast<double>(x[i]) - before[i] * ((k & 1) != 0 ? 2.0 : 1.0)));
    EXPECT_LT(back, 16.0) << k;
  }
}

TEST(ThcHadamard, OverflowIsSeen) {
  constexpr std::int32_t kLimit = 1 << (kFixedBits - 1);
  const auto overflows = [](std::vector<std::int32_t> x) {
    bool overflow = false;
    hadamard(x, overflow);
    return overflow;
  };
  EXPECT_TRUE(overflows({kLimit / 2, kLimit / 2}));
  EXPECT_FALSE(overflows({kLimit / 2, kLimit / 2 - 1}));
  EXPECT_FALSE(overflows({-kLimit / 2, -kLimit / 2}));
  EXPECT_TRUE(overflows({-kLimit / 2, -kLimit / 2 - 1}));
  EXPECT_TRUE(overflows({-kLimit / 2 - 1, kLimit / 2}));
  // The largest block of the largest norm, all in one coordinate, stays inside.
  std::vector<std::int32_t> x(1U << 15);
  x[5] = (1 << 23) - 1;
  EXPECT_FALSE(overflows(x));
  bool overflow = true; // never cleared
  std::vector<std::int32_t> zero(2);
  hadamard(zero, overflow);
  EXPECT_TRUE(overflow);
}

TEST(ThcRotate, NoVectorWithinItsNormOverflows) {
  Source source;
  const Table table;
  for (int k = 10; k <= 15; ++k)
    for (int shape = 0; shape < 4; ++shape) {
      const Words2 key = source.key();
      std::vector<float> y(std::size_t{1} << k);
      for (std::size_t i = 0; i < y.size(); ++i) {
        const float sign = sign_at(key, i) ? -1.0F : 1.0F;
        // Equal after the signs (all in coordinate 0 of the transform), one spike, a row, random.
        y[i] = shape == 0   ? sign
               : shape == 1 ? (i == 99 ? 1.0F : 0.0F)
               : shape == 2 ? (std::popcount(i & 0x2A5) % 2 == 0 ? sign : -sign)
                            : static_cast<float>(source.normal());
      }
      const float scale = 1.999999F / static_cast<float>(norm_of(y));
      for (float &v : y)
        v *= scale;
      Flags flags;
      (void)rotate(y, make_scale(block_norm(y), table), key, 0, flags);
      EXPECT_FALSE(flags.out_of_range) << k << " " << shape;
      // 16 times the norm that was agreed on is noticed.
      for (float &v : y)
        v *= 16.0F;
      if (shape < 3) {
        (void)rotate(y, make_scale(block_norm(y) / 16, table), key, 0, flags);
        EXPECT_TRUE(flags.out_of_range) << k << " " << shape;
      }
    }
}

// ------------------------------------------------------------------------------ scale,
// quantisation

TEST(ThcScale, IsTheRoundedFormula) {
  Source source;
  for (int n = 0; n < 100'000; ++n) {
    Table table = random_table(source);
    const float norm = std::bit_cast<float>(
        std::bit_cast<std::uint32_t>(with_exponent(source, 1 + source.below(254))) & 0x7FFFFFFF);
    const BlockScale scale = make_scale(norm, table);
    int exponent = 0;
    const double m = 2.0 * std::frexp(static_cast<double>(norm), &exponent);
    EXPECT_EQ(static_cast<int>(scale.exponent), exponent - 1 + 127);
    ASSERT_LT(scale.gain, 1U << 17);
    EXPECT_NEAR(scale.gain, table.granularity / (2 * table.t * m) * 1024, 0.5 + 1e-6);
    ASSERT_GE(scale.step, 1U << 16);
    ASSERT_LT(scale.step, 1U << 17);
    ASSERT_GE(scale.step_shift, 13U);
    ASSERT_LE(scale.step_shift, 24U);
    EXPECT_NEAR(std::ldexp(scale.step, -static_cast<int>(scale.step_shift)) * table.granularity /
                    (table.t * m),
                1.0, std::ldexp(1.01, -17));
  }
  EXPECT_EQ(make_scale(0.0F, Table{}), BlockScale{});
  EXPECT_EQ(make_scale(1e-40F, Table{}), BlockScale{});
}

TEST(ThcQuantise, IsUnbiasedRoundingOnTheTable) {
  // All 65536 noise values: the share that rounds up is the distance to the lower value, exactly.
  Source source;
  for (int n = 0; n < 60; ++n) {
    const Table table = n == 0 ? Table{} : random_table(source);
    const int k = 10 + static_cast<int>(source.below(6));
    const BlockScale scale = make_scale(static_cast<float>(source.real(1.0, 2.0)), table);
    const double unit = std::ldexp(1.0, 14 + 8 - k / 2); // of z: m times a unit variance
    const auto z = static_cast<std::int32_t>(std::lround(source.real(-2.5, 2.5) * unit));
    double sum = 0.0;
    unsigned low = 255;
    unsigned high = 0;
    for (unsigned noise = 0; noise < 65536; ++noise) {
      const unsigned index = quantise(z, k, scale, table, static_cast<std::uint16_t>(noise));
      low = std::min(low, index);
      high = std::max(high, index);
      sum += table.values[index];
    }
    const std::int64_t z18 =
        std::clamp<std::int64_t>(shift_right_rne(z, 8 - k / 2), -(1 << 17), (1 << 17) - 1);
    const double position =
        std::clamp(std::ldexp(static_cast<double>(z18) * scale.gain, -24) + table.granularity / 2.0,
                   0.0, static_cast<double>(table.granularity));
    // Position on the grid; 65536 noise values resolve a cell to half of 2^-16 of its width.
    EXPECT_NEAR(sum / 65536, position, 0.5 / 65536 * table.granularity + 1e-9);
    EXPECT_LE(high, low + 1);
    EXPECT_LE(table.values[low], position + 1e-9);
    EXPECT_GE(table.values[high] + 1e-9, position - (low == high ? table.granularity : 0));
  }
}

TEST(ThcQuantise, ClampsAtBothEnds) {
  const Table table;
  const BlockScale scale = make_scale(1.0F, table);
  for (const std::int32_t z : {(1 << 26) - 1, 1 << 22, 1 << 20})
    for (const std::uint16_t noise : {std::uint16_t{0}, std::uint16_t{65535}}) {
      EXPECT_EQ(quantise(z, 10, scale, table, noise), 15);
      EXPECT_EQ(quantise(-z, 10, scale, table, noise), 0);
    }
  EXPECT_EQ(quantise(-(1 << 26), 15, scale, table, 65535), 0);
}

TEST(ThcDequantise, IsTheFormula) {
  // Against (S/n - g/2) (2t/g) l / sqrt(d), in units of 2^(e-22), half of it for odd k as stated;
  // the error is given relative to the clamp t l / sqrt(d).
  Source source;
  double worst = 0.0;
  for (int n = 0; n < 200'000; ++n) {
    const Table table = random_table(source);
    const unsigned contributors =
        1 + source.below(std::min(kMaxContributors, kMaxSum / table.granularity));
    const std::uint32_t range = contributors * table.granularity;
    const std::uint32_t sum =
        source.below(4) == 0 ? (source.below(2) != 0 ? range : 0) : source.below(range + 1);
    const int k = 10 + static_cast<int>(source.below(6));
    // Below 2: the unit is that of the norm's exponent.
    const double m =
        std::min(static_cast<float>(source.real(1.0, 2.0)), std::nextafter(2.0F, 1.0F));
    const std::int32_t got =
        dequantise(sum, contributors, k, make_scale(static_cast<float>(m), table), table);
    const double clamp =
        table.t * m * std::ldexp(1.0, kFractionBits) / std::sqrt(std::ldexp(1.0, k + (k & 1)));
    const double want = (2.0 * sum / range - 1.0) * clamp;
    worst = std::max(worst, (std::abs(got - want) - 0.5) / clamp);
    if (2 * sum == range) {
      EXPECT_EQ(got, 0);
    }
  }
  std::printf("dequantise: error at most %.3g of the clamp, and half a unit\n", worst);
  // The factor has 14 bits or more, step and reciprocal 17.
  EXPECT_LT(worst, std::ldexp(1.0, -14) + std::ldexp(1.0, -16));
  EXPECT_GT(worst, std::ldexp(1.0, -16));
  EXPECT_EQ(dequantise(0, 0, 10, make_scale(1.0F, Table{}), Table{}), 0);
  EXPECT_EQ(dequantise(99, 0, 10, make_scale(1.0F, Table{}), Table{}), 0);
  EXPECT_EQ(dequantise(30, 1, 10, BlockScale{}, Table{}), 0);
}

TEST(ThcDequantise, IsOdd) {
  Source source;
  for (int n = 0; n < 20'000; ++n) {
    const Table table = random_table(source);
    const unsigned contributors =
        1 + source.below(std::min(kMaxContributors, kMaxSum / table.granularity));
    const std::uint32_t range = contributors * table.granularity;
    const std::uint32_t sum = source.below(range + 1);
    const int k = 10 + static_cast<int>(source.below(6));
    const BlockScale scale = make_scale(static_cast<float>(source.real(1.0, 2.0)), table);
    EXPECT_EQ(dequantise(sum, contributors, k, scale, table),
              -dequantise(range - sum, contributors, k, scale, table));
  }
}

// ------------------------------------------------------------------------------------ whole blocks

struct Anchor {
  unsigned bits, granularity;
  int inverse_p;
  unsigned workers;
  double nmse;
};
void PrintTo(const Anchor &a, std::ostream *os) {
  *os << "b" << a.bits << "_g" << a.granularity << "_p" << a.inverse_p << "_n" << a.workers;
}

class ThcAnchors : public ::testing::TestWithParam<Anchor> {};

TEST_P(ThcAnchors, NmseOfEqualGradients) {
  const Anchor &a = GetParam();
  Source source;
  const Table table = table_of(a.bits, a.granularity, 1.0 / a.inverse_p);
  Statistic measured;
  for (const int k : {12, 13})
    for (int block = 0; block < 40; ++block) {
      const auto x = source.gaussian(std::size_t{1} << k);
      const std::uint64_t seed = source.bits();
      const auto got = mean_of(std::vector(a.workers, x), table, sign_key(seed, 0), seed);
      EXPECT_FALSE(got.flags.out_of_range);
      measured.add(nmse(got.mean, x));
    }
  // 5 standard errors, the anchor's last digit, and what a block of 4096 coordinates adds to a
  // normal distribution's expectation.
  const double tolerance = 5 * measured.standard_error() + 5e-6 + a.nmse * 1e-3;
  EXPECT_NEAR(measured.mean(), a.nmse, tolerance);
  std::printf("NMSE %.5f +- %.5f, anchor %.5f\n", measured.mean(), measured.standard_error(),
              a.nmse);
}

INSTANTIATE_TEST_SUITE_P(
    , ThcAnchors,
    ::testing::Values(Anchor{4, 30, 16, 1, .02680}, Anchor{4, 30, 16, 4, .01957},
                      Anchor{4, 30, 16, 8, .01836}, Anchor{4, 30, 32, 1, .02034},
                      Anchor{4, 30, 32, 4, .01054}, Anchor{4, 30, 32, 8, .00890},
                      Anchor{4, 30, 64, 1, .01937}, Anchor{4, 30, 64, 4, .00721},
                      Anchor{4, 30, 64, 8, .00518}, Anchor{4, 30, 512, 1, .02379},
                      Anchor{3, 16, 32, 1, .06274}),
    ::testing::PrintToStringParamName());

TEST(ThcBlock, Coordinate0CarriesNoSpike) {
  // A constant bias of the rounding in the rotated domain, times the sign of the coordinate, ends
  // in coordinate 0. Equal gradients of several workers, so that nothing averages out.
  Source source;
  const Table table;
  for (const int k : {10, 11}) {
    Statistic honest;
    Statistic raw;
    Statistic biased;
    const std::size_t n = std::size_t{1} << k;
    for (int repetition = 0; repetition < 600; ++repetition) {
      const auto x = source.gaussian(n);
      const std::uint64_t seed = source.bits();
      const Words2 sign = sign_key(seed, 0);
      const auto got = mean_of({x, x}, table, sign, seed);
      const double flip = sign_at(sign, 0) ? -1.0 : 1.0;
      honest.add(flip * (got.mean[0] - x[0]));
      raw.add(got.mean[0] - x[0]);
      // The same with a bias of 1/100 of the step upwards, to see that the test would notice.
      Flags flags;
      std::vector<std::uint32_t> sums(n);
      const auto z = rotate(x, got.scale, sign, 0, flags);
      for (std::size_t i = 0; i < n; ++i)
        for (std::uint32_t w = 0; w < 2; ++w) {
          const std::uint16_t noise = noise_at(noise_key(seed, 0, w), i);
          sums[i] += table.values[quantise(z[i], k, got.scale, table,
                                           static_cast<std::uint16_t>(std::max(0, noise - 655)))];
        }
      const auto y = decompress_block(sums, std::vector<std::uint8_t>(n / 1024, 2), got.scale,
                                      table, sign, 0, flags);
      biased.add(flip * (y[0] - x[0]));
    }
    EXPECT_LT(std::abs(honest.mean()), 4 * honest.standard_error()) << k;
    EXPECT_LT(std::abs(raw.mean()), 4 * raw.standard_error()) << k;
    EXPECT_GT(biased.mean(), 8 * biased.standard_error()) << k;
    std::printf("k = %d: coordinate 0 off by %.4f +- %.4f (biased rounding: %.4f)\n", k,
                honest.mean(), honest.standard_error(), biased.mean());
  }
}

TEST(ThcBlock, EveryCoordinateIsUnbiasedInsideTheClamp) {
  // One fixed vector, fresh randomness: the mean over repetitions goes to the vector. p is small,
  // so that nothing is clamped.
  Source source;
  const Table table = table_of(4, 64, 1e-4);
  const auto x = source.gaussian(1024);
  std::vector<double> sum(x.size());
  constexpr int kRepetitions = 400;
  double one = 0.0;
  for (int r = 0; r < kRepetitions; ++r) {
    const std::uint64_t seed = source.bits();
    const auto got = mean_of({x}, table, sign_key(seed, 0), seed);
    one += nmse(got.mean, x) / kRepetitions;
    for (std::size_t i = 0; i < x.size(); ++i)
      sum[i] += got.mean[i] / kRepetitions;
  }
  EXPECT_NEAR(nmse(sum, x) / (one / kRepetitions), 1.0, 0.3);
}

TEST(ThcBlock, ErrorFeedbackIsWhatTheIndicesDoNotSay) {
  Source source;
  for (int k = 10; k <= 15; ++k) {
    const Table table = k % 2 == 0 ? Table{} : random_table(source);
    auto y = source.gaussian(std::size_t{1} << k, std::exp2(source.real(-80, 80)));
    for (std::size_t i = 0; i < y.size(); i += 3)
      y[i] *= 50.0F;
    const float norm = block_norm(y);
    const BlockScale scale = make_scale(norm, table);
    const Words2 sign = source.key();
    const std::uint64_t first = 1024ULL * source.below(1000);
    const Compressed c = compress_block(y, scale, table, sign, source.key(), first);
    EXPECT_FALSE(c.flags.out_of_range);
    std::vector<std::uint32_t> sums(y.size());
    aggregate(c.indices, table, sums);
    Flags flags;
    const auto decoded = decompress_block(sums, std::vector<std::uint8_t>(y.size() / 1024, 1),
                                          scale, table, sign, first, flags);
    // In units of the block's fixed point, 2^(e-22).
    const double unit = std::ldexp(1.0, static_cast<int>(scale.exponent) - 127 - kFractionBits);
    Statistic squares;
    double worst = 0.0;
    double at_zero = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double d = (static_cast<double>(y[i]) - decoded[i] - c.error[i]) / unit;
      squares.add(d * d);
      (i == 0 ? at_zero : worst) = std::max(i == 0 ? at_zero : worst, std::abs(d));
    }
    std::printf("k = %d: y - decoded - e: rms %.2f, max %.2f, at 0 %.2f units of 2^(e-22) = %.1e, "
                "%.1e of l/sqrt(d)\n",
                k, std::sqrt(squares.mean()), worst, at_zero,
                std::sqrt(squares.mean()) * unit / norm * std::exp2(k / 2.0),
                worst * unit / norm * std::exp2(k / 2.0));
    EXPECT_LT(std::sqrt(squares.mean()), 2.5) << k;
    EXPECT_LT(worst, 16.0) << k;
    // Coordinate 0 gathers what the roundings of the 16 decoded values, half a unit each at most,
    // have in common.
    EXPECT_LT(at_zero, worst + 0.5 * std::exp2((k + 1) / 2)) << k;
  }
}

TEST(ThcBlock, ErrorFeedbackRecoversTheClampedPart) {
  // The mean of what is sent over rounds goes to the gradient, clamp or not.
  Source source;
  const Table table = table_of(4, 30, 1.0 / 16);
  const auto x = source.gaussian(1024);
  std::vector<float> error(x.size());
  std::vector<double> sent(x.size());
  std::vector<double> plain(x.size());
  constexpr int kRounds = 60;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    const Words2 sign = sign_key(42, round);
    for (const bool feedback : {true, false}) {
      std::vector<float> y = x;
      for (std::size_t i = 0; feedback && i < y.size(); ++i)
        y[i] = add_ftz(x[i], error[i]);
      const BlockScale scale = make_scale(block_norm(y), table);
      const Compressed c = compress_block(y, scale, table, sign, noise_key(42, round, 0), 0);
      std::vector<std::uint32_t> sums(y.size());
      aggregate(c.indices, table, sums);
      Flags flags;
      const auto decoded =
          decompress_block(sums, std::vector<std::uint8_t>{1}, scale, table, sign, 0, flags);
      if (feedback)
        error = c.error;
      for (std::size_t i = 0; i < y.size(); ++i)
        (feedback ? sent : plain)[i] += decoded[i] / static_cast<double>(kRounds);
    }
  }
  EXPECT_LT(nmse(sent, x), 2e-4);
  EXPECT_GT(nmse(plain, x), 5 * nmse(sent, x));
}

TEST(ThcBlock, Zeros) {
  Source source;
  const Table table;
  for (const int k : {10, 15}) {
    const std::vector<float> zero(std::size_t{1} << k);
    const auto got = mean_of({zero, zero, zero}, table, source.key(), 5);
    EXPECT_FALSE(got.flags.out_of_range);
    for (const float v : got.mean)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(v), 0U);
    const Compressed c =
        compress_block(zero, make_scale(0.0F, table), table, source.key(), source.key(), 0);
    for (const float v : c.error)
      ASSERT_EQ(v, 0.0F);
  }
  // One worker without a gradient beside one with.
  const auto x = source.gaussian(4096);
  const std::vector<float> zero(4096);
  const auto got = mean_of({x, zero}, table, source.key(), 6);
  std::vector<float> half = x;
  for (float &v : half)
    v *= 0.5F;
  // The other's error, and zeros that round to 14 or 16 of 30: one grid step, 2t/g.
  EXPECT_NEAR(nmse(got.mean, half), 0.02034 + std::pow(2 * table.t / 30, 2), 0.006);
}

TEST(ThcBlock, MissingPackets) {
  // Worker 1's second packet and everybody's fourth are missing: the rotated values are the mean of
  // whom there is, zero where nobody is.
  Source source;
  const Table table;
  constexpr std::size_t kN = 4096;
  const auto a = source.gaussian(kN);
  const auto b = source.gaussian(kN);
  const Words2 sign = source.key();
  const BlockScale scale = make_scale(std::max(block_norm(a), block_norm(b)), table);
  const Compressed ca = compress_block(a, scale, table, sign, source.key(), 0);
  const Compressed cb = compress_block(b, scale, table, sign, source.key(), 0);
  const std::vector<std::uint8_t> contributors = {2, 1, 2, 0};
  std::vector<std::uint32_t> sums(kN);
  std::vector<double> rotated(kN);
  for (std::size_t i = 0; i < kN; ++i) {
    const std::size_t packet = i / kPacketCoordinates;
    if (packet < 3)
      sums[i] += table.values[ca.indices[i]];
    if (packet == 0 || packet == 2)
      sums[i] += table.values[cb.indices[i]];
    if (contributors[packet] > 0)
      rotated[i] = 2.0 * sums[i] / contributors[packet] - table.granularity;
  }
  const double l = std::max(norm_of(a), norm_of(b));
  for (std::size_t stride = 1; stride < kN; stride *= 2)
    for (std::size_t i = 0; i < kN; ++i)
      if ((i & stride) == 0)
        std::tie(rotated[i], rotated[i + stride]) =
            std::pair(rotated[i] + rotated[i + stride], rotated[i] - rotated[i + stride]);
  Flags flags;
  const auto got = decompress_block(sums, contributors, scale, table, sign, 0, flags);
  std::vector<double> want(kN);
  for (std::size_t i = 0; i < kN; ++i)
    want[i] = rotated[i] / kN * table.t * l / table.granularity * (sign_at(sign, i) ? -1 : 1);
  EXPECT_LT(nmse(got, want), 1e-8);
  // Everything missing is zero, not minus the clamp.
  const auto nothing = decompress_block(std::vector<std::uint32_t>(kN),
                                        std::vector<std::uint8_t>(4), scale, table, sign, 0, flags);
  for (const float v : nothing)
    ASSERT_EQ(v, 0.0F);
}

TEST(ThcBlock, WorkersShareSignsAndNotNoise) {
  Source source;
  const Table table;
  const auto x = source.gaussian(1024);
  const BlockScale scale = make_scale(block_norm(x), table);
  const auto indices = [&](std::uint32_t round, std::uint32_t worker, std::uint64_t first) {
    return compress_block(x, scale, table, sign_key(1, round), noise_key(1, round, worker), first)
        .indices;
  };
  EXPECT_EQ(indices(0, 0, 0), indices(0, 0, 0));
  // Every coordinate has noise of its own number in the tensor.
  Flags flags;
  const std::uint64_t first = 1024 * 77;
  const auto z = rotate(x, scale, sign_key(1, 0), first, flags);
  const auto got = indices(0, 0, first);
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(got[i], quantise(z[i], 10, scale, table, noise_at(noise_key(1, 0, 0), first + i)));
  const auto differing = [](const auto &a, const auto &b, int apart) {
    int n = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      n += std::abs(a[i] - b[i]) >= apart;
    return n;
  };
  EXPECT_GT(differing(indices(0, 0, 0), indices(0, 1, 0), 1), 200); // the noise differs,
  EXPECT_EQ(differing(indices(0, 0, 0), indices(0, 1, 0), 2), 0);   // the rotation does not
  EXPECT_GT(differing(indices(0, 0, 0), indices(1, 0, 0), 2), 500); // another round rotates anew,
  EXPECT_GT(differing(indices(0, 0, 0), indices(0, 0, 1024), 2), 500); // and so does the next block
}

// --------------------------------------------------------------------------------- bytes and
// blocks

TEST(ThcPacking, FirstCoordinateInTheHighNibble) {
  EXPECT_EQ(pack_nibbles(std::vector<std::uint8_t>{1, 2, 15, 0}),
            (std::vector<std::uint8_t>{0x12, 0xF0}));
  EXPECT_EQ(unpack_nibbles(std::vector<std::uint8_t>{0x12, 0xF0}),
            (std::vector<std::uint8_t>{1, 2, 15, 0}));
  Source source;
  std::vector<std::uint8_t> indices(2048);
  for (auto &v : indices)
    v = static_cast<std::uint8_t>(source.below(16));
  EXPECT_EQ(unpack_nibbles(pack_nibbles(indices)), indices);
}

TEST(ThcAggregate, AddsTableValues) {
  Source source;
  const Table table = random_table(source);
  std::vector<std::uint8_t> indices(1024);
  std::vector<std::uint32_t> sums(1024, 7);
  for (auto &v : indices)
    v = static_cast<std::uint8_t>(source.below(1U << table.bits));
  aggregate(indices, table, sums);
  for (std::size_t i = 0; i < sums.size(); ++i)
    ASSERT_EQ(sums[i], 7U + table.values[indices[i]]);
}

TEST(ThcSplit, BlocksCoverTheTensor) {
  Source source;
  for (int n = 0; n < 2000; ++n) {
    const std::size_t count = n < 4 ? std::size_t(n) * 1023 : source.below(200'000);
    const int largest = 10 + static_cast<int>(source.below(6));
    const auto blocks = split_blocks(count, largest);
    std::size_t sum = 0;
    int last = largest + 1;
    for (const int k : blocks) {
      EXPECT_GE(k, 10);
      EXPECT_TRUE(k < last || k == largest); // no two of a smaller size
      last = k;
      sum += std::size_t{1} << k;
    }
    EXPECT_EQ(sum, padded_size(count));
    EXPECT_GE(sum, std::max<std::size_t>(count, 1024));
    EXPECT_LT(sum, std::max<std::size_t>(count, 1) + 1024);
    EXPECT_EQ(sum % 1024, 0U);
  }
  EXPECT_EQ(split_blocks(1), (std::vector<int>{10}));
  EXPECT_EQ(split_blocks(50'003), (std::vector<int>{15, 14, 10}));
  EXPECT_EQ(split_blocks(100'000, 13),
            (std::vector<int>{13, 13, 13, 13, 13, 13, 13, 13, 13, 13, 13, 13, 11}));
}

TEST(ThcTable, ErrorsAreNamed) {
  Table table;
  EXPECT_FALSE(table_error(table));
  const auto broken = [](auto change) {
    Table t;
    change(t);
    return table_error(t).has_value();
  };
  EXPECT_TRUE(broken([](Table &t) { t.bits = 0; }));
  EXPECT_TRUE(broken([](Table &t) { t.bits = 5; }));
  EXPECT_TRUE(broken([](Table &t) { t.bits = 3; }));
  EXPECT_TRUE(broken([](Table &t) { t.granularity = 31; }));
  EXPECT_TRUE(broken([](Table &t) { t.values[0] = 1; }));
  EXPECT_TRUE(broken([](Table &t) { t.values[5] = t.values[6]; }));
  EXPECT_TRUE(broken([](Table &t) { t.t = 0.99; }));
  EXPECT_TRUE(broken([](Table &t) { t.t = 4.0; }));
  EXPECT_TRUE(broken([](Table &t) { t.t = std::nan(""); }));
  Source source;
  for (int n = 0; n < 1000; ++n)
    EXPECT_FALSE(table_error(random_table(source)));
}

} // namespace
} // namespace kestrel::thc::ref
