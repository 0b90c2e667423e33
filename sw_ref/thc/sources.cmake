# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(APPEND KESTREL_SW_REF_SOURCES "${CMAKE_CURRENT_LIST_DIR}/codec.cpp"
     "${CMAKE_CURRENT_LIST_DIR}/solver.cpp")
list(APPEND KESTREL_SW_REF_SOURCES "${CMAKE_CURRENT_LIST_DIR}/fast.cpp")

# Eigen is a private matter of float_ref.cpp. Global, because what links this static library resolves
# the name in its own folder.
if(NOT TARGET Eigen3::Eigen)
  find_package(Eigen3 3.3 REQUIRED NO_MODULE)
  set_target_properties(Eigen3::Eigen PROPERTIES IMPORTED_GLOBAL TRUE)
endif()
list(APPEND KESTREL_SW_REF_SOURCES "${CMAKE_CURRENT_LIST_DIR}/float_ref.cpp"
     "${CMAKE_CURRENT_LIST_DIR}/schemes.cpp")
list(APPEND KESTREL_SW_REF_PRIVATE_LIBS $<BUILD_INTERFACE:Eigen3::Eigen>)
