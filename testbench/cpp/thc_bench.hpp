// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A Verilated THC accelerator (thc_accel) with a memory on each of its two channels, a register
// master and the protocol checkers, clocked together. Used by the Verilated device and by tests.
#pragma once

#include <cstdint>
#include <tuple>

#include "testbench/cpp/bench.hpp"

namespace kestrel::tb {

template <class Model> class ThcBench : public RegisterBench<ThcBench<Model>, Model> {
  using Base = RegisterBench<ThcBench<Model>, Model>;

public:
  struct Config : RegisterBenchConfig {
    AxiMemoryConfig memory{}; ///< of both channels; the random numbers of b are others
  };

  explicit ThcBench(const Config &config)
      : Base(config), memory_a(KESTREL_TB_MEMORY_BINDING(this->model(), m_axi_a),
                               of_channel(config.memory, 0), "m_axi_a"),
        memory_b(KESTREL_TB_MEMORY_BINDING(this->model(), m_axi_b), of_channel(config.memory, 1),
                 "m_axi_b") {
    this->reset();
  }

  auto parts() { return std::tie(this->registers, memory_a, memory_b); }

  KESTREL_TB_MEMORY_PORT(Model, m_axi_a) memory_a;
  KESTREL_TB_MEMORY_PORT(Model, m_axi_b) memory_b;

private:
  static AxiMemoryConfig of_channel(AxiMemoryConfig config, std::uint64_t channel) {
    config.seed = 2 * config.seed + channel;
    return config;
  }
};

} // namespace kestrel::tb
