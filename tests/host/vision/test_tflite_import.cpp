// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the importer makes of a good model, and with which words it refuses bad ones.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"
#include "tests/host/test_data.hpp"
#include "tests/host/vision/tflite_builder.hpp"

namespace kestrel::hv {
namespace {

using test::BuiltinOp;
using test::ModelSpec;
using testing::AllOf;
using testing::HasSubstr;

Result<Graph> import(const ModelSpec &m) { return import_tflite(test::write_model(m), "m.tflite"); }

/// The message with which the model is refused; it names the file.
std::string refusal(const ModelSpec &m) {
  const auto graph = import(m);
  if (graph) {
    return "accepted";
  }
  EXPECT_THAT(graph.error().message, testing::StartsWith("m.tflite: "));
  return graph.error().message;
}

TEST(TfliteImport, SmallModel) {
  const auto graph = import(test::small_model());
  ASSERT_TRUE(graph) << graph.error().message;
  EXPECT_EQ(graph->ops.size(), 13U);
  EXPECT_EQ(graph->input().shape, (std::vector<std::int32_t>{1, 8, 6, 3}));
  EXPECT_EQ(graph->output().shape, (std::vector<std::int32_t>{1, 5}));
  // 8*6*4*27 + 8*6*8*9 + 8*6*4*8 + 20
  EXPECT_EQ(graph->macs(), 5184 + 3456 + 1536 + 20);

  const auto *conv = graph->ops[test::kSmallConv].as<Conv2D>();
  ASSERT_NE(conv, nullptr);
  EXPECT_EQ(conv->padding.top, 1);
  EXPECT_EQ(conv->padding.bottom, 1);
  EXPECT_EQ(conv->padding.left, 1);
  EXPECT_EQ(conv->padding.right, 1);
  EXPECT_EQ(conv->clamp.min, -3); // RELU: the output's zero point
  EXPECT_EQ(conv->clamp.max, 127);
  EXPECT_EQ(conv->requant.size(), 4U);
  // 0.02 * 0.002 / 0.05 = 0.0008 = 0.8192 * 2^-10
  EXPECT_EQ(conv->requant[0].shift, -10);
  EXPECT_NEAR(conv->requant[0].multiplier, 0.8192 * 2147483648.0, 200.0);

  const auto *dw = graph->ops[test::kSmallDepthwise].as<DepthwiseConv2D>();
  ASSERT_NE(dw, nullptr);
  EXPECT_EQ(dw->depth_multiplier, 2);
  EXPECT_EQ(dw->clamp.min, 5);
  EXPECT_EQ(dw->clamp.max, 105); // 5 + 6 / 0.06

  const auto *pointwise = graph->ops[test::kSmallPointwise].as<Conv2D>();
  ASSERT_NE(pointwise, nullptr);
  EXPECT_EQ(pointwise->bias, kNoTensor);
  EXPECT_EQ(pointwise->requant, std::vector<Multiplier>(4, pointwise->requant[0]));

  const auto *add = graph->ops[test::kSmallAdd].as<Add>();
  ASSERT_NE(add, nullptr);
  EXPECT_EQ(add->left_shift, 20);
  EXPECT_EQ(add->input1_multiplier, (Multiplier{1 << 30, 0})); // the larger scale: exactly 1/2

  const auto *mean = graph->ops[test::kSmallMean].as<Mean>();
  ASSERT_NE(mean, nullptr);
  EXPECT_TRUE(mean->keep_dims);
  // 0.06 / 0.05 = 0.6 * 2^1; n = 9 gives s = 3: multiplier (m << 3) / 9, shift 1 - 3
  EXPECT_EQ(mean->requant.shift, -2);
  EXPECT_NEAR(mean->requant.multiplier, 0.6 * 2147483648.0 * 8 / 9, 200.0);

  const Tensor &branch = graph->tensor(conv->output);
  EXPECT_EQ(branch.producer, 0);
  EXPECT_EQ(branch.consumers, (std::vector<OpId>{1, 3}));
}

// The same operators written out once more in plain arithmetic with doubles: the whole small model
// must agree within the rounding of its requantisations.
TEST(TfliteImport, SmallModelRunsAsItsRealNumbersSay) {
  const auto graph = import(test::small_model());
  ASSERT_TRUE(graph) << graph.error().message;
  std::vector<std::int8_t> input(8 * 6 * 3);
  std::iota(input.begin(), input.end(), static_cast<std::int8_t>(-128));
  std::vector<std::vector<std::int8_t>> values(graph->tensors.size());
  values[static_cast<std::size_t>(graph->inputs[0])] = input;
  std::size_t steps = 0;
  const auto result =
      run_reference(*graph, input, [&](const Op &op, std::span<const std::int8_t> out) {
        values[static_cast<std::size_t>(output_of(op))].assign(out.begin(), out.end());
        ++steps;
      });
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(steps, graph->ops.size());

  const auto real = [&](TensorId id, std::size_t i) {
    const Tensor &t = graph->tensor(id);
    return static_cast<double>(t.quant.scale()) *
           (values[static_cast<std::size_t>(id)][i] - t.quant.zero_point());
  };
  const auto expect_near = [&](TensorId id, std::size_t i, double want, const char *what) {
    const Tensor &t = graph->tensor(id);
    const double scale = static_cast<double>(t.quant.scale());
    const double low = scale * (-128 - t.quant.zero_point());
    const double high = scale * (127 - t.quant.zero_point());
    EXPECT_NEAR(real(id, i), std::clamp(want, low, high), 1.01 * scale) << what << " " << i;
  };
  const auto *conv = graph->ops[test::kSmallConv].as<Conv2D>();
  const Tensor &w = graph->tensor(conv->weights);
  for (std::size_t y = 0; y < 8; ++y) {
    for (std::size_t x = 0; x < 6; ++x) {
      for (std::size_t oc = 0; oc < 4; ++oc) {
        const double w_scale = static_cast<double>(w.quant.scales[oc]);
        double sum = graph->int32_data(conv->bias)[oc] * w_scale * 0.02F;
        for (std::size_t ky = 0; ky < 3; ++ky) {
          for (std::size_t kx = 0; kx < 3; ++kx) {
            if (y + ky < 1 || y + ky > 8 || x + kx < 1 || x + kx > 6) {
              continue;
            }
            for (std::size_t ic = 0; ic < 3; ++ic) {
              sum += real(conv->input, ((y + ky - 1) * 6 + x + kx - 1) * 3 + ic) * w_scale *
                     w.int8_data[((oc * 3 + ky) * 3 + kx) * 3 + ic];
            }
          }
        }
        expect_near(conv->output, (y * 6 + x) * 4 + oc, std::max(sum, 0.0), "conv");
      }
    }
  }
  const auto *add = graph->ops[test::kSmallAdd].as<Add>();
  for (std::size_t i = 0; i < 8 * 6 * 4; ++i) {
    expect_near(add->output, i, real(add->input1, i) + real(add->input2, i), "add");
  }
  const auto *pad = graph->ops[test::kSmallPad].as<Pad>();
  for (std::size_t y = 0; y < 6; ++y) {
    for (std::size_t x = 0; x < 6; ++x) {
      const bool inside = y >= 1 && y < 5 && x >= 1 && x < 4;
      for (std::size_t c = 0; c < 4; ++c) {
        EXPECT_EQ(values[static_cast<std::size_t>(pad->output)][(y * 6 + x) * 4 + c],
                  inside
                      ? values[static_cast<std::size_t>(pad->input)][((y - 1) * 3 + x - 1) * 4 + c]
                      : -100);
      }
    }
  }
  const auto *mean = graph->ops[test::kSmallMean].as<Mean>();
  for (std::size_t c = 0; c < 4; ++c) {
    double sum = 0.0;
    for (std::size_t i = 0; i < 9; ++i) {
      sum += real(mean->input, i * 4 + c);
    }
    expect_near(mean->output, c, sum / 9.0, "mean");
  }
}

TEST(TfliteImport, CodeOfBothFields) {
  ModelSpec m = test::small_model();
  for (auto &op : m.ops) {
    op.code_in_old_field_only = op.code < 127;
  }
  EXPECT_EQ(refusal(m), "accepted");
}

TEST(TfliteImport, GroupedConvolution) {
  std::mt19937 random(3);
  ModelSpec m;
  const auto x = m.add(test::activation("x", {1, 5, 5, 6}));
  const auto w = m.add(test::weights("w", {4, 3, 3, 3}, 0, random));
  const auto y = m.add(test::activation("y", {1, 3, 3, 4}));
  m.ops = {test::op(BuiltinOp::kConv2D, {x, w}, y,
                    test::conv_options(test::tfl::PaddingMode::VALID, 1))};
  m.inputs = {x};
  m.outputs = {y};
  const auto graph = import(m);
  ASSERT_TRUE(graph) << graph.error().message;
  EXPECT_EQ(graph->ops[0].as<Conv2D>()->groups, 2);
  EXPECT_EQ(graph->macs(), 3 * 3 * 4 * 27);
}

TEST(TfliteImport, NotATfliteFile) {
  const std::string text = "this is not a model, whatever its name says";
  const auto graph =
      import_tflite(std::vector<std::uint8_t>(text.begin(), text.end()), "photo.jpg");
  ASSERT_FALSE(graph);
  EXPECT_EQ(graph.error().code, ErrorCode::kParse);
  EXPECT_THAT(graph.error().message,
              AllOf(HasSubstr("photo.jpg"), HasSubstr("not a TensorFlow Lite file")));
  EXPECT_FALSE(import_tflite({}, "empty"));
}

TEST(TfliteImport, FileThatIsAbsentOrADirectory) {
  const auto absent = import_tflite_file("/no/such/model.tflite");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(absent.error().message, HasSubstr("/no/such/model.tflite"));
  const auto folder = import_tflite_file(std::filesystem::temp_directory_path());
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, ErrorCode::kIo);
}

/// Every proper prefix is refused, but those that lack only the zeros with which writers pad a file
/// to its alignment: nothing refers to them.
void expect_prefixes_refused(const std::vector<std::uint8_t> &bytes, std::size_t step) {
  std::size_t tried = 0;
  for (std::size_t n = 0; n < bytes.size(); n += (n + 64 < bytes.size() ? step : 1)) {
    const auto graph = import_tflite(std::span(bytes).first(n), "cut.tflite");
    ++tried;
    if (graph) {
      ASSERT_LT(bytes.size() - n, 16U) << "accepted " << n << " of " << bytes.size() << " bytes";
      ASSERT_TRUE(std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(n), bytes.end(),
                              [](std::uint8_t byte) { return byte == 0; }))
          << "accepted " << n << " of " << bytes.size() << " bytes";
      continue;
    }
    EXPECT_EQ(graph.error().code, ErrorCode::kParse) << graph.error().message;
  }
  EXPECT_GT(tried, 64U);
}

