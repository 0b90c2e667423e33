// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What is in activation memory when: lifetimes, placement, and the cutting of networks that do not
// fit into segments and stripes.
#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

#include "vision/compiler/layer.hpp"

namespace kestrel::hv::compiler {
namespace {

constexpr int kMaxStriped = 6;          // layers of a striped segment; the compute queue holds 8
constexpr std::uint64_t kSwitch = 40;   // cycles from one compute descriptor to a dependent one
constexpr std::uint64_t kDispatch = 18; // cycles of the front end per descriptor
constexpr std::uint64_t kDescBeats = 16;
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

class Planner {
public:
  Planner(const Program &program, const contract::Config &config, const MemoryModel &memory,
          int rows)
      : program_(program), config_(config), memory_(memory), rows_(rows),
        nb_(static_cast<int>(config.lanes)) {}

  // Layers first .. last - 1 on whole maps; false when they do not fit. `peak` is what they need.
  bool whole(int first, int last, Segment &segment, int &peak) const;
  // The same in stripes.
  bool striped(int first, int last, Segment &segment) const;

private:
  const Map &map(int id) const { return program_.maps[static_cast<std::size_t>(id)]; }
  const Layer &layer(int i) const { return program_.layers[static_cast<std::size_t>(i)]; }
  int layers() const { return static_cast<int>(program_.layers.size()); }
  bool is_logits(int id) const {
    return program_.confidence.has_value() && program_.confidence->map == id;
  }
  bool network_output(int id) const { return id == program_.output_map; }

  // Maps that the layers touch, in order of their first use.
  std::vector<PlacedMap> touched(int first, int last) const;
  std::uint64_t map_beats(int id, int pixels) const;
  std::uint64_t weight_beats(const Layer &l) const {
    return segment_size(l, config_, l.glog).words() *
           (config_.ring_word_bytes() / config_.bus_bytes) * l.runs.size();
  }
  bool try_stripes(int first, int last, int count, Segment &segment) const;

