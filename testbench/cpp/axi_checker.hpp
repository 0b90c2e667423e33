// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "testbench/cpp/axi_types.hpp"
#include "testbench/cpp/violations.hpp"

namespace kestrel::tb {

/// The AXI4 rules that are checked (AMBA AXI protocol specification, IHI 0022, chapter A3).
/// AR_*, AW_* and W_* are obligations of the master, R_* and B_* of the slave; reset_valid names
/// the channel in its text. The end rules are checked by AxiChecker::finish().
enum class AxiRule : std::uint8_t {
  reset_valid,      ///< VALID is low from the second cycle of reset on.
  ar_valid_drop,    ///< ARVALID stays high until ARREADY.
  ar_stable,        ///< The AR payload is stable while ARVALID waits for ARREADY.
  ar_4k,            ///< An INCR burst does not cross a 4 KiB boundary.
  ar_size,          ///< ARSIZE is at most the bus width (equal to it with `full_width_only`).
  ar_burst,         ///< ARBURST is not the reserved 3 (is INCR with `incr_only`).
  ar_len,           ///< FIXED: at most 16 beats; WRAP: 2, 4, 8 or 16; INCR: at most `max_beats`.
  ar_wrap_align,    ///< A WRAP burst starts at a multiple of its transfer size.
  aw_valid_drop,    ///< As for AR.
  aw_stable,        ///< As for AR.
  aw_4k,            ///< As for AR.
  aw_size,          ///< As for AR.
  aw_burst,         ///< As for AR.
  aw_len,           ///< As for AR.
  aw_wrap_align,    ///< As for AR.
  w_valid_drop,     ///< WVALID stays high until WREADY.
  w_stable,         ///< WDATA, WSTRB and WLAST are stable while WVALID waits for WREADY.
  w_last,           ///< WLAST is high on beat AWLEN + 1 of a burst and on no other.
  w_strb,           ///< WSTRB is zero in byte lanes that the transfer does not cover.
  r_valid_drop,     ///< RVALID stays high until RREADY.
  r_stable,         ///< The R payload is stable while RVALID waits for RREADY.
  r_last,           ///< RLAST is high on beat ARLEN + 1 of a burst and on no other.
  r_without_ar,     ///< RVALID rises only in a cycle after the AR handshake of its burst.
  r_id,             ///< RID is the ID of an outstanding read.
  r_resp,           ///< RRESP is not EXOKAY (no exclusive accesses here).
  b_valid_drop,     ///< BVALID stays high until BREADY.
  b_stable,         ///< The B payload is stable while BVALID waits for BREADY.
  b_without_aw,     ///< BVALID rises only in a cycle after the AW handshake of its burst.
  b_before_wlast,   ///< BVALID rises only in a cycle after the last W handshake of its burst.
  b_id,             ///< BID is the ID of an outstanding write.
  b_resp,           ///< BRESP is not EXOKAY.
  end_reads,        ///< At the end every read burst has all its beats.
  end_writes,       ///< At the end every write burst has its data and its response.
  end_write_data,   ///< At the end there are no W beats without an AW.
  mem_read_hazard,  ///< (AxiMemory) No read is issued to bytes of a write without response yet.
  mem_write_hazard, ///< (AxiMemory) No write is issued to bytes of a read that is not complete.
  count_
};

/// Name of a rule as it stands in reports, for example "AXI_AR_4K".
[[nodiscard]] std::string_view rule_name(AxiRule rule);

struct AxiCheckerConfig {
  std::uint32_t data_bytes = 8;  ///< Width of the data bus: 8 or 16 (any power of two <= 64).
  std::uint32_t max_beats = 256; ///< Longest INCR burst that is allowed.
  bool incr_only = false;        ///< FIXED and WRAP bursts are violations.
  bool full_width_only = false;  ///< Narrow transfers are violations.
  std::size_t max_kept = 64;     ///< Violations kept with their text.
};

/// Checks one AXI4 interface, master and slave side. Call sample() once per clock cycle with the
/// values before the rising edge, finish() when the test believes that all is done.
/// Transactions of one ID are in order, of different IDs may be answered in any order.
class AxiChecker {
public:
  explicit AxiChecker(const AxiCheckerConfig &config = {});

  void sample(std::uint64_t cycle, const AxiReadPorts &read, const AxiWritePorts &write,
              bool in_reset = false);

  /// The rules about the end of a test: nothing outstanding.
  void finish(std::uint64_t cycle);

  /// Forgets outstanding transactions, keeps the violations.
  void reset();

  [[nodiscard]] const ViolationLog<AxiRule> &log() const { return log_; }
  [[nodiscard]] ViolationLog<AxiRule> &log() { return log_; }
  [[nodiscard]] bool ok() const { return log_.empty(); }
  /// Beats and bursts seen so far, so that a test can assert that something was checked.
  [[nodiscard]] std::uint64_t read_beats() const { return read_beats_; }
  [[nodiscard]] std::uint64_t write_beats() const { return write_beats_; }
  [[nodiscard]] std::uint64_t read_bursts() const { return read_bursts_; }
  [[nodiscard]] std::uint64_t write_bursts() const { return write_bursts_; }

private:
  struct Address {
    std::uint64_t addr = 0;
    std::uint32_t id = 0;
    std::uint8_t len = 0;
    std::uint8_t size = 0;
    std::uint8_t burst = 0;
    friend bool operator==(const Address &, const Address &) = default;
  };
  struct Transaction {
    Address address;
    std::uint32_t beats_done = 0;
    bool complete = false;
  };
  struct DataBeat {
    std::uint64_t strb = 0;
    bool last = false;
  };
  struct AddressRules {
    const char *channel;
    AxiRule boundary, size, burst, len, wrap_align;
  };

  void check_reset(std::uint64_t cycle, const AxiReadPorts &read, const AxiWritePorts &write);
  void check_read_data(std::uint64_t cycle, const AxiReadPorts &read);
  void check_write_response(std::uint64_t cycle, const AxiWritePorts &write);
  void check_read_address(std::uint64_t cycle, const AxiReadPorts &read);
  void check_write_address(std::uint64_t cycle, const AxiWritePorts &write);
  void check_write_data(std::uint64_t cycle, const AxiWritePorts &write);
  void check_address(std::uint64_t cycle, const Address &address, const AddressRules &rules);
  void take_data_beat(std::uint64_t cycle, Transaction &write, const DataBeat &beat);

  AxiCheckerConfig config_;
  std::uint8_t full_size_;
  ViolationLog<AxiRule> log_;

  // Payloads of channels that waited for READY in the cycle before.
  bool ar_waits_ = false, aw_waits_ = false, w_waits_ = false, r_waits_ = false, b_waits_ = false;
  Address ar_held_{}, aw_held_{};
  AxiReadPorts r_held_{};
  AxiWritePorts w_held_{};
  std::uint32_t b_held_id_ = 0;
  std::uint8_t b_held_resp_ = 0;

  std::vector<Transaction> reads_;
  std::vector<Transaction> writes_;
  std::vector<DataBeat> early_data_; // W beats that came before their AW
  std::size_t data_writes_ = 0;      // writes_ [0, data_writes_) have all their data
  std::uint32_t reset_cycles_ = 0;
  std::uint64_t read_beats_ = 0, write_beats_ = 0, read_bursts_ = 0, write_bursts_ = 0;
};

} // namespace kestrel::tb
