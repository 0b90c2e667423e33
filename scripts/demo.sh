#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# From a bare Debian 12 to the main job: sets up, builds the program and runs `kestrel demo`.
# Arguments go to the program and come after the defaults, e.g. scripts/demo.sh --rtl-images 20.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

step "set-up" "$root/scripts/setup.sh" --program
build_targets kestrel
arguments=("$@")
if [[ " $* " != *" --rtl-images"* ]]; then arguments=(--rtl-images 200 "$@"); fi
say "running build/$preset/bin/kestrel demo ${arguments[*]}"
begin=$SECONDS
status=0
"$build/bin/kestrel" demo "${arguments[@]}" || status=$?
say "demo: exit status $status after $((SECONDS - begin)) s"
exit "$status"
