// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The device "remote" on a Verilated engine behind a bridge server: random networks against the
// software reference over TCP, a pseudo-terminal and UDP; and everything that goes wrong with
// boards and lines, each with its named error and an end in time.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "Vhv_engine_edge.h"
#include "kestrel/contract/vision.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "testbench/cpp/engine_bench.hpp"
#include "tests/host/vision/random_layers.hpp"
#include "tests/rtl/vision/bridge_server.hpp"

namespace kestrel::hv {
namespace {

using test::BridgeServer;
using test::Faults;
using Kind = BridgeServer::Kind;
using testing::HasSubstr;

constexpr std::uint32_t kEngine = 0x3000'0000, kMemory = 0x4000'0000, kSize = 0x200'0000;

const contract::Config &edge() { return *contract::find_config("edge"); }

/// Engine and memory where boards/ulx3s has them. A program runs on while the bus is used.
class EngineBoard final : public test::Bus {
public:
  explicit EngineBoard(std::uint64_t seed) : bench_(config(seed)) {}

  std::uint32_t read(std::uint32_t address) override {
    if (address - kEngine < 0x10000) {
      bench_.steps(100);
      return bench_.registers.read32(address - kEngine).value;
    }
    std::array<std::uint8_t, 4> bytes{};
    if (address - kMemory >= kSize || !bench_.memory.load(address, bytes))
      return 0xFFFF'FFFF;
    return bytes[0] | bytes[1] << 8U | bytes[2] << 16U | std::uint32_t{bytes[3]} << 24U;
  }
  void write(std::uint32_t address, std::uint32_t value) override {
    if (address - kEngine < 0x10000) {
      static_cast<void>(bench_.registers.write32(address - kEngine, value));
      return;
    }
    const std::array<std::uint8_t, 4> bytes = {
        static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8U),
        static_cast<std::uint8_t>(value >> 16U), static_cast<std::uint8_t>(value >> 24U)};
    if (address - kMemory < kSize)
      static_cast<void>(bench_.memory.store(address, bytes));
  }
  [[nodiscard]] std::string violations() { return bench_.violations(); }

private:
  using Bench = tb::EngineBench<Vhv_engine_edge>;
  static Bench::Config config(std::uint64_t seed) {
    Bench::Config config;
    config.simulation.seed = seed;
    config.simulation.max_cycles = ~std::uint64_t{0};
    return config;
  }
  Bench bench_;
};

/// Registers that hold what a test puts there, and memory.
class PlainBoard final : public test::Bus {
public:
  PlainBoard() {
    words[kEngine + contract::reg::kId] = 0x4B485631;
    words[kEngine + contract::reg::kVersion] = contract::kVersion;
    words[kEngine + contract::reg::kConfig] = edge().config_register();
    words[kEngine + contract::reg::kActRows] = edge().act_rows;
    words[kEngine + contract::reg::kRingWords] = edge().ring_words;
  }
  std::uint32_t read(std::uint32_t address) override {
    if (nobody)
      return 0xFFFF'FFFF;
    const auto found = words.find(address);
    return found == words.end() ? 0 : found->second;
  }
  void write(std::uint32_t address, std::uint32_t value) override {
    if (address == kEngine + contract::reg::kCtrl || address == kEngine + contract::reg::kIrqStatus)
      return; // write only, write one to clear
    if (address < kMemory || memory)
      words[address] = value;
  }
  std::map<std::uint32_t, std::uint32_t> words;
  bool nobody = false, memory = true;
};

Result<std::unique_ptr<Device>> open(const BridgeServer &server, const std::string &options = "") {
  return make_device("remote:" + server.url() + "?timeout=300" + options, "edge");
}

Package small_package(const test::RandomCase &c) {
  auto package = compile(c.graph, edge(), {});
  EXPECT_TRUE(package) << package.error().message;
  return *package;
}

/// The first random network from that seed on which compiles.
test::RandomCase network(std::uint64_t seed) {
  for (;; ++seed) {
    test::RandomCase c = test::random_network(seed);
    if (compile(c.graph, edge(), {}))
      return c;
  }
}

void expect_exact(Device &device, const test::RandomCase &c, std::uint64_t seed) {
  const auto input = test::random_input(c.graph, seed);
  const auto want = run_reference(c.graph, input);
  ASSERT_TRUE(want) << want.error().message;
  const auto got = device.run(input);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->output, *want);
  EXPECT_TRUE(got->counters.cycles_known);
  EXPECT_GT(got->counters.cycles, got->counters.mac);
  EXPECT_GT(got->counters.mac, 0U);
}

class RemoteLines : public testing::TestWithParam<Kind> {};

