// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_axi_rd and ks_axi_wr back to back: copies of any length are byte-exact and touch nothing else,
// whatever the bus does; full rate; errors are told with their address; stop leaves no burst
// behind.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "Vaxi_copy_probe.h"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace kestrel::tb {
namespace {

using test::seed_of_run;

struct Copy {
  std::uint32_t from = 0, to = 0, bytes = 0;
};

class Bench : public ClockedBench<Bench, Vaxi_copy_probe> {
  using Base = ClockedBench<Bench, Vaxi_copy_probe>;
  friend Base;

public:
  Bench(const AxiMemoryConfig &config, double hold, std::uint64_t seed)
      : Base({.seed = seed}), memory(KESTREL_TB_MEMORY_BINDING(model(), m_axi), config, "m_axi"),
        hold_(hold), random_(seed) {
    reset();
  }
  auto parts() { return std::tie(memory); }
  void add(const Copy &copy) {
    reads.push_back(copy);
    writes.push_back(copy);
    ++due;
  }
  // Cycles until all copies are done.
  std::uint64_t run(std::uint64_t limit) {
    const std::uint64_t begin = simulation.cycle();
    while (done < due && simulation.cycle() - begin < limit && step()) {
    }
    return simulation.cycle() - begin;
  }

  KESTREL_TB_MEMORY_PORT(Vaxi_copy_probe, m_axi) memory;
  std::deque<Copy> reads, writes;
  std::size_t due = 0, done = 0, read_errors = 0, write_errors = 0;
  std::uint32_t error_address = 0;
  bool stop = false;

private:
  void on_drive(std::uint64_t /*cycle*/) {
    auto &m = model();
    m.stop_i = stop;
    m.hold_i = random_.chance(hold_);
    const bool running = !simulation.in_reset();
    m.rd_valid_i = running && !reads.empty();
    if (!reads.empty()) {
      m.rd_addr_i = reads.front().from;
      m.rd_bytes_i = reads.front().bytes;
    }
    m.wr_valid_i = running && !writes.empty();
    if (!writes.empty()) {
      m.wr_addr_i = writes.front().to;
      m.wr_bytes_i = writes.front().bytes;
    }
  }
  void on_sample(std::uint64_t /*cycle*/) {
    auto &m = model();
    if (simulation.in_reset())
      return;
    if (m.rd_valid_i && m.rd_ready_o)
      reads.pop_front();
    if (m.wr_valid_i && m.wr_ready_o)
      writes.pop_front();
    done += m.wr_done_o;
    if (m.rd_err_o) {
      ++read_errors;
      error_address = m.rd_err_addr_o;
    }
    if (m.wr_err_o) {
      ++write_errors;
      error_address = m.wr_err_addr_o;
    }
  }

