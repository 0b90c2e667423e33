// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "vision/device/verilated_device.hpp"

#include <cstdint>

#include "Vhv_engine_edge.h"
#include "common/verilated_device.hpp"
#include "testbench/cpp/engine_bench.hpp"
#include "vision/device/engine_driver.hpp"

namespace kestrel::hv {
namespace {

namespace c = contract;

// Where the four regions lie in the model's external memory.
constexpr std::uint32_t kPkgBase = 0x1000'0000;
constexpr std::uint32_t kInBase = 0x4000'0000;
constexpr std::uint32_t kOutBase = 0x6000'0000;
constexpr std::uint32_t kScratchBase = 0x8000'0000;

class VerilatedDevice final : public VerilatedDeviceBase<Device, tb::EngineBench<Vhv_engine_edge>>,
                              private EnginePort {
  using Base = VerilatedDeviceBase<Device, tb::EngineBench<Vhv_engine_edge>>;

public:
  VerilatedDevice(const c::Config &config, const DeviceOptions &options)
      : Base(options, "engine"), driver_(*this, config) {}

  using Base::start_trace;

  Result<void> load(const Package &package) override {
    KESTREL_TRY(driver_.check(package));
    return driver_.load(package, {kPkgBase, kInBase, kOutBase, kScratchBase}, 3);
  }

  Result<Inference> run(std::span<const std::int8_t> input) override {
    bench_.memory.align();
    KESTREL_TRY(driver_.start(input));
    KESTREL_TRY(run_to_irq());
    return driver_.finish();
  }

  Result<void> set_threshold(std::uint32_t threshold_q16, ConfidenceMode mode) override {
    return driver_.set_threshold(threshold_q16, mode);
  }

private:
  Result<void> write(std::uint32_t offset, std::span<const std::uint32_t> values) override {
    for (const std::uint32_t value : values) {
      KESTREL_TRY(Base::write(offset, value));
      offset += 4;
    }
    return {};
  }
  Result<void> read(std::uint32_t offset, std::span<std::uint32_t> values) override {
    for (std::uint32_t &value : values) {
      value = Base::read(offset);
      offset += 4;
    }
    return accesses();
  }
  Result<void> put(std::uint32_t address, std::span<const std::uint8_t> bytes) override {
    return Base::put(bench_.memory, address, bytes);
  }
  Result<void> fetch(std::uint32_t address, std::span<std::uint8_t> bytes) override {
    return Base::fetch(bench_.memory, address, bytes);
  }

  EngineDriver driver_;
};

} // namespace

Result<std::unique_ptr<Device>> make_verilated_device(const contract::Config &config,
                                                      const DeviceOptions &options) {
  if (config.name != "edge")
    return fail(ErrorCode::kUnsupported,
                "device 'rtl' is built for configuration 'edge', not for '{}'", config.name);
  auto device = std::make_unique<VerilatedDevice>(config, options);
  KESTREL_TRY(device->start_trace());
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace kestrel::hv
