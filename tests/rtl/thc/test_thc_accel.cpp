// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_accel by its registers: reset values, what is refused, bus errors, watchdog, soft reset in
// the middle of a command, back-to-back commands, throughput. Results of commands are tested
// through the device interface (host.thc_device).

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "Vthc_accel.h"
#include "kestrel/contract/thc.hpp"
#include "testbench/cpp/thc_bench.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace kestrel::tb {
namespace {

namespace c = contract::thc;
using test::seed_of_run;
using Bench = ThcBench<Vthc_accel>;
using Status = AxilResult::Status;

constexpr std::uint32_t kSource = 0x10'0000;
constexpr std::uint32_t kTarget = 0x900'0000;
constexpr std::array<std::uint8_t, 16> kTable = {0,  3,  5,  7,  9,  11, 13, 14,
                                                 16, 17, 19, 21, 23, 25, 27, 30};

class ThcAccel : public testing::Test {
protected:
  ThcAccel() { make(0.0); }
  void make(double stall) {
    Bench::Config config;
    config.memory.back_pressure = AxiBackPressure::all(stall);
    config.memory.seed = seed_of_run(5);
    config.simulation.seed = seed_of_run(5);
    bench = std::make_unique<Bench>(config);
  }
  void TearDown() override { EXPECT_EQ(bench->violations(), ""); }

  void write(std::uint32_t offset, std::uint32_t value) {
    ASSERT_TRUE(bench->registers.write32(offset, value).ok()) << std::hex << offset;
  }
  void refused(std::uint32_t offset, std::uint32_t value, std::uint8_t strobe = 0xF) {
    const auto result = bench->registers.write32(offset, value, strobe);
    EXPECT_EQ(result.status, Status::error) << std::hex << offset;
    EXPECT_EQ(result.resp, AxiResp::slverr) << std::hex << offset;
  }
  std::uint32_t read(std::uint32_t offset) {
    const auto result = bench->registers.read32(offset);
    EXPECT_TRUE(result.ok()) << std::hex << offset;
    return result.value;
  }
  // A command that every check passes.
  void prepare(c::Op op, std::uint32_t blocks = 4, std::uint32_t options = 0) {
    write(c::reg::kOp, c::reg::kOpOp.put(static_cast<std::uint32_t>(op)) | options);
    write(c::reg::kBlockLog2, 10);
    write(c::reg::kBlocks, blocks);
    write(c::reg::kWorkers, 2);
    write(c::reg::kStride, blocks * 512);
    write(c::reg::kSrcBase, kSource);
    write(c::reg::kSrc2Base, kSource);
    write(c::reg::kDstBase, kTarget);
    write(c::reg::kDst2Base, kTarget);
    write(c::reg::kGranularity, 30U | 16U << 8U);
    write(c::reg::kFirstLo, 0);
    write(c::reg::kFirstHi, 0);
    write(c::reg::kIrqEnable, 3);
    for (std::size_t i = 0; i < kTable.size(); ++i)
      write(c::window::kTable.word(i), kTable[i]);
  }
  void start() { write(c::reg::kCtrl, 1); }
  // Runs to the interrupt, clears it, and gives STATUS.
  std::uint32_t finish(std::uint64_t limit = 200'000) {
    EXPECT_EQ(bench->run_to_irq(limit), decltype(bench->simulation)::Status::done);
    for (int i = 0; i < 2000 && (read(c::reg::kStatus) & 1U) != 0; ++i) {
    }
    const std::uint32_t status = read(c::reg::kStatus);
    write(c::reg::kIrqStatus, 3);
    EXPECT_FALSE(bench->irq());
    return status;
  }
  // Indices of `workers` at kSource, and what their sums are.
  std::vector<std::uint8_t> aggregate_data(std::uint32_t blocks, std::uint64_t seed) {
    Random random(seed);
    std::vector<std::uint8_t> bytes(2 * blocks * 512);
    for (auto &byte : bytes)
      byte = static_cast<std::uint8_t>(random.next());
    EXPECT_TRUE(bench->memory_a.store(kSource, bytes));
    std::vector<std::uint8_t> sums(blocks * 1024);
    for (std::size_t i = 0; i < sums.size(); ++i)
      for (std::size_t w = 0; w < 2; ++w) {
        const std::uint8_t byte = bytes[w * blocks * 512 + i / 2];
        sums[i] = static_cast<std::uint8_t>(sums[i] + kTable[i % 2 == 0 ? byte >> 4 : byte & 15]);
      }
    return sums;
  }
  void expect_sums(const std::vector<std::uint8_t> &sums) {
    std::vector<std::uint8_t> got(sums.size());
    ASSERT_TRUE(bench->memory_a.load(kTarget, got));
    EXPECT_TRUE(got == sums);
  }

