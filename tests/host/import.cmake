# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Foundations (.npy, progress), the TensorFlow Lite importer and the reference executor.

find_package(nlohmann_json 3.9 REQUIRED)
set(import_definitions "KESTREL_DEFAULT_DATA_DIR=\"${KESTREL_DATA_DIR}\""
                       "KESTREL_SOURCE_DIR=\"${kestrel_SOURCE_DIR}\"")

kestrel_add_test(
  NAME
  host.reference_networks
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_reference_networks.cpp"
  LIBS
  kestrel::host
  nlohmann_json::nlohmann_json)
target_compile_definitions(test_host_reference_networks PRIVATE ${import_definitions})

kestrel_add_test(
  NAME
  host.foundation
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_npy.cpp"
  LIBS
  kestrel::host)

kestrel_add_test(
  NAME
  host.tflite_import
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_tflite_import.cpp"
  LIBS
  kestrel::host
  kestrel_tflite_reader)
target_compile_definitions(test_host_tflite_import PRIVATE ${import_definitions})