// Tools append files with labels and other metadata, at lengths that are no multiple of anything.
TEST(TfliteImport, WhatFollowsTheBufferIsIgnored) {
  const auto good = test::write_model(test::small_model());
  const auto plain = import_tflite(good, "m.tflite");
  ASSERT_TRUE(plain) << plain.error().message;
  for (std::size_t n : {1U, 2U, 3U, 4U, 7U, 16U, 1001U, 300'000U}) {
    auto bytes = good;
    for (std::size_t i = 0; i < n; ++i) {
      bytes.push_back(static_cast<std::uint8_t>("PK\3\4 labels"[i % 11]));
    }
    const auto graph = import_tflite(bytes, "m.tflite");
    ASSERT_TRUE(graph) << n << " bytes behind: " << graph.error().message;
    EXPECT_EQ(graph->ops.size(), plain->ops.size());
    const std::vector<std::int8_t> x(static_cast<std::size_t>(plain->input().elements()), 3);
    EXPECT_EQ(run_reference(*graph, x).value(), run_reference(*plain, x).value());
  }
}

TEST(TfliteImport, TruncatedAtEveryByte) {
  expect_prefixes_refused(test::write_model(test::small_model()), 1);
}

TEST(TfliteImport, TruncatedRealModels) {
  auto paths = test::data_networks();
  if (std::filesystem::exists(test::committed_edge_model())) {
    paths.push_back(test::committed_edge_model());
  }
  if (paths.empty()) {
    GTEST_SKIP() << "no models under " << test::data_dir() << "; set KESTREL_DATA_DIR";
  }
  for (const auto &path : paths) {
    SCOPED_TRACE(path.string());
    const auto bytes = test::file_bytes(path);
    expect_prefixes_refused(bytes, std::max<std::size_t>(1, bytes.size() / 4096));
  }
}

TEST(TfliteImport, UnalignedBytes) {
  const auto bytes = test::write_model(test::small_model());
  std::vector<std::uint8_t> shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  EXPECT_TRUE(import_tflite(std::span(shifted).subspan(1), "m.tflite"));
}

// A damaged file may have the 8-byte zero points at an address that is only a multiple of 4, which
// the FlatBuffers verifier lets pass. Reading them must not rely on alignment (seen by UBSan).
TEST(TfliteImport, MisalignedZeroPoints) {
  auto bytes = test::write_model(test::small_model());
  bytes.resize((bytes.size() + 7) / 8 * 8);
  const auto *quant =
      test::tfl::GetModel(bytes.data())->subgraphs()->Get(0)->tensors()->Get(0)->quantization();
  const std::uint8_t *field = reinterpret_cast<const flatbuffers::Table *>(quant)->GetAddressOf(
      test::tfl::QuantizationParameters::VT_ZERO_POINT);
  ASSERT_NE(field, nullptr);
  const auto at = static_cast<std::size_t>(field - bytes.data());
  store_le<std::uint32_t>(bytes, at, static_cast<std::uint32_t>(bytes.size() - at));
  append_le<std::uint32_t>(bytes, 1U);
  ASSERT_EQ(bytes.size() % 8, 4U); // where the element comes to lie
  append_le<std::int64_t>(bytes, std::int64_t{-77});
  const auto graph = import_tflite(bytes, "m.tflite");
  ASSERT_TRUE(graph) << graph.error().message;
  EXPECT_EQ(graph->input().quant.zero_point(), -77);
}

TEST(TfliteImport, OtherSchemaVersion) {
  ModelSpec m = test::small_model();
  m.version = 2;
  EXPECT_THAT(refusal(m), HasSubstr("version 2"));
}

TEST(TfliteImport, SeveralSubgraphs) {
  ModelSpec m = test::small_model();
  m.subgraphs = 2;
  EXPECT_THAT(refusal(m), HasSubstr("2 subgraphs"));
}

TEST(TfliteImport, UnknownAndCustomOperators) {
  ModelSpec m = test::small_model();
  m.ops[test::kSmallRelu].code = 117;
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("HARD_SWISH #5"), HasSubstr("supported are CONV_2D")));
  m.ops[test::kSmallRelu].code = 150;
  EXPECT_THAT(refusal(m), HasSubstr("GELU #5"));
  m.ops[test::kSmallRelu].code = 4711;
  EXPECT_THAT(refusal(m), HasSubstr("builtin operator 4711 #5"));
  m.ops[test::kSmallRelu].code = static_cast<std::int32_t>(BuiltinOp::kCustom);
  m.ops[test::kSmallRelu].custom_code = "TFLite_Detection\n";
  EXPECT_THAT(refusal(m), HasSubstr("CUSTOM 'TFLite_Detection?' #5"));
}

