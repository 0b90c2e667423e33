// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The subcommands but demo: what they do, and how they refuse.
#include <algorithm>
#include <chrono>
#include <thread>

#include "kestrel/npy.hpp"
#include "kestrel/serve/dc_client.hpp"
#include "kestrel/serve/dc_process.hpp"
#include "kestrel/serve/fashion_mnist.hpp"
#include "tests/e2e/program.hpp"

namespace kestrel::e2e {
namespace {

using namespace std::chrono_literals;

const std::string kEdge = KESTREL_MODELS_DIR "/edge/fmnist_edge_int8.tflite";
const std::string kDc = KESTREL_MODELS_DIR "/dc/fmnist_dc.onnx";

class Program : public ProgramTest {
protected:
  /// A .npy of `count` images for the edge model, made of a simple pattern.
  void write_input(const std::string &name, std::int64_t count) const {
    std::vector<std::int8_t> values(static_cast<std::size_t>(count) * 784);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<std::int8_t>(i * 31 % 251);
    }
    ASSERT_TRUE(save_npy(path(name), make_npy<std::int8_t>({count, 28, 28, 1}, values)));
  }
};

TEST_F(Program, HelpTeaches) {
  const Outcome top = run({"--help"});
  EXPECT_EQ(top.status, 0);
  for (const char *command : {"run", "compile", "calibrate", "dc", "demo", "info"}) {
    EXPECT_NE(top.out.find(command), std::string::npos);
    const Outcome help = run({command, "--help"});
    EXPECT_EQ(help.status, 0) << command;
    EXPECT_NE(help.out.find("Examples:"), std::string::npos) << command;
    EXPECT_NE(help.out.find("--json"), std::string::npos) << command;
  }
  EXPECT_EQ(run({"--version"}).status, 0);
}

TEST_F(Program, WrongUseIsRefused) {
  write("random.bin", std::string(300, 'x'));
  write("cut.tflite", read(kEdge).substr(0, 5000));
  write("empty", "");
  write("notes.npy", "hello");
  write_input("good.npy", 1);
  write_input("none_in.npy", 0);
  ASSERT_TRUE(
      save_npy(path("floats.npy"), make_npy<float>({1, 28, 28, 1}, std::vector<float>(784))));
  ASSERT_TRUE(save_npy(path("small.npy"),
                       make_npy<std::int8_t>({1, 27, 28, 1}, std::vector<std::int8_t>(756))));
  write("table.json", "{}");
  struct Case {
    std::vector<std::string> arguments;
    std::vector<std::string> words; ///< that standard error must contain
  };
  const std::string good = path("good.npy");
  const Case cases[] = {
      {{}, {"subcommand"}},
      {{"fly"}, {"fly"}},
      {{"run"}, {"required"}},
      {{"run", path("none.tflite"), "--input", good}, {"none.tflite"}},
      {{"run", path("random.bin"), "--input", good}, {"random.bin"}},
      {{"run", path("empty"), "--input", good}, {"empty"}},
      {{"run", path("cut.tflite"), "--input", good}, {"cut.tflite"}},
      {{"run", kDc, "--input", good}, {"fmnist_dc.onnx"}},
      {{"run", kEdge, "--input", path("none.npy")}, {"none.npy"}},
      {{"run", kEdge, "--input", path("notes.npy")}, {"notes.npy"}},
      {{"run", kEdge, "--input", path("floats.npy")}, {"floats.npy", "float32", "int8"}},
      {{"run", kEdge, "--input", path("small.npy")}, {"small.npy", "1, 27, 28, 1", "28"}},
      {{"run", kEdge, "--input", good, "--config", "huge"}, {"huge", "edge"}},
      {{"run", kEdge, "--input", good, "--device", "fpga"}, {"fpga", "remote:URL"}},
      {{"run", kEdge, "--input", good, "--device", "remote:"}, {"names no board", "tcp://"}},
      {{"run", kEdge, "--input", good, "--device", "remote:" + path("tty")},
       {"tty", "No such file"}},
      {{"run", kEdge, "--input", good, "--device", "remote:tcp://127.0.0.1:1"},
       {"127.0.0.1:1", "refused"}},
      {{"run", kEdge, "--input", good, "--output", path("no/such/y.npy")}, {"y.npy"}},
      {{"run", kEdge, "--input", good, "--json", path("no/such/y.json")}, {"y.json"}},
      {{"compile", path("random.bin")}, {"random.bin"}},
      {{"compile", kEdge, "-o", path("no/such/net.kpkg")}, {"net.kpkg"}},
      {{"info", path("random.bin")}, {"random.bin"}},
      {{"dc", "--model", path("none.onnx"), "--port", "0"}, {"none.onnx"}},
      {{"dc", "--model", path("random.bin"), "--port", "0"}, {"random.bin"}},
      {{"run", kEdge, "--input", path("none_in.npy")},
       {"none_in.npy", "no inputs", "0, 28, 28, 1"}},
      {{"run", kEdge}, {"--input"}},
      {{"run", kEdge, "--input", good, "--read-latency", "99999999999"}, {"1 to 1000000"}},
      {{"run", kEdge, "--input", good, "--seed", "-1"}, {"0 to 18446744073709551615"}},
      {{"dc", "--model", kDc, "--port", "70000"}, {"--port", "70000", "0 to 65535"}},
      {{"dc", "--model", kDc, "--port", "-1"}, {"--port", "-1", "0 to 65535"}},
      {{"dc", "--model", kDc, "--port", "http"}, {"--port", "http", "0 to 65535"}},
      {{"dc", "--model", kDc, "--drain", "99999999999"}, {"--drain", "0 to 1000000"}},
      {{"aggregator", "--port", "99999"}, {"--port", "99999", "0 to 65535"}},
      {{"aggregator", "--max-jobs", "99999999999"}, {"--max-jobs", "1 to 65536"}},
      {{"demo", "--jobs", "99999999999"}, {"--jobs", "0 to 65536"}},
      {{"esa", "campaign", "--loss", "1.5"}, {"--loss", "1.5", "0 to 0.5"}},
      {{"thc", "solve", "--granularity", "99999999999"}, {"--granularity", "0 to 4294967295"}},
      {{"dc", "--model", kDc, "--address", "nowhere"}, {"nowhere"}},
      {{"calibrate", "--data", path("nodata")}, {"nodata", "dataset-fashion-mnist"}},
      {{"calibrate", "--held-out", "60001", "--output", path("t.json")}, {"60000"}},
      {{"demo", "--data", path("nodata")}, {"nodata", "dataset-fashion-mnist"}},
      {{"demo", "--models", path("nomodels")}, {"nomodels"}},
      {{"demo", "--thresholds", path("table.json")}, {"table.json"}},
      {{"demo", "--min-accuracy", "1.5"}, {"min-accuracy"}},
      {{"demo", "--images", "10", "--rtl-images", "1", "--dc", "ftp://x"}, {"ftp://x"}},
  };
  for (const Case &c : cases) {
    const Outcome outcome = run(c.arguments);
    std::string line;
    for (const std::string &argument : c.arguments) {
      line += " " + argument;
    }
    EXPECT_GT(outcome.status, 0) << line;
    EXPECT_LT(outcome.status, 128) << line << "\n" << outcome.err; // no crash
    for (const std::string &word : c.words) {
      EXPECT_NE(outcome.err.find(word), std::string::npos) << line << "\n" << outcome.err;
    }
  }
}

TEST_F(Program, RunCompileAndPackageAgree) {
  write_input("x.npy", 3);
  const Outcome direct = run({"run", kEdge, "--input", path("x.npy"), "--output", path("y.npy"),
                              "--json", path("y.json")});
  ASSERT_EQ(direct.status, 0) << direct.err;
  const auto y = load_npy(path("y.npy"));
  ASSERT_TRUE(y) << y.error().message;
  EXPECT_EQ(y->type, NpyType::kInt8);
  EXPECT_EQ(y->shape, (std::vector<std::int64_t>{3, 10}));
  const nlohmann::json json = read_json("y.json");
  ASSERT_EQ(json["inferences"].size(), 3U);
  EXPECT_EQ(json["inferences"][0]["mac_lanes"], 128);
  EXPECT_GT(json["inferences"][0]["macs"].get<int>(), 100000);
  EXPECT_GT(json["inferences"][0]["cycles"].get<int>(), 1000);

  const Outcome compiled =
      run({"compile", kEdge, "-o", path("net.kpkg"), "--json", path("net.json")});
  ASSERT_EQ(compiled.status, 0) << compiled.err;
  EXPECT_NE(compiled.out.find("CONV_2D"), std::string::npos);
  EXPECT_EQ(read_json("net.json")["macs"], json["inferences"][0]["macs"]);
  const Outcome packaged =
      run({"run", path("net.kpkg"), "--input", path("x.npy"), "--output", path("z.npy")});
  ASSERT_EQ(packaged.status, 0) << packaged.err;
  EXPECT_EQ(read(path("y.npy")), read(path("z.npy")));
  EXPECT_NE(run({"run", path("net.kpkg"), "--config", "kria", "--input", path("x.npy")})
                .err.find("compiled for configuration 'edge'"),
            std::string::npos);
  write("short.kpkg", read(path("net.kpkg")).substr(0, 2000));
  const Outcome damaged = run({"run", path("short.kpkg"), "--input", path("x.npy")});
  EXPECT_EQ(damaged.status, 1);
  EXPECT_NE(damaged.err.find("short.kpkg"), std::string::npos);
  const Outcome info = run({"info", path("net.kpkg"), "--json", "-"});
  EXPECT_EQ(nlohmann::json::parse(info.out, nullptr, false)["config"], "edge");
}

TEST_F(Program, RtlAndFastAgree) {
  write_input("x.npy", 2);
  for (const char *device : {"rtl", "fast"}) {
    const Outcome outcome =
        run({"run", kEdge, "--device", device, "--input", path("x.npy"), "--output",
             path(std::string(device) + ".npy"), "--json", path(std::string(device) + ".json")});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  EXPECT_EQ(read(path("rtl.npy")), read(path("fast.npy")));
  const nlohmann::json rtl = read_json("rtl.json");
  const nlohmann::json fast = read_json("fast.json");
  EXPECT_EQ(rtl["inferences"][0]["cycles_basis"], "simulated");
  EXPECT_EQ(rtl["inferences"][1]["confidence"], fast["inferences"][1]["confidence"]);
  EXPECT_GT(rtl["inferences"][1]["counters"]["mac"].get<int>(), 0);
}

serve::DcProcessOptions dc_options(std::vector<std::string> arguments) {
  serve::DcProcessOptions options;
  options.program = KESTREL_PROGRAM;
  options.arguments = std::move(arguments);
  return options;
}

bool alive(pid_t pid) { return ::kill(pid, 0) == 0; }

TEST_F(Program, DcProcessServesAndLeavesNothingBehind) {
  auto process = serve::DcProcess::start(dc_options({"dc", "--model", kDc}));
  ASSERT_TRUE(process) << process.error().message;
  const pid_t pid = process->pid();
  EXPECT_TRUE(alive(pid));
  serve::DcClientOptions options;
  options.url = process->url();
  auto client = serve::DcClient::create(options);
  ASSERT_TRUE(client);
  EXPECT_TRUE(client->ready());
  // Grey levels sent in two batch sizes give the same answers.
  std::vector<std::uint8_t> images(5 * 784);
  for (std::size_t i = 0; i < images.size(); ++i) {
    images[i] = static_cast<std::uint8_t>(i * 7 % 256);
  }
  const auto one = client->classify(images, {1, 28, 28}, 10, 1);
  const auto all = client->classify(images, {1, 28, 28}, 10, 5);
  ASSERT_EQ(one.answered, 5U) << (one.error ? one.error->message : "");
  ASSERT_EQ(all.answered, 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(one.answers[i]->top1, all.answers[i]->top1);
    EXPECT_NEAR(one.answers[i]->probability, all.answers[i]->probability, 1e-3);
  }
  const auto stopped = process->stop();
  EXPECT_TRUE(stopped) << stopped.error().message;
  EXPECT_FALSE(alive(pid)); // ended and reaped
  EXPECT_FALSE(client->ready());
}

TEST_F(Program, DcProcessFailuresAreTold) {
  const auto missing = serve::DcProcess::start(dc_options({"dc", "--model", path("none.onnx")}));
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("none.onnx"), std::string::npos);
  const auto usage = serve::DcProcess::start(dc_options({"dc", "--no-such-option"}));
  ASSERT_FALSE(usage);
  serve::DcProcessOptions nothing = dc_options({});
  nothing.program = path("no-program");
  EXPECT_EQ(serve::DcProcess::start(nothing).error().code, ErrorCode::kNotFound);
  // A program that never gets ready is not waited for, and not left behind.
  serve::DcProcessOptions silent = dc_options({});
  write("silent.sh", "#!/bin/sh\necho $$ > " + path("pid") + "\nexec sleep 60\n");
  std::filesystem::permissions(path("silent.sh"), std::filesystem::perms::owner_all);
  silent.program = path("silent.sh");
  silent.start_timeout = 500ms;
  const auto timeout = serve::DcProcess::start(silent);
  ASSERT_FALSE(timeout);
  EXPECT_EQ(timeout.error().code, ErrorCode::kTimeout);
  EXPECT_FALSE(alive(std::stoi(read(path("pid")))));
  // One that dies is noticed when it is stopped, one that ignores SIGTERM is killed.
  auto killed = serve::DcProcess::start(dc_options({"dc", "--model", kDc}));
  ASSERT_TRUE(killed) << killed.error().message;
  ::kill(killed->pid(), SIGKILL);
  EXPECT_FALSE(killed->stop());
  write("deaf.sh", "#!/bin/sh\ntrap '' TERM\necho '{\"url\":\"http://x\"}' >&3\n"
                   "while :; do sleep 1; done\n");
  std::filesystem::permissions(path("deaf.sh"), std::filesystem::perms::owner_all);
  serve::DcProcessOptions deaf = dc_options({});
  deaf.program = path("deaf.sh");
  deaf.stop_timeout = 300ms;
  auto process = serve::DcProcess::start(deaf);
  ASSERT_TRUE(process) << process.error().message;
  const pid_t pid = process->pid();
  EXPECT_EQ(process->stop().error().code, ErrorCode::kTimeout);
  EXPECT_FALSE(alive(pid));
}

TEST_F(Program, DcEndsWithTheProcessThatStartedIt) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t middle = ::fork();
  if (middle == 0) {
    auto process = serve::DcProcess::start(dc_options({"dc", "--model", kDc}));
    const pid_t pid = process ? process->pid() : -1;
    static_cast<void>(!::write(ends[1], &pid, sizeof(pid)));
    ::kill(::getpid(), SIGKILL); // no destructor runs
  }
  pid_t pid = -1;
  ASSERT_EQ(::read(ends[0], &pid, sizeof(pid)), static_cast<ssize_t>(sizeof(pid)));
  ::waitpid(middle, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  ASSERT_GT(pid, 0);
  const auto gone = [&] {
    if (!alive(pid)) {
      return true;
    }
    // Reparented to an init that may not reap: a zombie has ended too.
    const std::string stat = read("/proc/" + std::to_string(pid) + "/stat");
    return stat.find(") Z ") != std::string::npos;
  };
  bool ended = false;
  for (int i = 0; i < 200 && !ended; ++i) {
    std::this_thread::sleep_for(50ms);
    ended = gone();
  }
  EXPECT_TRUE(ended);
}

TEST_F(Program, CalibrateWritesATableThatDemoReads) {
  if (!std::filesystem::exists(serve::kFashionMnistDirectory)) {
    GTEST_SKIP() << "the Debian package dataset-fashion-mnist is not installed";
  }
  const Outcome outcome = run({"calibrate", "--held-out", "400", "--targets", "0.5,0.999",
                               "--output", path("t.json"), "--json", path("copy.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const nlohmann::json table = read_json("t.json");
  EXPECT_EQ(table, read_json("copy.json"));
  EXPECT_EQ(table["samples"], 400);
  EXPECT_EQ(table["targets"][0]["threshold"], 0);
  EXPECT_EQ(table["targets"][0]["reached"], true);
  EXPECT_EQ(table["targets"][1]["reached"], false);
  EXPECT_EQ(table["edge"]["sha256"].get<std::string>().size(), 64U);
  const Outcome demo = run({"demo", "--images", "20", "--rtl-images", "0", "--min-accuracy", "0.5",
                            "--thresholds", path("t.json"), "--json", path("d.json")});
  EXPECT_EQ(demo.status, 0) << demo.err;
  EXPECT_EQ(read_json("d.json")["offloaded_share"], 0.0);
}

} // namespace
} // namespace kestrel::e2e
