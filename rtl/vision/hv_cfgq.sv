// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Queue of compute descriptors and preparation of the next one.
//
// Up to eight descriptors wait in a memory. While a layer runs, the next descriptor is copied into
// registers (one word per cycle) and the start coordinates of all lanes are walked out (one lane
// per cycle, starting when words 3 and 4 are there), so a layer change costs no cycle here.
// Timing: a descriptor whose word 15 is written in cycle t can be read from cycle t+1; word i is
// requested in cycle s+i and lands in cycle s+i+1; lane i is shifted in in cycle s+6+i; valid_o
// rises in cycle s+6+Nb+1 or s+18, whichever is later. take_i empties the register.

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
  output coord_t [Nb-1:0]          ix_o,      // coordinates of every word lane at tap (0, 0)
  output coord_t [Nb-1:0]          iy_o,
  output lin_t   [Nb-1:0]          lin_o,
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

  // Lane walker.
  logic [7:0]  lane_q;         // lanes shifted in so far
  logic        walk_q;
  coord_t      wx_q, wy_q;
  lin_t        wl_q;
  coord_t [Nb-1:0] ix_q, iy_q;
  lin_t   [Nb-1:0] lin_q;

  compute_desc_t desc;
  assign desc = compute_desc_t'(desc_q);

  assign full_write = we_i && widx_i == 4'd15;
  assign room_o = level_q + 4'(full_write) < 4'(Depth);

  always_ff @(posedge clk_i) begin
    if (we_i) mem[{wptr_q, widx_i}] <= wdata_i;
    rdata_q <= mem[{rptr_q, word_q[3:0]}];
  end

  logic copy_end, walk_end;
  assign copy_end  = word_q == 5'd17;
  assign walk_end  = lane_q == 8'(Nb);
  assign read_done = busy_q && copy_end && walk_end;

  // Pixels per tile repeat for every channel group, so the walk restarts after P lanes.
  logic [7:0] pix_mask;
  logic       restart;
  assign pix_mask = (8'(Nb) >> desc.glog) - 8'd1;
  assign restart  = ((lane_q + 8'd1) & pix_mask) == 8'd0;

  coord_t nx;
  assign nx = wx_q + $signed({4'b0, desc.sx});

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      wptr_q   <= '0;
      rptr_q   <= '0;
      level_q  <= '0;
      busy_q   <= 1'b0;
      valid_q  <= 1'b0;
      rvalid_q <= 1'b0;
      walk_q   <= 1'b0;
      word_q   <= '0;
      lane_q   <= '0;
    end else begin
      if (full_write) wptr_q <= wptr_q + 3'd1;
      level_q <= level_q + 4'(full_write) - 4'(read_done);

      if (take_i) valid_q <= 1'b0;
      if (!busy_q) begin
        if (!valid_q && level_q != 0) begin
          busy_q <= 1'b1;
          word_q <= '0;
          lane_q <= '0;
        end
      end else begin
        if (!copy_end) word_q <= word_q + 5'd1;
        if (word_q == 5'd5) walk_q <= 1'b1;
        if (walk_q) begin
          lane_q <= lane_q + 8'd1;
          if (lane_q == 8'(Nb - 1)) walk_q <= 1'b0;
        end
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
    if (word_q == 5'd5 && busy_q) begin
      wx_q <= desc.ix0;
      wy_q <= desc.iy0;
      wl_q <= desc.lin0;
    end
    if (walk_q) begin
      ix_q  <= {wx_q, ix_q[Nb-1:1]};
      iy_q  <= {wy_q, iy_q[Nb-1:1]};
      lin_q <= {wl_q, lin_q[Nb-1:1]};
      if (restart) begin
        wx_q <= desc.ix0;
        wy_q <= desc.iy0;
        wl_q <= desc.lin0;
      end else if (nx >= $signed(desc.limx)) begin
        wx_q <= nx - $signed(desc.wrapx);
        wy_q <= wy_q + $signed({4'b0, desc.sy});
        wl_q <= wl_q + $signed({12'b0, desc.sx}) + $signed(desc.wraplin);
      end else begin
        wx_q <= nx;
        wl_q <= wl_q + $signed({12'b0, desc.sx});
      end
    end
  end

  assign empty_o = level_q == 0 && !busy_q && !valid_q;
  assign valid_o = valid_q;
  assign desc_o  = desc;
  assign ix_o    = ix_q;
  assign iy_o    = iy_q;
  assign lin_o   = lin_q;

endmodule

`default_nettype wire
