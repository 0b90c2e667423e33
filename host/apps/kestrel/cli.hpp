// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the subcommands of the program share.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "kestrel/memory_model.hpp"
#include "kestrel/result.hpp"

namespace kestrel::cli {

/// Each adds one subcommand to `app`; when it is the one called, it runs and leaves the program's
/// exit status in `status`.
void add_run(CLI::App &app, int &status);
void add_compile(CLI::App &app, int &status);
void add_calibrate(CLI::App &app, int &status);
void add_dc(CLI::App &app, int &status);
void add_demo(CLI::App &app, int &status);
void add_info(CLI::App &app, int &status);
void add_aggregator(CLI::App &app, int &status);
void add_board_sim(CLI::App &app, int &status);
void add_esa(CLI::App &app, int &status);
void add_esa_simulate(CLI::App &esa, int &status); ///< below `esa`
void add_esa_campaign(CLI::App &esa, int &status); ///< below `esa`
void add_thc(CLI::App &app, int &status);

/// Each adds one subcommand to `kestrel thc`.
void add_thc_search(CLI::App &thc, int &status);
void add_thc_schemes(CLI::App &thc, int &status);

/// Exit status of a command: 0, or 1 with one sentence on standard error that begins with the
/// command's name.
[[nodiscard]] int finish(std::string_view command, const Result<void> &result);

/// Writes `json` to a file, "-" for standard output. Error: kIo.
[[nodiscard]] Result<void> write_json(const std::string &path, const nlohmann::json &json);

/// `folder`, or where the project's models lie: the environment variable KESTREL_MODELS, else
/// models/ of the source tree that the program was built from.
[[nodiscard]] std::string models_folder(const std::string &folder);

inline constexpr const char *kEdgeModel = "edge/fmnist_edge_int8.tflite";
inline constexpr const char *kDcModel = "dc/fmnist_dc.onnx";
inline constexpr const char *kThresholds = "calibration.json";

/// Bounds of an option of type T. Every number has some, so that one that is too large is answered
/// with the range, and not with a conversion that failed.
template <typename T>
[[nodiscard]] CLI::Validator within(T low = std::numeric_limits<T>::min(),
                                    T high = std::numeric_limits<T>::max()) {
  const std::string range = fmt::format("{} to {}", low, high);
  return {[low, high, range](std::string &text) -> std::string {
            T value{};
            // CLI11 lets -1 pass for the largest unsigned number.
            const bool good = !(std::is_unsigned_v<T> && text.starts_with('-')) &&
                              CLI::detail::lexical_cast(text, value) && value >= low &&
                              value <= high;
            return good ? std::string() : fmt::format("Value {} not in range {}", text, range);
          },
          range, "WITHIN"};
}
inline const CLI::Range kPort(0, 65535);
inline const CLI::Range kReadLatency(1, 1'000'000);

/// --memory and --read-latency of a command.
struct MemoryOption {
  std::string text; ///< empty: the command's default
  std::uint32_t read_latency = 0;

  void add_to(CLI::App &command);
  /// What they say; `name` is the memory without --memory. Error: kInvalidArgument.
  [[nodiscard]] Result<MemoryModel> model(std::string_view name = "assumed") const;
};

/// Worker threads to use when a command's --jobs is 0.
[[nodiscard]] unsigned default_jobs();

} // namespace kestrel::cli
