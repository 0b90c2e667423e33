// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// hv_load against a model of its rules: every piece written (mask, pixel, group, row, data) in
// order, the exact bursts, wait counts, back-pressure, row range, and the cycles stated in its
// header.

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "Vhv_load.h"
#include "kestrel/contract/vision.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using namespace kestrel::contract;
using kestrel::tb::Random;

constexpr std::uint32_t kNb = 16;
constexpr std::uint32_t kRows = 2048;
constexpr std::array<std::uint32_t, 4> kBases = {0x10000000, 0x20000080, 0x30000100, 0x40000180};

/// What memory holds at a byte address: any fixed function will do.
std::uint8_t byte_at(std::uint32_t addr) {
  std::uint64_t z = addr * 0x9E3779B97F4A7C15U;
  z ^= z >> 29U;
  return static_cast<std::uint8_t>(z >> 17U);
}

std::uint64_t beat_at(std::uint32_t addr) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < 8; ++i) {
    value |= static_cast<std::uint64_t>(byte_at(addr + i)) << (8 * i);
  }
  return value;
}

struct Piece {
  std::uint32_t mask = 0, p = 0, g = 0;
  std::uint64_t row = 0;
  std::vector<std::uint64_t> data; // one for each pixel
  bool last = false;
  friend bool operator==(const Piece &, const Piece &) = default;
};

struct Burst {
  std::uint32_t addr = 0, beats = 0;
};

/// The pieces of a descriptor, as docs/vision_engine.md and the header of hv_load state them.
std::vector<Piece> pieces_of(const LoadDesc &desc) {
  std::vector<Piece> pieces;
  const auto base = kBases[static_cast<std::size_t>(desc.base)];
  const auto first = static_cast<std::uint32_t>(base + static_cast<std::uint32_t>(desc.addr));
  const auto count = static_cast<std::uint32_t>(desc.count);
  const auto chans = static_cast<std::uint32_t>(desc.chans);
  const auto p0 = static_cast<std::uint32_t>(desc.p0);
  const auto mode = static_cast<LoadMode>(desc.mode);
  const std::array<std::uint32_t, 8> per_cycle = {8, 4, 3, 2, 2, 2, 2, 1};
  for (std::uint32_t i = 0; i < count;) {
    Piece piece;
    std::uint32_t pixels = 1;
    if (mode == LoadMode::kRaw) {
      pixels = std::min(per_cycle[chans - 1], count - i);
      piece.p = p0 + i;
      for (std::uint32_t k = 0; k < pixels; ++k) {
        std::uint64_t word = 0;
        for (std::uint32_t b = 0; b < chans; ++b) {
          word |= static_cast<std::uint64_t>(byte_at(first + (i + k) * chans + b)) << (8 * b);
        }
        piece.data.push_back(word);
      }
    } else {
      if (mode == LoadMode::kNhwc) {
        piece.p = p0 + i / chans;
        piece.g = i % chans;
      } else {
        piece.p = p0 + i % static_cast<std::uint32_t>(desc.n);
        piece.g = i / static_cast<std::uint32_t>(desc.n);
      }
      piece.data.push_back(beat_at(first + 8 * i));
    }
    piece.mask = (1U << pixels) - 1;
    piece.row = static_cast<std::uint64_t>(desc.dst_base) +
                piece.g * static_cast<std::uint64_t>(desc.dst_s) + piece.p / kNb;
    i += pixels;
    piece.last = i == count;
    pieces.push_back(piece);
  }
  return pieces;
}

std::vector<Burst> bursts_of(const LoadDesc &desc) {
  std::vector<Burst> bursts;
  auto addr = kBases[static_cast<std::size_t>(desc.base)] + static_cast<std::uint32_t>(desc.addr);
  auto left = static_cast<std::uint32_t>(desc.beats);
  while (left > 0) {
    const std::uint32_t beats = std::min(left, 16 - addr / 8 % 16);
    bursts.push_back({addr, beats});
    addr += 8 * beats;
    left -= beats;
  }
  return bursts;
}

