# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The cycle model against the performance counters of the RTL.
kestrel_add_test(
  NAME
  rtl.cycle_model
  SOURCES
  test_cycle_model.cpp
  LIBS
  kestrel::host
  TIMEOUT
  900)
target_compile_definitions(
  test_rtl_cycle_model PRIVATE "KESTREL_DEFAULT_DATA_DIR=\"${KESTREL_DATA_DIR}\""
                               "KESTREL_SOURCE_DIR=\"${kestrel_SOURCE_DIR}\"")
