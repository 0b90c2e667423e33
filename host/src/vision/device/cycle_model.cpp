// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One struct for each RTL module, with the module's registers under their names less `_q`. A cycle
// has two halves: every signal that crosses modules is computed from the registers (Engine::step),
// then every module takes its next state from its own registers and those signals (tick).
//
// What stands for data: the n-th COMPUTE, LOAD or STORE/CONF descriptor is a number n, a burst its
// length, an operation of the operand fetch the number of issues that its bank conflicts take.
#include "kestrel/vision/cycle_model.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <span>

#include "kestrel/bytes.hpp"

namespace kestrel::hv {
namespace {

using contract::ComputeDesc;
using contract::ConfDesc;
using contract::DescOp;
using contract::DescWords;
using contract::LoadDesc;
using contract::LoadMode;
using contract::StoreDesc;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr u32 kWordBytes = 8;
constexpr u32 kMaxLanes = 64;
constexpr u32 kNetRadix = 4; // of the network between banks and lanes
constexpr u32 kBurstBeats = 16;
constexpr u32 kDescBeats = 16;
constexpr u32 kBeatsPerRingWord = 4;
constexpr u32 kComputeQueue = 8, kLoadQueue = 4, kOutQueue = 4, kSegmentQueue = 16;
constexpr u32 kBeatFifo = 64, kPieceFifo = 4, kWeightFifo = 16, kWriteFifo = 32;
constexpr u32 kOperationQueue = 16, kSets = 16;
constexpr u32 kOutstanding = 16;
constexpr u32 kRowLatency = 4;      // hv_core_pkg::RowLatency
constexpr u32 kResponses = 63;      // write bursts without response
constexpr u32 kWatchdog = 0x100000; // reset value of register WATCHDOG
// Taps of all tiles of a layer whose conflicts are remembered from one output-channel tile to the
// next.
constexpr u64 kRememberedTaps = u64{1} << 22;

u32 u(std::int64_t v) { return static_cast<u32>(v); }

/// Sign of 12-bit coordinates, which wrap.
std::int32_t coord(std::int64_t v) {
  return static_cast<std::int32_t>(static_cast<u32>(v) << 20U) >> 20;
}

/// A ks_fifo.
template <class T, std::size_t kDepth> class Fifo {
public:
  [[nodiscard]] bool empty() const { return level_ == 0; }
  [[nodiscard]] u32 level() const { return level_; }
  [[nodiscard]] const T &front() const { return words_[head_]; }
  void push(const T &word) { words_[(head_ + level_++) % kDepth] = word; }
  void pop() {
    head_ = (head_ + 1) % kDepth;
    --level_;
  }

private:
  std::array<T, kDepth> words_{};
  u32 head_ = 0, level_ = 0;
};

// --- The program, reduced to what timing depends on ----------------------------------------------

struct ComputeLayer {
  bool depthwise = false, is_max = false, add = false, dep = false, wnew = false, wrel = false;
  u32 glog = 0, wait_load = 0, wait_out = 0;
  u32 wwords = 0, kwords = 0;
  u32 kh = 1, kw = 1, icg = 1; // counts; icg is 1 when depthwise
  u32 nlast_m1 = 0, noct = 1, nptile = 1;
  std::int32_t ix0 = 0, iy0 = 0, sx = 0, sy = 0, limx = 0, wrapx = 0;
  std::int32_t dilx = 0, dily = 0, ih = 0, iw = 0;
  u32 lin0 = 0, wraplin = 0, tliny = 0; // modulo 2^32: the banks need low bits only
  u32 out_p0 = 0, out_np = 0;
  std::vector<bool> narrow; // by output-channel tile: drains two words per cycle
};

struct LoadBlock {
  LoadMode mode = LoadMode::kRaw;
  u32 wait_compute = 0, wait_out = 0, beats = 0, p0 = 0, chans = 0, count = 0, n = 0;
};

struct OutBlock {
  bool conf = false, softmax = false;
  u32 wait_compute = 0, wait_load = 0, p0 = 0;
  u32 groups = 0, n = 0; // STORE
  u32 classes = 0;       // CONF
};

struct Head {
  DescOp op = DescOp::kEnd;
  u32 segment = 0; // ring words of a new weight segment, 0 without one
};

struct Program {
  std::vector<Head> heads;
  std::vector<ComputeLayer> compute;
  std::vector<LoadBlock> load;
  std::vector<OutBlock> out;
};

ComputeLayer reduce(const ComputeDesc &d) {
  ComputeLayer l;
  l.depthwise = d.depthwise != 0;
  l.is_max = d.is_max != 0;
  l.add = d.add != 0;
  l.dep = d.dep != 0;
  l.wnew = d.wnew != 0;
  l.wrel = d.wrel != 0;
  l.glog = u(d.glog);
  l.wait_load = u(d.wait_load);
  l.wait_out = u(d.wait_out);
  l.wwords = u(d.wwords);
  l.kwords = u(d.kwords);
  l.kh = u(d.kh_m1) + 1;
  l.kw = u(d.kw_m1) + 1;
  l.icg = l.depthwise ? 1 : u(d.icg_m1) + 1;
  l.nlast_m1 = u(d.nlast_m1);
  l.noct = u(d.noct_m1) + 1;
  l.nptile = u(d.nptile_m1) + 1;
  l.ix0 = coord(d.ix0);
  l.iy0 = coord(d.iy0);
  l.sx = coord(d.sx);
  l.sy = coord(d.sy);
  l.limx = coord(d.limx);
  l.wrapx = static_cast<std::int32_t>(d.wrapx);
  l.dilx = coord(d.dilx);
  l.dily = coord(d.dily);
  l.ih = coord(d.ih);
  l.iw = coord(d.iw);
  l.lin0 = u(d.lin0);
  l.wraplin = u(d.wraplin);
  l.tliny = u(d.tliny);
  l.out_p0 = u(d.out_p0);
  l.out_np = u(d.out_np);
  return l;
}

/// Bit 7 of the first shift byte of every tile of a weight segment.
void find_narrow(ComputeLayer &l, std::span<const std::uint8_t> image, std::size_t segment) {
  const std::size_t tile =
      std::size_t{(2U << l.glog) + 1 + l.kwords} * kBeatsPerRingWord * kWordBytes;
  l.narrow.resize(l.noct);
  for (std::size_t i = 0; i < l.noct; ++i) {
    const std::size_t at = segment + i * tile;
    l.narrow[i] = !l.add && at < image.size() && (image[at] & 0x80U) != 0;
  }
}

Result<Program> reduce(const Package &package) {
  Program program;
  std::size_t segment = 0; // bytes
  for (u32 i = 0; i < package.descriptor_count; ++i) {
    const auto bytes = package.descriptor(i);
    DescWords words{};
    for (std::size_t k = 0; k < words.size(); ++k)
      words[k] = load_le<u64>(bytes, 8 * k);
    const auto op = contract::desc_op(words[0]);
    if (!op || (*op == DescOp::kEnd) != (i + 1 == package.descriptor_count))
      return fail(ErrorCode::kParse, "descriptor {} of model '{}': not a program", i,
                  package.model_name);
    Head head{*op, 0};
    switch (*op) {
    case DescOp::kCompute: {
      const auto d = contract::decode<ComputeDesc>(words);
      if (d.wnew != 0) {
        head.segment = u(d.wwords);
        segment = static_cast<std::size_t>(d.waddr);
      }
      program.compute.push_back(reduce(d));
      find_narrow(program.compute.back(), package.image, segment);
      break;
    }
    case DescOp::kLoad: {
      const auto d = contract::decode<LoadDesc>(words);
      program.load.push_back({static_cast<LoadMode>(d.mode), u(d.wait_compute), u(d.wait_out),
                              u(d.beats), u(d.p0), u(d.chans), u(d.count), u(d.n)});
      break;
    }
    case DescOp::kStore: {
      const auto d = contract::decode<StoreDesc>(words);
      program.out.push_back(
          {false, false, u(d.wait_compute), u(d.wait_load), u(d.p0), u(d.groups), u(d.n), 0});
      break;
    }
    case DescOp::kConf: {
      const auto d = contract::decode<ConfDesc>(words);
      program.out.push_back(
          {true, d.softmax != 0, u(d.wait_compute), u(d.wait_load), u(d.p0), 0, 0, u(d.classes)});
      break;
    }
    case DescOp::kEnd:
      break;
    }
    program.heads.push_back(head);
  }
  return program;
}

/// Lanes of the configuration and the order of channel groups in the banks.
struct Geometry {
  explicit Geometry(u32 lanes)
      : nb(lanes), mask(lanes - 1), bits(static_cast<u32>(std::countr_zero(lanes))) {
    for (u32 g = 0; g < nb; ++g) {
      for (u32 bit = 0; bit < bits; ++bit)
        skew_[g] |= ((g >> bit) & 1U) << (bits - 1 - bit);
    }
  }
  [[nodiscard]] u32 skew(u32 group) const { return skew_[group & mask]; }

