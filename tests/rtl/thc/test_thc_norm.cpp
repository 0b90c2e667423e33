// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_norm against ref::block_norm, bit for bit, and the maximum over workers.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "Vthc_norm_1.h"
#include "Vthc_norm_16.h"
#include "Vthc_norm_4.h"
#include "sw_ref/thc/codec.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"
#include "tests/rtl/thc/test_thc_util.hpp"

namespace {

using namespace kestrel::tb;
using namespace kestrel::tb::test;
namespace ref = kestrel::thc::ref;

template <class Model, unsigned Lanes>
class Bench : public KernelBench<Bench<Model, Lanes>, Model> {
public:
  using KernelBench<Bench, Model>::clear;
  using KernelBench<Bench, Model>::run_to;
  using KernelBench<Bench, Model>::simulation;

  Bench(std::uint64_t seed, double y_idle, double other_idle, double stall)
      : KernelBench<Bench, Model>(seed),
        y(simulation.model().s_axis_tdata, simulation.model().s_axis_tvalid,
          simulation.model().s_axis_tready, Lanes * 32, y_idle, seed + 1),
        other(simulation.model().s_other_tdata, simulation.model().s_other_tvalid,
              simulation.model().s_other_tready, 32, other_idle, seed + 2),
        norm(simulation.model().m_axis_tdata, simulation.model().m_axis_tvalid,
             simulation.model().m_axis_tready, nullptr, 32, stall, seed + 3) {
    simulation.model().block_log2_i = 10;
    simulation.model().max_i = 0;
    this->reset();
  }
  void start(int block_log2, bool max) {
    simulation.model().block_log2_i = static_cast<std::uint8_t>(block_log2);
    simulation.model().max_i = max;
    clear();
  }
  void push(const std::vector<float> &block) { push_lanes(y, block, Lanes, 32); }
  /// An empty `others`: without the maximum.
  void check(int block_log2, const std::vector<std::vector<float>> &blocks,
             const std::vector<float> &others) {
    for (const auto &block : blocks)
      push(block);
    start(block_log2, !others.empty()); // what is at the input with clear_i is not lost
    for (const float value : others) {
      AxisData data;
      data.words[0] = std::bit_cast<std::uint32_t>(value);
      other.push(data);
    }
    const std::size_t beats = blocks.size() << block_log2;
    run_to(norm, blocks.size(), 1000 + 50 * beats, 100);
    ASSERT_EQ(norm.beats.size(), blocks.size());
    ASSERT_EQ(other.cycles.size(), others.size());
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      float want = ref::block_norm(blocks[b]);
      if (!others.empty())
        want = std::max(want, others[b]);
      const auto got = static_cast<std::uint32_t>(get_field(norm.beats[b].data, 0, 32));
      ASSERT_EQ(got, std::bit_cast<std::uint32_t>(want))
          << "block " << b << " wants " << want << " has " << std::bit_cast<float>(got);
    }
    EXPECT_EQ(norm.report(this->cycle()), "");
  }

  auto parts() { return std::tie(y, other, norm); }

  StreamIn<KESTREL_TB_PORT(Model, s_axis_tdata)> y;
  StreamIn<KESTREL_TB_PORT(Model, s_other_tdata)> other;
  StreamOut<KESTREL_TB_PORT(Model, m_axis_tdata)> norm;
};

/// A block of one of several kinds.
std::vector<float> random_block(Random &rng, int block_log2) {
  std::vector<float> block(std::size_t{1} << block_log2);
  const auto kind = rng.below(8);
  const auto low = static_cast<std::uint32_t>(rng.below(255));
  const auto span = 1 + rng.below(kind == 0   ? 255
                                  : kind == 1 ? 60
                                  : kind == 2 ? 30
                                  : kind == 3 ? 10
                                              : 2);
  for (float &value : block) {
    std::uint32_t exponent =
        std::min<std::uint32_t>(254, low + static_cast<std::uint32_t>(rng.below(span)));
    std::uint32_t mantissa = static_cast<std::uint32_t>(rng.next() & 0x7FFFFFU);
    if (kind == 4)
      exponent = 0; // zeros and subnormal numbers
    if (kind == 5)
      mantissa |= 0x7FFF00U; // rounds up to the next power of two
    if (kind == 6) {
      exponent = 254; // the norm overflows
      mantissa = 0x7FFFFFU;
    }
    if (kind == 7 && rng.below(100) != 0)
      exponent = mantissa = 0; // few
    value = std::bit_cast<float>(static_cast<std::uint32_t>(rng.next() & 0x80000000U) |
                                 exponent << 23 | mantissa);
  }
  // The largest number in any place: early, late, alone.
  if (rng.below(2) == 0)
    block[rng.below(block.size())] = std::bit_cast<float>(
        std::min<std::uint32_t>(254, low + static_cast<std::uint32_t>(rng.below(40))) << 23);
  return block;
}

