// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Random jobs and random, adversarial traffic for an aggregation switch: few slots and few sequence
// numbers, so that packets meet in slots in every way; malformed headers, faulty and foreign
// frames.
#pragma once

#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "sw_ref/esa/frame.hpp"
#include "sw_ref/esa/switch.hpp"
#include "testbench/cpp/random.hpp"

namespace kestrel::tb::test {

namespace ref = esa::ref;

inline std::uint32_t all_of(unsigned fan_in) {
  return fan_in >= 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << fan_in) - 1;
}

/// A configuration for 8 ports and 64 lanes; `slots` at most `max_slots`.
inline ref::Config random_config(Random &rng, ref::Policy policy, std::uint32_t max_slots) {
  ref::Config c;
  c.policy = policy;
  c.slots = policy == ref::Policy::kSwitchMl
                ? 64
                : static_cast<std::uint32_t>(1 + rng.below(rng.chance(0.2) ? max_slots : 6));
  c.completed = static_cast<ref::Completed>(rng.below(3));
  c.preempt = rng.chance(0.7) ? ref::Preempt::kHigher : static_cast<ref::Preempt>(rng.below(4));
  c.downgrade_shift = rng.chance(0.6) ? 1 : static_cast<unsigned>(rng.below(8));
  return c;
}

inline std::vector<ref::Job> random_jobs(Random &rng, const ref::Config &config, unsigned count) {
  std::vector<ref::Job> jobs;
  for (unsigned i = 0; i < count; ++i) {
    ref::Job job;
    job.job = static_cast<std::uint16_t>(i == 0 ? 1 : 1 + 7 * i + (rng.below(2) << 13U));
    job.epoch = static_cast<std::uint8_t>(rng.chance(0.5) ? 0 : rng.next());
    job.fan_in = static_cast<std::uint8_t>(rng.chance(0.1)    ? 1 + rng.below(32)
                                           : rng.chance(0.15) ? 1
                                                              : 2 + rng.below(3));
    job.uplink = rng.chance(0.2);
    job.members = all_of(job.fan_in);
    if (job.uplink) {
      job.members &= static_cast<std::uint32_t>(rng.next());
      job.members |= job.members == 0 ? 1U : 0U;
    }
    job.multi = rng.chance(0.2);
    job.member_ports = static_cast<std::uint32_t>(1 + rng.below(255));
    job.ps_port = static_cast<std::uint8_t>(rng.below(8));
    const auto kind = rng.below(6);
    job.format = kind == 0   ? ref::Format::kThcSum8
                 : kind == 1 ? ref::Format::kThcSum16
                             : ref::Format::kInt32;
    // 8-bit sums have to fit: so says the model's check of jobs.
    const std::uint64_t largest = job.format == ref::Format::kThcSum8 ? 255 / job.fan_in : 255;
    for (auto &value : job.table)
      value = static_cast<std::uint8_t>(rng.below(largest + 1));
    job.pool_base = 2 * 4 * i;
    job.pool_size = static_cast<std::uint32_t>(1 + rng.below(4));
    if (config.policy != ref::Policy::kSwitchMl)
      job.pool_base = job.pool_size = 0;
    jobs.push_back(job);
  }
  return jobs;
}

class Traffic {
public:
  struct Item {
    unsigned port = 0;
    std::vector<std::uint8_t> frame;
  };

  Traffic(std::uint64_t seed, const ref::Config &config, std::vector<ref::Job> jobs)
      : rng_(seed), config_(config), jobs_(std::move(jobs)), bases_(jobs_.size(), 0) {
    pattern_ = rng_.below(4);
    span_ = 1 + rng_.below(3);
    max_prio_ = rng_.chance(0.5) ? 4 : 256;
    bad_share_ = rng_.chance(0.5) ? 0.04 : 0.0;
    control_share_ = rng_.chance(0.3) ? 0.6 : 0.2;
  }

  /// Faulty and foreign frames on or off (headers stay as bad as they are).
  void set_faults(bool on) { faults_ = on; }

