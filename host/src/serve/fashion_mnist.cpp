// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/fashion_mnist.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

#include <zlib.h>

namespace kestrel::serve {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 30;

/// A whole file, decompressed when it is a gzip file.
Result<std::vector<std::uint8_t>> read_gz(const std::string &path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) {
    return fail(ErrorCode::kIo, "{}: cannot be opened", path);
  }
  std::vector<std::uint8_t> bytes;
  std::array<std::uint8_t, 1 << 16> chunk{};
  for (;;) {
    const int got = gzread(file.get(), chunk.data(), static_cast<unsigned>(chunk.size()));
    if (got < 0) {
      int code = 0;
      return fail(ErrorCode::kParse, "{}: damaged: {}", path, gzerror(file.get(), &code));
    }
    if (got == 0) {
      // A truncated gzip stream reads as a short file with the error kept for the end.
      int code = 0;
      const char *text = gzerror(file.get(), &code);
      if (code != Z_OK && code != Z_STREAM_END) {
        return fail(ErrorCode::kParse, "{}: damaged: {}", path, text);
      }
      return bytes;
    }
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + got);
    if (bytes.size() > kMaxBytes) {
      return fail(ErrorCode::kResourceLimit, "{}: larger than {} bytes", path, kMaxBytes);
    }
  }
}

Result<IdxArray> load_idx(const std::string &directory, const std::string &stem) {
  for (const char *suffix : {".gz", ""}) {
    const std::string path = fmt::format("{}/{}{}", directory, stem, suffix);
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error)) {
      KESTREL_ASSIGN(const auto bytes, read_gz(path));
      return parse_idx(bytes, path);
    }
  }
  return fail(ErrorCode::kNotFound,
              "{}/{}.gz: not found; Fashion-MNIST is the Debian package dataset-fashion-mnist "
              "(apt install dataset-fashion-mnist), or name its folder with --data",
              directory, stem);
}

} // namespace

LabelledImages LabelledImages::slice(std::size_t first, std::size_t n) const {
  LabelledImages out;
  first = std::min(first, count);
  out.count = std::min(n, count - first);
  out.height = height;
  out.width = width;
  const auto at = [&](std::size_t i) {
    return pixels.begin() + static_cast<std::ptrdiff_t>(i * image_size());
  };
  out.pixels.assign(at(first), at(first + out.count));
  out.labels.assign(labels.begin() + static_cast<std::ptrdiff_t>(first),
                    labels.begin() + static_cast<std::ptrdiff_t>(first + out.count));
  return out;
}

Result<IdxArray> parse_idx(std::span<const std::uint8_t> bytes, const std::string &name) {
  if (bytes.size() < 4 || bytes[0] != 0 || bytes[1] != 0 || bytes[2] != 8 || bytes[3] < 1 ||
      bytes[3] > 4) {
    return fail(ErrorCode::kParse, "{}: not an IDX file of unsigned bytes", name);
  }
  IdxArray array;
  const std::size_t rank = bytes[3];
  if (bytes.size() < 4 + 4 * rank) {
    return fail(ErrorCode::kParse, "{}: truncated in its header", name);
  }
  std::size_t total = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    std::size_t extent = 0;
    for (std::size_t k = 0; k < 4; ++k) { // big-endian
      extent = extent << 8 | bytes[4 + 4 * i + k];
    }
    if (extent == 0 || total > kMaxBytes / extent) {
      return fail(ErrorCode::kParse, "{}: extent {} of dimension {} is not sensible", name, extent,
                  i);
    }
    total *= extent;
    array.shape.push_back(extent);
  }
  const auto data = bytes.subspan(4 + 4 * rank);
  if (data.size() != total) {
    return fail(ErrorCode::kParse, "{}: {} bytes of data, its header says {}", name, data.size(),
                total);
  }
  array.data.assign(data.begin(), data.end());
  return array;
}

Result<LabelledImages> load_fashion_mnist(Split split, const std::string &directory) {
  const std::string folder = directory.empty() ? kFashionMnistDirectory : directory;
  const std::string stem = split == Split::kTrain ? "train" : "t10k";
  KESTREL_ASSIGN(IdxArray images, load_idx(folder, stem + "-images-idx3-ubyte"));
  KESTREL_ASSIGN(IdxArray labels, load_idx(folder, stem + "-labels-idx1-ubyte"));
  if (images.shape.size() != 3 || labels.shape.size() != 1 || images.shape[0] != labels.shape[0]) {
    return fail(ErrorCode::kParse, "{}: {} images and labels do not belong together", folder, stem);
  }
  if (std::any_of(labels.data.begin(), labels.data.end(),
                  [](std::uint8_t label) { return label >= kFashionMnistClasses; })) {
    return fail(ErrorCode::kParse, "{}: a label of the {} set is not in 0..9", folder, stem);
  }
  return LabelledImages{images.shape[0], images.shape[1], images.shape[2], std::move(images.data),
                        std::move(labels.data)};
}

} // namespace kestrel::serve
