// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The scenarios that the packet tests of the published SwitchML implementation name, for anything
// that decides on packets one at a time: the model (sw_ref) and the Verilated switch (host).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "sw_ref/esa/frame.hpp"
#include "sw_ref/esa/switch.hpp"

namespace kestrel::esa::ref::test {

constexpr std::uint16_t kPool = 4; // slots of a set

/// The parameter is the number of workers; worker w is at port w + 2, the job's number is 1.
class SwitchMlScenarios : public ::testing::TestWithParam<unsigned> {
protected:
  explicit SwitchMlScenarios(std::uint32_t lanes) : lanes_(lanes) {}

  /// What one packet does.
  virtual Outcome process(const Packet &packet, unsigned port) = 0;
  /// What one frame does that is no aggregation packet.
  virtual FrameFault refused(const std::vector<std::uint8_t> &frame, unsigned port) = 0;
  /// The slots, for comparison; empty where they cannot be seen.
  [[nodiscard]] virtual std::vector<Slot> slots() const { return {}; }

  [[nodiscard]] Config config() const {
    Config c;
    c.policy = Policy::kSwitchMl;
    c.slots = 2 * kPool;
    c.lanes = lanes_;
    return c;
  }
  static Job job() {
    std::vector<unsigned> ports;
    for (unsigned w = 0; w < workers(); ++w) {
      ports.push_back(w + 2);
    }
    Job job = make_job(1, ports, 7);
    job.pool_size = kPool;
    return job;
  }
  static unsigned workers() { return GetParam(); }
  static std::uint32_t all() { return (1U << workers()) - 1; }
  static std::uint32_t members() { return all() << 2; }

  [[nodiscard]] std::vector<std::int32_t> values_of(std::uint32_t seq, unsigned worker) const {
    std::vector<std::int32_t> values(lanes_);
    for (std::uint32_t i = 0; i < lanes_; ++i) {
      values[i] = i == 0 ? 1 << (4 * worker) : static_cast<std::int32_t>(seq * i) - 3;
    }
    return values;
  }

  [[nodiscard]] Packet packet(std::uint32_t seq, std::uint16_t slot, bool set,
                              unsigned worker) const {
    Packet p;
    p.type = Type::kData;
    p.flags = set ? flag::kSet : std::uint8_t{0};
    p.format = Format::kInt32;
    p.fan_in = static_cast<std::uint8_t>(workers());
    p.count = 1;
    p.job = 1;
    p.seq = seq;
    p.slot = slot;
    p.bitmap = 1U << worker;
    p.values = values_of(seq, worker);
    return p;
  }

  Outcome send(std::uint32_t seq, std::uint16_t slot, bool set, unsigned worker) {
    return process(packet(seq, slot, set, worker), worker + 2);
  }

  /// Nothing comes out but a change of the slot.
  void absorbed(std::uint32_t seq, std::uint16_t slot, bool set, unsigned worker) {
    const Outcome o = send(seq, slot, set, worker);
    EXPECT_TRUE(o.verdict == Verdict::kStored || o.verdict == Verdict::kAdded)
        << to_string(o.verdict);
    EXPECT_FALSE(o.out);
  }
  void dropped(std::uint32_t seq, std::uint16_t slot, bool set, unsigned worker) {
    const auto before = slots();
    const Outcome o = send(seq, slot, set, worker);
    EXPECT_TRUE(o.verdict == Verdict::kDuplicate || o.verdict == Verdict::kStale)
        << to_string(o.verdict);
    EXPECT_FALSE(o.out);
    EXPECT_EQ(slots(), before);
  }
  /// The complete sum comes out at `ports`.
  void reduced(std::uint32_t seq, std::uint16_t slot, bool set, unsigned worker,
               std::uint32_t ports) {
    const Outcome o = send(seq, slot, set, worker);
    ASSERT_TRUE(o.out) << to_string(o.verdict);
    EXPECT_EQ(o.out->ports, ports);
    EXPECT_EQ(o.out->packet.type, Type::kResult);
    EXPECT_EQ(o.out->packet.seq, seq);
    EXPECT_EQ(o.out->packet.slot, slot);
    EXPECT_EQ(o.out->packet.flags, set ? flag::kSet : 0);
    EXPECT_EQ(o.out->packet.bitmap, all());
    std::vector<std::int32_t> want(lanes_, 0);
    for (unsigned w = 0; w < workers(); ++w) {
      const auto values = values_of(seq, w);
      for (std::size_t i = 0; i < lanes_; ++i) {
        want[i] += values[i];
      }
    }
    EXPECT_EQ(o.out->packet.values, want);
  }

  /// Everybody, in order: the last completes.
  void reduce(std::uint32_t seq, std::uint16_t slot, bool set) {
    for (unsigned w = 0; w + 1 < workers(); ++w) {
      absorbed(seq, slot, set, w);
    }
    reduced(seq, slot, set, workers() - 1, members());
  }

