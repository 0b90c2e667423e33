// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Weight prefetcher, weight ring and weight sequencer.
//
// Prefetcher: takes weight segments (address, ring words) from a queue of 16 and requests bursts of 16 beats,
// the last one what is left (segments begin at multiples of 128 bytes), as long as the ring has room for
// them, layers ahead of use. A segment taken in cycle t is prepared for a burst in t+1; in t+2 or the first
// later cycle with room the burst is made, and req_valid_o is high from the next until it is accepted; the
// cycle after that prepares the next. Words released in cycle t make room from t+2.
// Ring: HV_RING_WORDS words of 4*WB bytes, each written with its last beat.
// Sequencer: per layer, per output-channel tile: 2G+1 parameter words into the parameter banks, then
// the weight words once per pixel tile into a FIFO of 16 words for the array. One word per cycle;
// it waits for words not yet fetched, for room in the FIFO, and before the parameters of a
// tile until the requantisation of the tile before the previous one has finished (two banks).
// Timing: a word requested in cycle t is in the parameter bank or at the FIFO from cycle t+2. A word whose last
// beat comes with rsp_valid_i in cycle t can be requested from t+3. A place of the FIFO that wpop_i frees in
// cycle t can be given to a word requested from t+2.

`default_nettype none

module hv_wring
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  // Segments from the front end.
  input  wire logic        seg_push_i,
  input  wire logic [31:0] seg_addr_i,     // absolute byte address, multiple of 128
  input  wire logic [19:0] seg_words_i,
  output logic             seg_room_o,
  output logic             seg_idle_o,     // nothing queued, requested or in flight

  // Read requester.
  output logic             req_valid_o,
  output logic [31:0]      req_addr_o,
  output logic [3:0]       req_beats_m1_o,
  input  wire logic        req_ready_i,
  input  wire logic        rsp_valid_i,
  input  wire logic [HV_BUS_BYTES*8-1:0] rsp_data_i,

  // Layer control.
  input  wire logic        layer_start_i,  // desc_i is a new layer
  /* verilator lint_off UNUSEDSIGNAL */  // the other units use the remaining fields
  input  wire compute_desc_t desc_i,
  /* verilator lint_on UNUSEDSIGNAL */
  output logic             layer_done_o,   // all words of the layer have been issued (level)
  input  wire logic        oct_drained_i,  // requantisation finished with one output-channel tile

  // Weight words for the array.
  output logic             wvalid_o,
  output ring_word_t       wdata_o,
  output logic             wnarrow_o,      // bit 7 of the first shift byte of the word's tile
  input  wire logic        wpop_i,

  // Parameter read port of the requantisation (bank, group), combinational.
  input  wire logic        pbank_i,
  input  wire logic [1:0]  pgroup_i,
  output logic [Wb-1:0][31:0] pbias_o,
  output logic [Wb-1:0][31:0] pmult_o,
  output logic [Wb-1:0][7:0]  pshift_o
);

  localparam int unsigned CntW = 21;             // pointers count words modulo 2^21
  localparam int unsigned SegDepth = 16;
  localparam int unsigned BurstBeats = 16;
  localparam int unsigned BeatSel = $clog2(RwBeats);

  // --- Segment queue and prefetcher -----------------------------------------------------------
  localparam int unsigned WordSel = $clog2(BurstBeats) - BeatSel;  // words of a full burst, as bits

  logic [51:0] seg_mem [SegDepth];
  logic [3:0]  seg_w_q, seg_r_q;
  logic [4:0]  seg_n_q;
  logic        seg_idle_q;
  logic        cur_q;                            // bursts of a segment are still to be made
  logic [31:7] addr_q;
  logic [19-WordSel:0] bursts_q;                 // full ones still to be made
  logic [WordSel-1:0]  rest_q;                   // words of the burst after them
  logic        prepared_q;                       // these describe the next burst:
  logic [WordSel:0] words_q;                     //   its words
  logic        full_q, end_q;                    //   a full one; the segment's last one
  logic        req_valid_q;
  logic [3:0]  req_m1_q;
  logic [CntW-1:0] alloc_q, wr_q;                // words asked for, received
  logic [RingAw:0] rel_q, rel_before_q;          // words released; up to the cycle before
  logic [RingAw:0] used_q;                       // asked for and not released
  logic [BeatSel-1:0] beat_q;
  logic        seg_pop, many_free, make;

  // The ring has a power of two words: more than a full burst of them is free, or some up to that.
  assign many_free  = !(&used_q[RingAw-1:WordSel]);
  assign make       = prepared_q && !used_q[RingAw] &&
                      (many_free || (WordSel+1)'(used_q[WordSel-1:0]) + words_q <= (WordSel+1)'(1 << WordSel));
  assign seg_pop    = !cur_q && !req_valid_q && seg_n_q != 0;
  assign seg_room_o = seg_n_q < 5'(SegDepth);
  assign seg_idle_o = seg_idle_q;
  assign req_valid_o    = req_valid_q;
  assign req_addr_o     = {addr_q, 7'd0};
  assign req_beats_m1_o = req_m1_q;

  always_ff @(posedge clk_i) begin
    if (seg_push_i) seg_mem[seg_w_q] <= {seg_words_i, seg_addr_i};
    seg_idle_q <= !cur_q && !req_valid_q && seg_n_q == 0 && alloc_q == wr_q;
    if (!rst_ni) begin
      seg_w_q      <= '0;
      seg_r_q      <= '0;
      seg_n_q      <= '0;
      cur_q        <= 1'b0;
      prepared_q   <= 1'b0;
      req_valid_q  <= 1'b0;
      alloc_q      <= '0;
      wr_q         <= '0;
      used_q       <= '0;
      rel_before_q <= '0;
      beat_q       <= '0;
    end else begin
      seg_n_q <= seg_n_q + 5'(seg_push_i) - 5'(seg_pop);
      if (seg_push_i) seg_w_q <= seg_w_q + 4'd1;
      if (seg_pop) begin
        seg_r_q <= seg_r_q + 4'd1;
        cur_q   <= 1'b1;
      end else if (make && end_q) begin
        cur_q <= 1'b0;
      end
      prepared_q <= cur_q && !req_valid_q && !make;
      if (make) req_valid_q <= 1'b1;
      else if (req_ready_i) req_valid_q <= 1'b0;
      if (make) alloc_q <= alloc_q + CntW'(words_q);
      rel_before_q <= rel_q;
      used_q <= used_q + (make ? (RingAw+1)'(words_q) : '0) - (rel_q - rel_before_q);
      if (rsp_valid_i) begin
        beat_q <= beat_q + BeatSel'(1);
        if (beat_q == BeatSel'(RwBeats - 1)) wr_q <= wr_q + CntW'(1);
      end
    end
    if (seg_pop) begin
      {bursts_q, rest_q} <= seg_mem[seg_r_q][51:32];
      addr_q             <= seg_mem[seg_r_q][31:7];
    end else begin
      if (req_valid_q && req_ready_i) addr_q <= addr_q + 25'd1;
      if (make && full_q) bursts_q <= bursts_q - (20-WordSel)'(1);
    end
    if (!prepared_q) begin
      full_q   <= bursts_q != 0;
      end_q    <= bursts_q == 0 || (bursts_q == 1 && rest_q == 0);
      words_q  <= bursts_q != 0 ? (WordSel+1)'(1 << WordSel) : (WordSel+1)'(rest_q);
      if (!req_valid_q) req_m1_q <= bursts_q != 0 ? 4'(BurstBeats - 1) : 4'(5'(rest_q) << BeatSel) - 4'd1;
    end
  end

  // --- Ring memory: two halves that hold whole words -------------------------------------------
  // A block RAM as deep as half a ring has columns of nine bits: 29 for a word of 256 bits, where one as deep as
  // the ring has columns of four. So the beats of a word are collected first.
  ring_word_t ring_rdata, ring_wdata;
  logic       rd_en, wr_word;
  logic [CntW-1:0] rd_q;                         // next word to read
  logic [RwBeats-2:0][HV_BUS_BYTES*8-1:0] collect_q;
  ring_word_t [1:0] half_rdata;
  logic       half_q;                            // half of the word read last

  assign ring_wdata = {rsp_data_i, collect_q};
  assign wr_word    = rsp_valid_i && beat_q == BeatSel'(RwBeats - 1);

  for (genvar c = 0; c < RwBeats - 1; c++) begin : gen_collect
    always_ff @(posedge clk_i) begin
      if (rsp_valid_i && beat_q == BeatSel'(c)) collect_q[c] <= rsp_data_i;
    end
  end
  for (genvar h = 0; h < 2; h++) begin : gen_half
    // A word is read only after it is complete, so no read meets a write of its word.
    (* no_rw_check *) ring_word_t mem [HV_RING_WORDS/2];
    ring_word_t rdata_q;
    always_ff @(posedge clk_i) begin
      if (wr_word && wr_q[RingAw-1] == 1'(h)) mem[wr_q[RingAw-2:0]] <= ring_wdata;
      if (rd_en && rd_q[RingAw-1] == 1'(h)) rdata_q <= mem[rd_q[RingAw-2:0]];
    end
    assign half_rdata[h] = rdata_q;
  end
  always_ff @(posedge clk_i) begin
    if (rd_en) half_q <= rd_q[RingAw-1];
  end
  assign ring_rdata = half_rdata[half_q];

  // --- Sequencer --------------------------------------------------------------------------------
  typedef enum logic [3:0] {Idle = 4'b0001, Guard = 4'b0010, Param = 4'b0100, Weight = 4'b1000} state_e;
  state_e state_q;

  logic [CntW-1:0] seg_base_q, seg_next_q, tile_base_q;
  // Of the layer, ready when Guard has passed: words and pixel tiles, less one, and whether that is zero.
  logic [15:0] kwords_m1_q;
  logic        kwords_one_q, nptile_one_q;
  // Still to come behind the present tile, pixel tile, word; whether the present one is the last.
  logic [9:0]  octs_q;
  logic [15:0] ptiles_q, words_left_q;
  logic        oct_last_q, ptile_last_q, word_last_q;
  logic [3:0]  par_q, par_last;
  logic        bank_q;
  logic [1:0]  open_q;                           // parameter banks in use
  // Words received and not read: of those received up to the cycle before the last one.
  logic signed [CntW:0] lead_q, lead_guard;
  logic        avail_q;                          // lead_q > 0
  logic        rx_q;                             // wr_q moved at the end of the cycle before
  logic [4:0]  held_q;                           // words in the FIFO and on the way to it
  logic        credit_q;                         // there is a place for another
  logic        rd_weight, rewind, tile_end;

  assign par_last  = 4'(2 << desc_i.glog);       // 2G
  assign rd_weight = state_q[3] && avail_q && credit_q;     // one-hot: Weight
  assign rd_en     = rd_weight || (state_q[2] && avail_q);  // Param
  assign rewind    = rd_weight && word_last_q && !ptile_last_q;
  assign tile_end  = rd_weight && word_last_q && ptile_last_q;
  assign lead_guard = (CntW+1)'(signed'(CntW'(wr_q - rd_q)));

  always_ff @(posedge clk_i) begin
    rx_q <= wr_word;
    if (state_q[1]) begin  // Guard
      lead_q  <= lead_guard;
      avail_q <= lead_guard > 0;
    end else begin
      lead_q  <= lead_q + (rewind ? (CntW+1)'(kwords_m1_q) : {(CntW+1){rd_en}}) + (CntW+1)'(rx_q);
      // A word is read only when there is one, so those of the tile are there after the first pass.
      avail_q <= rewind || (lead_q >= 0 && (lead_q > 1 || (lead_q == 1 && !rd_en) || rx_q));
    end
    if (!rst_ni) begin
      held_q   <= '0;
      credit_q <= 1'b0;
    end else begin
      if (rd_weight && !wpop_i) held_q <= held_q + 5'd1;
      else if (wpop_i && !rd_weight) held_q <= held_q - 5'd1;
      credit_q <= held_q + 5'(rd_weight) < 5'd16;
    end
    if (state_q[1]) begin  // Guard
      kwords_m1_q  <= desc_i.kwords - 16'd1;
      kwords_one_q <= desc_i.kwords == 16'd1;
      nptile_one_q <= desc_i.nptile_m1 == 0;
    end
  end

  // Destination of the word that leaves the memory in this cycle.
  logic       dst_weight_q, dst_param_q, dst_bank_q;
  logic [3:0] dst_par_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q      <= Idle;
      rd_q         <= '0;
      rel_q        <= '0;
      seg_next_q   <= '0;
      seg_base_q   <= '0;
      bank_q       <= 1'b0;
      open_q       <= '0;
      dst_weight_q <= 1'b0;
      dst_param_q  <= 1'b0;
    end else begin
      dst_weight_q <= rd_weight;
      dst_param_q  <= state_q[2] && avail_q;
      open_q <= open_q + 2'(state_q[1] && open_q != 2'd2) - 2'(oct_drained_i);
      if (rd_en) rd_q <= rd_q + CntW'(1);
      case (state_q)
        Idle: begin
          if (layer_start_i) begin
            state_q    <= Guard;
            octs_q     <= desc_i.noct_m1;
            oct_last_q <= desc_i.noct_m1 == 0;
            if (desc_i.wnew) begin
              seg_base_q <= seg_next_q;
              seg_next_q <= seg_next_q + CntW'(desc_i.wwords);
              rd_q       <= seg_next_q;
            end else begin
              rd_q <= seg_base_q;
            end
          end
        end
        Guard: begin
          if (open_q != 2'd2) state_q <= Param;
        end
        Param: begin
          if (rd_en && par_q == par_last) begin
            state_q <= Weight;
            bank_q  <= !bank_q;
          end
        end
        Weight: begin
          if (rewind) rd_q <= tile_base_q;
          if (tile_end) begin
            octs_q     <= octs_q - 10'd1;
            oct_last_q <= octs_q == 10'd1;
            if (desc_i.wrel) rel_q <= (RingAw+1)'(rd_q) + (RingAw+1)'(1);
            state_q <= oct_last_q ? Idle : Guard;
          end
        end
        default: state_q <= Idle;
      endcase
    end
    if (state_q[1]) par_q <= '0;
    else if (rd_en) par_q <= par_q + 4'd1;
    if (state_q[2]) begin                          // Param: the last word is followed by the first of the weights
      tile_base_q  <= rd_q + CntW'(1);
      ptiles_q     <= desc_i.nptile_m1;
      ptile_last_q <= nptile_one_q;
    end else if (rewind) begin
      ptiles_q     <= ptiles_q - 16'd1;
      ptile_last_q <= ptiles_q == 16'd1;
    end
    if (state_q[2] || rewind) begin
      words_left_q <= kwords_m1_q;
      word_last_q  <= kwords_one_q;
    end else if (rd_en) begin
      words_left_q <= words_left_q - 16'd1;
      word_last_q  <= words_left_q == 16'd1;
    end
    dst_bank_q <= bank_q;
    dst_par_q  <= par_q;
  end

  assign layer_done_o = state_q[0];

  // --- Parameter banks --------------------------------------------------------------------------
  logic [Wb-1:0][31:0] bias_mem [2*ParamGroups];
  logic [Wb-1:0][31:0] mult_mem [2*ParamGroups];
  logic [ParamGroups-1:0][Wb-1:0][7:0] shift_q [2];
  logic [1:0] bias_idx, mult_idx;
  logic       is_bias;

  assign is_bias  = dst_par_q <= (par_last >> 1);
  assign bias_idx = 2'(dst_par_q - 4'd1);
  assign mult_idx = 2'(dst_par_q - 4'd1 - (par_last >> 1));

  always_ff @(posedge clk_i) begin
    if (dst_param_q && dst_par_q == 0) shift_q[dst_bank_q] <= ring_rdata;
    if (dst_param_q && dst_par_q != 0 && is_bias) bias_mem[{dst_bank_q, bias_idx}] <= ring_rdata;
    if (dst_param_q && dst_par_q != 0 && !is_bias) mult_mem[{dst_bank_q, mult_idx}] <= ring_rdata;
  end

  assign pbias_o  = bias_mem[{pbank_i, pgroup_i}];
  assign pmult_o  = mult_mem[{pbank_i, pgroup_i}];
  assign pshift_o = shift_q[pbank_i][pgroup_i];

  // --- Word FIFO -------------------------------------------------------------------------------
  logic        narrow_q;                         // of the tile whose parameters came last
  logic        fifo_empty;

  always_ff @(posedge clk_i) begin
    if (dst_param_q && dst_par_q == 0) narrow_q <= ring_rdata[0][7];
  end

  /* verilator lint_off PINCONNECTEMPTY */       // held_q says it
  ks_fifo #(
    .Width($bits(ring_word_t) + 1),
    .Depth(16)
  ) u_fifo (
    .clk_i, .rst_ni,
    .push_i(dst_weight_q), .wdata_i({narrow_q, ring_rdata}), .full_o(),
    .pop_i(wpop_i), .rdata_o({wnarrow_o, wdata_o}), .empty_o(fifo_empty), .level_o()
  );
  /* verilator lint_on PINCONNECTEMPTY */
  assign wvalid_o = !fifo_empty;

endmodule

`default_nettype wire
