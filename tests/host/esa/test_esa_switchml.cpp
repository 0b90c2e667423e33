// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The published SwitchML scenarios through the Verilated switch, packet by packet.
#include <gtest/gtest.h>

#include "kestrel/esa/device.hpp"
#include "tests/sw_ref/esa/esa_switchml_scenarios.hpp"

namespace kestrel::esa {
namespace {

class SwitchMlRtl : public ref::test::SwitchMlScenarios {
protected:
  SwitchMlRtl() : SwitchMlScenarios(64) {}

  void SetUp() override {
    SwitchConfig sw;
    sw.model = config();
    sw.jobs = {job()};
    auto made = make_switch("rtl", sw);
    if (!made.ok() && made.error().code == ErrorCode::kUnsupported) {
      GTEST_SKIP() << made.error().message;
    }
    ASSERT_TRUE(made.ok()) << made.error().message;
    device_ = *std::move(made);
  }

  std::vector<Egress> run(const std::vector<std::uint8_t> &frame, unsigned port) {
    before_ = device_->counters();
    const Ingress in{port, frame};
    auto out = device_->run({&in, 1});
    EXPECT_TRUE(out.ok());
    after_ = device_->counters();
    return out.ok() ? *std::move(out) : std::vector<Egress>{};
  }

  ref::Outcome process(const ref::Packet &packet, unsigned port) override {
    ref::Outcome outcome{};
    for (const Egress &egress : run(ref::make_frame(packet), port)) {
      const auto parsed = ref::parse_frame(egress.frame);
      const auto *left = std::get_if<ref::Packet>(&parsed);
      EXPECT_NE(left, nullptr);
      if (left != nullptr) {
        const std::uint32_t ports = outcome.out ? outcome.out->ports : 0;
        outcome.out = ref::Emission{*left, ports | 1U << egress.port};
      }
    }
    unsigned verdicts = 0;
    for (std::size_t v = 0; v < ref::kVerdicts; ++v) {
      if (after_.verdicts[v] != before_.verdicts[v]) {
        outcome.verdict = static_cast<ref::Verdict>(v);
        verdicts += static_cast<unsigned>(after_.verdicts[v] - before_.verdicts[v]);
      }
    }
    EXPECT_EQ(verdicts, 1U);
    return outcome;
  }
  ref::FrameFault refused(const std::vector<std::uint8_t> &frame, unsigned port) override {
    EXPECT_TRUE(run(frame, port).empty());
    for (std::size_t f = 0; f < ref::kFrameFaults; ++f) {
      if (after_.faults[f] != before_.faults[f]) {
        return static_cast<ref::FrameFault>(f);
      }
    }
    ADD_FAILURE() << "no fault was counted";
    return {};
  }

  std::unique_ptr<SwitchDevice> device_;
  SwitchCounters before_, after_;
};
KESTREL_SWITCHML_SCENARIOS(SwitchMlRtl);

} // namespace
} // namespace kestrel::esa
