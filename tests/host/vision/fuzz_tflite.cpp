// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Damaged model files: deterministic mutations of good ones go through importer, compiler (for the
// edge configuration) and reference executor. Whatever the bytes are, each step either refuses with
// one line that names the file, or hands on something that keeps its promises; memory and time stay
// bounded. Meant for AddressSanitizer and UndefinedBehaviorSanitizer, useful without.
//
// KESTREL_FUZZ_COUNT  mutations (default 3000)
// KESTREL_SEED        seed (default 1)
// KESTREL_FUZZ_ONLY   run only this mutation, to repeat a failure
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/reference.hpp"
#include "kestrel/vision/tflite.hpp"
#include "tests/host/test_data.hpp"
#include "tests/host/vision/tflite_builder.hpp"

// Names that the sanitizers' runtime gives.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));
// UndefinedBehaviorSanitizer does not run that callback: let it abort instead.
extern "C" const char *__ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }
// NOLINTEND(bugprone-reserved-identifier)

namespace kestrel::hv {
namespace {

using Bytes = std::vector<std::uint8_t>;

volatile std::uint64_t current = 0;

void say_where() {
  // Only what is allowed in a signal handler.
  char digits[24];
  std::size_t n = sizeof digits;
  digits[--n] = '\n';
  std::uint64_t v = current;
  do {
    digits[--n] = static_cast<char>('0' + v % 10);
    v /= 10;
  } while (v != 0);
  constexpr char kText[] = "fuzz_tflite: died in mutation KESTREL_FUZZ_ONLY=";
  (void)!write(STDERR_FILENO, kText, sizeof kText - 1);
  (void)!write(STDERR_FILENO, digits + n, sizeof digits - n);
}

extern "C" void on_signal(int number) {
  say_where();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

std::uint64_t number_from(const char *name, std::uint64_t fallback) {
  const char *text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 0) : fallback;
}

/// A good file and where in it the structure lies (everything but the contents of large buffers):
/// mutations there reach the importer's checks, mutations of weights only change results.
struct Seed {
  std::string name;
  Bytes bytes;
  std::vector<std::pair<std::size_t, std::size_t>> structure; ///< [begin, end)
};

Seed make_seed(std::string name, Bytes bytes) {
  Seed seed{std::move(name), std::move(bytes), {}};
  std::vector<std::pair<std::size_t, std::size_t>> bulk;
  const auto *model = test::tfl::GetModel(seed.bytes.data());
  for (const auto *buffer : *model->buffers()) {
    if (buffer->data() != nullptr && buffer->data()->size() > 64) {
      const auto begin = static_cast<std::size_t>(buffer->data()->data() - seed.bytes.data());
      bulk.emplace_back(begin, begin + buffer->data()->size());
    }
  }
  std::sort(bulk.begin(), bulk.end());
  std::size_t at = 0;
  for (const auto &[begin, end] : bulk) {
    if (begin > at) {
      seed.structure.emplace_back(at, begin);
    }
    at = std::max(at, end);
  }
  if (at < seed.bytes.size()) {
    seed.structure.emplace_back(at, seed.bytes.size());
  }
  return seed;
}

std::vector<Seed> make_seeds() {
  std::vector<Seed> seeds;
  seeds.push_back(make_seed("synthetic", test::write_model(test::small_model())));
  auto paths = test::data_networks();
  paths.push_back(test::committed_edge_model());
  for (const auto &path : paths) {
    Bytes bytes = test::file_bytes(path);
    if (!bytes.empty()) {
      seeds.push_back(make_seed(path.filename().string(), std::move(bytes)));
    }
  }
  return seeds;
}

class Mutator {
public:
  Mutator(const std::vector<Seed> &seeds, std::uint64_t seed) : seeds_(seeds), random_(seed) {}

  /// Chooses a good file, small ones more often (a mutation of a large one costs more time).
  const Seed &choose() {
    std::vector<double> weights;
    for (const Seed &s : seeds_) {
      weights.push_back(1.0 / (4000.0 + static_cast<double>(s.bytes.size())));
    }
    std::discrete_distribution<std::size_t> pick(weights.begin(), weights.end());
    return seeds_[pick(random_)];
  }

