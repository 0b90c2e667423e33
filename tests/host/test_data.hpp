// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Where tests find files: the external test data (KESTREL_DATA_DIR) and the committed models.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace kestrel::test {

/// The test data folder; it need not exist.
inline std::filesystem::path data_dir() {
  const char *dir = std::getenv("KESTREL_DATA_DIR");
  return dir != nullptr && *dir != '\0' ? dir : KESTREL_DEFAULT_DATA_DIR;
}

/// The int8 networks of the test data, sorted by name; empty where the data are absent.
inline std::vector<std::filesystem::path> data_networks() {
  std::vector<std::filesystem::path> out;
  for (const char *name :
       {"mlperf_tiny/dscnn_kws_int8", "mlperf_tiny/mobilenetv1_025_vww96_int8",
        "mlperf_tiny/resnet8_cifar10_int8", "person_detect/person_detect",
        "tinymaix/mnist_arduino_q", "tinymaix/mnist_dw_q", "tinymaix/mnist_valid_q"}) {
    const auto path = data_dir() / "models" / (std::string(name) + ".tflite");
    if (std::filesystem::exists(path)) {
      out.push_back(path);
    }
  }
  return out;
}

inline std::filesystem::path committed_edge_model() {
  return std::filesystem::path(KESTREL_SOURCE_DIR) / "models/edge/fmnist_edge_int8.tflite";
}

/// The bytes of a file, empty when it cannot be read.
inline std::vector<std::uint8_t> file_bytes(const std::filesystem::path &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

} // namespace kestrel::test
