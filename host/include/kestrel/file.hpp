// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Whole files in and out. Every file that the program reads or writes goes through here, so that
// sizes are bounded, what is no file is refused, and a write that fails leaves what was there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kestrel/result.hpp"

namespace kestrel {

/// Reads a regular file, or what comes through a pipe, of at most `max_bytes`. Directories and
/// devices are refused. Errors: kNotFound, kIo, kResourceLimit.
[[nodiscard]] Result<std::vector<std::uint8_t>> read_file(const std::filesystem::path &path,
                                                          std::int64_t max_bytes);
/// The same as text.
[[nodiscard]] Result<std::string> read_text(const std::filesystem::path &path,
                                            std::int64_t max_bytes);

/// Writes a file through a temporary beside it and a rename: readers never see half of it, and when
/// the disk is full the old contents stay. A link is followed, permissions are kept. A path that
/// exists and is no regular file (/dev/null, a pipe) is written directly. Error: kIo with the
/// system's reason.
[[nodiscard]] Result<void> write_file(const std::filesystem::path &path,
                                      std::span<const std::uint8_t> bytes);
[[nodiscard]] Result<void> write_file(const std::filesystem::path &path, std::string_view text);

} // namespace kestrel
