// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_decompress against ref::decompress_block, bit for bit, and its rate.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "Vthc_decompress_1.h"
#include "Vthc_decompress_16.h"
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
  ref::Words2 sign_key{};
  std::uint64_t first = 0;
};
struct Block {
  std::vector<std::uint32_t> sums;
  std::vector<std::uint8_t> contributors; // of each packet
  ref::BlockScale scale;
};

constexpr std::size_t kUserByte = 63; // of a queued beat: TUSER travels with the data

/// The sums: a stream with TUSER.
template <class Model> class SumsIn {
public:
  SumsIn(Model &model, std::uint32_t bytes, double idle, std::uint64_t seed)
      : model_(&model), source_(bytes, idle, seed) {}

  void push(const AxisBeat &beat) { source_.push_beat(beat); }
  void drive(std::uint64_t /*cycle*/) {
    source_.eval_outputs();
    write_signal(model_->s_axis_tdata, source_.ports().beat.data);
    model_->s_axis_tuser = source_.ports().beat.data.bytes()[kUserByte];
    model_->s_axis_tvalid = source_.ports().tvalid && model_->rst_ni != 0;
  }
  void sample(std::uint64_t cycle, bool in_reset) {
    source_.ports().tready = model_->s_axis_tready != 0;
    if (in_reset)
      return;
    if (source_.ports().tvalid && source_.ports().tready)
      cycles.push_back(cycle);
    source_.sample();
  }
  void restart() { cycles.clear(); }
  [[nodiscard]] std::string violations() const { return ""; }

  std::vector<std::uint64_t> cycles; ///< of the handshakes

private:
  Model *model_;
  AxisSource source_;
};

template <class Model, unsigned Lanes>
class Bench : public KernelBench<Bench<Model, Lanes>, Model> {
public:
  using KernelBench<Bench, Model>::clear;
  using KernelBench<Bench, Model>::rng;
  using KernelBench<Bench, Model>::run_to;
  using KernelBench<Bench, Model>::simulation;

  /// Shares of cycles without input, without a scale, and in which the output is refused.
  struct Speed {
    double sums = 0.0, scale = 0.0, out = 0.0;
  };

  Bench(std::uint64_t seed, const Speed &speed)
      : KernelBench<Bench, Model>(seed), sums(simulation.model(), Lanes * 2, speed.sums, seed + 1),
        scale(simulation.model().s_scale_tdata, simulation.model().s_scale_tvalid,
              simulation.model().s_scale_tready, 47, speed.scale, seed + 2),
        out(simulation.model().m_axis_tdata, simulation.model().m_axis_tvalid,
            simulation.model().m_axis_tready, &simulation.model().m_axis_tlast, Lanes * 32,
            speed.out, seed + 3) {
    this->reset();
  }
  /// What has not been taken will not come.
  void abandon() {
    auto &m = simulation.model();
    sums = {m, Lanes * 2, 0.1, rng.next()};
    scale = {m.s_scale_tdata, m.s_scale_tvalid, m.s_scale_tready, 47, 0.1, rng.next()};
  }
  void start(const RunConfig &run) {
    auto &m = simulation.model();
    put_cfg(m.cfg_i, run.table, run.block_log2, run.sign_key, {});
    m.first_i = run.first;
    clear();
  }
  void push(const Block &block) {
    for (std::size_t i = 0; i < block.sums.size(); i += Lanes) {
      AxisBeat beat;
      for (unsigned lane = 0; lane < Lanes; ++lane)
        set_field(beat.data, 16 * lane, 16, block.sums[i + lane]);
      beat.data.bytes()[kUserByte] = block.contributors[i / ref::kPacketCoordinates];
      sums.push(beat);
    }
    AxisData data;
    data.words[0] = scale_bits(block.scale);
    scale.push(data);
  }

  /// Runs `blocks` through and compares; sets `flag` to the reference's.
  void check(const RunConfig &run, const std::vector<Block> &blocks, bool &flag) {
    start(run);
    for (const Block &block : blocks)
      push(block);
    const std::size_t size = std::size_t{1} << run.block_log2;
    const std::size_t beats = blocks.size() * size / Lanes;
    run_to(out, beats, 100'000 + 40 * beats, 0);
    const bool at_end = simulation.model().out_of_range_o != 0;
    this->steps(60); // nothing more comes
    ASSERT_EQ(out.beats.size(), beats);
    ASSERT_EQ(sums.cycles.size(), beats);
    ASSERT_EQ(scale.cycles.size(), blocks.size());
    ref::Flags flags;
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      const std::vector<float> want =
          ref::decompress_block(blocks[b].sums, blocks[b].contributors, blocks[b].scale, run.table,
                                run.sign_key, run.first + b * size, flags);
      for (std::size_t i = 0; i < size; ++i) {
        const AxisBeat &beat = out.beats[(b * size + i) / Lanes];
        ASSERT_EQ(get_field(beat.data, 32 * static_cast<unsigned>(i % Lanes), 32),
                  std::bit_cast<std::uint32_t>(want[i]))
            << "block " << b << " coordinate " << i << " wants " << want[i];
        ASSERT_EQ(beat.last, i / Lanes == size / Lanes - 1);
        nonzero += want[i] != 0.0F;
      }
    }
    flag = flags.out_of_range;
    EXPECT_EQ(simulation.model().out_of_range_o != 0, flag);
    EXPECT_EQ(at_end, flag) << "up with the last beat";
    EXPECT_EQ(out.report(this->cycle()), "");
    coordinates += blocks.size() * size;
  }

