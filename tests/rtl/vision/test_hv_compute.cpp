// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// hv_compute against the meaning of compute descriptors as docs/vision_engine.md states it: random
// layers and chains of layers, weights delivered at random times, every activation row compared.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

#include <gtest/gtest.h>

#include "Vhv_compute.h"
#include "kestrel/contract/vision.hpp"
#include "testbench/cpp/bench.hpp"
#include "testbench/cpp/random.hpp"
#include "tests/rtl/test_testbench_util.hpp"

namespace {

using kestrel::contract::ComputeDesc;
using kestrel::tb::Random;

constexpr int kNb = 16;
constexpr int kWb = 8;
constexpr int kRows = 2048;
constexpr int kRingBytes = 32;
constexpr int kRowLatency = 4; // hv_core_pkg::RowLatency

int skew(int g) {
  int r = 0;
  for (int i = 0; i < 4; ++i)
    r |= ((g >> i) & 1) << (3 - i);
  return r;
}

/// The activation memory as the specification describes it.
struct Act {
  std::vector<std::array<std::int8_t, kWb>> words =
      std::vector<std::array<std::int8_t, kWb>>(static_cast<std::size_t>(kNb) * kRows);
  std::array<std::int8_t, kWb> &at(int base, int s, int g, int p) {
    const int bank = (p + skew(g % kNb)) % kNb;
    const int row = base + g * s + p / kNb;
    return words[static_cast<std::size_t>(row) * kNb + static_cast<std::size_t>(bank)];
  }
};

std::int32_t rounding_shift(std::int64_t x, int s) {
  if (s == 0)
    return static_cast<std::int32_t>(x);
  const std::int64_t half = std::int64_t{1} << (s - 1);
  return static_cast<std::int32_t>(x >= 0 ? (x + half) >> s : -((-x + half) >> s));
}

std::int32_t scale(std::int32_t x, std::int32_t m, int rs) {
  return rounding_shift((static_cast<std::int64_t>(x) * m + (std::int64_t{1} << 30)) >> 31, rs);
}

std::int8_t clamp8(std::int32_t v, std::int64_t lo, std::int64_t hi) {
  return static_cast<std::int8_t>(v < lo ? lo : v > hi ? hi : v);
}

std::int8_t clamp8(std::int32_t v, std::int64_t lo, std::int64_t hi);

struct Channel {
  std::int32_t bias = 0;
  std::int32_t mult = 0;
  int rs = 0;
  int ls = 0;
  std::vector<std::int8_t> w; // in the order of the steps
};

struct Layer {
  ComputeDesc d{};
  std::vector<Channel> channels; // padded to whole tiles
  std::vector<bool> narrow;      // by output-channel tile
  std::vector<std::uint8_t> stream;

  int steps() const {
    const int taps = static_cast<int>((d.kh_m1 + 1) * (d.kw_m1 + 1));
    return d.depthwise ? taps : taps * static_cast<int>(d.icg_m1 * kWb + d.nlast_m1 + 1);
  }

  void build_stream() {
    const int g = 1 << d.glog;
    const int c = g * kWb;
    d.kwords = static_cast<decltype(d.kwords)>((steps() * c + kRingBytes - 1) / kRingBytes);
    stream.clear();
    const auto put32 = [&](std::int32_t v) {
      for (int i = 0; i < 4; ++i)
        stream.push_back(static_cast<std::uint8_t>(static_cast<std::uint32_t>(v) >> (8 * i)));
    };
    for (std::size_t oct = 0; oct <= static_cast<std::size_t>(d.noct_m1); ++oct) {
      const Channel *ch = &channels[oct * static_cast<std::size_t>(c)];
      for (int i = 0; i < kRingBytes; ++i)
        stream.push_back(i < c ? static_cast<std::uint8_t>(ch[i].rs | (ch[i].ls << 5)) : 0);
      if (oct < narrow.size() && narrow[oct])
        stream[stream.size() - kRingBytes] |= 0x80;
      for (int i = 0; i < c; ++i)
        put32(ch[i].bias);
      for (int i = 0; i < c; ++i)
        put32(ch[i].mult);
      const std::size_t start = stream.size();
      for (int k = 0; k < steps(); ++k)
        for (int i = 0; i < c; ++i)
          stream.push_back(static_cast<std::uint8_t>(ch[i].w[static_cast<std::size_t>(k)]));
      while ((stream.size() - start) % kRingBytes != 0)
        stream.push_back(0);
    }
    d.wwords = static_cast<decltype(d.wwords)>(stream.size() / kRingBytes);
  }

