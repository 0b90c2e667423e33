// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Aggregation packets: what the C++ header encodes is what the SystemVerilog package reads, and
// what is no such packet is refused.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "Vwire_probe.h"
#include "kestrel/contract/wire.hpp"

namespace {

using namespace kestrel::contract::wire;

std::uint64_t seed() {
  const char *text = std::getenv("KESTREL_SEED");
  const std::uint64_t value = text != nullptr ? std::strtoull(text, nullptr, 0) : 1;
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(value));
  return value;
}

Header random_header(std::mt19937_64 &rng) {
  Header header;
  header.format = static_cast<ValueFormat>(rng() % 6);
  header.type = static_cast<PacketType>(1 + rng() % 10);
  header.flags = static_cast<std::uint8_t>(rng());
  header.fan_in = static_cast<std::uint8_t>(rng());
  header.prio = static_cast<std::uint8_t>(rng());
  header.count = static_cast<std::uint8_t>(rng());
  header.epoch = static_cast<std::uint8_t>(rng());
  header.job = static_cast<std::uint16_t>(rng());
  header.slot = static_cast<std::uint16_t>(rng());
  header.seq = static_cast<std::uint32_t>(rng());
  header.bitmap = static_cast<std::uint32_t>(rng());
  header.config = static_cast<std::uint16_t>(rng());
  return header;
}

TEST(Header, RoundTrip) {
  std::mt19937_64 rng(seed());
  for (int i = 0; i < 1000; ++i) {
    const Header header = random_header(rng);
    const auto bytes = encode(header);
    EXPECT_EQ(decode(bytes), header);
  }
}

TEST(Header, KnownBytes) {
  // Written out, so that both generated sides cannot be wrong together unnoticed.
  Header header;
  header.format = ValueFormat::kThcIndex4;
  header.type = PacketType::kReminder;
  header.flags = bit(PacketFlag::kSet) | bit(PacketFlag::kEcn);
  header.epoch = 0x80;
  header.fan_in = 32;
  header.prio = 7;
  header.count = 1;
  header.job = 0x0102;
  header.slot = 0x0304;
  header.seq = 0x05060708;
  header.bitmap = 0x090A0B0C;
  header.config = 0x0D0E;
  const std::array<std::uint8_t, 22> expected = {'K', 0x80, 0x22, 4, 0x12, 32, 7,  1,  1,  2,  3,
                                                 4,   5,    6,    7, 8,    9,  10, 11, 12, 13, 14};
  EXPECT_EQ(encode(header), expected);
  EXPECT_TRUE(header.has(PacketFlag::kEcn));
  EXPECT_FALSE(header.has(PacketFlag::kCollision));
  EXPECT_EQ(kHeaderOffset + kHeaderBytes, kHeadBytes);
  EXPECT_EQ(to_string(PacketType::kNormResult), "NORM_RESULT");
  EXPECT_FALSE(is_known(static_cast<PacketType>(0)));
  EXPECT_TRUE(is_known(ValueFormat::kFp32));
  EXPECT_FALSE(is_known(static_cast<ValueFormat>(15)));
}

TEST(Header, RefusesWhatIsNone) {
  const auto good = encode(Header{});
  ASSERT_TRUE(decode(good));
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_FALSE(decode(std::span(good).first(n))) << n;
  EXPECT_EQ(version_of(good), kVersion);
  for (const std::size_t byte : {0U, 2U}) {
    auto bad = good;
    bad[byte] ^= 0x10;
    EXPECT_FALSE(decode(bad)) << "byte " << byte;
    EXPECT_EQ(version_of(bad), byte == 0 ? std::nullopt : std::optional<unsigned>(kVersion ^ 1));
  }
  EXPECT_EQ(version_of(std::span(good).first(21)), std::nullopt);
  // The first version had a magic of two bytes, of which the first is the same.
  auto first = good;
  first[1] = 'S';
  first[2] = 0x10;
  EXPECT_EQ(version_of(first), 1U);
  std::vector<std::uint8_t> longer(good.begin(), good.end());
  longer.push_back(0xFF);
  EXPECT_TRUE(decode(longer));
}

