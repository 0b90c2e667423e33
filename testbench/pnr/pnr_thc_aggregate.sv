// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_aggregate for place and route by itself: inputs come from a shift register, outputs are folded into
// one bit in two registered steps, so that four pins are enough and every path begins and ends in a register.

`default_nettype none

module pnr_thc_aggregate #(
  parameter int unsigned Lanes = 16,
  parameter int unsigned SumBits = 16,
  parameter int unsigned MaxBeats = 256
) (
  input  wire logic clk_i,
  input  wire logic rst_ni,
  input  wire logic serial_i,
  output logic      serial_o
);

  localparam int unsigned InBits = 1 + $bits(thc_core_pkg::thc_cfg_t) + $clog2(MaxBeats) + 1 + 4 * Lanes + 2 + 1 + 1 + 1;
  localparam int unsigned OutBits = 1 + Lanes * SumBits + 8 + 1 + 1 + 4 * 32;
  localparam int unsigned Groups = (OutBits + 15) / 16;

  logic                       rst_nq;
  logic [InBits-1:0]          in_q;
  logic [OutBits-1:0]         out;
  logic [16*Groups-1:0]       out_q;
  logic [Groups-1:0]          fold_q;

  logic                       clear, last, valid, ready;
  thc_core_pkg::thc_cfg_t     cfg;
  logic [$clog2(MaxBeats):0]  beats;
  logic [4*Lanes-1:0]         data;
  logic [1:0]                 user;

  assign {clear, cfg, beats, data, user, last, valid, ready} = in_q;

  thc_aggregate #(.Lanes(Lanes), .SumBits(SumBits), .MaxBeats(MaxBeats)) u_dut (
    .clk_i, .rst_ni(rst_nq), .clear_i(clear), .cfg_i(cfg), .beats_i(beats),
    .s_axis_tdata(data), .s_axis_tuser(user), .s_axis_tlast(last), .s_axis_tvalid(valid),
    .s_axis_tready(out[0]),
    .m_axis_tdata(out[1 +: Lanes*SumBits]), .m_axis_tuser(out[1+Lanes*SumBits +: 8]),
    .m_axis_tlast(out[9+Lanes*SumBits]), .m_axis_tvalid(out[10+Lanes*SumBits]), .m_axis_tready(ready),
    .early_o(out[11+Lanes*SumBits +: 32]), .late_o(out[43+Lanes*SumBits +: 32]),
    .refused_o(out[75+Lanes*SumBits +: 32]), .bad_index_o(out[107+Lanes*SumBits +: 32])
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
