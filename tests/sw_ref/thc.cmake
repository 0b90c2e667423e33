# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
kestrel_add_test(NAME sw_ref.thc_solver SOURCES thc_solver_test.cpp LIBS kestrel::sw_ref)
kestrel_add_test(NAME sw_ref.thc_random SOURCES thc_random_test.cpp LIBS kestrel::sw_ref)
kestrel_add_test(NAME sw_ref.thc_codec SOURCES thc_codec_test.cpp LIBS kestrel::sw_ref)
kestrel_add_test(NAME sw_ref.thc_float SOURCES thc_float_test.cpp LIBS kestrel::sw_ref)
