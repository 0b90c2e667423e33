// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The switch's types for proofs: narrow identifiers (see esa_pkg.sv).
`define KESTREL_ESA_SMALL
`include "../../rtl/esa/esa_pkg.sv"