  /// True if sums saturated at 18 bits give the channel's results for every input.
  bool may_be_narrow(const Channel &c) const {
    std::int64_t low = c.bias, high = c.bias;
    for (const auto w : c.w) {
      low += d.is_max ? 0 : std::min(w * 127, w * -128);
      high += d.is_max ? 0 : std::max(w * 127, w * -128);
    }
    low -= d.is_max ? 128 : 0;
    high += d.is_max ? 127 : 0;
    if (c.ls != 0 || low < INT32_MIN || high > INT32_MAX)
      return false;
    const auto result = [&](std::int64_t x) {
      return clamp8(scale(static_cast<std::int32_t>(x), c.mult, c.rs) +
                        static_cast<std::int32_t>(d.out_zp),
                    d.act_min, d.act_max);
    };
    return result(low) == result(std::max<std::int64_t>(low, -131072)) &&
           result(high) == result(std::min<std::int64_t>(high, 131071));
  }

  /// What the layer does to the activation memory.
  void execute(Act &act) const {
    const int g_count = 1 << d.glog;
    const int p_count = kNb / g_count;
    std::vector<std::array<std::int8_t, kWb>> results;
    for (int oct = 0; oct <= static_cast<int>(d.noct_m1); ++oct) {
      for (int tile = 0; tile <= static_cast<int>(d.nptile_m1); ++tile) {
        for (int p = 0; p < p_count; ++p) {
          const int o = tile * p_count + p;
          if (o >= static_cast<int>(d.out_np))
            continue;
          std::int64_t x = d.ix0, y = d.iy0, lin = d.lin0;
          for (int i = 0; i < o; ++i) {
            x += d.sx;
            lin += d.sx;
            if (x >= d.limx) {
              x -= d.wrapx;
              y += d.sy;
              lin += d.wraplin;
            }
          }
          for (int j = 0; j < g_count; ++j) {
            const int group = oct * g_count + j;
            for (int b = 0; b < kWb; ++b) {
              const Channel &ch =
                  channels[static_cast<std::size_t>(group) * kWb + static_cast<std::size_t>(b)];
              std::int32_t acc = 0;
              std::size_t step = 0;
              for (int ky = 0; ky <= static_cast<int>(d.kh_m1); ++ky)
                for (int kx = 0; kx <= static_cast<int>(d.kw_m1); ++kx) {
                  const std::int64_t tx = x + kx * static_cast<std::int64_t>(d.dilx);
                  const std::int64_t ty = y + ky * static_cast<std::int64_t>(d.dily);
                  const std::int64_t off =
                      kx * static_cast<std::int64_t>(d.dilx) +
                      ky * (static_cast<std::int64_t>(d.kw_m1) * d.dilx + d.tliny);
                  const bool inside = tx >= 0 && tx < d.iw && ty >= 0 && ty < d.ih;
                  const int first = d.depthwise ? group : 0;
                  const int last = d.depthwise ? group : static_cast<int>(d.icg_m1);
                  for (int icg = first; icg <= last; ++icg) {
                    const int n = d.depthwise   ? 1
                                  : icg == last ? static_cast<int>(d.nlast_m1) + 1
                                                : kWb;
                    for (int c = 0; c < n; ++c) {
                      const int byte = d.depthwise ? b : c;
                      const std::int32_t v =
                          inside
                              ? act.at(static_cast<int>(d.in_base), static_cast<int>(d.in_s), icg,
                                       static_cast<int>(lin + off))[static_cast<std::size_t>(byte)]
                              : static_cast<std::int32_t>(d.pad);
                      if (d.is_max)
                        acc = step == 0 ? v : std::max(acc, v);
                      else
                        acc += v * ch.w[step];
                      ++step;
                    }
                  }
                }
              const auto sum =
                  static_cast<std::uint32_t>(acc) + static_cast<std::uint32_t>(ch.bias);
              std::int8_t r =
                  clamp8(scale(static_cast<std::int32_t>(sum << ch.ls), ch.mult, ch.rs) +
                             static_cast<std::int32_t>(d.out_zp),
                         d.act_min, d.act_max);
              if (d.add) {
                const std::int8_t res =
                    act.at(static_cast<int>(d.res_base), static_cast<int>(d.res_s), group,
                           static_cast<int>(d.res_p0) + o)[static_cast<std::size_t>(b)];
                const std::int32_t s1 =
                    scale((r - static_cast<std::int32_t>(d.add_z1)) * (1 << 20),
                          static_cast<std::int32_t>(d.add_m1), static_cast<int>(d.add_s1));
                const std::int32_t s2 =
                    scale((res - static_cast<std::int32_t>(d.add_z2)) * (1 << 20),
                          static_cast<std::int32_t>(d.add_m2), static_cast<int>(d.add_s2));
                r = clamp8(scale(s1 + s2, static_cast<std::int32_t>(d.add_mo),
                                 static_cast<int>(d.add_so)) +
                               static_cast<std::int32_t>(d.add_zp),
                           d.add_min, d.add_max);
              }
              if (b == 0)
                results.emplace_back();
              results.back()[static_cast<std::size_t>(b)] = r;
            }
          }
        }
      }
    }
    // Outputs do not overlap inputs in these tests, so the order of writing is free.
    std::size_t k = 0;
    for (int oct = 0; oct <= static_cast<int>(d.noct_m1); ++oct)
      for (int o = 0; o < static_cast<int>(d.out_np); ++o)
        for (int j = 0; j < g_count; ++j)
          act.at(static_cast<int>(d.out_base), static_cast<int>(d.out_s), oct * g_count + j,
                 static_cast<int>(d.out_p0) + o) = results[k++];
  }
};

/// Geometry as the compiler sets it for `oh` x `ow` outputs from an `ih` x `iw` map.
void set_geometry(ComputeDesc &d, int ih, int iw, int oh, int ow, int kh, int kw, int stride_y,
                  int stride_x, int pad_t, int pad_l, int dil_y, int dil_x) {
  const int p_count = kNb >> d.glog;
  d.kh_m1 = static_cast<decltype(d.kh_m1)>(kh - 1);
  d.kw_m1 = static_cast<decltype(d.kw_m1)>(kw - 1);
  d.ih = static_cast<decltype(d.ih)>(ih);
  d.iw = static_cast<decltype(d.iw)>(iw);
  d.ix0 = -pad_l;
  d.iy0 = -pad_t;
  d.lin0 = -pad_t * iw - pad_l;
  d.sx = static_cast<decltype(d.sx)>(stride_x);
  d.sy = static_cast<decltype(d.sy)>(stride_y);
  d.limx = ow * stride_x - pad_l;
  d.wrapx = static_cast<decltype(d.wrapx)>(ow) * static_cast<decltype(d.wrapx)>(stride_x);
  d.wraplin = stride_y * iw - ow * stride_x;
  d.dilx = static_cast<decltype(d.dilx)>(dil_x);
  d.dily = static_cast<decltype(d.dily)>(dil_y);
  d.tliny = dil_y * iw - (kw - 1) * dil_x;
  d.out_np = static_cast<decltype(d.out_np)>(oh) * static_cast<decltype(d.out_np)>(ow);
  d.nptile_m1 = static_cast<decltype(d.nptile_m1)>((oh * ow + p_count - 1) / p_count - 1);
}

/// One Verilated compute unit with its memory contents mirrored.
class Bench : public kestrel::tb::ClockedBench<Bench, Vhv_compute> {
  using Base = kestrel::tb::ClockedBench<Bench, Vhv_compute>;
  friend Base;

public:
  explicit Bench(std::uint64_t seed)
      : Base({.seed = seed, .max_cycles = 400'000'000}), random_(seed) {
    auto &m = model();
    m.q_we_i = 0;
    m.seg_push_i = 0;
    m.w_req_ready_i = 0;
    m.w_rsp_valid_i = 0;
    m.load_valid_i = 0;
    m.row_valid_i = 0;
    m.n_load_i = 0;
    m.n_out_i = 0;
    reset();
  }

