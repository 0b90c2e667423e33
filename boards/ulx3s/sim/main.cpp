// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel-board-sim: serves the serial port of the simulated ULX3S board on a TCP port or a
// pseudo-terminal. `kestrel board-sim` starts it.
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "boards/ulx3s/sim/board.hpp"

namespace {

using kestrel::board::SimulatedBoard;

volatile std::sig_atomic_t g_stop = 0;
void on_signal(int /*number*/) { g_stop = 1; }

struct Options {
  std::uint16_t port = 4321;
  std::string address = "127.0.0.1";
  bool pty = false;
  std::uint64_t seed = 1;
  std::string bus;
};

/// Where clients are: `line` is -1 while there is none.
struct Line {
  int listener = -1, line = -1, hold = -1;
  std::string url;
};

int error(const std::string &text) {
  fmt::print(stderr, "kestrel-board-sim: {}\n", text);
  return 1;
}

bool open_pty(Line &line) {
  line.line = ::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  std::array<char, 128> name{};
  if (line.line < 0 || ::grantpt(line.line) != 0 || ::unlockpt(line.line) != 0 ||
      ::ptsname_r(line.line, name.data(), name.size()) != 0)
    return false;
  // Held open and raw: it stays one line from client to client.
  line.hold = ::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  termios raw{};
  if (line.hold < 0 || ::tcgetattr(line.hold, &raw) != 0)
    return false;
  ::cfmakeraw(&raw);
  ::tcsetattr(line.hold, TCSANOW, &raw);
  line.url = std::string("pty:") + name.data();
  return true;
}

bool open_tcp(const Options &options, Line &line) {
  line.listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(line.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  socklen_t size = sizeof(address);
  if (::inet_pton(AF_INET, options.address.c_str(), &address.sin_addr) != 1 ||
      ::bind(line.listener, reinterpret_cast<sockaddr *>(&address), size) != 0 ||
      ::listen(line.listener, 1) != 0 ||
      ::getsockname(line.listener, reinterpret_cast<sockaddr *>(&address), &size) != 0)
    return false;
  line.url = fmt::format("tcp://{}:{}", options.address, ntohs(address.sin_port));
  return true;
}

/// Takes what has come and accepts who has come; waits for that for `timeout` ms. One client at a
/// time, as on a serial port.
void take(Line &line, SimulatedBoard &board, int timeout) {
  constexpr std::size_t kQueue = 512; // more than that waits in the line, as on a real one
  const bool connected = line.line >= 0;
  if (connected && board.queued() >= kQueue)
    return;
  pollfd item{connected ? line.line : line.listener, POLLIN, 0};
  if (::poll(&item, 1, timeout) <= 0)
    return;
  if (!connected) {
    line.line = ::accept4(line.listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const int on = 1;
    if (line.line >= 0)
      ::setsockopt(line.line, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return;
  }
  std::array<std::uint8_t, kQueue> bytes{};
  const ssize_t n = ::read(line.line, bytes.data(), bytes.size());
  if (n > 0) {
    for (ssize_t i = 0; i < n; ++i)
      board.send(bytes[static_cast<std::size_t>(i)]);
  } else if (line.listener >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
    ::close(line.line);
    line.line = -1;
  }
}

/// What nobody listens to is lost, as on a serial port.
void give(Line &line, SimulatedBoard &board) {
  while (const auto byte = board.receive()) {
    const std::uint8_t value = *byte;
    while (line.line >= 0 && ::write(line.line, &value, 1) < 0 && errno == EAGAIN && g_stop == 0) {
      pollfd item{line.line, POLLOUT, 0};
      ::poll(&item, 1, 100);
    }
  }
}

int serve(const Options &options) {
  Line line;
  if (!(options.pty ? open_pty(line) : open_tcp(options, line)))
    return error(options.pty ? std::string("no pseudo-terminal")
                             : fmt::format("{}:{}: {}", options.address, options.port,
                                           std::strerror(errno)));
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> bus(nullptr, &std::fclose);
  if (!options.bus.empty()) {
    bus.reset(std::fopen(options.bus.c_str(), "w"));
    if (!bus)
      return error(fmt::format("{}: {}", options.bus, std::strerror(errno)));
  }
  SimulatedBoard board(options.seed);
  board.log_bus(bus.get());
  // The board starts its SDRAM before anybody can talk to it.
  while (!board.sdram_ready())
    if (!board.steps(1000) || board.cycle() > 1'000'000)
      return error("the SDRAM did not become ready");
  fmt::print("{{\"ready\":true,\"url\":\"{}\",\"device\":\"remote:{}\",\"pid\":{}}}\n", line.url,
             line.url, ::getpid());
  std::fflush(stdout);

  // Time stands still on a board that has nothing to do: longer than the bridge waits for the rest
  // of a command (100 000 cycles). Who waits for an inference asks in between.
  constexpr std::uint64_t kQuiet = 150'000;
  constexpr std::uint64_t kChunk = 400;
  const auto begin = std::chrono::steady_clock::now();
  std::chrono::steady_clock::duration asleep{};
  bool good = true;
  while (good && g_stop == 0) {
    const bool idle = board.queued() == 0 && board.cycle() > board.last_activity() + kQuiet;
    if (idle) {
      const auto before = std::chrono::steady_clock::now();
      take(line, board, 200);
      asleep += std::chrono::steady_clock::now() - before;
      if (board.queued() == 0)
        continue;
    } else {
      take(line, board, 0);
    }
    good = board.steps(kChunk);
    give(line, board);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin - asleep).count();
  const auto &model = board.model();
  fmt::print("{{\"cycles\":{},\"seconds\":{:.3f},\"sdram\":{{\"reads\":{},\"writes\":{},"
             "\"refreshes\":{},\"violations\":{}}}}}\n",
             board.cycle(), seconds, model.sdram_reads_o, model.sdram_writes_o,
             model.sdram_refreshes_o, model.violations_o);
  std::fflush(stdout);
  return good && model.violations_o == 0 ? 0 : error("an assertion of the simulation failed");
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app{"Simulates the ULX3S board cycle by cycle and serves its serial port.",
               "kestrel board-sim"};
  Options options;
  app.footer("Prints one JSON line {\"ready\":true,\"url\":...} once the board's SDRAM is "
             "initialised, and\n"
             "what it counted at the end (SIGTERM, Ctrl-C). One client at a time.\n"
             "\n"
             "Examples:\n"
             "  kestrel board-sim --port 4321\n"
             "  kestrel run net.tflite --input x.npy --device remote:tcp://127.0.0.1:4321\n"
             "  kestrel board-sim --pty        the path is in the JSON line");
  app.add_option("--port", options.port, "TCP port; 0 takes a free one")->capture_default_str();
  app.add_option("--address", options.address, "IPv4 address to listen on")->capture_default_str();
  app.add_flag("--pty", options.pty, "A pseudo-terminal instead of a TCP port");
  app.add_option("--seed", options.seed, "Of uninitialised state")->capture_default_str();
  app.add_option("--bus", options.bus,
                 "Write the handshakes at the engine's memory port: cycle, channel (AR R AW W B), "
                 "address and beats")
      ->type_name("FILE");
  CLI11_PARSE(app, argc, argv);
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return serve(options);
}
