// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/log.hpp"

#include <array>
#include <cstdlib>
#include <optional>
#include <utility>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace kestrel {
namespace {

constexpr std::array<std::pair<std::string_view, spdlog::level::level_enum>, 6> kLevels{{
    {"trace", spdlog::level::trace},
    {"debug", spdlog::level::debug},
    {"info", spdlog::level::info},
    {"warn", spdlog::level::warn},
    {"error", spdlog::level::err},
    {"off", spdlog::level::off},
}};

std::optional<spdlog::level::level_enum> level_of(std::string_view name) {
  for (const auto &[text, level] : kLevels) {
    if (text == name) {
      return level;
    }
  }
  return std::nullopt;
}

std::shared_ptr<spdlog::logger> make_logger() {
  auto logger = std::make_shared<spdlog::logger>(
      "kestrel", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_pattern("%H:%M:%S.%e %^%l%$ %v");
  logger->flush_on(spdlog::level::info);
  const char *wish = std::getenv("KESTREL_LOG");
  logger->set_level(level_of(wish != nullptr ? wish : "").value_or(spdlog::level::info));
  return logger;
}

} // namespace

spdlog::logger &log() {
  static const std::shared_ptr<spdlog::logger> logger = make_logger();
  return *logger;
}

Result<void> set_log_level(std::string_view level) {
  const auto value = level_of(level);
  if (!value) {
    return fail(ErrorCode::kInvalidArgument,
                "log level '{}'; trace, debug, info, warn, error and off exist", level);
  }
  log().set_level(*value);
  return {};
}

} // namespace kestrel
