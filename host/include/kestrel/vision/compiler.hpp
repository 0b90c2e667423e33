// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// From the integer network (graph.hpp) to a package for one configuration of the vision engine.
// How operators are lowered, memory is laid out and tiles are chosen: docs/compiler.md.
#pragma once

#include <cstdint>
#include <string>

#include "kestrel/contract/vision.hpp"
#include "kestrel/memory_model.hpp"
#include "kestrel/result.hpp"
#include "kestrel/vision/graph.hpp"
#include "kestrel/vision/package.hpp"

namespace kestrel::hv {

struct CompileOptions {
  std::string model_name;  ///< stored in the package; the graph's name when empty
  std::string source_hash; ///< stored in the package

  /// Number of stripes that the input and the first layer are cut into so that compute starts as
  /// rows arrive. 0: chosen by predicted cycles; 1: the whole input first.
  std::uint32_t input_stripes = 0;

  /// Groups per tile for every layer (1, 2 or 4) where the layer allows it; 0: chosen per layer.
  /// For tests, which want every mapping exercised.
  std::uint32_t force_groups = 0;

  /// Cap on the activation rows that may be used; 0: all that the configuration has. For tests,
  /// which want large-network tiling on small networks.
  std::uint32_t act_rows_limit = 0;

  /// External memory that the choices are made for.
  MemoryModel memory;
};

/// Compiles `graph` for `config`. Everything that the engine cannot do is refused with one sentence
/// naming the operator (index, type, name) and what is supported: kUnsupported, or kResourceLimit
/// where something does not fit. Results are deterministic.
[[nodiscard]] Result<Package> compile(const Graph &graph, const contract::Config &config,
                                      const CompileOptions &options = {});

/// Whether a device of the package's configuration can run it: contract version, known
/// configuration, descriptors well-formed, in range of activation memory, image and regions, waits
/// that can be met, sizes consistent. Errors: kVersionMismatch, kParse.
[[nodiscard]] Result<void> verify_package(const Package &package);

} // namespace kestrel::hv
