// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The aggregator's rules, one datagram at a time and without a clock of its own.
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <limits>
#include <random>

#include "kestrel/contract/wire.hpp"
#include "kestrel/thc/aggregator.hpp"
#include "kestrel/thc/transport.hpp"

namespace kestrel::thc {
namespace {

namespace wire = contract::wire;
using namespace std::chrono_literals;
using wire::PacketFlag;
using wire::PacketType;
using wire::ValueFormat;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint16_t kJob = 7;
constexpr std::uint16_t kRoundTag = 0x1234;

struct Sent {
  AggregatorCore::Address to;
  wire::Header header;
  Bytes lanes;
};

class Aggregator : public ::testing::Test {
protected:
  /// An aggregator and the workers of its job, all of which have started unless `present` says who.
  void start(unsigned fan_in_, unsigned quorum = 0, std::size_t history = 16384,
             std::uint32_t present = ~0U) {
    fan_in = fan_in_;
    options.quorum = quorum;
    options.quorum_timeout = 50ms;
    options.history = history;
    ASSERT_TRUE(AggregatorCore::check_options(options));
    core = std::make_unique<AggregatorCore>(
        options, [this](AggregatorCore::Address to, std::span<const std::uint8_t> datagram) {
          const auto header = wire::decode(datagram);
          ASSERT_TRUE(header);
          const auto lanes = datagram.subspan(wire::kHeaderBytes);
          sent.push_back({to, *header, {lanes.begin(), lanes.end()}});
        });
    for (unsigned w = 0; w < fan_in; ++w) {
      if ((present >> w & 1) != 0) {
        join(w);
      }
    }
    if (std::popcount(present) >= static_cast<int>(fan_in)) {
      ASSERT_EQ(sent.back().header.type, PacketType::kStartResult);
      epoch = sent.back().header.epoch;
    }
    sent.clear();
  }
  /// The same worker again with another nonce is another start of it.
  void join(unsigned worker, std::uint64_t nonce = 1, std::uint32_t position = 1,
            std::uint32_t run = 0) {
    receive(worker, start_packet(worker, nonce, position, run));
  }
  Bytes start_packet(unsigned worker, std::uint64_t nonce, std::uint32_t position = 1,
                     std::uint32_t run = 0) const {
    wire::Header h = header(PacketType::kStart, worker, position, 0);
    h.epoch = 0;
    h.config = 0;
    h.format = ValueFormat::kInt32;
    const auto lanes = start_lanes(nonce << 8 | worker, run);
    return packet(h, {lanes.begin(), lanes.end()});
  }
  /// What a sender is told whose start is over.
  void expect_stale(const std::vector<Sent> &out, std::uint32_t present) {
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].header.type, PacketType::kStartResult);
    EXPECT_TRUE(out[0].header.has(PacketFlag::kNegative));
    EXPECT_EQ(out[0].header.bitmap, present);
  }
  wire::Header header(PacketType type, unsigned worker, std::uint32_t seq, unsigned slot) const {
    wire::Header h;
    h.type = type;
    h.fan_in = static_cast<std::uint8_t>(fan_in);
    h.job = kJob;
    h.epoch = epoch;
    h.seq = seq;
    h.slot = static_cast<std::uint16_t>(slot);
    h.bitmap = 1U << worker;
    h.config = slot == 0 ? kRoundTag : table_tag(options.table);
    return h;
  }
  static Bytes packet(const wire::Header &h, const Bytes &lanes = {}) {
    const auto head = wire::encode(h);
    Bytes bytes(head.size() + lanes.size());
    std::copy(lanes.begin(), lanes.end(), std::copy(head.begin(), head.end(), bytes.begin()));
    return bytes;
  }
  Bytes norm(unsigned worker, std::uint32_t seq, const std::vector<float> &norms) const {
    wire::Header h = header(PacketType::kNorm, worker, seq, 0);
    h.format = ValueFormat::kFp32;
    h.count = 1;
    Bytes lanes;
    for (const float v : norms) {
      const auto bits = std::bit_cast<std::uint32_t>(v);
      for (int shift = 24; shift >= 0; shift -= 8) {
        lanes.push_back(static_cast<std::uint8_t>(bits >> shift));
      }
    }
    return packet(h, lanes);
  }
  Bytes data(unsigned worker, std::uint32_t first, unsigned slot, std::uint8_t index) const {
    wire::Header h = header(PacketType::kData, worker, first + slot, slot);
    h.format = ValueFormat::kThcIndex4;
    h.count = 1;
    return packet(h, Bytes(kPacketIndexBytes, static_cast<std::uint8_t>(index << 4 | index)));
  }
  Bytes reminder(unsigned worker, std::uint32_t first, unsigned slot) const {
    return packet(header(PacketType::kReminder, worker, first + slot, slot));
  }
  void receive(unsigned from, const Bytes &bytes) { core->receive(100 + from, bytes, now); }
  void tick(std::chrono::milliseconds time) {
    now += time;
    core->tick(now);
  }
  std::vector<Sent> take() { return std::exchange(sent, {}); }
  void agree_on_norms(std::uint32_t seq) {
    for (unsigned w = 0; w < fan_in; ++w) {
      receive(w, norm(w, seq, {1.0F}));
    }
    ASSERT_EQ(take().size(), fan_in);
  }

