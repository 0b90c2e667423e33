// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Signed multiplier of up to 18 x 18 bits with registers for the operands and for the product.
//
// en_ab_i: the operands are taken; en_p_i: the product of the operands taken before is. Latency 2 cycles with both
// high; registers hold otherwise. No reset (data path).
// On ECP5 (KESTREL_ECP5 defined) all registers are those inside a MULT18X18D, which synthesis does not use by itself.
// Simulation and other devices take the expression; the test of netlists holds the ECP5 form against it.

`default_nettype none

module ks_mul_reg #(
  parameter int unsigned WidthA = 18,
  parameter int unsigned WidthB = 18
) (
  input  wire logic                     clk_i,
  input  wire logic                     en_ab_i,
  input  wire logic                     en_p_i,
  input  wire logic [WidthA-1:0]        a_i,   // signed
  input  wire logic [WidthB-1:0]        b_i,   // signed
  output logic signed [WidthA+WidthB-1:0] p_o
);

  if (WidthA > 18 || WidthB > 18) begin : gen_width
    $error("ks_mul_reg: operands have up to 18 bits");
  end

`ifdef KESTREL_ECP5
  logic [17:0] a, b;
  /* verilator lint_off UNUSEDSIGNAL */  // the sign, where operands are narrower
  logic [35:0] p;
  /* verilator lint_on UNUSEDSIGNAL */
  assign a   = 18'($signed(a_i));
  assign b   = 18'($signed(b_i));
  assign p_o = p[WidthA+WidthB-1:0];
  MULT18X18D #(
    .REG_INPUTA_CLK("CLK0"), .REG_INPUTA_CE("CE0"), .REG_INPUTB_CLK("CLK0"), .REG_INPUTB_CE("CE0"),
    .REG_OUTPUT_CLK("CLK0"), .REG_OUTPUT_CE("CE1")
  ) u_mul (
    .CLK0(clk_i), .CE0(en_ab_i), .CE1(en_p_i), .RST0(1'b0),
    .SIGNEDA(1'b1), .SIGNEDB(1'b1), .SOURCEA(1'b0), .SOURCEB(1'b0),
    .A0(a[0]), .A1(a[1]), .A2(a[2]), .A3(a[3]), .A4(a[4]), .A5(a[5]), .A6(a[6]), .A7(a[7]), .A8(a[8]),
    .A9(a[9]), .A10(a[10]), .A11(a[11]), .A12(a[12]), .A13(a[13]), .A14(a[14]), .A15(a[15]), .A16(a[16]),
    .A17(a[17]),
    .B0(b[0]), .B1(b[1]), .B2(b[2]), .B3(b[3]), .B4(b[4]), .B5(b[5]), .B6(b[6]), .B7(b[7]), .B8(b[8]),
    .B9(b[9]), .B10(b[10]), .B11(b[11]), .B12(b[12]), .B13(b[13]), .B14(b[14]), .B15(b[15]), .B16(b[16]),
    .B17(b[17]),
    .P0(p[0]), .P1(p[1]), .P2(p[2]), .P3(p[3]), .P4(p[4]), .P5(p[5]), .P6(p[6]), .P7(p[7]), .P8(p[8]),
    .P9(p[9]), .P10(p[10]), .P11(p[11]), .P12(p[12]), .P13(p[13]), .P14(p[14]), .P15(p[15]), .P16(p[16]),
    .P17(p[17]), .P18(p[18]), .P19(p[19]), .P20(p[20]), .P21(p[21]), .P22(p[22]), .P23(p[23]), .P24(p[24]),
    .P25(p[25]), .P26(p[26]), .P27(p[27]), .P28(p[28]), .P29(p[29]), .P30(p[30]), .P31(p[31]), .P32(p[32]),
    .P33(p[33]), .P34(p[34]), .P35(p[35])
  );
`else
  logic signed [WidthA-1:0] a_q;
  logic signed [WidthB-1:0] b_q;
  always_ff @(posedge clk_i) begin
    if (en_ab_i) begin
      a_q <= a_i;
      b_q <= b_i;
    end
    if (en_p_i) p_o <= (WidthA+WidthB)'(a_q) * (WidthA+WidthB)'(b_q);
  end
`endif

endmodule

`default_nettype wire
