// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Synchronous FIFO on LUT RAM (one write port, one asynchronous read port), first word falls through.
//
// A word pushed in cycle t is at rdata_o, with empty_o low, from cycle t+1; empty_o comes from a register. One push and one pop per
// cycle, also together; level_o counts the words from the cycle after. The caller must not push when
// full_o is high (not even together with a pop) nor pop when empty_o is high: both are asserted.
// Reset empties the FIFO and does not touch the memory.

`include "ks_assert.svh"
`default_nettype none

module ks_fifo #(
  parameter int unsigned Width = 8,    // bits of a word, >= 1
  parameter int unsigned Depth = 16,   // words, a power of two >= 2
  localparam int unsigned LevelW = $clog2(Depth) + 1
) (
  input  wire logic              clk_i,
  input  wire logic              rst_ni,

  input  wire logic              push_i,
  input  wire logic [Width-1:0]  wdata_i,
  output logic                   full_o,

  input  wire logic              pop_i,
  output logic [Width-1:0]       rdata_o,   // valid when empty_o is low
  output logic                   empty_o,

  output logic [LevelW-1:0]      level_o
);

  if (Width < 1) begin : gen_bad_width
    $error("ks_fifo: Width must be at least 1");
  end
  if (Depth < 2 || 2 ** $clog2(Depth) != Depth) begin : gen_bad_depth
    $error("ks_fifo: Depth must be a power of two >= 2");
  end

  localparam int unsigned Aw = $clog2(Depth);

  logic [Width-1:0]  mem [Depth];
  logic [Aw-1:0]     wptr_q, rptr_q;
  logic [LevelW-1:0] level_q;
  logic              some_q;                // level_q != 0

  always_ff @(posedge clk_i) begin
    if (push_i) mem[wptr_q] <= wdata_i;
    if (!rst_ni) begin
      wptr_q  <= '0;
      rptr_q  <= '0;
      level_q <= '0;
      some_q  <= 1'b0;
    end else begin
      if (push_i) wptr_q <= wptr_q + Aw'(1);
      if (pop_i)  rptr_q <= rptr_q + Aw'(1);
      if (push_i && !pop_i) level_q <= level_q + LevelW'(1);
      else if (pop_i && !push_i) level_q <= level_q - LevelW'(1);
      some_q <= push_i || (pop_i ? level_q > LevelW'(1) : some_q);
    end
  end

  assign rdata_o = mem[rptr_q];
  assign empty_o = !some_q;
  assign full_o  = level_q == LevelW'(Depth);
  assign level_o = level_q;

  // Callers keep to the rule.
  `KS_ASSUME(NoPushWhenFull, !(push_i && full_o))
  `KS_ASSUME(NoPopWhenEmpty, !(pop_i && empty_o))
  // The level is the distance of the pointers and never above Depth.
  `KS_ASSERT(LevelInRange, level_q <= LevelW'(Depth))
  `KS_ASSERT(SomeInside, some_q == (level_q != '0))
  `KS_ASSERT(LevelIsDistance, level_q[Aw-1:0] == Aw'(wptr_q - rptr_q))
  `KS_COVER(WasFull, full_o)

endmodule

`default_nettype wire
