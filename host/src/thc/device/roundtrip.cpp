// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/thc/roundtrip.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "thc/device/devices.hpp"

namespace kestrel::thc {
namespace {

// Consecutive blocks of one size: what one call of the device handles.
struct Group {
  int block_log2;
  std::size_t first;       // coordinate
  std::size_t first_block; // number
  std::size_t coordinates;
};

std::vector<Group> groups_of(const std::vector<int> &blocks) {
  std::vector<Group> groups;
  std::size_t at = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    if (groups.empty() || groups.back().block_log2 != blocks[b])
      groups.push_back({blocks[b], at, b, 0});
    groups.back().coordinates += std::size_t{1} << blocks[b];
    at += std::size_t{1} << blocks[b];
  }
  return groups;
}

Result<std::vector<unsigned>> contributors_of(std::size_t workers,
                                              const std::vector<unsigned> &asked) {
  std::vector<unsigned> result = asked;
  if (result.empty()) {
    result.resize(workers);
    std::iota(result.begin(), result.end(), 0U);
  }
  std::sort(result.begin(), result.end());
  if (result.back() >= workers)
    return fail(ErrorCode::kInvalidArgument, "contributor {}: there are workers 0 to {}",
                result.back(), workers - 1);
  const auto twice = std::adjacent_find(result.begin(), result.end());
  if (twice != result.end())
    return fail(ErrorCode::kInvalidArgument, "contributor {} is named twice", *twice);
  return result;
}

// An error of one group, with the coordinate's number in the tensor and the worker.
template <class T> Result<T> of_worker(unsigned worker, Result<T> result) {
  if (!result)
    return fail(result.error().code, "worker {}: {}", worker, result.error().message);
  return result;
}

} // namespace

