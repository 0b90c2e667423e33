// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/thc/fast.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "sw_ref/thc/fast_kernels.hpp"
#include "sw_ref/thc/fixed.hpp"

namespace kestrel::thc::ref {
namespace {

using detail::FastBlock;
using detail::FastKernels;
using detail::FastPacket;
using detail::FastTable;
using detail::FastWork;

constexpr std::size_t kMaxBlock = std::size_t{1} << kMaxBlockLog2;
constexpr std::size_t kMaxPackets = kMaxBlock / kPacketCoordinates;

// The blocks of n coordinates without a list of them: visit(block number, first coordinate, log2).
template <typename Visit> void for_blocks(std::size_t n, int max_log2, Visit visit) {
  assert(n > 0 && n % kPacketCoordinates == 0);
  std::size_t block = 0;
  std::size_t at = 0;
  for (int k = max_log2; at < n; ++block) {
    while (n - at < std::size_t{1} << k)
      --k;
    visit(block, at, k);
    at += std::size_t{1} << k;
  }
}

const FastKernels &kernels_of(FastPath path) {
#if defined(__x86_64__)
  switch (path) {
  case FastPath::Avx512:
    return detail::kAvx512Kernels;
  case FastPath::Avx2:
    return detail::kAvx2Kernels;
  case FastPath::Generic:
    break;
  }
#else
  static_cast<void>(path);
#endif
  return detail::kGenericKernels;
}

FastTable lookup_tables(const Table &table) {
  FastTable fast{};
  const auto &values = table.values;
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    fast.lower[i] = values[i];
    fast.width[i] = static_cast<std::uint8_t>(values[i + 1] - values[i]);
  }
  fast.index_mask = static_cast<std::uint8_t>(values.size() - 1);
  for (std::size_t i = 0; i < 16; ++i)
    fast.values[i] = values[i & fast.index_mask];
  std::uint8_t cell = 0;
  for (std::size_t whole = 0; whole < 256; ++whole) {
    while (cell + 2U < values.size() && values[cell + 1U] <= whole)
      ++cell;
    fast.cell[whole] = cell;
    fast.entry[whole] =
        std::uint32_t{fast.lower[cell]} << 24 | std::uint32_t{fast.width[cell]} << 8 | cell;
    fast.pair[whole] =
        static_cast<std::uint16_t>(fast.values[whole & 15] << 8 | fast.values[whole >> 4]);
  }
  return fast;
}

bool is_plain(const BlockScale &scale) {
  return scale.exponent == 0 ||
         (scale.exponent >= detail::kFastMinExponent && scale.exponent <= detail::kFastMaxExponent);
}

float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(127 + exponent) << 23);
}

// What coding and decoding share.
FastBlock make_block(int k, const BlockScale &scale, Words2 sign_key, std::uint64_t first) {
  FastBlock block{};
  block.log2 = k;
  const int exponent = static_cast<int>(scale.exponent);
  block.to_fixed = exponent == 0 ? 0.0F : power_of_two(149 - exponent);
  block.to_float = exponent == 0 ? 0.0F : power_of_two(exponent - 149);
  block.sign_key[0] = sign_key[0];
  block.sign_key[1] = sign_key[1];
  block.first = first;
  return block;
}

void prepare_quantiser(FastBlock &block, const BlockScale &scale, const Table &table,
                       const FastTable &fast, Words2 noise_key) {
  block.table = &fast;
  block.noise_key[0] = noise_key[0];
  block.noise_key[1] = noise_key[1];
  // Between low and high, z18 * gain lies within half the grid; beyond, the position is what the
  // ends of the 18-bit range give.
  const std::int64_t gain = scale.gain;
  const std::int64_t end = std::int64_t{table.granularity} << 24;
  const std::int64_t reach = gain == 0 ? 131072 : end / 2 / gain;
  const auto position = [&](std::int64_t z18) {
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(z18 * gain + end / 2, 0, end));
  };
  block.gain = scale.gain;
  block.half = static_cast<std::uint32_t>(end / 2);
  block.low = static_cast<std::int32_t>(-std::min<std::int64_t>(reach, 131072));
  block.high = static_cast<std::int32_t>(std::min<std::int64_t>(reach, 131071));
  block.low_position = position(-131072);
  block.high_position = position(131071);
  for (std::size_t i = 0; i < 16; ++i)
    block.values[i] = dequantise(fast.values[i], 1, block.log2, scale, table);
}

