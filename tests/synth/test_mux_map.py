#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Proves scripts/ecp5_mux_map.v: every mapped multiplexer equals the one it stands for, for all inputs; and
rtl/common/ks_mux4.sv: its cells for ECP5, mapped, equal its logic for other targets.

Also proves that the proof can fail, with a map whose select lines are exchanged.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV_PYTHON = ROOT / "build" / "venv" / "bin" / "python"
MAP = ROOT / "scripts" / "ecp5_mux_map.v"


CELLS = ROOT / "scripts" / "ecp5_cells.v"
MODULE = "ks_mux4"


def prove_equal(run, top):
    """The design `gold` saved, the mapped one current, its cells to be described yet."""
    run("read_verilog -overwrite +/lattice/cells_sim_ecp5.v")
    run(f"hierarchy -top {top}; proc; flatten {top}; opt_clean")
    run("design -stash gate")
    run(f"design -copy-from gate -as gate {top}")
    run(f"design -copy-from gold -as gold {top}")
    run("miter -equiv -make_outputs gold gate miter")
    run("flatten miter; opt_clean miter")
    run("sat -verify -prove trigger 0 miter")


def proof(width, map_file):
    """In a child process: yosys ends it with an error where the miter can be satisfied. Width 0 is the module."""
    from pyosys import libyosys

    design = libyosys.Design()

    def run(command):
        libyosys.run_pass(command, design)

    if width == 0:
        source = ROOT / "rtl" / "common" / f"{MODULE}.sv"
        run(f"read_slang --top {MODULE} -G Width=3 {source}")
        run("proc; opt_clean")
        run("design -save gold")
        run("design -reset")
        run(f"read_slang -D KESTREL_ECP5 --top {MODULE} -G Width=3 {source} {CELLS}")
        run("select -assert-count 3 t:ks_ecp5_mux4")
        run(f"techmap -map {map_file} {MODULE}")
        run(f"select -assert-count 6 {MODULE}/t:LUT4")
        prove_equal(run, MODULE)
        return

    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "mux.v"
        bits = (width - 1).bit_length()
        source.write_text(
            f"module mux(input [{width - 1}:0] d, input [{bits - 1}:0] s, output y);\n"
            f"  assign y = d[s];\nendmodule\n"
        )
        run(f"read_verilog {source}")
        run("hierarchy -top mux")
        run("proc; opt; simplemap; techmap; opt")
        run("design -save gold")
        run(f"muxcover -mux{width}=1 mux")
        run(f"select -assert-count 1 mux/t:$_MUX{width}_")
        run(f"techmap -map {map_file} mux")
        run(f"select -assert-count {width // 2} mux/t:LUT4")
        prove_equal(run, "mux")


def main():
    if len(sys.argv) == 3:
        proof(int(sys.argv[1]), sys.argv[2])
        return 0
    if not VENV_PYTHON.exists():
        print("skipped: build/venv is missing; scripts/setup.sh makes it")
        return 77
    failed = 0

    def check(what, width, map_file, expected):
        nonlocal failed
        result = subprocess.run(
            [VENV_PYTHON, __file__, str(width), map_file],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        proved = result.returncode == 0
        # A wrong map has to fail in the proof, not anywhere before it.
        reason = "proof did fail" in result.stdout
        good = proved if expected else (not proved and reason)
        print(f"{'passed' if good else 'FAILED'}: {what}")
        if not good:
            print(result.stdout[-3000:])
            failed += 1

    for width in (4, 8, 16):
        check(f"mux{width} equals its map", width, MAP, True)
    check(f"{MODULE} for ECP5 equals its logic", 0, MAP, True)
    with tempfile.TemporaryDirectory() as folder:
        wrong = pathlib.Path(folder) / "wrong.v"
        wrong.write_text(re.sub(r"\.C0\(T\)", ".C0(S)", MAP.read_text()))
        check("a wrong map is found out", 8, wrong, False)
        check(f"also with {MODULE}", 0, wrong, False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
