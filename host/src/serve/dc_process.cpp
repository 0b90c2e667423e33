// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/dc_process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/json.hpp"

namespace kestrel::serve {
namespace {

using Clock = std::chrono::steady_clock;

/// Owns a file descriptor.
class Fd {
public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(const Fd &) = delete;
  Fd &operator=(const Fd &) = delete;
  ~Fd() { reset(); }
  void reset() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
    fd_ = -1;
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

private:
  int fd_;
};

std::string describe(int status) {
  if (WIFEXITED(status)) {
    return fmt::format("exit status {}", WEXITSTATUS(status));
  }
  return fmt::format("signal {}", WTERMSIG(status));
}

/// Wait status once the child has ended; nullopt after `timeout`.
std::optional<int> wait_for(pid_t pid, std::chrono::milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  for (;;) {
    int status = 0;
    const pid_t got = ::waitpid(pid, &status, WNOHANG);
    if (got == pid) {
      return status;
    }
    if (got < 0 && errno != EINTR) {
      return 0; // reaped elsewhere
    }
    if (Clock::now() >= end) {
      return std::nullopt;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

int kill_and_reap(pid_t pid) {
  ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

/// The last lines written to `fd` (a memory file), as one line.
std::string last_words(int fd) {
  const off_t size = ::lseek(fd, 0, SEEK_END);
  std::string text(static_cast<std::size_t>(std::clamp<off_t>(size, 0, 500)), '\0');
  const ssize_t got = ::pread(fd, text.data(), text.size(),
                              std::max<off_t>(0, size - static_cast<off_t>(text.size())));
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
    text.pop_back();
  }
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.empty() ? "it said nothing" : text;
}

} // namespace

Result<std::string> this_program() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return fail(ErrorCode::kIo, "cannot find the running program: {}", error.message());
  }
  return path.string();
}

DcProcess::DcProcess(pid_t pid, int words, std::chrono::milliseconds stop_timeout, std::string url)
    : pid_(pid), words_(words), stop_timeout_(stop_timeout), url_(std::move(url)) {}

DcProcess::DcProcess(DcProcess &&other) noexcept
    : pid_(std::exchange(other.pid_, -1)), words_(std::exchange(other.words_, -1)),
      stop_timeout_(other.stop_timeout_), url_(std::move(other.url_)) {}

DcProcess &DcProcess::operator=(DcProcess &&other) noexcept {
  if (this != &other) {
    static_cast<void>(stop());
    pid_ = std::exchange(other.pid_, -1);
    words_ = std::exchange(other.words_, -1);
    stop_timeout_ = other.stop_timeout_;
    url_ = std::move(other.url_);
  }
  return *this;
}

DcProcess::~DcProcess() { static_cast<void>(stop()); }

Result<DcProcess> DcProcess::start(const DcProcessOptions &options) {
  std::string program = options.program;
  if (program.empty()) {
    KESTREL_ASSIGN(program, this_program());
  }
  if (::access(program.c_str(), X_OK) != 0) {
    return fail(ErrorCode::kNotFound, "{}: cannot be run: {}", program, std::strerror(errno));
  }
  // All memory is taken before fork: between fork and exec only async-signal-safe calls are made.
  std::vector<std::string> arguments{program};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  for (const char *argument : {"--port", "0", "--ready-fd", "3"}) {
    arguments.emplace_back(argument);
  }
  std::vector<char *> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string &argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);

  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::kIo, "cannot make a pipe: {}", std::strerror(errno));
  }
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  Fd words(::memfd_create("kestrel-dc-stderr", MFD_CLOEXEC));
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (words.get() < 0 || null.get() < 0) {
    return fail(ErrorCode::kIo, "cannot prepare the DC process's output: {}", std::strerror(errno));
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    return fail(ErrorCode::kIo, "cannot start {}: {}", program, std::strerror(errno));
  }
  if (pid == 0) {
    // Duplicates above 3 first, so that no dup2 below overwrites one still needed.
    const int ready = ::fcntl(writing.get(), F_DUPFD, 10);
    const int error = ::fcntl(words.get(), F_DUPFD, 10);
    const int nothing = ::fcntl(null.get(), F_DUPFD, 10);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(nothing, STDOUT_FILENO);
    ::dup2(error, STDERR_FILENO);
    ::dup2(ready, 3);
    ::syscall(SYS_close_range, 4U, ~0U, 0U);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) {
      ::_exit(127); // the parent died before the line above
    }
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  writing.reset(); // so that the child's death shows as end of file

  const auto end = Clock::now() + options.start_timeout;
  std::string line;
  bool ended = false;
  while (line.find('\n') == std::string::npos && !ended && line.size() < 65536) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) {
      kill_and_reap(pid);
      return fail(ErrorCode::kTimeout, "the DC process was not ready within {} ms ({})",
                  options.start_timeout.count(), last_words(words.get()));
    }
    pollfd poll_fd{reading.get(), POLLIN, 0};
    if (::poll(&poll_fd, 1, static_cast<int>(std::min<long long>(left, 1000))) > 0) {
      std::array<char, 4096> chunk{};
      const ssize_t got = ::read(reading.get(), chunk.data(), chunk.size());
      if (got > 0) {
        line.append(chunk.data(), static_cast<std::size_t>(got));
      } else if (got == 0 || errno != EINTR) {
        ended = true;
      }
    }
  }
  const nlohmann::json json = [&]() -> nlohmann::json {
    auto parsed = parse_json(std::string_view(line).substr(0, line.find('\n')));
    return parsed ? std::move(*parsed) : nlohmann::json();
  }();
  if (!json.is_object() || !json.contains("url") || !json["url"].is_string()) {
    auto status = wait_for(pid, std::chrono::milliseconds(ended ? 1000 : 0));
    if (!status) {
      kill_and_reap(pid);
    }
    return fail(ErrorCode::kUnavailable, "the DC process did not become ready ({}): {}",
                status ? describe(*status) : "no ready line", last_words(words.get()));
  }
  return DcProcess(pid, words.release(), options.stop_timeout, json["url"].get<std::string>());
}

Result<void> DcProcess::stop() {
  if (pid_ < 0) {
    return {};
  }
  const pid_t pid = std::exchange(pid_, -1);
  const Fd words(std::exchange(words_, -1));
  ::kill(pid, SIGTERM);
  const auto status = wait_for(pid, stop_timeout_);
  if (!status) {
    kill_and_reap(pid);
    return fail(ErrorCode::kTimeout, "the DC process did not end within {} ms and was killed",
                stop_timeout_.count());
  }
  if (!WIFEXITED(*status) || WEXITSTATUS(*status) != 0) {
    return fail(ErrorCode::kUnavailable, "the DC process ended with {}: {}", describe(*status),
                last_words(words.get()));
  }
  return {};
}

} // namespace kestrel::serve
