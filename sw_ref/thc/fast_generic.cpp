// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#define KESTREL_KERNELS kGenericKernels
#include "sw_ref/thc/fast_portable.inl"