  unsigned fan_in = 0;
  std::uint8_t epoch = 0;
  AggregatorOptions options;
  AggregatorCore::Clock::time_point now{};
  std::unique_ptr<AggregatorCore> core;
  std::vector<Sent> sent;
};

TEST_F(Aggregator, GivesTheLargestNormToAll) {
  start(3);
  receive(0, norm(0, 1, {1.0F, 0.0F}));
  receive(2, norm(2, 1, {0.5F, 7.0F}));
  EXPECT_TRUE(take().empty());
  receive(1, norm(1, 1, {2.0F, 3.0F}));
  const auto out = take();
  ASSERT_EQ(out.size(), 3U);
  for (unsigned w = 0; w < 3; ++w) {
    EXPECT_EQ(out[w].to, 100 + w);
    EXPECT_EQ(out[w].header.type, PacketType::kNormResult);
    EXPECT_EQ(out[w].header.bitmap, 7U);
    EXPECT_EQ(out[w].header.count, 3);
    EXPECT_EQ(out[w].header.config, kRoundTag);
    EXPECT_EQ(out[w].lanes, (Bytes{0x40, 0, 0, 0, 0x40, 0xE0, 0, 0})); // 2 and 7
  }
}

TEST_F(Aggregator, AddsTableValuesNotIndices) {
  start(3);
  agree_on_norms(10);
  receive(0, data(0, 10, 1, 0));
  receive(1, data(1, 10, 1, 15));
  receive(2, data(2, 10, 1, 1));
  const auto out = take();
  ASSERT_EQ(out.size(), 3U);
  EXPECT_EQ(out[0].header.type, PacketType::kResult);
  EXPECT_EQ(out[0].header.format, ValueFormat::kThcSum8);
  EXPECT_EQ(out[0].header.config, table_tag(options.table));
  EXPECT_EQ(out[0].lanes, Bytes(1024, 0 + 30 + 3));
}

TEST_F(Aggregator, TakesWideLanesWhereSumsNeedThem) {
  start(9); // 9 * 30 > 255
  agree_on_norms(10);
  for (unsigned w = 0; w < 9; ++w) {
    receive(w, data(w, 10, 2, 15));
  }
  const auto out = take();
  ASSERT_EQ(out.size(), 9U);
  EXPECT_EQ(out[0].header.format, ValueFormat::kThcSum16);
  ASSERT_EQ(out[0].lanes.size(), 2048U);
  EXPECT_EQ(out[0].lanes[0], 1); // 270, high byte first
  EXPECT_EQ(out[0].lanes[1], 14);
}