  const Program &program_;
  const contract::Config &config_;
  const MemoryModel &memory_;
  const int rows_, nb_;
};

std::vector<PlacedMap> Planner::touched(int first, int last) const {
  std::vector<PlacedMap> out;
  const auto touch = [&](int id) {
    if (id < 0 || std::any_of(out.begin(), out.end(), [&](const auto &p) { return p.map == id; }))
      return;
    PlacedMap p;
    p.map = id;
    p.loaded = map(id).producer < first;
    // The logits stay for the confidence unit.
    p.stored = !p.loaded && map(id).last >= last && !(is_logits(id) && last == layers());
    out.push_back(p);
  };
  for (int i = first; i < last; ++i) {
    touch(layer(i).in);
    touch(layer(i).res);
    touch(layer(i).out);
  }
  return out;
}

std::uint64_t Planner::map_beats(int id, int pixels) const {
  const auto bytes = id == program_.input_map
                         ? static_cast<std::uint64_t>(program_.input.padded_channels)
                         : static_cast<std::uint64_t>(map(id).groups) * config_.word_bytes;
  return bytes * static_cast<std::uint64_t>(pixels) / config_.bus_bytes + 1;
}

bool Planner::whole(int first, int last, Segment &segment, int &peak) const {
  segment = {first, last, {}, touched(first, last), 0};
  std::vector<Item> items;
  for (PlacedMap &p : segment.placed) {
    const Map &m = map(p.map);
    p.rows_per_group = ceil_div(m.pixels, nb_);
    items.push_back({m.all_groups * p.rows_per_group, p.loaded ? first : m.producer,
                     std::min(std::max(m.last, m.producer), last)});
    if (p.loaded)
      segment.cycles += memory_.cycles_of(map_beats(p.map, m.pixels)) + kSwitch;
    if (p.stored)
      segment.cycles += memory_.cycles_of(map_beats(p.map, m.pixels)) + kSwitch;
    if (p.stored && is_logits(p.map))
      segment.cycles += kNever / 4; // the confidence unit could not find them
  }
  std::vector<int> base;
  if (!place(items, rows_, base, peak))
    return false;
  for (std::size_t i = 0; i < base.size(); ++i)
    segment.placed[i].base = {base[i], base[i]};
  for (int i = first; i < last; ++i)
    segment.cycles += layer(i).cycles + kSwitch;
  return true;
}

bool Planner::try_stripes(int first, int last, int count, Segment &segment) const {
  segment = {first, last, {}, touched(first, last), 0};
  const Layer &final = layer(last - 1);
  const int pixels = final.out_pixels();
  const int unit = round_up(block_pixels(program_, config_, final.out), nb_);
  int made = 0;
  for (int i = 1; i <= count; ++i) {
    const auto even = static_cast<int>(static_cast<std::int64_t>(pixels) * i / count);
    const int end = std::min(pixels, round_up(even, unit));
    if (end > made)
      segment.cuts.push_back(end);
    made = std::max(made, end);
  }
  std::vector<int> window(program_.maps.size(), 0); // pixels
  std::uint64_t before = 0, behind = 0;             // of the first LOAD, of the last STORE
  const bool keep_weights = last - first == 1 && final.variants.size() == 1 &&
                            segment_size(final, config_, final.glog).words() <= config_.ring_words;
  int from = 0;
  for (const int end : segment.cuts) {
    const std::vector<Span> spans = stripe_spans(program_, config_, first, last, {from, end});
    std::uint64_t compute = 0, read = 0, write = 0, descriptors = 0;
    for (const PlacedMap &p : segment.placed) {
      const int size = spans[static_cast<std::size_t>(p.map)].size();
      int &most = window[static_cast<std::size_t>(p.map)];
      most = std::max(most, size);
      if (p.loaded)
        read += map_beats(p.map, size);
      if (p.stored)
        write += map_beats(p.map, size);
      if (p.loaded || p.stored)
        descriptors +=
            static_cast<std::uint64_t>(ceil_div(size, block_pixels(program_, config_, p.map)));
    }
    if (from == 0)
      before = memory_.cycles_of(read) + kSwitch;
    behind = memory_.cycles_of(write) + kSwitch;
    for (int i = first; i < last; ++i) {
      const Layer &l = layer(i);
      const auto size = static_cast<std::uint64_t>(spans[static_cast<std::size_t>(l.out)].size());
      compute += l.cycles * size / static_cast<std::uint64_t>(l.out_pixels()) + kSwitch;
      if (!keep_weights || from == 0)
        read += weight_beats(l);
      ++descriptors;
    }
    std::uint64_t moved = memory_.cycles_of(std::max(read, write));
    if (memory_.limited()) // both ways and the descriptors share what the memory moves
      moved = memory_.cycles_of(read + write + descriptors * kDescBeats);
    segment.cycles += std::max({compute, moved, descriptors * kDispatch});
    from = end;
  }
  segment.cycles += before + behind;

  std::vector<Item> items;
  std::vector<std::pair<std::size_t, std::size_t>> owner; // of each item: placed map, copy
  for (std::size_t i = 0; i < segment.placed.size(); ++i) {
    PlacedMap &p = segment.placed[i];
    const Map &m = map(p.map);
    const bool resident = !p.loaded && !p.stored && p.map == final.out;
    p.rows_per_group = ceil_div(resident ? m.pixels : window[static_cast<std::size_t>(p.map)], nb_);
    const bool twice = p.loaded || p.stored;
    const bool always = twice || resident;
    for (std::size_t copy = 0; copy < (twice ? 2U : 1U); ++copy) {
      items.push_back({m.all_groups * p.rows_per_group, always ? first : m.producer,
                       always ? last : std::max(m.last, m.producer)});
      owner.emplace_back(i, copy);
    }
  }
  std::vector<int> base;
  int peak = 0;
  if (!place(items, rows_, base, peak))
    return false;
  for (std::size_t k = 0; k < items.size(); ++k) {
    auto &bases = segment.placed[owner[k].first].base;
    bases[owner[k].second] = base[k];
    if (owner[k].second == 0)
      bases[1] = base[k];
  }
  return true;
}

bool Planner::striped(int first, int last, Segment &segment) const {
  // Only the last layer's output may be wanted later.
  for (int i = first; i < last; ++i) {
    const Map &out = map(layer(i).out);
    if (i + 1 < last && (out.last >= last || network_output(layer(i).out)))
      return false;
  }
  if (is_logits(layer(last - 1).out) && last != layers())
    return false;
  const int pixels = layer(last - 1).out_pixels();
  const int most = std::min(ceil_div(pixels, nb_), 512);
  segment.cycles = kNever;
  int tried = 0;
  for (int count = 1; count <= most && tried < 4; count += std::max(1, count / 6)) {
    Segment candidate;
    if (!try_stripes(first, last, count, candidate))
      continue;
    ++tried;
    if (candidate.cycles < segment.cycles)
      segment = std::move(candidate);
  }
  return segment.cycles != kNever;
}

} // namespace

void size_maps(Program &program, const contract::Config &config) {
  const int wb = static_cast<int>(config.word_bytes);
  for (Map &map : program.maps) {
    map.all_groups = map.groups;
    map.producer = map.last = -1;
  }
  const auto at = [&](int map) -> Map & { return program.maps[static_cast<std::size_t>(map)]; };
  const int end = static_cast<int>(program.layers.size());
  for (int i = 0; i < end; ++i) {
    const Layer &layer = program.layers[static_cast<std::size_t>(i)];
    const int groups = round_up(ceil_div(layer.oc, wb), 1 << layer.glog);
    Map &out = at(layer.out);
    out.producer = i;
    out.all_groups = std::max(out.all_groups, groups);
    at(layer.in).last = i;
    if (layer.depthwise)
      at(layer.in).all_groups = std::max(at(layer.in).all_groups, groups);
    if (layer.res >= 0) {
      at(layer.res).last = i;
      at(layer.res).all_groups = std::max(at(layer.res).all_groups, groups);
    }
  }
  if (program.confidence)
    at(program.confidence->map).last = end;
  if (program.output_map >= 0)
    at(program.output_map).last = end;
}

bool place(const std::vector<Item> &items, int rows, std::vector<int> &base, int &peak) {
  // First fit in the given order: the lowest gap between items that live at the same time.
  std::vector<int> at(items.size());
  const auto fit = [&](const std::vector<std::size_t> &order) {
    int top = 0;
    for (std::size_t k = 0; k < order.size(); ++k) {
      const Item &item = items[order[k]];
      std::vector<std::pair<int, int>> taken;
      for (std::size_t j = 0; j < k; ++j) {
        const Item &other = items[order[j]];
        if (other.first <= item.last && item.first <= other.last)
          taken.emplace_back(at[order[j]], at[order[j]] + other.size);
      }
      std::sort(taken.begin(), taken.end());
      int free = 0;
      for (const auto &[from, to] : taken) {
        if (from - free >= item.size)
          break;
        free = std::max(free, to);
      }
      at[order[k]] = free;
      top = std::max(top, free + item.size);
    }
    return top;
  };
  peak = -1;
  const auto attempt = [&](const std::vector<std::size_t> &order) {
    const int top = fit(order);
    if (peak < 0 || top < peak) {
      peak = top;
      base = at;
    }
  };
  // No order helps where one moment alone needs too much.
  int floor = 0;
  for (const Item &moment : items) {
    int sum = 0;
    for (const Item &item : items) {
      if (item.first <= moment.first && moment.first <= item.last)
        sum += item.size;
    }
    floor = std::max(floor, sum);
  }
  std::vector<std::size_t> order(items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  attempt(order); // in order of execution
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return items[a].size > items[b].size; });
  attempt(order);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return items[a].size * (items[a].last - items[a].first + 1) >
           items[b].size * (items[b].last - items[b].first + 1);
  });
  attempt(order);
  // Shuffled orders with a fixed generator, when a better one matters.
  std::uint64_t state = 0x9E3779B97F4A7C15U;
  for (int i = 0; i < 200 && peak > rows && floor <= rows; ++i) {
    for (std::size_t n = order.size(); n > 1; --n) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      std::swap(order[n - 1], order[state % n]);
    }
    attempt(order);
  }
  return peak <= rows;
}

