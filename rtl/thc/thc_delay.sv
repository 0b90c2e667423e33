// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Delay line in LUT RAM: data_o is what data_i was Steps steps before; a step is a cycle with en_i high.
// One memory of Steps - 1 words, one write and one asynchronous read port, and the output register. Reset
// sets the pointer only: the first Steps words that come out are undefined.

`default_nettype none

module thc_delay #(
  parameter int unsigned Width = 8,
  parameter int unsigned Steps = 8    // 3 or more
) (
  input  wire logic              clk_i,
  input  wire logic              rst_ni,
  input  wire logic              en_i,
  input  wire logic [Width-1:0]  data_i,
  output logic [Width-1:0]       data_o
);

  if (Steps < 3) begin : gen_bad_steps
    $error("thc_delay: Steps must be 3 or more");
  end

  localparam int unsigned Words = Steps - 1;
  localparam int unsigned Aw = $clog2(Words);

  (* ram_style = "distributed" *) logic [Width-1:0] mem [Words];
  logic [Width-1:0] oldest;
  logic [Aw-1:0]    ptr_q;

  assign oldest = mem[ptr_q];
  always_ff @(posedge clk_i) begin
    if (en_i) begin
      mem[ptr_q] <= data_i;
      data_o     <= oldest;
    end
    if (!rst_ni)   ptr_q <= '0;
    else if (en_i) ptr_q <= ptr_q == Aw'(Words - 1) ? '0 : ptr_q + Aw'(1);
  end

endmodule

`default_nettype wire