  u32 nb, mask, bits;

private:
  std::array<u32, kMaxLanes> skew_{};
};

// --- hv_rd and the memory's read side ------------------------------------------------------------

enum class Source : std::uint8_t { kNone, kDescriptors, kLoad, kWeights };

/// What data of reads and writes share: AxiMemory's credits and refresh.
struct Bandwidth {
  explicit Bandwidth(const MemoryTiming &timing)
      : memory(timing), credit(std::int64_t{timing.cycles} + timing.beats - 1) {}

  MemoryTiming memory;
  std::int64_t credit;
  u64 origin = 0; // cycle of the first read request, from which refresh counts
  bool ready = true;

  void begin(u64 cycle) {
    const bool refresh = origin != 0 && memory.refresh_interval != 0 &&
                         (cycle - origin) % memory.refresh_interval >=
                             u64{memory.refresh_interval} - memory.refresh_cycles;
    if (!refresh)
      credit = std::min(credit + memory.beats, std::int64_t{memory.cycles} + memory.beats - 1);
    ready = !refresh && (!memory.limited() || credit >= memory.cycles);
  }
  void spend() { credit -= memory.limited() ? memory.cycles : 0; }
  void requested(u64 cycle) {
    if (origin == 0)
      origin = cycle;
  }
};

struct Read {
  struct Burst {
    Source source = Source::kNone;
    u32 beats = 0;
    u64 due = 0; // cycle of the first beat
  };
  std::array<Burst, kOutstanding> bursts{}; // granted, oldest at `head`
  u32 head = 0, level = 0;
  u32 queued = 0; // of these, in the memory
  u32 beat = 0;
  bool arvalid = false;
  Source rsp = Source::kNone; // the beat at rsp_data_o

  [[nodiscard]] bool rvalid(u64 cycle, const Bandwidth &bandwidth) const {
    return queued != 0 && bursts[head].due <= cycle && bandwidth.ready;
  }
  [[nodiscard]] bool rlast() const { return beat + 1 == bursts[head].beats; }

  void tick(u64 cycle, Bandwidth &bandwidth, bool arready, Source grant, u32 beats) {
    rsp = Source::kNone;
    if (rvalid(cycle, bandwidth)) {
      bandwidth.spend();
      rsp = bursts[head].source;
      if (rlast()) {
        beat = 0;
        head = (head + 1) % kOutstanding;
        --level;
        --queued;
      } else {
        ++beat;
      }
    }
    if (arvalid && arready) {
      bursts[(head + queued) % kOutstanding].due = cycle + bandwidth.memory.read_latency;
      bandwidth.requested(cycle);
      ++queued;
      arvalid = false;
    }
    if (grant != Source::kNone) {
      bursts[(head + level) % kOutstanding] = {grant, beats, 0};
      ++level;
      arvalid = true;
    }
  }
};

// --- hv_front ------------------------------------------------------------------------------------

struct Front {
  enum class State : std::uint8_t { kOff, kHead, kMove, kDrain1, kDrain2, kCheck, kEnd, kOver };
  State state = State::kOff;
  u32 descriptors = 0;
  u32 req_left = 0, held = 0, level = 0, index = 0, pop_idx = 0;
  bool req_valid = false, head_there = false;
  u32 cycle = 0; // before kHead from hv_ctrl's busy on, then from kOver on
  u32 n_compute = 0, n_load = 0, n_out = 0;

  [[nodiscard]] bool request() const { return req_valid; }
  /// Word 15 of descriptor `index` is at the outputs.
  [[nodiscard]] bool dispatch() const { return state == State::kCheck; }
  [[nodiscard]] bool at_end() const { return state == State::kEnd || state == State::kOver; }
  /// The last cycle in which hv_ctrl is busy: done_o, then what hv_ctrl makes of it.
  [[nodiscard]] bool over() const { return state == State::kOver && cycle == 1; }

  void tick(bool req_fire, bool beat, bool head_room, bool is_end, bool units_idle,
            bool compute_done, bool load_done, bool out_done) {
    const bool move = state == State::kMove;
    const bool moved = move && pop_idx == kDescBeats - 1;
    const bool make = req_left != 0 && held < 2 && !req_valid;
    if (req_fire)
      req_valid = false;
    if (make)
      req_valid = true;
    req_left -= make ? 1 : 0;
    held = held + (make ? 1 : 0) - (moved ? 1 : 0);
    const bool there = level >= kDescBeats;
    level = level + (beat ? 1 : 0) - (move ? 1 : 0);
    switch (state) {
    case State::kOff: // reset, then start_o
      if (cycle++ == 1) {
        cycle = 0;
        req_left = descriptors;
        state = State::kHead;
      }
      break;
    case State::kHead:
      pop_idx = 0;
      if (head_there && head_room)
        state = State::kMove;
      break;
    case State::kMove:
      ++pop_idx;
      if (moved)
        state = State::kDrain1;
      break;
    case State::kDrain1:
      state = State::kDrain2;
      break;
    case State::kDrain2:
      state = State::kCheck;
      break;
    case State::kCheck:
      ++index;
      state = is_end ? State::kEnd : State::kHead;
      break;
    case State::kEnd:
      if (units_idle)
        state = State::kOver;
      break;
    case State::kOver:
      ++cycle;
      break;
    }
    head_there = there;
    n_compute += compute_done ? 1 : 0;
    n_load += load_done ? 1 : 0;
    n_out += out_done ? 1 : 0;
  }
};

// --- hv_load -------------------------------------------------------------------------------------

struct Load {
  const std::vector<LoadBlock> *blocks = nullptr;
  const Geometry *geometry = nullptr;

  // Queue and requests. All blocks start at a multiple of 128 bytes.
  enum class Request : std::uint8_t { kIdle, kRead, kWait, kReq };
  u32 q_level = 0, q_index = 0; // q_index: block read next
  Request rstate = Request::kIdle;
  u32 ridx = 0, current = 0;
  bool offer = false, reached = false, req_valid = false;
  u32 left_beats = 0, used = 0, fifo = 0, burst = 0;
  // Unpacking.
  enum class Unpack : std::uint8_t { kIdle, kFirst, kSecond, kRun, kTail, kNeed, kLast, kFlush };
  Unpack ustate = Unpack::kIdle;
  LoadMode mode = LoadMode::kRaw;
  u32 block = 0;
  u32 p0 = 0, n = 0, chans = 0, bytes = 0, max = 0, beats = 0, left = 0;
  u32 p = 0, inner = 0, g = 0, win_n = 0, off = 0, need = 0;
  bool take_piece = false; // take_q
  struct Piece {
    u32 bank = 0, pixels = 0, block = 0;
    bool last = false;
  };
  Fifo<Piece, kPieceFifo> pieces;
  // Output register.
  bool out_valid = false, done = false;
  Piece out;

