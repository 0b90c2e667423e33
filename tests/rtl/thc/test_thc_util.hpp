// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Bench of a THC kernel, and its streams: bound to a Verilated model, driven, checked and recorded
// with the cycle of every beat.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "testbench/cpp/axis_checker.hpp"
#include "testbench/cpp/axis_driver.hpp"
#include "testbench/cpp/axis_types.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"

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
  void drive(std::uint64_t /*cycle*/) {
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
  /// What has been taken is forgotten.
  void restart() { cycles.clear(); }
  [[nodiscard]] std::string violations() const { return checker_.log().report(); }

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

  void drive(std::uint64_t /*cycle*/) {
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
  [[nodiscard]] std::string violations() const { return checker_.log().report(); }
  /// Rules broken up to the end, "" for none.
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

/// The type of a port: StreamIn<KESTREL_TB_PORT(Model, s_axis_tdata)>.
// NOLINTNEXTLINE(bugprone-macro-parentheses): a type and a member's name
#define KESTREL_TB_PORT(Model, port) std::remove_reference_t<decltype(std::declval<Model &>().port)>

/// A kernel with `clear_i` and streams, which are the parts of the bench that derives from this.
template <class Bench, class Model> class KernelBench : public ClockedBench<Bench, Model> {
public:
  /// Forgets what the streams have recorded.
  void restart() {
    std::apply([](auto &...stream) { (stream.restart(), ...); },
               static_cast<Bench &>(*this).parts());
  }
  void reset() {
    ClockedBench<Bench, Model>::reset();
    restart();
  }
  /// clear_i for one cycle. What waits at the inputs is not lost by it.
  void clear() {
    cleared = this->cycle();
    this->model().clear_i = 1;
    this->step();
    this->model().clear_i = 0;
    restart();
  }
  /// Until `out` has that many beats, for at most so many cycles, and then until nothing more can
  /// come.
  template <class Stream>
  void run_to(const Stream &out, std::size_t beats, std::uint64_t limit, std::uint64_t more) {
    for (std::uint64_t i = 0; i < limit && out.beats.size() < beats; ++i)
      this->step();
    this->steps(more);
  }

  Random rng;
  std::uint64_t cleared = 0; ///< cycle of the last clear_i

protected:
  explicit KernelBench(std::uint64_t seed)
      : ClockedBench<Bench, Model>(SimulationConfig{.seed = seed}), rng(seed) {
    this->model().clear_i = 0;
  }
};

/// Beats of floats or other values of `bits` bits, `lanes` a beat.
template <class Stream, class Values>
void push_lanes(Stream &stream, const Values &values, unsigned lanes, unsigned bits) {
  using Value = typename Values::value_type;
  for (std::size_t i = 0; i < values.size(); i += lanes) {
    AxisData data;
    for (unsigned lane = 0; lane < lanes; ++lane) {
      const Value value = values[i + lane];
      std::uint32_t word = 0;
      if constexpr (std::is_same_v<Value, float>)
        word = std::bit_cast<std::uint32_t>(value);
      else
        word = static_cast<std::uint32_t>(value);
      set_field(data, lane * bits, bits, word);
    }
    stream.push(data);
  }
}

/// One beat in every cycle from the first to the last.
inline bool gapless(const std::vector<std::uint64_t> &cycles) {
  return !cycles.empty() && cycles.back() - cycles.front() == cycles.size() - 1;
}

} // namespace kestrel::tb::test
