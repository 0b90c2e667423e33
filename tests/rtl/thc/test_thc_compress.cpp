// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_compress against ref::compress_block, bit for bit: indices, error feedback and flag.

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "Vthc_compress_1.h"
#include "Vthc_compress_16.h"
#include "Vthc_compress_4.h"
#include "sw_ref/thc/codec.hpp"
#include "sw_ref/thc/threefry.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"
#include "tests/rtl/thc/test_thc_util.hpp"
#include "tests/rtl/thc/thc_port.hpp"

namespace {

using namespace kestrel::tb;
using namespace kestrel::tb::test;
namespace ref = kestrel::thc::ref;

/// What is constant during a run.
struct RunConfig {
  int block_log2 = 10;
  ref::Table table{};
  ref::Words2 sign_key{}, noise_key{};
  std::uint64_t first = 0;
  bool error_out = true;
};
struct Block {
  std::vector<float> y;
  ref::BlockScale scale;
};

template <class Model, unsigned Lanes>
class Bench : public KernelBench<Bench<Model, Lanes>, Model> {
public:
  using KernelBench<Bench, Model>::clear;
  using KernelBench<Bench, Model>::simulation;

  /// Shares of cycles without input, without a scale, and in which each output is refused.
  struct Speed {
    double y = 0.0, scale = 0.0, index = 0.0, error = 0.0;
  };

  Bench(std::uint64_t seed, const Speed &speed)
      : KernelBench<Bench, Model>(seed),
        y(simulation.model().s_axis_tdata, simulation.model().s_axis_tvalid,
          simulation.model().s_axis_tready, Lanes * 32, speed.y, seed + 1),
        scale(simulation.model().s_scale_tdata, simulation.model().s_scale_tvalid,
              simulation.model().s_scale_tready, 47, speed.scale, seed + 2),
        index(simulation.model().m_axis_tdata, simulation.model().m_axis_tvalid,
              simulation.model().m_axis_tready, &simulation.model().m_axis_tlast, Lanes * 4,
              speed.index, seed + 3),
        error(simulation.model().m_err_tdata, simulation.model().m_err_tvalid,
              simulation.model().m_err_tready, &simulation.model().m_err_tlast, Lanes * 32,
              speed.error, seed + 4) {
    simulation.model().error_out_i = 1;
    this->reset();
  }

  void start(const RunConfig &run) {
    auto &m = simulation.model();
    put_cfg(m.cfg_i, run.table, run.block_log2, run.sign_key, run.noise_key);
    m.first_i = run.first;
    m.error_out_i = run.error_out;
    clear();
  }
  void push(const Block &block) {
    push_lanes(y, block.y, Lanes, 32);
    AxisData data;
    data.words[0] = scale_bits(block.scale);
    scale.push(data);
  }

  /// Runs `blocks` through and compares. Returns the reference's flag.
  std::optional<bool> check(const RunConfig &run, const std::vector<Block> &blocks) {
    for (const Block &block : blocks)
      push(block);
    start(run); // what is at the inputs with clear_i is not lost
    bool flag = false;
    compare(run, blocks, flag);
    if (testing::Test::HasFatalFailure())
      return std::nullopt;
    return flag;
  }

  auto parts() { return std::tie(y, scale, index, error); }

