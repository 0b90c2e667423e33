// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/calibration.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <memory>

#include <boost/math/special_functions/beta.hpp>

#include "common/json.hpp"
#include "kestrel/file.hpp"
#include "serve/sha256.hpp"

namespace kestrel::serve {
namespace {

using Json = nlohmann::json;

constexpr int kTableVersion = 1;
constexpr std::int64_t kMaxTableBytes = std::int64_t{64} << 20;
/// Share of the error probability spent on the test of "never offload".
constexpr double kEdgeShare = 0.1;

/// Fewest correct answers of `samples` whose lower bound reaches `target`; samples + 1: none does.
std::uint64_t correct_needed(double target, std::uint64_t samples, double confidence_level) {
  std::uint64_t low = 0;
  std::uint64_t high = samples + 1;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (lower_bound(middle, samples, confidence_level) >= target) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

Json to_json(const OperatingPoint &point) {
  return {{"threshold", point.threshold},
          {"offloaded_share", point.offloaded_share},
          {"accuracy", point.accuracy},
          {"lower_bound", point.lower_bound}};
}

} // namespace

const char *to_string(Selector selector) noexcept {
  return selector == Selector::kTop1 ? "top1" : "margin";
}

double lower_bound(std::uint64_t correct, std::uint64_t samples, double confidence_level) {
  if (correct == 0) {
    return 0.0;
  }
  return boost::math::ibeta_inv(static_cast<double>(correct),
                                static_cast<double>(samples - correct) + 1.0,
                                1.0 - confidence_level);
}

Result<Calibration> Calibration::from_samples(std::span<const CalibrationSample> samples,
                                              Selector selector, double confidence_level,
                                              double drift_allowance) {
  std::vector<CalibrationSample> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const auto &a, const auto &b) { return a.confidence < b.confidence; });
  std::vector<CalibrationStep> steps;
  for (const CalibrationSample &sample : sorted) {
    if (steps.empty() || steps.back().confidence != sample.confidence) {
      steps.push_back(CalibrationStep{sample.confidence, 0, 0, 0});
    }
    ++steps.back().samples;
    steps.back().edge_correct += sample.edge_correct ? 1 : 0;
    steps.back().dc_correct += sample.dc_correct ? 1 : 0;
  }
  return from_steps(std::move(steps), selector, confidence_level, drift_allowance);
}

Result<Calibration> Calibration::from_steps(std::vector<CalibrationStep> steps, Selector selector,
                                            double confidence_level, double drift_allowance) {
  if (!(confidence_level >= 0.5 && confidence_level < 1.0)) {
    return fail(ErrorCode::kInvalidArgument, "confidence level {} is not in 0.5..1 (1 excluded)",
                confidence_level);
  }
  if (!(drift_allowance >= 0.0 && drift_allowance <= 0.5)) {
    return fail(ErrorCode::kInvalidArgument, "drift allowance {} is not in 0..0.5",
                drift_allowance);
  }
  if (steps.empty()) {
    return fail(ErrorCode::kInvalidArgument, "a calibration needs samples");
  }
  Calibration c;
  c.selector_ = selector;
  c.confidence_level_ = confidence_level;
  c.drift_allowance_ = drift_allowance;
  c.below_samples_ = c.below_edge_ = c.below_dc_ = {0};
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const CalibrationStep &step = steps[i];
    if ((i > 0 && step.confidence <= steps[i - 1].confidence) || step.samples < 1 ||
        step.edge_correct > step.samples || step.dc_correct > step.samples) {
      return fail(ErrorCode::kInvalidArgument,
                  "calibration step {} (confidence {}): not ascending, empty, or more correct than "
                  "samples",
                  i, step.confidence);
    }
    c.below_samples_.push_back(c.below_samples_.back() + step.samples);
    c.below_edge_.push_back(c.below_edge_.back() + step.edge_correct);
    c.below_dc_.push_back(c.below_dc_.back() + step.dc_correct);
  }
  c.samples_ = c.below_samples_.back();
  c.steps_ = std::move(steps);
  return c;
}

