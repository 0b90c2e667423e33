// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "common/byte_line.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

namespace kestrel {
namespace {

std::string system_text(int error) { return std::generic_category().message(error); }

constexpr std::array<std::pair<unsigned, speed_t>, 14> kRates = {{{9600, B9600},
                                                                  {19200, B19200},
                                                                  {38400, B38400},
                                                                  {57600, B57600},
                                                                  {115200, B115200},
                                                                  {230400, B230400},
                                                                  {460800, B460800},
                                                                  {500000, B500000},
                                                                  {921600, B921600},
                                                                  {1000000, B1000000},
                                                                  {1500000, B1500000},
                                                                  {2000000, B2000000},
                                                                  {3000000, B3000000},
                                                                  {4000000, B4000000}}};

in_port_t &port_of(sockaddr_storage &address) {
  return address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6 &>(address).sin6_port
                                       : reinterpret_cast<sockaddr_in &>(address).sin_port;
}

/// Gives a socket for datagrams to `to` the port of `to` here as well: LiteEth answers to its own
/// port of whoever asks. Not where `to` is the very address they come from: there it is taken.
/// 0 or an error of the system.
int take_same_port(int fd, const addrinfo &to) {
  sockaddr_storage from{}, peer{};
  socklen_t size = sizeof(from);
  std::memcpy(&peer, to.ai_addr, to.ai_addrlen);
  const int probe = ::socket(to.ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool known = probe >= 0 && ::connect(probe, to.ai_addr, to.ai_addrlen) == 0 &&
                     ::getsockname(probe, reinterpret_cast<sockaddr *>(&from), &size) == 0;
  const int error = known ? 0 : errno;
  if (probe >= 0)
    ::close(probe);
  if (error != 0)
    return error;
  port_of(from) = port_of(peer);
  if (std::memcmp(&from, &peer, to.ai_addrlen) == 0)
    return 0;
  const int on = 1; // two boards have the same port
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  return ::bind(fd, reinterpret_cast<sockaddr *>(&from), size) == 0 ? 0 : errno;
}

} // namespace

ByteLine::~ByteLine() { ::close(fd_); }

Result<std::unique_ptr<ByteLine>> ByteLine::open_serial(const std::string &path, unsigned baud) {
  const auto *const rate = std::find_if(kRates.begin(), kRates.end(),
                                        [baud](const auto &known) { return known.first == baud; });
  if (rate == kRates.end()) {
    std::string known;
    for (const auto &[number, code] : kRates)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", number);
    return fail(ErrorCode::kUnsupported, "{}: {} baud; known are {}", path, baud, known);
  }
  const int fd = ::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}", path,
                system_text(errno));
  std::unique_ptr<ByteLine> line(new ByteLine(fd, path));
  // Ends with the descriptor, however this program ends.
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
    return fail(ErrorCode::kUnavailable, "{}: another program uses it", path);
  termios settings{};
  if (::tcgetattr(fd, &settings) != 0)
    return fail(ErrorCode::kIo, "{}: not a serial port or pseudo-terminal", path);
  ::cfmakeraw(&settings);
  settings.c_cflag |= static_cast<tcflag_t>(CLOCAL | CREAD);
  settings.c_cflag &= ~static_cast<tcflag_t>(CRTSCTS | CSTOPB);
  if (::cfsetspeed(&settings, rate->second) != 0 || ::tcsetattr(fd, TCSANOW, &settings) != 0)
    return fail(ErrorCode::kIo, "{}: {} baud are refused: {}", path, baud, system_text(errno));
  ::tcflush(fd, TCIOFLUSH);
  return line;
}

Result<std::unique_ptr<ByteLine>> ByteLine::connect_tcp(const std::string &host, std::uint16_t port,
                                                        Milliseconds timeout) {
  return connect(host, port, SOCK_STREAM, timeout);
}

Result<std::unique_ptr<ByteLine>> ByteLine::connect_udp(const std::string &host,
                                                        std::uint16_t port) {
  return connect(host, port, SOCK_DGRAM, Milliseconds(0));
}

