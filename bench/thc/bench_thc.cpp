// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Speed of the fast THC codec on one core of this machine, in bytes of fp32 coordinates a second,
// for a tensor of 2^20 coordinates in blocks of 2^15 and 2^12. Before anything is timed its results
// are compared with codec.hpp, bit for bit; a difference is an error. memcpy and a plain
// floating-point transform stand beside it for scale.
//
// The goal: what a worker does to a tensor in a round, y = x + e, norms, compress with error
// feedback and decompress, at 1 GB/s or more (bytes of the tensor, counted once, by the time of all
// four).
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <new>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "sw_ref/thc/codec.hpp"
#include "sw_ref/thc/fast.hpp"
#include "sw_ref/thc/fixed.hpp"

namespace kestrel::thc::ref {
namespace {

constexpr std::size_t kCoordinates = std::size_t{1} << 20;
constexpr std::int64_t kBytes = kCoordinates * sizeof(float);
constexpr unsigned kWorkers = 4;
constexpr double kGoal = 1e9;
const std::string kWholeRound = "round_with_feedback";

// Buffers that begin on a cache line, as those of tensor libraries do.
template <typename T> struct Aligned {
  using value_type = T;
  Aligned() = default;
  template <typename U> explicit Aligned(const Aligned<U> & /*other*/) {}
  T *allocate(std::size_t n) {
    return static_cast<T *>(::operator new (n * sizeof(T), std::align_val_t{64}));
  }
  void deallocate(T *p, std::size_t /*n*/) { ::operator delete (p, std::align_val_t{64}); }
  friend bool operator==(const Aligned & /*a*/, const Aligned & /*b*/) { return true; }
};
template <typename T> using Buffer = std::vector<T, Aligned<T>>;

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// One worker's tensor and everything that is made of it.
struct Bench {
  Bench(FastPath path, int max_log2) : codec(Table{}, max_log2, path) {
    std::mt19937_64 random(17);
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < kCoordinates; ++i) {
      x[i] = normal(random);
      e[i] = 0.1F * normal(random);
    }
    norms.resize(codec.blocks(kCoordinates));
    scales.resize(norms.size());
    fault = check();
  }

  void compress(std::span<float> rest) {
    benchmark::DoNotOptimize(codec.compress(y, scales, sign, noise, 0, packed, rest));
  }
  void decompress() {
    benchmark::DoNotOptimize(codec.decompress(sums, contributors, scales, sign, 0, mean));
  }

  // Every step by the fast codec and by the reference; what differs, or nothing.
  std::string check() {
    if (codec.add(x, e, y))
      return "add";
    codec.norms(y, norms);
    codec.scales(norms, scales);
    compress(error);
    const Buffer<std::uint8_t> with_error = packed;
    compress({});
    if (packed != with_error)
      return "indices without error feedback";
    for (unsigned w = 0; w < kWorkers; ++w) // as if all had sent the same
      if (codec.aggregate(packed, sums,
                          w == 0 ? FastCodec::Sums::Overwrite : FastCodec::Sums::Add) != 0)
        return "aggregate";
    decompress();
    codec.aggregate(packed, sums8, FastCodec::Sums::Overwrite);

    for (std::size_t i = 0; i < kCoordinates; ++i)
      if (std::bit_cast<std::uint32_t>(y[i]) != std::bit_cast<std::uint32_t>(add_ftz(x[i], e[i])))
        return "add";
    const Table &table = codec.table();
    const std::vector<std::uint8_t> indices = unpack_nibbles(packed);
    std::size_t at = 0;
    std::size_t b = 0;
    for (const int k : split_blocks(kCoordinates, codec.max_block_log2())) {
      const std::size_t n = std::size_t{1} << k;
      const auto block = std::span<const float>(y).subspan(at, n);
      if (norms[b] != block_norm(block) || scales[b] != make_scale(norms[b], table))
        return "norm";
      const Compressed want = compress_block(block, scales[b], table, sign, noise, at);
      if (!std::equal(want.indices.begin(), want.indices.end(),
                      indices.begin() + static_cast<std::ptrdiff_t>(at)))
        return "indices";
      if (!same_bits(want.error, std::span<const float>(error).subspan(at, n)))
        return "error feedback";
      std::vector<std::uint32_t> total(n);
      for (unsigned w = 0; w < kWorkers; ++w)
        aggregate(want.indices, table, total);
      for (std::size_t i = 0; i < n; ++i)
        if (sums[at + i] != total[i] || sums8[at + i] * kWorkers != total[i])
          return "sums";
      Flags flags;
      const std::vector<std::uint8_t> counts(n / kPacketCoordinates, kWorkers);
      if (!same_bits(decompress_block(total, counts, scales[b], table, sign, at, flags),
                     std::span<const float>(mean).subspan(at, n)))
        return "means";
      at += n;
      ++b;
    }
    return codec.slow_blocks() == 0 ? "" : "blocks left to the reference";
  }