LoadDesc random_desc(Random &rng) {
  LoadDesc desc;
  desc.mode = static_cast<std::int64_t>(rng.below(3));
  desc.base = static_cast<std::int64_t>(rng.below(4));
  desc.addr = static_cast<std::int64_t>(rng.below(1000) * 128);
  desc.p0 = static_cast<std::int64_t>(rng.below(500));
  desc.dst_base = static_cast<std::int64_t>(rng.below(900));
  std::uint64_t words = 0;
  switch (static_cast<LoadMode>(desc.mode)) {
  case LoadMode::kRaw: {
    desc.chans = static_cast<std::int64_t>(1 + rng.below(8));
    desc.count = static_cast<std::int64_t>(1 + rng.below(rng.chance(0.5) ? 20 : 600));
    words = (static_cast<std::uint64_t>(desc.chans * desc.count) + 7) / 8;
    break;
  }
  case LoadMode::kNhwc:
    desc.chans = static_cast<std::int64_t>(1 + rng.below(12));
    desc.count = static_cast<std::int64_t>(1 + rng.below(300));
    words = static_cast<std::uint64_t>(desc.count);
    break;
  case LoadMode::kPlanar:
    desc.n = static_cast<std::int64_t>(1 + rng.below(60));
    desc.count = static_cast<std::int64_t>(1 + rng.below(300));
    words = static_cast<std::uint64_t>(desc.count);
    break;
  }
  // The last row has to be in the memory.
  std::int64_t groups = 1;
  if (static_cast<LoadMode>(desc.mode) == LoadMode::kNhwc) {
    groups = desc.chans;
  } else if (static_cast<LoadMode>(desc.mode) == LoadMode::kPlanar) {
    groups = 1 + desc.count / desc.n;
  }
  const std::int64_t rows = (desc.p0 + desc.count) / kNb + 1;
  desc.dst_s = static_cast<std::int64_t>(
      rng.below(static_cast<std::uint64_t>((kRows - desc.dst_base - rows) / groups)));
  // Now and then more beats than the block needs.
  desc.beats = static_cast<std::int64_t>(words + (rng.chance(0.2) ? rng.below(40) : 0));
  return desc;
}

struct Timing {
  double req_stall = 0, rsp_stall = 0, wr_stall = 0;
  std::uint32_t latency = 1; // cycles from the request to its first beat
};

class Bench : public kestrel::tb::ClockedBench<Bench, Vhv_load> {
  using Base = kestrel::tb::ClockedBench<Bench, Vhv_load>;
  friend Base;

public:
  Bench(std::uint64_t seed, const Timing &timing)
      : Base({.seed = seed}), timing_(timing), rng_(seed) {
    model().pkg_base_i = kBases[0];
    model().in_base_i = kBases[1];
    model().out_base_i = kBases[2];
    model().scratch_base_i = kBases[3];
    reset();
  }

  /// Descriptors still to be written into the queue, word by word.
  std::deque<LoadDesc> program;
  std::uint32_t n_compute = 0, n_out = 0;

  // What was seen.
  std::vector<Piece> pieces;
  std::vector<Burst> bursts;
  std::vector<std::uint64_t> piece_cycles, burst_cycles, done_cycles, queued_cycles;
  std::uint64_t range_errors = 0;
  bool stable = true;

  bool idle() { return program.empty() && word_ == 0 && model().idle_o != 0; }
  bool run_until_idle(std::uint64_t limit) {
    for (std::uint64_t i = 0; i < limit; ++i) {
      step();
      if (idle()) {
        return true;
      }
    }
    return false;
  }

private:
  struct Pending {
    std::uint32_t addr;
    std::uint64_t due;
  };

  void idle_inputs() {
    auto &m = model();
    m.q_we_i = 0;
    m.l_req_ready_i = 0;
    m.l_rsp_valid_i = 0;
    m.wr_ready_i = 0;
    m.n_compute_i = 0;
    m.n_out_i = 0;
  }

