// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/esa/thc_fabric.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <queue>
#include <random>

#include "sw_ref/esa/hosts.hpp"

namespace kestrel::esa {

namespace {

using ref::Time;

constexpr unsigned kPsPort = 7;
constexpr unsigned kRivalPort = 6;
constexpr Time kEnd = 3'600'000'000'000; // ns: an exchange that takes longer is stuck
constexpr std::chrono::seconds kPatience{60};
constexpr std::uint16_t kJob = 1;
constexpr std::uint16_t kRival = 2;

struct Chunk {
  thc::ChunkShape shape;
  unsigned norms_from = 0;
  std::vector<float> norms;
  std::vector<std::vector<std::uint8_t>> indices; ///< of each rank
  std::size_t packets_posted = 0;                 ///< of all ranks
  bool done = false;
  std::vector<std::uint16_t> sums;
  std::vector<std::uint32_t> workers;
};

struct Round {
  std::uint16_t tag = 0;
  std::vector<Chunk> chunks;
  unsigned joined = 0;
};

struct Event {
  Time time = 0;
  std::uint64_t order = 0;
  int to = 0; ///< -1: switch; 0 .. fan_in: host, fan_in the PS; -2 - h: timer of host h
  unsigned port = 0;
  std::vector<std::uint8_t> frame;
  friend bool operator>(const Event &a, const Event &b) {
    return a.time != b.time ? a.time > b.time : a.order > b.order;
  }
};

class Fabric final : public ThcFabric, public std::enable_shared_from_this<Fabric> {
public:
  Fabric(const ThcFabricOptions &options, std::unique_ptr<SwitchDevice> device, const ref::Job &job)
      : options_(options), device_(std::move(device)), job_(job), random_(options.seed) {}

  [[nodiscard]] std::unique_ptr<thc::Transport> connect(unsigned rank) override;

  [[nodiscard]] ThcFabricStats stats() const override {
    const std::lock_guard lock(mutex_);
    ThcFabricStats stats = stats_;
    stats.counters = device_->counters();
    return stats;
  }

  Result<std::shared_ptr<Round>> join(std::uint32_t number, const thc::RoundPlan &plan);
  Result<void> post_norms(Round &round, std::size_t chunk, std::span<const float> norms);
  Result<void> wait_norms(Round &round, std::size_t chunk);
  Result<void> post_indices(Round &round, std::size_t chunk, unsigned rank, std::size_t first,
                            std::span<const std::uint8_t> indices);
  Result<void> wait_sums(Round &round, std::size_t chunk);
  [[nodiscard]] bool done(const Round &round, std::size_t chunk) const {
    const std::lock_guard lock(mutex_);
    return round.chunks[chunk].done;
  }
  [[nodiscard]] unsigned workers() const { return options_.workers; }

private:
  Result<void> exchange(Chunk &chunk, std::uint16_t tag);
  Result<void> run(Chunk &chunk, const ref::HostConfig &hosts, std::vector<ref::Worker> &workers,
                   ref::ParameterServer &ps);
  void send(const ref::Packet &packet, unsigned port, Time now);
  void push(Event event) {
    event.order = order_++;
    events_.push(std::move(event));
  }

  ThcFabricOptions options_;
  std::unique_ptr<SwitchDevice> device_;
  ref::Job job_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint32_t, std::shared_ptr<Round>> rounds_;
  std::mt19937_64 random_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t order_ = 0;
  ThcFabricStats stats_;
};

Result<std::shared_ptr<Round>> Fabric::join(std::uint32_t number, const thc::RoundPlan &plan) {
  const std::lock_guard lock(mutex_);
  auto &round = rounds_[number];
  if (!round) {
    round = std::make_shared<Round>();
    round->tag = plan.tag;
    for (const thc::ChunkShape &shape : plan.chunks) {
      Chunk chunk;
      chunk.shape = shape;
      chunk.norms.assign(shape.blocks, 0.0F);
      chunk.indices.assign(options_.workers,
                           std::vector<std::uint8_t>(shape.packets * thc::kPacketIndexBytes));
      round->chunks.push_back(std::move(chunk));
    }
  }
  const auto same = [](const Chunk &a, const thc::ChunkShape &b) {
    return a.shape.blocks == b.blocks && a.shape.packets == b.packets;
  };
  if (round->tag != plan.tag || !std::equal(round->chunks.begin(), round->chunks.end(),
                                            plan.chunks.begin(), plan.chunks.end(), same)) {
    return fail(ErrorCode::kVersionMismatch, "round {}: ranks differ in tensor or compression",
                number);
  }
  std::shared_ptr<Round> mine = round;
  if (++round->joined == options_.workers) { // those who are in it keep it
    rounds_.erase(number);
  }
  return mine;
}

Result<void> Fabric::post_norms(Round &round, std::size_t chunk, std::span<const float> norms) {
  const std::lock_guard lock(mutex_);
  Chunk &c = round.chunks[chunk];
  for (std::size_t i = 0; i < c.norms.size(); ++i) {
    c.norms[i] = std::max(c.norms[i], norms[i]);
  }
  ++c.norms_from;
  changed_.notify_all();
  return {};
}

Result<void> Fabric::wait_norms(Round &round, std::size_t chunk) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kPatience,
                         [&] { return round.chunks[chunk].norms_from == options_.workers; })) {
    return fail(ErrorCode::kTimeout, "chunk {}: norms of {} of {} ranks", chunk,
                round.chunks[chunk].norms_from, options_.workers);
  }
  return {};
}