Result<RoundTrip> round_trip(Device &device, std::span<const float> x, std::size_t workers,
                             const RoundTripOptions &options) {
  if (workers == 0 || x.empty() || x.size() % workers != 0)
    return fail(ErrorCode::kInvalidArgument,
                "{} workers with {} values in all: every worker needs "
                "the same number of coordinates, at least one",
                workers, x.size());
  if (options.block_log2 < ref::kMinBlockLog2 || options.block_log2 > ref::kMaxBlockLog2)
    return fail(ErrorCode::kInvalidArgument,
                "blocks of 2^{} coordinates; 2^{} to 2^{} are supported", options.block_log2,
                ref::kMinBlockLog2, ref::kMaxBlockLog2);
  KESTREL_TRY(check_table(options.table));
  KESTREL_ASSIGN(const std::vector<unsigned> who, contributors_of(workers, options.contributors));
  KESTREL_TRY(check_sums(who.size(), options.table.granularity, options.sum_bits));

  RoundTrip r;
  r.coordinates = x.size() / workers;
  r.padded = ref::padded_size(r.coordinates);
  r.blocks = ref::split_blocks(r.coordinates, options.block_log2);
  r.contributors = static_cast<unsigned>(who.size());
  const std::vector<Group> groups = groups_of(r.blocks);
  const std::size_t steps = 2 * who.size() + 2;
  std::size_t done = 0;
  const auto tell = [&](std::string_view what) {
    if (options.progress)
      options.progress(what, ++done, steps);
  };

  std::vector<float> y(r.padded);
  const auto padded = [&](unsigned worker) {
    std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(worker * r.coordinates), r.coordinates,
                y.begin());
    return std::span<const float>(y);
  };
  // Names NaN and infinity by their place in the whole tensor, whatever the groups.
  for (const unsigned worker : who)
    for (std::size_t i = 0; i < r.coordinates; ++i)
      if (const float v = x[worker * r.coordinates + i]; !std::isfinite(v))
        return fail(ErrorCode::kInvalidArgument, "worker {}: coordinate {} is {}", worker, i,
                    std::isnan(v) ? "NaN" : "infinite");

  r.norms.assign(r.blocks.size(), 0.0F);
  for (const unsigned worker : who) {
    const auto values = padded(worker);
    for (const Group &g : groups) {
      const std::size_t blocks = g.coordinates >> g.block_log2;
      const auto so_far = std::span(r.norms).subspan(g.first_block, blocks);
      KESTREL_ASSIGN(const Norms norms,
                     of_worker(worker, device.norm({.fp32 = values.subspan(g.first, g.coordinates)},
                                                   g.block_log2, so_far)));
      std::copy(norms.values.begin(), norms.values.end(), so_far.begin());
      r.norm.counters += norms.counters;
      const auto too_large = std::find_if(so_far.begin(), so_far.end(),
                                          [](float norm) { return !std::isfinite(norm); });
      if (too_large != so_far.end())
        return fail(ErrorCode::kInvalidArgument, "worker {}: the norm of block {} exceeds fp32",
                    worker, g.first_block + static_cast<std::size_t>(too_large - so_far.begin()));
    }
    r.norm.coordinates += r.padded;
    tell("norm");
  }
  r.norm.input_coordinates = r.norm.coordinates;

  std::vector<ref::BlockScale> scales;
  for (const float norm : r.norms)
    scales.push_back(ref::make_scale(norm, options.table));

  r.packed.assign(workers * r.padded / 2, 0);
  const auto coding_of = [&](const Group &g) {
    return Coding{.table = options.table,
                  .block_log2 = g.block_log2,
                  .sign_key = ref::sign_key(options.seed, options.round),
                  .noise_key = {},
                  .first = g.first};
  };
  const auto scales_of = [&](const Group &g) {
    return std::span<const ref::BlockScale>(scales).subspan(g.first_block,
                                                            g.coordinates >> g.block_log2);
  };
  for (const unsigned worker : who) {
    const auto values = padded(worker);
    for (const Group &g : groups) {
      Coding coding = coding_of(g);
      coding.noise_key = ref::noise_key(options.seed, options.round, worker);
      KESTREL_ASSIGN(
          const Compressed part,
          of_worker(worker, device.compress({.fp32 = values.subspan(g.first, g.coordinates)},
                                            scales_of(g), coding, false)));
      std::copy(part.packed.begin(), part.packed.end(),
                r.packed.begin() + static_cast<std::ptrdiff_t>((worker * r.padded + g.first) / 2));
      r.out_of_range = r.out_of_range || part.out_of_range;
      r.compress.counters += part.counters;
    }
    r.compress.coordinates += r.padded;
    tell("compress");
  }
  r.compress.input_coordinates = r.compress.coordinates;

  std::vector<std::uint8_t> contributors;
  for (const Group &g : groups) {
    std::vector<std::span<const std::uint8_t>> parts;
    parts.reserve(who.size());
    for (const unsigned worker : who)
      parts.push_back(
          std::span(r.packed).subspan((worker * r.padded + g.first) / 2, g.coordinates / 2));
    KESTREL_ASSIGN(const Sums sums,
                   device.aggregate(parts, options.table, g.block_log2, options.sum_bits));
    r.sums.insert(r.sums.end(), sums.values.begin(), sums.values.end());
    contributors.insert(contributors.end(), sums.contributors.begin(), sums.contributors.end());
    r.sum_bits = sums.bits;
    r.aggregate.counters += sums.counters;
  }
  r.aggregate.coordinates = r.padded;
  r.aggregate.input_coordinates = who.size() * r.padded;
  tell("aggregate");

  for (const Group &g : groups) {
    KESTREL_ASSIGN(const Mean mean,
                   device.decompress(std::span(r.sums).subspan(g.first, g.coordinates), r.sum_bits,
                                     std::span(contributors)
                                         .subspan(g.first / ref::kPacketCoordinates,
                                                  g.coordinates / ref::kPacketCoordinates),
                                     scales_of(g), coding_of(g)));
    r.mean.insert(r.mean.end(), mean.values.begin(), mean.values.end());
    r.out_of_range = r.out_of_range || mean.out_of_range;
    r.decompress.counters += mean.counters;
  }
  r.decompress.coordinates = r.decompress.input_coordinates = r.padded;
  r.mean.resize(r.coordinates);
  tell("decompress");

  r.bytes_up = r.padded / 2 + 4 * r.blocks.size();
  r.bytes_down = r.padded * r.sum_bits / 8 + 4 * r.blocks.size();
  return r;
}

} // namespace kestrel::thc
