// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// One requantisation lane: 32-bit value, Q31 multiplier, right shift -> int8.
//
//   q = (x * mult + 2^30) >> 31            (rounds half up, as the doubling high multiply does)
//   q = rounding_divide_by_pot(q, shift)   (rounds half away from zero)
//   y = clamp(q + zp, min, max)
//
// Wide: x = x0_i << ls_i (modulo 2^32), or special_x_i with special_i; its 32 x 31 bit product is made of four
// 18 x 18 products, and y0_o is the result. Narrow: x0_i and x1_i saturate at 18 bits and take two products
// each, results y0_o and y1_o. With sum_i, q is added to sum_o, which is zero before the first of consecutive
// values with sum_i.
// Fully pipelined, no stall; with x0_i valid in cycle t the results are at y0_o and y1_o in cycle t+9, the sum
// at sum_o in cycle t+8. Parameters travel along. Data path without reset.

`default_nettype none

module hv_requant (
  input  wire logic               clk_i,
  input  wire logic               narrow_i,
  input  wire logic signed [31:0] x0_i,
  input  wire logic signed [31:0] x1_i,
  input  wire logic [1:0]         ls_i,      // 0 when narrow
  input  wire logic               special_i, // not with narrow_i
  input  wire logic signed [31:0] special_x_i,
  input  wire logic               sum_i,
  input  wire logic [30:0]        mult_i,
  input  wire logic [4:0]         shift_i,
  input  wire logic signed [7:0]  zp_i,
  input  wire logic signed [7:0]  min_i,
  input  wire logic signed [7:0]  max_i,
  output logic signed [7:0]       y0_o,
  output logic signed [7:0]       y1_o,
  output logic signed [30:0]      sum_o
);

  typedef struct packed {
    logic              narrow, sum;
    logic [4:0]        shift;
    logic signed [7:0] zp, lo, hi;
  } ctl_t;
  ctl_t [8:1] c_q;                           // i cycles after the inputs
  logic [30:0] mult_q;

  always_ff @(posedge clk_i) begin
    c_q <= {c_q[7:1], ctl_t'{narrow: narrow_i, sum: sum_i, shift: shift_i, zp: zp_i, lo: min_i, hi: max_i}};
    mult_q <= mult_i;
  end

  // 1: left shift or saturation.
  logic signed [31:0] x_q;
  logic signed [17:0] x1_q;
  logic               over0, over1;
  assign over0 = narrow_i && x0_i[31:17] != {15{x0_i[31]}};
  assign over1 = x1_i[31:17] != {15{x1_i[31]}};
  always_ff @(posedge clk_i) begin
    x_q <= special_i ? special_x_i : x0_i << ls_i;
    if (over0) x_q[17:0] <= {x0_i[31], {17{!x0_i[31]}}};
    x1_q <= over1 ? {x1_i[31], {17{!x1_i[31]}}} : x1_i[17:0];
  end

  // 2: operands of the multipliers, in their registers. Wide: a is the low half of x, not negative, b the high one.
  logic signed [17:0] a, b, mh, ml;
  logic [5:2]         neg0_q, neg1_q;        // sign of x
  assign a  = {c_q[1].narrow && x_q[17], x_q[16:0]};
  assign b  = c_q[1].narrow ? x1_q : 18'($signed(x_q[31:17]));
  assign mh = {4'b0, mult_q[30:17]};
  assign ml = {1'b0, mult_q[16:0]};
  always_ff @(posedge clk_i) begin
    neg0_q <= {neg0_q[4:2], c_q[1].narrow ? x_q[17] : x_q[31]};
    neg1_q <= {neg1_q[4:2], x1_q[17]};
  end

  // 3: products. 4: floor(half * mult / 2^17).
  /* verilator lint_off UNUSEDSIGNAL */  // the value ranges leave upper bits free, quotients lower ones
  logic signed [35:0] ah_q, al_q, bh_q, bl_q;
  logic signed [31:0] a4_q, b4_q, b5_q;
  /* verilator lint_on UNUSEDSIGNAL */
  ks_mul_reg u_ah (.clk_i, .en_ab_i(1'b1), .en_p_i(1'b1), .a_i(a), .b_i(mh), .p_o(ah_q));
  ks_mul_reg u_al (.clk_i, .en_ab_i(1'b1), .en_p_i(1'b1), .a_i(a), .b_i(ml), .p_o(al_q));
  ks_mul_reg u_bh (.clk_i, .en_ab_i(1'b1), .en_p_i(1'b1), .a_i(b), .b_i(mh), .p_o(bh_q));
  ks_mul_reg u_bl (.clk_i, .en_ab_i(1'b1), .en_p_i(1'b1), .a_i(b), .b_i(ml), .p_o(bl_q));

  logic signed [31:0] a_sum, b_sum;
  logic [28:0]        up_q;                  // b4_q where it counts in the wide product
  logic [16:0]        low_q;                 // and what is below it
  assign a_sum = 32'(ah_q) + 32'($signed(al_q[34:17]));
  assign b_sum = 32'(bh_q) + 32'($signed(bl_q[34:17]));
  always_ff @(posedge clk_i) begin
    a4_q <= a_sum;
    b4_q <= b_sum;
    if (c_q[3].narrow) begin
      up_q  <= '0;
      low_q <= '0;
    end else begin
      up_q  <= b_sum[28:0];
      low_q <= bl_q[16:0];
    end
  end

  // 5: floor(x * mult / 2^17).
  /* verilator lint_off UNUSEDSIGNAL */  // only the quotient is needed
  logic signed [45:0] w_q;
  /* verilator lint_on UNUSEDSIGNAL */
  always_ff @(posedge clk_i) begin
    w_q  <= 46'(a4_q) + $signed({up_q, low_q});
    b5_q <= b4_q;
  end

  // 6: q = (x * mult + 2^30) >> 31, less one when x is negative and a right shift follows: then rounding half
  // away from zero is adding the last bit that the shift drops.
  logic signed [31:0] t0_q;
  logic signed [18:0] t1_q;
  logic               less0, less1;
  /* verilator lint_off UNUSEDSIGNAL */  // bit 0 takes the carry in
  logic signed [32:0] t0;
  logic signed [19:0] t1;
  /* verilator lint_on UNUSEDSIGNAL */
  assign less0 = neg0_q[5] && c_q[5].shift != 0;
  assign less1 = neg1_q[5] && c_q[5].shift != 0;
  assign t0 = $signed({w_q[45:14], 1'b1}) + $signed({{32{less0}}, w_q[13]});
  assign t1 = $signed({b5_q[31], b5_q[31:14], 1'b1}) + $signed({{19{less1}}, b5_q[13]});
  always_ff @(posedge clk_i) begin
    t0_q <= t0[32:1];
    t1_q <= t1[19:1];
  end

  // 7: right shift, with the last bit dropped.
  logic signed [32:0] s0_q;
  logic signed [19:0] s1_q;
  always_ff @(posedge clk_i) begin
    s0_q <= $signed({t0_q, 1'b0}) >>> c_q[6].shift;
    s1_q <= $signed({t1_q, 1'b0}) >>> c_q[6].shift;
  end

  // 8: rounding and zero point. Beyond +-512 any zero point leaves the value outside the clamp.
  /* verilator lint_off UNUSEDSIGNAL */  // bit 0 takes the carry in
  logic signed [11:0] r0, r1;
  logic signed [31:0] total;
  /* verilator lint_on UNUSEDSIGNAL */
  logic signed [10:0] r0_q, r1_q;
  logic               big0_q, big1_q, sign0_q, sign1_q;
  assign r0 = {s0_q[11:1], 1'b1} + {11'(c_q[7].zp), s0_q[0]};
  assign r1 = {s1_q[11:1], 1'b1} + {11'(c_q[7].zp), s1_q[0]};
  assign total = {sum_o, 1'b1} + s0_q[31:0];
  always_ff @(posedge clk_i) begin
    r0_q    <= r0[11:1];
    r1_q    <= r1[11:1];
    big0_q  <= s0_q[32:10] != {23{s0_q[32]}};
    big1_q  <= s1_q[19:10] != {10{s1_q[19]}};
    sign0_q <= s0_q[32];
    sign1_q <= s1_q[19];
    if (c_q[7].sum) sum_o <= total[31:1];
    else sum_o <= '0;
  end

  // 9: clamp.
  function automatic logic signed [7:0] clamp(input logic big, input logic sign, input logic signed [10:0] v,
                                              input logic signed [7:0] lo, input logic signed [7:0] hi);
    if (big) return sign ? lo : hi;
    return v < 11'(lo) ? lo : v > 11'(hi) ? hi : v[7:0];
  endfunction
  always_ff @(posedge clk_i) begin
    y0_o <= clamp(big0_q, sign0_q, r0_q, c_q[8].lo, c_q[8].hi);
    y1_o <= clamp(big1_q, sign1_q, r1_q, c_q[8].lo, c_q[8].hi);
  end

endmodule

`default_nettype wire
