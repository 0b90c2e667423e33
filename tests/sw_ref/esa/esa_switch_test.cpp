// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/esa/switch.hpp"

#include <bit>
#include <map>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "tests/sw_ref/random.hpp"

namespace kestrel::esa::ref {

void PrintTo(Verdict v, std::ostream *out) { *out << to_string(v); }

namespace {

using hv::ref::test::Random;

constexpr std::uint32_t kLanes = 4;

/// Value of one worker's contribution: worker w adds 256^0 .. so that a sum tells who is in it.
/// Lane 0 counts worker w in digit w (4 bits each, workers 0..6), lane 1 is unlike between
/// aggregations.
std::vector<std::int32_t> contribution(unsigned job, std::uint32_t seq, unsigned worker) {
  const auto id = static_cast<std::int32_t>((job * 1009 + seq * 31 + worker * 7) & 0xFFFF);
  return {worker < 7 ? 1 << (4 * worker) : 0, id, -id, static_cast<std::int32_t>(worker) + 1};
}

std::vector<std::int32_t> sum_of(unsigned job, std::uint32_t seq, std::uint32_t bitmap) {
  std::vector<std::int32_t> sum(kLanes, 0);
  for (unsigned w = 0; w < 32; ++w) {
    if ((bitmap >> w & 1) != 0) {
      const auto c = contribution(job, seq, w);
      for (std::size_t i = 0; i < kLanes; ++i) {
        sum[i] += c[i];
      }
    }
  }
  return sum;
}

Config config(Policy policy, Completed completed = Completed::kFree) {
  Config c;
  c.policy = policy;
  c.slots = 8;
  c.lanes = kLanes;
  c.completed = completed;
  return c;
}

/// A switch whose jobs have their worker w at port w and the PS at port 7.
struct Bench {
  explicit Bench(const Config &c) : sw(c) { EXPECT_EQ(config_error(c), std::nullopt); }

  void job(std::uint16_t number, unsigned fan_in) {
    std::vector<unsigned> ports(fan_in);
    for (unsigned w = 0; w < fan_in; ++w) {
      ports[w] = w;
    }
    ASSERT_EQ(sw.add_job(make_job(number, ports, 7)), std::nullopt);
  }

  [[nodiscard]] Packet make(Type type, std::uint16_t number, std::uint32_t seq,
                            std::uint16_t slot) const {
    Packet p;
    p.type = type;
    p.job = number;
    p.seq = seq;
    p.slot = slot;
    p.epoch = sw.find(number)->epoch;
    p.fan_in = sw.find(number)->fan_in;
    return p;
  }

  [[nodiscard]] Packet data(std::uint16_t number, std::uint32_t seq, std::uint16_t slot,
                            unsigned worker, std::uint8_t prio = 10) const {
    Packet p = make(Type::kData, number, seq, slot);
    p.prio = prio;
    p.format = Format::kInt32;
    p.count = 1;
    p.bitmap = 1U << worker;
    p.values = contribution(number, seq, worker);
    return p;
  }

  Outcome send(const Packet &p, unsigned port) {
    Outcome o = sw.process(p, port);
    const auto broken = sw.invariant_error();
    EXPECT_FALSE(broken.has_value()) << broken.value_or("");
    if (o.out && (o.out->packet.type == Type::kResult || o.out->packet.type == Type::kPartial ||
                  o.out->packet.type == Type::kData)) {
      const Packet &out = o.out->packet;
      EXPECT_EQ(out.values, sum_of(out.job, out.seq, out.bitmap));
      EXPECT_EQ(out.count, std::popcount(out.bitmap));
    }
    return o;
  }

