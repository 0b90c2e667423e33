// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_aggregate against ref::aggregate: random tables, lengths and workers, frames that end early
// or late, too many contributors, indices beyond the table, reset in the middle, and the rate.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <iostream>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "Vthc_aggregate_128_16.h"
#include "Vthc_aggregate_16_8.h"
#include "Vthc_aggregate_4_16.h"
#include "sw_ref/thc/codec.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "testbench/cpp/signals.hpp"
#include "tests/rtl/test_testbench_util.hpp"
#include "tests/rtl/thc/thc_port.hpp"

namespace {

using kestrel::tb::BusData;
using kestrel::tb::Random;
namespace ref = kestrel::thc::ref;

ref::Table random_table(Random &rng) {
  ref::Table table;
  table.bits = 1 + static_cast<unsigned>(rng.below(4));
  const std::size_t entries = std::size_t{1} << table.bits;
  table.granularity = static_cast<unsigned>(entries - 1 + rng.below(256 - entries + 1));
  std::set<std::uint8_t> inner;
  while (inner.size() < entries - 2)
    inner.insert(static_cast<std::uint8_t>(1 + rng.below(table.granularity - 1)));
  table.values.assign(1, 0);
  table.values.insert(table.values.end(), inner.begin(), inner.end());
  table.values.push_back(static_cast<std::uint8_t>(table.granularity));
  EXPECT_FALSE(ref::table_error(table));
  return table;
}

struct Row {
  std::vector<std::uint32_t> sums;
  unsigned count = 0;
  bool last = false;
};

// What the block promises, on rows of `lanes` coordinates.
class Model {
public:
  Model(std::size_t lanes, std::uint32_t max_sum) : lanes_(lanes), max_sum_(max_sum) {}
  ref::Table table;
  std::size_t beats = 1;
  std::uint64_t early = 0, late = 0, refused = 0, bad = 0;

  void forget() { open_ = false; }
  // `indices`: whole beats of one frame. Appends the rows that leave to `out`.
  void frame(const std::vector<std::uint8_t> &indices, bool first, bool last,
             std::deque<Row> &out) {
    const std::size_t length = indices.size() / lanes_;
    early += length < beats;
    late += length > beats;
    if (first || !open_) {
      rows_.assign(beats, Row{std::vector<std::uint32_t>(lanes_, 0), 0, false});
      contributors_ = 0;
    }
    open_ = !last;
    if ((contributors_ + 1) * table.granularity > max_sum_ || contributors_ == 255) {
      ++refused;
    } else {
      ++contributors_;
      for (std::size_t row = 0; row < std::min(length, beats); ++row) {
        std::vector<std::uint8_t> part(lanes_);
        for (std::size_t i = 0; i < lanes_; ++i) {
          const std::uint8_t index = indices[row * lanes_ + i];
          part[i] = static_cast<std::uint8_t>(index % table.values.size());
          bad += part[i] != index;
        }
        ref::aggregate(part, table, rows_[row].sums);
        ++rows_[row].count;
      }
    }
    if (last) {
      rows_.back().last = true;
      out.insert(out.end(), rows_.begin(), rows_.end());
    }
  }

private:
  std::size_t lanes_;
  std::uint32_t max_sum_;
  std::vector<Row> rows_;
  unsigned contributors_ = 0;
  bool open_ = false;
};

struct Beat {
  BusData<64> data;
  unsigned user;
  bool last;
};

template <class V> class Bench : public kestrel::tb::ClockedBench<Bench<V>, V> {
  using Base = kestrel::tb::ClockedBench<Bench<V>, V>;
  friend Base;

public:
  using Base::step;

  Bench(std::size_t lanes_a_beat, unsigned bits, std::uint64_t seed)
      : Base({.seed = seed, .reset_cycles = 1}), lanes(lanes_a_beat), sum_bits(bits), rng(seed),
        model(lanes, (1U << sum_bits) - 1) {
    v().clear_i = 0;
    v().beats_i = 1;
    reset();
  }
  V &v() { return this->simulation.model(); }

  // A new table and length, with nothing inside.
  void configure(const ref::Table &table, std::size_t beats) {
    model.table = table;
    model.beats = beats;
    kestrel::tb::test::put_cfg(v().cfg_i, table, 10, {}, {});
    v().beats_i = static_cast<std::remove_reference_t<decltype(v().beats_i)>>(beats);
  }
  void frame(std::size_t length, bool first, bool last, bool in_table = true) {
    std::vector<std::uint8_t> indices(length * lanes);
    for (auto &index : indices)
      index = static_cast<std::uint8_t>(rng.below(in_table ? model.table.values.size() : 16));
    const auto bytes = ref::pack_nibbles(indices);
    for (std::size_t row = 0; row < length; ++row) {
      Beat beat{{}, (last ? 2U : 0U) | (first ? 1U : 0U), row + 1 == length};
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(row * lanes / 2), lanes / 2,
                  beat.data.bytes());
      input.push_back(beat);
    }
    model.frame(indices, first, last, want);
    ++frames;
  }
  void reset() {
    input.clear();
    want.clear();
    offered_ = held_ = false;
    model.forget();
    Base::reset();
  }
  // Until nothing is inside.
  void drain() {
    for (int i = 0; i < 200'000 && !(input.empty() && want.empty()); ++i) {
      step();
      if (testing::Test::HasFatalFailure())
        return;
    }
    for (int i = 0; i < 8; ++i)
      step();
    ASSERT_TRUE(input.empty() && want.empty());
    ASSERT_EQ(v().early_o, model.early);
    ASSERT_EQ(v().late_o, model.late);
    ASSERT_EQ(v().refused_o, model.refused);
    ASSERT_EQ(v().bad_index_o, model.bad);
  }

