// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Every rule of every protocol checker against a clean trace (which it must accept) and against the
// same trace with one fault (which it must catch, and name rightly).
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "testbench/cpp/axi_checker.hpp"
#include "testbench/cpp/axil_checker.hpp"
#include "testbench/cpp/axis_checker.hpp"

namespace kestrel::tb::test {
namespace {

// Runs a trace through a checker: one entry a cycle, then finish().
template <class Checker, class Trace> void run_trace(Checker &checker, const Trace &trace) {
  std::uint64_t cycle = 0;
  for (const auto &frame : trace) {
    frame.sample(checker, cycle++);
  }
  checker.finish(cycle);
}

// The violation `rule` is found, and no others but those in `also` (faults that imply each other).
template <class Rule>
void expect_only(const ViolationLog<Rule> &log, Rule rule, const std::set<Rule> &also) {
  EXPECT_GT(log.count(rule), 0U) << rule_name(rule) << " was not caught\n" << log.report();
  for (std::size_t i = 0; i < static_cast<std::size_t>(Rule::count_); ++i) {
    const auto other = static_cast<Rule>(i);
    if (other != rule && !also.contains(other)) {
      EXPECT_EQ(log.count(other), 0U) << log.report();
    }
  }
}

// Each fault names its rule; all rules have to be there.
template <class Trace, class Rule> struct Fault {
  Fault(Rule r, std::function<void(Trace &)> f, std::set<Rule> others = {})
      : rule(r), inject(std::move(f)), also(std::move(others)) {}
  Rule rule;
  std::function<void(Trace &)> inject;
  std::set<Rule> also;
};

template <class Rule, class Faults>
void expect_all_rules_covered(const Faults &faults, const std::set<Rule> &elsewhere = {}) {
  std::set<Rule> covered = elsewhere;
  for (const auto &fault : faults) {
    covered.insert(fault.rule);
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(Rule::count_); ++i) {
    EXPECT_TRUE(covered.contains(static_cast<Rule>(i)))
        << rule_name(static_cast<Rule>(i)) << " has no violating trace";
  }
}

// --- AXI4 ----------------------------------------------------------------------------------------

struct AxiFrame {
  AxiReadPorts read{};
  AxiWritePorts write{};
  bool in_reset = false;
  void sample(AxiChecker &checker, std::uint64_t cycle) const {
    checker.sample(cycle, read, write, in_reset);
  }
};
using AxiTrace = std::vector<AxiFrame>;

// Cycles of the clean trace that faults refer to.
enum : std::size_t {
  kReset = 0,   // 3 cycles
  kArWait = 4,  // ARVALID without ARREADY
  kArShake = 5, // its handshake: 4 beats at 0x1fe0, up to the 4 KiB boundary
  kRWait = 6,   // first beat without RREADY, in the cycle after the AR handshake
  kRShake = 7,  // beats in 7..10
  kWWait = 12,  // AW and W wait
  kWShake = 13, // their handshake: 3 beats at 0x3003 of 4 bytes, unaligned
  kWLast = 15,
  kBWait = 16, // BVALID without BREADY, in the cycle after WLAST
  kBShake = 17,
  kEarlyData = 19,  // W before its AW
  kEarlyShake = 20, // AW, one beat
  kEarlyB = 21,
  kWrap = 22, // AR of 4 beats WRAP at 0x1010
  kWrapLast = 26,
  kFixed = 27, // AR of 16 beats FIXED at 0x2004, 4 bytes each
  kFixedLast = 43,
  kTwoIds = 44, // two AR with IDs 1 and 2, answered 2 then 1; two AW likewise
  kEnd = 52
};

AxiTrace clean_axi() {
  AxiTrace t(kEnd);
  for (std::size_t i = 0; i < 3; ++i) {
    t[kReset + i].in_reset = true;
  }
  t[0].read.arvalid = true; // the first cycle of reset may have anything
  const auto ar = [&](std::size_t c, std::uint64_t addr, int len, int size, int burst,
                      std::uint32_t id, bool ready) {
    AxiReadPorts &p = t[c].read;
    p.arvalid = true;
    p.arready = ready;
    p.araddr = addr;
    p.arlen = static_cast<std::uint8_t>(len);
    p.arsize = static_cast<std::uint8_t>(size);
    p.arburst = static_cast<std::uint8_t>(burst);
    p.arid = id;
  };
  const auto r = [&](std::size_t c, std::uint64_t data, bool last, std::uint32_t id, bool ready) {
    AxiReadPorts &p = t[c].read;
    p.rvalid = true;
    p.rready = ready;
    p.rdata.words = {data, 0};
    p.rlast = last;
    p.rid = id;
  };
  const auto aw = [&](std::size_t c, std::uint64_t addr, int len, int size, std::uint32_t id,
                      bool ready) {
    AxiWritePorts &p = t[c].write;
    p.awvalid = true;
    p.awready = ready;
    p.awaddr = addr;
    p.awlen = static_cast<std::uint8_t>(len);
    p.awsize = static_cast<std::uint8_t>(size);
    p.awid = id;
  };
  const auto w = [&](std::size_t c, std::uint64_t data, int strb, bool last, bool ready) {
    AxiWritePorts &p = t[c].write;
    p.wvalid = true;
    p.wready = ready;
    p.wdata.words = {data, 0};
    p.wstrb = static_cast<std::uint16_t>(strb);
    p.wlast = last;
  };
  const auto b = [&](std::size_t c, std::uint32_t id, bool ready) {
    AxiWritePorts &p = t[c].write;
    p.bvalid = true;
    p.bready = ready;
    p.bid = id;
  };
  ar(kArWait, 0x1FE0, 3, 3, 1, 0, false);
  ar(kArShake, 0x1FE0, 3, 3, 1, 0, true);
  r(kRWait, 100, false, 0, false);
  for (std::size_t i = 0; i < 4; ++i) {
    r(kRShake + i, 100 + i, i == 3, 0, true);
  }
  aw(kWWait, 0x3003, 2, 2, 0, false);
  w(kWWait, 1, 0x08, false, false);
  aw(kWShake, 0x3003, 2, 2, 0, true);
  w(kWShake, 1, 0x08, false, true);
  w(kWShake + 1, 2, 0xF0, false, true);
  w(kWLast, 3, 0x03, true, true); // strobes may leave out bytes of the lanes 0x0F
  b(kBWait, 0, false);
  b(kBShake, 0, true);
  w(kEarlyData, 9, 0xFF, true, true);
  aw(kEarlyShake, 0x4000, 0, 3, 0, true);
  b(kEarlyB, 0, true);
  ar(kWrap, 0x1010, 3, 3, 2, 0, true);
  for (std::size_t i = 0; i < 4; ++i) {
    r(kWrap + 1 + i, 200 + i, i == 3, 0, true);
  }
  ar(kFixed, 0x2004, 15, 2, 0, 0, true);
  for (std::size_t i = 0; i < 16; ++i) {
    r(kFixed + 1 + i, 300 + i, i == 15, 0, true);
  }
  ar(kTwoIds, 0x5000, 0, 3, 1, 1, true);
  ar(kTwoIds + 1, 0x6000, 1, 3, 1, 2, true);
  aw(kTwoIds, 0x7000, 0, 3, 1, true);
  w(kTwoIds, 4, 0xFF, true, true);
  aw(kTwoIds + 1, 0x8000, 0, 3, 2, true);
  w(kTwoIds + 1, 5, 0xFF, true, true);
  r(kTwoIds + 2, 400, false, 2, true);
  r(kTwoIds + 3, 401, false, 1, true);
  t[kTwoIds + 3].read.rlast = true; // one beat of ID 1 between the two of ID 2
  r(kTwoIds + 4, 402, true, 2, true);
  b(kTwoIds + 5, 2, true);
  b(kTwoIds + 6, 1, true);
  return t;
}

// Makes the AR burst that is offered in kArWait and kArShake another one.
void set_ar(AxiTrace &t, std::uint64_t addr, int len, int size, int burst) {
  for (const std::size_t c : {kArWait, kArShake}) {
    t[c].read.araddr = addr;
    t[c].read.arlen = static_cast<std::uint8_t>(len);
    t[c].read.arsize = static_cast<std::uint8_t>(size);
    t[c].read.arburst = static_cast<std::uint8_t>(burst);
  }
}
void set_aw(AxiTrace &t, std::uint64_t addr, int len, int size, int burst) {
  for (const std::size_t c : {kWWait, kWShake}) {
    t[c].write.awaddr = addr;
    t[c].write.awlen = static_cast<std::uint8_t>(len);
    t[c].write.awsize = static_cast<std::uint8_t>(size);
    t[c].write.awburst = static_cast<std::uint8_t>(burst);
  }
}

// Faults of the address channels leave data channels that no longer fit.
const std::set<AxiRule> kReadAftermath = {AxiRule::r_last, AxiRule::r_without_ar,
                                          AxiRule::end_reads};
const std::set<AxiRule> kWriteAftermath = {AxiRule::w_last,         AxiRule::w_strb,
                                           AxiRule::b_without_aw,   AxiRule::end_writes,
                                           AxiRule::end_write_data, AxiRule::b_before_wlast};

const std::vector<Fault<AxiTrace, AxiRule>> &axi_faults() {
  using T = AxiTrace;
  using R = AxiRule;
  static const std::vector<Fault<AxiTrace, AxiRule>> faults = {
      {R::reset_valid, [](T &t) { t[1].read.arvalid = true; }},
      {R::reset_valid, [](T &t) { t[2].write.awvalid = true; }},
      {R::reset_valid, [](T &t) { t[2].write.wvalid = true; }},
      {R::reset_valid, [](T &t) { t[2].read.rvalid = true; }},
      {R::reset_valid, [](T &t) { t[2].write.bvalid = true; }},
      {R::ar_valid_drop, [](T &t) { t[kArShake].read.arvalid = false; }, kReadAftermath},
      {R::ar_stable, [](T &t) { t[kArWait].read.araddr = 0x1FC0; }},
      {R::ar_stable, [](T &t) { t[kArWait].read.arlen = 2; }},
      {R::ar_stable, [](T &t) { t[kArWait].read.arid = 1; }},
      {R::ar_stable, [](T &t) { t[kArWait].read.arsize = 2; }},
      {R::ar_stable, [](T &t) { t[kArWait].read.arburst = 0; }},
      {R::ar_4k, [](T &t) { set_ar(t, 0x1FE8, 3, 3, 1); }},
      {R::ar_size, [](T &t) { set_ar(t, 0x1000, 3, 4, 1); }},
      {R::ar_burst, [](T &t) { set_ar(t, 0x1000, 3, 3, 3); }},
      {R::ar_len, [](T &t) { set_ar(t, 0x1000, 16, 3, 0); }, kReadAftermath},
      {R::ar_len, [](T &t) { set_ar(t, 0x1000, 2, 3, 2); }, kReadAftermath},
      {R::ar_wrap_align, [](T &t) { set_ar(t, 0x1004, 3, 3, 2); }},
      {R::aw_valid_drop, [](T &t) { t[kWShake].write.awvalid = false; }, kWriteAftermath},
      {R::aw_stable, [](T &t) { t[kWWait].write.awaddr = 0x3007; }},
      {R::aw_stable, [](T &t) { t[kWWait].write.awlen = 1; }},
      {R::aw_4k, [](T &t) { set_aw(t, 0x3FF8, 2, 2, 1); }, {R::w_strb}},
      {R::aw_size, [](T &t) { set_aw(t, 0x3000, 2, 4, 1); }},
      {R::aw_burst, [](T &t) { set_aw(t, 0x3000, 2, 3, 3); }, {R::w_strb}},
      {R::aw_len, [](T &t) { set_aw(t, 0x3000, 2, 3, 2); }, {R::w_strb}},
      {R::aw_len, [](T &t) { set_aw(t, 0x3000, 20, 3, 0); }, kWriteAftermath},
      {R::aw_wrap_align,
       [](T &t) { set_aw(t, 0x3002, 3, 2, 2); },
       {R::w_strb, R::w_last, R::end_writes, R::b_without_aw, R::b_before_wlast}},
      {R::w_valid_drop, [](T &t) { t[kWShake].write.wvalid = false; }, kWriteAftermath},
      {R::w_stable, [](T &t) { t[kWWait].write.wdata.words[0] = 77; }},
      {R::w_stable, [](T &t) { t[kWWait].write.wstrb = 0; }},
      {R::w_stable, [](T &t) { t[kWWait].write.wlast = true; }},
      {R::w_last, [](T &t) { t[kWLast].write.wlast = false; }},
      {R::w_last,
       [](T &t) {
         t[kWShake + 1].write.wlast = true;
         t[kWLast].write.wvalid = false;
       }},
      {R::w_last, [](T &t) { t[kEarlyData].write.wlast = false; }},
      {R::w_strb, [](T &t) { t[kWShake + 1].write.wstrb = 0xF8; }},
      {R::w_strb,
       [](T &t) {
         t[kWWait].write.wstrb = 0x0C;
         t[kWShake].write.wstrb = 0x0C;
       }},
      {R::r_valid_drop, [](T &t) { t[kRShake].read.rvalid = false; }, {R::r_last, R::end_reads}},
      {R::r_stable, [](T &t) { t[kRWait].read.rdata.words[0] = 5; }},
      {R::r_stable, [](T &t) { t[kRWait].read.rdata.words[1] = 5; }},
      {R::r_stable, [](T &t) { t[kRWait].read.rresp = 2; }},
      {R::r_last, [](T &t) { t[kRShake + 3].read.rlast = false; }},
      {R::r_last, [](T &t) { t[kRShake + 2].read.rlast = true; }, {R::r_without_ar}},
      {R::r_without_ar,
       [](T &t) {
         t[kRShake + 4].read.rvalid = true;
         t[kRShake + 4].read.rready = true;
       }},
      // In the very cycle of the AR handshake: no later beat is missing.
      {R::r_without_ar,
       [](T &t) {
         t[kWrap].read.rvalid = true;
         t[kWrap].read.rready = true;
       }},
      {R::r_id, [](T &t) { t[kRShake + 1].read.rid = 3; }, {R::r_last, R::end_reads}},
      {R::r_resp, [](T &t) { t[kRShake + 1].read.rresp = 1; }},
      {R::b_valid_drop, [](T &t) { t[kBShake].write.bvalid = false; }, {R::end_writes}},
      {R::b_stable, [](T &t) { t[kBWait].write.bresp = 2; }},
      {R::b_without_aw,
       [](T &t) {
         t[kBShake + 1].write.bvalid = true;
         t[kBShake + 1].write.bready = true;
       }},
      // Data is there, the address comes in this cycle.
      {R::b_without_aw,
       [](T &t) {
         t[kEarlyShake].write.bvalid = true;
         t[kEarlyShake].write.bready = true;
         t[kEarlyB].write.bvalid = false;
       },
       {R::end_writes}},
      {R::b_before_wlast,
       [](T &t) {
         t[kWLast].write.bvalid = true; // in the cycle of the last W handshake
         t[kWLast].write.bready = false;
       }},
      {R::b_before_wlast,
       [](T &t) {
         t[kWLast].write.wvalid = false;
         t[kWShake + 1].write.wlast = false;
       },
       {R::w_last, R::end_writes, R::w_strb, R::end_write_data, R::b_without_aw}},
      {R::b_id, [](T &t) { t[kTwoIds + 5].write.bid = 7; }, {R::end_writes}},
      {R::b_resp, [](T &t) { t[kEarlyB].write.bresp = 1; }},
      {R::end_reads, [](T &t) { t.resize(kTwoIds + 4); }, {R::end_writes}},
      {R::end_writes, [](T &t) { t.resize(kTwoIds + 6); }},
      {R::end_writes, [](T &t) { t.resize(kWLast); }},
      {R::end_write_data, [](T &t) { t.resize(kEarlyShake); }},
  };
  return faults;
}

TEST(axi_checker, accepts_the_clean_trace) {
  AxiChecker checker;
  run_trace(checker, clean_axi());
  EXPECT_TRUE(checker.ok()) << checker.log().report();
  EXPECT_EQ(checker.read_bursts(), 5U);
  EXPECT_EQ(checker.read_beats(), 4U + 4 + 16 + 1 + 2);
  EXPECT_EQ(checker.write_bursts(), 4U);
  EXPECT_EQ(checker.write_beats(), 3U + 1 + 1 + 1);
}

TEST(axi_checker, catches_every_fault) {
  for (const auto &fault : axi_faults()) {
    SCOPED_TRACE(rule_name(fault.rule));
    AxiTrace trace = clean_axi();
    fault.inject(trace);
    AxiChecker checker;
    run_trace(checker, trace);
    expect_only(checker.log(), fault.rule, fault.also);
  }
  // The rules of the memory model have their traces in its own test (hazards.*).
  expect_all_rules_covered<AxiRule>(axi_faults(),
                                    {AxiRule::mem_read_hazard, AxiRule::mem_write_hazard});
}

TEST(axi_checker, options_narrow_what_is_allowed) {
  AxiCheckerConfig config;
  config.incr_only = true;
  AxiChecker incr(config);
  run_trace(incr, clean_axi());
  EXPECT_EQ(incr.log().count(AxiRule::ar_burst), 2U);
  EXPECT_EQ(incr.log().total(), 2U);

  config = {};
  config.full_width_only = true;
  AxiChecker full(config);
  run_trace(full, clean_axi());
  EXPECT_EQ(full.log().count(AxiRule::ar_size), 1U);
  EXPECT_EQ(full.log().count(AxiRule::aw_size), 1U);

  config = {};
  config.max_beats = 2;
  AxiChecker shorter(config);
  run_trace(shorter, clean_axi());
  EXPECT_EQ(shorter.log().count(AxiRule::ar_len), 1U);
  EXPECT_EQ(shorter.log().count(AxiRule::aw_len), 1U);

  config = {};
  config.data_bytes = 16;
  AxiTrace wide = clean_axi();
  set_ar(wide, 0x1000, 3, 4, 1);
  AxiChecker wider(config);
  run_trace(wider, wide);
  EXPECT_EQ(wider.log().count(AxiRule::ar_size), 0U);
}

// Bursts that end with the last byte of a 4 KiB page, also from an unaligned start.
TEST(axi_checker, accepts_bursts_up_to_the_boundary) {
  const auto violations = [](std::uint64_t addr, int len, int size) {
    AxiTrace trace = clean_axi();
    set_ar(trace, addr, len, size, 1);
    AxiChecker checker;
    run_trace(checker, trace);
    return checker.log().count(AxiRule::ar_4k);
  };
  EXPECT_EQ(violations(0x1FFF, 0, 3), 0U);
  EXPECT_EQ(violations(0x1FFF, 0, 0), 0U);
  EXPECT_EQ(violations(0x1FE1, 3, 3), 0U);
  EXPECT_EQ(violations(0x1801, 255, 3), 0U);
  EXPECT_EQ(violations(0x1FFF, 1, 0), 1U);
  EXPECT_EQ(violations(0x1FE1, 4, 3), 1U);
  EXPECT_EQ(violations(0x1808, 255, 3), 1U);
}

TEST(axi_checker, reset_forgets_what_was_outstanding) {
  AxiTrace trace = clean_axi();
  trace.resize(kRShake + 1); // in the middle of a read burst
  for (int i = 0; i < 3; ++i) {
    trace.push_back({});
    trace.back().in_reset = true;
  }
  trace.push_back({});
  AxiChecker checker;
  run_trace(checker, trace);
  EXPECT_TRUE(checker.ok()) << checker.log().report();
}

TEST(violation_log, counts_all_keeps_some_and_reports) {
  AxiTrace trace(100);
  for (auto &frame : trace) {
    frame.read.rvalid = frame.read.rready = true;
  }
  AxiCheckerConfig config;
  config.max_kept = 3;
  AxiChecker checker(config);
  run_trace(checker, trace);
  EXPECT_EQ(checker.log().total(), 100U);
  EXPECT_EQ(checker.log().kept().size(), 3U);
  EXPECT_EQ(checker.log().kept()[1].cycle, 1U);
  const std::string report = checker.log().report("m_axi");
  EXPECT_NE(report.find("m_axi: AXI_R_WITHOUT_AR at cycle 2: "), std::string::npos) << report;
  EXPECT_NE(report.find("and 97 more"), std::string::npos) << report;
  checker.log().clear();
  EXPECT_TRUE(checker.ok());
  EXPECT_EQ(checker.log().report(), "");
}

// --- AXI4-Lite -----------------------------------------------------------------------------------

struct AxilFrame {
  AxilPorts ports{};
  bool in_reset = false;
  void sample(AxilChecker &checker, std::uint64_t cycle) const {
    checker.sample(cycle, ports, in_reset);
  }
};
using AxilTrace = std::vector<AxilFrame>;

// 0..2 reset; 3 AR waits, 4 AR; 5 R waits, 6 R; 8 AW and W wait, 9 AW, 10 W; 11 B waits, 12 B;
// 13 W before 14 AW, 15 B; 16, 17 two AR, 18, 19 their R.
AxilTrace clean_axil() {
  AxilTrace t(21);
  for (std::size_t i = 0; i < 3; ++i) {
    t[i].in_reset = true;
  }
  t[0].ports.wvalid = true;
  const auto ar = [&](std::size_t c, std::uint32_t addr, bool ready) {
    t[c].ports.arvalid = true;
    t[c].ports.araddr = addr;
    t[c].ports.arready = ready;
  };
  const auto r = [&](std::size_t c, std::uint32_t data, bool ready) {
    t[c].ports.rvalid = true;
    t[c].ports.rdata = data;
    t[c].ports.rready = ready;
  };
  const auto aw = [&](std::size_t c, std::uint32_t addr, bool ready) {
    t[c].ports.awvalid = true;
    t[c].ports.awaddr = addr;
    t[c].ports.awready = ready;
  };
  const auto w = [&](std::size_t c, std::uint32_t data, bool ready) {
    t[c].ports.wvalid = true;
    t[c].ports.wdata = data;
    t[c].ports.wstrb = 0xF;
    t[c].ports.wready = ready;
  };
  const auto b = [&](std::size_t c, bool ready) {
    t[c].ports.bvalid = true;
    t[c].ports.bready = ready;
  };
  ar(3, 0x10, false);
  ar(4, 0x10, true);
  r(5, 42, false);
  r(6, 42, true);
  aw(8, 0x20, false);
  w(8, 7, false);
  aw(9, 0x20, true);
  w(9, 7, false);
  w(10, 7, true);
  b(11, false);
  b(12, true);
  w(13, 8, true);
  aw(14, 0x24, true);
  b(15, true);
  ar(16, 0x30, true);
  ar(17, 0x34, true);
  r(18, 1, true);
  r(19, 2, true);
  return t;
}

const std::vector<Fault<AxilTrace, AxilRule>> &axil_faults() {
  using T = AxilTrace;
  using R = AxilRule;
  static const std::vector<Fault<AxilTrace, AxilRule>> faults = {
      {R::reset_valid, [](T &t) { t[1].ports.rvalid = true; }},
      {R::reset_valid, [](T &t) { t[2].ports.bvalid = true; }},
      {R::reset_valid, [](T &t) { t[2].ports.arvalid = true; }},
      {R::reset_valid, [](T &t) { t[2].ports.awvalid = true; }},
      {R::reset_valid, [](T &t) { t[2].ports.wvalid = true; }},
      {R::ar_valid_drop, [](T &t) { t[4].ports.arvalid = false; }, {R::r_without_ar}},
      {R::ar_stable, [](T &t) { t[4].ports.araddr = 0x14; }},
      {R::aw_valid_drop,
       [](T &t) { t[9].ports.awvalid = false; },
       {R::b_without_aw, R::end_writes}},
      {R::aw_stable, [](T &t) { t[9].ports.awaddr = 0x14; }},
      {R::w_valid_drop, [](T &t) { t[9].ports.wvalid = false; }},
      {R::w_stable, [](T &t) { t[10].ports.wdata = 9; }},
      {R::w_stable, [](T &t) { t[10].ports.wstrb = 1; }},
      {R::r_valid_drop, [](T &t) { t[6].ports.rvalid = false; }, {R::end_reads}},
      {R::r_stable, [](T &t) { t[6].ports.rdata = 43; }},
      {R::r_stable, [](T &t) { t[6].ports.rresp = 2; }},
      {R::b_valid_drop, [](T &t) { t[12].ports.bvalid = false; }, {R::end_writes}},
      {R::b_stable, [](T &t) { t[12].ports.bresp = 3; }},
      {R::r_without_ar, [](T &t) { t[7].ports.rvalid = t[7].ports.rready = true; }},
      {R::r_without_ar, // in the cycle of its own AR handshake
       [](T &t) {
         t[16].ports.rvalid = t[16].ports.rready = true;
         t[19].ports.rvalid = false;
       },
       {R::end_reads}},
      {R::b_without_aw, // the W of 13 is there, its AW handshake is in this cycle
       [](T &t) {
         t[14].ports.bvalid = t[14].ports.bready = true;
         t[15].ports.bvalid = false;
       },
       {R::end_writes}},
      {R::b_without_w, // AW is there, its W handshake is in this cycle
       [](T &t) { t[10].ports.bvalid = true; }},
      {R::r_resp, [](T &t) { t[18].ports.rresp = 1; }},
      {R::b_resp, [](T &t) { t[15].ports.bresp = 1; }},
      {R::end_reads, [](T &t) { t.resize(19); }},
      {R::end_writes, [](T &t) { t.resize(15); }},
      {R::end_writes, [](T &t) { t.resize(14); }},
  };
  return faults;
}

TEST(axil_checker, accepts_the_clean_trace) {
  AxilChecker checker;
  run_trace(checker, clean_axil());
  EXPECT_TRUE(checker.ok()) << checker.log().report();
  EXPECT_EQ(checker.reads(), 3U);
  EXPECT_EQ(checker.writes(), 2U);
}

TEST(axil_checker, catches_every_fault) {
  for (const auto &fault : axil_faults()) {
    SCOPED_TRACE(rule_name(fault.rule));
    AxilTrace trace = clean_axil();
    fault.inject(trace);
    AxilChecker checker;
    run_trace(checker, trace);
    expect_only(checker.log(), fault.rule, fault.also);
  }
  expect_all_rules_covered<AxilRule>(axil_faults());
}

// --- AXI-Stream ----------------------------------------------------------------------------------

struct AxisFrame {
  AxisPorts ports{};
  bool in_reset = false;
  void sample(AxisChecker &checker, std::uint64_t cycle) const {
    checker.sample(cycle, ports, in_reset);
  }
};
using AxisTrace = std::vector<AxisFrame>;

// 0..2 reset; a packet of three beats in 4 (waits), 5, 6, 8 with 5 bytes in the last, another of
// three full beats in 9, 10, 11.
AxisTrace clean_axis() {
  AxisTrace t(13);
  for (std::size_t i = 0; i < 3; ++i) {
    t[i].in_reset = true;
  }
  t[0].ports.tvalid = true;
  const auto beat = [&](std::size_t c, std::uint64_t data, std::uint64_t keep, bool last,
                        bool ready) {
    t[c].ports.tvalid = true;
    t[c].ports.tready = ready;
    t[c].ports.beat.data.words[0] = data;
    t[c].ports.beat.keep = keep;
    t[c].ports.beat.last = last;
  };
  beat(4, 1, 0xFF, false, false);
  beat(5, 1, 0xFF, false, true);
  beat(6, 2, 0xFF, false, true);
  beat(8, 3, 0x1F, true, true);
  beat(9, 4, 0xFF, false, true);
  beat(10, 5, 0xFF, false, true);
  beat(11, 6, 0xFF, true, true);
  return t;
}

const std::vector<Fault<AxisTrace, AxisRule>> &axis_faults() {
  using T = AxisTrace;
  using R = AxisRule;
  static const std::vector<Fault<AxisTrace, AxisRule>> faults = {
      {R::reset_valid, [](T &t) { t[1].ports.tvalid = true; }},
      {R::valid_drop, [](T &t) { t[5].ports.tvalid = false; }, {R::last_early, R::last_late}},
      {R::stable, [](T &t) { t[5].ports.beat.data.words[0] = 9; }},
      {R::stable, [](T &t) { t[5].ports.beat.data.words[7] = 9; }},
      {R::stable, [](T &t) { t[5].ports.beat.keep = 0x7F; }},
      {R::stable, [](T &t) { t[4].ports.beat.last = true; }, {R::last_early}},
      {R::keep_range, [](T &t) { t[8].ports.beat.keep = 0x1FF; }},
      {R::keep_partial, [](T &t) { t[6].ports.beat.keep = 0x7F; }},
      {R::keep_gap, [](T &t) { t[8].ports.beat.keep = 0x1D; }},
      {R::keep_gap, [](T &t) { t[8].ports.beat.keep = 0x1E; }},
      {R::keep_gap, [](T &t) { t[8].ports.beat.keep = 0; }},
      {R::last_early,
       [](T &t) {
         t[10].ports.beat.last = true;
         t.resize(11);
       }},
      {R::last_late, [](T &t) { t[11].ports.beat.last = false; }, {R::end_partial}},
      {R::end_partial, [](T &t) { t.resize(11); }},
      {R::end_waiting, [](T &t) { t.resize(5); }},
  };
  return faults;
}

AxisCheckerConfig three_beats() {
  AxisCheckerConfig config;
  config.packet_beats = 3;
  return config;
}

TEST(axis_checker, accepts_the_clean_trace) {
  for (const auto &config : {three_beats(), AxisCheckerConfig{}}) {
    AxisChecker checker(config);
    run_trace(checker, clean_axis());
    EXPECT_TRUE(checker.ok()) << checker.log().report();
    EXPECT_EQ(checker.beats(), 6U);
    EXPECT_EQ(checker.packets(), 2U);
  }
}

TEST(axis_checker, catches_every_fault) {
  for (const auto &fault : axis_faults()) {
    SCOPED_TRACE(rule_name(fault.rule));
    AxisTrace trace = clean_axis();
    fault.inject(trace);
    AxisChecker checker(three_beats());
    run_trace(checker, trace);
    expect_only(checker.log(), fault.rule, fault.also);
  }
  expect_all_rules_covered<AxisRule>(axis_faults());
}

TEST(axis_checker, tlast_rules_are_optional) {
  AxisTrace trace = clean_axis();
  trace[11].ports.beat.last = false;
  AxisCheckerConfig config;
  config.expect_last = false;
  AxisChecker checker(config);
  run_trace(checker, trace);
  EXPECT_TRUE(checker.ok()) << checker.log().report();
}

} // namespace
} // namespace kestrel::tb::test
