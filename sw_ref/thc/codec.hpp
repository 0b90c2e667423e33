// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// THC bit for bit, as the kernels compute it: norms, rotation, quantisation on a lookup table, sums of
// table values, decoding. Source: "THC: Accelerating Distributed Deep Learning Using Tensor Homomorphic
// Compression", NSDI 2024 (arXiv 2302.08545); the number formats are this project's. docs/thc.md states
// them in full.
//
// A block is 2^k coordinates, k = 10..15, with a norm of its own; a tensor is padded with zeros to a
// multiple of 1024 coordinates and cut into blocks (split_blocks).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sw_ref/thc/threefry.hpp"

namespace kestrel::thc::ref {

inline constexpr int kMinBlockLog2 = 10;
inline constexpr int kMaxBlockLog2 = 15;
inline constexpr unsigned kMaxIndexBits = 4;     ///< of an index on the wire
inline constexpr unsigned kMaxGranularity = 255; ///< largest g that the kernels take
inline constexpr unsigned kMaxContributors = 255;
inline constexpr std::uint32_t kMaxSum = 65535; ///< n * g may not exceed it (16-bit lanes)
/// Coordinates of a packet: the unit in which contributions may be missing.
inline constexpr std::size_t kPacketCoordinates = 1024;

/// A quantisation table: 2^bits values on the integer grid 0..granularity, ascending, the first 0 and
/// the last granularity. t = Phi^-1(1 - p/2) is the clamp of a coordinate of unit variance, 1 <= t < 4.
struct Table {
  unsigned bits = 4;
  unsigned granularity = 30;
  double t = 2.1538746940614564;
  std::vector<std::uint8_t> values = {0, 3, 5, 7, 9, 11, 13, 14, 16, 17, 19, 21, 23, 25, 27, 30};
  friend bool operator==(const Table &, const Table &) = default;
};

/// What makes a table unusable for the kernels, or nothing.
[[nodiscard]] std::optional<const char *> table_error(const Table &table);

/// t for a clamped share p of a normal distribution, 0 < p < 1.
[[nodiscard]] double clamp_of(double p);

/// What the kernels need to know about one block, derived from its norm.
struct BlockScale {
  std::uint32_t exponent = 0; ///< biased fp32 exponent of l; 0: the block is zero
  std::uint32_t gain = 0;     ///< round(g / (2 t m) * 2^10), below 2^17: rotated value -> grid
  std::uint32_t step = 0;     ///< mantissa of t m / g, in [2^16, 2^17): grid -> rotated value
  std::uint32_t step_shift = 0; ///< t m / g = step * 2^-step_shift, 13..24
  friend bool operator==(const BlockScale &, const BlockScale &) = default;
};

/// Scale of a block whose workers' largest norm is `norm` (finite, >= 0; below 2^-126 counts as 0).
[[nodiscard]] BlockScale make_scale(float norm, const Table &table);

/// Sizes (log2) of the blocks of `count` coordinates, largest first: whole blocks of 2^max_log2, and
/// the rest, rounded up to a multiple of 1024, by powers of two.
[[nodiscard]] std::vector<int> split_blocks(std::size_t count, int max_log2 = kMaxBlockLog2);

/// Coordinates after padding: `count` rounded up to a multiple of 1024, at least 1024.
[[nodiscard]] std::size_t padded_size(std::size_t count);

/// ||y||_2 of a block as thc_norm computes it, truncated to fp32; +infinity when it does not fit.
/// Coordinates must be finite. See docs/thc.md for the three exponent classes that are summed.
[[nodiscard]] float block_norm(std::span<const float> y);

/// The rotation H D without its last half stage: log2(n) butterfly stages of stride 1, 2, 4, ...; stages
/// 1, 3, 5, ... halve their results, rounded to nearest even. So the result is the orthonormal transform,
/// times sqrt(2) when log2(n) is odd. `overflow` is set when a value leaves 27 bits.
void hadamard(std::span<std::int32_t> x, bool &overflow);

struct Flags {
  bool out_of_range = false; ///< a value beyond the block's norm or the number format
};

/// Rotated block: fixed point of D y, transformed. `first` is the number of the block's first coordinate
/// in its tensor, a multiple of 1024.
[[nodiscard]] std::vector<std::int32_t> rotate(std::span<const float> y, const BlockScale &scale,
                                               Words2 sign_key, std::uint64_t first, Flags &flags);

/// Index of one rotated value; `block_log2` is k, `noise` 16 uniform bits.
[[nodiscard]] std::uint8_t quantise(std::int32_t z, int block_log2, const BlockScale &scale,
                                    const Table &table, std::uint16_t noise);

/// Rotated value that a sum of `contributors` table values stands for, in the units in which hadamard()
/// gives the block back (for odd k half of what rotate() gives). 0 for no contributor: a missing packet
/// is no information, not the sum 0.
[[nodiscard]] std::int32_t dequantise(std::uint32_t sum, unsigned contributors, int block_log2,
                                      const BlockScale &scale, const Table &table);

struct Compressed {
  std::vector<std::uint8_t> indices; ///< one a coordinate
  std::vector<float> error;          ///< what the indices do not say: the next round's error feedback
  Flags flags;
};

/// One worker, one block. y = x + error feedback.
[[nodiscard]] Compressed compress_block(std::span<const float> y, const BlockScale &scale,
                                        const Table &table, Words2 sign_key, Words2 noise_key,
                                        std::uint64_t first);

/// sums[i] += table value of indices[i].
void aggregate(std::span<const std::uint8_t> indices, const Table &table,
               std::span<std::uint32_t> sums);

/// Mean of a block from its sums. `contributors` has one count for each packet of 1024 coordinates.
[[nodiscard]] std::vector<float> decompress_block(std::span<const std::uint32_t> sums,
                                                  std::span<const std::uint8_t> contributors,
                                                  const BlockScale &scale, const Table &table,
                                                  Words2 sign_key, std::uint64_t first, Flags &flags);

/// Two indices a byte, the first coordinate in the high nibble. An even number of indices.
[[nodiscard]] std::vector<std::uint8_t> pack_nibbles(std::span<const std::uint8_t> indices);
[[nodiscard]] std::vector<std::uint8_t> unpack_nibbles(std::span<const std::uint8_t> bytes);

} // namespace kestrel::thc::ref
