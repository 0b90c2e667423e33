// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Drains finished tiles: copies the accumulators, requantises a word (Wb results) or, in a narrow tile, two words
// per cycle, or one word every four cycles through the residual add, and writes them to the activation memory.
//
// done_i in cycle t: the accumulators are copied at the end of that cycle. Word lanes are picked in order, one per
// cycle in cycles t+1 .. t+Nb, two per cycle in t+1 .. t+Nb/2 with narrow_i, one every four cycles from t+1 with add.
// A pair of words picked in cycle u, or its second word where they come one by one, is on the write port in cycle
// u+11. With add it takes the requantisation lanes four times:
// its own result in cycle u, the operands of the sum in u+13 and u+14, the sum's result in u+23; it is on the write
// port in cycle u+34. Results beyond the last output pixel are not written. Tiles come at least DrainNarrowCycles
// (DrainWideCycles, DrainAddCycles) apart, so nothing ever waits here.

`default_nettype none

module hv_drain
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic        done_i,
  input  wire logic [Nb-1:0] done_lane_i,   // the same, a register for each word lane
  input  wire logic        narrow_i,        // with done_i, not with add
  input  wire logic signed [Nb-1:0][Wb-1:0][AccW-1:0] acc_i,
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
  logic        narrow_q;
  logic [Lb-1:0] lane_q;                     // first word lane of this cycle
  logic [1:0]  slot_q;                       // add: one word every four cycles
  logic signed [Nb-1:0][Wb-1:0][AccW-1:0] shadow_q;

  logic        cnt_last_q;                   // these are the last words of the tile
  // Behind their registers by a cycle and by two: tiles take several.
  logic        ptile_last_q, oct_last_q, layer_last_q;
  logic take_layer, tile_end, oct_end, layer_end;
  assign tile_end   = active_q && cnt_last_q;  // the last words of the tile are picked; done_i may come now
  assign oct_end    = tile_end && ptile_last_q;
  assign layer_end  = tile_end && layer_last_q;
  assign take_layer = done_i && (!open_q || layer_end);
  assign taken_o    = take_layer;

  // One step ahead. A tile with add is not narrow.
  always_ff @(posedge clk_i) begin
    ptile_last_q <= ptile_q == d_q.nptile_m1;
    oct_last_q   <= oct_q == d_q.noct_m1;
    layer_last_q <= ptile_last_q && oct_last_q;
    if (done_i) cnt_last_q <= 1'b0;
    else if (narrow_q) cnt_last_q <= lane_q == Lb'(Nb - 4);
    else if (!d_q.add) cnt_last_q <= lane_q == Lb'(Nb - 2);
    else cnt_last_q <= lane_q == Lb'(Nb - 2) && slot_q == 2'd3;
  end

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
      narrow_q <= narrow_i;
      lane_q   <= '0;
      slot_q   <= '0;
    end else if (active_q) begin
      if (narrow_q) lane_q <= lane_q + Lb'(2);
      else if (!d_q.add || slot_q == 2'd3) lane_q <= lane_q + Lb'(1);
      slot_q <= slot_q + 2'd1;
    end
    if (take_layer) begin
      d_q       <= desc_i;
      oct_q     <= '0;
      ptile_q   <= '0;
      tile_o_q  <= '0;
      oct_row_q <= desc_i.out_base;
      octg_q    <= '0;
    end else if (tile_end) begin
      ptile_q  <= ptile_last_q ? 16'd0 : ptile_q + 16'd1;
      tile_o_q <= ptile_last_q ? 20'd0 : tile_o_q + (20'(Nb) >> d_q.glog);
      if (ptile_last_q) begin
        oct_q     <= oct_q + 10'd1;
        octg_q    <= octg_q + (16'd1 << d_q.glog);
        oct_row_q <= oct_row_q + (d_q.out_s << d_q.glog);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    for (int unsigned w = 0; w < Nb; w++) begin
      if (done_lane_i[w]) shadow_q[w] <= acc_i[w];
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) ptile_next_q <= 1'b0;
    else if (done_i) ptile_next_q <= 1'b0;
    else if (oct_end) ptile_next_q <= 1'b1;
  end

  // --- D0: pick words -----------------------------------------------------------------------------
  logic          pick;
  logic [1:0]    group;
  /* verilator lint_off UNUSEDSIGNAL */  // the skew needs the low bits only
  logic [15:0]   g_index;
  /* verilator lint_on UNUSEDSIGNAL */
  assign pick     = active_q && (!d_q.add || slot_q == 0);
  assign group    = 2'(lane_q >> (Lb - 32'(d_q.glog)));
  logic [Lb-1:0] pix0;
  assign pix0     = (d_q.add ? lane_q : {lane_q[Lb-1:1], 1'b0}) & Lb'((Nb >> d_q.glog) - 1);
  assign g_index  = octg_q + 16'(group);
  assign pbank_o  = bank_q;
  assign pgroup_o = group;
  assign oct_drained_o = oct_end;

  // Where the results of a pick go. Stage i of a pipeline holds what was picked i cycles ago.
  localparam int unsigned PlainStage = 10;   // the last before the write port
  localparam int unsigned AddStage = 33;
  localparam int unsigned Operand1Stage = 13, Operand2Stage = 14, SumStage = 23;  // later passes of an add's word
  typedef struct packed {
    logic        last;                       // last results of the layer
    logic        late;                       // word 1 is the result of this pick, word 0 that of the one before
    logic [1:0]  valid;
    bank_t       bank;                       // of word 0; word 1 is in the next bank
    logic        carry;                      // word 1 is one row further
    logic [15:0] row;
  } wr_t;

  // Stage 1: output pixel of word 0 and its group. Stage 2: place, and which words there are. Stage 3: address.
  logic        last1_q, late1_q;
  logic [1:0]  mask1_q;                      // words that this pick writes
  logic [19:0] o1_q, p01_q, np1_q, lin2_q;
  bank_t       skew1_q, skew2_q;
  logic [15:0] oct_row1_q, off1_q, row2_q;
  logic [15:0] s3_q;                         // three times the rows of a group
  logic        last2_q, late2_q;
  logic [1:0]  valid2_q;
  always_ff @(posedge clk_i) begin
    last1_q <= layer_end;
    late1_q <= !narrow_q && !d_q.add;
    mask1_q <= d_q.add ? 2'b01 : narrow_q || lane_q[0] ? 2'b11 : 2'b00;
    o1_q    <= tile_o_q + 20'(pix0);
    p01_q   <= d_q.out_p0;
    np1_q   <= d_q.out_np;
    skew1_q <= group_skew(g_index[Lb-1:0]);
    s3_q    <= d_q.out_s + (d_q.out_s << 1);
    oct_row1_q <= oct_row_q;
    unique case (group)
      2'd0:    off1_q <= '0;
      2'd1:    off1_q <= d_q.out_s;
      2'd2:    off1_q <= d_q.out_s << 1;
      default: off1_q <= s3_q;
    endcase
    last2_q  <= last1_q;
    late2_q  <= late1_q;
    valid2_q <= {o1_q + 20'd1 < np1_q, o1_q < np1_q} & mask1_q;
    skew2_q  <= skew1_q;
    lin2_q   <= p01_q + o1_q;
    row2_q   <= oct_row1_q + off1_q;
  end

  wr_t d2;
  always_comb begin
    d2.last  = last2_q;
    d2.late  = late2_q;
    d2.valid = valid2_q;
    d2.bank  = lin2_q[Lb-1:0] + skew2_q;
    d2.carry = lin2_q[Lb-1:0] == Lb'(Nb - 1);
    d2.row   = row2_q + 16'(lin2_q[19:Lb]);
  end

  wr_t  [AddStage:3] p_q;
  logic [PlainStage:1] plain_q;              // a pick without add
  logic [AddStage:1] add_q;                  // a pick with add
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      plain_q <= '0;
      add_q   <= '0;
    end else begin
      plain_q <= {plain_q[PlainStage-1:1], pick && !d_q.add};
      add_q   <= {add_q[AddStage-1:1], pick && d_q.add};
    end
    p_q <= {p_q[AddStage-1:3], d2};
  end

  // What the requantisation lanes do with it: an accumulator (pick), an operand of the add, or the sum.
  typedef struct packed {
    logic        narrow;
    logic        operand2, operand, sum;
    logic [4:0]  shift;
    logic [30:0] mult;
    logic signed [7:0] z, zp, lo, hi;
  } op_t;
  op_t op0;
  op_t [2:1] op_q;
  always_comb begin
    op0.narrow   = narrow_q;
    op0.operand2 = add_q[Operand2Stage];
    op0.operand  = add_q[Operand1Stage] || add_q[Operand2Stage];
    op0.sum      = add_q[SumStage];
    op0.shift    = op0.sum ? d_q.add_so : op0.operand2 ? d_q.add_s2 : d_q.add_s1;
    op0.mult     = op0.sum ? d_q.add_mo[30:0] : op0.operand2 ? d_q.add_m2[30:0] : d_q.add_m1[30:0];
    op0.z        = op0.operand2 ? d_q.add_z2 : d_q.add_z1;
    op0.zp       = op0.sum ? d_q.add_zp : d_q.out_zp;
    op0.lo       = op0.sum ? d_q.add_min : d_q.act_min;
    op0.hi       = op0.sum ? d_q.add_max : d_q.act_max;
  end

  // Stage 1: words and parameters. Stage 2: bias.
  logic signed [Wb-1:0][AccW-1:0] even_q, odd_q;
  logic                       take_odd_q;    // word 0 is the odd one
  logic signed [Wb-1:0][31:0] bias_q, mult1_q;
  logic [Wb-1:0][7:0]         shift1_q;
  logic signed [Wb-1:0][31:0] x0_q, x1_q;
  logic [Wb-1:0][30:0]        mult2_q;
  logic [Wb-1:0][4:0]         rs2_q;
  logic [Wb-1:0][1:0]         ls2_q;

  always_ff @(posedge clk_i) begin
    op_q <= {op_q[1], op0};
    if (pick) begin
      even_q     <= shadow_q[{lane_q[Lb-1:1], 1'b0}];
      odd_q      <= shadow_q[{lane_q[Lb-1:1], 1'b1}];
      take_odd_q <= lane_q[0];
      bias_q     <= pbias_i;
      mult1_q    <= pmult_i;
      shift1_q   <= pshift_i;
    end
    for (int unsigned b = 0; b < Wb; b++) begin
      x0_q[b]    <= 32'($signed(take_odd_q ? odd_q[b] : even_q[b])) + bias_q[b];
      x1_q[b]    <= 32'($signed(odd_q[b])) + bias_q[b];
      ls2_q[b]   <= shift1_q[b][6:5];
      rs2_q[b]   <= op_q[1].operand || op_q[1].sum ? op_q[1].shift : shift1_q[b][4:0];
      mult2_q[b] <= op_q[1].operand || op_q[1].sum ? op_q[1].mult : mult1_q[b][30:0];
    end
  end

  // --- Requantisation lanes -------------------------------------------------------------------------
  // A word of an add: y in stage 11, kept for stage 1 of operand 1 (14); sum in stage 24, one before stage 2 of the sum.
  word_t [1:0]                y;
  logic signed [Wb-1:0][30:0] sum, sum_q;
  word_t                      y_add_q, operand;
  logic [Lb-1:0]              res_lane_q;    // word lane whose operand 2 is next
  assign operand = op_q[1].operand2 ? res_words_i[res_lane_q] : y_add_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) res_lane_q <= '0;
    else if (op_q[1].operand2) res_lane_q <= res_lane_q + Lb'(1);
    if (add_q[11]) y_add_q <= y[0];
    sum_q <= sum;
  end

  for (genvar b = 0; b < Wb; b++) begin : gen_requant
    logic signed [8:0]  v_q;
    always_ff @(posedge clk_i) begin
      v_q <= 9'($signed(operand[b])) - 9'($signed(op_q[1].z));
    end
    hv_requant u_lane (
      .clk_i, .narrow_i(op_q[2].narrow), .x0_i(x0_q[b]), .x1_i(x1_q[b]), .ls_i(ls2_q[b]),
      .special_i(op_q[2].operand || op_q[2].sum),
      .special_x_i(op_q[2].sum ? 32'($signed(sum_q[b])) : {{3{v_q[8]}}, v_q, 20'b0}),
      .sum_i(op_q[2].operand), .mult_i(mult2_q[b]), .shift_i(rs2_q[b]),
      .zp_i(op_q[2].zp), .min_i(op_q[2].lo), .max_i(op_q[2].hi),
      .y0_o(y[0][b]), .y1_o(y[1][b]), .sum_o(sum[b])
    );
  end

  // --- Write port -------------------------------------------------------------------------------------
  wr_t  w;
  logic w_valid;
  assign w       = add_q[AddStage] ? p_q[AddStage] : p_q[PlainStage];
  assign w_valid = add_q[AddStage] || plain_q[PlainStage];

  logic        late_q;
  word_t       y_old_q;
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
    end
    late_q  <= w.late;
    y_old_q <= y[0];
  end
  assign wr_data_o = late_q ? {y[0], y_old_q} : y;

endmodule

`default_nettype wire
