// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <nlohmann/json.hpp>

#include "kestrel/contract/vision.hpp"
#include "kestrel/vision/package.hpp"

namespace kestrel::cli {

/// What a package holds, for machines.
[[nodiscard]] inline nlohmann::json package_json(const hv::Package &package) {
  nlohmann::json layers = nlohmann::json::array();
  for (const hv::LayerInfo &layer : package.layers) {
    layers.push_back({{"name", layer.name},
                      {"op", layer.op},
                      {"note", layer.note},
                      {"macs", layer.macs},
                      {"cycles", layer.cycles},
                      {"utilisation", layer.utilisation},
                      {"weight_bytes", layer.weight_bytes},
                      {"load_bytes", layer.load_bytes},
                      {"store_bytes", layer.store_bytes},
                      {"bound", hv::to_string(layer.bound)}});
  }
  const contract::Config *config = contract::find_config(package.config_name);
  return {{"model", package.model_name},
          {"config", package.config_name},
          {"source_sha256", package.source_hash},
          {"input",
           {{"shape", package.input.shape},
            {"scale", package.input.scale},
            {"zero_point", package.input.zero_point}}},
          {"output",
           {{"shape", package.output.shape},
            {"scale", package.output.scale},
            {"zero_point", package.output.zero_point}}},
          {"confidence_unit", package.has_confidence},
          {"macs", package.macs},
          {"mac_lanes", config == nullptr ? 0 : config->macs()},
          {"estimated_cycles", package.estimated_cycles},
          {"image_bytes", package.image.size()},
          {"descriptors", package.descriptor_count},
          {"in_bytes", package.in_bytes},
          {"out_bytes", package.out_bytes},
          {"scratch_bytes", package.scratch_bytes},
          {"layers", layers}};
}

} // namespace kestrel::cli
