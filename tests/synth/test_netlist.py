#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""RTL against its ECP5 netlist, in lockstep under random inputs.

Blocks are synthesized with `synth_ecp5 -nodsp` (cells with a behaviour in yosys's cells_sim.v: LUT4,
carry, flip-flop), the cells are replaced by that behaviour, and Verilator runs both side by side. Hard
multipliers that the RTL instantiates have a model in ecp5_models.v. Blocks that need block RAM are not covered.
Memories of these blocks are mapped to LUT RAM and flip-flops.

  tests/synth/test_netlist.py                the blocks that are not marked slow
  tests/synth/test_netlist.py thc_compress   these

Runs under build/venv and starts itself again there; exit status 77 (skipped) without it. Ends with
`N passed, N failed`. KESTREL_SEED sets the seed.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import netlist_verilog

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VENV_PYTHON = ROOT / "build" / "venv" / "bin" / "python"
CYCLES = 40_000

# Table of the default configuration, as in thc_core_pkg::thc_cfg_t.
THC_CFG = (
    "{4'd10, 8'd30, 8'd30, 8'd27, 8'd25, 8'd23, 8'd21, 8'd19, 8'd17, 8'd16, 8'd14, 8'd13, 8'd11, 8'd9,"
    " 8'd7, 8'd5, 8'd3, 8'd0, %s, 64'h0123456789ABCDEF, 64'hFEDCBA9876543210}"
)

FIVE = {entries: f"5'd{entries}" for entries in (8, 16)}

