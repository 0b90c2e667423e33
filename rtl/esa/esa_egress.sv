// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One egress queue of the switch: a FIFO of beats in front of an AXI4-Stream port, with ECN marking.
//
// A beat pushed in cycle t is offered from t+2. One beat per cycle in and out. An aggregation packet
// whose first beat finds mark_threshold_i beats or more in the queue leaves with FLAG_ECN set in its
// header (which no checksum covers); a threshold of 0 switches marking off. The pusher keeps to room_o:
// high while the queue has at least Reserve free beats, so whoever starts a packet of up to Reserve
// beats (counting what is already on its way) when it is high never overruns the queue: asserted.
// Frames never leave before their first beat was pushed, and may be cut through from then on.
// Reset empties the queue.

`include "ks_assert.svh"
`default_nettype none

module esa_egress
  import ks_wire_pkg::*;
  import esa_pkg::*;
#(
  parameter int unsigned Depth   = 64,   // beats, a power of two
  parameter int unsigned Reserve = 32    // beats that room_o promises, < Depth
) (
  input  wire logic         clk_i,
  input  wire logic         rst_ni,

  input  wire logic         push_i,
  input  wire beat_t        beat_i,
  output logic              room_o,
  input  wire logic [15:0]  mark_threshold_i,

  output logic [511:0]      m_axis_tdata,
  output logic [63:0]       m_axis_tkeep,
  output logic              m_axis_tlast,
  output logic              m_axis_tvalid,
  input  wire logic         m_axis_tready,

  output logic              frame_out_o,   // pulse: a frame has left
  output logic              marked_o       // pulse: a packet was marked
);

  if (2 ** $clog2(Depth) != Depth || Reserve >= Depth) begin : gen_bad_depth
    $error("esa_egress: Depth must be a power of two above Reserve");
  end

  localparam int unsigned Aw = $clog2(Depth);
  localparam int unsigned BeatW = 512 + 64 + 1;
  localparam int unsigned FlagBit = 8 * (WIRE_HEADER_OFFSET + 4) + 1;   // FLAG_ECN in the beat

  if (8'(FLAG_ECN) != 8'h02) begin : gen_bad_flag
    $error("esa_egress: FLAG_ECN has moved");
  end

  logic [BeatW-1:0] ring [Depth];
  logic [Aw-1:0]    wptr_q, rptr_q;
  logic [Aw:0]      level_q;          // beats in the ring and in the output register
  logic             mark, fetch, take, out_valid_q;
  logic [BeatW-1:0] wbeat, out_q;
  logic [511:0]     wdata;
  logic [Aw:0]      ring_level_q;     // beats in the ring

  assign mark = beat_i.first && !beat_i.foreign && mark_threshold_i != '0 &&
                16'(level_q) >= mark_threshold_i;
  always_comb begin
    wdata = beat_i.data;
    if (mark) wdata[FlagBit] = 1'b1;
    wbeat = {beat_i.last, beat_i.keep, wdata};
  end

  assign take  = out_valid_q && m_axis_tready;
  assign fetch = ring_level_q != '0 && (!out_valid_q || m_axis_tready);

  always_ff @(posedge clk_i) begin
    if (push_i) ring[wptr_q] <= wbeat;
    if (fetch) out_q <= ring[rptr_q];
    if (!rst_ni) begin
      wptr_q       <= '0;
      rptr_q       <= '0;
      level_q      <= '0;
      ring_level_q <= '0;
      out_valid_q  <= 1'b0;
      room_o       <= 1'b0;
      frame_out_o  <= 1'b0;
      marked_o     <= 1'b0;
    end else begin
      if (push_i) wptr_q <= wptr_q + Aw'(1);
      if (fetch) rptr_q <= rptr_q + Aw'(1);
      level_q      <= level_q + (Aw + 1)'(push_i) - (Aw + 1)'(take);
      ring_level_q <= ring_level_q + (Aw + 1)'(push_i) - (Aw + 1)'(fetch);
      out_valid_q  <= fetch || (out_valid_q && !m_axis_tready);
      room_o       <= 32'(level_q) + Reserve < Depth;   // one beat of the cycle itself is allowed for
      frame_out_o  <= take && m_axis_tlast;
      marked_o     <= push_i && mark;
    end
  end

  assign m_axis_tvalid = out_valid_q;
  assign {m_axis_tlast, m_axis_tkeep, m_axis_tdata} = out_q;

  `KS_ASSERT(NoOverrun, !(push_i && 32'(ring_level_q) == Depth))
  `KS_ASSERT(LevelSum, level_q == ring_level_q + (Aw + 1)'(out_valid_q))

endmodule

`default_nettype wire
