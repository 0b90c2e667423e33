// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include <unistd.h>

#include "kestrel/serve/calibration.hpp"

namespace kestrel::serve {
namespace {

std::uint64_t seed() {
  const char *text = std::getenv("KESTREL_SEED");
  const std::uint64_t value = text != nullptr ? std::strtoull(text, nullptr, 0) : 20251121;
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(value));
  return value;
}

/// P(X >= correct) for X binomial(samples, p), summed term by term.
double upper_tail(std::uint64_t correct, std::uint64_t samples, double p) {
  double sum = 0;
  for (std::uint64_t k = correct; k <= samples; ++k) {
    sum += std::exp(
        std::lgamma(static_cast<double>(samples) + 1) - std::lgamma(static_cast<double>(k) + 1) -
        std::lgamma(static_cast<double>(samples - k) + 1) + static_cast<double>(k) * std::log(p) +
        static_cast<double>(samples - k) * std::log1p(-p));
  }
  return sum;
}

/// A pair of models: confidence u in 0..1, edge right with probability 0.6 + 0.4 u, DC 0.95.
std::vector<CalibrationSample> draw(std::mt19937_64 &random, std::size_t count) {
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  std::vector<CalibrationSample> samples(count);
  for (CalibrationSample &s : samples) {
    const double u = uniform(random);
    s.confidence = static_cast<std::uint16_t>(u * 65535.0);
    s.edge_correct = uniform(random) < 0.6 + 0.4 * u;
    s.dc_correct = uniform(random) < 0.95;
  }
  return samples;
}
/// Its true combined accuracy: the integral of the better part over u.
double true_accuracy(std::uint32_t threshold) {
  const double t = std::min(1.0, static_cast<double>(threshold) / 65535.0);
  return 0.95 * t + 0.6 * (1 - t) + 0.2 * (1 - t * t);
}

Calibration calibrate(const std::vector<CalibrationSample> &samples, double level = 0.95) {
  auto c = Calibration::from_samples(samples, Selector::kTop1, level);
  EXPECT_TRUE(c) << c.error().message;
  return std::move(c).value();
}

TEST(ClopperPearson, IsTheExactTail) {
  // By definition the bound p solves P(X >= correct | p) = 1 - level.
  for (const auto &[k, n] : {std::pair{1, 10}, {9, 10}, {50, 100}, {97, 100}, {940, 1000}}) {
    for (const double level : {0.9, 0.95, 0.99}) {
      const double p =
          lower_bound(static_cast<std::uint64_t>(k), static_cast<std::uint64_t>(n), level);
      EXPECT_NEAR(upper_tail(static_cast<std::uint64_t>(k), static_cast<std::uint64_t>(n), p),
                  1 - level, 1e-9);
    }
  }
  EXPECT_EQ(lower_bound(0, 10, 0.95), 0.0);
  EXPECT_NEAR(lower_bound(10, 10, 0.95), std::pow(0.05, 0.1), 1e-12); // p^n = 1 - level
}

TEST(Calibration, OperatingPointsByHand) {
  //                                       conf  edge   dc
  const std::vector<CalibrationSample> s{{100, false, true},
                                         {200, false, true},
                                         {200, true, true},
                                         {300, true, false},
                                         {65535, true, true}};
  const Calibration c = calibrate(s);
  EXPECT_DOUBLE_EQ(c.edge_accuracy(), 0.6);
  EXPECT_DOUBLE_EQ(c.dc_accuracy(), 0.8);
  const auto check = [&](std::uint32_t threshold, double share, double accuracy) {
    EXPECT_DOUBLE_EQ(c.at(threshold).offloaded_share, share) << threshold;
    EXPECT_DOUBLE_EQ(c.at(threshold).accuracy, accuracy) << threshold;
  };
  check(0, 0.0, 0.6);
  check(100, 0.0, 0.6); // at the threshold the edge's answer stands
  check(101, 0.2, 0.8);
  check(200, 0.2, 0.8);
  check(201, 0.6, 1.0);
  check(300, 0.6, 1.0);
  check(301, 0.8, 0.8);
  check(65535, 0.8, 0.8);
  check(65536, 1.0, 0.8);
  ASSERT_EQ(c.steps().size(), 4U);
  EXPECT_EQ(c.steps()[1], (CalibrationStep{200, 2, 1, 2}));
}

TEST(Calibration, LowTargetStaysAtTheEdgeHighTargetIsUnreachable) {
  std::mt19937_64 random(seed());
  const Calibration c = calibrate(draw(random, 5000));
  const auto low = c.choose(0.5);
  ASSERT_TRUE(low);
  EXPECT_TRUE(low->reached);
  EXPECT_EQ(low->point.threshold, 0U);
  EXPECT_EQ(low->point.offloaded_share, 0.0);
  const auto impossible = c.choose(0.999);
  ASSERT_TRUE(impossible);
  EXPECT_FALSE(impossible->reached);
  for (std::uint32_t t = 0; t <= 65536; t += 64) { // the most accurate one was chosen
    EXPECT_GE(impossible->point.accuracy, c.at(t).accuracy);
  }
  EXPECT_FALSE(c.choose(1.5));
  EXPECT_FALSE(c.choose(std::nan("")));
}

TEST(Calibration, ThresholdsRiseWithTheTarget) {
  std::mt19937_64 random(seed());
  const Calibration c = calibrate(draw(random, 10000));
  std::uint32_t last = 0;
  int between = 0;
  for (int step = 0; step < 48; ++step) {
    const double target = 0.7 + 0.005 * step;
    const auto choice = c.choose(target);
    ASSERT_TRUE(choice);
    ASSERT_TRUE(choice->reached) << target;
    EXPECT_GE(choice->point.threshold, last) << target;
    EXPECT_GE(choice->point.lower_bound, target);
    last = choice->point.threshold;
    between += last > 0 && last < kAlwaysOffload ? 1 : 0;
  }
  EXPECT_GT(between, 10);
}

TEST(Calibration, DriftAllowanceRaisesTheBar) {
  std::mt19937_64 random(seed());
  const auto samples = draw(random, 10000);
  const Calibration plain = calibrate(samples);
  const auto careful = Calibration::from_samples(samples, Selector::kTop1, 0.95, 0.02);
  ASSERT_TRUE(careful);
  const auto choice = careful->choose(0.88);
  EXPECT_EQ(choice->point.threshold, plain.choose(0.90)->point.threshold);
  EXPECT_GT(choice->point.threshold, plain.choose(0.88)->point.threshold);
  EXPECT_EQ(choice->target, 0.88);
  EXPECT_FALSE(careful->choose(0.99)->reached); // 1.01 cannot be
  EXPECT_FALSE(Calibration::from_samples(samples, Selector::kTop1, 0.95, -0.01));
  EXPECT_FALSE(Calibration::from_samples(samples, Selector::kTop1, 0.95, std::nan("")));
}

TEST(Calibration, EdgeBetterThanDcNeverOffloads) {
  std::vector<CalibrationSample> samples(1000);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    samples[i] = {static_cast<std::uint16_t>(i), i % 20 != 0, i % 2 == 0};
  }
  const auto choice = calibrate(samples).choose(0.9);
  ASSERT_TRUE(choice);
  EXPECT_TRUE(choice->reached);
  EXPECT_EQ(choice->point.threshold, 0U);
}

