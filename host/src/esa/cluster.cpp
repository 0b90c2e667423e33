// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/esa/cluster.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <queue>
#include <random>

#include <boost/crc.hpp>

#include "kestrel/esa/device.hpp"
#include "sw_ref/esa/frame.hpp"

namespace kestrel::esa {
namespace {

using Time = std::int64_t; // picoseconds of scaled time

constexpr double kPicosecondsPerUs = 1e6;
constexpr std::uint32_t kLanes = 64;
constexpr double kControlBytes = 64 + 24;                 ///< header frame; preamble, FCS and gap
constexpr double kDataBytes = kControlBytes + 4 * kLanes; ///< with 64 int32 lanes
constexpr std::uint32_t kRing = 8192;                     ///< open sequence numbers kept of a job
constexpr std::uint32_t kIndices = 4096; ///< slot indices of a job, reused window after window
constexpr unsigned kDevicePorts = 8;     ///< of a SwitchDevice; the PS is at the last one
constexpr unsigned kPsPort = 31;         ///< a job's workers are at ports 0.., its PS here

constexpr std::uint32_t bit(unsigned n) { return std::uint32_t{1} << n; }

/// A packet on its way: what the hosts and the switch look at.
struct Flight {
  ref::Type type = ref::Type::kData;
  std::uint8_t flags = 0;
  std::uint8_t prio = 0;
  std::uint16_t slot = 0;
  std::uint32_t seq = 0;
  std::uint32_t bitmap = 0;
};

enum class Kind : std::uint8_t { kToSwitch, kToHost, kCompute, kReminder, kTimeout, kStart };

struct Event {
  Time time = 0;
  std::uint64_t order = 0; ///< ties in order of making: the run is a function of its seed
  Kind kind = Kind::kStart;
  std::uint8_t host = 0; ///< worker, or kPsPort
  std::uint16_t job = 0; ///< place in jobs
  Flight flight;
};
struct Later {
  bool operator()(const Event &a, const Event &b) const {
    return a.time != b.time ? a.time > b.time : a.order > b.order;
  }
};

struct Link {
  Time up_free = 0;   ///< the host's sender is busy until
  Time down_free = 0; ///< the switch's egress queue is empty from
};

struct Worker {
  unsigned iteration = 0;
  bool backward = false;
  bool computing = false;
  bool done = false;
  unsigned layer = 0;
  std::uint32_t base = 0;  ///< oldest sequence number without a result
  std::uint32_t next = 0;  ///< next to send
  std::uint32_t ready = 0; ///< gradients are there up to it
  double window = 0.0;
  bool slow_start = true;
  std::uint32_t recover = 0; ///< no second halving before base has reached it
  unsigned later_results = 0;
  Time last_progress = 0;
  bool timer = false;
  double speed = 1.0; ///< of this iteration's computation
  std::vector<std::uint8_t> received = std::vector<std::uint8_t>(kRing, 0);
  std::vector<std::uint32_t> missing; ///< results that a layer still waits for
};

struct PsEntry {
  std::uint32_t seq = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t bitmap = 0;
  Time since = 0; ///< of the first contribution, or of the last question
  std::uint16_t slot = 0;
  std::uint8_t prio = 0;
  std::uint8_t ecn = 0;
  bool done = false;
  bool asked = false; ///< the switch was; next are the workers
  bool moved = false; ///< a collision gave the place in the window another slot
};

struct JobState {
  ClusterJob spec;
  std::uint32_t per_layer = 0;
  std::uint32_t per_iteration = 0;
  std::vector<Worker> workers;
  std::vector<Link> links; ///< workers, then the PS
  std::vector<PsEntry> ps = std::vector<PsEntry>(kRing);
  std::vector<std::uint32_t> open; ///< sequence numbers that the PS waits for
  bool reminder_timer = false;
  std::vector<std::uint16_t> index = std::vector<std::uint16_t>(kIndices);
  std::vector<std::uint16_t> salt = std::vector<std::uint16_t>(kIndices, 0);
  std::vector<std::uint8_t> layer_prio;
  std::uint32_t prio_iteration = std::numeric_limits<std::uint32_t>::max();
  unsigned finished = 0;
  Time end = 0;
  std::uint32_t pool = 0; ///< SwitchML: slots of one set
};

Result<void> check(const ClusterConfig &c, const std::vector<ClusterJob> &jobs) {
  const auto refuse = [](const char *field, const char *rule) {
    return fail(ErrorCode::kInvalidArgument, "{}: {}", field, rule);
  };
  KESTREL_TRY(check_range(kClusterRanges, "slots", c.slots));
  if (c.completed == ref::Completed::kHold)
    return refuse("completed", "the cluster simulation has 'free' and 'via_ps'");
  KESTREL_TRY(check_ranges(kClusterRanges, {{"downgrade_shift", c.downgrade_shift},
                                            {"priority.comm", c.priority.comm},
                                            {"priority.work", c.priority.work},
                                            {"priority.layer", c.priority.layer},
                                            {"link_gbps", c.link_gbps},
                                            {"link_delay_us", c.link_delay_us},
                                            {"switch_latency_us", c.switch_latency_us},
                                            {"ecn_packets", c.ecn_packets},
                                            {"queue_packets", c.queue_packets},
                                            {"loss", c.loss},
                                            {"window_start", c.window_start},
                                            {"window_max", c.window_max}}));
  if (c.window_max < c.window_start)
    return refuse("window_max", "is below window_start");
  KESTREL_TRY(check_ranges(kClusterRanges, {{"out_of_order", c.out_of_order},
                                            {"reminder_us", c.reminder_us},
                                            {"timeout_us", c.timeout_us},
                                            {"scale", c.scale},
                                            {"jitter", c.jitter},
                                            {"layers", c.layers},
                                            {"max_events", static_cast<double>(c.max_events)},
                                            {"jobs", static_cast<double>(jobs.size())}}));
  for (const ClusterJob &job : jobs) {
    KESTREL_TRY(check_ranges(kClusterRanges, {{"workers", job.workers},
                                              {"iterations", job.iterations},
                                              {"start_ms", job.start_ms},
                                              {"parameters_m", job.model.parameters_m},
                                              {"forward_ms", job.model.forward_ms},
                                              {"backward_ms", job.model.backward_ms}}));
    const double packets = job.model.parameters_m * 1e6 / c.scale / kLanes * job.iterations;
    if (packets > 4e9)
      return refuse("iterations", "more than 2^32 sequence numbers; raise scale");
    constexpr double kLongestMs = 1e9; // a ninth of what the clock holds
    const double compute = job.model.forward_ms + job.model.backward_ms;
    if ((job.start_ms + job.iterations * compute) / c.scale > kLongestMs)
      return refuse("iterations", "compute times of more than 1e9 ms; raise scale");
  }
  if (c.device != "model")
    for (const ClusterJob &job : jobs)
      if (job.workers >= kDevicePorts)
        return refuse("workers", "with a device at most 7");
  if (c.policy == ClusterPolicy::kSwitchMl && c.slots < 2 * jobs.size())
    return refuse("slots", "SwitchML needs two for each job");
  return {};
}

class Cluster {
public:
  Cluster(const ClusterConfig &config, const std::vector<ClusterJob> &specs)
      : config_(config), random_(config.seed), switch_(switch_config(config)) {
    data_time_ = serialisation(kDataBytes);
    control_time_ = serialisation(kControlBytes);
    delay_ = static_cast<Time>(config.link_delay_us * kPicosecondsPerUs);
    latency_ = static_cast<Time>(config.switch_latency_us * kPicosecondsPerUs);
    jobs_.resize(specs.size());
    for (std::size_t j = 0; j < specs.size(); ++j)
      set_up(j, specs[j]);
  }

