// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The pipeline esa_meta, one request per cycle, any of them, to 2 slots: it behaves as if requests came one
// at a time. The reference beside it is an array of slots: each request's decision must be made on what the
// array holds when all requests before it are done, and what it decides goes into the array at once. As the
// decision itself is a function (esa_decide, whose rules fv_esa_decide.sv proves), nothing else can differ.

`include "ks_assert.svh"
`default_nettype none

module fv_esa_meta
  import esa_pkg::*;
#(
  parameter int unsigned Slots = 2
) (
  input wire logic                     clk_i,
  input wire logic                     rst_ni,
  input wire settings_t                settings_i,
  input wire logic                     valid_i,
  input wire logic [$clog2(Slots)-1:0] index_i,
  input wire request_t                 req_i
);

  localparam int unsigned Aw = $clog2(Slots);

  logic          dec_valid, dec_write;
  logic [Aw-1:0] dec_index;
  request_t      dec_req;
  decision_t     dec;
  slot_t         dec_slot;

  fv_reset u_reset (.clk_i, .rst_ni);
  esa_meta #(.Slots(Slots)) dut (
    .clk_i, .rst_ni, .settings_i, .valid_i, .index_i, .req_i,
    .dec_valid_o(dec_valid), .dec_index_o(dec_index), .dec_req_o(dec_req), .dec_o(dec),
    .dec_write_o(dec_write), .dec_slot_o(dec_slot)
  );

  // Reset comes once; the slots were cleared (the sweep after reset is tested in simulation).
  logic started_q = 1'b0;
  always_ff @(posedge clk_i) begin
    started_q <= 1'b1;
    ResetOnce : assume (!started_q || rst_ni);
    if (!rst_ni) begin
      NoLateWrite : assume (!dut.valid5_q);
      Cleared0    : assume (dut.mem[0] == '0);
      Cleared1    : assume (dut.mem[1] == '0);
    end
  end
  // What esa_check promises of a request, as far as the assertions inside rely on it.
  function automatic count_t ones(input bitmap_t bits);
    ones = '0;
    for (int unsigned i = 0; i < Workers; i++) ones = ones + count_t'(bits[i]);
  endfunction
  `KS_ASSUME(CountHolds, req_i.count == ones(req_i.bitmap))
  `KS_ASSUME(DataOfSomebody, req_i.kind != K_DATA || req_i.bitmap != '0)

  // --- The reference -------------------------------------------------------------------------------
  // It takes the requests three cycles after they came, the cycle in which the pipeline decides.
  slot_t [Slots-1:0] ref_q;
  logic              v1_q, v2_q, v3_q, v4_q, v6_q;
  logic [Aw-1:0]     i1_q, i2_q, i3_q, i4_q, i6_q;
  request_t          r1_q, r2_q, r3_q, r4_q;
  decision_t         d4_q;
  logic              w4_q;
  relation_t         truth;

  always_ff @(posedge clk_i) begin
    {i1_q, r1_q} <= {index_i, req_i};
    {i2_q, r2_q} <= {i1_q, r1_q};
    {i3_q, r3_q} <= {i2_q, r2_q};
    if (v3_q) begin
      {i4_q, r4_q} <= {i3_q, r3_q};
      d4_q         <= dut.dec_new;
      w4_q         <= dut.change != KEPT;
    end
    i6_q <= dut.index5_q;
    if (!rst_ni) begin
      v1_q  <= 1'b0;
      v2_q  <= 1'b0;
      v3_q  <= 1'b0;
      v4_q  <= 1'b0;
      v6_q  <= 1'b0;
      ref_q <= '0;
    end else begin
      v1_q <= valid_i;
      v2_q <= v1_q;
      v3_q <= v2_q;
      v4_q <= v3_q;
      v6_q <= dut.valid5_q;
      if (v3_q && dut.change != KEPT) ref_q[i3_q] <= dut.decided;
    end
  end
  esa_relate u_truth (.req_i(r3_q), .slot_i(ref_q[i3_q]), .rel_o(truth));

  // The decision is made on what one-at-a-time would have in the slot.
  `KS_ASSERT(DecidedOnTruth, !v3_q || (dut.slot4_q == ref_q[i3_q] && dut.rel4_q == truth &&
                                       dut.req4_q == r3_q && dut.index4_q == i3_q))
  // One verdict for each request, four cycles later, in order, with the slot as it is then.
  `KS_ASSERT(VerdictForEach, dec_valid == v4_q)
  `KS_ASSERT(SameRequest, !v4_q || (dec_index == i4_q && dec_req == r4_q))
  `KS_ASSERT(SameDecision, !v4_q || (dec == d4_q && dec_write == w4_q))
  `KS_ASSERT(SameSlot, !v4_q || dec_slot == ref_q[i4_q])
  // It is so because memory and what is in flight is what the reference holds.
  `KS_ASSERT(InFlight, v1_q == dut.valid2_q && v2_q == dut.valid3_q && v3_q == dut.valid4_q)
  `KS_ASSERT(InFlight1, !v1_q || (i1_q == dut.index2_q && r1_q == dut.req2_q))
  `KS_ASSERT(InFlight2, !v2_q || (i2_q == dut.index3_q && r2_q == dut.req3_q))
  `KS_ASSERT(InFlightSane1, !v1_q || (r1_q.count == ones(r1_q.bitmap) &&
                                      (r1_q.kind != K_DATA || r1_q.bitmap != '0)))
  `KS_ASSERT(InFlightSane2, !v2_q || (r2_q.count == ones(r2_q.bitmap) &&
                                      (r2_q.kind != K_DATA || r2_q.bitmap != '0)))
  `KS_ASSERT(InFlightSane3, !v3_q || (r3_q.count == ones(r3_q.bitmap) &&
                                      (r3_q.kind != K_DATA || r3_q.bitmap != '0)))
  `KS_ASSERT(SameSlot2, !v1_q || (dut.same2_5_q == (dut.valid5_q && dut.index5_q == i1_q) &&
                                  dut.same2_6_q == (v6_q && i6_q == i1_q)))
  `KS_ASSERT(SameSlot3, !v2_q || (dut.same3_4_q == (v3_q && i3_q == i2_q) &&
                                  dut.same3_5_q == (dut.valid5_q && dut.index5_q == i2_q)))
  for (genvar s = 0; s < Slots; s++) begin : gen_memory
    `KS_ASSERT(MemoryIsReference, ref_q[s] == ((dut.valid5_q && dut.index5_q == Aw'(s)) ? dut.slot5_q :
                                              slot_t'(dut.mem[s])))
  end
  `KS_ASSERT(ReadIsReference, !v1_q || ref_q[i1_q] == slot_t'(dut.word2))
  `KS_ASSERT(BaseIsReference, !v2_q || ref_q[i2_q] == dut.base3)
  `KS_ASSERT(UnwrittenIsUnchanged, !(dut.valid5_q && !dut.write5_q) ||
             dut.slot5_q == slot_t'(dut.mem[dut.index5_q]))
  // For the assertions inside.
  for (genvar s = 0; s < Slots; s++) begin : gen_slot
    `KS_ASSERT(CountIsPopcount, ref_q[s].count == ones(ref_q[s].bitmap))
    `KS_ASSERT(FreeIffNobody, ref_q[s].valid == (ref_q[s].bitmap != '0))
  end

  // Five requests in five cycles to one slot, each of which changes it.
  logic [2:0] run_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || !(v4_q && dec_write)) run_q <= '0;
    else if (v3_q && i3_q == i4_q && run_q != 3'd7) run_q <= run_q + 3'd1;
    else run_q <= '0;
  end
  `KS_COVER(BackToBack, run_q == 3'd4 && dec_valid && dec.verdict == V_PREEMPTED && dec_slot.count != '0)
  `KS_COVER(BackToBackCompletion, run_q == 3'd2 && dec_valid && dec.verdict == V_COMPLETED && !dec_slot.valid)

endmodule

`default_nettype wire
