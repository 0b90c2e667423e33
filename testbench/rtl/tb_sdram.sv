// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// A chip of single data rate SDRAM, 16 bits wide, four banks (AS4C16M16, AS4C32M16, MT48LC16M16), as its
// controller sees it: burst length 1, CAS latency 2 or 3.
//
// Rules of the data sheets that are checked at every command, with times in nanoseconds as whole cycles
// of ClockPs: the start (200 us of quiet, precharge all, two refreshes, mode register), tRCD, tRP, tRAS,
// tRC, tRRD, tRFC, tWR, tMRD, tREFI on average with eight refreshes postponed at most, commands to banks
// that are open or closed as they have to be, nobody else driving the data pins. A read or write that
// closes its bank does so as a precharge would at the first cycle that keeps tRAS and tWR. The times are
// the slowest of AS4C16M16SA-7, AS4C32M16SB-7 and MT48LC16M16A2-75. A broken rule is an $error that names
// it, and counted in violations_o. Contents at the start are whatever simulation puts there. Power down
// and self refresh are not modelled: CKE stays high.

`default_nettype none

module tb_sdram #(
  parameter int unsigned RowBits = 13,
  parameter int unsigned ColBits = 9,      // 9: 32 MB, 10: 64 MB
  parameter int unsigned ClockPs = 20_000,
  parameter int unsigned StartNs = 200_000,
  parameter int unsigned TrcdNs  = 21,
  parameter int unsigned TrpNs   = 21,
  parameter int unsigned TrasNs  = 44,
  parameter int unsigned TrasMaxNs = 120_000,
  parameter int unsigned TrcNs   = 66,
  parameter int unsigned TrrdNs  = 15,
  parameter int unsigned TrfcNs  = 66,
  parameter int unsigned TwrNs   = 15,
  parameter int unsigned TrefiNs = 7_800
) (
  input  wire logic        clk,
  input  wire logic        cke, cs_n, ras_n, cas_n, we_n,
  input  wire logic [1:0]  ba,
  /* verilator lint_off UNUSEDSIGNAL */    // a smaller chip uses fewer
  input  wire logic [12:0] a,
  /* verilator lint_on UNUSEDSIGNAL */
  input  wire logic [1:0]  dm,
  inout  wire logic [15:0] dq,
  output logic [31:0]      violations_o,
  output logic [31:0]      reads_o,        // commands so far
  output logic [31:0]      writes_o,
  output logic [31:0]      refreshes_o
);

  function automatic int unsigned cycles(int unsigned ns);  // at least
    return (1000 * ns + ClockPs - 1) / ClockPs;
  endfunction
  function automatic int unsigned at_most(int unsigned ns);
    return 1000 * ns / ClockPs;
  endfunction
  localparam int unsigned Tmrd = 2;
  localparam int unsigned Postponed = 9 * at_most(TrefiNs);
  localparam int unsigned Forever = 32'hFFFF_FFFF;

  logic [15:0] mem [2**(2 + RowBits + ColBits)];

  // Cycles since events, that stop counting at Forever.
  logic [3:0]              open_q;
  logic [3:0][RowBits-1:0] row_q;
  logic [3:0][31:0]        since_act_q, since_pre_q, since_write_q;
  logic [3:0]              auto_q;
  logic [31:0]             since_start_q, since_ref_q, since_mrs_q, since_any_act_q;
  logic [31:0]             owed_q;  // cycles that no refresh stands for
  logic                    precharged_q, ready_q;
  logic [31:0]             start_refreshes_q;
  logic [1:0]              latency_q;

  // Data on their way to the pins: [0] is driven.
  logic [2:0]       drive_q;
  logic [2:0][15:0] data_q;

  assign dq = drive_q[0] ? data_q[0] : 16'bz;

  typedef enum logic [2:0] {Nop, Active, Read, Write, Precharge, Refresh, Mode, Burst} command_e;
  command_e command;
  always_comb begin
    command = Nop;
    if (cke && !cs_n)
      unique case ({ras_n, cas_n, we_n})
        3'b011:  command = Active;
        3'b101:  command = Read;
        3'b100:  command = Write;
        3'b010:  command = Precharge;
        3'b001:  command = Refresh;
        3'b000:  command = Mode;
        3'b110:  command = Burst;
        default: command = Nop;
      endcase
  end

  initial begin
    open_q = '0;  auto_q = '0;  drive_q = '0;  precharged_q = 1'b0;  ready_q = 1'b0;
    since_act_q = '1;  since_pre_q = '1;  since_write_q = '1;
    since_start_q = 0;  since_ref_q = Forever;  since_mrs_q = Forever;  start_refreshes_q = 0;
    since_any_act_q = Forever;  owed_q = 0;
    latency_q = 2'd2;
    violations_o = 0;  reads_o = 0;  writes_o = 0;  refreshes_o = 0;
  end

  function automatic logic [31:0] older(logic [31:0] since);
    return since == Forever ? since : since + 1;
  endfunction

  // Called in the clocked block.
  task automatic rule(logic good, string text);
    if (!good) begin
      violations_o <= violations_o + 1;
      $error("tb_sdram: %s", text);
    end
  endtask

  always_ff @(posedge clk) begin : clocked
    automatic logic [2:0]       drive = {1'b0, drive_q[2:1]};
    automatic logic [2:0][15:0] data  = {16'd0, data_q[2:1]};
    automatic logic [1+RowBits+ColBits:0] address = {ba, row_q[ba], a[ColBits-1:0]};

    since_start_q <= older(since_start_q);
    since_ref_q   <= older(since_ref_q);
    since_mrs_q   <= older(since_mrs_q);
    since_any_act_q <= older(since_any_act_q);
    if (ready_q) owed_q <= older(owed_q);
    for (int i = 0; i < 4; i++) begin
      since_act_q[i]   <= older(since_act_q[i]);
      since_pre_q[i]   <= older(since_pre_q[i]);
      since_write_q[i] <= older(since_write_q[i]);
      // A precharge that a read or write asked for: as soon as it may be.
      if (auto_q[i] && since_act_q[i] >= cycles(TrasNs) && since_write_q[i] >= cycles(TwrNs)) begin
        auto_q[i]      <= 1'b0;
        open_q[i]      <= 1'b0;
        since_pre_q[i] <= 1;
      end
      if (open_q[i])
        rule(since_act_q[i] != at_most(TrasMaxNs) + 1, "tRAS: a bank open for too long");
    end

    if (command != Nop) begin
      rule(since_start_q >= cycles(StartNs), "command within 200 us of the start");
      rule(since_ref_q >= cycles(TrfcNs), "tRFC: command too soon after a refresh");
      rule(since_mrs_q >= Tmrd, "tMRD: command too soon after the mode register");
    end
    if (ready_q) begin
      rule(owed_q != Postponed + 1, "tREFI: more than eight refreshes postponed");
      rule(cke, "CKE low");
    end
    if (drive_q[0])
      rule(dq == data_q[0], "somebody else drives the data pins");

    unique case (command)
      Active: begin
        rule(ready_q, "activate before the start is complete");
        rule(!open_q[ba], "activate of an open bank");
        rule(since_pre_q[ba] >= cycles(TrpNs), "tRP: activate too soon after a precharge");
        rule(since_act_q[ba] >= cycles(TrcNs), "tRC: activate too soon after the last");
        rule(since_any_act_q >= cycles(TrrdNs), "tRRD: activate too soon after another bank's");
        open_q[ba]      <= 1'b1;
        row_q[ba]       <= a[RowBits-1:0];
        since_act_q[ba] <= 1;
        since_any_act_q <= 1;
      end
      Read, Write: begin
        rule(open_q[ba] && !auto_q[ba], "read or write of a closed bank");
        rule(since_act_q[ba] >= cycles(TrcdNs), "tRCD: read or write too soon after activate");
        if (command == Read) begin
          drive[latency_q - 2'd1] = 1'b1;
          data[latency_q - 2'd1]  = mem[address];
          reads_o <= reads_o + 1;
        end else begin
          rule(!drive_q[0], "write while a read drives the pins");
          if (!dm[0]) mem[address][7:0]  <= dq[7:0];
          if (!dm[1]) mem[address][15:8] <= dq[15:8];
          since_write_q[ba] <= 1;
          writes_o <= writes_o + 1;
        end
        if (a[10]) auto_q[ba] <= 1'b1;
      end
      Precharge: begin
        for (int i = 0; i < 4; i++)
          if (a[10] || ba == 2'(i)) begin
            if (open_q[i]) begin
              rule(since_act_q[i] >= cycles(TrasNs), "tRAS: precharge too soon after activate");
              rule(since_write_q[i] >= cycles(TwrNs), "tWR: precharge too soon after a write");
            end
            open_q[i]      <= 1'b0;
            auto_q[i]      <= 1'b0;
            since_pre_q[i] <= 1;
          end
        if (a[10]) precharged_q <= 1'b1;
      end
      Refresh: begin
        rule(precharged_q, "refresh before precharge all");
        rule(open_q == 0, "refresh with an open bank");
        for (int i = 0; i < 4; i++) begin
          rule(since_pre_q[i] >= cycles(TrpNs), "tRP: refresh too soon after a precharge");
          rule(since_act_q[i] >= cycles(TrcNs), "tRC: refresh too soon after an activate");
        end
        since_ref_q <= 1;
        owed_q <= owed_q > at_most(TrefiNs) ? owed_q - at_most(TrefiNs) : 0;
        refreshes_o <= refreshes_o + 1;
        start_refreshes_q <= older(start_refreshes_q);
      end
      Mode: begin
        rule(precharged_q && open_q == 0, "mode register with an open bank");
        for (int i = 0; i < 4; i++)
          rule(since_pre_q[i] >= cycles(TrpNs), "tRP: mode register too soon after a precharge");
        rule(a[2:0] == 0, "burst length other than 1");
        rule(a[12:10] == 0 && a[8:7] == 0 && ba == 0, "reserved bits of the mode register");
        rule(a[6:4] == 2 || a[6:4] == 3, "CAS latency other than 2 or 3");
        latency_q   <= a[5:4];
        since_mrs_q <= 1;
        // Either order of mode register and refreshes is allowed; the second one is the last here.
        if (start_refreshes_q >= 2) ready_q <= 1'b1;
      end
      Burst:   rule(1'b0, "burst stop");
      default: ;
    endcase
    // A mask takes two cycles to the outputs.
    if (drive[1]) rule(dm == 0, "read with masked bytes");
    drive_q <= drive;
    data_q  <= data;
  end

endmodule

`default_nettype wire
