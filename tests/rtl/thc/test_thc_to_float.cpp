// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_to_float against ref::to_float: random values of every magnitude, ties, ends of the exponent
// range, with a pipeline that moves and stands at random.

#include <bit>
#include <cstdint>
#include <deque>

#include <gtest/gtest.h>
#include <verilated.h>

#include "Vthc_to_float.h"
#include "sw_ref/thc/fixed.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using kestrel::tb::Random;
namespace ref = kestrel::thc::ref;

constexpr std::size_t kLatency = 5;

struct Want {
  std::uint32_t bits;
  bool out_of_range;
};

TEST(ThcToFloat, EqualsReference) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(11);
  Random rng(seed);
  VerilatedContext context; // the lane has no reset, which Simulation needs
  context.randReset(2);
  Vthc_to_float m(&context);
  std::deque<Want> pipe;
  std::uint64_t compared = 0, clipped = 0, zeros = 0, ties = 0;
  bool en = false;
  Want next{};
  const auto drive = [&] {
    en = rng.chance(0.8);
    // A value of a random number of bits, often with a tie or all ones below the leading 24.
    const auto width = static_cast<int>(rng.below(28));
    std::int32_t v = static_cast<std::int32_t>(rng.next() & ((1U << width) - 1));
    if (rng.below(3) == 0 && width > 24) {
      v = (v & ~7) | (1 << (width - 25));
      ++ties;
    } else if (rng.below(6) == 0) {
      v = static_cast<std::int32_t>((1U << width) - 1 - rng.below(3));
    }
    if (rng.below(50) == 0)
      v = 1 << 26;
    v = rng.below(2) != 0 ? -v : v;
    if (v > (1 << 26) - 1)
      v = (1 << 26) - 1;
    if (v < -(1 << 26))
      v = -(1 << 26);
    const bool negate = rng.below(2) != 0;
    std::uint32_t exponent = static_cast<std::uint32_t>(rng.below(256));
    if (rng.below(3) == 0)
      exponent = static_cast<std::uint32_t>(rng.below(2) != 0 ? 246 + rng.below(9) : rng.below(28));
    next.out_of_range = false;
    next.bits =
        std::bit_cast<std::uint32_t>(ref::to_float(negate ? -v : v, exponent, next.out_of_range));
    m.en_i = en;
    m.v_i = static_cast<std::uint32_t>(v) & 0x7FFFFFFU;
    m.negate_i = negate;
    m.exponent_i = static_cast<std::uint8_t>(exponent);
  };
  const auto sample = [&] {
    if (!en)
      return;
    if (pipe.size() == kLatency) {
      ASSERT_EQ(m.y_o, pipe.front().bits);
      ASSERT_EQ(m.out_of_range_o != 0, pipe.front().out_of_range);
      ++compared;
      clipped += pipe.front().out_of_range;
      zeros += pipe.front().bits == 0;
      pipe.pop_front();
    }
    pipe.push_back(next);
  };
  for (int i = 0; i < 400'000 && !HasFatalFailure(); ++i) {
    m.clk_i = 0;
    drive();
    m.eval();
    sample();
    m.clk_i = 1;
    m.eval();
  }
  m.final();
  EXPECT_GT(compared, 300'000U);
  EXPECT_GT(clipped, 1000U);
  EXPECT_GT(zeros, 1000U);
  EXPECT_GT(ties, 1000U);
}

} // namespace
