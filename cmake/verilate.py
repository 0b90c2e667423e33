#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Verilates a design and gathers the C++ that Verilator writes into a known number of files.

    verilate.py --directory DIR --prefix Vx --groups N -- VERILATOR ARGUMENT...

How many files Verilator writes is known only afterwards; a build system wants to know before. So each
file of DIR that the build compiles, `Vx__slow.cpp` and `Vx__fast_0.cpp` .. `Vx__fast_<N-1>.cpp`, includes
a share of them: `slow` what runs once (constructors, initial blocks), `fast_*` what runs every cycle, of
about equal size. They are written at every verilation, also with the same contents: the build knows what
they include only from the last compilation, and would take an unchanged file for an unchanged model.
"""

import argparse
import json
import pathlib
import subprocess
import sys


def includes(sources):
    return "// Generated; see cmake/verilate.py.\n" + "".join(
        f'#include "{source.name}"\n' for source in sources
    )


def share(sources, count):
    """Splits a list into `count` lists of about equal size in bytes; the order within each stays."""
    loads = [0] * count
    chosen = [[] for _ in range(count)]
    for source in sorted(sources, key=lambda s: (-s.stat().st_size, s.name)):
        lightest = loads.index(min(loads))
        loads[lightest] += source.stat().st_size
        chosen[lightest].append(source)
    return [[s for s in sources if s in group] for group in chosen]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--directory", type=pathlib.Path, required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--groups", type=int, required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- VERILATOR ARGUMENT...")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command

    listing = options.directory / f"{options.prefix}.json"
    listing.unlink(missing_ok=True)
    status = subprocess.run(
        [*command, "--Mdir", options.directory, "--prefix", options.prefix, "--make", "json", "--quiet-stats"],
        check=False,
    ).returncode
    if status != 0:
        return status
    sources = json.loads(listing.read_text(encoding="utf-8"))["sources"]
    fast = [pathlib.Path(name) for kind in ("classes_fast", "support_fast") for name in sources.get(kind, [])]
    slow = [pathlib.Path(name) for kind in ("classes_slow", "support_slow") for name in sources.get(kind, [])]
    (options.directory / f"{options.prefix}__slow.cpp").write_text(includes(slow), encoding="utf-8")
    for index, group in enumerate(share(fast, options.groups)):
        path = options.directory / f"{options.prefix}__fast_{index}.cpp"
        path.write_text(includes(group), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
