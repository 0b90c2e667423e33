#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Synthesizes a module for ECP5 or UltraScale+ with yosys and compares its cells with a committed baseline.

The area is what yosys maps, before place and route. Runs under build/venv (made by
scripts/setup.sh) and starts itself again there when called with another Python.

  scripts/synth.py                            the whole engine against tests/synth/baseline_ecp5.json
  scripts/synth.py --update                   writes the engine's figures into the baseline
  scripts/synth.py --top hv_mac --no-baseline one block, figures only
  scripts/synth.py --top hv_mac --check-only  reads it and runs `check -assert`, no mapping
  scripts/synth.py --top thc_compress --parameter Lanes=1 --device xcup   UltraScale+ (no place and route)

Exit status: 0 in bounds, 1 drift or over a limit, 2 synthesis failed or wrong usage.
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

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV_PYTHON = ROOT / "build" / "venv" / "bin" / "python"

YOSYS = "0.70"
RTL_FOLDERS = tuple(ROOT / "rtl" / name for name in ("common", "vision", "thc", "esa"))
PNR_FOLDER = ROOT / "testbench" / "pnr"  # kernels in a frame of registers, for place and route

# Cells of the report and what the ECP5-85F has of each; None: the count is reported only.
CELLS = {
    "LUT4": 83640,
    "TRELLIS_FF": 83640,
    "CCU2C": None,
    "TRELLIS_DPR16X4": None,
    "DP16KD": 208,
    "MULT18X18D": 156,
}
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
EXACT = ("DP16KD", "MULT18X18D", "RAMB18E2", "RAMB36E2", "DSP48E2")
# A LUT4 site is taken by a LUT4 cell, twice by a carry cell, and by LUT RAM: one TRELLIS_DPR16X4 is a
# slice of two LUTs that hold data and half of a slice that takes the write port (four with it).
LUT_SITES = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}


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
    # Black boxes of the device, for modules that instantiate a primitive.
    if options.device == "ecp5":
        yosys.run("read_verilog -lib +/ecp5/cells_bb.v")
    yosys.run(
        f"read_slang -D SYNTHESIS --top {options.top} {parameters} {includes} {libraries} {sources}"
    )
    yosys.run(f"hierarchy -check -top {options.top}")
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
    # synth_ecp5 with two changes: wide multiplexers become slice multiplexers (ecp5_mux_map.v), and abc
    # maps LUTs instead of abc9, which takes three times as long here for 5 % more of them.
    synth = f"synth_ecp5 -top {options.top} -nowidelut"
    yosys.run(f"{synth} -run begin:map_luts")
    yosys.run("check -latchonly -assert")
    yosys.run("muxcover -mux8=400 -mux16=800 -nopartial -nodecode")
    yosys.run(f"techmap -map {ROOT / 'scripts' / 'ecp5_mux_map.v'}")
    yosys.run("opt_clean")
    yosys.run("abc -lut 4")
    yosys.run("clean")
    yosys.run(f"{synth} -run map_cells:")
    yosys.run("check -assert")
    yosys.run(f"tee -o {scratch / 'stat.json'} stat -json")
    if options.json:
        yosys.run(f"write_json {options.json}")
    (scratch / "cells.json").write_text(json.dumps(count_cells(scratch / "stat.json", "ecp5")))


def lut_sites(cells):
    return sum(cells[cell] * number for cell, number in LUT_SITES.items())


def compare(cells, baseline, tolerance, limits=True):
    """Returns the complaints about cells against the baseline (None where there is none)."""
    complaints = []
    if limits and "LUT4" in cells:
        for cell, limit in CELLS.items():
            if limit is not None and cells[cell] > limit:
                complaints.append(f"{cell}: {cells[cell]} are more than the {limit} of the ECP5-85F")
        if lut_sites(cells) > CELLS["LUT4"]:
            complaints.append(
                f"LUT sites: {lut_sites(cells)} are more than the {CELLS['LUT4']} of the ECP5-85F"
            )
    if baseline is not None:
        for cell in cells:
            was, now = baseline.get(cell, 0), cells[cell]
            margin = 0 if cell in EXACT else max(8, tolerance * was)
            if abs(now - was) > margin:
                complaints.append(
                    f"{cell}: {now} against {was} of the baseline (allowed: {margin:.0f} off)"
                )
    return complaints


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
    parser.add_argument("--device", default="ecp5", choices=["ecp5", "xcup"], help="default ecp5")
    parser.add_argument("--baseline", type=pathlib.Path, help="default tests/synth/baseline_<device>.json")
    parser.add_argument(
        "--no-limits", action="store_true", help="a block that need not fit the ECP5-85F by itself"
    )
    parser.add_argument("--tolerance", type=float, default=0.03, help="drift allowed (default 0.03)")
    parser.add_argument("--no-baseline", action="store_true", help="figures and limits only")
    parser.add_argument("--update", action="store_true", help="write the figures into the baseline")
    parser.add_argument("--check-only", action="store_true", help="read and check, do not map")
    parser.add_argument(
        "--skip-without-venv", action="store_true", help="exit with 77 where build/venv is missing"
    )
    parser.add_argument("--json", type=pathlib.Path, help="write the netlist for nextpnr here")
    parser.add_argument("--log", type=pathlib.Path, help="keep yosys's log here")
    parser.add_argument("--scratch", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
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
        name = options.top + "".join(f" {parameter}" for parameter in options.parameter)
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
        cells = json.loads((scratch / "cells.json").read_text())

    baselines = {}
    if options.baseline.exists():
        baselines = json.loads(options.baseline.read_text())
    baseline = None
    if not (options.no_baseline or options.update):
        baseline = baselines.get(name, {}).get("cells")
        if baseline is None:
            print(f"synth.py: {options.baseline} knows no '{name}'; --update adds it", file=sys.stderr)
            return 2

    size = "ECP5-85F" if options.device == "ecp5" else ""
    print(f"{'cell':18}{'count':>9}{size:>11}{'share':>8}{'baseline':>11}")
    for cell in cells:
        limit = CELLS.get(cell)
        print(
            f"{cell:18}{cells[cell]:9}{limit or '':>11}"
            f"{f'{cells[cell] / limit:.1%}' if limit else '':>8}"
            f"{baseline[cell] if baseline else '':>11}"
        )
    if options.device == "ecp5":
        sites = lut_sites(cells)
        print(f"{'LUT sites in all':18}{sites:9}{CELLS['LUT4']:>11}{sites / CELLS['LUT4']:>8.1%}")
    print(f"synthesis took {seconds:.0f} s")

    if options.update:
        baselines[name] = {"yosys": YOSYS, "cells": cells}
        if options.top.startswith("hv_"):
            baselines[name]["config"] = options.config
        options.baseline.parent.mkdir(parents=True, exist_ok=True)
        options.baseline.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n")
        print(f"wrote {options.baseline}")
    complaints = compare(cells, baseline, options.tolerance, not options.no_limits)
    for complaint in complaints:
        print(f"synth.py: {name}: {complaint}", file=sys.stderr)
    if complaints and baseline is not None:
        print("synth.py: if the change is meant, run scripts/synth.py --update", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
