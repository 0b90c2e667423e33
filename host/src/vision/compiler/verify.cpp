// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// verify_package(): every descriptor in the ranges that the engine checks, and the waits sufficient
// for the data that flows between the units, and narrow requantisation only where it changes no
// result. A package that passes can be interpreted without
// further checks.
#include <algorithm>
#include <array>
#include <cstddef>
#include <set>
#include <vector>

#include "kestrel/bytes.hpp"
#include "kestrel/contract/vision.hpp"
#include "kestrel/vision/compiler.hpp"
#include "vision/compiler/narrow.hpp"

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

// Descriptors of each unit that are complete.
struct Clock {
  std::int64_t load = 0, compute = 0, out = 0;

  void merge(const Clock &o) {
    load = std::max(load, o.load);
    compute = std::max(compute, o.compute);
    out = std::max(out, o.out);
  }
};

// Pixels lo .. hi of the groups 0 .. groups - 1 of a tensor in activation memory.
struct Region {
  std::int64_t base = 0, s = 0, groups = 0, lo = 0, hi = -1;
};

struct ByteRange {
  std::int64_t base = 0, from = 0, to = 0, ordinal = 0;
};

// A region may be rounded up to this much more than the program uses.
constexpr std::int64_t kRegionSlack = 4096;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

class Verifier {
public:
  Verifier(const Package &package, const contract::Config &config)
      : package_(package), config_(config), nb_(config.lanes), wb_(config.word_bytes),
        words_(config.act_rows * config.lanes) {}

  Result<void> run();

private:
  template <typename... Args> Error bad(fmt::format_string<Args...> format, Args &&...args) const {
    return fail(ErrorCode::kParse, "descriptor {}: {}", index_,
                fmt::format(format, std::forward<Args>(args)...));
  }

  Result<void> check_sizes() const;
  Result<void> check_region(const char *what, const Region &r) const;
  Result<void> check_memory(std::int64_t base, std::int64_t from, std::int64_t bytes);
  Result<void> check_waits(std::int64_t load, std::int64_t compute, std::int64_t out) const;
  Clock clock_of(std::int64_t load, std::int64_t compute, std::int64_t out) const;

  Result<void> check(const ComputeDesc &d);
  Result<void> check(const LoadDesc &d);
  Result<void> check(const StoreDesc &d);
  Result<void> check(const ConfDesc &d);
  Result<void> check_weights(const ComputeDesc &d);
  Result<void> check_narrow(const ComputeDesc &d, std::int64_t steps);
  Result<Region> input_region(const ComputeDesc &d) const;

  // Access tracking; the ordinal of a descriptor counts from 1 within its unit.
  Result<void> reads(const Region &r, const Clock &clock, bool by_compute);
  Result<void> writes(const Region &r, const Clock &clock, bool by_compute);
  template <class F> void for_words(const Region &r, F &&f) const;

  const Package &package_;
  const contract::Config &config_;
  const std::int64_t nb_, wb_;
  std::uint32_t index_ = 0;
  Clock issued_;                       // descriptors so far
  std::array<std::int64_t, 4> used_{}; // bytes that descriptors reach, by region
  std::vector<Clock> load_clocks_, compute_clocks_, out_clocks_;
  std::int64_t barrier_ = 0; // compute descriptors complete before the last one with `dep`
  ComputeDesc previous_;
  std::int64_t segment_words_ = 0, segment_address_ = 0;
  std::set<std::array<std::int64_t, 8>> narrow_checked_; // segments and how they are used

  struct Word {
    std::int64_t load_write = 0, compute_write = 0, compute_read = 0, out_read = 0;
  };
  std::vector<Word> words_;
  std::vector<ByteRange> loaded_, stored_; // external memory other than PKG and IN
};

int bit_reverse(std::int64_t v, std::int64_t size) {
  int r = 0;
  for (std::int64_t bit = 1; bit < size; bit <<= 1) {
    r = (r << 1) | static_cast<int>(v & 1);
    v >>= 1;
  }
  return r;
}

