// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Client of a data-centre (DC) server that speaks the Open Inference Protocol v2: `kestrel dc`, or
// any other (Triton, KServe) that serves a classifier with the same tensors.
//
// Every wait is bounded: connecting by connect_timeout, one exchange by response_timeout however
// slowly bytes trickle in, and a job of many requests gives up after a few failures in a row. What
// comes back is checked (shape, range, sums, echo of the id) before anybody uses it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kestrel/result.hpp"
#include "kestrel/serve/oip.hpp"

namespace kestrel::serve {

struct DcClientOptions {
  std::string url;                 ///< "http://host:port"
  std::string model = "fmnist_dc"; ///< model asked for
  std::chrono::milliseconds connect_timeout{2'000};
  std::chrono::milliseconds response_timeout{30'000}; ///< sending, waiting and reading together
  std::size_t connections = 2;                        ///< kept open and used at a time by infer_all
  int failures_to_give_up = 2; ///< failures in a row after which infer_all stops trying
  int overload_retries = 5; ///< times a 503 is tried again, pausing for what it asks (at most 1 s)
  std::size_t max_response_bytes = std::size_t{64} << 20;
};

/// One image's answer.
struct DcAnswer {
  int top1 = 0;             ///< class of the highest probability, the lowest index wins ties
  float probability = 0.0F; ///< its probability
};

/// What became of a job of many images.
struct DcAnswers {
  std::vector<std::optional<DcAnswer>> answers; ///< one an image; empty: not answered
  std::size_t answered = 0;
  std::optional<Error> error; ///< the first failure, if any
};

/// Not thread-safe; calls block until answered or failed.
class DcClient {
public:
  /// Reads the URL; nothing is sent yet. Errors: kInvalidArgument (not such a URL), kUnsupported
  /// (https).
  [[nodiscard]] static Result<DcClient> create(const DcClientOptions &options);
  DcClient(DcClient &&) noexcept;
  DcClient &operator=(DcClient &&) noexcept;
  ~DcClient();

  [[nodiscard]] const DcClientOptions &options() const noexcept;

  /// Succeeds when the server and the model are ready. Errors as infer().
  [[nodiscard]] Result<void> ready();

  /// The model's metadata as JSON text. Errors as infer().
  [[nodiscard]] Result<std::string> model_metadata();

  /// One request. Errors name URL and cause: kUnavailable (unreachable, overloaded, draining),
  /// kTimeout, kParse (the answer is not the protocol), kNotFound (no such model),
  /// kInvalidArgument (refused by the server as 4xx), kDevice (the server failed, 5xx).
  [[nodiscard]] Result<InferResponse> infer(const InferRequest &request);

  /// Many requests over several connections; result i belongs to request i. `done` is called after
  /// each with the number of requests finished. Requests not tried after giving up carry the error
  /// that led to it.
  [[nodiscard]] std::vector<Result<InferResponse>>
  infer_all(std::size_t count, const std::function<InferRequest(std::size_t)> &request,
            const std::function<void(std::size_t)> &done = {});

  /// Classifies `count` uint8 images in batches. `images` holds count * image_size values; `shape`
  /// is one image's. `done` is called with the number of images finished.
  [[nodiscard]] DcAnswers classify(std::span<const std::uint8_t> images,
                                   const std::vector<std::int64_t> &shape, std::size_t classes,
                                   std::size_t batch = 100,
                                   const std::function<void(std::size_t)> &done = {});

private:
  class Impl;
  explicit DcClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Checks that `response` answers `count` images with probabilities over `classes` classes and
/// reads the winners. Error: kParse.
[[nodiscard]] Result<std::vector<DcAnswer>> read_answers(const InferResponse &response,
                                                         std::size_t count, std::size_t classes);

} // namespace kestrel::serve
