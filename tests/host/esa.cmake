# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The aggregation switch as a device, its files, its hosts.

find_package(nlohmann_json 3.9 REQUIRED)
kestrel_add_test(
  NAME
  host.esa_io
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_esa_io.cpp"
  LIBS
  kestrel::host
  nlohmann_json::nlohmann_json)
kestrel_add_test(
  NAME
  host.esa_campaign
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_esa_campaign.cpp"
  LIBS
  kestrel::host)
kestrel_add_test(
  NAME
  host.esa_switchml
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_esa_switchml.cpp"
  LIBS
  kestrel::host)
kestrel_add_test(
  NAME
  host.esa_control
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_esa_control.cpp"
  LIBS
  kestrel::host)
kestrel_add_test(
  NAME
  host.esa_thc
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_esa_thc.cpp"
  LIBS
  kestrel::host
  TIMEOUT
  120)
kestrel_add_test(
  NAME
  host.esa_program
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_esa_program.cpp"
  LIBS
  kestrel::host
  nlohmann_json::nlohmann_json
  LABELS
  e2e
  TIMEOUT
  120)
target_compile_definitions(test_host_esa_program PRIVATE KESTREL_PROGRAM="$<TARGET_FILE:kestrel>")
add_dependencies(test_host_esa_program kestrel)
