// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// AXI4 memory of Words 64-bit words for the example: INCR bursts of full words, one burst of each direction
// at a time, answers OKAY with the ID of the request. Addresses wrap at the size.

`default_nettype none

module axi_ram #(
  parameter int unsigned Words  = 4096,    // a power of two
  parameter int unsigned IdBits = 4
) (
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic [IdBits-1:0] s_axi_arid,
  /* verilator lint_off UNUSEDSIGNAL */    // the address beyond the size, and within a word
  input  wire logic [31:0] s_axi_araddr,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire logic [7:0]  s_axi_arlen,
  input  wire logic        s_axi_arvalid,
  output logic             s_axi_arready,
  output logic [IdBits-1:0] s_axi_rid,
  output logic [63:0]      s_axi_rdata,
  output logic [1:0]       s_axi_rresp,
  output logic             s_axi_rlast,
  output logic             s_axi_rvalid,
  input  wire logic        s_axi_rready,

  input  wire logic [IdBits-1:0] s_axi_awid,
  /* verilator lint_off UNUSEDSIGNAL */
  input  wire logic [31:0] s_axi_awaddr,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire logic        s_axi_awvalid,
  output logic             s_axi_awready,
  input  wire logic [63:0] s_axi_wdata,
  input  wire logic [7:0]  s_axi_wstrb,
  input  wire logic        s_axi_wlast,
  input  wire logic        s_axi_wvalid,
  output logic             s_axi_wready,
  output logic [IdBits-1:0] s_axi_bid,
  output logic [1:0]       s_axi_bresp,
  output logic             s_axi_bvalid,
  input  wire logic        s_axi_bready
);

  localparam int unsigned Aw = $clog2(Words);
  logic [63:0] mem [Words];

  // --- Read: the next word is read while one is on the bus --------------------------------------------
  logic          reading_q;
  logic [Aw-1:0] raddr_q;
  logic [8:0]    left_q;                   // words still to be read
  logic          step;

  assign s_axi_arready = !reading_q;
  assign s_axi_rresp   = 2'b00;
  assign step          = reading_q && (!s_axi_rvalid || s_axi_rready);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      reading_q    <= 1'b0;
      s_axi_rvalid <= 1'b0;
    end else if (!reading_q) begin
      reading_q <= s_axi_arvalid;
    end else if (step) begin
      s_axi_rvalid <= left_q != 0;
      if (left_q == 0) reading_q <= 1'b0;
    end
    if (s_axi_arvalid && s_axi_arready) begin
      raddr_q   <= s_axi_araddr[3 +: Aw];
      left_q    <= 9'(s_axi_arlen) + 9'd1;
      s_axi_rid <= s_axi_arid;
    end else if (step && left_q != 0) begin
      raddr_q     <= raddr_q + Aw'(1);
      left_q      <= left_q - 9'd1;
      s_axi_rdata <= mem[raddr_q];
      s_axi_rlast <= left_q == 9'd1;
    end
  end

  // --- Write ------------------------------------------------------------------------------------------
  logic          writing_q;
  logic [Aw-1:0] waddr_q;

  assign s_axi_awready = !writing_q && !s_axi_bvalid;
  assign s_axi_wready  = writing_q;
  assign s_axi_bresp   = 2'b00;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      writing_q    <= 1'b0;
      s_axi_bvalid <= 1'b0;
    end else begin
      if (s_axi_awvalid && s_axi_awready) writing_q <= 1'b1;
      if (s_axi_wvalid && s_axi_wready && s_axi_wlast) begin
        writing_q    <= 1'b0;
        s_axi_bvalid <= 1'b1;
      end
      if (s_axi_bvalid && s_axi_bready) s_axi_bvalid <= 1'b0;
    end
    if (s_axi_awvalid && s_axi_awready) begin
      waddr_q   <= s_axi_awaddr[3 +: Aw];
      s_axi_bid <= s_axi_awid;
    end
    if (s_axi_wvalid && s_axi_wready) begin
      waddr_q <= waddr_q + Aw'(1);
      for (int unsigned b = 0; b < 8; b++) begin
        if (s_axi_wstrb[b]) mem[waddr_q][8*b +: 8] <= s_axi_wdata[8*b +: 8];
      end
    end
  end

endmodule

`default_nettype wire
