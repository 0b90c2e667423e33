// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Register file of the engine: AXI4-Lite slave, 32-bit data, behind ks_axil_regs, which has the rules of the
// bus.
//
// Writes: in the cycle x in which ks_axil_regs gives it the write takes effect: registers have the new value
// and BVALID is high from x+1; start_o, soft_reset_o and exp_we_o are high in x+1 for one cycle. WSTRB selects
// bytes. Reads: AR taken in cycle t, RVALID from t+1 with the value of cycle t.
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
  logic        perform, ok, busy, is_exp;
  addr_t       waddr, raddr;
  logic [31:0] wdata, value;
  logic [3:0]  wstrb;
  logic        known;
  logic        start_q, soft_reset_q, exp_we_q;
  logic [7:0]  exp_waddr_q;

  /* verilator lint_off PINCONNECTEMPTY */   // registers answer in the cycle of the address
  ks_axil_regs #(.AddrBits(HV_AXIL_ADDR_BITS)) u_axil (
    .clk_i, .rst_ni,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready,
    .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid, .s_axil_wready,
    .s_axil_bresp, .s_axil_bvalid, .s_axil_bready,
    .s_axil_araddr, .s_axil_arvalid, .s_axil_arready,
    .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .wr_en_o(perform), .wr_addr_o(waddr), .wr_data_o(wdata), .wr_strb_o(wstrb), .wr_ok_i(ok),
    .rd_en_o(), .rd_addr_o(raddr), .rd_pending_o(), .rd_addr_q_o(),
    .rd_valid_i(1'b1), .rd_ok_i(known), .rd_data_i(value)
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
      start_q      <= perform && ok && waddr == REG_CTRL && want_start;
      soft_reset_q <= perform && ok && waddr == REG_CTRL && want_reset;
      exp_we_q     <= perform && ok && is_exp;
      if (perform && ok) begin
        case (waddr)
          REG_IRQ_ENABLE:    irq_enable_q    <= 2'(strobed(32'(irq_enable_q)));
          REG_IRQ_STATUS:    irq_status_q    <= irq_status_q & ~(wdata[1:0] & {2{wstrb[0]}});
          REG_DESC_BASE:     desc_base_q     <= strobed(desc_base_q);
          REG_DESC_COUNT:    desc_count_q    <= strobed(desc_count_q);
          REG_PKG_BASE:      pkg_base_q      <= strobed(pkg_base_q);
          REG_IN_BASE:       in_base_q       <= strobed(in_base_q);
          REG_OUT_BASE:      out_base_q      <= strobed(out_base_q);
          REG_SCRATCH_BASE:  scratch_base_q  <= strobed(scratch_base_q);
          REG_WATCHDOG:      watchdog_q      <= strobed(watchdog_q);
          REG_CONF_CTRL:     conf_ctrl_q     <= 18'(strobed(32'(conf_ctrl_q)));
          REG_SOFTMAX_SHIFT: softmax_shift_q <= strobed(softmax_shift_q);
          default: ;
        endcase
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
  always_comb begin
    value = '0;
    known = 1'b1;
    unique case (raddr)
      REG_ID:            value = RESET_ID;
      REG_VERSION:       value = RESET_VERSION;
      REG_CONFIG:        value = RESET_CONFIG;
      REG_ACT_ROWS:      value = RESET_ACT_ROWS;
      REG_RING_WORDS:    value = RESET_RING_WORDS;
      REG_CTRL:          value = '0;
      REG_STATUS: begin
        value[STATUS_BUSY_LSB]      = busy;
        value[STATUS_DONE_LSB]      = done_i;
        value[STATUS_ERROR_LSB]     = error_i;
        value[STATUS_RESETTING_LSB] = resetting_i;
      end
      REG_ERROR: begin
        value[ERROR_CAUSE_LSB +: ERROR_CAUSE_W] = error_cause_i;
        value[ERROR_INFO_LSB +: ERROR_INFO_W]   = error_info_i;
      end
      REG_IRQ_ENABLE:    value = 32'(irq_enable_q);
      REG_IRQ_STATUS:    value = 32'(irq_status_q);
      REG_DESC_BASE:     value = desc_base_q;
      REG_DESC_COUNT:    value = desc_count_q;
      REG_PKG_BASE:      value = pkg_base_q;
      REG_IN_BASE:       value = in_base_q;
      REG_OUT_BASE:      value = out_base_q;
      REG_SCRATCH_BASE:  value = scratch_base_q;
      REG_WATCHDOG:      value = watchdog_q;
      REG_CONF_CTRL:     value = 32'(conf_ctrl_q);
      REG_CONF_CLASS:    value = conf_class_i;
      REG_CONF_PROB:     value = conf_prob_i;
      REG_SOFTMAX_SHIFT: value = softmax_shift_q;
      default: begin
        known = raddr >= HV_AXIL_ADDR_BITS'(HV_EXP_OFFSET) &&
                raddr < HV_AXIL_ADDR_BITS'(HV_EXP_OFFSET + 4 * HV_EXP_ENTRIES);
        if (raddr >= CntFirst && raddr <= CntLast) begin
          known = 1'b1;
          value = cnt_i[4'((raddr - CntFirst) >> 2)];
        end
      end
    endcase
  end

  // A command is never given while a program runs or starts.
  `KS_ASSERT(NoStartWhileBusy, !(start_q && busy_i))
  `KS_ASSERT(OneCommand, !(start_q && soft_reset_q))

endmodule

`default_nettype wire
