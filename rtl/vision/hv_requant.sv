// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// One requantisation lane: 32-bit value, Q31 multiplier, right shift -> int8.
//
//   q = (x * mult + 2^30) >> 31            (rounds half up, as the doubling high multiply does)
//   q = rounding_divide_by_pot(q, shift)   (rounds half away from zero)
//   y = clamp(q + zp, min, max)
//
// The 32 x 31 bit product is made of four signed 18 x 18 products. Fully pipelined, no stall; with x_i valid in
// cycle t the result is at y_o in cycle t+6. Parameters travel along. Data path without reset.

`default_nettype none

module hv_requant (
  input  wire logic               clk_i,
  input  wire logic               en_i,      // x_i is valid (saves toggling only)
  input  wire logic signed [31:0] x_i,
  input  wire logic [30:0]        mult_i,
  input  wire logic [4:0]         shift_i,
  input  wire logic signed [7:0]  zp_i,
  input  wire logic signed [7:0]  min_i,
  input  wire logic signed [7:0]  max_i,
  output logic signed [7:0]       y_o
);

  logic [5:1]        v_q;
  logic [4:2][4:0]   s_q;
  logic [4:0]        s1_q;
  typedef struct packed {
    logic signed [7:0] zp, lo, hi;
  } range_t;
  range_t [5:1] r_q;

  // Products.
  logic signed [17:0] xh, xl, mh, ml;
  assign xh = 18'($signed(x_i[31:17]));
  assign xl = {1'b0, x_i[16:0]};
  assign mh = {4'b0, mult_i[30:17]};
  assign ml = {1'b0, mult_i[16:0]};

  /* verilator lint_off UNUSEDSIGNAL */  // the value ranges leave upper bits free
  logic signed [35:0] hh_q, hl_q, lh_q, ll_q;
  /* verilator lint_on UNUSEDSIGNAL */
  logic signed [63:0] base_q;
  logic signed [37:0] mid_q;
  /* verilator lint_off UNUSEDSIGNAL */  // only the quotient is needed
  logic signed [63:0] total;
  /* verilator lint_on UNUSEDSIGNAL */
  logic signed [31:0] q_q;
  logic [32:0]        half;
  /* verilator lint_off UNUSEDSIGNAL */  // bit 0 takes the carry in
  logic signed [33:0] rnd;
  /* verilator lint_on UNUSEDSIGNAL */
  logic signed [32:0] rnd_q;
  logic signed [31:0] div_q;
  logic signed [9:0]  sat;                    // div_q where it matters
  logic signed [10:0] out;

  assign total = base_q + (64'(mid_q) <<< 17);

  // Rounding half away from zero before a right shift by s adds 2^(s-1) - 1, and one more to values that are not
  // negative: a row of s-1 ones and a carry in.
  for (genvar i = 0; i < 30; i++) begin : gen_half
    assign half[i] = s_q[3] > 5'(i + 1);
  end
  assign half[32:30] = '0;
  assign rnd = $signed({33'(q_q), 1'b1}) + $signed({half, !q_q[31] && s_q[3] != 0});

  // Beyond +-512 any zero point leaves the value outside the clamp.
  assign sat = div_q > 32'sd511 ? 10'sd511 : div_q < -32'sd512 ? -10'sd512 : div_q[9:0];
  assign out = 11'(sat) + 11'(r_q[5].zp);

  always_ff @(posedge clk_i) begin
    v_q <= {v_q[4:1], en_i};
    r_q <= {r_q[4:1], range_t'{zp: zp_i, lo: min_i, hi: max_i}};
    s1_q <= shift_i;
    s_q  <= {s_q[3:2], s1_q};
    if (en_i) begin
      hh_q <= 36'(xh) * 36'(mh);
      hl_q <= 36'(xh) * 36'(ml);
      lh_q <= 36'(xl) * 36'(mh);
      ll_q <= 36'(xl) * 36'(ml);
    end
    if (v_q[1]) begin
      // The low product is below 2^34, the high one is added above it without carry.
      base_q <= {hh_q[29:0], ll_q[33:0]} + 64'sd1073741824;
      mid_q  <= 38'(hl_q) + 38'(lh_q);
    end
    if (v_q[2]) q_q <= total[62:31];
    if (v_q[3]) rnd_q <= rnd[33:1];
    if (v_q[4]) div_q <= 32'(rnd_q >>> s_q[4]);
    if (v_q[5]) begin
      y_o <= (out < 11'(r_q[5].lo)) ? r_q[5].lo : (out > 11'(r_q[5].hi)) ? r_q[5].hi : out[7:0];
    end
  end

endmodule

`default_nettype wire
