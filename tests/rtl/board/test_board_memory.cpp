// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The SDRAM controller of the ULX3S board, as LiteX generates it, and the model of the chip:
// traffic in the engine's place that changes rows all the time, at three clocks and with each chip.
// The chip's rules are kept, every word is read as it was written. No clock but the simulation's: a
// seed is a run.
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

#include <gtest/gtest.h>

#include "Vtb_ulx3s_memory_100.h"
#include "Vtb_ulx3s_memory_50.h"
#include "Vtb_ulx3s_memory_80.h"
#include "testbench/cpp/simulation.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace kestrel::board {
namespace {

template <class Model> class BoardMemory : public ::testing::Test {};
using Models = ::testing::Types<Vtb_ulx3s_memory_50, Vtb_ulx3s_memory_80, Vtb_ulx3s_memory_100>;
struct Names {
  template <class Model> static std::string GetName(int index) {
    constexpr std::array<const char *, 3> kNames = {"50MHz_AS4C16M16", "80MHz_MT48LC16M16",
                                                    "100MHz_AS4C32M16"};
    return kNames.at(static_cast<std::size_t>(index));
  }
};
TYPED_TEST_SUITE(BoardMemory, Models, Names);

TYPED_TEST(BoardMemory, KeepsTheChipsRulesAndTheData) {
  constexpr std::uint64_t kCycles = 600'000;
  tb::SimulationConfig config;
  config.seed = tb::test::seed_of_run(1);
  config.fatal_assertions = false;
  tb::Simulation<TypeParam> simulation(config);
  auto &model = simulation.model();
  model.serial_rx_i = 1;
  std::uint64_t beats_read = 0, beats_written = 0;
  const auto idle = [](std::uint64_t) {};
  const auto count = [&](std::uint64_t) {
    beats_read += model.bus_r_o;
    beats_written += model.bus_w_o;
  };
  simulation.reset(idle, idle);
  while (simulation.cycle() < kCycles && !simulation.failed())
    simulation.step(idle, count);
  std::printf(
      "seed %llu: %llu cycles, %llu beats read, %llu written; the chip: %u reads, %u writes, "
      "%u refreshes\n",
      static_cast<unsigned long long>(config.seed),
      static_cast<unsigned long long>(simulation.cycle()),
      static_cast<unsigned long long>(beats_read), static_cast<unsigned long long>(beats_written),
      model.sdram_reads_o, model.sdram_writes_o, model.sdram_refreshes_o);
  EXPECT_FALSE(simulation.failed());
  EXPECT_EQ(model.violations_o, 0U);
  EXPECT_GT(beats_read, 10'000U);
  EXPECT_GT(beats_written, 10'000U);
  EXPECT_GE(model.sdram_reads_o, 4 * beats_read);
  EXPECT_GT(model.sdram_refreshes_o, 500U);
}

} // namespace
} // namespace kestrel::board
