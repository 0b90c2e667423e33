// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "Vthc_accel.h"
#include "common/verilated_device.hpp"
#include "kestrel/bytes.hpp"
#include "kestrel/contract/thc.hpp"
#include "testbench/cpp/thc_bench.hpp"
#include "thc/device/devices.hpp"

namespace kestrel::thc {
namespace {

namespace c = contract::thc;

// Where the arrays lie in the memories of the model.
constexpr std::uint32_t kSource = 0x0100'0000;      // channel a; aggregate: all workers
constexpr std::uint32_t kTarget = 0xC000'0000;      // channel a
constexpr std::uint32_t kErrorSource = 0x0100'0000; // channel b
constexpr std::uint32_t kErrorTarget = 0xC000'0000; // channel b

class VerilatedDevice final : public VerilatedDeviceBase<Device, tb::ThcBench<Vthc_accel>> {
public:
  explicit VerilatedDevice(const DeviceOptions &options)
      : VerilatedDeviceBase(options, "accelerator") {}

  Result<void> start() {
    KESTREL_TRY(start_trace());
    if (read(c::reg::kId) != c::kRegisters[0].reset || read(c::reg::kVersion) != c::kVersion)
      return fail(ErrorCode::kVersionMismatch, "the device is of contract version {:#x}, not {:#x}",
                  read(c::reg::kVersion), c::kVersion);
    return write(c::reg::kIrqEnable, 3);
  }

protected:
  Result<Nonfinite> run_norm(const Gradient &gradient, int block_log2, std::span<const float> other,
                             std::span<float> norms, Counters &counters) override {
    KESTREL_TRY(load(gradient));
    for (std::size_t b = 0; b < other.size(); ++b)
      KESTREL_TRY(write(c::window::kNorm.word(b), std::bit_cast<std::uint32_t>(other[b])));
    const std::uint32_t op = input_bits(gradient) | c::reg::kOpNormMax.put(other.empty() ? 0 : 1);
    KESTREL_TRY(run(c::Op::kNorm, op, gradient.size(), block_log2, counters));
    for (std::size_t b = 0; b < norms.size(); ++b)
      norms[b] = std::bit_cast<float>(read(c::window::kNorm.word(b)));
    return nonfinite();
  }

  Result<Nonfinite> run_compress(const Gradient &gradient, std::span<const ref::BlockScale> scales,
                                 const Coding &coding, std::span<std::uint8_t> packed,
                                 std::span<float> error, bool &out_of_range,
                                 Counters &counters) override {
    KESTREL_TRY(load(gradient));
    KESTREL_TRY(set_coding(coding));
    KESTREL_TRY(set_scales(scales));
    KESTREL_TRY(write(c::reg::kNoiseKey0, coding.noise_key[0]));
    KESTREL_TRY(write(c::reg::kNoiseKey1, coding.noise_key[1]));
    const std::uint32_t op = input_bits(gradient) | c::reg::kOpErrorOut.put(error.empty() ? 0 : 1);
    KESTREL_TRY(run(c::Op::kCompress, op, gradient.size(), coding.block_log2, counters));
    KESTREL_TRY(fetch(bench_.memory_a, kTarget, packed));
    KESTREL_TRY(fetch_values(bench_.memory_b, kErrorTarget, error));
    out_of_range = out_of_range || out_of_range_;
    return nonfinite();
  }