  std::size_t lanes;
  unsigned sum_bits;
  double idle = 0, stall = 0;
  std::uint64_t beats_in = 0, rows_out = 0, frames = 0, cycles = 0, waits = 0;
  std::uint64_t max_count = 0;
  Random rng;
  Model model;
  std::deque<Beat> input;
  std::deque<Row> want;

private:
  void on_drive(std::uint64_t /*cycle*/) {
    offered_ = !this->simulation.in_reset() && (offered_ || (!input.empty() && !rng.chance(idle)));
    v().s_axis_tvalid = offered_;
    if (offered_) {
      kestrel::tb::write_signal(v().s_axis_tdata, input.front().data);
      v().s_axis_tuser = static_cast<std::uint8_t>(input.front().user);
      v().s_axis_tlast = input.front().last;
    }
    v().m_axis_tready = !rng.chance(stall);
  }
  void on_sample(std::uint64_t /*cycle*/) {
    if (this->simulation.in_reset())
      return;
    ++cycles;
    if (v().m_axis_tvalid) {
      ASSERT_FALSE(want.empty());
      const Row &row = want.front();
      BusData<256> data;
      kestrel::tb::read_signal(v().m_axis_tdata, data);
      for (std::size_t i = 0; i < lanes; ++i) {
        const std::uint32_t sum =
            sum_bits == 8 ? data.bytes()[i] : data.bytes()[2 * i] | data.bytes()[2 * i + 1] << 8;
        ASSERT_EQ(sum, row.sums[i]) << "row " << rows_out << " lane " << i;
      }
      ASSERT_EQ(v().m_axis_tuser, row.count);
      ASSERT_EQ(v().m_axis_tlast != 0, row.last);
      max_count = std::max<std::uint64_t>(max_count, row.count);
      if (v().m_axis_tready) {
        want.pop_front();
        ++rows_out;
      }
    }
    ASSERT_TRUE(!held_ || v().m_axis_tvalid);
    held_ = v().m_axis_tvalid && !v().m_axis_tready;
    if (offered_ && v().s_axis_tready) {
      input.pop_front();
      offered_ = false;
      ++beats_in;
    } else if (offered_) {
      ++waits;
    }
  }
  bool offered_ = false, held_ = false;
};

template <class V>
void random_runs(std::size_t lanes, unsigned sum_bits, std::size_t max_beats, int runs,
                 std::uint64_t default_seed) {
  Bench<V> bench(lanes, sum_bits, kestrel::tb::test::seed_of_run(default_seed));
  Random rng(bench.rng.next());
  for (int run = 0; run < runs; ++run) {
    SCOPED_TRACE("run " + std::to_string(run));
    const bool idle = run % 2 != 0, stall = run / 2 % 2 != 0;
    bench.idle = idle ? 0.4 : 0;
    bench.stall = stall ? 0.5 : 0;
    const std::size_t beats =
        1 + rng.below(rng.below(2) != 0 ? std::min<std::size_t>(4, max_beats) : max_beats);
    bench.configure(random_table(rng), beats);
    const auto limit = bench.model.table.granularity;
    const auto aggregations = 1 + rng.below(8);
    for (std::uint64_t a = 0; a < aggregations; ++a) {
      // Up to a few more workers than the sum has room for, where that is few.
      const std::uint64_t room = std::min<std::uint64_t>(((1U << sum_bits) - 1) / limit, 255);
      const std::uint64_t workers = 1 + rng.below(std::min<std::uint64_t>(room + 2, 12));
      for (std::uint64_t w = 0; w < workers; ++w) {
        std::size_t length = beats;
        if (rng.below(4) == 0)
          length = 1 + rng.below(2 * beats);
        // The mark of the first may be missing after a last one; a first may come without a last.
        const bool first = w == 0 && rng.below(8) != 0;
        const bool last = w + 1 == workers && (a + 1 == aggregations || rng.below(8) != 0);
        bench.frame(length, first, last, rng.below(4) != 0);
      }
    }
    ASSERT_NO_FATAL_FAILURE(bench.drain());
    if (run % 5 == 4) {
      // Reset in the middle of a frame, with what is inside lost.
      bench.frame(beats, true, false);
      bench.frame(beats, false, true);
      for (std::uint64_t i = rng.below(2 * beats); i > 0; --i)
        bench.step();
      bench.model.early = bench.model.late = bench.model.refused = bench.model.bad = 0;
      bench.reset();
    } else if (run % 5 == 2) {
      // The same by clear_i, between runs.
      bench.v().clear_i = 1;
      bench.step();
      bench.v().clear_i = 0;
      bench.step();
      bench.model.early = bench.model.late = bench.model.refused = bench.model.bad = 0;
      bench.model.forget();
      EXPECT_EQ(bench.v().early_o + bench.v().bad_index_o, 0U);
    }
  }
  EXPECT_GT(bench.rows_out, static_cast<std::uint64_t>(runs));
  EXPECT_GT(bench.frames, static_cast<std::uint64_t>(5 * runs));
  std::cout << bench.frames << " frames, " << bench.beats_in << " beats in, " << bench.rows_out
            << " rows out, up to " << bench.max_count << " contributions\n";
}