# Top, parameters, sources, inputs and outputs with their widths, and the statement that sets the
# inputs of a cycle. `settle`: cycles until the outputs do not depend on what was in registers and
# memories at first. `generated`: packages that scripts/gen_contract.py makes. `slow`: only by name.
BLOCKS = [
    dict(
        top="ks_mul_s8",
        parameters="-G UseDsp=0",
        instance="#(.UseDsp(1'b0))",
        sources=["rtl/common/ks_mul_reg.sv", "rtl/common/ks_mul_s8.sv"],
        inputs=dict(en_ab_i=1, en_p_i=1, a_i=8, b_i=8),
        outputs=dict(p_o=16),
        reset=False,
        drive="en_ab_i = cycle < 64 || ($urandom % 4) != 0; en_p_i = cycle < 64 || ($urandom % 4) != 0; a_i = 8'($urandom); b_i = 8'($urandom);",
    ),
    dict(
        top="ks_mul_reg",
        parameters="",
        instance="",
        sources=["rtl/common/ks_mul_reg.sv"],
        inputs=dict(en_ab_i=1, en_p_i=1, a_i=18, b_i=18),
        outputs=dict(p_o=36),
        reset=False,
        drive="en_ab_i = cycle < 64 || ($urandom % 4) != 0; en_p_i = cycle < 64 || ($urandom % 4) != 0;"
        " a_i = 18'($urandom); b_i = 18'($urandom); if ($urandom % 8 == 0) a_i = 18'h20000;"
        " if ($urandom % 8 == 0) b_i = 18'h20000;",
    ),
    dict(
        top="ks_acc",
        parameters="-G Width=29",
        instance="#(.Width(29))",
        sources=["rtl/common/ks_acc.sv"],
        inputs=dict(en_i=1, clear_i=1, a_i=29),
        outputs=dict(sum_o=29),
        reset=False,
        drive="en_i = cycle < 64 || ($urandom % 4) != 0; clear_i = cycle == 20 || $urandom % 8 == 0;"
        " a_i = 29'($signed($urandom) >>> ($urandom % 32));",
    ),
    dict(
        top="ks_copies",
        parameters="-G Width=3 -G Copies=5",
        instance="#(.Width(3), .Copies(5))",
        sources=["rtl/common/ks_copies.sv"],
        inputs=dict(d_i=3),
        outputs=dict(q_o=15),
        reset=False,
        drive="d_i = 3'($urandom);",
    ),
    dict(
        top="hv_requant",
        parameters="",
        instance="",
        sources=["rtl/common/ks_mul_reg.sv", "rtl/vision/hv_requant.sv"],
        inputs=dict(
            narrow_i=1, x0_i=32, x1_i=32, ls_i=2, special_i=1, special_x_i=32, sum_i=1, mult_i=31, shift_i=5,
            zp_i=8, min_i=8, max_i=8,
        ),
        outputs=dict(y0_o=8, y1_o=8, sum_o=31),
        reset=False,
        drive="narrow_i = 1'($urandom); x0_i = 32'($signed($urandom) >>> ($urandom % 32));"
        " x1_i = 32'($signed($urandom) >>> ($urandom % 32)); ls_i = narrow_i ? 2'd0 : 2'($urandom) & 2'($urandom);"
        " special_i = !narrow_i && 1'($urandom); special_x_i = {$urandom} << ($urandom % 32);"
        " sum_i = special_i && 1'($urandom); if (cycle < 64) sum_i = 0;"
        " mult_i = {1'b1, 30'($urandom)}; shift_i = 5'($urandom % ($urandom % 32 + 1)); zp_i = 8'($urandom);"
        " min_i = -8'sd128 + 8'($urandom % 64); max_i = 8'sd127 - 8'($urandom % 64);",
    ),
    dict(
        top="hv_conf_math",
        parameters="",
        instance="",
        sources=["rtl/common/ks_mul_reg.sv", "rtl/vision/hv_conf_math.sv"],
        inputs=dict(recip_i=1, sum_i=31, prob_i=1, exp_i=31),
        outputs=dict(busy_o=1, prob8_o=8, prob16_o=16),
        reset=True,
        drive="sum_i = (31'd1 << (19 + $urandom % 10)) | 31'($urandom >> 13); exp_i = 31'($urandom);"
        " recip_i = !r_busy_o && (cycle < 40 || $urandom % 3 == 0) && !started;"
        " prob_i = !r_busy_o && !recip_i && !started && cycle > 100; started = recip_i || prob_i;",
    ),
    dict(
        top="thc_to_fixed",
        parameters="",
        instance="",
        sources=["rtl/thc/thc_to_fixed.sv"],
        inputs=dict(en_i=1, x_i=32, negate_i=1, exponent_i=8),
        outputs=dict(v_o=27, out_of_range_o=1),
        reset=False,
        drive="en_i = cycle < 64 || ($urandom % 4) != 0; x_i = $urandom; negate_i = 1'($urandom);"
        " exponent_i = $urandom % 4 == 0 ? 8'($urandom) : x_i[30:23] + 8'($urandom % 32) - 8'd3;",
    ),
    dict(
        top="thc_to_float",
        parameters="",
        instance="",
        sources=["rtl/thc/thc_to_float.sv"],
        inputs=dict(en_i=1, v_i=27, negate_i=1, exponent_i=8),
        outputs=dict(y_o=32, out_of_range_o=1),
        reset=False,
        drive="en_i = cycle < 64 || ($urandom % 4) != 0; v_i = 27'($signed($urandom) >>> ($urandom % 32));"
        " negate_i = 1'($urandom); exponent_i = 8'($urandom);",
    ),
    dict(
        top="thc_dequantise",
        parameters="",
        instance="",
        sources=["rtl/thc/thc_dequantise.sv"],
        inputs=dict(en_i=1, sum_i=16, range_i=16, align_i=4, factor_i=18, shift_i=2),
        outputs=dict(v_o=27),
        reset=False,
        drive="en_i = cycle < 64 || ($urandom % 4) != 0; sum_i = 16'($urandom); range_i = 16'($urandom);"
        " align_i = 4'($urandom); factor_i = 18'($urandom); if (cycle % 64 == 0) shift_i = 2'($urandom);",
    ),
    dict(
        top="thc_aggregate",
        parameters="-G Lanes=2 -G SumBits=8 -G MaxBeats=4",
        instance="#(.Lanes(2), .SumBits(8), .MaxBeats(4))",
        sources=[
            "rtl/thc/thc_core_pkg.sv",
            "rtl/common/ks_skid.sv",
            "rtl/thc/thc_lookup.sv",
            "rtl/thc/thc_aggregate.sv",
        ],
        inputs=dict(
            clear_i=1, cfg_i=273, beats_i=3, s_axis_tdata=8, s_axis_tuser=2, s_axis_tlast=1,
            s_axis_tvalid=1, m_axis_tready=1,
        ),
        outputs=dict(
            s_axis_tready=1, m_axis_tdata=16, m_axis_tuser=8, m_axis_tlast=1, m_axis_tvalid=1, early_o=32,
            late_o=32, refused_o=32, bad_index_o=32,
        ),
        reset=True,
        drive=f"cfg_i = {THC_CFG % FIVE[8]}; clear_i = cycle % 4096 == 4095;"
        " if (cycle % 4096 == 0) beats_i = 3'(1 + $urandom % 4);"
        " if (!s_axis_tvalid || started) begin s_axis_tvalid = cycle % 4096 < 4000 && $urandom % 4 != 0;"
        " s_axis_tdata = 8'($urandom); s_axis_tuser = 2'($urandom) & 2'($urandom); s_axis_tlast = $urandom % 3 == 0; end"
        " m_axis_tready = cycle % 4096 > 4000 || $urandom % 4 != 0;",
        taken="s_axis_tvalid && r_s_axis_tready",
        settle=5000,
    ),
    dict(
        top="esa_meta",  # with esa_relate and esa_decide
        parameters="-G Slots=4",
        instance="#(.Slots(4))",
        sources=[f"rtl/esa/{name}.sv" for name in ("esa_pkg", "esa_relate", "esa_decide", "esa_meta")],
        # settings_t, request_t, decision_t and slot_t of esa_pkg.
        inputs=dict(settings_i=9, valid_i=1, index_i=2, req_i=144),
        outputs=dict(dec_valid_o=1, dec_index_o=2, dec_req_o=144, dec_o=118, dec_write_o=1, dec_slot_o=101),
        reset=True,
        # First every slot is cleared. Then mostly DATA of three workers, two jobs and four sequence numbers;
        # settings change while nothing is in flight.
        drive="valid_i = cycle % 1024 < 1000 && (cycle < 300 || $urandom % 8 != 0); index_i = cycle < 300 ? 2'(cycle) : 2'($urandom);"
        " if (cycle % 1024 == 1020) settings_i = {2'($urandom % 3), 2'($urandom % 3), 2'($urandom), 3'($urandom)};"
        " req_i = {cycle < 300 ? 4'd10 : $urandom % 8 == 0 ? 4'(1 + $urandom % 9) : 4'd1, 5'd0, 5'($urandom % 2),"
        " 32'($urandom % 4), 32'd1 << ($urandom % 3), 6'd1, 8'($urandom), 16'd0, 3'($urandom) & 3'($urandom), 32'd7, 1'b0};",
    ),
    dict(
        top="esa_check",
        parameters="",
        instance="",
        generated=["ks_wire_pkg.sv"],
        sources=["rtl/esa/esa_pkg.sv", "rtl/esa/esa_check.sv"],
        # wire_header_t and job_t.
        inputs=dict(en_i=1, header_i=176, payload_i=16, port_i=3, hit_i=1, jidx_i=5, job_i=239, policy_i=2, slots_i=17),
        outputs=dict(req_o=144, index_o=17),
        reset=False,
        # Fields that are right as often as not: job of 4 workers (one of 16 bits in eight), its PS at port 7.
        drive="en_i = cycle < 20 || $urandom % 4 != 0; port_i = $urandom % 4 != 0 ? 3'd7 : 3'($urandom); hit_i = $urandom % 16 != 0;"
        " jidx_i = 5'($urandom); policy_i = 2'($urandom % 3); slots_i = 17'd64;"
        " job_i = {16'd9, 8'd0, 6'd4, 32'd15, 8'd15, 3'd7, 1'($urandom), 1'($urandom), $urandom % 8 == 0 ? 4'd3 : 4'($urandom % 4), 16'($urandom % 64), 16'd64, 128'd0};"
        " header_i = {8'h4B, 7'd0, 1'($urandom % 8 == 0), 4'd2, 4'($urandom % 5), 8'(1 + $urandom % 9), 8'($urandom), $urandom % 8 == 0 ? 8'($urandom) : 8'd4,"
        " 8'($urandom), 8'($urandom % 3), 16'd9, 16'($urandom % 72), $urandom, $urandom % 8 == 0 ? $urandom : 32'd1 << ($urandom % 5), 16'($urandom)};"
        " payload_i = $urandom % 4 == 0 ? 16'($urandom % 300) : 16'd64 << ($urandom % 3);",
    ),
    dict(
        top="esa_value",
        parameters="-G Depth=16 -G Bytes=8",
        instance="#(.Depth(16), .Bytes(8))",
        sources=["rtl/esa/esa_pkg.sv", "rtl/esa/esa_value.sv"],
        inputs=dict(rd_en_i=1, rd_addr_i=4, lanes8_i=1, lanes16_i=1, in_i=64, op_i=2, write_i=1),
        outputs=dict(out_o=64),
        reset=True,
        # No address returns within 4 cycles; first every beat is overwritten.
        drive="rd_addr_i = cycle < 400 ? 4'(cycle) : {2'($urandom), 2'(cycle)}; rd_en_i = cycle < 400 || $urandom % 4 != 0;"
        " {lanes8_i, lanes16_i} = $urandom % 3 == 0 ? 2'b10 : 2'($urandom % 2); in_i = {$urandom, $urandom};"
        " op_i = cycle < 400 ? 2'd0 : 2'($urandom); write_i = cycle < 400 || $urandom % 4 != 0;",
    ),
    dict(
        top="ks_ram_fifo",  # DP16KD of 18 bits
        parameters="-G Width=18 -G Depth=1024",
        instance="#(.Width(18), .Depth(1024))",
        sources=["rtl/common/ks_ram_fifo.sv"],
        inputs=dict(s_valid_i=1, s_data_i=18, m_ready_i=1),
        outputs=dict(s_ready_o=1, m_valid_o=1, m_data_o=18, level_o=11),
        reset=True,
        # Full and empty in turn.
        drive="s_valid_i = $urandom % 8 < (cycle / 4096 % 2 == 0 ? 7 : 2); s_data_i = 18'($urandom);"
        " m_ready_i = $urandom % 8 < (cycle / 4096 % 2 == 0 ? 2 : 7);",
        ram=True,
    ),
    dict(
        top="hv_cfgq",  # DP16KD of 36 bits, write port and read port
        parameters="",
        instance="",
        generated=["hv_pkg.sv"],
        sources=["rtl/vision/hv_core_pkg.sv", "rtl/vision/hv_cfgq.sv"],
        inputs=dict(we_i=1, widx_i=4, wdata_i=64, take_i=1),
        outputs=dict(room_o=1, empty_o=1, valid_o=1, desc_o=1024),
        reset=True,
        # Whole descriptors, where there is room; faster and slower than they are taken.
        drive="if (cycle % 16 == 0) started = r_room_o && rst_ni && $urandom % 4 != 0;"
        " we_i = started; widx_i = 4'(cycle); wdata_i = {$urandom, $urandom};"
        " take_i = r_valid_o && $urandom % (cycle / 2048 % 2 == 0 ? 4 : 64) == 0;",
        engine=True,
    ),
    dict(
        top="hv_actmem",  # DP16KD of 9 bits
        parameters="",
        instance="",
        generated=["hv_pkg.sv"],
        sources=[
            "rtl/vision/hv_core_pkg.sv",
            *(f"rtl/common/{name}.sv" for name in ("ks_mux4", "ks_copies", "ks_fifo")), "rtl/vision/hv_actmem.sv",
        ],
        inputs=dict(
            reserve_i=1, issue_valid_i=1, row_lane_i=176, net_i=128, pad_i=16, issue_last_i=1, tag_i=13, pad_byte_i=8,
            set_take_i=1, row_valid_i=1, row_i=11, res_valid_i=2, res_bank_i=8, res_row_i=22, res_data_i=128,
            load_valid_i=1, load_mask_i=8, load_p_i=20, load_g_i=10, load_row_i=11, load_data_i=512,
        ),
        outputs=dict(
            issue_ok_o=1, hold_o=1, busy_o=1, set_valid_o=1, set_words_o=1024, set_tag_o=13, row_ready_o=1, row_data_o=1024,
            load_ready_o=1,
        ),
        reset=True,
        # 64 rows at both ends. Reads and writes differ in bit 1 of the row, which changes with every 32 cycles, after a
        # pause that lets all come to an end; a load writes its row, one of even number, and the next.
        drive="issue_valid_i = cycle % 32 < 20 && r_issue_ok_o && $urandom % 4 != 0;"
        " for (int b = 0; b < 16; b++) row_lane_i[11*b +: 11] = {{6{1'($urandom)}}, 3'($urandom), 1'(cycle / 32), 1'($urandom)};"
        " net_i = {$urandom, $urandom, $urandom, $urandom}; pad_i = 16'($urandom) & 16'($urandom) & 16'($urandom);"
        " issue_last_i = $urandom % 3 == 0; reserve_i = issue_valid_i && issue_last_i;"
        " tag_i = 13'($urandom); pad_byte_i = 8'($urandom);"
        " row_valid_i = cycle % 32 < 20 && $urandom % 8 == 0;"
        " row_i = {{6{1'($urandom)}}, 3'($urandom), 1'(cycle / 32), 1'($urandom)};"
        " res_valid_i = cycle % 32 < 20 ? 2'($urandom) : 2'd0;"
        " res_bank_i[3:0] = 4'($urandom); res_bank_i[7:4] = res_bank_i[3:0] + 4'd1;"
        " for (int b = 0; b < 2; b++) res_row_i[11*b +: 11] = {{6{1'($urandom)}}, 3'($urandom), ~1'(cycle / 32), 1'($urandom)};"
        " res_data_i = {$urandom, $urandom, $urandom, $urandom};"
        " load_valid_i = cycle % 32 < 20 && 1'($urandom); load_mask_i = 8'($urandom) | 8'($urandom);"
        " load_p_i = 20'($urandom); load_g_i = 10'($urandom);"
        " load_row_i = {{6{1'($urandom)}}, 3'($urandom), ~1'(cycle / 32), 1'b0};"
        " for (int b = 0; b < 16; b++) load_data_i[32*b +: 32] = $urandom; set_take_i = r_set_valid_o && $urandom % 2 == 0;",
        settle=10000,
        engine=True,
        slow=True,
    ),
    dict(
        top="hv_mac",
        parameters="",
        instance="",
        generated=["hv_pkg.sv"],
        sources=[
            "rtl/vision/hv_core_pkg.sv",
            *(f"rtl/common/{name}.sv" for name in ("ks_mul_reg", "ks_mul_s8", "ks_acc", "ks_mux4", "ks_copies")),
            "rtl/vision/hv_mac.sv",
        ],
        inputs=dict(set_valid_i=1, set_words_i=1024, set_tag_i=13, wvalid_i=1, wdata_i=256, wnarrow_i=1),
        outputs=dict(
            set_take_o=1, wpop_o=1, done_o=1, done_lane_o=16, done_narrow_o=1, acc_o=3712, res_words_o=1024, step_o=1, res_step_o=1,
            wait_weight_o=1, wait_drain_o=1, empty_o=1,
        ),
        reset=True,
        # Tags of all kinds; a tile ends one time in four.
        drive="set_valid_i = $urandom % 8 != 0; for (int b = 0; b < 32; b++) set_words_i[32*b +: 32] = $urandom;"
        " set_tag_i = {4'($urandom & $urandom), 1'($urandom), $urandom % 4 == 0, 1'($urandom), $urandom % 8 == 0, $urandom % 16 == 0,"
        " 1'($urandom), $urandom % 4 == 0, 2'($urandom)};"
        " wvalid_i = $urandom % 8 != 0; for (int b = 0; b < 8; b++) wdata_i[32*b +: 32] = $urandom; wnarrow_i = 1'($urandom);",
        settle=2000,
        engine=True,
        slow=True,
    ),
    dict(
        top="hv_drain",  # with hv_requant
        parameters="",
        instance="",
        generated=["hv_pkg.sv"],
        sources=[
            "rtl/vision/hv_core_pkg.sv",
            *(f"rtl/common/{name}.sv" for name in ("ks_mul_reg", "ks_mux4")),
            "rtl/vision/hv_requant.sv", "rtl/vision/hv_drain.sv",
        ],
        inputs=dict(
            done_i=1, done_lane_i=16, narrow_i=1, acc_i=3712, res_words_i=1024, desc_i=1024, pbias_i=256, pmult_i=256, pshift_i=64,
        ),
        outputs=dict(
            taken_o=1, pbank_o=1, pgroup_o=2, oct_drained_o=1, wr_valid_o=2, wr_bank_o=8, wr_row_o=22, wr_data_o=128,
            layer_done_o=1, range_err_o=1,
        ),
        reset=True,
        # A tile in 96 cycles, layers of few tiles (words 2 and 9 of the descriptor), operands of all sizes.
        drive="done_i = rst_ni && cycle % 96 == 0; done_lane_i = {16{done_i}};"
        " if (cycle % 96 == 0) begin for (int b = 0; b < 32; b++) desc_i[32*b +: 32] = $urandom;"
        " desc_i[160 +: 10] = 10'($urandom % 3); desc_i[170 +: 16] = 16'($urandom % 3); desc_i[576 +: 20] = 20'($urandom % 64);"
        " narrow_i = 1'($urandom);"
        " for (int b = 0; b < 128; b++) acc_i[29*b +: 29] = 29'($signed($urandom) >>> ($urandom % 32));"
        " for (int b = 0; b < 32; b++) res_words_i[32*b +: 32] = $urandom; end"
        " for (int b = 0; b < 8; b++) begin pbias_i[32*b +: 32] = 32'($signed($urandom) >>> ($urandom % 32));"
        " pmult_i[32*b +: 32] = {2'b01, 30'($urandom)}; pshift_i[8*b +: 8] = 8'($urandom % 32); end",
        settle=2000,
        engine=True,
        slow=True,
    ),
    dict(
        top="hv_wring",  # DP16KD of 9 bits, LUT RAM
        parameters="",
        instance="",
        generated=["hv_pkg.sv"],
        sources=["rtl/vision/hv_core_pkg.sv", "rtl/common/ks_fifo.sv", "rtl/vision/hv_wring.sv"],
        inputs=dict(
            seg_push_i=1, seg_addr_i=32, seg_words_i=20, req_ready_i=1, rsp_valid_i=1, rsp_data_i=64,
            layer_start_i=1, desc_i=1024, oct_drained_i=1, wpop_i=1, pbank_i=1, pgroup_i=2,
        ),
        outputs=dict(
            seg_room_o=1, seg_idle_o=1, req_valid_o=1, req_addr_o=32, req_beats_m1_o=4, layer_done_o=1, wvalid_o=1,
            wdata_o=256, wnarrow_o=1, pbias_o=256, pmult_o=256, pshift_o=64,
        ),
        reset=True,
        # A program and its layer in 1024 cycles: kind, words of weights, tiles. Beats come unasked.
        drive="if (cycle % 1024 == 10) rst_ni = 0; if (cycle % 1024 == 12) begin desc_i = 0; desc_i[11:8] = {2'(1 + $urandom % 2), 1'($urandom), 1'b1};"
        " if ($urandom % 4 == 0) desc_i[11:10] = 0; desc_i[96 +: 20] = 20'd500; desc_i[488 +: 16] = 16'(1 + $urandom % 20);"
        " desc_i[160 +: 10] = 10'd9; desc_i[170 +: 16] = 16'($urandom % 3); end"
        " layer_start_i = cycle % 1024 == 14; seg_push_i = cycle % 1024 == 16; seg_words_i = 20'd500; seg_addr_i = {25'($urandom), 7'd0};"
        " req_ready_i = $urandom % 4 == 0; rsp_valid_i = cycle % 1024 > 20 && $urandom % 8 != 0; rsp_data_i = {$urandom, $urandom};"
        " oct_drained_i = cycle % 1024 > 100 && $urandom % 32 == 0; wpop_i = r_wvalid_o && $urandom % 4 != 0;"
        " pbank_i = 1'($urandom); pgroup_i = 2'($urandom);",
        settle=20000,
        engine=True,
        slow=True,
    ),
    dict(
        top="thc_compress",
        parameters="-G Lanes=1 -G MaxLog2=10",
        instance="#(.Lanes(1), .MaxLog2(10))",
        sources=[
            "rtl/thc/thc_core_pkg.sv",
            *(f"rtl/common/{name}.sv" for name in ("ks_fifo", "ks_skid")),
            *(
                f"rtl/thc/{name}.sv"
                for name in (
                    "thc_threefry", "thc_random", "thc_sign", "thc_noise", "thc_hadamard_stage",
                    "thc_hadamard_core", "thc_to_fixed", "thc_quantise", "thc_levels", "thc_delay",
                    "thc_to_float", "thc_compress",
                )
            ),
        ],
        inputs=dict(
            clear_i=1, cfg_i=273, first_i=64, error_out_i=1, s_axis_tvalid=1, s_axis_tdata=32,
            s_scale_tvalid=1, s_scale_tdata=47, m_axis_tready=1, m_err_tready=1,
        ),
        outputs=dict(
            s_axis_tready=1, s_scale_tready=1, m_axis_tvalid=1, m_axis_tdata=4, m_axis_tlast=1,
            m_err_tvalid=1, m_err_tdata=32, m_err_tlast=1, out_of_range_o=1,
        ),
        reset=True,
        # A scale for coordinates of about 1 in a block of 2^10: l = 1.1 * 2^5.
        drive=f"cfg_i = {THC_CFG % FIVE[16]}; clear_i = cycle == 10; first_i = 64'd1024; error_out_i = 1;"
        " s_scale_tvalid = 1; s_scale_tdata = {5'd20, 17'd82838, 17'd6483, 8'd132};"
        " if (!s_axis_tvalid || started) begin s_axis_tvalid = cycle > 12 && $urandom % 8 != 0;"
        " s_axis_tdata = {1'($urandom), 8'd124 + 8'($urandom % 5), 23'($urandom)}; end"
        " m_axis_tready = $urandom % 8 != 0; m_err_tready = $urandom % 8 != 0;",
        taken="s_axis_tvalid && r_s_axis_tready",
        settle=6000,
        slow=True,
    ),
]


