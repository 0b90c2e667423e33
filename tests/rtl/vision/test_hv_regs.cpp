// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// hv_regs through its AXI4-Lite port: every register of the contract, refusals, commands,
// interrupt.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "Vhv_regs.h"
#include "kestrel/contract/vision.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using namespace kestrel::contract;
using kestrel::tb::AxilResult;
using kestrel::tb::AxilWriteOrder;
using kestrel::tb::AxiResp;
using kestrel::tb::Random;

struct ExpWrite {
  std::uint32_t index = 0, value = 0;
  friend bool operator==(const ExpWrite &, const ExpWrite &) = default;
};

class Bench : public kestrel::tb::RegisterBench<Bench, Vhv_regs> {
  using Base = kestrel::tb::RegisterBench<Bench, Vhv_regs>;
  friend kestrel::tb::ClockedBench<Bench, Vhv_regs>;

public:
  explicit Bench(std::uint64_t seed, double stall = 0,
                 AxilWriteOrder order = AxilWriteOrder::together)
      : Base({.driver = {.write_order = order, .response_stall = stall, .seed = seed},
              .simulation = {.seed = seed}}) {
    auto &m = model();
    m.busy_i = m.done_i = m.error_i = m.resetting_i = 0;
    m.error_cause_i = 0;
    m.error_info_i = 0;
    m.conf_class_i = m.conf_prob_i = 0;
    m.irq_done_i = m.irq_error_i = 0;
    for (std::size_t i = 0; i < 14; ++i) {
      m.cnt_i[i] = 0;
    }
    reset();
  }
  ~Bench() {
    registers.checker().finish(cycle());
    EXPECT_EQ(violations(), "");
  }
  auto parts() { return std::tie(registers); }

  void write(std::uint32_t offset, std::uint32_t value, bool good, std::uint8_t strobe = 0xF) {
    const AxilResult result = registers.write32(offset, value, strobe);
    EXPECT_EQ(result.status, good ? AxilResult::Status::okay : AxilResult::Status::error)
        << std::hex << offset;
    EXPECT_EQ(result.resp, good ? AxiResp::okay : AxiResp::slverr);
  }
  std::uint32_t read(std::uint32_t offset, bool good = true) {
    const AxilResult result = registers.read32(offset);
    EXPECT_EQ(result.status, good ? AxilResult::Status::okay : AxilResult::Status::error)
        << std::hex << offset;
    return result.value;
  }

  std::uint64_t starts = 0, soft_resets = 0;
  std::vector<ExpWrite> exp_writes;
  /// The cycle in which irq_done_i is given, and whether start_o makes the model busy.
  std::uint64_t irq_cycle = ~std::uint64_t{0};
  bool busy_after_start = false;

private:
  void on_drive(std::uint64_t cycle) {
    auto &m = model();
    m.irq_done_i = cycle == irq_cycle;
    if (make_busy_) {
      m.busy_i = 1;
    }
  }
  void on_sample(std::uint64_t /*cycle*/) {
    auto &m = model();
    if (simulation.in_reset()) {
      return;
    }
    starts += m.start_o;
    soft_resets += m.soft_reset_o;
    make_busy_ = busy_after_start && m.start_o;
    if (m.exp_we_o) {
      exp_writes.push_back({m.exp_waddr_o, m.exp_wdata_o});
    }
  }

  bool make_busy_ = false;
};

std::uint32_t reset_value(const Register &r) {
  const Config &config = *find_config("edge");
  switch (r.offset) {
  case reg::kVersion:
    return kVersion;
  case reg::kConfig:
    return config.config_register();
  case reg::kActRows:
    return config.act_rows;
  case reg::kRingWords:
    return config.ring_words;
  default:
    return r.reset;
  }
}

/// Bits of a rw register that exist.
std::uint32_t bits_of(std::uint32_t offset) {
  switch (offset) {
  case reg::kIrqEnable:
    return 0x3;
  case reg::kConfCtrl:
    return 0x3FFFF;
  default:
    return 0xFFFFFFFF;
  }
}

