// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <random>

#include "kestrel/serve/oip.hpp"

namespace kestrel::serve {
namespace {

std::string request(const std::string &datatype, const std::string &shape,
                    const std::string &data) {
  return R"({"id":"7","inputs":[{"name":"image","datatype":")" + datatype + R"(","shape":)" +
         shape + R"(,"data":)" + data + "}]}";
}

std::uint64_t seed() {
  const char *text = std::getenv("KESTREL_SEED");
  const std::uint64_t value = text != nullptr ? std::strtoull(text, nullptr, 0) : 20251121;
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(value));
  return value;
}

TEST(Oip, ReadsFlatAndNestedData) {
  for (const char *data : {"[0,1,2,255]", "[[0,1],[2,255]]", "[[0,1,2,255]]"}) {
    const auto r = parse_infer_request(request("UINT8", "[2,2]", data));
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->id, "7");
    EXPECT_EQ(std::get<std::vector<std::uint8_t>>(r->inputs[0].data),
              (std::vector<std::uint8_t>{0, 1, 2, 255}));
  }
}

TEST(Oip, ReadsEveryDatatype) {
  const auto f = parse_infer_request(request("FP32", "[3]", "[0.5,-2,1e-3]"));
  ASSERT_TRUE(f);
  EXPECT_EQ(std::get<std::vector<float>>(f->inputs[0].data),
            (std::vector<float>{0.5F, -2.0F, 1e-3F}));
  const auto i = parse_infer_request(request("INT8", "[2]", "[-128,127]"));
  ASSERT_TRUE(i);
  EXPECT_EQ(std::get<std::vector<std::int8_t>>(i->inputs[0].data),
            (std::vector<std::int8_t>{-128, 127}));
  const auto l = parse_infer_request(request("INT64", "[2]", "[-9223372036854775808,7]"));
  ASSERT_TRUE(l);
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(l->inputs[0].data),
            (std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::min(), 7}));
}

TEST(Oip, NullMeansAbsent) {
  const auto r = parse_infer_request(
      R"({"id":null,"parameters":null,"outputs":null,"inputs":[{"name":"image","datatype":"UINT8",)"
      R"("shape":[1],"data":[7],"parameters":null}]})");
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(r->id, std::nullopt);
  EXPECT_TRUE(r->outputs.empty());
  // Deeper down, and beside what turns an extension off.
  const auto deeper = parse_infer_request(
      R"({"parameters":{"priority":null,"binary_data_output":false},)"
      R"("outputs":[{"name":"class","parameters":null},)"
      R"({"name":"probabilities","parameters":{"binary_data":false,"classification":null}}],)"
      R"("inputs":[{"name":"image","datatype":"UINT8","shape":[1],"data":[7],)"
      R"("parameters":{"binary_data_size":null}}]})");
  ASSERT_TRUE(deeper) << deeper.error().message;
  EXPECT_EQ(deeper->outputs, (std::vector<std::string>{"class", "probabilities"}));
  const auto response = parse_infer_response(
      R"({"model_name":"m","model_version":null,"id":null,"parameters":null,"outputs":[)"
      R"({"name":"p","datatype":"FP32","shape":[1],"data":[1],"parameters":null}]})");
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->id, std::nullopt);
  EXPECT_TRUE(response->model_version.empty());
}

TEST(Oip, ResponsesMayCarryParameters) {
  const auto with = [](const std::string &parameters) {
    return parse_infer_response(
        R"({"model_name":"m","parameters":{"sequence_id":0},"outputs":[{"name":"p",)"
        R"("datatype":"FP32","shape":[1],"data":[1],"parameters":)" +
        parameters + "}]}");
  };
  EXPECT_TRUE(with(R"({"content_type":"np"})"));
  EXPECT_FALSE(with(R"({"binary_data_size":4})"));
}

struct Bad {
  const char *why;
  std::string text;
  ErrorCode code;
  const char *word; ///< that the message must contain
};

