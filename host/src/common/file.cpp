// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "common/file.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>

#include <unistd.h>

namespace kestrel {
namespace fs = std::filesystem;

Result<std::vector<std::uint8_t>> read_file(const fs::path &path, std::int64_t max_bytes) {
  std::error_code ec;
  const fs::file_status status = fs::status(path, ec);
  if (status.type() == fs::file_type::not_found) {
    return fail(ErrorCode::kNotFound, "{}: no such file", path.string());
  }
  if (ec) {
    return fail(ErrorCode::kIo, "{}: {}", path.string(), ec.message());
  }
  if (!fs::is_regular_file(status)) {
    return fail(ErrorCode::kIo, "{}: not a regular file", path.string());
  }
  const std::uintmax_t size = fs::file_size(path, ec);
  if (ec) {
    return fail(ErrorCode::kIo, "{}: {}", path.string(), ec.message());
  }
  if (size > static_cast<std::uintmax_t>(max_bytes)) {
    return fail(ErrorCode::kResourceLimit, "{}: the file has {} bytes; at most {} are taken",
                path.string(), size, max_bytes);
  }
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return fail(ErrorCode::kIo, "{}: cannot be opened: {}", path.string(), std::strerror(errno));
  }
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  in.read(reinterpret_cast<char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (in.gcount() != static_cast<std::streamsize>(bytes.size())) {
    return fail(ErrorCode::kIo, "{}: only {} of {} bytes could be read", path.string(), in.gcount(),
                bytes.size());
  }
  return bytes;
}

Result<void> write_file(const fs::path &path, std::span<const std::uint8_t> bytes) {
  std::error_code ec;
  const fs::file_status status = fs::status(path, ec);
  const bool direct = fs::exists(status) && !fs::is_regular_file(status);
  const fs::path target =
      direct ? path : fs::path(path.string() + fmt::format(".tmp{}", ::getpid()));
  errno = 0;
  {
    std::ofstream out(target, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char *>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out) {
      const int reason = errno;
      if (!direct) {
        fs::remove(target, ec);
      }
      return fail(ErrorCode::kIo, "{}: cannot be written: {}", path.string(),
                  reason != 0 ? std::strerror(reason) : "output error");
    }
  }
  if (!direct) {
    fs::rename(target, path, ec);
    if (ec) {
      std::error_code ignored;
      fs::remove(target, ignored);
      return fail(ErrorCode::kIo, "{}: cannot be written: {}", path.string(), ec.message());
    }
  }
  return {};
}

} // namespace kestrel