def netlist(block, path):
    """Writes the netlist of a block as plain Verilog, module <top>_netlist."""
    from pyosys import libyosys as ys

    top = block["top"]
    sources = " ".join(str(ROOT / s) for s in block["sources"])
    design = ys.Design()
    for command in (
        f"read_slang -DSYNTHESIS -DKESTREL_ECP5 -I {ROOT / 'rtl/common'} {block['parameters']} --top {top} {sources}"
        f" {ROOT / 'scripts/ecp5_cells.v'}",
        "check -assert",
        # A memory that asks for block RAM would get it in spite of -nobram.
        *(() if block.get("ram") else ("setattr -unset ram_style",)),
        f"synth_ecp5 {'' if block.get('ram') else '-nodsp -nobram'} -nowidelut -top {top}",
        "check -assert",
        f"write_json {path}.json",
    ):
        ys.run_pass(command, design)
    netlist_verilog.convert(f"{path}.json", path, f"{top}_netlist")


def engine_netlist(block, path):
    """The same for a block of the vision engine, synthesized as the engine is: block RAM, multipliers, wide multiplexers."""
    made = subprocess.run(
        [ROOT / "scripts/synth.py", "--top", block["top"], "--no-baseline", "--no-limits", "--no-pack", "--json", f"{path}.json"],
        capture_output=True, text=True)
    if made.returncode:
        sys.exit(made.stdout + made.stderr)
    netlist_verilog.convert(f"{path}.json", path, f"{block['top']}_netlist")


