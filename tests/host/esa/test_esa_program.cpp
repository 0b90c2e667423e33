// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// `kestrel esa switch` and `kestrel esa campaign` from outside.
#include "tests/e2e/program.hpp"

namespace kestrel::e2e {
namespace {

using nlohmann::json;

const char *const kConfig = R"({"policy": "esa", "slots": 16, "lanes": 4,
  "jobs": [{"job": 1, "fan_in": 2, "worker_ports": [0, 1], "ps_port": 7}]})";
const char *const kPackets =
    R"({"port":0,"type":"data","job":1,"seq":7,"slot":3,"bitmap":1,"fan_in":2,"prio":9,"values":[1,-2,3,4]}
{"port":1,"type":"data","job":1,"seq":7,"slot":3,"bitmap":2,"fan_in":2,"prio":9,"values":[10,20,30,40]}

{"port":7,"type":"reminder","job":1,"seq":9,"slot":3,"fan_in":2}
{"port":1,"type":"data","job":4,"seq":7,"slot":3,"bitmap":2,"fan_in":2,"prio":9,"values":[1]}
)";

class EsaProgram : public ProgramTest {
protected:
  void SetUp() override {
    ProgramTest::SetUp();
    write("c.json", kConfig);
    write("in.jsonl", kPackets);
  }
  [[nodiscard]] Outcome send(const std::string &input, const std::string &output,
                             const std::vector<std::string> &more = {}) const {
    std::vector<std::string> arguments = {"esa",     "switch",    "--config", path("c.json"),
                                          "--input", path(input), "--output", path(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  /// Refused with one sentence that has these words.
  void refused(const Outcome &o, const std::vector<std::string> &words) const {
    EXPECT_EQ(o.status, 1) << o.err;
    for (const std::string &word : words) {
      EXPECT_NE(o.err.find(word), std::string::npos) << word << " is not in: " << o.err;
    }
  }
};

TEST_F(EsaProgram, SumsPacketsOfAFile) {
  const Outcome o = send("in.jsonl", "out.jsonl", {"--json", path("counters.json")});
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("estimated"), std::string::npos) << "what kind of cycles these are";
  std::istringstream lines(read(path("out.jsonl")));
  std::vector<json> out;
  for (std::string line; std::getline(lines, line);) {
    out.push_back(json::parse(line));
  }
  ASSERT_EQ(out.size(), 3U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(out[i]["type"], "result");
    EXPECT_EQ(out[i]["port"], i);
    EXPECT_EQ(out[i]["values"], json({11, 18, 33, 44}));
  }
  EXPECT_EQ(out[2]["type"], "reminder");
  EXPECT_EQ(out[2]["flags"], json({"negative"}));
  EXPECT_EQ(out[2]["port"], 7);
  const json counters = read_json("counters.json");
  EXPECT_EQ(counters["frames_in"], 4);
  EXPECT_EQ(counters["verdicts"]["completed"], 1);
  EXPECT_EQ(counters["verdicts"]["bad_job"], 1);
}

TEST_F(EsaProgram, CapturesGoInAndOut) {
  ASSERT_EQ(send("in.jsonl", "out.pcapng").status, 0);
  EXPECT_EQ(read(path("out.pcapng")).substr(0, 4), "\x0A\x0D\x0D\x0A");
  const Outcome o = send("out.pcapng", "again.jsonl");
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("3 frames in"), std::string::npos) << o.out;
}

TEST_F(EsaProgram, BadInputIsRefusedByName) {
  refused(send("none.jsonl", "out.jsonl"), {"none.jsonl"});
  write("bad.jsonl", "{\"port\": 0}\n");
  refused(send("bad.jsonl", "out.jsonl"), {"bad.jsonl:1", "type"});
  write("bad.jsonl", std::string(kPackets) + "\n{\"port\": 9}");
  refused(send("bad.jsonl", "out.jsonl"), {"bad.jsonl:7", "port"});
  write("cut.pcapng", "\x0A\x0D\x0D\x0A");
  refused(send("cut.pcapng", "out.jsonl"), {"cut.pcapng", "truncated"});
  refused(send("in.jsonl", "no/such/folder.jsonl"), {"folder.jsonl"});
  refused(send("in.jsonl", "out.jsonl", {"--device", "asic"}), {"asic"});
  write("c.json", "{\"policy\": \"esa\"}");
  refused(send("in.jsonl", "out.jsonl"), {"c.json", "slots"});
  std::string twice(kConfig);
  const std::string job = R"({"job": 1, "fan_in": 2, "worker_ports": [0, 1], "ps_port": 7})";
  twice.replace(twice.find(job), job.size(), job + "," + job);
  write("c.json", twice);
  refused(send("in.jsonl", "out.jsonl"), {"c.json", "job 1", "registered already"});
}

TEST_F(EsaProgram, CampaignPrintsATally) {
  const Outcome o = run({"esa", "campaign", "--packets", "20000", "--policy", "switchml", "--json",
                         path("tally.json")});
  ASSERT_EQ(o.status, 0) << o.err << o.out;
  EXPECT_NE(o.out.find("passed"), std::string::npos);
  const json tally = read_json("tally.json");
  EXPECT_TRUE(tally["passed"].get<bool>());
  EXPECT_EQ(tally["tally"]["WRONG sums at a worker"], 0);
  EXPECT_GT(tally["tally"]["exact at every living worker"], 1000);
  refused(run({"esa", "campaign", "--policy", "best"}), {"best"});
  const Outcome range = run({"esa", "campaign", "--loss", "2"});
  EXPECT_EQ(range.status, 105) << range.err; // CLI11's status of a value that is not allowed
  EXPECT_NE(range.err.find("--loss: Value 2 not in range"), std::string::npos) << range.err;
}

} // namespace
} // namespace kestrel::e2e
