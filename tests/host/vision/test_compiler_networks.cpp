// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Real networks: compiled, then run on the functional device, against the outputs of TensorFlow
// Lite's reference kernels.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kestrel/bytes.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/tflite.hpp"
#include "tests/host/test_data.hpp"

namespace kestrel::hv {
namespace {

struct Case {
  const char *model;
  const char *config;
  CompileOptions options;
  const char *variant;

  // The name of the case in the list of tests; by default its bytes, pointers included, are printed.
  friend void PrintTo(const Case &c, std::ostream *out) { *out << c.model << ' ' << c.variant; }
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const char *model :
       {"dscnn_kws_int8", "mnist_arduino_q", "mnist_dw_q", "mnist_valid_q",
        "mobilenetv1_025_vww96_int8", "person_detect", "resnet8_cifar10_int8"}) {
    out.push_back({model, "edge", {}, "edge"});
    CompileOptions narrow;
    narrow.force_groups = 1;
    narrow.input_stripes = 1;
    out.push_back({model, "edge", narrow, "edge_g1"});
    CompileOptions wide;
    wide.force_groups = 4;
    wide.input_stripes = 7;
    out.push_back({model, "edge", wide, "edge_g4"});
    CompileOptions tiled;
    tiled.act_rows_limit = 330;
    out.push_back({model, "edge", tiled, "edge_tiled"});
    out.push_back({model, "kria", {}, "kria"});
  }
  return out;
}

class CompiledNetworks : public testing::TestWithParam<Case> {};

TEST_P(CompiledNetworks, EqualsReferenceKernels) {
  const Case &c = GetParam();
  const auto folder = test::data_dir() / "goldens";
  const auto spec_path = folder / (std::string(c.model) + ".json");
  if (!std::filesystem::exists(spec_path)) {
    GTEST_SKIP() << spec_path << " is absent; set KESTREL_DATA_DIR to the test data";
  }
  const auto spec = nlohmann::json::parse(std::ifstream(spec_path));
  const auto graph = import_tflite_file(test::data_dir() / spec.at("model").get<std::string>());
  ASSERT_TRUE(graph) << graph.error().message;
  const auto package = compile(*graph, *contract::find_config(c.config), c.options);
  if (!package && package.error().code == ErrorCode::kResourceLimit &&
      c.options.force_groups != 0) {
    GTEST_SKIP() << package.error().message;
  }
  ASSERT_TRUE(package) << package.error().message;
  auto device = make_device("fast", c.config);
  ASSERT_TRUE(device) << device.error().message;
  ASSERT_TRUE((*device)->load(*package));

  const auto inputs = test::file_bytes(folder / spec.at("inputs").get<std::string>());
  const auto outputs = test::file_bytes(folder / spec.at("outputs").get<std::string>());
  const auto count = spec.at("count").get<std::size_t>();
  const std::size_t in_size = package->input.elements();
  const std::size_t out_size = package->output.elements();
  ASSERT_EQ(count, 16U);
  ASSERT_EQ(inputs.size(), count * in_size);
  ASSERT_EQ(outputs.size(), count * out_size);
  for (std::size_t i = 0; i < count; ++i) {
    const auto got = (*device)->run(as_i8(std::span(inputs).subspan(i * in_size, in_size)));
    ASSERT_TRUE(got) << got.error().message;
    const auto want = as_i8(std::span(outputs).subspan(i * out_size, out_size));
    EXPECT_TRUE(std::equal(got->output.begin(), got->output.end(), want.begin(), want.end()))
        << "input " << i;
    ASSERT_EQ(got->confidence.has_value(), package->has_confidence);
    if (got->confidence) {
      const auto best = std::max_element(want.begin(), want.end());
      EXPECT_EQ(want[got->confidence->top1], *best);
    }
    EXPECT_EQ(got->counters.macs, static_cast<std::uint64_t>(graph->macs()));
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, CompiledNetworks, testing::ValuesIn(cases()),
                         [](const auto &param) {
                           return std::string(param.param.model) + "_" + param.param.variant;
                         });

} // namespace
} // namespace kestrel::hv