TEST_F(Aggregator, CountsADuplicateOnce) {
  start(2);
  agree_on_norms(1);
  receive(0, data(0, 1, 1, 15));
  receive(0, data(0, 1, 1, 15));
  EXPECT_TRUE(take().empty());
  receive(1, data(1, 1, 1, 0));
  EXPECT_EQ(take().at(0).lanes, Bytes(1024, 30));
  EXPECT_EQ(core->stats().duplicates, 1U);
  EXPECT_EQ(core->stats().contributions, 4U);
}

TEST_F(Aggregator, QuorumClosesOnlyAfterItsTimeAndWithEnough) {
  start(4, 2, 16384, 3);
  tick(51ms);
  ASSERT_EQ(sent.size(), 2U); // two of them begin without the others
  epoch = take()[1].header.epoch;
  receive(0, norm(0, 1, {1.0F}));
  tick(49ms);
  receive(1, norm(1, 1, {2.0F}));
  EXPECT_TRUE(take().empty());
  tick(2ms);
  const auto out = take();
  ASSERT_EQ(out.size(), 2U); // the others have not been heard of
  EXPECT_EQ(out[0].header.bitmap, 3U);
  EXPECT_EQ(core->stats().partial, 1U);

  // Workers 2 and 3 are not of this round: their packets do not count, their norms bring the
  // result.
  join(2);
  EXPECT_EQ(take().at(0).header.epoch, epoch);
  receive(2, norm(2, 1, {9.0F}));
  const auto late = take();
  ASSERT_EQ(late.size(), 1U);
  EXPECT_EQ(late[0].to, 102U);
  EXPECT_EQ(late[0].header.bitmap, 3U);
  receive(2, data(2, 1, 1, 15));
  receive(0, data(0, 1, 1, 15));
  EXPECT_TRUE(take().empty());
  receive(1, data(1, 1, 1, 15)); // all of the round: no time has to pass
  const auto sums = take();
  ASSERT_EQ(sums.size(), 3U);
  EXPECT_EQ(sums[0].header.bitmap, 3U);
  EXPECT_EQ(sums[0].lanes, Bytes(1024, 60));
  EXPECT_EQ(core->stats().late, 2U);
  const auto jobs = core->jobs(now);
  ASSERT_EQ(jobs.size(), 1U);
  EXPECT_EQ(jobs[0].workers[3].missed, 1U);
  EXPECT_FALSE(jobs[0].workers[3].known);
}

TEST_F(Aggregator, QuorumNotReachedWaitsForOneMore) {
  start(3, 2);
  receive(0, norm(0, 1, {1.0F}));
  tick(500ms);
  EXPECT_TRUE(take().empty()); // one is not enough, however late
  receive(1, norm(1, 1, {1.0F}));
  EXPECT_EQ(take().size(), 3U); // the time has passed: at once
}

TEST_F(Aggregator, NormsMayHaveATimeOfTheirOwn) {
  options.norm_timeout = 300ms;
  start(3, 1);
  receive(0, norm(0, 1, {1.0F}));
  receive(1, norm(1, 1, {1.0F}));
  tick(250ms);
  EXPECT_TRUE(take().empty());
  receive(2, norm(2, 1, {1.0F}));
  EXPECT_EQ(take().size(), 3U);
  receive(0, norm(0, 10, {1.0F})); // its time ends after that of the packet below
  receive(0, data(0, 1, 1, 15));
  EXPECT_EQ(core->tick(now), now + 50ms);
  tick(51ms);
  ASSERT_EQ(take().size(), 3U);
  EXPECT_EQ(core->tick(now), now + 249ms);
  tick(250ms);
  EXPECT_EQ(take().at(0).header.seq, 10U);
}

