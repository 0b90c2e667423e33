# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Application layer: the data-centre server and its client, confidence scaling, data sets, jobs.

find_package(Boost 1.74 REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(OpenCV REQUIRED COMPONENTS core dnn)

list(
  APPEND
  KESTREL_HOST_SOURCES
  "${CMAKE_CURRENT_LIST_DIR}/calibration.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/dc_client.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/dc_process.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/dc_server.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/demo_job.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/edge_job.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/fashion_mnist.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/oip.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/onnx_backend.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/onnx_check.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/onnx_classifier.cpp"
  "${CMAKE_CURRENT_LIST_DIR}/sha256.cpp")
set_source_files_properties("${CMAKE_CURRENT_LIST_DIR}/dc_server.cpp"
                            PROPERTIES COMPILE_DEFINITIONS KESTREL_VERSION="${PROJECT_VERSION}")
if(KESTREL_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ warns that ThreadSanitizer does not see fences. Asio has some; no data here rely on them.
  set_source_files_properties(
    "${CMAKE_CURRENT_LIST_DIR}/dc_client.cpp" "${CMAKE_CURRENT_LIST_DIR}/dc_server.cpp"
    PROPERTIES COMPILE_OPTIONS "-Wno-tsan")
endif()
# Headers of other projects are system headers: the project's warnings are not theirs.
add_library(kestrel_serve_headers INTERFACE)
target_include_directories(kestrel_serve_headers SYSTEM INTERFACE ${OpenCV_INCLUDE_DIRS})
list(
  APPEND
  KESTREL_HOST_PRIVATE_LIBS
  $<BUILD_INTERFACE:kestrel_serve_headers>
  Boost::headers
  Threads::Threads
  ZLIB::ZLIB
  nlohmann_json::nlohmann_json
  OpenSSL::Crypto
  opencv_core
  opencv_dnn)
