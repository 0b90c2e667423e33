// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Cuts the words of a bus into 1, 2 or 4 equal parts, the lowest first: fp32, bf16 or sums of 16 or 8 bits
// of the same number of coordinates a beat. A part is in the lowest bits of m_data_o; what is above it is
// the rest of the word.
//
// One part a cycle, also across words; the first leaves in the cycle after its word came. s_ready_o
// depends on m_ready_i. Reset drops what is inside; the data are not reset.

`default_nettype none

module thc_slice #(
  parameter int unsigned Width = 512   // bits of a word, a multiple of 4
) (
  input  wire logic             clk_i,
  input  wire logic             rst_ni,
  input  wire logic [1:0]       parts_log2_i,   // 0, 1 or 2; constant while a word is inside

  input  wire logic             s_valid_i,
  output logic                  s_ready_o,
  input  wire logic [Width-1:0] s_data_i,

  output logic                  m_valid_o,
  input  wire logic             m_ready_i,
  output logic [Width-1:0]      m_data_o
);

  if (Width % 4 != 0) begin : gen_bad_width
    $error("thc_slice: Width must be a multiple of 4");
  end

  logic             valid_q;
  logic [1:0]       left_q;
  logic [Width-1:0] data_q;
  logic             last, push;

  assign last      = left_q == 2'd0;
  assign s_ready_o = !valid_q || (m_ready_i && last);
  assign push      = s_valid_i && s_ready_o;
  assign m_valid_o = valid_q;
  assign m_data_o  = data_q;

  always_ff @(posedge clk_i) begin
    if (push) begin
      data_q <= s_data_i;
      left_q <= parts_log2_i[1] ? 2'd3 : {1'b0, parts_log2_i[0]};
    end else if (m_ready_i && valid_q) begin
      data_q <= parts_log2_i[1] ? data_q >> (Width / 4) : data_q >> (Width / 2);
      left_q <= left_q - 2'd1;
    end
    if (!rst_ni)        valid_q <= 1'b0;
    else if (push)      valid_q <= 1'b1;
    else if (m_ready_i && last) valid_q <= 1'b0;
  end

endmodule

`default_nettype wire
