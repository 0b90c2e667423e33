#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""The Python package kestrel_thc: binding, and the hook in real DistributedDataParallel processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import numpy as np

import kestrel_thc
from kestrel_thc import Aggregator, Codec, Table, ThcError, Worker

SEED = int(os.environ.get("KESTREL_SEED", "7"), 0)


def in_threads(calls):
    """Runs all at once and gives what they return or raise."""
    results = [None] * len(calls)

    def run(i):
        try:
            results[i] = calls[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Binding(unittest.TestCase):
    def test_table(self):
        table = Table()
        self.assertEqual(
            table.values, [0, 3, 5, 7, 9, 11, 13, 14, 16, 17, 19, 21, 23, 25, 27, 30]
        )
        self.assertAlmostEqual(table.t, 2.1538746940614564)
        self.assertNotEqual(Table(p=1 / 64).tag, table.tag)
        uniform = Table(4, 15, 1 / 32, list(range(16)))
        self.assertEqual(uniform.values, list(range(16)))
        for bad in ({"bits": 9}, {"granularity": 3}, {"p": 0.0}, {"values": [0, 30]}):
            with self.assertRaises(ValueError):
                Table(**bad)

    def test_worker_equals_codec(self):
        """The worker over a real aggregator and the codec by hand: the same bits."""
        rng = np.random.default_rng(SEED)
        server = Aggregator()
        workers = [
            Worker(server.endpoint, rank, 3, seed=5, block_log2=12, measure=True)
            for rank in range(3)
        ]
        codec = Codec(block_log2=12, seed=5)
        kept = [np.zeros(10000, np.float32) for _ in range(3)]
        for round_number in range(2):
            x = [rng.standard_normal(10000).astype(np.float32) for _ in range(3)]
            y = [codec.add(a, e) for a, e in zip(x, kept)]
            norms = np.max([codec.norms(a) for a in y], axis=0)
            sums = np.zeros(len(y[0]), np.uint16)
            expected = []
            for w in range(3):
                packed, error = codec.compress(y[w], norms, round_number, w)
                codec.aggregate(packed, sums, overwrite=w == 0)
                expected.append(error[:10000])
            mean = codec.decompress(sums, 3, norms, round_number)[:10000]
            results = in_threads(
                [lambda w=w: workers[w].all_reduce_mean(x[w], kept[w]) for w in range(3)]
            )
            self.assertEqual(results, [None] * 3)
            for w in range(3):
                np.testing.assert_array_equal(x[w], mean)
                np.testing.assert_array_equal(kept[w], expected[w])
        stats = workers[0].stats()
        self.assertEqual(stats["tensors"], 2)
        self.assertGreater(stats["own_nmse"], 0.005)
        self.assertLess(stats["own_nmse"], 0.04)
        self.assertEqual(server.stats()["complete"], 2 * (10 + 1))

    def test_errors(self):
        server = Aggregator()
        worker = Worker(server.endpoint, 0, 2, timeout_ms=200)
        with self.assertRaisesRegex(ThcError, "^timeout: .*waits for worker 1"):
            worker.all_reduce_mean(np.ones(10, np.float32))
        x = np.ones(10, np.float32)
        x[3] = np.nan
        with self.assertRaisesRegex(ThcError, "^invalid_argument: coordinate 3 "):
            worker.all_reduce_mean(x)
        with self.assertRaisesRegex(ThcError, "coordinate 3 "):
            Codec().add(x)
        with self.assertRaises(TypeError):
            worker.all_reduce_mean(np.ones(10))  # float64 would be a copy
        with self.assertRaises(ValueError):
            worker.all_reduce_mean(np.ones((2, 5), np.float32))
        with self.assertRaises(ValueError):
            Worker(server.endpoint, 0, 2, faults={"los": 0.1})
        with self.assertRaises(ThcError):
            Worker(server.endpoint, 2, 2)
        with self.assertRaises(ThcError):
            Worker("no-port:x", 0, 2)
        with self.assertRaises(ThcError):
            Aggregator(quorum=99)
        with self.assertRaises(ThcError):
            worker.load_state(b"nonsense")

    def test_faults_do_not_change_the_result(self):
        x = np.random.default_rng(SEED).standard_normal((2, 30000)).astype(np.float32)
        results = []
        for faults in ({}, {"loss_up": 0.1, "loss_down": 0.1, "duplicate": 0.1, "reorder": 0.1}):
            server = Aggregator()
            workers = [
                Worker(server.endpoint, rank, 2, reminder_ms=5, faults={**faults, "seed": rank})
                for rank in range(2)
            ]
            tensors = x.copy()
            self.assertEqual(
                in_threads(
                    [lambda w=w: workers[w].all_reduce_mean(tensors[w]) for w in range(2)]
                ),
                [None, None],
            )
            np.testing.assert_array_equal(tensors[0], tensors[1])
            results.append(tensors[0])
        np.testing.assert_array_equal(results[0], results[1])


class Command(unittest.TestCase):
    """`kestrel aggregator` as a process. KESTREL_BIN names the program."""

    PROGRAM = os.environ.get("KESTREL_BIN", "build/release/bin/kestrel")

    def test_aggregates_until_told_to_end(self):
        with tempfile.TemporaryDirectory() as folder:
            report = os.path.join(folder, "report.json")
            options = ["--port", "0", "--quorum", "2", "--quorum-timeout", "100", "--json", report]
            process = subprocess.Popen(
                [self.PROGRAM, "aggregator", *options], stdout=subprocess.PIPE, text=True
            )
            try:
                ready = json.loads(process.stdout.readline())
                self.assertTrue(ready["ready"])
                self.assertEqual(ready["table"], Table().values)
                self.assertEqual(ready["table_tag"], Table().tag)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.sendto(b"not ours", ("127.0.0.1", ready["port"]))
                workers = [Worker(ready["endpoint"], rank, 3) for rank in range(3)]
                x = [np.full(5000, rank + 1.0, np.float32) for rank in range(3)]
                # The third worker is missing: after 100 ms the quorum of two goes on.
                self.assertEqual(
                    in_threads([lambda w=w: workers[w].all_reduce_mean(x[w]) for w in range(2)]),
                    [None, None],
                )
                np.testing.assert_array_equal(x[0], x[1])
                self.assertAlmostEqual(float(x[0].mean()), 1.5, delta=0.05)
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(20), 0)
            finally:
                process.kill()
                process.stdout.close()
            with open(report) as file:
                counts = json.load(file)
            self.assertEqual(counts["contributions"], 2 * 6)
            self.assertEqual((counts["partial"], counts["complete"]), (1, 5))
            self.assertEqual(counts["foreign"], 1)
            self.assertEqual(counts["jobs"][0]["workers"][2]["missed"], 1)

    def test_wrong_arguments(self):
        for options in (["--granularity", "3"], ["--address", "nowhere"], ["--quorum", "40"],
                        ["--values", "0,1,2"]):
            done = subprocess.run(
                [self.PROGRAM, "aggregator", "--port", "0", *options],
                capture_output=True, text=True, timeout=20,
            )
            self.assertEqual(done.returncode, 1, options)
            self.assertIn("kestrel aggregator: ", done.stderr)


