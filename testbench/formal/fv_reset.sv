// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The beginning of every proof: the first cycle is in reset. After it reset may come at any time.

`default_nettype none

module fv_reset (
  input wire logic clk_i,
  input wire logic rst_ni
);

  logic started_q = 1'b0;

  always_ff @(posedge clk_i) begin
    started_q <= 1'b1;
    FirstCycleInReset : assume (started_q || !rst_ni);
  end

endmodule

`default_nettype wire
