// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// hv_rd with the AXI memory model: three random requesters, data in order and to the right one,
// priorities, errors, stop.

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include <gtest/gtest.h>

#include "Vhv_rd.h"
#include "testbench/cpp/axi_memory.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using kestrel::tb::AxiBackPressure;
using kestrel::tb::AxiDirection;
using kestrel::tb::AxiMemory;
using kestrel::tb::AxiMemoryConfig;
using kestrel::tb::AxiReadBinding;
using kestrel::tb::AxiResp;
using kestrel::tb::Random;

constexpr std::uint64_t kBytes = 1U << 20U;

struct Request {
  std::uint32_t addr = 0, beats = 0;
};

struct Beat {
  std::uint64_t data = 0;
  bool last = false;
};

class Bench : public kestrel::tb::ClockedBench<Bench, Vhv_rd> {
  using Base = kestrel::tb::ClockedBench<Bench, Vhv_rd>;
  friend Base;

public:
  Bench(std::uint64_t seed, const AxiMemoryConfig &config, double probability)
      : Base({.seed = seed}), rng_(seed), probability_(probability), memory_(config) {
    bytes_.resize(kBytes);
    for (auto &byte : bytes_) {
      byte = static_cast<std::uint8_t>(rng_.next());
    }
    EXPECT_TRUE(memory_.store(0, bytes_));
    model().stop_i = 0;
    reset();
  }

  bool asking = true, stop = false;
  std::array<std::uint64_t, 3> grants{};
  std::uint64_t beats = 0, weight_beats = 0, errors = 0, contended = 0, max_open = 0;
  std::vector<std::uint32_t> error_addrs;

  void run(int cycles) {
    for (int i = 0; i < cycles && !testing::Test::HasFatalFailure(); ++i) {
      step();
    }
  }
  bool drain() {
    asking = false;
    for (int i = 0; i < 20'000 && (!idle_ || memory_.busy()); ++i) {
      step();
    }
    return idle_ && !memory_.busy();
  }
  bool idle() const { return idle_; }
  AxiMemory &memory() { return memory_; }
  std::size_t open() const {
    return expected_[0].size() + expected_[1].size() + expected_[2].size();
  }
  std::uint64_t bursts() const { return grants[0] + grants[1] + grants[2]; }

private:
  auto binding() {
    auto &m = model();
    return KESTREL_TB_AXI_READ(m, m_axi);
  }

  void on_drive(std::uint64_t cycle) {
    auto &m = model();
    for (std::size_t i = 0; i < 3; ++i) {
      // A request stays until it is answered.
      if (!valid_[i] && asking && !simulation.in_reset() && rng_.chance(probability_)) {
        valid_[i] = true;
        const auto first = static_cast<std::uint32_t>(rng_.below(16));
        request_[i].addr = static_cast<std::uint32_t>(rng_.below(kBytes / 128) * 128 + 8 * first);
        request_[i].beats = 1 + static_cast<std::uint32_t>(rng_.below(16 - first));
      }
    }
    m.stop_i = stop;
    m.d_req_valid_i = valid_[0];
    m.l_req_valid_i = valid_[1];
    m.w_req_valid_i = valid_[2];
    m.d_req_addr_i = request_[0].addr;
    m.l_req_addr_i = request_[1].addr;
    m.w_req_addr_i = request_[2].addr;
    m.d_req_beats_m1_i = static_cast<std::uint8_t>(request_[0].beats - 1) & 15U;
    m.l_req_beats_m1_i = static_cast<std::uint8_t>(request_[1].beats - 1) & 15U;
    m.w_req_beats_m1_i = static_cast<std::uint8_t>(request_[2].beats - 1) & 15U;
    memory_.eval_outputs(cycle);
    binding().drive(memory_.read());
  }

  void on_sample(std::uint64_t cycle) {
    auto &m = model();
    binding().sample(memory_.read());
    if (!simulation.in_reset()) {
      check(m);
    }
    memory_.sample(cycle, simulation.in_reset());
  }

