// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Images and labels in the IDX format (LeCun's MNIST files; gzip-compressed or plain), and the
// Fashion-MNIST data set as the Debian package dataset-fashion-mnist installs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kestrel/result.hpp"

namespace kestrel::serve {

/// Grey images of one size with labels.
struct LabelledImages {
  std::size_t count = 0;
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<std::uint8_t> pixels; ///< [count, height, width], row-major
  std::vector<std::uint8_t> labels; ///< [count]

  [[nodiscard]] std::size_t image_size() const noexcept { return height * width; }
  [[nodiscard]] std::span<const std::uint8_t> image(std::size_t i) const {
    return std::span(pixels).subspan(i * image_size(), image_size());
  }
  /// Images first..first+n-1.
  [[nodiscard]] LabelledImages slice(std::size_t first, std::size_t n) const;
};

inline constexpr const char *kFashionMnistDirectory = "/usr/share/datasets/fashion-mnist";
inline constexpr std::size_t kFashionMnistClasses = 10;

enum class Split : std::uint8_t { kTrain, kTest };

/// Reads one split from a directory that holds `train-` or `t10k-images-idx3-ubyte` and
/// `...-labels-idx1-ubyte`, with or without `.gz`. Errors: kNotFound (names the Debian package),
/// kIo, kParse (damaged, counts that differ, a label of 10 or more).
[[nodiscard]] Result<LabelledImages> load_fashion_mnist(Split split,
                                                        const std::string &directory = {});

/// Parses the bytes of an IDX file of unsigned bytes: extents and data. Error: kParse.
struct IdxArray {
  std::vector<std::size_t> shape;
  std::vector<std::uint8_t> data;
};
[[nodiscard]] Result<IdxArray> parse_idx(std::span<const std::uint8_t> bytes,
                                         const std::string &name);

} // namespace kestrel::serve
