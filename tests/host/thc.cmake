# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# THC devices: the same tests on each.
kestrel_add_test(
  NAME
  host.thc_device
  SOURCES
  test_thc_device.cpp
  LIBS
  kestrel::host
  TIMEOUT
  300)