  StreamIn<KESTREL_TB_PORT(Model, s_axis_tdata)> y;
  StreamIn<KESTREL_TB_PORT(Model, s_scale_tdata)> scale;
  StreamOut<KESTREL_TB_PORT(Model, m_axis_tdata)> index;
  StreamOut<KESTREL_TB_PORT(Model, m_err_tdata)> error;

private:
  void compare(const RunConfig &run, const std::vector<Block> &blocks, bool &flag) {
    const std::size_t size = std::size_t{1} << run.block_log2;
    const std::size_t beats = blocks.size() * size / Lanes;
    const std::size_t error_beats = run.error_out ? beats : 0;
    for (std::uint64_t i = 0; (index.beats.size() < beats || error.beats.size() < error_beats) &&
                              i < 100'000 + 40 * beats;
         ++i)
      this->step();
    const bool at_end = simulation.model().out_of_range_o != 0;
    this->steps(60); // nothing more comes
    ASSERT_EQ(index.beats.size(), beats);
    ASSERT_EQ(error.beats.size(), error_beats);
    ASSERT_EQ(y.cycles.size(), beats);
    ASSERT_EQ(scale.cycles.size(), blocks.size());
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const std::uint64_t first = run.first + b * size;
      const ref::Compressed want = ref::compress_block(blocks[b].y, blocks[b].scale, run.table,
                                                       run.sign_key, run.noise_key, first);
      if (run.error_out) {
        flag = flag || want.flags.out_of_range;
      } else {
        ref::Flags flags;
        (void)ref::rotate(blocks[b].y, blocks[b].scale, run.sign_key, first, flags);
        flag = flag || flags.out_of_range;
      }
      for (std::size_t i = 0; i < size; ++i) {
        const std::size_t beat = (b * size + i) / Lanes;
        const unsigned lane = i % Lanes;
        // The byte order of ref::pack_nibbles; a single lane sends one nibble after the other.
        const unsigned nibble = Lanes == 1 ? 0 : lane ^ 1U;
        ASSERT_EQ(get_field(index.beats[beat].data, 4 * nibble, 4), want.indices[i])
            << "block " << b << " coordinate " << i;
        ASSERT_EQ(index.beats[beat].last, i / Lanes == size / Lanes - 1);
        if (run.error_out) {
          ASSERT_EQ(get_field(error.beats[beat].data, 32 * lane, 32),
                    std::bit_cast<std::uint32_t>(want.error[i]))
              << "block " << b << " coordinate " << i << " wants " << want.error[i];
          ASSERT_EQ(error.beats[beat].last, i / Lanes == size / Lanes - 1);
        }
      }
    }
    EXPECT_EQ(simulation.model().out_of_range_o != 0, flag);
    EXPECT_EQ(at_end, flag) << "up with the last beat";
    EXPECT_EQ(index.report(this->cycle()) + error.report(this->cycle()), "");
  }
};

/// Roughly normal, standard deviation 1.
double normal(Random &rng) {
  double sum = 0.0;
  for (int i = 0; i < 12; ++i)
    sum += static_cast<double>(rng.next() >> 11) * 0x1p-53;
  return sum - 6.0;
}

ref::Table random_table(Random &rng) {
  ref::Table table;
  if (rng.below(4) == 0)
    return table; // the default one
  table.bits = 1 + static_cast<unsigned>(rng.below(4));
  const unsigned entries = 1U << table.bits;
  table.granularity =
      rng.below(3) == 0 ? 255 : entries - 1 + static_cast<unsigned>(rng.below(257 - entries));
  table.t = 1.0 + 2.999 * static_cast<double>(rng.below(1000)) / 999.0;
  // A strictly ascending choice.
  std::vector<bool> taken(table.granularity + 1, false);
  taken.front() = taken.back() = true;
  for (unsigned count = 2; count < entries;) {
    const auto value = rng.below(table.granularity);
    if (!taken[value]) {
      taken[value] = true;
      ++count;
    }
  }
  table.values.clear();
  for (unsigned v = 0; v <= table.granularity; ++v)
    if (taken[v])
      table.values.push_back(static_cast<std::uint8_t>(v));
  return table;
}

RunConfig random_run(Random &rng, int block_log2) {
  RunConfig run;
  run.block_log2 = block_log2;
  run.table = random_table(rng);
  const std::uint64_t seed = rng.next();
  const auto round = static_cast<std::uint32_t>(rng.below(1000));
  run.sign_key = ref::sign_key(seed, round);
  run.noise_key = ref::noise_key(seed, round, static_cast<std::uint32_t>(rng.below(16)));
  run.first = rng.below(4) == 0 ? 0 : rng.below(std::uint64_t{1} << 40) * 1024;
  run.error_out = rng.below(4) != 0;
  return run;
}

enum class Kind : std::uint8_t {
  normal,
  sparse,
  spread,
  zero,
  subnormal,
  too_small,
  absurd,
  count_
};

