// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// compile(): lowering, tiling, allocation, and the program in order.
#include "kestrel/vision/compiler.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>

#include "compiler/builder.hpp"
#include "compiler/layer.hpp"

namespace kestrel::hv {
namespace compiler {
namespace {

constexpr int kStartCycles = 20; // of a descriptor: pipeline fill, first results written

// A part of the input and of the first layer that can run once it has arrived.
struct Stripe {
  int pixels = 0;  // input pixels of this LOAD
  int outputs = 0; // output pixels of this COMPUTE, may be 0
};

class Emitter {
public:
  Emitter(const Graph &graph, const contract::Config &config, const CompileOptions &options,
          Program &program)
      : graph_(graph), config_(config), options_(options), program_(program), builder_(config) {}

  Result<Package> run();

private:
  const Map &map(int id) const { return program_.maps[static_cast<std::size_t>(id)]; }
  Placement whole(int id) const {
    return id < 0 ? Placement{} : Placement{map(id).base, map(id).rows_per_group, 0};
  }
  std::string name_of(const Layer &layer) const { return describe(graph_.op(layer.op)); }

  // Bytes of a pixel in the IN region.
  int input_pixel_bytes() const { return static_cast<int>(program_.input.padded_channels); }
  std::uint64_t load_cycles(int pixels) const;
  std::vector<Stripe> cut(int count) const;
  std::uint64_t start_up_cycles(const std::vector<Stripe> &stripes) const;
  std::vector<Stripe> choose_stripes() const;
  Result<void> emit_load(int first, int pixels);
  Result<void> emit_input_and_first_layer();
  Result<void> emit_layer(const Layer &layer);
  Result<void> emit_output();
  void fill_table();

