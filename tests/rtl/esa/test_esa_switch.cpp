// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The aggregation switch in RTL against sw_ref/esa, packet for packet: verdicts in the order of the
// RTL's decisions, every frame that leaves byte for byte and in order at its port, counters; rates,
// latency, marking, reset, jobs that come and go.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "Vesa_switch_64.h"
#include "sw_ref/esa/frame.hpp"
#include "sw_ref/esa/switch.hpp"
#include "testbench/cpp/esa_bench.hpp"
#include "tests/rtl/esa/esa_traffic.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace kestrel::esa::ref {
static void PrintTo(Policy policy, std::ostream *out) {
  constexpr std::array<const char *, 3> names = {"Esa", "Atp", "SwitchMl"};
  *out << names[static_cast<std::size_t>(policy)];
}
} // namespace kestrel::esa::ref

namespace {

using namespace kestrel::tb;
using kestrel::tb::test::Traffic;
namespace ref = kestrel::esa::ref;
namespace contract = kestrel::contract::esa;
using Bench = EsaBench<Vesa_switch_64>;

constexpr std::uint32_t kSlots = 64; // of the Verilated switch

bool is_foreign(const std::vector<std::uint8_t> &frame) {
  const auto parsed = ref::parse_frame(frame);
  const auto *fault = std::get_if<ref::FrameFault>(&parsed);
  return fault != nullptr && *fault == ref::FrameFault::kForeign;
}

/// The switch and its model side by side.
class Pair {
public:
  Pair(std::uint64_t seed, const ref::Config &config, const std::vector<ref::Job> &jobs,
       double idle = 0.0, double stall = 0.0)
      : config_(config), jobs_(jobs), model_(config) {
    Bench::Config c;
    c.idle = idle;
    c.stall = stall;
    c.simulation.seed = seed;
    c.driver.seed = seed;
    bench = std::make_unique<Bench>(c);
    set_up();
  }

  void set_up() {
    ASSERT_TRUE(bench->configure(config_));
    for (unsigned i = 0; i < jobs_.size(); ++i) {
      ASSERT_EQ(model_.add_job(jobs_[i]), std::nullopt) << *model_.add_job(jobs_[i]);
      ASSERT_TRUE(bench->add_job(i, jobs_[i]));
    }
    // Foreign frames of port p leave through port 7 - p, those of port 3 are dropped.
    for (unsigned p = 0; p < 8; ++p)
      ASSERT_TRUE(
          bench->registers.write32(contract::reg::kRoute0 + 4 * p, p == 3 ? 0 : 1U << (7 - p))
              .ok());
    ASSERT_TRUE(bench->wait_ready());
  }

  void reset() {
    bench->reset();
    bench->egress.clear();
    bench->verdicts.clear();
    model_ = ref::Switch(config_);
    for (auto &queue : pending_)
      queue.clear();
    for (auto &queue : expected_)
      queue.clear();
    for (auto &queue : foreign_)
      queue.clear();
    faults_ = {};
    set_up();
  }

  void offer(unsigned port, std::vector<std::uint8_t> frame, unsigned in_order_beats = 0) {
    ++offered;
    note(port, frame);
    if (in_order_beats != 0)
      bench->offer_in_order(port, std::move(frame), in_order_beats);
    else
      bench->offer(port, std::move(frame));
  }

  [[nodiscard]] std::size_t waiting() const {
    std::size_t n = 0;
    for (const auto &queue : pending_)
      n += queue.size();
    return n;
  }

