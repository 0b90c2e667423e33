# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
kestrel_add_test(NAME sw_ref.thc_solver SOURCES thc_solver_test.cpp LIBS kestrel::sw_ref)
