// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A Verilated aggregation switch (esa_switch) with sources and sinks at its ports and a register
// master, clocked together. Used by the Verilated device and by tests; link kestrel::sw_ref and
// kestrel::contract beside kestrel::testbench.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kestrel/contract/esa.hpp"
#include "sw_ref/esa/switch.hpp"
#include "testbench/cpp/axis_checker.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"

namespace kestrel::tb {

/// A frame that left the switch.
struct EsaEgress {
  std::uint64_t cycle = 0; ///< of its first beat
  unsigned port = 0;
  std::vector<std::uint8_t> frame;
};

struct EsaVerdict {
  std::uint64_t cycle = 0;
  esa::ref::Verdict verdict{};
  unsigned port = 0; ///< where the packet came in
};

template <class Model> class EsaBench : public RegisterBench<EsaBench<Model>, Model> {
  using Base = RegisterBench<EsaBench<Model>, Model>;
  friend ClockedBench<EsaBench<Model>, Model>;

public:
  static constexpr unsigned kPorts = contract::esa::kPorts;
  static constexpr std::size_t kBeat = 64;

  struct Config : RegisterBenchConfig {
    double idle = 0.0;  ///< probability per cycle and port that a source pauses before a beat
    double stall = 0.0; ///< probability per cycle and port that a sink does not take a beat
    bool check_streams = true; ///< protocol checkers on what leaves
  };

  explicit EsaBench(const Config &config)
      : Base(config), config_(config), random_(config.simulation.seed * 5 + 3),
        checkers_(kPorts, AxisChecker(AxisCheckerConfig{.data_bytes = kBeat})) {
    reset();
  }

  /// Hard reset of the switch; what is queued or half sent is forgotten.
  void reset() {
    for (Source &source : sources_)
      source = Source{};
    for (auto &frame : open_)
      frame.frame.clear();
    ordered_.clear();
    ordered_busy_ = false;
    for (AxisChecker &checker : checkers_)
      checker.reset();
    Base::reset();
  }
  auto parts() { return std::tie(registers); }

  /// Queues a frame at a port; the ports' sources are independent.
  void offer(unsigned port, std::vector<std::uint8_t> frame) {
    sources_[port].queue.push_back(std::move(frame));
  }
  /// Queues a frame so that the switch decides on all of these in the order of the calls, whatever
  /// their ports: the next one ends when the pipeline can have taken this one, which is
  /// `pipeline_beats` cycles after its last beat. Only without idling and stalling.
  void offer_in_order(unsigned port, std::vector<std::uint8_t> frame, unsigned pipeline_beats) {
    ordered_.push_back({port, pipeline_beats, std::move(frame)});
  }
  /// Nothing is queued or half sent.
  [[nodiscard]] bool sources_done() const {
    return ordered_.empty() && std::all_of(sources_.begin(), sources_.end(), [](const Source &s) {
             return s.queue.empty() && !s.valid;
           });
  }

  /// Waits until STATUS.busy is low. False: a register access failed, or it never is.
  [[nodiscard]] bool wait_ready() {
    return registers
        .poll32(contract::esa::reg::kStatus, contract::esa::reg::kStatusBusy.mask(), 0, 2'000'000)
        .ok();
  }
  /// Programs settings and slots of the model's configuration (no job may be active).
  [[nodiscard]] bool configure(const esa::ref::Config &c) {
    namespace r = contract::esa::reg;
    return wait_ready() &&
           registers
               .write32(r::kSettings,
                        r::kSettingsPolicy.put(static_cast<std::uint32_t>(c.policy)) |
                            r::kSettingsCompleted.put(static_cast<std::uint32_t>(c.completed)) |
                            r::kSettingsPreempt.put(static_cast<std::uint32_t>(c.preempt)) |
                            r::kSettingsDowngrade.put(c.downgrade_shift))
               .ok() &&
           registers.write32(r::kSlots, c.slots).ok();
  }
  /// Adds a job at a place of the table; false: refused.
  [[nodiscard]] bool add_job(unsigned place, const esa::ref::Job &job) {
    namespace r = contract::esa::reg;
    bool ok = wait_ready() &&
              registers.write32(r::kJobNumber, std::uint32_t{job.epoch} << 16 | job.job).ok() &&
              registers
                  .write32(r::kJobShape,
                           r::kJobShapeFanIn.put(job.fan_in) | r::kJobShapePsPort.put(job.ps_port) |
                               r::kJobShapeUplink.put(job.uplink ? 1 : 0) |
                               r::kJobShapeMulti.put(job.multi ? 1 : 0) |
                               r::kJobShapeFormat.put(static_cast<std::uint32_t>(job.format)))
                  .ok() &&
              registers.write32(r::kJobMembers, job.members).ok() &&
              registers.write32(r::kJobPorts, job.member_ports).ok() &&
              registers
                  .write32(r::kJobPool,
                           r::kJobPoolBase.put(job.pool_base) | r::kJobPoolSize.put(job.pool_size))
                  .ok();
    for (std::uint32_t i = 0; i < 4 && ok; ++i) {
      std::uint32_t word = 0;
      for (std::uint32_t j = 0; j < 4; ++j)
        word |= static_cast<std::uint32_t>(job.table[4 * i + j]) << (8 * j);
      ok = registers.write32(r::kJobLut0 + 4 * i, word).ok();
    }
    return ok &&
           registers
               .write32(r::kJobCommand, r::kJobCommandPlace.put(place) | r::kJobCommandAdd.put(1))
               .ok();
  }
  /// Removes the job at a place and waits until its slots are free; false: refused.
  [[nodiscard]] bool remove_job(unsigned place) {
    namespace r = contract::esa::reg;
    return wait_ready() &&
           registers
               .write32(r::kJobCommand,
                        r::kJobCommandPlace.put(place) | r::kJobCommandRemove.put(1))
               .ok() &&
           wait_ready();
  }

  /// Protocol violations so far, one a line; empty when there are none.
  [[nodiscard]] std::string violations() {
    std::string text = Base::violations();
    for (unsigned p = 0; p < kPorts; ++p)
      if (!checkers_[p].ok())
        text += checkers_[p].log().report("m_axis " + std::to_string(p));
    return text;
  }

  void set_rates(double idle, double stall) {
    config_.idle = idle;
    config_.stall = stall;
  }
  /// Ports whose sink takes nothing.
  void block_sinks(unsigned mask) { blocked_ = mask; }

  using Base::registers;
  using Base::simulation;

  /// What happened since the caller last cleared them.
  std::deque<EsaEgress> egress;
  std::deque<EsaVerdict> verdicts;
  std::uint64_t beats_in = 0, beats_out = 0;

private:
  struct Source {
    std::deque<std::vector<std::uint8_t>> queue;
    std::size_t at = 0; ///< first byte of the beat that is offered
    bool valid = false;
  };
  struct Ordered {
    unsigned port;
    unsigned pipeline_beats;
    std::vector<std::uint8_t> frame;
  };

  static std::uint64_t low_ones(std::size_t n) {
    return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
  }

  void feed_ordered(std::uint64_t cycle) {
    if (ordered_busy_ || ordered_.empty())
      return;
    Ordered &next = ordered_.front();
    const std::uint64_t beats = (next.frame.size() + kBeat - 1) / kBeat;
    // Its last beat not before `ordered_next_`.
    if (cycle + beats - 1 < ordered_next_)
      return;
    ordered_busy_ = true;
    ordered_port_ = next.port;
    ordered_beats_ = next.pipeline_beats;
    sources_[next.port].queue.push_back(std::move(next.frame));
    ordered_.pop_front();
  }

  void on_drive(std::uint64_t cycle) {
    Model &m = simulation.model();
    feed_ordered(cycle);
    std::uint8_t valid = 0, last = 0, ready = 0;
    for (unsigned p = 0; p < kPorts; ++p) {
      Source &s = sources_[p];
      if (!s.valid && !s.queue.empty() && !simulation.in_reset() && !random_.chance(config_.idle)) {
        s.valid = true;
        const auto &frame = s.queue.front();
        const std::size_t n = std::min(kBeat, frame.size() - s.at);
        auto *data = reinterpret_cast<std::uint8_t *>(m.s_axis_tdata.data()) + p * kBeat;
        std::memcpy(data, frame.data() + s.at, n);
        if (n < kBeat) // bytes without TKEEP carry anything
          std::memset(data + n, static_cast<int>(random_.next() & 0xFF), kBeat - n);
        const std::uint64_t keep = low_ones(n);
        std::memcpy(reinterpret_cast<std::uint8_t *>(m.s_axis_tkeep.data()) + 8 * p, &keep, 8);
      }
      if (s.valid) {
        valid = static_cast<std::uint8_t>(valid | 1U << p);
        if (s.at + kBeat >= s.queue.front().size())
          last = static_cast<std::uint8_t>(last | 1U << p);
      }
      if ((blocked_ >> p & 1U) == 0 && !random_.chance(config_.stall))
        ready = static_cast<std::uint8_t>(ready | 1U << p);
    }
    m.s_axis_tvalid = valid;
    m.s_axis_tlast = last;
    m.m_axis_tready = ready;
  }

  void on_sample(std::uint64_t cycle) {
    Model &m = simulation.model();
    if (simulation.in_reset())
      return;
    for (unsigned p = 0; p < kPorts; ++p) {
      Source &s = sources_[p];
      if (s.valid && (m.s_axis_tready >> p & 1U) != 0) {
        s.valid = false;
        s.at += kBeat;
        ++beats_in;
        if (s.at >= s.queue.front().size()) {
          s.queue.pop_front();
          s.at = 0;
          if (ordered_busy_ && ordered_port_ == p) {
            ordered_busy_ = false;
            ordered_next_ = cycle + ordered_beats_;
          }
        }
      }
      const bool valid = (m.m_axis_tvalid >> p & 1U) != 0;
      const bool ready = (m.m_axis_tready >> p & 1U) != 0;
      if (config_.check_streams) {
        AxisPorts ports;
        ports.tvalid = valid;
        ports.tready = ready;
        if (valid) {
          std::memcpy(ports.beat.data.bytes(),
                      reinterpret_cast<const std::uint8_t *>(m.m_axis_tdata.data()) + p * kBeat,
                      kBeat);
          std::memcpy(&ports.beat.keep,
                      reinterpret_cast<const std::uint8_t *>(m.m_axis_tkeep.data()) + 8 * p, 8);
          ports.beat.last = (m.m_axis_tlast >> p & 1U) != 0;
        }
        checkers_[p].sample(cycle, ports, false);
      }
      if (!valid || !ready)
        continue;
      ++beats_out;
      EsaEgress &open = open_[p];
      if (open.frame.empty()) {
        open.cycle = cycle;
        open.port = p;
      }
      std::uint64_t keep = 0;
      std::memcpy(&keep, reinterpret_cast<const std::uint8_t *>(m.m_axis_tkeep.data()) + 8 * p, 8);
      const auto *data = reinterpret_cast<const std::uint8_t *>(m.m_axis_tdata.data()) + p * kBeat;
      open.frame.insert(open.frame.end(), data, data + std::popcount(keep));
      if ((m.m_axis_tlast >> p & 1U) != 0) {
        egress.push_back(std::move(open));
        open = EsaEgress{};
      }
    }
    if (m.verdict_valid_o != 0)
      verdicts.push_back({cycle, static_cast<esa::ref::Verdict>(m.verdict_o), m.verdict_port_o});
  }

  Config config_;
  Random random_;
  std::vector<AxisChecker> checkers_;
  std::array<Source, kPorts> sources_{};
  std::array<EsaEgress, kPorts> open_{};
  std::deque<Ordered> ordered_;
  bool ordered_busy_ = false;
  unsigned ordered_port_ = 0, ordered_beats_ = 0;
  std::uint64_t ordered_next_ = 0;
  unsigned blocked_ = 0;
};

} // namespace kestrel::tb
