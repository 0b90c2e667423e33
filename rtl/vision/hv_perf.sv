// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Performance counters, one for each register CNT_*: counter i belongs to the register at
// CNT_CYCLES + 4*i. Counter 0 counts the cycles with busy_i, counter i > 0 those with busy_i and inc_i[i]; cycle t
// is in the counters from t+2. They are cleared in the cycle of clear_i, in which cycle t-1 counts no more:
// clear_i comes in the first cycle with busy_i of a program. Counters wrap.

`default_nettype none

module hv_perf #(
  localparam int unsigned Counters = 14
) (
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic        clear_i,
  input  wire logic        busy_i,
  input  wire logic [Counters-1:1] inc_i,
  output logic [Counters-1:0][31:0] cnt_o
);

  logic [Counters-1:0][31:0] cnt_q;
  logic [Counters-1:0] inc_q;

  always_ff @(posedge clk_i) begin
    inc_q <= {inc_i, 1'b1} & {Counters{busy_i && rst_ni}};
    if (!rst_ni || clear_i) begin
      cnt_q <= '0;
    end else begin
      for (int unsigned i = 0; i < Counters; i++) cnt_q[i] <= cnt_q[i] + 32'(inc_q[i]);
    end
  end

  assign cnt_o = cnt_q;

endmodule

`default_nettype wire
