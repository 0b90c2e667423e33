// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel thc: files in and out, both devices, and how bad input is refused.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "kestrel/npy.hpp"
#include "tests/e2e/program.hpp"

namespace kestrel::e2e {
namespace {

class Thc : public ProgramTest {
protected:
  std::vector<float> write_gradients(const std::string &name, std::int64_t workers,
                                     std::int64_t d) const {
    std::mt19937 rng(5);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(workers * d));
    for (float &v : values)
      v = normal(rng);
    save(name, {workers, d}, values);
    return values;
  }
  template <class T>
  void save(const std::string &name, std::vector<std::int64_t> shape,
            const std::vector<T> &values) const {
    ASSERT_TRUE(save_npy(path(name), make_npy<T>(std::move(shape), values)));
  }
  template <class T> std::vector<T> load(const std::string &name) const {
    const auto array = load_npy(path(name));
    if (!array)
      return {};
    auto values = array->template values<T>(name);
    return values ? *values : std::vector<T>{};
  }
};

TEST_F(Thc, HelpTeaches) {
  for (const std::vector<std::string> &command :
       {std::vector<std::string>{"thc"}, {"thc", "roundtrip"}, {"thc", "solve"}}) {
    std::vector<std::string> arguments = command;
    arguments.push_back("--help");
    const Outcome help = run(arguments);
    EXPECT_EQ(help.status, 0);
    EXPECT_NE(help.out.find("Examples:"), std::string::npos) << command.back();
  }
}

TEST_F(Thc, RoundTripOnBothDevicesIsTheSame) {
  const std::vector<float> x = write_gradients("x.npy", 3, 3000);
  for (const std::string device : {"fast", "rtl"}) {
    const Outcome outcome = run({"thc", "roundtrip", "--device", device, "--input", path("x.npy"),
                                 "--output", path(device + "_y.npy"), "--packed",
                                 path(device + "_p.npy"), "--sums", path(device + "_s.npy"),
                                 "--seed", "7", "--round", "3", "--json", path(device + ".json")});
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  for (const char *name : {"_y.npy", "_p.npy", "_s.npy"})
    EXPECT_EQ(read(path(std::string("fast") + name)), read(path(std::string("rtl") + name)))
        << name;
  const auto p = load_npy(path("rtl_p.npy"));
  ASSERT_TRUE(p);
  EXPECT_EQ(p->shape, (std::vector<std::int64_t>{3, 1536}));
  const auto packed = load<std::uint8_t>("rtl_p.npy");
  const auto sums = load<std::uint8_t>("rtl_s.npy");
  ASSERT_EQ(sums.size(), 3072U);
  const int table[16] = {0, 3, 5, 7, 9, 11, 13, 14, 16, 17, 19, 21, 23, 25, 27, 30};
  for (std::size_t i = 0; i < sums.size(); ++i) {
    int sum = 0;
    for (std::size_t w = 0; w < 3; ++w) {
      const std::uint8_t byte = packed[w * 1536 + i / 2];
      sum += table[i % 2 == 0 ? byte >> 4 : byte & 15];
    }
    ASSERT_EQ(sums[i], sum) << i;
  }
  const nlohmann::json rtl = read_json("rtl.json");
  const nlohmann::json fast = read_json("fast.json");
  EXPECT_EQ(rtl["nmse"], fast["nmse"]);
  EXPECT_LT(rtl["nmse"].get<double>(), 0.05);
  EXPECT_GT(rtl["nmse"].get<double>(), 0.001);
  for (const char *operation : {"norm", "compress", "aggregate", "decompress"}) {
    EXPECT_EQ(rtl["operations"][operation]["cycles_basis"], "simulated");
    EXPECT_GT(rtl["operations"][operation]["cycles"].get<int>(), 100);
    EXPECT_EQ(fast["operations"][operation]["cycles_basis"], "unknown");
    EXPECT_FALSE(fast["operations"][operation].contains("cycles"));
  }
  // The file's NMSE is that of the arrays.
  const auto y = load<float>("rtl_y.npy");
  ASSERT_EQ(y.size(), 3000U);
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double mean = (static_cast<double>(x[i]) + static_cast<double>(x[3000 + i]) +
                         static_cast<double>(x[6000 + i])) /
                        3.0;
    error += std::pow(static_cast<double>(y[i]) - mean, 2);
    power += mean * mean;
  }
  EXPECT_NEAR(rtl["nmse"].get<double>(), error / power, 1e-9);
}

TEST_F(Thc, ContributorsTablesAndWideSums) {
  write_gradients("x.npy", 12, 1500);
  // Twelve workers of g = 30 need 16 bits.
  const Outcome wide = run({"thc", "roundtrip", "--input", path("x.npy"), "--sums", path("s.npy"),
                            "--json", path("wide.json")});
  ASSERT_EQ(wide.status, 0) << wide.err;
  EXPECT_EQ(load_npy(path("s.npy"))->type, NpyType::kUint16);
  EXPECT_EQ(read_json("wide.json")["sum_bits"], 16);
  const Outcome some =
      run({"thc", "roundtrip", "--input", path("x.npy"), "--contributors", "11,2,5", "--table",
           "0,5,11,16", "--block-log2", "10", "--json", "-", "--packed", path("p.npy")});
  ASSERT_EQ(some.status, 0) << some.err;
  const auto json = nlohmann::json::parse(some.out, nullptr, false);
  EXPECT_EQ(json["contributors"], (std::vector<int>{11, 2, 5}));
  EXPECT_EQ(json["table"]["granularity"], 16);
  EXPECT_EQ(json["table"]["bits"], 2);
  EXPECT_EQ(json["blocks"], 2);
  const auto packed = load<std::uint8_t>("p.npy");
  ASSERT_EQ(packed.size(), 12U * 1024);
  EXPECT_EQ(std::count(packed.begin(), packed.begin() + 2048, 0), 2048); // workers 0 and 1
}

TEST_F(Thc, SolvePrintsTheTable) {
  const Outcome outcome =
      run({"thc", "solve", "--bits", "3", "--granularity", "16", "--p", "0.015625"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  EXPECT_EQ(json["table"], (std::vector<int>{0, 3, 5, 7, 9, 11, 13, 16}));
  EXPECT_EQ(run({"thc", "solve", "--bits", "6", "--granularity", "100", "--p", "0.03"}).status, 0);
}

TEST_F(Thc, BadInputIsRefusedByName) {
  auto values = write_gradients("x.npy", 2, 1000);
  const std::string x = path("x.npy");
  values[1007] = std::numeric_limits<float>::quiet_NaN();
  save("nan.npy", {2, 1000}, values);
  values[1007] = -std::numeric_limits<float>::infinity();
  save("inf.npy", {2, 1000}, values);
  save("flat.npy", {2000}, values);
  save("none.npy", {0, 5}, std::vector<float>{});
  save("wide.npy", {2, 500, 2}, values);
  save("double.npy", {2, 3}, std::vector<double>(6));
  write("text.npy", "hello");
  struct Case {
    std::vector<std::string> arguments;
    std::vector<std::string> words;
  };
  const Case cases[] = {
      {{"--input", path("nan.npy")}, {"nan.npy", "worker 1", "coordinate 7 ", "NaN"}},
      {{"--input", path("nan.npy"), "--device", "rtl"}, {"worker 1", "coordinate 7 ", "NaN"}},
      {{"--input", path("inf.npy")}, {"worker 1", "coordinate 7 ", "infinite"}},
      {{"--input", path("flat.npy")}, {"flat.npy", "[2000]"}},
      {{"--input", path("wide.npy")}, {"wide.npy", "2, 500, 2"}},
      {{"--input", path("none.npy")}, {"none.npy", "0, 5"}},
      {{"--input", path("double.npy")}, {"double.npy", "float64", "float32"}},
      {{"--input", path("text.npy")}, {"text.npy"}},
      {{"--input", path("absent.npy")}, {"absent.npy"}},
      {{}, {"--input"}},
      {{"--input", x, "--contributors", "0,2"}, {"contributor 2"}},
      {{"--input", x, "--contributors", "1,1"}, {"contributor 1", "twice"}},
      {{"--input", x, "--contributors", ""}, {"contributors"}},
      {{"--input", x, "--contributors", "a"}, {"contributors"}},
      {{"--input", x, "--contributors", "-1"}, {"contributors"}},
      {{"--input", x, "--bits", "5"}, {"--bits 5", "4"}},
      {{"--input", x, "--bits", "0"}, {"--bits 0"}},
      {{"--input", x, "--granularity", "10"}, {"granularity"}},
      {{"--input", x, "--granularity", "300"}, {"300"}},
      {{"--input", x, "--p", "0"}, {"--p", "0.999999"}},
      {{"--input", x, "--p", "1.5"}, {"--p", "1.5", "0.999999"}},
      {{"--input", x, "--p", "0.9"}, {"t"}},
      {{"--input", x, "--table", "0,7,3,9"}, {"ascend"}},
      {{"--input", x, "--table", "0,7,9"}, {"2^bits"}},
      {{"--input", x, "--table", "0,256"}, {"256"}},
      {{"--input", x, "--block-log2", "16"}, {"2^16"}},
      {{"--input", x, "--device", "fpga"}, {"fpga"}},
      {{"--input", x, "--output", path("no/such/y.npy")}, {"y.npy"}},
      {{"--input", x, "--json", path("no/such/y.json")}, {"y.json"}},
  };
  for (const Case &c : cases) {
    std::vector<std::string> arguments = {"thc", "roundtrip"};
    arguments.insert(arguments.end(), c.arguments.begin(), c.arguments.end());
    const Outcome outcome = run(arguments);
    std::string line;
    for (const std::string &argument : arguments)
      line += " " + argument;
    EXPECT_GT(outcome.status, 0) << line;
    EXPECT_LT(outcome.status, 128) << line << "\n" << outcome.err;
    for (const std::string &word : c.words)
      EXPECT_NE(outcome.err.find(word), std::string::npos) << line << "\n" << outcome.err;
  }
  EXPECT_NE(run({"thc"}).status, 0);
  EXPECT_NE(run({"thc", "solve", "--bits", "9"}).err.find("--bits 9"), std::string::npos);
}

} // namespace
} // namespace kestrel::e2e
