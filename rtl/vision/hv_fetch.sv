// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Operand fetch: walks the loop nest of a layer and turns each (pixel tile, tap, channel group) into
// reads of the activation banks, one request per word lane.
//
// A walker follows the output pixels, two a cycle, and shifts the coordinates of the tile's pixels into
// lane registers, G times over for G channel groups; the lanes of the next tile are ready while the
// current one is worked on. A tile takes it Nb/2 cycles and one in which the lanes are handed over, which is one more than
// the drain of a narrow tile: only tiles of fewer operations notice it. The residual words of a tile are a
// tile of their own. F0 registers what all lanes of an operation share: offsets of
// the tap and, for each quarter of the lanes, row and bank skew. F1 adds them to each lane's coordinates: bounds,
// row, bank. FC registers the matrix of lanes that cannot be served together (same bank, or same
// class of banks in one column of the network, see hv_core_pkg). Operations then wait in a FIFO. F2 holds the one
// being served and the lanes that have to wait for lower ones; F3 grants the others every cycle until
// none is left and registers the settings of the network, from which the rows of all banks follow (hv_actmem).
// Lanes outside the map read nothing and get the pad byte. With unit stride all lanes are served at once.
// Nothing stalls but the ends of the FIFO: an operation enters F0 when the FIFO has room for all that are on their
// way, and F2 issues when hv_actmem has a place for the set and nothing else wants the banks (issue_ok_i, hold_i).
// What issue_valid_o announces is always taken.

