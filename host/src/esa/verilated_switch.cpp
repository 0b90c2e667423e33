// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "esa/verilated_switch.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>
#include <variant>

#include "Vesa_switch.h"
#include "common/verilated_device.hpp"
#include "testbench/cpp/esa_bench.hpp"

namespace kestrel::esa {

namespace {

namespace c = contract::esa;

constexpr std::uint32_t kSlots = 4096; // of the Verilated model, rtl/esa/esa.cmake
constexpr std::uint32_t kLanes = 64;
constexpr std::uint32_t kPlaces = 1U << c::kJobsLog2;
constexpr std::size_t kMaxFrame = std::size_t{24} * 64;
constexpr unsigned kSlotBeats = kLanes / 16;
/// No beat leaves for so many cycles: everything has (the pipeline takes fewer than 20).
constexpr unsigned kQuiet = 64;

class VerilatedSwitch final : public SwitchDevice {
public:
  using Bench = tb::EsaBench<Vesa_switch>;

  explicit VerilatedSwitch(const SwitchConfig &config)
      : config_(config.model), admission_(config.model),
        bench_(std::make_unique<Bench>(bench_config())) {}

  Result<void> start(const SwitchConfig &config) {
    bool ok = bench_->configure(config.model);
    for (unsigned port = 0; port < config.forward.size() && port < config.model.ports; ++port)
      if (config.forward[port] != ref::kNoPort)
        ok = ok &&
             bench_->registers.write32(c::reg::kRoute0 + 4 * port, 1U << config.forward[port]).ok();
    if (!ok)
      return fail(ErrorCode::kDevice, "the switch refused its settings");
    return {};
  }

  [[nodiscard]] std::string_view name() const override { return "rtl"; }

  Result<void> add_job(const ref::Job &job) override {
    const auto place = std::find(places_.begin(), places_.end(), 0);
    if (place == places_.end())
      return fail(ErrorCode::kInvalidArgument, "job {}: the switch has {} jobs already", job.job,
                  kPlaces);
    if (const auto error = admission_.add_job(job))
      return fail(ErrorCode::kInvalidArgument, "{}", *error);
    if (!bench_->add_job(static_cast<unsigned>(place - places_.begin()), job))
      return fail(ErrorCode::kDevice, "job {}: refused by the switch", job.job);
    *place = job.job;
    return {};
  }

  Result<void> remove_job(std::uint16_t job) override {
    if (!admission_.remove_job(job))
      return fail(ErrorCode::kNotFound, "job {}: not registered", job);
    const auto place = std::find(places_.begin(), places_.end(), job);
    if (!bench_->remove_job(static_cast<unsigned>(place - places_.begin())))
      return fail(ErrorCode::kDevice, "job {}: the switch does not let it go", job);
    *place = 0;
    return {};
  }

  Result<std::vector<Egress>> run(std::span<const Ingress> frames) override {
    for (const Ingress &in : frames)
      if (in.port >= config_.ports)
        return fail(ErrorCode::kInvalidArgument, "port {}: the switch has {}", in.port,
                    config_.ports);
    std::deque<unsigned> order; // ports of the packets that get a verdict
    for (const Ingress &in : frames) {
      if (in.frame.empty())
        continue;
      std::vector<std::uint8_t> frame = in.frame;
      const auto parsed = ref::parse_frame(frame);
      unsigned beats = static_cast<unsigned>((frame.size() + 63) / 64);
      if (const auto *packet = std::get_if<ref::Packet>(&parsed)) {
        if (config_.lanes != kLanes)
          frame = with_lanes(*packet, config_.lanes, kLanes);
        beats = std::max(static_cast<unsigned>((frame.size() + 63) / 64), 1 + kSlotBeats);
        if (frame.size() <= kMaxFrame)
          order.push_back(in.port);
      }
      bench_->offer_in_order(in.port, std::move(frame), beats);
    }

    std::vector<Egress> out;
    for (unsigned quiet = 0; quiet < kQuiet;) {
      if (!bench_->step())
        return fail(ErrorCode::kDevice, "an assertion of the RTL failed in cycle {}",
                    bench_->simulation.cycle());
      quiet = bench_->sources_done() && bench_->egress.empty() && bench_->verdicts.empty()
                  ? quiet + 1
                  : 0;
      for (; !bench_->verdicts.empty(); bench_->verdicts.pop_front()) {
        if (order.empty() || order.front() != bench_->verdicts.front().port)
          return fail(ErrorCode::kInternal, "the switch took packets in another order");
        order.pop_front();
      }
      for (; !bench_->egress.empty(); bench_->egress.pop_front()) {
        tb::EsaEgress &got = bench_->egress.front();
        std::vector<std::uint8_t> frame = std::move(got.frame);
        if (config_.lanes != kLanes) {
          const auto parsed = ref::parse_frame(frame);
          if (const auto *packet = std::get_if<ref::Packet>(&parsed))
            frame = with_lanes(*packet, kLanes, config_.lanes);
        }
        out.push_back({got.cycle, got.port, std::move(frame)});
      }
    }
    if (!order.empty())
      return fail(ErrorCode::kInternal, "{} packets have no verdict", order.size());
    if (std::string text = bench_->violations(); !text.empty())
      return fail(ErrorCode::kDevice, "protocol violated: {}", text);
    std::stable_sort(out.begin(), out.end(), [](const Egress &a, const Egress &b) {
      return a.cycle != b.cycle ? a.cycle < b.cycle : a.port < b.port;
    });
    return out;
  }

