// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// The pipeline of the aggregation switch: whole frames in, one 512-bit beat a cycle; the packet that
// leaves, one beat a cycle, with the set of ports that it goes to. Equivalent to sw_ref/esa/switch.hpp,
// one packet at a time.
//
//   a  job number looked up                             | a..c move on when c does
//   b  entry of the job
//   c  beats of the packet made: THC indices become 2 or 4 beats, a REMINDER gets ValueBeats beats of
//      room for the answer; fields looked at; waits, before a packet, while room_i is low
//   0  what is wrong, or the request                    | 0..7 never stall
//   1  slot read
//   2  newest contents
//   3  comparisons; values read
//   4  decision; THC lookup
//   5  value operation; header of what leaves
//   6  values of what leaves
//   7  egress register
//
// Throughput: one beat a cycle for any address pattern. A DATA packet takes 1 + ValueBeats cycles, also
// back to back to one slot; a header-only packet takes 1, a REMINDER 1 + ValueBeats. Latency: 10 cycles
// from s_valid_i to m_push_o. Back-pressure: only at c, between packets, so a packet that is let in
// leaves without a stall: room_i must promise Reserve beats in every egress queue.
// Every packet that leaves gets the switch's addresses, a new IPv4 checksum and UDP checksum 0 (none);
// foreign frames leave as they came. Reset empties the pipeline; slots are cleared by sweeping
// ctl_kind_i = K_CLEAR over them, and the control side lets no packet in (hold_i) before.

`include "ks_assert.svh"
`default_nettype none

module esa_arbiter
  import ks_wire_pkg::*;
  import esa_pkg::*;
