# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/graph.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/reference.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/tflite.cpp")