TEST_F(Aggregator, LateContributionBringsTheResultAgain) {
  start(2, 1);
  agree_on_norms(1);
  receive(0, data(0, 1, 1, 15));
  tick(60ms);
  ASSERT_EQ(take().size(), 2U);
  receive(1, data(1, 1, 1, 15));
  const auto out = take();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].to, 101U);
  EXPECT_EQ(out[0].header.bitmap, 1U);
  EXPECT_EQ(out[0].lanes, Bytes(1024, 30)); // unchanged
  EXPECT_EQ(core->stats().late, 1U);
}

TEST_F(Aggregator, ReminderIsAnsweredByWhatThereIs) {
  start(2);
  receive(0, reminder(0, 1, 0)); // nothing is known of it: send it again
  EXPECT_EQ(take().at(0).header.type, PacketType::kResend);
  receive(0, norm(0, 1, {1.0F}));
  receive(0, reminder(0, 1, 0)); // has it, waits for the other
  auto out = take();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].header.type, PacketType::kAck);
  EXPECT_EQ(out[0].header.bitmap, 1U);
  receive(1, reminder(1, 1, 0));
  EXPECT_EQ(take().at(0).header.type, PacketType::kResend);
  receive(1, norm(1, 1, {1.0F}));
  take();
  receive(1, reminder(1, 1, 0)); // done: the result
  EXPECT_EQ(take().at(0).header.type, PacketType::kNormResult);
  EXPECT_EQ(core->stats().reminders, 4U);
  EXPECT_EQ(core->stats().repeated, 1U);
}

TEST_F(Aggregator, RefusesAnotherConfigurationByItsTag) {
  start(2);
  receive(0, norm(0, 1, {1.0F}));
  wire::Header other = *wire::decode(norm(1, 1, {1.0F}));
  other.config = 0x4321;
  receive(1, packet(other, Bytes(4)));
  auto out = take();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].to, 101U);
  EXPECT_TRUE(out[0].header.has(PacketFlag::kNegative));
  EXPECT_EQ(out[0].header.config, kRoundTag);
  receive(1, norm(1, 1, {1.0F}));
  take();
  // A table that is not the aggregator's.
  wire::Header values = *wire::decode(data(0, 1, 1, 0));
  values.config ^= 1;
  receive(0, packet(values, Bytes(kPacketIndexBytes)));
  out = take();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_TRUE(out[0].header.has(PacketFlag::kNegative));
  EXPECT_EQ(out[0].header.config, table_tag(options.table));
  // Another number of workers.
  fan_in = 3;
  receive(2, norm(2, 1, {1.0F}));
  out = take();
  expect_stale(out, 3);
  EXPECT_EQ(out[0].header.fan_in, 2);
  // One that this aggregator can never serve.
  core.reset();
  fan_in = 2;
  start(2, 3, 16384, 0);
  join(0);
  out = take();
  expect_stale(out, 0);
  EXPECT_EQ(out[0].header.fan_in, 3);
  EXPECT_TRUE(core->jobs(now).empty());
}

TEST_F(Aggregator, AnotherVersionIsAnsweredWithItsOwn) {
  start(2);
  Bytes bytes = norm(0, 1, {1.0F});
  bytes[2] ^= 0xF0;
  receive(0, bytes);
  ASSERT_EQ(sent.size(), 1U); // in this version, which the sender sees in its header
  EXPECT_EQ(core->stats().mismatched, 1U);
  EXPECT_EQ(core->stats().contributions, 0U);
}

