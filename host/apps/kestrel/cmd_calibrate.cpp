// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel calibrate: confidence scaling of an (edge, DC) model pair on held-out training images.
#include "cli.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "kestrel/serve/backend.hpp"
#include "kestrel/serve/calibration.hpp"
#include "kestrel/serve/edge_job.hpp"
#include "kestrel/serve/fashion_mnist.hpp"
#include "model_file.hpp"
#include "progress_sink.hpp"

namespace kestrel::cli {
namespace {

struct Options {
  std::string models;
  std::string edge;
  std::string dc;
  std::string data;
  std::string output;
  std::string json;
  std::string config = "edge";
  std::string selector = "top1";
  std::size_t held_out = 10000;
  double level = 0.95;
  double allowance = serve::kDefaultDriftAllowance;
  std::vector<double> targets;
  unsigned jobs = 0;
};

/// Targets worth a line: half percents from below the edge's accuracy to the DC's.
std::vector<double> default_targets(const serve::Calibration &calibration) {
  const double low = std::min(calibration.edge_accuracy(), calibration.dc_accuracy());
  const double high = std::max(calibration.edge_accuracy(), calibration.dc_accuracy());
  std::vector<double> targets;
  for (int step = static_cast<int>(std::floor(low * 200)) - 1; step <= std::ceil(high * 200);
       ++step) {
    targets.push_back(std::clamp(static_cast<double>(step) / 200.0, 0.0, 1.0));
  }
  return targets;
}

Result<std::vector<bool>> dc_right(const std::string &path, const serve::LabelledImages &images,
                                   const serve::ProgressSink &progress) {
  serve::set_onnx_threads(0);
  serve::OnnxBackendOptions options;
  options.path = path;
  KESTREL_TRY(serve::try_onnx_backend(options));
  KESTREL_ASSIGN(const auto backend, serve::make_onnx_backend(options));
  const std::size_t classes = static_cast<std::size_t>(backend->info().classes);
  if (backend->info().image_size() != images.image_size()) {
    return fail(ErrorCode::kShapeMismatch, "{}: takes {} pixels, the images have {}", path,
                backend->info().image_size(), images.image_size());
  }
  constexpr std::size_t kBatch = 256;
  std::vector<bool> right;
  for (std::size_t at = 0; at < images.count; at += kBatch) {
    const serve::LabelledImages part = images.slice(at, kBatch);
    std::vector<float> pixels(part.pixels.size());
    std::transform(part.pixels.begin(), part.pixels.end(), pixels.begin(),
                   [](std::uint8_t pixel) { return static_cast<float>(pixel) / 255.0F; });
    KESTREL_ASSIGN(const auto p, backend->classify(pixels, part.count));
    for (std::size_t i = 0; i < part.count; ++i) {
      const auto row = p.begin() + static_cast<std::ptrdiff_t>(i * classes);
      right.push_back(std::max_element(row, row + static_cast<std::ptrdiff_t>(classes)) - row ==
                      part.labels[i]);
    }
    progress("DC model", right.size(), images.count);
  }
  return right;
}

Result<void> calibrate(const Options &options) {
  const std::string models = models_folder(options.models);
  const std::string edge_path = options.edge.empty() ? models + "/" + kEdgeModel : options.edge;
  const std::string dc_path = options.dc.empty() ? models + "/" + kDcModel : options.dc;
  const std::string output = options.output.empty() ? models + "/" + kThresholds : options.output;

  KESTREL_ASSIGN(const auto train, serve::load_fashion_mnist(serve::Split::kTrain, options.data));
  if (options.held_out > train.count) {
    return fail(ErrorCode::kInvalidArgument, "--held-out {}: the training set has {} images",
                options.held_out, train.count);
  }
  const serve::LabelledImages images =
      train.slice(train.count - options.held_out, options.held_out);
  KESTREL_ASSIGN(const serve::EdgeModel edge, serve::load_edge_model(edge_path, options.config));
  KESTREL_TRY(
      serve::check_edge_classifier(edge.package, images.image_size(), serve::kFashionMnistClasses));
  KESTREL_ASSIGN(const std::string dc_sha256, serve::file_sha256(dc_path));

  const serve::ProgressSink progress = progress_sink();
  serve::EdgeJobOptions job;
  job.jobs = options.jobs == 0 ? default_jobs() : options.jobs;
  job.phase = "edge model";
  KESTREL_ASSIGN(const auto answers,
                 serve::run_on_device(edge.package, images.pixels, job, progress));
  KESTREL_ASSIGN(const std::vector<bool> dc, dc_right(dc_path, images, progress));

  const bool margin = options.selector == "margin";
  std::vector<serve::CalibrationSample> samples;
  for (std::size_t i = 0; i < images.count; ++i) {
    const hv::Confidence &c = answers[i].confidence;
    samples.push_back({margin ? c.margin_q16 : c.p1_q16, c.top1 == images.labels[i], dc[i]});
  }
  KESTREL_ASSIGN(auto calibration,
                 serve::Calibration::from_samples(
                     samples, margin ? serve::Selector::kMargin : serve::Selector::kTop1,
                     options.level, options.allowance));
  serve::ThresholdTable table{
      std::filesystem::path(edge_path).filename().string(),
      edge.sha256,
      std::filesystem::path(dc_path).filename().string(),
      dc_sha256,
      fmt::format("Fashion-MNIST, the last {} of {} training images", images.count, train.count),
      std::move(calibration),
      {}};
  for (const double target :
       options.targets.empty() ? default_targets(table.calibration) : options.targets) {
    KESTREL_ASSIGN(const serve::Choice choice, table.calibration.choose(target));
    table.choices.push_back(choice);
  }
  KESTREL_TRY(serve::save_threshold_table(table, output));
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, nlohmann::json::parse(serve::to_json(table))));
  }
  if (options.json == "-") {
    return {};
  }
  const serve::Calibration &c = table.calibration;
  fmt::print("{}; drift allowance {:g}\nedge {} accuracy {:.4f}, expected calibration error "
             "{:.4f}\nDC   {} accuracy "
             "{:.4f}\n\n{:>7} {:>9} {:>9} {:>9} {:>11}\n",
             table.data, c.drift_allowance(), table.edge_model, c.edge_accuracy(),
             c.expected_calibration_error(), table.dc_model, c.dc_accuracy(), "target", "threshold",
             "offloaded", "accuracy", fmt::format("{:g} % bound", 100 * c.confidence_level()));
  for (const serve::Choice &choice : table.choices) {
    fmt::print("{:>7.4g} {:>9} {:>7.1f} % {:>9.4f} {:>11.4f}{}\n", choice.target,
               choice.point.threshold, 100 * choice.point.offloaded_share, choice.point.accuracy,
               choice.point.lower_bound,
               choice.reached ? "" : "  not reached: the most accurate threshold");
  }
  fmt::print("\nwritten to {}\n", output);
  return {};
}

} // namespace

