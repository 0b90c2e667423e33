# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(APPEND KESTREL_SW_REF_SOURCES "${CMAKE_CURRENT_LIST_DIR}/frame.cpp"
     "${CMAKE_CURRENT_LIST_DIR}/hosts.cpp" "${CMAKE_CURRENT_LIST_DIR}/switch.cpp")
# Field positions and codes of packets.
list(APPEND KESTREL_SW_REF_PRIVATE_LIBS $<BUILD_INTERFACE:kestrel::contract>)
