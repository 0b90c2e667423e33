#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Installs what is missing and implements a configuration of the engine in its board's system: places and routes
# it with several seeds and writes bench/implementation/<configuration>.json (scripts/implement.py --help).
#
#   scripts/implement.sh edge [option...]

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$root/scripts/setup.sh"
exec "$root/build/venv/bin/python" "$root/scripts/implement.py" "$@"
