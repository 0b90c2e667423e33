// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel_bench_vision: how many cycles networks take on the vision engine in RTL simulation, where
// the cycles go, and whether the cycle model says the same. Outputs are compared with the software
// reference before anything is measured. Exit status: 0; 1 wrong result, model or baseline; 2
// usage.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kestrel/memory_model.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/cycle_model.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"

namespace kestrel::hv {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> models;
  std::vector<std::string> memories;
  std::string memory_name; // the one at hand
  MemoryModel memory;
  double clock_mhz = 100.0;
  int runs = 3;
  std::string json_path;
  std::string baseline_path = std::string(KESTREL_SOURCE_DIR) + "/bench/vision/baseline_edge.json";
  bool check_baseline = false;
  bool update_baseline = false;

  [[nodiscard]] DeviceOptions device() const {
    DeviceOptions o;
    o.memory = memory;
    o.clock_mhz = clock_mhz;
    return o;
  }
};

/// One counter of the engine: its name in the output and where it is.
struct Field {
  const char *name;
  std::uint64_t Counters::*member;
};
// The classes of cycles; they add up to `cycles`.
constexpr std::array<Field, 9> kClasses = {{
    {"mac", &Counters::mac},
    {"residual", &Counters::res},
    {"weight", &Counters::stall_weight},
    {"drain", &Counters::stall_drain},
    {"fetch", &Counters::stall_fetch},
    {"load", &Counters::stall_load},
    {"dep", &Counters::stall_dep},
    {"desc", &Counters::stall_desc},
    {"out", &Counters::stall_out},
}};
constexpr std::array<Field, 5> kTotals = {{
    {"cycles", &Counters::cycles},
    {"read_beats", &Counters::rd_beats},
    {"weight_beats", &Counters::rd_w_beats},
    {"write_beats", &Counters::wr_beats},
    {"descriptors", &Counters::descriptors},
}};

bool same_timing(const Counters &a, const Counters &b) {
  const auto equal = [&](const Field &f) { return a.*f.member == b.*f.member; };
  return std::all_of(kClasses.begin(), kClasses.end(), equal) &&
         std::all_of(kTotals.begin(), kTotals.end(), equal);
}

struct Measurement {
  std::string name;
  Counters rtl;
  Counters model; // cycles_known is false where there is no cycle model
  // Cycles by the model of the package that is compiled for the assumed memory, on this one.
  std::uint64_t untuned = 0;
  std::uint32_t bus_bytes = 8;
  ClockInfo clock;
  double wall_seconds = 0.0; // of the simulator, for one inference
  double cpu_seconds = 0.0;  // processor time of the same: what a busy machine leaves alone

  [[nodiscard]] bool model_agrees() const { return model.cycles_known && same_timing(rtl, model); }
  [[nodiscard]] double utilisation() const {
    return static_cast<double>(rtl.macs) / static_cast<double>(rtl.mac_lanes * rtl.cycles);
  }
  [[nodiscard]] double latency_ms() const {
    return static_cast<double>(rtl.cycles) / (clock.mhz * 1e3);
  }
};

std::vector<std::string> default_models() {
  std::vector<std::string> out = {std::string(KESTREL_SOURCE_DIR) +
                                  "/models/edge/fmnist_edge_int8.tflite"};
  const char *dir = std::getenv("KESTREL_DATA_DIR");
  const fs::path data = dir != nullptr && *dir != '\0' ? dir : KESTREL_DEFAULT_DATA_DIR;
  for (const char *name :
       {"mlperf_tiny/dscnn_kws_int8", "mlperf_tiny/resnet8_cifar10_int8",
        "mlperf_tiny/mobilenetv1_025_vww96_int8", "person_detect/person_detect",
        "tinymaix/mnist_arduino_q", "tinymaix/mnist_dw_q", "tinymaix/mnist_valid_q"}) {
    const fs::path path = data / "models" / (std::string(name) + ".tflite");
    if (fs::exists(path))
      out.push_back(path.string());
    else
      std::printf("%s is absent (set KESTREL_DATA_DIR)\n", path.c_str());
  }
  return out;
}

