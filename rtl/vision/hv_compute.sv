// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Compute unit: descriptor queue, weight ring, operand fetch, activation memory, MAC array and
// requantisation, and the control that moves from layer to layer.
//
// A layer is taken over when the one before has issued all operand fetches and all weight words and its
// first tile has reached the requantisation. Its weights start to flow at once; operand fetch starts when the
// wait counts are reached and, with dep, when all earlier results are written.
// Every cycle is accounted to exactly one of the class outputs.

`default_nettype none

module hv_compute
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  // Descriptors and weight segments from the front end.
  input  wire logic        q_we_i,
  input  wire logic [3:0]  q_widx_i,
  input  wire logic [63:0] q_wdata_i,
  output logic             q_room_o,
  input  wire logic        seg_push_i,
  input  wire logic [31:0] seg_addr_i,
  input  wire logic [19:0] seg_words_i,
  output logic             seg_room_o,

  // Weight reads.
  output logic             w_req_valid_o,
  output logic [31:0]      w_req_addr_o,
  output logic [3:0]       w_req_beats_m1_o,
  input  wire logic        w_req_ready_i,
  input  wire logic        w_rsp_valid_i,
  input  wire logic [HV_BUS_BYTES*8-1:0] w_rsp_data_i,

  // Load unit writes.
  input  wire logic        load_valid_i,
  input  wire logic [7:0]  load_mask_i,
  input  wire logic [19:0] load_p_i,
  input  wire logic [9:0]  load_g_i,
  input  wire row_t        load_row_i,
  input  wire word_t [7:0] load_data_i,
  output logic             load_ready_o,

  // Output unit reads.
  input  wire logic        row_valid_i,
  input  wire row_t        row_i,
  output logic             row_ready_o,
  output word_t [Nb-1:0]   row_data_o,

  // Order between units.
  input  wire logic [15:0] n_load_i,
  input  wire logic [15:0] n_out_i,
  output logic             layer_done_o,
  output logic             idle_o,
  output logic             range_err_o,

  // Use of the cycle: exactly one is high.
  output logic             cls_mac_o,
  output logic             cls_res_o,
  output logic             cls_weight_o,
  output logic             cls_drain_o,
  output logic             cls_fetch_o,
  output logic             cls_load_o,
  output logic             cls_dep_o,
  output logic             cls_none_o       // no layer at hand
);

  // --- Layer control --------------------------------------------------------------------------------
  compute_desc_t nxt_desc, cur_q;
  logic        nxt_valid, take, q_empty;
  logic        have_q, wstart_q, wstarted_q, fstarted_q, taken_q;
  logic [7:0]  inflight_q;                   // layers whose operand fetch began and whose results are not all written
  logic        layer_end, fstart, fetch_run, fetch_busy, mem_busy, w_done, drain_taken;
  logic        wait_units, wait_dep, seg_idle;

  assign take = nxt_valid && (!have_q || (fstarted_q && !fetch_run && wstarted_q && w_done && taken_q));
  assign wait_units = n_load_i < cur_q.wait_load || n_out_i < cur_q.wait_out;
  assign wait_dep   = cur_q.dep && inflight_q != 8'(layer_end);
  assign fstart     = have_q && !fstarted_q && !wait_units && !wait_dep;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      have_q     <= 1'b0;
      wstart_q   <= 1'b0;
      wstarted_q <= 1'b0;
      fstarted_q <= 1'b0;
      taken_q    <= 1'b0;
      inflight_q <= '0;
    end else begin
      wstart_q   <= take;
      inflight_q <= inflight_q + 8'(fstart) - 8'(layer_end);
      if (take) begin
        have_q     <= 1'b1;
        wstarted_q <= 1'b0;
        fstarted_q <= 1'b0;
        taken_q    <= 1'b0;
      end else begin
        if (wstart_q) wstarted_q <= 1'b1;
        if (fstart) fstarted_q <= 1'b1;
        if (drain_taken) taken_q <= 1'b1;
        // The last layer so far ended: nothing is current until the next descriptor comes.
        if (fstarted_q && !fetch_run && wstarted_q && w_done && taken_q) have_q <= 1'b0;
      end
    end
    if (take) cur_q <= nxt_desc;
  end

  assign layer_done_o = layer_end;
  assign idle_o = q_empty && !have_q && inflight_q == 0 && seg_idle;

  hv_cfgq u_cfgq (
    .clk_i, .rst_ni,
    .we_i(q_we_i), .widx_i(q_widx_i), .wdata_i(q_wdata_i), .room_o(q_room_o), .empty_o(q_empty),
    .valid_o(nxt_valid), .desc_o(nxt_desc), .take_i(take)
  );

  // --- Weights ----------------------------------------------------------------------------------------
  logic       wvalid, wnarrow, wpop, oct_drained, pbank;
  ring_word_t wword;
  logic [1:0] pgroup;
  logic [Wb-1:0][31:0] pbias, pmult;
  logic [Wb-1:0][7:0]  pshift;

  hv_wring u_wring (
    .clk_i, .rst_ni,
    .seg_push_i, .seg_addr_i, .seg_words_i, .seg_room_o, .seg_idle_o(seg_idle),
    .req_valid_o(w_req_valid_o), .req_addr_o(w_req_addr_o), .req_beats_m1_o(w_req_beats_m1_o),
    .req_ready_i(w_req_ready_i), .rsp_valid_i(w_rsp_valid_i), .rsp_data_i(w_rsp_data_i),
    .layer_start_i(wstart_q), .desc_i(cur_q), .layer_done_o(w_done), .oct_drained_i(oct_drained),
    .wvalid_o(wvalid), .wdata_o(wword), .wnarrow_o(wnarrow), .wpop_i(wpop),
    .pbank_i(pbank), .pgroup_i(pgroup), .pbias_o(pbias), .pmult_o(pmult), .pshift_o(pshift)
  );

  // --- Operands ---------------------------------------------------------------------------------------
  logic           issue_ok, hold, reserve, issue_valid, issue_last;
  logic [Nb-1:0]  pad;
  row_t [Nb-1:0]  lane_row;
  net_t           net;
  op_tag_t        issue_tag, set_tag;
  logic [7:0]     pad_byte;
  logic           set_valid, set_take, fetch_range, drain_range;
  word_t [Nb-1:0] set_words;

  hv_fetch u_fetch (
    .clk_i, .rst_ni,
    .prepare_i(wstart_q), .start_i(fstart), .desc_i(cur_q),
    .running_o(fetch_run), .busy_o(fetch_busy),
    .issue_ok_i(issue_ok), .hold_i(hold), .reserve_o(reserve),
    .issue_valid_o(issue_valid), .row_o(lane_row), .net_o(net), .pad_o(pad), .issue_last_o(issue_last), .tag_o(issue_tag), .pad_byte_o(pad_byte),
    .range_err_o(fetch_range)
  );

  logic [1:0]  res_valid;
  bank_t [1:0] res_bank;
  row_t [1:0]  res_row;
  word_t [1:0] res_data;

  hv_actmem u_actmem (
    .clk_i, .rst_ni,
    .issue_ok_o(issue_ok), .hold_o(hold), .reserve_i(reserve), .issue_valid_i(issue_valid), .row_lane_i(lane_row),
    .net_i(net), .pad_i(pad), .issue_last_i(issue_last), .tag_i(issue_tag),
    .pad_byte_i(pad_byte), .busy_o(mem_busy),
    .set_valid_o(set_valid), .set_words_o(set_words), .set_tag_o(set_tag), .set_take_i(set_take),
    .row_valid_i, .row_i, .row_ready_o, .row_data_o,
    .res_valid_i(res_valid), .res_bank_i(res_bank), .res_row_i(res_row), .res_data_i(res_data),
    .load_valid_i, .load_mask_i, .load_p_i, .load_g_i, .load_row_i, .load_data_i, .load_ready_o
  );

  // --- Array and requantisation ----------------------------------------------------------------------
  logic           tile_done, tile_narrow, empty;
  logic [Nb-1:0]  tile_done_lane;
  logic signed [Nb-1:0][Wb-1:0][AccW-1:0] acc;
  word_t [Nb-1:0] res_words;

  hv_mac u_mac (
    .clk_i, .rst_ni,
    .set_valid_i(set_valid), .set_words_i(set_words), .set_tag_i(set_tag), .set_take_o(set_take),
    .wvalid_i(wvalid), .wdata_i(wword), .wnarrow_i(wnarrow), .wpop_o(wpop),
    .done_o(tile_done), .done_lane_o(tile_done_lane), .done_narrow_o(tile_narrow), .acc_o(acc), .res_words_o(res_words),
    .step_o(cls_mac_o), .res_step_o(cls_res_o), .wait_weight_o(cls_weight_o), .wait_drain_o(cls_drain_o),
    .empty_o(empty)
  );

  hv_drain u_drain (
    .clk_i, .rst_ni,
    .done_i(tile_done), .done_lane_i(tile_done_lane), .narrow_i(tile_narrow), .acc_i(acc), .res_words_i(res_words), .desc_i(cur_q), .taken_o(drain_taken),
    .pbank_o(pbank), .pgroup_o(pgroup), .pbias_i(pbias), .pmult_i(pmult), .pshift_i(pshift),
    .oct_drained_o(oct_drained),
    .wr_valid_o(res_valid), .wr_bank_o(res_bank), .wr_row_o(res_row), .wr_data_o(res_data),
    .layer_done_o(layer_end), .range_err_o(drain_range)
  );

  assign range_err_o = fetch_range || drain_range;

  // --- Cycle classes --------------------------------------------------------------------------------
  logic pipe_busy;
  assign pipe_busy   = fstart || fetch_run || fetch_busy || mem_busy;
  assign cls_fetch_o = empty && pipe_busy;
  assign cls_load_o  = empty && !pipe_busy && have_q && !fstarted_q && wait_units;
  assign cls_dep_o   = empty && !pipe_busy && have_q && !fstarted_q && !wait_units;
  assign cls_none_o  = empty && !pipe_busy && (!have_q || fstarted_q);

endmodule

`default_nettype wire
