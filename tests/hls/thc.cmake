# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# THC kernels for high-level synthesis: C simulation, and where Bambu is installed its output in Verilator.

# The tools' top functions, in the language that the tools take.
add_library(
  kestrel_hls_thc_tops OBJECT
  "${kestrel_SOURCE_DIR}/hls/thc_quantise/thc_quantise_bambu.cpp"
  "${kestrel_SOURCE_DIR}/hls/thc_hadamard/thc_hadamard_bambu.cpp"
  "${kestrel_SOURCE_DIR}/hls/thc_aggregate/thc_aggregate_bambu.cpp")
target_include_directories(kestrel_hls_thc_tops PRIVATE "${kestrel_SOURCE_DIR}")
# Not kestrel_options, which asks for C++20; pragmas of tools are unknown to compilers.
target_compile_options(
  kestrel_hls_thc_tops
  PRIVATE -std=c++14
          -Wall
          -Wextra
          -Wpedantic
          -Wconversion
          -Wshadow
          -Wno-unknown-pragmas
          $<$<BOOL:${KESTREL_WERROR}>:-Werror>)

kestrel_add_test(
  NAME
  hls.thc
  SOURCES
  test_thc.cpp
  thc_tops.hpp
  $<TARGET_OBJECTS:kestrel_hls_thc_tops>
  LIBS
  kestrel::hls
  kestrel::sw_ref)

add_executable(thc_vectors thc_vectors.cpp thc_tops.hpp)
target_link_libraries(thc_vectors PRIVATE kestrel_options kestrel::sw_ref)
target_include_directories(thc_vectors PRIVATE "${kestrel_SOURCE_DIR}")
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(kernel IN ITEMS quantise hadamard aggregate)
  add_test(
    NAME hls.thc_bambu.${kernel}
    COMMAND
      Python3::Interpreter "${CMAKE_CURRENT_SOURCE_DIR}/run_bambu.py" ${kernel} --root
      "${kestrel_SOURCE_DIR}" --vectors $<TARGET_FILE:thc_vectors> --work
      "${CMAKE_CURRENT_BINARY_DIR}/thc_bambu_${kernel}")
  set_tests_properties(hls.thc_bambu.${kernel} PROPERTIES LABELS unit TIMEOUT 900 SKIP_RETURN_CODE 77)
endforeach()
