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

# docs/esa_contract.md is the generated table.
add_test(NAME rtl.esa_contract_tables
         COMMAND "${CMAKE_COMMAND}" -E compare_files "${kestrel_SOURCE_DIR}/docs/esa_contract.md"
                 "${CMAKE_BINARY_DIR}/gen/esa_contract.md")
set_tests_properties(rtl.esa_contract_tables PROPERTIES LABELS unit TIMEOUT 60)
