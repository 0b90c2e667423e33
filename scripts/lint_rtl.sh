#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Verilator's lint, every warning fatal, with each module of rtl/ as the top; modules below are found
# by name. Waivers stand in the RTL, with their reason.
#
#   scripts/lint_rtl.sh [module...]

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

generated="$(mktemp -d)"
trap 'rm -rf "$generated"' EXIT
python3 "$root/scripts/gen_contract.py" --out "$generated" --config "${KESTREL_CONFIG:-edge}" \
  >/dev/null

modules=("$@")
if ((${#modules[@]} == 0)); then
  mapfile -t modules < <(find "$root/rtl" -name '*.sv' ! -name '*_pkg.sv' -printf '%f\n' |
    sed 's/\.sv$//' | sort)
fi
((${#modules[@]})) || die "no module in $root/rtl"

# Generated packages first, then those that use them.
mapfile -t packages < <(find "$generated" -name '*_pkg.sv' | sort)
mapfile -t -O "${#packages[@]}" packages < <(find "$root/rtl" -name '*_pkg.sv' | sort)
failed=()
for module in "${modules[@]}"; do
  file="$(find "$root/rtl" -name "$module.sv")"
  [[ -n $file ]] || die "no module $module in $root/rtl"
  if ! "$root/scripts/verilator.sh" --lint-only -Wall -Wpedantic --assert --top-module "$module" \
    "$root/cmake/verilator.vlt" "+incdir+$root/rtl/common" -y "$root/rtl/common" -y "$root/rtl/vision" -y "$root/rtl/thc" -y "$root/rtl/esa" \
    "${packages[@]}" "$file"; then
    failed+=("$module")
  fi
done
((${#failed[@]} == 0)) || die "lint failed: ${failed[*]}"
say "lint of ${#modules[@]} modules: no warning (${SECONDS} s)"
