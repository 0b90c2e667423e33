// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// AVX-512 (F, BW, DQ, VL, VBMI) version of the THC kernels. See fast_kernels.hpp for what may be
// used here.
//
// The transform runs in three sweeps over the block: stages of stride 1..128 on 256 coordinates in
// registers, together with the conversion; 256..2048 on columns of 4096 coordinates (16 KiB,
// first-level cache); 4096..16384 on columns of the whole block, together with what follows the
// transform.
#include "sw_ref/thc/fast_kernels.hpp"

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 sees the undefined operands inside its own intrinsics.
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#define KESTREL_INLINE inline __attribute__((always_inline))

namespace kestrel::thc::ref::detail {
namespace {

using Int = __m512i;

KESTREL_INLINE Int load(const void *p) { return _mm512_loadu_si512(p); }
KESTREL_INLINE void store(void *p, Int v) { _mm512_storeu_si512(p, v); }
KESTREL_INLINE Int all(std::uint32_t v) { return _mm512_set1_epi32(static_cast<int>(v)); }
KESTREL_INLINE Int bytes16(const std::uint8_t *p) {
  return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i *>(p)));
}

// ---- Threefry-2x32, 13 rounds, N vectors of counters at once
// -------------------------------------

template <int N> struct Threefry {
  Int x0[N];
  Int x1[N];

  template <int R> KESTREL_INLINE void round() {
    for (int i = 0; i < N; ++i) {
      x0[i] = _mm512_add_epi32(x0[i], x1[i]);
      x1[i] = _mm512_xor_si512(_mm512_rol_epi32(x1[i], R), x0[i]);
    }
  }
  KESTREL_INLINE void inject(std::uint32_t a, std::uint32_t b) {
    for (int i = 0; i < N; ++i) {
      x0[i] = _mm512_add_epi32(x0[i], all(a));
      x1[i] = _mm512_add_epi32(x1[i], all(b));
    }
  }

  // Vector i has the counters counter[i] .. counter[i] + 15, all with the same upper word.
  KESTREL_INLINE void run(const std::uint32_t key[2], const std::uint64_t counter[N]) {
    const std::uint32_t k0 = key[0], k1 = key[1], k2 = 0x1BD11BDAU ^ k0 ^ k1;
    const Int lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int i = 0; i < N; ++i) {
      x0[i] = _mm512_add_epi32(all(static_cast<std::uint32_t>(counter[i]) + k0), lane);
      x1[i] = all(static_cast<std::uint32_t>(counter[i] >> 32) + k1);
    }
    round<13>(), round<15>(), round<26>(), round<6>();
    inject(k1, k2 + 1);
    round<17>(), round<29>(), round<16>(), round<24>();
    inject(k2, k0 + 2);
    round<13>(), round<15>(), round<26>(), round<6>();
    inject(k0, k1 + 3);
    round<17>();
  }
};

// Signs of all coordinates of a block.
void make_signs(const FastBlock &block, FastWork &work) {
  // Words 0 and 1 of a counter are the masks of coordinates 0..31 and 32..63.
  const Int low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const Int high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const std::size_t counters = (std::size_t{1} << block.log2) / 64;
  const std::uint64_t first = block.first / 64;
  for (std::size_t c = 0; c < counters; c += 64) {
    // A block of 1024 has 16 counters: the rest of the 64 is computed and not used.
    Threefry<4> random;
    const std::uint64_t counter[4] = {first + c, first + c + 16, first + c + 32, first + c + 48};
    random.run(block.sign_key, counter);
    for (std::size_t i = 0; i < 4; ++i) {
      store(work.signs + 2 * c + 32 * i,
            _mm512_permutex2var_epi32(random.x0[i], low, random.x1[i]));
      store(work.signs + 2 * c + 32 * i + 16,
            _mm512_permutex2var_epi32(random.x0[i], high, random.x1[i]));
    }
  }
}

