// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Run control: doorbell, error handling, soft reset, watchdog.
//
//   Idle   start_i in cycle s: a program that cannot start (see below) ends at once, STATUS.error and
//          irq_error_o in s+1 resp. s; otherwise Run from s+1, core_rst_no is low and clear_o high in s+1, and
//          start_o is high in s+2. The registers of the program have had their values since s-1.
//   Run    busy. done_i in cycle e: Idle with STATUS.done from e+2, irq_done_o in e+1. So CNT_CYCLES,
//          which counts cycles with busy_o, is e + 1 - s. The first error in cycle e: Stop from e+2; a soft
//          reset in cycle e: Stop from e+1. An error wins over done_i of the same cycle.
//   Stop   busy, stop_o. Nothing new is issued; in the first cycle in which rd_idle_i and wr_idle_i
//          are high: Reset from the next cycle.
//   Reset  busy, one cycle: core_rst_no is low. Then Idle with STATUS.error and irq_error_o in the
//          cycle of Reset when an error was the reason, nothing set after a soft reset.
//
// core_rst_no is rst_ni and a flip-flop.
// A soft reset from Idle takes the way Stop, Reset too; one that comes in Stop or Reset is absorbed.
// After an error the cause of the first error stays in ERROR until the next start. Errors of one
// cycle rank READ_RESP, WRITE_RESP, front end, ACT_RANGE, WATCHDOG. Info: descriptor index (front end),
// bits 31:8 of the burst address (bus), unit 0 compute, 1 load, 2 out (ACT_RANGE), 0 (WATCHDOG),
// offset of the register at fault (BAD_START: DESC_COUNT not in 1..65535, a base that is no multiple
// of 128, SOFTMAX_SHIFT not 0).
// Watchdog: error after watchdog_i cycles of Run in a row without progress_i, two cycles later than other
// errors of the last of them; 0 never.

`include "ks_assert.svh"
`default_nettype none

