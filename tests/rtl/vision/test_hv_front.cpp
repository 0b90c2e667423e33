// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// hv_front against a model of its rules: random programs through queues of random speed, every
// check of descriptors, and the cycles stated in its header.

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "Vhv_front.h"
#include "kestrel/contract/vision.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using namespace kestrel::contract;
using kestrel::tb::Random;

constexpr std::uint32_t kDescBase = 0x00345680;
constexpr std::uint32_t kPkgBase = 0x10002000;
enum Unit : std::size_t { kCompute, kLoad, kOut, kUnits };
constexpr std::array<std::size_t, kUnits> kDepth = {8, 4, 4};

struct Segment {
  std::uint32_t addr = 0, words = 0;
  friend bool operator==(const Segment &, const Segment &) = default;
};

struct Program {
  std::vector<DescWords> descs;
  std::array<std::vector<DescWords>, kUnits> of_unit;
  std::vector<Segment> segments;
};

template <class Desc> Desc random_fields(Random &rng) {
  Desc desc;
  for (const auto &field : kFields<Desc>) {
    desc.*field.member =
        field.min() + static_cast<std::int64_t>(
                          rng.below(static_cast<std::uint64_t>(field.max() - field.min()) + 1));
  }
  desc.op = static_cast<std::int64_t>(Desc::kOp);
  return desc;
}

std::int64_t upto(Random &rng, std::size_t count) {
  return static_cast<std::int64_t>(rng.below(count + 1));
}

/// A program of `count` descriptors in which every field obeys the checks.
Program random_program(Random &rng, std::size_t count) {
  Program program;
  std::array<std::size_t, kUnits> given{};
  bool keep = false;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    Unit unit = kCompute;
    DescWords words{};
    switch (rng.below(5)) {
    case 0: {
      auto desc = random_fields<LoadDesc>(rng);
      desc.mode = static_cast<std::int64_t>(rng.below(3));
      desc.addr &= ~std::int64_t{127};
      desc.wait_compute = upto(rng, given[kCompute]);
      desc.wait_out = upto(rng, given[kOut]);
      desc.beats += desc.beats == 0;
      desc.count += desc.count == 0;
      desc.n += desc.n == 0;
      desc.chans += desc.chans == 0;
      if (static_cast<LoadMode>(desc.mode) == LoadMode::kRaw) {
        desc.chans = static_cast<std::int64_t>(1 + rng.below(8));
      }
      words = encode(desc);
      unit = kLoad;
      break;
    }
    case 1: {
      auto desc = random_fields<StoreDesc>(rng);
      desc.addr &= ~std::int64_t{127};
      desc.wait_compute = upto(rng, given[kCompute]);
      desc.wait_load = upto(rng, given[kLoad]);
      desc.groups += desc.groups == 0;
      desc.n += desc.n == 0;
      words = encode(desc);
      unit = kOut;
      break;
    }
    case 2: {
      auto desc = random_fields<ConfDesc>(rng);
      desc.addr &= ~std::int64_t{127};
      desc.wait_compute = upto(rng, given[kCompute]);
      desc.wait_load = upto(rng, given[kLoad]);
      desc.classes = static_cast<std::int64_t>(1 + rng.below(1024));
      words = encode(desc);
      unit = kOut;
      break;
    }
    default: {
      auto desc = random_fields<ComputeDesc>(rng);
      desc.glog = static_cast<std::int64_t>(rng.below(3));
      desc.waddr &= ~std::int64_t{127};
      desc.wwords += desc.wwords == 0;
      desc.wait_load = upto(rng, given[kLoad]);
      desc.wait_out = upto(rng, given[kOut]);
      if (!keep) {
        desc.wnew = 1;
      }
      keep = desc.wrel == 0;
      words = encode(desc);
      if (desc.wnew != 0) {
        program.segments.push_back({kPkgBase + static_cast<std::uint32_t>(desc.waddr),
                                    static_cast<std::uint32_t>(desc.wwords)});
      }
    }
    }
    ++given[unit];
    program.descs.push_back(words);
    program.of_unit[unit].push_back(words);
  }
  program.descs.push_back(encode(EndDesc{}));
  return program;
}

