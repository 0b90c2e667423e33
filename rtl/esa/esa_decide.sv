// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The decision of the aggregation switch: (slot, packet) -> (slot, value operation, emission, verdict),
// one packet at a time, for the policies ESA, ATP and SwitchML. Purely combinational; the policies
// differ in nothing but this block. Every comparison of packet and slot was made before it (esa_relate).
// Specification: sw_ref/esa/switch.{hpp,cpp}, case by case.
//
// Every request has exactly one verdict; a slot is written only for the request's own slot index; at
// most one emission. flip_i is the random bit of PREEMPT_RANDOM and used_flip_o says that it was used.

`include "ks_assert.svh"
`default_nettype none

module esa_decide
  import esa_pkg::*;
(
  input  wire settings_t settings_i,
  /* verilator lint_off UNUSED */   // members are of interest to the comparisons only
  input  wire request_t  req_i,
  /* verilator lint_on UNUSED */
  input  wire slot_t     slot_i,
  input  wire relation_t rel_i,        // = esa_relate(req_i, slot_i)
  input  wire logic      flip_i,
  output contents_t      contents_o,   // what the slot can hold after it,
  output change_e        change_o,     // and which of it
  output decision_t      dec_o,
  output logic           used_flip_o
);

  logic    takes, via_ps;
  logic    completing;   // the emission is a complete sum

  assign via_ps = settings_i.policy != POLICY_SWITCHML && settings_i.completed == DONE_VIA_PS;

  always_comb begin
    unique case (settings_i.preempt)
      PREEMPT_HIGHER: takes = rel_i.higher;
      PREEMPT_NEVER:  takes = 1'b0;
      PREEMPT_ALWAYS: takes = 1'b1;
      default:        takes = flip_i;
    endcase
  end

  always_comb begin
    contents_o.kept  = slot_i;
    contents_o.fresh = '{valid: 1'b1, job: req_i.job, seq: req_i.seq, bitmap: req_i.bitmap,
                         count: req_i.count, prio: req_i.prio, ecn: req_i.ecn, tag: req_i.tag};
    contents_o.added        = slot_i;
    contents_o.added.bitmap = slot_i.bitmap | req_i.bitmap;
    contents_o.added.count  = slot_i.count + req_i.count;
    contents_o.added.prio   = rel_i.higher ? req_i.prio : slot_i.prio;
    contents_o.added.ecn    = slot_i.ecn || req_i.ecn;
    contents_o.aged         = slot_i;
    contents_o.aged.prio    = slot_i.prio >> settings_i.downgrade;
    contents_o.freed        = slot_i;
    contents_o.freed.valid  = 1'b0;
    contents_o.freed.bitmap = '0;
    contents_o.freed.count  = '0;
  end

  always_comb begin
    change_o    = KEPT;
    used_flip_o = 1'b0;
    completing  = 1'b0;
    dec_o = '{verdict: req_i.bad, op: OP_READ, value_write: 1'b0, out: OUT_NONE, to: TO_PS,
              as: AS_PARTIAL, set_collision: 1'b0, set_negative: 1'b0, keep_set: 1'b1,
              view: slot_i};

    case (req_i.kind)
      K_DATA: begin
        if (req_i.collision) begin               // refused by a switch before this one
          dec_o.verdict = V_FORWARDED;
          dec_o.out     = OUT_PACKET;
        end else if (rel_i.alone) begin          // never takes a slot, never meets old memory
          dec_o.verdict = V_COMPLETED;
          dec_o.op      = OP_OVERWRITE;
          dec_o.view    = contents_o.fresh;
          completing    = 1'b1;
        end else if (!rel_i.in_use) begin
          dec_o.verdict     = V_STORED;
          dec_o.op          = OP_OVERWRITE;
          dec_o.value_write = 1'b1;
          change_o          = FRESH;
        end else if (rel_i.same_id) begin
          if (!rel_i.same_tag) begin
            dec_o.verdict = V_BAD_TAG;
          end else if (rel_i.overlap) begin
            if (rel_i.packet_more) begin             // several workers, in the slot in part
              dec_o.verdict       = V_COLLIDED;
              dec_o.out           = OUT_PACKET;
              dec_o.set_collision = 1'b1;
            end else if (!rel_i.slot_done) begin
              dec_o.verdict = V_DUPLICATE;
            end else begin
              dec_o.verdict = V_ANSWERED;
              completing    = 1'b1;
            end
          end else begin
            dec_o.verdict     = V_ADDED;
            dec_o.op          = OP_ADD;
            dec_o.value_write = 1'b1;
            change_o          = ADDED;
            if (rel_i.done_after) begin
              dec_o.verdict = V_COMPLETED;
              dec_o.view    = contents_o.added;
              completing    = 1'b1;
              if (settings_i.policy != POLICY_SWITCHML && settings_i.completed == DONE_FREE)
                change_o = FREED;
            end
          end
        end else if (settings_i.policy == POLICY_SWITCHML) begin
          if (rel_i.newer && rel_i.slot_done) begin
            dec_o.verdict     = V_STORED;
            dec_o.op          = OP_OVERWRITE;
            dec_o.value_write = 1'b1;
            change_o          = FRESH;
          end else begin
            dec_o.verdict = V_STALE;
          end
        end else begin
          if (settings_i.policy == POLICY_ESA) used_flip_o = 1'b1;
          if (settings_i.policy == POLICY_ESA && takes) begin
            dec_o.verdict     = V_PREEMPTED;     // the old contents leave, the packet takes the slot
            dec_o.op          = OP_SWAP;
            dec_o.value_write = 1'b1;
            dec_o.out         = OUT_SLOT;
            dec_o.keep_set    = 1'b0;
            change_o          = FRESH;
          end else begin
            dec_o.verdict       = V_COLLIDED;
            dec_o.out           = OUT_PACKET;
            dec_o.set_collision = 1'b1;
            if (settings_i.policy == POLICY_ESA) change_o = AGED;
          end
        end
      end

      K_RESEND: begin
        if (!rel_i.same_id) begin
          dec_o.verdict = V_RESENT;
          dec_o.out     = OUT_PACKET;
        end else if (!rel_i.same_tag) begin
          dec_o.verdict = V_BAD_TAG;
        end else begin
          dec_o.verdict = V_RESENT_FLUSH;
          change_o      = FREED;
          if (!rel_i.overlap) begin              // both, added on the way out
            dec_o.op   = OP_ADD;
            dec_o.out  = OUT_SLOT;
            dec_o.view = contents_o.added;
          end else if (rel_i.slot_more) begin
            dec_o.out = OUT_SLOT;                // the slot has what the packet brings, and more
          end else begin
            dec_o.out = OUT_PACKET;              // the packet has all that the slot has
          end
        end
      end

      K_REMINDER: begin
        if (rel_i.same_id) begin
          dec_o.verdict = V_FLUSHED;
          dec_o.out     = OUT_SLOT;
          change_o      = FREED;
        end else begin
          dec_o.verdict      = V_NEGATIVE;
          dec_o.out          = OUT_PACKET;
          dec_o.set_negative = 1'b1;
          dec_o.to           = req_i.negative ? TO_MEMBERS : TO_PS;
        end
      end

      K_RESULT: begin
        dec_o.verdict = rel_i.same_id ? V_FREED : V_FORWARDED;
        dec_o.out     = OUT_PACKET;
        dec_o.to      = TO_MEMBERS;
        if (rel_i.same_id) change_o = FREED;
      end

      K_ACK: begin
        if (req_i.uplink) begin
          dec_o.verdict = V_FORWARDED;
          dec_o.out     = OUT_PACKET;
        end else if (rel_i.same_id && rel_i.slot_done) begin
          dec_o.verdict = V_FREED;
          change_o      = FREED;
        end else begin
          dec_o.verdict = V_IGNORED;
        end
      end

      K_PARTIAL, K_NORM: begin
        dec_o.verdict = V_FORWARDED;
        dec_o.out     = OUT_PACKET;
      end

      K_NORM_RESULT: begin
        dec_o.verdict = V_FORWARDED;
        dec_o.out     = OUT_PACKET;
        dec_o.to      = TO_MEMBERS;
      end

      K_PURGE: if (rel_i.same_job) change_o = FREED;

      K_CLEAR: change_o = CLEARED;

      default: ;                                 // K_BAD: the verdict says what was wrong
    endcase

    if (completing) begin
      dec_o.out = OUT_SLOT;
      if (req_i.uplink) begin
        dec_o.as = AS_DATA;
      end else if (!via_ps) begin
        dec_o.as = AS_RESULT;
        dec_o.to = dec_o.verdict == V_ANSWERED ? TO_SENDER : TO_MEMBERS;
      end
    end
  end

endmodule

`default_nettype wire
