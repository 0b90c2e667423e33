# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
kestrel_add_test(NAME sw_ref.thc_fast SOURCES thc_fast_test.cpp LIBS kestrel::sw_ref)
