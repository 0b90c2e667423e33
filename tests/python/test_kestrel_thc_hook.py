#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""The hook of kestrel_thc in real DistributedDataParallel processes.

Each case runs in processes of its own with a time limit; it asserts, so that a failure ends its process.
"""

import contextlib
import datetime
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import kestrel_thc
from kestrel_thc import Aggregator, ThcError, ThcState, thc_hook

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TORCH = tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", torch.__version__).groups())


def hooked(model, **options):
    """(model in DDP, its ThcState)"""
    ddp = {k: options.pop(k) for k in ("find_unused_parameters", "bucket_cap_mb") if k in options}
    model = DistributedDataParallel(model, **ddp)
    state = ThcState(model, **options)
    model.register_comm_hook(state, thc_hook)
    return model, state


def everyones(tensor):
    result = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(result, tensor.contiguous())
    return result


def same_on_all(tensor):
    """Bit for bit, NaN included."""
    tensor = tensor.contiguous().view(torch.uint8)
    return all(torch.equal(tensor, other) for other in everyones(tensor))


@contextlib.contextmanager
def refusal(kind, pattern):
    """What is expected to be raised: exactly this kind, one line."""
    try:
        yield
    except Exception as error:
        assert type(error) is kind, repr(error)
        assert re.search(pattern, str(error)), str(error)
        assert "\n" not in str(error), str(error)
    else:
        raise AssertionError(f"'{pattern}' was not raised")


def distance(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm())


def case_training(rank, size, folder, aggregator):
    """Trains a small model in several ways."""
    data = torch.Generator().manual_seed(100 + rank)

    def train(steps, state_from=None, start=0, model_from=None, **options):
        torch.manual_seed(1)
        net = torch.nn.Sequential(
            torch.nn.Linear(20, 300), torch.nn.ReLU(), torch.nn.Linear(300, 5)
        )
        if model_from is not None:
            net.load_state_dict(model_from)
        # Small buckets, so that there are several and DDP rebuilds them after the first iteration.
        model = DistributedDataParallel(net, bucket_cap_mb=0.01)
        state = None
        if options.pop("compressed", True):
            state = kestrel_thc.ThcState(model, **options)
            if state_from is not None:
                state.load_state_dict(state_from)
            model.register_comm_hook(state, kestrel_thc.thc_hook)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        data.manual_seed(100 + rank)
        for step in range(start + steps):
            x = torch.randn(16, 20, generator=data)
            y = torch.randint(5, (16,), generator=data)
            if step < start:
                continue
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return net, state

    def weights(net):
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    def assert_replicas_equal(net):
        mine = weights(net)
        others = [torch.empty_like(mine) for _ in range(size)]
        dist.all_gather(others, mine)
        for other in others:
            assert torch.equal(other, mine), "replicas differ"

    exact, _ = train(8, compressed=False)
    start, _ = train(0, compressed=False)
    way = (weights(exact) - weights(start)).norm()

    for where in (None, aggregator):
        net, state = train(8, aggregator=where, measure_every=4)
        assert_replicas_equal(net)
        # The compressed run arrives near the exact one, compared with the way that both went.
        distance = (weights(net) - weights(exact)).norm() / way
        assert distance < 0.2, distance
        stats = state.stats()
        assert stats["iterations"] == 8
        coordinates = sum(p.numel() for p in net.parameters())
        assert stats["uncompressed_bytes"] == 8 * 4 * coordinates, stats
        assert 0.001 < stats["nmse"] < 0.05, stats
        assert sorted(state.errors) == ["0.bias", "0.weight", "2.bias", "2.weight"]
        assert state.errors["0.weight"].any()

        # All of the iterations uncompressed: exactly the plain run.
        net, state = train(8, aggregator=where, warmup_rounds=8)
        assert torch.equal(weights(net), weights(exact))
        assert state.stats()["bytes_up"] == 0 and state.stats()["warmup_bytes"] > 0

        # A checkpoint in the middle changes nothing.
        whole, _ = train(6, aggregator=where)
        half, state = train(3, aggregator=where)
        path = os.path.join(folder, f"{rank}.pt")
        torch.save({"model": half.state_dict(), "thc": state.state_dict()}, path)
        saved = torch.load(path)
        resumed, state = train(
            3, saved["thc"], 3, saved["model"], aggregator=where
        )
        # DDP begins again with its first buckets, so noise differs; the error feedback is there.
        assert (weights(resumed) - weights(whole)).norm() < 0.1 * way
        assert state.iteration == 6
        for broken in ({"version": 99}, {"rank": 5}, {"errors": {"x": torch.zeros(3)}}):
            try:
                state.load_state_dict({**saved["thc"], **broken})
            except ValueError:
                pass
            else:
                raise AssertionError(f"{broken} was accepted")


def case_not_finite(rank, size, folder, aggregator):
    """A gradient that is not finite on one rank is an error on all, at once, and DDP goes on after it."""
    for bad_rank in range(2):
        model, _ = hooked(torch.nn.Linear(3, 1))
        x = torch.full((1, 3), float("nan") if rank == bad_rank else 1.0)
        wanted = "coordinate [01] of the tensor is nan" if rank == bad_rank else "another rank is not"
        for _ in range(2):
            model.zero_grad()
            with refusal(ThcError, f"^invalid_argument: .*{wanted}"):
                model(x).sum().backward()
            assert all(p.grad.isnan().all() for p in model.parameters())
        model.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        assert distance(model.module.weight.grad, torch.ones(1, 3)) < 0.2


def case_not_finite_passes(rank, size, folder, aggregator):
    """nonfinite="pass": what plain DDP would give, the same on all ranks, and nothing is lost."""
    for where in (None, aggregator):
        net = torch.nn.Linear(2000, 1, bias=False)
        model, state = hooked(net, nonfinite="pass", aggregator=where)

        def gradient(x):
            model.zero_grad()
            model(x).sum().backward()
            assert same_on_all(net.weight.grad)
            return net.weight.grad.flatten().clone()

        x = torch.arange(1.0, 2001).repeat(1, 1) * (rank + 1)
        gradient(x)
        kept = state.errors["weight"].copy()
        assert kept.any()
        for bad, bad_rank in ((float("nan"), 0), (float("inf"), 1), (3e38, 0)):
            spoilt = x.clone()
            spoilt[0, 5] = bad if rank == bad_rank else 7.0
            spoilt[0, 6] = bad
            got = gradient(spoilt)
            plain = [torch.zeros_like(spoilt) for _ in range(size)]
            dist.all_gather(plain, spoilt)
            plain = (sum(plain) / size).flatten()
            assert not torch.isfinite(plain[6])
            assert torch.equal(torch.isfinite(got), torch.isfinite(plain)), (bad, got, plain)
            assert torch.allclose(got[7:], plain[7:])
            np.testing.assert_array_equal(state.errors["weight"], kept)
        assert state.stats()["passed_buckets"] == 3, state.stats()
        assert distance(gradient(x), torch.arange(1.0, 2001) * (size + 1) / 2) < 0.3
        assert state.stats()["passed_buckets"] == 3
    with refusal(ValueError, "nonfinite='ignore'"):
        ThcState(net, nonfinite="ignore")

    # A loss scaler: all ranks leave out the same step and take the same scale.
    if TORCH < (2, 3):
        return
    net = torch.nn.Linear(20, 1)
    model, _ = hooked(net, nonfinite="pass")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(4):
        before = net.weight.detach().clone()
        optimizer.zero_grad()
        x = torch.ones(1, 20) * (float("inf") if step == 2 and rank == 1 else 1.0)
        scaler.scale(model(x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(net.weight.detach(), before) == (step == 2), step
        assert same_on_all(net.weight.detach())
    assert scaler.get_scale() == 512.0


class MeanOverRanks(torch.autograd.Function):
    """A collective of the model's own, forward and backward, on the default group."""

    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x)
        return x / dist.get_world_size()

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient / dist.get_world_size()


