// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/esa/hosts.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace kestrel::esa::ref {

namespace {

constexpr Time kMostBackOff = 64;

std::uint32_t everybody(const HostConfig &config) {
  return config.job.fan_in >= 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << config.job.fan_in) - 1;
}

Packet blank(const HostConfig &config, Type type, std::uint32_t seq, std::uint16_t slot) {
  Packet p;
  p.type = type;
  p.job = config.job.job;
  p.epoch = config.job.epoch;
  p.fan_in = config.job.fan_in;
  p.seq = seq;
  p.slot = slot;
  return p;
}

} // namespace

std::uint32_t slot_hash(std::uint16_t job, std::uint32_t place, std::uint32_t salt) {
  std::uint32_t crc = ~std::uint32_t{0};
  const std::array<std::uint8_t, 10> bytes = {
      static_cast<std::uint8_t>(job >> 8),    static_cast<std::uint8_t>(job),
      static_cast<std::uint8_t>(place >> 24), static_cast<std::uint8_t>(place >> 16),
      static_cast<std::uint8_t>(place >> 8),  static_cast<std::uint8_t>(place),
      static_cast<std::uint8_t>(salt >> 24),  static_cast<std::uint8_t>(salt >> 16),
      static_cast<std::uint8_t>(salt >> 8),   static_cast<std::uint8_t>(salt)};
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
    }
  }
  return ~crc;
}

// ---- Worker.
Worker::Worker(const HostConfig &config, unsigned index,
               std::function<std::vector<std::int32_t>(std::uint32_t)> values,
               std::function<std::uint8_t(std::uint32_t)> prio, Format format)
    : config_(config), index_(index), values_(std::move(values)), prio_(std::move(prio)),
      format_(format), results_(config.sequences), places_(config.window_max),
      window_(std::min(config.window_start, config.window_max)), threshold_(config.window_max) {
  for (std::uint32_t place = 0; place < config.window_max; ++place) {
    places_[place] = static_cast<std::uint16_t>(slot_hash(config.job.job, place, 0) % config.slots);
  }
  if (config.policy == Policy::kSwitchMl) {
    window_ = config.job.pool_size; // self-clocked: one packet a slot
  }
}

std::uint16_t Worker::slot_of(std::uint32_t seq) const {
  return config_.policy == Policy::kSwitchMl
             ? static_cast<std::uint16_t>(seq % config_.job.pool_size)
             : places_[seq % config_.window_max];
}

void Worker::send(std::uint32_t seq, Type type, std::uint8_t flags, std::vector<Packet> &out) {
  Packet p = blank(config_, type, seq, slot_of(seq));
  p.flags = flags;
  if (config_.policy == Policy::kSwitchMl && seq / config_.job.pool_size % 2 == 1) {
    p.flags |= flag::kSet;
  }
  p.prio = prio_(seq);
  p.config = config_.tag;
  if (type == Type::kAck) {
    p.bitmap = std::uint32_t{1} << index_;
  } else if (results_[seq]) { // all of it
    p.format = results_[seq]->format;
    p.bitmap = results_[seq]->bitmap;
    p.count = results_[seq]->count;
    p.values = results_[seq]->values;
  } else {
    p.format = format_;
    p.bitmap = std::uint32_t{1} << index_;
    p.count = 1;
    p.values = values_(seq);
  }
  ++counters_.sent;
  out.push_back(std::move(p));
}

void Worker::first(std::uint32_t seq, Time now, std::vector<Packet> &out) {
  Open open;
  open.wait = config_.timeout;
  open.due = now + open.wait;
  next_due_ = std::min(next_due_, open.due);
  send(seq, Type::kData, 0, out);
  open_.emplace(seq, open);
}

/// Sends while the window has room. A place of the window is used again only when its last
/// aggregation was delivered. SwitchML: once into each slot of the pool; what follows is sent on
/// receipt.
void Worker::fill(Time now, std::vector<Packet> &out) {
  const bool pool = config_.policy == Policy::kSwitchMl;
  const std::uint32_t end =
      pool ? std::min(config_.sequences, config_.job.pool_size) : config_.sequences;
  while (next_ < end && open_.size() < window_ &&
         (pool || next_ < config_.window_max || results_[next_ - config_.window_max])) {
    first(next_++, now, out);
  }
}

