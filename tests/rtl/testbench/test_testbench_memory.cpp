// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The AXI4 memory model: its timing contract cycle by cycle, its data, its errors, its checks.
#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "testbench/cpp/axi_memory.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace kestrel::tb::test {
namespace {

using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

// What the memory drove and what was handshaked in one cycle.
struct Seen {
  bool arready, rvalid, rlast, rready, r, ar;
  bool awready, wready, bvalid, bready, aw, w, wlast, b;
};

// Runs a master against a memory until both are done, records every cycle.
class Bench {
public:
  explicit Bench(const AxiMemoryConfig &config, const ScriptMaster::Config &master_config = {})
      : memory(config), master(master_config) {}

  // READY of the master, when the test scripts them by cycle.
  std::function<bool(uint64_t)> rready, bready;

  void run(uint64_t max_cycles) {
    for (; cycle < max_cycles && !(master.done() && !memory.busy()); ++cycle) {
      step();
    }
  }
  void step() {
    memory.eval_outputs(cycle);
    AxiReadPorts &read = memory.read();
    AxiWritePorts &write = memory.write();
    master.drive(cycle, read, write);
    if (rready) {
      read.rready = rready(cycle);
    }
    if (bready) {
      write.bready = bready(cycle);
    }
    seen.push_back({read.arready, read.rvalid, read.rlast, read.rready, read.rvalid && read.rready,
                    read.arvalid && read.arready, write.awready, write.wready, write.bvalid,
                    write.bready, write.awvalid && write.awready, write.wvalid && write.wready,
                    write.wlast, write.bvalid && write.bready});
    master.sample(cycle, read, write);
    memory.sample(cycle);
  }

  AxiMemory memory;
  ScriptMaster master;
  std::vector<Seen> seen;
  uint64_t cycle = 0;
};

Burst read_burst(uint64_t addr, uint8_t len, uint64_t earliest = 0, uint8_t size = 3) {
  Burst burst;
  burst.addr = addr;
  burst.len = len;
  burst.earliest = earliest;
  burst.size = size;
  return burst;
}

Burst write_burst(uint64_t addr, uint8_t len, uint64_t earliest = 0, uint8_t size = 3,
                  uint32_t bus_bytes = 8, uint64_t seed = 1) {
  Burst burst = read_burst(addr, len, earliest, size);
  Random random(seed ^ addr);
  for (uint32_t beat = 0; beat < burst.beats(); ++beat) {
    AxiData data;
    for (uint32_t word = 0; word < bus_bytes / 8; ++word) {
      data.words[word] = random.next();
    }
    burst.data.push_back(data);
    burst.strb.push_back(axi_beat_lanes(addr, len, size, 1, beat, bus_bytes));
  }
  return burst;
}

std::vector<uint64_t> cycles_from(uint64_t first, uint32_t count) {
  std::vector<uint64_t> cycles(count);
  std::iota(cycles.begin(), cycles.end(), first);
  return cycles;
}

// --- the timing contract -------------------------------------------------------------------------

TEST(read_timing, one_burst_after_the_latency) {
  Bench bench({});
  bench.master.reads = {read_burst(0x1000, 3, 5)};
  bench.run(1000);
  const Burst &burst = bench.master.reads[0];
  EXPECT_EQ(burst.address_cycle, 5U);
  EXPECT_EQ(burst.data_cycles, cycles_from(35, 4)); // 5 + 30
  for (uint64_t c = 0; c < bench.seen.size(); ++c) {
    EXPECT_TRUE(bench.seen[c].arready) << c;
    EXPECT_EQ(bench.seen[c].rvalid, c >= 35 && c < 39) << c;
    EXPECT_EQ(bench.seen[c].rvalid && bench.seen[c].rlast, c == 38) << c;
  }
}

TEST(read_timing, bursts_follow_each_other_without_a_gap) {
  Bench bench({});
  bench.master.reads = {read_burst(0x1000, 3, 5), read_burst(0x2000, 1, 6),
                        read_burst(0x3000, 0, 60)};
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[1].address_cycle, 6U);
  EXPECT_EQ(bench.master.reads[1].data_cycles, cycles_from(39, 2)); // max(6 + 30, 38 + 1)
  EXPECT_EQ(bench.master.reads[2].data_cycles, cycles_from(90, 1)); // 60 + 30
}