  // Signals of this cycle.
  u32 win_keep = 0;
  bool beat_pop = false, take_next = false, out_free = false, fire = false;

  [[nodiscard]] bool room() const { return q_level < kLoadQueue; }
  [[nodiscard]] bool idle() const {
    return q_level == 0 && rstate == Request::kIdle && ustate == Unpack::kIdle && pieces.empty() &&
           !out_valid && !done;
  }
  [[nodiscard]] bool request() const { return req_valid; }
  /// The last cycle in which the block waits.
  [[nodiscard]] bool begins() const { return rstate == Request::kWait && reached; }

  void eval(bool wr_ready) {
    out_free = !out_valid || wr_ready;
    fire = out_valid && wr_ready;
    win_keep = win_n;
    u32 need_next = need;
    if (take_piece) {
      const u32 adv = max * bytes;
      win_keep -= std::min(win_n, (off + adv) / 8);
      need_next = ((off + adv) % 8 + adv + 7) / 8;
    }
    beat_pop = fifo != 0 && beats != 0 && (win_n != 3 || take_piece);
    take_next = false;
    if (ustate == Unpack::kRun)
      take_next = left >= (take_piece ? 2 * max : max);
    else if (ustate == Unpack::kLast)
      take_next = !take_piece;
    take_next =
        take_next && win_keep + (beat_pop ? 1 : 0) >= need_next && pieces.level() + 2 <= kPieceFifo;
  }

  void tick(bool push, bool req_fire, bool beat, u32 n_compute, u32 n_out) {
    const bool pop = rstate == Request::kRead && ridx == 3;
    const bool take = ustate == Unpack::kIdle && offer && pieces.empty();
    const bool make =
        rstate == Request::kReq && !req_valid && left_beats != 0 && used + kBurstBeats <= kBeatFifo;

    output();
    unpack(take);

    // Requests.
    const bool over = left_beats == 0 && !req_valid && !offer;
    used -= beat_pop ? 1 : 0;
    fifo = fifo + (beat ? 1 : 0) - (beat_pop ? 1 : 0);
    if (req_fire)
      req_valid = false;
    if (make) {
      burst = std::min(left_beats, kBurstBeats);
      left_beats -= burst;
      used += burst;
      req_valid = true;
    }
    const bool begin = begins();
    const bool queued = q_level != 0;
    q_level = q_level + (push ? 1 : 0) - (pop ? 1 : 0);
    if (take)
      offer = false;
    ridx = rstate == Request::kRead ? (ridx + 1) & 3U : 0;
    reached = rstate == Request::kWait && n_compute >= (*blocks)[current].wait_compute &&
              n_out >= (*blocks)[current].wait_out;
    switch (rstate) {
    case Request::kIdle:
      if (queued)
        rstate = Request::kRead;
      break;
    case Request::kRead:
      if (pop) {
        current = q_index++;
        rstate = Request::kWait;
      }
      break;
    case Request::kWait:
      left_beats = (*blocks)[current].beats;
      if (begin) {
        rstate = Request::kReq;
        offer = true;
      }
      break;
    case Request::kReq:
      if (over)
        rstate = Request::kIdle;
      break;
    }
  }

private:
  /// Piece FIFO and output register.
  void output() {
    done = fire && out.last;
    if (out_free) {
      out_valid = !pieces.empty();
      if (out_valid) {
        out = pieces.front();
        pieces.pop();
      }
    }
    if (!take_piece)
      return;
    const bool tail = ustate == Unpack::kLast;
    pieces.push({p + geometry->skew(g), tail ? left : max, block, tail || left == max});
  }

  void unpack(bool take) {
    const bool was_take = take_piece, beats_left = beats != 0;
    const Unpack state = ustate;
    const bool over = was_take && (state == Unpack::kLast || left == max);
    win_n = state == Unpack::kIdle || state == Unpack::kFlush || over
                ? 0
                : win_keep + (beat_pop ? 1 : 0);
    beats -= beat_pop ? 1 : 0;
    take_piece = take_next;
    switch (state) {
    case Unpack::kIdle:
      if (take) {
        begin_block();
        ustate = Unpack::kFirst;
      }
      break;
    case Unpack::kFirst:
      ustate = Unpack::kSecond;
      break;
    case Unpack::kSecond:
      ustate = Unpack::kRun;
      break;
    case Unpack::kRun:
      if (over)
        ustate = Unpack::kFlush;
      else if (left < (was_take ? 2 * max : max))
        ustate = Unpack::kTail;
      if (was_take)
        advance();
      break;
    case Unpack::kTail:
      ustate = Unpack::kNeed;
      break;
    case Unpack::kNeed:
      need = (off + left * bytes + 7) / 8;
      ustate = Unpack::kLast;
      break;
    case Unpack::kLast:
      if (was_take)
        ustate = Unpack::kFlush;
      break;
    case Unpack::kFlush:
      if (!beats_left)
        ustate = Unpack::kIdle;
      break;
    }
  }

  void begin_block() {
    const LoadBlock &b = (*blocks)[current];
    block = current;
    mode = b.mode;
    p0 = p = b.p0;
    n = b.n;
    chans = b.chans;
    beats = b.beats;
    left = b.count;
    g = inner = off = 0;
    const bool raw = mode == LoadMode::kRaw;
    constexpr std::array<u32, 9> kPixels{1, 8, 4, 3, 2, 2, 2, 2, 1};
    bytes = raw ? chans : kWordBytes;
    max = raw ? kPixels[std::min<u32>(chans, 8)] : 1;
    need = (max * bytes + 7) / 8;
  }

  void advance() {
    left -= max;
    off = (off + max * bytes) % 8;
    need = (off + max * bytes + 7) / 8;
    switch (mode) {
    case LoadMode::kNhwc:
      if (g == chans - 1) {
        ++p;
        g = 0;
      } else {
        ++g;
      }
      break;
    case LoadMode::kPlanar:
      if (inner == n - 1) {
        p = p0;
        inner = 0;
        ++g;
      } else {
        ++p;
        ++inner;
      }
      break;
    case LoadMode::kRaw:
      p += max;
      break;
    }
  }
};

// --- hv_cfgq -------------------------------------------------------------------------------------

struct ConfigQueue {
  u32 level = 0, word = 0;
  bool busy = false, valid = false;

  [[nodiscard]] bool room() const { return level < kComputeQueue; }
  [[nodiscard]] bool empty() const { return level == 0 && !busy && !valid; }

  void tick(bool push, bool take) {
    const bool was_valid = valid;
    const u32 was_level = level;
    level += push ? 1 : 0;
    if (take)
      valid = false;
    if (!busy) {
      if (!was_valid && was_level != 0) {
        busy = true;
        word = 0;
      }
      return;
    }
    if (word++ == 17) {
      busy = false;
      valid = true;
      --level;
    }
  }
};

// --- hv_wring ------------------------------------------------------------------------------------

struct Ring {
  u32 words = 0; // of the ring
  const std::vector<u32> *segment_words = nullptr;

