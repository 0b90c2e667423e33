// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// One ingress port of the switch: takes Ethernet frames, tells aggregation packets from others, checks
// what can be checked without the job table, and keeps whole frames only (store and forward).
//
// A frame is written into a ring of Depth beats as it arrives; its last beat commits it, or takes it
// back (the write pointer returns) when it is faulty, and pulses fault_valid_o with the fault. So no
// part of a faulty frame is ever seen behind this module. Latency 4 cycles from the last beat to
// frame_valid_o; one beat per cycle. s_axis_tready is low only when the ring is full.
// An aggregation packet is a frame of 42 bytes or more with IPv4 without options and UDP to
// WIRE_UDP_PORT; anything else is `foreign` and kept as it is (1..MaxBeats beats). Faults and their order
// are those of sw_ref/esa/frame.hpp; both checksums are verified. TKEEP of the last beat is taken to be a
// run of ones from byte 0. Reset in mid-frame forgets the frame; what remains of it then arrives as a
// frame of its own.

`include "ks_assert.svh"
`default_nettype none

module esa_ingress
  import ks_wire_pkg::*;
  import esa_pkg::*;
#(
  parameter int unsigned Depth    = 64,   // beats of the ring, a power of two
  parameter int unsigned MaxBeats = 24    // longest frame kept, <= Depth / 2
) (
  input  wire logic         clk_i,
  input  wire logic         rst_ni,

  input  wire logic [511:0] s_axis_tdata,
  input  wire logic [63:0]  s_axis_tkeep,
  input  wire logic         s_axis_tlast,
  input  wire logic         s_axis_tvalid,
  output logic              s_axis_tready,

  output logic              frame_valid_o,   // a whole frame is in the ring, beat_o is its next beat
  output beat_t             beat_o,
  input  wire logic         pop_i,           // only with frame_valid_o

  output logic              frame_in_o,      // pulse: a frame has ended (kept or not)
  output logic              fault_valid_o,   // pulse: it was not kept
  output fault_e            fault_o
);

  if (MaxBeats < 2) begin : gen_bad_beats
    $error("esa_ingress: MaxBeats must be at least 2");
  end
  if (2 ** $clog2(Depth) != Depth || MaxBeats * 2 > Depth) begin : gen_bad_depth
    $error("esa_ingress: Depth must be a power of two of at least 2 * MaxBeats");
  end

  localparam int unsigned Aw = $clog2(Depth);
  localparam int unsigned LenW = $clog2(MaxBeats + 1);

  // --- 1: input register ---------------------------------------------------------------------------
  logic         valid1_q, last1_q, first1_q;
  logic [511:0] data1_q;
  logic [63:0]  keep1_q;
  logic         go1, go2;        // the beat moves on

  assign s_axis_tready = !valid1_q || go1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid1_q <= 1'b0;
      first1_q <= 1'b1;
    end else begin
      if (s_axis_tready) valid1_q <= s_axis_tvalid;
      if (go1) first1_q <= last1_q;
    end
    if (s_axis_tready && s_axis_tvalid) begin
      data1_q <= s_axis_tdata;
      keep1_q <= s_axis_tkeep;
      last1_q <= s_axis_tlast;
    end
  end

  // --- 1 -> 2: sums of 16-bit words, size of the beat, checks of the head --------------------------
  /* verilator lint_off UNUSED */   // what only later stages look at
  wire_head_t        head1;
  /* verilator lint_on UNUSED */
  logic [6:0]        bytes1;
  logic [3:0][18:0]  udp1;          // words of the beat that the UDP checksum covers, in four parts
  logic [19:0]       ip1;           // words of the IPv4 header

  assign head1 = head_of_beat(data1_q);

  always_comb begin
    bytes1 = '0;
    for (int unsigned i = 0; i < 64; i++) bytes1 = bytes1 + 7'(keep1_q[i]);
  end

  always_comb begin
    udp1 = '0;
    ip1  = '0;
    for (int unsigned w = 0; w < 32; w++) begin
      logic [15:0] word;
      word = {keep1_q[2*w] ? data1_q[16*w +: 8] : 8'd0, keep1_q[2*w+1] ? data1_q[16*w+8 +: 8] : 8'd0};
      // Of the first beat: the addresses (pseudo header) and everything behind them.
      if (!first1_q || w >= 13) udp1[w/8] = udp1[w/8] + 19'(word);
      if (w >= 7 && w < 17) ip1 = ip1 + 20'(word);
    end
  end

  logic              valid2_q, last2_q, first2_q, ours2_q, bad_header2_q, long_head2_q;
  logic [511:0]      data2_q;
  logic [63:0]       keep2_q;
  logic [6:0]        bytes2_q;
  logic [3:0][18:0]  udp2_q;
  logic [19:0]       ip2_q;
  logic [15:0]       ip_length2_q, udp_checksum2_q;
  logic [3:0]        format2_q;

  assign go1 = valid1_q && (!valid2_q || go2);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid2_q <= 1'b0;
    else if (go1) valid2_q <= 1'b1;
    else if (go2) valid2_q <= 1'b0;
    if (go1) begin
      data2_q         <= data1_q;
      keep2_q         <= keep1_q;
      last2_q         <= last1_q;
      first2_q        <= first1_q;
      bytes2_q        <= bytes1;
      udp2_q          <= udp1;
      ip2_q           <= ip1;
      ip_length2_q    <= head1.ip_length;
      udp_checksum2_q <= head1.udp_checksum;
      format2_q       <= head1.header.format;
      long_head2_q    <= keep1_q[63];
      ours2_q         <= keep1_q[41] && head1.eth_type == 16'h0800 && head1.ip_version == 4'd4 &&
                         head1.ip_ihl == 4'd5 && head1.ip_protocol == 8'd17 &&
                         head1.udp_dst == 16'(WIRE_UDP_PORT);
      bad_header2_q   <= head1.ip_fragment != '0 || head1.ip_flags[0] ||
                         head1.udp_length != head1.ip_length - 16'd20 ||
                         head1.header.magic != 8'(WIRE_MAGIC) ||
                         head1.header.version != 4'(WIRE_VERSION);
    end
  end

  // --- 2: the frame so far -------------------------------------------------------------------------
  logic              ours_q, bad_header_q, long_head_q, bad_ip_q, too_long_q;
  logic [15:0]       ip_length_q, udp_checksum_q;
  logic [3:0]        format_q;
  logic [LenW-1:0]   beats_q;      // beats of the frame before this one, saturating at MaxBeats
  logic [15:0]       size_q;       // bytes of them
  logic [27:0]       udp_q;        // sum of them

  logic              ours, bad_header, long_head, bad_ip, too_long;
  logic [15:0]       ip_length, udp_checksum, size;
  logic [3:0]        format;
  logic [27:0]       udp_sum;
  logic [16:0]       udp_fold, ip_fold;
  logic [15:0]       payload;
  logic              bad_udp, bad_lanes;
  fault_e            fault;

  always_comb begin
    ip_fold      = 17'(ip2_q[15:0]) + 17'(ip2_q[19:16]);
    ours         = first2_q ? ours2_q : ours_q;
    bad_header   = first2_q ? bad_header2_q : bad_header_q;
    long_head    = first2_q ? long_head2_q : long_head_q;
    bad_ip       = first2_q ? ip_fold[15:0] + 16'(ip_fold[16]) != 16'hFFFF : bad_ip_q;
    ip_length    = first2_q ? ip_length2_q : ip_length_q;
    udp_checksum = first2_q ? udp_checksum2_q : udp_checksum_q;
    format       = first2_q ? format2_q : format_q;
    too_long     = !first2_q && (too_long_q || 32'(beats_q) == MaxBeats);
    size         = (first2_q ? 16'd0 : size_q) + 16'(bytes2_q);
    // The pseudo header: protocol 17 and the UDP length, which is the size without 34 bytes.
    udp_sum      = (first2_q ? 28'd0 : udp_q) + 28'(udp2_q[0]) + 28'(udp2_q[1]) + 28'(udp2_q[2]) +
                   28'(udp2_q[3]);
  end

  logic [27:0] udp_total;
  assign udp_total = udp_sum + 28'd17 + 28'(16'(size - 16'd34));
  always_comb begin
    logic [16:0] once;
    once     = 17'(udp_total[15:0]) + 17'(udp_total[27:16]);
    udp_fold = 17'(once[15:0]) + 17'(once[16]);
    bad_udp  = udp_checksum != '0 && udp_fold != 17'h0FFFF;
    payload  = size - 16'd64;
    unique case (format)
      FMT_NONE:            bad_lanes = payload != '0;
      FMT_THC_SUM16:       bad_lanes = payload[0];
      FMT_INT32, FMT_FP32: bad_lanes = payload[1:0] != '0;
      default:             bad_lanes = 1'b0;
    endcase

    fault = FAULT_NONE;
    if (too_long) fault = FAULT_SIZE;
    else if (ours && last2_q) begin
      if (!long_head || 17'(size) < 17'(ip_length) + 17'd14) fault = FAULT_SHORT;
      else if (17'(size) > 17'(ip_length) + 17'd14) fault = FAULT_LONG;
      else if (bad_header) fault = FAULT_HEADER;
      else if (bad_ip || bad_udp) fault = FAULT_CHECKSUM;
      else if (bad_lanes) fault = FAULT_LANES;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) beats_q <= '0;
    else if (go2) begin
      if (last2_q) beats_q <= '0;
      else if (32'(beats_q) != MaxBeats) beats_q <= beats_q + LenW'(1);
    end
    if (go2) begin
      ours_q         <= ours;
      bad_header_q   <= bad_header;
      long_head_q    <= long_head;
      bad_ip_q       <= bad_ip;
      too_long_q     <= too_long;
      ip_length_q    <= ip_length;
      udp_checksum_q <= udp_checksum;
      format_q       <= format;
      size_q         <= size;
      udp_q          <= udp_sum;
    end
  end

  // --- Ring ----------------------------------------------------------------------------------------
  localparam int unsigned BeatW = $bits(beat_t);
  logic [BeatW-1:0] ring [Depth];
  logic [Aw:0] wptr_q, commit_q, rptr_q;     // one more bit than the address
  logic        full, write;
  beat_t       wbeat;
  logic [BeatW-1:0] out_q;
  logic        out_valid_q, fetch;

  assign full  = wptr_q[Aw-1:0] == rptr_q[Aw-1:0] && wptr_q[Aw] != rptr_q[Aw];
  assign go2   = valid2_q && (fault != FAULT_NONE || !full);
  assign write = go2 && fault == FAULT_NONE;
  assign wbeat = '{first: first2_q, last: last2_q, foreign: !ours, keep: keep2_q, data: data2_q};

  always_ff @(posedge clk_i) begin
    if (write) ring[wptr_q[Aw-1:0]] <= wbeat;
    if (!rst_ni) begin
      wptr_q        <= '0;
      commit_q      <= '0;
      frame_in_o    <= 1'b0;
      fault_valid_o <= 1'b0;
    end else begin
      frame_in_o    <= go2 && last2_q;
      fault_valid_o <= go2 && last2_q && fault != FAULT_NONE;
      if (go2 && fault != FAULT_NONE) begin
        wptr_q <= commit_q;
      end else if (go2) begin
        wptr_q <= wptr_q + (Aw + 1)'(1);
        if (last2_q) commit_q <= wptr_q + (Aw + 1)'(1);
      end
    end
    if (go2) fault_o <= fault;
  end

  // --- Reading side: the beat at the head stands in a register ------------------------------------
  assign fetch = rptr_q != commit_q && (!out_valid_q || pop_i);
  always_ff @(posedge clk_i) begin
    if (fetch) out_q <= ring[rptr_q[Aw-1:0]];
    if (!rst_ni) begin
      rptr_q      <= '0;
      out_valid_q <= 1'b0;
    end else begin
      if (fetch) rptr_q <= rptr_q + (Aw + 1)'(1);
      out_valid_q <= fetch || (out_valid_q && !pop_i);
    end
  end
  assign beat_o        = beat_t'(out_q);
  assign frame_valid_o = out_valid_q;

  `KS_ASSUME(PopOnlyWhole, !pop_i || frame_valid_o)
  `KS_ASSERT(RingOrder, (Aw + 1)'(wptr_q - rptr_q) <= (Aw + 1)'(Depth))
  `KS_ASSERT(CommitBetween, (Aw + 1)'(commit_q - rptr_q) <= (Aw + 1)'(wptr_q - rptr_q))

endmodule

`default_nettype wire
