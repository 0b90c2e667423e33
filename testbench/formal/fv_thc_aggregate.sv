// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The sum memory of thc_aggregate and what is on its way past it: for a freely chosen row, the row that
// comes out of the pipeline is the sum of all beats to it since the last first contributor, whatever frames
// come, however close, and whenever the output waits; and the count of contributions with it. Lane 0 stands
// for all lanes. (Which beats count is decided before the pipeline: rtl.thc_aggregate tests that.)

`include "ks_assert.svh"
`default_nettype none

module fv_thc_aggregate #(
  parameter int unsigned MaxBeats = 4,
  localparam int unsigned BeatW = $clog2(MaxBeats)
) (
  input wire logic       clk_i,
  input wire logic       rst_ni,
  input wire logic       clear_i,
  input wire logic [7:0] s_axis_tdata,
  input wire logic [1:0] s_axis_tuser,
  input wire logic       s_axis_tlast,
  input wire logic       s_axis_tvalid,
  input wire logic       m_axis_tready
);

  // Any, and stay.
  thc_core_pkg::thc_cfg_t cfg_q;
  logic [BeatW:0]         beats_q;
  logic [BeatW-1:0]       row_q;
  always_ff @(posedge clk_i) begin
    cfg_q   <= cfg_q;
    beats_q <= beats_q;
    row_q   <= row_q;
  end

  logic        s_axis_tready, m_axis_tvalid, m_axis_tlast;
  logic [15:0] m_axis_tdata;
  logic [7:0]  m_axis_tuser;
  logic [31:0] early, late, refused, bad_index;

  fv_reset u_reset (.clk_i, .rst_ni);
  thc_aggregate #(.Lanes(2), .SumBits(8), .MaxBeats(MaxBeats)) dut (
    .clk_i, .rst_ni, .clear_i, .cfg_i(cfg_q), .beats_i(beats_q),
    .s_axis_tdata, .s_axis_tuser, .s_axis_tlast, .s_axis_tvalid, .s_axis_tready,
    .m_axis_tdata, .m_axis_tuser, .m_axis_tlast, .m_axis_tvalid, .m_axis_tready,
    .early_o(early), .late_o(late), .refused_o(refused), .bad_index_o(bad_index)
  );

  // The value that an index stands for.
  logic [3:0] index;
  logic [7:0] value;
  assign index = s_axis_tdata[7:4] & 4'(cfg_q.entries - 5'd1);
  assign value = cfg_q.values[index];

  // The chosen row after every beat up to the one in a stage: x1, x2, x3 of stages 1, 2 and 3; known since
  // a first contributor.
  typedef struct packed {
    logic       known;
    logic [7:0] count;
    logic [7:0] sum;
  } model_t;
  model_t x0, x1_q, x2_q, x3_q;

  always_comb begin
    x0 = x1_q;
    if (dut.c0.valid && dut.c0.addr == row_q) begin
      if (dut.c0.first) x0 = '{known: 1'b1, count: '0, sum: '0};
      if (dut.c0.adds) begin
        x0.count = x0.count + 8'd1;
        x0.sum   = x0.sum + value;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      x1_q.known <= 1'b0;
      x2_q.known <= 1'b0;
      x3_q.known <= 1'b0;
    end else if (dut.advance) begin
      x1_q <= x0;
      x2_q <= x1_q;
      x3_q <= x2_q;
    end
  end

  logic at1, at2, at3;   // a beat of the chosen row is in this stage
  assign at1 = dut.c1_q.valid && dut.c1_q.addr == row_q;
  assign at2 = dut.c2_q.valid && dut.c2_q.addr == row_q;
  assign at3 = dut.c3_q.valid && dut.c3_q.addr == row_q;

  // What leaves is right.
  `KS_ASSERT(RowSum, !(at3 && x3_q.known) || dut.row_q.sums[0] == x3_q.sum)
  `KS_ASSERT(RowCount, !(at3 && x3_q.known) || dut.row_q.count == x3_q.count)
  `KS_ASSERT(EmitsRows, !dut.c3_q.emit || dut.c3_q.valid)
  `KS_ASSERT(EmitsRows2, !dut.c2_q.emit || dut.c2_q.valid)
  `KS_ASSERT(EmitsRows1, !dut.c1_q.emit || dut.c1_q.valid)

  // For the induction: what each stage holds.
  logic [7:0] read_sum, read_count, old_sum, old_count;
  assign read_sum   = dut.far1_q ? dut.row_q.sums[0] : dut.read_q.sums[0];
  assign read_count = dut.far1_q ? dut.row_q.count : dut.read_q.count;
  assign old_sum    = dut.near2_q ? dut.row_q.sums[0] : dut.old_q.sums[0];
  assign old_count  = dut.near2_q ? dut.row_q.count : dut.old_q.count;
  `KS_ASSERT(Memory, !x3_q.known || dut.mem[row_q] [23:16] == x3_q.count)
  `KS_ASSERT(MemorySum, !x3_q.known || dut.mem[row_q] [7:0] == x3_q.sum)
  `KS_ASSERT(Near1, !dut.c1_q.valid ||
             dut.near1_q == (dut.c2_q.valid && dut.c2_q.addr == dut.c1_q.addr))
  `KS_ASSERT(Far1, !dut.c1_q.valid ||
             dut.far1_q == (dut.c3_q.valid && dut.c3_q.addr == dut.c1_q.addr))
  `KS_ASSERT(Near2, !dut.c2_q.valid || dut.near2_q ==
             (dut.c3_q.valid && dut.c3_q.addr == dut.c2_q.addr && !dut.c2_q.first))
  `KS_ASSERT(Read, !(at1 && !dut.c1_q.first && !at2 && x3_q.known) ||
             (read_sum == x3_q.sum && read_count == x3_q.count))
  `KS_ASSERT(Old, !(at2 && !dut.c2_q.first && x3_q.known) ||
             (old_sum == x3_q.sum && old_count == x3_q.count))
  `KS_ASSERT(OldFirst, !(at2 && dut.c2_q.first) || (dut.old_q.sums[0] == '0 && dut.old_q.count == '0))
  `KS_ASSERT(Same2, at2 || x2_q == x3_q || !x2_q.known)
  `KS_ASSERT(Same1, at1 || x1_q == x2_q || !x1_q.known)
  `KS_ASSERT(Known2, (at2 && dut.c2_q.first) ? x2_q.known : x2_q.known == x3_q.known)
  `KS_ASSERT(Known1, (at1 && dut.c1_q.first) ? x1_q.known : x1_q.known == x2_q.known)
  `KS_ASSERT(Value2, !(at2 && x2_q.known) || (
             x2_q.sum == (dut.c2_q.first ? 8'd0 : x3_q.sum) + dut.value_q[0] &&
             x2_q.count == (dut.c2_q.first ? 8'd0 : x3_q.count) + 8'(dut.c2_q.adds)))
  `KS_ASSERT(Value1, !(at1 && x1_q.known) || (
             x1_q.sum == (dut.c1_q.first ? 8'd0 : x2_q.sum) + (dut.c1_q.adds ? dut.value_d[0] : 8'd0) &&
             x1_q.count == (dut.c1_q.first ? 8'd0 : x2_q.count) + 8'(dut.c1_q.adds)))

  `KS_COVER(BackToBack, at1 && at2 && at3 && dut.c3_q.emit && x3_q.known && x3_q.count == 8'd2)
  `KS_COVER(OneApart, at1 && !at2 && dut.c2_q.valid && at3 && x3_q.known && !dut.c1_q.first)

endmodule

`default_nettype wire
