// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include "kestrel/esa/device.hpp"

namespace kestrel::esa {

/// The model of sw_ref/esa behind the device interface.
class FastSwitch final : public SwitchDevice {
public:
  /// Precondition: config.model has no config_error. Jobs are left to add_job.
  explicit FastSwitch(const SwitchConfig &config);

  [[nodiscard]] std::string_view name() const override { return "fast"; }
  [[nodiscard]] Result<void> add_job(const ref::Job &job) override;
  [[nodiscard]] Result<void> remove_job(std::uint16_t job) override;
  [[nodiscard]] Result<std::vector<Egress>> run(std::span<const Ingress> frames) override;
  [[nodiscard]] SwitchCounters counters() const override { return counters_; }

private:
  void leave(std::vector<Egress> &out, std::uint64_t earliest, unsigned port,
             const std::vector<std::uint8_t> &frame);

  std::vector<unsigned> forward_;
  ref::Switch switch_;
  std::uint64_t now_ = 0;
  std::vector<std::uint64_t> port_free_; ///< cycle from which a port can begin the next frame
  SwitchCounters counters_;
};

} // namespace kestrel::esa