TEST(TfliteImport, FloatAndOtherTypes) {
  ModelSpec m = test::small_model();
  test::tensor(m, "conv").type = test::tfl::TensorType::FLOAT32;
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("operator CONV_2D #0"), HasSubstr("'conv' is FLOAT32"),
                                HasSubstr("only int8 quantised models are supported")));
  m = test::small_model();
  test::tensor(m, "input").type = test::tfl::TensorType::UINT8;
  EXPECT_THAT(refusal(m), HasSubstr("'input' is UINT8"));
  m = test::small_model();
  test::tensor(m, "dw/w").type = test::tfl::TensorType::FLOAT32;
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("DEPTHWISE_CONV_2D #1"), HasSubstr("'dw/w'")));
  m = test::small_model();
  test::tensor(m, "fc/b").type = test::tfl::TensorType::INT64;
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("bias 'fc/b' is INT64")));
  m = test::small_model(); // hybrid: float activations, int8 weights
  test::tensor(m, "input").type = test::tfl::TensorType::FLOAT32;
  EXPECT_THAT(refusal(m), HasSubstr("'input' is FLOAT32"));
  m = test::small_model();
  test::tensor(m, "add").type = test::tfl::TensorType::INT16;
  EXPECT_THAT(refusal(m), HasSubstr("'add' is INT16"));
}

