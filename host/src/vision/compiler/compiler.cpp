// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// compile(): lowering, tiling, allocation, and the program in order.
#include "kestrel/vision/compiler.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <numeric>
#include <utility>

#include "kestrel/vision/cycle_model.hpp"
#include "vision/compiler/builder.hpp"
#include "vision/compiler/layer.hpp"
#include "vision/compiler/narrow.hpp"

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
          Program &program, const std::vector<Segment> &segments)
      : graph_(graph), config_(config), options_(options), program_(program), segments_(segments),
        builder_(config), cost_(program.layers.size()), produced_(program.maps.size(), 0) {}

  Result<Package> run();

private:
  // A map in external memory: blocks, or the input as it comes.
  struct External {
    contract::BaseSel base = contract::BaseSel::kScratch;
    std::int64_t offset = 0;
    int block = 0; // pixels
  };
  // What a layer turned out to need, for the table.
  struct LayerCost {
    std::uint64_t weight_bytes = 0, load_bytes = 0, store_bytes = 0, cycles = 0;
    int first_compute = 0, computes = 0;
  };
  // Counts that later descriptors wait for.
  struct Counts {
    int loads = 0, computes = 0, outs = 0;
  };

  const Map &map(int id) const { return program_.maps[static_cast<std::size_t>(id)]; }
  const Layer &layer(int i) const { return program_.layers[static_cast<std::size_t>(i)]; }
  LayerCost &cost(int i) { return cost_[static_cast<std::size_t>(i)]; }
  std::string name_of(const Layer &layer) const { return describe(graph_.op(layer.op)); }
  Counts counts() const { return {builder_.loads(), builder_.computes(), builder_.outs()}; }
  // Where a map is in stripe `turn` of a segment, when its window begins at `first_pixel`.
  static Placement placement(const Segment &segment, int id, int turn, int first_pixel) {
    if (id < 0)
      return {};
    const PlacedMap &p = segment.at(id);
    return {p.base[static_cast<std::size_t>(turn % 2)], p.rows_per_group, first_pixel};
  }

  // Bytes of a pixel in the IN region.
  int input_pixel_bytes() const { return static_cast<int>(program_.input.padded_channels); }
  std::uint64_t load_cycles(int pixels) const;
  std::vector<Stripe> cut(int count) const;
  std::uint64_t start_up_cycles(const std::vector<Stripe> &stripes) const;
  std::vector<Stripe> choose_stripes() const;

  void place_external();
  Builder::Segment weights(int index, int variant);
  // Output pixels `out` of a layer, one descriptor for each run.
  struct Pass {
    Span out;
    Placement in, result, res;
    int wait_load = 0, wait_out = 0;
    bool first = true, last = true; // of the passes that share one weight segment in the ring
  };
  Result<void> emit_compute(int index, const Pass &pass);
  Result<void> emit_load(int id, Span span, const Placement &to, const Counts &wait, int reader);
  Result<void> emit_store(int id, Span span, const Placement &from, int wait_compute);
  Result<void> emit_first_layer(const Segment &segment);
  Result<void> emit_whole(const Segment &segment);
  Result<void> emit_striped(const Segment &segment);
  Result<void> emit_confidence();
  void fill_table();

  const Graph &graph_;
  const contract::Config &config_;
  const CompileOptions &options_;
  Program &program_;
  const std::vector<Segment> &segments_;
  Builder builder_;
  Package package_;
  std::vector<LayerCost> cost_;
  std::vector<External> external_;
  std::map<std::pair<int, int>, Builder::Segment> weights_;
  std::vector<int> produced_; // per map: compute descriptors after which it is complete
  int barrier_ = 0;           // compute descriptors complete before the last one with `dep`
};

