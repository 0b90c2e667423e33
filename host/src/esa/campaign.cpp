// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/esa/campaign.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <queue>
#include <random>

#include "sw_ref/esa/hosts.hpp"

namespace kestrel::esa {

namespace {

using ref::Time;

constexpr unsigned kPsPort = 7;
constexpr Time kDelay = 2000;          // ns, of a link
constexpr Time kEnd = 600'000'000'000; // ns: a job that lives longer is stuck
constexpr std::uint32_t kWindow = 64;

/// Contribution of a worker to an aggregation: random, so that no two sums are alike.
std::vector<std::int32_t> contribution(std::uint16_t job, std::uint32_t seq, unsigned worker,
                                       std::size_t n, bool indices) {
  std::uint64_t state = (std::uint64_t{job} << 40 ^ std::uint64_t{seq} << 8 ^ worker) + 1;
  std::vector<std::int32_t> values(n);
  for (auto &value : values) { // splitmix64
    std::uint64_t z = state += 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    const auto word = static_cast<std::uint32_t>(z >> 32);
    value = static_cast<std::int32_t>(indices ? word & 15 : word);
  }
  return values;
}

/// One job with its hosts.
struct JobRun {
  ref::HostConfig hosts;
  bool indices = false;
  std::size_t coordinates = 0;
  std::vector<ref::Worker> workers;
  std::vector<bool> dead;
  std::vector<Time> late;
  std::vector<Time> wake; ///< timer event that is on its way, for each worker and the PS
  std::unique_ptr<ref::ParameterServer> ps;
  int dying = -1;
  bool reported = false;
  bool over = false;

  [[nodiscard]] std::vector<std::int32_t> sum(std::uint32_t seq, std::uint32_t bitmap) const {
    std::vector<std::int32_t> total(coordinates, 0);
    ref::Packet p;
    p.format = indices ? ref::Format::kThcIndex4 : hosts.job.format;
    for (unsigned w = 0; w < hosts.job.fan_in; ++w) {
      if ((bitmap >> w & 1) != 0) {
        p.values = contribution(hosts.job.job, seq, w, coordinates, indices);
        ref::accumulate(total, p, hosts.job);
      }
    }
    return total;
  }
};

enum class Kind : std::uint8_t { kToSwitch, kToHost, kTimer, kDeath, kRestart };

struct Event {
  Time time = 0;
  std::uint64_t order = 0;
  Kind kind = Kind::kTimer;
  unsigned port = 0;
  std::size_t job = 0; ///< place in the round
  unsigned host = 0;   ///< worker; fan_in: the PS
  std::vector<std::uint8_t> frame;
  friend bool operator>(const Event &a, const Event &b) {
    return a.time != b.time ? a.time > b.time : a.order > b.order;
  }
};

class Campaign {
public:
  Campaign(const CampaignConfig &config, SwitchDevice &device)
      : config_(config), device_(device), random_(config.seed) {}

  Result<void> round(std::uint16_t first_job);
  CampaignTally tally;

private:
  bool chance(double p) { return std::bernoulli_distribution(p)(random_); }
  Time upto(Time n) { return std::uniform_int_distribution<Time>(0, n)(random_); }

  void push(Event event) {
    event.order = order_++;
    events_.push(std::move(event));
  }
  void transmit(Kind kind, unsigned port, const std::vector<std::uint8_t> &frame, Time now);
  void damage(std::vector<std::uint8_t> &frame);
  Result<void> at_switch(const Event &event);
  void at_host(const Event &event);
  void timers(std::size_t place);
  void host_sends(std::size_t place, unsigned host, std::vector<ref::Packet> &out, Time now);
  void malformed(const JobRun &job, Time now);
  void make_job(std::uint16_t number);
  void check_over(std::size_t place);
  void settle(const JobRun &job);