template <class T> class ThcNorm : public testing::Test {};
template <class Model, unsigned N> struct Config {
  using Bench = ::Bench<Model, N>;
  static constexpr unsigned kLanes = N;
};
using Configs =
    testing::Types<Config<Vthc_norm_1, 1>, Config<Vthc_norm_4, 4>, Config<Vthc_norm_16, 16>>;
TYPED_TEST_SUITE(ThcNorm, Configs);

TYPED_TEST(ThcNorm, FullRateEverySize) {
  typename TypeParam::Bench bench(seed_of_run(1), 0.0, 0.0, 0.0);
  for (int k = ref::kMinBlockLog2; k <= ref::kMaxBlockLog2; ++k) {
    std::vector<std::vector<float>> blocks;
    const int count = k == 10 ? 30 : 2;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int b = 0; b < count; ++b)
      blocks.push_back(random_block(bench.rng, k));
    bench.check(k, blocks, {});
    if (testing::Test::HasFatalFailure())
      return;
    EXPECT_TRUE(gapless(bench.y.cycles)) << k;
    const std::uint64_t latency = bench.norm.cycles.back() - bench.y.cycles.back();
    EXPECT_EQ(latency, 42 + std::max<unsigned>(1, std::countr_zero(TypeParam::kLanes)));
    std::cout << "lanes " << TypeParam::kLanes << " block 2^" << k << ": " << bench.y.cycles.size()
              << " beats in " << bench.y.cycles.back() - bench.y.cycles.front() + 1
              << " cycles, last beat to norm " << latency << " cycles\n";
  }
}

TYPED_TEST(ThcNorm, EqualToReference) {
  const std::uint64_t seed = seed_of_run(2);
  std::uint64_t infinite = 0, zero = 0;
  for (const auto &[y, other, stall] :
       {std::array{0.0, 0.0, 0.0}, {0.4, 0.99, 0.0}, {0.0, 0.5, 0.98}}) {
    typename TypeParam::Bench bench(seed, y, other, stall);
    for (int round = 0; round < (TypeParam::kLanes == 16 ? 40 : 10); ++round) {
      const int k = 10 + static_cast<int>(bench.rng.below(3));
      std::vector<std::vector<float>> blocks;
      std::vector<float> others;
      for (int b = 0; b < 4; ++b) {
        blocks.push_back(random_block(bench.rng, k));
        const float norm = ref::block_norm(blocks.back());
        infinite += std::isinf(norm);
        zero += norm == 0.0F;
        if (round % 2 == 0)
          others.push_back(norm * (bench.rng.below(2) == 0 ? 0.75F : 1.25F));
      }
      bench.check(k, blocks, others);
      if (testing::Test::HasFatalFailure())
        return;
    }
  }
  EXPECT_GT(infinite, 0U);
  EXPECT_GT(zero, 0U);
}

TYPED_TEST(ThcNorm, ResetAndClearInABlock) {
  typename TypeParam::Bench bench(seed_of_run(3), 0.0, 0.0, 0.0);
  for (int round = 0; round < 6; ++round) {
    bench.start(11, false);
    bench.push(random_block(bench.rng, 11));
    bench.push(random_block(bench.rng, 10));
    while (!bench.y.done())
      bench.step();
    for (std::uint64_t i = bench.rng.below(60); i > 0; --i)
      bench.step();
    if (round % 2 == 0)
      bench.reset();
    bench.check(10, {random_block(bench.rng, 10), random_block(bench.rng, 10)}, {});
    if (testing::Test::HasFatalFailure())
      return;
  }
}

} // namespace
