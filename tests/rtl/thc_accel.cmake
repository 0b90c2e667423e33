# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The AXI movers, and the THC accelerator around them.
set(common_rtl "${kestrel_SOURCE_DIR}/rtl/common")
kestrel_verilate(
  TARGET
  axi_copy_probe
  TOP
  axi_copy_probe
  SOURCES
  "${common_rtl}/ks_fifo.sv"
  "${common_rtl}/ks_ram_fifo.sv"
  "${common_rtl}/ks_axi_rd.sv"
  "${common_rtl}/ks_axi_wr.sv"
  axi_copy_probe.sv
  INCLUDE_DIRS
  "${common_rtl}"
  DEPENDS
  "${common_rtl}/ks_assert.svh")
kestrel_add_test(
  NAME
  rtl.axi_movers
  SOURCES
  test_axi_movers.cpp
  LIBS
  kestrel::testbench
  axi_copy_probe)
kestrel_add_test(
  NAME
  rtl.thc_accel
  SOURCES
  test_thc_accel.cpp
  LIBS
  kestrel::testbench
  kestrel::contract
  thc_accel_model)
