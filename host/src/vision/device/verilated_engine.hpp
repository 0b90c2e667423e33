// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The device interface over any Verilated model with the ports of hv_engine: the RTL (device "rtl"),
// or its netlist in tests.
#pragma once

#include <cstdint>
#include <span>

#include "common/verilated_device.hpp"
#include "kestrel/contract/vision.hpp"
#include "kestrel/result.hpp"
#include "kestrel/vision/device.hpp"
#include "testbench/cpp/engine_bench.hpp"
#include "vision/device/engine_driver.hpp"

namespace kestrel::hv {

/// `Model` is made by kestrel_verilate() of hv_engine in the configuration that the device is given.
template <class Model>
class VerilatedEngine : public VerilatedDeviceBase<Device, tb::EngineBench<Model>>,
                        private EnginePort {
  using Base = VerilatedDeviceBase<Device, tb::EngineBench<Model>>;

public:
  VerilatedEngine(const contract::Config &config, const DeviceOptions &options)
      : Base(options, "engine"), driver_(*this, config) {}

  using Base::start_trace;

  Result<void> load(const Package &package) override {
    KESTREL_TRY(driver_.check(package));
    return driver_.load(package, {kPkgBase, kInBase, kOutBase, kScratchBase}, 3);
  }

  Result<Inference> run(std::span<const std::int8_t> input) override {
    this->bench_.memory.align();
    KESTREL_TRY(driver_.start(input));
    KESTREL_TRY(this->run_to_irq());
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
    return this->accesses();
  }
  Result<void> put(std::uint32_t address, std::span<const std::uint8_t> bytes) override {
    return Base::put(this->bench_.memory, address, bytes);
  }
  Result<void> fetch(std::uint32_t address, std::span<std::uint8_t> bytes) override {
    return Base::fetch(this->bench_.memory, address, bytes);
  }

  // Where the four regions lie in the model's external memory.
  static constexpr std::uint32_t kPkgBase = 0x1000'0000;
  static constexpr std::uint32_t kInBase = 0x4000'0000;
  static constexpr std::uint32_t kOutBase = 0x6000'0000;
  static constexpr std::uint32_t kScratchBase = 0x8000'0000;

  EngineDriver driver_;
};

} // namespace kestrel::hv
