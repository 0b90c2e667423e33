#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Synthesizes a module for ECP5 or UltraScale+ with yosys, packs it for ECP5 with nextpnr, and compares
the area with a committed baseline.

For ECP5 the area is what nextpnr's packer takes of the device, and whether a design fits is asked of those
figures; what yosys maps, printed beside them, is before packing and less (carry chains need cells to enter
and leave them, for one). Packing is out of context: without IO and clock buffers, so that a block may have
more ports than the package has pins. Figures within the device do not say that a legal placement exists:
`scripts/pnr_ecp5.py --place-only` does. For UltraScale+ there is no packer here, and so no share of a device.

Runs under build/venv (made by scripts/setup.sh) and starts itself again there when called with another Python.

  scripts/synth.py                            the whole engine against tests/synth/baseline_ecp5.json
  scripts/synth.py --update                   writes the engine's figures into the baseline
  scripts/synth.py --top hv_mac --no-baseline one block, figures only
  scripts/synth.py --top hv_mac --check-only  reads it and runs `check -assert`, no mapping
  scripts/synth.py --top thc_compress --parameter Lanes=1 --device xcup   UltraScale+ (no place and route)
  scripts/synth.py --system build/boards/ulx3s/gateware/kestrel_ulx3s.v --no-baseline   the engine on a board

Exit status: 0 in bounds, 1 drift or more than the device has (where the baseline has not), 2 synthesis or
packing failed or wrong usage.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import nextpnr_ecp5

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV_PYTHON = nextpnr_ecp5.VENV / "bin" / "python"

YOSYS = "0.70"
RTL_FOLDERS = tuple(ROOT / "rtl" / name for name in ("common", "vision", "thc", "esa"))
PNR_FOLDER = ROOT / "testbench" / "pnr"  # kernels in a frame of registers, for place and route

# ECP5 (synth_ecp5): cells of yosys's mapping that are reported.
CELLS = ("LUT4", "TRELLIS_FF", "CCU2C", "TRELLIS_DPR16X4", "DP16KD", "MULT18X18D")
# UltraScale+ (synth_xilinx -family xcup): what the cell types of yosys count as. No device, so no limits.
XCUP_CELLS = {
    "LUT": r"LUT[1-6]$",
    "FF": r"FD[RSCP]E",
    "CARRY8": r"CARRY[48]$",
    "MUXF": r"MUXF[789]$",
    "LUTRAM": r"RAM\d+",
    "SRL": r"SRL",
    "RAMB18E2": r"RAMB18E2$",
    "RAMB36E2": r"RAMB36E2$",
    "DSP48E2": r"DSP48E2$",
}
# Counted exactly: one more is a decision.
PACKED = nextpnr_ecp5.RESOURCES
EXACT = ("DP16KD", "MULT18X18D", "RAMB18E2", "RAMB36E2", "DSP48E2")


def find_sources(generated, top):
    """The packages and the file of the top module; modules below it are found by name (-y)."""
    tops = [path for folder in (*RTL_FOLDERS, PNR_FOLDER) for path in folder.glob(f"{top}.sv")]
    packages = []
    for path in tops:
        if path.parent.name == "vision":
            packages.append(generated / "hv_pkg.sv")
        elif path.parent.name != "common":
            packages += sorted(generated.glob("[!h]*_pkg.sv"))
        if path.parent == PNR_FOLDER:
            packages += sorted((ROOT / "rtl" / top.split("_")[1]).glob("*_pkg.sv"))
        packages += sorted(path.parent.glob("*_pkg.sv"))
    if not tops:
        sys.exit(f"synth.py: no {top}.sv in {' or '.join(str(folder) for folder in RTL_FOLDERS)}")
    return packages + tops


def generate_package(folder, config):
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "gen_contract.py", "--out", folder, "--config", config],
        check=True,
    )
    return pathlib.Path(folder)


class Yosys:
    """Runs passes, each with its output in the log file."""

    def __init__(self, log):
        from pyosys import libyosys  # only in the virtual environment

        self.yosys = libyosys
        self.design = libyosys.Design()
        self.log = log

    def run(self, command):
        # yosys ends the process on an error, after its message; the log then has it in its last lines.
        self.yosys.run_pass(f"tee -q -a {self.log} {command}", self.design)


