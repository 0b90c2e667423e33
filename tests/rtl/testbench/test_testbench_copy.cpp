// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The whole testbench library on one small Verilated design (tb_axi_copy), 64 and 128 bits wide.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "Vtb_axi_copy_128.h"
#include "Vtb_axi_copy_64.h"

#include "testbench/cpp/engine_bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace kestrel::tb::test {
namespace {

enum : std::uint32_t {
  kCtrl = 0x00,
  kStatus = 0x04,
  kSrc = 0x08,
  kDst = 0x0C,
  kBytes = 0x10,
  kCycles = 0x14,
  kBusy = 1,
  kDone = 2,
  kError = 4
};

constexpr std::uint64_t kBase = 0x1000'0000;
constexpr std::uint64_t kSize = 1U << 20U;

// The design with a memory, a register master and checkers.
template <class Model> class CopyBench : public EngineBench<Model> {
  using Base = EngineBench<Model>;

public:
  static constexpr std::uint32_t kBus = sizeof(Model::m_axi_rdata);
  using Base::memory;
  using Base::registers;
  using typename Base::Config;

  static Config deterministic() {
    Config config;
    config.memory.base = kBase;
    config.memory.size = kSize;
    return config;
  }
  static Config random(std::uint64_t seed, double pressure) {
    Config config = deterministic();
    Random random(seed);
    config.memory.back_pressure = AxiBackPressure::all(pressure);
    config.memory.read_latency = static_cast<std::uint32_t>(1 + random.below(40));
    config.memory.write_latency = static_cast<std::uint32_t>(1 + random.below(20));
    config.memory.seed = random.next();
    config.driver.write_order = AxilWriteOrder::random;
    config.driver.response_stall = pressure;
    config.driver.seed = random.next();
    config.simulation.seed = random.next();
    return config;
  }

  explicit CopyBench(const Config &config) : Base(config) {}

  void start(std::uint64_t src, std::uint64_t dst, std::uint32_t bytes) {
    ASSERT_TRUE(registers.write32(kSrc, static_cast<std::uint32_t>(src)).ok());
    ASSERT_TRUE(registers.write32(kDst, static_cast<std::uint32_t>(dst)).ok());
    ASSERT_TRUE(registers.write32(kBytes, bytes).ok());
    ASSERT_TRUE(registers.write32(kCtrl, 1).ok());
  }
  auto run_to_irq(std::uint64_t max_cycles = 200'000) { return Base::run_to_irq(max_cycles); }

  // All checks of the end of a test.
  void finish() {
    memory.checker().finish(this->cycle());
    registers.checker().finish(this->cycle());
    EXPECT_EQ(this->violations(), "");
    EXPECT_FALSE(this->simulation.failed());
  }
};

std::vector<std::uint8_t> random_bytes(std::uint64_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::uint8_t> bytes(count);
  for (auto &byte : bytes) {
    byte = static_cast<std::uint8_t>(random.next());
  }
  return bytes;
}

// A test on both widths.
// NOLINTBEGIN(bugprone-macro-parentheses): `name` is declared
#define KESTREL_COPY_TEST(name)                                                                    \
  template <class Model> void name();                                                              \
  TEST(bus64, name) { name<Vtb_axi_copy_64>(); }                                                   \
  TEST(bus128, name) { name<Vtb_axi_copy_128>(); }                                                 \
  template <class Model> void name()
// NOLINTEND(bugprone-macro-parentheses)

// Random lengths and addresses, memory compared as a whole: nothing beside the target is written.
KESTREL_COPY_TEST(random_copies_under_back_pressure) {
  using Bench = CopyBench<Model>;
  const std::uint64_t seed = seed_of_run(51);
  for (const double pressure : {0.0, 0.15, 0.6}) {
    Bench bench(Bench::random(seed, pressure));
    std::vector<std::uint8_t> shadow = random_bytes(kSize, seed);
    ASSERT_TRUE(bench.memory.store(kBase, shadow));
    Random random(seed + 1);
    std::uint64_t beats = 0;
    for (int copy = 0; copy < 12; ++copy) {
      const std::uint64_t count = (1 + random.below(400)) * Bench::kBus;
      const std::uint64_t src = random.below(kSize / 2 - count) / Bench::kBus * Bench::kBus;
      const std::uint64_t dst =
          kSize / 2 + random.below(kSize / 2 - count) / Bench::kBus * Bench::kBus;
      bench.start(kBase + src, kBase + dst, static_cast<std::uint32_t>(count));
      ASSERT_EQ(bench.run_to_irq(), Simulation<Model>::Status::done);
      const AxilResult status = bench.registers.read32(kStatus);
      ASSERT_TRUE(status.ok());
      ASSERT_EQ(status.value, std::uint32_t{kDone});
      ASSERT_TRUE(bench.registers.write32(kStatus, 0).ok());
      EXPECT_FALSE(bench.irq());
      std::copy_n(shadow.begin() + static_cast<std::ptrdiff_t>(src), count,
                  shadow.begin() + static_cast<std::ptrdiff_t>(dst));
      beats += count / Bench::kBus;
    }
    std::vector<std::uint8_t> contents(kSize);
    ASSERT_TRUE(bench.memory.load(kBase, contents));
    EXPECT_TRUE(contents == shadow);
    const AxiMemoryStats &stats = bench.memory.stats();
    EXPECT_EQ(stats.read_beats, beats);
    EXPECT_EQ(stats.write_beats, beats);
    EXPECT_GE(stats.read_bursts, beats / 16);
    EXPECT_GE(stats.write_bursts, beats / 16);
    EXPECT_EQ(bench.memory.checker().read_beats(), beats);
    EXPECT_EQ(bench.memory.checker().write_beats(), beats);
    EXPECT_EQ(bench.registers.checker().writes(), 12U * 5);
    EXPECT_EQ(bench.registers.checker().reads(), 12U);
    EXPECT_EQ(stats.ar_wait_cycles > 0, pressure > 0);
    bench.finish();
  }
}

// Without back-pressure the cycle count does not depend on seeds, and follows from the contract.
KESTREL_COPY_TEST(cycles_are_deterministic) {
  using Bench = CopyBench<Model>;
  std::vector<std::uint32_t> cycles;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    auto config = Bench::deterministic();
    config.simulation.seed = seed;
    Bench bench(config);
    ASSERT_TRUE(bench.memory.store(kBase, random_bytes(4096, seed)));
    bench.start(kBase, kBase + 0x8000, 16 * Bench::kBus);
    ASSERT_EQ(bench.run_to_irq(), Simulation<Model>::Status::done);
    cycles.push_back(bench.registers.read32(kCycles).value);
    bench.finish();
  }
  // Busy cycle 0 issues the read, 1 is its AR handshake, beats 31..46; the write is issued in 47
  // when all are in the FIFO; data 48..63; response in 63 + 8 = 71; finished is seen in 72.
  EXPECT_EQ(cycles, (std::vector<std::uint32_t>(4, 73)));
}

KESTREL_COPY_TEST(bandwidth_limits_the_copy) {
  using Bench = CopyBench<Model>;
  const auto copy_cycles = [](const Bandwidth &bandwidth) {
    auto config = Bench::deterministic();
    config.memory.read_bandwidth = bandwidth;
    config.memory.read_latency = 10;
    Bench bench(config);
    bench.start(kBase, kBase + 0x8000, 1024 * Bench::kBus);
    EXPECT_EQ(bench.run_to_irq(), Simulation<Model>::Status::done);
    bench.finish();
    return bench.registers.read32(kCycles).value;
  };
  const std::uint32_t full = copy_cycles({1, 1});
  const std::uint32_t quarter = copy_cycles({1, 4});
  EXPECT_GE(full, 1024U);
  EXPECT_LT(full, 1500U);
  EXPECT_GE(quarter, 4U * 1024);
  EXPECT_LT(quarter, 4U * 1024 + 200);
}

KESTREL_COPY_TEST(bus_errors_reach_the_design_and_reset_recovers) {
  using Bench = CopyBench<Model>;
  for (const AxiDirection direction : {AxiDirection::read, AxiDirection::write}) {
    Bench bench(Bench::deterministic());
    bench.memory.inject_burst(direction, 2, AxiResp::slverr);
    bench.start(kBase, kBase + 0x8000, 64 * Bench::kBus);
    ASSERT_EQ(bench.run_to_irq(), Simulation<Model>::Status::done);
    const AxilResult status = bench.registers.poll32(kStatus, kBusy, 0, 1000);
    ASSERT_TRUE(status.ok());
    EXPECT_EQ(status.value, std::uint32_t{kDone | kError});
    EXPECT_EQ(bench.memory.stats().read_errors + bench.memory.stats().write_errors, 1U);

    // Reset in the middle of a copy, then a clean one.
    bench.start(kBase, kBase + 0x8000, 64 * Bench::kBus);
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(bench.step());
    }
    ASSERT_TRUE(bench.memory.busy());
    bench.memory.clear_faults();
    bench.reset();
    EXPECT_FALSE(bench.memory.busy());
    EXPECT_FALSE(bench.irq());
    const auto bytes = random_bytes(64 * Bench::kBus, 3);
    ASSERT_TRUE(bench.memory.store(kBase, bytes));
    bench.start(kBase, kBase + 0x8000, 64 * Bench::kBus);
    ASSERT_EQ(bench.run_to_irq(), Simulation<Model>::Status::done);
    EXPECT_EQ(bench.registers.read32(kStatus).value, std::uint32_t{kDone});
    std::vector<std::uint8_t> copied(bytes.size());
    ASSERT_TRUE(bench.memory.load(kBase + 0x8000, copied));
    EXPECT_EQ(copied, bytes);
    bench.finish();
  }
}

