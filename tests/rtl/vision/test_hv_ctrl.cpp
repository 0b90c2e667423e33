// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// hv_ctrl and hv_perf: random inputs, every output of every cycle against a model of the states.

#include <array>
#include <cstdint>
#include <utility>

#include <gtest/gtest.h>

#include "Vhv_ctrl.h"
#include "Vhv_perf.h"
#include "kestrel/contract/vision.hpp"
#include "testbench/cpp/random.hpp"
#include "testbench/cpp/simulation.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using namespace kestrel::contract;
using kestrel::tb::Random;
using kestrel::tb::Simulation;
using kestrel::tb::SimulationConfig;

struct Inputs {
  bool start = false, soft_reset = false, rd_idle = true, wr_idle = true, done = false;
  bool progress = true, rd_err = false, wr_err = false, front_err = false;
  std::uint32_t range_err = 0, rd_addr = 0, wr_addr = 0, front_info = 0, watchdog = 0;
  ErrorCause front_cause = ErrorCause::kBadField;
  std::uint32_t desc_base = 0, desc_count = 1, pkg = 0, in = 0, out = 0, scratch = 0, softmax = 0;
};

/// The states as the header of hv_ctrl describes them.
struct Model {
  enum class State : std::uint8_t { idle, run, stop, reset };
  struct Error {
    ErrorCause cause = ErrorCause::kNone;
    std::uint32_t info = 0;
  };
  State state = State::idle;
  bool done = false, error = false, soft = false;
  Error first; // shown in ERROR
  // Of the cycle before: a program was accepted; the one before that; its end, its error, its
  // progress.
  bool core_reset = false;
  bool clear = false, start = false, end = false, progress = true, stuck = false;
  Error seen;
  std::uint32_t quiet = 0;

  struct Outputs {
    bool irq_done = false, irq_error = false;
  };

  static std::uint32_t bad_start(const Inputs &in) {
    if (in.desc_count == 0 || in.desc_count > 65535) {
      return reg::kDescCount;
    }
    const std::array<std::pair<std::uint32_t, std::uint32_t>, 5> bases = {
        {{in.desc_base, reg::kDescBase},
         {in.pkg, reg::kPkgBase},
         {in.in, reg::kInBase},
         {in.out, reg::kOutBase},
         {in.scratch, reg::kScratchBase}}};
    for (const auto &[value, offset] : bases) {
      if (value % 128 != 0) {
        return offset;
      }
    }
    return in.softmax != 0 ? reg::kSoftmaxShift : 0;
  }

  Outputs step(const Inputs &in) {
    Outputs out;
    const State now = state;
    const Error ripe = seen;
    const bool was_end = end, was_stuck = stuck;
    start = clear;
    clear = false;
    seen = now == State::run ? error_of(in, was_stuck) : Error{};
    end = now == State::run && in.done;
    stuck = now == State::run && !progress && in.watchdog != 0 && quiet + 1 >= in.watchdog;
    quiet = now == State::run && !progress ? quiet + 1 : 0;
    progress = in.progress || now != State::run;
    switch (now) {
    case State::idle:
      if (in.soft_reset) {
        done = error = false;
        first = {};
        state = State::stop;
        soft = true;
      } else if (in.start) {
        const std::uint32_t bad = bad_start(in);
        done = false;
        error = out.irq_error = bad != 0;
        first = {bad != 0 ? ErrorCause::kBadStart : ErrorCause::kNone, bad};
        clear = bad == 0;
        state = bad == 0 ? State::run : State::idle;
      }
      break;
    case State::run:
      if (ripe.cause != ErrorCause::kNone) {
        state = State::stop;
        first = ripe;
      } else if (in.soft_reset) {
        state = State::stop;
        soft = true;
      } else if (was_end) {
        state = State::idle;
        done = out.irq_done = true;
      }
      break;
    case State::stop:
      if (in.rd_idle && in.wr_idle) {
        state = State::reset;
      }
      break;
    case State::reset:
      state = State::idle;
      error = out.irq_error = !soft;
      soft = false;
      break;
    }
    core_reset = clear || state == State::reset;
    return out;
  }

private:
  static Error error_of(const Inputs &in, bool stuck) {
    if (in.rd_err) {
      return {ErrorCause::kReadResp, in.rd_addr >> 8U};
    }
    if (in.wr_err) {
      return {ErrorCause::kWriteResp, in.wr_addr >> 8U};
    }
    if (in.front_err) {
      return {in.front_cause, in.front_info};
    }
    if (in.range_err != 0) {
      return {ErrorCause::kActRange, (in.range_err & 1U) != 0   ? 0U
                                     : (in.range_err & 2U) != 0 ? 1U
                                                                : 2U};
    }
    return {stuck ? ErrorCause::kWatchdog : ErrorCause::kNone, 0};
  }
};