TEST_F(Aggregator, BeginsWhenAllWorkersHaveStarted) {
  start(3, 0, 16384, 0);
  join(0);
  join(2);
  auto out = take();
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[1].header.type, PacketType::kAck); // others are missing
  EXPECT_EQ(out[1].header.bitmap, 5U);
  join(0); // sent again: the same start
  EXPECT_EQ(take().at(0).header.bitmap, 5U);
  join(1);
  out = take();
  ASSERT_EQ(out.size(), 3U);
  for (unsigned w = 0; w < 3; ++w) {
    EXPECT_EQ(out[w].to, 100 + w);
    EXPECT_EQ(out[w].header.type, PacketType::kStartResult);
    EXPECT_FALSE(out[w].header.has(PacketFlag::kNegative));
    EXPECT_NE(out[w].header.epoch, 0);
    EXPECT_EQ(out[w].header.epoch, out[0].header.epoch);
    const auto lanes = start_lanes(1 << 8 | w, 0);
    EXPECT_EQ(out[w].lanes, Bytes(lanes.begin(), lanes.end()));
  }
  join(2); // its answer was lost
  EXPECT_EQ(take().at(0).header.epoch, out[0].header.epoch);
  EXPECT_EQ(core->stats().starts, 1U);
}

TEST_F(Aggregator, ANewStartNeverGetsOldSums) {
  start(2);
  agree_on_norms(1);
  receive(0, data(0, 1, 1, 15));
  receive(1, data(1, 1, 1, 15));
  ASSERT_EQ(take().at(0).lanes, Bytes(1024, 60));
  const std::uint8_t old = epoch;
  join(0, 2);
  join(1, 2);
  epoch = take().back().header.epoch;
  EXPECT_NE(epoch, old);
  receive(0, reminder(0, 1, 0)); // the same sequence numbers: nothing is known of them
  EXPECT_EQ(take().at(0).header.type, PacketType::kResend);
  agree_on_norms(1);
  receive(0, data(0, 1, 1, 0));
  EXPECT_TRUE(take().empty());
  receive(1, data(1, 1, 1, 1));
  EXPECT_EQ(take().at(0).lanes, Bytes(1024, 3));
  EXPECT_EQ(core->stats().starts, 2U);
}

TEST_F(Aggregator, OneWorkerThatStartsAnewEndsTheOldStart) {
  start(2);
  agree_on_norms(1);
  receive(0, data(0, 1, 1, 15));
  join(0, 2); // in the middle of a round
  EXPECT_EQ(take().at(0).header.type, PacketType::kAck);
  receive(1, data(1, 1, 1, 15)); // of the old start: told, not summed with anything
  expect_stale(take(), 1);
  receive(1, reminder(1, 1, 1));
  expect_stale(take(), 1);
  EXPECT_EQ(core->stats().stale, 2U);
  receive(1, reminder(1, 1, 0)); // what was complete may still be fetched
  EXPECT_EQ(take().at(0).header.type, PacketType::kNormResult);
  join(1, 2);
  EXPECT_EQ(take().size(), 2U);
}

TEST_F(Aggregator, LateDatagramsOfAnOldStartAreNotTakenForNew) {
  start(2);
  const Bytes old_start = start_packet(0, 1);
  const Bytes old_norm = norm(0, 1, {100.0F});
  join(0, 2);
  join(1, 2);
  epoch = take().back().header.epoch;
  receive(0, old_start); // the job does not start a third time
  expect_stale(take(), 3);
  receive(0, old_norm);
  expect_stale(take(), 3);
  agree_on_norms(1); // all norms are 1
  EXPECT_EQ(core->stats().starts, 2U);
  receive(0, reminder(0, 1, 0));
  EXPECT_EQ(take().at(0).lanes, (Bytes{0x3F, 0x80, 0, 0}));
}

TEST_F(Aggregator, APacketFromElsewhereIsNotTheWorkers) {
  // As after a restart of the aggregator, when the epoch happens to be the same.
  start(2);
  core->receive(555, norm(0, 1, {9.0F}), now);
  const auto out = take();
  expect_stale(out, 3);
  EXPECT_EQ(out[0].to, 555U);
  EXPECT_EQ(core->stats().contributions, 0U);
}

