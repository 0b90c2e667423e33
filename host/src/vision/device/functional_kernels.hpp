// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Inner loops of the functional device, on weights decoded into a layout that compilers vectorise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kestrel::hv::functional {

/// Dot products run over multiples of this many steps; the rest is zero.
inline constexpr std::size_t kStepBlock = 16;
/// Pixels and channels of one block of dot products.
inline constexpr std::size_t kPixelBlock = 4;
inline constexpr std::size_t kChannelBlock = 4;

/// acc[p * channels + c] = sum over k of x[p * steps + k] * w[c * steps + k], for kPixelBlock
/// pixels. steps is a multiple of kStepBlock, channels of kChannelBlock. No overflow for |x|, |w|
/// <= 128 and fewer than 2^17 steps.
void dense_block(const std::int16_t *x, const std::int16_t *w, std::size_t steps,
                 std::size_t channels, std::int32_t *acc);

/// acc[i] += bytes[i] * w[i] for the `n` channels of a word (a multiple of 8).
void depthwise_step(const std::int8_t *bytes, const std::int16_t *w, std::size_t n,
                    std::int32_t *acc);

} // namespace kestrel::hv::functional
