// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The cycle model against the RTL: every performance counter of random layers, random networks and
// real networks, over read latencies, write latencies and numbers of outstanding bursts.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/cycle_model.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/functional_device.hpp"
#include "kestrel/vision/tflite.hpp"
#include "tests/host/test_data.hpp"
#include "tests/host/vision/large_networks.hpp"
#include "tests/host/vision/random_layers.hpp"
#include "tests/rtl/vision/counters_text.hpp"

namespace kestrel::hv {
namespace {

const contract::Config &edge() { return *contract::find_config("edge"); }

constexpr std::array<std::uint32_t, 4> kReadLatencies{1, 7, 30, 100};
constexpr std::array<std::uint32_t, 3> kWriteLatencies{1, 8, 40};
constexpr std::array<std::uint32_t, 4> kOutstanding{1, 2, 4, 16};

MemoryTiming board_memory() { return parse_memory("ulx3s").value(); }

/// A memory that is slower than the bus, drawn from `seed`: bandwidth and refresh beside the rest.
MemoryTiming slow_timing(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto draw = [&](std::uint32_t low, std::uint32_t high) {
    return std::uniform_int_distribution<std::uint32_t>(low, high)(random);
  };
  MemoryTiming t{draw(1, 60), draw(1, 60), draw(1, 16)};
  t.cycles = draw(1, 12);
  t.beats = draw(std::max(1U, t.cycles / 8), t.cycles);
  if (draw(0, 3) != 0) {
    t.refresh_interval = draw(2, 500);
    t.refresh_cycles = draw(0, std::min(t.refresh_interval - 1, 40U));
  }
  return t;
}

/// Number `i` of all combinations.
MemoryTiming timing_of(std::uint64_t i) {
  return {kReadLatencies[i % 4], kWriteLatencies[i / 4 % 3], kOutstanding[i / 12 % 4]};
}
constexpr std::uint64_t kTimings = 48;

DeviceOptions options_of(const MemoryTiming &timing) {
  DeviceOptions options;
  options.memory = timing;
  return options;
}

struct Totals {
  std::uint64_t packages = 0, runs = 0, refused = 0, cycles = 0;
  double model_seconds = 0.0;
  // Cycles of every class, so that no counter is compared at 0 only.
  Counters sum;