TEST_P(RemoteLines, RandomNetworksEqualTheReference) {
  const std::uint64_t first = test::seed_or(71'000);
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(first));
  EngineBoard board(first);
  Faults faults;
  BridgeServer server(GetParam(), board, faults);
  auto device = open(server);
  ASSERT_TRUE(device) << device.error().message;
  EXPECT_EQ((*device)->name(), "remote");
  for (std::uint64_t i = 0; i < 6; ++i) {
    const test::RandomCase c = network(first + 10 * i);
    SCOPED_TRACE(c.description);
    const auto loaded = (*device)->load(small_package(c));
    ASSERT_TRUE(loaded) << loaded.error().message;
    expect_exact(**device, c, i);
    expect_exact(**device, c, i + 100);
  }
  EXPECT_GT(server.reads(), 50U);
  device->reset();
  EXPECT_EQ(board.violations(), "");
}

TEST_P(RemoteLines, TheSameBoardServesOneClientAfterTheOther) {
  EngineBoard board(5);
  Faults faults;
  BridgeServer server(GetParam(), board, faults);
  const test::RandomCase c = network(72'000);
  const Package package = small_package(c);
  for (int i = 0; i < 3; ++i) {
    auto device = open(server);
    ASSERT_TRUE(device) << device.error().message;
    ASSERT_TRUE((*device)->load(package));
    expect_exact(**device, c, 3);
  }
}

TEST_P(RemoteLines, ASilentBoardTimesOut) {
  PlainBoard board;
  Faults faults;
  faults.silent = true;
  BridgeServer server(GetParam(), board, faults);
  const auto begin = std::chrono::steady_clock::now();
  const auto device = open(server);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, ErrorCode::kTimeout) << device.error().message;
  EXPECT_THAT(device.error().message, HasSubstr(server.url()));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

const char *kind_name(Kind kind) {
  switch (kind) {
  case Kind::kTcp:
    return "Tcp";
  case Kind::kPty:
    return "Pty";
  case Kind::kUdp:
    break;
  }
  return "Udp";
}

INSTANTIATE_TEST_SUITE_P(Kinds, RemoteLines, testing::Values(Kind::kTcp, Kind::kPty, Kind::kUdp),
                         [](const auto &line) { return std::string(kind_name(line.param)); });

// --- What goes wrong
// --------------------------------------------------------------------------------

void expect_refused(test::Bus &board, Faults &faults, ErrorCode code, const std::string &text,
                    Kind kind = Kind::kTcp) {
  BridgeServer server(kind, board, faults);
  const auto begin = std::chrono::steady_clock::now();
  const auto device = open(server);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, code) << device.error().message;
  EXPECT_THAT(device.error().message, HasSubstr(text));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(6));
}

TEST(RemoteDevice, APlainBoardOpens) {
  PlainBoard board;
  Faults faults;
  BridgeServer server(Kind::kTcp, board, faults);
  EXPECT_TRUE(open(server));
}

TEST(RemoteDevice, ASerialPortHasOneUser) {
  PlainBoard board;
  Faults faults;
  BridgeServer server(Kind::kPty, board, faults);
  auto first = open(server);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = open(server);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr("another program uses it"));
  first->reset();
  EXPECT_TRUE(open(server));
}

TEST(RemoteDevice, AnotherContractVersion) {
  PlainBoard board;
  Faults faults;
  board.words[kEngine + contract::reg::kVersion] = 0x00630007;
  expect_refused(board, faults, ErrorCode::kVersionMismatch, "contract version 99.7");
}

TEST(RemoteDevice, AnotherConfiguration) {
  Faults faults;
  PlainBoard board;
  board.words[kEngine + contract::reg::kConfig] = contract::find_config("nano")->config_register();
  expect_refused(board, faults, ErrorCode::kVersionMismatch, "2 lanes of 8 bytes");
  PlainBoard rows;
  rows.words[kEngine + contract::reg::kActRows] = 1024;
  expect_refused(rows, faults, ErrorCode::kVersionMismatch, "1024 rows");
  PlainBoard ring;
  ring.words[kEngine + contract::reg::kRingWords] = 77;
  expect_refused(ring, faults, ErrorCode::kVersionMismatch, "ring of 77");
}

TEST(RemoteDevice, NoEngineAtTheAddress) {
  Faults faults;
  PlainBoard other;
  other.words[kEngine + contract::reg::kId] = 0x12345678;
  expect_refused(other, faults, ErrorCode::kDevice, "ID reads 0x12345678");
  PlainBoard empty;
  empty.nobody = true;
  expect_refused(empty, faults, ErrorCode::kDevice, "nothing answers");
}

TEST(RemoteDevice, NoMemory) {
  PlainBoard board;
  board.memory = false;
  Faults faults;
  expect_refused(board, faults, ErrorCode::kDevice, "no memory at 0x40000000");
}

