// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// How a host drives an engine through its registers and its memory, the same for every engine that
// has some: the Verilated one, a board.
#pragma once

#include <cstdint>
#include <span>

#include "kestrel/contract/vision.hpp"
#include "kestrel/result.hpp"
#include "kestrel/vision/device.hpp"

namespace kestrel::hv {

/// Registers and memory of an engine, however they are reached.
class EnginePort {
public:
  virtual ~EnginePort() = default;
  /// Registers that follow each other, the first at `offset`.
  [[nodiscard]] virtual Result<void> write(std::uint32_t offset,
                                           std::span<const std::uint32_t> values) = 0;
  [[nodiscard]] virtual Result<void> read(std::uint32_t offset,
                                          std::span<std::uint32_t> values) = 0;
  /// Memory, at addresses as the engine sees them, multiples of 128.
  [[nodiscard]] virtual Result<void> put(std::uint32_t address,
                                         std::span<const std::uint8_t> bytes) = 0;
  [[nodiscard]] virtual Result<void> fetch(std::uint32_t address,
                                           std::span<std::uint8_t> bytes) = 0;

  [[nodiscard]] Result<void> write(std::uint32_t offset, std::uint32_t value) {
    return write(offset, std::span(&value, 1));
  }
  [[nodiscard]] Result<std::uint32_t> read(std::uint32_t offset) {
    std::uint32_t value = 0;
    KESTREL_TRY(read(offset, std::span(&value, 1)));
    return value;
  }
};

/// Where the regions of a program lie in the engine's memory, multiples of 128.
struct EngineRegions {
  std::uint32_t pkg = 0, in = 0, out = 0, scratch = 0;
};

class EngineDriver {
public:
  EngineDriver(EnginePort &port, const contract::Config &config) : port_(port), config_(config) {}

  /// Device::load's work before anything is written. Errors: kVersionMismatch, those of
  /// verify_package.
  [[nodiscard]] Result<void> check(const Package &package);
  /// Device::load's work after that: memory, registers, table. `interrupts`: what IRQ_ENABLE gets.
  [[nodiscard]] Result<void> load(const Package &package, const EngineRegions &regions,
                                  std::uint32_t interrupts);
  /// The input into memory, and the doorbell. Errors: kInvalidArgument (nothing loaded),
  /// kShapeMismatch, those of the port.
  [[nodiscard]] Result<void> start(std::span<const std::int8_t> input);
  /// What Device::run returns of a program that has ended. Errors: kDevice, those of the port.
  [[nodiscard]] Result<Inference> finish();
  [[nodiscard]] Result<void> set_threshold(std::uint32_t threshold_q16, ConfidenceMode mode);

private:
  EnginePort &port_;
  contract::Config config_;
  EngineRegions regions_;
  Package package_;
  bool loaded_ = false;
};

} // namespace kestrel::hv
