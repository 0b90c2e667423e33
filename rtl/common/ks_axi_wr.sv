// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// AXI4 write mover: a command (address, number of bytes) takes that many bytes from an AXI-Stream.
//
// Addresses are multiples of DataBytes; the number of bytes is any from 1: WSTRB of the last beat is a
// run of ones from byte 0. The stream has no packets of its own: a command takes the next beats, whatever
// their number. Bursts are INCR, full width, up to BurstBeats beats, never across 4 KiB, one ID; up to
// Outstanding at a time, each only when all its data are in the FIFO (FifoBeats), so that a burst once
// begun never waits for the stream. One beat per cycle.
// done_o: pulse when the last response of a command has come; commands finish in order. stop_i: no new
// bursts, so that idle_o rises once those asked for are answered; reset then forgets commands and data.
// idle_o: no command and no burst. err_o: a response other than OKAY came, with the burst's address.

`include "ks_assert.svh"
`default_nettype none

module ks_axi_wr #(
  parameter int unsigned DataBytes   = 64,  // bus width, a power of two, 4..128
  parameter int unsigned AddrBits    = 32,  // of an address
  parameter int unsigned LenBits     = 24,  // of the number of bytes of a command
  parameter int unsigned BurstBeats  = 16,  // longest burst, a power of two; a burst fits 4 KiB
  parameter int unsigned Outstanding = 16,  // bursts, a power of two >= 2
  parameter int unsigned FifoBeats   = 64   // a power of two, >= 2 * BurstBeats
) (
  input  wire logic                   clk_i,
  input  wire logic                   rst_ni,
  input  wire logic                   stop_i,

  input  wire logic                   cmd_valid_i,
  output logic                        cmd_ready_o,
  input  wire logic [AddrBits-1:0]    cmd_addr_i,
  input  wire logic [LenBits-1:0]     cmd_bytes_i,

  input  wire logic [8*DataBytes-1:0] s_axis_tdata,
  input  wire logic                   s_axis_tvalid,
  output logic                        s_axis_tready,

  output logic [AddrBits-1:0]         m_axi_awaddr,
  output logic [7:0]                  m_axi_awlen,
  output logic [2:0]                  m_axi_awsize,
  output logic [1:0]                  m_axi_awburst,
  output logic                        m_axi_awvalid,
  input  wire logic                   m_axi_awready,
  output logic [8*DataBytes-1:0]      m_axi_wdata,
  output logic [DataBytes-1:0]        m_axi_wstrb,
  output logic                        m_axi_wlast,
  output logic                        m_axi_wvalid,
  input  wire logic                   m_axi_wready,
  input  wire logic [1:0]             m_axi_bresp,
  input  wire logic                   m_axi_bvalid,
  output logic                        m_axi_bready,

  output logic                        idle_o,
  output logic                        done_o,
  output logic                        err_o,
  output logic [AddrBits-1:0]         err_addr_o,
  output logic                        beat_o      // a beat went
);

  localparam int unsigned Shift = $clog2(DataBytes);
  localparam int unsigned BeatW = $clog2(BurstBeats) + 1;
  localparam int unsigned CountW = LenBits - Shift + 1;
  localparam int unsigned PageW = 12 - Shift;
  localparam int unsigned LevelW = $clog2(FifoBeats) + 1;

  if (DataBytes < 4 || DataBytes > 128 || 2 ** Shift != DataBytes) begin : gen_bad_bytes
    $error("ks_axi_wr: DataBytes must be a power of two, 4 to 128");
  end
  if (2 ** $clog2(BurstBeats) != BurstBeats || BurstBeats * DataBytes > 4096) begin : gen_bad_burst
    $error("ks_axi_wr: BurstBeats must be a power of two and a burst fit 4 KiB");
  end
  if (FifoBeats < 2 * BurstBeats) begin : gen_bad_fifo
    $error("ks_axi_wr: FifoBeats must be at least twice BurstBeats");
  end

  typedef struct packed {
    logic [Shift-1:0] bytes;     // written in the last beat, 0: all
    logic [BeatW-1:0] beats_m1;
  } data_t;
  typedef struct packed {
    logic                last;   // of its command
    logic [AddrBits-1:0] addr;
  } resp_t;

  // ---- Commands into bursts ----
  logic                  active_q;
  logic [AddrBits-1:0]   addr_q;
  logic [CountW-1:0]     left_q;
  logic [Shift-1:0]      tail_q;
  logic [BeatW-1:0]      beats, to_page;
  logic                  ends, issue, slot, take;
  logic                  awvalid_q;
  logic [AddrBits-1:0]   awaddr_q;
  logic [BeatW-1:0]      awbeats_m1_q;
  logic                  r_full, r_empty;
  logic [LevelW-1:0]     free_q;         // beats in the FIFO that belong to no burst yet
  logic                  fifo_in;
  data_t                 data_head, data_next;
  logic                  d_full, d_empty, d_pop;
  resp_t                 resp_head, resp_next;
  /* verilator lint_off UNUSEDSIGNAL */  // for the assertions
  logic [LevelW-1:0]     level;
  logic [$clog2(Outstanding):0] bursts, data_bursts;
  /* verilator lint_on UNUSEDSIGNAL */

  always_comb begin
    to_page = BeatW'(BurstBeats);
    if (PageW > $clog2(BurstBeats)) begin
      if ((PageW + 1)'(2 ** PageW) - (PageW + 1)'(addr_q[11:Shift]) < (PageW + 1)'(BurstBeats)) begin
        to_page = BeatW'((PageW + 1)'(2 ** PageW) - (PageW + 1)'(addr_q[11:Shift]));
      end
    end else begin
      to_page = BeatW'((PageW + 1)'(2 ** PageW) - (PageW + 1)'(addr_q[11:Shift]));
    end
    ends  = left_q <= CountW'(to_page);
    beats = ends ? BeatW'(left_q) : to_page;
  end

  assign slot  = (!awvalid_q || m_axi_awready) && !r_full && !d_full && !stop_i;
  assign issue = active_q && slot && free_q >= LevelW'(beats);
  assign cmd_ready_o = (!active_q || (issue && ends)) && !stop_i;
  assign take  = cmd_valid_i && cmd_ready_o;

  always_ff @(posedge clk_i) begin
    if (take) begin
      addr_q <= cmd_addr_i;
      left_q <= CountW'((CountW + Shift)'(cmd_bytes_i) + (CountW + Shift)'(DataBytes - 1) >> Shift);
      tail_q <= cmd_bytes_i[Shift-1:0];
    end else if (issue) begin
      addr_q <= addr_q + (AddrBits'(beats) << Shift);
      left_q <= left_q - CountW'(beats);
    end
    if (issue) begin
      awaddr_q     <= addr_q;
      awbeats_m1_q <= beats - BeatW'(1);
    end
    if (!rst_ni) begin
      active_q  <= 1'b0;
      awvalid_q <= 1'b0;
      free_q    <= '0;
    end else begin
      active_q  <= take || (active_q && !(issue && ends));
      awvalid_q <= issue || (awvalid_q && !m_axi_awready);
      free_q    <= free_q - (issue ? LevelW'(beats) : '0) + LevelW'(fifo_in);
    end
  end

  assign m_axi_awvalid = awvalid_q;
  assign m_axi_awaddr  = awaddr_q;
  assign m_axi_awlen   = 8'(awbeats_m1_q);
  assign m_axi_awsize  = 3'(Shift);
  assign m_axi_awburst = 2'b01;

  // ---- Data ----
  logic                    out_valid, out_ready, last_beat;
  logic [8*DataBytes-1:0]  out_data;
  logic [BeatW-1:0]        beat_q;

  assign data_next = '{bytes: ends ? tail_q : '0, beats_m1: beats - BeatW'(1)};
  assign resp_next = '{last: ends, addr: addr_q};

  assign fifo_in = s_axis_tvalid && s_axis_tready;
  ks_ram_fifo #(.Width(8 * DataBytes), .Depth(FifoBeats)) u_data (
    .clk_i, .rst_ni,
    .s_valid_i(s_axis_tvalid), .s_ready_o(s_axis_tready), .s_data_i(s_axis_tdata),
    .m_valid_o(out_valid), .m_ready_i(out_ready), .m_data_o(out_data),
    .level_o(level)
  );
  ks_fifo #(.Width($bits(data_t)), .Depth(Outstanding)) u_bursts (
    .clk_i, .rst_ni,
    .push_i(issue), .wdata_i(data_next), .full_o(d_full),
    .pop_i(d_pop), .rdata_o(data_head), .empty_o(d_empty), .level_o(data_bursts)
  );
  assign last_beat    = beat_q == data_head.beats_m1;
  assign m_axi_wvalid = out_valid && !d_empty;
  assign m_axi_wdata  = out_data;
  assign m_axi_wlast  = last_beat;
  assign m_axi_wstrb  = !last_beat || data_head.bytes == '0 ? '1
                                                           : ~({DataBytes{1'b1}} << data_head.bytes);
  assign out_ready    = m_axi_wready && !d_empty;
  assign beat_o       = m_axi_wvalid && m_axi_wready;
  assign d_pop        = beat_o && last_beat;

  always_ff @(posedge clk_i) begin
    if (!rst_ni)     beat_q <= '0;
    else if (beat_o) beat_q <= last_beat ? '0 : beat_q + BeatW'(1);
  end

  // ---- Responses ----
  logic                err_q, done_q;
  logic [AddrBits-1:0] err_addr_q;

  ks_fifo #(.Width($bits(resp_t)), .Depth(Outstanding)) u_responses (
    .clk_i, .rst_ni,
    .push_i(issue), .wdata_i(resp_next), .full_o(r_full),
    .pop_i(m_axi_bvalid), .rdata_o(resp_head), .empty_o(r_empty), .level_o(bursts)
  );
  assign m_axi_bready = 1'b1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      err_q  <= 1'b0;
      done_q <= 1'b0;
    end else begin
      err_q  <= m_axi_bvalid && m_axi_bresp != 2'b00;
      done_q <= m_axi_bvalid && resp_head.last;
    end
    err_addr_q <= resp_head.addr;
  end
  assign err_o      = err_q;
  assign err_addr_o = err_addr_q;
  assign done_o     = done_q;
  assign idle_o     = (!active_q || stop_i) && r_empty && !err_q;

  // A command has a byte, and an aligned address.
  `KS_ASSUME(CommandAligned, !take || (cmd_addr_i[Shift-1:0] == '0 && cmd_bytes_i != '0))
  `KS_ASSERT(InsidePage, !issue || 13'(addr_q[11:0]) + (13'(beats) << Shift) <= 13'd4096)
  `KS_ASSERT(BurstNotEmpty, !issue || beats != '0)
  // The data of a burst are there: once begun it goes on in every cycle.
  `KS_ASSERT(DataForBurst, d_empty || beat_q == '0 || out_valid)
  `KS_ASSERT(FreeInRange, free_q <= level)
  `KS_ASSUME(ResponseAsked, !m_axi_bvalid || !r_empty)
  `KS_COVER(PageSplit, issue && !ends && beats < BeatW'(BurstBeats))

endmodule

`default_nettype wire