  /// Makes the device that decides beside the model.
  Result<void> set_up_device() {
    if (config_.device == "model")
      return {};
    SwitchConfig device;
    device.model = switch_.config();
    KESTREL_ASSIGN(device_, make_switch(config_.device, device));
    for (std::size_t j = 0; j < jobs_.size(); ++j)
      KESTREL_TRY(device_->add_job(*switch_.find(number(j))));
    return {};
  }

  Result<ClusterOutcome> run() {
    for (std::size_t j = 0; j < jobs_.size(); ++j)
      push(ms(jobs_[j].spec.start_ms), Kind::kStart, j, 0);
    std::size_t running = jobs_.size();
    while (running > 0) {
      if (queue_.empty())
        return fail(ErrorCode::kInternal, "nothing is left to happen, but {} jobs have not ended",
                    running);
      if (outcome_.events == config_.max_events)
        return fail(ErrorCode::kResourceLimit,
                    "{} events simulated and {} jobs have not ended; raise scale or max_events",
                    outcome_.events, running);
      constexpr std::size_t kMaxWaiting = std::size_t{4} << 20;
      if (queue_.size() > kMaxWaiting)
        return fail(ErrorCode::kResourceLimit,
                    "{} packets and timers are waiting: the links are too slow for timeout_us and "
                    "the windows",
                    queue_.size());
      const Event event = queue_.top();
      queue_.pop();
      ++outcome_.events;
      now_ = event.time;
      handle(event);
      if (!error_.empty())
        return fail(ErrorCode::kInternal, "{}", error_);
      if (JobState &job = jobs_[event.job]; job.end == 0 && job.finished == job.workers.size()) {
        job.end = now_;
        (void)switch_.remove_job(number(event.job));
        if (device_)
          KESTREL_TRY(device_->remove_job(number(event.job)));
        --running;
      }
    }
    return report();
  }

private:
  static ref::Config switch_config(const ClusterConfig &config) {
    ref::Config c;
    c.policy = config.policy == ClusterPolicy::kSwitchMl ? ref::Policy::kSwitchMl
               : config.policy == ClusterPolicy::kEsa    ? ref::Policy::kEsa
                                                         : ref::Policy::kAtp;
    c.slots = config.slots;
    const bool device = config.device != "model";
    c.lanes = device ? kLanes : 0;
    c.ports = device ? kDevicePorts : 32;
    c.completed = config.completed;
    c.preempt = config.preempt;
    c.downgrade_shift = config.downgrade_shift;
    return c;
  }
  static std::uint16_t number(std::size_t j) { return static_cast<std::uint16_t>(j + 1); }
  Time ms(double unscaled) const {
    return static_cast<Time>(unscaled / config_.scale * 1e3 * kPicosecondsPerUs);
  }
  double to_ms(Time t) const {
    return static_cast<double>(t) / 1e3 / kPicosecondsPerUs * config_.scale;
  }
  Time serialisation(double bytes) const {
    return static_cast<Time>(bytes * 8.0 / config_.link_gbps * 1e3);
  }
  bool chance(double p) { return p > 0.0 && std::uniform_real_distribution<double>()(random_) < p; }

