// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The stream blocks of rtl/common: register slice, width converters, frame keeper. Each with source
// and sink at full speed (rate asserted), with an idle source, with a stalled sink, and with both.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "Vks_axis_down_12_4.h"
#include "Vks_axis_down_4_1.h"
#include "Vks_axis_down_4_4.h"
#include "Vks_axis_down_64_8.h"
#include "Vks_axis_frame.h"
#include "Vks_axis_up_1_4.h"
#include "Vks_axis_up_4_12.h"
#include "Vks_axis_up_4_4.h"
#include "Vks_axis_up_8_64.h"
#include "Vks_skid.h"
#include "testbench/cpp/axis_checker.hpp"
#include "testbench/cpp/axis_driver.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using kestrel::tb::AxisChecker;
using kestrel::tb::AxisCheckerConfig;
using kestrel::tb::AxisSink;
using kestrel::tb::AxisSource;
using kestrel::tb::Random;
using kestrel::tb::Simulation;
using kestrel::tb::SimulationConfig;

struct Pace {
  const char *name;
  double idle, stall;
};
constexpr Pace kPaces[] = {
    {"full speed", 0, 0}, {"idle source", 0.5, 0}, {"stalled sink", 0, 0.5}, {"both", 0.4, 0.4}};

struct Span { // cycles of the handshakes on one side
  std::uint64_t first = 0, last = 0, beats = 0;
  void take(std::uint64_t cycle) {
    first = beats == 0 ? cycle : first;
    last = cycle;
    ++beats;
  }
  [[nodiscard]] std::uint64_t cycles() const { return beats == 0 ? 0 : last - first + 1; }
};

// A converter between a source of `in_bytes` and a sink of `out_bytes`.
template <class Model> class Converter : public kestrel::tb::ClockedBench<Converter<Model>, Model> {
  using Base = kestrel::tb::ClockedBench<Converter<Model>, Model>;
  friend Base;

public:
  Converter(std::uint32_t in_bytes, std::uint32_t out_bytes, const Pace &pace, std::uint64_t seed)
      : Base({.seed = seed}), source_(in_bytes, pace.idle, seed),
        sink_(out_bytes, pace.stall, seed + 1),
        checker_(AxisCheckerConfig{.data_bytes = out_bytes}),
        in_(KESTREL_TB_AXIS(this->model(), s_axis)), out_(KESTREL_TB_AXIS(this->model(), m_axis)) {
    in_.data_bytes = in_bytes;
    out_.data_bytes = out_bytes;
    this->reset();
  }
  void push(const std::vector<std::uint8_t> &packet) { source_.push_packet(packet); }
  // Until `packets` packets have come or nothing is left to wait for.
  void run(std::size_t packets, std::uint64_t cycles) {
    for (std::uint64_t i = 0; i < cycles && sink_.packets().size() < packets; ++i)
      this->step();
    this->steps(20);
    checker_.finish(this->cycle());
  }

  bool hold_sink = false;
  AxisSource source_;
  AxisSink sink_;
  AxisChecker checker_;
  Span taken, sent;

private:
  void on_drive(std::uint64_t /*cycle*/) {
    if (!this->simulation.in_reset())
      source_.eval_outputs();
    sink_.eval_outputs();
    if (hold_sink)
      sink_.ports().tready = false;
    in_.drive_source(source_.ports());
    if (this->simulation.in_reset())
      this->model().s_axis_tvalid = 0;
    out_.drive_ready(sink_.ports());
  }
  void on_sample(std::uint64_t cycle) {
    in_.sample_ready(source_.ports());
    out_.sample_source(sink_.ports());
    checker_.sample(cycle, sink_.ports(), this->simulation.in_reset());
    if (this->simulation.in_reset())
      return;
    if (source_.ports().tvalid && source_.ports().tready)
      taken.take(cycle);
    if (sink_.ports().tvalid && sink_.ports().tready)
      sent.take(cycle);
    source_.sample();
    sink_.sample();
  }

  decltype(KESTREL_TB_AXIS(std::declval<Model &>(), s_axis)) in_;
  decltype(KESTREL_TB_AXIS(std::declval<Model &>(), m_axis)) out_;
};

std::vector<std::vector<std::uint8_t>> random_packets(Random &rng, std::size_t count,
                                                      std::uint32_t bytes) {
  std::vector<std::vector<std::uint8_t>> packets(count);
  for (auto &packet : packets) {
    // Short ones around the widths, and longer ones.
    packet.resize(1 + rng.below(rng.below(2) != 0 ? 2 * bytes + 2 : 12 * bytes));
    for (auto &byte : packet)
      byte = static_cast<std::uint8_t>(rng.next());
  }
  return packets;
}

