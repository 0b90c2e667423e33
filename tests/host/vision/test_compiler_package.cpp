// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Package files and their verification, refusals of the compiler, the device interface.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kestrel/bytes.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/functional_device.hpp"
#include "kestrel/vision/reference.hpp"
#include "tests/host/vision/random_layers.hpp"
#include "vision/compiler/narrow.hpp"

namespace kestrel::hv {
namespace {

using testing::HasSubstr;

const contract::Config &edge() { return *contract::find_config("edge"); }

// conv (its input in two stripes), depthwise with a fused add, classifier, softmax.
Graph sample_graph() {
  test::RandomNetwork net(5, {.max_channels = 12, .max_kernel = 3}, 16, 17, 3);
  net.conv();
  net.quantize();
  const TensorId start = net.now();
  net.relu();
  net.add(start);
  net.fully_connected(10);
  net.softmax();
  return net.finish();
}

Package sample_package() {
  CompileOptions options;
  options.input_stripes = 2;
  auto package = compile(sample_graph(), edge(), options);
  EXPECT_TRUE(package) << package.error().message;
  return *package;
}

std::size_t descriptor_at(const Package &p, std::uint32_t index) {
  return p.descriptor_offset + index * Package::kDescriptorBytes;
}

// Index of the nth descriptor of a kind.
std::uint32_t find(const Package &p, contract::DescOp op, int nth = 0) {
  for (std::uint32_t i = 0; i < p.descriptor_count; ++i) {
    if (contract::desc_op(load_le<std::uint64_t>(p.descriptor(i))) == op && nth-- == 0)
      return i;
  }
  ADD_FAILURE() << "no such descriptor";
  return 0;
}

template <class Desc>
Package with_changed(Package p, std::uint32_t index, const std::function<void(Desc &)> &change) {
  contract::DescWords words{};
  for (std::size_t k = 0; k < words.size(); ++k)
    words[k] = load_le<std::uint64_t>(p.image, descriptor_at(p, index) + 8 * k);
  Desc desc = contract::decode<Desc>(words);
  change(desc);
  EXPECT_EQ(contract::fits(desc), nullptr);
  words = contract::encode(desc);
  for (std::size_t k = 0; k < words.size(); ++k)
    store_le<std::uint64_t>(p.image, descriptor_at(p, index) + 8 * k, words[k]);
  return p;
}

TEST(PackageFile, SurvivesSaveAndLoad) {
  const Package package = sample_package();
  EXPECT_TRUE(package.has_confidence);
  const auto path = std::filesystem::path(testing::TempDir()) / "kestrel_sample.khv";
  ASSERT_TRUE(save_package(package, path.string()));
  const auto loaded = load_package(path.string());
  std::filesystem::remove(path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(*loaded, package);
  const auto absent = load_package(path.string());
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(absent.error().message, HasSubstr("kestrel_sample.khv"));
}

TEST(PackageFile, EveryTruncationIsRefused) {
  const std::vector<std::uint8_t> bytes = serialize(sample_package());
  ASSERT_GT(bytes.size(), 4000U);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto got = parse_package(std::span(bytes).first(n), "cut.khv");
    ASSERT_FALSE(got) << n << " bytes";
    ASSERT_THAT(got.error().message, HasSubstr("cut.khv"));
  }
  std::vector<std::uint8_t> longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(parse_package(longer, "long.khv"));
}

TEST(PackageFile, EveryDamagedByteIsRefused) {
  const std::vector<std::uint8_t> bytes = serialize(sample_package());
  test::Random random(11);
  for (std::size_t n = 0; n < bytes.size(); n += n < 2000 ? 1 : 7) {
    std::vector<std::uint8_t> damaged = bytes;
    damaged[n] = static_cast<std::uint8_t>(damaged[n] ^ random.in(1, 255));
    ASSERT_FALSE(parse_package(damaged, "bad.khv")) << "byte " << n;
  }
}

TEST(PackageFile, OtherVersionsAreNamed) {
  const Package package = sample_package();
  std::vector<std::uint8_t> bytes = serialize(package);
  store_le<std::uint32_t>(bytes, 8, 77);
  auto got = parse_package(bytes, "a.khv");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kVersionMismatch);
  EXPECT_THAT(got.error().message, HasSubstr("package format 77"));

  bytes = serialize(package);
  store_le<std::uint32_t>(bytes, 12, 0x00090003);
  got = parse_package(bytes, "a.khv");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kVersionMismatch);
  EXPECT_THAT(got.error().message, HasSubstr("contract 9.3"));

  Package other = package;
  other.config_name = "huge";
  got = parse_package(serialize(other), "a.khv");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kVersionMismatch);
  EXPECT_THAT(got.error().message, HasSubstr("'huge'"));
}

