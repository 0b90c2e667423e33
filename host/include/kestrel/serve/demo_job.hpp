// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The main job: images through the edge engine, unsure ones to the data centre (DC), every edge
// answer held against the software reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kestrel/result.hpp"
#include "kestrel/serve/calibration.hpp"
#include "kestrel/serve/dc_client.hpp"
#include "kestrel/serve/edge_job.hpp"
#include "kestrel/serve/fashion_mnist.hpp"

namespace kestrel::serve {

struct DemoOptions {
  std::string config = "edge";
  std::size_t rtl_images = 200; ///< the first so many of the images run in RTL too
  double min_accuracy = 0.92;   ///< accuracy target
  DcClientOptions dc;           ///< url and model of the DC
  std::size_t batch = 100;      ///< images in one request to the DC
  hv::DeviceOptions device;
  unsigned jobs = 1; ///< threads
};

/// Who answered an image.
enum class AnsweredBy : std::uint8_t {
  kEdge,       ///< the edge, confident
  kDc,         ///< the DC, the edge being unsure
  kEdgeUnsure, ///< the edge although unsure, because the DC did not answer: below target
};

struct DemoAnswer {
  EdgeAnswer edge;
  AnsweredBy by = AnsweredBy::kEdge;
  int answer = 0;            ///< the class answered
  bool below_target = false; ///< the accuracy asked for is not guaranteed for this answer
};

struct DemoReport {
  Choice choice; ///< threshold and what calibration promises
  std::vector<DemoAnswer> answers;

  std::size_t rtl_images = 0;
  std::size_t rtl_equal = 0;             ///< equal to the reference and to the functional device
  std::vector<std::uint64_t> rtl_cycles; ///< of each RTL image
  std::size_t cycle_model_equal = 0; ///< RTL images whose cycles the functional device predicted
  bool cycle_model = false;          ///< the functional device predicts cycles
  double rtl_seconds = 0;            ///< wall time of the simulation

  std::size_t functional_equal = 0; ///< equal to the reference
  double functional_seconds = 0;

  double accuracy_edge = 0;
  std::optional<double> accuracy_dc; ///< over all images; absent when the DC did not answer all
  double accuracy_combined = 0;

  std::size_t offloaded = 0;    ///< images the edge was unsure about
  std::size_t dc_answered = 0;  ///< of these, answered by the DC
  std::size_t dc_evaluated = 0; ///< others, sent to the DC to know its accuracy only
  std::size_t below_target = 0;
  double offload_seconds = 0;
  std::optional<Error> dc_error; ///< the first thing that went wrong with the DC
};

/// Runs the job on `images`. Trouble with the DC is no error of the job: the edge's answers stand,
/// marked. Errors: those of devices and reference, of a target outside 0..1.
[[nodiscard]] Result<DemoReport> run_demo(const EdgeModel &edge, const ThresholdTable &table,
                                          const LabelledImages &images, const DemoOptions &options,
                                          const ProgressSink &progress = {});

} // namespace kestrel::serve
