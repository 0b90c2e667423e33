// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Takes the engine's place in the system of a board: bursts at its memory port as no engine makes them,
// to few rows of all banks, so that rows of a bank follow each other and every moment of a refresh is met.
// Once the SDRAM is ready it fills the rows, then reads and writes at random, up to four reads and one write
// under way, dense and sparse by turns. Every word always holds the same function of its address, whatever
// the order; a read that says otherwise is an $error.

`default_nettype none

module hv_engine (
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  output logic             irq_o,                    // the rows are filled

  /* verilator lint_off UNUSEDSIGNAL */              // nobody asks for registers here; bits of random numbers
  input  wire logic [15:0] s_axil_awaddr,
  input  wire logic        s_axil_awvalid,
  output logic             s_axil_awready,
  input  wire logic [31:0] s_axil_wdata,
  input  wire logic [3:0]  s_axil_wstrb,
  input  wire logic        s_axil_wvalid,
  output logic             s_axil_wready,
  output logic [1:0]       s_axil_bresp,
  output logic             s_axil_bvalid,
  input  wire logic        s_axil_bready,
  input  wire logic [15:0] s_axil_araddr,
  input  wire logic        s_axil_arvalid,
  output logic             s_axil_arready,
  output logic [31:0]      s_axil_rdata,
  output logic [1:0]       s_axil_rresp,
  output logic             s_axil_rvalid,
  input  wire logic        s_axil_rready,

  output logic [31:0]      m_axi_araddr,
  output logic [7:0]       m_axi_arlen,
  output logic [2:0]       m_axi_arsize,
  output logic [1:0]       m_axi_arburst,
  output logic             m_axi_arvalid,
  input  wire logic        m_axi_arready,
  input  wire logic [63:0] m_axi_rdata,
  input  wire logic [1:0]  m_axi_rresp,
  input  wire logic        m_axi_rlast,
  input  wire logic        m_axi_rvalid,
  output logic             m_axi_rready,

  output logic [31:0]      m_axi_awaddr,
  output logic [7:0]       m_axi_awlen,
  output logic [2:0]       m_axi_awsize,
  output logic [1:0]       m_axi_awburst,
  output logic             m_axi_awvalid,
  input  wire logic        m_axi_awready,
  output logic [63:0]      m_axi_wdata,
  output logic [7:0]       m_axi_wstrb,
  output logic             m_axi_wlast,
  output logic             m_axi_wvalid,
  input  wire logic        m_axi_wready,
  input  wire logic [1:0]  m_axi_bresp,
  input  wire logic        m_axi_bvalid,
  output logic             m_axi_bready
);

  localparam logic [31:0] Base     = 32'h4000_0000;
  localparam int unsigned Window   = 32'h8000;   // eight rows of all banks of 32 MB, four of 64 MB
  localparam int unsigned MaxReads = 4;
  localparam int unsigned Start    = 30_000;     // cycles until the SDRAM is ready

  assign s_axil_awready = 1'b0;
  assign s_axil_wready  = 1'b0;
  assign s_axil_bresp   = 2'b00;
  assign s_axil_bvalid  = 1'b0;
  assign s_axil_arready = 1'b0;
  assign s_axil_rdata   = 32'd0;
  assign s_axil_rresp   = 2'b00;
  assign s_axil_rvalid  = 1'b0;

  assign m_axi_arsize  = 3'd3;
  assign m_axi_awsize  = 3'd3;
  assign m_axi_arburst = 2'b01;
  assign m_axi_awburst = 2'b01;
  assign m_axi_bready  = 1'b1;

  function automatic logic [63:0] content(logic [31:0] address);
    return {address * 32'h9E37_79B1, ~address * 32'h85EB_CA6B};
  endfunction

  // A burst in 128 aligned bytes of the window; half of them in four rows of bank 0, most of them short.
  function automatic logic [39:0] burst();
    automatic logic [31:0] random  = $urandom;
    automatic logic [31:0] address = {17'd0, random[14:3], 3'd0};
    automatic logic [7:0]  len     = random[31:30] == 0 ? 8'(random[29:26]) : 8'(random[26]);
    if (random[25]) address[12:10] = 3'd0;
    if (len > 8'(4'd15 - address[6:3])) len = 8'(4'd15 - address[6:3]);
    return {Base + address, len};
  endfunction

  // One in 2**rest_q cycles starts something.
  logic [2:0]  rest_q;
  logic [11:0] turn_q;
  logic [15:0] start_q;
  logic        started, wanted_read, wanted_write;
  assign started = start_q == 16'(Start);
  always_ff @(posedge clk_i) begin
    automatic logic [31:0] random = $urandom;
    turn_q       <= turn_q + 1'b1;
    if (turn_q == 0) rest_q <= random[31:29];
    wanted_read  <= (random[6:0]  & ((7'd1 << rest_q) - 7'd1)) == 0;
    wanted_write <= (random[14:8] & ((7'd1 << rest_q) - 7'd1)) == 0 && random[15];
    if (!started) start_q <= start_q + 1'b1;
    if (!rst_ni) begin
      turn_q  <= 12'd0;
      rest_q  <= 3'd0;
      start_q <= 16'd0;
    end
  end

  // Reads, answered in order.
  logic [39:0] reads [MaxReads];
  logic [1:0]  first_q, next_q;
  logic [2:0]  under_way_q;
  logic [7:0]  beat_q;
  logic        filled_q;
  always_ff @(posedge clk_i) begin : reading
    automatic logic [31:0] address = reads[first_q][39:8] + 32'({beat_q, 3'd0});
    automatic logic        taken   = m_axi_arvalid && m_axi_arready;
    automatic logic        ended   = m_axi_rvalid && m_axi_rready && m_axi_rlast;
    automatic logic [39:0] next    = burst();
    m_axi_rready <= 1'($urandom) || rest_q < 4;
    if (taken) begin
      m_axi_arvalid <= 1'b0;
      reads[next_q] <= {m_axi_araddr, m_axi_arlen};
      next_q        <= next_q + 1'b1;
    end
    under_way_q <= under_way_q + 3'(taken) - 3'(ended);
    if (filled_q && wanted_read && (!m_axi_arvalid || taken) && under_way_q < 3'(MaxReads - 1)) begin
      m_axi_arvalid <= 1'b1;
      m_axi_araddr  <= next[39:8];
      m_axi_arlen   <= next[7:0];
    end
    if (m_axi_rvalid && m_axi_rready) begin
      if (under_way_q == 0 || m_axi_rdata != content(address) || m_axi_rresp != 0
          || m_axi_rlast != (beat_q == reads[first_q][7:0]))
        $error("hv_engine: %h at %h, %h was written; beat %0d of %0d, last %b, response %b", m_axi_rdata,
               address, content(address), beat_q, reads[first_q][7:0], m_axi_rlast, m_axi_rresp);
      beat_q <= m_axi_rlast ? 8'd0 : beat_q + 1'b1;
      if (m_axi_rlast) first_q <= first_q + 1'b1;
    end
    if (!rst_ni) begin
      m_axi_arvalid <= 1'b0;
      under_way_q   <= 3'd0;
      first_q       <= 2'd0;
      next_q        <= 2'd0;
      beat_q        <= 8'd0;
    end
  end

  // Writes, one after the other: address and data side by side, then the response.
  logic [31:0] fill_q, write_address_q;
  logic [7:0]  left_q;
  logic        writing_q;
  assign m_axi_wlast = left_q == 0;
  assign irq_o       = filled_q;
  always_ff @(posedge clk_i) begin : writes
    automatic logic [39:0] next = filled_q ? burst() : {Base + fill_q, 8'd15};
    if (m_axi_awvalid && m_axi_awready) m_axi_awvalid <= 1'b0;
    if (m_axi_wvalid && m_axi_wready) begin
      m_axi_wvalid <= !m_axi_wlast;
      left_q       <= left_q - 1'b1;
      m_axi_wdata  <= content(write_address_q + 32'd8);
      m_axi_wstrb  <= filled_q ? 8'($urandom) : '1;
      write_address_q <= write_address_q + 32'd8;
    end
    if (m_axi_bvalid) begin
      writing_q <= 1'b0;
      if (m_axi_bresp != 0) $error("hv_engine: response %b to a write", m_axi_bresp);
      if (!filled_q) begin
        fill_q   <= fill_q + 32'd128;
        filled_q <= fill_q + 32'd128 == Window;
      end
    end
    if (!writing_q && started && (wanted_write || !filled_q)) begin
      writing_q     <= 1'b1;
      m_axi_awvalid <= 1'b1;
      m_axi_wvalid  <= 1'b1;
      m_axi_awaddr  <= next[39:8];
      m_axi_awlen   <= next[7:0];
      write_address_q <= next[39:8];
      left_q        <= next[7:0];
      m_axi_wdata   <= content(next[39:8]);
      m_axi_wstrb   <= filled_q ? 8'($urandom) : '1;
    end
    if (!rst_ni) begin
      m_axi_awvalid <= 1'b0;
      m_axi_wvalid  <= 1'b0;
      writing_q     <= 1'b0;
      filled_q      <= 1'b0;
      fill_q        <= 32'd0;
    end
  end

  /* verilator lint_on UNUSEDSIGNAL */

endmodule

`default_nettype wire
