// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Register file of the engine: AXI4-Lite slave, 32-bit data.
//
// Writes: AW and W are taken into one register each, in any order; AWREADY and WREADY are high while
// that register is empty. In the first cycle x in which both are held and the B channel is free (no
// response, or BREADY) the write takes effect: registers have the new value and BVALID is high from
// x+1; start_o, soft_reset_o and exp_we_o are high in x+1 for one cycle. WSTRB selects bytes.
// Reads: ARREADY is high while no response waits; AR taken in cycle t, RVALID from t+1 with the
// value of cycle t.
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

  /* verilator lint_off UNUSED */  // bits 1:0 are ignored
  input  wire logic [HV_AXIL_ADDR_BITS-1:0] s_axil_awaddr,
  /* verilator lint_on UNUSED */
  input  wire logic        s_axil_awvalid,
  output logic             s_axil_awready,
  input  wire logic [31:0] s_axil_wdata,
  input  wire logic [3:0]  s_axil_wstrb,
  input  wire logic        s_axil_wvalid,
  output logic             s_axil_wready,
  output logic [1:0]       s_axil_bresp,
  output logic             s_axil_bvalid,
  input  wire logic        s_axil_bready,
  /* verilator lint_off UNUSED */  // bits 1:0 are ignored
  input  wire logic [HV_AXIL_ADDR_BITS-1:0] s_axil_araddr,
  /* verilator lint_on UNUSED */
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

  localparam logic [1:0] RespOkay = 2'b00;
  localparam logic [1:0] RespSlvErr = 2'b10;
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

  function automatic logic [31:0] strobed(input logic [31:0] old, input logic [31:0] data,
                                          input logic [3:0] strb);
    logic [31:0] r;
    for (int unsigned i = 0; i < 4; i++) r[8*i +: 8] = strb[i] ? data[8*i +: 8] : old[8*i +: 8];
    return r;
  endfunction

  // --- Write channel -------------------------------------------------------------------------------
  logic        aw_full_q, w_full_q, bvalid_q;
  logic [HV_AXIL_ADDR_BITS-1:2] awaddr_q;
  logic [31:0] wdata_q;
  logic [3:0]  wstrb_q;
  logic [1:0]  bresp_q;
  logic        perform, ok, busy, is_exp;
  logic [HV_AXIL_ADDR_BITS-1:0] waddr;
  logic        start_q, soft_reset_q, exp_we_q;
  logic [7:0]  exp_waddr_q;

  assign s_axil_awready = !aw_full_q;
  assign s_axil_wready  = !w_full_q;
  assign s_axil_bvalid  = bvalid_q;
  assign s_axil_bresp   = bresp_q;

  assign perform = aw_full_q && w_full_q && (!bvalid_q || s_axil_bready);
  assign waddr   = {awaddr_q, 2'b00};
  assign busy    = busy_i || start_q;      // a start of the cycle before is not in busy_i yet
  assign is_exp  = waddr >= HV_AXIL_ADDR_BITS'(HV_EXP_OFFSET) &&
                   waddr < HV_AXIL_ADDR_BITS'(HV_EXP_OFFSET + 4 * HV_EXP_ENTRIES);

  logic want_start, want_reset;
  assign want_start = wdata_q[CTRL_START_LSB] && wstrb_q[0];
  assign want_reset = wdata_q[CTRL_SOFT_RESET_LSB] && wstrb_q[0];

  always_comb begin
    unique case (waddr)
      REG_CTRL: ok = !(want_start && (busy || want_reset));
      REG_IRQ_ENABLE, REG_IRQ_STATUS, REG_WATCHDOG: ok = 1'b1;
      REG_DESC_BASE, REG_DESC_COUNT, REG_PKG_BASE, REG_IN_BASE, REG_OUT_BASE, REG_SCRATCH_BASE,
      REG_CONF_CTRL, REG_SOFTMAX_SHIFT: ok = !busy;
      default: ok = is_exp && wstrb_q == 4'hF && !busy;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      aw_full_q <= 1'b0;
      w_full_q  <= 1'b0;
      bvalid_q  <= 1'b0;
    end else begin
      if (perform) aw_full_q <= 1'b0;
      else if (s_axil_awvalid) aw_full_q <= 1'b1;
      if (perform) w_full_q <= 1'b0;
      else if (s_axil_wvalid) w_full_q <= 1'b1;
      if (perform) bvalid_q <= 1'b1;
      else if (s_axil_bready) bvalid_q <= 1'b0;
    end
    if (s_axil_awready) awaddr_q <= s_axil_awaddr[HV_AXIL_ADDR_BITS-1:2];
    if (s_axil_wready) begin
      wdata_q <= s_axil_wdata;
      wstrb_q <= s_axil_wstrb;
    end
    if (perform) bresp_q <= ok ? RespOkay : RespSlvErr;
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
          REG_IRQ_ENABLE:    irq_enable_q    <= 2'(strobed(32'(irq_enable_q), wdata_q, wstrb_q));
          REG_IRQ_STATUS:    irq_status_q    <= irq_status_q & ~(wdata_q[1:0] & {2{wstrb_q[0]}});
          REG_DESC_BASE:     desc_base_q     <= strobed(desc_base_q, wdata_q, wstrb_q);
          REG_DESC_COUNT:    desc_count_q    <= strobed(desc_count_q, wdata_q, wstrb_q);
          REG_PKG_BASE:      pkg_base_q      <= strobed(pkg_base_q, wdata_q, wstrb_q);
          REG_IN_BASE:       in_base_q       <= strobed(in_base_q, wdata_q, wstrb_q);
          REG_OUT_BASE:      out_base_q      <= strobed(out_base_q, wdata_q, wstrb_q);
          REG_SCRATCH_BASE:  scratch_base_q  <= strobed(scratch_base_q, wdata_q, wstrb_q);
          REG_WATCHDOG:      watchdog_q      <= strobed(watchdog_q, wdata_q, wstrb_q);
          REG_CONF_CTRL:     conf_ctrl_q     <= 18'(strobed(32'(conf_ctrl_q), wdata_q, wstrb_q));
          REG_SOFTMAX_SHIFT: softmax_shift_q <= strobed(softmax_shift_q, wdata_q, wstrb_q);
          default: ;
        endcase
      end
      // A new event is never lost to a clear of the same cycle.
      if (irq_done_i)  irq_status_q[IRQ_STATUS_DONE_LSB]  <= 1'b1;
      if (irq_error_i) irq_status_q[IRQ_STATUS_ERROR_LSB] <= 1'b1;
    end
    if (perform) exp_waddr_q <= waddr[9:2];
    if (perform) exp_wdata_o <= wdata_q;
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

  // --- Read channel --------------------------------------------------------------------------------
  logic        rvalid_q, read, known;
  logic [31:0] rdata_q, value;
  logic [1:0]  rresp_q;
  logic [HV_AXIL_ADDR_BITS-1:0] raddr;

  assign s_axil_arready = !rvalid_q;
  assign s_axil_rvalid  = rvalid_q;
  assign s_axil_rdata   = rdata_q;
  assign s_axil_rresp   = rresp_q;
  assign read  = s_axil_arvalid && !rvalid_q;
  assign raddr = {s_axil_araddr[HV_AXIL_ADDR_BITS-1:2], 2'b00};

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

  always_ff @(posedge clk_i) begin
    if (!rst_ni) rvalid_q <= 1'b0;
    else if (read) rvalid_q <= 1'b1;
    else if (s_axil_rready) rvalid_q <= 1'b0;
    if (read) begin
      rdata_q <= known ? value : '0;
      rresp_q <= known ? RespOkay : RespSlvErr;
    end
  end

  // A command is never given while a program runs or starts.
  `KS_ASSERT(NoStartWhileBusy, !(start_q && busy_i))
  `KS_ASSERT(OneCommand, !(start_q && soft_reset_q))

endmodule

`default_nettype wire
