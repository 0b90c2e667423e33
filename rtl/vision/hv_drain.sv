// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Drains finished tiles: copies the accumulators, requantises two words (2*Wb results) per cycle, or one word
// per cycle through the residual add, and writes them to the activation memory.
//
// done_i in cycle t: the accumulators are copied at the end of that cycle. Word lanes leave in order, two per
// cycle in cycles t+1 .. t+Nb/2 (one per cycle in t+1 .. t+Nb with add). A pair picked in cycle u is
// on the write port in cycle u+9 (with add: u+21). Results beyond the last output pixel are not written. Tiles
// come at least DrainCycles (DrainAddCycles) apart, so nothing ever waits here.

`default_nettype none

module hv_drain
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic        done_i,
  input  wire logic signed [Nb-1:0][Wb-1:0][31:0] acc_i,
  input  wire word_t [Nb-1:0] res_words_i,
  input  wire compute_desc_t desc_i,        // layer of the next tile when none is open
  output logic             taken_o,         // desc_i was copied (first tile of a layer)

  output logic             pbank_o,
  output logic [1:0]       pgroup_o,
  input  wire logic [Wb-1:0][31:0] pbias_i,
  input  wire logic [Wb-1:0][31:0] pmult_i,
  input  wire logic [Wb-1:0][7:0]  pshift_i,
  output logic             oct_drained_o,   // parameters of an output-channel tile are no longer needed

  output logic [1:0]       wr_valid_o,
  output bank_t [1:0]      wr_bank_o,
  output row_t [1:0]       wr_row_o,
  output word_t [1:0]      wr_data_o,
  output logic             layer_done_o,    // the last result of a layer is on the write port
  output logic             range_err_o
);

  // --- Layer and tile state --------------------------------------------------------------------
  /* verilator lint_off UNUSEDSIGNAL */  // the other units use the remaining fields
  compute_desc_t d_q;
  /* verilator lint_on UNUSEDSIGNAL */
  logic        open_q;                       // d_q has tiles to come
  logic [9:0]  oct_q;
  logic [15:0] ptile_q;
  logic [19:0] tile_o_q;                     // first output pixel of the tile being drained
  logic [15:0] oct_row_q, octg_q;
  logic        bank_q;
  logic        ptile_next_q;                 // the next tile uses the other parameter bank

  logic        active_q;                     // a tile is being drained
  logic [Lb:0] cnt_q;
  logic signed [Nb-1:0][Wb-1:0][31:0] shadow_q;

  logic take_layer, ptile_last, oct_last, cnt_last, tile_end, oct_end, layer_end;
  assign tile_end   = active_q && cnt_last;  // the last words of the tile are picked; done_i may come now
  assign oct_end    = tile_end && ptile_last;
  assign layer_end  = oct_end && oct_last;
  assign take_layer = done_i && (!open_q || layer_end);
  assign taken_o    = take_layer;
  assign ptile_last = ptile_q == d_q.nptile_m1;
  assign oct_last   = oct_q == d_q.noct_m1;
  assign cnt_last   = d_q.add ? cnt_q == (Lb+1)'(Nb - 1) : cnt_q == (Lb+1)'(Nb/2 - 1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      open_q   <= 1'b0;
      active_q <= 1'b0;
      bank_q   <= 1'b1;                      // toggled by the first tile
    end else begin
      if (done_i) active_q <= 1'b1;
      else if (tile_end) active_q <= 1'b0;
      if (take_layer) open_q <= 1'b1;
      else if (layer_end) open_q <= 1'b0;
      if (done_i && (take_layer || ptile_next_q || oct_end)) bank_q <= !bank_q;
    end
    if (done_i) begin
      shadow_q <= acc_i;
      cnt_q    <= '0;
    end else if (active_q) begin
      cnt_q <= cnt_q + (Lb+1)'(1);
    end
    if (take_layer) begin
      d_q       <= desc_i;
      oct_q     <= '0;
      ptile_q   <= '0;
      tile_o_q  <= '0;
      oct_row_q <= desc_i.out_base;
      octg_q    <= '0;
    end else if (tile_end) begin
      ptile_q  <= ptile_last ? 16'd0 : ptile_q + 16'd1;
      tile_o_q <= ptile_last ? 20'd0 : tile_o_q + (20'(Nb) >> d_q.glog);
      if (ptile_last) begin
        oct_q     <= oct_q + 10'd1;
        octg_q    <= octg_q + (16'd1 << d_q.glog);
        oct_row_q <= oct_row_q + (d_q.out_s << d_q.glog);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) ptile_next_q <= 1'b0;
    else if (done_i) ptile_next_q <= 1'b0;
    else if (oct_end) ptile_next_q <= 1'b1;
  end

  // --- D0: pick words -----------------------------------------------------------------------------
  logic [Lb-1:0] lane0;                      // first word lane of this cycle
  logic [1:0]    group;
  logic [19:0]   o0;
  logic [15:0]   row_base;
  /* verilator lint_off UNUSEDSIGNAL */  // the skew needs the low bits only
  logic [15:0]   g_index;
  /* verilator lint_on UNUSEDSIGNAL */
  assign lane0    = d_q.add ? cnt_q[Lb-1:0] : {cnt_q[Lb-2:0], 1'b0};
  assign group    = 2'(lane0 >> (Lb - 32'(d_q.glog)));
  logic [Lb-1:0] pix0;
  assign pix0     = lane0 & Lb'((Nb >> d_q.glog) - 1);
  assign o0       = tile_o_q + 20'(pix0);
  assign row_base = oct_row_q + (group[0] ? d_q.out_s : 16'd0) + (group[1] ? d_q.out_s << 1 : 16'd0);
  assign g_index  = octg_q + 16'(group);
  assign pbank_o  = bank_q;
  assign pgroup_o = group;
  assign oct_drained_o = oct_end;

  typedef struct packed {
    logic        last;                       // last results of the layer
    logic        add;
    logic [1:0]  valid;
    bank_t       bank;                       // of word 0; word 1 is in the next bank
    logic        carry;                      // word 1 is one row further
    logic [15:0] row;
    logic signed [7:0] zp, lo, hi;
  } wr_t;

  wr_t d0;
  logic [19:0] lin0;
  assign lin0 = d_q.out_p0 + o0;
  always_comb begin
    d0.last  = layer_end;
    d0.add   = d_q.add;
    d0.valid = {!d_q.add && o0 + 20'd1 < d_q.out_np, o0 < d_q.out_np};
    d0.bank  = lin0[Lb-1:0] + group_skew(g_index[Lb-1:0]);
    d0.carry = lin0[Lb-1:0] == Lb'(Nb - 1);
    d0.row   = row_base + 16'(lin0[19:Lb]);
    d0.zp    = d_q.out_zp;
    d0.lo    = d_q.act_min;
    d0.hi    = d_q.act_max;
  end

  // Pipeline of everything but the data. Stage i is valid i cycles after the pick.
  /* verilator lint_off UNUSEDSIGNAL */  // range and add flag end in the requantisation
  wr_t  [8:1] p_q;
  /* verilator lint_on UNUSEDSIGNAL */
  logic [8:1] pv_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) pv_q <= '0;
    else pv_q <= {pv_q[7:1], active_q};
    p_q <= {p_q[7:1], d0};
  end

  logic signed [1:0][Wb-1:0][31:0] acc_q;
  logic signed [Wb-1:0][31:0] bias_q, mult1_q, mult2_q;
  logic [Wb-1:0][7:0] shift1_q;
  logic [Wb-1:0][4:0] rs2_q;
  logic signed [1:0][Wb-1:0][31:0] x_q;
  // Word lanes 2i and 2i+1.
  logic [Lb-2:0] pair;
  logic signed [Wb-1:0][31:0] even, odd;
  assign pair = d_q.add ? cnt_q[Lb-1:1] : cnt_q[Lb-2:0];
  assign even = shadow_q[{pair, 1'b0}];
  assign odd  = shadow_q[{pair, 1'b1}];

  always_ff @(posedge clk_i) begin
    if (active_q) begin
      acc_q[0] <= d_q.add && cnt_q[0] ? odd : even;
      acc_q[1] <= odd;
      bias_q   <= pbias_i;
      mult1_q  <= pmult_i;
      shift1_q <= pshift_i;
    end
    mult2_q <= mult1_q;
    for (int unsigned b = 0; b < Wb; b++) begin
      rs2_q[b] <= shift1_q[b][4:0];
      if (pv_q[1]) begin
        x_q[0][b] <= (acc_q[0][b] + bias_q[b]) << shift1_q[b][6:5];
        x_q[1][b] <= (acc_q[1][b] + bias_q[b]) << shift1_q[b][6:5];
      end
    end
  end

  // --- Requantisation: lanes of word 0, and of word 1 or the add unit ---------------------------
  logic signed [1:0][Wb-1:0][7:0] y;
  logic                       add_x_valid;   // the add unit's sums enter the lanes of word 1
  logic signed [Wb-1:0][31:0] add_x;

  for (genvar b = 0; b < Wb; b++) begin : gen_requant
    hv_requant u_word0 (
      .clk_i, .en_i(pv_q[2]), .x_i(x_q[0][b]), .mult_i(mult2_q[b][30:0]), .shift_i(rs2_q[b]),
      .zp_i(p_q[2].zp), .min_i(p_q[2].lo), .max_i(p_q[2].hi), .y_o(y[0][b])
    );
    hv_requant u_word1 (
      .clk_i, .en_i(add_x_valid || pv_q[2]),
      .x_i    (add_x_valid ? add_x[b] : x_q[1][b]),
      .mult_i (add_x_valid ? d_q.add_mo[30:0] : mult2_q[b][30:0]),
      .shift_i(add_x_valid ? d_q.add_so : rs2_q[b]),
      .zp_i   (add_x_valid ? d_q.add_zp : p_q[2].zp),
      .min_i  (add_x_valid ? d_q.add_min : p_q[2].lo),
      .max_i  (add_x_valid ? d_q.add_max : p_q[2].hi),
      .y_o    (y[1][b])
    );
  end

  // --- Residual add: word 0 of pipeline stage 8 -----------------------------------------------------
  // Stage 9: operands, 10: products, 11: doubling high multiply, 12: rounding, 13: shift, 14: sum = x of word 1.
  wr_t  [20:9]  a_q;
  logic [20:9]  av_q;
  logic [Lb-1:0] res_lane_q;                 // word lane of the word in stage 8

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      av_q       <= '0;
      res_lane_q <= '0;
    end else begin
      av_q <= {av_q[19:9], pv_q[8] && p_q[8].add};
      if (pv_q[8] && p_q[8].add) res_lane_q <= res_lane_q + Lb'(1);
    end
    a_q <= {a_q[19:9], p_q[8]};
  end

  // Rounding half away from zero before a right shift by s adds 2^(s-1) - 1, and one more to values that are not
  // negative: a row of s-1 ones and a carry in.
  logic [30:0] half1, half2;
  for (genvar i = 0; i < 30; i++) begin : gen_half
    assign half1[i] = d_q.add_s1 > 5'(i + 1);
    assign half2[i] = d_q.add_s2 > 5'(i + 1);
  end
  assign half1[30] = 1'b0;
  assign half2[30] = 1'b0;

  for (genvar b = 0; b < Wb; b++) begin : gen_add
    logic signed [8:0]  v1_q, v2_q;
    logic signed [40:0] m1_q, m2_q;
    logic signed [29:0] q1_q, q2_q;
    logic signed [30:0] r1_q, r2_q;
    logic signed [30:0] s1_q, s2_q;
  /* verilator lint_off UNUSEDSIGNAL */  // bit 0 takes the carry in
    logic signed [31:0] t1, t2;
  /* verilator lint_on UNUSEDSIGNAL */

    assign t1 = $signed({31'(q1_q), 1'b1}) + $signed({half1, !q1_q[29] && d_q.add_s1 != 0});
    assign t2 = $signed({31'(q2_q), 1'b1}) + $signed({half2, !q2_q[29] && d_q.add_s2 != 0});

    always_ff @(posedge clk_i) begin
      if (pv_q[8] && p_q[8].add) begin
        v1_q <= 9'($signed(y[0][b])) - 9'($signed(d_q.add_z1));
        v2_q <= 9'($signed(res_words_i[res_lane_q][b])) - 9'($signed(d_q.add_z2));
      end
      if (av_q[9]) begin
        m1_q <= 41'(v1_q) * $signed({10'b0, d_q.add_m1[30:0]});
        m2_q <= 41'(v2_q) * $signed({10'b0, d_q.add_m2[30:0]});
      end
      if (av_q[10]) begin
        q1_q <= 30'((m1_q + 41'sd1024) >>> 11);
        q2_q <= 30'((m2_q + 41'sd1024) >>> 11);
      end
      if (av_q[11]) begin
        r1_q <= t1[31:1];
        r2_q <= t2[31:1];
      end
      if (av_q[12]) begin
        s1_q <= r1_q >>> d_q.add_s1;
        s2_q <= r2_q >>> d_q.add_s2;
      end
      if (av_q[13]) add_x[b] <= 32'(s1_q) + 32'(s2_q);
    end
  end
  assign add_x_valid = av_q[14];

  // --- Write port -------------------------------------------------------------------------------------
  // Plain results are in y in stage 8 and on the port in stage 9; added ones in y[1] in stage 20.
  /* verilator lint_off UNUSEDSIGNAL */  // range and add flag end in the requantisation
  wr_t  w;
  /* verilator lint_on UNUSEDSIGNAL */
  logic w_valid, w_add;
  assign w_add   = av_q[20];
  assign w       = w_add ? a_q[20] : p_q[8];
  assign w_valid = w_add || (pv_q[8] && !p_q[8].add);

  logic [15:0] row1;
  assign row1 = w.row + 16'(w.carry);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      wr_valid_o   <= '0;
      layer_done_o <= 1'b0;
      range_err_o  <= 1'b0;
    end else begin
      wr_valid_o   <= w_valid ? w.valid : 2'b00;
      layer_done_o <= w_valid && w.last;
      range_err_o  <= w_valid && ((w.valid[0] && w.row >= 16'(HV_ACT_ROWS)) ||
                                  (w.valid[1] && row1 >= 16'(HV_ACT_ROWS)));
    end
    if (w_valid) begin
      wr_bank_o <= {w.bank + Lb'(1), w.bank};
      wr_row_o  <= {row1[RowW-1:0], w.row[RowW-1:0]};
      wr_data_o <= {y[1], w_add ? y[1] : y[0]};
    end
  end

endmodule

`default_nettype wire
