// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Signed 8 x 8 multiplier with registers for the operands and for the product.
//
// UseDsp = 1 takes a hard multiplier (ks_mul_reg); UseDsp = 0 spells the product out as
// two's complement partial products, so that it is built from LUTs. Both give the same result, and
// simulation takes the first for both (the second takes ten times as long); the test of netlists holds
// the second, as synthesised, against it.
// en_ab_i takes the operands, en_p_i their product: latency 2 cycles. Registers hold otherwise. No reset (data path).

`default_nettype none

module ks_mul_s8 #(
  parameter bit UseDsp = 1'b1
) (
  input  wire logic               clk_i,
  input  wire logic               en_ab_i,
  input  wire logic               en_p_i,
  input  wire logic [7:0]         a_i,   // signed
  input  wire logic [7:0]         b_i,   // signed
  output logic signed [15:0]      p_o
);

`ifdef SYNTHESIS
  localparam bit Behaviour = UseDsp;
`else
  localparam bit Behaviour = UseDsp || 1'b1;
`endif

  if (Behaviour) begin : gen_dsp
    ks_mul_reg #(
      .WidthA(8), .WidthB(8)
    ) u_mul (
      .clk_i, .en_ab_i, .en_p_i, .a_i, .b_i, .p_o
    );
  end else begin : gen_lut
    // Rows in pairs, then two levels of adders; row 7 has negative weight. `keep` holds synthesis back
    // from merging the adders into one carry-save tree, which takes more LUTs.
    logic signed [7:0] a_q;
    logic [7:0]        b_q;
    logic signed [9:0] a;
    (* keep *) logic signed [9:0]  rows01, rows23, rows45, rows67;
    (* keep *) logic signed [11:0] low, high;
    assign a = 10'(a_q);
    assign rows01 = (b_q[0] ? a : 10'sd0) + (b_q[1] ? a <<< 1 : 10'sd0);
    assign rows23 = (b_q[2] ? a : 10'sd0) + (b_q[3] ? a <<< 1 : 10'sd0);
    assign rows45 = (b_q[4] ? a : 10'sd0) + (b_q[5] ? a <<< 1 : 10'sd0);
    assign rows67 = (b_q[6] ? a : 10'sd0) - (b_q[7] ? a <<< 1 : 10'sd0);
    assign low  = 12'(rows01) + (12'(rows23) <<< 2);
    assign high = 12'(rows45) + (12'(rows67) <<< 2);
    always_ff @(posedge clk_i) begin
      if (en_ab_i) begin
        a_q <= a_i;
        b_q <= b_i;
      end
      if (en_p_i) p_o <= 16'(low) + (16'(high) <<< 4);
    end
  end

endmodule

`default_nettype wire
