// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "testbench/cpp/axi_memory.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "testbench/cpp/axi_math.hpp"
#include "testbench/cpp/text.hpp"

namespace kestrel::tb {

namespace {

constexpr std::uint64_t kGarbage = 0xDEADC0DEBADDCAFEULL;

AxiCheckerConfig checker_config(const AxiMemoryConfig &config) {
  AxiCheckerConfig checker;
  checker.data_bytes = config.data_bytes;
  checker.incr_only = true;
  return checker;
}

AxiMemoryConfig sanitized(AxiMemoryConfig config) {
  if (config.data_bytes != 16 && config.data_bytes != 32 && config.data_bytes != 64) {
    config.data_bytes = 8;
  }
  config.read_latency = std::max(config.read_latency, 1U);
  config.write_latency = std::max(config.write_latency, 1U);
  config.max_outstanding = std::max(config.max_outstanding, 1U);
  if (config.refresh_interval != 0)
    config.refresh_cycles = std::min(config.refresh_cycles, config.refresh_interval - 1);
  return config;
}

} // namespace

void AxiMemory::Credit::configure(const Bandwidth &bandwidth) {
  const std::uint32_t beats = std::max(bandwidth.beats, 1U);
  const std::uint32_t cycles = std::max(bandwidth.cycles, 1U);
  const std::uint32_t divisor = std::gcd(beats, cycles);
  beats_ = beats / divisor;
  cycles_ = cycles / divisor;
  limited_ = beats_ < cycles_;
  cap_ = cycles_ + beats_ - 1;
  value_ = cap_;
}

AxiMemory::AxiMemory(const AxiMemoryConfig &config)
    : config_(sanitized(config)), checker_(checker_config(config_)), random_(config_.seed),
      pages_((config_.size + kPageBytes - 1) >> kPageBits) {
  configure_credits();
  std::fill_n(garbage_.words.begin(), config_.data_bytes / 8, kGarbage);
  read_.rdata = garbage_;
}

void AxiMemory::set_timing(const AxiMemoryConfig &config) {
  const AxiMemoryConfig next = sanitized(config);
  config_.read_latency = next.read_latency;
  config_.write_latency = next.write_latency;
  config_.max_outstanding = next.max_outstanding;
  config_.read_bandwidth = next.read_bandwidth;
  config_.write_bandwidth = next.write_bandwidth;
  config_.shared_bandwidth = next.shared_bandwidth;
  config_.refresh_interval = next.refresh_interval;
  config_.refresh_cycles = next.refresh_cycles;
  config_.back_pressure = next.back_pressure;
  config_.seed = next.seed;
  random_ = Random(config_.seed);
  configure_credits();
}

void AxiMemory::configure_credits() {
  read_credit_.configure(config_.read_bandwidth);
  write_credit_.configure(config_.write_bandwidth);
  shared_credit_.configure(config_.shared_bandwidth);
}

void AxiMemory::align() {
  for (Credit *credit : {&read_credit_, &write_credit_, &shared_credit_})
    credit->refill();
  refresh_origin_.reset();
}

bool AxiMemory::refreshing(std::uint64_t cycle) const {
  return config_.refresh_interval != 0 && refresh_origin_ &&
         (cycle - *refresh_origin_) % config_.refresh_interval >=
             config_.refresh_interval - config_.refresh_cycles;
}

void AxiMemory::reset() {
  refresh_origin_.reset();
  reads_.clear();
  writes_.clear();
  early_data_.clear();
  data_writes_ = 0;
  read_number_ = 0;
  write_number_ = 0;
  first_cycle_ = true;
  configure_credits();
  read_shown_ = false;
  response_shown_ = false;
  checker_.reset();
}

// --- contents ------------------------------------------------------------------------------------

bool AxiMemory::inside(std::uint64_t addr, std::uint64_t count) const {
  return addr >= config_.base && count <= config_.size &&
         addr - config_.base <= config_.size - count;
}

const std::uint8_t *AxiMemory::page_or_null(std::uint64_t offset) const {
  return pages_[offset >> kPageBits].get();
}

std::uint8_t *AxiMemory::page(std::uint64_t offset) {
  Page &entry = pages_[offset >> kPageBits];
  if (!entry) {
    entry = std::make_unique_for_overwrite<std::uint8_t[]>(kPageBytes);
    std::memset(entry.get(), config_.fill, kPageBytes);
  }
  return entry.get();
}

bool AxiMemory::store(std::uint64_t addr, std::span<const std::uint8_t> bytes) {
  if (!inside(addr, bytes.size())) {
    return false;
  }
  std::uint64_t offset = addr - config_.base;
  while (!bytes.empty()) {
    const std::uint64_t at = offset % kPageBytes;
    const std::size_t count = std::min<std::size_t>(bytes.size(), kPageBytes - at);
    std::memcpy(page(offset) + at, bytes.data(), count);
    bytes = bytes.subspan(count);
    offset += count;
  }
  return true;
}

bool AxiMemory::load(std::uint64_t addr, std::span<std::uint8_t> bytes) const {
  if (!inside(addr, bytes.size())) {
    return false;
  }
  std::uint64_t offset = addr - config_.base;
  while (!bytes.empty()) {
    const std::uint64_t at = offset % kPageBytes;
    const std::size_t count = std::min<std::size_t>(bytes.size(), kPageBytes - at);
    if (const std::uint8_t *source = page_or_null(offset)) {
      std::memcpy(bytes.data(), source + at, count);
    } else {
      std::memset(bytes.data(), config_.fill, count);
    }
    bytes = bytes.subspan(count);
    offset += count;
  }
  return true;
}

bool AxiMemory::fill(std::uint64_t addr, std::uint64_t count, std::uint8_t value) {
  if (!inside(addr, count)) {
    return false;
  }
  std::uint64_t offset = addr - config_.base;
  while (count != 0) {
    const std::uint64_t at = offset % kPageBytes;
    const std::uint64_t part = std::min(count, kPageBytes - at);
    std::memset(page(offset) + at, value, part);
    count -= part;
    offset += part;
  }
  return true;
}

// --- faults --------------------------------------------------------------------------------------

void AxiMemory::inject_range(AxiDirection direction, std::uint64_t addr, std::uint64_t count,
                             AxiResp resp) {
  range_faults_.push_back({direction, addr, addr + count, static_cast<std::uint8_t>(resp)});
}

void AxiMemory::inject_burst(AxiDirection direction, std::uint64_t burst, AxiResp resp,
                             std::optional<std::uint32_t> beat) {
  burst_faults_.push_back({direction, burst, static_cast<std::uint8_t>(resp), beat});
}

void AxiMemory::clear_faults() {
  range_faults_.clear();
  burst_faults_.clear();
}

// The response to the current beat of a burst, whose bus word lies at `bus_addr`.
std::uint8_t AxiMemory::fault_of(AxiDirection direction, const Burst &burst,
                                 std::uint64_t bus_addr) const {
  if (burst.type != static_cast<std::uint8_t>(AxiBurst::incr)) {
    return static_cast<std::uint8_t>(AxiResp::slverr);
  }
  if (!inside(bus_addr, config_.data_bytes)) {
    return static_cast<std::uint8_t>(AxiResp::decerr);
  }
  for (const auto &fault : range_faults_) {
    if (fault.direction == direction && bus_addr < fault.end &&
        bus_addr + config_.data_bytes > fault.begin) {
      return fault.resp;
    }
  }
  for (const auto &fault : burst_faults_) {
    if (fault.direction == direction && fault.burst == burst.number &&
        (direction == AxiDirection::write || !fault.beat || *fault.beat == burst.beats_done)) {
      return fault.resp;
    }
  }
  return 0;
}

// --- one cycle -----------------------------------------------------------------------------------

AxiMemory::Burst AxiMemory::make_burst(std::uint64_t addr, std::uint32_t id, std::uint8_t len,
                                       std::uint8_t size, std::uint8_t type) const {
  Burst burst;
  burst.addr = addr;
  burst.id = id;
  burst.beats = len + 1U;
  burst.len = len;
  burst.size = size;
  burst.type = type;
  const std::uint64_t bytes = std::uint64_t{1} << size;
  burst.end = (addr & ~(bytes - 1)) + bytes * burst.beats;
  return burst;
}

void AxiMemory::eval_outputs(std::uint64_t cycle) {
  const bool refresh = refreshing(cycle);
  if (!first_cycle_) {
    if (cycle == evaluated_) {
      return;
    }
    if (!refresh) {
      read_credit_.next_cycle();
      write_credit_.next_cycle();
      shared_credit_.next_cycle();
    }
  }
  first_cycle_ = false;
  evaluated_ = cycle;
  const AxiBackPressure &stall = config_.back_pressure;

  read_.arready = reads_.size() < config_.max_outstanding && !random_.chance(stall.ar);
  if (!read_shown_ && !reads_.empty() && reads_.front().due <= cycle && !refresh &&
      read_credit_.available() && shared_credit_.available() && !random_.chance(stall.r)) {
    show_read_beat();
  }
  read_.rvalid = read_shown_;
  if (!read_shown_) {
    read_.rdata = garbage_;
  }
  write_.awready = writes_.size() < config_.max_outstanding && !random_.chance(stall.aw);
  write_.wready = early_data_.size() < kMaxEarlyData && !refresh && write_credit_.available() &&
                  shared_credit_.available() && !random_.chance(stall.w);
  if (!response_shown_ && !writes_.empty() && writes_.front().has_data &&
      writes_.front().due <= cycle && !random_.chance(stall.b)) {
    response_shown_ = true;
    write_.bresp = writes_.front().resp;
    write_.bid = writes_.front().id;
  }
  write_.bvalid = response_shown_;
}

void AxiMemory::show_read_beat() {
  Burst &burst = reads_.front();
  const std::uint64_t addr =
      axi_beat_address(burst.addr, burst.len, burst.size, burst.type, burst.beats_done);
  const std::uint64_t bus_addr = addr & ~(std::uint64_t{config_.data_bytes} - 1);
  const std::uint8_t resp = fault_of(AxiDirection::read, burst, bus_addr);
  if (resp != 0) {
    read_.rdata = garbage_;
    burst.resp = resp;
  } else {
    // A bus word lies in one page when the base is aligned; load() copes with any base.
    const std::uint64_t offset = bus_addr - config_.base;
    const std::uint64_t at = offset % kPageBytes;
    const std::uint8_t *source = page_or_null(offset);
    if (source != nullptr && at + config_.data_bytes <= kPageBytes) {
      std::memcpy(read_.rdata.bytes(), source + at, config_.data_bytes);
    } else {
      static_cast<void>(load(bus_addr, {read_.rdata.bytes(), config_.data_bytes}));
    }
  }
  read_shown_ = true;
  read_.rresp = resp;
  read_.rid = burst.id;
  read_.rlast = burst.beats_done + 1 == burst.beats;
}

void AxiMemory::sample(std::uint64_t cycle, bool in_reset) {
  if (config_.check) {
    checker_.sample(cycle, read_, write_, in_reset);
  }
  if (in_reset) {
    reset();
    return;
  }
  sample_read(cycle);
  sample_write(cycle);
}

void AxiMemory::sample_read(std::uint64_t cycle) {
  if (read_.rvalid) {
    if (read_.rready) {
      read_credit_.spend();
      shared_credit_.spend();
      ++stats_.read_beats;
      read_shown_ = false;
      Burst &burst = reads_.front();
      if (++burst.beats_done == burst.beats) {
        stats_.read_errors += burst.resp != 0 ? 1U : 0U;
        reads_.erase(reads_.begin());
      }
    } else {
      ++stats_.r_wait_cycles;
    }
  }
  if (!read_.arvalid) {
    return;
  }
  if (!read_.arready) {
    ++stats_.ar_wait_cycles;
    return;
  }
  Burst burst = make_burst(read_.araddr, read_.arid, read_.arlen, read_.arsize, read_.arburst);
  burst.number = read_number_++;
  burst.due = cycle + config_.read_latency;
  if (!refresh_origin_)
    refresh_origin_ = cycle;
  ++stats_.read_bursts;
  if (config_.check) {
    // A response that is taken in this very cycle still counts as outstanding.
    for (const auto &other : writes_) {
      if (burst.addr < other.end && other.addr < burst.end) {
        checker_.log().add(AxiRule::mem_read_hazard, cycle,
                           "read of " + hex(burst.addr) + " while the write to " + hex(other.addr) +
                               " has no response");
      }
    }
  }
  reads_.push_back(burst);
}

void AxiMemory::write_beat(std::uint64_t cycle, Burst &burst, const DataBeat &beat) {
  const std::uint64_t addr =
      axi_beat_address(burst.addr, burst.len, burst.size, burst.type, burst.beats_done);
  const std::uint64_t bus_addr = addr & ~(std::uint64_t{config_.data_bytes} - 1);
  const std::uint8_t resp = fault_of(AxiDirection::write, burst, bus_addr);
  if (resp != 0) {
    burst.resp = resp;
  } else {
    const std::uint64_t all = low_bits(config_.data_bytes);
    const std::uint64_t offset = bus_addr - config_.base;
    const std::uint64_t at = offset % kPageBytes;
    if (beat.strb == all && at + config_.data_bytes <= kPageBytes) {
      std::memcpy(page(offset) + at, beat.data.bytes(), config_.data_bytes);
    } else {
      for (std::uint32_t lane = 0; lane < config_.data_bytes; ++lane) {
        if (((beat.strb >> lane) & 1U) != 0) {
          page(offset + lane)[(offset + lane) % kPageBytes] = beat.data.bytes()[lane];
        }
      }
    }
  }
  ++burst.beats_done;
  if (burst.beats_done == burst.beats || beat.last) {
    burst.has_data = true;
    burst.due = cycle + config_.write_latency;
    stats_.write_errors += burst.resp != 0 ? 1U : 0U;
    ++data_writes_;
  }
}

void AxiMemory::sample_write(std::uint64_t cycle) {
  if (write_.bvalid && write_.bready) {
    response_shown_ = false;
    writes_.erase(writes_.begin());
    --data_writes_;
  }
  if (write_.awvalid && !write_.awready) {
    ++stats_.aw_wait_cycles;
  } else if (write_.awvalid) {
    Burst burst =
        make_burst(write_.awaddr, write_.awid, write_.awlen, write_.awsize, write_.awburst);
    burst.number = write_number_++;
    ++stats_.write_bursts;
    if (config_.check) {
      for (const auto &other : reads_) {
        if (burst.addr < other.end && other.addr < burst.end) {
          checker_.log().add(AxiRule::mem_write_hazard, cycle,
                             "write to " + hex(burst.addr) + " while the read of " +
                                 hex(other.addr) + " is not complete");
        }
      }
    }
    writes_.push_back(burst);
    std::size_t taken = 0;
    while (taken < early_data_.size() && !writes_.back().has_data) {
      write_beat(cycle, writes_.back(), early_data_[taken++]);
    }
    if (taken != 0) {
      early_data_.erase(early_data_.begin(),
                        early_data_.begin() + static_cast<std::ptrdiff_t>(taken));
    }
  }
  if (!write_.wvalid) {
    return;
  }
  if (!write_.wready) {
    ++stats_.w_wait_cycles;
    return;
  }
  write_credit_.spend();
  shared_credit_.spend();
  ++stats_.write_beats;
  const DataBeat beat{write_.wdata, write_.wstrb, write_.wlast};
  if (data_writes_ < writes_.size()) {
    write_beat(cycle, writes_[data_writes_], beat);
  } else {
    early_data_.push_back(beat);
  }
}

} // namespace kestrel::tb
