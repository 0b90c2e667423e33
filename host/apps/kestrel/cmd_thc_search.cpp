// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel thc search: the best quantisation table for a number of workers and a lane width.
#include "cli.hpp"

#include <algorithm>
#include <memory>

#include "sw_ref/thc/solver.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  unsigned workers = 8;
  unsigned sum_bits = 8;
  unsigned bits = 4;
  std::size_t top = 5;
  std::string json;
};

nlohmann::json choice_json(const thc::ref::TableChoice &choice) {
  return {{"bits", choice.table.bits},
          {"granularity", choice.table.granularity},
          {"p", choice.p},
          {"t", choice.table.t},
          {"table", choice.table.values},
          {"symmetric", choice.symmetric},
          {"rounding_error", choice.rounding},
          {"truncation_error", choice.truncation},
          {"nmse", choice.nmse}};
}

std::string choice_text(const thc::ref::TableChoice &choice) {
  return fmt::format("{} bits, g {}, p {:.6f} (t {:.4f}){}: NMSE {:.6f}\n  {}\n", choice.table.bits,
                     choice.table.granularity, choice.p, choice.table.t,
                     choice.symmetric ? "" : ", asymmetric", choice.nmse,
                     fmt::join(choice.table.values, " "));
}

Result<void> search(const Options &options) {
  const unsigned most = thc::ref::max_granularity(options.workers, options.sum_bits);
  if (most + 1 < 1U << options.bits) {
    return fail(ErrorCode::kInvalidArgument,
                "{} workers leave {}-bit sums a granularity of {}; a table of {} bits needs {}",
                options.workers, options.sum_bits, most, options.bits, (1U << options.bits) - 1);
  }
  thc::ref::TableSearch what;
  what.bits = options.bits;
  what.workers = options.workers;
  what.sum_bits = options.sum_bits;
  const auto ranking = thc::ref::best_tables(what);
  const auto published = thc::ref::best_published(options.bits, options.workers, options.sum_bits);
  const thc::ref::TableChoice &best = ranking.front();
  const std::size_t shown = std::min(options.top, ranking.size());
  if (!options.json.empty()) {
    nlohmann::json list = nlohmann::json::array();
    for (std::size_t i = 0; i < shown; ++i) {
      list.push_back(choice_json(ranking[i]));
    }
    KESTREL_TRY(write_json(options.json,
                           {{"workers", options.workers},
                            {"sum_bits", options.sum_bits},
                            {"best", choice_json(best)},
                            {"published", published ? choice_json(*published) : nlohmann::json{}},
                            {"ranking", list}}));
  }
  if (options.json == "-") {
    return {};
  }
  fmt::print("{} workers, sums of {} bits, indices of {} bits: g up to {}\n"
             "Predicted NMSE of the mean of equal gradients, normally distributed coordinates.\n\n"
             "best table      {}",
             options.workers, options.sum_bits, options.bits, most, choice_text(best));
  if (published) {
    fmt::print("best published  {}error {:.1f} % lower than the published table's\n",
               choice_text(*published), 100.0 * (1.0 - best.nmse / published->nmse));
  } else {
    fmt::print("no published table fits\n");
  }
  fmt::print("\n{:>4} {:>10} {:>8} {:>10}  table\n", "g", "p", "t", "NMSE");
  for (std::size_t i = 0; i < shown; ++i) {
    const thc::ref::TableChoice &c = ranking[i];
    fmt::print("{:>4} {:>10.6f} {:>8.4f} {:>10.6f}  {}\n", c.table.granularity, c.p, c.table.t,
               c.nmse, fmt::join(c.table.values, " "));
  }
  return {};
}

} // namespace

void add_thc_search(CLI::App &thc, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command = thc.add_subcommand(
      "search", "The best table for a number of workers, beside the best published one");
  command->footer("Tries every granularity that the sums have room for, and the clamp, with the\n"
                  "exact table solver; symmetric and asymmetric tables.\n"
                  "\n"
                  "Examples:\n"
                  "  kestrel thc search --workers 8\n"
                  "  kestrel thc search --workers 15 --sum-bits 8 --bits 4 --json -\n"
                  "  kestrel thc search --workers 64 --sum-bits 16 --top 10");
  command->add_option("--workers", options->workers, "Contributions to a sum")
      ->check(CLI::Range(1U, thc::ref::kMaxContributors))
      ->capture_default_str();
  command->add_option("--sum-bits", options->sum_bits, "Width of a sum on the wire: 8 or 16")
      ->check(CLI::IsMember({8U, 16U}))
      ->capture_default_str();
  command->add_option("--bits", options->bits, "Bits of an index")
      ->check(CLI::Range(1U, thc::ref::kMaxIndexBits))
      ->capture_default_str();
  command->add_option("--top", options->top, "Granularities to list")
      ->check(CLI::Range(0, 255))
      ->capture_default_str();
  command->add_option("--json", options->json, "The same for machines, - for stdout")
      ->type_name("FILE");
  command->callback([options, &status] { status = finish("thc search", search(*options)); });
}

} // namespace kestrel::cli
