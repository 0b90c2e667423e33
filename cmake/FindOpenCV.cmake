# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# OpenCV by its modules: find_package(OpenCV REQUIRED COMPONENTS core dnn) gives the targets
# opencv_core and opencv_dnn, and the variables OpenCV_LIBS and OpenCV_INCLUDE_DIRS.
#
# Debian keeps OpenCV's own package file in libopencv-dev, which brings every module (and with them
# VTK, GDAL, GTK); the modules in use here are two small packages without that file.

find_path(
  OpenCV_INCLUDE_DIR opencv2/core.hpp
  PATH_SUFFIXES opencv4)
set(OpenCV_INCLUDE_DIRS "${OpenCV_INCLUDE_DIR}")
set(OpenCV_VERSION)
if(OpenCV_INCLUDE_DIR AND EXISTS "${OpenCV_INCLUDE_DIR}/opencv2/core/version.hpp")
  file(STRINGS "${OpenCV_INCLUDE_DIR}/opencv2/core/version.hpp" version_lines
       REGEX "define CV_VERSION_(MAJOR|MINOR|REVISION) ")
  string(REGEX MATCHALL "[0-9]+" version_numbers "${version_lines}")
  list(JOIN version_numbers "." OpenCV_VERSION)
endif()

set(OpenCV_LIBS)
if(NOT OpenCV_FIND_COMPONENTS)
  set(OpenCV_FIND_COMPONENTS core)
endif()
foreach(component IN LISTS OpenCV_FIND_COMPONENTS)
  string(REGEX REPLACE "^opencv_" "" component_name "${component}")
  find_library(OpenCV_${component_name}_LIBRARY opencv_${component_name})
  mark_as_advanced(OpenCV_${component_name}_LIBRARY)
  if(OpenCV_INCLUDE_DIR AND OpenCV_${component_name}_LIBRARY)
    set(OpenCV_${component}_FOUND TRUE)
    if(NOT TARGET opencv_${component_name})
      add_library(opencv_${component_name} UNKNOWN IMPORTED GLOBAL)
      set_target_properties(
        opencv_${component_name}
        PROPERTIES IMPORTED_LOCATION "${OpenCV_${component_name}_LIBRARY}"
                   INTERFACE_INCLUDE_DIRECTORIES "${OpenCV_INCLUDE_DIR}")
    endif()
    list(APPEND OpenCV_LIBS opencv_${component_name})
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  OpenCV
  REQUIRED_VARS OpenCV_INCLUDE_DIR
  VERSION_VAR OpenCV_VERSION HANDLE_COMPONENTS)
mark_as_advanced(OpenCV_INCLUDE_DIR)
