// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/vision/functional_device.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <map>
#include <tuple>
#include <variant>
#include <vector>

#include "kestrel/bytes.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/cycle_model.hpp"
#include "sw_ref/vision/confidence.hpp"
#include "sw_ref/vision/requant.hpp"
#include "vision/device/functional_kernels.hpp"

namespace kestrel::hv {
namespace {

using contract::BaseSel;
using contract::ComputeDesc;
using contract::ConfDesc;
using contract::DescOp;
using contract::DescWords;
using contract::LoadDesc;
using contract::LoadMode;
using contract::StoreDesc;
using functional::kPixelBlock;
using functional::kStepBlock;

constexpr std::uint32_t kThresholdNever = 65536;

std::size_t u(std::int64_t v) { return static_cast<std::size_t>(v); }
constexpr std::int16_t widen(std::int8_t v) { return static_cast<std::int16_t>(v); }

// A weight segment, decoded.
struct Weights {
  std::size_t channels = 0; // all tiles
  std::size_t steps = 0;    // as stored: rounded up to kStepBlock when dense
  // Dense [channel][step], depthwise [group][step][word bytes].
  std::vector<std::int16_t> values;
  std::vector<std::int32_t> bias, multiplier;
  std::vector<std::uint8_t> right_shift, left_shift;
};

struct ComputeStep {
  ComputeDesc d;
  const Weights *weights = nullptr;
  // Both operands of the fused add by byte value.
  std::array<std::int32_t, 256> add1{}, add2{};
};

using Step = std::variant<ComputeStep, LoadDesc, StoreDesc, ConfDesc>;

std::int32_t requantize(std::int32_t x, std::int32_t multiplier, int right_shift) {
  return ref::rounding_divide_by_pot(ref::saturating_rounding_doubling_high_mul(x, multiplier),
                                     right_shift);
}

std::array<std::int32_t, 256> add_operand(std::int64_t zero_point, std::int64_t multiplier,
                                          std::int64_t shift) {
  std::array<std::int32_t, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const std::int64_t v = static_cast<std::int8_t>(i) - zero_point;
    table[i] = ref::rounding_divide_by_pot(
        static_cast<std::int32_t>((v * multiplier + (1 << 10)) >> 11), static_cast<int>(shift));
  }
  return table;
}

} // namespace

struct FunctionalDevice::Impl {
  Impl(const contract::Config &c, const DeviceOptions &o)
      : config(c), options(o), nb(c.lanes), wb(c.word_bytes),
        bank_bits(static_cast<std::size_t>(std::countr_zero(c.lanes))) {
    turn.resize(nb);
    for (std::size_t g = 0; g < nb; ++g) {
      for (std::size_t bit = 0; bit < bank_bits; ++bit)
        turn[g] |= ((g >> bit) & 1) << (bank_bits - 1 - bit);
    }
  }

  // Byte offset of word (pixel, group) of a tensor in `act`: banks of a row lie side by side.
  [[nodiscard]] std::size_t word(std::size_t base, std::size_t s, std::size_t pixel,
                                 std::size_t group) const {
    const std::size_t row = base + group * s + (pixel >> bank_bits);
    const std::size_t bank = (pixel + turn[group & (nb - 1)]) & (nb - 1);
    return ((row << bank_bits) | bank) * wb;
  }

  [[nodiscard]] std::vector<std::uint8_t> &region(std::int64_t base) {
    switch (static_cast<BaseSel>(base)) {
    case BaseSel::kPkg:
      return package.image;
    case BaseSel::kIn:
      return in;
    case BaseSel::kOut:
      return out;
    case BaseSel::kScratch:
      break;
    }
    return scratch;
  }

  Result<void> decode();
  const Weights *decode_weights(const ComputeDesc &d, std::int64_t address);
  void run(const ComputeStep &step);
  void run(const LoadDesc &d);
  void run(const StoreDesc &d);
  void run(const ConfDesc &d);
  void run_dense(const ComputeStep &step);
  void run_depthwise(const ComputeStep &step);
  template <class F> void for_pixels(const ComputeDesc &d, F &&f) const;
  void finish(const ComputeStep &step, std::size_t pixel, std::size_t group,
              const std::int32_t *acc);

