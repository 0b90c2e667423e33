// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstddef>
#include <memory>

#include "kestrel/result.hpp"
#include "kestrel/thc/device.hpp"

namespace kestrel::thc {

/// Can the kernels use the table? Errors: kUnsupported (more than 4 bits), kInvalidArgument.
[[nodiscard]] Result<void> check_table(const ref::Table &table);

/// Bits of a sum: `bits`, or the smaller of 8 and 16 that fits when it is 0. kInvalidArgument when
/// the sum of `workers` values up to `granularity` does not fit.
[[nodiscard]] Result<unsigned> check_sums(std::size_t workers, unsigned granularity, unsigned bits);

/// The bit-exact functional device: sw_ref on this machine's processor, without time.
[[nodiscard]] Result<std::unique_ptr<Device>> make_functional_device(const DeviceOptions &options);

/// The cycle-accurate device: the Verilated accelerator with memory behind both channels. Errors:
/// kUnsupported (a trace asked for in a build without traces), kIo (the trace file).
[[nodiscard]] Result<std::unique_ptr<Device>> make_verilated_device(const DeviceOptions &options);

} // namespace kestrel::thc
