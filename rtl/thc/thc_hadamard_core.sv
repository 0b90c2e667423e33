// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The Hadamard transform of ref::hadamard as a pipeline without back-pressure, for the inside of a
// kernel: everything moves in the cycles after those with en_d_i high and stands still in the others. Beats
// of a block need not follow each other without gaps; what is inside comes out by itself.
//
// Strides 1 .. Lanes/2 are butterflies between lanes, larger ones have a thc_hadamard_stage each. Latency
// from a block's first beat in to its first beat out, without gaps, in cycles: 2^block_log2_i / Lanes - 1
// beats plus `Steps` (one a stage, one more in each halving stage). One beat a cycle, blocks back to back.
// overflow_o (registered) rises with or a cycle after the beat at the output or before it. block_log2_i
// changes only with clear_i. Reset and clear_i forget what is inside.

`default_nettype none

module thc_hadamard_core #(
  parameter int unsigned Lanes = 16,      // coordinates of a beat: a power of two, 1 .. 64
  parameter int unsigned MaxLog2 = 15,    // largest block, 10 .. 15
  parameter int unsigned InWidth = 27,    // of an input coordinate, >= 27
  localparam int unsigned W = 27
) (
  input  wire logic                          clk_i,
  input  wire logic                          rst_ni,
  input  wire logic                          clear_i,
  input  wire logic                          en_d_i,
  input  wire logic [3:0]                    block_log2_i,

  input  wire logic                          valid_i,
  input  wire logic [Lanes-1:0][InWidth-1:0] data_i,
  output logic                               valid_o,
  output logic                               last_o,      // of a block
  output logic [Lanes-1:0][W-1:0]            data_o,
  output logic                               overflow_o
);

  localparam int unsigned MinLog2 = 10;
  localparam int unsigned LaneLog2 = $clog2(Lanes);

  if (Lanes < 1 || Lanes > 64 || 2 ** LaneLog2 != Lanes) begin : gen_bad_lanes
    $error("thc_hadamard_core: Lanes must be a power of two up to 64");
  end
  if (MaxLog2 < MinLog2 || MaxLog2 > 15) begin : gen_bad_log2
    $error("thc_hadamard_core: MaxLog2 must be 10 to 15");
  end

  logic flush_n;
  (* keep *) logic en_q;

  assign flush_n = rst_ni && !clear_i;
  always_ff @(posedge clk_i) en_q <= flush_n && en_d_i;

  logic [MaxLog2:0]                   valid;       // before stage s
  logic [MaxLog2:0][Lanes-1:0][W-1:0] data;        // after stage s-1
  logic [MaxLog2-1:0]                 over;

  assign valid[0] = valid_i;
  assign data[0]  = '0;   // stage 0 takes data_i

  for (genvar s = 0; s < int'(MaxLog2); s++) begin : gen_stage
    localparam bit Halve = s % 2 == 1;
    localparam int unsigned Iw = s == 0 ? InWidth : W;
    logic [Lanes-1:0][Iw-1:0] in;
    if (s == 0) begin : gen_first
      assign in = data_i;
    end else begin : gen_inner
      assign in = data[s];
    end

    if (s >= int'(LaneLog2)) begin : gen_beats
      thc_hadamard_stage #(
        .Lanes    (Lanes),
        .BeatsLog2(s - LaneLog2),
        .Halve    (Halve),
        .InWidth  (Iw),
        .MayBypass(s >= int'(MinLog2))
      ) u_stage (
        .clk_i,
        .rst_ni,
        .clear_i,
        .en_d_i,
        .bypass_i  (4'(s) >= block_log2_i),
        .valid_i   (valid[s]),
        .data_i    (in),
        .valid_o   (valid[s+1]),
        .data_o    (data[s+1]),
        .overflow_o(over[s])
      );
    end else begin : gen_lanes
      logic                    valid_q;
      logic [Lanes-1:0][Iw:0]  sum, sum_q;
      logic [Lanes-1:0]        over_q;
      for (genvar l = 0; l < int'(Lanes); l++) begin : gen_lane
        localparam int unsigned Pair = l ^ (1 << s);
        if (l < int'(Pair)) begin : gen_add
          assign sum[l] = (Iw + 1)'($signed(in[l])) + (Iw + 1)'($signed(in[Pair]));
        end else begin : gen_subtract
          assign sum[l] = (Iw + 1)'($signed(in[Pair])) - (Iw + 1)'($signed(in[l]));
        end
        always_ff @(posedge clk_i) begin
          if (en_q) sum_q[l] <= sum[l];
        end
      end
      always_ff @(posedge clk_i) begin
        if (!flush_n)  valid_q <= 1'b0;
        else if (en_q) valid_q <= valid[s];
      end
      if (Halve) begin : gen_round
        logic                    half_valid_q;
        logic [Lanes-1:0][W-1:0] half_q;
        for (genvar l = 0; l < int'(Lanes); l++) begin : gen_lane
          logic signed [W:0] half;
          assign half = (W + 1)'($signed(sum_q[l][W:1])) +
                        $signed({{W{1'b0}}, sum_q[l][1] && sum_q[l][0]});
          always_ff @(posedge clk_i) begin
            if (en_q) begin
              half_q[l] <= half[W-1:0];
              over_q[l] <= half[W] != half[W-1];
            end
          end
        end
        always_ff @(posedge clk_i) begin
          if (!flush_n)  half_valid_q <= 1'b0;
          else if (en_q) half_valid_q <= valid_q;
        end
        assign valid[s+1] = half_valid_q;
        assign data[s+1]  = half_q;
        assign over[s]    = half_valid_q && over_q != '0;
      end else begin : gen_plain
        for (genvar l = 0; l < int'(Lanes); l++) begin : gen_lane
          assign over_q[l]    = sum_q[l][Iw:W-1] != '0 && sum_q[l][Iw:W-1] != '1;
          assign data[s+1][l] = sum_q[l][W-1:0];
        end
        assign valid[s+1] = valid_q;
        assign over[s]    = valid_q && over_q != '0;
      end
    end
  end

  // Last beat of a block at the output.
  localparam int unsigned CountW = MaxLog2 - LaneLog2;
  logic [CountW-1:0] out_count_q, last_count_q;

  always_ff @(posedge clk_i) begin
    last_count_q <= CountW'((32'd1 << block_log2_i) / Lanes - 1);
    if (!flush_n)             out_count_q <= '0;
    else if (en_q && valid_o) out_count_q <= last_o ? '0 : out_count_q + CountW'(1);
    overflow_o <= flush_n && over != '0;
  end

  assign valid_o = valid[MaxLog2];
  assign last_o  = out_count_q == last_count_q;
  assign data_o  = data[MaxLog2];

endmodule

`default_nettype wire