Result<void> Verifier::check_region(const char *what, const Region &r) const {
  if (r.lo < 0)
    return bad("{} begins at pixel {} (ACT_RANGE)", what, r.lo);
  const std::int64_t last = r.base + (r.groups - 1) * r.s + r.hi / nb_;
  if (r.hi >= 0 && last >= config_.act_rows) {
    return bad("{} reaches activation row {}; the engine has {} (ACT_RANGE)", what, last,
               config_.act_rows);
  }
  return {};
}

Result<void> Verifier::check_memory(std::int64_t base, std::int64_t from, std::int64_t bytes) {
  const std::array<std::int64_t, 4> sizes = {static_cast<std::int64_t>(package_.image.size()),
                                             package_.in_bytes, package_.out_bytes,
                                             package_.scratch_bytes};
  if (from % static_cast<std::int64_t>(contract::kAlignBytes) != 0)
    return bad("address {} is not a multiple of {} (BAD_FIELD)", from, contract::kAlignBytes);
  if (from + bytes > sizes[static_cast<std::size_t>(base)]) {
    return bad("bytes {}..{} lie outside region {} of {} bytes", from, from + bytes,
               contract::to_string(static_cast<BaseSel>(base)),
               sizes[static_cast<std::size_t>(base)]);
  }
  std::int64_t &used = used_[static_cast<std::size_t>(base)];
  used = std::max(used, from + bytes);
  return {};
}

Result<void> Verifier::check_waits(std::int64_t load, std::int64_t compute,
                                   std::int64_t out) const {
  if (load > issued_.load || compute > issued_.compute || out > issued_.out)
    return bad("waits for descriptors that come after it");
  return {};
}

Clock Verifier::clock_of(std::int64_t load, std::int64_t compute, std::int64_t out) const {
  Clock clock{load, compute, out};
  if (load > 0)
    clock.merge(load_clocks_[static_cast<std::size_t>(load - 1)]);
  if (compute > 0)
    clock.merge(compute_clocks_[static_cast<std::size_t>(compute - 1)]);
  if (out > 0)
    clock.merge(out_clocks_[static_cast<std::size_t>(out - 1)]);
  return clock;
}

template <class F> void Verifier::for_words(const Region &r, F &&f) const {
  for (std::int64_t g = 0; g < r.groups; ++g) {
    const int turn = bit_reverse(g % nb_, nb_);
    for (std::int64_t p = r.lo; p <= r.hi; ++p)
      f(static_cast<std::size_t>((r.base + g * r.s + p / nb_) * nb_ + (p + turn) % nb_));
  }
}

Result<void> Verifier::reads(const Region &r, const Clock &clock, bool by_compute) {
  bool safe = true;
  for_words(r, [&](std::size_t i) {
    Word &w = words_[i];
    safe = safe && w.load_write <= clock.load &&
           w.compute_write <= (by_compute ? std::max(barrier_, clock.compute) : clock.compute);
    (by_compute ? w.compute_read : w.out_read) = by_compute ? issued_.compute : issued_.out;
  });
  if (!safe)
    return bad("reads activations that it does not wait for");
  return {};
}

Result<void> Verifier::writes(const Region &r, const Clock &clock, bool by_compute) {
  bool safe = true;
  for_words(r, [&](std::size_t i) {
    Word &w = words_[i];
    safe = safe && w.out_read <= clock.out;
    if (by_compute) {
      safe = safe && w.load_write <= clock.load;
      w.compute_write = issued_.compute;
    } else {
      safe = safe && w.compute_read <= clock.compute && w.compute_write <= clock.compute;
      w.load_write = issued_.load;
    }
  });
  if (!safe)
    return bad("overwrites activations that are still in use");
  return {};
}

