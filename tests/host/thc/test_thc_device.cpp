// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Every THC device against the integer reference, bit for bit, on random sizes, tables, keys and
// values; what devices refuse, and how they say it. The same cases run on each device.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kestrel/thc/device.hpp"
#include "kestrel/thc/roundtrip.hpp"
#include "sw_ref/thc/codec.hpp"
#include "sw_ref/thc/fixed.hpp"

namespace kestrel::thc {
namespace {

using testing::HasSubstr;

std::uint64_t seed() {
  const char *text = std::getenv("KESTREL_SEED");
  const std::uint64_t value = text != nullptr ? std::strtoull(text, nullptr, 0) : 1;
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(value));
  return value;
}

using Rng = std::mt19937_64;

ref::Table random_table(Rng &rng, unsigned workers) {
  ref::Table table;
  table.bits = 1 + static_cast<unsigned>(rng() % 4);
  const unsigned entries = 1U << table.bits;
  const unsigned most = std::min(255U, ref::kMaxSum / workers);
  table.granularity = entries - 1 + static_cast<unsigned>(rng() % (most - entries + 2));
  std::vector<bool> used(table.granularity + 1, false);
  used[0] = used[table.granularity] = true;
  for (unsigned n = 2; n < entries;)
    if (const std::size_t v = rng() % table.granularity; !used[v]) {
      used[v] = true;
      ++n;
    }
  table.values.clear();
  for (std::size_t v = 0; v < used.size(); ++v)
    if (used[v])
      table.values.push_back(static_cast<std::uint8_t>(v));
  table.t = 1.0 + static_cast<double>(rng() % 2900) / 1000.0;
  return table;
}

// Coordinates of very different sizes, with zeros and subnormal numbers among them.
std::vector<float> random_gradient(Rng &rng, std::size_t n, float scale = 1.0F) {
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float &v : x) {
    v = normal(rng) * scale;
    if (rng() % 16 == 0)
      v = std::ldexp(v, static_cast<int>(rng() % 40) - 30);
    if (rng() % 64 == 0)
      v = rng() % 2 == 0 ? 0.0F : std::ldexp(v, -140);
  }
  return x;
}

std::vector<std::uint32_t> bits_of(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float v : values)
    result.push_back(std::bit_cast<std::uint32_t>(v));
  return result;
}

std::vector<float> added(std::span<const float> x, std::span<const float> e) {
  std::vector<float> y(x.begin(), x.end());
  for (std::size_t i = 0; i < y.size(); ++i)
    y[i] = ref::add_ftz(x[i], e.empty() ? 0.0F : e[i]);
  return y;
}

struct Kind {
  const char *device;
  double stall;
};
void PrintTo(const Kind &k, std::ostream *out) { *out << k.device << " stall " << k.stall; }

class ThcDevice : public testing::TestWithParam<Kind> {
protected:
  ThcDevice() : rng(seed()) {
    DeviceOptions options;
    options.seed = rng();
    options.stall_probability = GetParam().stall;
    auto made = make_device(GetParam().device, options);
    if (made)
      device = std::move(*made);
  }
  void SetUp() override {
    ASSERT_NE(device, nullptr);
    EXPECT_EQ(device->name(), GetParam().device);
  }
  [[nodiscard]] bool simulated() const { return std::string(GetParam().device) == "rtl"; }
  void check(const Counters &counters) const {
    EXPECT_EQ(counters.cycles_known, simulated());
    EXPECT_GT(counters.commands, 0U);
    EXPECT_EQ(counters.cycles > 0, simulated());
    EXPECT_EQ(counters.in_beats > 0, simulated());
  }

  Rng rng;
  std::unique_ptr<Device> device;
};

