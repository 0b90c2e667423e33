// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstdint>
#include <functional>

#include "testbench/cpp/axi_types.hpp"
#include "testbench/cpp/random.hpp"

namespace kestrel::tb {

/// How one AXI4-Lite access ended.
struct AxilResult {
  enum class Status : std::uint8_t {
    okay,    ///< Response OKAY.
    error,   ///< Response SLVERR or DECERR: see `resp`.
    timeout, ///< No answer in time; the interface is left as it is and needs a reset.
    stopped, ///< The step callback returned false (simulation finished or at its cycle limit).
  };
  Status status = Status::timeout;
  AxiResp resp = AxiResp::okay;
  std::uint32_t value = 0;  ///< Read data; 0 for a write.
  std::uint64_t cycles = 0; ///< Clock cycles the access took.

  [[nodiscard]] bool ok() const { return status == Status::okay; }
};

/// In which order a write offers address and data; slaves have to take all three.
enum class AxilWriteOrder : std::uint8_t { together, address_first, data_first, random };

struct AxilDriverConfig {
  std::uint64_t timeout_cycles = 10'000;
  AxilWriteOrder write_order = AxilWriteOrder::together;
  double response_stall = 0.0; ///< Probability per cycle that BREADY / RREADY is held low.
  std::uint64_t seed = 1;
};

/// AXI4-Lite master with blocking calls. `step` runs one clock cycle of the simulation: it drives
/// ports() into the design, settles it with the clock low, samples the design's outputs back into
/// ports(), gives the rising edge, and returns false if the simulation cannot go on. Between calls
/// the master is idle, so the same step function may be called directly to let time pass.
class AxilDriver {
public:
  using Step = std::function<bool()>;

  explicit AxilDriver(Step step, const AxilDriverConfig &config = {})
      : step_(std::move(step)), config_(config), random_(config.seed) {}

  /// The interface's values; the step function copies from and to them.
  [[nodiscard]] AxilPorts &ports() { return ports_; }

  AxilResult write32(std::uint32_t addr, std::uint32_t value, std::uint8_t strobe = 0xF);
  AxilResult read32(std::uint32_t addr);
  /// Reads until (value & mask) == expected or an access fails; `timeout` after max_cycles.
  AxilResult poll32(std::uint32_t addr, std::uint32_t mask, std::uint32_t expected,
                    std::uint64_t max_cycles);

  /// Takes all VALID and READY low, for use with a reset of the design.
  void idle();

private:
  AxilResult finish(AxilResult::Status status, std::uint8_t resp, std::uint64_t cycles);

  Step step_;
  AxilDriverConfig config_;
  Random random_;
  AxilPorts ports_{};
};

} // namespace kestrel::tb
