// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Metadata of the aggregator slots: read, decide, write, as a pipeline that behaves as if the packets
// came one at a time. One request per cycle, also all to the same slot; no back-pressure.
//
// A request in cycle t (valid_i) reads the memory; t+1: the word that was read; t+2: comparisons of request
// and slot (esa_relate); t+3: decision (esa_decide); t+4: decision at dec_o with dec_valid_o, memory
// written at its end. Four older requests can still be in flight; the newest of the same slot counts,
// whether it changed the slot or not: what a decision leaves is what its slot holds then. The two that
// are past their decision when the word has been read are looked at first, the other two after it.
// The request right before is decided while the comparisons are made: they are made with everything that
// it can leave in the slot, and the decision selects among the results.
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

  output logic               dec_valid_o,    // cycle t+4; held until the next one
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
  request_t      req2_q, req3_q, req4_q, req5_q;
  logic [SlotW-1:0] read_q;
  slot_t         slot3_q, base3, slot4_q, decided, slot5_q, slot6_q;
  relation_t     base_rel, kept_rel, fresh_rel, added_rel, aged_rel, near_rel, rel4_q;
  contents_t     contents;
  change_e       change;
  logic          write5_q, used_flip;
  decision_t     dec_new, dec5_q;
  logic [31:0]   lfsr_q;

  // The request in stage 2 is for the same slot as the one that is in stage 5 or 6 at the same time; that
  // in stage 3 as the one in 4 or 5. Found one cycle before.
  logic same2_5_q, same2_6_q, same3_4_q, same3_5_q;

  // --- 2: the word that was read, or newer
  logic [SlotW-1:0] word2;
  always_comb begin
    if (same2_5_q) word2 = slot5_q;
    else if (same2_6_q) word2 = slot6_q;
    else word2 = read_q;
  end

  // --- 3: comparisons, with all that the slot can hold
  assign base3 = same3_5_q ? slot5_q : slot3_q;

  esa_relate u_base (.req_i(req3_q), .slot_i(base3), .rel_o(base_rel));
  esa_relate u_kept (.req_i(req3_q), .slot_i(contents.kept), .rel_o(kept_rel));
  esa_relate u_fresh (.req_i(req3_q), .slot_i(contents.fresh), .rel_o(fresh_rel));
  esa_relate u_added (.req_i(req3_q), .slot_i(contents.added), .rel_o(added_rel));
  esa_relate u_aged (.req_i(req3_q), .slot_i(contents.aged), .rel_o(aged_rel));

  always_comb begin
    unique case (change)
      KEPT:    near_rel = kept_rel;
      FRESH:   near_rel = fresh_rel;
      ADDED:   near_rel = added_rel;
      AGED:    near_rel = aged_rel;
      default: begin                   // free
        near_rel       = '0;
        near_rel.alone = base_rel.alone;
      end
    endcase
  end

  // --- 4: decision
  esa_decide u_decide (
    .settings_i, .req_i(req4_q), .slot_i(slot4_q), .rel_i(rel4_q), .flip_i(lfsr_q[1]),
    .contents_o(contents), .change_o(change), .dec_o(dec_new), .used_flip_o(used_flip)
  );
  assign decided = after_change(change, contents);

  always_ff @(posedge clk_i) begin
    if (valid_i) read_q <= mem[index_i];
    if (valid5_q && write5_q) mem[index5_q] <= slot5_q;

    index2_q <= index_i;
    req2_q   <= req_i;
    index3_q <= index2_q;
    req3_q   <= req2_q;
    slot3_q  <= word2;
    index4_q <= index3_q;
    req4_q   <= req3_q;
    slot4_q  <= same3_4_q ? decided : base3;
    rel4_q   <= same3_4_q ? near_rel : base_rel;
    if (valid4_q) begin
      index5_q <= index4_q;
      req5_q   <= req4_q;
      dec5_q   <= dec_new;
      slot5_q  <= decided;
      write5_q <= change != KEPT;
    end
    slot6_q <= slot5_q;

    same2_5_q <= valid4_q && index4_q == index_i;
    same2_6_q <= valid5_q && index5_q == index_i;
    same3_4_q <= valid3_q && index3_q == index2_q;
    same3_5_q <= valid4_q && index4_q == index2_q;

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
      if (valid4_q && used_flip && settings_i.preempt == PREEMPT_RANDOM)
        lfsr_q <= {1'b0, lfsr_q[31:1]} ^ (lfsr_q[0] ? 32'hA300_0000 : 32'd0);
    end
  end

  assign dec_valid_o = valid5_q;
  assign dec_index_o = index5_q;
  assign dec_req_o   = req5_q;
  assign dec_o       = dec5_q;
  assign dec_write_o = write5_q;
  assign dec_slot_o  = slot5_q;

  // A free slot names no contributor, and no other slot does.
  `KS_ASSERT(FreeIsEmpty, !(valid5_q && write5_q) || slot5_q.valid == (slot5_q.bitmap != '0))
  `KS_ASSERT(CountIsPopcount, !(valid5_q && write5_q) || 32'(slot5_q.count) == $countones(slot5_q.bitmap))

endmodule

`default_nettype wire
