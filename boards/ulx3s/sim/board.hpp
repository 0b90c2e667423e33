// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The simulated board with the far end of its serial port: bytes go in and come out.
#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <optional>

#include "Vtb_ulx3s.h"
#include "testbench/cpp/simulation.hpp"

namespace kestrel::board {

class SimulatedBoard {
public:
  static constexpr unsigned kCyclesPerBit = 4; // boards/ulx3s/system.py --simulation

  explicit SimulatedBoard(std::uint64_t seed) : simulation_(config(seed)) {
    model().serial_rx_i = 1;
    simulation_.reset([](std::uint64_t) {}, [](std::uint64_t) {});
  }

  /// Bytes on their way to the board.
  void send(std::uint8_t byte) { to_board_.push_back(byte); }
  [[nodiscard]] std::size_t queued() const { return to_board_.size(); }
  /// The next byte that the board has sent, if there is one.
  std::optional<std::uint8_t> receive() {
    if (from_board_.empty())
      return std::nullopt;
    const std::uint8_t byte = from_board_.front();
    from_board_.pop_front();
    return byte;
  }

  /// Runs that many cycles; false once an assertion of the RTL or of the SDRAM's model has failed.
  bool steps(std::uint64_t cycles) {
    while (cycles-- != 0 && !simulation_.failed())
      simulation_.step([this](std::uint64_t) { drive(); }, [this](std::uint64_t) { sample(); });
    return !simulation_.failed();
  }

  /// From now on a line for each handshake at the engine's memory port: cycle, channel, and for an
  /// address the address and the number of beats.
  void log_bus(std::FILE *file) { bus_ = file; }

  [[nodiscard]] std::uint64_t cycle() const { return simulation_.cycle(); }
  /// Cycle of the last bit on either wire that was not idle.
  [[nodiscard]] std::uint64_t last_activity() const { return last_activity_; }
  [[nodiscard]] bool sdram_ready() { return (model().led_o & 2U) != 0; }
  [[nodiscard]] Vtb_ulx3s &model() { return simulation_.model(); }

private:
  static tb::SimulationConfig config(std::uint64_t seed) {
    tb::SimulationConfig config;
    config.seed = seed;
    config.max_cycles = ~std::uint64_t{0};
    config.fatal_assertions = false;
    return config;
  }

  void drive() {
    if (out_bits_ == 0 && !to_board_.empty()) {
      out_frame_ = to_board_.front() << 1U | 0x200U; // start bit 0, eight bits, stop bit 1
      to_board_.pop_front();
      out_bits_ = 10 * kCyclesPerBit;
    }
    if (out_bits_ != 0) {
      const unsigned bit = (10 * kCyclesPerBit - out_bits_) / kCyclesPerBit;
      model().serial_rx_i = static_cast<std::uint8_t>((out_frame_ >> bit) & 1U);
      --out_bits_;
      last_activity_ = cycle();
    } else {
      model().serial_rx_i = 1;
    }
  }

  void log_handshakes() {
    const Vtb_ulx3s &m = model();
    const auto line = [this](const char *channel, std::uint32_t address, std::uint32_t len) {
      std::fprintf(bus_, "%llu %s %#x %u\n", static_cast<unsigned long long>(cycle()), channel,
                   address, len + 1);
    };
    const auto beat = [this](const char *channel) {
      std::fprintf(bus_, "%llu %s\n", static_cast<unsigned long long>(cycle()), channel);
    };
    if (m.bus_ar_o != 0)
      line("AR", m.bus_araddr_o, m.bus_arlen_o);
    if (m.bus_r_o != 0)
      beat("R");
    if (m.bus_aw_o != 0)
      line("AW", m.bus_awaddr_o, m.bus_awlen_o);
    if (m.bus_w_o != 0)
      beat("W");
    if (m.bus_b_o != 0)
      beat("B");
  }

  void sample() {
    if (bus_ != nullptr)
      log_handshakes();
    const bool level = model().serial_tx_o != 0;
    if (!receiving_) {
      if (!level) {
        receiving_ = true;
        in_cycle_ = 0;
        in_byte_ = 0;
      } else {
        return;
      }
    }
    last_activity_ = cycle();
    // The middle of bit k is kCyclesPerBit / 2 after its start.
    const unsigned bit = in_cycle_ / kCyclesPerBit;
    if (in_cycle_ % kCyclesPerBit == kCyclesPerBit / 2) {
      if (bit >= 1 && bit <= 8)
        in_byte_ |= static_cast<unsigned>(level) << (bit - 1);
      if (bit == 9) {
        if (level)
          from_board_.push_back(static_cast<std::uint8_t>(in_byte_));
        receiving_ = false;
      }
    }
    ++in_cycle_;
  }

  tb::Simulation<Vtb_ulx3s> simulation_;
  std::deque<std::uint8_t> to_board_, from_board_;
  unsigned out_frame_ = 0, out_bits_ = 0;
  bool receiving_ = false;
  unsigned in_cycle_ = 0, in_byte_ = 0;
  std::uint64_t last_activity_ = 0;
  std::FILE *bus_ = nullptr;
};

} // namespace kestrel::board
