#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Generates everything that states a hardware contract from contract/*.json.

  gen_contract.py --out DIR [--config edge]

writes below DIR, for each source, a SystemVerilog package, a C++ header and tables for docs/:

  vision.json   hv_pkg.sv (of one configuration), kestrel/contract/vision.hpp, vision_contract.md
  thc.json      thc_pkg.sv, kestrel/contract/thc.hpp, thc_contract.md
  esa.json      esa_regs_pkg.sv, kestrel/contract/esa.hpp, esa_contract.md
  wire.json     ks_wire_pkg.sv, kestrel/contract/wire.hpp, wire_format.md

A file whose text does not change is not rewritten. Only the standard library is used.
"""

import argparse
import json
import pathlib
import sys

from contract import esa, thc, vision, wire
from contract.common import ContractError

GENERATORS = {"vision": vision, "thc": thc, "esa": esa, "wire": wire}


def write_if_changed(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="directory to write to")
    parser.add_argument("--config", default="edge", help="configuration of hv_pkg.sv")
    parser.add_argument("--kind", choices=sorted(GENERATORS), help="this contract alone")
    parser.add_argument("--source", type=pathlib.Path, help="source of --kind, instead of its own")
    args = parser.parse_args()
    if args.source and not args.kind:
        parser.error("--source needs --kind")
    texts = {}
    for kind in [args.kind] if args.kind else GENERATORS:
        source = args.source or root / "contract" / f"{kind}.json"
        try:
            spec = json.loads(source.read_text(encoding="utf-8"))
            texts |= GENERATORS[kind].outputs(spec, args.config)
        except (OSError, ValueError, KeyError, ContractError) as error:
            print(f"gen_contract.py: {source}: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    for name, text in texts.items():
        write_if_changed(args.out / name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
