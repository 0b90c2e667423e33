// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kestrel/serve/dc_client.hpp"
#include "kestrel/serve/dc_server.hpp"
#include "tests/host/serve/test_serve_util.hpp"

namespace kestrel::serve {
namespace {

using namespace std::chrono_literals;
using test::body_of;
using test::get;
using test::post;
using test::RawSocket;
using test::status_of;
using Json = nlohmann::json;

constexpr const char *kInfer = "/v2/models/fake/infer";
const std::string kGood =
    R"({"id":"a1","inputs":[{"name":"image","shape":[1,1,2,2],"datatype":"UINT8","data":[7,0,0,0]}]})";

class Server : public ::testing::Test {
protected:
  void start(const DcServerOptions &options = {}) {
    auto started = DcServer::start(options, test::fake_factory(control));
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(started).value();
  }
  std::string ask(const std::string &request) {
    RawSocket socket(server->port());
    EXPECT_TRUE(socket.connected());
    EXPECT_TRUE(socket.send(request));
    return socket.response();
  }
  void TearDown() override { control.release(); }

  test::FakeControl control;
  std::unique_ptr<DcServer> server;
};

TEST_F(Server, HealthAndMetadata) {
  start();
  const auto live = ask(get("/v2/health/live"));
  EXPECT_EQ(status_of(live), 200);
  EXPECT_EQ(Json::parse(body_of(live))["live"], true);
  EXPECT_EQ(status_of(ask(get("/v2/health/ready"))), 200);
  const Json metadata = Json::parse(body_of(ask(get("/v2"))));
  EXPECT_EQ(metadata["name"], "kestrel");
  EXPECT_TRUE(metadata["version"].is_string());
  EXPECT_EQ(metadata["extensions"], Json::array()); // none is implemented
  for (const char *path : {"/v2/models/fake", "/v2/models/fake/versions/1", "/v2/models/f%61ke"}) {
    const auto answer = ask(get(path));
    ASSERT_EQ(status_of(answer), 200) << path;
    const Json model = Json::parse(body_of(answer));
    EXPECT_EQ(model["name"], "fake");
    EXPECT_EQ(model["inputs"][0]["shape"], Json({-1, 1, 2, 2}));
    EXPECT_EQ(model["outputs"][0]["name"], "probabilities");
    EXPECT_EQ(model["outputs"][0]["shape"], Json({-1, 10}));
  }
  EXPECT_EQ(status_of(ask(get("/v2/models/fake/ready"))), 200);
  EXPECT_EQ(status_of(ask(get("/v2/models/fake/versions/1/ready"))), 200);
}

TEST_F(Server, HeadIsGetWithoutTheBody) {
  start();
  RawSocket socket(server->port()); // one connection: a body too many would spoil what follows
  const auto length = [](const std::string &answer) {
    const std::size_t at = answer.find("Content-Length: ");
    return at == std::string::npos ? -1 : std::stoi(answer.substr(at + 16));
  };
  const auto head_of = [&](const std::string &path) {
    EXPECT_TRUE(socket.send(fmt::format("HEAD {} HTTP/1.1\r\nHost: x\r\n\r\n", path)));
    return socket.header();
  };
  for (const char *path : {"/v2/health/live", "/v2/health/ready", "/v2", "/v2/models/fake",
                           "/v2/models/fake/ready", "/v2/models/none", "/nothing"}) {
    const auto head = head_of(path);
    EXPECT_TRUE(socket.send(get(path)));
    const auto full = socket.response();
    EXPECT_EQ(status_of(head), status_of(full)) << path;
    EXPECT_EQ(length(head), length(full)) << path;
    EXPECT_EQ(static_cast<int>(body_of(full).size()), length(head)) << path;
  }
  const auto infer = head_of(kInfer);
  EXPECT_EQ(status_of(infer), 405);
  EXPECT_NE(infer.find("Allow: POST\r\n"), std::string::npos) << infer;
  EXPECT_TRUE(socket.send(post("/v2/health/live", "{}")));
  EXPECT_NE(socket.response().find("Allow: GET, HEAD\r\n"), std::string::npos);
  server->begin_drain();
  EXPECT_EQ(status_of(head_of("/v2/health/ready")), 503);
}

TEST_F(Server, NullMembersAreAbsent) {
  start();
  const auto answer = ask(post(
      kInfer, R"({"id":null,"parameters":null,"outputs":null,"inputs":[{"name":"image",)"
              R"("shape":[1,1,2,2],"datatype":"UINT8","data":[7,0,0,0],"parameters":null}]})"));
  ASSERT_EQ(status_of(answer), 200) << answer;
  EXPECT_FALSE(Json::parse(body_of(answer)).contains("id"));
  EXPECT_EQ(Json::parse(body_of(answer))["outputs"].size(), 2U);
  const auto refused =
      ask(post(kInfer, R"({"parameters":{"timeout":5},"inputs":[{"name":"image","shape":[1,1,2,2],)"
                       R"("datatype":"UINT8","data":[7,0,0,0]}]})"));
  EXPECT_EQ(status_of(refused), 400);
  EXPECT_NE(body_of(refused).find("timeout"), std::string::npos) << refused;
}

TEST_F(Server, TheFilesOwnFormOfAnImageIsTakenToo) {
  control.other_shape = {2, 2, 1};
  start();
  for (const char *shape : {"[1,1,2,2]", "[1,2,2,1]"}) {
    const auto answer = ask(post(kInfer, fmt::format(R"({{"inputs":[{{"name":"image","shape":{},)"
                                                     R"("datatype":"UINT8","data":[7,0,0,0]}}]}})",
                                                     shape)));
    ASSERT_EQ(status_of(answer), 200) << answer;
    EXPECT_EQ(Json::parse(body_of(answer))["outputs"][1]["data"], Json({7}));
  }
  const auto other = ask(post(kInfer, R"({"inputs":[{"name":"image","shape":[1,2,1,2],)"
                                      R"("datatype":"UINT8","data":[7,0,0,0]}]})"));
  EXPECT_EQ(status_of(other), 400);
}

TEST_F(Server, InferEchoesIdAndClassifiesBatches) {
  start();
  const auto answer = ask(post(kInfer, kGood));
  ASSERT_EQ(status_of(answer), 200) << answer;
  const Json json = Json::parse(body_of(answer));
  EXPECT_EQ(json["id"], "a1");
  EXPECT_EQ(json["model_name"], "fake");
  EXPECT_EQ(json["outputs"][0]["shape"], Json({1, 10}));
  EXPECT_EQ(json["outputs"][1]["data"], Json({7}));

  // FP32 0..1 and INT8 (pixel - 128) mean the same images; a batch keeps its order.
  const auto floats = ask(post(
      kInfer,
      R"({"inputs":[{"name":"image","shape":[2,1,2,2],"datatype":"FP32","data":[[[[0.011764706,0],[0,0]]],[[[0.019607844,1],[1,1]]]]}]})"));
  ASSERT_EQ(status_of(floats), 200) << floats;
  EXPECT_EQ(Json::parse(body_of(floats))["outputs"][1]["data"], Json({3, 5}));
  EXPECT_FALSE(Json::parse(body_of(floats)).contains("id"));
  const auto ints = ask(post(
      "/v2/models/fake/versions/1/infer",
      R"({"inputs":[{"name":"image","shape":[1,1,2,2],"datatype":"INT8","data":[-120,127,0,0]}],"outputs":[{"name":"class"}]})"));
  ASSERT_EQ(status_of(ints), 200) << ints;
  ASSERT_EQ(Json::parse(body_of(ints))["outputs"].size(), 1U);
  EXPECT_EQ(Json::parse(body_of(ints))["outputs"][0]["data"], Json({8}));
  EXPECT_EQ(server->stats().inferences, 3U);
  EXPECT_EQ(server->stats().images, 4U);
}

TEST_F(Server, ClientFaultsAreNever500) {
  DcServerOptions options;
  options.max_body_bytes = 4096;
  options.max_batch = 8;
  start(options);
  const auto infer = [](const std::string &tensor) {
    return post(kInfer, R"({"inputs":[{"name":"image",)" + tensor + "}]}");
  };
  struct Case {
    const char *why;
    std::string request;
    int status;
  };
  const Case cases[] = {
      {"unknown path", get("/"), 404},
      {"unknown path below v2", get("/v2/nothing"), 404},
      {"final slash", get("/v2/"), 404},
      {"unknown model", get("/v2/models/other"), 404},
      {"unknown version", get("/v2/models/fake/versions/2"), 404},
      {"infer on unknown model", post("/v2/models/other/infer", kGood), 404},
      {"not UTF-8 in the path", get("/v2/models/%ff%fe"), 404},
      {"bad escape", get("/v2/models/%zz"), 400},
      {"cut escape", get("/v2/models/%f"), 400},
      {"GET infer", get(kInfer), 405},
      {"POST health", post("/v2/health/live", "{}"), 405},
      {"DELETE", "DELETE /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
      {"unknown method", "BREW /v2 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
      {"not HTTP", "hello, is this the data centre?\r\n\r\n", 400},
      {"binary garbage", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\r\n\r\n", 14), 400},
      {"HTTP/9.9", "GET /v2 HTTP/9.9\r\n\r\n", 400},
      {"bad content length", "POST /v2 HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400},
      {"bad chunk", post(kInfer, "").insert(post(kInfer, "").find("Content"), "X-"), 400},
      {"empty body", post(kInfer, ""), 400},
      {"body not JSON", post(kInfer, "not JSON"), 400},
      {"body cut JSON", post(kInfer, kGood.substr(0, 40)), 400},
      {"deep JSON", post(kInfer, std::string(4000, '[')), 400},
      {"NaN", infer(R"("shape":[1,1,2,2],"datatype":"FP32","data":[NaN,0,0,0])"), 400},
      {"null", infer(R"("shape":[1,1,2,2],"datatype":"FP32","data":[null,0,0,0])"), 400},
      {"1e999", infer(R"("shape":[1,1,2,2],"datatype":"FP32","data":[1e999,0,0,0])"), 400},
      {"not 0..1", infer(R"("shape":[1,1,2,2],"datatype":"FP32","data":[255,0,0,0])"), 400},
      {"wrong shape", infer(R"("shape":[1,4],"datatype":"UINT8","data":[1,2,3,4])"), 400},
      {"no batch", infer(R"("shape":[1,2,2],"datatype":"UINT8","data":[1,2,3,4])"), 400},
      {"transposed", infer(R"("shape":[1,2,2,1],"datatype":"UINT8","data":[1,2,3,4])"), 400},
      {"wrong count", infer(R"("shape":[2,1,2,2],"datatype":"UINT8","data":[1,2,3,4])"), 400},
      {"wrong type", infer(R"("shape":[1,1,2,2],"datatype":"INT64","data":[1,2,3,4])"), 400},
      {"unknown type", infer(R"("shape":[1,1,2,2],"datatype":"BYTES","data":["a"])"), 400},
      {"batch too large",
       infer(
           R"("shape":[9,1,2,2],"datatype":"UINT8","data":[1,2,3,4,1,2,3,4,1,2,3,4,1,2,3,4,1,2,3,)"
           R"(4,1,2,3,4,1,2,3,4,1,2,3,4,1,2,3,4])"),
       400},
      {"wrong name",
       post(kInfer,
            R"({"inputs":[{"name":"x","shape":[1,1,2,2],"datatype":"UINT8","data":[1,2,3,4]}]})"),
       400},
      {"unknown output",
       post(kInfer, kGood.substr(0, kGood.size() - 1) + R"(,"outputs":[{"name":"logits"}]})"), 400},
      {"binary output asked",
       post(kInfer,
            kGood.substr(0, kGood.size() - 1) + R"(,"parameters":{"binary_data_output":true}})"),
       400},
      {"binary extension", post(kInfer, kGood, "Inference-Header-Content-Length: 10\r\n"), 400},
      {"compressed", post(kInfer, kGood, "Content-Encoding: gzip\r\n"), 400},
      {"body too large", post(kInfer, std::string(5000, ' ')), 413},
      {"huge content length",
       "POST /v2/models/fake/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
       413},
      {"chunked too large",
       "POST /v2/models/fake/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
       "chunked\r\n\r\n1400\r\n" +
           std::string(0x1400, ' ') + "\r\n0\r\n\r\n",
       413},
      {"header too large",
       "GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + std::string(9000, 'x') + "\r\n\r\n", 431},
  };
  for (const Case &c : cases) {
    const std::string answer = ask(c.request);
    EXPECT_EQ(status_of(answer), c.status) << c.why << ": " << answer;
    const Json json = Json::parse(body_of(answer), nullptr, false);
    EXPECT_TRUE(json.is_object() && json["error"].is_string()) << c.why << ": " << answer;
    if (c.status == 405) {
      EXPECT_NE(answer.find("Allow: "), std::string::npos) << answer;
    }
  }
  EXPECT_EQ(server->stats().server_errors, 0U);
  EXPECT_EQ(control.calls, 0);                         // no fault reached the model
  EXPECT_EQ(status_of(ask(post(kInfer, kGood))), 200); // and the server is as good as new
}

TEST_F(Server, TruncatedRequestIsAnsweredAndClosed) {
  start();
  RawSocket socket(server->port());
  socket.send(
      "POST /v2/models/fake/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"inputs\"");
  socket.end_sending();
  EXPECT_EQ(status_of(socket.response()), 400);
  EXPECT_TRUE(socket.closes());
}

TEST_F(Server, ModelFailureIs500) {
  start();
  control.fails = true;
  const auto answer = ask(post(kInfer, kGood));
  EXPECT_EQ(status_of(answer), 500);
  EXPECT_NE(body_of(answer).find("fails as told"), std::string::npos);
  control.fails = false;
  control.wrong_size = true;
  EXPECT_EQ(status_of(ask(post(kInfer, kGood))), 500);
  control.wrong_size = false;
  EXPECT_EQ(status_of(ask(post(kInfer, kGood))), 200);
}

TEST_F(Server, KeepAliveAndPipelining) {
  start();
  RawSocket socket(server->port());
  socket.send(post(kInfer, kGood) + get("/v2/health/live") + post(kInfer, kGood) + get("/nothing") +
              get("/v2"));
  const int expected[] = {200, 200, 200, 404, 200};
  for (const int status : expected) {
    EXPECT_EQ(status_of(socket.response()), status);
  }
  socket.send("GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(status_of(socket.response()), 200);
  EXPECT_TRUE(socket.closes());
  EXPECT_EQ(server->stats().connections, 1U);
}

TEST_F(Server, ExpectContinueAndChunked) {
  start();
  RawSocket socket(server->port());
  socket.send(fmt::format(
      "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n", kInfer,
      kGood.size()));
  EXPECT_EQ(status_of(socket.response()), 100);
  socket.send(kGood);
  EXPECT_EQ(status_of(socket.response()), 200);
  socket.send(fmt::format(
      "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
      kInfer, kGood.size(), kGood));
  EXPECT_EQ(status_of(socket.response()), 200);
}

TEST_F(Server, FullQueueIsRejectedAtOnce) {
  DcServerOptions options;
  options.workers = 1;
  options.queue_limit = 2;
  start(options);
  control.hold();
  std::vector<std::unique_ptr<RawSocket>> waiting;
  const auto send = [&] {
    waiting.push_back(std::make_unique<RawSocket>(server->port()));
    waiting.back()->send(post(kInfer, kGood));
  };
  send();
  while (control.calls == 0) { // the worker has the first
    std::this_thread::sleep_for(1ms);
  }
  send();
  send();
  std::this_thread::sleep_for(50ms); // both are in the queue
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = ask(post(kInfer, kGood));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
  EXPECT_EQ(status_of(answer), 503) << answer;
  EXPECT_NE(answer.find("Retry-After: 1"), std::string::npos);
  EXPECT_NE(answer.find("queue is full"), std::string::npos);
  EXPECT_EQ(status_of(ask(get("/v2/health/ready"))), 200); // health is answered all the while
  control.release();
  for (auto &socket : waiting) {
    EXPECT_EQ(status_of(socket->response()), 200);
  }
  EXPECT_EQ(server->stats().rejected, 1U);
}

TEST_F(Server, ManyClientsAtATime) {
  DcServerOptions options;
  options.workers = 2;
  start(options);
  std::atomic<int> right = 0;
  std::vector<std::thread> clients;
  clients.reserve(8);
  for (int t = 0; t < 8; ++t) {
    clients.emplace_back([&, t] {
      RawSocket socket(server->port());
      for (int i = 0; i < 25; ++i) {
        const int pixel = (t * 31 + i * 7) % 256;
        socket.send(post(
            kInfer, fmt::format(R"({{"id":"{}-{}","inputs":[{{"name":"image","shape":[1,1,2,2],)"
                                R"("datatype":"UINT8","data":[{},1,2,3]}}]}})",
                                t, i, pixel)));
        const auto answer = socket.response();
        const Json json = Json::parse(body_of(answer), nullptr, false);
        if (status_of(answer) == 200 && json["id"] == fmt::format("{}-{}", t, i) &&
            json["outputs"][1]["data"][0] == pixel % 10) {
          ++right;
        }
      }
    });
  }
  for (auto &client : clients) {
    client.join();
  }
  EXPECT_EQ(right, 8 * 25);
}

TEST_F(Server, SlowAndIdleClientsAreClosed) {
  DcServerOptions options;
  options.idle_timeout = 150ms;
  options.body_timeout = 150ms;
  start(options);
  RawSocket idle(server->port());
  EXPECT_TRUE(idle.closes(3s));
  RawSocket half_header(server->port());
  half_header.send("GET /v2 HT");
  EXPECT_TRUE(half_header.closes(3s));
  RawSocket half_body(server->port());
  half_body.send("POST /v2/models/fake/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{");
  EXPECT_TRUE(half_body.closes(3s));
  RawSocket dripping(server->port()); // a byte now and then does not extend the time
  bool open = true;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 60 && open; ++i) {
    open = dripping.send("G") && !dripping.closes(50ms);
  }
  EXPECT_FALSE(open);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2500ms);
}

TEST_F(Server, ClientThatNeverReadsIsClosed) {
  DcServerOptions options;
  options.write_timeout = 200ms;
  start(options);
  RawSocket deaf(server->port());
  // Pipelined requests whose answers fill the socket buffers, which nobody empties.
  std::string body =
      R"({"inputs":[{"name":"image","shape":[512,1,2,2],"datatype":"UINT8","data":[)";
  for (int i = 0; i < 2048; ++i) {
    body += i == 0 ? "9" : ",9";
  }
  const std::string request = post(kInfer, body + "]}]}");
  std::thread sender([&] {
    for (int i = 0; i < 2000 && deaf.send(request); ++i) {
    }
  });
  sender.join(); // send() fails once the server has closed
  EXPECT_EQ(status_of(ask(get("/v2/health/live"))), 200);
  EXPECT_LT(server->stats().requests, 2000U);
}

TEST_F(Server, TooManyConnections) {
  DcServerOptions options;
  options.max_connections = 3;
  start(options);
  std::vector<std::unique_ptr<RawSocket>> open;
  for (int i = 0; i < 3; ++i) {
    open.push_back(std::make_unique<RawSocket>(server->port()));
    open.back()->send(get("/v2"));
    EXPECT_EQ(status_of(open.back()->response()), 200);
  }
  RawSocket one_more(server->port());
  one_more.send(get("/v2"));
  EXPECT_EQ(status_of(one_more.response()), 503);
  open.pop_back(); // room again, soon
  int status = 0;
  for (int i = 0; i < 100 && status != 200; ++i) {
    std::this_thread::sleep_for(30ms);
    status = status_of(ask(get("/v2")));
  }
  EXPECT_EQ(status, 200);
}

TEST_F(Server, DrainFailsReadinessFirstAndFinishesWhatItHas) {
  start();
  RawSocket observer(server->port());
  observer.send(get("/v2/health/ready"));
  EXPECT_EQ(status_of(observer.response()), 200);
  control.hold();
  RawSocket accepted(server->port());
  accepted.send(post(kInfer, kGood));
  while (control.calls == 0) {
    std::this_thread::sleep_for(1ms);
  }
  std::atomic<bool> drained = false;
  bool result = false;
  std::thread drain([&] {
    result = server->drain_and_stop(10s);
    drained = true;
  });
  // The listener still answers while work is under way: not ready, alive, and no new work.
  std::string ready;
  do {
    std::this_thread::sleep_for(5ms);
    ready = ask(get("/v2/health/ready"));
  } while (status_of(ready) == 200);
  EXPECT_EQ(status_of(ready), 503);
  EXPECT_EQ(status_of(ask(get("/v2/models/fake/ready"))), 503);
  EXPECT_EQ(status_of(ask(get("/v2/health/live"))), 200);
  const auto refused = ask(post(kInfer, kGood));
  EXPECT_EQ(status_of(refused), 503);
  EXPECT_NE(refused.find("Retry-After"), std::string::npos);
  EXPECT_FALSE(drained);
  control.release();
  EXPECT_EQ(status_of(accepted.response()), 200); // accepted work is answered
  EXPECT_TRUE(accepted.closes());
  drain.join();
  EXPECT_TRUE(result);
  EXPECT_TRUE(observer.closes());                      // idle connections end
  EXPECT_FALSE(RawSocket(server->port()).connected()); // the listener is gone
}

TEST_F(Server, UncertainFramingEndsTheConnection) {
  start();
  const std::string hidden = get("/v2");
  for (const char *coding : {"gzip", "identity", "chunked, identity", "gzip, chunked",
                             "chunked\r\nTransfer-Encoding: chunked"}) {
    RawSocket socket(server->port());
    socket.send(fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {}\r\n\r\n{}",
                            kInfer, coding, hidden));
    EXPECT_EQ(status_of(socket.response()), 400) << coding;
    EXPECT_EQ(socket.response(), "") << coding; // the hidden request is not answered
    EXPECT_TRUE(socket.closes()) << coding;
  }
  EXPECT_EQ(status_of(ask("GET /v2 HTTP/1.1\r\n\r\n")), 400); // no Host
  EXPECT_EQ(status_of(ask("GET http://x:1/v2 HTTP/1.1\r\nHost: x\r\n\r\n")), 200);
}

TEST_F(Server, DrainingWaitsForAcceptedRequestsOnly) {
  start();
  RawSocket half(server->port());
  half.send("POST /v2/models/fake/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{");
  std::this_thread::sleep_for(50ms);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(server->drain_and_stop(10s));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(Server, NoMemoryForARequestIs503AndTheServerGoesOn) {
  control.no_memory = true;
  start();
  EXPECT_EQ(status_of(ask(post(kInfer, kGood))), 503);
  control.no_memory = false;
  EXPECT_EQ(status_of(ask(post(kInfer, kGood))), 200);
}

TEST_F(Server, StopsWithConnectionsInEveryState) {
  start();
  control.hold();
  RawSocket idle(server->port());
  RawSocket half(server->port());
  half.send("POST /v2/models/fake/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{");
  RawSocket running(server->port());
  running.send(post(kInfer, kGood));
  while (control.calls == 0) {
    std::this_thread::sleep_for(1ms);
  }
  std::thread later([&] {
    std::this_thread::sleep_for(100ms);
    control.release();
  });
  EXPECT_FALSE(server->drain_and_stop(20ms)); // not everything was answered in time
  later.join();
  EXPECT_TRUE(idle.closes());
  EXPECT_TRUE(half.closes());
}

TEST_F(Server, StartErrorsNameTheCause) {
  start();
  DcServerOptions options;
  options.port = server->port();
  const auto taken = DcServer::start(options, test::fake_factory(control));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kIo);
  EXPECT_NE(taken.error().message.find(std::to_string(server->port())), std::string::npos);
  options.address = "nowhere";
  EXPECT_EQ(DcServer::start(options, test::fake_factory(control)).error().code,
            ErrorCode::kInvalidArgument);
  options = {};
  options.workers = 0;
  EXPECT_EQ(DcServer::start(options, test::fake_factory(control)).error().code,
            ErrorCode::kInvalidArgument);
  const auto no_model = DcServer::start({}, []() -> Result<std::unique_ptr<Backend>> {
    return fail(ErrorCode::kNotFound, "x.onnx: no such model file");
  });
  ASSERT_FALSE(no_model);
  EXPECT_EQ(no_model.error().message, "x.onnx: no such model file");
}

} // namespace
} // namespace kestrel::serve