  FastCodec codec;
  Words2 sign = sign_key(1, 0);
  Words2 noise = noise_key(1, 0, 0);
  Buffer<float> x = Buffer<float>(kCoordinates);
  Buffer<float> e = x;
  Buffer<float> y = x;
  Buffer<float> error = x;
  Buffer<float> mean = x;
  std::vector<float> norms;
  std::vector<BlockScale> scales;
  Buffer<std::uint8_t> packed = Buffer<std::uint8_t>(kCoordinates / 2);
  Buffer<std::uint16_t> sums = Buffer<std::uint16_t>(kCoordinates);
  Buffer<std::uint8_t> sums8 = Buffer<std::uint8_t>(kCoordinates);
  std::vector<std::uint8_t> contributors =
      std::vector<std::uint8_t>(kCoordinates / kPacketCoordinates, kWorkers);
  std::string fault;
};

Bench &bench_of(FastPath path, int max_log2) {
  static std::map<std::pair<FastPath, int>, Bench> all;
  return all.try_emplace({path, max_log2}, path, max_log2).first->second;
}

struct Step {
  std::string name;
  std::function<void(Bench &)> run;
};

const std::vector<Step> &steps() {
  static const std::vector<Step> all = {
      {"add", [](Bench &b) { benchmark::DoNotOptimize(b.codec.add(b.x, b.e, b.y)); }},
      {"norms", [](Bench &b) { b.codec.norms(b.y, b.norms); }},
      {"compress", [](Bench &b) { b.compress({}); }},
      {"compress_with_feedback", [](Bench &b) { b.compress(b.error); }},
      {"aggregate_8bit",
       [](Bench &b) { b.codec.aggregate(b.packed, b.sums8, FastCodec::Sums::Add); }},
      {"aggregate_16bit",
       [](Bench &b) { b.codec.aggregate(b.packed, b.sums, FastCodec::Sums::Add); }},
      {"decompress", [](Bench &b) { b.decompress(); }},
      {"norms+compress+decompress",
       [](Bench &b) {
         b.codec.norms(b.y, b.norms);
         b.codec.scales(b.norms, b.scales);
         b.compress({});
         b.decompress();
       }},
      {kWholeRound,
       [](Bench &b) {
         benchmark::DoNotOptimize(b.codec.add(b.x, b.e, b.y));
         b.codec.norms(b.y, b.norms);
         b.codec.scales(b.norms, b.scales);
         b.compress(b.error);
         b.decompress();
       }},
  };
  return all;
}

void run_step(benchmark::State &state, FastPath path, int max_log2, const Step &step) {
  Bench &b = bench_of(path, max_log2);
  if (!b.fault.empty()) {
    state.SkipWithError(("not what the reference gives: " + b.fault).c_str());
    return;
  }
  // Sums as decompress() expects them; the ones before added to them.
  b.codec.aggregate(b.packed, b.sums, FastCodec::Sums::Overwrite);
  for (auto _ : state) {
    step.run(b);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * kBytes);
}

void copy(benchmark::State &state) {
  const Buffer<float> from(kCoordinates, 1.0F);
  Buffer<float> to(kCoordinates);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), kBytes);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * kBytes);
}