Result<void> Fabric::post_indices(Round &round, std::size_t chunk, unsigned rank, std::size_t first,
                                  std::span<const std::uint8_t> indices) {
  const std::lock_guard lock(mutex_);
  Chunk &c = round.chunks[chunk];
  const std::size_t at = first * thc::kPacketIndexBytes;
  if (at + indices.size() > c.indices[rank].size()) {
    return fail(ErrorCode::kInvalidArgument, "chunk {}: packets beyond its end", chunk);
  }
  std::copy(indices.begin(), indices.end(),
            c.indices[rank].begin() + static_cast<std::ptrdiff_t>(at));
  c.packets_posted += indices.size() / thc::kPacketIndexBytes;
  if (c.packets_posted == c.shape.packets * options_.workers) {
    KESTREL_TRY(exchange(c, round.tag));
    c.done = true;
    changed_.notify_all();
  }
  return {};
}

Result<void> Fabric::wait_sums(Round &round, std::size_t chunk) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, kPatience, [&] { return round.chunks[chunk].done; })) {
    return fail(ErrorCode::kTimeout, "chunk {}: {} of {} packets posted", chunk,
                round.chunks[chunk].packets_posted,
                round.chunks[chunk].shape.packets * options_.workers);
  }
  return {};
}

void Fabric::send(const ref::Packet &packet, unsigned port, Time now) {
  if (std::bernoulli_distribution(options_.loss)(random_)) {
    ++stats_.lost;
    return;
  }
  push({now + 2000 + random_() % 500, 0, -1, port, ref::make_frame(packet, {}, true)});
}

/// One chunk through the switch. The job is registered for it anew under the next epoch, so
/// sequence numbers begin at 0, no slot holds anything of the chunk before, and late packets are
/// told apart.
Result<void> Fabric::exchange(Chunk &chunk, std::uint16_t tag) {
  const std::size_t size = ref::coordinates(options_.model, job_);
  const std::size_t parts = thc::ref::kPacketCoordinates / size;
  ++job_.epoch;
  ref::HostConfig hosts;
  hosts.policy = options_.model.policy;
  hosts.completed = options_.model.completed;
  hosts.job = job_;
  hosts.slots = options_.model.slots;
  hosts.sequences = static_cast<std::uint32_t>(chunk.shape.packets * parts);
  hosts.window_start = 64;
  hosts.window_max = 256;
  hosts.timeout = 500'000;
  hosts.reminder = 100'000;
  hosts.tag = tag;
  std::vector<ref::Worker> workers;
  for (unsigned w = 0; w < options_.workers; ++w) {
    workers.emplace_back(
        hosts, w,
        [&chunk, w, size](std::uint32_t seq) {
          std::vector<std::int32_t> values(size);
          for (std::size_t i = 0; i < size; ++i) { // the first coordinate in the high nibble
            const std::size_t at = seq * size + i;
            values[i] = chunk.indices[w][at / 2] >> (at % 2 == 0 ? 4 : 0) & 15;
          }
          return values;
        },
        [this](std::uint32_t) { return options_.priority; }, ref::Format::kThcIndex4);
  }
  ref::ParameterServer ps(hosts);
  KESTREL_TRY(device_->add_job(job_));
  const Result<void> ran = run(chunk, hosts, workers, ps);
  KESTREL_TRY(device_->remove_job(kJob));
  KESTREL_TRY(ran);
  stats_.sequences += hosts.sequences;
  stats_.at_ps += ps.counters().results;
  chunk.sums.resize(chunk.shape.packets * thc::ref::kPacketCoordinates);
  for (std::uint32_t seq = 0; seq < hosts.sequences; ++seq) {
    const auto &values = workers[0].result(seq)->values;
    for (std::size_t i = 0; i < size; ++i) {
      chunk.sums[seq * size + i] = static_cast<std::uint16_t>(values[i]);
    }
    for (const ref::Worker &w : workers) {
      if (w.result(seq)->values != values) {
        return fail(ErrorCode::kInternal, "sequence {}: ranks got different sums", seq);
      }
    }
  }
  chunk.workers.assign(chunk.shape.packets, options_.workers >= 32
                                                ? ~std::uint32_t{0}
                                                : (std::uint32_t{1} << options_.workers) - 1);
  return {};
}

