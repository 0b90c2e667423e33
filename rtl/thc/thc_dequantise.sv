// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One lane from a sum of table values to the rotated value that it stands for: ref::dequantise. The sum
// is at most n * g, the range of thc_factor, whose outputs come in at the steps at which they are ready.
//
// (2 S - n g) * 2^align is a number of 16 bits and sign; times the factor, shifted right by 12 + shift_i,
// rounded to nearest even. A pipeline of 10 steps that moves where en_i is high, one sum a step. No reset
// (data path).

`default_nettype none

module thc_dequantise #(
  localparam int unsigned W = 27
) (
  input  wire logic          clk_i,
  input  wire logic          en_i,
  input  wire logic [15:0]   sum_i,
  input  wire logic [15:0]   range_i,    // step 2
  input  wire logic [3:0]    align_i,    // step 3
  input  wire logic [17:0]   factor_i,   // step 6
  input  wire logic [1:0]    shift_i,    // (block_log2 + 1) / 2 - 5, constant
  output logic [W-1:0]       v_o         // signed
);

  logic [15:0] s1_sum, s2_sum;
  logic [16:0] s3_distance, distance;    // signed; of 2 S from the range
  logic        s4_sign, s5_sign, s6_sign, s7_sign, s8_sign, s9_sign;
  logic [15:0] s4_magnitude, s5_magnitude, s6_magnitude;
  logic [3:0]  s4_align;
  logic [33:0] s7_product, shifted;
  logic [22:0] s8_quotient, s9_rounded;
  logic        s8_up;

  assign distance = s3_distance;
  // By 0..3; 12 fraction bits are left.
  assign shifted = s7_product >> shift_i;

  // The bits that leave, as one.
  logic sticky;
  always_comb begin
    sticky = shifted[10:0] != '0;
    for (int unsigned i = 0; i < 3; i++) begin
      if (i < 32'(shift_i)) sticky = sticky || s7_product[i];
    end
  end

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s1_sum <= sum_i;
      s2_sum <= s1_sum;

      s3_distance <= {s2_sum, 1'b0} - {1'b0, range_i};

      s4_sign      <= distance[16];
      s4_magnitude <= distance[16] ? -distance[15:0] : distance[15:0];
      s4_align     <= align_i;

      s5_sign      <= s4_sign;
      s5_magnitude <= s4_magnitude << s4_align;

      s6_sign      <= s5_sign;
      s6_magnitude <= s5_magnitude;

      s7_sign    <= s6_sign;
      s7_product <= 34'(s6_magnitude) * 34'(factor_i);

      s8_sign     <= s7_sign;
      s8_quotient <= 23'(shifted[33:12]);
      s8_up       <= shifted[11] && (sticky || shifted[12]);

      s9_sign    <= s8_sign;
      s9_rounded <= s8_quotient + 23'(s8_up);

      v_o <= s9_sign ? -W'(s9_rounded) : W'(s9_rounded);
    end
  end

endmodule

`default_nettype wire
