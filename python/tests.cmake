# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Tests of the Python package: with the interpreter that it is for (NumPy 1 and PyTorch, if it has
# them), with NumPy 2, and as a wheel. Included by CMakeLists.txt.

# kestrel_python_test(<name> <interpreter> <label> <timeout> <file> <argument>...): ctest python.thc.<name>
function(kestrel_python_test name interpreter label timeout file)
  add_test(NAME python.thc.${name} COMMAND "${interpreter}" -B "${kestrel_SOURCE_DIR}/${file}" ${ARGN})
  set_tests_properties(
    python.thc.${name}
    PROPERTIES LABELS ${label}
               TIMEOUT ${timeout}
               ENVIRONMENT "PYTHONPATH=${CMAKE_BINARY_DIR}/python;OMP_NUM_THREADS=1")
endfunction()

set(suite_file tests/python/test_kestrel_thc.py)
if(has_torch)
  foreach(suite IN ITEMS Binding Docs Package)
    kestrel_python_test(${suite} "${KESTREL_PYTHON}" unit 180 ${suite_file} ${suite})
  endforeach()
  kestrel_python_test(Hook "${KESTREL_PYTHON}" unit 600 tests/python/test_kestrel_thc_hook.py)
  if(TARGET kestrel)
    kestrel_python_test(Command "${KESTREL_PYTHON}" e2e 120 ${suite_file} Command)
    set_property(
      TEST python.thc.Command
      APPEND
      PROPERTY ENVIRONMENT "KESTREL_BIN=$<TARGET_FILE:kestrel>")
  endif()
  # Real training: four processes, uncompressed and compressed, without and with loss.
  kestrel_python_test(Training "${KESTREL_PYTHON}" e2e 600 bench/thc_training/train.py --quick --out
                      "${CMAKE_BINARY_DIR}/thc_training_quick")
  set_tests_properties(python.thc.Training PROPERTIES PROCESSORS 2)
endif()

# NumPy 2 under the same interpreter.
set(numpy2 "${KESTREL_NUMPY2_VENV}/bin/python")
execute_process(
  COMMAND "${numpy2}" -c
          "import sysconfig as s, numpy; print(s.get_config_var('EXT_SUFFIX'), numpy.__version__, sep=';')"
  OUTPUT_VARIABLE answer
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
  RESULT_VARIABLE status)
set(numpy2_suffix)
if(status EQUAL 0)
  list(GET answer 0 numpy2_suffix)
endif()
if(numpy2_suffix STREQUAL suffix)
  foreach(suite IN ITEMS Binding Docs Package)
    kestrel_python_test(${suite}.numpy2 "${numpy2}" unit 180 ${suite_file} ${suite})
    set_property(
      TEST python.thc.${suite}.numpy2
      APPEND
      PROPERTY ENVIRONMENT KESTREL_EXPECT_NUMPY=2)
  endforeach()
  if(NOT KESTREL_SANITIZE)
    kestrel_python_test(Wheel "${numpy2}" slow 900 tests/python/test_wheel.py
                        "${CMAKE_BINARY_DIR}/wheel")
    set_tests_properties(python.thc.Wheel PROPERTIES PROCESSORS 2)
  endif()
else()
  message(STATUS "Without the tests under NumPy 2: scripts/setup.sh makes build/venv-numpy2 for them")
endif()
