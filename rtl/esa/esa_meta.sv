// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Metadata of the aggregator slots: read, decide, write, as a pipeline that behaves as if the packets
// came one at a time. One request per cycle, also all to the same slot; no back-pressure.
//
// A request in cycle t (valid_i) reads the memory; t+1: the word that was read, or newer contents
// from one of the three requests before it that are still in flight, newest first; t+2: decision
// (esa_decide); t+3: decision at dec_o with dec_valid_o, memory written at its end. Contents are
// forwarded whether they were changed or not: what a decision leaves is what its slot holds then.
// The memory is not reset: the control side clears every slot with K_CLEAR before the first packet.

`include "ks_assert.svh"
`default_nettype none

module esa_meta
  import esa_pkg::*;
#(
  parameter int unsigned Slots = 16,         // slots, a power of two >= 2
  localparam int unsigned Aw = $clog2(Slots)
) (
  input  wire logic          clk_i,
  input  wire logic          rst_ni,
  input  wire settings_t     settings_i,     // stable while packets are in flight

  input  wire logic          valid_i,        // cycle t
  input  wire logic [Aw-1:0] index_i,
  input  wire request_t      req_i,

  output logic               dec_valid_o,    // cycle t+3; held until the next one
  output logic [Aw-1:0]      dec_index_o,
  output request_t           dec_req_o,
  output decision_t          dec_o,
  output logic               dec_write_o,    // the slot changes
  output slot_t              dec_slot_o      // what the slot holds from now on
);

  if (Slots < 2 || 2 ** Aw != Slots) begin : gen_bad_slots
    $error("esa_meta: Slots must be a power of two >= 2");
  end

  localparam int unsigned SlotW = $bits(slot_t);

  (* no_rw_check *) logic [SlotW-1:0] mem [Slots];

  logic          valid2_q, valid3_q, valid4_q, valid5_q;
  logic [Aw-1:0] index2_q, index3_q, index4_q, index5_q;
  request_t      req2_q, req3_q, req4_q;
  logic [SlotW-1:0] read_q;
  slot_t         forwarded, old_q, slot_new, slot4_q, slot5_q;
  logic          write_new, write4_q, used_flip;
  decision_t     dec_new, dec4_q;
  logic [31:0]   lfsr_q;

  // Newest first: the request one, two or three before this one.
  always_comb begin
    if (valid3_q && index3_q == index2_q) forwarded = slot_new;
    else if (valid4_q && index4_q == index2_q) forwarded = slot4_q;
    else if (valid5_q && index5_q == index2_q) forwarded = slot5_q;
    else forwarded = slot_t'(read_q);
  end

  esa_decide u_decide (
    .settings_i, .req_i(req3_q), .slot_i(old_q), .flip_i(lfsr_q[1]),
    .slot_o(slot_new), .write_o(write_new), .dec_o(dec_new), .used_flip_o(used_flip)
  );

  always_ff @(posedge clk_i) begin
    if (valid_i) read_q <= mem[index_i];
    if (valid4_q && write4_q) mem[index4_q] <= slot4_q;

    index2_q <= index_i;
    req2_q   <= req_i;
    index3_q <= index2_q;
    req3_q   <= req2_q;
    old_q    <= forwarded;
    if (valid3_q) begin
      index4_q <= index3_q;
      req4_q   <= req3_q;
      dec4_q   <= dec_new;
      slot4_q  <= slot_new;
      write4_q <= write_new;
    end
    index5_q <= index4_q;
    slot5_q  <= slot4_q;

    if (!rst_ni) begin
      valid2_q <= 1'b0;
      valid3_q <= 1'b0;
      valid4_q <= 1'b0;
      valid5_q <= 1'b0;
      lfsr_q   <= 32'hACE1_ACE1;
    end else begin
      valid2_q <= valid_i;
      valid3_q <= valid2_q;
      valid4_q <= valid3_q;
      valid5_q <= valid4_q;
      // Galois LFSR, stepped by each use; flip is bit 0 of its next state.
      if (valid3_q && used_flip && settings_i.preempt == PREEMPT_RANDOM)
        lfsr_q <= {1'b0, lfsr_q[31:1]} ^ (lfsr_q[0] ? 32'hA300_0000 : 32'd0);
    end
  end

  assign dec_valid_o = valid4_q;
  assign dec_index_o = index4_q;
  assign dec_req_o   = req4_q;
  assign dec_o       = dec4_q;
  assign dec_write_o = write4_q;
  assign dec_slot_o  = slot4_q;

  // A free slot names no contributor, and no other slot does.
  `KS_ASSERT(FreeIsEmpty, !(valid4_q && write4_q) || slot4_q.valid == (slot4_q.bitmap != '0))
  `KS_ASSERT(CountIsPopcount, !(valid4_q && write4_q) || 32'(slot4_q.count) == $countones(slot4_q.bitmap))

endmodule

`default_nettype wire
