// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_hadamard against ref::hadamard: every block size, blocks back to back, stalls, overflow,
// reset.

#include <cstdint>
#include <iostream>
#include <vector>

#include <gtest/gtest.h>

#include "Vthc_hadamard_1.h"
#include "Vthc_hadamard_16.h"
#include "Vthc_hadamard_4.h"
#include "sw_ref/thc/codec.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"
#include "tests/rtl/thc/test_thc_util.hpp"

namespace {

using namespace kestrel::tb;
using namespace kestrel::tb::test;
namespace ref = kestrel::thc::ref;

constexpr unsigned kWidth = 27;

template <class Model, unsigned Lanes>
class Bench : public KernelBench<Bench<Model, Lanes>, Model> {
public:
  using KernelBench<Bench, Model>::rng;
  using KernelBench<Bench, Model>::run_to;
  using KernelBench<Bench, Model>::simulation;

  Bench(std::uint64_t seed, double idle, double stall)
      : KernelBench<Bench, Model>(seed),
        in(simulation.model().s_axis_tdata, simulation.model().s_axis_tvalid,
           simulation.model().s_axis_tready, Lanes * kWidth, idle, seed + 1),
        out(simulation.model().m_axis_tdata, simulation.model().m_axis_tvalid,
            simulation.model().m_axis_tready, &simulation.model().m_axis_tlast, Lanes * kWidth,
            stall, seed + 2) {
    simulation.model().block_log2_i = 10;
    this->reset();
  }