Block random_block(Random &rng, const RunConfig &run, Kind kind) {
  Block block;
  block.y.resize(std::size_t{1} << run.block_log2);
  // Powers of two of the coordinates, of all sizes that fp32 has.
  const int power = rng.below(3) == 0   ? -130 + static_cast<int>(rng.below(8))
                    : rng.below(2) == 0 ? 110 + static_cast<int>(rng.below(14)) - run.block_log2 / 2
                                        : -10 + static_cast<int>(rng.below(20));
  for (float &y : block.y) {
    double value = normal(rng);
    if (kind == Kind::sparse)
      value *= rng.below(200) == 0;
    if (kind == Kind::spread)
      value = std::ldexp(value, -static_cast<int>(rng.below(40)));
    if (kind == Kind::absurd)
      value = std::ldexp(value, static_cast<int>(rng.below(12)));
    y = static_cast<float>(std::ldexp(value, power));
    if (kind == Kind::subnormal)
      y = std::bit_cast<float>(static_cast<std::uint32_t>(rng.next() & 0x800FFFFFU));
    if (!std::isfinite(y))
      y = 1e38F;
  }
  float norm = ref::block_norm(block.y);
  if (!std::isfinite(norm))
    norm = std::numeric_limits<float>::max();
  if (kind == Kind::zero || kind == Kind::subnormal)
    norm = kind == Kind::zero && rng.below(2) == 0 ? 1.0F : 0.0F;
  else if (kind == Kind::too_small || kind == Kind::absurd)
    norm *= static_cast<float>(std::ldexp(1.0, -2 - static_cast<int>(rng.below(14))));
  else if (rng.below(2) == 0)
    norm =
        std::min(norm * (1.0F + static_cast<float>(rng.below(1000)) / 300.0F), // of another worker
                 std::numeric_limits<float>::max());
  if (kind == Kind::zero)
    std::fill(block.y.begin(), block.y.end(), 0.0F);
  block.scale = ref::make_scale(norm, run.table);
  return block;
}

template <class T> class ThcCompress : public testing::Test {};
template <class Model, unsigned N> struct Config {
  using Bench = ::Bench<Model, N>;
  static constexpr unsigned kLanes = N;
};
using Configs = testing::Types<Config<Vthc_compress_1, 1>, Config<Vthc_compress_4, 4>,
                               Config<Vthc_compress_16, 16>>;
TYPED_TEST_SUITE(ThcCompress, Configs);

// Without stalls a beat enters and leaves in every cycle, across blocks.
TYPED_TEST(ThcCompress, FullRateEverySize) {
  typename TypeParam::Bench bench(seed_of_run(1), {});
  for (int k = ref::kMinBlockLog2; k <= ref::kMaxBlockLog2; ++k) {
    if (TypeParam::kLanes < 16 && k > 11)
      continue; // for the time of the test
    RunConfig run = random_run(bench.rng, k);
    run.error_out = true;
    std::vector<Block> blocks;
    const int count = k == 10 ? 12 : 3;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int b = 0; b < count; ++b)
      blocks.push_back(random_block(bench.rng, run, Kind::normal));
    ASSERT_TRUE(bench.check(run, blocks).has_value());
    EXPECT_TRUE(gapless(bench.y.cycles)) << k;
    EXPECT_TRUE(gapless(bench.index.cycles)) << k;
    EXPECT_TRUE(gapless(bench.error.cycles)) << k;
    const std::uint64_t beats = (std::uint64_t{1} << k) / TypeParam::kLanes;
    const std::uint64_t begin = bench.y.cycles.front();
    const std::uint64_t to_index = bench.index.cycles.front() - begin;
    const std::uint64_t to_error = bench.error.cycles.front() - begin;
    EXPECT_EQ(begin - bench.cleared, 22U);
    EXPECT_EQ(to_index, beats - 1 + 38);
    EXPECT_EQ(to_error, 2 * (beats - 1) + 67);
    std::cout << "lanes " << TypeParam::kLanes << " block 2^" << k << ": " << bench.y.cycles.size()
              << " beats in " << bench.y.cycles.back() - begin + 1 << " cycles, "
              << static_cast<double>(bench.index.cycles.size()) /
                     static_cast<double>(bench.index.cycles.back() - bench.index.cycles.front() + 1)
              << " beats a cycle out; latency to indices " << to_index << ", to error feedback "
              << to_error << " cycles\n";
  }
}

