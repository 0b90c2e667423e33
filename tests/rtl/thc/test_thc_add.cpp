// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_add against ref::add_ftz: sums of all kinds of numbers, bf16, NaN and infinity, stalls.

#include <bit>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "Vthc_add_16.h"
#include "Vthc_add_4.h"
#include "sw_ref/thc/fixed.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"
#include "tests/rtl/thc/test_thc_util.hpp"

namespace {

using namespace kestrel::tb;
using namespace kestrel::tb::test;
namespace ref = kestrel::thc::ref;

float number(std::uint32_t bits) { return std::bit_cast<float>(bits); }

template <class Model, unsigned Lanes>
class Bench : public KernelBench<Bench<Model, Lanes>, Model> {
public:
  using KernelBench<Bench, Model>::clear;
  using KernelBench<Bench, Model>::run_to;
  using KernelBench<Bench, Model>::simulation;

  Bench(std::uint64_t seed, double x_idle, double e_idle, double stall)
      : KernelBench<Bench, Model>(seed),
        x(simulation.model().s_axis_tdata, simulation.model().s_axis_tvalid,
          simulation.model().s_axis_tready, Lanes * 32, x_idle, seed + 1),
        e(simulation.model().s_err_tdata, simulation.model().s_err_tvalid,
          simulation.model().s_err_tready, Lanes * 32, e_idle, seed + 2),
        y(simulation.model().m_axis_tdata, simulation.model().m_axis_tvalid,
          simulation.model().m_axis_tready, nullptr, Lanes * 32, stall, seed + 3) {
    this->reset();
  }
  void start(bool bf16, bool error_in) {
    simulation.model().bf16_i = bf16;
    simulation.model().error_in_i = error_in;
    clear();
  }

  /// a[i] + b[i]; an empty b: without error feedback. a holds numbers of bf16 for `bf16`.
  void check(const std::vector<std::uint32_t> &a, const std::vector<std::uint32_t> &b, bool bf16) {
    for (std::size_t i = 0; i < a.size(); i += Lanes) {
      AxisData data, error;
      for (unsigned lane = 0; lane < Lanes; ++lane) {
        if (bf16)
          set_field(data, 16 * lane, 16, a[i + lane] >> 16);
        else
          set_field(data, 32 * lane, 32, a[i + lane]);
        if (!b.empty())
          set_field(error, 32 * lane, 32, b[i + lane]);
      }
      if (bf16)
        for (unsigned at = Lanes * 16; at < Lanes * 32; at += 32)
          set_field(data, at, 32, 0x7FC00000U); // not looked at
      x.push(data);
      if (!b.empty())
        e.push(error);
    }
    start(bf16, !b.empty()); // what is at the inputs with clear_i is not lost
    const std::size_t beats = a.size() / Lanes;
    run_to(y, beats, 1000 + 50 * beats, 30);
    ASSERT_EQ(y.beats.size(), beats);
    std::optional<std::uint32_t> bad;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const float e_value = b.empty() ? 0.0F : number(b[i]);
      const float sum = ref::add_ftz(number(a[i]), e_value);
      const bool nonfinite =
          ref::is_nonfinite(sum) || ref::is_nonfinite(number(a[i])) || ref::is_nonfinite(e_value);
      if (nonfinite && !bad)
        bad = static_cast<std::uint32_t>(i);
      ASSERT_EQ(get_field(y.beats[i / Lanes].data, 32 * (i % Lanes), 32),
                nonfinite ? 0U : std::bit_cast<std::uint32_t>(sum))
          << number(a[i]) << " + " << e_value << std::hex << " " << a[i];
    }
    EXPECT_EQ(simulation.model().nonfinite_o != 0, bad.has_value());
    if (bad) {
      EXPECT_EQ(simulation.model().nonfinite_index_o, *bad);
    }
    EXPECT_EQ(y.report(this->cycle()), "");
  }

  auto parts() { return std::tie(x, e, y); }

  StreamIn<KESTREL_TB_PORT(Model, s_axis_tdata)> x;
  StreamIn<KESTREL_TB_PORT(Model, s_err_tdata)> e;
  StreamOut<KESTREL_TB_PORT(Model, m_axis_tdata)> y;
};

