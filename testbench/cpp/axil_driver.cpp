// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "testbench/cpp/axil_driver.hpp"

namespace kestrel::tb {

void AxilDriver::idle() {
  ports_.awvalid = false;
  ports_.wvalid = false;
  ports_.bready = false;
  ports_.arvalid = false;
  ports_.rready = false;
}

AxilResult AxilDriver::finish(AxilResult::Status status, std::uint8_t resp, std::uint64_t cycles) {
  AxilResult result;
  result.status = status;
  result.resp = static_cast<AxiResp>(resp);
  result.cycles = cycles;
  if (status == AxilResult::Status::okay && resp != 0) {
    result.status = AxilResult::Status::error;
  }
  return result;
}

AxilResult AxilDriver::write32(std::uint32_t addr, std::uint32_t value, std::uint8_t strobe) {
  AxilWriteOrder order = config_.write_order;
  if (order == AxilWriteOrder::random) {
    order = static_cast<AxilWriteOrder>(random_.below(3));
  }
  ports_.awaddr = addr;
  ports_.wdata = value;
  ports_.wstrb = strobe;
  ports_.awvalid = order != AxilWriteOrder::data_first;
  ports_.wvalid = order != AxilWriteOrder::address_first;
  bool address_done = false;
  bool data_done = false;
  for (std::uint64_t cycle = 1; cycle <= config_.timeout_cycles; ++cycle) {
    ports_.bready = !random_.chance(config_.response_stall);
    // A slave may wait for both, so the second follows a cycle after the first is offered.
    if (cycle > 1) {
      ports_.awvalid = !address_done;
      ports_.wvalid = !data_done;
    }
    if (!step_()) {
      return finish(AxilResult::Status::stopped, 0, cycle);
    }
    address_done = address_done || (ports_.awvalid && ports_.awready);
    data_done = data_done || (ports_.wvalid && ports_.wready);
    ports_.awvalid = ports_.awvalid && !address_done;
    ports_.wvalid = ports_.wvalid && !data_done;
    if (ports_.bvalid && ports_.bready) {
      idle();
      return finish(AxilResult::Status::okay, ports_.bresp, cycle);
    }
  }
  return finish(AxilResult::Status::timeout, 0, config_.timeout_cycles);
}

AxilResult AxilDriver::read32(std::uint32_t addr) {
  ports_.araddr = addr;
  ports_.arvalid = true;
  for (std::uint64_t cycle = 1; cycle <= config_.timeout_cycles; ++cycle) {
    ports_.rready = !random_.chance(config_.response_stall);
    if (!step_()) {
      return finish(AxilResult::Status::stopped, 0, cycle);
    }
    if (ports_.arready) {
      ports_.arvalid = false;
    }
    if (ports_.rvalid && ports_.rready) {
      idle();
      AxilResult result = finish(AxilResult::Status::okay, ports_.rresp, cycle);
      result.value = ports_.rdata;
      return result;
    }
  }
  return finish(AxilResult::Status::timeout, 0, config_.timeout_cycles);
}

AxilResult AxilDriver::poll32(std::uint32_t addr, std::uint32_t mask, std::uint32_t expected,
                              std::uint64_t max_cycles) {
  std::uint64_t cycles = 0;
  for (;;) {
    AxilResult result = read32(addr);
    cycles += result.cycles;
    result.cycles = cycles;
    if (!result.ok() || (result.value & mask) == expected) {
      return result;
    }
    if (cycles >= max_cycles) {
      result.status = AxilResult::Status::timeout;
      return result;
    }
  }
}

} // namespace kestrel::tb
