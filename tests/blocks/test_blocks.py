#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Blocks taken out of the project, by other people's tools.

  test_blocks.py lint                           FuseSoC lints each core
  test_blocks.py sim                            FuseSoC builds and simulates the example system
  test_blocks.py cocotb --kestrel PROGRAM       cocotb runs networks on hv_engine_axi, with and without pauses
                 [--model X.tflite]...          on all channels, against TensorFlow Lite's reference kernels

Runs under build/venv and starts itself again there; exit status 77 (skipped) without it. --work: folder for what
is built (default: a temporary one). KESTREL_SEED sets the seed of the inputs.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VENV = ROOT / "build" / "venv"
CORES = ["rtl", "contract", "testbench/example"]
LINTED = [
    "kestrel:vision:engine",
    "kestrel:thc:add",
    "kestrel:thc:norm",
    "kestrel:thc:compress",
    "kestrel:thc:aggregate",
    "kestrel:thc:decompress",
    "kestrel:thc:accel",
    "kestrel:esa:switch",
    "kestrel:example:system",
]
EXAMPLE = "kestrel:example:system"


def environment(work):
    """The environment's programs first on the path, and the project's Verilator as `verilator`."""
    shim = work / "bin" / "verilator"
    shim.parent.mkdir(parents=True, exist_ok=True)
    shim.write_text(f'#!/bin/sh\nexec "{ROOT}/scripts/verilator.sh" "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    env = dict(os.environ, PATH=f"{shim.parent}:{VENV}/bin:{os.environ['PATH']}", VIRTUAL_ENV=str(VENV))
    if shutil.which("ccache"):
        env["OBJCACHE"] = "ccache"
    return env


def fusesoc(work, env, jobs):
    """`jobs`: target and core. A simulation prints a line that begins with PASSED."""
    roots = [word for folder in CORES for word in ("--cores-root", str(ROOT / folder))]

    def run(target, core):
        done = subprocess.run(
            ["fusesoc", *roots, "run", "--build-root", str(work / "fusesoc"), "--target", target, core],
            cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        # A core file that FuseSoC cannot read is a warning to it.
        ok = done.returncode == 0 and "WARNING" not in done.stdout
        print(f"{target} {core}: {'passed' if ok else 'FAILED'}", flush=True)
        if not ok:
            print(done.stdout[-4000:])
        return ok, done.stdout

    failed = 0
    for target, core in jobs:
        ok, output = run(target, core)
        if target == "sim":
            passed = [line for line in output.splitlines() if line.startswith("PASSED")]
            print(*passed, sep="\n")
            ok = ok and bool(passed)
        failed += not ok
    print(f"{len(jobs) - failed} passed, {failed} failed")
    return failed


def cocotb(work, env, program, models):
    import numpy
    import tflite_runtime.interpreter as tflite
    import yaml

    seed = int(os.environ.get("KESTREL_SEED", "1"))
    print(f"KESTREL_SEED={seed}")
    (work / "contract").mkdir(exist_ok=True)
    subprocess.run([sys.executable, ROOT / "scripts/gen_contract.py", "--out", work / "contract", "--config", "edge"], check=True)

    # From here on as in docs/blocks.md.
    # The wheel's makefile lacks the switch for precompiled headers and names a Python that Debian does not have.
    os.environ.update(env, MAKEFLAGS="CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG= PYTHON3=python3")
    from cocotb_tools.runner import get_runner

    core = yaml.safe_load((ROOT / "rtl/vision/kestrel_vision.core").read_text(encoding="utf-8"))
    listed = core["filesets"]["rtl"]["files"]
    sources = [work / "contract/hv_pkg.sv", *sorted((ROOT / "rtl/common").glob("*.sv"))]
    sources += [ROOT / "rtl/vision" / name for name in listed]
    runner = get_runner("verilator")
    runner.build(
        sources=sources, includes=[ROOT / "rtl/common"], hdl_toplevel="hv_engine_axi", build_dir=work / "cocotb",
        build_args=["-Wno-fatal", "-CFLAGS", "-O1", "--output-split", "5000", "--output-split-cfuncs", "500"], timescale=("1ns", "1ps"), log_file=work / "build.log",
    )
    failed = 0
    for model in models:
        package = work / f"{model.stem}.kpkg"
        subprocess.run([program, "compile", model, "-o", package, "--quiet"], check=True)
        reference = tflite.Interpreter(str(model), experimental_op_resolver_type=tflite.OpResolverType.BUILTIN_REF)
        reference.allocate_tensors()
        shape = reference.get_input_details()[0]["shape"]
        inputs = numpy.random.default_rng(seed).integers(-128, 128, (2, *shape[1:]), numpy.int8)
        expected = []
        for x in inputs:
            reference.set_tensor(reference.get_input_details()[0]["index"], x[None])
            reference.invoke()
            expected.append(reference.get_tensor(reference.get_output_details()[0]["index"])[0])
        numpy.save(work / "x.npy", inputs)
        numpy.save(work / "y.npy", numpy.stack(expected))
        for pauses in "01":
            results = runner.test(
                hdl_toplevel="hv_engine_axi", test_module="cocotb_engine", build_dir=work / "cocotb", test_dir=work / "cocotb",
                results_xml=f"{model.stem}_{pauses}.xml", log_file=work / "test.log", timescale=("1ns", "1ps"),
                extra_env=dict(PACKAGE=str(package), INPUTS=str(work / "x.npy"), EXPECTED=str(work / "y.npy"), PAUSES=pauses,
                               CONTRACT=str(ROOT / "contract/vision.json"), PYTHONPATH=str(ROOT / "tests/blocks")),
            )
            text = (work / "test.log").read_text(encoding="utf-8")
            ok = "<failure" not in results.read_text(encoding="utf-8") and "PASS=1 FAIL=0" in text
            print(f"{model.name}, {'random pauses' if pauses == '1' else 'no pauses'}: {'passed' if ok else 'FAILED'}")
            print(*(line.split("hv_engine_axi")[-1].strip() for line in text.splitlines() if "cycles" in line), sep="\n", flush=True)
            if not ok:
                print(text[-4000:])
                failed += 1
    print(f"{2 * len(models) - failed} passed, {failed} failed")
    return failed


def main():
    if not (VENV / "bin" / "fusesoc").exists():
        print("build/venv is missing (scripts/setup.sh makes it): skipped")
        return 77
    if pathlib.Path(sys.prefix) != VENV:
        return subprocess.run([VENV / "bin/python", "-B", __file__, *sys.argv[1:]]).returncode
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["lint", "sim", "cocotb"])
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--kestrel", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, action="append")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or pathlib.Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        env = environment(work)
        if args.what == "lint":
            return 1 if fusesoc(work, env, [("lint", core) for core in LINTED]) else 0
        if args.what == "sim":
            return 1 if fusesoc(work, env, [("sim", EXAMPLE)]) else 0
        if not args.kestrel:
            parser.error("cocotb needs --kestrel")
        models = args.model or [ROOT / "models/edge/fmnist_edge_int8.tflite"]
        return 1 if cocotb(work, env, args.kestrel.resolve(), models) else 0


if __name__ == "__main__":
    sys.exit(main())
