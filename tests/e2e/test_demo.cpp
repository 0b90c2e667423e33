// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The main job on a few images: with a DC, without one, and with one that misbehaves.
#include <chrono>
#include <thread>

#include "kestrel/serve/fashion_mnist.hpp"
#include "tests/e2e/program.hpp"
#include "tests/host/serve/test_serve_util.hpp"

namespace kestrel::e2e {
namespace {

class Demo : public ProgramTest {
protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (!std::filesystem::exists(serve::kFashionMnistDirectory)) {
      GTEST_SKIP() << "the Debian package dataset-fashion-mnist is not installed";
    }
  }
  [[nodiscard]] nlohmann::json demo(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(),
                     {"demo", "--images", "600", "--rtl-images", "2", "--json", path("demo.json")});
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_NE(outcome.out.find("accuracy on 600 test images"), std::string::npos) << outcome.out;
    nlohmann::json json = read_json("demo.json");
    EXPECT_EQ(json["rtl"]["images"], 2);
    EXPECT_EQ(json["rtl"]["agreement"], 1.0);
    EXPECT_EQ(json["functional"]["images"], 600);
    EXPECT_EQ(json["functional"]["agreement"], 1.0);
    EXPECT_GT(json["rtl"]["cycles_median"].get<int>(), 1000);
    return json;
  }
};

TEST_F(Demo, AHigherTargetOffloadsMore) {
  const nlohmann::json low = demo({"--min-accuracy", "0.5"});
  EXPECT_EQ(low["offloaded_share"], 0.0);
  EXPECT_EQ(low["accuracy"]["combined"], low["accuracy"]["edge"]);
  EXPECT_TRUE(low["accuracy"]["dc"].is_number()); // evaluated all the same
  EXPECT_EQ(low["dc"]["answered"], 0);
  EXPECT_EQ(low["dc"]["evaluated"], 600);
  EXPECT_EQ(low["below_target"], 0);
  const nlohmann::json high = demo({"--min-accuracy", "0.92"});
  EXPECT_GT(high["offloaded_share"], 0.0);
  EXPECT_EQ(high["dc"]["answered"], high["offloaded"]);
  EXPECT_EQ(high["dc"]["evaluated"].get<int>() + high["offloaded"].get<int>(), 600);
  EXPECT_EQ(high["below_target"], 0);
  EXPECT_EQ(high["accuracy"]["edge"], low["accuracy"]["edge"]);
  EXPECT_EQ(high["accuracy"]["dc"], low["accuracy"]["dc"]);
}

TEST_F(Demo, ATargetOutOfReachIsMarked) {
  const nlohmann::json json = demo({"--min-accuracy", "0.999"});
  EXPECT_EQ(json["threshold"]["reached"], false);
  EXPECT_EQ(json["below_target"], 600); // no answer carries the guarantee
  EXPECT_GT(json["dc"]["answered"], 0);
}

TEST_F(Demo, UnreachableDcMarksAndCompletes) {
  const nlohmann::json json = demo({"--min-accuracy", "0.92", "--dc", "http://127.0.0.1:9"});
  EXPECT_EQ(json["dc"]["answered"], 0);
  EXPECT_TRUE(json["accuracy"]["dc"].is_null());
  EXPECT_GT(json["offloaded"], 0);
  EXPECT_EQ(json["below_target"], json["offloaded"]);
  EXPECT_EQ(json["accuracy"]["combined"], json["accuracy"]["edge"]);
  EXPECT_NE(json["dc"]["error"].get<std::string>().find("127.0.0.1:9"), std::string::npos);
}

TEST_F(Demo, RubbishAndSilentDcMarkAndComplete) {
  serve::test::OddServer rubbish([](int fd) {
    std::array<char, 65536> request{};
    static_cast<void>(::recv(fd, request.data(), request.size(), 0));
    const std::string_view text = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nrubbish";
    static_cast<void>(::send(fd, text.data(), text.size(), MSG_NOSIGNAL));
  });
  const nlohmann::json json = demo({"--min-accuracy", "0.92", "--dc", rubbish.url()});
  EXPECT_EQ(json["dc"]["answered"], 0);
  EXPECT_EQ(json["below_target"], json["offloaded"]);
  EXPECT_GT(rubbish.connections, 0);

  std::atomic<bool> over = false;
  serve::test::OddServer silent([&](int) {
    for (int i = 0; i < 100 && !over; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  const nlohmann::json late =
      demo({"--min-accuracy", "0.92", "--dc", silent.url(), "--dc-timeout", "0.5"});
  over = true;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  EXPECT_EQ(late["dc"]["answered"], 0);
  EXPECT_EQ(late["below_target"], late["offloaded"]);
  EXPECT_NE(late["dc"]["error"].get<std::string>().find("500 ms"), std::string::npos);
}

} // namespace
} // namespace kestrel::e2e