// dequantise() as a product: see there.
FastPacket make_packet(unsigned contributors, int k, const BlockScale &scale, const Table &table) {
  if (contributors == 0 || scale.exponent == 0)
    return {0.0, kMaxSum};
  const std::uint32_t range = contributors * table.granularity;
  assert(range <= kMaxSum);
  const int align = 16 - static_cast<int>(std::bit_width(range));
  const int log2 = static_cast<int>(std::bit_width(contributors - 1));
  const std::uint64_t reciprocal =
      ((std::uint64_t{1} << (16 + log2)) + contributors / 2) / contributors;
  const int shift = static_cast<int>(scale.step_shift) + log2 + align - 13;
  const std::uint64_t factor =
      (scale.step * reciprocal + (std::uint64_t{1} << (shift - 1))) >> shift;
  return {std::ldexp(static_cast<double>(factor), align - 7 - (k + 1) / 2), range};
}

// The root of `total`, truncated to fp32; nothing when it is so close to an fp32 number that the
// error of `total`, below 2^-41 of it, could move it across.
std::optional<float> truncated_root(double total) {
  const auto bits = std::bit_cast<std::uint64_t>(std::sqrt(total));
  const std::uint64_t rest =
      bits & 0x1FFFFFFFU;                     // the 29 bits of a double's mantissa that fp32 lacks
  constexpr std::uint64_t kMargin = 1U << 17; // 2^-36 of the number
  if (rest < kMargin || rest > 0x1FFFFFFFU - kMargin)
    return std::nullopt;
  const std::uint64_t field = (bits >> 52) - 1023 + 127; // above 0: see norms()
  if (field >= 255)
    return std::numeric_limits<float>::infinity();
  return std::bit_cast<float>(static_cast<std::uint32_t>(field << 23 | (bits >> 29 & 0x7FFFFFU)));
}

// Blocks that the vector code refuses, in the words of codec.hpp.
void compress_carefully(std::span<const float> y, const BlockScale &scale, const Table &table,
                        Words2 sign_key, Words2 noise_key, std::uint64_t first,
                        std::span<std::int32_t> z, std::uint8_t *packed, float *error,
                        Flags &flags) {
  const int k = std::countr_zero(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::int32_t v = to_fixed(y[i], scale.exponent, flags.out_of_range);
    z[i] = sign_at(sign_key, first + i) ? -v : v;
  }
  hadamard(z, flags.out_of_range);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::uint8_t index = quantise(z[i], k, scale, table, noise_at(noise_key, first + i));
    packed[i / 2] = static_cast<std::uint8_t>(i % 2 == 0 ? index << 4 : packed[i / 2] | index);
    z[i] = static_cast<std::int32_t>(shift_right_rne(z[i], k & 1)) -
           dequantise(table.values[index], 1, k, scale, table);
  }
  if (error == nullptr)
    return;
  hadamard(z, flags.out_of_range);
  for (std::size_t i = 0; i < y.size(); ++i)
    error[i] =
        to_float(sign_at(sign_key, first + i) ? -z[i] : z[i], scale.exponent, flags.out_of_range);
}

template <typename Sum>
void decompress_carefully(const Sum *sums, const std::uint8_t *contributors,
                          const BlockScale &scale, const Table &table, Words2 sign_key,
                          std::uint64_t first, std::span<std::int32_t> v, float *out,
                          Flags &flags) {
  const int k = std::countr_zero(v.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = dequantise(sums[i], contributors[i / kPacketCoordinates], k, scale, table);
  hadamard(v, flags.out_of_range);
  for (std::size_t i = 0; i < v.size(); ++i)
    out[i] =
        to_float(sign_at(sign_key, first + i) ? -v[i] : v[i], scale.exponent, flags.out_of_range);
}

} // namespace

// One for each codec, and `fast` is made from `table`: its gaps do not matter.
struct FastCodec::State { // NOLINT(clang-analyzer-optin.performance.Padding)
  State(Table t, int log2, FastPath p)
      : table(std::move(t)), fast(lookup_tables(table)), max_log2(log2), path(p),
        kernels(kernels_of(p)) {}

  Table table;
  FastTable fast;
  int max_log2;
  FastPath path;
  const FastKernels &kernels;
  FastWork work;
  std::size_t slow_blocks = 0;

