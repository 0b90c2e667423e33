// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the benches of Verilated designs share: the clock, the reset, the parts at the design's
// ports, a register port, memories, the wait for the interrupt, the report of protocol violations.
// A bench derives from ClockedBench or RegisterBench and names its parts.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "testbench/cpp/axi_memory.hpp"
#include "testbench/cpp/axi_types.hpp"
#include "testbench/cpp/axil_checker.hpp"
#include "testbench/cpp/axil_driver.hpp"
#include "testbench/cpp/simulation.hpp"

namespace kestrel::tb {

/// AXI4-Lite master at a port of the design, with the checker of its rules.
template <class Addr> class AxilPort : public AxilDriver {
public:
  AxilPort(const AxilBinding<Addr> &binding, Step step, const AxilDriverConfig &config,
           std::string_view name)
      : AxilDriver(std::move(step), config), binding_(binding), name_(name) {}

  void drive(std::uint64_t /*cycle*/) { binding_.drive(ports()); }
  void sample(std::uint64_t cycle, bool in_reset) {
    binding_.sample(ports());
    checker_.sample(cycle, ports(), in_reset);
  }
  [[nodiscard]] AxilChecker &checker() { return checker_; }
  [[nodiscard]] const AxilChecker &checker() const { return checker_; }
  [[nodiscard]] std::string violations() const {
    return checker_.ok() ? std::string() : checker_.log().report(name_);
  }

private:
  AxilBinding<Addr> binding_;
  AxilChecker checker_;
  std::string_view name_;
};

/// Memory at an AXI4 port of the design, as wide as that; `config.data_bytes` is ignored.
template <class Read, class Write> class AxiMemoryPort : public AxiMemory {
public:
  AxiMemoryPort(const Read &read_binding, const Write &write_binding, const AxiMemoryConfig &config,
                std::string_view name)
      : AxiMemory(with_bus(config)), read_(read_binding), write_(write_binding), name_(name) {}

  void drive(std::uint64_t cycle) {
    eval_outputs(cycle);
    read_.drive(read());
    write_.drive(write());
  }
  void sample(std::uint64_t cycle, bool in_reset) {
    read_.sample(read());
    write_.sample(write());
    AxiMemory::sample(cycle, in_reset);
  }
  [[nodiscard]] std::string violations() const {
    return checker().ok() ? std::string() : checker().log().report(name_);
  }

private:
  static AxiMemoryConfig with_bus(AxiMemoryConfig config) {
    config.data_bytes = sizeof(*Read::rdata);
    return config;
  }

  Read read_;
  Write write_;
  std::string_view name_;
};

/// A Verilated model and what is at its ports, clocked together. `Bench`, which derives from this,
/// may have
///   auto parts();                        a tuple of references to its parts,
///   void on_drive(std::uint64_t cycle);  more inputs of the design, set after the parts,
///   void on_sample(std::uint64_t cycle); more to see of all ports before the edge, after the
///   parts,
/// and calls reset() at the end of its constructor. The two run in the cycles of a reset as well;
/// simulation.in_reset() tells. A part has drive(cycle), sample(cycle, in_reset), and violations(),
/// a text that is empty while it has seen nothing wrong.
template <class Bench, class Model> class ClockedBench {
public:
  using Status = typename Simulation<Model>::Status;

  ClockedBench(const ClockedBench &) = delete;
  ClockedBench &operator=(const ClockedBench &) = delete;

  /// Hard reset of the design and of the queues of memories (contents stay).
  bool reset() {
    return simulation.reset([this](std::uint64_t cycle) { drive(cycle); },
                            [this](std::uint64_t cycle) { sample(cycle); });
  }
  /// One clock cycle; false when the simulation cannot go on.
  bool step() {
    return simulation.step([this](std::uint64_t cycle) { drive(cycle); },
                           [this](std::uint64_t cycle) { sample(cycle); });
  }
  /// That many cycles; false when the simulation cannot go on.
  bool steps(std::uint64_t cycles) {
    while (cycles != 0 && step())
      --cycles;
    return cycles == 0;
  }
  /// Steps until condition() is true, for at most `max_cycles` cycles.
  template <class Condition>
  [[nodiscard]] Status run_until(Condition &&condition, std::uint64_t max_cycles) {
    return simulation.run_until([this](std::uint64_t cycle) { drive(cycle); },
                                [this](std::uint64_t cycle) { sample(cycle); },
                                std::forward<Condition>(condition), max_cycles);
  }
  [[nodiscard]] Model &model() { return simulation.model(); }
  [[nodiscard]] std::uint64_t cycle() const { return simulation.cycle(); }

  /// Protocol violations so far, one a line; empty when there are none.
  [[nodiscard]] std::string violations() {
    std::string text;
    std::apply([&](const auto &...part) { ((text += part.violations()), ...); }, bench().parts());
    return text;
  }

  Simulation<Model> simulation;

protected:
  explicit ClockedBench(const SimulationConfig &config) : simulation(config) {}
  ~ClockedBench() = default;

  auto parts() { return std::tuple<>(); }
  void on_drive(std::uint64_t /*cycle*/) {}
  void on_sample(std::uint64_t /*cycle*/) {}

private:
  Bench &bench() { return static_cast<Bench &>(*this); }
  void drive(std::uint64_t cycle) {
    std::apply([&](auto &...part) { (part.drive(cycle), ...); }, bench().parts());
    bench().on_drive(cycle);
  }
  void sample(std::uint64_t cycle) {
    const bool in_reset = simulation.in_reset();
    std::apply([&](auto &...part) { (part.sample(cycle, in_reset), ...); }, bench().parts());
    bench().on_sample(cycle);
  }
};

struct RegisterBenchConfig {
  AxilDriverConfig driver{};
  SimulationConfig simulation{};
};

/// A bench with a register master at port `s_axil`, which is one of its parts, and an interrupt
/// `irq_o` if the design has one.
template <class Bench, class Model> class RegisterBench : public ClockedBench<Bench, Model> {
  using Base = ClockedBench<Bench, Model>;

public:
  /// The master gives up what it had begun.
  bool reset() {
    registers.idle();
    return Base::reset();
  }
  [[nodiscard]] bool irq() { return this->model().irq_o != 0; }
  /// Steps until the interrupt is high.
  [[nodiscard]] auto run_to_irq(std::uint64_t max_cycles) {
    return this->run_until([this] { return irq(); }, max_cycles);
  }

  AxilPort<std::remove_reference_t<decltype(std::declval<Model &>().s_axil_awaddr)>> registers;

protected:
  explicit RegisterBench(const RegisterBenchConfig &config)
      : Base(config.simulation), registers(
                                     KESTREL_TB_AXIL(this->model(), s_axil),
                                     [this] { return this->step(); }, config.driver, "s_axil") {}
  ~RegisterBench() = default;
};

} // namespace kestrel::tb

// The memory at the AXI4 port of a model that has this prefix: the type of a member, and the
// arguments before configuration and name that construct it.
// NOLINTBEGIN(bugprone-macro-parentheses): `Model` is the name of a type
#define KESTREL_TB_MEMORY_PORT(Model, prefix)                                                      \
  ::kestrel::tb::AxiMemoryPort<decltype(KESTREL_TB_AXI_READ(std::declval<Model &>(), prefix)),     \
                               decltype(KESTREL_TB_AXI_WRITE(std::declval<Model &>(), prefix))>
// NOLINTEND(bugprone-macro-parentheses)
#define KESTREL_TB_MEMORY_BINDING(model, prefix)                                                   \
  KESTREL_TB_AXI_READ(model, prefix), KESTREL_TB_AXI_WRITE(model, prefix)
