// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The model of an SDRAM chip with its data pins apart, for the test that drives it from C++. Small: 64
// rows of 32 words a bank; a start of 400 ns, rows open for 5 us at most.
`default_nettype none

module tb_sdram_pins (
  input  wire logic        clk_i,
  /* verilator lint_off UNUSEDSIGNAL */    // a chip has no reset
  input  wire logic        rst_ni,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire logic [3:0]  command_i,      // cs_n, ras_n, cas_n, we_n
  input  wire logic [1:0]  ba_i,
  input  wire logic [12:0] a_i,
  input  wire logic [1:0]  dm_i,
  input  wire logic        write_i,        // dq_i is on the pins
  input  wire logic [15:0] dq_i,
  output logic [15:0]      dq_o,
  output logic [31:0]      violations_o, reads_o, writes_o, refreshes_o
);
  wire [15:0] dq;
  assign dq   = write_i ? dq_i : 16'bz;
  assign dq_o = dq;

  tb_sdram #(.RowBits(6), .ColBits(5), .ClockPs(10_000), .StartNs(400), .TrasMaxNs(5_000)) u_sdram (
    .clk(clk_i), .cke(1'b1), .cs_n(command_i[3]), .ras_n(command_i[2]), .cas_n(command_i[1]),
    .we_n(command_i[0]), .ba(ba_i), .a(a_i), .dm(dm_i), .dq, .violations_o, .reads_o, .writes_o,
    .refreshes_o
  );
endmodule

`default_nettype wire
