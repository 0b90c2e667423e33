// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel thc schemes: error and traffic of THC and its peers on the same gradients.
#include "cli.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "sw_ref/thc/schemes.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  unsigned workers = 4;
  unsigned log2 = 16;
  unsigned bits = 4;
  unsigned granularity = 30;
  double p = 1.0 / 32;
  double common = 1.0;
  std::string data = "gaussian";
  std::vector<std::string> schemes;
  unsigned rounds = 16;
  unsigned repeats = 4;
  std::uint64_t seed = 1;
  std::string json;
};

struct Row {
  std::string name;
  std::size_t bytes_up = 0;
  std::size_t bytes_down = 0;
  double nmse = 0.0;
  double nmse_spread = 0.0; ///< standard error over the repeats
  double nmse_mean = 0.0;
  bool unbiased = false;
  bool feedback = false;
  bool summable = false;
};

/// Gradients of all workers: a common part and a part of each, of unit power together.
std::vector<std::vector<float>> make_gradients(const Options &options, std::mt19937_64 &random) {
  const std::size_t count = std::size_t{1} << options.log2;
  std::normal_distribution<double> normal;
  const auto draw = [&] {
    std::vector<double> x(count);
    for (double &v : x) {
      const double a = normal(random);
      // Log-normal magnitudes: a few coordinates carry most of the power.
      v = options.data == "gaussian" ? a : std::copysign(std::exp(1.5 * normal(random)), a);
    }
    return x;
  };
  const std::vector<double> shared = draw();
  std::vector<std::vector<float>> gradients;
  for (unsigned w = 0; w < options.workers; ++w) {
    const std::vector<double> own = options.common < 1.0 ? draw() : std::vector<double>(count);
    std::vector<float> &x = gradients.emplace_back(count);
    for (std::size_t i = 0; i < count; ++i) {
      x[i] = static_cast<float>(std::sqrt(options.common) * shared[i] +
                                std::sqrt(1.0 - options.common) * own[i]);
    }
  }
  return gradients;
}

thc::ref::SchemeOptions scheme_options(const Options &options, std::uint64_t seed) {
  thc::ref::SchemeOptions result;
  result.workers = options.workers;
  result.count = std::size_t{1} << options.log2;
  result.seed = seed;
  result.bits = options.bits;
  result.granularity = options.granularity;
  result.p = options.p;
  return result;
}

Result<void> schemes(const Options &options) {
  std::vector<std::string> names = options.schemes;
  if (names.empty()) {
    names.assign(thc::ref::scheme_names().begin(), thc::ref::scheme_names().end());
  }
  std::vector<Row> rows;
  for (const std::string &name : names) {
    if (const auto error = thc::ref::scheme_error(name, scheme_options(options, 0))) {
      return fail(ErrorCode::kInvalidArgument, "{}", *error);
    }
    rows.push_back({name});
  }
  std::mt19937_64 random(options.seed);
  std::vector<double> squares(rows.size());
  for (unsigned repeat = 0; repeat < options.repeats; ++repeat) {
    const auto gradients = make_gradients(options, random);
    const std::uint64_t seed = random();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Row &row = rows[i];
      const auto scheme = thc::ref::make_scheme(row.name, scheme_options(options, seed));
      const auto figures = thc::ref::measure(*scheme, gradients, options.rounds);
      row.bytes_up = figures.bytes_up;
      row.bytes_down = figures.bytes_down;
      row.nmse += figures.nmse / options.repeats;
      squares[i] += figures.nmse * figures.nmse / options.repeats;
      row.nmse_mean += figures.nmse_mean / options.repeats;
      row.unbiased = scheme->unbiased();
      row.feedback = scheme->error_feedback();
      row.summable = scheme->sums_stay_compressed();
    }
  }
  nlohmann::json list = nlohmann::json::array();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Row &row = rows[i];
    row.nmse_spread =
        options.repeats > 1
            ? std::sqrt(std::max(0.0, squares[i] - row.nmse * row.nmse) / (options.repeats - 1))
            : 0.0;
    list.push_back({{"scheme", row.name},
                    {"bytes_up", row.bytes_up},
                    {"bytes_down", row.bytes_down},
                    {"nmse", row.nmse},
                    {"nmse_standard_error", row.nmse_spread},
                    {"nmse_of_mean", row.nmse_mean},
                    {"unbiased", row.unbiased},
                    {"error_feedback", row.feedback},
                    {"sums_stay_compressed", row.summable}});
  }
  const double plain = 4.0 * std::exp2(options.log2);
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, {{"workers", options.workers},
                                          {"coordinates", std::size_t{1} << options.log2},
                                          {"data", options.data},
                                          {"common", options.common},
                                          {"rounds", options.rounds},
                                          {"repeats", options.repeats},
                                          {"uncompressed_bytes", plain},
                                          {"schemes", list}}));
  }
  if (options.json == "-") {
    return {};
  }
  fmt::print("{} workers, {} coordinates, {} data, common share of the power {:g}; bytes of a "
             "worker and round;\nNMSE of one round and of the average of {} rounds of the same "
             "gradients, over {} repeats\n\n",
             options.workers, std::size_t{1} << options.log2, options.data, options.common,
             options.rounds, options.repeats);
  fmt::print("{:<9} {:>10} {:>7} {:>10} {:>7} {:>9} {:>9} {:>9}  {:<8} {:<8} {}\n", "scheme",
             "bytes up", "of fp32", "bytes down", "of fp32", "NMSE", "+-", "averaged", "unbiased",
             "feedback", "sums stay compressed");
  for (const Row &row : rows) {
    fmt::print("{:<9} {:>10} {:>6.2f}% {:>10} {:>6.2f}% {:>9.5f} {:>9.5f} {:>9.6f}  {:<8} {:<8} "
               "{}\n",
               row.name, row.bytes_up, 100.0 * static_cast<double>(row.bytes_up) / plain,
               row.bytes_down, 100.0 * static_cast<double>(row.bytes_down) / plain, row.nmse,
               row.nmse_spread, row.nmse_mean, row.unbiased ? "yes" : "no",
               row.feedback ? "yes" : "no", row.summable ? "yes" : "no");
  }
  return {};
}

} // namespace