TEST(Oip, RefusesBadRequestsByName) {
  std::string deep(100000, '[');
  const Bad bad[] = {
      {"empty", "", ErrorCode::kParse, "not JSON"},
      {"garbage", "hello", ErrorCode::kParse, "not JSON"},
      {"truncated", R"({"inputs":[{"na)", ErrorCode::kParse, "not JSON"},
      {"array", "[1]", ErrorCode::kInvalidArgument, "object"},
      {"deep", deep, ErrorCode::kParse, "nested deeper"},
      {"no inputs", "{}", ErrorCode::kInvalidArgument, "inputs"},
      {"empty inputs", R"({"inputs":[]})", ErrorCode::kInvalidArgument, "inputs"},
      {"input not object", R"({"inputs":[3]})", ErrorCode::kInvalidArgument, "inputs[0]"},
      {"id not string", R"({"id":3,"inputs":[]})", ErrorCode::kInvalidArgument, "id"},
      {"NaN", request("FP32", "[1]", "[NaN]"), ErrorCode::kParse, "not JSON"},
      {"infinity", request("FP32", "[1]", "[1e999]"), ErrorCode::kParse, "out of range"},
      {"over FP32", request("FP32", "[1]", "[1e39]"), ErrorCode::kInvalidArgument, "FP32"},
      {"null", request("FP32", "[1]", "[null]"), ErrorCode::kInvalidArgument, "null"},
      {"string", request("FP32", "[1]", "[\"1\"]"), ErrorCode::kInvalidArgument, "string"},
      {"uint8 256", request("UINT8", "[1]", "[256]"), ErrorCode::kInvalidArgument, "0..255"},
      {"uint8 -1", request("UINT8", "[1]", "[-1]"), ErrorCode::kInvalidArgument, "0..255"},
      {"uint8 1.5", request("UINT8", "[1]", "[1.5]"), ErrorCode::kInvalidArgument, "integer"},
      {"int8 128", request("INT8", "[1]", "[128]"), ErrorCode::kInvalidArgument, "-128..127"},
      {"int64 2^63", request("INT64", "[1]", "[9223372036854775808]"), ErrorCode::kInvalidArgument,
       "outside"},
      {"too few", request("UINT8", "[3]", "[1,2]"), ErrorCode::kShapeMismatch, "2 elements"},
      {"too many", request("UINT8", "[1]", "[1,2]"), ErrorCode::kInvalidArgument, "more elements"},
      {"nested too deep", request("UINT8", "[1]", "[[1]]"), ErrorCode::kInvalidArgument, "nested"},
      {"shape negative", request("UINT8", "[-1]", "[1]"), ErrorCode::kInvalidArgument, "shape"},
      {"shape zero", request("UINT8", "[0]", "[]"), ErrorCode::kInvalidArgument, "shape"},
      {"shape empty", request("UINT8", "[]", "[]"), ErrorCode::kInvalidArgument, "shape"},
      {"shape huge", request("UINT8", "[4294967296,4294967296]", "[1]"),
       ErrorCode::kInvalidArgument, "shape"},
      {"shape overflow", request("UINT8", "[65536,65536,65536,65536]", "[1]"),
       ErrorCode::kInvalidArgument, "shape"},
      {"shape float", request("UINT8", "[1.0]", "[1]"), ErrorCode::kInvalidArgument, "shape"},
      {"datatype", request("FP64", "[1]", "[1]"), ErrorCode::kUnsupported, "FP64"},
      {"no data", R"({"inputs":[{"name":"image","datatype":"FP32","shape":[1]}]})",
       ErrorCode::kInvalidArgument, "data"},
      {"binary",
       R"({"inputs":[{"name":"i","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]})",
       ErrorCode::kUnsupported, "binary_data_size"},
      {"priority",
       R"({"parameters":{"priority":1},"inputs":[{"name":"i","datatype":"FP32","shape":[1],"data":[1]}]})",
       ErrorCode::kUnsupported, "request: parameter \"priority\""},
      {"a parameter of an input",
       R"({"inputs":[{"name":"i","datatype":"FP32","shape":[1],"data":[1],"parameters":{"content_type":"np"}}]})",
       ErrorCode::kUnsupported, "inputs[0]: parameter \"content_type\""},
      {"a parameter of an output",
       R"({"outputs":[{"name":"class","parameters":{"classification":3}}],"inputs":[{"name":"i","datatype":"FP32","shape":[1],"data":[1]}]})",
       ErrorCode::kUnsupported, "outputs[0]: parameter \"classification\""},
      {"inputs null", R"({"inputs":null})", ErrorCode::kInvalidArgument, "inputs"},
      {"id 0", R"({"id":0,"inputs":[]})", ErrorCode::kInvalidArgument, "id"},
      {"parameters not object",
       R"({"parameters":[],"inputs":[{"name":"i","datatype":"FP32","shape":[1],"data":[1]}]})",
       ErrorCode::kInvalidArgument, "parameters"},
  };
  for (const Bad &b : bad) {
    const auto r = parse_infer_request(b.text);
    ASSERT_FALSE(r) << b.why;
    EXPECT_EQ(r.error().code, b.code) << b.why << ": " << r.error().message;
    EXPECT_NE(r.error().message.find(b.word), std::string::npos)
        << b.why << ": " << r.error().message;
  }
}

