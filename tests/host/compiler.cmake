# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Compiler, package files and the functional device.

find_package(nlohmann_json 3.9 REQUIRED)
kestrel_add_test(
  NAME
  host.compiler
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_compiler_layers.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/test_compiler_networks.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/test_compiler_package.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/test_compiler_tiling.cpp"
  LIBS
  kestrel::host
  nlohmann_json::nlohmann_json
  TIMEOUT
  120)
target_compile_definitions(
  test_host_compiler PRIVATE "KESTREL_DEFAULT_DATA_DIR=\"${KESTREL_DATA_DIR}\""
                             "KESTREL_SOURCE_DIR=\"${kestrel_SOURCE_DIR}\"")