  Switch sw;
};

std::uint32_t ports(const Outcome &o) { return o.out ? o.out->ports : 0; }
Type type(const Outcome &o) { return o.out->packet.type; }

// ---- ESA, rule by rule.
TEST(Esa, StoresAddsCompletesAndFrees) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  EXPECT_EQ(b.send(b.data(1, 5, 2, 1, 9), 1).verdict, Verdict::kStored);
  EXPECT_EQ(b.sw.slots()[2].bitmap, 2U);
  EXPECT_EQ(b.send(b.data(1, 5, 2, 0, 20), 0).verdict, Verdict::kAdded);
  EXPECT_EQ(b.sw.slots()[2].prio, 20) << "a contribution renews the priority";
  const Outcome o = b.send(b.data(1, 5, 2, 2, 3), 2);
  EXPECT_EQ(o.verdict, Verdict::kCompleted);
  ASSERT_TRUE(o.out);
  EXPECT_EQ(type(o), Type::kResult);
  EXPECT_EQ(ports(o), 0b111U);
  EXPECT_EQ(o.out->packet.bitmap, 7U);
  EXPECT_EQ(o.out->packet.prio, 20);
  EXPECT_EQ(o.out->packet.slot, 2);
  EXPECT_TRUE(b.sw.slots()[2].free());
}

TEST(Esa, SumsWrapModulo2To32) {
  Bench b(config(Policy::kEsa));
  b.job(1, 2);
  Packet p = b.data(1, 0, 0, 0);
  p.values = {INT32_MAX, INT32_MIN, -1, 0};
  EXPECT_EQ(b.sw.process(p, 0).verdict, Verdict::kStored);
  p.bitmap = 2;
  p.values = {1, -1, -1, 0};
  const Outcome o = b.sw.process(p, 1);
  EXPECT_EQ(o.out->packet.values, (std::vector<std::int32_t>{INT32_MIN, INT32_MAX, -2, 0}));
}

TEST(Esa, SingleWorkerNeverMeetsOldMemory) {
  for (const Completed completed : {Completed::kFree, Completed::kHold, Completed::kViaPs}) {
    Bench b(config(Policy::kEsa, completed));
    b.job(1, 1);
    b.job(2, 2);
    ASSERT_EQ(b.send(b.data(2, 0, 3, 0, 1), 0).verdict, Verdict::kStored);
    const Slot before = b.sw.slots()[3];
    const Outcome o = b.send(b.data(1, 0, 3, 0, 200), 0);
    EXPECT_EQ(o.verdict, Verdict::kCompleted);
    EXPECT_EQ(ports(o), completed == Completed::kViaPs ? 0x80U : 1U);
    EXPECT_EQ(b.sw.slots()[3], before);
  }
}

TEST(Esa, DuplicateOfAnIncompleteSlotIsDropped) {
  Bench b(config(Policy::kEsa));
  b.job(1, 2);
  b.send(b.data(1, 0, 0, 0), 0);
  const Slot before = b.sw.slots()[0];
  const Outcome o = b.send(b.data(1, 0, 0, 0, 255), 0);
  EXPECT_EQ(o.verdict, Verdict::kDuplicate);
  EXPECT_FALSE(o.out);
  EXPECT_EQ(b.sw.slots()[0], before);
}

TEST(Esa, HigherPrioritySwapsInOnePass) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  b.job(2, 2);
  b.send(b.data(1, 4, 1, 0, 10), 0);
  b.send(b.data(1, 4, 1, 2, 10), 2);
  const Outcome o = b.send(b.data(2, 9, 1, 1, 11), 1);
  EXPECT_EQ(o.verdict, Verdict::kPreempted);
  EXPECT_EQ(type(o), Type::kPartial);
  EXPECT_EQ(ports(o), 0x80U);
  EXPECT_EQ(o.out->packet.job, 1);
  EXPECT_EQ(o.out->packet.seq, 4U);
  EXPECT_EQ(o.out->packet.bitmap, 5U);
  EXPECT_EQ(o.out->packet.fan_in, 3);
  EXPECT_EQ(b.sw.slots()[1].job, 2);
  EXPECT_EQ(b.sw.slots()[1].seq, 9U);
  EXPECT_EQ(b.sw.job_counters(1).evicted, 1U);
  EXPECT_EQ(b.sw.slot_counters()[1].preempted, 1U);
}

TEST(Esa, EvictedPartialGoesToItsOwnPs) {
  Bench b(config(Policy::kEsa));
  ASSERT_EQ(b.sw.add_job(make_job(1, {0, 1}, 5)), std::nullopt);
  ASSERT_EQ(b.sw.add_job(make_job(2, {2, 3}, 6)), std::nullopt);
  b.send(b.data(1, 0, 0, 0, 1), 0);
  EXPECT_EQ(ports(b.send(b.data(2, 0, 0, 0, 2), 2)), 1U << 5);
  EXPECT_EQ(ports(b.send(b.data(1, 1, 0, 0, 1), 0)), 1U << 5) << "refused: to its own PS";
}

TEST(Esa, EqualPriorityNeverPreemptsAndDowngrades) {
  for (const unsigned shift : {0U, 1U, 3U, 7U}) {
    Config c = config(Policy::kEsa);
    c.downgrade_shift = shift;
    Bench b(c);
    b.job(1, 2);
    b.job(2, 2);
    b.send(b.data(1, 0, 0, 0, 200), 0);
    const Packet p = b.data(2, 0, 0, 0, 200);
    const Outcome o = b.send(p, 0);
    EXPECT_EQ(o.verdict, Verdict::kCollided);
    EXPECT_EQ(o.out->packet.flags, flag::kCollision);
    EXPECT_EQ(type(o), Type::kData);
    EXPECT_EQ(ports(o), 0x80U);
    EXPECT_EQ(b.sw.slots()[0].prio, 200 >> shift);
    EXPECT_EQ(b.sw.slots()[0].job, 1);
  }
}

TEST(Esa, AbandonedSlotAgesUntilItCanBeTaken) {
  Bench b(config(Policy::kEsa));
  b.job(1, 2);
  b.job(2, 2);
  b.send(b.data(1, 0, 0, 0, 255), 0);
  int collisions = 0;
  while (b.send(b.data(2, 0, 0, 0, 1), 0).verdict == Verdict::kCollided) {
    ASSERT_LT(++collisions, 20);
  }
  EXPECT_EQ(collisions, 8) << "255 >> 8 = 0 < 1";
  // Priority 0 never wraps, and never preempts.
  b.send(b.data(1, 1, 1, 0, 0), 0);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(b.send(b.data(2, 1, 1, 0, 0), 0).verdict, Verdict::kCollided);
    EXPECT_EQ(b.sw.slots()[1].prio, 0);
  }
}

TEST(Esa, TwoAggregationsOfOneJobCompeteByTheSameRule) {
  Bench b(config(Policy::kEsa));
  b.job(1, 2);
  b.send(b.data(1, 0, 0, 0, 5), 0);
  EXPECT_EQ(b.send(b.data(1, 1, 0, 0, 5), 0).verdict, Verdict::kCollided);
  EXPECT_EQ(b.send(b.data(1, 1, 0, 1, 5), 1).verdict, Verdict::kPreempted) << "5 > 5 >> 1";
}

TEST(Esa, PacketRefusedBeforeIsOnlyPassedOn) {
  Bench b(config(Policy::kEsa));
  b.job(1, 2);
  Packet p = b.data(1, 0, 0, 0);
  p.flags = flag::kCollision;
  const Outcome o = b.send(p, 0);
  EXPECT_EQ(o.verdict, Verdict::kForwarded);
  EXPECT_EQ(o.out->packet, p);
  EXPECT_EQ(ports(o), 0x80U);
  EXPECT_TRUE(b.sw.slots()[0].free());
}

