// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstdint>

#include "testbench/cpp/axi_types.hpp"

namespace kestrel::tb {

/// Address of beat `beat` (0 first) of a burst; only beat 0 may be unaligned (IHI 0022, A3.4.1).
[[nodiscard]] inline std::uint64_t axi_beat_address(std::uint64_t addr, std::uint8_t len,
                                                    std::uint8_t size, std::uint8_t burst,
                                                    std::uint32_t beat) {
  if (beat == 0 || burst == static_cast<std::uint8_t>(AxiBurst::fixed)) {
    return addr;
  }
  const std::uint64_t bytes = std::uint64_t{1} << size;
  const std::uint64_t next = (addr & ~(bytes - 1)) + beat * bytes;
  if (burst == static_cast<std::uint8_t>(AxiBurst::wrap)) {
    const std::uint64_t window = bytes * (len + 1U);
    const std::uint64_t base = addr - addr % window;
    return base + (next - base) % window;
  }
  return next;
}

/// The lowest `count` bits, 0..64.
[[nodiscard]] constexpr std::uint64_t low_bits(std::uint32_t count) {
  return count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
}

/// The byte lanes that beat `beat` of a burst covers on a bus of `bus_bytes`, as WSTRB bits.
[[nodiscard]] inline std::uint64_t axi_beat_lanes(std::uint64_t addr, std::uint8_t len,
                                                  std::uint8_t size, std::uint8_t burst,
                                                  std::uint32_t beat, std::uint32_t bus_bytes) {
  const std::uint64_t bytes = std::uint64_t{1} << size;
  if (bytes >= bus_bytes && beat != 0) {
    return low_bits(bus_bytes);
  }
  const std::uint64_t first = axi_beat_address(addr, len, size, burst, beat);
  const auto low = static_cast<std::uint32_t>(first & (bus_bytes - 1));
  std::uint32_t high =
      (low & ~static_cast<std::uint32_t>(bytes - 1)) + static_cast<std::uint32_t>(bytes);
  if (high > bus_bytes) {
    high = bus_bytes;
  }
  return low_bits(high) & ~low_bits(low);
}

} // namespace kestrel::tb
