#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Sets up, builds everything and runs all tests but the slow ones (scripts/test_slow.sh).
# Arguments go to ctest, e.g. scripts/test.sh -R '^rtl\.'.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

step "set-up" "$root/scripts/setup.sh"
build_targets
say "set-up and build took $SECONDS s; running the tests, ctest closes with their number and time"
cd "$root"
exec ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$(nproc)" \
  --label-exclude '^slow$' "$@"