  void fill_memory() {
    for (int row = 0; row < kRows; ++row)
      for (int bank = 0; bank < kNb; ++bank) {
        auto &word =
            act.words[static_cast<std::size_t>(row) * kNb + static_cast<std::size_t>(bank)];
        for (auto &v : word)
          v = static_cast<std::int8_t>(random_.next());
        auto &m = model();
        m.load_valid_i = 1;
        m.load_mask_i = 1;
        m.load_p_i = static_cast<std::uint32_t>(bank);
        m.load_g_i = 0;
        m.load_row_i = static_cast<std::uint16_t>(row);
        std::memcpy(m.load_data_i.data(), word.data(), kWb);
        do {
          step();
        } while (!load_taken_);
      }
    model().load_valid_i = 0;
  }

  void push(Layer &layer) {
    auto &m = model();
    if (layer.d.wnew) {
      while (memory.size() % 128 != 0)
        memory.push_back(0);
      m.seg_addr_i = static_cast<std::uint32_t>(memory.size());
      m.seg_words_i = static_cast<std::uint32_t>(layer.d.wwords);
      memory.insert(memory.end(), layer.stream.begin(), layer.stream.end());
      memory.resize(memory.size() + 128);
      m.seg_push_i = 1;
      while (!m.seg_room_o)
        step();
      step();
      m.seg_push_i = 0;
    }
    while (!m.q_room_o)
      step();
    const auto words = kestrel::contract::encode(layer.d);
    ASSERT_EQ(kestrel::contract::fits(layer.d), nullptr);
    for (std::size_t i = 0; i < words.size(); ++i) {
      m.q_we_i = 1;
      m.q_widx_i = static_cast<std::uint8_t>(i);
      m.q_wdata_i = words[i];
      step();
    }
    m.q_we_i = 0;
  }

