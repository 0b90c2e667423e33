// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel run: one network on arrays of inputs.
#include "cli.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "kestrel/npy.hpp"
#include "kestrel/progress.hpp"
#include "kestrel/vision/device.hpp"
#include "model_file.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  std::string model;
  std::string config = "edge";
  std::string device = "fast";
  std::string input;
  std::string output;
  std::string json;
  std::uint32_t threshold = 0;
  std::string confidence = "top1";
  MemoryOption memory;
  hv::DeviceOptions device_options;
};

/// Number of inputs in the array: [N, ...] with the model's shape behind N, or one input alone.
Result<std::size_t> count_inputs(const NpyArray &array, const hv::Package &package,
                                 const std::string &name) {
  const std::vector<std::int64_t> model(package.input.shape.begin(), package.input.shape.end());
  const std::vector<std::int64_t> one(model.begin() + (model.size() > 1 ? 1 : 0), model.end());
  if (array.shape == one) {
    return 1;
  }
  if (array.shape.size() == one.size() + 1 &&
      std::equal(one.begin(), one.end(), array.shape.begin() + 1)) {
    return static_cast<std::size_t>(array.shape.front());
  }
  return fail(ErrorCode::kShapeMismatch, "{}: the array is [{}]; '{}' takes [N, {}]", name,
              fmt::join(array.shape, ", "), package.model_name, fmt::join(one, ", "));
}

/// Where the cycles of a device come from.
const char *cycles_basis(const hv::Counters &counters, std::string_view device) {
  if (device == "rtl")
    return "simulated";
  if (device == "remote")
    return "counted by the board";
  return counters.cycles_known ? "cycle model" : "estimate";
}

nlohmann::json to_json(const hv::Inference &inference, const hv::Package &package,
                       std::string_view device) {
  const hv::Counters &c = inference.counters;
  const std::uint64_t cycles = c.cycles_known ? c.cycles : package.estimated_cycles;
  nlohmann::json json{{"cycles", cycles},
                      {"cycles_basis", cycles_basis(c, device)},
                      {"macs", c.macs},
                      {"mac_lanes", c.mac_lanes}};
  if (cycles != 0 && c.mac_lanes != 0) {
    json["utilisation"] = static_cast<double>(c.macs) / static_cast<double>(c.mac_lanes) /
                          static_cast<double>(cycles);
  }
  if (c.cycles_known) {
    json["counters"] = {{"mac", c.mac},
                        {"res", c.res},
                        {"stall_weight", c.stall_weight},
                        {"stall_drain", c.stall_drain},
                        {"stall_fetch", c.stall_fetch},
                        {"stall_load", c.stall_load},
                        {"stall_dep", c.stall_dep},
                        {"stall_desc", c.stall_desc},
                        {"stall_out", c.stall_out},
                        {"rd_beats", c.rd_beats},
                        {"rd_w_beats", c.rd_w_beats},
                        {"wr_beats", c.wr_beats},
                        {"descriptors", c.descriptors}};
  }
  if (inference.confidence) {
    const hv::Confidence &confidence = *inference.confidence;
    json["confidence"] = {{"top1", confidence.top1},
                          {"top2", confidence.top2},
                          {"p1_q16", confidence.p1_q16},
                          {"margin_q16", confidence.margin_q16},
                          {"confident", confidence.confident}};
  }
  return json;
}