TEST(TfliteImport, Quantisation) {
  ModelSpec m = test::small_model();
  test::tensor(m, "pw").scales.clear();
  test::tensor(m, "pw").zero_points.clear();
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("CONV_2D #2"), HasSubstr("'pw' has no quantisation")));
  for (const float bad : {0.0F, -1.0F, NAN, INFINITY, 1e-30F}) {
    m = test::small_model();
    test::tensor(m, "pw").scales = {bad};
    EXPECT_THAT(refusal(m), HasSubstr("'pw' has the quantisation scale")) << bad;
  }
  m = test::small_model();
  test::tensor(m, "pw").zero_points = {128};
  EXPECT_THAT(refusal(m), HasSubstr("'pw' has the zero point 128"));
  m = test::small_model();
  test::tensor(m, "pw").zero_points = {0, 0};
  EXPECT_THAT(refusal(m), HasSubstr("1 scales but 2 zero points"));
  m = test::small_model();
  test::tensor(m, "conv/w").zero_points[2] = 1;
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("'conv/w' have zero point 1"), HasSubstr("symmetric")));
  m = test::small_model();
  test::tensor(m, "conv/w").axis = 3;
  EXPECT_THAT(refusal(m), HasSubstr("'conv/w' has 4 scales along dimension 3"));
  m = test::small_model();
  test::tensor(m, "conv/w").scales.pop_back();
  test::tensor(m, "conv/w").zero_points.pop_back();
  EXPECT_THAT(refusal(m), HasSubstr("'conv/w' has 3 scales"));
  m = test::small_model();
  test::tensor(m, "conv/w").scales[1] = 1e15F;
  EXPECT_THAT(refusal(m), HasSubstr("rescale by"));
  m = test::small_model();
  test::tensor(m, "conv/w").scales[1] = 0.0F; // a dead channel
  EXPECT_EQ(refusal(m), "accepted");
  EXPECT_EQ(import(m)->ops[0].as<Conv2D>()->requant[1], (Multiplier{0, 0}));
  m = test::small_model();
  test::tensor(m, "maxpool").scales = {0.2F};
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("MAX_POOL_2D #4"), HasSubstr("must share")));
  m = test::small_model();
  test::tensor(m, "avgpool").zero_points = {0};
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("AVERAGE_POOL_2D #7"), HasSubstr("must share")));
  m = test::small_model();
  test::tensor(m, "softmax").zero_points = {0};
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("SOFTMAX #12"), HasSubstr("1/256")));
}

