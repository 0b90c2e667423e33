// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the ONNX backend makes of a classifier: probabilities by one softmax, whatever the model
// ends with, and images in the form that it declares; or a refusal that names the thing. Expected
// values are computed here, in double precision, from the same weights.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "kestrel/serve/backend.hpp"
#include "serve/onnx_classifier.hpp"
#include "tests/host/serve/onnx_builder.hpp"

namespace kestrel::serve {
namespace {

using test::OnnxBuilder;
using test::OnnxShape;
using ::testing::HasSubstr;

constexpr std::size_t kSide = 4;
constexpr std::size_t kPixels = kSide * kSide;
constexpr std::size_t kClasses = 6;
constexpr std::size_t kImages = 5;

class Onnx : public ::testing::Test {
protected:
  Onnx() {
    const char *text = std::getenv("KESTREL_SEED");
    const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 0) : 20261128;
    std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(seed));
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal(0.0F, 0.8F);
    for (std::size_t i = 0; i < kPixels * kClasses; ++i) {
      weights.push_back(normal(random));
    }
    for (std::size_t k = 0; k < kClasses; ++k) {
      bias.push_back(normal(random));
    }
    for (std::size_t i = 0; i < kClasses * 9; ++i) {
      kernel.push_back(normal(random));
    }
    for (std::size_t i = 0; i < kImages * kPixels; ++i) {
      images.push_back(static_cast<float>(random() % 256) / 255.0F);
    }
    std::string name = (std::filesystem::temp_directory_path() / "kestrel_onnx_XXXXXX").string();
    folder = ::mkdtemp(name.data());
  }
  ~Onnx() override { std::filesystem::remove_all(folder); }

  /// x -> Flatten -> Gemm -> "l", the logits; what follows is the test's.
  OnnxBuilder dense(std::int64_t opset = 13, const OnnxShape &shape = {"N", 1, 4, 4},
                    const char *x = "x", std::int32_t type = test::kOnnxFloat) const {
    OnnxBuilder b(opset);
    b.input("x", shape, type);
    return layers(b, x);
  }
  OnnxBuilder &layers(OnnxBuilder &b, const char *x) const {
    b.floats("W", {kPixels, kClasses}, weights).floats("B", {kClasses}, bias);
    b.node("Flatten", {x}, {"f"}).with("axis", 1);
    return b.node("Gemm", {"f", "W", "B"}, {"l"});
  }
  static OnnxBuilder &scores(OnnxBuilder &b) { return b.output("y", {"N", kClasses}); }
  /// `x` -> Conv 3x3 -> average -> Softmax -> y: tells rows from columns and from channels.
  OnnxBuilder &convolution(OnnxBuilder &b, const char *x) const {
    b.floats("K", {kClasses, 1, 3, 3}, kernel);
    b.node("Conv", {x, "K"}, {"c"}).with("kernel_shape", {3, 3});
    b.node("Relu", {"c"}, {"r"});
    b.node("GlobalAveragePool", {"r"}, {"g"});
    b.node("Flatten", {"g"}, {"l"}).with("axis", 1);
    return b.node("Softmax", {"l"}, {"y"}).with("axis", 1);
  }