  const contract::Config &config;
  DeviceOptions options;
  const std::size_t nb, wb, bank_bits;
  std::vector<std::size_t> turn; // bit reversal of the group
  std::uint32_t threshold = 0;
  ConfidenceMode mode = ConfidenceMode::kTop1;

  bool loaded = false;
  Package package;
  std::vector<Step> steps;
  using WeightKey = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  std::map<WeightKey, std::unique_ptr<Weights>> weights;
  std::vector<std::int8_t> act;
  std::vector<std::uint8_t> in, out, scratch;
  std::optional<ref::Confidence> confidence;
  Counters counters; // of every inference: timing does not depend on data
  // Work space of dense layers.
  std::vector<std::int16_t> window;
  std::vector<std::int32_t> accumulators;
};

const Weights *FunctionalDevice::Impl::decode_weights(const ComputeDesc &d, std::int64_t address) {
  auto &slot = weights[{address, d.glog, d.kwords, d.noct_m1 * 2 + d.depthwise}];
  const std::size_t groups = std::size_t{1} << d.glog;
  const std::size_t channels = groups * wb;
  const std::size_t taps = u((d.kh_m1 + 1) * (d.kw_m1 + 1));
  const std::size_t count = d.depthwise != 0 ? taps : taps * (u(d.icg_m1) * wb + u(d.nlast_m1) + 1);
  const std::size_t stored =
      d.depthwise != 0 ? count : (count + kStepBlock - 1) / kStepBlock * kStepBlock;
  if (slot && slot->steps == stored)
    return slot.get();
  slot = std::make_unique<Weights>();
  Weights &w = *slot;
  const std::size_t tiles = u(d.noct_m1) + 1;
  w.channels = tiles * channels;
  w.steps = stored;
  w.values.assign(w.channels * stored, 0);
  w.bias.resize(w.channels);
  w.multiplier.resize(w.channels);
  w.right_shift.resize(w.channels);
  w.left_shift.resize(w.channels);
  const std::span<const std::uint8_t> image = package.image;
  const std::size_t rw = config.ring_word_bytes();
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    const std::size_t at = u(address) + tile * (2 * groups + 1 + u(d.kwords)) * rw;
    const std::size_t stream = at + (1 + 2 * groups) * rw;
    for (std::size_t i = 0; i < channels; ++i) {
      const std::size_t c = tile * channels + i;
      w.right_shift[c] = image[at + i] & 31U;
      w.left_shift[c] = (image[at + i] >> 5) & 3U;
      const std::size_t j = i / wb, b = i % wb;
      w.bias[c] = load_le<std::int32_t>(image, at + (1 + j) * rw + 4 * b);
      // 31 bits: the top one does not exist in the engine.
      w.multiplier[c] =
          load_le<std::int32_t>(image, at + (1 + groups + j) * rw + 4 * b) & 0x7FFFFFFF;
      for (std::size_t k = 0; k < count; ++k) {
        const std::int16_t value =
            widen(static_cast<std::int8_t>(image[stream + k * channels + i]));
        const std::size_t to = d.depthwise != 0 ? ((c / wb) * count + k) * wb + b : c * stored + k;
        w.values[to] = value;
      }
    }
  }
  return slot.get();
}

Result<void> FunctionalDevice::Impl::decode() {
  steps.clear();
  weights.clear();
  std::int64_t segment = 0;
  std::size_t largest_window = 0, most_channels = 0;
  for (std::uint32_t i = 0; i < package.descriptor_count; ++i) {
    const auto bytes = package.descriptor(i);
    DescWords words{};
    for (std::size_t k = 0; k < words.size(); ++k)
      words[k] = load_le<std::uint64_t>(bytes, 8 * k);
    const auto op = contract::desc_op(words[0]);
    if (!op)
      return fail(ErrorCode::kInternal, "descriptor {}: unknown opcode", i);
    switch (*op) {
    case DescOp::kCompute: {
      ComputeStep step;
      step.d = contract::decode<ComputeDesc>(words);
      if (step.d.wnew != 0)
        segment = step.d.waddr;
      step.weights = decode_weights(step.d, segment);
      if (step.d.add != 0) {
        step.add1 = add_operand(step.d.add_z1, step.d.add_m1, step.d.add_s1);
        step.add2 = add_operand(step.d.add_z2, step.d.add_m2, step.d.add_s2);
      }
      if (step.d.depthwise == 0)
        largest_window = std::max(largest_window, step.weights->steps);
      most_channels = std::max(most_channels, step.weights->channels);
      steps.emplace_back(step);
      break;
    }
    case DescOp::kLoad:
      steps.emplace_back(contract::decode<LoadDesc>(words));
      break;
    case DescOp::kStore:
      steps.emplace_back(contract::decode<StoreDesc>(words));
      break;
    case DescOp::kConf:
      steps.emplace_back(contract::decode<ConfDesc>(words));
      break;
    case DescOp::kEnd:
      break;
    }
  }
  // A word is written whole, also where only part of it counts.
  window.assign(kPixelBlock * largest_window + wb, 0);
  accumulators.assign(kPixelBlock * most_channels, 0);
  return {};
}

