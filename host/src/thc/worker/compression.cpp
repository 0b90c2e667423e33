// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/thc/compression.hpp"

#include <vector>

#include "kestrel/bytes.hpp"

namespace kestrel::thc {
namespace {

void append_table(std::vector<std::uint8_t> &bytes, const ref::Table &table) {
  append_le<std::uint8_t>(bytes, static_cast<std::uint8_t>(table.bits));
  append_le<std::uint8_t>(bytes, static_cast<std::uint8_t>(table.granularity));
  append_le<double>(bytes, table.t);
  bytes.insert(bytes.end(), table.values.begin(), table.values.end());
}

std::uint16_t tag_of(std::span<const std::uint8_t> bytes) {
  const std::uint16_t crc = crc16(bytes);
  return crc == 0 ? 0xFFFF : crc; // 0 means "no tag" on the wire
}

} // namespace

Result<void> check(const Compression &compression, unsigned workers) {
  if (const auto error = ref::table_error(compression.table)) {
    return fail(ErrorCode::kInvalidArgument, "table: {}", *error);
  }
  if (compression.block_log2 < ref::kMinBlockLog2 || compression.block_log2 > ref::kMaxBlockLog2) {
    return fail(ErrorCode::kInvalidArgument, "block of 2^{} coordinates: {} to {} are supported",
                compression.block_log2, ref::kMinBlockLog2, ref::kMaxBlockLog2);
  }
  if (workers < 1 || workers > kMaxWorkers) {
    return fail(ErrorCode::kInvalidArgument, "{} workers: 1 to {} are supported", workers,
                kMaxWorkers);
  }
  if (workers * compression.table.granularity > ref::kMaxSum) {
    return fail(ErrorCode::kInvalidArgument, "{} workers times granularity {} exceed 16-bit sums",
                workers, compression.table.granularity);
  }
  return {};
}

std::uint16_t crc16(std::span<const std::uint8_t> bytes, std::uint16_t initial) {
  unsigned crc = initial;
  for (const std::uint8_t byte : bytes) {
    crc ^= static_cast<unsigned>(byte) << 8;
    for (int i = 0; i < 8; ++i) {
      crc = (crc & 0x8000U) != 0 ? crc << 1 ^ 0x1021U : crc << 1;
    }
  }
  return static_cast<std::uint16_t>(crc);
}

std::uint16_t table_tag(const ref::Table &table) {
  std::vector<std::uint8_t> bytes;
  append_table(bytes, table);
  return tag_of(bytes);
}

std::uint16_t round_tag(const Compression &compression, std::uint32_t round,
                        std::uint64_t coordinates) {
  std::vector<std::uint8_t> bytes;
  append_table(bytes, compression.table);
  append_le<std::uint8_t>(bytes, static_cast<std::uint8_t>(compression.block_log2));
  append_le<std::uint64_t>(bytes, compression.seed);
  append_le<std::uint32_t>(bytes, round);
  append_le<std::uint64_t>(bytes, coordinates);
  return tag_of(bytes);
}

} // namespace kestrel::thc