// Signs of coordinates 16 v .. 16 v + 15.
KESTREL_INLINE __mmask16 sign_mask(const FastWork &work, std::size_t v) {
  return static_cast<__mmask16>(work.signs[v / 2] >> (16 * (v % 2)));
}

KESTREL_INLINE Int apply_sign(Int v, __mmask16 negative) {
  return _mm512_mask_sub_epi32(v, negative, _mm512_setzero_si512(), v);
}

// ---- Transform
// -----------------------------------------------------------------------------------

// s / 2 rounded to nearest even; `floor` = s >> 1.
KESTREL_INLINE Int round_half(Int s, Int floor) {
  return _mm512_add_epi32(floor, _mm512_ternarylogic_epi32(s, floor, all(1), 0x80));
}

template <bool Half> KESTREL_INLINE void butterfly(Int &a, Int &b) {
  const Int sum = _mm512_add_epi32(a, b);
  if constexpr (Half) {
    const Int floor = _mm512_srai_epi32(sum, 1);
    // The difference is sum - 2 b: half of it floor - b, its lowest bit that of the sum.
    const Int other = _mm512_sub_epi32(floor, b);
    a = round_half(sum, floor);
    b = round_half(sum, other);
  } else {
    b = _mm512_sub_epi32(a, b);
    a = sum;
  }
}

// log2(R) stages on R vectors, the first a whole one.
template <std::size_t R> KESTREL_INLINE void stages(Int (&v)[R]) {
#pragma GCC unroll 16
  for (std::size_t i = 0; i < R; i += 2)
    butterfly<false>(v[i], v[i + 1]);
  if constexpr (R >= 4) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; i += 4) {
      butterfly<true>(v[i], v[i + 2]);
      butterfly<true>(v[i + 1], v[i + 3]);
    }
  }
  if constexpr (R >= 8) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; i += 8) {
      butterfly<false>(v[i], v[i + 4]);
      butterfly<false>(v[i + 1], v[i + 5]);
      butterfly<false>(v[i + 2], v[i + 6]);
      butterfly<false>(v[i + 3], v[i + 7]);
    }
  }
  if constexpr (R == 16) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 8; ++i)
      butterfly<true>(v[i], v[i + 8]);
  }
}

// Stages of stride 1, 2, 4, 8 inside a vector.
KESTREL_INLINE Int lane_stages(Int v) {
  Int p = _mm512_shuffle_epi32(v, _MM_PERM_CDAB);
  v = _mm512_mask_sub_epi32(_mm512_add_epi32(v, p), 0xAAAA, p, v);
  p = _mm512_shuffle_epi32(v, _MM_PERM_BADC);
  v = _mm512_mask_sub_epi32(_mm512_add_epi32(v, p), 0xCCCC, p, v);
  v = round_half(v, _mm512_srai_epi32(v, 1));
  p = _mm512_shuffle_i32x4(v, v, _MM_SHUFFLE(2, 3, 0, 1));
  v = _mm512_mask_sub_epi32(_mm512_add_epi32(v, p), 0xF0F0, p, v);
  p = _mm512_shuffle_i32x4(v, v, _MM_SHUFFLE(1, 0, 3, 2));
  v = _mm512_mask_sub_epi32(_mm512_add_epi32(v, p), 0xFF00, p, v);
  return round_half(v, _mm512_srai_epi32(v, 1));
}

// Stages of stride 1..128 on 256 coordinates.
KESTREL_INLINE void tile_stages(Int (&v)[16], std::int32_t *z) {
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i)
    v[i] = lane_stages(v[i]);
  stages(v);
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i)
    store(z + 16 * i, v[i]);
}

// Stages of stride 256 .. 128 R on a row of 256 R coordinates.
template <std::size_t R> KESTREL_INLINE void column_stages(std::int32_t *z) {
  for (std::size_t j = 0; j < 256; j += 16) {
    Int v[R];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; ++i)
      v[i] = load(z + 256 * i + j);
    stages(v);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < R; ++i)
      store(z + 256 * i + j, v[i]);
  }
}

