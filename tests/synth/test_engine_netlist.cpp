// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The synthesised netlist of the whole engine (hv_engine, configuration `edge`, LUTs, carry cells, flip-flops,
// block RAMs and multipliers as they are placed) in the bench and behind the device of the RTL: the
// reference's outputs, the RTL's cycles and counters. Some LUTs can be made wrong (netlist_verilog.py):
// the comparison sees that.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "Vhv_engine_netlist.h"
#include "Vhv_engine_netlist___024root.h"
#include "kestrel/serve/fashion_mnist.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"
#include "tests/host/test_data.hpp"
#include "tests/host/vision/random_layers.hpp"
#include "tests/rtl/vision/counters_text.hpp"
#include "vision/device/verilated_engine.hpp"

namespace kestrel::hv {
namespace {

const contract::Config &edge() { return *contract::find_config("edge"); }

class NetlistEngine : public VerilatedEngine<Vhv_engine_netlist> {
public:
  explicit NetlistEngine(const DeviceOptions &options = {})
      : VerilatedEngine<Vhv_engine_netlist>(edge(), options) {}

  /// Makes one of the chosen LUTs wrong from here on, and gives a run little time.
  void mutate(unsigned index, std::uint64_t max_cycles) {
    this->bench_.model().rootp->hv_engine_netlist__DOT__mutant = 1U << index;
    this->max_cycles_ = max_cycles;
  }
};

struct Case {
  Graph graph;
  Package package;
  std::vector<std::int8_t> input;
};

/// The committed edge network and the first test picture of Fashion-MNIST.
void edge_case(Case &c) {
  auto graph = import_tflite_file(test::committed_edge_model());
  ASSERT_TRUE(graph) << graph.error().message;
  auto package = compile(*graph, edge(), {});
  ASSERT_TRUE(package) << package.error().message;
  const auto pictures = serve::load_fashion_mnist(serve::Split::kTest);
  ASSERT_TRUE(pictures) << pictures.error().message;
  for (const std::uint8_t pixel : pictures->image(0))
    c.input.push_back(static_cast<std::int8_t>(pixel - 128));
  c.graph = *graph;
  c.package = *package;
}

/// What differs from reference and RTL, empty if nothing does.
std::string difference(const Inference &got, const Inference &rtl,
                       const std::vector<std::int8_t> &want) {
  if (got.output != want) {
    const auto at = std::mismatch(got.output.begin(), got.output.end(), want.begin());
    return fmt::format("output {} is {} instead of {}", at.first - got.output.begin(),
                       int{*at.first}, int{*at.second});
  }
  if (got.confidence != rtl.confidence)
    return "another confidence than the RTL's";
  if (describe(got.counters) != describe(rtl.counters))
    return "counters other than the RTL's: " + describe(got.counters) + " instead of " +
           describe(rtl.counters);
  return {};
}

void expect_equal(const Case &c, const DeviceOptions &options, std::uint64_t &cycles) {
  auto rtl = make_device("rtl", "edge", options);
  ASSERT_TRUE(rtl) << rtl.error().message;
  NetlistEngine netlist(options);
  const auto want = run_reference(c.graph, c.input);
  ASSERT_TRUE(want) << want.error().message;
  ASSERT_TRUE((*rtl)->load(c.package));
  const auto loaded = netlist.load(c.package);
  ASSERT_TRUE(loaded) << loaded.error().message;
  const auto from_rtl = (*rtl)->run(c.input);
  ASSERT_TRUE(from_rtl) << from_rtl.error().message;
  const auto got = netlist.run(c.input);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(difference(*got, *from_rtl, *want), "");
  EXPECT_GT(got->counters.mac, 0U);
  cycles += got->counters.cycles;
}

TEST(EngineNetlist, FashionMnistPicture) {
  Case c;
  ASSERT_NO_FATAL_FAILURE(edge_case(c));
  std::uint64_t cycles = 0;
  expect_equal(c, {}, cycles);
  std::printf("1 picture, %llu cycles, equal to reference and RTL\n",
              static_cast<unsigned long long>(cycles));
}

/// Other operators than that network has, under bus back-pressure.
TEST(EngineNetlist, RandomLayers) {
  const std::uint64_t first = test::seed_or(31'000);
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(first));
  std::uint64_t cycles = 0;
  int runs = 0;
  for (std::uint64_t seed = first; seed < first + 24 && !HasFailure(); ++seed) {
    const auto random = test::random_layer(seed);
    SCOPED_TRACE(random.description);
    const auto package = compile(random.graph, edge(), {});
    if (!package)
      continue;
    DeviceOptions options;
    options.seed = seed;
    options.stall_probability = seed % 2 == 0 ? 0.2 : 0.0;
    expect_equal({random.graph, *package, test::random_input(random.graph, seed)}, options, cycles);
    ++runs;
  }
  std::printf("%d layers, %llu cycles, equal to reference and RTL\n", runs,
              static_cast<unsigned long long>(cycles));
  EXPECT_GE(runs, 12);
}

/// One entry of one LUT's table inverted: an entry that a picture reaches is seen by outputs, counters, a
/// stop or a broken bus rule. Some entries are reached by no network (errors, other addresses).
TEST(EngineNetlist, AWrongLutIsSeen) {
  Case c;
  ASSERT_NO_FATAL_FAILURE(edge_case(c));
  const auto want = run_reference(c.graph, c.input);
  ASSERT_TRUE(want) << want.error().message;
  auto rtl = make_device("rtl", "edge");
  ASSERT_TRUE(rtl && (*rtl)->load(c.package));
  const auto from_rtl = (*rtl)->run(c.input);
  ASSERT_TRUE(from_rtl) << from_rtl.error().message;
  int seen = 0;
  for (unsigned i = 0; i < KESTREL_MUTANTS; ++i) {
    NetlistEngine netlist;
    netlist.mutate(i, 4 * from_rtl->counters.cycles);
    std::string found;
    if (const auto loaded = netlist.load(c.package); !loaded)
      found = loaded.error().message;
    else if (const auto got = netlist.run(c.input); !got)
      found = got.error().message;
    else
      found = difference(*got, *from_rtl, *want);
    std::printf("LUT %u: %s\n", i, found.empty() ? "not seen" : found.substr(0, 120).c_str());
    seen += found.empty() ? 0 : 1;
  }
  std::printf("%d of %d wrong LUTs seen\n", seen, KESTREL_MUTANTS);
  EXPECT_GE(seen, KESTREL_MUTANTS / 8);
}

} // namespace
} // namespace kestrel::hv