  Result<void> run_aggregate(std::span<const std::span<const std::uint8_t>> packed,
                             const ref::Table &table, int block_log2, unsigned bits,
                             std::span<std::uint16_t> sums, std::span<std::uint8_t> contributors,
                             Counters &counters) override {
    const auto stride = static_cast<std::uint32_t>(packed[0].size());
    for (std::size_t w = 0; w < packed.size(); ++w)
      KESTREL_TRY(
          put(bench_.memory_a, kSource + static_cast<std::uint32_t>(w) * stride, packed[w]));
    KESTREL_TRY(set_table(table));
    KESTREL_TRY(write(c::reg::kWorkers, static_cast<std::uint32_t>(packed.size())));
    KESTREL_TRY(write(c::reg::kStride, stride));
    KESTREL_TRY(run(c::Op::kAggregate, c::reg::kOpWideSums.put(bits == 16 ? 1 : 0), sums.size(),
                    block_log2, counters));
    if (const std::uint32_t bad = read(c::reg::kBadIndex); bad != 0)
      return fail(ErrorCode::kDevice, "{} indices were beyond the table", bad);
    if (bits == 16) {
      KESTREL_TRY(fetch_values(bench_.memory_a, kTarget, sums));
    } else {
      std::vector<std::uint8_t> narrow(sums.size());
      KESTREL_TRY(fetch(bench_.memory_a, kTarget, narrow));
      std::copy(narrow.begin(), narrow.end(), sums.begin());
    }
    for (std::size_t p = 0; p < contributors.size(); p += 4) {
      const std::uint32_t word = read(c::window::kCount.word(p / 4));
      for (std::size_t i = 0; i < 4 && p + i < contributors.size(); ++i)
        contributors[p + i] = static_cast<std::uint8_t>(word >> (8 * i));
    }
    return accesses();
  }

  Result<void> run_decompress(std::span<const std::uint16_t> sums, unsigned bits,
                              std::span<const std::uint8_t> contributors,
                              std::span<const ref::BlockScale> scales, const Coding &coding,
                              std::span<float> mean, bool &out_of_range,
                              Counters &counters) override {
    if (bits == 16) {
      KESTREL_TRY(put_values(bench_.memory_a, kSource, sums));
    } else {
      const std::vector<std::uint8_t> narrow(sums.begin(), sums.end());
      KESTREL_TRY(put(bench_.memory_a, kSource, narrow));
    }
    for (std::size_t p = 0; p < contributors.size(); p += 4) {
      std::uint32_t word = 0;
      for (std::size_t i = 0; i < 4 && p + i < contributors.size(); ++i)
        word |= std::uint32_t{contributors[p + i]} << (8 * i);
      KESTREL_TRY(write(c::window::kCount.word(p / 4), word));
    }
    KESTREL_TRY(set_coding(coding));
    KESTREL_TRY(set_scales(scales));
    KESTREL_TRY(run(c::Op::kDecompress, c::reg::kOpWideSums.put(bits == 16 ? 1 : 0), sums.size(),
                    coding.block_log2, counters));
    KESTREL_TRY(fetch_values(bench_.memory_a, kTarget, mean));
    out_of_range = out_of_range || out_of_range_;
    return {};
  }

private:
  template <class T>
  static Result<void> put_values(tb::AxiMemory &memory, std::uint32_t address,
                                 std::span<const T> values) {
    std::vector<std::uint8_t> bytes(values.size() * sizeof(T));
    for (std::size_t i = 0; i < values.size(); ++i)
      store_le<T>(bytes, i * sizeof(T), values[i]);
    return put(memory, address, bytes);
  }
  template <class T>
  static Result<void> fetch_values(const tb::AxiMemory &memory, std::uint32_t address,
                                   std::span<T> values) {
    std::vector<std::uint8_t> bytes(values.size() * sizeof(T));
    KESTREL_TRY(fetch(memory, address, bytes));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = load_le<T>(bytes, i * sizeof(T));
    return {};
  }

  Result<void> load(const Gradient &gradient) {
    KESTREL_TRY(gradient.fp32.empty() ? put_values(bench_.memory_a, kSource, gradient.bf16)
                                      : put_values(bench_.memory_a, kSource, gradient.fp32));
    return put_values(bench_.memory_b, kErrorSource, gradient.error);
  }
  static std::uint32_t input_bits(const Gradient &gradient) {
    return c::reg::kOpBf16.put(gradient.fp32.empty() ? 1 : 0) |
           c::reg::kOpErrorIn.put(gradient.error.empty() ? 0 : 1);
  }

