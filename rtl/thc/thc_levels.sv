// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// From the scale of a block: the rotated value that each of the 16 table values stands for when it is the
// only contribution, ref::dequantise(values[i], 1, block_log2, scale, table), and the gain of the block.
// For the error feedback, whose lanes keep the 16 values in a memory each.
//
// Two banks in turn: while one is in use the other is filled, 26 cycles after its scale is there.
// ready_o[b]: bank b is filled; done_i[b] gives it back. The write port is for 32 words, bank and index.
// The gain of a bank is at gains_o from the cycle after its scale is taken on, as taken_o says. cfg_i is constant. Reset and clear_i
// forget what is inside; filling begins with bank 0.

`include "ks_assert.svh"
`default_nettype none

module thc_levels
  import thc_core_pkg::*;
(
  input  wire logic              clk_i,
  input  wire logic              rst_ni,
  input  wire logic              clear_i,
  /* verilator lint_off UNUSEDSIGNAL */   // no use for keys and the number of entries
  input  wire thc_cfg_t          cfg_i,
  /* verilator lint_on UNUSEDSIGNAL */

  input  wire logic              s_valid_i,
  output logic                   s_ready_o,
  input  wire thc_scale_t        s_scale_i,

  output logic                   write_o,
  output logic [4:0]             waddr_o,    // bank and index
  output logic [22:0]            wdata_o,    // signed
  output logic [1:0][16:0]       gains_o,
  output logic [1:0]             taken_o,
  output logic [1:0]             ready_o,
  input  wire logic [1:0]        done_i
);

  logic flush_n;
  assign flush_n = rst_ni && !clear_i;

  // Constant: the shift that gives g 16 bits, and the last rounding.
  logic [3:0] align_q, align_d;
  logic [3:0] round_q;      // 12 .. 15

  always_comb begin
    align_d = 4'd15;
    for (int unsigned b = 1; b < 8; b++) begin
      if (cfg_i.granularity[b]) align_d = 4'(15 - b);
    end
  end
  always_ff @(posedge clk_i) begin
    align_q <= align_d;
    round_q <= 4'd7 + (cfg_i.block_log2 >> 1) + 4'(cfg_i.block_log2[0]);
  end

  // Control: two steps for the factor, then an index a cycle down the pipeline.
  typedef enum logic [1:0] {Idle, Shift, Round, Run} state_e;
  state_e     state_q;
  logic       bank_q;
  logic [3:0] index_q;
  logic [5:1] valid_q;
  logic [1:0] busy_q;      // bank in filling or filled

  assign s_ready_o = state_q == Idle && !busy_q[bank_q] && valid_q == '0;

  logic [5:0]  shift_q;     // of {step, 16 zeros}, less one
  logic        zero_q;
  logic [16:0] step_q;
  logic [32:0] shifted_q;
  logic [17:0] factor_q;

  always_ff @(posedge clk_i) begin
    case (state_q)
      Idle: if (s_ready_o && s_valid_i) begin
        step_q          <= s_scale_i.step;
        zero_q          <= s_scale_i.exponent == '0;
        shift_q         <= 6'(s_scale_i.step_shift) + 6'(align_q) - 6'd14;
        gains_o[bank_q] <= s_scale_i.gain;
      end
      Shift: shifted_q <= {step_q, 16'b0} >> shift_q;
      Round: factor_q <= 18'((shifted_q + 33'd1) >> 1);
      default: ;
    endcase
    if (!flush_n) begin
      state_q <= Idle;
      index_q <= '0;
      bank_q  <= 1'b0;
      busy_q  <= '0;
      ready_o <= '0;
    end else begin
      case (state_q)
        Idle:  if (s_ready_o && s_valid_i) state_q <= Shift;
        Shift: state_q <= Round;
        Round: state_q <= Run;
        default: begin
          index_q <= index_q + 4'd1;
          if (index_q == '1) state_q <= Idle;
        end
      endcase
      for (int unsigned b = 0; b < 2; b++) begin
        if (done_i[b]) begin
          busy_q[b]  <= 1'b0;
          ready_o[b] <= 1'b0;
        end
      end
      if (s_ready_o && s_valid_i) busy_q[bank_q] <= 1'b1;
      if (write_o && waddr_o[3:0] == '1) begin
        ready_o[bank_q] <= 1'b1;
        bank_q          <= !bank_q;
      end
    end
  end

  // Pipeline: value; 2 v - g; aligned; product; rounded.
  logic [5:1][3:0]     number_q;
  logic [7:0]          p1_value;
  logic signed [9:0]   p2_centred;
  logic signed [17:0]  p3_operand;
  logic signed [36:0]  p4_product;
  logic signed [22:0]  floor;        // a product is below 2^34
  logic                up;

  always_comb begin
    floor = 23'(p4_product >>> round_q);
    case (round_q[1:0])
      2'd0:    up = p4_product[11] && (p4_product[10:0] != '0 || floor[0]);
      2'd1:    up = p4_product[12] && (p4_product[11:0] != '0 || floor[0]);
      2'd2:    up = p4_product[13] && (p4_product[12:0] != '0 || floor[0]);
      default: up = p4_product[14] && (p4_product[13:0] != '0 || floor[0]);
    endcase
  end

  logic [22:0] p5_floor;
  logic        p5_up;

  always_ff @(posedge clk_i) begin
    if (!flush_n) valid_q <= '0;
    else          valid_q <= {valid_q[4:1], state_q == Run};
    number_q <= {number_q[4:1], index_q};

    p1_value   <= cfg_i.values[index_q];
    p2_centred <= $signed({1'b0, p1_value, 1'b0}) - $signed({2'b0, cfg_i.granularity});
    p3_operand <= zero_q ? '0 : 18'(p2_centred) <<< align_q;
    p4_product <= 37'(p3_operand) * 37'($signed({1'b0, factor_q}));
    p5_floor   <= floor;
    p5_up      <= up;
  end

  assign taken_o = busy_q;
  assign write_o = valid_q[5];
  assign waddr_o = {bank_q, number_q[5]};
  assign wdata_o = p5_floor + 23'(p5_up);

  `KS_ASSERT(DoneIsReady, (done_i & ~ready_o) == '0)

endmodule

`default_nettype wire
