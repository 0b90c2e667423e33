// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The packed structs of rtl/thc/thc_core_pkg.sv as values of Verilated ports.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sw_ref/thc/codec.hpp"

namespace kestrel::tb::test {

/// Writes bits [low +: width] of a port of more than 64 bits, width <= 32.
template <class Wide> void put_bits(Wide &port, unsigned low, unsigned width, std::uint32_t value) {
  for (unsigned i = 0; i < width; ++i) {
    auto &word = port.data()[(low + i) / 32];
    const std::uint32_t bit = 1U << ((low + i) % 32);
    word = (value >> i & 1U) != 0 ? word | bit : word & ~bit;
  }
}

/// thc_cfg_t. Table entries beyond the last are filled with 255, which must never show.
template <class Wide>
void put_cfg(Wide &port, const thc::ref::Table &table, int block_log2, thc::ref::Words2 sign_key,
             thc::ref::Words2 noise_key) {
  put_bits(port, 0, 32, noise_key[0]);
  put_bits(port, 32, 32, noise_key[1]);
  put_bits(port, 64, 32, sign_key[0]);
  put_bits(port, 96, 32, sign_key[1]);
  put_bits(port, 128, 5, static_cast<std::uint32_t>(table.values.size()));
  for (unsigned i = 0; i < 16; ++i)
    put_bits(port, 133 + 8 * i, 8, i < table.values.size() ? table.values[i] : 255U);
  put_bits(port, 261, 8, table.granularity);
  put_bits(port, 269, 4, static_cast<std::uint32_t>(block_log2));
}

/// thc_scale_t, 47 bits.
inline std::uint64_t scale_bits(const thc::ref::BlockScale &scale) {
  return std::uint64_t{scale.step_shift} << 42 | std::uint64_t{scale.step} << 25 |
         std::uint64_t{scale.gain} << 8 | scale.exponent;
}

} // namespace kestrel::tb::test
