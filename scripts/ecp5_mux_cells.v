// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Ports of the cells that the RTL asks for by name and ecp5_mux_map.v maps.

(* blackbox *)
module ks_ecp5_mux4 (input A, B, C, D, S, T, O, output Y);
endmodule