// Files whose checksums are right but whose contents are not: nothing may crash, and what is
// accepted must run.
TEST(PackageFile, MutatedDescriptorsAreRefusedOrRun) {
  const std::uint64_t seed = test::seed_or(4711);
  fmt::print("KESTREL_SEED={}\n", seed);
  test::Random random(seed);
  const Package package = sample_package();
  const std::vector<std::int8_t> input(package.input.elements(), 3);
  int refused = 0, accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    Package p = package;
    const int flips = random.in(1, 3);
    for (int k = 0; k < flips; ++k) {
      const std::size_t at = descriptor_at(p, static_cast<std::uint32_t>(random.in(
                                                  0, static_cast<int>(p.descriptor_count) - 1))) +
                             static_cast<std::size_t>(random.in(0, 111));
      p.image[at] = static_cast<std::uint8_t>(p.image[at] ^ (1 << random.in(0, 7)));
    }
    FunctionalDevice device(edge(), {});
    if (!device.load(p)) {
      ++refused;
      continue;
    }
    ASSERT_TRUE(device.run(input));
    ++accepted;
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(accepted, 100); // clamps, zero points, pads
}

TEST(PackageVerify, NamesWhatIsWrong) {
  const Package package = sample_package();
  ASSERT_TRUE(verify_package(package));
  const auto refuses = [](const Package &p, const char *what) {
    const auto verified = verify_package(p);
    ASSERT_FALSE(verified) << what;
    EXPECT_THAT(verified.error().message, HasSubstr(what));
  };
  using contract::ComputeDesc;
  using contract::ConfDesc;
  using contract::DescOp;
  using contract::LoadDesc;
  const std::uint32_t load = find(package, DescOp::kLoad, 1);
  const std::uint32_t compute = find(package, DescOp::kCompute, 2);
  const std::uint32_t conf = find(package, DescOp::kConf);
  refuses(with_changed<ComputeDesc>(package, compute, [](auto &d) { d.out_base = 2047; }),
          "ACT_RANGE");
  refuses(with_changed<ComputeDesc>(package, compute, [](auto &d) { d.in_base = 2047; }),
          "ACT_RANGE");
  refuses(with_changed<ComputeDesc>(package, compute, [](auto &d) { d.dep = 0; }), "not wait for");
  refuses(with_changed<ComputeDesc>(package, find(package, DescOp::kCompute, 1),
                                    [](auto &d) { d.wait_load = 1; }),
          "not wait for");
  refuses(with_changed<ComputeDesc>(package, compute, [](auto &d) { d.wait_load = 3; }),
          "come after it");
  refuses(with_changed<ComputeDesc>(package, compute, [](auto &d) { d.wwords += 1; }), "wwords");
  refuses(with_changed<ComputeDesc>(package, compute, [](auto &d) { d.waddr += 64; }),
          "multiple of 128");
  refuses(with_changed<ComputeDesc>(package, compute, [](auto &d) { d.nptile_m1 += 1; }),
          "pixel tiles");
  refuses(with_changed<ComputeDesc>(package, compute, [](auto &d) { d.glog = 3; }), "glog");
  refuses(with_changed<LoadDesc>(package, load, [](auto &d) { d.addr = 1 << 20; }), "region IN");
  refuses(with_changed<LoadDesc>(package, load, [](auto &d) { d.mode = 3; }), "load mode 3");
  refuses(with_changed<LoadDesc>(package, load, [](auto &d) { d.beats += 1; }), "beats");
  refuses(with_changed<ConfDesc>(package, conf, [](auto &d) { d.classes = 0; }), "classes");
  refuses(with_changed<ConfDesc>(package, conf, [](auto &d) { d.wait_compute -= 1; }),
          "not wait for");
  Package reserved = package;
  reserved.image[descriptor_at(package, compute) + 14 * 8] = 1;
  refuses(reserved, "reserved");
  Package opcode = package;
  opcode.image[descriptor_at(package, compute)] = 0x0F;
  refuses(opcode, "BAD_OPCODE");
  Package endless = package;
  endless.descriptor_count -= 1;
  refuses(endless, "END");
}

