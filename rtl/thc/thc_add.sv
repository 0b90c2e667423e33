// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Gradient plus error feedback: y = x + e in fp32, rounded to nearest even, subnormal numbers as zero
// (ref::add_ftz). x is fp32, or bf16 (bf16_i) in the lower half of s_axis_tdata, lane 0 lowest. With
// error_in_i low e is +0 and its stream is not looked at.
//
// One beat a cycle, 10 cycles from input to output; a stalled sink fills a FIFO of 16 beats, then the whole
// kernel stands still. m_axis_tready reaches the inputs through registers only.
// Where x, e or y is NaN or infinite y is 0 and nonfinite_o rises and stays; nonfinite_index_o is the number
// of the first such coordinate since clear_i (below 2^32). Both are up when the beat leaves. Reset and clear_i
// (pulse while idle) forget what is inside; bf16_i and error_in_i change only with clear_i.

`default_nettype none

module thc_add #(
  parameter int unsigned Lanes = 16   // coordinates of a beat: a power of two up to 64
) (
  input  wire logic                   clk_i,
  input  wire logic                   rst_ni,
  input  wire logic                   clear_i,
  input  wire logic                   bf16_i,
  input  wire logic                   error_in_i,

  input  wire logic                   s_axis_tvalid,   // x
  output logic                        s_axis_tready,
  input  wire logic [Lanes*32-1:0]    s_axis_tdata,

  input  wire logic                   s_err_tvalid,    // e
  output logic                        s_err_tready,
  input  wire logic [Lanes-1:0][31:0] s_err_tdata,

  output logic                        m_axis_tvalid,   // y
  input  wire logic                   m_axis_tready,
  output logic [Lanes-1:0][31:0]      m_axis_tdata,

  output logic                        nonfinite_o,
  output logic [31:0]                 nonfinite_index_o
);

  if (Lanes < 1 || Lanes > 64 || 2 ** $clog2(Lanes) != Lanes) begin : gen_bad_lanes
    $error("thc_add: Lanes must be a power of two up to 64");
  end

  localparam int unsigned Latency = 9;   // of thc_add_lane
  localparam int unsigned Depth = 16;
  localparam int unsigned LevelW = $clog2(Depth) + 1;

  logic                   flush_n, en_d, en_q, take;
  logic [LevelW-1:0]      level;
  logic [Latency-1:0]     valid_q;
  logic [Lanes-1:0]       nonfinite;
  logic [Lanes-1:0][31:0] y;
  logic                   empty;

  assign flush_n = rst_ni && !clear_i;
  // One beat may come while this is decided, and one when it takes effect.
  assign en_d = level <= LevelW'(Depth - 2);

  // In the cycle of clear_i nothing is taken.
  assign s_axis_tready = en_q && !clear_i && (s_err_tvalid || !error_in_i);
  assign s_err_tready  = en_q && !clear_i && s_axis_tvalid && error_in_i;
  assign take          = s_axis_tvalid && s_axis_tready;

  always_ff @(posedge clk_i) begin
    en_q <= flush_n && en_d;
    if (!flush_n)  valid_q <= '0;
    else if (en_q) valid_q <= {valid_q[Latency-2:0], take};
  end

  for (genvar l = 0; l < int'(Lanes); l++) begin : gen_lane
    thc_add_lane u_lane (
      .clk_i,
      .en_i       (en_q),
      .a_i        (bf16_i ? {s_axis_tdata[16*l +: 16], 16'b0} : s_axis_tdata[32*l +: 32]),
      .b_i        (error_in_i ? s_err_tdata[l] : '0),
      .y_o        (y[l]),
      .nonfinite_o(nonfinite[l])
    );
  end

  // The first coordinate that is not finite.
  logic [31:0] beat_first_q;   // number of the leaving beat's first coordinate
  logic [31:0] lane;

  always_comb begin
    lane = '0;
    for (int unsigned l = Lanes; l > 0; l--) begin
      if (nonfinite[l-1]) lane = 32'(l - 1);
    end
  end

  always_ff @(posedge clk_i) begin
    if (!flush_n) begin
      beat_first_q <= '0;
      nonfinite_o  <= 1'b0;
    end else if (en_q && valid_q[Latency-1]) begin
      beat_first_q <= beat_first_q + 32'(Lanes);
      if (nonfinite != '0) nonfinite_o <= 1'b1;
    end
    if (!nonfinite_o) nonfinite_index_o <= beat_first_q | lane;
  end

  /* verilator lint_off PINCONNECTEMPTY */   // the level says it all
  ks_fifo #(
    .Width(32 * Lanes),
    .Depth(Depth)
  ) u_fifo (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (en_q && valid_q[Latency-1]),
    .wdata_i(y),
    .full_o (),
    .pop_i  (m_axis_tvalid && m_axis_tready),
    .rdata_o(m_axis_tdata),
    .empty_o(empty),
    .level_o(level)
  );
  /* verilator lint_on PINCONNECTEMPTY */
  assign m_axis_tvalid = !empty;

endmodule

`default_nettype wire
