// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_axis_frame: every frame that leaves has beats_i beats; a freely chosen beat of the first beats_i of a
// frame leaves in its place, one beyond them never; what fills a short frame is zero; the counters say how
// many frames were short and long, and stop at their end instead of beginning anew.

`include "ks_assert.svh"
`default_nettype none

module fv_ks_axis_frame #(
  parameter int unsigned Width = 3,
  parameter int unsigned BeatsW = 3,
  parameter int unsigned CountW = 2
) (
  input wire logic             clk_i,
  input wire logic             rst_ni,
  input wire logic             clear_i,
  input wire logic [Width-1:0] s_axis_tdata,
  input wire logic             s_axis_tlast,
  input wire logic             s_axis_tvalid,
  input wire logic             m_axis_tready,
  input wire logic             pick_i
);

  logic [BeatsW-1:0] beats_q;   // any, and stays
  always_ff @(posedge clk_i) beats_q <= beats_q;

  logic              s_axis_tready, m_axis_tvalid, m_axis_tlast, push, pop;
  logic [Width-1:0]  m_axis_tdata;
  logic [CountW-1:0] early, late;

  fv_reset u_reset (.clk_i, .rst_ni);
  ks_axis_frame #(.Width(Width), .BeatsW(BeatsW), .CountW(CountW)) dut (
    .clk_i, .rst_ni, .clear_i, .beats_i(beats_q),
    .s_axis_tdata, .s_axis_tlast, .s_axis_tvalid, .s_axis_tready,
    .m_axis_tdata, .m_axis_tlast, .m_axis_tvalid, .m_axis_tready,
    .early_o(early), .late_o(late)
  );

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  function automatic logic [BeatsW-1:0] next_of(logic [BeatsW-1:0] place, logic [BeatsW-1:0] beats);
    return place == beats - BeatsW'(1) ? '0 : place + BeatsW'(1);
  endfunction

  // Beats of the input's frame so far (beats_q stands for that many and more); the output's place.
  logic [BeatsW-1:0] in_q, out_q;
  logic [1:0]        inside_q, ahead_q;
  logic              chosen_q;
  logic [Width-1:0]  word_q;
  logic [BeatsW-1:0] place_q;
  logic [CountW-1:0] early_q, late_q;    // as they should be
  logic [1:0]        held;

  assign held = 2'(dut.u_skid.out_valid_q) + 2'(dut.u_skid.skid_valid_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      in_q     <= '0;
      out_q    <= '0;
      chosen_q <= 1'b0;
    end else begin
      if (push) in_q <= s_axis_tlast ? '0 : in_q == beats_q ? in_q : in_q + BeatsW'(1);
      if (pop)  out_q <= m_axis_tlast ? '0 : out_q + BeatsW'(1);
      if (chosen_q) begin
        if (pop && ahead_q == '0) chosen_q <= 1'b0;
        if (pop)                  ahead_q  <= ahead_q - 2'd1;
      end else if (pick_i && ((push && in_q < beats_q) || (dut.state_q == 2'd1 && dut.out_sent))) begin
        chosen_q <= 1'b1;
        ahead_q  <= held - 2'(pop);
        word_q   <= push ? s_axis_tdata : '0;    // of a filled frame: zeros
        place_q  <= push ? in_q : dut.beat_q;
      end
    end
    if (!rst_ni || clear_i) begin
      early_q <= '0;
      late_q  <= '0;
    end else begin
      if (push && s_axis_tlast && in_q < beats_q - BeatsW'(1) && early_q != '1) early_q <= early_q + CountW'(1);
      if (push && !s_axis_tlast && in_q == beats_q - BeatsW'(1) && late_q != '1) late_q <= late_q + CountW'(1);
    end
  end

  // Beats that leave are numbered 0 .. beats - 1, TLAST on the last.
  `KS_ASSERT(LastInPlace, !m_axis_tvalid || m_axis_tlast == (out_q == beats_q - BeatsW'(1)))
  `KS_ASSERT(PlaceInFrame, out_q < beats_q)
  // The chosen beat leaves at its place, unchanged.
  `KS_ASSERT(ChosenData, !(chosen_q && ahead_q == '0) || (m_axis_tvalid && m_axis_tdata == word_q))
  `KS_ASSERT(ChosenInPlace, !(chosen_q && ahead_q == '0) || out_q == place_q)
  `KS_ASSERT(Counters, early == early_q && late == late_q)

  // For the induction: the slice holds `held` beats, and the block stands behind them.
  logic [BeatsW-1:0] place1, place2;
  assign place1 = dut.u_skid.out_valid_q ? next_of(out_q, beats_q) : out_q;
  assign place2 = dut.u_skid.skid_valid_q ? next_of(place1, beats_q) : place1;
  `KS_ASSERT(BeatBehindSlice, dut.beat_q == place2)
  `KS_ASSERT(SecondLast,
             held != 2'd2 || dut.u_skid.skid_q[Width] == (place1 == beats_q - BeatsW'(1)))
  // States 0, 1, 2: pass, fill, drop.
  `KS_ASSERT(States, dut.state_q == 2'd0 ? in_q == dut.beat_q
                     : dut.state_q == 2'd1 ? in_q == '0
                                                 : dut.state_q == 2'd2 && in_q == beats_q)
  `KS_ASSERT(ChosenInside, !chosen_q || ahead_q < held)
  `KS_ASSERT(ChosenSecond, !(chosen_q && ahead_q == 2'd1) ||
             (dut.u_skid.skid_q[Width-1:0] == word_q && place_q == place1))

  `KS_COVER(EarlyCounterFull, early == '1)
  `KS_COVER(LateCounterFull, late == '1 && m_axis_tvalid)
  `KS_COVER(ChosenLast, chosen_q && pop && ahead_q == '0 && place_q == BeatsW'(3) && m_axis_tlast)

endmodule

`default_nettype wire