  Bytes mutate(const Seed &seed) {
    Bytes bytes = seed.bytes;
    for (std::size_t n = 1 + below(3); n > 0 && !bytes.empty(); --n) {
      once(bytes, seed);
    }
    return bytes;
  }

  std::size_t below(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
  }

private:
  /// A position, mostly in the structure.
  std::size_t position(const Bytes &bytes, const Seed &seed) {
    if (below(8) != 0) {
      std::size_t total = 0;
      for (const auto &[begin, end] : seed.structure) {
        total += end - begin;
      }
      std::size_t k = below(total);
      for (const auto &[begin, end] : seed.structure) {
        if (k < end - begin) {
          return std::min(begin + k, bytes.size() - 1);
        }
        k -= end - begin;
      }
    }
    return below(bytes.size());
  }

  void once(Bytes &bytes, const Seed &seed) {
    switch (below(16)) {
    case 0:
    case 1:
    case 2: // flip bits
      for (std::size_t n = 1 + below(8); n > 0; --n) {
        bytes[position(bytes, seed)] ^= static_cast<std::uint8_t>(1U << below(8));
      }
      break;
    case 3:
    case 4: { // set bytes
      constexpr std::array<std::uint8_t, 6> kBytes{0, 1, 0x7f, 0x80, 0xfe, 0xff};
      for (std::size_t n = 1 + below(4); n > 0; --n) {
        bytes[position(bytes, seed)] =
            below(2) == 0 ? kBytes[below(kBytes.size())] : static_cast<std::uint8_t>(below(256));
      }
      break;
    }
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
    case 10: // tweak a 32-bit field
      tweak<std::int32_t>(bytes, position(bytes, seed) & ~std::size_t{3});
      break;
    case 11: // a 64-bit field
      tweak<std::int64_t>(bytes, position(bytes, seed) & ~std::size_t{7});
      break;
    case 12: // truncate
      bytes.resize(below(bytes.size()));
      if (below(2) == 0) {
        bytes.resize(bytes.size() & ~std::size_t{3});
      }
      break;
    case 13: { // splice from this or another file
      const Bytes &other = below(2) == 0 ? seed.bytes : choose().bytes;
      const std::size_t from = below(other.size()) & ~std::size_t{3};
      const std::size_t to = position(bytes, seed) & ~std::size_t{3};
      const std::size_t n = std::min({1 + below(256), other.size() - from, bytes.size() - to});
      std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(from), n,
                  bytes.begin() + static_cast<std::ptrdiff_t>(to));
      break;
    }
    case 14: { // exchange two fields
      const std::size_t a = position(bytes, seed) & ~std::size_t{3};
      const std::size_t b = position(bytes, seed) & ~std::size_t{3};
      if (a + 4 <= bytes.size() && b + 4 <= bytes.size() && a != b) {
        std::swap_ranges(bytes.begin() + static_cast<std::ptrdiff_t>(a),
                         bytes.begin() + static_cast<std::ptrdiff_t>(a) + 4,
                         bytes.begin() + static_cast<std::ptrdiff_t>(b));
      }
      break;
    }
    default: { // take out or put in a few words
      const std::size_t at = position(bytes, seed) & ~std::size_t{3};
      const std::size_t n = std::min(4 * (1 + below(4)), bytes.size() - at);
      const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
      if (below(2) == 0) {
        bytes.erase(begin, begin + static_cast<std::ptrdiff_t>(n));
      } else {
        bytes.insert(begin, n, static_cast<std::uint8_t>(below(256)));
      }
      break;
    }
    }
  }

  template <typename T> void tweak(Bytes &bytes, std::size_t at) {
    if (at + sizeof(T) > bytes.size()) {
      return;
    }
    using U = std::make_unsigned_t<T>;
    const auto old = load_le<U>(bytes, at);
    const std::array<U, 18> values{0,
                                   1,
                                   2,
                                   3,
                                   4,
                                   16,
                                   static_cast<U>(-1),
                                   static_cast<U>(std::numeric_limits<T>::max()),
                                   static_cast<U>(std::numeric_limits<T>::min()),
                                   65535,
                                   65536,
                                   0x7f800000, // float infinity
                                   0x3f800000, // 1.0F
                                   static_cast<U>(old + 1),
                                   static_cast<U>(old - 1),
                                   static_cast<U>(old * 2),
                                   static_cast<U>(old + 4),
                                   static_cast<U>(bytes.size() - at)};
    store_le<U>(bytes, at, values[below(values.size())]);
  }

