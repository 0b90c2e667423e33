// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/thc/schemes.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <numbers>
#include <numeric>

#include "sw_ref/thc/fixed.hpp"
#include "sw_ref/thc/float_ref.hpp"
#include "sw_ref/thc/solver.hpp"

namespace kestrel::thc::ref {
namespace {

// ------------------------------------------------------------------------------------ bytes and
// bits

void put32(Bytes &bytes, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes.push_back(static_cast<std::uint8_t>(value >> shift));
}

void put_float(Bytes &bytes, float value) { put32(bytes, std::bit_cast<std::uint32_t>(value)); }

std::uint32_t get32(std::span<const std::uint8_t> bytes, std::size_t at) {
  return std::uint32_t{bytes[at]} << 24 | std::uint32_t{bytes[at + 1]} << 16 |
         std::uint32_t{bytes[at + 2]} << 8 | bytes[at + 3];
}

float get_float(std::span<const std::uint8_t> bytes, std::size_t at) {
  return std::bit_cast<float>(get32(bytes, at));
}

// `bits` (1..8) for each value, the first in the highest bits of the first byte; padded with zeros.
void put_bits(Bytes &bytes, std::span<const std::uint8_t> values, unsigned bits) {
  std::uint32_t rest = 0;
  unsigned have = 0;
  for (const std::uint8_t v : values) {
    rest = rest << bits | v;
    have += bits;
    if (have >= 8) {
      have -= 8;
      bytes.push_back(static_cast<std::uint8_t>(rest >> have));
    }
  }
  if (have > 0)
    bytes.push_back(static_cast<std::uint8_t>(rest << (8 - have)));
}

std::vector<std::uint8_t> get_bits(std::span<const std::uint8_t> bytes, std::size_t at,
                                   std::size_t count, unsigned bits) {
  std::vector<std::uint8_t> values(count);
  std::uint32_t rest = 0;
  unsigned have = 0;
  for (std::uint8_t &v : values) {
    if (have < bits) {
      rest = rest << 8 | bytes[at++];
      have += 8;
    }
    have -= bits;
    v = static_cast<std::uint8_t>(rest >> have & ((1U << bits) - 1));
  }
  return values;
}

Bytes float_message(std::span<const float> values) {
  Bytes bytes;
  bytes.reserve(4 * values.size());
  for (const float v : values)
    put_float(bytes, v);
  return bytes;
}

std::vector<float> read_floats(std::span<const std::uint8_t> bytes) {
  std::vector<float> values(bytes.size() / 4);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = get_float(bytes, 4 * i);
  return values;
}

double uniform(Words2 key, std::uint64_t c) {
  return std::ldexp(static_cast<double>(random64(key, c) >> 11), -53);
}

// ------------------------------------------------------------------------------ schemes that
// decode

// An aggregator that has to decode every message sends the mean down in fp32.
class DecodingScheme : public Scheme {
public:
  explicit DecodingScheme(const SchemeOptions &options) : options_(options) {}

  [[nodiscard]] bool sums_stay_compressed() const override { return false; }

  [[nodiscard]] Bytes aggregate(std::uint32_t round,
                                std::span<const Bytes> messages) const override {
    std::vector<double> sum(options_.count);
    for (unsigned w = 0; w < messages.size(); ++w) {
      const std::vector<double> values = expand(w, round, messages[w]);
      for (std::size_t i = 0; i < sum.size(); ++i)
        sum[i] += values[i];
    }
    std::vector<float> mean(sum.size());
    for (std::size_t i = 0; i < sum.size(); ++i)
      mean[i] = static_cast<float>(sum[i] / static_cast<double>(messages.size()));
    return float_message(mean);
  }

  [[nodiscard]] std::vector<float> decode(std::uint32_t /*round*/,
                                          std::span<const std::uint8_t> message,
                                          std::span<const std::uint8_t> /*agreed*/) const override {
    return read_floats(message);
  }

protected:
  // One worker's message, decoded.
  [[nodiscard]] virtual std::vector<double> expand(unsigned worker, std::uint32_t round,
                                                   std::span<const std::uint8_t> message) const = 0;

