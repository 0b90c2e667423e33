// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Many images through the edge network: on a vision engine (RTL or functional) and on the software
// reference, spread over threads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kestrel/result.hpp"
#include "kestrel/vision/device.hpp"
#include "kestrel/vision/graph.hpp"
#include "kestrel/vision/package.hpp"

namespace kestrel::serve {

/// Called as work proceeds, from any of the working threads, one call at a time: what is being
/// done, how much of it is done, how much there is.
using ProgressSink =
    std::function<void(std::string_view phase, std::uint64_t done, std::uint64_t total)>;

/// The edge network: as imported, for the reference, and as compiled, for the devices.
struct EdgeModel {
  std::string path;
  std::string sha256; ///< of the file
  hv::Graph graph;
  hv::Package package;
};

/// Imports and compiles a TensorFlow Lite file. Errors: those of import_tflite_file and compile;
/// kNotFound for an unknown configuration.
[[nodiscard]] Result<EdgeModel> load_edge_model(const std::string &path, std::string_view config);

/// Checks that the network is a classifier of grey images of `pixels` pixels into `classes`
/// classes, quantised so that int8 = pixel - 128, with a confidence unit at its end.
/// Error: kUnsupported.
[[nodiscard]] Result<void> check_edge_classifier(const hv::Package &package, std::size_t pixels,
                                                 std::size_t classes);

/// Pixels 0..255 as the int8 input of such a network.
[[nodiscard]] std::vector<std::int8_t> to_edge_input(std::span<const std::uint8_t> pixels);

/// One inference's outcome, whoever computed it.
struct EdgeAnswer {
  std::vector<std::int8_t> output; ///< the model's quantised output
  hv::Confidence confidence;
  bool cycles_known = false;
  std::uint64_t cycles = 0;

  /// Equal in everything that the hardware defines (cycles aside).
  [[nodiscard]] bool agrees_with(const EdgeAnswer &other) const {
    return output == other.output && confidence == other.confidence;
  }
};

struct EdgeJobOptions {
  std::string device = "fast";      ///< "fast" or "rtl"
  hv::DeviceOptions device_options; ///< of each device made
  std::uint32_t threshold = 0;      ///< of the confidence unit, 0..65536
  hv::ConfidenceMode mode = hv::ConfidenceMode::kTop1;
  unsigned jobs = 1; ///< threads, each with a device of its own
  std::string phase; ///< named to the progress sink
};

/// Runs `images` (pixels, whole images one after the other) on devices of the given kind.
/// Errors: those of the device, naming the image.
[[nodiscard]] Result<std::vector<EdgeAnswer>> run_on_device(const hv::Package &package,
                                                            std::span<const std::uint8_t> images,
                                                            const EdgeJobOptions &options,
                                                            const ProgressSink &progress = {});

/// The same on the software reference (sw_ref): every operator, softmax and confidence included.
[[nodiscard]] Result<std::vector<EdgeAnswer>> run_on_reference(const hv::Graph &graph,
                                                               std::span<const std::uint8_t> images,
                                                               const EdgeJobOptions &options,
                                                               const ProgressSink &progress = {});

} // namespace kestrel::serve
