// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Cycle model of the vision engine: what its performance counters read after one inference.
//
// The engine's timing does not depend on data, so the descriptors of a package are enough. The
// model steps the control of every unit (rtl/vision) cycle by cycle without the data path, on an
// external memory with fixed latencies, bandwidth and refresh (testbench/cpp/axi_memory.hpp states
// that contract). All counters equal those of the RTL in
// configuration `edge`, which tests/rtl/vision/test_cycle_model.cpp holds it against.
#pragma once

#include <cstdint>
#include <vector>

#include "kestrel/contract/vision.hpp"
#include "kestrel/memory_model.hpp"
#include "kestrel/result.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/package.hpp"

namespace kestrel::hv {

/// External memory behind the engine's bus.
using MemoryTiming = MemoryModel;

/// One descriptor of a program in time. Cycle 1 is the first after the doorbell took effect, so the
/// last cycle of a program is Counters::cycles.
///
/// Every cycle with a class other than "output" belongs to one compute descriptor: cycles of the
/// array to that of its operands, waits for operands to the one at hand, and cycles without one to
/// the next one. So the classes of all compute descriptors and Counters::stall_out add up to
/// Counters::cycles.
struct DescriptorCycles {
  contract::DescOp op = contract::DescOp::kCompute;
  std::uint32_t descriptor = 0; ///< index in the program
  std::uint64_t first = 0;      ///< COMPUTE: operand fetch begins; others: its waits are over
  std::uint64_t last = 0;       ///< last result or word written, last write response received
  // COMPUTE only, named as in Counters.
  std::uint64_t mac = 0, res = 0;
  std::uint64_t stall_weight = 0, stall_drain = 0, stall_fetch = 0;
  std::uint64_t stall_load = 0, stall_dep = 0, stall_desc = 0;

  /// Cycles that belong to this descriptor.
  [[nodiscard]] std::uint64_t cycles() const {
    return mac + res + stall_weight + stall_drain + stall_fetch + stall_load + stall_dep +
           stall_desc;
  }
};

/// The counters of one inference of `package`, and in `*schedule`, when given, one entry for each
/// descriptor but END, in program order. Values of `timing` below 1 count as 1.
/// Precondition: the package passed verify_package or came from compile.
/// Errors: kVersionMismatch (the package is for another configuration), kUnsupported (a
/// configuration without 8-byte words and bus), kDevice (the program stops: nothing happened for as
/// many cycles as the engine's watchdog allows after reset), kParse (an unknown descriptor).
[[nodiscard]] Result<Counters> simulate_cycles(const Package &package,
                                               const contract::Config &config,
                                               const MemoryTiming &timing = {},
                                               std::vector<DescriptorCycles> *schedule = nullptr);

} // namespace kestrel::hv
