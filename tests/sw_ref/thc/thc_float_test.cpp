// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The floating-point reference against definitions and published errors, and the fixed-point
// rotation against it.
#include "sw_ref/thc/float_ref.hpp"

#include <bit>
#include <cmath>
#include <cstdio>

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

TEST(ThcFloat, HadamardIsTheDefinition) {
  Source source;
  for (const std::size_t n : {1U, 2U, 4U, 16U, 64U, 512U}) {
    std::vector<double> x(n);
    for (double &v : x)
      v = source.normal();
    std::vector<double> y = x;
    float_hadamard(y);
    for (std::size_t row = 0; row < n; ++row) {
      double want = 0.0;
      for (std::size_t i = 0; i < n; ++i)
        want += (std::popcount(row & i) & 1) != 0 ? -x[i] : x[i];
      EXPECT_NEAR(y[row], want / std::sqrt(static_cast<double>(n)), 1e-12);
    }
    float_hadamard(y);
    for (std::size_t i = 0; i < n; ++i)
      EXPECT_NEAR(y[i], x[i], 1e-12);
  }
}

TEST(ThcFloat, RotationKeepsTheNorm) {
  Source source;
  const auto x = source.gaussian(1 << 18);
  const Words2 key = source.key();
  const auto z = float_rotate(x, key, 7);
  double power = 0.0;
  for (const double v : z)
    power += v * v;
  EXPECT_NEAR(std::sqrt(power) / norm_of(x), 1.0, 1e-12);
  const auto back = float_unrotate(z, key, 7);
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_NEAR(back[i], x[i], 1e-9);
}

TEST(ThcFloat, PublishedErrorsOverAFullLengthTransform) {
  struct Anchor {
    unsigned bits, granularity;
    int inverse_p;
    unsigned workers;
    double nmse;
  };
  Source source;
  for (const Anchor &a :
       {Anchor{4, 30, 16, 1, .02680}, Anchor{4, 30, 32, 1, .02034}, Anchor{4, 30, 32, 4, .01054},
        Anchor{4, 30, 32, 8, .00890}, Anchor{4, 30, 64, 4, .00721}, Anchor{4, 30, 512, 1, .02379},
        Anchor{3, 16, 32, 1, .06274}}) {
    FloatCodec codec;
    codec.table = {a.bits, a.granularity, clamp_of(1.0 / a.inverse_p),
                   solve_table(a.bits, a.granularity, 1.0 / a.inverse_p).values};
    Statistic measured;
    for (int i = 0; i < 40; ++i) {
      const auto x = source.gaussian(1 << 13);
      measured.add(nmse(codec.mean(std::vector(a.workers, x), source.bits(), 0), x));
    }
    std::printf("b %u g %u p 1/%d n %u: NMSE %.5f +- %.5f, anchor %.5f\n", a.bits, a.granularity,
                a.inverse_p, a.workers, measured.mean(), measured.standard_error(), a.nmse);
    // With 2e-4 of the anchor for what a finite block adds, and its last digit.
    EXPECT_NEAR(measured.mean(), a.nmse, 5 * measured.standard_error() + 5e-6 + 2e-4 * a.nmse);
  }
}

