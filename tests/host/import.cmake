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

# Mutated model files: a few thousand always; 100 000 where the sanitizers watch.
kestrel_add_test(
  NAME
  host.fuzz_tflite
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/fuzz_tflite.cpp"
  LIBS
  kestrel::host
  kestrel::contract
  kestrel_tflite_reader
  TIMEOUT
  300)
target_compile_definitions(test_host_fuzz_tflite PRIVATE ${import_definitions})
if(KESTREL_SANITIZE MATCHES "address")
  add_test(NAME host.fuzz_tflite.hundred_thousand COMMAND test_host_fuzz_tflite)
  set_tests_properties(
    host.fuzz_tflite.hundred_thousand
    PROPERTIES LABELS
               slow
               TIMEOUT
               3600
               ENVIRONMENT
               "KESTREL_DATA_DIR=${KESTREL_DATA_DIR};KESTREL_FUZZ_COUNT=100000")
endif()
