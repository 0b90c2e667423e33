# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Generators of the hardware contracts, one module a JSON source; `common` is what they share."""
