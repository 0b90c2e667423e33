// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Queue of compute descriptors and preparation of the next one.
//
// Up to eight descriptors wait in a memory. While a layer runs, the next descriptor is copied into
// registers, one word per cycle, so a layer change costs no cycle here.
// Timing: a descriptor whose word 15 is written in cycle t can be read from cycle t+1; word i is
// requested in cycle s+i and lands in cycle s+i+1; valid_o rises in cycle s+18. take_i empties the register.

`default_nettype none

module hv_cfgq
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic                clk_i,
  input  wire logic                rst_ni,

  input  wire logic                we_i,      // one word of a descriptor
  input  wire logic [3:0]          widx_i,
  input  wire logic [63:0]         wdata_i,
  output logic                     room_o,    // a whole descriptor fits
  output logic                     empty_o,   // nothing queued or prepared

  output logic                     valid_o,
  output compute_desc_t            desc_o,
  input  wire logic                take_i
);

  localparam int unsigned Depth = 8;

  // A descriptor is read only after its last word is written, so no read meets a write of its word.
  (* no_rw_check *) logic [63:0] mem [Depth*16];
  logic [2:0]  wptr_q, rptr_q;
  logic [3:0]  level_q;        // descriptors written and not yet completely read
  logic        full_write, read_done;

  // Copy state: word counter 0..17 (16 requests, then the last word lands).
  logic        busy_q;
  logic [4:0]  word_q;
  logic [63:0] rdata_q;
  logic        rvalid_q;
  logic [3:0]  ridx_q;
  logic [15:0][63:0] desc_q;
  logic        valid_q;

  assign full_write = we_i && widx_i == 4'd15;
  assign room_o = level_q + 4'(full_write) < 4'(Depth);

  always_ff @(posedge clk_i) begin
    if (we_i) mem[{wptr_q, widx_i}] <= wdata_i;
    rdata_q <= mem[{rptr_q, word_q[3:0]}];
  end

  assign read_done = busy_q && word_q == 5'd17;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      wptr_q   <= '0;
      rptr_q   <= '0;
      level_q  <= '0;
      busy_q   <= 1'b0;
      valid_q  <= 1'b0;
      rvalid_q <= 1'b0;
      word_q   <= '0;
    end else begin
      if (full_write) wptr_q <= wptr_q + 3'd1;
      level_q <= level_q + 4'(full_write) - 4'(read_done);

      if (take_i) valid_q <= 1'b0;
      if (!busy_q) begin
        if (!valid_q && level_q != 0) begin
          busy_q <= 1'b1;
          word_q <= '0;
        end
      end else begin
        word_q <= word_q + 5'd1;
        if (read_done) begin
          busy_q  <= 1'b0;
          valid_q <= 1'b1;
          rptr_q  <= rptr_q + 3'd1;
        end
      end
      rvalid_q <= busy_q && !word_q[4];
    end
    ridx_q <= word_q[3:0];
    if (rvalid_q) desc_q[ridx_q] <= rdata_q;
  end

  assign empty_o = level_q == 0 && !busy_q && !valid_q;
  assign valid_o = valid_q;
  assign desc_o  = compute_desc_t'(desc_q);

endmodule

`default_nettype wire
