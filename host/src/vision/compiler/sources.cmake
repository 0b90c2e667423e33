# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
find_package(ZLIB REQUIRED)
list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/builder.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/compiler.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/lower.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/narrow.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/package.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/segments.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/tiles.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/verify.cpp")
list(APPEND KESTREL_HOST_PUBLIC_LIBS kestrel::contract)
list(APPEND KESTREL_HOST_PRIVATE_LIBS ZLIB::ZLIB)
