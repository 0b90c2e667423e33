// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The external memory behind an engine's AXI4 bus, as its timing: given to the simulated memory of
// the device "rtl", to the cycle model, which is equal to it, and to the compiler, which makes its
// choices for it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kestrel/result.hpp"

namespace kestrel {

/// The contract in cycles is that of testbench/cpp/axi_memory.hpp. A controller of a real SDRAM has
/// rows, banks and an arbiter beyond it; for such a memory a model is an estimate.
struct MemoryModel {
  std::uint32_t read_latency = 30; ///< cycles from read request to first beat, >= 1
  std::uint32_t write_latency = 8; ///< cycles from last beat to response, >= 1
  std::uint32_t outstanding = 16;  ///< read and write bursts accepted at once, >= 1
  /// `beats` per `cycles` that reads and writes share. 1/1: each direction has a beat every cycle.
  std::uint32_t beats = 1;
  std::uint32_t cycles = 1;
  /// Of every `refresh_interval` cycles no data moves in the last `refresh_cycles`. 0: no refresh.
  /// Counted from the first read request of a program, where a real memory's refresh comes at any
  /// time.
  std::uint32_t refresh_interval = 0;
  std::uint32_t refresh_cycles = 0;

  friend bool operator==(const MemoryModel &, const MemoryModel &) = default;

  [[nodiscard]] bool limited() const { return beats < cycles; }
  /// Cycles, rounded up, in which `count` beats move, refresh included.
  [[nodiscard]] std::uint64_t cycles_of(std::uint64_t count) const {
    std::uint64_t busy = limited() ? (count * cycles + beats - 1) / beats : count;
    if (refresh_interval > refresh_cycles)
      busy = busy * refresh_interval / (refresh_interval - refresh_cycles);
    return busy;
  }
  /// Bytes per cycle of a bus of `bus_bytes`, refresh included.
  [[nodiscard]] double bytes_per_cycle(std::uint32_t bus_bytes = 8) const;
};

struct NamedMemory {
  const char *name;
  MemoryModel model;
  const char *basis; ///< where the numbers come from
};

/// "assumed" and the memories of boards.
[[nodiscard]] std::span<const NamedMemory> named_memories();

/// A name, or settings `latency=, write-latency=, outstanding=, bytes=, refresh=INTERVAL/CYCLES`
/// separated by commas, which change the named memory in front of them, "assumed" without one.
/// `bytes` are those per cycle on a bus of 8, 0.25 to 8. Error: kInvalidArgument, naming what is
/// wrong and what is known.
[[nodiscard]] Result<MemoryModel> parse_memory(std::string_view text);

/// All settings, as parse_memory takes them.
[[nodiscard]] std::string describe(const MemoryModel &model);

} // namespace kestrel
