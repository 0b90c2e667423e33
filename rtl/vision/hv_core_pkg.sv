// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Types and derived sizes that the modules of the compute core share. Everything follows from the
// configuration in hv_pkg, which is generated from contract/vision.json.

`default_nettype none

package hv_core_pkg;

  import hv_pkg::*;

  localparam int unsigned Nb = HV_LANES;          // banks = word lanes
  localparam int unsigned Wb = HV_WORD_BYTES;     // bytes per word = channels per group
  localparam int unsigned Lb = $clog2(Nb);
  localparam int unsigned RowW = $clog2(HV_ACT_ROWS);
  localparam int unsigned RingAw = $clog2(HV_RING_WORDS);
  localparam int unsigned Rw = 4 * Wb;            // bytes per ring word
  localparam int unsigned RwBeats = Rw / HV_BUS_BYTES;
  localparam int unsigned ParamGroups = 4;        // groups described by one shift word

  // Accumulators: the weights of a tile lie in the ring, so a sum has fewer than 4*HV_RING_WORDS products of
  // at most 2^14. Equal to 32-bit accumulators that wrap.
  localparam int unsigned AccW = 14 + $clog2(4 * HV_RING_WORDS) + 1;

  // Tiles follow each other at least this many cycles apart (see hv_drain).
  localparam int unsigned DrainNarrowCycles = Nb / 2;
  localparam int unsigned DrainWideCycles = Nb;
  localparam int unsigned DrainAddCycles = 4 * Nb + 20;

  typedef logic [Wb-1:0][7:0] word_t;
  typedef logic [Rw-1:0][7:0] ring_word_t;
  typedef logic [RowW-1:0] row_t;
  typedef logic [Lb-1:0] bank_t;
  typedef logic signed [19:0] lin_t;
  typedef logic signed [11:0] coord_t;

  // The network between banks and word lanes has two stages of 4:1. Lane w = 4k + m belongs to column m,
  // bank b = 4c + x to class c. Stage one gives every column one word of every class, stage two
  // picks a class for each lane: any words may pass at once that no two lanes of a column take from one class.
  localparam int unsigned Nx = 4;
  localparam int unsigned Nc = Nb / Nx;
  localparam int unsigned NxB = $clog2(Nx);
  localparam int unsigned NcB = $clog2(Nc);
  typedef logic [NxB-1:0] net_x_t;
  typedef logic [NcB-1:0] net_c_t;
  typedef struct packed {
    logic   [Nb-1:0] lanes;             // lanes that take a word
    net_c_t [Nb-1:0] lane_c;            // class of each lane's bank
    net_x_t [Nx-1:0][Nc-1:0] col_x;     // bank in class c that column m takes
    net_c_t [Nx-1:0][Nc-1:0] lane_k;    // lane Nx*k + m takes the word of class c in column m
    logic   [Nx-1:0][Nc-1:0] col_en;    // there is one
  } net_t;

  // A row that the output unit asks for is there this many cycles later (hv_actmem).
  localparam int unsigned RowLatency = 4;

  // What the MAC array has to know about one set of operand words.
  typedef struct packed {
    logic [3:0] nch_m1;     // steps that the words last, minus one: 1 for a maximum
    logic       first;      // first words of a tile
    logic       last;       // last words of a tile
    logic       w_last;     // last words of a tile that take weights
    logic       is_res;     // residual words for the add unit, no MAC step
    logic       add;        // the tile's results pass the add unit
    logic       depthwise;
    logic       is_max;
    logic [1:0] glog;
  } op_tag_t;

  // log2(Nb) low bits of a channel group index, reversed: the bank skew of that group.
  function automatic bank_t group_skew(input logic [Lb-1:0] g);
    bank_t r;
    for (int unsigned i = 0; i < Lb; i++) r[i] = g[Lb-1-i];
    return r;
  endfunction

endpackage

`default_nettype wire