Result<void> run(const Options &options) {
  const bool remote = options.device.starts_with("remote:");
  hv::CompileOptions compile;
  KESTREL_ASSIGN(compile.memory, options.memory.model(remote ? "ulx3s" : "assumed"));
  KESTREL_ASSIGN(const hv::Package package, load_model(options.model, options.config, compile));
  KESTREL_ASSIGN(const NpyArray array, load_npy(options.input));
  KESTREL_ASSIGN(const auto values, array.values<std::int8_t>(options.input));
  KESTREL_ASSIGN(const std::size_t count, count_inputs(array, package, options.input));
  if (count == 0) {
    return fail(ErrorCode::kInvalidArgument, "{}: the array [{}] holds no inputs", options.input,
                fmt::join(array.shape, ", "));
  }
  std::optional<Progress> loading;
  hv::DeviceOptions device_options = options.device_options;
  device_options.memory = compile.memory;
  device_options.loading = [&](std::uint64_t done, std::uint64_t total) {
    if (!loading)
      loading.emplace(fmt::format("{} into the board", package.model_name), total, "bytes");
    loading->update(done);
  };
  KESTREL_ASSIGN(auto device, hv::make_device(options.device, options.config, device_options));
  KESTREL_TRY(device->load(package));
  loading.reset();
  KESTREL_TRY(device->set_threshold(options.threshold, options.confidence == "margin"
                                                           ? hv::ConfidenceMode::kMargin
                                                           : hv::ConfidenceMode::kTop1));

  std::vector<std::int8_t> results;
  nlohmann::json inferences = nlohmann::json::array();
  std::vector<std::uint64_t> cycles;
  const std::size_t size = package.input.elements();
  const auto begin = std::chrono::steady_clock::now();
  {
    Progress progress(fmt::format("{} on {}", package.model_name, device->name()), count,
                      "inferences");
    for (std::size_t i = 0; i < count; ++i) {
      auto inference = device->run(std::span(values).subspan(i * size, size));
      if (!inference) {
        return fail(inference.error().code, "{}: input {}: {}", options.model, i,
                    inference.error().message);
      }
      results.insert(results.end(), inference->output.begin(), inference->output.end());
      inferences.push_back(to_json(*inference, package, device->name()));
      cycles.push_back(inferences.back()["cycles"].get<std::uint64_t>());
      progress.advance();
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  if (!options.output.empty()) {
    std::vector<std::int64_t> shape(package.output.shape.begin(), package.output.shape.end());
    if (shape.size() < 2) {
      shape.insert(shape.begin(), 1);
    }
    shape.front() = static_cast<std::int64_t>(count);
    KESTREL_TRY(save_npy(options.output, make_npy<std::int8_t>(shape, results)));
  }
  const hv::ClockInfo clock = device->clock();
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, {{"model", options.model},
                                          {"config", options.config},
                                          {"device", options.device},
                                          {"memory", describe(compile.memory)},
                                          {"clock", {{"mhz", clock.mhz}, {"basis", clock.basis}}},
                                          {"seconds", seconds},
                                          {"inferences", inferences}}));
  }
  if (options.json != "-" && !cycles.empty()) {
    std::sort(cycles.begin(), cycles.end());
    const std::uint64_t median = cycles[cycles.size() / 2];
    fmt::print("{}: {} inferences on {}/{}, {} cycles median ({}; {}..{}), {:.1f} us at {:g} MHz "
               "({})\n",
               package.model_name, count, options.config, device->name(), median,
               inferences[0]["cycles_basis"].get<std::string>(), cycles.front(), cycles.back(),
               static_cast<double>(median) / clock.mhz, clock.mhz, clock.basis);
  }
  return {};
}

} // namespace

void add_run(CLI::App &app, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand("run", "Run a network on inputs from a .npy file");
  command->footer(
      "MODEL is an int8 TensorFlow Lite file or a package made by `kestrel compile`.\n"
      "The input is an int8 array [N, height, width, channels], quantised as the model wants it;\n"
      "the output is the model's own int8 output, [N, ...].\n"
      "\n"
      "Examples:\n"
      "  kestrel run net.tflite --input x.npy --output y.npy\n"
      "  kestrel run net.tflite --device rtl --input x.npy --json -      cycles and stalls\n"
      "  kestrel run net.tflite --device rtl --input x.npy --trace t.fst waveforms\n"
      "  kestrel run net.tflite --device remote:/dev/ttyUSB0 --input x.npy      a board\n"
      "\n"
      "Device fast is bit-exact and quick; rtl simulates the hardware cycle by cycle;\n"
      "remote:URL is a board behind a bridge of LiteX (docs/board_ulx3s.md). URL is one of\n"
      "  /dev/ttyUSB0[?baud=N]      a serial port (1000000 baud)\n"
      "  pty:PATH                   a pseudo-terminal\n"
      "  tcp://HOST:PORT            the same bytes over TCP, e.g. kestrel board-sim\n"
      "  udp://HOST[:PORT]          Etherbone, for boards with Ethernet (port 1234)\n"
      "with options ?NAME=VALUE&...: timeout=MS of one answer, patience=S of an inference,\n"
      "verify=0 (memory and results are not read back), engine=ADDRESS, memory=ADDRESS and\n"
      "size=BYTES where the board differs from boards/ulx3s.");
  command->add_option("model", options->model, "Network")->required()->type_name("MODEL");
  command->add_option("--config", options->config, "Engine configuration: " + config_names())
      ->capture_default_str();
  command->add_option("--device", options->device, "fast, rtl or remote:URL")
      ->check(CLI::Validator(
          [](std::string &text) {
            return text == "fast" || text == "rtl" || text.starts_with("remote:")
                       ? std::string()
                       : fmt::format("'{}' is not fast, rtl or remote:URL", text);
          },
          "DEVICE"))
      ->capture_default_str();
  command->add_option("--input", options->input, "Inputs, int8 .npy")
      ->required()
      ->type_name("X.npy");
  command->add_option("--output", options->output, "Outputs, int8 .npy")->type_name("Y.npy");
  command->add_option("--json", options->json, "Counters of each inference, - for stdout")
      ->type_name("FILE");
  command->add_option("--threshold", options->threshold, "Confidence threshold, 0..65536")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  command->add_option("--confidence", options->confidence, "What is compared: top1 or margin")
      ->check(CLI::IsMember({"top1", "margin"}))
      ->capture_default_str();
  options->memory.add_to(*command);
  command->add_option("--clock-mhz", options->device_options.clock_mhz, "Assumed clock")
      ->check(kClockMhz)
      ->capture_default_str();
  command->add_option("--seed", options->device_options.seed, "Of uninitialised state (rtl)")
      ->check(within<std::uint64_t>())
      ->capture_default_str();
  command->add_option("--trace", options->device_options.trace_path, "Waveforms (rtl)")
      ->type_name("FILE.fst");
  command->callback([options, &status] { status = finish("run", run(*options)); });
}

} // namespace kestrel::cli