KESTREL_COPY_TEST(registers) {
  using Bench = CopyBench<Model>;
  Bench bench(Bench::random(seed_of_run(61), 0.3));
  ASSERT_TRUE(bench.registers.write32(kSrc, 0x1122'3344).ok());
  ASSERT_TRUE(bench.registers.write32(kSrc, 0xAABB'CCDD, 0x5).ok());
  EXPECT_EQ(bench.registers.read32(kSrc).value, 0x11BB'33DDU);
  EXPECT_EQ(bench.registers.read32(0x40).resp, AxiResp::slverr);
  EXPECT_EQ(bench.registers.write32(0x40, 1).status, AxilResult::Status::error);
  EXPECT_EQ(bench.registers.poll32(kStatus, kDone, kDone, 100).status, AxilResult::Status::timeout);
  bench.finish();
}

// --- the simulation harness ----------------------------------------------------------------------

using Harness = Simulation<Vtb_axi_copy_64>;
constexpr auto kNothing = [](std::uint64_t) {};

TEST(simulation, stops_at_its_cycle_limit) {
  SimulationConfig config;
  config.max_cycles = 100;
  Harness simulation(config);
  std::uint64_t sampled = 0;
  std::uint64_t in_reset = 0;
  const auto count = [&](std::uint64_t cycle) {
    EXPECT_EQ(cycle, sampled);
    ++sampled;
    in_reset += simulation.in_reset() ? 1U : 0U;
    EXPECT_EQ(simulation.model().rst_ni == 0, simulation.in_reset());
  };
  EXPECT_TRUE(simulation.reset(kNothing, count));
  EXPECT_EQ(simulation.cycle(), 8U);
  const auto never = [] { return false; };
  EXPECT_EQ(simulation.run_until(kNothing, count, never, 50), Harness::Status::cycles);
  EXPECT_EQ(simulation.cycle(), 58U);
  EXPECT_EQ(simulation.run_until(kNothing, count, never, 1000), Harness::Status::cycles);
  EXPECT_EQ(simulation.cycle(), 100U);
  EXPECT_FALSE(simulation.step(kNothing, count));
  EXPECT_EQ(sampled, 100U);
  EXPECT_EQ(in_reset, 8U);
}

TEST(simulation, rtl_finish_and_assertion_are_told_apart) {
  SimulationConfig config;
  config.fatal_assertions = false;
  const auto never = [] { return false; };
  Harness finished(config);
  EXPECT_EQ(finished.run_until(
                kNothing, [&](std::uint64_t) { finished.context().gotFinish(true); }, never, 10),
            Harness::Status::finished);
  EXPECT_EQ(finished.cycle(), 1U);
  EXPECT_FALSE(finished.failed());

  Harness failed(config);
  const auto assertion = [&](std::uint64_t) { // what $error does
    failed.context().gotError(true);
    failed.context().gotFinish(true);
  };
  EXPECT_EQ(failed.run_until(kNothing, assertion, never, 10), Harness::Status::assertion);
  EXPECT_TRUE(failed.failed());
}

// Verilator reports to the thread's current context: it has to be that of the model that runs.
TEST(simulation, an_assertion_is_of_the_model_that_runs) {
  SimulationConfig config;
  config.fatal_assertions = false;
  auto first = std::make_unique<Harness>(config);
  auto second = std::make_unique<Harness>(config);
  const auto assertion = [](std::uint64_t) { // what $error does, without naming a model
    Verilated::threadContextp()->gotError(true);
    Verilated::threadContextp()->gotFinish(true);
  };
  EXPECT_TRUE(first->step(assertion, kNothing));
  EXPECT_TRUE(first->failed());
  EXPECT_FALSE(second->failed());
  first.reset();
  EXPECT_TRUE(second->step(kNothing, kNothing));
  std::thread([&] { EXPECT_TRUE(second->step(assertion, kNothing)); }).join();
  EXPECT_TRUE(second->failed());
  second.reset();
  EXPECT_EQ(Verilated::threadContextp(), Verilated::defaultContextp());
}

// Registers without reset start at random, differently for each seed and equally for the same one.
TEST(simulation, initial_values_follow_the_seed) {
  const auto initial = [](std::uint64_t seed) {
    SimulationConfig config;
    config.seed = seed;
    Harness simulation(config);
    EXPECT_TRUE(simulation.reset(kNothing, kNothing));
    return std::tuple(std::uint32_t{simulation.model().m_axi_araddr},
                      std::uint32_t{simulation.model().m_axi_awaddr},
                      std::uint64_t{simulation.model().m_axi_wdata});
  };
  EXPECT_EQ(initial(7), initial(7));
  EXPECT_NE(initial(7), initial(8));
  EXPECT_NE(initial(8), initial(9));
}

TEST(simulation, trace) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() /
      ("kestrel_tb_trace_" + std::to_string(std::random_device{}()) + ".fst");
  {
    Harness simulation;
    EXPECT_EQ(simulation.start_trace(path.string()), Harness::kTraceAvailable);
    EXPECT_FALSE(simulation.start_trace("/nonexistent_folder/x.fst"));
    EXPECT_EQ(simulation.start_trace(path.string()), Harness::kTraceAvailable);
    EXPECT_TRUE(simulation.reset(kNothing, kNothing));
    for (int i = 0; i < 20; ++i) {
      simulation.step(kNothing, kNothing);
    }
  }
  EXPECT_EQ(std::filesystem::exists(path), Harness::kTraceAvailable);
  if (Harness::kTraceAvailable) {
    EXPECT_GT(std::filesystem::file_size(path), 500U);
    std::filesystem::remove(path);
  }
}

} // namespace
} // namespace kestrel::tb::test
