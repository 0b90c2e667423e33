#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Installs into a prefix, moves it, and runs the main job from there: program.py CMAKE BUILD WORK SOURCE."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

cmake, build, work, source = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4]
shutil.rmtree(work, ignore_errors=True)
subprocess.run([cmake, "--install", build, "--prefix", work / "first"], check=True, stdout=subprocess.DEVNULL)
prefix = work / "moved"
(work / "first").rename(prefix)
here = work / "empty"
here.mkdir()
environment = {"PATH": "/usr/bin:/bin", "HOME": str(here)}
program = prefix / "bin/kestrel"


def run(*args, **more):
    return subprocess.run([program, *args], env={**environment, **more}, cwd=here, check=True, capture_output=True, text=True, timeout=120).stdout


for place in ("share/kestrel/models/calibration.json", "share/kestrel/models/edge/fmnist_edge_int8.tflite", "share/kestrel/models/dc/fmnist_dc.onnx",
              "share/doc/kestrel/README.md", "share/doc/kestrel/docs/serving.md"):
    assert (prefix / place).exists(), place
told = run("info")
assert f"models in {prefix}/share/kestrel/models" in told, told
assert f"pages in {prefix}/share/doc/kestrel" in told, told
assert source not in told.replace(str(prefix), ""), told
run("demo", "--rtl-images", "1", "--images", "500", "--json", "demo.json")
result = json.loads((here / "demo.json").read_text())
assert result["rtl"]["agreement"] == 1 and result["functional"]["agreement"] == 1, result
assert result["dc"]["answered"] > 0 and result["below_target"] == 0, result
# No file below the source tree is opened, if a tracer is there to see it.
if shutil.which("strace"):
    trace = here / "trace"
    subprocess.run(["strace", "-f", "-e", "trace=open,openat,execve", "-o", trace, program, "demo", "--rtl-images", "1", "--images", "100"], env=environment,
                   cwd=here, check=True, capture_output=True, timeout=150)
    opened = [line for line in trace.read_text().splitlines() if f'"{source}/' in line and f'"{build}/' not in line]
    assert not opened, opened[:3]
if (prefix / "lib/kestrel/python/kestrel_thc").exists() and list((prefix / "lib/kestrel/python/kestrel_thc").glob("_core*.so")):
    subprocess.run(["/usr/bin/python3", "-c", "import kestrel_thc; print(kestrel_thc.__file__)"], env={**environment, "PYTHONPATH": str(prefix / "lib/kestrel/python")},
                   cwd=here, check=True)
print("passed")