TEST_F(Aggregator, UnknownJobsAreToldSoAndNothingIsKept) {
  start(2, 0, 16384, 0);
  receive(0, norm(0, 1, {1.0F}));
  expect_stale(take(), 0);
  receive(0, reminder(0, 1, 0));
  expect_stale(take(), 0);
  EXPECT_TRUE(core->jobs(now).empty());
}

TEST_F(Aggregator, AStartAgreesOnSizePositionAndRun) {
  start(2, 0, 16384, 0);
  join(0, 1, 1, 4711);
  take();
  join(1, 1, 1, 4712); // another group under the same number: the later one goes on
  EXPECT_EQ(take().at(0).header.bitmap, 2U);
  join(0, 1, 1, 4711);
  expect_stale(take(), 2);
  join(0, 2, 1, 4712);
  EXPECT_EQ(take().size(), 2U);
  join(0, 3, 507, 4712); // another position
  EXPECT_EQ(take().at(0).header.bitmap, 1U);
  join(1, 2, 507, 4712);
  EXPECT_EQ(take().size(), 2U);
  fan_in = 3; // another number of workers
  join(2, 1, 1, 4713);
  EXPECT_EQ(take().at(0).header.bitmap, 4U);
  EXPECT_EQ(core->jobs(now).at(0).fan_in, 3U);
  Bytes cut = start_packet(1, 7);
  cut.pop_back();
  receive(1, cut);
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(core->stats().malformed, 1U);
}

TEST_F(Aggregator, ForeignAndMalformedPacketsAreCountedAndDropped) {
  start(2);
  const Bytes good = norm(0, 1, {1.0F});
  std::uint64_t foreign = 0;
  std::uint64_t malformed = 0;
  const auto expect_dropped = [&](const Bytes &bytes, bool is_foreign) {
    receive(0, bytes);
    ++(is_foreign ? foreign : malformed);
    EXPECT_EQ(core->stats().foreign, foreign);
    EXPECT_EQ(core->stats().malformed, malformed);
    EXPECT_TRUE(take().empty());
  };
  for (std::size_t size = 0; size < wire::kHeaderBytes; ++size) {
    expect_dropped(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)), true);
  }
  Bytes bytes = good;
  bytes[0] ^= 1; // magic
  expect_dropped(bytes, true);
  for (std::size_t size = wire::kHeaderBytes; size < good.size(); ++size) {
    expect_dropped(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)), false);
  }
  const auto with = [&](auto change) {
    wire::Header h = *wire::decode(good);
    change(h);
    return packet(h, Bytes(good.begin() + wire::kHeaderBytes, good.end()));
  };
  expect_dropped(with([](wire::Header &h) { h.job = 0; }), false);
  expect_dropped(with([](wire::Header &h) { h.type = PacketType::kStart; }), false);
  expect_dropped(with([](wire::Header &h) { h.fan_in = 0; }), false);
  expect_dropped(with([](wire::Header &h) { h.fan_in = 33; }), false);
  expect_dropped(with([](wire::Header &h) { h.bitmap = 0; }), false);
  expect_dropped(with([](wire::Header &h) { h.bitmap = 3; }), false);
  expect_dropped(with([](wire::Header &h) { h.bitmap = 4; }), false); // beyond fan_in
  expect_dropped(with([](wire::Header &h) { h.count = 2; }), false);
  expect_dropped(with([](wire::Header &h) { h.slot = 1; }), false);
  expect_dropped(with([](wire::Header &h) { h.type = PacketType::kResult; }), false);
  expect_dropped(with([](wire::Header &h) { h.type = static_cast<PacketType>(99); }), false);
  expect_dropped(with([](wire::Header &h) { h.format = ValueFormat::kInt32; }), false);
  expect_dropped(norm(0, 1, {std::numeric_limits<float>::quiet_NaN()}), false);
  expect_dropped(norm(0, 1, {std::numeric_limits<float>::infinity()}), false);
  expect_dropped(norm(0, 1, {-1.0F}), false);
  expect_dropped(norm(0, 1, std::vector<float>(kMaxChunkBlocks + 1, 1.0F)), false);
  EXPECT_EQ(core->stats().contributions, 0U);
  agree_on_norms(1);
  Bytes shorter = data(0, 1, 1, 0);
  shorter.pop_back();
  expect_dropped(shorter, false);
  Bytes longer = data(0, 1, 1, 0);
  longer.push_back(0);
  expect_dropped(longer, false);
  expect_dropped(data(0, 1, kMaxChunkPackets + 1, 0), false);
}

