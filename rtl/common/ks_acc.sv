// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Accumulator with clear: with en_i, sum_o <= (clear_i ? 0 : sum_o) + a_i, modulo 2^Width. No reset (data path).
//
// On ECP5 (KESTREL_ECP5 defined) the clear is part of the LUT in front of the carry, so that a bit takes one cell
// where generic mapping takes two. Simulation and other devices take the expression; the test of netlists
// holds the ECP5 form against it.

`default_nettype none

module ks_acc #(
  parameter int unsigned Width = 32
) (
  input  wire logic               clk_i,
  input  wire logic               en_i,
  input  wire logic               clear_i,
  input  wire logic [Width-1:0]   a_i,
  output logic [Width-1:0]        sum_o
);

  logic [Width-1:0] next;

`ifdef KESTREL_ECP5
  // A = sum, B = addend, C = clear, D = 1. Propagate: B ^ (A & ~C); generate, the rows with C = D = 0: B.
  // The first cell's lower half, table 0, makes the carry 0 whatever comes in: no cell to feed one in.
  localparam int unsigned Pairs = (Width + 2) / 2;
  localparam logic [15:0] Init = 16'hC60C;
  logic [2*Pairs-1:0] sum, add, out;
  logic [Pairs:0]     carry;                 // carry[0] is not driven
  assign sum = (2*Pairs)'({sum_o, 1'b0});
  assign add = (2*Pairs)'({a_i, 1'b0});
  assign next = out[Width:1];
  for (genvar i = 0; i < Pairs; i++) begin : gen_carry
    CCU2C #(
      .INIT0(i == 0 ? 16'h0000 : Init), .INIT1(Init), .INJECT1_0("NO"), .INJECT1_1("NO")
    ) u_carry (
      .CIN(carry[i]),
      .A0(sum[2*i]), .B0(add[2*i]), .C0(clear_i), .D0(1'b1),
      .A1(sum[2*i+1]), .B1(add[2*i+1]), .C1(clear_i), .D1(1'b1),
      .S0(out[2*i]), .S1(out[2*i+1]), .COUT(carry[i+1])
    );
  end
`else
  assign next = (clear_i ? '0 : sum_o) + a_i;
`endif

  always_ff @(posedge clk_i) begin
    if (en_i) sum_o <= next;
  end

endmodule

`default_nettype wire
