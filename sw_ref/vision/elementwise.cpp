// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/elementwise.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>

namespace kestrel::hv::ref {

void rescale(const RescaleParams &params, std::span<const std::int8_t> input,
             std::span<std::int8_t> output) {
  assert(input.size() == output.size());
  std::array<std::int8_t, 256> table{};
  for (int v = -128; v <= 127; ++v)
    table[static_cast<std::uint8_t>(v)] = rescale_value(params, static_cast<std::int8_t>(v));
  for (std::size_t i = 0; i < input.size(); ++i)
    output[i] = table[static_cast<std::uint8_t>(input[i])];
}

void clamp(ActivationRange range, std::span<const std::int8_t> input,
           std::span<std::int8_t> output) {
  assert(input.size() == output.size());
  for (std::size_t i = 0; i < input.size(); ++i)
    output[i] = static_cast<std::int8_t>(std::clamp<std::int32_t>(input[i], range.min, range.max));
}

void pad(const PadParams &params, std::span<const std::int8_t> input,
         std::span<std::int8_t> output) {
  const Shape in = params.input;
  const Shape out = params.output();
  assert(input.size() == in.size() && output.size() == out.size());
  std::fill(output.begin(), output.end(), params.value);
  const auto at = [](int v) { return static_cast<std::size_t>(v); };
  const std::int8_t *from = input.data();
  for (int n = 0; n < in.n; ++n)
    for (int y = 0; y < in.h; ++y)
      for (int x = 0; x < in.w; ++x, from += in.c)
        std::copy_n(
            from, in.c,
            output.data() +
                ((at(n + params.before.n) * at(out.h) + at(y + params.before.h)) * at(out.w) +
                 at(x + params.before.w)) *
                    at(out.c) +
                at(params.before.c));
}

void reshape(std::span<const std::int8_t> input, std::span<std::int8_t> output) {
  assert(input.size() == output.size());
  std::copy(input.begin(), input.end(), output.begin());
}

int argmax(std::span<const std::int8_t> input) {
  assert(!input.empty());
  return static_cast<int>(std::max_element(input.begin(), input.end()) - input.begin());
}

} // namespace kestrel::hv::ref
