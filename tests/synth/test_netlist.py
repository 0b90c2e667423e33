#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""RTL against its ECP5 netlist, in lockstep under random inputs.

Blocks are synthesized with `synth_ecp5 -nodsp` (cells with a behaviour in yosys's cells_sim.v: LUT4,
carry, flip-flop), the cells are replaced by that behaviour, and Verilator runs both side by side. Blocks
that need block RAM or hard multipliers are not covered: yosys has no simulation models of those cells.

Runs under build/venv and starts itself again there; exit status 77 (skipped) without it. Ends with
`N passed, N failed`. KESTREL_SEED sets the seed.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VENV_PYTHON = ROOT / "build" / "venv" / "bin" / "python"
CYCLES = 40_000

# Top, parameters, sources, inputs and outputs with their widths, and the statement that sets the
# inputs of a cycle.
BLOCKS = [
    dict(
        top="ks_mul_s8",
        parameters="-G UseDsp=0",
        instance="#(.UseDsp(1'b0))",
        sources=["rtl/common/ks_mul_s8.sv"],
        inputs=dict(en_i=1, a_i=8, b_i=8),
        outputs=dict(p_o=16),
        reset=False,
        drive="en_i = cycle < 64 || ($urandom % 4) != 0; a_i = 8'($urandom); b_i = 8'($urandom);",
    ),
    dict(
        top="hv_requant",
        parameters="",
        instance="",
        sources=["rtl/vision/hv_requant.sv"],
        inputs=dict(en_i=1, x_i=32, mult_i=31, shift_i=5, zp_i=8, min_i=8, max_i=8),
        outputs=dict(y_o=8),
        reset=False,
        drive="en_i = cycle < 64 || ($urandom % 4) != 0; x_i = 32'($signed($urandom) >>> ($urandom % 32));"
        " mult_i = {1'b1, 30'($urandom)}; shift_i = 5'($urandom % ($urandom % 32 + 1)); zp_i = 8'($urandom);"
        " min_i = -8'sd128 + 8'($urandom % 64); max_i = 8'sd127 - 8'($urandom % 64);",
    ),
    dict(
        top="hv_conf_math",
        parameters="",
        instance="",
        sources=["rtl/vision/hv_conf_math.sv"],
        inputs=dict(recip_i=1, sum_i=31, prob_i=1, exp_i=31),
        outputs=dict(busy_o=1, prob8_o=8, prob16_o=16),
        reset=True,
        drive="sum_i = (31'd1 << (19 + $urandom % 10)) | 31'($urandom >> 13); exp_i = 31'($urandom);"
        " recip_i = !r_busy_o && (cycle < 40 || $urandom % 3 == 0) && !started;"
        " prob_i = !r_busy_o && !recip_i && !started && cycle > 100; started = recip_i || prob_i;",
    ),
]


def netlist(block, path):
    """Writes the netlist of a block as plain Verilog, module <top>_netlist."""
    from pyosys import libyosys as ys

    top = block["top"]
    sources = " ".join(str(ROOT / s) for s in block["sources"])
    cells = path + ".cells.v"

    def passes(*commands):
        design = ys.Design()
        for command in commands:
            ys.run_pass(command, design)

    passes(
        f"read_slang -DSYNTHESIS -I {ROOT / 'rtl/common'} {block['parameters']} --top {top} {sources}",
        "check -assert",
        f"synth_ecp5 -nodsp -nobram -nowidelut -top {top}",
        "check -assert",
        f"write_verilog -noattr {cells}",
    )
    # In a new design, where the cells are not yet known as black boxes.
    passes(
        f"read_verilog {cells}",
        "read_verilog -overwrite +/ecp5/cells_sim.v",
        f"hierarchy -check -top {top}",
        "proc",
        "flatten -wb",
        "opt_clean",
        f"rename {top} {top}_netlist",
        f"write_verilog -noattr {path}",
    )