# --- in worker processes ---


def ddp_process(rank, size, port, folder, aggregator):
    """Trains a small model in several ways; asserts, so that a failure ends the process."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=size)
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

    # A gradient that is not finite on one rank is an error on all, at once.
    for bad_rank in range(2):
        net = torch.nn.Linear(3, 1)
        model = DistributedDataParallel(net)
        model.register_comm_hook(kestrel_thc.ThcState(model), kestrel_thc.thc_hook)
        x = torch.full((1, 3), float("nan") if rank == bad_rank else 1.0)
        try:
            model(x).sum().backward()
        except RuntimeError as error:
            wanted = "coordinate 0" if rank == bad_rank else "another rank"
            assert wanted in str(error), error
        else:
            raise AssertionError("a NaN went through")
    # Ranks that compress differently find out before anything is added.
    model = DistributedDataParallel(torch.nn.Linear(3, 1))
    model.register_comm_hook(kestrel_thc.ThcState(model, seed=rank), kestrel_thc.thc_hook)
    try:
        model(torch.ones(1, 3)).sum().backward()
    except RuntimeError as error:
        assert "another table, block size or seed" in str(error), error
    else:
        raise AssertionError("different seeds went through")
    with open(os.path.join(folder, f"{rank}.done"), "w") as file:
        file.write("done")


class Hook(unittest.TestCase):
    def test_in_ddp(self):
        import torch.multiprocessing as mp

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Aggregator()
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(ddp_process, (2, port, folder, server.endpoint), nprocs=2)
            self.assertEqual(
                sorted(n for n in os.listdir(folder) if n.endswith(".done")),
                ["0.done", "1.done"],
            )
        self.assertGreater(server.stats()["complete"], 100)


if __name__ == "__main__":
    print("seed", SEED, file=sys.stderr)
    unittest.main(verbosity=2)
