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
      NoLateWrite : assume (!dut.valid4_q);
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
  // It takes the requests two cycles after they came, the cycle in which the pipeline decides.
  slot_t [Slots-1:0] ref_q;
  logic              v1_q, v2_q, v3_q;
  logic [Aw-1:0]     i1_q, i2_q, i3_q;
  request_t          r1_q, r2_q, r3_q;
  decision_t         d3_q;
  logic              w3_q;

  always_ff @(posedge clk_i) begin
    {i1_q, r1_q} <= {index_i, req_i};
    {i2_q, r2_q} <= {i1_q, r1_q};
    if (v2_q) begin
      {i3_q, r3_q} <= {i2_q, r2_q};
      d3_q         <= dut.dec_new;
      w3_q         <= dut.write_new;
    end
    if (!rst_ni) begin
      v1_q  <= 1'b0;
      v2_q  <= 1'b0;
      v3_q  <= 1'b0;
      ref_q <= '0;
    end else begin
      v1_q <= valid_i;
      v2_q <= v1_q;
      v3_q <= v2_q;
      if (v2_q && dut.write_new) ref_q[i2_q] <= dut.slot_new;
    end
  end

  // The decision is made on what one-at-a-time would have in the slot.
  `KS_ASSERT(DecidedOnTruth, !v2_q || (dut.old_q == ref_q[i2_q] && dut.req3_q == r2_q &&
                                       dut.index3_q == i2_q))
  // One verdict for each request, three cycles later, in order, with the slot as it is then.
  `KS_ASSERT(VerdictForEach, dec_valid == v3_q)
  `KS_ASSERT(SameRequest, !v3_q || (dec_index == i3_q && dec_req == r3_q))
  `KS_ASSERT(SameDecision, !v3_q || (dec == d3_q && dec_write == w3_q))
  `KS_ASSERT(SameSlot, !v3_q || dec_slot == ref_q[i3_q])
  // It is so because memory and what is in flight is what the reference holds.
  `KS_ASSERT(InFlight, v1_q == dut.valid2_q && v2_q == dut.valid3_q)
  `KS_ASSERT(InFlight1, !v1_q || (i1_q == dut.index2_q && r1_q == dut.req2_q))
  `KS_ASSERT(InFlightSane1, !v1_q || (r1_q.count == ones(r1_q.bitmap) &&
                                      (r1_q.kind != K_DATA || r1_q.bitmap != '0)))
  `KS_ASSERT(InFlightSane2, !v2_q || (r2_q.count == ones(r2_q.bitmap) &&
                                      (r2_q.kind != K_DATA || r2_q.bitmap != '0)))
  for (genvar s = 0; s < Slots; s++) begin : gen_memory
    `KS_ASSERT(MemoryIsReference, ref_q[s] == ((dut.valid4_q && dut.index4_q == Aw'(s)) ? dut.slot4_q :
                                              slot_t'(dut.mem[s])))
  end
  `KS_ASSERT(ReadIsReference, !v1_q ||
             ref_q[i1_q] == ((dut.valid4_q && dut.index4_q == i1_q) ? dut.slot4_q :
                             (dut.valid5_q && dut.index5_q == i1_q) ? dut.slot5_q : slot_t'(dut.read_q)))
  `KS_ASSERT(UnwrittenIsUnchanged, !(dut.valid4_q && !dut.write4_q) ||
             dut.slot4_q == slot_t'(dut.mem[dut.index4_q]))
  // For the assertions inside.
  for (genvar s = 0; s < Slots; s++) begin : gen_slot
    `KS_ASSERT(CountIsPopcount, ref_q[s].count == ones(ref_q[s].bitmap))
    `KS_ASSERT(FreeIffNobody, ref_q[s].valid == (ref_q[s].bitmap != '0))
  end

  // Four requests in four cycles to one slot, each of which changes it.
  logic [2:0] run_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || !(v3_q && dec_write)) run_q <= '0;
    else if (v2_q && i2_q == i3_q && run_q != 3'd7) run_q <= run_q + 3'd1;
    else run_q <= '0;
  end
  `KS_COVER(BackToBack, run_q == 3'd3 && dec_valid && dec.verdict == V_PREEMPTED && dec_slot.count != '0)
  `KS_COVER(BackToBackCompletion, run_q == 3'd2 && dec_valid && dec.verdict == V_COMPLETED && !dec_slot.valid)

endmodule

`default_nettype wire
