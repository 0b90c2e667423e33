# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""A communication hook of torch.distributed's DistributedDataParallel."""

import atexit
import concurrent.futures
import logging
import random
import weakref

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ._core import MAX_WORKERS, Codec, Table, ThcError, Worker

log = logging.getLogger("kestrel_thc")

STATE_VERSION = 2
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


_states = weakref.WeakSet()  # those that made the group of their exchange


@atexit.register
def _end():
    """Ends the threads of these groups while there is an interpreter.

    A script need not call destroy_process_group(). A thread of gloo may still hold a tensor of the last
    exchange then, and to let go of it takes the interpreter: were that gone, the process would abort.
    """
    for state in list(_states):
        state._drop_own_group()


class _NotFinite(ThcError):
    """Some rank's tensor cannot be compressed, and all ranks know it."""


def _timeout_of(group):
    """The time limit of a process group; None where this PyTorch does not tell."""
    backend = group if group is not None else dist.distributed_c10d._get_default_group()
    try:
        if hasattr(backend, "_get_backend"):
            backend = backend._get_backend(torch.device("cpu"))
        return backend.options._timeout
    except (AttributeError, RuntimeError):  # e.g. a group without a backend for the CPU
        return None


def _own_group(group):
    """A new gloo group of the ranks of `group`, made by all of them at once.

    The exchange runs on a thread of its own. On DDP's group its operations would come between those of
    DDP and of the model, in an order that differs from rank to rank.
    """
    size, world = dist.get_world_size(group), dist.get_world_size()
    if size != world:
        # The other processes of the world do not take part in this call. new_group has an option for that,
        # but it counts groups on those that call it only: the next group which all make gets another name
        # here than there, and its members wait for each other in vain.
        raise ValueError(
            f"the process group has {size} of {world} ranks: have all {world} call "
            "torch.distributed.new_group(ranks, backend='gloo') and pass the group as exchange_group"
        )
    timeout = _timeout_of(group)
    return dist.new_group(backend="gloo", **({} if timeout is None else {"timeout": timeout}))


def _checked_group(group, exchange_group):
    """`exchange_group`, if it is what the exchange needs."""
    if exchange_group is group or exchange_group is dist.distributed_c10d._get_default_group():
        raise ValueError("exchange_group must be a group that nothing else uses")
    if dist.get_backend(exchange_group) != "gloo":
        raise ValueError(
            f"exchange_group is of backend '{dist.get_backend(exchange_group)}': gloo is needed"
        )
    ours = (dist.get_rank(group), dist.get_world_size(group))
    theirs = (dist.get_rank(exchange_group), dist.get_world_size(exchange_group))
    if ours != theirs:
        raise ValueError(
            f"exchange_group: rank {theirs[0]} of {theirs[1]}, "
            f"in the process group rank {ours[0]} of {ours[1]}"
        )
    return exchange_group


def _named_parameters(model):
    """Parameters by their names in the model itself, without DDP and torch.compile around it."""
    while True:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):
            model = model._orig_mod
        else:
            return model, list(model.named_parameters())


def _check_model(model, parameters, float64):
    """Refuses what the exchange would have to refuse later."""
    if float64 not in ("convert", "refuse"):
        raise ValueError(f"float64={float64!r}: 'convert' or 'refuse'")
    for name, parameter in parameters:
        if parameter.requires_grad and parameter.dtype not in DTYPES:
            raise TypeError(f"parameter '{name}' is {parameter.dtype}: THC takes real floating point")
        if parameter.requires_grad and parameter.dtype == torch.float64:
            if float64 == "refuse":
                raise TypeError(f"parameter '{name}' is torch.float64: THC compresses float32")
            log.warning(
                "parameter '%s' is torch.float64: its gradient is rounded to float32 to be compressed",
                name,
            )
            float64 = "convert"
    for path, module in model.named_modules():
        kinds = (torch.nn.Embedding, torch.nn.EmbeddingBag)
        if isinstance(module, kinds) and module.sparse and module.weight.requires_grad:
            name = f"{path}.weight" if path else "weight"
            raise TypeError(
                f"the gradient of parameter '{name}' is sparse: THC compresses dense ones "
                f"(make the {type(module).__name__} with sparse=False)"
            )


class _Cuda:
    """What the staging needs of torch.cuda; the tests have a device of their own in its place."""

    @staticmethod
    def pinned(size, dtype):
        return torch.empty(size, dtype=dtype, pin_memory=True)

    @staticmethod
    def ready(device):
        """An event after all that the calling thread has asked of the device."""
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        return event

    @staticmethod
    def stream(device):
        return torch.cuda.Stream(device)

    @staticmethod
    def on(stream):
        return torch.cuda.stream(stream)

    @staticmethod
    def future(device):
        return torch.futures.Future(devices=[device])


