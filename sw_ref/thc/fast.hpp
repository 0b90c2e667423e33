// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// THC on a processor, fast: the functions of codec.hpp for whole tensors, with the same results bit
// for bit. Vector code is chosen when the program runs, by what the processor offers.
//
// A tensor here is a span of N coordinates, N a positive multiple of 1024 (padded_size), cut into
// blocks as split_blocks(N, max_block_log2) says. Sizes that follow from N:
//     norms, scales   one a block: codec.blocks(N)
//     packed indices  N / 2 bytes, the first coordinate in the high nibble
//     sums            N of 8 or 16 bits
//     contributors    N / 1024, one a packet
// Buffers of any alignment will do; on 64 bytes they are about a tenth faster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sw_ref/thc/codec.hpp"

namespace kestrel::thc::ref {

/// Versions of the vector code; all give the same results.
enum class FastPath : std::uint8_t {
  Generic, ///< any processor
  Avx2,
  Avx512, ///< AVX-512 F, BW, DQ, VL and VBMI
};

[[nodiscard]] const char *to_string(FastPath path);

/// What this processor can run, slowest first; never empty.
[[nodiscard]] std::vector<FastPath> fast_paths();

/// The one that the environment variable KESTREL_THC_PATH names (generic, avx2, avx512), if this
/// processor can run it; otherwise the last of fast_paths().
[[nodiscard]] FastPath default_fast_path();

/// Compresses, adds and decompresses whole tensors. Holds the work memory (about 150 KiB), so that
/// no call allocates; one object serves one thread at a time.
class FastCodec {
public:
  /// `table` must be usable (no table_error), 10 <= max_block_log2 <= 15, `path` one of
  /// fast_paths().
  explicit FastCodec(Table table, int max_block_log2 = kMaxBlockLog2,
                     FastPath path = default_fast_path());
  FastCodec(FastCodec &&) noexcept;
  FastCodec &operator=(FastCodec &&) noexcept;
  ~FastCodec();

  [[nodiscard]] const Table &table() const;
  [[nodiscard]] int max_block_log2() const;
  [[nodiscard]] FastPath path() const;

  /// Blocks that compress() and decompress() did so far with the functions of codec.hpp, hundreds
  /// of times slower: coordinates beyond the norm that the scale stands for, sums beyond
  /// contributors * granularity, norms below 2^-103 or from 2^124 on.
  [[nodiscard]] std::size_t slow_blocks() const;

  /// Blocks of `n` coordinates.
  [[nodiscard]] std::size_t blocks(std::size_t n) const;

  /// y = x + e (add_ftz), coordinate by coordinate. y.size() is N; x may be shorter (the rest of y
  /// becomes 0). e is empty (then y = x, subnormals flushed) or as long as y. y may be x or e
  /// itself. A coordinate of y that is NaN or infinite, as it is when x or e is, becomes 0. Returns
  /// the number of the first such coordinate, nothing when there is none.
  std::optional<std::size_t> add(std::span<const float> x, std::span<const float> e,
                                 std::span<float> y) const;
  /// The same for x in bf16.
  std::optional<std::size_t> add_bf16(std::span<const std::uint16_t> x, std::span<const float> e,
                                      std::span<float> y) const;

  /// norms[b] = block_norm of block b of y (finite); +infinity when it does not fit.
  void norms(std::span<const float> y, std::span<float> norms) const;

  /// scales[b] = make_scale(norms[b], table). Norms must be finite.
  void scales(std::span<const float> norms, std::span<BlockScale> scales) const;

  /// Indices of y (finite) and, unless `error` is empty, what they do not say: y.size() coordinates
  /// of error feedback. `error` may be y itself, otherwise outputs must not overlap inputs.
  /// `first`, a multiple of 1024, is the number of y[0] in its tensor: it selects random bits only.
  Flags compress(std::span<const float> y, std::span<const BlockScale> scales, Words2 sign_key,
                 Words2 noise_key, std::uint64_t first, std::span<std::uint8_t> packed,
                 std::span<float> error);

  /// What aggregate() does with what `sums` held before.
  enum class Sums : std::uint8_t { Overwrite, Add };

  /// sums = or += table values of the indices in `packed`. The caller sees to it that sums fit
  /// (number of workers * granularity within 8 or 16 bits): they wrap. An index beyond the table
  /// counts modulo its size; returns how many there were. Any even number of coordinates.
  std::size_t aggregate(std::span<const std::uint8_t> packed, std::span<std::uint16_t> sums,
                        Sums mode) const;
  std::size_t aggregate(std::span<const std::uint8_t> packed, std::span<std::uint8_t> sums,
                        Sums mode) const;

  /// Means from sums. contributors[p] * granularity <= kMaxSum; 0 means that packet p is missing,
  /// and its sums are not read as such. `first` as for compress().
  Flags decompress(std::span<const std::uint16_t> sums, std::span<const std::uint8_t> contributors,
                   std::span<const BlockScale> scales, Words2 sign_key, std::uint64_t first,
                   std::span<float> out);
  Flags decompress(std::span<const std::uint8_t> sums, std::span<const std::uint8_t> contributors,
                   std::span<const BlockScale> scales, Words2 sign_key, std::uint64_t first,
                   std::span<float> out);

private:
  struct State;
  std::unique_ptr<State> state_;
};

} // namespace kestrel::thc::ref
