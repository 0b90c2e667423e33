// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A training worker's side of THC: the mean of a tensor over all workers, compressed on the way.
// Source: arXiv 2302.08545; numbers bit for bit as sw_ref/thc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kestrel/result.hpp"
#include "kestrel/thc/compression.hpp"
#include "kestrel/thc/transport.hpp"

namespace kestrel::thc {

struct WorkerOptions {
  Compression compression;
  bool error_feedback = true;
  /// Measure how much of the worker's own gradient its indices do not say (WorkerStats::own_nmse).
  bool measure = false;
};

struct WorkerStats {
  std::uint64_t tensors = 0;        ///< all_reduce_mean() calls that succeeded
  std::uint64_t coordinates = 0;    ///< of those, without padding
  std::uint64_t packets = 0;        ///< decoded packets of 1024 coordinates
  std::uint64_t incomplete = 0;     ///< of those without some worker's contribution
  std::uint64_t lost = 0;           ///< of those without this worker's contribution
  std::uint64_t abstained = 0;      ///< chunks in which this worker came too late to take part
  std::uint64_t out_of_range = 0;   ///< blocks with a value beyond the number format
  unsigned fewest_contributors = 0; ///< smallest count of a packet in the last call
  /// ||error||^2 / ||y||^2 of this worker's own last compression, when measured: what a mean over
  /// one worker would be off by.
  double own_nmse = 0.0;
  TransportStats transport;
};

/// One rank of a job. Not thread-safe. All workers call all_reduce_mean() for the same tensors in
/// the same order; each call is a round with its own random numbers.
class Worker {
public:
  /// Error: kInvalidArgument.
  [[nodiscard]] static Result<std::unique_ptr<Worker>> create(const WorkerOptions &options,
                                                              std::unique_ptr<Transport> transport);
  ~Worker();
  Worker(const Worker &) = delete;
  Worker &operator=(const Worker &) = delete;

  /// Replaces `tensor` (any number of coordinates, at least 1) by the estimated mean over the
  /// workers that contributed. Error feedback is kept under `key`; a key keeps its size. On an
  /// error the tensor and its error feedback are as before the call. Errors: kInvalidArgument (NaN
  /// or infinity, by coordinate; size of a known key), kTimeout and kUnavailable (who is missing),
  /// kVersionMismatch (workers or aggregator with another configuration), kIo.
  [[nodiscard]] Result<void> all_reduce_mean(std::span<float> tensor, std::string_view key);

  /// The same with error feedback in the caller's hands: `error` is as long as the tensor and is
  /// replaced; empty means none.
  [[nodiscard]] Result<void> all_reduce_mean(std::span<float> tensor, std::span<float> error);

  [[nodiscard]] unsigned rank() const;
  [[nodiscard]] unsigned workers() const;
  [[nodiscard]] std::uint32_t round() const; ///< of the next call
  [[nodiscard]] WorkerStats stats() const;

  /// Error feedback, round and position, for a checkpoint. All workers must go back to the same
  /// one.
  [[nodiscard]] std::vector<std::uint8_t> save_state() const;
  /// Errors: kParse, kVersionMismatch (other compression or rank).
  [[nodiscard]] Result<void> load_state(std::span<const std::uint8_t> state);

private:
  struct Impl;
  explicit Worker(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace kestrel::thc