void add_thc_schemes(CLI::App &thc, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command =
      thc.add_subcommand("schemes", "Compare THC with other ways of compressing gradients");
  command->footer(
      "Runs the reference of each scheme on the same random gradients, down to the "
      "bytes it would\nsend. docs/thc_schemes.md explains the columns.\n"
      "\n"
      "Examples:\n"
      "  kestrel thc schemes --workers 4 --log2 16\n"
      "  kestrel thc schemes --common 0 --workers 8          gradients without anything "
      "in common\n"
      "  kestrel thc schemes --data lognormal --schemes thc,topk --json -");
  command->add_option("--workers", options->workers, "Workers")
      ->check(CLI::Range(1U, thc::ref::kMaxContributors))
      ->capture_default_str();
  command->add_option("--log2", options->log2, "Coordinates of a gradient, as a power of two")
      ->check(CLI::Range(0U, 24U))
      ->capture_default_str();
  command
      ->add_option("--bits", options->bits,
                   "Bits a coordinate (thc, uhc, qsgd, eden; topk sends as many bytes)")
      ->check(within<unsigned>())
      ->capture_default_str();
  command->add_option("--granularity", options->granularity, "Grid of THC's table values, g")
      ->check(within<unsigned>())
      ->capture_default_str();
  command->add_option("--p", options->p, "Share of coordinates that the clamp may cut (thc, uhc)")
      ->check(kClampShare)
      ->capture_default_str();
  command
      ->add_option("--common", options->common,
                   "Share of each gradient's power that all workers have in common; 1: equal")
      ->check(kShare)
      ->capture_default_str();
  command->add_option("--data", options->data, "Distribution: gaussian or lognormal")
      ->check(CLI::IsMember({"gaussian", "lognormal"}))
      ->capture_default_str();
  command->add_option("--schemes", options->schemes, "Which ones (default: all)")->delimiter(',');
  command->add_option("--rounds", options->rounds, "Rounds to average")
      ->check(CLI::Range(1U, 10000U))
      ->capture_default_str();
  command->add_option("--repeats", options->repeats, "Fresh gradients")
      ->check(CLI::Range(1U, 10000U))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of everything random")
      ->check(within<std::uint64_t>())
      ->capture_default_str();
  command->add_option("--json", options->json, "The same for machines, - for stdout")
      ->type_name("FILE");
  command->callback([options, &status] { status = finish("thc schemes", schemes(*options)); });
}

} // namespace kestrel::cli
