// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Internal to the compiler: the network as the engine sees it. Lowering (lower.cpp) turns the
// operators of the graph into `Layer`s on `Map`s; tiling, allocation and emission work on these.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kestrel/contract/vision.hpp"
#include "kestrel/result.hpp"
#include "kestrel/vision/compiler.hpp"
#include "kestrel/vision/graph.hpp"
#include "kestrel/vision/package.hpp"

namespace kestrel::hv::compiler {

/// A tensor in activation memory: linear pixels x channels.
struct Map {
  std::string name;
  int pixels = 0;
  int channels = 0;
  int groups = 0;     ///< ceil(channels / word bytes): those that hold data
  int all_groups = 0; ///< groups with rows of their own: what the widest tile writes or reads
  int producer = -1;  ///< layer that writes it; -1 for the input
  int last = -1;      ///< last layer that reads it; the number of layers when it is the result
};

/// How one output channel leaves the accumulator.
struct ChannelParams {
  std::int32_t bias = 0; ///< zero point of the input folded in
  std::int32_t multiplier = 0;
  std::uint8_t right_shift = 0;
  std::uint8_t left_shift = 0;
};

/// Output pixels first .. first + count - 1 use the channel parameters `variant`.
struct Run {
  int first = 0;
  int count = 0;
  int variant = 0;
};

/// The fused residual add.
struct ResidualAdd {
  std::int32_t m1 = 0, m2 = 0, mo = 0;
  int s1 = 0, s2 = 0, so = 0;
  int z1 = 0, z2 = 0, zp = 0, min = -128, max = 127;
};

/// One pass of the engine over a map: one or more compute descriptors.
struct Layer {
  OpId op = kNoOp; ///< operator it comes from
  bool depthwise = false;
  bool is_max = false;
  int in = -1, out = -1, res = -1; ///< maps
  int ih = 1, iw = 1, ic = 1;
  int oh = 1, ow = 1, oc = 1;
  int kh = 1, kw = 1, sy = 1, sx = 1, dy = 1, dx = 1;
  int pad_top = 0, pad_left = 0;    ///< negative: the first window starts inside the map
  int pad = 0;                      ///< byte read outside the map
  std::vector<std::int8_t> weights; ///< dense [oc][kh][kw][ic], depthwise [oc][kh][kw]
  std::vector<std::vector<ChannelParams>> variants; ///< [variant][oc]
  std::vector<Run> runs;                            ///< in order, covering all output pixels
  int out_zp = 0, act_min = -128, act_max = 127;
  std::optional<ResidualAdd> add;
  std::vector<bool> narrow; ///< by output channel: narrow requantisation is exact (narrow.hpp)

  // Chosen by plan_tiles(), for all output pixels:
  int glog = 0;
  std::uint64_t cycles = 0;
  Bound bound = Bound::kMac;

