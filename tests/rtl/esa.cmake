# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The aggregation switch against sw_ref/esa.
kestrel_verilate(
  TARGET
  esa_switch_64_model
  TOP
  esa_switch
  PREFIX
  Vesa_switch_64
  SOURCES
  ${ESA_SWITCH_SV}
  INCLUDE_DIRS
  ${ESA_INCLUDE_DIR}
  DEPENDS
  kestrel_contract
  "${ESA_INCLUDE_DIR}/ks_assert.svh"
  PARAMETERS
  Slots=64)
kestrel_add_test(
  NAME
  rtl.esa_switch
  SOURCES
  test_esa_switch.cpp
  esa_traffic.hpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  kestrel::sw_ref
  kestrel::contract
  esa_switch_64_model
  TIMEOUT
  300)
# 10^6 packets of each policy.
add_test(NAME rtl.esa_switch_long COMMAND test_rtl_esa_switch
                                          "--gtest_filter=EsaSwitch/Policies.*")
set_tests_properties(rtl.esa_switch_long PROPERTIES LABELS slow TIMEOUT 1800 ENVIRONMENT
                                                    KESTREL_ESA_PACKETS=1000000)

# Cells of the blocks against tests/synth/baseline_<device>.json: "device label top parameters".
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(
  block IN
  ITEMS "ecp5 netlist esa_decide"
        "ecp5 netlist esa_check"
        "ecp5 netlist esa_meta Slots=1024"
        "ecp5 slow esa_arbiter Slots=1024"
        "ecp5 slow esa_switch Slots=1024"
        "xcup slow esa_decide"
        "xcup slow esa_check"
        "xcup slow esa_meta Slots=1024"
        "xcup slow esa_arbiter Slots=1024"
        "xcup slow esa_switch Slots=1024")
  separate_arguments(block)
  list(POP_FRONT block device label top)
  set(parameters)
  if(block)
    set(parameters --parameter ${block})
  endif()
  add_test(NAME rtl.synth.${device}.${top}
           COMMAND Python3::Interpreter "${kestrel_SOURCE_DIR}/scripts/synth.py" --skip-without-venv --top
                   ${top} ${parameters} --device ${device} --no-limits)
  set_tests_properties(rtl.synth.${device}.${top} PROPERTIES LABELS ${label} TIMEOUT 1800
                                                             SKIP_RETURN_CODE 77)
endforeach()

# docs/esa_contract.md is the generated table.
add_test(NAME rtl.esa_contract_tables
         COMMAND "${CMAKE_COMMAND}" -E compare_files "${kestrel_SOURCE_DIR}/docs/esa_contract.md"
                 "${CMAKE_BINARY_DIR}/gen/esa_contract.md")
set_tests_properties(rtl.esa_contract_tables PROPERTIES LABELS unit TIMEOUT 60)