TEST(HvRegs, ResetValues) {
  Bench bench(kestrel::tb::test::seed_of_run(1));
  for (const Register &r : kRegisters) {
    EXPECT_EQ(bench.read(r.offset), reset_value(r)) << r.name;
  }
}

TEST(HvRegs, OtherOffsetsAreRefused) {
  Bench bench(kestrel::tb::test::seed_of_run(2));
  std::map<std::uint32_t, const Register *> known;
  for (const Register &r : kRegisters) {
    known[r.offset] = &r;
  }
  int refused = 0;
  for (std::uint32_t offset = 0; offset < 0x400; offset += 4) {
    if (!known.contains(offset)) {
      EXPECT_EQ(bench.read(offset, false), 0U);
      bench.write(offset, 0xFFFFFFFF, false);
      ++refused;
    }
  }
  for (const std::uint32_t offset : {0xFFCU, 0x1400U, 0x8000U, 0xFFFCU}) {
    bench.read(offset, false);
    bench.write(offset, 1, false);
  }
  EXPECT_GT(refused, 200);
  EXPECT_EQ(bench.starts + bench.soft_resets + bench.exp_writes.size(), 0U);
}

TEST(HvRegs, ReadOnlyRegistersRefuseWrites) {
  Bench bench(kestrel::tb::test::seed_of_run(3));
  for (const Register &r : kRegisters) {
    if (r.access == Access::kReadOnly) {
      bench.write(r.offset, ~reset_value(r), false);
      EXPECT_EQ(bench.read(r.offset), reset_value(r)) << r.name;
    }
  }
}

void run_random(std::uint64_t seed, double stall, AxilWriteOrder order) {
  Random rng(seed);
  Bench bench(seed, stall, order);
  std::map<std::uint32_t, std::uint32_t> want;
  std::vector<std::uint32_t> offsets;
  for (const Register &r : kRegisters) {
    if (r.access == Access::kReadWrite) {
      want[r.offset] = r.reset;
      offsets.push_back(r.offset);
    }
  }
  for (int i = 0; i < 500; ++i) {
    const std::uint32_t offset = offsets[rng.below(offsets.size())];
    if (rng.chance(0.5)) {
      const auto value = static_cast<std::uint32_t>(rng.next());
      const auto strobe = static_cast<std::uint8_t>(rng.below(16));
      bench.write(offset, value, true, strobe);
      for (unsigned b = 0; b < 4; ++b) {
        if ((strobe >> b & 1U) != 0) {
          const std::uint32_t mask = 0xFFU << (8 * b);
          want[offset] = (want[offset] & ~mask) | (value & mask & bits_of(offset));
        }
      }
    } else {
      ASSERT_EQ(bench.read(offset), want[offset]) << std::hex << offset;
    }
  }
  // The ports show the registers.
  auto &m = bench.model();
  EXPECT_EQ(m.desc_base_o, want[reg::kDescBase]);
  EXPECT_EQ(m.desc_count_o, want[reg::kDescCount]);
  EXPECT_EQ(m.pkg_base_o, want[reg::kPkgBase]);
  EXPECT_EQ(m.in_base_o, want[reg::kInBase]);
  EXPECT_EQ(m.out_base_o, want[reg::kOutBase]);
  EXPECT_EQ(m.scratch_base_o, want[reg::kScratchBase]);
  EXPECT_EQ(m.watchdog_o, want[reg::kWatchdog]);
  EXPECT_EQ(m.softmax_shift_o, want[reg::kSoftmaxShift]);
  EXPECT_EQ(m.conf_threshold_o, reg::kConfCtrlThreshold.get(want[reg::kConfCtrl]));
  EXPECT_EQ(m.conf_use_margin_o, reg::kConfCtrlUseMargin.get(want[reg::kConfCtrl]));
  EXPECT_EQ(bench.starts + bench.soft_resets + bench.exp_writes.size(), 0U);
}

