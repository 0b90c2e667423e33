// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "testbench/cpp/axi_checker.hpp"
#include "testbench/cpp/axi_types.hpp"
#include "testbench/cpp/random.hpp"

namespace kestrel::tb {

/// Beats per cycle as a fraction, 0 < beats <= cycles.
struct Bandwidth {
  std::uint32_t beats = 1;
  std::uint32_t cycles = 1;
};

/// Probability, per channel, that the memory stalls the channel in a cycle in which it could act.
/// All zero: the memory is deterministic.
struct AxiBackPressure {
  double ar = 0.0; ///< ARREADY low.
  double r = 0.0;  ///< The next R beat is held back.
  double aw = 0.0; ///< AWREADY low.
  double w = 0.0;  ///< WREADY low.
  double b = 0.0;  ///< The next response is held back.

  /// The same probability for all five channels.
  [[nodiscard]] static AxiBackPressure all(double p) { return {p, p, p, p, p}; }
};

struct AxiMemoryConfig {
  std::uint32_t data_bytes = 8;       ///< Bus width: 8, 16, 32 or 64.
  std::uint64_t base = 0;             ///< First address.
  std::uint64_t size = 1ULL << 32U;   ///< Bytes; pages are made when they are first touched.
  std::uint8_t fill = 0xA5;           ///< What untouched bytes read as.
  std::uint32_t read_latency = 30;    ///< Cycles, >= 1; see AxiMemory.
  std::uint32_t write_latency = 8;    ///< Cycles, >= 1.
  std::uint32_t max_outstanding = 16; ///< Read bursts queued, and write bursts queued.
  Bandwidth read_bandwidth{};
  Bandwidth write_bandwidth{};
  Bandwidth shared_bandwidth{};       ///< Of reads and writes together, beside those of each.
  std::uint32_t refresh_interval = 0; ///< Cycles; 0: no refresh.
  std::uint32_t refresh_cycles = 0;   ///< Of every interval, fewer than it has.
  AxiBackPressure back_pressure{};
  std::uint64_t seed = 1; ///< Of the random back-pressure.
  bool check = true;      ///< Check the AXI rules and the hazards.
};

enum class AxiDirection : std::uint8_t { read, write };

/// Counts since construction or clear_stats().
struct AxiMemoryStats {
  std::uint64_t read_bursts = 0, read_beats = 0;
  std::uint64_t write_bursts = 0, write_beats = 0;
  std::uint64_t read_errors = 0, write_errors = 0; ///< Bursts answered SLVERR or DECERR.
  std::uint64_t r_wait_cycles = 0; ///< RVALID without RREADY: the design limits the read.
  std::uint64_t ar_wait_cycles = 0, aw_wait_cycles = 0, w_wait_cycles = 0; ///< VALID, no READY.
};

/// An AXI4 slave: memory with settable latency, bandwidth, back-pressure and errors. INCR bursts of
/// any length, size, alignment and ID; FIXED and WRAP are answered SLVERR and reported by the
/// checker. Bursts are answered in order, whatever their ID.
///
/// In each clock cycle, in this order:
///   mem.eval_outputs(cycle)  sets the slave's values of read() and write() for this cycle,
///   (the design's inputs are driven, the design settles with its clock low, its outputs are
///    sampled into read() and write()),
///   mem.sample(cycle)        takes the handshakes of the rising edge that ends the cycle.
/// `cycle` counts up by one. What the memory drives depends only on the cycles before (all its
/// outputs are registered), so there is no order to observe between it and other models.
///
/// Timing contract (exact while every back-pressure probability is 0). Cycle numbers are those of
/// the rising edge at which a handshake happens; L = read_latency, W = write_latency.
///   AR  arready = 1 in cycle c if and only if fewer than max_outstanding read bursts are queued.
///       A burst is queued from the cycle after its AR handshake up to and including the cycle of
///       its last R handshake.
///   R   A burst with its AR handshake in cycle t has rvalid = 1 for its first beat from cycle
///       max(t + L, e + 1) on, where e is the cycle of the last R handshake of the burst before
///       it. Beat k + 1 has rvalid = 1 from the cycle after the handshake of beat k on. So with
///       rready = 1 a burst of n beats takes n consecutive cycles, and bursts whose latency has
///       passed follow each other without a gap.
///   AW  awready = 1 in cycle c if and only if fewer than max_outstanding write bursts are queued
///       (from the cycle after the AW handshake up to and including that of the B handshake).
///   W   wready = 1 always (unless 4096 beats wait for their AW). Data may come before its address.
///   B   bvalid = 1 from cycle max(max(a, w) + W, e + 1) on, where a is the cycle of the AW
///       handshake, w that of the last W handshake, and e that of the B handshake before.
///   Bandwidth n/m < 1 (in lowest terms): a credit counter starts at m + n - 1 in the first cycle,
///       grows by n at the start of every later cycle up to m + n - 1, and a beat costs m at its
///       handshake. R: a beat that is not yet shown is shown only if credit >= m. W: wready = 1 if
///       and only if credit >= m. Read and write have a counter each, and one more that both pay
///       and wait for is theirs together (shared_bandwidth); where both move a beat in one cycle it
///       goes below zero. With n/m = 1 this is the contract above.
///   Refresh of D = refresh_cycles in each I = refresh_interval: t is the cycle of the first AR
///       handshake since construction, reset() or align(). In a cycle c > t with
///       (c - t) mod I >= I - D no R beat is newly shown, wready = 0, and no credit grows.
/// Data: a W beat is in the memory from the cycle after its handshake (after the later of its own
/// and its AW handshake), an R beat shows the memory as of the cycle in which rvalid rises for it.
/// A design that depends on this instead of on the B response has a hazard: rules
/// AXI_MEM_READ_HAZARD and AXI_MEM_WRITE_HAZARD report it. While RVALID is low RDATA is garbage.
class AxiMemory {
public:
  explicit AxiMemory(const AxiMemoryConfig &config = {});

