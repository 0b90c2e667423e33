// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Streams of the THC kernels: bound to a Verilated model, driven, checked and recorded with the
// cycle of every beat.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "testbench/cpp/axis_checker.hpp"
#include "testbench/cpp/axis_driver.hpp"
#include "testbench/cpp/axis_types.hpp"
#include "testbench/cpp/simulation.hpp"

namespace kestrel::tb::test {

/// Bits [at, at + width) of bus data, width <= 64.
inline void set_field(AxisData &data, unsigned at, unsigned width, std::uint64_t value) {
  for (unsigned done = 0; done < width;) {
    const unsigned offset = (at + done) % 64;
    const unsigned count = std::min(width - done, 64 - offset);
    const std::uint64_t mask = (count == 64 ? 0 : std::uint64_t{1} << count) - 1;
    std::uint64_t &word = data.words[(at + done) / 64];
    word = (word & ~(mask << offset)) | ((value >> done & mask) << offset);
    done += count;
  }
}
inline std::uint64_t get_field(const AxisData &data, unsigned at, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned done = 0; done < width;) {
    const unsigned offset = (at + done) % 64;
    const unsigned count = std::min(width - done, 64 - offset);
    const std::uint64_t mask = (count == 64 ? 0 : std::uint64_t{1} << count) - 1;
    value |= (data.words[(at + done) / 64] >> offset & mask) << done;
    done += count;
  }
  return value;
}

inline AxisCheckerConfig checker_config(std::uint32_t bits, bool has_last) {
  AxisCheckerConfig config;
  config.data_bytes = (bits + 7) / 8;
  config.expect_last = has_last;
  return config;
}

/// A stream into the design.
template <class Data> class StreamIn {
public:
  StreamIn(Data &tdata, std::uint8_t &tvalid, std::uint8_t &tready, std::uint32_t bits,
           double idle = 0.0, std::uint64_t seed = 1)
      : binding_{&tdata, &tvalid, &tready, nullptr, nullptr, (bits + 7) / 8},
        source_((bits + 7) / 8, idle, seed), checker_(checker_config(bits, false)) {}

  void push(const AxisData &data) {
    AxisBeat beat;
    beat.data = data;
    source_.push_beat(beat);
  }
  void drive() {
    source_.eval_outputs();
    binding_.drive_source(source_.ports());
  }
  void sample(std::uint64_t cycle, bool in_reset) {
    binding_.sample_ready(source_.ports());
    checker_.sample(cycle, source_.ports(), in_reset);
    if (!in_reset) {
      if (source_.ports().tvalid && source_.ports().tready)
        cycles.push_back(cycle);
      source_.sample();
    }
  }
  [[nodiscard]] bool done() const { return source_.done(); }

  std::vector<std::uint64_t> cycles; ///< of the handshakes

private:
  AxisBinding<Data, std::uint64_t> binding_;
  AxisSource source_;
  AxisChecker checker_;
};
template <class Data>
StreamIn(Data &, std::uint8_t &, std::uint8_t &, std::uint32_t, double, std::uint64_t)
    -> StreamIn<Data>;

/// A stream out of the design.
template <class Data> class StreamOut {
public:
  StreamOut(Data &tdata, std::uint8_t &tvalid, std::uint8_t &tready, std::uint8_t *tlast,
            std::uint32_t bits, double stall = 0.0, std::uint64_t seed = 1)
      : binding_{&tdata, &tvalid, &tready, nullptr, tlast, (bits + 7) / 8},
        sink_((bits + 7) / 8, stall, seed), checker_(checker_config(bits, tlast != nullptr)) {}

  void drive() {
    sink_.eval_outputs();
    binding_.drive_ready(sink_.ports());
  }
  void sample(std::uint64_t cycle, bool in_reset) {
    AxisPorts &ports = sink_.ports();
    binding_.sample_source(ports);
    checker_.sample(cycle, ports, in_reset);
    if (!in_reset && ports.tvalid && ports.tready) {
      beats.push_back(ports.beat);
      cycles.push_back(cycle);
    }
  }
  /// After a reset or a clear in the middle of something: nothing is expected of what was under
  /// way.
  void restart() {
    checker_.reset();
    beats.clear();
    cycles.clear();
  }
  /// Rules broken so far, "" for none.
  [[nodiscard]] std::string report(std::uint64_t cycle) {
    checker_.finish(cycle);
    return checker_.log().report();
  }

  std::vector<AxisBeat> beats;
  std::vector<std::uint64_t> cycles; ///< of the handshakes

private:
  AxisBinding<Data, std::uint64_t> binding_;
  AxisSink sink_;
  AxisChecker checker_;
};
template <class Data>
StreamOut(Data &, std::uint8_t &, std::uint8_t &, std::uint8_t *, std::uint32_t, double,
          std::uint64_t) -> StreamOut<Data>;

/// One beat in every cycle from the first to the last.
inline bool gapless(const std::vector<std::uint64_t> &cycles) {
  return !cycles.empty() && cycles.back() - cycles.front() == cycles.size() - 1;
}

} // namespace kestrel::tb::test