  SchemeOptions options_;
};

class NoCompression final : public DecodingScheme {
public:
  using DecodingScheme::DecodingScheme;
  [[nodiscard]] std::string_view name() const override { return "none"; }
  [[nodiscard]] bool unbiased() const override { return true; }
  [[nodiscard]] bool error_feedback() const override { return false; }
  [[nodiscard]] Bytes compress(unsigned /*worker*/, std::uint32_t /*round*/,
                               std::span<const float> gradient,
                               std::span<const std::uint8_t> /*agreed*/) override {
    return float_message(gradient);
  }

private:
  [[nodiscard]] std::vector<double> expand(unsigned /*worker*/, std::uint32_t /*round*/,
                                           std::span<const std::uint8_t> message) const override {
    const std::vector<float> values = read_floats(message);
    return {values.begin(), values.end()};
  }
};

// s = 2^(bits - 1) - 1 levels of |x| / ||bucket||, stochastically rounded; sign and level in `bits`
// bits.
class Qsgd final : public DecodingScheme {
public:
  using DecodingScheme::DecodingScheme;
  [[nodiscard]] std::string_view name() const override { return "qsgd"; }
  [[nodiscard]] bool unbiased() const override { return true; }
  [[nodiscard]] bool error_feedback() const override { return false; }

  [[nodiscard]] Bytes compress(unsigned worker, std::uint32_t round,
                               std::span<const float> gradient,
                               std::span<const std::uint8_t> /*agreed*/) override {
    const Words2 key = noise_key(options_.seed, round, worker);
    Bytes message;
    std::vector<std::uint8_t> codes(gradient.size());
    for (std::size_t first = 0; first < gradient.size(); first += options_.qsgd_bucket) {
      const std::size_t end = std::min(first + options_.qsgd_bucket, gradient.size());
      double power = 0.0;
      for (std::size_t i = first; i < end; ++i)
        power += static_cast<double>(gradient[i]) * gradient[i];
      const auto norm = static_cast<float>(std::sqrt(power));
      put_float(message, norm);
      for (std::size_t i = first; i < end; ++i) {
        const double level =
            norm > 0 ? std::min(std::abs(static_cast<double>(gradient[i])) / norm, 1.0) * levels()
                     : 0.0;
        const double whole = std::floor(level);
        const double code = whole + (uniform(key, i) < level - whole ? 1.0 : 0.0);
        codes[i] = static_cast<std::uint8_t>(static_cast<unsigned>(code) |
                                             (gradient[i] < 0 ? 1U << (options_.bits - 1) : 0U));
      }
    }
    put_bits(message, codes, options_.bits);
    return message;
  }

private:
  [[nodiscard]] unsigned levels() const { return (1U << (options_.bits - 1)) - 1; }

  [[nodiscard]] std::vector<double> expand(unsigned /*worker*/, std::uint32_t /*round*/,
                                           std::span<const std::uint8_t> message) const override {
    const std::size_t buckets = (options_.count + options_.qsgd_bucket - 1) / options_.qsgd_bucket;
    const auto codes = get_bits(message, 4 * buckets, options_.count, options_.bits);
    std::vector<double> values(options_.count);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double norm = get_float(message, 4 * (i / options_.qsgd_bucket));
      const double size = norm * (codes[i] & levels()) / levels();
      values[i] = (codes[i] >> (options_.bits - 1)) != 0 ? -size : size;
    }
    return values;
  }
};

// A gradient plus what earlier rounds left.
class Feedback {
public:
  Feedback(unsigned workers, std::size_t count) : rest_(workers, std::vector<float>(count)) {}

  [[nodiscard]] std::vector<float> add(unsigned worker, std::span<const float> gradient) const {
    std::vector<float> y = rest_[worker];
    for (std::size_t i = 0; i < gradient.size(); ++i)
      y[i] = add_ftz(gradient[i], y[i]);
    return y;
  }
  std::vector<float> &of(unsigned worker) { return rest_[worker]; }

private:
  std::vector<std::vector<float>> rest_;
};

class SignSgd final : public DecodingScheme {
public:
  explicit SignSgd(const SchemeOptions &options)
      : DecodingScheme(options), feedback_(options.workers, options.count) {}
  [[nodiscard]] std::string_view name() const override { return "signsgd"; }
  [[nodiscard]] bool unbiased() const override { return false; }
  [[nodiscard]] bool error_feedback() const override { return true; }

