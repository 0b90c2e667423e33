// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "kestrel/result.hpp"

namespace kestrel::serve {

/// SHA-256 (FIPS 180-4) by OpenSSL. Error: kInternal (its library is crippled).
[[nodiscard]] Result<std::array<std::uint8_t, 32>> sha256(std::span<const std::uint8_t> bytes);

} // namespace kestrel::serve
