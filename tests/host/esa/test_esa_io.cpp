// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Configurations, packets and captures of the aggregation switch as files, and the fast device.
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kestrel/esa/device.hpp"
#include "kestrel/esa/io.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::esa {
namespace {

using hv::ref::test::Random;
using nlohmann::json;

json config_json() {
  return {{"policy", "esa"},
          {"slots", 16},
          {"lanes", 4},
          {"ports", 8},
          {"jobs",
           {{{"job", 1}, {"fan_in", 2}, {"worker_ports", {0, 1}}, {"ps_port", 7}},
            {{"job", 2}, {"fan_in", 1}, {"worker_ports", {3}}, {"ps_port", 6}}}}};
}

SwitchConfig make_config() {
  auto config = parse_switch_config(config_json().dump());
  EXPECT_TRUE(config.ok()) << config.error().message;
  return *config;
}

json packet_json(int worker) {
  return {
      {"port", worker}, {"type", "data"}, {"job", 1},
      {"seq", 5},       {"slot", 3},      {"bitmap", 1 << worker},
      {"fan_in", 2},    {"prio", 9},      {"values", {worker + 1, -7, 2147483647, -2147483648}}};
}

TEST(Config, ReadsWhatIsGivenAndHasDefaults) {
  json c = config_json();
  c["completed"] = "via_ps";
  c["downgrade_shift"] = 3;
  c["forward"] = {nullptr, 4};
  c["jobs"][0]["format"] = "thc_sum8";
  c["jobs"][0]["table"] = std::vector<int>(16, 30);
  auto config = parse_switch_config(c.dump());
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->model.policy, ref::Policy::kEsa);
  EXPECT_EQ(config->model.completed, ref::Completed::kViaPs);
  EXPECT_EQ(config->model.downgrade_shift, 3U);
  EXPECT_EQ(config->forward, (std::vector<unsigned>{ref::kNoPort, 4}));
  EXPECT_EQ(config->jobs[0].members, 3U);
  EXPECT_EQ(config->jobs[0].member_ports, 3U);
  EXPECT_EQ(config->jobs[0].format, ref::Format::kThcSum8);
  EXPECT_EQ(config->jobs[1].member_ports, 8U);
  c = config_json();
  c["policy"] = "atp";
  EXPECT_EQ(parse_switch_config(c.dump())->model.completed, ref::Completed::kHold);
}

TEST(Config, RefusesByName) {
  struct Case {
    const char *name;
    std::function<void(json &)> spoil;
  };
  const Case cases[] = {
      {"policy", [](json &c) { c.erase("policy"); }},
      {"policy", [](json &c) { c["policy"] = "best"; }},
      {"slots", [](json &c) { c.erase("slots"); }},
      {"slots", [](json &c) { c["slots"] = 0; }},
      {"slots", [](json &c) { c["slots"] = 65537; }},
      {"slots", [](json &c) { c["slots"] = "16"; }},
      {"slots", [](json &c) { c["slots"] = 1.5; }},
      {"lanes", [](json &c) { c["lanes"] = -1; }},
      {"lanes", [](json &c) { c["lanes"] = 18446744073709551615ULL; }},
      {"ports", [](json &c) { c["ports"] = 33; }},
      {"downgrade_shift", [](json &c) { c["downgrade_shift"] = 8; }},
      {"completed", [](json &c) { c["completed"] = 1; }},
      {"forward", [](json &c) { c["forward"] = {9}; }},
      {"jobs", [](json &c) { c.erase("jobs"); }},
      {"jobs[1]", [](json &c) { c["jobs"][1] = 4; }},
      {"slotz", [](json &c) { c["slotz"] = 4; }},
      {"job", [](json &c) { c["jobs"][0]["job"] = 0; }},
      {"fan_in", [](json &c) { c["jobs"][0]["fan_in"] = 0; }},
      {"fan_in", [](json &c) { c["jobs"][0]["fan_in"] = 33; }},
      {"worker_ports", [](json &c) { c["jobs"][0]["worker_ports"] = {0}; }},
      {"worker_ports",
       [](json &c) {
         c["jobs"][0]["worker_ports"] = {0, 8};
       }},
      {"ps_port", [](json &c) { c["jobs"][0].erase("ps_port"); }},
      {"table", [](json &c) { c["jobs"][0]["format"] = "thc_sum8"; }},
      {"table",
       [](json &c) {
         c["jobs"][0]["table"] = {1, 2};
       }},
      {"uplink", [](json &c) { c["jobs"][0]["uplink"] = 1; }},
  };
  for (const Case &c : cases) {
    json spoiled = config_json();
    c.spoil(spoiled);
    const auto config = parse_switch_config(spoiled.dump());
    ASSERT_FALSE(config.ok()) << spoiled.dump();
    EXPECT_NE(config.error().message.find(c.name), std::string::npos) << config.error().message;
  }
  EXPECT_FALSE(parse_switch_config("{").ok());
  EXPECT_FALSE(parse_switch_config("[]").ok());
  // What only the switch can see is refused when it is made.
  json twice = config_json();
  twice["jobs"][1]["job"] = 1;
  const auto device = make_switch("fast", *parse_switch_config(twice.dump()));
  ASSERT_FALSE(device.ok());
  EXPECT_NE(device.error().message.find("job 1: registered already"), std::string::npos);
  EXPECT_FALSE(make_switch("tofino", make_config()).ok());
}

