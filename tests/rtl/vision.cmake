# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The control and input side of the vision engine, module by module.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
get_target_property(hv_pkg_sv kestrel_contract KESTREL_CONTRACT_SV)
set(rtl_common "${kestrel_SOURCE_DIR}/rtl/common")
set(rtl_vision "${kestrel_SOURCE_DIR}/rtl/vision")

foreach(module IN ITEMS hv_load hv_front)
  set(fifo)
  if(module MATCHES "load|front|rd")
    set(fifo "${rtl_common}/ks_fifo.sv")
  endif()
  kestrel_verilate(
    TARGET
    ${module}_model
    TOP
    ${module}
    SOURCES
    "${hv_pkg_sv}"
    ${fifo}
    "${rtl_vision}/${module}.sv"
    INCLUDE_DIRS
    "${rtl_common}"
    DEPENDS
    kestrel_contract_files
    "${rtl_common}/ks_assert.svh")
  kestrel_add_test(
    NAME
    rtl.${module}
    SOURCES
    test_${module}.cpp
    test_testbench_util.hpp
    LIBS
    kestrel::testbench
    kestrel::contract
    ${module}_model)
endforeach()
