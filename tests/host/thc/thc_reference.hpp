// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What workers have to arrive at, by the bit-exact reference.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kestrel/thc/compression.hpp"
#include "sw_ref/thc/threefry.hpp"

namespace kestrel::thc::test {

using Vector = std::vector<float>;

/// The whole exchange by the functions of sw_ref alone.
struct Expected {
  Vector mean;
  std::vector<Vector> errors;
};
inline Expected reference(const std::vector<Vector> &y, const Compression &compression,
                          std::uint32_t round) {
  const std::size_t size = y[0].size();
  const std::size_t padded = ref::padded_size(size);
  const auto signs = ref::sign_key(compression.seed, round);
  Expected expected;
  expected.mean.resize(padded);
  expected.errors.assign(y.size(), Vector(padded));
  std::size_t first = 0;
  for (const int log2 : ref::split_blocks(size, compression.block_log2)) {
    const std::size_t n = std::size_t{1} << log2;
    std::vector<Vector> blocks;
    float norm = 0;
    for (const Vector &v : y) {
      Vector block(n);
      for (std::size_t i = 0; i < n && first + i < size; ++i) {
        block[i] = v[first + i];
      }
      norm = std::max(norm, ref::block_norm(block));
      blocks.push_back(std::move(block));
    }
    const auto scale = ref::make_scale(norm, compression.table);
    std::vector<std::uint32_t> sums(n);
    for (std::uint32_t w = 0; w < y.size(); ++w) {
      const auto c = ref::compress_block(blocks[w], scale, compression.table, signs,
                                         ref::noise_key(compression.seed, round, w), first);
      ref::aggregate(c.indices, compression.table, sums);
      std::copy(c.error.begin(), c.error.end(),
                expected.errors[w].begin() + static_cast<std::ptrdiff_t>(first));
    }
    ref::Flags flags;
    const std::vector<std::uint8_t> count(n / 1024, static_cast<std::uint8_t>(y.size()));
    const Vector mean =
        ref::decompress_block(sums, count, scale, compression.table, signs, first, flags);
    std::copy(mean.begin(), mean.end(), expected.mean.begin() + static_cast<std::ptrdiff_t>(first));
    first += n;
  }
  expected.mean.resize(size);
  for (Vector &e : expected.errors) {
    e.resize(size);
  }
  return expected;
}

} // namespace kestrel::thc::test
