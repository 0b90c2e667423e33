// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Streaming Hadamard transform of blocks of 2^block_log2_i coordinates (10 .. MaxLog2) of 27 bits, signed,
// Lanes a beat, in natural order in and out; stage order, halving and rounding of ref::hadamard.
//
// One beat a cycle, blocks back to back; gaps in the input are allowed everywhere, and a block comes out
// without a successor behind it. First beat in to first beat out, without gaps and stalls:
// 2^block_log2_i / Lanes - 1 beats and MaxLog2 + floor(MaxLog2 / 2) + 1 cycles. A stalled sink fills a FIFO
// of 16 beats, then all stages stand still: no path from m_axis_tready to s_axis_tready but registers.
// overflow_o: since clear_i a value left the 27 bits (its low 27 bits went on); it is up at the latest two
// cycles after the block's last beat is at m_axis. block_log2_i changes only with clear_i (pulse while
// idle), which forgets what is inside, as reset does.

`default_nettype none

module thc_hadamard #(
  parameter int unsigned Lanes = 16,      // coordinates of a beat: a power of two, 1 .. 64
  parameter int unsigned MaxLog2 = 15,    // largest block, 10 .. 15
  localparam int unsigned W = 27
) (
  input  wire logic                    clk_i,
  input  wire logic                    rst_ni,
  input  wire logic                    clear_i,
  input  wire logic [3:0]              block_log2_i,

  input  wire logic                    s_axis_tvalid,
  output logic                         s_axis_tready,
  input  wire logic [Lanes-1:0][W-1:0] s_axis_tdata,

  output logic                         m_axis_tvalid,
  input  wire logic                    m_axis_tready,
  output logic [Lanes-1:0][W-1:0]      m_axis_tdata,
  output logic                         m_axis_tlast,    // of a block
  output logic                         overflow_o
);

  localparam int unsigned Depth = 16;
  localparam int unsigned LevelW = $clog2(Depth) + 1;

  logic                    flush_n, en_d, en_q;
  logic                    valid, last, overflow, empty;
  logic [Lanes-1:0][W-1:0] data;
  logic [LevelW-1:0]       level;

  assign flush_n = rst_ni && !clear_i;
  // One beat may come while this is decided, and one when it takes effect.
  assign en_d = level <= LevelW'(Depth - 2);

  always_ff @(posedge clk_i) begin
    en_q <= flush_n && en_d;
    if (!flush_n)      overflow_o <= 1'b0;
    else if (overflow) overflow_o <= 1'b1;
  end

  thc_hadamard_core #(
    .Lanes  (Lanes),
    .MaxLog2(MaxLog2)
  ) u_core (
    .clk_i,
    .rst_ni,
    .clear_i,
    .en_d_i    (en_d),
    .block_log2_i,
    .valid_i   (s_axis_tvalid),
    .data_i    (s_axis_tdata),
    .valid_o   (valid),
    .last_o    (last),
    .data_o    (data),
    .overflow_o(overflow)
  );

  /* verilator lint_off PINCONNECTEMPTY */   // the level says it all
  ks_fifo #(
    .Width(Lanes * W + 1),
    .Depth(Depth)
  ) u_fifo (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (en_q && valid),
    .wdata_i({last, data}),
    .full_o (),
    .pop_i  (m_axis_tvalid && m_axis_tready),
    .rdata_o({m_axis_tlast, m_axis_tdata}),
    .empty_o(empty),
    .level_o(level)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  assign s_axis_tready = en_q && !clear_i;
  assign m_axis_tvalid = !empty;

endmodule

`default_nettype wire
