// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Networks that exceed activation memory: cut into segments and stripes through external memory,
// equal to the reference all the same.
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "tests/host/vision/large_networks.hpp"
#include "tests/host/vision/random_layers.hpp"

namespace kestrel::hv {
namespace {

bool striped(const Package &package) {
  for (const LayerInfo &layer : package.layers) {
    if (layer.note.find("stripes") != std::string::npos)
      return true;
  }
  return false;
}

void expect_equal(const Graph &graph, const Package &package, const char *config,
                  std::uint64_t seed, const std::string &what) {
  auto device = make_device("fast", config);
  ASSERT_TRUE(device) << device.error().message;
  const auto loaded = (*device)->load(package);
  ASSERT_TRUE(loaded) << what << ": " << loaded.error().message;
  const auto input = test::random_input(graph, seed);
  const auto want = run_reference(graph, input);
  ASSERT_TRUE(want) << want.error().message;
  // Twice: what the first inference leaves behind must not matter.
  for (int i = 0; i < 2; ++i) {
    const auto got = (*device)->run(input);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_TRUE(got->output == *want) << what;
  }
}

TEST(CompiledTiling, RandomNetworksInLittleMemoryEqualTheReference) {
  const std::uint64_t seed = test::seed_or(31337);
  fmt::print("KESTREL_SEED={}\n", seed);
  constexpr int kNetworks = 250;
  int equal = 0, cut = 0, refused = 0;
  for (std::uint64_t i = 0; i < kNetworks && !HasFatalFailure(); ++i) {
    const test::RandomCase random =
        test::random_network(seed + i, {.max_side = 64, .max_channels = 30, .max_macs = 3'000'000});
    const char *config = i % 4 == 3 ? "kria" : "edge";
    CompileOptions options;
    options.act_rows_limit = static_cast<std::uint32_t>(i % 4 == 3 ? 16 : 40) << i % 3;
    const auto package = compile(random.graph, *contract::find_config(config), options);
    const std::string what = fmt::format("seed {} {} rows {}: {}", seed + i, config,
                                         options.act_rows_limit, random.description);
    if (!package) {
      EXPECT_THAT(package.error().message, testing::HasSubstr("operator ")) << what;
      ++refused;
      continue;
    }
    EXPECT_LE(package->act_rows_used, options.act_rows_limit) << what;
    expect_equal(random.graph, *package, config, i, what);
    ++equal;
    cut += striped(*package) ? 1 : 0;
  }
  fmt::print("{} equal, {} of them in stripes, {} refused\n", equal, cut, refused);
  EXPECT_GE(equal, kNetworks / 2);
  EXPECT_GE(cut, kNetworks / 12);
}

TEST(CompiledTiling, MobileNetV2At224EqualsTheReference) {
  const Graph graph = test::mobilenet_v2(1);
  EXPECT_NEAR(static_cast<double>(graph.macs()), 300.8e6, 0.1e6);
  for (const char *config : {"edge", "kria"}) {
    const auto package = compile(graph, *contract::find_config(config));
    ASSERT_TRUE(package) << package.error().message;
    EXPECT_EQ(striped(*package), std::string_view(config) == "edge");
    expect_equal(graph, *package, config, 5, config);
  }
}

TEST(CompiledTiling, ResNet18At224EqualsTheReference) {
  const Graph graph = test::resnet18(1);
  EXPECT_NEAR(static_cast<double>(graph.macs()), 1814.0e6, 1.0e6);
  const auto package = compile(graph, *contract::find_config("edge"));
  ASSERT_TRUE(package) << package.error().message;
  EXPECT_TRUE(striped(*package));
  EXPECT_GT(package->scratch_bytes, 1'000'000U);
  expect_equal(graph, *package, "edge", 6, "edge");
}

// An output map that is itself cut reaches the host in order.
TEST(CompiledTiling, LargeOutputMapEqualsTheReference) {
  test::LargeNetwork net("map", 3, 96);
  net.conv(20, 3, 1);
  net.depthwise(1);
  const Graph graph = net.finish();
  CompileOptions options;
  options.act_rows_limit = 500;
  const auto package = compile(graph, *contract::find_config("edge"), options);
  ASSERT_TRUE(package) << package.error().message;
  EXPECT_TRUE(striped(*package));
  EXPECT_LT(package->output.block_pixels, package->output.pixels);
  expect_equal(graph, *package, "edge", 7, "map");
}

} // namespace
} // namespace kestrel::hv
