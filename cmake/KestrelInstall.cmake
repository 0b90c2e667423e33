# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Installs the libraries made by kestrel_library() and their headers, with a package file for
# find_package(kestrel).

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(install_targets GLOBAL PROPERTY KESTREL_INSTALL_TARGETS)
if(install_targets)
  install(TARGETS ${install_targets} EXPORT kestrelTargets ARCHIVE DESTINATION
                                                           ${CMAKE_INSTALL_LIBDIR})
  install(
    EXPORT kestrelTargets
    NAMESPACE kestrel::
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kestrel)
  write_basic_package_version_file("${CMAKE_BINARY_DIR}/kestrelConfigVersion.cmake"
                                   COMPATIBILITY SameMinorVersion)
  configure_package_config_file(
    "${CMAKE_CURRENT_LIST_DIR}/kestrelConfig.cmake.in" "${CMAKE_BINARY_DIR}/kestrelConfig.cmake"
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kestrel)
  install(FILES "${CMAKE_BINARY_DIR}/kestrelConfig.cmake"
                "${CMAKE_BINARY_DIR}/kestrelConfigVersion.cmake"
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kestrel)
  foreach(directory IN ITEMS host/include/kestrel)
    if(EXISTS "${kestrel_SOURCE_DIR}/${directory}")
      install(
        DIRECTORY "${kestrel_SOURCE_DIR}/${directory}"
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING
        PATTERN "*.hpp")
    endif()
  endforeach()
  install(
    DIRECTORY "${kestrel_SOURCE_DIR}/sw_ref"
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING
    PATTERN "*.hpp")
endif()
