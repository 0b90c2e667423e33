// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel aggregator: the software aggregator of compressed gradients as a process.
#include "cli.hpp"

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <vector>

#include <unistd.h>

#include "kestrel/contract/wire.hpp"
#include "kestrel/log.hpp"
#include "kestrel/thc/aggregator.hpp"
#include "sw_ref/thc/solver.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  std::string address = "127.0.0.1";
  std::uint16_t port = static_cast<std::uint16_t>(contract::wire::kUdpPort);
  unsigned bits = 4;
  unsigned granularity = 30;
  double p = 1.0 / 32;
  std::vector<unsigned> values;
  thc::AggregatorOptions aggregator;
  int quorum_timeout_ms = 50;
  int norm_timeout_ms = -1;
  int job_timeout_s = 60;
  std::string json;
};

Result<thc::ref::Table> make_table(const Options &options) {
  if (const auto error = thc::ref::solve_error(options.bits, options.granularity, options.p)) {
    return fail(ErrorCode::kInvalidArgument, "{}", *error);
  }
  thc::ref::Table table;
  table.bits = options.bits;
  table.granularity = options.granularity;
  table.t = thc::ref::clamp_of(options.p);
  if (options.values.empty()) {
    table.values = thc::ref::solve_table(options.bits, options.granularity, options.p).values;
  } else {
    table.values.clear();
    for (const unsigned value : options.values) {
      if (value > 255) {
        return fail(ErrorCode::kInvalidArgument, "table value {} is above 255", value);
      }
      table.values.push_back(static_cast<std::uint8_t>(value));
    }
  }
  return table;
}

/// Says which workers fall silent and which come back; looks once a second, and so says no more
/// than a line a second and thing.
class Watch {
public:
  /// What was dropped or refused since the last look.
  void look(const thc::AggregatorStats &stats) {
    const std::array<std::pair<const char *, std::uint64_t>, 7> counts{{
        {"foreign", stats.foreign},
        {"malformed", stats.malformed},
        {"mismatched", stats.mismatched},
        {"stale", stats.stale},
        {"of jobs beyond --max-jobs", stats.full},
        {"of jobs displaced by new ones", stats.displaced},
        {"repeats throttled", stats.throttled},
    }};
    std::string text;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const auto &[name, count] = counts[i];
      if (count > refused_[i]) {
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count - refused_[i], name);
      }
      refused_[i] = count;
    }
    if (!text.empty()) {
      log().warn("refused or dropped: {}", text);
    }
  }

  void look(const std::vector<thc::JobReport> &jobs) {
    for (const auto &job : jobs) {
      if (const auto [epoch, first] = epochs_.try_emplace(job.job, job.epoch);
          !first && epoch->second != job.epoch) {
        epoch->second = job.epoch;
        missed_.erase(job.job);
        log().warn("job {}: started anew; workers of the start before are refused", job.job);
      }
      auto &missed = missed_[job.job];
      missed.resize(job.workers.size());
      for (std::size_t w = 0; w < job.workers.size(); ++w) {
        const auto &worker = job.workers[w];
        if (worker.missed > missed[w]) {
          log().warn("job {}: worker {} missed {} aggregations ({})", job.job, w,
                     worker.missed - missed[w],
                     worker.known ? fmt::format("silent for {} ms", worker.silent.count())
                                  : std::string("never heard of"));
        }
        missed[w] = worker.missed;
      }
    }
  }

private:
  std::array<std::uint64_t, 7> refused_{};
  std::map<std::uint16_t, std::uint8_t> epochs_;
  std::map<std::uint16_t, std::vector<std::uint64_t>> missed_;
};

nlohmann::json report(const thc::AggregatorStats &s, const std::vector<thc::JobReport> &jobs) {
  nlohmann::json json{{"datagrams", s.datagrams},
                      {"bytes_in", s.bytes_in},
                      {"bytes_out", s.bytes_out},
                      {"foreign", s.foreign},
                      {"malformed", s.malformed},
                      {"full", s.full},
                      {"displaced", s.displaced},
                      {"throttled", s.throttled},
                      {"mismatched", s.mismatched},
                      {"starts", s.starts},
                      {"stale", s.stale},
                      {"contributions", s.contributions},
                      {"duplicates", s.duplicates},
                      {"late", s.late},
                      {"complete", s.complete},
                      {"partial", s.partial},
                      {"reminders", s.reminders},
                      {"repeated", s.repeated},
                      {"resend_requests", s.resend_requests},
                      {"forgotten", s.forgotten},
                      {"expired", s.expired},
                      {"jobs", nlohmann::json::array()}};
  for (const auto &job : jobs) {
    nlohmann::json workers = nlohmann::json::array();
    for (const auto &worker : job.workers) {
      workers.push_back({{"known", worker.known},
                         {"contributions", worker.contributions},
                         {"missed", worker.missed}});
    }
    json["jobs"].push_back(
        {{"job", job.job}, {"epoch", job.epoch}, {"fan_in", job.fan_in}, {"workers", workers}});
  }
  return json;
}

