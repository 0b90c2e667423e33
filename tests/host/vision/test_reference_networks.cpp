// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Whole networks, imported and executed on sw_ref, against the outputs of TensorFlow Lite's
// reference kernels: the final output of every golden input, and every operator's output for the
// first one.
#include <algorithm>
#include <fstream>
#include <ostream>
#include <string>
#include <vector>

#include <boost/crc.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kestrel/bytes.hpp"
#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"
#include "tests/host/test_data.hpp"

namespace kestrel::hv {
namespace {

struct Golden {
  const char *name;
  std::int64_t macs;

  // The name of the case in the list of tests; by default its bytes, pointers included, are printed.
  friend void PrintTo(const Golden &golden, std::ostream *out) { *out << golden.name; }
};

// Multiply-accumulates as the publishers of the networks count them.
constexpr Golden kGoldens[] = {
    {"dscnn_kws_int8", 2'656'768},
    {"mnist_arduino_q", 0},
    {"mnist_dw_q", 0},
    {"mnist_valid_q", 0},
    {"mobilenetv1_025_vww96_int8", 7'489'664},
    {"person_detect", 0},
    {"resnet8_cifar10_int8", 12'501'632},
};

class ReferenceNetworks : public testing::TestWithParam<Golden> {};

TEST_P(ReferenceNetworks, EqualsReferenceKernels) {
  const auto folder = test::data_dir() / "goldens";
  const auto spec_path = folder / (std::string(GetParam().name) + ".json");
  if (!std::filesystem::exists(spec_path)) {
    GTEST_SKIP() << spec_path << " is absent; set KESTREL_DATA_DIR to the test data";
  }
  const auto spec = nlohmann::json::parse(std::ifstream(spec_path));
  const auto graph = import_tflite_file(test::data_dir() / spec.at("model").get<std::string>());
  ASSERT_TRUE(graph) << graph.error().message;

  if (GetParam().macs != 0) {
    EXPECT_EQ(graph->macs(), GetParam().macs);
  } else if (std::string_view(GetParam().name) == "person_detect") {
    EXPECT_NEAR(static_cast<double>(graph->macs()), 7.16e6, 0.005e6);
  }
  EXPECT_EQ(graph->input().shape, spec.at("input_shape").get<std::vector<std::int32_t>>());
  EXPECT_EQ(graph->output().shape, spec.at("output_shape").get<std::vector<std::int32_t>>());

  const auto inputs = test::file_bytes(folder / spec.at("inputs").get<std::string>());
  const auto outputs = test::file_bytes(folder / spec.at("outputs").get<std::string>());
  const auto trace = test::file_bytes(folder / spec.at("trace0").at("file").get<std::string>());
  const auto count = spec.at("count").get<std::size_t>();
  const auto in_size = static_cast<std::size_t>(graph->input().elements());
  const auto out_size = static_cast<std::size_t>(graph->output().elements());
  ASSERT_EQ(count, 16U);
  ASSERT_EQ(inputs.size(), count * in_size);
  ASSERT_EQ(outputs.size(), count * out_size);

  const auto &steps = spec.at("trace0").at("tensors");
  ASSERT_EQ(steps.size(), graph->ops.size());
  std::size_t traced = 0;
  const ReferenceTrace check = [&](const Op &op, std::span<const std::int8_t> output) {
    const auto &step = steps.at(static_cast<std::size_t>(op.id));
    const auto bytes = as_u8(output);
    EXPECT_EQ(op.source_index, step.at("op").get<int>());
    EXPECT_EQ(op.type, step.at("name").get<std::string>());
    const Tensor &tensor = graph->tensor(output_of(op));
    EXPECT_EQ(tensor.source_index, step.at("tensor").get<int>());
    EXPECT_EQ(tensor.shape, step.at("shape").get<std::vector<std::int32_t>>());
    const auto size = step.at("bytes").get<std::size_t>();
    const auto offset = step.at("offset").get<std::size_t>();
    ASSERT_EQ(bytes.size(), size);
    ASSERT_LE(offset + size, trace.size());
    boost::crc_32_type crc;
    crc.process_bytes(bytes.data(), bytes.size());
    EXPECT_EQ(fmt::format("{:08x}", crc.checksum()), step.at("crc32").get<std::string>())
        << op.type << " #" << op.id;
    EXPECT_TRUE(
        std::equal(bytes.begin(), bytes.end(), trace.begin() + static_cast<std::ptrdiff_t>(offset)))
        << op.type << " #" << op.id;
    ++traced;
  };

  for (std::size_t i = 0; i < count; ++i) {
    const auto input = as_i8(std::span(inputs).subspan(i * in_size, in_size));
    const auto got = run_reference(*graph, input, i == 0 ? check : ReferenceTrace{});
    ASSERT_TRUE(got) << got.error().message;
    const auto want = as_i8(std::span(outputs).subspan(i * out_size, out_size));
    EXPECT_TRUE(std::equal(got->begin(), got->end(), want.begin(), want.end())) << "input " << i;
  }
  EXPECT_EQ(traced, graph->ops.size());
}

INSTANTIATE_TEST_SUITE_P(Goldens, ReferenceNetworks, testing::ValuesIn(kGoldens),
                         [](const auto &param) { return std::string(param.param.name); });

TEST(ReferenceNetworksInput, WrongSizeIsRefused) {
  const auto graph = import_tflite_file(test::committed_edge_model());
  if (!graph) {
    GTEST_SKIP() << graph.error().message;
  }
  const std::vector<std::int8_t> input(static_cast<std::size_t>(graph->input().elements()) + 1);
  const auto got = run_reference(*graph, input);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kShapeMismatch);
}

} // namespace
} // namespace kestrel::hv