  [[nodiscard]] Bytes compress(unsigned worker, std::uint32_t /*round*/,
                               std::span<const float> gradient,
                               std::span<const std::uint8_t> /*agreed*/) override {
    const std::vector<float> y = feedback_.add(worker, gradient);
    double sum = 0.0;
    for (const float v : y)
      sum += std::abs(static_cast<double>(v));
    const auto size = static_cast<float>(sum / static_cast<double>(y.size()));
    Bytes message;
    put_float(message, size);
    std::vector<std::uint8_t> minus(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      minus[i] = y[i] < 0 ? 1 : 0;
      feedback_.of(worker)[i] = y[i] - (y[i] < 0 ? -size : size);
    }
    put_bits(message, minus, 1);
    return message;
  }

private:
  [[nodiscard]] std::vector<double> expand(unsigned /*worker*/, std::uint32_t /*round*/,
                                           std::span<const std::uint8_t> message) const override {
    const double size = get_float(message, 0);
    const auto minus = get_bits(message, 4, options_.count, 1);
    std::vector<double> values(options_.count);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = minus[i] != 0 ? -size : size;
    return values;
  }

  Feedback feedback_;
};

// The k largest coordinates of y as (number, value); down goes the union of all, or fp32 if that is
// shorter.
class TopK final : public DecodingScheme {
public:
  explicit TopK(const SchemeOptions &options)
      : DecodingScheme(options), feedback_(options.workers, options.count),
        // As many bytes as `bits` bits a coordinate.
        kept_(std::clamp<std::size_t>(options.count * options.bits / 64, 1, options.count)) {}
  [[nodiscard]] std::string_view name() const override { return "topk"; }
  [[nodiscard]] bool unbiased() const override { return false; }
  [[nodiscard]] bool error_feedback() const override { return true; }

  [[nodiscard]] Bytes compress(unsigned worker, std::uint32_t /*round*/,
                               std::span<const float> gradient,
                               std::span<const std::uint8_t> /*agreed*/) override {
    const std::vector<float> y = feedback_.add(worker, gradient);
    std::vector<std::uint32_t> order(y.size());
    std::iota(order.begin(), order.end(), 0U);
    // Ties by the coordinate's number, so that the result does not depend on the library.
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept_ - 1),
                     order.end(), [&](std::uint32_t a, std::uint32_t b) {
                       const float x = std::abs(y[a]);
                       const float z = std::abs(y[b]);
                       return x != z ? x > z : a < b;
                     });
    order.resize(kept_);
    std::sort(order.begin(), order.end());
    feedback_.of(worker) = y;
    Bytes message;
    for (const std::uint32_t i : order) {
      put32(message, i);
      put_float(message, y[i]);
      feedback_.of(worker)[i] = 0.0F;
    }
    return message;
  }

  [[nodiscard]] Bytes aggregate(std::uint32_t round,
                                std::span<const Bytes> messages) const override {
    Bytes dense = DecodingScheme::aggregate(round, messages);
    Bytes sparse;
    for (std::uint32_t i = 0; i < options_.count; ++i)
      if (get32(dense, 4 * std::size_t{i}) << 1 != 0) {
        put32(sparse, i);
        put32(sparse, get32(dense, 4 * std::size_t{i}));
      }
    return sparse.size() < dense.size() ? sparse : dense;
  }

  [[nodiscard]] std::vector<float> decode(std::uint32_t /*round*/,
                                          std::span<const std::uint8_t> message,
                                          std::span<const std::uint8_t> /*agreed*/) const override {
    if (message.size() == 4 * options_.count)
      return read_floats(message);
    std::vector<float> values(options_.count);
    for (std::size_t at = 0; at < message.size(); at += 8)
      values[get32(message, at)] = get_float(message, at + 4);
    return values;
  }

private:
  [[nodiscard]] std::vector<double> expand(unsigned /*worker*/, std::uint32_t /*round*/,
                                           std::span<const std::uint8_t> message) const override {
    std::vector<double> values(options_.count);
    for (std::size_t at = 0; at < message.size(); at += 8)
      values[get32(message, at)] = get_float(message, at + 4);
    return values;
  }

  Feedback feedback_;
  std::size_t kept_;
};