  // Prefetcher. All segments start at a multiple of 128 bytes.
  u32 seg_n = 0, seg_index = 0;
  bool seg_idle = true;
  bool cur = false, prepared = false, req_valid = false;
  u32 left = 0; // words of the segment without a burst made for them
  u32 alloc = 0, wr = 0, rel = 0, rel_before = 0, used = 0, beat = 0;
  u32 burst = 0; // beats of the request
  // Sequencer.
  enum class State : std::uint8_t { kIdle, kGuard, kParam, kWeight };
  State state = State::kIdle;
  u32 rd = 0, seg_base = 0, seg_next = 0, tile_base = 0;
  u32 oct = 0, ptile = 0, word = 0, par = 0, open = 0;
  std::int32_t lead = 0;
  bool rx = false;
  u32 held = 0;
  bool credit = true;
  bool dst_weight = false;
  u32 fifo = 0;

  [[nodiscard]] bool room() const { return seg_n < kSegmentQueue; }
  [[nodiscard]] bool prefetch_idle() const { return seg_idle; }
  [[nodiscard]] bool layer_done() const { return state == State::kIdle; }
  [[nodiscard]] bool weights() const { return fifo != 0; }
  [[nodiscard]] bool request() const { return req_valid; }

  void tick(bool seg_push, bool req_fire, bool rsp, bool layer_start, const ComputeLayer *layer,
            bool oct_drained, bool wpop) {
    seg_idle = !cur && !req_valid && seg_n == 0 && alloc == wr;
    const u32 was_rel = rel;
    sequence(layer_start, layer, oct_drained, wpop);

    // Prefetcher.
    const u32 burst_words = std::min(left, kBurstBeats / kBeatsPerRingWord);
    const bool make = prepared && used + burst_words <= words;
    const bool seg_pop = !cur && !req_valid && seg_n != 0;
    prepared = cur && !req_valid && !make;
    seg_n = seg_n + (seg_push ? 1 : 0) - (seg_pop ? 1 : 0);
    if (req_fire)
      req_valid = false;
    used -= was_rel - rel_before;
    rel_before = was_rel;
    if (make) {
      burst = burst_words * kBeatsPerRingWord;
      req_valid = true;
      alloc += burst_words;
      used += burst_words;
      left -= burst_words;
      cur = left != 0;
    }
    if (seg_pop) {
      cur = true;
      left = (*segment_words)[seg_index++];
    }
    rx = false;
    if (rsp && ++beat == kBeatsPerRingWord) {
      beat = 0;
      ++wr;
      rx = true;
    }
  }

private:
  void sequence(bool layer_start, const ComputeLayer *layer, bool oct_drained, bool wpop) {
    const bool weight = state == State::kWeight && lead > 0 && credit;
    const bool read = weight || (state == State::kParam && lead > 0);
    lead += (rx ? 1 : 0) - (read ? 1 : 0);
    credit = held + (weight ? 1 : 0) < kWeightFifo;
    held = held + (weight ? 1 : 0) - (wpop ? 1 : 0);
    fifo = fifo + (dst_weight ? 1 : 0) - (wpop ? 1 : 0);
    dst_weight = weight;
    rd += read ? 1 : 0;
    const u32 was_open = open;
    open -= oct_drained ? 1 : 0;
    switch (state) {
    case State::kIdle:
      if (layer_start) {
        state = State::kGuard;
        oct = 0;
        if (layer->wnew) {
          seg_base = rd = seg_next;
          seg_next += layer->wwords;
        } else {
          rd = seg_base;
        }
      }
      break;
    case State::kGuard:
      lead = static_cast<std::int32_t>(wr - rd);
      par = 0;
      if (was_open != 2) {
        ++open;
        state = State::kParam;
      }
      break;
    case State::kParam:
      if (read && par++ == (2U << layer->glog)) {
        state = State::kWeight;
        tile_base = rd;
        ptile = word = 0;
      }
      break;
    case State::kWeight:
      if (weight && ++word == layer->kwords) {
        word = 0;
        if (++ptile != layer->nptile) {
          lead += static_cast<std::int32_t>(rd - tile_base);
          rd = tile_base;
        } else {
          if (layer->wrel)
            rel = rd;
          state = ++oct == layer->noct ? State::kIdle : State::kGuard;
        }
      }
      break;
    }
  }
};

// --- hv_fetch ------------------------------------------------------------------------------------

/// What travels with an operand set.
struct Tag {
  const ComputeLayer *layer = nullptr;
  u32 nch_m1 = 0;
  bool last = false, w_last = false, is_res = false;
  bool narrow = false;
};

struct Fetch {
  const Geometry *geometry = nullptr;

  struct Operation {
    u32 issues = 0; // cycles in F2, 1 without conflicts
    Tag tag;
  };
  bool run = false, f0_valid = false, f1_valid = false, fc_valid = false, f2_valid = false;
  Operation f0, f1, fc, f2; // f2.issues counts down
  Fifo<Operation, kOperationQueue> queue;
  bool room = true;
  bool issue_valid = false, issue_last = false; // F3
  Tag issue_tag;
  // Walker: pairs of lanes of the next tile that it has shifted in.
  bool walk = false, walk_begins = false, full = false;
  u32 pair = 0;
  // Loop nest.
  const ComputeLayer *layer = nullptr;
  u32 oct = 0, ptile = 0, tap = 0, taps = 0, icg = 0;
  bool res = false;
  // Position of every pixel lane of the tile at tap (0, 0), and of the first pixel of the next one.
  struct Position {
    std::int32_t x = 0, y = 0;
    u32 lin = 0;
  };
  u32 pixels = 0, left = 0;
  std::array<Position, kMaxLanes> position{};
  Position next;
  // Issues of each tap of a tile, by the low bits of the channel group's skew, 0 where not yet
  // counted; those of all tiles when they are remembered.
  std::array<std::vector<std::uint8_t>, kNetRadix> issues;
  bool remembered = false;
  std::size_t issues_at = 0;

  // Signals of this cycle.
  bool fire = false, f2_load = false, reserve = false, go = false, swap = false;

  [[nodiscard]] bool busy() const {
    return f0_valid || f1_valid || fc_valid || !queue.empty() || f2_valid || issue_valid;
  }
  void eval(bool issue_ok, bool hold) {
    fire = f2_valid && issue_ok && !hold;
    reserve = fire && f2.issues <= 1;
    f2_load = !f2_valid || reserve;
    const bool new_lanes = res || (tap == 0 && icg == 0);
    go = run && room && (!new_lanes || full);
    swap = go && new_lanes;
  }

  void tick(const ComputeLayer *begin, bool prepare) {
    issue_valid = fire;
    issue_last = reserve;
    issue_tag = f2.tag;
    room = queue.level() <= kOperationQueue / 2;
    if (f2_load) {
      f2_valid = !queue.empty();
      if (f2_valid) {
        f2 = queue.front();
        queue.pop();
      }
    } else if (fire) {
      --f2.issues;
    }
    if (fc_valid)
      queue.push(fc);
    fc_valid = f1_valid;
    fc = f1;
    f1_valid = f0_valid;
    f1 = f0;
    f0_valid = go;
    if (prepare) {
      walk = full = false;
      pair = 0;
    } else if (walk && !full) {
      full = ++pair == geometry->nb / 2;
      pair = full ? 0 : pair;
    } else if (swap) {
      full = false;
    }
    if (walk_begins && !prepare)
      walk = true;
    walk_begins = prepare;
    if (go)
      advance();
    if (begin != nullptr)
      start_layer(*begin);
  }

private:
  void start_layer(const ComputeLayer &l) {
    run = true;
    layer = &l;
    oct = 0;
    taps = l.kh * l.kw;
    pixels = geometry->nb >> l.glog;
    remembered = u64{l.nptile} * taps <= kRememberedTaps;
    for (auto &counts : issues)
      counts.assign(remembered ? std::size_t{l.nptile} * taps : taps, 0);
    start_channels();
  }
  void start_channels() {
    ptile = 0;
    left = layer->out_np;
    next = {layer->ix0, layer->iy0, layer->lin0};
    start_tile();
  }
  void start_tile() {
    const ComputeLayer &l = *layer;
    tap = icg = 0;
    res = false;
    for (u32 i = 0; i < pixels; ++i) {
      position[i] = next;
      next.x += l.sx;
      next.lin += static_cast<u32>(l.sx);
      if (next.x >= l.limx) {
        next.x -= l.wrapx;
        next.y += l.sy;
        next.lin += l.wraplin;
      }
      next.x = coord(next.x);
      next.y = coord(next.y);
    }
    issues_at = remembered ? std::size_t{ptile} * taps : 0;
    if (!remembered) {
      for (auto &counts : issues)
        std::fill(counts.begin(), counts.end(), std::uint8_t{0});
    }
  }