// The textbook's Walsh-Hadamard transform, in place, then the factor that makes it orthonormal.
void plain_transform(float *x, std::size_t n) {
  for (std::size_t stride = 1; stride < n; stride *= 2)
    for (std::size_t base = 0; base < n; base += 2 * stride)
      for (std::size_t i = base; i < base + stride; ++i) {
        const float a = x[i];
        const float b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
      }
  const float scale = 1.0F / std::sqrt(static_cast<float>(n));
  for (std::size_t i = 0; i < n; ++i)
    x[i] *= scale;
}

void float_transform(benchmark::State &state) {
  const std::size_t n = std::size_t{1} << state.range(0);
  Buffer<float> x(kCoordinates);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (float &v : x)
    v = normal(random);
  // Twice is the identity.
  const Buffer<float> before = x;
  for (int twice = 0; twice < 2; ++twice)
    plain_transform(x.data(), n);
  for (std::size_t i = 0; i < n; ++i)
    if (!(std::fabs(x[i] - before[i]) < 1e-4F)) {
      state.SkipWithError("the transform is not its own inverse");
      return;
    }
  for (auto _ : state) {
    for (std::size_t at = 0; at < kCoordinates; at += n)
      plain_transform(x.data() + at, n);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * kBytes);
}

std::string block_name(int max_log2) { return "/block_log2_" + std::to_string(max_log2) + "/"; }

// Prints, notes errors and keeps the rates of the whole round.
class Reporter : public benchmark::ConsoleReporter {
public:
  Reporter() : ConsoleReporter(OO_None) {}
  void ReportRuns(const std::vector<Run> &runs) override {
    for (const Run &r : runs) {
      failed = failed || r.error_occurred;
      const auto rate = r.counters.find("bytes_per_second");
      // With --benchmark_report_aggregates_only the single runs do not get here.
      const bool counts = r.run_type == Run::RT_Iteration || r.aggregate_name == "median";
      if (counts && rate != r.counters.end())
        rates[r.run_name.function_name].push_back(rate->second.value);
    }
    benchmark::ConsoleReporter::ReportRuns(runs);
  }
  bool failed = false;
  std::map<std::string, std::vector<double>> rates;
};

void report_goal(Reporter &reporter) {
  for (const int max_log2 : {15, 12}) {
    const std::string name = to_string(default_fast_path()) + block_name(max_log2) + kWholeRound;
    std::vector<double> &rates = reporter.rates[name];
    if (rates.empty())
      continue;
    std::sort(rates.begin(), rates.end());
    const double median = rates[rates.size() / 2];
    std::printf("goal of 1 GB/s on one core, %s: %s, median %.2f GB/s, from %.2f to %.2f "
                "(processor time)\n",
                name.c_str(), median >= kGoal ? "met" : "NOT met", median * 1e-9,
                rates.front() * 1e-9, rates.back() * 1e-9);
  }
}

} // namespace
} // namespace kestrel::thc::ref

int main(int argc, char **argv) {
  using namespace kestrel::thc::ref;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 2;
  benchmark::RegisterBenchmark("memcpy", copy);
  benchmark::RegisterBenchmark("float_transform/block_log2", float_transform)->Arg(15)->Arg(12);
  std::vector<FastPath> paths = fast_paths();
  std::reverse(paths.begin(), paths.end());
  for (const FastPath path : paths)
    for (const int max_log2 : {15, 12})
      for (const Step &step : steps())
        benchmark::RegisterBenchmark((to_string(path) + block_name(max_log2) + step.name).c_str(),
                                     run_step, path, max_log2, step);
  Reporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  report_goal(reporter);
  return reporter.failed ? 1 : 0;
}
