// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/esa/switch.hpp"

#include <algorithm>
#include <bit>

namespace kestrel::esa::ref {

namespace {

constexpr std::uint32_t bit(unsigned n) { return std::uint32_t{1} << n; }
constexpr std::uint32_t low_bits(unsigned n) { return n >= 32 ? ~std::uint32_t{0} : bit(n) - 1; }
std::uint8_t popcount(std::uint32_t x) { return static_cast<std::uint8_t>(std::popcount(x)); }

bool carries_values(Type type) {
  return type == Type::kData || type == Type::kResend || type == Type::kResult ||
         type == Type::kPartial;
}

/// Only the PS's side says these.
bool from_ps(Type type) {
  return type == Type::kReminder || type == Type::kResult || type == Type::kNormResult;
}

bool same_id(const Slot &s, const Packet &p) {
  return !s.free() && s.job == p.job && s.seq == p.seq;
}

} // namespace

const char *to_string(Verdict verdict) {
  constexpr std::array<const char *, kVerdicts> names = {
      "bad_type",   "bad_job",    "bad_fan_in", "bad_slot",  "bad_bitmap",   "bad_count",
      "bad_format", "bad_length", "bad_port",   "bad_tag",   "duplicate",    "stale",
      "ignored",    "stored",     "added",      "completed", "answered",     "preempted",
      "collided",   "flushed",    "negative",   "resent",    "resent_flush", "freed",
      "forwarded",  "bad_epoch"};
  return names[static_cast<std::size_t>(verdict)];
}

std::optional<std::string> config_error(const Config &config) {
  if (config.slots == 0 || config.slots > kMaxSlots) {
    return "slots: " + std::to_string(config.slots) + " is not in 1..65536";
  }
  if (config.ports == 0 || config.ports > kMaxPorts) {
    return "ports: " + std::to_string(config.ports) + " is not in 1..32";
  }
  if (config.lanes > 2048) {
    return "lanes: " + std::to_string(config.lanes) + " is more than 2048";
  }
  if (config.downgrade_shift > 7) {
    return "downgrade_shift: " + std::to_string(config.downgrade_shift) + " is not in 0..7";
  }
  return std::nullopt;
}

std::optional<std::string> job_error(const Config &config, const Job &job) {
  const std::string name = "job " + std::to_string(job.job) + ": ";
  if (job.job == 0) {
    return name + "number 0 is no job";
  }
  if (job.fan_in == 0 || job.fan_in > kMaxFanIn) {
    return name + "fan_in " + std::to_string(job.fan_in) + " is not in 1..32";
  }
  if (job.members == 0 || (job.members & ~low_bits(job.fan_in)) != 0) {
    return name + "members are none, or outside fan_in";
  }
  if (!job.uplink && job.members != low_bits(job.fan_in)) {
    return name + "workers are missing and there is no uplink";
  }
  if (job.member_ports == 0 || (job.member_ports & ~low_bits(config.ports)) != 0) {
    return name + "worker ports are none, or beyond the switch's " + std::to_string(config.ports);
  }
  if (job.ps_port >= config.ports) {
    return name + "ps_port " + std::to_string(job.ps_port) + " is beyond the switch's " +
           std::to_string(config.ports);
  }
  if (job.format != Format::kInt32 && job.format != Format::kThcSum8 &&
      job.format != Format::kThcSum16) {
    return name + "format is not int32, 8-bit sums or 16-bit sums";
  }
  if (job.format == Format::kThcSum8 || job.format == Format::kThcSum16) {
    const unsigned largest = *std::max_element(job.table.begin(), job.table.end());
    const unsigned limit = job.format == Format::kThcSum8 ? 255 : 65535;
    if (largest * job.fan_in > limit) {
      return name + "sums of " + std::to_string(job.fan_in) + " table values up to " +
             std::to_string(largest) + " do not fit their lanes";
    }
  }
  if (config.policy == Policy::kSwitchMl &&
      (job.pool_size == 0 ||
       std::uint64_t{job.pool_base} + 2 * std::uint64_t{job.pool_size} > config.slots)) {
    return name + "pool of 2 x " + std::to_string(job.pool_size) + " slots from " +
           std::to_string(job.pool_base) + " is not within " + std::to_string(config.slots);
  }
  return std::nullopt;
}

Job make_job(std::uint16_t job, const std::vector<unsigned> &worker_ports, unsigned ps_port,
             Format format) {
  Job result;
  result.job = job;
  result.fan_in = static_cast<std::uint8_t>(worker_ports.size());
  result.members = low_bits(result.fan_in);
  for (const unsigned port : worker_ports) {
    result.member_ports |= port < kMaxPorts ? bit(port) : 0;
  }
  result.ps_port = static_cast<std::uint8_t>(ps_port);
  result.format = format;
  return result;
}

std::size_t coordinates(const Config &config, const Job &job) {
  const std::size_t per_lane = job.format == Format::kThcSum8    ? 4
                               : job.format == Format::kThcSum16 ? 2
                                                                 : 1;
  return config.lanes * per_lane;
}

void accumulate(std::vector<std::int32_t> &sums, const Packet &p, const Job &job) {
  const std::uint32_t mask = job.format == Format::kThcSum8    ? 0xFFU
                             : job.format == Format::kThcSum16 ? 0xFFFFU
                                                               : 0xFFFFFFFFU;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto word = static_cast<std::uint32_t>(p.values[i]);
    const std::uint32_t value = p.format == Format::kThcIndex4 ? job.table[word & 15] : word;
    sums[i] = static_cast<std::int32_t>((static_cast<std::uint32_t>(sums[i]) + value) & mask);
  }
}

