// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Memories as text, and what they say about time.
#include <gtest/gtest.h>

#include "kestrel/memory_model.hpp"

namespace kestrel {
namespace {

TEST(MemoryModel, NamesAndSettings) {
  EXPECT_EQ(parse_memory("assumed").value(), MemoryModel{});
  EXPECT_EQ(parse_memory("latency=7,write-latency=9,outstanding=3,bytes=2,refresh=390/8").value(),
            (MemoryModel{7, 9, 3, 1, 4, 390, 8}));
  EXPECT_EQ(parse_memory("bytes=1.9").value(), (MemoryModel{30, 8, 16, 19, 80, 0, 0}));
  MemoryModel board = parse_memory("ulx3s").value();
  EXPECT_TRUE(board.limited());
  board.read_latency = 50;
  EXPECT_EQ(parse_memory("ulx3s,latency=50").value(), board);
  board.refresh_interval = board.refresh_cycles = 0;
  EXPECT_EQ(parse_memory("ulx3s,refresh=0,latency=50").value(), board);
}

TEST(MemoryModel, TextComesBack) {
  for (const NamedMemory &memory : named_memories())
    EXPECT_EQ(parse_memory(describe(memory.model)).value(), memory.model) << memory.name;
}

TEST(MemoryModel, WhatIsWrongIsNamed) {
  const std::pair<const char *, const char *> cases[] = {
      {"", "''"},
      {"ulx4s", "'ulx4s'"},
      {"latency=7,ulx3s", "'ulx3s'"},
      {"ulx3s,", "''"},
      {"latency=0", "'latency=0'"},
      {"latency", "'latency='"},
      {"latency=7x", "'latency=7x'"},
      {"write-latency=-1", "'write-latency=-1'"},
      {"outstanding=257", "'outstanding=257'"},
      {"bytes=0.2", "'bytes=0.2'"},
      {"bytes=nan", "'bytes=nan'"},
      {"bytes=8.1", "'bytes=8.1'"},
      {"refresh=10", "'refresh=10'"},
      {"refresh=10/10", "'refresh=10/10'"},
      {"refresh=/", "'refresh=/'"},
  };
  for (const auto &[text, name] : cases) {
    const auto model = parse_memory(text);
    ASSERT_FALSE(model) << text;
    EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(model.error().message.find(name), std::string::npos) << model.error().message;
  }
}

TEST(MemoryModel, Time) {
  EXPECT_EQ(MemoryModel{}.cycles_of(100), 100U);
  EXPECT_DOUBLE_EQ(MemoryModel{}.bytes_per_cycle(), 8.0);
  const MemoryModel slow{.beats = 2, .cycles = 7};
  EXPECT_EQ(slow.cycles_of(3), 11U);
  const MemoryModel refreshed{
      .beats = 1, .cycles = 4, .refresh_interval = 100, .refresh_cycles = 20};
  EXPECT_EQ(refreshed.cycles_of(100), 500U);
  EXPECT_DOUBLE_EQ(refreshed.bytes_per_cycle(), 1.6);
}

} // namespace
} // namespace kestrel
