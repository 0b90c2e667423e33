// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// One signal in several registers, each for a part of its loads: q_o[i] is d_i of the cycle before. No reset.
//
// Synthesis merges registers with the same input; on ECP5 (KESTREL_ECP5 defined) these are cells that it keeps.
// Simulation and other devices take the expression; the test of netlists holds the ECP5 form against it.

`default_nettype none

module ks_copies #(
  parameter int unsigned Width  = 1,
  parameter int unsigned Copies = 2
) (
  input  wire logic                         clk_i,
  input  wire logic [Width-1:0]             d_i,
  output logic [Copies-1:0][Width-1:0]      q_o
);

`ifdef KESTREL_ECP5
  for (genvar i = 0; i < Copies; i++) begin : gen_copy
    for (genvar b = 0; b < Width; b++) begin : gen_bit
      (* keep *) TRELLIS_FF #(
        .GSR("DISABLED"), .CEMUX("1"), .CLKMUX("CLK"), .LSRMUX("LSR"), .REGSET("RESET")
      ) u_ff (
        .CLK(clk_i), .LSR(1'b0), .CE(1'b1), .DI(d_i[b]), .Q(q_o[i][b])
      );
    end
  end
`else
  always_ff @(posedge clk_i) q_o <= {Copies{d_i}};
`endif

endmodule

`default_nettype wire