  [[nodiscard]] SwitchCounters counters() const override {
    SwitchCounters n;
    for (unsigned port = 0; port < c::kPorts; ++port) {
      n.frames_in += read(c::window::kPortIn.word(port));
      n.frames_out += read(c::window::kPortOut.word(port));
    }
    for (std::size_t v = 0; v < ref::kVerdicts; ++v)
      n.verdicts[v] = read(c::window::kVerdict.word(v));
    // The registers number faults as FrameFault does.
    for (std::size_t f = 0; f < ref::kFrameFaults; ++f)
      n.faults[f] = read(c::window::kFault.word(f));
    n.faults[static_cast<std::size_t>(ref::FrameFault::kLong)] += read(c::window::kFault.word(6));
    n.foreign_dropped = read(c::window::kFault.word(7));
    return n;
  }

private:
  static Bench::Config bench_config() {
    Bench::Config config;
    config.simulation = device_simulation(config.simulation.seed);
    return config;
  }

  /// The frame of a packet whose number of values, if it is that of a slot of `from` lanes, is made
  /// that of a slot of `to` lanes. A packet that would become right by chance is made wrong.
  std::vector<std::uint8_t> with_lanes(ref::Packet packet, std::uint32_t from,
                                       std::uint32_t to) const {
    const ref::Job *job = admission_.find(packet.job);
    if (job != nullptr && packet.type != ref::Type::kNorm &&
        packet.type != ref::Type::kNormResult && packet.format != ref::Format::kNone) {
      const std::size_t unit = ref::coordinates({.lanes = 1}, *job);
      if (packet.values.size() == unit * from)
        packet.values.resize(unit * to, 0);
      else if (packet.values.size() == unit * to)
        packet.values.resize(unit);
    }
    return ref::make_frame(packet);
  }

  [[nodiscard]] std::uint32_t read(std::uint32_t offset) const {
    return bench_->registers.read32(offset).value;
  }

  ref::Config config_;
  ref::Switch admission_; ///< knows the rules for jobs; sees no packet
  std::unique_ptr<Bench> bench_;
  std::array<std::uint16_t, kPlaces> places_{};
};

} // namespace

Result<std::unique_ptr<SwitchDevice>> make_verilated_switch(const SwitchConfig &config) {
  if (config.model.ports > c::kPorts)
    return fail(ErrorCode::kUnsupported, "ports: {}: the RTL has {}", config.model.ports,
                c::kPorts);
  if (config.model.slots > kSlots)
    return fail(ErrorCode::kUnsupported, "slots: {}: the RTL has {}", config.model.slots, kSlots);
  if (config.model.lanes == 0 || config.model.lanes > kLanes)
    return fail(ErrorCode::kUnsupported, "lanes: {}: the RTL has 1 to {}", config.model.lanes,
                kLanes);
  auto made = std::make_unique<VerilatedSwitch>(config);
  KESTREL_TRY(made->start(config));
  return std::unique_ptr<SwitchDevice>(std::move(made));
}

} // namespace kestrel::esa