def testbench(block):
    """SystemVerilog that runs both modules side by side and stops at the first difference."""
    width = lambda n: f"logic [{n - 1}:0]" if n > 1 else "logic"
    lines = ["module tb;", "  logic clk_i = 0, rst_ni = 0, started = 0;", "  int cycle = 0, seed = 0, changes = 0;"]
    lines += [f"  {width(n)} {name};" for name, n in block["inputs"].items()]
    for name, n in block["outputs"].items():
        lines += [f"  {width(n)} r_{name}, n_{name}, last_{name};"]
    ports = [f".{name}({name})" for name in block["inputs"]] + [".clk_i(clk_i)"]
    ports += [".rst_ni(rst_ni)"] if block["reset"] else []
    for kind, module in (("r", f"{block['top']} {block['instance']}"), ("n", block["top"] + "_netlist")):
        outs = [f".{name}({kind}_{name})" for name in block["outputs"]]
        lines += [f"  {module} u_{kind} ({', '.join(ports + outs)});"]
    outs = list(block["outputs"])
    r = "{" + ", ".join(f"r_{o}" for o in outs) + "}"
    n = "{" + ", ".join(f"n_{o}" for o in outs) + "}"
    last = "{" + ", ".join(f"last_{o}" for o in outs) + "}"
    lines += [
        "  initial begin",
        '    if (!$value$plusargs("seed=%d", seed)) seed = 1;',
        "    void'($urandom(seed));",
        f"    for (cycle = 0; cycle < {CYCLES}; cycle++) begin",
        "      rst_ni = cycle >= 8;",
        f"      {block['drive']}",
        "      #1;",
        f"      if (cycle > 400 && {r} != {n}) begin",
        f'        $display("MISMATCH in cycle %0d: RTL %h, netlist %h", cycle, {r}, {n}); $finish;',
        "      end",
        f"      if ({r} != {last}) changes++;",
        f"      {last} = {r};",
        "      clk_i = 1; #1; clk_i = 0;",
        "    end",
        '    $display("COMPARED %0d cycles, %0d changes", cycle, changes);',
        "    $finish;",
        "  end",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def run(block, folder, seed):
    top = block["top"]
    net = folder / f"{top}_netlist.v"
    # In a process of its own: yosys prints much and ends the process on an error.
    made = subprocess.run([sys.executable, __file__, "--netlist", top, str(net)], capture_output=True, text=True)
    if made.returncode or not net.exists():
        return f"synthesis failed: {(made.stdout + made.stderr)[-600:]}"
    bench = folder / f"tb_{top}.sv"
    bench.write_text(testbench(block))
    build = folder / f"obj_{top}"
    made = subprocess.run(
        ["verilator", "--binary", "--timing", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--x-initial", "unique",
         f"-I{ROOT / 'rtl/common'}", "--top-module", "tb", "--Mdir", str(build), "-CFLAGS", "-O1", "-o", "sim",
         str(bench), str(net), *(str(ROOT / s) for s in block["sources"])],
        capture_output=True, text=True)
    if made.returncode:
        return f"verilation failed: {(made.stdout + made.stderr)[-600:]}"
    out = subprocess.run([str(build / "sim"), f"+seed={seed}", "+verilator+rand+reset+2"], capture_output=True, text=True).stdout
    line = next((l for l in out.splitlines() if l.startswith(("MISMATCH", "COMPARED"))), "no result")
    print(f"{top}: {line}", flush=True)
    if not line.startswith("COMPARED"):
        return line
    changes = int(line.split()[3])
    return None if changes > CYCLES // 100 else f"only {changes} changes of the outputs"


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--netlist":
        netlist(next(b for b in BLOCKS if b["top"] == sys.argv[2]), sys.argv[3])
        return 0
    if not VENV_PYTHON.exists():
        print("build/venv is missing (scripts/setup.sh makes it): skipped")
        return 77
    if pathlib.Path(sys.prefix).resolve() != VENV_PYTHON.parent.parent.resolve():
        return subprocess.run([VENV_PYTHON, __file__]).returncode
    seed = int(os.environ.get("KESTREL_SEED", "1"), 0)
    print(f"KESTREL_SEED={seed}")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="kestrel-netlist-") as folder:
        for block in BLOCKS:
            problem = run(block, pathlib.Path(folder), seed % 2**31)
            if problem:
                failed += 1
                print(f"FAIL {block['top']}: {problem}")
    print(f"{len(BLOCKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