Switch::Switch(const Config &config)
    : config_(config), slots_(config.slots), slot_counters_(config.slots), index_(65536, 0) {}

std::optional<std::string> Switch::add_job(const Job &job) {
  if (auto error = job_error(config_, job)) {
    return error;
  }
  if (find(job.job) != nullptr) {
    return "job " + std::to_string(job.job) + ": registered already";
  }
  if (config_.policy == Policy::kSwitchMl) {
    for (const Entry &other : jobs_) {
      if (job.pool_base < other.job.pool_base + 2 * other.job.pool_size &&
          other.job.pool_base < job.pool_base + 2 * job.pool_size) {
        return "job " + std::to_string(job.job) + ": pool overlaps that of job " +
               std::to_string(other.job.job);
      }
    }
  }
  jobs_.push_back({job, {}});
  index_[job.job] = static_cast<std::uint16_t>(jobs_.size());
  return std::nullopt;
}

bool Switch::remove_job(std::uint16_t job) {
  if (find(job) == nullptr) {
    return false;
  }
  const std::size_t place = index_[job] - std::size_t{1};
  index_[job] = 0;
  if (place + 1 != jobs_.size()) {
    jobs_[place] = jobs_.back();
    index_[jobs_[place].job.job] = static_cast<std::uint16_t>(place + 1);
  }
  jobs_.pop_back();
  for (Slot &s : slots_) {
    if (s.job == job) {
      release(s);
    }
  }
  return true;
}

const Job *Switch::find(std::uint16_t job) const {
  return index_[job] == 0 ? nullptr : &jobs_[index_[job] - std::size_t{1}].job;
}

JobCounters Switch::job_counters(std::uint16_t job) const {
  return index_[job] == 0 ? JobCounters{} : jobs_[index_[job] - std::size_t{1}].counters;
}

