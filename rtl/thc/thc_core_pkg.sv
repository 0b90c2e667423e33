// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Types that the THC kernels share: the scale of a block and what stays the same during a run.
// Numbers as in sw_ref/thc/codec.hpp; docs/thc_kernels.md describes the kernels.

`default_nettype none

package thc_core_pkg;

  localparam int unsigned THC_W = 27;              // block fixed point: 2^(e - 22) a unit, sign included
  localparam int unsigned THC_MIN_BLOCK_LOG2 = 10; // coordinates of a block
  localparam int unsigned THC_MAX_BLOCK_LOG2 = 15;
  localparam int unsigned THC_MAX_ENTRIES = 16;    // of a quantisation table

  // What a kernel has to know about one block (ref::BlockScale).
  typedef struct packed {
    logic [4:0]  step_shift;  // t m / g = step * 2^-step_shift
    logic [16:0] step;        // grid -> rotated value
    logic [16:0] gain;        // rotated value -> grid, 10 fractional bits
    logic [7:0]  exponent;    // biased fp32 exponent of the norm; 0: the block is zero
  } thc_scale_t;

  // Constant while a run is in progress.
  typedef struct packed {
    logic [3:0]       block_log2;   // 10..15
    logic [7:0]       granularity;  // g, 1..255
    logic [15:0][7:0] values;       // table; cells from `entries` on are not looked at
    logic [4:0]       entries;      // 2, 4, 8 or 16
    logic [1:0][31:0] sign_key;     // [0] = key word 0
    logic [1:0][31:0] noise_key;
  } thc_cfg_t;

endpackage

`default_nettype wire
