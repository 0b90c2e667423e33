# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The testbench library itself: models against each other, and on one small Verilated design.
set(copy_sv "${kestrel_SOURCE_DIR}/testbench/rtl/tb_axi_copy.sv")

kestrel_add_test(
  NAME
  rtl.testbench_memory
  SOURCES
  test_testbench_memory.cpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench)

kestrel_add_test(
  NAME
  rtl.testbench_checkers
  SOURCES
  test_testbench_checkers.cpp
  LIBS
  kestrel::testbench)

kestrel_add_test(
  NAME
  rtl.testbench_drivers
  SOURCES
  test_testbench_drivers.cpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench)

foreach(width IN ITEMS 64 128)
  kestrel_verilate(
    TARGET
    tb_axi_copy_${width}
    TOP
    tb_axi_copy
    PREFIX
    Vtb_axi_copy_${width}
    SOURCES
    "${copy_sv}"
    PARAMETERS
    DataWidth=${width})
  kestrel_lint_rtl(NAME tb_axi_copy_${width} TOP tb_axi_copy SOURCES "${copy_sv}" PARAMETERS
                   DataWidth=${width})
endforeach()

kestrel_add_test(
  NAME
  rtl.testbench_copy
  SOURCES
  test_testbench_copy.cpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  tb_axi_copy_64
  tb_axi_copy_128)