// ---- What is refused before any slot is looked at, in this order.
std::optional<Verdict> Switch::malformed(const Packet &p, unsigned in_port) const {
  if (p.type < Type::kData || p.type > Type::kNormResult) {
    return Verdict::kBadType;
  }
  const Job *job = find(p.job);
  if (job == nullptr) {
    return Verdict::kBadJob;
  }
  if (p.epoch != job->epoch) {
    return Verdict::kBadEpoch;
  }
  if (p.fan_in != job->fan_in) {
    return Verdict::kBadFanIn;
  }
  if (p.slot >= (config_.policy == Policy::kSwitchMl ? job->pool_size : config_.slots)) {
    return Verdict::kBadSlot;
  }
  // Bits name workers of the job. A contribution is one worker's, or several below one port of a
  // spine; it is from below this switch. A RESEND is one worker's, or the whole result from one
  // that has it.
  const std::uint32_t all = low_bits(job->fan_in);
  bool bits_ok = (p.bitmap & ~all) == 0;
  if (p.type == Type::kData) {
    bits_ok = bits_ok && p.bitmap != 0 && (p.bitmap & ~job->members) == 0 &&
              (job->multi || popcount(p.bitmap) == 1);
  } else if (p.type == Type::kResend) {
    bits_ok = bits_ok && (popcount(p.bitmap) == 1 || p.bitmap == all);
  } else if (p.type == Type::kResult) {
    bits_ok = p.bitmap == all;
  } else if (p.type == Type::kPartial) {
    bits_ok = bits_ok && p.bitmap != 0;
  }
  if (!bits_ok) {
    return Verdict::kBadBitmap;
  }
  if (p.count != (carries_values(p.type) ? popcount(p.bitmap) : 0)) {
    return Verdict::kBadCount;
  }
  // Norms are passed on as they are. Other control packets are bare. Values are in the job's
  // format, or one worker's THC indices.
  if (p.type == Type::kNorm || p.type == Type::kNormResult) {
    // Nothing to check.
  } else if (!carries_values(p.type)) {
    if (p.format != Format::kNone) {
      return Verdict::kBadFormat;
    }
    if (!p.values.empty()) {
      return Verdict::kBadLength;
    }
  } else {
    const bool indices = p.format == Format::kThcIndex4 && job->format != Format::kInt32 &&
                         p.count == 1 && (p.type == Type::kData || p.type == Type::kResend);
    if (p.format != job->format && !indices) {
      return Verdict::kBadFormat;
    }
    if (p.values.size() != coordinates(config_, *job)) {
      return Verdict::kBadLength;
    }
  }
  if (from_ps(p.type) && in_port != job->ps_port) {
    return Verdict::kBadPort;
  }
  return std::nullopt;
}

/// SwitchML: the pool's first M slots are set 0, the next M set 1. Others: the slot asked for.
std::uint32_t Switch::physical(const Packet &p, const Job &job) const {
  if (config_.policy != Policy::kSwitchMl) {
    return p.slot;
  }
  return job.pool_base + p.slot + ((p.flags & flag::kSet) != 0 ? job.pool_size : 0);
}

Outcome Switch::process(const Packet &p, unsigned in_port) {
  Outcome outcome;
  if (const auto bad = malformed(p, in_port)) {
    outcome.verdict = *bad;
  } else {
    const Job &job = *find(p.job);
    const std::uint32_t index = physical(p, job);
    Slot &s = slots_[index];
    switch (p.type) {
    case Type::kData:
      outcome = data(p, job, index, in_port);
      break;
    case Type::kResend:
      outcome = resend(p, job, index);
      break;
    case Type::kReminder:
      outcome = reminder(p, job, index);
      break;
    // The sum is complete: whatever a slot holds of it is contained in the result.
    case Type::kResult:
      outcome = {Verdict::kForwarded, Emission{p, job.member_ports}};
      if (same_id(s, p)) {
        release(s);
        outcome.verdict = Verdict::kFreed;
      }
      break;
    // Only a completed slot is freed: an incomplete one holds contributions that are nowhere else.
    // In a rack switch the RESULT from above frees, and the ACK goes up to the switch that holds.
    case Type::kAck:
      if (job.uplink) {
        outcome = {Verdict::kForwarded, Emission{p, bit(job.ps_port)}};
      } else if (same_id(s, p) && s.bitmap == job.members) {
        release(s);
        outcome.verdict = Verdict::kFreed;
      } else {
        outcome.verdict = Verdict::kIgnored;
      }
      break;
    case Type::kPartial: // of a rack switch, through a spine switch
    case Type::kNorm:
      outcome = {Verdict::kForwarded, Emission{p, bit(job.ps_port)}};
      break;
    case Type::kNormResult:
      outcome = {Verdict::kForwarded, Emission{p, job.member_ports}};
      break;
    }
  }
  ++verdicts_[static_cast<std::size_t>(outcome.verdict)];
  if (index_[p.job] != 0) {
    ++jobs_[index_[p.job] - std::size_t{1}]
          .counters.verdicts[static_cast<std::size_t>(outcome.verdict)];
  }
  return outcome;
}

