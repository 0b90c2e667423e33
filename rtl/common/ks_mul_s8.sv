// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Signed 8 x 8 multiplier with one output register and clock enable.
//
// UseDsp = 1 leaves the choice of a hard multiplier to synthesis; UseDsp = 0 spells the product out as
// two's complement partial products, so that it is built from LUTs. Both give the same result, and
// simulation takes the first for both (the second takes ten times as long); the test of netlists holds
// the second, as synthesised, against it.
// Latency 1 cycle when en_i is high; the output holds otherwise. No reset (data path).

`default_nettype none

module ks_mul_s8 #(
  parameter bit UseDsp = 1'b1
) (
  input  wire logic               clk_i,
  input  wire logic               en_i,
  input  wire logic [7:0]         a_i,   // signed
  input  wire logic [7:0]         b_i,   // signed
  output logic signed [15:0]      p_o
);

  logic signed [15:0] product;

`ifdef SYNTHESIS
  localparam bit Behaviour = UseDsp;
`else
  localparam bit Behaviour = UseDsp || 1'b1;
`endif

  if (Behaviour) begin : gen_dsp
    assign product = 16'($signed(a_i)) * 16'($signed(b_i));
  end else begin : gen_lut
    // Rows in pairs, then two levels of adders; row 7 has negative weight. `keep` holds synthesis back
    // from merging the adders into one carry-save tree, which takes more LUTs.
    logic signed [9:0] a;
    (* keep *) logic signed [9:0]  rows01, rows23, rows45, rows67;
    (* keep *) logic signed [11:0] low, high;
    assign a = 10'($signed(a_i));
    assign rows01 = (b_i[0] ? a : 10'sd0) + (b_i[1] ? a <<< 1 : 10'sd0);
    assign rows23 = (b_i[2] ? a : 10'sd0) + (b_i[3] ? a <<< 1 : 10'sd0);
    assign rows45 = (b_i[4] ? a : 10'sd0) + (b_i[5] ? a <<< 1 : 10'sd0);
    assign rows67 = (b_i[6] ? a : 10'sd0) - (b_i[7] ? a <<< 1 : 10'sd0);
    assign low  = 12'(rows01) + (12'(rows23) <<< 2);
    assign high = 12'(rows45) + (12'(rows67) <<< 2);
    assign product = 16'(low) + (16'(high) <<< 4);
  end

  always_ff @(posedge clk_i) begin
    if (en_i) p_o <= product;
  end

endmodule

`default_nettype wire