// Every output-channel tile that the compiler left wide, marked as narrow; and the other way round,
// which costs time only.
TEST(PackageVerify, RefusesNarrowRequantisationThatWouldSaturate) {
  int refused = 0, released = 0;
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    const test::RandomCase c = test::random_layer(seed);
    const auto package = compile(c.graph, edge(), {});
    if (!package)
      continue;
    for (std::uint32_t i = 0; i < package->descriptor_count; ++i) {
      contract::DescWords words{};
      for (std::size_t k = 0; k < words.size(); ++k)
        words[k] = load_le<std::uint64_t>(package->descriptor(i), 8 * k);
      if (contract::desc_op(words[0]) != contract::DescOp::kCompute)
        continue;
      const auto d = contract::decode<contract::ComputeDesc>(words);
      if (d.wnew == 0 || d.depthwise != 0 || d.add != 0)
        continue;
      const std::int64_t tile_words = (2 << d.glog) + 1 + d.kwords;
      for (std::int64_t tile = 0; tile <= d.noct_m1; ++tile) {
        const auto at = static_cast<std::size_t>(d.waddr + tile * tile_words * 32);
        Package changed = *package;
        const bool narrow = (changed.image[at] & 0x80U) != 0;
        changed.image[at] ^= 0x80U;
        const auto verified = verify_package(changed);
        if (narrow) {
          EXPECT_TRUE(verified) << verified.error().message;
          ++released;
        } else {
          ASSERT_FALSE(verified) << "seed " << seed << ", descriptor " << i << ", tile " << tile;
          EXPECT_THAT(verified.error().message, HasSubstr("narrow requantisation"));
          ++refused;
        }
      }
    }
  }
  std::printf("%d wide tiles, %d narrow ones\n", refused, released);
  EXPECT_GT(refused, 10);
  EXPECT_GT(released, 10);
}

