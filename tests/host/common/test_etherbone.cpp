// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Etherbone against LiteX's own packets, over UDP: etherbone_board.py decodes and encodes with
// litex.tools.remote.etherbone, and answers as LiteEth's core does. Skipped without LiteX.
#include <array>
#include <cstdint>
#include <cstdio>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bridge.hpp"

namespace kestrel {
namespace {

using testing::HasSubstr;

/// The program etherbone_board.py.
class Board {
public:
  explicit Board(const std::vector<std::string> &options = {}) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0)
      return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      std::vector<std::string> arguments = {KESTREL_LITEX_PYTHON, KESTREL_ETHERBONE_BOARD};
      arguments.insert(arguments.end(), options.begin(), options.end());
      std::vector<char *> argv;
      argv.reserve(arguments.size() + 1);
      for (std::string &argument : arguments)
        argv.push_back(argument.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(77);
    }
    ::close(in[0]);
    ::close(out[1]);
    stop_ = in[1];
    out_ = ::fdopen(out[0], "r");
    if (const auto numbers = line(); numbers.size() == 1)
      port_ = numbers[0];
  }
  Board(const Board &) = delete;
  Board &operator=(const Board &) = delete;
  ~Board() {
    if (pid_ > 0)
      static_cast<void>(end());
    if (out_ != nullptr)
      std::fclose(out_);
  }

  /// False where LiteX is missing.
  [[nodiscard]] bool there() const { return port_ != 0; }
  [[nodiscard]] std::string url(const std::string &options = "") const {
    return "udp://127.0.0.2:" + std::to_string(port_) + "?timeout=4000" + options;
  }

  struct Counts {
    bool good = false; ///< every packet was one of LiteX's
    unsigned packets = 0, written = 0, longest = 0, lost = 0, late = 0;
  };
  Counts end() {
    ::close(stop_);
    Counts counts;
    const auto numbers = line();
    if (numbers.size() == 5)
      counts = {true, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    counts.good = counts.good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return counts;
  }

private:
  /// The numbers of the next line; none where the program has ended.
  std::vector<unsigned> line() {
    std::array<char, 256> text{};
    std::vector<unsigned> numbers;
    if (std::fgets(text.data(), text.size(), out_) != nullptr) {
      std::istringstream words(text.data());
      for (unsigned number = 0; words >> number;)
        numbers.push_back(number);
    }
    return numbers;
  }

  pid_t pid_ = -1;
  int stop_ = -1;
  std::FILE *out_ = nullptr;
  unsigned port_ = 0;
};

Result<std::unique_ptr<Bridge>> open(const std::string &text) {
  KESTREL_ASSIGN(const BridgeUrl url, BridgeUrl::parse(text));
  return open_bridge(url);
}

/// Writes of many lengths, read back in other pieces; between them words that nobody has written.
void write_and_read(Bridge &bridge) {
  std::mt19937 random(1);
  std::uint32_t address = 0x4000'0000;
  for (const std::size_t count : {1U, 2U, 14U, 15U, 16U, 17U, 31U, 100U, 255U}) {
    std::vector<std::uint32_t> words(count), back(count + 2);
    for (std::uint32_t &word : words)
      word = static_cast<std::uint32_t>(random());
    const auto wrote = bridge.write(address, words);
    ASSERT_TRUE(wrote) << wrote.error().message;
    const auto read = bridge.read(address - 4, back);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(back.front(), ~(address - 4));
    EXPECT_EQ(back.back(), ~(address + static_cast<std::uint32_t>(4 * count)));
    EXPECT_EQ(std::vector<std::uint32_t>(back.begin() + 1, back.end() - 1), words)
        << count << " words";
    address += static_cast<std::uint32_t>(4 * count + 8);
  }
}
constexpr unsigned kWritten = 1 + 2 + 14 + 15 + 16 + 17 + 31 + 100 + 255;

TEST(Etherbone, PacketsAreLitexPackets) {
  Board board;
  if (!board.there())
    GTEST_SKIP() << "LiteX is missing";
  auto bridge = open(board.url());
  ASSERT_TRUE(bridge) << bridge.error().message;
  write_and_read(**bridge);
  const auto counts = board.end();
  EXPECT_TRUE(counts.good);
  EXPECT_EQ(counts.written, kWritten);
  EXPECT_EQ(counts.longest, 16U); // LiteX's buffer, to its last word
}

TEST(Etherbone, LongPacketsForALargerBuffer) {
  Board board({"--buffer", "256"});
  if (!board.there())
    GTEST_SKIP() << "LiteX is missing";
  auto bridge = open(board.url("&burst=255"));
  ASSERT_TRUE(bridge) << bridge.error().message;
  write_and_read(**bridge);
  const auto counts = board.end();
  EXPECT_TRUE(counts.good);
  EXPECT_EQ(counts.written, kWritten);
  EXPECT_EQ(counts.longest, 256U);
}

TEST(Etherbone, TooLongPacketsStopTheBoard) {
  Board board;
  if (!board.there())
    GTEST_SKIP() << "LiteX is missing";
  auto bridge = open(board.url("&burst=16&timeout=200"));
  ASSERT_TRUE(bridge) << bridge.error().message;
  std::array<std::uint32_t, 16> words{};
  const auto got = (*bridge)->read(0x4000'0000, words);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(got.error().message, HasSubstr("burst"));
}

TEST(Etherbone, AnswersThatAreLostOrLate) {
  Board board({"--lose", "7", "--late", "5"});
  if (!board.there())
    GTEST_SKIP() << "LiteX is missing";
  auto bridge = open(board.url("&timeout=400"));
  ASSERT_TRUE(bridge) << bridge.error().message;
  write_and_read(**bridge);
  const auto counts = board.end();
  EXPECT_TRUE(counts.good);
  EXPECT_EQ(counts.written, kWritten);
  EXPECT_GT(counts.lost, 5U);
  EXPECT_GT(counts.late, 5U);
}

TEST(Etherbone, OptionsAreChecked) {
  for (const auto *const burst : {"0", "256", "many"}) {
    const auto bridge = open(std::string("udp://127.0.0.2:1234?burst=") + burst);
    ASSERT_FALSE(bridge) << burst;
    EXPECT_EQ(bridge.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(bridge.error().message, HasSubstr("burst"));
  }
}

} // namespace
} // namespace kestrel
