// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Activation memory: Nb banks with one write and one read port, the write selection, and the read
// network that collects the operand words of one fetch operation.
//
// Reads: an accepted issue starts the bank reads; the data is at the bank outputs one cycle later
// (F4), moves through the first stage of the network (hv_core_pkg) into the column registers (F5) and through the
// second into the word registers (F6) as these are free. A set is complete when the issue marked last has moved. The output unit reads a whole row of all
// banks in place of an issue and has priority; its data is at row_data_o one cycle after row_ready_o.
// Writes: two result words and up to eight loaded words per cycle; a load write that meets a bank
// of a result write waits (load_ready_o low). Words of one write lie in consecutive banks, so each is first turned
// to its place modulo 8 and a bank has one source of each kind. Only pixels of few channels come several at a
// time (hv_load), so byte b of a load word has few sources: 8 words for byte 0, 4 for bytes 1 and 2, 2 for
// the others; the bytes of words that come more at a time than that are zero.

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
  input  wire net_t           net_i,
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
  if (Nb < 8 || Nb > 16 || Wb != 8) begin : gen_bad_size
    $error("hv_actmem: 8 or 16 banks of 8 bytes");
  end

  // A result word by the lowest bit of its bank.
  logic  [1:0] res_valid;
  bank_t [1:0] res_bank;
  row_t  [1:0] res_row;
  word_t [1:0] res_data;
  logic        res_turn;
  assign res_turn  = res_bank_i[0][0];
  assign res_valid = res_turn ? {res_valid_i[0], res_valid_i[1]} : res_valid_i;
  assign res_bank  = res_turn ? {res_bank_i[0], res_bank_i[1]} : res_bank_i;
  assign res_row   = res_turn ? {res_row_i[0], res_row_i[1]} : res_row_i;
  assign res_data  = res_turn ? {res_data_i[0], res_data_i[1]} : res_data_i;

  // Load words by the lowest bits of their banks.
  bank_t       load_bank0;
  word_t [7:0] load_data;
  row_t        load_row1;
  assign load_bank0 = load_p_i[Lb-1:0] + group_skew(load_g_i[Lb-1:0]);
  assign load_row1  = load_row_i + RowW'(1);
  for (genvar i = 0; i < Wb; i++) begin : gen_turn
    localparam int unsigned Sources = i == 0 ? 8 : i <= 2 ? 4 : 2;
    logic [Sources-1:0][7:0] from, turned;
    for (genvar k = 0; k < Sources; k++) begin : gen_from
      assign from[k] = load_data_i[k][i];
    end
    if (Sources == 2) begin : gen_two
      assign turned = load_bank0[0] ? {from[0], from[1]} : from;
    end else begin : gen_four
      // By up to three places in one step, by four in another.
      logic [Sources-1:0][7:0] half;
      if (Sources == 8) begin : gen_eight
        assign half = load_bank0[2] ? {from[3:0], from[7:4]} : from;
      end else begin : gen_all
        assign half = from;
      end
      for (genvar k = 0; k < Sources; k++) begin : gen_place
        ks_mux4 #(
          .Width(8)
        ) u_mux (
          .d_i({half[(k+Sources-3)%Sources], half[(k+Sources-2)%Sources], half[(k+Sources-1)%Sources],
                half[k]}),
          .s_i(load_bank0[1:0]), .set_i('0), .y_o(turned[k])
        );
      end
    end
    for (genvar k = 0; k < 8; k++) begin : gen_word
      assign load_data[k][i] = turned[k % Sources];
    end
  end

  logic  [Nb-1:0] res_hit, load_hit;
  logic  [Nb-1:0] wen;
  row_t  [Nb-1:0] wrow;
  word_t [Nb-1:0] wdata;
  for (genvar b = 0; b < Nb; b++) begin : gen_write
    bank_t      off;                         // word of the load write that belongs to this bank
    logic       over;                        // it is in the next row
    assign off  = Lb'(b) - load_bank0;
    assign over = {1'b0, load_p_i[Lb-1:0]} + {1'b0, off} >= (Lb+1)'(Nb);
    assign res_hit[b] = res_valid[b % 2] && res_bank[b % 2] == Lb'(b);
    if (Nb > 8) begin : gen_wide
      assign load_hit[b] = off < Lb'(8) && load_mask_i[off[2:0]];
    end else begin : gen_narrow
      assign load_hit[b] = load_mask_i[3'(off)];
    end
    assign wen[b]   = res_hit[b] || (load_valid_i && load_ready_o && load_hit[b]);
    assign wrow[b]  = res_hit[b] ? res_row[b % 2] : over ? load_row1 : load_row_i;
    assign wdata[b] = res_hit[b] ? res_data[b % 2] : load_data[b % 8];
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

  // --- F4, F5, F6 ----------------------------------------------------------------------------------------
  logic  [Nb-1:0]  f4_pad_q;
  net_t            f4_net_q;
  logic            f4_last_q;
  logic [7:0]      f4_padb_q;
  op_tag_t         f4_tag_q;
  logic            f5_valid_q, f5_move, f5_free, f5_last_q;
  logic  [Nb-1:0]  f5_pad_q, f5_lanes_q;
  net_c_t [Nb-1:0] f5_lane_c_q;
  logic [7:0]      f5_padb_q;
  op_tag_t         f5_tag_q;
  word_t [Nx-1:0][Nc-1:0] col_q;
  logic            full_q;
  word_t [Nb-1:0]  words_q;
  op_tag_t         tag_q;

  // Stage one: a word of every class for each column. Stage two: a class for each lane; the ones of the pad
  // byte enter there, its zeros as resets of the word registers.
  word_t [Nx-1:0][Nc-1:0] col_word;
  for (genvar m = 0; m < Nx; m++) begin : gen_column
    for (genvar c = 0; c < Nc; c++) begin : gen_class
      ks_mux4 #(
        .Width(8 * Wb)
      ) u_mux (
        .d_i(rdata[Nx*c +: Nx]), .s_i(f4_net_q.col_x[m][c]), .set_i('0), .y_o(col_word[m][c])
      );
    end
  end
  for (genvar w = 0; w < Nb; w++) begin : gen_lane
    word_t [Nx-1:0] classes;
    word_t          word;
    logic [7:0]     one, zero;
    assign one  = {8{f5_pad_q[w]}} & f5_padb_q;
    assign zero = {8{f5_pad_q[w] && f5_move}} & ~f5_padb_q;
    for (genvar c = 0; c < Nx; c++) begin : gen_class
      assign classes[c] = c < Nc ? col_q[w % Nx][c % Nc] : '0;
    end
    ks_mux4 #(
      .Width(8 * Wb)
    ) u_mux (
      .d_i(classes), .s_i(2'(f5_lane_c_q[w])), .set_i({Wb{one}}), .y_o(word)
    );
    for (genvar i = 0; i < 8; i++) begin : gen_bit
      always_ff @(posedge clk_i) begin
        for (int unsigned b = 0; b < Wb; b++) begin
          if (zero[i]) words_q[w][b][i] <= 1'b0;
          else if (f5_move && (f5_lanes_q[w] || f5_pad_q[w])) words_q[w][b][i] <= word[b][i];
        end
      end
    end
  end

  assign f5_move = f5_valid_q && (!full_q || set_take_i);
  assign f5_free = !f5_valid_q || f5_move;
  assign f4_move = f4_valid_q && f5_free;
  assign f3_free = !f4_valid_q || f4_move;
  assign row_ready_o   = f3_free;
  assign issue_ready_o = f3_free && !row_valid_i;
  assign busy_o        = f4_valid_q || f5_valid_q || full_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      f4_valid_q <= 1'b0;
      f5_valid_q <= 1'b0;
      full_q     <= 1'b0;
    end else begin
      if (f3_free) f4_valid_q <= issue_fire;
      if (f5_free) f5_valid_q <= f4_valid_q;
      if (f5_move) full_q <= f5_last_q;
      else if (set_take_i) full_q <= 1'b0;
    end
    if (issue_fire) begin
      f4_net_q   <= net_i;
      f4_pad_q   <= pad_i;
      f4_last_q  <= issue_last_i;
      f4_padb_q  <= pad_byte_i;
      f4_tag_q   <= tag_i;
    end
    if (f4_move) begin
      col_q       <= col_word;
      f5_lanes_q  <= f4_net_q.lanes;
      f5_lane_c_q <= f4_net_q.lane_c;
      f5_pad_q    <= f4_pad_q;
      f5_last_q   <= f4_last_q;
      f5_padb_q   <= f4_padb_q;
      f5_tag_q    <= f4_tag_q;
    end
    if (f5_move) tag_q <= f5_tag_q;
  end

  assign set_valid_o = full_q;
  assign set_words_o = words_q;
  assign set_tag_o   = tag_q;

endmodule

`default_nettype wire
