// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A `kestrel dc` child process: started, waited for until it is ready, stopped and reaped.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <sys/types.h>

#include "kestrel/result.hpp"

namespace kestrel::serve {

struct DcProcessOptions {
  std::string program;                ///< the kestrel program; empty: the running one
  std::vector<std::string> arguments; ///< e.g. {"dc", "--model", "m.onnx"}; see start()
  std::chrono::milliseconds start_timeout{30'000};
  std::chrono::milliseconds stop_timeout{15'000}; ///< for draining, after which it is killed
};

class DcProcess {
public:
  /// Starts the program with `arguments` followed by "--port 0 --ready-fd 3" and waits for the
  /// ready line, one JSON object with member "url", on descriptor 3. The child gets SIGTERM should
  /// the starting thread die. Errors: kNotFound / kIo (cannot be started), kUnavailable (ended
  /// before it was ready; the message carries its last words on standard error), kTimeout.
  [[nodiscard]] static Result<DcProcess> start(const DcProcessOptions &options);
  DcProcess(DcProcess &&other) noexcept;
  DcProcess &operator=(DcProcess &&other) noexcept;
  /// stop()s.
  ~DcProcess();

  [[nodiscard]] const std::string &url() const noexcept { return url_; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

  /// SIGTERM, waits, SIGKILL if need be; the process is reaped when this returns. Success when it
  /// ended with status 0; otherwise kUnavailable (how it ended) or kTimeout (was killed). Nothing
  /// happens when called again.
  [[nodiscard]] Result<void> stop();

private:
  DcProcess(pid_t pid, int words, std::chrono::milliseconds stop_timeout, std::string url);
  pid_t pid_ = -1;
  int words_ = -1; ///< what the child writes to standard error
  std::chrono::milliseconds stop_timeout_{};
  std::string url_;
};

/// Path of the running program. Error: kIo.
[[nodiscard]] Result<std::string> this_program();

} // namespace kestrel::serve
