# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The codec that workers run is a library of its own, kestrel::thc_codec (it needs nothing else, and the
# Python wheel is built from it); the references that it is compared with are part of kestrel::sw_ref.
list(APPEND KESTREL_THC_CODEC_SOURCES "${CMAKE_CURRENT_LIST_DIR}/codec.cpp"
     "${CMAKE_CURRENT_LIST_DIR}/solver.cpp")

# The fast codec: its vector code, compiled once for each instruction set and chosen at run time. Only
# these files get flags for a processor; fast_kernels.hpp says what they must not use because of that.
list(APPEND KESTREL_THC_CODEC_SOURCES "${CMAKE_CURRENT_LIST_DIR}/fast.cpp"
     "${CMAKE_CURRENT_LIST_DIR}/fast_generic.cpp")
set_source_files_properties("${CMAKE_CURRENT_LIST_DIR}/fast_generic.cpp"
                            PROPERTIES COMPILE_OPTIONS "-Wno-psabi")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  list(APPEND KESTREL_THC_CODEC_SOURCES "${CMAKE_CURRENT_LIST_DIR}/fast_avx2.cpp"
       "${CMAKE_CURRENT_LIST_DIR}/fast_avx512.cpp")
  set_source_files_properties("${CMAKE_CURRENT_LIST_DIR}/fast_avx2.cpp"
                              PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-Wno-psabi")
  set_source_files_properties(
    "${CMAKE_CURRENT_LIST_DIR}/fast_avx512.cpp"
    PROPERTIES COMPILE_OPTIONS "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vbmi")
endif()

if(KESTREL_PYTHON_WHEEL)
  return()
endif()

# Eigen is a private matter of float_ref.cpp. Global, because what links this static library resolves
# the name in its own folder.
if(NOT TARGET Eigen3::Eigen)
  find_package(Eigen3 3.3 REQUIRED NO_MODULE)
  set_target_properties(Eigen3::Eigen PROPERTIES IMPORTED_GLOBAL TRUE)
endif()
list(APPEND KESTREL_SW_REF_SOURCES "${CMAKE_CURRENT_LIST_DIR}/float_ref.cpp"
     "${CMAKE_CURRENT_LIST_DIR}/schemes.cpp")
list(APPEND KESTREL_SW_REF_PRIVATE_LIBS $<BUILD_INTERFACE:Eigen3::Eigen>)
