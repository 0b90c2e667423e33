// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Makes every AXI-Stream frame beats_i beats long, so that what follows can count on it.
//
// A frame whose TLAST comes early is completed with beats of zeros; of a frame that goes on after
// beats_i beats the rest is taken and dropped, up to and including its TLAST. Both kinds of frames are
// counted (early_o, late_o: they stop at all ones, clear_i sets them to zero).
// One beat per cycle, latency 1 cycle; filling takes a cycle for each missing beat, in which the input
// waits. No combinational path between the two sides. beats_i is constant within a frame, at least 1.
// Reset drops the frame in progress and clears the counters.

`include "ks_assert.svh"
`default_nettype none

module ks_axis_frame #(
  parameter int unsigned Width  = 32,   // bits of TDATA
  parameter int unsigned BeatsW = 16,   // bits of beats_i
  parameter int unsigned CountW = 32    // bits of the counters
) (
  input  wire logic               clk_i,
  input  wire logic               rst_ni,
  input  wire logic               clear_i,
  input  wire logic [BeatsW-1:0]  beats_i,

  input  wire logic [Width-1:0]   s_axis_tdata,
  input  wire logic               s_axis_tlast,
  input  wire logic               s_axis_tvalid,
  output logic                    s_axis_tready,

  output logic [Width-1:0]        m_axis_tdata,
  output logic                    m_axis_tlast,
  output logic                    m_axis_tvalid,
  input  wire logic               m_axis_tready,

  output logic [CountW-1:0]       early_o,
  output logic [CountW-1:0]       late_o
);

  if (Width < 1 || BeatsW < 1 || CountW < 1) begin : gen_bad_width
    $error("ks_axis_frame: widths must be at least 1");
  end

  typedef enum logic [1:0] {
    StPass,   // beats of the frame go through
    StFill,   // zeros up to the due end
    StDrop    // the rest of a long frame is dropped
  } state_e;

  state_e            state_q;
  logic [BeatsW-1:0] beat_q;    // beats of the frame sent
  logic              due;       // the next beat sent is the last
  logic              out_valid, out_ready, out_sent;
  logic [Width-1:0]  out_data;
  logic              early, late;

  assign due           = beat_q == beats_i - BeatsW'(1);
  assign s_axis_tready = state_q == StDrop || (state_q == StPass && out_ready);
  assign out_valid     = state_q == StFill || (state_q == StPass && s_axis_tvalid);
  assign out_data      = state_q == StFill ? '0 : s_axis_tdata;
  assign out_sent      = out_valid && out_ready;
  assign early         = state_q == StPass && out_sent && s_axis_tlast && !due;
  assign late          = state_q == StPass && out_sent && !s_axis_tlast && due;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= StPass;
      beat_q  <= '0;
    end else begin
      if (out_sent) beat_q <= due ? '0 : beat_q + BeatsW'(1);
      if (early)                                                        state_q <= StFill;
      else if (late)                                                    state_q <= StDrop;
      else if (state_q == StFill && out_sent && due)                    state_q <= StPass;
      else if (state_q == StDrop && s_axis_tvalid && s_axis_tlast)      state_q <= StPass;
    end
    if (!rst_ni || clear_i) begin
      early_o <= '0;
      late_o  <= '0;
    end else begin
      if (early && early_o != '1) early_o <= early_o + CountW'(1);
      if (late && late_o != '1)   late_o  <= late_o + CountW'(1);
    end
  end

  ks_skid #(.Width(Width + 1)) u_skid (
    .clk_i, .rst_ni,
    .s_valid_i(out_valid),
    .s_ready_o(out_ready),
    .s_data_i ({due, out_data}),
    .m_valid_o(m_axis_tvalid),
    .m_ready_i(m_axis_tready),
    .m_data_o ({m_axis_tlast, m_axis_tdata})
  );

  `KS_ASSUME(SomeBeats, beats_i != '0)
  `KS_ASSERT(BeatInFrame, beat_q < beats_i)
  `KS_ASSERT(FillOnlyBehindSome, state_q != StFill || beat_q != '0)
  `KS_ASSERT(DropOnlyBetween, state_q != StDrop || beat_q == '0)
  `KS_COVER(Filled, state_q == StFill && out_sent && due)
  `KS_COVER(Dropped, state_q == StDrop && s_axis_tvalid && s_axis_tlast)

endmodule

`default_nettype wire
