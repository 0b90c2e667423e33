// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "testbench/cpp/axi_types.hpp"
#include "testbench/cpp/violations.hpp"

namespace kestrel::tb {

/// The AXI4-Lite rules that are checked (IHI 0022, chapters A3 and B1).
enum class AxilRule : std::uint8_t {
  reset_valid,   ///< VALID is low from the second cycle of reset on.
  ar_valid_drop, ///< VALID stays high until READY ...
  ar_stable,     ///< ... and the payload stays as it is.
  aw_valid_drop,
  aw_stable,
  w_valid_drop,
  w_stable,
  r_valid_drop,
  r_stable,
  b_valid_drop,
  b_stable,
  r_without_ar, ///< RVALID rises only in a cycle after an AR handshake that has no answer yet.
  b_without_aw, ///< BVALID rises only in a cycle after an AW handshake that has no answer yet.
  b_without_w,  ///< The same for the W handshake.
  r_resp,       ///< RRESP is not EXOKAY.
  b_resp,       ///< BRESP is not EXOKAY.
  end_reads,    ///< At the end every AR has its R.
  end_writes,   ///< At the end every AW and every W has its B.
  count_
};

/// Name of a rule as it stands in reports, for example "AXIL_AR_STABLE".
[[nodiscard]] std::string_view rule_name(AxilRule rule);

/// Checks one AXI4-Lite interface, master and slave side: sample() once per cycle with the values
/// before the rising edge, finish() at the end.
class AxilChecker {
public:
  explicit AxilChecker(std::size_t max_kept = 64) : log_(max_kept) {}

  void sample(std::uint64_t cycle, const AxilPorts &ports, bool in_reset = false);
  void finish(std::uint64_t cycle);
  void reset();

  [[nodiscard]] const ViolationLog<AxilRule> &log() const { return log_; }
  [[nodiscard]] ViolationLog<AxilRule> &log() { return log_; }
  [[nodiscard]] bool ok() const { return log_.empty(); }
  [[nodiscard]] std::uint64_t reads() const { return reads_; }
  [[nodiscard]] std::uint64_t writes() const { return writes_; }

private:
  ViolationLog<AxilRule> log_;
  bool ar_waits_ = false, aw_waits_ = false, w_waits_ = false, r_waits_ = false, b_waits_ = false;
  AxilPorts held_{};
  std::uint32_t ar_open_ = 0, aw_open_ = 0, w_open_ = 0; // handshakes without an answer
  std::uint32_t reset_cycles_ = 0;
  std::uint64_t reads_ = 0, writes_ = 0;
};

} // namespace kestrel::tb