const PlacedMap &Segment::at(int map) const {
  return *std::find_if(placed.begin(), placed.end(),
                       [map](const PlacedMap &p) { return p.map == map; });
}

int block_pixels(const Program &program, const contract::Config &config, int map) {
  const int align = static_cast<int>(contract::kAlignBytes);
  if (map == program.input_map)
    return align / std::gcd(align, static_cast<int>(program.input.padded_channels));
  // Small enough for stripes to waste little, large enough for the front end to keep up.
  constexpr int kBlocks = 64, kWords = 128;
  const Map &m = program.maps[static_cast<std::size_t>(map)];
  const int unit = align / static_cast<int>(config.word_bytes);
  return round_up(std::max(ceil_div(m.pixels, kBlocks), ceil_div(kWords, m.groups)), unit);
}

std::vector<Span> stripe_spans(const Program &program, const contract::Config &config, int first,
                               int last, Span out) {
  std::vector<Span> spans(program.maps.size());
  const auto at = [&](int map) -> Span & { return spans[static_cast<std::size_t>(map)]; };
  const auto extend = [&](int map, Span more) {
    Span &span = at(map);
    span = span.size() == 0 ? more : Span{std::min(span.lo, more.lo), std::max(span.hi, more.hi)};
  };
  at(program.layers[static_cast<std::size_t>(last - 1)].out) = out;
  for (int i = last - 1; i >= first; --i) {
    const Layer &l = program.layers[static_cast<std::size_t>(i)];
    const Span made = at(l.out);
    if (made.size() == 0)
      continue;
    extend(l.in, {first_input_pixel(l, made.lo), last_input_pixel(l, made.hi - 1) + 1});
    if (l.res >= 0)
      extend(l.res, made);
  }
  for (std::size_t m = 0; m < spans.size(); ++m) {
    Span &span = spans[m];
    if (span.size() == 0 || program.maps[m].producer >= first)
      continue;
    const int block = block_pixels(program, config, static_cast<int>(m));
    span.lo = span.lo / block * block;
    if (static_cast<int>(m) != program.input_map)
      span.hi = std::min(round_up(span.hi, block), program.maps[m].pixels);
  }
  return spans;
}

