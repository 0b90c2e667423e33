// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The generated hardware contract: what the C++ header encodes is what the SystemVerilog package
// decodes, constant by constant and field by field.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "Vcontract_probe.h"
#include "kestrel/contract/vision.hpp"

namespace {

using namespace kestrel::contract;

std::uint64_t seed() {
  const char *text = std::getenv("KESTREL_SEED");
  const std::uint64_t value = text != nullptr ? std::strtoull(text, nullptr, 0) : 1;
  std::printf("KESTREL_SEED=%llu\n", static_cast<unsigned long long>(value));
  return value;
}

template <class Desc> Desc random_desc(std::mt19937_64 &rng) {
  Desc desc;
  for (const auto &field : kFields<Desc>) {
    switch (rng() % 4) {
    case 0:
      desc.*field.member = field.min();
      break;
    case 1:
      desc.*field.member = field.max();
      break;
    default:
      desc.*field.member =
          field.min() +
          static_cast<std::int64_t>(
              rng() % (field.mask() == ~std::uint64_t{0} ? field.mask() : field.mask() + 1));
    }
  }
  desc.op = static_cast<std::int64_t>(Desc::kOp);
  return desc;
}

template <class Desc> class Descriptor : public testing::Test {};
using Kinds = testing::Types<ComputeDesc, LoadDesc, StoreDesc, ConfDesc, EndDesc>;
TYPED_TEST_SUITE(Descriptor, Kinds);

TYPED_TEST(Descriptor, RoundTrip) {
  std::mt19937_64 rng(seed());
  for (int i = 0; i < 2000; ++i) {
    const auto desc = random_desc<TypeParam>(rng);
    ASSERT_EQ(fits(desc), nullptr);
    const DescWords words = encode(desc);
    EXPECT_TRUE(reserved_clear<TypeParam>(words));
    EXPECT_EQ(desc_op(words[0]), TypeParam::kOp);
    ASSERT_EQ(decode<TypeParam>(words), desc);
  }
}

TYPED_TEST(Descriptor, FitsNamesTheFieldThatDoesNot) {
  for (const auto &field : kFields<TypeParam>) {
    TypeParam desc;
    desc.*field.member = field.max() + 1;
    EXPECT_STREQ(fits(desc), field.name);
    desc.*field.member = field.min() - 1;
    EXPECT_STREQ(fits(desc), field.name);
    desc.*field.member = field.min();
    EXPECT_EQ(fits(desc), nullptr);
    desc.*field.member = field.max();
    EXPECT_EQ(fits(desc), nullptr);
  }
}

// Fields and reserved bits together are every bit exactly once.
TYPED_TEST(Descriptor, FieldsAndReservedBitsCoverTheDescriptor) {
  DescWords seen = kReservedMask<TypeParam>;
  for (const auto &field : kFields<TypeParam>) {
    const std::uint64_t bits = field.mask() << field.lsb;
    EXPECT_EQ(seen[field.word] & bits, 0U) << field.name;
    seen[field.word] |= bits;
  }
  for (const std::uint64_t word : seen) {
    EXPECT_EQ(word, ~std::uint64_t{0});
  }
}

TYPED_TEST(Descriptor, EveryReservedBitIsSeen) {
  const DescWords words = encode(TypeParam{});
  for (std::size_t i = 0; i < kDescWords; ++i) {
    for (unsigned bit = 0; bit < 64; ++bit) {
      DescWords changed = words;
      changed[i] ^= std::uint64_t{1} << bit;
      EXPECT_EQ(reserved_clear<TypeParam>(changed), (kReservedMask<TypeParam>[i] >> bit & 1U) == 0)
          << "word " << i << " bit " << bit;
    }
  }
}

void put(Vcontract_probe &probe, const DescWords &words) {
  for (std::size_t i = 0; i < kDescWords; ++i) {
    probe.desc_i[2 * i] = static_cast<std::uint32_t>(words[i]);
    probe.desc_i[2 * i + 1] = static_cast<std::uint32_t>(words[i] >> 32U);
  }
}

TYPED_TEST(Descriptor, SystemVerilogPackageAgrees) {
  std::mt19937_64 rng(seed());
  const auto probe = std::make_unique<Vcontract_probe>();
  probe->kind_i = static_cast<std::uint8_t>(TypeParam::kOp);
  for (int i = 0; i < 200; ++i) {
    const auto desc = random_desc<TypeParam>(rng);
    put(*probe, encode(desc));
    std::uint8_t index = 0;
    for (const auto &field : kFields<TypeParam>) {
      probe->field_i = index++;
      probe->eval();
      ASSERT_EQ(static_cast<std::int64_t>(probe->value_o), desc.*field.member) << field.name;
    }
    EXPECT_EQ(probe->reserved_o, 0);
    DescWords changed = encode(desc);
    const std::size_t word = rng() % kDescWords;
    changed[word] ^= std::uint64_t{1} << (rng() % 64);
    put(*probe, changed);
    probe->eval();
    EXPECT_EQ(probe->reserved_o == 0, reserved_clear<TypeParam>(changed)) << "word " << word;
  }
}

TEST(Constants, SystemVerilogPackageAgrees) {
  const Config *found = find_config("edge");
  ASSERT_NE(found, nullptr);
  const Config &config = *found;
  struct Expected {
    const char *name;
    std::uint32_t value;
  };
  const Expected expected[] = {
#include "contract_probe.inc"
  };
  const auto probe = std::make_unique<Vcontract_probe>();
  std::uint16_t index = 0;
  for (const Expected &constant : expected) {
    probe->constant_i = index++;
    probe->eval();
    EXPECT_EQ(probe->constant_o, constant.value) << constant.name;
  }
  EXPECT_GT(index, 100);
}

TEST(Constants, KnownValues) {
  // A few values written out, so that both generated sides cannot be wrong together unnoticed.
  EXPECT_EQ(kRegisters[0].reset, 0x4B485631U);
  EXPECT_EQ(reg::kCtrl, 0x14U);
  EXPECT_EQ(reg::kCtrlSoftReset.put(1), 2U);
  EXPECT_EQ(reg::kErrorInfo.get(0x12345605U), 0x123456U);
  EXPECT_EQ(find_config("edge")->macs(), 128U);
  EXPECT_EQ(find_config("edge")->config_register(), 0x00820810U);
  EXPECT_EQ(find_config("none"), nullptr);
  EXPECT_EQ(to_string(ErrorCause::kWatchdog), "WATCHDOG");
  EXPECT_FALSE(desc_op(0).has_value());
  EXPECT_FALSE(desc_op(15).has_value());
  ComputeDesc desc;
  desc.ix0 = -1;
  desc.wrel = 1;
  EXPECT_EQ(encode(desc)[0], 0x201U);
  EXPECT_EQ(encode(desc)[3], 0xFFFU);
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
