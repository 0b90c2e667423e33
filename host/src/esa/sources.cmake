# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/campaign.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/cluster.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/control.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/factory.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/fast_switch.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/json.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/pcapng.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/scenario.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/thc_fabric.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/verilated_switch.cpp")
# The device "rtl"; like the other Verilated models it is part of the build, not of an installation.
list(APPEND KESTREL_HOST_PRIVATE_LIBS $<BUILD_INTERFACE:esa_switch_model>
     $<BUILD_INTERFACE:kestrel::testbench> $<BUILD_INTERFACE:kestrel::contract>)
set_source_files_properties("${CMAKE_CURRENT_LIST_DIR}/factory.cpp" PROPERTIES COMPILE_DEFINITIONS
                                                                    KESTREL_HAVE_ESA_RTL)
