// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Contract of the THC accelerator: committed tables are the generated ones, windows hold what a
// command of the largest size needs.

#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "kestrel/contract/thc.hpp"

namespace {

using namespace kestrel::contract::thc;

TEST(Constants, KnownValues) {
  // A few values written out, so that the generated sides cannot be wrong together unnoticed.
  EXPECT_EQ(kRegisters[0].reset, 0x4B544843U);
  EXPECT_EQ(kVersion, 0x00010000U);
  EXPECT_EQ(reg::kOp, 0x30U);
  EXPECT_EQ(reg::kOpNormMax.put(1), 0x100U);
  EXPECT_EQ(reg::kGranularityEntries.get(0x101EU), 16U);
  EXPECT_EQ(static_cast<int>(Op::kDecompress), 4);
  EXPECT_EQ(to_string(ErrorCause::kBadStart), "BAD_START");
  EXPECT_EQ(window::kScale.word(3), 0x200CU);
  EXPECT_EQ(window::kCount.words * 4 * kPacketCoordinates, kMaxCoordinates);
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