/// A finite number, and one to add to it: near in size, far, equal, opposite, at the borders.
std::pair<std::uint32_t, std::uint32_t> pair_of_numbers(Random &rng) {
  const auto any = [&] {
    std::uint32_t bits = static_cast<std::uint32_t>(rng.next());
    if ((bits >> 23 & 0xFF) == 255)
      bits ^= 1U << 28;
    if (rng.below(4) == 0)
      bits &= ~((1U << rng.below(24)) - 1); // ties
    if (rng.below(8) == 0)
      bits |= (1U << rng.below(24)) - 1; // carries
    return bits;
  };
  std::uint32_t a = any(), b = any();
  switch (rng.below(8)) {
  case 0: // near
  case 1:
  case 2:
  case 3: {
    const auto exponent = static_cast<std::uint32_t>(rng.below(255));
    const auto other = std::min<std::uint32_t>(
        254, exponent + static_cast<std::uint32_t>(rng.below(rng.below(2) == 0 ? 3 : 30)));
    a = (a & 0x807FFFFFU) | exponent << 23;
    b = (b & 0x807FFFFFU) | other << 23;
    break;
  }
  case 4: // cancellation
    b = a ^ 0x80000000U ^ static_cast<std::uint32_t>(rng.below(4));
    break;
  case 5: // small
    a &= 0x81FFFFFFU;
    b &= 0x81FFFFFFU;
    break;
  case 6: // zeros and subnormal numbers
    a = (rng.below(2) == 0 ? a & 0x80000000U : a & 0x807FFFFFU);
    b = rng.below(2) == 0 ? b : b & 0x80000000U;
    break;
  default:
    break;
  }
  if (rng.below(2) == 0)
    std::swap(a, b);
  return {a, b};
}

template <class Model, unsigned Lanes> void sums(std::uint64_t seed, std::size_t count) {
  std::uint64_t overflows = 0;
  for (const auto &[x, e, y] : {std::array{0.0, 0.0, 0.0}, {0.3, 0.3, 0.3}, {0.0, 0.0, 0.8}}) {
    Bench<Model, Lanes> bench(seed, x, e, y);
    std::vector<std::uint32_t> a, b;
    while (a.size() < count) {
      const auto [first, second] = pair_of_numbers(bench.rng);
      const bool finite = !ref::is_nonfinite(ref::add_ftz(number(first), number(second)));
      overflows += !finite;
      if (!finite && bench.rng.below(50) != 0)
        continue;
      a.push_back(first);
      b.push_back(second);
    }
    bench.check(a, b, false);
    if (testing::Test::HasFatalFailure())
      return;
    if (x == 0.0 && y == 0.0) {
      EXPECT_TRUE(gapless(bench.x.cycles));
      EXPECT_TRUE(gapless(bench.y.cycles));
      EXPECT_EQ(bench.y.cycles.front() - bench.x.cycles.front(), 10U);
      std::cout << bench.x.cycles.size() << " beats in "
                << bench.x.cycles.back() - bench.x.cycles.front() + 1 << " cycles, latency "
                << bench.y.cycles.front() - bench.x.cycles.front() << "\n";
    }
    // Without error feedback, in both formats.
    bench.check(a, {}, false);
    for (auto &bits : a)
      bits &= 0xFFFF0000U;
    bench.check(a, {}, true);
    bench.check(a, b, true);
    if (testing::Test::HasFatalFailure())
      return;
  }
  EXPECT_GT(overflows, 0U);
}

TEST(ThcAdd, Lanes16) { sums<Vthc_add_16, 16>(seed_of_run(1), 64'000); }
TEST(ThcAdd, Lanes4) { sums<Vthc_add_4, 4>(seed_of_run(2), 16'000); }

// The first NaN or infinity, of x, e and the sum, by its number.
TEST(ThcAdd, NamesTheFirstNonfinite) {
  Bench<Vthc_add_16, 16> bench(seed_of_run(3), 0.1, 0.1, 0.1);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::uint32_t> a(1024), b(1024);
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] = 0x3F000000U | static_cast<std::uint32_t>(bench.rng.below(1U << 23));
      b[i] = 0xBE000000U | static_cast<std::uint32_t>(bench.rng.below(1U << 23));
    }
    for (std::uint64_t n = bench.rng.below(4); n > 0; --n) {
      const std::size_t at = bench.rng.below(a.size());
      switch (bench.rng.below(5)) {
      case 0:
        a[at] = 0x7FC00000U;
        break;
      case 1:
        b[at] = 0xFF800000U;
        break;
      case 2:
        b[at] = 0x7F800001U;
        break;
      case 3:
        a[at] = 0x7F800000U;
        b[at] = 0xFF800000U;
        break;
      default:
        a[at] = b[at] = 0x7F7FFFFFU;
        break;
      }
    }
    bench.check(a, b, false);
    if (HasFatalFailure())
      return;
  }
}

} // namespace
