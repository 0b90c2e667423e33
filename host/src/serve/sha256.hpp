// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace kestrel::serve {

/// SHA-256 (FIPS 180-4), for telling files apart as `sha256sum` does; not meant for secrets.
[[nodiscard]] std::array<std::uint8_t, 32> sha256(std::span<const std::uint8_t> bytes);

} // namespace kestrel::serve
