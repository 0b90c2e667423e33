# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# Source lists of the THC kernels, packages first; each is complete for its top module.
set(thc_rtl "${CMAKE_CURRENT_LIST_DIR}")
set(thc_common "${CMAKE_CURRENT_LIST_DIR}/../common")

set(THC_RANDOM_SV
    "${thc_common}/ks_fifo.sv"
    "${thc_rtl}/thc_threefry.sv"
    "${thc_rtl}/thc_random.sv"
    "${thc_rtl}/thc_sign.sv"
    "${thc_rtl}/thc_noise.sv"
    CACHE INTERNAL "RTL of the sources of signs and rounding noise")
set(THC_HADAMARD_SV
    "${thc_common}/ks_fifo.sv"
    "${thc_rtl}/thc_hadamard_stage.sv"
    "${thc_rtl}/thc_hadamard_core.sv"
    "${thc_rtl}/thc_hadamard.sv"
    CACHE INTERNAL "RTL of the Hadamard transform")
