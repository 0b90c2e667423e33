// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One butterfly stage of the streaming Hadamard transform: coordinates that lie Beats beats apart.
//
// Of every 2 * Beats beats, the first half waits in a FIFO; the second half b meets it: a + b leaves,
// a - b goes back into the FIFO and leaves right behind, by itself, while the next first half comes in.
// So input and output are in natural order, and every beat in is a beat out. The output never waits and
// neither does the input: all stages of a transform stand still together (en_d_i low one cycle before).
// At full rate the output follows the input by Beats beats and 1 cycle (2 with Halve).
//
// Halve = 1 halves the results, rounded to nearest even (ref::hadamard's odd stages). A result that does
// not fit 27 bits keeps its low 27 bits, with overflow_o high some cycles later. bypass_i hands the input
// on unchanged (at the same latency less Beats); it changes only with clear_i. The memory of the FIFO has
// one write and one registered read port. Reset and clear_i forget what is inside.

`include "ks_assert.svh"
`default_nettype none

module thc_hadamard_stage #(
  parameter int unsigned Lanes = 16,
  parameter int unsigned BeatsLog2 = 4,    // stride in beats
  parameter bit          Halve = 1'b0,
  parameter int unsigned InWidth = 27,     // 27, or more in the first stage of a transform (not halving)
  parameter bit          MayBypass = 1'b0,
  localparam int unsigned W = 27
) (
  input  wire logic                          clk_i,
  input  wire logic                          rst_ni,
  input  wire logic                          clear_i,
  input  wire logic                          en_d_i,    // the stage moves in the next cycle
  input  wire logic                          bypass_i,

  input  wire logic                          valid_i,
  input  wire logic [Lanes-1:0][InWidth-1:0] data_i,    // signed
  output logic                               valid_o,
  output logic [Lanes-1:0][W-1:0]            data_o,    // signed
  output logic                               overflow_o
);

  if (InWidth < W || (Halve && InWidth != W)) begin : gen_bad_width
    $error("thc_hadamard_stage: a halving stage takes 27 bits, any other 27 or more");
  end

  localparam int unsigned Beats = 2 ** BeatsLog2;
  localparam int unsigned Sw = InWidth + 1;                 // of a sum
  localparam int unsigned Fw = Halve ? Sw : InWidth;        // of a word in the FIFO
  localparam int unsigned Ow = Halve ? Sw : W;              // of a result before halving

  (* keep *) logic en_q;      // every stage has its own, for the fan-out
  logic flush_n, bypass;

  assign flush_n = rst_ni && !clear_i;
  assign bypass  = MayBypass && bypass_i;

  always_ff @(posedge clk_i) en_q <= flush_n && en_d_i;

  // Input beats of a pair of halves; the upper bit says which half. Then the differences to send.
  logic [BeatsLog2:0] count_q;
  logic [BeatsLog2:0] left_q;       // differences to send, 0 .. Beats
  logic               rest_q;       // there are some: one leaves
  logic               second;       // a b is here
  logic               push, pop;

  assign second = valid_i && count_q[BeatsLog2] && !bypass;
  assign push   = valid_i && !bypass;
  assign pop    = second || rest_q;

  always_ff @(posedge clk_i) begin
    if (!flush_n) begin
      count_q <= '0;
      left_q  <= '0;
      rest_q  <= 1'b0;
    end else if (en_q) begin
      if (push) count_q <= count_q + (BeatsLog2 + 1)'(1);
      if (push && count_q == '1) begin
        left_q <= (BeatsLog2 + 1)'(Beats);
        rest_q <= 1'b1;
      end else if (rest_q) begin
        left_q <= left_q - (BeatsLog2 + 1)'(1);
        rest_q <= left_q != (BeatsLog2 + 1)'(1);
      end
    end
  end

  // Butterfly.
  logic [Lanes-1:0][Fw-1:0] head_q;            // oldest word of the FIFO; 0 with bypass
  logic [Lanes-1:0][Fw-1:0] store;             // goes into the FIFO
  logic [Lanes-1:0][Ow-1:0] result;
  /* verilator lint_off UNUSEDSIGNAL */   // a halving stage looks at the halved value
  logic [Lanes-1:0][Sw-W:0] sum_top, difference_top;   // upper bits, all the same where 27 bits do
  /* verilator lint_on UNUSEDSIGNAL */

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_lane
    logic signed [Sw-1:0] a, b, sum, difference;
    assign a = Sw'($signed(head_q[l]));
    assign b = Sw'($signed(data_i[l]));
    // Also the way of the differences (b = 0) and of the bypass (a = 0).
    assign sum        = a + (second || bypass ? b : '0);
    assign difference = a - b;
    if (Halve) begin : gen_halve
      assign store[l]   = count_q[BeatsLog2] ? difference : b;
      assign result[l]  = sum;
    end else begin : gen_keep
      assign store[l]   = count_q[BeatsLog2] ? Fw'($signed(difference[W-1:0])) : data_i[l];
      assign result[l]  = sum[W-1:0];
    end
    assign sum_top[l]        = sum[Sw-1:W-1];
    assign difference_top[l] = difference[Sw-1:W-1];
  end

  // FIFO of Beats words, some of them beside the memory.
  if (BeatsLog2 == 0) begin : gen_one
    always_ff @(posedge clk_i) begin
      if (MayBypass && bypass_i) head_q <= '0;
      else if (en_q && push)     head_q <= store;
    end
  end else begin : gen_fifo
    localparam bit BlockRam = BeatsLog2 >= 6;
    logic [BeatsLog2-1:0]     wptr_q, rptr_q;
    logic [BeatsLog2:0]       level_q;         // words in the memory
    logic                     some_q;          // level_q is not 0
    logic                     head_valid_q, head_load, read;

    always_ff @(posedge clk_i) begin
      if (!flush_n) begin
        wptr_q       <= '0;
        rptr_q       <= '0;
        level_q      <= '0;
        some_q       <= 1'b0;
        head_valid_q <= 1'b0;
      end else if (en_q) begin
        if (push) wptr_q <= wptr_q + BeatsLog2'(1);
        if (read) rptr_q <= rptr_q + BeatsLog2'(1);
        level_q <= level_q + (BeatsLog2 + 1)'(push) - (BeatsLog2 + 1)'(read);
        if (push)      some_q <= 1'b1;
        else if (read) some_q <= level_q != (BeatsLog2 + 1)'(1);
        if (head_load) head_valid_q <= 1'b1;
        else if (pop)  head_valid_q <= 1'b0;
      end
    end

    if (BlockRam) begin : gen_block
      // A register behind the memory's own, for the clock rate.
      (* no_rw_check, ram_style = "block" *) logic [Lanes*Fw-1:0] mem [Beats];
      logic [Lanes*Fw-1:0] next_q;
      logic                next_valid_q;

      assign head_load = next_valid_q && (!head_valid_q || pop);
      assign read      = some_q && (!next_valid_q || head_load);
      always_ff @(posedge clk_i) begin
        if (en_q && push) mem[wptr_q] <= store;
        if (en_q && read) next_q <= mem[rptr_q];
      end
      always_ff @(posedge clk_i) begin
        if (MayBypass && bypass_i)  head_q <= '0;
        else if (en_q && head_load) head_q <= next_q;
        if (!flush_n)               next_valid_q <= 1'b0;
        else if (en_q) begin
          if (read)           next_valid_q <= 1'b1;
          else if (head_load) next_valid_q <= 1'b0;
        end
      end
    end else begin : gen_lut
      (* no_rw_check, ram_style = "distributed" *) logic [Lanes*Fw-1:0] mem [Beats];

      assign read      = some_q && (!head_valid_q || pop);
      assign head_load = read;
      always_ff @(posedge clk_i) begin
        if (en_q && push) mem[wptr_q] <= store;
      end
      always_ff @(posedge clk_i) begin
        if (MayBypass && bypass_i) head_q <= '0;
        else if (en_q && read)     head_q <= mem[rptr_q];
      end
    end

    // What leaves is at hand in time, and the memory never reads the word that it writes.
    `KS_ASSERT(HeadThere, !(en_q && pop) || head_valid_q)
    `KS_ASSERT(NoReadOfWritten, !(en_q && push && read) || wptr_q != rptr_q)
    `KS_ASSERT(SomeIsLevel, some_q == (level_q != '0))
    `KS_ASSERT(Room, !(en_q && push) || level_q < (BeatsLog2 + 1)'(Beats))
  end

  // Results, halved a step later.
  logic                     valid_q;
  logic [Lanes-1:0][Ow-1:0] result_q;

  always_ff @(posedge clk_i) begin
    if (en_q) result_q <= result;
    if (!flush_n)  valid_q <= 1'b0;
    else if (en_q) valid_q <= bypass ? valid_i : pop;
  end

  if (Halve) begin : gen_round
    logic [Lanes-1:0][W-1:0] rounded_q;
    logic [Lanes-1:0]        over_q;
    logic                    rounded_valid_q;
    for (genvar l = 0; l < int'(Lanes); l++) begin : gen_lane
      logic signed [W:0] half;
      assign half = bypass ? $signed(result_q[l])
                           : (W + 1)'($signed(result_q[l][W:1])) +
                             $signed({{W{1'b0}}, result_q[l][1] && result_q[l][0]});
      always_ff @(posedge clk_i) begin
        if (en_q) begin
          rounded_q[l] <= half[W-1:0];
          over_q[l]    <= half[W] != half[W-1];
        end
      end
    end
    always_ff @(posedge clk_i) begin
      if (!flush_n)  rounded_valid_q <= 1'b0;
      else if (en_q) rounded_valid_q <= valid_q;
    end
    assign valid_o    = rounded_valid_q;
    assign data_o     = rounded_q;
    assign overflow_o = rounded_valid_q && over_q != '0;
  end else begin : gen_plain
    logic                     second_q;
    logic [Lanes-1:0][Sw-W:0] sum_top_q, difference_top_q;
    logic [Lanes-1:0]         too_big;
    always_ff @(posedge clk_i) begin
      if (en_q) begin
        second_q         <= second;
        sum_top_q        <= sum_top;
        difference_top_q <= difference_top;
      end
    end
    for (genvar l = 0; l < int'(Lanes); l++) begin : gen_lane
      assign too_big[l] = (sum_top_q[l] != '0 && sum_top_q[l] != '1) ||
                          (difference_top_q[l] != '0 && difference_top_q[l] != '1);
    end
    assign valid_o    = valid_q;
    assign data_o     = result_q;
    assign overflow_o = valid_q && second_q && too_big != '0;
  end

  // A second half never comes before the differences of the one before are gone.
  `KS_ASSERT(InTurn, !(second && rest_q))

endmodule

`default_nettype wire
