#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Synthesizes, places and routes a module on an ECP5-85F and prints its area and its clock for each seed.

Optional and slow (many minutes a seed); not part of the tests. The area that comes first is that of
scripts/synth.py: what yosys maps, and what nextpnr's packer takes of the device.

  scripts/pnr_ecp5.py --seed 1 2 3
  scripts/pnr_ecp5.py --top hv_mac
  scripts/pnr_ecp5.py --top pnr_thc_compress --parameter Lanes=1    a kernel in a frame of registers
  scripts/pnr_ecp5.py --place-only    is there a legal placement? Out of context: any number of ports

Exit status: 0 placed (and routed), 1 not, 2 synthesis failed or nextpnr is missing.
"""

import argparse
import json
import subprocess
import sys
import time

import nextpnr_ecp5

ROOT = nextpnr_ecp5.ROOT


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--top", default="hv_engine", help="module (default hv_engine)")
    parser.add_argument("--parameter", nargs="+", default=[], help="NAME=VALUE of the top module")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="seeds (default 1)")
    parser.add_argument("--speed", default="8", choices=["6", "7", "8"], help="grade (default 8)")
    parser.add_argument("--place-only", action="store_true", help="end after placement; no clock")
    options = parser.parse_args()

    if not nextpnr_ecp5.PROGRAM.exists():
        print("pnr_ecp5.py: nextpnr is missing in build/venv; run scripts/setup.sh", file=sys.stderr)
        return 2

    folder = ROOT / "build" / "pnr" / "_".join([options.top, *options.parameter])
    folder.mkdir(parents=True, exist_ok=True)
    netlist = folder / "netlist.json"
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "synth.py", "--top", options.top, "--no-baseline", "--no-limits"]
        + ["--json", netlist, "--log", folder / "yosys.log"]
        + (["--parameter", *options.parameter] if options.parameter else [])
    )
    if result.returncode != 0:
        return result.returncode

    what = "place" if options.place_only else "place and route"
    achieved = {}
    for seed in options.seed:
        report = folder / f"report_{seed}.json"
        log = folder / f"nextpnr_{seed}.log"
        report.unlink(missing_ok=True)
        print(f"{what}, seed {seed} (log: {log.relative_to(ROOT)})", flush=True)
        begin = time.monotonic()
        arguments = ["--json", netlist.relative_to(ROOT), "--speed", options.speed, "--seed", seed]
        arguments += ["--lpf", "constraints/ecp5_edge.lpf", "--lpf-allow-unconstrained"]
        arguments += ["--timing-allow-fail", "--report", report.relative_to(ROOT)]
        if options.place_only:
            arguments += ["--no-route", "--out-of-context"]
        try:
            nextpnr_ecp5.run(arguments, ROOT, log)
        except nextpnr_ecp5.NextpnrError as error:
            print(error, file=sys.stderr)
            seconds = time.monotonic() - begin
            print(
                f"pnr_ecp5.py: {options.top}: nextpnr did not {what} it with seed {seed} ({seconds:.0f} s)",
                file=sys.stderr,
            )
            return 1
        seconds = time.monotonic() - begin
        used = nextpnr_ecp5.utilisation(report)
        used = ", ".join("{} {}/{}".format(name, *used[name]) for name in nextpnr_ecp5.RESOURCES)
        if options.place_only:
            print(f"seed {seed}: a legal placement, {used}, {seconds:.0f} s", flush=True)
            continue
        data = json.loads(report.read_text())
        if not data["fmax"]:
            print(f"pnr_ecp5.py: {options.top} has no path between registers", file=sys.stderr)
            return 1
        achieved[seed] = max(clock["achieved"] for clock in data["fmax"].values())
        print(f"seed {seed}: {achieved[seed]:.1f} MHz, {used}, {seconds:.0f} s", flush=True)
    if options.place_only:
        return 0
    best = max(achieved, key=achieved.get)
    print(
        f"{options.top}: {achieved[best]:.1f} MHz routed, seed {best} of {options.seed}, "
        f"{nextpnr_ecp5.DEVICE} speed grade {options.speed}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