Result<void> Fabric::run(Chunk &, const ref::HostConfig &hosts, std::vector<ref::Worker> &workers,
                         ref::ParameterServer &ps) {
  events_ = {};
  std::vector<ref::Packet> out;
  std::vector<Time> wake(workers.size() + 1, ref::kNever);
  Time now = 0;
  const auto speak = [&](std::size_t host) {
    const bool is_ps = host == workers.size();
    for (const ref::Packet &packet : out) {
      send(packet, is_ps ? kPsPort : static_cast<unsigned>(host) % kRivalPort, now);
      if (!is_ps && std::bernoulli_distribution(options_.rival)(random_)) {
        ref::Packet rival = packet;
        rival.type = ref::Type::kData;
        rival.job = kRival;
        rival.epoch = 0;
        rival.fan_in = 2;
        rival.seq = static_cast<std::uint32_t>(random_());
        rival.slot = static_cast<std::uint16_t>(random_() % hosts.slots);
        rival.bitmap = rival.count = 1;
        rival.prio = static_cast<std::uint8_t>(random_());
        rival.format = hosts.job.format;
        rival.values.assign(packet.values.size(), 1);
        send(rival, kRivalPort, now);
      }
    }
    out.clear();
    const Time due = is_ps ? ps.next_timer() : workers[host].next_timer();
    if (due < wake[host]) {
      wake[host] = due;
      push({std::max(due, now), 0, -2 - static_cast<int>(host), 0, {}});
    }
  };
  for (std::size_t w = 0; w < workers.size(); ++w) {
    workers[w].poll(now, out);
    speak(w);
  }
  const auto all_done = [&] {
    return std::all_of(workers.begin(), workers.end(), [](const auto &w) { return w.done(); });
  };
  while (!all_done()) {
    if (events_.empty() || now > kEnd || !ps.reports().empty()) {
      return fail(ErrorCode::kInternal, "the exchange does not end");
    }
    const Event event = events_.top();
    events_.pop();
    now = event.time;
    if (event.to == -1) {
      const Ingress in{event.port, event.frame};
      KESTREL_ASSIGN(const auto left, device_->run({&in, 1}));
      for (const Egress &egress : left) {
        if (std::bernoulli_distribution(options_.loss)(random_)) {
          ++stats_.lost;
        } else {
          push({now + 2000, 0, 0, egress.port, egress.frame});
        }
        if (event.port == kRivalPort && egress.port == kPsPort) {
          const auto parsed = ref::parse_frame(egress.frame);
          const auto *p = std::get_if<ref::Packet>(&parsed);
          stats_.preempted +=
              p != nullptr && p->job == kJob && p->type == ref::Type::kPartial ? 1U : 0U;
        }
      }
    } else if (event.to == 0) {
      const auto parsed = ref::parse_frame(event.frame);
      const auto *p = std::get_if<ref::Packet>(&parsed);
      if (p == nullptr || p->job != kJob) {
        continue;
      }
      if (event.port == kPsPort) {
        ps.receive(*p, now, out);
        speak(workers.size());
      }
      for (std::size_t w = 0; w < workers.size(); ++w) {
        if (w % kRivalPort == event.port) {
          workers[w].receive(*p, now, out);
          speak(w);
        }
      }
    } else {
      const auto host = static_cast<std::size_t>(-2 - event.to);
      wake[host] = ref::kNever;
      if (host == workers.size()) {
        ps.poll(now, out);
      } else {
        workers[host].poll(now, out);
      }
      speak(host);
    }
  }
  return {};
}

class RankTransport final : public thc::Transport {
public:
  RankTransport(std::shared_ptr<Fabric> fabric, unsigned rank)
      : fabric_(std::move(fabric)), rank_(rank) {}

  [[nodiscard]] unsigned rank() const override { return rank_; }
  [[nodiscard]] unsigned workers() const override { return fabric_->workers(); }