TEST(RemoteDevice, LessMemoryThanSaid) {
  EngineBoard board(1);
  Faults faults;
  BridgeServer server(Kind::kTcp, board, faults);
  const auto device = open(server, "&size=0x4000000");
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code, ErrorCode::kDevice);
  EXPECT_THAT(device.error().message, HasSubstr("no memory at 0x43fffff0"));
}

TEST(RemoteDevice, SizesThatNoMemoryHas) {
  EngineBoard board(1);
  Faults faults;
  BridgeServer server(Kind::kTcp, board, faults);
  for (const char *size : {"0", "12", "0x1000002", "0xC0000004"}) {
    const auto device = open(server, std::string("&size=") + size);
    ASSERT_FALSE(device) << size;
    EXPECT_EQ(device.error().code, ErrorCode::kInvalidArgument) << device.error().message;
    EXPECT_THAT(device.error().message, HasSubstr("size="));
  }
}

TEST(RemoteDevice, TooLargeForTheMemory) {
  EngineBoard board(1);
  Faults faults;
  BridgeServer server(Kind::kTcp, board, faults);
  auto device = open(server, "&size=4096");
  ASSERT_TRUE(device) << device.error().message;
  const auto loaded = (*device)->load(small_package(network(73'000)));
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kResourceLimit) << loaded.error().message;
}

TEST(RemoteDevice, GarbageThatEndsIsSurvived) {
  EngineBoard board(1);
  Faults faults;
  faults.greeting = {0x00, 0xFF, 0x13, 0x37};
  BridgeServer server(Kind::kTcp, board, faults);
  auto device = open(server);
  ASSERT_TRUE(device) << device.error().message;
  const test::RandomCase c = network(73'000);
  ASSERT_TRUE((*device)->load(small_package(c)));
  expect_exact(**device, c, 1);
}

TEST(RemoteDevice, GarbageWithoutEnd) {
  PlainBoard board;
  for (const Kind kind : {Kind::kTcp, Kind::kPty}) {
    Faults faults;
    faults.babble = true;
    expect_refused(board, faults, ErrorCode::kParse, "garbage on the line", kind);
  }
}

TEST(RemoteDevice, AByteTooMuch) {
  EngineBoard board(1);
  Faults faults;
  BridgeServer server(Kind::kTcp, board, faults);
  auto device = open(server);
  ASSERT_TRUE(device) << device.error().message;
  faults.extra_byte = static_cast<int>(server.reads());
  const auto loaded = (*device)->load(small_package(network(73'000)));
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kParse) << loaded.error().message;
}

TEST(RemoteDevice, AByteTooFew) {
  EngineBoard board(1);
  Faults faults;
  BridgeServer server(Kind::kTcp, board, faults);
  auto device = open(server);
  ASSERT_TRUE(device) << device.error().message;
  faults.short_answer = static_cast<int>(server.reads()) + 1;
  const auto loaded = (*device)->load(small_package(network(73'000)));
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kTimeout) << loaded.error().message;
  EXPECT_THAT(loaded.error().message, HasSubstr("bytes of an answer"));
}

TEST(RemoteDevice, UnpluggedWhileItLoadsAndWhileItRuns) {
  for (const Kind kind : {Kind::kTcp, Kind::kPty}) {
    for (const bool running : {false, true}) {
      EngineBoard board(1);
      Faults faults;
      BridgeServer server(kind, board, faults);
      auto device = open(server);
      ASSERT_TRUE(device) << device.error().message;
      const test::RandomCase c = network(73'000);
      const Package package = small_package(c);
      if (running) {
        ASSERT_TRUE((*device)->load(package));
      }
      faults.close_after = static_cast<int>(server.reads()) + 1;
      const Result<void> done = running ? [&]() -> Result<void> {
        const auto got = (*device)->run(test::random_input(c.graph, 1));
        return got ? Result<void>() : Result<void>(got.error());
      }()
          : (*device)->load(package);
      ASSERT_FALSE(done);
      EXPECT_EQ(done.error().code, ErrorCode::kUnavailable) << done.error().message;
      EXPECT_THAT(done.error().message, HasSubstr("the line is gone"));
    }
  }
}

TEST(RemoteDevice, ABitThatFellOver) {
  EngineBoard board(1);
  Faults faults;
  faults.on_write = [](std::uint32_t address, std::uint32_t value) {
    return address == kMemory + 64 ? value ^ 0x100U : value;
  };
  BridgeServer server(Kind::kTcp, board, faults);
  auto device = open(server);
  ASSERT_TRUE(device) << device.error().message;
  const auto loaded = (*device)->load(small_package(network(73'000)));
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kIo) << loaded.error().message;
  EXPECT_THAT(loaded.error().message, HasSubstr("memory at 0x40000040 reads"));
}

TEST(RemoteDevice, AnEngineThatDoesNotEnd) {
  PlainBoard board;
  Faults faults;
  BridgeServer server(Kind::kTcp, board, faults);
  auto device = open(server, "&patience=1");
  ASSERT_TRUE(device) << device.error().message;
  const test::RandomCase c = network(73'000);
  ASSERT_TRUE((*device)->load(small_package(c)));
  const auto got = (*device)->run(test::random_input(c.graph, 1));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kTimeout) << got.error().message;
  EXPECT_THAT(got.error().message, HasSubstr("did not end within 1 s"));
}

TEST(RemoteDevice, AnEngineThatStopsWithAnError) {
  EngineBoard board(1);
  Faults faults;
  // The doorbell finds a program that is none.
  faults.on_write = [&board](std::uint32_t address, std::uint32_t value) {
    if (address == kEngine + contract::reg::kCtrl && value == 1)
      for (std::uint32_t i = 0; i < 0x40000; i += 4)
        board.write(kMemory + i, 0xFFFF'FFFF);
    return value;
  };
  BridgeServer server(Kind::kTcp, board, faults);
  auto device = open(server);
  ASSERT_TRUE(device) << device.error().message;
  const test::RandomCase c = network(73'000);
  ASSERT_TRUE((*device)->load(small_package(c)));
  const auto got = (*device)->run(test::random_input(c.graph, 1));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kDevice) << got.error().message;
  EXPECT_THAT(got.error().message, HasSubstr("bad opcode"));
}

TEST(RemoteDevice, LostDatagramsAreAskedForAgain) {
  EngineBoard board(1);
  Faults faults;
  BridgeServer server(Kind::kUdp, board, faults);
  faults.lose_datagrams = 2;
  auto device = open(server);
  ASSERT_TRUE(device) << device.error().message;
  const test::RandomCase c = network(73'000);
  const auto loaded = (*device)->load(small_package(c));
  ASSERT_TRUE(loaded) << loaded.error().message;
  expect_exact(**device, c, 1);
}

TEST(RemoteDevice, UrlsThatNameNoBoard) {
  const auto refused = [](const std::string &url, ErrorCode code, const std::string &text) {
    const auto device = make_device("remote:" + url, "edge");
    ASSERT_FALSE(device) << url;
    EXPECT_EQ(device.error().code, code) << device.error().message;
    EXPECT_THAT(device.error().message, HasSubstr(text)) << url;
  };
  const auto wrong = ErrorCode::kInvalidArgument;
  refused("", wrong, "names no board");
  refused("tcp://", wrong, "names no board");
  refused("tcp://host", wrong, "names no board");
  refused("tcp://host:0", wrong, "names no board");
  refused("tcp://host:70000", wrong, "names no board");
  refused("http://host:80", wrong, "names no board");
  refused("/dev/ttyS0?baud", wrong, "NAME=VALUE");
  refused("/dev/ttyS0?bauds=9600", wrong, "unknown option 'bauds'");
  refused("/dev/ttyS0?baud=fast", wrong, "baud=fast");
  refused("/dev/ttyS0?memory=0x40000001", wrong, "multiple");
  refused("/dev/null?baud=12345", ErrorCode::kUnsupported, "12345 baud");
  refused("/nonexistent/tty", ErrorCode::kNotFound, "No such file");
  refused("/dev/null", ErrorCode::kIo, "not a serial port");
  refused("tcp://127.0.0.1:1", ErrorCode::kUnavailable, "refused");
}

// The bytes on the wire, as litex.tools.remote.comm_uart of LiteX 2024.12 writes them for the same
// accesses (tests/scripts/test_uartbone.py asks it).
TEST(RemoteDevice, BytesOnTheWire) {
  PlainBoard board;
  Faults faults;
  std::vector<std::uint8_t> heard;
  {
    BridgeServer server(Kind::kTcp, board, faults);
    ASSERT_TRUE(open(server));
    heard = server.heard();
  }
  std::string hex;
  for (const std::uint8_t byte : heard)
    hex += fmt::format("{:02x}", byte);
  EXPECT_EQ(hex, "02050c000000"                                 // who are you?
                 "01010c00000500000002"                         // CTRL: soft reset
                 "02010c000006"                                 // STATUS
                 "01010c00000800000000"                         // IRQ_ENABLE
                 "01010c00001100000000"                         // CONF_CTRL
                 "0104100000005eed0001a5a55a5a0000ffff12345678" // memory, first
                 "0104107ffffc5eed00025a5aa5a5ffff000087654321" // memory, last
                 "020410000000"                                 //
                 "0204107ffffc");
}

} // namespace
} // namespace kestrel::hv
