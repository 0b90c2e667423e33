// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Counters in a block RAM: rows of Fields counters of 32 bits, which wrap.
//
// One operation per cycle, also all on the same row: add 1 to the fields in add_i, or clear the row, or
// only read it. A row is read in cycle t, its new value is made in t+1 from the memory's word or from
// one of the two operations before it (newest first), written at the end of t+2. rdata_o is the row
// before the operation of cycle t, in t+2. Rows are not reset: the control side clears them.

`include "ks_assert.svh"
`default_nettype none

module esa_counters #(
  parameter int unsigned Depth  = 32,   // rows, >= 2
  parameter int unsigned Fields = 1,    // counters of a row
  localparam int unsigned Aw = $clog2(Depth)
) (
  input  wire logic                    clk_i,
  input  wire logic                    rst_ni,
  input  wire logic                    valid_i,
  input  wire logic [Aw-1:0]           row_i,
  input  wire logic [Fields-1:0]       add_i,
  input  wire logic                    clear_i,
  output logic [Fields-1:0][31:0]      rdata_o
);

  if (Depth < 2 || Fields < 1) begin : gen_bad_size
    $error("esa_counters: Depth must be at least 2 and Fields at least 1");
  end

  (* no_rw_check *) logic [32*Fields-1:0] mem [Depth];
  logic [32*Fields-1:0]    read_q;
  logic [Fields-1:0][31:0] old, value, value2_q, value3_q;
  logic                    valid1_q, valid2_q, valid3_q, clear1_q;
  logic [Aw-1:0]           row1_q, row2_q, row3_q;
  logic [Fields-1:0]       add1_q;

  always_comb begin
    if (valid2_q && row2_q == row1_q) old = value2_q;
    else if (valid3_q && row3_q == row1_q) old = value3_q;
    else old = read_q;
    for (int unsigned i = 0; i < Fields; i++)
      value[i] = clear1_q ? 32'd0 : old[i] + 32'(add1_q[i]);
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) read_q <= mem[row_i];
    if (valid2_q) mem[row2_q] <= value2_q;
    row1_q   <= row_i;
    add1_q   <= add_i;
    clear1_q <= clear_i;
    row2_q   <= row1_q;
    value2_q <= value;
    row3_q   <= row2_q;
    value3_q <= value2_q;
    rdata_o  <= old;
    if (!rst_ni) begin
      valid1_q <= 1'b0;
      valid2_q <= 1'b0;
      valid3_q <= 1'b0;
    end else begin
      valid1_q <= valid_i;
      valid2_q <= valid1_q;
      valid3_q <= valid2_q;
    end
  end

  `KS_ASSERT(ClearOrAdd, !(valid1_q && clear1_q && add1_q != '0))

endmodule

`default_nettype wire
