// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The AXI4-Lite master against a slave in C++, the AXI-Stream source against the sink.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "testbench/cpp/axil_checker.hpp"
#include "testbench/cpp/axil_driver.hpp"
#include "testbench/cpp/axis_checker.hpp"
#include "testbench/cpp/axis_driver.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace kestrel::tb::test {
namespace {

// Registers in a map, random READY and answer delays; registers from 0x100 on answer SLVERR, from
// 0x200 on never.
class RegisterSlave {
public:
  RegisterSlave(double stall, std::uint64_t seed) : stall_(stall), random_(seed) {}

  bool needs_both = false; // READY of AW and W only when both are offered
  std::map<std::uint32_t, std::uint32_t> registers;

  void eval_outputs(AxilPorts &p) {
    p.arready = !read_full_ && !random_.chance(stall_);
    if (!p.rvalid && read_full_ && read_addr_ < 0x200 && !random_.chance(stall_)) {
      p.rvalid = true;
      p.rdata = registers[read_addr_];
      p.rresp = read_addr_ >= 0x100 ? 2 : 0;
    }
    const bool both = p.awvalid && p.wvalid;
    p.awready = !aw_full_ && !random_.chance(stall_) && (!needs_both || both);
    p.wready = !w_full_ && (needs_both ? p.awready : !random_.chance(stall_));
    if (!p.bvalid && aw_full_ && w_full_ && aw_addr_ < 0x200 && !random_.chance(stall_)) {
      p.bvalid = true;
      p.bresp = aw_addr_ >= 0x100 ? 2 : 0;
      std::uint32_t &value = registers[aw_addr_];
      for (std::uint32_t lane = 0; lane < 4 && p.bresp == 0; ++lane) {
        if (((strb_ >> lane) & 1U) != 0) {
          const std::uint32_t mask = 0xFFU << (8 * lane);
          value = (value & ~mask) | (data_ & mask);
        }
      }
    }
  }
  void sample(AxilPorts &p) {
    if (p.rvalid && p.rready) {
      p.rvalid = read_full_ = false;
    }
    if (p.arvalid && p.arready) {
      read_full_ = true;
      read_addr_ = p.araddr;
    }
    if (p.bvalid && p.bready) {
      p.bvalid = aw_full_ = w_full_ = false;
    }
    if (p.awvalid && p.awready) {
      aw_full_ = true;
      aw_addr_ = p.awaddr;
    }
    if (p.wvalid && p.wready) {
      w_full_ = true;
      data_ = p.wdata;
      strb_ = p.wstrb;
    }
  }

private:
  double stall_;
  Random random_;
  bool read_full_ = false, aw_full_ = false, w_full_ = false;
  std::uint32_t read_addr_ = 0, aw_addr_ = 0, data_ = 0;
  std::uint8_t strb_ = 0;
};

// A driver, a checker and a slave. The slave's outputs live in its own copy of the ports, as a
// design's would, so the driver sees them only through the step function.
struct AxilBench {
  AxilBench(const AxilDriverConfig &config, double stall, std::uint64_t seed)
      : slave(stall, seed), driver([this] { return step(); }, config) {}

  bool step() {
    if (cycle >= stop_at) {
      return false;
    }
    AxilPorts &p = driver.ports();
    p.rvalid = answers.rvalid;
    p.bvalid = answers.bvalid;
    slave.eval_outputs(p);
    checker.sample(cycle++, p);
    answers = p;
    slave.sample(answers);
    return true;
  }