TEST(Calibration, AccuracyIsKeptWithTheStatedConfidence) {
  // 1500 calibrations of a pair whose truth is known: the share whose chosen threshold is truly
  // below target must not exceed 5 % (plus four standard deviations of this experiment), though
  // hundreds of thresholds were tested each time. The point estimate alone would fail about half.
  std::mt19937_64 random(seed());
  constexpr int kRounds = 1500;
  for (const double target : {0.85, 0.90, 0.94}) {
    int broken = 0;
    int reached = 0;
    for (int round = 0; round < kRounds; ++round) {
      const auto choice = calibrate(draw(random, 600)).choose(target);
      ASSERT_TRUE(choice);
      reached += choice->reached ? 1 : 0;
      broken += choice->reached && true_accuracy(choice->point.threshold) < target ? 1 : 0;
    }
    std::printf("target %.2f: reached %d, broken %d of %d\n", target, reached, broken, kRounds);
    EXPECT_LE(broken, 0.05 * kRounds + 4 * std::sqrt(0.05 * 0.95 * kRounds)) << target;
    if (target < 0.93) {
      EXPECT_GT(reached, kRounds / 2); // the bound is not just refusing
      EXPECT_GT(broken, 0);            // nor so wide as to be of no use
    }
  }
}

TEST(Calibration, CurveEndsAtBothEndsAndRises) {
  std::mt19937_64 random(seed());
  const Calibration c = calibrate(draw(random, 3000));
  const auto curve = c.curve(21);
  ASSERT_EQ(curve.size(), 21U);
  EXPECT_EQ(curve.front().threshold, 0U);
  EXPECT_EQ(curve.front().offloaded_share, 0.0);
  EXPECT_EQ(curve.back().threshold, kAlwaysOffload);
  EXPECT_EQ(curve.back().offloaded_share, 1.0);
  for (std::size_t i = 1; i < curve.size(); ++i) {
    EXPECT_NEAR(curve[i].offloaded_share, static_cast<double>(i) / 20, 0.01);
    EXPECT_GT(curve[i].threshold, curve[i - 1].threshold);
  }
  // One confidence value only: nothing between the ends.
  EXPECT_EQ(calibrate({{5, true, true}, {5, false, true}}).curve(21).size(), 2U);
}

