// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The FIFO of a butterfly stage of the Hadamard transform, without bypass, the stage moving and standing
// at will: it has a word whenever one leaves and room whenever one comes, its memory never reads what it
// writes in the same cycle, a second half never meets differences still to be sent, as many beats leave as
// came in, and a freely chosen word leaves the FIFO unchanged at its turn.

`include "ks_assert.svh"
`default_nettype none

module fv_thc_hadamard_stage #(
  parameter int unsigned BeatsLog2 = 2,
  localparam int unsigned W = 27,
  localparam int unsigned CountW = BeatsLog2 + 2
) (
  input wire logic         clk_i,
  input wire logic         rst_ni,
  input wire logic         clear_i,
  input wire logic         en_d_i,
  input wire logic         valid_i,
  input wire logic [W-1:0] data_i,
  input wire logic         pick_i
);

  localparam int unsigned Beats = 2 ** BeatsLog2;

  logic         valid, overflow;
  logic [W-1:0] data;

  fv_reset u_reset (.clk_i, .rst_ni);
  thc_hadamard_stage #(.Lanes(1), .BeatsLog2(BeatsLog2), .Halve(1'b0)) dut (
    .clk_i, .rst_ni, .clear_i, .en_d_i, .bypass_i(1'b0),
    .valid_i, .data_i, .valid_o(valid), .data_o(data), .overflow_o(overflow)
  );

  logic [CountW-1:0] words, ahead_q;   // in the FIFO; of them before the chosen one
  logic [CountW-1:0] wanted;           // as the beats say
  logic              chosen_q, push, pop;
  logic [W-1:0]      word_q;

  assign push   = dut.en_q && dut.push;
  assign pop    = dut.en_q && dut.pop;
  assign words  = CountW'(dut.gen_fifo.level_q) + CountW'(dut.gen_fifo.head_valid_q);
  assign wanted = (dut.count_q[BeatsLog2] ? CountW'(Beats) : CountW'(dut.count_q)) + CountW'(dut.left_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      chosen_q <= 1'b0;
    end else if (chosen_q) begin
      if (pop && ahead_q == '0) chosen_q <= 1'b0;
      if (pop)                  ahead_q  <= ahead_q - CountW'(1);
    end else if (push && pick_i) begin
      chosen_q <= 1'b1;
      ahead_q  <= words - CountW'(pop);
      word_q   <= dut.store;
    end
  end

  // Words in the FIFO: the first half so far, or all of it, and the differences still to be sent.
  `KS_ASSERT(Words, words == wanted)
  `KS_ASSERT(NeverMore, words <= CountW'(Beats))
  `KS_ASSERT(LeftOnlyInFirstHalf, !dut.count_q[BeatsLog2] || dut.left_q == '0)
  `KS_ASSERT(LeftFits, wanted <= CountW'(Beats))
  `KS_ASSERT(ChosenAtItsTurn, !(chosen_q && ahead_q == '0 && dut.gen_fifo.head_valid_q) ||
             dut.head_q == word_q)
  // For the induction.
  `KS_ASSERT(RestIsLeft, dut.second || dut.pop == (dut.left_q != '0))
  `KS_ASSERT(HeadLoads, dut.gen_fifo.head_valid_q || dut.gen_fifo.level_q <= 1)
  `KS_ASSERT(HeadForRest, dut.left_q == '0 || dut.gen_fifo.head_valid_q)
  `KS_ASSERT(Pointers, (BeatsLog2)'(dut.gen_fifo.wptr_q - dut.gen_fifo.rptr_q) ==
             BeatsLog2'(dut.gen_fifo.level_q))
  `KS_ASSERT(ChosenInside, !chosen_q || ahead_q < words)
  `KS_ASSERT(ChosenPlace, !chosen_q || (dut.gen_fifo.head_valid_q && ahead_q == '0) ||
             dut.gen_fifo.gen_lut.mem[dut.gen_fifo.rptr_q + BeatsLog2'(ahead_q) -
                                      BeatsLog2'(dut.gen_fifo.head_valid_q)] == word_q)

  `KS_COVER(DifferencesMeetNextBlock, valid_i && dut.en_q && dut.left_q == 2 && dut.count_q == 2)
  `KS_COVER(ChosenDifference, chosen_q && pop && ahead_q == '0 && dut.left_q == 1)

endmodule

`default_nettype wire
