# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Source list of the aggregation switch, packages first (ks_wire_pkg.sv and esa_regs_pkg.sv are
# generated), and its Verilated model of the device "rtl".

# Another folder here is for tests of what a fault in the RTL does (scripts/esa_mutations.py).
set(KESTREL_ESA_RTL_DIR
    "${CMAKE_CURRENT_LIST_DIR}"
    CACHE PATH "RTL of the aggregation switch")
mark_as_advanced(KESTREL_ESA_RTL_DIR)
get_target_property(esa_wire_sv kestrel_contract KESTREL_WIRE_SV)
get_target_property(esa_regs_sv kestrel_contract KESTREL_ESA_SV)
set(ESA_SWITCH_SV
    "${esa_wire_sv}"
    "${esa_regs_sv}"
    "${KESTREL_ESA_RTL_DIR}/esa_pkg.sv"
    "${kestrel_SOURCE_DIR}/rtl/thc/thc_lookup.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_relate.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_decide.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_meta.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_check.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_jobs.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_value.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_arbiter.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_ingress.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_egress.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_counters.sv"
    "${kestrel_SOURCE_DIR}/rtl/common/ks_axil_regs.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_control.sv"
    "${KESTREL_ESA_RTL_DIR}/esa_switch.sv"
    CACHE INTERNAL "RTL of the aggregation switch")
set(ESA_INCLUDE_DIR "${kestrel_SOURCE_DIR}/rtl/common" CACHE INTERNAL "Macro headers of the RTL")

# esa_switch_model: Verilated switch of 4096 slots.
kestrel_verilate(
  TARGET
  esa_switch_model
  TOP
  esa_switch
  PREFIX
  Vesa_switch
  SOURCES
  ${ESA_SWITCH_SV}
  INCLUDE_DIRS
  ${ESA_INCLUDE_DIR}
  DEPENDS
  kestrel_contract
  "${ESA_INCLUDE_DIR}/ks_assert.svh"
  PARAMETERS
  Slots=4096)
kestrel_lint_rtl(NAME esa_switch TOP esa_switch SOURCES ${ESA_SWITCH_SV} INCLUDE_DIRS
                 ${ESA_INCLUDE_DIR})
