// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/esa/control.hpp"

#include <algorithm>
#include <cmath>

namespace kestrel::esa {

std::uint8_t priority(const PriorityTerms &terms, const JobProgress &progress, unsigned layer) {
  constexpr double kLeast = 1e-3; // ms: no job is without communication or computation
  const double comm = std::max(kLeast, progress.comm_ms);
  const double comp = std::max(kLeast, progress.comp_ms);
  const double iterations =
      terms.known_work ? std::max(1.0, progress.remaining) : progress.served + 1.0;
  const double seconds = (comm + comp) * iterations / 1000.0;
  const double log = terms.comm * std::log2(comm / comp) - terms.work * std::log2(seconds) -
                     terms.layer * std::log2(1.0 + layer);
  return static_cast<std::uint8_t>(std::lround(std::clamp(128.0 + 8.0 * log, 1.0, 255.0)));
}

ControlPlane::ControlPlane(SwitchDevice &device, const ref::Config &config, unsigned max_jobs,
                           const PriorityTerms &terms)
    : device_(device), config_(config), max_jobs_(max_jobs), terms_(terms) {}

/// First gap between the pools of the active jobs.
Result<std::uint32_t> ControlPlane::place_pool(const JobRequest &request) const {
  if (request.pool_size == 0) {
    return fail(ErrorCode::kInvalidArgument, "job {}: pool_size: missing", request.job);
  }
  std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;
  for (const auto &[number, entry] : jobs_) {
    taken.emplace_back(entry.job.pool_base,
                       entry.job.pool_base + 2 * std::uint64_t{entry.job.pool_size});
  }
  std::sort(taken.begin(), taken.end());
  taken.emplace_back(config_.slots, config_.slots);
  std::uint64_t base = 0;
  for (const auto &[from, to] : taken) {
    if (base + 2 * std::uint64_t{request.pool_size} <= from) {
      return static_cast<std::uint32_t>(base);
    }
    base = std::max(base, to);
  }
  return fail(ErrorCode::kResourceLimit, "job {}: pool_size: no 2 x {} free slots in a row of {}",
              request.job, request.pool_size, config_.slots);
}

Result<ref::Job> ControlPlane::admit(const JobRequest &request) {
  if (request.worker_ports.empty() || request.worker_ports.size() > ref::kMaxFanIn) {
    return fail(ErrorCode::kInvalidArgument, "job {}: fan_in: {} workers are not in 1..{}",
                request.job, request.worker_ports.size(), ref::kMaxFanIn);
  }
  for (const unsigned port : request.worker_ports) {
    if (port >= config_.ports) {
      return fail(ErrorCode::kInvalidArgument, "job {}: worker_ports: port {}: the switch has {}",
                  request.job, port, config_.ports);
    }
  }
  if (request.ps_port >= config_.ports) {
    return fail(ErrorCode::kInvalidArgument, "job {}: ps_port: port {}: the switch has {}",
                request.job, request.ps_port, config_.ports);
  }
  if (jobs_.contains(request.job)) {
    return fail(ErrorCode::kInvalidArgument, "job {}: registered already", request.job);
  }
  if (jobs_.size() >= max_jobs_) {
    return fail(ErrorCode::kResourceLimit, "job {}: the switch has its {} jobs already",
                request.job, max_jobs_);
  }
  for (const double time : {request.comm_ms, request.comp_ms, request.iterations}) {
    if (!(time >= 0) || !std::isfinite(time)) {
      return fail(ErrorCode::kInvalidArgument,
                  "job {}: comm_ms, comp_ms, iterations: {} is no duration or count", request.job,
                  time);
    }
  }
  ref::Job job = ref::make_job(request.job, request.worker_ports, request.ps_port, request.format);
  job.table = request.table;
  if (request.format != ref::Format::kInt32 &&
      (request.table[0] != 0 || !std::is_sorted(request.table.begin(), request.table.end()) ||
       request.table[15] == 0)) {
    return fail(ErrorCode::kInvalidArgument, "job {}: table: not ascending from 0", request.job);
  }
  if (config_.policy == ref::Policy::kSwitchMl) {
    KESTREL_ASSIGN(job.pool_base, place_pool(request));
    job.pool_size = request.pool_size;
  }
  if (const auto error = ref::job_error(config_, job)) {
    return fail(ErrorCode::kInvalidArgument, "{}", *error);
  }
  if (request.coordinates > ref::coordinates(config_, job)) {
    return fail(ErrorCode::kResourceLimit, "job {}: coordinates: {} in a packet, a slot has {}",
                request.job, request.coordinates, ref::coordinates(config_, job));
  }
  job.epoch = request.epoch ? *request.epoch : next_epoch(request.job);
  KESTREL_TRY(device_.add_job(job));
  epochs_[request.job] = job.epoch;
  Entry entry{job, terms_, {}, {}};
  entry.terms.known_work = terms_.known_work && request.iterations > 0;
  entry.progress.comm_ms = request.comm_ms;
  entry.progress.comp_ms = request.comp_ms;
  entry.progress.remaining = request.iterations;
  entry.at_start = entry.progress;
  jobs_.emplace(request.job, entry);
  return job;
}

std::uint8_t ControlPlane::next_epoch(std::uint16_t job) {
  const auto last = epochs_.find(job);
  return last == epochs_.end() ? std::uint8_t{0} : static_cast<std::uint8_t>(last->second + 1);
}

Result<ref::Job> ControlPlane::restart(std::uint16_t job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) {
    return fail(ErrorCode::kNotFound, "job {}: not registered", job);
  }
  KESTREL_TRY(device_.remove_job(job));
  it->second.job.epoch = next_epoch(job);
  it->second.progress = it->second.at_start;
  if (auto added = device_.add_job(it->second.job); !added) {
    jobs_.erase(it);
    return added.error();
  }
  epochs_[job] = it->second.job.epoch;
  return it->second.job;
}

