# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/device.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/functional_device.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/roundtrip.cpp")