Result<Measurement> measure(const std::string &path, const Options &options) {
  auto graph = import_tflite_file(path);
  if (!graph)
    return graph.error();
  const contract::Config &config = *contract::find_config("edge");
  CompileOptions compile_options;
  compile_options.memory = options.memory;
  auto package = compile(*graph, config, compile_options);
  if (!package)
    return package.error();
  std::uint64_t untuned = 0;
  if (options.memory.limited()) {
    const auto other = compile(*graph, config, {});
    if (!other)
      return other.error();
    const auto counters = simulate_cycles(*other, config, options.memory);
    if (!counters)
      return counters.error();
    untuned = counters->cycles;
  }
  auto rtl = make_device("rtl", config.name, options.device());
  if (!rtl)
    return rtl.error();
  auto fast = make_device("fast", config.name, options.device());
  if (!fast)
    return fast.error();
  for (Device *device : {rtl->get(), fast->get()})
    if (auto ok = device->load(*package); !ok)
      return ok.error();

  Measurement m;
  m.name = fs::path(path).stem().string();
  m.untuned = untuned;
  m.bus_bytes = config.bus_bytes;
  m.clock = (*rtl)->clock();
  std::mt19937 random(1);
  std::vector<std::int8_t> input(package->input.elements());
  double seconds = 0.0;
  std::clock_t ticks = 0;
  for (int i = 0; i < options.runs; ++i) {
    for (std::int8_t &x : input)
      x = static_cast<std::int8_t>(random() >> 24U);
    const auto want = run_reference(*graph, input);
    if (!want)
      return want.error();
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t first_tick = std::clock();
    const auto got = (*rtl)->run(input);
    ticks += std::clock() - first_tick;
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!got)
      return got.error();
    const auto functional = (*fast)->run(input);
    if (!functional)
      return functional.error();
    if (got->output != *want || functional->output != *want)
      return fail(ErrorCode::kInternal, "{}: input {}: the output of {} is not the reference's",
                  path, i, got->output != *want ? "the RTL" : "the functional device");
    if (i > 0 && !same_timing(m.rtl, got->counters))
      return fail(ErrorCode::kInternal, "{}: input {} takes {} cycles, the one before {}", path, i,
                  got->counters.cycles, m.rtl.cycles);
    m.rtl = got->counters;
    m.model = functional->counters;
  }
  m.wall_seconds = seconds / options.runs;
  m.cpu_seconds = static_cast<double>(ticks) / CLOCKS_PER_SEC / options.runs;
  std::uint64_t sum = 0;
  for (const Field &f : kClasses)
    sum += m.rtl.*f.member;
  if (sum != m.rtl.cycles)
    return fail(ErrorCode::kInternal, "{}: {} cycles, but {} in all classes", path, m.rtl.cycles,
                sum);
  return m;
}