def count_cells(stat_json, device):
    stat = json.loads(pathlib.Path(stat_json).read_text())
    found = stat["design"]["num_cells_by_type"]
    if device == "xcup":
        return {
            cell: sum(int(number) for name, number in found.items() if re.match(pattern, name))
            for cell, pattern in XCUP_CELLS.items()
        }
    return {cell: int(found.get(cell, 0)) for cell in CELLS}


def work(options, scratch):
    """In the child process: synthesizes and writes the cell counts to scratch/cells.json."""
    yosys = Yosys(scratch / "yosys.log")
    sources = " ".join(str(path) for path in options.source)
    includes = " ".join(f"-I {path}" for path in options.include)
    libraries = "--libext .sv " + " ".join(f"-y {path}" for path in RTL_FOLDERS)
    parameters = " ".join(f"-G {parameter}" for parameter in options.parameter)
    defines = "-D SYNTHESIS"
    # Black boxes of the device, for modules that instantiate a primitive.
    if options.device == "ecp5":
        sources += f" {ROOT / 'scripts' / 'ecp5_cells.v'}"
        defines += " -D KESTREL_ECP5"
    yosys.run(
        f"read_slang {defines} --top {options.top} {parameters} {includes} {libraries} {sources}"
    )
    top = options.top
    if options.system:
        # Plain Verilog, with the registers and pads of the chip as instances.
        yosys.run("read_verilog -lib +/ecp5/cells_bb.v +/ecp5/cells_sim.v")
        yosys.run(f"read_verilog {options.system}")
        top = options.system.stem
    yosys.run(f"hierarchy -check -top {top}")
    yosys.run("proc")
    yosys.run("check -assert")
    if options.check_only:
        return
    if options.device == "xcup":
        yosys.run(f"synth_xilinx -family xcup -flatten -noiopad -noclkbuf -top {options.top}")
        yosys.run("check -assert")
        yosys.run(f"tee -o {scratch / 'stat.json'} stat -json")
        (scratch / "cells.json").write_text(json.dumps(count_cells(scratch / "stat.json", "xcup")))
        return
    # synth_ecp5 with two changes: wide multiplexers become slice multiplexers (ecp5_mux_map.v), and unless --abc9
    # says so abc maps LUTs instead of abc9, which takes three times as long here for up to 5 % more of them.
    synth = f"synth_ecp5 -top {top} -nowidelut"
    yosys.run(f"{synth} -run begin:map_luts")
    yosys.run("check -latchonly -assert")
    yosys.run("muxcover -mux8=400 -mux16=800 -nopartial -nodecode")
    yosys.run(f"techmap -map {ROOT / 'scripts' / 'ecp5_mux_map.v'}")
    yosys.run("opt_clean")
    yosys.run(f"{synth} -run map_luts:map_cells" if options.abc9 else "abc -lut 4")
    yosys.run("clean")
    yosys.run(f"{synth} -run map_cells:")
    yosys.run("check -assert")
    yosys.run(f"tee -o {scratch / 'stat.json'} stat -json")
    if options.json or options.pack:
        yosys.run(f"write_json {netlist_path(options, scratch)}")
        # The baselines of the other systems are counted without.
        if options.top.startswith(("hv_", "ks_acc")):
            open_unused_carries(netlist_path(options, scratch))
    (scratch / "cells.json").write_text(json.dumps(count_cells(scratch / "stat.json", "ecp5")))


def open_unused_carries(path):
    """Disconnects carry outputs that nobody reads: nextpnr spends a cell on leading each out of its chain."""
    netlist = json.loads(path.read_text())
    for module in netlist["modules"].values():
        cells = module["cells"].values()
        read = {bit for port in module["ports"].values() for bit in port["bits"]}
        for cell in cells:
            for port, bits in cell["connections"].items():
                if cell["port_directions"].get(port) != "output":
                    read.update(bits)
        for cell in cells:
            if cell["type"] == "CCU2C" and not read.intersection(cell["connections"].get("COUT", ())):
                cell["port_directions"]["COUT"] = "output"
                cell["connections"]["COUT"] = ["x"]
    path.write_text(json.dumps(netlist))


def netlist_path(options, scratch):
    return options.json or scratch / "netlist.json"


def over_device(used):
    """Resources of which nextpnr's packer takes more than the device has."""
    return {name for name, (number, available) in used.items() if number > available}


