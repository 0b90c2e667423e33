// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Writes random calls of a top function for run_bambu.py: names of the ports, then a line a call with
// their values and the reference's result, hexadecimal.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/hls/thc_tops.hpp"

int main(int argc, char **argv) {
  using namespace kestrel::hls_test;
  if (argc != 4) {
    std::fprintf(stderr, "usage: thc_vectors quantise|hadamard|aggregate COUNT SEED\n");
    return 2;
  }
  const std::string kernel = argv[1];
  const auto make = kernel == "quantise"    ? quantise_call
                    : kernel == "hadamard"  ? hadamard_call
                    : kernel == "aggregate" ? aggregate_call
                                            : nullptr;
  if (make == nullptr) {
    std::fprintf(stderr, "thc_vectors: unknown kernel '%s'\n", kernel.c_str());
    return 2;
  }
  Engine engine(std::strtoull(argv[3], nullptr, 0));
  const long count = std::strtol(argv[2], nullptr, 0);
  for (long n = 0; n < count; ++n) {
    const Call call = make(engine);
    if (n == 0) {
      for (const auto &[name, value] : call.ports)
        std::printf("%s ", name.c_str());
      std::printf("return_port\n");
    }
    for (const auto &[name, value] : call.ports)
      std::printf("%llx ", static_cast<unsigned long long>(value));
    std::printf("%llx\n", static_cast<unsigned long long>(call.result));
  }
  return 0;
}
