// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// kestrel thc: compressed aggregation of gradients on a device, and its quantisation tables.
#include "cli.hpp"

#include <charconv>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "kestrel/npy.hpp"
#include "kestrel/progress.hpp"
#include "kestrel/thc/device.hpp"
#include "kestrel/thc/roundtrip.hpp"
#include "sw_ref/thc/solver.hpp"

namespace kestrel::cli {
namespace {

struct TableOptions {
  unsigned bits = 4;
  unsigned granularity = 30;
  double p = 0.03125;
  std::vector<unsigned> values; // given instead of solved
};

struct RoundTripArguments {
  std::string device = "fast";
  std::string input, output, packed, sums, json;
  TableOptions table;
  std::optional<std::string> contributors; // "0,2,3"
  int block_log2 = ref_max();
  std::uint64_t seed = 1;
  std::uint32_t round = 0;
  DeviceOptions device_options;

  static constexpr int ref_max() { return thc::ref::kMaxBlockLog2; }
};

Result<thc::ref::Table> make_table(const TableOptions &options) {
  thc::ref::Table table;
  if (!(options.p > 0.0 && options.p < 1.0))
    return fail(ErrorCode::kInvalidArgument, "--p {}: 0 < p < 1 is needed", options.p);
  table.t = thc::ref::clamp_of(options.p);
  if (!options.values.empty()) {
    table.values.clear();
    for (const unsigned value : options.values) {
      if (value > thc::ref::kMaxGranularity)
        return fail(ErrorCode::kInvalidArgument, "--table: {} is above {}", value,
                    thc::ref::kMaxGranularity);
      table.values.push_back(static_cast<std::uint8_t>(value));
    }
    table.bits = 0;
    while (std::size_t{1} << table.bits < table.values.size())
      ++table.bits;
    table.granularity = table.values.back();
    return table;
  }
  if (options.bits > thc::ref::kMaxIndexBits)
    return fail(ErrorCode::kUnsupported,
                "--bits {}: the devices send indices of at most {} bits; `kestrel thc solve` gives "
                "tables of more",
                options.bits, thc::ref::kMaxIndexBits);
  if (const auto text = thc::ref::solve_error(options.bits, options.granularity, options.p))
    return fail(ErrorCode::kInvalidArgument, "--bits {} --granularity {} --p {}: {}", options.bits,
                options.granularity, options.p, *text);
  table.bits = options.bits;
  table.granularity = options.granularity;
  table.values = thc::ref::solve_table(options.bits, options.granularity, options.p).values;
  return table;
}

/// Numbers of workers, separated by commas; at least one.
Result<std::vector<unsigned>> parse_contributors(const std::string &text) {
  std::vector<unsigned> result;
  const char *at = text.data();
  const char *const end = at + text.size();
  while (true) {
    unsigned worker = 0;
    const auto [next, error] = std::from_chars(at, end, worker);
    if (error != std::errc{} || (next != end && *next != ','))
      return fail(ErrorCode::kInvalidArgument,
                  "--contributors '{}': numbers of workers from 0, separated by commas, are needed",
                  text);
    result.push_back(worker);
    if (next == end)
      return result;
    at = next + 1;
  }
}

/// Squared error against the contributors' mean in double precision, over the mean's squared norm;
/// nothing when that is zero and the result is not.
std::optional<double> nmse_of(std::span<const float> x, std::size_t d,
                              const std::vector<unsigned> &contributors,
                              std::span<const float> mean) {
  double error = 0.0;
  double power = 0.0;
  for (std::size_t i = 0; i < d; ++i) {
    double exact = 0.0;
    for (const unsigned worker : contributors)
      exact += static_cast<double>(x[worker * d + i]);
    exact /= static_cast<double>(contributors.size());
    const double difference = static_cast<double>(mean[i]) - exact;
    error += difference * difference;
    power += exact * exact;
  }
  if (power == 0.0)
    return error == 0.0 ? std::optional(0.0) : std::nullopt;
  return error / power;
}

nlohmann::json operation_json(const thc::OperationTotal &total) {
  const thc::Counters &c = total.counters;
  nlohmann::json json{{"coordinates", total.coordinates},
                      {"input_coordinates", total.input_coordinates},
                      {"commands", c.commands},
                      {"cycles_basis", c.cycles_known ? "simulated" : "unknown"}};
  if (c.cycles_known) {
    json["cycles"] = c.cycles;
    json["coordinates_per_cycle"] =
        static_cast<double>(total.input_coordinates) / static_cast<double>(c.cycles);
    json["counters"] = {{"in_beats", c.in_beats}, {"out_beats", c.out_beats},
                        {"stall_in", c.stall_in}, {"stall_out", c.stall_out},
                        {"rd_beats", c.rd_beats}, {"wr_beats", c.wr_beats}};
  }
  return json;
}

void print_operation(const char *name, const thc::OperationTotal &total) {
  if (total.counters.cycles_known)
    fmt::print("  {:<11}{:>10} coordinates in {:>9} cycles (simulated): {:.2f} a cycle\n", name,
               total.input_coordinates, total.counters.cycles,
               static_cast<double>(total.input_coordinates) /
                   static_cast<double>(total.counters.cycles));
}

Result<void> round_trip(const RoundTripArguments &arguments) {
  KESTREL_ASSIGN(const NpyArray array, load_npy(arguments.input));
  KESTREL_ASSIGN(const auto x, array.values<float>(arguments.input));
  if (array.shape.size() != 2 || x.empty())
    return fail(ErrorCode::kShapeMismatch,
                "{}: the array is [{}]; [workers, coordinates] is needed, at least one of each",
                arguments.input, fmt::join(array.shape, ", "));
  const auto workers = static_cast<std::size_t>(array.shape[0]);
  const auto d = static_cast<std::size_t>(array.shape[1]);
  KESTREL_ASSIGN(const thc::ref::Table table, make_table(arguments.table));
  KESTREL_ASSIGN(auto device, thc::make_device(arguments.device, arguments.device_options));

  thc::RoundTripOptions options;
  options.table = table;
  options.block_log2 = arguments.block_log2;
  options.seed = arguments.seed;
  options.round = arguments.round;
  if (arguments.contributors) {
    KESTREL_ASSIGN(options.contributors, parse_contributors(*arguments.contributors));
  } else {
    for (unsigned worker = 0; worker < workers; ++worker)
      options.contributors.push_back(worker);
  }
  std::optional<thc::RoundTrip> trip;
  {
    Progress progress(fmt::format("thc on {}", device->name()), 2 * options.contributors.size() + 2,
                      "operations");
    options.progress = [&](std::string_view, std::size_t done, std::size_t) {
      progress.update(done);
    };
    auto result = thc::round_trip(*device, x, workers, options);
    if (!result)
      return fail(result.error().code, "{}: {}", arguments.input, result.error().message);
    trip = std::move(*result);
  }

  const auto size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  if (!arguments.output.empty())
    KESTREL_TRY(save_npy(arguments.output, make_npy<float>({size(d)}, trip->mean)));
  if (!arguments.packed.empty())
    KESTREL_TRY(
        save_npy(arguments.packed,
                 make_npy<std::uint8_t>({size(workers), size(trip->padded / 2)}, trip->packed)));
  if (!arguments.sums.empty()) {
    if (trip->sum_bits == 8) {
      const std::vector<std::uint8_t> narrow(trip->sums.begin(), trip->sums.end());
      KESTREL_TRY(save_npy(arguments.sums, make_npy<std::uint8_t>({size(trip->padded)}, narrow)));
    } else {
      KESTREL_TRY(
          save_npy(arguments.sums, make_npy<std::uint16_t>({size(trip->padded)}, trip->sums)));
    }
  }

  const std::optional<double> nmse = nmse_of(x, d, options.contributors, trip->mean);
  const ClockInfo clock = device->clock();
  if (!arguments.json.empty()) {
    nlohmann::json json{{"device", arguments.device},
                        {"clock", {{"mhz", clock.mhz}, {"basis", clock.basis}}},
                        {"workers", workers},
                        {"contributors", options.contributors},
                        {"coordinates", d},
                        {"padded", trip->padded},
                        {"blocks", trip->blocks.size()},
                        {"block_log2", trip->blocks.front()},
                        {"table",
                         {{"bits", table.bits},
                          {"granularity", table.granularity},
                          {"t", table.t},
                          {"p", arguments.table.p},
                          {"values", table.values}}},
                        {"seed", arguments.seed},
                        {"round", arguments.round},
                        {"sum_bits", trip->sum_bits},
                        {"out_of_range", trip->out_of_range},
                        {"nmse", nullptr},
                        {"bytes_up", trip->bytes_up},
                        {"bytes_down", trip->bytes_down},
                        {"bytes_uncompressed", 4 * d},
                        {"operations",
                         {{"norm", operation_json(trip->norm)},
                          {"compress", operation_json(trip->compress)},
                          {"aggregate", operation_json(trip->aggregate)},
                          {"decompress", operation_json(trip->decompress)}}}};
    if (nmse)
      json["nmse"] = *nmse;
    KESTREL_TRY(write_json(arguments.json, json));
  }
  if (arguments.json != "-") {
    fmt::print(
        "{}: {} of {} workers, {} coordinates, {} bits an index, g {}: NMSE {}, {} bytes up, "
        "{} down ({} uncompressed)\n",
        arguments.input, options.contributors.size(), workers, d, table.bits, table.granularity,
        nmse ? fmt::format("{:.5f}", *nmse) : "undefined (mean is zero)", trip->bytes_up,
        trip->bytes_down, 4 * d);
    print_operation("norm", trip->norm);
    print_operation("compress", trip->compress);
    print_operation("aggregate", trip->aggregate);
    print_operation("decompress", trip->decompress);
  }
  return {};
}

struct SolveArguments {
  TableOptions table;
  bool free = false;
  std::string json = "-";
};

Result<void> solve(const SolveArguments &arguments) {
  const TableOptions &o = arguments.table;
  if (const auto text = thc::ref::solve_error(o.bits, o.granularity, o.p))
    return fail(ErrorCode::kInvalidArgument, "--bits {} --granularity {} --p {}: {}", o.bits,
                o.granularity, o.p, *text);
  const thc::ref::SolvedTable solved =
      thc::ref::solve_table(o.bits, o.granularity, o.p, !arguments.free);
  const double t = thc::ref::clamp_of(o.p);
  const double truncation = thc::ref::truncation_error(t);
  return write_json(arguments.json,
                    {{"bits", o.bits},
                     {"granularity", o.granularity},
                     {"p", o.p},
                     {"t", t},
                     {"symmetric", !arguments.free},
                     {"table", solved.values},
                     {"rounding_error", solved.error},
                     {"truncation_error", truncation},
                     {"nmse_one_worker", thc::ref::predicted_nmse(solved.error, truncation, 1)}});
}

void add_table_options(CLI::App *command, TableOptions &table) {
  command->add_option("--bits", table.bits, "Bits of an index")
      ->check(within<unsigned>())
      ->capture_default_str();
  command->add_option("--granularity", table.granularity, "Grid of the table values, g")
      ->check(within<unsigned>())
      ->capture_default_str();
  command->add_option("--p", table.p, "Share of coordinates that the clamp may cut")
      ->check(kClampShare)
      ->capture_default_str();
}

void add_round_trip(CLI::App *parent, int &status) {
  auto arguments = std::make_shared<RoundTripArguments>();
  CLI::App *command =
      parent->add_subcommand("roundtrip", "Compress, add up and decode gradients from a .npy file");
  command->footer(
      "The input is a float32 array [workers, coordinates]; the output is the estimated mean over\n"
      "the contributing workers. Gradients are padded with zeros to a multiple of 1024 "
      "coordinates\n"
      "and cut into blocks with a norm each; error feedback is off.\n"
      "\n"
      "Examples:\n"
      "  kestrel thc roundtrip --input x.npy --output y.npy\n"
      "  kestrel thc roundtrip --device rtl --input x.npy --json -       cycles of each operation\n"
      "  kestrel thc roundtrip --input x.npy --contributors 0,2,3        a worker is missing\n"
      "  kestrel thc roundtrip --input x.npy --bits 3 --granularity 16   a smaller table\n"
      "\n"
      "Device fast is bit-exact and quick; rtl simulates the hardware cycle by cycle.");
  command->add_option("--device", arguments->device, "fast or rtl")
      ->check(CLI::IsMember({"fast", "rtl"}))
      ->capture_default_str();
  command->add_option("--input", arguments->input, "Gradients, float32 .npy [workers, coordinates]")
      ->required()
      ->type_name("X.npy");
  command->add_option("--output", arguments->output, "Estimated mean, float32 .npy")
      ->type_name("Y.npy");
  command
      ->add_option(
          "--packed", arguments->packed,
          "Indices, uint8 .npy [workers, padded / 2], first coordinate in the high nibble; "
          "zeros for workers that do not contribute")
      ->type_name("P.npy");
  command->add_option("--sums", arguments->sums, "Sums, uint8 or uint16 .npy [padded]")
      ->type_name("S.npy");
  command->add_option("--json", arguments->json, "NMSE, bytes and cycles, - for stdout")
      ->type_name("FILE");
  command
      ->add_option("--contributors", arguments->contributors,
                   "Workers whose contribution arrives, from 0 (default: all)")
      ->type_name("W,W,...");
  add_table_options(command, arguments->table);
  command
      ->add_option("--table", arguments->table.values,
                   "Table values from 0 to g, ascending, instead of the best ones for --bits and "
                   "--granularity")
      ->delimiter(',')
      ->type_name("T,T,...");
  command->add_option("--seed", arguments->seed, "Of signs and rounding")
      ->check(within<std::uint64_t>())
      ->capture_default_str();
  command->add_option("--round", arguments->round, "Number of the round")
      ->check(within<std::uint32_t>())
      ->capture_default_str();
  command->add_option("--block-log2", arguments->block_log2, "Largest block, 10..15")
      ->check(within<int>())
      ->capture_default_str();
  command
      ->add_option("--read-latency", arguments->device_options.memory.read_latency,
                   "Cycles from read request to first data of the external memory (rtl)")
      ->check(kReadLatency)
      ->capture_default_str();
  command->add_option("--clock-mhz", arguments->device_options.clock_mhz, "Assumed clock")
      ->check(kClockMhz)
      ->capture_default_str();
  command->add_option("--trace", arguments->device_options.trace_path, "Waveforms (rtl)")
      ->type_name("FILE.fst");
  command->callback(
      [arguments, &status] { status = finish("thc roundtrip", round_trip(*arguments)); });
}

void add_solve(CLI::App *parent, int &status) {
  auto arguments = std::make_shared<SolveArguments>();
  CLI::App *command =
      parent->add_subcommand("solve", "The quantisation table with the smallest expected error");
  command->footer(
      "Exact: a shortest path over the grid 0..g, for normally distributed coordinates.\n"
      "\n"
      "Examples:\n"
      "  kestrel thc solve --bits 4 --granularity 30 --p 0.03125\n"
      "  kestrel thc solve --bits 4 --granularity 17 --free --json table.json");
  add_table_options(command, arguments->table);
  command->add_flag("--free", arguments->free, "Let the table be asymmetric");
  command->add_option("--json", arguments->json, "Where to write, - for stdout")
      ->capture_default_str()
      ->type_name("FILE");
  command->callback([arguments, &status] { status = finish("thc solve", solve(*arguments)); });
}

} // namespace

void add_thc(CLI::App &app, int &status) {
  CLI::App *command =
      app.add_subcommand("thc", "Gradient aggregation with homomorphic compression (THC)");
  command->footer("Examples:\n"
                  "  kestrel thc roundtrip --input x.npy --output y.npy --json -\n"
                  "  kestrel thc solve --bits 4 --granularity 30 --p 0.03125\n"
                  "  kestrel thc search --workers 8\n"
                  "  kestrel thc schemes --workers 4 --log2 16");
  command->require_subcommand(1);
  add_round_trip(command, status);
  add_solve(command, status);
  add_thc_search(*command, status);
  add_thc_schemes(*command, status);
}

} // namespace kestrel::cli
