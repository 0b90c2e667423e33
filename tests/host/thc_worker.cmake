# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Gradient aggregation: the aggregator's rules, channels, workers over them.
kestrel_add_test(NAME host.thc_aggregator SOURCES
                 "${CMAKE_CURRENT_LIST_DIR}/test_thc_aggregator.cpp" LIBS kestrel::host
                 kestrel::contract)
kestrel_add_test(
  NAME
  host.thc_worker
  SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/test_thc_worker.cpp"
  LIBS
  kestrel::host
  kestrel::contract
  Threads::Threads)