  void set_up(std::size_t j, const ClusterJob &spec) {
    JobState &job = jobs_[j];
    job.spec = spec;
    const double packets = spec.model.parameters_m * 1e6 / config_.scale / kLanes;
    job.per_layer = std::max(1U, static_cast<std::uint32_t>(std::lround(packets / config_.layers)));
    job.per_iteration = job.per_layer * config_.layers;
    job.workers.resize(spec.workers);
    job.links.resize(spec.workers + std::size_t{1});
    job.layer_prio.resize(config_.layers);
    for (Worker &w : job.workers) {
      w.window = config_.window_start;
      w.missing.assign(config_.layers, 0);
    }
    for (std::uint32_t i = 0; i < kIndices; ++i)
      choose_index(j, i);
    std::vector<unsigned> ports(spec.workers);
    std::iota(ports.begin(), ports.end(), 0U);
    ref::Job entry = ref::make_job(number(j), ports, port_of(kPsPort));
    if (config_.policy == ClusterPolicy::kSwitchMl) {
      job.pool = config_.slots / 2 / static_cast<std::uint32_t>(jobs_.size());
      entry.pool_size = job.pool;
      entry.pool_base = static_cast<std::uint32_t>(j) * 2 * job.pool;
    }
    if (const auto error = switch_.add_job(entry))
      error_ = *error;
  }

