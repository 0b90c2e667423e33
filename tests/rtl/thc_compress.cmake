# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The THC kernels of a worker: random numbers, rotation, error feedback, norm and compression.
set(thc_include "${kestrel_SOURCE_DIR}/rtl/common")

# thc_model(<top> <sources list> [lanes]): library v<top>[_<lanes>], class V<top>[_<lanes>].
function(thc_model top sources)
  set(name ${top})
  set(parameters)
  if(ARGN)
    set(name ${top}_${ARGN})
    set(parameters PARAMETERS Lanes=${ARGN})
  endif()
  kestrel_verilate(
    TARGET
    ${name}_model
    TOP
    ${top}
    PREFIX
    V${name}
    SOURCES
    ${sources}
    INCLUDE_DIRS
    "${thc_include}"
    DEPENDS
    "${thc_include}/ks_assert.svh"
    ${parameters})
endfunction()

thc_model(thc_threefry "${THC_RANDOM_SV}")
foreach(lanes IN ITEMS 1 4 16)
  thc_model(thc_sign "${THC_RANDOM_SV}" ${lanes})
  thc_model(thc_noise "${THC_RANDOM_SV}" ${lanes})
  thc_model(thc_hadamard "${THC_HADAMARD_SV}" ${lanes})
  thc_model(thc_compress "${THC_COMPRESS_SV}" ${lanes})
endforeach()
foreach(lanes IN ITEMS 4 16)
  thc_model(thc_add "${THC_ADD_SV}" ${lanes})
endforeach()
foreach(lanes IN ITEMS 1 4 16)
  thc_model(thc_norm "${THC_NORM_SV}" ${lanes})
endforeach()

kestrel_add_test(
  NAME
  rtl.thc_random
  SOURCES
  test_thc_random.cpp
  test_thc_util.hpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  kestrel::sw_ref
  thc_threefry_model
  thc_sign_1_model
  thc_sign_4_model
  thc_sign_16_model
  thc_noise_1_model
  thc_noise_4_model
  thc_noise_16_model)
kestrel_add_test(
  NAME
  rtl.thc_hadamard
  SOURCES
  test_thc_hadamard.cpp
  test_thc_util.hpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  kestrel::sw_ref
  thc_hadamard_1_model
  thc_hadamard_4_model
  thc_hadamard_16_model)
kestrel_add_test(
  NAME
  rtl.thc_compress
  SOURCES
  test_thc_compress.cpp
  test_thc_util.hpp
  thc_port.hpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  kestrel::sw_ref
  thc_compress_1_model
  thc_compress_4_model
  thc_compress_16_model)
kestrel_add_test(
  NAME
  rtl.thc_add
  SOURCES
  test_thc_add.cpp
  test_thc_util.hpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  kestrel::sw_ref
  thc_add_4_model
  thc_add_16_model)
kestrel_add_test(
  NAME
  rtl.thc_norm
  SOURCES
  test_thc_norm.cpp
  test_thc_util.hpp
  test_testbench_util.hpp
  LIBS
  kestrel::testbench
  kestrel::sw_ref
  thc_norm_1_model
  thc_norm_4_model
  thc_norm_16_model)