TEST(TfliteImport, Shapes) {
  ModelSpec m = test::small_model();
  test::tensor(m, "input").shape[0] = 2;
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("'input'"), HasSubstr("batch of 2")));
  m = test::small_model();
  test::tensor(m, "input").shape[1] = -1;
  EXPECT_THAT(refusal(m), HasSubstr("dimension of -1"));
  m = test::small_model();
  test::tensor(m, "input").shape = {1, 8, 6, 3, 1};
  EXPECT_THAT(refusal(m), HasSubstr("5 dimensions"));
  m = test::small_model();
  test::tensor(m, "input").shape = {};
  EXPECT_THAT(refusal(m), HasSubstr("0 dimensions"));
  m = test::small_model();
  test::tensor(m, "input").shape = {1, 144};
  EXPECT_THAT(refusal(m), HasSubstr("4 dimensions [1, height, width, channels]"));
  m = test::small_model();
  test::tensor(m, "conv").shape = {1, 8, 6, 5};
  EXPECT_THAT(refusal(m),
              AllOf(HasSubstr("'conv' has shape [1, 8, 6, 5]"), HasSubstr("[1, 8, 6, 4] follows")));
  m = test::small_model();
  test::tensor(m, "input").shape = {1, 2000000000, 2000000000, 3};
  EXPECT_THAT(refusal(m), HasSubstr("larger than the limit"));
  m = test::small_model();
  test::tensor(m, "input").shape = {1, 32768, 32768, 1};
  EXPECT_THAT(refusal(m), HasSubstr("larger than the limit"));
  m = test::small_model();
  test::tensor(m, "input").shape = {1, 8, 6, 4};
  EXPECT_THAT(refusal(m), HasSubstr("do not fit 4 input channels"));
  m = test::small_model();
  test::tensor(m, "add").shape = {1, 8, 6, 1};
  EXPECT_THAT(refusal(m), HasSubstr("ADD #3"));
  m = test::small_model();
  test::tensor(m, "pw").shape = {1, 8, 6, 1};
  test::tensor(m, "pw/w").shape = {1, 1, 1, 8};
  test::tensor(m, "pw/w").data.resize(8);
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("ADD #3"), HasSubstr("equal shapes")));
  m = test::small_model();
  test::tensor(m, "flat").shape = {1, 5};
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("RESHAPE #10"), HasSubstr("differ in size")));
  m = test::small_model();
  test::tensor(m, "shape") = test::int32s("shape", {3}, {1, 1, 4});
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("RESHAPE #10"), HasSubstr("does not give")));
  m = test::small_model();
  test::tensor(m, "axes") = test::int32s("axes", {1}, {3});
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("MEAN #9"), HasSubstr("axes (3)")));
  m = test::small_model();
  test::tensor(m, "axes") = test::int32s("axes", {2}, {-3, -2});
  EXPECT_EQ(refusal(m), "accepted");
  m = test::small_model();
  test::tensor(m, "paddings") = test::int32s("paddings", {4, 2}, {0, 0, -1, 3, 1, 2, 0, 0});
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("PAD #6"), HasSubstr("padding of -1")));
  m = test::small_model();
  test::tensor(m, "paddings") = test::int32s("paddings", {4, 2}, {1, 0, 1, 1, 1, 2, 0, 0});
  EXPECT_THAT(refusal(m), HasSubstr("padding of the batch"));
}