  /// CRC-32 of (job, place in the window, salt); after a collision the PS proposes the next salt.
  void choose_index(std::size_t j, std::uint32_t place) {
    JobState &job = jobs_[j];
    const std::array<std::uint16_t, 3> key = {number(j), static_cast<std::uint16_t>(place),
                                              job.salt[place]};
    boost::crc_32_type crc;
    crc.process_bytes(key.data(), sizeof(key));
    job.index[place] = static_cast<std::uint16_t>(crc.checksum() % config_.slots);
  }

  void push(Time time, Kind kind, std::size_t job, unsigned host, const Flight &flight = {}) {
    queue_.push({time, order_++, kind, static_cast<std::uint8_t>(host),
                 static_cast<std::uint16_t>(job), flight});
  }

  Link &link(JobState &job, unsigned host) {
    return job.links[host == kPsPort ? job.workers.size() : host];
  }
  Time wire_time(const Flight &f) const {
    const bool values = f.type == ref::Type::kData || f.type == ref::Type::kResult ||
                        f.type == ref::Type::kPartial || f.type == ref::Type::kResend;
    return values ? data_time_ : control_time_;
  }

  void send(std::size_t j, unsigned host, const Flight &flight) {
    Link &l = link(jobs_[j], host);
    l.up_free = std::max(now_, l.up_free) + wire_time(flight);
    if (chance(config_.loss)) {
      ++outcome_.dropped;
      return;
    }
    push(l.up_free + delay_, Kind::kToSwitch, j, host, flight);
  }

  void deliver(std::size_t j, unsigned host, Flight flight) {
    Link &l = link(jobs_[j], host);
    const Time begin = std::max(now_ + latency_, l.down_free);
    const auto queued = (begin - now_ - latency_) / data_time_;
    if (queued > config_.queue_packets || chance(config_.loss)) {
      ++outcome_.dropped;
      return;
    }
    if (queued > config_.ecn_packets)
      flight.flags |= ref::flag::kEcn;
    l.down_free = begin + wire_time(flight);
    push(l.down_free + delay_, Kind::kToHost, j, host, flight);
  }

  void handle(const Event &e) {
    if (jobs_[e.job].end != 0)
      return;
    switch (e.kind) {
    case Kind::kToSwitch:
      at_switch(e.job, e.host, e.flight);
      break;
    case Kind::kToHost:
      if (e.host == kPsPort)
        at_ps(e.job, e.flight);
      else
        at_worker(e.job, e.host, e.flight);
      break;
    case Kind::kCompute:
      computed(e.job, e.host);
      break;
    case Kind::kReminder:
      remind(e.job);
      break;
    case Kind::kTimeout:
      timeout(e.job, e.host);
      break;
    case Kind::kStart:
      for (unsigned w = 0; w < jobs_[e.job].workers.size(); ++w) {
        begin_iteration(jobs_[e.job].workers[w]);
        forward(e.job, w);
      }
      break;
    }
  }

  // ---- Switch
  void at_switch(std::size_t j, unsigned host, const Flight &f) {
    ref::Packet p;
    p.type = f.type;
    p.flags = f.flags;
    p.prio = f.prio;
    p.slot = f.slot;
    p.seq = f.seq;
    p.bitmap = f.bitmap;
    p.job = number(j);
    p.fan_in = static_cast<std::uint8_t>(jobs_[j].workers.size());
    const bool values = f.type != ref::Type::kReminder && f.type != ref::Type::kAck;
    p.format = values ? ref::Format::kInt32 : ref::Format::kNone;
    p.count = values ? static_cast<std::uint8_t>(std::popcount(f.bitmap)) : std::uint8_t{0};
    if (device_ && values)
      p.values = sums(p.job, f.seq, f.bitmap);
    const ref::Outcome out = switch_.process(p, port_of(host));
    if (device_)
      compare(p, port_of(host), out);
    switch (out.verdict) {
    case ref::Verdict::kStored:
    case ref::Verdict::kPreempted:
      used_ += out.verdict == ref::Verdict::kStored && !switchml_reuse(p) ? 1 : 0;
      outcome_.preemptions += out.verdict == ref::Verdict::kPreempted ? 1U : 0U;
      break;
    case ref::Verdict::kCompleted:
      ++outcome_.in_switch;
      used_ -= config_.policy != ClusterPolicy::kSwitchMl &&
                       config_.completed == ref::Completed::kFree && jobs_[j].workers.size() > 1
                   ? 1
                   : 0;
      break;
    case ref::Verdict::kFlushed:
    case ref::Verdict::kResentFlush:
    case ref::Verdict::kFreed:
      --used_;
      break;
    case ref::Verdict::kCollided:
      ++outcome_.collisions;
      break;
    default:
      if (out.verdict <= ref::Verdict::kBadTag)
        error_ = fmt::format("the switch refused a packet of job {} as {}", number(j),
                             to_string(out.verdict));
      break;
    }
    if (f.type == ref::Type::kData) {
      ++outcome_.contributions;
      occupied_ += static_cast<double>(used_);
    }
    if (!out.out)
      return;
    const ref::Packet &q = out.out->packet;
    const Flight next{q.type, q.flags, q.prio, q.slot, q.seq, q.bitmap};
    const std::size_t owner = q.job - std::size_t{1};
    if (jobs_[owner].end != 0)
      return;
    for (std::uint32_t ports = out.out->ports; ports != 0; ports &= ports - 1)
      deliver(owner, host_of(static_cast<unsigned>(std::countr_zero(ports))), next);
  }
  /// A host's port of the switch, and back. Jobs do not share ports: the switch treats them apart.
  [[nodiscard]] unsigned port_of(unsigned host) const {
    return host == kPsPort ? switch_.config().ports - 1 : host;
  }
  [[nodiscard]] unsigned host_of(unsigned port) const {
    return port == switch_.config().ports - 1 ? kPsPort : port;
  }

