// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <limits>
#include <vector>

#include "testbench/cpp/axi_math.hpp"
#include "testbench/cpp/axi_types.hpp"
#include "testbench/cpp/random.hpp"

namespace kestrel::tb::test {

/// The seed of this run: KESTREL_SEED, or `fallback`. Printed, so that a failure can be repeated.
inline std::uint64_t seed_of_run(std::uint64_t fallback) {
  const char *text = std::getenv("KESTREL_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 0) : fallback;
  std::cout << "[ seed     ] KESTREL_SEED=" << seed << "\n";
  return seed;
}

/// A burst that ScriptMaster issues, and what came of it.
struct Burst {
  std::uint64_t addr = 0;
  std::uint8_t len = 0;
  std::uint8_t size = 3;
  std::uint8_t type = 1;
  std::uint32_t id = 0;
  std::uint64_t earliest = 0;               // first cycle in which it may be offered
  std::vector<AxiData> data{};              // a write's beats, a read's result
  std::vector<std::uint64_t> strb{};        // a write's strobes
  std::vector<std::uint8_t> resp{};         // per beat of a read, one of a write
  std::uint64_t address_cycle = 0;          // AR or AW handshake
  std::vector<std::uint64_t> data_cycles{}; // R or W handshakes
  std::uint64_t response_cycle = 0;         // B handshake
  bool done = false;

  [[nodiscard]] std::uint32_t beats() const { return len + 1U; }
  [[nodiscard]] std::uint64_t end() const {
    const std::uint64_t bytes = std::uint64_t{1} << size;
    return (addr & ~(bytes - 1)) + bytes * beats();
  }
  [[nodiscard]] bool overlaps(const Burst &other) const {
    return addr < other.end() && other.addr < end();
  }
};

/// An AXI4 master that works through lists of bursts, with random idling, for tests of slaves.
/// Per cycle: drive() after the slave's outputs are set, sample() before the slave takes the edge.
class ScriptMaster {
public:
  struct Config {
    double ar_idle = 0, aw_idle = 0, w_idle = 0, r_stall = 0, b_stall = 0;
    bool data_may_lead = false;   // W beats may be offered before their AW
    bool wait_for_hazards = true; // no read of bytes being written, no write of bytes being read
    std::uint64_t seed = 1;
  };

  explicit ScriptMaster(const Config &config) : config_(config), random_(config.seed) {}
  ScriptMaster() : ScriptMaster(Config{}) {}

  std::vector<Burst> reads, writes;

  [[nodiscard]] bool done() const {
    return reads_done_ == reads.size() && writes_done_ == writes.size();
  }

  void drive(std::uint64_t cycle, AxiReadPorts &read, AxiWritePorts &write) {
    if (!read.arvalid || ar_taken_) {
      read.arvalid = reads_issued_ < reads.size() && reads[reads_issued_].earliest <= cycle &&
                     read_is_safe() && !random_.chance(config_.ar_idle);
      if (read.arvalid) {
        const Burst &burst = reads[reads_issued_];
        read.araddr = burst.addr;
        read.arlen = burst.len;
        read.arsize = burst.size;
        read.arburst = burst.type;
        read.arid = burst.id;
      }
      ar_taken_ = false;
    }
    read.rready = !random_.chance(config_.r_stall);

    if (!write.awvalid || aw_taken_) {
      write.awvalid = writes_issued_ < writes.size() && writes[writes_issued_].earliest <= cycle &&
                      write_is_safe(writes_issued_) && !random_.chance(config_.aw_idle);
      if (write.awvalid) {
        const Burst &burst = writes[writes_issued_];
        write.awaddr = burst.addr;
        write.awlen = burst.len;
        write.awsize = burst.size;
        write.awburst = burst.type;
        write.awid = burst.id;
      }
      aw_taken_ = false;
    }
    if (!write.wvalid || w_taken_) {
      const bool addressed =
          data_burst_ < writes_issued_ || (data_burst_ == writes_issued_ && write.awvalid);
      const bool allowed = data_burst_ < writes.size() && writes[data_burst_].earliest <= cycle &&
                           (addressed || (config_.data_may_lead && write_is_safe(data_burst_)));
      write.wvalid = allowed && !random_.chance(config_.w_idle);
      if (write.wvalid) {
        const Burst &burst = writes[data_burst_];
        const std::size_t beat = burst.data_cycles.size();
        write.wdata = burst.data[beat];
        write.wstrb = burst.strb[beat];
        write.wlast = beat + 1 == burst.beats();
      }
      w_taken_ = false;
    }
    write.bready = !random_.chance(config_.b_stall);
  }

  void sample(std::uint64_t cycle, const AxiReadPorts &read, const AxiWritePorts &write) {
    if (read.rvalid && read.rready) {
      Burst &burst = reads[reads_done_];
      burst.data.push_back(read.rdata);
      burst.resp.push_back(read.rresp);
      burst.data_cycles.push_back(cycle);
      if (read.rlast) {
        burst.done = true;
        ++reads_done_;
      }
    }
    if (read.arvalid && read.arready) {
      reads[reads_issued_++].address_cycle = cycle;
      ar_taken_ = true;
    }
    if (write.bvalid && write.bready) {
      Burst &burst = writes[writes_done_++];
      burst.resp.push_back(write.bresp);
      burst.response_cycle = cycle;
      burst.done = true;
    }
    if (write.awvalid && write.awready) {
      writes[writes_issued_++].address_cycle = cycle;
      aw_taken_ = true;
    }
    if (write.wvalid && write.wready) {
      Burst &burst = writes[data_burst_];
      burst.data_cycles.push_back(cycle);
      data_burst_ += burst.data_cycles.size() == burst.beats() ? 1U : 0U;
      w_taken_ = true;
    }
  }

private:
  // Where they overlap, bursts take effect in the order write 0, read 0, write 1, read 1, ...: the
  // later one waits for the answer to the earlier one.
  [[nodiscard]] bool read_is_safe() const {
    if (!config_.wait_for_hazards) {
      return true;
    }
    const std::size_t before = std::min(reads_issued_ + 1, writes.size());
    for (std::size_t i = writes_done_; i < before; ++i) {
      if (writes[i].overlaps(reads[reads_issued_])) {
        return false;
      }
    }
    return true;
  }
  [[nodiscard]] bool write_is_safe(std::size_t number) const {
    if (!config_.wait_for_hazards) {
      return true;
    }
    for (std::size_t i = reads_done_; i < std::min(number, reads.size()); ++i) {
      if (reads[i].overlaps(writes[number])) {
        return false;
      }
    }
    return true;
  }

  Config config_;
  Random random_;
  std::size_t reads_issued_ = 0, reads_done_ = 0;
  std::size_t writes_issued_ = 0, writes_done_ = 0, data_burst_ = 0;
  bool ar_taken_ = false, aw_taken_ = false, w_taken_ = false;
};

} // namespace kestrel::tb::test
