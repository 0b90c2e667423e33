# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Gradient aggregation with THC: channels, aggregator, transport, worker.

find_package(Boost 1.74 REQUIRED)
find_package(Threads REQUIRED)

list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/aggregator.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/aggregator_server.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/channel.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/compression.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/transport.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/worker.cpp")
list(APPEND KESTREL_HOST_PRIVATE_LIBS Boost::headers Threads::Threads
     $<BUILD_INTERFACE:kestrel_contract>)
