// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Helpers of the serving tests: a fake model, a raw socket, a server that answers with given bytes.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include "kestrel/serve/backend.hpp"

namespace kestrel::serve::test {

/// Counts, and lets a test hold the model inside classify().
struct FakeControl {
  std::atomic<int> calls = 0;
  std::atomic<bool> fails = false;
  std::atomic<bool> no_memory = false;
  std::atomic<bool> wrong_size = false;
  std::vector<std::int64_t> other_shape; ///< ModelInfo::other_image_shape

  void hold() {
    const std::lock_guard lock(mutex);
    held = true;
  }
  void release() {
    {
      const std::lock_guard lock(mutex);
      held = false;
    }
    changed.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return !held; });
  }

private:
  std::mutex mutex;
  std::condition_variable changed;
  bool held = false;
};

/// "Classifies" a 2x2 image: its first pixel, in 255ths, modulo 10 is the class, with probability
/// 0.91 (0.01 for the others).
class FakeBackend final : public Backend {
public:
  explicit FakeBackend(FakeControl &control) : control_(control) {
    info_.name = "fake";
    info_.platform = "test";
    info_.image_shape = {1, 2, 2};
    info_.classes = 10;
    info_.other_image_shape = control.other_shape;
  }
  [[nodiscard]] const ModelInfo &info() const noexcept override { return info_; }
  [[nodiscard]] Result<std::vector<float>> classify(std::span<const float> images,
                                                    std::size_t count) override {
    ++control_.calls;
    control_.pass();
    if (control_.no_memory) {
      throw std::bad_alloc();
    }
    if (control_.fails) {
      return fail(ErrorCode::kInternal, "the fake model fails as told");
    }
    std::vector<float> out(count * 10, 0.01F);
    for (std::size_t i = 0; i < count; ++i) {
      const auto pixel = static_cast<std::size_t>(std::lround(images[4 * i] * 255.0F));
      out[10 * i + pixel % 10] = 0.91F;
    }
    if (control_.wrong_size) {
      out.pop_back();
    }
    return out;
  }

private:
  FakeControl &control_;
  ModelInfo info_;
};

inline BackendFactory fake_factory(FakeControl &control) {
  return [&control]() -> Result<std::unique_ptr<Backend>> {
    return std::unique_ptr<Backend>(std::make_unique<FakeBackend>(control));
  };
}

/// A blocking TCP connection to 127.0.0.1 with receive timeout.
class RawSocket {
public:
  explicit RawSocket(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr *>(&address), sizeof(address)) == 0;
  }
  RawSocket(const RawSocket &) = delete;
  RawSocket &operator=(const RawSocket &) = delete;
  ~RawSocket() { ::close(fd_); }

  [[nodiscard]] bool connected() const { return connected_; }
  bool send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) {
        return false;
      }
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void end_sending() const { ::shutdown(fd_, SHUT_WR); }

  /// Reads one response (header and Content-Length body), or until the peer closes or `timeout`.
  [[nodiscard]] std::string response(std::chrono::milliseconds timeout = std::chrono::seconds(5)) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    for (;;) {
      const std::size_t header = kept_.find("\r\n\r\n");
      if (header != std::string::npos) {
        const std::size_t at = kept_.find("Content-Length: ");
        const std::size_t length =
            at < header ? std::strtoul(kept_.c_str() + at + 16, nullptr, 10) : 0;
        if (kept_.size() >= header + 4 + length) {
          std::string one = kept_.substr(0, header + 4 + length);
          kept_.erase(0, header + 4 + length);
          return one;
        }
      }
      if (!more(end)) {
        return std::exchange(kept_, {});
      }
    }
  }
  /// Reads one header alone: an answer without body, whatever its Content-Length.
  [[nodiscard]] std::string header(std::chrono::milliseconds timeout = std::chrono::seconds(5)) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (kept_.find("\r\n\r\n") == std::string::npos && more(end)) {
    }
    const std::size_t at = kept_.find("\r\n\r\n");
    std::string one = kept_.substr(0, at == std::string::npos ? at : at + 4);
    kept_.erase(0, one.size());
    return one;
  }
  /// Whether the peer closes the connection within `timeout` (what it sends is dropped).
  [[nodiscard]] bool closes(std::chrono::milliseconds timeout = std::chrono::seconds(5)) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (more(end)) {
    }
    return closed_;
  }

private:
  bool more(std::chrono::steady_clock::time_point end) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                          end - std::chrono::steady_clock::now())
                          .count();
    pollfd p{fd_, POLLIN, 0};
    if (left <= 0 || ::poll(&p, 1, static_cast<int>(left)) <= 0) {
      return false;
    }
    std::array<char, 65536> chunk{};
    const ssize_t n = ::recv(fd_, chunk.data(), chunk.size(), 0);
    if (n <= 0) {
      closed_ = true;
      return false;
    }
    kept_.append(chunk.data(), static_cast<std::size_t>(n));
    return true;
  }
  int fd_;
  bool connected_ = false;
  bool closed_ = false;
  std::string kept_;
};

/// Status code of a response text, 0 when it is none.
inline int status_of(std::string_view response) {
  int status = 0;
  if (response.starts_with("HTTP/1.1 ") && response.size() > 12)
    std::from_chars(response.data() + 9, response.data() + 12, status);
  return status;
}
inline std::string body_of(std::string_view response) {
  const std::size_t at = response.find("\r\n\r\n");
  return std::string(at == std::string_view::npos ? "" : response.substr(at + 4));
}

inline std::string get(std::string_view target) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target);
}
inline std::string post(std::string_view target, std::string_view body,
                        std::string_view headers = "") {
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{}\r\n{}", target,
                     body.size(), headers, body);
}

/// Listens on a free port of 127.0.0.1 and gives every connection to `serve` on one thread; for
/// servers that misbehave.
class OddServer {
public:
  explicit OddServer(std::function<void(int fd)> serve)
      : serve_(std::move(serve)), fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(fd_, reinterpret_cast<const sockaddr *>(&address), size) != 0 ||
        ::listen(fd_, 16) != 0)
      std::abort(); // a test cannot go on without its server
    ::getsockname(fd_, reinterpret_cast<sockaddr *>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      while (!stop_) {
        pollfd p{fd_, POLLIN, 0};
        if (::poll(&p, 1, 20) > 0) {
          const int connection = ::accept(fd_, nullptr, nullptr);
          if (connection >= 0) {
            ++connections;
            serve_(connection);
            ::close(connection);
          }
        }
      }
    });
  }
  OddServer(const OddServer &) = delete;
  OddServer &operator=(const OddServer &) = delete;
  ~OddServer() {
    stop_ = true;
    thread_.join();
    ::close(fd_);
  }
  [[nodiscard]] std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  [[nodiscard]] bool stopping() const { return stop_; }
  std::atomic<int> connections = 0;

private:
  std::function<void(int)> serve_;
  int fd_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

} // namespace kestrel::serve::test
