// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A slice of the fault campaign for every policy and completed-slot rule; `kestrel esa campaign`
// runs a million packets.
#include <gtest/gtest.h>

#include "kestrel/esa/campaign.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::esa {
namespace {

using hv::ref::test::Random;

struct Mode {
  const char *name;
  ref::Policy policy;
  ref::Completed completed;
};
void PrintTo(const Mode &mode, std::ostream *out) { *out << mode.name; }

class Faults : public ::testing::TestWithParam<Mode> {};

std::uint64_t count(const CampaignTally &t, ref::Verdict v) {
  return t.counters.verdicts[static_cast<std::size_t>(v)];
}

TEST_P(Faults, EveryAggregationEndsExactOrReported) {
  Random random;
  SCOPED_TRACE(random.note());
  CampaignConfig config;
  config.packets = 60'000;
  config.seed = static_cast<std::uint64_t>(random.range(0, 1 << 30));
  config.model.policy = GetParam().policy;
  config.model.completed = GetParam().completed;
  config.death = 0.3;
  config.restart = 0.5;
  const auto tally = run_campaign(config);
  ASSERT_TRUE(tally.ok()) << tally.error().message;
  EXPECT_EQ(tally->wrong, 0U);
  EXPECT_EQ(tally->wrong_emissions, 0U);
  EXPECT_EQ(tally->unfinished, 0U);
  EXPECT_EQ(tally->false_reports, 0U);
  EXPECT_EQ(tally->unaccounted, 0U);
  EXPECT_EQ(tally->exact + tally->reported, tally->sequences);
  EXPECT_TRUE(tally->passed());
  // Nothing was idle.
  EXPECT_GE(tally->offered, config.packets);
  EXPECT_GT(tally->exact, 5000U);
  EXPECT_GT(tally->lost, 300U);
  EXPECT_GT(tally->duplicated, 300U);
  EXPECT_GT(tally->reordered, 300U);
  EXPECT_GT(tally->damaged, 100U);
  EXPECT_GT(tally->malformed, 30U);
  EXPECT_GT(tally->deaths, 0U);
  EXPECT_GT(tally->reported, 0U);
  EXPECT_GT(tally->emissions, 10'000U);
  EXPECT_GT(count(*tally, ref::Verdict::kCompleted), 1000U);
  if (GetParam().policy == ref::Policy::kSwitchMl) {
    EXPECT_GT(count(*tally, ref::Verdict::kAnswered), 100U);
  } else {
    EXPECT_GT(tally->restarts, 0U);
    EXPECT_GT(count(*tally, ref::Verdict::kCollided), 100U);
    EXPECT_GT(count(*tally, ref::Verdict::kResentFlush), 20U);
    EXPECT_GT(count(*tally, ref::Verdict::kFlushed), 20U);
  }
  if (GetParam().policy == ref::Policy::kEsa) {
    EXPECT_GT(count(*tally, ref::Verdict::kPreempted), 100U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Modes, Faults,
    ::testing::Values(Mode{"esa_free", ref::Policy::kEsa, ref::Completed::kFree},
                      Mode{"esa_hold", ref::Policy::kEsa, ref::Completed::kHold},
                      Mode{"esa_via_ps", ref::Policy::kEsa, ref::Completed::kViaPs},
                      Mode{"atp_free", ref::Policy::kAtp, ref::Completed::kFree},
                      Mode{"atp_hold", ref::Policy::kAtp, ref::Completed::kHold},
                      Mode{"atp_via_ps", ref::Policy::kAtp, ref::Completed::kViaPs},
                      Mode{"switchml", ref::Policy::kSwitchMl, ref::Completed::kFree}),
    [](const auto &mode) { return std::string(mode.param.name); });

TEST(Campaign, WithoutFaultsNothingIsResentByTimers) {
  CampaignConfig config;
  config.packets = 20'000;
  config.loss = config.duplicate = config.reorder = config.damage = config.malformed = 0;
  config.death = config.restart = config.straggler = 0;
  config.model.slots = 4096;
  const auto tally = run_campaign(config);
  ASSERT_TRUE(tally.ok());
  EXPECT_TRUE(tally->passed());
  EXPECT_EQ(tally->exact, tally->sequences);
  EXPECT_EQ(tally->damaged + tally->malformed + tally->lost, 0U);
  EXPECT_EQ(count(*tally, ref::Verdict::kDuplicate), 0U);
}

/// The same through the Verilated switch, a few thousand packets a policy.
TEST(Campaign, SwitchInRtl) {
  std::uint64_t exact = 0;
  std::uint64_t preempted = 0;
  for (const ref::Policy policy : {ref::Policy::kEsa, ref::Policy::kAtp, ref::Policy::kSwitchMl}) {
    Random random;
    SCOPED_TRACE(random.note());
    CampaignConfig config;
    config.device = "rtl";
    config.packets = 4'000;
    config.seed = static_cast<std::uint64_t>(random.range(0, 1 << 30));
    config.model.policy = policy;
    if (policy == ref::Policy::kAtp) {
      config.model.completed = ref::Completed::kViaPs;
    }
    const auto tally = run_campaign(config);
    if (!tally.ok() && tally.error().code == ErrorCode::kUnsupported) {
      GTEST_SKIP() << tally.error().message;
    }
    ASSERT_TRUE(tally.ok()) << tally.error().message;
    EXPECT_TRUE(tally->passed());
    EXPECT_EQ(tally->wrong, 0U);
    EXPECT_EQ(tally->wrong_emissions, 0U);
    EXPECT_EQ(tally->unaccounted, 0U);
    EXPECT_EQ(tally->exact + tally->reported, tally->sequences);
    exact += tally->exact;
    preempted += count(*tally, ref::Verdict::kPreempted);
  }
  // Nothing was idle. How much one policy completes in so few packets depends on who dies.
  EXPECT_GT(exact, 500U);
  EXPECT_GT(preempted, 0U);
}

TEST(Campaign, SameSeedSameTally) {
  CampaignConfig config;
  config.packets = 5'000;
  config.seed = 3;
  const auto a = run_campaign(config);
  const auto b = run_campaign(config);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->offered, b->offered);
  EXPECT_EQ(a->lost, b->lost);
  EXPECT_EQ(a->simulated_ns, b->simulated_ns);
  config.seed = 4;
  EXPECT_NE(run_campaign(config)->simulated_ns, a->simulated_ns);
}

TEST(Campaign, ImpossibleSharesAreRefusedByName) {
  CampaignConfig config;
  config.loss = 1.5;
  const auto tally = run_campaign(config);
  ASSERT_FALSE(tally.ok());
  EXPECT_NE(tally.error().message.find("loss"), std::string::npos);
}

} // namespace
} // namespace kestrel::esa
