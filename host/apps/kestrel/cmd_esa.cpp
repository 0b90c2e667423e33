// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel esa: the aggregation switch from files.
#include "cli.hpp"

#include <filesystem>
#include <memory>

#include "kestrel/esa/device.hpp"
#include "kestrel/esa/io.hpp"
#include "kestrel/file.hpp"

namespace kestrel::cli {
namespace {

struct SwitchOptions {
  std::string device = "fast";
  std::string config;
  std::string input;
  std::string output;
  std::string json;
};

/// Of a configuration, and of a file of packets.
constexpr std::int64_t kMaxConfigBytes = std::int64_t{16} << 20;
constexpr std::int64_t kMaxPacketBytes = std::int64_t{1} << 30;

bool is_pcapng(const std::string &path) {
  return std::filesystem::path(path).extension() == ".pcapng";
}

Result<std::vector<esa::Ingress>> read_packets(const std::string &path,
                                               const esa::SwitchConfig &config) {
  KESTREL_ASSIGN(const std::string text, read_text(path, kMaxPacketBytes));
  std::vector<esa::Ingress> frames;
  if (is_pcapng(path)) {
    auto parsed =
        esa::parse_pcapng({reinterpret_cast<const std::uint8_t *>(text.data()), text.size()});
    if (!parsed) {
      return fail(parsed.error().code, "{}: {}", path, parsed.error().message);
    }
    frames = std::move(*parsed);
    for (const esa::Ingress &in : frames) {
      if (in.port >= config.model.ports) {
        return fail(ErrorCode::kInvalidArgument, "{}: interface {}: the switch has {} ports", path,
                    in.port, config.model.ports);
      }
    }
    return frames;
  }
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
      continue;
    }
    auto in = esa::parse_packet_line(line, config);
    if (!in) {
      return fail(in.error().code, "{}:{}: {}", path, number, in.error().message);
    }
    frames.push_back(std::move(*in));
  }
  return frames;
}

nlohmann::json counters_json(const esa::SwitchDevice &device, std::uint64_t last_cycle) {
  const esa::SwitchCounters counters = device.counters();
  nlohmann::json verdicts = nlohmann::json::object();
  for (std::size_t v = 0; v < counters.verdicts.size(); ++v) {
    verdicts[esa::ref::to_string(static_cast<esa::ref::Verdict>(v))] = counters.verdicts[v];
  }
  nlohmann::json faults = nlohmann::json::object();
  for (std::size_t f = 0; f < counters.faults.size(); ++f) {
    faults[esa::ref::to_string(static_cast<esa::ref::FrameFault>(f))] = counters.faults[f];
  }
  return {{"device", device.name()},
          {"frames_in", counters.frames_in},
          {"frames_out", counters.frames_out},
          {"last_cycle", last_cycle},
          {"cycles", device.name() == "rtl" ? "simulated" : "estimated"},
          {"verdicts", verdicts},
          {"faults", faults},
          {"foreign_dropped", counters.foreign_dropped}};
}

Result<void> run_switch(const SwitchOptions &options) {
  KESTREL_ASSIGN(const std::string text, read_text(options.config, kMaxConfigBytes));
  auto config = esa::parse_switch_config(text);
  if (!config) {
    return fail(config.error().code, "{}: {}", options.config, config.error().message);
  }
  auto device = esa::make_switch(options.device, *config);
  if (!device) {
    return fail(device.error().code, "{}: {}", options.config, device.error().message);
  }
  KESTREL_ASSIGN(const auto frames, read_packets(options.input, *config));
  KESTREL_ASSIGN(const auto out, (*device)->run(frames));
  if (is_pcapng(options.output)) {
    KESTREL_TRY(write_file(options.output, esa::make_pcapng(out, config->model.ports)));
  } else {
    std::string lines;
    for (const esa::Egress &egress : out) {
      lines += esa::packet_line(egress);
      lines += '\n';
    }
    KESTREL_TRY(write_file(options.output, lines));
  }
  const nlohmann::json summary = counters_json(**device, out.empty() ? 0 : out.back().cycle);
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, summary));
  }
  if (options.json != "-") {
    fmt::print("device {}: {} frames in, {} out, last leaves at cycle {} ({})\n", options.device,
               frames.size(), out.size(), summary["last_cycle"].get<std::uint64_t>(),
               summary["cycles"].get<std::string>());
    for (const char *group : {"verdicts", "faults"}) {
      for (const auto &[name, count] : summary[group].items()) {
        if (count.get<std::uint64_t>() != 0) {
          fmt::print("  {:<14}{:>10}\n", name, count.get<std::uint64_t>());
        }
      }
    }
  }
  return {};
}

} // namespace

void add_esa(CLI::App &app, int &status) {
  CLI::App *esa = app.add_subcommand("esa", "Aggregation switch with preemptive slots");
  esa->require_subcommand(1);

  auto options = std::make_shared<SwitchOptions>();
  CLI::App *sw = esa->add_subcommand("switch", "Send packets of a file through the switch");
  sw->footer(
      "Examples:\n"
      "  kestrel esa switch --config c.json --input in.jsonl --output out.jsonl\n"
      "  kestrel esa switch --device rtl --config c.json --input in.pcapng --output out.pcapng\n"
      "Formats: docs/esa.md; for Wireshark: docs/esa_wireshark.md.");
  sw->add_option("--device", options->device, "rtl (simulated cycle by cycle) or fast (the model)")
      ->capture_default_str();
  sw->add_option("--config", options->config, "The switch and its jobs, JSON")
      ->required()
      ->type_name("FILE");
  sw->add_option("--input", options->input, "Packets: JSON lines, or .pcapng")
      ->required()
      ->type_name("FILE");
  sw->add_option("--output", options->output, "What leaves: JSON lines, or .pcapng")
      ->required()
      ->type_name("FILE");
  sw->add_option("--json", options->json, "Counters for machines, - for stdout")->type_name("FILE");
  sw->callback([options, &status] { status = finish("esa switch", run_switch(*options)); });
  add_esa_simulate(*esa, status);
  add_esa_campaign(*esa, status);
}

} // namespace kestrel::cli
