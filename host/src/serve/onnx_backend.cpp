// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/backend.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include <opencv2/core/utils/logger.hpp>
#include <opencv2/dnn.hpp>

namespace kestrel::serve {
namespace {

/// One line of OpenCV's several-line exception texts.
std::string brief(const cv::Exception &e) {
  std::string text = e.err.empty() ? e.what() : e.err;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.substr(0, 200);
}

class OnnxBackend final : public Backend {
public:
  OnnxBackend(const cv::dnn::Net &net, ModelInfo info, bool softmax)
      : net_(net), info_(std::move(info)), softmax_(softmax) {}

  [[nodiscard]] const ModelInfo &info() const noexcept override { return info_; }

  /// Finds out whether the network takes batches (exported with a fixed batch of 1 it does not).
  Result<void> try_out() {
    const std::size_t size = info_.image_size();
    const auto classes = static_cast<std::size_t>(info_.classes);
    std::vector<float> two(2 * size);
    for (std::size_t i = 0; i < two.size(); ++i) { // two different images
      two[i] = static_cast<float>((i * 37 + i / size * 11) % 256) / 255.0F;
    }
    KESTREL_ASSIGN(const auto first, forward(std::span(two).first(size), 1));
    KESTREL_ASSIGN(const auto second, forward(std::span(two).last(size), 1));
    const auto both = forward(two, 2);
    batches_ = both.ok();
    for (std::size_t k = 0; batches_ && k < classes; ++k) {
      batches_ = std::abs((*both)[k] - first[k]) < 1e-3F &&
                 std::abs((*both)[classes + k] - second[k]) < 1e-3F;
    }
    return {};
  }

  [[nodiscard]] Result<std::vector<float>> classify(std::span<const float> images,
                                                    std::size_t count) override {
    const std::size_t size = info_.image_size();
    if (count == 0 || images.size() != count * size) {
      return fail(ErrorCode::kShapeMismatch, "{}: {} values are not {} images of {}", info_.name,
                  images.size(), count, size);
    }
    // Groups of a fixed size: activations stay in cache, and OpenCV plans its memory once.
    const std::size_t step = batches_ ? kGroup : 1;
    std::vector<float> out;
    out.reserve(count * static_cast<std::size_t>(info_.classes));
    for (std::size_t at = 0; at < count; at += step) {
      const std::size_t n = std::min(step, count - at);
      KESTREL_ASSIGN(const auto part, forward(images.subspan(at * size, n * size), n));
      out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  }

private:
  static constexpr std::size_t kGroup = 32;

  Result<std::vector<float>> forward(std::span<const float> images, std::size_t count) {
    std::vector<int> shape{static_cast<int>(count)};
    for (const std::int64_t extent : info_.image_shape) {
      shape.push_back(static_cast<int>(extent));
    }
    try {
      // OpenCV takes no pointers to const; the blob is only read.
      const cv::Mat blob(shape, CV_32F, const_cast<float *>(images.data()));
      net_.setInput(blob);
      const cv::Mat raw = net_.forward();
      const auto classes = static_cast<std::size_t>(info_.classes);
      if (raw.type() != CV_32F || !raw.isContinuous() || raw.total() != count * classes ||
          raw.dims < 2 || raw.size[0] != static_cast<int>(count)) {
        return fail(ErrorCode::kShapeMismatch, "{}: the network does not give {} x {} float values",
                    info_.name, count, classes);
      }
      std::vector<float> out(raw.ptr<float>(), raw.ptr<float>() + raw.total());
      for (std::size_t i = 0; softmax_ && i < count; ++i) {
        softmax(std::span(out).subspan(i * classes, classes));
      }
      return out;
    } catch (const cv::Exception &e) {
      return fail(ErrorCode::kInternal, "{}: OpenCV cannot run the network: {}", info_.name,
                  brief(e));
    }
  }

  static void softmax(std::span<float> row) {
    const float top = *std::max_element(row.begin(), row.end());
    float sum = 0;
    for (float &value : row) {
      value = std::exp(value - top);
      sum += value;
    }
    for (float &value : row) {
      value /= sum;
    }
  }

  cv::dnn::Net net_;
  ModelInfo info_;
  bool softmax_;
  bool batches_ = false;
};

} // namespace

Result<std::unique_ptr<Backend>> make_onnx_backend(const OnnxBackendOptions &options) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(options.path, error)) {
    return fail(ErrorCode::kNotFound, "{}: no such model file", options.path);
  }
  if (options.image_shape.size() != 3 || options.classes < 1) {
    return fail(ErrorCode::kInvalidArgument, "{}: the image shape is not channels, height, width",
                options.path);
  }
  ModelInfo info;
  info.name =
      options.name.empty() ? std::filesystem::path(options.path).stem().string() : options.name;
  info.platform = "opencv_dnn_onnx";
  info.image_shape = options.image_shape;
  info.classes = options.classes;
  // Its errors come as exceptions and are returned; libraries do not print.
  cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
  try {
    cv::dnn::Net net = cv::dnn::readNetFromONNX(options.path);
    if (net.empty()) {
      return fail(ErrorCode::kParse, "{}: the ONNX graph is empty", options.path);
    }
    net.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
    net.setPreferableTarget(cv::dnn::DNN_TARGET_CPU);
    const std::vector<int> outputs = net.getUnconnectedOutLayers();
    if (outputs.size() != 1) {
      return fail(ErrorCode::kUnsupported, "{}: {} outputs; a classifier with one is supported",
                  options.path, outputs.size());
    }
    const bool softmax = net.getLayer(outputs.front())->type != "Softmax";
    auto backend = std::make_unique<OnnxBackend>(net, info, softmax);
    if (auto tried = backend->try_out(); !tried) {
      return fail(ErrorCode::kShapeMismatch, "{}: does not work on [N, {}, {}, {}] images ({})",
                  options.path, info.image_shape[0], info.image_shape[1], info.image_shape[2],
                  tried.error().message);
    }
    return std::unique_ptr<Backend>(std::move(backend));
  } catch (const cv::Exception &e) {
    return fail(ErrorCode::kParse, "{}: not an ONNX model that OpenCV can read ({})", options.path,
                brief(e));
  } catch (const std::exception &e) {
    return fail(ErrorCode::kParse, "{}: not an ONNX model that OpenCV can read ({})", options.path,
                e.what());
  }
}

void set_onnx_threads(int threads) { cv::setNumThreads(threads > 0 ? threads : -1); }

} // namespace kestrel::serve
