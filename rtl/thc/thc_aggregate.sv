// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Sums of THC table values over contributors: frames of 4-bit indices in, frames of sums out.
//
// Every frame is one contribution to the same beats_i beats; TUSER[0] marks the first contributor of an
// aggregation (the sums start anew), TUSER[1] the last (the sums leave, beat by beat, with the number of
// contributions that each beat has in TUSER). Equal to ref::aggregate.
//   Index of lane i: the high nibble of byte i/2 for even i, the low one for odd i. Sum of lane i: bits
//   [i*SumBits +: SumBits], unsigned. Sums cannot overflow: a frame with which contributors * granularity
//   would exceed 2^SumBits - 1, or the contributors 255, adds nothing and is counted (refused_o).
//   A frame that ends early (early_o) adds nothing beyond its end; of one that goes on after beats_i
//   beats the rest is dropped (late_o). The first frame after reset or clear_i, or after a last one,
//   starts anew even without its mark.
// One beat per cycle, frames back to back at any length; a short frame of the first or last contributor
// takes a cycle for every missing beat. Latency 4 cycles. No combinational path from m_axis_tready to
// s_axis_tready. Counters stop at all ones. clear_i (while nothing is inside): as reset. Reset forgets
// the aggregation in progress; the sum memory is not reset, and not read before it is written.

`include "ks_assert.svh"
`default_nettype none