TEST(read_timing, latency_is_settable_down_to_one) {
  for (const uint32_t latency : {1U, 2U, 7U, 100U}) {
    AxiMemoryConfig config;
    config.read_latency = latency;
    Bench bench(config);
    bench.master.reads = {read_burst(0x1000, 2, 4)};
    bench.run(1000);
    EXPECT_EQ(bench.master.reads[0].data_cycles, cycles_from(4 + latency, 3)) << latency;
  }
}

TEST(read_timing, beats_wait_for_rready) {
  Bench bench({});
  bench.master.reads = {read_burst(0x1000, 2, 0), read_burst(0x1100, 0, 1)};
  // Ready in cycles 33, 34 and 40 on: beats at 33, 34, 40; the next burst at 41.
  bench.rready = [](uint64_t c) { return c == 33 || c == 34 || c >= 40; };
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[0].data_cycles, (std::vector<uint64_t>{33, 34, 40}));
  EXPECT_EQ(bench.master.reads[1].data_cycles, (std::vector<uint64_t>{41}));
  EXPECT_TRUE(bench.seen[30].rvalid);
  EXPECT_FALSE(bench.seen[29].rvalid);
  EXPECT_EQ(bench.memory.stats().r_wait_cycles, 3U + 5U);
}

TEST(read_timing, arready_falls_at_the_limit) {
  AxiMemoryConfig config;
  config.max_outstanding = 4;
  Bench bench(config);
  for (uint64_t i = 0; i < 6; ++i) {
    bench.master.reads.push_back(read_burst(0x1000 + 64 * i, 3));
  }
  bench.run(1000);
  // Handshakes in 0..3; the first three bursts end in cycles 33, 37 and 41.
  for (uint64_t c = 0; c < 45; ++c) {
    const bool full = (c >= 4 && c <= 33) || (c >= 35 && c <= 37) || (c >= 39 && c <= 41);
    EXPECT_EQ(bench.seen[c].arready, !full) << c;
  }
  EXPECT_EQ(bench.master.reads[4].address_cycle, 34U);
  EXPECT_EQ(bench.master.reads[5].address_cycle, 38U);
  EXPECT_EQ(bench.master.reads[4].data_cycles, cycles_from(64, 4)); // 34 + 30 > 49 + 1
}

TEST(read_timing, default_limit_is_sixteen) {
  Bench bench({});
  for (uint64_t i = 0; i < 17; ++i) {
    bench.master.reads.push_back(read_burst(0x1000 + 64 * i, 0));
  }
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[15].address_cycle, 15U);
  EXPECT_EQ(bench.master.reads[16].address_cycle, 31U);
}

TEST(read_timing, bandwidth) {
  const std::map<std::pair<uint32_t, uint32_t>, std::vector<uint64_t>> expected = {
      {{1, 1}, {0, 1, 2, 3, 4, 5}},  {{3, 3}, {0, 1, 2, 3, 4, 5}}, {{1, 2}, {0, 2, 4, 6, 8, 10}},
      {{2, 4}, {0, 2, 4, 6, 8, 10}}, {{2, 3}, {0, 1, 3, 4, 6, 7}}, {{1, 4}, {0, 4, 8, 12, 16, 20}},
      {{3, 4}, {0, 1, 2, 4, 5, 6}}};
  for (const auto &[fraction, offsets] : expected) {
    AxiMemoryConfig config;
    config.read_bandwidth = {fraction.first, fraction.second};
    Bench bench(config);
    bench.master.reads = {read_burst(0x1000, 5, 10)};
    bench.run(1000);
    std::vector<uint64_t> cycles;
    for (const uint64_t offset : offsets) {
      cycles.push_back(40 + offset);
    }
    EXPECT_EQ(bench.master.reads[0].data_cycles, cycles)
        << fraction.first << "/" << fraction.second;
  }
}

TEST(read_timing, shared_bandwidth_alone_is_that_of_reads) {
  AxiMemoryConfig config;
  config.shared_bandwidth = {2, 3};
  Bench bench(config);
  bench.master.reads = {read_burst(0x1000, 5, 10)};
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[0].data_cycles, (std::vector<uint64_t>{40, 41, 43, 44, 46, 47}));
}