Result<std::vector<Segment>> plan_segments(const Program &program, const Graph &graph,
                                           const contract::Config &config,
                                           const MemoryModel &memory, int rows) {
  const int count = static_cast<int>(program.layers.size());
  const Planner planner(program, config, memory, rows);
  Segment all;
  int peak = 0;
  if (planner.whole(0, count, all, peak))
    return std::vector<Segment>{std::move(all)};

  // Shortest way from the first layer to the last over segments.
  struct Best {
    std::uint64_t cycles = kNever;
    Segment segment;
  };
  std::vector<Best> best(static_cast<std::size_t>(count) + 1);
  best[0].cycles = 0;
  int reached = 0;
  for (int first = 0; first < count; ++first) {
    const std::uint64_t start = best[static_cast<std::size_t>(first)].cycles;
    if (start == kNever)
      continue;
    reached = first;
    const auto offer = [&](Segment &segment) {
      Best &b = best[static_cast<std::size_t>(segment.last)];
      if (start + segment.cycles < b.cycles) {
        b.cycles = start + segment.cycles;
        b.segment = std::move(segment);
      }
    };
    Segment segment;
    for (int last = first + 1; last <= count; ++last) {
      int needed = 0;
      if (!planner.whole(first, last, segment, needed))
        break;
      offer(segment);
    }
    for (int last = first + 1; last <= std::min(count, first + kMaxStriped); ++last) {
      if (planner.striped(first, last, segment))
        offer(segment);
    }
  }
  if (best.back().cycles == kNever) {
    return fail(ErrorCode::kResourceLimit,
                "{}: does not fit the {} rows of activation memory of configuration '{}', not even "
                "in stripes",
                describe(graph.op(program.layers[static_cast<std::size_t>(reached)].op)), rows,
                config.name);
  }
  std::vector<Segment> segments;
  for (int at = count; at > 0;) {
    Segment &segment = best[static_cast<std::size_t>(at)].segment;
    at = segment.first;
    segments.push_back(std::move(segment));
  }
  std::reverse(segments.begin(), segments.end());
  return segments;
}

} // namespace kestrel::hv::compiler
