# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
kestrel_add_test(NAME sw_ref.esa_switch SOURCES esa_switch_test.cpp LIBS kestrel::sw_ref)
kestrel_add_test(NAME sw_ref.esa_switchml SOURCES esa_switchml_test.cpp LIBS kestrel::sw_ref)
kestrel_add_test(NAME sw_ref.esa_hosts SOURCES esa_hosts_test.cpp LIBS kestrel::sw_ref)
