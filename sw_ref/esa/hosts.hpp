// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The end hosts of the aggregation protocol: workers with their windows and timers, and the
// parameter server (PS). All timers are here; the switch has none. Hosts are state machines in an
// abstract time (`Time`, nanoseconds say): who runs them gives them packets and the time, and sends
// what they say.
//
// How an aggregation always ends (ESA and ATP):
//   - A worker sends DATA and waits for RESULT. When it waits too long, or sees three later
//     results, it sends its contribution again as RESEND, which no switch keeps and which takes
//     along what the slot holds. The time to wait doubles each time.
//   - The PS adds what reaches it (refused DATA, PARTIAL, RESEND) as long as none of the
//     contributors was counted already, otherwise it rejects the packet whole. Once all are there
//     it sends RESULT, and again for whatever comes later. What has all contributors is the result
//     itself.
//   - An incomplete aggregation that nothing was added to for some time makes the PS send a
//     REMINDER for the slot; when the slot has none of it, a request to the missing workers. These
//     answer with RESEND, or, when they have the result, with all of it. A worker that has not come
//     so far sends its oldest one again.
//   - In ATP nothing ages a slot that was left behind (by a late duplicate, or held because an ACK
//     was lost). The PS clears it when a DATA packet is refused there: places of the window are
//     recycled, so the previous aggregation of the place is over, and a REMINDER for it frees the
//     slot.
//   - When requests stay unanswered the PS reports the aggregation with the workers that are
//     missing.
// SwitchML has no PS: workers send DATA again until they have the result, or report it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sw_ref/esa/switch.hpp"

namespace kestrel::esa::ref {

using Time = std::uint64_t;
inline constexpr Time kNever = ~Time{0};

/// CRC-32 (IEEE 802.3) of job, place and salt, each in network byte order: the slot is that modulo
/// the number of slots. All workers of a job agree on it without talking.
[[nodiscard]] std::uint32_t slot_hash(std::uint16_t job, std::uint32_t place, std::uint32_t salt);

struct HostConfig {
  Policy policy = Policy::kEsa;
  Completed completed = Completed::kFree; ///< kHold: worker 0 acknowledges results
  Job job;                     ///< job number, fan_in, format, table, pool_size (SwitchML)
  std::uint32_t slots = 1;     ///< of the switch; slot numbers are below
  std::uint32_t sequences = 0; ///< aggregations of the job: 0 .. sequences - 1
  std::uint32_t window_start = 200;
  std::uint32_t window_max =
      1024;                  ///< also the places that are recycled: seq k takes place k mod this
  unsigned out_of_order = 3; ///< later results that make a worker send again
  Time timeout = 1'000'000;  ///< of a worker; doubled each time, up to 64-fold
  Time reminder = 300'000;   ///< of the PS; doubled each time, up to 64-fold
  unsigned give_up =
      40; ///< requests of the PS, or sendings of a SwitchML worker, without an answer
  std::uint32_t history = 4096; ///< results that the PS keeps
  std::uint16_t tag = 0;        ///< of the compression, in every contribution
};

struct WorkerCounters {
  std::uint64_t sent = 0, resent = 0, results = 0, stale = 0, timeouts = 0, halved = 0,
                answered = 0;
};

class Worker {
public:
  /// `values`: this worker's contribution to an aggregation. `prio`: of an aggregation.
  Worker(const HostConfig &config, unsigned index,
         std::function<std::vector<std::int32_t>(std::uint32_t seq)> values,
         std::function<std::uint8_t(std::uint32_t seq)> prio, Format format = Format::kInt32);

  /// A packet for this worker; what it sends is appended to `out`.
  void receive(const Packet &packet, Time now, std::vector<Packet> &out);
  /// To be called at the start and whenever next_timer() is due.
  void poll(Time now, std::vector<Packet> &out);
  /// Not later than the first timer that is due (it may be of a packet that is answered by now).
  [[nodiscard]] Time next_timer() const { return next_due_; }

  [[nodiscard]] bool done() const { return delivered_ == config_.sequences; }
  [[nodiscard]] std::uint32_t delivered() const { return delivered_; }
  [[nodiscard]] const std::optional<Packet> &result(std::uint32_t seq) const {
    return results_[seq];
  }
  [[nodiscard]] std::uint32_t window() const { return window_; }
  /// SwitchML: an aggregation was given up.
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] const WorkerCounters &counters() const { return counters_; }

private:
  struct Open {
    Time due = 0;
    Time wait = 0;
    unsigned later = 0; ///< results of later aggregations since
    unsigned sendings = 1;
  };
  void send(std::uint32_t seq, Type type, std::uint8_t flags, std::vector<Packet> &out);
  void first(std::uint32_t seq, Time now, std::vector<Packet> &out);
  enum class Wait : std::uint8_t { kAsBefore, kDoubled };
  void again(std::uint32_t seq, Open &open, Wait wait, Time now, std::vector<Packet> &out);
  void fill(Time now, std::vector<Packet> &out);
  void halve();
  [[nodiscard]] std::uint16_t slot_of(std::uint32_t seq) const;

  HostConfig config_;
  unsigned index_;
  std::function<std::vector<std::int32_t>(std::uint32_t)> values_;
  std::function<std::uint8_t(std::uint32_t)> prio_;
  Format format_;
  Time next_due_ = kNever;
  std::uint32_t next_ = 0;
  std::uint32_t delivered_ = 0;
  std::map<std::uint32_t, Open> open_;
  std::vector<std::optional<Packet>> results_;
  std::vector<std::uint16_t> places_; ///< slot of each place of the window
  std::uint32_t window_;
  std::uint32_t threshold_;   ///< below: +1 for each result, above: +1 for each window
  std::uint32_t credit_ = 0;  ///< results since the window last grew
  std::uint32_t recover_ = 0; ///< not halved again before this one is delivered
  bool failed_ = false;
  WorkerCounters counters_;
};

struct PsCounters {
  std::uint64_t packets = 0, accepted = 0, rejected = 0, adopted = 0, results = 0, repeated = 0,
                reminders = 0, requests = 0;
};

struct Report {
  std::uint32_t seq = 0;
  std::uint32_t missing = 0; ///< workers that did not contribute
};

class ParameterServer {
public:
  explicit ParameterServer(const HostConfig &config);

  void receive(const Packet &packet, Time now, std::vector<Packet> &out);
  void poll(Time now, std::vector<Packet> &out);
  [[nodiscard]] Time next_timer() const;
  /// Forgets everything, as after a crash.
  void restart();

  [[nodiscard]] const std::vector<Report> &reports() const { return reports_; }
  [[nodiscard]] const PsCounters &counters() const { return counters_; }

private:
  struct Entry {
    Packet sum; ///< bitmap: who is in it
    bool collided = false;
    bool complete = false;
    bool reported = false;
    Time due = 0;
    Time wait = 0;
    unsigned requests = 0;
  };
  void result(Entry &entry, std::vector<Packet> &out);
  void request(Entry &entry, std::vector<Packet> &out);
  void forget();

  HostConfig config_;
  std::map<std::uint32_t, Entry> entries_;
  std::deque<std::uint32_t> finished_;
  std::map<Time, std::vector<std::uint32_t>> timers_;
  std::unordered_map<std::uint32_t, std::uint32_t> salts_; ///< of the places that collided
  std::vector<Report> reports_;
  PsCounters counters_;
};

} // namespace kestrel::esa::ref
