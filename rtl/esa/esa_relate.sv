// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// How a request stands to the contents of a slot: every comparison of the aggregation switch, apart from
// the decision that they lead to (esa_decide), so that the pipeline can make them one cycle before.
// Purely combinational.

`default_nettype none

module esa_relate
  import esa_pkg::*;
(
  /* verilator lint_off UNUSED */   // the rest of a request does not matter here
  input  wire request_t  req_i,
  input  wire slot_t     slot_i,
  /* verilator lint_on UNUSED */
  output relation_t      rel_o
);

  seq_t    seq_diff;
  bitmap_t both;

  assign seq_diff = req_i.seq - slot_i.seq;
  assign both     = slot_i.bitmap | req_i.bitmap;

  always_comb begin
    rel_o = '0;
    if (slot_i.valid) begin
      rel_o.in_use      = 1'b1;
      rel_o.same_job    = slot_i.job == req_i.job;
      rel_o.same_id     = slot_i.job == req_i.job && slot_i.seq == req_i.seq;
      rel_o.same_tag    = slot_i.tag == req_i.tag;
      rel_o.overlap     = (slot_i.bitmap & req_i.bitmap) != '0;
      rel_o.packet_more = (req_i.bitmap & ~slot_i.bitmap) != '0;
      rel_o.slot_more   = (slot_i.bitmap & ~req_i.bitmap) != '0;
      rel_o.slot_done   = slot_i.bitmap == req_i.members;
      rel_o.done_after  = both == req_i.members;
      rel_o.higher      = req_i.prio > slot_i.prio;
      rel_o.newer       = !seq_diff[SeqW-1] && seq_diff != '0;
    end
    rel_o.alone = req_i.bitmap == req_i.members;
  end

endmodule

`default_nettype wire
