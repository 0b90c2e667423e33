# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Source lists of the THC kernels that work on sums, packages first; each is complete for its top module.
set(THC_AGGREGATE_SV
    "${CMAKE_CURRENT_LIST_DIR}/thc_core_pkg.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_skid.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_lookup.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_aggregate.sv")
set(THC_DECOMPRESS_SV
    "${CMAKE_CURRENT_LIST_DIR}/thc_core_pkg.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_fifo.sv"
    "${CMAKE_CURRENT_LIST_DIR}/../common/ks_skid.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_threefry.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_random.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_sign.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_factor.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_dequantise.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_hadamard_stage.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_hadamard_core.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_to_float.sv"
    "${CMAKE_CURRENT_LIST_DIR}/thc_decompress.sv")