TEST(Packets, LinesGoInAndComeOut) {
  const SwitchConfig config = make_config();
  const auto made = make_switch("fast", config);
  ASSERT_TRUE(made.ok());
  std::vector<Ingress> in;
  for (const int worker : {0, 1}) {
    auto packet = parse_packet_line(packet_json(worker).dump(), config);
    ASSERT_TRUE(packet.ok()) << packet.error().message;
    in.push_back(*packet);
  }
  const auto out = (*made)->run(in);
  ASSERT_TRUE(out.ok());
  ASSERT_EQ(out->size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const json line = json::parse(packet_line((*out)[i]));
    EXPECT_EQ(line["type"], "result");
    EXPECT_EQ(line["port"], i);
    EXPECT_EQ(line["seq"], 5);
    EXPECT_EQ(line["slot"], 3);
    EXPECT_EQ(line["bitmap"], 3);
    EXPECT_EQ(line["count"], 2);
    EXPECT_EQ(line["values"], json({3, -14, -2, 0}));
    EXPECT_GT(line["cycle"], 0);
  }
  const SwitchCounters counters = (*made)->counters();
  EXPECT_EQ(counters.frames_in, 2U);
  EXPECT_EQ(counters.frames_out, 2U);
  EXPECT_EQ(counters.verdicts[static_cast<std::size_t>(ref::Verdict::kCompleted)], 1U);
}

TEST(Packets, TheEpochIsTheJobsUnlessGiven) {
  json c = config_json();
  c["jobs"][0]["epoch"] = 7;
  const auto config = parse_switch_config(c.dump());
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->jobs[0].epoch, 7);
  EXPECT_EQ(config->jobs[1].epoch, 0);
  const auto made = make_switch("fast", *config);
  ASSERT_TRUE(made.ok());
  std::vector<Ingress> in;
  for (const int worker : {0, 1, 1}) {
    json packet = packet_json(worker);
    if (in.size() == 1) {
      packet["epoch"] = 6; // of the start before
    }
    in.push_back(parse_packet_line(packet.dump(), *config).value());
  }
  const auto out = (*made)->run(in);
  ASSERT_TRUE(out.ok());
  ASSERT_EQ(out->size(), 2U);
  const json line = json::parse(packet_line((*out)[0]));
  EXPECT_EQ(line["epoch"], 7);
  EXPECT_EQ(line["values"], json({3, -14, -2, 0}));
  EXPECT_EQ((*made)->counters().verdicts[static_cast<std::size_t>(ref::Verdict::kBadEpoch)], 1U);
}

