// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// LOAD unit: reads a block from memory and unpacks it into activation words.
//
// Two halves work one behind the other, so the next block can arrive while one is unpacked.
//
// Requests (R). Queue of four descriptors; word 15 written in cycle t, the descriptor counts from t+1.
//   RIdle  in a cycle with a descriptor queued: RRead from the next.
//   RRead  four cycles, word 0 .. 3 of the descriptor; the queue entry is free after the fourth.
//   RWait  until n_compute_i and n_out_i have reached the wait counts; in that cycle t the address is
//          computed and the descriptor is offered to the unpacker; RReq from t+1.
//   RReq   bursts up to the next multiple of 128 bytes, l_req_valid_o when the beat FIFO (64 beats) has
//          room for the whole burst beside all beats requested before and not yet popped. RIdle from the
//          cycle after all beats are requested and the unpacker has taken the descriptor.
// Unpacking (U).
//   UIdle  in a cycle with a descriptor offered (earliest the first one of RReq): URun from the next.
//   URun   a window of three beats; a beat moves from the FIFO into it in every cycle in which it has
//          room after what this cycle takes out. A piece is taken out, into the output register, in
//          every cycle in which the window holds it whole and the register is empty or accepted:
//            RAW     {8,4,3,2,2,2,2,1}[chans-1] pixels of `chans` bytes, fewer at the end; the bytes
//                    above chans are written as 0
//            NHWC    one word: word i is pixel p0 + i / chans, group i % chans
//            PLANAR  one word: word i is group i / n, pixel p0 + i % n
//          After the last piece UFlush.
//   UFlush drops what is left of the block's beats, one per cycle, and empties the window; UIdle from
//          the cycle after none is left (one cycle when there is none).
// A beat with l_rsp_valid_i in cycle t is in the FIFO in t+1, in the window in t+2 and, when it completes
// a piece, at wr_* in t+3. wr_* are stable until wr_ready_i. done_o rises in the cycle in which
// the last piece is accepted. A piece with a row beyond the memory is not offered: range_err_o is high
// instead, until reset.

`include "ks_assert.svh"
`default_nettype none

