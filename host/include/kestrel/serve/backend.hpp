// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What a data-centre (DC) server runs: a classifier behind one interface, so that tests plug in a
// fake and other runtimes can take OpenCV's place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kestrel/result.hpp"

namespace kestrel::serve {

/// A classifier's name and shapes as the protocol's model metadata shows them.
struct ModelInfo {
  std::string name;
  std::string version = "1";
  std::string platform;                  ///< what runs it, e.g. "opencv_dnn_onnx"
  std::vector<std::int64_t> image_shape; ///< one image, without batch: {channels, height, width}
  std::int64_t classes = 0;
  /// The model file's own form of such an image where it is written otherwise but means the same
  /// values in the same order, e.g. {height, width, 1}; requests may use it, too. Empty: none.
  std::vector<std::int64_t> other_image_shape;

  /// Elements of one image.
  [[nodiscard]] std::size_t image_size() const noexcept {
    std::size_t n = 1;
    for (const std::int64_t extent : image_shape) {
      n *= static_cast<std::size_t>(extent);
    }
    return n;
  }
};

/// One instance of a model. An instance is used by one thread at a time.
class Backend {
public:
  Backend() = default;
  Backend(const Backend &) = delete;
  Backend &operator=(const Backend &) = delete;
  virtual ~Backend() = default;

  [[nodiscard]] virtual const ModelInfo &info() const noexcept = 0;

  /// Class probabilities of `count` images.
  /// \param images [count, channels, height, width], finite, scaled to 0..1.
  /// \return [count, classes], each row sums to 1. An error is the server's own fault.
  [[nodiscard]] virtual Result<std::vector<float>> classify(std::span<const float> images,
                                                            std::size_t count) = 0;
};

/// Makes one more instance (a server makes one for each of its workers).
using BackendFactory = std::function<Result<std::unique_ptr<Backend>>()>;

struct OnnxBackendOptions {
  std::string path;                                 ///< the .onnx file
  std::string name;                                 ///< model name; empty: file name without suffix
  std::vector<std::int64_t> image_shape{1, 28, 28}; ///< {channels, height, width}
  std::int64_t classes = 10;
};

/// OpenCV's DNN module running an ONNX classifier on the CPU. What its output means and how it
/// takes images is read from the graph: softmax is applied to logits only, log-softmax is undone,
/// and images declared [N, height, width, channels] are given so. Then it is tried out. Errors:
/// kNotFound, kParse (not an ONNX file OpenCV can read), kShapeMismatch (other images or another
/// number of classes), kUnsupported (an output that is no distribution over classes, such as a
/// sigmoid; several inputs or outputs; element types; weights in another file).
[[nodiscard]] Result<std::unique_ptr<Backend>> make_onnx_backend(const OnnxBackendOptions &options);

/// Makes such a backend in a child process and lets it classify, so that a file on which the
/// network's library crashes or does not end is refused by name. Call it before the process has
/// threads. Errors: as make_onnx_backend(); kParse (the child crashed), kTimeout (a minute),
/// kResourceLimit (no process can be started).
[[nodiscard]] Result<void> try_onnx_backend(const OnnxBackendOptions &options);

/// Threads that one classify() of OpenCV may use, for the whole process; 0: all processors.
void set_onnx_threads(int threads);

} // namespace kestrel::serve