  void wait_idle(std::uint64_t limit) {
    auto &m = model();
    for (std::uint64_t i = 0; i < limit; ++i) {
      step();
      if (m.idle_o)
        return;
    }
    FAIL() << "not idle after " << limit << " cycles";
  }

  /// Compares the whole activation memory.
  void compare() {
    auto &m = model();
    int wrong = 0;
    for (int row = 0; row < kRows; ++row) {
      m.row_valid_i = 1;
      m.row_i = static_cast<std::uint16_t>(row);
      step();
      m.row_valid_i = 0;
      for (int i = 1; i < kRowLatency; ++i)
        step();
      const auto *data = reinterpret_cast<const std::uint8_t *>(m.row_data_o.data());
      for (int bank = 0; bank < kNb; ++bank) {
        const auto &want =
            act.words[static_cast<std::size_t>(row) * kNb + static_cast<std::size_t>(bank)];
        if (std::memcmp(want.data(), data + bank * kWb, kWb) != 0 && wrong++ < 4)
          ADD_FAILURE() << "row " << row << " bank " << bank << ": got "
                        << int(static_cast<std::int8_t>(data[bank * kWb])) << " want "
                        << int(want[0]);
      }
    }
    EXPECT_EQ(wrong, 0);
  }

  Act act;
  std::vector<std::uint8_t> memory;
  double bus_rate = 0.9;
  std::uint64_t done = 0, mac = 0;

private:
  void on_drive(std::uint64_t /*cycle*/) {
    if (simulation.in_reset())
      return;
    auto &m = model();
    // Weight bus: requests are accepted at random, data comes in order at random times.
    m.w_req_ready_i = random_.chance(0.6) ? 1 : 0;
    m.w_rsp_valid_i = !beats_.empty() && random_.chance(bus_rate) ? 1 : 0;
    if (m.w_rsp_valid_i)
      m.w_rsp_data_i = beats_.front();
  }
  void on_sample(std::uint64_t /*cycle*/) {
    if (simulation.in_reset())
      return;
    auto &m = model();
    load_taken_ = m.load_ready_o != 0;
    if (m.w_rsp_valid_i)
      beats_.pop_front();
    if (m.w_req_valid_o && m.w_req_ready_i) {
      const std::uint32_t addr = m.w_req_addr_o;
      const std::uint32_t n = m.w_req_beats_m1_o + 1U;
      EXPECT_EQ((addr & 127U) / 8U + n <= 16U, true) << "burst crosses 128 bytes";
      for (std::uint32_t i = 0; i < n; ++i) {
        std::uint64_t v = 0;
        std::memcpy(&v, &memory.at(addr + i * 8U), 8);
        beats_.push_back(v);
      }
    }
    done += m.layer_done_o;
    EXPECT_EQ(m.range_err_o, 0);
    const int classes = m.cls_mac_o + m.cls_res_o + m.cls_weight_o + m.cls_drain_o + m.cls_fetch_o +
                        m.cls_load_o + m.cls_dep_o + m.cls_none_o;
    EXPECT_EQ(classes, 1);
    mac += m.cls_mac_o;
  }

