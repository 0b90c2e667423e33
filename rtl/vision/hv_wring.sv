// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Weight prefetcher, weight ring and weight sequencer.
//
// Prefetcher: takes weight segments (address, ring words) from a queue of 16 and requests bursts
// that end at multiples of 128 bytes as long as the ring has room for them, layers ahead of use.
// Ring: HV_RING_WORDS words of 4*WB bytes, each written with its last beat.
// Sequencer: per layer, per output-channel tile: 2G+1 parameter words into the parameter banks, then
// the weight words once per pixel tile into a FIFO of 16 words for the array. One word per cycle;
// it waits for words not yet fetched, for room in the FIFO, and before the parameters of a
// tile until the requantisation of the tile before the previous one has finished (two banks).
// Timing: a word requested in cycle t is in the parameter bank or at the FIFO from cycle t+2.

`default_nettype none

module hv_wring
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic        start_i,        // new program: pointers back to zero

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
  localparam int unsigned BeatBytes = HV_BUS_BYTES;
  localparam int unsigned BurstBeats = 16;
  localparam int unsigned BeatSel = $clog2(RwBeats);

  // --- Segment queue and prefetcher -----------------------------------------------------------
  logic [51:0] seg_mem [SegDepth];
  logic [3:0]  seg_w_q, seg_r_q;
  logic [4:0]  seg_n_q;
  logic        cur_q;                            // a segment is being requested
  logic [31:0] cur_addr_q;
  logic [22:0] cur_beats_q;
  logic [CntW-1:0] alloc_q, wr_q, rel_q;         // words requested, received, released
  logic [BeatSel-1:0] beat_q;
  logic [4:0]  to_edge, burst;
  logic [CntW-1:0] burst_words, used;
  logic        seg_pop, req_fire;

  always_comb begin
    to_edge = 5'(BurstBeats) - 5'(cur_addr_q[$clog2(BeatBytes) +: 4]);
    burst = (cur_beats_q < 23'(to_edge)) ? cur_beats_q[4:0] : to_edge;
    burst_words = CntW'(burst) >> BeatSel;
    used = alloc_q - rel_q;
    req_valid_o = cur_q && (used + burst_words <= CntW'(HV_RING_WORDS));
    req_addr_o = cur_addr_q;
    req_beats_m1_o = 4'(burst - 5'd1);
  end
  assign req_fire   = req_valid_o && req_ready_i;
  assign seg_pop    = !cur_q && seg_n_q != 0;
  assign seg_room_o = seg_n_q < 5'(SegDepth);
  assign seg_idle_o = !cur_q && seg_n_q == 0 && alloc_q == wr_q;

  always_ff @(posedge clk_i) begin
    if (seg_push_i) seg_mem[seg_w_q] <= {seg_words_i, seg_addr_i};
    if (!rst_ni || start_i) begin
      seg_w_q <= '0;
      seg_r_q <= '0;
      seg_n_q <= '0;
      cur_q   <= 1'b0;
      alloc_q <= '0;
      wr_q    <= '0;
      beat_q  <= '0;
    end else begin
      seg_n_q <= seg_n_q + 5'(seg_push_i) - 5'(seg_pop);
      if (seg_push_i) seg_w_q <= seg_w_q + 4'd1;
      if (seg_pop) begin
        seg_r_q <= seg_r_q + 4'd1;
        cur_q   <= 1'b1;
      end
      if (req_fire) begin
        alloc_q <= alloc_q + burst_words;
        if (cur_beats_q == 23'(burst)) cur_q <= 1'b0;
      end
      if (rsp_valid_i) begin
        beat_q <= beat_q + BeatSel'(1);
        if (beat_q == BeatSel'(RwBeats - 1)) wr_q <= wr_q + CntW'(1);
      end
    end
    if (seg_pop) {cur_beats_q, cur_addr_q} <= {23'(seg_mem[seg_r_q][51:32]) << BeatSel, seg_mem[seg_r_q][31:0]};
    if (req_fire) begin
      cur_addr_q  <= cur_addr_q + 32'(burst) * BeatBytes;
      cur_beats_q <= cur_beats_q - 23'(burst);
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
  typedef enum logic [1:0] {Idle, Guard, Param, Weight} state_e;
  state_e state_q;

  logic [CntW-1:0] seg_base_q, seg_next_q, tile_base_q;
  logic [9:0]  oct_q;
  logic [15:0] ptile_q, word_q;
  logic [3:0]  par_q, par_last;
  logic        bank_q;
  logic [1:0]  open_q;                           // parameter banks in use
  logic        avail, fifo_credit, word_last, ptile_last, oct_last;

  assign avail = $signed(wr_q - rd_q) > 0;
  assign par_last = 4'(2 << desc_i.glog);        // 2G
  assign word_last  = word_q == desc_i.kwords - 16'd1;
  assign ptile_last = ptile_q == desc_i.nptile_m1;
  assign oct_last   = oct_q == desc_i.noct_m1;

  always_comb begin
    rd_en = 1'b0;
    unique case (state_q)
      Param:   rd_en = avail;
      Weight:  rd_en = avail && fifo_credit;
      default: rd_en = 1'b0;
    endcase
  end

  // Destination of the word that leaves the memory in this cycle.
  logic       dst_weight_q, dst_param_q, dst_bank_q;
  logic [3:0] dst_par_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || start_i) begin
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
      dst_weight_q <= rd_en && state_q == Weight;
      dst_param_q  <= rd_en && state_q == Param;
      open_q <= open_q + 2'(state_q == Guard && open_q != 2'd2) - 2'(oct_drained_i);
      if (rd_en) rd_q <= rd_q + CntW'(1);
      unique case (state_q)
        Idle: begin
          if (layer_start_i) begin
            state_q <= Guard;
            oct_q   <= '0;
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
          par_q <= '0;
          if (open_q != 2'd2) state_q <= Param;
        end
        Param: begin
          if (rd_en) begin
            par_q <= par_q + 4'd1;
            if (par_q == par_last) begin
              state_q     <= Weight;
              tile_base_q <= rd_q + CntW'(1);
              ptile_q     <= '0;
              word_q      <= '0;
              bank_q      <= !bank_q;
            end
          end
        end
        Weight: begin
          if (rd_en) begin
            word_q <= word_q + 16'd1;
            if (word_last) begin
              word_q  <= '0;
              ptile_q <= ptile_q + 16'd1;
              if (!ptile_last) begin
                rd_q <= tile_base_q;
              end else begin
                oct_q <= oct_q + 10'd1;
                if (desc_i.wrel) rel_q <= rd_q + CntW'(1);
                state_q <= oct_last ? Idle : Guard;
              end
            end
          end
        end
        default: state_q <= Idle;
      endcase
    end
    dst_bank_q <= bank_q;
    dst_par_q  <= par_q;
  end

  assign layer_done_o = state_q == Idle;

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
  ring_word_t  fifo_mem [16];
  logic        narrow_mem [16];
  logic        narrow_q;                         // of the tile whose parameters came last
  logic [3:0]  f_w_q, f_r_q;
  logic [4:0]  f_n_q;

  assign fifo_credit = f_n_q + 5'(dst_weight_q) < 5'd16;
  assign wvalid_o = f_n_q != 0;
  assign wdata_o  = fifo_mem[f_r_q];
  assign wnarrow_o = narrow_mem[f_r_q];

  always_ff @(posedge clk_i) begin
    if (dst_param_q && dst_par_q == 0) narrow_q <= ring_rdata[0][7];
    if (dst_weight_q) fifo_mem[f_w_q] <= ring_rdata;
    if (dst_weight_q) narrow_mem[f_w_q] <= narrow_q;
    if (!rst_ni || start_i) begin
      f_w_q <= '0;
      f_r_q <= '0;
      f_n_q <= '0;
    end else begin
      if (dst_weight_q) f_w_q <= f_w_q + 4'd1;
      if (wpop_i) f_r_q <= f_r_q + 4'd1;
      f_n_q <= f_n_q + 5'(dst_weight_q) - 5'(wpop_i);
    end
  end

endmodule

`default_nettype wire
