# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/cluster.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/factory.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/fast_switch.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/json.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/pcapng.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/scenario.cpp")
