// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Logging of the applications, on standard error so that standard output stays for results.
// Libraries return errors and do not log; code that runs beside its caller (servers, worker
// threads) uses log().
#pragma once

#include <memory>
#include <string_view>

#include <spdlog/logger.h>

#include "kestrel/result.hpp"

namespace kestrel {

/// Sets the level: "trace", "debug", "info", "warn", "error" or "off". Error: kInvalidArgument.
[[nodiscard]] Result<void> set_log_level(std::string_view level);

/// The project's logger (thread-safe; made on first use; level "info" or the environment variable
/// KESTREL_LOG).
[[nodiscard]] spdlog::logger &log();

} // namespace kestrel