void row_stages(int log2, std::int32_t *z) {
  if (log2 >= 12)
    column_stages<16>(z);
  else if (log2 == 11)
    column_stages<8>(z);
  else
    column_stages<4>(z);
}

// The last stages, strides 4096.., then signs and fp32.
template <std::size_t Rows> void finish(const FastBlock &block, const FastWork &work, float *out) {
  const std::size_t row = Rows > 1 ? kFastRow : std::size_t{1} << block.log2;
  const __m512 scale = _mm512_set1_ps(block.to_float);
  for (std::size_t j = 0; j < row; j += 16) {
    Int v[Rows];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r)
      v[r] = load(work.z + kFastPitch * r + j);
    if constexpr (Rows > 1)
      stages(v);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r) {
      const Int y = apply_sign(v[r], sign_mask(work, (kFastRow * r + j) / 16));
      _mm512_storeu_ps(out + kFastRow * r + j, _mm512_mul_ps(_mm512_cvtepi32_ps(y), scale));
    }
  }
}

void finish(const FastBlock &block, const FastWork &work, float *out) {
  switch (block.log2) {
  case 15:
    return finish<8>(block, work, out);
  case 14:
    return finish<4>(block, work, out);
  case 13:
    return finish<2>(block, work, out);
  default:
    return finish<1>(block, work, out);
  }
}

// ---- Quantisation
// --------------------------------------------------------------------------------

struct Indices {
  alignas(64) std::uint8_t top[64];       // byte 3 of the 32-bit lanes of two vectors -> 32 bytes
  alignas(64) std::uint8_t spread[4][64]; // byte 16 v + lane -> all bytes of its lane
  alignas(64) std::uint8_t noise[4][64];  // 16 bits of noise -> bytes 1 and 2 of its lane
};
constexpr Indices make_indices() {
  Indices x{};
  for (unsigned i = 0; i < 64; ++i) {
    x.top[i] = static_cast<std::uint8_t>(4 * (i % 32) + 3);
    for (unsigned v = 0; v < 4; ++v) {
      const unsigned lane = i / 4;
      const unsigned byte = i % 4;
      x.spread[v][i] = static_cast<std::uint8_t>(16 * v + lane);
      // Coordinate 16 v + lane: counter 4 v + lane / 4, word lane / 2 % 2, half lane % 2. Bytes of
      // word 1 begin at 64.
      const unsigned from = 4 * (4 * v + lane / 4) + 64 * (lane / 2 % 2) + 2 * (lane % 2);
      x.noise[v][i] = static_cast<std::uint8_t>(from + (byte == 2 ? 1 : 0));
    }
  }
  return x;
}
constexpr Indices kIndices = make_indices();

// z / 2^Shift, rounded to nearest even.
template <int Shift> KESTREL_INLINE Int round_shift(Int z) {
  if constexpr (Shift == 1)
    return round_half(z, _mm512_srai_epi32(z, 1));
  const Int odd = _mm512_and_si512(_mm512_srai_epi32(z, Shift), all(1));
  const Int biased = _mm512_add_epi32(z, all((1U << (Shift - 1)) - 1));
  return _mm512_srai_epi32(_mm512_add_epi32(biased, odd), Shift);
}

struct Quantiser {
  Int gain, half, low, high, low_position, high_position;
  Int cells[4];
  Int lower, width;
  Int values;

  explicit Quantiser(const FastBlock &block)
      : gain(all(block.gain)), half(all(block.half)),
        low(all(static_cast<std::uint32_t>(block.low))),
        high(all(static_cast<std::uint32_t>(block.high))), low_position(all(block.low_position)),
        high_position(all(block.high_position)), cells{load(block.table->cell),
                                                       load(block.table->cell + 64),
                                                       load(block.table->cell + 128),
                                                       load(block.table->cell + 192)},
        lower(bytes16(block.table->lower)), width(bytes16(block.table->width)),
        values(load(block.values)) {}

