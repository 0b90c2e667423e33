// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/thc/fast.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "sw_ref/thc/fixed.hpp"

namespace kestrel::thc::ref {
namespace {

constexpr std::size_t kMaxBlock = std::size_t{1} << kMaxBlockLog2;

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

} // namespace

struct FastCodec::State {
  Table table;
  int max_log2 = kMaxBlockLog2;
  FastPath path = FastPath::Generic;
  std::vector<std::int32_t> work = std::vector<std::int32_t>(kMaxBlock);
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

std::vector<FastPath> fast_paths() { return {FastPath::Generic}; }

FastPath default_fast_path() {
  const std::vector<FastPath> paths = fast_paths();
  if (const char *name = std::getenv("KESTREL_THC_PATH"); name != nullptr)
    for (const FastPath path : paths)
      if (std::strcmp(name, to_string(path)) == 0)
        return path;
  return paths.back();
}

FastCodec::FastCodec(Table table, int max_block_log2, FastPath path)
    : state_(std::make_unique<State>()) {
  assert(!table_error(table) && max_block_log2 >= kMinBlockLog2 && max_block_log2 <= kMaxBlockLog2);
  state_->table = std::move(table);
  state_->max_log2 = max_block_log2;
  state_->path = path;
}
FastCodec::FastCodec(FastCodec &&) noexcept = default;
FastCodec &FastCodec::operator=(FastCodec &&) noexcept = default;
FastCodec::~FastCodec() = default;

const Table &FastCodec::table() const { return state_->table; }
int FastCodec::max_block_log2() const { return state_->max_log2; }
FastPath FastCodec::path() const { return state_->path; }

std::size_t FastCodec::blocks(std::size_t n) const {
  std::size_t count = 0;
  for_blocks(n, state_->max_log2, [&](std::size_t, std::size_t, int) { ++count; });
  return count;
}

namespace {

template <typename Load>
std::optional<std::size_t> add_plain(std::size_t count, Load load, std::span<const float> e,
                                     std::span<float> y) {
  assert(count <= y.size() && (e.empty() || e.size() == y.size()));
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = add_ftz(i < count ? load(i) : 0.0F, e.empty() ? 0.0F : e[i]);
    if (is_nonfinite(y[i])) {
      y[i] = 0.0F;
      first = first.value_or(i);
    }
  }
  return first;
}

template <typename T>
std::size_t aggregate_plain(const Table &table, std::span<const std::uint8_t> packed,
                            std::span<T> sums, FastCodec::Sums mode) {
  assert(sums.size() == 2 * packed.size());
  const std::size_t mask = table.values.size() - 1;
  std::size_t bad = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::size_t index = i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 15U;
    bad += index > mask ? 1U : 0U;
    const T value = table.values[index & mask];
    sums[i] = static_cast<T>(mode == FastCodec::Sums::Add ? sums[i] + value : value);
  }
  return bad;
}

} // namespace

std::optional<std::size_t> FastCodec::add(std::span<const float> x, std::span<const float> e,
                                          std::span<float> y) const {
  return add_plain(
      x.size(), [&](std::size_t i) { return x[i]; }, e, y);
}

std::optional<std::size_t> FastCodec::add_bf16(std::span<const std::uint16_t> x,
                                               std::span<const float> e, std::span<float> y) const {
  return add_plain(
      x.size(), [&](std::size_t i) { return from_bf16(x[i]); }, e, y);
}

void FastCodec::norms(std::span<const float> y, std::span<float> norms) const {
  assert(norms.size() == blocks(y.size()));
  for_blocks(y.size(), state_->max_log2, [&](std::size_t block, std::size_t at, int k) {
    norms[block] = block_norm(y.subspan(at, std::size_t{1} << k));
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
  const Table &table = state_->table;
  for_blocks(y.size(), state_->max_log2, [&](std::size_t block, std::size_t at, int k) {
    const BlockScale &scale = scales[block];
    const std::size_t n = std::size_t{1} << k;
    const std::span<std::int32_t> z = std::span(state_->work).first(n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::int32_t v = to_fixed(y[at + i], scale.exponent, flags.out_of_range);
      z[i] = sign_at(sign_key, first + at + i) ? -v : v;
    }
    hadamard(z, flags.out_of_range);
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint8_t index =
          quantise(z[i], k, scale, table, noise_at(noise_key, first + at + i));
      std::uint8_t &byte = packed[(at + i) / 2];
      byte = static_cast<std::uint8_t>(i % 2 == 0 ? index << 4 : byte | index);
      z[i] = static_cast<std::int32_t>(shift_right_rne(z[i], k & 1)) -
             dequantise(table.values[index], 1, k, scale, table);
    }
    if (error.empty())
      return;
    hadamard(z, flags.out_of_range);
    for (std::size_t i = 0; i < n; ++i)
      error[at + i] = to_float(sign_at(sign_key, first + at + i) ? -z[i] : z[i], scale.exponent,
                               flags.out_of_range);
  });
  return flags;
}

std::size_t FastCodec::aggregate(std::span<const std::uint8_t> packed,
                                 std::span<std::uint16_t> sums, Sums mode) const {
  return aggregate_plain(state_->table, packed, sums, mode);
}
std::size_t FastCodec::aggregate(std::span<const std::uint8_t> packed, std::span<std::uint8_t> sums,
                                 Sums mode) const {
  return aggregate_plain(state_->table, packed, sums, mode);
}

namespace {

template <typename T>
Flags decompress_plain(const Table &table, int max_log2, std::span<std::int32_t> work,
                       std::span<const T> sums, std::span<const std::uint8_t> contributors,
                       std::span<const BlockScale> scales, Words2 sign_key, std::uint64_t first,
                       std::span<float> out) {
  assert(contributors.size() * kPacketCoordinates == sums.size() && out.size() == sums.size() &&
         first % kPacketCoordinates == 0);
  Flags flags;
  for_blocks(sums.size(), max_log2, [&](std::size_t block, std::size_t at, int k) {
    const BlockScale &scale = scales[block];
    const std::size_t n = std::size_t{1} << k;
    const std::span<std::int32_t> v = work.first(n);
    for (std::size_t i = 0; i < n; ++i)
      v[i] = dequantise(sums[at + i], contributors[(at + i) / kPacketCoordinates], k, scale, table);
    hadamard(v, flags.out_of_range);
    for (std::size_t i = 0; i < n; ++i)
      out[at + i] = to_float(sign_at(sign_key, first + at + i) ? -v[i] : v[i], scale.exponent,
                             flags.out_of_range);
  });
  return flags;
}

} // namespace

Flags FastCodec::decompress(std::span<const std::uint16_t> sums,
                            std::span<const std::uint8_t> contributors,
                            std::span<const BlockScale> scales, Words2 sign_key,
                            std::uint64_t first, std::span<float> out) {
  return decompress_plain(state_->table, state_->max_log2, state_->work, sums, contributors, scales,
                          sign_key, first, out);
}
Flags FastCodec::decompress(std::span<const std::uint8_t> sums,
                            std::span<const std::uint8_t> contributors,
                            std::span<const BlockScale> scales, Words2 sign_key,
                            std::uint64_t first, std::span<float> out) {
  return decompress_plain(state_->table, state_->max_log2, state_->work, sums, contributors, scales,
                          sign_key, first, out);
}

} // namespace kestrel::thc::ref
