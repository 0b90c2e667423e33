// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Test top of the AXI movers: what ks_axi_rd reads, ks_axi_wr writes. Commands of both have the same
// lengths, in the same order. Ends of packets are counted.
`default_nettype none

module axi_copy_probe (
  input  wire logic         clk_i,
  input  wire logic         rst_ni,
  input  wire logic         stop_i,
  input  wire logic         hold_i,          // back-pressure between the two

  input  wire logic         rd_valid_i,
  output logic              rd_ready_o,
  input  wire logic [31:0]  rd_addr_i,
  input  wire logic [23:0]  rd_bytes_i,
  input  wire logic         wr_valid_i,
  output logic              wr_ready_o,
  input  wire logic [31:0]  wr_addr_i,
  input  wire logic [23:0]  wr_bytes_i,

  output logic              rd_idle_o,
  output logic              wr_idle_o,
  output logic              wr_done_o,
  output logic              rd_err_o,
  output logic              wr_err_o,
  output logic [31:0]       rd_err_addr_o,
  output logic [31:0]       wr_err_addr_o,
  output logic [31:0]       packets_o,
  output logic [63:0]       last_keep_o,     // TKEEP of the last beat of the last packet

  output logic [31:0]       m_axi_araddr,
  output logic [7:0]        m_axi_arlen,
  output logic [2:0]        m_axi_arsize,
  output logic [1:0]        m_axi_arburst,
  output logic              m_axi_arvalid,
  input  wire logic         m_axi_arready,
  input  wire logic [511:0] m_axi_rdata,
  input  wire logic [1:0]   m_axi_rresp,
  input  wire logic         m_axi_rlast,
  input  wire logic         m_axi_rvalid,
  output logic              m_axi_rready,
  output logic [31:0]       m_axi_awaddr,
  output logic [7:0]        m_axi_awlen,
  output logic [2:0]        m_axi_awsize,
  output logic [1:0]        m_axi_awburst,
  output logic              m_axi_awvalid,
  input  wire logic         m_axi_awready,
  output logic [511:0]      m_axi_wdata,
  output logic [63:0]       m_axi_wstrb,
  output logic              m_axi_wlast,
  output logic              m_axi_wvalid,
  input  wire logic         m_axi_wready,
  input  wire logic [1:0]   m_axi_bresp,
  input  wire logic         m_axi_bvalid,
  output logic              m_axi_bready
);

  logic [511:0] tdata;
  logic [63:0]  tkeep;
  logic         tlast, tvalid, tready;
  /* verilator lint_off UNUSEDSIGNAL */
  logic         rd_beat, wr_beat;
  /* verilator lint_on UNUSEDSIGNAL */

  ks_axi_rd u_rd (
    .clk_i, .rst_ni, .stop_i,
    .cmd_valid_i(rd_valid_i), .cmd_ready_o(rd_ready_o), .cmd_addr_i(rd_addr_i),
    .cmd_bytes_i(rd_bytes_i),
    .m_axis_tdata(tdata), .m_axis_tkeep(tkeep), .m_axis_tlast(tlast), .m_axis_tvalid(tvalid),
    .m_axis_tready(tready && !hold_i),
    .m_axi_araddr, .m_axi_arlen, .m_axi_arsize, .m_axi_arburst, .m_axi_arvalid, .m_axi_arready,
    .m_axi_rdata, .m_axi_rresp, .m_axi_rlast, .m_axi_rvalid, .m_axi_rready,
    .idle_o(rd_idle_o), .err_o(rd_err_o), .err_addr_o(rd_err_addr_o), .beat_o(rd_beat)
  );
  ks_axi_wr u_wr (
    .clk_i, .rst_ni, .stop_i,
    .cmd_valid_i(wr_valid_i), .cmd_ready_o(wr_ready_o), .cmd_addr_i(wr_addr_i),
    .cmd_bytes_i(wr_bytes_i),
    .s_axis_tdata(tdata), .s_axis_tvalid(tvalid && !hold_i), .s_axis_tready(tready),
    .m_axi_awaddr, .m_axi_awlen, .m_axi_awsize, .m_axi_awburst, .m_axi_awvalid, .m_axi_awready,
    .m_axi_wdata, .m_axi_wstrb, .m_axi_wlast, .m_axi_wvalid, .m_axi_wready,
    .m_axi_bresp, .m_axi_bvalid, .m_axi_bready,
    .idle_o(wr_idle_o), .done_o(wr_done_o), .err_o(wr_err_o), .err_addr_o(wr_err_addr_o),
    .beat_o(wr_beat)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      packets_o   <= '0;
      last_keep_o <= '0;
    end else if (tvalid && tready && !hold_i && tlast) begin
      packets_o   <= packets_o + 32'd1;
      last_keep_o <= tkeep;
    end
  end

endmodule

`default_nettype wire