class Bench {
public:
  explicit Bench(std::uint64_t seed) : sim_(SimulationConfig{.seed = seed}) {
    sim_.reset([&](std::uint64_t) { put(Inputs{}); }, [](std::uint64_t) {});
  }
  Model model;
  std::uint64_t starts = 0, dones = 0, errors = 0, resets = 0;

  void step(const Inputs &in) {
    sim_.step([&](std::uint64_t) { put(in); },
              [&](std::uint64_t) {
                auto &m = sim_.model();
                const Model before = model;
                const Model::Outputs out = model.step(in);
                using State = Model::State;
                ASSERT_EQ(m.busy_o, before.state != State::idle);
                ASSERT_EQ(m.stop_o, before.state == State::stop || before.state == State::reset);
                ASSERT_EQ(m.core_rst_no, !before.core_reset);
                ASSERT_EQ(m.clear_o, before.clear);
                ASSERT_EQ(m.start_o, before.start);
                ASSERT_EQ(m.done_o, before.done);
                ASSERT_EQ(m.error_o, before.error);
                ASSERT_EQ(m.resetting_o, before.soft);
                ASSERT_EQ(m.error_cause_o, static_cast<std::uint8_t>(before.first.cause));
                ASSERT_EQ(m.error_info_o, before.first.info);
                ASSERT_EQ(m.irq_done_o, out.irq_done);
                ASSERT_EQ(m.irq_error_o, out.irq_error);
                starts += m.start_o;
                dones += m.irq_done_o;
                errors += m.irq_error_o;
                resets += m.core_rst_no == 0 && m.clear_o == 0;
              });
  }

private:
  void put(const Inputs &in) {
    auto &m = sim_.model();
    m.start_i = in.start;
    m.soft_reset_i = in.soft_reset;
    m.desc_base_i = in.desc_base;
    m.desc_count_i = in.desc_count;
    m.pkg_base_i = in.pkg;
    m.in_base_i = in.in;
    m.out_base_i = in.out;
    m.scratch_base_i = in.scratch;
    m.softmax_shift_i = in.softmax;
    m.watchdog_i = in.watchdog;
    m.rd_idle_i = in.rd_idle;
    m.wr_idle_i = in.wr_idle;
    m.done_i = in.done;
    m.progress_i = in.progress;
    m.rd_err_i = in.rd_err;
    m.rd_err_addr_i = in.rd_addr;
    m.wr_err_i = in.wr_err;
    m.wr_err_addr_i = in.wr_addr;
    m.front_err_i = in.front_err;
    m.front_err_cause_i = static_cast<std::uint8_t>(in.front_cause);
    m.front_err_info_i = static_cast<std::uint16_t>(in.front_info);
    m.range_err_i = static_cast<std::uint8_t>(in.range_err);
  }
  Simulation<Vhv_ctrl> sim_;
};

