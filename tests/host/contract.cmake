# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The generated hardware contract: C++ header against SystemVerilog package against committed tables.

find_package(Python3 REQUIRED COMPONENTS Interpreter)
get_target_property(contract_sv kestrel_contract KESTREL_CONTRACT_SV)
set(probe "${CMAKE_CURRENT_BINARY_DIR}/contract_probe")
add_custom_command(
  OUTPUT "${probe}.sv" "${probe}.inc"
  COMMAND Python3::Interpreter "${CMAKE_CURRENT_SOURCE_DIR}/contract_probe.py"
          "${kestrel_SOURCE_DIR}/contract/vision.json" "${probe}.sv" "${probe}.inc"
  DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/contract_probe.py"
          "${kestrel_SOURCE_DIR}/contract/vision.json"
  VERBATIM)
add_custom_target(kestrel_contract_probe_files DEPENDS "${probe}.sv" "${probe}.inc")
kestrel_verilate(
  TARGET
  kestrel_contract_probe
  TOP
  contract_probe
  SOURCES
  "${contract_sv}"
  "${probe}.sv"
  DEPENDS
  kestrel_contract_files
  kestrel_contract_probe_files)
kestrel_add_test(
  NAME
  host.contract
  SOURCES
  test_contract.cpp
  LIBS
  kestrel::contract
  kestrel_contract_probe)
add_dependencies(test_host_contract kestrel_contract_probe_files)
target_include_directories(test_host_contract PRIVATE "${CMAKE_CURRENT_BINARY_DIR}")
target_compile_definitions(
  test_host_contract
  PRIVATE "KESTREL_CONTRACT_TABLES=\"${kestrel_SOURCE_DIR}/docs/vision_contract.md\""
          "KESTREL_CONTRACT_GENERATED=\"${CMAKE_BINARY_DIR}/gen/vision_contract.md\"")

# The generator refuses a source that contradicts itself.
add_test(NAME host.contract.generator_refuses
         COMMAND Python3::Interpreter "${CMAKE_CURRENT_SOURCE_DIR}/test_gen_contract.py"
                 "${kestrel_SOURCE_DIR}")
set_tests_properties(host.contract.generator_refuses PROPERTIES LABELS unit TIMEOUT 60)

# Packets on the wire.
get_target_property(wire_sv kestrel_contract KESTREL_WIRE_SV)
kestrel_verilate(
  TARGET
  kestrel_wire_probe
  TOP
  wire_probe
  SOURCES
  "${wire_sv}"
  wire_probe.sv
  DEPENDS
  kestrel_contract_files)
kestrel_add_test(
  NAME
  host.contract_wire
  SOURCES
  test_contract_wire.cpp
  LIBS
  kestrel::contract
  kestrel_wire_probe)
target_compile_definitions(
  test_host_contract_wire
  PRIVATE "KESTREL_CONTRACT_TABLES=\"${kestrel_SOURCE_DIR}/docs/wire_format.md\""
          "KESTREL_CONTRACT_GENERATED=\"${CMAKE_BINARY_DIR}/gen/wire_format.md\"")

# The THC accelerator: the tables; that registers are where the header says is tested on the RTL.
kestrel_add_test(NAME host.contract_thc SOURCES test_contract_thc.cpp LIBS kestrel::contract)
target_compile_definitions(
  test_host_contract_thc
  PRIVATE "KESTREL_CONTRACT_TABLES=\"${kestrel_SOURCE_DIR}/docs/thc_contract.md\""
          "KESTREL_CONTRACT_GENERATED=\"${CMAKE_BINARY_DIR}/gen/thc_contract.md\"")
