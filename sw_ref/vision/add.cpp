// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "sw_ref/vision/add.hpp"

#include <cassert>
#include <cstddef>

namespace kestrel::hv::ref {

AddParams add_params(float input1_scale, std::int32_t input1_zero_point, float input2_scale,
                     std::int32_t input2_zero_point, float output_scale,
                     std::int32_t output_zero_point, Activation activation) {
  AddParams p;
  p.input1_zero_point = input1_zero_point;
  p.input2_zero_point = input2_zero_point;
  p.output_zero_point = output_zero_point;
  p.left_shift = 20;
  const double s1 = input1_scale;
  const double s2 = input2_scale;
  const double twice_max = 2.0 * std::max(s1, s2);
  p.input1 = quantize_multiplier(s1 / twice_max);
  p.input2 = quantize_multiplier(s2 / twice_max);
  p.output = quantize_multiplier(
      twice_max / (static_cast<double>(1 << p.left_shift) * static_cast<double>(output_scale)));
  p.activation = activation_range(activation, output_scale, output_zero_point);
  return p;
}

std::array<std::int32_t, 256> make_add_table(std::int32_t zero_point, int left_shift,
                                             Multiplier m) {
  std::array<std::int32_t, 256> table{};
  for (int v = -128; v <= 127; ++v)
    table[static_cast<std::uint8_t>(v)] =
        add_operand(static_cast<std::int8_t>(v), zero_point, left_shift, m);
  return table;
}

void add(const AddParams &params, std::span<const std::int8_t> input1,
         std::span<const std::int8_t> input2, std::span<std::int8_t> output) {
  assert(input1.size() == output.size() && input2.size() == output.size());
  const auto table1 = make_add_table(params.input1_zero_point, params.left_shift, params.input1);
  const auto table2 = make_add_table(params.input2_zero_point, params.left_shift, params.input2);
  for (std::size_t i = 0; i < output.size(); ++i)
    output[i] = add_output(params, table1[static_cast<std::uint8_t>(input1[i])],
                           table2[static_cast<std::uint8_t>(input2[i])]);
}

} // namespace kestrel::hv::ref