// Calls f(output, x, y, lin) for every output pixel of the descriptor.
template <class F> void FunctionalDevice::Impl::for_pixels(const ComputeDesc &d, F &&f) const {
  std::int64_t x = d.ix0, y = d.iy0, lin = d.lin0;
  for (std::int64_t o = 0; o < d.out_np; ++o) {
    f(o, x, y, lin);
    x += d.sx;
    lin += d.sx;
    if (x >= d.limx) {
      x -= d.wrapx;
      y += d.sy;
      lin += d.wraplin;
    }
  }
}

// Requantises the accumulators of one word and writes it.
void FunctionalDevice::Impl::finish(const ComputeStep &step, std::size_t pixel, std::size_t group,
                                    const std::int32_t *acc) {
  const ComputeDesc &d = step.d;
  const Weights &w = *step.weights;
  std::int8_t *to = act.data() + word(u(d.out_base), u(d.out_s), u(d.out_p0) + pixel, group);
  std::array<std::int8_t, 64> y{};
  const auto zp = static_cast<std::int32_t>(d.out_zp);
  const auto low = static_cast<std::int32_t>(d.act_min);
  const auto high = static_cast<std::int32_t>(d.act_max);
  for (std::size_t b = 0; b < wb; ++b) {
    const std::size_t c = group * wb + b;
    const std::int32_t x = ref::wrapping_shl(ref::wrapping_add(acc[b], w.bias[c]), w.left_shift[c]);
    const std::int32_t q = requantize(x, w.multiplier[c], w.right_shift[c]);
    y[b] = static_cast<std::int8_t>(std::clamp(ref::wrapping_add(q, zp), low, high));
  }
  if (d.add != 0) {
    const std::int8_t *res =
        act.data() + word(u(d.res_base), u(d.res_s), u(d.res_p0) + pixel, group);
    for (std::size_t b = 0; b < wb; ++b) {
      const std::int32_t sum = ref::wrapping_add(step.add1[static_cast<std::uint8_t>(y[b])],
                                                 step.add2[static_cast<std::uint8_t>(res[b])]);
      const std::int32_t q =
          requantize(sum, static_cast<std::int32_t>(d.add_mo), static_cast<int>(d.add_so));
      y[b] = static_cast<std::int8_t>(
          std::clamp(ref::wrapping_add(q, static_cast<std::int32_t>(d.add_zp)),
                     static_cast<std::int32_t>(d.add_min), static_cast<std::int32_t>(d.add_max)));
    }
  }
  std::memcpy(to, y.data(), wb);
}