// All kinds of blocks, tables, keys and scales, with stalls on every stream.
TYPED_TEST(ThcCompress, EqualToReference) {
  const std::uint64_t seed = seed_of_run(2);
  const std::array<typename TypeParam::Bench::Speed, 6> speeds = {{{},
                                                                   {.y = 0.5},
                                                                   {.index = 0.5},
                                                                   {.error = 0.5},
                                                                   {0.3, 0.9, 0.3, 0.3},
                                                                   {0.01, 0.0, 0.9, 0.9}}};
  std::uint64_t flagged = 0, runs = 0;
  for (const auto &speed : speeds) {
    typename TypeParam::Bench bench(seed + runs, speed);
    for (int round = 0; round < (TypeParam::kLanes == 16 ? 14 : 3); ++round, ++runs) {
      const RunConfig run = random_run(
          bench.rng, 10 + static_cast<int>(bench.rng.below(TypeParam::kLanes == 16 ? 4 : 2)));
      std::vector<Block> blocks;
      for (std::uint64_t b = 1 + bench.rng.below(5); b > 0; --b)
        blocks.push_back(random_block(
            bench.rng, run,
            static_cast<Kind>(bench.rng.below(round % 2 == 0
                                                  ? static_cast<std::uint64_t>(Kind::too_small)
                                                  : static_cast<std::uint64_t>(Kind::count_)))));
      const auto flag = bench.check(run, blocks);
      ASSERT_TRUE(flag.has_value()) << "run " << runs;
      flagged += *flag;
    }
  }
  EXPECT_GT(flagged, 0U);
  EXPECT_LT(flagged, runs);
  std::cout << runs << " runs, " << flagged << " with values out of range\n";
}

// Every exponent of the norm, a block each.
TEST(ThcCompress16, EveryExponent) {
  Bench<Vthc_compress_16, 16> bench(seed_of_run(3), {});
  RunConfig run = random_run(bench.rng, 10);
  run.error_out = true;
  std::vector<Block> blocks;
  for (std::uint32_t exponent = 0; exponent < 255;
       exponent += 1 + (exponent > 4 && exponent < 248)) {
    Block block;
    for (int i = 0; i < 1024; ++i) {
      const double value = std::ldexp(normal(bench.rng), static_cast<int>(exponent) - 127 - 5);
      block.y.push_back(static_cast<float>(value));
    }
    const auto mantissa = static_cast<std::uint32_t>(bench.rng.next() & 0x7FFFFFU);
    block.scale = ref::make_scale(std::bit_cast<float>(exponent << 23 | mantissa), run.table);
    blocks.push_back(block);
  }
  ASSERT_TRUE(bench.check(run, blocks).has_value());
}

TEST(ThcCompress16, LargestBlockWithStalls) {
  Bench<Vthc_compress_16, 16> bench(seed_of_run(4), {0.1, 0.5, 0.1, 0.1});
  for (const int k : {15, 14}) {
    const RunConfig run = random_run(bench.rng, k);
    std::vector<Block> blocks;
    for (const Kind kind : {Kind::normal, Kind::spread})
      blocks.push_back(random_block(bench.rng, run, kind));
    ASSERT_TRUE(bench.check(run, blocks).has_value());
  }
}

TYPED_TEST(ThcCompress, ResetAndClearInABlock) {
  typename TypeParam::Bench bench(seed_of_run(5), {});
  for (int round = 0; round < 4; ++round) {
    RunConfig run = random_run(bench.rng, 10);
    bench.start(run);
    bench.push(random_block(bench.rng, run, Kind::absurd));
    bench.push(random_block(bench.rng, run, Kind::normal));
    while (!bench.y.done() || !bench.scale.done())
      bench.step();
    for (std::uint64_t i = bench.rng.below(200); i > 0; --i)
      bench.step();
    if (round % 2 == 0)
      bench.reset();
    run = random_run(bench.rng, 10 + round % 2);
    ASSERT_TRUE(bench.check(run, {random_block(bench.rng, run, Kind::normal)}).has_value());
  }
}

} // namespace
