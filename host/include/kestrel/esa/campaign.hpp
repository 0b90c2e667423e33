// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Fault campaign: jobs over one switch through a network that loses, duplicates, reorders and
// damages frames, with stragglers, workers that die and parameter servers that restart. Every
// aggregation must end with the exact sum at every worker, or be reported; every packet that leaves
// the switch must carry exactly the sum that its bitmap names.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "kestrel/esa/device.hpp"
#include "kestrel/range.hpp"
#include "kestrel/result.hpp"

namespace kestrel::esa {

struct CampaignConfig {
  std::string device = "fast";
  ref::Config model{.policy = ref::Policy::kEsa, .slots = 64, .lanes = 4};
  std::uint64_t packets = 1'000'000; ///< offered to the switch, at least
  std::uint64_t seed = 1;
  double loss = 0.01;      ///< of each frame on each link
  double duplicate = 0.01; ///< a second copy, later
  double reorder = 0.02;   ///< late by up to 100 us, where links take 2 to 3 us
  double damage = 0.005;   ///< on the way to the switch: a flipped bit, or cut short
  double malformed =
      0.002;              ///< additional packets with impossible header fields and valid checksums
  double death = 0.1;     ///< of a job: one worker dies
  double restart = 0.2;   ///< of a job: its PS restarts
  double straggler = 0.2; ///< of a worker: it answers 50 us later
};

/// Ranges of a campaign's numbers. Beyond half, losses and damage leave next to nothing to arrive.
inline constexpr std::array<Range, 11> kCampaignRanges{{
    {"packets", 1, 1e12},
    {"slots", 1, 65536},
    {"lanes", 2, 2048},
    {"loss", 0, 0.5},
    {"duplicate", 0, 0.5},
    {"reorder", 0, 1},
    {"damage", 0, 0.5},
    {"malformed", 0, 0.5},
    {"death", 0, 1},
    {"restart", 0, 1},
    {"straggler", 0, 1},
}};

struct CampaignTally {
  std::uint64_t offered = 0; ///< frames at the switch's ports
  std::uint64_t lost = 0, duplicated = 0, reordered = 0, damaged = 0, malformed = 0;
  std::uint64_t jobs = 0, deaths = 0, restarts = 0, stragglers = 0;
  std::uint64_t sequences = 0;       ///< aggregations of all jobs
  std::uint64_t exact = 0;           ///< of these, the exact sum at every (living) worker
  std::uint64_t reported = 0;        ///< of these, in a job that was reported with its dead worker
  std::uint64_t wrong = 0;           ///< sums that are not exact, at a worker: must be 0
  std::uint64_t unfinished = 0;      ///< neither exact nor reported: must be 0
  std::uint64_t false_reports = 0;   ///< that name a worker that lives: must be 0
  std::uint64_t wrong_emissions = 0; ///< packets that left with another sum than named: must be 0
  std::uint64_t emissions = 0;       ///< packets with values that left, all checked
  std::uint64_t unaccounted = 0;     ///< verdicts on frames that do not add up: must be 0
  std::uint64_t simulated_ns = 0;
  SwitchCounters counters;
  [[nodiscard]] bool passed() const {
    return wrong == 0 && unfinished == 0 && false_reports == 0 && wrong_emissions == 0 &&
           unaccounted == 0 && exact > 0 && exact + reported == sequences;
  }
};

/// Errors: of make_switch; kInvalidArgument (a number outside its range, by name).
[[nodiscard]] Result<CampaignTally> run_campaign(const CampaignConfig &config);

} // namespace kestrel::esa
