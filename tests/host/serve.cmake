# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Serving: protocol messages, DC server and client, confidence scaling, data sets.
find_package(nlohmann_json REQUIRED)

kestrel_add_test(NAME host.serve_oip SOURCES "${CMAKE_CURRENT_LIST_DIR}/test_serve_oip.cpp" LIBS
                 kestrel::host)
kestrel_add_test(
  NAME host.serve_dc_server SOURCES "${CMAKE_CURRENT_LIST_DIR}/test_serve_dc_server.cpp" LIBS
  kestrel::host nlohmann_json::nlohmann_json)
kestrel_add_test(NAME host.serve_dc_client SOURCES
                 "${CMAKE_CURRENT_LIST_DIR}/test_serve_dc_client.cpp" LIBS kestrel::host)
kestrel_add_test(NAME host.serve_calibration SOURCES
                 "${CMAKE_CURRENT_LIST_DIR}/test_serve_calibration.cpp" LIBS kestrel::host)
kestrel_add_test(NAME host.serve_data SOURCES "${CMAKE_CURRENT_LIST_DIR}/test_serve_data.cpp" LIBS
                 kestrel::host)
