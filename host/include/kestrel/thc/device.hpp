// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One interface to a THC accelerator, whatever stands behind it: the Verilated RTL ("rtl") or the
// bit-exact functional device ("fast"). Both give the same bits, and refuse the same arguments with
// the same words. Numbers: sw_ref/thc/codec.hpp; source: arXiv 2302.08545.
//
// A call handles a tensor of blocks of one size, 2^block_log2 coordinates each (ref::split_blocks
// cuts tensors of any length; roundtrip.hpp does all of it). "Coordinates" of a call are therefore
// always a multiple of the block. A tensor of more than 2^20 coordinates becomes several commands.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kestrel/device.hpp"
#include "kestrel/result.hpp"
#include "sw_ref/thc/codec.hpp"

namespace kestrel::thc {

/// What is the same for all blocks of a call.
struct Coding {
  ref::Table table;
  int block_log2 = ref::kMaxBlockLog2; ///< 10..15
  ref::Words2 sign_key{};              ///< ref::sign_key: of seed and round
  ref::Words2 noise_key{};             ///< ref::noise_key: of seed, round and worker (compress)
  std::uint64_t first = 0; ///< number of the first coordinate in its tensor, a multiple of 1024
};

/// A worker's coordinates: exactly one of `fp32` and `bf16`, and error feedback to add or nothing.
struct Gradient {
  std::span<const float> fp32{};
  std::span<const std::uint16_t> bf16{}; ///< upper halves of fp32 numbers
  std::span<const float> error{};        ///< empty, or one a coordinate

  [[nodiscard]] std::size_t size() const { return fp32.empty() ? bf16.size() : fp32.size(); }
};

/// Counters of a call, summed over its commands, named as the CNT_* registers. The functional
/// device has no time: `cycles_known` is false and all are 0.
struct Counters {
  bool cycles_known = false;
  std::uint64_t commands = 0;
  std::uint64_t cycles = 0;    ///< from the start of a command to its end
  std::uint64_t in_beats = 0;  ///< that the kernel took from memory channel a
  std::uint64_t out_beats = 0; ///< that it gave to memory channel a
  std::uint64_t stall_in = 0;  ///< cycles in which it could have taken one and there was none
  std::uint64_t stall_out = 0; ///< cycles in which one was not taken
  std::uint64_t rd_beats = 0;  ///< AXI read beats, both channels
  std::uint64_t wr_beats = 0;  ///< AXI write beats, both channels

  Counters &operator+=(const Counters &other);
};

struct Norms {
  std::vector<float> values; ///< one a block; +infinity where it does not fit fp32
  Counters counters;
};

struct Compressed {
  std::vector<std::uint8_t> packed; ///< two indices a byte, the first coordinate in the high nibble
  std::vector<float> error;         ///< what the indices do not say; empty unless asked for
  bool out_of_range = false; ///< a value beyond its block's norm or the number format was clipped
  Counters counters;
};

struct Sums {
  std::vector<std::uint16_t> values;      ///< one a coordinate
  unsigned bits = 8;                      ///< of a sum in the device's memory: 8 or 16
  std::vector<std::uint8_t> contributors; ///< one a packet of 1024 coordinates
  Counters counters;
};

struct Mean {
  std::vector<float> values; ///< one a coordinate
  bool out_of_range = false;
  Counters counters;
};

/// Bits of a sum of `workers` table values up to `granularity`: 8 or 16, or 0 when it fits neither.
[[nodiscard]] unsigned sum_bits(unsigned workers, unsigned granularity);

/// A THC accelerator with external memory. Errors of all operations: kInvalidArgument (a table that
/// the kernels cannot use, a block size, a value, a NaN or infinity named by coordinate),
/// kShapeMismatch (lengths that do not go together), kUnsupported (tables of more than 4 bits),
/// kDevice and kTimeout (rtl).
class Device : public kestrel::Device {
public:
  /// ||x + error||_2 of each block; with `other`, one a block and finite, the larger of the two.
  [[nodiscard]] Result<Norms> norm(const Gradient &gradient, int block_log2,
                                   std::span<const float> other = {});

  /// Indices of a worker's coordinates. `scales`: one a block, of the workers' largest norm.
  [[nodiscard]] Result<Compressed> compress(const Gradient &gradient,
                                            std::span<const ref::BlockScale> scales,
                                            const Coding &coding, bool error_out);

  /// Sums of table values over workers (at least one), whose packed indices are of the same length.
  /// `bits` of a sum in memory: 8 or 16, 0 for the smaller that fits.
  [[nodiscard]] Result<Sums> aggregate(std::span<const std::span<const std::uint8_t>> packed,
                                       const ref::Table &table, int block_log2, unsigned bits = 0);

  /// Means from sums. `contributors`: one a packet of 1024 coordinates; a packet with 0 is missing
  /// and says nothing about its coordinates, whatever its sums are.
  [[nodiscard]] Result<Mean> decompress(std::span<const std::uint16_t> sums, unsigned bits,
                                        std::span<const std::uint8_t> contributors,
                                        std::span<const ref::BlockScale> scales,
                                        const Coding &coding);

protected:
  /// Number of the first coordinate of a command that is NaN or infinite.
  using Nonfinite = std::optional<std::size_t>;

  // One command each: at most 2^20 coordinates, arguments checked, results of full length in place.
  // Outputs are empty where they are not wanted.
  virtual Result<Nonfinite> run_norm(const Gradient &gradient, int block_log2,
                                     std::span<const float> other, std::span<float> norms,
                                     Counters &counters) = 0;
  virtual Result<Nonfinite> run_compress(const Gradient &gradient,
                                         std::span<const ref::BlockScale> scales,
                                         const Coding &coding, std::span<std::uint8_t> packed,
                                         std::span<float> error, bool &out_of_range,
                                         Counters &counters) = 0;
  virtual Result<void> run_aggregate(std::span<const std::span<const std::uint8_t>> packed,
                                     const ref::Table &table, int block_log2, unsigned bits,
                                     std::span<std::uint16_t> sums,
                                     std::span<std::uint8_t> contributors, Counters &counters) = 0;
  virtual Result<void> run_decompress(std::span<const std::uint16_t> sums, unsigned bits,
                                      std::span<const std::uint8_t> contributors,
                                      std::span<const ref::BlockScale> scales, const Coding &coding,
                                      std::span<float> mean, bool &out_of_range,
                                      Counters &counters) = 0;
};

/// A device of `kind`: "fast" or "rtl". Errors: kNotFound (unknown kind), kUnsupported (a trace
/// asked for in a build without traces), kIo (the trace file).
[[nodiscard]] Result<std::unique_ptr<Device>> make_device(std::string_view kind,
                                                          const DeviceOptions &options = {});

} // namespace kestrel::thc