// A rotation of the worker's own, the nearest of 2^bits centroids, one scale. Unbiased for a scale
// of
// ||y||^2 / <z, q>, of the smallest error for <z, q> / ||q||^2.
class Eden final : public DecodingScheme {
public:
  Eden(std::string_view name, const SchemeOptions &options)
      : DecodingScheme(options), name_(name), bits_(name == "drive" ? 1 : options.bits),
        centroids_(lloyd_max(bits_)), size_(std::bit_ceil(options.count)) {}
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] bool unbiased() const override { return !options_.eden_biased; }
  [[nodiscard]] bool error_feedback() const override { return false; }

  [[nodiscard]] Bytes compress(unsigned worker, std::uint32_t round,
                               std::span<const float> gradient,
                               std::span<const std::uint8_t> /*agreed*/) override {
    std::vector<float> padded(gradient.begin(), gradient.end());
    padded.resize(size_);
    const std::vector<double> z = float_rotate(padded, key(worker, round));
    double power = 0.0;
    for (const double v : z)
      power += v * v;
    const double deviation = std::sqrt(power / static_cast<double>(size_));
    double with = 0.0;
    double own = 0.0;
    std::vector<std::uint8_t> codes(size_);
    for (std::size_t i = 0; i < size_; ++i) {
      const double a = deviation > 0 ? z[i] / deviation : 0.0;
      std::size_t code = 0;
      while (code + 1 < centroids_.size() && a > 0.5 * (centroids_[code] + centroids_[code + 1]))
        ++code;
      codes[i] = static_cast<std::uint8_t>(code);
      with += z[i] * centroids_[code];
      own += centroids_[code] * centroids_[code];
    }
    const double scale = options_.eden_biased ? with / own : with > 0 ? power / with : 0.0;
    Bytes message;
    put_float(message, static_cast<float>(scale));
    put_bits(message, codes, bits_);
    return message;
  }

private:
  // Beyond the streams of signs and noise.
  [[nodiscard]] Words2 key(unsigned worker, std::uint32_t round) const {
    return stream_key(options_.seed, round, 0x80000000U + worker);
  }

  [[nodiscard]] std::vector<double> expand(unsigned worker, std::uint32_t round,
                                           std::span<const std::uint8_t> message) const override {
    const double scale = get_float(message, 0);
    const auto codes = get_bits(message, 4, size_, bits_);
    std::vector<double> z(size_);
    for (std::size_t i = 0; i < size_; ++i)
      z[i] = scale * centroids_[codes[i]];
    std::vector<double> values = float_unrotate(z, key(worker, round));
    values.resize(options_.count);
    return values;
  }

  std::string_view name_;
  unsigned bits_;
  std::vector<double> centroids_;
  std::size_t size_;
};

// --------------------------------------------------------------------------- schemes that add
// integers

// Unsigned sums in lanes of one byte, or two where they do not fit.
Bytes lanes(std::span<const std::uint32_t> sums, std::uint32_t largest) {
  Bytes message;
  for (const std::uint32_t s : sums) {
    if (largest > 255)
      message.push_back(static_cast<std::uint8_t>(s >> 8));
    message.push_back(static_cast<std::uint8_t>(s));
  }
  return message;
}

std::vector<std::uint32_t> read_lanes(std::span<const std::uint8_t> message,
                                      std::uint32_t largest) {
  const std::size_t bytes = largest > 255 ? 2 : 1;
  std::vector<std::uint32_t> sums(message.size() / bytes);
  for (std::size_t i = 0; i < sums.size(); ++i)
    sums[i] = bytes == 2 ? std::uint32_t{message[2 * i]} << 8 | message[2 * i + 1] : message[i];
  return sums;
}

// The larger of the floats that were announced, one by one.
Bytes largest_of(std::span<const Bytes> announcements) {
  std::vector<float> largest = read_floats(announcements.front());
  for (const Bytes &a : announcements) {
    const std::vector<float> values = read_floats(a);
    for (std::size_t i = 0; i < values.size(); ++i)
      largest[i] = std::max(largest[i], values[i]);
  }
  return float_message(largest);
}

class TernGrad final : public Scheme {
public:
  explicit TernGrad(const SchemeOptions &options) : options_(options) {}
  [[nodiscard]] std::string_view name() const override { return "terngrad"; }
  [[nodiscard]] bool unbiased() const override { return true; }
  [[nodiscard]] bool error_feedback() const override { return false; }
  [[nodiscard]] bool sums_stay_compressed() const override { return true; }