TEST_P(ThcDevice, EqualsTheReference) {
  for (int trial = 0; trial < 8; ++trial) {
    const int k = trial == 0 ? 15 : 10 + static_cast<int>(rng() % 4);
    const std::size_t block = std::size_t{1} << k;
    const std::size_t blocks = trial == 0 ? 1 : 1 + rng() % (std::size_t{1} << (14 - k));
    const std::size_t n = block * blocks;
    const unsigned workers = 1 + static_cast<unsigned>(rng() % 5);
    Coding coding;
    coding.table = random_table(rng, workers);
    coding.block_log2 = k;
    coding.first = rng() % 3 == 0 ? rng() & ~std::uint64_t{1023} : (rng() % 100) * 1024;
    coding.sign_key = {static_cast<std::uint32_t>(rng()), static_cast<std::uint32_t>(rng())};
    const bool bf16 = rng() % 3 == 0;
    const bool error_in = rng() % 2 == 0;
    SCOPED_TRACE(testing::Message()
                 << "2^" << k << " x " << blocks << ", " << workers << " workers, g "
                 << coding.table.granularity << ", bits " << coding.table.bits
                 << (bf16 ? ", bf16" : "") << (error_in ? ", error in" : ""));

    std::vector<std::vector<float>> y;
    std::vector<std::vector<float>> x, e;
    std::vector<std::vector<std::uint16_t>> x16;
    std::vector<float> largest(blocks, 0.0F);
    for (unsigned w = 0; w < workers; ++w) {
      x.push_back(random_gradient(rng, n, std::ldexp(1.0F, static_cast<int>(rng() % 40) - 20)));
      x16.emplace_back();
      if (bf16)
        for (float &v : x.back()) {
          x16.back().push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(v) >> 16));
          v = ref::from_bf16(x16.back().back());
        }
      e.push_back(error_in ? random_gradient(rng, n, 0.1F) : std::vector<float>{});
      y.push_back(added(x.back(), e.back()));
      const Gradient gradient{.fp32 = bf16 ? std::span<const float>{} : x.back(),
                              .bf16 = x16.back(),
                              .error = e.back()};
      const auto own = device->norm(gradient, k);
      ASSERT_TRUE(own) << own.error().message;
      const auto both = device->norm(gradient, k, largest);
      ASSERT_TRUE(both) << both.error().message;
      check(own->counters);
      for (std::size_t b = 0; b < blocks; ++b) {
        const float norm = ref::block_norm(std::span(y.back()).subspan(b * block, block));
        EXPECT_EQ(own->values[b], norm) << "block " << b;
        EXPECT_EQ(both->values[b], std::max(norm, largest[b])) << "block " << b;
      }
      largest = both->values;
    }
    std::vector<ref::BlockScale> scales;
    scales.reserve(largest.size());
    for (const float norm : largest)
      scales.push_back(ref::make_scale(norm, coding.table));

    std::vector<std::vector<std::uint8_t>> packed;
    for (unsigned w = 0; w < workers; ++w) {
      coding.noise_key = {static_cast<std::uint32_t>(rng()), static_cast<std::uint32_t>(rng())};
      const bool error_out = rng() % 2 == 0;
      const auto got = device->compress(
          {.fp32 = bf16 ? std::span<const float>{} : x[w], .bf16 = x16[w], .error = e[w]}, scales,
          coding, error_out);
      ASSERT_TRUE(got) << got.error().message;
      check(got->counters);
      std::vector<std::uint8_t> indices;
      std::vector<float> error;
      bool out_of_range = false;
      for (std::size_t b = 0; b < blocks; ++b) {
        const auto part =
            ref::compress_block(std::span(y[w]).subspan(b * block, block), scales[b], coding.table,
                                coding.sign_key, coding.noise_key, coding.first + b * block);
        indices.insert(indices.end(), part.indices.begin(), part.indices.end());
        error.insert(error.end(), part.error.begin(), part.error.end());
        out_of_range = out_of_range || part.flags.out_of_range;
      }
      EXPECT_TRUE(got->packed == ref::pack_nibbles(indices)) << "worker " << w;
      if (error_out) {
        EXPECT_TRUE(bits_of(got->error) == bits_of(error)) << "worker " << w;
        EXPECT_EQ(got->out_of_range, out_of_range);
      } else {
        EXPECT_TRUE(got->error.empty());
      }
      packed.push_back(got->packed);
    }

    const std::vector<std::span<const std::uint8_t>> parts(packed.begin(), packed.end());
    const unsigned bits = rng() % 2 == 0 ? 0 : 16;
    const auto sums = device->aggregate(parts, coding.table, k, bits);
    ASSERT_TRUE(sums) << sums.error().message;
    check(sums->counters);
    EXPECT_EQ(sums->bits, bits == 0 ? sum_bits(workers, coding.table.granularity) : bits);
    std::vector<std::uint32_t> expected(n, 0);
    for (const auto &bytes : packed)
      ref::aggregate(ref::unpack_nibbles(bytes), coding.table, expected);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), sums->values.begin()));
    EXPECT_EQ(sums->contributors,
              std::vector<std::uint8_t>(n / 1024, static_cast<std::uint8_t>(workers)));

    // Some packets missing, some with contributions of their own number.
    std::vector<std::uint16_t> kept = sums->values;
    std::vector<std::uint8_t> contributors = sums->contributors;
    for (std::size_t p = 0; p < contributors.size(); ++p) {
      if (rng() % 4 != 0)
        continue;
      contributors[p] = static_cast<std::uint8_t>(rng() % (workers + 1));
      for (std::size_t i = 0; i < 1024; ++i)
        kept[p * 1024 + i] = static_cast<std::uint16_t>(
            contributors[p] == 0 ? 0 : rng() % (contributors[p] * coding.table.granularity + 1));
    }
    const auto mean = device->decompress(kept, sums->bits, contributors, scales, coding);
    ASSERT_TRUE(mean) << mean.error().message;
    check(mean->counters);
    const std::vector<std::uint32_t> wide(kept.begin(), kept.end());
    ref::Flags flags;
    for (std::size_t b = 0; b < blocks; ++b) {
      const auto part = ref::decompress_block(
          std::span(wide).subspan(b * block, block),
          std::span(contributors).subspan(b * block / 1024, block / 1024), scales[b], coding.table,
          coding.sign_key, coding.first + b * block, flags);
      EXPECT_TRUE(bits_of(part) == bits_of(std::span(mean->values).subspan(b * block, block)))
          << "block " << b;
    }
    EXPECT_EQ(mean->out_of_range, flags.out_of_range);
  }
}