struct Timing {
  double req_stall = 0, rsp_stall = 0, finish = 1.0, seg_pop = 1.0;
  std::uint32_t latency = 1;
};

class Bench : public kestrel::tb::ClockedBench<Bench, Vhv_front> {
  using Base = kestrel::tb::ClockedBench<Bench, Vhv_front>;
  friend Base;

public:
  Bench(std::uint64_t seed, const Timing &timing)
      : Base({.seed = seed}), timing_(timing), rng_(seed) {
    model().desc_base_i = kDescBase;
    model().pkg_base_i = kPkgBase;
    model().stop_i = 0;
    reset();
  }

  std::array<std::vector<DescWords>, kUnits> got;
  std::vector<Segment> segments;
  std::vector<std::uint64_t> first_word_cycles, last_word_cycles, burst_cycles;
  std::uint64_t bursts = 0, partial_words = 0, dispatched = 0;
  std::optional<std::uint64_t> done_cycle, idle_cycle, fifo_cycle;
  std::optional<ErrorCause> error;
  std::uint32_t error_index = 0, errors = 0;

  void start(const Program &program) {
    memory_.clear();
    for (const DescWords &words : program.descs) {
      memory_.insert(memory_.end(), words.begin(), words.end());
    }
    count_ = program.descs.size();
    start_ = true;
    got = {};
    segments.clear();
    bursts = dispatched = beats_ = 0;
    finished_ = {};
    done_cycle.reset();
    step();
  }
  bool run(std::uint64_t limit) {
    for (std::uint64_t i = 0; i < limit && !done_cycle && errors == 0; ++i) {
      step();
    }
    return done_cycle.has_value();
  }

private:
  struct Pending {
    std::uint64_t data, due;
  };

  void quiet() {
    auto &m = model();
    m.start_i = 0;
    m.d_req_ready_i = 0;
    m.d_rsp_valid_i = 0;
    m.compute_done_i = m.load_done_i = m.out_done_i = 0;
    m.units_idle_i = 1;
  }

  void on_drive(std::uint64_t cycle) {
    auto &m = model();
    if (simulation.in_reset()) {
      quiet();
      return;
    }
    quiet();
    m.start_i = start_;
    m.desc_count_i = static_cast<std::uint16_t>(count_);
    start_ = false;
    m.d_req_ready_i = m.stop_i == 0 && !rng_.chance(timing_.req_stall); // as hv_rd does it
    m.d_rsp_data_i = rng_.next();
    if (!pending_.empty() && pending_.front().due <= cycle && !rng_.chance(timing_.rsp_stall)) {
      m.d_rsp_valid_i = 1;
      m.d_rsp_data_i = pending_.front().data;
      pending_.pop_front();
      if (++beats_ == kDescWords) {
        fifo_cycle = cycle + 1;
      }
    }
    std::array<bool, kUnits> finish{};
    for (std::size_t u = 0; u < kUnits; ++u) {
      finish[u] = queue_[u] > 0 && rng_.chance(timing_.finish);
      finished_[u] += finish[u];
    }
    m.compute_done_i = finish[kCompute];
    m.load_done_i = finish[kLoad];
    m.out_done_i = finish[kOut];
    m.compute_room_i = queue_[kCompute] < kDepth[kCompute];
    m.load_room_i = queue_[kLoad] < kDepth[kLoad];
    m.out_room_i = queue_[kOut] < kDepth[kOut];
    m.seg_room_i = seg_queue_ < 16;
    const bool idle = queue_[0] + queue_[1] + queue_[2] + seg_queue_ == 0;
    m.units_idle_i = idle;
    for (std::size_t u = 0; u < kUnits; ++u) {
      queue_[u] -= finish[u];
    }
    if (seg_queue_ > 0 && rng_.chance(timing_.seg_pop)) {
      --seg_queue_;
    }
  }

