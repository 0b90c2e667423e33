// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "testbench/cpp/axi_checker.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "testbench/cpp/axi_math.hpp"
#include "testbench/cpp/text.hpp"

namespace kestrel::tb {

namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(AxiRule::count_)> kRuleNames = {
    "AXI_RESET_VALID",    "AXI_AR_VALID_DROP",  "AXI_AR_STABLE",       "AXI_AR_4K",
    "AXI_AR_SIZE",        "AXI_AR_BURST",       "AXI_AR_LEN",          "AXI_AR_WRAP_ALIGN",
    "AXI_AW_VALID_DROP",  "AXI_AW_STABLE",      "AXI_AW_4K",           "AXI_AW_SIZE",
    "AXI_AW_BURST",       "AXI_AW_LEN",         "AXI_AW_WRAP_ALIGN",   "AXI_W_VALID_DROP",
    "AXI_W_STABLE",       "AXI_W_LAST",         "AXI_W_STRB",          "AXI_R_VALID_DROP",
    "AXI_R_STABLE",       "AXI_R_LAST",         "AXI_R_WITHOUT_AR",    "AXI_R_ID",
    "AXI_R_RESP",         "AXI_B_VALID_DROP",   "AXI_B_STABLE",        "AXI_B_WITHOUT_AW",
    "AXI_B_BEFORE_WLAST", "AXI_B_ID",           "AXI_B_RESP",          "AXI_END_READS",
    "AXI_END_WRITES",     "AXI_END_WRITE_DATA", "AXI_MEM_READ_HAZARD", "AXI_MEM_WRITE_HAZARD",
};

template <class Transactions> auto find_id(Transactions &transactions, std::uint32_t id) {
  return std::find_if(transactions.begin(), transactions.end(),
                      [id](const auto &t) { return t.address.id == id; });
}

} // namespace

std::string_view rule_name(AxiRule rule) {
  const auto index = static_cast<std::size_t>(rule);
  return index < kRuleNames.size() ? kRuleNames[index] : "AXI_UNKNOWN";
}

AxiChecker::AxiChecker(const AxiCheckerConfig &config)
    : config_(config), full_size_(static_cast<std::uint8_t>(std::countr_zero(config.data_bytes))),
      log_(config.max_kept) {}

void AxiChecker::reset() {
  ar_waits_ = aw_waits_ = w_waits_ = r_waits_ = b_waits_ = false;
  reads_.clear();
  writes_.clear();
  early_data_.clear();
  data_writes_ = 0;
}

void AxiChecker::sample(std::uint64_t cycle, const AxiReadPorts &read, const AxiWritePorts &write,
                        bool in_reset) {
  if (in_reset) {
    check_reset(cycle, read, write);
    return;
  }
  reset_cycles_ = 0;
  // Responses first: one that appears in the cycle of its own request is too early.
  if (read.rvalid || r_waits_) {
    check_read_data(cycle, read);
  }
  if (write.bvalid || b_waits_) {
    check_write_response(cycle, write);
  }
  if (read.arvalid || ar_waits_) {
    check_read_address(cycle, read);
  }
  if (write.awvalid || aw_waits_) {
    check_write_address(cycle, write);
  }
  if (write.wvalid || w_waits_) {
    check_write_data(cycle, write);
  }
}

void AxiChecker::check_reset(std::uint64_t cycle, const AxiReadPorts &read,
                             const AxiWritePorts &write) {
  reset();
  // The reset is synchronous: registers have their reset value after its first rising edge.
  if (++reset_cycles_ < 2) {
    return;
  }
  const auto check = [&](bool valid, const char *name) {
    if (valid) {
      log_.add(AxiRule::reset_valid, cycle, std::string(name) + " is high in reset");
    }
  };
  check(read.arvalid, "ARVALID");
  check(write.awvalid, "AWVALID");
  check(write.wvalid, "WVALID");
  check(read.rvalid, "RVALID");
  check(write.bvalid, "BVALID");
}

void AxiChecker::check_address(std::uint64_t cycle, const Address &address,
                               const AddressRules &rules) {
  const std::uint64_t size = std::uint64_t{1} << address.size;
  const std::uint32_t beats = address.len + 1U;
  const auto where = [&] { return std::string(rules.channel) + " address " + hex(address.addr); };
  if (address.size > full_size_ || (config_.full_width_only && address.size != full_size_)) {
    log_.add(rules.size, cycle,
             where() + ": transfers of " + std::to_string(size) + " bytes on a bus of " +
                 std::to_string(config_.data_bytes));
  }
  const auto burst = static_cast<AxiBurst>(address.burst);
  if (address.burst > 2 || (config_.incr_only && burst != AxiBurst::incr)) {
    log_.add(rules.burst, cycle, where() + ": burst type " + std::to_string(address.burst));
  }
  bool len_ok = true;
  switch (burst) {
  case AxiBurst::fixed:
    len_ok = beats <= 16;
    break;
  case AxiBurst::wrap:
    len_ok = beats == 2 || beats == 4 || beats == 8 || beats == 16;
    if ((address.addr & (size - 1)) != 0) {
      log_.add(rules.wrap_align, cycle, where() + ": WRAP burst not aligned to its size");
    }
    break;
  default:
    len_ok = beats <= config_.max_beats;
    if (burst == AxiBurst::incr) {
      const std::uint64_t last = (address.addr & ~(size - 1)) + size * beats - 1;
      if ((address.addr >> 12U) != (last >> 12U)) {
        log_.add(rules.boundary, cycle,
                 where() + ": " + std::to_string(beats) + " beats of " + std::to_string(size) +
                     " bytes cross a 4 KiB boundary");
      }
    }
    break;
  }
  if (!len_ok) {
    log_.add(rules.len, cycle,
             where() + ": " + std::to_string(beats) + " beats, burst type " +
                 std::to_string(address.burst));
  }
}