void print(const std::vector<Measurement> &all, const Options &options) {
  fmt::print("\nEngine `edge` in RTL simulation, outputs equal to the software reference. External "
             "memory `{}`,\na {}-bit bus, {}: {:.2f} bytes a cycle.\nWeights from external memory "
             "in every inference. Packages are compiled for this memory.\n\n",
             options.memory_name, all.front().bus_bytes * 8, describe(options.memory),
             options.memory.bytes_per_cycle(all.front().bus_bytes));
  const std::string latency = fmt::format("ms at {:g} MHz", all.front().clock.mhz);
  fmt::print("{:28} {:>11} {:>9} {:>9} {:>7} {:>11} {:>11} {:>9} {:>16}\n", "network", "MACs",
             "cycles", "model", "equal", "utilisation", "bytes read", "written", latency);
  for (const Measurement &m : all) {
    const bool known = m.model.cycles_known;
    fmt::print("{:28} {:11} {:9} {:>9} {:>7} {:>10.1f}% {:11} {:9} {:16.3f}\n", m.name, m.rtl.macs,
               m.rtl.cycles, known ? fmt::format("{}", m.model.cycles) : "-",
               known ? (m.model_agrees() ? "yes" : "NO") : "-", 100 * m.utilisation(),
               m.rtl.rd_beats * m.bus_bytes, m.rtl.wr_beats * m.bus_bytes, m.latency_ms());
  }
  fmt::print("The clock is {}. `model`: the cycle model of the functional device; equal: all its "
             "counters are.\n\nWhere the cycles went:\n{:28}",
             all.front().clock.basis, "network");
  for (const Field &f : kClasses)
    fmt::print(" {:>15}", f.name);
  fmt::print("\n");
  for (const Measurement &m : all) {
    fmt::print("{:28}", m.name);
    for (const Field &f : kClasses)
      fmt::print(" {:7} ({:4.1f}%)", m.rtl.*f.member,
                 100.0 * static_cast<double>(m.rtl.*f.member) / static_cast<double>(m.rtl.cycles));
    fmt::print("\n");
  }
  if (options.memory.limited()) {
    fmt::print("\nWhat compiling for this memory gains (cycle model):\n{:28} {:>12} {:>12} {:>8}\n",
               "network", "for assumed", "for this", "gain");
    for (const Measurement &m : all)
      fmt::print("{:28} {:12} {:12} {:7.2f}%\n", m.name, m.untuned, m.rtl.cycles,
                 100.0 *
                     (1.0 - static_cast<double>(m.rtl.cycles) / static_cast<double>(m.untuned)));
  }
  fmt::print("\nSpeed of the simulator on this machine (not of the hardware), mean of {}:\n"
             "{:28} {:>18} {:>20} {:>24}\n",
             options.runs, "network", "cycles per second", "seconds/inference",
             "cycles per CPU second");
  for (const Measurement &m : all)
    fmt::print("{:28} {:18.0f} {:20.3f} {:24.0f}\n", m.name,
               static_cast<double>(m.rtl.cycles) / m.wall_seconds, m.wall_seconds,
               static_cast<double>(m.rtl.cycles) / m.cpu_seconds);
}

Json to_json(const Counters &n) {
  Json out;
  for (const Field &f : kTotals)
    out[f.name] = n.*f.member;
  for (const Field &f : kClasses)
    out["class"][f.name] = n.*f.member;
  return out;
}

Json to_json(const std::vector<Measurement> &all, const Options &options) {
  Json out;
  out["config"] = "edge";
  out["bus_bits"] = all.front().bus_bytes * 8;
  out["read_latency"] = options.memory.read_latency;
  out["write_latency"] = options.memory.write_latency;
  out["memory"] = options.memory_name;
  out["memory_settings"] = describe(options.memory);
  out["clock"] = {{"mhz", all.front().clock.mhz}, {"basis", all.front().clock.basis}};
  for (const Measurement &m : all) {
    Json n;
    n["network"] = m.name;
    n["macs"] = m.rtl.macs;
    n["rtl"] = to_json(m.rtl);
    n["model"] = m.model.cycles_known ? to_json(m.model) : Json();
    n["model_equal"] = m.model.cycles_known ? Json(m.model_agrees()) : Json();
    n["utilisation"] = m.utilisation();
    n["bytes_read"] = m.rtl.rd_beats * m.bus_bytes;
    n["bytes_written"] = m.rtl.wr_beats * m.bus_bytes;
    if (m.untuned != 0)
      n["cycles_compiled_for_assumed"] = m.untuned;
    n["latency_ms"] = m.latency_ms();
    n["simulator"] = {{"cycles_per_second", static_cast<double>(m.rtl.cycles) / m.wall_seconds},
                      {"seconds_per_inference", m.wall_seconds},
                      {"cycles_per_cpu_second", static_cast<double>(m.rtl.cycles) / m.cpu_seconds}};
    out["networks"].push_back(std::move(n));
  }
  return out;
}

bool write_file(const std::string &path, const Json &json) {
  std::ofstream out(path);
  out << json.dump(2) << '\n';
  out.close();
  if (!out)
    fmt::print(stderr, "{}: cannot be written\n", path);
  return static_cast<bool>(out);
}