  const Graph &graph_;
  const contract::Config &config_;
  const CompileOptions &options_;
  Program &program_;
  Builder builder_;
  Package package_;
  std::vector<int> first_compute_; // per layer: index of its first compute descriptor
};

std::uint64_t Emitter::load_cycles(int pixels) const {
  const auto beats = ceil_div<std::uint64_t>(static_cast<std::uint64_t>(pixels) *
                                                 static_cast<std::uint64_t>(input_pixel_bytes()),
                                             config_.bus_bytes);
  if (program_.input.layout != InputLayout::kRaw)
    return beats;
  // Whole pixels that RAW unpacks per cycle.
  constexpr std::array<int, 8> kPixels = {8, 4, 3, 2, 2, 2, 2, 1};
  const int rate = kPixels[program_.input.channels - 1];
  return std::max(beats, static_cast<std::uint64_t>(ceil_div(pixels, rate)));
}

// `count` equal stripes of the input, each beginning at a burst boundary, with the whole output
// tiles that each makes possible.
std::vector<Stripe> Emitter::cut(int count) const {
  const Layer &layer = program_.layers.front();
  const int pixels = static_cast<int>(program_.input.pixels);
  const int align = static_cast<int>(contract::kAlignBytes);
  const int unit = align / std::gcd(align, input_pixel_bytes());
  const int lanes = static_cast<int>(config_.lanes) >> layer.glog;
  std::vector<Stripe> stripes;
  int loaded = 0, made = 0;
  for (int i = 1; i <= count && loaded < pixels; ++i) {
    int end = static_cast<int>(static_cast<std::int64_t>(pixels) * i / count);
    end = i == count ? pixels : std::min(pixels, round_up(end, unit));
    if (end <= loaded)
      continue;
    int next = made;
    if (end == pixels) {
      next = layer.out_pixels();
    } else {
      while (next + lanes <= layer.out_pixels() && last_input_pixel(layer, next + lanes - 1) < end)
        next += lanes;
    }
    stripes.push_back({end - loaded, next - made});
    loaded = end;
    made = next;
  }
  return stripes;
}

// When the first layer ends, counted from the doorbell.
std::uint64_t Emitter::start_up_cycles(const std::vector<Stripe> &stripes) const {
  const Layer &layer = program_.layers.front();
  std::uint64_t loaded = 0, done = 0;
  int first = 0;
  for (const Stripe &stripe : stripes) {
    loaded += load_cycles(stripe.pixels) + 2;
    if (stripe.outputs == 0)
      continue;
    const TileCost cost = tile_cost(layer, config_, layer.glog, first, stripe.outputs);
    done = std::max(done, loaded + options_.read_latency) + cost.cycles + kStartCycles;
    first += stripe.outputs;
  }
  return done;
}

std::vector<Stripe> Emitter::choose_stripes() const {
  const Layer &layer = program_.layers.front();
  const SegmentSize size = segment_size(layer, config_, layer.glog);
  // Stripes share one weight segment, which must then stay in the ring.
  const bool possible = layer.in == program_.input_map && layer.res < 0 && layer.runs.size() == 1 &&
                        size.words() <= config_.ring_words;
  if (!possible)
    return cut(1);
  if (options_.input_stripes != 0)
    return cut(static_cast<int>(std::min(options_.input_stripes, 64U)));
  std::vector<Stripe> best = cut(1);
  std::uint64_t best_cycles = start_up_cycles(best);
  for (int count = 2; count <= 16; ++count) {
    std::vector<Stripe> stripes = cut(count);
    const std::uint64_t cycles = start_up_cycles(stripes);
    if (cycles < best_cycles) {
      best = std::move(stripes);
      best_cycles = cycles;
    }
  }
  return best;
}

Result<void> Emitter::emit_load(int first, int pixels) {
  const Map &in = map(program_.input_map);
  contract::LoadDesc d;
  const bool raw = program_.input.layout == InputLayout::kRaw;
  d.mode = static_cast<int>(raw ? contract::LoadMode::kRaw : contract::LoadMode::kNhwc);
  d.base = static_cast<int>(contract::BaseSel::kIn);
  d.addr = std::int64_t{first} * input_pixel_bytes();
  d.beats = ceil_div<std::int64_t>(std::int64_t{pixels} * input_pixel_bytes(), config_.bus_bytes);
  d.dst_base = in.base;
  d.dst_s = in.rows_per_group;
  d.p0 = first;
  d.chans = raw ? in.channels : in.groups;
  d.count = raw ? pixels : std::int64_t{pixels} * in.groups;
  return builder_.add(d, fmt::format("input '{}'", in.name));
}

Result<void> Emitter::emit_input_and_first_layer() {
  const Layer &layer = program_.layers.front();
  const std::vector<Stripe> stripes = choose_stripes();
  if (stripes.size() == 1) {
    KESTREL_TRY(emit_load(0, stripes.front().pixels));
    return emit_layer(layer);
  }
  first_compute_.push_back(builder_.computes());
  const Builder::Segment segment = builder_.add_segment(weight_segment(layer, 0, config_));
  int loaded = 0, made = 0;
  int ready = 0; // first output of the next compute descriptor
  bool first = true;
  const auto compute = [&](int count, int wait_load) -> Result<void> {
    contract::ComputeDesc d = compute_geometry(layer, config_, ready, count, whole(layer.in),
                                               whole(layer.out), whole(layer.res));
    d.wnew = first ? 1 : 0;
    d.wrel = ready + count == layer.out_pixels() ? 1 : 0;
    d.waddr = first ? segment.offset : 0;
    d.wwords = first ? segment.words : 0;
    d.wait_load = wait_load;
    first = false;
    ready += count;
    return builder_.add(d, name_of(layer));
  };
  // A LOAD goes ahead of the compute descriptor of the stripe before, so that the bus never waits
  // for the front end.
  int pending = 0;
  for (const Stripe &stripe : stripes) {
    KESTREL_TRY(emit_load(loaded, stripe.pixels));
    loaded += stripe.pixels;
    if (pending > 0)
      KESTREL_TRY(compute(pending, builder_.loads() - 1));
    made += stripe.outputs;
    pending = stripe.outputs;
  }
  if (pending > 0)
    KESTREL_TRY(compute(pending, builder_.loads()));
  if (made != layer.out_pixels())
    return fail(ErrorCode::kInternal, "{}: stripes miss outputs", name_of(layer));
  return {};
}

Result<void> Emitter::emit_layer(const Layer &layer) {
  first_compute_.push_back(builder_.computes());
  std::vector<std::optional<Builder::Segment>> segments(layer.variants.size());
  bool first = true;
  for (const Run &run : layer.runs) {
    auto &segment = segments[static_cast<std::size_t>(run.variant)];
    if (!segment)
      segment = builder_.add_segment(weight_segment(layer, run.variant, config_));
    contract::ComputeDesc d = compute_geometry(layer, config_, run.first, run.count,
                                               whole(layer.in), whole(layer.out), whole(layer.res));
    d.dep = first && builder_.computes() > 0 ? 1 : 0;
    d.wnew = 1;
    d.wrel = 1;
    d.waddr = segment->offset;
    d.wwords = segment->words;
    d.wait_load = builder_.loads();
    KESTREL_TRY(builder_.add(d, name_of(layer)));
    first = false;
  }
  return {};
}

Result<void> Emitter::emit_output() {
  if (program_.confidence) {
    const Map &logits = map(program_.confidence->map);
    contract::ConfDesc d;
    d.softmax = 1;
    d.base = static_cast<int>(contract::BaseSel::kOut);
    d.wait_compute = builder_.computes();
    d.wait_load = builder_.loads();
    d.src_base = logits.base;
    d.src_s = logits.rows_per_group;
    d.classes = program_.confidence->classes;
    package_.out_bytes = round_up(static_cast<std::uint32_t>(program_.confidence->classes),
                                  static_cast<std::uint32_t>(contract::kAlignBytes));
    return builder_.add(d, "SOFTMAX");
  }
  const Map &out = map(program_.output_map);
  contract::StoreDesc d;
  d.base = static_cast<int>(contract::BaseSel::kOut);
  d.wait_compute = builder_.computes();
  d.wait_load = builder_.loads();
  d.src_base = out.base;
  d.src_s = out.rows_per_group;
  d.groups = out.groups;
  d.n = out.pixels;
  const std::uint64_t bytes = static_cast<std::uint64_t>(out.groups) *
                              static_cast<std::uint64_t>(out.pixels) * config_.word_bytes;
  package_.out_bytes =
      static_cast<std::uint32_t>(round_up<std::uint64_t>(bytes, contract::kAlignBytes));
  return builder_.add(d, fmt::format("output '{}'", out.name));
}

void Emitter::fill_table() {
  for (const Op &op : graph_.ops) {
    LayerInfo info;
    info.name = op.name;
    const OpNote &note = program_.notes[static_cast<std::size_t>(op.id)];
    info.op = op.type + note.suffix;
    info.note = note.note;
    info.macs = static_cast<std::uint64_t>(op.macs);
    for (std::size_t i = 0; i < program_.layers.size(); ++i) {
      const Layer &layer = program_.layers[i];
      if (layer.op != op.id)
        continue;
      const SegmentSize size = segment_size(layer, config_, layer.glog);
      info.cycles = layer.cycles;
      info.bound = layer.bound;
      info.weight_bytes = size.words() * config_.ring_word_bytes() * layer.runs.size();
      info.groups_per_tile = 1U << layer.glog;
      info.first_descriptor = static_cast<std::uint32_t>(first_compute_[i]);
      info.descriptors = static_cast<std::uint32_t>(
          (i + 1 < first_compute_.size() ? first_compute_[i + 1] : builder_.computes()) -
          first_compute_[i]);
      if (i == 0)
        info.load_bytes = package_.in_bytes;
      if (layer.out == program_.output_map)
        info.store_bytes = package_.out_bytes;
    }
    if (info.cycles > 0) {
      info.utilisation = static_cast<double>(info.macs) /
                         (static_cast<double>(info.cycles) * static_cast<double>(config_.macs()));
    }
    package_.estimated_cycles += info.cycles;
    package_.layers.push_back(std::move(info));
  }
}

Result<Package> Emitter::run() {
  package_.contract_version = contract::kVersion;
  package_.config_name = config_.name;
  package_.model_name = options_.model_name.empty() ? graph_.name : options_.model_name;
  package_.source_hash = options_.source_hash;
  package_.input = program_.input;
  package_.output = program_.output;
  package_.macs = static_cast<std::uint64_t>(graph_.macs());
  const std::uint64_t in_bytes =
      std::uint64_t{program_.input.pixels} * program_.input.padded_channels;
  package_.in_bytes =
      static_cast<std::uint32_t>(round_up<std::uint64_t>(in_bytes, contract::kAlignBytes));

  KESTREL_TRY(emit_input_and_first_layer());
  for (std::size_t i = 1; i < program_.layers.size(); ++i)
    KESTREL_TRY(emit_layer(program_.layers[i]));
  KESTREL_TRY(emit_output());
  if (program_.confidence) {
    package_.has_confidence = true;
    package_.exp_table = program_.confidence->table;
  }
  for (const Map &m : program_.maps) {
    package_.act_rows_used =
        std::max(package_.act_rows_used,
                 static_cast<std::uint32_t>(m.base + m.all_groups * m.rows_per_group));
  }
  fill_table();
  KESTREL_TRY(builder_.finish(package_));
  return std::move(package_);
}

// The point of the schedule that needs the most memory, for the message.
std::string tightest(const Program &program, const Graph &graph) {
  int worst = 0, most = -1;
  for (int i = 0; i < static_cast<int>(program.layers.size()); ++i) {
    int rows = 0;
    for (const Map &m : program.maps) {
      if (m.first <= i && i <= m.last)
        rows += m.all_groups * m.rows_per_group;
    }
    if (rows > most) {
      most = rows;
      worst = i;
    }
  }
  return describe(graph.op(program.layers[static_cast<std::size_t>(worst)].op));
}

} // namespace
} // namespace compiler

Result<Package> compile(const Graph &graph, const contract::Config &config,
                        const CompileOptions &options) {
  KESTREL_ASSIGN(compiler::Program program, compiler::lower(graph, config));
  const int rows = static_cast<int>(options.act_rows_limit == 0
                                        ? config.act_rows
                                        : std::min(options.act_rows_limit, config.act_rows));
  int peak = 0;
  bool fits = false;
  for (const bool narrow : {false, true}) {
    KESTREL_TRY(compiler::plan_tiles(program, graph, config, options, narrow));
    compiler::size_maps(program, config);
    fits = compiler::allocate(program, rows, peak);
    if (fits)
      break;
  }
  if (!fits) {
    return fail(ErrorCode::kResourceLimit,
                "{}: the maps that live at {} need {} rows of activation memory; configuration "
                "'{}' has {}",
                graph.name, compiler::tightest(program, graph), peak, config.name, rows);
  }
  compiler::Emitter emitter(graph, config, options, program);
  KESTREL_ASSIGN(Package package, emitter.run());
  KESTREL_TRY(verify_package(package));
  return package;
}

} // namespace kestrel::hv
