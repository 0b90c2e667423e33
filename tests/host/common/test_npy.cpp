// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// .npy files, byte order helpers and progress lines.
#include <filesystem>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kestrel/bytes.hpp"
#include "kestrel/log.hpp"
#include "kestrel/npy.hpp"
#include "kestrel/progress.hpp"

namespace kestrel {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::vector<std::uint8_t> file_with(const std::string &header, std::size_t data_bytes,
                                    unsigned major = 1) {
  std::vector<std::uint8_t> out{0x93, 'N', 'U', 'M', 'P', 'Y', static_cast<std::uint8_t>(major), 0};
  if (major == 1) {
    append_le<std::uint16_t>(out, static_cast<std::uint16_t>(header.size()));
  } else {
    append_le<std::uint32_t>(out, static_cast<std::uint32_t>(header.size()));
  }
  out.insert(out.end(), header.begin(), header.end());
  out.resize(out.size() + data_bytes, 7);
  return out;
}

std::string dict(const std::string &descr, const std::string &fortran, const std::string &shape) {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

Error refused(const std::vector<std::uint8_t> &bytes) {
  const auto array = parse_npy(bytes, "x.npy");
  EXPECT_FALSE(array);
  if (array) {
    return {};
  }
  EXPECT_THAT(array.error().message, testing::StartsWith("x.npy: "));
  return array.error();
}

template <typename T> class NpyTyped : public testing::Test {};
using Types = testing::Types<std::int8_t, std::uint8_t, std::int16_t, std::uint16_t, std::int32_t,
                             std::int64_t, float, double>;
TYPED_TEST_SUITE(NpyTyped, Types);

TYPED_TEST(NpyTyped, RoundTrip) {
  std::vector<TypeParam> values(24);
  std::iota(values.begin(), values.end(), static_cast<TypeParam>(3));
  values[0] = std::numeric_limits<TypeParam>::lowest();
  values[1] = std::numeric_limits<TypeParam>::max();
  for (const std::vector<std::int64_t> &shape :
       {std::vector<std::int64_t>{24}, {2, 3, 4}, {1, 24, 1}}) {
    const auto bytes = format_npy(make_npy<TypeParam>(shape, values));
    EXPECT_EQ((bytes.size() - 24 * sizeof(TypeParam)) % 64, 0U);
    const auto back = parse_npy(bytes, "x.npy");
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->shape, shape);
    const auto got = back->template values<TypeParam>("x.npy");
    ASSERT_TRUE(got);
    EXPECT_EQ(*got, values);
  }
}

TEST(Npy, ScalarAndEmpty) {
  const std::vector<float> one{2.5F};
  const auto scalar = parse_npy(format_npy(make_npy<float>({}, one)), "x");
  ASSERT_TRUE(scalar);
  EXPECT_TRUE(scalar->shape.empty());
  EXPECT_EQ(scalar->elements(), 1U);
  const auto empty = parse_npy(format_npy(make_npy<float>({0, 5}, {})), "x");
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->elements(), 0U);
}

// Bytes as numpy.save writes them: numpy.arange(6, dtype=numpy.int16).reshape(2, 3).
TEST(Npy, AsNumpyWritesIt) {
  std::string header = "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }";
  header.resize(117, ' ');
  header += '\n';
  auto bytes = file_with(header, 0);
  for (std::int16_t i = 0; i < 6; ++i) {
    append_le<std::int16_t>(bytes, i);
  }
  EXPECT_EQ(bytes.size(), 140U);
  const auto array = parse_npy(bytes, "x");
  ASSERT_TRUE(array) << array.error().message;
  EXPECT_EQ(array->type, NpyType::kInt16);
  EXPECT_EQ(array->shape, (std::vector<std::int64_t>{2, 3}));
  // Version 2.0 differs in the width of the header length.
  EXPECT_TRUE(parse_npy(file_with(dict("|u1", "False", "(3,)"), 3, 2), "x"));
}