def compare(found, baseline, tolerance, limits=True):
    """Returns the complaints about an area against its baseline (None where there is none).

    found: {"cells": {cell: number}, "packed": {resource: (used, available)}}; baseline: as it is committed,
    {"cells": {cell: number}, "packed": {resource: used}}. Either has no "packed" where nothing was packed.
    """
    complaints = []
    used = found.get("packed", {})
    counts = {"cells": found["cells"], "packed": {name: used[name][0] for name in PACKED if name in used}}
    over = over_device(used)
    was_over = set()
    if baseline is not None:
        packed = baseline.get("packed", {})
        was_over = {name for name in packed if name in used and packed[name] > used[name][1]}
        for counter, what in (("cells", "yosys"), ("packed", "nextpnr's packer")):
            for name, now in counts[counter].items():
                if name not in baseline.get(counter, {}):
                    complaints.append(f"{name}: the baseline has no count of {what}")
                    continue
                was = baseline[counter][name]
                margin = 0 if name in EXACT else max(8, tolerance * was)
                if abs(now - was) > margin:
                    complaints.append(
                        f"{name}: {now} by {what} against {was} of the baseline (allowed: {margin:.0f} off)"
                    )
        for name in sorted(was_over - over):
            complaints.append(
                f"{name}: {used[name][0]} are no more than the {used[name][1]} of the"
                f" {nextpnr_ecp5.DEVICE}, the {packed[name]} of the baseline were"
            )
    if limits:
        for name in sorted(over - was_over):
            complaints.append(
                f"{name}: {used[name][0]} are more than the {used[name][1]} of the {nextpnr_ecp5.DEVICE}"
            )
    return complaints


