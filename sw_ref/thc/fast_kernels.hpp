// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Vector code of fast.hpp: one table of functions for each FastPath. Internal to fast*.cpp.
//
// fast_avx2.cpp and fast_avx512.cpp are compiled for processors that this program may not run on.
// So they and what they include use no inline function of another header: the linker keeps one copy
// of such a function for the whole program, and it could be theirs.
//
// The functions here take blocks that need no care: biased exponent 0 (all zero) or in
// [kFastMinExponent, kFastMaxExponent], so that a scaling by a power of two is one exact
// multiplication, and coordinates within the norm, so that nothing leaves 27 bits. A block that is
// not so is refused and goes through the functions of codec.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kestrel::thc::ref::detail {

inline constexpr std::uint32_t kFastMinExponent = 24;
inline constexpr std::uint32_t kFastMaxExponent = 250;

/// Largest sum of squares of a block in fixed point that compress() takes: a norm of 1.025 * 2^23,
/// where the norm that the exponent stands for is below 2^23. With that the values of the rotation
/// stay below sqrt(2) * 1.025 * 2^23, and those of the second one, of the rest, below sqrt(2) *
/// (1.025 * 2^23 + t m 2^22) < 1.78 * 2^25: all below 2^26. (A coordinate is no larger than the
/// norm of the stride-2^s subvector it is part of; half stages keep that norm, and every other
/// stage multiplies it by sqrt 2. Rounding adds less than 2^12.)
inline constexpr float kFastMaxSquares = 1.05F * 70368744177664.0F;

/// Elements from one row of 4096 to the next in FastWork::z: not a power of two, for the cache's
/// sake.
inline constexpr std::size_t kFastRow = 4096;
inline constexpr std::size_t kFastPitch = kFastRow + 64;

/// Buffers of one block, k = 10..15.
struct FastWork {
  alignas(64) std::int32_t z[8 * kFastPitch]; ///< 2^(k-12) rows
  alignas(64) std::uint32_t signs[1024]; ///< bit c % 32 of word c / 32: coordinate c is negated
};

/// A quantisation table as the kernels look things up in it.
struct FastTable {
  alignas(64) std::uint8_t cell[256];   ///< whole part of a position -> cell
  alignas(64) std::uint32_t entry[256]; ///< the same -> lower value << 24 | width << 8 | cell
  alignas(64) std::uint16_t pair[256]; ///< packed byte -> the two values, the first in the low byte
  alignas(16) std::uint8_t lower[16];  ///< cell -> its lower value
  alignas(16) std::uint8_t width[16];  ///< cell -> upper - lower value
  alignas(16) std::uint8_t values[16]; ///< index, modulo the size of the table -> value
  std::uint8_t index_mask;             ///< 2^bits - 1
};

struct FastBlock {
  int log2;
  float to_fixed; ///< 2^(149 - exponent), fp32 -> fixed point; 0 for a zero block
  float to_float; ///< 2^(exponent - 149)
  std::uint32_t sign_key[2];
  std::uint32_t noise_key[2];
  std::uint64_t first; ///< number of the block's first coordinate

  // Quantisation: position = z18 * gain + half, except beyond `low` and `high`.
  const FastTable *table;
  std::uint32_t gain;
  std::uint32_t half;
  std::int32_t low;
  std::int32_t high;
  std::uint32_t low_position;
  std::uint32_t high_position;
  std::int32_t values[16]; ///< index -> rotated value
};

/// Decoding of a packet: rotated value = (2 S - range) * factor, rounded to nearest even. Exact in
/// double precision.
struct FastPacket {
  double factor;       ///< 0 for a missing packet
  std::uint32_t range; ///< n g; larger sums are refused
};

struct FastKernels {
  /// y = x + e with flushes, n > 0; e may be null. Returns the largest magnitude of y as bits.
  std::uint32_t (*add)(const float *x, const float *e, float *y, std::size_t n);
  std::uint32_t (*add_bf16)(const std::uint16_t *x, const float *e, float *y, std::size_t n);
  /// Largest magnitude of y as bits; n a multiple of 1024.
  std::uint32_t (*max_bits)(const float *y, std::size_t n);
  /// Sum of the squares of what counts in block_norm(): coordinates of exponent field `lowest`
  /// (8..) or above, with mantissas of 17 bits. Relative error below 2^-41: 53-bit sums of 2^15
  /// exact squares in several lanes. n as above.
  double (*squares)(const float *y, std::size_t n, std::uint32_t lowest);
  /// False, with nothing written but `work`: the block needs care. `error` may be null.
  bool (*compress)(const FastBlock &block, const float *y, FastWork &work, std::uint8_t *packed,
                   float *error);
  /// Returns the number of indices beyond the table. n bytes of indices, any n.
  std::size_t (*aggregate8)(const FastTable &table, const std::uint8_t *packed, std::size_t n,
                            std::uint8_t *sums, bool add);
  std::size_t (*aggregate16)(const FastTable &table, const std::uint8_t *packed, std::size_t n,
                             std::uint16_t *sums, bool add);
  /// `packets`: one for 1024 coordinates. False, as for compress().
  bool (*decompress8)(const FastBlock &block, const FastPacket *packets, const std::uint8_t *sums,
                      FastWork &work, float *out);
  bool (*decompress16)(const FastBlock &block, const FastPacket *packets, const std::uint16_t *sums,
                       FastWork &work, float *out);
};

extern const FastKernels kGenericKernels;
#if defined(__x86_64__)
extern const FastKernels kAvx2Kernels;
extern const FastKernels kAvx512Kernels;
#endif

} // namespace kestrel::thc::ref::detail