TEST(Npy, FilesReplaceInOneStep) {
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("kestrel_{}.npy", getpid());
  const std::vector<std::int8_t> values{1, -2, 3};
  for (int i = 0; i < 2; ++i) {
    const auto saved = save_npy(path, make_npy<std::int8_t>({3}, values));
    ASSERT_TRUE(saved) << saved.error().message;
  }
  const auto back = load_npy(path);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back->values<std::int8_t>("x"), values);
  const auto small = load_npy(path, 64);
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().code, ErrorCode::kResourceLimit);
  std::filesystem::remove(path);

  const auto absent = load_npy(path);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(absent.error().message, HasSubstr(path.string()));
  const auto nowhere = save_npy("/no/such/folder/x.npy", make_npy<std::int8_t>({3}, values));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, ErrorCode::kIo);
  auto wrong = make_npy<std::int8_t>({3}, values);
  wrong.shape = {4};
  const auto mismatch = save_npy(path, wrong);
  ASSERT_FALSE(mismatch);
  EXPECT_EQ(mismatch.error().code, ErrorCode::kInvalidArgument);
}

TEST(Npy, OtherType) {
  const auto array = parse_npy(file_with(dict("<f4", "False", "(2,)"), 8), "x.npy");
  ASSERT_TRUE(array);
  const auto values = array->values<std::int8_t>("x.npy");
  ASSERT_FALSE(values);
  EXPECT_EQ(values.error().message, "x.npy: the array is float32; int8 is needed");
}

TEST(Npy, Refusals) {
  EXPECT_THAT(refused({}).message, HasSubstr("not a NumPy"));
  EXPECT_THAT(refused({'P', 'K', 3, 4, 0, 0, 0, 0, 0, 0, 0, 0}).message, HasSubstr("not a NumPy"));
  EXPECT_THAT(refused(file_with(dict("<f4", "False", "(2,)"), 8, 3)).message,
              HasSubstr("version 3.0"));
  EXPECT_THAT(refused(file_with(dict(">f4", "False", "(2,)"), 8)).message,
              AllOf(HasSubstr("'>f4'"), HasSubstr("little-endian")));
  EXPECT_THAT(refused(file_with(dict("|b1", "False", "(2,)"), 2)).message, HasSubstr("'|b1'"));
  EXPECT_THAT(refused(file_with(dict("<c8", "False", "(2,)"), 16)).message, HasSubstr("'<c8'"));
  EXPECT_THAT(refused(file_with(dict("|O", "False", "(2,)"), 16)).message, HasSubstr("'|O'"));
  EXPECT_THAT(
      refused(file_with("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2,), }", 8))
          .message,
      HasSubstr("record"));
  EXPECT_THAT(refused(file_with(dict("<f4", "True", "(2, 2)"), 16)).message,
              HasSubstr("Fortran order"));
  EXPECT_THAT(refused(file_with(dict("<f4", "False", "(2,)"), 7)).message,
              HasSubstr("needs 8 bytes of data; the file has 7"));
  EXPECT_THAT(refused(file_with(dict("<f4", "False", "(2,)"), 9)).message, HasSubstr("has 9"));
  EXPECT_THAT(refused(file_with(dict("<f4", "False", "(4294967296, 4294967296)"), 0)).message,
              HasSubstr("overflows"));
  EXPECT_THAT(refused(file_with(dict("<f4", "False", "(4294967296, 4294967296, 4294967296, 0)"), 0))
                  .message,
              HasSubstr("overflows"));
  for (const char *shape :
       {"(99999999999999999999,)", "(-1,)", "(2)", "(2 3)", "(2,", "2", "(a,)"}) {
    EXPECT_THAT(refused(file_with(dict("<f4", "False", shape), 8)).message, HasSubstr("damaged"))
        << shape;
  }
  for (const char *header :
       {"", "{}", "{'descr': '<f4'}", "['descr']",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': (1,)}"}) {
    EXPECT_THAT(refused(file_with(header, 8)).message, HasSubstr("damaged")) << header;
  }
}

TEST(Npy, TruncatedAnywhere) {
  const std::vector<std::int32_t> values{1, 2, 3, 4};
  const auto bytes = format_npy(make_npy<std::int32_t>({2, 2}, values));
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_FALSE(parse_npy(std::span(bytes).first(n), "x")) << n;
  }
}

