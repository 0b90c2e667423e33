// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The board for simulation: the generated system (boards/ulx3s/system.py) as it is synthesised, the
// model of the SDRAM chip on its pins, the pins of the serial port and the LEDs outside. One cycle of
// clk_i is one of the system clock: the model of the PLL does not multiply.

`default_nettype none

module tb_ulx3s #(
  parameter int unsigned ClockPs = 20_000,   // period of the system clock, for the SDRAM's rules
  parameter int unsigned ColBits = 9         // of the SDRAM: 9 for 32 MB, 10 for 64 MB
) (
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic        serial_rx_i,
  output logic             serial_tx_o,
  output logic [7:0]       led_o,
  output logic [31:0]      violations_o,   // of the SDRAM's rules
  output logic [31:0]      sdram_reads_o,
  output logic [31:0]      sdram_writes_o,
  output logic [31:0]      sdram_refreshes_o,
  // Handshakes at the engine's memory port in this cycle: address of a read, read data, address of a
  // write, write data, response.
  output logic             bus_ar_o, bus_r_o, bus_aw_o, bus_w_o, bus_b_o,
  output logic [31:0]      bus_araddr_o, bus_awaddr_o,
  output logic [7:0]       bus_arlen_o, bus_awlen_o
);

  wire  [15:0] sdram_dq;
  logic [12:0] sdram_a;
  logic [1:0]  sdram_ba, sdram_dm;
  logic        sdram_clock, sdram_cke, sdram_cs_n, sdram_ras_n, sdram_cas_n, sdram_we_n;
  /* verilator lint_off UNUSEDSIGNAL */    // keeps the other chip of the board quiet
  logic        wifi_gpio0;
  /* verilator lint_on UNUSEDSIGNAL */

  kestrel_ulx3s u_system (
    .clk25(clk_i), .rst(!rst_ni),
    .sdram_a, .sdram_ba, .sdram_cas_n, .sdram_cke, .sdram_clock, .sdram_cs_n, .sdram_dm, .sdram_dq,
    .sdram_ras_n, .sdram_we_n,
    .serial_rx(serial_rx_i), .serial_tx(serial_tx_o),
    .user_led0(led_o[0]), .user_led1(led_o[1]), .user_led2(led_o[2]), .user_led3(led_o[3]),
    .user_led4(led_o[4]), .user_led5(led_o[5]), .user_led6(led_o[6]), .user_led7(led_o[7]),
    .wifi_gpio0
  );

  assign bus_ar_o     = u_system.hv_engine.m_axi_arvalid && u_system.hv_engine.m_axi_arready;
  assign bus_r_o      = u_system.hv_engine.m_axi_rvalid && u_system.hv_engine.m_axi_rready;
  assign bus_aw_o     = u_system.hv_engine.m_axi_awvalid && u_system.hv_engine.m_axi_awready;
  assign bus_w_o      = u_system.hv_engine.m_axi_wvalid && u_system.hv_engine.m_axi_wready;
  assign bus_b_o      = u_system.hv_engine.m_axi_bvalid && u_system.hv_engine.m_axi_bready;
  assign bus_araddr_o = u_system.hv_engine.m_axi_araddr;
  assign bus_awaddr_o = u_system.hv_engine.m_axi_awaddr;
  assign bus_arlen_o  = u_system.hv_engine.m_axi_arlen;
  assign bus_awlen_o  = u_system.hv_engine.m_axi_awlen;

  tb_sdram #(.ClockPs(ClockPs), .ColBits(ColBits)) u_sdram (
    .clk(sdram_clock), .cke(sdram_cke), .cs_n(sdram_cs_n), .ras_n(sdram_ras_n), .cas_n(sdram_cas_n),
    .we_n(sdram_we_n), .ba(sdram_ba), .a(sdram_a), .dm(sdram_dm), .dq(sdram_dq),
    .violations_o, .reads_o(sdram_reads_o), .writes_o(sdram_writes_o), .refreshes_o(sdram_refreshes_o)
  );

endmodule

`default_nettype wire
