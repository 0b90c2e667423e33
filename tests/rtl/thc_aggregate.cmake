# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# THC: from block fixed point to fp32.
set(thc_rtl "${kestrel_SOURCE_DIR}/rtl/thc")
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