TEST(Esa, CongestionMarkIsKept) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  b.send(b.data(1, 0, 0, 0), 0);
  Packet p = b.data(1, 0, 0, 1);
  p.flags = flag::kEcn;
  b.send(p, 1);
  const Outcome o = b.send(b.data(1, 0, 0, 2), 2);
  EXPECT_EQ(o.out->packet.flags, flag::kEcn);
}

TEST(Esa, OtherCompressionIsNotSummed) {
  Bench b(config(Policy::kEsa));
  b.job(1, 2);
  b.send(b.data(1, 0, 0, 0), 0);
  Packet p = b.data(1, 0, 0, 1);
  p.config = 7;
  EXPECT_EQ(b.send(p, 1).verdict, Verdict::kBadTag);
  EXPECT_EQ(b.sw.slots()[0].bitmap, 1U);
}

// ---- Reminder, resend, acknowledgement, result.
TEST(Control, ReminderTakesThePartialAndFrees) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  b.send(b.data(1, 0, 4, 0), 0);
  b.send(b.data(1, 0, 4, 2), 2);
  const Outcome o = b.send(b.make(Type::kReminder, 1, 0, 4), 7);
  EXPECT_EQ(o.verdict, Verdict::kFlushed);
  EXPECT_EQ(type(o), Type::kPartial);
  EXPECT_EQ(o.out->packet.bitmap, 5U);
  EXPECT_EQ(ports(o), 0x80U);
  EXPECT_TRUE(b.sw.slots()[4].free());
}

TEST(Control, ReminderWithoutASlotIsAnsweredNegatively) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  b.send(b.data(1, 0, 4, 0), 0);
  const Outcome o = b.send(b.make(Type::kReminder, 1, 1, 4), 7);
  EXPECT_EQ(o.verdict, Verdict::kNegative);
  EXPECT_EQ(type(o), Type::kReminder);
  EXPECT_EQ(o.out->packet.flags, flag::kNegative);
  EXPECT_EQ(ports(o), 0x80U);
  EXPECT_FALSE(b.sw.slots()[4].free()) << "only a matching id frees";
}

TEST(Control, RequestForResendGoesDownToTheMembers) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  Packet p = b.make(Type::kReminder, 1, 1, 4);
  p.flags = flag::kNegative;
  p.bitmap = 5;
  const Outcome o = b.send(p, 7);
  EXPECT_EQ(o.verdict, Verdict::kNegative);
  EXPECT_EQ(ports(o), 7U);
  EXPECT_EQ(o.out->packet, p);
}

Packet resend_of(Packet p) {
  p.type = Type::kResend;
  return p;
}

TEST(Control, ResendIsNeverStored) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  const Outcome o = b.send(resend_of(b.data(1, 0, 0, 0)), 0);
  EXPECT_EQ(o.verdict, Verdict::kResent);
  EXPECT_EQ(type(o), Type::kResend);
  EXPECT_EQ(ports(o), 0x80U);
  EXPECT_TRUE(b.sw.slots()[0].free());
}

TEST(Control, ResendTakesAMatchingSlotAlong) {
  Bench b(config(Policy::kEsa));
  b.job(1, 4);
  // Disjoint: added on the way out.
  b.send(b.data(1, 0, 0, 1), 1);
  Outcome o = b.send(resend_of(b.data(1, 0, 0, 0)), 0);
  EXPECT_EQ(o.verdict, Verdict::kResentFlush);
  EXPECT_EQ(type(o), Type::kPartial);
  EXPECT_EQ(o.out->packet.bitmap, 3U);
  EXPECT_TRUE(b.sw.slots()[0].free());
  // The slot has it, and more.
  b.send(b.data(1, 0, 0, 0), 0);
  b.send(b.data(1, 0, 0, 1), 1);
  o = b.send(resend_of(b.data(1, 0, 0, 0)), 0);
  EXPECT_EQ(o.verdict, Verdict::kResentFlush);
  EXPECT_EQ(type(o), Type::kPartial);
  EXPECT_EQ(o.out->packet.bitmap, 3U);
  EXPECT_TRUE(b.sw.slots()[0].free());
  // The packet has all of the slot.
  b.send(b.data(1, 0, 0, 0), 0);
  o = b.send(resend_of(b.data(1, 0, 0, 0)), 0);
  EXPECT_EQ(o.verdict, Verdict::kResentFlush);
  EXPECT_EQ(type(o), Type::kResend);
  EXPECT_EQ(o.out->packet.bitmap, 1U);
  EXPECT_TRUE(b.sw.slots()[0].free());
  // A copy of the whole result.
  b.send(b.data(1, 0, 0, 2), 2);
  Packet whole = resend_of(b.data(1, 0, 0, 0));
  whole.bitmap = 15;
  whole.count = 4;
  whole.values = sum_of(1, 0, 15);
  o = b.send(whole, 0);
  EXPECT_EQ(o.verdict, Verdict::kResentFlush);
  EXPECT_EQ(o.out->packet, whole);
  EXPECT_TRUE(b.sw.slots()[0].free());
}

TEST(Control, ResendLeavesAnotherSlotAlone) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  b.send(b.data(1, 0, 0, 1), 1);
  EXPECT_EQ(b.send(resend_of(b.data(1, 1, 0, 0)), 0).verdict, Verdict::kResent);
  EXPECT_FALSE(b.sw.slots()[0].free());
}

Packet result_of(const Bench &b, std::uint16_t job, std::uint32_t seq, std::uint16_t slot) {
  Packet p = b.data(job, seq, slot, 0);
  p.type = Type::kResult;
  p.bitmap = (1U << p.fan_in) - 1;
  p.count = p.fan_in;
  p.values = sum_of(job, seq, p.bitmap);
  return p;
}