TEST(read_timing, shared_bandwidth_is_that_of_both_directions) {
  AxiMemoryConfig config;
  config.shared_bandwidth = {1, 2};
  Bench bench(config);
  bench.master.reads = {read_burst(0x1000, 15, 0)};
  bench.master.writes = {write_burst(0x8000, 15, 30)};
  bench.run(1000);
  const auto &reads = bench.master.reads[0].data_cycles,
             &writes = bench.master.writes[0].data_cycles;
  EXPECT_EQ(reads.front(), 30U);
  EXPECT_EQ(writes.front(), 30U);
  // Two beats at once, of which the second goes below zero, every four cycles.
  EXPECT_EQ(reads.back(), 30U + 15 * 4);
  EXPECT_EQ(writes.back(), 30U + 15 * 4);
}

TEST(read_timing, no_data_moves_in_refresh) {
  AxiMemoryConfig config;
  config.refresh_interval = 10;
  config.refresh_cycles = 3;
  Bench bench(config);
  bench.master.reads = {read_burst(0x1000, 9, 5)};
  bench.master.writes = {write_burst(0x8000, 9, 37)};
  bench.run(1000);
  // The interval begins at the address in cycle 5.
  EXPECT_EQ(bench.master.reads[0].data_cycles,
            (std::vector<uint64_t>{35, 36, 37, 38, 39, 40, 41, 45, 46, 47}));
  EXPECT_EQ(bench.master.writes[0].data_cycles,
            (std::vector<uint64_t>{37, 38, 39, 40, 41, 45, 46, 47, 48, 49}));
}

TEST(read_timing, align_begins_a_new_refresh_interval) {
  AxiMemoryConfig config;
  config.read_latency = 1;
  config.refresh_interval = 100;
  config.refresh_cycles = 60;
  Bench bench(config);
  bench.master.reads = {read_burst(0x1000, 0, 5), read_burst(0x1000, 0, 50)};
  for (; bench.cycle < 50; ++bench.cycle) {
    bench.step();
  }
  bench.memory.align(); // without it cycle 51 lies in the refresh that lasts to 104
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[1].data_cycles, cycles_from(51, 1));
}

TEST(write_timing, response_after_the_latency) {
  Bench bench({});
  bench.master.writes = {write_burst(0x1000, 3, 5)};
  bench.run(1000);
  const Burst &burst = bench.master.writes[0];
  EXPECT_EQ(burst.address_cycle, 5U);
  EXPECT_EQ(burst.data_cycles, cycles_from(5, 4));
  EXPECT_EQ(burst.response_cycle, 16U); // 8 + 8
  for (uint64_t c = 0; c < bench.seen.size(); ++c) {
    EXPECT_TRUE(bench.seen[c].awready && bench.seen[c].wready) << c;
    EXPECT_EQ(bench.seen[c].bvalid, c == 16) << c;
  }
}

TEST(write_timing, responses_do_not_overlap) {
  Bench bench({});
  bench.master.writes = {write_burst(0x1000, 0, 0), write_burst(0x1100, 0, 0)};
  bench.bready = [](uint64_t c) { return c >= 12; };
  bench.run(1000);
  EXPECT_EQ(bench.master.writes[0].response_cycle, 12U);
  EXPECT_EQ(bench.master.writes[1].response_cycle, 13U);
}

TEST(write_timing, late_address_counts) {
  ScriptMaster::Config lead;
  lead.data_may_lead = true;
  lead.aw_idle = 0.9;
  lead.seed = 3;
  Bench bench({}, lead);
  bench.master.writes = {write_burst(0x1000, 1, 0)};
  bench.run(1000);
  const Burst &burst = bench.master.writes[0];
  ASSERT_GT(burst.address_cycle, burst.data_cycles.back());
  EXPECT_EQ(burst.response_cycle, burst.address_cycle + 8);
}

TEST(write_timing, awready_falls_at_the_limit) {
  AxiMemoryConfig config;
  config.max_outstanding = 2;
  Bench bench(config);
  for (uint64_t i = 0; i < 3; ++i) {
    bench.master.writes.push_back(write_burst(0x1000 + 64 * i, 0));
  }
  bench.run(1000);
  // Data in 0 and 1, responses in 8 and 9: the third address in 9.
  EXPECT_EQ(bench.master.writes[2].address_cycle, 9U);
  for (uint64_t c = 0; c < 9; ++c) {
    EXPECT_EQ(bench.seen[c].awready, c < 2) << c;
  }
}