  std::unique_ptr<Bench> bench;
};

TEST_F(ThcAccel, ResetValuesAndReadBack) {
  for (const c::Register &reg : c::kRegisters)
    EXPECT_EQ(read(reg.offset), reg.reset) << reg.name;
  for (const c::Register &reg : c::kRegisters) {
    if (reg.access == c::Access::kReadOnly)
      refused(reg.offset, 0xFFFFFFFFU);
  }
  // Bits that a register does not have read 0; bytes without strobe stay.
  write(c::reg::kOp, 0xFFFFFFFFU);
  EXPECT_EQ(read(c::reg::kOp), 0x1F7U);
  write(c::reg::kBlocks, 0xFFFFFFFFU);
  EXPECT_EQ(read(c::reg::kBlocks), 0x7FFU);
  write(c::reg::kSignKey0, 0x12345678);
  ASSERT_TRUE(bench->registers.write32(c::reg::kSignKey0, 0xAABBCCDD, 0b0101).ok());
  EXPECT_EQ(read(c::reg::kSignKey0), 0x12BB56DDU);
}

TEST_F(ThcAccel, WindowsHoldWhatIsWritten) {
  for (const c::Window &window :
       {c::window::kTable, c::window::kCount, c::window::kNorm, c::window::kScale}) {
    for (std::size_t i = 0; i < window.words; i += 7)
      write(window.word(i), static_cast<std::uint32_t>(i * 0x9E3779B1U));
    write(window.word(window.words - 1), 0xFFFFFFFFU);
    for (std::size_t i = 0; i + 1 < window.words; i += 7) {
      auto expected = static_cast<std::uint32_t>(i * 0x9E3779B1U);
      if (window.name == "TABLE")
        expected &= 0xFF;
      if (window.name == "SCALE")
        expected &= i % 2 == 0 ? 0x01FFFFFFU : 0x01F1FFFFU;
      EXPECT_EQ(read(window.word(i)), expected) << window.name << " " << i;
    }
    refused(window.word(0), 1, 0b0111);
  }
}

TEST_F(ThcAccel, NoRegisterNoWindow) {
  for (const std::uint32_t offset :
       {0x0CU, 0x28U, 0x70U, 0x8CU, 0xACU, 0x140U, 0x800U, 0x4000U, 0xFFFCU}) {
    refused(offset, 0);
    EXPECT_EQ(bench->registers.read32(offset).status, Status::error) << std::hex << offset;
  }
}

TEST_F(ThcAccel, WrongRegistersAreNamed) {
  struct Case {
    c::Op op;
    std::uint32_t offset, value, options;
  };
  const Case cases[] = {
      {c::Op::kNorm, c::reg::kOp, 0, 0},
      {c::Op::kNorm, c::reg::kOp, 5, 0},
      {c::Op::kNorm, c::reg::kBlockLog2, 9, 0},
      {c::Op::kNorm, c::reg::kBlocks, 0, 0},
      {c::Op::kNorm, c::reg::kBlocks, 1025, 0},
      {c::Op::kAggregate, c::reg::kWorkers, 0, 0},
      {c::Op::kAggregate, c::reg::kWorkers, 9, 0},
      {c::Op::kAggregate, c::reg::kStride, 100, 0},
      {c::Op::kNorm, c::reg::kSrcBase, 32, 0},
      {c::Op::kNorm, c::reg::kSrc2Base, 1, 1U << 5U},
      {c::Op::kDecompress, c::reg::kDstBase, 2, 0},
      {c::Op::kCompress, c::reg::kDst2Base, 63, 1U << 6U},
      {c::Op::kCompress, c::reg::kGranularity, 16U << 8U, 0},
      {c::Op::kAggregate, c::reg::kGranularity, 30U | 6U << 8U, 0},
      {c::Op::kCompress, c::reg::kFirstLo, 1000, 0},
  };
  for (const Case &bad : cases) {
    prepare(bad.op, 4, bad.options);
    write(bad.offset, bad.value);
    start();
    const std::uint32_t status = finish();
    EXPECT_EQ(c::reg::kStatusError.get(status), 1U) << std::hex << bad.offset;
    EXPECT_EQ(c::reg::kStatusDone.get(status), 0U);
    const std::uint32_t error = read(c::reg::kError);
    EXPECT_EQ(c::reg::kErrorCause.get(error), static_cast<std::uint32_t>(c::ErrorCause::kBadStart));
    EXPECT_EQ(c::reg::kErrorInfo.get(error), bad.offset);
  }
  EXPECT_EQ(bench->memory_a.stats().read_bursts + bench->memory_a.stats().write_bursts +
                bench->memory_b.stats().read_bursts + bench->memory_b.stats().write_bursts,
            0U);
  // 2^20 coordinates are the most, whatever the blocks.
  prepare(c::Op::kNorm);
  write(c::reg::kBlockLog2, 15);
  write(c::reg::kBlocks, 33);
  start();
  finish();
  EXPECT_EQ(c::reg::kErrorInfo.get(read(c::reg::kError)), c::reg::kBlocks);
}

TEST_F(ThcAccel, MisuseWhileBusy) {
  const auto sums = aggregate_data(64, 3);
  prepare(c::Op::kAggregate, 64);
  refused(c::reg::kCtrl, 3); // start and soft reset together
  start();
  refused(c::reg::kCtrl, 1);
  refused(c::reg::kOp, 1);
  refused(c::reg::kFirstHi, 1);
  refused(c::window::kTable.word(3), 9);
  refused(c::window::kCount.word(0), 9);
  EXPECT_EQ(bench->registers.read32(c::window::kCount.word(0)).status, Status::error);
  EXPECT_EQ(read(c::reg::kStatus) & 1U, 1U);
  EXPECT_EQ(read(c::reg::kBlocks), 64U);
  const std::uint32_t status = finish();
  EXPECT_EQ(status, c::reg::kStatusDone.put(1));
  expect_sums(sums);
  EXPECT_EQ(read(c::reg::kContributors), 2U);
  EXPECT_EQ(read(c::window::kCount.word(15)), 0x02020202U);
}

TEST_F(ThcAccel, BusErrorsAreReported) {
  for (const AxiDirection direction : {AxiDirection::read, AxiDirection::write}) {
    const auto sums = aggregate_data(16, 9);
    prepare(c::Op::kAggregate, 16);
    const bool reading = direction == AxiDirection::read;
    const std::uint32_t place = reading ? kSource + 512 * 20 : kTarget + 1024 * 3;
    bench->memory_a.inject_range(direction, place, 64, AxiResp::slverr);
    start();
    std::uint32_t status = finish();
    EXPECT_EQ(c::reg::kStatusError.get(status), 1U);
    const std::uint32_t error = read(c::reg::kError);
    EXPECT_EQ(
        c::reg::kErrorCause.get(error),
        static_cast<std::uint32_t>(reading ? c::ErrorCause::kReadResp : c::ErrorCause::kWriteResp));
    EXPECT_LE(c::reg::kErrorInfo.get(error) << 8U, place);
    EXPECT_GT((c::reg::kErrorInfo.get(error) << 8U) + 1024, place);
    EXPECT_FALSE(bench->memory_a.busy());
    // The next command is not disturbed.
    bench->memory_a.clear_faults();
    start();
    EXPECT_EQ(finish(), c::reg::kStatusDone.put(1));
    expect_sums(sums);
  }
  // Channel b.
  prepare(c::Op::kNorm, 4, 1U << 5U);
  bench->memory_b.inject_burst(AxiDirection::read, 0, AxiResp::decerr);
  start();
  EXPECT_EQ(c::reg::kStatusError.get(finish()), 1U);
  bench->memory_b.clear_faults();
}

TEST_F(ThcAccel, WatchdogGivesUp) {
  prepare(c::Op::kAggregate, 16);
  write(c::reg::kWatchdog, 20); // less than the latency of a read
  start();
  const std::uint32_t status = finish();
  EXPECT_EQ(c::reg::kStatusError.get(status), 1U);
  EXPECT_EQ(c::reg::kErrorCause.get(read(c::reg::kError)),
            static_cast<std::uint32_t>(c::ErrorCause::kWatchdog));
  write(c::reg::kWatchdog, 0);
  const auto sums = aggregate_data(16, 1);
  start();
  EXPECT_EQ(finish(), c::reg::kStatusDone.put(1));
  expect_sums(sums);
}

TEST_F(ThcAccel, SoftResetInTheMiddle) {
  make(0.2);
  Random random(seed_of_run(11));
  const c::Op ops[] = {c::Op::kNorm, c::Op::kCompress, c::Op::kAggregate, c::Op::kDecompress};
  std::size_t stopped = 0;
  for (int i = 0; i < 60; ++i) {
    prepare(ops[i % 4], 16, (random.chance(0.5) ? 1U << 5U : 0U) | 1U << 6U);
    for (std::size_t b = 0; b < 16; ++b) { // scales of a norm of 1
      write(c::window::kScale.word(2 * b), 7131U << 8U | 127U);
      write(c::window::kScale.word(2 * b + 1), 20U << 20U | 75281U);
      write(c::window::kCount.word(b), 0x02020202U);
    }
    start();
    for (std::uint64_t n = random.below(600); n != 0; --n)
      bench->step();
    stopped += read(c::reg::kStatus) & 1U;
    write(c::reg::kCtrl, 2);
    int polls = 0;
    while ((read(c::reg::kStatus) & 1U) != 0 && polls < 5000)
      ++polls;
    ASSERT_LT(polls, 5000);
    EXPECT_FALSE(bench->memory_a.busy());
    EXPECT_FALSE(bench->memory_b.busy());
    write(c::reg::kIrqStatus, 3);
    // Registers stay, and a command after it is right.
    EXPECT_EQ(read(c::reg::kBlocks), 16U);
    const auto sums = aggregate_data(8, random.next());
    prepare(c::Op::kAggregate, 8);
    start();
    EXPECT_EQ(finish(), c::reg::kStatusDone.put(1));
    expect_sums(sums);
  }
  EXPECT_GT(stopped, 20U);
}

// Coordinates per cycle of whole commands; the memory gives a beat a cycle on each channel.
TEST_F(ThcAccel, Throughput) {
  struct Case {
    c::Op op;
    std::uint32_t options;
    const char *name;
    double inputs; // coordinates that go in, per coordinate of the command
    double at_least;
  };
  for (const Case &t : {Case{c::Op::kNorm, 1U << 5U, "norm", 1, 15.0},
                        Case{c::Op::kCompress, 3U << 5U, "compress", 1, 14.0},
                        Case{c::Op::kAggregate, 0, "aggregate, 2 workers", 2, 75.0},
                        Case{c::Op::kDecompress, 0, "decompress", 1, 14.0}}) {
    prepare(t.op, 64, t.options);
    write(c::reg::kBlockLog2, 12);
    write(c::reg::kStride, 64 * 2048);
    ASSERT_TRUE(bench->memory_a.fill(kSource, 64 * 16384, 0));
    ASSERT_TRUE(bench->memory_b.fill(kSource, 64 * 16384, 0));
    for (std::size_t b = 0; b < 64; ++b) {
      write(c::window::kScale.word(2 * b), 7131U << 8U | 127U);
      write(c::window::kScale.word(2 * b + 1), 20U << 20U | 75281U);
      write(c::window::kCount.word(b), 0x02020202U);
    }
    start();
    const std::uint32_t status = finish();
    EXPECT_EQ(c::reg::kStatusDone.get(status), 1U) << t.name;
    const std::uint32_t cycles = read(c::reg::kCntCycles);
    const double rate = t.inputs * 64 * 4096 / cycles;
    std::cout << "[ cycles   ] " << t.name << ": " << 64 * 4096 << " coordinates, " << cycles
              << " cycles, " << rate << " coordinates a cycle in; stalls in "
              << read(c::reg::kCntStallIn) << ", out " << read(c::reg::kCntStallOut) << "\n";
    EXPECT_GT(rate, t.at_least) << t.name;
    EXPECT_GT(read(c::reg::kCntInBeats), 0U);
    EXPECT_GT(read(c::reg::kCntRdBeats), 0U);
  }
}

} // namespace
} // namespace kestrel::tb