Result<void> Verifier::check_weights(const ComputeDesc &d) {
  const std::int64_t groups = std::int64_t{1} << d.glog;
  const std::int64_t taps = (d.kh_m1 + 1) * (d.kw_m1 + 1);
  const std::int64_t steps = d.depthwise != 0 ? taps : taps * (d.icg_m1 * wb_ + d.nlast_m1 + 1);
  const std::int64_t kwords = ceil_div(steps * groups * wb_, config_.ring_word_bytes());
  if (d.kwords != kwords)
    return bad("kwords {} where its kernel has {} (BAD_FIELD)", d.kwords, kwords);
  const std::int64_t tile_words = 2 * groups + 1 + kwords;
  const std::int64_t words = (d.noct_m1 + 1) * tile_words;
  if (tile_words > config_.ring_words)
    return bad("weights of one tile exceed the ring (BAD_FIELD)");
  if (d.wnew != 0) {
    if (d.wwords != words)
      return bad("wwords {} where its tiles have {} (BAD_FIELD)", d.wwords, words);
    KESTREL_TRY(check_memory(static_cast<std::int64_t>(BaseSel::kPkg), d.waddr,
                             words * config_.ring_word_bytes()));
    if (issued_.compute > 1 && previous_.wrel == 0)
      return bad("the weight segment before it is never released (BAD_FIELD)");
    segment_address_ = d.waddr;
  } else if (issued_.compute == 1 || previous_.wrel != 0 || words != segment_words_) {
    return bad("reuses a weight segment that is not there (BAD_FIELD)");
  }
  segment_words_ = words;
  if (d.wrel == 0 && words > config_.ring_words)
    return bad("keeps a weight segment that exceeds the ring (BAD_FIELD)");
  return check_narrow(d, steps);
}

// Tiles marked for narrow requantisation: saturation of the sums must not change a result.
Result<void> Verifier::check_narrow(const ComputeDesc &d, std::int64_t steps) {
  if (!narrow_checked_
           .insert({segment_address_, d.glog, d.kwords, d.noct_m1, steps * 2 + d.is_max, d.out_zp,
                    d.act_min, d.act_max})
           .second)
    return {};
  const auto groups = std::size_t{1} << d.glog;
  const auto wb = static_cast<std::size_t>(wb_), channels = groups * wb;
  const std::size_t rw = config_.ring_word_bytes();
  const std::size_t tile_bytes = (2 * groups + 1 + static_cast<std::size_t>(d.kwords)) * rw;
  const std::span<const std::uint8_t> image = package_.image;
  for (std::int64_t tile = 0; tile <= d.noct_m1; ++tile) {
    const std::size_t at =
        static_cast<std::size_t>(segment_address_) + static_cast<std::size_t>(tile) * tile_bytes;
    if ((image[at] & 0x80U) == 0)
      continue;
    const std::size_t weights = at + (1 + 2 * groups) * rw;
    for (std::size_t i = 0; i < channels; ++i) {
      const std::size_t j = i / wb, b = i % wb;
      const std::int64_t bias = load_le<std::int32_t>(image, at + (1 + j) * rw + 4 * b);
      compiler::SumRange sums{bias, bias};
      if (d.is_max != 0) {
        sums.add(1);
      } else {
        for (std::size_t k = 0; k < static_cast<std::size_t>(steps); ++k)
          sums.add(static_cast<std::int8_t>(image[weights + k * channels + i]));
      }
      const compiler::Requant requant{
          load_le<std::int32_t>(image, at + (1 + groups + j) * rw + 4 * b) & 0x7FFFFFFF,
          image[at + i] & 31,
          (image[at + i] >> 5) & 3,
          d.out_zp,
          d.act_min,
          d.act_max};
      if (!compiler::narrow_is_exact(sums, requant))
        return bad("channel {} does not allow the narrow requantisation that its tile asks for "
                   "(BAD_FIELD)",
                   static_cast<std::size_t>(tile) * channels + i);
    }
  }
  return {};
}

