// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One function a parser of input from outside: any bytes, no crash, bounded memory and time.
#pragma once

#include <cstdint>
#include <span>

namespace kestrel::fuzz {

using Bytes = std::span<const std::uint8_t>;

void tflite(Bytes bytes);
void package(Bytes bytes); ///< checksums are put right first
void npy(Bytes bytes);
void switch_config(Bytes bytes);
void packet_lines(Bytes bytes);
void scenario(Bytes bytes);
void thresholds(Bytes bytes);
void infer(Bytes bytes); ///< request, response and error body
void onnx(Bytes bytes);
void pcapng(Bytes bytes);
void aggregator(Bytes bytes); ///< datagrams: sender, length (2), bytes
void http(Bytes bytes);       ///< to a server with a small model, over a socket

} // namespace kestrel::fuzz
