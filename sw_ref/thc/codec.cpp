// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/thc/codec.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>

#include "sw_ref/thc/fixed.hpp"

namespace kestrel::thc::ref {
namespace {

__extension__ using Wide = unsigned __int128;

int log2_of(std::size_t n) { return std::countr_zero(n); }

int bit_length(Wide v) {
  const auto high = static_cast<std::uint64_t>(v >> 64);
  return high != 0 ? 128 - std::countl_zero(high)
                   : 64 - std::countl_zero(static_cast<std::uint64_t>(v));
}

// floor(sqrt(v)), v < 2^48.
std::uint32_t integer_sqrt(std::uint64_t v) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 23; bit != 0; bit >>= 1)
    if ((root | bit) * (root | bit) <= v)
      root |= bit;
  return static_cast<std::uint32_t>(root);
}

// 1 / n as mantissa * 2^-(16 + shift), mantissa in [2^16, 2^17).
struct Reciprocal {
  std::uint32_t mantissa;
  int shift;
};
Reciprocal reciprocal(unsigned n) {
  const auto shift = static_cast<int>(std::bit_width(n - 1));
  const std::uint64_t one = std::uint64_t{1} << (16 + shift);
  return {static_cast<std::uint32_t>((one + n / 2) / n), shift};
}

} // namespace

std::optional<const char *> table_error(const Table &table) {
  if (table.bits < 1 || table.bits > kMaxIndexBits)
    return "bits must be 1 to 4";
  if (table.granularity < 1 || table.granularity > kMaxGranularity)
    return "the granularity must be 1 to 255";
  if (table.values.size() != std::size_t{1} << table.bits)
    return "the table must have 2^bits values";
  if (table.values.front() != 0 || table.values.back() != table.granularity)
    return "the table must begin with 0 and end with the granularity";
  if (std::adjacent_find(table.values.begin(), table.values.end(), std::greater_equal<>()) !=
      table.values.end())
    return "the table must ascend strictly";
  if (!(table.t >= 1.0 && table.t < 4.0))
    return "the clamp t must lie in [1, 4)";
  return std::nullopt;
}

