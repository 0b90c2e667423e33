# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
from typing import Any, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_WORKERS: int
__version__: str

class ThcError(RuntimeError): ...

class Table:
    def __init__(
        self, bits: int = 4, granularity: int = 30, p: float = 0.03125, values: Sequence[int] = ()
    ) -> None: ...
    @property
    def bits(self) -> int: ...
    @property
    def granularity(self) -> int: ...
    @property
    def t(self) -> float: ...
    @property
    def values(self) -> list[int]: ...
    @property
    def tag(self) -> int: ...

class Aggregator:
    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        table: Table = ...,
        quorum: int = 0,
        quorum_timeout_ms: int = 50,
        norm_timeout_ms: int = -1,
    ) -> None: ...
    @property
    def endpoint(self) -> str: ...
    def stats(self) -> dict[str, int]: ...

class Worker:
    def __init__(
        self,
        aggregator: str,
        rank: int,
        workers: int,
        *,
        job: int = 1,
        run: int = 0,
        table: Table = ...,
        block_log2: int = 15,
        seed: int = 1,
        measure: bool = False,
        window: int = 64,
        reminder_ms: int = 20,
        timeout_ms: int = 10000,
        faults: Mapping[str, Any] = ...,
    ) -> None: ...
    @property
    def round(self) -> int: ...
    def all_reduce_mean(
        self, tensor: NDArray[np.float32], error: NDArray[np.float32] | None = None
    ) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def save_state(self) -> bytes: ...
    def load_state(self, state: bytes) -> None: ...

class Codec:
    def __init__(self, table: Table = ..., block_log2: int = 15, seed: int = 1) -> None: ...
    def add(
        self, x: NDArray[np.float32], e: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]: ...
    def blocks(self, coordinates: int) -> int: ...
    def norms(self, y: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def compress(
        self, y: NDArray[np.float32], norms: NDArray[np.float32], round: int, worker: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]: ...
    def aggregate(
        self, packed: NDArray[np.uint8], sums: NDArray[np.uint16], overwrite: bool
    ) -> None: ...
    def decompress(
        self,
        sums: NDArray[np.uint16],
        contributors: int,
        norms: NDArray[np.float32],
        round: int,
    ) -> NDArray[np.float32]: ...