`default_nettype none

module hv_fetch
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic        prepare_i,       // desc_i is new: walk out its first tile
  input  wire logic        start_i,         // begin the layer in desc_i; with prepare_i or later
  /* verilator lint_off UNUSEDSIGNAL */  // the other units use the remaining fields
  input  wire compute_desc_t desc_i,
  /* verilator lint_on UNUSEDSIGNAL */
  output logic             running_o,       // operations of this layer are still to be put into F0
  output logic             busy_o,          // operations on their way to hv_actmem

  input  wire logic        issue_ok_i,      // there is a place for one more set
  input  wire logic        hold_i,          // no issue in this cycle
  output logic             reserve_o,       // this cycle's issue completes a set
  output logic             issue_valid_o,   // requests of one operation, or of some of its lanes
  output row_t [Nb-1:0]    row_o,           // of every lane
  output net_t             net_o,
  output logic [Nb-1:0]    pad_o,           // lanes that read the pad byte
  output logic             issue_last_o,    // all lanes of the operation are served
  output op_tag_t          tag_o,
  output logic [7:0]       pad_byte_o,
  output logic             range_err_o      // a row beyond the memory was addressed
);

  localparam int unsigned Parts = 1 << HV_GLOG_MAX;   // parts of the lanes that share a channel group
  localparam int unsigned PartW = Nb / Parts;

  if (Nb > 16 || HV_GLOG_MAX > 2) begin : gen_bad_lanes
    $error("hv_fetch: at most 16 lanes (two stages of 4:1) and 4 channel groups");
  end

  // --- Walker -------------------------------------------------------------------------------------
  typedef struct packed {
    logic   valid;                            // the lane has a pixel
    coord_t x, y;                             // at tap (0, 0)
    lin_t   lin;
  } lane_t;

  lane_t [Nb-1:0] next_q, lane_q;             // lanes of the next tile, of the current one
  logic           next_full_q, next_last_q, last_q;
  logic           swap;                       // the next tile becomes the current one

  logic           walk_q, walk_res_q;         // walking; the tile is one of residual words
  logic [Lb-2:0]  pair_q;                     // pair of lanes
  coord_t         wx_q, wy_q, bx_q, by_q;     // pixel of the walk, first pixel of the tile
  lin_t           wl_q, bl_q;
  logic [19:0]    left_q, res_p_q;            // pixels left, first residual pixel of the tile

  logic [Lb:0]    p_count;                    // P
  logic [Lb-2:0]  pair_mask, pix2;            // P/2 - 1; pair within the tile's pixels
  logic           shift, pass_end, walk_end;
  logic           walk_last_q;                // the tile is the last one; behind left_q by a cycle, which is early enough
  assign p_count   = (Lb+1)'(Nb) >> desc_i.glog;
  assign pair_mask = (Lb-1)'((Nb/2 - 1) >> desc_i.glog);
  assign pix2      = pair_q & pair_mask;
  assign shift     = walk_q && !next_full_q;
  assign pass_end  = pix2 == pair_mask;
  assign walk_end  = &pair_q;

  // One and two steps from the walk's pixel. Whether a step passes the end of the row is asked of its
  // start, so that no sum waits for another.
  logic signed [12:0] lim1_q, lim2_q, lim2w_q; // wx + lim >= 0: wrap at step one; at step two after none, after one
  coord_t sx_w_q, sx2_w_q;                    // one step with a wrap, two with one
  lin_t   sl_w_q, sl2_w_q;
  /* verilator lint_off UNUSEDSIGNAL */  // signs only
  logic signed [12:0] t1, t2, t2w;
  /* verilator lint_on UNUSEDSIGNAL */
  logic   c1, none, both;                     // wrap at step one; wraps in the two steps
  coord_t sx, wrapx, x1, x2, y1, y2, dx1;
  lin_t   l1, l2, dl1, wraplin, sxl;
  assign sx      = $signed({4'b0, desc_i.sx});
  assign sxl     = $signed({12'b0, desc_i.sx});
  assign wrapx   = $signed(desc_i.wrapx);
  assign wraplin = $signed(desc_i.wraplin);
  assign t1      = 13'(wx_q) + lim1_q;
  assign t2      = 13'(wx_q) + lim2_q;
  assign t2w     = 13'(wx_q) + lim2w_q;
  assign c1      = !t1[12];
  assign none    = t2[12];                    // then also t1 is negative
  assign both    = !t1[12] && !t2w[12];

  always_ff @(posedge clk_i) walk_last_q <= left_q <= 20'(p_count);

  // Constants of the layer: right from the second cycle after prepare_i on, when the walk begins.
  always_ff @(posedge clk_i) begin
    lim1_q  <= 13'(sx) - 13'($signed(desc_i.limx));
    lim2_q  <= (13'(sx) <<< 1) - 13'($signed(desc_i.limx));
    lim2w_q <= (13'(sx) <<< 1) - 13'($signed(desc_i.limx)) - $signed({1'b0, desc_i.wrapx});
    sx_w_q  <= sx - wrapx;
    sx2_w_q <= (sx <<< 1) - wrapx;
    sl_w_q  <= sxl + wraplin;
    sl2_w_q <= (sxl <<< 1) + wraplin;
  end

  assign dx1 = c1 ? sx_w_q : sx;
  assign dl1 = c1 ? sl_w_q : sxl;
  assign x1 = wx_q + dx1;
  assign y1 = wy_q + (c1 ? $signed({4'b0, desc_i.sy}) : 12'sd0);
  assign l1 = wl_q + dl1;
  // All sums at the same time as the comparisons.
  always_comb begin
    {x2, y2, l2} = {wx_q + sx2_w_q, wy_q + $signed({4'b0, desc_i.sy}), wl_q + sl2_w_q};
    if (both) {x2, y2, l2} = {wx_q + (sx_w_q <<< 1), wy_q + $signed({3'b0, desc_i.sy, 1'b0}), wl_q + (sl_w_q <<< 1)};
    if (none) {x2, y2, l2} = {wx_q + (sx <<< 1), wy_q, wl_q + (sxl <<< 1)};
  end

  // The pair of lanes. Residual words lie at any place of their tensor: x and y say nothing.
  lane_t [1:0] pair;
  logic        used;                          // dense layers have one channel group of operands
  assign used = desc_i.depthwise || walk_res_q || (pair_q & ~pair_mask) == '0;
  for (genvar i = 0; i < 2; i++) begin : gen_pair
    logic [Lb-1:0] p;
    assign p = {pix2, 1'(i)};
    assign pair[i].valid = used && (left_q[19:Lb] != '0 || left_q[Lb-1:0] > p);
    assign pair[i].x     = walk_res_q ? '0 : i == 0 ? wx_q : x1;
    assign pair[i].y     = walk_res_q ? '0 : i == 0 ? wy_q : y1;
    assign pair[i].lin   = walk_res_q ? $signed(res_p_q + 20'(p)) : i == 0 ? wl_q : l1;
  end

  // The base is where the next pass over the tile's pixels begins; towards the end of a tile that is the
  // last of its channels, and before the first one, it becomes the layer's first pixel.
  logic begin_q, rebase;
  assign rebase = prepare_i || (shift && !walk_res_q && walk_last_q && pair_q == (Lb-1)'(Nb/2 - 2));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      walk_q      <= 1'b0;
      begin_q     <= 1'b0;
      next_full_q <= 1'b0;
    end else begin
      begin_q <= prepare_i;
      if (prepare_i) walk_q <= 1'b0;
      else if (begin_q) walk_q <= 1'b1;
      if (prepare_i || swap) next_full_q <= 1'b0;
      else if (shift) next_full_q <= walk_end;
    end

    if (prepare_i) begin
      pair_q     <= '0;
      walk_res_q <= 1'b0;
    end else if (shift) begin
      pair_q <= pair_q + (Lb-1)'(1);
      if (walk_end) walk_res_q <= desc_i.add && !walk_res_q;
    end

    if (begin_q || (shift && !walk_res_q)) begin
      if (begin_q || (pass_end && (!walk_end || walk_last_q))) {wx_q, wy_q, wl_q} <= {bx_q, by_q, bl_q};
      else {wx_q, wy_q, wl_q} <= {x2, y2, l2};
    end
    if (rebase) {bx_q, by_q, bl_q} <= {desc_i.ix0, desc_i.iy0, desc_i.lin0};
    else if (shift && !walk_res_q && walk_end && !walk_last_q) {bx_q, by_q, bl_q} <= {x2, y2, l2};
    if (prepare_i || (shift && walk_end && walk_res_q == desc_i.add)) begin
      left_q  <= prepare_i || walk_last_q ? desc_i.out_np : left_q - 20'(p_count);
      res_p_q <= prepare_i || walk_last_q ? desc_i.res_p0 : res_p_q + 20'(p_count);
    end

    if (shift) begin
      next_q      <= {pair, next_q[Nb-1:2]};
      next_last_q <= walk_last_q;
    end
    if (swap) begin
      lane_q <= next_q;
      last_q <= next_last_q;
    end
  end

  // --- Loop nest ----------------------------------------------------------------------------------
  logic        run_q;
  logic [9:0]  oct_q;
  logic [7:0]  ky_q, kx_q;
  logic [9:0]  icg_q;
  logic        res_q;                         // the residual access at the end of a tile
  logic        first_q;
  coord_t      tx_q, ty_q;
  lin_t        toff_q;
  logic [15:0] grow_q;                        // row of the input group (dense) or first group of the tile
  logic [15:0] oct_row_q, res_row_q;
  logic [Lb-1:0] octg_q;                      // first channel group of the tile, modulo Nb

  // Flags of the indices' last values, in step with these; new_lanes_q is first_q || res_q.
  logic icg_last_q, kx_last_q, ky_last_q, oct_last_q, new_lanes_q;
  logic icg_one_q, kx_one_q, ky_one_q, oct_one_q;   // of the layer: the index has one value
  logic [9:0]  icg_before_q, oct_before_q;    // and the value before its last
  logic [7:0]  kx_before_q, ky_before_q;
  logic taps_last, tile_last, ptile_last, advance;
  logic room_q;                               // what enters F0 finds room in the queue
  assign taps_last  = icg_last_q && kx_last_q && ky_last_q;
  assign tile_last  = desc_i.add ? res_q : taps_last;
  assign ptile_last = new_lanes_q ? next_last_q : last_q;

  assign advance   = run_q && room_q && (!new_lanes_q || next_full_q);
  assign swap      = run_q && room_q && new_lanes_q && next_full_q;
  assign running_o = run_q;

  // Constants of the layer, as those of the walker.
  logic [15:0] in_s3_q, res_s3_q;             // three times the rows of a group
  always_ff @(posedge clk_i) begin
    icg_before_q <= desc_i.icg_m1 - 10'd1;
    kx_before_q  <= desc_i.kw_m1 - 8'd1;
    ky_before_q  <= desc_i.kh_m1 - 8'd1;
    oct_before_q <= desc_i.noct_m1 - 10'd1;
    icg_one_q    <= desc_i.depthwise || desc_i.icg_m1 == '0;
    kx_one_q     <= desc_i.kw_m1 == '0;
    ky_one_q     <= desc_i.kh_m1 == '0;
    oct_one_q    <= desc_i.noct_m1 == '0;
    in_s3_q      <= desc_i.in_s + (desc_i.in_s << 1);
    res_s3_q     <= desc_i.res_s + (desc_i.res_s << 1);
  end

  logic [15:0] gs_in, gs_res;
  assign gs_in  = desc_i.in_s << desc_i.glog;
  assign gs_res = desc_i.res_s << desc_i.glog;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      run_q <= 1'b0;
    end else if (start_i) begin
      run_q <= 1'b1;
    end else if (advance && tile_last && ptile_last && oct_last_q) begin
      run_q <= 1'b0;
    end

    if (start_i) begin
      oct_q     <= '0;
      octg_q    <= '0;
      oct_row_q <= desc_i.in_base;
      res_row_q <= desc_i.res_base;
    end else if (advance && tile_last && ptile_last) begin
      oct_q     <= oct_q + 10'd1;
      octg_q    <= octg_q + (Lb'(1) << desc_i.glog);
      oct_row_q <= oct_row_q + gs_in;
      res_row_q <= res_row_q + gs_res;
    end

    // With prepare_i the constants are a cycle behind start_i; nothing advances before the walk's first tile.
    if (start_i || begin_q) oct_last_q <= oct_one_q;
    else if (advance && tile_last && ptile_last) oct_last_q <= oct_q == oct_before_q;
    if (start_i || begin_q || (advance && (tile_last || taps_last))) begin
      icg_last_q  <= icg_one_q;
      kx_last_q   <= kx_one_q;
      ky_last_q   <= ky_one_q;
      new_lanes_q <= 1'b1;
    end else if (advance) begin
      new_lanes_q <= 1'b0;
      icg_last_q  <= icg_last_q ? icg_one_q : icg_q == icg_before_q;
      if (icg_last_q) begin
        kx_last_q <= kx_last_q ? kx_one_q : kx_q == kx_before_q;
        if (kx_last_q) ky_last_q <= ky_q == ky_before_q;
      end
    end

    if (start_i || (advance && (tile_last || taps_last))) begin
      ky_q    <= '0;
      kx_q    <= '0;
      icg_q   <= '0;
      tx_q    <= '0;
      ty_q    <= '0;
      toff_q  <= '0;
      res_q   <= !start_i && !tile_last;
      first_q <= start_i || tile_last;
      grow_q  <= start_i || (tile_last && !desc_i.depthwise) ? desc_i.in_base
               : !tile_last ? res_row_q
               : ptile_last ? oct_row_q + gs_in : oct_row_q;
    end else if (advance) begin
      first_q <= 1'b0;
      icg_q   <= icg_q + 10'd1;
      if (!desc_i.depthwise) grow_q <= grow_q + desc_i.in_s;
      if (icg_last_q) begin
        icg_q <= '0;
        if (!desc_i.depthwise) grow_q <= desc_i.in_base;
        kx_q   <= kx_q + 8'd1;
        tx_q   <= tx_q + $signed({4'b0, desc_i.dilx});
        toff_q <= toff_q + (kx_last_q ? $signed(desc_i.tliny) : $signed({12'b0, desc_i.dilx}));
        if (kx_last_q) begin
          kx_q   <= '0;
          tx_q   <= '0;
          ky_q   <= ky_q + 8'd1;
          ty_q   <= ty_q + $signed({4'b0, desc_i.dily});
        end
      end
    end
  end

  // --- F0: what the lanes of an operation share -----------------------------------------------------
  logic          f0_valid_q;
  coord_t        f0_x_q, f0_xw_q, f0_y_q, f0_yh_q;   // tap, and tap minus width or height
  logic [Lb-1:0] f0_low_q;                           // low bits of the tap's linear offset
  logic  [Parts-1:0][15:0] f0_row_q;                 // row of the tap at linear pixel 0
  bank_t [Parts-1:0] f0_bank_q;                      // bank of the tap at linear pixel 0
  op_tag_t       f0_tag_q;
  logic [7:0]    f0_padb_q;

  // The channel group of part q is the one of part 0 plus q div (Parts/G).
  logic          many;                               // the parts differ
  logic [15:0]   stride, stride3, row0;
  logic  [3:0][15:0] strides;                        // multiples of the rows of a group
  logic  [Parts-1:0][15:0] part_row;
  bank_t [Parts-1:0] part_skew;
  bank_t         skew0;
  assign many   = desc_i.depthwise || res_q;
  assign stride = res_q ? desc_i.res_s : desc_i.in_s;
  assign stride3 = res_q ? res_s3_q : in_s3_q;
  assign strides = {stride3, stride << 1, stride, 16'd0};
  assign row0   = grow_q + 16'(toff_q[19:Lb]);
  assign skew0  = group_skew(many ? octg_q : Lb'(icg_q));
  for (genvar q = 0; q < Parts; q++) begin : gen_part
    localparam int unsigned Part = q;   // a genvar is signed, and so are its lowest two bits: no index
    always_comb begin
      part_row[q]  = '0;
      part_skew[q] = '0;
      for (int unsigned g = 1; g <= HV_GLOG_MAX; g++) begin
        if (many && 32'(desc_i.glog) == g) begin
          part_row[q]  = strides[2'(Part >> (HV_GLOG_MAX - g))];
          part_skew[q] = group_skew(Lb'(Part >> (HV_GLOG_MAX - g)));
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) f0_valid_q <= 1'b0;
    else f0_valid_q <= advance;
    f0_x_q    <= tx_q;
    f0_xw_q   <= tx_q - $signed(desc_i.iw);
    f0_y_q    <= ty_q;
    f0_yh_q   <= ty_q - $signed(desc_i.ih);
    f0_low_q  <= toff_q[Lb-1:0];
    for (int unsigned q = 0; q < Parts; q++) begin
      f0_row_q[q]  <= row0 + part_row[q];
      f0_bank_q[q] <= toff_q[Lb-1:0] + (skew0 | part_skew[q]);
    end
    f0_padb_q <= desc_i.pad;
    f0_tag_q  <= '{
      nch_m1: many ? 4'(desc_i.is_max && !res_q) : icg_last_q ? desc_i.nlast_m1 : 4'(Wb - 1),
      first: first_q, last: tile_last, w_last: taps_last && !res_q, is_res: res_q, add: desc_i.add,
      depthwise: desc_i.depthwise, is_max: desc_i.is_max, glog: desc_i.glog};
  end

  // --- F1: bounds, row and bank of every lane ------------------------------------------------------
  logic            f1_valid_q;
  logic  [Nb-1:0]  f1_req_q;
  logic  [Nb-1:0][15:0] f1_row_q;
  bank_t [Nb-1:0]  f1_bank_q;
  op_tag_t         f1_tag_q;
  logic [7:0]      f1_padb_q;

  logic  [Nb-1:0]  req;
  logic  [Nb-1:0][15:0] row;
  bank_t [Nb-1:0]  bank;
  for (genvar w = 0; w < Nb; w++) begin : gen_lane
    localparam int unsigned Q = w / PartW;
    /* verilator lint_off UNUSEDSIGNAL */  // signs and carries only
    coord_t x, xw, y, yh;
    lin_t   place;
    /* verilator lint_on UNUSEDSIGNAL */
    assign x     = lane_q[w].x + f0_x_q;
    assign xw    = lane_q[w].x + f0_xw_q;
    assign y     = lane_q[w].y + f0_y_q;
    assign yh    = lane_q[w].y + f0_yh_q;
    // With residual words x and y are zero, as are the offsets.
    assign req[w]  = lane_q[w].valid && !x[11] && xw[11] && !y[11] && yh[11];
    assign place   = lane_q[w].lin + $signed({f0_row_q[Q], f0_low_q});
    assign row[w]  = place[19:Lb];
    assign bank[w] = lane_q[w].lin[Lb-1:0] + f0_bank_q[Q];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) f1_valid_q <= 1'b0;
    else f1_valid_q <= f0_valid_q;
    f1_req_q  <= req;
    f1_row_q  <= row;
    f1_bank_q <= bank;
    f1_tag_q  <= f0_tag_q;
    f1_padb_q <= f0_padb_q;
  end

  // --- FC: conflicts -------------------------------------------------------------------------------
  typedef struct packed {
    logic   [Nb-1:0] req;
    bank_t  [Nb-1:0] bank;
    row_t   [Nb-1:0] row;
    logic   [Nb-1:0][Nb-1:0] same;            // lower lanes with a request that lane w cannot be served with
    op_tag_t tag;
    logic [7:0] padb;
  } op_t;
  op_t             fc_q, f2_q;
  logic            fc_valid_q;
  logic  [Nb-1:0][Nb-1:0] same;

  for (genvar w = 0; w < Nb; w++) begin : gen_same
    for (genvar v = 0; v < Nb; v++) begin : gen_pair
      if (v >= w) begin : gen_higher
        assign same[w][v] = 1'b0;
      end else if (v % Nx == w % Nx) begin : gen_column
        assign same[w][v] = f1_req_q[v] && f1_bank_q[v][Lb-1:NxB] == f1_bank_q[w][Lb-1:NxB];
      end else begin : gen_bank
        assign same[w][v] = f1_req_q[v] && f1_bank_q[v] == f1_bank_q[w];
      end
    end
  end

  logic [Nb-1:0] over;
  for (genvar w = 0; w < Nb; w++) begin : gen_over
    assign over[w] = f1_req_q[w] && f1_row_q[w] >= 16'(HV_ACT_ROWS);
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      fc_valid_q  <= 1'b0;
      range_err_o <= 1'b0;
    end else begin
      fc_valid_q  <= f1_valid_q;
      range_err_o <= f1_valid_q && |over;
    end
    fc_q.req  <= f1_req_q;
    fc_q.bank <= f1_bank_q;
    fc_q.same <= same;
    fc_q.tag  <= f1_tag_q;
    fc_q.padb <= f1_padb_q;
    for (int unsigned w = 0; w < Nb; w++) fc_q.row[w] <= f1_row_q[w][RowW-1:0];
  end

  // --- Queue of operations -------------------------------------------------------------------------
  // With its lanes that cannot be served with the first ones. F0, F1 and FC and one operation that enters at the same
  // time fit above the level at which room_q goes.
  localparam int unsigned QueueDepth = 16;
  typedef struct packed {
    logic           any;                       // there are such lanes
    logic  [Nb-1:0] wait_for;
    op_t            op;
  } queued_t;
  queued_t            queue_in, queue_out;
  logic [$clog2(QueueDepth):0] queue_n;
  logic               queue_empty, f2_load, f2_valid_q;

  for (genvar w = 0; w < Nb; w++) begin : gen_wait
    assign queue_in.wait_for[w] = fc_q.req[w] && fc_q.same[w] != '0;
  end
  assign queue_in.any = |queue_in.wait_for;
  assign queue_in.op  = fc_q;

  /* verilator lint_off PINCONNECTEMPTY */     // room_q says it
  ks_fifo #(
    .Width($bits(queued_t)),
    .Depth(QueueDepth)
  ) u_queue (
    .clk_i, .rst_ni,
    .push_i(fc_valid_q), .wdata_i(queue_in), .full_o(),
    .pop_i(f2_load && !queue_empty), .rdata_o(queue_out), .empty_o(queue_empty), .level_o(queue_n)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  always_ff @(posedge clk_i) begin
    if (!rst_ni) room_q <= 1'b1;
    else room_q <= queue_n <= ($clog2(QueueDepth)+1)'(QueueDepth / 2);
  end

  // --- F2: the operation being served ----------------------------------------------------------------
  logic  [Nb-1:0]  f2_pend_q, f2_wait_q;        // lanes not served; among them those not to be served next
  logic            f2_any_q;                    // there are some
  logic            fire;
  logic  [Nb-1:0]  grant, wait1;                // wait1: after this issue

  assign fire      = f2_valid_q && issue_ok_i && !hold_i;
  assign f2_load   = !f2_valid_q || (fire && !f2_any_q);
  assign reserve_o = fire && !f2_any_q;
  for (genvar w = 0; w < Nb; w++) begin : gen_again
    assign wait1[w] = f2_wait_q[w] && (f2_q.same[w] & f2_wait_q) != '0;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) f2_valid_q <= 1'b0;
    else if (f2_load) f2_valid_q <= !queue_empty;
    if (f2_load) begin
      f2_q      <= queue_out.op;
      f2_pend_q <= queue_out.op.req;
      f2_wait_q <= queue_out.wait_for;
      f2_any_q  <= queue_out.any;
    end else if (fire) begin
      f2_pend_q <= f2_wait_q;
      f2_wait_q <= wait1;
      f2_any_q  <= |wait1;
    end
  end

  // --- F3: grants and the settings of the network --------------------------------------------------
  net_c_t [Nb-1:0] lane_c;
  net_x_t [Nx-1:0][Nc-1:0] col_x;
  net_c_t [Nx-1:0][Nc-1:0] lane_k;
  logic   [Nx-1:0][Nc-1:0] col_en;
  for (genvar w = 0; w < Nb; w++) begin : gen_grant
    assign grant[w]  = f2_pend_q[w] && !f2_wait_q[w];
    assign lane_c[w] = f2_q.bank[w][Lb-1:NxB];
  end
  for (genvar m = 0; m < Nx; m++) begin : gen_column
    for (genvar c = 0; c < Nc; c++) begin : gen_class
      always_comb begin
        col_en[m][c] = 1'b0;
        lane_k[m][c] = '0;
        col_x[m][c]  = '0;
        for (int unsigned k = 0; k < Nc; k++) begin
          if (grant[Nx*k+m] && lane_c[Nx*k+m] == NcB'(c)) begin
            col_en[m][c] = 1'b1;
            lane_k[m][c] = lane_k[m][c] | NcB'(k);
            col_x[m][c]  = col_x[m][c] | f2_q.bank[Nx*k+m][NxB-1:0];
          end
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) issue_valid_o <= 1'b0;
    else issue_valid_o <= fire;
    net_o        <= '{lanes: grant, lane_c: lane_c, col_x: col_x, lane_k: lane_k, col_en: col_en};
    row_o        <= f2_q.row;
    pad_o        <= ~f2_q.req;
    issue_last_o <= !f2_any_q;
    tag_o        <= f2_q.tag;
    pad_byte_o   <= f2_q.padb;
  end

  assign busy_o = f0_valid_q || f1_valid_q || fc_valid_q || !queue_empty || f2_valid_q || issue_valid_o;

endmodule

`default_nettype wire
