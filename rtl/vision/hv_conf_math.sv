// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic of the confidence unit on one serial multiplier: the reciprocal of the sum of
// exponentials (Newton's iteration in fixed point, as TensorFlow Lite's integer softmax computes it) and
// products with it.
//
// recip_i: starts the reciprocal of sum_i (Q12.19, at least 1.0); busy_o falls when scale and shift are kept
// inside. prob_i: probability of the exponential exp_i (Q0.31) -> prob8_o (Q0.8 before offset, saturated
// to 255) and prob16_o (unsigned Q0.16, saturated to 65535), valid when busy_o falls. A product takes 5 cycles:
// prob 6 cycles, reciprocal 7 products. Start pulses only while busy_o is low.

`default_nettype none

module hv_conf_math (
  input  wire logic        clk_i,
  input  wire logic        rst_ni,
  input  wire logic        recip_i,
  input  wire logic [30:0] sum_i,
  input  wire logic        prob_i,
  input  wire logic [30:0] exp_i,
  output logic             busy_o,
  output logic [7:0]       prob8_o,
  output logic [15:0]      prob16_o
);

  localparam logic signed [31:0] K48Over17      = 32'sd1515870810;   // Q2.29
  localparam logic signed [31:0] KMinus32Over17 = -32'sd1010580540;  // Q2.29
  localparam logic signed [31:0] KOne           = 32'sd536870912;    // Q2.29
  localparam logic signed [31:0] KMax           = 32'sh7fffffff;
  localparam logic signed [31:0] KMin           = 32'sh80000000;

  // Shift by n with saturation at the limits of symmetric range, as the reference defines it.
  function automatic logic signed [31:0] sat_shl(input logic signed [31:0] x, input int unsigned n);
    logic signed [31:0] limit;
    limit = 32'((64'sd1 <<< (31 - n)) - 64'sd1);
    return x > limit ? KMax : x < -limit ? KMin : x <<< n;
  endfunction

  // --- Multiplier: 8 bits of b per cycle ---------------------------------------------------------
  logic        run_q;
  logic [1:0]  step_q;
  logic signed [31:0] a_q;
  logic [31:0] b_q;
  logic signed [63:0] acc_q;
  logic signed [40:0] part;
  logic signed [31:0] result;
  logic signed [8:0]  digit;
  /* verilator lint_off UNUSEDSIGNAL */  // the quotient only
  logic signed [63:0] rounded;
  /* verilator lint_on UNUSEDSIGNAL */

  assign digit   = {step_q == 2'd3 && b_q[7], b_q[7:0]};
  assign part    = 41'(a_q) * 41'(digit);
  assign rounded = acc_q + 64'sd1073741824;
  assign result  = rounded[62:31];

  // --- Sequence -------------------------------------------------------------------------------------
  // k: 0 d * -32/17; 1,3,5 d * r; 2,4,6 r * (1 - d r); 7 scale * exp.
  logic [2:0] k_q;
  logic       busy_q, go_q;                  // go: operands of step k are to be loaded
  logic signed [31:0] d_q, r_q, u_q, scale_q;
  logic [3:0] bits_q;                        // 12 - leading zeros: bits over unit
  logic [30:0] exp_q;
  logic        mul_done_q;

  logic [4:0]  lz;
  /* verilator lint_off UNUSEDSIGNAL */  // the lowest bit is shifted out
  logic [31:0] norm;
  /* verilator lint_on UNUSEDSIGNAL */
  always_comb begin
    lz = 5'd0;
    for (int unsigned i = 0; i < 31; i++) if (sum_i[i]) lz = 5'(31 - i);
    norm = {1'b0, sum_i} << lz;
  end

  // Rounding shifts of the non-negative product to Q0.8 and Q0.16.
  logic [5:0]  sh8, sh16;
  logic [32:0] p8, p16;
  assign sh8  = 6'(bits_q) + 6'd23;
  assign sh16 = 6'(bits_q) + 6'd15;
  assign p8   = sh8 > 6'd31 ? 33'd0 : ({1'b0, result} + (33'd1 << (sh8 - 6'd1))) >> sh8;
  assign p16  = ({1'b0, result} + (33'd1 << (sh16 - 6'd1))) >> sh16;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q     <= 1'b0;
      go_q       <= 1'b0;
      run_q      <= 1'b0;
      mul_done_q <= 1'b0;
    end else begin
      mul_done_q <= run_q && step_q == 2'd3;
      if (recip_i || prob_i) begin
        busy_q <= 1'b1;
        go_q   <= 1'b1;
        k_q    <= prob_i ? 3'd7 : 3'd0;
      end else begin
        go_q <= 1'b0;
      end
      if (go_q) run_q <= 1'b1;
      else if (step_q == 2'd3) run_q <= 1'b0;
      if (mul_done_q) begin
        if (k_q >= 3'd6) begin
          busy_q <= 1'b0;
        end else begin
          k_q  <= k_q + 3'd1;
          go_q <= 1'b1;
        end
      end
    end

    if (recip_i) begin
      d_q    <= $signed({1'b0, norm[31:1]});   // (1 + fraction) / 2
      bits_q <= 4'(5'd12 - lz);
    end
    if (prob_i) exp_q <= exp_i;
    if (go_q) begin
      step_q <= '0;
      acc_q  <= '0;
      unique case (k_q)
        3'd0: begin
          a_q <= d_q;
          b_q <= KMinus32Over17;
        end
        3'd1, 3'd3, 3'd5: begin
          a_q <= d_q;
          b_q <= r_q;
        end
        3'd2, 3'd4, 3'd6: begin
          a_q <= r_q;
          b_q <= u_q;
        end
        default: begin
          a_q <= scale_q;
          b_q <= {1'b0, exp_q};
        end
      endcase
    end else if (run_q) begin
      step_q <= step_q + 2'd1;
      b_q    <= b_q >> 8;
      acc_q  <= (acc_q >>> 8) + (64'(part) <<< 24);
    end
    if (mul_done_q) begin
      unique case (k_q)
        3'd0:             r_q <= K48Over17 + result;
        3'd1, 3'd3, 3'd5: u_q <= KOne - result;
        3'd2, 3'd4:       r_q <= r_q + sat_shl(result, 2);
        3'd6:             scale_q <= sat_shl(r_q + sat_shl(result, 2), 1);
        default: begin
          prob8_o  <= p8 > 33'd255 ? 8'd255 : p8[7:0];
          prob16_o <= p16 > 33'd65535 ? 16'hffff : p16[15:0];
        end
      endcase
    end
  end

  assign busy_o = busy_q;

endmodule

`default_nettype wire