def testbench(block):
    """SystemVerilog that runs both modules side by side and stops at the first difference."""
    width = lambda n: f"logic [{n - 1}:0]" if n > 1 else "logic"
    lines = ["module tb;", "  logic clk_i = 0, rst_ni = 0, started = 0;", "  int cycle = 0, seed = 0, compared = 0, changes = 0;"]
    lines += [f"  {width(n)} {name};" for name, n in block["inputs"].items()]
    for name, n in block["outputs"].items():
        lines += [f"  {width(n)} r_{name}, n_{name}, last_{name};"]
    ports = [f".{name}({name})" for name in block["inputs"]] + [".clk_i(clk_i)"]
    ports += [".rst_ni(rst_ni)"] if block["reset"] else []
    for kind, module in (("r", f"{block['top']} {block['instance']}"), ("n", block["top"] + "_netlist")):
        outs = [f".{name}({kind}_{name})" for name in block["outputs"]]
        lines += [f"  {module} u_{kind} ({', '.join(ports + outs)});"]
    outs = list(block["outputs"])
    r = "{" + ", ".join(f"r_{o}" for o in outs) + "}"
    n = "{" + ", ".join(f"n_{o}" for o in outs) + "}"
    last = "{" + ", ".join(f"last_{o}" for o in outs) + "}"
    lines += [
        "  initial begin",
        '    if (!$value$plusargs("seed=%d", seed)) seed = 1;',
        "    void'($urandom(seed));",
        f"    for (cycle = 0; cycle < {CYCLES}; cycle++) begin",
        "      rst_ni = cycle >= 8;",
        f"      {block['drive']}",
        "      #1;",
        f"      if (cycle > {block.get('settle', 400)} && {r} != {n}) begin",
        f'        $display("MISMATCH in cycle %0d: RTL %h, netlist %h", cycle, {r}, {n}); $finish;',
        "      end",
        "      compared++;",
        f"      if ({r} != {last}) changes++;",
        f"      {last} = {r};",
        *([f"      started = {block['taken']};"] if "taken" in block else []),
        "      clk_i = 1; #1; clk_i = 0;",
        "    end",
        '    $display("COMPARED %0d cycles, %0d changes", compared, changes);',
        "    $finish;",
        "  end",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def run(block, folder, seed):
    top = block["top"]
    net = folder / f"{top}_netlist.v"
    # In a process of its own: yosys prints much and ends the process on an error.
    made = subprocess.run([sys.executable, __file__, "--netlist", top, str(net), *block["sources"]], capture_output=True, text=True)
    if made.returncode or not net.exists():
        return f"synthesis failed: {(made.stdout + made.stderr)[-600:]}"
    bench = folder / f"tb_{top}.sv"
    bench.write_text(testbench(block))
    build = folder / f"obj_{top}"
    made = subprocess.run(
        [str(ROOT / "scripts/verilator.sh"), "--binary", "--timing", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--x-initial", "unique",
         f"-I{ROOT / 'rtl/common'}", "--top-module", "tb", "--Mdir", str(build), "--build-jobs", "2",
         # Netlists take far longer to compile than to run.
         "-CFLAGS", "-O0", "-o", "sim",
         str(bench), str(net), str(ROOT / "tests/synth/ecp5_models.v"), *(str(ROOT / s) for s in block["sources"])],
        capture_output=True, text=True)
    if made.returncode:
        return f"verilation failed: {(made.stdout + made.stderr)[-600:]}"
    out = subprocess.run([str(build / "sim"), f"+seed={seed}", "+verilator+rand+reset+2"], capture_output=True, text=True).stdout
    line = next((l for l in out.splitlines() if l.startswith(("MISMATCH", "COMPARED"))), "no result")
    print(f"{top}: {line}", flush=True)
    if not line.startswith("COMPARED"):
        return line
    compared, changes = int(line.split()[1]), int(line.split()[3])
    if compared != CYCLES:
        return f"{compared} cycles compared, not {CYCLES}"
    return None if changes > CYCLES // 100 else f"only {changes} changes of the outputs"


def main():
    if len(sys.argv) > 4 and sys.argv[1] == "--netlist":
        block = next(b for b in BLOCKS if b["top"] == sys.argv[2])
        make = engine_netlist if block.get("engine") else netlist
        make(dict(block, sources=sys.argv[4:]), sys.argv[3])
        return 0
    if not VENV_PYTHON.exists():
        print("build/venv is missing (scripts/setup.sh makes it): skipped")
        return 77
    if pathlib.Path(sys.prefix).resolve() != VENV_PYTHON.parent.parent.resolve():
        return subprocess.run([VENV_PYTHON, __file__, *sys.argv[1:]]).returncode
    chosen = [b for b in BLOCKS if b["top"] in sys.argv[1:] or (len(sys.argv) == 1 and not b.get("slow"))]
    if len(chosen) < len(sys.argv) - 1:
        print(f"there are only {', '.join(b['top'] for b in BLOCKS)}")
        return 2
    seed = int(os.environ.get("KESTREL_SEED", "1"), 0)
    print(f"KESTREL_SEED={seed}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="kestrel-netlist-") as folder:
        if any(block.get("generated") for block in chosen):
            subprocess.run([sys.executable, ROOT / "scripts/gen_contract.py", "--out", folder, "--config", "edge"], check=True)
        for block in chosen:
            block = dict(block, sources=[*(f"{folder}/{name}" for name in block.get("generated", ())), *block["sources"]])
            problem = run(block, pathlib.Path(folder), seed % 2**31)
            if problem:
                failed += 1
                print(f"FAIL {block['top']}: {problem}")
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
