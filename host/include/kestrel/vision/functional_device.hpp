// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The bit-exact functional device: interprets a package descriptor by descriptor on a model of the
// activation memory, exactly as docs/vision_engine.md defines. Time is not modelled here: the
// counters come from the cycle model (cycle_model.hpp), once for each package.
#pragma once

#include <memory>
#include <string_view>

#include "kestrel/contract/vision.hpp"
#include "kestrel/vision/device.hpp"

namespace kestrel::hv {

class FunctionalDevice final : public Device {
public:
  FunctionalDevice(const contract::Config &config, const DeviceOptions &options);
  ~FunctionalDevice() override;
  FunctionalDevice(const FunctionalDevice &) = delete;
  FunctionalDevice &operator=(const FunctionalDevice &) = delete;

  [[nodiscard]] Result<void> load(const Package &package) override;
  [[nodiscard]] Result<Inference> run(std::span<const std::int8_t> input) override;
  [[nodiscard]] Result<void> set_threshold(std::uint32_t threshold_q16,
                                           ConfidenceMode mode) override;
  [[nodiscard]] std::string_view name() const override { return "fast"; }
  [[nodiscard]] ClockInfo clock() const override;

  /// The bytes of OUT after the last run, padding channels included: what the hardware's OUT region
  /// must hold.
  [[nodiscard]] std::span<const std::uint8_t> out_region() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace kestrel::hv