  [[nodiscard]] u32 issues_of_tap() {
    const ComputeLayer &l = *layer;
    // All lanes have this skew. By multiples of the radix it changes nothing.
    const u32 skew = geometry->skew(l.depthwise ? oct << l.glog : icg) % kNetRadix;
    std::uint8_t *counts = issues[skew].data() + issues_at;
    if (counts[tap] == 0)
      count_issues(skew, counts);
    return counts[tap];
  }

  void advance() {
    const ComputeLayer &l = *layer;
    const bool icg_last = icg + 1 == l.icg;
    const bool taps_last = icg_last && tap + 1 == taps;
    const bool tile_last = l.add ? res : taps_last;
    // Residual words of a tile lie in different banks.
    f0.issues = res ? 1U : issues_of_tap();
    f0.tag = {layer,
              res ? 0 : l.depthwise ? (l.is_max ? 1U : 0U) : icg_last ? l.nlast_m1 : kWordBytes - 1,
              tile_last,
              taps_last && !res,
              res,
              l.narrow[oct]};
    if (!tile_last) {
      if (taps_last) {
        res = true;
      } else if (icg_last) {
        icg = 0;
        ++tap;
      } else {
        ++icg;
      }
      return;
    }
    if (++ptile != l.nptile) {
      left -= pixels;
      start_tile();
    } else if (++oct != l.noct) {
      start_channels();
    } else {
      run = false;
    }
  }

  /// Issues of every tap of the tile.
  void count_issues(u32 skew, std::uint8_t *out) const {
    const ComputeLayer &l = *layer;
    const u32 groups = l.depthwise ? 1U << l.glog : 1;
    const u32 active = std::min(left, pixels);
    std::int32_t ty = 0;
    u32 offset = skew;
    for (u32 ky = 0; ky < l.kh; ++ky, ty += l.dily) {
      std::int32_t tx = 0;
      for (u32 kx = 0; kx < l.kw; ++kx, tx += l.dilx) {
        std::array<Word, kMaxLanes> words;
        u32 n = 0;
        u64 banks = 0, columns = 0;
        for (u32 j = 0; j < groups; ++j) {
          for (u32 i = 0; i < active; ++i) {
            const std::int32_t x = coord(position[i].x + tx);
            const std::int32_t y = coord(position[i].y + ty);
            if (x < 0 || x >= l.iw || y < 0 || y >= l.ih)
              continue;
            const u32 bank = (position[i].lin + offset + geometry->skew(j)) & geometry->mask;
            words[n] = {bank, (bank / kNetRadix) * kNetRadix + (j * pixels + i) % kNetRadix};
            banks |= u64{1} << words[n].bank;
            columns |= u64{1} << words[n].column;
            ++n;
          }
        }
        const bool together = static_cast<u32>(std::popcount(banks)) == n &&
                              static_cast<u32>(std::popcount(columns)) == n;
        *out++ = static_cast<std::uint8_t>(together ? 1 : issues_of(words, n));
        offset += kx + 1 == l.kw ? l.tliny : static_cast<u32>(l.dilx);
      }
    }
  }
  struct Word {
    u32 bank = 0;
    u32 column = 0; // class of banks and column of the network that its lane takes it from
  };
  /// A lane is served when no lower one that it cannot be served with is left.
  [[nodiscard]] static u32 issues_of(const std::array<Word, kMaxLanes> &words, u32 n) {
    std::array<u32, kMaxLanes> issue{};
    u32 most = 1;
    for (u32 w = 0; w < n; ++w) {
      for (u32 v = 0; v < w; ++v) {
        if (words[v].bank == words[w].bank || words[v].column == words[w].column)
          issue[w] = std::max(issue[w], issue[v]);
      }
      most = std::max(most, ++issue[w]);
    }
    return most;
  }
};

// --- hv_actmem
// ------------------------------------------------------------------------------------

/// Reads: from an issue to the set of operands that the array takes.
struct Operands {
  struct Stage {
    bool valid = false, last = false;
    Tag tag;
  };
  std::array<Stage, 5> stages{}; // A2, A3, F4, F5, and F6 with a whole set
  Fifo<Tag, kSets> sets;
  u32 places = 0; // taken
  bool issue_ok = true, taken = false;

  [[nodiscard]] bool busy() const {
    return !sets.empty() ||
           std::any_of(stages.begin(), stages.end(), [](const Stage &s) { return s.valid; });
  }
  void tick(bool set_take, bool reserve, bool issue_valid, bool issue_last, const Tag &issue_tag) {
    places = places + (reserve ? 1 : 0) - (taken ? 1 : 0);
    issue_ok = places < kSets;
    taken = set_take;
    if (set_take)
      sets.pop();
    if (stages[4].valid)
      sets.push(stages[4].tag);
    for (std::size_t i = stages.size(); --i > 0;)
      stages[i] = stages[i - 1];
    stages[4].valid = stages[4].valid && stages[4].last;
    stages[0] = {issue_valid, issue_last, issue_tag};
  }
};

/// Writes: results in the cycle after their port, and the load write that waits for their banks.
struct Writes {
  const Geometry *geometry = nullptr;
  bool load = false, wait = false;
  u32 bank = 0, pixels = 0;
  bool valid0 = false, valid1 = false; // results
  u32 result_bank = 0;                 // of word 0; word 1 is in the next bank

  [[nodiscard]] bool go() const { return !meets(valid0, 0) && !meets(valid1, 1); }
  [[nodiscard]] bool ready() const { return !load || go(); }
  void tick(bool load_valid, u32 load_bank, u32 load_pixels, bool result0, bool result1,
            u32 next_bank) {
    wait = load && !go();
    if (!wait) {
      load = load_valid;
      bank = load_bank;
      pixels = load_pixels;
    }
    valid0 = result0;
    valid1 = result1;
    result_bank = next_bank;
  }

private:
  [[nodiscard]] bool meets(bool valid, u32 word) const {
    return valid && ((result_bank + word - bank) & geometry->mask) < pixels;
  }
};

// --- hv_mac --------------------------------------------------------------------------------------

struct Array {
  u32 lanes = 0;
  bool cur = false;
  Tag tag;
  u32 ch = 0, slice = 0, gap = 0;
  u32 done_pipe = 0; // ma, m0, m1, m2 of the last step of a tile

  // Signals of this cycle.
  bool have_w = false, issue = false, ch_last = false, tile_end = false, wpop = false;
  bool set_take = false, advance = false;

