// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_axil_regs, the AXI4-Lite front end of the register files, at its pins: every handshake in the
// cycle that its header states, whatever the master's pace; values, refusals, byte strobes, resets
// with accesses under way.

#include <array>
#include <cstdint>
#include <deque>
#include <optional>

#include <gtest/gtest.h>

#include "Vaxil_regs_probe.h"
#include "testbench/cpp/axi_types.hpp"
#include "testbench/cpp/axil_checker.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace kestrel::tb {
namespace {

constexpr std::uint8_t kOkay = 0, kSlvErr = 2;

struct Word {
  std::uint32_t data = 0;
  std::uint8_t strobe = 0xF;
};

/// Shares of cycles in which a channel of the master pauses.
struct Pace {
  const char *name;
  double aw, w, b, ar, r;
};

/// A master whose five channels know nothing of each other, and a model of what is at the pins.
class Bench : public ClockedBench<Bench, Vaxil_regs_probe> {
  using Base = ClockedBench<Bench, Vaxil_regs_probe>;
  friend Base;

public:
  Bench(const Pace &pace, std::uint64_t seed)
      : Base(SimulationConfig{.seed = seed}), pace_(pace), random_(seed),
        axil_(KESTREL_TB_AXIL(model(), s_axil)) {
    model().wait_i = 0;
    restart();
  }
  ~Bench() { EXPECT_TRUE(checker.ok()) << checker.log().report(); }

  /// A reset, whatever is under way; what the master still had to do is forgotten.
  void restart() {
    aw.clear();
    w.clear();
    ar.clear();
    ports_ = {};
    aw_held_.reset();
    w_held_.reset();
    b_.reset();
    r_.reset();
    performs_ = false;
    words.fill(0);
    Base::reset();
  }
  void write(std::uint8_t addr, Word word) {
    aw.push_back(addr);
    w.push_back(word);
  }
  [[nodiscard]] bool idle() const {
    return aw.empty() && w.empty() && ar.empty() && !aw_held_ && !w_held_ && !b_ && !r_;
  }
  /// Until everything is answered.
  void drain() {
    for (int i = 0; i < 1000 && !idle(); ++i)
      step();
    ASSERT_TRUE(idle());
  }

  std::deque<std::uint8_t> aw, ar;
  std::deque<Word> w;
  std::array<std::uint32_t, 8> words{};
  std::uint64_t writes = 0, reads = 0, refused = 0, write_waits = 0, both_open = 0;
  std::optional<std::uint32_t> last_read;
  AxilChecker checker;

private:
  struct Answer { // of a read that was taken
    std::uint64_t due;
    std::uint8_t addr;
    std::uint8_t resp = kOkay;
    std::uint32_t data = 0;
  };

  void on_drive(std::uint64_t /*cycle*/) {
    if (simulation.in_reset()) {
      ports_ = {};
    } else {
      // What is offered stays until it is taken.
      if (!ports_.awvalid && !aw.empty() && !random_.chance(pace_.aw)) {
        ports_.awvalid = true;
        ports_.awaddr = aw.front();
      }
      if (!ports_.wvalid && !w.empty() && !random_.chance(pace_.w)) {
        ports_.wvalid = true;
        ports_.wdata = w.front().data;
        ports_.wstrb = w.front().strobe;
      }
      if (!ports_.arvalid && !ar.empty() && !random_.chance(pace_.ar)) {
        ports_.arvalid = true;
        ports_.araddr = ar.front();
        model().wait_i = static_cast<std::uint8_t>(random_.below(2) * random_.below(8));
      }
      ports_.bready = !random_.chance(pace_.b);
      ports_.rready = !random_.chance(pace_.r);
    }
    axil_.drive(ports_);
  }

  void on_sample(std::uint64_t cycle) {
    axil_.sample(ports_);
    checker.sample(cycle, ports_, simulation.in_reset());
    if (simulation.in_reset())
      return;
    // Writes.
    EXPECT_EQ(ports_.awready, !aw_held_.has_value());
    EXPECT_EQ(ports_.wready, !w_held_.has_value());
    EXPECT_EQ(ports_.bvalid, b_.has_value());
    if (b_ && ports_.bvalid) {
      EXPECT_EQ(ports_.bresp, *b_);
    }
    const bool both = aw_held_ && w_held_;
    const bool perform = performs_;
    EXPECT_EQ(model().wr_en_o != 0, perform);
    performs_ = both && !perform && (!b_ || ports_.bready);
    write_waits += both && !perform && !performs_;
    // Reads: the value before a write of this cycle.
    const bool shown = r_ && cycle > r_->due;
    EXPECT_EQ(ports_.arready, !r_.has_value());
    EXPECT_EQ(ports_.rvalid, shown);
    if (shown) {
      EXPECT_EQ(ports_.rresp, r_->resp);
      EXPECT_EQ(ports_.rdata, r_->data);
    }
    both_open += r_ && b_;
    if (shown && ports_.rready) {
      last_read = r_->data;
      ++reads;
      r_.reset();
    } else if (ports_.arvalid && ports_.arready) {
      r_ = {.due = cycle + model().wait_i, .addr = ar.front()};
      ar.pop_front();
      ports_.arvalid = false;
    }
    if (r_ && cycle == r_->due) {
      const bool known = r_->addr < 0x20;
      r_->resp = known ? kOkay : kSlvErr;
      r_->data = known ? words[r_->addr / 4] : 0;
      refused += !known;
    }

    if (b_ && ports_.bready)
      b_.reset();
    if (perform) {
      const bool ok = *aw_held_ / 4 < 7;
      if (ok)
        for (unsigned i = 0; i < 4; ++i)
          if ((w_held_->strobe >> i & 1U) != 0) {
            const std::uint32_t mask = 0xFFU << (8 * i);
            std::uint32_t &word = words[*aw_held_ / 4];
            word = (word & ~mask) | (w_held_->data & mask);
          }
      ++words[7];
      ++writes;
      refused += !ok;
      b_ = ok ? kOkay : kSlvErr;
      aw_held_.reset();
      w_held_.reset();
    }
    // Not ready in a cycle in which a write is performed, so these are never of the same cycle.
    if (ports_.awvalid && ports_.awready) {
      aw_held_ = aw.front();
      aw.pop_front();
      ports_.awvalid = false;
    }
    if (ports_.wvalid && ports_.wready) {
      w_held_ = w.front();
      w.pop_front();
      ports_.wvalid = false;
    }
  }