TEST(NarrowRequantisation, IsExactUpToTheBound) {
  using compiler::narrow_is_exact;
  using compiler::Requant;
  const auto sums = [](std::int64_t low, std::int64_t high) {
    return compiler::SumRange{low, high};
  };
  constexpr std::int64_t kMin = -131'072, kMax = 131'071, kHalf = std::int64_t{1} << 30;
  // Right shift 8 saturates the byte wherever 18 bits saturate; 9 does not.
  for (const int zero_point : {-128, 0, 127}) {
    EXPECT_TRUE(narrow_is_exact(sums(-(kHalf), kHalf), {kHalf, 8, 0, zero_point, -128, 127}));
    EXPECT_FALSE(narrow_is_exact(sums(2 * kMin, 2 * kMax), {kHalf, 10, 0, zero_point, -128, 127}));
  }
  // Sums of 18 bits, whatever the shift.
  constexpr std::int64_t kOne = 0x7FFFFFFF;
  EXPECT_TRUE(narrow_is_exact(sums(kMin, kMax), {kOne, 15, 0, 0, -128, 127}));
  EXPECT_FALSE(narrow_is_exact(sums(kMin, kMax + 65'536), {kOne, 15, 0, 0, -128, 127}));
  EXPECT_FALSE(narrow_is_exact(sums(kMin - 65'536, kMax), {kOne, 15, 0, 0, -128, 127}));
  // The clamp decides: up to it no result differs.
  EXPECT_TRUE(narrow_is_exact(sums(0, 4 * kMax), {kHalf, 10, 0, -128, -128, -64}));
  EXPECT_FALSE(narrow_is_exact(sums(0, 4 * kMax), {kHalf, 10, 0, -128, -128, -63}));
  // Left shifts and sums beyond int32 are for the wide way.
  EXPECT_FALSE(narrow_is_exact(sums(0, 10), {kHalf, 0, 1, 0, -128, 127}));
  EXPECT_FALSE(narrow_is_exact(sums(0, std::int64_t{1} << 31), {kHalf, 0, 0, 0, -128, 127}));
}

TEST(CompilerRefuses, NamesOperatorAndLimit) {
  const auto refused = [](const Graph &graph, ErrorCode code, const char *what,
                          const CompileOptions &options = {}) {
    const auto package = compile(graph, edge(), options);
    ASSERT_FALSE(package) << what;
    EXPECT_EQ(package.error().code, code) << package.error().message;
    EXPECT_THAT(package.error().message, HasSubstr(what));
  };
  {
    test::RandomNetwork net(1, {.max_side = 6});
    net.fully_connected(10);
    net.softmax();
    net.relu();
    refused(net.finish(), ErrorCode::kUnsupported, "operator 2 (RELU 't");
  }
  {
    test::GraphBuilder b("wide");
    const TensorId in = b.input(2, 3000, 1, 0);
    MaxPool2D p{in, b.activation({1, 1, 1500, 1}, 0), {2, 2, 2, 2, 1, 1}, {}, {}, {}};
    refused(b.finish(b.op("MAX_POOL_2D", p)), ErrorCode::kUnsupported, "2x3000 pixels");
  }
  {
    test::GraphBuilder b("average");
    const TensorId in = b.input(80, 80, 8, 0);
    AveragePool2D p{in, b.activation({1, 1, 1, 8}, 0), {80, 80, 1, 1, 1, 1}, {}, {}, {}};
    refused(b.finish(b.op("AVERAGE_POOL_2D", p)), ErrorCode::kUnsupported, "6400 elements");
  }
  {
    test::GraphBuilder b("reshape");
    const TensorId in = b.input(4, 4, 8, 0);
    MaxPool2D p{in, b.activation({1, 4, 4, 8}, 0), {1, 1, 1, 1, 1, 1}, {}, {}, {}};
    const TensorId pooled = b.op("MAX_POOL_2D", p);
    const TensorId shaped = b.op("RESHAPE", Reshape{pooled, b.activation({1, 2, 2, 32}, 0)});
    MaxPool2D q{shaped, b.activation({1, 1, 1, 32}, 0), {2, 2, 1, 1, 1, 1}, {}, {}, {}};
    refused(b.finish(b.op("MAX_POOL_2D", q)), ErrorCode::kUnsupported, "operator 2 (MAX_POOL_2D");
  }
  {
    test::GraphBuilder b("shift");
    const TensorId in = b.input(4, 4, 8, 0);
    const Quantize p{in, b.activation({1, 4, 4, 8}, 0), 0, 0, {1 << 30, 9}};
    refused(b.finish(b.op("QUANTIZE", p)), ErrorCode::kUnsupported, "shift 9");
  }
  {
    test::GraphBuilder b("features");
    const TensorId in = b.input(64, 64, 8, 0);
    FullyConnected p;
    p.input = in;
    p.in_features = 64 * 64 * 8;
    p.out_features = 2;
    p.weights = b.weights({2, p.in_features}, std::vector<std::int8_t>(65536, 1));
    p.output = b.activation({1, 2}, 0);
    p.requant.assign(2, {1 << 30, -10});
    refused(b.finish(b.op("FULLY_CONNECTED", p)), ErrorCode::kResourceLimit,
            "operator 0 (FULLY_CONNECTED 't");
  }
}

TEST(Device, RefusesWhatItCannotRun) {
  EXPECT_EQ(make_device("abacus", "edge").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(make_device("fast", "huge").error().code, ErrorCode::kNotFound);
  auto device = make_device("fast", "edge");
  ASSERT_TRUE(device);
  EXPECT_EQ((*device)->name(), "fast");
  EXPECT_EQ((*device)->clock().basis, "assumed");
  EXPECT_EQ((*device)->run({}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ((*device)->set_threshold(65537, ConfidenceMode::kTop1).error().code,
            ErrorCode::kInvalidArgument);
  const Package package = sample_package();
  auto other = make_device("fast", "kria");
  ASSERT_TRUE(other);
  EXPECT_EQ((*other)->load(package).error().code, ErrorCode::kVersionMismatch);
  ASSERT_TRUE((*device)->load(package));
  const std::vector<std::int8_t> input(package.input.elements() + 1);
  EXPECT_EQ((*device)->run(input).error().code, ErrorCode::kShapeMismatch);
}

TEST(Device, ThresholdDecidesConfidence) {
  const Graph graph = sample_graph();
  const Package package = sample_package();
  auto device = make_device("fast", "edge");
  ASSERT_TRUE(device);
  ASSERT_TRUE((*device)->load(package));
  const auto input = test::random_input(graph, 3);
  const auto first = (*device)->run(input);
  ASSERT_TRUE(first);
  ASSERT_TRUE(first->confidence);
  EXPECT_TRUE(first->confidence->confident); // threshold 0
  for (const auto mode : {ConfidenceMode::kTop1, ConfidenceMode::kMargin}) {
    const std::uint32_t value =
        mode == ConfidenceMode::kTop1 ? first->confidence->p1_q16 : first->confidence->margin_q16;
    for (const std::uint32_t threshold : {value, value + 1}) {
      ASSERT_TRUE((*device)->set_threshold(threshold, mode));
      const auto got = (*device)->run(input);
      ASSERT_TRUE(got);
      EXPECT_EQ(got->confidence->confident, threshold == value);
      EXPECT_EQ(got->output, first->output);
    }
  }
}

// The initial contents of activation memory must not show.
TEST(Device, ResultsDoNotDependOnUninitialisedMemory) {
  for (std::uint64_t i = 0; i < 40; ++i) {
    const test::RandomCase random = test::random_network(900 + i);
    const auto package = compile(random.graph, edge());
    ASSERT_TRUE(package) << package.error().message;
    const auto input = test::random_input(random.graph, i);
    std::vector<std::int8_t> outputs[2];
    for (std::uint64_t k = 0; k < 2; ++k) {
      DeviceOptions options;
      options.seed = 10 + k;
      FunctionalDevice device(edge(), options);
      ASSERT_TRUE(device.load(*package));
      outputs[k] = device.run(input)->output;
    }
    ASSERT_EQ(outputs[0], outputs[1]) << random.description;
  }
}

} // namespace
} // namespace kestrel::hv