  const std::vector<Seed> &seeds_;
  std::mt19937_64 random_;
};

/// The message of a refusal is one line that begins with the file's name.
void check_error(const Error &error, const std::string &name) {
  EXPECT_EQ(error.message.rfind(name + ": ", 0), 0U) << error.message;
  EXPECT_LT(error.message.size(), 1000U);
  EXPECT_EQ(error.message.find('\n'), std::string::npos) << error.message;
  EXPECT_NE(error.code, ErrorCode::kInternal) << error.message;
}

/// What graph.hpp promises about an imported graph.
void check_graph(const Graph &graph) {
  const auto count = static_cast<TensorId>(graph.tensors.size());
  ASSERT_EQ(graph.inputs.size(), 1U);
  ASSERT_EQ(graph.outputs.size(), 1U);
  std::vector<bool> ready(graph.tensors.size(), false);
  ready[static_cast<std::size_t>(graph.inputs[0])] = true;
  for (const Tensor &t : graph.tensors) {
    for (const std::int32_t d : t.shape) {
      ASSERT_GE(d, 1);
    }
    ASSERT_LE(t.bytes(), ImportLimits{}.max_tensor_bytes);
    if (t.is_constant) {
      ASSERT_EQ(static_cast<std::int64_t>(t.int8_data.size() + t.int32_data.size()), t.elements());
    } else {
      ASSERT_EQ(t.shape[0], 1);
      ASSERT_EQ(t.quant.scales.size(), 1U);
      ASSERT_GT(t.quant.scale(), 0.0F);
      ASSERT_GE(t.quant.zero_point(), -128);
      ASSERT_LE(t.quant.zero_point(), 127);
    }
  }
  const auto check_requant = [](const std::vector<Multiplier> &requant, std::int32_t channels) {
    ASSERT_EQ(requant.size(), static_cast<std::size_t>(channels));
    for (const Multiplier &m : requant) {
      ASSERT_TRUE(m.multiplier == 0 || m.multiplier >= 1 << 30);
      ASSERT_GE(m.shift, -31);
      ASSERT_LE(m.shift, 30);
    }
  };
  for (const Op &op : graph.ops) {
    for (const TensorId id : activation_inputs(op)) {
      ASSERT_TRUE(id >= 0 && id < count);
      ASSERT_TRUE(ready[static_cast<std::size_t>(id)]);
    }
    const TensorId out = output_of(op);
    ASSERT_TRUE(out >= 0 && out < count);
    ASSERT_FALSE(ready[static_cast<std::size_t>(out)]);
    ready[static_cast<std::size_t>(out)] = true;
    ASSERT_EQ(graph.tensor(out).producer, op.id);
    if (const auto *c = op.as<Conv2D>()) {
      check_requant(c->requant, graph.tensor(out).channels());
    }
    if (const auto *c = op.as<DepthwiseConv2D>()) {
      check_requant(c->requant, graph.tensor(out).channels());
    }
    if (const auto *c = op.as<FullyConnected>()) {
      check_requant(c->requant, graph.tensor(out).channels());
    }
  }
}

struct Tally {
  std::uint64_t files = 0, imported = 0, compiled = 0, executed = 0, compile_tried = 0;
  std::map<std::string, std::uint64_t> import_refusals;
  std::map<std::string, std::uint64_t> compile_refusals;
  double worst_import_s = 0.0;

