// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Event-driven simulation of a training cluster around one aggregation switch: what a policy for
// the switch's slots does to job completion times (JCT).
//
// Every worker and every parameter server (PS) has a link of its own to the switch. The switch in
// the loop is the one-packet-at-a-time model (sw_ref/esa/switch.hpp) without values, which decides
// exactly as with them. A job is data-parallel training: forward layer by layer, backward in
// reverse, the gradient of a layer is sent as soon as it is there, and the next forward of a layer
// waits for its sum. Everything reported is simulated time. docs/esa_cluster.md states the model
// and its simplifications.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kestrel/esa/control.hpp"
#include "kestrel/range.hpp"
#include "kestrel/result.hpp"
#include "sw_ref/esa/switch.hpp"

namespace kestrel::esa {

/// What trains: parameters in millions, forward and backward time of one iteration in milliseconds
/// (V100).
struct TrainingModel {
  std::string name;
  double parameters_m = 0.0;
  double forward_ms = 0.0;
  double backward_ms = 0.0;
};

/// AlexNet, ResNet50, ResNet101, VGG11, VGG16, BERT with published figures, or an error that lists
/// them.
[[nodiscard]] Result<TrainingModel> training_model(std::string_view name);

struct ClusterJob {
  TrainingModel model;
  unsigned workers = 4; ///< 1..31
  unsigned iterations = 10;
  double start_ms = 0.0;
};

enum class ClusterPolicy : std::uint8_t { kEsa, kAtp, kSwitchMl, kPsOnly };
[[nodiscard]] const char *to_string(ClusterPolicy policy);

struct ClusterConfig {
  ClusterPolicy policy = ClusterPolicy::kEsa;
  std::uint32_t slots = 1024; ///< 64 int32 lanes each
  ref::Preempt preempt = ref::Preempt::kHigher;
  ref::Completed completed = ref::Completed::kFree;
  unsigned downgrade_shift = 1;
  PriorityTerms priority;
  bool home_ranges =
      true; ///< ESA: a job's slots are a ring from its share of the memory onwards, as long as
            ///< its window or its share, whichever is more; false, and for ATP: CRC-32 of
            ///< job and place in the window, salted anew after a collision
  double link_gbps = 10.0;
  double link_delay_us = 2.0;     ///< one way, host to switch
  double switch_latency_us = 0.5; ///< port to port without queueing
  unsigned ecn_packets = 100;     ///< egress queue that marks
  unsigned queue_packets = 2000;  ///< egress queue that drops
  double loss = 0.0;              ///< of each packet on each link
  unsigned window_start = 200;    ///< packets in flight (ATP's default)
  unsigned window_max = 1000;
  unsigned out_of_order = 3;  ///< later results that make a worker send again; 0 never
  bool halve_on_order = true; ///< ... and halve its window
  double reminder_us = 100.0; ///< PS: age of an incomplete aggregation that makes it ask; 0 never
  double timeout_us = 2000.0; ///< worker: sends the oldest open packet again
  double scale = 64.0;        ///< parameters and compute times are divided by it
  double jitter = 0.05;       ///< of compute times, uniform +- share per worker and iteration
  unsigned layers = 16;       ///< of every model, equal parts
  std::uint64_t seed = 1;
  std::uint64_t max_events = 2'000'000'000;
  /// What decides. "model": the reference without values. "fast", "rtl": a SwitchDevice with 64
  /// int32 lanes; every packet goes through it and through the reference, and what leaves must be
  /// the same, field by field and sum by sum (at most 7 workers a job, 32 jobs, 4096 slots).
  std::string device = "model";
};

struct JobOutcome {
  double start_ms = 0.0; ///< scaled back by `scale`, like all times here
  double jct_ms = 0.0;
};

struct ClusterOutcome {
  std::vector<JobOutcome> jobs;
  double mean_jct_ms = 0.0;
  double p95_jct_ms = 0.0; ///< nearest rank
  double max_jct_ms = 0.0;
  std::uint64_t aggregations = 0;  ///< sequence numbers that completed at their workers
  std::uint64_t in_switch = 0;     ///< of these, complete in the switch
  std::uint64_t at_ps = 0;         ///< of these, complete at the PS
  std::uint64_t ps_packets = 0;    ///< packets that reached a PS
  std::uint64_t contributions = 0; ///< DATA packets that reached the switch
  std::uint64_t preemptions = 0;
  std::uint64_t collisions = 0;
  std::uint64_t resends = 0;
  std::uint64_t dropped = 0; ///< by queues and by loss
  double occupancy = 0.0;    ///< mean share of slots in use, over DATA arrivals
  std::uint64_t events = 0;
  std::uint64_t device_packets = 0; ///< compared with the reference ("fast", "rtl")
};

/// One way to run a scenario's jobs.
struct ClusterVariant {
  std::string name;
  ClusterConfig config;
};

/// Of a scenario, counts multiplied out.
inline constexpr unsigned kMaxClusterJobs = 1000;
inline constexpr std::size_t kMaxClusterVariants = 100;

struct ClusterScenario {
  std::vector<ClusterJob> jobs;
  std::vector<ClusterVariant> variants;
};

/// A scenario from JSON:
///   {"jobs": [{"model": "VGG16", "workers": 4, "iterations": 10, "start_ms": 0, "count": 2}],
///    "slots": 256, "link_gbps": 10, ... any field of ClusterConfig ...,
///    "variants": [{"name": "esa", "policy": "esa", ... fields that differ ...}]}
/// A model is a known name or {"name", "parameters_m", "forward_ms", "backward_ms"}. `policy` is
/// esa, atp, switchml or ps; `preempt` higher, never, always or random; `completed` free or via_ps;
/// `priority` {"comm", "work", "layer", "known_work"}. Without `variants` the four policies run as
/// default_config() sets them. Errors: kParse, kInvalidArgument, naming the field.
[[nodiscard]] Result<ClusterScenario> parse_scenario(std::string_view json);

/// The settings of a policy that a scenario starts from. ESA: a window of about the bandwidth-delay
/// product, no downgrade, short reminders and timeouts. ATP: as published, slots held until the
/// PS's result passes, 200 packets at start.
[[nodiscard]] ClusterConfig default_config(ClusterPolicy policy);

/// Ranges of a scenario's numbers: fields of ClusterConfig, of its `priority`, of a job and a
/// model.
inline constexpr std::array<Range, 27> kClusterRanges{{
    {"slots", 1, 65536},
    {"downgrade_shift", 0, 7},
    {"priority.comm", -1000, 1000},
    {"priority.work", -1000, 1000},
    {"priority.layer", -1000, 1000},
    {"link_gbps", 0.1, 100'000},
    {"link_delay_us", 0, 1e6},
    {"switch_latency_us", 0, 1e6},
    {"ecn_packets", 0, 1e6},
    {"queue_packets", 1, 1e6},
    {"loss", 0, 0.49},
    {"window_start", 1, 4095},
    {"window_max", 1, 4095},
    {"out_of_order", 0, 1e6},
    {"reminder_us", 0, 1e9},
    {"timeout_us", 0.1, 1e9},
    {"scale", 1, 1e9},
    {"jitter", 0, 0.99},
    {"layers", 1, 256},
    {"max_events", 1, 1e12},
    {"jobs", 1, kMaxClusterJobs},
    {"workers", 1, 31},
    {"iterations", 1, 1e6},
    {"start_ms", 0, 1e9},
    {"parameters_m", 1e-6, 1e6},
    {"forward_ms", 0, 1e7},
    {"backward_ms", 0, 1e7},
}};

/// Runs all jobs to their end. Errors: kInvalidArgument (names the field), kResourceLimit
/// (max_events, or more than 4 million events waiting), kInternal (an aggregation counted a worker
/// twice, or events ran out before the jobs' end).
[[nodiscard]] Result<ClusterOutcome> simulate_cluster(const ClusterConfig &config,
                                                      const std::vector<ClusterJob> &jobs);

} // namespace kestrel::esa
