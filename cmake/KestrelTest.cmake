# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors

if(KESTREL_BUILD_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

# kestrel_add_test(NAME <layer>.<unit> SOURCES a.cpp ... [LIBS ...] [LABELS unit|formal|netlist|e2e|slow ...]
#                  [TIMEOUT seconds] [ENVIRONMENT VAR=value ...] [NO_MAIN])
#
# One GoogleTest program `test_<layer>_<unit>` in bin/; each of its cases becomes the ctest
# `<layer>.<unit>.<suite>.<case>`. The defaults are label `unit` and 60 seconds for one case.
# NO_MAIN: the sources bring their own main().
function(kestrel_add_test)
  if(NOT KESTREL_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 0 arg "NO_MAIN" "NAME;TIMEOUT" "SOURCES;LIBS;LABELS;ENVIRONMENT")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES OR NOT arg_NAME)
    message(FATAL_ERROR "kestrel_add_test(${arg_NAME}): NAME or SOURCES missing, or unknown "
                        "arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_NAME MATCHES "^[a-z0-9_]+\\.[a-z0-9_]+$")
    message(FATAL_ERROR "kestrel_add_test: the name '${arg_NAME}' is not <layer>.<unit>")
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  string(REPLACE "." "_" target "test_${arg_NAME}")

  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE kestrel_options ${arg_LIBS} GTest::gmock GTest::gtest)
  if(NOT arg_NO_MAIN)
    target_link_libraries(${target} PRIVATE GTest::gtest_main)
  endif()
  target_include_directories(${target} PRIVATE "${kestrel_SOURCE_DIR}")
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)

  gtest_discover_tests(
    ${target}
    TEST_PREFIX "${arg_NAME}."
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT "${arg_TIMEOUT}")
  # Lists (labels, environment) do not survive PROPERTIES above in CMake 3.25, so ctest reads them
  # from a file of ours after the discovered tests.
  set(environment "KESTREL_DATA_DIR=${KESTREL_DATA_DIR}" ${arg_ENVIRONMENT})
  set(properties "${CMAKE_CURRENT_BINARY_DIR}/${target}_properties.cmake")
  file(
    CONFIGURE
    OUTPUT "${properties}"
    CONTENT
      [=[
if(@target@_TESTS)
  set_tests_properties(${@target@_TESTS} PROPERTIES LABELS "@arg_LABELS@" ENVIRONMENT "@environment@")
endif()
]=]
    @ONLY)
  set_property(
    DIRECTORY
    APPEND
    PROPERTY TEST_INCLUDE_FILES "${properties}")
endfunction()
