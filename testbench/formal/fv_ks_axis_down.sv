// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_axis_down: a freely chosen part of a wide beat comes out once and in order if it has a kept byte,
// and not otherwise; TLAST comes with the last part of a wide beat that had it.

`include "ks_assert.svh"
`default_nettype none

module fv_ks_axis_down #(
  parameter int unsigned InBytes = 6,
  parameter int unsigned OutBytes = 2
) (
  input wire logic                 clk_i,
  input wire logic                 rst_ni,
  input wire logic [8*InBytes-1:0] s_axis_tdata,
  input wire logic [InBytes-1:0]   s_axis_tkeep,
  input wire logic                 s_axis_tlast,
  input wire logic                 s_axis_tvalid,
  input wire logic                 m_axis_tready,
  input wire logic                 pick_i,
  input wire logic [1:0]           part_i
);

  localparam int unsigned Ratio = InBytes / OutBytes;

  logic                  s_axis_tready, m_axis_tvalid, m_axis_tlast, push, pop;
  logic [8*OutBytes-1:0] m_axis_tdata;
  logic [OutBytes-1:0]   m_axis_tkeep;

  fv_reset u_reset (.clk_i, .rst_ni);
  ks_axis_down #(.InBytes(InBytes), .OutBytes(OutBytes)) dut (.*);

  `KS_ASSUME(SomeBytes, !s_axis_tvalid || s_axis_tkeep[0])

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  // Narrow beats that a wide beat becomes.
  function automatic logic [2:0] parts(logic [InBytes-1:0] keep);
    logic [2:0] n = '0;
    for (int unsigned i = 0; i < Ratio; i++) if (keep[i*OutBytes]) n = 3'(i + 1);
    return n;
  endfunction

  // (Loops: shifts by products are hard to prove.)
  function automatic logic [8*OutBytes-1:0] part(logic [8*InBytes-1:0] data, logic [2:0] place);
    logic [8*OutBytes-1:0] r = '0;
    for (int unsigned i = 0; i < Ratio; i++) if (place == 3'(i)) r = data[8*OutBytes*i +: 8*OutBytes];
    return r;
  endfunction
  function automatic logic [OutBytes-1:0] keep_part(logic [InBytes-1:0] keep, logic [2:0] place);
    logic [OutBytes-1:0] r = '0;
    for (int unsigned i = 0; i < Ratio; i++) if (place == 3'(i)) r = keep[OutBytes*i +: OutBytes];
    return r;
  endfunction
  function automatic logic [InBytes-1:0] whole(logic [2:0] n);
    logic [InBytes-1:0] r = '0;
    for (int unsigned i = 0; i < Ratio; i++) if (3'(i) < n) r[OutBytes*i +: OutBytes] = '1;
    return r;
  endfunction

  logic [2:0]            inside_q, ahead_q;   // narrow beats; of them before the chosen one
  logic                  chosen_q, last_q;
  logic [8*OutBytes-1:0] data_q;
  logic [OutBytes-1:0]   keep_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      inside_q <= '0;
      chosen_q <= 1'b0;
    end else begin
      inside_q <= inside_q + (push ? parts(s_axis_tkeep) : '0) - 3'(pop);
      if (chosen_q) begin
        if (pop && ahead_q == '0) chosen_q <= 1'b0;
        if (pop)                  ahead_q  <= ahead_q - 3'd1;
      end else if (push && pick_i && 3'(part_i) < parts(s_axis_tkeep)) begin
        chosen_q <= 1'b1;
        ahead_q  <= inside_q - 3'(pop) + 3'(part_i);
        data_q   <= part(s_axis_tdata, 3'(part_i));
        keep_q   <= keep_part(s_axis_tkeep, 3'(part_i));
        last_q   <= s_axis_tlast && 3'(part_i) + 3'd1 == parts(s_axis_tkeep);
      end
    end
  end

  logic out_is_chosen;
  assign out_is_chosen = chosen_q && m_axis_tvalid && ahead_q == '0;

  `KS_ASSERT(NothingFromNothing, !m_axis_tvalid || inside_q != '0)
  `KS_ASSERT(Ends, !m_axis_tvalid || m_axis_tlast || m_axis_tkeep == '1)
  `KS_ASSERT(KeepRun, !m_axis_tvalid || (m_axis_tkeep[0] && (m_axis_tkeep & (m_axis_tkeep + 1'b1)) == '0))
  `KS_ASSERT(ChosenData, !out_is_chosen || m_axis_tdata == data_q)
  `KS_ASSERT(ChosenKeep, !out_is_chosen || m_axis_tkeep == keep_q)
  `KS_ASSERT(ChosenLast, !out_is_chosen || m_axis_tlast == last_q)

  // For the induction: where everything is.
  logic [1:0]            in_slice;
  logic [2:0]            in_word, from_word;
  logic [8*OutBytes-1:0] second_data;
  logic [OutBytes-1:0]   second_keep;
  logic                  second_last;
  assign in_slice  = 2'(dut.u_skid.out_valid_q) + 2'(dut.u_skid.skid_valid_q);
  assign in_word   = dut.valid_q ? parts(dut.keep_q) : '0;
  assign from_word = ahead_q - 3'(in_slice);
  assign {second_last, second_keep, second_data} = dut.u_skid.skid_q;
  `KS_ASSERT(Inside, inside_q == in_word + 3'(in_slice))
  `KS_ASSERT(WordKeepRun,
             !dut.valid_q || (dut.keep_q[0] && (dut.keep_q & (dut.keep_q + 1'b1)) == '0))
  `KS_ASSERT(WordKeepFull, !dut.valid_q || dut.last_q ||
             dut.keep_q == whole(in_word))
  `KS_ASSERT(SecondKeep, in_slice != 2'd2 || ((second_last || second_keep == '1) && second_keep[0] &&
             (second_keep & (second_keep + 1'b1)) == '0))
  `KS_ASSERT(ChosenInside, !chosen_q || ahead_q < inside_q)
  `KS_ASSERT(ChosenSecond, !(chosen_q && ahead_q == 3'd1 && in_slice == 2'd2) ||
             (second_data == data_q && second_keep == keep_q && second_last == last_q))
  `KS_ASSERT(ChosenInWord, !(chosen_q && ahead_q >= 3'(in_slice)) ||
             (part(dut.data_q, from_word) == data_q &&
              keep_part(dut.keep_q, from_word) == keep_q &&
              last_q == (dut.last_q && from_word + 3'd1 == in_word)))

  `KS_COVER(PartialEnd, out_is_chosen && pop && last_q && keep_q != '1)
  `KS_COVER(WholeWord, out_is_chosen && pop && ahead_q == '0 && inside_q == 3'd4)

endmodule

`default_nettype wire
