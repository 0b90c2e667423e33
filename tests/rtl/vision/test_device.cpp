// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The Verilated engine behind the device interface: random layers and networks under random bus
// back-pressure, and real networks, against the software reference and the functional device.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"
#include "tests/host/vision/random_layers.hpp"
#include "tests/host/test_data.hpp"
#include "tests/rtl/vision/counters_text.hpp"

namespace kestrel::hv {
namespace {

const contract::Config &edge() { return *contract::find_config("edge"); }

/// Every cycle is in exactly one class.
void expect_complete(const Counters &n) {
  EXPECT_EQ(n.cycles, n.mac + n.res + n.stall_weight + n.stall_drain + n.stall_fetch +
                          n.stall_load + n.stall_dep + n.stall_desc + n.stall_out)
      << describe(n);
}

struct Totals {
  std::uint64_t runs = 0, refused = 0, mac_steps = 0, cycles = 0;
};

/// One case on both devices against the reference.
void run_case(const test::RandomCase &c, std::uint64_t seed, Device &rtl, Totals &totals) {
  SCOPED_TRACE(fmt::format("seed {}: {}", seed, c.description));
  CompileOptions options;
  options.force_groups = std::array{0U, 0U, 1U, 2U, 4U}[seed % 5];
  options.input_stripes = seed % 3 == 0 ? 0U : static_cast<std::uint32_t>(1 + seed % 4);
  auto package = compile(c.graph, edge(), options);
  if (!package && options.force_groups != 0)
    package = compile(c.graph, edge(), {});
  if (!package) {
    ++totals.refused;
    ASSERT_TRUE(package.error().code == ErrorCode::kUnsupported ||
                package.error().code == ErrorCode::kResourceLimit)
        << package.error().message;
    return;
  }
  ASSERT_TRUE(rtl.load(*package)) << rtl.load(*package).error().message;
  for (int i = 0; i < 2; ++i) {
    const auto input = test::random_input(c.graph, seed + static_cast<std::uint64_t>(i));
    const auto want = run_reference(c.graph, input);
    ASSERT_TRUE(want) << want.error().message;
    const auto got = rtl.run(input);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(got->output.size(), want->size());
    const auto wrong = std::mismatch(got->output.begin(), got->output.end(), want->begin());
    ASSERT_TRUE(wrong.first == got->output.end())
        << "output " << wrong.first - got->output.begin() << " of " << want->size() << ": "
        << int(*wrong.first) << " instead of " << int(*wrong.second);
    expect_complete(got->counters);
    ++totals.runs;
    totals.mac_steps += got->counters.mac;
    totals.cycles += got->counters.cycles;
  }
}

void run_cases(std::uint64_t first, int count, double stall, bool networks) {
  std::printf("KESTREL_SEED=%llu (%d cases, back-pressure %.2f)\n",
              static_cast<unsigned long long>(first), count, stall);
  DeviceOptions options;
  options.seed = first;
  options.stall_probability = stall;
  auto rtl = make_device("rtl", "edge", options);
  ASSERT_TRUE(rtl) << rtl.error().message;
  Totals totals;
  for (int i = 0; i < count && !testing::Test::HasFatalFailure(); ++i) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(i);
    run_case(networks ? test::random_network(seed) : test::random_layer(seed), seed, **rtl, totals);
  }
  std::printf("%llu runs, %llu refused by name, %llu MAC steps, %llu cycles\n",
              static_cast<unsigned long long>(totals.runs),
              static_cast<unsigned long long>(totals.refused),
              static_cast<unsigned long long>(totals.mac_steps),
              static_cast<unsigned long long>(totals.cycles));
  EXPECT_GT(totals.runs, static_cast<std::uint64_t>(count));
  EXPECT_GT(totals.mac_steps, 1000U);
}

TEST(RtlDevice, RandomLayersUnderBackPressure) { run_cases(test::seed_or(41'000), 180, 0.25, false); }
TEST(RtlDevice, RandomLayersOnAQuietBus) { run_cases(test::seed_or(52'000), 120, 0.0, false); }
TEST(RtlDevice, RandomNetworksUnderBackPressure) { run_cases(test::seed_or(63'000), 60, 0.15, true); }

class RtlNetworks : public testing::TestWithParam<const char *> {};

TEST_P(RtlNetworks, EqualsReferenceKernels) {
  const auto folder = test::data_dir() / "goldens";
  const auto spec_path = folder / (std::string(GetParam()) + ".json");
  if (!std::filesystem::exists(spec_path))
    GTEST_SKIP() << spec_path << " is absent; set KESTREL_DATA_DIR to the test data";
  const auto spec = nlohmann::json::parse(std::ifstream(spec_path));
  const auto graph = import_tflite_file(test::data_dir() / spec.at("model").get<std::string>());
  ASSERT_TRUE(graph) << graph.error().message;
  const auto package = compile(*graph, edge(), {});
  ASSERT_TRUE(package) << package.error().message;
  auto rtl = make_device("rtl", "edge");
  auto fast = make_device("fast", "edge");
  ASSERT_TRUE(rtl && fast);
  ASSERT_TRUE((*rtl)->load(*package));
  ASSERT_TRUE((*fast)->load(*package));
  const auto inputs = test::file_bytes(folder / spec.at("inputs").get<std::string>());
  const auto outputs = test::file_bytes(folder / spec.at("outputs").get<std::string>());
  const std::size_t in_size = package->input.elements();
  const std::size_t out_size = package->output.elements();
  for (std::size_t i = 0; i < 2; ++i) {
    const std::span<const std::int8_t> input(
        reinterpret_cast<const std::int8_t *>(inputs.data()) + i * in_size, in_size);
    const auto got = (*rtl)->run(input);
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_TRUE(std::equal(got->output.begin(), got->output.end(),
                           reinterpret_cast<const std::int8_t *>(outputs.data()) + i * out_size));
    const auto functional = (*fast)->run(input);
    ASSERT_TRUE(functional) << functional.error().message;
    EXPECT_EQ(got->confidence.has_value(), functional->confidence.has_value());
    if (got->confidence && functional->confidence) {
      EXPECT_TRUE(*got->confidence == *functional->confidence);
    }
    expect_complete(got->counters);
    const Counters &n = got->counters;
    std::printf("%s: utilisation %.3f, %s\n", GetParam(),
                static_cast<double>(n.macs) / static_cast<double>(n.mac_lanes * n.cycles),
                describe(n).c_str());
    ASSERT_TRUE(functional->counters.cycles_known);
    EXPECT_EQ(describe(functional->counters), describe(n));
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, RtlNetworks,
                         testing::Values("dscnn_kws_int8", "mnist_arduino_q", "mnist_dw_q",
                                         "mnist_valid_q", "mobilenetv1_025_vww96_int8",
                                         "person_detect", "resnet8_cifar10_int8"),
                         [](const auto &test) { return std::string(test.param); });

} // namespace
} // namespace kestrel::hv
