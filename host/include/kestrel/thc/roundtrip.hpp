// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One round of THC on one device: the gradients of all workers in, the estimated mean out, with
// everything that would travel between them. For experiments and checks; workers of a real job are
// in worker.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "kestrel/result.hpp"
#include "kestrel/thc/device.hpp"

namespace kestrel::thc {

struct RoundTripOptions {
  ref::Table table;
  int block_log2 = ref::kMaxBlockLog2; ///< of the largest blocks, 10..15
  std::uint64_t seed = 1;
  std::uint32_t round = 0;
  /// Workers whose contribution arrives, each once, any order; empty: all. The others are not
  /// looked at: neither their norms nor their indices.
  std::vector<unsigned> contributors;
  unsigned sum_bits = 0; ///< 8 or 16; 0: the smaller that fits
  /// Told of each finished operation: its name and how many of how many are done.
  std::function<void(std::string_view, std::size_t, std::size_t)> progress;
};

/// An operation, all its calls together.
struct OperationTotal {
  std::uint64_t coordinates = 0; ///< worked on, padding included
  Counters counters;
  /// Coordinates that went in: for aggregate those of all workers, else `coordinates`.
  std::uint64_t input_coordinates = 0;
};

struct RoundTrip {
  std::size_t coordinates = 0; ///< d
  std::size_t padded = 0;      ///< D: d rounded up to a multiple of 1024
  std::vector<int> blocks;     ///< sizes (log2), in order
  std::vector<float> norms;    ///< one a block, the largest of the contributors
  std::vector<float> mean;     ///< d coordinates
  /// D / 2 bytes a worker, worker by worker; zeros for those that do not contribute.
  std::vector<std::uint8_t> packed;
  std::vector<std::uint16_t> sums; ///< D
  unsigned sum_bits = 8;
  unsigned contributors = 0;
  bool out_of_range = false;
  std::uint64_t bytes_up = 0;   ///< of one worker: norms and indices, without headers
  std::uint64_t bytes_down = 0; ///< to one worker: norms and sums, without headers
  OperationTotal norm, compress, aggregate, decompress;
};

/// `x` holds `workers` gradients of x.size() / workers coordinates each, one after the other (a
/// row-major [workers, d]). Errors: kInvalidArgument (no worker, no coordinate, contributors out of
/// range, twice or none, too many for the granularity; NaN or infinity by worker and coordinate; a
/// norm beyond fp32), those of Device.
[[nodiscard]] Result<RoundTrip> round_trip(Device &device, std::span<const float> x,
                                           std::size_t workers, const RoundTripOptions &options);

} // namespace kestrel::thc