module hv_ctrl
  import hv_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  // From and to the register file.
  input  wire logic        start_i,
  input  wire logic        soft_reset_i,
  input  wire logic [31:0] desc_count_i,
  /* verilator lint_off UNUSED */  // only the alignment is looked at
  input  wire logic [31:0] desc_base_i,
  input  wire logic [31:0] pkg_base_i,
  input  wire logic [31:0] in_base_i,
  input  wire logic [31:0] out_base_i,
  input  wire logic [31:0] scratch_base_i,
  /* verilator lint_on UNUSED */
  input  wire logic [31:0] softmax_shift_i,
  input  wire logic [31:0] watchdog_i,
  output logic             busy_o,
  output logic             done_o,
  output logic             error_o,
  output logic             resetting_o,
  output error_cause_e     error_cause_o,
  output logic [23:0]      error_info_o,
  output logic             irq_done_o,
  output logic             irq_error_o,

  // From and to the core.
  output logic             clear_o,            // a program was accepted (pulse): counters to zero
  output logic             start_o,            // a program starts (pulse), the cycle after
  output logic             stop_o,             // issue nothing new on the bus
  output logic             core_rst_no,        // reset of everything but hv_regs, hv_ctrl, hv_perf, at a start too
  input  wire logic        rd_idle_i,
  input  wire logic        wr_idle_i,
  input  wire logic        done_i,             // the program ended (pulse)
  input  wire logic        progress_i,
  input  wire logic        rd_err_i,
  input  wire logic        wr_err_i,
  /* verilator lint_off UNUSED */  // ERROR.info has room for bits 31:8
  input  wire logic [31:0] rd_err_addr_i,
  input  wire logic [31:0] wr_err_addr_i,
  /* verilator lint_on UNUSED */
  input  wire logic        front_err_i,
  input  wire error_cause_e front_err_cause_i,
  input  wire logic [15:0] front_err_info_i,
  input  wire logic [2:0]  range_err_i         // [0] compute, [1] load, [2] out
);

  typedef enum logic [1:0] {Idle, Run, Stop, Reset} state_e;
  state_e       state_q;
  logic         done_q, error_q, soft_q;       // soft_q: Stop was asked for by a soft reset
  error_cause_e cause_q;
  logic [23:0]  info_q;
  logic         clear_q, start_q, core_rst_nq, accept;

  // --- Can the program start? ----------------------------------------------------------------------
  localparam int unsigned AlignBits = $clog2(HV_ALIGN_BYTES);
  logic         bad_start, bad_start_q;
  logic [23:0]  bad_start_info, bad_start_info_q;

  always_ff @(posedge clk_i) begin
    bad_start_q      <= bad_start;
    bad_start_info_q <= bad_start_info;
  end

  always_comb begin
    bad_start = 1'b1;
    if (desc_count_i == 0 || desc_count_i > 32'd65535) bad_start_info = 24'(REG_DESC_COUNT);
    else if (desc_base_i[AlignBits-1:0] != 0) bad_start_info = 24'(REG_DESC_BASE);
    else if (pkg_base_i[AlignBits-1:0] != 0) bad_start_info = 24'(REG_PKG_BASE);
    else if (in_base_i[AlignBits-1:0] != 0) bad_start_info = 24'(REG_IN_BASE);
    else if (out_base_i[AlignBits-1:0] != 0) bad_start_info = 24'(REG_OUT_BASE);
    else if (scratch_base_i[AlignBits-1:0] != 0) bad_start_info = 24'(REG_SCRATCH_BASE);
    else if (softmax_shift_i != 0)       bad_start_info = 24'(REG_SOFTMAX_SHIFT);
    else begin
      bad_start = 1'b0;
      bad_start_info = '0;
    end
  end

  // --- Watchdog ------------------------------------------------------------------------------------
  // progress_q: of the cycle before. wd_q counts the cycles without it before that one.
  logic [31:0]  wd_q, wd_limit_q;
  logic         wd_on_q, wd_hit_q, progress_q;

  always_ff @(posedge clk_i) begin
    progress_q <= progress_i || state_q != Run;
    wd_limit_q <= watchdog_i - 32'd1;
    wd_on_q    <= watchdog_i != 0;
    wd_hit_q   <= state_q == Run && !progress_q && wd_on_q && wd_q >= wd_limit_q;
    if (!rst_ni || state_q != Run || progress_q) wd_q <= '0;
    else wd_q <= wd_q + 32'd1;
  end

  // --- Errors of this cycle, known in the next --------------------------------------------------------
  error_cause_e err_cause, err_cause_q;
  logic [23:0]  err_info, err_info_q;
  logic         err, err_q, end_q;

  always_comb begin
    err = 1'b1;
    err_info = '0;
    if (rd_err_i) begin
      err_cause = ERR_READ_RESP;
      err_info  = rd_err_addr_i[31:8];
    end else if (wr_err_i) begin
      err_cause = ERR_WRITE_RESP;
      err_info  = wr_err_addr_i[31:8];
    end else if (front_err_i) begin
      err_cause = front_err_cause_i;
      err_info  = 24'(front_err_info_i);
    end else if (range_err_i != 0) begin
      err_cause = ERR_ACT_RANGE;
      err_info  = range_err_i[0] ? 24'd0 : range_err_i[1] ? 24'd1 : 24'd2;
    end else if (wd_hit_q) begin
      err_cause = ERR_WATCHDOG;
    end else begin
      err = 1'b0;
      err_cause = ERR_NONE;
    end
  end

  always_ff @(posedge clk_i) begin
    err_q       <= rst_ni && err && state_q == Run;
    end_q       <= rst_ni && done_i && state_q == Run;
    err_cause_q <= err_cause;
    err_info_q  <= err_info;
  end

  // --- State ---------------------------------------------------------------------------------------
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      done_q  <= 1'b0;
      error_q <= 1'b0;
      soft_q  <= 1'b0;
      cause_q <= ERR_NONE;
      info_q  <= '0;
      clear_q <= 1'b0;
      start_q <= 1'b0;
      core_rst_nq <= 1'b1;
    end else begin
      clear_q <= accept;
      start_q <= clear_q;
      core_rst_nq <= !accept && !(state_q == Stop && rd_idle_i && wr_idle_i);
      unique case (state_q)
        Idle: begin
          if (soft_reset_i) begin
            state_q <= Stop;
            soft_q  <= 1'b1;
            done_q  <= 1'b0;
            error_q <= 1'b0;
            cause_q <= ERR_NONE;
            info_q  <= '0;
          end else if (start_i) begin
            done_q  <= 1'b0;
            error_q <= bad_start_q;
            cause_q <= bad_start_q ? ERR_BAD_START : ERR_NONE;
            info_q  <= bad_start_info_q;
            if (!bad_start_q) state_q <= Run;
          end
        end
        Run: begin
          if (err_q) begin
            state_q <= Stop;
            cause_q <= err_cause_q;
            info_q  <= err_info_q;
          end else if (soft_reset_i) begin
            state_q <= Stop;
            soft_q  <= 1'b1;
          end else if (end_q) begin
            state_q <= Idle;
            done_q  <= 1'b1;
          end
        end
        Stop: begin
          if (rd_idle_i && wr_idle_i) state_q <= Reset;
        end
        default: begin  // Reset
          state_q <= Idle;
          soft_q  <= 1'b0;
          error_q <= !soft_q;
        end
      endcase
    end
  end

  assign busy_o        = state_q != Idle;
  assign stop_o        = state_q == Stop || state_q == Reset;
  assign resetting_o   = soft_q;
  assign done_o        = done_q;
  assign error_o       = error_q;
  assign error_cause_o = cause_q;
  assign error_info_o  = info_q;
  assign accept        = state_q == Idle && start_i && !soft_reset_i && !bad_start_q;
  assign clear_o       = clear_q;
  assign start_o       = start_q;
  assign core_rst_no   = rst_ni && core_rst_nq;
  assign irq_done_o    = state_q == Run && end_q && !err_q && !soft_reset_i;
  assign irq_error_o   = (state_q == Idle && start_i && !soft_reset_i && bad_start_q) ||
                         (state_q == Reset && !soft_q);

  // The register file holds back commands while a program runs.
  `KS_ASSUME(NoStartWhileBusy, !(start_i && busy_o))
  // An error is reported with its cause, and nothing is done and failed at once.
  `KS_ASSERT(ErrorHasCause, !error_q || cause_q != ERR_NONE)
  `KS_ASSERT(DoneOrError, !(done_q && error_q))
  // The core is only reset when the bus is quiet.
  `KS_ASSERT(ResetWhenQuiet, state_q != Reset || rd_idle_i)

endmodule

`default_nettype wire