TEST(ThcFloat, AnySize) {
  Source source;
  for (const std::size_t count : {1U, 2U, 3U, 1000U, 1025U, 50'003U})
    for (const std::size_t block : {0U, 1024U}) {
      FloatCodec codec;
      codec.block = block;
      const auto x = source.gaussian(count);
      const auto y = codec.mean(std::vector(3, x), source.bits(), 1);
      ASSERT_EQ(y.size(), count);
      if (count >= 1000) {
        EXPECT_LT(nmse(y, x), 0.03);
      }
    }
  // Eight bits: a finer table than the kernels take.
  FloatCodec fine;
  fine.table = {8, 255, 4.5, solve_table(8, 255, 1e-5).values};
  const auto x = source.gaussian(4096);
  EXPECT_LT(nmse(fine.mean(std::vector(1, x), 3, 1), x), 3e-4);
}

TEST(ThcFloat, ErrorIsWhatTheIndicesDoNotSay) {
  Source source;
  FloatCodec codec;
  codec.block = 2048;
  const auto y = source.gaussian(5000);
  const auto norms = codec.norms(y);
  const auto c = codec.compress(y, norms, {1, 2}, {3, 4});
  std::vector<std::uint32_t> sums(c.indices.size());
  aggregate(c.indices, codec.table, sums);
  const auto decoded = codec.decompress(sums, 1, y.size(), norms, {1, 2});
  for (std::size_t i = 0; i < y.size(); ++i)
    ASSERT_NEAR(decoded[i] + c.error[i], y[i], 1e-12);
}

TEST(ThcFloat, ZeroBlocks) {
  FloatCodec codec;
  codec.block = 1024;
  std::vector<float> y(3000);
  y[2500] = 1.0F; // the first two blocks are zero
  const auto mean = codec.mean(std::vector(2, y), 1, 1);
  for (std::size_t i = 0; i < 2048; ++i)
    ASSERT_EQ(mean[i], 0.0);
  EXPECT_NEAR(mean[2500], 1.0, 0.3);
}

TEST(ThcFloat, NormOfTheSliceIsWrongForLayersOfDifferentScale) {
  // 64 layers of 1024 coordinates whose scales spread over two decades. A full-length transform and
  // norms of blocks cope; a short transform with one norm for all clamps the large layers.
  Source source;
  std::vector<float> x;
  for (int layer = 0; layer < 64; ++layer) {
    const auto part = source.gaussian(1024, std::pow(10.0, source.real(-1.0, 1.0)));
    x.insert(x.end(), part.begin(), part.end());
  }
  FloatCodec full;
  FloatCodec blocks;
  blocks.block = 1024;
  FloatCodec wrong = blocks;
  wrong.scope = NormScope::Slice;
  const auto error = [&](const FloatCodec &codec) {
    return nmse(codec.mean(std::vector(1, x), 9, 0), x);
  };
  std::printf("NMSE: full length %.4f, norm a block %.4f, norm of the slice %.4f\n", error(full),
              error(blocks), error(wrong));
  EXPECT_NEAR(error(full), 0.02034, 0.002);
  EXPECT_NEAR(error(blocks), 0.02034, 0.002);
  EXPECT_GT(error(wrong), 0.08);
}

// What docs/thc_schemes.md states: error of the fixed-point rotation by block size.
TEST(ThcFloat, FixedPointRotationIsClose) {
  Source source;
  for (int k = 10; k <= 15; ++k) {
    double rms = 0.0;
    double max = 0.0;
    double mean = 0.0;
    Statistic bias;
    for (int shape = 0; shape < 5; ++shape)
      for (int repetition = 0; repetition < 6; ++repetition) {
        std::vector<float> y(std::size_t{1} << k);
        for (std::size_t i = 0; i < y.size(); ++i) {
          const double v = source.normal();
          y[i] = static_cast<float>(shape == 0   ? v
                                    : shape == 1 ? std::copysign(std::expm1(std::abs(v) * 2), v)
                                    : shape == 2 ? (i % 97 == 0 ? v : v * 1e-3)
                                    : shape == 3 ? v * std::exp(-10.0 * static_cast<double>(i) /
                                                                static_cast<double>(y.size()))
                                                 : 1.0 + 0.01 * v);
        }
        // The unit of the fixed point is 2^-22 of the norm's power of two: worst just above one.
        const float scale = static_cast<float>(1.001 / norm_of(y));
        for (float &v : y)
          v *= scale;
        const RotationError e = rotation_error(y, source.key(), 0);
        rms = std::max(rms, e.rms);
        max = std::max(max, e.max);
        mean = std::max(mean, std::abs(e.mean));
        bias.add(e.mean);
      }
    std::printf(
        "k = %2d: fixed-point rotation off by rms %.2e, max %.2e of l/sqrt(d) (largest of %zu "
        "blocks); mean %.1e\n",
        k, rms, max, bias.count(), mean);
    // Two stages keep the rounding errors' variance and add 1/8; the input's rounding adds 1/12. So
    // the variance is below (k/2/8 + 1/12 + 1/12) units squared (a unit is sqrt(2) smaller for odd
    // k).
    const double unit = std::exp2(k / 2.0 - kFractionBits);
    EXPECT_LT(rms, unit * std::sqrt(k / 16.0 + 1.0 / 6)) << k;
    EXPECT_GT(rms, unit * 0.5) << k;
    EXPECT_LT(max, 8 * unit * std::sqrt(k / 16.0 + 1.0 / 6)) << k;
    EXPECT_LT(std::abs(bias.mean()), 6 * bias.standard_error()) << k;
  }
}

TEST(ThcFloat, IntegerCodecAgreesOnTheError) {
  // Same blocks through both: the NMSE differs by less than sampling explains.
  Source source;
  Statistic difference;
  FloatCodec codec;
  codec.block = 4096;
  for (int i = 0; i < 20; ++i) {
    const auto x = source.gaussian(4096);
    const std::uint64_t seed = source.bits();
    difference.add(nmse(codec.mean(std::vector(2, x), seed, 0), x) -
                   nmse(mean_of({x, x}, codec.table, sign_key(seed, 0), seed).mean, x));
  }
  EXPECT_LT(std::abs(difference.mean()), 5 * difference.standard_error());
  EXPECT_LT(difference.standard_error(), 2e-4);
}

} // namespace
} // namespace kestrel::thc::ref
