// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "vision/device/engine_driver.hpp"

#include <array>
#include <string>
#include <vector>

#include "kestrel/vision/compiler.hpp"

namespace kestrel::hv {
namespace {

namespace c = contract;

std::string cause_name(std::uint32_t cause) {
  switch (static_cast<c::ErrorCause>(cause)) {
  case c::ErrorCause::kNone:
    return "none";
  case c::ErrorCause::kReadResp:
    return "read response";
  case c::ErrorCause::kWriteResp:
    return "write response";
  case c::ErrorCause::kBadOpcode:
    return "bad opcode";
  case c::ErrorCause::kBadField:
    return "bad descriptor field";
  case c::ErrorCause::kActRange:
    return "activation row out of range";
  case c::ErrorCause::kWatchdog:
    return "watchdog";
  case c::ErrorCause::kBadStart:
    return "bad start";
  }
  return "unknown";
}

} // namespace

Result<void> EngineDriver::check(const Package &package) {
  if (package.config_name != config_.name)
    return fail(ErrorCode::kVersionMismatch,
                "package '{}' is compiled for configuration '{}', the device is '{}'",
                package.model_name, package.config_name, config_.name);
  KESTREL_TRY(verify_package(package));
  loaded_ = false;
  KESTREL_ASSIGN(const std::uint32_t version, port_.read(c::reg::kVersion));
  if (version != package.contract_version)
    return fail(ErrorCode::kVersionMismatch,
                "package '{}' is of contract version {:#x}, the device of {:#x}",
                package.model_name, package.contract_version, version);
  return {};
}

Result<void> EngineDriver::load(const Package &package, const EngineRegions &regions,
                                std::uint32_t interrupts) {
  loaded_ = false;
  KESTREL_TRY(port_.put(regions.pkg, package.image));
  KESTREL_TRY(port_.write(c::reg::kIrqEnable, interrupts));
  // DESC_BASE, DESC_COUNT, PKG_BASE, IN_BASE, OUT_BASE, SCRATCH_BASE follow each other.
  const std::array<std::uint32_t, 6> registers = {
      regions.pkg + package.descriptor_offset,
      package.descriptor_count,
      regions.pkg,
      regions.in,
      regions.out,
      regions.scratch,
  };
  static_assert(c::reg::kScratchBase == c::reg::kDescBase + 4 * (registers.size() - 1));
  KESTREL_TRY(port_.write(c::reg::kDescBase, registers));
  std::array<std::uint32_t, registers.size()> taken{};
  KESTREL_TRY(port_.read(c::reg::kDescBase, taken));
  if (taken != registers)
    return fail(ErrorCode::kDevice, "the engine's registers read back other than written");
  if (package.has_confidence) {
    std::array<std::uint32_t, c::kExpTableEntries> table{};
    for (std::size_t i = 0; i < table.size(); ++i)
      table[i] = static_cast<std::uint32_t>(package.exp_table[i]);
    KESTREL_TRY(port_.write(c::kExpTableOffset, table));
  }
  package_ = package;
  regions_ = regions;
  loaded_ = true;
  return {};
}

Result<void> EngineDriver::start(std::span<const std::int8_t> input) {
  if (!loaded_)
    return fail(ErrorCode::kInvalidArgument, "no package is loaded");
  KESTREL_ASSIGN(const auto in, pack_input(package_, input));
  KESTREL_TRY(port_.put(regions_.in, in));
  KESTREL_TRY(port_.write(c::reg::kIrqStatus, 3));
  return port_.write(c::reg::kCtrl, 1);
}

Result<Inference> EngineDriver::finish() {
  KESTREL_ASSIGN(const std::uint32_t state, port_.read(c::reg::kStatus));
  if ((state & 4U) != 0) {
    KESTREL_ASSIGN(const std::uint32_t error, port_.read(c::reg::kError));
    return fail(ErrorCode::kDevice, "the engine stopped with error {} ({}), information {:#x}",
                error & 0xFFU, cause_name(error & 0xFFU), error >> 8U);
  }

  Inference result;
  std::array<std::uint32_t, (c::reg::kCntDesc - c::reg::kCntCycles) / 4 + 1> counts{};
  KESTREL_TRY(port_.read(c::reg::kCntCycles, counts));
  const auto count = [&counts](std::uint32_t offset) {
    return counts[(offset - c::reg::kCntCycles) / 4];
  };
  Counters &n = result.counters;
  n.cycles_known = true;
  n.cycles = count(c::reg::kCntCycles);
  n.mac = count(c::reg::kCntMac);
  n.res = count(c::reg::kCntRes);
  n.stall_weight = count(c::reg::kCntStWeight);
  n.stall_drain = count(c::reg::kCntStDrain);
  n.stall_fetch = count(c::reg::kCntStFetch);
  n.stall_load = count(c::reg::kCntStLoad);
  n.stall_dep = count(c::reg::kCntStDep);
  n.stall_desc = count(c::reg::kCntStDesc);
  n.stall_out = count(c::reg::kCntStOut);
  n.rd_beats = count(c::reg::kCntRdBeats);
  n.rd_w_beats = count(c::reg::kCntRdWBeats);
  n.wr_beats = count(c::reg::kCntWrBeats);
  n.descriptors = count(c::reg::kCntDesc);
  n.macs = package_.macs;
  n.mac_lanes = config_.macs();

  std::vector<std::uint8_t> out(package_.out_bytes);
  KESTREL_TRY(port_.fetch(regions_.out, out));
  KESTREL_ASSIGN(result.output, unpack_output(package_, out));

  if (package_.has_confidence) {
    std::array<std::uint32_t, 2> conf{}; // CONF_CLASS, CONF_PROB
    KESTREL_TRY(port_.read(c::reg::kConfClass, conf));
    result.confidence = Confidence{
        .top1 = static_cast<std::uint16_t>(conf[0] & 0x3FFU),
        .top2 = static_cast<std::uint16_t>((conf[0] >> 10U) & 0x3FFU),
        .p1_q16 = static_cast<std::uint16_t>(conf[1] & 0xFFFFU),
        .margin_q16 = static_cast<std::uint16_t>(conf[1] >> 16U),
        .confident = ((conf[0] >> 20U) & 1U) != 0,
    };
  }
  return result;
}

Result<void> EngineDriver::set_threshold(std::uint32_t threshold_q16, ConfidenceMode mode) {
  if (threshold_q16 > 65536)
    return fail(ErrorCode::kInvalidArgument, "threshold {} is not in 0..65536", threshold_q16);
  return port_.write(c::reg::kConfCtrl,
                     threshold_q16 | (mode == ConfidenceMode::kMargin ? 1U << 17U : 0U));
}

} // namespace kestrel::hv
