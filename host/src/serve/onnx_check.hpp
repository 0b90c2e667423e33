// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The message of an ONNX file and the check of its graph, for code that has the message.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kestrel/result.hpp"
#include "onnx_subset.pb.h"

namespace kestrel::serve {

/// The message of a file, with at least one node. Error: kParse.
[[nodiscard]] Result<onnx::Model> parse_onnx(std::span<const std::uint8_t> bytes,
                                             const std::string &name);

/// As check_onnx() of the file (serve/onnx_classifier.hpp).
[[nodiscard]] Result<void> check_onnx(const onnx::Graph &graph, const std::string &name);

} // namespace kestrel::serve