Result<void> aggregate(Options options) {
  // Blocked before any thread exists, so that every thread inherits it and sigtimedwait gets them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  KESTREL_ASSIGN(options.aggregator.table, make_table(options));
  options.aggregator.quorum_timeout = std::chrono::milliseconds(options.quorum_timeout_ms);
  options.aggregator.norm_timeout = std::chrono::milliseconds(options.norm_timeout_ms);
  options.aggregator.job_timeout = std::chrono::seconds(options.job_timeout_s);
  KESTREL_ASSIGN(const auto server,
                 thc::AggregatorServer::start(options.address, options.port, options.aggregator));
  const nlohmann::json ready{{"ready", true},
                             {"endpoint", server->endpoint()},
                             {"port", server->port()},
                             {"table", options.aggregator.table.values},
                             {"table_tag", thc::table_tag(options.aggregator.table)},
                             {"pid", ::getpid()}};
  fmt::print("{}\n", ready.dump());
  KESTREL_TRY(flush_output());
  log().info("aggregating at {} (UDP), table of {} bits and granularity {}; SIGTERM ends",
             server->endpoint(), options.bits, options.granularity);

  Watch watch;
  const timespec second{1, 0};
  while (sigtimedwait(&signals, nullptr, &second) < 0) {
    watch.look(server->jobs());
    watch.look(server->stats());
  }
  const thc::AggregatorStats stats = server->stats();
  log().info("{} datagrams: {} contributions, {} aggregations complete, {} closed by the quorum, "
             "{} duplicates, {} late, {} refused, {} dropped",
             stats.datagrams, stats.contributions, stats.complete, stats.partial, stats.duplicates,
             stats.late, stats.mismatched + stats.stale + stats.full,
             stats.foreign + stats.malformed);
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, report(stats, server->jobs())));
  }
  return {};
}

} // namespace

void add_aggregator(CLI::App &app, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand(
      "aggregator", "Add compressed gradients of training workers (THC) over UDP");
  command->footer(
      "Prints one JSON line {\"ready\":true,\"endpoint\":...} on standard output once it serves.\n"
      "Workers must use the same table; jobs are told apart by their number.\n"
      "\n"
      "Examples:\n"
      "  kestrel aggregator                          the default table, all workers must send\n"
      "  kestrel aggregator --quorum 3               go on without a straggler of 4 after 50 ms\n"
      "  kestrel aggregator --address 0.0.0.0 --granularity 17 --p 0.015625\n"
      "\n"
      "See docs/thc_worker.md.");
  command->add_option("--address", options->address, "IP address to listen on")
      ->capture_default_str();
  command->add_option("--port", options->port, "UDP port; 0 takes a free one")
      ->check(kPort)
      ->capture_default_str();
  command->add_option("--bits", options->bits, "Bits of an index")
      ->check(CLI::Range(1, 4))
      ->capture_default_str();
  command->add_option("--granularity", options->granularity, "Grid of the table values")
      ->check(CLI::Range(1, 255))
      ->capture_default_str();
  command->add_option("--p", options->p, "Share of coordinates that is clamped")
      ->check(kClampShare)
      ->capture_default_str();
  command
      ->add_option("--values", options->values,
                   "Table values, ascending from 0 to the granularity "
                   "(default: the best symmetric table)")
      ->delimiter(',');
  command
      ->add_option("--quorum", options->aggregator.quorum,
                   "Contributions that are enough once the time has passed; 0: all")
      ->check(within(0U, 65535U))
      ->capture_default_str();
  command
      ->add_option("--quorum-timeout", options->quorum_timeout_ms,
                   "Milliseconds since the first contribution")
      ->check(CLI::Range(0, 3'600'000))
      ->capture_default_str();
  command
      ->add_option("--norm-timeout", options->norm_timeout_ms,
                   "The same for norms, with which a round begins; -1: as --quorum-timeout")
      ->check(CLI::Range(-1, 3'600'000))
      ->capture_default_str();
  command
      ->add_option("--history", options->aggregator.history,
                   "Aggregations of a job kept for workers that ask again")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  command->add_option("--max-jobs", options->aggregator.max_jobs, "Jobs at a time")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command
      ->add_option("--job-timeout", options->job_timeout_s,
                   "Seconds of silence after which a job is forgotten")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command
      ->add_option("--json", options->json,
                   "Write what was aggregated here at the end, - for stdout")
      ->type_name("FILE");
  command->callback([options, &status] { status = finish("aggregator", aggregate(*options)); });
}

} // namespace kestrel::cli