  CampaignConfig config_;
  SwitchDevice &device_;
  std::mt19937_64 random_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t order_ = 0;
  Time now_ = 0;
  std::vector<JobRun> jobs_;
  std::size_t running_ = 0;
};

void Campaign::damage(std::vector<std::uint8_t> &frame) {
  ++tally.damaged;
  if (chance(0.2)) {
    frame.resize(1 + upto(frame.size() - 2)); // nothing at all is no frame
    return;
  }
  // One flipped bit from the IPv4 header on: the checksums or a check see it for certain.
  const std::size_t at = 14 + upto(frame.size() - 15);
  frame[at] = static_cast<std::uint8_t>(frame[at] ^ (1U << upto(7)));
}

void Campaign::transmit(Kind kind, unsigned port, const std::vector<std::uint8_t> &frame,
                        Time now) {
  Event event;
  event.kind = kind;
  event.port = port;
  const int copies = chance(config_.duplicate) ? 2 : 1;
  tally.duplicated += copies == 2 ? 1U : 0U;
  for (int i = 0; i < copies; ++i) {
    if (chance(config_.loss)) {
      ++tally.lost;
      continue;
    }
    event.time = now + kDelay + upto(1000) + (i == 0 ? 0 : upto(200'000));
    if (chance(config_.reorder)) {
      event.time += upto(100'000);
      ++tally.reordered;
    }
    event.frame = frame;
    // On the way from the switch the FCS finds damage: that is a loss.
    if (kind == Kind::kToSwitch && chance(config_.damage)) {
      damage(event.frame);
    }
    push(event);
  }
}

void Campaign::make_job(std::uint16_t number) {
  const bool pool = config_.model.policy == ref::Policy::kSwitchMl;
  const unsigned ports = config_.model.ports;
  const auto fan_in = static_cast<unsigned>(1 + upto(5));
  std::vector<unsigned> worker_ports(fan_in);
  for (unsigned w = 0; w < fan_in; ++w) {
    worker_ports[w] = static_cast<unsigned>(upto(std::min(ports, kPsPort) - 1));
  }
  JobRun run;
  run.indices = chance(0.3);
  ref::HostConfig &h = run.hosts;
  h.policy = config_.model.policy;
  h.completed = config_.model.completed;
  h.job = ref::make_job(number, worker_ports, kPsPort,
                        run.indices ? ref::Format::kThcSum8 : ref::Format::kInt32);
  h.job.table = {0, 3, 5, 7, 9, 11, 13, 14, 16, 17, 19, 21, 23, 25, 27, 30};
  if (pool) {
    h.job.pool_size = config_.model.slots / 12;
    h.job.pool_base = static_cast<std::uint32_t>(jobs_.size()) * 2 * h.job.pool_size;
  }
  h.slots = config_.model.slots;
  h.sequences = static_cast<std::uint32_t>(200 + upto(400));
  h.window_max = kWindow;
  h.window_start = kWindow / 2;
  h.timeout = 500'000;
  h.reminder = 100'000;
  run.coordinates = ref::coordinates(config_.model, h.job);
  run.ps = std::make_unique<ref::ParameterServer>(h);
  run.dead.assign(fan_in, false);
  run.wake.assign(fan_in + 1, ref::kNever);
  const auto prio = static_cast<std::uint8_t>(upto(255));
  for (unsigned w = 0; w < fan_in; ++w) {
    const std::size_t n = run.coordinates;
    const bool indices = run.indices;
    run.workers.emplace_back(
        h, w, [=](std::uint32_t seq) { return contribution(number, seq, w, n, indices); },
        [=](std::uint32_t) { return prio; },
        indices ? ref::Format::kThcIndex4 : ref::Format::kInt32);
    const bool late = chance(config_.straggler);
    tally.stragglers += late ? 1U : 0U;
    run.late.push_back(late ? 50'000 : 0);
  }
  Event event;
  event.job = jobs_.size();
  if (fan_in > 1 && chance(config_.death)) {
    run.dying = static_cast<int>(upto(fan_in - 1));
    event.kind = Kind::kDeath;
    event.host = static_cast<unsigned>(run.dying);
    event.time = now_ + upto(2'000'000);
    push(event);
  }
  if (!pool && chance(config_.restart)) {
    event.kind = Kind::kRestart;
    event.time = now_ + upto(3'000'000);
    push(event);
  }
  tally.jobs += 1;
  tally.sequences += h.sequences;
  jobs_.push_back(std::move(run));
}

void Campaign::host_sends(std::size_t place, unsigned host, std::vector<ref::Packet> &out,
                          Time now) {
  const JobRun &job = jobs_[place];
  const bool ps = host == job.hosts.job.fan_in;
  unsigned port = kPsPort;
  if (!ps) { // workers are spread over the job's ports
    std::vector<unsigned> ports;
    for (unsigned p = 0; p < config_.model.ports; ++p) {
      if ((job.hosts.job.member_ports >> p & 1) != 0) {
        ports.push_back(p);
      }
    }
    port = ports[host % ports.size()];
  }
  ref::Addresses addresses;
  addresses.source_mac[5] = static_cast<std::uint8_t>(host + 1);
  addresses.source_ip = 0x0A4B5300U + static_cast<std::uint32_t>(host + 1);
  for (const ref::Packet &p : out) {
    transmit(Kind::kToSwitch, port, ref::make_frame(p, addresses, true),
             now + (ps ? 0 : job.late[host]));
    if (chance(config_.malformed)) {
      malformed(job, now);
    }
  }
  out.clear();
}

/// A packet of a host that has gone astray: valid checksums, impossible fields.
void Campaign::malformed(const JobRun &job, Time now) {
  ref::Packet p;
  const auto seq = static_cast<std::uint32_t>(upto(job.hosts.sequences - 1));
  p.type = ref::Type::kData;
  p.format = job.indices ? ref::Format::kThcIndex4 : ref::Format::kInt32;
  p.job = job.hosts.job.job;
  p.epoch = job.hosts.job.epoch;
  p.fan_in = job.hosts.job.fan_in;
  p.seq = seq;
  p.bitmap = 1;
  p.count = 1;
  p.prio = 255;
  p.values = contribution(p.job, seq, 9, job.coordinates, job.indices);
  switch (upto(9)) {
  case 0:
    p.job = static_cast<std::uint16_t>(60000 + upto(1000));
    break;
  case 1:
    p.fan_in = static_cast<std::uint8_t>(33 + upto(200));
    break;
  case 2:
    p.slot = static_cast<std::uint16_t>(config_.model.slots + upto(1000));
    break;
  case 3:
    p.bitmap = job.hosts.job.fan_in == 32 ? 0 : std::uint32_t{1} << job.hosts.job.fan_in;
    break;
  case 4:
    p.bitmap = 0;
    p.count = 0;
    break;
  case 5:
    p.count = 7;
    break;
  case 6:
    p.format = ref::Format::kThcSum16;
    break;
  case 7:
    p.values.resize(p.values.size() - 2);
    break;
  case 8: // of another start, otherwise in order
    p.epoch = static_cast<std::uint8_t>(p.epoch + 1 + upto(254));
    break;
  default:
    p.type = static_cast<ref::Type>(9 + upto(200));
    break;
  }
  ++tally.malformed;
  transmit(Kind::kToSwitch, static_cast<unsigned>(upto(config_.model.ports - 1)),
           ref::make_frame(p, {}, true), now);
}

Result<void> Campaign::at_switch(const Event &event) {
  ++tally.offered;
  const Ingress in{event.port, event.frame};
  KESTREL_ASSIGN(const auto out, device_.run({&in, 1}));
  for (const Egress &egress : out) {
    const auto parsed = ref::parse_frame(egress.frame);
    const auto *p = std::get_if<ref::Packet>(&parsed);
    if (p == nullptr) {
      ++tally.wrong_emissions;
      continue;
    }
    if (p->bitmap != 0 && !p->values.empty()) {
      // What leaves is the sum that its bitmap names; indices pass as they came.
      ++tally.emissions;
      const auto job = std::find_if(jobs_.begin(), jobs_.end(),
                                    [&](const JobRun &j) { return j.hosts.job.job == p->job; });
      std::vector<std::int32_t> values = p->values;
      if (job != jobs_.end() && p->format == ref::Format::kThcIndex4) {
        std::fill(values.begin(), values.end(), 0);
        ref::accumulate(values, *p, job->hosts.job);
      }
      if (job == jobs_.end() || values != job->sum(p->seq, p->bitmap)) {
        ++tally.wrong_emissions;
      }
    }
    transmit(Kind::kToHost, egress.port, egress.frame, event.time);
  }
  return {};
}

void Campaign::at_host(const Event &event) {
  const auto parsed = ref::parse_frame(event.frame);
  const auto *p = std::get_if<ref::Packet>(&parsed);
  if (p == nullptr) {
    return;
  }
  std::vector<ref::Packet> out;
  for (std::size_t place = 0; place < jobs_.size(); ++place) {
    JobRun &job = jobs_[place];
    if (job.over || job.hosts.job.job != p->job) {
      continue;
    }
    if (event.port == kPsPort) {
      job.ps->receive(*p, event.time, out);
      host_sends(place, job.hosts.job.fan_in, out, event.time);
    } else {
      for (unsigned w = 0; w < job.hosts.job.fan_in; ++w) {
        if (!job.dead[w]) {
          job.workers[w].receive(*p, event.time, out);
          host_sends(place, w, out, event.time);
        }
      }
    }
    timers(place);
    check_over(place);
  }
}

void Campaign::timers(std::size_t place) {
  JobRun &job = jobs_[place];
  const unsigned fan_in = job.hosts.job.fan_in;
  for (unsigned host = 0; host <= fan_in; ++host) {
    const Time due = host == fan_in   ? job.ps->next_timer()
                     : job.dead[host] ? ref::kNever
                                      : job.workers[host].next_timer();
    if (due < job.wake[host]) {
      job.wake[host] = due;
      Event event;
      event.kind = Kind::kTimer;
      event.time = std::max(due, now_);
      event.job = place;
      event.host = host;
      push(event);
    }
  }
}

void Campaign::check_over(std::size_t place) {
  JobRun &job = jobs_[place];
  if (job.over) {
    return;
  }
  job.reported =
      !job.ps->reports().empty() || std::any_of(job.workers.begin(), job.workers.end(),
                                                [](const ref::Worker &w) { return w.failed(); });
  bool all = true;
  for (unsigned w = 0; w < job.hosts.job.fan_in; ++w) {
    all = all && (job.dead[w] || job.workers[w].done());
  }
  if (all || job.reported) {
    job.over = true;
    --running_;
  }
}

void Campaign::settle(const JobRun &job) {
  const bool died = std::find(job.dead.begin(), job.dead.end(), true) != job.dead.end();
  bool blamed_living = job.reported && !died;
  for (const ref::Report &report : job.ps->reports()) {
    for (unsigned w = 0; w < job.hosts.job.fan_in; ++w) {
      // A worker that lives may be behind because the dead one holds it up; without a dead one, it
      // was blamed wrongly.
      blamed_living = blamed_living || ((report.missing >> w & 1) != 0 && !died);
    }
  }
  tally.false_reports += blamed_living ? 1U : 0U;
  for (std::uint32_t seq = 0; seq < job.hosts.sequences; ++seq) {
    bool everywhere = true;
    std::optional<std::vector<std::int32_t>> want;
    for (unsigned w = 0; w < job.hosts.job.fan_in; ++w) {
      const auto &result = job.workers[w].result(seq);
      if (!result) {
        everywhere = everywhere && job.dead[w];
        continue;
      }
      if (!want) {
        want = job.sum(seq, job.hosts.job.fan_in >= 32
                                ? ~std::uint32_t{0}
                                : (std::uint32_t{1} << job.hosts.job.fan_in) - 1);
      }
      tally.wrong += result->values != *want ? 1U : 0U;
    }
    if (everywhere && want) {
      ++tally.exact;
    } else if (job.reported && died) {
      ++tally.reported;
    } else {
      ++tally.unfinished;
    }
  }
}

/// Up to six jobs from start to end.
Result<void> Campaign::round(std::uint16_t first_job) {
  jobs_.clear();
  events_ = {};
  const Time start = now_;
  const auto count = static_cast<std::uint16_t>(2 + upto(4));
  for (std::uint16_t i = 0; i < count; ++i) {
    make_job(static_cast<std::uint16_t>(first_job + i));
    KESTREL_TRY(device_.add_job(jobs_.back().hosts.job));
  }
  running_ = count;
  std::vector<ref::Packet> out;
  for (std::size_t place = 0; place < jobs_.size(); ++place) {
    for (unsigned w = 0; w < jobs_[place].hosts.job.fan_in; ++w) {
      jobs_[place].workers[w].poll(now_, out);
      host_sends(place, w, out, now_);
    }
    timers(place);
  }
  while (running_ != 0 && !events_.empty() && now_ - start < kEnd) {
    const Event event = events_.top();
    events_.pop();
    now_ = event.time;
    JobRun &job = jobs_[event.job];
    switch (event.kind) {
    case Kind::kToSwitch:
      KESTREL_TRY(at_switch(event));
      break;
    case Kind::kToHost:
      at_host(event);
      break;
    case Kind::kTimer:
      job.wake[event.host] = ref::kNever;
      if (job.over) {
        break;
      }
      if (event.host == job.hosts.job.fan_in) {
        job.ps->poll(now_, out);
      } else if (!job.dead[event.host]) {
        job.workers[event.host].poll(now_, out);
      }
      host_sends(event.job, event.host, out, now_);
      timers(event.job);
      check_over(event.job);
      break;
    case Kind::kDeath:
      if (!job.over) {
        job.dead[event.host] = true;
        ++tally.deaths;
        check_over(event.job);
      }
      break;
    case Kind::kRestart:
      if (!job.over) {
        job.ps->restart();
        ++tally.restarts;
      }
      break;
    }
  }
  for (const JobRun &job : jobs_) {
    settle(job);
    KESTREL_TRY(device_.remove_job(job.hosts.job.job));
  }
  tally.simulated_ns = now_;
  return {};
}

} // namespace

Result<CampaignTally> run_campaign(const CampaignConfig &config) {
  KESTREL_TRY(check_ranges(kCampaignRanges, {{"packets", static_cast<double>(config.packets)},
                                             {"slots", config.model.slots},
                                             {"lanes", config.model.lanes},
                                             {"loss", config.loss},
                                             {"duplicate", config.duplicate},
                                             {"reorder", config.reorder},
                                             {"damage", config.damage},
                                             {"malformed", config.malformed},
                                             {"death", config.death},
                                             {"restart", config.restart},
                                             {"straggler", config.straggler}}));
  if (config.model.ports < 8) {
    return fail(ErrorCode::kInvalidArgument, "ports: a campaign needs 8");
  }
  if (config.model.policy == ref::Policy::kSwitchMl && config.model.slots < 12) {
    return fail(ErrorCode::kInvalidArgument, "slots: six SwitchML pools need 12");
  }
  SwitchConfig sw;
  sw.model = config.model;
  KESTREL_ASSIGN(const auto device, make_switch(config.device, sw));
  Campaign campaign(config, *device);
  for (std::uint32_t job = 1; campaign.tally.offered < config.packets; job = job % 50000 + 6) {
    KESTREL_TRY(campaign.round(static_cast<std::uint16_t>(job)));
  }
  CampaignTally &tally = campaign.tally;
  tally.counters = device->counters();
  const auto &c = tally.counters;
  const std::uint64_t decided =
      std::accumulate(c.verdicts.begin(), c.verdicts.end(), std::uint64_t{0}) +
      std::accumulate(c.faults.begin(), c.faults.end(), std::uint64_t{0});
  tally.unaccounted = decided > tally.offered ? decided - tally.offered : tally.offered - decided;
  return tally;
}

} // namespace kestrel::esa
