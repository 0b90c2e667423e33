// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Threefry-2x32 with 13 rounds (Salmon et al., SC 2011) as a pipeline: 64 random bits as a function of a
// key and a 64-bit counter, equal to ref::threefry2x32; word 0 is the lower half.
//
// One counter a step; the pipeline of Latency = 17 steps (key, 13 rounds, 3 key injections, one 32-bit
// addition each) moves where en_i is high. The validity of a value is the caller's business. key_i is
// constant while values are in the pipeline. No reset (data path).

`default_nettype none

module thc_threefry #(
  localparam int unsigned Rounds = 13,
  localparam int unsigned Latency = 1 + Rounds + Rounds / 4
) (
  input  wire logic             clk_i,
  input  wire logic             en_i,
  input  wire logic [1:0][31:0] key_i,
  input  wire logic [63:0]      counter_i,
  output logic [63:0]           word_o
);

  function automatic int unsigned rotation(input int unsigned round);
    case (round % 8)
      0: return 13;
      1: return 15;
      2: return 26;
      3: return 6;
      4: return 17;
      5: return 29;
      6: return 16;
      default: return 24;
    endcase
  endfunction

  // Step 0 adds the key; of every five steps from step 1 on the first four are rounds and the fifth an
  // injection.
  logic [2:0][31:0]         ks;
  logic [Latency-1:0][31:0] x0_q, x1_q;

  assign ks = {32'h1BD11BDA ^ key_i[0] ^ key_i[1], key_i[1], key_i[0]};

  for (genvar s = 0; s < int'(Latency); s++) begin : gen_step
    if (s == 0) begin : gen_key
      always_ff @(posedge clk_i) begin
        if (en_i) begin
          x0_q[s] <= counter_i[31:0] + ks[0];
          x1_q[s] <= counter_i[63:32] + ks[1];
        end
      end
    end else if (s % 5 == 0) begin : gen_injection
      localparam int unsigned N = s / 5;
      logic [31:0] k1_q;   // of a constant key
      always_ff @(posedge clk_i) begin
        k1_q <= ks[(N + 1) % 3] + 32'(N);
        if (en_i) begin
          x0_q[s] <= x0_q[s-1] + ks[N % 3];
          x1_q[s] <= x1_q[s-1] + k1_q;
        end
      end
    end else begin : gen_round
      localparam int unsigned R = rotation(s - 1 - s / 5);
      logic [31:0] sum;
      assign sum = x0_q[s-1] + x1_q[s-1];
      always_ff @(posedge clk_i) begin
        if (en_i) begin
          x0_q[s] <= sum;
          x1_q[s] <= {x1_q[s-1][31-R:0], x1_q[s-1][31:32-R]} ^ sum;
        end
      end
    end
  end

  assign word_o = {x1_q[Latency-1], x0_q[Latency-1]};

endmodule

`default_nettype wire
