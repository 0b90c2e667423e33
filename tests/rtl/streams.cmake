# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The stream blocks of rtl/common.
set(common_rtl "${kestrel_SOURCE_DIR}/rtl/common")
set(stream_models)
function(kestrel_stream_model name top)
  kestrel_verilate(
    TARGET
    ${name}_model
    TOP
    ${top}
    PREFIX
    V${name}
    SOURCES
    "${common_rtl}/ks_skid.sv"
    "${common_rtl}/${top}.sv"
    INCLUDE_DIRS
    "${common_rtl}"
    DEPENDS
    "${common_rtl}/ks_assert.svh"
    PARAMETERS
    ${ARGN})
  set(stream_models ${stream_models} ${name}_model PARENT_SCOPE)
endfunction()

kestrel_stream_model(ks_axis_frame ks_axis_frame Width=32)
foreach(bytes IN ITEMS 1_4 4_12 8_64 4_4)
  string(REPLACE "_" ";" widths ${bytes})
  list(GET widths 0 narrow)
  list(GET widths 1 wide)
  kestrel_stream_model(ks_axis_up_${narrow}_${wide} ks_axis_up InBytes=${narrow} OutBytes=${wide})
  kestrel_stream_model(ks_axis_down_${wide}_${narrow} ks_axis_down InBytes=${wide} OutBytes=${narrow})
endforeach()
kestrel_verilate(
  TARGET
  ks_skid_model
  TOP
  ks_skid
  SOURCES
  "${common_rtl}/ks_skid.sv"
  INCLUDE_DIRS
  "${common_rtl}"
  DEPENDS
  "${common_rtl}/ks_assert.svh"
  PARAMETERS
  Width=40)
kestrel_add_test(
  NAME
  rtl.ks_streams
  SOURCES
  test_ks_streams.cpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  ks_skid_model
  ${stream_models})