std::uint64_t Calibration::correct_at(std::uint32_t threshold, std::uint64_t &offloaded) const {
  const auto first_kept =
      std::partition_point(steps_.begin(), steps_.end(), [&](const CalibrationStep &step) {
        return std::uint32_t{step.confidence} < threshold;
      });
  const auto i = static_cast<std::size_t>(first_kept - steps_.begin());
  offloaded = below_samples_[i];
  return below_dc_[i] + (below_edge_.back() - below_edge_[i]);
}

OperatingPoint Calibration::at(std::uint32_t threshold) const {
  OperatingPoint point;
  point.threshold = std::min(threshold, kAlwaysOffload);
  std::uint64_t offloaded = 0;
  const std::uint64_t correct = correct_at(point.threshold, offloaded);
  const auto n = static_cast<double>(samples_);
  point.offloaded_share = static_cast<double>(offloaded) / n;
  point.accuracy = static_cast<double>(correct) / n;
  point.lower_bound = lower_bound(correct, samples_, confidence_level_);
  return point;
}

Result<Choice> Calibration::choose(double target) const {
  if (!(target >= 0.0 && target <= 1.0)) {
    return fail(ErrorCode::kInvalidArgument, "accuracy target {} is not in 0..1", target);
  }
  Choice choice;
  choice.target = target;
  std::uint64_t offloaded = 0;
  const double error = 1.0 - confidence_level_;
  const double wanted = target + drift_allowance_; // above 1 nothing reaches it

  // Never offload, at its own share of the error probability.
  if (correct_at(0, offloaded) >= correct_needed(wanted, samples_, 1.0 - kEdgeShare * error)) {
    choice.reached = true;
    choice.point = at(0);
    return choice;
  }

  // Fixed sequence: all thresholds from 65536 downward, each tested at the rest of the error
  // probability, until the first that fails. Counts change only just below an observed confidence,
  // so one test a step is all 65537 tests.
  const std::uint64_t needed = correct_needed(wanted, samples_, 1.0 - (1.0 - kEdgeShare) * error);
  std::uint32_t certified = kAlwaysOffload + 1;
  if (correct_at(kAlwaysOffload, offloaded) >= needed) {
    certified = 0; // unless a step fails below
    for (std::size_t i = steps_.size(); i-- > 0;) {
      // Thresholds <= confidence of step i leave that step at the edge.
      if (correct_at(steps_[i].confidence, offloaded) < needed) {
        certified = std::uint32_t{steps_[i].confidence} + 1;
        break;
      }
    }
  }
  if (certified <= kAlwaysOffload) {
    choice.reached = true;
    choice.point = at(certified);
    return choice;
  }

  // Nothing can be promised: the most accurate threshold, the lowest of equals.
  std::uint32_t best = 0;
  std::uint64_t best_correct = correct_at(0, offloaded);
  for (const CalibrationStep &step : steps_) {
    const std::uint32_t threshold = std::uint32_t{step.confidence} + 1;
    const std::uint64_t correct = correct_at(threshold, offloaded);
    if (correct > best_correct) {
      best = threshold;
      best_correct = correct;
    }
  }
  choice.point = at(best);
  return choice;
}

std::vector<OperatingPoint> Calibration::curve(std::size_t points) const {
  std::vector<OperatingPoint> curve{at(0)};
  const std::size_t wanted = std::max<std::size_t>(points, 2) - 1;
  std::size_t k = 1;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const double share = static_cast<double>(below_samples_[i + 1]) / static_cast<double>(samples_);
    if (share * static_cast<double>(wanted) >= static_cast<double>(k) - 1e-9) {
      curve.push_back(i + 1 == steps_.size() ? at(kAlwaysOffload)
                                             : at(std::uint32_t{steps_[i].confidence} + 1));
      k = static_cast<std::size_t>(share * static_cast<double>(wanted) + 1e-9) + 1;
    }
  }
  return curve;
}