  // 64 coordinates z -> 32 bytes of indices; with Error, z becomes what they do not say.
  template <int K, bool Error>
  KESTREL_INLINE void run(std::int32_t *z, Int noise0, Int noise1, std::uint8_t *packed) const {
    Int position[4];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < 4; ++v) {
      const Int z18 = round_shift<8 - K / 2>(load(z + 16 * v));
      Int p = _mm512_add_epi32(_mm512_mullo_epi32(z18, gain), half);
      p = _mm512_mask_mov_epi32(p, _mm512_cmpgt_epi32_mask(z18, high), high_position);
      position[v] = _mm512_mask_mov_epi32(p, _mm512_cmplt_epi32_mask(z18, low), low_position);
    }
    // The whole parts, 64 bytes, and their cells.
    const Int top = load(kIndices.top);
    const Int whole = _mm512_inserti64x4(
        _mm512_permutex2var_epi8(position[0], top, position[1]),
        _mm512_castsi512_si256(_mm512_permutex2var_epi8(position[2], top, position[3])), 1);
    const Int cell = _mm512_mask_blend_epi8(_mm512_movepi8_mask(whole),
                                            _mm512_permutex2var_epi8(cells[0], whole, cells[1]),
                                            _mm512_permutex2var_epi8(cells[2], whole, cells[3]));
    const Int widths = _mm512_shuffle_epi8(width, cell);
    const Int above = _mm512_sub_epi8(whole, _mm512_shuffle_epi8(lower, cell));
    __mmask16 up[4];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < 4; ++v) {
      const Int spread = load(kIndices.spread[v]);
      const Int offset =
          _mm512_mask_permutexvar_epi8(position[v], 0x8888888888888888U, spread, above);
      const Int w = _mm512_maskz_permutexvar_epi8(0x1111111111111111U, spread, widths);
      // noise * 256 + 128 = (2 noise + 1) * 128
      const Int n = _mm512_or_si512(_mm512_maskz_permutex2var_epi8(0x6666666666666666U, noise0,
                                                                   load(kIndices.noise[v]), noise1),
                                    all(128));
      up[v] = _mm512_cmplt_epu32_mask(_mm512_mullo_epi32(n, w), offset);
    }
    const __mmask64 up64 =
        _mm512_kunpackd(_mm512_kunpackw(up[3], up[2]), _mm512_kunpackw(up[1], up[0]));
    const Int index = _mm512_mask_add_epi8(cell, up64, cell, _mm512_set1_epi8(1));
    const Int pairs = _mm512_maddubs_epi16(index, _mm512_set1_epi16(0x0110));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(packed), _mm512_cvtepi16_epi8(pairs));
    if constexpr (Error) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) {
        const Int i = _mm512_permutexvar_epi8(load(kIndices.spread[v]), index);
        Int rest = load(z + 16 * v);
        if constexpr (K % 2 == 1)
          rest = round_shift<1>(rest);
        // permutexvar looks at the lowest four bits only.
        store(z + 16 * v, _mm512_sub_epi32(rest, _mm512_permutexvar_epi32(i, values)));
      }
    }
  }
};