#(
  parameter int unsigned Slots      = 16,    // slots, a power of two, 2..65536
  parameter int unsigned ValueBeats = 4,     // beats of a slot's values: 4, 8 or 16
  localparam int unsigned Aw = $clog2(Slots)
) (
  input  wire logic          clk_i,
  input  wire logic          rst_ni,

  input  wire settings_t     settings_i,     // these two only change while idle_o is high
  input  wire logic [16:0]   slots_i,        // slots in use, 1..Slots

  // Frames, checked by esa_ingress.
  input  wire logic          s_valid_i,
  output logic               s_ready_o,
  input  wire beat_t         s_beat_i,
  input  wire logic [2:0]    s_port_i,
  input  wire ports_t        s_route_i,      // ports that it leaves through if it is foreign; 0: none
  input  wire logic          room_i,

  // Job table, from the control side.
  input  wire logic          job_write_i,
  input  wire logic          job_remove_i,
  input  wire jidx_t         job_jidx_i,
  input  wire job_t          job_entry_i,
  output logic [Jobs-1:0]    job_active_o,
  input  wire logic [15:0]   job_probe_i,
  output logic               job_probe_hit_o,

  // K_CLEAR and K_PURGE of the control side, one a cycle, only while idle_o is high.
  input  wire logic          ctl_valid_i,
  input  wire kind_e         ctl_kind_i,
  input  wire jidx_t         ctl_jidx_i,
  input  wire logic [Aw-1:0] ctl_index_i,
  output logic               idle_o,         // no packet in stages a to 5

  // What leaves.
  output ports_t             m_push_o,       // ports whose queue takes m_beat_o
  output beat_t              m_beat_o,

  // Verdicts, for counters.
  output logic               ev_valid_o,
  output verdict_e           ev_verdict_o,
  output logic [2:0]         ev_port_o,      // ingress port
  output logic               ev_hit_o,       // of a job in the table: ev_jidx_o
  output jidx_t              ev_jidx_o,
  output jidx_t              ev_evicted_o,   // V_PREEMPTED: whose slot was taken
  output logic [Aw-1:0]      ev_index_o,     // slot
  output logic               ev_in_slot_o,   // V_COMPLETED: in a slot (not complete in itself)
  output logic               ev_no_route_o,  // a foreign frame was dropped
  output logic               ev_occupied_o,  // a slot that was free is in use now
  output logic               ev_freed_o      // a slot that was in use is free now
);

  if (ValueBeats != 4 && ValueBeats != 8 && ValueBeats != 16) begin : gen_bad_beats
    $error("esa_arbiter: ValueBeats must be 4, 8 or 16");
  end
  if (Slots < 2 || Slots > 65536 || 2 ** Aw != Slots) begin : gen_bad_slots
    $error("esa_arbiter: Slots must be a power of two, 2..65536");
  end

  localparam int unsigned Bw = $clog2(ValueBeats);

  // What every beat of a packet needs to know of its header.
  typedef struct packed {
    logic        foreign;
    ports_t      route;
    logic [2:0]  port;
    logic        hit;
    jidx_t       jidx;
    job_t        job;
    wire_header_t header;
    logic [15:0] ip_length;
  } context_t;

  typedef struct packed {
    logic          head;
    logic          dummy;    // room for the answer to a REMINDER
    logic          last;     // of the frame that came
    logic [1:0]    sub;      // which part of the data, of a beat of THC indices
    logic          over;     // more beats than a slot has
    logic [Bw-1:0] index;
    logic [63:0]   keep;
    logic [511:0]  data;
  } part_t;

  // --- a: job number, route ------------------------------------------------------------------------
  logic       front_go;
  logic       a_valid_q, b_valid_q, c_valid_q;
  beat_t      a_q, b_q, c_q;
  logic [2:0] a_port_q, b_port_q, c_port_q;
  ports_t     a_route_q;
  logic       a_hit, b_hit_q, c_hit_q;
  jidx_t      a_jidx, b_jidx_q, c_jidx_q;
  ports_t     b_route_q, c_route_q;
  job_t       b_job, c_job_q;
  /* verilator lint_off UNUSED */   // parts of these are for other places
  job_t       v_job;
  wire_head_t a_head;
  /* verilator lint_on UNUSED */
  jidx_t      v_jidx;

  assign a_head      = head_of_beat(a_q.data);
  assign s_ready_o   = !a_valid_q || front_go;

  esa_jobs u_jobs (
    .clk_i, .rst_ni,
    .write_i(job_write_i), .remove_i(job_remove_i), .write_jidx_i(job_jidx_i), .entry_i(job_entry_i),
    .active_o(job_active_o),
    .number_i(a_head.header.job), .hit_o(a_hit), .jidx_o(a_jidx),
    .probe_i(job_probe_i), .probe_hit_o(job_probe_hit_o),
    .jidx_a_i(b_jidx_q), .entry_a_o(b_job),
    .jidx_b_i(v_jidx), .entry_b_o(v_job)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      a_valid_q <= 1'b0;
      b_valid_q <= 1'b0;
      c_valid_q <= 1'b0;
    end else begin
      if (s_ready_o) a_valid_q <= s_valid_i;
      if (front_go) begin
        b_valid_q <= a_valid_q;
        c_valid_q <= b_valid_q;
      end
    end
    if (s_ready_o && s_valid_i) begin
      a_q      <= s_beat_i;
      a_port_q <= s_port_i;
      a_route_q <= s_route_i;
    end
    if (front_go) begin
      b_q      <= a_q;
      b_port_q <= a_port_q;
      c_q      <= b_q;
      if (a_valid_q && a_q.first) begin   // what the lookup says stays for the other beats of the packet
        b_hit_q   <= a_hit;
        b_jidx_q  <= a_jidx;
        b_route_q <= a_route_q;
      end
      if (b_valid_q && b_q.first) begin
        c_port_q  <= b_port_q;
        c_hit_q   <= b_hit_q;
        c_jidx_q  <= b_jidx_q;
        c_job_q   <= b_job;
        c_route_q <= b_route_q;
      end
    end
  end

  // --- c: beats of the packet ----------------------------------------------------------------------
  /* verilator lint_off UNUSED */   // addresses and the like are of no interest here
  wire_head_t    c_head;
  /* verilator lint_on UNUSED */
  logic [1:0]    c_subs, subs_q;         // parts of each data beat - 1
  logic [1:0]    sub_q;
  logic [Bw:0]   count_q;                // value beats sent, saturating at ValueBeats
  logic [Bw:0]   room_left_q;            // beats of a REMINDER's answer still to be made
  logic          dummy, send, c_done;
  logic          reminder;

  assign c_head   = head_of_beat(c_q.data);
  assign reminder = c_q.last && c_head.header.packet_type == 8'(PKT_REMINDER) && !c_q.foreign;
  always_comb begin
    c_subs = 2'd0;
    if (!c_q.foreign && c_head.header.format == FMT_THC_INDEX4 &&
        c_head.header.packet_type inside {8'(PKT_DATA), 8'(PKT_RESEND)}) begin
      if (c_job_q.format == FMT_THC_SUM8 && c_head.ip_length == 16'(50 + 32 * ValueBeats))
        c_subs = 2'd1;
      if (c_job_q.format == FMT_THC_SUM16 && c_head.ip_length == 16'(50 + 16 * ValueBeats))
        c_subs = 2'd3;
    end
  end

  assign dummy    = room_left_q != '0;
  assign send     = dummy || (c_valid_q && (!c_q.first || room_i));
  assign c_done   = c_valid_q && !dummy && (c_q.first ? room_i : sub_q == subs_q);
  assign front_go = !c_valid_q || c_done;

  logic       s0_valid_q;
  part_t      s0_q;
  context_t   s0_ctx;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      s0_valid_q  <= 1'b0;
      room_left_q <= '0;
    end else begin
      s0_valid_q <= send;
      if (dummy) room_left_q <= room_left_q - (Bw + 1)'(1);
      else if (send && c_q.first && reminder) room_left_q <= (Bw + 1)'(ValueBeats);
    end
    if (send) begin
      s0_q.head  <= !dummy && c_q.first;
      s0_q.dummy <= dummy;
      s0_q.last  <= c_q.last;
      s0_q.sub   <= sub_q;
      s0_q.over  <= count_q[Bw];
      s0_q.index <= count_q[Bw-1:0];
      s0_q.keep  <= c_q.keep;
      s0_q.data  <= c_q.data;
      if (!dummy && c_q.first) begin
        subs_q        <= c_subs;
        sub_q         <= 2'd0;
        count_q       <= '0;
      end else begin
        sub_q <= sub_q == subs_q ? 2'd0 : sub_q + 2'd1;
        if (!count_q[Bw]) count_q <= count_q + (Bw + 1)'(1);
      end
    end
  end

  // The job and the rest of what c knew, held for s0 (c may have the next packet's already).
  logic       s0_hit_q;
  jidx_t      s0_jidx_q;
  job_t       s0_job_q;
  logic [2:0] s0_port_q;
  ports_t     s0_route_q;
  logic       s0_foreign_q;
  always_ff @(posedge clk_i) begin
    if (send && !dummy && c_q.first) begin
      s0_hit_q     <= c_hit_q;
      s0_jidx_q    <= c_jidx_q;
      s0_job_q     <= c_job_q;
      s0_port_q    <= c_port_q;
      s0_route_q   <= c_route_q;
      s0_foreign_q <= c_q.foreign;
    end
  end

  // --- c, 0: checks --------------------------------------------------------------------------------
  /* verilator lint_off UNUSED */   // as above; an index beyond Slots is refused
  wire_head_t  s0_head;
  logic [16:0] s0_index;
  /* verilator lint_on UNUSED */
  request_t    s0_req;

  assign s0_head = head_of_beat(s0_q.data);
  assign s0_ctx = '{foreign: s0_foreign_q, route: s0_route_q, port: s0_port_q, hit: s0_hit_q,
                    jidx: s0_jidx_q, job: s0_job_q, header: s0_head.header,
                    ip_length: s0_head.ip_length};

  esa_check #(.ValueBeats(ValueBeats)) u_check (
    .clk_i, .en_i(send && !dummy && c_q.first),
    .header_i(c_head.header), .payload_i(c_head.ip_length - 16'd50), .port_i(c_port_q),
    .hit_i(c_hit_q), .jidx_i(c_jidx_q), .job_i(c_job_q), .policy_i(settings_i.policy), .slots_i,
    .req_o(s0_req), .index_o(s0_index)
  );

  // --- 1 .. 5: slot, decision ----------------------------------------------------------------------
  logic          v1_q, v2_q, v3_q, v4_q, v5_q, v6_q;
  part_t         s1_q, s2_q, s3_q, s4_q, s5_q;
  context_t      ctx1_q, ctx2_q, ctx3_q, ctx4_q, ctx5_q;    // of the packet whose beat is in the stage
  logic          ctl1_q;
  request_t      req1_q;
  logic [Aw-1:0] index1_q, index2_q, index3_q;
  logic          access1_q, access2_q, access3_q;              // the packet's values meet the memory
  logic          dec_valid, dec_write;
  logic [Aw-1:0] dec_index;
  decision_t     dec;
  /* verilator lint_off UNUSED */   // the kind and the valid bit are of interest
  request_t      dec_req;
  slot_t         dec_slot;
  /* verilator lint_on UNUSED */

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      v1_q   <= 1'b0;
      v2_q   <= 1'b0;
      v3_q   <= 1'b0;
      v4_q   <= 1'b0;
      v5_q   <= 1'b0;
      v6_q   <= 1'b0;
      ctl1_q <= 1'b0;
    end else begin
      v1_q   <= s0_valid_q;
      v2_q   <= v1_q;
      v3_q   <= v2_q;
      v4_q   <= v3_q;
      v5_q   <= v4_q;
      v6_q   <= v5_q;
      ctl1_q <= ctl_valid_i;
    end
    s1_q <= s0_q;
    s2_q <= s1_q;
    s3_q <= s2_q;
    s4_q <= s3_q;
    s5_q <= s4_q;
    if (ctl_valid_i) begin
      req1_q      <= '0;
      req1_q.kind <= ctl_kind_i;
      req1_q.job  <= ctl_jidx_i;
      index1_q    <= ctl_index_i;
    end else if (s0_valid_q && s0_q.head) begin
      req1_q    <= s0_req;
      index1_q  <= s0_index[Aw-1:0];
      ctx1_q    <= s0_ctx;
      access1_q <= s0_req.kind inside {K_DATA, K_RESEND, K_REMINDER} && !s0_foreign_q;
    end
    if (v1_q && s1_q.head) begin
      ctx2_q    <= ctx1_q;
      access2_q <= access1_q;
      index2_q  <= index1_q;
    end
    if (v2_q && s2_q.head) begin
      ctx3_q    <= ctx2_q;
      access3_q <= access2_q;
      index3_q  <= index2_q;
    end
    if (v3_q && s3_q.head) ctx4_q <= ctx3_q;
    if (v4_q && s4_q.head) ctx5_q <= ctx4_q;
  end

  // A sweep of the control side must not come between a decision and its value beats.
  assign idle_o = !a_valid_q && !b_valid_q && !c_valid_q && !dummy && !s0_valid_q && !v1_q && !v2_q &&
                  !v3_q && !v4_q && !v5_q;

  esa_meta #(.Slots(Slots)) u_meta (
    .clk_i, .rst_ni, .settings_i,
    .valid_i(ctl1_q || (v1_q && s1_q.head && !ctx1_q.foreign)), .index_i(index1_q), .req_i(req1_q),
    .dec_valid_o(dec_valid), .dec_index_o(dec_index), .dec_req_o(dec_req), .dec_o(dec),
    .dec_write_o(dec_write), .dec_slot_o(dec_slot)
  );

  // --- 3 .. 6: values ------------------------------------------------------------------------------
  logic [511:0] s4_looked_up, s5_in_q, s6_raw_q, s6_values;
  logic [255:0] s4_indices_q;
  logic [63:0][7:0] s4_values;
  logic         s3_sums16, s4_sums16_q, s4_indexed_q;

  // THC: of a beat of indices the half or quarter that is this beat's (stage 3), index -> table value (4).
  assign s3_sums16 = ctx3_q.job.format == FMT_THC_SUM16;
  for (genvar i = 0; i < 64; i++) begin : gen_lookup
    logic unused_bad;            // the table has all 16 entries
    thc_lookup u_lookup (
      .values_i(ctx4_q.job.lut), .entries_i(5'd16),
      .index_i(s4_indices_q[8*(i/2) + 4*(1 - i%2) +: 4]), .value_o(s4_values[i]), .bad_o(unused_bad)
    );
  end
  always_comb begin
    s4_looked_up = s4_q.data;
    if (s4_indexed_q) begin
      s4_looked_up = '0;
      for (int unsigned i = 0; i < 64; i++) begin
        if (!s4_sums16_q) s4_looked_up[8*i +: 8] = s4_values[i];
        else if (i < 32) s4_looked_up[16*i + 8 +: 8] = s4_values[i];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    s4_indices_q <= s3_sums16 ? {128'd0, s3_q.data[128*s3_q.sub +: 128]} : s3_q.data[256*s3_q.sub[0] +: 256];
    s4_sums16_q  <= s3_sums16;
    s4_indexed_q <= ctx3_q.header.format == FMT_THC_INDEX4;
    s5_in_q      <= s4_looked_up;
    s6_raw_q     <= s5_q.data;
  end

  esa_value #(.Depth(Slots * ValueBeats), .Bytes(64)) u_value (
    .clk_i, .rst_ni,
    .rd_en_i(v3_q && !s3_q.head && !s3_q.over && access3_q),
    .rd_addr_i({index3_q, s3_q.index}),
    .lanes8_i(ctx4_q.job.format == FMT_THC_SUM8), .lanes16_i(ctx4_q.job.format == FMT_THC_SUM16),
    .in_i(s5_in_q), .op_i(dec.op), .write_i(dec.value_write),
    .out_o(s6_values)
  );

  // --- 5 -> 6: what leaves, by the decision --------------------------------------------------------
  // dec is the decision of the last header that passed stage 4; a beat in stage 5 belongs to it.
  logic         s5_head, raw6_q, slot6_q, head6_q, push6_q, last6_q, foreign6_q;
  ports_t       ports5, ports6_q;
  logic [63:0]  keep6_q;
  wire_header_t header5, header6_q;
  localparam logic [15:0] BareLength = 16'd50;                     // IPv4, UDP and our header
  localparam logic [15:0] SlotLength = BareLength + 16'(64 * ValueBeats);
  logic [15:0]  length5, length6_q, packet_sum5_q, checksum5, checksum6_q;
  logic         bare5;         // a packet of unknown value format: its values do not go on
  logic         raw5, slot5, push5, last5;

  assign v_jidx  = dec.view.job;
  assign s5_head = v5_q && s5_q.head;
  assign bare5   = ctx5_q.header.format > 4'(FMT_FP32);
  assign slot5   = !ctx5_q.foreign && dec.out == OUT_SLOT;
  assign raw5    = ctx5_q.foreign || dec.out == OUT_PACKET;

  always_comb begin
    ports5 = '0;
    if (ctx5_q.foreign) begin
      ports5 = ctx5_q.route;
    end else begin
      unique case (dec.to)
        TO_MEMBERS: ports5 = ctx5_q.job.member_ports;
        TO_SENDER:  ports5 = ports_t'(1) << ctx5_q.port;
        default:    ports5 = ports_t'(1) << (slot5 ? v_job.ps_port : ctx5_q.job.ps_port);
      endcase
    end

    header5 = ctx5_q.header;
    length5 = bare5 ? BareLength : ctx5_q.ip_length;
    if (slot5) begin
      length5             = SlotLength;
      header5.format      = v_job.format;
      unique case (dec.as)
        AS_RESULT: header5.packet_type = 8'(PKT_RESULT);
        AS_DATA:   header5.packet_type = 8'(PKT_DATA);
        default:   header5.packet_type = 8'(PKT_PARTIAL);
      endcase
      header5.flags       = (dec.keep_set ? ctx5_q.header.flags & 8'(FLAG_SET) : 8'd0) |
                            (dec.view.ecn ? 8'(FLAG_ECN) : 8'd0);
      header5.epoch       = v_job.epoch;
      header5.fan_in      = 8'(v_job.fan_in);
      header5.prio        = 8'(dec.view.prio);
      header5.count       = 8'(dec.view.count);
      header5.job         = v_job.number;
      header5.seq         = 32'(dec.view.seq);
      header5.bitmap      = 32'(dec.view.bitmap);
      header5.config_tag  = 16'(dec.view.tag);
    end else begin
      if (dec.set_collision) header5.flags = header5.flags | 8'(FLAG_COLLISION);
      if (dec.set_negative)  header5.flags = header5.flags | 8'(FLAG_NEGATIVE);
    end

    if (s5_q.head) begin
      push5 = raw5 || slot5;
      last5 = !slot5 && (s5_q.last || (bare5 && !ctx5_q.foreign));
    end else if (slot5) begin
      push5 = !s5_q.over;
      last5 = s5_q.index == Bw'(ValueBeats - 1);
    end else begin
      push5 = raw5 && !s5_q.dummy && s5_q.sub == 2'd0 && (ctx5_q.foreign || !bare5);
      last5 = s5_q.last;
    end
  end

  // The IPv4 header is constant but for its length.
  localparam logic [31:0] SourceIp = 32'h0A4B_53FE, TargetIp = 32'hFFFF_FFFF;
  localparam logic [19:0] ConstSum = 20'h04500 + 20'h04000 + 20'h04011 + 20'(SourceIp[31:16]) +
                                     20'(SourceIp[15:0]) + 20'(TargetIp[31:16]) +
                                     20'(TargetIp[15:0]);
  function automatic logic [15:0] ip_checksum(input logic [15:0] length);
    logic [19:0] total;
    logic [16:0] fold;
    total       = ConstSum + 20'(length);
    fold        = 17'(total[15:0]) + 17'(total[19:16]);
    ip_checksum = ~(fold[15:0] + 16'(fold[16]));
  endfunction
  always_ff @(posedge clk_i) begin
    if (v4_q && s4_q.head) packet_sum5_q <= ip_checksum(ctx4_q.ip_length);
  end
  assign checksum5 = slot5 ? ip_checksum(SlotLength) : bare5 ? ip_checksum(BareLength) : packet_sum5_q;

  always_ff @(posedge clk_i) begin
    push6_q <= push5;
    last6_q <= last5;
    head6_q <= s5_q.head;
    keep6_q <= s5_q.keep;
    if (s5_head) begin
      ports6_q    <= ports5;
      header6_q   <= header5;
      length6_q   <= length5;
      checksum6_q <= checksum5;
      raw6_q      <= raw5;
      slot6_q     <= slot5;
      foreign6_q  <= ctx5_q.foreign;
    end
  end

  // --- 6 -> 7: egress register ---------------------------------------------------------------------
  wire_head_t head6;
  assign head6 = '{eth_dst: 48'hFFFF_FFFF_FFFF, eth_src: 48'h024B_5300_0000, eth_type: 16'h0800,
                   ip_version: 4'd4, ip_ihl: 4'd5, ip_dscp: '0, ip_ecn: '0, ip_length: length6_q,
                   ip_id: '0, ip_flags: 3'b010, ip_fragment: '0, ip_ttl: 8'd64, ip_protocol: 8'd17,
                   ip_checksum: checksum6_q, ip_src: SourceIp, ip_dst: TargetIp,
                   udp_src: 16'(WIRE_UDP_PORT), udp_dst: 16'(WIRE_UDP_PORT),
                   udp_length: length6_q - 16'd20, udp_checksum: '0, header: header6_q};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) m_push_o <= '0;
    else m_push_o <= v6_q && push6_q ? ports6_q : '0;
    m_beat_o.first   <= head6_q;
    m_beat_o.last    <= last6_q;
    m_beat_o.foreign <= foreign6_q;
    m_beat_o.keep    <= slot6_q ? '1 : keep6_q;
    if (head6_q && !foreign6_q) m_beat_o.data <= beat_of_head(head6);
    else if (raw6_q) m_beat_o.data <= s6_raw_q;
    else m_beat_o.data <= s6_values;
  end

  // --- Events --------------------------------------------------------------------------------------
  logic ctl5;
  assign ctl5         = dec_req.kind inside {K_PURGE, K_CLEAR};
  assign ev_verdict_o  = dec.verdict;
  assign ev_valid_o    = dec_valid && !ctl5;
  assign ev_port_o     = ctx5_q.port;
  assign ev_hit_o      = ctx5_q.hit;
  assign ev_jidx_o     = ctx5_q.jidx;
  assign ev_evicted_o  = dec.view.job;
  assign ev_index_o    = dec_index;
  assign ev_in_slot_o  = dec.op == OP_ADD;
  assign ev_no_route_o = s5_head && ctx5_q.foreign && ctx5_q.route == '0;
  assign ev_occupied_o = dec_valid && dec_write && dec.verdict == V_STORED &&
                         !ctl5 && !dec.view.valid;   // the view is what was there before
  assign ev_freed_o    = dec_valid && dec_write && !dec_slot.valid && dec_req.kind != K_CLEAR;

  // Emission of a slot needs ValueBeats beats behind its header.
  `KS_ASSERT(ControlAlone, !(ctl_valid_i && !idle_o))
  `KS_ASSERT(DecisionWithHead, ctl5 || dec_valid == (s5_head && !ctx5_q.foreign) || !dec_valid)
  `KS_ASSERT(HeadHasDecision, !(s5_head && !ctx5_q.foreign) || dec_valid)

endmodule

`default_nettype wire
