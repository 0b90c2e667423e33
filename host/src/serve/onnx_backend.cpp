// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/backend.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <new>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <opencv2/core/utils/logger.hpp>
#include <opencv2/dnn.hpp>

#include "kestrel/file.hpp"
#include "serve/onnx_classifier.hpp"

namespace kestrel::serve {
namespace {

constexpr std::int64_t kMaxFileBytes = (std::int64_t{1} << 31) - 1; // of one protobuf message

/// One line of OpenCV's several-line exception texts.
std::string brief(const cv::Exception &e) {
  std::string text = e.err.empty() ? e.what() : e.err;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.substr(0, 200);
}

class OnnxBackend final : public Backend {
public:
  OnnxBackend(const cv::dnn::Net &net, ModelInfo info, OnnxClassifier file)
      : net_(net), info_(std::move(info)), file_(std::move(file)),
        group_(file_.batch != 0 ? file_.batch : kGroup) {}

  [[nodiscard]] const ModelInfo &info() const noexcept override { return info_; }

  /// Runs the network on two images. Where the file leaves the batch open, finds out whether the
  /// network really takes batches (some exporters write the batch they saw into a reshape).
  Result<void> try_out() {
    const std::size_t size = info_.image_size();
    const auto classes = static_cast<std::size_t>(info_.classes);
    std::vector<float> two(2 * size);
    for (std::size_t i = 0; i < two.size(); ++i) { // two different images
      two[i] = static_cast<float>((i * 37 + i / size * 11) % 256) / 255.0F;
    }
    const std::size_t one = file_.batch != 0 ? file_.batch : 1;
    group_ = one;
    KESTREL_ASSIGN(const auto first, forward(std::span(two).first(size), 1));
    KESTREL_ASSIGN(const auto second, forward(std::span(two).last(size), 1));
    if (file_.batch != 0) {
      return {};
    }
    group_ = kGroup;
    const auto both = forward(two, 2);
    bool same = both.ok();
    for (std::size_t k = 0; same && k < classes; ++k) {
      same = std::abs((*both)[k] - first[k]) < 1e-3F &&
             std::abs((*both)[classes + k] - second[k]) < 1e-3F;
    }
    group_ = same ? kGroup : one;
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
    std::vector<float> out;
    out.reserve(count * static_cast<std::size_t>(info_.classes));
    for (std::size_t at = 0; at < count; at += group_) {
      const std::size_t n = std::min(group_, count - at);
      KESTREL_ASSIGN(const auto part, forward(images.subspan(at * size, n * size), n));
      out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  }

private:
  static constexpr std::size_t kGroup = 32;
  /// How far the sum of a row may be from 1; half-precision and quantised models round.
  static constexpr float kSumTolerance = 1e-2F;

  /// The images as the file wants them, with empty ones behind them up to its fixed batch.
  [[nodiscard]] std::vector<float> blob_of(std::span<const float> images, std::size_t batch) const {
    const std::size_t size = info_.image_size();
    std::vector<float> blob(batch * size);
    std::copy(images.begin(), images.end(), blob.begin());
    if (file_.channels_last && info_.image_shape.front() > 1) {
      const auto channels = static_cast<std::size_t>(info_.image_shape.front());
      const std::size_t plane = size / channels;
      for (std::size_t i = 0; i < images.size(); ++i) {
        const std::size_t within = i % size;
        blob[i - within + within % plane * channels + within / plane] = images[i];
      }
    }
    if (file_.grey_levels) {
      for (float &value : blob) {
        value = std::round(value * 255.0F);
      }
    }
    return blob;
  }

  Result<std::vector<float>> forward(std::span<const float> images, std::size_t count) {
    const std::size_t batch = file_.batch != 0 ? file_.batch : count;
    std::vector<int> shape{static_cast<int>(batch)};
    for (const std::int64_t extent : file_.image) {
      shape.push_back(static_cast<int>(extent));
    }
    std::vector<float> values = blob_of(images, batch);
    try {
      net_.setInput(cv::Mat(shape, CV_32F, values.data()));
      const cv::Mat raw = net_.forward();
      const auto classes = static_cast<std::size_t>(info_.classes);
      if (raw.type() != CV_32F || !raw.isContinuous() || raw.total() != batch * classes ||
          raw.dims < 2 || raw.size[0] != static_cast<int>(batch)) {
        return fail(ErrorCode::kShapeMismatch, "{}: the network does not give {} x {} float values",
                    info_.name, batch, classes);
      }
      std::vector<float> out(raw.ptr<float>(), raw.ptr<float>() + count * classes);
      for (std::size_t i = 0; i < count; ++i) {
        KESTREL_TRY(to_probabilities(std::span(out).subspan(i * classes, classes)));
      }
      return out;
    } catch (const cv::Exception &e) {
      return fail(ErrorCode::kInternal, "{}: OpenCV cannot run the network: {}", info_.name,
                  brief(e));
    }
  }

  [[nodiscard]] Result<void> to_probabilities(std::span<float> row) const {
    if (file_.scores == Scores::kLogits) {
      softmax(row);
      return {};
    }
    float sum = 0;
    bool valid = true;
    for (float &value : row) {
      value = file_.scores == Scores::kLogProbabilities ? std::exp(value) : value;
      valid = valid && value >= 0.0F && value <= 1.0F + kSumTolerance;
      sum += value;
    }
    if (!valid || !(std::abs(sum - 1.0F) <= kSumTolerance)) {
      return fail(ErrorCode::kUnsupported,
                  "{}: what it makes of {} is no distribution over the {} classes (its values {} "
                  "sum to {:.4g})",
                  info_.name, file_.last, info_.classes,
                  valid ? "lie in 0..1 and" : "do not lie in 0..1;", sum);
    }
    return {};
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
  OnnxClassifier file_;
  std::size_t group_; ///< images in one run
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
  KESTREL_ASSIGN(const auto bytes, read_file(options.path, kMaxFileBytes));
  KESTREL_ASSIGN(auto file,
                 read_onnx_classifier(bytes, options.path, options.image_shape, options.classes));
  if (file.image != info.image_shape && info.image_shape.front() == 1) {
    info.other_image_shape = file.image;
  }
  // Its errors come as exceptions and are returned; libraries do not print.
  cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
  try {
    cv::dnn::Net net = cv::dnn::readNetFromONNX(file.model.data(), file.model.size());
    file.model = {}; // OpenCV has its own copy of the weights
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
    const std::string shape = fmt::format("{}", fmt::join(file.image, ", "));
    auto backend = std::make_unique<OnnxBackend>(net, info, std::move(file));
    if (auto tried = backend->try_out(); !tried) {
      return fail(tried.error().code == ErrorCode::kUnsupported ? ErrorCode::kUnsupported
                                                                : ErrorCode::kShapeMismatch,
                  "{}: does not work on [N, {}] images ({})", options.path, shape,
                  tried.error().message);
    }
    return std::unique_ptr<Backend>(std::move(backend));
  } catch (const cv::Exception &e) {
    if (e.code == cv::Error::StsNoMem) {
      return fail(ErrorCode::kResourceLimit, "{}: not enough memory to load the model",
                  options.path);
    }
    return fail(ErrorCode::kParse, "{}: not an ONNX model that OpenCV can read ({})", options.path,
                brief(e));
  } catch (const std::bad_alloc &) {
    return fail(ErrorCode::kResourceLimit, "{}: not enough memory to load the model", options.path);
  } catch (const std::exception &e) {
    return fail(ErrorCode::kParse, "{}: not an ONNX model that OpenCV can read ({})", options.path,
                e.what());
  }
}

Result<void> try_onnx_backend(const OnnxBackendOptions &options) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::kIo, "cannot make a pipe: {}", std::generic_category().message(errno));
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    return fail(ErrorCode::kResourceLimit,
                "{}: no process can be started to try the model in: {} (ulimit -u, or memory)",
                options.path, std::generic_category().message(error));
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    if (::getppid() != parent) {
      ::_exit(0);
    }
    std::string said = "+";
    try {
      if (const auto backend = make_onnx_backend(options); !backend) {
        said =
            fmt::format("{:c}{}", static_cast<char>('A' + static_cast<int>(backend.error().code)),
                        backend.error().message);
      }
    } catch (const std::exception &e) {
      said =
          fmt::format("{:c}{}: {}", static_cast<char>('A' + static_cast<int>(ErrorCode::kInternal)),
                      options.path, e.what());
    }
    said.resize(std::min<std::size_t>(said.size(), 4096)); // a pipe takes so much at once
    ::_exit(::write(ends[1], said.data(), said.size()) > 0 ? 0 : 1);
  }
  ::close(ends[1]);
  constexpr std::chrono::seconds kPatience{60};
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::string said;
  bool late = false;
  for (bool open = true; open && !late;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    pollfd wait{ends[0], POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(std::max<std::int64_t>(0, left.count())));
    late = ready == 0;
    if (ready > 0) {
      std::array<char, 4096> chunk{};
      const ssize_t n = ::read(ends[0], chunk.data(), chunk.size());
      open = n > 0;
      said.append(chunk.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
    }
  }
  ::close(ends[0]);
  if (late) {
    ::kill(pid, SIGKILL);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (late) {
    return fail(ErrorCode::kTimeout, "{}: loading and trying the model takes more than {} s",
                options.path, kPatience.count());
  }
  if (said == "+") {
    return {};
  }
  if (said.empty()) {
    return fail(ErrorCode::kParse,
                "{}: OpenCV crashes when it loads or runs this model ({}): a damaged file?",
                options.path,
                WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status))
                                    : std::string("it ends without a word"));
  }
  const int code = std::clamp(said[0] - 'A', 0, static_cast<int>(ErrorCode::kInternal));
  return Error{static_cast<ErrorCode>(code), said.substr(1)};
}

void set_onnx_threads(int threads) { cv::setNumThreads(threads > 0 ? threads : -1); }

} // namespace kestrel::serve
