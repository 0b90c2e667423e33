// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Front end of a register file: AXI4-Lite slave, 32-bit data, on one side; on the other one write and one
// read at a time, each answered with the value of `ok`: OKAY, or SLVERR (and 0 for a read).
//
// Writes: AW and W are taken into one register each, in any order; AWREADY and WREADY are high while that
// register is empty. wr_en_o is high for one cycle x, the one after the first in which both are held and the B
// channel is free (no response, or BREADY), and comes from a flip-flop; wr_addr_o, wr_data_o and wr_strb_o are the
// same in x-1. wr_ok_i answers in x, BVALID is high from x+1. A further address and word may be taken while BVALID
// waits. wr_strb_o selects the bytes to write.
// Reads: ARREADY is high while no read is open. rd_en_o is high in the cycle t in which AR is taken, with the
// address on rd_addr_o; from t+1 it is on rd_addr_q_o. The register file gives its answer with rd_valid_i,
// in t or any later cycle; RVALID is high from the next. rd_valid_i without an open read has no effect.
// Rate: a write in three cycles, a read in two cycles and more. Bits 1:0 of addresses are ignored. Outputs of
// the bus come from flip-flops. Reset drops what is under way and does not touch addresses and data.

`include "ks_assert.svh"
`default_nettype none

module ks_axil_regs #(
  parameter int unsigned AddrBits = 12   // bits of a byte address, >= 3
) (
  input  wire logic                 clk_i,
  input  wire logic                 rst_ni,

  /* verilator lint_off UNUSED */  // bits 1:0 are ignored
  input  wire logic [AddrBits-1:0]  s_axil_awaddr,
  /* verilator lint_on UNUSED */
  input  wire logic                 s_axil_awvalid,
  output logic                      s_axil_awready,
  input  wire logic [31:0]          s_axil_wdata,
  input  wire logic [3:0]           s_axil_wstrb,
  input  wire logic                 s_axil_wvalid,
  output logic                      s_axil_wready,
  output logic [1:0]                s_axil_bresp,
  output logic                      s_axil_bvalid,
  input  wire logic                 s_axil_bready,
  /* verilator lint_off UNUSED */  // bits 1:0 are ignored
  input  wire logic [AddrBits-1:0]  s_axil_araddr,
  /* verilator lint_on UNUSED */
  input  wire logic                 s_axil_arvalid,
  output logic                      s_axil_arready,
  output logic [31:0]               s_axil_rdata,
  output logic [1:0]                s_axil_rresp,
  output logic                      s_axil_rvalid,
  input  wire logic                 s_axil_rready,

  // A write: the register file changes at the end of the cycle, if it says ok.
  output logic                      wr_en_o,
  output logic [AddrBits-1:0]       wr_addr_o,
  output logic [31:0]               wr_data_o,
  output logic [3:0]                wr_strb_o,
  input  wire logic                 wr_ok_i,

  // A read.
  output logic                      rd_en_o,
  output logic [AddrBits-1:0]       rd_addr_o,
  output logic                      rd_pending_o,   // from t+1 up to the cycle of rd_valid_i
  output logic [AddrBits-1:0]       rd_addr_q_o,
  input  wire logic                 rd_valid_i,
  input  wire logic                 rd_ok_i,
  input  wire logic [31:0]          rd_data_i
);

  if (AddrBits < 3) begin : gen_bad_addr
    $error("ks_axil_regs: AddrBits must be at least 3");
  end

  localparam logic [1:0] RespOkay = 2'b00;
  localparam logic [1:0] RespSlvErr = 2'b10;

  // --- Writes --------------------------------------------------------------------------------------
  logic                aw_full_q, w_full_q, wr_en_q, bvalid_q;
  logic [AddrBits-1:2] awaddr_q;
  logic [31:0]         wdata_q;
  logic [3:0]          wstrb_q;
  logic [1:0]          bresp_q;

  assign s_axil_awready = !aw_full_q;
  assign s_axil_wready  = !w_full_q;
  assign s_axil_bvalid  = bvalid_q;
  assign s_axil_bresp   = bresp_q;

  assign wr_en_o   = wr_en_q;
  assign wr_addr_o = {awaddr_q, 2'b00};
  assign wr_data_o = wdata_q;
  assign wr_strb_o = wstrb_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      aw_full_q <= 1'b0;
      w_full_q  <= 1'b0;
      wr_en_q   <= 1'b0;
      bvalid_q  <= 1'b0;
    end else begin
      wr_en_q <= aw_full_q && w_full_q && !wr_en_q && (!bvalid_q || s_axil_bready);
      if (wr_en_o) aw_full_q <= 1'b0;
      else if (s_axil_awvalid) aw_full_q <= 1'b1;
      if (wr_en_o) w_full_q <= 1'b0;
      else if (s_axil_wvalid) w_full_q <= 1'b1;
      if (wr_en_o) bvalid_q <= 1'b1;
      else if (s_axil_bready) bvalid_q <= 1'b0;
    end
    if (s_axil_awready) awaddr_q <= s_axil_awaddr[AddrBits-1:2];
    if (s_axil_wready) begin
      wdata_q <= s_axil_wdata;
      wstrb_q <= s_axil_wstrb;
    end
    if (wr_en_o) bresp_q <= wr_ok_i ? RespOkay : RespSlvErr;
  end

  // --- Reads ---------------------------------------------------------------------------------------
  logic                rvalid_q, pending_q, answer;
  logic [AddrBits-1:2] araddr_q;
  logic [31:0]         rdata_q;
  logic [1:0]          rresp_q;

  assign s_axil_arready = !rvalid_q && !pending_q;
  assign s_axil_rvalid  = rvalid_q;
  assign s_axil_rdata   = rdata_q;
  assign s_axil_rresp   = rresp_q;

  assign rd_en_o      = s_axil_arvalid && s_axil_arready;
  assign rd_addr_o    = {s_axil_araddr[AddrBits-1:2], 2'b00};
  assign rd_pending_o = pending_q;
  assign rd_addr_q_o  = {araddr_q, 2'b00};
  assign answer       = rd_valid_i && (rd_en_o || pending_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      rvalid_q  <= 1'b0;
      pending_q <= 1'b0;
    end else begin
      pending_q <= (rd_en_o || pending_q) && !rd_valid_i;
      if (answer) rvalid_q <= 1'b1;
      else if (s_axil_rready) rvalid_q <= 1'b0;
    end
    if (rd_en_o) araddr_q <= s_axil_araddr[AddrBits-1:2];
    if (answer) begin
      rdata_q <= rd_ok_i ? rd_data_i : '0;
      rresp_q <= rd_ok_i ? RespOkay : RespSlvErr;
    end
  end

  // A write has both its parts and a free B channel.
  `KS_ASSERT(WriteReady, !wr_en_q || (aw_full_q && w_full_q && !bvalid_q))
  `KS_ASSERT(OneOpenRead, !(rvalid_q && (pending_q || rd_en_o)))

endmodule

`default_nettype wire
