#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""FuseSoC generator: the packages of scripts/gen_contract.py as a core (contract/kestrel_contract.core).

FuseSoC starts it with a YAML file that names the new core (`vlnv`) and has the `parameters` of the
`generate` section; the core is written to the working folder.
"""

import pathlib
import subprocess
import sys

import yaml

PACKAGES = ["hv_pkg.sv", "thc_pkg.sv", "ks_wire_pkg.sv", "esa_regs_pkg.sv"]


def main():
    request = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    parameters = request.get("parameters") or {}
    unknown = sorted(set(parameters) - {"config"})
    if unknown:
        sys.exit(f"contract generator: unknown parameter '{unknown[0]}' (known: config)")
    gen = pathlib.Path(__file__).resolve().parent.parent / "gen_contract.py"
    subprocess.run([sys.executable, gen, "--out", ".", "--config", parameters.get("config", "edge")], check=True)
    core = {
        "name": request["vlnv"],
        "filesets": {"rtl": {"files": PACKAGES, "file_type": "systemVerilogSource"}},
        "targets": {"default": {"filesets": ["rtl"]}},
    }
    name = request["vlnv"].split(":")[2]
    pathlib.Path(f"{name}.core").write_text("CAPI=2:\n" + yaml.safe_dump(core), encoding="utf-8")


if __name__ == "__main__":
    main()
