// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_fifo against std::deque, at two sizes, with a source and a sink of changing speed.

#include <cstdint>
#include <deque>

#include <gtest/gtest.h>

#include "Vks_fifo_16.h"
#include "Vks_fifo_2.h"
#include "testbench/cpp/random.hpp"
#include "testbench/cpp/simulation.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using kestrel::tb::Random;
using kestrel::tb::Simulation;
using kestrel::tb::SimulationConfig;

template <class Model> void run(std::uint64_t seed, std::size_t depth) {
  Random rng(seed);
  Simulation<Model> sim(SimulationConfig{.seed = seed});
  std::deque<std::uint64_t> want;
  std::uint64_t pushed = 0, full = 0, empty = 0;
  double fill = 0.5;
  bool push = false, pop = false;
  std::uint64_t data = 0;
  const auto drive = [&](std::uint64_t cycle) {
    if (cycle % 64 == 0) {
      fill = static_cast<double>(rng.below(5)) / 4.0;
    }
    push = !sim.in_reset() && want.size() < depth && rng.chance(fill);
    pop = !sim.in_reset() && !want.empty() && rng.chance(1.0 - fill);
    data = rng.next() & 0x3FFFFFFFFU;
    sim.model().push_i = push;
    sim.model().pop_i = pop;
    sim.model().wdata_i = data;
  };
  const auto sample = [&](std::uint64_t) {
    if (sim.in_reset()) {
      return;
    }
    auto &m = sim.model();
    ASSERT_EQ(m.level_o, want.size());
    ASSERT_EQ(m.full_o, want.size() == depth);
    ASSERT_EQ(m.empty_o, want.empty());
    if (!want.empty()) {
      ASSERT_EQ(m.rdata_o, want.front());
    }
    full += m.full_o;
    empty += m.empty_o;
    if (pop) {
      want.pop_front();
    }
    if (push) {
      want.push_back(data);
      ++pushed;
    }
  };
  sim.reset(drive, sample);
  for (int i = 0; i < 20'000 && !testing::Test::HasFatalFailure(); ++i) {
    sim.step(drive, sample);
  }
  EXPECT_GT(pushed, 1000U);
  EXPECT_GT(full, 100U);
  EXPECT_GT(empty, 100U);
}

TEST(KsFifo, Depth2) { run<Vks_fifo_2>(kestrel::tb::test::seed_of_run(1), 2); }
TEST(KsFifo, Depth16) { run<Vks_fifo_16>(kestrel::tb::test::seed_of_run(2), 16); }

} // namespace