template <class Model>
void convert(std::uint32_t in_bytes, std::uint32_t out_bytes, std::uint64_t default_seed) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(default_seed);
  for (const Pace &pace : kPaces) {
    SCOPED_TRACE(pace.name);
    Random rng(seed);
    Converter<Model> bench(in_bytes, out_bytes, pace, seed);
    const auto packets = random_packets(rng, 300, std::max(in_bytes, out_bytes));
    std::uint64_t narrow = 0;
    for (const auto &packet : packets) {
      bench.push(packet);
      const std::uint32_t bytes = std::min(in_bytes, out_bytes);
      narrow += (packet.size() + bytes - 1) / bytes;
    }
    bench.run(packets.size(), 400'000);
    EXPECT_TRUE(bench.checker_.ok()) << bench.checker_.log().report();
    EXPECT_EQ(bench.sink_.packets(), packets);
    EXPECT_TRUE(bench.sink_.open_packet().empty());
    const Span &side = in_bytes <= out_bytes ? bench.taken : bench.sent;
    EXPECT_EQ(side.beats, narrow);
    if (pace.idle == 0 && pace.stall == 0) {
      // 1.00 narrow beats per cycle, whatever the lengths of packets.
      EXPECT_EQ(side.cycles(), narrow);
    }
  }
  // TVALID does not wait for TREADY; a reset drops what is inside, and nothing else comes of it.
  Random rng(seed);
  Converter<Model> bench(in_bytes, out_bytes, kPaces[0], seed);
  bench.hold_sink = true;
  const auto packets = random_packets(rng, 40, std::max(in_bytes, out_bytes));
  for (const auto &packet : packets)
    bench.push(packet);
  for (int i = 0; i < 64; ++i)
    bench.step();
  EXPECT_TRUE(bench.sink_.ports().tvalid);
  EXPECT_EQ(bench.sent.beats, 0U);
  EXPECT_GT(bench.taken.beats, 0U);
  bench.source_ = AxisSource(in_bytes, 0.3, seed);
  bench.reset();
  bench.hold_sink = false;
  for (const auto &packet : packets)
    bench.push(packet);
  bench.run(packets.size(), 100'000);
  EXPECT_TRUE(bench.checker_.ok()) << bench.checker_.log().report();
  EXPECT_EQ(bench.sink_.packets(), packets);
}

TEST(KsAxisUp, From1To4) { convert<Vks_axis_up_1_4>(1, 4, 21); }
TEST(KsAxisUp, From4To12) { convert<Vks_axis_up_4_12>(4, 12, 22); }
TEST(KsAxisUp, From8To64) { convert<Vks_axis_up_8_64>(8, 64, 23); }
TEST(KsAxisUp, From4To4) { convert<Vks_axis_up_4_4>(4, 4, 24); }
TEST(KsAxisDown, From4To1) { convert<Vks_axis_down_4_1>(4, 1, 25); }
TEST(KsAxisDown, From12To4) { convert<Vks_axis_down_12_4>(12, 4, 26); }
TEST(KsAxisDown, From64To8) { convert<Vks_axis_down_64_8>(64, 8, 27); }
TEST(KsAxisDown, From4To4) { convert<Vks_axis_down_4_4>(4, 4, 28); }

// What the converter shows beyond TKEEP is zero.
TEST(KsAxisUp, BytesBeyondTheEndAreZero) {
  Simulation<Vks_axis_up_4_12> sim(SimulationConfig{.seed = 5});
  auto &m = sim.model();
  int beats = 0;
  const auto drive = [&](std::uint64_t cycle) {
    m.s_axis_tvalid = sim.in_reset() ? 0 : 1;
    m.s_axis_tdata = 0xFFFFFFFFU;
    m.s_axis_tlast = cycle % 2 != 0;
    m.s_axis_tkeep = m.s_axis_tlast ? 0x3 : 0xF;
    m.m_axis_tready = 1;
  };
  const auto sample = [&](std::uint64_t) {
    if (!sim.in_reset() && m.m_axis_tvalid && beats++ > 1) { // the first may have begun half way
      ASSERT_EQ(m.m_axis_tkeep, 0x3F);
      ASSERT_EQ(m.m_axis_tdata[0], 0xFFFFFFFFU);
      ASSERT_EQ(m.m_axis_tdata[1], 0xFFFFU);
      ASSERT_EQ(m.m_axis_tdata[2], 0U);
    }
  };
  sim.reset(drive, sample);
  for (int i = 0; i < 100 && !HasFatalFailure(); ++i)
    sim.step(drive, sample);
  EXPECT_GT(beats, 40);
}

TEST(KsSkid, KeepsOrderAtFullRate) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(31);
  for (const Pace &pace : kPaces) {
    SCOPED_TRACE(pace.name);
    Random rng(seed);
    Simulation<Vks_skid> sim(SimulationConfig{.seed = seed});
    auto &m = sim.model();
    std::deque<std::uint64_t> inside;
    Span taken;
    bool offered = false, held = false;
    std::uint64_t word = 0, held_word = 0, popped = 0, filled = 0;
    const auto drive = [&](std::uint64_t) {
      if (!offered && !sim.in_reset() && !rng.chance(pace.idle)) {
        offered = true;
        word = rng.next() & 0xFFFFFFFFFFU;
      }
      m.s_valid_i = offered;
      m.s_data_i = word;
      m.m_ready_i = !rng.chance(pace.stall);
    };
    const auto sample = [&](std::uint64_t cycle) {
      if (sim.in_reset())
        return;
      ASSERT_EQ(m.m_valid_o != 0, !inside.empty());
      ASSERT_EQ(m.s_ready_o != 0, inside.size() < 2);
      filled += inside.size() == 2;
      if (m.m_valid_o) {
        ASSERT_EQ(m.m_data_o, inside.front());
        if (held) {
          ASSERT_EQ(m.m_data_o, held_word);
        }
      }
      held = m.m_valid_o && !m.m_ready_i;
      held_word = m.m_data_o;
      if (m.m_valid_o && m.m_ready_i) {
        inside.pop_front();
        ++popped;
      }
      if (offered && m.s_ready_o) {
        inside.push_back(word);
        taken.take(cycle);
        offered = false;
      }
    };
    sim.reset(drive, sample);
    for (int i = 0; i < 5000 && !HasFatalFailure(); ++i)
      sim.step(drive, sample);
    EXPECT_GT(popped, 1000U);
    if (pace.stall > 0) {
      EXPECT_GT(filled, 100U);
    }
    if (pace.idle == 0 && pace.stall == 0) {
      EXPECT_EQ(taken.cycles(), taken.beats);
      EXPECT_EQ(taken.beats, 5000U);
    }
  }
}

