#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Sets up, builds everything, lints the C++ that changed of late (scripts/lint_cpp.py) and runs all tests
# but the slow ones (scripts/test_slow.sh). Findings of the lint do not keep the tests from running; they
# fail the run at its end. Arguments go to ctest, e.g. scripts/test.sh -R '^rtl\.'.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

step "set-up" "$root/scripts/setup.sh"
# shellcheck disable=SC2119 # no target named: everything
build_targets
say "lint of changed C++, at most ${KESTREL_LINT_BUDGET:=60} s"
lint=0
"$root/scripts/lint_cpp.py" --changed --budget "$KESTREL_LINT_BUDGET" --build "$build" || lint=$?
say "set-up, build and lint took $SECONDS s; running the tests, ctest closes with their number and time"
cd "$root"
ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$(nproc)" \
  --label-exclude '^slow$' "$@"
((lint == 0)) || die "the tests passed; scripts/lint_cpp.py --changed did not (above; exit status $lint)"
