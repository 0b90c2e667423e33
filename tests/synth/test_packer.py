#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""scripts/synth.py with nextpnr's packer, on designs whose area is known beforehand.

Exit status 77 (skipped) without build/venv.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import nextpnr_ecp5  # noqa: E402

# Count hard multipliers, each with a flip-flop behind it and none beside it.
MULTIPLIERS = """
module multipliers #(parameter int unsigned Count = 1) (
  input  wire logic clk_i, input wire logic [Count-1:0] a_i, b_i, output logic [Count-1:0] q_o
);
  for (genvar i = 0; i < Count; i++) begin : gen_mult
    logic p;
    (* keep *) MULT18X18D u_mult (.A0(a_i[i]), .B0(b_i[i]), .P0(p));
    always_ff @(posedge clk_i) q_o[i] <= p;
  end
endmodule
"""


class Packer(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kestrel-packer-")
        self.source = pathlib.Path(self.folder.name) / "multipliers.sv"
        self.source.write_text(MULTIPLIERS)

    def tearDown(self):
        self.folder.cleanup()

    def synth(self, count, *options):
        result = subprocess.run(
            [sys.executable, ROOT / "scripts" / "synth.py", "--source", self.source, "--top", "multipliers"]
            + ["--parameter", f"Count={count}", "--no-baseline", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        packed = result.stdout.partition("nextpnr packer")[2]
        return result, {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+) +\d+ +[\d.]+%", packed, re.M)}

    def test_as_many_as_the_device_has_and_more_ports_than_the_package_has_pins(self):
        result, packed = self.synth(156)  # 469 port bits; the package has 365
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("within an ECP5-85F", result.stdout)
        self.assertEqual((packed["MULT18X18D"], packed["TRELLIS_FF"], packed["DP16KD"]), (156, 156, 0))

    def test_one_more_does_not_fit(self):
        result, packed = self.synth(157)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("does not fit an ECP5-85F: MULT18X18D 157 of 156", result.stdout)
        self.assertIn("MULT18X18D: 157 are more than the 156 of the ECP5-85F", result.stdout)
        self.assertEqual(packed["MULT18X18D"], 157)
        again, _ = self.synth(157, "--no-limits")
        self.assertEqual(again.returncode, 0, again.stdout)

    def test_an_error_of_nextpnr_is_reported(self):
        netlist = pathlib.Path(self.folder.name) / "broken.json"
        netlist.write_text("{")
        with self.assertRaisesRegex(nextpnr_ecp5.NextpnrError, "(?i)error"):
            nextpnr_ecp5.pack(netlist)


if __name__ == "__main__":
    if not nextpnr_ecp5.PROGRAM.exists():
        print("skipped, nextpnr is missing in build/venv; scripts/setup.sh installs it")
        sys.exit(77)
    unittest.main()
