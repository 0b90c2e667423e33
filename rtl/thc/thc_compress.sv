// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Compression of gradients: y (fp32) -> fixed point -> signs D -> Hadamard -> table indices with random
// rounding; and with error_out_i what the indices do not say, as fp32: y less what they decode to. Equal to
// ref::compress_block, block by block. Blocks of 2^cfg.block_log2 coordinates, Lanes a beat; one word at
// s_scale_* for each (at the latest with the block's first beat).
//
// m_axis: indices of 4 bits, an even lane in the upper half of its byte. m_err: error feedback (no beats
// where error_out_i is low). Both with tlast at the end of a block. One beat a cycle, blocks back to back.
// First beat in to first beat of indices, without gaps and stalls: 2^block_log2 / Lanes - 1 beats and 38
// cycles; to the error feedback twice the beats and 67 cycles. A stalled sink fills a FIFO of 16 beats,
// then the whole kernel stands still; ready signals come from registers. out_of_range_o: since clear_i a
// value left the number format (ref::Flags), up when the beat that it belongs to leaves. Reset and clear_i
// (pulse while idle) forget what is inside; the next beat is the first of a block and coordinate first_i
// of its tensor. cfg_i, first_i and error_out_i change only with clear_i; the first beat is taken 22
// cycles later.

`include "ks_assert.svh"
`default_nettype none

module thc_compress
  import thc_core_pkg::*;