  Pace pace_;
  Random random_;
  AxilPorts ports_{};
  decltype(KESTREL_TB_AXIL(std::declval<Vaxil_regs_probe &>(), s_axil)) axil_;
  std::optional<std::uint8_t> aw_held_;
  std::optional<Word> w_held_;
  std::optional<std::uint8_t> b_;
  std::optional<Answer> r_;
  bool performs_ = false; // in the next cycle
};

constexpr Pace kPaces[] = {{"full speed", 0, 0, 0, 0, 0},
                           {"address late", 0.8, 0, 0, 0, 0},
                           {"data late", 0, 0.8, 0, 0, 0},
                           {"answers wait", 0, 0, 0.8, 0, 0.8},
                           {"everything", 0.4, 0.4, 0.4, 0.4, 0.4}};

TEST(KsAxilRegs, ByteStrobesAndRefusals) {
  Bench bench(kPaces[0], test::seed_of_run(1));
  const auto read = [&](std::uint8_t addr) {
    bench.ar.push_back(addr);
    bench.drain();
    return bench.last_read.value_or(0xBAD);
  };
  bench.write(0x04, {0x11223344, 0xF});
  bench.drain();
  EXPECT_EQ(read(0x04), 0x11223344U);
  EXPECT_EQ(read(0x07), 0x11223344U) << "bits 1:0 of an address do not count";
  bench.write(0x06, {0xAABBCCDD, 0x5});
  bench.drain();
  EXPECT_EQ(read(0x04), 0x11BB33DDU);
  bench.write(0x04, {0xFFFFFFFF, 0x0});
  bench.drain();
  EXPECT_EQ(read(0x04), 0x11BB33DDU);
  EXPECT_EQ(bench.refused, 0U);
  bench.write(0x1C, {7, 0xF}); // read only
  bench.write(0x40, {7, 0xF});
  bench.drain();
  EXPECT_EQ(bench.refused, 2U);
  EXPECT_EQ(read(0x1C), 5U);
  EXPECT_EQ(read(0x20), 0U);
  EXPECT_EQ(bench.refused, 3U);
  EXPECT_EQ(bench.reads, 6U);
}

TEST(KsAxilRegs, OneWriteInThreeCyclesAtFullSpeed) {
  Bench bench(kPaces[0], test::seed_of_run(2));
  for (std::uint32_t i = 0; i < 100; ++i)
    bench.write(static_cast<std::uint8_t>(4 * (i % 7)), {i, 0xF});
  bench.steps(300);
  EXPECT_EQ(bench.writes, 100U);
}

TEST(KsAxilRegs, RandomAccessesAtEveryPace) {
  for (const Pace &pace : kPaces) {
    SCOPED_TRACE(pace.name);
    const std::uint64_t seed = test::seed_of_run(3);
    Random random(seed);
    Bench bench(pace, seed);
    std::uint64_t expected = 0;
    for (int i = 0; i < 4000; ++i) {
      if (bench.aw.size() < 4) {
        bench.write(static_cast<std::uint8_t>(random.below(0x28)),
                    {static_cast<std::uint32_t>(random.next()),
                     static_cast<std::uint8_t>(random.below(16))});
        ++expected;
      }
      if (bench.ar.size() < 2)
        bench.ar.push_back(static_cast<std::uint8_t>(random.below(0x28)));
      bench.step();
    }
    bench.drain();
    EXPECT_EQ(bench.writes, expected);
    EXPECT_GT(bench.writes, 500U);
    EXPECT_GT(bench.reads, 300U);
    EXPECT_GT(bench.refused, 100U);
    EXPECT_GT(bench.both_open, 100U);
    if (pace.b > 0) {
      EXPECT_GT(bench.write_waits, 100U);
    }
  }
}

TEST(KsAxilRegs, AResetDropsWhatIsUnderWay) {
  const std::uint64_t seed = test::seed_of_run(4);
  Random random(seed);
  std::uint64_t dropped = 0;
  Bench bench(kPaces[4], seed);
  for (int round = 0; round < 300; ++round) {
    for (std::uint8_t i = 0; i < 7; ++i) {
      bench.write(static_cast<std::uint8_t>(4 * i),
                  {static_cast<std::uint32_t>(random.next()), 0xF});
      bench.ar.push_back(static_cast<std::uint8_t>(4 * i));
    }
    bench.steps(1 + random.below(20));
    dropped += !bench.idle();
    bench.restart();
    ASSERT_FALSE(testing::Test::HasFailure());
  }
  EXPECT_GT(dropped, 250U);
  bench.write(0, {1, 0xF});
  bench.drain();
}

} // namespace
} // namespace kestrel::tb
