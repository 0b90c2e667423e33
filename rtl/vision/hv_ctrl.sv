// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Run control: doorbell, error handling, soft reset, watchdog.
//
//   Idle   start_i in cycle s: a program that cannot start (see below) ends at once, STATUS.error and
//          irq_error_o in s+1 resp. s; otherwise start_o in s and Run from s+1.
//   Run    busy. done_i in cycle e: Idle with STATUS.done from e+1, irq_done_o in e. So CNT_CYCLES,
//          which counts cycles with busy_o, is e - s. The first error (or a soft reset) in cycle e:
//          Stop from e+1. An error wins over done_i of the same cycle.
//   Stop   busy, stop_o. Nothing new is issued; in the first cycle in which rd_idle_i and wr_idle_i
//          are high: Reset from the next cycle.
//   Reset  busy, one cycle: core_rst_no is low. Then Idle with STATUS.error and irq_error_o in the
//          cycle of Reset when an error was the reason, nothing set after a soft reset.
//
// A soft reset from Idle takes the way Stop, Reset too; one that comes in Stop or Reset is absorbed.
// After an error the cause of the first error stays in ERROR until the next start. Errors of one
// cycle rank READ_RESP, WRITE_RESP, front end, ACT_RANGE, WATCHDOG. Info: descriptor index (front end),
// bits 31:8 of the burst address (bus), unit 0 compute, 1 load, 2 out (ACT_RANGE), 0 (WATCHDOG),
// offset of the register at fault (BAD_START: DESC_COUNT not in 1..65535, a base that is no multiple
// of 128, SOFTMAX_SHIFT not 0).
// Watchdog: error after watchdog_i cycles of Run in a row without progress_i; 0 never.

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
  output logic             start_o,            // a program starts (pulse)
  output logic             stop_o,             // issue nothing new on the bus
  output logic             core_rst_no,        // reset of everything but hv_regs, hv_ctrl, hv_perf
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
  logic [31:0]  wd_q;
  logic         wd_hit;

  // --- Can the program start? ----------------------------------------------------------------------
  localparam int unsigned AlignBits = $clog2(HV_ALIGN_BYTES);
  logic         bad_start;
  logic [23:0]  bad_start_info;

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

  // --- Errors of this cycle ------------------------------------------------------------------------
  error_cause_e err_cause;
  logic [23:0]  err_info;
  logic         err;

  assign wd_hit = watchdog_i != 0 && !progress_i && wd_q >= watchdog_i - 32'd1;

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
    end else if (wd_hit) begin
      err_cause = ERR_WATCHDOG;
    end else begin
      err = 1'b0;
      err_cause = ERR_NONE;
    end
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
      wd_q    <= '0;
    end else begin
      wd_q <= (state_q != Run || progress_i) ? '0 : wd_q + 32'd1;
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
            error_q <= bad_start;
            cause_q <= bad_start ? ERR_BAD_START : ERR_NONE;
            info_q  <= bad_start_info;
            if (!bad_start) state_q <= Run;
          end
        end
        Run: begin
          if (err) begin
            state_q <= Stop;
            cause_q <= err_cause;
            info_q  <= err_info;
          end else if (soft_reset_i) begin
            state_q <= Stop;
            soft_q  <= 1'b1;
          end else if (done_i) begin
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
  assign start_o       = state_q == Idle && start_i && !soft_reset_i && !bad_start;
  assign core_rst_no   = rst_ni && state_q != Reset;
  assign irq_done_o    = state_q == Run && done_i && !err && !soft_reset_i;
  assign irq_error_o   = (state_q == Idle && start_i && !soft_reset_i && bad_start) ||
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
