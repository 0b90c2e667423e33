// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Control plane: admission, priorities, membership over two levels of switches with real hosts and
// loss.
#include "kestrel/esa/control.hpp"

#include <deque>
#include <functional>

#include <gtest/gtest.h>

#include "sw_ref/esa/frame.hpp"
#include "sw_ref/esa/hosts.hpp"
#include "tests/sw_ref/random.hpp"

namespace kestrel::esa {
namespace {

using hv::ref::test::Random;

SwitchConfig config(ref::Policy policy = ref::Policy::kEsa) {
  SwitchConfig c;
  c.model.policy = policy;
  c.model.slots = 64;
  c.model.lanes = 4;
  return c;
}

JobRequest request(std::uint16_t job) {
  JobRequest r;
  r.job = job;
  r.worker_ports = {0, 1, 2};
  r.ps_port = 7;
  r.pool_size = 8;
  r.comm_ms = 100;
  r.comp_ms = 200;
  r.iterations = 10;
  return r;
}

TEST(Admission, RegistersAndReleases) {
  const auto device = make_switch("fast", config());
  ControlPlane control(**device, config().model);
  const auto job = control.admit(request(4));
  ASSERT_TRUE(job.ok()) << job.error().message;
  EXPECT_EQ(job->fan_in, 3);
  EXPECT_EQ(job->member_ports, 7U);
  EXPECT_EQ(control.active(), 1U);
  EXPECT_FALSE((*device)->add_job(*job).ok()) << "it is in the switch";
  EXPECT_TRUE(control.release(4).ok());
  EXPECT_FALSE(control.release(4).ok());
  EXPECT_TRUE(control.admit(request(4)).ok());
}

class AdmissionOn : public ::testing::TestWithParam<const char *> {};
INSTANTIATE_TEST_SUITE_P(Devices, AdmissionOn, ::testing::Values("fast", "rtl"));

TEST_P(AdmissionOn, EachStartOfAJobHasAnEpochOfItsOwn) {
  for (const auto policy : {ref::Policy::kEsa, ref::Policy::kAtp, ref::Policy::kSwitchMl}) {
    auto sw = config(policy);
    sw.model.completed = ref::Completed::kHold;
    const auto device = make_switch(GetParam(), sw);
    if (!device.ok() && device.error().code == ErrorCode::kUnsupported) {
      GTEST_SKIP() << device.error().message;
    }
    ASSERT_TRUE(device.ok()) << device.error().message;
    ControlPlane control(**device, sw.model);
    const auto reduce = [&](const ref::Job &job, std::int32_t value) {
      std::vector<std::int32_t> sum;
      for (unsigned w = 0; w < 3; ++w) {
        ref::Packet p;
        p.format = ref::Format::kInt32;
        p.job = job.job;
        p.epoch = job.epoch;
        p.fan_in = job.fan_in;
        p.bitmap = 1U << w;
        p.count = 1;
        p.values.assign(4, value);
        const Ingress in{w, ref::make_frame(p)};
        const auto out = (*device)->run({&in, 1});
        EXPECT_TRUE(out.ok());
        for (const Egress &egress : *out) {
          sum = std::get<ref::Packet>(ref::parse_frame(egress.frame)).values;
        }
      }
      return sum;
    };
    const auto first = control.admit(request(4));
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(reduce(*first, 1), std::vector<std::int32_t>(4, 3));
    // Sequence 0 again.
    const auto second = control.restart(4);
    ASSERT_TRUE(second.ok());
    EXPECT_NE(second->epoch, first->epoch);
    EXPECT_TRUE(reduce(*first, 1).empty()); // late ones
    EXPECT_EQ(reduce(*second, 10), std::vector<std::int32_t>(4, 30));
    ASSERT_TRUE(control.release(4).ok());
    EXPECT_FALSE(control.restart(4).ok());
    const auto third = control.admit(request(4)); // the number is remembered
    ASSERT_TRUE(third.ok());
    EXPECT_TRUE(reduce(*second, 10).empty());
    EXPECT_EQ(reduce(*third, 100), std::vector<std::int32_t>(4, 300));
    EXPECT_EQ((*device)->counters().verdicts[static_cast<std::size_t>(ref::Verdict::kBadEpoch)],
              6U);
    ASSERT_TRUE(control.release(4).ok());
    JobRequest given = request(4);
    given.epoch = 200; // as its launcher says
    EXPECT_EQ(control.admit(given)->epoch, 200);
    EXPECT_EQ(control.restart(4)->epoch, 201);
  }
}

TEST(Admission, RefusesByName) {
  const auto device = make_switch("fast", config());
  ControlPlane control(**device, config().model, 2);
  struct Case {
    const char *name;
    ErrorCode code;
    std::function<void(JobRequest &)> spoil;
  };
  const Case cases[] = {
      {"fan_in", ErrorCode::kInvalidArgument, [](JobRequest &r) { r.worker_ports.clear(); }},
      {"fan_in", ErrorCode::kInvalidArgument, [](JobRequest &r) { r.worker_ports.assign(33, 0); }},
      {"worker_ports", ErrorCode::kInvalidArgument, [](JobRequest &r) { r.worker_ports[1] = 8; }},
      {"ps_port", ErrorCode::kInvalidArgument, [](JobRequest &r) { r.ps_port = 8; }},
      {"coordinates", ErrorCode::kResourceLimit, [](JobRequest &r) { r.coordinates = 5; }},
      {"table", ErrorCode::kInvalidArgument,
       [](JobRequest &r) { r.format = ref::Format::kThcSum8; }},
      {"do not fit", ErrorCode::kInvalidArgument,
       [](JobRequest &r) {
         r.format = ref::Format::kThcSum8;
         r.table.fill(100);
         r.table[0] = 0;
       }},
      {"format", ErrorCode::kInvalidArgument,
       [](JobRequest &r) {
         r.format = ref::Format::kFp32;
         r.table[15] = 1;
       }},
      {"comm_ms", ErrorCode::kInvalidArgument, [](JobRequest &r) { r.comm_ms = -1; }},
      {"number 0", ErrorCode::kInvalidArgument, [](JobRequest &r) { r.job = 0; }},
  };
  for (const Case &c : cases) {
    JobRequest r = request(c.name == std::string("number 0") ? 0 : 9);
    c.spoil(r);
    const auto job = control.admit(r);
    ASSERT_FALSE(job.ok()) << c.name;
    EXPECT_EQ(job.error().code, c.code) << job.error().message;
    EXPECT_NE(job.error().message.find(c.name), std::string::npos) << job.error().message;
    EXPECT_NE(job.error().message.find("job "), std::string::npos) << job.error().message;
    EXPECT_EQ(control.active(), 0U);
  }
  ASSERT_TRUE(control.admit(request(1)).ok());
  EXPECT_NE(control.admit(request(1)).error().message.find("registered already"),
            std::string::npos);
  ASSERT_TRUE(control.admit(request(2)).ok());
  EXPECT_EQ(control.admit(request(3)).error().code, ErrorCode::kResourceLimit);
}

TEST(Admission, PoolsGetPlacesThatDoNotOverlap) {
  const auto device = make_switch("fast", config(ref::Policy::kSwitchMl));
  ControlPlane control(**device, config(ref::Policy::kSwitchMl).model);
  EXPECT_EQ(control.admit(request(1))->pool_base, 0U);
  EXPECT_EQ(control.admit(request(2))->pool_base, 16U);
  EXPECT_EQ(control.admit(request(3))->pool_base, 32U);
  EXPECT_EQ(control.admit(request(4))->pool_base, 48U);
  EXPECT_EQ(control.admit(request(5)).error().code, ErrorCode::kResourceLimit);
  ASSERT_TRUE(control.release(2).ok());
  JobRequest small = request(6);
  small.pool_size = 3;
  EXPECT_EQ(control.admit(small)->pool_base, 16U);
  EXPECT_FALSE(control.admit(request(7)).ok());
  small.job = 8;
  small.pool_size = 0;
  EXPECT_FALSE(control.admit(small).ok());
}

TEST(Priority, CommunicationLittleWorkAndFrontLayersComeFirst) {
  const PriorityTerms terms;
  const JobProgress base{100, 200, 10, 0};
  const unsigned p = priority(terms, base, 3);
  JobProgress other = base;
  other.comm_ms = 200;
  other.comp_ms = 100;
  EXPECT_GT(priority(terms, other, 3), p) << "communication-bound";
  other = base;
  other.remaining = 5;
  EXPECT_EQ(priority(terms, other, 3), p + 8) << "half the work: twice the priority, eight steps";
  EXPECT_GT(priority(terms, base, 0), p) << "front layer";
  EXPECT_LT(priority(terms, base, 15), p);
  PriorityTerms unknown = terms;
  unknown.known_work = false;
  other = base;
  other.served = 7;
  EXPECT_LT(priority(unknown, other, 3), priority(unknown, base, 3)) << "little attained first";
  // Clamped, never 0.
  EXPECT_EQ(priority(terms, {1e-9, 1e9, 1e9, 0}, 1000), 1);
  EXPECT_EQ(priority(terms, {1e3, 0, 1, 0}, 0), 255);
}

TEST(Priority, FollowsTheProgressOfAJob) {
  const auto device = make_switch("fast", config());
  ControlPlane control(**device, config().model);
  ASSERT_TRUE(control.admit(request(1)).ok());
  JobRequest unknown = request(2);
  unknown.iterations = 0;
  ASSERT_TRUE(control.admit(unknown).ok());
  unsigned known = *control.priority_of(1, 0);
  unsigned attained = *control.priority_of(2, 0);
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(control.iteration_done(1).ok());
    ASSERT_TRUE(control.iteration_done(2).ok());
    EXPECT_GT(*control.priority_of(1, 0), known) << "less and less to do";
    EXPECT_LT(*control.priority_of(2, 0), attained) << "more and more served";
    known = *control.priority_of(1, 0);
    attained = *control.priority_of(2, 0);
  }
  EXPECT_FALSE(control.priority_of(3, 0).ok());
  EXPECT_FALSE(control.iteration_done(3).ok());
}

TEST(TwoLevels, RefusesBadMembership) {
  const ref::Job like = ref::make_job(3, {0}, 0);
  EXPECT_FALSE(make_two_level(like, {}, 7).ok());
  EXPECT_FALSE(make_two_level(like, {{{}, 7, 0}}, 7).ok());
  EXPECT_FALSE(make_two_level(like, {{{{0, 0}, {0, 1}}, 7, 0}}, 7).ok());
  EXPECT_FALSE(make_two_level(like, {{{{0, 0}, {2, 1}}, 7, 0}}, 7).ok());
  EXPECT_FALSE(make_two_level(like, {{{{32, 0}}, 7, 0}}, 7).ok());
  EXPECT_TRUE(make_two_level(like, {{{{0, 0}}, 7, 0}, {{{1, 0}}, 7, 1}}, 7).ok());
}

/// Two racks under a spine, one job with real workers and PS, every link loses packets: switches 0
/// and 1 are racks, 2 the spine.
TEST(TwoLevels, RacksAndSpineSumExactlyUnderLoss) {
  Random random;
  SCOPED_TRACE(random.note());
  for (const double loss : {0.0, 0.02}) {
    ref::HostConfig h;
    h.sequences = 600;
    h.slots = 48;
    h.window_start = 16;
    h.window_max = 32;
    h.timeout = 400;
    h.reminder = 120;
    const std::vector<Rack> racks = {{{{0, 0}, {3, 1}}, 7, 0}, {{{1, 0}, {2, 2}, {4, 2}}, 6, 1}};
    const auto made = make_two_level(ref::make_job(9, {0}, 0), racks, 5);
    ASSERT_TRUE(made.ok()) << made.error().message;
    h.job = made->spine;
    ref::Config model = config().model;
    model.slots = 48;
    std::vector<ref::Switch> switches(3, ref::Switch(model));
    ASSERT_EQ(switches[0].add_job(made->racks[0]), std::nullopt);
    ASSERT_EQ(switches[1].add_job(made->racks[1]), std::nullopt);
    ASSERT_EQ(switches[2].add_job(made->spine), std::nullopt);
    // Another job in one rack fights for its slots.
    ASSERT_EQ(switches[0].add_job(ref::make_job(10, {0, 1}, 7)), std::nullopt);

    const auto value = [](std::uint32_t seq, unsigned w) {
      return std::vector<std::int32_t>{1 << (4 * w), static_cast<std::int32_t>(seq * 77 + w), 3, 4};
    };
    std::vector<ref::Worker> workers;
    for (unsigned w = 0; w < 5; ++w) {
      workers.emplace_back(
          h, w, [=](std::uint32_t seq) { return value(seq, w); },
          [](std::uint32_t) { return std::uint8_t{50}; });
    }
    ref::ParameterServer ps(h);
    struct Moving {
      ref::Time due;
      int to; // 0..2 switches, 3 + w workers, 8 the PS
      unsigned port;
      ref::Packet packet;
    };
    std::deque<Moving> net;
    ref::Time now = 0;
    std::uint64_t lost = 0;
    const auto carry = [&](int to, unsigned port, const ref::Packet &p) {
      if (random.chance(loss)) {
        ++lost;
      } else {
        net.push_back({now + 3, to, port, p});
      }
    };
    const auto rack_of = [](unsigned w) { return w == 0 || w == 3 ? 0 : 1; };
    const auto port_of = [&](unsigned w) -> unsigned {
      for (const RackWorker &x : racks[static_cast<std::size_t>(rack_of(w))].workers) {
        if (x.worker == w) {
          return x.port;
        }
      }
      return 0;
    };
    std::vector<ref::Packet> out;
    std::uint64_t steps = 0;
    const auto all_done = [&] {
      for (const ref::Worker &w : workers) {
        if (!w.done()) {
          return false;
        }
      }
      return true;
    };
    for (; !all_done(); ++now) {
      ASSERT_LT(now, 2'000'000U) << "stuck";
      while (!net.empty() && net.front().due <= now) {
        const Moving m = std::move(net.front());
        net.pop_front();
        ++steps;
        if (m.to == 8) {
          ps.receive(m.packet, now, out);
          for (const auto &p : out) {
            carry(2, 5, p);
          }
        } else if (m.to >= 3) {
          const auto w = static_cast<unsigned>(m.to - 3);
          workers[w].receive(m.packet, now, out);
          for (const auto &p : out) {
            carry(rack_of(w), port_of(w), p);
          }
        } else {
          auto &sw = switches[static_cast<std::size_t>(m.to)];
          const ref::Outcome o = sw.process(m.packet, m.port);
          ASSERT_EQ(sw.invariant_error(), std::nullopt);
          ASSERT_LT(static_cast<int>(ref::Verdict::kBadTag), static_cast<int>(o.verdict))
              << ref::to_string(o.verdict);
          for (unsigned port = 0; o.out && port < 8; ++port) {
            if ((o.out->ports >> port & 1) == 0 || o.out->packet.job != 9) {
              continue;
            }
            if (m.to == 2) {
              carry(port == 5 ? 8 : static_cast<int>(port), port == 5 ? 0 : (port == 0 ? 7 : 6),
                    o.out->packet);
            } else if (port == (m.to == 0 ? 7U : 6U)) {
              carry(2, static_cast<unsigned>(m.to), o.out->packet);
            } else {
              for (const RackWorker &w : racks[static_cast<std::size_t>(m.to)].workers) {
                if (w.port == port) {
                  carry(3 + static_cast<int>(w.worker), 0, o.out->packet);
                }
              }
            }
          }
        }
        out.clear();
      }
      if (random.chance(0.02)) {
        ref::Packet rival;
        rival.job = 10;
        rival.fan_in = 2;
        rival.seq = static_cast<std::uint32_t>(now);
        rival.slot = static_cast<std::uint16_t>(random.range(0, 47));
        rival.bitmap = rival.count = 1;
        rival.prio = static_cast<std::uint8_t>(random.range(0, 255));
        rival.format = ref::Format::kInt32;
        rival.values = {1, 2, 3, 4};
        const auto o = switches[0].process(rival, 0);
        if (o.verdict == ref::Verdict::kPreempted && o.out->packet.job == 9) {
          carry(2, 0, o.out->packet);
        }
      }
      for (unsigned w = 0; w < 5; ++w) {
        if (now == 0 || workers[w].next_timer() <= now) {
          workers[w].poll(now, out);
          for (const auto &p : out) {
            carry(rack_of(w), port_of(w), p);
          }
          out.clear();
        }
      }
      if (ps.next_timer() <= now) {
        ps.poll(now, out);
        for (const auto &p : out) {
          carry(2, 5, p);
        }
        out.clear();
      }
    }
    for (std::uint32_t seq = 0; seq < h.sequences; ++seq) {
      std::vector<std::int32_t> want(4, 0);
      for (unsigned w = 0; w < 5; ++w) {
        for (std::size_t i = 0; i < 4; ++i) {
          want[i] += value(seq, w)[i];
        }
      }
      for (const ref::Worker &w : workers) {
        ASSERT_EQ(w.result(seq)->values, want) << "sequence " << seq;
      }
    }
    EXPECT_TRUE(ps.reports().empty());
    EXPECT_GT(steps, 5000U);
    EXPECT_EQ(lost > 0, loss > 0);
    EXPECT_GT(switches[2].count(ref::Verdict::kCompleted), 0U) << "sums completed in the spine";
    EXPECT_GT(switches[0].count(ref::Verdict::kPreempted), 0U);
    EXPECT_GT(ps.counters().results, 0U) << "and some at the PS";
  }
}

} // namespace
} // namespace kestrel::esa