  Item next() {
    Item item;
    const std::size_t which = rng_.below(jobs_.size());
    const ref::Job &job = jobs_[which];
    ref::Packet p;
    p.type = random_type();
    p.job = job.job;
    p.epoch = job.epoch;
    p.fan_in = job.fan_in;
    p.prio = static_cast<std::uint8_t>(rng_.below(max_prio_));
    if (rng_.chance(0.02))
      bases_[which] += static_cast<std::uint32_t>(1 + (rng_.chance(0.05) ? 0x7FFFFFFF : 0));
    p.seq = bases_[which] + static_cast<std::uint32_t>(rng_.below(span_));
    p.slot = random_slot(job, p.seq);
    p.config = static_cast<std::uint16_t>(rng_.chance(0.02) ? 1 : 0);
    p.flags = static_cast<std::uint8_t>((rng_.chance(0.1) ? ref::flag::kEcn : 0) |
                                        (rng_.chance(0.03) ? ref::flag::kCollision : 0) |
                                        (rng_.chance(0.1) ? ref::flag::kRetransmit : 0) |
                                        (rng_.chance(0.2) ? ref::flag::kNegative : 0));
    if ((p.seq & 1U) != 0 || rng_.chance(0.05))
      p.flags |= ref::flag::kSet;
    item.port = static_cast<unsigned>(rng_.below(8));
    fill(p, job, item.port);
    if (rng_.chance(bad_share_))
      spoil(p);
    item.frame = ref::make_frame(p, ref::kSwitchAddresses, rng_.chance(0.1));
    if (faults_ && rng_.chance(0.04))
      damage(item.frame);
    return item;
  }

  [[nodiscard]] Random &rng() { return rng_; }

private:
  ref::Type random_type() {
    if (!rng_.chance(control_share_))
      return ref::Type::kData;
    constexpr ref::Type types[] = {ref::Type::kReminder,  ref::Type::kReminder, ref::Type::kResend,
                                   ref::Type::kResend,    ref::Type::kAck,      ref::Type::kAck,
                                   ref::Type::kResult,    ref::Type::kPartial,  ref::Type::kNorm,
                                   ref::Type::kNormResult};
    return types[rng_.below(std::size(types))];
  }

  std::uint16_t random_slot(const ref::Job &job, std::uint32_t seq) {
    const std::uint32_t slots =
        config_.policy == ref::Policy::kSwitchMl ? job.pool_size : config_.slots;
    switch (pattern_) {
    case 0: // always the same
      return static_cast<std::uint16_t>(slots - 1);
    case 1: // two, alternating
      return static_cast<std::uint16_t>(turn_++ % 2 % slots);
    case 2: // by sequence number, as hosts do
      return static_cast<std::uint16_t>((seq * 2654435761U + job.job) % slots);
    default:
      return static_cast<std::uint16_t>(rng_.below(slots));
    }
  }

  void random_values(ref::Packet &p, std::size_t count) {
    p.values.resize(count);
    for (auto &value : p.values)
      value = static_cast<std::int32_t>(rng_.next() &
                                        (p.format == ref::Format::kThcIndex4  ? 0xFU
                                         : p.format == ref::Format::kThcSum8  ? 0xFFU
                                         : p.format == ref::Format::kThcSum16 ? 0xFFFFU
                                                                              : 0xFFFFFFFFU));
  }

  std::uint32_t one_of(std::uint32_t mask) {
    std::uint64_t skip = rng_.below(static_cast<std::uint64_t>(std::popcount(mask)));
    for (; skip > 0; --skip)
      mask &= mask - 1;
    return mask & (~mask + 1);
  }