TEST(Control, ResultOfThePsGoesToTheMembersAndClearsLeftOvers) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  b.send(b.data(1, 0, 0, 1), 1); // a late duplicate of a sum that the PS has made
  Outcome o = b.send(result_of(b, 1, 0, 0), 7);
  EXPECT_EQ(o.verdict, Verdict::kFreed);
  EXPECT_EQ(ports(o), 7U);
  EXPECT_TRUE(b.sw.slots()[0].free());
  b.send(b.data(1, 1, 0, 1), 1);
  o = b.send(result_of(b, 1, 0, 0), 7);
  EXPECT_EQ(o.verdict, Verdict::kForwarded);
  EXPECT_FALSE(b.sw.slots()[0].free());
}

TEST(Control, HeldSlotAnswersDuplicatesUntilAcknowledged) {
  for (const Policy policy : {Policy::kEsa, Policy::kAtp}) {
    Bench b(config(policy, Completed::kHold));
    b.job(1, 2);
    b.send(b.data(1, 0, 0, 0), 0);
    EXPECT_EQ(b.send(b.make(Type::kAck, 1, 0, 0), 0).verdict, Verdict::kIgnored)
        << "an incomplete slot is not freed";
    EXPECT_EQ(b.send(b.data(1, 0, 0, 1), 1).verdict, Verdict::kCompleted);
    EXPECT_FALSE(b.sw.slots()[0].free());
    const Outcome o = b.send(b.data(1, 0, 0, 1), 4);
    EXPECT_EQ(o.verdict, Verdict::kAnswered);
    EXPECT_EQ(type(o), Type::kResult);
    EXPECT_EQ(ports(o), 1U << 4) << "to the port that it came from";
    EXPECT_EQ(b.send(b.make(Type::kAck, 1, 1, 0), 0).verdict, Verdict::kIgnored);
    EXPECT_EQ(b.send(b.make(Type::kAck, 1, 0, 0), 0).verdict, Verdict::kFreed);
    EXPECT_TRUE(b.sw.slots()[0].free());
  }
}

TEST(Control, ByWayOfThePsAsAtpDoes) {
  Bench b(config(Policy::kAtp, Completed::kViaPs));
  b.job(1, 2);
  b.send(b.data(1, 0, 0, 0), 0);
  Outcome o = b.send(b.data(1, 0, 0, 1), 1);
  EXPECT_EQ(o.verdict, Verdict::kCompleted);
  EXPECT_EQ(type(o), Type::kPartial);
  EXPECT_EQ(ports(o), 0x80U);
  EXPECT_FALSE(b.sw.slots()[0].free());
  o = b.send(b.data(1, 0, 0, 1), 1);
  EXPECT_EQ(o.verdict, Verdict::kAnswered);
  EXPECT_EQ(ports(o), 0x80U) << "to the PS again";
  EXPECT_EQ(b.send(result_of(b, 1, 0, 0), 7).verdict, Verdict::kFreed);
}

TEST(Control, NormsArePassedOn) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  Packet p = b.make(Type::kNorm, 1, 0, 0);
  p.format = Format::kFp32;
  p.values = {0x3F800000};
  EXPECT_EQ(ports(b.send(p, 0)), 0x80U);
  p.type = Type::kNormResult;
  EXPECT_EQ(ports(b.send(p, 7)), 7U);
  EXPECT_EQ(b.send(p, 1).verdict, Verdict::kBadPort);
}

// ---- ATP.
TEST(Atp, FirstComeFirstServed) {
  Bench b(config(Policy::kAtp));
  b.job(1, 2);
  b.job(2, 2);
  b.send(b.data(1, 0, 0, 0, 1), 0);
  for (int i = 0; i < 5; ++i) {
    const Outcome o = b.send(b.data(2, 0, 0, 0, 255), 0);
    EXPECT_EQ(o.verdict, Verdict::kCollided);
    EXPECT_EQ(b.sw.slots()[0].prio, 1);
  }
  EXPECT_EQ(b.send(b.data(1, 0, 0, 1), 1).verdict, Verdict::kCompleted);
  EXPECT_EQ(b.send(b.data(2, 0, 0, 0), 0).verdict, Verdict::kStored);
}

// ---- Ablations.
TEST(Ablation, NeverAlwaysRandom) {
  int taken = 0;
  for (const Preempt rule : {Preempt::kNever, Preempt::kAlways, Preempt::kRandom}) {
    Config c = config(Policy::kEsa);
    c.preempt = rule;
    Bench b(c);
    b.job(1, 2);
    b.job(2, 2);
    int preempted = 0;
    b.send(b.data(1, 0, 0, 0, 5), 0);
    for (std::uint32_t i = 0; i < 400; ++i) {
      const auto job = static_cast<std::uint16_t>(b.sw.slots()[0].job == 1 ? 2 : 1);
      preempted += b.send(b.data(job, i, 0, 0, 5), 0).verdict == Verdict::kPreempted ? 1 : 0;
    }
    if (rule == Preempt::kNever) {
      EXPECT_EQ(preempted, 0);
    } else if (rule == Preempt::kAlways) {
      EXPECT_EQ(preempted, 400);
    } else {
      EXPECT_GT(preempted, 100);
      EXPECT_LT(preempted, 300);
    }
    taken += preempted;
  }
  EXPECT_GT(taken, 500);
}

