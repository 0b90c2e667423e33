// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The cluster simulation: whole jobs end with every aggregation, policies behave as their rules
// say, bad scenarios are refused by name.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kestrel/esa/cluster.hpp"

namespace kestrel::esa {
namespace {

using ::testing::HasSubstr;

constexpr ClusterPolicy kAll[] = {ClusterPolicy::kEsa, ClusterPolicy::kAtp,
                                  ClusterPolicy::kSwitchMl, ClusterPolicy::kPsOnly};

std::vector<ClusterJob> jobs(std::initializer_list<const char *> models, unsigned iterations = 2) {
  std::vector<ClusterJob> list;
  for (const char *name : models)
    list.push_back({*training_model(name), 4, iterations, 0.0});
  return list;
}

ClusterConfig config(ClusterPolicy policy, std::uint32_t slots) {
  ClusterConfig c = default_config(policy);
  c.slots = slots;
  c.scale = 2048;
  c.jitter = 0.2;
  return c;
}

std::uint64_t expected(const ClusterConfig &c, const std::vector<ClusterJob> &list) {
  std::uint64_t sum = 0;
  for (const ClusterJob &job : list) {
    const double packets = job.model.parameters_m * 1e6 / c.scale / 64;
    sum += static_cast<std::uint64_t>(std::lround(packets / c.layers)) * c.layers * job.iterations *
           job.workers;
  }
  return sum;
}

TEST(EsaCluster, EveryWorkerGetsEveryAggregation) {
  const auto list = jobs({"VGG16", "BERT", "ResNet50"});
  for (const ClusterPolicy policy : kAll) {
    for (const double loss : {0.0, 1e-3}) {
      for (const std::uint32_t slots : {16U, 4096U}) {
        ClusterConfig c = config(policy, slots);
        c.loss = loss;
        const auto r = simulate_cluster(c, list);
        ASSERT_TRUE(r) << to_string(policy) << ": " << r.error().message;
        EXPECT_EQ(r->aggregations, expected(c, list)) << to_string(policy);
        EXPECT_GE(4 * (r->in_switch + r->at_ps), r->aggregations) << to_string(policy);
        EXPECT_EQ(r->dropped > 0, loss > 0) << to_string(policy);
      }
    }
  }
}

TEST(EsaCluster, NoJobEndsBeforeItsComputation) {
  const auto list = jobs({"AlexNet"}, 3);
  for (const ClusterPolicy policy : kAll) {
    ClusterConfig c = config(policy, 1024);
    c.jitter = 0.0;
    const auto r = simulate_cluster(c, list);
    ASSERT_TRUE(r) << r.error().message;
    // Three times forward and backward, and the last layer's sum at the least.
    EXPECT_GT(r->mean_jct_ms, 3 * (133 + 122));
  }
}

TEST(EsaCluster, TheSameSeedGivesTheSameRun) {
  const auto list = jobs({"VGG16", "VGG11"});
  ClusterConfig c = config(ClusterPolicy::kEsa, 32);
  c.loss = 1e-3;
  const auto a = simulate_cluster(c, list);
  const auto b = simulate_cluster(c, list);
  c.seed = 2;
  const auto other = simulate_cluster(c, list);
  ASSERT_TRUE(a && b && other);
  EXPECT_EQ(a->events, b->events);
  EXPECT_EQ(a->mean_jct_ms, b->mean_jct_ms);
  EXPECT_NE(a->events, other->events);
}

TEST(EsaCluster, WithMemoryForAllWindowsNothingCollides) {
  const auto list = jobs({"VGG16", "BERT", "ResNet50", "AlexNet"});
  const auto esa = simulate_cluster(config(ClusterPolicy::kEsa, 4096), list);
  const auto ml = simulate_cluster(config(ClusterPolicy::kSwitchMl, 4096), list);
  ASSERT_TRUE(esa && ml);
  EXPECT_EQ(esa->collisions + esa->preemptions + esa->at_ps, 0U);
  EXPECT_NEAR(esa->mean_jct_ms / ml->mean_jct_ms, 1.0, 0.01);
}

TEST(EsaCluster, UnderContentionPriorityPays) {
  const auto list = jobs({"VGG16", "BERT", "ResNet50", "AlexNet", "VGG16", "BERT"}, 3);
  const auto esa = simulate_cluster(config(ClusterPolicy::kEsa, 64), list);
  ClusterConfig without = config(ClusterPolicy::kEsa, 64);
  without.preempt = ref::Preempt::kNever;
  const auto never = simulate_cluster(without, list);
  const auto atp = simulate_cluster(config(ClusterPolicy::kAtp, 64), list);
  ASSERT_TRUE(esa && never && atp);
  EXPECT_GT(esa->preemptions, 0U);
  EXPECT_EQ(never->preemptions, 0U);
  EXPECT_EQ(atp->preemptions, 0U);
  EXPECT_GT(atp->collisions, 0U);
  EXPECT_GE(atp->mean_jct_ms / esa->mean_jct_ms, 1.35);
  EXPECT_GE(never->mean_jct_ms / esa->mean_jct_ms, 1.0);
}

TEST(EsaCluster, PsOnlyBringsEveryContributionToThePs) {
  const auto list = jobs({"ResNet50"});
  const auto r = simulate_cluster(config(ClusterPolicy::kPsOnly, 64), list);
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(r->in_switch, 0U);
  EXPECT_GE(r->ps_packets, r->aggregations);
}

TEST(EsaCluster, TheDevicesDecideAsTheModel) {
  auto list = jobs({"VGG16", "BERT", "ResNet50"});
  for (auto &job : list)
    job.workers = 3;
  for (const char *device : {"fast", "rtl"}) {
    for (const ClusterPolicy policy : kAll) {
      ClusterConfig c = config(policy, 16);
      c.scale = 200'000;
      c.loss = 0.01;
      const auto alone = simulate_cluster(c, list);
      c.device = device;
      const auto both = simulate_cluster(c, list);
      ASSERT_TRUE(alone) << alone.error().message;
      ASSERT_TRUE(both) << device << ", " << to_string(policy) << ": " << both.error().message;
      EXPECT_GT(both->device_packets, 200U);
      EXPECT_EQ(both->events, alone->events);
      EXPECT_EQ(both->mean_jct_ms, alone->mean_jct_ms);
    }
  }
}

TEST(EsaCluster, ALimitOnEventsIsAnError) {
  ClusterConfig c = config(ClusterPolicy::kEsa, 64);
  c.max_events = 1000;
  const auto r = simulate_cluster(c, jobs({"VGG16"}));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, ErrorCode::kResourceLimit);
}

TEST(EsaScenario, FieldsAndVariants) {
  const auto s = parse_scenario(R"({"jobs": [{"model": "BERT", "workers": 2, "count": 3},
      {"model": {"name": "own", "parameters_m": 1.5, "forward_ms": 2, "backward_ms": 4}}],
      "slots": 99, "variants": [{"policy": "esa", "priority": {"layer": 0}},
      {"name": "other", "policy": "atp", "slots": 7, "completed": "free"}]})");
  ASSERT_TRUE(s) << s.error().message;
  ASSERT_EQ(s->jobs.size(), 4U);
  EXPECT_EQ(s->jobs[2].workers, 2U);
  EXPECT_EQ(s->jobs[3].model.parameters_m, 1.5);
  ASSERT_EQ(s->variants.size(), 2U);
  EXPECT_EQ(s->variants[0].name, "esa");
  EXPECT_EQ(s->variants[0].config.slots, 99U);
  EXPECT_EQ(s->variants[0].config.priority.layer, 0.0);
  EXPECT_EQ(s->variants[1].name, "other");
  EXPECT_EQ(s->variants[1].config.slots, 7U);
  EXPECT_EQ(s->variants[1].config.completed, ref::Completed::kFree);
}

