// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <gtest/gtest.h>

#include "kestrel/serve/dc_client.hpp"
#include "kestrel/serve/dc_server.hpp"
#include "tests/host/serve/test_serve_util.hpp"

namespace kestrel::serve {
namespace {

using namespace std::chrono_literals;

DcClientOptions options_for(const std::string &url) {
  DcClientOptions options;
  options.url = url;
  options.model = "fake";
  options.connect_timeout = 500ms;
  options.response_timeout = 500ms;
  return options;
}

DcClient client_for(const DcClientOptions &options) {
  auto client = DcClient::create(options);
  EXPECT_TRUE(client) << client.error().message;
  return std::move(client).value();
}

std::vector<std::uint8_t> images(std::size_t count) {
  std::vector<std::uint8_t> pixels(count * 4);
  for (std::size_t i = 0; i < count; ++i) {
    pixels[4 * i] = static_cast<std::uint8_t>(i * 13);
  }
  return pixels;
}

TEST(Client, ClassifiesInBatchesOverSeveralConnections) {
  test::FakeControl control;
  auto server = DcServer::start({}, test::fake_factory(control));
  ASSERT_TRUE(server);
  DcClientOptions options = options_for((*server)->url());
  options.connections = 3;
  DcClient client = client_for(options);
  ASSERT_TRUE(client.ready());
  const auto metadata = client.model_metadata();
  ASSERT_TRUE(metadata);
  EXPECT_NE(metadata->find("\"fake\""), std::string::npos);
  for (int round = 0; round < 3; ++round) {
    std::size_t last = 0;
    const auto answers = client.classify(images(1003), {1, 2, 2}, 10, 50, [&](std::size_t n) {
      EXPECT_GT(n, last);
      last = n;
    });
    EXPECT_FALSE(answers.error) << answers.error->message;
    EXPECT_EQ(last, 1003U);
    ASSERT_EQ(answers.answered, 1003U);
    for (std::size_t i = 0; i < 1003; ++i) {
      ASSERT_TRUE(answers.answers[i]);
      ASSERT_EQ(answers.answers[i]->top1, static_cast<int>(i * 13 % 256 % 10)) << i;
    }
  }
  EXPECT_EQ((*server)->stats().connections, 3U); // kept alive over all rounds
}

TEST(Client, NothingToClassify) {
  DcClient client = client_for(options_for("http://127.0.0.1:9"));
  const auto answers = client.classify({}, {1, 2, 2}, 10);
  EXPECT_FALSE(answers.error);
  EXPECT_EQ(answers.answered, 0U);
}

TEST(Client, UrlsAreChecked) {
  for (const char *url : {"", "127.0.0.1:8000", "ftp://x", "http://", "http://:80", "http://x:0",
                          "http://x:99999", "http://x:8o", "http://x/path", "http://[::1",
                          "http://[::1]x", "http://a b", "http://x:"}) {
    DcClientOptions options;
    options.url = url;
    const auto client = DcClient::create(options);
    ASSERT_FALSE(client) << url;
    EXPECT_EQ(client.error().code, ErrorCode::kInvalidArgument) << url;
  }
  DcClientOptions options;
  options.url = "https://x";
  EXPECT_EQ(DcClient::create(options).error().code, ErrorCode::kUnsupported);
  for (const char *url : {"http://localhost", "http://127.0.0.1:8000/", "http://[::1]:80"}) {
    options.url = url;
    EXPECT_TRUE(DcClient::create(options)) << url;
  }
}

TEST(Client, UnreachableIsAnErrorThatNamesUrlAndCause) {
  DcClient client = client_for(options_for("http://127.0.0.1:9"));
  const auto ready = client.ready();
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(ready.error().message, "http://127.0.0.1:9: cannot connect: Connection refused");
  const auto answers = client.classify(images(1000), {1, 2, 2}, 10, 10);
  EXPECT_EQ(answers.answered, 0U);
  ASSERT_TRUE(answers.error);
  EXPECT_EQ(answers.error->code, ErrorCode::kUnavailable);
  DcClient nowhere = client_for(options_for("http://no-such-host.invalid:80"));
  ASSERT_FALSE(nowhere.ready());
}

TEST(Client, ReconnectsWhenTheServerClosedAKeptConnection) {
  test::FakeControl control;
  DcServerOptions options;
  options.idle_timeout = 50ms;
  auto server = DcServer::start(options, test::fake_factory(control));
  ASSERT_TRUE(server);
  DcClient client = client_for(options_for((*server)->url()));
  for (int i = 0; i < 3; ++i) {
    const auto answers = client.classify(images(4), {1, 2, 2}, 10);
    EXPECT_EQ(answers.answered, 4U) << (answers.error ? answers.error->message : "");
    std::this_thread::sleep_for(150ms);
  }
  EXPECT_GE((*server)->stats().connections, 3U);
}

TEST(Client, OverloadIsTriedAgain) {
  test::FakeControl control;
  DcServerOptions options;
  options.workers = 1;
  options.queue_limit = 1;
  auto server = DcServer::start(options, test::fake_factory(control));
  ASSERT_TRUE(server);
  DcClientOptions client_options = options_for((*server)->url());
  client_options.connections = 4;
  client_options.response_timeout = 5s;
  DcClient client = client_for(client_options);
  control.hold();
  std::thread later([&] {
    while ((*server)->stats().rejected == 0) {
      std::this_thread::sleep_for(1ms);
    }
    control.release();
  });
  const auto answers = client.classify(images(40), {1, 2, 2}, 10, 10);
  later.join();
  EXPECT_EQ(answers.answered, 40U) << (answers.error ? answers.error->message : "");
  EXPECT_GE((*server)->stats().rejected, 1U);
}

TEST(Client, WrongModelAndServerFaults) {
  test::FakeControl control;
  auto server = DcServer::start({}, test::fake_factory(control));
  ASSERT_TRUE(server);
  DcClientOptions options = options_for((*server)->url());
  options.model = "other";
  DcClient other = client_for(options);
  const auto ready = other.ready();
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code, ErrorCode::kNotFound);
  EXPECT_NE(ready.error().message.find("unknown model 'other'"), std::string::npos);
  DcClient client = client_for(options_for((*server)->url()));
  control.fails = true;
  const auto failed = client.classify(images(4), {1, 2, 2}, 10);
  ASSERT_TRUE(failed.error);
  EXPECT_EQ(failed.error->code, ErrorCode::kDevice);
  const auto refused = client.classify(images(4), {2, 2}, 10); // a shape the model does not take
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->code, ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error->message.find("shape"), std::string::npos);
}