Outcome Switch::data(const Packet &p, const Job &job, std::uint32_t index, unsigned in_port) {
  Slot &s = slots_[index];
  SlotCounters &counters = slot_counters_[index];

  // Refused by a switch before this one: only passed on.
  if ((p.flags & flag::kCollision) != 0) {
    return {Verdict::kForwarded, Emission{p, bit(job.ps_port)}};
  }

  // Complete in itself (one member only): never takes a slot, never meets old memory.
  if (p.bitmap == job.members) {
    Slot alone;
    store(alone, p, job);
    return {Verdict::kCompleted, complete(alone, p, job)};
  }

  // Free.
  if (s.free()) {
    store(s, p, job);
    ++counters.stored;
    return {Verdict::kStored, std::nullopt};
  }

  if (same_id(s, p)) {
    if (s.config != p.config) {
      return {Verdict::kBadTag, std::nullopt};
    }
    // Duplicate: dropped, or answered from a completed slot: to the port it came from where the
    // members had their RESULT from here, else again where the complete sum went.
    if ((s.bitmap & p.bitmap) != 0) {
      if ((p.bitmap & ~s.bitmap) !=
          0) { // several workers' sum, in the slot in part: the PS decides
        return refuse(p, job, index);
      }
      if (s.bitmap != job.members) {
        return {Verdict::kDuplicate, std::nullopt};
      }
      Emission answer = complete(s, p, job);
      if (answer.packet.type == Type::kResult) {
        answer.ports = bit(in_port);
      }
      return {Verdict::kAnswered, std::move(answer)};
    }
    add(s, p, job);
    ++counters.added;
    if (s.bitmap != job.members) {
      return {Verdict::kAdded, std::nullopt};
    }
    // Complete.
    ++counters.completed;
    Emission result = complete(s, p, job);
    if (config_.policy != Policy::kSwitchMl && config_.completed == Completed::kFree) {
      release(s);
    }
    return {Verdict::kCompleted, std::move(result)};
  }

  // Another aggregation has the slot.
  if (config_.policy == Policy::kSwitchMl) {
    // All workers have had the result of a completed set before one of them comes back to it, so a
    // newer packet takes it over. Sequence numbers are compared modulo 2^32.
    const bool newer = static_cast<std::int32_t>(p.seq - s.seq) > 0;
    if (!newer || s.bitmap != job.members) {
      return {Verdict::kStale, std::nullopt};
    }
    store(s, p, job);
    ++counters.stored;
    return {Verdict::kStored, std::nullopt};
  }
  if (config_.policy == Policy::kEsa && takes(p, s)) {
    Emission old = partial(s, p.slot, 0);
    ++jobs_[index_[s.job] - std::size_t{1}].counters.evicted;
    store(s, p, job);
    ++counters.preempted;
    ++counters.stored;
    return {Verdict::kPreempted, std::move(old)};
  }
  if (config_.policy == Policy::kEsa) {
    s.prio = static_cast<std::uint8_t>(s.prio >> config_.downgrade_shift);
  }
  return refuse(p, job, index);
}

Outcome Switch::refuse(const Packet &p, const Job &job, std::uint32_t index) {
  ++slot_counters_[index].collided;
  Emission refused{p, bit(job.ps_port)};
  refused.packet.flags |= flag::kCollision;
  return {Verdict::kCollided, std::move(refused)};
}

bool Switch::takes(const Packet &p, const Slot &s) {
  switch (config_.preempt) {
  case Preempt::kHigher:
    return p.prio > s.prio;
  case Preempt::kNever:
    return false;
  case Preempt::kAlways:
    return true;
  case Preempt::kRandom:
    lfsr_ = (lfsr_ >> 1) ^ ((lfsr_ & 1) != 0 ? 0xA3000000U : 0U);
    return (lfsr_ & 1) != 0;
  }
  return false;
}

// One packet goes to the PS and the slot is free: nothing of this id is left behind.
Outcome Switch::resend(const Packet &p, const Job &job, std::uint32_t index) {
  Slot &s = slots_[index];
  if (!same_id(s, p)) {
    return {Verdict::kResent, Emission{p, bit(job.ps_port)}};
  }
  if (s.config != p.config) {
    return {Verdict::kBadTag, std::nullopt};
  }
  Emission out{p, bit(job.ps_port)};
  if ((s.bitmap & p.bitmap) == 0) { // both, added on the way out
    add(s, p, job);
    out = partial(s, p.slot, p.flags & flag::kSet);
  } else if ((s.bitmap & ~p.bitmap) != 0) { // the slot has what the packet brings, and more
    out = partial(s, p.slot, p.flags & flag::kSet);
  } // else the packet has all that the slot has
  release(s);
  ++slot_counters_[index].flushed;
  return {Verdict::kResentFlush, std::move(out)};
}