  void eval_outputs(std::uint64_t cycle);
  void sample(std::uint64_t cycle, bool in_reset = false);

  /// The interface's values of this cycle; sample() leaves them as they are.
  [[nodiscard]] AxiReadPorts &read() { return read_; }
  [[nodiscard]] AxiWritePorts &write() { return write_; }

  /// Drops all queued transactions and restarts the count of bursts that inject_burst() uses.
  /// Contents, faults, statistics and violations stay.
  void reset();

  /// All credits full, and the next AR handshake begins the first refresh interval: from here on an
  /// idle memory is as after construction.
  void align();

  /// Copies into or out of the memory; false (and nothing done) if a byte lies outside.
  [[nodiscard]] bool store(std::uint64_t addr, std::span<const std::uint8_t> bytes);
  [[nodiscard]] bool load(std::uint64_t addr, std::span<std::uint8_t> bytes) const;
  /// Sets bytes to a value; false if a byte lies outside.
  [[nodiscard]] bool fill(std::uint64_t addr, std::uint64_t count, std::uint8_t value);

  /// Beats that touch [addr, addr + count) are answered with `resp`; such writes change nothing,
  /// such reads show garbage. An address outside the memory answers DECERR by itself.
  void inject_range(AxiDirection direction, std::uint64_t addr, std::uint64_t count, AxiResp resp);
  /// Burst number `burst` (0 is the first after construction or reset()) is answered with `resp`:
  /// a write as a whole, a read in all beats or only in beat `beat`.
  void inject_burst(AxiDirection direction, std::uint64_t burst, AxiResp resp,
                    std::optional<std::uint32_t> beat = std::nullopt);
  void clear_faults();

  /// Changes the timing between transactions (latency, bandwidth, back-pressure, seed);
  /// `data_bytes`, `base`, `size`, `fill` and `check` of the new value are ignored.
  void set_timing(const AxiMemoryConfig &config);