  /// Values that name their contributors: what the workers of `bitmap` add up to.
  static std::vector<std::int32_t> sums(std::uint16_t job, std::uint32_t seq,
                                        std::uint32_t bitmap) {
    std::vector<std::uint32_t> lanes(kLanes, 0);
    for (; bitmap != 0; bitmap &= bitmap - 1) {
      const auto worker = static_cast<std::uint32_t>(std::countr_zero(bitmap));
      std::uint32_t x = (job * 0x9E3779B1U) ^ (seq * 0x85EBCA77U) ^ (worker * 0xC2B2AE3DU);
      for (std::uint32_t &lane : lanes) {
        x ^= x << 13; // xorshift, Marsaglia 2003
        x ^= x >> 17;
        x ^= x << 5;
        lane += x;
      }
    }
    return {lanes.begin(), lanes.end()};
  }

  /// The packet through the device: what leaves must be what the model says, with exact sums.
  void compare(const ref::Packet &p, unsigned port, const ref::Outcome &expected) {
    ++outcome_.device_packets;
    const Ingress in{port, ref::make_frame(p)};
    const auto out = device_->run({&in, 1});
    if (!out) {
      error_ = out.error().message;
      return;
    }
    std::uint32_t ports = 0;
    bool same = true;
    for (const Egress &egress : *out) {
      ports |= bit(egress.port);
      const auto parsed = ref::parse_frame(egress.frame);
      const auto *packet = std::get_if<ref::Packet>(&parsed);
      same = same && packet != nullptr && expected.out && *packet == expected.out->packet &&
             (packet->values.empty() ||
              packet->values == sums(packet->job, packet->seq, packet->bitmap));
    }
    const std::uint32_t wanted = expected.out ? expected.out->ports : 0;
    if (!same || ports != wanted || out->size() != static_cast<std::size_t>(std::popcount(wanted)))
      error_ =
          fmt::format("device '{}' and the model differ on a packet of job {}, sequence number "
                      "{}, verdict {}",
                      device_->name(), p.job, p.seq, to_string(expected.verdict));
  }

  /// SwitchML stores over completed sets: a slot is counted once.
  bool switchml_reuse(const ref::Packet &p) {
    return config_.policy == ClusterPolicy::kSwitchMl && p.seq >= 2 * jobs_[p.job - 1U].pool;
  }