// ---- THC: indices looked up, sums on narrow lanes.
TEST(Thc, LooksUpAndAddsOnNarrowLanes) {
  for (const Format format : {Format::kThcSum8, Format::kThcSum16}) {
    Bench b(config(Policy::kEsa));
    Job job = make_job(1, {0, 1, 2}, 7, format);
    job.table = {0, 3, 5, 7, 9, 11, 13, 14, 16, 17, 19, 21, 23, 25, 27, 30};
    ASSERT_EQ(b.sw.add_job(job), std::nullopt);
    const std::size_t n = coordinates(b.sw.config(), job);
    EXPECT_EQ(n, kLanes * (format == Format::kThcSum8 ? 4 : 2));
    Packet p = b.data(1, 0, 0, 0);
    p.format = Format::kThcIndex4;
    p.values.assign(n, 0);
    std::vector<std::int32_t> want(n, 0);
    Outcome o;
    for (unsigned w = 0; w < 3; ++w) {
      p.bitmap = 1U << w;
      for (std::size_t i = 0; i < n; ++i) {
        p.values[i] = static_cast<std::int32_t>((i * 5 + w * 3) % 16);
        want[i] += job.table[static_cast<std::size_t>(p.values[i])];
      }
      o = b.sw.process(p, w);
    }
    EXPECT_EQ(o.verdict, Verdict::kCompleted);
    EXPECT_EQ(o.out->packet.format, format);
    EXPECT_EQ(o.out->packet.values, want);
    EXPECT_EQ(o.out->packet.count, 3);
  }
}

TEST(Thc, RefusesWrongFormatsAndSumsThatDoNotFit) {
  Bench b(config(Policy::kEsa));
  Job job = make_job(1, {0, 1, 2, 3, 4, 5, 6, 0, 1}, 7, Format::kThcSum8);
  job.table.fill(30);
  EXPECT_NE(b.sw.add_job(job), std::nullopt) << "9 * 30 > 255";
  job = make_job(1, {0, 1}, 7, Format::kThcSum8);
  job.table.fill(30);
  ASSERT_EQ(b.sw.add_job(job), std::nullopt);
  b.job(2, 2);
  Packet p = b.data(1, 0, 0, 0);
  EXPECT_EQ(b.sw.process(p, 0).verdict, Verdict::kBadFormat) << "int32 for a THC job";
  p.format = Format::kThcSum16;
  EXPECT_EQ(b.sw.process(p, 0).verdict, Verdict::kBadFormat);
  p.format = Format::kThcIndex4;
  EXPECT_EQ(b.sw.process(p, 0).verdict, Verdict::kBadLength);
  p = b.data(2, 0, 0, 0);
  p.format = Format::kThcIndex4;
  EXPECT_EQ(b.sw.process(p, 0).verdict, Verdict::kBadFormat) << "indices for an int32 job";
}

// ---- Starts of a job: no sum has contributions of two, and a late packet of an old one changes
// nothing, whatever the policy and whether slots are held.
class Starts : public ::testing::TestWithParam<Policy> {};
INSTANTIATE_TEST_SUITE_P(Policies, Starts,
                         ::testing::Values(Policy::kEsa, Policy::kAtp, Policy::kSwitchMl));

TEST_P(Starts, AreToldApart) {
  Config c;
  c.policy = GetParam();
  c.slots = 8;
  c.lanes = 4;
  c.completed = Completed::kHold;
  Switch sw(c);
  Job job = make_job(1, {0, 1}, 7);
  job.pool_size = 2;
  job.epoch = 41;
  const auto data = [&job](std::uint32_t seq, unsigned worker, std::int32_t value) {
    Packet p;
    p.format = Format::kInt32;
    p.job = job.job;
    p.epoch = job.epoch;
    p.fan_in = job.fan_in;
    p.seq = seq;
    p.slot = static_cast<std::uint16_t>(seq);
    p.prio = 10;
    p.bitmap = 1U << worker;
    p.count = 1;
    p.values.assign(4, value);
    return p;
  };
  ASSERT_EQ(sw.add_job(job), std::nullopt);
  // The old start: one aggregation is complete and held, of another one half is there.
  ASSERT_EQ(sw.process(data(0, 0, 100), 0).verdict, Verdict::kStored);
  const Outcome before = sw.process(data(0, 1, 200), 1);
  ASSERT_EQ(before.verdict, Verdict::kCompleted);
  EXPECT_EQ(before.out->packet.epoch, 41);
  ASSERT_EQ(sw.process(data(1, 0, 300), 0).verdict, Verdict::kStored);
  const Packet late[] = {data(0, 0, 100), data(1, 1, 400), data(2, 1, 500)};

  ASSERT_TRUE(sw.remove_job(1));
  ++job.epoch;
  ASSERT_EQ(sw.add_job(job), std::nullopt);
  // Late packets before, between and after those of the new start.
  for (std::uint32_t seq = 0; seq < 2; ++seq) {
    for (unsigned worker = 0; worker < 2; ++worker) {
      for (const Packet &p : late) {
        const auto slots = sw.slots();
        const Outcome o = sw.process(p, 1);
        EXPECT_EQ(o.verdict, Verdict::kBadEpoch);
        EXPECT_FALSE(o.out);
        EXPECT_EQ(sw.slots(), slots);
      }
      const Outcome o =
          sw.process(data(seq, worker, static_cast<std::int32_t>(worker + 1)), worker);
      EXPECT_EQ(o.verdict, worker == 0 ? Verdict::kStored : Verdict::kCompleted);
      if (worker == 1) {
        ASSERT_TRUE(o.out);
        EXPECT_EQ(o.out->packet.values, std::vector<std::int32_t>(4, 3));
        EXPECT_EQ(o.out->packet.epoch, 42);
      }
    }
  }
  EXPECT_EQ(sw.count(Verdict::kBadEpoch), 12U);
  EXPECT_EQ(sw.invariant_error(), std::nullopt);
}