// The last stages of the rotation, then indices.
template <int K, bool Error>
void quantise(const FastBlock &block, FastWork &work, std::uint8_t *packed) {
  constexpr std::size_t kRows = K > 12 ? std::size_t{1} << (K - 12) : 1;
  constexpr std::size_t kRow = K > 12 ? kFastRow : std::size_t{1} << K;
  constexpr std::size_t kGroups = kRows == 1 ? 4 : kRows; // of 64 coordinates, at a time
  const Quantiser quantiser(block);
  for (std::size_t j = 0; j < kRow; j += 64 * kGroups / kRows) {
    if constexpr (kRows > 1) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < 4; ++v) {
        Int x[kRows];
#pragma GCC unroll 8
        for (std::size_t r = 0; r < kRows; ++r)
          x[r] = load(work.z + kFastPitch * r + j + 16 * v);
        stages(x);
#pragma GCC unroll 8
        for (std::size_t r = 0; r < kRows; ++r)
          store(work.z + kFastPitch * r + j + 16 * v, x[r]);
      }
    }
    constexpr std::size_t kBatch = kGroups < 4 ? kGroups : 4;
    for (std::size_t g = 0; g < kGroups; g += kBatch) {
      std::size_t at[kBatch];
      std::uint64_t counter[kBatch];
      for (std::size_t i = 0; i < kBatch; ++i) {
        at[i] = kRows == 1 ? j + 64 * (g + i) : kFastRow * (g + i) + j;
        counter[i] = (block.first + at[i]) / 4;
      }
      Threefry<static_cast<int>(kBatch)> noise;
      noise.run(block.noise_key, counter);
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kBatch; ++i)
        quantiser.run<K, Error>(work.z + (kRows == 1 ? at[i] : kFastPitch * (g + i) + j),
                                noise.x0[i], noise.x1[i], packed + at[i] / 2);
    }
  }
}

template <bool Error> void quantise(const FastBlock &block, FastWork &work, std::uint8_t *packed) {
  switch (block.log2) {
  case 15:
    return quantise<15, Error>(block, work, packed);
  case 14:
    return quantise<14, Error>(block, work, packed);
  case 13:
    return quantise<13, Error>(block, work, packed);
  case 12:
    return quantise<12, Error>(block, work, packed);
  case 11:
    return quantise<11, Error>(block, work, packed);
  default:
    return quantise<10, Error>(block, work, packed);
  }
}

bool compress(const FastBlock &block, const float *y, FastWork &work, std::uint8_t *packed,
              float *error) {
  make_signs(block, work);
  const std::size_t n = std::size_t{1} << block.log2;
  const std::size_t row = n < kFastRow ? n : kFastRow;
  const __m512 scale = _mm512_set1_ps(block.to_fixed);
  __m512 squares = _mm512_setzero_ps();
  for (std::size_t r = 0; r < n / row; ++r) {
    std::int32_t *z = work.z + kFastPitch * r;
    for (std::size_t j = 0; j < row; j += 256) {
      const std::size_t at = row * r + j;
      Int v[16];
#pragma GCC unroll 16
      for (std::size_t i = 0; i < 16; ++i) {
        const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(y + at + 16 * i), scale);
        squares = _mm512_fmadd_ps(x, x, squares);
        v[i] = apply_sign(_mm512_cvtps_epi32(x), sign_mask(work, at / 16 + i));
      }
      tile_stages(v, z + j);
    }
    row_stages(block.log2, z);
  }
  if (!(_mm512_reduce_add_ps(squares) < kFastMaxSquares))
    return false;
  if (error == nullptr) {
    quantise<false>(block, work, packed);
    return true;
  }
  quantise<true>(block, work, packed);
  for (std::size_t r = 0; r < n / row; ++r) {
    std::int32_t *z = work.z + kFastPitch * r;
    for (std::size_t j = 0; j < row; j += 256) {
      Int v[16];
#pragma GCC unroll 16
      for (std::size_t i = 0; i < 16; ++i)
        v[i] = load(z + j + 16 * i);
      tile_stages(v, z + j);
    }
    row_stages(block.log2, z);
  }
  finish(block, work, error);
  return true;
}

// ---- Decoding
// ------------------------------------------------------------------------------------

KESTREL_INLINE Int load_sums(const std::uint8_t *p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
}
KESTREL_INLINE Int load_sums(const std::uint16_t *p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
}