  auto parts() { return std::tie(sums, scale, out); }

  SumsIn<Model> sums;
  StreamIn<KESTREL_TB_PORT(Model, s_scale_tdata)> scale;
  StreamOut<KESTREL_TB_PORT(Model, m_axis_tdata)> out;
  std::uint64_t coordinates = 0, nonzero = 0;
};

ref::Table random_table(Random &rng) {
  ref::Table table;
  if (rng.below(4) == 0)
    return table;
  // Only the granularity, the clamp and what follows from them matter here.
  table.bits = 1;
  table.granularity = rng.below(3) == 0 ? (rng.below(2) != 0 ? 255U : 1U)
                                        : 1 + static_cast<unsigned>(rng.below(255));
  table.t =
      rng.below(8) == 0 ? 3.9999999 : 1.0 + 2.999 * static_cast<double>(rng.below(1000)) / 999.0;
  table.values = {0, static_cast<std::uint8_t>(table.granularity)};
  EXPECT_FALSE(ref::table_error(table));
  return table;
}

RunConfig random_run(Random &rng, int block_log2) {
  RunConfig run;
  run.block_log2 = block_log2;
  run.table = random_table(rng);
  run.sign_key = ref::sign_key(rng.next(), static_cast<std::uint32_t>(rng.below(1000)));
  run.first = rng.below(4) == 0 ? 0 : rng.below(std::uint64_t{1} << 40) * 1024;
  return run;
}

enum class Kind : std::uint8_t { mean, uniform, ends, largest, zero, count_ };

// `max_sum`: 255 for sums of 8 bits, 65535 for 16.
Block random_block(Random &rng, const RunConfig &run, Kind kind, std::uint32_t max_sum) {
  Block block;
  const std::size_t size = std::size_t{1} << run.block_log2;
  const unsigned g = run.table.granularity;
  const auto most = std::min<std::uint64_t>(max_sum / g, 255);
  const auto usual = static_cast<std::uint8_t>(1 + rng.below(most));
  for (std::size_t p = 0; p < size / ref::kPacketCoordinates; ++p) {
    std::uint8_t n = usual;
    if (rng.below(3) == 0)
      n = static_cast<std::uint8_t>(rng.below(most + 1)); // 0 at times
    block.contributors.push_back(n);
  }
  if (rng.below(10) == 0)
    std::fill(block.contributors.begin(), block.contributors.end(), std::uint8_t{0});
  for (std::size_t i = 0; i < size; ++i) {
    const unsigned n = block.contributors[i / ref::kPacketCoordinates];
    const std::uint32_t range = n * g;
    std::uint32_t sum = static_cast<std::uint32_t>(rng.below(range + 1));
    if (kind == Kind::mean) { // like sums of gradients: around the middle
      std::uint64_t total = 0;
      for (int j = 0; j < 4; ++j)
        total += rng.below(range + 1);
      sum = static_cast<std::uint32_t>(total / 4);
    } else if (kind == Kind::ends) {
      sum = rng.below(2) != 0 ? 0 : range;
    } else if (kind == Kind::largest) {
      sum = 0; // adds up in one coordinate
    }
    block.sums.push_back(n == 0 ? static_cast<std::uint32_t>(rng.below(max_sum + 1)) : sum);
  }
  // Norms of all sizes, up to the end of the range.
  const int power = rng.below(3) == 0   ? -126 + static_cast<int>(rng.below(24))
                    : rng.below(3) == 0 ? 118 + static_cast<int>(rng.below(10))
                                        : -20 + static_cast<int>(rng.below(40));
  float norm = std::ldexp(1.0F + static_cast<float>(rng.next() >> 41) * 0x1p-23F, power);
  if (kind == Kind::largest && rng.below(2) != 0)
    norm = std::numeric_limits<float>::max(); // t times it is beyond fp32
  else if (rng.below(6) == 0)
    norm = std::ldexp(std::nextafter(2.0F, 1.0F), power);
  if (kind == Kind::zero)
    norm = rng.below(2) != 0 ? 0.0F : 1e-40F;
  block.scale = ref::make_scale(norm, run.table);
  return block;
}

