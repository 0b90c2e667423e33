// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "esa/fast_switch.hpp"
#include "kestrel/esa/device.hpp"
#ifdef KESTREL_HAVE_ESA_RTL
#include "esa/verilated_switch.hpp"
#endif

namespace kestrel::esa {

Result<std::unique_ptr<SwitchDevice>> make_switch(std::string_view device,
                                                  const SwitchConfig &config) {
  if (const auto error = ref::config_error(config.model)) {
    return fail(ErrorCode::kInvalidArgument, "{}", *error);
  }
  for (const unsigned port : config.forward) {
    if (port != ref::kNoPort && port >= config.model.ports) {
      return fail(ErrorCode::kInvalidArgument, "forward: port {}: the switch has {}", port,
                  config.model.ports);
    }
  }
  std::unique_ptr<SwitchDevice> made;
  if (device == "fast") {
    made = std::make_unique<FastSwitch>(config);
  } else if (device == "rtl") {
#ifdef KESTREL_HAVE_ESA_RTL
    KESTREL_ASSIGN(made, make_verilated_switch(config));
#else
    return fail(ErrorCode::kUnsupported, "device rtl: this build has no model of the switch");
#endif
  } else {
    return fail(ErrorCode::kNotFound, "device '{}': there are fast and rtl", device);
  }
  for (const ref::Job &job : config.jobs) {
    KESTREL_TRY(made->add_job(job));
  }
  return made;
}

} // namespace kestrel::esa