  [[nodiscard]] const AxiMemoryConfig &config() const { return config_; }
  [[nodiscard]] const AxiMemoryStats &stats() const { return stats_; }
  void clear_stats() { stats_ = {}; }
  [[nodiscard]] AxiChecker &checker() { return checker_; }
  [[nodiscard]] const AxiChecker &checker() const { return checker_; }
  /// True while a burst is queued.
  [[nodiscard]] bool busy() const {
    return !reads_.empty() || !writes_.empty() || !early_data_.empty();
  }

private:
  static constexpr std::uint64_t kPageBits = 16;
  static constexpr std::uint64_t kPageBytes = 1ULL << kPageBits;
  static constexpr std::size_t kMaxEarlyData = 4096;
  using Page = std::unique_ptr<std::uint8_t[]>;

  struct Burst {
    std::uint64_t addr = 0;
    std::uint64_t end = 0; // one past the last byte, for hazards
    std::uint64_t number = 0;
    std::uint64_t due = 0; // first cycle of the answer
    std::uint32_t id = 0;
    std::uint32_t beats = 0;
    std::uint32_t beats_done = 0;
    std::uint8_t len = 0, size = 0, type = 0;
    std::uint8_t resp = 0;
    bool has_data = false;
  };
  struct DataBeat {
    AxiData data{};
    std::uint64_t strb = 0;
    bool last = false;
  };
  struct RangeFault {
    AxiDirection direction;
    std::uint64_t begin, end;
    std::uint8_t resp;
  };
  struct BurstFault {
    AxiDirection direction;
    std::uint64_t burst;
    std::uint8_t resp;
    std::optional<std::uint32_t> beat;
  };
  class Credit {
  public:
    void configure(const Bandwidth &bandwidth);
    void next_cycle() {
      if (limited_) {
        value_ = value_ + beats_ < cap_ ? value_ + beats_ : cap_;
      }
    }
    void refill() { value_ = cap_; }
    [[nodiscard]] bool available() const { return !limited_ || value_ >= cycles_; }
    void spend() {
      if (limited_) {
        value_ -= cycles_;
      }
    }

  private:
    bool limited_ = false;
    std::int64_t beats_ = 1, cycles_ = 1, cap_ = 1, value_ = 1;
  };

  [[nodiscard]] bool inside(std::uint64_t addr, std::uint64_t count) const;
  [[nodiscard]] const std::uint8_t *page_or_null(std::uint64_t offset) const;
  [[nodiscard]] std::uint8_t *page(std::uint64_t offset);
  [[nodiscard]] std::uint8_t fault_of(AxiDirection direction, const Burst &burst,
                                      std::uint64_t bus_addr) const;
  [[nodiscard]] Burst make_burst(std::uint64_t addr, std::uint32_t id, std::uint8_t len,
                                 std::uint8_t size, std::uint8_t type) const;
  void show_read_beat();
  void configure_credits();
  [[nodiscard]] bool refreshing(std::uint64_t cycle) const;
  void write_beat(std::uint64_t cycle, Burst &burst, const DataBeat &beat);
  void sample_read(std::uint64_t cycle);
  void sample_write(std::uint64_t cycle);

  AxiMemoryConfig config_;
  AxiChecker checker_;
  Random random_;
  Credit read_credit_, write_credit_, shared_credit_;
  std::optional<std::uint64_t> refresh_origin_;
  bool first_cycle_ = true;
  std::uint64_t evaluated_ = 0;

  std::vector<Page> pages_;
  std::vector<RangeFault> range_faults_;
  std::vector<BurstFault> burst_faults_;

  std::vector<Burst> reads_;    // queued, oldest first
  std::vector<Burst> writes_;   // queued, oldest first
  std::size_t data_writes_ = 0; // writes_ [0, data_writes_) have all their data
  std::vector<DataBeat> early_data_;
  bool read_shown_ = false, response_shown_ = false; // a beat, a response is being offered
  std::uint64_t read_number_ = 0, write_number_ = 0;

  AxiReadPorts read_{};
  AxiWritePorts write_{};
  AxiData garbage_{};
  AxiMemoryStats stats_{};
};

} // namespace kestrel::tb
