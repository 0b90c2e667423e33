// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A board for tests, in a thread: a bus behind the bridges of LiteX, on a TCP port, a
// pseudo-terminal or a UDP port. It reads the protocol on its own: nothing here is shared with the
// client. A test may make it misbehave.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

namespace kestrel::test {

/// 32-bit words at byte addresses.
class Bus {
public:
  virtual ~Bus() = default;
  virtual std::uint32_t read(std::uint32_t address) = 0;
  virtual void write(std::uint32_t address, std::uint32_t value) = 0;
};

/// How a server misbehaves. Set before the server starts, but for the atomics.
struct Faults {
  std::atomic<bool> silent = false;    ///< takes everything, answers nothing
  std::atomic<int> close_after = -1;   ///< hangs up before the answer to this read
  std::atomic<int> short_answer = -1;  ///< leaves out the last byte of that answer
  std::atomic<int> extra_byte = -1;    ///< one byte too much behind that answer
  std::atomic<bool> babble = false;    ///< sends without being asked, for ever
  std::atomic<int> lose_datagrams = 0; ///< UDP: so many are not heard
  std::vector<std::uint8_t> greeting;  ///< sent once, to who connects
  std::function<std::uint32_t(std::uint32_t address, std::uint32_t value)> on_write; ///< bad line
};

class BridgeServer {
public:
  enum class Kind : std::uint8_t { kTcp, kPty, kUdp };

  BridgeServer(Kind kind, Bus &bus, Faults &faults) : kind_(kind), bus_(bus), faults_(faults) {
    if (kind == Kind::kPty) {
      line_ = ::posix_openpt(O_RDWR | O_NOCTTY);
      std::array<char, 128> name{};
      if (line_ < 0 || ::grantpt(line_) != 0 || ::unlockpt(line_) != 0 ||
          ::ptsname_r(line_, name.data(), name.size()) != 0)
        throw std::runtime_error("no pseudo-terminal");
      // Held open, so that the line is one also while no client is there.
      hold_ = ::open(name.data(), O_RDWR | O_NOCTTY);
      termios raw{};
      ::tcgetattr(hold_, &raw);
      ::cfmakeraw(&raw);
      ::tcsetattr(hold_, TCSANOW, &raw);
      url_ = std::string("pty:") + name.data();
    } else {
      const bool tcp = kind == Kind::kTcp;
      socket_ = ::socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof(address);
      if (::bind(socket_, reinterpret_cast<sockaddr *>(&address), size) != 0 ||
          (tcp && ::listen(socket_, 4) != 0) ||
          ::getsockname(socket_, reinterpret_cast<sockaddr *>(&address), &size) != 0)
        throw std::runtime_error("no socket");
      url_ =
          (tcp ? "tcp://127.0.0.1:" : "udp://127.0.0.1:") + std::to_string(ntohs(address.sin_port));
    }
    thread_ = std::thread([this] { kind_ == Kind::kUdp ? serve_datagrams() : serve(); });
  }
  BridgeServer(const BridgeServer &) = delete;
  BridgeServer &operator=(const BridgeServer &) = delete;
  ~BridgeServer() {
    stop_ = true;
    thread_.join();
    unplug();
    if (socket_ >= 0)
      ::close(socket_);
  }

  [[nodiscard]] const std::string &url() const { return url_; }
  [[nodiscard]] std::uint64_t reads() const { return reads_; }
  /// Everything that clients have sent. Not while one talks.
  [[nodiscard]] const std::vector<std::uint8_t> &heard() const { return heard_; }

private:
  bool ready(int fd, int milliseconds) const {
    pollfd item{fd, POLLIN, 0};
    return ::poll(&item, 1, milliseconds) > 0;
  }
  void unplug() {
    if (line_ >= 0)
      ::close(line_);
    if (hold_ >= 0)
      ::close(hold_);
    line_ = hold_ = -1;
  }
  void put(const std::vector<std::uint8_t> &bytes) const {
    std::size_t done = 0;
    while (done < bytes.size() && !stop_) {
      const ssize_t n = ::write(line_, bytes.data() + done, bytes.size() - done);
      if (n <= 0)
        return;
      done += static_cast<std::size_t>(n);
    }
  }

