# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/cycle_model.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/engine_driver.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/factory.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/functional_device.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/functional_kernels.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/remote_device.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/verilated_device.cpp")
# The Verilated model and the testbench around it are part of the build, not of an installation.
list(APPEND KESTREL_HOST_PRIVATE_LIBS $<BUILD_INTERFACE:hv_engine_edge>
     $<BUILD_INTERFACE:kestrel::testbench>)
