// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The SwitchML policy: the scenarios that the packet tests of the published implementation name,
// with two and three workers, and equality with the published algorithm (NSDI 2021, algorithm 3) on
// the traffic of hosts that keep to the protocol, with loss.
#include "sw_ref/esa/frame.hpp"
#include "sw_ref/esa/switch.hpp"

#include <deque>
#include <map>

#include <gtest/gtest.h>

#include "tests/sw_ref/random.hpp"

namespace kestrel::esa::ref {

void PrintTo(Verdict v, std::ostream *out) { *out << to_string(v); }

namespace {

using hv::ref::test::Random;

constexpr std::uint16_t kPool = 4; // slots of a set

std::vector<std::int32_t> values_of(std::uint32_t seq, unsigned worker) {
  return {1 << (4 * worker), static_cast<std::int32_t>(seq), -3};
}

class SwitchMl : public ::testing::TestWithParam<unsigned> {
protected:
  SwitchMl() : sw_(config()) {
    std::vector<unsigned> ports;
    for (unsigned w = 0; w < workers(); ++w) {
      ports.push_back(w + 2);
    }
    Job job = make_job(1, ports, 7);
    job.pool_size = kPool;
    EXPECT_EQ(sw_.add_job(job), std::nullopt);
  }

  static Config config() {
    Config c;
    c.policy = Policy::kSwitchMl;
    c.slots = 2 * kPool;
    c.lanes = 3;
    return c;
  }
  static unsigned workers() { return GetParam(); }
  static std::uint32_t all() { return (1U << workers()) - 1; }

  static Packet packet(std::uint32_t seq, std::uint16_t slot, bool set, unsigned worker) {
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
    Outcome o = sw_.process(packet(seq, slot, set, worker), worker + 2);
    const auto broken = sw_.invariant_error();
    EXPECT_FALSE(broken.has_value()) << broken.value_or("");
    return o;
  }

  /// Nothing comes out but a change of the slot.
  void absorbed(std::uint32_t seq, std::uint16_t slot, bool set, unsigned worker) {
    const Outcome o = send(seq, slot, set, worker);
    EXPECT_TRUE(o.verdict == Verdict::kStored || o.verdict == Verdict::kAdded)
        << to_string(o.verdict);
    EXPECT_FALSE(o.out);
  }
  void dropped(std::uint32_t seq, std::uint16_t slot, bool set, unsigned worker) {
    const auto before = sw_.slots();
    const Outcome o = send(seq, slot, set, worker);
    EXPECT_FALSE(o.out);
    EXPECT_EQ(sw_.slots(), before);
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
    std::vector<std::int32_t> want(3, 0);
    for (unsigned w = 0; w < workers(); ++w) {
      for (std::size_t i = 0; i < 3; ++i) {
        want[i] += values_of(seq, w)[i];
      }
    }
    EXPECT_EQ(o.out->packet.values, want);
  }
  [[nodiscard]] static std::uint32_t members() { return all() << 2; }

  /// Everybody, in order: the last completes.
  void reduce(std::uint32_t seq, std::uint16_t slot, bool set) {
    for (unsigned w = 0; w + 1 < workers(); ++w) {
      absorbed(seq, slot, set, w);
    }
    reduced(seq, slot, set, workers() - 1, members());
  }

