// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "vision/device/functional_kernels.hpp"

// One version for every x86-64 processor and one for those with AVX2, chosen when the program
// starts. Sanitizers do not get along with the load-time resolver.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KESTREL_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define KESTREL_CLONES
#endif

namespace kestrel::hv::functional {

KESTREL_CLONES
void dense_block(const std::int16_t *x, const std::int16_t *w, std::size_t steps,
                 std::size_t channels, std::int32_t *acc) {
  static_assert(kPixelBlock == 4 && kChannelBlock == 4);
  for (std::size_t c = 0; c < channels; c += 4) {
    const std::int16_t *w0 = w + c * steps;
    const std::int16_t *w1 = w0 + steps;
    const std::int16_t *w2 = w1 + steps;
    const std::int16_t *w3 = w2 + steps;
    for (std::size_t p = 0; p < 4; p += 2) {
      const std::int16_t *x0 = x + p * steps;
      const std::int16_t *x1 = x0 + steps;
      std::int32_t a00 = 0, a01 = 0, a02 = 0, a03 = 0;
      std::int32_t a10 = 0, a11 = 0, a12 = 0, a13 = 0;
      for (std::size_t k = 0; k < steps / kStepBlock * kStepBlock; ++k) {
        a00 += x0[k] * w0[k];
        a01 += x0[k] * w1[k];
        a02 += x0[k] * w2[k];
        a03 += x0[k] * w3[k];
        a10 += x1[k] * w0[k];
        a11 += x1[k] * w1[k];
        a12 += x1[k] * w2[k];
        a13 += x1[k] * w3[k];
      }
      std::int32_t *out = acc + p * channels + c;
      out[0] = a00;
      out[1] = a01;
      out[2] = a02;
      out[3] = a03;
      out += channels;
      out[0] = a10;
      out[1] = a11;
      out[2] = a12;
      out[3] = a13;
    }
  }
}

void depthwise_step(const std::int8_t *bytes, const std::int16_t *w, std::size_t n,
                    std::int32_t *acc) {
  for (std::size_t base = 0; base < n; base += 8) {
    for (std::size_t i = 0; i < 8; ++i)
      acc[base + i] += bytes[base + i] * w[base + i];
  }
}

} // namespace kestrel::hv::functional
