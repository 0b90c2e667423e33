// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "kestrel/result.hpp"

namespace kestrel {

/// Reads a whole regular file of at most `max_bytes`. Errors: kNotFound, kIo, kResourceLimit.
[[nodiscard]] Result<std::vector<std::uint8_t>> read_file(const std::filesystem::path &path,
                                                          std::int64_t max_bytes);

/// Writes a file through a temporary beside it and a rename, so that readers never see half of
/// it. A path that exists and is no regular file (/dev/null, a pipe) is written directly.
/// Error: kIo.
[[nodiscard]] Result<void> write_file(const std::filesystem::path &path,
                                      std::span<const std::uint8_t> bytes);

} // namespace kestrel