TEST(Packets, RefusedByName) {
  struct Case {
    const char *name;
    std::function<void(json &)> spoil;
  };
  const Case cases[] = {
      {"port", [](json &p) { p.erase("port"); }},
      {"port", [](json &p) { p["port"] = 8; }},
      {"type", [](json &p) { p["type"] = ""; }},
      {"type", [](json &p) { p["type"] = "dada"; }},
      {"job", [](json &p) { p["job"] = 65536; }},
      {"epoch", [](json &p) { p["epoch"] = 256; }},
      {"seq", [](json &p) { p["seq"] = -1; }},
      {"slot", [](json &p) { p["slot"] = 70000; }},
      {"bitmap", [](json &p) { p["bitmap"] = 4294967296; }},
      {"fan_in", [](json &p) { p.erase("fan_in"); }},
      {"prio", [](json &p) { p["prio"] = 256; }},
      {"values", [](json &p) { p["values"] = 4; }},
      {"values", [](json &p) { p["values"] = {2147483648}; }},
      {"values", [](json &p) { p["values"] = {1.5}; }},
      {"flags", [](json &p) { p["flags"] = "ecn"; }},
      {"flags", [](json &p) { p["flags"] = {"urgent"}; }},
      {"format", [](json &p) { p["format"] = "fp64"; }},
      {"values", [](json &p) { p["format"] = "thc_index4"; }},
      {"colour", [](json &p) { p["colour"] = 4; }},
  };
  for (const Case &c : cases) {
    json spoiled = packet_json(0);
    c.spoil(spoiled);
    const auto packet = parse_packet_line(spoiled.dump(), make_config());
    ASSERT_FALSE(packet.ok()) << spoiled.dump();
    EXPECT_NE(packet.error().message.find(c.name), std::string::npos) << packet.error().message;
  }
  EXPECT_FALSE(parse_packet_line("no json", make_config()).ok());
}

TEST(Packets, ForeignFramesTakeTheStaticTableOrAreDropped) {
  SwitchConfig config = make_config();
  config.forward = {ref::kNoPort, 4};
  const auto made = make_switch("fast", config);
  ASSERT_TRUE(made.ok());
  std::vector<Ingress> in;
  for (const int port : {0, 1, 2}) {
    auto packet = parse_packet_line(
        json{{"port", port}, {"frame", "FFFFFFFFFFFF0000000000010806aabb"}}.dump(), config);
    ASSERT_TRUE(packet.ok()) << packet.error().message;
    in.push_back(*packet);
  }
  const auto out = (*made)->run(in);
  ASSERT_TRUE(out.ok());
  ASSERT_EQ(out->size(), 1U);
  const json line = json::parse(packet_line((*out)[0]));
  EXPECT_EQ(line["port"], 4);
  EXPECT_EQ(line["type"], "foreign");
  EXPECT_EQ(line["frame"], "ffffffffffff0000000000010806aabb");
  EXPECT_EQ((*made)->counters().foreign_dropped, 2U);
  EXPECT_FALSE(parse_packet_line(R"({"port":0,"frame":"abc"})", config).ok());
  EXPECT_FALSE(parse_packet_line(R"({"port":0,"frame":"zz"})", config).ok());
}

TEST(Device, OutputsAreInOrderAndPortsDoNotOverlap) {
  const SwitchConfig config = make_config();
  const auto made = make_switch("fast", config);
  std::vector<Ingress> in;
  for (std::uint32_t seq = 0; seq < 200; ++seq) {
    json p = packet_json(0);
    p["job"] = 2;
    p["fan_in"] = 1;
    p["seq"] = seq;
    in.push_back(*parse_packet_line(p.dump(), config));
  }
  const auto out = (*made)->run(in);
  ASSERT_TRUE(out.ok());
  ASSERT_EQ(out->size(), 200U);
  for (std::size_t i = 1; i < out->size(); ++i) {
    EXPECT_EQ((*out)[i].cycle - (*out)[i - 1].cycle, 2U) << "80 bytes are two beats";
  }
  in[0].port = 8;
  EXPECT_FALSE((*made)->run(in).ok());
  EXPECT_TRUE((*made)->remove_job(2).ok());
  EXPECT_FALSE((*made)->remove_job(2).ok());
}

std::vector<Egress> some_frames(Random &random) {
  std::vector<Egress> frames;
  for (int i = 0; i < 20; ++i) {
    Egress e;
    e.cycle = static_cast<std::uint64_t>(i) * 7;
    e.port = static_cast<unsigned>(random.range(0, 7));
    e.frame.resize(static_cast<std::size_t>(random.range(0, 300)));
    for (auto &byte : e.frame) {
      byte = static_cast<std::uint8_t>(random.range(0, 255));
    }
    frames.push_back(e);
  }
  return frames;
}

TEST(Pcapng, RoundTrip) {
  Random random;
  SCOPED_TRACE(random.note());
  const auto frames = some_frames(random);
  const auto bytes = make_pcapng(frames, 8);
  const auto read = parse_pcapng(bytes);
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read->size(), frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ((*read)[i].port, frames[i].port);
    EXPECT_EQ((*read)[i].frame, frames[i].frame);
  }
}