  // A block without the gaps between rows.
  [[nodiscard]] std::span<std::int32_t> plain(int k) {
    return std::span(work.z).first(std::size_t{1} << k);
  }

  template <typename Add, typename T>
  static std::optional<std::size_t> add(Add kernel, std::span<const T> x, std::span<const float> e,
                                        std::span<float> y) {
    assert(x.size() <= y.size() && (e.empty() || e.size() == y.size()));
    constexpr std::size_t kPiece = 4096; // a bad number is looked for in so many
    static constexpr T kZeros[kPiece] = {};
    std::optional<std::size_t> bad;
    for (std::size_t at = 0; at < y.size();) {
      const bool inside = at < x.size();
      const std::size_t n = std::min(kPiece, (inside ? x.size() : y.size()) - at);
      const T *from = inside ? x.data() + at : kZeros;
      const float *with = e.empty() ? nullptr : e.data() + at;
      if (kernel(from, with, y.data() + at, n) >= 0x7F800000U)
        for (std::size_t i = at; i < at + n; ++i)
          if (is_nonfinite(y[i])) {
            y[i] = 0.0F;
            bad = bad.value_or(i);
          }
      at += n;
    }
    return bad;
  }

  template <typename Sum>
  Flags decompress(std::span<const Sum> sums, std::span<const std::uint8_t> contributors,
                   std::span<const BlockScale> scales, Words2 sign_key, std::uint64_t first,
                   std::span<float> out) {
    assert(contributors.size() * kPacketCoordinates == sums.size() && out.size() == sums.size() &&
           first % kPacketCoordinates == 0);
    Flags flags;
    for_blocks(sums.size(), max_log2, [&](std::size_t b, std::size_t at, int k) {
      const BlockScale &scale = scales[b];
      const std::uint8_t *counts = contributors.data() + at / kPacketCoordinates;
      bool done = false;
      if (is_plain(scale)) {
        FastPacket packets[kMaxPackets];
        for (std::size_t p = 0; p < (std::size_t{1} << k) / kPacketCoordinates; ++p)
          packets[p] = p > 0 && counts[p] == counts[p - 1]
                           ? packets[p - 1]
                           : make_packet(counts[p], k, scale, table);
        const FastBlock block = make_block(k, scale, sign_key, first + at);
        if constexpr (sizeof(Sum) == 1)
          done = kernels.decompress8(block, packets, sums.data() + at, work, out.data() + at);
        else
          done = kernels.decompress16(block, packets, sums.data() + at, work, out.data() + at);
      }
      if (done)
        return;
      ++slow_blocks;
      decompress_carefully(sums.data() + at, counts, scale, table, sign_key, first + at, plain(k),
                           out.data() + at, flags);
    });
    return flags;
  }
};

const char *to_string(FastPath path) {
  switch (path) {
  case FastPath::Avx512:
    return "avx512";
  case FastPath::Avx2:
    return "avx2";
  case FastPath::Generic:
    break;
  }
  return "generic";
}