void AxiChecker::check_read_address(std::uint64_t cycle, const AxiReadPorts &read) {
  static constexpr AddressRules kRules = {"AR",
                                          AxiRule::ar_4k,
                                          AxiRule::ar_size,
                                          AxiRule::ar_burst,
                                          AxiRule::ar_len,
                                          AxiRule::ar_wrap_align};
  if (!read.arvalid) {
    log_.add(AxiRule::ar_valid_drop, cycle, "ARVALID fell before ARREADY");
    ar_waits_ = false;
    return;
  }
  const Address address{read.araddr, read.arid, read.arlen, read.arsize, read.arburst};
  if (ar_waits_) {
    if (address != ar_held_) {
      log_.add(AxiRule::ar_stable, cycle,
               "AR payload changed, address " + hex(ar_held_.addr) + " -> " + hex(address.addr));
    }
  } else {
    check_address(cycle, address, kRules);
  }
  if (read.arready) {
    reads_.push_back(Transaction{address, 0, false});
    ++read_bursts_;
  } else {
    ar_held_ = address;
  }
  ar_waits_ = !read.arready;
}

void AxiChecker::check_write_address(std::uint64_t cycle, const AxiWritePorts &write) {
  static constexpr AddressRules kRules = {"AW",
                                          AxiRule::aw_4k,
                                          AxiRule::aw_size,
                                          AxiRule::aw_burst,
                                          AxiRule::aw_len,
                                          AxiRule::aw_wrap_align};
  if (!write.awvalid) {
    log_.add(AxiRule::aw_valid_drop, cycle, "AWVALID fell before AWREADY");
    aw_waits_ = false;
    return;
  }
  const Address address{write.awaddr, write.awid, write.awlen, write.awsize, write.awburst};
  if (aw_waits_) {
    if (address != aw_held_) {
      log_.add(AxiRule::aw_stable, cycle,
               "AW payload changed, address " + hex(aw_held_.addr) + " -> " + hex(address.addr));
    }
  } else {
    check_address(cycle, address, kRules);
  }
  if (write.awready) {
    writes_.push_back(Transaction{address, 0, false});
    ++write_bursts_;
    std::size_t taken = 0;
    while (taken < early_data_.size() && !writes_.back().complete) {
      take_data_beat(cycle, writes_.back(), early_data_[taken++]);
    }
    early_data_.erase(early_data_.begin(),
                      early_data_.begin() + static_cast<std::ptrdiff_t>(taken));
  } else {
    aw_held_ = address;
  }
  aw_waits_ = !write.awready;
}

void AxiChecker::take_data_beat(std::uint64_t cycle, Transaction &write, const DataBeat &beat) {
  const Address &address = write.address;
  const std::uint64_t lanes = axi_beat_lanes(address.addr, address.len, address.size, address.burst,
                                             write.beats_done, config_.data_bytes);
  if ((beat.strb & ~lanes) != 0) {
    log_.add(AxiRule::w_strb, cycle,
             "WSTRB " + hex(beat.strb) + " outside the lanes " + hex(lanes) + " of beat " +
                 std::to_string(write.beats_done) + " at address " + hex(address.addr));
  }
  ++write.beats_done;
  const bool due = write.beats_done == address.len + 1U;
  if (beat.last != due) {
    log_.add(AxiRule::w_last, cycle,
             (beat.last ? "WLAST on beat " : "no WLAST on beat ") +
                 std::to_string(write.beats_done) + " of " + std::to_string(address.len + 1U) +
                 " at address " + hex(address.addr));
  }
  if (due || beat.last) {
    write.complete = true;
    ++data_writes_;
  }
}