template <typename Sum>
bool decompress(const FastBlock &block, const FastPacket *packets, const Sum *sums, FastWork &work,
                float *out) {
  make_signs(block, work);
  const std::size_t n = std::size_t{1} << block.log2;
  const std::size_t row = n < kFastRow ? n : kFastRow;
  __mmask16 beyond = 0;
  for (std::size_t r = 0; r < n / row; ++r) {
    std::int32_t *z = work.z + kFastPitch * r;
    for (std::size_t j = 0; j < row; j += 256) {
      const std::size_t at = row * r + j;
      const FastPacket &packet = packets[at / 1024];
      const __m512d twice = _mm512_set1_pd(2.0 * packet.factor);
      const __m512d range = _mm512_set1_pd(packet.range * packet.factor);
      Int largest = _mm512_setzero_si512();
      Int v[16];
#pragma GCC unroll 16
      for (std::size_t i = 0; i < 16; ++i) {
        const Int s = load_sums(sums + at + 16 * i);
        largest = _mm512_max_epi32(largest, s);
        const __m512d low = _mm512_cvtepi32_pd(_mm512_castsi512_si256(s));
        const __m512d high = _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(s, 1));
        v[i] = _mm512_inserti64x4(
            _mm512_castsi256_si512(_mm512_cvtpd_epi32(_mm512_fmsub_pd(low, twice, range))),
            _mm512_cvtpd_epi32(_mm512_fmsub_pd(high, twice, range)), 1);
      }
      beyond |= _mm512_cmpgt_epi32_mask(largest, all(packet.range));
      tile_stages(v, z + j);
    }
    row_stages(block.log2, z);
  }
  if (beyond != 0)
    return false;
  finish(block, work, out);
  return true;
}

// ---- Sums, addition, norm
// ------------------------------------------------------------------------

// 32 bytes of indices -> 64 table values.
KESTREL_INLINE Int lookup(Int table, __m256i packed, Int limit, std::size_t &bad) {
  const Int wide = _mm512_cvtepu8_epi16(packed);
  // (wide >> 4 | wide << 8) & 0x0F0F
  const Int index = _mm512_ternarylogic_epi32(
      _mm512_srli_epi16(wide, 4), _mm512_slli_epi16(wide, 8), _mm512_set1_epi8(15), 0xA8);
  bad += static_cast<std::size_t>(__builtin_popcountll(_mm512_cmpgt_epu8_mask(index, limit)));
  return _mm512_shuffle_epi8(table, index);
}

template <typename Sum>
std::size_t aggregate(const FastTable &table, const std::uint8_t *packed, std::size_t n, Sum *sums,
                      bool add) {
  const Int values = bytes16(table.values);
  const Int limit = _mm512_set1_epi8(static_cast<char>(table.index_mask));
  std::size_t bad = 0;
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const Int v = lookup(values, _mm256_loadu_si256(reinterpret_cast<const __m256i *>(packed + i)),
                         limit, bad);
    if constexpr (sizeof(Sum) == 1) {
      store(sums + 2 * i, add ? _mm512_add_epi8(v, load(sums + 2 * i)) : v);
    } else {
      const Int low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(v));
      const Int high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(v, 1));
      store(sums + 2 * i, add ? _mm512_add_epi16(low, load(sums + 2 * i)) : low);
      store(sums + 2 * i + 32, add ? _mm512_add_epi16(high, load(sums + 2 * i + 32)) : high);
    }
  }
  for (; i < n; ++i) {
    const unsigned byte = packed[i];
    const unsigned pair[2] = {byte >> 4, byte & 15};
    for (std::size_t h = 0; h < 2; ++h) {
      bad += pair[h] > table.index_mask ? 1U : 0U;
      Sum &sum = sums[2 * i + h];
      sum = static_cast<Sum>((add ? sum : 0U) + table.values[pair[h]]);
    }
  }
  return bad;
}

// Zeros for subnormals.
KESTREL_INLINE __m512 flush(__m512 x) {
  const Int bits = _mm512_castps_si512(x);
  return _mm512_castsi512_ps(_mm512_mask_and_epi32(
      bits, _mm512_testn_epi32_mask(bits, all(0x7F800000U)), bits, all(0x80000000U)));
}

