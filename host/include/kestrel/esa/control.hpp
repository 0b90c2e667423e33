// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Control plane of the aggregation switch: which jobs are admitted, who belongs to them, what their
// packets' priorities are. The data plane never waits for it: priorities travel in the packets.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kestrel/esa/device.hpp"
#include "kestrel/result.hpp"

namespace kestrel::esa {

/// Terms of the priority P ~ (communication / computation)^comm / (remaining^work * layer^layer),
/// each an exponent; 0 leaves the term out.
struct PriorityTerms {
  double comm = 1.0;
  double work = 1.0;
  double layer = 0.25;
  bool known_work = true; ///< false: attained service instead of the remaining time
};

/// What a job's priority depends on.
struct JobProgress {
  double comm_ms = 0.0; ///< of an iteration: its gradients on one link
  double comp_ms = 0.0; ///< of an iteration: forward and backward
  double remaining = 1; ///< iterations to go, the current one included
  double served = 0;    ///< iterations done
};

/// Priority of a packet of layer `layer` (0: the first of the forward pass, needed first), 1..255,
/// larger is more important: 128 + 8 log2 P with times in seconds, so 8 steps double; clamped. Jobs
/// whose time is communication come first, then those with little work left (or, unknown, little
/// done), then the front layers.
[[nodiscard]] std::uint8_t priority(const PriorityTerms &terms, const JobProgress &progress,
                                    unsigned layer);

struct JobRequest {
  std::uint16_t job = 0;
  /// Of this start of the workers; nothing: the one after the last that this number had here.
  std::optional<std::uint8_t> epoch;
  std::vector<unsigned> worker_ports; ///< of workers 0 .. fan_in - 1, one switch
  unsigned ps_port = 0;
  ref::Format format = ref::Format::kInt32;
  std::array<std::uint8_t, 16> table{}; ///< THC formats: ascending, from 0
  std::size_t coordinates = 0; ///< in a packet; up to what a slot holds (hosts pad); 0: all of it
  std::uint32_t pool_size = 0; ///< SwitchML: slots of a set; the switch finds a place
  double comm_ms = 0.0;        ///< see JobProgress
  double comp_ms = 0.0;
  double iterations = 0; ///< 0: unknown
};

/// Not thread-safe. The device must outlive it, and get its jobs from here alone.
class ControlPlane {
public:
  /// `max_jobs`: of the device's job table.
  ControlPlane(SwitchDevice &device, const ref::Config &config, unsigned max_jobs = 32,
               const PriorityTerms &terms = {});

  /// Registers a job with the switch, for one start of its workers: they are to send what is given
  /// back as its epoch. Packets of an earlier start, late ones too, are refused by the switch.
  /// Errors, naming the job and the field: kInvalidArgument (fan-in, ports, table, sums that do not
  /// fit, registered already), kResourceLimit (more coordinates than a slot has, job table full, no
  /// room for the pool).
  [[nodiscard]] Result<ref::Job> admit(const JobRequest &request);
  /// The same job for another start of its workers: what the slots hold of it is gone, and its
  /// packets need the epoch of what is given back. Priorities begin anew. Error: kNotFound.
  [[nodiscard]] Result<ref::Job> restart(std::uint16_t job);
  /// Ends a job; its slots are freed. Error: kNotFound.
  [[nodiscard]] Result<void> release(std::uint16_t job);

  /// To be called at each iteration's end. Error: kNotFound.
  [[nodiscard]] Result<void> iteration_done(std::uint16_t job);
  /// For packets that are sent now. Error: kNotFound.
  [[nodiscard]] Result<std::uint8_t> priority_of(std::uint16_t job, unsigned layer) const;

  [[nodiscard]] std::size_t active() const { return jobs_.size(); }

private:
  struct Entry {
    ref::Job job;
    PriorityTerms terms;
    JobProgress progress;
    JobProgress at_start;
  };
  [[nodiscard]] std::uint8_t next_epoch(std::uint16_t job);
  [[nodiscard]] Result<std::uint32_t> place_pool(const JobRequest &request) const;

  SwitchDevice &device_;
  ref::Config config_;
  unsigned max_jobs_;
  PriorityTerms terms_;
  std::map<std::uint16_t, Entry> jobs_;
  std::map<std::uint16_t, std::uint8_t> epochs_; ///< the last of every number that was registered
};

/// A worker below a rack switch.
struct RackWorker {
  unsigned worker = 0;
  unsigned port = 0; ///< of the rack switch
};
struct Rack {
  std::vector<RackWorker> workers;
  unsigned uplink_port = 0; ///< of the rack switch
  unsigned spine_port = 0;  ///< where the rack is at the spine switch
};
/// The same job as each switch of two levels sees it.
struct TwoLevelJob {
  std::vector<ref::Job> racks; ///< as the racks given
  ref::Job spine;
};

/// Membership of a job whose workers are in several racks under one spine switch. All switches
/// share the job's number and its bitmap of up to 32 workers: a rack's complete sum goes up as one
/// contribution with the bits of all its workers, so partial sums of either level are alike to the
/// PS. `like` gives number, format and table. Errors: kInvalidArgument (no rack, a rack without
/// workers, a worker twice or missing, more than 32).
[[nodiscard]] Result<TwoLevelJob>
make_two_level(const ref::Job &like, const std::vector<Rack> &racks, unsigned spine_ps_port);

} // namespace kestrel::esa
