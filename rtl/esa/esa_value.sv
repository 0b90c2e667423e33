// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Value lanes of the aggregator slots: one memory access per beat, a fixed number of stages behind the
// metadata. The address comes with rd_addr_i in cycle t, the beat and its operation in cycle t+2, the
// beat that leaves is at out_o in cycle t+3, and the memory holds the new value for reads from t+4 on.
// So the same address must not come again within 3 cycles: a packet takes one header beat and at least
// 3 value beats, hence back-to-back packets to one slot never meet (asserted).
//   op         memory becomes   leaves        (write_i low: memory stays)
//   overwrite  in               in
//   add        old + in         old + in
//   read       -                old           (never writes)
//   swap       in               old           one access: there is no moment at which both or none exist
// Lanes are of 32, 16 or 8 bits in network byte order, and sums wrap in the lane. No back-pressure;
// nothing but the write pulse is reset.

`include "ks_assert.svh"
`default_nettype none

module esa_value
  import esa_pkg::*;
#(
  parameter int unsigned Depth = 64,        // beats of the memory
  parameter int unsigned Bytes = 64,        // of a beat, a multiple of 4
  localparam int unsigned Aw = $clog2(Depth)
) (
  input  wire logic               clk_i,
  input  wire logic               rst_ni,

  input  wire logic               rd_en_i,      // cycle t
  input  wire logic [Aw-1:0]      rd_addr_i,
  input  wire logic               lanes8_i,     // cycle t+1: lanes of 8 bits
  input  wire logic               lanes16_i,    // lanes of 16 bits
  input  wire logic [8*Bytes-1:0] in_i,         // cycle t+2
  input  wire value_op_e          op_i,
  input  wire logic               write_i,
  output logic [8*Bytes-1:0]      out_o         // cycle t+3
);

  if (Bytes < 4 || Bytes % 4 != 0) begin : gen_bad_bytes
    $error("esa_value: Bytes must be a multiple of 4");
  end

  (* no_rw_check *) logic [8*Bytes-1:0] mem [Depth];
  logic [8*Bytes-1:0] read_q, old_q, new_q, sum;
  logic [2:0]         en_q;          // reads of cycles t-1, t-2, t-3
  logic [2:0][Aw-1:0] addr_q;
  logic               write_q;

  // Byte 3 of a 32-bit lane is its lowest. One carry chain a lane: between two bytes is a bit of its own
  // that adds to the carry 1, which passes it on, or 0, which ends it.
  logic within16_q, within32_q;      // carries pass inside 16 bits, inside 32 bits
  always_comb begin
    for (int unsigned i = 0; i < Bytes; i += 4) begin
      logic [34:0] a, b;
      /* verilator lint_off UNUSED */   // the bits between
      logic [34:0] s;
      /* verilator lint_on UNUSED */
      a = {old_q[8*i +: 8], within16_q, old_q[8*(i+1) +: 8], within32_q, old_q[8*(i+2) +: 8], within16_q,
           old_q[8*(i+3) +: 8]};
      b = {in_i[8*i +: 8], 1'b0, in_i[8*(i+1) +: 8], 1'b0, in_i[8*(i+2) +: 8], 1'b0, in_i[8*(i+3) +: 8]};
      s = a + b;
      sum[8*i +: 32] = {s[7:0], s[16:9], s[25:18], s[34:27]};
    end
  end

  always_ff @(posedge clk_i) begin
    if (rd_en_i) read_q <= mem[rd_addr_i];
    if (write_q) mem[addr_q[2]] <= new_q;
    old_q <= read_q;
    new_q <= op_i == OP_ADD ? sum : in_i;
    unique case (op_i)
      OP_ADD:           out_o <= sum;
      OP_READ, OP_SWAP: out_o <= old_q;
      default:          out_o <= in_i;
    endcase
    within16_q <= !lanes8_i;
    within32_q <= !lanes8_i && !lanes16_i;
    addr_q     <= {addr_q[1:0], rd_addr_i};
    if (!rst_ni) begin
      en_q    <= '0;
      write_q <= 1'b0;
    end else begin
      en_q    <= {en_q[1:0], rd_en_i};
      write_q <= en_q[1] && write_i && op_i != OP_READ;
    end
  end

  `KS_ASSERT(NoEarlyReturn, !(rd_en_i && ((en_q[0] && addr_q[0] == rd_addr_i) ||
                                          (en_q[1] && addr_q[1] == rd_addr_i) ||
                                          (en_q[2] && addr_q[2] == rd_addr_i))))

endmodule

`default_nettype wire
