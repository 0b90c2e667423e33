// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Register slice of two entries between a valid/ready source and sink.
//
// Latency 1 cycle, one word per cycle. Every output comes from a flip-flop, so there is no combinational
// path through the slice in either direction: m_ready_i reaches s_ready_o a cycle later, and the word
// that arrives meanwhile waits in the second entry. m_valid_o never waits for m_ready_i, and m_data_o is
// stable from m_valid_o until m_ready_i. Reset empties the slice and does not touch the data.

`include "ks_assert.svh"
`default_nettype none

module ks_skid #(
  parameter int unsigned Width = 8   // bits of a word, >= 1
) (
  input  wire logic              clk_i,
  input  wire logic              rst_ni,

  input  wire logic              s_valid_i,
  output logic                   s_ready_o,
  input  wire logic [Width-1:0]  s_data_i,

  output logic                   m_valid_o,
  input  wire logic              m_ready_i,
  output logic [Width-1:0]       m_data_o
);

  if (Width < 1) begin : gen_bad_width
    $error("ks_skid: Width must be at least 1");
  end

  logic             out_valid_q, skid_valid_q;
  logic [Width-1:0] out_q, skid_q;
  logic             push, advance;

  assign push    = s_valid_i && s_ready_o;
  assign advance = !out_valid_q || m_ready_i;   // the output register takes a new word

  always_ff @(posedge clk_i) begin
    if (!skid_valid_q) skid_q <= s_data_i;
    if (advance)       out_q  <= skid_valid_q ? skid_q : s_data_i;
    if (!rst_ni) begin
      out_valid_q  <= 1'b0;
      skid_valid_q <= 1'b0;
    end else if (advance) begin
      out_valid_q  <= skid_valid_q || push;
      skid_valid_q <= 1'b0;
    end else begin
      skid_valid_q <= skid_valid_q || push;
    end
  end

  assign s_ready_o = !skid_valid_q;
  assign m_valid_o = out_valid_q;
  assign m_data_o  = out_q;

  // The second entry is in use only behind the first.
  `KS_ASSERT(InOrder, out_valid_q || !skid_valid_q)
  `KS_COVER(BothInUse, skid_valid_q)

endmodule

`default_nettype wire
