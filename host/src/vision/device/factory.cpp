// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <memory>
#include <string>

#include "kestrel/contract/vision.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/functional_device.hpp"
#include "vision/device/remote_device.hpp"
#include "vision/device/verilated_device.hpp"

namespace kestrel::hv {

Result<std::unique_ptr<Device>> make_device(std::string_view kind, std::string_view config_name,
                                            const DeviceOptions &options) {
  const contract::Config *config = contract::find_config(config_name);
  if (config == nullptr) {
    std::string known;
    for (const contract::Config &c : contract::kConfigs)
      known += (known.empty() ? "" : ", ") + std::string(c.name);
    return fail(ErrorCode::kNotFound, "configuration '{}'; known are {}", config_name, known);
  }
  if (kind == "fast")
    return std::unique_ptr<Device>(std::make_unique<FunctionalDevice>(*config, options));
  if (kind == "rtl")
    return make_verilated_device(*config, options);
  if (constexpr std::string_view kRemote = "remote:"; kind.starts_with(kRemote))
    return make_remote_device(kind.substr(kRemote.size()), *config, options);
  return fail(ErrorCode::kNotFound, "device '{}'; known are fast, rtl, remote:URL", kind);
}

} // namespace kestrel::hv
