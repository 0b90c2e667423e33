# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""A communication hook of torch.distributed's DistributedDataParallel."""

import concurrent.futures
import logging
import random

import numpy as np
import torch
import torch.distributed as dist

from ._core import MAX_WORKERS, Codec, Table, ThcError, Worker

log = logging.getLogger("kestrel_thc")

STATE_VERSION = 1


class _GroupTransport:
    """Sums over torch's own process group: nothing to set up.

    Norms: all_reduce(MAX). Indices: every rank is the aggregator of one share of the packets; it gets
    the others' indices of its share (4 bits a coordinate), adds table values and gives the sums to
    all (8 bits, 16 where they need them). Nothing is decompressed on the way.
    """

    def __init__(self, group, table, block_log2, seed):
        self.group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        self.codec = Codec(table, block_log2, seed)
        self.wide = self.size * table.granularity > 255
        if self.size * table.granularity > 65535:
            raise ValueError(
                f"{self.size} workers times granularity {table.granularity} exceed 16-bit sums"
            )
        self.config = torch.tensor([table.tag, block_log2, seed & (2**62 - 1)], dtype=torch.int64)
        self.round = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.checked = False

    def _check(self):
        """All ranks must compress alike; seen once, before the first tensor."""
        everyone = [torch.empty_like(self.config) for _ in range(self.size)]
        dist.all_gather(everyone, self.config, group=self.group)
        for rank, other in enumerate(everyone):
            if not torch.equal(other, everyone[0]):
                raise ThcError(
                    f"version_mismatch: rank {rank} has another table, block size or seed than rank 0"
                )
        self.checked = True

    def all_reduce_mean(self, x, error):
        if not self.checked:
            self._check()
        codec, n = self.codec, self.size
        # A rank whose gradient is not finite must not leave the others waiting: it says so.
        refused = None
        try:
            y = codec.add(x, error)
            norms = codec.norms(y)
        except ThcError as problem:
            refused = problem
            norms = np.full(codec.blocks(len(x)), np.inf, np.float32)
        norms = torch.from_numpy(norms)
        dist.all_reduce(norms, op=dist.ReduceOp.MAX, group=self.group)
        norms = norms.numpy()
        if refused is not None:
            raise refused
        if not np.isfinite(norms).all():
            raise ThcError("invalid_argument: the gradient of another rank is not finite")
        packed, new_error = codec.compress(y, norms, self.round, self.rank)

        # Shares of whole packets (512 bytes of indices), equal for all: padded at the end.
        packets = len(packed) // 512
        share = -(-packets // n) * 512
        out = np.zeros(n * share, np.uint8)
        out[: len(packed)] = packed
        theirs = torch.empty(n * share, dtype=torch.uint8)
        dist.all_to_all_single(theirs, torch.from_numpy(out), group=self.group)
        theirs = theirs.numpy()
        sums = np.zeros(2 * share, np.uint16)
        for w in range(n):
            codec.aggregate(theirs[w * share : (w + 1) * share], sums, overwrite=w == 0)
        mine = sums.view(np.uint8) if self.wide else sums.astype(np.uint8)
        gathered = [torch.empty(len(mine), dtype=torch.uint8) for _ in range(n)]
        dist.all_gather(gathered, torch.from_numpy(mine), group=self.group)
        every = torch.cat(gathered).numpy()
        every = every.view(np.uint16) if self.wide else every.astype(np.uint16)

        mean = codec.decompress(every[: 2 * len(packed)], n, norms, self.round)
        self.round += 1
        moved = (n - 1) * (share + len(mine)) + 4 * len(norms)
        self.bytes_up += moved
        self.bytes_down += moved
        x[:] = mean[: len(x)]
        error[:] = new_error[: len(x)]

    def traffic(self):
        return self.bytes_up, self.bytes_down

    def save_state(self):
        return self.round

    def load_state(self, state):
        self.round = int(state)


class _UdpTransport:
    """A worker of the C++ library over a UDP aggregator."""

    def __init__(self, aggregator, group, table, block_log2, seed, job, options):
        rank, size = dist.get_rank(group), dist.get_world_size(group)
        if job is None:
            # A number of its own for each run, so that an aggregator that still remembers an earlier
            # one does not answer with its results.
            number = torch.tensor([random.SystemRandom().randint(1, 65535)])
            dist.broadcast(number, dist.get_global_rank(group, 0) if group else 0, group=group)
            job = int(number)
        self.worker = Worker(
            aggregator,
            rank,
            size,
            job=job,
            table=table,
            block_log2=block_log2,
            seed=seed,
            **options,
        )

    def all_reduce_mean(self, x, error):
        self.worker.all_reduce_mean(x, error)

    def traffic(self):
        """Bytes of packets with their Ethernet, IPv4 and UDP headers (42)."""
        stats = self.worker.stats()
        return (
            stats["bytes_up"] + 42 * stats["packets_up"],
            stats["bytes_down"] + 42 * stats["packets_down"],
        )

    def save_state(self):
        return self.worker.save_state()

    def load_state(self, state):
        self.worker.load_state(state)


class ThcState:
    """What thc_hook keeps from one iteration to the next, on one rank.

    model            the model, wrapped in DistributedDataParallel or not: error feedback is kept by
                     the names of its parameters, so it survives DDP rebuilding its buckets
    process_group    None: the default group
    aggregator       None: sums go over the process group. "host:port": a UDP aggregator
                     (`kestrel aggregator`), which also serves lossy networks and stragglers
    table, block_log2, seed   the compression, equal on all ranks
    error_feedback   off only for experiments
    warmup_rounds    iterations at the beginning that are exchanged uncompressed
    log_every        iterations between lines of the logger "kestrel_thc" on rank 0; 0: none
    measure_every    iterations between measurements of the normalised mean square error; each costs
                     one uncompressed exchange; 0: none
    job, options     number of the job at the aggregator (None: chosen by rank 0); other arguments of
                     Worker: window, reminder_ms, timeout_ms, faults
    """

    def __init__(
        self,
        model,
        process_group=None,
        *,
        aggregator=None,
        table=None,
        block_log2=15,
        seed=1,
        error_feedback=True,
        warmup_rounds=0,
        log_every=0,
        measure_every=0,
        job=None,
        **options,
    ):
        self.group = process_group
        self.size = dist.get_world_size(process_group)
        self.rank = dist.get_rank(process_group)
        if self.size > MAX_WORKERS:
            raise ValueError(f"{self.size} workers: at most {MAX_WORKERS} are supported")
        table = table if table is not None else Table()
        if aggregator is None and options:
            raise TypeError(f"{', '.join(options)}: only with an aggregator")
        if aggregator is None:
            self.transport = _GroupTransport(process_group, table, block_log2, seed)
        else:
            self.transport = _UdpTransport(
                aggregator, process_group, table, block_log2, seed, job, options
            )
        self.error_feedback = error_feedback
        self.warmup_rounds = warmup_rounds
        self.log_every = log_every
        self.measure_every = measure_every
        self.iteration = 0
        self.names = {}
        for name, parameter in model.named_parameters():
            self.names[id(parameter)] = name.removeprefix("module.")
        self.parameters = list(model.parameters())  # keeps the ids alive
        self.errors = {}  # parameter name -> float32 of one dimension
        self.plain_bytes = 0  # what the compressed tensors would have been, one way
        self.warmup_bytes = 0  # exchanged uncompressed
        self.nmse = None
        # One thread, so that buckets are exchanged in the same order on all ranks; the backward pass
        # goes on meanwhile.
        self.pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="kestrel_thc")

    def stats(self):
        """Counts since the beginning. Bytes are this rank's, of compressed iterations."""
        up, down = self.transport.traffic()
        result = {
            "iterations": self.iteration,
            "bytes_up": up,
            "bytes_down": down,
            "uncompressed_bytes": self.plain_bytes,
            "saved_up": 1 - up / self.plain_bytes if self.plain_bytes else 0.0,
            "warmup_bytes": self.warmup_bytes,
            "nmse": self.nmse,
        }
        if isinstance(self.transport, _UdpTransport):
            result["worker"] = self.transport.worker.stats()
        return result

    def state_dict(self):
        """For a checkpoint of this rank: error feedback is each rank's own."""
        return {
            "version": STATE_VERSION,
            "rank": self.rank,
            "workers": self.size,
            "iteration": self.iteration,
            "transport": self.transport.save_state(),
            "errors": {name: torch.from_numpy(e.copy()) for name, e in self.errors.items()},
        }

    def load_state_dict(self, state):
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"state of version {state.get('version')}, this is {STATE_VERSION}")
        if (state["rank"], state["workers"]) != (self.rank, self.size):
            raise ValueError(
                f"state of rank {state['rank']} of {state['workers']}, "
                f"this is rank {self.rank} of {self.size}"
            )
        sizes = {self.names[id(p)]: p.numel() for p in self.parameters}
        for name, error in state["errors"].items():
            if sizes.get(name) != error.numel():
                raise ValueError(
                    f"state has {error.numel()} coordinates of parameter '{name}', "
                    f"the model {sizes.get(name, 'none')}"
                )
        self.transport.load_state(state["transport"])
        self.iteration = state["iteration"]
        self.errors = {name: e.numpy().copy() for name, e in state["errors"].items()}

    # --- used by thc_hook ---

    def _gather(self, parameters):
        parts = []
        for name, size in parameters:
            error = self.errors.get(name)
            parts.append(error if error is not None else np.zeros(size, np.float32))
        return np.concatenate(parts)

    def _scatter(self, parameters, error):
        at = 0
        for name, size in parameters:
            self.errors[name] = error[at : at + size].copy()
            at += size

    def _exchange(self, buffer, parameters, measure):
        x = buffer.detach().cpu().numpy()  # the same memory where the buffer is on the CPU
        if self.error_feedback:
            error = self._gather(parameters)
        else:
            error = np.zeros(x.shape, np.float32)
        truth = None
        if measure:
            truth = torch.from_numpy(x + error)
            dist.all_reduce(truth, group=self.group)
            truth = truth.numpy() / self.size
        self.plain_bytes += 4 * len(x)
        self.transport.all_reduce_mean(x, error)
        if self.error_feedback:
            self._scatter(parameters, error)
        if truth is not None:
            energy = float(np.dot(truth, truth))
            difference = x - truth
            self.nmse = float(np.dot(difference, difference)) / energy if energy > 0 else 0.0
        if buffer.device.type != "cpu":
            buffer.copy_(torch.from_numpy(x))
        return buffer

    def _end_of_iteration(self):
        self.iteration += 1
        if self.log_every and self.rank == 0 and self.iteration % self.log_every == 0:
            s = self.stats()
            nmse = "" if s["nmse"] is None else f", NMSE {s['nmse']:.4f}"
            log.info(
                "iteration %d: %.1f MB up, %.1f MB down, %.1f %% of the bytes up saved%s",
                s["iterations"],
                s["bytes_up"] / 1e6,
                s["bytes_down"] / 1e6,
                100 * s["saved_up"],
                nmse,
            )


def thc_hook(state, bucket):
    """The hook: `model.register_comm_hook(ThcState(model), thc_hook)`."""
    buffer = bucket.buffer()
    if buffer.dtype != torch.float32:
        raise TypeError(f"gradients of type {buffer.dtype}: THC compresses float32")
    last = bucket.is_last()
    if state.iteration < state.warmup_rounds:
        state.warmup_bytes += 4 * buffer.numel()
        buffer.div_(state.size)
        future = dist.all_reduce(buffer, group=state.group, async_op=True).get_future()
        if last:
            state._end_of_iteration()
        return future.then(lambda f: f.value()[0])

    parameters = [(state.names[id(p)], p.numel()) for p in bucket.parameters()]
    measure = state.measure_every > 0 and state.iteration % state.measure_every == 0
    future = torch.futures.Future()

    def run():
        try:
            result = state._exchange(buffer, parameters, measure)
            if last:
                state._end_of_iteration()
            future.set_result(result)
        except Exception as error:  # becomes the error of backward()
            future.set_exception(error)

    state.pool.submit(run)
    return future