void FunctionalDevice::Impl::run_dense(const ComputeStep &step) {
  const ComputeDesc &d = step.d;
  const Weights &w = *step.weights;
  const std::size_t groups = u(d.icg_m1) + 1, last = u(d.nlast_m1) + 1;
  const std::int64_t row = d.kw_m1 * d.dilx + d.tliny;
  const auto pad = static_cast<std::int16_t>(d.pad);
  const std::size_t depth = (groups - 1) * wb + last;
  std::array<std::size_t, kPixelBlock> pixels{};
  std::size_t filled = 0;
  const auto flush = [&] {
    functional::dense_block(window.data(), w.values.data(), w.steps, w.channels,
                            accumulators.data());
    for (std::size_t p = 0; p < filled; ++p) {
      for (std::size_t g = 0; g < w.channels / wb; ++g)
        finish(step, pixels[p], g, accumulators.data() + p * w.channels + g * wb);
    }
    filled = 0;
  };
  for_pixels(d, [&](std::int64_t o, std::int64_t ix, std::int64_t iy, std::int64_t lin) {
    std::int16_t *to = window.data() + filled * w.steps;
    const std::int16_t *const end = to + w.steps;
    for (std::int64_t ky = 0; ky <= d.kh_m1; ++ky) {
      const std::int64_t y = iy + ky * d.dily;
      const bool row_inside = y >= 0 && y < d.ih;
      for (std::int64_t kx = 0; kx <= d.kw_m1; ++kx) {
        const std::int64_t x = ix + kx * d.dilx;
        if (!row_inside || x < 0 || x >= d.iw) {
          std::fill_n(to, depth, pad);
          to += depth;
          continue;
        }
        const std::size_t pixel = u(lin + kx * d.dilx + ky * row);
        for (std::size_t g = 0; g < groups; ++g) {
          const std::int8_t *from = act.data() + word(u(d.in_base), u(d.in_s), pixel, g);
          // Whole words: what is too much is overwritten by the next tap or cleared below.
          for (std::size_t b = 0; b < wb; b += 8) {
            for (std::size_t i = 0; i < 8; ++i)
              to[b + i] = widen(from[b + i]);
          }
          to += g + 1 == groups ? last : wb;
        }
      }
    }
    std::fill(to, std::max(to, const_cast<std::int16_t *>(end)), std::int16_t{0});
    pixels[filled++] = u(o);
    if (filled == kPixelBlock)
      flush();
  });
  if (filled > 0)
    flush();
}

void FunctionalDevice::Impl::run_depthwise(const ComputeStep &step) {
  const ComputeDesc &d = step.d;
  const Weights &w = *step.weights;
  const std::int64_t row = d.kw_m1 * d.dilx + d.tliny;
  std::array<std::int8_t, 64> padding{};
  padding.fill(static_cast<std::int8_t>(d.pad));
  std::array<std::int32_t, 64> acc{};
  for_pixels(d, [&](std::int64_t o, std::int64_t ix, std::int64_t iy, std::int64_t lin) {
    for (std::size_t g = 0; g < w.channels / wb; ++g) {
      acc.fill(0);
      const std::int16_t *weight = w.values.data() + g * w.steps * wb;
      bool first = true;
      for (std::int64_t ky = 0; ky <= d.kh_m1; ++ky) {
        const std::int64_t y = iy + ky * d.dily;
        const bool row_inside = y >= 0 && y < d.ih;
        for (std::int64_t kx = 0; kx <= d.kw_m1; ++kx, weight += wb) {
          const std::int64_t x = ix + kx * d.dilx;
          const std::int8_t *from = padding.data();
          if (row_inside && x >= 0 && x < d.iw) {
            from = act.data() + word(u(d.in_base), u(d.in_s), u(lin + kx * d.dilx + ky * row), g);
          }
          if (d.is_max == 0) {
            functional::depthwise_step(from, weight, wb, acc.data());
          } else {
            for (std::size_t b = 0; b < wb; ++b)
              acc[b] = first ? from[b] : std::max<std::int32_t>(acc[b], from[b]);
          }
          first = false;
        }
      }
      finish(step, u(o), g, acc.data());
    }
  });
}

void FunctionalDevice::Impl::run(const ComputeStep &step) {
  if (step.d.depthwise != 0)
    run_depthwise(step);
  else
    run_dense(step);
}

void FunctionalDevice::Impl::run(const LoadDesc &d) {
  const std::uint8_t *from = region(d.base).data() + d.addr;
  for (std::size_t i = 0; i < u(d.count); ++i) {
    std::size_t pixel = u(d.p0) + i, group = 0, bytes = wb;
    switch (static_cast<LoadMode>(d.mode)) {
    case LoadMode::kRaw:
      bytes = u(d.chans);
      break;
    case LoadMode::kNhwc:
      pixel = u(d.p0) + i / u(d.chans);
      group = i % u(d.chans);
      break;
    case LoadMode::kPlanar:
      pixel = u(d.p0) + i % u(d.n);
      group = i / u(d.n);
      break;
    }
    std::int8_t *to = act.data() + word(u(d.dst_base), u(d.dst_s), pixel, group);
    std::memset(to, 0, wb);
    std::memcpy(to, from, bytes);
    from += bytes;
  }
}

