# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Gradients compressed so that they can be added (THC), for training scripts.

One line makes a DistributedDataParallel model use it:

    model.register_comm_hook(kestrel_thc.ThcState(model), kestrel_thc.thc_hook)

See docs/thc_training.md. The module needs NumPy; the hook needs PyTorch, which is imported only
when the hook is used.
"""

from ._core import MAX_WORKERS, Aggregator, Codec, Table, ThcError, Worker

__all__ = [
    "MAX_WORKERS",
    "Aggregator",
    "Codec",
    "Table",
    "ThcError",
    "ThcState",
    "Worker",
    "thc_hook",
]


def __getattr__(name):
    if name in ("ThcState", "thc_hook"):
        from . import hook

        return getattr(hook, name)
    raise AttributeError(f"module 'kestrel_thc' has no attribute '{name}'")
