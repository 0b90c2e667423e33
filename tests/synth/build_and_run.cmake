# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# cmake -DBUILD=<build folder> -DTARGET=<name> -DPROGRAM=<its file> -P build_and_run.cmake
#
# Builds a target that is not part of the build and runs it.
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}" --target "${TARGET}"
                RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${TARGET} was not built: ${status}")
endif()
execute_process(COMMAND "${PROGRAM}" RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM}: ${status}")
endif()
