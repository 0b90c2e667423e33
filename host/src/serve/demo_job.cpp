// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/demo_job.hpp"

#include <algorithm>
#include <chrono>

namespace kestrel::serve {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// The pixels of some images, one after the other.
std::vector<std::uint8_t> gather(const LabelledImages &images,
                                 const std::vector<std::size_t> &indices) {
  std::vector<std::uint8_t> pixels;
  pixels.reserve(indices.size() * images.image_size());
  for (const std::size_t i : indices) {
    const auto image = images.image(i);
    pixels.insert(pixels.end(), image.begin(), image.end());
  }
  return pixels;
}

} // namespace

Result<DemoReport> run_demo(const EdgeModel &edge, const ThresholdTable &table,
                            const LabelledImages &images, const DemoOptions &options,
                            const ProgressSink &progress) {
  KESTREL_TRY(check_edge_classifier(edge.package, images.image_size(), kFashionMnistClasses));
  DemoReport report;
  KESTREL_ASSIGN(report.choice, table.calibration.choose(options.min_accuracy));
  KESTREL_ASSIGN(DcClient dc, DcClient::create(options.dc));

  EdgeJobOptions job;
  job.device_options = options.device;
  job.threshold = report.choice.point.threshold;
  job.mode = table.calibration.selector() == Selector::kTop1 ? hv::ConfidenceMode::kTop1
                                                             : hv::ConfidenceMode::kMargin;
  job.jobs = options.jobs;

  // Cycle-accurate first: it is what a person came to see.
  const LabelledImages first = images.slice(0, options.rtl_images);
  job.device = "rtl";
  job.phase = "RTL simulation";
  auto begin = Clock::now();
  KESTREL_ASSIGN(const auto rtl, run_on_device(edge.package, first.pixels, job, progress));
  report.rtl_seconds = seconds_since(begin);
  report.rtl_images = rtl.size();

  job.device = "fast";
  job.phase = "functional device";
  begin = Clock::now();
  KESTREL_ASSIGN(auto fast, run_on_device(edge.package, images.pixels, job, progress));
  report.functional_seconds = seconds_since(begin);

  job.phase = "software reference";
  KESTREL_ASSIGN(const auto reference, run_on_reference(edge.graph, images.pixels, job, progress));

  for (std::size_t i = 0; i < rtl.size(); ++i) {
    report.rtl_cycles.push_back(rtl[i].cycles);
    report.rtl_equal += rtl[i].agrees_with(reference[i]) && rtl[i].agrees_with(fast[i]) ? 1 : 0;
    report.cycle_model = report.cycle_model || fast[i].cycles_known;
    report.cycle_model_equal += fast[i].cycles_known && fast[i].cycles == rtl[i].cycles ? 1 : 0;
  }
  std::vector<std::size_t> unsure;
  std::vector<std::size_t> sure;
  report.answers.resize(images.count);
  for (std::size_t i = 0; i < images.count; ++i) {
    report.functional_equal += fast[i].agrees_with(reference[i]) ? 1 : 0;
    (fast[i].confidence.confident ? sure : unsure).push_back(i);
    DemoAnswer &answer = report.answers[i];
    answer.answer = fast[i].confidence.top1;
    answer.below_target = !report.choice.reached;
    answer.edge = std::move(fast[i]);
  }
  report.offloaded = unsure.size();

  const std::vector<std::int64_t> shape{1, static_cast<std::int64_t>(images.height),
                                        static_cast<std::int64_t>(images.width)};
  const auto ask = [&](const std::vector<std::size_t> &indices, std::string_view phase) {
    DcAnswers answers = dc.classify(gather(images, indices), shape, kFashionMnistClasses,
                                    options.batch, [&](std::size_t done) {
                                      if (progress) {
                                        progress(phase, done, indices.size());
                                      }
                                    });
    if (answers.error && !report.dc_error) {
      report.dc_error = answers.error;
    }
    return answers;
  };

  std::size_t dc_right = 0;
  begin = Clock::now();
  const DcAnswers offloaded = ask(unsure, "offload to the DC");
  report.offload_seconds = seconds_since(begin);
  report.dc_answered = offloaded.answered;
  for (std::size_t k = 0; k < unsure.size(); ++k) {
    DemoAnswer &answer = report.answers[unsure[k]];
    if (offloaded.answers[k]) {
      answer.by = AnsweredBy::kDc;
      answer.answer = offloaded.answers[k]->top1;
      dc_right += answer.answer == images.labels[unsure[k]] ? 1 : 0;
    } else {
      answer.by = AnsweredBy::kEdgeUnsure;
      answer.below_target = true;
    }
  }

  // The DC's accuracy over all images is wanted for the table: the rest goes there as well, as an
  // evaluation that no answer depends on.
  if (report.dc_answered == unsure.size()) {
    const DcAnswers evaluated = ask(sure, "evaluation of the DC");
    report.dc_evaluated = evaluated.answered;
    for (std::size_t k = 0; k < sure.size(); ++k) {
      dc_right +=
          evaluated.answers[k] && evaluated.answers[k]->top1 == images.labels[sure[k]] ? 1 : 0;
    }
    if (evaluated.answered == sure.size()) {
      report.accuracy_dc = static_cast<double>(dc_right) / static_cast<double>(images.count);
    }
  }

  std::size_t edge_right = 0;
  std::size_t combined_right = 0;
  for (std::size_t i = 0; i < images.count; ++i) {
    const DemoAnswer &answer = report.answers[i];
    edge_right += answer.edge.confidence.top1 == images.labels[i] ? 1 : 0;
    combined_right += answer.answer == images.labels[i] ? 1 : 0;
    report.below_target += answer.below_target ? 1 : 0;
  }
  report.accuracy_edge = static_cast<double>(edge_right) / static_cast<double>(images.count);
  report.accuracy_combined =
      static_cast<double>(combined_right) / static_cast<double>(images.count);
  return report;
}

} // namespace kestrel::serve
