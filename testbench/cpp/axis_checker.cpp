// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "testbench/cpp/axis_checker.hpp"

#include <array>
#include <string>

#include "testbench/cpp/text.hpp"

namespace kestrel::tb {

namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(AxisRule::count_)> kRuleNames = {
    "AXIS_RESET_VALID",  "AXIS_VALID_DROP",  "AXIS_STABLE",     "AXIS_KEEP_RANGE",
    "AXIS_KEEP_PARTIAL", "AXIS_KEEP_GAP",    "AXIS_LAST_EARLY", "AXIS_LAST_LATE",
    "AXIS_END_PARTIAL",  "AXIS_END_WAITING",
};

} // namespace

std::string_view rule_name(AxisRule rule) {
  const auto index = static_cast<std::size_t>(rule);
  return index < kRuleNames.size() ? kRuleNames[index] : "AXIS_UNKNOWN";
}

AxisChecker::AxisChecker(const AxisCheckerConfig &config)
    : config_(config), all_(config.data_bytes >= 64 ? ~std::uint64_t{0}
                                                    : (std::uint64_t{1} << config.data_bytes) - 1),
      log_(config.max_kept) {}

void AxisChecker::reset() {
  waits_ = false;
  in_packet_ = 0;
}

void AxisChecker::sample(std::uint64_t cycle, const AxisPorts &ports, bool in_reset) {
  if (in_reset) {
    reset();
    if (++reset_cycles_ >= 2 && ports.tvalid) {
      log_.add(AxisRule::reset_valid, cycle, "TVALID is high in reset");
    }
    return;
  }
  reset_cycles_ = 0;
  if (!ports.tvalid) {
    if (waits_) {
      log_.add(AxisRule::valid_drop, cycle, "TVALID fell before TREADY");
      waits_ = false;
    }
    return;
  }
  if (waits_) {
    if (ports.beat != held_) {
      log_.add(AxisRule::stable, cycle, "TDATA, TKEEP or TLAST changed while waiting for TREADY");
    }
  } else {
    check_beat(cycle, ports.beat);
  }
  waits_ = !ports.tready;
  if (!ports.tready) {
    held_ = ports.beat;
    return;
  }
  ++beats_;
  ++in_packet_;
  if (ports.beat.last) {
    ++packets_;
    in_packet_ = 0;
  }
}

void AxisChecker::check_beat(std::uint64_t cycle, const AxisBeat &beat) {
  if ((beat.keep & ~all_) != 0) {
    log_.add(AxisRule::keep_range, cycle, "TKEEP " + hex(beat.keep));
    return;
  }
  const bool may_be_partial = beat.last || !config_.expect_last;
  if (!may_be_partial && beat.keep != all_) {
    log_.add(AxisRule::keep_partial, cycle, "TKEEP " + hex(beat.keep) + " within a packet");
  } else if (beat.keep == 0 || (beat.keep & (beat.keep + 1)) != 0) {
    log_.add(AxisRule::keep_gap, cycle, "TKEEP " + hex(beat.keep));
  }
  if (config_.packet_beats != 0) {
    const std::uint64_t number = in_packet_ + 1;
    if (beat.last && number < config_.packet_beats) {
      log_.add(AxisRule::last_early, cycle,
               "TLAST on beat " + std::to_string(number) + " of " +
                   std::to_string(config_.packet_beats));
    } else if (!beat.last && number == config_.packet_beats) {
      log_.add(AxisRule::last_late, cycle, "no TLAST on beat " + std::to_string(number));
    }
  }
}

void AxisChecker::finish(std::uint64_t cycle) {
  if (config_.expect_last && in_packet_ != 0) {
    log_.add(AxisRule::end_partial, cycle, std::to_string(in_packet_) + " beats without TLAST");
  }
  if (waits_) {
    log_.add(AxisRule::end_waiting, cycle, "a beat still waits for TREADY");
  }
}

} // namespace kestrel::tb
