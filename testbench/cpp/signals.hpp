// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Between the ports of a Verilated model and plain values, without a dependency on Verilator:
// CData/SData/IData/QData are unsigned integers, and VlWide<N> is any class with `data()` that
// points to 32-bit words, least significant first.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kestrel::tb {

static_assert(std::endian::native == std::endian::little,
              "byte lanes are copied as memory: the testbench needs a little-endian machine");

/// A port of up to 64 bits.
template <class T>
concept ScalarSignal = std::unsigned_integral<T>;

/// A port of more than 64 bits (VlWide).
template <class T>
concept WideSignal = requires(T &wide) {
  { *wide.data() } -> std::convertible_to<std::uint32_t>;
};

/// `Bytes` bytes of bus data; byte lane i is byte i of `words` in memory order.
template <std::size_t Bytes> struct BusData {
  static_assert(Bytes % 8 == 0);
  std::array<std::uint64_t, Bytes / 8> words{};

  [[nodiscard]] std::uint8_t *bytes() { return reinterpret_cast<std::uint8_t *>(words.data()); }
  [[nodiscard]] const std::uint8_t *bytes() const {
    return reinterpret_cast<const std::uint8_t *>(words.data());
  }
  friend bool operator==(const BusData &, const BusData &) = default;
};

/// Reads a port into bus data; bytes above the width of the port keep what they had.
template <ScalarSignal T, std::size_t Bytes>
inline void read_signal(const T &signal, BusData<Bytes> &data) {
  static_assert(sizeof(T) <= Bytes);
  data.words[0] = signal;
}
template <WideSignal T, std::size_t Bytes>
inline void read_signal(const T &signal, BusData<Bytes> &data) {
  static_assert(sizeof(T) <= Bytes);
  std::memcpy(data.words.data(), signal.data(), sizeof(T));
}

/// Writes bus data to a port; bytes above the width of the port are dropped.
template <ScalarSignal T, std::size_t Bytes>
inline void write_signal(T &signal, const BusData<Bytes> &data) {
  signal = static_cast<T>(data.words[0]);
}
template <WideSignal T, std::size_t Bytes>
inline void write_signal(T &signal, const BusData<Bytes> &data) {
  static_assert(sizeof(T) <= Bytes);
  std::memcpy(signal.data(), data.words.data(), sizeof(T));
}

} // namespace kestrel::tb
