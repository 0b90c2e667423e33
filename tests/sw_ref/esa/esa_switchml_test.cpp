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

#include "tests/sw_ref/esa/esa_switchml_scenarios.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::esa::ref {

void PrintTo(Verdict v, std::ostream *out) { *out << to_string(v); }

namespace {

using hv::ref::test::Random;

using test::kPool;

class SwitchMl : public test::SwitchMlScenarios {
protected:
  SwitchMl() : SwitchMlScenarios(3), sw_(config()) { EXPECT_EQ(sw_.add_job(job()), std::nullopt); }

  Outcome process(const Packet &p, unsigned port) override {
    Outcome o = sw_.process(p, port);
    const auto broken = sw_.invariant_error();
    EXPECT_FALSE(broken.has_value()) << broken.value_or("");
    return o;
  }
  FrameFault refused(const std::vector<std::uint8_t> &frame, unsigned /*port*/) override {
    const auto parsed = parse_frame(frame);
    const auto *fault = std::get_if<FrameFault>(&parsed);
    EXPECT_NE(fault, nullptr);
    return fault != nullptr ? *fault : FrameFault{};
  }
  [[nodiscard]] std::vector<Slot> slots() const override { return sw_.slots(); }

  Switch sw_;
};
KESTREL_SWITCHML_SCENARIOS(SwitchMl);

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
        p.epoch = static_cast<std::uint8_t>(random.range(0, 255));
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
  p.epoch = 0x5A;
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
      0x4B, 0x5A, 0x22, 0x01, 0x08, 0x03, 0x7F, 0x01, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
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