TEST_P(ThcDevice, ManyWorkers) {
  const unsigned workers = 255;
  ref::Table table; // g = 30: 7650 at most
  std::vector<std::vector<std::uint8_t>> packed(workers, std::vector<std::uint8_t>(512));
  std::vector<std::uint32_t> expected(1024, 0);
  for (auto &bytes : packed) {
    for (auto &byte : bytes)
      byte = static_cast<std::uint8_t>(rng());
    ref::aggregate(ref::unpack_nibbles(bytes), table, expected);
  }
  const std::vector<std::span<const std::uint8_t>> parts(packed.begin(), packed.end());
  const auto sums = device->aggregate(parts, table, 10);
  ASSERT_TRUE(sums) << sums.error().message;
  EXPECT_EQ(sums->bits, 16U);
  EXPECT_EQ(sums->contributors, std::vector<std::uint8_t>{255});
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), sums->values.begin()));
}

TEST_P(ThcDevice, NonfiniteIsNamed) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kMax = std::numeric_limits<float>::max();
  const std::vector<ref::BlockScale> scales(2, ref::make_scale(1.0F, ref::Table{}));
  Coding coding;
  coding.block_log2 = 10;
  struct Case {
    std::size_t at;
    float x, e;
    std::vector<std::string> words;
  };
  for (const Case &c : {Case{0, kNan, 0, {"coordinate 0 ", "NaN"}},
                        Case{2047, kInf, 0, {"coordinate 2047 ", "infinite"}},
                        Case{1025, -kInf, 0, {"coordinate 1025 ", "infinite"}},
                        Case{77, 0, kNan, {"feedback", "coordinate 77 ", "NaN"}},
                        Case{1999, kMax, kMax, {"coordinate 1999 ", "infinity"}}}) {
    std::vector<float> x = random_gradient(rng, 2048);
    std::vector<float> e = random_gradient(rng, 2048);
    x[c.at] = c.x;
    e[c.at] = c.e;
    if (c.at + 5 < x.size())
      x[c.at + 5] = kNan; // a later one is not the first
    const auto norm = device->norm({.fp32 = x, .error = e}, 10);
    const auto compressed = device->compress({.fp32 = x, .error = e}, scales, coding, true);
    ASSERT_FALSE(norm);
    ASSERT_FALSE(compressed);
    EXPECT_EQ(norm.error().code, ErrorCode::kInvalidArgument);
    for (const std::string &word : c.words) {
      EXPECT_THAT(norm.error().message, HasSubstr(word));
      EXPECT_THAT(compressed.error().message, HasSubstr(word));
    }
    // The device works on.
    EXPECT_TRUE(device->norm({.fp32 = std::vector<float>(1024, 1.0F)}, 10));
  }
}

