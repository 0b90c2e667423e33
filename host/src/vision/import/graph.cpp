// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/vision/graph.hpp"

#include <type_traits>

namespace kestrel::hv {

std::vector<TensorId> activation_inputs(const Op &op) {
  return std::visit(
      [](const auto &payload) -> std::vector<TensorId> {
        if constexpr (std::is_same_v<std::decay_t<decltype(payload)>, Add>) {
          return {payload.input1, payload.input2};
        } else {
          return {payload.input};
        }
      },
      op.payload);
}

TensorId output_of(const Op &op) {
  return std::visit([](const auto &payload) { return payload.output; }, op.payload);
}

} // namespace kestrel::hv
