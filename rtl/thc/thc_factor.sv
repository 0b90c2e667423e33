// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// What a beat of sums is multiplied by on its way back to rotated values, from its number of contributors
// n and the scale of its block: the factor t m / (g n) of ref::dequantise, with 1 / n from a table.
//
// A pipeline that moves where en_i is high, one beat a step. After 2 steps range_o = n * g, the sum of n
// largest table values; after 3 align_o = 16 - bits of it; after 6 factor_o = t m / (g n) * 2^(29 - align),
// rounded half up, 0 without contributors and in a zero block. No reset (data path).

`default_nettype none

module thc_factor (
  input  wire logic                       clk_i,
  input  wire logic                       en_i,
  input  wire logic [7:0]                 contributors_i,
  input  wire logic [7:0]                 granularity_i,
  /* verilator lint_off UNUSEDSIGNAL */   // gain: the way forth only
  input  wire thc_core_pkg::thc_scale_t   scale_i,
  /* verilator lint_on UNUSEDSIGNAL */
  output logic [15:0]                     range_o,
  output logic [3:0]                      align_o,
  output logic [17:0]                     factor_o
);

  // 1 / n = mantissa * 2^-(16 + shift), mantissa of 17 bits, to the nearest.
  typedef struct packed {
    logic [3:0]  shift;
    logic [16:0] mantissa;
  } reciprocal_t;

  function automatic reciprocal_t [255:0] reciprocals();
    reciprocal_t [255:0] table_of;
    table_of[0] = '0;
    for (int unsigned n = 1; n < 256; n++) begin
      table_of[n].shift    = 4'($clog2(n));
      table_of[n].mantissa = 17'(((32'd1 << (16 + $clog2(n))) + n / 2) / n);
    end
    return table_of;
  endfunction
  localparam reciprocal_t [255:0] Reciprocals = reciprocals();

  // 1: the beat.
  logic        s1_zero;
  logic [7:0]  s1_n;
  logic [16:0] s1_step;
  logic [4:0]  s1_shift;
  // 2: range, reciprocal.
  logic        s2_zero;
  reciprocal_t s2_reciprocal;
  logic [16:0] s2_step;
  logic [4:0]  s2_shift;
  // 3: product, align.
  logic        s3_zero;
  /* verilator lint_off UNUSEDSIGNAL */   // 14 bits more than are looked at
  logic [33:0] product;
  /* verilator lint_on UNUSEDSIGNAL */
  logic [33:14] s3_product;
  logic [5:0]  s3_shift;
  logic [3:0]  align;
  // 4: how far beyond 15 to shift: 0..5.
  logic        s4_zero;
  logic [33:14] s4_product;
  logic [2:0]  s4_shift, s4_shift_d;
  // 5: twice the factor.
  logic        s5_zero;
  logic [18:0] s5_twice;

  always_comb begin
    align = 4'd15;
    for (int unsigned i = 1; i < 16; i++) begin
      if (range_o[i]) align = 4'(15 - i);
    end
  end
  assign product = 34'(s2_step) * 34'(s2_reciprocal.mantissa);
  // step_shift + shift of the reciprocal + align - 13 lies in 15..20.
  assign s4_shift_d = 3'(s3_shift + 6'(align_o) - 6'd28);

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s1_n     <= contributors_i;
      s1_zero  <= contributors_i == '0 || scale_i.exponent == '0;
      s1_step  <= scale_i.step;
      s1_shift <= scale_i.step_shift;

      range_o       <= 16'(s1_n) * 16'(granularity_i);
      s2_reciprocal <= Reciprocals[s1_n];
      s2_zero       <= s1_zero;
      s2_step       <= s1_step;
      s2_shift      <= s1_shift;

      align_o    <= align;
      s3_product <= product[33:14];
      s3_shift   <= 6'(s2_shift) + 6'(s2_reciprocal.shift);
      s3_zero    <= s2_zero;

      s4_product <= s3_product;
      s4_shift   <= s4_shift_d;
      s4_zero    <= s3_zero;

      s5_twice <= 19'(s4_product >> s4_shift);
      s5_zero  <= s4_zero;

      factor_o <= s5_zero ? '0 : 18'((20'(s5_twice) + 20'd1) >> 1);
    end
  end

endmodule

`default_nettype wire