/// Answers every request with fixed bytes.
void answer(int fd, const std::string &bytes) {
  std::array<char, 65536> request{};
  static_cast<void>(::recv(fd, request.data(), request.size(), 0));
  static_cast<void>(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

std::string ok(const std::string &body) {
  return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

TEST(Client, RubbishAnswersAreErrors) {
  const std::string head = R"({"model_name":"fake","id":"0","outputs":[)";
  const std::string p = R"({"name":"probabilities","datatype":"FP32","shape":[1,10],"data":[)";
  const std::pair<const char *, std::string> cases[] = {
      {"not HTTP", "220 smtp.example ESMTP\r\n"},
      {"binary", std::string("\x00\x01\x02\xff\xfe\r\n\r\n", 9)},
      {"nothing", ""},
      {"cut header", "HTTP/1.1 200 OK\r\nContent-Le"},
      {"cut body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"model"},
      {"length not a number", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"},
      {"HTML", ok("<html>It works!</html>")},
      {"empty", ok("")},
      {"empty object", ok("{}")},
      {"another model",
       ok(R"({"model_name":"x","id":"0","outputs":[)" + p + "1,0,0,0,0,0,0,0,0,0]}]}")},
      {"another id",
       ok(R"({"model_name":"fake","id":"9","outputs":[)" + p + "1,0,0,0,0,0,0,0,0,0]}]}")},
      {"no id", ok(R"({"model_name":"fake","outputs":[)" + p + "1,0,0,0,0,0,0,0,0,0]}]}")},
      {"no probabilities", ok(head + R"({"name":"x","datatype":"FP32","shape":[1],"data":[1]}]})")},
      {"too few", ok(head + p + "1,0]}]}")},
      {"two images", ok(head + R"({"name":"probabilities","datatype":"FP32","shape":[2,5],)" +
                        R"("data":[1,0,0,0,0,0,0,0,0,0]}]})")},
      {"integers", ok(head + R"({"name":"probabilities","datatype":"INT64","shape":[1,10],)" +
                      R"("data":[1,0,0,0,0,0,0,0,0,0]}]})")},
      {"null", ok(head + p + "null,0,0,0,0,0,0,0,0,0]}]}")},
      {"negative", ok(head + p + "1.5,-0.5,0,0,0,0,0,0,0,0]}]}")},
      {"no distribution", ok(head + p + "0.5,0,0,0,0,0,0,0,0,0]}]}")},
      {"redirect", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"},
      {"teapot", "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n"},
  };
  for (const auto &[why, bytes] : cases) {
    test::OddServer odd([bytes = bytes](int fd) { answer(fd, bytes); });
    DcClient client = client_for(options_for(odd.url()));
    const auto begin = std::chrono::steady_clock::now();
    const auto answers = client.classify(images(1), {1, 2, 2}, 10);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s) << why;
    EXPECT_EQ(answers.answered, 0U) << why;
    ASSERT_TRUE(answers.error) << why;
    EXPECT_NE(answers.error->message.find(odd.url()), std::string::npos)
        << why << ": " << answers.error->message;
  }
}

TEST(Client, SlowAnswersTimeOutHoweverTheyTrickle) {
  test::OddServer *server = nullptr;
  test::OddServer odd([&](int fd) {
    for (int i = 0; i < 200 && !server->stopping(); ++i) {
      const std::string_view text = "HTTP/1.1 200 OK\r\n";
      if (::send(fd, &text[static_cast<std::size_t>(i) % text.size()], 1, MSG_NOSIGNAL) <= 0 ||
          i >= 16) {
        break;
      }
      std::this_thread::sleep_for(100ms);
    }
    std::this_thread::sleep_for(300ms);
  });
  server = &odd;
  DcClientOptions options = options_for(odd.url());
  options.connections = 1;
  DcClient client = client_for(options);
  const auto begin = std::chrono::steady_clock::now();
  const auto one = client.ready();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1500ms);
  ASSERT_FALSE(one);
  EXPECT_EQ(one.error().code, ErrorCode::kTimeout);
  EXPECT_NE(one.error().message.find("500 ms"), std::string::npos);
}

TEST(Client, SilentServerAndManyRequestsGiveUpEarly) {
  test::OddServer *server = nullptr;
  test::OddServer odd([&](int fd) {
    static_cast<void>(fd);
    for (int i = 0; i < 30 && !server->stopping(); ++i) {
      std::this_thread::sleep_for(100ms);
    }
  });
  server = &odd;
  DcClient client = client_for(options_for(odd.url()));
  const auto begin = std::chrono::steady_clock::now();
  const auto answers = client.classify(images(1000), {1, 2, 2}, 10, 10); // 100 requests
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);               // not 100 timeouts
  EXPECT_EQ(answers.answered, 0U);
  ASSERT_TRUE(answers.error);
  EXPECT_EQ(answers.error->code, ErrorCode::kTimeout);
}

TEST(Client, HugeAnswerIsCutOff) {
  test::OddServer odd(
      [](int fd) { answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"); });
  DcClient client = client_for(options_for(odd.url()));
  const auto answers = client.classify(images(1), {1, 2, 2}, 10);
  ASSERT_TRUE(answers.error);
  EXPECT_EQ(answers.error->code, ErrorCode::kParse);
  EXPECT_NE(answers.error->message.find("larger than"), std::string::npos);
}

} // namespace
} // namespace kestrel::serve