  void on_drive(std::uint64_t cycle) {
    auto &m = model();
    if (simulation.in_reset()) {
      idle_inputs();
      return;
    }
    m.n_compute_i = static_cast<std::uint16_t>(n_compute);
    m.n_out_i = static_cast<std::uint16_t>(n_out);
    // A descriptor is begun only with room, as the front end does it.
    m.q_we_i = 0;
    if (word_ > 0 || (!program.empty() && room_)) {
      if (word_ == 0) {
        words_ = encode(program.front());
        program.pop_front();
      }
      m.q_we_i = 1;
      m.q_widx_i = static_cast<std::uint8_t>(word_);
      m.q_wdata_i = words_[word_];
      if (++word_ == kDescWords) {
        word_ = 0;
        queued_cycles.push_back(cycle);
      }
    }
    m.l_req_ready_i = !rng_.chance(timing_.req_stall);
    m.wr_ready_i = !rng_.chance(timing_.wr_stall);
    m.l_rsp_valid_i = 0;
    m.l_rsp_data_i = rng_.next();
    if (!pending_.empty() && pending_.front().due <= cycle && !rng_.chance(timing_.rsp_stall)) {
      m.l_rsp_valid_i = 1;
      m.l_rsp_data_i = beat_at(pending_.front().addr);
      pending_.pop_front();
    }
  }

  void on_sample(std::uint64_t cycle) {
    auto &m = model();
    if (simulation.in_reset()) {
      return;
    }
    room_ = m.q_room_o != 0;
    if (m.l_req_valid_o && m.l_req_ready_i) {
      const Burst burst{m.l_req_addr_o, m.l_req_beats_m1_o + 1U};
      bursts.push_back(burst);
      burst_cycles.push_back(cycle);
      for (std::uint32_t i = 0; i < burst.beats; ++i) {
        pending_.push_back({burst.addr + 8 * i, cycle + timing_.latency});
      }
    }
    if (m.done_o) { // of the piece accepted in the cycle before
      done_cycles.push_back(cycle);
      stable = stable && !pieces.empty() && piece_cycles.back() + 1 == cycle;
      if (!pieces.empty()) {
        pieces.back().last = true;
      }
    }
    if (m.wr_valid_o) {
      Piece piece;
      piece.mask = m.wr_mask_o;
      piece.p = m.wr_p_o;
      piece.g = m.wr_g_o;
      piece.row = m.wr_row_o;
      for (unsigned i = 0; i < 8; ++i) {
        if ((piece.mask >> i & 1U) != 0) {
          piece.data.push_back(m.wr_data_o[2 * i] |
                               static_cast<std::uint64_t>(m.wr_data_o[2 * i + 1]) << 32U);
        }
      }
      if (waiting_ && !(piece == held_)) {
        stable = false;
      }
      held_ = piece;
      waiting_ = !m.wr_ready_i;
      if (m.wr_ready_i) {
        pieces.push_back(piece);
        piece_cycles.push_back(cycle);
      }
    } else {
      stable = stable && !waiting_;
    }
    range_errors += m.range_err_o;
  }

  Timing timing_;
  Random rng_;
  DescWords words_{};
  std::size_t word_ = 0;
  bool room_ = false, waiting_ = false;
  Piece held_;
  std::deque<Pending> pending_;
};

void expect_equal(const std::vector<Piece> &got, const std::vector<Piece> &want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got[i].p, want[i].p) << "piece " << i;
    ASSERT_EQ(got[i].g, want[i].g) << "piece " << i;
    ASSERT_EQ(got[i].row, want[i].row) << "piece " << i;
    ASSERT_EQ(got[i].mask, want[i].mask) << "piece " << i;
    ASSERT_EQ(got[i].data, want[i].data) << "piece " << i;
    ASSERT_EQ(got[i].last, want[i].last) << "piece " << i;
  }
}

