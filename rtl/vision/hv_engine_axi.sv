// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// The vision engine with all signals of AXI4 and AXI4-Lite that interconnects and bus models of other
// makers connect by name. The engine is one master with one transaction ID and needs none of them:
//   AxID     constant Id; RID and BID are not looked at, as answers of one ID come in order (A5.3)
//   AxLOCK   normal access
//   AxCACHE  normal, non-cacheable, bufferable (0011): an interconnect may buffer and merge; the
//            engine's interrupt comes after the last write response
//   AxPROT   unprivileged, secure, data; AxPROT of the registers is ignored: every master may use them
//   AxQOS, AxREGION  zero: no scheme
// Combinational, so no cycle is added. Section numbers: AMBA AXI and ACE Protocol Specification, IHI 0022E.

`default_nettype none

module hv_engine_axi
  import hv_pkg::*;
#(
  parameter int unsigned     IdBits = 4,
  parameter logic [IdBits-1:0] Id   = '0
) (
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  output logic             irq_o,

  input  wire logic [HV_AXIL_ADDR_BITS-1:0] s_axil_awaddr,
  input  wire logic [2:0]  s_axil_awprot,
  input  wire logic        s_axil_awvalid,
  output logic             s_axil_awready,
  input  wire logic [31:0] s_axil_wdata,
  input  wire logic [3:0]  s_axil_wstrb,
  input  wire logic        s_axil_wvalid,
  output logic             s_axil_wready,
  output logic [1:0]       s_axil_bresp,
  output logic             s_axil_bvalid,
  input  wire logic        s_axil_bready,
  input  wire logic [HV_AXIL_ADDR_BITS-1:0] s_axil_araddr,
  input  wire logic [2:0]  s_axil_arprot,
  input  wire logic        s_axil_arvalid,
  output logic             s_axil_arready,
  output logic [31:0]      s_axil_rdata,
  output logic [1:0]       s_axil_rresp,
  output logic             s_axil_rvalid,
  input  wire logic        s_axil_rready,

  output logic [IdBits-1:0] m_axi_arid,
  output logic [31:0]      m_axi_araddr,
  output logic [7:0]       m_axi_arlen,
  output logic [2:0]       m_axi_arsize,
  output logic [1:0]       m_axi_arburst,
  output logic             m_axi_arlock,
  output logic [3:0]       m_axi_arcache,
  output logic [2:0]       m_axi_arprot,
  output logic [3:0]       m_axi_arqos,
  output logic [3:0]       m_axi_arregion,
  output logic             m_axi_arvalid,
  input  wire logic        m_axi_arready,
  input  wire logic [IdBits-1:0] m_axi_rid,
  input  wire logic [HV_BUS_BYTES*8-1:0] m_axi_rdata,
  input  wire logic [1:0]  m_axi_rresp,
  input  wire logic        m_axi_rlast,
  input  wire logic        m_axi_rvalid,
  output logic             m_axi_rready,

  output logic [IdBits-1:0] m_axi_awid,
  output logic [31:0]      m_axi_awaddr,
  output logic [7:0]       m_axi_awlen,
  output logic [2:0]       m_axi_awsize,
  output logic [1:0]       m_axi_awburst,
  output logic             m_axi_awlock,
  output logic [3:0]       m_axi_awcache,
  output logic [2:0]       m_axi_awprot,
  output logic [3:0]       m_axi_awqos,
  output logic [3:0]       m_axi_awregion,
  output logic             m_axi_awvalid,
  input  wire logic        m_axi_awready,
  output logic [HV_BUS_BYTES*8-1:0] m_axi_wdata,
  output logic [HV_BUS_BYTES-1:0]   m_axi_wstrb,
  output logic             m_axi_wlast,
  output logic             m_axi_wvalid,
  input  wire logic        m_axi_wready,
  input  wire logic [IdBits-1:0] m_axi_bid,
  input  wire logic [1:0]  m_axi_bresp,
  input  wire logic        m_axi_bvalid,
  output logic             m_axi_bready
);

  localparam logic [3:0] Bufferable = 4'b0011;

  assign m_axi_arid     = Id;
  assign m_axi_arlock   = 1'b0;
  assign m_axi_arcache  = Bufferable;
  assign m_axi_arprot   = 3'b000;
  assign m_axi_arqos    = 4'd0;
  assign m_axi_arregion = 4'd0;
  assign m_axi_awid     = Id;
  assign m_axi_awlock   = 1'b0;
  assign m_axi_awcache  = Bufferable;
  assign m_axi_awprot   = 3'b000;
  assign m_axi_awqos    = 4'd0;
  assign m_axi_awregion = 4'd0;

  /* verilator lint_off UNUSEDSIGNAL */
  logic unused;
  assign unused = &{1'b0, s_axil_awprot, s_axil_arprot, m_axi_rid, m_axi_bid};
  /* verilator lint_on UNUSEDSIGNAL */

  hv_engine u_engine (
    .clk_i, .rst_ni, .irq_o,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready, .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid, .s_axil_wready,
    .s_axil_bresp, .s_axil_bvalid, .s_axil_bready,
    .s_axil_araddr, .s_axil_arvalid, .s_axil_arready, .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .m_axi_araddr, .m_axi_arlen, .m_axi_arsize, .m_axi_arburst, .m_axi_arvalid, .m_axi_arready,
    .m_axi_rdata, .m_axi_rresp, .m_axi_rlast, .m_axi_rvalid, .m_axi_rready,
    .m_axi_awaddr, .m_axi_awlen, .m_axi_awsize, .m_axi_awburst, .m_axi_awvalid, .m_axi_awready,
    .m_axi_wdata, .m_axi_wstrb, .m_axi_wlast, .m_axi_wvalid, .m_axi_wready,
    .m_axi_bresp, .m_axi_bvalid, .m_axi_bready
  );

endmodule

`default_nettype wire
