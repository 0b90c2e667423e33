// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Test top of ks_axil_regs: eight words, the last of them read only (it holds how often a write came). A
// read is answered wait_i cycles after its address was taken.
`default_nettype none

module axil_regs_probe (
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic [2:0]  wait_i,
  output logic             wr_en_o,

  input  wire logic [7:0]  s_axil_awaddr,
  input  wire logic        s_axil_awvalid,
  output logic             s_axil_awready,
  input  wire logic [31:0] s_axil_wdata,
  input  wire logic [3:0]  s_axil_wstrb,
  input  wire logic        s_axil_wvalid,
  output logic             s_axil_wready,
  output logic [1:0]       s_axil_bresp,
  output logic             s_axil_bvalid,
  input  wire logic        s_axil_bready,
  input  wire logic [7:0]  s_axil_araddr,
  input  wire logic        s_axil_arvalid,
  output logic             s_axil_arready,
  output logic [31:0]      s_axil_rdata,
  output logic [1:0]       s_axil_rresp,
  output logic             s_axil_rvalid,
  input  wire logic        s_axil_rready
);

  logic [7:0][31:0] word_q;
  logic [7:0]       waddr, raddr_now, raddr_held, raddr;
  logic [31:0]      wdata;
  logic [3:0]       wstrb;
  logic             wok, read, pending, answer;
  logic [2:0]       left_q;

  ks_axil_regs #(.AddrBits(8)) dut (
    .clk_i, .rst_ni,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready,
    .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid, .s_axil_wready,
    .s_axil_bresp, .s_axil_bvalid, .s_axil_bready,
    .s_axil_araddr, .s_axil_arvalid, .s_axil_arready,
    .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .wr_en_o, .wr_addr_o(waddr), .wr_data_o(wdata), .wr_strb_o(wstrb), .wr_ok_i(wok),
    .rd_en_o(read), .rd_addr_o(raddr_now), .rd_pending_o(pending), .rd_addr_q_o(raddr_held),
    .rd_valid_i(answer), .rd_ok_i(raddr < 8'h20), .rd_data_i(word_q[raddr[4:2]])
  );

  assign wok    = waddr < 8'h1C;
  assign raddr  = read ? raddr_now : raddr_held;
  assign answer = read ? wait_i == '0 : pending && left_q == '0;

  always_ff @(posedge clk_i) begin
    left_q <= read ? wait_i - 3'd1 : left_q - 3'd1;
    if (!rst_ni) word_q <= '0;
    else if (wr_en_o) begin
      word_q[7] <= word_q[7] + 32'd1;
      for (int unsigned i = 0; i < 4; i++) begin
        if (wok && wstrb[i]) word_q[waddr[4:2]][8*i +: 8] <= wdata[8*i +: 8];
      end
    end
  end

endmodule

`default_nettype wire
