// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Format: IETF draft-ietf-opsawg-pcapng.
#include "kestrel/bytes.hpp"
#include "kestrel/esa/io.hpp"

namespace kestrel::esa {

namespace {

constexpr std::uint32_t kSection = 0x0A0D0D0A;
constexpr std::uint32_t kInterface = 1;
constexpr std::uint32_t kSimplePacket = 3;
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint32_t kByteOrder = 0x1A2B3C4D;
constexpr std::uint16_t kEthernet = 1;

std::uint32_t swap(std::uint32_t x) {
  return x << 24 | (x << 8 & 0xFF0000) | (x >> 8 & 0xFF00) | x >> 24;
}

/// Appends one block; `body` is padded to 4 bytes.
void block(std::vector<std::uint8_t> &out, std::uint32_t type, std::vector<std::uint8_t> body) {
  body.resize((body.size() + 3) / 4 * 4);
  const auto length = static_cast<std::uint32_t>(body.size() + 12);
  append_le<std::uint32_t>(out, type);
  append_le<std::uint32_t>(out, length);
  out.insert(out.end(), body.begin(), body.end());
  append_le<std::uint32_t>(out, length);
}

void option(std::vector<std::uint8_t> &body, std::uint16_t code,
            std::span<const std::uint8_t> value) {
  append_le<std::uint16_t>(body, code);
  append_le<std::uint16_t>(body, static_cast<std::uint16_t>(value.size()));
  body.insert(body.end(), value.begin(), value.end());
  body.resize((body.size() + 3) / 4 * 4);
}

} // namespace

Result<std::vector<Ingress>> parse_pcapng(std::span<const std::uint8_t> bytes) {
  std::vector<Ingress> frames;
  bool big = false;
  std::vector<std::uint32_t> snap; // of each interface of the section, 0: no limit
  bool section = false;
  const auto word = [&](std::size_t at) {
    const auto value = load_le<std::uint32_t>(bytes, at);
    return big ? swap(value) : value;
  };
  for (std::size_t at = 0; at < bytes.size();) {
    if (bytes.size() - at < 12) {
      return fail(ErrorCode::kParse, "byte {}: truncated block", at);
    }
    const auto raw_type = load_le<std::uint32_t>(bytes, at);
    if (raw_type == kSection) {
      const auto order = bytes.size() - at < 16 ? 0 : load_le<std::uint32_t>(bytes, at + 8);
      if (order != kByteOrder && order != swap(kByteOrder)) {
        return fail(ErrorCode::kParse, "byte {}: no pcapng section header", at);
      }
      big = order != kByteOrder;
      section = true;
      snap.clear();
    } else if (!section) {
      return fail(ErrorCode::kParse, "byte {}: no pcapng section header", at);
    }
    const std::uint32_t type = word(at);
    const std::uint32_t length = word(at + 4);
    if (length < 12 || length % 4 != 0 || length > bytes.size() - at ||
        word(at + length - 4) != length) {
      return fail(ErrorCode::kParse, "byte {}: block length {} is wrong", at, length);
    }
    const std::size_t body = at + 8;
    const std::size_t size = length - 12;
    if (type == kInterface) {
      if (size < 8) {
        return fail(ErrorCode::kParse, "byte {}: short interface block", at);
      }
      const std::uint32_t link = big ? word(body) >> 16 : word(body) & 0xFFFF;
      if (link != kEthernet) {
        return fail(ErrorCode::kUnsupported, "byte {}: link type {}, only Ethernet (1) is read", at,
                    link);
      }
      snap.push_back(word(body + 4));
    } else if (type == kEnhancedPacket || type == kSimplePacket) {
      const std::size_t head = type == kEnhancedPacket ? 20 : 4;
      if (size < head) {
        return fail(ErrorCode::kParse, "byte {}: short packet block", at);
      }
      const std::uint32_t interface = type == kEnhancedPacket ? word(body) : 0;
      if (interface >= snap.size()) {
        return fail(ErrorCode::kParse, "byte {}: interface {} is not described", at, interface);
      }
      std::uint32_t captured = word(body + head - (type == kEnhancedPacket ? 8 : 4));
      if (type == kSimplePacket && snap[0] != 0) {
        captured = std::min(captured, snap[0]);
      }
      if (captured > size - head) {
        return fail(ErrorCode::kParse, "byte {}: packet of {} bytes leaves its block", at,
                    captured);
      }
      const auto data = bytes.subspan(body + head, captured);
      frames.push_back({interface, {data.begin(), data.end()}});
    }
    at += length;
  }
  if (!section) {
    return fail(ErrorCode::kParse, "empty, no pcapng section header");
  }
  return frames;
}

std::vector<std::uint8_t> make_pcapng(std::span<const Egress> frames, unsigned ports) {
  std::vector<std::uint8_t> out;
  std::vector<std::uint8_t> body;
  append_le<std::uint32_t>(body, kByteOrder);
  append_le<std::uint16_t>(body, 1); // version 1.0
  append_le<std::uint16_t>(body, 0);
  append_le<std::uint64_t>(body, UINT64_MAX); // length of the section: not given
  block(out, kSection, std::move(body));
  for (unsigned port = 0; port < ports; ++port) {
    body.clear();
    append_le<std::uint16_t>(body, kEthernet);
    append_le<std::uint16_t>(body, 0);
    append_le<std::uint32_t>(body, 0);
    const std::string name = "port" + std::to_string(port);
    const std::vector<std::uint8_t> text(name.begin(), name.end());
    option(body, 2, text);
    const std::array<std::uint8_t, 1> nanoseconds{9};
    option(body, 9, nanoseconds);
    option(body, 0, {});
    block(out, kInterface, std::move(body));
  }
  constexpr std::uint64_t kNanosecondsPerCycle = 4;
  for (const Egress &egress : frames) {
    const std::uint64_t time = egress.cycle * kNanosecondsPerCycle;
    const auto size = static_cast<std::uint32_t>(egress.frame.size());
    body.clear();
    append_le<std::uint32_t>(body, egress.port);
    append_le<std::uint32_t>(body, static_cast<std::uint32_t>(time >> 32));
    append_le<std::uint32_t>(body, static_cast<std::uint32_t>(time));
    append_le<std::uint32_t>(body, size);
    append_le<std::uint32_t>(body, size);
    body.insert(body.end(), egress.frame.begin(), egress.frame.end());
    block(out, kEnhancedPacket, std::move(body));
  }
  return out;
}

} // namespace kestrel::esa
