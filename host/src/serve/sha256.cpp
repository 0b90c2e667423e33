// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "serve/sha256.hpp"

#include <openssl/evp.h>

namespace kestrel::serve {

Result<std::array<std::uint8_t, 32>> sha256(std::span<const std::uint8_t> bytes) {
  std::array<std::uint8_t, 32> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1 ||
      size != digest.size()) {
    return fail(ErrorCode::kInternal, "OpenSSL does not compute SHA-256");
  }
  return digest;
}

} // namespace kestrel::serve