double Calibration::expected_calibration_error(int bins) const {
  struct Bin {
    double confidence = 0;
    double correct = 0;
  };
  std::vector<Bin> sums(static_cast<std::size_t>(std::max(bins, 1)));
  for (const CalibrationStep &step : steps_) {
    const double p = static_cast<double>(step.confidence) / 65536.0;
    Bin &bin = sums[static_cast<std::size_t>(p * static_cast<double>(sums.size()))];
    bin.confidence += p * step.samples;
    bin.correct += step.edge_correct;
  }
  double error = 0;
  for (const Bin &bin : sums) {
    error += std::abs(bin.confidence - bin.correct);
  }
  return error / static_cast<double>(samples_);
}

std::string to_json(const ThresholdTable &table) {
  const Calibration &c = table.calibration;
  Json columns = {{"confidence", Json::array()},
                  {"samples", Json::array()},
                  {"edge_correct", Json::array()},
                  {"dc_correct", Json::array()}};
  for (const CalibrationStep &step : c.steps()) {
    columns["confidence"].push_back(step.confidence);
    columns["samples"].push_back(step.samples);
    columns["edge_correct"].push_back(step.edge_correct);
    columns["dc_correct"].push_back(step.dc_correct);
  }
  Json curve = Json::array();
  for (const OperatingPoint &point : c.curve(21)) {
    curve.push_back(to_json(point));
  }
  Json choices = Json::array();
  for (const Choice &choice : table.choices) {
    Json item = to_json(choice.point);
    item["target"] = choice.target;
    item["reached"] = choice.reached;
    choices.push_back(std::move(item));
  }
  // Written by hand at the top level, so that people find the short members first, a line each,
  // and the long columns last.
  const auto line = [](const char *key, const Json &value) {
    return fmt::format("  \"{}\": {}", key, value.dump());
  };
  std::string text = "{\n";
  const std::vector<std::string> lines{
      line("kestrel_threshold_table", kTableVersion),
      line("edge", {{"model", table.edge_model}, {"sha256", table.edge_sha256}}),
      line("dc", {{"model", table.dc_model}, {"sha256", table.dc_sha256}}),
      line("data", table.data),
      line("selector", to_string(c.selector())),
      line("samples", c.samples()),
      line("confidence_level", c.confidence_level()),
      line("drift_allowance", c.drift_allowance()),
      line("edge_accuracy", c.edge_accuracy()),
      line("dc_accuracy", c.dc_accuracy()),
      line("edge_expected_calibration_error", c.expected_calibration_error()),
  };
  for (const std::string &entry : lines) {
    text += entry + ",\n";
  }
  const auto list = [&](const char *key, const Json &items) {
    text += fmt::format("  \"{}\": [\n", key);
    for (std::size_t i = 0; i < items.size(); ++i) {
      text += "    " + items[i].dump() + (i + 1 < items.size() ? ",\n" : "\n");
    }
    text += "  ],\n";
  };
  list("targets", choices);
  list("curve", curve);
  text += "  \"steps\": {\n";
  std::size_t written = 0;
  for (const auto &[key, values] : columns.items()) {
    text += fmt::format("    \"{}\": {}{}\n", key, values.dump(),
                        ++written < columns.size() ? "," : "");
  }
  return text + "  }\n}\n";
}

