// Copyright The Kestrel Authors
// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic of the confidence unit on one multiplier of 18 x 18 bits: the reciprocal of the sum of
// exponentials (Newton's iteration in fixed point, as TensorFlow Lite's integer softmax computes it) and
// products with it.
//
// recip_i: starts the reciprocal of sum_i (Q12.19, at least 1.0); busy_o falls when the reciprocal and its shift are
// kept inside. prob_i: probability of the exponential exp_i (Q0.31) -> prob8_o (Q0.8 before offset, saturated
// to 255) and prob16_o (unsigned Q0.16, saturated to 65535), valid when busy_o falls. A product takes 9 cycles, one
// step each: operands, four partial products through a multiplier of two cycles, shift, result. prob is busy
// 9 cycles, the reciprocal 74 (11 to normalise, 7 products). Start pulses only while busy_o is low.

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
  localparam logic [3:0]         NormSteps      = 4'd11;             // 1.0 is bit 19, normalised is bit 30

  // Shift left with saturation. The reference's limits are symmetric; what lies between them and these is
  // the lowest number either way.
  function automatic logic signed [31:0] sat_shl1(input logic signed [31:0] x);
    return x[31] == x[30] ? x <<< 1 : {x[31], {31{!x[31]}}};
  endfunction
  function automatic logic signed [31:0] sat_shl2(input logic signed [31:0] x);
    return x[31] == x[30] && x[31] == x[29] ? x <<< 2 : {x[31], {31{!x[31]}}};
  endfunction

  // --- Sequence -------------------------------------------------------------------------------------
  // k: 0 d * -32/17; 1,3,5 d * r; 2,4,6 r * (1 - d r); 7 scale * exp with scale = 2 r.
  // ph: 0 operands; 1 to 4 their halves go into the multiplier, 3 to 6 the products come out; 7, 8.
  logic [2:0] k_q;
  logic [8:0] ph_q;
  logic [3:0] norm_q;                        // steps of normalisation left
  logic       busy_q, next;
  assign next = ph_q[8] && k_q < 3'd6;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      ph_q   <= '0;
      norm_q <= '0;
    end else begin
      ph_q <= {ph_q[7:0], prob_i || norm_q == 4'd1 || next};
      if (recip_i) norm_q <= NormSteps;
      else if (norm_q != 0) norm_q <= norm_q - 4'd1;
      if (recip_i || prob_i) busy_q <= 1'b1;
      else if (ph_q[8] && !next) busy_q <= 1'b0;
    end
    if (recip_i) k_q <= 3'd0;
    else if (prob_i) k_q <= 3'd7;
    else if (next) k_q <= k_q + 3'd1;
  end

  // --- Operands -------------------------------------------------------------------------------------
  logic signed [31:0] d_q, r_q, u_q;
  logic [3:0]  bits_q;                       // bits of the sum over 1.0
  logic [30:0] exp_q;
  logic signed [31:0] a_q, b_q;

  always_ff @(posedge clk_i) begin
    if (prob_i) exp_q <= exp_i;
    // (1 + fraction) / 2
    if (recip_i) begin
      d_q    <= $signed({1'b0, sum_i});
      bits_q <= NormSteps;
    end else if (norm_q != 0 && !d_q[30]) begin
      d_q    <= d_q << 1;
      bits_q <= bits_q - 4'd1;
    end
    if (ph_q[0]) begin
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
          a_q <= sat_shl1(r_q);
          b_q <= $signed({1'b0, exp_q});
        end
      endcase
    end
  end

  // --- Product: bits 62 to 31, rounded --------------------------------------------------------------
  logic        [16:0] a_half, b_half;        // the low half without sign
  logic signed [33:0] part;
  logic signed [34:0] acc_q;
  logic signed [34:0] acc_in;
  logic               low_q;                 // bit 31 of the product
  logic signed [31:0] result;
  assign a_half = ph_q[3] || ph_q[4] ? 17'($signed(a_q[31:16])) : {1'b0, a_q[15:0]};
  assign b_half = ph_q[2] || ph_q[4] ? 17'($signed(b_q[31:16])) : {1'b0, b_q[15:0]};
  assign result = {acc_q[30:0], low_q};

  ks_mul_reg #(.WidthA(17), .WidthB(17)) u_mul (
    .clk_i, .en_ab_i(1'b1), .en_p_i(1'b1), .a_i(a_half), .b_i(b_half), .p_o(part)
  );

  always_comb begin
    if (ph_q[3]) acc_in = 35'sd1073741824;
    else if (ph_q[5]) acc_in = acc_q;
    else acc_in = acc_q >>> 16;
  end
  always_ff @(posedge clk_i) begin
    if (ph_q[3] || ph_q[4] || ph_q[5] || ph_q[6]) acc_q <= acc_in + 35'(part);
    if (ph_q[6]) low_q <= acc_q[15];
  end

  // --- Results --------------------------------------------------------------------------------------
  logic signed [31:0] t_q;
  logic [17:0]        p_q;                   // one bit more than prob16_o on either side
  logic [17:0]        p16;
  logic [9:0]         p8;
  assign p16 = 18'((19'(p_q) + 19'd1) >> 1);
  assign p8  = 10'((11'(p_q[17:8]) + 11'd1) >> 1);

  always_ff @(posedge clk_i) begin
    if (ph_q[7]) begin
      t_q <= k_q[0] || k_q == 3'd0 ? result : sat_shl2(result);
      p_q <= result[31:14] >> bits_q;
    end
    if (ph_q[8]) begin
      if (k_q == 3'd0) r_q <= K48Over17 + t_q;
      else if (!k_q[0]) r_q <= r_q + t_q;
      u_q <= KOne - t_q;
      if (k_q == 3'd7) begin
        prob8_o  <= p8[9:8] != 0 ? 8'hff : p8[7:0];
        prob16_o <= p16[17:16] != 0 ? 16'hffff : p16[15:0];
      end
    end
  end

  assign busy_o = busy_q;

endmodule

`default_nettype wire
