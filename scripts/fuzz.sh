#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Builds the libFuzzer targets (tests/fuzz, clang, AddressSanitizer, UndefinedBehaviorSanitizer) and
# runs each: scripts/fuzz.sh [SECONDS [TARGET ..]], by default 600 seconds of every target. What is
# found lies in build/fuzz/found; new inputs are kept in build/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
cmake --preset fuzz >/dev/null
if [ $# -eq 0 ]; then
  mapfile -t targets < <(ls tests/fuzz/corpus)
else
  targets=("$@")
fi
cmake --build build/fuzz --target "${targets[@]/#/fuzz_}"
mkdir -p build/fuzz/found
failed=()
for target in "${targets[@]}"; do
  corpus=build/fuzz/corpus/$target
  mkdir -p "$corpus"
  echo "== $target, $seconds s"
  set +e
  "build/fuzz/bin/fuzz_$target" -max_total_time="$seconds" -rss_limit_mb=1536 -malloc_limit_mb=1024 -timeout=20 -max_len=65536 \
    -artifact_prefix="build/fuzz/found/$target-" -print_final_stats=1 "$corpus" "tests/fuzz/corpus/$target" 2>&1 |
    grep -E "SUMMARY|ERROR|stat::number_of_executed|stat::peak_rss|Test unit"
  status=${PIPESTATUS[0]}
  set -e
  [ "$status" -eq 0 ] || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}"
  exit 1
fi
echo "${#targets[@]} targets, nothing found"