Result<void> ControlPlane::release(std::uint16_t job) {
  if (jobs_.erase(job) == 0) {
    return fail(ErrorCode::kNotFound, "job {}: not registered", job);
  }
  return device_.remove_job(job);
}

Result<void> ControlPlane::iteration_done(std::uint16_t job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) {
    return fail(ErrorCode::kNotFound, "job {}: not registered", job);
  }
  JobProgress &progress = it->second.progress;
  progress.served += 1;
  progress.remaining = std::max(0.0, progress.remaining - 1);
  return {};
}

Result<std::uint8_t> ControlPlane::priority_of(std::uint16_t job, unsigned layer) const {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) {
    return fail(ErrorCode::kNotFound, "job {}: not registered", job);
  }
  return priority(it->second.terms, it->second.progress, layer);
}

Result<TwoLevelJob> make_two_level(const ref::Job &like, const std::vector<Rack> &racks,
                                   unsigned spine_ps_port) {
  std::uint32_t everyone = 0;
  unsigned workers = 0;
  for (std::size_t r = 0; r < racks.size(); ++r) {
    if (racks[r].workers.empty()) {
      return fail(ErrorCode::kInvalidArgument, "job {}: rack {}: no workers", like.job, r);
    }
    for (const RackWorker &w : racks[r].workers) {
      if (w.worker >= ref::kMaxFanIn || (everyone >> w.worker & 1) != 0) {
        return fail(ErrorCode::kInvalidArgument,
                    "job {}: rack {}: worker {} is beyond 31, or in two places", like.job, r,
                    w.worker);
      }
      if (w.port >= ref::kMaxPorts) {
        return fail(ErrorCode::kInvalidArgument, "job {}: rack {}: port {}", like.job, r, w.port);
      }
      everyone |= std::uint32_t{1} << w.worker;
      ++workers;
    }
    if (racks[r].uplink_port >= ref::kMaxPorts || racks[r].spine_port >= ref::kMaxPorts) {
      return fail(ErrorCode::kInvalidArgument, "job {}: rack {}: uplink_port or spine_port",
                  like.job, r);
    }
  }
  if (workers == 0 || (workers < 32 && everyone != (std::uint32_t{1} << workers) - 1)) {
    return fail(ErrorCode::kInvalidArgument, "job {}: workers are not numbered from 0 on",
                like.job);
  }
  TwoLevelJob made;
  made.spine = like;
  made.spine.fan_in = static_cast<std::uint8_t>(workers);
  made.spine.members = everyone;
  made.spine.member_ports = 0;
  made.spine.ps_port = static_cast<std::uint8_t>(spine_ps_port);
  made.spine.uplink = false;
  made.spine.multi = true;
  for (const Rack &rack : racks) {
    made.spine.member_ports |= std::uint32_t{1} << rack.spine_port;
    ref::Job job = like;
    job.fan_in = made.spine.fan_in;
    job.members = job.member_ports = 0;
    for (const RackWorker &w : rack.workers) {
      job.members |= std::uint32_t{1} << w.worker;
      job.member_ports |= std::uint32_t{1} << w.port;
    }
    job.ps_port = static_cast<std::uint8_t>(rack.uplink_port);
    job.uplink = true;
    job.multi = false;
    made.racks.push_back(job);
  }
  return made;
}

} // namespace kestrel::esa
