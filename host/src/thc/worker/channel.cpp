// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/thc/channel.hpp"

#include <utility> // before asio: Boost 1.74 with C++20 lacks the include

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <queue>
#include <random>
#include <thread>
#include <vector>

#include <poll.h>

#include "kestrel/contract/wire.hpp"

namespace kestrel::thc {
namespace {

namespace asio = boost::asio;
using asio::ip::udp;
using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr int kSocketBuffer = 4 << 20;

class UdpChannel final : public Channel {
public:
  UdpChannel(std::unique_ptr<asio::io_context> io, udp::socket socket, std::string name)
      : io_(std::move(io)), socket_(std::move(socket)), name_(std::move(name)) {}

  Result<void> send(std::span<const std::uint8_t> datagram) override {
    boost::system::error_code error;
    socket_.send(asio::buffer(datagram.data(), datagram.size()), 0, error);
    // A full send buffer is a lost datagram, and so is one that nobody listens for (the error
    // belongs to an earlier one).
    refused_ = error == asio::error::connection_refused;
    if (error && !refused_ && error != asio::error::would_block &&
        error != asio::error::no_buffer_space) {
      return fail(ErrorCode::kIo, "sending to {}: {}", name_, error.message());
    }
    return {};
  }

  Result<std::optional<std::size_t>> receive(std::span<std::uint8_t> buffer,
                                             microseconds timeout) override {
    const auto end = Clock::now() + timeout;
    for (;;) {
      boost::system::error_code error;
      const std::size_t size =
          socket_.receive(asio::buffer(buffer.data(), buffer.size()), 0, error);
      if (!error) {
        refused_ = false;
        return std::optional<std::size_t>(size);
      }
      refused_ = refused_ || error == asio::error::connection_refused;
      if (error != asio::error::would_block && error != asio::error::connection_refused &&
          error != asio::error::interrupted) {
        return fail(ErrorCode::kIo, "receiving from {}: {}", name_, error.message());
      }
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
      if (left.count() <= 0) {
        return std::optional<std::size_t>();
      }
      pollfd p{socket_.native_handle(), POLLIN, 0};
      ::poll(&p, 1, static_cast<int>(left.count()));
    }
  }

  std::string peer() const override { return refused_ ? name_ + " (nobody listens there)" : name_; }

private:
  std::unique_ptr<asio::io_context> io_; // before its socket
  udp::socket socket_;
  std::string name_;
  bool refused_ = false;
};

class FaultyChannel final : public Channel {
public:
  FaultyChannel(std::unique_ptr<Channel> inner, const Faults &faults)
      : inner_(std::move(inner)), faults_(faults), up_(faults.seed * 2),
        down_(faults.seed * 2 + 1) {}

  Result<void> send(std::span<const std::uint8_t> datagram) override {
    KESTREL_TRY(flush());
    spread(up_, faults_.loss_up, datagram, outgoing_);
    return flush();
  }

  Result<std::optional<std::size_t>> receive(std::span<std::uint8_t> buffer,
                                             microseconds timeout) override {
    const auto end = Clock::now() + timeout;
    for (;;) {
      KESTREL_TRY(flush());
      const auto now = Clock::now();
      if (!incoming_.empty() && incoming_.top().due <= now) {
        const auto &bytes = incoming_.top().bytes;
        const std::size_t size = std::min(bytes.size(), buffer.size());
        std::copy_n(bytes.begin(), size, buffer.begin());
        incoming_.pop();
        return std::optional<std::size_t>(size);
      }
      auto until = end;
      for (const Queue *queue : {&incoming_, &outgoing_}) {
        if (!queue->empty()) {
          until = std::min(until, queue->top().due);
        }
      }
      const auto wait = std::max(microseconds(0), std::chrono::ceil<microseconds>(until - now));
      KESTREL_ASSIGN(const auto size, inner_->receive(buffer, wait));
      if (size) {
        spread(down_, faults_.loss_down, buffer.first(*size), incoming_);
      } else if (Clock::now() >= end && (incoming_.empty() || incoming_.top().due > end)) {
        return std::optional<std::size_t>();
      }
    }
  }

  std::string peer() const override { return inner_->peer(); }

private:
  struct Held {
    Clock::time_point due;
    std::uint64_t number; // equal times keep their order
    std::vector<std::uint8_t> bytes;
    bool operator<(const Held &other) const {
      return due != other.due ? due > other.due : number > other.number;
    }
  };
  using Queue = std::priority_queue<Held>;

