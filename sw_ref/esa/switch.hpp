// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The aggregation switch, one packet at a time: what every pipeline of it must be equivalent to,
// for the policies ESA (preemptive slots), ATP (first come, first served) and SwitchML (static
// pools of two sets). Sources: "Efficient Data-Plane Memory Scheduling for In-Network Aggregation"
// (arXiv 2201.06398) for ESA, reconstructed from the published behaviour of ATP (NSDI 2021) and
// SwitchML (NSDI 2021); every reconstructed choice is stated here and in docs/esa.md.
//
// A packet causes exactly one verdict, changes at most one slot and emits at most one packet (to
// one or more ports). The switch has no timer; all of those are at the end hosts (hosts.hpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kestrel::esa::ref {

inline constexpr unsigned kMaxFanIn = 32; ///< workers of a job, over all levels of switches
inline constexpr unsigned kMaxPorts = 32;
inline constexpr std::uint32_t kMaxSlots = 65536;
inline constexpr unsigned kNoPort = 255;

/// The wire's numbers (contract/wire.json).
enum class Type : std::uint8_t {
  kData = 1,       ///< a contribution
  kResult = 2,     ///< the sum of all contributions, to the workers
  kPartial = 3,    ///< former contents of a slot, to the PS
  kReminder = 4,   ///< PS: hand over what the slot holds of this id
  kResend = 5,     ///< a contribution for the PS: never stored in the switch
  kAck = 6,        ///< worker: a completed slot that is held may be freed
  kNorm = 7,       ///< worker to PS, passed on
  kNormResult = 8, ///< PS to workers, passed on
};

namespace flag {
inline constexpr std::uint8_t kCollision = 1;  ///< DATA refused by a switch, on its way to the PS
inline constexpr std::uint8_t kEcn = 2;        ///< a queue on the way was long; kept by the slot
inline constexpr std::uint8_t kNegative = 4;   ///< REMINDER: see Switch
inline constexpr std::uint8_t kRetransmit = 8; ///< sent again by its host; the switch does not look
inline constexpr std::uint8_t kSet = 16;       ///< SwitchML: the second set of the pool
} // namespace flag

enum class Format : std::uint8_t {
  kNone = 0,
  kInt32 = 1,     ///< sums wrap modulo 2^32
  kThcIndex4 = 2, ///< table indices, looked up on arrival in a slot
  kThcSum8 = 3,   ///< unsigned 8-bit sums of table values
  kThcSum16 = 4,  ///< unsigned 16-bit sums of table values
  kFp32 = 5,      ///< norms; never summed by the switch
};

struct Packet {
  Type type = Type::kData;
  std::uint8_t flags = 0;
  Format format = Format::kNone;
  std::uint8_t fan_in = 0;
  std::uint8_t prio = 0;
  std::uint8_t epoch = 0; ///< start of the job that it belongs to
  std::uint8_t count = 0; ///< contributions in the values = popcount(bitmap); 0 without values
  std::uint16_t job = 0;
  std::uint16_t slot = 0;
  std::uint32_t seq = 0;
  std::uint32_t bitmap = 0;         ///< bit w: the values contain worker w's contribution
  std::uint16_t config = 0;         ///< tag of the compression; differing tags are never summed
  std::vector<std::int32_t> values; ///< one element a coordinate in every format
  friend bool operator==(const Packet &, const Packet &) = default;
};

struct Slot {
  std::uint16_t job = 0; ///< 0: free; then bitmap and count are 0 and the rest has no meaning
  std::uint32_t seq = 0;
  std::uint32_t bitmap = 0;
  std::uint8_t count = 0; ///< popcount(bitmap)
  std::uint8_t prio = 0;
  bool ecn = false; ///< some contribution met a long queue
  std::uint16_t config = 0;
  std::vector<std::int32_t> values;
  [[nodiscard]] bool free() const { return job == 0; }
  friend bool operator==(const Slot &, const Slot &) = default;
};

enum class Policy : std::uint8_t { kEsa, kAtp, kSwitchMl };

/// What happens to a slot whose aggregation is complete (ESA and ATP; SwitchML always holds until
/// the next use of the slot).
enum class Completed : std::uint8_t {
  kFree,  ///< RESULT to the members, slot free at once
  kHold,  ///< RESULT to the members, slot held until ACK or RESULT; duplicates are answered from it
  kViaPs, ///< as ATP publishes it: full PARTIAL to the PS, slot held until the PS's RESULT passes
};