std::uint64_t Emitter::load_cycles(int pixels) const {
  const auto beats = ceil_div<std::uint64_t>(static_cast<std::uint64_t>(pixels) *
                                                 static_cast<std::uint64_t>(input_pixel_bytes()),
                                             config_.bus_bytes);
  const std::uint64_t moved = options_.memory.cycles_of(beats);
  if (program_.input.layout != InputLayout::kRaw)
    return moved;
  // Whole pixels that RAW unpacks per cycle.
  constexpr std::array<int, 8> kPixels = {8, 4, 3, 2, 2, 2, 2, 1};
  const int rate = kPixels[program_.input.channels - 1];
  return std::max(moved, static_cast<std::uint64_t>(ceil_div(pixels, rate)));
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
    done = std::max(done, loaded + options_.memory.read_latency) + cost.cycles + kStartCycles;
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

// Where maps that leave activation memory go. A map that no segment cuts into stripes is one block.
void Emitter::place_external() {
  external_.resize(program_.maps.size());
  std::vector<bool> cut(program_.maps.size(), false);
  for (const Segment &segment : segments_) {
    for (const PlacedMap &p : segment.placed) {
      if (segment.striped())
        cut[static_cast<std::size_t>(p.map)] = true;
    }
  }
  std::int64_t scratch = 0;
  for (const Segment &segment : segments_) {
    for (const PlacedMap &p : segment.placed) {
      const Map &m = map(p.map);
      External &e = external_[static_cast<std::size_t>(p.map)];
      const int block =
          cut[static_cast<std::size_t>(p.map)] ? block_pixels(program_, config_, p.map) : m.pixels;
      const std::int64_t bytes = round_up(std::int64_t{m.groups} * m.pixels * config_.word_bytes,
                                          static_cast<std::int64_t>(contract::kAlignBytes));
      if (p.map == program_.input_map) {
        e = {contract::BaseSel::kIn, 0, m.pixels};
      } else if (p.stored && p.map == program_.output_map) {
        e = {contract::BaseSel::kOut, 0, block};
        package_.out_bytes = static_cast<std::uint32_t>(bytes);
        package_.output.block_pixels = static_cast<std::uint32_t>(block);
      } else if (p.stored) {
        e = {contract::BaseSel::kScratch, scratch, block};
        scratch += bytes;
      }
    }
  }
  package_.scratch_bytes = static_cast<std::uint32_t>(scratch);
}

Builder::Segment Emitter::weights(int index, int variant) {
  const auto [at, missing] = weights_.try_emplace({index, variant});
  if (missing)
    at->second = builder_.add_segment(weight_segment(layer(index), variant, config_));
  return at->second;
}

Result<void> Emitter::emit_compute(int index, const Pass &pass) {
  const Layer &l = layer(index);
  LayerCost &cost_of = cost(index);
  const auto pending = [&](int id) {
    return id >= 0 && produced_[static_cast<std::size_t>(id)] > barrier_;
  };
  for (const Run &run : l.runs) {
    const int from = std::max(run.first, pass.out.lo);
    const int to = std::min(run.first + run.count, pass.out.hi);
    if (from >= to)
      continue;
    const Builder::Segment segment = weights(index, run.variant);
    contract::ComputeDesc d =
        compute_geometry(l, config_, from, to - from, pass.in, pass.result, pass.res);
    if (pending(l.in) || pending(l.res)) {
      d.dep = 1;
      barrier_ = builder_.computes();
    }
    d.wnew = pass.first ? 1 : 0;
    d.wrel = pass.last ? 1 : 0;
    if (pass.first) {
      d.waddr = segment.offset;
      d.wwords = segment.words;
      cost_of.weight_bytes += std::uint64_t{segment.words} * config_.ring_word_bytes();
    }
    d.wait_load = pass.wait_load;
    d.wait_out = pass.wait_out;
    if (cost_of.computes++ == 0)
      cost_of.first_compute = builder_.computes();
    cost_of.cycles += tile_cost(l, config_, l.glog, from, to - from).cycles;
    KESTREL_TRY(builder_.add(d, name_of(l)));
    produced_[static_cast<std::size_t>(l.out)] = builder_.computes();
  }
  return {};
}

// Loads the pixels of `span`, for the layer `reader`.
Result<void> Emitter::emit_load(int id, Span span, const Placement &to, const Counts &wait,
                                int reader) {
  const Map &m = map(id);
  const External &e = external_[static_cast<std::size_t>(id)];
  contract::LoadDesc d;
  d.base = static_cast<int>(e.base);
  d.wait_compute = wait.computes;
  d.wait_out = wait.outs;
  d.dst_base = to.base;
  d.dst_s = to.rows_per_group;
  const std::string what = fmt::format("map '{}'", m.name);
  if (id == program_.input_map) {
    const bool raw = program_.input.layout == InputLayout::kRaw;
    d.mode = static_cast<int>(raw ? contract::LoadMode::kRaw : contract::LoadMode::kNhwc);
    d.addr = std::int64_t{span.lo} * input_pixel_bytes();
    d.beats =
        ceil_div<std::int64_t>(std::int64_t{span.size()} * input_pixel_bytes(), config_.bus_bytes);
    d.p0 = span.lo - to.first_pixel;
    d.chans = raw ? m.channels : m.groups;
    d.count = raw ? span.size() : std::int64_t{span.size()} * m.groups;
    cost(reader).load_bytes += static_cast<std::uint64_t>(d.beats) * config_.bus_bytes;
    return builder_.add(d, what);
  }
  d.mode = static_cast<int>(contract::LoadMode::kPlanar);
  for (int from = span.lo; from < span.hi; from += e.block) {
    d.n = std::min(e.block, m.pixels - from);
    d.count = d.n * m.groups;
    d.beats = ceil_div<std::int64_t>(d.count * config_.word_bytes, config_.bus_bytes);
    d.addr = e.offset + std::int64_t{from} * m.groups * config_.word_bytes;
    d.p0 = from - to.first_pixel;
    cost(reader).load_bytes += static_cast<std::uint64_t>(d.beats) * config_.bus_bytes;
    KESTREL_TRY(builder_.add(d, what));
  }
  return {};
}

// Stores the pixels of `span` when `wait_compute` compute descriptors are complete.
Result<void> Emitter::emit_store(int id, Span span, const Placement &from, int wait_compute) {
  const Map &m = map(id);
  const External &e = external_[static_cast<std::size_t>(id)];
  contract::StoreDesc d;
  d.base = static_cast<int>(e.base);
  d.wait_compute = wait_compute;
  d.wait_load = builder_.loads();
  d.src_base = from.base;
  d.src_s = from.rows_per_group;
  d.groups = m.groups;
  for (int at = span.lo; at < span.hi; at += e.block) {
    d.n = std::min(e.block, m.pixels - at);
    d.addr = e.offset + std::int64_t{at} * m.groups * config_.word_bytes;
    d.p0 = at - from.first_pixel;
    cost(m.producer).store_bytes += static_cast<std::uint64_t>(d.groups * d.n) * config_.word_bytes;
    KESTREL_TRY(builder_.add(d, fmt::format("map '{}'", m.name)));
  }
  return {};
}

// The first layer of the network on the whole input, in stripes as the input arrives.
Result<void> Emitter::emit_first_layer(const Segment &segment) {
  const Layer &l = layer(0);
  const std::vector<Stripe> stripes = choose_stripes();
  Pass pass;
  pass.in = placement(segment, l.in, 0, 0);
  pass.result = placement(segment, l.out, 0, 0);
  pass.res = placement(segment, l.res, 0, 0);
  int loaded = 0, made = 0;
  const auto compute = [&](int outputs, int wait_load) {
    pass.out = {made, made + outputs};
    pass.last = pass.out.hi == l.out_pixels();
    pass.wait_load = wait_load;
    made += outputs;
    auto result = emit_compute(0, pass);
    pass.first = false;
    return result;
  };
  // A LOAD goes ahead of the compute descriptor of the stripe before, so that the bus never waits
  // for the front end.
  int pending = 0;
  for (const Stripe &stripe : stripes) {
    const Span span{loaded, loaded + stripe.pixels};
    KESTREL_TRY(
        emit_load(program_.input_map, span, placement(segment, program_.input_map, 0, 0), {}, 0));
    loaded += stripe.pixels;
    if (pending > 0)
      KESTREL_TRY(compute(pending, builder_.loads() - 1));
    pending = stripe.outputs;
  }
  if (pending > 0)
    KESTREL_TRY(compute(pending, builder_.loads()));
  if (made != l.out_pixels())
    return fail(ErrorCode::kInternal, "{}: stripes miss outputs", name_of(l));
  return {};
}

Result<void> Emitter::emit_whole(const Segment &segment) {
  const Counts start = counts();
  int next = segment.first;
  if (next == 0) {
    KESTREL_TRY(emit_first_layer(segment));
    ++next;
  }
  for (const PlacedMap &p : segment.placed) {
    if (p.loaded && !(segment.first == 0 && p.map == program_.input_map)) {
      KESTREL_TRY(emit_load(p.map, {0, map(p.map).pixels}, placement(segment, p.map, 0, 0), start,
                            segment.first));
    }
  }
  for (; next < segment.last; ++next) {
    const Layer &l = layer(next);
    Pass pass;
    pass.out = {0, l.out_pixels()};
    pass.in = placement(segment, l.in, 0, 0);
    pass.result = placement(segment, l.out, 0, 0);
    pass.res = placement(segment, l.res, 0, 0);
    pass.wait_load = builder_.loads();
    pass.wait_out = start.outs;
    KESTREL_TRY(emit_compute(next, pass));
  }
  for (const PlacedMap &p : segment.placed) {
    if (p.stored) {
      KESTREL_TRY(emit_store(p.map, {0, map(p.map).pixels}, placement(segment, p.map, 0, 0),
                             builder_.computes()));
    }
  }
  return {};
}

// Stripe n is loaded while n - 1 is computed and n - 2 stored. In the program the STOREs of a
// stripe follow the compute descriptors of the next one, so that they never hold it up in the front
// end.
Result<void> Emitter::emit_striped(const Segment &segment) {
  const Counts start = counts();
  const Layer &final = layer(segment.last - 1);
  const int stripes = static_cast<int>(segment.cuts.size());
  const bool keep_weights = segment.last - segment.first == 1 && final.variants.size() == 1 &&
                            segment_size(final, config_, final.glog).words() <= config_.ring_words;
  std::vector<Counts> computed, stored; // after the compute descriptors, the STOREs of a stripe
  const auto out_span = [&](int n) {
    const auto at = static_cast<std::size_t>(n);
    return Span{n == 0 ? 0 : segment.cuts[at - 1], segment.cuts[at]};
  };
  const auto store = [&](int n) -> Result<void> {
    const PlacedMap &p = segment.at(final.out);
    if (p.stored) {
      const Span span = out_span(n);
      KESTREL_TRY(emit_store(p.map, span, placement(segment, p.map, n, span.lo),
                             computed[static_cast<std::size_t>(n)].computes));
    }
    stored.push_back(counts());
    return {};
  };
  for (int n = 0; n < stripes; ++n) {
    const std::vector<Span> spans =
        stripe_spans(program_, config_, segment.first, segment.last, out_span(n));
    const auto span_of = [&](int id) { return spans[static_cast<std::size_t>(id)]; };
    // Both windows are in use until stripe n - 2 is done.
    Counts wait = start;
    if (n >= 2)
      wait.computes = computed[static_cast<std::size_t>(n - 2)].computes;
    for (const PlacedMap &p : segment.placed) {
      const Span span = span_of(p.map);
      if (p.loaded && span.size() > 0)
        KESTREL_TRY(
            emit_load(p.map, span, placement(segment, p.map, n, span.lo), wait, segment.first));
    }
    for (int i = segment.first; i < segment.last; ++i) {
      const Layer &l = layer(i);
      const auto place = [&](int id) {
        if (id < 0)
          return Placement{};
        // The logits are whole; everything else is a window.
        const PlacedMap &p = segment.at(id);
        const bool window = p.loaded || p.stored || id != final.out;
        return placement(segment, id, n, window ? span_of(id).lo : 0);
      };
      Pass pass;
      pass.out = span_of(l.out);
      if (pass.out.size() == 0)
        continue;
      pass.in = place(l.in);
      pass.result = place(l.out);
      pass.res = place(l.res);
      pass.wait_load = builder_.loads();
      pass.wait_out = n >= 2 ? stored[static_cast<std::size_t>(n - 2)].outs : start.outs;
      pass.first = !keep_weights || n == 0;
      pass.last = !keep_weights || n + 1 == stripes;
      KESTREL_TRY(emit_compute(i, pass));
    }
    computed.push_back(counts());
    if (n >= 1)
      KESTREL_TRY(store(n - 1));
  }
  return store(stripes - 1);
}

Result<void> Emitter::emit_confidence() {
  const Map &logits = map(program_.confidence->map);
  const Segment &segment = segments_.back();
  const Placement from = placement(segment, program_.confidence->map, 0, 0);
  contract::ConfDesc d;
  d.softmax = 1;
  d.base = static_cast<int>(contract::BaseSel::kOut);
  d.wait_compute = builder_.computes();
  d.wait_load = builder_.loads();
  d.src_base = from.base;
  d.src_s = from.rows_per_group;
  d.classes = program_.confidence->classes;
  package_.out_bytes = round_up(static_cast<std::uint32_t>(program_.confidence->classes),
                                static_cast<std::uint32_t>(contract::kAlignBytes));
  package_.has_confidence = true;
  package_.exp_table = program_.confidence->table;
  return builder_.add(d, fmt::format("logits '{}'", logits.name));
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
      const Layer &l = program_.layers[i];
      const LayerCost &c = cost_[i];
      if (l.op != op.id)
        continue;
      info.weight_bytes = c.weight_bytes;
      info.load_bytes = c.load_bytes;
      info.store_bytes = c.store_bytes;
      info.groups_per_tile = 1U << l.glog;
      info.first_descriptor = static_cast<std::uint32_t>(c.first_compute);
      info.descriptors = static_cast<std::uint32_t>(c.computes);
      info.cycles = c.cycles;
      info.bound = l.bound == Bound::kWeights ? Bound::kMac : l.bound;
      const std::uint64_t weight_beats = c.weight_bytes / config_.bus_bytes;
      const std::uint64_t read_beats = weight_beats + c.load_bytes / config_.bus_bytes;
      const std::uint64_t write_beats = c.store_bytes / config_.bus_bytes;
      const std::uint64_t beats =
          options_.memory.limited() ? read_beats + write_beats : std::max(read_beats, write_beats);
      if (options_.memory.cycles_of(beats) > info.cycles) {
        info.cycles = options_.memory.cycles_of(beats);
        info.bound = 2 * weight_beats > beats ? Bound::kWeights : Bound::kLoad;
      }
    }
    if (info.cycles > 0) {
      info.utilisation = static_cast<double>(info.macs) /
                         (static_cast<double>(info.cycles) * static_cast<double>(config_.macs()));
    }
    package_.estimated_cycles += info.cycles;
    package_.layers.push_back(std::move(info));
  }
  for (const Segment &segment : segments_) {
    if (!segment.striped())
      continue;
    for (int i = segment.first; i < segment.last; ++i) {
      std::string &note = package_.layers[static_cast<std::size_t>(layer(i).op)].note;
      note += fmt::format("{}in {} stripes", note.empty() ? "" : ", ", segment.cuts.size());
    }
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
  place_external();
  for (const Segment &segment : segments_) {
    if (segment.striped())
      KESTREL_TRY(emit_striped(segment));
    else
      KESTREL_TRY(emit_whole(segment));
    for (const PlacedMap &p : segment.placed) {
      const Map &m = map(p.map);
      const int end = std::max(p.base[0], p.base[1]) + m.all_groups * p.rows_per_group;
      package_.act_rows_used = std::max(package_.act_rows_used, static_cast<std::uint32_t>(end));
    }
  }
  if (program_.confidence)
    KESTREL_TRY(emit_confidence());
  fill_table();
  KESTREL_TRY(builder_.finish(package_));
  return std::move(package_);
}

