// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel esa campaign: faults of the network and of hosts against exactly-once aggregation.
#include "cli.hpp"

#include <chrono>
#include <map>
#include <memory>

#include "kestrel/esa/campaign.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  std::string policy = "esa";
  std::string completed;
  std::string json;
  esa::CampaignConfig config;
};

using Rows = std::vector<std::pair<const char *, std::uint64_t>>;

Rows rows(const esa::CampaignTally &t) {
  return {{"packets offered to the switch", t.offered},
          {"lost on links", t.lost},
          {"duplicated", t.duplicated},
          {"reordered", t.reordered},
          {"damaged", t.damaged},
          {"malformed, with valid checksums", t.malformed},
          {"jobs", t.jobs},
          {"workers that died", t.deaths},
          {"parameter servers restarted", t.restarts},
          {"stragglers", t.stragglers},
          {"packets with sums that left the switch, checked", t.emissions},
          {"sequence numbers", t.sequences},
          {"exact at every living worker", t.exact},
          {"reported with the dead worker", t.reported},
          {"WRONG sums at a worker", t.wrong},
          {"WRONG sums leaving the switch", t.wrong_emissions},
          {"neither exact nor reported", t.unfinished},
          {"living workers reported", t.false_reports},
          {"frames without exactly one verdict", t.unaccounted}};
}

Result<void> campaign(Options options) {
  const std::map<std::string, esa::ref::Policy> policies = {
      {"esa", esa::ref::Policy::kEsa},
      {"atp", esa::ref::Policy::kAtp},
      {"switchml", esa::ref::Policy::kSwitchMl}};
  const std::map<std::string, esa::ref::Completed> rules = {
      {"free", esa::ref::Completed::kFree},
      {"hold", esa::ref::Completed::kHold},
      {"via_ps", esa::ref::Completed::kViaPs}};
  const auto policy = policies.find(options.policy);
  if (policy == policies.end()) {
    return fail(ErrorCode::kInvalidArgument, "policy '{}': there are esa, atp and switchml",
                options.policy);
  }
  if (options.completed.empty()) {
    options.completed = options.policy == "atp" ? "via_ps" : "free";
  }
  const auto rule = rules.find(options.completed);
  if (rule == rules.end()) {
    return fail(ErrorCode::kInvalidArgument, "completed '{}': there are free, hold and via_ps",
                options.completed);
  }
  options.config.model.policy = policy->second;
  options.config.model.completed = rule->second;
  const auto start = std::chrono::steady_clock::now();
  KESTREL_ASSIGN(const esa::CampaignTally tally, esa::run_campaign(options.config));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  nlohmann::json json = {{"policy", options.policy},        {"completed", options.completed},
                         {"device", options.config.device}, {"seed", options.config.seed},
                         {"passed", tally.passed()},        {"seconds_to_simulate", seconds}};
  for (const auto &[name, count] : rows(tally)) {
    json["tally"][name] = count;
  }
  for (std::size_t v = 0; v < esa::ref::kVerdicts; ++v) {
    json["verdicts"][esa::ref::to_string(static_cast<esa::ref::Verdict>(v))] =
        tally.counters.verdicts[v];
  }
  for (std::size_t f = 0; f < esa::ref::kFrameFaults; ++f) {
    json["faults"][esa::ref::to_string(static_cast<esa::ref::FrameFault>(f))] =
        tally.counters.faults[f];
  }
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, json));
  }
  if (options.json != "-") {
    fmt::print("policy {}, completed slots {}, device {}, seed {}: {:.1f} s to simulate\n",
               options.policy, options.completed, options.config.device, options.config.seed,
               seconds);
    for (const auto &[name, count] : rows(tally)) {
      fmt::print("  {:<50}{:>12}\n", name, count);
    }
    fmt::print("verdicts:");
    for (const auto &[name, count] : json["verdicts"].items()) {
      fmt::print(" {} {}", name, count.get<std::uint64_t>());
    }
    fmt::print("\nframe faults:");
    for (const auto &[name, count] : json["faults"].items()) {
      fmt::print(" {} {}", name, count.get<std::uint64_t>());
    }
    fmt::print("\n{}\n", tally.passed() ? "passed" : "FAILED");
  }
  if (!tally.passed()) {
    return fail(ErrorCode::kInternal, "exactly-once does not hold, see the tally");
  }
  return {};
}

} // namespace

void add_esa_campaign(CLI::App &esa, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command = esa.add_subcommand(
      "campaign", "Faults against exactly-once aggregation: loss, duplicates, deaths, restarts");
  command->footer("Examples:\n"
                  "  kestrel esa campaign                           a million packets, ESA\n"
                  "  kestrel esa campaign --policy atp --seed 7 --packets 100000 --json -");
  esa::CampaignConfig &c = options->config;
  command->add_option("--policy", options->policy, "esa, atp or switchml")->capture_default_str();
  command->add_option("--completed", options->completed,
                      "What becomes of completed slots: free, hold, via_ps (default for atp)");
  command->add_option("--device", c.device, "fast or rtl")->capture_default_str();
  command->add_option("--packets", c.packets, "Offered to the switch, at least")
      ->check(within<std::uint64_t>(range_of(esa::kCampaignRanges, "packets")))
      ->capture_default_str();
  command->add_option("--slots", c.model.slots, "Of the switch")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--lanes", c.model.lanes, "32-bit lanes of a slot")
      ->check(within<std::uint32_t>(range_of(esa::kCampaignRanges, "lanes")))
      ->capture_default_str();
  command->add_option("--seed", c.seed, "Of everything random")
      ->check(within<std::uint64_t>())
      ->capture_default_str();
  command->add_option("--loss", c.loss, "Share of frames on each link")
      ->check(within(range_of(esa::kCampaignRanges, "loss")))
      ->capture_default_str();
  command->add_option("--duplicate", c.duplicate, "Share of frames")
      ->check(within(range_of(esa::kCampaignRanges, "duplicate")))
      ->capture_default_str();
  command->add_option("--reorder", c.reorder, "Share of frames")
      ->check(within(range_of(esa::kCampaignRanges, "reorder")))
      ->capture_default_str();
  command->add_option("--damage", c.damage, "Share of frames to the switch")
      ->check(within(range_of(esa::kCampaignRanges, "damage")))
      ->capture_default_str();
  command->add_option("--malformed", c.malformed, "Packets more, share")
      ->check(within(range_of(esa::kCampaignRanges, "malformed")))
      ->capture_default_str();
  command->add_option("--death", c.death, "Share of jobs that lose a worker")
      ->check(within(range_of(esa::kCampaignRanges, "death")))
      ->capture_default_str();
  command->add_option("--restart", c.restart, "Share of jobs whose PS restarts")
      ->check(within(range_of(esa::kCampaignRanges, "restart")))
      ->capture_default_str();
  command->add_option("--straggler", c.straggler, "Share of workers")
      ->check(within(range_of(esa::kCampaignRanges, "straggler")))
      ->capture_default_str();
  command->add_option("--json", options->json, "The tally for machines, - for stdout")
      ->type_name("FILE");
  command->callback([options, &status] { status = finish("esa campaign", campaign(*options)); });
}

} // namespace kestrel::cli
