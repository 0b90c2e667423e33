// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The THC kernels in vectors of eight, in what g++ and clang++ call vector extensions. Included by
// one source file for each instruction set, which defines KESTREL_KERNELS, the name of its table.
// See fast_kernels.hpp for what may be used here.
#include "sw_ref/thc/fast_kernels.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define KESTREL_INLINE inline __attribute__((always_inline))

namespace kestrel::thc::ref::detail {
namespace {

typedef std::int32_t Int __attribute__((vector_size(32)));
typedef std::uint32_t Word __attribute__((vector_size(32)));
typedef float Float __attribute__((vector_size(32)));
typedef double Double __attribute__((vector_size(64)));
typedef std::int64_t Long __attribute__((vector_size(64)));
// What is summed in double precision: as wide as a register, since it stays in one.
#if defined(__AVX2__)
inline constexpr int kPart = 4;
#else
inline constexpr int kPart = 2;
#endif
typedef float FloatPart __attribute__((vector_size(4 * kPart)));
typedef double DoublePart __attribute__((vector_size(8 * kPart)));

template <typename V> KESTREL_INLINE V load(const void *p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <typename V> KESTREL_INLINE void store(void *p, V v) { __builtin_memcpy(p, &v, sizeof v); }

KESTREL_INLINE Int all(std::int32_t v) { return Int{} + v; }
KESTREL_INLINE Word all(std::uint32_t v) { return Word{} + v; }
// Sums and differences that wrap: what is no ordinary block overflows before it is refused.
KESTREL_INLINE Int plus(Int a, Int b) {
  return reinterpret_cast<Int>(reinterpret_cast<Word>(a) + reinterpret_cast<Word>(b));
}
KESTREL_INLINE Int minus(Int a, Int b) {
  return reinterpret_cast<Int>(reinterpret_cast<Word>(a) - reinterpret_cast<Word>(b));
}
// All ones where a < b, for operands whose difference does not overflow. Not `a < b`: where an
// instruction set has no vectors of this size g++ takes such a comparison apart.
KESTREL_INLINE Int less(Int a, Int b) { return minus(a, b) >> 31; }
// `mask` is all ones where `a` is taken.
KESTREL_INLINE Int select(Int mask, Int a, Int b) { return (mask & a) | (~mask & b); }
KESTREL_INLINE Word select(Int mask, Word a, Word b) {
  return reinterpret_cast<Word>(select(mask, reinterpret_cast<Int>(a), reinterpret_cast<Int>(b)));
}
KESTREL_INLINE Int negate_where(Int mask, Int v) { return minus(v ^ mask, mask); }
KESTREL_INLINE Int magnitude(Float x) { return reinterpret_cast<Int>(x) & 0x7FFFFFFF; }
KESTREL_INLINE Int larger(Int a, Int b) { return select(less(a, b), b, a); }
KESTREL_INLINE Int smaller(Int a, Int b) { return select(less(a, b), a, b); }

// v / 2^shift rounded to nearest even, shift 1..3.
KESTREL_INLINE Int round_shift(Int v, int shift) {
  return plus(plus(v, all((1 << (shift - 1)) - 1)), (v >> shift) & 1) >> shift;
}

// Rounded to nearest even. Beyond +-2^24 anything.
KESTREL_INLINE Int round_to_int(Float x) {
#if defined(__AVX2__)
  return reinterpret_cast<Int>(_mm256_cvtps_epi32(reinterpret_cast<__m256>(x)));
#else
  const Int size = smaller(magnitude(x), all(0x4B800000));
  const Float a = reinterpret_cast<Float>(size);
  // From 2^23 on a number is whole; up to there adding 2^23 rounds it.
  const Float rounded = (a + 8388608.0F) - 8388608.0F;
  const Float whole = reinterpret_cast<Float>(
      select(less(size, all(0x4B000000)), reinterpret_cast<Int>(rounded), size));
  return negate_where(reinterpret_cast<Int>(x) >> 31, __builtin_convertvector(whole, Int));
#endif
}

// |x| < 2^31, rounded to nearest even.
KESTREL_INLINE Int round_to_int(Double x) {
  const Double shifted = x + 6755399441055744.0; // 1.5 * 2^52: the lowest bits are the number
  return __builtin_convertvector(reinterpret_cast<Long>(shifted), Int);
}

KESTREL_INLINE Word lookup(const std::uint32_t *table, Word index) {
#if defined(__AVX2__)
  return reinterpret_cast<Word>(_mm256_i32gather_epi32(reinterpret_cast<const int *>(table),
                                                       reinterpret_cast<__m256i>(index), 4));
#else
  std::uint32_t at[8];
  std::uint32_t found[8];
  store(at, index);
  for (int i = 0; i < 8; ++i)
    found[i] = table[at[i]];
  return load<Word>(found);
#endif
}

// The same for a table of 16.
KESTREL_INLINE Int lookup16(const std::int32_t *table, Word index) {
#if defined(__AVX2__)
  const auto at = reinterpret_cast<__m256i>(index);
  const __m256i low = _mm256_permutevar8x32_epi32(load<__m256i>(table), at);
  const __m256i high = _mm256_permutevar8x32_epi32(load<__m256i>(table + 8), at);
  return select((reinterpret_cast<Int>(index) << 28) >> 31, reinterpret_cast<Int>(high),
                reinterpret_cast<Int>(low));
#else
  return reinterpret_cast<Int>(lookup(reinterpret_cast<const std::uint32_t *>(table), index));
#endif
}

// ---- Threefry-2x32, 13 rounds, on eight counters with the same upper word
// ------------------------

KESTREL_INLINE void threefry(const std::uint32_t key[2], std::uint64_t counter, Word &x0,
                             Word &x1) {
  const std::uint32_t k0 = key[0], k1 = key[1], k2 = 0x1BD11BDAU ^ k0 ^ k1;
  constexpr Word kLane = {0, 1, 2, 3, 4, 5, 6, 7};
  x0 = kLane + (static_cast<std::uint32_t>(counter) + k0);
  x1 = all(static_cast<std::uint32_t>(counter >> 32) + k1);
#define KESTREL_ROUND(r)                                                                           \
  x0 += x1;                                                                                        \
  x1 = ((x1 << (r)) | (x1 >> (32 - (r)))) ^ x0;
  KESTREL_ROUND(13) KESTREL_ROUND(15) KESTREL_ROUND(26) KESTREL_ROUND(6) x0 += k1;
  x1 += k2 + 1;
  KESTREL_ROUND(17) KESTREL_ROUND(29) KESTREL_ROUND(16) KESTREL_ROUND(24) x0 += k2;
  x1 += k0 + 2;
  KESTREL_ROUND(13) KESTREL_ROUND(15) KESTREL_ROUND(26) KESTREL_ROUND(6) x0 += k0;
  x1 += k1 + 3;
  KESTREL_ROUND(17)
#undef KESTREL_ROUND
}

void make_signs(const FastBlock &block, FastWork &work) {
  const std::size_t counters = (std::size_t{1} << block.log2) / 64;
  for (std::size_t c = 0; c < counters; c += 8) {
    Word x0, x1;
    threefry(block.sign_key, block.first / 64 + c, x0, x1);
    store(work.signs + 2 * c, __builtin_shufflevector(x0, x1, 0, 8, 1, 9, 2, 10, 3, 11));
    store(work.signs + 2 * c + 8, __builtin_shufflevector(x0, x1, 4, 12, 5, 13, 6, 14, 7, 15));
  }
}

// v, negated where the coordinate's sign is minus; `at` is the number of its first coordinate.
KESTREL_INLINE Int apply_sign(Int v, const FastWork &work, std::size_t at) {
  constexpr Word kBit = {1, 2, 4, 8, 16, 32, 64, 128};
  const Word bits = kBit & (work.signs[at / 32] >> (at % 32));
  return negate_where(less(Int{}, reinterpret_cast<Int>(bits)), v);
}

// ---- Transform
// -----------------------------------------------------------------------------------

KESTREL_INLINE Int round_half(Int s, Int floor) { return plus(floor, s & floor & 1); }

template <bool Half> KESTREL_INLINE void butterfly(Int &a, Int &b) {
  const Int sum = plus(a, b);
  if constexpr (Half) {
    const Int floor = sum >> 1;
    // The difference is sum - 2 b: half of it floor - b, its lowest bit that of the sum.
    const Int other = minus(floor, b);
    a = round_half(sum, floor);
    b = round_half(sum, other);
  } else {
    b = minus(a, b);
    a = sum;
  }
}

// log2(R) stages on R vectors.
template <std::size_t R, bool Half> KESTREL_INLINE void stages(Int *v) {
  for (std::size_t i = 0; i < R; i += 2)
    butterfly<Half>(v[i], v[i + 1]);
  if constexpr (R >= 4)
    for (std::size_t i = 0; i < R; i += 4)
      for (std::size_t j = i; j < i + 2; ++j)
        butterfly<!Half>(v[j], v[j + 2]);
  if constexpr (R == 8)
    for (std::size_t j = 0; j < 4; ++j)
      butterfly<Half>(v[j], v[j + 4]);
}

// Stages of stride 1, 2, 4 inside a vector.
KESTREL_INLINE Int lane_stages(Int v) {
  constexpr Int k1 = {0, -1, 0, -1, 0, -1, 0, -1};
  constexpr Int k2 = {0, 0, -1, -1, 0, 0, -1, -1};
  constexpr Int k4 = {0, 0, 0, 0, -1, -1, -1, -1};
  v = plus(negate_where(k1, v), __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6));
  v = plus(negate_where(k2, v), __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5));
  v = round_half(v, v >> 1);
  return plus(negate_where(k4, v), __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
}

// Stages of stride 1..32 on 64 coordinates.
KESTREL_INLINE void tile_stages(Int (&v)[8], std::int32_t *z) {
  for (std::size_t i = 0; i < 8; ++i)
    v[i] = lane_stages(v[i]);
  stages<8, true>(v);
  for (std::size_t i = 0; i < 8; ++i)
    store(z + 8 * i, v[i]);
}

// log2(R) stages on R rows of `row` values, `pitch` apart.
template <std::size_t R, bool Half>
KESTREL_INLINE void columns(std::int32_t *z, std::size_t row, std::size_t pitch) {
  for (std::size_t j = 0; j < row; j += 8) {
    Int v[R];
    for (std::size_t r = 0; r < R; ++r)
      v[r] = load<Int>(z + pitch * r + j);
    stages<R, Half>(v);
    for (std::size_t r = 0; r < R; ++r)
      store(z + pitch * r + j, v[r]);
  }
}

// Stages of stride 64..2048 on the rows of a block, then the others on its columns.
void late_stages(int log2, std::int32_t *z) {
  const std::size_t n = std::size_t{1} << log2;
  const std::size_t rows = n > kFastRow ? n / kFastRow : 1;
  for (std::size_t r = 0; r < rows; ++r) {
    std::int32_t *row = z + kFastPitch * r;
    const std::size_t size = n / rows;
    for (std::size_t i = 0; i < size; i += 512)
      columns<8, false>(row + i, 64, 64);
    if (log2 == 10)
      columns<2, true>(row, 512, 512);
    else if (log2 == 11)
      columns<4, true>(row, 512, 512);
    else
      columns<8, true>(row, 512, 512);
  }
  if (rows == 2)
    columns<2, false>(z, kFastRow, kFastPitch);
  else if (rows == 4)
    columns<4, false>(z, kFastRow, kFastPitch);
  else if (rows == 8)
    columns<8, false>(z, kFastRow, kFastPitch);
}

// Where coordinate i of a block is in FastWork::z.
KESTREL_INLINE std::size_t place(std::size_t i) { return i / kFastRow * kFastPitch + i % kFastRow; }

void finish(const FastBlock &block, const FastWork &work, float *out) {
  const std::size_t n = std::size_t{1} << block.log2;
  for (std::size_t i = 0; i < n; i += 8) {
    const Int v = apply_sign(load<Int>(work.z + place(i)), work, i);
    store(out + i, __builtin_convertvector(v, Float) * block.to_float);
  }
}

// ---- Coding
// --------------------------------------------------------------------------------------

// The 16 bits of noise of coordinates 8 V .. 8 V + 7 of 32.
template <int V> KESTREL_INLINE Word noise_of(Word x0, Word x1) {
  constexpr Word kEven = {0xFFFF, 0, 0xFFFF, 0, 0xFFFF, 0, 0xFFFF, 0};
  constexpr Word kOdd = {0, 0xFFFF, 0, 0xFFFF, 0, 0xFFFF, 0, 0xFFFF};
  constexpr int a = 2 * V, b = 2 * V + 1;
  const Word words = __builtin_shufflevector(x0, x1, a, a, 8 + a, 8 + a, b, b, 8 + b, 8 + b);
  return (words & kEven) | ((words >> 16) & kOdd);
}

KESTREL_INLINE Word quantise(const FastBlock &block, Int z18, Word noise) {
  Word position = reinterpret_cast<Word>(z18) * block.gain + block.half;
  position = select(less(all(block.high), z18), all(block.high_position), position);
  position = select(less(z18, all(block.low)), all(block.low_position), position);
  const Word entry = lookup(block.table->entry, position >> 24);
  const Word offset = position - (entry & 0xFF000000U);
  // (2 noise + 1) * width * 128 < offset, without the 128: 25 bits.
  const Word threshold = (noise * 2 + 1) * ((entry >> 8) & 0xFF);
  const Int up = less(reinterpret_cast<Int>(threshold), reinterpret_cast<Int>((offset + 127) >> 7));
  return (entry & 0xFF) - reinterpret_cast<Word>(up);
}

template <bool Error> void quantise(const FastBlock &block, FastWork &work, std::uint8_t *packed) {
  const std::size_t n = std::size_t{1} << block.log2;
  const int shift = 8 - block.log2 / 2;
  const bool odd = block.log2 % 2 == 1;
  for (std::size_t i = 0; i < n; i += 32) {
    std::int32_t *z = work.z + place(i);
    Word x0, x1;
    threefry(block.noise_key, (block.first + i) / 4, x0, x1);
    const Word noise[4] = {noise_of<0>(x0, x1), noise_of<1>(x0, x1), noise_of<2>(x0, x1),
                           noise_of<3>(x0, x1)};
    std::uint32_t indices[32];
    for (std::size_t v = 0; v < 4; ++v) {
      const Int value = load<Int>(z + 8 * v);
      const Word index = quantise(block, round_shift(value, shift), noise[v]);
      store(indices + 8 * v, index);
      if constexpr (Error) {
        const Int decoded = lookup16(block.values, index);
        store(z + 8 * v, minus(odd ? round_shift(value, 1) : value, decoded));
      }
    }
    for (std::size_t b = 0; b < 16; ++b)
      packed[i / 2 + b] = static_cast<std::uint8_t>(indices[2 * b] << 4 | indices[2 * b + 1]);
  }
}

bool compress(const FastBlock &block, const float *y, FastWork &work, std::uint8_t *packed,
              float *error) {
  make_signs(block, work);
  const std::size_t n = std::size_t{1} << block.log2;
  float squares[8] = {};
  for (std::size_t i = 0; i < n; i += 64) {
    Int v[8];
    for (std::size_t j = 0; j < 8; ++j) {
      const Float x = load<Float>(y + i + 8 * j) * block.to_fixed;
      store(squares, load<Float>(squares) + x * x);
      v[j] = apply_sign(round_to_int(x), work, i + 8 * j);
    }
    tile_stages(v, work.z + place(i));
  }
  float sum = 0;
  for (int i = 0; i < 8; ++i)
    sum += squares[i];
  if (!(sum < kFastMaxSquares))
    return false;
  late_stages(block.log2, work.z);
  if (error == nullptr) {
    quantise<false>(block, work, packed);
    return true;
  }
  quantise<true>(block, work, packed);
  for (std::size_t i = 0; i < n; i += 64) {
    std::int32_t *z = work.z + place(i);
    Int v[8];
    for (std::size_t j = 0; j < 8; ++j)
      v[j] = load<Int>(z + 8 * j);
    tile_stages(v, z);
  }
  late_stages(block.log2, work.z);
  finish(block, work, error);
  return true;
}

// ---- Decoding
// ------------------------------------------------------------------------------------

template <typename Sum>
bool decompress(const FastBlock &block, const FastPacket *packets, const Sum *sums, FastWork &work,
                float *out) {
  make_signs(block, work);
  const std::size_t n = std::size_t{1} << block.log2;
  std::int32_t beyond[8] = {};
  for (std::size_t i = 0; i < n; i += 64) {
    const FastPacket &packet = packets[i / 1024];
    const double offset = packet.range * packet.factor;
    const auto range = static_cast<std::int32_t>(packet.range);
    Int v[8];
    for (std::size_t j = 0; j < 8; ++j) {
      Int s;
      for (std::size_t l = 0; l < 8; ++l)
        s[l] = sums[i + 8 * j + l];
      store(beyond, load<Int>(beyond) | less(all(range), s));
      v[j] = round_to_int(__builtin_convertvector(s, Double) * (2.0 * packet.factor) - offset);
    }
    tile_stages(v, work.z + place(i));
  }
  std::int32_t any = 0;
  for (int i = 0; i < 8; ++i)
    any |= beyond[i];
  if (any != 0)
    return false;
  late_stages(block.log2, work.z);
  finish(block, work, out);
  return true;
}

// ---- Sums, addition, norm
// ------------------------------------------------------------------------

template <typename Sum>
std::size_t aggregate(const FastTable &table, const std::uint8_t *packed, std::size_t n, Sum *sums,
                      bool add) {
  std::size_t bad = 0;
  if (table.index_mask < 15)
    for (std::size_t i = 0; i < n; ++i)
      bad += (packed[i] >> 4 > table.index_mask ? 1U : 0U) +
             ((packed[i] & 15) > table.index_mask ? 1U : 0U);
  for (std::size_t i = 0; i < n; ++i) {
    const unsigned pair = table.pair[packed[i]];
    sums[2 * i] = static_cast<Sum>((add ? sums[2 * i] : 0U) + (pair & 0xFF));
    sums[2 * i + 1] = static_cast<Sum>((add ? sums[2 * i + 1] : 0U) + (pair >> 8));
  }
  return bad;
}

// Zeros for subnormals.
KESTREL_INLINE Float flush(Float x) {
  const Int subnormal = less(magnitude(x), all(0x800000));
  return reinterpret_cast<Float>(reinterpret_cast<Int>(x) & ~(subnormal & 0x7FFFFFFF));
}

KESTREL_INLINE void keep_larger(std::int32_t (&largest)[8], Float x) {
  store(largest, larger(load<Int>(largest), magnitude(x)));
}
KESTREL_INLINE std::uint32_t largest_of(const std::int32_t (&lanes)[8]) {
  std::int32_t largest = 0;
  for (const std::int32_t v : lanes)
    largest = v > largest ? v : largest;
  return static_cast<std::uint32_t>(largest);
}

KESTREL_INLINE Float widen(const float *x) { return load<Float>(x); }
KESTREL_INLINE Float widen(const std::uint16_t *x) {
  Word v;
  for (std::size_t i = 0; i < 8; ++i)
    v[i] = x[i];
  return reinterpret_cast<Float>(v << 16);
}

template <typename T> KESTREL_INLINE Float add_eight(const T *x, const float *e) {
  return flush(flush(widen(x)) + (e == nullptr ? Float{} : flush(load<Float>(e))));
}

template <typename T> std::uint32_t add(const T *x, const float *e, float *y, std::size_t n) {
  std::int32_t largest[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Float sum = add_eight(x + i, e == nullptr ? nullptr : e + i);
    keep_larger(largest, sum);
    store(y + i, sum);
  }
  if (i < n) {
    T x8[8] = {};
    float e8[8] = {};
    for (std::size_t j = i; j < n; ++j) {
      x8[j - i] = x[j];
      e8[j - i] = e == nullptr ? 0.0F : e[j];
    }
    const Float sum = add_eight(x8, e8);
    keep_larger(largest, sum);
    for (std::size_t j = i; j < n; ++j)
      y[j] = sum[static_cast<int>(j - i)];
  }
  return largest_of(largest);
}

std::uint32_t max_bits(const float *y, std::size_t n) {
  std::int32_t largest[8] = {};
  for (std::size_t i = 0; i < n; i += 8)
    keep_larger(largest, load<Float>(y + i));
  return largest_of(largest);
}

double squares(const float *y, std::size_t n, std::uint32_t lowest) {
  const Int limit = all(static_cast<std::int32_t>(lowest << 23));
  double sums[8] = {};
  for (std::size_t i = 0; i < n; i += 8) {
    const Int bits = magnitude(load<Float>(y + i));
    const Int rounded = smaller(plus(bits, all(64)), bits | 0x7FFFFF) & ~127;
    float counted[8];
    store(counted, rounded & ~less(bits, limit));
    for (int v = 0; v < 8; v += kPart) {
      const DoublePart d = __builtin_convertvector(load<FloatPart>(counted + v), DoublePart);
      store(sums + v, load<DoublePart>(sums + v) + d * d);
    }
  }
  double total = 0;
  for (const double s : sums)
    total += s;
  return total;
}

} // namespace

const FastKernels KESTREL_KERNELS = {
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
