#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""Synthesizes one THC kernel with Bambu and runs the result in Verilator on the reference's vectors.

Exit status 77 when there is no `bambu` on PATH. Bambu's exit status says little, so its log is read too.
What it generates stays in the work folder.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

MAIN = """\
#include <cstdint>
#include <cstdio>
#include <memory>
#include "V{top}.h"
#include "verilated.h"
int main(int, char **argv) {{
  const auto context = std::make_unique<VerilatedContext>();
  const auto dut = std::make_unique<V{top}>(context.get());
  std::FILE *file = std::fopen(argv[1], "r");
  if (file == nullptr) return 2;
  for (int c = 0; c != '\\n'; c = std::fgetc(file)) {{ if (c == EOF) return 2; }}
  long cycles = 0;
  const auto rise = [&] {{ dut->clock = 1; dut->eval(); ++cycles; }};
  const auto fall = [&] {{ dut->clock = 0; dut->eval(); }};
  dut->reset = 0; dut->start_port = 0; fall();
  for (int i = 0; i < 4; ++i) {{ rise(); fall(); }}
  dut->reset = 1; fall();
  long calls = 0, wrong = 0;
  unsigned long long v[{ports} + 1];
  while (true) {{
    int got = 0;
    while (got <= {ports} && std::fscanf(file, "%llx", &v[got]) == 1) ++got;
    if (got <= {ports}) break;
{drive}
    dut->start_port = 1; fall();
    bool done = dut->done_port;
    std::uint64_t result = dut->return_port;
    for (int wait = 0; !done && wait < 1000; ++wait) {{
      rise(); dut->start_port = 0; fall();
      done = dut->done_port;
      result = dut->return_port;
    }}
    rise(); dut->start_port = 0; fall();
    if (!done) {{ std::printf("call %ld: no done_port in 1000 cycles\\n", calls); return 1; }}
    if (result != v[{ports}] && ++wrong <= 5)
      std::printf("call %ld: %llx, expected %llx\\n", calls, (unsigned long long)result, v[{ports}]);
    ++calls;
  }}
  std::printf("%ld calls, %ld wrong, %ld cycles\\n", calls, wrong, cycles);
  return calls == {calls} && wrong == 0 ? 0 : 1;
}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernel", choices=["quantise", "hadamard", "aggregate"])
    parser.add_argument("--root", type=pathlib.Path, required=True, help="the project's sources")
    parser.add_argument("--vectors", type=pathlib.Path, required=True, help="program thc_vectors")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for results")
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--seed", default=os.environ.get("KESTREL_SEED", "1"))
    parser.add_argument("--device", default="xc7z020-1clg484-VVD")
    a = parser.parse_args()
    if shutil.which("bambu") is None:
        print("skipped: no bambu on PATH; the C simulation of this kernel is tested regardless")
        return 77

    top = f"thc_{a.kernel}_top"
    shutil.rmtree(a.work, ignore_errors=True)
    a.work.mkdir(parents=True)
    source = a.root / "hls" / f"thc_{a.kernel}" / f"thc_{a.kernel}_bambu.cpp"
    command = ["bambu", str(source), "--std=c++14", f"--top-fname={top}", f"-I{a.root}",
               f"--device-name={a.device}", "--clock-period=5", "--reset-type=sync", "--reset-level=low"]
    synthesis = subprocess.run(command, cwd=a.work, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=1200)
    (a.work / "bambu.log").write_text(synthesis.stdout)
    verilog = a.work / f"{top}.v"
    if synthesis.returncode != 0 or "Returned error code" in synthesis.stdout or not verilog.exists():
        print(synthesis.stdout[-4000:])
        print(f"bambu failed (status {synthesis.returncode}); {a.work}/bambu.log")
        return 1

    print(f"KESTREL_SEED={a.seed}")
    vectors = subprocess.run([a.vectors, a.kernel, str(a.calls), a.seed], text=True, check=True,
                             stdout=subprocess.PIPE).stdout
    (a.work / "vectors.txt").write_text(vectors)
    ports = vectors.split("\n", 1)[0].split()[:-1]
    drive = "\n".join(f"    dut->{name} = v[{i}];" for i, name in enumerate(ports))
    (a.work / "main.cpp").write_text(MAIN.format(top=top, ports=len(ports), drive=drive, calls=a.calls))
    # Generated code: only errors count.
    subprocess.run([ROOT / "scripts/verilator.sh", "--cc", "--exe", "--build", "-Wno-fatal", "-Wno-lint", "-Wno-style",
                    "--top-module", top, "-o", "replay", f"{top}.v", "main.cpp"], cwd=a.work, check=True,
                   stdout=subprocess.DEVNULL)
    # Its tables are read relative to the folder they were written to.
    return subprocess.run([a.work / "obj_dir" / "replay", "vectors.txt"], cwd=a.work, timeout=600).returncode


if __name__ == "__main__":
    sys.exit(main())