KESTREL_INLINE __m512 load_lanes(__mmask16 lanes, const float *x) {
  return _mm512_maskz_loadu_ps(lanes, x);
}
KESTREL_INLINE __m512 load_lanes(__mmask16 lanes, const std::uint16_t *x) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, x)), 16));
}

KESTREL_INLINE Int magnitude(__m512 x) {
  return _mm512_and_si512(_mm512_castps_si512(x), all(0x7FFFFFFFU));
}

template <typename T> std::uint32_t add(const T *x, const float *e, float *y, std::size_t n) {
  Int largest = _mm512_setzero_si512();
  for (std::size_t i = 0; i < n; i += 16) {
    const auto lanes = static_cast<__mmask16>(n - i >= 16 ? 0xFFFFU : (1U << (n - i)) - 1);
    const __m512 b = e == nullptr ? _mm512_setzero_ps() : flush(load_lanes(lanes, e + i));
    const __m512 sum = flush(_mm512_add_ps(flush(load_lanes(lanes, x + i)), b));
    largest = _mm512_max_epi32(largest, magnitude(sum));
    _mm512_mask_storeu_ps(y + i, lanes, sum);
  }
  return static_cast<std::uint32_t>(_mm512_reduce_max_epi32(largest));
}

std::uint32_t max_bits(const float *y, std::size_t n) {
  Int largest[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                    _mm512_setzero_si512()};
  for (std::size_t i = 0; i < n; i += 64)
    for (std::size_t v = 0; v < 4; ++v)
      largest[v] = _mm512_max_epi32(largest[v], magnitude(_mm512_loadu_ps(y + i + 16 * v)));
  return static_cast<std::uint32_t>(_mm512_reduce_max_epi32(_mm512_max_epi32(
      _mm512_max_epi32(largest[0], largest[1]), _mm512_max_epi32(largest[2], largest[3]))));
}

double squares(const float *y, std::size_t n, std::uint32_t lowest) {
  const Int limit = all(lowest << 23);
  __m512d sums[4] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(),
                     _mm512_setzero_pd()};
  for (std::size_t i = 0; i < n; i += 32)
#pragma GCC unroll 2
    for (std::size_t v = 0; v < 2; ++v) {
      const Int bits = magnitude(_mm512_loadu_ps(y + i + 16 * v));
      const Int rounded =
          _mm512_min_epi32(_mm512_add_epi32(bits, all(64)), _mm512_or_si512(bits, all(0x7FFFFFU)));
      const Int counted =
          _mm512_maskz_and_epi32(_mm512_cmpge_epi32_mask(bits, limit), rounded, all(0xFFFFFF80U));
      const __m512d low = _mm512_cvtps_pd(_mm256_castsi256_ps(_mm512_castsi512_si256(counted)));
      const __m512d high =
          _mm512_cvtps_pd(_mm256_castsi256_ps(_mm512_extracti64x4_epi64(counted, 1)));
      sums[2 * v] = _mm512_fmadd_pd(low, low, sums[2 * v]);
      sums[2 * v + 1] = _mm512_fmadd_pd(high, high, sums[2 * v + 1]);
    }
  return _mm512_reduce_add_pd(
      _mm512_add_pd(_mm512_add_pd(sums[0], sums[1]), _mm512_add_pd(sums[2], sums[3])));
}

} // namespace

const FastKernels kAvx512Kernels = {
    .add = add<float>,
    .add_bf16 = add<std::uint16_t>,
    .max_bits = max_bits,
    .squares = squares,
    .compress = compress,
    .aggregate8 = aggregate<std::uint8_t>,
    .aggregate16 = aggregate<std::uint16_t>,
    .decompress8 = decompress<std::uint8_t>,
    .decompress16 = decompress<std::uint16_t>,
};

} // namespace kestrel::thc::ref::detail
