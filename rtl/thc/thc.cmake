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
set(THC_COMPRESS_SV
    "${thc_rtl}/thc_core_pkg.sv"
    ${THC_RANDOM_SV}
    "${thc_common}/ks_skid.sv"
    "${thc_rtl}/thc_hadamard_stage.sv"
    "${thc_rtl}/thc_hadamard_core.sv"
    "${thc_rtl}/thc_to_fixed.sv"
    "${thc_rtl}/thc_quantise.sv"
    "${thc_rtl}/thc_levels.sv"
    "${thc_rtl}/thc_delay.sv"
    "${thc_rtl}/thc_to_float.sv"
    "${thc_rtl}/thc_compress.sv"
    CACHE INTERNAL "RTL of the compression")
set(THC_ADD_SV
    "${thc_common}/ks_fifo.sv"
    "${thc_rtl}/thc_add_lane.sv"
    "${thc_rtl}/thc_add.sv"
    CACHE INTERNAL "RTL of the error-feedback adder")
set(THC_NORM_SV "${thc_rtl}/thc_norm.sv" CACHE INTERNAL "RTL of the block norm")

foreach(lanes IN ITEMS 1 2 8 16)
  foreach(kernel IN ITEMS add norm compress)
    string(TOUPPER THC_${kernel}_SV thc_sources)
    kestrel_lint_rtl(
      NAME
      thc_${kernel}_${lanes}
      TOP
      thc_${kernel}
      SOURCES
      ${${thc_sources}}
      INCLUDE_DIRS
      "${thc_common}"
      PARAMETERS
      Lanes=${lanes})
  endforeach()
endforeach()

include("${CMAKE_CURRENT_LIST_DIR}/thc_accel.cmake")
