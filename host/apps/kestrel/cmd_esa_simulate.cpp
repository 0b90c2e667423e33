// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel esa simulate: job completion times of a cluster around the aggregation switch.
#include "cli.hpp"

#include <chrono>
#include <memory>

#include "kestrel/esa/cluster.hpp"
#include "kestrel/file.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  std::string scenario;
  std::string json;
  std::string device;
};

nlohmann::json outcome_json(const esa::ClusterVariant &variant, const esa::ClusterOutcome &o,
                            double seconds) {
  nlohmann::json jobs = nlohmann::json::array();
  for (const esa::JobOutcome &job : o.jobs)
    jobs.push_back({{"start_ms", job.start_ms}, {"jct_ms", job.jct_ms}});
  return {{"name", variant.name},
          {"policy", to_string(variant.config.policy)},
          {"slots", variant.config.slots},
          {"mean_jct_ms", o.mean_jct_ms},
          {"p95_jct_ms", o.p95_jct_ms},
          {"max_jct_ms", o.max_jct_ms},
          {"aggregated_in_switch", o.in_switch},
          {"aggregated_at_ps", o.at_ps},
          {"contributions", o.contributions},
          {"ps_packets", o.ps_packets},
          {"preemptions", o.preemptions},
          {"collisions", o.collisions},
          {"resends", o.resends},
          {"dropped", o.dropped},
          {"occupancy", o.occupancy},
          {"events", o.events},
          {"device", variant.config.device},
          {"device_packets", o.device_packets},
          {"seconds_to_simulate", seconds},
          {"jobs", jobs}};
}

Result<void> simulate(const Options &options) {
  constexpr std::int64_t kMaxScenarioBytes = std::int64_t{16} << 20;
  KESTREL_ASSIGN(const std::string text, read_text(options.scenario, kMaxScenarioBytes));
  auto scenario = esa::parse_scenario(text);
  if (!scenario)
    return fail(scenario.error().code, "{}: {}", options.scenario, scenario.error().message);
  const bool table = options.json != "-";
  nlohmann::json results = nlohmann::json::array();
  for (esa::ClusterVariant &variant : scenario->variants) {
    if (!options.device.empty())
      variant.config.device = options.device;
    const auto begin = std::chrono::steady_clock::now();
    const auto outcome = esa::simulate_cluster(variant.config, scenario->jobs);
    if (!outcome)
      return fail(outcome.error().code, "{}: {}: {}", options.scenario, variant.name,
                  outcome.error().message);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (table && results.empty()) // not before something came of the scenario
      fmt::print("{} job{}; job completion times (JCT) are simulated\n{:<22}{:>7}{:>12}{:>12}{:>12}"
                 "{:>11}{:>11}{:>12}{:>11}{:>9}\n",
                 scenario->jobs.size(), scenario->jobs.size() == 1 ? "" : "s", "variant", "slots",
                 "mean ms", "p95 ms", "max ms", "in switch", "at PS", "PS packets", "preempted",
                 "seconds");
    if (table)
      fmt::print("{:<22}{:>7}{:>12.0f}{:>12.0f}{:>12.0f}{:>11}{:>11}{:>12}{:>11}{:>9.1f}\n",
                 variant.name, variant.config.slots, outcome->mean_jct_ms, outcome->p95_jct_ms,
                 outcome->max_jct_ms, outcome->in_switch, outcome->at_ps, outcome->ps_packets,
                 outcome->preemptions, seconds);
    if (table && outcome->device_packets != 0)
      fmt::print("  {} packets through device '{}', all as the reference decides, all sums exact\n",
                 outcome->device_packets, variant.config.device);
    results.push_back(outcome_json(variant, *outcome, seconds));
  }
  if (!options.json.empty())
    return write_json(options.json, {{"scenario", options.scenario}, {"variants", results}});
  return {};
}

} // namespace

void add_esa_simulate(CLI::App &esa, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      esa.add_subcommand("simulate", "Job completion times of a cluster around the switch");
  command->add_option("scenario", options->scenario, "scenario as JSON; docs/esa_cluster.md")
      ->required()
      ->type_name("FILE");
  command->add_option("--json", options->json, "write the results to FILE, - for standard output")
      ->type_name("FILE");
  command
      ->add_option("--device", options->device,
                   "what decides: model (default), or fast or rtl beside it, packet for packet")
      ->check(CLI::IsMember({"model", "fast", "rtl"}));
  command->footer("Example:\n  kestrel esa simulate bench/esa/contention.json");
  command->callback([options, &status] { status = finish("esa simulate", simulate(*options)); });
}

} // namespace kestrel::cli