  // ---- Parameter server
  PsEntry &entry(std::size_t j, const Flight &f) {
    PsEntry &e = jobs_[j].ps[f.seq % kRing];
    if (e.seq != f.seq) {
      e = {};
      e.seq = f.seq;
      e.since = now_;
      jobs_[j].open.push_back(f.seq);
      if (config_.reminder_us > 0 && !jobs_[j].reminder_timer) {
        jobs_[j].reminder_timer = true;
        push(now_ + reminder(), Kind::kReminder, j, kPsPort);
      }
    }
    e.slot = f.slot;
    e.prio = std::max(e.prio, f.prio);
    return e;
  }
  Time reminder() const { return static_cast<Time>(config_.reminder_us * kPicosecondsPerUs); }
  std::uint32_t everyone(std::size_t j) const {
    return bit(static_cast<unsigned>(jobs_[j].workers.size())) - 1;
  }

  void at_ps(std::size_t j, const Flight &f) {
    ++outcome_.ps_packets;
    JobState &job = jobs_[j];
    if (f.type == ref::Type::kReminder) // the switch holds nothing of it
      return;
    PsEntry &e = entry(j, f);
    e.ecn |= f.flags & ref::flag::kEcn;
    if (e.done) {
      if (f.type == ref::Type::kResend)
        send(j, kPsPort, result_of(j, e));
      return;
    }
    if (f.type == ref::Type::kData && (f.flags & ref::flag::kCollision) != 0) {
      // The window's next use of this place gets another slot.
      const std::uint32_t place = f.seq % kIndices;
      job.salt[place] = static_cast<std::uint16_t>(job.salt[place] + (e.moved ? 0 : 1));
      e.moved = true;
    }
    if ((e.bitmap & f.bitmap) != 0 && f.bitmap != everyone(j))
      return; // some of it is counted: the whole partial is rejected
    e.bitmap |= f.bitmap;
    if (e.bitmap != everyone(j))
      return;
    e.done = true;
    ++outcome_.at_ps;
    send(j, kPsPort, result_of(j, e));
  }
  Flight result_of(std::size_t j, const PsEntry &e) const {
    return {ref::Type::kResult, e.ecn, e.prio, e.slot, e.seq, everyone(j)};
  }
  void remind(std::size_t j) {
    JobState &job = jobs_[j];
    job.reminder_timer = false;
    std::size_t kept = 0;
    for (const std::uint32_t seq : job.open) {
      PsEntry &e = job.ps[seq % kRing];
      if (e.seq != seq || e.done)
        continue;
      job.open[kept++] = seq;
      if (now_ - e.since < reminder())
        continue;
      Flight f{ref::Type::kReminder, 0, e.prio, e.slot, e.seq, 0};
      if (e.asked) {
        f.flags = ref::flag::kNegative; // workers whose contribution is nowhere send it again
        f.bitmap = everyone(j) & ~e.bitmap;
      }
      e.asked = !e.asked;
      e.since = now_;
      send(j, kPsPort, f);
    }
    job.open.resize(kept);
    if (kept != 0) {
      job.reminder_timer = true;
      push(now_ + reminder() / 2, Kind::kReminder, j, kPsPort);
    }
  }

  // ---- Worker: computation
  void begin_iteration(Worker &w) {
    w.speed = 1.0 + config_.jitter * std::uniform_real_distribution<double>(-1.0, 1.0)(random_);
    w.backward = false;
    w.layer = 0;
  }
  void compute(std::size_t j, unsigned host, double share_ms) {
    Worker &w = jobs_[j].workers[host];
    w.computing = true;
    push(now_ + ms(share_ms * w.speed / config_.layers), Kind::kCompute, j, host);
  }
  void forward(std::size_t j, unsigned host) {
    JobState &job = jobs_[j];
    Worker &w = job.workers[host];
    if (w.done || w.computing || w.backward)
      return;
    if (w.iteration == job.spec.iterations) { // only the last sums are awaited
      if (w.base == w.next && w.next == w.ready) {
        w.done = true;
        ++job.finished;
      }
      return;
    }
    if (w.missing[w.layer] == 0)
      compute(j, host, job.spec.model.forward_ms);
  }
  void computed(std::size_t j, unsigned host) {
    JobState &job = jobs_[j];
    Worker &w = job.workers[host];
    w.computing = false;
    if (!w.backward) {
      if (++w.layer < config_.layers) {
        forward(j, host);
        return;
      }
      w.backward = true;
      w.missing.assign(config_.layers, job.per_layer);
      compute(j, host, job.spec.model.backward_ms);
      return;
    }
    w.ready += job.per_layer;
    if (--w.layer > 0) {
      compute(j, host, job.spec.model.backward_ms);
    } else {
      ++w.iteration;
      begin_iteration(w);
    }
    pump(j, host);
    if (!w.backward)
      forward(j, host);
  }

