// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <memory>

#include "kestrel/contract/vision.hpp"
#include "kestrel/result.hpp"
#include "kestrel/vision/device.hpp"

namespace kestrel::hv {

/// The cycle-accurate device: the Verilated RTL with external memory behind its bus. Errors:
/// kUnsupported (a configuration that is not verilated in this build, a trace asked for in a build
/// without traces), kIo (the trace file).
[[nodiscard]] Result<std::unique_ptr<Device>> make_verilated_device(const contract::Config &config,
                                                                    const DeviceOptions &options);

} // namespace kestrel::hv