TEST(Pcapng, OtherByteOrderSimplePacketsAndUnknownBlocks) {
  const auto be32 = [](std::vector<std::uint8_t> &out, std::uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      out.push_back(static_cast<std::uint8_t>(v >> shift));
    }
  };
  std::vector<std::uint8_t> bytes;
  for (const std::uint32_t v :
       {0x0A0D0D0AU, 28U, 0x1A2B3C4DU, 0x00010000U, ~0U, ~0U, 28U, // section
        1U,          20U, 0x00010000U, 3U,          20U,           // interface, 3 bytes kept
        0x12345U,    16U, 7U,          16U,                        // unknown
        3U,          20U, 5U,          0xAABBCC00U, 20U}) {        // simple packet of 5 bytes
    be32(bytes, v);
  }
  const auto read = parse_pcapng(bytes);
  ASSERT_TRUE(read.ok()) << read.error().message;
  ASSERT_EQ(read->size(), 1U);
  EXPECT_EQ((*read)[0].port, 0U);
  EXPECT_EQ((*read)[0].frame, (std::vector<std::uint8_t>{0xAA, 0xBB, 0xCC}));
}

TEST(Pcapng, DamagedFilesNeverHarm) {
  Random random;
  SCOPED_TRACE(random.note());
  const auto bytes = make_pcapng(some_frames(random), 8);
  EXPECT_FALSE(parse_pcapng({}).ok());
  int refused = 0;
  for (std::size_t n = 1; n < bytes.size(); ++n) {
    refused += parse_pcapng(std::span(bytes).first(n)).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, static_cast<int>(bytes.size()) * 9 / 10);
  for (int i = 0; i < 20'000; ++i) {
    auto damaged = bytes;
    for (int k = random.range(1, 4); k > 0; --k) {
      damaged[static_cast<std::size_t>(random.range(0, static_cast<int>(bytes.size()) - 1))] =
          static_cast<std::uint8_t>(random.range(0, 255));
    }
    const auto read = parse_pcapng(damaged);
    if (read.ok()) {
      ASSERT_LE(read->size(), 40U);
    }
  }
}

TEST(Packets, RandomBytesIntoTheSwitch) {
  Random random;
  SCOPED_TRACE(random.note());
  const SwitchConfig config = make_config();
  const auto made = make_switch("fast", config);
  std::vector<Ingress> in;
  for (int i = 0; i < 20'000; ++i) {
    Ingress one = *parse_packet_line(packet_json(random.range(0, 1)).dump(), config);
    if (random.chance(0.05)) {
      one.frame.push_back(0); // longer than its IPv4 length
    } else if (random.chance(0.05)) {
      ref::Packet odd; // six bytes that call themselves 32-bit lanes
      odd.format = ref::Format::kThcSum8;
      odd.values.assign(6, 1);
      one.frame = ref::make_frame(odd);
      // The version stays; the format is another.
      one.frame[44] = static_cast<std::uint8_t>((one.frame[44] & 0xF0U) |
                                                static_cast<unsigned>(ref::Format::kInt32));
    }
    for (int k = random.range(0, 3); k > 0; --k) {
      one.frame[static_cast<std::size_t>(random.range(0, static_cast<int>(one.frame.size()) - 1))] =
          static_cast<std::uint8_t>(random.range(0, 255));
    }
    one.frame.resize(static_cast<std::size_t>(std::max(
        0, static_cast<int>(one.frame.size()) - (random.chance(0.1) ? random.range(1, 90) : 0))));
    in.push_back(std::move(one));
  }
  const auto out = (*made)->run(in);
  ASSERT_TRUE(out.ok());
  const SwitchCounters c = (*made)->counters();
  std::uint64_t accounted = 0;
  for (const auto n : c.verdicts) {
    accounted += n;
  }
  for (const auto n : c.faults) {
    EXPECT_GT(n, 0U);
    accounted += n;
  }
  EXPECT_EQ(accounted, in.size()) << "exactly one verdict or fault a frame";
  EXPECT_GT(c.verdicts[static_cast<std::size_t>(ref::Verdict::kCompleted)], 100U);
}

} // namespace
} // namespace kestrel::esa