TEST_P(ThcDevice, RefusesByName) {
  const std::vector<float> x(1024, 1.0F);
  const std::vector<ref::BlockScale> scales(1, ref::make_scale(32.0F, ref::Table{}));
  const std::vector<std::uint8_t> packed(512), other(256);
  Coding coding;
  coding.block_log2 = 10;
  const auto refused = [](const auto &result, ErrorCode code, const std::string &word) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_THAT(result.error().message, HasSubstr(word));
  };
  refused(device->norm({.fp32 = x}, 9), ErrorCode::kInvalidArgument, "2^9");
  refused(device->norm({.fp32 = x}, 11), ErrorCode::kShapeMismatch, "1024");
  refused(device->norm({}, 10), ErrorCode::kShapeMismatch, "0 coordinates");
  refused(device->norm({.fp32 = x, .error = std::span(x).first(5)}, 10), ErrorCode::kShapeMismatch,
          "error feedback");
  refused(device->compress({.fp32 = x}, {}, coding, false), ErrorCode::kShapeMismatch, "scales");
  Coding five = coding;
  five.table.bits = 5;
  five.table.values.assign(32, 0);
  refused(device->compress({.fp32 = x}, scales, five, false), ErrorCode::kUnsupported, "5 bits");
  Coding falling = coding;
  falling.table.values[3] = 1;
  refused(device->compress({.fp32 = x}, scales, falling, false), ErrorCode::kInvalidArgument,
          "ascend");
  Coding odd = coding;
  odd.first = 512;
  refused(device->compress({.fp32 = x}, scales, odd, false), ErrorCode::kInvalidArgument, "512");
  refused(device->aggregate({}, coding.table, 10), ErrorCode::kInvalidArgument, "contributor");
  const std::vector<std::span<const std::uint8_t>> uneven = {packed, other};
  refused(device->aggregate(uneven, coding.table, 10), ErrorCode::kShapeMismatch, "contributor 1");
  const std::vector<std::span<const std::uint8_t>> many(300, packed);
  refused(device->aggregate(many, coding.table, 10), ErrorCode::kInvalidArgument, "300 workers");
  const std::vector<std::span<const std::uint8_t>> nine(9, packed);
  refused(device->aggregate(nine, coding.table, 10, 8), ErrorCode::kInvalidArgument, "255");
  ref::Table two;
  two.bits = 2;
  two.values = {0, 10, 20, 30};
  std::vector<std::uint8_t> beyond(512);
  beyond[7] = 0x04;
  const std::vector<std::span<const std::uint8_t>> bad = {packed, beyond};
  refused(device->aggregate(bad, two, 10), ErrorCode::kInvalidArgument,
          "contributor 1, coordinate 15: index 4");
  const std::vector<std::uint16_t> sums(1024, 61);
  const std::vector<std::uint8_t> contributors(1, 2);
  refused(device->decompress(sums, 8, contributors, scales, coding), ErrorCode::kInvalidArgument,
          "sum of 61");
  refused(device->decompress(sums, 12, contributors, scales, coding), ErrorCode::kInvalidArgument,
          "12 bits");
  refused(make_device("fpga"), ErrorCode::kNotFound, "fpga");
}

double nmse(std::span<const float> got, std::span<const float> exact) {
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - static_cast<double>(exact[i]), 2);
    power += std::pow(static_cast<double>(exact[i]), 2);
  }
  return power == 0 ? error : error / power;
}

// Any length, any number of workers; the error is what the table promises, not more.
TEST_P(ThcDevice, RoundTripOfAnyShape) {
  struct Shape {
    std::size_t workers, d;
    std::vector<unsigned> contributors;
  };
  for (const Shape &s : {Shape{1, 1, {}}, Shape{3, 1000, {}}, Shape{2, 1025, {1}},
                         Shape{4, 5000, {3, 0, 2}}, Shape{2, 40000, {}}}) {
    std::normal_distribution<float> normal;
    std::vector<float> x(s.workers * s.d);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = normal(rng);
    std::vector<unsigned> who = s.contributors;
    if (who.empty())
      for (unsigned w = 0; w < s.workers; ++w)
        who.push_back(w);
    std::vector<float> exact(s.d, 0.0F);
    for (std::size_t i = 0; i < s.d; ++i)
      for (const unsigned w : who)
        exact[i] += x[w * s.d + i] / static_cast<float>(who.size());
    RoundTripOptions options;
    options.contributors = s.contributors;
    options.seed = rng();
    std::size_t told = 0;
    options.progress = [&](std::string_view, std::size_t done, std::size_t total) {
      EXPECT_EQ(done, ++told);
      EXPECT_EQ(total, 2 * who.size() + 2);
    };
    const auto trip = round_trip(*device, x, s.workers, options);
    ASSERT_TRUE(trip) << trip.error().message;
    EXPECT_EQ(told, 2 * who.size() + 2);
    EXPECT_EQ(trip->mean.size(), s.d);
    EXPECT_EQ(trip->padded % 1024, 0U);
    EXPECT_EQ(trip->sums.size(), trip->padded);
    EXPECT_EQ(trip->packed.size(), s.workers * trip->padded / 2);
    EXPECT_EQ(trip->contributors, who.size());
    EXPECT_EQ(trip->bytes_up, trip->padded / 2 + 4 * trip->blocks.size());
    // d = 1 is one spike, spread over its block: what is clamped and rounded there is in all of it.
    EXPECT_LT(nmse(trip->mean, exact), s.d == 1 ? 2.0 : 0.05) << s.workers << " x " << s.d;
  }
}