  [[nodiscard]] int out_pixels() const { return oh * ow; }
  /// Weights of an output: MAC steps of one tile, where they are half those of a maximum.
  [[nodiscard]] int steps() const { return depthwise ? kh * kw : kh * kw * ic; }
  /// True if all channels of an output-channel tile can be narrow.
  [[nodiscard]] bool narrow_tile(std::size_t tile, std::size_t channels) const;
};

/// Softmax at the end.
struct ConfidenceStep {
  int map = -1;
  int classes = 0;
  ExpTableImage table{};
};

/// What the operators of the graph became, for the table.
struct OpNote {
  std::string note;
  std::string suffix; ///< appended to the operator's type ("+ADD")
};

struct Program {
  std::vector<Map> maps;
  std::vector<Layer> layers; ///< in execution order
  int input_map = -1;
  int output_map = -1; ///< stored at the end; -1 with a confidence step
  std::optional<ConfidenceStep> confidence;
  std::vector<OpNote> notes; ///< one per operator of the graph
  InputSpec input;
  OutputSpec output;
};

/// "operator 3 (CONV_2D 'name')", for messages.
[[nodiscard]] std::string describe(const Op &op);

/// Operators to layers; fuses adds, folds padding. Errors: kUnsupported naming the operator.
[[nodiscard]] Result<Program> lower(const Graph &graph, const contract::Config &config);

/// Cycles in which a tile leaves through the requantisation with a fused add.
[[nodiscard]] constexpr int add_cycles(const contract::Config &config) {
  return 4 * static_cast<int>(config.lanes) + 20;
}

/// Cycle estimate of a layer with G = 1 << glog.
struct TileCost {
  std::uint64_t cycles = 0;
  Bound bound = Bound::kMac;
};
[[nodiscard]] TileCost tile_cost(const Layer &layer, const contract::Config &config, int glog,
                                 int first_pixel, int pixels);

/// Ring words of the weight segment of a layer (one variant), and of one output-channel tile.
struct SegmentSize {
  std::uint64_t tile_words = 0;
  std::uint64_t kwords = 0;
  std::uint64_t tiles = 0;
  [[nodiscard]] std::uint64_t words() const { return tile_words * tiles; }
};
[[nodiscard]] SegmentSize segment_size(const Layer &layer, const contract::Config &config,
                                       int glog);

/// What plan_tiles() makes small, per layer.
enum class Aim : std::uint8_t {
  kLayer,  ///< the longer of its own cycles and its weight stream
  kSum,    ///< both together: the stream also takes time from other layers
  kStream, ///< the weight stream, then cycles
};

/// Decisions for one try at a program.
struct Choice {
  Aim aim = Aim::kLayer;
  std::vector<int> glog;           ///< by layer; negative, or no entry: by `aim`
  std::uint32_t input_stripes = 0; ///< 0: by predicted cycles
};

/// Chooses glog of every layer. With `narrow`, the mapping that needs the least activation memory.
/// Error: kResourceLimit (weights of one tile exceed the ring).
[[nodiscard]] Result<void> plan_tiles(Program &program, const Graph &graph,
                                      const contract::Config &config, const CompileOptions &options,
                                      const Choice &choice, bool narrow);

/// Sets all_groups, producer and last reader of the maps from the layers and their tiling.
void size_maps(Program &program, const contract::Config &config);

/// `size` rows that are taken from time `first` to time `last`.
struct Item {
  int size = 0, first = 0, last = 0;
};
/// Places items into `rows` rows so that those that live at one time do not overlap; false when
/// they do not fit. `peak` gets the rows needed by the best placement found.
[[nodiscard]] bool place(const std::vector<Item> &items, int rows, std::vector<int> &base,
                         int &peak);

/// Pixels lo .. hi - 1.
struct Span {
  int lo = 0, hi = 0;
  [[nodiscard]] int size() const { return hi - lo; }
};

/// A map, or a window of its pixels, in activation memory during a segment.
struct PlacedMap {
  int map = -1;
  int rows_per_group = 0;
  std::array<int, 2> base{}; ///< windows of even and odd stripes; equal where there is only one
  bool loaded = false;       ///< comes from external memory in this segment
  bool stored = false;       ///< goes to external memory in this segment
};

/// Layers first .. last - 1 that run one after the other on whole maps in activation memory, or,
/// with `cuts`, again and again on stripes. Maps that cross the border of a segment go through
/// external memory.
struct Segment {
  int first = 0, last = 0;
  std::vector<int> cuts; ///< where the stripes of the last layer's output end
  std::vector<PlacedMap> placed;
  std::uint64_t cycles = 0; ///< estimate

  [[nodiscard]] bool striped() const { return !cuts.empty(); }
  [[nodiscard]] const PlacedMap &at(int map) const;
};

/// Pixels of every map (by index; empty spans: none) that one stripe touches: outputs `out` of the
/// last layer, and what they depend on. Loaded maps come in whole blocks.
[[nodiscard]] std::vector<Span> stripe_spans(const Program &program, const contract::Config &config,
                                             int first, int last, Span out);

/// Maps in external memory are cut into blocks of this many pixels (the last may be shorter), in
/// each [channel group][pixel][word]: what one LOAD or STORE moves. The input lies there as it
/// comes; for it, the pixels that a LOAD may begin at are multiples of this.
[[nodiscard]] int block_pixels(const Program &program, const contract::Config &config, int map);

/// Cuts the program into segments that fit `rows` activation rows. One segment when everything
/// does. Error: kResourceLimit naming the layer that does not fit however it is cut.
[[nodiscard]] Result<std::vector<Segment>> plan_segments(const Program &program, const Graph &graph,
                                                         const contract::Config &config,
                                                         const MemoryModel &memory, int rows);

/// Bytes of the weight segment of one variant of a layer.
[[nodiscard]] std::vector<std::uint8_t> weight_segment(const Layer &layer, int variant,
                                                       const contract::Config &config);

/// A map, or a run of its pixels, in activation memory.
struct Placement {
  int base = 0;           ///< first activation row
  int rows_per_group = 0; ///< s
  int first_pixel = 0;    ///< pixel of the map that is stored as linear pixel 0
};

/// The geometry of a compute descriptor for output pixels first .. first + count - 1; weights,
/// waits and flags are the caller's.
[[nodiscard]] contract::ComputeDesc compute_geometry(const Layer &layer,
                                                     const contract::Config &config, int first,
                                                     int count, const Placement &in,
                                                     const Placement &out, const Placement &res);

/// Largest linear input pixel inside the map that outputs up to and including `last` read.
[[nodiscard]] int last_input_pixel(const Layer &layer, int last);
/// Smallest linear input pixel inside the map that outputs from `first` on read.
[[nodiscard]] int first_input_pixel(const Layer &layer, int first);

template <typename T> [[nodiscard]] constexpr T ceil_div(T a, T b) { return (a + b - 1) / b; }
template <typename T> [[nodiscard]] constexpr T round_up(T a, T b) { return ceil_div(a, b) * b; }

} // namespace kestrel::hv::compiler
