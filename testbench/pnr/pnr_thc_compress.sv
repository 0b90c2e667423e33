// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// thc_compress for place and route by itself: inputs come from a shift register, outputs are folded into
// one bit in two registered steps, so that four pins are enough and every path begins and ends in a register.

`default_nettype none

module pnr_thc_compress #(
  parameter int unsigned Lanes = 1,
  parameter int unsigned MaxLog2 = 15
) (
  input  wire logic clk_i,
  input  wire logic rst_ni,
  input  wire logic serial_i,
  output logic      serial_o
);

  localparam int unsigned InBits = $bits(thc_core_pkg::thc_cfg_t) + $bits(thc_core_pkg::thc_scale_t) + 64 + 32 * Lanes + 6;
  localparam int unsigned OutBits = 36 * Lanes + 7;
  localparam int unsigned Groups = (OutBits + 15) / 16;

  logic                       rst_nq;
  logic [InBits-1:0]          in_q;
  logic [OutBits-1:0]         out;
  logic [16*Groups-1:0]       out_q;
  logic [Groups-1:0]          fold_q;

  logic                       clear, error_out, valid, scale_valid, ready, err_ready;
  thc_core_pkg::thc_cfg_t     cfg;
  thc_core_pkg::thc_scale_t   scale;
  logic [63:0]                first;
  logic [32*Lanes-1:0]        data;

  assign {clear, error_out, valid, scale_valid, ready, err_ready, cfg, scale, first, data} = in_q;

  thc_compress #(.Lanes(Lanes), .MaxLog2(MaxLog2)) u_dut (
    .clk_i, .rst_ni(rst_nq), .clear_i(clear), .cfg_i(cfg), .first_i(first), .error_out_i(error_out),
    .s_axis_tvalid(valid), .s_axis_tready(out[0]), .s_axis_tdata(data),
    .s_scale_tvalid(scale_valid), .s_scale_tready(out[1]), .s_scale_tdata(scale),
    .m_axis_tvalid(out[2]), .m_axis_tready(ready), .m_axis_tdata(out[7 +: 4*Lanes]), .m_axis_tlast(out[3]),
    .m_err_tvalid(out[4]), .m_err_tready(err_ready), .m_err_tdata(out[7+4*Lanes +: 32*Lanes]),
    .m_err_tlast(out[5]), .out_of_range_o(out[6])
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