  void on_sample(std::uint64_t cycle) {
    auto &m = model();
    if (simulation.in_reset()) {
      return;
    }
    if (m.d_req_valid_o && m.d_req_ready_i) {
      EXPECT_EQ(m.d_req_addr_o, kDescBase + 128 * bursts);
      EXPECT_EQ(m.d_req_beats_m1_o, 15);
      for (std::size_t i = 0; i < kDescWords; ++i) {
        const std::size_t at = bursts * kDescWords + i;
        ASSERT_LT(at, memory_.size());
        pending_.push_back({memory_[at], cycle + timing_.latency});
      }
      ++bursts;
      burst_cycles.push_back(cycle);
      EXPECT_LE(bursts,
                dispatched + 3); // two held, and one that leaves the FIFO while word 15 is out
    }
    const std::array<bool, kUnits> we = {m.q_we_compute_o != 0, m.q_we_load_o != 0,
                                         m.q_we_out_o != 0};
    for (std::size_t u = 0; u < kUnits; ++u) {
      if (!we[u]) {
        continue;
      }
      EXPECT_EQ(m.q_widx_o, partial_words);
      current_[m.q_widx_o] = m.q_wdata_o;
      if (m.q_widx_o == 0) {
        first_word_cycles.push_back(cycle);
        unit_ = u;
      }
      EXPECT_EQ(unit_, u);
      if (++partial_words == kDescWords) {
        partial_words = 0;
        got[u].push_back(current_);
        last_word_cycles.push_back(cycle);
        ++queue_[u];
        EXPECT_LE(queue_[u], kDepth[u]) << "unit " << u;
      }
    }
    if (m.seg_push_o) {
      segments.push_back({m.seg_addr_o, m.seg_words_o});
      EXPECT_TRUE(we[kCompute] && m.q_widx_o == 15);
      ++seg_queue_;
      EXPECT_LE(seg_queue_, 16U);
    }
    dispatched += m.desc_o;
    if (m.done_o) {
      EXPECT_FALSE(done_cycle.has_value());
      EXPECT_TRUE(m.units_idle_i);
      EXPECT_EQ(m.n_compute_o, finished_[kCompute]);
      EXPECT_EQ(m.n_load_o, finished_[kLoad]);
      EXPECT_EQ(m.n_out_o, finished_[kOut]);
      done_cycle = cycle;
    }
    if (m.err_o) {
      ++errors;
      error = static_cast<ErrorCause>(m.err_cause_o);
      error_index = m.err_info_o;
    }
  }

  Timing timing_;
  Random rng_;
  std::vector<std::uint64_t> memory_;
  std::deque<Pending> pending_;
  std::array<std::size_t, kUnits> queue_{}, finished_{};
  std::size_t seg_queue_ = 0, count_ = 0, unit_ = 0, beats_ = 0;
  DescWords current_{};
  bool start_ = false;
};

void run_random(std::uint64_t seed, const Timing &timing, std::size_t count) {
  Random rng(seed);
  Bench bench(seed, timing);
  const Program program = random_program(rng, count);
  bench.start(program);
  ASSERT_TRUE(bench.run(400 * count + 1000))
      << "error " << static_cast<int>(bench.error.value_or(ErrorCause::kNone)) << " at "
      << bench.error_index;
  for (std::size_t u = 0; u < kUnits; ++u) {
    EXPECT_EQ(bench.got[u], program.of_unit[u]) << "unit " << u;
    EXPECT_GT(bench.got[u].size(), 0U);
  }
  EXPECT_EQ(bench.segments, program.segments);
  EXPECT_EQ(bench.dispatched, count);
  EXPECT_EQ(bench.bursts, count);
  // Nothing goes on after the end.
  for (int i = 0; i < 50; ++i) {
    bench.step();
  }
  EXPECT_EQ(bench.bursts, count);
}

