// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Register file of the engine: AXI4-Lite slave, 32-bit data, behind ks_axil_regs, which has the rules of the
// bus.
//
// Writes: in the cycle x in which ks_axil_regs gives it the write takes effect: registers have the new value
// and BVALID is high from x+1; start_o, soft_reset_o and exp_we_o are high in x+1 for one cycle. WSTRB selects
// bytes. Whether it is refused for a running program is decided in x-1. Reads: AR taken in cycle t, RVALID from
// t+4 with the value of cycle t+2.
// SLVERR: an offset that is no register; a write to a read-only register; a start while a program
// runs, or together with soft_reset; a write to program registers, CONF_CTRL or the exp table while a program runs;
// a write to the exp table without all four bytes. A refused write changes nothing.
// Reads of CTRL and of the exp table give 0. The register file is reset by rst_ni alone, never by a
// soft reset. irq_o is high while a status bit and its enable are set.

`include "ks_assert.svh"
`default_nettype none

module hv_regs
  import hv_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

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

  // Commands and settings.
  output logic             start_o,
  output logic             soft_reset_o,
  output logic [31:0]      desc_base_o,
  output logic [31:0]      desc_count_o,
  output logic [31:0]      pkg_base_o,
  output logic [31:0]      in_base_o,
  output logic [31:0]      out_base_o,
  output logic [31:0]      scratch_base_o,
  output logic [31:0]      watchdog_o,
  output logic [16:0]      conf_threshold_o,
  output logic             conf_use_margin_o,
  output logic [31:0]      softmax_shift_o,
  output logic             exp_we_o,
  output logic [7:0]       exp_waddr_o,
  output logic [31:0]      exp_wdata_o,

  // State shown to the host.
  input  wire logic        busy_i,
  input  wire logic        done_i,
  input  wire logic        error_i,
  input  wire logic        resetting_i,
  input  wire error_cause_e error_cause_i,
  input  wire logic [23:0] error_info_i,
  input  wire logic [31:0] conf_class_i,       // whole register CONF_CLASS
  input  wire logic [31:0] conf_prob_i,        // whole register CONF_PROB
  input  wire logic [13:0][31:0] cnt_i,        // CNT_CYCLES .. CNT_DESC in order of offset
  input  wire logic        irq_done_i,         // pulses that set the status bits
  input  wire logic        irq_error_i,
  output logic             irq_o
);

  localparam int unsigned Counters = 14;
  localparam logic [HV_AXIL_ADDR_BITS-1:0] CntFirst = REG_CNT_CYCLES;
  localparam logic [HV_AXIL_ADDR_BITS-1:0] CntLast = REG_CNT_DESC;
  if (32'(CntLast) - 32'(CntFirst) != 4 * (Counters - 1)) begin : gen_bad_counters
    $error("hv_regs: the counters are not consecutive registers");
  end

  logic [31:0] desc_base_q, desc_count_q, pkg_base_q, in_base_q, out_base_q, scratch_base_q;
  logic [31:0] watchdog_q, softmax_shift_q;
  logic [17:0] conf_ctrl_q;
  logic [1:0]  irq_enable_q, irq_status_q;

  typedef logic [HV_AXIL_ADDR_BITS-1:0] addr_t;

  // --- Writes --------------------------------------------------------------------------------------
  logic        perform, ok, ok_q, busy, is_exp, pending, answer_q, chosen_q;
  addr_t       waddr, raddr;
  logic [31:0] wdata, value_q, count_value_q;
  logic [3:0]  wstrb;
  logic        known_q;
  logic        start_q, soft_reset_q, exp_we_q;
  logic [7:0]  exp_waddr_q;

  /* verilator lint_off PINCONNECTEMPTY */   // registers answer when the address is held
  ks_axil_regs #(.AddrBits(HV_AXIL_ADDR_BITS)) u_axil (
    .clk_i, .rst_ni,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready,
    .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid, .s_axil_wready,
    .s_axil_bresp, .s_axil_bvalid, .s_axil_bready,
    .s_axil_araddr, .s_axil_arvalid, .s_axil_arready,
    .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .wr_en_o(perform), .wr_addr_o(waddr), .wr_data_o(wdata), .wr_strb_o(wstrb), .wr_ok_i(ok_q),
    .rd_en_o(), .rd_addr_o(), .rd_pending_o(pending), .rd_addr_q_o(raddr),
    .rd_valid_i(answer_q), .rd_ok_i(known_q), .rd_data_i(chosen_q ? count_value_q : value_q)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  function automatic logic [31:0] strobed(input logic [31:0] old);
    for (int unsigned i = 0; i < 4; i++) strobed[8*i +: 8] = wstrb[i] ? wdata[8*i +: 8] : old[8*i +: 8];
  endfunction

  assign busy    = busy_i || start_q;      // a start of the cycle before is not in busy_i yet
  assign is_exp  = waddr >= HV_AXIL_ADDR_BITS'(HV_EXP_OFFSET) &&
                   waddr < HV_AXIL_ADDR_BITS'(HV_EXP_OFFSET + 4 * HV_EXP_ENTRIES);

  logic want_start, want_reset;
  assign want_start = wdata[CTRL_START_LSB] && wstrb[0];
  assign want_reset = wdata[CTRL_SOFT_RESET_LSB] && wstrb[0];

  always_comb begin
    unique case (waddr)
      REG_CTRL: ok = !(want_start && (busy || want_reset));
      REG_IRQ_ENABLE, REG_IRQ_STATUS, REG_WATCHDOG: ok = 1'b1;
      REG_DESC_BASE, REG_DESC_COUNT, REG_PKG_BASE, REG_IN_BASE, REG_OUT_BASE, REG_SCRATCH_BASE,
      REG_CONF_CTRL, REG_SOFTMAX_SHIFT: ok = !busy;
      default: ok = is_exp && wstrb == '1 && !busy;
    endcase
  end

  // The address and whether the write is good, decoded in the cycle before it takes effect.
  typedef struct packed {
    logic start;
    logic soft_reset;
    logic exp;
    logic irq_enable;
    logic irq_status;
    logic desc_base;
    logic desc_count;
    logic pkg_base;
    logic in_base;
    logic out_base;
    logic scratch_base;
    logic watchdog;
    logic conf_ctrl;
    logic softmax_shift;
  } target_t;
  target_t to_q;

  always_ff @(posedge clk_i) begin
    ok_q <= ok;
    to_q <= '{
      start:         ok && waddr == REG_CTRL && want_start,
      soft_reset:    ok && waddr == REG_CTRL && want_reset,
      exp:           ok && is_exp,
      irq_enable:    ok && waddr == REG_IRQ_ENABLE,
      irq_status:    ok && waddr == REG_IRQ_STATUS,
      desc_base:     ok && waddr == REG_DESC_BASE,
      desc_count:    ok && waddr == REG_DESC_COUNT,
      pkg_base:      ok && waddr == REG_PKG_BASE,
      in_base:       ok && waddr == REG_IN_BASE,
      out_base:      ok && waddr == REG_OUT_BASE,
      scratch_base:  ok && waddr == REG_SCRATCH_BASE,
      watchdog:      ok && waddr == REG_WATCHDOG,
      conf_ctrl:     ok && waddr == REG_CONF_CTRL,
      softmax_shift: ok && waddr == REG_SOFTMAX_SHIFT
    };
  end

  // --- Registers -----------------------------------------------------------------------------------
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      desc_base_q     <= '0;
      desc_count_q    <= '0;
      pkg_base_q      <= '0;
      in_base_q       <= '0;
      out_base_q      <= '0;
      scratch_base_q  <= '0;
      watchdog_q      <= RESET_WATCHDOG;
      conf_ctrl_q     <= '0;
      softmax_shift_q <= '0;
      irq_enable_q    <= '0;
      irq_status_q    <= '0;
      start_q         <= 1'b0;
      soft_reset_q    <= 1'b0;
      exp_we_q        <= 1'b0;
    end else begin
      start_q      <= perform && to_q.start;
      soft_reset_q <= perform && to_q.soft_reset;
      exp_we_q     <= perform && to_q.exp;
      if (perform) begin
        if (to_q.irq_enable)    irq_enable_q    <= 2'(strobed(32'(irq_enable_q)));
        if (to_q.irq_status)    irq_status_q    <= irq_status_q & ~(wdata[1:0] & {2{wstrb[0]}});
        if (to_q.desc_base)     desc_base_q     <= strobed(desc_base_q);
        if (to_q.desc_count)    desc_count_q    <= strobed(desc_count_q);
        if (to_q.pkg_base)      pkg_base_q      <= strobed(pkg_base_q);
        if (to_q.in_base)       in_base_q       <= strobed(in_base_q);
        if (to_q.out_base)      out_base_q      <= strobed(out_base_q);
        if (to_q.scratch_base)  scratch_base_q  <= strobed(scratch_base_q);
        if (to_q.watchdog)      watchdog_q      <= strobed(watchdog_q);
        if (to_q.conf_ctrl)     conf_ctrl_q     <= 18'(strobed(32'(conf_ctrl_q)));
        if (to_q.softmax_shift) softmax_shift_q <= strobed(softmax_shift_q);
      end
      // A new event is never lost to a clear of the same cycle.
      if (irq_done_i)  irq_status_q[IRQ_STATUS_DONE_LSB]  <= 1'b1;
      if (irq_error_i) irq_status_q[IRQ_STATUS_ERROR_LSB] <= 1'b1;
    end
    if (perform) exp_waddr_q <= waddr[9:2];
    if (perform) exp_wdata_o <= wdata;
  end

  assign start_o           = start_q;
  assign soft_reset_o      = soft_reset_q;
  assign desc_base_o       = desc_base_q;
  assign desc_count_o      = desc_count_q;
  assign pkg_base_o        = pkg_base_q;
  assign in_base_o         = in_base_q;
  assign out_base_o        = out_base_q;
  assign scratch_base_o    = scratch_base_q;
  assign watchdog_o        = watchdog_q;
  assign conf_threshold_o  = conf_ctrl_q[CONF_CTRL_THRESHOLD_LSB +: CONF_CTRL_THRESHOLD_W];
  assign conf_use_margin_o = conf_ctrl_q[CONF_CTRL_USE_MARGIN_LSB];
  assign softmax_shift_o   = softmax_shift_q;
  assign exp_we_o          = exp_we_q;
  assign exp_waddr_o       = exp_waddr_q;
  assign irq_o             = |(irq_status_q & irq_enable_q);

  // --- Reads ---------------------------------------------------------------------------------------
  // In the first cycle of an open read its address is decoded, in the second the value is chosen, counters beside the
  // other registers, in the third it is the answer.
  localparam int unsigned Readable = 21;
  localparam logic [3:0]  LastCount = 4'(Counters - 1);
  localparam addr_t ReadAddr [Readable] = '{
    REG_ID, REG_VERSION, REG_CONFIG, REG_ACT_ROWS, REG_RING_WORDS, REG_STATUS, REG_ERROR, REG_IRQ_ENABLE,
    REG_IRQ_STATUS, REG_DESC_BASE, REG_DESC_COUNT, REG_PKG_BASE, REG_IN_BASE, REG_OUT_BASE, REG_SCRATCH_BASE,
    REG_WATCHDOG, REG_CONF_CTRL, REG_CONF_CLASS, REG_CONF_PROB, REG_SOFTMAX_SHIFT,
    REG_CTRL                                   // reads as 0
  };
  logic [Readable-1:0] read_q;                 // which of them
  logic [Readable-1:0][31:0] shown;
  logic       is_count_q, as_zero_q;
  logic [3:0] count_offset, count_q;           // some counter when it is none of them
  logic [31:0] value;
  logic       choose_q;

  assign count_offset = raddr[5:2] - CntFirst[5:2];

  always_comb begin
    shown = '0;
    shown[0] = RESET_ID;
    shown[1] = RESET_VERSION;
    shown[2] = RESET_CONFIG;
    shown[3] = RESET_ACT_ROWS;
    shown[4] = RESET_RING_WORDS;
    shown[5][STATUS_BUSY_LSB]      = busy;
    shown[5][STATUS_DONE_LSB]      = done_i;
    shown[5][STATUS_ERROR_LSB]     = error_i;
    shown[5][STATUS_RESETTING_LSB] = resetting_i;
    shown[6][ERROR_CAUSE_LSB +: ERROR_CAUSE_W] = error_cause_i;
    shown[6][ERROR_INFO_LSB +: ERROR_INFO_W]   = error_info_i;
    shown[7] = 32'(irq_enable_q);
    shown[8] = 32'(irq_status_q);
    shown[9] = desc_base_q;
    shown[10] = desc_count_q;
    shown[11] = pkg_base_q;
    shown[12] = in_base_q;
    shown[13] = out_base_q;
    shown[14] = scratch_base_q;
    shown[15] = watchdog_q;
    shown[16] = 32'(conf_ctrl_q);
    shown[17] = conf_class_i;
    shown[18] = conf_prob_i;
    shown[19] = softmax_shift_q;
    value = '0;
    for (int unsigned i = 0; i < Readable; i++) value |= shown[i] & {32{read_q[i]}};
  end

  always_ff @(posedge clk_i) begin
    choose_q <= rst_ni && pending && !choose_q && !answer_q;
    answer_q <= rst_ni && choose_q;
    for (int unsigned i = 0; i < Readable; i++) read_q[i] <= raddr == ReadAddr[i];
    is_count_q <= raddr >= CntFirst && raddr <= CntLast;
    as_zero_q  <= raddr >= HV_AXIL_ADDR_BITS'(HV_EXP_OFFSET) &&
                  raddr < HV_AXIL_ADDR_BITS'(HV_EXP_OFFSET + 4 * HV_EXP_ENTRIES);
    count_q    <= count_offset > LastCount ? LastCount : count_offset;
    value_q       <= value;
    count_value_q <= cnt_i[count_q];
    known_q       <= is_count_q || as_zero_q || read_q != '0;
    chosen_q      <= is_count_q;
  end

  // A command is never given while a program runs or starts.
  `KS_ASSERT(NoStartWhileBusy, !(start_q && busy_i))
  `KS_ASSERT(OneCommand, !(start_q && soft_reset_q))

endmodule

`default_nettype wire
