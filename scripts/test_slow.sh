#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Like scripts/test.sh, for the tests that take minutes (label slow).

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

step "set-up" "$root/scripts/setup.sh"
# shellcheck disable=SC2119 # no target named: everything
build_targets
say "set-up and build took $SECONDS s; running the slow tests"
cd "$root"
exec ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$(nproc)" \
  --label-regex '^slow$' "$@"