  void spread(std::mt19937_64 &random, double loss, std::span<const std::uint8_t> datagram,
              Queue &queue) {
    std::uniform_real_distribution<double> uniform;
    // Always three draws, so that one fault does not move the others.
    const bool lost = uniform(random) < loss;
    const bool twice = uniform(random) < faults_.duplicate;
    const bool held = uniform(random) < faults_.reorder;
    if (lost) {
      return;
    }
    const auto due = Clock::now() + faults_.delay + (held ? faults_.hold : microseconds(0));
    for (int i = 0; i < (twice ? 2 : 1); ++i) {
      queue.push({due, number_++, {datagram.begin(), datagram.end()}});
    }
  }

  Result<void> flush() {
    const auto now = Clock::now();
    while (!outgoing_.empty() && outgoing_.top().due <= now) {
      const std::vector<std::uint8_t> bytes = outgoing_.top().bytes;
      outgoing_.pop();
      KESTREL_TRY(inner_->send(bytes));
    }
    return {};
  }

  std::unique_ptr<Channel> inner_;
  Faults faults_;
  std::mt19937_64 up_;
  std::mt19937_64 down_;
  Queue outgoing_;
  Queue incoming_;
  std::uint64_t number_ = 0;
};

} // namespace

Result<std::unique_ptr<Channel>> connect_udp(const std::string &endpoint) {
  // host, host:port, [v6] or [v6]:port
  std::string host = endpoint;
  std::string port_text;
  if (endpoint.starts_with('[')) {
    const std::size_t close = endpoint.find(']');
    if (close == std::string::npos) {
      return fail(ErrorCode::kInvalidArgument, "aggregator '{}': no closing bracket", endpoint);
    }
    host = endpoint.substr(1, close - 1);
    port_text = endpoint.substr(close + 1);
  } else if (const std::size_t colon = endpoint.rfind(':'); colon != std::string::npos) {
    host = endpoint.substr(0, colon);
    port_text = endpoint.substr(colon);
  }
  unsigned port = contract::wire::kUdpPort;
  if (!port_text.empty()) {
    const char *last = port_text.data() + port_text.size();
    const auto [end, error] = std::from_chars(port_text.data() + 1, last, port);
    if (port_text.front() != ':' || error != std::errc() || end != last || port < 1 ||
        port > 65535) {
      return fail(ErrorCode::kInvalidArgument, "aggregator '{}': no port 1 to 65535 after the host",
                  endpoint);
    }
  }
  if (host.empty()) {
    return fail(ErrorCode::kInvalidArgument, "aggregator '{}': no host", endpoint);
  }
  auto io = std::make_unique<asio::io_context>();
  boost::system::error_code error;
  udp::resolver resolver(*io);
  const auto found = resolver.resolve(host, std::to_string(port), error);
  if (error || found.empty()) {
    return fail(ErrorCode::kNotFound, "aggregator '{}': {}", endpoint, error.message());
  }
  const udp::endpoint target = *found.begin();
  udp::socket socket(*io);
  socket.open(target.protocol(), error);
  if (!error) {
    socket.connect(target, error);
  }
  if (!error) {
    socket.non_blocking(true, error);
  }
  if (error) {
    return fail(ErrorCode::kIo, "aggregator '{}': {}", endpoint, error.message());
  }
  // As much as the system allows; less only means more retransmissions.
  socket.set_option(asio::socket_base::receive_buffer_size(kSocketBuffer), error);
  socket.set_option(asio::socket_base::send_buffer_size(kSocketBuffer), error);
  return std::unique_ptr<Channel>(
      std::make_unique<UdpChannel>(std::move(io), std::move(socket), endpoint));
}

Result<std::unique_ptr<Channel>> with_faults(std::unique_ptr<Channel> inner, const Faults &faults) {
  for (const double share : {faults.loss_up, faults.loss_down, faults.duplicate, faults.reorder}) {
    if (!(share >= 0.0 && share <= 1.0)) {
      return fail(ErrorCode::kInvalidArgument, "faults: a share of {} is not in 0..1", share);
    }
  }
  if (faults.hold.count() < 0 || faults.delay.count() < 0) {
    return fail(ErrorCode::kInvalidArgument, "faults: a time is negative");
  }
  return std::unique_ptr<Channel>(std::make_unique<FaultyChannel>(std::move(inner), faults));
}

} // namespace kestrel::thc
