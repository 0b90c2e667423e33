#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""The Python package kestrel_thc: binding and packaging. The hook: test_kestrel_thc_hook.py."""

import ast
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib
import unittest

import numpy as np

import kestrel_thc
from kestrel_thc import Aggregator, Codec, Table, ThcError, Worker

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
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
        # What would need a copy is refused by name, before anything is sent.
        before = worker.stats()
        for tensor, said in (
            (np.ones(10), "tensor is float64: contiguous float32"),
            (np.ones(10, np.float16), "tensor is float16: contiguous float32"),
            (np.ones(20, np.float32)[::2], "tensor is float32, not contiguous: "),
            (np.ones(10, ">f4"), "tensor is >f4: "),
            (np.broadcast_to(np.float32(1), (1,)), "tensor is read-only: "),
        ):
            with self.assertRaisesRegex(TypeError, said):
                worker.all_reduce_mean(tensor)
        with self.assertRaisesRegex(TypeError, "error is float64: "):
            worker.all_reduce_mean(np.ones(10, np.float32), np.ones(10))
        with self.assertRaises(TypeError):
            worker.all_reduce_mean([1.0, 2.0])
        self.assertEqual(worker.stats(), before)
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


def example_of(page):
    """The text of the first example in Python on a page of docs/."""
    with open(os.path.join(ROOT, "docs", page)) as file:
        return re.search(r"^```python\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL)[1]


class Docs(unittest.TestCase):
    def test_example_of_the_worker_page(self):
        text = example_of("thc_worker.md")
        self.assertLessEqual(len(text.splitlines()), 12)
        names = {}
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(text, "docs/thc_worker.md", "exec"), names)
        np.testing.assert_array_equal(names["gradients"][0], names["gradients"][1])
        error = float(said.getvalue().split()[-1])
        self.assertGreater(error, 1e-4)
        self.assertLess(error, 0.05)


class Package(unittest.TestCase):
    def test_numpy_is_the_one_meant(self):
        wanted = os.environ.get("KESTREL_EXPECT_NUMPY")
        if wanted:
            self.assertEqual(np.__version__.split(".")[0], wanted)

    def test_other_numpy_is_refused_by_name(self):
        script = "import numpy; numpy.__version__ = '3.0.1'; import kestrel_thc"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("ImportError: kestrel_thc does not know NumPy 3.0.1", done.stderr)

    def test_garbage_for_an_array_is_refused_by_name(self):
        kestrel_thc._refuse_wrong_numpy(kestrel_thc._core._seen)
        for seen in (lambda a: (4, 5, 14.0), lambda a: (0, 5, 15.0), lambda a: 1 / 0):
            with self.assertRaisesRegex(ImportError, f"arrays of NumPy {np.__version__}: it was"):
                kestrel_thc._refuse_wrong_numpy(seen)

    def test_stub_is_the_module(self):
        """Every name of _core.pyi is in the module with the same arguments, and the other way round."""
        with open(os.path.join(os.path.dirname(kestrel_thc.__file__), "_core.pyi")) as file:
            stub = ast.parse(file.read())
        core, found = kestrel_thc._core, set()
        for node in stub.body:
            if isinstance(node, ast.AnnAssign):
                found.add(node.target.id)
            if not isinstance(node, ast.ClassDef):
                continue
            found.add(node.name)
            methods = [m for m in node.body if isinstance(m, ast.FunctionDef)]
            own = {n for n in vars(getattr(core, node.name)) if not n.startswith("_")}
            self.assertEqual({m.name for m in methods} - {"__init__"}, own if methods else set())
            for method in methods:
                bound = getattr(getattr(core, node.name), method.name)
                if isinstance(bound, property):
                    continue
                names = [a.arg for a in method.args.args + method.args.kwonlyargs]
                signature = bound.__doc__.splitlines()[0]
                self.assertEqual(
                    [n for n in re.findall(r"[(,] ?(\w+): ", signature) if n != "arg0"],
                    names if "arg0" not in signature else ["self"], signature,
                )
        public = {n for n in vars(core) if not n.startswith("_")} | {"__version__"}
        self.assertEqual(found, public)

    def test_one_version_and_one_set_of_pins(self):
        with open(os.path.join(ROOT, "CMakeLists.txt")) as file:
            version = re.search(r"project\(\s*kestrel\s+VERSION ([0-9.]+)", file.read())[1]
        self.assertEqual(kestrel_thc.__version__, version)
        with open(os.path.join(ROOT, "python", "pyproject.toml"), "rb") as file:
            wanted = tomllib.load(file)["build-system"]["requires"]
        with open(os.path.join(ROOT, "scripts", "requirements-numpy2.txt")) as file:
            pins = file.read().splitlines()
        self.assertEqual(len(wanted), 2)
        for pin in wanted:
            self.assertIn(pin, pins)


if __name__ == "__main__":
    print("seed", SEED, file=sys.stderr)
    unittest.main(verbosity=2)