TEST(Lanes, Sizes) {
  EXPECT_EQ(lane_bytes(ValueFormat::kThcIndex4, 1024), 512U);
  EXPECT_EQ(lane_bytes(ValueFormat::kThcIndex4, 3), 2U);
  EXPECT_EQ(lanes_in(ValueFormat::kThcIndex4, 512), 1024U);
  EXPECT_EQ(lane_bytes(ValueFormat::kThcSum16, 1024), 2048U);
  EXPECT_EQ(lanes_in(ValueFormat::kInt32, 258), 64U);
  EXPECT_EQ(lane_bytes(ValueFormat::kNone, 5), 0U);
  EXPECT_EQ(lanes_in(ValueFormat::kNone, 5), 0U);
}

TEST(Beat, SystemVerilogPackageAgrees) {
  std::mt19937_64 rng(seed());
  const auto probe = std::make_unique<Vwire_probe>();
  for (int i = 0; i < 300; ++i) {
    const Header header = random_header(rng);
    std::array<std::uint8_t, kHeadBytes> frame{};
    for (std::uint8_t &byte : frame)
      byte = static_cast<std::uint8_t>(rng());
    const auto bytes = encode(header);
    std::copy(bytes.begin(), bytes.end(), frame.begin() + kHeaderOffset);
    for (std::size_t w = 0; w < 16; ++w) // byte 0 in bits 7:0
      probe->beat_i[w] = static_cast<std::uint32_t>(frame[4 * w]) |
                         static_cast<std::uint32_t>(frame[4 * w + 1]) << 8 |
                         static_cast<std::uint32_t>(frame[4 * w + 2]) << 16 |
                         static_cast<std::uint32_t>(frame[4 * w + 3]) << 24;
    probe->eval();
    for (std::size_t w = 0; w < 16; ++w)
      ASSERT_EQ(probe->beat_o[w], probe->beat_i[w]);
    EXPECT_EQ(probe->magic_o, kMagic);
    EXPECT_EQ(probe->version_o, kVersion);
    EXPECT_EQ(static_cast<ValueFormat>(probe->format_o), header.format);
    EXPECT_EQ(static_cast<PacketType>(probe->type_o), header.type);
    EXPECT_EQ(probe->flags_o, header.flags);
    EXPECT_EQ(probe->fan_in_o, header.fan_in);
    EXPECT_EQ(probe->prio_o, header.prio);
    EXPECT_EQ(probe->count_o, header.count);
    EXPECT_EQ(probe->epoch_o, header.epoch);
    EXPECT_EQ(probe->job_o, header.job);
    EXPECT_EQ(probe->slot_o, header.slot);
    EXPECT_EQ(probe->seq_o, header.seq);
    EXPECT_EQ(probe->bitmap_o, header.bitmap);
    EXPECT_EQ(probe->config_o, header.config);
    EXPECT_EQ(probe->lane_bits_o, lane_bits(header.format));
    EXPECT_EQ(probe->port_o, kUdpPort);
    std::uint64_t eth_dst = 0;
    for (std::size_t b = 0; b < 6; ++b)
      eth_dst = eth_dst << 8 | frame[b];
    EXPECT_EQ(probe->eth_dst_o, eth_dst);
    EXPECT_EQ(probe->ip_ecn_o, frame[15] & 3);
    EXPECT_EQ(probe->udp_dst_o, frame[36] << 8 | frame[37]);
  }
}

std::string text_of(const char *path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Tables, CommittedOnesAreTheGenerated) {
  const std::string generated = text_of(KESTREL_CONTRACT_GENERATED);
  EXPECT_GT(generated.size(), 1000U);
  EXPECT_EQ(text_of(KESTREL_CONTRACT_TABLES), generated)
      << "copy " KESTREL_CONTRACT_GENERATED " to docs/";
}

} // namespace
