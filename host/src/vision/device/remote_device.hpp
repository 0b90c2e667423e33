// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <memory>
#include <string_view>

#include "kestrel/contract/vision.hpp"
#include "kestrel/result.hpp"
#include "kestrel/vision/device.hpp"

namespace kestrel::hv {

/// The device "remote": an engine on a board behind a bridge of LiteX (common/bridge.hpp says how
/// `url` names it). Options of the URL beside those of the bridge, with the addresses of
/// boards/ulx3s where they are left out:
///   engine=ADDRESS  of the engine's registers       0x30000000
///   memory=ADDRESS  of the memory that both see     0x40000000
///   size=BYTES      of that memory                  0x2000000
///   verify=0        memory is not read back after it was written, results are read once
///   patience=S      seconds that an inference may take, 600
/// Opening it asks the engine who it is, resets it and tries the memory. Errors: those of
/// open_bridge and Bridge; kDevice (no engine there, or no memory), kVersionMismatch (another
/// configuration or contract version).
[[nodiscard]] Result<std::unique_ptr<Device>> make_remote_device(std::string_view url,
                                                                 const contract::Config &config,
                                                                 const DeviceOptions &options);

} // namespace kestrel::hv