// Frames of any length in, frames of `beats` beats out.
TEST(KsAxisFrame, CompletesAndCuts) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(41);
  for (const std::uint32_t beats : {1U, 2U, 7U}) {
    for (const Pace &pace : kPaces) {
      SCOPED_TRACE(std::string(pace.name) + ", frames of " + std::to_string(beats));
      Random rng(seed + beats);
      Simulation<Vks_axis_frame> sim(SimulationConfig{.seed = seed});
      auto &m = sim.model();
      std::deque<std::pair<std::uint32_t, bool>> input, want;
      std::uint64_t early = 0, late = 0, exact_run = 0;
      constexpr int kFrames = 400;
      for (int f = 0; f < kFrames; ++f) {
        // The first frames are right, for the rate.
        const auto length =
            f < 100 ? beats : static_cast<std::uint32_t>(1 + rng.below(2 * beats + 2));
        early += length < beats;
        late += length > beats;
        for (std::uint32_t i = 0; i < std::max(length, beats); ++i) {
          const auto value = static_cast<std::uint32_t>(rng.next());
          if (i < length)
            input.emplace_back(value, i + 1 == length);
          if (i < beats)
            want.emplace_back(i < length ? value : 0U, i + 1 == beats);
        }
      }
      const std::uint64_t all_in = input.size(), all_out = want.size();
      Span taken, sent;
      bool offered = false;
      m.beats_i = static_cast<std::uint16_t>(beats);
      m.clear_i = 0;
      const auto drive = [&](std::uint64_t) {
        offered = offered || (!sim.in_reset() && !input.empty() && !rng.chance(pace.idle));
        m.s_axis_tvalid = offered;
        if (offered) {
          m.s_axis_tdata = input.front().first;
          m.s_axis_tlast = input.front().second;
        }
        m.m_axis_tready = !rng.chance(pace.stall);
      };
      const auto sample = [&](std::uint64_t cycle) {
        if (sim.in_reset())
          return;
        if (m.m_axis_tvalid) {
          ASSERT_FALSE(want.empty());
          ASSERT_EQ(m.m_axis_tdata, want.front().first);
          ASSERT_EQ(m.m_axis_tlast != 0, want.front().second);
          if (m.m_axis_tready) {
            want.pop_front();
            sent.take(cycle);
          }
        }
        if (offered && m.s_axis_tready) {
          input.pop_front();
          offered = false;
          taken.take(cycle);
          exact_run += taken.beats == 100 * beats && taken.cycles() == taken.beats;
        }
      };
      sim.reset(drive, sample);
      for (int i = 0; i < 100'000 && (!want.empty() || !input.empty()) && !HasFatalFailure(); ++i)
        sim.step(drive, sample);
      EXPECT_EQ(taken.beats, all_in);
      EXPECT_EQ(sent.beats, all_out);
      EXPECT_EQ(m.early_o, early);
      EXPECT_EQ(m.late_o, late);
      EXPECT_GT(late, 50U);
      if (beats > 1) {
        EXPECT_GT(early, 20U);
      }
      if (pace.idle == 0 && pace.stall == 0) {
        EXPECT_EQ(exact_run, 1U); // the first 100 frames: 1.00 beats per cycle
      }
      m.clear_i = 1;
      sim.step([](std::uint64_t) {}, [](std::uint64_t) {});
      m.clear_i = 0;
      sim.step([](std::uint64_t) {}, [](std::uint64_t) {});
      EXPECT_EQ(m.early_o + m.late_o, 0U);
    }
  }
}

} // namespace
