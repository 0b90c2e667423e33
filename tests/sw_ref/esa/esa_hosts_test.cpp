// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// End hosts of the aggregation protocol, rule by rule.
#include "sw_ref/esa/hosts.hpp"

#include <bit>

#include <gtest/gtest.h>

namespace kestrel::esa::ref {
namespace {

HostConfig config(Policy policy = Policy::kEsa, unsigned fan_in = 3) {
  HostConfig c;
  c.policy = policy;
  c.job = make_job(5, std::vector<unsigned>(fan_in, 0), 7);
  c.job.pool_size = 4;
  c.slots = 16;
  c.sequences = 1000;
  c.window_start = 8;
  c.window_max = 64;
  c.timeout = 1000;
  c.reminder = 100;
  return c;
}

std::vector<std::int32_t> values(std::uint32_t seq) { return {static_cast<std::int32_t>(seq), 1}; }

Worker make_worker(const HostConfig &c, unsigned index) {
  return {c, index, values, [](std::uint32_t) { return std::uint8_t{9}; }};
}

Packet from(unsigned worker, std::uint32_t seq, Type type = Type::kData) {
  Packet p;
  p.type = type;
  p.job = 5;
  p.fan_in = 3;
  p.seq = seq;
  p.slot = 1;
  p.bitmap = 1U << worker;
  p.count = 1;
  p.format = Format::kInt32;
  p.values = {1 << (8 * worker), 5};
  return p;
}

Packet result(std::uint32_t seq, std::uint8_t flags = 0, unsigned fan_in = 3) {
  Packet p = from(0, seq, Type::kResult);
  p.flags = flags;
  p.bitmap = (1U << fan_in) - 1;
  p.count = static_cast<std::uint8_t>(fan_in);
  return p;
}

TEST(SlotHash, IsCrc32) {
  // CRC-32 of ten zero bytes, and of 00 01 00 00 00 02 00 00 00 03 (zlib.crc32).
  EXPECT_EQ(slot_hash(0, 0, 0), 0xE38A6876U);
  EXPECT_EQ(slot_hash(1, 2, 3), 0x17387EEFU);
}

TEST(WorkerWindow, StartsFullAndGrowsByOneAResultThenOneAWindow) {
  HostConfig c = config();
  Worker w = make_worker(c, 1);
  std::vector<Packet> out;
  w.poll(0, out);
  ASSERT_EQ(out.size(), 8U);
  for (std::uint32_t i = 0; i < 8; ++i) {
    EXPECT_EQ(out[i].seq, i);
    EXPECT_EQ(out[i].type, Type::kData);
    EXPECT_EQ(out[i].bitmap, 2U);
    EXPECT_EQ(out[i].prio, 9);
    EXPECT_EQ(out[i].slot, slot_hash(5, i, 0) % 16);
  }
  out.clear();
  w.receive(result(0), 10, out);
  EXPECT_EQ(w.window(), 9U);
  EXPECT_EQ(out.size(), 2U);
  // A congestion mark halves, once for each window; from then on it grows by one a window.
  w.receive(result(1, flag::kEcn), 11, out);
  EXPECT_EQ(w.window(), 4U);
  w.receive(result(2, flag::kEcn), 12, out);
  EXPECT_EQ(w.window(), 4U);
  out.clear();
  std::uint32_t next = 3;
  while (w.window() == 4) {
    w.receive(result(next++), 13, out);
    ASSERT_LT(next, 20U);
  }
  EXPECT_EQ(next, 7U) << "four results for one more packet";
}

TEST(WorkerWindow, NeverBeyondItsMost) {
  HostConfig c = config();
  c.window_max = 10;
  Worker w = make_worker(c, 0);
  std::vector<Packet> out;
  w.poll(0, out);
  for (std::uint32_t i = 0; i < 100; ++i) {
    w.receive(result(i), i, out);
    ASSERT_LE(w.window(), 10U);
  }
}

TEST(WorkerLoss, ThreeLaterResultsMakeItResendAndHalve) {
  HostConfig c = config();
  Worker w = make_worker(c, 0);
  std::vector<Packet> out;
  w.poll(0, out);
  out.clear();
  w.receive(result(1), 1, out);
  w.receive(result(2), 1, out);
  for (const Packet &p : out) {
    EXPECT_EQ(p.type, Type::kData);
  }
  out.clear();
  w.receive(result(3), 1, out);
  ASSERT_FALSE(out.empty());
  EXPECT_EQ(out[0].type, Type::kResend);
  EXPECT_EQ(out[0].seq, 0U);
  EXPECT_EQ(out[0].bitmap, 1U);
  EXPECT_EQ(w.counters().halved, 1U);
}

TEST(WorkerLoss, TimeoutsResendAndBackOff) {
  HostConfig c = config();
  c.sequences = 1;
  Worker w = make_worker(c, 2);
  std::vector<Packet> out;
  w.poll(0, out);
  Time expected = 1000;
  Time wait = 1000;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(w.next_timer(), expected);
    out.clear();
    w.poll(expected - 1, out);
    EXPECT_TRUE(out.empty());
    w.poll(expected, out);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].type, Type::kResend);
    EXPECT_EQ(out[0].flags, flag::kRetransmit);
    wait = std::min<Time>(wait * 2, 64'000);
    expected += wait;
  }
  out.clear();
  w.receive(result(0), expected, out);
  EXPECT_TRUE(w.done());
  EXPECT_TRUE(out.empty());
  w.receive(result(0), expected, out);
  EXPECT_EQ(w.counters().stale, 1U);
}

