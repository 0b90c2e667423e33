// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/esa/frame.hpp"

#include <algorithm>

#include "kestrel/contract/wire.hpp"

namespace kestrel::esa::ref {

namespace {

namespace wire = contract::wire;

constexpr std::size_t kIp = 14;  // IPv4 header
constexpr std::size_t kUdp = 34; // UDP header

using Bytes = std::span<const std::uint8_t>;

std::uint32_t load16(Bytes b, std::size_t at) {
  return static_cast<std::uint32_t>(b[at] << 8 | b[at + 1]);
}

void store16(std::vector<std::uint8_t> &b, std::size_t at, std::size_t value) {
  b[at] = static_cast<std::uint8_t>(value >> 8);
  b[at + 1] = static_cast<std::uint8_t>(value);
}

void store32(std::vector<std::uint8_t> &b, std::size_t at, std::uint32_t value) {
  store16(b, at, value >> 16);
  store16(b, at + 2, value & 0xFFFF);
}

/// Sum of 16-bit words in one's complement (RFC 1071), an odd last byte padded with 0.
std::uint32_t ones_sum(Bytes b, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i + 1 < b.size(); i += 2) {
    sum += load16(b, i);
  }
  if (b.size() % 2 != 0) {
    sum += static_cast<std::uint32_t>(b.back()) << 8;
  }
  while (sum >> 16 != 0) {
    sum = (sum & 0xFFFF) + (sum >> 16);
  }
  return sum;
}

/// Sum over UDP's pseudo header, header and data.
std::uint32_t udp_sum(Bytes frame) {
  const std::uint32_t pseudo =
      ones_sum(frame.subspan(kIp + 12, 8), 17 + static_cast<std::uint32_t>(frame.size() - kUdp));
  return ones_sum(frame.subspan(kUdp), pseudo);
}

} // namespace

const char *to_string(FrameFault fault) {
  constexpr std::array<const char *, kFrameFaults> names = {"foreign", "short",    "long",
                                                            "header",  "checksum", "lanes"};
  return names[static_cast<std::size_t>(fault)];
}

std::vector<std::uint8_t> make_frame(const Packet &packet, const Addresses &addresses,
                                     bool udp_checksum) {
  wire::Header header;
  header.format = static_cast<wire::ValueFormat>(packet.format);
  header.type = static_cast<wire::PacketType>(packet.type);
  header.flags = packet.flags;
  header.fan_in = packet.fan_in;
  header.prio = packet.prio;
  header.count = packet.count;
  header.epoch = packet.epoch;
  header.job = packet.job;
  header.slot = packet.slot;
  header.seq = packet.seq;
  header.bitmap = packet.bitmap;
  header.config = packet.config;

  const std::size_t bits = wire::lane_bits(header.format);
  const std::size_t size = wire::kHeadBytes + wire::lane_bytes(header.format, packet.values.size());
  std::vector<std::uint8_t> f(size, 0);
  std::copy(addresses.destination_mac.begin(), addresses.destination_mac.end(), f.begin());
  std::copy(addresses.source_mac.begin(), addresses.source_mac.end(), f.begin() + 6);
  store16(f, 12, 0x0800);
  f[kIp] = 0x45;
  store16(f, kIp + 2, size - kIp);
  store16(f, kIp + 6, 0x4000);
  f[kIp + 8] = 64;
  f[kIp + 9] = 17;
  store32(f, kIp + 12, addresses.source_ip);
  store32(f, kIp + 16, addresses.destination_ip);
  store16(f, kIp + 10, ~ones_sum(Bytes(f).subspan(kIp, 20)) & 0xFFFF);
  store16(f, kUdp, wire::kUdpPort);
  store16(f, kUdp + 2, wire::kUdpPort);
  store16(f, kUdp + 4, size - kUdp);
  const auto bytes = wire::encode(header);
  std::copy(bytes.begin(), bytes.end(), f.begin() + wire::kHeaderOffset);
  if (bits != 0) {
    // The first coordinate comes first, in the high bits of its byte or bytes.
    for (std::size_t i = 0; i < packet.values.size(); ++i) {
      const auto word = static_cast<std::uint32_t>(packet.values[i]);
      if (bits == 4) {
        f[wire::kHeadBytes + i / 2] |=
            static_cast<std::uint8_t>((word & 15) << (i % 2 == 0 ? 4 : 0));
      } else if (bits == 8) {
        f[wire::kHeadBytes + i] = static_cast<std::uint8_t>(word);
      } else if (bits == 16) {
        store16(f, wire::kHeadBytes + 2 * i, word & 0xFFFF);
      } else {
        store32(f, wire::kHeadBytes + 4 * i, word);
      }
    }
  }
  if (udp_checksum) {
    const std::uint32_t sum = ~udp_sum(f) & 0xFFFF;
    store16(f, kUdp + 6, sum == 0 ? 0xFFFF : sum);
  }
  return f;
}

std::variant<Packet, FrameFault> parse_frame(Bytes frame) {
  if (frame.size() < wire::kHeaderOffset || load16(frame, 12) != 0x0800 || frame[kIp] != 0x45 ||
      frame[kIp + 9] != 17 || load16(frame, kUdp + 2) != wire::kUdpPort) {
    return FrameFault::kForeign;
  }
  const std::size_t length = kIp + load16(frame, kIp + 2);
  if (frame.size() < length || frame.size() < wire::kHeadBytes) {
    return FrameFault::kShort;
  }
  if (frame.size() > length) {
    return FrameFault::kLong;
  }
  const auto header = wire::decode(frame.subspan(wire::kHeaderOffset));
  if ((load16(frame, kIp + 6) & 0x3FFF) != 0 || load16(frame, kUdp + 4) != length - kUdp ||
      !header) {
    return FrameFault::kHeader;
  }
  if (ones_sum(frame.subspan(kIp, 20)) != 0xFFFF ||
      (load16(frame, kUdp + 6) != 0 && udp_sum(frame) != 0xFFFF)) {
    return FrameFault::kChecksum;
  }
  Packet p;
  p.type = static_cast<Type>(header->type);
  p.flags = header->flags;
  p.format = static_cast<Format>(header->format);
  p.fan_in = header->fan_in;
  p.prio = header->prio;
  p.count = header->count;
  p.epoch = header->epoch;
  p.job = header->job;
  p.slot = header->slot;
  p.seq = header->seq;
  p.bitmap = header->bitmap;
  p.config = header->config;
  const Bytes data = frame.subspan(wire::kHeadBytes);
  if (!wire::is_known(header->format)) {
    return p;
  }
  const std::size_t bits = wire::lane_bits(header->format);
  const std::size_t lanes = wire::lanes_in(header->format, data.size());
  if (wire::lane_bytes(header->format, lanes) != data.size()) {
    return FrameFault::kLanes;
  }
  p.values.resize(lanes);
  for (std::size_t i = 0; i < lanes; ++i) {
    std::uint32_t word = 0;
    if (bits == 4) {
      word = (data[i / 2] >> (i % 2 == 0 ? 4 : 0)) & 15U;
    } else if (bits == 8) {
      word = data[i];
    } else if (bits == 16) {
      word = load16(data, 2 * i);
    } else {
      word = load16(data, 4 * i) << 16 | load16(data, 4 * i + 2);
    }
    p.values[i] = static_cast<std::int32_t>(word);
  }
  return p;
}

} // namespace kestrel::esa::ref