  void serve() {
    while (!stop_) {
      if (line_ < 0) {
        if (kind_ == Kind::kPty)
          return; // unplugged for good
        if (!ready(socket_, 20))
          continue;
        line_ = ::accept(socket_, nullptr, nullptr);
        command_.clear();
        if (!faults_.greeting.empty())
          put(faults_.greeting);
      }
      if (faults_.babble)
        put({0x55, 0xAA});
      if (!ready(line_, faults_.babble ? 1 : 20)) {
        // As the bridge: a command that stays unfinished is given up after 100 ms.
        idle_ += 20;
        if (idle_ >= 100)
          command_.clear();
        continue;
      }
      idle_ = 0;
      std::array<std::uint8_t, 4096> bytes{};
      const ssize_t n = ::read(line_, bytes.data(), bytes.size());
      if (n <= 0) {
        unplug();
        continue;
      }
      for (ssize_t i = 0; i < n && line_ >= 0; ++i) {
        heard_.push_back(bytes[static_cast<std::size_t>(i)]);
        take(bytes[static_cast<std::size_t>(i)]);
      }
    }
  }

  // One byte of UARTBone: command, length, word address, words.
  void take(std::uint8_t byte) {
    if (faults_.silent)
      return;
    command_.push_back(byte);
    if (command_.size() < 6)
      return;
    const std::uint32_t address = 4 * word(2);
    const std::size_t length = command_[1];
    if (command_[0] == 0x02) {
      std::vector<std::uint8_t> answer;
      for (std::size_t i = 0; i < length; ++i) {
        const std::uint32_t value = bus_.read(address + static_cast<std::uint32_t>(4 * i));
        for (const unsigned shift : {24U, 16U, 8U, 0U})
          answer.push_back(static_cast<std::uint8_t>(value >> shift));
      }
      const int number = static_cast<int>(reads_++);
      command_.clear();
      if (number == faults_.close_after) {
        unplug();
        return;
      }
      if (number == faults_.short_answer)
        answer.pop_back();
      if (number == faults_.extra_byte)
        answer.push_back(0x42);
      put(answer);
    } else if (command_[0] == 0x01) {
      if (command_.size() < 6 + 4 * length)
        return;
      for (std::size_t i = 0; i < length; ++i)
        write(address + static_cast<std::uint32_t>(4 * i), word(6 + 4 * i));
      command_.clear();
    } else {
      command_.clear(); // as the bridge: an unknown command ends after its address
    }
  }

  [[nodiscard]] std::uint32_t word(std::size_t at) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
      value = value << 8U | command_[at + i];
    return value;
  }
  void write(std::uint32_t address, std::uint32_t value) {
    bus_.write(address, faults_.on_write ? faults_.on_write(address, value) : value);
  }

  // Etherbone: packet header of 8 bytes, records of header, writes, reads.
  void serve_datagrams() {
    while (!stop_) {
      if (!ready(socket_, 20))
        continue;
      std::array<std::uint8_t, 2048> bytes{};
      sockaddr_in from{};
      socklen_t size = sizeof(from);
      const ssize_t n = ::recvfrom(socket_, bytes.data(), bytes.size(), 0,
                                   reinterpret_cast<sockaddr *>(&from), &size);
      if (n < 12 || faults_.silent)
        continue;
      if (faults_.lose_datagrams > 0) {
        --faults_.lose_datagrams;
        continue;
      }
      command_.assign(bytes.begin(), bytes.begin() + n);
      const std::size_t writes = bytes[10], reads = bytes[11];
      if (word(0) != 0x4e6f1044 || bytes[9] != 0x0f ||
          static_cast<std::size_t>(n) !=
              12 + (writes != 0 ? 4 + 4 * writes : 0) + (reads != 0 ? 4 + 4 * reads : 0))
        continue;
      std::size_t at = 12;
      if (writes != 0) {
        const std::uint32_t base = word(at);
        for (std::size_t i = 0; i < writes; ++i)
          write(base + static_cast<std::uint32_t>(4 * i), word(at + 4 + 4 * i));
        at += 4 + 4 * writes;
      }
      if (reads == 0)
        continue;
      std::vector<std::uint8_t> answer(bytes.begin(), bytes.begin() + 8);
      answer.insert(answer.end(), {0x00, 0x0f, static_cast<std::uint8_t>(reads), 0x00});
      answer.insert(answer.end(), command_.begin() + static_cast<std::ptrdiff_t>(at),
                    command_.begin() + static_cast<std::ptrdiff_t>(at + 4));
      for (std::size_t i = 0; i < reads; ++i) {
        const std::uint32_t value = bus_.read(word(at + 4 + 4 * i));
        for (const unsigned shift : {24U, 16U, 8U, 0U})
          answer.push_back(static_cast<std::uint8_t>(value >> shift));
      }
      ++reads_;
      ::sendto(socket_, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr *>(&from), size);
    }
  }

  Kind kind_;
  Bus &bus_;
  Faults &faults_;
  std::string url_;
  int socket_ = -1, line_ = -1, hold_ = -1;
  int idle_ = 0;
  std::vector<std::uint8_t> command_, heard_;
  std::atomic<std::uint64_t> reads_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

} // namespace kestrel::test