std::vector<FastPath> fast_paths() {
  std::vector<FastPath> paths = {FastPath::Generic};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    paths.push_back(FastPath::Avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vbmi"))
    paths.push_back(FastPath::Avx512);
#endif
  return paths;
}

FastPath default_fast_path() {
  const std::vector<FastPath> paths = fast_paths();
  if (const char *name = std::getenv("KESTREL_THC_PATH"); name != nullptr)
    for (const FastPath path : paths)
      if (std::strcmp(name, to_string(path)) == 0)
        return path;
  return paths.back();
}

FastCodec::FastCodec(Table table, int max_block_log2, FastPath path) {
  assert(!table_error(table) && max_block_log2 >= kMinBlockLog2 && max_block_log2 <= kMaxBlockLog2);
  state_ = std::make_unique<State>(std::move(table), max_block_log2, path);
}
FastCodec::FastCodec(FastCodec &&) noexcept = default;
FastCodec &FastCodec::operator=(FastCodec &&) noexcept = default;
FastCodec::~FastCodec() = default;

const Table &FastCodec::table() const { return state_->table; }
int FastCodec::max_block_log2() const { return state_->max_log2; }
FastPath FastCodec::path() const { return state_->path; }
std::size_t FastCodec::slow_blocks() const { return state_->slow_blocks; }

std::size_t FastCodec::blocks(std::size_t n) const {
  const std::size_t whole = n >> state_->max_log2;
  return whole + static_cast<std::size_t>(std::popcount(n - (whole << state_->max_log2)));
}

std::optional<std::size_t> FastCodec::add(std::span<const float> x, std::span<const float> e,
                                          std::span<float> y) const {
  return State::add(state_->kernels.add, x, e, y);
}

std::optional<std::size_t> FastCodec::add_bf16(std::span<const std::uint16_t> x,
                                               std::span<const float> e, std::span<float> y) const {
  return State::add(state_->kernels.add_bf16, x, e, y);
}

void FastCodec::norms(std::span<const float> y, std::span<float> norms) const {
  assert(norms.size() == blocks(y.size()));
  for_blocks(y.size(), state_->max_log2, [&](std::size_t b, std::size_t at, int k) {
    const std::span<const float> block = y.subspan(at, std::size_t{1} << k);
    const FastKernels &kernels = state_->kernels;
    const std::uint32_t largest = kernels.max_bits(block.data(), block.size());
    if (largest < 0x800000U) { // zeros and subnormals
      norms[b] = 0.0F;
      return;
    }
    // The three largest classes of eight exponents count. Exactly when in doubt, about one block in
    // two thousand, and where the third class reaches down to the subnormals.
    const std::uint32_t top = largest >> 26;
    std::optional<float> norm;
    if (top >= 3)
      norm = truncated_root(kernels.squares(block.data(), block.size(), 8 * (top - 2)));
    norms[b] = norm ? *norm : block_norm(block);
  });
}

void FastCodec::scales(std::span<const float> norms, std::span<BlockScale> scales) const {
  assert(norms.size() == scales.size());
  for (std::size_t i = 0; i < norms.size(); ++i)
    scales[i] = make_scale(norms[i], state_->table);
}

Flags FastCodec::compress(std::span<const float> y, std::span<const BlockScale> scales,
                          Words2 sign_key, Words2 noise_key, std::uint64_t first,
                          std::span<std::uint8_t> packed, std::span<float> error) {
  assert(scales.size() == blocks(y.size()) && packed.size() * 2 == y.size() &&
         (error.empty() || error.size() == y.size()) && first % kPacketCoordinates == 0);
  Flags flags;
  State &s = *state_;
  for_blocks(y.size(), s.max_log2, [&](std::size_t b, std::size_t at, int k) {
    const BlockScale &scale = scales[b];
    std::uint8_t *indices = packed.data() + at / 2;
    float *rest = error.empty() ? nullptr : error.data() + at;
    bool done = false;
    if (is_plain(scale)) {
      FastBlock block = make_block(k, scale, sign_key, first + at);
      prepare_quantiser(block, scale, s.table, s.fast, noise_key);
      done = s.kernels.compress(block, y.data() + at, s.work, indices, rest);
    }
    if (done)
      return;
    ++s.slow_blocks;
    compress_carefully(y.subspan(at, std::size_t{1} << k), scale, s.table, sign_key, noise_key,
                       first + at, s.plain(k), indices, rest, flags);
  });
  return flags;
}

std::size_t FastCodec::aggregate(std::span<const std::uint8_t> packed,
                                 std::span<std::uint16_t> sums, Sums mode) const {
  assert(sums.size() == 2 * packed.size());
  return state_->kernels.aggregate16(state_->fast, packed.data(), packed.size(), sums.data(),
                                     mode == Sums::Add);
}
std::size_t FastCodec::aggregate(std::span<const std::uint8_t> packed, std::span<std::uint8_t> sums,
                                 Sums mode) const {
  assert(sums.size() == 2 * packed.size());
  return state_->kernels.aggregate8(state_->fast, packed.data(), packed.size(), sums.data(),
                                    mode == Sums::Add);
}

Flags FastCodec::decompress(std::span<const std::uint16_t> sums,
                            std::span<const std::uint8_t> contributors,
                            std::span<const BlockScale> scales, Words2 sign_key,
                            std::uint64_t first, std::span<float> out) {
  return state_->decompress(sums, contributors, scales, sign_key, first, out);
}
Flags FastCodec::decompress(std::span<const std::uint8_t> sums,
                            std::span<const std::uint8_t> contributors,
                            std::span<const BlockScale> scales, Words2 sign_key,
                            std::uint64_t first, std::span<float> out) {
  return state_->decompress(sums, contributors, scales, sign_key, first, out);
}

} // namespace kestrel::thc::ref
