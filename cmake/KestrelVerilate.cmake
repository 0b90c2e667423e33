# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors

set(KESTREL_VERILATOR_VERSION 5.006)
find_program(KESTREL_VERILATOR verilator)
find_program(KESTREL_MAKE NAMES gmake make)
mark_as_advanced(KESTREL_VERILATOR KESTREL_MAKE)
if(NOT KESTREL_VERILATOR OR NOT KESTREL_MAKE)
  message(FATAL_ERROR "verilator and make are needed (scripts/setup.sh installs them)")
endif()
execute_process(
  COMMAND "${KESTREL_VERILATOR}" -getenv VERILATOR_ROOT
  OUTPUT_VARIABLE KESTREL_VERILATOR_ROOT
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND "${KESTREL_VERILATOR}" --version
  OUTPUT_VARIABLE verilator_version
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(NOT verilator_version MATCHES "Verilator ([0-9]+\\.[0-9]+)")
  message(FATAL_ERROR "verilator --version printed '${verilator_version}'")
elseif(NOT CMAKE_MATCH_1 STREQUAL KESTREL_VERILATOR_VERSION)
  message(WARNING "Verilator ${CMAKE_MATCH_1} found; tested with ${KESTREL_VERILATOR_VERSION}")
endif()

# Warnings of Verilator are errors; a waiver stands in the RTL, with its reason, or in verilator.vlt.
set(KESTREL_VERILATOR_WAIVERS "${CMAKE_CURRENT_LIST_DIR}/verilator.vlt")
set(KESTREL_VERILATOR_LINT_FLAGS -Wall -Wpedantic --assert "${KESTREL_VERILATOR_WAIVERS}")

# The run-time library of Verilator, compiled once for all models.
find_package(Threads REQUIRED)
add_library(
  kestrel_verilated STATIC EXCLUDE_FROM_ALL
  "${KESTREL_VERILATOR_ROOT}/include/verilated.cpp"
  "${KESTREL_VERILATOR_ROOT}/include/verilated_threads.cpp"
  $<$<BOOL:${KESTREL_TRACE}>:${KESTREL_VERILATOR_ROOT}/include/verilated_fst_c.cpp>)
target_include_directories(
  kestrel_verilated SYSTEM PUBLIC "${KESTREL_VERILATOR_ROOT}/include"
                                  "${KESTREL_VERILATOR_ROOT}/include/vltstd")
target_compile_definitions(
  kestrel_verilated PUBLIC VM_COVERAGE=0 VM_SC=0 VM_TRACE=$<BOOL:${KESTREL_TRACE}>
                           VM_TRACE_FST=$<BOOL:${KESTREL_TRACE}> VM_TRACE_VCD=0)
target_compile_options(kestrel_verilated PRIVATE -O3 -w)
target_compile_features(kestrel_verilated PUBLIC cxx_std_20)
target_link_libraries(kestrel_verilated PUBLIC Threads::Threads)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_link_libraries(kestrel_verilated PUBLIC atomic)
endif()
if(KESTREL_TRACE)
  find_package(ZLIB REQUIRED)
  target_link_libraries(kestrel_verilated PUBLIC ZLIB::ZLIB)
endif()
set_target_properties(kestrel_verilated PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_CLANG_TIDY "")

# One verilation at a time: each runs its own make on all processors.
cmake_host_system_information(RESULT kestrel_processors QUERY NUMBER_OF_LOGICAL_CORES)
set_property(GLOBAL APPEND PROPERTY JOB_POOLS kestrel_verilate=1)

# From arg_SOURCES, arg_INCLUDE_DIRS and arg_PARAMETERS of the caller: `sources` (absolute paths) and
# `flags`, as Verilator takes them. A macro, so that both are set in the caller.
macro(kestrel_verilator_inputs)
  set(sources)
  foreach(source IN LISTS arg_SOURCES)
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
    list(APPEND sources "${source}")
  endforeach()
  set(flags)
  foreach(include_dir IN LISTS arg_INCLUDE_DIRS)
    cmake_path(ABSOLUTE_PATH include_dir BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
    list(APPEND flags "+incdir+${include_dir}")
  endforeach()
  foreach(parameter IN LISTS arg_PARAMETERS)
    list(APPEND flags "-G${parameter}")
  endforeach()
endmacro()

# kestrel_verilate(TARGET <name> TOP <module> SOURCES a.sv ... [PREFIX Vx] [INCLUDE_DIRS dir ...]
#                  [DEPENDS file-or-target ...] [PARAMETERS Name=value ...] [ARGS ...])
#
# Verilates TOP once, at build time, into the library <name>: link it and include "<PREFIX>.h"
# (default V<TOP>). Packages come first in SOURCES. Files that are read through `include go into
# DEPENDS, as does the target that makes a generated source (kestrel_contract).
# With KESTREL_TRACE the model can write FST traces (VM_TRACE is 1 then).
function(kestrel_verilate)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "TARGET;TOP;PREFIX"
                        "SOURCES;INCLUDE_DIRS;DEPENDS;PARAMETERS;ARGS")
  if(arg_UNPARSED_ARGUMENTS
     OR NOT arg_TARGET
     OR NOT arg_TOP
     OR NOT arg_SOURCES)
    message(FATAL_ERROR "kestrel_verilate(${arg_TARGET}): TARGET, TOP and SOURCES are needed; "
                        "unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_PREFIX)
    set(arg_PREFIX "V${arg_TOP}")
  endif()
  set(directory "${CMAKE_CURRENT_BINARY_DIR}/${arg_TARGET}.verilated")
  set(archive "${directory}/${arg_PREFIX}__ALL.a")
  set(header "${directory}/${arg_PREFIX}.h")
  file(MAKE_DIRECTORY "${directory}") # an include directory has to exist when CMake runs

  kestrel_verilator_inputs()
  if(KESTREL_TRACE)
    list(APPEND flags --trace-fst --trace-structs)
  endif()
  set(objcache)
  if(KESTREL_CCACHE)
    set(objcache "OBJCACHE=${KESTREL_CCACHE}")
  endif()
  set(optimise -O3)
  if(KESTREL_NATIVE)
    set(optimise "-O3 -march=native")
  endif()

  add_custom_command(
    OUTPUT "${archive}" "${header}"
    COMMAND
      "${KESTREL_VERILATOR}" --cc ${KESTREL_VERILATOR_LINT_FLAGS} -O3 --x-assign unique --x-initial
      unique --threads 1 --output-split 20000 --output-split-cfuncs 500 -CFLAGS "-std=c++20 -fPIC -w"
      --top-module ${arg_TOP} --prefix ${arg_PREFIX} --Mdir "${directory}" ${flags} ${arg_ARGS}
      ${sources}
    COMMAND
      "${CMAKE_COMMAND}" -E env --unset=MAKEFLAGS --unset=MAKELEVEL -- "${KESTREL_MAKE}" --silent
      --directory "${directory}" --file ${arg_PREFIX}.mk --jobs ${kestrel_processors}
      "CXX=${CMAKE_CXX_COMPILER}" "LINK=${CMAKE_CXX_COMPILER}" "OPT_FAST=${optimise}" "OPT_SLOW=-O1"
      "OPT_GLOBAL=${optimise}" ${objcache} ${arg_PREFIX}__ALL.a
    COMMAND "${CMAKE_COMMAND}" -E touch "${archive}" "${header}"
    DEPENDS ${sources} "${KESTREL_VERILATOR_WAIVERS}" ${arg_DEPENDS}
    COMMENT "Verilating ${arg_TOP} into ${arg_TARGET}"
    JOB_POOL kestrel_verilate
    VERBATIM)
  add_custom_target(${arg_TARGET}_verilate DEPENDS "${archive}" "${header}")

  add_library(${arg_TARGET}_archive STATIC IMPORTED GLOBAL)
  set_target_properties(${arg_TARGET}_archive PROPERTIES IMPORTED_LOCATION "${archive}")
  add_dependencies(${arg_TARGET}_archive ${arg_TARGET}_verilate)

  add_library(${arg_TARGET} INTERFACE)
  target_include_directories(${arg_TARGET} SYSTEM INTERFACE "${directory}")
  target_link_libraries(${arg_TARGET} INTERFACE ${arg_TARGET}_archive kestrel_verilated)
  add_dependencies(${arg_TARGET} ${arg_TARGET}_verilate)
endfunction()

# kestrel_lint_rtl(NAME <unit> TOP <module> SOURCES ... [INCLUDE_DIRS ...] [PARAMETERS ...])
#
# The ctest `rtl.lint.<unit>`: Verilator's lint of TOP, every warning fatal.
function(kestrel_lint_rtl)
  if(NOT KESTREL_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;TOP" "SOURCES;INCLUDE_DIRS;PARAMETERS")
  kestrel_verilator_inputs()
  add_test(NAME rtl.lint.${arg_NAME}
           COMMAND "${KESTREL_VERILATOR}" --lint-only ${KESTREL_VERILATOR_LINT_FLAGS} --top-module
                   ${arg_TOP} ${flags} ${sources})
  set_tests_properties(rtl.lint.${arg_NAME} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()
