// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the devices "rtl" share: a bench of testbench/cpp around the Verilated model, its settings
// from the options, trace, registers, the run to the interrupt and its errors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kestrel/device.hpp"
#include "kestrel/result.hpp"
#include "testbench/cpp/axi_memory.hpp"
#include "testbench/cpp/simulation.hpp"

namespace kestrel {

/// A device runs for as long as it is used, and reports a failed assertion of the RTL.
inline tb::SimulationConfig device_simulation(std::uint64_t seed) {
  tb::SimulationConfig config;
  config.seed = seed;
  config.max_cycles = ~std::uint64_t{0};
  config.fatal_assertions = false;
  return config;
}

/// `Interface` is the device interface (of kestrel::Device) that a class derived from this
/// implements, `Bench` one with registers, memories and an interrupt.
template <class Interface, class BenchT> class VerilatedDeviceBase : public Interface {
public:
  using Bench = BenchT;

  [[nodiscard]] std::string_view name() const override { return "rtl"; }
  [[nodiscard]] ClockInfo clock() const override { return {options_.clock_mhz, "assumed"}; }

protected:
  /// `subject`: what error messages call the device, "engine".
  VerilatedDeviceBase(const DeviceOptions &options, std::string_view subject)
      : bench_(bench_config(options)), options_(options), subject_(subject) {}

  /// If the options name one. Errors: kUnsupported, kIo.
  Result<void> start_trace() {
    if (options_.trace_path.empty())
      return {};
    if (!decltype(bench_.simulation)::kTraceAvailable)
      return fail(ErrorCode::kUnsupported,
                  "{}: this build writes no traces; configure with -DKESTREL_TRACE=ON",
                  options_.trace_path);
    if (!bench_.simulation.start_trace(options_.trace_path))
      return fail(ErrorCode::kIo, "{}: the trace cannot be written", options_.trace_path);
    return {};
  }

  Result<void> write(std::uint32_t offset, std::uint32_t value) {
    if (!bench_.registers.write32(offset, value).ok())
      return fail(ErrorCode::kDevice, "the {} refused a write of register {:#x}", subject_, offset);
    return {};
  }
  /// A failure is kept for accesses().
  std::uint32_t read(std::uint32_t offset) {
    const auto result = bench_.registers.read32(offset);
    bus_failed_ = bus_failed_ || !result.ok();
    return result.value;
  }
  /// kDevice if a read has failed.
  [[nodiscard]] Result<void> accesses() const {
    if (bus_failed_)
      return fail(ErrorCode::kDevice, "a register access failed");
    return {};
  }

  static Result<void> put(tb::AxiMemory &memory, std::uint64_t address,
                          std::span<const std::uint8_t> bytes) {
    if (!memory.store(address, bytes))
      return fail(ErrorCode::kResourceLimit, "{} bytes at {:#x} do not fit the device's memory",
                  bytes.size(), address);
    return {};
  }
  static Result<void> fetch(const tb::AxiMemory &memory, std::uint64_t address,
                            std::span<std::uint8_t> bytes) {
    if (!memory.load(address, bytes))
      return fail(ErrorCode::kInternal, "{} bytes at {:#x} lie outside the device's memory",
                  bytes.size(), address);
    return {};
  }

  /// From a started program to its interrupt. Errors: kTimeout, kDevice (an assertion of the RTL
  /// or a rule of a bus).
  Result<void> run_to_irq() {
    using Status = typename Bench::Status;
    const Status ended = bench_.run_to_irq(max_cycles_);
    if (ended == Status::assertion)
      return fail(ErrorCode::kDevice, "an assertion of the RTL failed at cycle {}",
                  bench_.simulation.cycle());
    if (ended != Status::done)
      return fail(ErrorCode::kTimeout, "no interrupt within {} cycles", max_cycles_);
    if (const std::string text = bench_.violations(); !text.empty())
      return fail(ErrorCode::kDevice, "bus protocol violated: {}", text);
    return {};
  }

  Bench bench_;
  /// Nothing takes this long: the design's own watchdog ends what is stuck.
  std::uint64_t max_cycles_ = std::uint64_t{1} << 33;

private:
  static typename Bench::Config bench_config(const DeviceOptions &options) {
    typename Bench::Config config;
    config.memory.read_latency = options.memory.read_latency;
    config.memory.write_latency = options.memory.write_latency;
    config.memory.max_outstanding = options.memory.outstanding;
    config.memory.shared_bandwidth = {options.memory.beats, options.memory.cycles};
    config.memory.refresh_interval = options.memory.refresh_interval;
    config.memory.refresh_cycles = options.memory.refresh_cycles;
    config.memory.back_pressure = tb::AxiBackPressure::all(options.stall_probability);
    config.memory.seed = options.seed * 3 + 1;
    config.driver.seed = options.seed * 3 + 2;
    config.simulation = device_simulation(options.seed);
    return config;
  }

  DeviceOptions options_;
  std::string_view subject_;
  bool bus_failed_ = false;
};

} // namespace kestrel