  void check(Vhv_rd &m) {
    const std::array<bool, 3> ready = {m.d_req_ready_o != 0, m.l_req_ready_o != 0,
                                       m.w_req_ready_o != 0};
    // Exactly the first that asks is answered, when a grant is possible.
    const bool slot = (!m.m_axi_arvalid || m.m_axi_arready) && open_bursts_ < 16 && !stop;
    bool taken = false;
    for (std::size_t i = 0; i < 3; ++i) {
      ASSERT_EQ(ready[i], slot && valid_[i] && !taken) << "requester " << i;
      taken = taken || valid_[i];
    }
    contended +=
        (valid_[0] ? 1 : 0) + (valid_[1] ? 1 : 0) + (valid_[2] ? 1 : 0) > 1 && slot ? 1 : 0;
    // Idle: nothing is left to deliver, the beat of this cycle included.
    ASSERT_EQ(m.idle_o, open() == 0);
    idle_ = m.idle_o != 0;
    // Data of the cycle before.
    const std::array<bool, 3> rsp = {m.d_rsp_valid_o != 0, m.l_rsp_valid_o != 0,
                                     m.w_rsp_valid_o != 0};
    ASSERT_EQ((rsp[0] ? 1 : 0) + (rsp[1] ? 1 : 0) + (rsp[2] ? 1 : 0), shown_ ? 1 : 0);
    ASSERT_EQ(m.beat_o, shown_);
    ASSERT_EQ(m.w_beat_o, rsp[2]);
    ASSERT_EQ(m.err_o, shown_ && shown_resp_ != 0);
    if (m.err_o) {
      ++errors;
      error_addrs.push_back(m.err_addr_o);
    }
    for (std::size_t i = 0; i < 3; ++i) {
      if (rsp[i]) {
        ASSERT_FALSE(expected_[i].empty()) << "requester " << i;
        const Beat beat = expected_[i].front();
        expected_[i].pop_front();
        if (shown_resp_ == 0) {
          ASSERT_EQ(m.rsp_data_o, beat.data);
        }
        ASSERT_EQ(m.rsp_last_o, beat.last);
        ++beats;
        weight_beats += i == 2;
      }
    }
    shown_ = m.m_axi_rvalid != 0;
    shown_resp_ = m.m_axi_rresp;
    ASSERT_EQ(m.m_axi_rready, 1);
    if (m.m_axi_rvalid && m.m_axi_rlast) {
      --open_bursts_;
    }
    for (std::size_t i = 0; i < 3; ++i) {
      if (ready[i] && valid_[i]) {
        for (std::uint32_t b = 0; b < request_[i].beats; ++b) {
          std::uint64_t data = 0;
          for (unsigned k = 0; k < 8; ++k) {
            data |= static_cast<std::uint64_t>(bytes_[request_[i].addr + 8 * b + k]) << (8 * k);
          }
          expected_[i].push_back({data, b + 1 == request_[i].beats});
        }
        valid_[i] = false;
        ++grants[i];
        ++open_bursts_;
      }
    }
    max_open = std::max<std::uint64_t>(max_open, static_cast<std::uint64_t>(open_bursts_));
  }

  Random rng_;
  double probability_;
  AxiMemory memory_;
  std::vector<std::uint8_t> bytes_;
  std::array<bool, 3> valid_{};
  std::array<Request, 3> request_{};
  std::array<std::deque<Beat>, 3> expected_;
  int open_bursts_ = 0;
  bool shown_ = false, idle_ = true;
  std::uint8_t shown_resp_ = 0;
};

AxiMemoryConfig memory_config(std::uint32_t latency, double pressure, std::uint64_t seed) {
  AxiMemoryConfig config;
  config.size = kBytes;
  config.read_latency = latency;
  config.max_outstanding = 20; // more than the design uses
  config.back_pressure = AxiBackPressure::all(pressure);
  config.seed = seed;
  return config;
}

void run_random(std::uint64_t seed, std::uint32_t latency, double pressure, double asking) {
  Bench bench(seed, memory_config(latency, pressure, seed), asking);
  bench.run(20'000);
  ASSERT_TRUE(bench.drain());
  EXPECT_EQ(bench.open(), 0U);
  for (const auto count : bench.grants) {
    EXPECT_GT(count, 20U);
  }
  EXPECT_GT(bench.contended, 100U);
  EXPECT_EQ(bench.memory().stats().read_beats, bench.beats);
  EXPECT_GT(bench.weight_beats, 100U);
  EXPECT_EQ(bench.errors, 0U);
  bench.memory().checker().finish(1'000'000);
  EXPECT_TRUE(bench.memory().checker().log().empty()) << bench.memory().checker().log().report();
}

TEST(HvRd, ShortLatency) { run_random(kestrel::tb::test::seed_of_run(1), 1, 0, 0.05); }
TEST(HvRd, LongLatency) { run_random(kestrel::tb::test::seed_of_run(2), 60, 0, 0.05); }
TEST(HvRd, BackPressure) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(3);
  run_random(seed, 10, 0.4, 0.04);
  run_random(seed + 1, 3, 0.8, 0.03);
}

/// Sixteen bursts at most are outstanding, and that many are reached.
TEST(HvRd, Outstanding) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(4);
  Bench bench(seed, memory_config(400, 0, seed), 0.5);
  bench.run(5000);
  EXPECT_EQ(bench.max_open, 16U);
  EXPECT_TRUE(bench.drain());
}

/// Error beats are delivered, and each is reported with the address of its burst.
TEST(HvRd, ReadErrors) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(5);
  Bench bench(seed, memory_config(7, 0.2, seed), 0.05);
  bench.memory().inject_range(AxiDirection::read, 0x40000, 0x20000, AxiResp::slverr);
  bench.run(10'000);
  ASSERT_TRUE(bench.drain());
  EXPECT_GT(bench.errors, 100U);
  for (const std::uint32_t addr : bench.error_addrs) {
    EXPECT_GE(addr, 0x40000U);
    EXPECT_LT(addr, 0x60000U);
  }
  EXPECT_EQ(bench.memory().stats().read_beats, bench.beats);
}

/// With stop nothing new is granted and what is outstanding ends.
TEST(HvRd, Stop) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(6);
  Bench bench(seed, memory_config(30, 0.3, seed), 0.3);
  for (int round = 0; round < 20; ++round) {
    bench.stop = false;
    bench.run(50 + 13 * round);
    const std::uint64_t before = bench.bursts();
    EXPECT_GT(before, 0U);
    EXPECT_FALSE(bench.idle());
    bench.stop = true;
    bench.run(1500);
    EXPECT_TRUE(bench.idle());
    EXPECT_EQ(bench.bursts(), before);
  }
}

} // namespace
