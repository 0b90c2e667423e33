// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Speed of the software reference's operators and of the functional device on this machine, in
// GMAC/s. Before an operator is timed its result is compared with the definition written out as
// plain loops, and the functional device's with the reference; a difference is an error.
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"
#include "sw_ref/vision/conv.hpp"

namespace kestrel::hv {
namespace {

using Bytes = std::vector<std::int8_t>;
using Words = std::vector<std::int32_t>;

Bytes random_bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Bytes values(count);
  for (std::int8_t &v : values)
    v = static_cast<std::int8_t>(random() >> 24U);
  return values;
}

void report(benchmark::State &state, double macs) {
  state.counters["GMAC/s"] =
      benchmark::Counter(macs * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

// A stride 1, SAME padded convolution of a square map.
struct ConvCase {
  int side = 32, in = 32, out = 32, kernel = 3;
  bool depthwise = false;

  [[nodiscard]] double macs() const {
    return 1.0 * side * side * kernel * kernel * out * (depthwise ? 1 : in);
  }
};

constexpr std::int32_t kInputZeroPoint = 5;

// By definition: every output from its taps.
Bytes plain_conv(const ConvCase &c, const Bytes &x, const Bytes &w, const Words &bias,
                 const ref::OutputStage &stage) {
  Bytes y;
  const int pad = c.kernel / 2;
  for (int oy = 0; oy < c.side; ++oy)
    for (int ox = 0; ox < c.side; ++ox)
      for (int o = 0; o < c.out; ++o) {
        std::int32_t acc = bias[static_cast<std::size_t>(o)];
        for (int ky = 0; ky < c.kernel; ++ky)
          for (int kx = 0; kx < c.kernel; ++kx) {
            const int iy = oy + ky - pad, ix = ox + kx - pad;
            if (iy < 0 || ix < 0 || iy >= c.side || ix >= c.side)
              continue;
            for (int i = c.depthwise ? o : 0; i < (c.depthwise ? o + 1 : c.in); ++i) {
              const int wi = c.depthwise ? (ky * c.kernel + kx) * c.out + o
                                         : ((o * c.kernel + ky) * c.kernel + kx) * c.in + i;
              const int xi = (iy * c.side + ix) * c.in + i;
              acc += (x[static_cast<std::size_t>(xi)] - kInputZeroPoint) *
                     w[static_cast<std::size_t>(wi)];
            }
          }
        y.push_back(ref::requantize(acc, stage.multiplier[0], stage.shift[0], stage.zero_point,
                                    stage.activation));
      }
  return y;
}

void convolution(benchmark::State &state, ConvCase c) {
  const Words multiplier(static_cast<std::size_t>(c.out), 1'518'500'250);
  const Words shift(static_cast<std::size_t>(c.out), c.depthwise ? -8 : -10);
  Words bias(static_cast<std::size_t>(c.out));
  for (std::size_t i = 0; i < bias.size(); ++i)
    bias[i] = static_cast<std::int32_t>(i * 37) - 500;
  const ref::OutputStage stage{multiplier, shift, -3, {-100, 120}};
  const ref::Shape in{1, c.side, c.side, c.in}, out{1, c.side, c.side, c.out};
  const ref::Window window{c.kernel, c.kernel, 1, 1, 1, 1, c.kernel / 2, c.kernel / 2};
  const ref::Shape filter = c.depthwise ? ref::Shape{1, c.kernel, c.kernel, c.out}
                                        : ref::Shape{c.out, c.kernel, c.kernel, c.in};
  const Bytes x = random_bytes(in.size(), 1), w = random_bytes(filter.size(), 2);
  Bytes y(out.size());
  const auto run = [&] {
    if (c.depthwise)
      ref::depthwise_conv2d({in, filter, out, window, kInputZeroPoint, stage}, x, w, bias, y);
    else
      ref::conv2d({in, filter, out, window, kInputZeroPoint, stage}, x, w, bias, y);
  };
  run();
  if (y != plain_conv(c, x, w, bias, stage)) {
    state.SkipWithError("the result is not that of the definition");
    return;
  }
  for (auto _ : state) {
    run();
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  report(state, c.macs());
}

void fully_connected(benchmark::State &state) {
  ref::FullyConnectedParams p;
  p.inputs = 1024;
  p.outputs = 128;
  p.input_zero_point = kInputZeroPoint;
  const Words multiplier{1'518'500'250}, shift{-10};
  p.stage = {multiplier, shift, -3, {-128, 127}};
  const Bytes x = random_bytes(1024, 1), w = random_bytes(1024 * 128, 2);
  const Words bias(128, 1234);
  Bytes y(128);
  ref::fully_connected(p, x, w, bias, y);
  for (std::size_t o = 0; o < y.size(); ++o) {
    std::int32_t acc = bias[o];
    for (std::size_t i = 0; i < x.size(); ++i)
      acc += (x[i] - kInputZeroPoint) * w[o * x.size() + i];
    if (y[o] != ref::requantize(acc, multiplier[0], shift[0], -3, {-128, 127})) {
      state.SkipWithError("the result is not that of the definition");
      return;
    }
  }
  for (auto _ : state) {
    ref::fully_connected(p, x, w, bias, y);
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }
  report(state, 1024.0 * 128);
}

// The committed network, on the functional device or on the reference.
void network(benchmark::State &state, bool device) {
  const auto graph =
      import_tflite_file(std::string(KESTREL_SOURCE_DIR) + "/models/edge/fmnist_edge_int8.tflite");
  if (!graph) {
    state.SkipWithError(graph.error().message.c_str());
    return;
  }
  const auto package = compile(*graph, *contract::find_config("edge"), {});
  auto fast = make_device("fast", "edge");
  if (!package || !fast || !(*fast)->load(*package)) {
    state.SkipWithError("the network does not load");
    return;
  }
  const Bytes input = random_bytes(package->input.elements(), 3);
  const auto want = run_reference(*graph, input);
  const auto got = (*fast)->run(input);
  if (!want || !got || got->output != *want) {
    state.SkipWithError("the functional device's result is not the reference's");
    return;
  }
  for (auto _ : state) {
    if (device)
      benchmark::DoNotOptimize((*fast)->run(input));
    else
      benchmark::DoNotOptimize(run_reference(*graph, input));
  }
  report(state, static_cast<double>(package->macs));
}

BENCHMARK_CAPTURE(convolution, sw_ref / conv_3x3_32to32, ConvCase{});
BENCHMARK_CAPTURE(convolution, sw_ref / conv_1x1_64to64, (ConvCase{16, 64, 64, 1, false}));
BENCHMARK_CAPTURE(convolution, sw_ref / depthwise_3x3_64, (ConvCase{32, 64, 64, 3, true}));
BENCHMARK(fully_connected)->Name("sw_ref/fully_connected_1024to128");
BENCHMARK_CAPTURE(network, sw_ref / fmnist_edge, false);
BENCHMARK_CAPTURE(network, functional_device / fmnist_edge, true);

} // namespace
} // namespace kestrel::hv

// As BENCHMARK_MAIN(), but a benchmark that reports an error makes the program fail.
int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 2;
  class Reporter : public benchmark::ConsoleReporter {
  public:
    void ReportRuns(const std::vector<Run> &runs) override {
      for (const Run &r : runs)
        failed = failed || r.error_occurred;
      benchmark::ConsoleReporter::ReportRuns(runs);
    }
    bool failed = false;
  };
  Reporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return reporter.failed ? 1 : 0;
}
