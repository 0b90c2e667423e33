// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Memories of the THC accelerator that the host sees as windows: table, contributors, norms, scales.
//
// While busy_i is low they belong to the host: a write takes effect at the end of its cycle, a read gives
// host_rdata_o in the cycle after. While busy_i is high they belong to the command: each memory has one
// read port (address in cycle t, data in t + 1) and one write port; host writes are not to come then.
// Memories have no reset.

`default_nettype none

module thc_windows
  import thc_pkg::*;
  import thc_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        busy_i,

  input  wire logic        host_we_i,
  input  wire logic [1:0]  host_wsel_i,     // 0 TABLE, 1 COUNT, 2 NORM, 3 SCALE
  input  wire logic [10:0] host_waddr_i,    // word of the window
  input  wire logic [31:0] host_wdata_i,
  input  wire logic [1:0]  host_rsel_i,
  input  wire logic [10:0] host_raddr_i,
  output logic [31:0]      host_rdata_o,

  output logic [15:0][7:0] table_o,
  input  wire logic [7:0]  count_raddr_i,   // four packets a word
  output logic [3:0][7:0]  count_rdata_o,
  input  wire logic        count_we_i,
  input  wire logic [7:0]  count_waddr_i,
  input  wire logic [3:0][7:0] count_wdata_i,
  input  wire logic [9:0]  norm_raddr_i,
  output logic [31:0]      norm_rdata_o,
  input  wire logic        norm_we_i,
  input  wire logic [9:0]  norm_waddr_i,
  input  wire logic [31:0] norm_wdata_i,
  input  wire logic [9:0]  scale_raddr_i,
  output thc_scale_t       scale_rdata_o
);

  localparam int unsigned LowW = 25;    // gain, exponent
  localparam int unsigned HighW = 22;   // step_shift in bits 24:20 of the word, step in bits 16:0

  logic [15:0][7:0]                    table_q;
  (* no_rw_check *) logic [31:0]       count_mem [WIN_COUNT_WORDS];
  (* no_rw_check *) logic [31:0]       norm_mem [WIN_NORM_WORDS];
  (* no_rw_check *) logic [LowW-1:0]   low_mem [WIN_SCALE_WORDS / 2];
  (* no_rw_check *) logic [HighW-1:0]  high_mem [WIN_SCALE_WORDS / 2];
  logic [31:0]      count_q, norm_q;
  logic [LowW-1:0]  low_q;
  logic [HighW-1:0] high_q;
  logic [7:0]       table_read_q;
  logic [1:0]       rsel_q;
  logic             rodd_q;

  // One write and one read a memory and cycle, for whoever has it.
  logic        count_we, norm_we, low_we, high_we;
  logic [7:0]  count_waddr, count_raddr;
  logic [9:0]  norm_waddr, norm_raddr, scale_raddr;
  logic [31:0] count_wdata, norm_wdata;

  assign count_we    = busy_i ? count_we_i : host_we_i && host_wsel_i == 2'd1;
  assign count_waddr = busy_i ? count_waddr_i : host_waddr_i[7:0];
  assign count_wdata = busy_i ? count_wdata_i : host_wdata_i;
  assign count_raddr = busy_i ? count_raddr_i : host_raddr_i[7:0];
  assign norm_we     = busy_i ? norm_we_i : host_we_i && host_wsel_i == 2'd2;
  assign norm_waddr  = busy_i ? norm_waddr_i : host_waddr_i[9:0];
  assign norm_wdata  = busy_i ? norm_wdata_i : host_wdata_i;
  assign norm_raddr  = busy_i ? norm_raddr_i : host_raddr_i[9:0];
  assign low_we      = !busy_i && host_we_i && host_wsel_i == 2'd3 && !host_waddr_i[0];
  assign high_we     = !busy_i && host_we_i && host_wsel_i == 2'd3 && host_waddr_i[0];
  assign scale_raddr = busy_i ? scale_raddr_i : host_raddr_i[10:1];

  always_ff @(posedge clk_i) begin
    if (count_we) count_mem[count_waddr] <= count_wdata;
    count_q <= count_mem[count_raddr];
  end
  always_ff @(posedge clk_i) begin
    if (norm_we) norm_mem[norm_waddr] <= norm_wdata;
    norm_q <= norm_mem[norm_raddr];
  end
  always_ff @(posedge clk_i) begin
    if (low_we) low_mem[host_waddr_i[10:1]] <= host_wdata_i[LowW-1:0];
    low_q <= low_mem[scale_raddr];
  end
  always_ff @(posedge clk_i) begin
    if (high_we) high_mem[host_waddr_i[10:1]] <= {host_wdata_i[24:20], host_wdata_i[16:0]};
    high_q <= high_mem[scale_raddr];
  end
  always_ff @(posedge clk_i) begin
    if (!busy_i && host_we_i && host_wsel_i == 2'd0) table_q[host_waddr_i[3:0]] <= host_wdata_i[7:0];
    table_read_q <= table_q[host_raddr_i[3:0]];
    rsel_q       <= host_rsel_i;
    rodd_q       <= host_raddr_i[0];
  end

  always_comb begin
    unique case (rsel_q)
      2'd0:    host_rdata_o = 32'(table_read_q);
      2'd1:    host_rdata_o = count_q;
      2'd2:    host_rdata_o = norm_q;
      default: host_rdata_o = rodd_q ? {7'd0, high_q[21:17], 3'd0, high_q[16:0]} : 32'(low_q);
    endcase
  end

  assign table_o       = table_q;
  assign count_rdata_o = count_q;
  assign norm_rdata_o  = norm_q;
  assign scale_rdata_o = '{step_shift: high_q[21:17], step: high_q[16:0], gain: low_q[24:8],
                           exponent: low_q[7:0]};

endmodule

`default_nettype wire
