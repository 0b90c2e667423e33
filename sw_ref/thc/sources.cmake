# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
list(APPEND KESTREL_SW_REF_SOURCES "${CMAKE_CURRENT_LIST_DIR}/codec.cpp"
     "${CMAKE_CURRENT_LIST_DIR}/solver.cpp")
list(APPEND KESTREL_SW_REF_SOURCES "${CMAKE_CURRENT_LIST_DIR}/fast.cpp")
