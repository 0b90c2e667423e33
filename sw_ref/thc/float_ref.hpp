// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// THC in floating point: the algorithm of arXiv 2302.08545 with rotations of any power-of-two size
// and ideal norms, in double precision. What the integer reference is measured against; no kernel
// computes this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sw_ref/thc/codec.hpp"

namespace kestrel::thc::ref {

/// Orthonormal Walsh-Hadamard transform in natural order, in place. x.size() is a power of two.
void float_hadamard(std::span<double> x);

/// D (sign_at of the coordinate's number) and then the transform. y.size() is a power of two.
[[nodiscard]] std::vector<double> float_rotate(std::span<const float> y, Words2 sign_key,
                                               std::uint64_t first = 0);

/// The inverse of float_rotate().
[[nodiscard]] std::vector<double> float_unrotate(std::span<const double> z, Words2 sign_key,
                                                 std::uint64_t first = 0);

/// What belongs to a block's norm.
enum class NormScope : std::uint8_t {
  Block, ///< its own coordinates
  Slice, ///< the mean square of the whole slice: wrong where blocks differ in scale
};

/// How a slice of d coordinates is treated. It is padded with zeros to whole blocks.
struct FloatCodec {
  Table table;           ///< may have more than 4 bits, up to 8
  std::size_t block = 0; ///< coordinates of a transform, a power of two; 0: one for the whole slice
  NormScope scope = NormScope::Block;

  /// Coordinates of a block, for a slice of `count`.
  [[nodiscard]] std::size_t block_size(std::size_t count) const;
  /// Coordinates after padding.
  [[nodiscard]] std::size_t padded(std::size_t count) const;

  /// Norm of each block, l before the maximum over workers. For NormScope::Slice that of a block of
  /// average power.
  [[nodiscard]] std::vector<double> norms(std::span<const float> y) const;

  struct Compressed {
    std::vector<std::uint8_t> indices; ///< padded(y.size())
    std::vector<double> error;         ///< y minus what the indices decode to, y.size() of them
  };
  /// One worker. Rounding noise: 53 bits of random64(noise_key, coordinate).
  [[nodiscard]] Compressed compress(std::span<const float> y, std::span<const double> norms,
                                    Words2 sign_key, Words2 noise_key) const;

  /// Mean of `count` coordinates from their sums of table values, contributors >= 1.
  [[nodiscard]] std::vector<double> decompress(std::span<const std::uint32_t> sums,
                                               unsigned contributors, std::size_t count,
                                               std::span<const double> norms,
                                               Words2 sign_key) const;

  /// All of it: the mean of several workers' gradients of one size.
  [[nodiscard]] std::vector<double> mean(std::span<const std::vector<float>> workers,
                                         std::uint64_t seed, std::uint32_t round) const;
};

/// Difference between the fixed-point rotation of a block (rotate() in codec.hpp, at the true norm)
/// and this one, relative to l / sqrt(d): the standard deviation of a rotated coordinate.
struct RotationError {
  double rms = 0.0;
  double max = 0.0;
  double mean = 0.0; ///< of the signed difference: a bias, if it is one
};
[[nodiscard]] RotationError rotation_error(std::span<const float> y, Words2 sign_key,
                                           std::uint64_t first = 0);

} // namespace kestrel::thc::ref
