// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Words 0, 1, 2 .. count_i - 1 of a memory with a registered read port, as a stream.
//
// raddr_o in cycle t, rdata_i in cycle t + 1. A word every other cycle at least; up to four wait at the
// output. clear_i starts again at word 0; reset stops it. No combinational path from m_ready_i to raddr_o.

`default_nettype none

module thc_feed #(
  parameter int unsigned Width = 32,   // bits of a word
  parameter int unsigned AddrW = 10    // bits of an address
) (
  input  wire logic             clk_i,
  input  wire logic             rst_ni,
  input  wire logic             clear_i,
  input  wire logic [AddrW:0]   count_i,    // constant from clear_i on

  output logic [AddrW-1:0]      raddr_o,
  input  wire logic [Width-1:0] rdata_i,

  output logic                  m_valid_o,
  input  wire logic             m_ready_i,
  output logic [Width-1:0]      m_data_o
);

  logic [AddrW:0] next_q;
  logic           read, read_q, empty, flush_n, run_q;
  logic [2:0]     level;
  /* verilator lint_off UNUSEDSIGNAL */   // level says it earlier
  logic           full;
  /* verilator lint_on UNUSEDSIGNAL */

  assign flush_n = rst_ni && !clear_i;
  assign read    = run_q && next_q != count_i && 3'(read_q) + level < 3'd3;
  assign raddr_o = next_q[AddrW-1:0];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) run_q <= 1'b0;
    else if (clear_i) run_q <= 1'b1;
    if (!flush_n) begin
      next_q <= '0;
      read_q <= 1'b0;
    end else begin
      if (read) next_q <= next_q + (AddrW + 1)'(1);
      read_q <= read;
    end
  end

  ks_fifo #(.Width(Width), .Depth(4)) u_words (
    .clk_i, .rst_ni(flush_n),
    .push_i(read_q), .wdata_i(rdata_i), .full_o(full),
    .pop_i(m_valid_o && m_ready_i), .rdata_o(m_data_o), .empty_o(empty), .level_o(level)
  );
  assign m_valid_o = !empty;

endmodule

`default_nettype wire
