// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "testbench/cpp/axil_checker.hpp"

#include <array>
#include <string>

namespace kestrel::tb {

namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(AxilRule::count_)> kRuleNames = {
    "AXIL_RESET_VALID",  "AXIL_AR_VALID_DROP", "AXIL_AR_STABLE", "AXIL_AW_VALID_DROP",
    "AXIL_AW_STABLE",    "AXIL_W_VALID_DROP",  "AXIL_W_STABLE",  "AXIL_R_VALID_DROP",
    "AXIL_R_STABLE",     "AXIL_B_VALID_DROP",  "AXIL_B_STABLE",  "AXIL_R_WITHOUT_AR",
    "AXIL_B_WITHOUT_AW", "AXIL_B_WITHOUT_W",   "AXIL_R_RESP",    "AXIL_B_RESP",
    "AXIL_END_READS",    "AXIL_END_WRITES",
};

constexpr auto kExokay = static_cast<std::uint8_t>(AxiResp::exokay);

} // namespace

std::string_view rule_name(AxilRule rule) {
  const auto index = static_cast<std::size_t>(rule);
  return index < kRuleNames.size() ? kRuleNames[index] : "AXIL_UNKNOWN";
}

void AxilChecker::reset() {
  ar_waits_ = aw_waits_ = w_waits_ = r_waits_ = b_waits_ = false;
  ar_open_ = aw_open_ = w_open_ = 0;
}

void AxilChecker::sample(std::uint64_t cycle, const AxilPorts &ports, bool in_reset) {
  if (in_reset) {
    reset();
    if (++reset_cycles_ >= 2) {
      const auto check = [&](bool valid, const char *name) {
        if (valid) {
          log_.add(AxilRule::reset_valid, cycle, std::string(name) + " is high in reset");
        }
      };
      check(ports.arvalid, "ARVALID");
      check(ports.awvalid, "AWVALID");
      check(ports.wvalid, "WVALID");
      check(ports.rvalid, "RVALID");
      check(ports.bvalid, "BVALID");
    }
    return;
  }
  reset_cycles_ = 0;

  const auto channel = [&](bool &waits, bool valid, bool ready, bool same, AxilRule drop,
                           AxilRule stable, const char *name) {
    if (waits && !valid) {
      log_.add(drop, cycle, std::string(name) + "VALID fell before " + name + "READY");
    } else if (waits && !same) {
      log_.add(stable, cycle, std::string(name) + " payload changed while waiting");
    }
    waits = valid && !ready;
  };

  // Responses before requests: an answer in the cycle of its own request is too early.
  if (ports.rvalid && !r_waits_) {
    if (ar_open_ == 0) {
      log_.add(AxilRule::r_without_ar, cycle, "RVALID with no read outstanding");
    }
    if (ports.rresp == kExokay) {
      log_.add(AxilRule::r_resp, cycle, "RRESP is EXOKAY");
    }
  }
  channel(r_waits_, ports.rvalid, ports.rready,
          ports.rdata == held_.rdata && ports.rresp == held_.rresp, AxilRule::r_valid_drop,
          AxilRule::r_stable, "R");
  if (ports.rvalid && ports.rready) {
    ar_open_ -= ar_open_ != 0 ? 1U : 0U;
    ++reads_;
  }
  if (ports.bvalid && !b_waits_) {
    if (aw_open_ == 0) {
      log_.add(AxilRule::b_without_aw, cycle, "BVALID with no write address outstanding");
    }
    if (w_open_ == 0) {
      log_.add(AxilRule::b_without_w, cycle, "BVALID with no write data outstanding");
    }
    if (ports.bresp == kExokay) {
      log_.add(AxilRule::b_resp, cycle, "BRESP is EXOKAY");
    }
  }
  channel(b_waits_, ports.bvalid, ports.bready, ports.bresp == held_.bresp, AxilRule::b_valid_drop,
          AxilRule::b_stable, "B");
  if (ports.bvalid && ports.bready) {
    aw_open_ -= aw_open_ != 0 ? 1U : 0U;
    w_open_ -= w_open_ != 0 ? 1U : 0U;
    ++writes_;
  }

  channel(ar_waits_, ports.arvalid, ports.arready, ports.araddr == held_.araddr,
          AxilRule::ar_valid_drop, AxilRule::ar_stable, "AR");
  ar_open_ += ports.arvalid && ports.arready ? 1U : 0U;
  channel(aw_waits_, ports.awvalid, ports.awready, ports.awaddr == held_.awaddr,
          AxilRule::aw_valid_drop, AxilRule::aw_stable, "AW");
  aw_open_ += ports.awvalid && ports.awready ? 1U : 0U;
  channel(w_waits_, ports.wvalid, ports.wready,
          ports.wdata == held_.wdata && ports.wstrb == held_.wstrb, AxilRule::w_valid_drop,
          AxilRule::w_stable, "W");
  w_open_ += ports.wvalid && ports.wready ? 1U : 0U;

  if (ar_waits_ || aw_waits_ || w_waits_ || r_waits_ || b_waits_) {
    held_ = ports;
  }
}

void AxilChecker::finish(std::uint64_t cycle) {
  if (ar_open_ != 0) {
    log_.add(AxilRule::end_reads, cycle, std::to_string(ar_open_) + " reads have no response");
  }
  if (aw_open_ != 0 || w_open_ != 0) {
    log_.add(AxilRule::end_writes, cycle,
             std::to_string(aw_open_) + " AW and " + std::to_string(w_open_) +
                 " W have no response");
  }
}

} // namespace kestrel::tb
