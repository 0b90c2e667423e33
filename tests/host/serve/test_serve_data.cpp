// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "kestrel/serve/backend.hpp"
#include "kestrel/serve/fashion_mnist.hpp"

namespace kestrel::serve {
namespace {

std::vector<std::uint8_t> idx(const std::vector<std::uint8_t> &shape,
                              const std::vector<std::uint8_t> &data) {
  std::vector<std::uint8_t> bytes{0, 0, 8, static_cast<std::uint8_t>(shape.size())};
  for (const std::uint8_t extent : shape) {
    bytes.insert(bytes.end(), {0, 0, 0, extent});
  }
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

TEST(Idx, ReadsAndRefuses) {
  const auto good = idx({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto array = parse_idx(good, "x");
  ASSERT_TRUE(array) << array.error().message;
  EXPECT_EQ(array->shape, (std::vector<std::size_t>{2, 3}));
  EXPECT_EQ(array->data, (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6}));
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    EXPECT_FALSE(parse_idx(std::span(good).first(cut), "x")) << cut;
  }
  auto longer = good;
  longer.push_back(0);
  EXPECT_FALSE(parse_idx(longer, "x"));
  auto floats = good;
  floats[2] = 0x0D;
  EXPECT_FALSE(parse_idx(floats, "x"));
  auto huge = good;
  huge[4] = huge[8] = 0xFF;
  EXPECT_FALSE(parse_idx(huge, "x"));
  EXPECT_FALSE(parse_idx(idx({0, 3}, {}), "x"));
}

class DataFolder : public ::testing::Test {
protected:
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("kestrel_data_" + std::to_string(::getpid()));
  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  void write(const std::string &name, const std::vector<std::uint8_t> &bytes) const {
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
};

TEST_F(DataFolder, MissingDataNamesThePackage) {
  const auto r = load_fashion_mnist(Split::kTest, folder.string());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, ErrorCode::kNotFound);
  EXPECT_NE(r.error().message.find("apt install dataset-fashion-mnist"), std::string::npos);
}

TEST_F(DataFolder, PlainFilesAndDamage) {
  write("t10k-images-idx3-ubyte", idx({2, 1, 2}, {1, 2, 3, 4}));
  write("t10k-labels-idx1-ubyte", idx({2}, {9, 0}));
  const auto r = load_fashion_mnist(Split::kTest, folder.string());
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(r->count, 2U);
  EXPECT_EQ(r->image(1)[0], 3);
  EXPECT_EQ(r->slice(1, 5).labels, (std::vector<std::uint8_t>{0}));
  write("t10k-labels-idx1-ubyte", idx({2}, {10, 0}));
  EXPECT_FALSE(load_fashion_mnist(Split::kTest, folder.string()));
  write("t10k-labels-idx1-ubyte", idx({1}, {1}));
  EXPECT_FALSE(load_fashion_mnist(Split::kTest, folder.string()));
  write("t10k-labels-idx1-ubyte.gz", {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3}); // cut gzip
  const auto cut = load_fashion_mnist(Split::kTest, folder.string());
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, ErrorCode::kParse);
}

TEST(FashionMnist, DebianPackage) {
  if (!std::filesystem::exists(kFashionMnistDirectory)) {
    GTEST_SKIP() << "the Debian package dataset-fashion-mnist is not installed";
  }
  for (const auto &[split, count] : {std::pair{Split::kTest, 10000U}, {Split::kTrain, 60000U}}) {
    const auto r = load_fashion_mnist(split);
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->count, count);
    EXPECT_EQ(r->image_size(), 784U);
    std::array<unsigned, 10> classes{};
    for (const std::uint8_t label : r->labels) {
      ++classes[label];
    }
    for (const unsigned n : classes) {
      EXPECT_EQ(n, count / 10); // the set is balanced
    }
  }
}

TEST(OnnxBackend, RunsARealModel) {
  const char *data = std::getenv("KESTREL_DATA_DIR");
  const std::filesystem::path path =
      std::filesystem::path(data != nullptr ? data : "../shared/data") /
      "models/onnx_mnist/model.onnx";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << path << " is absent (KESTREL_DATA_DIR)";
  }
  OnnxBackendOptions options;
  options.path = path.string();
  options.name = "mnist";
  auto backend = make_onnx_backend(options);
  ASSERT_TRUE(backend) << backend.error().message;
  EXPECT_EQ((*backend)->info().name, "mnist");
  // A bar in the middle, a one; in a batch of 70 (more than one group) beside blank images.
  std::vector<float> images(70 * 784, 0.0F);
  for (std::size_t row = 4; row < 24; ++row) {
    images[69 * 784 + row * 28 + 13] = images[69 * 784 + row * 28 + 14] = 1.0F;
  }
  const auto p = (*backend)->classify(images, 70);
  ASSERT_TRUE(p) << p.error().message;
  ASSERT_EQ(p->size(), 700U);
  for (std::size_t i = 0; i < 70; ++i) {
    float sum = 0;
    for (std::size_t k = 0; k < 10; ++k) {
      sum += (*p)[10 * i + k];
    }
    EXPECT_NEAR(sum, 1.0F, 1e-4F);
  }
  EXPECT_EQ(std::max_element(p->begin() + 690, p->end()) - (p->begin() + 690), 1);
  EXPECT_FALSE((*backend)->classify(images, 69));
}

TEST_F(DataFolder, BadModelsAreRefusedByName) {
  OnnxBackendOptions options;
  options.path = (folder / "none.onnx").string();
  EXPECT_EQ(make_onnx_backend(options).error().code, ErrorCode::kNotFound);
  write("bad.onnx", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  options.path = (folder / "bad.onnx").string();
  const auto bad = make_onnx_backend(options);
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().message.find("bad.onnx"), std::string::npos);
  write("empty.onnx", {});
  options.path = (folder / "empty.onnx").string();
  EXPECT_FALSE(make_onnx_backend(options));
}

} // namespace
} // namespace kestrel::serve
