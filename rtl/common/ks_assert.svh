// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Assertion macros. Each stands as an item of a module that has clk_i and rst_ni, and is looked at in
// every clock cycle outside reset:
//
//   `KS_ASSERT(Name, condition)   the module promises it
//   `KS_ASSUME(Name, condition)   the surroundings promise it: assumed in a proof, checked in simulation
//   `KS_COVER(Name, condition)    a proof shows a trace that reaches it
//
// Simulation stops at a broken assertion. In synthesis (SYNTHESIS defined, FORMAL not) all are empty.

`ifndef KS_ASSERT_SVH
`define KS_ASSERT_SVH

`ifdef FORMAL
  `define KS_ASSERT(Name, Cond) \
    always_ff @(posedge clk_i) if (rst_ni) begin \
      Name : assert (Cond); \
    end
  `define KS_ASSUME(Name, Cond) \
    always_ff @(posedge clk_i) if (rst_ni) begin \
      Name : assume (Cond); \
    end
  `define KS_COVER(Name, Cond) \
    always_ff @(posedge clk_i) if (rst_ni) begin \
      Name : cover (Cond); \
    end
`elsif SYNTHESIS
  `define KS_ASSERT(Name, Cond)
  `define KS_ASSUME(Name, Cond)
  `define KS_COVER(Name, Cond)
`else
  `define KS_ASSERT(Name, Cond) \
    always_ff @(posedge clk_i) if (rst_ni) begin \
      Name : assert (Cond) else $error("%m"); \
    end
  `define KS_ASSUME(Name, Cond) `KS_ASSERT(Name, Cond)
  `define KS_COVER(Name, Cond)
`endif

`endif