  [[nodiscard]] bool done() const { return (done_pipe & 8U) != 0; }
  void eval(bool wvalid, bool set_valid) {
    ch_last = ch == tag.nch_m1;
    tile_end = tag.last && ch_last;
    have_w = tag.is_res || wvalid;
    issue = cur && have_w && (!tile_end || gap == 0);
    // Both steps of a maximum have one step's weights.
    advance = issue && !tag.is_res && (!tag.layer->is_max || ch == 1);
    wpop = advance && (slice == 3U >> tag.layer->glog || (ch_last && tag.w_last));
    set_take = set_valid && (!cur || (issue && ch_last));
  }
  void tick(const Tag &set_tag) {
    done_pipe = (done_pipe << 1U | (issue && tile_end ? 1U : 0U)) & 15U;
    if (issue && tile_end)
      gap = (tag.layer->add ? 4 * lanes + 20 : tag.narrow ? lanes / 2 : lanes) - 1;
    else if (gap != 0)
      --gap;
    if (issue) {
      ch = ch_last ? 0 : ch + 1;
      if (advance)
        slice = wpop ? 0 : slice + 1;
    }
    if (set_take) {
      cur = true;
      tag = set_tag;
    } else if (issue && ch_last) {
      cur = false;
    }
  }
};

// --- hv_drain ------------------------------------------------------------------------------------

/// What is on the result write port in a cycle.
struct Results {
  bool valid0 = false, valid1 = false, layer_done = false;
  u32 bank = 0; // of word 0; word 1 is in the next bank
};

struct Drain {
  static constexpr u32 kPlainDelay = 11, kAddDelay = 34, kDelays = 64;
  const Geometry *geometry = nullptr;
  const ComputeLayer *layer = nullptr;
  bool open = false, active = false;
  u32 oct = 0, ptile = 0, tile_o = 0, octg = 0, cnt = 0;
  std::array<Results, kDelays> port{}; // by cycle modulo kDelays

  // Signals of this cycle.
  bool tile_end = false, oct_end = false, layer_end = false, take_layer = false;

  [[nodiscard]] bool narrow() const { return layer->narrow[oct]; }
  void eval(bool done) {
    tile_end = false;
    if (active) {
      const u32 nb = geometry->nb;
      tile_end = cnt == (layer->add ? 4 * (nb - 1) : narrow() ? nb / 2 - 1 : nb - 1);
    }
    oct_end = tile_end && ptile + 1 == layer->nptile;
    layer_end = oct_end && oct + 1 == layer->noct;
    take_layer = done && (!open || layer_end);
  }
  void tick(u64 cycle, bool done, const ComputeLayer *next) {
    port[cycle % kDelays] = {};
    // The words of a wide tile are written in pairs, with the second.
    if (active && (layer->add ? cnt % 4 == 0 : narrow() || cnt % 2 == 1)) {
      const bool add = layer->add;
      const u32 lane = add ? cnt / 4 : narrow() ? 2 * cnt : cnt - 1;
      const u32 o = tile_o + (lane & ((geometry->nb >> layer->glog) - 1));
      const u32 group = octg + (lane >> (geometry->bits - layer->glog));
      port[(cycle + (add ? kAddDelay : kPlainDelay)) % kDelays] = {
          o < layer->out_np, !add && o + 1 < layer->out_np, layer_end,
          layer->out_p0 + o + geometry->skew(group)};
    }
    if (take_layer) {
      layer = next;
      oct = ptile = tile_o = octg = 0;
      open = true;
    } else {
      if (tile_end) {
        tile_o += geometry->nb >> layer->glog;
        if (++ptile == layer->nptile) {
          ptile = tile_o = 0;
          ++oct;
          octg += 1U << layer->glog;
        }
      }
      if (layer_end)
        open = false;
    }
    cnt = done ? 0 : cnt + 1;
    if (done)
      active = true;
    else if (tile_end)
      active = false;
  }
};

// --- hv_out with hv_conf_math, and the memory's write side ---------------------------------------

struct Out {
  const std::vector<OutBlock> *blocks = nullptr;
  const Geometry *geometry = nullptr;
  u32 max_outstanding = 0, write_latency = 0;

  enum class State : std::uint8_t {
    kIdle,
    kRead,
    kWait,
    kAddr,
    kRow,
    kGet,
    kStEmit,
    kCfWord,
    kCfScan,
    kCfSum,
    kCfRecip,
    kCfMath,
    kCfP1,
    kCfP2,
    kCfMargin,
    kCfOut,
    kCfPush,
    kSettle,
    kFlush
  };
  static constexpr u32 kReciprocalCycles = 74, kProductCycles = 9;
  State state = State::kIdle;
  u32 q_n = 0, q_index = 0, current = 0, rd = 0;
  bool begin = false;
  u32 g = 0, p = 0, left = 0, idx = 0, i = 0, pass = 0, sub = 0;
  u32 row_wait = 0; // cycles until row_take
  u32 math = 0;     // cycles that the multiplier is still busy
  // Write channel.
  u32 fifo = 0, w_beats = 0, b_pend = 0;
  bool w_busy = false, aw = false, w = false, w_last = false, b = false, quiet = false;
  // Memory: bursts without response, oldest first; those behind the first `complete` lack data.
  std::vector<u64> due;
  std::size_t due_head = 0, complete = 0;

  // Signals of this cycle.
  u32 burst = 0;
  bool awready = false, w_fire = false, f_pop = false, bvalid = false, aw_start = false;
  bool last_class = false, word_end = false, push_word = false, done = false;

  [[nodiscard]] const OutBlock &block() const { return (*blocks)[current]; }
  [[nodiscard]] bool room() const { return q_n < kOutQueue; }
  [[nodiscard]] bool idle() const { return state == State::kIdle && q_n == 0; }
  [[nodiscard]] bool row_valid() const { return state == State::kRow; }
  [[nodiscard]] bool begins() const { return state == State::kWait && begin; }

  void eval(u64 cycle, bool wready) {
    const std::size_t queued = due.size() - due_head;
    awready = queued < max_outstanding;
    bvalid = complete != 0 && due[due_head] <= cycle;
    w_fire = w && !aw && wready;
    f_pop = w_beats != 0 && (!w || w_fire);
    burst = std::min(fifo, kBurstBeats);
    const bool tail = state == State::kSettle || state == State::kFlush;
    aw_start = !w_busy && (fifo >= kBurstBeats || (tail && fifo != 0)) && b_pend != kResponses;
    push_word = (state == State::kStEmit || state == State::kCfPush) && fifo != kWriteFifo;
    if (state >= State::kCfScan && state <= State::kCfOut) {
      last_class = i == block().classes - 1;
      word_end = idx == kWordBytes - 1 || last_class;
    }
    done = state == State::kFlush && quiet;
  }

  void tick(u64 cycle, bool push, u32 n_compute, u32 n_load, bool row_ready) {
    const bool pop = state == State::kRead && rd == 3;
    const bool product =
        (state == State::kCfP1 || state == State::kCfP2 || state == State::kCfOut) && sub == 2;
    const bool reciprocal = state == State::kCfRecip && sub == 3;
    const bool was_begin = begin;
    begin =
        state == State::kWait && n_compute >= block().wait_compute && n_load >= block().wait_load;
    quiet = !w_busy && b_pend == 0 && fifo == 0;
    const u32 was_n = q_n;
    q_n = q_n + (push ? 1 : 0) - (pop ? 1 : 0);
    fifo = fifo + (push_word ? 1 : 0) - (f_pop ? 1 : 0);
    sequence(was_n, was_begin, row_ready);
    if (reciprocal)
      math = kReciprocalCycles;
    else if (product)
      math = kProductCycles;
    else if (math != 0)
      --math;

    // Write channel and memory.
    if (bvalid) {
      --complete;
      if (++due_head == due.size()) {
        due.clear();
        due_head = 0;
      }
    }
    if (aw && awready)
      due.push_back(0);
    if (w_fire && w_last) {
      due.back() = cycle + write_latency;
      ++complete;
    }
    b_pend = b_pend + (aw_start ? 1 : 0) - (b ? 1 : 0);
    b = bvalid;
    w = f_pop || (w && !w_fire);
    if (aw_start) {
      aw = w_busy = true;
      w_beats = burst;
    } else {
      if (awready)
        aw = false;
      if (w_fire && w_last)
        w_busy = false;
      if (f_pop)
        w_last = w_beats-- == 1;
    }
  }

private:
  /// Next class, at the end of a word the next one, or what follows the last one.
  void next_class(State after) {
    ++i;
    ++idx;
    if (!word_end)
      return;
    ++g;
    state = State::kAddr;
    if (last_class) {
      ++pass;
      i = g = 0;
      state = after;
    }
  }

