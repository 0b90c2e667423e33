// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One index of a coordinate -> its value of the quantisation table. Combinational.
//
// An index beyond the last entry counts as its value modulo the number of entries (a power of two), with
// bad_o beside it.

`default_nettype none

module thc_lookup (
  input  wire logic [15:0][7:0] values_i,    // the table; entries beyond entries_i are not looked at
  input  wire logic [4:0]       entries_i,   // 2, 4, 8 or 16
  input  wire logic [3:0]       index_i,
  output logic [7:0]            value_o,
  output logic                  bad_o
);

  logic [3:0] index;

  assign index   = index_i & 4'(entries_i - 5'd1);
  assign value_o = values_i[index];
  assign bad_o   = index != index_i;

endmodule

`default_nettype wire