module thc_aggregate #(
  parameter int unsigned Lanes    = 128,  // coordinates a beat, even
  parameter int unsigned SumBits  = 16,   // bits of a sum, 8 or 16
  parameter int unsigned MaxBeats = 256,  // longest frame, a power of two >= 2
  localparam int unsigned BeatW   = $clog2(MaxBeats)
) (
  input  wire logic                       clk_i,
  input  wire logic                       rst_ni,
  input  wire logic                       clear_i,
  /* verilator lint_off UNUSEDSIGNAL */   // the table only
  input  wire thc_core_pkg::thc_cfg_t     cfg_i,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire logic [BeatW:0]             beats_i,   // of a frame, 1..MaxBeats; constant while not idle

  input  wire logic [4*Lanes-1:0]         s_axis_tdata,
  input  wire logic [1:0]                 s_axis_tuser,   // {last, first} contributor
  input  wire logic                       s_axis_tlast,
  input  wire logic                       s_axis_tvalid,
  output logic                            s_axis_tready,

  output logic [Lanes*SumBits-1:0]        m_axis_tdata,
  output logic [7:0]                      m_axis_tuser,   // contributions in this beat
  output logic                            m_axis_tlast,
  output logic                            m_axis_tvalid,
  input  wire logic                       m_axis_tready,

  output logic [31:0]                     early_o,        // frames that were too short
  output logic [31:0]                     late_o,         // frames that were too long
  output logic [31:0]                     refused_o,      // frames beyond the contributor limit
  output logic [31:0]                     bad_index_o     // indices beyond the table
);

  if (Lanes < 2 || Lanes % 2 != 0) begin : gen_bad_lanes
    $error("thc_aggregate: Lanes must be even and at least 2");
  end
  if (SumBits != 8 && SumBits != 16) begin : gen_bad_sum_bits
    $error("thc_aggregate: SumBits must be 8 or 16");
  end
  if (MaxBeats < 2 || 2 ** $clog2(MaxBeats) != MaxBeats) begin : gen_bad_max_beats
    $error("thc_aggregate: MaxBeats must be a power of two >= 2");
  end

  localparam int unsigned RowW = 8 + Lanes * SumBits;   // contributions, sums
  localparam int unsigned Groups = (Lanes + 15) / 16;   // of lanes, for the count of bad indices
  localparam int unsigned BadW = $clog2(Lanes + 1);

  typedef struct packed {
    logic [7:0]                     count;
    logic [Lanes-1:0][SumBits-1:0]  sums;
  } row_t;

  typedef struct packed {
    logic              valid;   // goes to the memory
    logic              emit;    // and leaves
    logic              end_of_frame;
    logic              first;   // the row starts at zero
    logic              adds;    // the beat is a contribution
    logic [BeatW-1:0]  addr;
  } ctrl_t;

  // Everything moves when the register slice at the output takes a row.
  logic advance;

  // ---- 0: frames ----
  typedef enum logic [1:0] {
    StPass,   // beats of a frame
    StFill,   // rows that a short frame left out, without a contribution
    StDrop    // the rest of a long frame
  } state_e;

  state_e            state_q;
  logic [BeatW-1:0]  beat_q;
  logic              head;                      // the next beat is the first of its frame
  logic              first, last, refused;      // of this frame
  logic              first_q, last_q, refused_q;
  logic              open_q;                    // an aggregation has begun
  logic [SumBits:0]  range, range_q;            // contributors * granularity
  logic [7:0]        number_q;                  // contributors
  logic              take, due, early, late, done;
  ctrl_t             c0, c1_q, c2_q;
  /* verilator lint_off UNUSEDSIGNAL */         // some of it is of use in earlier stages only
  ctrl_t             c3_q;
  /* verilator lint_on UNUSEDSIGNAL */

  assign head  = beat_q == '0;
  assign first = head ? s_axis_tuser[0] || !open_q : first_q;
  assign last  = head ? s_axis_tuser[1] : last_q;
  assign range = (first ? '0 : range_q) + (SumBits + 1)'(cfg_i.granularity);
  assign refused = head ? range[SumBits] || (!first && number_q == '1) : refused_q;

  assign s_axis_tready = state_q == StDrop || (state_q == StPass && advance);
  assign take  = state_q == StPass && s_axis_tvalid && advance;
  assign due   = (BeatW + 1)'(beat_q) + (BeatW + 1)'(1) == beats_i;
  assign early = take && s_axis_tlast && !due;
  assign late  = take && !s_axis_tlast && due;
  // The frame's last row goes in.
  assign done  = (take && due) || (early && !first && !last) ||
                 (state_q == StFill && advance && due);

  always_comb begin
    c0 = '{default: '0};
    c0.addr         = beat_q;
    c0.first        = first;
    c0.end_of_frame = due;
    c0.emit         = last;
    if (state_q == StFill) begin
      c0.valid = 1'b1;
    end else begin
      c0.valid = state_q == StPass && s_axis_tvalid;
      c0.adds  = !refused;
    end
    c0.emit = c0.emit && c0.valid;
  end

  always_ff @(posedge clk_i) begin
    if (take && head) begin
      first_q   <= first;
      last_q    <= last;
      refused_q <= refused;
      if (!refused) begin
        range_q  <= range;
        number_q <= first ? 8'd1 : number_q + 8'd1;
      end
    end
    if (!rst_ni || clear_i) begin
      state_q <= StPass;
      beat_q  <= '0;
      open_q  <= 1'b0;
    end else begin
      if (done)                                          beat_q <= '0;
      else if (take || (state_q == StFill && advance))   beat_q <= beat_q + BeatW'(1);
      if (done) open_q <= !last;
      if (early && !done)                                          state_q <= StFill;
      else if (late)                                               state_q <= StDrop;
      else if (state_q == StFill && done)                          state_q <= StPass;
      else if (state_q == StDrop && s_axis_tvalid && s_axis_tlast) state_q <= StPass;
    end
  end

  // ---- 1: the row is read, values are looked up ----
  logic [4*Lanes-1:0]     index_q;
  logic [Lanes-1:0][7:0]  value_d, value_q;
  logic [Lanes-1:0]       bad;
  (* no_rw_check *) logic [RowW-1:0] mem [MaxBeats];
  row_t                   read_q, old_q, old, row_d, row_q;
  logic                   near1_q, near2_q, far1_q;   // the row before, the one before that, is the same

  always_ff @(posedge clk_i) begin
    if (advance) begin
      index_q <= s_axis_tdata;
      // Undefined where the row is written at the same time: far1_q is set then.
      read_q  <= row_t'(mem[c0.addr]);
      near1_q <= c1_q.valid && c1_q.addr == c0.addr;
      far1_q  <= c2_q.valid && c2_q.addr == c0.addr;
      c1_q    <= c0;
    end
    if (!rst_ni || clear_i) begin
      c1_q.valid <= 1'b0;
      c1_q.emit  <= 1'b0;
    end
  end

  for (genvar i = 0; i < Lanes; i++) begin : gen_lookup
    thc_lookup u_lookup (
      .values_i (cfg_i.values),
      .entries_i(cfg_i.entries),
      .index_i  (index_q[8*(i/2) + (i % 2 == 0 ? 4 : 0) +: 4]),
      .value_o  (value_d[i]),
      .bad_o    (bad[i])
    );
  end

  // ---- 2: sum ----
  always_ff @(posedge clk_i) begin
    if (advance) begin
      value_q <= c1_q.adds ? value_d : '0;
      old_q   <= c1_q.first ? '0 : far1_q ? row_q : read_q;
      near2_q <= near1_q && !c1_q.first;
      c2_q    <= c1_q;
    end
    if (!rst_ni || clear_i) begin
      c2_q.valid <= 1'b0;
      c2_q.emit  <= 1'b0;
    end
  end

  always_comb begin
    old         = near2_q ? row_q : old_q;
    row_d.count = old.count + 8'(c2_q.adds);
    for (int unsigned i = 0; i < Lanes; i++) begin
      row_d.sums[i] = old.sums[i] + SumBits'(value_q[i]);
    end
  end

  // ---- 3: the row is in the memory, and at the output ----
  always_ff @(posedge clk_i) begin
    if (advance) begin
      if (c2_q.valid) mem[c2_q.addr] <= row_d;
      row_q <= row_d;
      c3_q  <= c2_q;
    end
    if (!rst_ni || clear_i) c3_q.emit <= 1'b0;
  end

  ks_skid #(.Width(RowW + 1)) u_skid (
    .clk_i,
    .rst_ni,
    .s_valid_i(c3_q.emit),
    .s_ready_o(advance),
    .s_data_i ({c3_q.end_of_frame, row_q}),
    .m_valid_o(m_axis_tvalid),
    .m_ready_i(m_axis_tready),
    .m_data_o ({m_axis_tlast, m_axis_tuser, m_axis_tdata})
  );

  // ---- counters ----
  logic [Groups-1:0][4:0] bad_part_d, bad_part_q;
  logic [BadW-1:0]        bad_sum_d, bad_sum_q;   // of a beat
  logic                   bad_valid_q;
  logic [32:0]            bad_next;

  always_comb begin
    bad_part_d = '0;
    for (int unsigned i = 0; i < Lanes; i++) begin
      bad_part_d[i/16] = bad_part_d[i/16] + 5'(bad[i]);
    end
    bad_sum_d = '0;
    for (int unsigned g = 0; g < Groups; g++) begin
      bad_sum_d = bad_sum_d + BadW'(bad_part_q[g]);
    end
  end
  assign bad_next = 33'(bad_index_o) + 33'(bad_sum_q);

  always_ff @(posedge clk_i) begin
    bad_part_q  <= bad_part_d;
    bad_sum_q   <= bad_valid_q ? bad_sum_d : '0;
    bad_valid_q <= advance && c1_q.valid && c1_q.adds;
    if (!rst_ni || clear_i) begin
      bad_valid_q <= 1'b0;
      bad_sum_q   <= '0;
      early_o     <= '0;
      late_o      <= '0;
      refused_o   <= '0;
      bad_index_o <= '0;
    end else begin
      if (early && early_o != '1)                             early_o   <= early_o + 32'd1;
      if (late && late_o != '1)                               late_o    <= late_o + 32'd1;
      if (take && head && refused && refused_o != '1)         refused_o <= refused_o + 32'd1;
      bad_index_o <= bad_next[32] ? '1 : bad_next[31:0];
    end
  end

  `KS_ASSUME(BeatsInRange, beats_i != '0 && beats_i <= (BeatW + 1)'(MaxBeats))
  `KS_ASSERT(BeatInFrame, (BeatW + 1)'(beat_q) < beats_i)
  // A row read while it is written comes from the pipeline instead.
  `KS_ASSERT(NoStaleRow, !(c1_q.valid && c3_q.valid && c1_q.addr == c3_q.addr) || far1_q)

endmodule

`default_nettype wire
