#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Speed of RTL simulation of two builds of the project, one beside the other, and whether they say the same.

    bench/simulation/compare.py --old OLD/build/release [--new build/release] [--repeats 3]

Runs, in turn old, new, old, new: `kestrel_bench_vision` on the committed network and on those of the test
data (cycles, stall classes and bytes of each must be equal), a round of THC (the mean must be equal to the
byte) and a fault campaign of the switch (must pass; its traffic is another where the protocol is) on their
Verilated devices. Prints processor seconds, which other
work on the machine disturbs less than the time of day, as medians over the repeats, and the ratios old / new.

An older revision is built by its own scripts in a checkout of its own:
    git worktree add ../old REVISION && ../old/scripts/build.sh     (after ../old/scripts/setup.sh)

Exit status: 0; 1 a result differs or a ratio is below --at-least; 2 a program failed.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKETS = 10000


def cpu_seconds(command):
    """Runs it; returns its processor time (user) and standard output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{command[0]} ended with status {done.returncode}:\n{done.stderr[-800:]}", file=sys.stderr)
        sys.exit(2)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, done.stdout


def write_gradients(path):
    """Two workers, four blocks of 2^15: a float32 .npy of shape [2, 131072] from a fixed recurrence."""
    import array  # only here

    values, state = array.array("f"), 12345
    for _ in range(2 * 131072):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        values.append((state >> 7) / 2.0**23 - 1.0)
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 131072), }"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as out:
        out.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values.tobytes())


def vision(build, model, report, runs):
    """(what must be equal, cycles, processor seconds of one inference in RTL)"""
    seconds = []
    for count in (runs, 2 * runs):
        # Of a run twice as long the difference is taken: start-up and compilation cancel (an inference of
        # the reference and one of the functional device stay in it; older builds print no processor time).
        used, _ = cpu_seconds([build / "bin" / "kestrel_bench_vision", model, "--runs", count, "--json", report])
        seconds.append(used)
    entry = json.loads(report.read_text())["networks"][0]
    same = {key: value for key, value in entry.items() if key != "simulator"}
    return same, entry["rtl"]["cycles"], (seconds[1] - seconds[0]) / runs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=pathlib.Path, required=True, help="build folder of the older revision")
    parser.add_argument("--new", type=pathlib.Path, default=ROOT / "build" / "release")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4, help="inferences a measurement (twice that, less that)")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--at-least", type=float, default=0.0, help="ratio that ResNet-8 must reach")
    options = parser.parse_args()
    models = [ROOT / "models" / "edge" / "fmnist_edge_int8.tflite"]
    models += sorted(options.data.glob("models/mlperf_tiny/*.tflite"))

    failed = False
    expected = {}  # of each measurement: what both builds must say
    rows = {}  # of each measurement: cycles, and the seconds of both builds

    def note(what, which, result, seconds, cycles=None):
        nonlocal failed
        if expected.setdefault(what, result) != result:
            failed = True
            print(f"{what}: the {which} build says something else than the run before")
        rows.setdefault(what, (cycles, {"old": [], "new": []}))[1][which].append(seconds)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_gradients(folder / "x.npy")
        for _ in range(options.repeats):
            for model in models:
                for which, build in (("old", options.old), ("new", options.new)):
                    same, cycles, seconds = vision(build, model, folder / "vision.json", options.runs)
                    note(model.stem, which, same, seconds, cycles)
            for which, build in (("old", options.old), ("new", options.new)):
                program = build / "bin" / "kestrel"
                seconds, _ = cpu_seconds([program, "thc", "roundtrip", "--device", "rtl", "--input", folder / "x.npy",
                                          "--output", folder / "y.npy", "--json", folder / "thc.json"])
                note("THC, a round of 2 x 2^17", which, (folder / "y.npy").read_bytes(), seconds)
                seconds, _ = cpu_seconds([program, "esa", "campaign", "--device", "rtl", "--packets", PACKETS,
                                          "--json", folder / "esa.json"])
                note("ESA, a campaign of 10^4 packets", which, json.loads((folder / "esa.json").read_text())["passed"], seconds)

    print(f"{'simulated in RTL':34} {'cycles':>8} {'old s':>8} {'new s':>8} {'ratio':>6} {'old cycles/s':>13} {'new cycles/s':>13}")
    for what, (cycles, seconds) in rows.items():
        old, new = (statistics.median(seconds[which]) for which in ("old", "new"))
        speeds = f"{cycles / old:13.0f} {cycles / new:13.0f}" if cycles else ""
        print(f"{what:34} {cycles or '':>8} {old:8.3f} {new:8.3f} {old / new:6.2f} {speeds}")
        if "resnet8" in what and old / new < options.at_least:
            failed = True
            print(f"{what}: less than {options.at_least} times as fast")
    print(f"processor seconds, medians of {options.repeats}; results and counters are "
          f"{'NOT ' if failed else ''}as they should be")
    return failed


if __name__ == "__main__":
    sys.exit(main())
