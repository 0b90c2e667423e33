// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Behaviour of ECP5 cells of which yosys has ports only, for Verilator. A netlist that sets a cell to a mode
// that is not modelled is refused, with the cell's name and the mode: at elaboration where a parameter says so,
// in simulation where a signal does. (yosys reads the ports here and has no $fatal.) test_netlist.py holds both cells against the RTL from which they come.

`ifdef YOSYS
`define KS_REFUSE(condition, text)
`else
`define KS_REFUSE(condition, text) if (condition) $fatal(1, text, " is not modelled (%m)");
`endif

// 18 x 18 bits, each operand signed or not, operands from the ports. No registers, or registers on CLK0 for the
// operands (CE0) and for the product (CE1).
module MULT18X18D (
  input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
  input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
  // C is on its way to an ALU only.
  input C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, C15, C16, C17,
  input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, CE1, RST0,
  output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17, P18, P19, P20, P21, P22, P23,
    P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
  parameter REG_INPUTA_CLK = "NONE";
  parameter REG_INPUTA_CE = "CE0";
  parameter REG_INPUTB_CLK = "NONE";
  parameter REG_INPUTB_CE = "CE0";
  parameter REG_OUTPUT_CLK = "NONE";
  parameter REG_OUTPUT_CE = "CE0";

  wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
  wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
  wire signed [18:0] a_in = {SIGNEDA & a[17], a};
  wire signed [18:0] b_in = {SIGNEDB & b[17], b};
  wire signed [35:0] p;

  if (REG_INPUTA_CLK == "NONE" && REG_INPUTB_CLK == "NONE" && REG_OUTPUT_CLK == "NONE") begin : gen_plain
    assign p = a_in * b_in;
  end else if (REG_INPUTA_CLK == "CLK0" && REG_INPUTA_CE == "CE0" && REG_INPUTB_CLK == "CLK0" &&
               REG_INPUTB_CE == "CE0" && REG_OUTPUT_CLK == "CLK0" && REG_OUTPUT_CE == "CE1") begin : gen_registers
    reg signed [18:0] a_q, b_q;
    reg signed [35:0] p_q;
    always @(posedge CLK0) begin
      if (CE0) a_q <= a_in;
      if (CE0) b_q <= b_in;
      if (CE1) p_q <= a_q * b_q;
      `KS_REFUSE(RST0, "MULT18X18D: RST0")
    end
    assign p = p_q;
  end else begin : gen_refused
    $error("MULT18X18D: not modelled: REG_INPUTA %s %s, REG_INPUTB %s %s, REG_OUTPUT %s %s", REG_INPUTA_CLK,
           REG_INPUTA_CE, REG_INPUTB_CLK, REG_INPUTB_CE, REG_OUTPUT_CLK, REG_OUTPUT_CE);
  end
  always @* begin
    `KS_REFUSE(SOURCEA || SOURCEB, "MULT18X18D: SOURCEA or SOURCEB")
  end

  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
    P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p;
endmodule

// Block RAM of 1024 x 18 bits, both ports on rising edges. Ports of 9, 18 or 36 bits; one of 36 takes the data pins
// of both (write at A, read at B). From 18 bits on the lowest address bits enable the nine-bit columns of a
// write. Reads: a register (NOREG), or a second one enabled by OCE behind it (OUTREG). A write leaves the port's
// read data (NORMAL), or they are what was there before (READBEFOREWRITE). Chip selects decode 000.
// A read that meets a write of the other port has no defined result in the silicon: here it is the complement of
// the memory's content, so that a design that needs it differs from its RTL.
module DP16KD (
  input DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13, DIA14, DIA15, DIA16,
    DIA17,
  input ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA0, CSA1, CSA2,
  output DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13, DOA14, DOA15, DOA16,
    DOA17,
  input DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13, DIB14, DIB15, DIB16,
    DIB17,
  input ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB0, CSB1, CSB2,
  output DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13, DOB14, DOB15, DOB16,
    DOB17
);
  parameter DATA_WIDTH_A = 18;
  parameter DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";  // of resets, which are refused
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA";
  parameter CLKBMUX = "CLKB";
  parameter GSR = "ENABLED";  // acts on reset at power-up only
  parameter [319:0] INITVAL_00 = 320'd0;
  parameter [319:0] INITVAL_01 = 320'd0;
  parameter [319:0] INITVAL_02 = 320'd0;
  parameter [319:0] INITVAL_03 = 320'd0;
  parameter [319:0] INITVAL_04 = 320'd0;
  parameter [319:0] INITVAL_05 = 320'd0;
  parameter [319:0] INITVAL_06 = 320'd0;
  parameter [319:0] INITVAL_07 = 320'd0;
  parameter [319:0] INITVAL_08 = 320'd0;
  parameter [319:0] INITVAL_09 = 320'd0;
  parameter [319:0] INITVAL_0A = 320'd0;
  parameter [319:0] INITVAL_0B = 320'd0;
  parameter [319:0] INITVAL_0C = 320'd0;
  parameter [319:0] INITVAL_0D = 320'd0;
  parameter [319:0] INITVAL_0E = 320'd0;
  parameter [319:0] INITVAL_0F = 320'd0;
  parameter [319:0] INITVAL_10 = 320'd0;
  parameter [319:0] INITVAL_11 = 320'd0;
  parameter [319:0] INITVAL_12 = 320'd0;
  parameter [319:0] INITVAL_13 = 320'd0;
  parameter [319:0] INITVAL_14 = 320'd0;
  parameter [319:0] INITVAL_15 = 320'd0;
  parameter [319:0] INITVAL_16 = 320'd0;
  parameter [319:0] INITVAL_17 = 320'd0;
  parameter [319:0] INITVAL_18 = 320'd0;
  parameter [319:0] INITVAL_19 = 320'd0;
  parameter [319:0] INITVAL_1A = 320'd0;
  parameter [319:0] INITVAL_1B = 320'd0;
  parameter [319:0] INITVAL_1C = 320'd0;
  parameter [319:0] INITVAL_1D = 320'd0;
  parameter [319:0] INITVAL_1E = 320'd0;
  parameter [319:0] INITVAL_1F = 320'd0;
  parameter [319:0] INITVAL_20 = 320'd0;
  parameter [319:0] INITVAL_21 = 320'd0;
  parameter [319:0] INITVAL_22 = 320'd0;
  parameter [319:0] INITVAL_23 = 320'd0;
  parameter [319:0] INITVAL_24 = 320'd0;
  parameter [319:0] INITVAL_25 = 320'd0;
  parameter [319:0] INITVAL_26 = 320'd0;
  parameter [319:0] INITVAL_27 = 320'd0;
  parameter [319:0] INITVAL_28 = 320'd0;
  parameter [319:0] INITVAL_29 = 320'd0;
  parameter [319:0] INITVAL_2A = 320'd0;
  parameter [319:0] INITVAL_2B = 320'd0;
  parameter [319:0] INITVAL_2C = 320'd0;
  parameter [319:0] INITVAL_2D = 320'd0;
  parameter [319:0] INITVAL_2E = 320'd0;
  parameter [319:0] INITVAL_2F = 320'd0;
  parameter [319:0] INITVAL_30 = 320'd0;
  parameter [319:0] INITVAL_31 = 320'd0;
  parameter [319:0] INITVAL_32 = 320'd0;
  parameter [319:0] INITVAL_33 = 320'd0;
  parameter [319:0] INITVAL_34 = 320'd0;
  parameter [319:0] INITVAL_35 = 320'd0;
  parameter [319:0] INITVAL_36 = 320'd0;
  parameter [319:0] INITVAL_37 = 320'd0;
  parameter [319:0] INITVAL_38 = 320'd0;
  parameter [319:0] INITVAL_39 = 320'd0;
  parameter [319:0] INITVAL_3A = 320'd0;
  parameter [319:0] INITVAL_3B = 320'd0;
  parameter [319:0] INITVAL_3C = 320'd0;
  parameter [319:0] INITVAL_3D = 320'd0;
  parameter [319:0] INITVAL_3E = 320'd0;
  parameter [319:0] INITVAL_3F = 320'd0;

  if (DATA_WIDTH_A != 9 && DATA_WIDTH_A != 18 && DATA_WIDTH_A != 36) begin : gen_width_a
    $error("DP16KD: DATA_WIDTH_A %0d is not modelled", DATA_WIDTH_A);
  end
  if (DATA_WIDTH_B != 9 && DATA_WIDTH_B != 18 && DATA_WIDTH_B != 36) begin : gen_width_b
    $error("DP16KD: DATA_WIDTH_B %0d is not modelled", DATA_WIDTH_B);
  end
  if ((REGMODE_A != "NOREG" && REGMODE_A != "OUTREG") || (REGMODE_B != "NOREG" && REGMODE_B != "OUTREG"))
  begin : gen_regmode
    $error("DP16KD: REGMODE %s and %s are not modelled", REGMODE_A, REGMODE_B);
  end
  if ((WRITEMODE_A != "NORMAL" && WRITEMODE_A != "READBEFOREWRITE") ||
      (WRITEMODE_B != "NORMAL" && WRITEMODE_B != "READBEFOREWRITE")) begin : gen_writemode
    $error("DP16KD: WRITEMODE %s and %s are not modelled", WRITEMODE_A, WRITEMODE_B);
  end
  if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") begin : gen_csdecode
    $error("DP16KD: CSDECODE %s and %s are not modelled", CSDECODE_A, CSDECODE_B);
  end
  if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB") begin : gen_clkmux
    $error("DP16KD: clocks %s and %s are not modelled", CLKAMUX, CLKBMUX);
  end

  wire [13:0] ad_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] ad_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [17:0] di_a = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0};
  wire [17:0] di_b = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0};

  // Columns of nine bits: 2 w and 2 w + 1 are word w. A port reaches one, two or four of them.
  reg [8:0] mem [0:2047];
  localparam ShiftA = DATA_WIDTH_A == 36 ? 2 : DATA_WIDTH_A == 18 ? 1 : 0;
  localparam ShiftB = DATA_WIDTH_B == 36 ? 2 : DATA_WIDTH_B == 18 ? 1 : 0;
  localparam ColumnsA = 1 << ShiftA;
  localparam ColumnsB = 1 << ShiftB;
  localparam Span = ShiftA > ShiftB ? ShiftA : ShiftB;

  integer i;
  wire [20479:0] init = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38, INITVAL_37,
    INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E,
    INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25,
    INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C,
    INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13,
    INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A,
    INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
    INITVAL_00
  };
  initial for (i = 0; i < 2048; i = i + 1) mem[i] = init[i / 2 * 20 + i % 2 * 9 +: 9];

  // Port of 36 bits: its upper half is on the other port's pins.
  wire [35:0] in_a = {di_b, di_a};
  wire [35:0] in_b = {18'd0, di_b};
  wire [3:0] be_a = DATA_WIDTH_A == 9 ? 4'd1 : DATA_WIDTH_A == 18 ? {2'd0, ad_a[1:0]} : ad_a[3:0];
  wire [3:0] be_b = DATA_WIDTH_B == 9 ? 4'd1 : DATA_WIDTH_B == 18 ? {2'd0, ad_b[1:0]} : ad_b[3:0];
  wire [10:0] col_a = ad_a[13:3] >> ShiftA << ShiftA;
  wire [10:0] col_b = ad_b[13:3] >> ShiftB << ShiftB;
  wire on_a = CEA && !CSA0 && !CSA1 && !CSA2;
  wire on_b = CEB && !CSB0 && !CSB1 && !CSB2;
  wire wr_a = on_a && WEA && be_a != 0;
  wire wr_b = on_b && WEB && be_b != 0;
  wire meet = col_a >> Span == col_b >> Span;

  reg [35:0] rd_a, rd_b, out_a, out_b;
  integer a, b;
  always @(posedge CLKA) begin
    if (on_a && (!WEA || WRITEMODE_A == "READBEFOREWRITE")) begin
      for (a = 0; a < ColumnsA; a = a + 1) rd_a[9*a +: 9] <= mem[col_a + a] ^ {9{wr_b && meet}};
    end
    if (OCEA) out_a <= rd_a;
    for (a = 0; a < ColumnsA; a = a + 1) if (wr_a && be_a[a]) mem[col_a + a] <= in_a[9*a +: 9];
    `KS_REFUSE(RSTA, "DP16KD: RSTA")
    `KS_REFUSE(wr_a && wr_b && meet, "DP16KD: a write of both ports to one address")
  end
  always @(posedge CLKB) begin
    if (on_b && (!WEB || WRITEMODE_B == "READBEFOREWRITE")) begin
      for (b = 0; b < ColumnsB; b = b + 1) rd_b[9*b +: 9] <= mem[col_b + b] ^ {9{wr_a && meet}};
    end
    if (OCEB) out_b <= rd_b;
    for (b = 0; b < ColumnsB; b = b + 1) if (wr_b && be_b[b]) mem[col_b + b] <= in_b[9*b +: 9];
    `KS_REFUSE(RSTB, "DP16KD: RSTB")
    `KS_REFUSE(wr_b && DATA_WIDTH_B == 36, "DP16KD: a write of 36 bits at port B")
  end

  // Data of 36 bits at B: the lower half at A's pins.
  wire [35:0] q_a = REGMODE_A == "OUTREG" ? out_a : rd_a;
  wire [35:0] q_b = REGMODE_B == "OUTREG" ? out_b : rd_b;
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
    DOA1, DOA0} = DATA_WIDTH_B == 36 ? q_b[17:0] : q_a[17:0];
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
    DOB1, DOB0} = DATA_WIDTH_B == 36 ? q_b[35:18] : q_b[17:0];
endmodule

// LUT RAM of 16 x 4 bits, without initial values: one write port, one asynchronous read port.
module TRELLIS_DPR16X4 (input [3:0] DI, WAD, RAD, input WRE, WCK, output [3:0] DO);
  parameter WCKMUX = "WCK";
  parameter WREMUX = "WRE";
  if (WCKMUX != "WCK" || WREMUX != "WRE") begin : gen_mux
    $error("TRELLIS_DPR16X4: WCKMUX %s or WREMUX %s is not modelled", WCKMUX, WREMUX);
  end
  reg [3:0] mem [0:15];
  always @(posedge WCK) if (WRE) mem[WAD] <= DI;
  assign DO = mem[RAD];
endmodule