void run_random(std::uint64_t seed, const Timing &timing, int descriptors) {
  Random rng(seed);
  Bench bench(seed, timing);
  std::vector<Piece> want;
  std::vector<Burst> want_bursts;
  for (int i = 0; i < descriptors; ++i) {
    const LoadDesc desc = random_desc(rng);
    ASSERT_EQ(fits(desc), nullptr);
    const auto pieces = pieces_of(desc);
    want.insert(want.end(), pieces.begin(), pieces.end());
    const auto bursts = bursts_of(desc);
    want_bursts.insert(want_bursts.end(), bursts.begin(), bursts.end());
    bench.program.push_back(desc);
  }
  ASSERT_TRUE(bench.run_until_idle(2'000'000));
  expect_equal(bench.pieces, want);
  ASSERT_EQ(bench.bursts.size(), want_bursts.size());
  for (std::size_t i = 0; i < want_bursts.size(); ++i) {
    ASSERT_EQ(bench.bursts[i].addr, want_bursts[i].addr) << "burst " << i;
    ASSERT_EQ(bench.bursts[i].beats, want_bursts[i].beats) << "burst " << i;
  }
  EXPECT_EQ(bench.done_cycles.size(), static_cast<std::size_t>(descriptors));
  EXPECT_EQ(bench.range_errors, 0U);
  EXPECT_TRUE(bench.stable);
  EXPECT_GT(bench.pieces.size(), 100U);
}

TEST(HvLoad, RandomBlocksWithoutStalls) { run_random(kestrel::tb::test::seed_of_run(1), {}, 60); }
TEST(HvLoad, RandomBlocksLongLatency) {
  run_random(kestrel::tb::test::seed_of_run(2), {.latency = 45}, 60);
}
TEST(HvLoad, RandomBlocksStalledEverywhere) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(3);
  for (std::uint64_t i = 0; i < 4; ++i) {
    run_random(seed + i, {.req_stall = 0.5, .rsp_stall = 0.3, .wr_stall = 0.3, .latency = 9}, 40);
  }
}
TEST(HvLoad, RandomBlocksSlowWrites) {
  run_random(kestrel::tb::test::seed_of_run(4), {.wr_stall = 0.9}, 30);
}