TEST_F(Aggregator, AnIndexBeyondASmallTableIsMalformed) {
  options.table = ref::Table{2, 6, 2.0, {0, 2, 4, 6}};
  start(1);
  agree_on_norms(1);
  receive(0, data(0, 1, 1, 4));
  EXPECT_TRUE(take().empty());
  EXPECT_EQ(core->stats().malformed, 1U);
  receive(0, data(0, 1, 1, 3));
  EXPECT_EQ(take().at(0).lanes, Bytes(1024, 6));
}

TEST_F(Aggregator, ForgetsTheOldestAndSaysSo) {
  start(1, 0, 4 * kMaxChunkPackets);
  std::uint32_t first = 0xFFFFF000U; // sequence numbers wrap on the way
  for (int chunk = 0; chunk < 6; ++chunk, first += 1025) {
    agree_on_norms(first);
    for (unsigned slot = 1; slot <= kMaxChunkPackets; ++slot) {
      receive(0, data(0, first, slot, 1));
      ASSERT_EQ(take().size(), 1U);
    }
  }
  receive(0, reminder(0, 0xFFFFF000U, 5));
  auto out = take();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_TRUE(out[0].header.has(PacketFlag::kNegative));
  EXPECT_EQ(core->stats().forgotten, 1U);
  receive(0, reminder(0, first - 1025, 5));
  EXPECT_EQ(take().at(0).lanes, Bytes(1024, 3));
  EXPECT_EQ(core->stats().expired, 0U);
}

TEST_F(Aggregator, ForgetsAJobThatIsSilent) {
  start(2);
  receive(0, norm(0, 1, {1.0F}));
  EXPECT_EQ(core->jobs(now).size(), 1U);
  tick(61s);
  EXPECT_TRUE(core->jobs(now).empty());
  EXPECT_EQ(core->stats().expired, 1U);
}

// Anybody can send starts: jobs that have proved nothing make place, jobs at work do not.
TEST_F(Aggregator, ForgedStartsDoNotKeepANewJobOut) {
  options.max_jobs = 4;
  start(2);
  agree_on_norms(1); // job 7 is at work
  const auto forged = [&](std::uint16_t job) {
    wire::Header h = header(PacketType::kStart, 0, 1, 0);
    h.job = job;
    h.epoch = 0;
    h.config = 0;
    h.format = ValueFormat::kInt32;
    const auto lanes = start_lanes(job, 0);
    return packet(h, {lanes.begin(), lanes.end()});
  };
  for (std::uint16_t job = 1000; job < 1080; ++job) {
    now += 1ms;
    receive(900, forged(job));
  }
  EXPECT_EQ(core->stats().displaced, 77U); // the first three had room
  EXPECT_EQ(core->jobs(now).size(), 4U);
  take();
  receive(0, norm(0, 2, {2.0F}));
  receive(1, norm(1, 2, {3.0F}));
  EXPECT_EQ(take().size(), 2U); // the job at work goes on
}

