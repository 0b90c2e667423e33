// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Activation memory: Nb banks with one write and one read port, the write selection, and the read
// crossbar that collects the operand words of one fetch operation.
//
// Reads: an accepted issue (F3) starts the bank reads; the data is at the bank outputs one cycle later
// (F4) and moves through the crossbar into the word registers (F5) when these are free. A set is complete
// when the issue marked last has moved. The output unit reads a whole row of all banks in place of an
// issue and has priority; its data is at row_data_o one cycle after row_ready_o.
// Writes: two result words and up to eight loaded words per cycle; a load write that meets a bank
// of a result write waits (load_ready_o low). Only pixels of few channels come several at a time, so byte b of
// a load word has few sources: 8 words for byte 0, 4 for byte 1, 3 for byte 2, 2 for the others.

`default_nettype none

module hv_actmem
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  // F3 issue from hv_fetch.
  input  wire logic        issue_valid_i,
  output logic             issue_ready_o,
  input  wire logic [Nb-1:0]  bank_en_i,
  input  wire row_t [Nb-1:0]  bank_row_i,
  input  wire logic [Nb-1:0]  grant_i,
  input  wire bank_t [Nb-1:0] lane_bank_i,
  input  wire logic [Nb-1:0]  pad_i,
  input  wire logic        issue_last_i,
  input  wire op_tag_t     tag_i,
  input  wire logic [7:0]  pad_byte_i,
  output logic             busy_o,          // operations between F4 and F5

  // Complete operand sets.
  output logic             set_valid_o,
  output word_t [Nb-1:0]   set_words_o,
  output op_tag_t          set_tag_o,
  input  wire logic        set_take_i,

  // Whole-row reads of the output unit.
  input  wire logic        row_valid_i,
  input  wire row_t        row_i,
  output logic             row_ready_o,
  output word_t [Nb-1:0]   row_data_o,

  // Result writes (registered by the caller).
  input  wire logic [1:0]  res_valid_i,
  input  wire bank_t [1:0] res_bank_i,
  input  wire row_t [1:0]  res_row_i,
  input  wire word_t [1:0] res_data_i,

  // Load writes: word i is pixel p+i of group g.
  input  wire logic        load_valid_i,
  input  wire logic [7:0]  load_mask_i,
  /* verilator lint_off UNUSEDSIGNAL */  // row_i stands for the upper bits
  input  wire logic [19:0] load_p_i,
  input  wire logic [9:0]  load_g_i,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire row_t        load_row_i,      // row of pixel p
  input  wire word_t [7:0] load_data_i,
  output logic             load_ready_o
);

  // --- Write selection -----------------------------------------------------------------------------
  logic  [Nb-1:0] res_hit, load_hit;
  logic  [Nb-1:0] wen;
  row_t  [Nb-1:0] wrow;
  word_t [Nb-1:0] wdata;
  bank_t          load_bank0;

  assign load_bank0 = load_p_i[Lb-1:0] + group_skew(load_g_i[Lb-1:0]);

  for (genvar b = 0; b < Nb; b++) begin : gen_write
    bank_t      off;                         // word of the load write that belongs to this bank
    logic       hit1;
    logic [Lb:0] pos;
    assign off = Lb'(b) - load_bank0;
    assign pos = {1'b0, load_p_i[Lb-1:0]} + {1'b0, off};
    assign hit1 = res_valid_i[1] && res_bank_i[1] == Lb'(b);
    assign res_hit[b]  = hit1 || (res_valid_i[0] && res_bank_i[0] == Lb'(b));
    if (Nb > 8) begin : gen_wide
      assign load_hit[b] = off < Lb'(8) && load_mask_i[off[2:0]];
    end else begin : gen_narrow
      assign load_hit[b] = load_mask_i[3'(off)];
    end
    assign wen[b]   = res_hit[b] || (load_valid_i && load_ready_o && load_hit[b]);
    assign wrow[b]  = res_hit[b] ? (hit1 ? res_row_i[1] : res_row_i[0]) : load_row_i + RowW'(pos[Lb]);
    for (genvar i = 0; i < Wb; i++) begin : gen_byte
      localparam int unsigned Sources = i == 0 ? 8 : i == 1 ? 4 : i == 2 ? 3 : 2;
      logic [7:0] load_byte;
      always_comb begin
        load_byte = '0;
        for (int unsigned k = 0; k < Sources; k++) begin
          if (32'(off) == k) load_byte = load_data_i[k][i];
        end
      end
      assign wdata[b][i] = res_hit[b] ? (hit1 ? res_data_i[1][i] : res_data_i[0][i]) : load_byte;
    end
  end
  assign load_ready_o = (res_hit & load_hit) == '0;

  // --- Banks -----------------------------------------------------------------------------------------
  logic  [Nb-1:0] ren;
  row_t  [Nb-1:0] rrow;
  word_t [Nb-1:0] rdata;
  logic           f4_valid_q, f4_move, f3_free, issue_fire, row_fire;

  assign row_fire   = row_valid_i && row_ready_o;
  assign issue_fire = issue_valid_i && issue_ready_o;

  for (genvar b = 0; b < Nb; b++) begin : gen_bank
    // A program orders reads after writes of a word (dep, wait counts), so the two never meet.
    (* no_rw_check *) word_t mem [HV_ACT_ROWS];
    word_t rdata_q;
    assign ren[b]  = row_fire || (issue_fire && bank_en_i[b]);
    assign rrow[b] = row_fire ? row_i : bank_row_i[b];
    always_ff @(posedge clk_i) begin
      if (wen[b]) mem[wrow[b]] <= wdata[b];
      if (ren[b]) rdata_q <= mem[rrow[b]];
    end
    assign rdata[b] = rdata_q;
  end
  assign row_data_o = rdata;

  // --- F4, F5 ----------------------------------------------------------------------------------------
  logic  [Nb-1:0]  f4_grant_q, f4_pad_q;
  bank_t [Nb-1:0]  f4_bank_q;
  logic            f4_last_q;
  logic [7:0]      f4_padb_q;
  op_tag_t         f4_tag_q;
  logic            full_q;
  word_t [Nb-1:0]  words_q;
  op_tag_t         tag_q;

  assign f4_move = f4_valid_q && (!full_q || set_take_i);
  assign f3_free = !f4_valid_q || f4_move;
  assign row_ready_o   = f3_free;
  assign issue_ready_o = f3_free && !row_valid_i;
  assign busy_o        = f4_valid_q || full_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      f4_valid_q <= 1'b0;
      full_q     <= 1'b0;
    end else begin
      if (f3_free) f4_valid_q <= issue_fire;
      if (f4_move) full_q <= f4_last_q;
      else if (set_take_i) full_q <= 1'b0;
    end
    if (issue_fire) begin
      f4_grant_q <= grant_i;
      f4_pad_q   <= pad_i;
      f4_bank_q  <= lane_bank_i;
      f4_last_q  <= issue_last_i;
      f4_padb_q  <= pad_byte_i;
      f4_tag_q   <= tag_i;
    end
    if (f4_move) begin
      tag_q <= f4_tag_q;
      for (int unsigned w = 0; w < Nb; w++) begin
        if (f4_grant_q[w]) words_q[w] <= rdata[f4_bank_q[w]];
        else if (f4_pad_q[w]) words_q[w] <= {Wb{f4_padb_q}};
      end
    end
  end

  assign set_valid_o = full_q;
  assign set_words_o = words_q;
  assign set_tag_o   = tag_q;

endmodule

`default_nettype wire
