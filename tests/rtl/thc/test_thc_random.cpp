// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_threefry, thc_sign and thc_noise against sw_ref/thc/threefry.hpp, which has its own test
// against published answers.

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "Vthc_noise_1.h"
#include "Vthc_noise_16.h"
#include "Vthc_noise_4.h"
#include "Vthc_sign_1.h"
#include "Vthc_sign_16.h"
#include "Vthc_sign_4.h"
#include "Vthc_threefry.h"
#include "sw_ref/thc/threefry.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"
#include "tests/rtl/thc/test_thc_util.hpp"

namespace {

using namespace kestrel::tb;
using namespace kestrel::tb::test;
namespace ref = kestrel::thc::ref;

constexpr unsigned kLatency = 17;

// thc_threefry has no reset.
std::vector<std::uint64_t> threefry(ref::Words2 key, const std::vector<std::uint64_t> &counters,
                                    double stall, std::uint64_t seed) {
  VerilatedContext context;
  context.randReset(2);
  context.randSeed(static_cast<int>(seed) + 1);
  Vthc_threefry model(&context);
  Random rng(seed);
  std::vector<std::uint64_t> out;
  for (std::size_t moves = 0; moves < counters.size() + kLatency;) {
    model.key_i = std::uint64_t{key[1]} << 32 | key[0];
    model.counter_i = moves < counters.size() ? counters[moves] : 0;
    model.en_i = !rng.chance(stall);
    model.clk_i = 0;
    model.eval();
    if (model.en_i != 0) {
      if (moves >= kLatency)
        out.push_back(model.word_o);
      ++moves;
    }
    model.clk_i = 1;
    model.eval();
  }
  model.final();
  return out;
}

// Random123's published answers for 13 rounds: all zero, and digits of pi.
TEST(ThcThreefry, KnownAnswers) {
  EXPECT_EQ(threefry({0, 0}, {0}, 0.0, 1).at(0), 0x8BD507319D1C5EC6U);
  EXPECT_EQ(threefry({0x13198A2E, 0x03707344}, {0x85A308D3243F6A88U}, 0.0, 1).at(0),
            0xF27D669EBA3E4725U);
}

TEST(ThcThreefry, EqualToReference) {
  const std::uint64_t seed = seed_of_run(1);
  Random rng(seed);
  for (const double stall : {0.0, 0.4}) {
    for (int k = 0; k < 20; ++k) {
      const ref::Words2 key = {static_cast<std::uint32_t>(rng.next()),
                               static_cast<std::uint32_t>(rng.next())};
      std::vector<std::uint64_t> counters;
      counters.reserve(200);
      for (int i = 0; i < 200; ++i)
        counters.push_back(i % 3 == 0 ? rng.next() : static_cast<std::uint64_t>(i));
      const auto got = threefry(key, counters, stall, seed);
      ASSERT_EQ(got.size(), counters.size());
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_EQ(got[i], ref::random64(key, counters[i]));
    }
  }
}

/// `beats` beats of a source that started at coordinate `first`.
template <unsigned Lanes, bool Noise, class Model>
void check_source(Simulation<Model> &sim, Random &rng, ref::Words2 key, std::uint64_t first,
                  int beats, double stall, bool with_reset) {
  auto &m = sim.model();
  bool taken = false;
  std::uint64_t coordinate = first, gaps = 0;
  int done = 0;
  const auto drive = [&](std::uint64_t) {
    m.key_i = std::uint64_t{key[1]} << 32 | key[0];
    m.first_i = first;
    m.m_ready_i = !rng.chance(stall);
  };
  const auto sample = [&](std::uint64_t) {
    taken = !sim.in_reset() && m.clear_i == 0 && m.m_valid_o != 0 && m.m_ready_i != 0;
    gaps += done > 0 && m.m_ready_i != 0 && m.m_valid_o == 0;
    if (!taken)
      return;
    for (unsigned lane = 0; lane < Lanes; ++lane, ++coordinate) {
      AxisData data;
      if constexpr (Noise) {
        read_signal(m.m_noise_o, data);
        ASSERT_EQ(get_field(data, 16 * lane, 16), ref::noise_at(key, coordinate)) << coordinate;
      } else {
        read_signal(m.m_sign_o, data);
        ASSERT_EQ(get_field(data, lane, 1) != 0, ref::sign_at(key, coordinate)) << coordinate;
      }
    }
    ++done;
  };
  if (with_reset) {
    sim.reset(drive, sample);
  } else {
    m.clear_i = 1;
    sim.step(drive, sample);
    m.clear_i = 0;
  }
  const std::uint64_t start = sim.cycle();
  for (int i = 0; i < 100 * beats && done < beats && !testing::Test::HasFatalFailure(); ++i) {
    const bool waiting = done == 0;
    sim.step(drive, sample);
    if (waiting && done == 1 && stall == 0.0) {
      EXPECT_EQ(sim.cycle() - start, 21U);
    }
  }
  EXPECT_EQ(done, beats);
  EXPECT_EQ(gaps, 0U) << "a beat a cycle once it runs";
}

template <unsigned Lanes, bool Noise, class Model> void run_source(std::uint64_t seed) {
  Random rng(seed);
  Simulation<Model> sim(SimulationConfig{.seed = seed});
  sim.model().clear_i = 0;
  for (int round = 0; round < 8 && !testing::Test::HasFatalFailure(); ++round) {
    const ref::Words2 key = {static_cast<std::uint32_t>(rng.next()),
                             static_cast<std::uint32_t>(rng.next())};
    // Also across the end of the counter's lower word.
    const std::uint64_t first = round == 0   ? 0
                                : round == 1 ? (std::uint64_t{1} << (Noise ? 34 : 38)) - 1024
                                             : rng.below(std::uint64_t{1} << 30) * 1024;
    check_source<Lanes, Noise>(sim, rng, key, first, 2048 / static_cast<int>(Lanes) + 300,
                               round % 2 == 0 ? 0.0 : 0.1 * round, round % 3 == 0);
  }
}

TEST(ThcSign, Lanes1) { run_source<1, false, Vthc_sign_1>(seed_of_run(11)); }
TEST(ThcSign, Lanes4) { run_source<4, false, Vthc_sign_4>(seed_of_run(12)); }
TEST(ThcSign, Lanes16) { run_source<16, false, Vthc_sign_16>(seed_of_run(13)); }
TEST(ThcNoise, Lanes1) { run_source<1, true, Vthc_noise_1>(seed_of_run(14)); }
TEST(ThcNoise, Lanes4) { run_source<4, true, Vthc_noise_4>(seed_of_run(15)); }
TEST(ThcNoise, Lanes16) { run_source<16, true, Vthc_noise_16>(seed_of_run(16)); }

} // namespace
