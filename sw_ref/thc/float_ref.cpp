// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/thc/float_ref.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <limits>

#include <Eigen/Core>

#include "sw_ref/thc/fixed.hpp"

namespace kestrel::thc::ref {
namespace {

using Array = Eigen::Map<Eigen::ArrayXd>;
using Column = Eigen::Map<Eigen::ArrayXXd>;

double uniform(Words2 key, std::uint64_t c) {
  return std::ldexp(static_cast<double>(random64(key, c) >> 11), -53);
}

double norm(std::span<const double> x) {
  return Eigen::Map<const Eigen::VectorXd>(x.data(), static_cast<Eigen::Index>(x.size())).norm();
}

} // namespace

void float_hadamard(std::span<double> x) {
  assert(std::has_single_bit(x.size()));
  const auto n = static_cast<Eigen::Index>(x.size());
  Eigen::ArrayXd difference;
  for (Eigen::Index stride = 1; stride < n; stride *= 2) {
    if (stride < 8) { // columns of a matrix of pairs: rows are the strided coordinates
      Column pairs(x.data(), 2 * stride, n / (2 * stride));
      const Eigen::ArrayXXd lower = pairs.topRows(stride) - pairs.bottomRows(stride);
      pairs.topRows(stride) += pairs.bottomRows(stride);
      pairs.bottomRows(stride) = lower;
      continue;
    }
    for (Eigen::Index base = 0; base < n; base += 2 * stride) {
      Array a(x.data() + base, stride);
      Array b(x.data() + base + stride, stride);
      difference = a - b;
      a += b;
      b = difference;
    }
  }
  Array(x.data(), n) *= 1.0 / std::sqrt(static_cast<double>(n));
}

std::vector<double> float_rotate(std::span<const float> y, Words2 sign_key, std::uint64_t first) {
  std::vector<double> z(y.size());
  for (std::size_t i = 0; i < y.size(); ++i)
    z[i] = sign_at(sign_key, first + i) ? -static_cast<double>(y[i]) : static_cast<double>(y[i]);
  float_hadamard(z);
  return z;
}

std::vector<double> float_unrotate(std::span<const double> z, Words2 sign_key,
                                   std::uint64_t first) {
  std::vector<double> y(z.begin(), z.end());
  float_hadamard(y);
  for (std::size_t i = 0; i < y.size(); ++i)
    if (sign_at(sign_key, first + i))
      y[i] = -y[i];
  return y;
}

std::size_t FloatCodec::block_size(std::size_t count) const {
  return block != 0 ? block : std::bit_ceil(std::max<std::size_t>(count, 1));
}

std::size_t FloatCodec::padded(std::size_t count) const {
  const std::size_t size = block_size(count);
  return std::max<std::size_t>(1, (count + size - 1) / size) * size;
}

std::vector<double> FloatCodec::norms(std::span<const float> y) const {
  const std::size_t size = block_size(y.size());
  std::vector<double> result(padded(y.size()) / size);
  std::vector<double> wide(y.begin(), y.end());
  for (std::size_t b = 0; b < result.size(); ++b) {
    const std::size_t from = std::min(b * size, y.size());
    result[b] = norm(std::span(wide).subspan(from, std::min(size, y.size() - from)));
  }
  if (scope == NormScope::Slice)
    std::fill(result.begin(), result.end(),
              norm(result) / std::sqrt(static_cast<double>(result.size())));
  return result;
}

FloatCodec::Compressed FloatCodec::compress(std::span<const float> y, std::span<const double> norms,
                                            Words2 sign_key, Words2 noise_key) const {
  const std::size_t size = block_size(y.size());
  const double g = table.granularity;
  Compressed result;
  result.indices.resize(padded(y.size()));
  result.error.resize(y.size());
  std::vector<float> part(size);
  for (std::size_t b = 0; b * size < result.indices.size(); ++b) {
    const std::size_t first = b * size;
    for (std::size_t i = 0; i < size; ++i)
      part[i] = first + i < y.size() ? y[first + i] : 0.0F;
    std::vector<double> z = float_rotate(part, sign_key, first);
    const double deviation = norms[b] / std::sqrt(static_cast<double>(size));
    for (std::size_t i = 0; i < size; ++i) {
      // A block of norm 0 sits in the middle of the grid and decodes to 0 whatever is sent.
      const double a = deviation > 0 ? std::clamp(z[i] / deviation, -table.t, table.t) : 0.0;
      const double position = (a + table.t) * g / (2.0 * table.t);
      const auto above =
          std::upper_bound(table.values.begin() + 1, table.values.end() - 1, position);
      const auto cell = static_cast<std::size_t>(above - table.values.begin()) - 1;
      const double share =
          (position - table.values[cell]) / (table.values[cell + 1] - table.values[cell]);
      const std::size_t index = cell + (uniform(noise_key, first + i) < share ? 1 : 0);
      result.indices[first + i] = static_cast<std::uint8_t>(index);
      z[i] -= (2.0 * table.values[index] / g - 1.0) * table.t * deviation;
    }
    const std::vector<double> rest = float_unrotate(z, sign_key, first);
    for (std::size_t i = 0; i < size && first + i < y.size(); ++i)
      result.error[first + i] = rest[i];
  }
  return result;
}

std::vector<double> FloatCodec::decompress(std::span<const std::uint32_t> sums,
                                           unsigned contributors, std::size_t count,
                                           std::span<const double> norms, Words2 sign_key) const {
  assert(contributors > 0 && sums.size() == padded(count));
  const std::size_t size = block_size(count);
  const double range = static_cast<double>(contributors) * table.granularity;
  std::vector<double> mean;
  mean.reserve(sums.size());
  std::vector<double> z(size);
  for (std::size_t b = 0; b * size < sums.size(); ++b) {
    const double clamp = table.t * norms[b] / std::sqrt(static_cast<double>(size));
    for (std::size_t i = 0; i < size; ++i)
      z[i] = (2.0 * sums[b * size + i] / range - 1.0) * clamp;
    const std::vector<double> y = float_unrotate(z, sign_key, b * size);
    mean.insert(mean.end(), y.begin(), y.end());
  }
  mean.resize(count);
  return mean;
}

std::vector<double> FloatCodec::mean(std::span<const std::vector<float>> workers,
                                     std::uint64_t seed, std::uint32_t round) const {
  const std::size_t count = workers.front().size();
  std::vector<double> largest(padded(count) / block_size(count));
  for (const std::vector<float> &y : workers) {
    const std::vector<double> own = norms(y);
    for (std::size_t b = 0; b < own.size(); ++b)
      largest[b] = std::max(largest[b], own[b]);
  }
  std::vector<std::uint32_t> sums(padded(count));
  for (std::size_t w = 0; w < workers.size(); ++w)
    aggregate(compress(workers[w], largest, sign_key(seed, round),
                       noise_key(seed, round, static_cast<std::uint32_t>(w)))
                  .indices,
              table, sums);
  return decompress(sums, static_cast<unsigned>(workers.size()), count, largest,
                    sign_key(seed, round));
}

RotationError rotation_error(std::span<const float> y, Words2 sign_key, std::uint64_t first) {
  const int k = std::countr_zero(y.size());
  const std::vector<double> wide(y.begin(), y.end());
  const double l = norm(wide);
  BlockScale scale;
  scale.exponent = exponent_field(static_cast<float>(l));
  Flags flags;
  const std::vector<std::int32_t> fixed = rotate(y, scale, sign_key, first, flags);
  const std::vector<double> ideal = float_rotate(y, sign_key, first);
  const double unit = std::ldexp(1.0, static_cast<int>(scale.exponent) - 127 - kFractionBits) /
                      ((k & 1) != 0 ? std::sqrt(2.0) : 1.0);
  const double deviation = l / std::sqrt(static_cast<double>(y.size()));
  RotationError error;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double d = (fixed[i] * unit - ideal[i]) / deviation;
    error.rms += d * d;
    error.mean += d;
    error.max = std::max(error.max, std::abs(d));
  }
  error.rms = std::sqrt(error.rms / static_cast<double>(y.size()));
  error.mean /= static_cast<double>(y.size());
  return error;
}

} // namespace kestrel::thc::ref
