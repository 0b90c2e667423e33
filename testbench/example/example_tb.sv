// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Runs a program of three descriptors on the example system: load 64 words, store them elsewhere, end.
// Prints "PASSED" or what is wrong, and ends with an error in that case.

`timescale 1ns / 1ps
`default_nettype none

module example_tb;

  import hv_pkg::*;

  localparam int unsigned Pixels = 64;
  localparam logic [31:0] In  = 32'h1000;
  localparam logic [31:0] Out = 32'h2000;

  logic clk = 1'b0, rst_n = 1'b0, irq;
  logic [HV_AXIL_ADDR_BITS-1:0] awaddr = '0, araddr = '0;
  logic awvalid = 1'b0, awready, wvalid = 1'b0, wready, bvalid, arvalid = 1'b0, arready, rvalid;
  logic [31:0] wdata = '0, rdata;
  logic [1:0]  bresp, rresp;

  example_top dut (
    .clk_i(clk), .rst_ni(rst_n), .irq_o(irq),
    .s_axil_awaddr(awaddr), .s_axil_awprot(3'b000), .s_axil_awvalid(awvalid), .s_axil_awready(awready),
    .s_axil_wdata(wdata), .s_axil_wstrb(4'hF), .s_axil_wvalid(wvalid), .s_axil_wready(wready),
    .s_axil_bresp(bresp), .s_axil_bvalid(bvalid), .s_axil_bready(1'b1),
    .s_axil_araddr(araddr), .s_axil_arprot(3'b000), .s_axil_arvalid(arvalid), .s_axil_arready(arready),
    .s_axil_rdata(rdata), .s_axil_rresp(rresp), .s_axil_rvalid(rvalid), .s_axil_rready(1'b1)
  );

  always #5 clk = !clk;

  // Signals change at the falling edge.
  task automatic write(input logic [15:0] address, input logic [31:0] value);
    @(negedge clk);
    awaddr = address; wdata = value; awvalid = 1'b1; wvalid = 1'b1;
    while (awvalid || wvalid) begin
      logic aw, w;
      aw = awvalid && awready;
      w  = wvalid && wready;
      @(negedge clk);
      if (aw) awvalid = 1'b0;
      if (w) wvalid = 1'b0;
    end
    while (!bvalid) @(negedge clk);
    if (bresp != 2'b00) $fatal(1, "write of register %h: response %0d", address, bresp);
  endtask

  task automatic read(input logic [15:0] address, output logic [31:0] value);
    logic taken;
    @(negedge clk);
    araddr = address; arvalid = 1'b1;
    do begin
      taken = arready;
      @(negedge clk);
    end while (!taken);
    arvalid = 1'b0;
    while (!rvalid) @(negedge clk);
    if (rresp != 2'b00) $fatal(1, "read of register %h: response %0d", address, rresp);
    value = rdata;
  endtask

  // Fields of the descriptors as in docs/vision_contract.md; a descriptor has 16 words.
  task automatic program_memory();
    for (int unsigned i = 0; i < 48; i++) dut.u_ram.mem[i] = '0;
    dut.u_ram.mem[0]  = 64'h42;                                        // LOAD, mode RAW, base IN
    dut.u_ram.mem[1]  = 64'(Pixels) << 32;                             // beats
    dut.u_ram.mem[2]  = 64'd4 << 16;                                   // dst_s: 64 pixels in 16 banks
    dut.u_ram.mem[3]  = 64'd8 | 64'(Pixels) << 16;                     // chans, count
    dut.u_ram.mem[16] = 64'h83 | 64'd1 << 32;                          // STORE, base OUT, behind one LOAD
    dut.u_ram.mem[18] = 64'd4 << 16;                                   // src_s
    dut.u_ram.mem[19] = 64'd1 | 64'(Pixels) << 12;                     // groups, n
    dut.u_ram.mem[32] = 64'h5;                                         // END
    for (int unsigned i = 0; i < Pixels; i++) dut.u_ram.mem[In[14:3] + 12'(i)] = {32'(i) * 32'h9E3779B9, ~32'(i)};
  endtask

  logic [31:0] value;
  int unsigned waited = 0, different = 0;
  initial begin
    program_memory();
    repeat (4) @(negedge clk);
    rst_n = 1'b1;
    read(REG_ID, value);
    if (value != RESET_ID) $fatal(1, "ID %h", value);
    write(REG_DESC_BASE, 32'd0);
    write(REG_DESC_COUNT, 32'd3);
    write(REG_IN_BASE, In);
    write(REG_OUT_BASE, Out);
    write(REG_IRQ_ENABLE, 32'd3);
    write(REG_CTRL, 32'd1);
    while (!irq && waited < 10000) begin
      @(negedge clk);
      waited++;
    end
    read(REG_STATUS, value);
    if (value[2:0] != 3'b010) $fatal(1, "STATUS %h after %0d cycles", value, waited);
    for (int unsigned i = 0; i < Pixels; i++) begin
      if (dut.u_ram.mem[Out[14:3] + 12'(i)] !== {32'(i) * 32'h9E3779B9, ~32'(i)}) different++;
    end
    if (different != 0) $fatal(1, "%0d of %0d words differ", different, Pixels);
    read(REG_CNT_CYCLES, value);
    $display("PASSED: %0d words copied in %0d cycles", Pixels, value);
    $finish;
  end

endmodule

`default_nettype wire