// ---- Bad input: one verdict, nothing else.
TEST(Malformed, IsCountedAndChangesNothing) {
  Bench b(config(Policy::kEsa));
  b.job(1, 3);
  b.send(b.data(1, 0, 0, 0), 0);
  const auto before = b.sw.slots();
  struct Case {
    Verdict want;
    unsigned port;
    void (*spoil)(Packet &);
  };
  const Case cases[] = {
      {Verdict::kBadType, 1, [](Packet &p) { p.type = static_cast<Type>(0); }},
      {Verdict::kBadType, 1, [](Packet &p) { p.type = static_cast<Type>(9); }},
      {Verdict::kBadJob, 1, [](Packet &p) { p.job = 2; }},
      {Verdict::kBadJob, 1, [](Packet &p) { p.job = 0; }},
      {Verdict::kBadEpoch, 1, [](Packet &p) { p.epoch = 1; }},
      {Verdict::kBadEpoch, 1,
       [](Packet &p) {
         p.epoch = 255;
         p.fan_in = 0;
       }},
      {Verdict::kBadFanIn, 1, [](Packet &p) { p.fan_in = 0; }},
      {Verdict::kBadFanIn, 1, [](Packet &p) { p.fan_in = 33; }},
      {Verdict::kBadSlot, 1, [](Packet &p) { p.slot = 8; }},
      {Verdict::kBadSlot, 1, [](Packet &p) { p.slot = 65535; }},
      {Verdict::kBadBitmap, 1, [](Packet &p) { p.bitmap = 0; }},
      {Verdict::kBadBitmap, 1, [](Packet &p) { p.bitmap = 8; }},
      {Verdict::kBadBitmap, 1, [](Packet &p) { p.bitmap = 6; }},
      {Verdict::kBadBitmap, 1, [](Packet &p) { p.bitmap = 0x80000002; }},
      {Verdict::kBadCount, 1, [](Packet &p) { p.count = 2; }},
      {Verdict::kBadCount, 1, [](Packet &p) { p.count = 0; }},
      {Verdict::kBadFormat, 1, [](Packet &p) { p.format = Format::kNone; }},
      {Verdict::kBadFormat, 1, [](Packet &p) { p.format = static_cast<Format>(15); }},
      {Verdict::kBadLength, 1, [](Packet &p) { p.values.pop_back(); }},
      {Verdict::kBadLength, 1, [](Packet &p) { p.values.push_back(0); }},
      {Verdict::kBadLength, 1, [](Packet &p) { p.values.clear(); }},
      {Verdict::kBadCount, 7, [](Packet &p) { p.type = Type::kReminder; }},
      {Verdict::kBadFormat, 7,
       [](Packet &p) {
         p.type = Type::kReminder;
         p.count = 0;
       }},
      {Verdict::kBadLength, 7,
       [](Packet &p) {
         p.type = Type::kReminder;
         p.count = 0;
         p.format = Format::kNone;
       }},
      {Verdict::kBadPort, 1,
       [](Packet &p) {
         p.type = Type::kReminder;
         p.count = 0;
         p.format = Format::kNone;
         p.values.clear();
       }},
      {Verdict::kBadBitmap, 7, [](Packet &p) { p.type = Type::kResult; }},
      {Verdict::kBadPort, 1,
       [](Packet &p) {
         p.type = Type::kResult;
         p.bitmap = 7;
         p.count = 3;
       }},
      {Verdict::kBadBitmap, 1,
       [](Packet &p) {
         p.type = Type::kResend;
         p.bitmap = 3;
         p.count = 2;
       }},
  };
  std::uint64_t bad = 0;
  for (const Case &c : cases) {
    Packet p = b.data(1, 0, 0, 1, 255);
    c.spoil(p);
    const std::uint64_t counted = b.sw.count(c.want);
    const Outcome o = b.sw.process(p, c.port);
    EXPECT_EQ(o.verdict, c.want) << "case " << bad;
    EXPECT_FALSE(o.out);
    EXPECT_EQ(b.sw.count(c.want), counted + 1);
    EXPECT_EQ(b.sw.slots(), before) << "case " << bad;
    ++bad;
  }
  EXPECT_GT(bad, 20U);
}

TEST(Malformed, ConfigurationsAndJobsAreRefusedByName) {
  Config c = config(Policy::kEsa);
  c.slots = 0;
  EXPECT_NE(config_error(c), std::nullopt);
  c = config(Policy::kEsa);
  c.ports = 33;
  EXPECT_NE(config_error(c), std::nullopt);
  c = config(Policy::kEsa);
  c.downgrade_shift = 8;
  EXPECT_NE(config_error(c), std::nullopt);

  Switch sw(config(Policy::kEsa));
  EXPECT_NE(sw.add_job(make_job(0, {0}, 7)), std::nullopt);
  EXPECT_NE(sw.add_job(make_job(1, {}, 7)), std::nullopt);
  EXPECT_NE(sw.add_job(make_job(1, std::vector<unsigned>(33, 1), 7)), std::nullopt);
  EXPECT_NE(sw.add_job(make_job(1, {0, 8}, 7)), std::nullopt);
  EXPECT_NE(sw.add_job(make_job(1, {0, 1}, 8)), std::nullopt);
  Job lacking = make_job(1, {0, 1}, 7);
  lacking.members = 1;
  EXPECT_NE(sw.add_job(lacking), std::nullopt);
  EXPECT_EQ(sw.add_job(make_job(1, std::vector<unsigned>(32, 1), 7)), std::nullopt);
  const auto again = sw.add_job(make_job(1, {0}, 7));
  ASSERT_TRUE(again);
  EXPECT_NE(again->find("job 1"), std::string::npos);

  Config pools = config(Policy::kSwitchMl);
  Switch ml(pools);
  Job job = make_job(1, {0, 1}, 7);
  EXPECT_NE(ml.add_job(job), std::nullopt) << "no pool";
  job.pool_size = 3;
  EXPECT_EQ(ml.add_job(job), std::nullopt);
  job.job = 2;
  job.pool_base = 5;
  job.pool_size = 1;
  EXPECT_NE(ml.add_job(job), std::nullopt) << "overlaps 0..5";
  job.pool_base = 6;
  EXPECT_EQ(ml.add_job(job), std::nullopt);
}