  /// Compares what has happened since the last call.
  void compare() {
    while (!bench->verdicts.empty()) {
      const EsaVerdict got = bench->verdicts.front();
      bench->verdicts.pop_front();
      ++decided;
      auto &queue = pending_[got.port];
      ASSERT_FALSE(queue.empty()) << "verdict without a packet at port " << got.port;
      const ref::Packet packet = std::move(queue.front());
      queue.pop_front();
      const ref::Outcome want = model_.process(packet, got.port);
      ASSERT_STREQ(to_string(got.verdict), to_string(want.verdict))
          << "packet " << decided << ": type " << int(packet.type) << " job " << packet.job
          << " seq " << packet.seq << " slot " << packet.slot << " bitmap " << packet.bitmap
          << " flags " << int(packet.flags) << " format " << int(packet.format) << " port "
          << got.port << " cycle " << got.cycle;
      ++verdicts[static_cast<std::size_t>(want.verdict)];
      if (want.out) {
        const auto frame = ref::make_frame(want.out->packet);
        for (unsigned p = 0; p < 8; ++p)
          if ((want.out->ports >> p & 1U) != 0)
            expected_[p].push_back(frame);
      }
      if (decided % 64 == 0) {
        const auto error = model_.invariant_error();
        ASSERT_FALSE(error) << *error;
      }
    }
    while (!bench->egress.empty()) {
      const EsaEgress got = std::move(bench->egress.front());
      bench->egress.pop_front();
      ++frames_out;
      if (is_foreign(got.frame)) {
        auto &queue = foreign_[7 - got.port];
        ASSERT_FALSE(queue.empty()) << "foreign frame at port " << got.port;
        ASSERT_EQ(got.frame, queue.front());
        queue.pop_front();
        continue;
      }
      auto &queue = expected_[got.port];
      ASSERT_FALSE(queue.empty()) << "frame without cause at port " << got.port << " in cycle "
                                  << got.cycle;
      auto frame = got.frame;
      if (marking && queue.front() != frame && frame.size() > 46 && (frame[46] & 2U) != 0) {
        frame[46] = static_cast<std::uint8_t>(frame[46] & ~2U);
        ++marked;
      }
      ASSERT_EQ(frame, queue.front())
          << "port " << got.port << " cycle " << got.cycle << " after packet " << decided;
      queue.pop_front();
    }
  }

  void step(unsigned cycles = 1) {
    for (unsigned i = 0; i < cycles && !testing::Test::HasFatalFailure(); ++i) {
      ASSERT_TRUE(bench->step());
      if (!bench->verdicts.empty() || !bench->egress.empty())
        compare();
    }
  }

  /// Until everything that was offered is decided and has left.
  void drain() {
    bench->set_rates(0.0, 0.0);
    bench->block_sinks(0);
    unsigned quiet = 0;
    for (unsigned i = 0; quiet < 200 && !testing::Test::HasFatalFailure(); ++i) {
      const auto before = bench->beats_out + decided;
      step();
      quiet = bench->sources_done() && before == bench->beats_out + decided ? quiet + 1 : 0;
      ASSERT_LT(i, 2'000'000U) << "the switch does not come to rest";
    }
    EXPECT_EQ(waiting(), 0U);
    for (unsigned p = 0; p < 8; ++p) {
      EXPECT_TRUE(expected_[p].empty()) << "frames missing at port " << p;
      EXPECT_TRUE(foreign_[p].empty()) << "foreign frames missing from port " << p;
    }
    EXPECT_EQ(bench->violations(), "");
  }

  std::uint32_t read(std::uint32_t offset) {
    const auto got = bench->registers.read32(offset);
    EXPECT_TRUE(got.ok());
    return got.value;
  }

  void compare_counters() {
    for (std::uint32_t v = 0; v < ref::kVerdicts; ++v)
      EXPECT_EQ(read(contract::window::kVerdict.word(v)),
                model_.count(static_cast<ref::Verdict>(v)))
          << to_string(static_cast<ref::Verdict>(v));
    for (std::uint32_t f = 0; f < 8; ++f)
      EXPECT_EQ(read(contract::window::kFault.word(f)), faults_[f]) << "fault " << f;
    for (std::uint32_t j = 0; j < jobs_.size(); ++j) {
      const ref::JobCounters want = model_.job_counters(jobs_[j].job);
      for (std::uint32_t v = 0; v < ref::kVerdicts; ++v)
        EXPECT_EQ(read(contract::window::kJob.word(32 * j + v)), want.verdicts[v]);
      EXPECT_EQ(read(contract::window::kJob.word(32 * j + 31)), want.evicted);
    }
    std::uint32_t used = 0;
    for (std::uint32_t s = 0; s < config_.slots; ++s) {
      used += model_.slots()[s].free() ? 0 : 1;
      if (s >= 8)
        continue;
      ASSERT_TRUE(bench->registers.write32(contract::reg::kSlotSelect, s).ok());
      const ref::SlotCounters &want = model_.slot_counters()[s];
      const std::array<std::uint64_t, 6> values = {want.stored,    want.added,    want.completed,
                                                   want.preempted, want.collided, want.flushed};
      for (std::uint32_t i = 0; i < 6; ++i)
        EXPECT_EQ(read(contract::window::kSlot.word(i)), values[i]) << "slot " << s << " " << i;
    }
    EXPECT_EQ(contract::reg::kStatusSlotsInUse.get(read(contract::reg::kStatus)), used);
  }

