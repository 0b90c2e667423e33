// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Front end: fetches the descriptors of a program, checks them, hands them to the units in order.
//
// Fetch: start_i in cycle s; from s+1 one 16-beat burst per descriptor is made in a cycle without an offered one
// while fewer than two descriptors are requested and not yet moved; d_req_valid_o is high from the next until
// it is accepted. Beats go to a FIFO of 32 words (visible in the cycle after d_rsp_valid_i).
// Dispatch, per descriptor: in state Head, when 16 words have been in the FIFO since the cycle before, the head word
// names the kind. When its target has room (compute_room_i, load_room_i, out_room_i; COMPUTE with a new weight
// segment also seg_room_i) in cycle t, the words are popped in t+1 .. t+16 and word i is at q_wdata_o
// with q_widx_o = i and the write enable of its unit in cycle t+4+i; seg_push_o and desc_o come
// with word 15 in t+19; Head again in t+20. So one descriptor takes 20 cycles.
// Every word is checked in the two cycles before it is at q_wdata_o; a bad word is not handed over, nor anything
// after it, err_o rises in the cycle it would be there, and the front end halts until reset. An unknown kind, an
// END that is not the last descriptor and a last one that is not END are found in state Head (BAD_OPCODE).
// END takes the 20 cycles too, without room; then in the first cycle after one in which units_idle_i is high
// done_o rises.
// n_load_o, n_compute_o, n_out_o count completion pulses since reset (new value one cycle after). Every start comes
// after a reset.

`include "ks_assert.svh"
`default_nettype none

