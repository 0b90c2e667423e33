// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The device "remote" on the simulated ULX3S board: the bridge, the SDRAM controller and the bus
// are those that LiteX generates, the chip keeps its rules or the board's program fails. Random
// networks and the committed one against the software reference.
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/cycle_model.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"
#include "tests/host/test_data.hpp"
#include "tests/host/vision/random_layers.hpp"

namespace kestrel::hv {
namespace {

const contract::Config &edge() { return *contract::find_config("edge"); }

/// The program kestrel-board-sim, from its ready line to what it counted.
class Board {
public:
  explicit Board(const std::vector<std::string> &options) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(pipe[1], STDOUT_FILENO);
      std::vector<std::string> arguments = {KESTREL_BOARD_SIM};
      arguments.insert(arguments.end(), options.begin(), options.end());
      std::vector<char *> argv;
      argv.reserve(arguments.size() + 1);
      for (std::string &argument : arguments)
        argv.push_back(argument.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(pipe[1]);
    out_ = ::fdopen(pipe[0], "r");
    device_ = line().value("device", "");
  }
  Board(const Board &) = delete;
  Board &operator=(const Board &) = delete;
  ~Board() {
    if (pid_ > 0)
      static_cast<void>(stop());
    std::fclose(out_);
  }

  [[nodiscard]] std::string device(const std::string &options = "") const {
    return device_ + "?timeout=30000" + options;
  }
  /// What it counted; null where it did not end well.
  nlohmann::json stop() {
    ::kill(pid_, SIGTERM);
    nlohmann::json counts = line();
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? counts : nlohmann::json();
  }

private:
  nlohmann::json line() {
    std::array<char, 1024> text{};
    return std::fgets(text.data(), text.size(), out_) == nullptr
               ? nlohmann::json()
               : nlohmann::json::parse(text.data(), nullptr, false);
  }
  pid_t pid_ = -1;
  std::FILE *out_ = nullptr;
  std::string device_;
};

void expect_exact(Device &device, const Graph &graph, std::uint64_t seed) {
  const auto input = test::random_input(graph, seed);
  const auto want = run_reference(graph, input);
  ASSERT_TRUE(want) << want.error().message;
  const auto got = device.run(input);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->output, *want);
  EXPECT_GT(got->counters.cycles, got->counters.mac);
}

void expect_kept_rules(Board &board) {
  const nlohmann::json counts = board.stop();
  ASSERT_TRUE(counts.is_object()) << "the board's program failed";
  const auto &sdram = counts.at("sdram");
  std::printf("%s\n", counts.dump().c_str());
  EXPECT_EQ(sdram.at("violations"), 0);
  EXPECT_GT(sdram.at("reads"), 1000);
  EXPECT_GT(sdram.at("writes"), 1000);
  // 8192 rows in 64 ms of 20 ns cycles.
  EXPECT_GT(sdram.at("refreshes").get<double>(), counts.at("cycles").get<double>() / 400);
}

TEST(SimulatedBoard, RandomNetworksEqualTheReference) {
  const std::uint64_t first = test::seed_or(81'000);
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(first));
  Board board({"--port", "0", "--seed", std::to_string(first)});
  auto device = make_device(board.device(), "edge");
  ASSERT_TRUE(device) << device.error().message;
  int runs = 0;
  for (std::uint64_t seed = first; runs < 6; ++seed) {
    const test::RandomCase c = test::random_network(seed);
    const auto package = compile(c.graph, edge(), {});
    if (!package)
      continue;
    SCOPED_TRACE(c.description);
    const auto loaded = (*device)->load(*package);
    ASSERT_TRUE(loaded) << loaded.error().message;
    expect_exact(**device, c.graph, seed);
    expect_exact(**device, c.graph, seed + 1);
    ++runs;
  }
  device->reset();
  expect_kept_rules(board);
}

TEST(SimulatedBoard, FashionMnistOnAPseudoTerminal) {
  const auto graph = import_tflite_file(test::committed_edge_model());
  ASSERT_TRUE(graph) << graph.error().message;
  const auto package = compile(*graph, edge(), {});
  ASSERT_TRUE(package) << package.error().message;
  Board board({"--pty"});
  // One client after the other: the second finds the line as the first has left it.
  for (std::uint64_t seed = 1; seed < 3; ++seed) {
    auto device = make_device(board.device(), "edge");
    ASSERT_TRUE(device) << device.error().message;
    const auto loaded = (*device)->load(*package);
    ASSERT_TRUE(loaded) << loaded.error().message;
    expect_exact(**device, *graph, seed);
  }
  expect_kept_rules(board);
}

/// The cycles that the memory model "ulx3s" predicts against those that the board counts.
TEST(SimulatedBoard, MemoryModelPredictsItsCycles) {
  struct Case {
    std::string name;
    Graph graph;
    CompileOptions options;
    double bound; // of the relative error
  };
  std::vector<Case> cases;
  const MemoryModel memory = parse_memory("ulx3s").value();
  CompileOptions tuned, spilled;
  tuned.memory = spilled.memory = memory;
  spilled.act_rows_limit = 96;
  const auto resnet8 = test::data_dir() / "models/mlperf_tiny/resnet8_cifar10_int8.tflite";
  for (const auto &[path, options] :
       {std::pair{test::committed_edge_model(), CompileOptions{}},
        std::pair{test::committed_edge_model(), tuned}, std::pair{resnet8, tuned}}) {
    if (!std::filesystem::exists(path)) {
      std::printf("ResNet-8 is absent; set KESTREL_DATA_DIR to the test data\n");
      continue;
    }
    auto graph = import_tflite_file(path);
    ASSERT_TRUE(graph) << graph.error().message;
    cases.push_back({path.stem().string(), std::move(*graph), options, 0.01});
  }
  // Maps that go through the SDRAM and back: reads and writes change places on its bus.
  for (std::uint64_t seed = 96'000; cases.size() < 6 && seed < 97'000; ++seed) {
    auto c = test::random_network(seed);
    const auto package = compile(c.graph, edge(), spilled);
    const auto counters =
        package ? simulate_cycles(*package, edge(), memory) : Result<Counters>(package.error());
    if (counters && counters->wr_beats > 500)
      cases.push_back({"spilled", std::move(c.graph), spilled, 0.02});
  }

  Board board({"--port", "0"});
  auto device = make_device(board.device("&verify=0"), "edge");
  ASSERT_TRUE(device) << device.error().message;
  for (const Case &c : cases) {
    SCOPED_TRACE(c.name);
    const auto package = compile(c.graph, edge(), c.options);
    ASSERT_TRUE(package) << package.error().message;
    const auto model = simulate_cycles(*package, edge(), memory);
    ASSERT_TRUE(model) << model.error().message;
    const auto loaded = (*device)->load(*package);
    ASSERT_TRUE(loaded) << loaded.error().message;
    const auto input = test::random_input(c.graph, 1);
    const auto want = run_reference(c.graph, input);
    const auto got = (*device)->run(input);
    ASSERT_TRUE(want && got);
    EXPECT_EQ(got->output, *want);
    const auto counted = static_cast<double>(got->counters.cycles);
    const double error = static_cast<double>(model->cycles) / counted - 1.0;
    std::printf("%-24s compiled for %-8s board %9.0f cycles, model %9llu (%+.2f %%), %llu beats "
                "read, %llu written\n",
                c.name.c_str(), c.options.memory == memory ? "ulx3s" : "assumed", counted,
                static_cast<unsigned long long>(model->cycles), 100 * error,
                static_cast<unsigned long long>(got->counters.rd_beats),
                static_cast<unsigned long long>(got->counters.wr_beats));
    EXPECT_LT(std::abs(error), c.bound);
    if (c.name == "spilled") {
      EXPECT_GT(got->counters.wr_beats, 500U);
    }
  }
}

TEST(SimulatedBoard, NoEngineAtTheAddress) {
  Board board({"--port", "0"});
  {
    const auto nobody = make_device(board.device("&engine=0x20000000"), "edge");
    ASSERT_FALSE(nobody);
    EXPECT_EQ(nobody.error().code, ErrorCode::kDevice) << nobody.error().message;
  }
  auto device = make_device(board.device(), "edge");
  EXPECT_TRUE(device) << device.error().message;
}

} // namespace
} // namespace kestrel::hv
