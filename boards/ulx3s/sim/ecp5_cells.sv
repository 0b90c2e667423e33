// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The cells of ECP5 that the generated system instantiates, for simulation: what they do to values at
// clock edges, not how long they take. The PLL gives the input clock itself, and its inverse as the
// shifted clock: every shift between a read's data and the next edge is the same to a simulation
// of cycles.

`default_nettype none

/* verilator lint_off DECLFILENAME */   // one file for all
/* verilator lint_off UNUSEDPARAM */    // of the vendor's cells
/* verilator lint_off UNUSEDSIGNAL */

module EHXPLLL #(
  parameter PLLRST_ENA = "DISABLED", parameter INTFB_WAKE = "DISABLED", parameter STDBY_ENABLE = "DISABLED",
  parameter DPHASE_SOURCE = "DISABLED", parameter FEEDBK_PATH = "CLKOP",
  parameter CLKI_DIV = 1, parameter CLKFB_DIV = 1,
  parameter CLKOP_ENABLE = "ENABLED", parameter CLKOS_ENABLE = "ENABLED",
  parameter CLKOS2_ENABLE = "ENABLED", parameter CLKOS3_ENABLE = "ENABLED",
  parameter CLKOP_DIV = 8, parameter CLKOS_DIV = 8, parameter CLKOS2_DIV = 8,
  parameter CLKOS3_DIV = 8,
  parameter CLKOP_CPHASE = 0, parameter CLKOS_CPHASE = 0, parameter CLKOS2_CPHASE = 0,
  parameter CLKOS3_CPHASE = 0,
  parameter CLKOP_FPHASE = 0, parameter CLKOS_FPHASE = 0, parameter CLKOS2_FPHASE = 0,
  parameter CLKOS3_FPHASE = 0
) (
  input  wire logic CLKI, RST, STDBY,
  output wire logic CLKOP, CLKOS, CLKOS2, CLKOS3, LOCK
);
  assign CLKOP  = CLKI;
  assign CLKOS  = !CLKI;
  assign CLKOS2 = CLKI;
  assign CLKOS3 = CLKI;
  assign LOCK   = !RST && !STDBY;
endmodule

module FD1S3BX (input wire logic PD, D, CK, output logic Q);
  always_ff @(posedge CK or posedge PD)
    if (PD) Q <= 1'b1;
    else    Q <= D;
endmodule

module OFS1P3BX (input wire logic PD, D, SP, SCLK, output logic Q);
  always_ff @(posedge SCLK or posedge PD)
    if (PD)      Q <= 1'b1;
    else if (SP) Q <= D;
endmodule

module IFS1P3BX (input wire logic PD, D, SP, SCLK, output logic Q);
  always_ff @(posedge SCLK or posedge PD)
    if (PD)      Q <= 1'b1;
    else if (SP) Q <= D;
endmodule

module ODDRX1F (input wire logic SCLK, RST, D0, D1, output wire logic Q);
  assign Q = SCLK ? D0 : D1;
endmodule

module BB (inout wire logic B, input wire logic I, T, output wire logic O);
  assign B = T ? 1'bz : I;
  assign O = B;
endmodule

`default_nettype wire
