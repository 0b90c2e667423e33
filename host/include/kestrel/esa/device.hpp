// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The aggregation switch as a device: Ethernet frames in at its ports, frames out with the port and
// the cycle at which they began to leave. Two implementations: "fast", the one-packet-at-a-time
// model of sw_ref/esa with a model of the pipeline's timing, and "rtl", the Verilated
// rtl/esa/esa_switch.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kestrel/result.hpp"
#include "sw_ref/esa/frame.hpp"
#include "sw_ref/esa/switch.hpp"

namespace kestrel::esa {

struct SwitchConfig {
  ref::Config model;
  std::vector<ref::Job> jobs; ///< registered at the start
  /// Port at which a frame that is no aggregation packet leaves, by the port it came in;
  /// ref::kNoPort: dropped. Shorter than `ports`: dropped.
  std::vector<unsigned> forward;
};

struct Ingress {
  unsigned port = 0;
  std::vector<std::uint8_t> frame; ///< without FCS
};

struct Egress {
  std::uint64_t cycle =
      0; ///< first beat; "rtl": simulated, "fast": from the timing model, an estimate
  unsigned port = 0;
  std::vector<std::uint8_t> frame;
};

struct SwitchCounters {
  std::uint64_t frames_in = 0;
  std::uint64_t frames_out = 0; ///< copies of a multicast each
  std::array<std::uint64_t, ref::kVerdicts> verdicts{};
  std::array<std::uint64_t, ref::kFrameFaults> faults{}; ///< kForeign: those forwarded or dropped
  std::uint64_t foreign_dropped = 0;                     ///< of faults[kForeign]
};

/// Not thread-safe.
class SwitchDevice {
public:
  virtual ~SwitchDevice() = default;
  [[nodiscard]] virtual std::string_view name() const = 0; ///< "fast" or "rtl"

  /// Errors: kInvalidArgument with what is wrong with the job.
  [[nodiscard]] virtual Result<void> add_job(const ref::Job &job) = 0;
  /// Error: kNotFound.
  [[nodiscard]] virtual Result<void> remove_job(std::uint16_t job) = 0;

  /// Decides on the frames in their order and returns what leaves for them, by cycle, then port.
  /// The switch keeps its state between calls; cycles go on. Errors: kInvalidArgument (a port that
  /// is not there), kDevice.
  [[nodiscard]] virtual Result<std::vector<Egress>> run(std::span<const Ingress> frames) = 0;

  [[nodiscard]] virtual SwitchCounters counters() const = 0;
};

/// Timing of the fast device, an estimate: frames are taken one beat of 64 bytes per cycle, in
/// order; a verdict's packet begins to leave so many cycles after its cause's last beat (as
/// rtl/esa/esa_switch does when idle), or when the port is free.
inline constexpr std::uint64_t kSwitchLatency = 17;

/// `device`: "fast" or "rtl". Errors: kNotFound (no such device), kUnsupported (a device that this
/// build does not have, or a configuration that it was not built for), kInvalidArgument.
[[nodiscard]] Result<std::unique_ptr<SwitchDevice>> make_switch(std::string_view device,
                                                                const SwitchConfig &config);

} // namespace kestrel::esa
