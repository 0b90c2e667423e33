#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Runs the formal proofs of tests/formal/*.json: yosys writes SMT-LIB, yosys-smtbmc and z3 prove it.

  scripts/formal.py                  all proofs, with their mutations
  scripts/formal.py ks_skid ks_fifo  these
  scripts/formal.py --list           their names

A proof has up to four parts, a line of output for each: `bounded` (no assertion fails in so many cycles
after reset), `induction` (from any state in which the assertions hold for so many cycles they hold in the
next: with the bounded part a proof for all time), `cover` (traces that reach every cover statement, so that
nothing holds for want of traffic), and `mutation`s: copies of the RTL with a fault in them, in which the
bounded part must find a failure.

To add a proof, write a property module testbench/formal/fv_<block>.sv with the block, small, as `dut`
(KS_ASSERT, KS_ASSUME and KS_COVER of rtl/common/ks_assert.svh; what lies inside the block can be named,
as in dut.state_q; the first cycle is in reset by fv_reset.sv), and an entry in a file of tests/formal:

  {"proofs": [{
     "name": "ks_skid",                            ctest formal.ks_skid
     "top": "fv_ks_skid",                          module of testbench/formal
     "sources": ["rtl/common/ks_skid.sv"],         packages first; fv_reset.sv and <top>.sv are added
     "parameters": {"Width": 4},                   of the top module, optional
     "bounded": 12,                                cycles
     "induction": 2,                               cycles, optional
     "cover": 12,                                  cycles, optional
     "mutations": [{"name": "what is wrong", "file": "rtl/common/ks_skid.sv",
                    "replace": "text that stands there once", "with": "another"}]}]}

CMake takes every .json file there.

Runs under build/venv (scripts/setup.sh makes it) and starts itself again there. Exit status: 0 all passed,
1 a proof failed, 2 wrong usage, 77 skipped (--skip-without-venv).
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV_PYTHON = ROOT / "build" / "venv" / "bin" / "python"
FORMAL = ROOT / "testbench" / "formal"
LIMIT = 600  # seconds for one run of the engine


def read_proofs():
    proofs = {}
    for path in sorted((ROOT / "tests" / "formal").glob("*.json")):
        for proof in json.loads(path.read_text())["proofs"]:
            if proof["name"] in proofs:
                sys.exit(f"formal.py: {path.name}: the name '{proof['name']}' stands there twice")
            proofs[proof["name"]] = proof
    return proofs


def write_smt2(arguments):
    """In the child process: yosys ends the process on an error, after its message."""
    from pyosys import libyosys  # only in the virtual environment

    design = libyosys.Design()
    top, output = arguments["top"], arguments["output"]
    parameters = " ".join(f"-G {name}={value}" for name, value in arguments["parameters"].items())
    for command in (
        f"read_slang -DFORMAL -I {ROOT / 'rtl' / 'common'} --top {top} {parameters} "
        + " ".join(arguments["sources"]),
        f"prep -flatten -top {top}",
        "async2sync",
        "chformal -lower",
        "dffunmap",
        "check -assert",
        f"write_smt2 -wires {output}",
    ):
        libyosys.run_pass(command, design)


