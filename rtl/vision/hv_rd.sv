// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// AXI4 read master shared by descriptors (d), LOAD unit (l) and weights (w).
//
// Requests: in a cycle where a grant is possible the first valid requester in the order d, l, w is
// answered with its req_ready_o and its burst is on the AR channel from the next cycle until
// m_axi_arready. A grant is possible when the AR register is empty or taken in this cycle
// (m_axi_arready), fewer than 16 bursts are outstanding, and stop_i is low. One ID, INCR, full-width
// beats; a requester keeps its bursts inside 128 aligned bytes and has room for all their data.
// Data: RREADY is constant 1. A beat taken in cycle t is at rsp_data_o in cycle t+1 with the valid of
// the requester it belongs to; rsp_last_o marks the last beat of a burst. Beats with an error
// response are delivered too, and err_o rises with the beat together with the burst's address.
// idle_o: no burst granted that has not delivered its last beat.

`include "ks_assert.svh"
`default_nettype none

module hv_rd
  import hv_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic        stop_i,             // no new bursts

  input  wire logic        d_req_valid_i,
  input  wire logic [31:0] d_req_addr_i,
  input  wire logic [3:0]  d_req_beats_m1_i,
  output logic             d_req_ready_o,
  input  wire logic        l_req_valid_i,
  input  wire logic [31:0] l_req_addr_i,
  input  wire logic [3:0]  l_req_beats_m1_i,
  output logic             l_req_ready_o,
  input  wire logic        w_req_valid_i,
  input  wire logic [31:0] w_req_addr_i,
  input  wire logic [3:0]  w_req_beats_m1_i,
  output logic             w_req_ready_o,

  output logic [HV_BUS_BYTES*8-1:0] rsp_data_o,
  output logic             rsp_last_o,
  output logic             d_rsp_valid_o,
  output logic             l_rsp_valid_o,
  output logic             w_rsp_valid_o,

  output logic [31:0]      m_axi_araddr,
  output logic [7:0]       m_axi_arlen,
  output logic [2:0]       m_axi_arsize,
  output logic [1:0]       m_axi_arburst,
  output logic             m_axi_arvalid,
  input  wire logic        m_axi_arready,
  input  wire logic [HV_BUS_BYTES*8-1:0] m_axi_rdata,
  input  wire logic [1:0]  m_axi_rresp,
  input  wire logic        m_axi_rlast,
  input  wire logic        m_axi_rvalid,
  output logic             m_axi_rready,

  output logic             idle_o,
  output logic             err_o,              // a beat came with RRESP other than OKAY
  output logic [31:0]      err_addr_o,         // address of its burst
  output logic             beat_o,             // one beat of any requester (CNT_RD_BEATS)
  output logic             w_beat_o            // one beat of weights (CNT_RD_W_BEATS)
);

  localparam int unsigned Outstanding = 16;

  typedef struct packed {
    logic        d;
    logic        l;
    logic        w;
    logic [31:0] addr;
    logic [3:0]  beats_m1;
  } burst_t;

  logic   slot, grant, q_full, q_empty, pop;
  burst_t pick, head;
  logic [$clog2(Outstanding):0] level;

  logic        arvalid_q;
  logic [31:0] araddr_q;
  logic [3:0]  arlen_q;
  logic [HV_BUS_BYTES*8-1:0] data_q;
  logic        last_q, d_q, l_q, w_q, err_q;
  logic [31:0] err_addr_q;
  logic [3:0]  beat_q;                          // beats of the head burst so far

  // --- Requests ------------------------------------------------------------------------------------
  assign slot = (!arvalid_q || m_axi_arready) && !q_full && !stop_i;

  always_comb begin
    pick = '0;
    if (d_req_valid_i) begin
      pick = '{d: 1'b1, l: 1'b0, w: 1'b0, addr: d_req_addr_i, beats_m1: d_req_beats_m1_i};
    end else if (l_req_valid_i) begin
      pick = '{d: 1'b0, l: 1'b1, w: 1'b0, addr: l_req_addr_i, beats_m1: l_req_beats_m1_i};
    end else if (w_req_valid_i) begin
      pick = '{d: 1'b0, l: 1'b0, w: 1'b1, addr: w_req_addr_i, beats_m1: w_req_beats_m1_i};
    end
  end

  assign grant = slot && (pick.d || pick.l || pick.w);
  assign d_req_ready_o = slot && pick.d;
  assign l_req_ready_o = slot && pick.l;
  assign w_req_ready_o = slot && pick.w;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      arvalid_q <= 1'b0;
    end else if (grant) begin
      arvalid_q <= 1'b1;
    end else if (m_axi_arready) begin
      arvalid_q <= 1'b0;
    end
    if (grant) begin
      araddr_q <= pick.addr;
      arlen_q  <= pick.beats_m1;
    end
  end

  assign m_axi_arvalid = arvalid_q;
  assign m_axi_araddr  = araddr_q;
  assign m_axi_arlen   = {4'd0, arlen_q};
  assign m_axi_arsize  = 3'($clog2(HV_BUS_BYTES));
  assign m_axi_arburst = 2'b01;

  // --- Responses -----------------------------------------------------------------------------------
  assign pop = m_axi_rvalid && m_axi_rlast;

  ks_fifo #(
    .Width($bits(burst_t)),
    .Depth(Outstanding)
  ) u_outstanding (
    .clk_i, .rst_ni,
    .push_i(grant), .wdata_i(pick), .full_o(q_full),
    .pop_i(pop), .rdata_o(head), .empty_o(q_empty), .level_o(level)
  );

  assign m_axi_rready = 1'b1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      d_q   <= 1'b0;
      l_q   <= 1'b0;
      w_q   <= 1'b0;
      err_q <= 1'b0;
      beat_q <= '0;
    end else begin
      d_q   <= m_axi_rvalid && head.d;
      l_q   <= m_axi_rvalid && head.l;
      w_q   <= m_axi_rvalid && head.w;
      err_q <= m_axi_rvalid && m_axi_rresp != 2'b00;
      if (m_axi_rvalid) beat_q <= m_axi_rlast ? 4'd0 : beat_q + 4'd1;
    end
    data_q     <= m_axi_rdata;
    last_q     <= m_axi_rlast;
    err_addr_q <= head.addr;
  end

  assign rsp_data_o    = data_q;
  assign rsp_last_o    = last_q;
  assign d_rsp_valid_o = d_q;
  assign l_rsp_valid_o = l_q;
  assign w_rsp_valid_o = w_q;
  assign err_o         = err_q;
  assign err_addr_o    = err_addr_q;
  assign beat_o        = d_q || l_q || w_q;
  assign w_beat_o      = w_q;
  assign idle_o        = q_empty && !d_q && !l_q && !w_q;

  // At most one requester is answered, and only one that asked.
  `KS_ASSERT(OneGrant, $onehot0({d_req_ready_o, l_req_ready_o, w_req_ready_o}))
  `KS_ASSERT(GrantAsked, (!d_req_ready_o || d_req_valid_i) && (!l_req_ready_o || l_req_valid_i) &&
             (!w_req_ready_o || w_req_valid_i))
  // A burst stays inside 128 aligned bytes.
  `KS_ASSERT(BurstAligned, !grant || 32'(pick.addr[6:0]) + (32'(pick.beats_m1) + 1) * HV_BUS_BYTES
             <= HV_BURST_BEATS * HV_BUS_BYTES)
  // What the slave answers was asked for, and has the length asked for.
  `KS_ASSUME(AnswerAsked, !m_axi_rvalid || !q_empty)
  `KS_ASSUME(AnswerLength, !m_axi_rvalid || m_axi_rlast == (beat_q == head.beats_m1))
  `KS_ASSERT(BoundedOutstanding, 32'(level) <= Outstanding)

endmodule

`default_nettype wire