  [[nodiscard]] Result<void> begin(const thc::RoundPlan &plan) override {
    KESTREL_ASSIGN(round_, fabric_->join(next_, plan));
    ++next_;
    return {};
  }
  [[nodiscard]] Result<void> post_norms(std::size_t chunk, std::span<const float> norms) override {
    KESTREL_TRY(known(chunk));
    if (norms.size() != round_->chunks[chunk].shape.blocks) {
      return fail(ErrorCode::kInvalidArgument, "chunk {}: {} norms", chunk, norms.size());
    }
    return fabric_->post_norms(*round_, chunk, norms);
  }
  [[nodiscard]] Result<thc::AgreedNorms> wait_norms(std::size_t chunk) override {
    KESTREL_TRY(known(chunk));
    KESTREL_TRY(fabric_->wait_norms(*round_, chunk));
    const unsigned n = fabric_->workers();
    return thc::AgreedNorms{round_->chunks[chunk].norms,
                            n >= 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << n) - 1};
  }
  [[nodiscard]] Result<void> post_indices(std::size_t chunk, std::size_t first,
                                          std::span<const std::uint8_t> indices) override {
    KESTREL_TRY(known(chunk));
    stats_.packets_up += indices.size() / thc::kPacketIndexBytes;
    stats_.bytes_up += indices.size();
    return fabric_->post_indices(*round_, chunk, rank_, first, indices);
  }
  [[nodiscard]] Result<thc::ChunkSums> wait_sums(std::size_t chunk) override {
    KESTREL_TRY(known(chunk));
    KESTREL_TRY(fabric_->wait_sums(*round_, chunk));
    const Chunk &c = round_->chunks[chunk];
    stats_.packets_down += c.shape.packets;
    return thc::ChunkSums{c.sums, c.workers};
  }
  [[nodiscard]] bool ready(std::size_t chunk) override {
    return known(chunk).ok() && fabric_->done(*round_, chunk);
  }
  [[nodiscard]] thc::TransportStats stats() const override { return stats_; }
  [[nodiscard]] std::uint32_t sequence() const override { return next_; }
  void set_sequence(std::uint32_t sequence) override { next_ = sequence; }

private:
  [[nodiscard]] Result<void> known(std::size_t chunk) const {
    if (!round_ || chunk >= round_->chunks.size()) {
      return fail(ErrorCode::kInvalidArgument, "chunk {}: not of this round", chunk);
    }
    return {};
  }

  std::shared_ptr<Fabric> fabric_;
  unsigned rank_;
  std::uint32_t next_ = 0;
  std::shared_ptr<Round> round_;
  thc::TransportStats stats_;
};

std::unique_ptr<thc::Transport> Fabric::connect(unsigned rank) {
  return std::make_unique<RankTransport>(shared_from_this(), rank);
}

} // namespace

Result<std::shared_ptr<ThcFabric>> ThcFabric::create(const ThcFabricOptions &options) {
  if (options.workers == 0 || options.workers > ref::kMaxFanIn) {
    return fail(ErrorCode::kInvalidArgument, "workers: {} is not in 1..32", options.workers);
  }
  if (const auto error = thc::ref::table_error(options.table)) {
    return fail(ErrorCode::kInvalidArgument, "table: {}", *error);
  }
  if (!(options.loss >= 0 && options.loss <= 0.5) || !(options.rival >= 0 && options.rival <= 1)) {
    return fail(ErrorCode::kInvalidArgument, "loss, rival: not in 0..0.5 and 0..1");
  }
  if (options.model.policy == ref::Policy::kSwitchMl || options.model.ports <= kPsPort) {
    return fail(ErrorCode::kInvalidArgument, "policy, ports: ESA or ATP with eight ports");
  }
  std::vector<unsigned> ports;
  for (unsigned w = 0; w < options.workers; ++w) {
    ports.push_back(w % kRivalPort);
  }
  const bool narrow = options.workers * options.table.granularity <= 255;
  ref::Job job =
      ref::make_job(kJob, ports, kPsPort, narrow ? ref::Format::kThcSum8 : ref::Format::kThcSum16);
  job.table.fill(options.table.values.back());
  std::copy(options.table.values.begin(), options.table.values.end(), job.table.begin());
  const std::size_t size = ref::coordinates(options.model, job);
  if (size == 0 || thc::ref::kPacketCoordinates % size != 0) {
    return fail(ErrorCode::kInvalidArgument,
                "lanes: a packet of 1024 coordinates is no whole number of slots of {}", size);
  }
  if (const auto error = ref::job_error(options.model, job)) {
    return fail(ErrorCode::kInvalidArgument, "{}", *error);
  }
  SwitchConfig config;
  config.model = options.model;
  ref::Job rival = ref::make_job(kRival, {kRivalPort, kRivalPort}, kPsPort, job.format);
  rival.table = job.table;
  config.jobs.push_back(rival);
  KESTREL_ASSIGN(auto device, make_switch(options.device, config));
  return std::shared_ptr<ThcFabric>(std::make_shared<Fabric>(options, std::move(device), job));
}

} // namespace kestrel::esa
