// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// MAC array: Nb word lanes of Wb multipliers with accumulators, output stationary.
//
// Takes operand sets and weight words and issues at most one step per cycle. Dense: word lane w
// multiplies one byte of pixel w mod P with the weights of channel group w div P; the words last nch_m1+1
// steps. Depthwise: one step, every lane its own byte. Maximum: two steps, acc - byte and then, with the
// accumulator cleared first where that is negative, acc + byte. A residual set takes one step and no multiplier.
// A step issued in cycle t is in the accumulator from cycle t+4. done_o rises in cycle t+4 for the last step of
// a tile: acc_o is then complete for one cycle. Last steps of consecutive tiles are at
// least DrainWideCycles (DrainNarrowCycles behind a tile with wnarrow_i, DrainAddCycles behind one with residual)
// apart; this is the only wait besides missing operands and weights.

`default_nettype none

module hv_mac
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic        set_valid_i,
  input  wire word_t [Nb-1:0] set_words_i,
  input  wire op_tag_t     set_tag_i,
  output logic             set_take_o,

  input  wire logic        wvalid_i,
  input  wire ring_word_t  wdata_i,
  input  wire logic        wnarrow_i,       // the word's tile drains two words per cycle
  output logic             wpop_o,

  output logic             done_o,
  output logic [Nb-1:0]    done_lane_o,     // the same, a register for each word lane
  output logic             done_narrow_o,
  output logic signed [Nb-1:0][Wb-1:0][AccW-1:0] acc_o,
  output word_t [Nb-1:0]   res_words_o,     // residual words, stable while the tile drains

  // What the cycle was used for.
  output logic             step_o,          // MAC step
  output logic             res_step_o,
  output logic             wait_weight_o,
  output logic             wait_drain_o,
  output logic             empty_o          // no operand set
);

  localparam int unsigned GapW = $clog2(DrainAddCycles);

  // --- Current operand set -------------------------------------------------------------------------
  logic           cur_q;
  word_t [Nb-1:0] words_q;
  op_tag_t        tag_q;
  logic [3:0]     ch_q;
  logic           ch_last_q;                // this is the last step of the words
  logic [1:0]     slice_q;
  logic [GapW-1:0] gap_q;                   // cycles until the next last step may be issued
  logic           gap_ok_q;                 // none

  logic tile_end, have_w, issue;
  logic narrow, w_advance, new_set;
  logic [GapW-1:0] gap;
  assign narrow   = wnarrow_i && !tag_q.add;
  assign tile_end = tag_q.last && ch_last_q;
  assign have_w   = tag_q.is_res || wvalid_i;
  assign issue    = cur_q && have_w && (!tile_end || gap_ok_q);

  logic [1:0] slice_last;
  assign slice_last = 2'd3 >> tag_q.glog;
  // Both steps of a maximum have one step's weights.
  assign w_advance = issue && !tag_q.is_res && (!tag_q.is_max || ch_q[0]);
  // The last weight step of a tile ends a ring word whatever is left of it.
  assign wpop_o = w_advance && (slice_q == slice_last || (ch_last_q && tag_q.w_last));

  assign new_set    = !cur_q || (issue && ch_last_q);
  assign set_take_o = set_valid_i && new_set;

  always_comb begin
    gap = gap_q - GapW'(!gap_ok_q);
    if (issue && tile_end) begin
      gap = tag_q.add ? GapW'(DrainAddCycles - 1) : narrow ? GapW'(DrainNarrowCycles - 1) :
            GapW'(DrainWideCycles - 1);
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      cur_q    <= 1'b0;
      gap_q    <= '0;
      gap_ok_q <= 1'b1;
      ch_q     <= '0;
      slice_q  <= '0;
    end else begin
      if (new_set) cur_q <= set_valid_i;
      if (issue) ch_q <= ch_last_q ? 4'd0 : ch_q + 4'd1;
      if (w_advance) slice_q <= wpop_o ? 2'd0 : slice_q + 2'd1;
      gap_q    <= gap;
      gap_ok_q <= !(issue && tile_end) && gap_q <= GapW'(1);
    end
    if (new_set) begin
      words_q   <= set_words_i;
      tag_q     <= set_tag_i;
      ch_last_q <= set_tag_i.nch_m1 == 4'd0;
    end else if (issue) begin
      ch_last_q <= ch_q + 4'd1 == tag_q.nch_m1;
    end
  end

  assign step_o        = issue && !tag_q.is_res;
  assign res_step_o    = issue && tag_q.is_res;
  assign wait_weight_o = cur_q && !have_w;
  assign wait_drain_o  = cur_q && have_w && tile_end && !gap_ok_q;
  assign empty_o       = !cur_q;

  always_ff @(posedge clk_i) begin
    if (res_step_o) res_words_o <= words_q;
  end

  // --- MA: bytes and weights of the step -----------------------------------------------------------
  logic           ma_valid_q, ma_first_q, ma_max_q, ma_last_q, ma_narrow_q;
  logic [Nb-1:0][2:0] ma_mode_q;             // of every lane: depthwise, glog
  logic           first_step;
  word_t [Nb-1:0] words1_q;                  // depthwise: all bytes
  logic [Nb-1:0][7:0] pix_byte_q;            // dense: this step's byte of every pixel

  assign first_step = tag_q.first && (ch_q == 0 || tag_q.is_max);

  always_ff @(posedge clk_i) begin
    words1_q <= words_q;
    for (int unsigned w = 0; w < Nb; w++) pix_byte_q[w] <= words_q[w][ch_q[$clog2(Wb)-1:0]];
  end

  // Weights: the same for every part of the array that always shares a channel group. The
  // step's slice of the ring word holds G groups; the group of word lane w is w div P. For a maximum the
  // weights are minus one and one, whatever the stream holds.
  localparam int unsigned Parts = 1 << HV_GLOG_MAX;
  word_t [Parts-1:0] b_q;
  for (genvar q = 0; q < Parts; q++) begin : gen_weight
    word_t wsel;
    if (Parts == 1) begin : gen_g1
      assign wsel = wdata_i[slice_q*Wb +: Wb];
    end else begin : gen_gn
      always_comb begin
        unique case (tag_q.glog)
          2'd0:    wsel = wdata_i[slice_q*Wb +: Wb];
          2'd1:    wsel = wdata_i[{slice_q[0], 1'(q >> 1)}*Wb +: Wb];
          default: wsel = wdata_i[q*Wb +: Wb];
        endcase
      end
    end
    always_ff @(posedge clk_i) b_q[q] <= tag_q.is_max ? {Wb{{7{!ch_q[0]}}, 1'b1}} : wsel;
  end

  // --- M0: operands, into the registers of the multipliers ----------------------------------------
  word_t [Nb-1:0] a;
  for (genvar w = 0; w < Nb; w++) begin : gen_operand
    logic [7:0] bcast;                       // dense: the byte of pixel w mod P
    if (Parts == 1) begin : gen_g1
      assign bcast = pix_byte_q[w];
    end else begin : gen_gn
      always_comb begin
        unique case (ma_mode_q[w][1:0])
          2'd0:    bcast = pix_byte_q[w];
          2'd1:    bcast = pix_byte_q[w % (Nb/2)];
          default: bcast = pix_byte_q[w % (Nb/4)];
        endcase
      end
    end
    assign a[w] = ma_mode_q[w][2] ? words1_q[w] : {Wb{bcast}};
  end

  // --- M1: products, M2: accumulators -----------------------------------------------------------
  // What all accumulators of a word lane listen to is a register of the lane.
  logic m0_valid_q, m0_first_q, m0_max_q, m0_last_q, m0_narrow_q, m1_last_q, m1_narrow_q, m2_last_q, m2_narrow_q;
  logic [Nb-1:0][2:0] m1_step_q;             // valid, first, maximum
  logic [Nb-1:0]      done_lane_q;

  ks_copies #(
    .Width(3),
    .Copies(Nb)
  ) u_mode (
    .clk_i, .d_i({tag_q.depthwise, tag_q.glog}), .q_o(ma_mode_q)
  );
  ks_copies #(
    .Width(3),
    .Copies(Nb)
  ) u_step (
    .clk_i, .d_i({m0_valid_q, m0_first_q, m0_max_q}), .q_o(m1_step_q)
  );
  ks_copies #(
    .Copies(Nb)
  ) u_done (
    .clk_i, .d_i(m1_last_q), .q_o(done_lane_q)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ma_valid_q <= 1'b0;
      ma_last_q  <= 1'b0;
      m0_valid_q <= 1'b0;
      m0_last_q  <= 1'b0;
      m1_last_q  <= 1'b0;
      m2_last_q  <= 1'b0;
    end else begin
      ma_valid_q <= step_o;
      ma_last_q  <= issue && tile_end;
      m0_valid_q <= ma_valid_q;
      m0_last_q  <= ma_last_q;
      m1_last_q  <= m0_last_q;
      m2_last_q  <= m1_last_q;
    end
    ma_first_q  <= first_step;
    ma_max_q    <= tag_q.is_max && ch_q[0];
    ma_narrow_q <= narrow;
    m0_first_q  <= ma_first_q;
    m0_max_q    <= ma_max_q;
    m0_narrow_q <= ma_narrow_q;
    m1_narrow_q <= m0_narrow_q;
    m2_narrow_q <= m1_narrow_q;
  end

  for (genvar w = 0; w < Nb; w++) begin : gen_lane
    for (genvar i = 0; i < Wb; i++) begin : gen_mac
      logic signed [15:0] prod_q;

      ks_mul_s8 #(
        .UseDsp(w * Wb + i < HV_DSP_MAC_LANES)
      ) u_mul (
        .clk_i,
        .en_ab_i(ma_valid_q),
        .en_p_i (m0_valid_q),
        .a_i    (a[w][i]),
        .b_i    (b_q[(w * Parts) / Nb][i]),
        .p_o    (prod_q)
      );

      ks_acc #(
        .Width(AccW)
      ) u_acc (
        .clk_i,
        .en_i   (m1_step_q[w][2]),
        .clear_i(m1_step_q[w][1] || (m1_step_q[w][0] && acc_o[w][i][AccW-1])),
        .a_i    (AccW'(prod_q)),
        .sum_o  (acc_o[w][i])
      );
    end
  end

  assign done_o = m2_last_q;
  assign done_lane_o = done_lane_q;
  assign done_narrow_o = m2_narrow_q;

endmodule

`default_nettype wire
