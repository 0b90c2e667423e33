// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <memory>

#include "kestrel/esa/device.hpp"

namespace kestrel::esa {

/// The Verilated rtl/esa/esa_switch: 8 ports, 4096 slots of 64 lanes, 32 jobs. Fewer lanes are
/// padded with zeros on the way in and cut on the way out. Frames of more than 1536 bytes are
/// dropped and counted as kLong. Jobs are left to add_job. Errors: kUnsupported (the configuration
/// is larger), kDevice. Precondition: config.model has no config_error.
[[nodiscard]] Result<std::unique_ptr<SwitchDevice>>
make_verilated_switch(const SwitchConfig &config);

} // namespace kestrel::esa
