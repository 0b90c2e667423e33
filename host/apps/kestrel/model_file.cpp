// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "model_file.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "kestrel/contract/vision.hpp"
#include "kestrel/serve/calibration.hpp"
#include "kestrel/vision/tflite.hpp"

namespace kestrel::cli {
namespace {

std::string shape_text(const std::vector<std::int32_t> &shape) {
  return fmt::format("{}", fmt::join(shape, " x "));
}

std::string shortened(const std::string &text, std::size_t width) {
  return text.size() <= width ? text : "..." + text.substr(text.size() - (width - 3));
}

} // namespace

std::string config_names() {
  std::string names;
  for (const contract::Config &config : contract::kConfigs) {
    names += (names.empty() ? "" : ", ") + std::string(config.name);
  }
  return names;
}

Result<hv::Package> load_model(const std::string &path, const std::string &config_name,
                               const hv::CompileOptions &options) {
  const contract::Config *config = contract::find_config(config_name);
  if (config == nullptr) {
    return fail(ErrorCode::kNotFound, "configuration '{}' is not known; known are {}", config_name,
                config_names());
  }
  std::array<char, 8> head{};
  std::ifstream file(path, std::ios::binary);
  file.read(head.data(), head.size());
  if (file && std::string_view(head.data(), head.size()) == "KESTRLHV") {
    KESTREL_ASSIGN(hv::Package package, hv::load_package(path));
    if (package.config_name != config_name) {
      return fail(ErrorCode::kVersionMismatch,
                  "{}: compiled for configuration '{}', not '{}' (give --config {})", path,
                  package.config_name, config_name, package.config_name);
    }
    return package;
  }
  KESTREL_ASSIGN(const hv::Graph graph, hv::import_tflite_file(path));
  hv::CompileOptions with_names = options;
  if (with_names.model_name.empty()) {
    with_names.model_name = std::filesystem::path(path).stem().string();
  }
  KESTREL_ASSIGN(with_names.source_hash, serve::file_sha256(path));
  auto package = hv::compile(graph, *config, with_names);
  if (!package) {
    return fail(package.error().code, "{}: {}", path, package.error().message);
  }
  return package;
}

std::string describe(const hv::Package &package, bool layers) {
  const contract::Config *config = contract::find_config(package.config_name);
  const double lanes = config == nullptr ? 1.0 : config->macs();
  std::string text;
  const auto line = [&](std::string_view what, const std::string &value) {
    text += fmt::format("{:<16} {}\n", what, value);
  };
  line("network", package.model_name);
  line("configuration", fmt::format("{} ({:.0f} MAC/cycle)", package.config_name, lanes));
  line("input", fmt::format("{} int8, scale {:.6g}, zero point {}", shape_text(package.input.shape),
                            package.input.scale, package.input.zero_point));
  line("output",
       fmt::format("{} int8, scale {:.6g}, zero point {}{}", shape_text(package.output.shape),
                   package.output.scale, package.output.zero_point,
                   package.has_confidence ? ", with confidence unit" : ""));
  line("MACs", fmt::format("{}", package.macs));
  const double cycles = static_cast<double>(package.estimated_cycles);
  line("cycles",
       fmt::format("{} estimated, utilisation {:.1f} %", package.estimated_cycles,
                   cycles > 0 ? 100.0 * static_cast<double>(package.macs) / lanes / cycles : 0.0));
  line("memory", fmt::format("{} bytes of weights and descriptors ({} descriptors), {} in, {} out, "
                             "{} scratch",
                             package.image.size(), package.descriptor_count, package.in_bytes,
                             package.out_bytes, package.scratch_bytes));
  if (!layers) {
    return text;
  }
  text += fmt::format("\n{:<34} {:<22} {:>10} {:>9} {:>6} {:>9} {:>9}  {}\n", "layer", "operator",
                      "MACs", "cycles", "util", "weights", "moved", "bound by");
  for (const hv::LayerInfo &layer : package.layers) {
    text += fmt::format("{:<34} {:<22} {:>10} {:>9} {:>4.0f} % {:>9} {:>9}  {}{}{}\n",
                        shortened(layer.name, 34), shortened(layer.op, 22), layer.macs,
                        layer.cycles, 100.0 * layer.utilisation, layer.weight_bytes,
                        layer.load_bytes + layer.store_bytes, hv::to_string(layer.bound),
                        layer.note.empty() ? "" : "; ", layer.note);
  }
  return text;
}

} // namespace kestrel::cli