TEST(HvCtrl, RandomInputs) {
  Random rng(kestrel::tb::test::seed_of_run(1));
  Bench bench(1);
  std::array<int, 8> causes{};
  Inputs in;
  bool was_idle = false;
  for (int i = 0; i < 60'000 && !HasFatalFailure(); ++i) {
    const bool busy = bench.model.state != Model::State::idle;
    // The registers of the program are there the cycle before the start.
    in.start = !busy && was_idle && rng.chance(0.2);
    in.soft_reset = rng.chance(0.01);
    in.rd_idle = rng.chance(0.4);
    // The bus stays quiet once Reset is reached, as the real one does.
    in.rd_idle = in.rd_idle || bench.model.state == Model::State::reset;
    in.wr_idle = rng.chance(0.4);
    in.done = rng.chance(0.02);
    in.progress = rng.chance(0.6);
    in.rd_err = rng.chance(0.004);
    in.wr_err = rng.chance(0.004);
    in.front_err = rng.chance(0.004);
    in.range_err = rng.chance(0.004) ? static_cast<std::uint32_t>(1 + rng.below(7)) : 0;
    in.rd_addr = static_cast<std::uint32_t>(rng.next());
    in.wr_addr = static_cast<std::uint32_t>(rng.next());
    in.front_info = static_cast<std::uint32_t>(rng.below(65536));
    in.front_cause = rng.chance(0.5) ? ErrorCause::kBadField : ErrorCause::kBadOpcode;
    if (!busy && !in.start) {
      in.watchdog = static_cast<std::uint32_t>(rng.chance(0.5) ? 0 : 3 + rng.below(6));
      const auto base = [&] {
        return static_cast<std::uint32_t>(rng.chance(0.05) ? rng.next() : rng.next() << 7U);
      };
      in.desc_base = base();
      in.pkg = base();
      in.in = base();
      in.out = base();
      in.scratch = base();
      in.softmax = rng.chance(0.05) ? 1U << rng.below(32) : 0;
      in.desc_count = static_cast<std::uint32_t>(rng.chance(0.05)   ? 0
                                                 : rng.chance(0.05) ? 65536 + rng.below(1U << 31U)
                                                                    : 1 + rng.below(65535));
    }
    bench.step(in);
    was_idle = !busy;
    if (bench.model.error && in.start) {
      continue;
    }
    ++causes[static_cast<std::size_t>(bench.model.first.cause)];
  }
  EXPECT_GT(bench.starts, 1000U);
  EXPECT_GT(bench.dones, 300U);
  EXPECT_GT(bench.errors, 300U);
  EXPECT_GT(bench.resets, 300U);
  for (const int count : causes) { // every cause was met
    EXPECT_GT(count, 20);
  }
}

/// The watchdog fires after exactly that many cycles without progress, and any progress rewinds it.
TEST(HvCtrl, WatchdogCycles) {
  kestrel::tb::test::seed_of_run(2);
  for (const std::uint32_t limit : {1U, 2U, 7U, 100U}) {
    Bench bench(limit);
    Inputs in;
    in.watchdog = limit;
    in.start = true;
    bench.step(in);
    in.start = false;
    bench.step(in); // progress
    in.progress = false;
    for (std::uint32_t i = 0; i + 1 < limit; ++i) {
      bench.step(in);
    }
    EXPECT_EQ(bench.model.state, Model::State::run);
    if (limit > 1) {
      in.progress = true;
      bench.step(in);
      in.progress = false;
      for (std::uint32_t i = 0; i + 1 < limit; ++i) {
        bench.step(in);
      }
      EXPECT_EQ(bench.model.state, Model::State::run);
    }
    bench.step(in); // the last cycle of the limit; the error is seen two later, Stop two after that
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(bench.model.state, Model::State::run);
      bench.step(in);
    }
    EXPECT_EQ(bench.model.state, Model::State::stop);
    bench.step(in);
    bench.step(in);
    EXPECT_TRUE(bench.model.error);
    EXPECT_EQ(bench.model.first.cause, ErrorCause::kWatchdog);
    bench.step(in); // the design shows it
  }
}

TEST(HvPerf, CountsWhatItIsGiven) {
  Random rng(kestrel::tb::test::seed_of_run(3));
  Simulation<Vhv_perf> sim(SimulationConfig{.seed = 3});
  std::array<std::uint32_t, 14> want{};
  std::uint32_t inc = 0, was_inc = 0;
  bool clear = false, busy = false, was_busy = false;
  std::uint64_t checked = 0;
  const auto drive = [&](std::uint64_t) {
    clear = rng.chance(0.01);
    busy = rng.chance(0.8);
    inc = static_cast<std::uint32_t>(rng.below(1U << 13U));
    sim.model().clear_i = clear;
    sim.model().busy_i = busy;
    sim.model().inc_i = static_cast<std::uint16_t>(inc);
  };
  const auto sample = [&](std::uint64_t) {
    if (sim.in_reset()) {
      return;
    }
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_EQ(sim.model().cnt_o[i], want[i]) << "counter " << i;
      checked += want[i];
      // The cycle before this one.
      if (clear) {
        want[i] = 0;
      } else if (was_busy && (i == 0 || (was_inc >> (i - 1) & 1U) != 0)) {
        ++want[i];
      }
    }
    was_busy = busy;
    was_inc = inc;
  };
  sim.reset(drive, sample);
  for (int i = 0; i < 5000; ++i) {
    sim.step(drive, sample);
  }
  EXPECT_GT(checked, 1000U);
}

} // namespace