TEST(Jobs, EndOfAJobFreesItsSlots) {
  Bench b(config(Policy::kEsa));
  b.job(1, 2);
  b.job(2, 2);
  b.send(b.data(1, 0, 0, 0), 0);
  b.send(b.data(2, 0, 1, 0), 0);
  const Packet late = b.data(1, 0, 0, 1);
  EXPECT_TRUE(b.sw.remove_job(1));
  EXPECT_FALSE(b.sw.remove_job(1));
  EXPECT_TRUE(b.sw.slots()[0].free());
  EXPECT_FALSE(b.sw.slots()[1].free());
  EXPECT_EQ(b.send(late, 1).verdict, Verdict::kBadJob);
  EXPECT_EQ(b.send(b.data(2, 0, 1, 1), 1).verdict, Verdict::kCompleted);
}

// ---- Two levels: racks of workers {0,1} and {2,3,4} below a spine.
TEST(TwoLevels, ARackIsOneContribution) {
  Switch rack0(config(Policy::kEsa));
  Switch rack1(config(Policy::kEsa));
  Switch spine(config(Policy::kEsa));
  Job job = make_job(1, {0, 1, 2, 3, 4}, 7);
  job.uplink = true;
  job.members = 0b00011;
  job.member_ports = 0b00011;
  ASSERT_EQ(rack0.add_job(job), std::nullopt);
  job.members = 0b11100;
  job.member_ports = 0b00111;
  ASSERT_EQ(rack1.add_job(job), std::nullopt);
  Job top = make_job(1, {0, 0, 1, 1, 1}, 7);
  top.multi = true;
  ASSERT_EQ(spine.add_job(top), std::nullopt);

  const Bench b = [] {
    Bench x(config(Policy::kEsa));
    x.job(1, 5);
    return x;
  }();
  EXPECT_EQ(rack0.process(b.data(1, 0, 2, 2), 0).verdict, Verdict::kBadBitmap)
      << "worker 2 is in the other rack";
  EXPECT_EQ(rack0.process(b.data(1, 0, 2, 0), 0).verdict, Verdict::kStored);
  Outcome up = rack0.process(b.data(1, 0, 2, 1), 1);
  EXPECT_EQ(up.verdict, Verdict::kCompleted);
  EXPECT_EQ(type(up), Type::kData);
  EXPECT_EQ(ports(up), 0x80U);
  EXPECT_EQ(up.out->packet.bitmap, 3U);
  EXPECT_EQ(spine.process(up.out->packet, 0).verdict, Verdict::kStored);
  EXPECT_EQ(spine.process(up.out->packet, 0).verdict, Verdict::kDuplicate);
  // A partial of a rack goes through the spine to the PS.
  EXPECT_EQ(rack1.process(b.data(1, 0, 2, 3), 1).verdict, Verdict::kStored);
  Packet request = b.make(Type::kReminder, 1, 0, 2);
  request.flags = flag::kNegative;
  up = rack1.process(request, 7);
  EXPECT_EQ(up.verdict, Verdict::kFlushed);
  EXPECT_EQ(ports(up), 0x80U);
  const Outcome passed = spine.process(up.out->packet, 1);
  EXPECT_EQ(passed.verdict, Verdict::kForwarded);
  EXPECT_EQ(ports(passed), 0x80U);
  // All of rack 1 now: the spine completes and its RESULT goes down.
  for (unsigned w = 2; w < 5; ++w) {
    up = rack1.process(b.data(1, 0, 2, w), w - 2);
  }
  ASSERT_EQ(up.verdict, Verdict::kCompleted);
  const Outcome result = spine.process(up.out->packet, 1);
  EXPECT_EQ(result.verdict, Verdict::kCompleted);
  EXPECT_EQ(ports(result), 0b11U);
  EXPECT_EQ(result.out->packet.values, sum_of(1, 0, 31));
  const Outcome down = rack1.process(result.out->packet, 7);
  EXPECT_EQ(down.verdict, Verdict::kForwarded);
  EXPECT_EQ(ports(down), 0b111U);
  // Sums that overlap in part are never added.
  Packet odd = b.data(1, 1, 0, 0);
  EXPECT_EQ(spine.process(odd, 0).verdict, Verdict::kStored);
  odd.bitmap = 3;
  odd.count = 2;
  odd.values = sum_of(1, 1, 3);
  EXPECT_EQ(spine.process(odd, 0).verdict, Verdict::kCollided);
}

// ---- Random traffic: whatever is decided, no contribution is lost inside the switch or counted
// twice.
struct Mode {
  Policy policy;
  Completed completed;
  Preempt preempt;
  const char *name;
};
void PrintTo(const Mode &m, std::ostream *out) { *out << m.name; }

class RandomTraffic : public ::testing::TestWithParam<Mode> {};

