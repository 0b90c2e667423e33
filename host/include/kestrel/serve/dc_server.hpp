// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The data-centre (DC) server: a classifier behind the Open Inference Protocol v2 over HTTP/1.1.
//
// One thread does all socket work, `workers` threads read tensors and run the model; between them
// is a bounded queue. A full queue is answered 503 with Retry-After at once, so a client learns of
// overload in microseconds and can fall back to its own answer. See docs/serving.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "kestrel/result.hpp"
#include "kestrel/serve/backend.hpp"

namespace kestrel::serve {

struct DcServerOptions {
  std::string address = "127.0.0.1"; ///< IPv4 or IPv6 address to listen on
  std::uint16_t port = 0;            ///< 0: a free one is chosen
  std::size_t workers = 2;           ///< model instances that run at a time
  std::size_t queue_limit = 32;      ///< infer requests waiting for a worker; more get 503
  std::size_t max_connections = 64;  ///< open connections; more get 503 and are closed
  std::size_t max_body_bytes = std::size_t{8} << 20; ///< larger request bodies get 413
  std::size_t max_batch = 1024;                      ///< images in one request
  std::chrono::milliseconds idle_timeout{30'000};    ///< for a complete request header
  std::chrono::milliseconds body_timeout{10'000};    ///< from header to end of body
  std::chrono::milliseconds write_timeout{10'000};   ///< for one response
  std::chrono::milliseconds queue_timeout{60'000};   ///< waited longer in the queue: 503
};

/// What the server has done so far.
struct DcServerStats {
  std::uint64_t connections = 0;   ///< accepted
  std::uint64_t requests = 0;      ///< answered, whatever the status
  std::uint64_t inferences = 0;    ///< infer requests answered 200
  std::uint64_t images = 0;        ///< images in them
  std::uint64_t rejected = 0;      ///< answered 503
  std::uint64_t client_errors = 0; ///< answered 4xx
  std::uint64_t server_errors = 0; ///< answered 500
};

class DcServer {
public:
  /// Loads the model `workers` times, listens and starts the threads. Errors: those of the factory;
  /// kIo when the address cannot be used (the message names it); kInvalidArgument for options.
  [[nodiscard]] static Result<std::unique_ptr<DcServer>> start(const DcServerOptions &options,
                                                               const BackendFactory &factory);
  DcServer(const DcServer &) = delete;
  DcServer &operator=(const DcServer &) = delete;
  /// Stops without draining: what runs in the model is finished, connections are closed whatever
  /// they are doing.
  ~DcServer();

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// "http://127.0.0.1:8000"
  [[nodiscard]] std::string url() const;
  [[nodiscard]] const ModelInfo &model() const noexcept;
  [[nodiscard]] DcServerStats stats() const;

  /// Readiness fails and new infer requests get 503 from now on; what was accepted goes on.
  void begin_drain();
  /// begin_drain() and waits until accepted requests, those that a worker has or will get, are
  /// answered; refused and half-sent ones do not count. False: after `timeout` some were not.
  [[nodiscard]] bool drain(std::chrono::milliseconds timeout);
  /// drain(), then closes listener and connections. What runs in the model is finished first, be it
  /// beyond `timeout`; a process that must not wait for that ends after drain().
  bool drain_and_stop(std::chrono::milliseconds timeout);

  class Impl;

private:
  explicit DcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace kestrel::serve
