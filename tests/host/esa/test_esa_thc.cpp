// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Compressed gradients through the preemptive slots: the worker library over the simulated switch,
// with preemption and loss on the way; the decompressed mean must be that of the reference, bit for
// bit.
#include "kestrel/esa/thc_fabric.hpp"

#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "kestrel/thc/worker.hpp"
#include "tests/host/thc/thc_reference.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::esa {
namespace {

using hv::ref::test::Random;

struct Case {
  const char *name;
  const char *device;
  ref::Policy policy;
  unsigned workers;
  std::uint32_t lanes;
  double loss, rival;
  std::size_t size;
};
void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

class ThcOverSwitch : public ::testing::TestWithParam<Case> {};

TEST_P(ThcOverSwitch, MeanIsTheReferencesBitForBit) {
  Random random;
  SCOPED_TRACE(random.note());
  const Case &c = GetParam();
  ThcFabricOptions options;
  options.device = c.device;
  options.model.policy = c.policy;
  options.model.lanes = c.lanes;
  options.workers = c.workers;
  options.loss = c.loss;
  options.rival = c.rival;
  options.seed = static_cast<std::uint64_t>(random.range(1, 1 << 30));
  const auto fabric = ThcFabric::create(options);
  if (!fabric.ok() && fabric.error().code == ErrorCode::kUnsupported) {
    GTEST_SKIP() << fabric.error().message;
  }
  ASSERT_TRUE(fabric.ok()) << fabric.error().message;

  constexpr std::uint32_t kRounds = 2;
  thc::WorkerOptions worker;
  worker.compression.table = options.table;
  worker.compression.block_log2 = 12;
  worker.compression.seed = 5;
  worker.error_feedback = false;
  std::vector<std::vector<std::vector<float>>> gradients(kRounds);
  for (auto &round : gradients) {
    round.assign(c.workers, std::vector<float>(c.size));
    for (auto &tensor : round) {
      for (float &x : tensor) {
        x = static_cast<float>(random.real(-1, 1) * random.real(0, 1));
      }
    }
  }
  auto means = gradients;
  std::vector<std::string> errors(c.workers);
  std::vector<std::thread> threads;
  for (unsigned rank = 0; rank < c.workers; ++rank) {
    threads.emplace_back([&, rank] {
      auto made = thc::Worker::create(worker, (*fabric)->connect(rank));
      if (!made) {
        errors[rank] = made.error().message;
        return;
      }
      for (std::uint32_t round = 0; round < kRounds; ++round) {
        const auto result = (*made)->all_reduce_mean(means[round][rank], "gradient");
        if (!result) {
          errors[rank] = result.error().message;
          return;
        }
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  for (const std::string &error : errors) {
    ASSERT_EQ(error, "");
  }
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    const auto expected = thc::test::reference(gradients[round], worker.compression, round);
    for (unsigned rank = 0; rank < c.workers; ++rank) {
      ASSERT_EQ(std::memcmp(means[round][rank].data(), expected.mean.data(), 4 * c.size), 0)
          << "round " << round << " rank " << rank;
    }
  }
  const ThcFabricStats stats = (*fabric)->stats();
  const auto count = [&](ref::Verdict v) {
    return stats.counters.verdicts[static_cast<std::size_t>(v)];
  };
  EXPECT_GE(stats.sequences, kRounds * c.size / 1024);
  EXPECT_GT(count(ref::Verdict::kCompleted), 0U) << "some sums are made in the switch";
  EXPECT_EQ(stats.lost > 0, c.loss > 0);
  if (c.rival > 0 && c.policy == ref::Policy::kEsa) {
    EXPECT_GT(stats.preempted, 0U) << "the rival took slots";
    EXPECT_GT(stats.at_ps, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ThcOverSwitch,
    ::testing::Values(Case{"calm", "fast", ref::Policy::kEsa, 4, 64, 0, 0, 20'000},
                      Case{"loss_and_rival", "fast", ref::Policy::kEsa, 4, 64, 0.02, 0.5, 50'000},
                      Case{"atp", "fast", ref::Policy::kAtp, 4, 64, 0.02, 0.2, 20'000},
                      Case{"wide_slots", "fast", ref::Policy::kEsa, 8, 256, 0.01, 0.04, 200'000},
                      Case{"sums_of_16_bits", "fast", ref::Policy::kEsa, 12, 128, 0.01, 0.15,
                           60'000},
                      Case{"single_worker", "fast", ref::Policy::kEsa, 1, 64, 0.02, 0, 100'000},
                      Case{"rtl", "rtl", ref::Policy::kEsa, 3, 64, 0.02, 0.3, 30'000}),
    [](const auto &c) { return std::string(c.param.name); });

TEST(ThcFabric, RefusesByName) {
  ThcFabricOptions options;
  options.workers = 33;
  EXPECT_NE(ThcFabric::create(options).error().message.find("workers"), std::string::npos);
  options.workers = 2;
  options.model.lanes = 60;
  EXPECT_NE(ThcFabric::create(options).error().message.find("lanes"), std::string::npos);
  options.model.lanes = 64;
  options.table.values[3] = 200;
  EXPECT_NE(ThcFabric::create(options).error().message.find("table"), std::string::npos);
  options.table = {};
  options.loss = 0.9;
  EXPECT_NE(ThcFabric::create(options).error().message.find("loss"), std::string::npos);
  options.loss = 0;
  options.device = "none";
  EXPECT_NE(ThcFabric::create(options).error().message.find("none"), std::string::npos);
}

} // namespace
} // namespace kestrel::esa