TEST(EsaScenario, RefusalsNameTheField) {
  const std::pair<const char *, const char *> cases[] = {
      {"[1]", "not an object"},
      {"{", "not JSON"},
      {R"({"slots": 4})", "jobs"},
      {R"({"jobs": []})", "jobs"},
      {R"({"jobs": [{}]})", "jobs[0].model: is missing"},
      {R"({"jobs": [{"model": "LeNet"}]})", "'LeNet' is not one of AlexNet"},
      {R"({"jobs": [{"model": {"parameters_m": 1, "forward_ms": 1}}]})", "backward_ms: is missing"},
      {R"({"jobs": [{"model": "BERT", "wrokers": 4}]})", "jobs[0].wrokers: unknown field"},
      {R"({"jobs": [{"model": "BERT"}], "slots": -1})", "slots: is not a whole number"},
      {R"({"jobs": [{"model": "BERT"}], "loss": "1 %"})", "loss: is not a number"},
      {R"({"jobs": [{"model": "BERT"}], "preempt": "maybe"})", "preempt: is not one of higher"},
      {R"({"jobs": [{"model": "BERT"}], "variants": [{"name": "x"}]})", "variants[0].policy"},
      {R"({"jobs": [{"model": "BERT"}], "variants": [{"policy": "esa", "slot": 3}]})",
       "variants[0].slot: unknown field"},
  };
  for (const auto &[text, message] : cases) {
    const auto s = parse_scenario(text);
    ASSERT_FALSE(s) << text;
    EXPECT_THAT(s.error().message, HasSubstr(message));
  }
}

TEST(EsaCluster, ImpossibleSettingsAreRefusedByName) {
  const auto list = jobs({"BERT"});
  const auto refused = [&](auto change, const char *name) {
    ClusterConfig c = config(ClusterPolicy::kEsa, 64);
    auto these = list;
    change(c, these);
    const auto r = simulate_cluster(c, these);
    ASSERT_FALSE(r) << name;
    EXPECT_EQ(r.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(r.error().message, HasSubstr(name));
  };
  using C = ClusterConfig;
  using J = std::vector<ClusterJob>;
  refused([](C &c, J &) { c.slots = 0; }, "slots");
  refused([](C &c, J &) { c.link_gbps = 0; }, "link");
  refused([](C &c, J &) { c.loss = 0.7; }, "loss");
  refused([](C &c, J &) { c.window_max = 1; }, "window");
  refused([](C &c, J &) { c.scale = 0; }, "scale");
  refused([](C &c, J &) { c.completed = ref::Completed::kHold; }, "completed");
  refused([](C &, J &j) { j[0].workers = 0; }, "workers");
  refused([](C &, J &j) { j[0].iterations = 0; }, "iterations");
  refused([](C &, J &j) { j.clear(); }, "jobs");
}

} // namespace
} // namespace kestrel::esa
