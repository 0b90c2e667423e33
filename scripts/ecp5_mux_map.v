// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Wide multiplexers on ECP5: a slice joins its LUT4s by PFUMX and L6MUX21, so that a 16:1 multiplexer
// takes 8 LUTs instead of 15. yosys makes these cells only for functions of up to seven inputs, not for
// multiplexers; scripts/synth.py covers them (pass muxcover) and maps them here.
// tests/synth/test_mux_map.py proves this file against the multiplexers it stands for.

module \$_MUX4_ (input A, B, C, D, S, T, output Y);
  wire lo, hi;
  LUT4 #(.INIT(16'hCACA)) u_lo (.A(A), .B(B), .C(S), .D(1'b0), .Z(lo));
  LUT4 #(.INIT(16'hCACA)) u_hi (.A(C), .B(D), .C(S), .D(1'b0), .Z(hi));
  PFUMX u_mux (.ALUT(hi), .BLUT(lo), .C0(T), .Z(Y));
endmodule

module \$_MUX8_ (input A, B, C, D, E, F, G, H, S, T, U, output Y);
  wire lo, hi;
  \$_MUX4_ u_lo (.A(A), .B(B), .C(C), .D(D), .S(S), .T(T), .Y(lo));
  \$_MUX4_ u_hi (.A(E), .B(F), .C(G), .D(H), .S(S), .T(T), .Y(hi));
  L6MUX21 u_mux (.D0(lo), .D1(hi), .SD(U), .Z(Y));
endmodule

module \$_MUX16_ (
  input A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, S, T, U, V,
  output Y
);
  wire lo, hi;
  \$_MUX8_ u_lo (
    .A(A), .B(B), .C(C), .D(D), .E(E), .F(F), .G(G), .H(H), .S(S), .T(T), .U(U), .Y(lo)
  );
  \$_MUX8_ u_hi (
    .A(I), .B(J), .C(K), .D(L), .E(M), .F(N), .G(O), .H(P), .S(S), .T(T), .U(U), .Y(hi)
  );
  L6MUX21 u_mux (.D0(lo), .D1(hi), .SD(V), .Z(Y));
endmodule

// A 4:1 multiplexer with an OR behind it, which the RTL asks for by name (rtl/common/ks_mux4.sv).
module ks_ecp5_mux4 (input A, B, C, D, S, T, O, output Y);
  wire lo, hi;
  LUT4 #(.INIT(16'hFFCA)) u_lo (.A(A), .B(B), .C(S), .D(O), .Z(lo));
  LUT4 #(.INIT(16'hFFCA)) u_hi (.A(C), .B(D), .C(S), .D(O), .Z(hi));
  PFUMX u_mux (.ALUT(hi), .BLUT(lo), .C0(T), .Z(Y));
endmodule