// The input pixels inside the map that the descriptor reads.
Result<Region> Verifier::input_region(const ComputeDesc &d) const {
  const std::int64_t row = d.kw_m1 * d.dilx + d.tliny;
  Region r{d.in_base, d.in_s, d.depthwise != 0 ? (d.noct_m1 + 1) << d.glog : d.icg_m1 + 1, 0, -1};
  bool any = false;
  // Taps from..to of `kernel` at `at + k * dilation` that lie in 0 .. size - 1.
  const auto inside = [](std::int64_t at, std::int64_t dilation, std::int64_t last,
                         std::int64_t size, std::int64_t &from, std::int64_t &to) {
    if (dilation == 0) {
      from = 0;
      to = at >= 0 && at < size ? last : -1;
      return;
    }
    from = at < 0 ? ceil_div(-at, dilation) : 0;
    to = size - 1 - at < 0 ? -1 : std::min(last, (size - 1 - at) / dilation);
  };
  std::int64_t x = d.ix0, y = d.iy0, lin = d.lin0;
  for (std::int64_t o = 0; o < d.out_np; ++o) {
    std::int64_t kx0 = 0, kx1 = 0, ky0 = 0, ky1 = 0;
    inside(x, d.dilx, d.kw_m1, d.iw, kx0, kx1);
    inside(y, d.dily, d.kh_m1, d.ih, ky0, ky1);
    if (kx0 <= kx1 && ky0 <= ky1) {
      for (const std::int64_t ky : {ky0, ky1}) {
        for (const std::int64_t kx : {kx0, kx1}) {
          const std::int64_t pixel = lin + kx * d.dilx + ky * row;
          r.lo = any ? std::min(r.lo, pixel) : pixel;
          r.hi = any ? std::max(r.hi, pixel) : pixel;
          any = true;
        }
      }
    }
    x += d.sx;
    lin += d.sx;
    if (x >= d.limx) {
      x -= d.wrapx;
      y += d.sy;
      lin += d.wraplin;
    }
  }
  KESTREL_TRY(check_region("its input", r));
  return r;
}

Result<void> Verifier::check(const ComputeDesc &d) {
  ++issued_.compute;
  const std::int64_t lanes = nb_ >> d.glog;
  if (d.glog > config_.glog_max)
    return bad("glog {}; this configuration supports up to {} (BAD_FIELD)", d.glog,
               config_.glog_max);
  if (d.is_max != 0 && d.depthwise == 0)
    return bad("a maximum needs depthwise mode (BAD_FIELD)");
  if (d.depthwise != 0 && d.icg_m1 != 0)
    return bad("depthwise with several input groups per tap (BAD_FIELD)");
  if (d.nlast_m1 >= wb_)
    return bad("nlast_m1 {} exceeds a word (BAD_FIELD)", d.nlast_m1);
  if (d.out_np < 1 || d.nptile_m1 + 1 != ceil_div(d.out_np, lanes))
    return bad("{} pixel tiles for {} output pixels (BAD_FIELD)", d.nptile_m1 + 1, d.out_np);
  if (d.act_min > d.act_max || (d.add != 0 && d.add_min > d.add_max))
    return bad("empty clamp (BAD_FIELD)");
  if (d.add != 0) {
    constexpr std::int64_t kMax = 0x7FFFFFFF;
    if (d.add_m1 > kMax || d.add_m2 > kMax || d.add_mo > kMax)
      return bad("multiplier of the add exceeds 31 bits (BAD_FIELD)");
  }
  KESTREL_TRY(check_waits(d.wait_load, 0, d.wait_out));
  KESTREL_TRY(check_weights(d));
  Clock clock = clock_of(d.wait_load, 0, d.wait_out);
  if (issued_.compute > 1)
    clock.merge(compute_clocks_.back());
  if (d.dep != 0)
    barrier_ = issued_.compute - 1;
  clock.compute = std::max(clock.compute, barrier_);

  const std::int64_t groups = (d.noct_m1 + 1) << d.glog;
  const Region out{d.out_base, d.out_s, groups, d.out_p0, d.out_p0 + d.out_np - 1};
  KESTREL_TRY(check_region("its output", out));
  KESTREL_ASSIGN(const Region in, input_region(d));
  KESTREL_TRY(reads(in, clock, true));
  if (d.add != 0) {
    const Region res{d.res_base, d.res_s, groups, d.res_p0, d.res_p0 + d.out_np - 1};
    KESTREL_TRY(check_region("its residual", res));
    KESTREL_TRY(reads(res, clock, true));
  }
  KESTREL_TRY(writes(out, clock, true));
  compute_clocks_.push_back(clock);
  previous_ = d;
  return {};
}