void add_calibrate(CLI::App &app, int &status) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand(
      "calibrate", "Choose confidence thresholds for accuracy targets on held-out images");
  command->footer(
      "Runs both models on images that neither was trained on and writes the threshold table: for\n"
      "each accuracy target the lowest confidence below which an answer must come from the data\n"
      "centre, valid with the stated confidence however many thresholds were tried.\n"
      "docs/confidence_scaling.md explains the method.\n"
      "\n"
      "Examples:\n"
      "  kestrel calibrate\n"
      "  kestrel calibrate --targets 0.92,0.93 --level 0.99 --output /tmp/t.json\n"
      "  kestrel calibrate --edge net.tflite --dc net.onnx --output net.json");
  command->add_option("--models", options->models, "Folder of the project's models")
      ->type_name("DIR");
  command
      ->add_option("--edge", options->edge, "Edge model (default: " + std::string(kEdgeModel) + ")")
      ->type_name("FILE");
  command->add_option("--dc", options->dc, "DC model (default: " + std::string(kDcModel) + ")")
      ->type_name("FILE");
  command->add_option("--data", options->data, "Folder of Fashion-MNIST")->type_name("DIR");
  command
      ->add_option("--output", options->output,
                   "Threshold table (default: " + std::string(kThresholds) + " of the models)")
      ->type_name("FILE");
  command->add_option("--json", options->json, "Write the table here as well, - for stdout")
      ->type_name("FILE");
  command->add_option("--config", options->config, "Engine configuration: " + config_names())
      ->capture_default_str();
  command->add_option("--selector", options->selector, "Confidence: top1 or margin")
      ->check(CLI::IsMember({"top1", "margin"}))
      ->capture_default_str();
  command
      ->add_option("--held-out", options->held_out,
                   "Images from the end of the training set; training must have left them out")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  command->add_option("--level", options->level, "Confidence level of the guarantee")
      ->check(within(0.5, 0.999999))
      ->capture_default_str();
  command
      ->add_option("--allowance", options->allowance,
                   "Accuracy that images in use may lose against these before a target is missed")
      ->check(within(0.0, 0.5))
      ->capture_default_str();
  command->add_option("--targets", options->targets, "Accuracy targets to list")
      ->delimiter(',')
      ->check(kShare);
  command->add_option("--jobs", options->jobs, "Threads; 0: all processors")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  command->callback([options, &status] { status = finish("calibrate", calibrate(*options)); });
}

} // namespace kestrel::cli
