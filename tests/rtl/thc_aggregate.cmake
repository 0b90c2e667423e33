# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# THC: sums over contributors, and the way back from them.
set(thc_rtl "${kestrel_SOURCE_DIR}/rtl/thc")
include("${thc_rtl}/thc_sums.cmake")
kestrel_verilate(TARGET thc_to_float_model TOP thc_to_float SOURCES "${thc_rtl}/thc_to_float.sv")
kestrel_add_test(
  NAME
  rtl.thc_to_float
  SOURCES
  test_thc_to_float.cpp
  test_testbench_util.hpp
  LIBS
  kestrel::sw_ref
  kestrel::testbench
  thc_to_float_model)

set(aggregate_models)
foreach(shape IN ITEMS 128_16_256 16_8_32 4_16_4)
  string(REPLACE "_" ";" shape ${shape})
  list(GET shape 0 lanes)
  list(GET shape 1 bits)
  list(GET shape 2 beats)
  kestrel_verilate(
    TARGET
    thc_aggregate_${lanes}_${bits}_model
    TOP
    thc_aggregate
    PREFIX
    Vthc_aggregate_${lanes}_${bits}
    SOURCES
    ${THC_AGGREGATE_SV}
    INCLUDE_DIRS
    "${kestrel_SOURCE_DIR}/rtl/common"
    DEPENDS
    "${kestrel_SOURCE_DIR}/rtl/common/ks_assert.svh"
    PARAMETERS
    Lanes=${lanes}
    SumBits=${bits}
    MaxBeats=${beats})
  list(APPEND aggregate_models thc_aggregate_${lanes}_${bits}_model)
endforeach()
kestrel_add_test(
  NAME
  rtl.thc_aggregate
  SOURCES
  test_thc_aggregate.cpp
  test_testbench_util.hpp
  thc_port.hpp
  LIBS
  kestrel::sw_ref
  kestrel::testbench
  ${aggregate_models})

foreach(lanes IN ITEMS 1 16)
  kestrel_verilate(
    TARGET
    thc_decompress_${lanes}_model
    TOP
    thc_decompress
    PREFIX
    Vthc_decompress_${lanes}
    SOURCES
    ${THC_DECOMPRESS_SV}
    INCLUDE_DIRS
    "${kestrel_SOURCE_DIR}/rtl/common"
    DEPENDS
    "${kestrel_SOURCE_DIR}/rtl/common/ks_assert.svh"
    PARAMETERS
    Lanes=${lanes})
endforeach()
kestrel_add_test(
  NAME
  rtl.thc_decompress
  SOURCES
  test_thc_decompress.cpp
  test_thc_util.hpp
  test_testbench_util.hpp
  thc_port.hpp
  LIBS
  kestrel::sw_ref
  kestrel::testbench
  thc_decompress_1_model
  thc_decompress_16_model)
