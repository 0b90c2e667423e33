// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// AXI4 read mover: a command (address, number of bytes) becomes a packet on an AXI-Stream.
//
// Addresses are multiples of DataBytes; the number of bytes is any from 1: TKEEP of the last beat, which
// has TLAST, is a run of ones from byte 0. Commands are taken one after the other, without a gap on the
// bus. Bursts are INCR, full width, up to BurstBeats beats, never across 4 KiB, one ID; up to Outstanding
// at a time, each only when the FIFO (FifoBeats) has room for all its data: RREADY is constant 1 and
// back-pressure on the stream never reaches the bus. One beat per cycle. First beat 2 cycles after it came.
// stop_i: no new bursts, so that idle_o rises once those asked for are answered; reset then forgets the
// commands and the data inside. idle_o: no command and no burst. err_o: a beat came with a response other
// than OKAY, with the address of its burst (its data are delivered as they came).

`include "ks_assert.svh"
`default_nettype none

module ks_axi_rd #(
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

  output logic [8*DataBytes-1:0]      m_axis_tdata,
  output logic [DataBytes-1:0]        m_axis_tkeep,
  output logic                        m_axis_tlast,
  output logic                        m_axis_tvalid,
  input  wire logic                   m_axis_tready,

  output logic [AddrBits-1:0]         m_axi_araddr,
  output logic [7:0]                  m_axi_arlen,
  output logic [2:0]                  m_axi_arsize,
  output logic [1:0]                  m_axi_arburst,
  output logic                        m_axi_arvalid,
  input  wire logic                   m_axi_arready,
  input  wire logic [8*DataBytes-1:0] m_axi_rdata,
  input  wire logic [1:0]             m_axi_rresp,
  input  wire logic                   m_axi_rlast,
  input  wire logic                   m_axi_rvalid,
  output logic                        m_axi_rready,

  output logic                        idle_o,
  output logic                        err_o,
  output logic [AddrBits-1:0]         err_addr_o,
  output logic                        beat_o      // a beat came
);

  localparam int unsigned Shift = $clog2(DataBytes);
  localparam int unsigned BeatW = $clog2(BurstBeats) + 1;      // beats of a burst
  localparam int unsigned CountW = LenBits - Shift + 1;        // beats of a command
  localparam int unsigned PageW = 12 - Shift;                  // beat within 4 KiB
  localparam int unsigned LevelW = $clog2(FifoBeats) + 1;

  if (DataBytes < 4 || DataBytes > 128 || 2 ** Shift != DataBytes) begin : gen_bad_bytes
    $error("ks_axi_rd: DataBytes must be a power of two, 4 to 128");
  end
  if (2 ** $clog2(BurstBeats) != BurstBeats || BurstBeats * DataBytes > 4096) begin : gen_bad_burst
    $error("ks_axi_rd: BurstBeats must be a power of two and a burst fit 4 KiB");
  end
  if (FifoBeats < 2 * BurstBeats) begin : gen_bad_fifo
    $error("ks_axi_rd: FifoBeats must be at least twice BurstBeats");
  end

  typedef struct packed {
    logic                last;     // of its command
    logic [Shift-1:0]    bytes;    // valid in the last beat, 0: all
    logic [BeatW-1:0]    beats_m1;
    logic [AddrBits-1:0] addr;
  } burst_t;

  // ---- Commands into bursts ----
  logic                  active_q;
  logic [AddrBits-1:0]   addr_q;
  logic [CountW-1:0]     left_q;         // beats
  logic [Shift-1:0]      tail_q;         // bytes of the last beat, 0: all
  logic [BeatW-1:0]      beats, to_page, most;
  logic                  ends, issue, slot, take;
  logic                  arvalid_q;
  logic [AddrBits-1:0]   araddr_q;
  logic [BeatW-1:0]      arbeats_m1_q;
  logic                  q_full, q_empty;
  burst_t                head, next;
  logic [LevelW-1:0]     room_q;         // beats of the FIFO that no burst has been promised
  logic                  fifo_out;

  always_comb begin
    // Beats to the end of the 4 KiB page, BurstBeats at most.
    to_page = BeatW'(BurstBeats);
    if (PageW > $clog2(BurstBeats)) begin
      if ((PageW + 1)'(2 ** PageW) - (PageW + 1)'(addr_q[11:Shift]) < (PageW + 1)'(BurstBeats)) begin
        to_page = BeatW'((PageW + 1)'(2 ** PageW) - (PageW + 1)'(addr_q[11:Shift]));
      end
    end else begin
      to_page = BeatW'((PageW + 1)'(2 ** PageW) - (PageW + 1)'(addr_q[11:Shift]));
    end
    most  = to_page;
    ends  = left_q <= CountW'(most);
    beats = ends ? BeatW'(left_q) : most;
  end

  assign slot  = (!arvalid_q || m_axi_arready) && !q_full && !stop_i;
  assign issue = active_q && slot && room_q >= LevelW'(beats);
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
      araddr_q     <= addr_q;
      arbeats_m1_q <= beats - BeatW'(1);
    end
    if (!rst_ni) begin
      active_q  <= 1'b0;
      arvalid_q <= 1'b0;
      room_q    <= LevelW'(FifoBeats);
    end else begin
      active_q  <= take || (active_q && !(issue && ends));
      arvalid_q <= issue || (arvalid_q && !m_axi_arready);
      room_q    <= room_q - (issue ? LevelW'(beats) : '0) + LevelW'(fifo_out);
    end
  end

  assign m_axi_arvalid = arvalid_q;
  assign m_axi_araddr  = araddr_q;
  assign m_axi_arlen   = 8'(arbeats_m1_q);
  assign m_axi_arsize  = 3'(Shift);
  assign m_axi_arburst = 2'b01;

  // ---- Data ----
  logic                 pop;
  logic                 err_q;
  logic [AddrBits-1:0]  err_addr_q;
  logic                 last_beat;
  logic [Shift-1:0]     bytes, out_bytes;
  /* verilator lint_off UNUSEDSIGNAL */  // for the assertions
  logic                 fifo_ready;
  logic [LevelW-1:0]    level;
  logic [$clog2(Outstanding):0] bursts;
  logic [BeatW-1:0]     beat_q;
  /* verilator lint_on UNUSEDSIGNAL */

  assign pop  = m_axi_rvalid && m_axi_rlast;
  assign next = '{last: ends, bytes: tail_q, beats_m1: beats - BeatW'(1), addr: addr_q};
  ks_fifo #(.Width($bits(burst_t)), .Depth(Outstanding)) u_bursts (
    .clk_i, .rst_ni,
    .push_i(issue), .wdata_i(next), .full_o(q_full),
    .pop_i(pop), .rdata_o(head), .empty_o(q_empty), .level_o(bursts)
  );

  assign m_axi_rready = 1'b1;
  assign last_beat    = m_axi_rlast && head.last;
  assign bytes        = last_beat ? head.bytes : '0;

  ks_ram_fifo #(.Width(8 * DataBytes + Shift + 1), .Depth(FifoBeats)) u_data (
    .clk_i, .rst_ni,
    .s_valid_i(m_axi_rvalid), .s_ready_o(fifo_ready), .s_data_i({last_beat, bytes, m_axi_rdata}),
    .m_valid_o(m_axis_tvalid), .m_ready_i(m_axis_tready),
    .m_data_o({m_axis_tlast, out_bytes, m_axis_tdata}),
    .level_o(level)
  );
  assign fifo_out     = m_axis_tvalid && m_axis_tready;
  assign m_axis_tkeep = out_bytes == '0 ? '1 : ~({DataBytes{1'b1}} << out_bytes);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      err_q  <= 1'b0;
      beat_q <= '0;
    end else begin
      err_q <= m_axi_rvalid && m_axi_rresp != 2'b00;
      if (m_axi_rvalid) beat_q <= m_axi_rlast ? '0 : beat_q + BeatW'(1);
    end
    err_addr_q <= head.addr;
  end
  assign err_o      = err_q;
  assign err_addr_o = err_addr_q;
  assign beat_o     = m_axi_rvalid;
  assign idle_o     = (!active_q || stop_i) && q_empty && !arvalid_q && !err_q;

  // A command has a byte, and an aligned address.
  `KS_ASSUME(CommandAligned, !take || (cmd_addr_i[Shift-1:0] == '0 && cmd_bytes_i != '0))
  // Bursts stay inside 4 KiB, and have a place in the FIFO.
  `KS_ASSERT(InsidePage, !issue || 13'(addr_q[11:0]) + (13'(beats) << Shift) <= 13'd4096)
  `KS_ASSERT(BurstNotEmpty, !issue || beats != '0)
  `KS_ASSERT(RoomForBeat, !m_axi_rvalid || fifo_ready)
  `KS_ASSERT(RoomInRange, room_q <= LevelW'(FifoBeats))
  // What the slave answers was asked for, and has the length asked for.
  `KS_ASSUME(AnswerAsked, !m_axi_rvalid || !q_empty)
  `KS_ASSUME(AnswerLength, !m_axi_rvalid || m_axi_rlast == (beat_q == head.beats_m1))
  `KS_COVER(PageSplit, issue && !ends && beats < BeatW'(BurstBeats))

endmodule

`default_nettype wire