// The committed file: cycles of each network under the timing that it names.
int baseline(const std::vector<Measurement> &all, const Options &options) {
  Json file;
  if (std::ifstream in(options.baseline_path); in)
    file = Json::parse(in, nullptr, false);
  const bool readable = file.is_object() && file.contains("cycles");
  if (options.update_baseline) {
    if (!readable)
      file = Json();
    file["config"] = "edge";
    file["read_latency"] = options.memory.read_latency;
    file["write_latency"] = options.memory.write_latency;
    for (const Measurement &m : all)
      file["cycles"][m.name] = m.rtl.cycles;
    return write_file(options.baseline_path, file) ? 0 : 1;
  }
  if (!readable) {
    fmt::print(stderr, "{}: not a baseline\n", options.baseline_path);
    return 1;
  }
  if (options.memory.limited() || file.value("read_latency", 0U) != options.memory.read_latency ||
      file.value("write_latency", 0U) != options.memory.write_latency) {
    fmt::print(stderr, "{}: made with another memory\n", options.baseline_path);
    return 1;
  }
  int drifted = 0;
  for (const Measurement &m : all) {
    const Json &cycles = file["cycles"];
    if (!cycles.contains(m.name)) {
      fmt::print(stderr, "{}: {} is not in the baseline\n", options.baseline_path, m.name);
      ++drifted;
    } else if (const auto want = cycles[m.name].get<std::uint64_t>(); want != m.rtl.cycles) {
      fmt::print(stderr, "{}: {} cycles instead of {} ({:+.2f} %)\n", m.name, m.rtl.cycles, want,
                 100.0 * (static_cast<double>(m.rtl.cycles) / static_cast<double>(want) - 1.0));
      ++drifted;
    }
  }
  fmt::print("\nBaseline: {} of {} networks as in {}\n", static_cast<int>(all.size()) - drifted,
             all.size(), fs::path(options.baseline_path).filename().string());
  return drifted == 0 ? 0 : 1;
}

int run(Options options) {
  if (options.models.empty())
    options.models = default_models();
  if (options.memories.empty()) {
    options.memories = {"assumed"};
    if (!options.check_baseline && !options.update_baseline)
      options.memories.emplace_back("ulx3s");
  }
  Json json;
  int status = 0;
  for (const std::string &name : options.memories) {
    const auto memory = parse_memory(name);
    if (!memory) {
      fmt::print(stderr, "{}\n", memory.error().message);
      return 2;
    }
    options.memory_name = name;
    options.memory = *memory;
    std::vector<Measurement> all;
    for (const std::string &path : options.models) {
      auto m = measure(path, options);
      if (!m) {
        fmt::print(stderr, "{}\n", m.error().message);
        return 1;
      }
      all.push_back(std::move(*m));
    }
    print(all, options);
    for (const Measurement &m : all)
      if (m.model.cycles_known && !m.model_agrees())
        status = 1;
    // The first memory's numbers are the file; those of others follow in it.
    if (json.is_null())
      json = to_json(all, options);
    else
      json["other_memories"].push_back(to_json(all, options));
    if (options.check_baseline || options.update_baseline)
      status = std::max(status, baseline(all, options));
  }
  if (!options.json_path.empty() && !write_file(options.json_path, json))
    status = 1;
  return status;
}

} // namespace
} // namespace kestrel::hv

int main(int argc, char **argv) {
  kestrel::hv::Options options;
  CLI::App app{"Cycles of networks on the vision engine in RTL simulation"};
  app.add_option("models", options.models,
                 "TensorFlow Lite int8 models; default: the committed model and those of the test "
                 "data")
      ->check(CLI::ExistingFile);
  app.add_option("--memory", options.memories,
                 "external memories, each a name (assumed, ulx3s) or settings as of kestrel run; "
                 "default: assumed and ulx3s, with a baseline only assumed")
      ->type_name("MEMORY");
  app.add_option("--clock-mhz", options.clock_mhz, "assumed clock for the latency in ms")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--runs", options.runs, "inferences per network, each with another input")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--json", options.json_path, "write all numbers to this file");
  app.add_option("--baseline", options.baseline_path, "file of cycles per network")
      ->capture_default_str();
  auto *check = app.add_flag("--check-baseline", options.check_baseline,
                             "fail when a network takes other cycles than the baseline says");
  app.add_flag("--update-baseline", options.update_baseline, "write the cycles to the baseline")
      ->excludes(check);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return kestrel::hv::run(std::move(options));
}