#(
  parameter int unsigned Lanes = 16,      // coordinates of a beat: 1, 2, 4, 8 or 16
  parameter int unsigned MaxLog2 = 15     // largest block, 10 .. 15
) (
  input  wire logic                   clk_i,
  input  wire logic                   rst_ni,
  input  wire logic                   clear_i,
  input  wire thc_cfg_t               cfg_i,
  input  wire logic [63:0]            first_i,      // a multiple of 1024
  input  wire logic                   error_out_i,

  input  wire logic                   s_axis_tvalid,
  output logic                        s_axis_tready,
  input  wire logic [Lanes-1:0][31:0] s_axis_tdata,

  input  wire logic                   s_scale_tvalid,
  output logic                        s_scale_tready,
  input  wire thc_scale_t             s_scale_tdata,

  output logic                        m_axis_tvalid,
  input  wire logic                   m_axis_tready,
  output logic [Lanes*4-1:0]          m_axis_tdata,
  output logic                        m_axis_tlast,

  output logic                        m_err_tvalid,
  input  wire logic                   m_err_tready,
  output logic [Lanes-1:0][31:0]      m_err_tdata,
  output logic                        m_err_tlast,

  output logic                        out_of_range_o
);

  if (Lanes < 1 || Lanes > 16 || 2 ** $clog2(Lanes) != Lanes) begin : gen_bad_lanes
    $error("thc_compress: Lanes must be a power of two up to 16");
  end

  localparam int unsigned W = THC_W;
  localparam int unsigned Depth = 16;
  localparam int unsigned LevelW = $clog2(Depth) + 1;
  localparam int unsigned FixSteps = 4;        // thc_to_fixed
  localparam int unsigned QuantSteps = 11;     // thc_quantise
  localparam int unsigned GainStep = 2;
  localparam int unsigned NoiseStep = 8;
  localparam int unsigned FloatSteps = 5;      // thc_to_float

  logic flush_n;
  assign flush_n = rst_ni && !clear_i;

  // The kernel moves in the cycles with en_q; copies for the fan-out.
  logic              en_d, en_q;
  (* keep *) logic   fix_en_q, quant_en_q, error_en_q, float_en_q;
  logic [LevelW-1:0] index_level, error_level;
  logic              noise_ahead, error_sign_ahead;

  // Of each output one beat may come while this is decided, and one when it takes effect; noise and signs
  // are at hand when they are needed.
  assign en_d = index_level <= LevelW'(Depth - 2) && error_level <= LevelW'(Depth - 2) &&
                noise_ahead && error_sign_ahead;
  always_ff @(posedge clk_i) begin
    en_q       <= flush_n && en_d;
    fix_en_q   <= flush_n && en_d;
    quant_en_q <= flush_n && en_d;
    error_en_q <= flush_n && en_d;
    float_en_q <= flush_n && en_d;
  end

  // ---- Input: a beat with its scale and its signs.
  localparam int unsigned CountW = MaxLog2 - $clog2(Lanes);
  logic [CountW-1:0]      in_count_q, last_count_q;
  logic                   take, in_first, in_last;
  logic                   scale_valid, scale_ready;
  thc_scale_t             scale;
  logic                   sign_valid;
  logic [Lanes-1:0]       sign;

  ks_skid #(
    .Width($bits(thc_scale_t))
  ) u_scale (
    .clk_i,
    .rst_ni   (flush_n),
    .s_valid_i(s_scale_tvalid && !clear_i),
    .s_ready_o(scale_ready),
    .s_data_i (s_scale_tdata),
    .m_valid_o(scale_valid),
    .m_ready_i(take && in_last),
    .m_data_o (scale)
  );

  /* verilator lint_off PINCONNECTEMPTY */   // waiting for the sign is enough here
  thc_sign #(
    .Lanes(Lanes)
  ) u_sign (
    .clk_i,
    .rst_ni,
    .clear_i,
    .key_i    (cfg_i.sign_key),
    .first_i,
    .m_valid_o(sign_valid),
    .m_ready_i(take),
    .m_sign_o (sign),
    .ahead_o  ()
  );
  /* verilator lint_on PINCONNECTEMPTY */

  // In the cycle of clear_i nothing is taken.
  assign s_scale_tready = scale_ready && !clear_i;
  assign s_axis_tready  = en_q && scale_valid && sign_valid && !clear_i;
  assign take     = s_axis_tvalid && s_axis_tready;
  assign in_first = in_count_q == '0;
  assign in_last  = in_count_q == last_count_q;

  always_ff @(posedge clk_i) begin
    last_count_q <= CountW'((32'd1 << cfg_i.block_log2) / Lanes - 1);
    if (!flush_n)  in_count_q <= '0;
    else if (take) in_count_q <= in_last ? '0 : in_count_q + CountW'(1);
  end

  // ---- Fixed point and rotation.
  logic [FixSteps:1]       fix_valid_q;
  logic [Lanes-1:0]        fix_range;
  logic [Lanes-1:0][W-1:0] fixed, rotated;
  logic                    rotated_valid, rotated_last, rotated_over;

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_fix
    thc_to_fixed u_to_fixed (
      .clk_i,
      .en_i          (fix_en_q),
      .x_i           (s_axis_tdata[l]),
      .negate_i      (sign[l]),
      .exponent_i    (scale.exponent),
      .v_o           (fixed[l]),
      .out_of_range_o(fix_range[l])
    );
  end

  always_ff @(posedge clk_i) begin
    if (!flush_n)      fix_valid_q <= '0;
    else if (fix_en_q) fix_valid_q <= {fix_valid_q[FixSteps-1:1], take};
  end

  thc_hadamard_core #(
    .Lanes  (Lanes),
    .MaxLog2(MaxLog2)
  ) u_rotate (
    .clk_i,
    .rst_ni,
    .clear_i,
    .en_d_i      (en_d),
    .block_log2_i(cfg_i.block_log2),
    .valid_i     (fix_valid_q[FixSteps]),
    .data_i      (fixed),
    .valid_o     (rotated_valid),
    .last_o      (rotated_last),
    .data_o      (rotated),
    .overflow_o  (rotated_over)
  );

  // ---- Per block: gain, and the values that the indices stand for, in two banks.
  logic             levels_valid, levels_empty, levels_ready, level_write;
  thc_scale_t       levels_scale;
  logic [4:0]       level_waddr;
  logic [22:0]      level_wdata;
  logic [1:0][16:0] gains;
  logic [1:0]       bank_taken, bank_ready, bank_done;
  logic             gain_bank_q, level_bank_q;

  /* verilator lint_off PINCONNECTEMPTY */   // fewer than 16 blocks are under way
  ks_fifo #(
    .Width($bits(thc_scale_t)),
    .Depth(Depth)
  ) u_scales (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (take && in_first),
    .wdata_i(scale),
    .full_o (),
    .pop_i  (levels_valid && levels_ready),
    .rdata_o(levels_scale),
    .empty_o(levels_empty),
    .level_o()
  );
  /* verilator lint_on PINCONNECTEMPTY */
  assign levels_valid = !levels_empty;

  thc_levels u_levels (
    .clk_i,
    .rst_ni,
    .clear_i,
    .cfg_i,
    .s_valid_i(levels_valid),
    .s_ready_o(levels_ready),
    .s_scale_i(levels_scale),
    .write_o  (level_write),
    .waddr_o  (level_waddr),
    .wdata_o  (level_wdata),
    .gains_o  (gains),
    .taken_o  (bank_taken),
    .ready_o  (bank_ready),
    .done_i   (bank_done)
  );

  // ---- Quantisation.
  logic [QuantSteps:1]     q_valid_q, q_last_q;
  logic [1:0]              shift_q;
  logic [14:0][7:0]        widths_q;
  logic [14:1]             cells_q;
  logic [16:0]             gain;
  logic                    noise_valid;
  logic [Lanes-1:0][15:0]  noise;
  logic [Lanes-1:0][3:0]   index;
  logic [Lanes*4-1:0]      packed_index;

  always_ff @(posedge clk_i) begin
    shift_q <= 2'(4'd8 - (cfg_i.block_log2 >> 1));
    for (int unsigned c = 0; c < 15; c++) widths_q[c] <= cfg_i.values[c+1] - cfg_i.values[c];
    for (int unsigned c = 1; c < 15; c++) cells_q[c] <= 5'(c + 1) < cfg_i.entries;
  end

  thc_noise #(
    .Lanes(Lanes)
  ) u_noise (
    .clk_i,
    .rst_ni,
    .clear_i,
    .key_i    (cfg_i.noise_key),
    .first_i,
    .m_valid_o(noise_valid),
    .m_ready_i(en_q && q_valid_q[NoiseStep]),
    .m_noise_o(noise),
    .ahead_o  (noise_ahead)
  );

  assign gain = gains[gain_bank_q];

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_quantise
    thc_quantise u_quantise (
      .clk_i,
      .en_i         (quant_en_q),
      .z_i          (rotated[l]),
      .shift_i      (shift_q),
      .gain_i       (gain),
      .noise_i      (noise[l]),
      .granularity_i(cfg_i.granularity),
      .values_i     (cfg_i.values[14:0]),
      .widths_i     (widths_q),
      .cells_i      (cells_q),
      .index_o      (index[l])
    );
    if (Lanes == 1) begin : gen_single
      assign packed_index = index;
    end else begin : gen_pair
      assign packed_index[4*(l^1) +: 4] = index[l];
    end
  end

  always_ff @(posedge clk_i) begin
    if (quant_en_q) q_last_q <= {q_last_q[QuantSteps-1:1], rotated_last};
    if (!flush_n) begin
      q_valid_q    <= '0;
      gain_bank_q  <= 1'b0;
      level_bank_q <= 1'b0;
    end else if (quant_en_q) begin
      q_valid_q <= {q_valid_q[QuantSteps-1:1], rotated_valid};
      if (q_valid_q[GainStep] && q_last_q[GainStep])     gain_bank_q  <= !gain_bank_q;
      if (q_valid_q[QuantSteps] && q_last_q[QuantSteps]) level_bank_q <= !level_bank_q;
    end
  end
  assign bank_done = quant_en_q && q_valid_q[QuantSteps] && q_last_q[QuantSteps]
                     ? (level_bank_q ? 2'b10 : 2'b01) : 2'b00;

  logic index_empty;
  /* verilator lint_off PINCONNECTEMPTY */   // the level says it all
  ks_fifo #(
    .Width(4 * Lanes + 1),
    .Depth(Depth)
  ) u_index_fifo (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (en_q && q_valid_q[QuantSteps]),
    .wdata_i({q_last_q[QuantSteps], packed_index}),
    .full_o (),
    .pop_i  (m_axis_tvalid && m_axis_tready),
    .rdata_o({m_axis_tlast, m_axis_tdata}),
    .empty_o(index_empty),
    .level_o(index_level)
  );
  /* verilator lint_on PINCONNECTEMPTY */
  assign m_axis_tvalid = !index_empty;

  // ---- Error feedback: what the quantiser left over, rotated back.
  logic [Lanes-1:0][W-1:0] delayed;            // rotated values beside their indices
  logic [Lanes-1:0][W:0]   rest;
  logic [2:1]              rest_valid_q;
  logic                    back_valid, back_last, back_over;
  logic [Lanes-1:0][W-1:0] back;
  logic                    error_sign_valid, error_sign_next;
  logic [Lanes-1:0]        error_sign;
  logic [7:0]              back_exponent;
  logic                    back_take, exponent_empty;
  logic [Lanes-1:0]        float_range;
  logic [Lanes-1:0][31:0]  float_value;
  logic [FloatSteps:1]     f_valid_q, f_last_q;

  thc_delay #(
    .Width(Lanes * W),
    .Steps(QuantSteps)
  ) u_delay (
    .clk_i,
    .rst_ni,
    .en_i  (error_en_q),
    .data_i(rotated),
    .data_o(delayed)
  );

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_rest
    (* no_rw_check, ram_style = "distributed" *) logic [22:0] level_mem [32];
    logic [22:0]         level_q;
    logic signed [W-1:0] z, z_q;
    logic signed [W:0]   rest_q;

    // Halved for odd block_log2, to nearest even.
    assign z = cfg_i.block_log2[0]
               ? W'($signed(delayed[l][W-1:1])) + W'(delayed[l][0] && delayed[l][1])
               : $signed(delayed[l]);
    always_ff @(posedge clk_i) begin
      if (level_write) level_mem[level_waddr] <= level_wdata;
      if (error_en_q) begin
        level_q <= level_mem[{level_bank_q, index[l]}];
        z_q     <= z;
        rest_q  <= (W + 1)'(z_q) - (W + 1)'($signed(level_q));
      end
    end
    assign rest[l] = rest_q;
  end

  always_ff @(posedge clk_i) begin
    if (!flush_n)        rest_valid_q <= '0;
    else if (error_en_q) rest_valid_q <= {rest_valid_q[1], q_valid_q[QuantSteps] && error_out_i};
  end

  thc_hadamard_core #(
    .Lanes  (Lanes),
    .MaxLog2(MaxLog2),
    .InWidth(W + 1)
  ) u_rotate_back (
    .clk_i,
    .rst_ni,
    .clear_i,
    .en_d_i      (en_d),
    .block_log2_i(cfg_i.block_log2),
    .valid_i     (rest_valid_q[2]),
    .data_i      (rest),
    .valid_o     (back_valid),
    .last_o      (back_last),
    .data_o      (back),
    .overflow_o  (back_over)
  );

  thc_sign #(
    .Lanes(Lanes)
  ) u_error_sign (
    .clk_i,
    .rst_ni,
    .clear_i,
    .key_i    (cfg_i.sign_key),
    .first_i,
    .m_valid_o(error_sign_valid),
    .m_ready_i(back_take),
    .m_sign_o (error_sign),
    .ahead_o  (error_sign_next)
  );
  assign error_sign_ahead = error_sign_next || !error_out_i;
  assign back_take        = float_en_q && back_valid;

  /* verilator lint_off PINCONNECTEMPTY */   // fewer than 16 blocks are under way
  ks_fifo #(
    .Width(8),
    .Depth(Depth)
  ) u_exponents (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (take && in_first && error_out_i),
    .wdata_i(scale.exponent),
    .full_o (),
    .pop_i  (back_take && back_last),
    .rdata_o(back_exponent),
    .empty_o(exponent_empty),
    .level_o()
  );
  /* verilator lint_on PINCONNECTEMPTY */

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_float
    thc_to_float u_to_float (
      .clk_i,
      .en_i          (float_en_q),
      .v_i           (back[l]),
      .negate_i      (error_sign[l]),
      .exponent_i    (back_exponent),
      .y_o           (float_value[l]),
      .out_of_range_o(float_range[l])
    );
  end

  always_ff @(posedge clk_i) begin
    if (float_en_q) f_last_q <= {f_last_q[FloatSteps-1:1], back_last};
    if (!flush_n)        f_valid_q <= '0;
    else if (float_en_q) f_valid_q <= {f_valid_q[FloatSteps-1:1], back_valid};
  end

  logic error_empty;
  /* verilator lint_off PINCONNECTEMPTY */   // the level says it all
  ks_fifo #(
    .Width(32 * Lanes + 1),
    .Depth(Depth)
  ) u_error_fifo (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (en_q && f_valid_q[FloatSteps]),
    .wdata_i({f_last_q[FloatSteps], float_value}),
    .full_o (),
    .pop_i  (m_err_tvalid && m_err_tready),
    .rdata_o({m_err_tlast, m_err_tdata}),
    .empty_o(error_empty),
    .level_o(error_level)
  );
  /* verilator lint_on PINCONNECTEMPTY */
  assign m_err_tvalid = !error_empty;

  // ---- Flag.
  always_ff @(posedge clk_i) begin
    if (!flush_n) out_of_range_o <= 1'b0;
    else if ((fix_valid_q[FixSteps] && fix_range != '0) || rotated_over || back_over ||
             (f_valid_q[FloatSteps] && float_range != '0)) begin
      out_of_range_o <= 1'b1;
    end
  end

  // What a beat needs is there when it arrives.
  `KS_ASSERT(NoiseThere, !(en_q && q_valid_q[NoiseStep]) || noise_valid)
  `KS_ASSERT(SignThere, !back_take || error_sign_valid)
  `KS_ASSERT(ExponentThere, !back_take || !exponent_empty)
  `KS_ASSERT(LevelsThere, !(en_q && q_valid_q[QuantSteps]) || bank_ready[level_bank_q])
  `KS_ASSERT(GainThere, !(en_q && q_valid_q[GainStep]) || bank_taken[gain_bank_q])

endmodule

`default_nettype wire
