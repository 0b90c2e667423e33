// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Aggregation packets as Ethernet frames: Ethernet II, IPv4 without options, UDP, the header of
// contract/wire.json, values. Frames are without preamble and FCS.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "sw_ref/esa/switch.hpp"

namespace kestrel::esa::ref {

/// Why a frame is no packet. kForeign goes on by the static table; the others are counted and
/// dropped.
enum class FrameFault : std::uint8_t {
  kForeign,  ///< under 42 bytes, or not IPv4 without options, UDP, to the port of aggregation
             ///< packets
  kShort,    ///< shorter than its IPv4 length says, or than the header
  kLong,     ///< longer than its IPv4 length says
  kHeader,   ///< a fragment, UDP and IPv4 lengths disagree, magic or version wrong
  kChecksum, ///< of the IPv4 header; or of UDP, unless that is 0 (none)
  kLanes,    ///< values are no whole number of lanes of their format
};
inline constexpr std::size_t kFrameFaults = 6;
[[nodiscard]] const char *to_string(FrameFault fault);

struct Addresses {
  std::array<std::uint8_t, 6> destination_mac{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
  std::array<std::uint8_t, 6> source_mac{0x02, 0x4B, 0x53, 0, 0, 0};
  std::uint32_t source_ip = 0x0A4B53FE; ///< 10.75.83.254
  std::uint32_t destination_ip = 0xFFFFFFFF;
};
/// What the switch puts on every packet that it sends, also on those that it passes on: it is an
/// end point of the protocol, and who is meant follows from the port, the job and the type.
inline constexpr Addresses kSwitchAddresses{};

/// The frame of a packet: IPv4 identification 0, don't fragment, TTL 64; both UDP ports those of
/// the protocol; UDP checksum 0 (none), or computed. A value takes the low bits of its lane. A
/// format without lanes takes no values.
[[nodiscard]] std::vector<std::uint8_t> make_frame(const Packet &packet,
                                                   const Addresses &addresses = kSwitchAddresses,
                                                   bool udp_checksum = false);

/// The packet in a frame, or why there is none. Checks are made in the order of FrameFault. A
/// packet of a format that is not known has no values (and is refused by the switch for its
/// format).
[[nodiscard]] std::variant<Packet, FrameFault> parse_frame(std::span<const std::uint8_t> frame);

} // namespace kestrel::esa::ref
