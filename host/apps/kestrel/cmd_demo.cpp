// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel demo: the main job, end to end.
#include "cli.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>

#include "kestrel/serve/dc_process.hpp"
#include "kestrel/serve/demo_job.hpp"
#include "model_file.hpp"
#include "progress_sink.hpp"

namespace kestrel::cli {
namespace {

constexpr std::array<const char *, 10> kClassNames{
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"};

struct Options {
  serve::DemoOptions job;
  std::string models;
  std::string edge;
  std::string dc_model;
  std::string thresholds;
  std::string data;
  std::string json;
  std::size_t images = 0;
  std::size_t show = 8;
  double connect_seconds = 2;
  double response_seconds = 30;
};

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

/// The images, the threshold table and the compiled edge network belong together.
Result<void> check_table(const serve::ThresholdTable &table, const serve::EdgeModel &edge,
                         const std::string &thresholds) {
  if (table.edge_sha256 != edge.sha256) {
    return fail(ErrorCode::kVersionMismatch,
                "{}: calibrated for another edge model than {}; run kestrel calibrate", thresholds,
                edge.path);
  }
  return {};
}

struct Cycles {
  std::uint64_t min = 0;
  std::uint64_t median = 0;
  std::uint64_t max = 0;
  std::uint64_t total = 0;
};

Cycles summarise(std::vector<std::uint64_t> cycles) {
  Cycles out;
  if (cycles.empty()) {
    return out;
  }
  std::sort(cycles.begin(), cycles.end());
  out.min = cycles.front();
  out.median = cycles[cycles.size() / 2];
  out.max = cycles.back();
  for (const std::uint64_t c : cycles) {
    out.total += c;
  }
  return out;
}

double share(std::size_t part, std::size_t whole) {
  return whole == 0 ? 1.0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string percent(double value) { return fmt::format("{:.2f} %", 100.0 * value); }

/// A few answers, unsure ones among them.
void print_answers(const serve::DemoReport &report, const serve::LabelledImages &images,
                   std::size_t show) {
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < report.answers.size() && chosen.size() < show / 2; ++i) {
    if (report.answers[i].by != serve::AnsweredBy::kEdge) {
      chosen.push_back(i);
    }
  }
  for (std::size_t i = 0; i < report.answers.size() && chosen.size() < show; ++i) {
    if (report.answers[i].by == serve::AnsweredBy::kEdge) {
      chosen.push_back(i);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  if (chosen.empty()) {
    return;
  }
  fmt::print("{:>6}  {:<9} {:<9} {:>10}  {:<22} {:<9}\n", "image", "label", "edge says",
             "confidence", "answered by", "answer");
  for (const std::size_t i : chosen) {
    const serve::DemoAnswer &a = report.answers[i];
    const char *by = a.by == serve::AnsweredBy::kEdge ? "edge"
                     : a.by == serve::AnsweredBy::kDc ? "DC"
                                                      : "edge, DC silent";
    fmt::print("{:>6}  {:<9} {:<9} {:>10.3f}  {:<22} {:<9} {}\n", i, kClassNames[images.labels[i]],
               kClassNames[a.edge.confidence.top1], a.edge.confidence.p1_q16 / 65536.0,
               fmt::format("{}{}", by, a.below_target ? ", below target" : ""),
               kClassNames[static_cast<std::size_t>(a.answer)],
               a.answer == images.labels[i] ? "right" : "wrong");
  }
  fmt::print("\n");
}

void print_report(const serve::DemoReport &report, const serve::LabelledImages &images,
                  const Options &options, const std::string &url) {
  const Cycles cycles = summarise(report.rtl_cycles);
  const double mhz = options.job.device.clock_mhz;
  const auto line = [](std::string_view what, const std::string &value) {
    fmt::print("  {:<22} {}\n", what, value);
  };
  fmt::print("\n");
  print_answers(report, images, options.show);
  fmt::print("accuracy on {} test images\n", images.count);
  line("target asked", percent(options.job.min_accuracy));
  line("edge alone", percent(report.accuracy_edge));
  line("DC alone", report.accuracy_dc ? percent(*report.accuracy_dc) : "not known (see below)");
  line("edge + DC",
       fmt::format("{}  ({} the target)", percent(report.accuracy_combined),
                   report.accuracy_combined >= options.job.min_accuracy ? "meets" : "MISSES"));
  line("promised",
       report.choice.reached
           ? fmt::format("at least {} by calibration (threshold {})",
                         percent(options.job.min_accuracy), report.choice.point.threshold)
           : fmt::format("nothing: the target is out of reach of this pair of models; "
                         "most accurate threshold {}",
                         report.choice.point.threshold));
  fmt::print("requests\n");
  line("offloaded", fmt::format("{} of {} ({})", report.offloaded, images.count,
                                percent(share(report.offloaded, images.count))));
  line("answered by the DC",
       fmt::format("{} at {} in {:.1f} s{}", report.dc_answered, url, report.offload_seconds,
                   report.dc_evaluated > 0 ? fmt::format("; {} more sent only to know its accuracy",
                                                         report.dc_evaluated)
                                           : ""));
  line("below target", fmt::format("{}", report.below_target));
  if (report.dc_error) {
    line("DC trouble", report.dc_error->message);
  }
  fmt::print("agreement with the software reference, bit for bit\n");
  line("RTL", fmt::format("{} of {} images ({})", report.rtl_equal, report.rtl_images,
                          percent(share(report.rtl_equal, report.rtl_images))));
  line("functional device",
       fmt::format("{} of {} images ({}) in {:.1f} s", report.functional_equal, images.count,
                   percent(share(report.functional_equal, images.count)),
                   report.functional_seconds));
  if (report.rtl_images == 0) {
    return;
  }
  fmt::print("cycle-accurate RTL simulation\n");
  line("cycles an inference",
       fmt::format("{} median, {} min, {} max", cycles.median, cycles.min, cycles.max));
  line("latency", fmt::format("{:.1f} us at {:g} MHz (clock assumed)",
                              static_cast<double>(cycles.median) / mhz, mhz));
  if (report.cycle_model) {
    line("cycle model", fmt::format("equal to the RTL on {} of {} images", report.cycle_model_equal,
                                    report.rtl_images));
  }
  line("simulation speed",
       fmt::format("{:.0f} cycles/s on {} threads, {:.2f} s in all",
                   static_cast<double>(cycles.total) / std::max(report.rtl_seconds, 1e-9),
                   options.job.jobs, report.rtl_seconds));
}

nlohmann::json report_json(const serve::DemoReport &report, std::size_t images,
                           const Options &options, const std::string &url) {
  const Cycles cycles = summarise(report.rtl_cycles);
  const double mhz = options.job.device.clock_mhz;
  nlohmann::json json{
      {"rtl",
       {{"images", report.rtl_images},
        {"agreement", share(report.rtl_equal, report.rtl_images)},
        {"cycles_median", cycles.median},
        {"cycles_min", cycles.min},
        {"cycles_max", cycles.max},
        {"latency_us", static_cast<double>(cycles.median) / mhz},
        {"clock_mhz", mhz},
        {"clock_basis", "assumed"},
        {"seconds", report.rtl_seconds},
        {"cycles_per_second",
         report.rtl_seconds > 0 ? static_cast<double>(cycles.total) / report.rtl_seconds : 0.0}}},
      {"functional",
       {{"images", images},
        {"agreement", share(report.functional_equal, images)},
        {"seconds", report.functional_seconds}}},
      {"accuracy",
       {{"edge", report.accuracy_edge},
        {"dc", report.accuracy_dc ? nlohmann::json(*report.accuracy_dc) : nlohmann::json()},
        {"combined", report.accuracy_combined},
        {"target", options.job.min_accuracy}}},
      {"offloaded", report.offloaded},
      {"offloaded_share", share(report.offloaded, images)},
      {"dc",
       {{"url", url},
        {"answered", report.dc_answered},
        {"evaluated", report.dc_evaluated},
        {"seconds", report.offload_seconds},
        {"error", report.dc_error ? nlohmann::json(report.dc_error->message) : nlohmann::json()}}},
      {"below_target", report.below_target},
      {"threshold",
       {{"value", report.choice.point.threshold},
        {"reached", report.choice.reached},
        {"calibration_accuracy", report.choice.point.accuracy},
        {"calibration_lower_bound", report.choice.point.lower_bound}}}};
  if (report.cycle_model) {
    json["rtl"]["cycle_model_agreement"] = share(report.cycle_model_equal, report.rtl_images);
  }
  return json;
}

Result<void> demo(Options &options) {
  const std::string models = models_folder(options.models);
  const std::string edge_path = options.edge.empty() ? models + "/" + kEdgeModel : options.edge;
  const std::string dc_path = options.dc_model.empty() ? models + "/" + kDcModel : options.dc_model;
  const std::string thresholds =
      options.thresholds.empty() ? models + "/" + kThresholds : options.thresholds;
  serve::DemoOptions &job = options.job;
  if (job.jobs == 0) {
    job.jobs = default_jobs();
  }
  job.dc.connections = std::max<std::size_t>(2, job.jobs + 1);
  job.dc.connect_timeout = milliseconds(options.connect_seconds);
  job.dc.response_timeout = milliseconds(options.response_seconds);

  KESTREL_ASSIGN(auto images, serve::load_fashion_mnist(serve::Split::kTest, options.data));
  if (options.images != 0) {
    images = images.slice(0, options.images);
  }
  KESTREL_ASSIGN(const serve::EdgeModel edge, serve::load_edge_model(edge_path, job.config));
  KESTREL_ASSIGN(const serve::ThresholdTable table, serve::load_threshold_table(thresholds));
  KESTREL_TRY(check_table(table, edge, thresholds));

  std::optional<serve::DcProcess> own_dc;
  if (job.dc.url.empty()) {
    KESTREL_ASSIGN(const std::string dc_sha256, serve::file_sha256(dc_path));
    if (dc_sha256 != table.dc_sha256) {
      return fail(ErrorCode::kVersionMismatch,
                  "{}: calibrated for another DC model than {}; run kestrel calibrate", thresholds,
                  dc_path);
    }
    serve::DcProcessOptions process;
    process.arguments = {"dc", "--model", dc_path, "--name", job.dc.model};
    KESTREL_ASSIGN(auto started, serve::DcProcess::start(process));
    own_dc.emplace(std::move(started));
    job.dc.url = own_dc->url();
    fmt::print(stderr, "DC process {} serves {} at {}\n", own_dc->pid(), job.dc.model, job.dc.url);
  }
  KESTREL_ASSIGN(const serve::DemoReport report,
                 serve::run_demo(edge, table, images, job, progress_sink()));
  Result<void> stopped;
  if (own_dc) {
    stopped = own_dc->stop();
  }
  if (!options.json.empty()) {
    KESTREL_TRY(write_json(options.json, report_json(report, images.count, options, job.dc.url)));
  }
  if (options.json != "-") {
    print_report(report, images, options, job.dc.url);
  }
  KESTREL_TRY(stopped);
  if (report.rtl_equal != report.rtl_images || report.functional_equal != images.count) {
    return fail(ErrorCode::kDevice,
                "{} RTL and {} functional answers differ from the software reference",
                report.rtl_images - report.rtl_equal, images.count - report.functional_equal);
  }
  return {};
}

} // namespace

void add_demo(CLI::App &app, int &status) {
  auto options = std::make_shared<Options>();
  serve::DemoOptions &job = options->job;
  CLI::App *command = app.add_subcommand(
      "demo", "Run the whole system: edge engine in RTL, unsure images to the data centre");
  command->footer(
      "The first images go through the engine in cycle-accurate RTL simulation, all of them "
      "through\n"
      "the functional device, and every answer is held bit for bit against the software "
      "reference.\n"
      "Where the edge's confidence is below the threshold for the accuracy asked, the answer "
      "comes\n"
      "over a socket from a DC process with a larger model. Without --dc that process is started\n"
      "here and ends with the job. If the DC does not answer, the edge's answer is used and "
      "marked.\n"
      "\n"
      "Examples:\n"
      "  kestrel demo --rtl-images 20\n"
      "  kestrel demo --min-accuracy 0.93 --json out.json\n"
      "  kestrel dc --port 8000 &  kestrel demo --dc http://127.0.0.1:8000\n"
      "  kestrel demo --dc http://127.0.0.1:9      an unreachable DC: the job completes");
  command->add_option("--rtl-images", job.rtl_images, "Images simulated cycle by cycle")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command->add_option("--images", options->images, "Test images in all; 0: the whole set")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  command->add_option("--min-accuracy", job.min_accuracy, "Accuracy asked of the answers, 0..1")
      ->check(kShare)
      ->capture_default_str();
  command->add_option("--dc", job.dc.url, "Use the DC server at this address")->type_name("URL");
  command->add_option("--dc-name", job.dc.model, "Name of its model")->capture_default_str();
  command->add_option("--dc-timeout", options->response_seconds, "Seconds a DC answer may take")
      ->check(kSeconds)
      ->capture_default_str();
  command->add_option("--batch", job.batch, "Images in one request to the DC")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--models", options->models, "Folder of the project's models")
      ->type_name("DIR");
  command
      ->add_option("--edge", options->edge, "Edge model (default: " + std::string(kEdgeModel) + ")")
      ->type_name("FILE");
  command
      ->add_option("--dc-model", options->dc_model,
                   "DC model of the process started here (default: " + std::string(kDcModel) + ")")
      ->type_name("FILE");
  command
      ->add_option("--thresholds", options->thresholds,
                   "Threshold table (default: " + std::string(kThresholds) + " of the models)")
      ->type_name("FILE");
  command->add_option("--data", options->data, "Folder of Fashion-MNIST")->type_name("DIR");
  command->add_option("--config", job.config, "Engine configuration: " + config_names())
      ->capture_default_str();
  command->add_option("--clock-mhz", job.device.clock_mhz, "Assumed clock for latencies")
      ->check(kClockMhz)
      ->capture_default_str();
  command
      ->add_option("--read-latency", job.device.memory.read_latency,
                   "Of external memory, in cycles")
      ->check(kReadLatency)
      ->capture_default_str();
  job.jobs = 0;
  command->add_option("--jobs", job.jobs, "Threads; 0: all processors")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  command->add_option("--show", options->show, "Single answers to print")
      ->check(CLI::Range(0, 1 << 30))
      ->capture_default_str();
  command->add_option("--json", options->json, "Results for machines, - for stdout")
      ->type_name("FILE");
  command->callback([options, &status] { status = finish("demo", demo(*options)); });
}

} // namespace kestrel::cli
