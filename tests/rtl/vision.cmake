# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
#
# The control and input side of the vision engine, module by module.
get_target_property(hv_pkg_sv kestrel_contract KESTREL_CONTRACT_SV)
set(rtl_common "${kestrel_SOURCE_DIR}/rtl/common")
set(rtl_vision "${kestrel_SOURCE_DIR}/rtl/vision")

# With packages and submodules that the module uses before it.
set(hv_load_sv "${hv_pkg_sv}" "${rtl_common}/ks_fifo.sv" "${rtl_vision}/hv_load.sv")
set(hv_front_sv "${hv_pkg_sv}" "${rtl_common}/ks_fifo.sv" "${rtl_vision}/hv_front.sv")
set(hv_rd_sv "${hv_pkg_sv}" "${rtl_common}/ks_fifo.sv" "${rtl_vision}/hv_rd.sv")
set(hv_regs_sv "${hv_pkg_sv}" "${rtl_vision}/hv_regs.sv")
set(hv_ctrl_sv "${hv_pkg_sv}" "${rtl_vision}/hv_ctrl.sv")
set(hv_perf_sv "${rtl_vision}/hv_perf.sv")

foreach(module IN ITEMS hv_load hv_front hv_rd hv_regs hv_ctrl hv_perf)
  kestrel_verilate(
    TARGET
    ${module}_model
    TOP
    ${module}
    SOURCES
    ${${module}_sv}
    INCLUDE_DIRS
    "${rtl_common}"
    DEPENDS
    kestrel_contract_files
    "${rtl_common}/ks_assert.svh")
endforeach()

foreach(module IN ITEMS hv_load hv_front hv_rd hv_regs hv_ctrl)
  kestrel_add_test(
    NAME
    rtl.${module}
    SOURCES
    test_${module}.cpp
    test_testbench_util.hpp
    LIBS
    kestrel::testbench
    kestrel::contract
    ${module}_model)
endforeach()
target_link_libraries(test_rtl_hv_ctrl PRIVATE hv_perf_model)
