// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One lane from block fixed point to fp32: the number v_i * 2^(exponent_i - 127 - 22), negated where
// negate_i is high (the sign of the rotation), rounded to nearest even. Equal to ref::to_float.
//
// Zero and everything below 2^-126 become +0, as does every value of a block with exponent 0; what is
// beyond the largest finite number becomes that number with out_of_range_o beside it.
// A pipeline of `Latency` = 5 steps that moves where en_i is high, one value a step; the validity of a
// value is the caller's business. No reset (data path).

`default_nettype none

module thc_to_float #(
  localparam int unsigned W = 27   // bits of block fixed point
) (
  input  wire logic          clk_i,
  input  wire logic          en_i,
  input  wire logic [W-1:0]  v_i,          // signed
  input  wire logic          negate_i,
  input  wire logic [7:0]    exponent_i,   // biased, of the block's norm; 0: the block is zero
  output logic [31:0]        y_o,
  output logic               out_of_range_o
);

  // 1: sign and magnitude (up to 2^26).
  logic         s1_sign, s1_zero;
  logic [W-1:0] s1_mag;
  logic [7:0]   s1_exp;
  // 2: leading zeros by 16 and 8.
  logic         s2_sign, s2_zero;
  logic [W-1:0] s2_mag, s2_mag_d;
  logic [1:0]   s2_lz, s2_lz_d;
  logic [7:0]   s2_exp;
  // 3: leading zeros by 4, 2 and 1: the bits behind the leading one, and its exponent field.
  logic              s3_sign, s3_zero;
  logic [W-1:0]      s3_mag_d;
  logic [W-2:0]      s3_mag;
  logic [2:0]        s3_lz_d;
  logic signed [9:0] s3_field, s3_field_d;
  // 4: 23 bits behind the leading one, rounded, with a carry.
  logic              s4_sign, s4_zero;
  logic [23:0]       s4_mantissa, s4_mantissa_d;
  logic signed [9:0] s4_field;
  // 5: number.
  logic signed [9:0] field;

  always_comb begin
    s2_mag_d = s1_mag;
    s2_lz_d  = '0;
    if (s2_mag_d[W-1-:16] == '0) begin
      s2_lz_d[1] = 1'b1;
      s2_mag_d   = s2_mag_d << 16;
    end
    if (s2_mag_d[W-1-:8] == '0) begin
      s2_lz_d[0] = 1'b1;
      s2_mag_d   = s2_mag_d << 8;
    end
  end

  always_comb begin
    s3_mag_d = s2_mag;
    s3_lz_d  = '0;
    for (int unsigned i = 0; i < 3; i++) begin
      if ((s3_mag_d >> (W - (4 >> i))) == '0) begin
        s3_lz_d[2-i] = 1'b1;
        s3_mag_d     = s3_mag_d << (4 >> i);
      end
    end
    // exponent + 26 - leading zeros - 22.
    s3_field_d = $signed({2'b0, s2_exp}) + 10'sd4 - $signed({5'b0, s2_lz, s3_lz_d});
  end

  // Half of the last place, ties to even.
  assign s4_mantissa_d =
      24'(s3_mag[W-2:3]) + 24'(s3_mag[2] && (s3_mag[1:0] != '0 || s3_mag[3]));

  assign field = s4_field + $signed({9'b0, s4_mantissa[23]});

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s1_sign <= v_i[W-1] ^ negate_i;
      s1_mag  <= v_i[W-1] ? -v_i : v_i;
      s1_zero <= exponent_i == '0 || v_i == '0;
      s1_exp  <= exponent_i;

      s2_sign <= s1_sign;
      s2_zero <= s1_zero;
      s2_mag  <= s2_mag_d;
      s2_lz   <= s2_lz_d;
      s2_exp  <= s1_exp;

      s3_sign  <= s2_sign;
      s3_zero  <= s2_zero;
      s3_mag   <= s3_mag_d[W-2:0];
      s3_field <= s3_field_d;

      s4_sign     <= s3_sign;
      s4_zero     <= s3_zero;
      s4_mantissa <= s4_mantissa_d;
      s4_field    <= s3_field;

      out_of_range_o <= !s4_zero && field >= 10'sd255;
      if (s4_zero || field <= 10'sd0) y_o <= '0;
      else if (field >= 10'sd255)     y_o <= {s4_sign, 31'h7F7FFFFF};
      // A carry leaves zeros.
      else                            y_o <= {s4_sign, field[7:0], s4_mantissa[22:0]};
    end
  end

endmodule

`default_nettype wire