module hv_front
  import hv_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic        stop_i,             // issue nothing new
  input  wire logic        start_i,
  input  wire logic [31:0] desc_base_i,
  input  wire logic [15:0] desc_count_i,       // 1 .. 65535
  input  wire logic [31:0] pkg_base_i,

  output logic             d_req_valid_o,
  output logic [31:0]      d_req_addr_o,
  output logic [3:0]       d_req_beats_m1_o,
  input  wire logic        d_req_ready_i,
  input  wire logic        d_rsp_valid_i,
  input  wire logic [HV_BUS_BYTES*8-1:0] d_rsp_data_i,

  output logic [63:0]      q_wdata_o,
  output logic [3:0]       q_widx_o,
  output logic             q_we_compute_o,
  output logic             q_we_load_o,
  output logic             q_we_out_o,
  input  wire logic        compute_room_i,     // a whole descriptor fits
  input  wire logic        load_room_i,
  input  wire logic        out_room_i,
  output logic             seg_push_o,
  output logic [31:0]      seg_addr_o,
  output logic [19:0]      seg_words_o,
  input  wire logic        seg_room_i,

  input  wire logic        compute_done_i,     // one descriptor complete (pulses)
  input  wire logic        load_done_i,
  input  wire logic        out_done_i,
  output logic [15:0]      n_compute_o,
  output logic [15:0]      n_load_o,
  output logic [15:0]      n_out_o,

  input  wire logic        units_idle_i,       // every unit and the weight prefetch are idle
  output logic             desc_o,             // a descriptor was dispatched (pulse, CNT_DESC)
  output logic             end_o,              // END was reached: no more descriptors (until reset)
  output logic             done_o,             // the program is complete (pulse)
  output logic             err_o,              // pulse
  output error_cause_e     err_cause_o,
  output logic [15:0]      err_info_o          // index of the descriptor
);

  if (HV_BUS_BYTES != 8) begin : gen_bad_bus
    $error("hv_front: only a 64-bit bus is supported");
  end

  localparam int unsigned FifoDescs = 2;
  localparam int unsigned FifoWords = FifoDescs * HV_DESC_WORDS;

  typedef logic [HV_DESC_WORDS-1:0][63:0] words_t;

  // Drain1, Drain2: the last words are checked; Check: word 15 is at the outputs.
  typedef enum logic [2:0] {Off, Head, Move, Drain1, Drain2, Check, End, Halt} state_e;
  state_e state_q;

  // --- Fetch ---------------------------------------------------------------------------------------
  logic [31:0] req_addr_q;
  logic [15:0] req_left_q;                     // descriptors still to be requested
  logic [1:0]  held_q;                         // descriptors requested and not moved
  logic        req_valid_q, make, moved;

  assign make             = req_left_q != 0 && held_q < 2'(FifoDescs) && !stop_i && !req_valid_q;
  assign d_req_valid_o    = req_valid_q;
  assign d_req_addr_o     = req_addr_q;
  assign d_req_beats_m1_o = 4'(HV_DESC_WORDS - 1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      req_left_q  <= '0;
      held_q      <= '0;
      req_valid_q <= 1'b0;
    end else begin
      if (start_i) req_left_q <= desc_count_i;
      else if (make) req_left_q <= req_left_q - 16'd1;
      held_q <= held_q + 2'(make) - 2'(moved);
      if (make) req_valid_q <= 1'b1;
      else if (d_req_ready_i) req_valid_q <= 1'b0;
    end
    if (start_i) req_addr_q <= desc_base_i;
    else if (req_valid_q && d_req_ready_i) req_addr_q <= req_addr_q + 32'(HV_DESC_BYTES);
  end

  logic [63:0] head;
  logic        fifo_pop, fifo_empty, fifo_full;
  logic [$clog2(FifoWords):0] fifo_level;

  ks_fifo #(
    .Width(64),
    .Depth(FifoWords)
  ) u_fifo (
    .clk_i, .rst_ni,
    .push_i(d_rsp_valid_i), .wdata_i(d_rsp_data_i), .full_o(fifo_full),
    .pop_i(fifo_pop), .rdata_o(head), .empty_o(fifo_empty), .level_o(fifo_level)
  );

  // --- Dispatch ------------------------------------------------------------------------------------
  logic [15:0] index_q, left_q;                // descriptor at the head; descriptors not moved
  logic        one_left_q;                     // left_q == 1 in the cycle before
  logic [3:0]  pop_idx_q;
  desc_op_e    kind_q;
  logic        wnew_q;

  // Word 0 of the next descriptor as it was at the FIFO in the cycle before, and whether all of it was there.
  // Only bits of word 0 are looked at.
  /* verilator lint_off UNUSED */
  compute_desc_t head_compute;
  /* verilator lint_on UNUSED */
  desc_op_e    head_op_q;
  logic        head_there_q, head_wnew_q;
  logic        head_known, head_room, head_bad, head_bad_q;

  // Stages behind the FIFO: in_*: the word that is checked; mid_*: with what the check found; out_*: at the outputs.
  logic        in_valid_q, mid_valid_q, out_bad_q, dead_q, mid_bad, mid_ok;
  logic [3:0]  in_idx_q, mid_idx_q, out_idx_q;
  logic [63:0] in_word_q, mid_word_q, out_word_q;
  logic        we_compute_q, we_load_q, we_out_q, seg_push_q, last_q, done_q, ended_q;

  assign head_compute = {HV_DESC_WORDS{head}};

  always_ff @(posedge clk_i) begin
    head_op_q    <= desc_op_e'(head_compute.op);
    head_wnew_q  <= head_compute.wnew && head_compute.op == OP_COMPUTE;
    head_there_q <= fifo_level >= ($clog2(FifoWords) + 1)'(HV_DESC_WORDS);
    one_left_q   <= left_q == 16'd1;
  end

  always_comb begin
    head_known = 1'b1;
    unique case (head_op_q)
      OP_COMPUTE:       head_room = compute_room_i && (!head_wnew_q || seg_room_i);
      OP_LOAD:          head_room = load_room_i;
      OP_STORE, OP_CONF: head_room = out_room_i;
      OP_END:           head_room = 1'b1;
      default: begin
        head_known = 1'b0;
        head_room  = 1'b0;
      end
    endcase
  end

  assign head_bad = state_q == Head && head_there_q && (!head_known || (head_op_q == OP_END) != one_left_q);
  assign fifo_pop = state_q == Move;
  assign moved    = state_q == Move && pop_idx_q == 4'(HV_DESC_WORDS - 1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q    <= Off;
      head_bad_q <= 1'b0;
      done_q     <= 1'b0;
      ended_q    <= 1'b0;
    end else begin
      head_bad_q <= head_bad;
      done_q     <= state_q == End && units_idle_i;
      ended_q    <= ended_q || state_q == End;
      unique case (state_q)
        Off:    if (start_i) state_q <= Head;
        Head: begin
          if (head_bad) state_q <= Halt;
          else if (head_there_q && head_room) state_q <= Move;
        end
        Move:   if (moved) state_q <= Drain1;
        Drain1: state_q <= Drain2;
        Drain2: state_q <= Check;
        Check:  state_q <= kind_q == OP_END ? End : Head;
        End:    if (units_idle_i) state_q <= Off;
        default: state_q <= Halt;
      endcase
      if (dead_q) state_q <= Halt;
    end

    if (start_i) index_q <= '0;
    else if (state_q == Check) index_q <= index_q + 16'd1;
    if (start_i) left_q <= desc_count_i;
    else if (moved) left_q <= left_q - 16'd1;
    if (state_q == Head) begin
      kind_q    <= head_op_q;
      wnew_q    <= head_wnew_q;
      pop_idx_q <= '0;
    end else if (state_q == Move) begin
      pop_idx_q <= pop_idx_q + 4'd1;
    end
  end

  assign mid_ok = mid_valid_q && !mid_bad && !dead_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      in_valid_q   <= 1'b0;
      mid_valid_q  <= 1'b0;
      out_bad_q    <= 1'b0;
      dead_q       <= 1'b0;
      we_compute_q <= 1'b0;
      we_load_q    <= 1'b0;
      we_out_q     <= 1'b0;
      seg_push_q   <= 1'b0;
      last_q       <= 1'b0;
    end else begin
      in_valid_q   <= fifo_pop;
      mid_valid_q  <= in_valid_q;
      out_bad_q    <= mid_valid_q && mid_bad && !dead_q;
      dead_q       <= dead_q || (mid_valid_q && mid_bad);
      we_compute_q <= mid_ok && kind_q == OP_COMPUTE;
      we_load_q    <= mid_ok && kind_q == OP_LOAD;
      we_out_q     <= mid_ok && (kind_q == OP_STORE || kind_q == OP_CONF);
      last_q       <= mid_ok && mid_idx_q == 4'(HV_DESC_WORDS - 1);
      seg_push_q   <= mid_ok && mid_idx_q == 4'(HV_DESC_WORDS - 1) && wnew_q;
    end
    in_idx_q   <= pop_idx_q;
    in_word_q  <= head;
    mid_idx_q  <= in_idx_q;
    mid_word_q <= in_word_q;
    out_idx_q  <= mid_idx_q;
    out_word_q <= mid_word_q;
  end

  assign q_wdata_o      = out_word_q;
  assign q_widx_o       = out_idx_q;
  assign q_we_compute_o = we_compute_q;
  assign q_we_load_o    = we_load_q;
  assign q_we_out_o     = we_out_q;
  assign seg_push_o     = seg_push_q;
  assign desc_o         = last_q;
  assign end_o          = state_q == End || ended_q;
  assign done_o         = done_q;

  // --- Checks of a word --------------------------------------------------------------------------------
  // The word is laid over every word of each kind's struct; a field is looked at in its own word.
  /* verilator lint_off UNUSED */
  compute_desc_t as_compute;
  load_desc_t    as_load;
  store_desc_t   as_store;
  conf_desc_t    as_conf;
  /* verilator lint_on UNUSED */
  localparam words_t ComputeMask = words_t'(COMPUTE_RSVD_MASK);
  localparam words_t LoadMask    = words_t'(LOAD_RSVD_MASK);
  localparam words_t StoreMask   = words_t'(STORE_RSVD_MASK);
  localparam words_t ConfMask    = words_t'(CONF_RSVD_MASK);
  localparam words_t EndMask     = words_t'(END_RSVD_MASK);

  logic [63:0] mask;
  logic        field_bad, field_bad_q, keep_q;
  logic [7:0]  rsvd_bad_q;                     // by byte
  load_mode_e  mode_q;
  logic [15:0] d_compute_q, d_load_q, d_out_q; // descriptors of each unit dispatched
  logic        rel_q;                          // the layer releases its segment
  logic [31:0] seg_addr_q;
  logic [19:0] seg_words_q;
  localparam int unsigned AlignBits = $clog2(HV_ALIGN_BYTES);

  assign as_compute = {HV_DESC_WORDS{in_word_q}};
  assign as_load    = {HV_DESC_WORDS{in_word_q}};
  assign as_store   = {HV_DESC_WORDS{in_word_q}};
  assign as_conf    = {HV_DESC_WORDS{in_word_q}};

  always_comb begin
    field_bad = 1'b0;
    unique case (kind_q)
      OP_COMPUTE: begin
        mask = ComputeMask[in_idx_q];
        // Word 0: a mapping that the configuration has; counts that can be reached; a segment to reuse.
        if (in_idx_q == 4'd0) begin
          field_bad = 32'(as_compute.glog) > HV_GLOG_MAX || as_compute.wait_load > d_load_q ||
                      as_compute.wait_out > d_out_q || (!wnew_q && !keep_q);
        end
        // Word 1: an aligned segment that is not empty.
        if (in_idx_q == 4'd1) begin
          field_bad = wnew_q && (as_compute.waddr[AlignBits-1:0] != 0 || as_compute.wwords == 0);
        end
      end
      OP_LOAD: begin
        mask = LoadMask[in_idx_q];
        if (in_idx_q == 4'd0) begin
          field_bad = as_load.mode > LM_PLANAR || as_load.wait_compute > d_compute_q ||
                      as_load.wait_out > d_out_q;
        end
        if (in_idx_q == 4'd1) begin
          field_bad = as_load.addr[AlignBits-1:0] != 0 || as_load.beats == 0;
        end
        if (in_idx_q == 4'd3) begin
          field_bad = as_load.count == 0 || (mode_q == LM_PLANAR && as_load.n == 0) ||
                      (mode_q != LM_PLANAR && as_load.chans == 0) ||
                      (mode_q == LM_RAW && as_load.chans > 12'(HV_WORD_BYTES));
        end
      end
      OP_STORE: begin
        mask = StoreMask[in_idx_q];
        if (in_idx_q == 4'd0) begin
          field_bad = as_store.wait_compute > d_compute_q || as_store.wait_load > d_load_q;
        end
        if (in_idx_q == 4'd1) field_bad = as_store.addr[AlignBits-1:0] != 0;
        if (in_idx_q == 4'd3) field_bad = as_store.groups == 0 || as_store.n == 0;
      end
      OP_CONF: begin
        mask = ConfMask[in_idx_q];
        if (in_idx_q == 4'd0) begin
          field_bad = as_conf.wait_compute > d_compute_q || as_conf.wait_load > d_load_q;
        end
        if (in_idx_q == 4'd1) field_bad = as_conf.addr[AlignBits-1:0] != 0;
        if (in_idx_q == 4'd3) field_bad = as_conf.classes == 0 || as_conf.classes > 11'd1024;
      end
      default: mask = EndMask[in_idx_q];
    endcase
  end

  assign mid_bad     = field_bad_q || rsvd_bad_q != 0;
  assign err_o       = out_bad_q || head_bad_q;
  assign err_cause_o = head_bad_q ? ERR_BAD_OPCODE : ERR_BAD_FIELD;
  assign err_info_o  = index_q;

  always_ff @(posedge clk_i) begin
    field_bad_q <= field_bad;
    for (int unsigned i = 0; i < 8; i++) rsvd_bad_q[i] <= (in_word_q[8*i +: 8] & mask[8*i +: 8]) != 0;
    if (in_valid_q && in_idx_q == 4'd0) mode_q <= load_mode_e'(as_load.mode);
    if (in_valid_q && in_idx_q == 4'd1) begin
      seg_addr_q  <= pkg_base_i + as_compute.waddr;
      seg_words_q <= as_compute.wwords;
    end
    if (in_valid_q && in_idx_q == 4'd0) rel_q <= as_compute.wrel;
    if (!rst_ni) begin
      keep_q      <= 1'b0;
      d_compute_q <= '0;
      d_load_q    <= '0;
      d_out_q     <= '0;
    end else begin
      if (we_compute_q && last_q) keep_q <= !rel_q;
      d_compute_q <= d_compute_q + 16'(we_compute_q && last_q);
      d_load_q    <= d_load_q + 16'(we_load_q && last_q);
      d_out_q     <= d_out_q + 16'(we_out_q && last_q);
    end
  end

  assign seg_addr_o  = seg_addr_q;
  assign seg_words_o = seg_words_q;

  // --- Completion counts -----------------------------------------------------------------------------
  logic [15:0] n_compute_q, n_load_q, n_out_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      n_compute_q <= '0;
      n_load_q    <= '0;
      n_out_q     <= '0;
    end else begin
      n_compute_q <= n_compute_q + 16'(compute_done_i);
      n_load_q    <= n_load_q + 16'(load_done_i);
      n_out_q     <= n_out_q + 16'(out_done_i);
    end
  end

  assign n_compute_o = n_compute_q;
  assign n_load_o    = n_load_q;
  assign n_out_o     = n_out_q;

  // The FIFO takes every beat that was asked for.
  `KS_ASSERT(FifoRoom, !(d_rsp_valid_i && fifo_full))
  `KS_ASSERT(FifoThere, !(fifo_pop && fifo_empty))
  `KS_ASSERT(HeldInRange, held_q <= 2'(FifoDescs))
  `KS_ASSERT(OneTarget, $onehot0({q_we_compute_o, q_we_load_o, q_we_out_o}))
  // A unit never completes more than it was given.
  `KS_ASSUME(ComputeDone, n_compute_q <= d_compute_q)
  `KS_ASSUME(LoadDone, n_load_q <= d_load_q)
  `KS_ASSUME(OutDone, n_out_q <= d_out_q)
  `KS_ASSUME(NoStartWhileRunning, !start_i || state_q == Off)

endmodule

`default_nettype wire