TEST(HvRegs, RandomWrites) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(4);
  run_random(seed, 0, AxilWriteOrder::together);
  run_random(seed + 1, 0.5, AxilWriteOrder::address_first);
  run_random(seed + 2, 0.5, AxilWriteOrder::data_first);
  run_random(seed + 3, 0.8, AxilWriteOrder::random);
}

TEST(HvRegs, Commands) {
  Bench bench(kestrel::tb::test::seed_of_run(5));
  bench.write(reg::kCtrl, 0, true);
  EXPECT_EQ(bench.starts + bench.soft_resets, 0U);
  bench.write(reg::kCtrl, reg::kCtrlStart.put(1), true);
  EXPECT_EQ(bench.starts, 1U);
  EXPECT_EQ(bench.read(reg::kCtrl), 0U);
  bench.write(reg::kCtrl, reg::kCtrlSoftReset.put(1), true);
  EXPECT_EQ(bench.soft_resets, 1U);
  bench.write(reg::kCtrl, 3, false);     // both
  bench.write(reg::kCtrl, 3, true, 0xE); // the byte is not written
  EXPECT_EQ(bench.starts, 1U);
  EXPECT_EQ(bench.soft_resets, 1U);
  bench.model().busy_i = 1;
  bench.write(reg::kCtrl, reg::kCtrlStart.put(1), false);
  EXPECT_EQ(bench.starts, 1U);
  bench.write(reg::kCtrl, reg::kCtrlSoftReset.put(1), true);
  EXPECT_EQ(bench.soft_resets, 2U);
}

/// busy_i rises in the cycle after start_o: a second doorbell right behind the first is refused.
TEST(HvRegs, TwoStartsInARow) {
  Bench bench(kestrel::tb::test::seed_of_run(6));
  bench.busy_after_start = true;
  bench.write(reg::kCtrl, 1, true);
  bench.write(reg::kCtrl, 1, false);
  EXPECT_EQ(bench.starts, 1U);
}

TEST(HvRegs, ProgramRegistersAreLockedWhileBusy) {
  Bench bench(kestrel::tb::test::seed_of_run(7));
  bench.model().busy_i = 1;
  EXPECT_EQ(bench.read(reg::kStatus), reg::kStatusBusy.put(1));
  int locked = 0;
  for (const Register &r : kRegisters) {
    if (r.access != Access::kReadWrite) {
      continue;
    }
    const bool open = r.offset == reg::kIrqEnable || r.offset == reg::kWatchdog;
    bench.write(r.offset, 0x3, open);
    EXPECT_EQ(bench.read(r.offset), open ? 0x3U : r.reset) << r.name;
    locked += open ? 0 : 1;
  }
  EXPECT_GT(locked, 5);
  bench.write(kExpTableOffset, 1, false);
  EXPECT_TRUE(bench.exp_writes.empty());
}

TEST(HvRegs, ExpTable) {
  Random rng(kestrel::tb::test::seed_of_run(8));
  Bench bench(9, 0.3, AxilWriteOrder::random);
  std::vector<ExpWrite> want;
  for (std::uint32_t i = 0; i < kExpTableEntries; ++i) {
    const auto value = static_cast<std::uint32_t>(rng.next());
    bench.write(static_cast<std::uint32_t>(kExpTableOffset) + 4 * i, value, true);
    want.push_back({i, value});
  }
  for (std::uint8_t strobe = 0; strobe < 15; ++strobe) {
    bench.write(kExpTableOffset, 5, false, strobe);
  }
  EXPECT_EQ(bench.read(kExpTableOffset + 40), 0U);
  EXPECT_EQ(bench.exp_writes, want);
}

