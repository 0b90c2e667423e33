# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The cluster simulation around the aggregation switch.
kestrel_add_test(
  NAME
  host.esa_cluster
  SOURCES
  test_esa_cluster.cpp
  LIBS
  kestrel::host
  TIMEOUT
  120)
