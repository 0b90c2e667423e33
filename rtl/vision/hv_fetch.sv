// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Operand fetch: walks the loop nest of a layer and turns each (pixel tile, tap, channel group) into
// reads of the activation banks, one request per word lane.
//
// F1 registers the linear pixel index and the in-bounds flag of every lane, F2 registers bank, row and
// the matrix of lanes that meet in one bank, F3 grants the lowest pending lane of every bank
// each cycle until no lane is left. Lanes outside the map read nothing and get the pad byte. With
// unit stride all lanes hit different banks and every stage moves once per cycle.
// Stall rule: F3 may fire when issue_ready_i is high; F2, F1 and the counters follow.

`default_nettype none

module hv_fetch
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic        start_i,         // begin the layer in desc_i, ix_i.. hold lane starts
  /* verilator lint_off UNUSEDSIGNAL */  // the other units use the remaining fields
  input  wire compute_desc_t desc_i,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire coord_t [Nb-1:0] ix_i,
  input  wire coord_t [Nb-1:0] iy_i,
  input  wire lin_t   [Nb-1:0] lin_i,
  output logic             running_o,       // operations of this layer are still to be put into F1
  output logic             busy_o,          // F1 or F2 occupied

  output logic             issue_valid_o,   // F3: requests of one operation
  input  wire logic        issue_ready_i,
  output logic [Nb-1:0]    bank_en_o,
  output row_t [Nb-1:0]    bank_row_o,
  output logic [Nb-1:0]    grant_o,         // lanes served by this issue
  output bank_t [Nb-1:0]   lane_bank_o,
  output logic [Nb-1:0]    pad_o,           // lanes that read the pad byte
  output logic             issue_last_o,    // all lanes of the operation are served
  output op_tag_t          tag_o,
  output logic [7:0]       pad_byte_o,
  output logic             range_err_o      // a row beyond the memory was addressed
);

  // --- Loop nest ----------------------------------------------------------------------------------
  logic        run_q;
  coord_t [Nb-1:0] ix_q, iy_q;
  lin_t   [Nb-1:0] lin_q;
  logic [9:0]  oct_q;
  logic [15:0] ptile_q;
  logic [7:0]  ky_q, kx_q;
  logic [9:0]  icg_q;
  logic        res_q;                         // the residual access at the end of a tile
  coord_t      tx_q, ty_q;
  lin_t        toff_q;
  logic [15:0] grow_q;                        // row of the input group (dense) or first group of the tile
  logic [15:0] oct_row_q, res_row_q;
  logic [15:0] octg_q;                        // first channel group of the tile
  logic [19:0] tile_p_q, left_q;              // first output pixel of the tile, pixels left
  logic        first_q;

  logic [Lb:0] p_count;                       // P
  logic [Lb-1:0] p_mask;                      // P - 1
  logic [2:0]  g_count;
  assign g_count = 3'd1 << desc_i.glog;
  assign p_count = (Lb+1)'(Nb) >> desc_i.glog;
  assign p_mask  = Lb'((Nb - 1) >> desc_i.glog);

  logic kx_last, ky_last, icg_last, taps_last, tile_last, ptile_last, oct_last, advance;
  assign icg_last   = desc_i.depthwise || icg_q == desc_i.icg_m1;
  assign kx_last    = kx_q == desc_i.kw_m1;
  assign ky_last    = ky_q == desc_i.kh_m1;
  assign taps_last  = icg_last && kx_last && ky_last;
  assign tile_last  = desc_i.add ? res_q : taps_last;
  assign ptile_last = ptile_q == desc_i.nptile_m1;
  assign oct_last   = oct_q == desc_i.noct_m1;

  logic f1_valid_q, f1_ready;
  assign advance = run_q && f1_ready;
  assign running_o = run_q;

  // Pixel step of all lanes.
  coord_t [Nb-1:0] nx;
  logic   [Nb-1:0] wrap;
  for (genvar w = 0; w < Nb; w++) begin : gen_step
    assign nx[w]   = ix_q[w] + $signed(desc_i.stepx);
    assign wrap[w] = nx[w] >= $signed(desc_i.limx);
  end

  // Rows from the first channel group of the tile to group j.
  logic [3:0][15:0] gstep;
  logic [15:0] gstride;
  assign gstride = res_q ? desc_i.res_s : desc_i.in_s;
  assign gstep   = {gstride + (gstride << 1), gstride << 1, gstride, 16'd0};

  logic [15:0] gs_in, gs_res;
  assign gs_in  = desc_i.in_s << desc_i.glog;
  assign gs_res = desc_i.res_s << desc_i.glog;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      run_q <= 1'b0;
    end else if (start_i) begin
      run_q <= 1'b1;
    end else if (advance && tile_last && ptile_last && oct_last) begin
      run_q <= 1'b0;
    end

    if (start_i) begin
      oct_q     <= '0;
      octg_q    <= '0;
      oct_row_q <= desc_i.in_base;
      res_row_q <= desc_i.res_base;
    end else if (advance && tile_last && ptile_last) begin
      oct_q     <= oct_q + 10'd1;
      octg_q    <= octg_q + 16'(g_count);
      oct_row_q <= oct_row_q + gs_in;
      res_row_q <= res_row_q + gs_res;
    end

    if (start_i || (advance && tile_last && ptile_last)) begin
      ptile_q  <= '0;
      tile_p_q <= '0;
      left_q   <= desc_i.out_np;
      ix_q     <= ix_i;
      iy_q     <= iy_i;
      lin_q    <= lin_i;
    end else if (advance && tile_last) begin
      ptile_q  <= ptile_q + 16'd1;
      tile_p_q <= tile_p_q + 20'(p_count);
      left_q   <= left_q - 20'(p_count);
      for (int unsigned w = 0; w < Nb; w++) begin
        ix_q[w]  <= wrap[w] ? nx[w] - $signed(desc_i.wrapx) : nx[w];
        iy_q[w]  <= iy_q[w] + $signed(desc_i.stepy) + (wrap[w] ? $signed({4'b0, desc_i.sy}) : 12'sd0);
        lin_q[w] <= lin_q[w] + desc_i.steplin + (wrap[w] ? desc_i.wraplin : 20'sd0);
      end
    end

    if (start_i || (advance && tile_last)) begin
      ky_q    <= '0;
      kx_q    <= '0;
      icg_q   <= '0;
      res_q   <= 1'b0;
      tx_q    <= '0;
      ty_q    <= '0;
      toff_q  <= '0;
      first_q <= 1'b1;
      grow_q  <= start_i ? desc_i.in_base
               : !desc_i.depthwise ? desc_i.in_base
               : ptile_last ? oct_row_q + gs_in : oct_row_q;
    end else if (advance) begin
      first_q <= 1'b0;
      icg_q   <= icg_q + 10'd1;
      if (!desc_i.depthwise) grow_q <= grow_q + desc_i.in_s;
      if (icg_last) begin
        icg_q <= '0;
        if (!desc_i.depthwise) grow_q <= desc_i.in_base;
        kx_q   <= kx_q + 8'd1;
        tx_q   <= tx_q + $signed({4'b0, desc_i.dilx});
        toff_q <= toff_q + $signed({12'b0, desc_i.dilx});
        if (kx_last) begin
          kx_q   <= '0;
          tx_q   <= '0;
          ky_q   <= ky_q + 8'd1;
          ty_q   <= ty_q + $signed({4'b0, desc_i.dily});
          toff_q <= toff_q + desc_i.tliny;
        end
      end
      if (taps_last) res_q <= 1'b1;
    end
  end

  // --- F1: linear index and bounds ---------------------------------------------------------------
  lin_t  [Nb-1:0]  f1_lin_q;
  logic  [Nb-1:0]  f1_inb_q, f1_act_q;
  logic  [3:0][15:0] f1_row_q;                 // row of channel group j's first word
  bank_t [3:0]     f1_skew_q;
  op_tag_t         f1_tag_q;
  logic [7:0]      f1_padb_q;
  logic            f2_ready;

  assign f1_ready = !f1_valid_q || f2_ready;

  logic [Nb-1:0] inb, act;
  logic [Nb-1:0][Lb-1:0] lane_pix;
  for (genvar w = 0; w < Nb; w++) begin : gen_bounds
    coord_t x, y;
    logic [Lb-1:0] p;
    assign p = Lb'(w) & p_mask;
    assign lane_pix[w] = p;
    assign x = ix_q[w] + tx_q;
    assign y = iy_q[w] + ty_q;
    assign inb[w] = x >= 0 && x < $signed(desc_i.iw) && y >= 0 && y < $signed(desc_i.ih);
    assign act[w] = (left_q > 20'(p)) && (desc_i.depthwise || res_q || (Lb+1)'(w) < p_count);
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) f1_valid_q <= 1'b0;
    else if (f1_ready) f1_valid_q <= run_q;
    if (advance) begin
      for (int unsigned w = 0; w < Nb; w++) begin
        f1_lin_q[w] <= res_q ? $signed(desc_i.res_p0 + tile_p_q + 20'(lane_pix[w]))
                             : lin_q[w] + toff_q;
      end
      f1_inb_q <= res_q ? '1 : inb;
      f1_padb_q <= desc_i.pad;
      f1_act_q <= act;
      for (int unsigned j = 0; j < 4; j++) begin
        f1_row_q[j]  <= (res_q ? res_row_q : grow_q) + gstep[j];
        f1_skew_q[j] <= (desc_i.depthwise || res_q) ? group_skew(Lb'(octg_q) + Lb'(j))
                                                    : group_skew(Lb'(icg_q));
      end
      f1_tag_q <= '{
        nch_m1: desc_i.depthwise || res_q ? 4'd0 : icg_last ? desc_i.nlast_m1 : 4'(Wb - 1),
        first: first_q, last: tile_last, w_last: taps_last && !res_q, is_res: res_q, add: desc_i.add,
        depthwise: desc_i.depthwise, is_max: desc_i.is_max, glog: desc_i.glog};
    end
  end

  // --- F2: bank, row, conflicts --------------------------------------------------------------------
  logic  [Nb-1:0]  f2_pend_q, f2_pad_q;
  bank_t [Nb-1:0]  f2_bank_q;
  row_t  [Nb-1:0]  f2_row_q;
  logic  [Nb-1:0][Nb-1:0] f2_same_q;
  op_tag_t         f2_tag_q;
  logic [7:0]      f2_padb_q;
  logic            f2_valid_q, f3_fire, f3_done;

  assign f2_ready = !f2_valid_q || (f3_fire && f3_done);
  assign busy_o   = f1_valid_q || f2_valid_q;

  bank_t [Nb-1:0]      bank;
  logic  [Nb-1:0][15:0] row;
  logic  [Nb-1:0]      req, over;
  logic  [1:0]         lane_group [Nb];
  for (genvar w = 0; w < Nb; w++) begin : gen_bank
    assign lane_group[w] = f1_tag_q.depthwise || f1_tag_q.is_res ? 2'(Lb'(w) >> (Lb - 32'(f1_tag_q.glog))) : 2'd0;
    assign req[w]  = f1_act_q[w] && f1_inb_q[w];
    assign bank[w] = f1_lin_q[w][Lb-1:0] + f1_skew_q[lane_group[w]];
    assign row[w]  = f1_row_q[lane_group[w]] + 16'(f1_lin_q[w][19:Lb]);
    assign over[w] = req[w] && row[w] >= 16'(HV_ACT_ROWS);
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      f2_valid_q  <= 1'b0;
      range_err_o <= 1'b0;
    end else begin
      range_err_o <= f1_valid_q && |over;
      if (f2_ready) f2_valid_q <= f1_valid_q;
    end
    if (f2_ready && f1_valid_q) begin
      f2_pend_q <= req;
      f2_pad_q  <= ~req;
      f2_bank_q <= bank;
      f2_tag_q  <= f1_tag_q;
      f2_padb_q <= f1_padb_q;
      for (int unsigned w = 0; w < Nb; w++) begin
        f2_row_q[w] <= row[w][RowW-1:0];
        for (int unsigned v = 0; v < Nb; v++) f2_same_q[w][v] <= v < w && bank[v] == bank[w];
      end
    end else if (f3_fire) begin
      f2_pend_q <= f2_pend_q & ~grant_o;
    end
  end

  // --- F3: grants -----------------------------------------------------------------------------------
  for (genvar w = 0; w < Nb; w++) begin : gen_grant
    assign grant_o[w] = f2_pend_q[w] && (f2_same_q[w] & f2_pend_q) == '0;
  end
  always_comb begin
    bank_en_o  = '0;
    bank_row_o = '0;
    for (int unsigned w = 0; w < Nb; w++) begin
      if (grant_o[w]) begin
        bank_en_o[f2_bank_q[w]]  = 1'b1;
        bank_row_o[f2_bank_q[w]] = bank_row_o[f2_bank_q[w]] | f2_row_q[w];
      end
    end
  end

  assign f3_done       = (f2_pend_q & ~grant_o) == '0;
  assign f3_fire       = issue_valid_o && issue_ready_i;
  assign issue_valid_o = f2_valid_q;
  assign issue_last_o  = f3_done;
  assign lane_bank_o   = f2_bank_q;
  assign pad_o         = f2_pad_q;
  assign tag_o         = f2_tag_q;
  assign pad_byte_o    = f2_padb_q;

endmodule

`default_nettype wire