  RegisterSlave slave;
  AxilChecker checker;
  AxilPorts answers{};
  std::uint64_t cycle = 0;
  std::uint64_t stop_at = ~std::uint64_t{0};
  AxilDriver driver;
};

TEST(axil_driver, random_accesses_in_every_order) {
  const std::uint64_t seed = seed_of_run(31);
  for (const auto order : {AxilWriteOrder::together, AxilWriteOrder::address_first,
                           AxilWriteOrder::data_first, AxilWriteOrder::random}) {
    for (const double stall : {0.0, 0.6}) {
      for (const bool needs_both : {false, true}) {
        AxilDriverConfig config;
        config.write_order = order;
        config.response_stall = stall;
        config.seed = seed;
        AxilBench bench(config, stall, seed + 1);
        bench.slave.needs_both = needs_both;
        Random random(seed + 2);
        std::map<std::uint32_t, std::uint32_t> shadow;
        for (int i = 0; i < 300; ++i) {
          const auto addr = static_cast<std::uint32_t>(4 * random.below(8));
          if (random.chance(0.5)) {
            const auto value = static_cast<std::uint32_t>(random.next());
            const auto strobe = static_cast<std::uint8_t>(random.below(16));
            ASSERT_TRUE(bench.driver.write32(addr, value, strobe).ok());
            for (std::uint32_t lane = 0; lane < 4; ++lane) {
              const std::uint32_t mask = ((strobe >> lane) & 1U) != 0 ? 0xFFU << (8 * lane) : 0;
              shadow[addr] = (shadow[addr] & ~mask) | (value & mask);
            }
          } else {
            const AxilResult result = bench.driver.read32(addr);
            ASSERT_TRUE(result.ok());
            ASSERT_EQ(result.value, shadow[addr]);
          }
        }
        bench.checker.finish(bench.cycle);
        EXPECT_TRUE(bench.checker.ok()) << bench.checker.log().report();
        EXPECT_EQ(bench.checker.reads() + bench.checker.writes(), 300U);
        EXPECT_GT(bench.checker.reads(), 100U);
        EXPECT_GT(bench.checker.writes(), 100U);
      }
    }
  }
}

TEST(axil_driver, error_responses) {
  AxilBench bench({}, 0.0, 1);
  const AxilResult write = bench.driver.write32(0x100, 1);
  EXPECT_EQ(write.status, AxilResult::Status::error);
  EXPECT_EQ(write.resp, AxiResp::slverr);
  const AxilResult read = bench.driver.read32(0x104);
  EXPECT_EQ(read.status, AxilResult::Status::error);
  EXPECT_EQ(read.resp, AxiResp::slverr);
  EXPECT_TRUE(bench.driver.write32(0x10, 5).ok());
  EXPECT_EQ(bench.driver.read32(0x10).value, 5U);
}

TEST(axil_driver, timeout) {
  AxilDriverConfig config;
  config.timeout_cycles = 50;
  AxilBench bench(config, 0.0, 1);
  const AxilResult read = bench.driver.read32(0x200);
  EXPECT_EQ(read.status, AxilResult::Status::timeout);
  EXPECT_EQ(read.cycles, 50U);
  EXPECT_EQ(bench.cycle, 50U);
  const AxilResult write = bench.driver.write32(0x200, 0);
  EXPECT_EQ(write.status, AxilResult::Status::timeout);
  EXPECT_EQ(bench.cycle, 100U);
}

TEST(axil_driver, stops_with_the_simulation) {
  AxilBench bench({}, 0.0, 1);
  bench.stop_at = 20;
  EXPECT_EQ(bench.driver.read32(0x200).status, AxilResult::Status::stopped);
  EXPECT_EQ(bench.driver.write32(0x0, 0).status, AxilResult::Status::stopped);
  EXPECT_EQ(bench.cycle, 20U);
}

TEST(axil_driver, poll) {
  AxilBench bench({}, 0.0, 1);
  bench.slave.registers[8] = 0xF0;
  EXPECT_EQ(bench.driver.poll32(8, 1, 1, 100).status, AxilResult::Status::timeout);
  EXPECT_GE(bench.cycle, 100U);
  bench.slave.registers[8] = 0xF1;
  const AxilResult result = bench.driver.poll32(8, 1, 1, 100);
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result.value, 0xF1U);
}

class Stream : public testing::TestWithParam<std::tuple<std::uint32_t, double, double>> {};

TEST_P(Stream, packets_arrive) {
  const auto [width, idle, stall] = GetParam();
  const std::uint64_t seed = seed_of_run(41);
  Random random(seed);
  AxisSource source(width, idle, random.next());
  AxisSink sink(width, stall, random.next());
  AxisCheckerConfig config;
  config.data_bytes = width;
  AxisChecker checker(config);
  std::vector<std::vector<std::uint8_t>> packets(50);
  std::uint64_t beats = 0;
  for (auto &packet : packets) {
    packet.resize(1 + random.below(200));
    for (auto &byte : packet) {
      byte = static_cast<std::uint8_t>(random.next());
    }
    source.push_packet(packet);
    beats += (packet.size() + width - 1) / width;
  }
  std::uint64_t cycle = 0;
  for (; cycle < 100'000 && !source.done(); ++cycle) {
    source.eval_outputs();
    sink.eval_outputs();
    source.ports().tready = sink.ports().tready;
    sink.ports().tvalid = source.ports().tvalid;
    sink.ports().beat = source.ports().beat;
    checker.sample(cycle, source.ports());
    source.sample();
    sink.sample();
  }
  checker.finish(cycle);
  EXPECT_TRUE(checker.ok()) << checker.log().report();
  EXPECT_EQ(sink.packets(), packets);
  EXPECT_TRUE(sink.open_packet().empty());
  EXPECT_EQ(sink.beats(), beats);
  EXPECT_EQ(source.beats(), beats);
  EXPECT_EQ(checker.beats(), beats);
  EXPECT_EQ(checker.packets(), packets.size());
  if (idle == 0 && stall == 0) {
    EXPECT_EQ(cycle, beats); // one beat in every cycle
  } else {
    EXPECT_GT(cycle, beats);
  }
}

INSTANTIATE_TEST_SUITE_P(axis, Stream,
                         testing::Combine(testing::Values(1U, 3U, 8U, 64U),
                                          testing::Values(0.0, 0.5), testing::Values(0.0, 0.5)),
                         [](const auto &param_info) {
                           return "bytes" + std::to_string(std::get<0>(param_info.param)) +
                                  (std::get<1>(param_info.param) > 0 ? "_idle" : "") +
                                  (std::get<2>(param_info.param) > 0 ? "_stall" : "");
                         });

TEST(signals, scalar_and_wide_ports) {
  struct Wide { // as VlWide<4>
    std::uint32_t words[4];
    std::uint32_t *data() { return words; }
    [[nodiscard]] const std::uint32_t *data() const { return words; }
  };
  AxiData data;
  data.words = {0x0807060504030201U, 0x100F0E0D0C0B0A09U};
  Wide wide{};
  write_signal(wide, data);
  EXPECT_EQ(wide.words[0], 0x04030201U);
  EXPECT_EQ(wide.words[3], 0x100F0E0DU);
  AxiData back;
  read_signal(wide, back);
  EXPECT_EQ(back, data);
  std::uint64_t quad = 0;
  write_signal(quad, data);
  EXPECT_EQ(quad, 0x0807060504030201U);
  EXPECT_EQ(data.bytes()[9], 0x0A);
}

} // namespace
} // namespace kestrel::tb::test