def print_area(found, baseline):
    """Each count with who counted it, the device's share of the packer's, and the baseline."""

    def row(name, count, size="", share="", was=""):
        print(f"{name:18}{count:>9}{size:>11}{share:>9}{was:>11}")

    baseline = baseline or {}
    row("yosys mapping", "count", was="baseline")
    for cell, count in found["cells"].items():
        row(cell, count, was=baseline.get("cells", {}).get(cell, ""))
    if "packed" not in found:
        return
    used = found["packed"]
    row("nextpnr packer", "count", nextpnr_ecp5.DEVICE, "share", "baseline")
    for name in PACKED:
        count, available = used[name]
        row(name, count, available, f"{count / available:.1%}", baseline.get("packed", {}).get(name, ""))
    over = ", ".join(f"{name} {used[name][0]} of {used[name][1]}" for name in sorted(over_device(used)))
    if over:
        print(f"does not fit an {nextpnr_ecp5.DEVICE}: {over}")
    else:
        print(f"within an {nextpnr_ecp5.DEVICE}; scripts/pnr_ecp5.py --place-only looks for a placement")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--top", default="hv_engine", help="module (default hv_engine)")
    parser.add_argument("--config", default="edge", help="configuration of hv_pkg (default edge)")
    parser.add_argument(
        "--source", nargs="+", type=pathlib.Path, default=[], help="files, packages first (default: rtl/)"
    )
    parser.add_argument("--include", nargs="+", type=pathlib.Path, default=[], help="include folders")
    parser.add_argument("--parameter", nargs="+", default=[], help="NAME=VALUE of the top module")
    parser.add_argument(
        "--system", type=pathlib.Path, help="Verilog file around --top; its top module has the file's name"
    )
    parser.add_argument("--device", default="ecp5", choices=["ecp5", "xcup"], help="default ecp5")
    parser.add_argument("--baseline", type=pathlib.Path, help="default tests/synth/baseline_<device>.json")
    parser.add_argument(
        "--no-limits", action="store_true", help="a block that need not fit the ECP5-85F by itself"
    )
    parser.add_argument(
        "--pack",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="count the area with nextpnr's packer, ECP5 only (default on)",
    )
    parser.add_argument("--tolerance", type=float, default=0.03, help="drift allowed (default 0.03)")
    parser.add_argument("--no-baseline", action="store_true", help="figures and limits only")
    parser.add_argument("--update", action="store_true", help="write the figures into the baseline")
    parser.add_argument("--check-only", action="store_true", help="read and check, do not map")
    parser.add_argument(
        "--skip-without-venv", action="store_true", help="exit with 77 where build/venv is missing"
    )
    parser.add_argument("--abc9", action="store_true", help="map LUTs for delay (ECP5): slower, for a clock")
    parser.add_argument("--json", type=pathlib.Path, help="write the netlist for nextpnr here")
    parser.add_argument("--log", type=pathlib.Path, help="keep yosys's log here")
    parser.add_argument("--scratch", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.update and not options.pack:
        parser.error("--update writes the packer's figures too, so not with --no-pack")
    # A system is packed with its pins (boards/*/build.py): a pad takes registers that have no other place.
    options.pack = options.pack and options.device == "ecp5" and not options.check_only and not options.system
    options.json = options.json and options.json.resolve()
    if options.system and options.device != "ecp5":
        parser.error("--system is for ECP5")
    options.include = options.include or [ROOT / "rtl" / "common"]
    options.baseline = options.baseline or ROOT / "tests" / "synth" / f"baseline_{options.device}.json"
    return options


def main():
    if pathlib.Path(sys.prefix).resolve() != VENV_PYTHON.parent.parent.resolve():
        if not VENV_PYTHON.exists():
            if "--skip-without-venv" in sys.argv:
                print("synth.py: skipped, build/venv is missing; scripts/setup.sh makes it")
                return 77
            print("synth.py: build/venv is missing; run scripts/setup.sh", file=sys.stderr)
            return 2
        os.execv(VENV_PYTHON, [VENV_PYTHON, *sys.argv])

    options = parse_arguments()
    if options.scratch:
        work(options, options.scratch)
        return 0

    with tempfile.TemporaryDirectory(prefix="kestrel-synth-") as folder:
        scratch = pathlib.Path(folder)
        sources = options.source
        if not sources:
            sources = find_sources(generate_package(scratch / "gen", options.config), options.top)
        name = options.system.stem if options.system else options.top
        name += "".join(f" {parameter}" for parameter in options.parameter)
        device_name = {"ecp5": "ECP5", "xcup": "UltraScale+"}[options.device]
        print(f"synthesizing {name} for {device_name} (yosys {YOSYS})", flush=True)
        begin = time.monotonic()
        log = scratch / "yosys.log"
        child = [VENV_PYTHON, __file__, *sys.argv[1:], "--scratch", scratch]
        if not options.source:
            child += ["--source", *sources]
        result = subprocess.run(child, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        seconds = time.monotonic() - begin
        text = log.read_text() if log.exists() else ""
        if options.log:
            options.log.parent.mkdir(parents=True, exist_ok=True)
            options.log.write_text(text)
        if result.returncode != 0:
            # The last pass begins at the last line "N. Executing ..." of the log.
            lines = text.splitlines()
            starts = [i for i, line in enumerate(lines) if re.match(r"\d+\. Executing ", line)]
            print("\n".join(lines[starts[-1] if starts else 0 :][-60:]), file=sys.stderr)
            if not any("ERROR" in line for line in lines):
                print(result.stdout[-2000:], file=sys.stderr)
            print(f"synth.py: {name}: synthesis failed after {seconds:.0f} s", file=sys.stderr)
            return 2
        if options.check_only:
            print(f"{name}: check -assert passed in {seconds:.0f} s")
            return 0
        found = {"cells": json.loads((scratch / "cells.json").read_text())}
        packing = ""
        if options.pack:
            begin = time.monotonic()
            try:
                found["packed"] = nextpnr_ecp5.pack(netlist_path(options, scratch))
            except nextpnr_ecp5.NextpnrError as error:
                print(f"{error}\nsynth.py: {name}: packing failed", file=sys.stderr)
                return 2
            packing = f", packing {time.monotonic() - begin:.0f} s"

    baselines = {}
    if options.baseline.exists():
        baselines = json.loads(options.baseline.read_text())
    baseline = None
    if not (options.no_baseline or options.update):
        baseline = baselines.get(name)
        if baseline is None:
            print(f"synth.py: {options.baseline} knows no '{name}'; --update adds it", file=sys.stderr)
            return 2

    print_area(found, baseline)
    print(f"synthesis took {seconds:.0f} s{packing}")

    if options.update:
        baselines[name] = {"yosys": YOSYS, "cells": found["cells"]}
        if options.pack:
            baselines[name]["nextpnr"] = nextpnr_ecp5.version()
            baselines[name]["packed"] = {resource: found["packed"][resource][0] for resource in PACKED}
        if options.top.startswith("hv_"):
            baselines[name]["config"] = options.config
        options.baseline.parent.mkdir(parents=True, exist_ok=True)
        options.baseline.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n")
        print(f"wrote {options.baseline}")
    complaints = compare(found, baseline, options.tolerance, not (options.no_limits or options.update))
    for complaint in complaints:
        print(f"synth.py: {name}: {complaint}", file=sys.stderr)
    if complaints and baseline is not None:
        print("synth.py: if the change is meant, run this again with --update", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
