// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/edge_job.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "kestrel/contract/vision.hpp"
#include "kestrel/serve/calibration.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"
#include "sw_ref/vision/confidence.hpp"

namespace kestrel::serve {
namespace {

/// Calls `body(worker, index)` for every index; `workers` threads take the next index each. Stops
/// at the first error, which is returned.
Result<void> for_each_index(std::size_t count, unsigned workers, const std::string &phase,
                            const ProgressSink &progress,
                            const std::function<Result<void>(unsigned, std::size_t)> &body) {
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> stop = false;
  std::mutex mutex;
  std::size_t done = 0;
  std::optional<Error> error;
  const auto work = [&](unsigned worker) {
    for (std::size_t i = next++; i < count && !stop; i = next++) {
      auto result = body(worker, i);
      const std::lock_guard lock(mutex);
      if (!result) {
        stop = true;
        if (!error) {
          error = result.error();
        }
        return;
      }
      ++done;
      if (progress) {
        progress(phase, done, count);
      }
    }
  };
  std::vector<std::thread> threads;
  const auto wanted = static_cast<unsigned>(std::min<std::size_t>(std::max(1U, workers), count));
  for (unsigned w = 1; w < wanted; ++w) {
    try {
      threads.emplace_back(work, w);
    } catch (const std::system_error &) {
      break; // no more threads are to be had: those that run do the work
    }
  }
  work(0);
  for (std::thread &thread : threads) {
    thread.join();
  }
  if (error) {
    return *error;
  }
  return {};
}

Result<std::size_t> count_of(std::size_t pixels, std::size_t size) {
  if (size == 0 || pixels % size != 0) {
    return fail(ErrorCode::kShapeMismatch, "{} pixels are not whole images of {}", pixels, size);
  }
  return pixels / size;
}

} // namespace

Result<EdgeModel> load_edge_model(const std::string &path, std::string_view config_name) {
  const contract::Config *config = contract::find_config(config_name);
  if (config == nullptr) {
    return fail(ErrorCode::kNotFound, "configuration '{}' is not known", config_name);
  }
  EdgeModel model;
  model.path = path;
  KESTREL_ASSIGN(model.graph, hv::import_tflite_file(path));
  KESTREL_ASSIGN(model.sha256, file_sha256(path));
  hv::CompileOptions options;
  options.model_name = std::filesystem::path(path).stem().string();
  options.source_hash = model.sha256;
  KESTREL_ASSIGN(model.package, hv::compile(model.graph, *config, options));
  return model;
}

Result<void> check_edge_classifier(const hv::Package &package, std::size_t pixels,
                                   std::size_t classes) {
  if (package.input.elements() != pixels) {
    return fail(ErrorCode::kUnsupported, "{}: takes {} values, the images have {} pixels",
                package.model_name, package.input.elements(), pixels);
  }
  const float scale = package.input.scale;
  if (package.input.zero_point != -128 ||
      !(std::abs(scale * 255.0F - 1.0F) < 0.01F || std::abs(scale - 1.0F) < 0.01F)) {
    return fail(ErrorCode::kUnsupported,
                "{}: its input has scale {} and zero point {}; only int8 = pixel - 128 is "
                "supported (scale 1/255 or 1, zero point -128)",
                package.model_name, scale, package.input.zero_point);
  }
  if (!package.has_confidence || package.output.elements() != classes) {
    return fail(ErrorCode::kUnsupported,
                "{}: {} outputs{}; a classifier of {} classes that ends in a softmax is needed",
                package.model_name, package.output.elements(),
                package.has_confidence ? "" : " without softmax", classes);
  }
  return {};
}

std::vector<std::int8_t> to_edge_input(std::span<const std::uint8_t> pixels) {
  std::vector<std::int8_t> input(pixels.size());
  std::transform(pixels.begin(), pixels.end(), input.begin(),
                 [](std::uint8_t pixel) { return static_cast<std::int8_t>(pixel - 128); });
  return input;
}

Result<std::vector<EdgeAnswer>> run_on_device(const hv::Package &package,
                                              std::span<const std::uint8_t> images,
                                              const EdgeJobOptions &options,
                                              const ProgressSink &progress) {
  const std::size_t size = package.input.elements();
  KESTREL_ASSIGN(const std::size_t count, count_of(images.size(), size));
  const auto jobs = static_cast<unsigned>(std::min<std::size_t>(std::max(1U, options.jobs), count));
  std::vector<std::unique_ptr<hv::Device>> devices;
  for (unsigned i = 0; i < jobs; ++i) {
    KESTREL_ASSIGN(auto device,
                   hv::make_device(options.device, package.config_name, options.device_options));
    KESTREL_TRY(device->load(package));
    KESTREL_TRY(device->set_threshold(options.threshold, options.mode));
    devices.push_back(std::move(device));
  }
  std::vector<EdgeAnswer> answers(count);
  KESTREL_TRY(for_each_index(
      count, jobs, options.phase, progress, [&](unsigned worker, std::size_t i) -> Result<void> {
        auto ran = devices[worker]->run(to_edge_input(images.subspan(i * size, size)));
        if (!ran) {
          return fail(ran.error().code, "image {} on device '{}': {}", i, options.device,
                      ran.error().message);
        }
        if (!ran->confidence) {
          return fail(ErrorCode::kInternal, "image {} on device '{}': no confidence", i,
                      options.device);
        }
        answers[i] = EdgeAnswer{std::move(ran->output), *ran->confidence,
                                ran->counters.cycles_known, ran->counters.cycles};
        return {};
      }));
  return answers;
}

Result<std::vector<EdgeAnswer>> run_on_reference(const hv::Graph &graph,
                                                 std::span<const std::uint8_t> images,
                                                 const EdgeJobOptions &options,
                                                 const ProgressSink &progress) {
  const auto size = static_cast<std::size_t>(graph.input().elements());
  KESTREL_ASSIGN(const std::size_t count, count_of(images.size(), size));
  const hv::Softmax *softmax = graph.ops.empty() ? nullptr : graph.ops.back().as<hv::Softmax>();
  if (softmax == nullptr) {
    return fail(ErrorCode::kUnsupported, "{}: does not end in a softmax", graph.name);
  }
  const hv::ref::ExpTable table = hv::ref::make_exp_table(softmax->beta, softmax->input_scale);
  const hv::TensorId logits_id = softmax->input;
  const auto measure = options.mode == hv::ConfidenceMode::kTop1
                           ? hv::ref::ConfidenceMeasure::kTop1
                           : hv::ref::ConfidenceMeasure::kMargin;
  std::vector<EdgeAnswer> answers(count);
  KESTREL_TRY(for_each_index(
      count, options.jobs, options.phase, progress, [&](unsigned, std::size_t i) -> Result<void> {
        std::vector<std::int8_t> logits;
        auto output = hv::run_reference(graph, to_edge_input(images.subspan(i * size, size)),
                                        [&](const hv::Op &op, std::span<const std::int8_t> values) {
                                          if (hv::output_of(op) == logits_id) {
                                            logits.assign(values.begin(), values.end());
                                          }
                                        });
        if (!output) {
          return output.error();
        }
        const hv::ref::Confidence c =
            hv::ref::confidence(logits, table, measure, options.threshold);
        answers[i].output = std::move(output).value();
        answers[i].confidence =
            hv::Confidence{static_cast<std::uint16_t>(c.top1), static_cast<std::uint16_t>(c.top2),
                           c.p1_q16, c.margin_q16, c.confident};
        return {};
      }));
  return answers;
}

} // namespace kestrel::serve
