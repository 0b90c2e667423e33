// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What an ONNX file says about itself, read from its graph: how images go in and what comes out.
// OpenCV, which runs the network, reports neither declared shapes nor the last operator. Where its
// reader (4.6) would silently compute something else than the graph says, the graph is written out
// to it, or refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kestrel/result.hpp"

namespace kestrel::serve {

/// What a classifier's output holds.
enum class Scores : std::uint8_t {
  kProbabilities,    ///< a softmax, also one written out by its parts: as it is
  kLogits,           ///< a softmax is to be applied
  kLogProbabilities, ///< a log-softmax: the exponential is to be taken
};

struct OnnxClassifier {
  Scores scores = Scores::kLogits;
  std::string last;                ///< operator that decided on `scores`, for messages
  std::vector<std::int64_t> image; ///< one image as the file declares it, without batch
  bool channels_last = false;      ///< `image` is height, width, channels
  bool grey_levels = false;        ///< takes 0..255 (declared UINT8) and not 0..1
  std::size_t batch = 0;           ///< images that it takes at a time; 0: any number
  std::string model;               ///< the graph as OpenCV 4.6 understands it
};

/// Checks what the graph says before anything is made of it: its size, the wiring (every input of a
/// node is there before it), how many inputs an operator has, the extents of constants against
/// their data and against the operator that reads them, and attributes against what they may be.
/// OpenCV's reader relies on all of this. Error: kParse, naming node or tensor.
[[nodiscard]] Result<void> check_onnx(std::span<const std::uint8_t> bytes, const std::string &name);

/// Reads the graph of a classifier of images, and checks it by check_onnx().
/// \param bytes the whole file. \param name its name, for messages.
/// \param image_shape {channels, height, width} of the images that it has to take.
/// \return Errors: kParse (not ONNX), kShapeMismatch (takes other images or gives another number
///   of classes; the message has the declared shape), kUnsupported (several inputs or outputs,
///   other element types, weights in another file, an output that is no distribution over classes;
///   the message names the operator).
[[nodiscard]] Result<OnnxClassifier> read_onnx_classifier(std::span<const std::uint8_t> bytes,
                                                          const std::string &name,
                                                          std::span<const std::int64_t> image_shape,
                                                          std::int64_t classes);

} // namespace kestrel::serve