std::uint64_t total_cycles(const std::vector<Segment> &segments) {
  std::uint64_t sum = 0;
  for (const Segment &segment : segments)
    sum += segment.cycles;
  return sum;
}

// The program that follows from `choice`. `glog` gets what was chosen by layer.
Result<Package> build(Program program, const Graph &graph, const contract::Config &config,
                      const CompileOptions &options, const Choice &choice,
                      std::vector<int> *glog = nullptr) {
  const int rows = static_cast<int>(options.act_rows_limit == 0
                                        ? config.act_rows
                                        : std::min(options.act_rows_limit, config.act_rows));
  // The quickest mapping of every layer; if that does not fit, also the one that needs least
  // memory.
  std::optional<std::vector<Segment>> best;
  std::optional<Error> refused;
  bool narrow_is_best = false;
  for (const bool narrow : {false, true}) {
    KESTREL_TRY(plan_tiles(program, graph, config, options, choice, narrow));
    size_maps(program, config);
    auto segments = plan_segments(program, graph, config, options.memory, rows);
    if (!segments) {
      refused = std::move(segments).error();
      continue;
    }
    if (!best || total_cycles(*segments) < total_cycles(*best)) {
      best = std::move(segments).value();
      narrow_is_best = narrow;
    }
    if (best->size() == 1 && !best->front().striped())
      break;
  }
  if (!best)
    return std::move(*refused);
  KESTREL_TRY(plan_tiles(program, graph, config, options, choice, narrow_is_best));
  size_maps(program, config);
  if (glog != nullptr) {
    glog->clear();
    for (const Layer &layer : program.layers)
      glog->push_back(layer.glog);
  }
  CompileOptions with_choice = options;
  if (options.input_stripes == 0)
    with_choice.input_stripes = choice.input_stripes;
  Emitter emitter(graph, config, with_choice, program, *best);
  return emitter.run();
}

