# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The compute unit of the vision engine against the meaning of its descriptors.
kestrel_verilate(
  TARGET
  hv_compute_model
  TOP
  hv_compute
  SOURCES
  ${HV_COMPUTE_SV}
  DEPENDS
  kestrel_contract)

kestrel_add_test(
  NAME
  rtl.hv_compute
  SOURCES
  test_hv_compute.cpp
  LIBS
  kestrel::testbench
  kestrel::contract
  hv_compute_model
  TIMEOUT
  300)

# The whole engine: errors and resets at the level of its pins, layer vectors through the devices.
find_package(nlohmann_json 3.9 REQUIRED)
kestrel_add_test(
  NAME
  rtl.engine_errors
  SOURCES
  test_engine_errors.cpp
  LIBS
  kestrel::host
  kestrel::testbench
  hv_engine_edge
  TIMEOUT
  600)
kestrel_add_test(
  NAME
  rtl.layer_vectors
  SOURCES
  test_layer_vectors_rtl.cpp
  LIBS
  kestrel::host
  nlohmann_json::nlohmann_json
  TIMEOUT
  300)
target_compile_definitions(
  test_rtl_layer_vectors PRIVATE "KESTREL_DEFAULT_DATA_DIR=\"${KESTREL_DATA_DIR}\""
                                 "KESTREL_SOURCE_DIR=\"${kestrel_SOURCE_DIR}\"")
