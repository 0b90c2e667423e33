# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Installs the program with its models, pages and Python package, which it finds relative to itself
# (host/apps/kestrel/main.cpp, installed()), and the libraries that stand alone (the software reference and the hardware contract) and their
# headers, with a package file for find_package(kestrel). The host library is not among them: it links
# the Verilated model, which is a product of this build. tests/install builds a user of the result.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_directory "${CMAKE_INSTALL_LIBDIR}/cmake/kestrel")
install(
  TARGETS kestrel_sw_ref kestrel_thc_codec kestrel_contract
  EXPORT kestrelTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(
  EXPORT kestrelTargets
  NAMESPACE kestrel::
  DESTINATION ${package_directory})
install(
  DIRECTORY "${kestrel_SOURCE_DIR}/sw_ref"
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING
  PATTERN "*.hpp")
install(FILES "${CMAKE_BINARY_DIR}/gen/kestrel/contract/vision.hpp"
              "${CMAKE_BINARY_DIR}/gen/kestrel/contract/thc.hpp"
              "${CMAKE_BINARY_DIR}/gen/kestrel/contract/wire.hpp"
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/kestrel/contract)

write_basic_package_version_file("${CMAKE_BINARY_DIR}/kestrelConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/kestrelConfig.cmake.in" "${CMAKE_BINARY_DIR}/kestrelConfig.cmake"
  INSTALL_DESTINATION ${package_directory})
install(FILES "${CMAKE_BINARY_DIR}/kestrelConfig.cmake"
              "${CMAKE_BINARY_DIR}/kestrelConfigVersion.cmake" DESTINATION ${package_directory})

# The program. The places are those of KESTREL_INSTALL_* in host/apps/kestrel/CMakeLists.txt.
install(TARGETS kestrel RUNTIME DESTINATION bin)
if(TARGET kestrel-board-sim)
  install(TARGETS kestrel-board-sim RUNTIME DESTINATION bin OPTIONAL)
endif()
install(
  DIRECTORY "${kestrel_SOURCE_DIR}/models/"
  DESTINATION share/kestrel/models
  FILES_MATCHING
  PATTERN "*.tflite"
  PATTERN "*.onnx"
  PATTERN "calibration.json"
  PATTERN "labels.txt"
  PATTERN "README.md")
install(FILES "${kestrel_SOURCE_DIR}/README.md" "${kestrel_SOURCE_DIR}/LICENSE" DESTINATION share/doc/kestrel)
install(
  DIRECTORY "${kestrel_SOURCE_DIR}/docs"
  DESTINATION share/doc/kestrel)
if(TARGET kestrel_python)
  install(
    DIRECTORY "${CMAKE_BINARY_DIR}/python/kestrel_thc"
    DESTINATION lib/kestrel/python
    FILES_MATCHING
    PATTERN "*.py"
    PATTERN "*.pyi"
    PATTERN "*.so"
    PATTERN "py.typed")
endif()