// Without a slot of the id, the answer is the REMINDER itself with NEGATIVE. A REMINDER that has
// NEGATIVE set already is the PS's request to the workers in its bitmap to RESEND: it goes on to
// the members.
Outcome Switch::reminder(const Packet &p, const Job &job, std::uint32_t index) {
  Slot &s = slots_[index];
  if (same_id(s, p)) {
    Emission out = partial(s, p.slot, p.flags & flag::kSet);
    release(s);
    ++slot_counters_[index].flushed;
    return {Verdict::kFlushed, std::move(out)};
  }
  const bool request = (p.flags & flag::kNegative) != 0;
  Emission out{p, request ? job.member_ports : bit(job.ps_port)};
  out.packet.flags |= flag::kNegative;
  return {Verdict::kNegative, std::move(out)};
}

// ---- Slots and what is made of them.
void Switch::store(Slot &s, const Packet &p, const Job &job) const {
  s.job = p.job;
  s.seq = p.seq;
  s.bitmap = p.bitmap;
  s.count = popcount(p.bitmap);
  s.prio = p.prio;
  s.ecn = (p.flags & flag::kEcn) != 0;
  s.config = p.config;
  s.values.assign(p.values.size(), 0);
  accumulate(s.values, p, job);
}

/// A contribution shows that the aggregation is alive: its priority makes good what collisions
/// took.
void Switch::add(Slot &s, const Packet &p, const Job &job) const {
  s.bitmap |= p.bitmap;
  s.count = static_cast<std::uint8_t>(s.count + popcount(p.bitmap));
  s.prio = std::max(s.prio, p.prio);
  s.ecn = s.ecn || (p.flags & flag::kEcn) != 0;
  accumulate(s.values, p, job);
}

void Switch::release(Slot &s) const {
  s.job = 0;
  s.bitmap = 0;
  s.count = 0;
}

/// The complete sum: RESULT to the members; from a rack switch DATA to the switch above; by way of
/// the PS a PARTIAL with all bits. p is the packet that caused it.
Emission Switch::complete(const Slot &s, const Packet &p, const Job &job) const {
  Emission out = partial(s, p.slot, p.flags & flag::kSet);
  if (job.uplink) {
    out.packet.type = Type::kData;
  } else if (config_.policy == Policy::kSwitchMl || config_.completed != Completed::kViaPs) {
    out.packet.type = Type::kResult;
    out.ports = job.member_ports;
  }
  return out;
}

/// A slot's contents as PARTIAL to the PS of its job.
Emission Switch::partial(const Slot &s, std::uint16_t slot, std::uint8_t set) const {
  const Job &job = *find(s.job);
  Packet out;
  out.type = Type::kPartial;
  out.flags = static_cast<std::uint8_t>(set | (s.ecn ? flag::kEcn : 0));
  out.format = job.format;
  out.epoch = job.epoch;
  out.fan_in = job.fan_in;
  out.prio = s.prio;
  out.count = s.count;
  out.job = s.job;
  out.slot = slot;
  out.seq = s.seq;
  out.bitmap = s.bitmap;
  out.config = s.config;
  out.values = s.values;
  return {std::move(out), bit(job.ps_port)};
}

std::optional<std::string> Switch::invariant_error() const {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot &s = slots_[i];
    const std::string name = "slot " + std::to_string(i) + ": ";
    if (popcount(s.bitmap) != s.count) {
      return name + "count is not popcount(bitmap)";
    }
    if (s.free() != (s.bitmap == 0)) {
      return name + "free does not agree with bitmap == 0";
    }
    if (s.free()) {
      continue;
    }
    const Job *job = find(s.job);
    if (job == nullptr) {
      return name + "belongs to no job";
    }
    if ((s.bitmap & ~job->members) != 0) {
      return name + "contributor outside the members";
    }
    if (config_.policy != Policy::kSwitchMl && config_.completed == Completed::kFree &&
        s.bitmap == job->members) {
      return name + "complete, but not freed";
    }
  }
  return std::nullopt;
}

} // namespace kestrel::esa::ref
