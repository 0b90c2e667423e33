#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Puts faults into the RTL of the aggregation switch, one at a time, and shows that each is found.

  scripts/esa_mutations.py                all of testbench/formal/esa_mutations.json
  scripts/esa_mutations.py --by proof     those that a proof finds (bounded part of scripts/formal.py)
  scripts/esa_mutations.py --by simulation
  scripts/esa_mutations.py --name TEXT    those whose name has TEXT in it

Simulation: the test rtl.esa_switch is built in build/esa_mutations on a mutated copy of rtl/esa, and has to
fail; without a fault it has to pass. Exit status: 0 all found, 1 a fault lives, 2 something else is wrong.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RTL = ROOT / "rtl" / "esa"
BUILD = ROOT / "build" / "esa_mutations"


def mutated(mutation):
    path = RTL / mutation["file"]
    text = path.read_text()
    if text.count(mutation["replace"]) != 1:
        sys.exit(f"esa_mutations.py: {mutation['name']}: its text does not stand once in {path.name}")
    return text.replace(mutation["replace"], mutation["with"])


def by_proof(mutations):
    """Proofs of the mutations, as a file of proofs for formal.py, run by it."""
    proofs = {p["name"]: p for p in json.loads((ROOT / "tests/formal/esa.json").read_text())["proofs"]}
    sys.path.insert(0, str(ROOT / "scripts"))
    import formal

    found = 0
    for mutation in mutations:
        proof = proofs[mutation["by"]]
        fault = {**mutation, "file": f"rtl/esa/{mutation['file']}"}
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="kestrel-mutation-") as folder:
            model, error = formal.make_smt2(proof, pathlib.Path(folder), fault)
            if error:
                sys.exit(f"esa_mutations.py: {mutation['name']}: {error}")
            status, log, _ = formal.engine(model, "-t", str(proof["bounded"]))
        what = [line.split(": ")[-1] for line in log.splitlines() if "Assert failed" in line]
        found += report(mutation, status == "FAILED", begin, ", ".join(what[:2]) or status)
    return found


def by_simulation(mutations):
    copy = BUILD / "rtl"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(RTL, copy)
    configure = ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja",
                 "-DCMAKE_BUILD_TYPE=Release", f"-DKESTREL_ESA_RTL_DIR={copy}"]
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)

    def passes():
        built = subprocess.run(["ninja", "-C", str(BUILD), "test_rtl_esa_switch"], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if built.returncode:  # a fault that does not build shows nothing
            print(built.stdout[-2000:], file=sys.stderr)
            sys.exit("esa_mutations.py: the test does not build")
        result = subprocess.run([str(BUILD / "bin" / "test_rtl_esa_switch")], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        words = [line for line in result.stdout.splitlines() if "FAILED  ]" in line or "Assert" in line]
        return result.returncode == 0, words[0].strip() if words else f"status {result.returncode}"

    if not passes()[0]:
        sys.exit("esa_mutations.py: the test fails without a fault")
    found = 0
    for mutation in mutations:
        begin = time.monotonic()
        (copy / mutation["file"]).write_text(mutated(mutation))
        good, what = passes()
        (copy / mutation["file"]).write_text((RTL / mutation["file"]).read_text())
        found += report(mutation, not good, begin, what)
    return found


def report(mutation, found, begin, what):
    print(f"{mutation['name']:52} {mutation['by']:11} {'found' if found else 'LIVES'} "
          f"{time.monotonic() - begin:6.1f} s  {what}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", choices=("proof", "simulation"), help="these only")
    parser.add_argument("--name", default="", help="those whose name has this in it")
    options = parser.parse_args()
    spec = json.loads((ROOT / "testbench/formal/esa_mutations.json").read_text())
    named = [m for m in spec["mutations"] if options.name in m["name"]]
    if not named:
        print(f"esa_mutations.py: no fault has '{options.name}' in its name", file=sys.stderr)
        return 2
    proof = [m for m in named if m["by"] != "simulation"]
    simulation = [m for m in named if m["by"] == "simulation"]
    for mutation in spec["mutations"]:
        mutated(mutation)
    found = total = 0
    if options.by != "simulation" and proof:
        if pathlib.Path(sys.prefix).resolve() != (ROOT / "build" / "venv").resolve():
            python = ROOT / "build" / "venv" / "bin" / "python"
            if not python.exists():
                print("esa_mutations.py: build/venv is missing; run scripts/setup.sh", file=sys.stderr)
                return 2
            return subprocess.run([python, *sys.argv]).returncode
        total += len(proof)
        found += by_proof(proof)
    if options.by != "proof" and simulation:
        total += len(simulation)
        found += by_simulation(simulation)
    print(f"{found} of {total} faults found")
    return 0 if found == total else 1


if __name__ == "__main__":
    sys.exit(main())
