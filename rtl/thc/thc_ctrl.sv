// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Control of the THC accelerator: checks a command, starts kernels and movers, watches, counts, ends.
//
// start_i: two cycles of checks, clear_o for one cycle, then the movers get their commands and the run
// ends when every result is written (responses included) or, for NORM, counted. A wrong register ends the
// command with ERROR BAD_START before anything moves. A bus error, the watchdog or soft_reset_i stop the
// movers (stop_o); once they are idle core_rst_no is low for two cycles, which forgets what is inside.
// AGGREGATE reads block by block, in each block worker by worker; the other operations read one run of
// addresses. busy_o from the cycle after start_i to the end, the end of a stop included. done, error and
// their pulses: at the end; an error at the moment it is seen. Counters keep the last command's values.

`include "ks_assert.svh"
`default_nettype none

module thc_ctrl
  import thc_pkg::*;
  import thc_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic        start_i,
  input  wire logic        soft_reset_i,
  input  wire logic [31:0] watchdog_i,
  input  wire logic [15:0][31:0] program_i,    // registers OP .. FIRST_HI
  input  wire logic [15:0][7:0]  table_i,

  output logic             busy_o,
  output logic [5:0]       status_o,
  output logic [31:0]      error_o,
  output logic [6:0][31:0] cnt_o,
  output logic             irq_done_o,
  output logic             irq_error_o,

  // Settings of the run, constant from clear_o to the end.
  output logic             core_rst_no,
  output logic             clear_o,
  output thc_cfg_t         cfg_o,
  output logic [63:0]      first_o,
  output thc_op_e          op_o,
  output logic             bf16_o,
  output logic             error_in_o,
  output logic             error_out_o,
  output logic             wide_o,
  output logic             max_o,
  output logic [7:0]       workers_o,
  output logic [10:0]      blocks_o,
  output logic [10:0]      packets_o,          // of 1024 coordinates
  output logic [8:0]       frame_beats_o,      // of 128 indices in a block

  // Movers.
  output logic             stop_o,
  output logic             rd_a_valid_o,
  input  wire logic        rd_a_ready_i,
  output logic [31:0]      rd_a_addr_o,
  output logic [23:0]      rd_a_bytes_o,
  output logic             rd_b_valid_o,
  input  wire logic        rd_b_ready_i,
  output logic [31:0]      rd_b_addr_o,
  output logic             wr_a_valid_o,
  input  wire logic        wr_a_ready_i,
  output logic [31:0]      wr_a_addr_o,
  output logic [23:0]      wr_a_bytes_o,
  output logic             wr_b_valid_o,
  input  wire logic        wr_b_ready_i,
  output logic [31:0]      wr_b_addr_o,
  output logic [23:0]      b_bytes_o,          // of both commands of channel b
  input  wire logic        wr_a_done_i,
  input  wire logic        wr_b_done_i,
  input  wire logic        idle_i,             // all movers
  input  wire logic        rd_err_i,
  input  wire logic [31:8] rd_err_addr_i,
  input  wire logic        wr_err_i,
  input  wire logic [31:8] wr_err_addr_i,

  // What happens in the data path.
  input  wire logic        norm_done_i,        // the norm of a block is written
  input  wire logic        nonfinite_i,
  input  wire logic        out_of_range_i,
  input  wire logic        in_beat_i,
  input  wire logic        in_wait_i,          // the kernel would take a beat, there is none
  input  wire logic        out_beat_i,
  input  wire logic        out_wait_i,         // a beat of the kernel is not taken
  input  wire logic [1:0]  rd_beats_i,         // 0..2
  input  wire logic [1:0]  wr_beats_i
);

  typedef enum logic [2:0] {StIdle, StSize, StCheck, StClear, StRun, StStop, StReset} state_e;

  function automatic logic [31:0] value_of(input logic [ACC_AXIL_ADDR_BITS-1:0] offset);
    return program_i[4'((offset - REG_OP) >> 2)];
  endfunction

  state_e state_q, state_d;

  // ---- Settings ----
  logic [31:0] op_reg;
  logic [3:0]  log2;
  logic [10:0] blocks;
  logic [7:0]  workers, g;
  logic [4:0]  entries;
  logic [31:0] stride, src, src2, dst, dst2, first_lo;
  logic        is_norm, is_compress, is_aggregate, is_decompress;

  assign op_reg        = value_of(REG_OP);
  assign op_o          = thc_op_e'(op_reg[OP_OP_LSB +: OP_OP_W]);
  assign bf16_o        = op_reg[OP_BF16_LSB];
  assign error_in_o    = op_reg[OP_ERROR_IN_LSB];
  assign error_out_o   = op_reg[OP_ERROR_OUT_LSB];
  assign wide_o        = op_reg[OP_WIDE_SUMS_LSB];
  assign max_o         = op_reg[OP_NORM_MAX_LSB];
  assign log2          = 4'(value_of(REG_BLOCK_LOG2));
  assign blocks        = 11'(value_of(REG_BLOCKS));
  assign workers       = 8'(value_of(REG_WORKERS));
  assign g             = 8'(value_of(REG_GRANULARITY) >> GRANULARITY_G_LSB);
  assign entries       = 5'(value_of(REG_GRANULARITY) >> GRANULARITY_ENTRIES_LSB);
  assign stride        = value_of(REG_STRIDE);
  assign src           = value_of(REG_SRC_BASE);
  assign src2          = value_of(REG_SRC2_BASE);
  assign dst           = value_of(REG_DST_BASE);
  assign dst2          = value_of(REG_DST2_BASE);
  assign first_lo      = value_of(REG_FIRST_LO);
  // Kernels look at it while idle as well, so that it is a multiple of 1024 always.
  assign first_o       = {value_of(REG_FIRST_HI), first_lo[31:10], 10'd0};
  assign workers_o     = workers;
  assign blocks_o      = blocks;
  assign is_norm       = op_o == OP_NORM;
  assign is_compress   = op_o == OP_COMPRESS;
  assign is_aggregate  = op_o == OP_AGGREGATE;
  assign is_decompress = op_o == OP_DECOMPRESS;

  always_comb begin
    cfg_o.block_log2  = log2;
    cfg_o.granularity = g;
    cfg_o.values      = table_i;
    cfg_o.entries     = entries;
    cfg_o.sign_key    = {value_of(REG_SIGN_KEY1), value_of(REG_SIGN_KEY0)};
    cfg_o.noise_key   = {value_of(REG_NOISE_KEY1), value_of(REG_NOISE_KEY0)};
  end

  // ---- Sizes and checks ----
  logic [26:0] coords_d;
  logic [20:0] coords_q;
  logic        too_many_q;
  logic [15:0] range_q;                        // workers * g
  logic [23:0] a_in_bytes, a_out_bytes, frame_bytes;
  logic        bad;
  logic [ACC_AXIL_ADDR_BITS-1:0] culprit;

  assign coords_d = 27'(blocks) << log2;
  always_ff @(posedge clk_i) begin
    coords_q   <= coords_d[20:0];
    too_many_q <= coords_d > 27'(ACC_MAX_COORDINATES);
    range_q    <= 16'(workers) * 16'(g);
  end
  assign packets_o     = coords_q[20:10];
  assign frame_bytes   = 24'd1 << (log2 - 4'd1);
  assign frame_beats_o = 9'(16'd1 << (log2 - 4'd7));
  assign b_bytes_o     = {1'b0, coords_q, 2'b00};

  if (ACC_BUS_BYTES != 64 || ACC_MAX_BLOCK_LOG2 != 15) begin : gen_bad_contract
    $error("thc_ctrl: made for a bus of 64 bytes and blocks up to 2^15");
  end

  always_comb begin
    bad     = 1'b1;
    culprit = REG_OP;
    if (!(is_norm || is_compress || is_aggregate || is_decompress)) culprit = REG_OP;
    else if (32'(log2) < ACC_MIN_BLOCK_LOG2) culprit = REG_BLOCK_LOG2;
    else if (blocks == '0 || 32'(blocks) > ACC_MAX_BLOCKS || too_many_q) culprit = REG_BLOCKS;
    else if (is_aggregate && (workers == '0 || (!wide_o && range_q > 16'd255))) culprit = REG_WORKERS;
    else if (is_aggregate && stride[5:0] != '0) culprit = REG_STRIDE;
    else if (src[5:0] != '0) culprit = REG_SRC_BASE;
    else if ((is_norm || is_compress) && error_in_o && src2[5:0] != '0) culprit = REG_SRC2_BASE;
    else if (!is_norm && dst[5:0] != '0) culprit = REG_DST_BASE;
    else if (is_compress && error_out_o && dst2[5:0] != '0) culprit = REG_DST2_BASE;
    else if (!is_norm && (g == '0 || !(entries == 5'd2 || entries == 5'd4 || entries == 5'd8 ||
                                       entries == 5'd16))) culprit = REG_GRANULARITY;
    else if ((is_compress || is_decompress) && first_lo[9:0] != '0) culprit = REG_FIRST_LO;
    else bad = 1'b0;
  end

  // ---- Bytes of the two directions of channel a ----
  logic [23:0] sum_bytes;
  assign sum_bytes = wide_o ? {2'b00, coords_q, 1'b0} : {3'b000, coords_q};
  always_comb begin
    unique case (op_o)
      OP_AGGREGATE:  a_in_bytes = frame_bytes;
      OP_DECOMPRESS: a_in_bytes = sum_bytes;
      default:       a_in_bytes = bf16_o ? {2'b00, coords_q, 1'b0} : {1'b0, coords_q, 2'b00};
    endcase
    unique case (op_o)
      OP_COMPRESS:  a_out_bytes = {4'b0000, coords_q[20:1]};
      OP_AGGREGATE: a_out_bytes = sum_bytes;
      default:      a_out_bytes = {1'b0, coords_q, 2'b00};
    endcase
  end

  // ---- Mover commands ----
  logic        rd_a_q, rd_b_q, wr_a_q, wr_b_q;   // still to be given
  logic        out_a_q, out_b_q;                 // results still to be written
  logic [10:0] block_q, norms_q;
  logic [7:0]  worker_q;
  logic [31:0] row_q, addr_q;
  logic        last_worker, last_block, rd_a_more;

  assign rd_a_valid_o = rd_a_q && state_q == StRun;
  assign rd_b_valid_o = rd_b_q && state_q == StRun;
  assign wr_a_valid_o = wr_a_q && state_q == StRun;
  assign wr_b_valid_o = wr_b_q && state_q == StRun;
  assign rd_a_addr_o  = addr_q;
  assign rd_a_bytes_o = a_in_bytes;
  assign rd_b_addr_o  = src2;
  assign wr_a_addr_o  = dst;
  assign wr_a_bytes_o = a_out_bytes;
  assign wr_b_addr_o  = dst2;
  assign last_worker  = worker_q == workers - 8'd1;
  assign last_block   = block_q == blocks - 11'd1;
  assign rd_a_more    = is_aggregate && !(last_worker && last_block);

  always_ff @(posedge clk_i) begin
    if (state_q == StClear) begin
      rd_a_q   <= 1'b1;
      rd_b_q   <= (is_norm || is_compress) && error_in_o;
      wr_a_q   <= !is_norm;
      wr_b_q   <= is_compress && error_out_o;
      out_a_q  <= !is_norm;
      out_b_q  <= is_compress && error_out_o;
      block_q  <= '0;
      worker_q <= '0;
      norms_q  <= '0;
      row_q    <= src;
      addr_q   <= src;
    end else begin
      if (rd_a_valid_o && rd_a_ready_i) begin
        rd_a_q <= rd_a_more;
        if (last_worker) begin
          worker_q <= '0;
          block_q  <= block_q + 11'd1;
          row_q    <= row_q + 32'(frame_bytes);
          addr_q   <= row_q + 32'(frame_bytes);
        end else begin
          worker_q <= worker_q + 8'd1;
          addr_q   <= addr_q + stride;
        end
      end
      if (rd_b_ready_i && state_q == StRun) rd_b_q <= 1'b0;
      if (wr_a_ready_i && state_q == StRun) wr_a_q <= 1'b0;
      if (wr_b_ready_i && state_q == StRun) wr_b_q <= 1'b0;
      if (wr_a_done_i) out_a_q <= 1'b0;
      if (wr_b_done_i) out_b_q <= 1'b0;
      if (norm_done_i) norms_q <= norms_q + 11'd1;
    end
  end

  // ---- State ----
  logic        finished, expired, fault;
  logic [31:0] quiet_q;                          // cycles without a beat
  logic [1:0]  reset_q;
  logic        done_q, error_q, irq_done_q, irq_error_q, nonfinite_q, range_seen_q;
  thc_error_e  cause_q;
  logic [23:0] info_q;

  assign finished = is_norm ? norms_q == blocks : !out_a_q && !out_b_q;
  assign expired  = watchdog_i != '0 && quiet_q >= watchdog_i;
  assign fault    = rd_err_i || wr_err_i || expired;

  always_comb begin
    state_d = state_q;
    unique case (state_q)
      StIdle:  if (start_i) state_d = StSize;
      StSize:  state_d = StCheck;
      StCheck: state_d = bad ? StIdle : StClear;
      StClear: state_d = StRun;
      StRun:   if (fault) state_d = StStop;
               else if (finished) state_d = StIdle;
      StStop:  if (idle_i && reset_q == 2'd3) state_d = StReset;   // idle_i is late by what comes
      StReset: if (reset_q == 2'd1) state_d = StIdle;
      default: state_d = StIdle;
    endcase
    if (soft_reset_i && state_q != StReset) state_d = StStop;
  end

  always_ff @(posedge clk_i) begin
    irq_done_q  <= 1'b0;
    irq_error_q <= 1'b0;
    if (!rst_ni) begin
      state_q      <= StIdle;
      reset_q      <= '0;
      done_q       <= 1'b0;
      error_q      <= 1'b0;
      cause_q      <= ERR_NONE;
      info_q       <= '0;
      nonfinite_q  <= 1'b0;
      range_seen_q <= 1'b0;
    end else begin
      state_q <= state_d;
      // Counts up in StStop, then down to 1 in StReset.
      if (state_q == StStop)       reset_q <= reset_q == 2'd3 ? 2'd3 : reset_q + 2'd1;
      else if (state_q == StReset) reset_q <= reset_q - 2'd1;
      else                         reset_q <= '0;
      if (state_q == StIdle && start_i) begin
        done_q       <= 1'b0;
        error_q      <= 1'b0;
        cause_q      <= ERR_NONE;
        info_q       <= '0;
        nonfinite_q  <= 1'b0;
        range_seen_q <= 1'b0;
      end
      if (soft_reset_i) begin
        done_q  <= 1'b0;
        error_q <= 1'b0;
        cause_q <= ERR_NONE;
        info_q  <= '0;
      end else if (state_q == StCheck && bad) begin
        error_q     <= 1'b1;
        irq_error_q <= 1'b1;
        cause_q     <= ERR_BAD_START;
        info_q      <= 24'(culprit);
      end else if (state_q == StRun && fault) begin
        error_q     <= 1'b1;
        irq_error_q <= 1'b1;
        cause_q     <= rd_err_i ? ERR_READ_RESP : wr_err_i ? ERR_WRITE_RESP : ERR_WATCHDOG;
        info_q      <= rd_err_i ? rd_err_addr_i : wr_err_i ? wr_err_addr_i : '0;
      end else if (state_q == StRun && finished) begin
        done_q     <= 1'b1;
        irq_done_q <= 1'b1;
      end
      if (state_q == StRun) begin
        nonfinite_q  <= nonfinite_i;
        range_seen_q <= out_of_range_i;
      end
    end
  end

  assign busy_o      = state_q != StIdle;
  assign clear_o     = state_q == StClear;
  assign stop_o      = state_q == StStop || state_q == StReset;
  assign core_rst_no = rst_ni && state_q != StReset;
  assign irq_done_o  = irq_done_q;
  assign irq_error_o = irq_error_q;
  assign error_o     = {info_q, cause_q};

  always_comb begin
    status_o = '0;
    status_o[STATUS_BUSY_LSB]         = busy_o;
    status_o[STATUS_DONE_LSB]         = done_q;
    status_o[STATUS_ERROR_LSB]        = error_q;
    status_o[STATUS_RESETTING_LSB]    = stop_o;
    status_o[STATUS_NONFINITE_LSB]    = nonfinite_q;
    status_o[STATUS_OUT_OF_RANGE_LSB] = range_seen_q;
  end

  // ---- Counters ----
  logic [6:0][31:0] cnt_q;
  logic             running;
  assign running = state_q == StRun;

  always_ff @(posedge clk_i) begin
    if (state_q == StIdle && start_i) begin
      cnt_q <= '0;
    end else if (busy_o && !stop_o) begin
      cnt_q[0] <= cnt_q[0] + 32'd1;
      cnt_q[1] <= cnt_q[1] + 32'(in_beat_i);
      cnt_q[2] <= cnt_q[2] + 32'(out_beat_i);
      cnt_q[3] <= cnt_q[3] + 32'(in_wait_i && running);
      cnt_q[4] <= cnt_q[4] + 32'(out_wait_i && running);
      cnt_q[5] <= cnt_q[5] + 32'(rd_beats_i);
      cnt_q[6] <= cnt_q[6] + 32'(wr_beats_i);
    end
    if (!running || rd_beats_i != '0 || wr_beats_i != '0) quiet_q <= '0;
    else quiet_q <= quiet_q + 32'd1;
    if (!rst_ni) cnt_q <= '0;
  end
  assign cnt_o = cnt_q;

  `KS_ASSERT(StartsIdle, !start_i || state_q == StIdle || soft_reset_i)
  // A command that ends leaves no mover at work.
  `KS_ASSERT(EndsIdle, !(state_q == StRun && finished && !fault) || idle_i)

endmodule

`default_nettype wire
