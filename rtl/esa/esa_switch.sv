// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Aggregation switch of 8 ports: AXI4-Stream of 512 bits in and out, registers over AXI4-Lite.
//
//   esa_ingress x8 -> round robin, by whole packets -> esa_arbiter -> esa_egress x8
//
// Every port takes and gives one beat a cycle; the pipeline between them one beat a cycle in all. A port
// that has been served waits until every other port with a whole frame was served. A packet is let
// into the pipeline when every egress queue has room for the longest one, so nothing is lost and nothing
// stalls behind that point; a receiver that takes nothing stops the switch once its queue is full.
// Latency of a packet through an idle switch: 17 cycles from its last beat to the first one that leaves.
// Reset forgets frames and slots; packets are taken from the ports at once and wait until the slots are
// cleared (Slots cycles).

`include "ks_assert.svh"
`default_nettype none

module esa_switch
  import esa_pkg::*;
  import esa_regs_pkg::*;
#(
  parameter int unsigned Slots      = 1024,  // aggregator slots, a power of two, 32..65536
  parameter int unsigned ValueBeats = 4,     // beats of a slot's values: 4, 8 or 16 (16 int32 lanes each)
  parameter int unsigned InDepth    = 64,    // beats of an ingress ring
  parameter int unsigned OutDepth   = 128,   // beats of an egress queue
  parameter int unsigned MaxBeats   = 24     // longest frame (24: 1536 bytes)
) (
  input  wire logic                      clk_i,
  input  wire logic                      rst_ni,

  input  wire logic [ESA_PORTS-1:0][511:0] s_axis_tdata,
  input  wire logic [ESA_PORTS-1:0][63:0]  s_axis_tkeep,
  input  wire logic [ESA_PORTS-1:0]        s_axis_tlast,
  input  wire logic [ESA_PORTS-1:0]        s_axis_tvalid,
  output logic [ESA_PORTS-1:0]             s_axis_tready,

  output logic [ESA_PORTS-1:0][511:0]      m_axis_tdata,
  output logic [ESA_PORTS-1:0][63:0]       m_axis_tkeep,
  output logic [ESA_PORTS-1:0]             m_axis_tlast,
  output logic [ESA_PORTS-1:0]             m_axis_tvalid,
  input  wire logic [ESA_PORTS-1:0]        m_axis_tready,

  input  wire logic [ESA_AXIL_ADDR_BITS-1:0] s_axil_awaddr,
  input  wire logic                      s_axil_awvalid,
  output logic                           s_axil_awready,
  input  wire logic [31:0]               s_axil_wdata,
  input  wire logic [3:0]                s_axil_wstrb,
  input  wire logic                      s_axil_wvalid,
  output logic                           s_axil_wready,
  output logic [1:0]                     s_axil_bresp,
  output logic                           s_axil_bvalid,
  input  wire logic                      s_axil_bready,
  input  wire logic [ESA_AXIL_ADDR_BITS-1:0] s_axil_araddr,
  input  wire logic                      s_axil_arvalid,
  output logic                           s_axil_arready,
  output logic [31:0]                    s_axil_rdata,
  output logic [1:0]                     s_axil_rresp,
  output logic                           s_axil_rvalid,
  input  wire logic                      s_axil_rready,

  // Verdicts as they fall, one a packet that is no foreign frame and has no fault.
  output logic                           verdict_valid_o,
  output logic [4:0]                     verdict_o,
  output logic [2:0]                     verdict_port_o    // where the packet came in
);

  if (Slots < 32) begin : gen_bad_slots
    $error("esa_switch: Slots must be at least 32");
  end
  if (OutDepth < MaxBeats + 16) begin : gen_bad_depth
    $error("esa_switch: OutDepth must be above MaxBeats + 16");
  end

  localparam int unsigned P = ESA_PORTS;
  localparam int unsigned Aw = $clog2(Slots);

  // --- Ingress -------------------------------------------------------------------------------------
  logic   [P-1:0] in_valid, in_pop, frame_in, fault_valid;
  beat_t  [P-1:0] in_beat;
  fault_e [P-1:0] fault;

  for (genvar p = 0; p < P; p++) begin : gen_in
    esa_ingress #(.Depth(InDepth), .MaxBeats(MaxBeats)) u_ingress (
      .clk_i, .rst_ni,
      .s_axis_tdata(s_axis_tdata[p]), .s_axis_tkeep(s_axis_tkeep[p]), .s_axis_tlast(s_axis_tlast[p]),
      .s_axis_tvalid(s_axis_tvalid[p]), .s_axis_tready(s_axis_tready[p]),
      .frame_valid_o(in_valid[p]), .beat_o(in_beat[p]), .pop_i(in_pop[p]),
      .frame_in_o(frame_in[p]), .fault_valid_o(fault_valid[p]), .fault_o(fault[p])
    );
  end

  // --- Round robin by packets ----------------------------------------------------------------------
  // Between packets the next port with a frame behind the last one served is taken in the same cycle.
  logic       hold, open_q;       // a packet is being moved
  logic [2:0] port_q, port, next;
  logic       arb_valid, arb_ready, arb_idle;
  beat_t      arb_beat;

  always_comb begin
    next = port_q;
    for (int unsigned i = P; i > 0; i--)
      if (in_valid[3'(port_q + 3'(i))]) next = 3'(port_q + 3'(i));
  end
  assign port      = open_q ? port_q : next;
  assign arb_valid = in_valid[port] && (open_q || !hold);
  assign arb_beat  = in_beat[port];
  always_comb begin
    in_pop       = '0;
    in_pop[port] = arb_valid && arb_ready;
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      open_q <= 1'b0;
      port_q <= '0;
    end else if (arb_valid && arb_ready) begin
      open_q <= !arb_beat.last;
      port_q <= port;
    end
  end

  logic [P-1:0] foreign_in;
  always_comb begin
    foreign_in       = '0;
    foreign_in[port] = arb_valid && arb_ready && arb_beat.first && arb_beat.foreign;
  end

  // --- Pipeline ------------------------------------------------------------------------------------
  settings_t       settings;
  logic [16:0]     slots;
  logic [15:0]     ecn_threshold;
  logic [P-1:0][7:0] route;
  logic            job_write, job_remove, job_probe_hit, room, ctl_valid;
  jidx_t           job_jidx, ctl_jidx;
  job_t            job_entry;
  logic [Jobs-1:0] job_active;
  logic [15:0]     job_probe;
  kind_e           ctl_kind;
  logic [Aw-1:0]   ctl_index, ev_index;
  ports_t          push;
  beat_t           push_beat;
  logic            ev_valid, ev_hit, ev_in_slot, ev_no_route, ev_occupied, ev_freed;
  verdict_e        ev_verdict;
  jidx_t           ev_jidx, ev_evicted;
  logic [P-1:0]    out_room, frame_out, marked;

  esa_arbiter #(.Slots(Slots), .ValueBeats(ValueBeats)) u_arbiter (
    .clk_i, .rst_ni, .settings_i(settings), .slots_i(slots),
    .s_valid_i(arb_valid), .s_ready_o(arb_ready), .s_beat_i(arb_beat), .s_port_i(port),
    .s_route_i(route[port]), .room_i(room),
    .job_write_i(job_write), .job_remove_i(job_remove), .job_jidx_i(job_jidx),
    .job_entry_i(job_entry), .job_active_o(job_active),
    .job_probe_i(job_probe), .job_probe_hit_o(job_probe_hit),
    .ctl_valid_i(ctl_valid), .ctl_kind_i(ctl_kind), .ctl_jidx_i(ctl_jidx), .ctl_index_i(ctl_index),
    .idle_o(arb_idle), .m_push_o(push), .m_beat_o(push_beat),
    .ev_valid_o(ev_valid), .ev_verdict_o(ev_verdict), .ev_port_o(verdict_port_o), .ev_hit_o(ev_hit), .ev_jidx_o(ev_jidx),
    .ev_evicted_o(ev_evicted), .ev_index_o(ev_index), .ev_in_slot_o(ev_in_slot),
    .ev_no_route_o(ev_no_route), .ev_occupied_o(ev_occupied), .ev_freed_o(ev_freed)
  );
  assign room            = &out_room;
  assign verdict_valid_o = ev_valid;
  assign verdict_o       = ev_verdict;

  esa_control #(.Slots(Slots), .ValueBeats(ValueBeats)) u_control (
    .clk_i, .rst_ni,
    .s_axil_awaddr, .s_axil_awvalid, .s_axil_awready, .s_axil_wdata, .s_axil_wstrb, .s_axil_wvalid,
    .s_axil_wready, .s_axil_bresp, .s_axil_bvalid, .s_axil_bready, .s_axil_araddr, .s_axil_arvalid,
    .s_axil_arready, .s_axil_rdata, .s_axil_rresp, .s_axil_rvalid, .s_axil_rready,
    .settings_o(settings), .slots_o(slots), .ecn_threshold_o(ecn_threshold), .route_o(route),
    .job_write_o(job_write), .job_remove_o(job_remove), .job_jidx_o(job_jidx),
    .job_entry_o(job_entry), .job_active_i(job_active), .job_probe_o(job_probe),
    .job_probe_hit_i(job_probe_hit), .hold_o(hold), .idle_i(arb_idle && !open_q),
    .ctl_valid_o(ctl_valid), .ctl_kind_o(ctl_kind), .ctl_jidx_o(ctl_jidx), .ctl_index_o(ctl_index),
    .ev_valid_i(ev_valid), .ev_verdict_i(ev_verdict), .ev_hit_i(ev_hit), .ev_jidx_i(ev_jidx),
    .ev_evicted_i(ev_evicted), .ev_index_i(ev_index), .ev_in_slot_i(ev_in_slot),
    .ev_no_route_i(ev_no_route), .ev_occupied_i(ev_occupied), .ev_freed_i(ev_freed),
    .fault_valid_i(fault_valid), .fault_i(fault), .foreign_in_i(foreign_in), .frame_in_i(frame_in),
    .frame_out_i(frame_out), .marked_i(marked)
  );

  // --- Egress --------------------------------------------------------------------------------------
  for (genvar p = 0; p < P; p++) begin : gen_out
    // Room for a frame and for the beats that are in the pipeline before it.
    esa_egress #(.Depth(OutDepth), .Reserve(MaxBeats + 12)) u_egress (
      .clk_i, .rst_ni, .push_i(push[p]), .beat_i(push_beat), .room_o(out_room[p]),
      .mark_threshold_i(ecn_threshold),
      .m_axis_tdata(m_axis_tdata[p]), .m_axis_tkeep(m_axis_tkeep[p]), .m_axis_tlast(m_axis_tlast[p]),
      .m_axis_tvalid(m_axis_tvalid[p]), .m_axis_tready(m_axis_tready[p]),
      .frame_out_o(frame_out[p]), .marked_o(marked[p])
    );
  end

  // One port is served at a time, and only one with a whole frame.
  `KS_ASSERT(OnePop, $onehot0(in_pop))
  `KS_ASSERT(PopWhole, (in_pop & ~in_valid) == '0)
  `KS_ASSERT(FirstOpens, !(arb_valid && arb_beat.first && open_q))
  `KS_ASSERT(NoPacketInSweep, !(ctl_valid && open_q))

endmodule

`default_nettype wire
