# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Sourced by the other scripts: strict mode, the repository root, one line per step with its time.

set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
preset="${KESTREL_PRESET:-release}"
build="$root/build/$preset"
export NINJA_STATUS="[%f/%t %es] "

say() { printf '== %s\n' "$*"; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# step <what> <command...>: runs the command, says what it does and how long it took.
step() {
  local what="$1" begin=$SECONDS status=0
  shift
  say "$what"
  "$@" || status=$?
  if ((status)); then
    say "$what: FAILED (exit status $status) after $((SECONDS - begin)) s"
    exit "$status"
  fi
  say "$what: done in $((SECONDS - begin)) s"
}

# One compiler job a processor, and not more than one for each 1.5 GiB of memory.
job_count() {
  local memory processors
  memory=$(awk '/^MemTotal:/ {print int($2 / 1572864)}' /proc/meminfo)
  processors=$(nproc)
  if ((memory < 1)); then memory=1; fi
  echo $((processors < memory ? processors : memory))
}

configure() { cmake -S "$root" --preset "$preset" "$@" >"$root/build/configure-$preset.log" 2>&1 || {
  tail -n 30 "$root/build/configure-$preset.log" >&2
  return 1
}; }

# build_targets [target...]: configures and builds them, or everything.
build_targets() {
  mkdir -p "$root/build"
  (cd "$root" && step "configuring (preset $preset)" configure)
  local arguments=(--build "$build" --parallel "$(job_count)")
  if (($#)); then arguments+=(--target "$@"); fi
  step "building ${*:-everything} in build/$preset" cmake "${arguments[@]}"
}