// On a memory that is slower than the bus layers compete for it, which no estimate of a single
// layer sees. Programs are built and counted by the cycle model, and the quickest is kept: first
// the aims for all layers, then other cuts of the input, then other mappings of single layers.
class Search {
public:
  Search(const Program &program, const Graph &graph, const contract::Config &config,
         const CompileOptions &options)
      : program_(program), graph_(graph), config_(config), options_(options) {}

  // Replaces `best` where a quicker program is found. The cycle model does not know every
  // configuration; `best` stays for those.
  Result<void> improve(Package &best) {
    const auto first = simulate_cycles(best, config_, options_.memory);
    if (!first)
      return first.error().code == ErrorCode::kUnsupported ? Result<void>{} : first.error();
    best_cycles_ = first->cycles;
    budget_ = kBudget;
    if (options_.force_groups == 0) {
      for (const Aim aim : {Aim::kSum, Aim::kStream}) {
        Choice choice = best_;
        choice.aim = aim;
        attempt(choice, best);
      }
    }
    if (options_.input_stripes == 0) {
      for (const std::uint32_t stripes : {1U, 2U, 3U, 4U, 6U, 8U}) {
        Choice choice = best_;
        choice.input_stripes = stripes;
        attempt(choice, best);
      }
    }
    if (options_.force_groups != 0)
      return {};
    std::vector<int> glog;
    KESTREL_TRY(build(program_, graph_, config_, options_, best_, &glog));
    best_.glog = glog;
    for (std::size_t layer = 0; layer < glog.size(); ++layer) {
      for (int other = 0; other <= static_cast<int>(config_.glog_max); ++other) {
        Choice choice = best_;
        choice.glog[layer] = other;
        if (other != best_.glog[layer])
          attempt(choice, best);
      }
    }
    return {};
  }

private:
  static constexpr std::uint64_t kBudget = 20'000'000; // cycles that the model counts

