// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// FIFO on block RAM (one write and one registered read port) between a valid/ready source and sink.
//
// A word pushed in cycle t is at m_data_o from cycle t + 2. One push and one pop per cycle, also
// together; m_data_o and m_valid_o come from registers, s_ready_o does not depend on m_ready_i. level_o
// counts the words inside, the one at the output included, from the cycle after; s_ready_o is low while
// Depth words are inside. Reset empties the FIFO and does not touch the data.

`include "ks_assert.svh"
`default_nettype none

module ks_ram_fifo #(
  parameter int unsigned Width = 8,    // bits of a word, >= 1
  parameter int unsigned Depth = 64,   // words, a power of two >= 4
  localparam int unsigned LevelW = $clog2(Depth) + 1
) (
  input  wire logic              clk_i,
  input  wire logic              rst_ni,

  input  wire logic              s_valid_i,
  output logic                   s_ready_o,
  input  wire logic [Width-1:0]  s_data_i,

  output logic                   m_valid_o,
  input  wire logic              m_ready_i,
  output logic [Width-1:0]       m_data_o,

  output logic [LevelW-1:0]      level_o
);

  if (Width < 1) begin : gen_bad_width
    $error("ks_ram_fifo: Width must be at least 1");
  end
  if (Depth < 4 || 2 ** $clog2(Depth) != Depth) begin : gen_bad_depth
    $error("ks_ram_fifo: Depth must be a power of two >= 4");
  end

  localparam int unsigned Aw = $clog2(Depth);

  (* no_rw_check *) logic [Width-1:0] mem [Depth];
  logic [Width-1:0]  out_q;
  logic [Aw-1:0]     wptr_q, rptr_q;
  logic [LevelW-1:0] level_q;
  logic              out_valid_q;
  logic              push, pop, fetch;

  assign push  = s_valid_i && s_ready_o;
  assign pop   = m_valid_o && m_ready_i;
  // Words in the memory: those inside less the one at the output.
  assign fetch = level_q != LevelW'(out_valid_q) && (!out_valid_q || m_ready_i);

  always_ff @(posedge clk_i) begin
    if (push)  mem[wptr_q] <= s_data_i;
    if (fetch) out_q <= mem[rptr_q];
    if (!rst_ni) begin
      wptr_q      <= '0;
      rptr_q      <= '0;
      level_q     <= '0;
      out_valid_q <= 1'b0;
    end else begin
      if (push)  wptr_q <= wptr_q + Aw'(1);
      if (fetch) rptr_q <= rptr_q + Aw'(1);
      level_q     <= level_q + LevelW'(push) - LevelW'(pop);
      out_valid_q <= fetch || (out_valid_q && !m_ready_i);
    end
  end

  assign s_ready_o = level_q != LevelW'(Depth);
  assign m_valid_o = out_valid_q;
  assign m_data_o  = out_q;
  assign level_o   = level_q;

  // The word at the output is one of those inside, and never more than Depth are.
  `KS_ASSERT(LevelInRange, level_q <= LevelW'(Depth) && level_q >= LevelW'(out_valid_q))
  `KS_ASSERT(LevelIsDistance, Aw'(level_q - LevelW'(out_valid_q)) == Aw'(wptr_q - rptr_q))
  `KS_COVER(WasFull, !s_ready_o)

endmodule

`default_nettype wire