double clamp_of(double p) {
  // Newton's method on the upper tail erfc(t / sqrt 2) = p, from above the root's curvature change.
  double low = 0.0;
  double high = 40.0;
  for (int i = 0; i < 200; ++i) {
    const double middle = 0.5 * (low + high);
    (std::erfc(middle / std::sqrt(2.0)) > p ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

BlockScale make_scale(float norm, const Table &table) {
  assert(!table_error(table) && std::isfinite(norm) && norm >= 0.0F);
  BlockScale scale;
  scale.exponent = exponent_field(norm);
  if (scale.exponent == 0)
    return scale;
  const double m =
      static_cast<double>((std::bit_cast<std::uint32_t>(norm) & 0x7FFFFFU) | 0x800000U) / 0x800000;
  const double g = table.granularity;
  scale.gain = static_cast<std::uint32_t>(std::lround(g / (2.0 * table.t * m) * 1024.0));
  int exponent = 0;
  const double mantissa = std::frexp(table.t * m / g, &exponent); // [0.5, 1)
  scale.step = static_cast<std::uint32_t>(std::lround(std::ldexp(mantissa, 17)));
  if (scale.step == 1U << 17) {
    scale.step >>= 1;
    ++exponent;
  }
  scale.step_shift = static_cast<std::uint32_t>(17 - exponent);
  return scale;
}

std::size_t padded_size(std::size_t count) {
  return std::max<std::size_t>(1, (count + kPacketCoordinates - 1) / kPacketCoordinates) *
         kPacketCoordinates;
}

std::vector<int> split_blocks(std::size_t count, int max_log2) {
  assert(max_log2 >= kMinBlockLog2 && max_log2 <= kMaxBlockLog2);
  std::vector<int> blocks;
  std::size_t rest = padded_size(count);
  for (int k = max_log2; k >= kMinBlockLog2; --k)
    for (; rest >= std::size_t{1} << k; rest -= std::size_t{1} << k)
      blocks.push_back(k);
  return blocks;
}

float block_norm(std::span<const float> y) {
  // y^2 = (m17^2 << 2f) * 2^(16 c - 286), with exponent field 8 c + f. Only the three largest classes c
  // count; what lies in lower ones is at most 2^-17 of the sum.
  int top = 0;
  for (const float v : y)
    top = std::max(top, static_cast<int>(exponent_field(v)) >> 3);
  Wide total = 0;
  for (const float v : y) {
    assert(!is_nonfinite(v));
    const int field = static_cast<int>(exponent_field(v));
    const int below = top - (field >> 3);
    if (field == 0 || below > 2)
      continue;
    const std::uint32_t m24 = (std::bit_cast<std::uint32_t>(v) & 0x7FFFFFU) | 0x800000U;
    const std::uint64_t m17 = std::min<std::uint32_t>((m24 + 64) >> 7, 0x1FFFF);
    total += static_cast<Wide>(m17 * m17) << (2 * (field & 7) + 16 * (2 - below));
  }
  if (total == 0)
    return 0.0F;
  int shift = bit_length(total) - 48;
  shift += shift & 1; // even, so that the root is a whole number of powers of two
  const auto radicand =
      static_cast<std::uint64_t>(shift >= 0 ? total >> shift : total << -shift);
  const std::uint32_t root = integer_sqrt(radicand);
  const int field = shift / 2 + 8 * top - 9;
  if (field <= 0)
    return 0.0F;
  if (field >= 255)
    return std::numeric_limits<float>::infinity();
  return std::bit_cast<float>(static_cast<std::uint32_t>(field) << 23 | (root & 0x7FFFFFU));
}

void hadamard(std::span<std::int32_t> x, bool &overflow) {
  assert(std::has_single_bit(x.size()));
  constexpr std::int32_t kLimit = std::int32_t{1} << (kFixedBits - 1);
  int stage = 0;
  for (std::size_t stride = 1; stride < x.size(); stride *= 2, ++stage) {
    for (std::size_t base = 0; base < x.size(); base += 2 * stride) {
      for (std::size_t i = base; i < base + stride; ++i) {
        std::int32_t sum = x[i] + x[i + stride];
        std::int32_t difference = x[i] - x[i + stride];
        if (stage % 2 == 1) {
          sum = (sum + (sum >> 1 & 1)) >> 1;
          difference = (difference + (difference >> 1 & 1)) >> 1;
        }
        overflow = overflow || sum < -kLimit || sum >= kLimit || difference < -kLimit ||
                   difference >= kLimit;
        // A value of 27 bits, as the hardware keeps it.
        x[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sum) << 5) >> 5;
        x[i + stride] = static_cast<std::int32_t>(static_cast<std::uint32_t>(difference) << 5) >> 5;
      }
    }
  }
}

std::vector<std::int32_t> rotate(std::span<const float> y, const BlockScale &scale, Words2 sign_key,
                                 std::uint64_t first, Flags &flags) {
  std::vector<std::int32_t> z(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::int32_t v = to_fixed(y[i], scale.exponent, flags.out_of_range);
    z[i] = sign_at(sign_key, first + i) ? -v : v;
  }
  hadamard(z, flags.out_of_range);
  return z;
}

std::uint8_t quantise(std::int32_t z, int block_log2, const BlockScale &scale, const Table &table,
                      std::uint16_t noise) {
  // 18 bits: unit variance is m * 2^14.
  const auto z18 = std::clamp<std::int64_t>(shift_right_rne(z, 8 - block_log2 / 2), -131072, 131071);
  // Position on the grid, 24 fractional bits.
  const std::int64_t end = static_cast<std::int64_t>(table.granularity) << 24;
  const std::int64_t position = std::clamp<std::int64_t>(z18 * scale.gain + end / 2, 0, end);
  const auto &values = table.values;
  std::size_t cell = 0;
  while (cell + 2 < values.size() && values[cell + 1] <= position >> 24)
    ++cell;
  const std::int64_t width = values[cell + 1] - values[cell];
  const std::int64_t offset = position - (static_cast<std::int64_t>(values[cell]) << 24);
  const bool up = (2 * std::int64_t{noise} + 1) * width * 128 < offset;
  return static_cast<std::uint8_t>(cell + (up ? 1 : 0));
}

std::int32_t dequantise(std::uint32_t sum, unsigned contributors, int block_log2,
                        const BlockScale &scale, const Table &table) {
  if (contributors == 0 || scale.exponent == 0)
    return 0;
  assert(contributors * table.granularity <= kMaxSum);
  // The operand (2 S - n g), shifted left so that n g has 16 bits.
  const std::uint32_t range = contributors * table.granularity;
  const int align = 16 - static_cast<int>(std::bit_width(range));
  const std::int64_t operand =
      (2 * static_cast<std::int64_t>(sum) - static_cast<std::int64_t>(range)) * (1 << align);
  // t m / (g n) * 2^(29 - align), rounded half up.
  const Reciprocal r = reciprocal(contributors);
  const int shift = static_cast<int>(scale.step_shift) + r.shift + align - 13;
  const std::uint64_t product = std::uint64_t{scale.step} * r.mantissa;
  const auto factor =
      static_cast<std::int64_t>((product + (std::uint64_t{1} << (shift - 1))) >> shift);
  return static_cast<std::int32_t>(shift_right_rne(operand * factor, 7 + (block_log2 + 1) / 2));
}

Compressed compress_block(std::span<const float> y, const BlockScale &scale, const Table &table,
                          Words2 sign_key, Words2 noise_key, std::uint64_t first) {
  const int k = log2_of(y.size());
  Compressed result;
  const std::vector<std::int32_t> z = rotate(y, scale, sign_key, first, result.flags);
  result.indices.resize(y.size());
  std::vector<std::int32_t> rest(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::uint8_t index = quantise(z[i], k, scale, table, noise_at(noise_key, first + i));
    result.indices[i] = index;
    rest[i] = static_cast<std::int32_t>(shift_right_rne(z[i], k & 1)) -
              dequantise(table.values[index], 1, k, scale, table);
  }
  hadamard(rest, result.flags.out_of_range);
  result.error.resize(y.size());
  for (std::size_t i = 0; i < y.size(); ++i)
    result.error[i] = to_float(sign_at(sign_key, first + i) ? -rest[i] : rest[i], scale.exponent,
                               result.flags.out_of_range);
  return result;
}

void aggregate(std::span<const std::uint8_t> indices, const Table &table,
               std::span<std::uint32_t> sums) {
  assert(indices.size() == sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i)
    sums[i] += table.values[indices[i]];
}

std::vector<float> decompress_block(std::span<const std::uint32_t> sums,
                                    std::span<const std::uint8_t> contributors,
                                    const BlockScale &scale, const Table &table, Words2 sign_key,
                                    std::uint64_t first, Flags &flags) {
  assert(contributors.size() * kPacketCoordinates == sums.size());
  const int k = log2_of(sums.size());
  std::vector<std::int32_t> v(sums.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = dequantise(sums[i], contributors[i / kPacketCoordinates], k, scale, table);
  hadamard(v, flags.out_of_range);
  std::vector<float> y(v.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    y[i] = to_float(sign_at(sign_key, first + i) ? -v[i] : v[i], scale.exponent, flags.out_of_range);
  return y;
}

std::vector<std::uint8_t> pack_nibbles(std::span<const std::uint8_t> indices) {
  assert(indices.size() % 2 == 0);
  std::vector<std::uint8_t> bytes(indices.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(indices[2 * i] << 4 | (indices[2 * i + 1] & 15));
  return bytes;
}

std::vector<std::uint8_t> unpack_nibbles(std::span<const std::uint8_t> bytes) {
  std::vector<std::uint8_t> indices(2 * bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    indices[2 * i] = bytes[i] >> 4;
    indices[2 * i + 1] = bytes[i] & 15;
  }
  return indices;
}

} // namespace kestrel::thc::ref