TEST(HvFront, RandomProgramFastUnits) { run_random(kestrel::tb::test::seed_of_run(1), {}, 300); }
TEST(HvFront, RandomProgramLongLatency) {
  run_random(kestrel::tb::test::seed_of_run(2), {.latency = 60}, 300);
}
TEST(HvFront, RandomProgramSlowUnits) {
  run_random(kestrel::tb::test::seed_of_run(3), {.finish = 0.01}, 300);
}
TEST(HvFront, RandomProgramSlowSegments) {
  run_random(kestrel::tb::test::seed_of_run(4), {.seg_pop = 0.01}, 300);
}
TEST(HvFront, RandomProgramStalledBus) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(5);
  for (std::uint64_t i = 0; i < 5; ++i) {
    run_random(seed + i,
               {.req_stall = 0.7, .rsp_stall = 0.5, .finish = 0.05, .seg_pop = 0.1, .latency = 20},
               200);
  }
}

/// A program runs again after one has ended, with its own counts.
TEST(HvFront, SecondProgram) {
  Random rng(kestrel::tb::test::seed_of_run(6));
  Bench bench(7, {});
  for (int i = 0; i < 3; ++i) {
    const Program program = random_program(rng, 30);
    bench.reset(); // as hv_ctrl does it
    bench.start(program);
    ASSERT_TRUE(bench.run(5000));
    EXPECT_EQ(bench.got, program.of_unit);
    EXPECT_EQ(bench.segments, program.segments);
    EXPECT_EQ(bench.dispatched, 30U);
  }
}

/// 20 cycles for each descriptor, the first one as soon as it is in the FIFO.
TEST(HvFront, CyclesAsStated) {
  Random rng(kestrel::tb::test::seed_of_run(7));
  Program program;
  for (int i = 0; i < 6; ++i) {
    StoreDesc desc;
    desc.groups = 1 + i;
    desc.n = 1;
    program.descs.push_back(encode(desc));
  }
  program.descs.push_back(encode(EndDesc{}));
  Bench bench(9, {.latency = 1});
  const std::uint64_t start = bench.cycle();
  bench.start(program);
  ASSERT_TRUE(bench.run(1000));
  // start_i in s: request in s+2; first beat in s+3, sixteenth in s+18, all in the FIFO in s+19 and
  // seen there in t = s+20.
  EXPECT_EQ(bench.burst_cycles.at(0), start + 2);
  EXPECT_EQ(bench.fifo_cycle, start + 19);
  EXPECT_EQ(bench.first_word_cycles.at(0), start + 20 + 4);
  EXPECT_EQ(bench.last_word_cycles.at(0), start + 20 + 19);
  for (std::size_t i = 1; i < 6; ++i) {
    EXPECT_EQ(bench.first_word_cycles[i], bench.first_word_cycles[i - 1] + 20) << i;
  }
  // END is at the head in t+20 of the last STORE and ends 20 cycles later, done_o the cycle after.
  EXPECT_EQ(bench.done_cycle, bench.last_word_cycles.back() + 1 + 20 + 1);
}