  void print(std::uint64_t seed, std::size_t seeds, double seconds) const {
    const auto list = [](const std::map<std::string, std::uint64_t> &m) {
      std::string out;
      for (const auto &[name, n] : m) {
        out += fmt::format(" {} {}", name, n);
      }
      return out;
    };
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    fmt::print("KESTREL_SEED={}\n", seed);
    fmt::print("mutations {} of {} models in {:.1f} s; imported {}, refused:{}\n", files, seeds,
               seconds, imported, list(import_refusals));
    fmt::print("compiled {} of {} tried, refused:{}; executed {}\n", compiled, compile_tried,
               list(compile_refusals), executed);
    fmt::print("longest import {:.1f} ms; peak memory {} MiB\n", worst_import_s * 1e3,
               usage.ru_maxrss / 1024);
  }
};

TEST(FuzzTflite, MutatedFiles) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(say_where); // it handles the other signals itself
    std::signal(SIGABRT, on_signal);
  } else {
    for (const int number : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL}) {
      std::signal(number, on_signal);
    }
  }
  const std::uint64_t seed = number_from("KESTREL_SEED", 1);
  const std::uint64_t count = number_from("KESTREL_FUZZ_COUNT", 3000);
  const std::uint64_t only = number_from("KESTREL_FUZZ_ONLY", count);
  const std::vector<Seed> seeds = make_seeds();
  for (const Seed &s : seeds) {
    const auto graph = import_tflite(s.bytes, s.name);
    ASSERT_TRUE(graph) << graph.error().message;
    check_graph(*graph);
  }
  const contract::Config &config = *contract::find_config("edge");
  const auto start = std::chrono::steady_clock::now();
  Tally tally;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (only != count && i != only) {
      continue;
    }
    current = i;
    Mutator mutator(seeds, seed * 0x9e3779b97f4a7c15U + i);
    const Seed &chosen = mutator.choose();
    const Bytes bytes = mutator.mutate(chosen);
    ++tally.files;
    const auto import_start = std::chrono::steady_clock::now();
    const auto graph = import_tflite(bytes, chosen.name);
    tally.worst_import_s = std::max(
        tally.worst_import_s,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - import_start).count());
    if (!graph) {
      ++tally.import_refusals[to_string(graph.error().code)];
      check_error(graph.error(), chosen.name);
    } else {
      ++tally.imported;
      check_graph(*graph);
      // Large networks compile for long; every tenth is enough for them.
      if (bytes.size() < 40'000 || mutator.below(10) == 0) {
        ++tally.compile_tried;
        const auto package = compile(*graph, config);
        if (!package) {
          ++tally.compile_refusals[to_string(package.error().code)];
          EXPECT_NE(package.error().code, ErrorCode::kInternal) << package.error().message;
          EXPECT_FALSE(package.error().message.empty());
        } else {
          ++tally.compiled;
          const auto sound = verify_package(*package);
          EXPECT_TRUE(sound) << sound.error().message;
        }
      }
      if (graph->macs() < 400'000 && graph->input().elements() < 100'000) {
        // Pooling windows are not MACs but take time all the same: bound the maps too.
        const bool small = std::all_of(graph->tensors.begin(), graph->tensors.end(),
                                       [](const Tensor &t) { return t.elements() < 100'000; });
        if (small) {
          const std::vector<std::int8_t> input(static_cast<std::size_t>(graph->input().elements()),
                                               static_cast<std::int8_t>(mutator.below(256) - 128));
          const auto output = run_reference(*graph, input);
          ASSERT_TRUE(output) << output.error().message;
          EXPECT_EQ(static_cast<std::int64_t>(output->size()), graph->output().elements());
          ++tally.executed;
        }
      }
    }
    if (HasFailure()) {
      ADD_FAILURE() << chosen.name << ": repeat with KESTREL_SEED=" << seed
                    << " KESTREL_FUZZ_ONLY=" << i;
      break;
    }
    if ((i + 1) % 10'000 == 0) {
      fmt::print("  {} mutations, {} imported, {} compiled\n", i + 1, tally.imported,
                 tally.compiled);
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  tally.print(seed, seeds.size(), seconds);
  if (only == count && !HasFailure()) {
    EXPECT_EQ(tally.files, count);
    // An idle run cannot pass: both outcomes must have been seen, and each stage reached.
    EXPECT_GT(tally.imported, count / 100);
    EXPECT_GT(tally.files - tally.imported, count / 100);
    EXPECT_GT(tally.compiled, 0U);
    EXPECT_GT(tally.executed, 0U);
    EXPECT_LT(tally.worst_import_s, 5.0);
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    EXPECT_LT(usage.ru_maxrss / 1024, 3072) << "peak memory in MiB";
  }
}

} // namespace
} // namespace kestrel::hv