TEST(Oip, HugeShapeWithLittleDataReservesNothingHuge) {
  // 2^31 elements claimed by a body of a few bytes: refused without taking gigabytes.
  const auto r = parse_infer_request(request("FP32", "[2147483648]", "[1]"));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, ErrorCode::kShapeMismatch);
}

TEST(Oip, RequestAndResponseSurviveARoundTrip) {
  std::mt19937_64 random(seed());
  int tensors = 0;
  for (int round = 0; round < 50; ++round) {
    InferResponse response{"m \"quoted\"", "1", std::nullopt, {}};
    if (round % 2 == 0) {
      response.id = "id\n\xC3\xA9";
    }
    std::vector<float> floats;
    floats.reserve(20);
    for (int i = 0; i < 20; ++i) {
      floats.push_back(std::ldexp(static_cast<float>(random() % 16777216), -20 - round));
    }
    response.outputs.push_back(Tensor{"p", {4, 5}, floats});
    response.outputs.push_back(
        Tensor{"c", {2}, std::vector<std::int64_t>{-5, static_cast<std::int64_t>(random() >> 1)}});
    const auto back = parse_infer_response(to_json(response));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->model_name, response.model_name);
    EXPECT_EQ(back->id, response.id);
    ASSERT_EQ(back->outputs.size(), 2U);
    for (std::size_t k = 0; k < 2; ++k) {
      EXPECT_EQ(back->outputs[k].shape, response.outputs[k].shape);
      EXPECT_EQ(back->outputs[k].data, response.outputs[k].data);
      ++tensors;
    }
  }
  EXPECT_EQ(tensors, 100);
  InferRequest request_value;
  request_value.id = "3";
  request_value.inputs.push_back(Tensor{"image", {1, 3}, std::vector<std::uint8_t>{0, 9, 255}});
  request_value.outputs = {"probabilities"};
  const auto back = parse_infer_request(to_json(request_value));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->inputs[0].data, request_value.inputs[0].data);
  EXPECT_EQ(back->outputs, request_value.outputs);
}

TEST(Oip, MutatedRequestsNeverCrash) {
  const std::string good = request("UINT8", "[2,2]", "[[0,1],[2,255]]");
  std::mt19937_64 random(seed());
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (std::uint64_t k = random() % 4 + 1; k-- > 0;) {
      switch (random() % 3) {
      case 0:
        text[random() % text.size()] = static_cast<char>(random());
        break;
      case 1:
        text.resize(random() % text.size() + 1);
        break;
      default:
        text.insert(random() % text.size(), 1, "[]{}\",:0-e.\\"[random() % 12]);
      }
    }
    const auto r = parse_infer_request(text);
    if (!r) {
      EXPECT_FALSE(r.error().message.empty());
      ++refused;
    }
  }
  EXPECT_GT(refused, 10000);
}

TEST(Oip, ErrorBodies) {
  EXPECT_EQ(error_of(error_json("no such \"model\"")), "no such \"model\"");
  EXPECT_EQ(error_of(error_json("bad \xFF byte")), "bad \xEF\xBF\xBD byte");
  EXPECT_EQ(error_of("<html>"), std::nullopt);
  EXPECT_EQ(error_of(R"({"error":3})"), std::nullopt);
}

} // namespace
} // namespace kestrel::serve
