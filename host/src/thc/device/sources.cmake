# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/device.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/functional_device.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/roundtrip.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/verilated_device.cpp")
# The Verilated model is part of the build, not of an installation.
list(APPEND KESTREL_HOST_PRIVATE_LIBS $<BUILD_INTERFACE:thc_accel_model>
     $<BUILD_INTERFACE:kestrel::testbench>)