TEST_P(RandomTraffic, EveryContributionIsInExactlyOnePlace) {
  Random random;
  SCOPED_TRACE(random.note());
  Config c = config(GetParam().policy, GetParam().completed);
  c.preempt = GetParam().preempt;
  c.slots = 6;
  Bench b(c);
  std::map<std::uint16_t, unsigned> fan_in;
  for (std::uint16_t job = 1; job <= 5; ++job) {
    fan_in[job] = job < 4 ? static_cast<unsigned>(random.range(1, 5)) : job;
    b.job(job, fan_in[job]);
  }
  // Where each offered copy of a contribution went: how often it is accounted for must be how often
  // it was taken in.
  using Key = std::tuple<std::uint16_t, std::uint32_t, unsigned>;
  std::map<Key, int> in, out;
  std::array<std::uint64_t, kVerdicts> seen{};
  const auto account = [&](const Packet &p, std::map<Key, int> &where, int by) {
    for (unsigned w = 0; w < 32; ++w) {
      if ((p.bitmap >> w & 1) != 0) {
        where[{p.job, p.seq, w}] += by;
      }
    }
  };
  for (int i = 0; i < 100'000; ++i) {
    auto job = static_cast<std::uint16_t>(random.range(1, 5));
    auto seq = static_cast<std::uint32_t>(i / 40 + random.range(0, 6));
    auto slot = static_cast<std::uint16_t>((seq * 7 + job) % 6);
    if (const auto place = static_cast<std::uint16_t>(random.range(0, 5));
        random.chance(0.4) && !b.sw.slots()[place].free()) { // go for what is there
      job = b.sw.slots()[place].job;
      seq = b.sw.slots()[place].seq;
      slot = place;
    }
    const auto worker = static_cast<unsigned>(random.range(0, static_cast<int>(fan_in[job]) - 1));
    const int kind = random.range(0, 99);
    Packet p = b.data(job, seq, slot, worker, static_cast<std::uint8_t>(random.range(0, 255)));
    unsigned port = worker;
    if (kind < 4) {
      p = b.make(Type::kReminder, job, seq, slot);
      p.flags = random.chance(0.3) ? flag::kNegative : std::uint8_t{0};
      port = 7;
    } else if (kind < 8) {
      p.type = Type::kResend;
    } else if (kind < 12) {
      p = b.make(Type::kAck, job, seq, slot);
    } else if (kind < 14) {
      p = result_of(b, job, seq, slot);
      port = 7;
    }
    const std::uint32_t before = b.sw.slots()[slot].job == job && b.sw.slots()[slot].seq == seq
                                     ? b.sw.slots()[slot].bitmap
                                     : 0;
    const std::uint32_t full = (1U << fan_in[job]) - 1;
    const Outcome o = b.send(p, port);
    ++seen[static_cast<std::size_t>(o.verdict)];
    if (::testing::Test::HasFailure()) {
      FAIL() << "packet " << i;
    }
    // A completed slot's content has left with the RESULT; what follows of it are copies.
    const bool copy = before == full;
    if (p.type == Type::kData || p.type == Type::kResend) {
      if (o.verdict != Verdict::kDuplicate && o.verdict != Verdict::kAnswered && !copy &&
          !(o.verdict == Verdict::kResentFlush && (before & p.bitmap) != 0)) {
        account(p, in, 1);
      }
    }
    if (o.verdict == Verdict::kFreed && p.type == Type::kResult && !copy) {
      Packet gone; // contained in the result: accounted for
      gone.job = job;
      gone.seq = seq;
      gone.bitmap = before;
      account(gone, out, 1);
    }
    if (o.out && p.type != Type::kResult && o.verdict != Verdict::kAnswered && !copy) {
      const Packet &q = o.out->packet;
      const bool held = c.completed != Completed::kFree;
      const bool of_completed =
          o.verdict == Verdict::kPreempted && held &&
          q.bitmap == (1U << fan_in[q.job]) - 1; // left before, with the completion
      if (!of_completed && (q.type == Type::kResult || q.type == Type::kPartial ||
                            q.type == Type::kData || q.type == Type::kResend)) {
        account(q, out, 1);
      }
    }
  }
  for (const Slot &s : b.sw.slots()) { // what is still inside
    Packet rest;
    rest.job = s.job;
    rest.seq = s.seq;
    rest.bitmap = s.bitmap;
    if (!s.free() && s.bitmap != (1U << fan_in[s.job]) - 1) {
      account(rest, out, 1);
    }
  }
  EXPECT_EQ(in, out);
  for (const Verdict v :
       {Verdict::kStored, Verdict::kAdded, Verdict::kCompleted, Verdict::kDuplicate,
        Verdict::kCollided, Verdict::kFlushed, Verdict::kNegative, Verdict::kResent,
        Verdict::kResentFlush, Verdict::kFreed}) {
    if (v == Verdict::kCollided && GetParam().preempt == Preempt::kAlways) {
      continue;
    }
    EXPECT_GT(seen[static_cast<std::size_t>(v)], 20U) << to_string(v);
  }
  if (GetParam().policy == Policy::kEsa && GetParam().preempt != Preempt::kNever) {
    EXPECT_GT(seen[static_cast<std::size_t>(Verdict::kPreempted)], 1000U);
  } else {
    EXPECT_EQ(seen[static_cast<std::size_t>(Verdict::kPreempted)], 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Modes, RandomTraffic,
    ::testing::Values(Mode{Policy::kEsa, Completed::kFree, Preempt::kHigher, "esa_free"},
                      Mode{Policy::kEsa, Completed::kHold, Preempt::kHigher, "esa_hold"},
                      Mode{Policy::kEsa, Completed::kViaPs, Preempt::kHigher, "esa_via_ps"},
                      Mode{Policy::kEsa, Completed::kFree, Preempt::kAlways, "esa_always"},
                      Mode{Policy::kEsa, Completed::kFree, Preempt::kRandom, "esa_random"},
                      Mode{Policy::kEsa, Completed::kFree, Preempt::kNever, "esa_never"},
                      Mode{Policy::kAtp, Completed::kFree, Preempt::kHigher, "atp_free"},
                      Mode{Policy::kAtp, Completed::kHold, Preempt::kHigher, "atp_hold"},
                      Mode{Policy::kAtp, Completed::kViaPs, Preempt::kHigher, "atp_via_ps"}),
    [](const auto &mode) { return std::string(mode.param.name); });

} // namespace
} // namespace kestrel::esa::ref