  double hold_;
  Random random_;
};

constexpr std::uint32_t kSource = 0x10'0000;
constexpr std::uint32_t kTarget = 0x80'0000;
constexpr std::uint32_t kArea = 0x8'0000;

AxiMemoryConfig memory_config(double stall, std::uint64_t seed) {
  AxiMemoryConfig config;
  config.back_pressure = AxiBackPressure::all(stall);
  config.seed = seed;
  return config;
}

std::vector<std::uint8_t> random_bytes(std::size_t n, Random &random) {
  std::vector<std::uint8_t> bytes(n);
  for (auto &byte : bytes)
    byte = static_cast<std::uint8_t>(random.next());
  return bytes;
}

struct Setting {
  double stall, hold;
};
void PrintTo(const Setting &s, std::ostream *out) {
  *out << "stall " << s.stall << " hold " << s.hold;
}

class Movers : public testing::TestWithParam<Setting> {};

TEST_P(Movers, CopiesAreByteExact) {
  Random random(seed_of_run(31));
  Bench bench(memory_config(GetParam().stall, random.next()), GetParam().hold, random.next());
  const auto source = random_bytes(kArea, random);
  std::vector<std::uint8_t> expected = random_bytes(kArea, random);
  ASSERT_TRUE(bench.memory.store(kSource, source));
  ASSERT_TRUE(bench.memory.store(kTarget, expected));
  // Targets do not overlap, so the order of writes does not matter.
  std::uint32_t at = 0;
  std::size_t copies = 0;
  while (true) {
    Copy copy;
    copy.bytes = static_cast<std::uint32_t>(random.chance(0.3) ? 1 + random.below(130)
                                                               : 1 + random.below(9000));
    copy.from = kSource + static_cast<std::uint32_t>(random.below(kArea / 64 - 160)) * 64;
    at += static_cast<std::uint32_t>(random.below(3)) * 64;
    if (at + copy.bytes > kArea)
      break;
    copy.to = kTarget + at;
    std::copy_n(source.begin() + (copy.from - kSource), copy.bytes, expected.begin() + at);
    at += (copy.bytes + 63) / 64 * 64;
    bench.add(copy);
    ++copies;
  }
  ASSERT_GT(copies, 50U);
  bench.run(2'000'000);
  ASSERT_EQ(bench.done, copies);
  EXPECT_EQ(bench.simulation.model().packets_o, copies);
  EXPECT_TRUE(bench.memory.checker().ok()) << bench.memory.checker().log().report();
  std::vector<std::uint8_t> target(kArea);
  ASSERT_TRUE(bench.memory.load(kTarget, target));
  EXPECT_TRUE(target == expected);
  EXPECT_EQ(bench.read_errors + bench.write_errors, 0U);
  EXPECT_GT(bench.memory.stats().read_beats, 1000U);
}

INSTANTIATE_TEST_SUITE_P(Bus, Movers,
                         testing::Values(Setting{0, 0}, Setting{0.3, 0}, Setting{0, 0.5},
                                         Setting{0.2, 0.2}),
                         [](const auto &param) { return "setting" + std::to_string(param.index); });

TEST(Movers, OneBeatPerCycle) {
  Bench bench(memory_config(0, 1), 0, seed_of_run(1));
  bench.add({kSource, kTarget, 1 << 18});
  const std::uint64_t cycles = bench.run(100'000);
  ASSERT_EQ(bench.done, 1U);
  // 4096 beats; latency of read and write, a burst in the FIFO.
  EXPECT_LT(cycles, 4096 + 100);
  EXPECT_EQ(bench.memory.stats().read_bursts, 256U);
  EXPECT_EQ(bench.memory.stats().write_bursts, 256U);
}

TEST(Movers, TailOfAPacket) {
  for (const std::uint32_t bytes : {1U, 63U, 64U, 65U, 4096U}) {
    Bench bench(memory_config(0, 1), 0, seed_of_run(1));
    bench.add({kSource, kTarget, bytes});
    bench.run(10'000);
    ASSERT_EQ(bench.done, 1U);
    const std::uint32_t tail = bytes % 64;
    EXPECT_EQ(bench.simulation.model().last_keep_o,
              tail == 0 ? ~std::uint64_t{0} : (std::uint64_t{1} << tail) - 1);
    EXPECT_EQ(bench.simulation.model().packets_o, 1U);
  }
}

TEST(Movers, ErrorsAreTold) {
  for (const AxiDirection direction : {AxiDirection::read, AxiDirection::write}) {
    Bench bench(memory_config(0.1, 1), 0, seed_of_run(1));
    bench.memory.inject_burst(direction, 5, AxiResp::slverr);
    bench.add({kSource, kTarget, 16384});
    bench.run(10'000);
    EXPECT_EQ(bench.done, 1U);
    const bool reading = direction == AxiDirection::read;
    EXPECT_GT(reading ? bench.read_errors : bench.write_errors, 0U);
    EXPECT_EQ(reading ? bench.write_errors : bench.read_errors, 0U);
    EXPECT_EQ(bench.error_address, (reading ? kSource : kTarget) + 5 * 1024);
  }
}

TEST(Movers, StopLeavesNoBurstBehind) {
  Random random(seed_of_run(7));
  for (int i = 0; i < 40; ++i) {
    Bench bench(memory_config(0.2, random.next()), 0.3, random.next());
    bench.add({kSource, kTarget, 65536});
    for (std::uint64_t n = 1 + random.below(500); n != 0; --n)
      bench.step();
    bench.stop = true;
    auto &model = bench.simulation.model();
    std::uint64_t waited = 0;
    for (; waited < 5000 && !(waited > 2 && model.rd_idle_o && model.wr_idle_o); ++waited)
      bench.step();
    ASSERT_LT(waited, 5000U);
    EXPECT_FALSE(bench.memory.busy());
    bench.reads.clear();
    bench.writes.clear();
    bench.due = bench.done = 0;
    bench.stop = false;
    bench.reset();
    // A copy after it is right.
    const auto bytes = random_bytes(5000, random);
    ASSERT_TRUE(bench.memory.store(kSource + 64, bytes));
    bench.add({kSource + 64, kTarget + 4096 * 40 - 64, 5000});
    bench.run(20'000);
    ASSERT_EQ(bench.done, 1U);
    std::vector<std::uint8_t> target(5000);
    ASSERT_TRUE(bench.memory.load(kTarget + 4096 * 40 - 64, target));
    EXPECT_TRUE(target == bytes);
    EXPECT_TRUE(bench.memory.checker().ok()) << bench.memory.checker().log().report();
  }
}

} // namespace
} // namespace kestrel::tb
