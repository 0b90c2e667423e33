// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ||y||_2 of each block of 2^block_log2_i coordinates as fp32, truncated; +infinity where it does not fit.
// Equal to ref::block_norm: significands of 17 bits, squares exact, added up exactly for the three largest
// of the 32 exponent classes (8 binades each) that the block has; coordinates in lower ones are left out.
// Zeros and subnormal numbers count as 0; coordinates are finite. With max_i the result is the larger one
// of the norm and the block's word at s_other_* (>= 0), without it that stream is not looked at.
//
// One beat a cycle; the norm leaves 42 + log2(Lanes) cycles after the last beat of its block (43 at one
// lane; one more with max_i, if s_other_* is at hand). Sum, square root and output of a block take 36
// cycles (37 with max_i) beside the beats of the next one, which has 64 or more. A stalled sink or a missing other norm
// stops the input at the end of the next block; ready signals come from registers. Reset and clear_i (pulse
// while idle) forget what is inside; block_log2_i and max_i change only with clear_i.

`include "ks_assert.svh"
`default_nettype none

module thc_norm #(
  parameter int unsigned Lanes = 16   // coordinates of a beat: a power of two up to 16
) (
  input  wire logic                   clk_i,
  input  wire logic                   rst_ni,
  input  wire logic                   clear_i,
  input  wire logic [3:0]             block_log2_i,   // 10 .. 15
  input  wire logic                   max_i,

  input  wire logic                   s_axis_tvalid,
  output logic                        s_axis_tready,
  /* verilator lint_off UNUSEDSIGNAL */   // of a coordinate neither the sign nor the lowest bits matter
  input  wire logic [Lanes-1:0][31:0] s_axis_tdata,
  /* verilator lint_on UNUSEDSIGNAL */

  input  wire logic                   s_other_tvalid,
  output logic                        s_other_tready,
  input  wire logic [31:0]            s_other_tdata,

  output logic                        m_axis_tvalid,
  input  wire logic                   m_axis_tready,
  output logic [31:0]                 m_axis_tdata
);

  if (Lanes < 1 || Lanes > 16 || 2 ** $clog2(Lanes) != Lanes) begin : gen_bad_lanes
    $error("thc_norm: Lanes must be a power of two up to 16");
  end

  localparam int unsigned LaneLog2 = $clog2(Lanes);
  localparam int unsigned Classes = 3;
  localparam int unsigned TermW = 48;                 // (2^17)^2 * 2^14
  localparam int unsigned SumW = TermW + LaneLog2;    // of a beat
  localparam int unsigned AccW = TermW + 15;          // of a block
  localparam int unsigned MaxW = (Lanes + 3) / 4;

  typedef logic [4:0] class_t;

  logic flush_n, en_q, en_d, take, in_last;
  assign flush_n       = rst_ni && !clear_i;
  assign s_axis_tready = en_q && !clear_i;
  assign take          = s_axis_tvalid && s_axis_tready;

  localparam int unsigned CountW = 15 - LaneLog2;
  logic [CountW-1:0] count_q, last_count_q;
  assign in_last = count_q == last_count_q;
  always_ff @(posedge clk_i) begin
    en_q         <= flush_n && en_d;
    last_count_q <= CountW'((32'd1 << block_log2_i) / Lanes - 1);
    if (!flush_n)  count_q <= '0;
    else if (take) count_q <= in_last ? '0 : count_q + CountW'(1);
  end

  // ---- Terms of a beat. 1: significand and exponent; 2: square; 3: shifted within its class; 4: class below
  // the beat's largest one.
  logic   [Lanes-1:0][16:0]         s1_m;
  class_t [Lanes-1:0]               s1_class, s2_class, s3_class;
  logic   [Lanes-1:0][2:0]          s1_f, s2_f;
  logic   [Lanes-1:0]               s1_some, s2_some, s3_some;
  logic   [Lanes-1:0][33:0]         s2_square;
  logic   [Lanes-1:0][TermW-1:0]    s3_term, s4_term;
  logic   [Lanes-1:0][Classes-1:0]  s4_in;
  class_t [MaxW-1:0]                s2_top, s2_top_d;
  class_t                           s3_top, s3_top_d;

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_term
    logic [17:0]        rounded;
    logic signed [17:0] m;
    class_t             below;
    assign rounded = {2'b01, s_axis_tdata[l][22:7]} + 18'(s_axis_tdata[l][6]);
    assign m       = {1'b0, s1_m[l]};
    assign below   = s3_top - s3_class[l];
    always_ff @(posedge clk_i) begin
      if (en_q) begin
        s1_m[l]     <= rounded[17] ? '1 : rounded[16:0];
        s1_class[l] <= s_axis_tdata[l][30:26];
        s1_f[l]     <= s_axis_tdata[l][25:23];
        s1_some[l]  <= s_axis_tdata[l][30:23] != '0;

        s2_square[l] <= 34'(36'(m) * 36'(m));
        s2_class[l]  <= s1_class[l];
        s2_f[l]      <= s1_f[l];
        s2_some[l]   <= s1_some[l];

        s3_term[l]  <= TermW'(s2_square[l]) << {s2_f[l], 1'b0};
        s3_class[l] <= s2_class[l];
        s3_some[l]  <= s2_some[l];

        s4_term[l] <= s3_term[l];
        for (int unsigned c = 0; c < Classes; c++) s4_in[l][c] <= s3_some[l] && below == 5'(c);
      end
    end
  end

  always_comb begin
    s2_top_d = '0;
    for (int unsigned l = 0; l < Lanes; l++) begin
      if (s1_class[l] > s2_top_d[l/4]) s2_top_d[l/4] = s1_class[l];
    end
    s3_top_d = '0;
    for (int unsigned g = 0; g < MaxW; g++) begin
      if (s2_top[g] > s3_top_d) s3_top_d = s2_top[g];
    end
  end

  // ---- Sums of a beat, a class each: step 5 selects, LaneLog2 levels add (the first one together with it).
  localparam int unsigned TreeSteps = Lanes > 1 ? LaneLog2 : 1;
  localparam int unsigned Steps = 4 + TreeSteps;       // to the sums of a beat
  logic   [Classes-1:0][SumW-1:0] beat_sum;
  class_t [Steps:4]               top_q;
  logic   [Steps:1]               valid_q, last_q;

  for (genvar c = 0; c < int'(Classes); c++) begin : gen_class
    // Heap order: node 1 is the sum, nodes Lanes .. 2 * Lanes - 1 the selected terms.
    for (genvar n = 1; n < 2 * int'(Lanes); n++) begin : gen_node
      logic [SumW-1:0] value;
      if (n >= int'(Lanes)) begin : gen_leaf
        assign value = s4_in[n-Lanes][c] ? SumW'(s4_term[n-Lanes]) : '0;
      end else begin : gen_sum
        logic [SumW-1:0] value_q;
        always_ff @(posedge clk_i) begin
          if (en_q) value_q <= gen_node[2*n].value + gen_node[2*n+1].value;
        end
        assign value = value_q;
      end
    end
    if (Lanes == 1) begin : gen_single
      logic [SumW-1:0] value_q;
      always_ff @(posedge clk_i) begin
        if (en_q) value_q <= gen_node[1].value;
      end
      assign beat_sum[c] = value_q;
    end else begin : gen_tree
      assign beat_sum[c] = gen_node[1].value;
    end
  end

  always_ff @(posedge clk_i) begin
    if (en_q) begin
      s2_top <= s2_top_d;
      s3_top <= s3_top_d;
      top_q  <= {top_q[Steps-1:4], s3_top};
      last_q <= {last_q[Steps-1:1], in_last};
    end
    if (!flush_n)  valid_q <= '0;
    else if (en_q) valid_q <= {valid_q[Steps-1:1], take};
  end

  // ---- Sums of a block. A: distance of the beat's classes from the block's; B: the beat's sums moved; C: added.
  class_t                         block_top_q, a_top, b_top, c_top;
  logic                           first_q;
  logic                           a_valid, a_last, b_valid, b_last, end_q;
  logic [1:0]                     a_move_block, a_move_beat, b_move_block;
  logic [Classes-1:0][SumW-1:0]   a_sum, b_sum;
  logic [Classes-1:0][AccW-1:0]   acc_q, acc_moved;

  function automatic logic [1:0] at_most_3(input class_t distance);
    return distance > 5'd3 ? 2'd3 : distance[1:0];
  endfunction

  for (genvar c = 0; c < int'(Classes); c++) begin : gen_acc
    always_comb begin
      acc_moved[c] = '0;
      for (int unsigned from = 0; from <= c; from++) begin
        if (b_move_block == 2'(c - from)) acc_moved[c] = acc_q[from];
      end
    end
    always_ff @(posedge clk_i) begin
      if (en_q) begin
        b_sum[c] <= '0;
        for (int unsigned from = 0; from <= c; from++) begin
          if (a_move_beat == 2'(c - from)) b_sum[c] <= a_sum[from];
        end
        if (b_valid) acc_q[c] <= acc_moved[c] + AccW'(b_sum[c]);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (en_q) begin
      a_sum <= beat_sum;
      if (first_q || top_q[Steps] > block_top_q) begin
        a_move_block <= first_q ? 2'd3 : at_most_3(top_q[Steps] - block_top_q);
        a_move_beat  <= 2'd0;
        a_top        <= top_q[Steps];
        if (valid_q[Steps]) block_top_q <= top_q[Steps];
      end else begin
        a_move_block <= 2'd0;
        a_move_beat  <= at_most_3(block_top_q - top_q[Steps]);
        a_top        <= block_top_q;
      end
      a_last       <= last_q[Steps];
      b_move_block <= a_move_block;
      b_top        <= a_top;
      b_last       <= a_last;
      c_top        <= b_top;
    end
    if (!flush_n) begin
      first_q <= 1'b1;
      a_valid <= 1'b0;
      b_valid <= 1'b0;
      end_q   <= 1'b0;
    end else begin
      if (en_q) begin
        if (valid_q[Steps]) first_q <= last_q[Steps];
        a_valid <= valid_q[Steps];
        b_valid <= a_valid;
      end
      end_q <= en_q && b_valid && b_last;
    end
  end

  // ---- Total, normalised to 47 or 48 bits, root, result.
  localparam int unsigned TotalW = 96;
  typedef enum logic [2:0] {Idle, AddLow, AddHigh, Normalise, Root, Number, Larger, Output} state_e;
  state_e            state_q;
  logic [Classes-1:0][AccW-1:0] t_acc_q;
  class_t            t_top_q;
  logic [TotalW-1:0] total_q;
  logic [4:0]        step_q;
  logic [5:0]        pairs_q;        // normalised by 2 * pairs_q bits
  logic              zero_q;
  logic [23:0]       rest_q;         // of the root; what is above it in the last step is not needed
  logic [23:0]       root_q;
  logic [47:0]       radicand_q;
  /* verilator lint_off UNUSEDSIGNAL */
  logic [26:0]       trial;
  /* verilator lint_on UNUSEDSIGNAL */
  logic signed [9:0] field;

  assign trial = {1'b0, rest_q, radicand_q[47:46]} - {1'b0, root_q, 2'b01};
  assign field = $signed({2'b0, t_top_q, 3'b0}) + 10'sd15 - $signed({4'b0, pairs_q});

  always_ff @(posedge clk_i) begin
    case (state_q)
      Idle: begin
        t_acc_q <= acc_q;
        t_top_q <= c_top;
      end
      AddLow: total_q <= TotalW'(t_acc_q[2]) + (TotalW'(t_acc_q[1]) << 16);
      AddHigh: begin
        total_q <= total_q + (TotalW'(t_acc_q[0]) << 32);
        pairs_q <= '0;
      end
      Normalise: begin
        // By 64, 32, 16, 8, 4 and 2 bits where they are zeros.
        case (step_q)
          5'd0: if (total_q[TotalW-1-:64] == '0) {total_q, pairs_q} <= {total_q << 64, pairs_q + 6'd32};
          5'd1: if (total_q[TotalW-1-:32] == '0) {total_q, pairs_q} <= {total_q << 32, pairs_q + 6'd16};
          5'd2: if (total_q[TotalW-1-:16] == '0) {total_q, pairs_q} <= {total_q << 16, pairs_q + 6'd8};
          5'd3: if (total_q[TotalW-1-:8] == '0)  {total_q, pairs_q} <= {total_q << 8, pairs_q + 6'd4};
          5'd4: if (total_q[TotalW-1-:4] == '0)  {total_q, pairs_q} <= {total_q << 4, pairs_q + 6'd2};
          5'd5: if (total_q[TotalW-1-:2] == '0)  {total_q, pairs_q} <= {total_q << 2, pairs_q + 6'd1};
          default: ;
        endcase
        radicand_q <= total_q[TotalW-1-:48];
        zero_q     <= total_q[TotalW-1-:2] == '0;
        rest_q     <= '0;
        root_q     <= '0;
      end
      Root: begin
        radicand_q <= radicand_q << 2;
        root_q     <= {root_q[22:0], !trial[26]};
        rest_q     <= trial[26] ? {rest_q[21:0], radicand_q[47:46]} : trial[23:0];
      end
      Number: begin
        if (zero_q || field <= 10'sd0) m_axis_tdata <= '0;
        else if (field >= 10'sd255)    m_axis_tdata <= 32'h7F800000;
        else                           m_axis_tdata <= {1'b0, field[7:0], root_q[22:0]};
      end
      Larger: if (s_other_tvalid && s_other_tdata > m_axis_tdata) m_axis_tdata <= s_other_tdata;
      default: ;
    endcase
    if (!flush_n) begin
      state_q <= Idle;
      step_q  <= '0;
    end else begin
      step_q <= '0;
      case (state_q)
        Idle:      if (end_q) state_q <= AddLow;
        AddLow:    state_q <= AddHigh;
        AddHigh:   state_q <= Normalise;
        Normalise: if (step_q == 5'd6) state_q <= Root;
                   else step_q <= step_q + 5'd1;
        Root:      if (step_q == 5'd23) state_q <= Number;
                   else step_q <= step_q + 5'd1;
        Number:    state_q <= max_i ? Larger : Output;
        Larger:    if (s_other_tvalid) state_q <= Output;
        default:   if (m_axis_tready) state_q <= Idle;
      endcase
    end
  end

  assign s_other_tready = state_q == Larger && !clear_i;
  assign m_axis_tvalid  = state_q == Output;
  // The end of a block waits before step C until the one before is through.
  assign en_d = state_q == Idle || !((a_valid && a_last) || (b_valid && b_last));

  `KS_ASSERT(EndIsTaken, !end_q || state_q == Idle)

endmodule

`default_nettype wire