  [[nodiscard]] Bytes announce(unsigned /*worker*/, std::span<const float> gradient) override {
    float largest = 0.0F;
    for (const float v : gradient)
      largest = std::max(largest, std::abs(v));
    return float_message(std::array{largest});
  }
  [[nodiscard]] Bytes agree(std::span<const Bytes> announcements) const override {
    return largest_of(announcements);
  }

  // Two bits a coordinate: 0, 1, 2 for -1, 0, 1.
  [[nodiscard]] Bytes compress(unsigned worker, std::uint32_t round,
                               std::span<const float> gradient,
                               std::span<const std::uint8_t> agreed) override {
    const double scale = get_float(agreed, 0);
    const Words2 key = noise_key(options_.seed, round, worker);
    std::vector<std::uint8_t> codes(gradient.size(), 1);
    for (std::size_t i = 0; i < codes.size(); ++i)
      if (scale > 0 && uniform(key, i) < std::abs(static_cast<double>(gradient[i])) / scale)
        codes[i] = gradient[i] < 0 ? 0 : 2;
    Bytes message;
    put_bits(message, codes, 2);
    return message;
  }

  [[nodiscard]] Bytes aggregate(std::uint32_t /*round*/,
                                std::span<const Bytes> messages) const override {
    std::vector<std::uint32_t> sums(options_.count);
    for (const Bytes &message : messages) {
      const auto codes = get_bits(message, 0, options_.count, 2);
      for (std::size_t i = 0; i < sums.size(); ++i)
        sums[i] += codes[i];
    }
    return lanes(sums, 2 * options_.workers);
  }

  [[nodiscard]] std::vector<float> decode(std::uint32_t /*round*/,
                                          std::span<const std::uint8_t> message,
                                          std::span<const std::uint8_t> agreed) const override {
    const auto sums = read_lanes(message, 2 * options_.workers);
    const double step = static_cast<double>(get_float(agreed, 0)) / options_.workers;
    std::vector<float> values(options_.count);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>((static_cast<double>(sums[i]) - options_.workers) * step);
    return values;
  }

private:
  SchemeOptions options_;
};

class Thc final : public Scheme {
public:
  Thc(std::string_view name, const SchemeOptions &options, Table table)
      : name_(name), options_(options), table_(std::move(table)),
        blocks_(split_blocks(options.count)),
        feedback_(options.workers, padded_size(options.count)) {}
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] bool unbiased() const override { return true; }
  [[nodiscard]] bool error_feedback() const override { return options_.error_feedback; }
  [[nodiscard]] bool sums_stay_compressed() const override { return true; }

  // The norms of the blocks.
  [[nodiscard]] Bytes announce(unsigned worker, std::span<const float> gradient) override {
    const std::vector<float> y = feedback_.add(worker, gradient);
    std::vector<float> norms;
    each_block([&](std::size_t first, std::size_t size, std::size_t) {
      norms.push_back(block_norm(std::span(y).subspan(first, size)));
    });
    return float_message(norms);
  }
  [[nodiscard]] Bytes agree(std::span<const Bytes> announcements) const override {
    return largest_of(announcements);
  }

  [[nodiscard]] Bytes compress(unsigned worker, std::uint32_t round,
                               std::span<const float> gradient,
                               std::span<const std::uint8_t> agreed) override {
    const std::vector<float> y = feedback_.add(worker, gradient);
    Bytes message;
    each_block([&](std::size_t first, std::size_t size, std::size_t block) {
      const Compressed c = compress_block(std::span(y).subspan(first, size), scale(agreed, block),
                                          table_, sign_key(options_.seed, round),
                                          noise_key(options_.seed, round, worker), first);
      const Bytes packed = pack_nibbles(c.indices);
      message.insert(message.end(), packed.begin(), packed.end());
      if (options_.error_feedback)
        std::copy(c.error.begin(), c.error.end(),
                  feedback_.of(worker).begin() + static_cast<std::ptrdiff_t>(first));
    });
    return message;
  }

  [[nodiscard]] Bytes aggregate(std::uint32_t /*round*/,
                                std::span<const Bytes> messages) const override {
    std::vector<std::uint32_t> sums(padded_size(options_.count));
    for (const Bytes &message : messages)
      ref::aggregate(unpack_nibbles(message), table_, sums);
    return lanes(sums, largest_sum());
  }

  [[nodiscard]] std::vector<float> decode(std::uint32_t round,
                                          std::span<const std::uint8_t> message,
                                          std::span<const std::uint8_t> agreed) const override {
    const auto sums = read_lanes(message, largest_sum());
    std::vector<float> mean;
    each_block([&](std::size_t first, std::size_t size, std::size_t block) {
      const std::vector<std::uint8_t> contributors(size / kPacketCoordinates,
                                                   static_cast<std::uint8_t>(options_.workers));
      Flags flags;
      const auto y =
          decompress_block(std::span(sums).subspan(first, size), contributors, scale(agreed, block),
                           table_, sign_key(options_.seed, round), first, flags);
      mean.insert(mean.end(), y.begin(), y.end());
    });
    mean.resize(options_.count);
    return mean;
  }