/// When a packet takes the slot of another aggregation (ESA only). All but kHigher are for
/// ablation.
enum class Preempt : std::uint8_t {
  kHigher, ///< strictly higher priority
  kNever,
  kAlways,
  kRandom, ///< with probability 1/2, from a 32-bit LFSR in the switch
};

struct Job {
  std::uint16_t job = 0;  ///< 1..65535
  std::uint8_t epoch = 0; ///< of this start of the job's workers; packets of other ones are refused
  std::uint8_t fan_in = 0; ///< workers of the whole job, 1..32; the header must say the same
  std::uint32_t members =
      0; ///< bits of the workers below this switch; all of fan_in without uplink
  std::uint32_t member_ports = 0; ///< bit p: some member is behind port p
  std::uint8_t ps_port = 0;       ///< way to the PS; in a rack switch the uplink
  bool uplink = false; ///< rack switch: a complete sum goes up through ps_port as one DATA packet
  bool multi = false;  ///< spine switch: a DATA packet may bring several workers' contributions
  Format format = Format::kInt32;       ///< of the sums: kInt32, kThcSum8 or kThcSum16
  std::array<std::uint8_t, 16> table{}; ///< THC: value of each index
  std::uint32_t pool_base = 0;          ///< SwitchML: first slot of the job's pool
  std::uint32_t pool_size = 0;          ///< SwitchML: M, slots of one set; the pool takes 2 M
};

struct Config {
  Policy policy = Policy::kEsa;
  std::uint32_t slots = 0;  ///< 1..65536
  std::uint32_t lanes = 64; ///< 32-bit lanes of a slot; 0: metadata only (simulations)
  unsigned ports = 8;       ///< 1..32
  Completed completed = Completed::kFree;
  Preempt preempt = Preempt::kHigher;
  unsigned downgrade_shift =
      1; ///< ESA: collision: slot's priority >>= this; 0 switches it off; 0..7
};

/// Exactly one for every packet. The first group changes no slot and emits nothing.
enum class Verdict : std::uint8_t {
  kBadType,   ///< unknown packet type
  kBadJob,    ///< unknown job
  kBadFanIn,  ///< fan_in is not the job's
  kBadSlot,   ///< slot beyond the memory, or beyond the job's pool
  kBadBitmap, ///< bit outside the job, none or too many for the type
  kBadCount,  ///< count is not popcount(bitmap), or not 0 without values
  kBadFormat, ///< value format that the job does not have
  kBadLength, ///< number of values is not that of a slot
  kBadPort,   ///< REMINDER, RESULT or NORM_RESULT that did not come from the PS's side
  kBadTag,    ///< same id, but another config tag than the slot's
  kDuplicate, ///< contribution is in the slot already, which is not complete (or: ATP/ESA, kFree)
  kStale,     ///< SwitchML: older than what the slot holds, or newer while that is incomplete
  kIgnored,   ///< ACK without a completed slot of its id
  // DATA
  kStored,    ///< now in the slot, which was free (SwitchML: or held a completed older aggregation)
  kAdded,     ///< added to the slot
  kCompleted, ///< the last one: complete sum emitted
  kAnswered,  ///< duplicate to a held completed slot: complete sum emitted again
  kPreempted, ///< took the slot; its former contents left as PARTIAL to their PS
  kCollided,  ///< refused, passed to its PS with the collision flag
  // control, and what is only passed on
  kFlushed,     ///< REMINDER: contents left as PARTIAL, slot free
  kNegative,    ///< REMINDER without a slot of its id: answered or passed down
  kResent,      ///< RESEND passed to the PS, no slot of its id
  kResentFlush, ///< RESEND of a slot's id: one packet with both to the PS, slot free
  kFreed,       ///< ACK or RESULT freed the slot of its id
  kForwarded,   ///< passed on
  // of the first group, with a number that came later
  kBadEpoch, ///< of another start of the job: late, or from a worker that does not know of the new
             ///< one
};
inline constexpr std::size_t kVerdicts = static_cast<std::size_t>(Verdict::kBadEpoch) + 1;
[[nodiscard]] const char *to_string(Verdict verdict);

struct Emission {
  Packet packet;
  std::uint32_t ports = 0; ///< bit p: a copy leaves through port p; never 0
  friend bool operator==(const Emission &, const Emission &) = default;
};

struct Outcome {
  Verdict verdict = Verdict::kBadType;
  std::optional<Emission> out;
};