/// Runs `program`, expects `cause` at descriptor `index` and that nothing from it on reached a
/// unit.
void expect_refused(const Program &program, ErrorCause cause, std::uint32_t index,
                    const std::string &what) {
  Bench bench(index + 1, {.latency = 3});
  bench.start(program);
  EXPECT_FALSE(bench.run(10'000)) << what;
  EXPECT_EQ(bench.errors, 1U) << what;
  EXPECT_EQ(bench.error, cause) << what;
  EXPECT_EQ(bench.error_index, index) << what;
  const std::uint64_t before = bench.dispatched;
  for (int i = 0; i < 100; ++i) {
    bench.step();
  }
  EXPECT_EQ(bench.errors, 1U) << what;
  EXPECT_EQ(bench.dispatched, before) << what;
  EXPECT_EQ(bench.dispatched, index) << what;
  std::size_t whole = 0;
  for (const auto &unit : bench.got) {
    whole += unit.size();
  }
  EXPECT_EQ(whole, index) << what;
  EXPECT_FALSE(bench.done_cycle.has_value()) << what;
}

TEST(HvFront, RefusesUnknownKinds) {
  Random rng(kestrel::tb::test::seed_of_run(8));
  for (std::uint64_t op = 0; op < 16; ++op) {
    if (desc_op(op).has_value()) {
      continue;
    }
    Program program = random_program(rng, 8);
    const std::size_t at = rng.below(8);
    program.descs[at][0] = (program.descs[at][0] & ~std::uint64_t{15}) | op;
    expect_refused(program, ErrorCause::kBadOpcode, static_cast<std::uint32_t>(at),
                   "op " + std::to_string(op));
  }
}

TEST(HvFront, RefusesEndInTheMiddleAndMissingEnd) {
  Random rng(kestrel::tb::test::seed_of_run(9));
  Program early = random_program(rng, 8);
  early.descs[3] = encode(EndDesc{});
  expect_refused(early, ErrorCause::kBadOpcode, 3, "END in the middle");
  Program missing = random_program(rng, 8);
  StoreDesc desc;
  desc.groups = desc.n = 1;
  missing.descs[7] = encode(desc);
  expect_refused(missing, ErrorCause::kBadOpcode, 7, "no END");
}

template <class Desc> void every_reserved_bit(const DescWords &good, Random &rng) {
  int tried = 0;
  for (std::size_t word = 0; word < kDescWords; ++word) {
    for (unsigned bit = 0; bit < 64; ++bit) {
      if ((kReservedMask<Desc>[word] >> bit & 1U) == 0 || (tried > 60 && !rng.chance(0.05))) {
        continue;
      }
      Program program;
      program.descs = {good, encode(EndDesc{})};
      std::size_t at = 0;
      if (Desc::kOp == DescOp::kEnd) {
        StoreDesc store;
        store.groups = store.n = 1;
        program.descs = {encode(store), good};
        at = 1;
      }
      program.descs[at][word] |= std::uint64_t{1} << bit;
      expect_refused(program, ErrorCause::kBadField, static_cast<std::uint32_t>(at),
                     "word " + std::to_string(word) + " bit " + std::to_string(bit));
      ++tried;
    }
  }
  EXPECT_GT(tried, 50);
}

TEST(HvFront, RefusesReservedBits) {
  Random rng(kestrel::tb::test::seed_of_run(10));
  ComputeDesc compute;
  compute.wnew = compute.wwords = 1;
  every_reserved_bit<ComputeDesc>(encode(compute), rng);
  LoadDesc load;
  load.beats = load.count = load.chans = 1;
  every_reserved_bit<LoadDesc>(encode(load), rng);
  StoreDesc store;
  store.groups = store.n = 1;
  every_reserved_bit<StoreDesc>(encode(store), rng);
  ConfDesc conf;
  conf.classes = 10;
  every_reserved_bit<ConfDesc>(encode(conf), rng);
  every_reserved_bit<EndDesc>(encode(EndDesc{}), rng);
}

/// Changes one field of a good descriptor to a value that is refused, and to one that is not.
TEST(HvFront, RefusesFieldsOutOfRange) {
  kestrel::tb::test::seed_of_run(11);
  ComputeDesc first; // keeps its segment
  first.wnew = first.wwords = 1;
  LoadDesc load;
  load.beats = load.count = load.chans = 1;
  StoreDesc store;
  store.groups = store.n = 1;
  ConfDesc conf;
  conf.classes = 10;
  const std::vector<DescWords> before = {encode(first), encode(load), encode(store)};
  const auto run = [&](const DescWords &words, bool good, const char *what) {
    Program program;
    program.descs = before;
    program.descs.push_back(words);
    program.descs.push_back(encode(EndDesc{}));
    if (good) {
      Bench bench(1, {});
      bench.start(program);
      EXPECT_TRUE(bench.run(1000)) << what;
    } else {
      expect_refused(program, ErrorCause::kBadField, 3, what);
    }
  };
  const auto vary = [&](const auto &desc, auto member, std::int64_t value, bool good,
                        const char *what) {
    auto changed = desc;
    changed.*member = value;
    run(encode(changed), good, what);
  };
  ComputeDesc reuse;
  run(encode(reuse), true, "reuse");
  ComputeDesc fresh = first;
  vary(fresh, &ComputeDesc::glog, 2, true, "glog 2");
  vary(fresh, &ComputeDesc::glog, 3, false, "glog 3");
  vary(fresh, &ComputeDesc::wwords, 0, false, "empty segment");
  vary(fresh, &ComputeDesc::waddr, 64, false, "waddr 64");
  vary(fresh, &ComputeDesc::waddr, 256, true, "waddr 256");
  vary(fresh, &ComputeDesc::wait_load, 1, true, "wait_load 1");
  vary(fresh, &ComputeDesc::wait_load, 2, false, "wait_load 2");
  vary(fresh, &ComputeDesc::wait_out, 1, true, "wait_out 1");
  vary(fresh, &ComputeDesc::wait_out, 2, false, "wait_out 2");
  vary(load, &LoadDesc::mode, 3, false, "mode 3");
  vary(load, &LoadDesc::addr, 8, false, "load addr");
  vary(load, &LoadDesc::beats, 0, false, "beats 0");
  vary(load, &LoadDesc::count, 0, false, "count 0");
  vary(load, &LoadDesc::chans, 0, false, "chans 0");
  vary(load, &LoadDesc::chans, 8, true, "RAW chans 8");
  vary(load, &LoadDesc::chans, 9, false, "RAW chans 9");
  vary(load, &LoadDesc::wait_compute, 1, true, "load wait_compute 1");
  vary(load, &LoadDesc::wait_compute, 2, false, "load wait_compute 2");
  vary(load, &LoadDesc::wait_out, 2, false, "load wait_out 2");
  LoadDesc nhwc = load;
  nhwc.mode = static_cast<std::int64_t>(LoadMode::kNhwc);
  vary(nhwc, &LoadDesc::chans, 9, true, "NHWC chans 9");
  vary(nhwc, &LoadDesc::chans, 0, false, "NHWC chans 0");
  LoadDesc planar = load;
  planar.mode = static_cast<std::int64_t>(LoadMode::kPlanar);
  planar.chans = 0;
  vary(planar, &LoadDesc::n, 0, false, "PLANAR n 0");
  vary(planar, &LoadDesc::n, 1, true, "PLANAR n 1");
  vary(store, &StoreDesc::groups, 0, false, "groups 0");
  vary(store, &StoreDesc::n, 0, false, "store n 0");
  vary(store, &StoreDesc::addr, 1, false, "store addr");
  vary(store, &StoreDesc::wait_compute, 2, false, "store wait_compute");
  vary(store, &StoreDesc::wait_load, 2, false, "store wait_load");
  vary(conf, &ConfDesc::classes, 0, false, "classes 0");
  vary(conf, &ConfDesc::classes, 1024, true, "classes 1024");
  vary(conf, &ConfDesc::classes, 1025, false, "classes 1025");
  vary(conf, &ConfDesc::addr, 32, false, "conf addr");
  vary(conf, &ConfDesc::wait_compute, 2, false, "conf wait_compute");
  vary(conf, &ConfDesc::wait_load, 2, false, "conf wait_load");
}

TEST(HvFront, RefusesReuseOfAReleasedSegment) {
  kestrel::tb::test::seed_of_run(12);
  ComputeDesc first;
  first.wnew = first.wwords = first.wrel = 1;
  Program program;
  program.descs = {encode(first), encode(ComputeDesc{}), encode(EndDesc{})};
  expect_refused(program, ErrorCause::kBadField, 1, "released");
  program.descs = {encode(ComputeDesc{}), encode(EndDesc{})};
  expect_refused(program, ErrorCause::kBadField, 0, "never loaded");
}

/// stop_i holds requests back.
TEST(HvFront, StopHoldsRequests) {
  Random rng(kestrel::tb::test::seed_of_run(13));
  Bench bench(3, {.latency = 5});
  bench.start(random_program(rng, 40));
  for (int i = 0; i < 100; ++i) {
    bench.step();
  }
  const std::uint64_t bursts = bench.bursts;
  EXPECT_GT(bursts, 2U);
  EXPECT_LT(bursts, 40U);
  bench.model().stop_i = 1;
  for (int i = 0; i < 300; ++i) {
    bench.step();
  }
  EXPECT_EQ(bench.bursts, bursts);
}

} // namespace
