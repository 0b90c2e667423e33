// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/thc/aggregator.hpp"

#include <utility> // before asio: Boost 1.74 with C++20 lacks the include

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <mutex>
#include <system_error>
#include <thread>

#include "kestrel/bytes.hpp"

namespace kestrel::thc {
namespace {

namespace asio = boost::asio;
using asio::ip::udp;
using Clock = AggregatorCore::Clock;

constexpr int kSocketBuffer = 4 << 20;
/// Datagrams taken from the socket before timers are looked at.
constexpr int kBurst = 256;
/// Forgets idle jobs even when nothing arrives.
constexpr std::chrono::seconds kIdleTick{1};

/// An endpoint as a number that holds all of it, and back.
AggregatorCore::Address address_of(const udp::endpoint &endpoint) {
  if (endpoint.address().is_v4()) {
    return {0, endpoint.address().to_v4().to_uint(), endpoint.port()};
  }
  const asio::ip::address_v6 v6 = endpoint.address().to_v6();
  const auto bytes = v6.to_bytes();
  return {load_be<std::uint64_t>(bytes, 0), load_be<std::uint64_t>(bytes, 8),
          std::uint64_t{1} << 63 | static_cast<std::uint64_t>(v6.scope_id()) << 16 |
              endpoint.port()};
}
udp::endpoint endpoint_of(const AggregatorCore::Address &address) {
  const auto port = static_cast<std::uint16_t>(address.port);
  if (address.port >> 63 == 0) {
    return {asio::ip::address_v4(static_cast<std::uint32_t>(address.low)), port};
  }
  asio::ip::address_v6::bytes_type bytes{};
  store_be<std::uint64_t>(bytes, 0, address.high);
  store_be<std::uint64_t>(bytes, 8, address.low);
  return {asio::ip::address_v6(bytes, static_cast<std::uint32_t>(address.port >> 16)), port};
}

} // namespace

struct AggregatorServer::Impl {
  asio::io_context io;
  udp::socket socket{io};
  asio::steady_timer timer{io};
  mutable std::mutex mutex; // of core
  AggregatorCore core;
  std::vector<std::uint8_t> buffer = std::vector<std::uint8_t>(kMaxDatagram);
  std::uint16_t port = 0;
  std::string name;
  std::thread thread;

  explicit Impl(const AggregatorOptions &options)
      : core(options, [this](AggregatorCore::Address to, std::span<const std::uint8_t> datagram) {
          boost::system::error_code lost; // a datagram that cannot be sent is a lost one
          socket.send_to(asio::buffer(datagram.data(), datagram.size()), endpoint_of(to), 0, lost);
        }) {}

  ~Impl() {
    if (thread.joinable()) {
      asio::post(io, [this] {
        boost::system::error_code ignored;
        socket.close(ignored);
        timer.cancel();
      });
      thread.join();
    }
  }

  Result<void> listen(const std::string &address, std::uint16_t wanted) {
    boost::system::error_code error;
    const auto ip = asio::ip::make_address(address, error);
    if (error) {
      return fail(ErrorCode::kInvalidArgument, "'{}' is not an IP address", address);
    }
    const udp::endpoint local(ip, wanted);
    socket.open(local.protocol(), error);
    if (!error) {
      socket.bind(local, error);
    }
    if (!error) {
      socket.non_blocking(true, error);
    }
    if (!error) {
      port = socket.local_endpoint(error).port();
    }
    if (error) {
      return fail(ErrorCode::kIo, "UDP port {} of {}: {}", wanted, address, error.message());
    }
    socket.set_option(asio::socket_base::receive_buffer_size(kSocketBuffer), error);
    socket.set_option(asio::socket_base::send_buffer_size(kSocketBuffer), error);
    const bool any = ip.is_unspecified();
    const std::string host = any ? (ip.is_v6() ? "::1" : "127.0.0.1") : ip.to_string();
    name = fmt::format("{}{}{}:{}", ip.is_v6() ? "[" : "", host, ip.is_v6() ? "]" : "", port);
    return {};
  }

  void start() {
    wait_socket();
    wait_timer(kIdleTick);
    thread = std::thread([this] { io.run(); });
  }

  void wait_socket() {
    socket.async_wait(udp::socket::wait_read, [this](const boost::system::error_code &error) {
      if (!error && socket.is_open()) {
        drain();
        wait_socket();
      }
    });
  }

  void wait_timer(Clock::duration time) {
    timer.expires_after(time);
    timer.async_wait([this](const boost::system::error_code &error) {
      if (socket.is_open()) {
        // An aborted wait was replaced by a later one.
        if (error != asio::error::operation_aborted) {
          wait_timer(tick());
        }
      }
    });
  }

  Clock::duration tick() {
    const auto now = Clock::now();
    const std::lock_guard lock(mutex);
    const auto due = core.tick(now);
    return due ? std::min<Clock::duration>(kIdleTick, *due - now) : kIdleTick;
  }

  void drain() {
    {
      const std::lock_guard lock(mutex);
      udp::endpoint from;
      for (int i = 0; i < kBurst; ++i) {
        boost::system::error_code error;
        const std::size_t size = socket.receive_from(asio::buffer(buffer), from, 0, error);
        if (error) { // nothing more; or an ICMP error of an earlier send, reported once
          if (error == asio::error::would_block) {
            break;
          }
          continue;
        }
        core.receive(address_of(from), std::span(buffer).first(size), Clock::now());
      }
    }
    const auto next = tick();
    if (Clock::now() + next < timer.expiry()) {
      wait_timer(next);
    }
  }
};

AggregatorServer::AggregatorServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AggregatorServer::~AggregatorServer() = default;

Result<std::unique_ptr<AggregatorServer>>
AggregatorServer::start(const std::string &address, std::uint16_t port,
                        const AggregatorOptions &options) {
  KESTREL_TRY(AggregatorCore::check_options(options));
  auto impl = std::make_unique<Impl>(options);
  KESTREL_TRY(impl->listen(address, port));
  try {
    impl->start();
  } catch (const std::system_error &e) {
    return fail(ErrorCode::kResourceLimit,
                "aggregator: a thread cannot be started, the limit of processes (ulimit -u) or of "
                "memory is reached ({})",
                e.code().message());
  }
  return std::unique_ptr<AggregatorServer>(new AggregatorServer(std::move(impl)));
}

std::uint16_t AggregatorServer::port() const noexcept { return impl_->port; }
std::string AggregatorServer::endpoint() const { return impl_->name; }
AggregatorStats AggregatorServer::stats() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->core.stats();
}
std::vector<JobReport> AggregatorServer::jobs() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->core.jobs(Clock::now());
}

} // namespace kestrel::thc
