// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Confidence scaling: one threshold turns a pair of models, edge and data centre (DC), into a
// continuum of accuracies. The edge's answer stands where its confidence is at least the
// threshold, the DC's answer elsewhere.
//
// For an accuracy target the lowest threshold is chosen that a calibration set supports with a
// finite-sample guarantee. Method and proof: docs/confidence_scaling.md. Sources: Clopper and
// Pearson 1934 (exact binomial bound); Angelopoulos, Bates, Candes, Jordan and Lei, "Learn then
// Test" (arXiv 2110.01052), fixed-sequence testing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kestrel/result.hpp"

namespace kestrel::serve {

/// Accuracy that images in use may lose against the calibration set before a target is missed.
inline constexpr double kDefaultDriftAllowance = 0.01;

/// A threshold that no confidence meets: everything is offloaded.
inline constexpr std::uint32_t kAlwaysOffload = 65536;

/// What the confidence is, as the engine's confidence unit names it.
enum class Selector : std::uint8_t { kTop1 = 0, kMargin = 1 };
[[nodiscard]] const char *to_string(Selector selector) noexcept; ///< "top1", "margin"

/// One image of the calibration set.
struct CalibrationSample {
  std::uint16_t confidence = 0; ///< unsigned Q0.16, what the confidence unit compares
  bool edge_correct = false;
  bool dc_correct = false;
};

/// All samples of one confidence value.
struct CalibrationStep {
  std::uint16_t confidence = 0;
  std::uint32_t samples = 0; ///< >= 1
  std::uint32_t edge_correct = 0;
  std::uint32_t dc_correct = 0;
  friend bool operator==(const CalibrationStep &, const CalibrationStep &) = default;
};

/// Where one threshold stands on the calibration set.
struct OperatingPoint {
  std::uint32_t threshold = 0;
  double offloaded_share = 0; ///< of the calibration set
  double accuracy = 0;        ///< combined, point estimate
  double lower_bound = 0;     ///< one-sided Clopper-Pearson bound for this threshold alone
};

/// The threshold for a target.
struct Choice {
  double target = 0;
  OperatingPoint point;
  /// The guarantee holds. False: no threshold could be certified, and `point` is the most accurate
  /// one of the calibration set; answers must be marked as below target.
  bool reached = false;
};

/// One-sided Clopper-Pearson lower bound of a binomial proportion: with probability at least
/// `confidence_level` over the samples the true proportion is above it. 0 when correct is 0.
/// Preconditions: correct <= samples, samples >= 1, 0 < confidence_level < 1.
[[nodiscard]] double lower_bound(std::uint64_t correct, std::uint64_t samples,
                                 double confidence_level);

/// Calibration results and all that is needed to choose a threshold for any target.
class Calibration {
public:
  /// \param drift_allowance thresholds are chosen for target + drift_allowance, so that the target
  /// holds for images on which the pair is less accurate by up to so much (0..0.5).
  /// Errors: kInvalidArgument (no samples, a confidence level outside 0.5..1, such an allowance).
  [[nodiscard]] static Result<Calibration> from_samples(std::span<const CalibrationSample> samples,
                                                        Selector selector,
                                                        double confidence_level = 0.95,
                                                        double drift_allowance = 0.0);
  /// From the table's steps, ascending in confidence. Error: kInvalidArgument (not ascending,
  /// counts that contradict each other).
  [[nodiscard]] static Result<Calibration> from_steps(std::vector<CalibrationStep> steps,
                                                      Selector selector, double confidence_level,
                                                      double drift_allowance = 0.0);

  /// The lowest threshold whose combined accuracy is at least `target` plus the drift allowance
  /// with the stated confidence.
  /// A tenth of the error probability goes to the test of "never offload" (threshold 0), the rest
  /// to testing thresholds downward from "always offload", stopping at the first that fails.
  /// Error: kInvalidArgument (target outside 0..1).
  [[nodiscard]] Result<Choice> choose(double target) const;

  /// The point of any threshold 0..65536.
  [[nodiscard]] OperatingPoint at(std::uint32_t threshold) const;

  /// Points from "never" to "always offload", at most `points` of them at about equal distances in
  /// offloaded share, both ends included.
  [[nodiscard]] std::vector<OperatingPoint> curve(std::size_t points) const;

  /// Expected calibration error of the edge: mean distance between confidence and accuracy over
  /// `bins` equal intervals of confidence, weighted by samples (Guo et al. 2017). Meaningful for
  /// the selector top1, whose confidence claims to be a probability.
  [[nodiscard]] double expected_calibration_error(int bins = 15) const;

  [[nodiscard]] Selector selector() const noexcept { return selector_; }
  [[nodiscard]] double confidence_level() const noexcept { return confidence_level_; }
  [[nodiscard]] double drift_allowance() const noexcept { return drift_allowance_; }
  [[nodiscard]] std::uint64_t samples() const noexcept { return samples_; }
  [[nodiscard]] const std::vector<CalibrationStep> &steps() const noexcept { return steps_; }
  [[nodiscard]] double edge_accuracy() const { return at(0).accuracy; }
  [[nodiscard]] double dc_accuracy() const { return at(kAlwaysOffload).accuracy; }

private:
  Calibration() = default;
  [[nodiscard]] std::uint64_t correct_at(std::uint32_t threshold, std::uint64_t &offloaded) const;
  std::vector<CalibrationStep> steps_;
  /// Of the steps before i: samples, edge and DC correct. One entry more than steps.
  std::vector<std::uint64_t> below_samples_, below_edge_, below_dc_;
  Selector selector_ = Selector::kTop1;
  double confidence_level_ = 0.95;
  double drift_allowance_ = 0.0;
  std::uint64_t samples_ = 0;
};

/// The threshold table as a file: which models, on which data, and the calibration.
struct ThresholdTable {
  std::string edge_model;  ///< file name
  std::string edge_sha256; ///< of the file's bytes, lower-case hexadecimal
  std::string dc_model;
  std::string dc_sha256;
  std::string data; ///< what the calibration set is
  Calibration calibration;
  std::vector<Choice> choices; ///< for some targets, for people to read; not read back
};

/// JSON text of the table.
[[nodiscard]] std::string to_json(const ThresholdTable &table);
/// Reads it. `name` is named in errors: kParse, kVersionMismatch, kInvalidArgument.
[[nodiscard]] Result<ThresholdTable> parse_threshold_table(std::string_view json,
                                                           const std::string &name);
[[nodiscard]] Result<void> save_threshold_table(const ThresholdTable &table,
                                                const std::string &path);
[[nodiscard]] Result<ThresholdTable> load_threshold_table(const std::string &path);

/// SHA-256 of a file, lower-case hexadecimal. Errors: kNotFound, kIo.
[[nodiscard]] Result<std::string> file_sha256(const std::string &path);

} // namespace kestrel::serve
