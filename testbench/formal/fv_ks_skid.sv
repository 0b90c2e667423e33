// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_skid: no word lost, duplicated or reordered. pick_i, free, chooses one word that goes in; it must come
// out unchanged with as many words before it as were inside. As any word can be chosen, this holds for all.

`include "ks_assert.svh"
`default_nettype none

module fv_ks_skid #(
  parameter int unsigned Width = 4
) (
  input wire logic             clk_i,
  input wire logic             rst_ni,
  input wire logic             s_valid_i,
  input wire logic [Width-1:0] s_data_i,
  input wire logic             m_ready_i,
  input wire logic             pick_i
);

  logic             s_ready, m_valid, push, pop;
  logic [Width-1:0] m_data;

  fv_reset u_reset (.clk_i, .rst_ni);
  ks_skid #(.Width(Width)) dut (
    .clk_i, .rst_ni,
    .s_valid_i, .s_ready_o(s_ready), .s_data_i,
    .m_valid_o(m_valid), .m_ready_i, .m_data_o(m_data)
  );

  assign push = s_valid_i && s_ready;
  assign pop  = m_valid && m_ready_i;

  logic [1:0]       inside_q, ahead_q;   // words inside; of them before the chosen one
  logic             chosen_q;            // the chosen word is inside
  logic [Width-1:0] word_q;
  logic             wait_q;              // the output waited in the cycle before
  logic [Width-1:0] wait_data_q;

  always_ff @(posedge clk_i) begin
    wait_data_q <= m_data;
    if (!rst_ni) begin
      inside_q <= '0;
      chosen_q <= 1'b0;
      wait_q   <= 1'b0;
    end else begin
      wait_q   <= m_valid && !m_ready_i;
      inside_q <= inside_q + 2'(push) - 2'(pop);
      if (chosen_q) begin
        if (pop && ahead_q == '0) chosen_q <= 1'b0;
        if (pop)                  ahead_q  <= ahead_q - 2'd1;
      end else if (push && pick_i) begin
        chosen_q <= 1'b1;
        ahead_q  <= inside_q - 2'(pop);
        word_q   <= s_data_i;
      end
    end
  end

  // As many words come out as go in, and there is room for two.
  `KS_ASSERT(OfferedWhileInside, m_valid == (inside_q != '0))
  `KS_ASSERT(RoomForTwo, s_ready == (inside_q != 2'd2) && inside_q != 2'd3)
  // The chosen word comes out at its turn.
  `KS_ASSERT(ChosenInside, !chosen_q || ahead_q < inside_q)
  `KS_ASSERT(ChosenAtItsTurn, !(chosen_q && ahead_q == '0) || m_data == word_q)
  // Valid and data stay until they are taken.
  `KS_ASSERT(Stable, !wait_q || (m_valid && m_data == wait_data_q))
  // For the induction: where the words are.
  `KS_ASSERT(Entries, inside_q == 2'(dut.out_valid_q) + 2'(dut.skid_valid_q))
  `KS_ASSERT(ChosenSecond, !(chosen_q && ahead_q == 2'd1) || dut.skid_q == word_q)

  `KS_COVER(ChosenBehindAnother, chosen_q && ahead_q == 2'd1)
  `KS_COVER(ChosenLeaves, chosen_q && pop && ahead_q == '0 && word_q == Width'(5))

endmodule

`default_nettype wire