TEST(ThcAggregate, Random128Lanes16Bits) {
  random_runs<Vthc_aggregate_128_16>(128, 16, 256, 24, 51);
}
TEST(ThcAggregate, Random16Lanes8Bits) { random_runs<Vthc_aggregate_16_8>(16, 8, 32, 400, 52); }
TEST(ThcAggregate, Random4Lanes16Bits) { random_runs<Vthc_aggregate_4_16>(4, 16, 4, 600, 53); }

// 128 coordinates a cycle: not one cycle without a beat, at any frame length, back to back.
TEST(ThcAggregate, OneBeatPerCycle) {
  Bench<Vthc_aggregate_128_16> bench(128, 16, kestrel::tb::test::seed_of_run(54));
  for (const std::size_t beats : {1U, 2U, 3U, 4U, 8U, 256U}) {
    bench.configure(ref::Table{}, beats);
    const std::uint64_t in = bench.beats_in, waits = bench.waits;
    for (int a = 0; a < 6; ++a)
      for (int w = 0; w < 8; ++w)
        bench.frame(beats, w == 0, w == 7);
    const std::uint64_t begin = bench.cycles, all = bench.input.size();
    while (!bench.input.empty() && !HasFatalFailure())
      bench.step();
    const std::uint64_t cycles = bench.cycles - begin;
    ASSERT_NO_FATAL_FAILURE(bench.drain());
    EXPECT_EQ(bench.beats_in - in, all);
    EXPECT_EQ(bench.waits - waits, 0U);
    EXPECT_EQ(cycles, all) << "frames of " << beats;
    std::cout << "frames of " << beats << " beats: " << 128 * all << " coordinates in " << cycles
              << " cycles (simulated), "
              << 128.0 * static_cast<double>(all) / static_cast<double>(cycles) << " a cycle\n";
  }
  EXPECT_EQ(bench.max_count, 8U);
}

// The limits of the number of contributors, by the sum and by its counter.
TEST(ThcAggregate, LimitBySum) {
  Bench<Vthc_aggregate_16_8> narrow(16, 8, kestrel::tb::test::seed_of_run(55));
  narrow.configure(ref::Table{}, 3);
  for (int w = 0; w < 12; ++w) // 8 * 30 = 240 <= 255 < 270
    narrow.frame(3, w == 0, w == 11);
  ASSERT_NO_FATAL_FAILURE(narrow.drain());
  EXPECT_EQ(narrow.v().refused_o, 4U);
  EXPECT_EQ(narrow.max_count, 8U);
}

TEST(ThcAggregate, LimitByCounter) {
  Bench<Vthc_aggregate_4_16> wide(4, 16, kestrel::tb::test::seed_of_run(56));
  ref::Table table{.bits = 1, .granularity = 1, .t = 1.5, .values = {0, 1}};
  wide.configure(table, 2);
  for (int w = 0; w < 260; ++w)
    wide.frame(2, w == 0, w == 259);
  ASSERT_NO_FATAL_FAILURE(wide.drain());
  EXPECT_EQ(wide.v().refused_o, 5U);
  EXPECT_EQ(wide.max_count, 255U);

  table.granularity = 255;
  table.values = {0, 255};
  wide.configure(table, 2);
  for (int w = 0; w < 260; ++w) // 257 * 255 = 65535, but 255 is the most
    wide.frame(2, w == 0, w == 259);
  ASSERT_NO_FATAL_FAILURE(wide.drain());
  EXPECT_EQ(wide.v().refused_o, 10U);
}

} // namespace
