// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A user of the installed package: links the reference and reads the hardware contract.

#include <cstdio>

#include <kestrel/contract/vision.hpp>
#include <sw_ref/vision/requant.hpp>

int main() {
  const auto half = kestrel::hv::ref::quantize_multiplier(0.5);
  const auto result =
      kestrel::hv::ref::multiply_by_quantized_multiplier(101, half.multiplier, half.shift);
  const auto *edge = kestrel::contract::find_config("edge");
  if (result != 51 || edge == nullptr || edge->lanes * edge->word_bytes != 128) {
    std::fprintf(stderr, "0.5 * 101 = %d, edge %s\n", result, edge ? "found" : "missing");
    return 1;
  }
  std::puts("consumer: ok");
}
