// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "vision/device/verilated_device.hpp"

#include "Vhv_engine_edge.h"
#include "vision/device/verilated_engine.hpp"

namespace kestrel::hv {

Result<std::unique_ptr<Device>> make_verilated_device(const contract::Config &config,
                                                      const DeviceOptions &options) {
  if (config.name != "edge")
    return fail(ErrorCode::kUnsupported,
                "device 'rtl' is built for configuration 'edge', not for '{}'", config.name);
  auto device = std::make_unique<VerilatedEngine<Vhv_engine_edge>>(config, options);
  KESTREL_TRY(device->start_trace());
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace kestrel::hv
