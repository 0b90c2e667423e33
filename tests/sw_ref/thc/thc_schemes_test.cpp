// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Each scheme behaves as its source says.
#include "sw_ref/thc/schemes.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "sw_ref/thc/solver.hpp"
#include "tests/sw_ref/thc/thc_support.hpp"

namespace kestrel::thc::ref {
namespace {

using test::nmse;
using test::Source;
using test::Statistic;

using Gradients = std::vector<std::vector<float>>;

SchemeOptions options_for(unsigned workers, std::size_t count, std::uint64_t seed,
                          unsigned bits = 4) {
  SchemeOptions options;
  options.workers = workers;
  options.count = count;
  options.seed = seed;
  options.bits = bits;
  return options;
}

double first_nmse(std::string_view name, const SchemeOptions &options, const Gradients &gradients) {
  EXPECT_FALSE(scheme_error(name, options));
  return measure(*make_scheme(name, options), gradients, 1).nmse;
}

class EveryScheme : public ::testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(, EveryScheme,
                         ::testing::ValuesIn(scheme_names().begin(), scheme_names().end()),
                         [](const auto &scheme) { return std::string(scheme.param); });

TEST_P(EveryScheme, AnyLengthAndWorkers) {
  Source source;
  for (const std::size_t count : {1U, 3U, 1000U, 1025U, 3000U})
    for (const unsigned workers : {1U, 3U}) {
      Gradients gradients;
      for (unsigned w = 0; w < workers; ++w)
        gradients.push_back(source.gaussian(count));
      const auto scheme = make_scheme(GetParam(), options_for(workers, count, source.bits()));
      EXPECT_EQ(scheme->name(), GetParam());
      for (std::uint32_t round = 0; round < 3; ++round) {
        const Exchange e = exchange(*scheme, round, gradients);
        ASSERT_EQ(e.mean.size(), count);
        for (const float v : e.mean)
          ASSERT_TRUE(std::isfinite(v));
        EXPECT_GT(e.bytes_up, 0U);
        EXPECT_GT(e.bytes_down, 0U);
      }
    }
}

TEST_P(EveryScheme, ZerosStayZeros) {
  const Gradients gradients(2, std::vector<float>(2048));
  const auto scheme = make_scheme(GetParam(), options_for(2, 2048, 1));
  for (std::uint32_t round = 0; round < 2; ++round)
    for (const float v : exchange(*scheme, round, gradients).mean)
      ASSERT_EQ(v, 0.0F);
}

TEST_P(EveryScheme, IsAFunctionOfItsSeed) {
  Source source;
  const Gradients gradients = {source.gaussian(2000), source.gaussian(2000)};
  const auto run = [&](std::uint64_t seed) {
    return exchange(*make_scheme(GetParam(), options_for(2, 2000, seed)), 4, gradients).mean;
  };
  EXPECT_EQ(run(5), run(5));
  const bool random = GetParam() != "none" && GetParam() != "signsgd" && GetParam() != "topk";
  EXPECT_EQ(run(5) != run(6), random);
}

TEST_P(EveryScheme, MeanOverRoundsGoesToTheGradient) {
  // Unbiased schemes: the error falls as 1/R. Error feedback: at least as fast. Small p: nothing
  // clamped.
  Source source;
  const Gradients gradients(1, source.gaussian(1024));
  SchemeOptions options = options_for(1, 1024, source.bits());
  options.p = 2e-4;
  options.error_feedback = false;
  const auto scheme = make_scheme(GetParam(), options);
  constexpr std::uint32_t kRounds = 200;
  const double one = [&] {
    Statistic s; // of single rounds, without memory between them
    for (std::uint32_t i = 0; i < 20; ++i) {
      options.seed = source.bits();
      s.add(first_nmse(GetParam(), options, gradients));
    }
    return s.mean();
  }();
  const double all = measure(*scheme, gradients, kRounds).nmse_mean;
  std::printf("NMSE of one round %.4f, of the mean of %u rounds %.2e\n", one, kRounds, all);
  if (GetParam() == "none")
    EXPECT_EQ(all, 0.0);
  else if (scheme->unbiased())
    EXPECT_NEAR(all / (one / kRounds), 1.0, 0.35);
  else
    EXPECT_LT(all, one / kRounds * 5);
  EXPECT_TRUE(scheme->unbiased() || scheme->error_feedback());
}

TEST(ThcSchemes, BiasShowsWhereThereIsOne) {
  // The counterpart of MeanOverRoundsGoesToTheGradient: EDEN's scale of the smallest error is
  // biased, so its mean over rounds keeps an error that does not fall with their number.
  Source source;
  const Gradients gradients(1, source.gaussian(1024));
  SchemeOptions options = options_for(1, 1024, source.bits(), 1);
  options.eden_biased = true;
  const auto biased = make_scheme("eden", options);
  EXPECT_FALSE(biased->unbiased());
  EXPECT_NEAR(measure(*biased, gradients, 200).nmse_mean, 0.3634 * 0.3634, 0.02);
  options.eden_biased = false;
  EXPECT_LT(measure(*make_scheme("eden", options), gradients, 200).nmse_mean, 0.005);
}

TEST(ThcSchemes, NoCompressionIsTheMean) {
  Source source;
  Gradients gradients;
  for (int w = 0; w < 5; ++w)
    gradients.push_back(source.gaussian(777));
  const auto e = exchange(*make_scheme("none", options_for(5, 777, 1)), 0, gradients);
  for (std::size_t i = 0; i < 777; ++i) {
    double mean = 0.0;
    for (const auto &g : gradients)
      mean += g[i] / 5.0;
    EXPECT_NEAR(e.mean[i], mean, 1e-6);
  }
  EXPECT_EQ(e.bytes_up, 4 * 777U);
  EXPECT_EQ(e.bytes_down, 4 * 777U);
}

TEST(ThcSchemes, LloydMaxQuantisersAreThePublishedOnes) {
  // Max 1960, table I; the distortions are the vNMSE that DRIVE and EDEN state.
  EXPECT_NEAR(lloyd_max(1)[1], 0.7979, 5e-5);
  EXPECT_NEAR(lloyd_max(2)[2], 0.4528, 5e-5);
  EXPECT_NEAR(lloyd_max(2)[3], 1.510, 5e-4);
  EXPECT_NEAR(lloyd_max(4)[15], 2.733, 5e-4);
}

TEST(ThcSchemes, DriveAndEdenReachTheirPublishedErrors) {
  Source source;
  for (const auto &[bits, anchor] : {std::pair{1U, 0.3634}, std::pair{2U, 0.1175},
                                     std::pair{3U, 0.0345}, std::pair{4U, 0.0095}}) {
    Statistic biased;
    Statistic unbiased;
    for (int i = 0; i < 20; ++i) {
      const Gradients x(1, source.gaussian(4096));
      SchemeOptions options = options_for(1, 4096, source.bits(), bits);
      unbiased.add(first_nmse("eden", options, x));
      options.eden_biased = true;
      biased.add(first_nmse("eden", options, x));
    }
    std::printf("EDEN, %u bits: vNMSE %.5f +- %.5f (anchor %.4f), unbiased %.5f\n", bits,
                biased.mean(), biased.standard_error(), anchor, unbiased.mean());
    EXPECT_NEAR(biased.mean(), anchor, 5 * biased.standard_error() + 1e-4);
    EXPECT_NEAR(unbiased.mean(), anchor / (1 - anchor), 5 * unbiased.standard_error() + 2e-4);
  }
  // DRIVE is EDEN with one bit.
  const Gradients x(1, source.gaussian(2048));
  EXPECT_EQ(first_nmse("drive", options_for(1, 2048, 3, 4), x),
            first_nmse("eden", options_for(1, 2048, 3, 1), x));
}

TEST(ThcSchemes, EdenOfManyWorkersAverages) {
  // Own rotations: errors of equal gradients are independent.
  Source source;
  const auto x = source.gaussian(4096);
  Statistic one;
  Statistic eight;
  for (int i = 0; i < 12; ++i) {
    one.add(first_nmse("eden", options_for(1, 4096, source.bits(), 2), Gradients(1, x)));
    eight.add(first_nmse("eden", options_for(8, 4096, source.bits(), 2), Gradients(8, x)));
  }
  EXPECT_NEAR(eight.mean() / one.mean(), 1.0 / 8, 0.01);
}

TEST(ThcSchemes, QsgdHasTheVarianceOfItsLevels) {
  Source source;
  for (const unsigned bits : {2U, 4U, 8U})
    for (const std::size_t bucket : {64U, 512U}) {
      SchemeOptions options = options_for(1, 5000, source.bits(), bits);
      options.qsgd_bucket = bucket;
      const auto x = source.gaussian(5000);
      const double s = (1U << (bits - 1)) - 1;
      double variance = 0.0;
      double power = 0.0;
      for (std::size_t first = 0; first < x.size(); first += bucket) {
        const std::size_t size = std::min(bucket, x.size() - first);
        const double norm = test::norm_of(std::span(x).subspan(first, size));
        power += norm * norm;
        double own = 0.0;
        for (std::size_t i = first; i < first + size; ++i) {
          const double level = std::abs(x[i]) / norm * s;
          const double share = level - std::floor(level);
          own += share * (1 - share) * (norm / s) * (norm / s);
        }
        // Lemma 3.1 of the paper.
        const double d = static_cast<double>(size);
        EXPECT_LE(own, std::min(d / (s * s), std::sqrt(d) / s) * norm * norm);
        variance += own;
      }
      Statistic measured;
      for (int i = 0; i < 30; ++i) {
        options.seed = source.bits();
        measured.add(first_nmse("qsgd", options, Gradients(1, x)));
      }
      EXPECT_NEAR(measured.mean(), variance / power, 5 * measured.standard_error());
    }
}

TEST(ThcSchemes, TernGradHasItsVarianceAndAddsIntegers) {
  Source source;
  const auto x = source.gaussian(4000);
  double largest = 0.0;
  double absolute = 0.0;
  double power = 0.0;
  for (const float v : x) {
    largest = std::max(largest, std::abs(static_cast<double>(v)));
    absolute += std::abs(static_cast<double>(v));
    power += static_cast<double>(v) * v;
  }
  for (const unsigned workers : {1U, 4U}) {
    Statistic measured;
    for (int i = 0; i < 30; ++i)
      measured.add(
          first_nmse("terngrad", options_for(workers, 4000, source.bits()), Gradients(workers, x)));
    EXPECT_NEAR(measured.mean(), (largest * absolute - power) / power / workers,
                5 * measured.standard_error());
  }
  const auto scheme = make_scheme("terngrad", options_for(3, 4000, 1));
  const auto e = exchange(*scheme, 0, Gradients(3, x));
  EXPECT_EQ(e.bytes_up, 4000 / 4 + 4U);
  EXPECT_EQ(e.bytes_down, 4000 + 4U); // 2 * 3 fits a byte
  for (const float v : e.mean) {      // multiples of a third of the scale
    const double steps = 3 * v / largest;
    EXPECT_NEAR(steps, std::round(steps), 1e-5);
  }
}

TEST(ThcSchemes, SignSgdContractsAsItsPaperSays) {
  // ||C(p) - p||^2 = (1 - ||p||_1^2 / (d ||p||^2)) ||p||^2, and what is left stays in the feedback.
  Source source;
  const auto x = source.gaussian(4000);
  double absolute = 0.0;
  for (const float v : x)
    absolute += std::abs(static_cast<double>(v));
  const double norm = test::norm_of(x);
  const auto scheme = make_scheme("signsgd", options_for(1, 4000, 1));
  const auto e = exchange(*scheme, 0, Gradients(1, x));
  EXPECT_NEAR(nmse(e.mean, x), 1 - absolute * absolute / (4000 * norm * norm), 1e-5);
  EXPECT_EQ(e.bytes_up, 4000 / 8 + 4U);
  std::vector<float> size(4000);
  for (std::size_t i = 0; i < size.size(); ++i) {
    size[i] = std::abs(e.mean[i]);
    EXPECT_EQ(e.mean[i] < 0, x[i] < 0);
  }
  EXPECT_EQ(*std::min_element(size.begin(), size.end()),
            *std::max_element(size.begin(), size.end()));
  // The second round sends the sign of 2x - C(x).
  const auto second = exchange(*scheme, 1, Gradients(1, x));
  std::size_t checked = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float p = x[i] + (x[i] - e.mean[i]);
    if (std::abs(p) > 1e-5F) {
      EXPECT_EQ(second.mean[i] < 0, p < 0);
      checked += (p < 0) != (x[i] < 0);
    }
  }
  EXPECT_GT(checked, 100U);
}

TEST(ThcSchemes, TopKSendsTheLargestAndKeepsTheRest) {
  Source source;
  const std::size_t d = 6400;
  const auto x = source.gaussian(d);
  const auto scheme = make_scheme("topk", options_for(1, d, 1)); // 4 bits: a sixteenth
  const auto e = exchange(*scheme, 0, Gradients(1, x));
  EXPECT_EQ(e.bytes_up, d / 2);
  EXPECT_EQ(e.bytes_down, d / 2);
  std::vector<float> sizes(d);
  std::transform(x.begin(), x.end(), sizes.begin(), [](float v) { return std::abs(v); });
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  const float threshold = sizes[d / 16 - 1];
  for (std::size_t i = 0; i < d; ++i)
    EXPECT_EQ(e.mean[i], std::abs(x[i]) >= threshold ? x[i] : 0.0F);
  EXPECT_LT(nmse(e.mean, x), 1.0 - 1.0 / 16); // contraction by k/d at least
  // Everything goes out in the end.
  std::vector<double> sum(e.mean.begin(), e.mean.end());
  const Gradients zero(1, std::vector<float>(d));
  for (std::uint32_t round = 1; round < 16; ++round) {
    const auto next = exchange(*scheme, round, zero);
    for (std::size_t i = 0; i < d; ++i)
      sum[i] += next.mean[i];
  }
  EXPECT_EQ(nmse(sum, x), 0.0);
}

TEST(ThcSchemes, TopKOfManyWorkersSendsTheUnionDown) {
  Source source;
  const std::size_t d = 6400;
  Gradients gradients;
  for (int w = 0; w < 16; ++w)
    gradients.push_back(source.gaussian(d));
  const std::span<const std::vector<float>> all(gradients);
  const auto two = exchange(*make_scheme("topk", options_for(2, d, 1)), 0, all.subspan(0, 2));
  EXPECT_GT(two.bytes_down, two.bytes_up);
  EXPECT_LE(two.bytes_down, 2 * two.bytes_up);
  const auto many = exchange(*make_scheme("topk", options_for(16, d, 1)), 0, all);
  EXPECT_EQ(many.bytes_down, 4 * d); // fp32 is shorter than the union
}

TEST(ThcSchemes, ThcAndUhcReachTheirPredictedErrors) {
  Source source;
  for (const std::string_view name : {"thc", "uhc"})
    for (const unsigned workers : {1U, 4U}) {
      SchemeOptions options = options_for(workers, 8192, 0);
      options.error_feedback = false;
      double q = 0.0;
      double t = 0.0;
      if (name == "thc") {
        t = clamp_of(options.p);
        q = solve_table(4, 30, options.p).error;
      } else {
        t = clamp_of(2 * options.p);
        q = std::pow(2 * t / 15, 2) / 6 * (1 - 2 * options.p); // about: uniform inside the cells
      }
      const double predicted = predicted_nmse(q, truncation_error(t), workers);
      Statistic measured;
      for (int i = 0; i < 24; ++i) {
        options.seed = source.bits();
        measured.add(first_nmse(name, options, Gradients(workers, source.gaussian(8192))));
      }
      std::printf("%s, %u workers: NMSE %.5f +- %.5f, predicted %.5f\n", std::string(name).c_str(),
                  workers, measured.mean(), measured.standard_error(), predicted);
      EXPECT_NEAR(measured.mean(), predicted, 5 * measured.standard_error() + 0.01 * predicted);
    }
}

TEST(ThcSchemes, BytesOfThc) {
  // 50,003 coordinates: blocks of 2^15, 2^14 and 2^10, half a byte a coordinate and a norm a block.
  Source source;
  SchemeOptions options = options_for(3, 50'003, 1);
  const Gradients gradients(3, source.gaussian(50'003));
  const auto e = exchange(*make_scheme("thc", options), 0, gradients);
  EXPECT_EQ(e.bytes_up, 50'176 / 2 + 3 * 4U);
  EXPECT_EQ(e.bytes_down, 50'176 + 3 * 4U);
  options.workers = 9; // 9 * 30 does not fit a byte
  const Gradients more(9, gradients.front());
  const auto wide = exchange(*make_scheme("thc", options), 0, more);
  EXPECT_EQ(wide.bytes_down, 2 * 50'176 + 3 * 4U);
  EXPECT_LT(nmse(wide.mean, more.front()), 0.012);
}

TEST(ThcSchemes, WhoseSumsStayCompressed) {
  // EDEN has the smaller error for the same bits, but its messages cannot be added.
  Source source;
  const Gradients x(1, source.gaussian(8192));
  std::map<std::string_view, bool> sums;
  for (const std::string_view name : scheme_names())
    sums[name] = make_scheme(name, options_for(1, 8192, 1))->sums_stay_compressed();
  EXPECT_EQ(sums, (std::map<std::string_view, bool>{{"none", false},
                                                    {"thc", true},
                                                    {"uhc", true},
                                                    {"qsgd", false},
                                                    {"terngrad", true},
                                                    {"signsgd", false},
                                                    {"topk", false},
                                                    {"drive", false},
                                                    {"eden", false}}));
  EXPECT_LT(first_nmse("eden", options_for(1, 8192, 1), x),
            first_nmse("thc", options_for(1, 8192, 1), x));
}

TEST(ThcSchemes, BadOptionsAreNamed) {
  const auto error = [](std::string_view name, auto change) {
    SchemeOptions options = options_for(4, 1000, 1);
    change(options);
    return scheme_error(name, options).value_or("");
  };
  const auto nothing = [](SchemeOptions &) {};
  for (const std::string_view name : scheme_names())
    EXPECT_EQ(error(name, nothing), "");
  EXPECT_NE(error("gzip", nothing).find("gzip"), std::string::npos);
  EXPECT_NE(error("thc", [](SchemeOptions &o) { o.workers = 0; }), "");
  EXPECT_NE(error("thc", [](SchemeOptions &o) { o.workers = 256; }), "");
  EXPECT_NE(error("none", [](SchemeOptions &o) { o.count = 0; }), "");
  EXPECT_NE(error("thc", [](SchemeOptions &o) { o.bits = 5; }), "");
  EXPECT_NE(error("thc", [](SchemeOptions &o) { o.granularity = 14; }), "");
  EXPECT_NE(error("thc", [](SchemeOptions &o) { o.p = 0.5; }), "");
  EXPECT_NE(error("uhc", [](SchemeOptions &o) { o.p = 0.6; }), "");
  EXPECT_NE(error("qsgd", [](SchemeOptions &o) { o.bits = 1; }), "");
  EXPECT_NE(error("qsgd", [](SchemeOptions &o) { o.qsgd_bucket = 0; }), "");
  EXPECT_NE(error("eden", [](SchemeOptions &o) { o.bits = 0; }), "");
  EXPECT_NE(error("topk", [](SchemeOptions &o) { o.bits = 0; }), "");
}

} // namespace
} // namespace kestrel::thc::ref