def case_collectives_beside(rank, size, folder, aggregator):
    """DDP and the model use DDP's group while the hook's thread exchanges."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(100, 100) for _ in range(6))
            self.unused = torch.nn.Linear(100, 100)

        def forward(self, x):
            for layer in self.layers:
                x = MeanOverRanks.apply(torch.relu(layer(x)))
            return x

    def total(compressed):
        torch.manual_seed(3)
        net = Net()
        model = DistributedDataParallel(net, bucket_cap_mb=0.02, find_unused_parameters=True)
        if compressed:
            model.register_comm_hook(ThcState(model, measure_every=3), thc_hook)
        torch.manual_seed(rank)
        result = 0
        for _ in range(15):
            model.zero_grad()
            model(torch.randn(8, 100)).square().mean().backward()
            result = result + torch.cat([p.grad.flatten() for p in net.layers.parameters()])
        assert same_on_all(result)
        return result

    assert distance(total(True), total(False)) < 0.1


def case_names(rank, size, folder, aggregator):
    """`weight` and `module.weight` of one model have error feedback of their own."""

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(40))
            self.module = torch.nn.Module()
            self.module.weight = torch.nn.Parameter(torch.ones(40))

        def forward(self, x):
            up = torch.arange(40.0)
            return (self.weight * up * x).sum() + 100 * (self.module.weight * up.flip(0) * x).sum()

    for wrapped in (False, True):
        net = Twice()
        model = DistributedDataParallel(net)
        state = ThcState(model if wrapped else net)
        model.register_comm_hook(state, thc_hook)
        model(torch.tensor(1.0)).backward()
        assert sorted(state.errors) == ["module.weight", "weight"]
        assert not np.array_equal(state.errors["weight"], state.errors["module.weight"])
        saved = state.state_dict()
        again = ThcState(net)
        again.load_state_dict(saved)
        np.testing.assert_array_equal(again.errors["module.weight"], state.errors["module.weight"])
        # Saved by version 1, which took "module." away: refused where that is ambiguous.
        with refusal(ValueError, "one error feedback for the parameters 'weight' and 'module.weight'"):
            again.load_state_dict({**saved, "version": 1, "errors": {"weight": torch.zeros(40)}})

    child = torch.nn.Module()
    child.module = torch.nn.Linear(3, 1)
    for model, names in ((child.module, ("weight", "bias")), (child, ("module.weight", "module.bias"))):
        state = ThcState(model)
        old = {"weight": torch.ones(3), "bias": torch.ones(1)}
        state.load_state_dict({**state.state_dict(), "version": 1, "errors": old})
        assert sorted(state.errors) == sorted(names)
        assert all(e.all() for e in state.errors.values())


class Scale(torch.nn.Module):
    """Gradients are the input: no kernel for half precision is needed."""

    def __init__(self, size, dtype):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(size, dtype=dtype))

    def forward(self, x):
        return (self.w * x).sum()


def case_types(rank, size, folder, aggregator):
    """float16 and bfloat16 are converted and keep float32 error feedback; float64 as asked."""
    kinds = {torch.float16: 2, torch.float64: 8}
    if TORCH >= (2, 0):  # gloo of earlier versions has no bfloat16
        kinds[torch.bfloat16] = 2
    for dtype, width in kinds.items():
        for where in (None, aggregator):
            net = Scale(3000, dtype)
            model, state = hooked(net, aggregator=where, warmup_rounds=1)
            total, truth = torch.zeros(3000).double(), torch.zeros(3000).double()
            torch.manual_seed(rank)
            for step in range(21):
                x = torch.randn(3000).to(dtype)
                model.zero_grad()
                model(x).backward()
                assert net.w.grad.dtype == dtype
                assert same_on_all(net.w.grad)
                if step:  # the first went uncompressed
                    total += net.w.grad.double()
                    truth += sum(a.double() for a in everyones(x)) / size
            assert distance(total, truth) < 0.1, (dtype, distance(total, truth))
            assert state.errors["w"].dtype == np.float32
            assert state.stats()["uncompressed_bytes"] == 20 * width * 3000
            assert state.stats()["warmup_bytes"] == width * 3000
    with refusal(TypeError, "^parameter 'w' is torch.float64: "):
        ThcState(Scale(3, torch.float64), float64="refuse")
    with refusal(ValueError, "float64='maybe'"):
        ThcState(Scale(3, torch.float64), float64="maybe")
    with refusal(TypeError, "^parameter 'w' is torch.complex64: "):
        ThcState(Scale(3, torch.complex64))


def case_sparse(rank, size, folder, aggregator):
    net = torch.nn.Sequential(torch.nn.Embedding(10, 3), torch.nn.Embedding(10, 3, sparse=True))
    with refusal(TypeError, "^the gradient of parameter '1.weight' is sparse: .*sparse=False"):
        ThcState(net)

    class Lookup(torch.nn.Module):
        """Sparse without being an Embedding, which only backward() shows."""

        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(10, 3, sparse=True)

        def forward(self, x):
            return self.table(x).sum()

    net = Lookup()
    model = DistributedDataParallel(net)
    net.table.sparse = False
    state = ThcState(model)
    net.table.sparse = True
    model.register_comm_hook(state, thc_hook)
    with refusal(TypeError, "^the gradient of parameter 'table.weight' is sparse: "):
        model(torch.tensor([1])).backward()
    assert state.transport.traffic() == (0, 0)

    model = DistributedDataParallel(torch.nn.Linear(3, 1))
    model.register_comm_hook(ThcState(torch.nn.Linear(3, 1)), thc_hook)
    with refusal(ValueError, r"^a parameter of shape \(1, 3\) is not in the model|shape \(1,\) is not"):
        model(torch.ones(1, 3)).sum().backward()


def case_configurations_differ(rank, size, folder, aggregator):
    """Ranks that compress differently find out before anything is added."""
    model, _ = hooked(torch.nn.Linear(3, 1), seed=rank)
    with refusal(ThcError, "^version_mismatch: .*another table, block size or seed"):
        model(torch.ones(1, 3)).sum().backward()


def case_subgroup(rank, size, folder, aggregator):
    """Two of three ranks train; the third takes no part in making their ThcState."""
    pair = dist.new_group([0, 2])
    given = dist.new_group([0, 2], backend="gloo")
    if rank != 1:
        net = torch.nn.Linear(300, 1, bias=False)
        model = DistributedDataParallel(net, process_group=pair)
        with refusal(ValueError, "has 2 of 3 ranks: .* exchange_group$"):
            ThcState(model, pair)
        state = ThcState(model, pair, exchange_group=given)
        model.register_comm_hook(state, thc_hook)
        model(torch.full((1, 300), rank + 1.0)).sum().backward()
        assert distance(net.weight.grad, torch.full((1, 300), 2.0)) < 0.2, net.weight.grad
        for wrong in (pair, dist.distributed_c10d._get_default_group()):
            with refusal(ValueError, "exchange_group must be a group that nothing else uses"):
                ThcState(model, pair, exchange_group=wrong)
    # Groups that all ranks make afterwards: they have to count them alike.
    others = [dist.new_group([0, 1], backend="gloo"), dist.new_group([1, 2], backend="gloo")]
    if rank == 2:
        with refusal(ValueError, "exchange_group: rank 1 of 2, in the process group rank 2 of 3"):
            ThcState(torch.nn.Linear(3, 1), exchange_group=others[1])
    dist.barrier()


def case_death(rank, size, folder, aggregator):
    """A rank that dies is an error of the others, in one sentence."""
    model, _ = hooked(torch.nn.Linear(3, 1))
    model(torch.ones(1, 3)).sum().backward()
    model.zero_grad()
    loss = model(torch.ones(1, 3)).sum()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1)
    with refusal(ThcError, "^unavailable: the exchange with the other ranks failed: "):
        loss.backward()
    with open(os.path.join(folder, f"{rank}.done"), "w"):
        pass
    os._exit(0)  # destroying a group of which a member is dead is gloo's affair


# --- a device that is not there ---


class FakeStream:
    """Work is done when somebody waits for it, not before."""

    def __init__(self):
        self.work = []

    def wait_event(self, event):
        self.work.append(event.happen)

    def synchronize(self):
        while self.work:
            self.work.pop(0)()


class FakeEvent:
    def __init__(self, stream):
        self.stream = stream
        self.count = len(stream.work)

    def happen(self):
        for _ in range(self.count):
            self.stream.work.pop(0)()
        self.count = 0


class FakeCuda:
    """In the place of kestrel_thc.hook._Cuda."""

    default = FakeStream()
    current = None
    pinned_sizes = []

    @classmethod
    def pinned(cls, size, dtype):
        cls.pinned_sizes.append((size, dtype))
        return torch.full((size,), -1.0, dtype=dtype)

    @classmethod
    def ready(cls, device):
        assert device == torch.device("cuda:0")
        return FakeEvent(cls.default)

    @staticmethod
    def stream(device):
        return FakeStream()

    @classmethod
    @contextlib.contextmanager
    def on(cls, stream):
        cls.current = stream
        try:
            yield
        finally:
            cls.current = None

    @staticmethod
    def future(device):
        return torch.futures.Future()


class FakeTensor(torch.Tensor):
    """A tensor that says it is on a CUDA device; copies to and from it are work of a stream."""

    device = torch.device("cuda:0")

    @staticmethod
    def of(memory):
        tensor = memory.as_subclass(FakeTensor)
        tensor.memory = memory
        return tensor

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.copy_, torch.Tensor.fill_):
            assert FakeCuda.current is not None, "not on a stream of its own"
            plain = [a.memory if isinstance(a, FakeTensor) else a for a in args]
            FakeCuda.current.work.append(lambda: func(*plain))
            return args[0]
        assert func not in (torch.Tensor.numpy, torch.Tensor.float), "read without a copy"
        return super().__torch_function__(func, types, args, kwargs or {})


class FakeBucket:
    def __init__(self, parameters, buffer, last):
        self.parts = parameters, buffer, last

    def parameters(self):
        return self.parts[0]

    def buffer(self):
        return self.parts[1]

    def is_last(self):
        return self.parts[2]


def case_cuda(rank, size, folder, aggregator):
    """Buckets of a device: copied when they are ready, through pinned memory, and back."""
    kestrel_thc.hook._Cuda = FakeCuda
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        net = torch.nn.Module()
        net.a = torch.nn.Parameter(torch.ones(5000, dtype=dtype))
        net.b = torch.nn.Parameter(torch.ones(700, dtype=dtype))
        state = ThcState(net)
        FakeCuda.pinned_sizes.clear()
        torch.manual_seed(rank)
        for _ in range(3):
            futures = []
            for parameter in (net.a, net.b):
                values = torch.randn(parameter.numel()).to(dtype)
                mean = sum(v.float() for v in everyones(values.float())) / size
                memory = torch.zeros(parameter.numel(), dtype=dtype)
                # Backward is still writing the bucket when the hook is called.
                FakeCuda.default.work.append(lambda m=memory, v=values: m.copy_(v))
                bucket = FakeBucket([parameter], FakeTensor.of(memory), parameter is net.b)
                futures.append((thc_hook(state, bucket), memory, mean))
                futures[-1][0].wait()
                # Nobody waits for a stream here: it is there.
                assert distance(memory, mean) < 0.25, (dtype, distance(memory, mean))
                assert same_on_all(memory)
        # One piece of pinned memory serves both.
        assert FakeCuda.pinned_sizes == [(5000, dtype)], FakeCuda.pinned_sizes
        assert state.iteration == 3
        # An error leaves NaN behind, and is known when the future is.
        memory = torch.zeros(700, dtype=dtype)
        FakeCuda.default.work.append(lambda: memory.fill_(float("inf") if rank == 0 else 1.0))
        try:
            thc_hook(state, FakeBucket([net.b], FakeTensor.of(memory), True)).wait()
        except Exception as error:
            assert "invalid_argument" in str(error), error
        else:
            raise AssertionError("infinity went through")

    class Elsewhere(FakeTensor):
        device = torch.device("xpu:0")

    buffer = torch.zeros(700).as_subclass(Elsewhere)
    try:
        thc_hook(state, FakeBucket([net.b], buffer, True)).wait()
    except Exception as error:
        assert "gradients of 'b' are on 'xpu:0'" in str(error), error
    else:
        raise AssertionError("an unknown device went through")


# --- the processes ---


def rank_main(case, rank, size, port, folder, aggregator):
    torch.set_num_threads(1)
    limit = datetime.timedelta(seconds=40)
    dist.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size, timeout=limit
    )
    globals()[case](rank, size, folder, aggregator)
    with open(os.path.join(folder, f"{rank}.done"), "w") as file:
        file.write("done")
    dist.barrier()
    dist.destroy_process_group()


# A script that does not call destroy_process_group(); what is registered first runs last at its end.
SCRIPT_WITHOUT_AN_END = """
import atexit, os, time