TEST(WorkerRequest, AnswersWithItsShareOrWithTheResult) {
  HostConfig c = config();
  Worker w = make_worker(c, 1);
  std::vector<Packet> out;
  w.poll(0, out);
  out.clear();
  Packet ask = from(0, 2, Type::kReminder);
  ask.flags = flag::kNegative;
  ask.bitmap = 0b101;
  w.receive(ask, 1, out);
  EXPECT_TRUE(out.empty()) << "not asked";
  ask.bitmap = 0b010;
  w.receive(ask, 1, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].type, Type::kResend);
  EXPECT_EQ(out[0].bitmap, 2U);
  out.clear();
  w.receive(result(2), 2, out);
  out.clear();
  w.receive(ask, 3, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].bitmap, 7U);
  EXPECT_EQ(out[0].count, 3);
  EXPECT_EQ(out[0].values, result(2).values);
  out.clear();
  ask.seq = 900; // not there yet: its oldest one, which the others are done with
  w.receive(ask, 3, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].type, Type::kResend);
  EXPECT_EQ(out[0].seq, 0U);
}

TEST(WorkerRequest, DoesNotLengthenTheTimeout) {
  HostConfig c = config();
  c.sequences = 1;
  Worker w = make_worker(c, 1);
  std::vector<Packet> out;
  w.poll(0, out);
  Packet ask = from(0, 0, Type::kReminder);
  ask.flags = flag::kNegative;
  ask.bitmap = 0b010;
  for (Time now = 100; now < 900; now += 100) {
    out.clear();
    w.receive(ask, now, out);
    ASSERT_EQ(out.size(), 1U);
  }
  out.clear();
  w.poll(1799, out);
  EXPECT_TRUE(out.empty());
  w.poll(1800, out); // 1000 after the last answer
  EXPECT_EQ(out.size(), 1U);
}

TEST(WorkerPlaces, ASlotProposedByThePsIsTakenForTheNextUseOfThePlace) {
  HostConfig c = config();
  c.window_start = c.window_max = 4;
  Worker w = make_worker(c, 0);
  std::vector<Packet> out;
  w.poll(0, out);
  ASSERT_EQ(out.size(), 4U);
  out.clear();
  Packet r = result(0);
  r.slot = 13;
  w.receive(r, 1, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].seq, 4U);
  EXPECT_EQ(out[0].slot, 13);
  // A place is used again only after its aggregation: 5 waits for 1.
  out.clear();
  w.receive(result(2), 1, out);
  EXPECT_TRUE(out.empty());
}

TEST(SwitchMlWorker, SendsIntoASlotOnlyOnReceipt) {
  HostConfig c = config(Policy::kSwitchMl);
  Worker w = make_worker(c, 0);
  std::vector<Packet> out;
  w.poll(0, out);
  ASSERT_EQ(out.size(), 4U);
  out.clear();
  w.receive(result(2), 1, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].seq, 6U);
  EXPECT_EQ(out[0].slot, 2);
  EXPECT_EQ(out[0].flags, flag::kSet);
  out.clear();
  w.poll(1000, out);
  ASSERT_EQ(out.size(), 3U);
  EXPECT_EQ(out[0].type, Type::kData) << "there is no PS";
  EXPECT_EQ(out[0].flags, flag::kRetransmit);
}

TEST(Ps, AddsWhatIsNewAndRejectsTheRestWhole) {
  const HostConfig c = config();
  ParameterServer ps(c);
  std::vector<Packet> out;
  ps.receive(from(0, 4), 0, out);
  Packet two = from(1, 4, Type::kPartial);
  two.bitmap = 0b011;
  two.count = 2;
  ps.receive(two, 1, out); // 0 is counted already
  EXPECT_EQ(ps.counters().rejected, 1U);
  EXPECT_TRUE(out.empty());
  ps.receive(from(2, 4, Type::kResend), 2, out);
  ps.receive(from(1, 4, Type::kResend), 2, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].type, Type::kResult);
  EXPECT_EQ(out[0].values, (std::vector<std::int32_t>{0x010101, 15}));
  EXPECT_EQ(out[0].bitmap, 7U);
  EXPECT_EQ(out[0].count, 3);
  EXPECT_NE(out[0].slot, from(0, 4).slot) << "a DATA packet was refused: another slot";
  // Again on any later duplicate.
  out.clear();
  ps.receive(two, 3, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].values, (std::vector<std::int32_t>{0x010101, 15}));
}