  Switch sw_;
};

TEST_P(SwitchMl, BasicReduction) { reduce(0, 0, false); }

TEST_P(SwitchMl, RetransmitAfterReduction) {
  reduce(0, 1, false);
  for (unsigned w = 0; w < workers(); ++w) {
    reduced(0, 1, false, w, 1U << (w + 2));
  }
}

TEST_P(SwitchMl, OtherSetReduction) { reduce(4, 0, true); }

TEST_P(SwitchMl, BothSetsReduction) {
  for (unsigned w = 0; w + 1 < workers(); ++w) {
    absorbed(0, 2, false, w);
    absorbed(kPool, 2, true, w);
  }
  reduced(0, 2, false, workers() - 1, members());
  reduced(kPool, 2, true, workers() - 1, members());
}

TEST_P(SwitchMl, SlotReuse) {
  for (std::uint32_t turn = 0; turn < 6; ++turn) {
    reduce(turn * kPool, 0, turn % 2 == 1);
  }
}

TEST_P(SwitchMl, IgnoreRetransmissions) {
  for (unsigned w = 0; w + 1 < workers(); ++w) {
    absorbed(0, 0, false, w);
    dropped(0, 0, false, w);
    dropped(0, 0, false, 0);
  }
  reduced(0, 0, false, workers() - 1, members());
}

TEST_P(SwitchMl, RetransmitFromPreviousSet) {
  reduce(0, 0, false);
  absorbed(kPool, 0, true, 0);
  // The last worker did not get the result of set 0.
  reduced(0, 0, false, workers() - 1, 1U << (workers() + 1));
  for (unsigned w = 1; w + 1 < workers(); ++w) {
    absorbed(kPool, 0, true, w);
  }
  reduced(kPool, 0, true, workers() - 1, members());
}

TEST_P(SwitchMl, SlotReuseAndRetransmit) {
  reduce(0, 0, false);
  reduce(kPool, 0, true);
  absorbed(2 * kPool, 0, false, 0);
  reduced(kPool, 0, true, 1, 1U << 3); // worker 1 is one turn behind
  dropped(2 * kPool, 0, false, 0);
  for (unsigned w = 1; w + 1 < workers(); ++w) {
    absorbed(2 * kPool, 0, false, w);
  }
  reduced(2 * kPool, 0, false, workers() - 1, members());
  // A copy that was on its way for two turns meets a newer aggregation: the published switch would
  // count it as a first contribution.
  dropped(0, 0, false, 0);
}

TEST_P(SwitchMl, NonSwitchMl) {
  std::vector<std::uint8_t> frame = make_frame(packet(0, 0, false, 0));
  frame[36] ^= 1; // another UDP port
  const auto parsed = parse_frame(frame);
  ASSERT_TRUE(std::holds_alternative<FrameFault>(parsed));
  EXPECT_EQ(std::get<FrameFault>(parsed), FrameFault::kForeign);
  Packet p = packet(0, 0, false, 0);
  p.job = 2;
  EXPECT_EQ(sw_.process(p, 2).verdict, Verdict::kBadJob);
  reduce(0, 0, false);
}

TEST_P(SwitchMl, DifferentPortsReduction) {
  // The same worker from another port: what counts is who, and the answer goes where it came from.
  for (unsigned w = 0; w + 1 < workers(); ++w) {
    EXPECT_FALSE(sw_.process(packet(0, 0, false, w), 6 - w).out);
  }
  const Outcome o = sw_.process(packet(0, 0, false, workers() - 1), 0);
  ASSERT_TRUE(o.out);
  EXPECT_EQ(o.out->ports, members());
  EXPECT_EQ(sw_.process(packet(0, 0, false, 0), 6).out->ports, 1U << 6);
}

TEST_P(SwitchMl, SlotBeyondThePool) {
  EXPECT_EQ(send(0, kPool, false, 0).verdict, Verdict::kBadSlot);
}

/// Algorithm 3 as published: per set and slot a `seen` bit a worker and a counter modulo n, the
/// other set's bit cleared on arrival.
class Published {
public:
  explicit Published(unsigned n) : n_(n) {}
  enum class Action { kNothing, kMulticast, kUnicast };
  struct Answer {
    Action action;
    std::vector<std::int32_t> values;
  };
  Answer process(const Packet &p) {
    const bool set = (p.flags & flag::kSet) != 0;
    State &mine = states_[{set, p.slot}];
    State &other = states_[{!set, p.slot}];
    if ((mine.seen & p.bitmap) == 0) {
      mine.seen |= p.bitmap;
      other.seen &= ~p.bitmap;
      mine.count = (mine.count + 1) % n_;
      if (mine.count == 1 % n_) {
        mine.values = p.values;
      } else {
        for (std::size_t i = 0; i < p.values.size(); ++i) {
          mine.values[i] += p.values[i];
        }
      }
      return mine.count == 0 ? Answer{Action::kMulticast, mine.values}
                             : Answer{Action::kNothing, {}};
    }
    return mine.count == 0 ? Answer{Action::kUnicast, mine.values} : Answer{Action::kNothing, {}};
  }

private:
  struct State {
    std::uint32_t seen = 0;
    unsigned count = 0;
    std::vector<std::int32_t> values;
  };
  unsigned n_;
  std::map<std::pair<bool, std::uint16_t>, State> states_;
};

TEST_P(SwitchMl, EqualsThePublishedAlgorithmUnderLoss) {
  Random random;
  SCOPED_TRACE(random.note());
  Published published(workers());
  constexpr std::uint32_t kChunks = 3000;
  // Each worker: which chunk it waits for in each slot (chunk k is in slot k % M, set k / M % 2);
  // it sends the next into a slot only on receipt. Links keep order, packets and results get lost.
  std::vector<std::array<std::uint32_t, kPool>> waiting(workers());
  for (auto &w : waiting) {
    for (std::uint32_t i = 0; i < kPool; ++i) {
      w[i] = i;
    }
  }
  std::uint64_t sent = 0, multicast = 0, unicast = 0, lost = 0;
  for (bool busy = true; busy;) {
    busy = false;
    for (int step = 0; step < 64; ++step) {
      const auto w = static_cast<unsigned>(random.range(0, static_cast<int>(workers()) - 1));
      const auto i = static_cast<std::size_t>(random.range(0, kPool - 1));
      const std::uint32_t chunk = waiting[w][i];
      if (chunk >= kChunks) {
        continue;
      }
      busy = true;
      if (random.chance(0.1)) {
        ++lost;
        continue;
      }
      const Packet p = packet(chunk, static_cast<std::uint16_t>(i), chunk / kPool % 2 == 1, w);
      const Outcome o = sw_.process(p, w + 2);
      const auto want = published.process(p);
      ++sent;
      ASSERT_EQ(o.out.has_value(), want.action != Published::Action::kNothing) << "packet " << sent;
      if (!o.out) {
        continue;
      }
      ASSERT_EQ(o.out->packet.values, want.values);
      ASSERT_EQ(o.out->ports,
                want.action == Published::Action::kMulticast ? members() : 1U << (w + 2));
      multicast += want.action == Published::Action::kMulticast ? 1 : 0;
      unicast += want.action == Published::Action::kUnicast ? 1 : 0;
      for (unsigned to = 0; to < workers(); ++to) {
        if ((o.out->ports >> (to + 2) & 1) != 0 && waiting[to][i] == chunk && !random.chance(0.2)) {
          waiting[to][i] = chunk + kPool;
        }
      }
    }
  }
  EXPECT_EQ(multicast, kChunks);
  EXPECT_GT(unicast, 100U);
  EXPECT_GT(lost, 100U);
  EXPECT_EQ(sw_.count(Verdict::kStale), 0U);
}

INSTANTIATE_TEST_SUITE_P(Workers, SwitchMl, ::testing::Values(2U, 3U),
                         [](const auto &n) { return "workers" + std::to_string(n.param); });

// ---- Frames.
TEST(Frame, RoundTripOfEveryFormat) {
  Random random;
  SCOPED_TRACE(random.note());
  int frames = 0;
  for (const Format format : {Format::kNone, Format::kInt32, Format::kThcIndex4, Format::kThcSum8,
                              Format::kThcSum16, Format::kFp32}) {
    for (const bool checksum : {false, true}) {
      for (int i = 0; i < 50; ++i) {
        Packet p;
        p.type = static_cast<Type>(random.range(1, 8));
        p.flags = static_cast<std::uint8_t>(random.range(0, 255));
        p.format = format;
        p.fan_in = static_cast<std::uint8_t>(random.range(0, 255));
        p.prio = static_cast<std::uint8_t>(random.range(0, 255));
        p.count = static_cast<std::uint8_t>(random.range(0, 255));
        p.job = static_cast<std::uint16_t>(random.range(0, 65535));
        p.slot = static_cast<std::uint16_t>(random.range(0, 65535));
        p.seq = static_cast<std::uint32_t>(random.word());
        p.bitmap = static_cast<std::uint32_t>(random.word());
        p.config = static_cast<std::uint16_t>(random.range(0, 65535));
        const std::int32_t mask = format == Format::kThcIndex4  ? 15
                                  : format == Format::kThcSum8  ? 255
                                  : format == Format::kThcSum16 ? 65535
                                                                : -1;
        p.values.resize(
            format == Format::kNone ? 0 : static_cast<std::size_t>(random.range(0, 32)) * 2);
        for (auto &v : p.values) {
          v = random.word() & mask;
        }
        const auto frame = make_frame(p, kSwitchAddresses, checksum);
        ASSERT_GE(frame.size(), 64U);
        const auto parsed = parse_frame(frame);
        ASSERT_TRUE(std::holds_alternative<Packet>(parsed))
            << to_string(std::get<FrameFault>(parsed));
        ASSERT_EQ(std::get<Packet>(parsed), p);
        ++frames;
      }
    }
  }
  EXPECT_EQ(frames, 600);
}

TEST(Frame, KnownBytes) {
  Packet p;
  p.type = Type::kData;
  p.flags = flag::kRetransmit;
  p.format = Format::kThcIndex4;
  p.fan_in = 3;
  p.prio = 0x7F;
  p.count = 1;
  p.job = 0x0102;
  p.slot = 0x0304;
  p.seq = 0x05060708;
  p.bitmap = 2;
  p.config = 0xABCD;
  p.values = {1, 2, 15, 0};
  const std::vector<std::uint8_t> want = {
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02, 0x4B, 0x53, 0x00, 0x00, 0x00, 0x08, 0x00,
      // IPv4: header sum by hand (RFC 1071): ~(4500+0034+4000+4011+0A4B+53FE) = DC70
      0x45, 0x00, 0x00, 0x34, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xDC, 0x70, 0x0A, 0x4B, 0x53,
      0xFE, 0xFF, 0xFF, 0xFF, 0xFF,
      // UDP
      0x4B, 0x53, 0x4B, 0x53, 0x00, 0x20, 0x00, 0x00,
      // header
      0x4B, 0x53, 0x12, 0x01, 0x08, 0x03, 0x7F, 0x01, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
      0x08, 0x00, 0x00, 0x00, 0x02, 0xAB, 0xCD,
      // values
      0x12, 0xF0};
  EXPECT_EQ(make_frame(p), want);
}

TEST(Frame, EveryDamageIsSeen) {
  Packet p;
  p.format = Format::kInt32;
  p.job = 1;
  p.fan_in = 2;
  p.count = 1;
  p.bitmap = 1;
  p.values = {1, 2, 3, 4};
  const auto frame = make_frame(p, kSwitchAddresses, true);
  const auto fault = [](std::vector<std::uint8_t> f) {
    const auto parsed = parse_frame(f);
    return std::holds_alternative<FrameFault>(parsed) ? to_string(std::get<FrameFault>(parsed))
                                                      : "none";
  };
  EXPECT_STREQ(fault(frame), "none");
  for (std::size_t n = 0; n < frame.size(); ++n) {
    const std::vector<std::uint8_t> cut(frame.begin(),
                                        frame.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_STREQ(fault(cut), n < 42 ? "foreign" : "short") << n;
  }
  auto longer = frame;
  longer.push_back(0);
  EXPECT_STREQ(fault(longer), "long");
  // Every single bit from the IPv4 header on is covered by a checksum or a check.
  for (std::size_t at = 14; at < frame.size(); ++at) {
    for (int b = 0; b < 8; ++b) {
      auto damaged = frame;
      damaged[at] = static_cast<std::uint8_t>(damaged[at] ^ (1 << b));
      EXPECT_STRNE(fault(damaged), "none") << "byte " << at << " bit " << b;
    }
  }
}

} // namespace
} // namespace kestrel::esa::ref
