// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A Verilated vision engine (hv_engine) with external memory, a register master and the protocol
// checkers, clocked together. Used by the Verilated device and by tests.
#pragma once

#include <tuple>

#include "testbench/cpp/bench.hpp"

namespace kestrel::tb {

/// Any design with registers at `s_axil`, one memory at `m_axi` and an interrupt `irq_o`.
template <class Model> class EngineBench : public RegisterBench<EngineBench<Model>, Model> {
  using Base = RegisterBench<EngineBench<Model>, Model>;

public:
  struct Config : RegisterBenchConfig {
    AxiMemoryConfig memory{}; ///< `data_bytes` is that of the model's bus
  };

  explicit EngineBench(const Config &config)
      : Base(config),
        memory(KESTREL_TB_MEMORY_BINDING(this->model(), m_axi), config.memory, "m_axi") {
    this->reset();
  }

  auto parts() { return std::tie(this->registers, memory); }

  KESTREL_TB_MEMORY_PORT(Model, m_axi) memory;
};

} // namespace kestrel::tb