Result<void> Verifier::check(const LoadDesc &d) {
  ++issued_.load;
  KESTREL_TRY(check_waits(0, d.wait_compute, d.wait_out));
  if (d.count < 1)
    return bad("loads nothing (BAD_FIELD)");
  Region r{d.dst_base, d.dst_s, 1, d.p0, 0};
  std::int64_t beats = ceil_div(d.count * wb_, config_.bus_bytes);
  switch (static_cast<LoadMode>(d.mode)) {
  case LoadMode::kRaw:
    if (d.chans < 1 || d.chans > 8)
      return bad("RAW load of {} channels (BAD_FIELD)", d.chans);
    beats = ceil_div(d.count * d.chans, config_.bus_bytes);
    r.hi = d.p0 + d.count - 1;
    break;
  case LoadMode::kNhwc:
    if (d.chans < 1 || d.count % d.chans != 0)
      return bad("NHWC load of {} words in groups of {} (BAD_FIELD)", d.count, d.chans);
    r.groups = d.chans;
    r.hi = d.p0 + d.count / d.chans - 1;
    break;
  case LoadMode::kPlanar:
    if (d.n < 1 || d.count % d.n != 0)
      return bad("PLANAR load of {} words in planes of {} (BAD_FIELD)", d.count, d.n);
    r.groups = d.count / d.n;
    r.hi = d.p0 + d.n - 1;
    break;
  default:
    return bad("load mode {} (BAD_FIELD)", d.mode);
  }
  if (d.beats != beats)
    return bad("{} beats where its data has {} (BAD_FIELD)", d.beats, beats);
  const std::int64_t bytes = beats * config_.bus_bytes;
  KESTREL_TRY(check_memory(d.base, d.addr, bytes));
  KESTREL_TRY(check_region("its destination", r));
  Clock clock = clock_of(0, d.wait_compute, d.wait_out);
  if (issued_.load > 1)
    clock.merge(load_clocks_.back());
  clock.load = issued_.load - 1; // in order: words of this LOAD follow all of those before
  for (const ByteRange &stored : stored_) {
    if (stored.base == d.base && stored.from < d.addr + bytes && d.addr < stored.to &&
        stored.ordinal > clock.out)
      return bad("reads memory that an earlier STORE may not have written");
  }
  if (d.base == static_cast<std::int64_t>(BaseSel::kOut) ||
      d.base == static_cast<std::int64_t>(BaseSel::kScratch))
    loaded_.push_back({d.base, d.addr, d.addr + bytes, issued_.load});
  KESTREL_TRY(writes(r, clock, false));
  load_clocks_.push_back(clock);
  return {};
}

