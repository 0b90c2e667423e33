// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One interface to a vision engine, whatever stands behind it: the Verilated RTL ("rtl"), the
// bit-exact functional device ("fast"), or an engine on a board ("remote:URL").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kestrel/device.hpp"
#include "kestrel/result.hpp"
#include "kestrel/vision/package.hpp"

namespace kestrel::hv {

/// What the confidence threshold is compared with.
enum class ConfidenceMode : std::uint8_t {
  kTop1 = 0,   ///< top-1 probability
  kMargin = 1, ///< top-1 minus top-2 probability
};

/// The confidence unit's answer (registers CONF_CLASS and CONF_PROB).
struct Confidence {
  std::uint16_t top1 = 0;       ///< argmax of the logits, the lowest index wins ties
  std::uint16_t top2 = 0;       ///< second; 0 with one class
  std::uint16_t p1_q16 = 0;     ///< top-1 probability, unsigned Q0.16
  std::uint16_t margin_q16 = 0; ///< top-1 minus top-2 probability
  bool confident = false;       ///< selected value >= threshold
  friend bool operator==(const Confidence &, const Confidence &) = default;
};

/// Performance counters of one inference, named as the CNT_* registers. `fast` fills those from the
/// cycle model; without one `cycles_known` is false and all but macs and mac_lanes are 0.
struct Counters {
  bool cycles_known = false;
  std::uint64_t cycles = 0;       ///< doorbell to interrupt
  std::uint64_t mac = 0;          ///< cycles in which the array took a step
  std::uint64_t res = 0;          ///< cycles spent handing residuals to the add unit
  std::uint64_t stall_weight = 0; ///< operands there, weights not
  std::uint64_t stall_drain = 0;  ///< waits for requantisation of the tile before
  std::uint64_t stall_fetch = 0;  ///< operand fetch busy
  std::uint64_t stall_load = 0;   ///< waits for a LOAD or STORE count
  std::uint64_t stall_dep = 0;    ///< waits for results of earlier layers
  std::uint64_t stall_desc = 0;   ///< no compute descriptor ready
  std::uint64_t stall_out = 0;    ///< compute finished, output unit busy
  std::uint64_t rd_beats = 0;     ///< AXI read beats
  std::uint64_t rd_w_beats = 0;   ///< of these, weights
  std::uint64_t wr_beats = 0;     ///< AXI write beats
  std::uint64_t descriptors = 0;  ///< dispatched
  std::uint64_t macs = 0;         ///< of the network (package)
  std::uint64_t mac_lanes = 0; ///< multipliers of the array; utilisation = macs / (lanes * cycles)
};

struct Inference {
  std::vector<std::int8_t> output;      ///< the model's own quantised output, row-major
  std::optional<Confidence> confidence; ///< when the package has a confidence unit program
  Counters counters;
};

using kestrel::ClockInfo;
using kestrel::DeviceOptions;

/// A vision engine with external memory. Not thread-safe; use one per thread.
class Device : public kestrel::Device {
public:
  /// Makes `package` the network that run() executes. Errors: kVersionMismatch (another contract
  /// version or configuration than the device's), those of verify_package.
  [[nodiscard]] virtual Result<void> load(const Package &package) = 0;

  /// One inference. `input` is int8 NHWC as the model's input (package.input.elements() values).
  /// Errors: kInvalidArgument (nothing loaded), kShapeMismatch, kDevice (the engine raised its
  /// error interrupt; the message holds cause and descriptor index), kTimeout.
  [[nodiscard]] virtual Result<Inference> run(std::span<const std::int8_t> input) = 0;

  /// Threshold of the confidence unit, unsigned Q0.16, 0..65536 (65536 is never met; a fresh device
  /// has 0). Error: kInvalidArgument.
  [[nodiscard]] virtual Result<void> set_threshold(std::uint32_t threshold_q16,
                                                   ConfidenceMode mode) = 0;
};

/// A device of `kind` for a named configuration ("edge"): "fast", "rtl", or "remote:URL" for a
/// board behind a bridge of LiteX, URL one of PATH of a serial port, pty:PATH, tcp://HOST:PORT,
/// udp://HOST[:PORT], each with ?OPTION=VALUE&... (docs/board_ulx3s.md). Errors: kNotFound (unknown
/// kind or configuration), kUnsupported (not part of this build); of a board kInvalidArgument (the
/// URL), kUnavailable, kTimeout, kParse, kIo (the line), kDevice (no engine or memory there),
/// kVersionMismatch (another configuration or contract version).
[[nodiscard]] Result<std::unique_ptr<Device>>
make_device(std::string_view kind, std::string_view config_name, const DeviceOptions &options = {});

} // namespace kestrel::hv
