// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "esa/fast_switch.hpp"

#include <algorithm>

namespace kestrel::esa {

namespace {

constexpr std::size_t kBeat = 64;
std::uint64_t beats(std::size_t bytes) { return (bytes + kBeat - 1) / kBeat; }

} // namespace

FastSwitch::FastSwitch(const SwitchConfig &config)
    : forward_(config.forward), switch_(config.model), port_free_(config.model.ports, 0) {
  forward_.resize(config.model.ports, ref::kNoPort);
}

Result<void> FastSwitch::add_job(const ref::Job &job) {
  if (const auto error = switch_.add_job(job)) {
    return fail(ErrorCode::kInvalidArgument, "{}", *error);
  }
  return {};
}

Result<void> FastSwitch::remove_job(std::uint16_t job) {
  if (!switch_.remove_job(job)) {
    return fail(ErrorCode::kNotFound, "job {}: not registered", job);
  }
  return {};
}

void FastSwitch::leave(std::vector<Egress> &out, std::uint64_t earliest, unsigned port,
                       const std::vector<std::uint8_t> &frame) {
  const std::uint64_t cycle = std::max(earliest, port_free_[port]);
  port_free_[port] = cycle + beats(frame.size());
  out.push_back({cycle, port, frame});
  ++counters_.frames_out;
}

Result<std::vector<Egress>> FastSwitch::run(std::span<const Ingress> frames) {
  std::vector<Egress> out;
  const unsigned ports = switch_.config().ports;
  for (const Ingress &in : frames) {
    if (in.port >= ports) {
      return fail(ErrorCode::kInvalidArgument, "port {}: the switch has {}", in.port, ports);
    }
    ++counters_.frames_in;
    now_ += std::max<std::uint64_t>(1, beats(in.frame.size()));
    const std::uint64_t earliest = now_ - 1 + kSwitchLatency;
    const auto parsed = ref::parse_frame(in.frame);
    if (const auto *fault = std::get_if<ref::FrameFault>(&parsed)) {
      ++counters_.faults[static_cast<std::size_t>(*fault)];
      if (*fault == ref::FrameFault::kForeign) {
        if (const unsigned port = forward_[in.port]; port < ports && !in.frame.empty()) {
          leave(out, earliest, port, in.frame);
        } else {
          ++counters_.foreign_dropped;
        }
      }
      continue;
    }
    const ref::Outcome outcome = switch_.process(std::get<ref::Packet>(parsed), in.port);
    ++counters_.verdicts[static_cast<std::size_t>(outcome.verdict)];
    if (outcome.out) {
      const std::vector<std::uint8_t> frame = ref::make_frame(outcome.out->packet);
      for (unsigned port = 0; port < ports; ++port) {
        if ((outcome.out->ports >> port & 1) != 0) {
          leave(out, earliest, port, frame);
        }
      }
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const Egress &a, const Egress &b) {
    return a.cycle != b.cycle ? a.cycle < b.cycle : a.port < b.port;
  });
  return out;
}

} // namespace kestrel::esa
