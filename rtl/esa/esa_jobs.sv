// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Job table: a content-addressed list of the active job numbers, and an entry of settings for each.
//
// Lookup of a number is combinational (hit_o, jidx_o), as are two reads of entries by place (LUT RAM).
// A write in cycle t is seen from t+1. active_o tells which places are in use. Reset ends all jobs;
// entries keep their contents. The writer keeps active numbers distinct: asserted.

`include "ks_assert.svh"
`default_nettype none

module esa_jobs
  import esa_pkg::*;
(
  input  wire logic        clk_i,
  input  wire logic        rst_ni,

  input  wire logic        write_i,      // entry_i into place write_jidx_i, which becomes active
  input  wire logic        remove_i,     // write_jidx_i is not active any more
  input  wire jidx_t       write_jidx_i,
  input  wire job_t        entry_i,
  output logic [Jobs-1:0]  active_o,

  input  wire logic [15:0] number_i,     // lookup of a packet's job
  output logic             hit_o,
  output jidx_t            jidx_o,

  input  wire logic [15:0] probe_i,      // lookup for the control side
  output logic             probe_hit_o,

  input  wire jidx_t       jidx_a_i,
  output job_t             entry_a_o,
  input  wire jidx_t       jidx_b_i,
  output job_t             entry_b_o
);

  localparam int unsigned EntryW = $bits(job_t);

  logic [EntryW-1:0]     mem [Jobs];
  logic [Jobs-1:0][15:0] number_q;
  logic [Jobs-1:0]       active_q, match, probe;

  always_comb begin
    jidx_o = '0;
    for (int unsigned i = 0; i < Jobs; i++) begin
      match[i] = active_q[i] && number_q[i] == number_i;
      probe[i] = active_q[i] && number_q[i] == probe_i;
      if (match[i]) jidx_o = jidx_o | jidx_t'(i);
    end
  end
  assign hit_o       = match != '0;
  assign probe_hit_o = probe != '0;
  assign active_o    = active_q;
  assign entry_a_o   = job_t'(mem[jidx_a_i]);
  assign entry_b_o   = job_t'(mem[jidx_b_i]);

  always_ff @(posedge clk_i) begin
    if (write_i) begin
      mem[write_jidx_i]      <= entry_i;
      number_q[write_jidx_i] <= entry_i.number;
    end
    if (!rst_ni) active_q <= '0;
    else begin
      if (remove_i) active_q[write_jidx_i] <= 1'b0;
      if (write_i) active_q[write_jidx_i] <= 1'b1;
    end
  end

  `KS_ASSERT(NumbersDistinct, $onehot0(match))

endmodule

`default_nettype wire