TEST(Npy, SurvivesMutations) {
  const std::vector<std::int32_t> values{1, 2, 3, 4};
  const auto good = format_npy(make_npy<std::int32_t>({2, 2}, values));
  std::mt19937 random(11);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    auto bytes = good;
    for (unsigned k = random() % 4 + 1; k > 0; --k) {
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    }
    if (random() % 8 == 0) {
      bytes.resize(random() % bytes.size());
    }
    const auto array = parse_npy(bytes, "x");
    if (array) {
      ++accepted;
      ASSERT_EQ(array->data.size() % size_of(array->type), 0U);
      ASSERT_LE(array->data.size(), bytes.size());
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 20000);
}

TEST(Bytes, LittleEndian) {
  std::vector<std::uint8_t> bytes;
  append_le<std::uint32_t>(bytes, 0x04030201U);
  append_le<std::int16_t>(bytes, std::int16_t{-2});
  append_le<float>(bytes, 1.0F);
  EXPECT_EQ(bytes, (std::vector<std::uint8_t>{1, 2, 3, 4, 0xfe, 0xff, 0, 0, 0x80, 0x3f}));
  EXPECT_EQ(load_le<std::uint16_t>(bytes, 1), 0x0302);
  EXPECT_EQ(load_le<std::int16_t>(bytes, 4), -2);
  EXPECT_EQ(load_le<float>(bytes, 6), 1.0F);
  EXPECT_FALSE(try_load_le<std::uint32_t>(bytes, 7));
  EXPECT_FALSE(try_load_le<std::uint32_t>(bytes, std::numeric_limits<std::size_t>::max()));
  EXPECT_TRUE(try_load_le<std::uint32_t>(bytes, 6));
}

TEST(Progress, Line) {
  const std::string half =
      Progress::render("RTL inference", 100, 200, "images", 12.34, "agreement 100 %", 200);
  EXPECT_EQ(half, "RTL inference  [############............]  50 %  100/200 images  12.3 s, 12.3 s "
                  "left  agreement 100 %");
  EXPECT_THAT(Progress::render("x", 200, 200, "images", 1.0, "", 200),
              AllOf(HasSubstr("100 %"), testing::Not(HasSubstr("left"))));
  EXPECT_EQ(Progress::render("x", 199, 200, "images", 1.0, "", 200).find("100 %"),
            std::string::npos);
  EXPECT_EQ(Progress::render("x", 7, 0, "packets", 1.0, "", 200), "x  7 packets  1.0 s");
  EXPECT_LE(Progress::render("x", 1, 2, "images", 1.0, std::string(300, 'n'), 80).size(), 80U);
}

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(0.85), "850 ms");
  EXPECT_EQ(format_duration(12.34), "12.3 s");
  EXPECT_EQ(format_duration(59.99), "1 min 00 s");
  EXPECT_EQ(format_duration(245.2), "4 min 05 s");
  EXPECT_EQ(format_duration(7800.0), "2 h 10 min");
  EXPECT_EQ(format_duration(-1.0), "?");
}

TEST(Progress, ShortWorkIsSilent) {
  testing::internal::CaptureStderr();
  {
    Progress progress("quick", 10, "steps", Progress::Style::kBar);
    progress.advance(10);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Log, Levels) {
  EXPECT_TRUE(set_log_level("warn"));
  const auto bad = set_log_level("loud");
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("'loud'"));
  EXPECT_TRUE(set_log_level("info"));
}

} // namespace
} // namespace kestrel