  void attempt(const Choice &choice, Package &best) {
    if (budget_ < best_cycles_)
      return;
    auto package = build(program_, graph_, config_, options_, choice);
    if (!package)
      return;
    const auto counters = simulate_cycles(*package, config_, options_.memory);
    if (!counters)
      return;
    budget_ -= std::min(budget_, counters->cycles);
    if (counters->cycles < best_cycles_) {
      best_cycles_ = counters->cycles;
      best_ = choice;
      best = std::move(*package);
    }
  }

  const Program &program_;
  const Graph &graph_;
  const contract::Config &config_;
  const CompileOptions &options_;
  Choice best_;
  std::uint64_t best_cycles_ = 0, budget_ = 0;
};

} // namespace
} // namespace compiler

Result<Package> compile(const Graph &graph, const contract::Config &config,
                        const CompileOptions &options) {
  KESTREL_ASSIGN(compiler::Program program, compiler::lower(graph, config));
  for (compiler::Layer &layer : program.layers)
    compiler::find_narrow_channels(layer);
  KESTREL_ASSIGN(Package package, compiler::build(program, graph, config, options, {}));
  if (options.memory.limited())
    KESTREL_TRY(compiler::Search(program, graph, config, options).improve(package));
  KESTREL_TRY(verify_package(package));
  return package;
}

} // namespace kestrel::hv
