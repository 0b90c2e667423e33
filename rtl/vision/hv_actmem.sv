// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Activation memory: Nb banks with one write and one read port, the write selection, and the read
// network that collects the operand words of one fetch operation.
//
// Reads flow without a stall: an issue in cycle t moves the lanes' rows through the network the other way, to the
// columns (A2) and to the banks (A3); words are at the bank outputs in t+3 (F4), move through the first stage of
// the network (hv_core_pkg) into the column registers (F5) and through the second into the word registers
// (F6). When the issue marked last has arrived there, the set goes into a FIFO of SetDepth sets; hv_fetch issues
// only what has a place there (issue_ok_o, reserve_i: a set is issued in this cycle). A set is at the output
// six cycles after issue_valid_i of its last issue. The output unit reads a whole row of all banks in place of an issue (hold_o)
// and has priority; its data is at row_data_o RowLatency cycles after row_ready_o.
// Writes: two result words and up to eight loaded words per cycle; a load write that meets a bank
// of a result write waits (load_ready_o low). Words of one write lie in consecutive banks, so each is first turned
// to its place modulo 8 and a bank has one source of each kind. Only pixels of few channels come several at a
// time (hv_load), so byte b of a load word has few sources: 8 words for byte 0, 4 for bytes 1 and 2, 2 for
// the others; the bytes of words that come more at a time than that are zero. Either kind of write is in the banks two
// cycles later than it is accepted, and a load write that has to wait holds reads: no read overtakes a write that
// was accepted before.

