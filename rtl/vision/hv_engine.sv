// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// The vision engine: one configuration (hv_pkg) of the overlay that runs any compiled int8 network.
//
// Control: AXI4-Lite registers (docs/vision_contract.md). Data: one AXI4 master, 32-bit addresses, one ID,
// INCR bursts of up to 16 beats inside 128 aligned bytes. irq_o is a level. A program runs from
// the doorbell until END; descriptors go from hv_front to the queues of hv_compute, hv_load and
// hv_out, which work side by side, ordered by completion counts only.
// Reset: rst_ni, synchronous, clears everything; soft reset and errors clear everything but
// the registers once the bus is quiet, and so does the start of a program.

`default_nettype none

module hv_engine
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  output logic             irq_o,

  input  wire logic [HV_AXIL_ADDR_BITS-1:0] s_axil_awaddr,
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
  input  wire logic [HV_BUS_BYTES*8-1:0] m_axi_rdata,
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
  output logic [HV_BUS_BYTES*8-1:0] m_axi_wdata,
  output logic [HV_BUS_BYTES-1:0]   m_axi_wstrb,
  output logic             m_axi_wlast,
  output logic             m_axi_wvalid,
  input  wire logic        m_axi_wready,
  input  wire logic [1:0]  m_axi_bresp,
  input  wire logic        m_axi_bvalid,
  output logic             m_axi_bready
);

  // --- Registers and run control -----------------------------------------------------------------
  logic        reg_start, soft_reset, busy, done, error, resetting, irq_done, irq_error;
  logic [31:0] desc_base, desc_count, pkg_base, in_base, out_base, scratch_base, watchdog;
  logic [16:0] threshold;
  logic        use_margin;
  logic [31:0] softmax_shift;
  logic        exp_we;
  logic [7:0]  exp_waddr;
  logic [31:0] exp_wdata;
  error_cause_e error_cause;
  logic [23:0] error_info;
  logic [13:0][31:0] cnt;
  logic [9:0]  top1, top2;
  logic [15:0] p1, margin;
  logic        confident, conf_valid;

  hv_regs u_regs (
    .clk_i, .rst_ni,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready, .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid,
    .s_axil_wready, .s_axil_bresp, .s_axil_bvalid, .s_axil_bready, .s_axil_araddr, .s_axil_arvalid,
    .s_axil_arready, .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .start_o(reg_start), .soft_reset_o(soft_reset),
    .desc_base_o(desc_base), .desc_count_o(desc_count), .pkg_base_o(pkg_base), .in_base_o(in_base),
    .out_base_o(out_base), .scratch_base_o(scratch_base), .watchdog_o(watchdog),
    .conf_threshold_o(threshold), .conf_use_margin_o(use_margin), .softmax_shift_o(softmax_shift),
    .exp_we_o(exp_we), .exp_waddr_o(exp_waddr), .exp_wdata_o(exp_wdata),
    .busy_i(busy), .done_i(done), .error_i(error), .resetting_i(resetting),
    .error_cause_i(error_cause), .error_info_i(error_info),
    .conf_class_i({10'd0, conf_valid, confident, top2, top1}), .conf_prob_i({margin, p1}),
    .cnt_i(cnt), .irq_done_i(irq_done), .irq_error_i(irq_error), .irq_o
  );

  logic        clear, start, stop, core_rst_n, rd_idle, wr_idle, prog_done, progress;
  logic        rd_err, wr_err, front_err;
  logic [31:0] rd_err_addr, wr_err_addr;
  error_cause_e front_err_cause;
  logic [15:0] front_err_info;
  logic [2:0]  range_err;

  hv_ctrl u_ctrl (
    .clk_i, .rst_ni,
    .start_i(reg_start), .soft_reset_i(soft_reset), .desc_base_i(desc_base), .desc_count_i(desc_count),
    .pkg_base_i(pkg_base), .in_base_i(in_base), .out_base_i(out_base), .scratch_base_i(scratch_base),
    .softmax_shift_i(softmax_shift), .watchdog_i(watchdog),
    .busy_o(busy), .done_o(done), .error_o(error), .resetting_o(resetting),
    .error_cause_o(error_cause), .error_info_o(error_info), .irq_done_o(irq_done), .irq_error_o(irq_error),
    .clear_o(clear), .start_o(start), .stop_o(stop), .core_rst_no(core_rst_n), .rd_idle_i(rd_idle), .wr_idle_i(wr_idle),
    .done_i(prog_done), .progress_i(progress), .rd_err_i(rd_err), .rd_err_addr_i(rd_err_addr),
    .wr_err_i(wr_err), .wr_err_addr_i(wr_err_addr), .front_err_i(front_err),
    .front_err_cause_i(front_err_cause), .front_err_info_i(front_err_info), .range_err_i(range_err)
  );

  // --- AXI read side --------------------------------------------------------------------------------
  logic        d_req_valid, d_req_ready, d_rsp_valid, l_req_valid, l_req_ready, l_rsp_valid;
  logic        w_req_valid, w_req_ready, w_rsp_valid, rd_beat, rd_w_beat;
  logic [31:0] d_req_addr, l_req_addr, w_req_addr;
  logic [3:0]  d_req_beats_m1, l_req_beats_m1, w_req_beats_m1;
  logic [HV_BUS_BYTES*8-1:0] rsp_data;
  /* verilator lint_off UNUSEDSIGNAL */       // every unit counts its own beats
  logic        rsp_last;
  /* verilator lint_on UNUSEDSIGNAL */

  hv_rd u_rd (
    .clk_i, .rst_ni(core_rst_n), .stop_i(stop),
    .d_req_valid_i(d_req_valid), .d_req_addr_i(d_req_addr), .d_req_beats_m1_i(d_req_beats_m1),
    .d_req_ready_o(d_req_ready),
    .l_req_valid_i(l_req_valid), .l_req_addr_i(l_req_addr), .l_req_beats_m1_i(l_req_beats_m1),
    .l_req_ready_o(l_req_ready),
    .w_req_valid_i(w_req_valid), .w_req_addr_i(w_req_addr), .w_req_beats_m1_i(w_req_beats_m1),
    .w_req_ready_o(w_req_ready),
    .rsp_data_o(rsp_data), .rsp_last_o(rsp_last), .d_rsp_valid_o(d_rsp_valid),
    .l_rsp_valid_o(l_rsp_valid), .w_rsp_valid_o(w_rsp_valid),
    .m_axi_araddr, .m_axi_arlen, .m_axi_arsize, .m_axi_arburst, .m_axi_arvalid, .m_axi_arready,
    .m_axi_rdata, .m_axi_rresp, .m_axi_rlast, .m_axi_rvalid, .m_axi_rready,
    .idle_o(rd_idle), .err_o(rd_err), .err_addr_o(rd_err_addr), .beat_o(rd_beat), .w_beat_o(rd_w_beat)
  );

  // --- Front end --------------------------------------------------------------------------------------
  logic [63:0] q_wdata;
  logic [3:0]  q_widx;
  logic        q_we_compute, q_we_load, q_we_out, compute_room, load_room, out_room;
  logic        seg_push, seg_room, compute_done, load_done, out_done, units_idle, desc_pulse, at_end;
  logic [31:0] seg_addr;
  logic [19:0] seg_words;
  logic [15:0] n_compute, n_load, n_out;

  hv_front u_front (
    .clk_i, .rst_ni(core_rst_n), .stop_i(stop), .start_i(start),
    .desc_base_i(desc_base), .desc_count_i(desc_count[15:0]), .pkg_base_i(pkg_base),
    .d_req_valid_o(d_req_valid), .d_req_addr_o(d_req_addr), .d_req_beats_m1_o(d_req_beats_m1),
    .d_req_ready_i(d_req_ready), .d_rsp_valid_i(d_rsp_valid), .d_rsp_data_i(rsp_data),
    .q_wdata_o(q_wdata), .q_widx_o(q_widx), .q_we_compute_o(q_we_compute), .q_we_load_o(q_we_load),
    .q_we_out_o(q_we_out), .compute_room_i(compute_room), .load_room_i(load_room), .out_room_i(out_room),
    .seg_push_o(seg_push), .seg_addr_o(seg_addr), .seg_words_o(seg_words), .seg_room_i(seg_room),
    .compute_done_i(compute_done), .load_done_i(load_done), .out_done_i(out_done),
    .n_compute_o(n_compute), .n_load_o(n_load), .n_out_o(n_out), .units_idle_i(units_idle),
    .desc_o(desc_pulse), .end_o(at_end), .done_o(prog_done),
    .err_o(front_err), .err_cause_o(front_err_cause), .err_info_o(front_err_info)
  );

  // --- Load unit --------------------------------------------------------------------------------------
  logic        ld_wr_valid, ld_wr_ready, load_idle;
  logic [7:0]  ld_wr_mask;
  logic [19:0] ld_wr_p;
  logic [9:0]  ld_wr_g;
  /* verilator lint_off UNUSEDSIGNAL */       // hv_load offers rows of the memory only
  logic [15:0] ld_wr_row;
  /* verilator lint_on UNUSEDSIGNAL */
  logic [7:0][63:0] ld_wr_data;

  hv_load u_load (
    .clk_i, .rst_ni(core_rst_n),
    .pkg_base_i(pkg_base), .in_base_i(in_base), .out_base_i(out_base), .scratch_base_i(scratch_base),
    .q_we_i(q_we_load), .q_widx_i(q_widx), .q_wdata_i(q_wdata), .q_room_o(load_room),
    .n_compute_i(n_compute), .n_out_i(n_out),
    .l_req_valid_o(l_req_valid), .l_req_addr_o(l_req_addr), .l_req_beats_m1_o(l_req_beats_m1),
    .l_req_ready_i(l_req_ready), .l_rsp_valid_i(l_rsp_valid), .l_rsp_data_i(rsp_data),
    .wr_valid_o(ld_wr_valid), .wr_mask_o(ld_wr_mask), .wr_p_o(ld_wr_p), .wr_g_o(ld_wr_g),
    .wr_row_o(ld_wr_row), .wr_data_o(ld_wr_data), .wr_ready_i(ld_wr_ready),
    .done_o(load_done), .range_err_o(range_err[1]), .idle_o(load_idle)
  );

  // --- Compute unit -----------------------------------------------------------------------------------
  logic        row_valid, row_ready, compute_idle;
  row_t        row;
  word_t [Nb-1:0] row_data;
  logic        c_mac, c_res, c_weight, c_drain, c_fetch, c_load, c_dep, c_none;

  hv_compute u_compute (
    .clk_i, .rst_ni(core_rst_n),                    // comes with every start
    .q_we_i(q_we_compute), .q_widx_i(q_widx), .q_wdata_i(q_wdata), .q_room_o(compute_room),
    .seg_push_i(seg_push), .seg_addr_i(seg_addr), .seg_words_i(seg_words), .seg_room_o(seg_room),
    .w_req_valid_o(w_req_valid), .w_req_addr_o(w_req_addr), .w_req_beats_m1_o(w_req_beats_m1),
    .w_req_ready_i(w_req_ready), .w_rsp_valid_i(w_rsp_valid), .w_rsp_data_i(rsp_data),
    .load_valid_i(ld_wr_valid), .load_mask_i(ld_wr_mask), .load_p_i(ld_wr_p), .load_g_i(ld_wr_g),
    .load_row_i(ld_wr_row[RowW-1:0]), .load_data_i(ld_wr_data), .load_ready_o(ld_wr_ready),
    .row_valid_i(row_valid), .row_i(row), .row_ready_o(row_ready), .row_data_o(row_data),
    .n_load_i(n_load), .n_out_i(n_out), .layer_done_o(compute_done), .idle_o(compute_idle),
    .range_err_o(range_err[0]),
    .cls_mac_o(c_mac), .cls_res_o(c_res), .cls_weight_o(c_weight), .cls_drain_o(c_drain),
    .cls_fetch_o(c_fetch), .cls_load_o(c_load), .cls_dep_o(c_dep), .cls_none_o(c_none)
  );

  // --- Output unit ------------------------------------------------------------------------------------
  logic out_idle, wr_beat;

  hv_out u_out (
    .clk_i, .rst_ni(core_rst_n), .stop_i(stop),
    .q_we_i(q_we_out), .q_widx_i(q_widx), .q_wdata_i(q_wdata), .q_room_o(out_room),
    .pkg_base_i(pkg_base), .in_base_i(in_base), .out_base_i(out_base), .scratch_base_i(scratch_base),
    .n_compute_i(n_compute), .n_load_i(n_load), .done_o(out_done), .idle_o(out_idle),
    .range_err_o(range_err[2]),
    .row_valid_o(row_valid), .row_o(row), .row_ready_i(row_ready), .row_data_i(row_data),
    .exp_we_i(exp_we), .exp_waddr_i(exp_waddr), .exp_wdata_i(exp_wdata),
    .threshold_i(threshold), .use_margin_i(use_margin), .top1_o(top1), .top2_o(top2), .p1_o(p1),
    .margin_o(margin), .confident_o(confident), .conf_valid_o(conf_valid),
    .m_axi_awaddr, .m_axi_awlen, .m_axi_awvalid, .m_axi_awready, .m_axi_wdata, .m_axi_wstrb,
    .m_axi_wlast, .m_axi_wvalid, .m_axi_wready, .m_axi_bresp, .m_axi_bvalid, .m_axi_bready,
    .wr_idle_o(wr_idle), .wr_beat_o(wr_beat), .wr_err_o(wr_err), .wr_err_addr_o(wr_err_addr)
  );
  assign m_axi_awsize  = 3'($clog2(HV_BUS_BYTES));
  assign m_axi_awburst = 2'b01;

  assign units_idle = compute_idle && load_idle && out_idle;
  assign progress   = c_mac || c_res || rd_beat || wr_beat || (ld_wr_valid && ld_wr_ready) || desc_pulse;

  // --- Counters: where every cycle went -------------------------------------------------------------
  logic out_tail;
  // In the first cycle of a program the units are still as the one before left them.
  assign out_tail = c_none && at_end && compute_idle && core_rst_n;

  hv_perf u_perf (
    .clk_i, .rst_ni, .clear_i(clear), .busy_i(busy),
    .inc_i({desc_pulse, wr_beat, rd_w_beat, rd_beat, out_tail, c_none && !out_tail, c_dep, c_load,
            c_fetch, c_drain, c_weight, c_res, c_mac}),
    .cnt_o(cnt)
  );

endmodule

`default_nettype wire
