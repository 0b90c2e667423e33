// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Mean of gradients from sums of table values: sums and their numbers of contributors -> rotated values ->
// Hadamard -> signs D -> fp32. Equal to ref::decompress_block, block by block. Blocks of 2^cfg.block_log2
// coordinates, Lanes a beat; TUSER says how many contributors are in the sums of the beat (0: no
// information, the rotated values count as 0; a sum is at most contributors * granularity); one word at
// s_scale_* for each block (at the latest with its first beat). m_axis has TLAST at the end of a block.
//
// One beat a cycle, blocks back to back; a block leaves without a successor behind it. First beat in to
// first beat out, without gaps and stalls: 2^block_log2 / Lanes - 1 beats and 38 cycles. A stalled sink
// fills a FIFO of 16 beats, then the whole kernel stands still; ready signals come from registers.
// out_of_range_o: since clear_i a value left the number format (ref::Flags), up when the beat that it
// belongs to leaves. Reset and clear_i (pulse while idle) forget what is inside; the next beat is the first
// of a block and coordinate first_i of its tensor. cfg_i and first_i change only with clear_i.

`include "ks_assert.svh"
`default_nettype none

module thc_decompress
  import thc_core_pkg::*;
#(
  parameter int unsigned Lanes = 16,      // coordinates of a beat: 1, 2, 4, 8, 16 or 32
  parameter int unsigned MaxLog2 = 15     // largest block, 10 .. 15
) (
  input  wire logic                   clk_i,
  input  wire logic                   rst_ni,
  input  wire logic                   clear_i,
  /* verilator lint_off UNUSEDSIGNAL */   // no table, no noise on the way back
  input  wire thc_cfg_t               cfg_i,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire logic [63:0]            first_i,      // a multiple of 1024

  input  wire logic                   s_axis_tvalid,
  output logic                        s_axis_tready,
  input  wire logic [Lanes-1:0][15:0] s_axis_tdata,
  input  wire logic [7:0]             s_axis_tuser,

  input  wire logic                   s_scale_tvalid,
  output logic                        s_scale_tready,
  input  wire thc_scale_t             s_scale_tdata,

  output logic                        m_axis_tvalid,
  input  wire logic                   m_axis_tready,
  output logic [Lanes-1:0][31:0]      m_axis_tdata,
  output logic                        m_axis_tlast,

  output logic                        out_of_range_o
);

  if (Lanes < 1 || Lanes > 32 || 2 ** $clog2(Lanes) != Lanes) begin : gen_bad_lanes
    $error("thc_decompress: Lanes must be a power of two up to 32");
  end

  localparam int unsigned W = THC_W;
  localparam int unsigned Depth = 16;
  localparam int unsigned LevelW = $clog2(Depth) + 1;
  localparam int unsigned DequantSteps = 10;   // thc_dequantise
  localparam int unsigned FloatSteps = 5;      // thc_to_float

  logic flush_n;
  assign flush_n = rst_ni && !clear_i;

  // The kernel moves in the cycles with en_q; copies for the fan-out.
  logic              en_d, en_q;
  (* keep *) logic   dequant_en_q, float_en_q;
  logic [LevelW-1:0] level;
  logic              sign_ahead;

  // One beat may come while this is decided, and one when it takes effect; signs are at hand when they are
  // needed.
  assign en_d = level <= LevelW'(Depth - 2) && sign_ahead;
  always_ff @(posedge clk_i) begin
    en_q         <= flush_n && en_d;
    dequant_en_q <= flush_n && en_d;
    float_en_q   <= flush_n && en_d;
  end

  // ---- Input: a beat with its scale.
  localparam int unsigned CountW = MaxLog2 - $clog2(Lanes);
  logic [CountW-1:0] in_count_q, last_count_q;
  logic              take, in_first, in_last;
  logic              scale_valid;
  thc_scale_t        scale;

  ks_skid #(
    .Width($bits(thc_scale_t))
  ) u_scale (
    .clk_i,
    .rst_ni   (flush_n),
    .s_valid_i(s_scale_tvalid),
    .s_ready_o(s_scale_tready),
    .s_data_i (s_scale_tdata),
    .m_valid_o(scale_valid),
    .m_ready_i(take && in_last),
    .m_data_o (scale)
  );

  assign s_axis_tready = en_q && scale_valid;
  assign take          = s_axis_tvalid && s_axis_tready;
  assign in_first      = in_count_q == '0;
  assign in_last       = in_count_q == last_count_q;

  always_ff @(posedge clk_i) begin
    last_count_q <= CountW'((32'd1 << cfg_i.block_log2) / Lanes - 1);
    if (!flush_n)  in_count_q <= '0;
    else if (take) in_count_q <= in_last ? '0 : in_count_q + CountW'(1);
  end

  // ---- Rotated values.
  logic [DequantSteps:1]   v_valid_q;
  logic [15:0]             range;
  logic [3:0]              align;
  logic [17:0]             factor;
  logic [1:0]              shift_q;
  logic [Lanes-1:0][W-1:0] rotated;

  thc_factor u_factor (
    .clk_i,
    .en_i          (dequant_en_q),
    .contributors_i(s_axis_tuser),
    .granularity_i (cfg_i.granularity),
    .scale_i       (scale),
    .range_o       (range),
    .align_o       (align),
    .factor_o      (factor)
  );

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_dequantise
    thc_dequantise u_dequantise (
      .clk_i,
      .en_i    (dequant_en_q),
      .sum_i   (s_axis_tdata[l]),
      .range_i (range),
      .align_i (align),
      .factor_i(factor),
      .shift_i (shift_q),
      .v_o     (rotated[l])
    );
  end

  always_ff @(posedge clk_i) begin
    shift_q <= 2'((cfg_i.block_log2 + 4'd1) / 4'd2 - 4'd5);
    if (!flush_n)          v_valid_q <= '0;
    else if (dequant_en_q) v_valid_q <= {v_valid_q[DequantSteps-1:1], take};
  end

  // ---- Rotation back.
  logic                    back_valid, back_last, back_over, back_take;
  logic [Lanes-1:0][W-1:0] back;
  logic                    sign_valid;
  logic [Lanes-1:0]        sign;
  logic [7:0]              exponent;
  logic                    exponent_empty;

  thc_hadamard_core #(
    .Lanes  (Lanes),
    .MaxLog2(MaxLog2)
  ) u_rotate_back (
    .clk_i,
    .rst_ni,
    .clear_i,
    .en_d_i      (en_d),
    .block_log2_i(cfg_i.block_log2),
    .valid_i     (v_valid_q[DequantSteps]),
    .data_i      (rotated),
    .valid_o     (back_valid),
    .last_o      (back_last),
    .data_o      (back),
    .overflow_o  (back_over)
  );

  thc_sign #(
    .Lanes(Lanes)
  ) u_sign (
    .clk_i,
    .rst_ni,
    .clear_i,
    .key_i    (cfg_i.sign_key),
    .first_i,
    .m_valid_o(sign_valid),
    .m_ready_i(back_take),
    .m_sign_o (sign),
    .ahead_o  (sign_ahead)
  );
  assign back_take = float_en_q && back_valid;

  /* verilator lint_off PINCONNECTEMPTY */   // fewer than 16 blocks are under way
  ks_fifo #(
    .Width(8),
    .Depth(Depth)
  ) u_exponents (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (take && in_first),
    .wdata_i(scale.exponent),
    .full_o (),
    .pop_i  (back_take && back_last),
    .rdata_o(exponent),
    .empty_o(exponent_empty),
    .level_o()
  );
  /* verilator lint_on PINCONNECTEMPTY */

  // ---- fp32.
  logic [Lanes-1:0]        float_range;
  logic [Lanes-1:0][31:0]  float_value;
  logic [FloatSteps:1]     f_valid_q, f_last_q;
  logic                    out_empty;

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_float
    thc_to_float u_to_float (
      .clk_i,
      .en_i          (float_en_q),
      .v_i           (back[l]),
      .negate_i      (sign[l]),
      .exponent_i    (exponent),
      .y_o           (float_value[l]),
      .out_of_range_o(float_range[l])
    );
  end

  always_ff @(posedge clk_i) begin
    if (float_en_q) f_last_q <= {f_last_q[FloatSteps-1:1], back_last};
    if (!flush_n)        f_valid_q <= '0;
    else if (float_en_q) f_valid_q <= {f_valid_q[FloatSteps-1:1], back_valid};
  end

  /* verilator lint_off PINCONNECTEMPTY */   // the level says it all
  ks_fifo #(
    .Width(32 * Lanes + 1),
    .Depth(Depth)
  ) u_out (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (en_q && f_valid_q[FloatSteps]),
    .wdata_i({f_last_q[FloatSteps], float_value}),
    .full_o (),
    .pop_i  (m_axis_tvalid && m_axis_tready),
    .rdata_o({m_axis_tlast, m_axis_tdata}),
    .empty_o(out_empty),
    .level_o(level)
  );
  /* verilator lint_on PINCONNECTEMPTY */
  assign m_axis_tvalid = !out_empty;

  // ---- Flag.
  always_ff @(posedge clk_i) begin
    if (!flush_n) out_of_range_o <= 1'b0;
    else if (back_over || (f_valid_q[FloatSteps] && float_range != '0)) out_of_range_o <= 1'b1;
  end

  // What a beat needs is there when it arrives.
  `KS_ASSERT(SignThere, !flush_n || !back_take || sign_valid)
  `KS_ASSERT(ExponentThere, !flush_n || !back_take || !exponent_empty)

endmodule

`default_nettype wire
