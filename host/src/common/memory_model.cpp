// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/memory_model.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <system_error>

#include <fmt/format.h>

namespace kestrel {
namespace {

constexpr std::uint32_t kBusBytes = 8;
constexpr std::uint32_t kBytesUnit = 1000; // of the setting `bytes`

// ulx3s: as boards/ulx3s/measure_memory.py prints it.
constexpr std::array<NamedMemory, 2> kMemories{{
    {"assumed", {}, "assumed: a beat of 8 bytes every cycle, no refresh"},
    {"ulx3s",
     {19, 19, 2, 1, 5, 390, 6},
     "measured on the simulated ULX3S board, 50 MHz: 16-bit SDRAM behind LiteDRAM"},
}};

std::string known() {
  std::string names;
  for (const NamedMemory &m : kMemories)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", m.name);
  return names;
}

template <typename T> bool number(std::string_view text, T low, T high, T &value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && value >= low && value <= high;
}

Result<void> set(MemoryModel &model, std::string_view name, std::string_view value) {
  constexpr std::uint32_t kMost = 1'000'000;
  const auto wrong = [&](std::string_view range) {
    return fail(ErrorCode::kInvalidArgument, "memory: '{}={}': {} is {}", name, value, name, range);
  };
  if (name == "latency" || name == "write-latency") {
    if (!number(value, 1U, kMost, name == "latency" ? model.read_latency : model.write_latency))
      return wrong("1 to 1000000 cycles");
    return {};
  }
  if (name == "outstanding") {
    if (!number(value, 1U, 256U, model.outstanding))
      return wrong("1 to 256 bursts");
    return {};
  }
  if (name == "bytes") {
    double bytes = 0.0;
    if (!number(value, 0.25, 8.0, bytes))
      return wrong("0.25 to 8 bytes a cycle");
    const auto beats = static_cast<std::uint32_t>(std::lround(bytes * kBytesUnit));
    const std::uint32_t divisor = std::gcd(beats, kBytesUnit * kBusBytes);
    model.beats = beats / divisor;
    model.cycles = kBytesUnit * kBusBytes / divisor;
    return {};
  }
  if (name == "refresh") {
    const auto slash = value.find('/');
    if (value == "0") {
      model.refresh_interval = model.refresh_cycles = 0;
      return {};
    }
    if (slash == std::string_view::npos ||
        !number(value.substr(0, slash), 2U, kMost, model.refresh_interval) ||
        !number(value.substr(slash + 1), 1U, model.refresh_interval - 1, model.refresh_cycles))
      return wrong("INTERVAL/CYCLES, fewer cycles than the interval has, or 0");
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "memory: '{}' is neither a memory ({}) nor one of the settings latency=, "
              "write-latency=, outstanding=, bytes=, refresh=INTERVAL/CYCLES",
              name, known());
}

} // namespace

std::span<const NamedMemory> named_memories() { return kMemories; }

double MemoryModel::bytes_per_cycle(std::uint32_t bus_bytes) const {
  double rate = limited() ? static_cast<double>(beats) / cycles : 1.0;
  if (refresh_interval > refresh_cycles)
    rate *= 1.0 - static_cast<double>(refresh_cycles) / refresh_interval;
  return rate * bus_bytes;
}

Result<MemoryModel> parse_memory(std::string_view text) {
  MemoryModel model;
  bool first = true;
  while (true) {
    const auto comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const auto equals = item.find('=');
    bool named = false;
    for (const NamedMemory &m : kMemories) {
      if (first && item == m.name) {
        model = m.model;
        named = true;
      }
    }
    if (!named)
      KESTREL_TRY(set(model, item.substr(0, equals),
                      equals == std::string_view::npos ? "" : item.substr(equals + 1)));
    first = false;
    if (comma == std::string_view::npos)
      return model;
    text.remove_prefix(comma + 1);
  }
}

std::string describe(const MemoryModel &m) {
  const double bytes =
      m.limited() ? static_cast<double>(kBusBytes) * m.beats / m.cycles : kBusBytes;
  return fmt::format("latency={},write-latency={},outstanding={},bytes={:.4g},refresh={}",
                     m.read_latency, m.write_latency, m.outstanding, bytes,
                     m.refresh_interval == 0
                         ? std::string("0")
                         : fmt::format("{}/{}", m.refresh_interval, m.refresh_cycles));
}

} // namespace kestrel