template <class T> class ThcDecompress : public testing::Test {};
template <class Model, unsigned N> struct Config {
  using Bench = ::Bench<Model, N>;
  static constexpr unsigned kLanes = N;
};
using Configs = testing::Types<Config<Vthc_decompress_1, 1>, Config<Vthc_decompress_16, 16>>;
TYPED_TEST_SUITE(ThcDecompress, Configs);

// Without stalls a beat enters and leaves in every cycle, across blocks.
TYPED_TEST(ThcDecompress, FullRateEverySize) {
  typename TypeParam::Bench bench(seed_of_run(61), {});
  for (int k = ref::kMinBlockLog2; k <= ref::kMaxBlockLog2; ++k) {
    if (TypeParam::kLanes < 16 && k > 11)
      continue; // for the time of the test
    const RunConfig run = random_run(bench.rng, k);
    std::vector<Block> blocks;
    const int count = k == 10 ? 12 : 3;
    blocks.reserve(static_cast<std::size_t>(count));
    for (int b = 0; b < count; ++b)
      blocks.push_back(random_block(bench.rng, run, Kind::mean, 65535));
    bool flag = false;
    ASSERT_NO_FATAL_FAILURE(bench.check(run, blocks, flag));
    EXPECT_TRUE(gapless(bench.sums.cycles)) << k;
    EXPECT_TRUE(gapless(bench.out.cycles)) << k;
    const std::uint64_t beats = (std::uint64_t{1} << k) / TypeParam::kLanes;
    const std::uint64_t latency = bench.out.cycles.front() - bench.sums.cycles.front();
    EXPECT_EQ(latency, beats - 1 + 38);
    std::cout << "lanes " << TypeParam::kLanes << " block 2^" << k << ": "
              << bench.sums.cycles.size() * TypeParam::kLanes << " coordinates in "
              << bench.sums.cycles.back() - bench.sums.cycles.front() + 1 << " cycles (simulated), "
              << static_cast<double>(bench.out.cycles.size()) /
                     static_cast<double>(bench.out.cycles.back() - bench.out.cycles.front() + 1)
              << " beats a cycle out, latency " << latency << " cycles\n";
  }
}

// Tables, contributors, sums and scales of all kinds, with stalls on every stream.
TYPED_TEST(ThcDecompress, EqualToReference) {
  const std::uint64_t seed = seed_of_run(62);
  const std::array<typename TypeParam::Bench::Speed, 4> speeds = {
      {{}, {.sums = 0.5}, {.out = 0.5}, {0.3, 0.9, 0.3}}};
  std::uint64_t flagged = 0, runs = 0, coordinates = 0, nonzero = 0;
  for (const auto &speed : speeds) {
    typename TypeParam::Bench bench(seed + runs, speed);
    for (int i = 0; i < (TypeParam::kLanes < 16 ? 6 : 24); ++i, ++runs) {
      const int k = TypeParam::kLanes < 16 ? 10 + static_cast<int>(bench.rng.below(2))
                                           : 10 + static_cast<int>(bench.rng.below(i < 20 ? 4 : 6));
      const RunConfig run = random_run(bench.rng, k);
      std::vector<Block> blocks;
      for (std::uint64_t b = 1 + bench.rng.below(4); b > 0; --b)
        blocks.push_back(random_block(
            bench.rng, run,
            static_cast<Kind>(bench.rng.below(static_cast<std::uint64_t>(Kind::count_))),
            i % 2 == 0 ? 65535 : 255));
      bool flag = false;
      ASSERT_NO_FATAL_FAILURE(bench.check(run, blocks, flag)) << "run " << runs;
      flagged += flag;
    }
    coordinates += bench.coordinates;
    nonzero += bench.nonzero;
  }
  std::cout << runs << " runs, " << coordinates << " coordinates, " << nonzero << " not zero, "
            << flagged << " runs out of range\n";
  EXPECT_GT(flagged, 0U);
  EXPECT_LT(flagged, runs);
  EXPECT_GT(nonzero, coordinates / 4);
}

// A reset and a clear in the middle of a block leave nothing behind.
TYPED_TEST(ThcDecompress, ResetAndClearInTheMiddle) {
  typename TypeParam::Bench bench(seed_of_run(63), {0.1, 0.1, 0.1});
  for (int i = 0; i < 6; ++i) {
    const RunConfig run = random_run(bench.rng, 10);
    bench.start(run);
    bench.push(random_block(bench.rng, run, Kind::uniform, 65535));
    bench.push(random_block(bench.rng, run, Kind::uniform, 65535));
    for (std::uint64_t c = 40 + bench.rng.below(2 * 1024 / TypeParam::kLanes); c > 0; --c)
      bench.step();
    bench.abandon();
    if (i % 2 == 0)
      bench.reset();
    const RunConfig next = random_run(bench.rng, 10);
    bool flag = false;
    ASSERT_NO_FATAL_FAILURE(
        bench.check(next, {random_block(bench.rng, next, Kind::uniform, 65535)}, flag));
  }
}

} // namespace
