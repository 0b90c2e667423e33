# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
kestrel_add_test(NAME sw_ref.thc_schemes SOURCES thc_schemes_test.cpp LIBS kestrel::sw_ref)
