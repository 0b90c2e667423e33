// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "sw_ref/thc/fast.hpp"
#include "thc/device/devices.hpp"

namespace kestrel::thc {
namespace {

class FunctionalDevice final : public Device {
public:
  explicit FunctionalDevice(const DeviceOptions &options) : options_(options) {}

  [[nodiscard]] std::string_view name() const override { return "fast"; }
  [[nodiscard]] ClockInfo clock() const override { return {options_.clock_mhz, "assumed"}; }

protected:
  Result<Nonfinite> run_norm(const Gradient &gradient, int block_log2, std::span<const float> other,
                             std::span<float> norms, Counters &counters) override {
    // Norms need no table: any will do.
    const ref::FastCodec &codec = this->codec(codec_ ? codec_->table() : ref::Table{}, block_log2);
    ++counters.commands;
    const Nonfinite bad = add(codec, gradient);
    codec.norms(y_, norms);
    for (std::size_t b = 0; b < other.size(); ++b)
      norms[b] = std::max(norms[b], other[b]);
    return bad;
  }

  Result<Nonfinite> run_compress(const Gradient &gradient, std::span<const ref::BlockScale> scales,
                                 const Coding &coding, std::span<std::uint8_t> packed,
                                 std::span<float> error, bool &out_of_range,
                                 Counters &counters) override {
    ref::FastCodec &codec = this->codec(coding.table, coding.block_log2);
    ++counters.commands;
    const Nonfinite bad = add(codec, gradient);
    const ref::Flags flags =
        codec.compress(y_, scales, coding.sign_key, coding.noise_key, coding.first, packed, error);
    out_of_range = out_of_range || flags.out_of_range;
    return bad;
  }

  Result<void> run_aggregate(std::span<const std::span<const std::uint8_t>> packed,
                             const ref::Table &table, int block_log2, unsigned /*bits*/,
                             std::span<std::uint16_t> sums, std::span<std::uint8_t> contributors,
                             Counters &counters) override {
    const ref::FastCodec &codec = this->codec(table, block_log2);
    ++counters.commands;
    using Mode = ref::FastCodec::Sums;
    for (std::size_t w = 0; w < packed.size(); ++w)
      codec.aggregate(packed[w], sums, w == 0 ? Mode::Overwrite : Mode::Add);
    std::fill(contributors.begin(), contributors.end(), static_cast<std::uint8_t>(packed.size()));
    return {};
  }

  Result<void> run_decompress(std::span<const std::uint16_t> sums, unsigned /*bits*/,
                              std::span<const std::uint8_t> contributors,
                              std::span<const ref::BlockScale> scales, const Coding &coding,
                              std::span<float> mean, bool &out_of_range,
                              Counters &counters) override {
    ++counters.commands;
    const ref::Flags flags =
        codec(coding.table, coding.block_log2)
            .decompress(sums, contributors, scales, coding.sign_key, coding.first, mean);
    out_of_range = out_of_range || flags.out_of_range;
    return {};
  }

private:
  ref::FastCodec &codec(ref::Table table, int block_log2) {
    if (!codec_ || codec_->table() != table || codec_->max_block_log2() != block_log2)
      codec_.emplace(std::move(table), block_log2);
    return *codec_;
  }

  Nonfinite add(const ref::FastCodec &codec, const Gradient &gradient) {
    y_.resize(gradient.size());
    return gradient.fp32.empty() ? codec.add_bf16(gradient.bf16, gradient.error, y_)
                                 : codec.add(gradient.fp32, gradient.error, y_);
  }

  DeviceOptions options_;
  std::optional<ref::FastCodec> codec_;
  std::vector<float> y_;
};

} // namespace

Result<std::unique_ptr<Device>> make_functional_device(const DeviceOptions &options) {
  return std::unique_ptr<Device>(std::make_unique<FunctionalDevice>(options));
}

} // namespace kestrel::thc
