// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Networks at 224x224 through the engine in RTL: activations spilled to external memory in row
// stripes. Minutes of simulation, so label `slow`.
#include <algorithm>
#include <cstdio>

#include <gtest/gtest.h>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "tests/host/vision/large_networks.hpp"
#include "tests/host/vision/random_layers.hpp"

namespace kestrel::hv {
namespace {

void run_large(const Graph &graph, const char *name) {
  const auto package = compile(graph, *contract::find_config("edge"), {});
  ASSERT_TRUE(package) << package.error().message;
  auto rtl = make_device("rtl", "edge");
  auto fast = make_device("fast", "edge");
  ASSERT_TRUE(rtl && fast);
  ASSERT_TRUE((*rtl)->load(*package));
  ASSERT_TRUE((*fast)->load(*package));
  const auto input = test::random_input(graph, test::seed_or(224));
  const auto want = run_reference(graph, input);
  ASSERT_TRUE(want) << want.error().message;
  const auto got = (*rtl)->run(input);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_TRUE(got->output == *want);
  const auto model = (*fast)->run(input);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(got->counters.cycles, model->counters.cycles);
  const Counters &n = got->counters;
  std::printf("%s: %llu MACs, %llu cycles (RTL), utilisation %.3f\n", name,
              static_cast<unsigned long long>(n.macs), static_cast<unsigned long long>(n.cycles),
              static_cast<double>(n.macs) / static_cast<double>(n.mac_lanes * n.cycles));
}

TEST(RtlLarge, MobileNetV2At224) { run_large(test::mobilenet_v2(1), "MobileNetV2 224x224"); }
TEST(RtlLarge, ResNet18At224) { run_large(test::resnet18(1), "ResNet-18 224x224"); }

} // namespace
} // namespace kestrel::hv