Result<std::unique_ptr<ByteLine>> ByteLine::connect(const std::string &host, std::uint16_t port,
                                                    int type, Milliseconds timeout) {
  const std::string name = fmt::format("{}:{}", host, port);
  const auto end = Clock::now() + timeout;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = type;
  addrinfo *found = nullptr;
  if (const int status = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
      status != 0)
    return fail(ErrorCode::kUnavailable, "{}: {}", name, ::gai_strerror(status));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  Error last = fail(ErrorCode::kUnavailable, "{}: no address", name);
  for (const addrinfo *a = found; a != nullptr; a = a->ai_next) {
    const int fd =
        ::socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
      continue;
    std::unique_ptr<ByteLine> line(new ByteLine(fd, name));
    if (type == SOCK_DGRAM) {
      if (const int error = take_same_port(fd, *a); error != 0) {
        last = fail(ErrorCode::kUnavailable, "{}: port {} here, which a board answers to: {}", name,
                    port, system_text(error));
        continue;
      }
    }
    if (::connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
      if (errno != EINPROGRESS) {
        last = fail(ErrorCode::kUnavailable, "{}: {}", name, system_text(errno));
        continue;
      }
      pollfd wait{fd, POLLOUT, 0};
      const auto left = std::chrono::duration_cast<Milliseconds>(end - Clock::now()).count();
      if (::poll(&wait, 1, static_cast<int>(std::max<std::int64_t>(left, 0))) <= 0) {
        last = fail(ErrorCode::kTimeout, "{}: no connection within {} ms", name, timeout.count());
        continue;
      }
      int error = 0;
      socklen_t size = sizeof(error);
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) {
        last = fail(ErrorCode::kUnavailable, "{}: {}", name, system_text(error));
        continue;
      }
    }
    if (type == SOCK_STREAM) {
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return line;
  }
  return last;
}

Result<bool> ByteLine::wait(short events, Clock::time_point end) const {
  for (;;) {
    const auto left = std::chrono::ceil<Milliseconds>(end - Clock::now()).count();
    pollfd item{fd_, events, 0};
    const int ready =
        ::poll(&item, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30)));
    if (ready < 0 && errno != EINTR)
      return fail(ErrorCode::kIo, "{}: {}", name_, system_text(errno));
    if (ready > 0) // an error or a closed line shows in what follows
      return true;
    if (ready == 0 && Clock::now() >= end)
      return false;
  }
}

Result<void> ByteLine::send(std::span<const std::uint8_t> bytes, Milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  while (!bytes.empty()) {
    KESTREL_ASSIGN(const bool ready, wait(POLLOUT, end));
    if (!ready)
      return fail(ErrorCode::kTimeout, "{}: takes no more bytes for {} ms", name_, timeout.count());
    ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == ENOTSOCK)
      n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      continue;
    if (n <= 0)
      return fail(ErrorCode::kUnavailable, "{}: the line is gone ({})", name_, system_text(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::size_t> ByteLine::receive_some(std::span<std::uint8_t> bytes, Milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  for (;;) {
    KESTREL_ASSIGN(const bool ready, wait(POLLIN, end));
    if (!ready)
      return fail(ErrorCode::kTimeout, "{}: no answer within {} ms", name_, timeout.count());
    const ssize_t n = ::read(fd_, bytes.data(), bytes.size());
    if (n > 0)
      return static_cast<std::size_t>(n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      continue;
    return fail(ErrorCode::kUnavailable, "{}: the line is gone ({})", name_,
                n == 0 ? "closed by the other side" : system_text(errno));
  }
}

Result<void> ByteLine::receive(std::span<std::uint8_t> bytes, Milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  const std::size_t wanted = bytes.size();
  while (!bytes.empty()) {
    const auto left =
        std::max(std::chrono::ceil<Milliseconds>(end - Clock::now()), Milliseconds(0));
    const auto got = receive_some(bytes, left);
    if (!got && got.error().code == ErrorCode::kTimeout)
      return fail(ErrorCode::kTimeout, "{}: {} of {} bytes of an answer within {} ms", name_,
                  wanted - bytes.size(), wanted, timeout.count());
    if (!got)
      return got.error();
    bytes = bytes.subspan(*got);
  }
  return {};
}

Result<std::size_t> ByteLine::discard(Milliseconds quiet, Milliseconds limit) {
  const auto end = Clock::now() + limit;
  std::array<std::uint8_t, 4096> bytes{};
  std::size_t count = 0;
  for (;;) {
    const auto got = receive_some(bytes, quiet);
    if (!got && got.error().code == ErrorCode::kTimeout)
      return count;
    if (!got)
      return got.error();
    count += *got;
    if (Clock::now() >= end)
      return count;
  }
}

} // namespace kestrel