`default_nettype none

module hv_actmem
  import hv_pkg::*;
  import hv_core_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  // Issues from hv_fetch: always taken.
  output logic             issue_ok_o,      // there is a place for one more set
  output logic             hold_o,          // no issue may be made in this cycle
  input  wire logic        reserve_i,       // the issue made in this cycle takes a place
  input  wire logic        issue_valid_i,   // one cycle after
  input  wire row_t [Nb-1:0]  row_lane_i,
  input  wire net_t           net_i,
  input  wire logic [Nb-1:0]  pad_i,
  input  wire logic        issue_last_i,
  input  wire op_tag_t     tag_i,
  input  wire logic [7:0]  pad_byte_i,
  output logic             busy_o,          // operations and sets inside

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
  assign load_bank0 = load_p_i[Lb-1:0] + group_skew(load_g_i[Lb-1:0]);
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

  // First cycle: the words turned to their places, and which banks they go to. Second: what each bank writes.
  logic  [Nb-1:0] res_hit_q, load_hit_q, load_over_q;
  logic  [Nb-1:0] res_hit, res_meet_q;       // res_meet_q: res_hit_q again, for load_go
  row_t  [1:0]    res_row_q;
  word_t [1:0]    res_data_q;
  logic           load_q, load_go, load_wait_q;
  row_t           load_row0_q, load_row1_q;
  word_t [7:0]    load_data_q;
  logic  [Nb-1:0] wen_q;
  row_t  [Nb-1:0] wrow_q;
  word_t [Nb-1:0] wdata_q;

  ks_copies #(
    .Width(Nb),
    .Copies(1)
  ) u_meet (
    .clk_i, .d_i(res_hit), .q_o(res_meet_q)
  );
  assign load_go      = (res_meet_q & load_hit_q) == '0;
  assign load_ready_o = !load_q || load_go;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      load_q      <= 1'b0;
      load_wait_q <= 1'b0;
    end else begin
      if (load_ready_o) load_q <= load_valid_i;
      load_wait_q <= load_q && !load_go;
    end
    res_row_q  <= res_row;
    res_data_q <= res_data;
    if (load_ready_o) begin
      load_row0_q <= load_row_i;
      load_row1_q <= load_row_i + RowW'(1);
      load_data_q <= load_data;
    end
  end

  for (genvar b = 0; b < Nb; b++) begin : gen_write
    bank_t off;                              // word of the load write that belongs to this bank
    logic  hit;
    assign res_hit[b] = res_valid[b % 2] && res_bank[b % 2] == Lb'(b);
    assign off = Lb'(b) - load_bank0;
    if (Nb > 8) begin : gen_wide
      assign hit = off < Lb'(8) && load_mask_i[off[2:0]];
    end else begin : gen_narrow
      assign hit = load_mask_i[3'(off)];
    end
    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        res_hit_q[b] <= 1'b0;
        wen_q[b]     <= 1'b0;
      end else begin
        res_hit_q[b] <= res_hit[b];
        wen_q[b]     <= res_hit_q[b] || (load_q && load_go && load_hit_q[b]);
      end
      if (load_ready_o) begin
        load_hit_q[b]  <= load_valid_i && hit;
        load_over_q[b] <= {1'b0, load_p_i[Lb-1:0]} + {1'b0, off} >= (Lb+1)'(Nb);   // it is in the next row
      end
      wrow_q[b]  <= res_hit_q[b] ? res_row_q[b % 2] : load_over_q[b] ? load_row1_q : load_row0_q;
      wdata_q[b] <= res_hit_q[b] ? res_data_q[b % 2] : load_data_q[b % 8];
    end
  end

  // --- Rows to the banks -----------------------------------------------------------------------------
  // A1: an issue, or a row for the output unit, which was accepted in the cycle before. A2: columns. A3: banks.
  logic  a1_row_q, a2_valid_q, a2_row_q, a3_valid_q;
  row_t  a1_rowi_q, a2_rowi_q;
  // What an issue needs on the way back: the banks of the columns, and at the lanes the rest.
  typedef struct packed {
    logic   [Nb-1:0] lanes;
    net_c_t [Nb-1:0] lane_c;
    logic   [Nb-1:0] pad;
    logic   [7:0]    padb;
    logic            last;
    op_tag_t         tag;
  } lanes_t;
  net_x_t [Nx-1:0][Nc-1:0] a2_x_q, a3_x_q, f4_x_q;
  lanes_t a2_q, a3_q, f4_q, f5_q;
  row_t  [Nx-1:0][Nc-1:0] a1_row, a2_col_q;
  net_x_t [Nb-1:0] sel, a2_sel_q;
  logic  [Nb-1:0] en, a2_en_q, ren_q;
  row_t  [Nb-1:0] a2_row, rrow_q;

  assign row_ready_o = !load_wait_q;
  assign hold_o      = row_valid_i || load_wait_q;

  for (genvar m = 0; m < Nx; m++) begin : gen_col_row
    for (genvar c = 0; c < Nc; c++) begin : gen_class
      row_t [Nx-1:0] rows;
      for (genvar k = 0; k < Nx; k++) begin : gen_row
        assign rows[k] = k < Nc ? row_lane_i[Nx*(k%Nc)+m] : '0;
      end
      ks_mux4 #(
        .Width(RowW)
      ) u_mux (
        .d_i(rows), .s_i(2'(net_i.lane_k[m][c])), .set_i('0), .y_o(a1_row[m][c])
      );
    end
  end
  for (genvar c = 0; c < Nc; c++) begin : gen_bank_row
    for (genvar x = 0; x < Nx; x++) begin : gen_x
      row_t [Nx-1:0] rows;
      always_comb begin
        sel[Nx*c+x] = '0;
        en[Nx*c+x]  = 1'b0;
        for (int unsigned m = 0; m < Nx; m++) begin
          if (net_i.col_en[m][c] && net_i.col_x[m][c] == NxB'(x)) begin
            sel[Nx*c+x] = sel[Nx*c+x] | NxB'(m);
            en[Nx*c+x]  = 1'b1;
          end
        end
      end
      for (genvar m = 0; m < Nx; m++) begin : gen_row
        assign rows[m] = a2_col_q[m][c];
      end
      ks_mux4 #(
        .Width(RowW)
      ) u_mux (
        .d_i(rows), .s_i(a2_sel_q[Nx*c+x]), .set_i('0), .y_o(a2_row[Nx*c+x])
      );
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      a1_row_q   <= 1'b0;
      a2_row_q   <= 1'b0;
      a2_valid_q <= 1'b0;
      a3_valid_q <= 1'b0;
      ren_q      <= '0;
    end else begin
      a1_row_q   <= row_valid_i && row_ready_o;
      a2_row_q   <= a1_row_q;
      a2_valid_q <= issue_valid_i;
      a3_valid_q <= a2_valid_q;
      ren_q      <= {Nb{a2_row_q}} | ({Nb{a2_valid_q}} & a2_en_q);
    end
    a1_rowi_q <= row_i;
    a2_rowi_q <= a1_rowi_q;
    a2_col_q  <= a1_row;
    a2_sel_q  <= sel;
    a2_en_q   <= en;
    for (int unsigned b = 0; b < Nb; b++) rrow_q[b] <= a2_row_q ? a2_rowi_q : a2_row[b];
    a2_q <= '{lanes: net_i.lanes, lane_c: net_i.lane_c, pad: pad_i, padb: pad_byte_i, last: issue_last_i, tag: tag_i};
    {a2_x_q, a3_x_q, f4_x_q} <= {net_i.col_x, a2_x_q, a3_x_q};
    {a3_q, f4_q, f5_q}       <= {a2_q, a3_q, f4_q};
  end

  // --- Banks -----------------------------------------------------------------------------------------
  word_t [Nb-1:0] rdata;

  for (genvar b = 0; b < Nb; b++) begin : gen_bank
    // A program orders reads after writes of a word (dep, wait counts), so the two never meet.
    (* no_rw_check *) word_t mem [HV_ACT_ROWS];
    word_t rdata_q;
    always_ff @(posedge clk_i) begin
      if (wen_q[b]) mem[wrow_q[b]] <= wdata_q[b];
      if (ren_q[b]) rdata_q <= mem[rrow_q[b]];
    end
    assign rdata[b] = rdata_q;
  end
  assign row_data_o = rdata;

  // --- F4, F5, F6 ----------------------------------------------------------------------------------------
  logic            f4_valid_q, f5_valid_q, set_q;
  word_t [Nx-1:0][Nc-1:0] col_q;
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
        .d_i(rdata[Nx*c +: Nx]), .s_i(f4_x_q[m][c]), .set_i('0), .y_o(col_word[m][c])
      );
    end
  end
  for (genvar w = 0; w < Nb; w++) begin : gen_lane
    word_t [Nx-1:0] classes;
    word_t          word;
    logic [7:0]     one, zero;
    assign one  = {8{f5_q.pad[w]}} & f5_q.padb;
    assign zero = {8{f5_q.pad[w] && f5_valid_q}} & ~f5_q.padb;
    for (genvar c = 0; c < Nx; c++) begin : gen_class
      assign classes[c] = c < Nc ? col_q[w % Nx][c % Nc] : '0;
    end
    ks_mux4 #(
      .Width(8 * Wb)
    ) u_mux (
      .d_i(classes), .s_i(2'(f5_q.lane_c[w])), .set_i({Wb{one}}), .y_o(word)
    );
    for (genvar i = 0; i < 8; i++) begin : gen_bit
      always_ff @(posedge clk_i) begin
        for (int unsigned b = 0; b < Wb; b++) begin
          if (zero[i]) words_q[w][b][i] <= 1'b0;
          else if (f5_valid_q && (f5_q.lanes[w] || f5_q.pad[w])) words_q[w][b][i] <= word[b][i];
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      f4_valid_q <= 1'b0;
      f5_valid_q <= 1'b0;
      set_q      <= 1'b0;
    end else begin
      f4_valid_q <= a3_valid_q;
      f5_valid_q <= f4_valid_q;
      set_q      <= f5_valid_q && f5_q.last;
    end
    col_q <= col_word;
    tag_q <= f5_q.tag;
  end

  // --- Sets ------------------------------------------------------------------------------------------------
  // Places are counted when a set is issued, so that what is under way fits too.
  localparam int unsigned SetDepth = 16;     // nine between an issue and the return of its place, and some to even out
  localparam int unsigned SetLevelW = $clog2(SetDepth) + 1;
  logic [SetLevelW-1:0] place_n_q, place_n;  // places taken
  logic                 set_empty, take_q;

  assign place_n = place_n_q + SetLevelW'(reserve_i) - SetLevelW'(take_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      place_n_q  <= '0;
      issue_ok_o <= 1'b1;
      take_q     <= 1'b0;
    end else begin
      place_n_q  <= place_n;
      issue_ok_o <= place_n < SetLevelW'(SetDepth);
      take_q     <= set_take_i;
    end
  end

  /* verilator lint_off PINCONNECTEMPTY */   // the places say it
  ks_fifo #(
    .Width($bits(words_q) + $bits(tag_q)),
    .Depth(SetDepth)
  ) u_sets (
    .clk_i, .rst_ni,
    .push_i(set_q), .wdata_i({tag_q, words_q}), .full_o(),
    .pop_i(set_take_i), .rdata_o({set_tag_o, set_words_o}), .empty_o(set_empty), .level_o()
  );
  /* verilator lint_on PINCONNECTEMPTY */

  assign set_valid_o = !set_empty;
  assign busy_o      = a2_valid_q || a3_valid_q || f4_valid_q || f5_valid_q || set_q || !set_empty;

endmodule

`default_nettype wire
