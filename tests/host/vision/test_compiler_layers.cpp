// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Randomised layers and small networks: compiled with every mapping, run on the functional device,
// equal to the reference.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "tests/host/vision/random_layers.hpp"

namespace kestrel::hv {
namespace {

// Compiles and runs one case; counts what was compared and what was refused.
struct Tally {
  int equal = 0;
  int refused = 0;
  int varied = 0; // outputs with at least four different values
};

void check(const test::RandomCase &random, std::uint64_t seed, const char *config,
           const CompileOptions &options, Tally &tally) {
  const std::string what =
      fmt::format("seed {} config {} groups {} stripes {}: {}", seed, config, options.force_groups,
                  options.input_stripes, random.description);
  const auto package = compile(random.graph, *contract::find_config(config), options);
  if (!package) {
    // Only what the engine cannot do may be refused, and the message names the operator.
    EXPECT_TRUE(package.error().code == ErrorCode::kUnsupported ||
                package.error().code == ErrorCode::kResourceLimit)
        << what << ": " << package.error().message;
    EXPECT_NE(package.error().message.find("operator"), std::string::npos)
        << what << ": " << package.error().message;
    ++tally.refused;
    return;
  }
  auto device = make_device("fast", config);
  ASSERT_TRUE(device) << device.error().message;
  const auto loaded = (*device)->load(*package);
  ASSERT_TRUE(loaded) << what << ": " << loaded.error().message;
  for (std::uint64_t i = 0; i < 2; ++i) {
    const auto input = test::random_input(random.graph, seed + i);
    const auto want = run_reference(random.graph, input);
    ASSERT_TRUE(want) << want.error().message;
    const auto got = (*device)->run(input);
    ASSERT_TRUE(got) << what << ": " << got.error().message;
    ASSERT_EQ(got->output.size(), want->size()) << what;
    const auto [g, w] = std::mismatch(got->output.begin(), got->output.end(), want->begin());
    ASSERT_TRUE(g == got->output.end()) << what << ": value " << g - got->output.begin() << " is "
                                        << int{*g} << ", not " << int{*w};
  }
  ++tally.equal;
  std::vector<std::int8_t> values =
      *run_reference(random.graph, test::random_input(random.graph, seed));
  std::sort(values.begin(), values.end());
  tally.varied += std::unique(values.begin(), values.end()) - values.begin() >= 4 ? 1 : 0;
}

TEST(CompiledLayers, RandomLayersEqualTheReference) {
  const std::uint64_t seed = test::seed_or(20240607);
  fmt::print("KESTREL_SEED={}\n", seed);
  constexpr int kLayers = 360;
  Tally tally;
  for (std::uint64_t i = 0; i < kLayers && !HasFatalFailure(); ++i) {
    const test::RandomCase random = test::random_layer(seed + i);
    CompileOptions options;
    options.force_groups = i % 4 == 3 ? 0U : 1U << (i % 4);
    options.input_stripes = static_cast<std::uint32_t>(i / 12 % 6);
    check(random, seed + i, i % 5 == 4 ? "kria" : i % 17 == 3 ? "nano" : "edge", options, tally);
  }
  EXPECT_GE(tally.equal, kLayers * 9 / 10);
  EXPECT_GE(tally.varied, kLayers / 2);
  fmt::print("{} equal ({} with varied outputs), {} refused\n", tally.equal, tally.varied,
             tally.refused);
}

TEST(CompiledLayers, RandomNetworksEqualTheReference) {
  const std::uint64_t seed = test::seed_or(77001);
  fmt::print("KESTREL_SEED={}\n", seed);
  constexpr int kNetworks = 200;
  Tally tally;
  for (std::uint64_t i = 0; i < kNetworks && !HasFatalFailure(); ++i)
    check(test::random_network(seed + i), seed + i, i % 5 == 4 ? "kria" : "edge", {}, tally);
  EXPECT_GE(tally.equal, kNetworks * 9 / 10);
  EXPECT_GE(tally.varied, kNetworks / 4);
  fmt::print("{} equal ({} with varied outputs), {} refused\n", tally.equal, tally.varied,
             tally.refused);
}

} // namespace
} // namespace kestrel::hv
