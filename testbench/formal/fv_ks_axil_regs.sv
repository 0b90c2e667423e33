// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// ks_axil_regs between any master that keeps to AXI4-Lite and any register file: every AW goes with its W to
// the register file once and has one answer, the register file's; every AR has one answer; answers stay until
// they are taken. Ghost registers hold what was taken last; as one of each is open at a time, that is all.

`include "ks_assert.svh"
`default_nettype none

module fv_ks_axil_regs #(
  parameter int unsigned AddrBits = 4
) (
  input wire logic                clk_i,
  input wire logic                rst_ni,
  input wire logic [AddrBits-1:0] awaddr_i,
  input wire logic                awvalid_i,
  input wire logic [31:0]         wdata_i,
  input wire logic [3:0]          wstrb_i,
  input wire logic                wvalid_i,
  input wire logic                bready_i,
  input wire logic [AddrBits-1:0] araddr_i,
  input wire logic                arvalid_i,
  input wire logic                rready_i,
  input wire logic                wr_ok_i,
  input wire logic                rd_valid_i,
  input wire logic                rd_ok_i,
  input wire logic [31:0]         rd_data_i
);

  logic                awready, wready, bvalid, arready, rvalid, wr_en, rd_en, rd_pending;
  logic [1:0]          bresp, rresp;
  logic [31:0]         rdata, wr_data;
  logic [3:0]          wr_strb;
  logic [AddrBits-1:0] wr_addr, rd_addr, rd_addr_q;

  fv_reset u_reset (.clk_i, .rst_ni);
  ks_axil_regs #(.AddrBits(AddrBits)) dut (
    .clk_i, .rst_ni,
    .s_axil_awaddr(awaddr_i), .s_axil_awvalid(awvalid_i), .s_axil_awready(awready),
    .s_axil_wdata(wdata_i), .s_axil_wstrb(wstrb_i), .s_axil_wvalid(wvalid_i), .s_axil_wready(wready),
    .s_axil_bresp(bresp), .s_axil_bvalid(bvalid), .s_axil_bready(bready_i),
    .s_axil_araddr(araddr_i), .s_axil_arvalid(arvalid_i), .s_axil_arready(arready),
    .s_axil_rdata(rdata), .s_axil_rresp(rresp), .s_axil_rvalid(rvalid), .s_axil_rready(rready_i),
    .wr_en_o(wr_en), .wr_addr_o(wr_addr), .wr_data_o(wr_data), .wr_strb_o(wr_strb), .wr_ok_i,
    .rd_en_o(rd_en), .rd_addr_o(rd_addr), .rd_pending_o(rd_pending), .rd_addr_q_o(rd_addr_q),
    .rd_valid_i, .rd_ok_i, .rd_data_i
  );

  logic aw, w, b, ar, r;   // handshakes
  assign aw = awvalid_i && awready;
  assign w  = wvalid_i && wready;
  assign b  = bvalid && bready_i;
  assign ar = arvalid_i && arready;
  assign r  = rvalid && rready_i;

  // Ghosts: taken and not yet given to the register file; given and not yet answered.
  logic                wr_next_q;   // the register file is to be given a write
  logic                aw_open_q, w_open_q, b_due_q, b_ok_q, ar_open_q, r_due_q, r_ok_q;
  logic [AddrBits-1:0] awaddr_q, araddr_q;
  logic [31:0]         wdata_q, r_data_q;
  logic [3:0]          wstrb_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      aw_open_q <= 1'b0;
      w_open_q  <= 1'b0;
      b_due_q   <= 1'b0;
      ar_open_q <= 1'b0;
      r_due_q   <= 1'b0;
      wr_next_q <= 1'b0;
    end else begin
      wr_next_q <= aw_open_q && w_open_q && !wr_en && (!b_due_q || b);
      aw_open_q <= aw || (aw_open_q && !wr_en);
      w_open_q  <= w || (w_open_q && !wr_en);
      b_due_q   <= wr_en || (b_due_q && !b);
      ar_open_q <= (ar || ar_open_q) && !rd_valid_i;
      r_due_q   <= ((ar || ar_open_q) && rd_valid_i) || (r_due_q && !r);
    end
    if (aw) awaddr_q <= awaddr_i;
    if (w) begin
      wdata_q <= wdata_i;
      wstrb_q <= wstrb_i;
    end
    if (wr_en) b_ok_q <= wr_ok_i;
    if (ar) araddr_q <= araddr_i;
    if ((ar || ar_open_q) && rd_valid_i) begin
      r_ok_q   <= rd_ok_i;
      r_data_q <= rd_data_i;
    end
  end

  // A write reaches the register file once, the cycle after it can: both parts are there and no answer waits.
  `KS_ASSERT(WriteGiven, wr_en == wr_next_q)
  `KS_ASSERT(OneAddressHeld, awready == !aw_open_q)
  `KS_ASSERT(OneWordHeld, wready == !w_open_q)
  `KS_ASSERT(WriteAddress, !wr_en || wr_addr == {awaddr_q[AddrBits-1:2], 2'b00})
  `KS_ASSERT(WriteData, !wr_en || wr_data == wdata_q)
  `KS_ASSERT(WriteStrobes, !wr_en || wr_strb == wstrb_q)
  // Its answer is the register file's, and stays (b_due_q and b_ok_q do).
  `KS_ASSERT(WriteAnswered, bvalid == b_due_q)
  `KS_ASSERT(WriteAnswer, !bvalid || bresp == {!b_ok_q, 1'b0})

  // A read is given in the cycle of its address, and none is taken while one is open.
  `KS_ASSERT(ReadGiven, rd_en == ar)
  `KS_ASSERT(OneRead, arready == (!ar_open_q && !r_due_q))
  `KS_ASSERT(ReadAddress, !rd_en || rd_addr == {araddr_i[AddrBits-1:2], 2'b00})
  `KS_ASSERT(ReadPending, rd_pending == ar_open_q)
  `KS_ASSERT(ReadAddressHeld, !rd_pending || rd_addr_q == {araddr_q[AddrBits-1:2], 2'b00})
  `KS_ASSERT(ReadAnswered, rvalid == r_due_q)
  `KS_ASSERT(ReadResponse, !rvalid || rresp == {!r_ok_q, 1'b0})
  `KS_ASSERT(ReadData, !rvalid || rdata == (r_ok_q ? r_data_q : 32'd0))

  // For the induction: what is held is what was taken.
  `KS_ASSERT(HeldAddress, !aw_open_q || dut.awaddr_q == awaddr_q[AddrBits-1:2])
  `KS_ASSERT(HeldWord, !w_open_q || (dut.wdata_q == wdata_q && dut.wstrb_q == wstrb_q))

  `KS_COVER(SecondWriteBehindAnAnswer, bvalid && !bready_i && aw_open_q && w_open_q)
  `KS_COVER(RefusedWrite, bvalid && bresp != 2'b00)
  `KS_COVER(ReadInItsCycle, ar && rd_valid_i && rd_ok_i && rd_data_i == 32'd5)
  `KS_COVER(LateRead, rd_pending && rd_valid_i && !rd_ok_i)
  `KS_COVER(BothAnswers, bvalid && rvalid)

endmodule

`default_nettype wire