private:
  template <class F> void each_block(F f) const {
    std::size_t first = 0;
    for (std::size_t block = 0; block < blocks_.size(); ++block) {
      const std::size_t size = std::size_t{1} << blocks_[block];
      f(first, size, block);
      first += size;
    }
  }
  [[nodiscard]] BlockScale scale(std::span<const std::uint8_t> agreed, std::size_t block) const {
    return make_scale(get_float(agreed, 4 * block), table_);
  }
  [[nodiscard]] std::uint32_t largest_sum() const { return options_.workers * table_.granularity; }

  std::string_view name_;
  SchemeOptions options_;
  Table table_;
  std::vector<int> blocks_;
  Feedback feedback_;
};

Table uniform_table(const SchemeOptions &options) {
  Table table;
  table.bits = options.bits;
  table.granularity = (1U << options.bits) - 1;
  // The quantile of one side: p on each.
  table.t = clamp_of(2.0 * options.p);
  table.values.resize(std::size_t{1} << options.bits);
  std::iota(table.values.begin(), table.values.end(), std::uint8_t{0});
  return table;
}

Table thc_table(const SchemeOptions &options) {
  return {options.bits, options.granularity, clamp_of(options.p),
          solve_table(options.bits, options.granularity, options.p).values};
}

constexpr std::array<std::string_view, 9> kNames = {"none",    "thc",  "uhc",   "qsgd", "terngrad",
                                                    "signsgd", "topk", "drive", "eden"};

} // namespace

Bytes Scheme::announce(unsigned /*worker*/, std::span<const float> /*gradient*/) { return {}; }
Bytes Scheme::agree(std::span<const Bytes> /*announcements*/) const { return {}; }

std::span<const std::string_view> scheme_names() { return kNames; }

std::optional<std::string> scheme_error(std::string_view name, const SchemeOptions &options) {
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end())
    return "unknown scheme '" + std::string(name) + "'";
  if (options.workers < 1 || options.workers > kMaxContributors)
    return "workers must be 1 to 255";
  if (options.count < 1 || options.count > std::size_t{1} << 31)
    return "a gradient must have 1 to 2^31 coordinates";
  if (name == "qsgd" && (options.bits < 2 || options.bits > 8))
    return "qsgd takes 2 to 8 bits";
  if (name == "qsgd" && options.qsgd_bucket < 1)
    return "a bucket of qsgd has at least one coordinate";
  if (name == "topk" && (options.bits < 1 || options.bits > 64))
    return "topk takes 1 to 64 bits a coordinate";
  if ((name == "thc" || name == "uhc" || name == "eden") &&
      (options.bits < 1 || options.bits > kMaxIndexBits))
    return std::string(name) + " takes 1 to 4 bits";
  if (name == "thc" || name == "uhc") {
    const double p = name == "uhc" ? 2.0 * options.p : options.p;
    const unsigned g = name == "uhc" ? (1U << options.bits) - 1 : options.granularity;
    if (const auto error = solve_error(options.bits, g, p))
      return std::string(name) + ": " + *error;
    const double t = clamp_of(p);
    if (!(t >= 1.0 && t < 4.0))
      return std::string(name) + ": p gives a clamp outside [1, 4)";
    if (options.workers * g > kMaxSum)
      return std::string(name) + ": the sum over the workers does not fit 16 bits";
  }
  return std::nullopt;
}