class _Staging:
    """Takes buckets from a CUDA device to pinned host memory and back, on a stream of its own.

    Both ways end before the call does: the pinned memory serves the next bucket, and who waits for the
    bucket's future needs no further event.
    """

    def __init__(self, device):
        self.device = device
        self.stream = _Cuda.stream(device)
        self.pinned = {}  # dtype -> host memory, as large as the largest bucket so far

    def fetch(self, buffer, ready):
        host = self.pinned.get(buffer.dtype)
        if host is None or host.numel() < buffer.numel():
            host = self.pinned[buffer.dtype] = _Cuda.pinned(buffer.numel(), buffer.dtype)
        host = host[: buffer.numel()]
        with _Cuda.on(self.stream):
            self.stream.wait_event(ready)
            host.copy_(buffer, non_blocking=True)
        self.stream.synchronize()
        return host

    def store(self, buffer, values):
        host = self.pinned[buffer.dtype][: buffer.numel()]
        host.copy_(values)
        with _Cuda.on(self.stream):
            buffer.copy_(host, non_blocking=True)
        self.stream.synchronize()

    def fill(self, buffer, value):
        with _Cuda.on(self.stream):
            buffer.fill_(value)
        self.stream.synchronize()


class _GroupTransport:
    """Sums over a process group: nothing to set up.

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
        # Tensors of the last exchange. gloo's threads let go of them a little after it; were theirs the
        # last reference, they would need the interpreter, which may be ending: the process would abort.
        self.kept = ()

    def _check(self):
        """All ranks must compress alike; seen once, before the first tensor."""
        everyone = [torch.empty_like(self.config) for _ in range(self.size)]
        dist.all_gather(everyone, self.config, group=self.group)
        self.kept = (everyone,)
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
        largest = torch.from_numpy(norms)
        self.kept += (largest,)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=self.group)
        norms = largest.numpy()
        if refused is not None:
            raise _NotFinite(str(refused))
        if not np.isfinite(norms).all():
            raise _NotFinite("invalid_argument: the gradient of another rank is not finite")
        packed, new_error = codec.compress(y, norms, self.round, self.rank)

        # Shares of whole packets (512 bytes of indices), equal for all: padded at the end.
        packets = len(packed) // 512
        share = -(-packets // n) * 512
        out = np.zeros(n * share, np.uint8)
        out[: len(packed)] = packed
        ours = torch.from_numpy(out)
        received = torch.empty(n * share, dtype=torch.uint8)
        dist.all_to_all_single(received, ours, group=self.group)
        theirs = received.numpy()
        sums = np.zeros(2 * share, np.uint16)
        for w in range(n):
            codec.aggregate(theirs[w * share : (w + 1) * share], sums, overwrite=w == 0)
        mine = sums.view(np.uint8) if self.wide else sums.astype(np.uint8)
        sent = torch.from_numpy(mine)
        gathered = [torch.empty(len(mine), dtype=torch.uint8) for _ in range(n)]
        dist.all_gather(gathered, sent, group=self.group)
        self.kept = (largest, ours, received, sent, gathered)
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

    def __init__(self, aggregator, group, table, block_log2, seed, job, agree, options):
        rank, size = dist.get_rank(group), dist.get_world_size(group)
        # With an agreement on tensors that are not finite: what would refuse one.
        self.group = group
        self.codec = Codec(table, block_log2, seed) if agree else None
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
        if self.codec is not None:
            # The aggregator knows nothing of tensors that are not sent, so the ranks ask each other.
            refused = torch.zeros(1, dtype=torch.uint8)
            try:
                self.codec.norms(self.codec.add(x, error))
            except ThcError:
                refused[0] = 1
            dist.all_reduce(refused, op=dist.ReduceOp.MAX, group=self.group)
            if refused[0]:
                raise _NotFinite("invalid_argument: the gradient of some rank is not finite")
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
    process_group    of the model's DistributedDataParallel; None: the default group
    aggregator       None: sums go over torch.distributed. "host:port": a UDP aggregator
                     (`kestrel aggregator`), which also serves lossy networks and stragglers
    table, block_log2, seed   the compression, equal on all ranks
    error_feedback   off only for experiments
    warmup_rounds    iterations at the beginning that are exchanged uncompressed
    log_every        iterations between lines of the logger "kestrel_thc" on rank 0; 0: none
    measure_every    iterations between measurements of the normalised mean square error; each costs
                     one uncompressed exchange; 0: none
    nonfinite        what becomes of NaN and infinity. "raise": an error of backward(). "pass": a bucket in
                     which some rank has one goes uncompressed on all ranks, as DDP would sum it, and
                     error feedback stays as it is: for a loss scaler (GradScaler), which sees the same
                     on all ranks
    float64          float64 gradients are rounded to float32, with a warning in the log: "convert"; or
                     their model is refused here: "refuse"
    exchange_group   a gloo group of the same ranks that nothing else uses; None: one is made, so all
                     ranks must make their ThcState at the same point. A process group of only some of
                     the ranks needs one
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
        nonfinite="raise",
        float64="convert",
        exchange_group=None,
        job=None,
        **options,
    ):
        self.group = process_group
        self.size = dist.get_world_size(process_group)
        self.rank = dist.get_rank(process_group)
        if self.size > MAX_WORKERS:
            raise ValueError(f"{self.size} workers: at most {MAX_WORKERS} are supported")
        if nonfinite not in ("raise", "pass"):
            raise ValueError(f"nonfinite={nonfinite!r}: 'raise' or 'pass'")
        table = table if table is not None else Table()
        if aggregator is None and options:
            raise TypeError(f"{', '.join(options)}: only with an aggregator")
        model, named = _named_parameters(model)
        _check_model(model, named, float64)
        if exchange_group is None:
            self.own_group = _own_group(process_group)
        else:
            self.own_group = _checked_group(process_group, exchange_group)
        if aggregator is None:
            self.transport = _GroupTransport(self.own_group, table, block_log2, seed)
        else:
            agree = nonfinite == "pass"
            self.transport = _UdpTransport(
                aggregator, self.own_group, table, block_log2, seed, job, agree, options
            )
        self.nonfinite = nonfinite
        self.error_feedback = error_feedback
        self.warmup_rounds = warmup_rounds
        self.log_every = log_every
        self.measure_every = measure_every
        self.iteration = 0
        self.names = {id(parameter): name for name, parameter in named}
        self.parameters = [parameter for _, parameter in named]  # keeps the ids alive
        self.errors = {}  # parameter name -> float32 of one dimension
        self.plain_bytes = 0  # what the compressed tensors would have been, one way
        self.warmup_bytes = 0  # exchanged uncompressed
        self.passed = 0  # buckets that were not finite and went uncompressed
        self.nmse = None
        self.staging = {}  # device -> _Staging
        # One thread, so that buckets are exchanged in the same order on all ranks; the backward pass
        # goes on meanwhile.
        self.pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="kestrel_thc")
        if exchange_group is None:
            _states.add(self)

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
            "passed_buckets": self.passed,
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
        version = state.get("version")
        if version not in (1, STATE_VERSION):
            raise ValueError(f"state of version {version}, this is {STATE_VERSION}")
        if (state["rank"], state["workers"]) != (self.rank, self.size):
            raise ValueError(
                f"state of rank {state['rank']} of {state['workers']}, "
                f"this is rank {self.rank} of {self.size}"
            )
        sizes = {self.names[id(p)]: p.numel() for p in self.parameters}
        errors = state["errors"]
        if version == 1:
            errors = self._with_whole_names(errors, sizes)
        for name, error in errors.items():
            if sizes.get(name) != error.numel():
                raise ValueError(
                    f"state has {error.numel()} coordinates of parameter '{name}', "
                    f"the model {sizes.get(name, 'none')}"
                )
        self.transport.load_state(state["transport"])
        self.iteration = state["iteration"]
        self.errors = {name: e.numpy().copy() for name, e in errors.items()}

    @staticmethod
    def _with_whole_names(errors, names):
        """Version 1 took "module." from the beginning of every name."""
        whole = {}
        for name in names:
            whole.setdefault(name.removeprefix("module."), []).append(name)
        for name in errors:
            if len(whole.get(name, ())) > 1:
                raise ValueError(
                    "state of version 1 has one error feedback for the parameters "
                    + " and ".join(f"'{n}'" for n in whole[name])
                    + ": begin without it"
                )
        return {whole[name][0] if name in whole else name: e for name, e in errors.items()}

    # --- used by thc_hook and at the end of the process ---

    def _drop_own_group(self):
        """Nothing can be exchanged any more. With the last reference gloo's threads end."""
        self.pool.shutdown()
        group, self.own_group, self.transport.group = self.own_group, None, None
        if group in dist.distributed_c10d._pg_map:  # not destroyed already
            dist.destroy_process_group(group)

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

    def _exchange(self, buffer, ready, parameters, measure):
        """Replaces the bucket by the mean over the ranks."""
        host = buffer.detach()
        if ready is not None:
            host = self._staging_of(buffer).fetch(buffer, ready)
        values = host.float()  # the same memory where it is float32 already
        x = values.numpy()
        if self.error_feedback:
            error = self._gather(parameters)
        else:
            error = np.zeros(x.shape, np.float32)
        truth = None
        if measure:
            truth = torch.from_numpy(x + error)
            dist.all_reduce(truth, group=self.own_group)
            truth = truth.numpy() / self.size
        self.plain_bytes += buffer.element_size() * len(x)
        try:
            self.transport.all_reduce_mean(x, error)
        except _NotFinite as problem:
            if self.nonfinite == "raise":
                raise ThcError(str(problem)) from None
            truth = None
            self.passed += 1
            dist.all_reduce(values, group=self.own_group)
            values /= self.size
        else:
            if self.error_feedback:
                self._scatter(parameters, error)
        if truth is not None:
            energy = float(np.dot(truth, truth))
            difference = x - truth
            self.nmse = float(np.dot(difference, difference)) / energy if energy > 0 else 0.0
        if ready is not None:
            self._staging_of(buffer).store(buffer, values)
        elif values.data_ptr() != buffer.data_ptr():
            buffer.copy_(values)

    def _staging_of(self, buffer):
        if buffer.device not in self.staging:
            self.staging[buffer.device] = _Staging(buffer.device)
        return self.staging[buffer.device]

    def _parameters_of(self, bucket):
        """(name, size) of each; refuses what cannot be compressed by name."""
        buffer, result = bucket.buffer(), []
        for parameter in bucket.parameters():
            name = self.names.get(id(parameter))
            if name is None:
                raise ValueError(
                    f"a parameter of shape {tuple(parameter.shape)} is not in the model that "
                    "ThcState was made with"
                )
            result.append((name, parameter.numel()))
        names = ", ".join(f"'{name}'" for name, _ in result)
        if buffer.layout != torch.strided:
            raise TypeError(f"the gradient of parameter {names} is sparse: THC compresses dense ones")
        if buffer.dtype not in DTYPES:
            raise TypeError(f"gradients of {names} are {buffer.dtype}: THC takes real floating point")
        if buffer.device.type not in ("cpu", "cuda"):
            raise TypeError(f"gradients of {names} are on '{buffer.device}': THC takes CPU and CUDA")
        return result

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


