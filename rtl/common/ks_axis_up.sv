// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// AXI-Stream width converter from narrow to wide: collects OutBytes / InBytes beats into one.
//
// A packet may have any number of bytes: TKEEP is all ones except in the beat with TLAST, where it is a
// run of ones from byte 0. The wide beat with TLAST then holds what is there; bytes without TKEEP are
// zero in it, whatever the input has there.
// Takes one narrow beat per cycle; a wide beat leaves in the cycle after the narrow one that completes
// it. No combinational path between the two sides. Reset drops a wide beat in the making; the data are
// not reset.

`include "ks_assert.svh"
`default_nettype none

module ks_axis_up #(
  parameter int unsigned InBytes  = 4,   // bytes of a narrow beat, >= 1
  parameter int unsigned OutBytes = 16   // bytes of a wide beat, a multiple of InBytes
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

  if (InBytes < 1 || OutBytes < InBytes || OutBytes % InBytes != 0) begin : gen_bad_bytes
    $error("ks_axis_up: OutBytes must be a multiple of InBytes, and InBytes at least 1");
  end

  localparam int unsigned Ratio = OutBytes / InBytes;

  logic [InBytes-1:0][7:0] in;      // s_axis_tdata, zero where TKEEP is
  logic                    full;    // it is the last of one
  logic                    done;    // this beat completes a wide one
  logic                    word_ready;
  logic [8*OutBytes-1:0]   word;
  logic [OutBytes-1:0]     word_keep;

  always_comb begin
    for (int unsigned i = 0; i < InBytes; i++) begin
      in[i] = s_axis_tkeep[i] ? s_axis_tdata[8*i +: 8] : 8'd0;
    end
  end
  assign s_axis_tready = word_ready;
  assign done          = full || s_axis_tlast;

  if (Ratio == 1) begin : gen_same
    assign full      = 1'b1;
    assign word      = in;
    assign word_keep = s_axis_tkeep;
  end else begin : gen_up
    localparam int unsigned SlotW = $clog2(Ratio);
    logic                                  push;
    logic [SlotW-1:0]                      slot_q;
    logic [Ratio-2:0][InBytes-1:0][7:0]    data_q;   // beats before this one; zero above them
    logic [Ratio-2:0][InBytes-1:0]         keep_q;
    logic [Ratio-1:0][InBytes-1:0][7:0]    data_d;
    logic [Ratio-1:0][InBytes-1:0]         keep_d;

    always_comb begin
      data_d = '0;
      keep_d = '0;
      for (int unsigned i = 0; i < Ratio; i++) begin
        if (slot_q == SlotW'(i)) begin
          data_d[i] = in;
          keep_d[i] = s_axis_tkeep;
        end else if (i < Ratio - 1 && SlotW'(i) < slot_q) begin
          data_d[i] = data_q[i];
          keep_d[i] = keep_q[i];
        end
      end
    end
    assign push      = s_axis_tvalid && s_axis_tready;
    assign full      = slot_q == SlotW'(Ratio - 1);
    assign word      = data_d;
    assign word_keep = keep_d;

    always_ff @(posedge clk_i) begin
      if (push) begin
        data_q <= data_d[Ratio-2:0];
        keep_q <= keep_d[Ratio-2:0];
      end
      if (!rst_ni)   slot_q <= '0;
      else if (push) slot_q <= done ? '0 : slot_q + SlotW'(1);
    end

    `KS_ASSERT(SlotInRange, (SlotW+1)'(slot_q) < (SlotW+1)'(Ratio))
    `KS_COVER(EarlyEnd, push && s_axis_tlast && !full)
  end

  ks_skid #(.Width(9 * OutBytes + 1)) u_skid (
    .clk_i, .rst_ni,
    .s_valid_i(s_axis_tvalid && done),
    .s_ready_o(word_ready),
    .s_data_i ({s_axis_tlast, word_keep, word}),
    .m_valid_o(m_axis_tvalid),
    .m_ready_i(m_axis_tready),
    .m_data_o ({m_axis_tlast, m_axis_tkeep, m_axis_tdata})
  );

  // TKEEP: a run of ones from byte 0, all ones within a packet.
  `KS_ASSUME(KeepFull, !s_axis_tvalid || s_axis_tlast || s_axis_tkeep == '1)
  `KS_ASSUME(KeepRun, !s_axis_tvalid || (s_axis_tkeep & InBytes'(s_axis_tkeep + 1'b1)) == '0)

endmodule

`default_nettype wire
