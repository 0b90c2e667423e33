// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One lane of the quantiser: rotated value -> index into the table, rounded up or down at random so that
// the mean is kept. Equal to ref::quantise.
//
//   z18      = z / 2^shift, nearest even, saturated to 18 bits
//   position = z18 * gain + g / 2 on the grid, 24 fractional bits, clamped to 0 .. g
//   index    = cell + (noise + 1/2 < 2^16 * (position - values[cell]) / (values[cell+1] - values[cell]))
//
// A pipeline of `Latency` = 11 steps that moves where en_i is high; the validity of a value is the caller's
// business. gain_i is taken GainStep = 2 steps after z_i, noise_i NoiseStep = 8 steps after it. The table and
// shift_i are constant. Two multipliers (18 x 18 and 18 x 9 signed). No reset (data path).

`default_nettype none

module thc_quantise #(
  localparam int unsigned W = 27   // bits of block fixed point
) (
  input  wire logic              clk_i,
  input  wire logic              en_i,
  input  wire logic [W-1:0]      z_i,          // signed
  input  wire logic [1:0]        shift_i,      // 8 - floor(block_log2 / 2): 1 .. 3
  input  wire logic [16:0]       gain_i,       // 10 fractional bits
  input  wire logic [15:0]       noise_i,
  input  wire logic [7:0]        granularity_i,
  input  wire logic [14:0][7:0]  values_i,     // lower end of each cell
  input  wire logic [14:0][7:0]  widths_i,     // of each cell
  input  wire logic [14:1]       cells_i,      // the table has this cell
  output logic [3:0]             index_o
);

  // 1, 2: rounded; 3: saturated.
  logic signed [W-2:0] s1_floor, s1_floor_d;
  logic                s1_up, s1_up_d;
  logic signed [W-1:0] s2_z;
  logic signed [17:0]  s3_z, s3_gain;
  // 4: product; 5: position; 6: clamped.
  logic signed [35:0]  s4_product;
  logic signed [35:0]  s5_position;
  logic [31:0]         s6_position, s7_position, s8_position, s9_position;
  // 7: cells that begin at or below it; 8: the last of them; 9: its ends.
  logic [14:1]         s7_below;
  logic [3:0]          s8_cell, s8_cell_d, s9_cell, s10_cell;
  logic [7:0]          s9_base, s9_width;
  logic signed [17:0]  s9_noise;
  // 10: distance from the lower end, and what it is compared with.
  logic [31:0]         s10_offset;
  /* verilator lint_off UNUSEDSIGNAL */   // never negative, below 2^25
  logic signed [26:0]  s10_threshold;
  /* verilator lint_on UNUSEDSIGNAL */

  always_comb begin
    case (shift_i)
      2'd1: begin
        s1_floor_d = z_i[W-1:1];
        s1_up_d    = z_i[0] && z_i[1];
      end
      2'd2: begin
        s1_floor_d = (W - 1)'($signed(z_i[W-1:2]));
        s1_up_d    = z_i[1] && (z_i[0] || z_i[2]);
      end
      default: begin
        s1_floor_d = (W - 1)'($signed(z_i[W-1:3]));
        s1_up_d    = z_i[2] && (z_i[1:0] != '0 || z_i[3]);
      end
    endcase
  end

  always_comb begin
    s8_cell_d = '0;
    for (int unsigned c = 1; c < 15; c++) begin
      if (s7_below[c]) s8_cell_d = 4'(c);
    end
  end

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      s1_floor <= s1_floor_d;
      s1_up    <= s1_up_d;

      s2_z <= W'(s1_floor) + W'($signed({1'b0, s1_up}));

      if (s2_z[W-1:17] == '0 || s2_z[W-1:17] == '1) s3_z <= s2_z[17:0];
      else s3_z <= {s2_z[W-1], {17{!s2_z[W-1]}}};
      s3_gain <= {1'b0, gain_i};

      s4_product <= 36'(s3_z) * 36'(s3_gain);

      s5_position <= s4_product + $signed({5'b0, granularity_i, 23'b0});

      if (s5_position[35])                                  s6_position <= '0;
      else if (s5_position[34:24] >= {3'b0, granularity_i}) s6_position <= {granularity_i, 24'b0};
      else                                                  s6_position <= s5_position[31:0];

      for (int unsigned c = 1; c < 15; c++) begin
        s7_below[c] <= cells_i[c] && values_i[c] <= s6_position[31:24];
      end
      s7_position <= s6_position;

      s8_cell     <= s8_cell_d;
      s8_position <= s7_position;

      s9_cell     <= s8_cell;
      s9_base     <= values_i[s8_cell];
      s9_width    <= widths_i[s8_cell];
      s9_position <= s8_position;
      s9_noise    <= {1'b0, noise_i, 1'b1};

      s10_cell      <= s9_cell;
      s10_offset    <= {s9_position[31:24] - s9_base, s9_position[23:0]};
      s10_threshold <= 27'(s9_noise) * 27'($signed({1'b0, s9_width}));

      index_o <= s10_cell + 4'({s10_threshold[24:0], 7'b0} < s10_offset);
    end
  end

endmodule

`default_nettype wire