void Worker::again(std::uint32_t seq, Open &open, Wait wait, Time now, std::vector<Packet> &out) {
  const bool pool = config_.policy == Policy::kSwitchMl;
  send(seq, pool ? Type::kData : Type::kResend, flag::kRetransmit, out);
  ++counters_.resent;
  ++open.sendings;
  open.later = 0;
  if (wait == Wait::kDoubled) {
    open.wait = std::min(open.wait * 2, config_.timeout * kMostBackOff);
  }
  open.due = now + open.wait;
  next_due_ = std::min(next_due_, open.due);
  failed_ = failed_ || (pool && open.sendings > config_.give_up);
}

/// At most once for each window of packets.
void Worker::halve() {
  if (config_.policy == Policy::kSwitchMl || delivered_ < recover_) {
    return;
  }
  window_ = std::max<std::uint32_t>(1, window_ / 2);
  threshold_ = window_;
  credit_ = 0;
  recover_ = delivered_ + static_cast<std::uint32_t>(open_.size());
  ++counters_.halved;
}

void Worker::receive(const Packet &p, Time now, std::vector<Packet> &out) {
  if (p.job != config_.job.job || p.epoch != config_.job.epoch || p.seq >= config_.sequences) {
    return; // not of this start of the job
  }
  if (p.type == Type::kReminder && (p.flags & flag::kNegative) != 0) { // the PS asks: it is there
    if ((p.bitmap >> index_ & 1) != 0) {
      if (const auto it = open_.find(p.seq); it != open_.end()) {
        again(p.seq, it->second, Wait::kAsBefore, now, out);
        ++counters_.answered;
      } else if (results_[p.seq]) {
        send(p.seq, Type::kResend, flag::kRetransmit, out);
        ++counters_.answered;
      } else if (!open_.empty()) {
        // The others are ahead: they have the result that this worker waits for with a long timer.
        again(open_.begin()->first, open_.begin()->second, Wait::kAsBefore, now, out);
      }
    }
    return;
  }
  if (p.type != Type::kResult) {
    return;
  }
  const auto it = open_.find(p.seq);
  if (it == open_.end()) {
    ++counters_.stale;
    return;
  }
  open_.erase(it);
  results_[p.seq] = p;
  ++delivered_;
  ++counters_.results;
  if (config_.policy == Policy::kSwitchMl) {
    if (config_.sequences - p.seq > config_.job.pool_size) {
      first(p.seq + config_.job.pool_size, now, out);
    }
  } else {
    places_[p.seq % config_.window_max] = p.slot; // the PS proposes another slot after a collision
    if (config_.completed == Completed::kHold && index_ == 0) {
      send(p.seq, Type::kAck, 0, out);
    }
    if ((p.flags & flag::kEcn) != 0) {
      halve();
    } else if (window_ < config_.window_max) {
      if (window_ < threshold_) {
        ++window_;
      } else if (++credit_ >= window_) {
        ++window_;
        credit_ = 0;
      }
    }
    for (auto &[seq, open] : open_) { // only the oldest can have been overtaken by three
      if (seq > p.seq) {
        break;
      }
      if (++open.later == config_.out_of_order && open.sendings == 1) {
        again(seq, open, Wait::kDoubled, now, out);
        halve();
      }
      break;
    }
  }
  if (config_.policy != Policy::kSwitchMl) {
    fill(now, out);
  }
}

void Worker::poll(Time now, std::vector<Packet> &out) {
  next_due_ = kNever;
  for (auto &[seq, open] : open_) {
    if (open.due <= now) {
      again(seq, open, Wait::kDoubled, now, out);
      ++counters_.timeouts;
    }
    next_due_ = std::min(next_due_, open.due);
  }
  fill(now, out);
}

// ---- Parameter server.
ParameterServer::ParameterServer(const HostConfig &config) : config_(config) {}

void ParameterServer::restart() {
  entries_.clear();
  finished_.clear();
  timers_.clear();
  salts_.clear();
}

/// To the switch, which sends it to the members. After a collision with another slot for the next
/// use of the place: the next salt.
void ParameterServer::result(Entry &entry, std::vector<Packet> &out) {
  out.push_back(entry.sum);
  ++counters_.results;
}

