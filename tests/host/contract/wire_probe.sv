// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Test top of ks_wire_pkg: the fields of a first beat, and the beat put together again. Combinational.
`default_nettype none

module wire_probe
  import ks_wire_pkg::*;
(
  input  wire logic [511:0] beat_i,
  output logic [511:0]      beat_o,
  output logic [7:0]        magic_o,
  output logic [7:0]        epoch_o,
  output logic [3:0]        version_o,
  output logic [3:0]        format_o,
  output logic [7:0]        type_o,
  output logic [7:0]        flags_o,
  output logic [7:0]        fan_in_o,
  output logic [7:0]        prio_o,
  output logic [7:0]        count_o,
  output logic [15:0]       job_o,
  output logic [15:0]       slot_o,
  output logic [31:0]       seq_o,
  output logic [31:0]       bitmap_o,
  output logic [15:0]       config_o,
  output logic [47:0]       eth_dst_o,
  output logic [15:0]       udp_dst_o,
  output logic [1:0]        ip_ecn_o,
  output logic [5:0]        lane_bits_o,
  output logic [31:0]       port_o
);

  wire_head_t head;

  assign head        = head_of_beat(beat_i);
  assign beat_o      = beat_of_head(head);
  assign magic_o     = head.header.magic;
  assign epoch_o     = head.header.epoch;
  assign version_o   = head.header.version;
  assign format_o    = head.header.format;
  assign type_o      = head.header.packet_type;
  assign flags_o     = head.header.flags;
  assign fan_in_o    = head.header.fan_in;
  assign prio_o      = head.header.prio;
  assign count_o     = head.header.count;
  assign job_o       = head.header.job;
  assign slot_o      = head.header.slot;
  assign seq_o       = head.header.seq;
  assign bitmap_o    = head.header.bitmap;
  assign config_o    = head.header.config_tag;
  assign eth_dst_o   = head.eth_dst;
  assign udp_dst_o   = head.udp_dst;
  assign ip_ecn_o    = head.ip_ecn;
  assign lane_bits_o = lane_bits(head.header.format);
  assign port_o      = 32'(WIRE_UDP_PORT);

endmodule

`default_nettype wire
