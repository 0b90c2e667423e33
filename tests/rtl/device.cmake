# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The vision engine in RTL through the device interface.
find_package(nlohmann_json 3.9 REQUIRED)
kestrel_add_test(
  NAME
  rtl.device
  SOURCES
  test_device.cpp
  LIBS
  kestrel::host
  nlohmann_json::nlohmann_json
  TIMEOUT
  600)
target_compile_definitions(
  test_rtl_device PRIVATE "KESTREL_DEFAULT_DATA_DIR=\"${KESTREL_DATA_DIR}\""
                          "KESTREL_SOURCE_DIR=\"${kestrel_SOURCE_DIR}\"")

kestrel_add_test(
  NAME
  rtl.device_large
  SOURCES
  test_device_large.cpp
  LIBS
  kestrel::host
  LABELS
  slow
  TIMEOUT
  1800)