std::unique_ptr<Scheme> make_scheme(std::string_view name, const SchemeOptions &options) {
  assert(!scheme_error(name, options));
  if (name == "thc")
    return std::make_unique<Thc>("thc", options, thc_table(options));
  if (name == "uhc")
    return std::make_unique<Thc>("uhc", options, uniform_table(options));
  if (name == "qsgd")
    return std::make_unique<Qsgd>(options);
  if (name == "terngrad")
    return std::make_unique<TernGrad>(options);
  if (name == "signsgd")
    return std::make_unique<SignSgd>(options);
  if (name == "topk")
    return std::make_unique<TopK>(options);
  if (name == "drive")
    return std::make_unique<Eden>("drive", options);
  if (name == "eden")
    return std::make_unique<Eden>("eden", options);
  return std::make_unique<NoCompression>(options);
}

Exchange exchange(Scheme &scheme, std::uint32_t round,
                  std::span<const std::vector<float>> gradients) {
  std::vector<Bytes> announcements;
  for (unsigned w = 0; w < gradients.size(); ++w)
    announcements.push_back(scheme.announce(w, gradients[w]));
  const Bytes agreed = scheme.agree(announcements);
  Exchange result;
  std::vector<Bytes> messages;
  for (unsigned w = 0; w < gradients.size(); ++w) {
    messages.push_back(scheme.compress(w, round, gradients[w], agreed));
    result.bytes_up = std::max(result.bytes_up, announcements[w].size() + messages[w].size());
  }
  const Bytes down = scheme.aggregate(round, messages);
  result.bytes_down = agreed.size() + down.size();
  result.mean = scheme.decode(round, down, agreed);
  return result;
}

SchemeFigures measure(Scheme &scheme, std::span<const std::vector<float>> gradients,
                      std::uint32_t rounds) {
  const std::size_t count = gradients.front().size();
  std::vector<double> truth(count);
  for (const std::vector<float> &gradient : gradients)
    for (std::size_t i = 0; i < count; ++i)
      truth[i] += gradient[i] / static_cast<double>(gradients.size());
  const auto nmse = [&](std::span<const double> estimate, double scale) {
    double error = 0.0;
    double power = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
      error += (estimate[i] * scale - truth[i]) * (estimate[i] * scale - truth[i]);
      power += truth[i] * truth[i];
    }
    return error / power;
  };
  SchemeFigures figures;
  std::vector<double> sum(count);
  for (std::uint32_t round = 0; round < rounds; ++round) {
    const Exchange e = exchange(scheme, round, gradients);
    for (std::size_t i = 0; i < count; ++i)
      sum[i] += e.mean[i];
    if (round == 0)
      figures.nmse = nmse(sum, 1.0);
    figures.bytes_up = std::max(figures.bytes_up, e.bytes_up);
    figures.bytes_down = std::max(figures.bytes_down, e.bytes_down);
  }
  figures.nmse_mean = nmse(sum, 1.0 / rounds);
  return figures;
}

std::vector<double> lloyd_max(unsigned bits) {
  const auto density = [](double a) {
    return std::exp(-0.5 * a * a) / std::sqrt(2.0 * std::numbers::pi);
  };
  const std::size_t levels = std::size_t{1} << bits;
  std::vector<double> c(levels);
  for (std::size_t i = 0; i < levels;
       ++i) // a start; the quantiser for a normal distribution is unique
    c[i] = (2.0 * static_cast<double>(i) + 1.0 - static_cast<double>(levels)) * 2.0 /
           static_cast<double>(levels);
  double moved = 1.0;
  for (int iteration = 0; iteration < 100'000 && moved > 1e-14; ++iteration) {
    std::vector<double> next(levels);
    moved = 0.0;
    for (std::size_t i = 0; i < levels; ++i) {
      // Mean of the normal distribution between the midpoints.
      const double l = i == 0 ? -40.0 : 0.5 * (c[i - 1] + c[i]);
      const double r = i + 1 == levels ? 40.0 : 0.5 * (c[i] + c[i + 1]);
      const double mass =
          0.5 * (std::erfc(l / std::numbers::sqrt2) - std::erfc(r / std::numbers::sqrt2));
      next[i] = (density(l) - density(r)) / mass;
      moved = std::max(moved, std::abs(next[i] - c[i]));
    }
    c = next;
  }
  return c;
}

} // namespace kestrel::thc::ref