void ParameterServer::request(Entry &entry, std::vector<Packet> &out) {
  Packet p = blank(config_, Type::kReminder, entry.sum.seq, entry.sum.slot);
  p.flags = flag::kNegative;
  p.bitmap = everybody(config_) & ~entry.sum.bitmap;
  out.push_back(std::move(p));
  ++counters_.requests;
  ++entry.requests;
}

void ParameterServer::forget() {
  while (finished_.size() > config_.history) {
    entries_.erase(finished_.front());
    finished_.pop_front();
  }
}

void ParameterServer::receive(const Packet &p, Time now, std::vector<Packet> &out) {
  if (p.job != config_.job.job || p.epoch != config_.job.epoch || p.seq >= config_.sequences) {
    return; // not of this start of the job
  }
  ++counters_.packets;
  if (p.type == Type::kReminder) { // the slot has nothing: ask those who are missing
    if (const auto it = entries_.find(p.seq); it != entries_.end() && !it->second.complete) {
      request(it->second, out);
    }
    return;
  }
  if (p.type != Type::kData && p.type != Type::kPartial && p.type != Type::kResend) {
    return;
  }
  auto [it, created] = entries_.try_emplace(p.seq);
  Entry &entry = it->second;
  if (created) {
    entry.sum = blank(config_, Type::kResult, p.seq, p.slot);
    entry.sum.format = config_.job.format;
    entry.sum.config = p.config;
    entry.sum.values.assign(p.values.size(), 0);
    if (config_.policy == Policy::kAtp && p.type == Type::kData && p.seq >= config_.window_max) {
      out.push_back(blank(config_, Type::kReminder, p.seq - config_.window_max, p.slot));
      ++counters_.reminders;
    }
  }
  if (entry.complete) {
    ++counters_.repeated;
    result(entry, out);
    return;
  }
  entry.collided = entry.collided || (p.type == Type::kData);
  entry.sum.slot = p.slot;
  entry.sum.flags |= p.flags & flag::kEcn;
  entry.sum.prio = std::max(entry.sum.prio, p.prio);
  const std::uint32_t all = everybody(config_);
  if (p.bitmap == all && p.format == config_.job.format) {
    entry.sum.bitmap = all;
    entry.sum.values = p.values;
    ++counters_.adopted;
  } else if ((entry.sum.bitmap & p.bitmap) == 0) {
    entry.sum.bitmap |= p.bitmap;
    accumulate(entry.sum.values, p, config_.job);
    ++counters_.accepted;
    entry.requests = 0;
  } else {
    ++counters_.rejected;
  }
  entry.sum.count = static_cast<std::uint8_t>(std::popcount(entry.sum.bitmap));
  if (entry.sum.bitmap == all) {
    entry.complete = true;
    if (entry.collided) {
      const std::uint32_t place = p.seq % config_.window_max;
      entry.sum.slot = static_cast<std::uint16_t>(
          slot_hash(config_.job.job, place, ++salts_[place]) % config_.slots);
    }
    finished_.push_back(p.seq);
    result(entry, out);
    forget();
    return;
  }
  entry.wait = config_.reminder;
  entry.due = now + entry.wait;
  timers_[entry.due].push_back(p.seq);
}

void ParameterServer::poll(Time now, std::vector<Packet> &out) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const auto seqs = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    for (const std::uint32_t seq : seqs) {
      const auto it = entries_.find(seq);
      if (it == entries_.end() || it->second.complete || it->second.due > now) {
        continue;
      }
      Entry &entry = it->second;
      if (entry.requests >= config_.give_up) {
        if (!entry.reported) {
          reports_.push_back({seq, everybody(config_) & ~entry.sum.bitmap});
          entry.reported = true;
        }
        continue;
      }
      // A reminder first; should it or its answer get lost, requests from then on.
      if (entry.wait == config_.reminder) {
        out.push_back(blank(config_, Type::kReminder, seq, entry.sum.slot));
        ++counters_.reminders;
      } else {
        request(entry, out);
      }
      entry.wait = std::min(entry.wait * 2, config_.reminder * kMostBackOff);
      entry.due = now + entry.wait;
      timers_[entry.due].push_back(seq);
    }
  }
}

Time ParameterServer::next_timer() const {
  return timers_.empty() ? kNever : timers_.begin()->first;
}

} // namespace kestrel::esa::ref
