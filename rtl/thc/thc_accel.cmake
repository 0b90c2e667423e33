# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The THC accelerator: source list, Verilated model (device "rtl" and tests), lint. Packages first;
# thc_pkg.sv is generated from contract/thc.json.
get_target_property(thc_pkg kestrel_contract KESTREL_THC_SV)
set(THC_ACCEL_SV
    "${thc_pkg}"
    "${CMAKE_CURRENT_LIST_DIR}/thc_core_pkg.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_fifo.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_ram_fifo.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_skid.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_axis_up.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_axis_down.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_axi_rd.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_axi_wr.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_threefry.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_random.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_sign.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_noise.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_hadamard_stage.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_hadamard_core.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_to_fixed.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_to_float.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_delay.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_add_lane.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_add.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_norm.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_quantise.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_levels.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_compress.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_lookup.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_aggregate.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_factor.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_dequantise.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_decompress.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_windows.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_feed.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_slice.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_axil_regs.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_regs.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_ctrl.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_accel.sv"
    CACHE INTERNAL "RTL of the THC accelerator")
set(THC_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../common")

kestrel_verilate(
  TARGET
  thc_accel_model
  TOP
  thc_accel
  SOURCES
  ${THC_ACCEL_SV}
  INCLUDE_DIRS
  "${THC_INCLUDE_DIR}"
  DEPENDS
  kestrel_contract
  "${THC_INCLUDE_DIR}/ks_assert.svh")
kestrel_lint_rtl(NAME thc_accel TOP thc_accel SOURCES ${THC_ACCEL_SV} INCLUDE_DIRS ${THC_INCLUDE_DIR})