/// Every channel count of RAW, every number of pixels in the last piece.
TEST(HvLoad, RawEveryChannelCountAndEnd) {
  Bench bench(kestrel::tb::test::seed_of_run(5), {.wr_stall = 0.2, .latency = 3});
  std::vector<Piece> want;
  for (std::int64_t chans = 1; chans <= 8; ++chans) {
    for (std::int64_t count = 1; count <= 26; ++count) {
      LoadDesc desc;
      desc.base = static_cast<std::int64_t>(BaseSel::kIn);
      desc.addr = 128 * chans;
      desc.chans = chans;
      desc.count = count;
      desc.beats = (chans * count + 7) / 8;
      desc.p0 = count;
      desc.dst_base = chans;
      const auto pieces = pieces_of(desc);
      want.insert(want.end(), pieces.begin(), pieces.end());
      bench.program.push_back(desc);
    }
  }
  ASSERT_TRUE(bench.run_until_idle(100'000));
  expect_equal(bench.pieces, want);
}

/// Requests wait for both counts; an equal count is enough.
TEST(HvLoad, WaitCounts) {
  Bench bench(kestrel::tb::test::seed_of_run(6), {});
  LoadDesc desc;
  desc.mode = static_cast<std::int64_t>(LoadMode::kPlanar);
  desc.n = desc.count = desc.beats = 4;
  desc.wait_compute = 3;
  desc.wait_out = 40000;
  bench.program.push_back(desc);
  const auto run = [&](std::uint32_t n_compute, std::uint32_t n_out) {
    bench.n_compute = n_compute;
    bench.n_out = n_out;
    for (int i = 0; i < 100; ++i) {
      bench.step();
    }
    return bench.bursts.size();
  };
  EXPECT_EQ(run(0, 0), 0U);
  EXPECT_EQ(run(3, 39999), 0U);
  EXPECT_EQ(run(2, 40000), 0U);
  const std::uint64_t reached = bench.cycle();
  EXPECT_EQ(run(3, 40000), 1U);
  EXPECT_EQ(bench.burst_cycles.at(0), reached + 3); // counts in cycle t, RReq t+2, request from t+3
  EXPECT_TRUE(bench.idle());
  EXPECT_EQ(bench.pieces.size(), 4U);
}

/// The cycles that the header of the module states, without any stall.
TEST(HvLoad, CyclesAsStated) {
  for (const std::uint32_t latency : {1U, 2U, 30U}) {
    Bench bench(kestrel::tb::test::seed_of_run(7), {.latency = latency});
    LoadDesc desc;
    desc.mode = static_cast<std::int64_t>(LoadMode::kPlanar);
    desc.n = 500;
    desc.count = desc.beats = latency == 30 ? 48 : 200;
    bench.program.push_back(desc);
    ASSERT_TRUE(bench.run_until_idle(2000));
    const std::uint64_t queued = bench.queued_cycles.at(0);
    // Queued t, RIdle t+1, RRead t+2 .. t+5, RWait t+6 and t+7, RReq t+8.
    EXPECT_EQ(bench.burst_cycles.at(0), queued + 9);
    EXPECT_EQ(bench.burst_cycles.at(1), queued + 11);
    // First beat `latency` later, at the write port four cycles after, then one word per cycle.
    for (std::size_t i = 0; i < bench.piece_cycles.size(); ++i) {
      ASSERT_EQ(bench.piece_cycles[i], queued + 9 + latency + 4 + i);
    }
    EXPECT_EQ(bench.done_cycles.at(0), bench.piece_cycles.back() + 1);
  }
}

/// RAW keeps up with the bus or writes its pixels per cycle, whichever is slower.
TEST(HvLoad, RawThroughput) {
  const std::array<std::uint32_t, 8> per_cycle = {8, 4, 3, 2, 2, 2, 2, 1};
  for (std::uint32_t chans = 1; chans <= 8; ++chans) {
    Bench bench(kestrel::tb::test::seed_of_run(8), {});
    LoadDesc desc;
    desc.chans = chans;
    desc.count = 840;
    desc.beats = (desc.count * chans + 7) / 8;
    bench.program.push_back(desc);
    ASSERT_TRUE(bench.run_until_idle(5000));
    const auto cycles = bench.piece_cycles.back() - bench.piece_cycles.front() + 1;
    const auto least =
        std::max<std::uint64_t>(static_cast<std::uint64_t>(desc.beats),
                                (840 + per_cycle[chans - 1] - 1) / per_cycle[chans - 1]);
    EXPECT_LE(cycles, least + 4) << chans << " channels";
  }
}

/// The requests of a block begin while the block before is still written.
TEST(HvLoad, NextBlockIsRequestedEarly) {
  Bench bench(kestrel::tb::test::seed_of_run(9), {.latency = 40});
  LoadDesc desc;
  desc.mode = static_cast<std::int64_t>(LoadMode::kPlanar);
  desc.n = desc.count = desc.beats = 40;
  bench.program.push_back(desc);
  bench.program.push_back(desc);
  ASSERT_TRUE(bench.run_until_idle(2000));
  ASSERT_EQ(bench.burst_cycles.size(), 6U);
  EXPECT_LT(bench.burst_cycles[3], bench.done_cycles[0]);
  ASSERT_EQ(bench.pieces.size(), 80U);
}

/// The first piece with a row beyond the memory is not written, and nothing is after it.
TEST(HvLoad, RowBeyondTheMemory) {
  Random rng(kestrel::tb::test::seed_of_run(10));
  int hit = 0;
  for (int i = 0; i < 150; ++i) {
    Bench bench(rng.next(), {.wr_stall = 0.2});
    LoadDesc desc = random_desc(rng);
    switch (rng.below(3)) {
    case 0:
      desc.dst_base = static_cast<std::int64_t>(kRows - rng.below(40));
      break;
    case 1:
      desc.p0 = static_cast<std::int64_t>(kRows * kNb - rng.below(700));
      break;
    default:
      desc.dst_s = static_cast<std::int64_t>(20000 + rng.below(45535)); // sums beyond 16 bits too
    }
    std::vector<Piece> want;
    bool bad = false;
    for (const Piece &piece : pieces_of(desc)) {
      const auto pixels = static_cast<std::uint32_t>(piece.data.size());
      if (piece.row + (piece.p % kNb + pixels - 1) / kNb >= kRows) {
        bad = true;
        break;
      }
      want.push_back(piece);
    }
    bench.program.push_back(desc);
    const bool ended = bench.run_until_idle(3000);
    EXPECT_EQ(ended, !bad);
    EXPECT_EQ(bench.range_errors != 0, bad);
    expect_equal(bench.pieces, want);
    hit += bad ? 1 : 0;
  }
  EXPECT_GT(hit, 40);
}

} // namespace