  Result<void> set_table(const ref::Table &table) {
    for (std::size_t i = 0; i < table.values.size(); ++i)
      KESTREL_TRY(write(c::window::kTable.word(i), table.values[i]));
    return write(c::reg::kGranularity, c::reg::kGranularityG.put(table.granularity) |
                                           c::reg::kGranularityEntries.put(
                                               static_cast<std::uint32_t>(table.values.size())));
  }
  Result<void> set_coding(const Coding &coding) {
    KESTREL_TRY(set_table(coding.table));
    KESTREL_TRY(write(c::reg::kSignKey0, coding.sign_key[0]));
    KESTREL_TRY(write(c::reg::kSignKey1, coding.sign_key[1]));
    KESTREL_TRY(write(c::reg::kFirstLo, static_cast<std::uint32_t>(coding.first)));
    return write(c::reg::kFirstHi, static_cast<std::uint32_t>(coding.first >> 32));
  }
  Result<void> set_scales(std::span<const ref::BlockScale> scales) {
    for (std::size_t b = 0; b < scales.size(); ++b) {
      KESTREL_TRY(write(c::window::kScale.word(2 * b), scales[b].gain << 8 | scales[b].exponent));
      KESTREL_TRY(
          write(c::window::kScale.word(2 * b + 1), scales[b].step_shift << 20 | scales[b].step));
    }
    return {};
  }

  // Runs a command on what is in place and adds its counters.
  Result<void> run(c::Op op, std::uint32_t options, std::size_t coordinates, int block_log2,
                   Counters &counters) {
    KESTREL_TRY(write(c::reg::kOp, c::reg::kOpOp.put(static_cast<std::uint32_t>(op)) | options));
    KESTREL_TRY(write(c::reg::kBlockLog2, static_cast<std::uint32_t>(block_log2)));
    KESTREL_TRY(write(c::reg::kBlocks, static_cast<std::uint32_t>(coordinates >> block_log2)));
    KESTREL_TRY(write(c::reg::kSrcBase, kSource));
    KESTREL_TRY(write(c::reg::kSrc2Base, kErrorSource));
    KESTREL_TRY(write(c::reg::kDstBase, kTarget));
    KESTREL_TRY(write(c::reg::kDst2Base, kErrorTarget));
    KESTREL_TRY(write(c::reg::kIrqStatus, 3));
    KESTREL_TRY(write(c::reg::kCtrl, c::reg::kCtrlStart.put(1)));
    KESTREL_TRY(run_to_irq());
    const std::uint32_t state = read(c::reg::kStatus);
    if (c::reg::kStatusError.get(state) != 0) {
      const std::uint32_t error = read(c::reg::kError);
      const std::uint32_t cause = c::reg::kErrorCause.get(error);
      return fail(ErrorCode::kDevice,
                  "the accelerator gave up {} with error {} ({}), information {:#x}",
                  c::to_string(op), cause, c::to_string(static_cast<c::ErrorCause>(cause)),
                  c::reg::kErrorInfo.get(error));
    }
    nonfinite_ = c::reg::kStatusNonfinite.get(state) != 0;
    out_of_range_ = c::reg::kStatusOutOfRange.get(state) != 0;
    counters.cycles_known = true;
    ++counters.commands;
    counters.cycles += read(c::reg::kCntCycles);
    counters.in_beats += read(c::reg::kCntInBeats);
    counters.out_beats += read(c::reg::kCntOutBeats);
    counters.stall_in += read(c::reg::kCntStallIn);
    counters.stall_out += read(c::reg::kCntStallOut);
    counters.rd_beats += read(c::reg::kCntRdBeats);
    counters.wr_beats += read(c::reg::kCntWrBeats);
    return accesses();
  }

  // The last read of a command.
  Result<Nonfinite> nonfinite() {
    const Nonfinite first = nonfinite_ ? Nonfinite(read(c::reg::kNonfinite)) : std::nullopt;
    KESTREL_TRY(accesses());
    return first;
  }

  bool nonfinite_ = false;
  bool out_of_range_ = false;
};

} // namespace

Result<std::unique_ptr<Device>> make_verilated_device(const DeviceOptions &options) {
  auto device = std::make_unique<VerilatedDevice>(options);
  KESTREL_TRY(device->start());
  return std::unique_ptr<Device>(std::move(device));
}

} // namespace kestrel::thc
