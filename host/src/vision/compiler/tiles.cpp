// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// How a layer is cut into tiles: cost of the mappings, weight segments, descriptor geometry.
#include <algorithm>
#include <cstddef>
#include <utility>

#include "kestrel/bytes.hpp"
#include "vision/compiler/layer.hpp"

namespace kestrel::hv::compiler {
namespace {

int bit_reverse(int v, int size) {
  int r = 0;
  for (int bit = 1; bit < size; bit <<= 1) {
    r = (r << 1) | (v & 1);
    v >>= 1;
  }
  return r;
}

// Linear input pixel of tap (0, 0) of output pixel o.
int origin(const Layer &l, int o) {
  const int oy = o / l.ow, ox = o % l.ow;
  return (oy * l.sy - l.pad_top) * l.iw + ox * l.sx - l.pad_left;
}

// Cycles to read the words of one tap of a tile: the most words that fall into one bank.
int conflict(const Layer &l, const contract::Config &config, int glog, int first, int lanes) {
  const int nb = static_cast<int>(config.lanes);
  const int groups = l.depthwise ? 1 << glog : 1;
  std::vector<int> hits(static_cast<std::size_t>(nb), 0);
  int most = 1;
  for (int p = 0; p < lanes; ++p) {
    const int pixel = origin(l, first + p);
    for (int g = 0; g < groups; ++g) {
      const int bank = (((pixel + bit_reverse(g, nb)) % nb) + nb) % nb;
      most = std::max(most, ++hits[static_cast<std::size_t>(bank)]);
    }
  }
  return most;
}

// Cycles in which a tile leaves through the requantisation.
int drain_cycles(const Layer &layer, const contract::Config &config, bool narrow) {
  const int nb = static_cast<int>(config.lanes);
  return layer.add ? add_cycles(config) : narrow ? std::max(1, nb / 2) : nb;
}

} // namespace

bool Layer::narrow_tile(std::size_t tile, std::size_t channels) const {
  const std::size_t end = std::min(narrow.size(), (tile + 1) * channels);
  for (std::size_t c = tile * channels; c < end; ++c) {
    if (!narrow[c])
      return false;
  }
  return tile * channels < end;
}

SegmentSize segment_size(const Layer &layer, const contract::Config &config, int glog) {
  SegmentSize s;
  const std::uint64_t g = std::uint64_t{1} << glog;
  const std::uint64_t channels = config.word_bytes * g;
  s.kwords = ceil_div<std::uint64_t>(static_cast<std::uint64_t>(layer.steps()) * channels,
                                     config.ring_word_bytes());
  s.tile_words = 2 * g + 1 + s.kwords;
  s.tiles = ceil_div<std::uint64_t>(static_cast<std::uint64_t>(layer.oc), channels);
  return s;
}

TileCost tile_cost(const Layer &layer, const contract::Config &config, int glog, int first_pixel,
                   int pixels) {
  const int wb = static_cast<int>(config.word_bytes);
  const int lanes = static_cast<int>(config.lanes) >> glog;
  const int tiles = ceil_div(pixels, lanes);
  const int taps = layer.kh * layer.kw;
  const int mac = layer.is_max ? 2 * layer.steps() : layer.steps();
  const SegmentSize segment = segment_size(layer, config, glog);
  std::uint64_t narrow_tiles = 0;
  for (std::size_t tile = 0; tile < segment.tiles; ++tile)
    narrow_tiles += layer.narrow_tile(tile, config.word_bytes << glog) ? 1 : 0;

  // Conflicts repeat along the map: a sample of tiles stands for all.
  const int samples = std::min(tiles, 48);
  std::uint64_t cycles = 0, mac_sum = 0; // of all output-channel tiles
  bool fetch_bound = false;
  for (int i = 0; i < samples; ++i) {
    const int tile = static_cast<int>(static_cast<std::int64_t>(i) * tiles / samples);
    const int first = first_pixel + tile * lanes;
    const int count = std::min(lanes, first_pixel + pixels - first);
    const int clash = conflict(layer, config, glog, first, count);
    int fetch = taps * clash;
    if (!layer.depthwise) {
      const int full = layer.ic / wb, rest = layer.ic % wb;
      fetch = taps * (full * std::max(wb, clash) + (rest > 0 ? std::max(rest, clash) : 0));
    }
    for (const bool narrow : {false, true}) {
      const std::uint64_t n = narrow ? narrow_tiles : segment.tiles - narrow_tiles;
      const int drain = drain_cycles(layer, config, narrow);
      fetch_bound = fetch_bound || (n != 0 && fetch > std::max(mac, drain));
      cycles += n * static_cast<std::uint64_t>(std::max({mac, fetch, drain}));
      mac_sum += n * static_cast<std::uint64_t>(mac);
    }
  }
  TileCost cost;
  cost.cycles = cycles * static_cast<std::uint64_t>(tiles) / static_cast<std::uint64_t>(samples) +
                segment.tiles * ((std::uint64_t{2} << glog) + 1);
  cost.bound = mac_sum == cycles ? Bound::kMac : fetch_bound ? Bound::kFetch : Bound::kRequant;
  return cost;
}

Result<void> plan_tiles(Program &program, const Graph &graph, const contract::Config &config,
                        const CompileOptions &options, const Choice &choice, bool narrow) {
  for (std::size_t index = 0; index < program.layers.size(); ++index) {
    Layer &layer = program.layers[index];
    std::optional<TileCost> best;
    std::pair<std::uint64_t, std::uint64_t> best_score;
    std::uint64_t smallest = ~std::uint64_t{0};
    const auto consider = [&](int glog) {
      const SegmentSize size = segment_size(layer, config, glog);
      smallest = std::min(smallest, size.tile_words);
      if (size.tile_words > config.ring_words)
        return;
      TileCost cost;
      for (const Run &run : layer.runs) {
        const TileCost c = tile_cost(layer, config, glog, run.first, run.count);
        cost.cycles += c.cycles;
        cost.bound = c.bound;
      }
      // A beat carries a quarter of a ring word.
      const std::uint64_t stream = options.memory.cycles_of(
          size.words() * (config.ring_word_bytes() / config.bus_bytes) * layer.runs.size());
      const std::uint64_t sum = cost.cycles + stream;
      if (stream > cost.cycles)
        cost = {stream, Bound::kWeights};
      const auto score = choice.aim == Aim::kStream ? std::pair{stream, cost.cycles}
                         : choice.aim == Aim::kSum  ? std::pair{sum, cost.cycles}
                                                    : std::pair{cost.cycles, std::uint64_t{0}};
      if (!best || score < best_score) {
        best = cost;
        best_score = score;
        layer.glog = glog;
      }
    };
    const int glog_max = static_cast<int>(config.glog_max);
    if (options.force_groups != 0) {
      for (int glog = 0; glog <= glog_max; ++glog) {
        if (1U << glog == options.force_groups)
          consider(glog);
      }
    }
    if (!narrow && index < choice.glog.size() && choice.glog[index] >= 0)
      consider(choice.glog[index]);
    const bool settled = best.has_value();
    for (int glog = 0; glog <= glog_max && !settled && (!best || options.force_groups == 0);
         ++glog) {
      if (narrow && best)
        break;
      consider(glog);
    }
    if (!best) {
      return fail(ErrorCode::kResourceLimit,
                  "{}: {} products per output need {} words of weights for one tile; the ring of "
                  "configuration '{}' holds {}",
                  describe(graph.op(layer.op)), layer.steps(), smallest, config.name,
                  config.ring_words);
    }
    layer.cycles = best->cycles;
    layer.bound = best->bound;
  }
  return {};
}

std::vector<std::uint8_t> weight_segment(const Layer &layer, int variant,
                                         const contract::Config &config) {
  const SegmentSize size = segment_size(layer, config, layer.glog);
  const std::size_t rw = config.ring_word_bytes();
  const std::size_t wb = config.word_bytes;
  const std::size_t groups = std::size_t{1} << layer.glog;
  const std::size_t channels = wb * groups;
  const std::size_t steps = static_cast<std::size_t>(layer.steps());
  const auto &params = layer.variants[static_cast<std::size_t>(variant)];
  std::vector<std::uint8_t> bytes(size.words() * rw, 0);
  for (std::size_t tile = 0; tile < size.tiles; ++tile) {
    const std::size_t at = tile * size.tile_words * rw;
    const unsigned narrow = layer.narrow_tile(tile, channels) ? 0x80 : 0;
    for (std::size_t i = 0; i < channels; ++i) {
      const std::size_t oc = tile * channels + i;
      if (oc >= static_cast<std::size_t>(layer.oc))
        break; // channels that do not exist: all zero
      const ChannelParams &p = params[oc];
      bytes[at + i] =
          static_cast<std::uint8_t>(p.right_shift | (p.left_shift << 5) | (i == 0 ? narrow : 0));
      const std::size_t j = i / wb, b = i % wb;
      store_le<std::int32_t>(bytes, at + (1 + j) * rw + 4 * b, p.bias);
      store_le<std::int32_t>(bytes, at + (1 + groups + j) * rw + 4 * b, p.multiplier);
      const std::size_t weights = at + (1 + 2 * groups) * rw;
      for (std::size_t k = 0; k < steps; ++k)
        bytes[weights + k * channels + i] =
            static_cast<std::uint8_t>(layer.weights[oc * steps + k]);
    }
  }
  return bytes;
}

contract::ComputeDesc compute_geometry(const Layer &layer, const contract::Config &config,
                                       int first, int count, const Placement &in,
                                       const Placement &out, const Placement &res) {
  const int wb = static_cast<int>(config.word_bytes);
  const int lanes = static_cast<int>(config.lanes) >> layer.glog;
  const SegmentSize size = segment_size(layer, config, layer.glog);
  contract::ComputeDesc d;
  d.depthwise = layer.depthwise ? 1 : 0;
  d.is_max = layer.is_max ? 1 : 0;
  d.add = layer.add ? 1 : 0;
  d.glog = layer.glog;
  d.kh_m1 = layer.kh - 1;
  d.kw_m1 = layer.kw - 1;
  if (!layer.depthwise) {
    d.icg_m1 = ceil_div(layer.ic, wb) - 1;
    d.nlast_m1 = (layer.ic - 1) % wb;
  }
  d.noct_m1 = static_cast<std::int64_t>(size.tiles) - 1;
  d.nptile_m1 = ceil_div(count, lanes) - 1;

  const int oy = first / layer.ow, ox = first % layer.ow;
  d.ix0 = ox * layer.sx - layer.pad_left;
  d.iy0 = oy * layer.sy - layer.pad_top;
  d.lin0 = d.iy0 * layer.iw + d.ix0 - in.first_pixel;
  d.sx = layer.sx;
  d.sy = layer.sy;
  d.limx = layer.ow * layer.sx - layer.pad_left;
  d.wrapx = layer.ow * layer.sx;
  d.wraplin = layer.sy * layer.iw - layer.ow * layer.sx;
  d.dilx = layer.dx;
  d.dily = layer.dy;
  d.tliny = layer.dy * layer.iw - (layer.kw - 1) * layer.dx;
  d.ih = layer.ih;
  d.iw = layer.iw;
  d.in_base = in.base;
  d.in_s = in.rows_per_group;
  d.pad = layer.pad;
  d.kwords = static_cast<std::int64_t>(size.kwords);
  d.out_base = out.base;
  d.out_s = out.rows_per_group;
  d.out_p0 = first - out.first_pixel;
  d.out_np = count;
  d.out_zp = layer.out_zp;
  d.act_min = layer.act_min;
  d.act_max = layer.act_max;
  if (layer.add) {
    d.res_base = res.base;
    d.res_s = res.rows_per_group;
    d.res_p0 = first - res.first_pixel;
    d.add_m1 = layer.add->m1;
    d.add_m2 = layer.add->m2;
    d.add_mo = layer.add->mo;
    d.add_s1 = layer.add->s1;
    d.add_s2 = layer.add->s2;
    d.add_so = layer.add->so;
    d.add_z1 = layer.add->z1;
    d.add_z2 = layer.add->z2;
    d.add_zp = layer.add->zp;
    d.add_min = layer.add->min;
    d.add_max = layer.add->max;
  }
  return d;
}

int last_input_pixel(const Layer &l, int last) {
  // The row below everything that earlier rows of outputs read is the last one's bottom row, but a
  // row of outputs read wholly before it may reach further to the right.
  const auto bottom = [&](int oy) {
    return std::clamp(oy * l.sy - l.pad_top + (l.kh - 1) * l.dy, 0, l.ih - 1);
  };
  const auto right = [&](int ox) {
    return std::clamp(ox * l.sx - l.pad_left + (l.kw - 1) * l.dx, 0, l.iw - 1);
  };
  const int oy = last / l.ow, ox = last % l.ow;
  int pixel = bottom(oy) * l.iw + right(ox);
  if (oy > 0)
    pixel = std::max(pixel, bottom(oy - 1) * l.iw + right(l.ow - 1));
  return pixel;
}

int first_input_pixel(const Layer &l, int first) {
  const auto top = [&](int oy) { return std::clamp(oy * l.sy - l.pad_top, 0, l.ih - 1); };
  const auto left = [&](int ox) { return std::clamp(ox * l.sx - l.pad_left, 0, l.iw - 1); };
  const int oy = first / l.ow, ox = first % l.ow;
  int pixel = top(oy) * l.iw + left(ox);
  if (oy + 1 < l.oh)
    pixel = std::min(pixel, top(oy + 1) * l.iw + left(0));
  return pixel;
}

} // namespace kestrel::hv::compiler