TEST(Ps, AdoptsTheWholeResult) {
  const HostConfig c = config();
  ParameterServer ps(c);
  std::vector<Packet> out;
  ps.receive(from(0, 4, Type::kResend), 0, out);
  Packet whole = result(4);
  whole.type = Type::kResend;
  whole.values = {77, 78};
  ps.receive(whole, 1, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].values, (std::vector<std::int32_t>{77, 78}));
  EXPECT_EQ(out[0].slot, 1) << "no collision: the slot stays";
}

TEST(Ps, AdoptsNoIndicesOfASingleWorker) {
  HostConfig c = config(Policy::kEsa, 1);
  c.job.format = Format::kThcSum8;
  c.job.table = {0, 3, 5, 7, 9, 11, 13, 14, 16, 17, 19, 21, 23, 25, 27, 30};
  ParameterServer ps(c);
  std::vector<Packet> out;
  Packet p = from(0, 0, Type::kResend);
  p.fan_in = 1;
  p.format = Format::kThcIndex4;
  p.values = {15, 1};
  ps.receive(p, 0, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].values, (std::vector<std::int32_t>{30, 3}));
}

TEST(Hosts, IgnoreAnotherStartOfTheJob) {
  for (const Policy policy : {Policy::kEsa, Policy::kAtp, Policy::kSwitchMl}) {
    HostConfig c = config(policy);
    c.job.epoch = 3;
    Worker worker = make_worker(c, 0);
    std::vector<Packet> out;
    worker.poll(0, out);
    ASSERT_FALSE(out.empty());
    EXPECT_EQ(out[0].epoch, 3);
    out.clear();
    Packet old = result(0);
    old.epoch = 2; // late, of the start before
    worker.receive(old, 1, out);
    EXPECT_EQ(worker.delivered(), 0U);
    Packet asked = old;
    asked.type = Type::kReminder;
    asked.flags = flag::kNegative;
    worker.receive(asked, 1, out);
    EXPECT_TRUE(out.empty());
    old.epoch = 3;
    worker.receive(old, 1, out);
    EXPECT_EQ(worker.delivered(), 1U);

    ParameterServer ps(c);
    out.clear();
    for (unsigned w = 0; w < 3; ++w) {
      ps.receive(from(w, 0), 0, out); // epoch 0
    }
    EXPECT_TRUE(out.empty());
    for (unsigned w = 0; w < 3; ++w) {
      Packet p = from(w, 0);
      p.epoch = 3;
      ps.receive(p, 0, out);
    }
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].epoch, 3);
    EXPECT_EQ(out[0].values, (std::vector<std::int32_t>{0x010101, 15}));
  }
}

TEST(Ps, RemindsAsksAndReports) {
  HostConfig c = config();
  c.give_up = 5;
  ParameterServer ps(c);
  std::vector<Packet> out;
  ps.receive(from(0, 4), 0, out);
  EXPECT_EQ(ps.next_timer(), 100U);
  ps.poll(99, out);
  EXPECT_TRUE(out.empty());
  ps.poll(100, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].type, Type::kReminder);
  EXPECT_EQ(out[0].flags, 0);
  Packet negative = out[0];
  negative.flags = flag::kNegative;
  out.clear();
  ps.receive(negative, 110, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].flags, flag::kNegative);
  EXPECT_EQ(out[0].bitmap, 0b110U) << "those who are missing";
  EXPECT_TRUE(ps.reports().empty());
  for (int i = 0; i < 20 && ps.next_timer() != kNever; ++i) {
    ps.poll(ps.next_timer(), out);
  }
  ASSERT_EQ(ps.reports().size(), 1U);
  EXPECT_EQ(ps.reports()[0].seq, 4U);
  EXPECT_EQ(ps.reports()[0].missing, 0b110U);
}

TEST(Ps, ForgetsWhatIsOldAndAllAtARestart) {
  HostConfig c = config();
  c.history = 2;
  ParameterServer ps(c);
  std::vector<Packet> out;
  for (std::uint32_t seq = 0; seq < 4; ++seq) {
    Packet whole = result(seq);
    whole.type = Type::kPartial;
    ps.receive(whole, 0, out);
  }
  out.clear();
  ps.receive(from(0, 3), 0, out);
  EXPECT_EQ(out.size(), 1U);
  ps.receive(from(0, 0), 0, out);
  EXPECT_EQ(out.size(), 1U) << "0 is forgotten";
  ps.restart();
  EXPECT_EQ(ps.next_timer(), kNever);
  ps.receive(from(0, 3), 0, out);
  EXPECT_EQ(out.size(), 1U);
}

TEST(Ps, AtpClearsWhatAPlaceLeftBehind) {
  HostConfig c = config(Policy::kAtp);
  ParameterServer ps(c);
  std::vector<Packet> out;
  ps.receive(from(0, 70), 0, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].type, Type::kReminder);
  EXPECT_EQ(out[0].seq, 6U);
  EXPECT_EQ(out[0].slot, 1);
  ps.receive(from(1, 70), 0, out);
  EXPECT_EQ(out.size(), 1U) << "once";
}

} // namespace
} // namespace kestrel::esa::ref