  Result<std::unique_ptr<Backend>> load(OnnxBuilder &b) {
    if (b.model().graph().output_size() == 0) {
      scores(b);
    }
    const auto bytes = b.bytes();
    OnnxBackendOptions options;
    options.path = (folder / "net.onnx").string();
    std::ofstream(options.path, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    options.image_shape = {1, kSide, kSide};
    options.classes = kClasses;
    return make_onnx_backend(options);
  }

  std::vector<double> logits() const {
    std::vector<double> out;
    for (std::size_t i = 0; i < kImages; ++i) {
      for (std::size_t k = 0; k < kClasses; ++k) {
        double sum = bias[k];
        for (std::size_t p = 0; p < kPixels; ++p) {
          sum += static_cast<double>(images[i * kPixels + p]) *
                 static_cast<double>(weights[p * kClasses + k]);
        }
        out.push_back(sum);
      }
    }
    return out;
  }
  std::vector<double> convolved() const {
    std::vector<double> out;
    for (std::size_t i = 0; i < kImages; ++i) {
      for (std::size_t k = 0; k < kClasses; ++k) {
        double mean = 0;
        for (std::size_t y = 0; y + 3 <= kSide; ++y) {
          for (std::size_t x = 0; x + 3 <= kSide; ++x) {
            double sum = 0;
            for (std::size_t t = 0; t < 9; ++t) {
              sum += static_cast<double>(images[i * kPixels + (y + t / 3) * kSide + x + t % 3]) *
                     static_cast<double>(kernel[k * 9 + t]);
            }
            mean += std::max(sum, 0.0) / 4.0;
          }
        }
        out.push_back(mean);
      }
    }
    return out;
  }
  static std::vector<double> softmax(std::vector<double> v) {
    for (std::size_t i = 0; i < v.size(); i += kClasses) {
      double sum = 0;
      for (std::size_t k = 0; k < kClasses; ++k) {
        v[i + k] = std::exp(v[i + k]);
        sum += v[i + k];
      }
      for (std::size_t k = 0; k < kClasses; ++k) {
        v[i + k] /= sum;
      }
    }
    return v;
  }

  void expect(OnnxBuilder &b, const std::vector<double> &wanted) {
    auto backend = load(b);
    ASSERT_TRUE(backend) << backend.error().message;
    const auto got = (*backend)->classify(images, kImages);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(got->size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_NEAR((*got)[i], wanted[i], 1e-5) << "value " << i;
    }
  }
  void expect_refused(OnnxBuilder &b, std::initializer_list<const char *> words) {
    const auto backend = load(b);
    ASSERT_FALSE(backend);
    EXPECT_THAT(backend.error().message, HasSubstr("net.onnx"));
    for (const char *word : words) {
      EXPECT_THAT(backend.error().message, HasSubstr(word));
    }
  }

  std::vector<float> weights;
  std::vector<float> bias;
  std::vector<float> kernel;
  std::vector<float> images;
  std::filesystem::path folder;
};

using Tail = std::function<void(OnnxBuilder &)>;

struct NamedTail {
  const char *name;
  Tail add; ///< from "l" to "y"
};

TEST_F(Onnx, SoftmaxIsAppliedExactlyOnce) {
  const NamedTail tails[] = {
      {"softmax", [](OnnxBuilder &b) { b.node("Softmax", {"l"}, {"y"}).with("axis", 1); }},
      {"softmax of the last axis",
       [](OnnxBuilder &b) { b.node("Softmax", {"l"}, {"y"}).with("axis", -1); }},
      {"softmax of the default axis", [](OnnxBuilder &b) { b.node("Softmax", {"l"}, {"y"}); }},
      {"logits", [](OnnxBuilder &b) { b.node("Identity", {"l"}, {"y"}); }},
      {"log-softmax", [](OnnxBuilder &b) { b.node("LogSoftmax", {"l"}, {"y"}).with("axis", 1); }},
      {"logarithm of a softmax",
       [](OnnxBuilder &b) {
         b.node("Softmax", {"l"}, {"p"}).with("axis", 1).node("Log", {"p"}, {"y"});
       }},
      {"exponential of a log-softmax",
       [](OnnxBuilder &b) {
         b.node("LogSoftmax", {"l"}, {"p"}).with("axis", 1).node("Exp", {"p"}, {"y"});
       }},
      {"softmax, identity",
       [](OnnxBuilder &b) {
         b.node("Softmax", {"l"}, {"p"}).with("axis", 1).node("Identity", {"p"}, {"y"});
       }},
      {"softmax, reshape",
       [](OnnxBuilder &b) {
         b.ints("s", {-1, kClasses});
         b.node("Softmax", {"l"}, {"p"}).with("axis", 1).node("Reshape", {"p", "s"}, {"y"});
       }},
      {"softmax, flatten",
       [](OnnxBuilder &b) {
         b.node("Softmax", {"l"}, {"p"}).with("axis", 1);
         b.node("Flatten", {"p"}, {"y"}).with("axis", 1);
       }},
      {"softmax of four axes, squeeze",
       [](OnnxBuilder &b) {
         b.ints("s", {-1, kClasses, 1, 1}).ints("a", {2, 3});
         b.node("Reshape", {"l", "s"}, {"l4"}).node("Softmax", {"l4"}, {"p"}).with("axis", 1);
         b.node("Squeeze", {"p", "a"}, {"y"});
       }},
      {"softmax, cast",
       [](OnnxBuilder &b) {
         b.node("Softmax", {"l"}, {"p"}).with("axis", 1);
         b.node("Cast", {"p"}, {"y"}).with("to", test::kOnnxFloat);
       }},
      {"softmax times a constant 1",
       [](OnnxBuilder &b) {
         b.floats("one", {1}, {1.0F});
         b.node("Softmax", {"l"}, {"p"}).with("axis", 1).node("Mul", {"p", "one"}, {"y"});
       }},
      {"softmax by its parts",
       [](OnnxBuilder &b) {
         b.ints("a", {1});
         b.node("Exp", {"l"}, {"e"}).node("ReduceSum", {"e", "a"}, {"s"}).with("keepdims", 1);
         b.node("Div", {"e", "s"}, {"y"});
       }},
      {"softmax by its parts, less the largest",
       [](OnnxBuilder &b) {
         b.ints("a", {1});
         b.node("ReduceMax", {"l"}, {"m"}).with("axes", {1}).with("keepdims", 1);
         b.node("Sub", {"l", "m"}, {"d"}).node("Exp", {"d"}, {"e"});
         b.node("ReduceSum", {"e", "a"}, {"s"}).with("keepdims", 1);
         b.node("Div", {"e", "s"}, {"y"});
       }},
      {"softmax by its parts, with a reciprocal",
       [](OnnxBuilder &b) {
         b.ints("a", {1});
         b.node("Exp", {"l"}, {"e"}).node("ReduceSum", {"e", "a"}, {"s"}).with("keepdims", 1);
         b.node("Reciprocal", {"s"}, {"r"}).node("Mul", {"r", "e"}, {"y"});
       }},
      {"log-softmax by its parts",
       [](OnnxBuilder &b) {
         b.ints("a", {1});
         b.node("Exp", {"l"}, {"e"}).node("ReduceSum", {"e", "a"}, {"s"}).with("keepdims", 1);
         b.node("Log", {"s"}, {"g"}).node("Sub", {"l", "g"}, {"y"});
       }},
      {"log-softmax by ReduceLogSumExp",
       [](OnnxBuilder &b) {
         b.node("ReduceLogSumExp", {"l"}, {"g"}).with("axes", {1}).with("keepdims", 1);
         b.node("Sub", {"l", "g"}, {"y"});
       }},
      {"softmax beside operators that lead nowhere",
       [](OnnxBuilder &b) {
         b.node("Softmax", {"l"}, {"y"}).with("axis", 1);
         b.node("Relu", {"l"}, {"z"}).node("Sigmoid", {"y"}, {"z2"});
       }},
      {"mean of two softmaxes",
       [](OnnxBuilder &b) {
         b.floats("half", {1}, {0.5F});
         b.node("Softmax", {"l"}, {"p"}).with("axis", 1);
         b.node("Identity", {"l"}, {"l2"}).node("Softmax", {"l2"}, {"p2"}).with("axis", 1);
         b.node("Add", {"p", "p2"}, {"q"}).node("Mul", {"q", "half"}, {"y"});
       }},
  };
  const std::vector<double> wanted = softmax(logits());
  for (const NamedTail &tail : tails) {
    SCOPED_TRACE(tail.name);
    OnnxBuilder b = dense();
    tail.add(b);
    expect(b, wanted);
  }
}

TEST_F(Onnx, OldOperatorSetsToo) {
  for (const std::int64_t opset : {9, 11, 13, 17}) {
    SCOPED_TRACE(opset);
    OnnxBuilder b = dense(opset);
    b.node("Softmax", {"l"}, {"y"});
    expect(b, softmax(logits()));
  }
}

TEST_F(Onnx, LogitsWithArithmeticStayLogits) {
  std::vector<double> cool = logits();
  std::for_each(cool.begin(), cool.end(), [](double &v) { v /= 2.5; });
  OnnxBuilder b = dense();
  b.floats("t", {1}, {2.5F}).node("Div", {"l", "t"}, {"y"});
  expect(b, softmax(cool));
  OnnxBuilder c;
  c.input("x", {"N", 1, 4, 4}).floats("K", {kClasses, 1, 3, 3}, kernel);
  c.node("Conv", {"x", "K"}, {"c"}).with("kernel_shape", {3, 3}).node("Relu", {"c"}, {"r"});
  c.node("GlobalAveragePool", {"r"}, {"g"}).node("Flatten", {"g"}, {"y"}).with("axis", 1);
  expect(c, softmax(convolved()));
}

// OpenCV 4.6 takes weights for transposed where "transB" is left out (unnoticed if they are square)
// and ignores the factors.
TEST_F(Onnx, EveryGemmIsComputedAsWrittenOrRefused) {
  std::vector<float> square;
  for (std::size_t i = 0; i < kClasses * kClasses; ++i) {
    square.push_back(static_cast<float>(i * 7 % 11) * 0.1F - 0.4F);
  }
  const std::vector<double> l = logits();
  const auto second = [&](bool transposed, bool biased) {
    std::vector<double> out;
    for (std::size_t i = 0; i < kImages; ++i) {
      for (std::size_t k = 0; k < kClasses; ++k) {
        double sum = biased ? static_cast<double>(bias[k]) : 0.0;
        for (std::size_t j = 0; j < kClasses; ++j) {
          sum += l[i * kClasses + j] *
                 static_cast<double>(square[transposed ? k * kClasses + j : j * kClasses + k]);
        }
        out.push_back(sum);
      }
    }
    return softmax(out);
  };
  for (const int trans_b : {-1, 0, 1}) {
    for (const bool biased : {false, true}) {
      SCOPED_TRACE(fmt::format("transB {}, bias {}", trans_b, biased));
      OnnxBuilder b = dense();
      b.floats("S", {kClasses, kClasses}, square);
      biased ? b.node("Gemm", {"l", "S", "B"}, {"y"}) : b.node("Gemm", {"l", "S"}, {"y"});
      if (trans_b >= 0) {
        b.with("transB", trans_b);
      }
      expect(b, second(trans_b == 1, biased));
    }
  }
  OnnxBuilder alpha = dense();
  auto &a = *alpha.node("Gemm", {"l", "S"}, {"y"})
                 .floats("S", {kClasses, kClasses}, square)
                 .model()
                 .mutable_graph()
                 ->mutable_node(2)
                 ->add_attribute();
  a.set_name("alpha");
  a.set_type(1);
  a.set_f(0.5F);
  expect_refused(alpha, {"Gemm", "y_node", "alpha"});
}

TEST_F(Onnx, WhatOpenCvWouldComputeOtherwiseIsRefused) {
  const auto with = [&](const std::function<void(OnnxBuilder &)> &middle,
                        std::initializer_list<const char *> words, std::int64_t opset = 13) {
    SCOPED_TRACE(*words.begin());
    OnnxBuilder b(opset);
    b.input("x", {"N", 1, 4, 4}).floats("K", {4, 1, 3, 3}, std::vector<float>(36, 0.25F));
    middle(b); // from "x" to "m" [N, 4, 4, 4] or [N, 1, 4, 4]
    b.node("GlobalAveragePool", {"m"}, {"g"}).node("Flatten", {"g"}, {"y"}).with("axis", 1);
    expect_refused(b, words);
  };
  with(
      [](OnnxBuilder &b) {
        b.node("Conv", {"x", "K"}, {"m"}).with("kernel_shape", {3, 3});
        b.with_text("auto_pad", "SAME_LOWER");
      },
      {"Conv", "m_node", "SAME_LOWER"});
  with(
      [](OnnxBuilder &b) {
        b.node("Conv", {"x", "K"}, {"q"}).with("kernel_shape", {3, 3}).with("pads", {1, 1, 1, 1});
        b.node("AveragePool", {"q"}, {"m"}).with("kernel_shape", {3, 3}).with("pads", {1, 1, 1, 1});
        b.with("count_include_pad", 1);
      },
      {"AveragePool", "m_node", "count_include_pad"});
  with(
      [](OnnxBuilder &b) {
        b.node("Transpose", {"x"}, {"t"}).with("perm", {0, 1, 3, 2});
        b.node("MatMul", {"x", "t"}, {"q"}).node("Conv", {"q", "K"}, {"m"});
        b.with("kernel_shape", {3, 3});
      },
      {"MatMul", "q_node", "two computed"});
  with(
      [](OnnxBuilder &b) {
        b.node("Softmax", {"x"}, {"q"}).with("axis", 2).node("Conv", {"q", "K"}, {"m"});
        b.with("kernel_shape", {3, 3});
      },
      {"Softmax", "q_node", "middle"}, 11);
}

// Since operator set 13 the default axis is the last one; OpenCV 4.6 keeps to the first.
TEST_F(Onnx, SoftmaxInTheMiddleTakesTheDefaultAxis) {
  OnnxBuilder b;
  b.input("x", {"N", 1, 4, 4}).node("Softmax", {"x"}, {"q"});
  layers(b, "q").node("Softmax", {"l"}, {"y"});
  std::vector<double> wanted;
  for (std::size_t i = 0; i < kImages; ++i) {
    for (std::size_t k = 0; k < kClasses; ++k) {
      double sum = static_cast<double>(bias[k]);
      for (std::size_t p = 0; p < kPixels; ++p) {
        double row = 0;
        for (std::size_t x = 0; x < kSide; ++x) {
          row += std::exp(static_cast<double>(images[i * kPixels + p / kSide * kSide + x]));
        }
        sum += std::exp(static_cast<double>(images[i * kPixels + p])) / row *
               static_cast<double>(weights[p * kClasses + k]);
      }
      wanted.push_back(sum);
    }
  }
  expect(b, softmax(wanted));
}

TEST_F(Onnx, WhatIsNoDistributionIsRefusedByName) {
  struct Case {
    NamedTail tail;
    std::initializer_list<const char *> words;
  };
  const Case cases[] = {
      {{"sigmoid", [](OnnxBuilder &b) { b.node("Sigmoid", {"l"}, {"y"}); }},
       {"Sigmoid", "y_node", "each class"}},
      {{"tanh", [](OnnxBuilder &b) { b.node("Tanh", {"l"}, {"y"}); }}, {"Tanh"}},
      {{"softplus", [](OnnxBuilder &b) { b.node("Softplus", {"l"}, {"y"}); }}, {"Softplus"}},
      {{"exponential", [](OnnxBuilder &b) { b.node("Exp", {"l"}, {"y"}); }}, {"exponential"}},
      {{"custom operator", [](OnnxBuilder &b) { b.node("Softmax", {"l"}, {"y"}, "acme"); }},
       {"acme.Softmax"}},
      {{"percent",
        [](OnnxBuilder &b) {
          b.floats("c", {1}, {100.0F});
          b.node("Softmax", {"l"}, {"p"}).with("axis", 1).node("Mul", {"p", "c"}, {"y"});
        }},
       {"Softmax", "no distribution"}},
      {{"scaled log-softmax",
        [](OnnxBuilder &b) {
          b.floats("c", {1}, {0.5F});
          b.node("LogSoftmax", {"l"}, {"p"}).with("axis", 1).node("Mul", {"p", "c"}, {"y"});
        }},
       {"LogSoftmax", "more behind it"}},
      {{"softmax over the batch",
        [](OnnxBuilder &b) { b.node("Softmax", {"l"}, {"y"}).with("axis", 0); }},
       {"Softmax", "sum to 6"}},
      {{"log-softmax over the batch",
        [](OnnxBuilder &b) { b.node("LogSoftmax", {"l"}, {"y"}).with("axis", 0); }},
       {"LogSoftmax", "sum to 6"}},
      {{"softmax of halves",
        [](OnnxBuilder &b) {
          b.ints("s", {-1, 2, 3}).ints("back", {-1, kClasses});
          b.node("Reshape", {"l", "s"}, {"h"}).node("Softmax", {"h"}, {"p"}).with("axis", 2);
          b.node("Reshape", {"p", "back"}, {"y"});
        }},
       {"Softmax", "sum to 2"}},
      {{"whole numbers",
        [](OnnxBuilder &b) {
          b.node("Softmax", {"l"}, {"p"}).with("axis", 1);
          b.node("Cast", {"p"}, {"i"}).with("to", test::kOnnxInt32);
          b.node("Cast", {"i"}, {"y"}).with("to", test::kOnnxFloat);
        }},
       {"Cast", "i_node"}},
      {{"class numbers",
        [](OnnxBuilder &b) {
          b.node("ArgMax", {"l"}, {"y"}).with("axis", 1);
          b.output("y", {"N", 1}, test::kOnnxInt64);
        }},
       {"'y'", "INT64", "[N, 1]"}},
      {{"two outputs",
        [](OnnxBuilder &b) {
          b.node("Softmax", {"l"}, {"y"}).with("axis", 1);
          b.output("y", {"N", kClasses}).output("l", {"N", kClasses});
        }},
       {"2 outputs", "'y', 'l'"}},
      {{"other number of classes",
        [](OnnxBuilder &b) {
          b.node("Softmax", {"l"}, {"y"}).with("axis", 1).output("y", {"N", 7});
        }},
       {"[N, 7]", "6 classes"}},
      {{"external data",
        [](OnnxBuilder &b) {
          b.node("Softmax", {"l"}, {"y"}).with("axis", 1);
          b.model().mutable_graph()->mutable_initializer(0)->set_data_location(1);
        }},
       {"'W'", "file of their own"}},
  };
  for (const Case &c : cases) {
    SCOPED_TRACE(c.tail.name);
    OnnxBuilder b = dense();
    c.tail.add(b);
    expect_refused(b, c.words);
  }
}

TEST_F(Onnx, DeclaredInputsAreHonoured) {
  const auto nhwc = [&](const OnnxShape &shape) {
    OnnxBuilder b;
    b.input("x", shape).node("Transpose", {"x"}, {"t"}).with("perm", {0, 3, 1, 2});
    return convolution(b, "t");
  };
  const auto nchw = [&](const OnnxShape &shape) {
    OnnxBuilder b;
    b.input("x", shape);
    return convolution(b, "x");
  };
  const std::vector<double> wanted = softmax(convolved());
  for (OnnxBuilder b : {nchw({"N", 1, 4, 4}), nchw({"N", 1, "h", "w"}), nchw({"N", "c", "h", "w"}),
                        nchw({"", "", "", ""}), nchw({1, 1, 4, 4}), nchw({3, 1, 4, 4}),
                        nhwc({"N", 4, 4, 1}), nhwc({"N", 4, 4, "c"}), nhwc({"N", "h", "w", "c"}),
                        nhwc({1, 4, 4, 1}), nhwc({2, 4, 4, 1})}) {
    SCOPED_TRACE(b.model().graph().input(0).SerializeAsString());
    expect(b, wanted);
  }
  for (const OnnxShape &shape : {OnnxShape{"N", 16}, OnnxShape{"N", 4, 4}, OnnxShape{2, 16}}) {
    OnnxBuilder b = dense(13, shape);
    b.node("Softmax", {"l"}, {"y"}).with("axis", 1);
    expect(b, softmax(logits()));
  }
  // Grey levels 0..255, brought to 0..1 by the network itself.
  OnnxBuilder grey;
  grey.input("x", {"N", 1, 4, 4}, test::kOnnxUint8).floats("s", {1}, {1.0F / 255.0F});
  grey.node("Cast", {"x"}, {"xf"}).with("to", test::kOnnxFloat).node("Mul", {"xf", "s"}, {"xs"});
  layers(grey, "xs").node("Softmax", {"l"}, {"y"}).with("axis", 1);
  expect(grey, softmax(logits()));
  for (const std::int32_t type : {test::kOnnxFloat16, test::kOnnxDouble}) {
    OnnxBuilder b;
    b.input("x", {"N", 1, 4, 4}, type).node("Cast", {"x"}, {"xf"}).with("to", test::kOnnxFloat);
    layers(b, "xf").node("Softmax", {"l"}, {"y"}).with("axis", 1);
    expect(b, softmax(logits()));
  }
}

TEST_F(Onnx, OtherInputsAreRefusedByShapeAndType) {
  struct Case {
    OnnxShape shape;
    const char *word;
  };
  for (const Case &c : {Case{{"N", 3, 4, 4}, "[N, 3, 4, 4]"}, Case{{"N", 4, 4, 3}, "[N, 4, 4, 3]"},
                        Case{{"N", 1, 5, 4}, "[N, 1, 5, 4]"}, Case{{"N", 17}, "[N, 17]"},
                        Case{{"N", 1, 1, 4, 4}, "[N, 1, 1, 4, 4]"}, Case{{4, 4, 1}, "[4, 4, 1]"},
                        Case{{16}, "[16]"}, Case{{4096, 16}, "4096"}}) {
    SCOPED_TRACE(c.word);
    OnnxBuilder b = dense(13, c.shape);
    b.node("Softmax", {"l"}, {"y"}).with("axis", 1);
    expect_refused(b, {"'x'", c.word});
  }
  // Names alone do not tell which extent is which, and neither does this transpose.
  OnnxBuilder open = dense(13, {"N", "a", "b", "c"}, "t");
  open.node("Softmax", {"l"}, {"y"}).with("axis", 1);
  auto *nodes = open.model().mutable_graph()->mutable_node();
  open.node("Transpose", {"x"}, {"t"}).with("perm", {0, 2, 3, 1});
  for (int i = nodes->size() - 1; i > 0; --i) {
    nodes->SwapElements(i, i - 1);
  }
  expect_refused(open, {"[N, a, b, c]", "Transpose"});

  OnnxBuilder math = dense(13, {"N", 1, 4, 4}, "x", test::kOnnxUint8);
  math.node("Softmax", {"l"}, {"y"}).with("axis", 1);
  expect_refused(math, {"UINT8", "[N, 1, 4, 4]"});
  OnnxBuilder whole = dense(13, {"N", 1, 4, 4}, "x", test::kOnnxInt32);
  whole.node("Softmax", {"l"}, {"y"}).with("axis", 1);
  expect_refused(whole, {"INT32", "[N, 1, 4, 4]"});
  OnnxBuilder two = dense(13, {"N", 1, 4, 4}, "s");
  two.input("x2", {"N", 1, 4, 4}).node("Add", {"x", "x2"}, {"s"});
  two.node("Softmax", {"l"}, {"y"}).with("axis", 1);
  expect_refused(two, {"2 inputs", "'x', 'x2'"});
}

TEST_F(Onnx, ThreeChannelsLastAreTransposed) {
  // Weights of one layer per channel: the answer shows which plane a value came from.
  OnnxBuilder b;
  b.input("x", {"N", 2, 2, 3}).output("y", {"N", 3});
  b.node("Transpose", {"x"}, {"t"}).with("perm", {0, 3, 1, 2});
  b.node("GlobalAveragePool", {"t"}, {"g"});
  b.floats("W", {3, 3}, {3, 0, 0, 0, 2, 0, 0, 0, 1});
  b.node("Flatten", {"g"}, {"f"}).with("axis", 1).node("MatMul", {"f", "W"}, {"y"});
  const auto bytes = b.bytes();
  const std::string path = (folder / "rgb.onnx").string();
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char *>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  OnnxBackendOptions options;
  options.path = path;
  options.image_shape = {3, 2, 2};
  options.classes = 3;
  auto backend = make_onnx_backend(options);
  ASSERT_TRUE(backend) << backend.error().message;
  const std::vector<float> image{0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F,
                                 0.7F, 0.8F, 0.9F, 1.0F, 0.0F, 0.1F};
  const auto got = (*backend)->classify(image, 1);
  ASSERT_TRUE(got) << got.error().message;
  const double e[3] = {std::exp(3 * 0.25), std::exp(2 * 0.65), std::exp(0.5)};
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR((*got)[k], e[k] / (e[0] + e[1] + e[2]), 1e-5) << k;
  }
}

TEST_F(Onnx, DamagedFilesNeverCrash) {
  OnnxBuilder b = dense();
  b.ints("a", {1});
  b.node("Exp", {"l"}, {"e"}).node("ReduceSum", {"e", "a"}, {"s"}).with("keepdims", 1);
  scores(b.node("Div", {"e", "s"}, {"y"}));
  const auto good = b.bytes();
  const std::vector<std::int64_t> shape{1, kSide, kSide};
  ASSERT_TRUE(read_onnx_classifier(good, "m", shape, kClasses));
  std::mt19937_64 random(7);
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    auto bytes = good;
    for (std::uint64_t k = random() % 4 + 1; k-- > 0;) {
      // Mostly outside of the weights, which are most of the file.
      const std::size_t at = random() % 2 == 0 ? random() % 400 : random() % bytes.size();
      bytes[at % bytes.size()] = static_cast<std::uint8_t>(random());
    }
    if (random() % 8 == 0) {
      bytes.resize(random() % bytes.size());
    }
    const auto read = read_onnx_classifier(bytes, "m", shape, kClasses);
    if (!read) {
      EXPECT_FALSE(read.error().message.empty());
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

} // namespace
} // namespace kestrel::serve