  void clear(int block_log2) {
    simulation.model().block_log2_i = static_cast<std::uint8_t>(block_log2);
    KernelBench<Bench, Model>::clear();
  }
  void push(const std::vector<std::int32_t> &block) { push_lanes(in, block, Lanes, kWidth); }
  /// Waits for `blocks` blocks and compares them with the transform of `pushed`.
  void expect(const std::vector<std::vector<std::int32_t>> &pushed) {
    const std::size_t size = pushed.front().size();
    const std::size_t beats = pushed.size() * size / Lanes;
    run_to(out, beats, 200'000 + 40 * beats, 40);
    ASSERT_EQ(out.beats.size(), beats);
    bool overflow = false;
    for (std::size_t b = 0; b < pushed.size(); ++b) {
      std::vector<std::int32_t> want = pushed[b];
      ref::hadamard(want, overflow);
      for (std::size_t i = 0; i < size; ++i) {
        const AxisBeat &beat = out.beats[(b * size + i) / Lanes];
        const auto bits =
            static_cast<std::uint32_t>(get_field(beat.data, i % Lanes * kWidth, kWidth));
        ASSERT_EQ(static_cast<std::int32_t>(bits << 5) >> 5, want[i])
            << "block " << b << " at " << i;
        ASSERT_EQ(beat.last, i / Lanes == size / Lanes - 1);
      }
    }
    EXPECT_EQ(simulation.model().overflow_o != 0, overflow);
    EXPECT_EQ(out.report(this->cycle()), "");
  }
  /// Coordinates of up to 2^bits: 2^(26 - k/2) and less cannot overflow.
  std::vector<std::int32_t> random_block(int block_log2, int bits) {
    std::vector<std::int32_t> block(std::size_t{1} << block_log2);
    for (auto &x : block)
      x = static_cast<std::int32_t>(rng.below(std::uint64_t{2} << bits)) -
          static_cast<std::int32_t>(1 << bits);
    return block;
  }

  auto parts() { return std::tie(in, out); }

  StreamIn<KESTREL_TB_PORT(Model, s_axis_tdata)> in;
  StreamOut<KESTREL_TB_PORT(Model, m_axis_tdata)> out;
};

template <class T> class ThcHadamard : public testing::Test {};
template <class Model, unsigned N> struct Config {
  using Bench = ::Bench<Model, N>;
  static constexpr unsigned kLanes = N;
};
using Configs = testing::Types<Config<Vthc_hadamard_1, 1>, Config<Vthc_hadamard_4, 4>,
                               Config<Vthc_hadamard_16, 16>>;
TYPED_TEST_SUITE(ThcHadamard, Configs);

// Without stalls a beat enters and leaves in every cycle, across blocks.
TYPED_TEST(ThcHadamard, FullRateEverySize) {
  typename TypeParam::Bench bench(seed_of_run(1), 0.0, 0.0);
  for (int k = ref::kMinBlockLog2; k <= ref::kMaxBlockLog2; ++k) {
    if (TypeParam::kLanes < 16 && k % 2 == 0 && k != 10)
      continue; // for the time of the test
    bench.clear(k);
    std::vector<std::vector<std::int32_t>> blocks;
    for (int b = 0; b < 3; ++b) {
      blocks.push_back(bench.random_block(k, 26 - (k + 1) / 2 - 1));
      bench.push(blocks.back());
    }
    bench.expect(blocks);
    if (testing::Test::HasFatalFailure())
      return;
    EXPECT_TRUE(gapless(bench.in.cycles)) << k;
    EXPECT_TRUE(gapless(bench.out.cycles)) << k;
    const std::uint64_t latency = bench.out.cycles.front() - bench.in.cycles.front();
    const std::uint64_t beats = (std::uint64_t{1} << k) / TypeParam::kLanes;
    EXPECT_EQ(latency, beats - 1 + 15 + 7 + 1);
    std::cout << "lanes " << TypeParam::kLanes << " block 2^" << k << ": latency " << latency
              << " cycles, " << bench.out.beats.size() << " beats in "
              << bench.out.cycles.back() - bench.out.cycles.front() + 1 << " cycles\n";
  }
}

TYPED_TEST(ThcHadamard, Stalls) {
  const std::uint64_t seed = seed_of_run(2);
  for (const auto &[idle, stall] :
       {std::pair{0.5, 0.0}, {0.0, 0.5}, {0.3, 0.3}, {0.9, 0.0}, {0.02, 0.95}}) {
    typename TypeParam::Bench bench(seed, idle, stall);
    for (const int k : {10, 11, 13}) {
      if (TypeParam::kLanes == 1 && k == 13)
        continue;
      std::vector<std::vector<std::int32_t>> blocks;
      for (int b = 0; b < 4; ++b) {
        blocks.push_back(bench.random_block(k, 18));
        bench.push(blocks.back());
      }
      bench.clear(k); // what is at the input with it is not lost
      bench.expect(blocks);
      if (testing::Test::HasFatalFailure())
        return;
    }
  }
}

// Values of all 27 bits: the low bits and the flag are the reference's.
TYPED_TEST(ThcHadamard, Overflow) {
  typename TypeParam::Bench bench(seed_of_run(3), 0.1, 0.1);
  for (int round = 0; round < 6; ++round) {
    bench.clear(10 + round % 2);
    std::vector<std::vector<std::int32_t>> blocks;
    for (int b = 0; b < 2; ++b) {
      blocks.push_back(bench.random_block(10 + round % 2, round < 2 ? 26 : 18 + round));
      // Just inside and just outside, in the first stages.
      if (round == 2)
        blocks.back()[0] = blocks.back()[1] = 1 << 25;
      if (round == 3)
        blocks.back()[0] = blocks.back()[2] = -(1 << 26);
      bench.push(blocks.back());
    }
    bench.expect(blocks);
    if (testing::Test::HasFatalFailure())
      return;
  }
}

// Blocks far apart: each comes out without its successor's push.
TYPED_TEST(ThcHadamard, DrainsByItself) {
  typename TypeParam::Bench bench(seed_of_run(4), 0.0, 0.0);
  bench.clear(10);
  std::vector<std::vector<std::int32_t>> blocks;
  for (int b = 0; b < 3; ++b) {
    blocks.push_back(bench.random_block(10, 19));
    bench.push(blocks.back());
    bench.expect(blocks);
    if (testing::Test::HasFatalFailure())
      return;
    for (int i = 0; i < 37 * b; ++i)
      bench.step();
  }
}

TYPED_TEST(ThcHadamard, ResetAndClearInABlock) {
  typename TypeParam::Bench bench(seed_of_run(5), 0.0, 0.0);
  for (int round = 0; round < 4; ++round) {
    bench.clear(11);
    // A block and a half.
    bench.push(bench.random_block(11, 18));
    bench.push(bench.random_block(10, 18));
    while (!bench.in.done())
      bench.step();
    for (std::uint64_t i = bench.rng.below(100); i > 0; --i)
      bench.step();
    if (round % 2 == 0)
      bench.reset();
    bench.clear(10 + round % 3);
    const auto block = bench.random_block(10 + round % 3, 18);
    bench.push(block);
    bench.expect({block});
    if (testing::Test::HasFatalFailure())
      return;
  }
}

} // namespace