  ref::Switch &model() { return model_; }

  std::unique_ptr<Bench> bench;
  std::uint64_t offered = 0, decided = 0, frames_out = 0, marked = 0;
  std::array<std::uint64_t, ref::kVerdicts> verdicts{};
  bool marking = false;

private:
  void note(unsigned port, const std::vector<std::uint8_t> &frame) {
    const auto parsed = ref::parse_frame(frame);
    const bool too_long = frame.size() > 24 * 64;
    if (too_long) {
      ++faults_[6];
    } else if (const auto *fault = std::get_if<ref::FrameFault>(&parsed)) {
      ++faults_[static_cast<std::size_t>(*fault)];
      if (*fault == ref::FrameFault::kForeign) {
        if (port == 3)
          ++faults_[7];
        else
          foreign_[port].push_back(frame);
      }
    } else {
      pending_[port].push_back(std::get<ref::Packet>(parsed));
    }
  }

  ref::Config config_;
  std::vector<ref::Job> jobs_;
  ref::Switch model_;
  std::array<std::deque<ref::Packet>, 8> pending_;
  std::array<std::deque<std::vector<std::uint8_t>>, 8> expected_, foreign_;
  std::array<std::uint64_t, 8> faults_{};
};

struct Tally {
  std::uint64_t packets = 0, cycles = 0;
  std::array<std::uint64_t, ref::kVerdicts> verdicts{};
};

/// Random worlds of at most 2500 packets until `packets` are decided.
Tally run_worlds(std::uint64_t seed, ref::Policy policy, std::uint64_t packets) {
  Tally tally;
  Random rng(seed);
  while (tally.packets < packets && !testing::Test::HasFailure()) {
    const ref::Config config = kestrel::tb::test::random_config(rng, policy, kSlots);
    const auto jobs = kestrel::tb::test::random_jobs(
        rng, config,
        static_cast<unsigned>(1 + rng.below(policy == ref::Policy::kSwitchMl ? 4 : 6)));
    constexpr double kRates[] = {0.0, 0.0, 0.3, 0.8};
    const double idle = kRates[rng.below(4)], stall = kRates[rng.below(4)];
    Pair pair(rng.next(), config, jobs, idle, stall);
    Traffic traffic(rng.next(), config, jobs);
    const std::uint64_t count = std::min<std::uint64_t>(2500, packets - tally.packets);
    const std::uint64_t start = pair.bench->simulation.cycle();
    while (pair.decided < count && !testing::Test::HasFailure()) {
      // Never far ahead, so that all ports have frames most of the time.
      while (pair.waiting() < 24) {
        auto item = traffic.next();
        pair.offer(item.port, std::move(item.frame));
      }
      pair.step(20);
    }
    pair.drain();
    pair.compare_counters();
    tally.packets += pair.decided;
    tally.cycles += pair.bench->simulation.cycle() - start;
    for (std::size_t v = 0; v < ref::kVerdicts; ++v)
      tally.verdicts[v] += pair.verdicts[v];
  }
  return tally;
}

void print(const Tally &tally) {
  std::cout << "[ packets  ] " << tally.packets << " in " << tally.cycles
            << " cycles\n[ verdicts ]";
  for (std::size_t v = 0; v < ref::kVerdicts; ++v)
    std::cout << " " << to_string(static_cast<ref::Verdict>(v)) << "=" << tally.verdicts[v];
  std::cout << "\n";
}

std::uint64_t packet_count() {
  const char *text = std::getenv("KESTREL_ESA_PACKETS");
  return text != nullptr ? std::strtoull(text, nullptr, 0) : 20'000;
}

/// Verdicts that random traffic of a policy must have reached.
void expect_reached(const Tally &tally, ref::Policy policy) {
  using V = ref::Verdict;
  std::vector<V> want = {V::kBadType,   V::kBadJob,    V::kBadFanIn,  V::kBadSlot, V::kBadBitmap,
                         V::kBadCount,  V::kBadFormat, V::kBadLength, V::kBadPort, V::kBadTag,
                         V::kDuplicate, V::kIgnored,   V::kStored,    V::kAdded,   V::kCompleted,
                         V::kAnswered,  V::kFlushed,   V::kNegative,  V::kResent,  V::kResentFlush,
                         V::kFreed,     V::kForwarded, V::kBadEpoch};
  if (policy == ref::Policy::kEsa)
    want.push_back(V::kPreempted);
  want.push_back(policy == ref::Policy::kSwitchMl ? V::kStale : V::kCollided);
  for (const V v : want)
    EXPECT_GT(tally.verdicts[static_cast<std::size_t>(v)], 0U) << to_string(v);
}

class Policies : public testing::TestWithParam<ref::Policy> {};
std::string policy_name(const testing::TestParamInfo<ref::Policy> &info) {
  constexpr std::array<const char *, 3> names = {"Esa", "Atp", "SwitchMl"};
  return names[static_cast<std::size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(EsaSwitch, Policies,
                         testing::Values(ref::Policy::kEsa, ref::Policy::kAtp,
                                         ref::Policy::kSwitchMl),
                         policy_name);

TEST_P(Policies, EqualsModelPacketForPacket) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(7 + static_cast<int>(GetParam()));
  const Tally tally = run_worlds(seed, GetParam(), packet_count());
  print(tally);
  EXPECT_GE(tally.packets, packet_count());
  expect_reached(tally, GetParam());
}

std::vector<ref::Job> two_jobs() {
  return {ref::make_job(1, {0, 1}, 7), ref::make_job(2, {2, 3, 4}, 6)};
}

ref::Packet data(const ref::Job &job, std::uint32_t seq, std::uint16_t slot, unsigned worker,
                 std::uint8_t prio) {
  ref::Packet p;
  p.type = ref::Type::kData;
  p.format = ref::Format::kInt32;
  p.epoch = job.epoch;
  p.fan_in = job.fan_in;
  p.prio = prio;
  p.count = 1;
  p.job = job.job;
  p.slot = slot;
  p.seq = seq;
  p.bitmap = 1U << worker;
  p.values.assign(64, static_cast<std::int32_t>(seq * 100 + worker));
  return p;
}

/// All ports send back to back; the verdicts must be exactly `cycles_each` apart.
void expect_rate(const char *name, std::uint64_t cycles_each,
                 const std::function<ref::Packet(unsigned)> &packet) {
  ref::Config config;
  config.slots = 64;
  Pair pair(3, config, two_jobs());
  constexpr unsigned kCount = 800;
  for (unsigned i = 0; i < kCount; ++i)
    pair.offer(i % 8, ref::make_frame(packet(i)));
  std::vector<std::uint64_t> cycles;
  while (cycles.size() < kCount && !testing::Test::HasFatalFailure()) {
    ASSERT_TRUE(pair.bench->step());
    for (const EsaVerdict &v : pair.bench->verdicts)
      cycles.push_back(v.cycle);
    pair.compare();
  }
  pair.drain();
  ASSERT_EQ(cycles.size(), kCount);
  // Behind the first few packets, while the rings fill.
  unsigned wrong = 0;
  for (unsigned i = 17; i < kCount; ++i)
    wrong += cycles[i] - cycles[i - 1] == cycles_each ? 0 : 1;
  std::cout << "[ rate     ] " << name << ": " << kCount - 17 << " packets, "
            << cycles[kCount - 1] - cycles[16] << " cycles, "
            << static_cast<double>(cycles_each * (kCount - 17)) /
                   static_cast<double>(cycles[kCount - 1] - cycles[16])
            << " beats per cycle\n";
  EXPECT_EQ(wrong, 0U) << name;
}

TEST(EsaSwitch, OneBeatPerCycleForAnyAddressPattern) {
  const auto jobs = two_jobs();
  Random rng(kestrel::tb::test::seed_of_run(5));
  expect_rate("one slot", 5, [&](unsigned i) { return data(jobs[0], i / 2, 9, i % 2, 5); });
  expect_rate("one slot, each packet preempts", 5, [&](unsigned i) {
    return data(jobs[i % 2], i, 9, 0, static_cast<std::uint8_t>(i % 250 + 1));
  });
  expect_rate("two slots alternating", 5, [&](unsigned i) {
    return data(jobs[1], i / 6, static_cast<std::uint16_t>(i % 2), i / 2 % 3, 5);
  });
  expect_rate("random slots", 5, [&](unsigned i) {
    return data(jobs[i % 2], i, static_cast<std::uint16_t>(rng.below(64)), i % 2, 5);
  });
  expect_rate("header only", 1, [&](unsigned i) {
    ref::Packet p = data(jobs[0], i, 3, 0, 0);
    p.type = ref::Type::kAck;
    p.format = ref::Format::kNone;
    p.count = 0;
    p.bitmap = 0;
    p.values.clear();
    return p;
  });
}

TEST(EsaSwitch, Latency) {
  ref::Config config;
  config.slots = 64;
  Pair pair(4, config, two_jobs());
  ref::Packet p = data(two_jobs()[0], 1, 1, 0, 0);
  p.flags = ref::flag::kCollision; // is passed on
  pair.bench->offer(0, ref::make_frame(p));
  std::uint64_t last_in = 0, first_out = 0;
  for (int i = 0; i < 100 && first_out == 0; ++i) {
    const auto before = pair.bench->beats_in;
    ASSERT_TRUE(pair.bench->step());
    if (pair.bench->beats_in != before)
      last_in = pair.bench->simulation.cycle() - 1;
    if (!pair.bench->egress.empty())
      first_out = pair.bench->egress.front().cycle;
  }
  std::cout << "[ latency  ] " << first_out - last_in
            << " cycles from the last beat in to the first beat out\n";
  EXPECT_EQ(first_out - last_in, 17U);
}

TEST(EsaSwitch, BlockedReceiverLosesNothing) {
  ref::Config config;
  config.slots = 4;
  const auto jobs = two_jobs();
  Pair pair(5, config, jobs);
  pair.bench->block_sinks(0x81);
  Traffic traffic(kestrel::tb::test::seed_of_run(6), config, jobs);
  for (int i = 0; i < 1500; ++i) {
    auto item = traffic.next();
    pair.offer(item.port, std::move(item.frame));
  }
  pair.step(4000);
  const auto held = pair.decided;
  EXPECT_LT(held, 1200U); // the queues are finite
  pair.drain();
  EXPECT_GT(pair.decided, held);
  pair.compare_counters();
}

TEST(EsaSwitch, MarksLongQueues) {
  ref::Config config;
  config.slots = 2;
  const auto jobs = two_jobs();
  Pair pair(6, config, jobs, 0.0, 0.9);
  ASSERT_TRUE(pair.bench->registers.write32(contract::reg::kEcnThreshold, 20).ok());
  pair.marking = true;
  Traffic traffic(kestrel::tb::test::seed_of_run(8), config, jobs);
  traffic.set_faults(false);
  for (int i = 0; i < 1500; ++i) {
    auto item = traffic.next();
    pair.offer(item.port, std::move(item.frame));
  }
  while (pair.waiting() > 0 && !HasFatalFailure())
    pair.step(50);
  pair.drain();
  std::uint32_t counted = 0;
  for (std::uint32_t p = 0; p < 8; ++p)
    counted += pair.read(contract::window::kPortMarked.word(p));
  EXPECT_GT(pair.marked, 50U);
  EXPECT_LT(pair.marked, pair.frames_out);
  EXPECT_GE(counted, pair.marked); // some of them carried the mark already
}

TEST(EsaSwitch, ResetInMidPacket) {
  ref::Config config;
  config.slots = 3;
  const auto jobs = two_jobs();
  Pair pair(7, config, jobs, 0.2, 0.2);
  Random rng(kestrel::tb::test::seed_of_run(9));
  for (int round = 0; round < 12 && !HasFailure(); ++round) {
    Traffic traffic(rng.next(), config, jobs);
    for (int i = 0; i < 200; ++i) {
      auto item = traffic.next();
      pair.offer(item.port, std::move(item.frame));
    }
    pair.bench->set_rates(0.2, 0.2);
    if (round % 2 == 0) {
      pair.step(static_cast<unsigned>(20 + rng.below(600)));
      pair.reset();
    } else {
      pair.drain();
      pair.compare_counters();
    }
  }
}

TEST(EsaSwitch, JobsComeAndGo) {
  ref::Config config;
  config.slots = 8;
  auto jobs = two_jobs();
  Pair pair(8, config, jobs);
  Bench &bench = *pair.bench;
  // Commands that are impossible are refused and change nothing.
  EXPECT_FALSE(bench.add_job(0, jobs[0])); // place and number taken
  EXPECT_FALSE(bench.add_job(5, jobs[0])); // number taken: registered while active
  ref::Job bad = jobs[0];
  bad.job = 77;
  bad.fan_in = 0;
  bad.members = 0;
  EXPECT_FALSE(bench.add_job(5, bad));
  bad = ref::make_job(77, {0, 1}, 7);
  bad.fan_in = 33;
  EXPECT_FALSE(bench.add_job(5, bad));
  bad = ref::make_job(77, {0, 1}, 7);
  bad.members = 7;
  EXPECT_FALSE(bench.add_job(5, bad));
  bad = ref::make_job(0, {0, 1}, 7);
  EXPECT_FALSE(bench.add_job(5, bad));
  EXPECT_FALSE(bench.add_job(32, ref::make_job(77, {0, 1}, 7)));
  EXPECT_FALSE(bench.remove_job(9));
  EXPECT_FALSE(bench.configure(config)); // not while jobs are active
  EXPECT_FALSE(bench.registers.write32(0x0FC, 1).ok());
  EXPECT_FALSE(bench.registers.read32(0x0F0).ok());
  EXPECT_FALSE(bench.registers.write32(contract::reg::kStatus, 1).ok());
  EXPECT_EQ(contract::reg::kStatusJobs.get(pair.read(contract::reg::kStatus)), 2U);
  EXPECT_EQ(pair.read(contract::reg::kId), 0x4B455341U);

  // Slots of a job that ends are free, those of others stay.
  for (std::uint16_t s = 0; s < 8; ++s)
    pair.offer(0, ref::make_frame(data(jobs[s % 2], s, s, 0, 3)));
  pair.drain();
  EXPECT_EQ(contract::reg::kStatusSlotsInUse.get(pair.read(contract::reg::kStatus)), 8U);
  ASSERT_TRUE(bench.remove_job(0));
  ASSERT_TRUE(pair.model().remove_job(1));
  EXPECT_EQ(contract::reg::kStatusSlotsInUse.get(pair.read(contract::reg::kStatus)), 4U);
  for (std::uint16_t s = 0; s < 8; ++s) {
    pair.offer(1, ref::make_frame(data(jobs[0], s, s, 1, 3))); // unknown now
    pair.offer(1, ref::make_frame(data(jobs[1], s, s, 1, 3)));
  }
  pair.drain();
  // The same number again, as a new start: nothing of the old job is left, its counters are zero,
  // and what is still under way of the old start is refused.
  const ref::Job old = jobs[0];
  ++jobs[0].epoch;
  ASSERT_TRUE(bench.add_job(0, jobs[0]));
  ASSERT_EQ(pair.model().add_job(jobs[0]), std::nullopt);
  ASSERT_TRUE(bench.wait_ready());
  const std::uint32_t late =
      contract::window::kVerdict.word(static_cast<std::uint32_t>(ref::Verdict::kBadEpoch));
  const std::uint32_t status = pair.read(contract::reg::kStatus); // job 2 has the slots
  for (std::uint16_t s = 0; s < 8; ++s)
    pair.offer(0, ref::make_frame(data(old, s, s, 0, 255)));
  pair.drain();
  EXPECT_EQ(pair.read(late), 8U);
  EXPECT_EQ(pair.read(contract::reg::kStatus), status);
  Traffic traffic(kestrel::tb::test::seed_of_run(10), config, jobs);
  for (int i = 0; i < 400; ++i) {
    auto item = traffic.next();
    pair.offer(item.port, std::move(item.frame));
  }
  pair.drain();
  pair.compare_counters();
}

TEST(EsaSwitch, PacketsInGivenOrderAcrossPorts) {
  ref::Config config;
  config.slots = 4;
  const auto jobs = two_jobs();
  Pair pair(9, config, jobs);
  Traffic traffic(kestrel::tb::test::seed_of_run(11), config, jobs);
  traffic.set_faults(false);
  std::deque<unsigned> ports;
  for (int i = 0; i < 2000; ++i) {
    auto item = traffic.next();
    if (item.frame.size() <= 24 * 64) // longer ones are faulty and have no verdict
      ports.push_back(item.port);
    const unsigned beats =
        std::max<unsigned>(static_cast<unsigned>((item.frame.size() + 63) / 64), 5);
    pair.offer(item.port, std::move(item.frame), beats);
  }
  while (!ports.empty() && !HasFatalFailure()) {
    ASSERT_TRUE(pair.bench->step());
    for (const EsaVerdict &v : pair.bench->verdicts) {
      ASSERT_EQ(v.port, ports.front());
      ports.pop_front();
    }
    pair.compare();
  }
  pair.drain();
}

/// Two racks of two workers below a spine, three instances of the RTL: every contribution is either
/// in the result that all workers get, or at the PS, once; lanes tell who is in a sum.
TEST(EsaSwitch, RacksAndSpine) {
  constexpr unsigned kUp = 7, kPs = 6, kSeqs = 300;
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(12);
  Random rng(seed);
  ref::Config config;
  config.slots = 4;
  std::array<std::unique_ptr<Bench>, 3> net; // racks 0 and 1, spine
  for (unsigned i = 0; i < 3; ++i) {
    Bench::Config c;
    c.idle = c.stall = 0.2;
    c.simulation.seed = seed + i;
    net[i] = std::make_unique<Bench>(c);
    ASSERT_TRUE(net[i]->configure(config));
    for (std::uint16_t j = 1; j <= 2; ++j) {
      ref::Job job = ref::make_job(j, {0, 1, 2, 3}, i == 2 ? kPs : kUp);
      job.member_ports = 3; // ports of the workers, or of the racks
      job.uplink = i < 2;
      job.multi = i == 2;
      if (job.uplink)
        job.members = i == 0 ? 3U : 12U;
      ASSERT_TRUE(net[i]->add_job(j, job));
    }
    ASSERT_TRUE(net[i]->wait_ready());
  }

  std::array<std::array<std::uint32_t, kSeqs>, 3> result{}, at_ps{}; // by job: bits seen
  std::uint64_t results = 0, partials = 0, passed_on = 0;
  const auto take = [&](const ref::Packet &p, bool ps) {
    ASSERT_EQ(p.values.size(), 64U);
    std::int32_t want = 0;
    for (unsigned w = 0; w < 4; ++w)
      want += (p.bitmap >> w & 1U) != 0 ? 1 << (4 * w) : 0;
    for (std::size_t i = 0; i < 64; ++i)
      ASSERT_EQ(p.values[i], want * static_cast<std::int32_t>(i + 1));
    auto &seen = (ps ? at_ps : result)[p.job][p.seq];
    if (!ps) {
      ASSERT_EQ(p.type, ref::Type::kResult);
      ASSERT_EQ(p.bitmap, 15U);
    }
    ASSERT_TRUE(!ps || (seen & p.bitmap) == 0) << "twice at the PS";
    seen |= p.bitmap;
    partials += ps && p.type == ref::Type::kPartial ? 1 : 0;
    passed_on += ps && p.type == ref::Type::kData ? 1 : 0;
    results += ps ? 0 : 1;
  };
  unsigned quiet = 0;
  const auto step = [&] {
    bool busy = false;
    for (unsigned i = 0; i < 3; ++i) {
      ASSERT_TRUE(net[i]->step());
      net[i]->verdicts.clear();
      busy = busy || !net[i]->sources_done() || !net[i]->egress.empty();
      for (; !net[i]->egress.empty(); net[i]->egress.pop_front()) {
        EsaEgress &e = net[i]->egress.front();
        if (i < 2 && e.port == kUp) {
          net[2]->offer(i, std::move(e.frame));
        } else if (i == 2 && e.port < 2) {
          net[e.port]->offer(kUp, std::move(e.frame));
        } else {
          const auto packet = std::get<ref::Packet>(ref::parse_frame(e.frame));
          if (!packet.values.empty())
            take(packet, i == 2);
        }
      }
    }
    quiet = busy ? 0 : quiet + 1;
  };
  const auto settle = [&] {
    unsigned cycles = 0;
    for (quiet = 0; quiet < 300 && !testing::Test::HasFatalFailure(); ++cycles) {
      step();
      ASSERT_LT(cycles, 100'000U) << "the switches do not come to rest";
    }
  };
  const auto make = [&](std::uint16_t job, std::uint32_t seq) {
    ref::Packet p;
    p.job = job;
    p.seq = seq;
    p.fan_in = 4;
    p.slot = static_cast<std::uint16_t>((seq * 7 + job) % config.slots);
    return p;
  };

  std::vector<std::array<std::uint32_t, 3>> order; // job, sequence number, worker
  for (std::uint32_t job = 1; job <= 2; ++job)
    for (std::uint32_t seq = 0; seq < kSeqs; ++seq)
      for (std::uint32_t w = 0; w < 4; ++w)
        order.push_back({job, seq, w});
  // In order but for neighbours.
  std::stable_sort(order.begin(), order.end(),
                   [](const auto &a, const auto &b) { return a[1] < b[1]; });
  for (std::size_t i = 0; i + 1 < order.size(); ++i)
    std::swap(order[i], order[i + rng.below(std::min<std::size_t>(12, order.size() - i))]);
  for (const auto &[job, seq, w] : order) {
    ref::Packet p = make(static_cast<std::uint16_t>(job), seq);
    p.type = ref::Type::kData;
    p.format = ref::Format::kInt32;
    p.prio = static_cast<std::uint8_t>(rng.below(4) + job);
    p.count = 1;
    p.bitmap = 1U << w;
    for (std::int32_t i = 0; i < 64; ++i)
      p.values.push_back((1 << (4 * w)) * (i + 1));
    net[w / 2]->offer(w % 2, ref::make_frame(p));
    for (int i = 0; i < 8 && !HasFatalFailure(); ++i)
      step();
  }
  settle();
  // The PS asks for what is left: first the spine, then, through it, the racks.
  for (const std::uint8_t flags : {std::uint8_t{0}, ref::flag::kNegative}) {
    for (std::uint16_t job = 1; job <= 2; ++job)
      for (std::uint32_t seq = 0; seq < kSeqs; ++seq) {
        ref::Packet p = make(job, seq);
        p.type = ref::Type::kReminder;
        p.flags = flags;
        net[2]->offer(kPs, ref::make_frame(p));
      }
    settle();
  }
  for (unsigned job = 1; job <= 2; ++job)
    for (unsigned seq = 0; seq < kSeqs; ++seq)
      ASSERT_EQ(result[job][seq] ^ at_ps[job][seq], 15U) << "job " << job << " seq " << seq;
  std::cout << "[ packets  ] results " << results << ", at the PS: partials " << partials
            << ", passed on " << passed_on << "\n";
  EXPECT_GT(results, 100U);
  EXPECT_GT(partials, 20U);
  EXPECT_GT(passed_on, 20U);
  for (auto &bench : net)
    EXPECT_EQ(bench->violations(), "");
}

} // namespace
