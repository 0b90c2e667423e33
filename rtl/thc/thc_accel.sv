// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// THC accelerator: norms, compression, sums and decoding of gradients in memory.
//
// One command at a time (registers: docs/thc_contract.md, commands: docs/thc_accel.md). Memory channel a
// carries x, indices, sums and means, channel b error feedback in and out; both are AXI4, 512 bits, bursts
// of up to 16 beats, and may lead to one memory or to two. Norms, scales, contributors and the table are in
// the register space. The data path is  reader a -> slices of 16 coordinates -> kernel -> writer a:
//   NORM, COMPRESS   x (+ error feedback, reader b) -> thc_norm or thc_compress (-> writer b)
//   AGGREGATE        indices, 128 a beat -> thc_aggregate -> sums in 2 or 4 beats
//   DECOMPRESS       sums -> thc_decompress
// 16 coordinates a cycle, 128 indices a cycle in AGGREGATE, as long as memory keeps up. Everything is elastic
// and drains by itself; movers never hold the bus. Numbers are those of sw_ref/thc/codec.hpp.
// Reset (synchronous) stops everything at once; a soft reset or an error first waits for open bursts.

`include "ks_assert.svh"
`default_nettype none

module thc_accel
  import thc_pkg::*;
  import thc_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  output logic             irq_o,

  input  wire logic [ACC_AXIL_ADDR_BITS-1:0] s_axil_awaddr,
  input  wire logic        s_axil_awvalid,
  output logic             s_axil_awready,
  input  wire logic [31:0] s_axil_wdata,
  input  wire logic [3:0]  s_axil_wstrb,
  input  wire logic        s_axil_wvalid,
  output logic             s_axil_wready,
  output logic [1:0]       s_axil_bresp,
  output logic             s_axil_bvalid,
  input  wire logic        s_axil_bready,
  input  wire logic [ACC_AXIL_ADDR_BITS-1:0] s_axil_araddr,
  input  wire logic        s_axil_arvalid,
  output logic             s_axil_arready,
  output logic [31:0]      s_axil_rdata,
  output logic [1:0]       s_axil_rresp,
  output logic             s_axil_rvalid,
  input  wire logic        s_axil_rready,

  output logic [31:0]      m_axi_a_araddr,
  output logic [7:0]       m_axi_a_arlen,
  output logic [2:0]       m_axi_a_arsize,
  output logic [1:0]       m_axi_a_arburst,
  output logic             m_axi_a_arvalid,
  input  wire logic        m_axi_a_arready,
  input  wire logic [511:0] m_axi_a_rdata,
  input  wire logic [1:0]  m_axi_a_rresp,
  input  wire logic        m_axi_a_rlast,
  input  wire logic        m_axi_a_rvalid,
  output logic             m_axi_a_rready,
  output logic [31:0]      m_axi_a_awaddr,
  output logic [7:0]       m_axi_a_awlen,
  output logic [2:0]       m_axi_a_awsize,
  output logic [1:0]       m_axi_a_awburst,
  output logic             m_axi_a_awvalid,
  input  wire logic        m_axi_a_awready,
  output logic [511:0]     m_axi_a_wdata,
  output logic [63:0]      m_axi_a_wstrb,
  output logic             m_axi_a_wlast,
  output logic             m_axi_a_wvalid,
  input  wire logic        m_axi_a_wready,
  input  wire logic [1:0]  m_axi_a_bresp,
  input  wire logic        m_axi_a_bvalid,
  output logic             m_axi_a_bready,

  output logic [31:0]      m_axi_b_araddr,
  output logic [7:0]       m_axi_b_arlen,
  output logic [2:0]       m_axi_b_arsize,
  output logic [1:0]       m_axi_b_arburst,
  output logic             m_axi_b_arvalid,
  input  wire logic        m_axi_b_arready,
  input  wire logic [511:0] m_axi_b_rdata,
  input  wire logic [1:0]  m_axi_b_rresp,
  input  wire logic        m_axi_b_rlast,
  input  wire logic        m_axi_b_rvalid,
  output logic             m_axi_b_rready,
  output logic [31:0]      m_axi_b_awaddr,
  output logic [7:0]       m_axi_b_awlen,
  output logic [2:0]       m_axi_b_awsize,
  output logic [1:0]       m_axi_b_awburst,
  output logic             m_axi_b_awvalid,
  input  wire logic        m_axi_b_awready,
  output logic [511:0]     m_axi_b_wdata,
  output logic [63:0]      m_axi_b_wstrb,
  output logic             m_axi_b_wlast,
  output logic             m_axi_b_wvalid,
  input  wire logic        m_axi_b_wready,
  input  wire logic [1:0]  m_axi_b_bresp,
  input  wire logic        m_axi_b_bvalid,
  output logic             m_axi_b_bready
);

  localparam int unsigned Lanes = ACC_LANES;
  localparam int unsigned AggLanes = ACC_AGG_LANES;
  localparam int unsigned BusBits = 8 * ACC_BUS_BYTES;
  localparam int unsigned BeatsPerPacket = ACC_PACKET_COORDINATES / Lanes;
  localparam int unsigned AggPerPacket = ACC_PACKET_COORDINATES / AggLanes;
  if (BusBits != 32 * Lanes || BusBits != 4 * AggLanes) begin : gen_bad_lanes
    $error("thc_accel: a bus word holds one beat of fp32 and one of indices");
  end

  // ---- Registers, windows, control ----
  logic             start, soft_reset, busy, irq_done, irq_error;
  logic [31:0]      watchdog, error;
  logic [15:0][31:0] program_words;
  logic [5:0]       status;
  logic [6:0][31:0] cnt;
  logic             win_we;
  logic [1:0]       win_wsel, win_rsel;
  logic [10:0]      win_waddr, win_raddr;
  logic [31:0]      win_wdata, win_rdata;
  logic [15:0][7:0] values;
  logic [7:0]       count_raddr, count_waddr;
  logic [3:0][7:0]  count_rdata, count_wdata;
  logic             count_we;
  logic [9:0]       norm_raddr, norm_waddr, scale_raddr;
  logic [31:0]      norm_rdata, norm_wdata;
  logic             norm_we;
  thc_scale_t       scale_rdata;
  logic [31:0]      nonfinite_index, bad_index;
  logic [7:0]       contributors_q;

  logic             core_rst_n, clear;
  thc_cfg_t         cfg;
  logic [63:0]      first;
  thc_op_e          op;
  logic             bf16, error_in, error_out, wide, take_max, stop;
  logic [7:0]       workers;
  logic [10:0]      blocks, packets;
  logic [8:0]       frame_beats;
  logic             rd_a_valid, rd_a_ready, rd_b_valid, rd_b_ready;
  logic             wr_a_valid, wr_a_ready, wr_b_valid, wr_b_ready;
  logic [31:0]      rd_a_addr, rd_b_addr, wr_a_addr, wr_b_addr;
  logic [23:0]      rd_a_bytes, wr_a_bytes, b_bytes;
  logic             rd_a_idle, rd_b_idle, wr_a_idle, wr_b_idle, wr_a_done, wr_b_done;
  logic             rd_a_err, rd_b_err, wr_a_err, wr_b_err;
  /* verilator lint_off UNUSEDSIGNAL */   // bits 7:0 are not shown
  logic [31:0]      rd_a_err_addr, rd_b_err_addr, wr_a_err_addr, wr_b_err_addr;
  /* verilator lint_on UNUSEDSIGNAL */
  logic             rd_a_beat, rd_b_beat, wr_a_beat, wr_b_beat;
  logic             norm_done, nonfinite, out_of_range, compress_range, decompress_range;
  logic             in_beat, in_wait, out_beat, out_wait;

  thc_regs u_regs (
    .clk_i, .rst_ni,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready, .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid,
    .s_axil_wready, .s_axil_bresp, .s_axil_bvalid, .s_axil_bready, .s_axil_araddr, .s_axil_arvalid,
    .s_axil_arready, .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .start_o(start), .soft_reset_o(soft_reset), .watchdog_o(watchdog), .program_o(program_words),
    .win_we_o(win_we), .win_wsel_o(win_wsel), .win_waddr_o(win_waddr), .win_wdata_o(win_wdata),
    .win_rsel_o(win_rsel), .win_raddr_o(win_raddr), .win_rdata_i(win_rdata),
    .busy_i(busy), .status_i(status), .error_i(error),
    .result_i({bad_index, 24'd0, contributors_q, nonfinite ? nonfinite_index : '0}), .cnt_i(cnt),
    .irq_done_i(irq_done), .irq_error_i(irq_error), .irq_o
  );

  thc_windows u_windows (
    .clk_i, .busy_i(busy),
    .host_we_i(win_we), .host_wsel_i(win_wsel), .host_waddr_i(win_waddr), .host_wdata_i(win_wdata),
    .host_rsel_i(win_rsel), .host_raddr_i(win_raddr), .host_rdata_o(win_rdata),
    .table_o(values),
    .count_raddr_i(count_raddr), .count_rdata_o(count_rdata), .count_we_i(count_we),
    .count_waddr_i(count_waddr), .count_wdata_i(count_wdata),
    .norm_raddr_i(norm_raddr), .norm_rdata_o(norm_rdata), .norm_we_i(norm_we),
    .norm_waddr_i(norm_waddr), .norm_wdata_i(norm_wdata),
    .scale_raddr_i(scale_raddr), .scale_rdata_o(scale_rdata)
  );

  thc_ctrl u_ctrl (
    .clk_i, .rst_ni,
    .start_i(start), .soft_reset_i(soft_reset), .watchdog_i(watchdog), .program_i(program_words),
    .table_i(values),
    .busy_o(busy), .status_o(status), .error_o(error), .cnt_o(cnt), .irq_done_o(irq_done),
    .irq_error_o(irq_error),
    .core_rst_no(core_rst_n), .clear_o(clear), .cfg_o(cfg), .first_o(first), .op_o(op), .bf16_o(bf16),
    .error_in_o(error_in), .error_out_o(error_out), .wide_o(wide), .max_o(take_max),
    .workers_o(workers), .blocks_o(blocks), .packets_o(packets), .frame_beats_o(frame_beats),
    .stop_o(stop),
    .rd_a_valid_o(rd_a_valid), .rd_a_ready_i(rd_a_ready), .rd_a_addr_o(rd_a_addr),
    .rd_a_bytes_o(rd_a_bytes),
    .rd_b_valid_o(rd_b_valid), .rd_b_ready_i(rd_b_ready), .rd_b_addr_o(rd_b_addr),
    .wr_a_valid_o(wr_a_valid), .wr_a_ready_i(wr_a_ready), .wr_a_addr_o(wr_a_addr),
    .wr_a_bytes_o(wr_a_bytes),
    .wr_b_valid_o(wr_b_valid), .wr_b_ready_i(wr_b_ready), .wr_b_addr_o(wr_b_addr),
    .b_bytes_o(b_bytes), .wr_a_done_i(wr_a_done), .wr_b_done_i(wr_b_done),
    .idle_i(rd_a_idle && rd_b_idle && wr_a_idle && wr_b_idle),
    .rd_err_i(rd_a_err || rd_b_err),
    .rd_err_addr_i(rd_a_err ? rd_a_err_addr[31:8] : rd_b_err_addr[31:8]),
    .wr_err_i(wr_a_err || wr_b_err),
    .wr_err_addr_i(wr_a_err ? wr_a_err_addr[31:8] : wr_b_err_addr[31:8]),
    .norm_done_i(norm_done), .nonfinite_i(nonfinite), .out_of_range_i(out_of_range),
    .in_beat_i(in_beat), .in_wait_i(in_wait), .out_beat_i(out_beat), .out_wait_i(out_wait),
    .rd_beats_i({1'b0, rd_a_beat} + {1'b0, rd_b_beat}),
    .wr_beats_i({1'b0, wr_a_beat} + {1'b0, wr_b_beat})
  );

  // ---- Readers ----
  logic [BusBits-1:0] a_data, b_data;
  logic               a_last, a_valid, a_ready, b_valid, b_ready;
  /* verilator lint_off UNUSEDSIGNAL */   // whole beats only, and no packets on channel b
  logic [63:0]        a_keep, b_keep;
  logic               b_last;
  /* verilator lint_on UNUSEDSIGNAL */

  ks_axi_rd #(.DataBytes(ACC_BUS_BYTES), .BurstBeats(ACC_BURST_BEATS)) u_rd_a (
    .clk_i, .rst_ni(core_rst_n), .stop_i(stop),
    .cmd_valid_i(rd_a_valid), .cmd_ready_o(rd_a_ready), .cmd_addr_i(rd_a_addr),
    .cmd_bytes_i(rd_a_bytes),
    .m_axis_tdata(a_data), .m_axis_tkeep(a_keep), .m_axis_tlast(a_last), .m_axis_tvalid(a_valid),
    .m_axis_tready(a_ready),
    .m_axi_araddr(m_axi_a_araddr), .m_axi_arlen(m_axi_a_arlen), .m_axi_arsize(m_axi_a_arsize),
    .m_axi_arburst(m_axi_a_arburst), .m_axi_arvalid(m_axi_a_arvalid),
    .m_axi_arready(m_axi_a_arready), .m_axi_rdata(m_axi_a_rdata), .m_axi_rresp(m_axi_a_rresp),
    .m_axi_rlast(m_axi_a_rlast), .m_axi_rvalid(m_axi_a_rvalid), .m_axi_rready(m_axi_a_rready),
    .idle_o(rd_a_idle), .err_o(rd_a_err), .err_addr_o(rd_a_err_addr), .beat_o(rd_a_beat)
  );
  ks_axi_rd #(.DataBytes(ACC_BUS_BYTES), .BurstBeats(ACC_BURST_BEATS)) u_rd_b (
    .clk_i, .rst_ni(core_rst_n), .stop_i(stop),
    .cmd_valid_i(rd_b_valid), .cmd_ready_o(rd_b_ready), .cmd_addr_i(rd_b_addr), .cmd_bytes_i(b_bytes),
    .m_axis_tdata(b_data), .m_axis_tkeep(b_keep), .m_axis_tlast(b_last), .m_axis_tvalid(b_valid),
    .m_axis_tready(b_ready),
    .m_axi_araddr(m_axi_b_araddr), .m_axi_arlen(m_axi_b_arlen), .m_axi_arsize(m_axi_b_arsize),
    .m_axi_arburst(m_axi_b_arburst), .m_axi_arvalid(m_axi_b_arvalid),
    .m_axi_arready(m_axi_b_arready), .m_axi_rdata(m_axi_b_rdata), .m_axi_rresp(m_axi_b_rresp),
    .m_axi_rlast(m_axi_b_rlast), .m_axi_rvalid(m_axi_b_rvalid), .m_axi_rready(m_axi_b_rready),
    .idle_o(rd_b_idle), .err_o(rd_b_err), .err_addr_o(rd_b_err_addr), .beat_o(rd_b_beat)
  );

  logic is_norm, is_compress, is_aggregate, is_decompress;
  assign is_norm       = op == OP_NORM;
  assign is_compress   = op == OP_COMPRESS;
  assign is_aggregate  = op == OP_AGGREGATE;
  assign is_decompress = op == OP_DECOMPRESS;

  // Beats of 16 coordinates for all kernels but aggregate.
  logic [1:0]         parts_log2;
  logic               cut_ready, part_valid, part_ready;
  logic [BusBits-1:0] part;
  assign parts_log2 = is_decompress ? (wide ? 2'd1 : 2'd2) : bf16 ? 2'd1 : 2'd0;
  thc_slice #(.Width(BusBits)) u_slice (
    .clk_i, .rst_ni(core_rst_n), .parts_log2_i(parts_log2),
    .s_valid_i(a_valid && !is_aggregate), .s_ready_o(cut_ready), .s_data_i(a_data),
    .m_valid_o(part_valid), .m_ready_i(part_ready), .m_data_o(part)
  );

  // ---- y = x + error feedback ----
  logic                   add_ready, y_valid, y_ready;
  logic [Lanes-1:0][31:0] y;
  thc_add #(.Lanes(Lanes)) u_add (
    .clk_i, .rst_ni(core_rst_n), .clear_i(clear), .bf16_i(bf16), .error_in_i(error_in),
    .s_axis_tvalid(part_valid && !is_decompress), .s_axis_tready(add_ready), .s_axis_tdata(part),
    .s_err_tvalid(b_valid), .s_err_tready(b_ready), .s_err_tdata(b_data),
    .m_axis_tvalid(y_valid), .m_axis_tready(y_ready), .m_axis_tdata(y),
    .nonfinite_o(nonfinite), .nonfinite_index_o(nonfinite_index)
  );

  // ---- Norms ----
  logic        norm_ready, other_valid, other_ready, norm_valid;
  logic [31:0] other, norm;
  logic [9:0]  norm_q;
  thc_feed #(.Width(32), .AddrW(10)) u_other (
    .clk_i, .rst_ni(core_rst_n), .clear_i(clear), .count_i(is_norm && take_max ? blocks : '0),
    .raddr_o(norm_raddr), .rdata_i(norm_rdata),
    .m_valid_o(other_valid), .m_ready_i(other_ready), .m_data_o(other)
  );
  thc_norm #(.Lanes(Lanes)) u_norm (
    .clk_i, .rst_ni(core_rst_n), .clear_i(clear), .block_log2_i(cfg.block_log2), .max_i(take_max),
    .s_axis_tvalid(y_valid && is_norm), .s_axis_tready(norm_ready), .s_axis_tdata(y),
    .s_other_tvalid(other_valid), .s_other_tready(other_ready), .s_other_tdata(other),
    .m_axis_tvalid(norm_valid), .m_axis_tready(1'b1), .m_axis_tdata(norm)
  );
  assign norm_done  = norm_valid && busy;
  assign norm_we    = norm_done;
  assign norm_waddr = norm_q;
  assign norm_wdata = norm;
  always_ff @(posedge clk_i) begin
    if (clear)          norm_q <= '0;
    else if (norm_done) norm_q <= norm_q + 10'd1;
  end

  // ---- Scales ----
  logic       scale_valid, scale_ready, compress_scale_ready, decompress_scale_ready;
  thc_scale_t scale;
  thc_feed #(.Width($bits(thc_scale_t)), .AddrW(10)) u_scales (
    .clk_i, .rst_ni(core_rst_n), .clear_i(clear),
    .count_i(is_compress || is_decompress ? blocks : '0),
    .raddr_o(scale_raddr), .rdata_i(scale_rdata),
    .m_valid_o(scale_valid), .m_ready_i(scale_ready), .m_data_o(scale)
  );
  assign scale_ready = is_compress ? compress_scale_ready : decompress_scale_ready;

  // ---- Compression ----
  logic                   compress_ready, index_valid, index_ready, err_valid, err_ready;
  logic [4*Lanes-1:0]     index;
  logic [Lanes-1:0][31:0] err;
  logic                   index_last;
  /* verilator lint_off UNUSEDSIGNAL */   // writers count
  logic                   err_last;
  /* verilator lint_on UNUSEDSIGNAL */
  thc_compress #(.Lanes(Lanes), .MaxLog2(ACC_MAX_BLOCK_LOG2)) u_compress (
    .clk_i, .rst_ni(core_rst_n), .clear_i(clear), .cfg_i(cfg), .first_i(first),
    .error_out_i(error_out),
    .s_axis_tvalid(y_valid && is_compress), .s_axis_tready(compress_ready), .s_axis_tdata(y),
    .s_scale_tvalid(scale_valid && is_compress), .s_scale_tready(compress_scale_ready),
    .s_scale_tdata(scale),
    .m_axis_tvalid(index_valid), .m_axis_tready(index_ready), .m_axis_tdata(index),
    .m_axis_tlast(index_last),
    .m_err_tvalid(err_valid), .m_err_tready(err_ready), .m_err_tdata(err), .m_err_tlast(err_last),
    .out_of_range_o(compress_range)
  );
  assign y_ready = is_norm ? norm_ready : compress_ready;

  // ---- Sums: TLAST of the reader ends a worker's frame ----
  logic                   agg_ready, sums_valid, sums_ready;
  logic [16*AggLanes-1:0] sums;
  logic [7:0]             sums_count, worker_q;
  /* verilator lint_off UNUSEDSIGNAL */   // frames have the right length here; writers count
  logic                   sums_last;
  logic [31:0]            early, late, refused;
  /* verilator lint_on UNUSEDSIGNAL */
  thc_aggregate #(.Lanes(AggLanes), .SumBits(ACC_SUM_BITS),
                  .MaxBeats(2 ** ACC_MAX_BLOCK_LOG2 / AggLanes)) u_aggregate (
    .clk_i, .rst_ni(core_rst_n), .clear_i(clear), .cfg_i(cfg), .beats_i(frame_beats),
    .s_axis_tdata(a_data), .s_axis_tuser({worker_q == workers - 8'd1, worker_q == 8'd0}),
    .s_axis_tlast(a_last), .s_axis_tvalid(a_valid && is_aggregate), .s_axis_tready(agg_ready),
    .m_axis_tdata(sums), .m_axis_tuser(sums_count), .m_axis_tlast(sums_last),
    .m_axis_tvalid(sums_valid), .m_axis_tready(sums_ready),
    .early_o(early), .late_o(late), .refused_o(refused), .bad_index_o(bad_index)
  );
  assign a_ready = is_aggregate ? agg_ready : cut_ready;
  always_ff @(posedge clk_i) begin
    if (clear) worker_q <= '0;
    else if (a_valid && a_ready && a_last) worker_q <= worker_q == workers - 8'd1 ? '0 : worker_q + 8'd1;
  end

  // Contributors of each packet, four a word; a word is written again with each of its packets.
  localparam int unsigned AggBeatW = $clog2(AggPerPacket);
  logic [AggBeatW-1:0] sums_beat_q;
  logic [9:0]          sums_packet_q;
  logic [3:0][7:0]     count_q, count_d;
  logic                sums_take;
  assign sums_take = sums_valid && sums_ready;
  always_comb begin
    count_d = sums_packet_q[1:0] == 2'd0 ? '0 : count_q;
    count_d[sums_packet_q[1:0]] = sums_count;
  end
  assign count_we    = sums_take && sums_beat_q == '1;
  assign count_waddr = sums_packet_q[9:2];
  assign count_wdata = count_d;
  always_ff @(posedge clk_i) begin
    if (clear) begin
      sums_beat_q   <= '0;
      sums_packet_q <= '0;
    end else if (sums_take) begin
      sums_beat_q <= sums_beat_q + AggBeatW'(1);
      if (sums_beat_q == '1) sums_packet_q <= sums_packet_q + 10'd1;
    end
    if (count_we) begin
      count_q        <= count_d;
      contributors_q <= sums_count;
    end
    if (!rst_ni) contributors_q <= '0;
  end

  // Narrow sums: the low bytes side by side.
  logic [8*AggLanes-1:0]  narrow;
  logic                   down_valid, down_ready;
  logic [BusBits-1:0]     down;
  /* verilator lint_off UNUSEDSIGNAL */
  logic                   down_last;
  logic [63:0]            down_keep;
  /* verilator lint_on UNUSEDSIGNAL */
  always_comb begin
    for (int unsigned i = 0; i < AggLanes; i++) narrow[8*i +: 8] = sums[16*i +: 8];
  end
  ks_axis_down #(.InBytes(2 * AggLanes), .OutBytes(ACC_BUS_BYTES)) u_down (
    .clk_i, .rst_ni(core_rst_n),
    .s_axis_tdata(wide ? sums : (16 * AggLanes)'(narrow)),
    .s_axis_tkeep(wide ? '1 : (2 * AggLanes)'({AggLanes{1'b1}})), .s_axis_tlast(1'b1),
    .s_axis_tvalid(sums_valid), .s_axis_tready(sums_ready),
    .m_axis_tdata(down), .m_axis_tkeep(down_keep), .m_axis_tlast(down_last),
    .m_axis_tvalid(down_valid), .m_axis_tready(down_ready)
  );

  // ---- Decoding ----
  localparam int unsigned PartW = $clog2(BeatsPerPacket);
  logic                   word_valid, word_ready, mean_valid, mean_ready, decompress_ready;
  logic [3:0][7:0]        word;
  logic [1:0]             slot_q;
  logic [PartW-1:0]       part_q;
  logic [Lanes-1:0][15:0] part_sums;
  logic [Lanes-1:0][31:0] mean;
  logic                   decompress_take;
  /* verilator lint_off UNUSEDSIGNAL */
  logic                   mean_last;
  /* verilator lint_on UNUSEDSIGNAL */
  thc_feed #(.Width(32), .AddrW(8)) u_counts (
    .clk_i, .rst_ni(core_rst_n), .clear_i(clear),
    .count_i(is_decompress ? 9'((packets + 11'd3) >> 2) : '0),
    .raddr_o(count_raddr), .rdata_i(count_rdata),
    .m_valid_o(word_valid), .m_ready_i(word_ready), .m_data_o(word)
  );
  always_comb begin
    for (int unsigned i = 0; i < Lanes; i++) begin
      part_sums[i] = wide ? part[16*i +: 16] : {8'd0, part[8*i +: 8]};
    end
  end
  thc_decompress #(.Lanes(Lanes), .MaxLog2(ACC_MAX_BLOCK_LOG2)) u_decompress (
    .clk_i, .rst_ni(core_rst_n), .clear_i(clear), .cfg_i(cfg), .first_i(first),
    .s_axis_tvalid(part_valid && is_decompress && word_valid), .s_axis_tready(decompress_ready),
    .s_axis_tdata(part_sums), .s_axis_tuser(word[slot_q]),
    .s_scale_tvalid(scale_valid && is_decompress), .s_scale_tready(decompress_scale_ready),
    .s_scale_tdata(scale),
    .m_axis_tvalid(mean_valid), .m_axis_tready(mean_ready), .m_axis_tdata(mean),
    .m_axis_tlast(mean_last), .out_of_range_o(decompress_range)
  );
  assign decompress_take = part_valid && is_decompress && word_valid && decompress_ready;
  assign word_ready      = decompress_take && part_q == '1 && slot_q == 2'd3;
  assign part_ready      = is_decompress ? decompress_ready && word_valid : add_ready;
  always_ff @(posedge clk_i) begin
    if (clear) begin
      part_q <= '0;
      slot_q <= '0;
    end else if (decompress_take) begin
      part_q <= part_q + PartW'(1);
      if (part_q == '1) slot_q <= slot_q + 2'd1;
    end
  end

  // ---- Writers ----
  logic               up_valid, up_ready, out_valid, out_ready;
  logic [BusBits-1:0] up, out;
  /* verilator lint_off UNUSEDSIGNAL */
  logic [63:0]        up_keep;
  logic               up_last;
  /* verilator lint_on UNUSEDSIGNAL */
  ks_axis_up #(.InBytes(Lanes / 2), .OutBytes(ACC_BUS_BYTES)) u_up (
    .clk_i, .rst_ni(core_rst_n),
    .s_axis_tdata(index), .s_axis_tkeep('1), .s_axis_tlast(index_last), .s_axis_tvalid(index_valid),
    .s_axis_tready(index_ready),
    .m_axis_tdata(up), .m_axis_tkeep(up_keep), .m_axis_tlast(up_last), .m_axis_tvalid(up_valid),
    .m_axis_tready(up_ready)
  );
  assign out_valid  = is_compress ? up_valid : is_aggregate ? down_valid : mean_valid;
  assign out        = is_compress ? up : is_aggregate ? down : mean;
  assign up_ready   = out_ready && is_compress;
  assign down_ready = out_ready && is_aggregate;
  assign mean_ready = out_ready && is_decompress;

  ks_axi_wr #(.DataBytes(ACC_BUS_BYTES), .BurstBeats(ACC_BURST_BEATS)) u_wr_a (
    .clk_i, .rst_ni(core_rst_n), .stop_i(stop),
    .cmd_valid_i(wr_a_valid), .cmd_ready_o(wr_a_ready), .cmd_addr_i(wr_a_addr),
    .cmd_bytes_i(wr_a_bytes),
    .s_axis_tdata(out), .s_axis_tvalid(out_valid), .s_axis_tready(out_ready),
    .m_axi_awaddr(m_axi_a_awaddr), .m_axi_awlen(m_axi_a_awlen), .m_axi_awsize(m_axi_a_awsize),
    .m_axi_awburst(m_axi_a_awburst), .m_axi_awvalid(m_axi_a_awvalid),
    .m_axi_awready(m_axi_a_awready), .m_axi_wdata(m_axi_a_wdata), .m_axi_wstrb(m_axi_a_wstrb),
    .m_axi_wlast(m_axi_a_wlast), .m_axi_wvalid(m_axi_a_wvalid), .m_axi_wready(m_axi_a_wready),
    .m_axi_bresp(m_axi_a_bresp), .m_axi_bvalid(m_axi_a_bvalid), .m_axi_bready(m_axi_a_bready),
    .idle_o(wr_a_idle), .done_o(wr_a_done), .err_o(wr_a_err), .err_addr_o(wr_a_err_addr),
    .beat_o(wr_a_beat)
  );
  ks_axi_wr #(.DataBytes(ACC_BUS_BYTES), .BurstBeats(ACC_BURST_BEATS)) u_wr_b (
    .clk_i, .rst_ni(core_rst_n), .stop_i(stop),
    .cmd_valid_i(wr_b_valid), .cmd_ready_o(wr_b_ready), .cmd_addr_i(wr_b_addr), .cmd_bytes_i(b_bytes),
    .s_axis_tdata(err), .s_axis_tvalid(err_valid), .s_axis_tready(err_ready),
    .m_axi_awaddr(m_axi_b_awaddr), .m_axi_awlen(m_axi_b_awlen), .m_axi_awsize(m_axi_b_awsize),
    .m_axi_awburst(m_axi_b_awburst), .m_axi_awvalid(m_axi_b_awvalid),
    .m_axi_awready(m_axi_b_awready), .m_axi_wdata(m_axi_b_wdata), .m_axi_wstrb(m_axi_b_wstrb),
    .m_axi_wlast(m_axi_b_wlast), .m_axi_wvalid(m_axi_b_wvalid), .m_axi_wready(m_axi_b_wready),
    .m_axi_bresp(m_axi_b_bresp), .m_axi_bvalid(m_axi_b_bvalid), .m_axi_bready(m_axi_b_bready),
    .idle_o(wr_b_idle), .done_o(wr_b_done), .err_o(wr_b_err), .err_addr_o(wr_b_err_addr),
    .beat_o(wr_b_beat)
  );

  // ---- What is counted ----
  logic in_ready;
  assign in_ready  = is_aggregate ? agg_ready : is_decompress ? decompress_ready : add_ready;
  assign in_beat   = is_aggregate ? a_valid && agg_ready : part_valid && part_ready;
  assign in_wait   = in_ready && !in_beat && !rd_a_idle;
  always_comb begin
    unique case (op)
      OP_COMPRESS: begin
        out_beat = index_valid && index_ready;
        out_wait = index_valid && !index_ready;
      end
      OP_AGGREGATE: begin
        out_beat = sums_valid && sums_ready;
        out_wait = sums_valid && !sums_ready;
      end
      OP_DECOMPRESS: begin
        out_beat = mean_valid && mean_ready;
        out_wait = mean_valid && !mean_ready;
      end
      default: begin
        out_beat = norm_valid;
        out_wait = 1'b0;
      end
    endcase
  end
  assign out_of_range = (is_compress && compress_range) || (is_decompress && decompress_range);

  // A command never starts with a beat left over from the one before.
  `KS_ASSERT(StartsEmpty, !clear || (!a_valid && !b_valid && !part_valid && !y_valid && !index_valid &&
             !sums_valid && !mean_valid && !err_valid && !out_valid))

endmodule

`default_nettype wire
