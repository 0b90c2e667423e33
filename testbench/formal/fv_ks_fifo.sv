// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_fifo, used as its rules say: no word lost, duplicated or reordered (a freely chosen word comes out
// unchanged at its turn), level, full and empty are right.

`include "ks_assert.svh"
`default_nettype none

module fv_ks_fifo #(
  parameter int unsigned Width = 3,
  parameter int unsigned Depth = 4,
  localparam int unsigned LevelW = $clog2(Depth) + 1
) (
  input wire logic             clk_i,
  input wire logic             rst_ni,
  input wire logic             push_i,
  input wire logic [Width-1:0] wdata_i,
  input wire logic             pop_i,
  input wire logic             pick_i
);

  logic              full, empty;
  logic [Width-1:0]  rdata;
  logic [LevelW-1:0] level;

  fv_reset u_reset (.clk_i, .rst_ni);
  ks_fifo #(.Width(Width), .Depth(Depth)) dut (
    .clk_i, .rst_ni,
    .push_i, .wdata_i, .full_o(full),
    .pop_i, .rdata_o(rdata), .empty_o(empty),
    .level_o(level)
  );

  logic [LevelW-1:0] inside_q, ahead_q;
  logic              chosen_q;
  logic [Width-1:0]  word_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      inside_q <= '0;
      chosen_q <= 1'b0;
    end else begin
      inside_q <= inside_q + LevelW'(push_i) - LevelW'(pop_i);
      if (chosen_q) begin
        if (pop_i && ahead_q == '0) chosen_q <= 1'b0;
        if (pop_i)                  ahead_q  <= ahead_q - LevelW'(1);
      end else if (push_i && pick_i) begin
        chosen_q <= 1'b1;
        ahead_q  <= inside_q - LevelW'(pop_i);
        word_q   <= wdata_i;
      end
    end
  end

  `KS_ASSERT(Level, level == inside_q && inside_q <= LevelW'(Depth))
  `KS_ASSERT(Full, full == (inside_q == LevelW'(Depth)))
  `KS_ASSERT(Empty, empty == (inside_q == '0))
  `KS_ASSERT(ChosenInside, !chosen_q || ahead_q < inside_q)
  `KS_ASSERT(ChosenAtItsTurn, !(chosen_q && ahead_q == '0) || rdata == word_q)
  // For the induction: where the chosen word is.
  `KS_ASSERT(ChosenPlace,
             !chosen_q || dut.mem[dut.rptr_q + (LevelW-1)'(ahead_q)] == word_q)

  `KS_COVER(ChosenLast, chosen_q && ahead_q == LevelW'(Depth - 1))
  `KS_COVER(Emptied, chosen_q && pop_i && inside_q == LevelW'(1))

endmodule

`default_nettype wire