Result<void> Verifier::check(const StoreDesc &d) {
  ++issued_.out;
  KESTREL_TRY(check_waits(d.wait_load, d.wait_compute, 0));
  if (d.base != static_cast<std::int64_t>(BaseSel::kOut) &&
      d.base != static_cast<std::int64_t>(BaseSel::kScratch))
    return bad("stores to region {}", contract::to_string(static_cast<BaseSel>(d.base)));
  if (d.groups < 1 || d.n < 1)
    return bad("stores nothing (BAD_FIELD)");
  const std::int64_t bytes = d.groups * d.n * wb_;
  KESTREL_TRY(check_memory(d.base, d.addr, bytes));
  const Region r{d.src_base, d.src_s, d.groups, d.p0, d.p0 + d.n - 1};
  KESTREL_TRY(check_region("its source", r));
  Clock clock = clock_of(d.wait_load, d.wait_compute, 0);
  if (issued_.out > 1)
    clock.merge(out_clocks_.back());
  for (const ByteRange &loaded : loaded_) {
    if (loaded.base == d.base && loaded.from < d.addr + bytes && d.addr < loaded.to &&
        loaded.ordinal > clock.load)
      return bad("overwrites memory that an earlier LOAD may still read");
  }
  stored_.push_back({d.base, d.addr, d.addr + bytes, issued_.out});
  KESTREL_TRY(reads(r, clock, false));
  out_clocks_.push_back(clock);
  return {};
}

Result<void> Verifier::check(const ConfDesc &d) {
  ++issued_.out;
  KESTREL_TRY(check_waits(d.wait_load, d.wait_compute, 0));
  if (d.classes < 1 || d.classes > 1024)
    return bad("{} classes; 1..1024 are supported (BAD_FIELD)", d.classes);
  if (!package_.has_confidence)
    return bad("CONF in a package without exponential table");
  if (d.softmax != 0) {
    if (d.base != static_cast<std::int64_t>(BaseSel::kOut) &&
        d.base != static_cast<std::int64_t>(BaseSel::kScratch))
      return bad("stores to region {}", contract::to_string(static_cast<BaseSel>(d.base)));
    KESTREL_TRY(
        check_memory(d.base, d.addr, ceil_div(d.classes, config_.bus_bytes) * config_.bus_bytes));
  }
  const Region r{d.src_base, d.src_s, ceil_div(d.classes, wb_), d.p0, d.p0};
  KESTREL_TRY(check_region("its source", r));
  Clock clock = clock_of(d.wait_load, d.wait_compute, 0);
  if (issued_.out > 1)
    clock.merge(out_clocks_.back());
  KESTREL_TRY(reads(r, clock, false));
  out_clocks_.push_back(clock);
  return {};
}

Result<void> Verifier::check_sizes() const {
  const auto malformed = [](const char *what) {
    return fail(ErrorCode::kParse, "package is inconsistent: {}", what);
  };
  const std::uint64_t align = contract::kAlignBytes;
  const InputSpec &in = package_.input;
  const OutputSpec &out = package_.output;
  const auto elements = [](const std::vector<std::int32_t> &shape) {
    std::uint64_t n = 1;
    for (const std::int32_t d : shape)
      n = d < 1 || n > (std::uint64_t{1} << 32) ? 0 : n * static_cast<std::uint64_t>(d);
    return n;
  };
  if (in.pixels == 0 || in.channels == 0 ||
      elements(in.shape) != std::uint64_t{in.pixels} * in.channels)
    return malformed("input shape");
  if (in.padded_channels < in.channels ||
      (in.layout == InputLayout::kRaw && in.padded_channels != in.channels) ||
      std::uint64_t{in.pixels} * in.padded_channels > package_.in_bytes)
    return malformed("IN region");
  if (out.pixels == 0 || out.channels == 0 ||
      elements(out.shape) != std::uint64_t{out.pixels} * out.channels)
    return malformed("output shape");
  const std::uint64_t word = config_.word_bytes;
  const std::uint64_t out_needed =
      out.layout == OutputLayout::kSoftmax
          ? out.channels
          : (out.channels + word - 1) / word * word * std::uint64_t{out.pixels};
  if (out.block_pixels == 0 || out.offset + out_needed > package_.out_bytes ||
      (out.layout == OutputLayout::kSoftmax && (!package_.has_confidence || out.pixels != 1)))
    return malformed("OUT region");
  if (package_.image.size() % align != 0 || package_.in_bytes % align != 0 ||
      package_.out_bytes % align != 0 || package_.scratch_bytes % align != 0 ||
      package_.descriptor_offset % align != 0)
    return malformed("alignment");
  if (package_.descriptor_count < 1 || package_.descriptor_count > 65535 ||
      package_.descriptor_offset > package_.image.size() ||
      (package_.image.size() - package_.descriptor_offset) / contract::kDescBytes <
          package_.descriptor_count)
    return malformed("descriptors");
  for (const std::int32_t v : package_.exp_table) {
    if (v < 0)
      return malformed("exponential table");
  }
  return {};
}

