// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// 4:1 multiplexer of words whose bits can be set: y = d[s] | set. Combinational.
//
// Two LUT4s and a slice multiplexer a bit on ECP5, where synthesis left to itself takes three LUTs and one
// more for the set (scripts/synth.py defines KESTREL_ECP5 and maps the cell by scripts/ecp5_mux_map.v); plain
// logic everywhere else.

`default_nettype none

module ks_mux4 #(
  parameter int unsigned Width = 8     // bits of a word, >= 1
) (
  input  wire logic [3:0][Width-1:0] d_i,
  input  wire logic [1:0]            s_i,
  input  wire logic [Width-1:0]      set_i,
  output logic [Width-1:0]           y_o
);

  if (Width < 1) begin : gen_bad_width
    $error("ks_mux4: Width must be at least 1");
  end

`ifdef KESTREL_ECP5
  for (genvar i = 0; i < Width; i++) begin : gen_bit
    ks_ecp5_mux4 u_mux (
      .A(d_i[0][i]), .B(d_i[1][i]), .C(d_i[2][i]), .D(d_i[3][i]), .S(s_i[0]), .T(s_i[1]),
      .O(set_i[i]), .Y(y_o[i])
    );
  end
`else
  assign y_o = d_i[s_i] | set_i;
`endif

endmodule

`default_nettype wire
