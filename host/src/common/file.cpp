// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/file.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace kestrel {
namespace fs = std::filesystem;

namespace {

/// A descriptor that is closed at the end of its scope.
class Descriptor {
public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() { (void)close(); }
  [[nodiscard]] int get() const { return fd_; }
  /// False, with errno: what was written may not have reached the disk.
  [[nodiscard]] bool close() {
    const int fd = fd_;
    fd_ = -1;
    return fd < 0 || ::close(fd) == 0;
  }

private:
  int fd_;
};

std::string reason(int error) { return std::generic_category().message(error); }

Error unreadable(const fs::path &path, int error) {
  return fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}", path.string(),
              error == ENOENT ? "no such file" : reason(error));
}

bool write_all(int fd, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      errno = n == 0 ? EIO : errno;
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

template <typename Bytes> Result<Bytes> read_whole(const fs::path &path, std::int64_t max_bytes) {
  // O_NONBLOCK: opening a device or a pipe without a writer must not wait.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) {
    return unreadable(path, errno);
  }
  const bool pipe = S_ISFIFO(status.st_mode);
  if (!S_ISREG(status.st_mode) && !pipe) {
    return fail(ErrorCode::kIo, "{}: {}", path.string(),
                S_ISDIR(status.st_mode) ? "a directory, not a file" : "not a regular file");
  }
  const auto limit = static_cast<std::uint64_t>(max_bytes);
  const auto size = pipe ? 0 : static_cast<std::uint64_t>(status.st_size);
  if (size > limit) {
    return fail(ErrorCode::kResourceLimit, "{}: the file has {} bytes; at most {} are taken",
                path.string(), size, max_bytes);
  }
  if (pipe) {
    ::fcntl(file.get(), F_SETFL, ::fcntl(file.get(), F_GETFL) & ~O_NONBLOCK);
  }
  Bytes bytes;
  std::size_t done = 0;
  // A file may be shorter or, in /proc, longer than it says.
  for (std::size_t room = std::max<std::size_t>(size, 1);;
       room = std::max<std::size_t>(done, 65536)) {
    bytes.resize(done + std::min<std::uint64_t>(room, limit + 1 - done));
    ssize_t n = 0;
    while (done < bytes.size() &&
           ((n = ::read(file.get(), bytes.data() + done, bytes.size() - done)) > 0 ||
            (n < 0 && errno == EINTR))) {
      done += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    if (n < 0) {
      return unreadable(path, errno);
    }
    if (done > limit) {
      return fail(ErrorCode::kResourceLimit, "{}: more than {} bytes", path.string(), max_bytes);
    }
    if (done < bytes.size()) {
      break;
    }
    if (!pipe && done == size && size != 0) {
      break;
    }
  }
  bytes.resize(done);
  if (!pipe && done < size) {
    return fail(ErrorCode::kIo, "{}: only {} of {} bytes could be read", path.string(), done, size);
  }
  return bytes;
}

} // namespace

Result<std::vector<std::uint8_t>> read_file(const fs::path &path, std::int64_t max_bytes) {
  return read_whole<std::vector<std::uint8_t>>(path, max_bytes);
}

Result<std::string> read_text(const fs::path &path, std::int64_t max_bytes) {
  return read_whole<std::string>(path, max_bytes);
}

Result<void> write_file(const fs::path &path, std::span<const std::uint8_t> bytes) {
  const auto cannot = [&](int error) {
    return fail(ErrorCode::kIo, "{}: cannot be written: {}", path.string(), reason(error));
  };
  std::error_code ec;
  fs::path place = path;
  if (fs::is_symlink(path, ec)) {
    if (const fs::path real = fs::canonical(path, ec); !ec) {
      place = real;
    }
  }
  struct stat status {};
  const bool exists = ::stat(place.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) {
    Descriptor file(::open(place.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0 || !write_all(file.get(), bytes) || !file.close()) {
      return cannot(errno);
    }
    return {};
  }
  if (exists && ::access(place.c_str(), W_OK) != 0) { // a rename would not ask
    return cannot(errno);
  }
  static std::atomic<unsigned> number = 0;
  const fs::path temporary = place.string() + fmt::format(".tmp{}.{}", ::getpid(), number++);
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file.get() < 0) {
    return cannot(errno);
  }
  if ((exists && ::fchmod(file.get(), status.st_mode & 07777) != 0) ||
      !write_all(file.get(), bytes) || !file.close() ||
      ::rename(temporary.c_str(), place.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return cannot(error);
  }
  return {};
}

Result<void> write_file(const fs::path &path, std::string_view text) {
  return write_file(path,
                    std::span(reinterpret_cast<const std::uint8_t *>(text.data()), text.size()));
}

} // namespace kestrel