void AxiChecker::check_write_data(std::uint64_t cycle, const AxiWritePorts &write) {
  if (!write.wvalid) {
    log_.add(AxiRule::w_valid_drop, cycle, "WVALID fell before WREADY");
    w_waits_ = false;
    return;
  }
  if (w_waits_ && (write.wdata != w_held_.wdata || write.wstrb != w_held_.wstrb ||
                   write.wlast != w_held_.wlast)) {
    log_.add(AxiRule::w_stable, cycle, "WDATA, WSTRB or WLAST changed while waiting for WREADY");
  }
  w_waits_ = !write.wready;
  if (!write.wready) {
    w_held_.wdata = write.wdata;
    w_held_.wstrb = write.wstrb;
    w_held_.wlast = write.wlast;
    return;
  }
  ++write_beats_;
  const DataBeat beat{write.wstrb, write.wlast};
  if (data_writes_ < writes_.size()) {
    take_data_beat(cycle, writes_[data_writes_], beat);
  } else {
    early_data_.push_back(beat);
  }
}

void AxiChecker::check_read_data(std::uint64_t cycle, const AxiReadPorts &read) {
  if (!read.rvalid) {
    log_.add(AxiRule::r_valid_drop, cycle, "RVALID fell before RREADY");
    r_waits_ = false;
    return;
  }
  auto transaction = find_id(reads_, read.rid);
  if (r_waits_) {
    if (read.rdata != r_held_.rdata || read.rresp != r_held_.rresp || read.rlast != r_held_.rlast ||
        read.rid != r_held_.rid) {
      log_.add(AxiRule::r_stable, cycle, "R payload changed while waiting for RREADY");
    }
  } else {
    if (reads_.empty()) {
      log_.add(AxiRule::r_without_ar, cycle, "RVALID with no read outstanding");
    } else if (transaction == reads_.end()) {
      log_.add(AxiRule::r_id, cycle, "no read with ID " + std::to_string(read.rid));
    } else if (const std::uint32_t beats = transaction->address.len + 1U;
               read.rlast != (transaction->beats_done + 1 == beats)) {
      log_.add(AxiRule::r_last, cycle,
               (read.rlast ? "RLAST on beat " : "no RLAST on beat ") +
                   std::to_string(transaction->beats_done + 1) + " of " + std::to_string(beats));
    }
    if (read.rresp == static_cast<std::uint8_t>(AxiResp::exokay)) {
      log_.add(AxiRule::r_resp, cycle, "RRESP is EXOKAY");
    }
  }
  r_waits_ = !read.rready;
  if (!read.rready) {
    r_held_.rdata = read.rdata;
    r_held_.rresp = read.rresp;
    r_held_.rlast = read.rlast;
    r_held_.rid = read.rid;
    return;
  }
  ++read_beats_;
  if (transaction != reads_.end()) {
    ++transaction->beats_done;
    if (read.rlast || transaction->beats_done == transaction->address.len + 1U) {
      reads_.erase(transaction);
    }
  }
}

void AxiChecker::check_write_response(std::uint64_t cycle, const AxiWritePorts &write) {
  if (!write.bvalid) {
    log_.add(AxiRule::b_valid_drop, cycle, "BVALID fell before BREADY");
    b_waits_ = false;
    return;
  }
  auto transaction = find_id(writes_, write.bid);
  if (b_waits_) {
    if (write.bresp != b_held_resp_ || write.bid != b_held_id_) {
      log_.add(AxiRule::b_stable, cycle, "B payload changed while waiting for BREADY");
    }
  } else {
    if (writes_.empty()) {
      log_.add(AxiRule::b_without_aw, cycle, "BVALID with no write outstanding");
    } else if (transaction == writes_.end()) {
      log_.add(AxiRule::b_id, cycle, "no write with ID " + std::to_string(write.bid));
    } else if (!transaction->complete) {
      log_.add(AxiRule::b_before_wlast, cycle,
               "BVALID after " + std::to_string(transaction->beats_done) + " of " +
                   std::to_string(transaction->address.len + 1U) + " beats");
    }
    if (write.bresp == static_cast<std::uint8_t>(AxiResp::exokay)) {
      log_.add(AxiRule::b_resp, cycle, "BRESP is EXOKAY");
    }
  }
  b_waits_ = !write.bready;
  b_held_resp_ = write.bresp;
  b_held_id_ = write.bid;
  if (write.bready && transaction != writes_.end()) {
    if (transaction->complete) {
      --data_writes_;
    }
    writes_.erase(transaction);
  }
}

void AxiChecker::finish(std::uint64_t cycle) {
  for (const auto &read : reads_) {
    log_.add(AxiRule::end_reads, cycle,
             "read at " + hex(read.address.addr) + " has " + std::to_string(read.beats_done) +
                 " of " + std::to_string(read.address.len + 1U) + " beats");
  }
  for (const auto &write : writes_) {
    log_.add(AxiRule::end_writes, cycle,
             "write at " + hex(write.address.addr) +
                 (write.complete ? " has no response" : " lacks data"));
  }
  if (!early_data_.empty()) {
    log_.add(AxiRule::end_write_data, cycle,
             std::to_string(early_data_.size()) + " W beats without AW");
  }
}

} // namespace kestrel::tb