  // --- The scenarios, by their published names.

  void basic_reduction() { reduce(0, 0, false); }

  void retransmit_after_reduction() {
    reduce(0, 1, false);
    for (unsigned w = 0; w < workers(); ++w) {
      reduced(0, 1, false, w, 1U << (w + 2));
    }
  }

  void other_set_reduction() { reduce(4, 0, true); }

  void both_sets_reduction() {
    for (unsigned w = 0; w + 1 < workers(); ++w) {
      absorbed(0, 2, false, w);
      absorbed(kPool, 2, true, w);
    }
    reduced(0, 2, false, workers() - 1, members());
    reduced(kPool, 2, true, workers() - 1, members());
  }

  void slot_reuse() {
    for (std::uint32_t turn = 0; turn < 6; ++turn) {
      reduce(turn * kPool, 0, turn % 2 == 1);
    }
  }

  void ignore_retransmissions() {
    for (unsigned w = 0; w + 1 < workers(); ++w) {
      absorbed(0, 0, false, w);
      dropped(0, 0, false, w);
      dropped(0, 0, false, 0);
    }
    reduced(0, 0, false, workers() - 1, members());
  }

  void retransmit_from_previous_set() {
    reduce(0, 0, false);
    absorbed(kPool, 0, true, 0);
    // The last worker did not get the result of set 0.
    reduced(0, 0, false, workers() - 1, 1U << (workers() + 1));
    for (unsigned w = 1; w + 1 < workers(); ++w) {
      absorbed(kPool, 0, true, w);
    }
    reduced(kPool, 0, true, workers() - 1, members());
  }

  void slot_reuse_and_retransmit() {
    reduce(0, 0, false);
    reduce(kPool, 0, true);
    absorbed(2 * kPool, 0, false, 0);
    reduced(kPool, 0, true, 1, 1U << 3); // worker 1 is one turn behind
    dropped(2 * kPool, 0, false, 0);
    for (unsigned w = 1; w + 1 < workers(); ++w) {
      absorbed(2 * kPool, 0, false, w);
    }
    reduced(2 * kPool, 0, false, workers() - 1, members());
    // A copy that was on its way for two turns meets a newer aggregation: the published switch
    // would count it as a first contribution.
    dropped(0, 0, false, 0);
  }

  void non_switch_ml() {
    std::vector<std::uint8_t> frame = make_frame(packet(0, 0, false, 0));
    frame[36] ^= 1; // another UDP port
    EXPECT_EQ(refused(frame, 2), FrameFault::kForeign);
    Packet p = packet(0, 0, false, 0);
    p.job = 2;
    EXPECT_EQ(process(p, 2).verdict, Verdict::kBadJob);
    reduce(0, 0, false);
  }

  void different_ports_reduction() {
    // The same worker from another port: what counts is who, and the answer goes where it came
    // from.
    for (unsigned w = 0; w + 1 < workers(); ++w) {
      EXPECT_FALSE(process(packet(0, 0, false, w), 6 - w).out);
    }
    const Outcome o = process(packet(0, 0, false, workers() - 1), 0);
    ASSERT_TRUE(o.out);
    EXPECT_EQ(o.out->ports, members());
    EXPECT_EQ(process(packet(0, 0, false, 0), 6).out->ports, 1U << 6);
  }

private:
  std::uint32_t lanes_;
};

/// The tests of a fixture made of SwitchMlScenarios, with two and with three workers.
#define KESTREL_SWITCHML_SCENARIOS(Fixture)                                                        \
  TEST_P(Fixture, BasicReduction) { basic_reduction(); }                                           \
  TEST_P(Fixture, RetransmitAfterReduction) { retransmit_after_reduction(); }                      \
  TEST_P(Fixture, OtherSetReduction) { other_set_reduction(); }                                    \
  TEST_P(Fixture, BothSetsReduction) { both_sets_reduction(); }                                    \
  TEST_P(Fixture, SlotReuse) { slot_reuse(); }                                                     \
  TEST_P(Fixture, IgnoreRetransmissions) { ignore_retransmissions(); }                             \
  TEST_P(Fixture, RetransmitFromPreviousSet) { retransmit_from_previous_set(); }                   \
  TEST_P(Fixture, SlotReuseAndRetransmit) { slot_reuse_and_retransmit(); }                         \
  TEST_P(Fixture, NonSwitchMl) { non_switch_ml(); }                                                \
  TEST_P(Fixture, DifferentPortsReduction) { different_ports_reduction(); }                        \
  INSTANTIATE_TEST_SUITE_P(Workers, Fixture, ::testing::Values(2U, 3U),                            \
                           [](const auto &n) { return "workers" + std::to_string(n.param); })

} // namespace kestrel::esa::ref::test