module hv_load
  import hv_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic [31:0] pkg_base_i,
  input  wire logic [31:0] in_base_i,
  input  wire logic [31:0] out_base_i,
  input  wire logic [31:0] scratch_base_i,

  input  wire logic        q_we_i,             // one word of a descriptor
  input  wire logic [3:0]  q_widx_i,
  input  wire logic [63:0] q_wdata_i,
  output logic             q_room_o,           // a whole descriptor fits
  input  wire logic [15:0] n_compute_i,
  input  wire logic [15:0] n_out_i,

  output logic             l_req_valid_o,
  output logic [31:0]      l_req_addr_o,
  output logic [3:0]       l_req_beats_m1_o,
  input  wire logic        l_req_ready_i,
  input  wire logic        l_rsp_valid_i,
  input  wire logic [HV_BUS_BYTES*8-1:0] l_rsp_data_i,

  output logic             wr_valid_o,
  output logic [7:0]       wr_mask_o,          // words written: consecutive pixels from wr_p_o
  output logic [19:0]      wr_p_o,             // first pixel
  output logic [9:0]       wr_g_o,             // channel group
  output logic [15:0]      wr_row_o,           // row of the first pixel
  output logic [7:0][63:0] wr_data_o,
  input  wire logic        wr_ready_i,

  output logic             done_o,             // a descriptor is complete (pulse)
  output logic             range_err_o,        // a row beyond the memory (level)
  output logic             idle_o
);

  if (HV_BUS_BYTES != 8 || HV_WORD_BYTES != 8) begin : gen_bad_width
    $error("hv_load: only 64-bit bus and words are supported");
  end

  localparam int unsigned QDepth = 4;
  localparam int unsigned FifoBeats = 64;
  localparam int unsigned Lb = $clog2(HV_LANES);

  // --- Descriptor queue: words 0 .. 3, the others are reserved -----------------------------------------
  logic [63:0] q_mem [QDepth*4];
  logic [1:0]  q_wptr_q, q_rptr_q;
  logic [2:0]  q_level_q;
  logic        q_full_write, q_pop;

  assign q_full_write = q_we_i && q_widx_i == 4'(HV_DESC_WORDS - 1);
  assign q_room_o     = q_level_q + 3'(q_full_write) < 3'(QDepth);

  always_ff @(posedge clk_i) begin
    if (q_we_i && q_widx_i < 4'd4) q_mem[{q_wptr_q, q_widx_i[1:0]}] <= q_wdata_i;
    if (!rst_ni) begin
      q_wptr_q  <= '0;
      q_rptr_q  <= '0;
      q_level_q <= '0;
    end else begin
      if (q_full_write) q_wptr_q <= q_wptr_q + 2'd1;
      if (q_pop) q_rptr_q <= q_rptr_q + 2'd1;
      q_level_q <= q_level_q + 3'(q_full_write) - 3'(q_pop);
    end
  end

  // --- Requests ----------------------------------------------------------------------------------------
  typedef enum logic [1:0] {RIdle, RRead, RWait, RReq} rstate_e;
  rstate_e     rstate_q;
  logic [1:0]  ridx_q;
  logic [3:0][63:0] words_q;
  /* verilator lint_off UNUSED */  // reserved bits are checked by the front end
  load_desc_t  desc;
  /* verilator lint_on UNUSED */
  logic        offer_q;                        // descriptor offered and not taken
  logic [31:0] addr_q, base;
  logic [23:0] left_q;                         // beats still to be requested
  logic [6:0]  used_q;                         // beats requested and not popped
  logic [4:0]  to_edge, burst;
  logic        req_fire, counts_ok, take, beat_pop;

  assign desc  = load_desc_t'(1024'(words_q));
  assign q_pop = rstate_q == RRead && ridx_q == 2'd3;
  assign counts_ok = n_compute_i >= desc.wait_compute && n_out_i >= desc.wait_out;

  always_comb begin
    unique case (desc.base)
      BASE_PKG: base = pkg_base_i;
      BASE_IN:  base = in_base_i;
      BASE_OUT: base = out_base_i;
      default:  base = scratch_base_i;
    endcase
  end

  assign to_edge = 5'(HV_BURST_BEATS) - 5'(addr_q[$clog2(HV_BUS_BYTES) +: $clog2(HV_BURST_BEATS)]);
  assign burst   = left_q < 24'(to_edge) ? left_q[4:0] : to_edge;
  assign l_req_valid_o    = rstate_q == RReq && left_q != 0 && used_q + 7'(burst) <= 7'(FifoBeats);
  assign l_req_addr_o     = addr_q;
  assign l_req_beats_m1_o = 4'(burst - 5'd1);
  assign req_fire         = l_req_valid_o && l_req_ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      rstate_q <= RIdle;
      offer_q  <= 1'b0;
      used_q   <= '0;
    end else begin
      used_q <= used_q + (req_fire ? 7'(burst) : 7'd0) - 7'(beat_pop);
      if (take) offer_q <= 1'b0;
      unique case (rstate_q)
        RIdle: if (q_level_q != 0) rstate_q <= RRead;
        RRead: if (ridx_q == 2'd3) rstate_q <= RWait;
        RWait: begin
          if (counts_ok) begin
            rstate_q <= RReq;
            offer_q  <= 1'b1;
          end
        end
        default: if (left_q == 0 && !offer_q) rstate_q <= RIdle;
      endcase
    end
    ridx_q <= rstate_q == RRead ? ridx_q + 2'd1 : 2'd0;
    if (rstate_q == RRead) words_q[ridx_q] <= q_mem[{q_rptr_q, ridx_q}];
    if (rstate_q == RWait) begin
      addr_q <= base + desc.addr;
      left_q <= desc.beats;
    end else if (req_fire) begin
      addr_q <= addr_q + 32'(burst) * 32'(HV_BUS_BYTES);
      left_q <= left_q - 24'(burst);
    end
  end

  // --- Beats -------------------------------------------------------------------------------------------
  logic [63:0] beat;
  logic        beat_empty, beat_full;
  logic [$clog2(FifoBeats):0] beat_level;

  ks_fifo #(
    .Width(64),
    .Depth(FifoBeats)
  ) u_beats (
    .clk_i, .rst_ni,
    .push_i(l_rsp_valid_i), .wdata_i(l_rsp_data_i), .full_o(beat_full),
    .pop_i(beat_pop), .rdata_o(beat), .empty_o(beat_empty), .level_o(beat_level)
  );

  // --- Unpacking ---------------------------------------------------------------------------------------
  typedef enum logic [1:0] {UIdle, URun, UFlush} ustate_e;
  ustate_e     ustate_q;
  load_mode_e  mode_q;
  logic [15:0] base_q, s_q;
  logic [19:0] p0_q, n_m1_q;
  logic [11:0] chans_m1_q;
  logic [3:0]  bytes_q;                        // bytes of one pixel or word, 1 .. 8
  logic [3:0]  max_q;                          // pixels of one piece, 1 .. 8
  logic [23:0] beats_q;                        // beats of the block not popped yet
  logic [23:0] count_q;                        // pixels or words not taken out yet
  logic [19:0] p_q, inner_q;                   // pixel; word within the group (PLANAR)
  logic [11:0] g_q;
  logic [16:0] grow_q;                         // first row of the group, bit 16: beyond all memories

  logic [2:0][63:0] win_q;                     // oldest beat first
  logic [1:0]  win_n_q;                        // beats in the window
  logic [2:0]  off_q;                          // bytes of the oldest beat already taken

  logic        out_valid_q, out_last_q, out_bad_q;
  logic        out_free, piece_ok, piece_take, piece_last;
  logic [3:0]  pixels;                         // of this piece
  logic [6:0]  need;                           // bytes up to the end of this piece
  logic [3:0]  adv;                            // bytes taken, without end effects: max * bytes
  logic [4:0]  off_next;
  logic [1:0]  win_drop, win_keep;
  logic        word_mode;

  // Too small for a hard multiplier, which synthesis would take.
  function automatic logic [6:0] times(input logic [3:0] a, input logic [3:0] b);
    return (b[0] ? 7'(a) : 7'd0) + (b[1] ? 7'(a) << 1 : 7'd0) + (b[2] ? 7'(a) << 2 : 7'd0) + (b[3] ? 7'(a) << 3 : 7'd0);
  endfunction

  assign take      = ustate_q == UIdle && offer_q;
  assign word_mode = mode_q != LM_RAW;
  assign out_free  = !out_valid_q || (wr_ready_i && !out_bad_q);

  assign piece_last = count_q <= 24'(max_q);
  assign pixels     = piece_last ? count_q[3:0] : max_q;
  assign need       = 7'(off_q) + times(pixels, bytes_q);
  assign piece_ok   = ustate_q == URun && need <= {2'b00, win_n_q, 3'b000};
  assign piece_take = piece_ok && out_free;
  assign adv        = 4'(times(max_q, bytes_q));  // at most 14
  assign off_next   = 5'(off_q) + 5'(adv);

  always_comb begin
    win_drop = 2'd0;
    if (piece_take && !piece_last) win_drop = off_next[4:3];
    win_keep = win_n_q - win_drop;
    unique case (ustate_q)
      URun:    beat_pop = !beat_empty && beats_q != 0 && win_keep != 2'd3;
      UFlush:  beat_pop = !beat_empty && beats_q != 0;
      default: beat_pop = 1'b0;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ustate_q <= UIdle;
      win_n_q  <= '0;
    end else begin
      unique case (ustate_q)
        UIdle:   if (offer_q) ustate_q <= URun;
        URun:    if (piece_take && piece_last) ustate_q <= UFlush;
        default: if (beats_q == 0) ustate_q <= UIdle;
      endcase
      if (ustate_q == URun) win_n_q <= win_keep + 2'(beat_pop);
      else win_n_q <= '0;
    end

    if (take) begin
      mode_q     <= load_mode_e'(desc.mode);
      base_q     <= desc.dst_base;
      s_q        <= desc.dst_s;
      p0_q       <= desc.p0;
      n_m1_q     <= desc.n - 20'd1;
      chans_m1_q <= desc.chans - 12'd1;
      beats_q    <= desc.beats;
      count_q    <= desc.count;
      p_q        <= desc.p0;
      g_q        <= '0;
      inner_q    <= '0;
      grow_q     <= {1'b0, desc.dst_base};
      off_q      <= '0;
      bytes_q    <= 4'd8;
      max_q      <= 4'd1;
      if (desc.mode == LM_RAW) begin
        bytes_q <= desc.chans[3:0];
        unique case (desc.chans[3:0])
          4'd1:    max_q <= 4'd8;
          4'd2:    max_q <= 4'd4;
          4'd3:    max_q <= 4'd3;
          4'd4, 4'd5, 4'd6, 4'd7: max_q <= 4'd2;
          default: max_q <= 4'd1;
        endcase
      end
    end else begin
      if (beat_pop) beats_q <= beats_q - 24'd1;
      if (piece_take) begin
        count_q <= count_q - 24'(pixels);
        off_q   <= off_next[2:0];
        unique case (mode_q)
          LM_NHWC: begin
            if (g_q == chans_m1_q) begin
              p_q    <= p_q + 20'd1;
              g_q    <= '0;
              grow_q <= {1'b0, base_q};
            end else begin
              g_q    <= g_q + 12'd1;
              grow_q <= {grow_q[16], 16'd0} | (17'(grow_q[15:0]) + 17'(s_q));
            end
          end
          LM_PLANAR: begin
            if (inner_q == n_m1_q) begin
              p_q     <= p0_q;
              inner_q <= '0;
              g_q     <= g_q + 12'd1;
              grow_q  <= {grow_q[16], 16'd0} | (17'(grow_q[15:0]) + 17'(s_q));
            end else begin
              p_q     <= p_q + 20'd1;
              inner_q <= inner_q + 20'd1;
            end
          end
          default: p_q <= p_q + 20'(pixels);
        endcase
      end
    end

    // The window: drop from the front, append behind what is kept.
    if (ustate_q == URun) begin
      for (int unsigned i = 0; i < 3; i++) begin
        if (32'(win_keep) == i) win_q[i] <= beat;
        else if (i + 32'(win_drop) < 3) win_q[i] <= win_q[2'(i + 32'(win_drop))];
      end
    end
  end

  // --- Output register -----------------------------------------------------------------------------------
  logic [13:0][7:0] bytes;                     // the window from the first byte not taken
  logic [7:0][63:0] words;
  logic [Lb:0]      last_bank;
  logic [17:0]      first_row, last_row;

  always_comb begin
    for (int unsigned i = 0; i < 14; i++) begin
      bytes[i] = 8'(192'(win_q) >> (8 * (i + 32'(off_q))));
    end
    words = '0;
    for (int unsigned i = 0; i < 8; i++) begin
      for (int unsigned k = 0; k < 8; k++) begin
        // Byte k of pixel i lies at i * c + k; a piece has 14 bytes at most.
        for (int unsigned c = k + 1; c <= 8; c++) begin
          if (32'(bytes_q) == c && i * c + k < 14) words[i][8*k +: 8] = bytes[i*c+k];
        end
      end
    end
  end

  assign last_bank = (Lb+1)'(p_q[Lb-1:0]) + (Lb+1)'(pixels) - (Lb+1)'(1);
  assign first_row = 18'(grow_q) + 18'(p_q[19:Lb]);
  assign last_row  = first_row + 18'(last_bank[Lb]);

  logic [7:0]  mask_q;
  logic [19:0] out_p_q;
  logic [9:0]  out_g_q;
  logic [15:0] out_row_q;
  logic [7:0][63:0] out_data_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      out_valid_q <= 1'b0;
    end else if (piece_take) begin
      out_valid_q <= 1'b1;
    end else if (out_free) begin
      out_valid_q <= 1'b0;
    end
    if (piece_take) begin
      out_last_q <= piece_last;
      out_bad_q  <= last_row >= 18'(HV_ACT_ROWS);
      mask_q     <= 8'((9'd1 << pixels) - 9'd1);
      out_p_q    <= p_q;
      out_g_q    <= g_q[9:0];
      out_row_q  <= first_row[15:0];
      out_data_q <= words;
    end
  end

  assign wr_valid_o  = out_valid_q && !out_bad_q;
  assign wr_mask_o   = mask_q;
  assign wr_p_o      = out_p_q;
  assign wr_g_o      = out_g_q;
  assign wr_row_o    = out_row_q;
  assign wr_data_o   = out_data_q;
  assign range_err_o = out_valid_q && out_bad_q;
  assign done_o      = wr_valid_o && wr_ready_i && out_last_q;
  assign idle_o      = q_level_q == 0 && rstate_q == RIdle && ustate_q == UIdle && !out_valid_q;

  // Beats come only into room that was set aside, and no more than asked for.
  `KS_ASSERT(BeatRoom, !(l_rsp_valid_i && beat_full))
  `KS_ASSERT(UsedInRange, used_q <= 7'(FifoBeats) && beat_level <= used_q)
  `KS_ASSUME(BeatAsked, !l_rsp_valid_i || beat_level < used_q)
  `KS_ASSUME(QueueRoom, !(q_full_write && q_level_q == 3'(QDepth)))
  `KS_ASSERT(WindowInRange, win_drop <= win_n_q)
  // A word is one beat: the window never holds a part of one.
  `KS_ASSERT(WholeWords, !(ustate_q == URun && word_mode) || off_q == 0)

endmodule

`default_nettype wire
