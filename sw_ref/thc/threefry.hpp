// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Random bits as a function of a key and a counter: Threefry-2x32 (Salmon, Moraes, Dror, Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the generator of Random123 and JAX), with 13
// rounds, the smallest number for which its authors found no failing test (BigCrush).
//
// Keys: the user's seed and the round give one key for each stream,
//     key(stream) = threefry(key = {seed low, seed high}, counter = {round, stream}),
// stream 0 being the signs of the rotation (the same for all workers) and stream w + 1 the rounding
// noise of worker w. Counters: with c the number of a coordinate in its tensor,
//     signs  counter = c / 64: bit c % 64 of {word 1, word 0}, 1 = minus
//     noise  counter = c / 4:  bits 16*(c % 4) .. +15 of {word 1, word 0}
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace kestrel::thc::ref {

using Words2 = std::array<std::uint32_t, 2>;

inline constexpr int kThreefryRounds = 13;

/// Threefry-2x32 with `rounds` rounds (0..20).
[[nodiscard]] constexpr Words2 threefry2x32(Words2 key, Words2 counter,
                                            int rounds = kThreefryRounds) {
  constexpr std::array<int, 8> kRotations = {13, 15, 26, 6, 17, 29, 16, 24};
  const std::array<std::uint32_t, 3> ks = {key[0], key[1], 0x1BD11BDAU ^ key[0] ^ key[1]};
  std::uint32_t x0 = counter[0] + ks[0];
  std::uint32_t x1 = counter[1] + ks[1];
  for (int r = 0; r < rounds; ++r) {
    x0 += x1;
    x1 = std::rotl(x1, kRotations[static_cast<std::size_t>(r % 8)]) ^ x0;
    if (r % 4 == 3) {
      const auto injection = static_cast<std::uint32_t>(r / 4 + 1);
      x0 += ks[injection % 3];
      x1 += ks[(injection + 1) % 3] + injection;
    }
  }
  return {x0, x1};
}

/// Key of a stream (0: signs, w + 1: rounding noise of worker w) in a round.
[[nodiscard]] constexpr Words2 stream_key(std::uint64_t seed, std::uint32_t round,
                                          std::uint32_t stream) {
  return threefry2x32({static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
                      {round, stream});
}

[[nodiscard]] constexpr Words2 sign_key(std::uint64_t seed, std::uint32_t round) {
  return stream_key(seed, round, 0);
}
[[nodiscard]] constexpr Words2 noise_key(std::uint64_t seed, std::uint32_t round,
                                         std::uint32_t worker) {
  return stream_key(seed, round, worker + 1);
}

[[nodiscard]] constexpr std::uint64_t random64(Words2 key, std::uint64_t counter) {
  const Words2 r = threefry2x32(
      key, {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32)});
  return std::uint64_t{r[1]} << 32 | r[0];
}

/// True where the rotation negates coordinate c.
[[nodiscard]] constexpr bool sign_at(Words2 key, std::uint64_t c) {
  return (random64(key, c / 64) >> (c % 64) & 1) != 0;
}

/// The 16 noise bits of coordinate c.
[[nodiscard]] constexpr std::uint16_t noise_at(Words2 key, std::uint64_t c) {
  return static_cast<std::uint16_t>(random64(key, c / 4) >> (16 * (c % 4)));
}

} // namespace kestrel::thc::ref
