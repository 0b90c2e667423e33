// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One lane of an fp32 adder: y = a + b rounded to nearest even, subnormal numbers count as zeros of their
// sign going in and coming out. Equal to ref::add_ftz for finite numbers; where a, b or the sum is NaN or
// infinite nonfinite_o is high and y_o is 0.
//
// A pipeline of `Latency` = 9 steps that moves where en_i is high, one sum a step; the validity of a value is
// the caller's business. No reset (data path).

`default_nettype none

module thc_add_lane (
  input  wire logic         clk_i,
  input  wire logic         en_i,
  input  wire logic [31:0]  a_i,
  input  wire logic [31:0]  b_i,
  output logic [31:0]       y_o,
  output logic              nonfinite_o
);

  // A significand here has 3 bits below the last place, the lowest of them for all that is below.
  // 1: flushed and compared.
  logic        s1_bad, s1_swap;
  logic [31:0] s1_a, s1_b;
  // 2: in order of magnitude.
  logic        s2_bad, s2_sign, s2_minus;
  logic [7:0]  s2_exp, s2_shift;
  logic [23:0] s2_big, s2_small;
  // 3, 4: the smaller one shifted by 0, 8, 16, 24 or out, then by 0 .. 7.
  logic        s3_bad, s3_sign, s3_minus, s4_bad, s4_sign, s4_minus;
  logic [7:0]  s3_exp, s4_exp;
  logic [23:0] s3_big, s4_big;
  logic [26:0] s3_small, s3_small_d, s4_small, s4_small_d;
  logic [2:0]  s3_shift;
  // 5: sum.
  logic        s5_bad, s5_sign, s5_minus;
  logic [7:0]  s5_exp;
  logic [27:0] s5_sum;
  // 6, 7: leading zeros by 16 and 8, then by 4, 2 and 1.
  logic              s6_bad, s6_sign, s6_zero, s7_bad, s7_sign, s7_zero;
  logic [7:0]        s6_exp;
  logic [27:0]       s6_sum, s6_sum_d, s7_sum_d;
  logic [26:0]       s7_sum;
  logic [1:0]        s6_lz, s6_lz_d;
  logic [2:0]        s7_lz_d;
  logic signed [9:0] s7_exp, s8_exp;
  // 8: rounded, 23 bits and a carry; 9: number.
  logic              s8_bad, s8_sign, s8_zero;
  logic [23:0]       s8_mantissa;
  logic signed [9:0] exp;

  logic [26:0] s2_in;
  assign s2_in = {s2_small, 3'b0};
  always_comb begin
    case (s2_shift[4:3])
      2'd0:    s3_small_d = s2_in;
      2'd1:    s3_small_d = {8'b0, s2_in[26:9], s2_in[8:0] != '0};
      2'd2:    s3_small_d = {16'b0, s2_in[26:17], s2_in[16:0] != '0};
      default: s3_small_d = {24'b0, s2_in[26:25], s2_in[24:0] != '0};
    endcase
    if (s2_shift[7:5] != '0) s3_small_d = {26'b0, s2_small != '0};
  end

  always_comb begin
    s4_small_d = s3_small >> s3_shift;
    for (int unsigned i = 0; i < 7; i++) begin
      if (3'(i) < s3_shift && s3_small[i]) s4_small_d[0] = 1'b1;
    end
  end

  always_comb begin
    s6_sum_d = s5_sum;
    s6_lz_d  = '0;
    if (s6_sum_d[27-:16] == '0) begin
      s6_lz_d[1] = 1'b1;
      s6_sum_d   = s6_sum_d << 16;
    end
    if (s6_sum_d[27-:8] == '0) begin
      s6_lz_d[0] = 1'b1;
      s6_sum_d   = s6_sum_d << 8;
    end
  end

  always_comb begin
    s7_sum_d = s6_sum;
    s7_lz_d  = '0;
    for (int unsigned i = 0; i < 3; i++) begin
      if ((s7_sum_d >> (28 - (4 >> i))) == '0) begin
        s7_lz_d[2-i] = 1'b1;
        s7_sum_d     = s7_sum_d << (4 >> i);
      end
    end
  end

  assign exp = s8_exp + $signed({9'b0, s8_mantissa[23]});

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s1_bad  <= a_i[30:23] == '1 || b_i[30:23] == '1;
      s1_swap <= b_i[30:0] > a_i[30:0];
      s1_a    <= a_i[30:23] == '0 ? {a_i[31], 31'b0} : a_i;
      s1_b    <= b_i[30:23] == '0 ? {b_i[31], 31'b0} : b_i;

      s2_bad   <= s1_bad;
      s2_minus <= s1_a[31] ^ s1_b[31];
      s2_sign  <= s1_swap ? s1_b[31] : s1_a[31];
      s2_exp   <= s1_swap ? s1_b[30:23] : s1_a[30:23];
      s2_big   <= s1_swap ? {s1_b[30:23] != '0, s1_b[22:0]} : {s1_a[30:23] != '0, s1_a[22:0]};
      s2_small <= s1_swap ? {s1_a[30:23] != '0, s1_a[22:0]} : {s1_b[30:23] != '0, s1_b[22:0]};
      s2_shift <= s1_swap ? s1_b[30:23] - s1_a[30:23] : s1_a[30:23] - s1_b[30:23];

      {s3_bad, s3_sign, s3_minus} <= {s2_bad, s2_sign, s2_minus};
      s3_exp   <= s2_exp;
      s3_big   <= s2_big;
      s3_small <= s3_small_d;
      s3_shift <= s2_shift[2:0] & {3{s2_shift[7:5] == '0}};

      {s4_bad, s4_sign, s4_minus} <= {s3_bad, s3_sign, s3_minus};
      s4_exp   <= s3_exp;
      s4_big   <= s3_big;
      s4_small <= s4_small_d;

      {s5_bad, s5_sign, s5_minus} <= {s4_bad, s4_sign, s4_minus};
      s5_exp <= s4_exp;
      s5_sum <= s4_minus ? {1'b0, s4_big, 3'b0} - {1'b0, s4_small}
                         : {1'b0, s4_big, 3'b0} + {1'b0, s4_small};

      s6_bad  <= s5_bad;
      s6_zero <= s5_sum == '0;
      s6_sign <= s5_sign && !(s5_minus && s5_sum == '0);   // x - x is +0
      s6_exp  <= s5_exp;
      s6_sum  <= s6_sum_d;
      s6_lz   <= s6_lz_d;

      s7_bad  <= s6_bad;
      s7_zero <= s6_zero;
      s7_sign <= s6_sign;
      s7_sum  <= s7_sum_d[26:0];
      // The leading one of a sum without carry and cancellation is one place below the top.
      s7_exp  <= $signed({2'b0, s6_exp}) + 10'sd1 - $signed({5'b0, s6_lz, s7_lz_d});

      s8_bad      <= s7_bad;
      s8_zero     <= s7_zero;
      s8_sign     <= s7_sign;
      s8_exp      <= s7_exp;
      s8_mantissa <= 24'(s7_sum[26:4]) + 24'(s7_sum[3] && (s7_sum[2:0] != '0 || s7_sum[4]));

      nonfinite_o <= s8_bad || (!s8_zero && exp >= 10'sd255);
      if (s8_bad)                           y_o <= '0;
      else if (s8_zero || exp <= 10'sd0)    y_o <= {s8_sign, 31'b0};
      else if (exp >= 10'sd255)             y_o <= '0;
      else                                  y_o <= {s8_sign, exp[7:0], s8_mantissa[22:0]};
    end
  end

endmodule

`default_nettype wire