def make_smt2(proof, folder, mutation=None):
    """Path of the model; a text instead if yosys failed."""
    sources = []
    for source in [*proof["sources"], str(FORMAL / "fv_reset.sv"), str(FORMAL / f"{proof['top']}.sv")]:
        path = ROOT / source
        if mutation and source == mutation["file"]:
            text = path.read_text()
            if text.count(mutation["replace"]) != 1:
                return None, f"'{mutation['replace']}' does not stand once in {source}"
            path = folder / path.name
            path.write_text(text.replace(mutation["replace"], mutation["with"]))
        sources.append(str(path))
    if mutation and not any(source == mutation["file"] for source in proof["sources"]):
        return None, f"{mutation['file']} is no source of the proof"
    output = folder / "model.smt2"
    arguments = dict(
        top=proof["top"], parameters=proof.get("parameters", {}), sources=sources, output=str(output)
    )
    child = subprocess.run(
        [sys.executable, __file__, "--write-smt2", json.dumps(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if child.returncode or not output.exists():
        return None, "\n".join(child.stdout.splitlines()[-12:])
    return output, None


def engine(model, *arguments):
    """Status ("PASSED", "FAILED" or what happened), log and seconds of yosys-smtbmc."""
    begin = time.monotonic()
    try:
        result = subprocess.run(
            # Unrolled: z3 gets stuck in some models with the state as an argument of functions.
            ["yosys-smtbmc", "-s", "z3", "--unroll", *arguments, str(model)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
        log = result.stdout
    except subprocess.TimeoutExpired:
        return f"no result within {LIMIT} s", "", time.monotonic() - begin
    status = re.search(r"Status: (\S+)", log)
    return status[1] if status else "no status", log, time.monotonic() - begin


def report(name, part, passed, seconds, text=""):
    print(f"{name:24} {part:52} {'PASS' if passed else 'FAIL'} {seconds:7.1f} s{text}", flush=True)
    return passed


def excerpt(log):
    lines = [line for line in log.splitlines() if re.search(r"failed|Unreached|Status|ERROR", line)]
    return "".join(f"\n    {line}" for line in lines[-8:])


def run_proof(proof, keep):
    name = proof["name"]
    good = True
    with tempfile.TemporaryDirectory(prefix="kestrel-formal-") as folder:
        folder = pathlib.Path(folder)
        begin = time.monotonic()
        model, error = make_smt2(proof, folder)
        if error:
            return report(name, "yosys", False, time.monotonic() - begin, "\n" + error)
        text = model.read_text()
        asserts = len(re.findall(r"^; yosys-smt2-assert ", text, re.M))
        covers = len(re.findall(r"^; yosys-smt2-cover ", text, re.M))
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(model, keep / f"{name}.smt2")
        trace = ["--dump-vcd", str(keep / f"{name}.vcd")] if keep else []

        depth = proof["bounded"]
        status, log, seconds = engine(model, "-t", str(depth), *trace)
        good &= report(
            name,
            f"bounded {depth} cycles, {asserts} assertions",
            status == "PASSED" and asserts > 0,
            seconds,
            "" if status == "PASSED" else excerpt(log) or f" ({status})",
        )
        if "induction" in proof:
            depth = proof["induction"]
            status, log, seconds = engine(model, "-i", "-t", str(depth), *trace)
            good &= report(
                name,
                f"induction {depth} cycles",
                status == "PASSED" and proof["bounded"] >= depth,
                seconds,
                "" if status == "PASSED" else excerpt(log) or f" ({status})",
            )
        if "cover" in proof:
            depth = proof["cover"]
            status, log, seconds = engine(model, "-c", "-t", str(depth))
            good &= report(
                name,
                f"cover {depth} cycles, {covers} traces",
                status == "PASSED" and covers > 0,
                seconds,
                "" if status == "PASSED" else excerpt(log) or f" ({status})",
            )
        for number, mutation in enumerate(proof.get("mutations", [])):
            place = folder / f"mutation{number}"
            place.mkdir()
            model, error = make_smt2(proof, place, mutation)
            seconds = 0.0
            if not error:
                status, log, seconds = engine(model, "-t", str(proof["bounded"]))
                if status != "FAILED":
                    error = f"the fault was not found ({status})"
            good &= report(
                name, f"mutation: {mutation['name']}", not error, seconds, f"\n    {error}" if error else ""
            )
    return good


def main():
    if pathlib.Path(sys.prefix).resolve() != VENV_PYTHON.parent.parent.resolve():
        if not VENV_PYTHON.exists():
            if "--skip-without-venv" in sys.argv:
                print("formal.py: skipped, build/venv is missing; scripts/setup.sh makes it")
                return 77
            print("formal.py: build/venv is missing; run scripts/setup.sh", file=sys.stderr)
            return 2
        os.execv(VENV_PYTHON, [VENV_PYTHON, *sys.argv])

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="proofs (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names of the proofs and end")
    parser.add_argument("--no-mutations", action="store_true", help="leave the mutations out")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the models and traces of failures")
    parser.add_argument("--skip-without-venv", action="store_true", help="77 where build/venv is missing")
    parser.add_argument("--write-smt2", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write_smt2:
        write_smt2(json.loads(options.write_smt2))
        return 0

    proofs = read_proofs()
    if options.list:
        print("\n".join(proofs))
        return 0
    unknown = [name for name in options.names if name not in proofs]
    if unknown:
        print(f"formal.py: no proof {', '.join(unknown)}; --list names them", file=sys.stderr)
        return 2
    for program in ("yosys-smtbmc", "z3"):
        if not shutil.which(program):
            print(f"formal.py: {program} is missing; scripts/setup.sh installs it", file=sys.stderr)
            return 2
    begin = time.monotonic()
    chosen = [proofs[name] for name in options.names or proofs]
    failed = []
    for proof in chosen:
        if options.no_mutations:
            proof = {**proof, "mutations": []}
        if not run_proof(proof, options.keep):
            failed.append(proof["name"])
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed in {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