  // ---- Worker: communication
  unsigned layer_of(const JobState &job, std::uint32_t seq) const {
    return config_.layers - 1 - seq % job.per_iteration / job.per_layer;
  }
  std::uint8_t priority(JobState &job, std::uint32_t seq) {
    const std::uint32_t iteration = seq / job.per_iteration;
    if (iteration != job.prio_iteration) {
      job.prio_iteration = iteration;
      const TrainingModel &m = job.spec.model;
      const double comp = m.forward_ms + m.backward_ms;
      const double comm = m.parameters_m * 1e6 / kLanes * kDataBytes * 8 / config_.link_gbps / 1e6;
      const JobProgress progress{comm, comp, static_cast<double>(job.spec.iterations - iteration),
                                 static_cast<double>(iteration)};
      for (unsigned l = 0; l < config_.layers; ++l)
        job.layer_prio[l] = kestrel::esa::priority(config_.priority, progress, l);
    }
    return job.layer_prio[layer_of(job, seq)];
  }
  /// A ring of slots from the job's share onwards: no job meets itself, and no other as long as the
  /// windows fit the memory together.
  std::uint16_t home_slot(std::size_t j, std::uint32_t seq) const {
    const auto jobs = static_cast<std::uint32_t>(jobs_.size());
    const std::uint32_t share = std::max(1U, config_.slots / jobs);
    const std::uint32_t ring = std::min(config_.slots, std::max(share, config_.window_max));
    const auto start = static_cast<std::uint32_t>(j) * config_.slots / jobs;
    return static_cast<std::uint16_t>((start + seq % ring) % config_.slots);
  }
  Flight contribution(std::size_t j, unsigned host, std::uint32_t seq, bool again) {
    JobState &job = jobs_[j];
    Flight f;
    f.seq = seq;
    f.bitmap = bit(host);
    f.prio = priority(job, seq);
    if (config_.policy == ClusterPolicy::kSwitchMl) {
      f.slot = static_cast<std::uint16_t>(seq % job.pool);
      f.flags = static_cast<std::uint8_t>((seq / job.pool % 2 != 0 ? ref::flag::kSet : 0) |
                                          (again ? ref::flag::kRetransmit : 0));
      return f;
    }
    f.slot = config_.home_ranges && config_.policy == ClusterPolicy::kEsa
                 ? home_slot(j, seq)
                 : job.index[seq % kIndices];
    f.type =
        again || config_.policy == ClusterPolicy::kPsOnly ? ref::Type::kResend : ref::Type::kData;
    return f;
  }
  bool may_send(const JobState &job, const Worker &w) const {
    if (w.next == w.ready)
      return false;
    if (config_.policy == ClusterPolicy::kSwitchMl)
      return w.next < job.pool || w.next - job.pool < w.base ||
             w.received[(w.next - job.pool) % kRing] != 0;
    return w.next - w.base < static_cast<std::uint32_t>(w.window);
  }
  void pump(std::size_t j, unsigned host) {
    JobState &job = jobs_[j];
    Worker &w = job.workers[host];
    while (may_send(job, w)) {
      if (w.next == w.base)
        w.last_progress = now_;
      send(j, host, contribution(j, host, w.next, false));
      ++w.next;
    }
    if (w.next != w.base && !w.timer) {
      w.timer = true;
      push(w.last_progress + timeout_time(), Kind::kTimeout, j, host);
    }
  }
  Time timeout_time() const { return static_cast<Time>(config_.timeout_us * kPicosecondsPerUs); }
  void timeout(std::size_t j, unsigned host) {
    Worker &w = jobs_[j].workers[host];
    w.timer = false;
    if (w.next == w.base)
      return;
    if (now_ - w.last_progress >= timeout_time()) {
      ++outcome_.resends;
      w.last_progress = now_;
      send(j, host, contribution(j, host, w.base, true));
    }
    w.timer = true;
    push(w.last_progress + timeout_time(), Kind::kTimeout, j, host);
  }
  void halve(Worker &w) {
    w.slow_start = false;
    if (w.base < w.recover)
      return;
    w.recover = w.next;
    w.window = std::max(1.0, w.window / 2);
  }
  void at_worker(std::size_t j, unsigned host, const Flight &f) {
    JobState &job = jobs_[j];
    Worker &w = job.workers[host];
    if (f.type == ref::Type::kReminder) { // PS asks for a contribution, or for the sum
      if ((f.bitmap & bit(host)) == 0 || f.seq >= w.next)
        return;
      ++outcome_.resends;
      Flight again = contribution(j, host, f.seq, true);
      if (f.seq < w.base || w.received[f.seq % kRing] != 0)
        again.bitmap = everyone(j);
      send(j, host, again);
      return;
    }
    if (f.type != ref::Type::kResult || f.seq < w.base || f.seq >= w.next ||
        w.received[f.seq % kRing] != 0)
      return;
    w.received[f.seq % kRing] = 1;
    w.last_progress = now_;
    ++outcome_.aggregations;
    std::uint32_t &missing = w.missing[layer_of(job, f.seq)];
    --missing;
    if ((f.flags & ref::flag::kEcn) != 0)
      halve(w);
    else
      w.window =
          std::min<double>(config_.window_max, w.window + (w.slow_start ? 1.0 : 1.0 / w.window));
    if (f.seq == w.base) {
      w.later_results = 0;
      while (w.base != w.next && w.received[w.base % kRing] != 0) {
        w.received[w.base % kRing] = 0;
        // All workers agree on a new salt when the place is used next: none may send seq + 4096
        // before seq is complete.
        choose_index(j, w.base % kIndices);
        ++w.base;
      }
    } else if (config_.policy != ClusterPolicy::kSwitchMl && config_.out_of_order != 0 &&
               ++w.later_results == config_.out_of_order) {
      ++outcome_.resends;
      send(j, host, contribution(j, host, w.base, true));
      if (config_.halve_on_order)
        halve(w);
    }
    pump(j, host);
    forward(j, host);
  }
  Result<ClusterOutcome> report() {
    std::vector<double> jct;
    for (const JobState &job : jobs_) {
      const double start = job.spec.start_ms;
      outcome_.jobs.push_back({start, to_ms(job.end) - start});
      jct.push_back(outcome_.jobs.back().jct_ms);
      for (const Worker &w : job.workers)
        if (w.base != job.per_iteration * job.spec.iterations)
          return fail(ErrorCode::kInternal, "a worker ended before its last aggregation");
    }
    std::sort(jct.begin(), jct.end());
    outcome_.mean_jct_ms =
        std::accumulate(jct.begin(), jct.end(), 0.0) / static_cast<double>(jct.size());
    const auto rank = static_cast<std::size_t>(std::ceil(0.95 * static_cast<double>(jct.size())));
    outcome_.p95_jct_ms = jct[std::max<std::size_t>(rank, 1) - 1];
    outcome_.max_jct_ms = jct.back();
    if (outcome_.contributions != 0)
      outcome_.occupancy = occupied_ / static_cast<double>(outcome_.contributions) / config_.slots;
    return std::move(outcome_);
  }

  ClusterConfig config_;
  std::mt19937_64 random_;
  ref::Switch switch_;
  std::unique_ptr<SwitchDevice> device_;
  std::vector<JobState> jobs_;
  std::priority_queue<Event, std::vector<Event>, Later> queue_;
  std::uint64_t order_ = 0;
  Time now_ = 0;
  Time data_time_ = 0, control_time_ = 0, delay_ = 0, latency_ = 0;
  std::int64_t used_ = 0;
  double occupied_ = 0.0;
  std::string error_;
  ClusterOutcome outcome_;
};

} // namespace

Result<ClusterOutcome> simulate_cluster(const ClusterConfig &config,
                                        const std::vector<ClusterJob> &jobs) {
  KESTREL_TRY(check(config, jobs));
  Cluster cluster(config, jobs);
  KESTREL_TRY(cluster.set_up_device());
  return cluster.run();
}

} // namespace kestrel::esa
