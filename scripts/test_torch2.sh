#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The Python package under PyTorch 2 and NumPy 2 from PyPI: makes build/venv-torch2 (a download of about
# 3 GB, 5 GB on disk; kept for the next time), installs ./python into it with pip and runs the tests of
# the package and of the hook, then the cases of the data folder where it is there. Takes minutes.
#
#   scripts/test_torch2.sh

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
"") ;;
-h | --help)
  sed -n '5,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit 0
  ;;
*) die "unknown argument '$1'" ;;
esac

venv="$root/build/venv-torch2"
python="$venv/bin/python"
requirements="$root/scripts/requirements-torch2.txt"
data="${KESTREL_DATA_DIR:-$root/../shared/data}"
log="$root/build/test_torch2.log"
mkdir -p "$root/build"
: >"$log"

make_venv() {
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv"
  "$python" -m pip --disable-pip-version-check install --no-input --quiet \
    --requirement "$requirements" >>"$log" 2>&1 || {
    tail -n 25 "$log" >&2
    return 1
  }
  echo "$stamp" >"$venv/.requirements"
}

# With a build folder that stays: the next build is short.
install_package() {
  "$python" -m pip --disable-pip-version-check install --no-input --quiet --force-reinstall --no-deps \
    --config-settings "build-dir=$build/wheel/build" "$root/python" >>"$log" 2>&1 || {
    tail -n 25 "$log" >&2
    return 1
  }
}

# Away from the checkout, so that nothing but the installed package is found.
in_venv() { (cd "$venv" && env -u PYTHONPATH "$python" -B "$@"); }

step "set-up" "$root/scripts/setup.sh"
stamp="$(sha256sum "$requirements" | cut -d' ' -f1) $(/usr/bin/python3 -V) $root"
if [[ $(cat "$venv/.requirements" 2>/dev/null) != "$stamp" ]]; then
  step "installing PyTorch 2 and NumPy 2 into build/venv-torch2" make_venv
fi
step "pip install ./python" install_package
in_venv -c 'import kestrel_thc, numpy, torch
print("== kestrel_thc", kestrel_thc.__version__, "torch", torch.__version__, "numpy", numpy.__version__)
assert kestrel_thc.__file__.startswith("'"$venv"'"), kestrel_thc.__file__'
KESTREL_EXPECT_NUMPY=2 step "tests of the package" in_venv "$root/tests/python/test_kestrel_thc.py" \
  Binding Docs Package
step "tests of the hook" in_venv "$root/tests/python/test_kestrel_thc_hook.py"

if [[ -f "$data/cases/ddp/ddp_cases.py" ]]; then
  data="$(cd "$data" && pwd)"
  for world in 2 3; do
    step "cases of DistributedDataParallel, world $world" in_venv "$data/cases/ddp/ddp_cases.py" \
      --world "$world"
  done
  if [[ -x "$build/bin/kestrel" ]]; then
    step "workers that start anew" in_venv "$data/cases/ddp/worker_restart.py" \
      --kestrel "$build/bin/kestrel"
  else
    say "without worker_restart.py: $build/bin/kestrel is not built (scripts/build.sh)"
  fi
else
  say "without the cases of the data folder: $data/cases/ddp is not there"
fi
say "PyTorch 2: all passed in $SECONDS s"