TEST_F(Aggregator, AFullTableIsSaidByName) {
  options.max_jobs = 1;
  start(1);
  receive(0, norm(0, 1, {1.0F}));
  take();
  wire::Header h = header(PacketType::kStart, 0, 1, 0);
  h.job = 8;
  h.epoch = 0;
  h.config = 0;
  h.format = ValueFormat::kInt32;
  const auto lanes = start_lanes(5, 0);
  receive(5, packet(h, {lanes.begin(), lanes.end()}));
  const auto out = take();
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0].header.type, PacketType::kStartResult);
  EXPECT_TRUE(out[0].header.has(PacketFlag::kNegative));
  EXPECT_TRUE(out[0].header.has(PacketFlag::kEcn));
  EXPECT_EQ(core->stats().full, 1U);
  EXPECT_EQ(core->stats().malformed, 0U);
}

// Reminders with a forged sender: the worker is sent no more than so much.
TEST_F(Aggregator, RepeatsAreBounded) {
  now += 1s;
  start(1);
  agree_on_norms(1);
  for (unsigned i = 0; i < 3 * kRepeatBurst; ++i) {
    receive(0, reminder(0, 1, 0));
  }
  EXPECT_EQ(take().size(), kRepeatBurst);
  EXPECT_EQ(core->stats().throttled, 2 * kRepeatBurst);
  now += 1s;
  for (unsigned i = 0; i < kRepeatBurst; ++i) {
    receive(0, reminder(0, 1, 0));
  }
  EXPECT_EQ(take().size(), kRepeatRate);
}

TEST_F(Aggregator, SurvivesRandomPackets) {
  start(3, 2);
  const char *given = std::getenv("KESTREL_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : 4711;
  RecordProperty("seed", std::to_string(seed));
  std::mt19937_64 engine(seed);
  const auto random = [&] { return static_cast<unsigned>(engine() >> 32); };
  std::uint64_t plausible = 0;
  for (int i = 0; i < 200000; ++i) {
    Bytes bytes;
    switch (random() % 5) {
    case 4: // a worker starts anew now and then, and is late with it
      if (random() % 64 != 0) {
        continue;
      }
      bytes = start_packet(random() % 3, static_cast<std::uint64_t>(1 + i / 4096) - random() % 2);
      break;
    case 0:
      bytes.resize(random() % 64);
      for (auto &b : bytes) {
        b = static_cast<std::uint8_t>(random());
      }
      break;
    case 1:
      bytes = norm(random() % 3, random() % 8, {1.0F});
      break;
    case 2:
      bytes =
          data(random() % 3, random() % 8, random() % 4, static_cast<std::uint8_t>(random() % 16));
      break;
    default:
      bytes = reminder(random() % 3, random() % 8, random() % 4);
      break;
    }
    if (random() % 3 == 0 && !bytes.empty()) {
      bytes[random() % bytes.size()] ^= static_cast<std::uint8_t>(1U << random() % 8);
    }
    core->receive(100 + random() % 5, bytes, now);
    if (random() % 64 == 0) {
      tick(10ms);
    }
    plausible += sent.size();
    for (const Sent &s : sent) {
      if (s.header.type == PacketType::kStartResult && !s.header.has(PacketFlag::kNegative)) {
        epoch = s.header.epoch;
      }
    }
    sent.clear();
  }
  EXPECT_GT(core->stats().starts, 1U);
  EXPECT_GT(plausible, 1000U);
  EXPECT_GT(core->stats().complete, 0U);
}

TEST(AggregatorOptions, AreChecked) {
  const auto refused = [](auto change) {
    AggregatorOptions options;
    change(options);
    const auto result = AggregatorCore::check_options(options);
    return !result && result.error().code == ErrorCode::kInvalidArgument;
  };
  EXPECT_FALSE(refused([](AggregatorOptions &) {}));
  EXPECT_TRUE(refused([](AggregatorOptions &o) { o.table.values[3] = 200; }));
  EXPECT_TRUE(refused([](AggregatorOptions &o) { o.quorum = 33; }));
  EXPECT_TRUE(refused([](AggregatorOptions &o) { o.history = 10; }));
  EXPECT_TRUE(refused([](AggregatorOptions &o) { o.quorum_timeout = -1ms; }));
}

} // namespace
} // namespace kestrel::thc
