// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Cells of the ECP5 that the RTL instantiates and yosys's cells_bb.v does not have, as black boxes for the
// SystemVerilog reader; synth_ecp5 knows them itself.
(* blackbox *)
module CCU2C (
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
  output S0, S1, COUT
);
  parameter [15:0] INIT0 = 16'h0000;
  parameter [15:0] INIT1 = 16'h0000;
  parameter INJECT1_0 = "YES";
  parameter INJECT1_1 = "YES";
endmodule
