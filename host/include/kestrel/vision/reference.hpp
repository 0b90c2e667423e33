// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Executes a network on the int8 operators of sw_ref/vision: the answer that every device has to
// give, bit for bit.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kestrel/result.hpp"
#include "kestrel/vision/graph.hpp"

namespace kestrel::hv {

/// Called after every operator with its output in row-major order.
using ReferenceTrace = std::function<void(const Op &op, std::span<const std::int8_t> output)>;

/// Runs one inference. `input` holds the values of the graph's input tensor (row-major, as
/// quantised by the model); the result holds those of its output tensor. Memory of an activation
/// is freed after its last use.
///
/// Precondition: `graph` was made by an importer. Errors: kShapeMismatch when `input` has another
/// size than the input tensor.
[[nodiscard]] Result<std::vector<std::int8_t>> run_reference(const Graph &graph,
                                                             std::span<const std::int8_t> input,
                                                             const ReferenceTrace &trace = {});

} // namespace kestrel::hv
