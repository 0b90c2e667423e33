// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The decision of the aggregation switch: (slot, packet) -> (slot, value operation, emission, verdict),
// one packet at a time, for the policies ESA, ATP and SwitchML. Purely combinational; the policies
// differ in nothing but this block. Specification: sw_ref/esa/switch.{hpp,cpp}, case by case.
//
// Every request has exactly one verdict; a slot is written only for the request's own slot index; at
// most one emission. flip_i is the random bit of PREEMPT_RANDOM and used_flip_o says that it was used.

`include "ks_assert.svh"
`default_nettype none

module esa_decide
  import esa_pkg::*;
(
  input  wire settings_t settings_i,
  input  wire request_t  req_i,
  input  wire slot_t     slot_i,
  input  wire logic      flip_i,
  output slot_t          slot_o,       // = slot_i unless write_o
  output logic           write_o,
  output decision_t      dec_o,
  output logic           used_flip_o
);

  logic    same_id, same_tag, alone, overlap, done_after, slot_done, takes, newer, via_ps;
  seq_t    seq_diff;
  slot_t   fresh, added, aged, freed;
  logic    completing;   // the emission is a complete sum

  assign same_id    = slot_i.valid && slot_i.job == req_i.job && slot_i.seq == req_i.seq;
  assign same_tag   = slot_i.tag == req_i.tag;
  assign alone      = req_i.bitmap == req_i.members;
  assign overlap    = (slot_i.bitmap & req_i.bitmap) != '0;
  assign slot_done  = slot_i.bitmap == req_i.members;
  assign done_after = (slot_i.bitmap | req_i.bitmap) == req_i.members;
  assign seq_diff   = req_i.seq - slot_i.seq;
  assign newer      = !seq_diff[SeqW-1] && seq_diff != '0;
  assign via_ps     = settings_i.policy != POLICY_SWITCHML && settings_i.completed == DONE_VIA_PS;

  always_comb begin
    unique case (settings_i.preempt)
      PREEMPT_HIGHER: takes = req_i.prio > slot_i.prio;
      PREEMPT_NEVER:  takes = 1'b0;
      PREEMPT_ALWAYS: takes = 1'b1;
      default:        takes = flip_i;
    endcase
  end

  always_comb begin
    fresh = '{valid: 1'b1, job: req_i.job, seq: req_i.seq, bitmap: req_i.bitmap, count: req_i.count,
              prio: req_i.prio, ecn: req_i.ecn, tag: req_i.tag};
    added        = slot_i;
    added.bitmap = slot_i.bitmap | req_i.bitmap;
    added.count  = slot_i.count + req_i.count;
    added.prio   = req_i.prio > slot_i.prio ? req_i.prio : slot_i.prio;
    added.ecn    = slot_i.ecn || req_i.ecn;
    aged         = slot_i;
    aged.prio    = slot_i.prio >> settings_i.downgrade;
    freed        = slot_i;
    freed.valid  = 1'b0;
    freed.bitmap = '0;
    freed.count  = '0;
  end

  always_comb begin
    slot_o      = slot_i;
    write_o     = 1'b0;
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
        end else if (alone) begin                // never takes a slot, never meets old memory
          dec_o.verdict = V_COMPLETED;
          dec_o.op      = OP_OVERWRITE;
          dec_o.view    = fresh;
          completing    = 1'b1;
        end else if (!slot_i.valid) begin
          dec_o.verdict     = V_STORED;
          dec_o.op          = OP_OVERWRITE;
          dec_o.value_write = 1'b1;
          slot_o            = fresh;
          write_o           = 1'b1;
        end else if (same_id) begin
          if (!same_tag) begin
            dec_o.verdict = V_BAD_TAG;
          end else if (overlap) begin
            if ((req_i.bitmap & ~slot_i.bitmap) != '0) begin   // several workers, in the slot in part
              dec_o.verdict       = V_COLLIDED;
              dec_o.out           = OUT_PACKET;
              dec_o.set_collision = 1'b1;
            end else if (!slot_done) begin
              dec_o.verdict = V_DUPLICATE;
            end else begin
              dec_o.verdict = V_ANSWERED;
              completing    = 1'b1;
            end
          end else begin
            dec_o.verdict     = V_ADDED;
            dec_o.op          = OP_ADD;
            dec_o.value_write = 1'b1;
            slot_o            = added;
            write_o           = 1'b1;
            if (done_after) begin
              dec_o.verdict = V_COMPLETED;
              dec_o.view    = added;
              completing    = 1'b1;
              if (settings_i.policy != POLICY_SWITCHML && settings_i.completed == DONE_FREE)
                slot_o = freed;
            end
          end
        end else if (settings_i.policy == POLICY_SWITCHML) begin
          if (newer && slot_done) begin
            dec_o.verdict     = V_STORED;
            dec_o.op          = OP_OVERWRITE;
            dec_o.value_write = 1'b1;
            slot_o            = fresh;
            write_o           = 1'b1;
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
            slot_o            = fresh;
            write_o           = 1'b1;
          end else begin
            dec_o.verdict       = V_COLLIDED;
            dec_o.out           = OUT_PACKET;
            dec_o.set_collision = 1'b1;
            if (settings_i.policy == POLICY_ESA) begin
              slot_o  = aged;
              write_o = 1'b1;
            end
          end
        end
      end

      K_RESEND: begin
        if (!same_id) begin
          dec_o.verdict = V_RESENT;
          dec_o.out     = OUT_PACKET;
        end else if (!same_tag) begin
          dec_o.verdict = V_BAD_TAG;
        end else begin
          dec_o.verdict = V_RESENT_FLUSH;
          slot_o        = freed;
          write_o       = 1'b1;
          if (!overlap) begin                    // both, added on the way out
            dec_o.op   = OP_ADD;
            dec_o.out  = OUT_SLOT;
            dec_o.view = added;
          end else if ((slot_i.bitmap & ~req_i.bitmap) != '0) begin
            dec_o.out = OUT_SLOT;                // the slot has what the packet brings, and more
          end else begin
            dec_o.out = OUT_PACKET;              // the packet has all that the slot has
          end
        end
      end

      K_REMINDER: begin
        if (same_id) begin
          dec_o.verdict = V_FLUSHED;
          dec_o.out     = OUT_SLOT;
          slot_o        = freed;
          write_o       = 1'b1;
        end else begin
          dec_o.verdict      = V_NEGATIVE;
          dec_o.out          = OUT_PACKET;
          dec_o.set_negative = 1'b1;
          dec_o.to           = req_i.negative ? TO_MEMBERS : TO_PS;
        end
      end

      K_RESULT: begin
        dec_o.verdict = same_id ? V_FREED : V_FORWARDED;
        dec_o.out     = OUT_PACKET;
        dec_o.to      = TO_MEMBERS;
        if (same_id) begin
          slot_o  = freed;
          write_o = 1'b1;
        end
      end

      K_ACK: begin
        if (req_i.uplink) begin
          dec_o.verdict = V_FORWARDED;
          dec_o.out     = OUT_PACKET;
        end else if (same_id && slot_done) begin
          dec_o.verdict = V_FREED;
          slot_o        = freed;
          write_o       = 1'b1;
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

      K_PURGE: begin
        slot_o  = freed;
        write_o = slot_i.valid && slot_i.job == req_i.job;
        if (!write_o) slot_o = slot_i;
      end

      K_CLEAR: begin
        slot_o  = '0;
        write_o = 1'b1;
      end

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
