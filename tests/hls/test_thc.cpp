// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// C simulation of the THC kernels for high-level synthesis against the integer reference, bit for
// bit.
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>

#include <gtest/gtest.h>

#include "hls/thc_aggregate/thc_aggregate.hpp"
#include "hls/thc_hadamard/thc_hadamard.hpp"
#include "hls/thc_quantise/thc_quantise.hpp"
#include "tests/hls/thc_tops.hpp"

namespace kestrel {
namespace {

using hls_test::below;
using hls_test::Engine;
using hls_test::random_fixed;
using hls_test::random_table;

Engine engine() {
  const char *text = std::getenv("KESTREL_SEED");
  const std::uint64_t seed =
      text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 0) : std::random_device{}();
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return Engine(seed);
}

TEST(HlsThcQuantise, EqualsReference) {
  Engine random = engine();
  using Config = hls::ThcQuantiseConfig<16>;
  std::size_t inner = 0;
  std::size_t up = 0;
  for (int n = 0; n < 40'000; ++n) {
    const thc::ref::Table table = n % 2 == 0 ? thc::ref::Table{} : random_table(random);
    const int k = 10 + static_cast<int>(below(random, 6));
    const auto scale =
        thc::ref::make_scale(std::uniform_real_distribution<float>(1.0F, 2.0F)(random), table);
    hls::ThcQuantiseBlock block{};
    block.block_log2 = static_cast<std::uint8_t>(k);
    block.gain = scale.gain;
    block.granularity = static_cast<std::uint8_t>(table.granularity);
    block.entries = static_cast<std::uint8_t>(table.values.size());
    for (auto &v : block.values)
      v = static_cast<std::uint8_t>(random());
    std::copy(table.values.begin(), table.values.end(), block.values);
    hls::ThcQuantiseIn<Config> in{};
    for (int i = 0; i < Config::kLanes; ++i) {
      in.value[i] = i == 0 ? -(1 << 26) : i == 1 ? (1 << 26) - 1 : random_fixed(random);
      in.noise[i] = static_cast<std::uint16_t>(i == 2 ? 0 : i == 3 ? 65535 : random());
    }
    const auto out = hls::thc_quantise_beat<Config>(in, block);
    for (int i = 0; i < Config::kLanes; ++i) {
      const unsigned want = thc::ref::quantise(in.value[i], k, scale, table, in.noise[i]);
      ASSERT_EQ(out.index[i], want) << in.value[i] << " noise " << in.noise[i] << " k " << k;
      inner += want != 0 && want + 1 < table.values.size();
      up += want != thc::ref::quantise(in.value[i], k, scale, table, 65535);
    }
  }
  EXPECT_GT(inner, 50'000U);
  EXPECT_GT(up, 20'000U);
}

template <int LanesLog2> void check_hadamard(Engine &random, int k, bool large) {
  using Config = hls::ThcHadamardConfig<LanesLog2, 15>;
  const std::size_t n = std::size_t{1} << k;
  constexpr std::size_t kBlocks = 3;
  std::vector<std::int32_t> input(kBlocks * n);
  for (auto &v : input)
    v = large ? random_fixed(random)
              : static_cast<std::int32_t>(below(random, 1U << 20)) - (1 << 19);
  std::vector<std::int32_t> want = input;
  bool want_overflow = false;
  for (std::size_t b = 0; b < kBlocks; ++b)
    thc::ref::hadamard(std::span(want).subspan(b * n, n), want_overflow);

  const auto state = std::make_unique<hls::ThcHadamardState<Config>>();
  std::vector<std::int32_t> got;
  bool overflow = false;
  const std::size_t beats = input.size() / Config::kLanes;
  const std::size_t delay = n / Config::kLanes - 1;
  for (std::size_t beat = 0; beat < beats + delay; ++beat) {
    hls::ThcHadamardBeat<Config> in{};
    for (std::size_t i = 0; i < Config::kLanes; ++i)
      in.value[i] = beat < beats ? input[beat * Config::kLanes + i] : 0;
    const auto out = hls::thc_hadamard_step<Config>(*state, in, k, overflow);
    if (beat >= delay)
      got.insert(got.end(), out.value, out.value + Config::kLanes);
  }
  ASSERT_EQ(got, want) << Config::kLanes << " lanes, k " << k;
  EXPECT_EQ(overflow, want_overflow) << Config::kLanes << " lanes, k " << k;
  EXPECT_EQ(overflow, large);
}

TEST(HlsThcHadamard, EqualsReference) {
  Engine random = engine();
  for (int k = 10; k <= 15; ++k)
    for (const bool large : {false, true}) {
      check_hadamard<0>(random, k, large);
      check_hadamard<1>(random, k, large);
      check_hadamard<4>(random, k, large);
      check_hadamard<6>(random, k, large);
    }
}

template <int Lanes, int SumBits> void check_aggregate(Engine &random) {
  using Config = hls::ThcAggregateConfig<Lanes, SumBits>;
  std::size_t refused = 0;
  std::size_t bad = 0;
  for (int n = 0; n < 300; ++n) {
    const thc::ref::Table table = random_table(random);
    const auto entries = static_cast<std::uint32_t>(table.values.size());
    hls::ThcAggregateTable kernel_table{};
    kernel_table.granularity = static_cast<std::uint8_t>(table.granularity);
    kernel_table.entries = static_cast<std::uint8_t>(entries);
    for (auto &v : kernel_table.values)
      v = static_cast<std::uint8_t>(random());
    std::copy(table.values.begin(), table.values.end(), kernel_table.values);
    hls::ThcSums<Config> sums{}; // garbage that the first contribution must not see
    sums.contributors = static_cast<std::uint8_t>(random());
    for (auto &s : sums.sum)
      s = static_cast<std::uint16_t>(random());
    std::vector<std::uint32_t> want(Lanes);
    const std::uint32_t most = std::min(255U, Config::kMaxSum / table.granularity);
    for (std::uint32_t worker = 0; worker < std::min(most + 2, 40U + n % 2 * 256U); ++worker) {
      hls::ThcIndices<Config> in{};
      in.first = worker == 0;
      std::vector<std::uint8_t> indices(Lanes);
      unsigned beyond = 0;
      for (std::size_t i = 0; i < Lanes; ++i) {
        in.index[i] = static_cast<std::uint8_t>(below(random, n % 3 == 0 ? 16 : entries));
        indices[i] = static_cast<std::uint8_t>(in.index[i] % entries);
        beyond += in.index[i] >= entries;
      }
      const auto out = hls::thc_aggregate_beat<Config>(sums, in, kernel_table);
      sums = out.sums;
      const bool fits = worker < most;
      ASSERT_EQ(out.refused, !fits) << worker << " of " << most;
      if (fits)
        thc::ref::aggregate(indices, table, want);
      ASSERT_EQ(out.bad_index, fits ? beyond : 0U);
      ASSERT_EQ(sums.contributors, std::min(worker + 1, most));
      for (std::size_t i = 0; i < Lanes; ++i)
        ASSERT_EQ(sums.sum[i], want[i]);
      refused += !fits;
      bad += out.bad_index;
    }
  }
  EXPECT_GT(refused, 50U);
  EXPECT_GT(bad, 50U);
}

TEST(HlsThcAggregate, EqualsReference) {
  Engine random = engine();
  check_aggregate<128, 16>(random);
  check_aggregate<16, 8>(random);
  check_aggregate<1, 16>(random);
}

TEST(HlsThcTops, EqualReference) {
  // The functions that a tool synthesizes, on the calls that run_bambu.py replays on the result.
  Engine random = engine();
  const auto at = [](const hls_test::Call &call, std::size_t i) { return call.ports[i].second; };
  std::size_t overflows = 0;
  std::size_t refused = 0;
  for (int n = 0; n < 20'000; ++n) {
    const auto q = hls_test::quantise_call(random);
    ASSERT_EQ(thc_quantise_top(at(q, 0), static_cast<std::uint32_t>(at(q, 1)),
                               static_cast<std::uint32_t>(at(q, 2)),
                               static_cast<std::uint8_t>(at(q, 3)),
                               static_cast<std::uint8_t>(at(q, 4)),
                               static_cast<std::uint8_t>(at(q, 5)), at(q, 6), at(q, 7)),
              q.result);
    const auto h = hls_test::hadamard_call(random);
    ASSERT_EQ(thc_hadamard_top(static_cast<std::int32_t>(static_cast<std::uint32_t>(at(h, 0))),
                               static_cast<std::int32_t>(static_cast<std::uint32_t>(at(h, 1))),
                               static_cast<std::uint8_t>(at(h, 2)),
                               static_cast<std::uint8_t>(at(h, 3))),
              h.result);
    overflows += h.result >> 54 & 1;
    const auto a = hls_test::aggregate_call(random);
    ASSERT_EQ(
        thc_aggregate_top(static_cast<std::uint32_t>(at(a, 0)), static_cast<std::uint8_t>(at(a, 1)),
                          static_cast<std::uint16_t>(at(a, 2)), static_cast<std::uint8_t>(at(a, 3)),
                          static_cast<std::uint8_t>(at(a, 4)), static_cast<std::uint8_t>(at(a, 5)),
                          at(a, 6), at(a, 7)),
        a.result);
    refused += a.result >> 40 & 1;
  }
  EXPECT_GT(overflows, 100U);
  EXPECT_GT(refused, 1000U);
}

} // namespace
} // namespace kestrel
