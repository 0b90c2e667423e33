// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The rules of esa_relate and esa_decide, applied one request after the other, any of them, to 2 slots
// (2 jobs, 4 sequence numbers, 3 workers, 4 priorities, 2 tags, all policies and rules). That the pipeline
// does the same is proved in fv_esa_meta.sv.
// A contribution is followed from a DATA packet chosen at will (pick_i): worker, job and sequence number
// are whatever that packet has, so what holds for it holds for all.

`include "ks_assert.svh"
`default_nettype none

module fv_esa_decide
  import esa_pkg::*;
#(
  parameter int unsigned Slots = 2
) (
  input wire logic                     clk_i,
  input wire logic                     rst_ni,
  input wire settings_t                settings_i,
  input wire logic [Jobs-1:0][Workers-1:0] members_i,
  input wire logic [Jobs-1:0]          uplink_i,
  input wire logic                     valid_i,
  input wire logic [$clog2(Slots)-1:0] index_i,
  input wire request_t                 req_i,
  input wire logic                     flip_i,
  input wire logic                     pick_i,
  input wire logic [1:0]               worker_i
);

  localparam int unsigned Aw = $clog2(Slots);

  fv_reset u_reset (.clk_i, .rst_ni);

  function automatic count_t ones(input bitmap_t bits);
    ones = '0;
    for (int unsigned i = 0; i < Workers; i++) ones = ones + count_t'(bits[i]);
  endfunction

  // --- Surroundings --------------------------------------------------------------------------------
  logic started_q = 1'b0;
  settings_t settings_q;
  logic [Jobs-1:0][Workers-1:0] members_q;
  logic [Jobs-1:0] uplink_q;
  always_ff @(posedge clk_i) begin
    started_q  <= 1'b1;
    settings_q <= settings_i;
    members_q  <= members_i;
    uplink_q   <= uplink_i;
    if (started_q) SettingsStay : assume (settings_q == settings_i && members_q == members_i && uplink_q == uplink_i);
  end
  `KS_ASSUME(Policy, settings_i.policy inside {POLICY_ESA, POLICY_ATP, POLICY_SWITCHML} &&
                     settings_i.completed inside {DONE_FREE, DONE_HOLD, DONE_VIA_PS})
  `KS_ASSUME(JobsHaveMembers, members_i[0] != '0 && members_i[1] != '0)
  // What esa_check promises of a request.
  `KS_ASSUME(KindKnown, req_i.kind <= K_CLEAR)
  `KS_ASSUME(BadVerdict, req_i.bad <= V_BAD_PORT)
  `KS_ASSUME(OfItsJob, req_i.members == members_i[req_i.job] && req_i.uplink == uplink_i[req_i.job])
  `KS_ASSUME(CountHolds, req_i.count == ones(req_i.bitmap))
  `KS_ASSUME(DataOfMembers, req_i.kind != K_DATA || (req_i.bitmap != '0 &&
                                                     (req_i.bitmap & ~req_i.members) == '0))
  `KS_ASSUME(ResendOfSomebody, req_i.kind != K_RESEND || req_i.bitmap != '0)
  // SwitchML: pools of jobs are disjoint.
  `KS_ASSUME(PoolsDisjoint, settings_i.policy != POLICY_SWITCHML || req_i.job == jidx_t'(index_i) ||
                            req_i.kind inside {K_BAD, K_CLEAR, K_PURGE})

  // --- The machine: one request a cycle, decided at once -------------------------------------------
  slot_t [Slots-1:0] ref_q;
  slot_t             p_old_q, dec_slot;
  relation_t         relation;
  contents_t         contents;
  change_e           change;
  logic              dec_valid, dec_write, unused_flip;
  logic [Aw-1:0]     dec_index;
  request_t          dec_req;
  decision_t         dec;

  assign dec_valid = valid_i;
  assign dec_req   = req_i;
  assign dec_index = index_i;
  assign p_old_q   = ref_q[index_i];
  assign dec_slot  = after_change(change, contents);
  assign dec_write = change != KEPT;

  esa_relate u_relate (.req_i, .slot_i(p_old_q), .rel_o(relation));
  esa_decide dut (
    .settings_i, .req_i, .slot_i(p_old_q), .rel_i(relation), .flip_i,
    .contents_o(contents), .change_o(change), .dec_o(dec), .used_flip_o(unused_flip)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) ref_q <= '0;
    else if (valid_i) ref_q[index_i] <= dec_slot;
  end

  // --- Slots ---------------------------------------------------------------------------------------
  for (genvar s = 0; s < Slots; s++) begin : gen_slot
    `KS_ASSERT(CountIsPopcount, ref_q[s].count == ones(ref_q[s].bitmap))
    `KS_ASSERT(FreeIffNobody, ref_q[s].valid == (ref_q[s].bitmap != '0))
    `KS_ASSERT(OnlyMembers, (ref_q[s].bitmap & ~members_i[ref_q[s].job]) == '0)
    `KS_ASSERT(PoolKept, settings_i.policy != POLICY_SWITCHML || !ref_q[s].valid ||
                         ref_q[s].job == jidx_t'(s))
    // With slots freed at once none holds a complete sum.
    `KS_ASSERT(NoneComplete, settings_i.completed != DONE_FREE || settings_i.policy == POLICY_SWITCHML ||
                             !ref_q[s].valid || ref_q[s].bitmap != members_i[ref_q[s].job])
  end

  // --- Rules of the decision, ----------------------------------------
  logic same_id, loses, complete_old;
  assign same_id      = p_old_q.valid && p_old_q.job == dec_req.job && p_old_q.seq == dec_req.seq;
  assign complete_old = p_old_q.bitmap == members_i[p_old_q.job];
  // What the slot held of an aggregation is not there any more.
  assign loses = p_old_q.valid && !(dec_slot.valid && dec_slot.job == p_old_q.job &&
                                    dec_slot.seq == p_old_q.seq);

  `KS_ASSERT(OneVerdict, !dec_valid || dec_req.kind inside {K_PURGE, K_CLEAR} ||
             (dec_req.kind == K_BAD ? dec.verdict == dec_req.bad :
              dec.verdict >= V_BAD_TAG && dec.verdict <= V_FORWARDED))
  `KS_ASSERT(BadTouchesNothing, !(dec_valid && dec_req.kind == K_BAD) ||
             (!dec_write && dec.out == OUT_NONE && !dec.value_write))
  // Preemption: ESA only, and by the published rule only a strictly higher priority.
  `KS_ASSERT(PreemptsHigher, !(dec_valid && dec.verdict == V_PREEMPTED) ||
             (settings_i.policy == POLICY_ESA && p_old_q.valid && !same_id &&
              (settings_i.preempt != PREEMPT_HIGHER || dec_req.prio > p_old_q.prio)))
  `KS_ASSERT(HigherPreempts, !(dec_valid && dec.verdict == V_COLLIDED && !same_id &&
                               settings_i.policy == POLICY_ESA && settings_i.preempt == PREEMPT_HIGHER) ||
             dec_req.prio <= p_old_q.prio)
  // Swap: in the same step the old contents leave whole and the packet is in.
  `KS_ASSERT(SwapIsAtomic, !(dec_valid && dec.verdict == V_PREEMPTED) ||
             (dec.op == OP_SWAP && dec.value_write && dec.out == OUT_SLOT && dec.as == AS_PARTIAL &&
              dec.to == TO_PS && dec.view == p_old_q && dec_slot.valid && dec_slot.job == dec_req.job &&
              dec_slot.seq == dec_req.seq && dec_slot.bitmap == dec_req.bitmap &&
              dec_slot.prio == dec_req.prio))
  // A collision ages the slot: never up, never below its shift, nothing else changes.
  `KS_ASSERT(DowngradeNeverWraps, !(dec_valid && dec.verdict == V_COLLIDED) ||
             (dec_slot.prio <= p_old_q.prio && dec_slot.valid && dec_slot.bitmap == p_old_q.bitmap &&
              dec_slot.job == p_old_q.job && dec_slot.seq == p_old_q.seq &&
              (settings_i.policy == POLICY_ESA || dec_slot.prio == p_old_q.prio)))
  `KS_ASSERT(DowngradeShifts, !(dec_valid && dec.verdict == V_COLLIDED && !same_id &&
                                settings_i.policy == POLICY_ESA) ||
             dec_slot.prio == p_old_q.prio >> settings_i.downgrade)
  // Only a packet of the slot's own id, or the control side, frees it.
  `KS_ASSERT(MatchFrees, !(dec_valid && p_old_q.valid && !dec_slot.valid) || same_id ||
             dec_req.kind == K_CLEAR || (dec_req.kind == K_PURGE && dec_req.job == p_old_q.job))
  // An emission of a slot is of the slot or of the packet's own id, and says truly who is in it.
  `KS_ASSERT(ViewIsTrue, !(dec_valid && dec.out == OUT_SLOT) ||
             (dec.view.valid && dec.view.count == ones(dec.view.bitmap) &&
              dec.view.bitmap == ((dec.op == OP_READ || dec.op == OP_SWAP) ? p_old_q.bitmap :
                                  dec.op == OP_ADD ? (p_old_q.bitmap | dec_req.bitmap) : dec_req.bitmap)))
  // Values follow the bitmap: added only what is not in it, stored over only what is not of the id.
  `KS_ASSERT(AddsOnce, !(dec_valid && dec.op == OP_ADD) ||
             (same_id && p_old_q.tag == dec_req.tag && (p_old_q.bitmap & dec_req.bitmap) == '0))
  `KS_ASSERT(WriteFollowsSlot, !(dec_valid && dec_slot.valid) ||
             (dec.value_write ? dec_slot.bitmap == (dec.op == OP_ADD ? p_old_q.bitmap | dec_req.bitmap :
                                                                        dec_req.bitmap) :
                                dec_slot.bitmap == p_old_q.bitmap))
  // A complete sum has all members.
  `KS_ASSERT(ResultIsComplete, !(dec_valid && dec.out == OUT_SLOT && dec.as != AS_PARTIAL) ||
             dec.view.bitmap == members_i[dec.view.job])
  // What a slot loses has left: with a partial or a result in the same step, or it was complete (and was
  // sent when it became so), or the packet that frees it carries it or says that all have the result.
  `KS_ASSERT(NothingLost, !(dec_valid && loses) || dec_req.kind inside {K_CLEAR, K_PURGE, K_RESULT} ||
             (dec.out == OUT_SLOT && dec.view.job == p_old_q.job && dec.view.seq == p_old_q.seq &&
              (p_old_q.bitmap & ~dec.view.bitmap) == '0) ||
             (dec.out == OUT_PACKET && dec_req.kind == K_RESEND &&
              (p_old_q.bitmap & ~dec_req.bitmap) == '0) || complete_old)
  // What leaves as an incomplete partial is not in the slot any more.
  `KS_ASSERT(PartialLeaves, !(dec_valid && dec.out == OUT_SLOT && dec.view.bitmap != members_i[dec.view.job]) ||
             !(dec_slot.valid && dec_slot.job == dec.view.job && dec_slot.seq == dec.view.seq))
  // A packet that is passed on leaves nothing in the slot.
  `KS_ASSERT(PassedOnIsNotStored, !(dec_valid && dec.out == OUT_PACKET) || !dec_slot.valid ||
             dec_slot.bitmap == p_old_q.bitmap)

  // --- One contribution, followed ------------------------------------------------------------------
  typedef enum logic [1:0] { NOT_YET, IN_SLOT, GONE } where_e;   // GONE: emitted, at the PS, or refused
  where_e        where_q;
  logic [Aw-1:0] place_q;
  jidx_t         job_q;
  seq_t          seq_q;
  logic [1:0]    worker_q;
  logic          mine, at_place, stays;    // `mine`: the chosen packet is decided now
  logic          at_ps_q, emitted_q;       // where it went

  assign mine     = where_q == NOT_YET && pick_i && valid_i && req_i.kind == K_DATA &&
                    32'(worker_i) < Workers && req_i.bitmap[worker_i];
  assign at_place = valid_i && where_q == IN_SLOT && index_i == place_q;
  assign stays    = dec_slot.valid && dec_slot.job == job_q && dec_slot.seq == seq_q &&
                    dec_slot.bitmap[worker_q];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      where_q   <= NOT_YET;
      at_ps_q   <= 1'b0;
      emitted_q <= 1'b0;
    end else if (mine) begin
      worker_q  <= worker_i;
      job_q     <= req_i.job;
      seq_q     <= req_i.seq;
      place_q   <= index_i;
      at_ps_q   <= dec.out == OUT_PACKET;
      emitted_q <= dec.out == OUT_SLOT && dec.view.job == req_i.job &&
                   dec.view.seq == req_i.seq && dec.view.bitmap[worker_i] &&
                   !(dec_write && dec_slot.valid);
      // Taken in by this packet (a duplicate is not: the slot had it before).
      where_q   <= dec_write && dec.value_write && dec_slot.valid ? IN_SLOT : GONE;
    end else if (at_place && dec_write && !stays) begin
      where_q   <= GONE;
      emitted_q <= dec.out == OUT_SLOT;
    end
  end

  // While it is in the slot, the slot says so, and it is nowhere else.
  `KS_ASSERT(InSlotIsThere, where_q != IN_SLOT || (ref_q[place_q].valid && ref_q[place_q].job == job_q &&
             ref_q[place_q].seq == seq_q && ref_q[place_q].bitmap[worker_q] && 32'(worker_q) < Workers))
  `KS_ASSERT(AtMostOnePlace, 2'(where_q == IN_SLOT) + 2'(at_ps_q) + 2'(emitted_q) <= 2'd1)
  `KS_ASSERT(NotYetNowhere, where_q != NOT_YET || (!at_ps_q && !emitted_q))
  // It leaves the slot once: with an emission that names it, or the slot was complete and is given up.
  `KS_ASSERT(LeavesNamed, !(at_place && dec_write && !stays) ||
             req_i.kind inside {K_CLEAR, K_PURGE, K_RESULT} ||
             (dec.out == OUT_SLOT && dec.view.bitmap[worker_q] && dec.view.job == job_q &&
              dec.view.seq == seq_q) ||
             (dec.out == OUT_PACKET && req_i.bitmap[worker_q] && req_i.job == job_q && req_i.seq == seq_q) ||
             p_old_q.bitmap == members_i[job_q])

  // --- Covers --------------------------------------------------------------------------------------
  `KS_COVER(Preemption, dec_valid && dec.verdict == V_PREEMPTED)
  `KS_COVER(Collision, dec_valid && dec.verdict == V_COLLIDED && dec_write && p_old_q.prio != '0)
  `KS_COVER(Duplicate, dec_valid && dec.verdict == V_DUPLICATE)
  `KS_COVER(Reminder, dec_valid && dec.verdict == V_FLUSHED && dec.view.count == count_t'(2))
  `KS_COVER(Completion, dec_valid && dec.verdict == V_COMPLETED && dec.op == OP_ADD &&
                        dec.view.count == count_t'(3) && !dec_slot.valid)
  `KS_COVER(HeldAnswer, dec_valid && dec.verdict == V_ANSWERED)
  `KS_COVER(SwitchMlTakeover, dec_valid && dec.verdict == V_STORED && p_old_q.valid)
  `KS_COVER(ResendFlush, dec_valid && dec.verdict == V_RESENT_FLUSH && dec.op == OP_ADD)
  `KS_COVER(FollowedIntoPartial, where_q == GONE && emitted_q)
  `KS_COVER(FollowedToPs, where_q == GONE && at_ps_q)

endmodule

`default_nettype wire