Result<ThresholdTable> parse_threshold_table(std::string_view text, const std::string &name) {
  auto parsed = parse_json(text);
  const Json json = parsed ? std::move(*parsed) : Json();
  if (!parsed && parsed.error().message.find("not JSON") == std::string::npos) {
    return fail(parsed.error().code, "{}: {}", name, parsed.error().message);
  }
  if (!json.is_object() || !json.contains("kestrel_threshold_table")) {
    return fail(ErrorCode::kParse, "{}: not a threshold table (kestrel calibrate writes one)",
                name);
  }
  if (json["kestrel_threshold_table"] != kTableVersion) {
    return fail(ErrorCode::kVersionMismatch,
                "{}: threshold table of version {}, {} is supported; run kestrel calibrate again",
                name, quote(json["kestrel_threshold_table"]), kTableVersion);
  }
  try {
    const Json &steps = json.at("steps");
    // Json would make whole numbers of any.
    const auto column = [&](const char *key) -> Result<std::vector<std::uint64_t>> {
      const Json &values = steps.at(key);
      std::vector<std::uint64_t> out;
      if (!values.is_array()) {
        return fail(ErrorCode::kParse, "{}: \"steps\", {}: not an array", name, key);
      }
      for (const Json &value : values) {
        if (!value.is_number_unsigned()) {
          return fail(ErrorCode::kParse, "{}: \"steps\", {}: {} is no whole number from 0", name,
                      key, quote(value));
        }
        out.push_back(value.get<std::uint64_t>());
      }
      return out;
    };
    KESTREL_ASSIGN(const auto confidence, column("confidence"));
    KESTREL_ASSIGN(const auto samples, column("samples"));
    KESTREL_ASSIGN(const auto edge, column("edge_correct"));
    KESTREL_ASSIGN(const auto dc, column("dc_correct"));
    if (samples.size() != confidence.size() || edge.size() != confidence.size() ||
        dc.size() != confidence.size()) {
      return fail(ErrorCode::kParse, "{}: the columns of \"steps\" differ in length", name);
    }
    std::vector<CalibrationStep> list;
    for (std::size_t i = 0; i < confidence.size(); ++i) {
      if (confidence[i] > 65535 || samples[i] > 0xFFFFFFFFU || edge[i] > samples[i] ||
          dc[i] > samples[i]) {
        return fail(ErrorCode::kParse, "{}: step {} is out of range", name, i);
      }
      list.push_back(CalibrationStep{
          static_cast<std::uint16_t>(confidence[i]), static_cast<std::uint32_t>(samples[i]),
          static_cast<std::uint32_t>(edge[i]), static_cast<std::uint32_t>(dc[i])});
    }
    const auto selector = json.at("selector").get<std::string>();
    if (selector != "top1" && selector != "margin") {
      return fail(ErrorCode::kParse, "{}: selector '{}' is neither top1 nor margin", name,
                  shortened(selector));
    }
    auto calibration = Calibration::from_steps(
        std::move(list), selector == "top1" ? Selector::kTop1 : Selector::kMargin,
        json.at("confidence_level").get<double>(), json.at("drift_allowance").get<double>());
    if (!calibration) {
      return fail(calibration.error().code, "{}: {}", name, calibration.error().message);
    }
    return ThresholdTable{json.at("edge").at("model").get<std::string>(),
                          json.at("edge").at("sha256").get<std::string>(),
                          json.at("dc").at("model").get<std::string>(),
                          json.at("dc").at("sha256").get<std::string>(),
                          json.at("data").get<std::string>(),
                          std::move(calibration).value(),
                          {}};
  } catch (const Json::exception &) {
    return fail(ErrorCode::kParse,
                "{}: a member of the threshold table is missing or of another "
                "type",
                name);
  }
}

Result<void> save_threshold_table(const ThresholdTable &table, const std::string &path) {
  return write_file(path, to_json(table));
}

Result<ThresholdTable> load_threshold_table(const std::string &path) {
  KESTREL_ASSIGN(const std::string text, read_text(path, kMaxTableBytes));
  return parse_threshold_table(text, path);
}

Result<std::string> file_sha256(const std::string &path) {
  constexpr std::int64_t kMaxBytes = std::int64_t{2} << 30;
  KESTREL_ASSIGN(const auto bytes, read_file(path, kMaxBytes));
  KESTREL_ASSIGN(const auto digest, sha256(bytes));
  std::string text;
  for (const std::uint8_t byte : digest) {
    text += fmt::format("{:02x}", byte);
  }
  return text;
}

} // namespace kestrel::serve
