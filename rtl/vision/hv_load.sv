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
//   RWait  until the cycle after n_compute_i and n_out_i have reached the wait counts (two cycles at least);
//          in the last one the descriptor is offered to the unpacker; RReq from the next.
//   RReq   bursts of 16 beats, the last one what is left: addresses are multiples of 128. In a cycle without
//          an offered request and with room in the beat FIFO (64 beats) for 16 more beside all beats asked
//          for and not yet popped the next one is made; l_req_valid_o is high from the cycle after until it
//          is accepted. RIdle from the cycle after all beats are requested and the unpacker has taken the
//          descriptor.
// Unpacking (U).
//   UIdle  in a cycle with a descriptor offered (earliest the first one of RReq) and an empty piece FIFO: UFirst
//          from the next.
//   UFirst, USecond  one cycle each: how many pieces are full. URun from then.
//   URun   a window of three beats; a beat moves from the FIFO into it in every cycle in which the window has
//          room after what this cycle takes out (from UFirst on). A full piece is taken out in every cycle at
//          whose beginning the window holds it whole, if at the beginning of the cycle before the piece FIFO
//          (four) had at most two:
//            RAW     {8,4,3,2,2,2,2,1}[chans-1] pixels of `chans` bytes
//            NHWC    one word: word i is pixel p0 + i / chans, group i % chans
//            PLANAR  one word: word i is group i / n, pixel p0 + i % n
//          After the last piece UFlush; when fewer pixels than a full piece has are left UTail.
//   UTail, UNeed, ULast  the last piece of RAW when it is not full: one cycle for its bytes, one for the beats
//          that hold them, then it is taken out as above. UFlush after it.
//   UFlush drops what is left of the block's beats, one per cycle, and empties the window; UIdle from
//          the cycle after none is left (one cycle when there is none).
// Output. The piece FIFO holds the bytes of a piece and where it goes; from there it moves to the output
// register when that is empty or accepted. Bytes above chans are written as 0.
// A beat with l_rsp_valid_i in cycle t is in the FIFO in t+1, in the window in t+2 and, when it completes
// a full piece, at wr_* in t+4. wr_* are stable until wr_ready_i. done_o is high in the cycle after the one in
// which the last piece is accepted. A piece with a row beyond the memory is not offered: range_err_o is high
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
  logic        reached_q;                      // both wait counts were reached in the cycle before
  logic [31:7] addr_q;
  logic [31:0] base;
  logic [19:0] bursts_q;                       // full bursts still to be requested
  logic [3:0]  rest_q;                         // beats of the burst after them
  logic [6:0]  used_q;                         // beats asked for and not popped
  logic        req_valid_q;
  logic [3:0]  req_m1_q;
  logic        full_left, any_left, make, take, beat_pop;

  assign desc  = load_desc_t'(1024'(words_q));
  assign q_pop = rstate_q == RRead && ridx_q == 2'd3;

  always_comb begin
    unique case (desc.base)
      BASE_PKG: base = pkg_base_i;
      BASE_IN:  base = in_base_i;
      BASE_OUT: base = out_base_i;
      default:  base = scratch_base_i;
    endcase
  end

  assign full_left = bursts_q != 0;
  assign any_left  = full_left || rest_q != 0;
  assign make      = rstate_q == RReq && !req_valid_q && any_left && used_q <= 7'(FifoBeats - HV_BURST_BEATS);
  assign l_req_valid_o    = req_valid_q;
  assign l_req_addr_o     = {addr_q, 7'd0};
  assign l_req_beats_m1_o = req_m1_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      rstate_q    <= RIdle;
      offer_q     <= 1'b0;
      reached_q   <= 1'b0;
      req_valid_q <= 1'b0;
      used_q      <= '0;
    end else begin
      used_q    <= used_q + (make ? (full_left ? 7'(HV_BURST_BEATS) : 7'(rest_q)) : 7'd0) - 7'(beat_pop);
      reached_q <= rstate_q == RWait && n_compute_i >= desc.wait_compute && n_out_i >= desc.wait_out;
      if (make) req_valid_q <= 1'b1;
      else if (l_req_ready_i) req_valid_q <= 1'b0;
      if (take) offer_q <= 1'b0;
      unique case (rstate_q)
        RIdle: if (q_level_q != 0) rstate_q <= RRead;
        RRead: if (ridx_q == 2'd3) rstate_q <= RWait;
        RWait: begin
          if (reached_q) begin
            rstate_q <= RReq;
            offer_q  <= 1'b1;
          end
        end
        default: if (!any_left && !req_valid_q && !offer_q) rstate_q <= RIdle;
      endcase
    end
    ridx_q <= rstate_q == RRead ? ridx_q + 2'd1 : 2'd0;
    if (rstate_q == RRead) words_q[ridx_q] <= q_mem[{q_rptr_q, ridx_q}];
    if (rstate_q == RWait) begin
      addr_q   <= 25'((base + desc.addr) >> 7);
      bursts_q <= desc.beats[23:4];
      rest_q   <= desc.beats[3:0];
    end else begin
      if (req_valid_q && l_req_ready_i) addr_q <= addr_q + 25'd1;
      if (make) begin
        if (full_left) bursts_q <= bursts_q - 20'd1;
        else rest_q <= '0;
      end
    end
    if (!req_valid_q) req_m1_q <= full_left ? 4'(HV_BURST_BEATS - 1) : rest_q - 4'd1;
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
  typedef enum logic [2:0] {UIdle, UFirst, USecond, URun, UTail, UNeed, ULast, UFlush} ustate_e;
  localparam int unsigned PieceDepth = 4;
  localparam int unsigned PieceBytes = 14;     // of the longest piece

  ustate_e     ustate_q;
  logic        nhwc_q, planar_q;               // neither: RAW
  logic [15:0] base_q, s_q;
  logic [19:0] p0_q;
  logic [3:0]  bytes_q;                        // bytes of one pixel or word, 1 .. 8
  logic [3:0]  max_q;                          // pixels of a full piece, 1 .. 8
  logic [3:0]  adv_q;                          // bytes of a full piece, 8 .. 14
  logic [23:0] beats_q;                        // beats of the block not popped yet
  logic        beats_any_q, beats_one_q;       // beats_q != 0, beats_q == 1

  // The piece that is taken out next, the one behind it, and what is left with them.
  logic [23:0] left_q;                         // pixels or words not taken out yet
  logic [4:0]  limit_q;                        // max_q times 1 in UFirst, 2 in USecond, 3 from then
  logic        full_q, last_q;                 // left_q >= max_q, left_q == max_q
  logic        full2_q, last2_q;               // the same with 2 * max_q: of the piece behind
  logic        reach, equal;                   // left_q against limit_q
  logic [2:0]  off_q, off2_q;                  // bytes of the oldest beat taken before this piece, the next
  logic [1:0]  need_q, drop_q;                 // beats up to its end; beats taken whole with it
  logic [4:0]  end2;                           // bytes up to the end of the piece behind
  logic [3:0]  pixels_q;                       // of this piece
  logic [3:0]  tail_q;                         // bytes of the last piece, when it is not full
  logic        take_q, take_d, take_last;      // this cycle takes the piece out
  logic        take_win_q;                     // take_q for the window
  logic [$clog2(PieceDepth):0] piece_level;
  logic        piece_empty;

  // Where it goes.
  logic [19:0] p_q;                            // pixel
  logic [19:0] again_q, inner_q;               // inner loop of NHWC (groups) and PLANAR (pixels): counts down
  logic        again_zero_q, wrap_q;           // again_q == 0, inner_q == 0
  logic [11:0] g_q;
  logic [16:0] grow_q;                         // first row of the group, bit 16: beyond all memories

  logic [2:0][63:0] win_q;                     // oldest beat first
  logic [1:0]  win_n_q, win_keep, win_next, need_next;

  // Too small for a hard multiplier, which synthesis would take.
  function automatic logic [3:0] times(input logic [2:0] a, input logic [2:0] b);
    return (b[0] ? 4'(a) : 4'd0) + (b[1] ? 4'(a) << 1 : 4'd0) + (b[2] ? 4'(a) << 2 : 4'd0);
  endfunction
  function automatic logic [1:0] beats_of(input logic [4:0] bytes);  // 1 .. 21
    return bytes[4:3] + 2'(bytes[2:0] != 0);
  endfunction

  assign take      = ustate_q == UIdle && offer_q && piece_empty;
  assign reach     = left_q >= 24'(limit_q);
  assign equal     = left_q == 24'(limit_q);
  assign end2      = 5'(off2_q) + 5'(adv_q);
  assign take_last = take_q && (last_q || ustate_q == ULast);

  // A full piece takes a beat at least. Behind the last piece the window is empty.
  assign win_keep  = take_q ? win_n_q - drop_q : win_n_q;
  assign beat_pop  = !beat_empty && beats_any_q && (win_n_q != 2'd3 || take_q);
  assign win_next  = win_keep + 2'(beat_pop);
  assign need_next = take_q ? beats_of(end2) : need_q;

  always_comb begin
    unique case (ustate_q)
      URun:    take_d = take_q ? full2_q : full_q;
      ULast:   take_d = !take_q;
      default: take_d = 1'b0;
    endcase
    if (win_next < need_next || piece_level > 3'(PieceDepth - 2)) take_d = 1'b0;
  end

  // A register of its own: without the mark synthesis makes one of both.
  (* keep *) always_ff @(posedge clk_i) take_win_q <= rst_ni && take_d;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ustate_q    <= UIdle;
      win_n_q     <= '0;
      take_q      <= 1'b0;
      beats_any_q <= 1'b0;
    end else begin
      take_q <= take_d;
      unique case (ustate_q)
        UIdle:   if (take) ustate_q <= UFirst;
        UFirst:  ustate_q <= USecond;
        USecond: ustate_q <= URun;
        URun: begin
          if (take_q && last_q) ustate_q <= UFlush;
          else if (take_q ? !full2_q : !full_q) ustate_q <= UTail;
        end
        UTail:   ustate_q <= UNeed;
        UNeed:   ustate_q <= ULast;
        ULast:   if (take_q) ustate_q <= UFlush;
        default: if (!beats_any_q) ustate_q <= UIdle;
      endcase
      if (ustate_q == UIdle || ustate_q == UFlush || take_last) win_n_q <= '0;
      else win_n_q <= win_next;
      if (take) beats_any_q <= 1'b1;
      else if (beat_pop && beats_one_q) beats_any_q <= 1'b0;
    end

    if (take) begin
      nhwc_q      <= desc.mode == LM_NHWC;
      planar_q    <= desc.mode == LM_PLANAR;
      base_q      <= desc.dst_base;
      s_q         <= desc.dst_s;
      p0_q        <= desc.p0;
      again_q     <= (desc.mode == LM_PLANAR ? desc.n : 20'(desc.chans)) - 20'd1;
      beats_q     <= desc.beats;
      beats_one_q <= desc.beats == 24'd1;
      left_q      <= desc.count;
      p_q         <= desc.p0;
      g_q         <= '0;
      grow_q      <= {1'b0, desc.dst_base};
      bytes_q     <= 4'd8;
      max_q       <= 4'd1;
      limit_q     <= 5'd1;
      adv_q       <= 4'd8;
      if (desc.mode == LM_RAW) begin
        bytes_q <= desc.chans[3:0];
        unique case (desc.chans[3:0])
          4'd1:    {max_q, limit_q, adv_q} <= {4'd8, 5'd8, 4'd8};
          4'd2:    {max_q, limit_q, adv_q} <= {4'd4, 5'd4, 4'd8};
          4'd3:    {max_q, limit_q, adv_q} <= {4'd3, 5'd3, 4'd9};
          4'd4:    {max_q, limit_q, adv_q} <= {4'd2, 5'd2, 4'd8};
          4'd5:    {max_q, limit_q, adv_q} <= {4'd2, 5'd2, 4'd10};
          4'd6:    {max_q, limit_q, adv_q} <= {4'd2, 5'd2, 4'd12};
          4'd7:    {max_q, limit_q, adv_q} <= {4'd2, 5'd2, 4'd14};
          default: {max_q, limit_q, adv_q} <= {4'd1, 5'd1, 4'd8};
        endcase
      end
    end else begin
      if (beat_pop) begin
        beats_q     <= beats_q - 24'd1;
        beats_one_q <= beats_q == 24'd2;
      end
      if (ustate_q == UFirst || ustate_q == USecond) limit_q <= limit_q + 5'(max_q);
      if (take_q) begin
        left_q  <= left_q - 24'(max_q);
        inner_q <= wrap_q ? again_q : inner_q - 20'd1;
        wrap_q  <= wrap_q ? again_zero_q : inner_q == 20'd1;
        if (planar_q && wrap_q) p_q <= p0_q;
        else p_q <= p_q + (planar_q ? 20'd1 : nhwc_q ? 20'(wrap_q) : 20'(max_q));
        if (nhwc_q && wrap_q) begin
          g_q    <= '0;
          grow_q <= {1'b0, base_q};
        end else if (nhwc_q || (planar_q && wrap_q)) begin
          g_q    <= g_q + 12'd1;
          grow_q <= {grow_q[16], 16'd0} | (17'(grow_q[15:0]) + 17'(s_q));
        end
      end
    end

    if (ustate_q == UFirst) begin
      {full_q, last_q} <= {reach, equal};
      inner_q      <= again_q;
      again_zero_q <= again_q == 0;
      wrap_q       <= again_q == 0;
      {off_q, off2_q} <= {3'd0, adv_q[2:0]};
      need_q       <= beats_of(5'(adv_q));
      drop_q       <= 2'd1;
      pixels_q     <= max_q;
    end else if (take_q) begin
      {full_q, last_q} <= {full2_q, last2_q};
      {off_q, off2_q}  <= {off2_q, end2[2:0]};
      need_q           <= beats_of(end2);
      drop_q           <= end2[4:3];
    end else if (ustate_q == UNeed) begin
      need_q   <= beats_of(5'(off_q) + 5'(tail_q));
      pixels_q <= left_q[3:0];
    end
    if (ustate_q == USecond || take_q) {full2_q, last2_q} <= {reach, equal};
    tail_q <= times(left_q[2:0], bytes_q[2:0]);

    // The window: drop from the front, append behind what is kept. What is behind the kept beats has no meaning.
    if (take_win_q || win_n_q == 0) begin
      if (!take_win_q || win_n_q == drop_q) win_q[0] <= beat;
      else win_q[0] <= drop_q[1] ? win_q[2] : win_q[1];
    end
    if (take_win_q || !win_n_q[1]) win_q[1] <= take_win_q && win_n_q == 2'd3 && !drop_q[1] ? win_q[2] : beat;
    if (take_win_q || win_n_q != 2'd3) win_q[2] <= beat;
  end

  // --- Piece FIFO ----------------------------------------------------------------------------------------
  typedef struct packed {
    logic        bad;                          // with a row beyond the memory
    logic        last;
    logic [7:0]  mask;
    logic [19:0] p;
    logic [9:0]  g;
    logic [15:0] row;
    logic [PieceBytes-1:0][7:0] data;
  } piece_t;

  piece_t      piece, head;
  logic        piece_pop;
  logic [Lb:0] last_bank;
  logic [17:0] first_row;

  assign last_bank = (Lb+1)'(p_q[Lb-1:0]) + (Lb+1)'(pixels_q) - (Lb+1)'(1);
  assign first_row = 18'(grow_q) + 18'(p_q[19:Lb]);

  always_comb begin
    piece.bad   = first_row >= 18'(HV_ACT_ROWS) || (last_bank[Lb] && first_row == 18'(HV_ACT_ROWS - 1));
    piece.last  = take_last;
    piece.mask  = 8'((9'd1 << pixels_q) - 9'd1);
    piece.p     = p_q;
    piece.g     = g_q[9:0];
    piece.row   = first_row[15:0];
    for (int unsigned i = 0; i < PieceBytes; i++) piece.data[i] = 8'(192'(win_q) >> (8 * (i + 32'(off_q))));
  end

  /* verilator lint_off PINCONNECTEMPTY */     // the level says it
  ks_fifo #(
    .Width($bits(piece_t)),
    .Depth(PieceDepth)
  ) u_pieces (
    .clk_i, .rst_ni,
    .push_i(take_q), .wdata_i(piece), .full_o(),
    .pop_i(piece_pop), .rdata_o(head), .empty_o(piece_empty), .level_o(piece_level)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  // --- Output register -----------------------------------------------------------------------------------
  logic        out_valid_q, out_last_q, out_bad_q, done_q;
  logic [8:1]  is_bytes_q;                     // bytes_q, one-hot
  logic        out_free;
  logic [7:0]  mask_q;
  logic [19:0] out_p_q;
  logic [9:0]  out_g_q;
  logic [15:0] out_row_q;
  logic [7:0][63:0] words, out_data_q;

  always_comb begin
    words = '0;
    for (int unsigned i = 0; i < 8; i++) begin
      for (int unsigned k = 0; k < 8; k++) begin
        // Byte k of pixel i lies at i * c + k.
        for (int unsigned c = k + 1; c <= 8; c++) begin
          if (i * c + k < PieceBytes) words[i][8*k +: 8] |= head.data[i*c+k] & {8{is_bytes_q[c]}};
        end
      end
    end
  end

  assign out_free  = !out_valid_q || (wr_ready_i && !out_bad_q);
  assign piece_pop = !piece_empty && out_free;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      out_valid_q <= 1'b0;
      done_q      <= 1'b0;
    end else begin
      if (out_free) out_valid_q <= !piece_empty;
      done_q <= wr_valid_o && wr_ready_i && out_last_q;
    end
    for (int unsigned c = 1; c <= 8; c++) is_bytes_q[c] <= 32'(bytes_q) == c;
    if (out_free) begin
      out_last_q <= head.last;
      out_bad_q  <= head.bad;
      mask_q     <= head.mask;
      out_p_q    <= head.p;
      out_g_q    <= head.g;
      out_row_q  <= head.row;
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
  assign done_o      = done_q;
  assign idle_o      = q_level_q == 0 && rstate_q == RIdle && ustate_q == UIdle && piece_empty && !out_valid_q &&
                       !done_q;

  // Beats come only into room that was set aside, and no more than asked for.
  `KS_ASSERT(BeatRoom, !(l_rsp_valid_i && beat_full))
  `KS_ASSERT(UsedInRange, used_q <= 7'(FifoBeats) && beat_level <= used_q)
  `KS_ASSUME(BeatAsked, !l_rsp_valid_i || beat_level < used_q)
  `KS_ASSUME(QueueRoom, !(q_full_write && q_level_q == 3'(QDepth)))
  // A piece is taken out when it is there, and a full one takes one or two beats.
  `KS_ASSERT(PieceThere, !take_q || need_q <= win_n_q)
  `KS_ASSERT(WindowInRange, !(take_q && ustate_q == URun) ||
             ((drop_q == 2'd1 || drop_q == 2'd2) && drop_q <= win_n_q))
  // A word is one beat: the window never holds a part of one.
  `KS_ASSERT(WholeWords, !(ustate_q == URun && (nhwc_q || planar_q)) || off_q == 0)
  // A burst of 16 beats ends at a multiple of 128.
  `KS_ASSUME(Aligned, rstate_q != RReq || (desc.addr[6:0] == 0 && base[6:0] == 0))

endmodule

`default_nettype wire
