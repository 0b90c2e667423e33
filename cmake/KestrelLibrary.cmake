# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors

# kestrel_library(<target> [ALIAS kestrel::x] SOURCES a.cpp ... [PUBLIC_LIBS ...] [PRIVATE_LIBS ...]
#                 [INCLUDE_DIR dir] [NO_INSTALL])
#
# A static library with the project's flags. INCLUDE_DIR is what users of the library get as include
# directory: the repository root when it is left out. The ALIAS is what others link.
# NO_INSTALL: for this build only (KestrelInstall.cmake says what is installed).
function(kestrel_library target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_INSTALL" "ALIAS;INCLUDE_DIR"
                        "SOURCES;PUBLIC_LIBS;PRIVATE_LIBS")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "kestrel_library(${target}): SOURCES missing, or unknown arguments: "
                        "${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_INCLUDE_DIR)
    set(arg_INCLUDE_DIR "${kestrel_SOURCE_DIR}")
  endif()
  cmake_path(ABSOLUTE_PATH arg_INCLUDE_DIR BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")

  add_library(${target} STATIC ${arg_SOURCES})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${arg_INCLUDE_DIR}>
                                              $<INSTALL_INTERFACE:include>)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(
    ${target}
    PUBLIC ${arg_PUBLIC_LIBS}
    PRIVATE $<BUILD_INTERFACE:kestrel_options> ${arg_PRIVATE_LIBS})
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  if(arg_ALIAS)
    add_library(${arg_ALIAS} ALIAS ${target})
    string(REGEX REPLACE "^kestrel::" "" export_name "${arg_ALIAS}")
    set_target_properties(${target} PROPERTIES EXPORT_NAME "${export_name}")
  endif()
endfunction()
