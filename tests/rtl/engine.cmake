# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The compute unit of the vision engine against the meaning of its descriptors.
kestrel_verilate(
  TARGET
  hv_compute_model
  TOP
  hv_compute
  SOURCES
  ${HV_COMPUTE_SV}
  DEPENDS
  kestrel_contract)

kestrel_add_test(
  NAME
  rtl.hv_compute
  SOURCES
  test_hv_compute.cpp
  LIBS
  kestrel::testbench
  kestrel::contract
  hv_compute_model
  TIMEOUT
  300)