  void sequence(u32 was_n, bool was_begin, bool row_ready) {
    switch (state) {
    case State::kIdle:
      rd = 0;
      if (was_n != 0)
        state = State::kRead;
      break;
    case State::kRead:
      if (rd++ == 3) {
        current = q_index++;
        state = State::kWait;
      }
      break;
    case State::kWait:
      g = i = pass = sub = 0;
      left = block().n;
      if (was_begin)
        state = State::kAddr;
      break;
    case State::kAddr:
      p = block().p0;
      state = State::kRow;
      break;
    case State::kRow:
      row_wait = kRowLatency;
      if (row_ready)
        state = State::kGet;
      break;
    case State::kGet:
      if (--row_wait == 0)
        state = block().conf ? State::kCfWord : State::kStEmit;
      break;
    case State::kStEmit:
      if (!push_word)
        break;
      if (left == 1) {
        left = block().n;
        state = ++g == block().groups ? State::kSettle : State::kAddr;
      } else {
        if ((p & geometry->mask) == geometry->mask)
          state = State::kRow;
        ++p;
        --left;
      }
      break;
    case State::kCfWord:
      idx = sub = 0;
      state = pass == 0 ? State::kCfScan : pass == 1 ? State::kCfSum : State::kCfOut;
      break;
    case State::kCfScan:
      next_class(State::kAddr);
      break;
    case State::kCfSum:
      next_class(State::kCfRecip);
      break;
    case State::kCfRecip:
      if (sub == 3)
        state = State::kCfMath;
      sub = (sub + 1) % 4;
      break;
    case State::kCfMath:
      if (math == 0)
        state = State::kCfP1;
      break;
    case State::kCfP1:
    case State::kCfP2:
      if (sub != 3) {
        ++sub;
      } else if (math == 0) {
        sub = 0;
        state = state == State::kCfP1 ? State::kCfP2 : State::kCfMargin;
      }
      break;
    case State::kCfMargin:
      if (++sub == 3)
        state = block().softmax ? State::kAddr : State::kSettle;
      break;
    case State::kCfOut:
      if (sub != 3) {
        ++sub;
      } else if (math == 0) {
        sub = 2;
        ++i;
        ++idx;
        if (word_end) {
          ++g;
          pass = last_class ? 3 : 2;
          state = State::kCfPush;
        }
      }
      break;
    case State::kCfPush:
      if (push_word)
        state = pass == 3 ? State::kSettle : State::kAddr;
      break;
    case State::kSettle:
      state = State::kFlush;
      break;
    case State::kFlush:
      if (done)
        state = State::kIdle;
      break;
    }
  }
};

// --- hv_engine and hv_compute --------------------------------------------------------------------

class Engine {
public:
  Engine(const Program &program, const contract::Config &config, const MemoryTiming &timing)
      : program_(program), timing_(timing), geometry_(config.lanes), bandwidth_(timing),
        compute_entries_(program.compute.size()), load_entries_(program.load.size()),
        out_entries_(program.out.size()) {
    for (const Head &head : program.heads) {
      if (head.segment != 0)
        segments_.push_back(head.segment);
    }
    front_.descriptors = static_cast<u32>(program.heads.size());
    load_.blocks = &program_.load;
    load_.geometry = &geometry_;
    ring_.words = config.ring_words;
    ring_.segment_words = &segments_;
    fetch_.geometry = &geometry_;
    array_.lanes = config.lanes;
    // Before the first operands nothing looks at the tag but evaluation of what is not used.
    array_.tag.layer = &kNoLayer;
    drain_.geometry = &geometry_;
    writes_.geometry = &geometry_;
    drain_.layer = &kNoLayer;
    out_.blocks = &program_.out;
    out_.geometry = &geometry_;
    out_.max_outstanding = timing.outstanding;
    out_.write_latency = timing.write_latency;
  }

  Result<Counters> run() {
    bool done = false;
    while (!done) {
      ++cycle_;
      done = step();
      if (cycle_ - progress_ >= kWatchdog)
        return fail(ErrorCode::kDevice,
                    "the program stops: nothing happens for {} cycles from cycle {} on", kWatchdog,
                    progress_);
    }
    counters_.cycles = cycle_;
    counters_.cycles_known = true;
    return counters_;
  }

  void schedule(std::vector<DescriptorCycles> &out) const {
    out.clear();
    out.reserve(program_.heads.size());
    std::size_t compute = 0, load = 0, outs = 0;
    for (u32 i = 0; i < program_.heads.size(); ++i) {
      const DescOp op = program_.heads[i].op;
      if (op == DescOp::kEnd)
        continue;
      out.push_back(op == DescOp::kCompute ? compute_entries_[compute++]
                    : op == DescOp::kLoad  ? load_entries_[load++]
                                           : out_entries_[outs++]);
      out.back().op = op;
      out.back().descriptor = i;
    }
  }

private:
  static constexpr ComputeLayer kNoLayer{};

  DescriptorCycles &entry(const ComputeLayer *layer) {
    return compute_entries_[static_cast<std::size_t>(layer - program_.compute.data())];
  }

