// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Endless stream of random bits, Bits a beat: word w of 64 bits is Threefry of the counter start_i + w,
// its bits are used from bit 0 on. After reset or clear_i the stream begins with word start_i, 21 cycles
// later, and then gives a beat a cycle for as long as it is asked.
//
// key_i and start_i are looked at from clear_i (or the end of reset) on and must not change until the
// next one; start_i is a multiple of the words of a beat. m_* is elastic (m_ready_i does not reach beyond
// the output register and a FIFO); ahead_o says that the beat after the one at m_* is at hand as well.

`include "ks_assert.svh"
`default_nettype none

module thc_random #(
  parameter int unsigned Bits = 256,   // of a beat: a power of two
  localparam int unsigned Words = Bits > 64 ? Bits / 64 : 1,
  localparam int unsigned Beats = Bits < 64 ? 64 / Bits : 1   // of a word
) (
  input  wire logic             clk_i,
  input  wire logic             rst_ni,
  input  wire logic             clear_i,
  input  wire logic [1:0][31:0] key_i,
  input  wire logic [63:0]      start_i,

  output logic                  m_valid_o,
  input  wire logic             m_ready_i,
  output logic [Bits-1:0]       m_data_o,
  output logic                  ahead_o
);

  if (Bits < 1 || 2 ** $clog2(Bits) != Bits) begin : gen_bad_bits
    $error("thc_random: Bits must be a power of two");
  end

  localparam int unsigned Latency = 17;   // of thc_threefry
  localparam int unsigned Depth = 16;
  localparam int unsigned LevelW = $clog2(Depth) + 1;
  localparam int unsigned Width = 64 * Words;
  localparam int unsigned LeftW = Beats > 1 ? $clog2(Beats) : 1;

  logic                   flush_n;
  logic                   en_q;
  logic [63:0]            counter_q;
  logic [Latency-1:0]     valid_q;
  logic [Words-1:0][63:0] word;
  logic [Width-1:0]       fifo_data;
  logic                   pop, empty;
  logic [LevelW-1:0]      level;
  logic [Width-1:0]       out_q;
  logic                   out_valid_q;
  logic [LeftW-1:0]       left_q;    // beats left in out_q after the present one
  logic                   last;

  assign flush_n = rst_ni && !clear_i;

  for (genvar w = 0; w < int'(Words); w++) begin : gen_word
    thc_threefry u_threefry (
      .clk_i,
      .en_i     (en_q),
      .key_i,
      .counter_i(counter_q | 64'(w)),
      .word_o   (word[w])
    );
  end

  always_ff @(posedge clk_i) begin
    if (!flush_n) begin
      counter_q <= start_i;
      valid_q   <= '0;
      en_q      <= 1'b0;
    end else begin
      // A word may be on its way into the FIFO when this is decided, and one more when it takes effect.
      en_q <= level <= LevelW'(Depth - 2);
      if (en_q) begin
        counter_q <= counter_q + 64'(Words);
        valid_q   <= {valid_q[Latency-2:0], 1'b1};
      end
    end
  end

  /* verilator lint_off PINCONNECTEMPTY */   // the level says it all
  ks_fifo #(
    .Width(Width),
    .Depth(Depth)
  ) u_fifo (
    .clk_i,
    .rst_ni (flush_n),
    .push_i (en_q && valid_q[Latency-1]),
    .wdata_i(word),
    .full_o (),
    .pop_i  (pop),
    .rdata_o(fifo_data),
    .empty_o(empty),
    .level_o(level)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  assign last = left_q == '0;
  assign pop  = !empty && (!out_valid_q || (m_ready_i && last));

  always_ff @(posedge clk_i) begin
    if (pop) begin
      out_q  <= fifo_data;
      left_q <= LeftW'(Beats - 1);
    end else if (m_ready_i && !last) begin
      out_q  <= out_q >> Bits % Width;   // no shift where a word is one beat
      left_q <= left_q - LeftW'(1);
    end
    if (!flush_n)                    out_valid_q <= 1'b0;
    else if (pop)                    out_valid_q <= 1'b1;
    else if (m_ready_i && last)      out_valid_q <= 1'b0;
  end

  assign m_valid_o = out_valid_q;
  assign m_data_o  = out_q[Bits-1:0];
  assign ahead_o   = out_valid_q && !empty;

  `KS_ASSERT(WholeBeats, Words == 1 || start_i % 64'(Words) == '0)

endmodule

`default_nettype wire