  void fill(ref::Packet &p, const ref::Job &job, unsigned &port) {
    const std::uint32_t all = all_of(job.fan_in);
    bool values = true;
    switch (p.type) {
    case ref::Type::kData:
      p.bitmap = one_of(job.members);
      if (job.multi && rng_.chance(0.4))
        p.bitmap |= job.members & static_cast<std::uint32_t>(rng_.next());
      break;
    case ref::Type::kResend:
      p.bitmap = rng_.chance(0.2) ? all : one_of(all);
      break;
    case ref::Type::kPartial:
      p.bitmap = one_of(all) | (all & static_cast<std::uint32_t>(rng_.next()));
      break;
    case ref::Type::kResult:
      p.bitmap = all;
      break;
    default:
      values = false;
      p.bitmap = rng_.chance(0.5) ? all & static_cast<std::uint32_t>(rng_.next()) : 0;
      break;
    }
    if (p.type == ref::Type::kReminder || p.type == ref::Type::kResult ||
        p.type == ref::Type::kNormResult)
      port = rng_.chance(0.97) ? job.ps_port : port;
    if (values) {
      p.count = static_cast<std::uint8_t>(std::popcount(p.bitmap));
      p.format = job.format;
      if (job.format != ref::Format::kInt32 && p.count == 1 && rng_.chance(0.7) &&
          (p.type == ref::Type::kData || p.type == ref::Type::kResend))
        p.format = ref::Format::kThcIndex4;
      random_values(p, ref::coordinates(config_, job));
    } else if (p.type == ref::Type::kNorm || p.type == ref::Type::kNormResult) {
      p.format = ref::Format::kFp32;
      random_values(p, 1 + rng_.below(100));
    }
  }

  /// One field is wrong. What that makes of the packet is the model's business.
  void spoil(ref::Packet &p) {
    switch (rng_.below(12)) {
    case 0:
      p.type = static_cast<ref::Type>(rng_.chance(0.5) ? 0 : 9 + rng_.below(240));
      break;
    case 11:
      p.epoch = static_cast<std::uint8_t>(rng_.chance(0.5) ? p.epoch - 1U : rng_.next());
      break;
    case 1:
      p.job = static_cast<std::uint16_t>(rng_.chance(0.3) ? 0 : rng_.next());
      break;
    case 2:
      p.fan_in = static_cast<std::uint8_t>(rng_.chance(0.5) ? p.fan_in + 1 : rng_.next());
      break;
    case 3:
      p.slot = static_cast<std::uint16_t>(rng_.chance(0.5) ? config_.slots : rng_.next());
      break;
    case 4:
      p.bitmap = static_cast<std::uint32_t>(rng_.next() & rng_.next());
      break;
    case 5:
      p.bitmap = 0;
      break;
    case 6:
      p.count = static_cast<std::uint8_t>(rng_.next());
      break;
    case 7: // another format, with its own number of whole lanes
      p.format = static_cast<ref::Format>(rng_.below(6));
      if (p.format == ref::Format::kNone)
        p.values.clear();
      break;
    case 8:
      p.values.resize(rng_.below(4) * 16 * (p.format == ref::Format::kNone ? 0 : 1));
      break;
    case 9:
      if (p.format != ref::Format::kNone)
        p.values.resize(p.values.size() + 8 * (1 + rng_.below(60)));
      break;
    default:
      p.bitmap = ~p.bitmap;
      break;
    }
  }

  void damage(std::vector<std::uint8_t> &frame) {
    switch (rng_.below(7)) {
    case 0: // truncated, anywhere
      frame.resize(1 + rng_.below(frame.size() - 1));
      break;
    case 1: // longer than it says
      frame.resize(frame.size() + 1 + rng_.below(100));
      break;
    case 2: // longer than the switch keeps
      frame.resize(1537 + rng_.below(1000));
      break;
    case 3: // a bit of the headers
      frame[14 + rng_.below(std::min<std::size_t>(frame.size(), 52) - 14)] ^=
          static_cast<std::uint8_t>(1U << rng_.below(8));
      break;
    case 4: // any bit
      frame[rng_.below(frame.size())] ^= static_cast<std::uint8_t>(1U << rng_.below(8));
      break;
    case 5: // a UDP checksum that is there and wrong, or by chance right
      frame[40] = static_cast<std::uint8_t>(rng_.next());
      frame[41] = static_cast<std::uint8_t>(rng_.next());
      break;
    default: // no aggregation packet
      frame.resize(14 + rng_.below(1500));
      frame[12] = 0x08;
      frame[13] = 0x06;
      break;
    }
  }

  Random rng_;
  ref::Config config_;
  std::vector<ref::Job> jobs_;
  std::vector<std::uint32_t> bases_;
  std::uint64_t pattern_ = 0, span_ = 1, max_prio_ = 256, turn_ = 0;
  double bad_share_ = 0.0, control_share_ = 0.2;
  bool faults_ = true;
};

} // namespace kestrel::tb::test