TEST(write_timing, bandwidth) {
  AxiMemoryConfig config;
  config.write_bandwidth = {2, 3};
  Bench bench(config);
  bench.master.writes = {write_burst(0x1000, 5, 10)};
  bench.run(1000);
  EXPECT_EQ(bench.master.writes[0].data_cycles, (std::vector<uint64_t>{10, 11, 13, 14, 16, 17}));
}

// The contract as formulas over the handshakes that were seen, against every value the memory
// drove, for random traffic.
TEST(timing_contract, holds_for_random_traffic) {
  const uint64_t seed = seed_of_run(11);
  uint64_t beats = 0;
  for (uint64_t round = 0; round < 40; ++round) {
    Random random(seed + round);
    AxiMemoryConfig config;
    config.read_latency = static_cast<uint32_t>(1 + random.below(50));
    config.write_latency = static_cast<uint32_t>(1 + random.below(20));
    config.max_outstanding = static_cast<uint32_t>(1 + random.below(16));
    ScriptMaster::Config master;
    master.ar_idle = random.chance(0.5) ? 0.0 : 0.6;
    master.aw_idle = master.ar_idle;
    master.w_idle = random.chance(0.5) ? 0.0 : 0.3;
    master.r_stall = random.chance(0.5) ? 0.0 : 0.4;
    master.b_stall = master.r_stall;
    master.data_may_lead = random.chance(0.5);
    master.seed = random.next();
    Bench bench(config, master);
    for (uint64_t i = 0; i < 60; ++i) {
      bench.master.reads.push_back(
          read_burst(0x10000 + 4096 * i, static_cast<uint8_t>(random.below(20))));
      bench.master.writes.push_back(
          write_burst(0x80000 + 4096 * i, static_cast<uint8_t>(random.below(20))));
    }
    bench.run(100'000);
    ASSERT_TRUE(bench.master.done());
    ASSERT_TRUE(bench.memory.checker().ok()) << bench.memory.checker().log().report();

    const auto &reads = bench.master.reads;
    std::vector<int> r_expected(bench.seen.size(), 0); // rvalid due
    std::vector<int> last_expected(bench.seen.size(), 0);
    uint64_t free_from = 0;
    for (const Burst &burst : reads) {
      uint64_t from = std::max(burst.address_cycle + config.read_latency, free_from);
      for (uint32_t beat = 0; beat < burst.beats(); ++beat) {
        uint64_t c = from;
        for (;; ++c) {
          ASSERT_LT(c, bench.seen.size());
          r_expected[c] = 1;
          last_expected[c] = beat + 1 == burst.beats() ? 1 : 0;
          if (bench.seen[c].rready) {
            break;
          }
        }
        ASSERT_EQ(c, burst.data_cycles[beat]);
        from = c + 1;
        ++beats;
      }
      free_from = from;
    }
    const auto &writes = bench.master.writes;
    std::vector<int> b_expected(bench.seen.size(), 0);
    free_from = 0;
    for (const Burst &burst : writes) {
      uint64_t c =
          std::max(std::max(burst.address_cycle, burst.data_cycles.back()) + config.write_latency,
                   free_from);
      for (;; ++c) {
        ASSERT_LT(c, bench.seen.size());
        b_expected[c] = 1;
        if (bench.seen[c].bready) {
          break;
        }
      }
      ASSERT_EQ(c, burst.response_cycle);
      free_from = c + 1;
      ++beats;
    }
    uint32_t reads_queued = 0;
    uint32_t writes_queued = 0;
    for (uint64_t c = 0; c < bench.seen.size(); ++c) {
      const Seen &now = bench.seen[c];
      ASSERT_EQ(now.arready, reads_queued < config.max_outstanding) << c;
      ASSERT_EQ(now.awready, writes_queued < config.max_outstanding) << c;
      ASSERT_TRUE(now.wready);
      ASSERT_EQ(now.rvalid, r_expected[c] == 1) << c;
      ASSERT_EQ(now.rvalid && now.rlast, last_expected[c] == 1) << c;
      ASSERT_EQ(now.bvalid, b_expected[c] == 1) << c;
      reads_queued += now.ar ? 1U : 0U;
      reads_queued -= now.r && now.rlast ? 1U : 0U;
      writes_queued += now.aw ? 1U : 0U;
      writes_queued -= now.b ? 1U : 0U;
    }
  }
  EXPECT_GT(beats, 40U * 60U);
}

// --- data ----------------------------------------------------------------------------------------

class RandomTraffic : public testing::TestWithParam<std::tuple<uint32_t, double>> {};

// Reads and writes of any size and alignment that overlap, under random back-pressure, against a
// plain byte array.
TEST_P(RandomTraffic, data_is_right) {
  const uint32_t bus_bytes = std::get<0>(GetParam());
  const double pressure = std::get<1>(GetParam());
  const uint64_t seed = seed_of_run(21);
  Random random(seed);
  AxiMemoryConfig config;
  config.data_bytes = bus_bytes;
  config.base = 0x4000'0000;
  config.size = 3 << 16U;
  config.read_latency = 9;
  config.back_pressure = AxiBackPressure::all(pressure);
  config.seed = random.next();
  ScriptMaster::Config master;
  master.ar_idle = master.aw_idle = master.w_idle = master.r_stall = master.b_stall = pressure;
  master.data_may_lead = pressure > 0;
  master.seed = random.next();
  Bench bench(config, master);

  std::vector<uint8_t> shadow(config.size);
  for (auto &byte : shadow) {
    byte = static_cast<uint8_t>(random.next());
  }
  ASSERT_TRUE(bench.memory.store(config.base, shadow));
  const auto max_size = static_cast<uint64_t>(std::countr_zero(bus_bytes));
  const auto random_burst = [&](bool write) {
    const auto size = static_cast<uint8_t>(random.chance(0.7) ? max_size : random.below(max_size));
    const uint64_t page = random.below(4) == 0 ? random.below(config.size / 4096) : 15;
    uint64_t offset = random.below(4096);
    if (random.chance(0.7)) {
      offset &= ~uint64_t{15};
    }
    const uint64_t bytes = uint64_t{1} << size;
    const uint64_t room = (4096 - (offset & ~(bytes - 1))) / bytes;
    const auto len = static_cast<uint8_t>(random.below(std::min<uint64_t>(room, 24)));
    const uint64_t addr = config.base + page * 4096 + offset;
    Burst burst = write ? write_burst(addr, len, 0, size, bus_bytes, random.next())
                        : read_burst(addr, len, 0, size);
    burst.id = static_cast<uint32_t>(random.below(4));
    for (auto &strb : burst.strb) {
      if (random.chance(0.4)) {
        strb &= random.next();
      }
    }
    return burst;
  };
  constexpr std::size_t kBursts = 600;
  for (std::size_t i = 0; i < kBursts; ++i) {
    bench.master.writes.push_back(random_burst(true));
    bench.master.reads.push_back(random_burst(false));
  }
  bench.run(1'000'000);
  ASSERT_TRUE(bench.master.done());
  bench.memory.checker().finish(bench.cycle);
  EXPECT_TRUE(bench.memory.checker().ok()) << bench.memory.checker().log().report();

  uint64_t compared = 0;
  for (std::size_t i = 0; i < kBursts; ++i) {
    const Burst &write = bench.master.writes[i];
    EXPECT_EQ(write.resp, std::vector<uint8_t>{0});
    for (uint32_t beat = 0; beat < write.beats(); ++beat) {
      const uint64_t at = (axi_beat_address(write.addr, write.len, write.size, 1, beat) &
                           ~uint64_t{bus_bytes - 1}) -
                          config.base;
      for (uint32_t lane = 0; lane < bus_bytes; ++lane) {
        if (((write.strb[beat] >> lane) & 1U) != 0) {
          shadow[at + lane] = write.data[beat].bytes()[lane];
        }
      }
    }
    const Burst &read = bench.master.reads[i];
    ASSERT_EQ(read.data.size(), read.beats());
    for (uint32_t beat = 0; beat < read.beats(); ++beat) {
      const uint64_t lanes = axi_beat_lanes(read.addr, read.len, read.size, 1, beat, bus_bytes);
      const uint64_t at =
          (axi_beat_address(read.addr, read.len, read.size, 1, beat) & ~uint64_t{bus_bytes - 1}) -
          config.base;
      EXPECT_EQ(read.resp[beat], 0);
      for (uint32_t lane = 0; lane < bus_bytes; ++lane) {
        if (((lanes >> lane) & 1U) != 0) {
          ASSERT_EQ(read.data[beat].bytes()[lane], shadow[at + lane]) << "read " << i;
          ++compared;
        }
      }
    }
  }
  EXPECT_GT(compared, 10'000U);
  std::vector<uint8_t> contents(config.size);
  ASSERT_TRUE(bench.memory.load(config.base, contents));
  EXPECT_EQ(contents, shadow);
  EXPECT_EQ(bench.memory.stats().read_bursts, kBursts);
  EXPECT_EQ(bench.memory.stats().write_bursts, kBursts);
  if (pressure > 0) {
    EXPECT_GT(bench.memory.stats().ar_wait_cycles, 0U);
    EXPECT_GT(bench.memory.stats().aw_wait_cycles, 0U);
    EXPECT_GT(bench.memory.stats().w_wait_cycles, 0U);
    EXPECT_GT(bench.memory.stats().r_wait_cycles, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    memory, RandomTraffic,
    testing::Combine(testing::Values(8U, 16U, 64U), testing::Values(0.0, 0.2, 0.7)),
    [](const auto &param_info) {
      return "bus" + std::to_string(8 * std::get<0>(param_info.param)) + "_stall" +
             std::to_string(static_cast<int>(100 * std::get<1>(param_info.param)));
    });

TEST(back_pressure, same_seed_same_cycles) {
  const auto run = [](uint64_t seed) {
    AxiMemoryConfig config;
    config.back_pressure = AxiBackPressure::all(0.5);
    config.seed = seed;
    Bench bench(config);
    for (uint64_t i = 0; i < 20; ++i) {
      bench.master.reads.push_back(read_burst(0x1000 + 64 * i, 7));
    }
    bench.run(10'000);
    EXPECT_TRUE(bench.master.done());
    std::vector<uint64_t> cycles;
    for (const Burst &burst : bench.master.reads) {
      cycles.insert(cycles.end(), burst.data_cycles.begin(), burst.data_cycles.end());
    }
    return cycles;
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

TEST(contents, outside_is_refused_and_untouched_reads_as_fill) {
  AxiMemoryConfig config;
  config.base = 0x1000;
  config.size = 0x20000;
  config.fill = 0x5C;
  AxiMemory memory(config);
  std::vector<uint8_t> bytes(4);
  EXPECT_FALSE(memory.store(0xFFF, bytes));
  EXPECT_FALSE(memory.load(0x20FFD, bytes));
  EXPECT_FALSE(memory.load(~uint64_t{0} - 1, bytes));
  EXPECT_FALSE(memory.fill(0x1000, 0x20001, 0));
  EXPECT_TRUE(memory.load(0x20FFC, bytes));
  EXPECT_EQ(bytes, std::vector<uint8_t>(4, 0x5C));
  EXPECT_TRUE(memory.fill(0x10FFE, 4, 7)); // over a page boundary
  std::vector<uint8_t> around(6);
  EXPECT_TRUE(memory.load(0x10FFD, around));
  EXPECT_EQ(around, (std::vector<uint8_t>{0x5C, 7, 7, 7, 7, 0x5C}));
}

// --- errors --------------------------------------------------------------------------------------

TEST(errors, outside_the_memory_answers_decerr) {
  AxiMemoryConfig config;
  config.base = 0x10000;
  config.size = 0x1000;
  Bench bench(config);
  bench.master.reads = {read_burst(0x8000, 1), read_burst(0x10000, 1), read_burst(0x11000, 0)};
  bench.master.writes = {write_burst(0x20000, 1), write_burst(0x10100, 1)};
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[0].resp, (std::vector<uint8_t>{3, 3}));
  EXPECT_EQ(bench.master.reads[1].resp, (std::vector<uint8_t>{0, 0}));
  EXPECT_EQ(bench.master.reads[2].resp, (std::vector<uint8_t>{3}));
  EXPECT_EQ(bench.master.writes[0].resp, (std::vector<uint8_t>{3}));
  EXPECT_EQ(bench.master.writes[1].resp, (std::vector<uint8_t>{0}));
  EXPECT_EQ(bench.memory.stats().read_errors, 2U);
  EXPECT_EQ(bench.memory.stats().write_errors, 1U);
  EXPECT_TRUE(bench.memory.checker().ok()) << bench.memory.checker().log().report();
}

TEST(errors, ranges_and_numbered_bursts) {
  Bench bench({});
  std::vector<uint8_t> ones(4096, 0x11);
  ASSERT_TRUE(bench.memory.store(0x1000, ones));
  bench.memory.inject_range(AxiDirection::read, 0x1010, 8, AxiResp::slverr);
  bench.memory.inject_burst(AxiDirection::read, 1, AxiResp::decerr);
  bench.memory.inject_burst(AxiDirection::read, 2, AxiResp::slverr, 1);
  bench.memory.inject_burst(AxiDirection::write, 1, AxiResp::slverr);
  bench.master.reads = {read_burst(0x1000, 3), read_burst(0x1100, 1), read_burst(0x1100, 2),
                        read_burst(0x1100, 1)};
  bench.master.writes = {write_burst(0x1800, 0), write_burst(0x1900, 0), write_burst(0x1A00, 0)};
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[0].resp, (std::vector<uint8_t>{0, 0, 2, 0}));
  EXPECT_EQ(bench.master.reads[1].resp, (std::vector<uint8_t>{3, 3}));
  EXPECT_EQ(bench.master.reads[2].resp, (std::vector<uint8_t>{0, 2, 0}));
  EXPECT_EQ(bench.master.reads[3].resp, (std::vector<uint8_t>{0, 0}));
  // A beat with an error carries no data of the memory.
  EXPECT_EQ(bench.master.reads[0].data[1].words[0], 0x1111'1111'1111'1111U);
  EXPECT_NE(bench.master.reads[0].data[2].words[0], 0x1111'1111'1111'1111U);
  EXPECT_EQ(bench.master.writes[0].resp, (std::vector<uint8_t>{0}));
  EXPECT_EQ(bench.master.writes[1].resp, (std::vector<uint8_t>{2}));
  EXPECT_EQ(bench.master.writes[2].resp, (std::vector<uint8_t>{0}));
  std::vector<uint8_t> bytes(8);
  ASSERT_TRUE(bench.memory.load(0x1900, bytes));
  EXPECT_EQ(bytes, std::vector<uint8_t>(8, 0x11)); // not written
  ASSERT_TRUE(bench.memory.load(0x1A00, bytes));
  EXPECT_NE(bytes, std::vector<uint8_t>(8, 0x11)); // written
  EXPECT_EQ(bench.memory.stats().read_errors, 3U);

  bench.memory.clear_faults();
  bench.master.reads.push_back(read_burst(0x1010, 0));
  bench.run(2000);
  EXPECT_EQ(bench.master.reads[4].resp, (std::vector<uint8_t>{0}));
}

TEST(errors, wrap_and_fixed_answer_slverr_and_are_reported) {
  Bench bench({});
  bench.master.reads = {read_burst(0x1000, 3)};
  bench.master.reads[0].type = 2;
  bench.master.writes = {write_burst(0x2000, 0)};
  bench.master.writes[0].type = 0;
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[0].resp, (std::vector<uint8_t>{2, 2, 2, 2}));
  EXPECT_EQ(bench.master.writes[0].resp, (std::vector<uint8_t>{2}));
  EXPECT_EQ(bench.memory.checker().log().count(AxiRule::ar_burst), 1U);
  EXPECT_EQ(bench.memory.checker().log().count(AxiRule::aw_burst), 1U);
}

TEST(hazards, read_of_a_write_without_response) {
  ScriptMaster::Config careless;
  careless.wait_for_hazards = false;
  for (const uint64_t when : {1U, 4U, 11U, 12U, 13U}) {
    Bench bench({}, careless);
    bench.master.writes = {write_burst(0x1000, 3)}; // response in cycle 11
    bench.master.reads = {read_burst(0x1018, 0, when)};
    bench.run(1000);
    ASSERT_EQ(bench.master.writes[0].response_cycle, 11U);
    EXPECT_EQ(bench.memory.checker().log().count(AxiRule::mem_read_hazard), when <= 11 ? 1U : 0U)
        << when;
    Bench beside({}, careless);
    beside.master.writes = {write_burst(0x1000, 3)};
    beside.master.reads = {read_burst(0x1020, 0, when)};
    beside.run(1000);
    EXPECT_TRUE(beside.memory.checker().ok());
  }
}

TEST(hazards, write_to_a_read_that_is_not_complete) {
  ScriptMaster::Config careless;
  careless.wait_for_hazards = false;
  for (const uint64_t when : {1U, 31U, 32U, 33U}) {
    Bench bench({}, careless);
    bench.master.reads = {read_burst(0x1000, 2)}; // beats in 30, 31, 32
    bench.master.writes = {write_burst(0x1010, 0, when)};
    bench.run(1000);
    ASSERT_EQ(bench.master.reads[0].data_cycles.back(), 32U);
    EXPECT_EQ(bench.memory.checker().log().count(AxiRule::mem_write_hazard), when < 32 ? 1U : 0U)
        << when;
  }
}

TEST(reset, drops_what_is_queued) {
  Bench bench({});
  bench.master.reads = {read_burst(0x1000, 7)};
  for (int i = 0; i < 35; ++i, ++bench.cycle) {
    bench.step();
  }
  ASSERT_TRUE(bench.memory.busy());
  bench.memory.eval_outputs(bench.cycle);
  bench.memory.read().arvalid = false;
  bench.memory.sample(bench.cycle, true);
  ++bench.cycle;
  EXPECT_FALSE(bench.memory.busy());
  bench.master = ScriptMaster();
  bench.master.reads = {read_burst(0x1000, 1, bench.cycle)};
  const uint64_t start = bench.cycle;
  bench.run(1000);
  EXPECT_EQ(bench.master.reads[0].data_cycles, cycles_from(start + 30, 2));
  EXPECT_TRUE(bench.memory.checker().ok()) << bench.memory.checker().log().report();
}

TEST(garbage, rdata_without_rvalid_is_not_the_memory) {
  AxiMemory memory;
  ASSERT_TRUE(memory.fill(0, 4096, 0));
  memory.eval_outputs(0);
  ASSERT_FALSE(memory.read().rvalid);
  EXPECT_NE(memory.read().rdata.words[0], 0U);
}

// --- cost ----------------------------------------------------------------------------------------

// Memory and checker together, both directions streaming, have to stay well below what a Verilated
// engine costs for a cycle.
TEST(cost, nanoseconds_per_cycle) {
  AxiMemoryConfig config;
  AxiMemory memory(config);
  double best = 1e9;
  uint64_t cycle = 0;
  uint32_t w_beat = 0;
  AxiReadPorts &read = memory.read();
  AxiWritePorts &write = memory.write();
  read.arlen = write.awlen = 15;
  read.arsize = write.awsize = 3;
  read.rready = write.bready = true;
  write.wstrb = 0xFF;
  for (int round = 0; round < 10; ++round) {
    constexpr uint64_t kCycles = 20'000;
    const auto start = std::chrono::steady_clock::now();
    for (uint64_t i = 0; i < kCycles; ++i, ++cycle) {
      memory.eval_outputs(cycle);
      read.arvalid = cycle % 16 == 0;
      read.araddr = 0x10000 + cycle % 16384 * 8;
      write.awvalid = cycle % 16 == 0;
      write.awaddr = 0x80000 + cycle % 16384 * 8;
      write.wvalid = true;
      write.wdata.words[0] = cycle;
      write.wlast = w_beat == 15;
      w_beat = (w_beat + 1) % 16;
      memory.sample(cycle);
    }
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count() / static_cast<double>(kCycles));
  }
  EXPECT_TRUE(memory.checker().ok()) << memory.checker().log().report();
  EXPECT_GT(memory.stats().read_beats, 190'000U);
  EXPECT_GT(memory.stats().write_beats, 190'000U);
  std::cout << "[ cost     ] " << best << " ns per cycle, memory and checker\n";
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(best, 100.0);
#endif
}

} // namespace
} // namespace kestrel::tb::test
