// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What the subcommands of the program share.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "kestrel/memory_model.hpp"
#include "kestrel/range.hpp"
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

/// Writes `json` to a file in one step (write_file), "-" for standard output. Error: kIo.
[[nodiscard]] Result<void> write_json(const std::string &path, const nlohmann::json &json);

/// Hands over what was printed. Error: kIo, with the reason, if any of it could not be written.
[[nodiscard]] Result<void> flush_output();

/// A place below the prefix that the program is installed in (PREFIX/bin/kestrel), if it is there:
/// an installed tree can be moved as a whole.
[[nodiscard]] std::optional<std::string> installed(const std::string &place);

/// `folder`, or where the project's models lie: the environment variable KESTREL_MODELS, else
/// share/kestrel/models beside the installed program, else models/ of the source tree that the
/// program was built from.
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
            errno = 0;
            // CLI11 lets -1 pass for the largest unsigned number.
            const bool good = !(std::is_unsigned_v<T> && text.starts_with('-')) &&
                              CLI::detail::lexical_cast(text, value) && errno != ERANGE &&
                              value >= low && value <= high;
            return good ? std::string() : fmt::format("Value {} not in range {}", text, range);
          },
          range, "WITHIN"};
}
/// The same from a row of a table of ranges.
template <typename T = double> [[nodiscard]] CLI::Validator within(const Range &range) {
  return within<T>(static_cast<T>(range.low), static_cast<T>(range.high));
}

/// Ranges of numbers that several commands take.
inline constexpr std::array<Range, 4> kRanges{{
    {"clock-mhz", 0.001, 1e6},
    {"seconds", 0.001, 1e6},
    {"share", 0.0, 1.0},
    {"p", 1e-9, 0.999999},
}};
inline const CLI::Validator kClockMhz = within(range_of(kRanges, "clock-mhz"));
inline const CLI::Validator kSeconds = within(range_of(kRanges, "seconds"));
inline const CLI::Validator kShare = within(range_of(kRanges, "share"));
inline const CLI::Validator kClampShare = within(range_of(kRanges, "p"));

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
