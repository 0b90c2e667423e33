# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/bridge.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/byte_line.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/file.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/json.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/log.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/memory_model.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/npy.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/progress.cpp")
