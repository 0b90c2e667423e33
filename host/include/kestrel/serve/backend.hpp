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

/// OpenCV's DNN module running an ONNX classifier on the CPU. Softmax is applied unless it is the
/// network's last layer. The file is tried out on load: kNotFound, kParse (not an ONNX file OpenCV
/// can read), kShapeMismatch (does not take that image or give that many classes).
[[nodiscard]] Result<std::unique_ptr<Backend>> make_onnx_backend(const OnnxBackendOptions &options);

/// Threads that one classify() of OpenCV may use, for the whole process; 0: all processors.
void set_onnx_threads(int threads);

} // namespace kestrel::serve
