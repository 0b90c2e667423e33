# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Options of the build, and the target `kestrel_options` that carries the compiler flags. Flags are
# never global: a target opts in by linking `kestrel_options` (kestrel_library() and
# kestrel_add_test() do it), so a project that embeds this one keeps its own.

include(CMakeDependentOption)

option(KESTREL_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(KESTREL_BUILD_BENCH "Build the benchmarks" ${PROJECT_IS_TOP_LEVEL})
option(KESTREL_INSTALL "Make install and export rules" ${PROJECT_IS_TOP_LEVEL})
option(KESTREL_WERROR "Compiler warnings are errors" OFF)
option(KESTREL_NATIVE "Compile for this machine's processor (-march=native); not portable" OFF)
option(KESTREL_TRACE "Verilate with FST tracing (slower simulation; traces on request)" OFF)
option(KESTREL_PYTHON_WHEEL "Configure only what the Python wheel is made of (pip install ./python)" OFF)
option(KESTREL_FUZZ "Build the libFuzzer targets (needs clang; preset fuzz)" OFF)
set(KESTREL_SANITIZE
    ""
    CACHE STRING "Sanitizers of project code, e.g. 'address,undefined' or 'thread'")
set(KESTREL_DATA_DIR
    "${CMAKE_CURRENT_SOURCE_DIR}/../shared/data"
    CACHE PATH "Test data; tests that need it skip where it is absent")
cmake_path(NORMAL_PATH KESTREL_DATA_DIR)

find_program(KESTREL_CCACHE ccache)
mark_as_advanced(KESTREL_CCACHE)
if(PROJECT_IS_TOP_LEVEL AND KESTREL_CCACHE)
  foreach(language IN ITEMS C CXX)
    if(NOT CMAKE_${language}_COMPILER_LAUNCHER)
      set(CMAKE_${language}_COMPILER_LAUNCHER "${KESTREL_CCACHE}")
    endif()
  endforeach()
endif()

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE
      Release
      CACHE STRING "Build type" FORCE)
endif()

add_library(kestrel_options INTERFACE)
add_library(kestrel::options ALIAS kestrel_options)
target_compile_features(kestrel_options INTERFACE cxx_std_20)
target_compile_options(
  kestrel_options
  INTERFACE -Wall
            -Wextra
            -Wpedantic
            -Wconversion
            -Wshadow
            -Wnon-virtual-dtor
            -Woverloaded-virtual
            -Wcast-align
            -Wundef
            $<$<BOOL:${KESTREL_WERROR}>:-Werror>
            $<$<BOOL:${KESTREL_NATIVE}>:-march=native>
            # Line tables and frame pointers: a profile or a backtrace of a release build can be read.
            $<$<CONFIG:Release>:-O3 -g1 -fno-omit-frame-pointer>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these in code of the standard library and Boost after inlining.
  target_compile_options(kestrel_options INTERFACE -Wno-array-bounds -Wno-stringop-overflow
                                                   -Wno-maybe-uninitialized -Wno-restrict)
endif()
if(KESTREL_SANITIZE)
  target_compile_options(
    kestrel_options INTERFACE -fsanitize=${KESTREL_SANITIZE} -fno-sanitize-recover=all
                              -fno-omit-frame-pointer)
  target_link_options(kestrel_options INTERFACE -fsanitize=${KESTREL_SANITIZE})
  if(KESTREL_SANITIZE MATCHES "thread")
    # ThreadSanitizer does not know fences, and g++ refuses them; Asio's come on top of its locks.
    target_compile_definitions(kestrel_options INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()