  /// One cycle; true in that in which the program ends.
  bool step() {
    // Bus.
    const bool arready = read_.queued < timing_.outstanding;
    const bool slot = (!read_.arvalid || arready) && read_.level < kOutstanding;
    Source grant = Source::kNone;
    u32 grant_beats = 0;
    if (front_.request()) {
      grant = Source::kDescriptors;
      grant_beats = kDescBeats;
    } else if (load_.request()) {
      grant = Source::kLoad;
      grant_beats = load_.burst;
    } else if (ring_.request()) {
      grant = Source::kWeights;
      grant_beats = ring_.burst;
    }
    if (!slot)
      grant = Source::kNone;
    bandwidth_.begin(cycle_);
    out_.eval(cycle_, bandwidth_.ready);

    // Results and loaded words meet at the banks.
    const Results results = drain_.port[cycle_ % Drain::kDelays];
    const bool wr_ready = writes_.ready();
    load_.eval(wr_ready);
    const bool load_fire = load_.fire, load_done = load_.done;

    // Array and operands.
    const bool row_ready = !writes_.wait;
    array_.eval(ring_.weights(), !operands_.sets.empty());
    fetch_.eval(operands_.issue_ok, out_.row_valid() || !row_ready);
    const bool tile_done = array_.done();
    drain_.eval(tile_done);

    // Layer control.
    const bool layer_end = results.layer_done;
    const bool w_done = ring_.layer_done();
    const bool cur_done = fstarted_ && !fetch_.run && wstarted_ && w_done && taken_;
    const bool take = cfgq_.valid && (!have_ || cur_done);
    bool wait_units = false, fstart = false;
    if (have_ && !fstarted_) {
      wait_units = front_.n_load < cur_->wait_load || front_.n_out < cur_->wait_out;
      const bool wait_dep = cur_->dep && inflight_ != (layer_end ? 1U : 0U);
      fstart = !wait_units && !wait_dep;
    }

    // Front end.
    const bool dispatch = front_.dispatch();
    const Head &head =
        program_.heads[std::min<std::size_t>(front_.index, program_.heads.size() - 1)];
    const bool is_end = head.op == DescOp::kEnd;
    const bool compute_idle = cfgq_.empty() && !have_ && inflight_ == 0 && ring_.prefetch_idle();
    const bool at_end = front_.at_end();
    const bool units_idle = compute_idle && load_.idle() && out_.idle();
    const bool done = front_.over();

    count(fstart, wait_units, at_end && compute_idle);
    if (dispatch || load_fire || out_.w_fire || array_.issue || read_.rsp != Source::kNone)
      progress_ = cycle_;
    counters_.descriptors += dispatch ? 1 : 0;

    // The descriptors' way through time.
    if (fstart)
      entry(cur_).first = cycle_;
    if (layer_end)
      compute_entries_[front_.n_compute].last = cycle_;
    if (load_.begins())
      load_entries_[load_.current].first = cycle_;
    if (load_fire && load_.out.last)
      load_entries_[load_.out.block].last = cycle_;
    if (out_.begins())
      out_entries_[out_.current].first = cycle_;
    if (out_.done)
      out_entries_[out_.current].last = cycle_;

    // Next state: modules in any order, each from its own registers and the signals above.
    const bool push_compute = dispatch && head.op == DescOp::kCompute;
    const bool push_load = dispatch && head.op == DescOp::kLoad;
    const bool push_out = dispatch && (head.op == DescOp::kStore || head.op == DescOp::kConf);
    const bool out_done = out_.done;
    const u32 n_compute = front_.n_compute, n_load = front_.n_load, n_out = front_.n_out;
    const Source rsp = read_.rsp;
    front_.tick(grant == Source::kDescriptors, rsp == Source::kDescriptors, head_room(head), is_end,
                units_idle, layer_end, load_done, out_done);
    writes_.tick(load_.out_valid, load_.out.bank, load_.out.pixels, results.valid0, results.valid1,
                 results.bank);
    load_.tick(push_load, grant == Source::kLoad, rsp == Source::kLoad, n_compute, n_out);
    out_.tick(cycle_, push_out, n_compute, n_load, row_ready);
    if (out_.w_fire)
      bandwidth_.spend();
    read_.tick(cycle_, bandwidth_, arready, grant, grant_beats);
    ring_.tick(dispatch && head.segment != 0, grant == Source::kWeights, rsp == Source::kWeights,
               wstart_, cur_, drain_.oct_end, array_.wpop);
    drain_.tick(cycle_, tile_done, cur_);
    array_.tick(operands_.sets.front());
    operands_.tick(array_.set_take, fetch_.reserve, fetch_.issue_valid, fetch_.issue_last,
                   fetch_.issue_tag);
    fetch_.tick(fstart ? cur_ : nullptr, wstart_);
    cfgq_.tick(push_compute, take);

    inflight_ = inflight_ + (fstart ? 1 : 0) - (layer_end ? 1 : 0);
    if (take) {
      have_ = true;
      wstarted_ = fstarted_ = taken_ = false;
      cur_ = &program_.compute[next_++];
    } else {
      wstarted_ = wstarted_ || wstart_;
      fstarted_ = fstarted_ || fstart;
      taken_ = taken_ || drain_.take_layer;
      if (cur_done)
        have_ = false;
    }
    wstart_ = take;
    return done;
  }

  [[nodiscard]] bool head_room(const Head &head) const {
    switch (head.op) {
    case DescOp::kCompute:
      return cfgq_.room() && (head.segment == 0 || ring_.room());
    case DescOp::kLoad:
      return load_.room();
    case DescOp::kStore:
    case DescOp::kConf:
      return out_.room();
    case DescOp::kEnd:
      break;
    }
    return true;
  }

  void count(bool fstart, bool wait_units, bool compute_over) {
    Counters &n = counters_;
    if (array_.cur) {
      DescriptorCycles &e = entry(array_.tag.layer);
      if (array_.issue && !array_.tag.is_res) {
        ++n.mac;
        ++e.mac;
      } else if (array_.issue) {
        ++n.res;
        ++e.res;
      } else if (!array_.have_w) {
        ++n.stall_weight;
        ++e.stall_weight;
      } else {
        ++n.stall_drain;
        ++e.stall_drain;
      }
    } else if (fstart || fetch_.run || fetch_.busy() || operands_.busy()) {
      ++n.stall_fetch;
      ++entry(cur_).stall_fetch;
    } else if (have_ && !fstarted_) {
      ++(wait_units ? n.stall_load : n.stall_dep);
      ++(wait_units ? entry(cur_).stall_load : entry(cur_).stall_dep);
    } else if (compute_over) {
      ++n.stall_out;
    } else {
      ++n.stall_desc;
      if (next_ < compute_entries_.size())
        ++compute_entries_[next_].stall_desc;
      else if (cur_ != nullptr)
        ++entry(cur_).stall_desc;
    }
    n.rd_beats += read_.rsp != Source::kNone ? 1 : 0;
    n.rd_w_beats += read_.rsp == Source::kWeights ? 1 : 0;
    n.wr_beats += out_.w_fire ? 1 : 0;
  }

  const Program &program_;
  MemoryTiming timing_;
  Geometry geometry_;
  Bandwidth bandwidth_;
  std::vector<u32> segments_;
  u64 cycle_ = 0, progress_ = 0;
  Counters counters_;
  std::vector<DescriptorCycles> compute_entries_, load_entries_, out_entries_;

  Read read_;
  Front front_;
  Load load_;
  ConfigQueue cfgq_;
  Ring ring_;
  Fetch fetch_;
  Operands operands_;
  Writes writes_;
  Array array_;
  Drain drain_;
  Out out_;
  // hv_compute: the layer at hand.
  const ComputeLayer *cur_ = nullptr;
  std::size_t next_ = 0;
  bool have_ = false, wstart_ = false, wstarted_ = false, fstarted_ = false, taken_ = false;
  u32 inflight_ = 0;
};

} // namespace

Result<Counters> simulate_cycles(const Package &package, const contract::Config &config,
                                 const MemoryTiming &timing,
                                 std::vector<DescriptorCycles> *schedule) {
  if (package.config_name != config.name)
    return fail(ErrorCode::kVersionMismatch,
                "package of model '{}' is for configuration '{}', the cycle model for '{}'",
                package.model_name, package.config_name, config.name);
  if (config.word_bytes != kWordBytes || config.bus_bytes != kWordBytes || config.lanes > kMaxLanes)
    return fail(ErrorCode::kUnsupported,
                "configuration '{}': the cycle model knows words and bus of {} bytes", config.name,
                kWordBytes);
  const auto program = reduce(package);
  if (!program)
    return program.error();
  MemoryTiming memory = timing;
  for (auto member : {&MemoryTiming::read_latency, &MemoryTiming::write_latency,
                      &MemoryTiming::outstanding, &MemoryTiming::beats, &MemoryTiming::cycles})
    memory.*member = std::max(memory.*member, 1U);
  Engine engine(*program, config, memory);
  auto counters = engine.run();
  if (!counters)
    return counters.error();
  counters->macs = package.macs;
  counters->mac_lanes = config.macs();
  if (schedule != nullptr)
    engine.schedule(*schedule);
  return counters;
}

} // namespace kestrel::hv
