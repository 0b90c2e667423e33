// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Endless stream of rounding noise, 16 uniform bits a coordinate, Lanes a beat, lane 0 first. Equal to
// ref::noise_at(key_i, first_i + i) for coordinate i after clear_i or reset. first_i, the number of the
// first coordinate in its tensor, is a multiple of 1024 and stays as it is, as does key_i.
// One beat a cycle from 21 cycles after clear_i on, elastic; ahead_o: the next beat is there as well.

`default_nettype none

module thc_noise #(
  parameter int unsigned Lanes = 16   // coordinates of a beat: a power of two up to 64
) (
  input  wire logic              clk_i,
  input  wire logic              rst_ni,
  input  wire logic              clear_i,
  input  wire logic [1:0][31:0]  key_i,
  input  wire logic [63:0]       first_i,

  output logic                   m_valid_o,
  input  wire logic              m_ready_i,
  output logic [Lanes-1:0][15:0] m_noise_o,
  output logic                   ahead_o
);

  if (Lanes < 1 || Lanes > 64 || 2 ** $clog2(Lanes) != Lanes) begin : gen_bad_lanes
    $error("thc_noise: Lanes must be a power of two up to 64");
  end

  thc_random #(
    .Bits(16 * Lanes)
  ) u_random (
    .clk_i,
    .rst_ni,
    .clear_i,
    .key_i,
    .start_i  (first_i >> 2),
    .m_valid_o,
    .m_ready_i,
    .m_data_o (m_noise_o),
    .ahead_o
  );

endmodule

`default_nettype wire
