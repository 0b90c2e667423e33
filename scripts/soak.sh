#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Good and bad traffic on `kestrel dc` and `kestrel aggregator` with a job running (tests/e2e/soak.py):
# scripts/soak.sh [SECONDS], by default 1800. KESTREL_PRESET=asan or tsan takes the servers of that build;
# the workers are always those of the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-1800}
preset=${KESTREL_PRESET:-release}
for p in release "$preset"; do
  [ -f "build/$p/build.ninja" ] || cmake --preset "$p" >/dev/null
done
cmake --build build/release --target kestrel_python kestrel
[ "$preset" = release ] || cmake --build "build/$preset" --target kestrel
# OpenCV and protobuf are not instrumented: what they keep for good is no leak of this project.
[ "$preset" = release ] || export KESTREL_SOAK_MEMORY=0
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0} TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}
PYTHONPATH="build/release/python" exec /usr/bin/python3 tests/e2e/soak.py "build/$preset/bin/kestrel" "$seconds"