TEST_P(ThcDevice, RoundTripOfZerosAndRefusals) {
  std::vector<float> x(3 * 2000, 0.0F);
  const auto zeros = round_trip(*device, x, 3, {});
  ASSERT_TRUE(zeros) << zeros.error().message;
  for (const float v : zeros->mean)
    EXPECT_EQ(v, 0.0F);
  const auto refused = [&](std::size_t workers, const RoundTripOptions &options,
                           const std::string &word) {
    const auto result = round_trip(*device, x, workers, options);
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error().message, HasSubstr(word));
  };
  refused(0, {}, "0 workers");
  refused(7, {}, "7 workers");
  RoundTripOptions options;
  options.contributors = {0, 3};
  refused(3, options, "contributor 3");
  options.contributors = {1, 2, 1};
  refused(3, options, "twice");
  options.contributors = {};
  options.block_log2 = 16;
  refused(3, options, "2^16");
  options.block_log2 = 15;
  options.sum_bits = 8;
  options.table.granularity = 100;
  options.table.values.back() = 100;
  refused(3, options, "255");
  x[2 * 2000 + 1500] = std::numeric_limits<float>::quiet_NaN();
  refused(3, {}, "worker 2: coordinate 1500 is NaN");
  // A worker that does not contribute is not looked at.
  options = {};
  options.contributors = {0, 1};
  EXPECT_TRUE(round_trip(*device, x, 3, options));
  std::fill(x.begin(), x.end(), std::numeric_limits<float>::max());
  refused(3, {}, "exceeds fp32");
}

INSTANTIATE_TEST_SUITE_P(All, ThcDevice,
                         testing::Values(Kind{"fast", 0.0}, Kind{"rtl", 0.0}, Kind{"rtl", 0.25}),
                         [](const auto &param) {
                           return std::string(param.param.device) +
                                  (param.param.stall > 0 ? "_stalled" : "");
                         });

// A tensor of more than one command: 2^20 coordinates, or 1024 blocks, are the most of one.
TEST(ThcCommands, LongTensorsBecomeSeveral) {
  auto device = make_device("fast");
  ASSERT_TRUE(device);
  const std::size_t n = (std::size_t{1} << 20) + 3072;
  std::vector<float> x(n);
  std::mt19937 rng(7);
  std::normal_distribution<float> normal;
  for (float &v : x)
    v = normal(rng);
  const auto norms = (*device)->norm({.fp32 = x}, 10);
  ASSERT_TRUE(norms) << norms.error().message;
  EXPECT_EQ(norms->counters.commands, 2U);
  std::vector<ref::BlockScale> scales;
  for (const float norm : norms->values)
    scales.push_back(ref::make_scale(norm, ref::Table{}));
  Coding coding;
  coding.block_log2 = 10;
  coding.sign_key = {1, 2};
  coding.noise_key = {3, 4};
  const auto packed = (*device)->compress({.fp32 = x}, scales, coding, false);
  ASSERT_TRUE(packed);
  const std::size_t last = n - 1024;
  EXPECT_EQ(norms->values.back(), ref::block_norm(std::span(x).subspan(last)));
  const auto block = ref::compress_block(std::span(x).subspan(last), scales.back(), ref::Table{},
                                         {1, 2}, {3, 4}, last);
  EXPECT_TRUE(std::equal(packed->packed.end() - 512, packed->packed.end(),
                         ref::pack_nibbles(block.indices).begin()));
  x[n - 3] = std::numeric_limits<float>::infinity();
  const auto bad = (*device)->norm({.fp32 = x}, 10);
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr(std::to_string(n - 3)));
}

} // namespace
} // namespace kestrel::thc