struct JobCounters {
  std::array<std::uint64_t, kVerdicts> verdicts{}; ///< of the job's packets
  std::uint64_t evicted = 0;                       ///< slots of the job taken by others
};
struct SlotCounters {
  std::uint64_t stored = 0, added = 0, completed = 0, preempted = 0, collided = 0, flushed = 0;
};

/// What makes a configuration or a job unusable, in words, or nothing.
[[nodiscard]] std::optional<std::string> config_error(const Config &config);
[[nodiscard]] std::optional<std::string> job_error(const Config &config, const Job &job);

/// The common case: `fan_in` workers at `worker_ports[0..fan_in-1]`, all below this switch.
[[nodiscard]] Job make_job(std::uint16_t job, const std::vector<unsigned> &worker_ports,
                           unsigned ps_port, Format format = Format::kInt32);

/// Coordinates in a packet: of 32-bit lanes 1, of 8-bit sums and of indices of such a job 4, of
/// 16-bit sums and indices 2 a lane.
[[nodiscard]] std::size_t coordinates(const Config &config, const Job &job);

/// sums[i] += what packet.values[i] stands for in this job, as a slot (and the PS) adds: int32 and
/// sums of 8 or 16 bits wrap, indices are looked up. Preconditions: as many values as sums, a
/// format of the job.
void accumulate(std::vector<std::int32_t> &sums, const Packet &packet, const Job &job);

class Switch {
public:
  /// Precondition: no config_error.
  explicit Switch(const Config &config);

  /// Registers a job, for one start of its workers; the next one is another registration under
  /// another epoch. So no slot ever holds anything of two starts. What is wrong with it (job_error;
  /// number active already; SwitchML pools that overlap), or nothing.
  [[nodiscard]] std::optional<std::string> add_job(const Job &job);
  /// Ends a job: its packets are unknown from now on, its slots are free. False: no such job.
  bool remove_job(std::uint16_t job);

  /// One packet that arrived at `in_port` (< ports). Order of checks: type, job, epoch, fan_in,
  /// slot, bitmap, count, format, length, port; the first that fails is the verdict.
  [[nodiscard]] Outcome process(const Packet &packet, unsigned in_port);

  [[nodiscard]] const Config &config() const { return config_; }
  [[nodiscard]] const Job *find(std::uint16_t job) const;
  [[nodiscard]] const std::vector<Slot> &slots() const { return slots_; }
  [[nodiscard]] std::uint64_t count(Verdict v) const {
    return verdicts_[static_cast<std::size_t>(v)];
  }
  /// Counters of an active job, all zero for an unknown one.
  [[nodiscard]] JobCounters job_counters(std::uint16_t job) const;
  [[nodiscard]] const std::vector<SlotCounters> &slot_counters() const { return slot_counters_; }

  /// What is wrong with the state (a broken invariant), or nothing: for tests.
  [[nodiscard]] std::optional<std::string> invariant_error() const;

private:
  struct Entry {
    Job job;
    JobCounters counters;
  };

  [[nodiscard]] std::optional<Verdict> malformed(const Packet &p, unsigned in_port) const;
  [[nodiscard]] std::uint32_t physical(const Packet &p, const Job &job) const;
  Outcome data(const Packet &p, const Job &job, std::uint32_t index, unsigned in_port);
  Outcome refuse(const Packet &p, const Job &job, std::uint32_t index);
  Outcome resend(const Packet &p, const Job &job, std::uint32_t index);
  Outcome reminder(const Packet &p, const Job &job, std::uint32_t index);
  [[nodiscard]] bool takes(const Packet &p, const Slot &s);

  void store(Slot &s, const Packet &p, const Job &job) const;
  void add(Slot &s, const Packet &p, const Job &job) const;
  void release(Slot &s) const;
  [[nodiscard]] Emission complete(const Slot &s, const Packet &p, const Job &job) const;
  [[nodiscard]] Emission partial(const Slot &s, std::uint16_t slot, std::uint8_t set) const;

  Config config_;
  std::vector<Slot> slots_;
  std::vector<SlotCounters> slot_counters_;
  std::vector<Entry> jobs_;
  std::vector<std::uint16_t> index_; ///< job number -> place in jobs_ + 1, 0: none
  std::array<std::uint64_t, kVerdicts> verdicts_{};
  std::uint32_t lfsr_ = 0xACE1ACE1; ///< Preempt::kRandom
};

} // namespace kestrel::esa::ref