TEST(TfliteImport, Constants) {
  ModelSpec m = test::small_model();
  test::tensor(m, "conv/w").data.clear();
  EXPECT_THAT(refusal(m), HasSubstr("'conv/w' are not a constant"));
  m = test::small_model();
  test::tensor(m, "conv/w").data.pop_back();
  EXPECT_THAT(refusal(m), HasSubstr("need 108 bytes; the file has 107"));
  m = test::small_model();
  test::tensor(m, "conv/b").data.push_back(0);
  EXPECT_THAT(refusal(m), HasSubstr("needs 16 bytes; the file has 17"));
  m = test::small_model();
  test::tensor(m, "conv/b") = test::int32s("conv/b", {3}, {1, 2, 3});
  EXPECT_THAT(refusal(m), HasSubstr("4 values expected"));
  m = test::small_model();
  test::tensor(m, "shape").data.clear();
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("RESHAPE #10"), HasSubstr("not a constant")));
  m = test::small_model();
  test::tensor(m, "conv/w").buffer_override = 1000;
  EXPECT_THAT(refusal(m), HasSubstr("names buffer 1000"));
  m = test::small_model();
  test::tensor(m, "conv/w").sparse = true;
  EXPECT_THAT(refusal(m), HasSubstr("'conv/w' is sparse"));
  m = test::small_model();
  test::tensor(m, "conv").variable = true;
  EXPECT_THAT(refusal(m), HasSubstr("'conv' is a variable"));
  m = test::small_model();
  m.buffer_offset = 4096;
  EXPECT_THAT(refusal(m), HasSubstr("outside the FlatBuffer"));
  m = test::small_model();
  test::tensor(m, "pw").data.assign(8 * 6 * 4, 1);
  EXPECT_THAT(refusal(m), HasSubstr("'pw' is a constant"));
}