TEST(Calibration, ExpectedCalibrationError) {
  // 10 samples claiming 0.75 of which 5 are right, 10 claiming 0.25 of which 5 are right.
  std::vector<CalibrationSample> s;
  for (int i = 0; i < 10; ++i) {
    s.push_back({49152, i % 2 == 0, true});
    s.push_back({16384, i % 2 == 0, true});
  }
  EXPECT_NEAR(calibrate(s).expected_calibration_error(), 0.25, 1e-12);
}

TEST(Calibration, RefusesBadInput) {
  EXPECT_FALSE(Calibration::from_samples({}, Selector::kTop1));
  const std::vector<CalibrationSample> one{{1, true, true}};
  for (const double level : {0.0, 0.3, 1.0, 2.0, std::nan("")}) {
    EXPECT_FALSE(Calibration::from_samples(one, Selector::kTop1, level)) << level;
  }
  EXPECT_FALSE(Calibration::from_steps({{5, 1, 1, 1}, {5, 1, 1, 1}}, Selector::kTop1, 0.95));
  EXPECT_FALSE(Calibration::from_steps({{5, 1, 2, 1}}, Selector::kTop1, 0.95));
  EXPECT_FALSE(Calibration::from_steps({{5, 0, 0, 0}}, Selector::kTop1, 0.95));
}

class TableFile : public ::testing::Test {
protected:
  std::string path = (std::filesystem::temp_directory_path() /
                      ("kestrel_table_" + std::to_string(::getpid()) + ".json"))
                         .string();
  void TearDown() override { std::filesystem::remove(path); }
};

TEST_F(TableFile, SurvivesARoundTrip) {
  std::mt19937_64 random(seed());
  ThresholdTable table{"edge.tflite",
                       "ab12",
                       "dc.onnx",
                       "cd34",
                       "synthetic",
                       calibrate(draw(random, 2000), 0.97),
                       {}};
  table.choices.push_back(table.calibration.choose(0.9).value());
  ASSERT_TRUE(save_threshold_table(table, path));
  const auto back = load_threshold_table(path);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->edge_model, "edge.tflite");
  EXPECT_EQ(back->dc_sha256, "cd34");
  EXPECT_EQ(back->calibration.steps(), table.calibration.steps());
  EXPECT_EQ(back->calibration.confidence_level(), 0.97);
  EXPECT_EQ(back->calibration.drift_allowance(), 0.0);
  EXPECT_EQ(back->calibration.choose(0.913)->point.threshold,
            table.calibration.choose(0.913)->point.threshold);
}

TEST_F(TableFile, DamagedTablesAreRefusedByName) {
  const ThresholdTable table{
      "e", "1", "d", "2", "x", calibrate({{1, true, true}, {9, false, true}}), {}};
  const std::string good = to_json(table);
  ASSERT_TRUE(parse_threshold_table(good, "t.json"));
  int refused = 0;
  for (std::size_t cut = 0; cut + 2 < good.size(); cut += 7) {
    const auto r = parse_threshold_table(good.substr(0, cut), "t.json");
    ASSERT_FALSE(r) << cut;
    EXPECT_NE(r.error().message.find("t.json"), std::string::npos);
    ++refused;
  }
  EXPECT_GT(refused, 50);
  const auto replaced = [&](const std::string &from, const std::string &to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return parse_threshold_table(text, "t.json");
  };
  EXPECT_EQ(
      replaced("\"kestrel_threshold_table\": 1", "\"kestrel_threshold_table\": 2").error().code,
      ErrorCode::kVersionMismatch);
  EXPECT_FALSE(replaced("\"top1\"", "\"best\""));
  EXPECT_FALSE(replaced("\"confidence\": [1,9]", "\"confidence\": [9,1]"));
  EXPECT_FALSE(replaced("\"confidence\": [1,9]", "\"confidence\": [1]"));
  EXPECT_FALSE(replaced("\"confidence\": [1,9]", "\"confidence\": [1,70000]"));
  EXPECT_FALSE(replaced("\"confidence\": [1,9]", "\"confidence\": [1,-9]"));
  EXPECT_FALSE(replaced("\"confidence\": [1,9]", "\"confidence\": \"1\""));
  for (const char *wrong : {"[1,9.0]", "[1,1e300]", "[1,-1e300]", "[1,true]", "[1,null]", "7"}) {
    EXPECT_FALSE(replaced("\"confidence\": [1,9]", std::string("\"confidence\": ") + wrong))
        << wrong;
  }
  EXPECT_EQ(load_threshold_table("/no/such/table.json").error().code, ErrorCode::kNotFound);
}

TEST_F(TableFile, Sha256OfKnownTexts) { // FIPS 180-4 examples
  const std::pair<std::string, const char *> cases[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1000000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const auto &[text, expected] : cases) {
    std::ofstream(path, std::ios::trunc) << text;
    const auto digest = file_sha256(path);
    ASSERT_TRUE(digest);
    EXPECT_EQ(*digest, expected);
  }
}

} // namespace
} // namespace kestrel::serve
