// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "testbench/cpp/axis_types.hpp"
#include "testbench/cpp/random.hpp"

namespace kestrel::tb {

/// AXI-Stream master: sends queued packets, with random idle cycles between beats.
/// Per cycle: eval_outputs(), (drive, settle, sample TREADY into ports()), sample().
class AxisSource {
public:
  explicit AxisSource(std::uint32_t data_bytes, double idle_probability = 0.0,
                      std::uint64_t seed = 1)
      : data_bytes_(data_bytes), idle_probability_(idle_probability), random_(seed) {}

  /// Queues a packet: full beats, TKEEP partial in the last one, TLAST on the last one.
  void push_packet(std::span<const std::uint8_t> bytes);
  void push_beat(const AxisBeat &beat) { queue_.push_back(beat); }

  void eval_outputs();
  void sample();

  [[nodiscard]] AxisPorts &ports() { return ports_; }
  [[nodiscard]] bool done() const { return queue_.empty() && !ports_.tvalid; }
  [[nodiscard]] std::uint64_t beats() const { return beats_; }

private:
  std::uint32_t data_bytes_;
  double idle_probability_;
  Random random_;
  std::deque<AxisBeat> queue_;
  AxisPorts ports_{};
  std::uint64_t beats_ = 0;
};

/// AXI-Stream slave: collects beats and packets, with random TREADY.
class AxisSink {
public:
  explicit AxisSink(std::uint32_t data_bytes, double stall_probability = 0.0,
                    std::uint64_t seed = 1)
      : data_bytes_(data_bytes), stall_probability_(stall_probability), random_(seed) {}

  void eval_outputs() { ports_.tready = !random_.chance(stall_probability_); }
  void sample();

  [[nodiscard]] AxisPorts &ports() { return ports_; }
  /// Packets that ended with TLAST, as their kept bytes.
  [[nodiscard]] const std::vector<std::vector<std::uint8_t>> &packets() const { return packets_; }
  /// Kept bytes since the last TLAST (all bytes of a stream without TLAST).
  [[nodiscard]] const std::vector<std::uint8_t> &open_packet() const { return open_; }
  [[nodiscard]] std::uint64_t beats() const { return beats_; }

private:
  std::uint32_t data_bytes_;
  double stall_probability_;
  Random random_;
  std::vector<std::vector<std::uint8_t>> packets_;
  std::vector<std::uint8_t> open_;
  AxisPorts ports_{};
  std::uint64_t beats_ = 0;
};

} // namespace kestrel::tb
