// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "vision/compiler/builder.hpp"

#include "kestrel/bytes.hpp"

namespace kestrel::hv::compiler {

namespace {
constexpr std::size_t kMaxDescriptors = 65535; // DESC_COUNT
} // namespace

Builder::Segment Builder::add_segment(const std::vector<std::uint8_t> &bytes) {
  image_.resize(round_up(image_.size(), contract::kAlignBytes), 0);
  const Segment segment{static_cast<std::uint32_t>(image_.size()),
                        static_cast<std::uint32_t>(bytes.size() / config_.ring_word_bytes())};
  image_.insert(image_.end(), bytes.begin(), bytes.end());
  return segment;
}

template <class Desc> Result<void> Builder::append(const Desc &desc, const std::string &what) {
  if (const char *field = contract::fits(desc)) {
    return fail(ErrorCode::kResourceLimit,
                "{}: a value does not fit the field '{}' of the {} descriptor", what, field,
                contract::to_string(Desc::kOp));
  }
  if (descriptors_.size() + 1 >= kMaxDescriptors) {
    return fail(ErrorCode::kResourceLimit, "{}: the program exceeds {} descriptors", what,
                kMaxDescriptors);
  }
  descriptors_.push_back(contract::encode(desc));
  return {};
}

Result<void> Builder::add(const contract::ComputeDesc &desc, const std::string &what) {
  ++computes_;
  return append(desc, what);
}
Result<void> Builder::add(const contract::LoadDesc &desc, const std::string &what) {
  ++loads_;
  return append(desc, what);
}
Result<void> Builder::add(const contract::StoreDesc &desc, const std::string &what) {
  ++outs_;
  return append(desc, what);
}
Result<void> Builder::add(const contract::ConfDesc &desc, const std::string &what) {
  ++outs_;
  return append(desc, what);
}

Result<void> Builder::finish(Package &package) {
  descriptors_.push_back(contract::encode(contract::EndDesc{}));
  image_.resize(round_up(image_.size(), contract::kAlignBytes), 0);
  package.descriptor_offset = static_cast<std::uint32_t>(image_.size());
  package.descriptor_count = static_cast<std::uint32_t>(descriptors_.size());
  for (const contract::DescWords &words : descriptors_) {
    for (const std::uint64_t word : words)
      append_le<std::uint64_t>(image_, word);
  }
  constexpr std::size_t kMaxImage = std::size_t{1} << 31;
  if (image_.size() > kMaxImage) {
    return fail(ErrorCode::kResourceLimit, "weights and descriptors need {} bytes; up to {} fit",
                image_.size(), kMaxImage);
  }
  package.image = std::move(image_);
  return {};
}

} // namespace kestrel::hv::compiler
