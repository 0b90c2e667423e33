// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A Verilated vision engine (hv_engine) with external memory, a register master and the protocol
// checkers, clocked together. Used by the Verilated device and by tests.
#pragma once

#include <cstdint>
#include <string>

#include "testbench/cpp/axi_memory.hpp"
#include "testbench/cpp/axil_checker.hpp"
#include "testbench/cpp/axil_driver.hpp"
#include "testbench/cpp/simulation.hpp"

namespace kestrel::tb {

template <class Model> class EngineBench {
public:
  static constexpr std::uint32_t kBusBytes = sizeof(Model::m_axi_rdata);

  struct Config {
    AxiMemoryConfig memory{};
    AxilDriverConfig driver{};
    SimulationConfig simulation{};
  };

  /// `config.memory.data_bytes` is set to the width of the model's bus.
  explicit EngineBench(Config config)
      : simulation(config.simulation), memory(with_bus(config.memory)),
        registers([this] { return step(); }, config.driver),
        read_(KESTREL_TB_AXI_READ(simulation.model(), m_axi)),
        write_(KESTREL_TB_AXI_WRITE(simulation.model(), m_axi)),
        axil_(KESTREL_TB_AXIL(simulation.model(), s_axil)) {
    reset();
  }
  EngineBench(const EngineBench &) = delete;
  EngineBench &operator=(const EngineBench &) = delete;

  /// Hard reset of engine and memory queues (contents stay).
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
    if (!memory.checker().ok())
      text += memory.checker().log().report("m_axi");
    if (!axil_checker.ok())
      text += axil_checker.log().report("s_axil");
    return text;
  }

  Simulation<Model> simulation;
  AxiMemory memory;
  AxilChecker axil_checker;
  AxilDriver registers;

private:
  static AxiMemoryConfig with_bus(AxiMemoryConfig config) {
    config.data_bytes = kBusBytes;
    return config;
  }
  void drive(std::uint64_t cycle) {
    memory.eval_outputs(cycle);
    read_.drive(memory.read());
    write_.drive(memory.write());
    axil_.drive(registers.ports());
  }
  void sample(std::uint64_t cycle) {
    read_.sample(memory.read());
    write_.sample(memory.write());
    axil_.sample(registers.ports());
    memory.sample(cycle, simulation.in_reset());
    axil_checker.sample(cycle, registers.ports(), simulation.in_reset());
  }

  decltype(KESTREL_TB_AXI_READ(std::declval<Model &>(), m_axi)) read_;
  decltype(KESTREL_TB_AXI_WRITE(std::declval<Model &>(), m_axi)) write_;
  decltype(KESTREL_TB_AXIL(std::declval<Model &>(), s_axil)) axil_;
};

} // namespace kestrel::tb
