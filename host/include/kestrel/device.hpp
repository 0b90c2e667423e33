// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the devices of all systems have in common. The interface of a system's device is beside it:
// vision/device.hpp, thc/device.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "kestrel/memory_model.hpp"

namespace kestrel {

/// A clock that turns cycles into time, and how it was obtained.
struct ClockInfo {
  double mhz = 0.0;
  std::string basis; ///< "assumed", "placed and routed"
};

struct DeviceOptions {
  MemoryModel memory;             ///< external memory (rtl, and the cycles of fast)
  std::uint64_t seed = 1;         ///< of random back-pressure and of uninitialised state (rtl)
  double stall_probability = 0.0; ///< random bus back-pressure per channel and cycle (rtl)
  std::string trace_path;         ///< FST trace of the runs (rtl), empty: none
  double clock_mhz = 100.0;       ///< for latencies; named as assumed
  /// Called while a package is on its way to a board (remote): bytes so far, and of all.
  std::function<void(std::uint64_t done, std::uint64_t total)> loading;
};

/// A device, whatever it computes. Not thread-safe; use one per thread.
class Device {
public:
  virtual ~Device() = default;
  [[nodiscard]] virtual std::string_view name() const = 0; ///< "rtl", "fast" or "remote"
  [[nodiscard]] virtual ClockInfo clock() const = 0;
};

} // namespace kestrel