Result<void> Verifier::run() {
  KESTREL_TRY(check_sizes());
  std::uint32_t confs = 0;
  for (index_ = 0; index_ < package_.descriptor_count; ++index_) {
    const auto bytes = package_.descriptor(index_);
    DescWords words{};
    for (std::size_t i = 0; i < words.size(); ++i)
      words[i] = load_le<std::uint64_t>(bytes, 8 * i);
    const auto op = contract::desc_op(words[0]);
    if (!op)
      return bad("unknown opcode {} (BAD_OPCODE)", words[0] & 0xF);
    if ((*op == DescOp::kEnd) != (index_ + 1 == package_.descriptor_count))
      return bad("END is not the last descriptor");
    const auto decode_and_check = [&]<class Desc>(Desc) -> Result<void> {
      if (!contract::reserved_clear<Desc>(words))
        return bad("reserved bits are set (BAD_FIELD)");
      return check(contract::decode<Desc>(words));
    };
    switch (*op) {
    case DescOp::kCompute:
      KESTREL_TRY(decode_and_check(ComputeDesc{}));
      break;
    case DescOp::kLoad:
      KESTREL_TRY(decode_and_check(LoadDesc{}));
      break;
    case DescOp::kStore:
      KESTREL_TRY(decode_and_check(StoreDesc{}));
      break;
    case DescOp::kConf:
      KESTREL_TRY(decode_and_check(ConfDesc{}));
      ++confs;
      break;
    case DescOp::kEnd:
      break;
    }
  }
  // Devices allocate the regions as the package states them.
  const InputSpec &in = package_.input;
  const std::array<std::int64_t, 4> needed = {
      0, static_cast<std::int64_t>(std::uint64_t{in.pixels} * in.padded_channels),
      used_[static_cast<std::size_t>(BaseSel::kOut)],
      used_[static_cast<std::size_t>(BaseSel::kScratch)]};
  const std::array<std::int64_t, 4> stated = {0, package_.in_bytes, package_.out_bytes,
                                              package_.scratch_bytes};
  for (std::size_t base = 1; base < needed.size(); ++base) {
    if (stated[base] > needed[base] + kRegionSlack)
      return fail(ErrorCode::kParse,
                  "package is inconsistent: region {} of {} bytes, of which {} are used",
                  contract::to_string(static_cast<BaseSel>(base)), stated[base], needed[base]);
  }
  if ((confs > 0) != package_.has_confidence)
    return fail(ErrorCode::kParse, "package is inconsistent: confidence unit program");
  return {};
}

} // namespace

Result<void> verify_package(const Package &package) {
  if (package.contract_version != contract::kVersion) {
    return fail(ErrorCode::kVersionMismatch,
                "package of hardware contract {}.{}; this program supports {}.{}",
                package.contract_version >> 16, package.contract_version & 0xFFFF,
                contract::kVersionMajor, contract::kVersionMinor);
  }
  const contract::Config *config = contract::find_config(package.config_name);
  if (config == nullptr) {
    std::string known;
    for (const contract::Config &c : contract::kConfigs)
      known += (known.empty() ? "" : ", ") + std::string(c.name);
    return fail(ErrorCode::kVersionMismatch, "package for configuration '{}'; known are {}",
                package.config_name, known);
  }
  return Verifier(package, *config).run();
}

} // namespace kestrel::hv