def _raise_after_backward(outcome):
    """Has backward() raise what the list `outcome` holds then. False outside of backward()."""

    def finish():
        if outcome:
            error, outcome[:] = outcome[0], []
            raise error.with_traceback(None)

    engine = torch.autograd.Variable._execution_engine
    try:
        # Callbacks run in their order once backward() has nothing else to do. DDP's own, which waits for
        # all buckets, is not queued yet; what the first one queues comes behind it. So DDP is done with
        # the iteration, and the caller gets the error itself, not PyTorch's report of one.
        engine.queue_callback(lambda: engine.queue_callback(finish))
    except RuntimeError:
        return False
    return True


def thc_hook(state, bucket):
    """The hook: `model.register_comm_hook(ThcState(model), thc_hook)`."""
    buffer, last = bucket.buffer(), bucket.is_last()
    outcome = []  # the error, if there is one
    deferred = _raise_after_backward(outcome)
    cuda = buffer.device.type == "cuda"
    future = _Cuda.future(buffer.device) if cuda else torch.futures.Future()

    def fail(error):
        if not deferred:
            future.set_exception(error)
            return
        outcome.append(error)
        # NaN, so that nobody mistakes what is there for gradients.
        if cuda and buffer.layout == torch.strided:
            state._staging_of(buffer).fill(buffer, float("nan"))
        elif buffer.layout == torch.strided:
            buffer.fill_(float("nan"))
        future.set_result(buffer)

    try:
        parameters = state._parameters_of(bucket)
    except (TypeError, ValueError) as error:
        fail(error)
        return future
    if state.iteration < state.warmup_rounds:
        state.warmup_bytes += buffer.element_size() * buffer.numel()
        buffer.div_(state.size)
        work = dist.all_reduce(buffer, group=state.group, async_op=True).get_future()
        if last:
            state._end_of_iteration()
        return work.then(lambda f: f.value()[0])

    measure = state.measure_every > 0 and state.iteration % state.measure_every == 0
    ready = _Cuda.ready(buffer.device) if cuda else None

    def run():
        try:
            state._exchange(buffer, ready, parameters, measure)
            if last:
                state._end_of_iteration()
        except ThcError as error:
            fail(error)
        except RuntimeError as error:  # of torch.distributed
            reason = str(error).strip().splitlines() or ["no reason given"]
            fail(ThcError(f"unavailable: the exchange with the other ranks failed: {reason[0]}"))
        except Exception as error:
            fail(error)
        else:
            future.set_result(buffer)

    state.pool.submit(run)
    return future
