# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Gradients compressed so that they can be added (THC), for training scripts.

One line makes a DistributedDataParallel model use it:

    model.register_comm_hook(kestrel_thc.ThcState(model), kestrel_thc.thc_hook)

See docs/thc_training.md. The module needs NumPy; the hook needs PyTorch, which is imported only
when the hook is used.
"""

from typing import TYPE_CHECKING

import numpy as _numpy


def _refuse_other_numpy():
    """Before the extension module is loaded: NumPy 1 and 2 have been tried, others have not."""
    version = _numpy.__version__
    if version.split(".")[0] not in ("1", "2"):
        raise ImportError(
            f"kestrel_thc does not know NumPy {version}: install a NumPy of version 1.24 or later, or 2"
        )


def _refuse_wrong_numpy(seen):
    """After: an extension module that was built for another NumPy reads arrays as garbage."""
    array = _numpy.arange(1, 6, dtype=_numpy.float32)
    try:
        right = seen(array) == (4, 5, 15.0)
    except Exception:
        right = False
    if not right:
        raise ImportError(
            f"kestrel_thc does not read the arrays of NumPy {_numpy.__version__}: it was built for "
            "another one; build it anew (pip install ./python)"
        )


_refuse_other_numpy()

from . import _core  # noqa: E402
from ._core import (  # noqa: E402
    MAX_WORKERS,
    Aggregator,
    Codec,
    Table,
    ThcError,
    Worker,
    __version__,
)

_refuse_wrong_numpy(_core._seen)

if TYPE_CHECKING:
    from .hook import ThcState, thc_hook

__all__ = [
    "MAX_WORKERS",
    "Aggregator",
    "Codec",
    "Table",
    "ThcError",
    "ThcState",
    "Worker",
    "__version__",
    "thc_hook",
]


def __getattr__(name):
    if name in ("ThcState", "thc_hook"):
        from . import hook

        return getattr(hook, name)
    raise AttributeError(f"module 'kestrel_thc' has no attribute '{name}'")