  void add(const Counters &n) {
    ++runs;
    cycles += n.cycles;
    for (auto member : {&Counters::mac, &Counters::res, &Counters::stall_weight,
                        &Counters::stall_drain, &Counters::stall_fetch, &Counters::stall_load,
                        &Counters::stall_dep, &Counters::stall_desc, &Counters::stall_out,
                        &Counters::rd_beats, &Counters::rd_w_beats, &Counters::wr_beats})
      sum.*member += n.*member;
  }
  void print() const {
    std::printf("%llu packages, %llu runs, %llu refused by name, %llu cycles, model %.1f ns a "
                "cycle\n%s\n",
                static_cast<unsigned long long>(packages), static_cast<unsigned long long>(runs),
                static_cast<unsigned long long>(refused), static_cast<unsigned long long>(cycles),
                1e9 * model_seconds / static_cast<double>(std::max<std::uint64_t>(cycles, 1)),
                describe(sum).c_str());
  }
};

/// What the schedule must satisfy whatever the RTL does.
void expect_consistent(const std::vector<DescriptorCycles> &schedule, const Counters &n,
                       const Package &package) {
  ASSERT_EQ(schedule.size() + 1, package.descriptor_count);
  std::uint64_t attributed = 0, mac = 0, last_compute = 0;
  for (const DescriptorCycles &d : schedule) {
    EXPECT_GT(d.first, 0U);
    EXPECT_LE(d.first, d.last) << d.descriptor;
    EXPECT_LE(d.last, n.cycles);
    attributed += d.cycles();
    mac += d.mac;
    if (d.op == contract::DescOp::kCompute) {
      EXPECT_GT(d.mac, 0U);
      EXPECT_GT(d.last, last_compute) << "results come in order";
      last_compute = d.last;
    } else {
      EXPECT_EQ(d.cycles(), 0U);
    }
  }
  EXPECT_EQ(attributed + n.stall_out, n.cycles);
  EXPECT_EQ(mac, n.mac);
}

void expect_equal(const Package &package, const Graph &graph, const MemoryTiming &timing,
                  std::uint64_t seed, Totals &totals) {
  SCOPED_TRACE(describe(timing));
  std::vector<DescriptorCycles> schedule;
  const std::clock_t begin = std::clock();
  const auto model = simulate_cycles(package, edge(), timing, &schedule);
  totals.model_seconds += static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  ASSERT_TRUE(model) << model.error().message;
  auto rtl = make_device("rtl", "edge", options_of(timing));
  ASSERT_TRUE(rtl) << rtl.error().message;
  const auto loaded = (*rtl)->load(package);
  ASSERT_TRUE(loaded) << loaded.error().message;
  const auto got = (*rtl)->run(test::random_input(graph, seed));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(describe(*model), describe(got->counters));
  expect_consistent(schedule, *model, package);
  totals.add(got->counters);
}

/// Compile options that exercise every mapping, stripes and small activation memories.
Result<Package> compile_variant(const Graph &graph, std::uint64_t seed) {
  CompileOptions options;
  options.force_groups = std::array{0U, 0U, 1U, 2U, 4U}[seed % 5];
  options.input_stripes = seed % 3 == 0 ? 0U : static_cast<std::uint32_t>(1 + seed % 4);
  if (seed % 7 == 3)
    options.act_rows_limit = 96;
  auto package = compile(graph, edge(), options);
  if (!package && seed % 7 == 3) {
    options.act_rows_limit = 0;
    package = compile(graph, edge(), options);
  }
  if (!package && options.force_groups != 0)
    package = compile(graph, edge(), {});
  return package;
}

void run_cases(std::uint64_t first, int count, bool networks) {
  std::printf("KESTREL_SEED=%llu (%d cases)\n", static_cast<unsigned long long>(first), count);
  Totals totals;
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(i);
    const auto c = networks ? test::random_network(seed) : test::random_layer(seed);
    SCOPED_TRACE(fmt::format("seed {}: {}", seed, c.description));
    const auto package = compile_variant(c.graph, seed);
    if (!package) {
      ++totals.refused;
      ASSERT_TRUE(package.error().code == ErrorCode::kUnsupported ||
                  package.error().code == ErrorCode::kResourceLimit)
          << package.error().message;
      continue;
    }
    ++totals.packages;
    // Neighbouring seeds take distant combinations; the second differs in every value.
    expect_equal(*package, c.graph, timing_of(seed * 7 % kTimings), seed, totals);
    expect_equal(*package, c.graph, timing_of((seed * 7 + 17) % kTimings), seed, totals);
  }
  totals.print();
  EXPECT_GT(totals.runs, static_cast<std::uint64_t>(count));
  for (auto member :
       {&Counters::mac, &Counters::res, &Counters::stall_weight, &Counters::stall_drain,
        &Counters::stall_fetch, &Counters::stall_load, &Counters::stall_dep, &Counters::stall_desc,
        &Counters::stall_out, &Counters::rd_w_beats, &Counters::wr_beats})
    EXPECT_GT(totals.sum.*member, 0U) << "a class of cycles never occurred";
}

TEST(CycleModel, RandomLayersEqualRtl) { run_cases(test::seed_or(74'000), 240, false); }
TEST(CycleModel, RandomNetworksEqualRtl) { run_cases(test::seed_or(85'000), 60, true); }

TEST(CycleModel, SlowMemoriesEqualRtl) {
  const std::uint64_t first = test::seed_or(63'000);
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(first));
  Totals totals;
  for (std::uint64_t seed = first; seed < first + 60 && !testing::Test::HasFailure(); ++seed) {
    const auto c = seed % 4 == 0 ? test::random_network(seed) : test::random_layer(seed);
    SCOPED_TRACE(fmt::format("seed {}: {}", seed, c.description));
    const auto package = compile_variant(c.graph, seed);
    if (!package) {
      ++totals.refused;
      continue;
    }
    ++totals.packages;
    expect_equal(*package, c.graph, slow_timing(seed), seed, totals);
    // The same inference takes no longer where every cycle can move a beat.
    MemoryTiming slow = slow_timing(seed), quick = slow;
    quick.beats = quick.cycles = 1;
    quick.refresh_interval = 0;
    const auto a = simulate_cycles(*package, edge(), slow),
               b = simulate_cycles(*package, edge(), quick);
    ASSERT_TRUE(a && b);
    EXPECT_GE(a->cycles + 64, b->cycles);
  }
  totals.print();
  EXPECT_GT(totals.runs, 30U);
  EXPECT_GT(totals.sum.wr_beats, 0U);
}

/// More write bursts under way than the engine keeps count of.
TEST(CycleModel, ManyWritesUnderWayEqualRtl) {
  test::RandomNetwork net(96'000, {}, 40, 40, 8);
  net.relu();
  const Graph graph = net.finish();
  const auto package = compile(graph, edge(), {});
  ASSERT_TRUE(package) << package.error().message;
  Totals totals;
  totals.packages = 1;
  expect_equal(*package, graph, {30, 3000, 200}, 1, totals);
  totals.print();
  EXPECT_GT(totals.sum.wr_beats, 64U * 16U);
}

/// Weights of a large layer that fill the ring while the layer before computes.
TEST(CycleModel, FullWeightRingEqualsRtl) {
  contract::Config smaller = edge();
  smaller.ring_words -= 4;
  const test::RandomLimits limits{32, 32, 3, 8'000'000};
  Totals totals;
  for (const std::uint64_t seed : {97'073U, 97'141U, 97'347U}) {
    test::RandomNetwork net(seed, limits, 24, 24, 16);
    net.conv();
    net.fully_connected(64);
    SCOPED_TRACE(net.description());
    const Graph graph = net.finish();
    const auto package = compile(graph, edge(), {});
    ASSERT_TRUE(package) << package.error().message;
    const auto full = simulate_cycles(*package, edge());
    const auto less = simulate_cycles(*package, smaller);
    ASSERT_TRUE(full && less);
    EXPECT_LT(full->cycles, less->cycles) << "the ring is never full";
    ++totals.packages;
    expect_equal(*package, graph, {}, seed, totals);
  }
  totals.print();
}

class CycleModelNetworks : public testing::TestWithParam<const char *> {};

TEST_P(CycleModelNetworks, EqualsRtl) {
  auto path = test::committed_edge_model();
  if (GetParam() != std::string("fmnist_edge_int8")) {
    const auto networks = test::data_networks();
    const auto at = std::find_if(networks.begin(), networks.end(),
                                 [](const auto &network) { return network.stem() == GetParam(); });
    if (at == networks.end())
      GTEST_SKIP() << GetParam() << " is absent; set KESTREL_DATA_DIR to the test data";
    path = *at;
  }
  const auto graph = import_tflite_file(path);
  ASSERT_TRUE(graph) << graph.error().message;
  const auto package = compile(*graph, edge(), {});
  ASSERT_TRUE(package) << package.error().message;
  Totals totals;
  totals.packages = 1;
  for (const MemoryTiming &timing :
       {MemoryTiming{}, MemoryTiming{1, 1, 2}, MemoryTiming{100, 40, 1}, MemoryTiming{7, 40, 4},
        board_memory(), MemoryTiming{20, 9, 3, 3, 8, 100, 7}})
    expect_equal(*package, *graph, timing, 5, totals);
  // Compiled for the board's memory: exact as well, and there not slower than what was compiled for
  // the assumed one.
  CompileOptions for_board;
  for_board.memory = board_memory();
  const auto tuned = compile(*graph, edge(), for_board);
  ASSERT_TRUE(tuned) << tuned.error().message;
  expect_equal(*tuned, *graph, board_memory(), 6, totals);
  const auto slow = simulate_cycles(*package, edge(), board_memory());
  const auto quick = simulate_cycles(*tuned, edge(), board_memory());
  ASSERT_TRUE(slow && quick);
  std::printf("on the board's memory: compiled for the assumed one %llu cycles, for itself %llu\n",
              static_cast<unsigned long long>(slow->cycles),
              static_cast<unsigned long long>(quick->cycles));
  EXPECT_LE(quick->cycles, slow->cycles);
  totals.print();

  // The functional device returns the same counters.
  FunctionalDevice fast(edge(), {});
  ASSERT_TRUE(fast.load(*package));
  const auto run = fast.run(test::random_input(*graph, 5));
  ASSERT_TRUE(run) << run.error().message;
  EXPECT_TRUE(run->counters.cycles_known);
  const auto model = simulate_cycles(*package, edge());
  ASSERT_TRUE(model);
  EXPECT_EQ(describe(run->counters), describe(*model));
}

INSTANTIATE_TEST_SUITE_P(Networks, CycleModelNetworks,
                         testing::Values("fmnist_edge_int8", "dscnn_kws_int8", "mnist_arduino_q",
                                         "mnist_dw_q", "mnist_valid_q",
                                         "mobilenetv1_025_vww96_int8", "person_detect",
                                         "resnet8_cifar10_int8"),
                         [](const auto &network) { return std::string(network.param); });

/// Stripes and spilled maps: a network that does not fit activation memory, compiled for each
/// memory.
TEST(CycleModel, LargeNetworkForTheBoardsMemory) {
  const Graph graph = test::mobilenet_v2(31);
  CompileOptions for_board;
  for_board.memory = board_memory();
  const auto assumed = compile(graph, edge(), {});
  const auto tuned = compile(graph, edge(), for_board);
  ASSERT_TRUE(assumed && tuned);
  const auto a = simulate_cycles(*assumed, edge(), board_memory());
  const auto b = simulate_cycles(*tuned, edge(), board_memory());
  const auto c = simulate_cycles(*assumed, edge());
  const auto d = simulate_cycles(*tuned, edge());
  ASSERT_TRUE(a && b && c && d);
  const auto text = [](const Counters &n) {
    return fmt::format("{} cycles, {} beats read, {} written", n.cycles, n.rd_beats, n.wr_beats);
  };
  std::printf("shape of MobileNetV2 at 224x224\ncompiled for the assumed memory: there %s; on the "
              "board's %s\ncompiled for the board's: there %s; on the assumed one %s\n",
              text(*c).c_str(), text(*a).c_str(), text(*b).c_str(), text(*d).c_str());
  EXPECT_LT(b->cycles, a->cycles);
  EXPECT_LT(b->rd_beats + b->wr_beats, a->rd_beats + a->wr_beats);
}

TEST(CycleModel, RefusesWhatItDoesNotKnow) {
  const auto c = test::random_layer(74'000);
  const auto package = compile(c.graph, edge(), {});
  ASSERT_TRUE(package) << package.error().message;
  const auto other = simulate_cycles(*package, *contract::find_config("kria"));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kVersionMismatch);
  Package renamed = *package;
  renamed.config_name = "kria";
  const auto wide = simulate_cycles(renamed, *contract::find_config("kria"));
  ASSERT_FALSE(wide);
  EXPECT_EQ(wide.error().code, ErrorCode::kUnsupported);
  // A wait that is never met: the engine's watchdog would end this program.
  Package stuck = *package;
  for (std::uint32_t i = 0; i < stuck.descriptor_count; ++i) {
    std::uint8_t *word = stuck.image.data() + stuck.descriptor_offset + std::size_t{i} * 128;
    if ((word[0] & 0xFU) == static_cast<std::uint8_t>(contract::DescOp::kLoad)) {
      word[2] = 0xFF; // wait_compute
      break;
    }
  }
  const auto never = simulate_cycles(stuck, edge());
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().code, ErrorCode::kDevice);
}

} // namespace
} // namespace kestrel::hv