void FunctionalDevice::Impl::run(const StoreDesc &d) {
  std::uint8_t *to = region(d.base).data() + d.addr;
  for (std::size_t g = 0; g < u(d.groups); ++g) {
    for (std::size_t i = 0; i < u(d.n); ++i, to += wb)
      std::memcpy(to, act.data() + word(u(d.src_base), u(d.src_s), u(d.p0) + i, g), wb);
  }
}

void FunctionalDevice::Impl::run(const ConfDesc &d) {
  std::vector<std::int8_t> logits(u(d.classes)), probabilities(u(d.classes));
  for (std::size_t c = 0; c < logits.size(); ++c)
    logits[c] = act[word(u(d.src_base), u(d.src_s), u(d.p0), c / wb) + c % wb];
  const auto measure = mode == ConfidenceMode::kMargin ? ref::ConfidenceMeasure::kMargin
                                                       : ref::ConfidenceMeasure::kTop1;
  confidence = ref::confidence(logits, package.exp_table, measure, threshold, probabilities);
  if (d.softmax != 0)
    std::memcpy(region(d.base).data() + d.addr, probabilities.data(), probabilities.size());
}

FunctionalDevice::FunctionalDevice(const contract::Config &config, const DeviceOptions &options)
    : impl_(std::make_unique<Impl>(config, options)) {}
FunctionalDevice::~FunctionalDevice() = default;

ClockInfo FunctionalDevice::clock() const { return {impl_->options.clock_mhz, "assumed"}; }

std::span<const std::uint8_t> FunctionalDevice::out_region() const { return impl_->out; }

Result<void> FunctionalDevice::load(const Package &package) {
  Impl &m = *impl_;
  KESTREL_TRY(verify_package(package));
  if (package.config_name != m.config.name) {
    return fail(ErrorCode::kVersionMismatch,
                "package of model '{}' is for configuration '{}'; the device is '{}'",
                package.model_name, package.config_name, m.config.name);
  }
  m.loaded = false;
  m.package = package;
  KESTREL_TRY(m.decode());
  // Memory comes up with anything in it; results must not depend on that.
  m.act.resize(std::size_t{m.config.act_rows} * m.nb * m.wb);
  std::uint64_t state = m.options.seed * 0x9E3779B97F4A7C15U | 1U;
  for (std::int8_t &byte : m.act) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<std::int8_t>(state >> 56);
  }
  m.counters = {};
  m.counters.macs = package.macs;
  m.counters.mac_lanes = m.config.macs();
  if (auto counters = simulate_cycles(package, m.config, m.options.memory))
    m.counters = *counters;
  else if (counters.error().code != ErrorCode::kUnsupported)
    return counters.error();
  m.out.assign(package.out_bytes, 0);
  m.scratch.assign(package.scratch_bytes, 0);
  m.loaded = true;
  return {};
}

Result<Inference> FunctionalDevice::run(std::span<const std::int8_t> input) {
  Impl &m = *impl_;
  if (!m.loaded)
    return fail(ErrorCode::kInvalidArgument, "no package is loaded into the device");
  KESTREL_ASSIGN(m.in, pack_input(m.package, input));
  m.confidence.reset();
  for (const Step &step : m.steps)
    std::visit([&m](const auto &s) { m.run(s); }, step);
  Inference result;
  KESTREL_ASSIGN(result.output, unpack_output(m.package, m.out));
  if (m.confidence) {
    const ref::Confidence &c = *m.confidence;
    result.confidence =
        Confidence{static_cast<std::uint16_t>(c.top1), static_cast<std::uint16_t>(c.top2), c.p1_q16,
                   c.margin_q16, c.confident};
  }
  result.counters = m.counters;
  return result;
}

Result<void> FunctionalDevice::set_threshold(std::uint32_t threshold_q16, ConfidenceMode mode) {
  if (threshold_q16 > kThresholdNever) {
    return fail(ErrorCode::kInvalidArgument, "threshold {}; 0..{} are supported", threshold_q16,
                kThresholdNever);
  }
  impl_->threshold = threshold_q16;
  impl_->mode = mode;
  return {};
}

} // namespace kestrel::hv
