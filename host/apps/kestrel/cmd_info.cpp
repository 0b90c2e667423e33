// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel info: what this program knows, or what a network looks like to the engine.
#include "cli.hpp"

#include <memory>

#include "kestrel/contract/vision.hpp"
#include "kestrel/vision/device.hpp"
#include "model_file.hpp"
#include "package_json.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  std::string model;
  std::string config = "edge";
  std::string json;
  bool layers = false;
};

Result<void> info(const Options &options) {
  if (!options.model.empty()) {
    KESTREL_ASSIGN(const hv::Package package, load_model(options.model, options.config));
    if (!options.json.empty()) {
      KESTREL_TRY(write_json(options.json, package_json(package)));
    }
    if (options.json != "-") {
      fmt::print("{}", describe(package, options.layers));
    }
    return {};
  }
  std::string places;
  if (const auto pages = installed(KESTREL_INSTALL_DOC)) {
    places += fmt::format("pages in {}\n", *pages);
  }
  if (const auto python = installed(KESTREL_INSTALL_PYTHON)) {
    places += fmt::format("Python package kestrel_thc in {} (for PYTHONPATH)\n", *python);
  }
  nlohmann::json configs = nlohmann::json::array();
  std::string text =
      fmt::format("kestrel {}\nmodels in {}\n{}\n{:<8} {:>9} {:>10} {:>11} {:>5}  {:<5}"
                  "  {}\n",
                  KESTREL_VERSION, models_folder({}), places, "config", "MAC/cycle", "activation",
                  "weight ring", "bus", "rtl", "for");
  for (const contract::Config &config : contract::kConfigs) {
    const std::string name(config.name);
    const bool rtl = hv::make_device("rtl", name).ok();
    const std::uint64_t activation =
        std::uint64_t{config.lanes} * config.word_bytes * config.act_rows;
    const std::uint64_t ring = std::uint64_t{config.ring_words} * config.ring_word_bytes();
    text += fmt::format("{:<8} {:>9} {:>6} KiB {:>7} KiB {:>3} B  {:<5}  {}\n", name, config.macs(),
                        activation / 1024, ring / 1024, config.bus_bytes, rtl ? "yes" : "no",
                        config.doc);
    configs.push_back({{"name", name},
                       {"macs_per_cycle", config.macs()},
                       {"activation_bytes", activation},
                       {"weight_ring_bytes", ring},
                       {"bus_bytes", config.bus_bytes},
                       {"rtl", rtl}});
  }
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(
        options.json,
        {{"version", KESTREL_VERSION}, {"models", models_folder({})}, {"configs", configs}}));
  }
  if (options.json != "-") {
    fmt::print("{}", text);
  }
  return {};
}

} // namespace

void add_info(CLI::App &app, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      app.add_subcommand("info", "Show engine configurations, or a network as compiled");
  command->footer("Examples:\n"
                  "  kestrel info                         configurations of this build\n"
                  "  kestrel info net.tflite              size and predicted cycles\n"
                  "  kestrel info net.tflite --layers     a line for each layer\n"
                  "  kestrel info net.kpkg --json -       a package, for machines");
  command->add_option("model", options->model, "Network or package")->type_name("MODEL");
  command->add_option("--config", options->config, "Engine configuration: " + config_names())
      ->capture_default_str();
  command->add_flag("--layers", options->layers, "A line for each layer");
  command->add_option("--json", options->json, "The same for machines, - for stdout")
      ->type_name("FILE");
  command->callback([options, &status] { status = finish("info", info(*options)); });
}

} // namespace kestrel::cli