TEST(HvRegs, ShowsStateAndCounters) {
  Bench bench(kestrel::tb::test::seed_of_run(9));
  auto &m = bench.model();
  m.done_i = 1;
  EXPECT_EQ(bench.read(reg::kStatus), reg::kStatusDone.put(1));
  m.done_i = 0;
  m.error_i = 1;
  m.error_cause_i = static_cast<std::uint8_t>(ErrorCause::kActRange);
  m.error_info_i = 0xABCDEF;
  EXPECT_EQ(bench.read(reg::kStatus), reg::kStatusError.put(1));
  EXPECT_EQ(bench.read(reg::kError), 0xABCDEF05U);
  m.error_i = 0;
  m.resetting_i = 1;
  EXPECT_EQ(bench.read(reg::kStatus), reg::kStatusResetting.put(1));
  m.conf_class_i = 0x12345678;
  m.conf_prob_i = 0x9ABCDEF0;
  EXPECT_EQ(bench.read(reg::kConfClass), 0x12345678U);
  EXPECT_EQ(bench.read(reg::kConfProb), 0x9ABCDEF0U);
  for (std::uint32_t i = 0; i < 14; ++i) {
    m.cnt_i[i] = 0x01010101U * (i + 1);
  }
  const std::array<std::uint32_t, 14> counters = {
      reg::kCntCycles,  reg::kCntMac,      reg::kCntRes,     reg::kCntStWeight, reg::kCntStDrain,
      reg::kCntStFetch, reg::kCntStLoad,   reg::kCntStDep,   reg::kCntStDesc,   reg::kCntStOut,
      reg::kCntRdBeats, reg::kCntRdWBeats, reg::kCntWrBeats, reg::kCntDesc};
  for (std::uint32_t i = 0; i < counters.size(); ++i) {
    EXPECT_EQ(bench.read(counters[i]), 0x01010101U * (i + 1));
  }
}

TEST(HvRegs, Interrupt) {
  Bench bench(kestrel::tb::test::seed_of_run(10));
  auto &m = bench.model();
  bench.irq_cycle = bench.cycle();
  bench.step();
  bench.step();
  EXPECT_EQ(m.irq_o, 0); // not enabled
  EXPECT_EQ(bench.read(reg::kIrqStatus), 1U);
  bench.write(reg::kIrqEnable, 2, true);
  EXPECT_EQ(m.irq_o, 0);
  bench.write(reg::kIrqEnable, 3, true);
  EXPECT_EQ(m.irq_o, 1);
  bench.write(reg::kIrqStatus, 2, true); // the other bit
  EXPECT_EQ(m.irq_o, 1);
  bench.write(reg::kIrqStatus, 1, true, 0xE); // byte 0 not written
  EXPECT_EQ(m.irq_o, 1);
  bench.write(reg::kIrqStatus, 1, true);
  EXPECT_EQ(m.irq_o, 0);
  m.irq_error_i = 1;
  bench.step();
  m.irq_error_i = 0;
  bench.step();
  EXPECT_EQ(m.irq_o, 1);
  EXPECT_EQ(bench.read(reg::kIrqStatus), 2U);
  bench.write(reg::kIrqStatus, 3, true);
  EXPECT_EQ(bench.read(reg::kIrqStatus), 0U);
}

/// An event in any cycle of a clear is either shown after it or came before it, and the one that
/// comes in the very cycle of the clear stays.
TEST(HvRegs, InterruptIsNotLostToAClear) {
  kestrel::tb::test::seed_of_run(11);
  bool cleared = false, kept = false, order = true;
  for (std::uint64_t offset = 0; offset < 8; ++offset) {
    Bench bench(offset);
    bench.irq_cycle = bench.cycle() + offset;
    bench.write(reg::kIrqStatus, 1, true);
    for (int i = 0; i < 10; ++i) {
      bench.step();
    }
    const bool pending = bench.read(reg::kIrqStatus) == 1;
    cleared = cleared || !pending;
    kept = kept || pending;
    order = order && (pending || !kept); // once kept, later events are kept as well
  }
  EXPECT_TRUE(cleared);
  EXPECT_TRUE(kept);
  EXPECT_TRUE(order);
}

} // namespace
