// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// AXI-Stream width converter from wide to narrow: one beat becomes up to InBytes / OutBytes.
//
// A wide beat ends where its TKEEP ends, which is a run of ones from byte 0: narrow beats without a kept
// byte are not sent, and TLAST comes with the last narrow beat of the wide beat that had it. (Within a
// packet TKEEP is all ones.)
// Sends one narrow beat per cycle without a gap between wide beats; the first leaves two cycles after
// its wide beat. No combinational path between the two sides. Reset drops what is inside; the data are
// not reset.

`include "ks_assert.svh"
`default_nettype none

module ks_axis_down #(
  parameter int unsigned InBytes  = 16,   // bytes of a wide beat, a multiple of OutBytes
  parameter int unsigned OutBytes = 4     // bytes of a narrow beat, >= 1
) (
  input  wire logic                   clk_i,
  input  wire logic                   rst_ni,

  input  wire logic [8*InBytes-1:0]   s_axis_tdata,
  input  wire logic [InBytes-1:0]     s_axis_tkeep,
  input  wire logic                   s_axis_tlast,
  input  wire logic                   s_axis_tvalid,
  output logic                        s_axis_tready,

  output logic [8*OutBytes-1:0]       m_axis_tdata,
  output logic [OutBytes-1:0]         m_axis_tkeep,
  output logic                        m_axis_tlast,
  output logic                        m_axis_tvalid,
  input  wire logic                   m_axis_tready
);

  if (OutBytes < 1 || InBytes < OutBytes || InBytes % OutBytes != 0) begin : gen_bad_bytes
    $error("ks_axis_down: InBytes must be a multiple of OutBytes, and OutBytes at least 1");
  end

  // The wide beat, moved down by a narrow one with every narrow beat sent; zeros follow its TKEEP, so
  // that the end shows itself.
  logic [8*InBytes-1:0] data_q;
  logic [InBytes-1:0]   keep_q, keep_rest;
  logic                 last_q, valid_q;
  logic                 ready, ends, push;

  assign keep_rest     = keep_q >> OutBytes;
  assign ends          = keep_rest == '0;
  assign s_axis_tready = !valid_q || (ready && ends);
  assign push          = s_axis_tvalid && s_axis_tready;

  always_ff @(posedge clk_i) begin
    if (push) begin
      data_q <= s_axis_tdata;
      keep_q <= s_axis_tkeep;
      last_q <= s_axis_tlast;
    end else if (ready) begin
      data_q <= data_q >> (8 * OutBytes);
      keep_q <= keep_rest;
    end
    if (!rst_ni)               valid_q <= 1'b0;
    else if (push)             valid_q <= 1'b1;
    else if (ready && ends)    valid_q <= 1'b0;
  end

  ks_skid #(.Width(9 * OutBytes + 1)) u_skid (
    .clk_i, .rst_ni,
    .s_valid_i(valid_q),
    .s_ready_o(ready),
    .s_data_i ({last_q && ends, keep_q[OutBytes-1:0], data_q[8*OutBytes-1:0]}),
    .m_valid_o(m_axis_tvalid),
    .m_ready_i(m_axis_tready),
    .m_data_o ({m_axis_tlast, m_axis_tkeep, m_axis_tdata})
  );

  // TKEEP: a run of ones from byte 0, all ones within a packet.
  `KS_ASSUME(KeepFull, !s_axis_tvalid || s_axis_tlast || s_axis_tkeep == '1)
  `KS_ASSUME(KeepRun, !s_axis_tvalid || (s_axis_tkeep & InBytes'(s_axis_tkeep + 1'b1)) == '0)
  `KS_COVER(EarlyEnd, push && s_axis_tlast && s_axis_tkeep != '1)

endmodule

`default_nettype wire
