// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A Verilated THC accelerator (thc_accel) with a memory on each of its two channels, a register
// master and the protocol checkers, clocked together. Used by the Verilated device and by tests.
#pragma once

#include <cstdint>
#include <string>

#include "testbench/cpp/axi_memory.hpp"
#include "testbench/cpp/axil_checker.hpp"
#include "testbench/cpp/axil_driver.hpp"
#include "testbench/cpp/simulation.hpp"

namespace kestrel::tb {

template <class Model> class ThcBench {
public:
  struct Config {
    AxiMemoryConfig memory{}; ///< of both channels; the random numbers of b are others
    AxilDriverConfig driver{};
    SimulationConfig simulation{};
  };

  explicit ThcBench(const Config &config)
      : simulation(config.simulation), memory_a(with_bus(config.memory, 0)),
        memory_b(with_bus(config.memory, 1)), registers([this] { return step(); }, config.driver),
        read_a_(KESTREL_TB_AXI_READ(simulation.model(), m_axi_a)),
        write_a_(KESTREL_TB_AXI_WRITE(simulation.model(), m_axi_a)),
        read_b_(KESTREL_TB_AXI_READ(simulation.model(), m_axi_b)),
        write_b_(KESTREL_TB_AXI_WRITE(simulation.model(), m_axi_b)),
        axil_(KESTREL_TB_AXIL(simulation.model(), s_axil)) {
    reset();
  }
  ThcBench(const ThcBench &) = delete;
  ThcBench &operator=(const ThcBench &) = delete;

  /// Hard reset of accelerator and memory queues (contents stay).
  void reset() {
    registers.idle();
    simulation.reset([this](std::uint64_t cycle) { drive(cycle); },
                     [this](std::uint64_t cycle) { sample(cycle); });
  }

  /// One clock cycle; false when the simulation cannot go on.
  bool step() {
    return simulation.step([this](std::uint64_t cycle) { drive(cycle); },
                           [this](std::uint64_t cycle) { sample(cycle); });
  }

  [[nodiscard]] bool irq() { return simulation.model().irq_o != 0; }

  /// Steps until the interrupt is high.
  [[nodiscard]] auto run_to_irq(std::uint64_t max_cycles) {
    return simulation.run_until([this](std::uint64_t cycle) { drive(cycle); },
                                [this](std::uint64_t cycle) { sample(cycle); },
                                [this] { return irq(); }, max_cycles);
  }

  /// Protocol violations so far, one a line; empty when there are none.
  [[nodiscard]] std::string violations() const {
    std::string text;
    if (!memory_a.checker().ok())
      text += memory_a.checker().log().report("m_axi_a");
    if (!memory_b.checker().ok())
      text += memory_b.checker().log().report("m_axi_b");
    if (!axil_checker.ok())
      text += axil_checker.log().report("s_axil");
    return text;
  }

  Simulation<Model> simulation;
  AxiMemory memory_a, memory_b;
  AxilChecker axil_checker;
  AxilDriver registers;

private:
  static AxiMemoryConfig with_bus(AxiMemoryConfig config, std::uint64_t channel) {
    config.data_bytes = sizeof(Model::m_axi_a_rdata);
    config.seed = 2 * config.seed + channel;
    return config;
  }
  void drive(std::uint64_t cycle) {
    memory_a.eval_outputs(cycle);
    memory_b.eval_outputs(cycle);
    read_a_.drive(memory_a.read());
    write_a_.drive(memory_a.write());
    read_b_.drive(memory_b.read());
    write_b_.drive(memory_b.write());
    axil_.drive(registers.ports());
  }
  void sample(std::uint64_t cycle) {
    read_a_.sample(memory_a.read());
    write_a_.sample(memory_a.write());
    read_b_.sample(memory_b.read());
    write_b_.sample(memory_b.write());
    axil_.sample(registers.ports());
    const bool in_reset = simulation.in_reset();
    memory_a.sample(cycle, in_reset);
    memory_b.sample(cycle, in_reset);
    axil_checker.sample(cycle, registers.ports(), in_reset);
  }

  decltype(KESTREL_TB_AXI_READ(std::declval<Model &>(), m_axi_a)) read_a_;
  decltype(KESTREL_TB_AXI_WRITE(std::declval<Model &>(), m_axi_a)) write_a_;
  decltype(KESTREL_TB_AXI_READ(std::declval<Model &>(), m_axi_b)) read_b_;
  decltype(KESTREL_TB_AXI_WRITE(std::declval<Model &>(), m_axi_b)) write_b_;
  decltype(KESTREL_TB_AXIL(std::declval<Model &>(), s_axil)) axil_;
};

} // namespace kestrel::tb
