// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel compile: from a TensorFlow Lite file to a package.
#include "cli.hpp"

#include <filesystem>
#include <memory>

#include "model_file.hpp"
#include "package_json.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  std::string model;
  std::string config = "edge";
  std::string output;
  std::string json;
  MemoryOption memory;
  bool quiet = false;
};

Result<void> compile(const Options &options) {
  hv::CompileOptions choices;
  KESTREL_ASSIGN(choices.memory, options.memory.model());
  KESTREL_ASSIGN(const hv::Package package, load_model(options.model, options.config, choices));
  const std::string output =
      options.output.empty()
          ? std::filesystem::path(options.model).filename().replace_extension(".kpkg").string()
          : options.output;
  std::error_code ignored;
  if (std::filesystem::equivalent(output, options.model, ignored)) {
    return fail(ErrorCode::kInvalidArgument,
                "{}: the package would overwrite the network; give "
                "--output",
                output);
  }
  KESTREL_TRY(hv::save_package(package, output));
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, package_json(package)));
  }
  if (!options.quiet && options.json != "-") {
    fmt::print("{}\nwritten to {}\n", describe(package, true), output);
  }
  return {};
}

} // namespace

void add_compile(CLI::App &app, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      app.add_subcommand("compile", "Compile an int8 TensorFlow Lite file to a package");
  command->footer("Prints a line for each layer: multiply-accumulates, predicted cycles, share of\n"
                  "the multipliers in use, bytes moved and what bounds it. What the engine cannot\n"
                  "do is refused by name.\n"
                  "\n"
                  "Examples:\n"
                  "  kestrel compile net.tflite -o net.kpkg\n"
                  "  kestrel compile net.tflite --config edge --json - --quiet\n"
                  "  kestrel compile net.tflite --memory ulx3s\n"
                  "  kestrel run net.kpkg --input x.npy --output y.npy");
  command->add_option("model", options->model, "Network")->required()->type_name("MODEL.tflite");
  command->add_option("--config", options->config, "Engine configuration: " + config_names())
      ->capture_default_str();
  command->add_option("-o,--output", options->output, "Package (default: MODEL.kpkg here)")
      ->type_name("FILE");
  options->memory.add_to(*command);
  command->add_option("--json", options->json, "The table for machines, - for stdout")
      ->type_name("FILE");
  command->add_flag("--quiet", options->quiet, "No table");
  command->callback([options, &status] { status = finish("compile", compile(*options)); });
}

} // namespace kestrel::cli