def threads():
    return len(os.listdir("/proc/self/task"))

@atexit.register
def last():
    limit = time.monotonic() + 10  # who ends is counted a little longer
    while before_the_end - threads() <= made and time.monotonic() < limit:
        time.sleep(0.01)
    print(made, before_the_end - threads())

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from kestrel_thc import ThcState, thc_hook

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(3, 1))
before = threads()
state = ThcState(model)
made = threads() - before
model.register_comm_hook(state, thc_hook)
model(torch.ones(1, 3)).sum().backward()
before_the_end = threads()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_processes(commands, environments, limit):
    """Runs all at once; (exit statuses, standard error, standard output), None for one out of time."""
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        for command, environment in zip(commands, environments)
    ]
    end = time.monotonic() + limit
    results = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=max(0.1, end - time.monotonic()))
            results.append((process.returncode, err, out))
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            results.append((None, err, out))
    return results


class Hook(unittest.TestCase):
    def run_case(self, case, size=2, survivors=None):
        server = Aggregator()
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            commands = [
                [sys.executable, "-B", os.path.abspath(__file__), "--rank", case, str(rank), str(size),
                 str(port), folder, server.endpoint]
                for rank in range(size)
            ]
            results = run_processes(commands, [{}] * size, 150)
            survivors = range(size) if survivors is None else survivors
            said = "\n".join(f"rank {r}: {s}\n{e}" for r, (s, e, _) in enumerate(results))
            for rank in survivors:
                self.assertEqual(results[rank][0], 0, said)
                self.assertTrue(os.path.exists(os.path.join(folder, f"{rank}.done")), case)
        return server.stats()

    def test_training(self):
        stats = self.run_case("case_training")
        self.assertGreater(stats["complete"], 100)

    def test_not_finite(self):
        self.run_case("case_not_finite")

    def test_not_finite_passes(self):
        self.run_case("case_not_finite_passes")

    def test_collectives_beside(self):
        for size in (2, 3):
            self.run_case("case_collectives_beside", size)

    def test_names(self):
        self.run_case("case_names")

    def test_types(self):
        self.run_case("case_types")

    def test_sparse(self):
        self.run_case("case_sparse")

    def test_configurations_differ(self):
        self.run_case("case_configurations_differ")

    def test_subgroup(self):
        self.run_case("case_subgroup", 3)

    def test_death_of_a_rank(self):
        self.run_case("case_death", survivors=[0])

    def test_cuda(self):
        self.run_case("case_cuda")

    def test_script_without_an_end(self):
        """The group's threads end before the interpreter, which they may need to let go of tensors."""
        port = str(free_port())
        results = run_processes(
            [[sys.executable, "-B", "-c", SCRIPT_WITHOUT_AN_END]] * 2,
            [{"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
             for rank in range(2)],
            120,
        )
        for status, errors, said in results:
            self.assertEqual(status, 0, errors)
            made, ended = map(int, said.split())
            self.assertGreater(made, 0)
            self.assertGreater(ended, made, "those of the group, and that of the hook")

    def test_example_of_the_page(self):
        """The first example of docs/thc_training.md, as torchrun would start it."""
        with open(os.path.join(ROOT, "docs", "thc_training.md")) as file:
            text = re.search(r"^```python\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL)[1]
        self.assertLessEqual(len(text.splitlines()), 14)
        port = str(free_port())
        results = run_processes(
            [[sys.executable, "-B", "-c", text]] * 2,
            [{"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
             for rank in range(2)],
            120,
        )
        said = [out.split() for _, _, out in results]
        self.assertEqual([status for status, _, _ in results], [0, 0], results)
        for rank in range(2):
            self.assertEqual(said[rank][:2], ["rank", str(rank)])
            first, last = float(said[rank][-3]), float(said[rank][-1])
            self.assertLess(last, 0.7 * first)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        rank_main(sys.argv[2], *map(int, sys.argv[3:6]), *sys.argv[6:])
        sys.exit(0)
    print("torch", torch.__version__, "numpy", np.__version__, file=sys.stderr)
    unittest.main(verbosity=2)
