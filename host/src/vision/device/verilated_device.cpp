// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "vision/device/verilated_device.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "Vhv_engine_edge.h"
#include "common/verilated_device.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/package.hpp"
#include "testbench/cpp/engine_bench.hpp"

namespace kestrel::hv {
namespace {

namespace c = contract;

// Where the four regions lie in the model's external memory.
constexpr std::uint32_t kPkgBase = 0x1000'0000;
constexpr std::uint32_t kInBase = 0x4000'0000;
constexpr std::uint32_t kOutBase = 0x6000'0000;
constexpr std::uint32_t kScratchBase = 0x8000'0000;

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

class VerilatedDevice final : public VerilatedDeviceBase<Device, tb::EngineBench<Vhv_engine_edge>> {
public:
  VerilatedDevice(const c::Config &config, const DeviceOptions &options)
      : VerilatedDeviceBase(options, "engine"), config_(config) {}

  using VerilatedDeviceBase::start_trace;

  Result<void> load(const Package &package) override {
    if (package.config_name != config_.name)
      return fail(ErrorCode::kVersionMismatch,
                  "package '{}' is compiled for configuration '{}', the device is '{}'",
                  package.model_name, package.config_name, config_.name);
    KESTREL_TRY(verify_package(package));
    loaded_ = false;
    const auto version = bench_.registers.read32(c::reg::kVersion);
    if (!version.ok() || version.value != package.contract_version)
      return fail(ErrorCode::kVersionMismatch,
                  "package '{}' is of contract version {:#x}, the device of {:#x}",
                  package.model_name, package.contract_version, version.value);
    KESTREL_TRY(put(bench_.memory, kPkgBase, package.image));
    const std::array<std::pair<std::uint32_t, std::uint32_t>, 7> registers = {{
        {c::reg::kDescBase, kPkgBase + package.descriptor_offset},
        {c::reg::kDescCount, package.descriptor_count},
        {c::reg::kPkgBase, kPkgBase},
        {c::reg::kInBase, kInBase},
        {c::reg::kOutBase, kOutBase},
        {c::reg::kScratchBase, kScratchBase},
        {c::reg::kIrqEnable, 3},
    }};
    for (const auto &[offset, value] : registers)
      KESTREL_TRY(write(offset, value));
    if (package.has_confidence)
      for (std::size_t i = 0; i < package.exp_table.size(); ++i)
        KESTREL_TRY(write(static_cast<std::uint32_t>(c::kExpTableOffset + 4 * i),
                          static_cast<std::uint32_t>(package.exp_table[i])));
    package_ = package;
    loaded_ = true;
    return {};
  }

  Result<Inference> run(std::span<const std::int8_t> input) override {
    if (!loaded_)
      return fail(ErrorCode::kInvalidArgument, "no package is loaded");
    KESTREL_ASSIGN(const auto in, pack_input(package_, input));
    KESTREL_TRY(put(bench_.memory, kInBase, in));
    KESTREL_TRY(write(c::reg::kIrqStatus, 3));
    KESTREL_TRY(write(c::reg::kCtrl, 1));
    KESTREL_TRY(run_to_irq());

    const std::uint32_t state = read(c::reg::kStatus);
    if ((state & 4U) != 0) {
      const std::uint32_t error = read(c::reg::kError);
      return fail(ErrorCode::kDevice, "the engine stopped with error {} ({}), information {:#x}",
                  error & 0xFFU, cause_name(error & 0xFFU), error >> 8U);
    }

    Inference result;
    Counters &n = result.counters;
    n.cycles_known = true;
    n.cycles = read(c::reg::kCntCycles);
    n.mac = read(c::reg::kCntMac);
    n.res = read(c::reg::kCntRes);
    n.stall_weight = read(c::reg::kCntStWeight);
    n.stall_drain = read(c::reg::kCntStDrain);
    n.stall_fetch = read(c::reg::kCntStFetch);
    n.stall_load = read(c::reg::kCntStLoad);
    n.stall_dep = read(c::reg::kCntStDep);
    n.stall_desc = read(c::reg::kCntStDesc);
    n.stall_out = read(c::reg::kCntStOut);
    n.rd_beats = read(c::reg::kCntRdBeats);
    n.rd_w_beats = read(c::reg::kCntRdWBeats);
    n.wr_beats = read(c::reg::kCntWrBeats);
    n.descriptors = read(c::reg::kCntDesc);
    n.macs = package_.macs;
    n.mac_lanes = config_.macs();

    std::vector<std::uint8_t> out(package_.out_bytes);
    KESTREL_TRY(fetch(bench_.memory, kOutBase, out));
    KESTREL_ASSIGN(result.output, unpack_output(package_, out));

    if (package_.has_confidence) {
      const std::uint32_t cls = read(c::reg::kConfClass);
      const std::uint32_t prob = read(c::reg::kConfProb);
      result.confidence = Confidence{
          .top1 = static_cast<std::uint16_t>(cls & 0x3FFU),
          .top2 = static_cast<std::uint16_t>((cls >> 10U) & 0x3FFU),
          .p1_q16 = static_cast<std::uint16_t>(prob & 0xFFFFU),
          .margin_q16 = static_cast<std::uint16_t>(prob >> 16U),
          .confident = ((cls >> 20U) & 1U) != 0,
      };
    }
    KESTREL_TRY(accesses());
    return result;
  }

  Result<void> set_threshold(std::uint32_t threshold_q16, ConfidenceMode mode) override {
    if (threshold_q16 > 65536)
      return fail(ErrorCode::kInvalidArgument, "threshold {} is not in 0..65536", threshold_q16);
    return write(c::reg::kConfCtrl,
                 threshold_q16 | (mode == ConfidenceMode::kMargin ? 1U << 17U : 0U));
  }

private:
  c::Config config_;
  Package package_;
  bool loaded_ = false;
};

} // namespace

Result<std::unique_ptr<Device>> make_verilated_device(const contract::Config &config,
                                                      const DeviceOptions &options) {
  if (config.name != "edge")
    return fail(ErrorCode::kUnsupported,
                "device 'rtl' is built for configuration 'edge', not for '{}'", config.name);
  auto device = std::make_unique<VerilatedDevice>(config, options);
  KESTREL_TRY(device->start_trace());
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace kestrel::hv