TEST(TfliteImport, Wiring) {
  ModelSpec m = test::small_model();
  m.ops[test::kSmallConv].inputs[0] = 99;
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("CONV_2D #0"), HasSubstr("index 99 is out of range")));
  m = test::small_model();
  m.ops[test::kSmallConv].inputs[0] = -1;
  EXPECT_THAT(refusal(m), HasSubstr("index -1 is out of range"));
  m = test::small_model();
  m.inputs = {-7};
  EXPECT_THAT(refusal(m), HasSubstr("index -7"));
  m = test::small_model();
  m.outputs = {m.inputs[0]};
  EXPECT_THAT(refusal(m), HasSubstr("'input' is not written"));
  m = test::small_model();
  m.inputs.push_back(m.inputs[0]);
  EXPECT_THAT(refusal(m), HasSubstr("2 inputs and 1 outputs"));
  m = test::small_model();
  std::swap(m.ops[test::kSmallDepthwise], m.ops[test::kSmallPointwise]);
  EXPECT_THAT(refusal(m), HasSubstr("execution order"));
  m = test::small_model();
  m.ops[test::kSmallPointwise].outputs = m.ops[test::kSmallConv].outputs;
  EXPECT_THAT(refusal(m), HasSubstr("written twice"));
  m = test::small_model();
  m.ops[test::kSmallRelu].inputs.push_back(0);
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("RELU #5"), HasSubstr("2 inputs; 1 expected")));
  m = test::small_model();
  m.ops[test::kSmallRelu].outputs.clear();
  EXPECT_THAT(refusal(m), HasSubstr("0 outputs"));
  m = test::small_model();
  m.ops.clear();
  EXPECT_THAT(refusal(m), HasSubstr("no operators"));
}

TEST(TfliteImport, Options) {
  using P = test::tfl::PaddingMode;
  using A = test::tfl::FusedActivation;
  ModelSpec m = test::small_model();
  m.ops[test::kSmallConv].options = {};
  EXPECT_THAT(refusal(m), AllOf(HasSubstr("CONV_2D #0"), HasSubstr("options are missing")));
  m.ops[test::kSmallConv].options = test::softmax_options(1.0F);
  EXPECT_THAT(refusal(m), HasSubstr("options are missing"));
  m.ops[test::kSmallConv].options = test::conv_options(P::SAME, 0);
  EXPECT_THAT(refusal(m), HasSubstr("stride 0x0"));
  m.ops[test::kSmallConv].options = test::conv_options(P::SAME, 1, A::TANH);
  EXPECT_THAT(refusal(m), HasSubstr("fused activation 4 (TANH)"));
  m.ops[test::kSmallConv].options = test::conv_options(P::SAME, 1, static_cast<A>(77));
  EXPECT_THAT(refusal(m), HasSubstr("fused activation 77"));
  m.ops[test::kSmallConv].options = test::conv_options(static_cast<P>(5), 1);
  EXPECT_THAT(refusal(m), HasSubstr("padding mode 5"));
  m.ops[test::kSmallConv].options = test::conv_options(P::SAME, 1, A::NONE, 2147483647);
  EXPECT_THAT(refusal(m), HasSubstr("dilation 2147483647"));
  m.ops[test::kSmallConv].options = test::conv_options(P::VALID, 1, A::NONE, 100);
  EXPECT_THAT(refusal(m), HasSubstr("does not fit"));
  m = test::small_model();
  m.ops[test::kSmallDepthwise].options = test::depthwise_options(P::SAME, 1, 3);
  EXPECT_THAT(refusal(m), HasSubstr("depth multiplier 3; 2 follows"));
  for (const float beta : {0.0F, -1.0F, NAN, INFINITY}) {
    m = test::small_model();
    m.ops[test::kSmallSoftmax].options = test::softmax_options(beta);
    EXPECT_THAT(refusal(m), AllOf(HasSubstr("SOFTMAX #12"), HasSubstr("beta"))) << beta;
  }
}

TEST(TfliteImport, Limits) {
  const auto bytes = test::write_model(test::small_model());
  const auto refused = [&](const ImportLimits &limits) {
    const auto graph = import_tflite(bytes, "m.tflite", limits);
    EXPECT_FALSE(graph);
    EXPECT_EQ(graph.error().code, ErrorCode::kResourceLimit) << graph.error().message;
  };
  ImportLimits limits;
  limits.max_file_bytes = 100;
  refused(limits);
  limits = {};
  limits.max_operators = 12;
  refused(limits);
  limits = {};
  limits.max_tensors = 3;
  refused(limits);
  limits = {};
  limits.max_constant_bytes = 200;
  refused(limits);
  limits = {};
  limits.max_tensor_bytes = 143;
  refused(limits);
  limits = {};
  limits.max_macs = 10'195;
  refused(limits);
  limits.max_macs = 10'196;
  EXPECT_TRUE(import_tflite(bytes, "m.tflite", limits));
}

} // namespace
} // namespace kestrel::hv
