// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/thc/device.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "kestrel/contract/thc.hpp"
#include "sw_ref/thc/fixed.hpp"
#include "thc/device/devices.hpp"

namespace kestrel::thc {
namespace {

namespace c = contract::thc;

Result<void> check_block(int block_log2) {
  if (block_log2 < ref::kMinBlockLog2 || block_log2 > ref::kMaxBlockLog2)
    return fail(ErrorCode::kInvalidArgument,
                "block of 2^{} coordinates; 2^{} to 2^{} are supported", block_log2,
                ref::kMinBlockLog2, ref::kMaxBlockLog2);
  return {};
}

Result<void> check_coding(const Coding &coding) {
  KESTREL_TRY(check_block(coding.block_log2));
  KESTREL_TRY(check_table(coding.table));
  if (coding.first % ref::kPacketCoordinates != 0)
    return fail(ErrorCode::kInvalidArgument,
                "the first coordinate has number {}, not a multiple of {}", coding.first,
                ref::kPacketCoordinates);
  return {};
}

Result<void> check_size(std::size_t coordinates, int block_log2) {
  if (coordinates == 0 || coordinates % (std::size_t{1} << block_log2) != 0)
    return fail(ErrorCode::kShapeMismatch,
                "{} coordinates are not whole blocks of 2^{}: pad with zeros", coordinates,
                block_log2);
  return {};
}

Result<void> check_length(std::string_view what, std::size_t length, std::size_t needed) {
  if (length != needed)
    return fail(ErrorCode::kShapeMismatch, "{}: {} values, {} are needed", what, length, needed);
  return {};
}

Result<void> check_gradient(const Gradient &gradient, int block_log2) {
  KESTREL_TRY(check_block(block_log2));
  if (!gradient.fp32.empty() && !gradient.bf16.empty())
    return fail(ErrorCode::kInvalidArgument, "coordinates both in fp32 and in bf16");
  KESTREL_TRY(check_size(gradient.size(), block_log2));
  if (!gradient.error.empty())
    KESTREL_TRY(check_length("error feedback", gradient.error.size(), gradient.size()));
  return {};
}

Result<void> check_scales(std::span<const ref::BlockScale> scales, std::size_t blocks) {
  KESTREL_TRY(check_length("scales", scales.size(), blocks));
  for (std::size_t b = 0; b < blocks; ++b) {
    const ref::BlockScale &s = scales[b];
    if (s.exponent > 254 || (s.exponent != 0 && (s.gain >> 17 != 0 || s.step >> 16 != 1 ||
                                                 s.step_shift < 13 || s.step_shift > 24)))
      return fail(ErrorCode::kInvalidArgument, "the scale of block {} is not one of make_scale()",
                  b);
  }
  return {};
}

Gradient part(const Gradient &gradient, std::size_t at, std::size_t count) {
  Gradient result;
  if (!gradient.fp32.empty())
    result.fp32 = gradient.fp32.subspan(at, count);
  if (!gradient.bf16.empty())
    result.bf16 = gradient.bf16.subspan(at, count);
  if (!gradient.error.empty())
    result.error = gradient.error.subspan(at, count);
  return result;
}

template <class T> std::span<T> part_or_none(std::span<T> all, std::size_t at, std::size_t count) {
  return all.empty() ? all : all.subspan(at, count);
}

// Calls command(at, count) for pieces of a tensor that one command can handle.
template <class Command>
Result<void> in_commands(std::size_t coordinates, int block_log2, const Command &command) {
  const std::size_t most = std::min(c::kMaxCoordinates, c::kMaxBlocks << block_log2);
  for (std::size_t at = 0; at < coordinates; at += most)
    KESTREL_TRY(command(at, std::min(most, coordinates - at)));
  return {};
}

const char *kind_of(float v) { return std::isnan(v) ? "NaN" : "infinite"; }

Error nonfinite_error(const Gradient &gradient, std::size_t i) {
  const float x = gradient.fp32.empty() ? ref::from_bf16(gradient.bf16[i]) : gradient.fp32[i];
  if (ref::is_nonfinite(x))
    return fail(ErrorCode::kInvalidArgument, "coordinate {} is {}", i, kind_of(x));
  if (!gradient.error.empty() && ref::is_nonfinite(gradient.error[i]))
    return fail(ErrorCode::kInvalidArgument, "the error feedback of coordinate {} is {}", i,
                kind_of(gradient.error[i]));
  return fail(ErrorCode::kInvalidArgument,
              "coordinate {} and its error feedback add up to infinity", i);
}

} // namespace

Result<void> check_table(const ref::Table &table) {
  if (table.bits > ref::kMaxIndexBits)
    return fail(ErrorCode::kUnsupported,
                "a table of {} bits; the devices send indices of at most {} bits", table.bits,
                ref::kMaxIndexBits);
  if (const auto text = ref::table_error(table))
    return fail(ErrorCode::kInvalidArgument, "table: {}", *text);
  return {};
}

Result<unsigned> check_sums(std::size_t workers, unsigned granularity, unsigned bits) {
  const unsigned fit =
      workers > ref::kMaxContributors ? 0 : sum_bits(static_cast<unsigned>(workers), granularity);
  if (fit == 0)
    return fail(
        ErrorCode::kInvalidArgument,
        "{} workers of granularity {}: at most {} workers, and workers times granularity not "
        "above {}, can be added up; use a table of smaller granularity",
        workers, granularity, ref::kMaxContributors, ref::kMaxSum);
  if (bits != 0 && bits != 8 && bits != 16)
    return fail(ErrorCode::kInvalidArgument, "sums of {} bits; 8 and 16 are supported", bits);
  if (bits == 8 && fit == 16)
    return fail(ErrorCode::kInvalidArgument,
                "{} workers times granularity {} exceed 255, the largest sum of 8 bits", workers,
                granularity);
  return bits == 0 ? fit : bits;
}

Counters &Counters::operator+=(const Counters &other) {
  cycles_known = cycles_known || other.cycles_known;
  commands += other.commands;
  cycles += other.cycles;
  in_beats += other.in_beats;
  out_beats += other.out_beats;
  stall_in += other.stall_in;
  stall_out += other.stall_out;
  rd_beats += other.rd_beats;
  wr_beats += other.wr_beats;
  return *this;
}

unsigned sum_bits(unsigned workers, unsigned granularity) {
  const std::uint64_t largest = std::uint64_t{workers} * granularity;
  return largest <= 255 ? 8 : largest <= ref::kMaxSum ? 16 : 0;
}

Result<Norms> Device::norm(const Gradient &gradient, int block_log2, std::span<const float> other) {
  KESTREL_TRY(check_gradient(gradient, block_log2));
  const std::size_t blocks = gradient.size() >> block_log2;
  if (!other.empty())
    KESTREL_TRY(check_length("norms to compare with", other.size(), blocks));
  for (std::size_t b = 0; b < other.size(); ++b)
    if (ref::is_nonfinite(other[b]) || std::signbit(other[b]))
      return fail(ErrorCode::kInvalidArgument, "the norm to compare with of block {} is {}", b,
                  other[b]);
  Norms result;
  result.values.resize(blocks);
  KESTREL_TRY(in_commands(
      gradient.size(), block_log2, [&](std::size_t at, std::size_t count) -> Result<void> {
        KESTREL_ASSIGN(
            const Nonfinite bad,
            run_norm(part(gradient, at, count), block_log2,
                     part_or_none(other, at >> block_log2, count >> block_log2),
                     std::span(result.values).subspan(at >> block_log2, count >> block_log2),
                     result.counters));
        if (bad)
          return nonfinite_error(gradient, at + *bad);
        return {};
      }));
  return result;
}

Result<Compressed> Device::compress(const Gradient &gradient,
                                    std::span<const ref::BlockScale> scales, const Coding &coding,
                                    bool error_out) {
  KESTREL_TRY(check_coding(coding));
  KESTREL_TRY(check_gradient(gradient, coding.block_log2));
  const int k = coding.block_log2;
  KESTREL_TRY(check_scales(scales, gradient.size() >> k));
  Compressed result;
  result.packed.resize(gradient.size() / 2);
  result.error.resize(error_out ? gradient.size() : 0);
  KESTREL_TRY(
      in_commands(gradient.size(), k, [&](std::size_t at, std::size_t count) -> Result<void> {
        Coding piece = coding;
        piece.first += at;
        KESTREL_ASSIGN(const Nonfinite bad,
                       run_compress(part(gradient, at, count), scales.subspan(at >> k, count >> k),
                                    piece, std::span(result.packed).subspan(at / 2, count / 2),
                                    part_or_none(std::span(result.error), at, count),
                                    result.out_of_range, result.counters));
        if (bad)
          return nonfinite_error(gradient, at + *bad);
        return {};
      }));
  return result;
}

Result<Sums> Device::aggregate(std::span<const std::span<const std::uint8_t>> packed,
                               const ref::Table &table, int block_log2, unsigned bits) {
  KESTREL_TRY(check_table(table));
  KESTREL_TRY(check_block(block_log2));
  if (packed.empty())
    return fail(ErrorCode::kInvalidArgument, "no contributor: there is nothing to add up");
  KESTREL_ASSIGN(const unsigned width, check_sums(packed.size(), table.granularity, bits));
  const std::size_t coordinates = 2 * packed[0].size();
  KESTREL_TRY(check_size(coordinates, block_log2));
  for (std::size_t w = 0; w < packed.size(); ++w) {
    KESTREL_TRY(check_length(fmt::format("packed indices of contributor {}", w), packed[w].size(),
                             coordinates / 2));
    if (table.bits == ref::kMaxIndexBits)
      continue;
    const auto limit = static_cast<std::uint8_t>(table.values.size());
    for (std::size_t i = 0; i < packed[w].size(); ++i)
      for (const bool low : {false, true}) {
        const unsigned index = low ? packed[w][i] & 15U : packed[w][i] >> 4U;
        if (index >= limit)
          return fail(ErrorCode::kInvalidArgument,
                      "contributor {}, coordinate {}: index {} is beyond the table of {} values", w,
                      2 * i + (low ? 1 : 0), index, limit);
      }
  }
  Sums result;
  result.bits = width;
  result.values.resize(coordinates);
  result.contributors.resize(coordinates / ref::kPacketCoordinates);
  std::vector<std::span<const std::uint8_t>> parts(packed.size());
  KESTREL_TRY(
      in_commands(coordinates, block_log2, [&](std::size_t at, std::size_t count) -> Result<void> {
        for (std::size_t w = 0; w < packed.size(); ++w)
          parts[w] = packed[w].subspan(at / 2, count / 2);
        return run_aggregate(
            parts, table, block_log2, result.bits, std::span(result.values).subspan(at, count),
            std::span(result.contributors)
                .subspan(at / ref::kPacketCoordinates, count / ref::kPacketCoordinates),
            result.counters);
      }));
  return result;
}

Result<Mean> Device::decompress(std::span<const std::uint16_t> sums, unsigned bits,
                                std::span<const std::uint8_t> contributors,
                                std::span<const ref::BlockScale> scales, const Coding &coding) {
  KESTREL_TRY(check_coding(coding));
  const int k = coding.block_log2;
  if (bits != 8 && bits != 16)
    return fail(ErrorCode::kInvalidArgument, "sums of {} bits; 8 and 16 are supported", bits);
  KESTREL_TRY(check_size(sums.size(), k));
  KESTREL_TRY(
      check_length("contributors", contributors.size(), sums.size() / ref::kPacketCoordinates));
  KESTREL_TRY(check_scales(scales, sums.size() >> k));
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const unsigned n = contributors[i / ref::kPacketCoordinates];
    const unsigned largest =
        n == 0 ? (bits == 8 ? 255 : ref::kMaxSum) : n * coding.table.granularity;
    if (sums[i] > largest || (bits == 8 && sums[i] > 255))
      return fail(ErrorCode::kInvalidArgument,
                  "coordinate {}: a sum of {} from {} contributors of granularity {} in {} bits", i,
                  sums[i], n, coding.table.granularity, bits);
  }
  Mean result;
  result.values.resize(sums.size());
  KESTREL_TRY(in_commands(sums.size(), k, [&](std::size_t at, std::size_t count) -> Result<void> {
    Coding piece = coding;
    piece.first += at;
    return run_decompress(
        sums.subspan(at, count), bits,
        contributors.subspan(at / ref::kPacketCoordinates, count / ref::kPacketCoordinates),
        scales.subspan(at >> k, count >> k), piece, std::span(result.values).subspan(at, count),
        result.out_of_range, result.counters);
  }));
  return result;
}

Result<std::unique_ptr<Device>> make_device(std::string_view kind, const DeviceOptions &options) {
  if (kind == "fast")
    return make_functional_device(options);
  if (kind == "rtl")
    return make_verilated_device(options);
  return fail(ErrorCode::kNotFound, "THC device '{}'; known are fast, rtl", kind);
}

} // namespace kestrel::thc
