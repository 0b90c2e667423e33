// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Signed 8 x 8 multiplier with one output register and clock enable.
//
// UseDsp = 1 leaves the choice of a hard multiplier to synthesis; UseDsp = 0 spells the product out as
// two's complement partial products, so that it is built from LUTs. Both give the same result.
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

  if (UseDsp) begin : gen_dsp
    assign product = 16'($signed(a_i)) * 16'($signed(b_i));
  end else begin : gen_lut
    // Rows in pairs, then two levels of adders; row 7 has negative weight.
    logic signed [15:0] row [8];
    logic signed [15:0] sum01, sum23, sum45, sum67;
    for (genvar i = 0; i < 8; i++) begin : gen_row
      assign row[i] = b_i[i] ? (16'($signed(a_i)) <<< i) : 16'sd0;
    end
    assign sum01 = row[0] + row[1];
    assign sum23 = row[2] + row[3];
    assign sum45 = row[4] + row[5];
    assign sum67 = row[6] - row[7];
    assign product = (sum01 + sum23) + (sum45 + sum67);
  end

  always_ff @(posedge clk_i) begin
    if (en_i) p_o <= product;
  end

endmodule

`default_nettype wire
