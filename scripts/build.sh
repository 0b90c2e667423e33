#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Configures and builds the preset release (or $KESTREL_PRESET) in build/<preset>.
#
#   scripts/build.sh [target...]

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

build_targets "$@"
