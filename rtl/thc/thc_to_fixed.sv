// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One lane from fp32 to block fixed point: x_i / 2^(exponent_i - 127 - 22), negated where negate_i is high
// (the sign of the rotation), rounded to nearest even. Equal to ref::to_fixed.
//
// Subnormal numbers, and every number in a block with exponent 0, become 0; numbers from 4 times the
// block's power of two on become +-2^24 with out_of_range_o beside them. NaN and infinity are the caller's
// business (they count as large numbers). A pipeline of `Latency` = 4 steps that moves where en_i is
// high, one value a step; the validity of a value is the caller's business. No reset (data path).

`default_nettype none

module thc_to_fixed #(
  localparam int unsigned W = 27   // bits of block fixed point
) (
  input  wire logic          clk_i,
  input  wire logic          en_i,
  input  wire logic [31:0]   x_i,
  input  wire logic          negate_i,
  input  wire logic [7:0]    exponent_i,   // biased, of the block's norm; 0: the block is zero
  output logic [W-1:0]       v_o,          // signed
  output logic               out_of_range_o
);

  // 1: shift to the right of the significand, -254 .. 255.
  logic        s1_negative, s1_zero;
  logic [23:0] s1_significand;
  logic [9:0]  s1_shift;
  // 2: shifted by 0, 8, 16 or 24; a bit below the last place, and whether anything was lost below it.
  logic        s2_negative, s2_zero, s2_huge, s2_sticky, s2_sticky_d;
  logic [24:0] s2_m, s2_m_d, s2_in;
  logic [2:0]  s2_shift;
  // 3: shifted by 0 .. 7.
  logic        s3_negative, s3_huge, s3_sticky, s3_sticky_d, s3_half;
  logic [24:0] s3_m, s3_m_d;
  logic        round_up;

  assign s2_in = {s1_significand, 1'b0};
  always_comb begin
    case (s1_shift[4:3])
      2'd0: begin
        s2_m_d      = s2_in;
        s2_sticky_d = 1'b0;
      end
      2'd1: begin
        s2_m_d      = s2_in >> 8;
        s2_sticky_d = s2_in[7:0] != '0;
      end
      2'd2: begin
        s2_m_d      = s2_in >> 16;
        s2_sticky_d = s2_in[15:0] != '0;
      end
      default: begin
        s2_m_d      = s2_in >> 24;
        s2_sticky_d = s2_in[23:0] != '0;
      end
    endcase
  end

  always_comb begin
    s3_m_d      = s2_m >> s2_shift;
    s3_sticky_d = s2_sticky;
    for (int unsigned i = 0; i < 7; i++) begin
      if (3'(i) < s2_shift && s2_m[i]) s3_sticky_d = 1'b1;
    end
  end

  assign round_up = s3_half && (s3_sticky || s3_m[0]);

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s1_negative    <= x_i[31] ^ negate_i;
      s1_zero        <= x_i[30:23] == '0 || exponent_i == '0;
      s1_significand <= {1'b1, x_i[22:0]};
      s1_shift       <= {2'b0, exponent_i} + 10'd1 - {2'b0, x_i[30:23]};

      s2_negative <= s1_negative;
      s2_huge     <= s1_shift[9] && !s1_zero;
      s2_zero     <= s1_zero || s1_shift > 10'd25;   // below half of the last place
      s2_m        <= s2_m_d;
      s2_sticky   <= s2_sticky_d;
      s2_shift    <= s1_shift[2:0];

      s3_negative <= s2_negative;
      s3_huge     <= s2_huge;
      s3_m        <= s2_huge ? 25'h1000000 : s2_zero ? '0 : {1'b0, s3_m_d[24:1]};
      s3_half     <= s3_m_d[0] && !s2_huge && !s2_zero;
      s3_sticky   <= s3_sticky_d;

      // -(m + r) = ~m + 1 - r
      v_o <= ({2'b0, s3_m} ^ {W{s3_negative}}) + {{(W-1){1'b0}}, s3_negative ^ round_up};
      out_of_range_o <= s3_huge;
    end
  end

endmodule

`default_nettype wire
