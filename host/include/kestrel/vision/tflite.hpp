// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Importer of TensorFlow Lite files (FlatBuffers, version 3, identifier "TFL3") that hold one int8
// quantised convolutional network.
//
// Supported operators: CONV_2D (grouped too), DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD (equal
// shapes), AVERAGE_POOL_2D, MAX_POOL_2D, MEAN (over height and width), PAD, RESHAPE, SOFTMAX,
// RELU, RELU6, RELU_N1_TO_1, QUANTIZE (int8 to int8); fused RELU, RELU6, RELU_N1_TO_1. Everything
// else is refused with a message that names the file, the operator and the tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "kestrel/result.hpp"
#include "kestrel/vision/graph.hpp"

namespace kestrel::hv {

/// What a file may ask for. A file can name sizes far beyond its own length; these bounds keep the
/// importer's memory below `max_constant_bytes` plus a small multiple of the file.
struct ImportLimits {
  std::int64_t max_file_bytes = std::int64_t{256} << 20;
  std::int64_t max_tensor_bytes = std::int64_t{256} << 20;   ///< any one tensor
  std::int64_t max_constant_bytes = std::int64_t{256} << 20; ///< all constants and parameters
  std::int32_t max_operators = 4096;
  std::int32_t max_tensors = 16384;
  std::int32_t max_window = 2048; ///< kernel, stride and dilation in one direction
  std::int64_t max_macs = 1'000'000'000'000;
};

/// Imports a TensorFlow Lite model held in memory. `name` (a file name) begins every message.
///
/// The bytes are not trusted: structure, indices, shapes, sizes and quantisation are checked
/// before use. Errors: kParse (not a TFLite file, truncated, damaged, inconsistent), kUnsupported
/// (well-formed but beyond what is listed above), kResourceLimit (see ImportLimits).
[[nodiscard]] Result<Graph> import_tflite(std::span<const std::uint8_t> bytes, std::string name,
                                          const ImportLimits &limits = {});

/// Reads and imports a file; messages begin with its path. Additional errors: kNotFound, kIo.
[[nodiscard]] Result<Graph> import_tflite_file(const std::filesystem::path &path,
                                               const ImportLimits &limits = {});

} // namespace kestrel::hv
