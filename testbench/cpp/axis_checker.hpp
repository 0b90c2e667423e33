// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "testbench/cpp/axis_types.hpp"
#include "testbench/cpp/violations.hpp"

namespace kestrel::tb {

/// The AXI-Stream rules that are checked (IHI 0051), and this project's rules on TKEEP and TLAST.
enum class AxisRule : std::uint8_t {
  reset_valid,  ///< TVALID is low from the second cycle of reset on.
  valid_drop,   ///< TVALID stays high until TREADY.
  stable,       ///< TDATA, TKEEP and TLAST are stable while TVALID waits for TREADY.
  keep_range,   ///< TKEEP has no bits above the width of the stream.
  keep_partial, ///< TKEEP is all ones except in the last beat of a packet.
  keep_gap,     ///< TKEEP of the last beat is a run of ones from byte 0, at least one.
  last_early,   ///< (`packet_beats`) TLAST not before beat `packet_beats`.
  last_late,    ///< (`packet_beats`) TLAST on beat `packet_beats`.
  end_partial,  ///< (`expect_last`) At the end no packet is open.
  end_waiting,  ///< At the end no beat waits for TREADY.
  count_
};

/// Name of a rule as it stands in reports, for example "AXIS_STABLE".
[[nodiscard]] std::string_view rule_name(AxisRule rule);

struct AxisCheckerConfig {
  std::uint32_t data_bytes = 8;   ///< Width, 1 to 64.
  std::uint64_t packet_beats = 0; ///< Beats of every packet; 0: any length.
  bool expect_last = true;        ///< The stream has TLAST: packets, and full TKEEP within them.
  std::size_t max_kept = 64;
};

/// Checks one AXI-Stream: sample() once per cycle with the values before the rising edge.
class AxisChecker {
public:
  explicit AxisChecker(const AxisCheckerConfig &config = {});

  void sample(std::uint64_t cycle, const AxisPorts &ports, bool in_reset = false);
  void finish(std::uint64_t cycle);
  void reset();

  [[nodiscard]] const ViolationLog<AxisRule> &log() const { return log_; }
  [[nodiscard]] ViolationLog<AxisRule> &log() { return log_; }
  [[nodiscard]] bool ok() const { return log_.empty(); }
  [[nodiscard]] std::uint64_t beats() const { return beats_; }
  [[nodiscard]] std::uint64_t packets() const { return packets_; }

private:
  void check_beat(std::uint64_t cycle, const AxisBeat &beat);

  AxisCheckerConfig config_;
  std::uint64_t all_;
  ViolationLog<AxisRule> log_;
  bool waits_ = false;
  AxisBeat held_{};
  std::uint64_t in_packet_ = 0; // beats of the open packet
  std::uint32_t reset_cycles_ = 0;
  std::uint64_t beats_ = 0, packets_ = 0;
};

} // namespace kestrel::tb