  Random random_;
  std::deque<std::uint64_t> beats_;
  bool load_taken_ = false;
};

/// A channel that may be narrow: small right shift and any sum, or any right shift and small sums.
void make_narrow(Random &r, Channel &c, const ComputeDesc &d) {
  c.ls = 0;
  const bool small = r.chance(0.5) || d.is_max;
  if (small) {
    c.rs = static_cast<int>(r.below(32));
    c.mult = static_cast<std::int32_t>(r.next() & 0x7FFFFFFFU);
    const auto most = 100'000 / (128 * static_cast<int>(c.w.size()));
    for (auto &w : c.w)
      w = static_cast<std::int8_t>(
          std::clamp<std::int64_t>(static_cast<std::int64_t>(r.below(64)) - 32, -most, most));
    c.bias = static_cast<std::int32_t>(r.below(60'000)) - 30'000;
    return;
  }
  c.rs = static_cast<int>(r.chance(0.5) ? 8 : r.below(9));
  c.mult = r.chance(0.3) ? (1 << 30)
                         : static_cast<std::int32_t>((1U << 30) + (r.next() & ((1U << 30) - 1)));
  c.bias = static_cast<std::int32_t>(r.next()) >> (1 + r.below(30));
  if (r.chance(0.3)) { // about the ends of 18 bits
    for (auto &w : c.w)
      w = static_cast<std::int8_t>(r.chance(0.1) ? 1 : 0);
    c.bias = (r.chance(0.5) ? 131'072 : -131'072) + static_cast<int>(r.below(300)) - 150;
  }
}

std::uint64_t narrow_tiles = 0, wide_tiles = 0, add_tiles = 0, max_tiles = 0; // what was tested

Layer random_layer(Random &r, int &in_base, bool chain) {
  Layer layer;
  auto &d = layer.d;
  d.op = 1;
  d.glog = static_cast<decltype(d.glog)>(r.below(3));
  const int g = 1 << d.glog;
  d.depthwise = r.chance(0.4);
  d.is_max = d.depthwise && r.chance(0.25);
  d.add = r.chance(0.3);
  // Narrow maps wrap several times in a tile, wide ones at most once.
  const bool wide = r.chance(0.3);
  const int iw = 1 + static_cast<int>(r.below(wide ? 40 : 14)),
            ih = 1 + static_cast<int>(r.below(14));
  const int kw = 1 + static_cast<int>(r.below(5)), kh = 1 + static_cast<int>(r.below(5));
  const int sx = 1 + static_cast<int>(r.below(3)), sy = 1 + static_cast<int>(r.below(3));
  const int dx = 1 + static_cast<int>(r.below(2)), dy = 1 + static_cast<int>(r.below(2));
  const int pl = static_cast<int>(r.below(static_cast<std::uint64_t>(kw))),
            pt = static_cast<int>(r.below(static_cast<std::uint64_t>(kh)));
  const int ow = 1 + static_cast<int>(r.below(wide ? 36 : 12)),
            oh = 1 + static_cast<int>(r.below(12));
  set_geometry(d, ih, iw, oh, ow, kh, kw, sy, sx, pt, pl, dy, dx);
  const int noct = 1 + static_cast<int>(r.below(3));
  d.noct_m1 = static_cast<decltype(d.noct_m1)>(noct - 1);
  const int in_groups = d.depthwise ? noct * g : 1 + static_cast<int>(r.below(4));
  d.icg_m1 = static_cast<decltype(d.icg_m1)>(d.depthwise ? 0 : in_groups - 1);
  d.nlast_m1 = static_cast<decltype(d.nlast_m1)>(d.depthwise ? 7 : r.below(8));
  d.in_s = static_cast<decltype(d.in_s)>((ih * iw + kNb - 1) / kNb);
  d.in_base = static_cast<decltype(d.in_base)>(in_base);
  d.pad = static_cast<int>(r.below(256)) - 128;
  d.out_p0 = static_cast<decltype(d.out_p0)>(r.below(40));
  d.out_s = static_cast<decltype(d.out_s)>((d.out_np + d.out_p0 + kNb - 1) / kNb);
  const int out_base = in_base == 0 ? 1024 : 0;
  d.out_base = static_cast<decltype(d.out_base)>(out_base);
  d.res_p0 = static_cast<decltype(d.res_p0)>(r.below(40));
  d.res_s = static_cast<decltype(d.res_s)>((d.out_np + d.res_p0 + kNb - 1) / kNb);
  d.res_base = static_cast<decltype(d.res_base)>(in_base) + 500;
  d.out_zp = static_cast<int>(r.below(256)) - 128;
  d.act_min = -128 + static_cast<int>(r.below(20));
  d.act_max = 127 - static_cast<int>(r.below(20));
  const auto mult = [&] {
    return static_cast<std::int32_t>(r.chance(0.1) ? 0
                                                   : (1U << 30) + (r.next() & ((1U << 30) - 1)));
  };
  d.add_m1 = static_cast<decltype(d.add_m1)>(mult());
  d.add_m2 = static_cast<decltype(d.add_m2)>(mult());
  d.add_mo = static_cast<decltype(d.add_mo)>(mult());
  d.add_s1 = static_cast<decltype(d.add_s1)>(r.below(r.chance(0.2) ? 32 : 4));
  d.add_s2 = static_cast<decltype(d.add_s2)>(r.below(r.chance(0.2) ? 32 : 4));
  d.add_so = static_cast<decltype(d.add_so)>(r.chance(0.8) ? 16 + r.below(6) : r.below(32));
  d.add_z1 = static_cast<int>(r.below(256)) - 128;
  d.add_z2 = static_cast<int>(r.below(256)) - 128;
  d.add_zp = static_cast<int>(r.below(256)) - 128;
  d.add_min = -128;
  d.add_max = 127;
  d.wnew = 1;
  d.wrel = 1;
  d.dep = chain;
  layer.channels.resize(static_cast<std::size_t>(noct) * static_cast<std::size_t>(g) * kWb);
  const int steps = layer.steps();
  for (auto &c : layer.channels) {
    c.mult = mult();
    c.rs = static_cast<int>(r.chance(0.8) ? 3 + r.below(10) : r.below(32));
    c.ls = r.chance(0.1) ? static_cast<int>(r.below(4)) : 0;
    if (c.ls != 0)
      c.rs = static_cast<int>(r.below(4));
    c.bias = static_cast<std::int32_t>(r.next()) >> r.below(31);
    for (int k = 0; k < steps; ++k)
      c.w.push_back(static_cast<std::int8_t>(d.is_max ? -1 : static_cast<int>(r.next() & 255U)));
    if (d.is_max) {
      c.bias = 0;
      c.mult = 1 << 30;
      c.ls = 1;
      c.rs = 0;
    }
  }
  const auto per_tile = static_cast<std::size_t>(g) * kWb;
  for (std::size_t tile = 0; tile < static_cast<std::size_t>(noct); ++tile) {
    const auto begin = layer.channels.begin() + static_cast<std::ptrdiff_t>(tile * per_tile);
    const auto end = begin + static_cast<std::ptrdiff_t>(per_tile);
    if (r.chance(0.5))
      std::for_each(begin, end, [&](Channel &c) { make_narrow(r, c, d); });
    // With add the mark has no effect.
    layer.narrow.push_back(
        std::all_of(begin, end, [&](const Channel &c) { return layer.may_be_narrow(c); }));
    (d.add ? add_tiles : layer.narrow.back() ? narrow_tiles : wide_tiles) += 1;
    max_tiles += d.is_max;
  }
  layer.build_stream();
  if (chain)
    in_base = out_base;
  return layer;
}

TEST(HvCompute, RandomLayers) {
  const std::uint64_t seed = kestrel::tb::test::seed_of_run(20'240'601);
  Random r(seed);
  Bench bench(seed);
  bench.fill_memory();
  std::uint64_t layers = 0;
  for (int round = 0; round < 25; ++round) {
    bench.bus_rate = r.chance(0.5) ? 1.0 : 0.3;
    const int chain = 1 + static_cast<int>(r.below(8));
    int base = 0;
    std::vector<Layer> queue;
    queue.reserve(static_cast<std::size_t>(chain));
    for (int i = 0; i < chain; ++i)
      queue.push_back(random_layer(r, base, true));
    for (auto &layer : queue) {
      bench.push(layer);
      layer.execute(bench.act);
      ++layers;
    }
    bench.wait_idle(3'000'000);
    bench.compare();
    ASSERT_EQ(bench.done, layers);
    if (HasFailure()) {
      std::printf("round %d, chain of %d\n", round, chain);
      for (const auto &layer : queue)
        std::printf("  glog %d dw %d max %d add %d k %dx%d s %dx%d icg %d nlast %d oct %d np %d\n",
                    int(layer.d.glog), int(layer.d.depthwise), int(layer.d.is_max),
                    int(layer.d.add), int(layer.d.kh_m1) + 1, int(layer.d.kw_m1) + 1,
                    int(layer.d.sy), int(layer.d.sx), int(layer.d.icg_m1) + 1,
                    int(layer.d.nlast_m1) + 1, int(layer.d.noct_m1) + 1, int(layer.d.out_np));
      return;
    }
  }
  EXPECT_GT(bench.mac, 10'000U);
  std::printf(
      "channel tiles: %llu narrow, %llu wide, %llu with add, %llu maxima\n",
      static_cast<unsigned long long>(narrow_tiles), static_cast<unsigned long long>(wide_tiles),
      static_cast<unsigned long long>(add_tiles), static_cast<unsigned long long>(max_tiles));
  EXPECT_GT(narrow_tiles, 15U);
  EXPECT_GT(wide_tiles, 15U);
  EXPECT_GT(add_tiles, 15U);
  EXPECT_GT(max_tiles, 5U);
  std::printf("%llu layers, %llu MAC steps\n", static_cast<unsigned long long>(layers),
              static_cast<unsigned long long>(bench.mac));
}

} // namespace
