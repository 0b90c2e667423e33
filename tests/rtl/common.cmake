# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Modules of rtl/common.
foreach(depth IN ITEMS 2 16)
  kestrel_verilate(
    TARGET
    ks_fifo_${depth}_model
    TOP
    ks_fifo
    PREFIX
    Vks_fifo_${depth}
    SOURCES
    "${kestrel_SOURCE_DIR}/rtl/common/ks_fifo.sv"
    INCLUDE_DIRS
    "${kestrel_SOURCE_DIR}/rtl/common"
    DEPENDS
    "${kestrel_SOURCE_DIR}/rtl/common/ks_assert.svh"
    PARAMETERS
    Width=34
    Depth=${depth})
endforeach()
kestrel_add_test(
  NAME
  rtl.ks_fifo
  SOURCES
  test_ks_fifo.cpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  ks_fifo_2_model
  ks_fifo_16_model)
