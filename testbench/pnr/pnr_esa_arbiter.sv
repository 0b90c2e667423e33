// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// esa_arbiter for place and route by itself: inputs come from a shift register, outputs are folded into
// one bit in two registered steps, so that four pins are enough and every path begins and ends in a register.

`default_nettype none

module pnr_esa_arbiter
  import esa_pkg::*;
#(
  parameter int unsigned Slots = 1024,
  parameter int unsigned ValueBeats = 4,
  localparam int unsigned Aw = $clog2(Slots)
) (
  input  wire logic clk_i,
  input  wire logic rst_ni,
  input  wire logic serial_i,
  output logic      serial_o
);

  localparam int unsigned InBits = $bits(settings_t) + 17 + 1 + $bits(beat_t) + 3 + $bits(ports_t) + 1 + 1 + 1
                                   + $bits(jidx_t) + $bits(job_t) + 16 + 1 + $bits(kind_e) + $bits(jidx_t) + Aw;
  localparam int unsigned OutBits = 1 + Jobs + 1 + 1 + $bits(ports_t) + $bits(beat_t) + 1 + $bits(verdict_e) + 3
                                    + 1 + $bits(jidx_t) + $bits(jidx_t) + Aw + 4;
  localparam int unsigned Groups = (OutBits + 15) / 16;

  logic                 rst_nq;
  logic [InBits-1:0]    in_q;
  logic [OutBits-1:0]   out;
  logic [16*Groups-1:0] out_q;
  logic [Groups-1:0]    fold_q;

  settings_t     settings;
  logic [16:0]   slots;
  logic          valid, room, job_write, job_remove, ctl_valid;
  beat_t         beat;
  logic [2:0]    port;
  ports_t        route;
  jidx_t         job_jidx, ctl_jidx;
  job_t          entry;
  logic [15:0]   probe;
  kind_e         kind;
  logic [Aw-1:0] index;

  assign {settings, slots, valid, beat, port, route, room, job_write, job_remove, job_jidx, entry, probe,
          ctl_valid, kind, ctl_jidx, index} = in_q;

  logic            ready, hit, idle, ev_valid, ev_hit, ev_in_slot, ev_no_route, ev_occupied, ev_freed;
  logic [Jobs-1:0] active;
  ports_t          push;
  beat_t           m_beat;
  verdict_e        verdict;
  logic [2:0]      ev_port;
  jidx_t           ev_jidx, ev_evicted;
  logic [Aw-1:0]   ev_index;

  assign out = {ready, active, hit, idle, push, m_beat, ev_valid, verdict, ev_port, ev_hit, ev_jidx, ev_evicted,
                ev_index, ev_in_slot, ev_no_route, ev_occupied, ev_freed};

  esa_arbiter #(.Slots(Slots), .ValueBeats(ValueBeats)) u_dut (
    .clk_i, .rst_ni(rst_nq), .settings_i(settings), .slots_i(slots),
    .s_valid_i(valid), .s_ready_o(ready), .s_beat_i(beat), .s_port_i(port), .s_route_i(route), .room_i(room),
    .job_write_i(job_write), .job_remove_i(job_remove), .job_jidx_i(job_jidx), .job_entry_i(entry),
    .job_active_o(active), .job_probe_i(probe), .job_probe_hit_o(hit),
    .ctl_valid_i(ctl_valid), .ctl_kind_i(kind), .ctl_jidx_i(ctl_jidx), .ctl_index_i(index), .idle_o(idle),
    .m_push_o(push), .m_beat_o(m_beat),
    .ev_valid_o(ev_valid), .ev_verdict_o(verdict), .ev_port_o(ev_port), .ev_hit_o(ev_hit), .ev_jidx_o(ev_jidx),
    .ev_evicted_o(ev_evicted), .ev_index_o(ev_index), .ev_in_slot_o(ev_in_slot), .ev_no_route_o(ev_no_route),
    .ev_occupied_o(ev_occupied), .ev_freed_o(ev_freed)
  );

  always_ff @(posedge clk_i) begin
    rst_nq <= rst_ni;
    in_q   <= {in_q[InBits-2:0], serial_i};
    out_q  <= (16*Groups)'(out);
    for (int unsigned g = 0; g < Groups; g++) fold_q[g] <= ^out_q[16*g +: 16];
    serial_o <= ^fold_q;
  end

endmodule

`default_nettype wire
