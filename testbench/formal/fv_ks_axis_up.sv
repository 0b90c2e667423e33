// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_axis_up: a freely chosen narrow beat comes out once, in its place of its wide beat and in order;
// the wide beat has TLAST if the packet ends in it and TKEEP exactly for what came in.

`include "ks_assert.svh"
`default_nettype none

module fv_ks_axis_up #(
  parameter int unsigned InBytes = 2,
  parameter int unsigned OutBytes = 6
) (
  input wire logic                 clk_i,
  input wire logic                 rst_ni,
  input wire logic [8*InBytes-1:0] s_axis_tdata,
  input wire logic [InBytes-1:0]   s_axis_tkeep,
  input wire logic                 s_axis_tlast,
  input wire logic                 s_axis_tvalid,
  input wire logic                 m_axis_tready,
  input wire logic                 pick_i
);

  localparam int unsigned Ratio = OutBytes / InBytes;
  localparam int unsigned SlotW = $clog2(Ratio + 1);

  logic                  s_axis_tready, m_axis_tvalid, m_axis_tlast, push, pop;
  logic [8*OutBytes-1:0] m_axis_tdata;
  logic [OutBytes-1:0]   m_axis_tkeep;

  fv_reset u_reset (.clk_i, .rst_ni);
  ks_axis_up #(.InBytes(InBytes), .OutBytes(OutBytes)) dut (.*);

  // One narrow beat of a wide one, and TKEEP of `n` whole ones. (Loops: shifts by products are hard to prove.)
  function automatic logic [8*InBytes-1:0] part(logic [8*OutBytes-1:0] data, logic [SlotW-1:0] place);
    logic [8*InBytes-1:0] r = '0;
    for (int unsigned i = 0; i < Ratio; i++) if (place == SlotW'(i)) r = data[8*InBytes*i +: 8*InBytes];
    return r;
  endfunction
  function automatic logic [OutBytes-1:0] whole(logic [SlotW-1:0] n);
    logic [OutBytes-1:0] r = '0;
    for (int unsigned i = 0; i < Ratio; i++) if (SlotW'(i) < n) r[InBytes*i +: InBytes] = '1;
    return r;
  endfunction

  `KS_ASSUME(SomeBytes, !s_axis_tvalid || s_axis_tkeep[0])

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  // What came in: beats of the wide beat in the making; complete wide beats inside.
  logic [SlotW-1:0] slot_q;
  logic [1:0]       words_q;
  logic             completes;
  assign completes = push && (s_axis_tlast || slot_q == SlotW'(Ratio - 1));

  // The chosen beat, and its wide beat as it should be.
  logic                  chosen_q, whole_q, last_q;
  logic [1:0]            ahead_q;      // wide beats before it
  logic [SlotW-1:0]      place_q;
  logic [8*InBytes-1:0]  data_q;
  logic [OutBytes-1:0]   keep_q;       // of the wide beat so far

  // Of the input, without what has no TKEEP.
  logic [8*InBytes-1:0]  in_data;
  always_comb begin
    for (int unsigned i = 0; i < InBytes; i++) begin
      in_data[8*i +: 8] = s_axis_tkeep[i] ? s_axis_tdata[8*i +: 8] : 8'd0;
    end
  end

  logic [OutBytes-1:0] keep_with_this;
  always_comb begin
    keep_with_this = whole(slot_q);
    for (int unsigned i = 0; i < Ratio; i++) begin
      if (slot_q == SlotW'(i)) keep_with_this[InBytes*i +: InBytes] = s_axis_tkeep;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      slot_q   <= '0;
      words_q  <= '0;
      chosen_q <= 1'b0;
    end else begin
      if (push) slot_q <= completes ? '0 : slot_q + SlotW'(1);
      words_q <= words_q + 2'(completes) - 2'(pop);
      if (chosen_q) begin
        if (pop && ahead_q == '0) chosen_q <= 1'b0;
        if (pop)                  ahead_q  <= ahead_q - 2'd1;
        if (!whole_q && push) begin
          whole_q <= completes;
          last_q  <= s_axis_tlast;
          keep_q  <= keep_with_this;
        end
      end else if (push && pick_i) begin
        chosen_q <= 1'b1;
        whole_q  <= completes;
        last_q   <= s_axis_tlast;
        ahead_q  <= words_q - 2'(pop);
        place_q  <= slot_q;
        data_q   <= in_data;
        keep_q   <= keep_with_this;
      end
    end
  end

  logic out_is_chosen;
  assign out_is_chosen = chosen_q && m_axis_tvalid && ahead_q == '0;

  `KS_ASSERT(Offered, m_axis_tvalid == (words_q != '0))
  `KS_ASSERT(RoomForTwo, s_axis_tready == (words_q != 2'd2) && words_q != 2'd3)
  `KS_ASSERT(ChosenWhole, !out_is_chosen || whole_q)
  `KS_ASSERT(ChosenData, !out_is_chosen || part(m_axis_tdata, place_q) == data_q)
  `KS_ASSERT(ChosenKeep, !out_is_chosen || m_axis_tkeep == keep_q)
  `KS_ASSERT(ChosenLast, !out_is_chosen || m_axis_tlast == last_q)
  // TKEEP is a run of ones, full within a packet.
  `KS_ASSERT(KeepRun, !m_axis_tvalid || (m_axis_tkeep[0] && (m_axis_tkeep & (m_axis_tkeep + 1'b1)) == '0))
  `KS_ASSERT(KeepFull, !m_axis_tvalid || m_axis_tlast || m_axis_tkeep == '1)

  // For the induction: where everything is.
  logic [8*OutBytes-1:0] second_data;
  logic [OutBytes-1:0]   second_keep;
  logic                  second_last;
  assign {second_last, second_keep, second_data} = dut.u_skid.skid_q;
  `KS_ASSERT(Slots, slot_q == SlotW'(dut.gen_up.slot_q) && slot_q < SlotW'(Ratio))
  `KS_ASSERT(Words, words_q == 2'(dut.u_skid.out_valid_q) + 2'(dut.u_skid.skid_valid_q))
  `KS_ASSERT(SecondKeepRun,
             words_q != 2'd2 || (second_keep[0] && (second_keep & (second_keep + 1'b1)) == '0))
  `KS_ASSERT(SecondKeepFull, words_q != 2'd2 || second_last || second_keep == '1)
  for (genvar i = 0; i < Ratio - 1; i++) begin : gen_keep
    `KS_ASSERT(KeepStored, SlotW'(i) >= slot_q || dut.gen_up.keep_q[i] == '1)
  end
  `KS_ASSERT(ChosenAhead, !chosen_q || (whole_q ? ahead_q < words_q : ahead_q == words_q))
  `KS_ASSERT(ChosenOpen, !chosen_q || whole_q || (place_q < slot_q && keep_q == whole(slot_q)))
  `KS_ASSERT(ChosenOpenData, !chosen_q || whole_q || part((8*OutBytes)'(dut.gen_up.data_q), place_q) == data_q)
  `KS_ASSERT(ChosenPlace, !chosen_q || place_q < SlotW'(Ratio))
  `KS_ASSERT(ChosenSecond, !(chosen_q && whole_q && ahead_q == 2'd1) ||
             (part(second_data, place_q) == data_q && second_keep == keep_q &&
              second_last == last_q))

  `KS_COVER(PartialEnd, out_is_chosen && pop && last_q && place_q == SlotW'(1) && !m_axis_tkeep[3])
  `KS_COVER(InTheMiddle, out_is_chosen && pop && !last_q && place_q == SlotW'(1))

endmodule

`default_nettype wire
